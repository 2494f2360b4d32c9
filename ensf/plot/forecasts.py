"""Forecasts for several days: scores by lead, and what was forecast beside what was reported."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from ensf.plot.reading import Runs, longest, scored, variable_of
from ensf.plot.style import GREY, INK, colours, legend_below, new_figure, styled
from ensf.plot.words import heading, method_label, unit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figure_hydrographs", "figure_leads"]

NOMINAL = 0.9
BLOCK = 10
"""Forecasts of so many days in a row count as one when the sampling error of a coverage is told."""
AROUND, APART = 25, 4
"""Days shown either side of the largest report, and between forecasts shown there."""


@styled
def figure_leads(runs: Runs) -> Figure:
    """CRPS, root mean square error and coverage of forecasts by lead.

    Parameters and result as in `figure_rmse`; the datasets have the dimension `lead`.
    """
    every = list(itertools.chain(*runs.values()))
    first = scored(every[0][f"{variable_of(every[0])}_truth"], every[0])
    start, end = (str(date)[:10] for date in _dates(first["time"])[[0, -1]])
    band = 1.96 * np.sqrt(NOMINAL * (1 - NOMINAL) * BLOCK / first.sizes["time"])
    caption = (
        f"{heading(every)}; forecasts issued from {start} to {end}. Lines: medians over seeds; bands: all seeds. "
        f"Grey: 95 % of coverages of a reliable ensemble, if forecasts {BLOCK} days apart are independent. "
        "Lines that leave a panel are far worse."
    )
    figure = new_figure(4.6, "Forecasts by lead", caption)
    left, middle, right = figure.subplots(1, 3, sharex=True)
    unit = unit_of(first)
    right.axhspan(NOMINAL - band, min(1.0, NOMINAL + band), color=GREY, alpha=0.25, linewidth=0)
    right.axhline(NOMINAL, color=INK, linewidth=0.9, linestyle="dashed")
    for method, colour in colours(runs).items():
        label = method_label(method, runs[method][0])
        _draw(left, [_by_lead(run, "crps_lead") for run in runs[method]], colour, label)
        _draw(middle, [_root_mean_square(run) for run in runs[method]], colour)
        _draw(right, [_by_lead(run, "cover90_lead") for run in runs[method]], colour)
    left.set(ylabel=f"CRPS ({unit})")
    middle.set(ylabel=f"RMSE of the mean ({unit})")
    right.set(ylabel="reports in the middle 90 % (1)", ylim=(0.6, 1.0))
    for axes in (left, middle):
        axes.set_ylim(0, _top(axes))
    for axes in (left, middle, right):
        axes.set(xlabel="lead (days)", xticks=first["lead"].values)
        axes.grid(axis="y")
    legend_below(figure, left, 4)
    return figure


def _draw(axes: Axes, by_seed: Sequence[np.ndarray], colour: str, label: str | None = None) -> None:
    values = np.stack(by_seed)
    leads = np.arange(1, values.shape[1] + 1)
    axes.fill_between(leads, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.2, linewidth=0)
    axes.plot(leads, np.median(values, axis=0), "o-", color=colour, linewidth=1.5, markersize=3.5, label=label)


def _top(axes: Axes) -> float:
    """A little above the lines, but for those that end far above the others."""
    tops = [float(np.max(np.asarray(line.get_ydata()))) for line in axes.lines]
    return 1.05 * min(max(tops), 1.6 * float(np.median(tops)))


def _by_lead(run: xr.Dataset, name: str) -> np.ndarray:
    """Mean of a score at each lead."""
    return np.array([float(scored(run[f"{name}{lead}"], run).mean()) for lead in run["lead"].values])


def _root_mean_square(run: xr.Dataset) -> np.ndarray:
    name = variable_of(run)
    error = scored(run[f"{name}_analysis_mean"] - run[f"{name}_truth"], run)
    return np.sqrt(np.mean(error.values**2, axis=0))


@styled
def figure_hydrographs(runs: Runs) -> Figure:
    """What was forecast for the next day, and from some days about the largest report, beside what was reported.

    Parameters and result as in `figure_rmse`; one seed is drawn, the first of each method. Where members were kept,
    bands are those of the middle 90 percent of them.
    """
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.ticker import LogFormatter

    chosen = {method: datasets[0] for method, datasets in runs.items()}
    first = longest(chosen.values())
    name = variable_of(first)
    truth = scored(first[f"{name}_truth"], first)
    kept = all(f"{name}_analysis" in run for run in chosen.values())
    words = "the middle 90 % of the members" if kept else "mean and two standard deviations"
    caption = (
        f"{heading(chosen.values())}. Bands: {words}. Left: forecasts for the next day, on a logarithmic scale. Right: "
        f"all leads of forecasts issued every {APART} days about the largest report."
    )
    figure = new_figure(1.2 + 1.9 * len(chosen), f"Forecast and reported {name}", caption)
    panels = figure.subplots(len(chosen), 2, sharex="col", sharey="col", squeeze=False, width_ratios=(3, 2))
    peak = int(np.argmax(truth.sel(lead=1).values))
    near = slice(max(0, peak - AROUND), peak + AROUND)
    for row, (method, colour) in zip(panels, colours(chosen).items(), strict=True):
        run = chosen[method]
        low, middle, high = _band(run, kept)
        _draw_series(row[0], low[:, 0], middle[:, 0], high[:, 0], 1, colour)
        _draw_reports(row[0], truth)
        row[0].set(title=method_label(method, run), ylabel=f"({unit_of(truth)})", yscale="log")
        for number in range(near.start, min(near.stop, truth.sizes["time"]), APART):
            issued = _dates(middle["time"])[number]
            days = issued + middle["lead"].values.astype("timedelta64[D]")
            row[1].fill_between(days, low[number], high[number], color=colour, alpha=0.25, linewidth=0)
            row[1].plot(days, middle[number], color=colour, linewidth=1.2)
        _draw_reports(row[1], truth[near])
    values = truth.sel(lead=1)
    panels[0, 0].set_ylim(0.5 * float(values.min()), 2 * float(values.max()))
    panels[0, 1].set_ylim(0, 1.6 * float(values.max()))
    for axes in panels[:, 0]:
        axes.yaxis.set_major_formatter(LogFormatter())
        axes.yaxis.set_minor_formatter(LogFormatter())
    for axes in panels.flat:
        axes.margins(x=0.01)
        axes.grid()
    for axes in panels[-1]:
        locator = AutoDateLocator(minticks=3, maxticks=7)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        axes.set_xlabel("date")
    legend_below(figure, panels[0, 0], 3)
    return figure


def _draw_series(
    axes: Axes, low: xr.DataArray, middle: xr.DataArray, high: xr.DataArray, lead: int, colour: str
) -> None:
    days = _dates(middle["time"]) + np.timedelta64(lead, "D")
    axes.fill_between(days, low, high, color=colour, alpha=0.3, linewidth=0)
    axes.plot(days, middle, color=colour, linewidth=0.9, label="forecast")


def _draw_reports(axes: Axes, truth: xr.DataArray) -> None:
    days = _dates(truth["time"]) + np.timedelta64(1, "D")
    axes.plot(days, truth.sel(lead=1), ".", color=INK, markersize=2.5, label="reported")


def _band(run: xr.Dataset, kept: bool) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Lower end, middle and upper end ``(time, lead)``."""
    name = variable_of(run)
    if kept:
        members = scored(run[f"{name}_analysis"], run).load()
        low, middle, high = (members.quantile(level, "realization", skipna=False) for level in (0.05, 0.5, 0.95))
        return low, middle, high
    mean, spread = (scored(run[f"{name}_analysis_{what}"], run).load() for what in ("mean", "spread"))
    return (mean - 2 * spread).clip(min=0.0), mean, mean + 2 * spread


def _dates(time: xr.DataArray) -> np.ndarray:
    """The day that ends at each time, as a date."""
    epoch = np.datetime64(str(time.attrs["units"]).split(" since ")[1].replace(" ", "T"))
    return (epoch + np.round(time.values).astype("timedelta64[D]") - np.timedelta64(1, "D")).astype("datetime64[D]")
