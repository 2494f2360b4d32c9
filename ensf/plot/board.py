"""Methods by experiments."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ensf.plot.style import INK, PALE, Style, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figure_board"]


@styled
def figure_board(
    table: Mapping[str, Mapping[str, float]], diverged: Mapping[str, Mapping[str, int]] | None = None
) -> Figure:
    """Methods by experiments: scores, coloured by their ratio to the best of each experiment.

    Parameters
    ----------
    table : mapping of experiment to mapping of method to float
        Scores, smaller is better; NaN or absent where there is none.
    diverged : mapping of experiment to mapping of method to int, optional
        Numbers of diverged runs.

    Returns
    -------
    matplotlib.figure.Figure
    """
    methods = list(dict.fromkeys(itertools.chain(*table.values())))
    scores = np.array([[row.get(method, np.nan) for method in methods] for row in table.values()], float)
    octaves = np.log2(scores / np.fmin.reduce(scores, axis=1, keepdims=True))
    caption = "Score in the units of the experiment, smaller is better. Colour: ratio to the best. Lost: diverged runs."
    figure = new_figure(1.7 + 0.5 * len(table), "Methods by experiments", caption)
    axes = figure.subplots()
    mesh = axes.pcolormesh(octaves, cmap="YlOrBr", vmin=0, vmax=2, edgecolors="white", linewidth=2)
    axes.set(xticks=np.arange(len(methods)) + 0.5, yticks=np.arange(len(table)) + 0.5)
    axes.set(xticklabels=methods, yticklabels=list(table), facecolor=PALE)
    axes.invert_yaxis()
    axes.tick_params(length=0)
    for (row, experiment), (column, method) in itertools.product(enumerate(table), enumerate(methods)):
        lost = (diverged or {}).get(experiment, {}).get(method, 0)
        score = scores[row, column]
        text = ("–" if np.isnan(score) else f"{score:.3g}") + f"\n{lost} lost" * bool(lost)
        look: Style = {"color": "white" if octaves[row, column] > 1.3 else INK, "fontsize": 8.5}
        weight = "bold" if octaves[row, column] == 0 and not lost else "normal"
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontweight=weight, **look)
    bar = figure.colorbar(mesh, ax=axes, extend="max", aspect=25, pad=0.02, label="ratio to the best (1)")
    bar.set_ticks([0, 0.5, 1, 1.5, 2], labels=["1", "1.4", "2", "2.8", "4"])
    return figure
