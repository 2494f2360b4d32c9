"""Rank histograms."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from ensf.plot.reading import Runs, longest, scored, when_scored
from ensf.plot.style import GREY, INK, colours, legend_below, new_figure, styled
from ensf.plot.words import heading, method_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figure_ranks"]

BARS = 30
"""A histogram of more ranks pools neighbours."""


@styled
def figure_ranks(runs: Runs) -> Figure:
    """Rank histogram of the truth among the members of the analysis, one panel per method.

    Parameters and result as in `figure_rmse`.
    """
    rows, columns = -(-len(runs) // 3), min(len(runs), 3)
    every = list(itertools.chain(*runs.values()))
    caption = (
        f"{heading(every)}, {when_scored(longest(every))}. A flat histogram says that the truth is like "
        "one more member; a hump says too much spread, a trough too little. Bars pool all seeds."
    )
    figure = new_figure(1.5 + 2.4 * rows, "Rank of the truth among the members of the analysis", caption)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in panels.flat[len(runs) :]:
        axes.set_axis_off()
    tops = []
    for axes, (method, colour) in zip(panels.flat, colours(runs).items(), strict=False):
        tops.append(_draw_ranks(axes, runs[method], colour))
        axes.set_title(method_label(method, runs[method][0]))
    panels[0, 0].set_ylim(0, np.clip(1.25 * max(tops), 1.7, 5))
    for axes in panels[:, 0]:
        axes.set_ylabel("frequency relative to flat (1)")
    for axes in panels.flat[max(0, len(runs) - columns) : len(runs)]:
        axes.set_xlabel("rank / number of ranks (1)")
    legend_below(figure, panels[0, 0], 3)
    return figure


def _draw_ranks(axes: Axes, runs: Sequence[xr.Dataset], colour: str) -> float:
    """Draw the histogram; return the height of its tallest bar."""
    counts = np.stack([scored(run["rank_histogram"], run).sum("time").values for run in runs])
    heights, edges = _relative(counts)
    centre, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    pooled = counts.sum(axis=1) @ heights / counts.sum()
    band = 1.96 * np.sqrt((1 - width) / (width * counts.sum()))
    axes.bar(centre, pooled, width, color=colour, alpha=0.75, edgecolor="white", linewidth=0.5)
    label = "95 % of the bars, if ranks were independent"
    axes.stairs(1 + band, edges, baseline=1 - band, fill=True, color=GREY, alpha=0.45, label=label)
    axes.axhline(1, color=INK, linewidth=1, linestyle="dashed", label="expected")
    if len(runs) > 1:
        axes.vlines(centre, heights.min(axis=0), heights.max(axis=0), color=INK, linewidth=0.7, label="range of seeds")
    outside, expected = 100 * counts[:, [0, -1]].sum() / counts.sum(), 200 / counts.shape[1]
    text = f"outside all members {outside:.3g} %, expected {expected:.3g} %"
    axes.text(0.5, 0.97, text, transform=axes.transAxes, ha="center", va="top", fontsize=8.5)
    axes.set_xlim(0, 1)
    return max(pooled.max(), heights.max())


def _relative(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies relative to flat ``(seed, bar)`` and edges of the bars in [0, 1], at most `BARS` of them."""
    ranks = counts.shape[1]
    edges = np.linspace(0, ranks, min(ranks, BARS) + 1).astype(int)
    frequency = np.add.reduceat(counts, edges[:-1], axis=1) / counts.sum(axis=1, keepdims=True)
    return frequency * ranks / np.diff(edges), edges / ranks
