"""Figures of a cycled run, from its statistics in observation space: fit, consistency and rows over cycles."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import xarray as xr

from ensf.offline.estimates import ESTIMATES
from ensf.offline.model_runs import MODEL_RUNS
from ensf.offline.parameter_statistics import parameters_of
from ensf.offline.statistics import label_of, pooled, variables_of
from ensf.plot.style import GREY, INK, PALETTE, colours, legend_below, line_look, new_figure, styled
from ensf.tables.flags import REASONS, USED, WINDOW

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "figure_consistency",
    "figure_estimates",
    "figure_innovations",
    "figure_model_runs",
    "figure_parameters",
    "figure_rows",
    "found",
    "of_cycle",
    "series",
]

NOTICED = 0.05
"""How far a factor of errors is from 1 where it is drawn; offsets and biases are as soon as they are not 0."""


def series(statistics: xr.Dataset, variable: str, role: str) -> dict[str, np.ndarray]:
    """Each statistic of a variable over cycles, all bands together, ``(cycle,)``."""
    rows = [pooled(statistics.isel(cycle=[k]), variable, role) for k in range(statistics.sizes["cycle"])]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _time(statistics: xr.Dataset) -> tuple[np.ndarray, str]:
    """What is along the axis, and its label: dates, model time, or the number of the cycle."""
    time = statistics["time"].values
    if time.dtype.kind == "M":
        return time, "time of the analysis (UTC)"
    return time, "model time of the analysis"


def _dated(axes: Axes, time: np.ndarray) -> None:
    if time.dtype.kind == "M":
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator = AutoDateLocator(minticks=3, maxticks=7)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def of_cycle(statistics: xr.Dataset, about: str) -> str:
    """Heading of a cycled run."""
    return f"{about}, {statistics.sizes['cycle']} cycles"


@styled
def figure_innovations(statistics: xr.Dataset, about: str) -> Figure:
    """Bias, RMSE and spread of forecast and analysis in observation space over cycles."""
    names = variables_of(statistics)
    caption = (
        f"{of_cycle(statistics, about)}. Observation minus mean. Solid: root mean square; dashed: what spread and "
        "observation error let one expect of it; dotted: mean. Withheld observations are the honest score."
    )
    figure = new_figure(1.5 + 2.5 * len(names), "Innovations over cycles", caption)
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    time, label = _time(statistics)
    for axes, name in zip(panels, names, strict=True):
        used, withheld = (series(statistics, name, role) for role in ("used", "withheld"))
        for stage, colour in (("prior", GREY), ("analysis", PALETTE[0])):
            words = {"prior": "forecast", "analysis": "analysis"}[stage]
            look = line_look(time, colour, 1.6)
            axes.plot(time, used[f"{stage}_rmse"], label=f"{words}, RMSE", **look)
            if stage == "prior":
                axes.plot(
                    time, used["prior_total_spread"], "--", color=colour, linewidth=1, label="forecast, expected RMSE"
                )
            axes.plot(time, used[f"{stage}_bias"], ":", color=colour, linewidth=1.3, label=f"{words}, mean")
        if withheld["count"].any():
            look = line_look(time, PALETTE[1], 1.6)
            axes.plot(time, withheld["analysis_rmse"], label="analysis, withheld, RMSE", **look)
            expected = withheld["analysis_total_spread"]
            axes.plot(time, expected, "--", color=PALETTE[1], linewidth=1, label="analysis, withheld, expected RMSE")
        axes.axhline(0, color=INK, linewidth=0.7)
        axes.set_ylabel(label_of(statistics, name).replace(" (1)", ""))
        axes.grid()
    panels[-1].set_xlabel(label)
    _dated(panels[-1], time)
    legend_below(figure, panels[0], 4)
    return figure


@styled
def figure_consistency(statistics: xr.Dataset, about: str) -> Figure:
    """chi^2, Desroziers' ratios and degrees of freedom over cycles."""
    caption = (
        f"{of_cycle(statistics, about)}. Consistent is 1. χ² above: too little spread or too small "
        "errors; below: too much. Error and spread ratio tell which. Last: degrees of freedom per observation."
    )
    figure = new_figure(6.2, "Consistency over cycles", caption)
    panels = figure.subplots(2, 2, sharex=True)
    time, label = _time(statistics)
    titles = {"chi2": "χ²", "error_ratio": "error ratio", "spread_ratio": "spread ratio"}
    for name, colour in colours(variables_of(statistics)).items():
        used = series(statistics, name, "used")
        for axes, what in zip(panels.flat, titles, strict=False):
            axes.plot(time, used[what], label=_source(statistics, name), **line_look(time, colour, 1.5))
        with np.errstate(invalid="ignore", divide="ignore"):
            freedom = used["freedom"] / used["count"]
        panels[1, 1].plot(time, freedom, label=_source(statistics, name), **line_look(time, colour, 1.5))
    for axes, title in zip(panels.flat, titles.values(), strict=False):
        axes.axhline(1, color=INK, linewidth=0.9, linestyle="dashed")
        axes.set(ylabel=f"{title} (1)", ylim=(0, min(max(2.0, 1.1 * _top(axes)), 10.0)))
    panels[1, 1].set(ylabel="DFS / observation (1)", ylim=(0, None))
    for axes in panels.flat:
        axes.grid()
    for axes in panels[1]:
        axes.set_xlabel(label)
        _dated(axes, time)
    legend_below(figure, panels[0, 0], 6)
    return figure


def _source(statistics: xr.Dataset, name: str) -> str:
    """Variable and kind of rows, without the unit."""
    about = statistics[f"{name}_rows"].attrs
    return ", ".join(filter(None, (str(about.get("variable", name)), str(about.get("kind", "")))))


def _top(axes: Axes) -> float:
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines])
    return float(np.max(values[np.isfinite(values)], initial=1.0))


@styled
def figure_parameters(statistics: xr.Dataset, about: str) -> Figure:
    """Mean and spread of the estimated parameters over cycles, before and after the analysis."""
    names = parameters_of(statistics)
    caption = f"{of_cycle(statistics, about)}. Mean of the members, and one standard deviation to either side."
    figure = new_figure(1.5 + 2.3 * len(names), "Parameters over cycles", caption)
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    time, label = _time(statistics)
    for axes, name in zip(panels, names, strict=True):
        for stage, colour in (("forecast", GREY), ("analysis", PALETTE[0])):
            mean, spread = (statistics[f"{name}_parameter_{stage}_{what}"].values for what in ("mean", "spread"))
            axes.plot(time, mean, label=stage, **line_look(time, colour, 1.6))
            axes.fill_between(time, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)
        unit = str(statistics[f"{name}_parameter_analysis_mean"].attrs.get("units", ""))
        axes.set_ylabel(f"{name} ({unit})" if unit and unit != "1" else name)
        axes.grid()
    panels[-1].set_xlabel(label)
    _dated(panels[-1], time)
    legend_below(figure, panels[0], 4)
    return figure


def found(statistics: xr.Dataset) -> dict[tuple[str, str], list[str]]:
    """What the filter has found of kinds of observations: names of numbers, by what they are and their unit."""
    panels: dict[tuple[str, str], list[str]] = {}
    for name, number in statistics.data_vars.items():
        what = str(number.attrs.get("estimate", ""))
        if what not in ESTIMATES:
            continue
        estimate = ESTIMATES[what]
        away = np.nanmax(np.abs(number.values - estimate.nothing), initial=0.0)
        if away > (0.0 if estimate.has_unit else NOTICED):
            panels.setdefault((what, str(number.attrs.get("units", ""))), []).append(str(name))
    return panels


@styled
def figure_estimates(statistics: xr.Dataset, about: str) -> Figure:
    """Factors of errors, offsets and biases over cycles, of the kinds of observations of which some are found."""
    panels = found(statistics)
    caption = (
        f"{of_cycle(statistics, about)}. Error factor: the error of the table is taken as so many times what it says. "
        "Taken off: what an instrument is off by against others near by. Added: what the forecast is off by. Kinds of "
        "which nothing was found are left out."
    )
    kind_of = {name: str(statistics[name].attrs["learnt_as"]) for names in panels.values() for name in names}
    look = colours(sorted(set(kind_of.values())))
    figure = new_figure(1.7 + 2.3 * len(panels), "Errors, offsets and biases over cycles", caption)
    time, label = _time(statistics)
    every = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    lines = {}
    for axes, ((what, unit), names) in zip(every, panels.items(), strict=True):
        for name in names:
            kind = kind_of[name]
            (lines[kind or "all"],) = axes.plot(time, statistics[name].values, **line_look(time, look[kind], 1.6))
        axes.axhline(ESTIMATES[what].nothing, color=INK, linewidth=0.9, linestyle="dashed")
        axes.set_ylabel(f"{ESTIMATES[what].title}{unit and f' ({unit})'}")
        axes.grid()
    every[-1].set_xlabel(label)
    _dated(every[-1], time)
    figure.legend(list(lines.values()), list(lines), loc="outside lower left", ncols=4)
    return figure


@styled
def figure_model_runs(statistics: xr.Dataset, about: str) -> Figure:
    """Forecasts of the ensemble that each cycle took with the model in the loop."""
    from matplotlib.ticker import MaxNLocator

    caption = f"{of_cycle(statistics, about)}. Its own forecast is one; those beyond it are of the model in the loop."
    figure = new_figure(4.2, "Forecasts of the ensemble over cycles", caption)
    axes = figure.subplots()
    axes.bar(statistics["cycle"].values, statistics[MODEL_RUNS].values, color=PALETTE[0], width=0.9)
    axes.axhline(1, color=INK, linewidth=0.9, linestyle="dashed")
    axes.set(xlabel="cycle", ylabel="forecasts of the ensemble (1)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")
    return figure


@styled
def figure_rows(statistics: xr.Dataset, about: str) -> Figure:
    """Rows by reason over cycles; rows of other cycles are left out."""
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(4.2, "Rows used and rejected over cycles", of_cycle(statistics, about))
    axes = figure.subplots()
    total = cast(xr.DataArray, sum(statistics[f"{name}_rows"].sum("band") for name in variables_of(statistics)))
    there = (reason for reason in statistics["reason"].values.tolist() if reason != REASONS[WINDOW])
    reasons = sorted(there, key=lambda reason: reason != REASONS[USED])
    cycle = statistics["cycle"].values
    bottom = np.zeros(len(cycle))
    for reason, colour in colours(reasons).items():
        counts = total.sel(reason=reason).values.astype(float)
        axes.bar(cycle, counts, bottom=bottom, color=colour, width=0.9, label=reason)
        bottom += counts
    axes.set(xlabel="cycle", ylabel="rows (1)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.grid(axis="y")
    legend_below(figure, axes, 4)
    return figure
