"""RMSE and spread over time, and their means."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from ensf.plot.reading import Runs, burn_in_of, climatology_of, longest, scored, seed_series, when_scored
from ensf.plot.style import INK, PALE, Style, colours, legend_below, line_look, new_figure, styled
from ensf.plot.words import axis_label, heading, method_label, unit_of
from ensf.twin.experiment import diverged

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figure_rmse"]

POINTS = 400
"""A longer series is averaged over neighbouring cycles."""


@styled
def figure_rmse(runs: Runs) -> Figure:
    """RMSE and spread of the analysis over time, and the time mean of each seed.

    Parameters
    ----------
    runs : mapping of str to sequence of Dataset
        One dataset per seed under the name of each method.

    Returns
    -------
    matplotlib.figure.Figure
    """
    every = list(itertools.chain(*runs.values()))
    run = longest(every)
    step = -(-run.sizes["time"] // POINTS)
    smooth = f" Averages over {step} cycles." if step > 1 else ""
    many = " Lines are medians over seeds, bands span all seeds." if max(map(len, runs.values())) > 1 else ""
    words = f"Solid: RMSE of the analysis mean. Dashed: spread.{smooth}{many} Right: means {when_scored(run)}."
    figure = new_figure(5.2, "Error and spread of the analysis", f"{heading(every)}. {words}")
    axes, means = figure.subplots(1, 2, sharey=True, width_ratios=(10, 1 + 0.2 * len(runs)))
    scores = {method: seed_series(datasets, "rmse_analysis") for method, datasets in runs.items()}
    for column, (method, colour) in enumerate(colours(runs).items()):
        label = _score_label(method, runs[method], scores[method])
        spread = seed_series(runs[method], "spread_analysis")
        _draw_scores(axes, _thinned(scores[method], step), _thinned(spread, step), colour, label)
        _draw_means(means, scored(scores[method], run).mean("time"), column, colour)
    _draw_references(axes, run)
    _scale(axes, climatology_of(run))
    axes.set(xlabel=axis_label(run["time"]), ylabel=f"RMSE and spread ({unit_of(run['rmse_analysis'])})")
    means.set(xlim=(-0.7, len(runs) - 0.3), xticks=[], xlabel="time mean\nof each seed")
    means.tick_params(labelleft=False)
    legend_below(figure, axes, 2)
    return figure


def _score_label(method: str, runs: Sequence[xr.Dataset], rmse: xr.DataArray) -> str:
    typical = float(scored(rmse, runs[0]).mean("time").median())
    lost = sum(diverged(run["rmse_analysis"].values, climatology_of(run)) for run in runs)
    return f"{method_label(method, runs[0])}: RMSE {typical:.3g}" + f", {lost} of {len(runs)} diverged" * bool(lost)


def _thinned(series: xr.DataArray, step: int) -> xr.DataArray:
    """Means over `step` cycles, without times that no seed has."""
    series = series.coarsen(time=step, boundary="pad").mean() if step > 1 else series
    return series.dropna("time", how="all")


def _draw_scores(axes: Axes, rmse: xr.DataArray, spread: xr.DataArray, colour: str, label: str) -> None:
    low, high = rmse.min("seed"), rmse.max("seed")
    axes.fill_between(rmse["time"], low, high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(spread["time"], spread.median("seed"), **line_look(spread["time"], colour, 1), linestyle="dashed")
    axes.plot(rmse["time"], rmse.median("seed"), **line_look(rmse["time"], colour, 1.6), label=label)


def _draw_means(axes: Axes, means: xr.DataArray, column: int, colour: str) -> None:
    axes.plot(np.full(means.size, column), means, "o", color=colour, alpha=0.6, markersize=5, mew=0)
    axes.plot(column, means.median(), "_", color=colour, markersize=11, mew=2)


def _draw_references(axes: Axes, run: xr.Dataset) -> None:
    look: Style = {"color": INK, "linewidth": 0.9, "zorder": 1}
    observed = run["observation_error"]
    error, climatology = float(observed.isel(time=-1).mean()), climatology_of(run)
    if np.isfinite(error) and unit_of(observed) == unit_of(run["rmse_analysis"]):
        axes.axhline(error, linestyle=(0, (1, 2)), label=f"observation error {error:.3g} (as observed)", **look)
    if np.isfinite(climatology):
        axes.axhline(climatology, linestyle=(0, (6, 2, 1, 2)), label=f"climatology {climatology:.3g}", **look)
    if (burn_in := burn_in_of(run)) > 0:
        end = min(burn_in, float(run["time"][-1]))
        axes.axvspan(0, end, color=PALE, alpha=0.5, linewidth=0, zorder=0, label="burn-in")
    axes.margins(x=0.015)


def _scale(axes: Axes, climatology: float) -> None:
    """Logarithmic if the lines span more than a factor of 5; no higher than thrice the climatology."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    values = np.concatenate([line.get_ydata() for line in axes.lines])
    values = values[np.isfinite(values) & (values > 0)]
    if len(values) and values.max() > 5 * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(LogLocator(subs=()))
    axes.set_ylim(top=min(axes.get_ylim()[1], 3 * climatology))
    axes.grid(axis="y")
