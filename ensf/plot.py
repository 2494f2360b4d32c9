"""Figures of a run, drawn from its NetCDF files alone.

    rmse.png    RMSE and spread of the analysis over time, beside observation error and climatology
    ranks.png   rank histograms of the truth among the members
    states.png  truth, analysis mean and error of one seed: curves, time-space diagrams or maps

The figures take *runs*: a mapping from the name of a method to its datasets, one per seed. A method has the same
colour in all figures of the same methods. Matplotlib is imported when a figure is drawn.
"""

from __future__ import annotations

import functools
import itertools
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xarray as xr

from ensf.experiment import diverged

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figure_board", "figure_ranks", "figure_rmse", "figure_states", "report"]

Runs = Mapping[str, Sequence[xr.Dataset]]
Chosen = Mapping[str, xr.Dataset]
Look = Mapping[str, Any]

POINTS = 400
"""A longer series is averaged over neighbouring cycles."""
BARS = 30
"""A histogram of more ranks pools neighbours."""
WINDOW = 200
"""Cycles in curves and time-space diagrams."""
CURVES = 8
"""A model of more variables is shown as a field."""

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A4B94", "#8C8C00")
INK, GREY, PALE = "#222222", "#666666", "#DDDDDD"
STYLE: dict[str, Any] = {"font.size": 9.5, "axes.titlesize": 9.5, "axes.titlelocation": "left", "legend.fontsize": 9}
STYLE |= {"axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "legend.frameon": False}
STYLE |= {"grid.color": PALE, "grid.linewidth": 0.7, "text.color": INK, "axes.edgecolor": GREY}
STYLE |= {"axes.labelcolor": INK, "xtick.color": GREY, "ytick.color": GREY}
STYLE |= {"xtick.labelcolor": INK, "ytick.labelcolor": INK}


def report(directory: str | Path) -> list[Path]:
    """Draw `rmse.png`, `ranks.png` and `states.png` from the files ``METHOD_seedN.nc`` of a folder.

    Parameters
    ----------
    directory : str or Path

    Returns
    -------
    list of Path
        The figures.

    Raises
    ------
    ValueError
        If the folder holds no such file, or one that cannot be read, or none with a finished cycle.
    """
    directory = Path(directory)
    figures = {"rmse.png": figure_rmse, "ranks.png": figure_ranks, "states.png": figure_states}
    with ExitStack() as stack:
        runs = _read(directory, stack)
        return [_save(draw(runs), directory / name) for name, draw in figures.items()]


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=160)
    return path


# --- reading ---------------------------------------------------------------------------------------------


def _read(directory: Path, stack: ExitStack) -> dict[str, list[xr.Dataset]]:
    """Datasets of a folder by method, ordered by seed; those without a cycle are left out."""
    paths = sorted(directory.glob("*_seed*.nc"), key=lambda path: (len(path.name), path.name))
    if not paths:
        raise ValueError(f"{directory} holds no METHOD_seedN.nc: name the folder of a run, or run one first")
    runs: dict[str, list[xr.Dataset]] = {}
    for path in paths:
        run = _open(path, stack)
        if run.sizes.get("time", 0):
            runs.setdefault(path.stem.rsplit("_seed", 1)[0], []).append(run)
    if not runs:
        raise ValueError(f"no file in {directory} has a finished cycle: run the experiment again")
    return dict(sorted(runs.items()))


def _open(path: Path, stack: ExitStack) -> xr.Dataset:
    try:
        run = stack.enter_context(xr.open_dataset(path, engine="netcdf4", decode_times=False))
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error}): remove it, or run that seed again") from error
    return _in_years(run) if _unit(run["time"]) == "days" and _burn_in(run) <= 0 else run


def _in_years(run: xr.Dataset) -> xr.Dataset:
    """The same with time in years, if there are many days."""
    days = run["time"]
    if not days.size or np.ptp(days.values) < 1500:
        return run
    return run.assign_coords(time=("time", 2000 + days.values / 365.2425, {"units": "years"}))


def _longest(runs: Iterable[xr.Dataset]) -> xr.Dataset:
    return max(runs, key=lambda run: run.sizes["time"])


def _series(runs: Sequence[xr.Dataset], name: str) -> xr.DataArray:
    """A score of all seeds ``(seed, time)``; NaN where a run ended early or the score is not finite."""
    columns = [run[name].load() for run in runs]
    joined = xr.concat(columns, "seed", join="outer", coords="minimal", compat="override")
    return joined.where(np.isfinite(joined))


def _scored(series: xr.DataArray, run: xr.Dataset) -> xr.DataArray:
    """The part of a series after burn-in; all of it if nothing is left."""
    after = series["time"] > _burn_in(run) * (1 + 1e-12)
    return series.sel(time=after) if _burn_in(run) > 0 and after.any() else series


def _burn_in(run: xr.Dataset) -> float:
    return float(run.attrs.get("ensf_burn_in", 0.0))


def _climatology(run: xr.Dataset) -> float:
    return float(run.attrs.get("ensf_climatology", np.inf))


def _variable(run: xr.Dataset) -> str:
    """Name of the (first) model variable."""
    return next(str(name).removesuffix("_analysis_mean") for name in run if str(name).endswith("_analysis_mean"))


def _fields(chosen: Chosen, times: slice) -> dict[str, xr.Dataset]:
    """Truth, mean, spread and error of the model variable, and RMSE, by method, in a range of times."""
    fields = {}
    for method, run in chosen.items():
        name = _variable(run)
        words = {f"{name}_truth": "truth", f"{name}_analysis_mean": "mean", f"{name}_analysis_spread": "spread"}
        part = run[[*words, "rmse_analysis"]].sel(time=times).rename(words).load()
        fields[method] = part.assign(error=part["mean"] - part["truth"])
    return fields


def _recent(chosen: Chosen) -> tuple[dict[str, xr.Dataset], xr.DataArray]:
    """Fields of the last cycles of the longest run, and its truth."""
    start = _longest(chosen.values())["time"].values[-WINDOW:][0]
    fields = _fields(chosen, slice(start, None))
    return fields, _longest(fields.values())["truth"]


# --- words -----------------------------------------------------------------------------------------------


def _unit(variable: xr.DataArray) -> str:
    """Unit in words; "dimensionless" for 1, and for a model time that is written as days."""
    unit = str(variable.attrs.get("units", "1")).split(" since ")[0]
    plain = unit == "1" or str(variable.attrs.get("comment", "")).startswith("dimensionless")
    return "dimensionless" if plain else unit.replace("degrees_north", "°N").replace("degrees_east", "°E")


def _label(coordinate: xr.DataArray) -> str:
    unit = _unit(coordinate)
    index = unit == "dimensionless" and coordinate.name != "time"
    return str(coordinate.name) if index else f"{coordinate.name} ({unit})"


def _place(coordinate: xr.DataArray) -> str:
    return f"{coordinate.name} {float(coordinate):g} {_unit(coordinate).removeprefix('dimensionless')}".strip()


def _quantity(truth: xr.DataArray) -> str:
    words = str(truth.attrs.get("long_name", "state")).removesuffix(", truth")
    return textwrap.fill(f"{words} ({_unit(truth)})", 40)


def _name(method: str, run: xr.Dataset) -> str:
    return f"{method} ({run.sizes['realization']} members)"


def _heading(runs: Iterable[xr.Dataset]) -> str:
    """Experiment and seeds, such as ``lorenz96_half, seeds 1-3, 7``."""
    runs = list(runs)
    seeds = sorted({int(run.attrs["seed"]) for run in runs})
    groups = itertools.groupby(enumerate(seeds), lambda pair: pair[1] - pair[0])
    spans = [[seed for _, seed in group] for _, group in groups]
    words = ", ".join(f"{span[0]}–{span[-1]}" if len(span) > 1 else str(span[0]) for span in spans)
    return f"{runs[0].attrs.get('experiment', 'run')}, seed{'s' * (len(seeds) > 1)} {words}"


# --- frames ----------------------------------------------------------------------------------------------


def _styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw with our style, and leave the user's settings as they were."""

    @functools.wraps(draw)
    def wrapper(*args: Any, **options: Any) -> Figure:
        import matplotlib

        with matplotlib.rc_context(cast(Any, STYLE)):
            return draw(*args, **options)

    return wrapper


def _figure(height: float, title: str, caption: str) -> Figure:
    """An empty figure, 10 inches wide, with a bold title over a small caption."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, height), layout="constrained")
    lines = "\n\n" + textwrap.fill(caption, 138)
    figure.suptitle(lines, x=0.01, ha="left", fontsize=9, color=GREY, linespacing=1.35)
    figure.text(0.01, 1 - 0.09 / height, title, va="top", fontsize=13, fontweight="bold")
    return figure


def _colours(methods: Iterable[str]) -> dict[str, str]:
    return dict(zip(methods, itertools.cycle(PALETTE), strict=False))


def _line(values: Any, colour: str, width: float) -> dict[str, Any]:
    """Look of a line; of a dot if there is one cycle alone."""
    return {"color": colour, "linewidth": width, "marker": "o" if len(values) == 1 else None, "markersize": 5}


def _legend(figure: Figure, axes: Axes, columns: int) -> None:
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=columns)


# --- scores over time ------------------------------------------------------------------------------------


@_styled
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
    run = _longest(every)
    step = -(-run.sizes["time"] // POINTS)
    smooth = f" Averages over {step} cycles." if step > 1 else ""
    many = " Lines are medians over seeds, bands span all seeds." if max(map(len, runs.values())) > 1 else ""
    words = f"Solid: RMSE of the analysis mean. Dashed: spread.{smooth}{many} Right: means over time after burn-in."
    figure = _figure(5.2, "Error and spread of the analysis", f"{_heading(every)}. {words}")
    axes, means = figure.subplots(1, 2, sharey=True, width_ratios=(10, 1 + 0.2 * len(runs)))
    scores = {method: _series(datasets, "rmse_analysis") for method, datasets in runs.items()}
    for column, (method, colour) in enumerate(_colours(runs).items()):
        label = _score_label(method, runs[method], scores[method])
        spread = _series(runs[method], "spread_analysis")
        _draw_scores(axes, _thinned(scores[method], step), _thinned(spread, step), colour, label)
        _draw_means(means, _scored(scores[method], run).mean("time"), column, colour)
    _draw_references(axes, run)
    _scale(axes, _climatology(run))
    axes.set(xlabel=_label(run["time"]), ylabel=f"RMSE and spread ({_unit(run['rmse_analysis'])})")
    means.set(xlim=(-0.7, len(runs) - 0.3), xticks=[], xlabel="time mean\nof each seed")
    means.tick_params(labelleft=False)
    _legend(figure, axes, 2)
    return figure


def _score_label(method: str, runs: Sequence[xr.Dataset], rmse: xr.DataArray) -> str:
    typical = float(_scored(rmse, runs[0]).mean("time").median())
    lost = sum(diverged(run["rmse_analysis"].values, _climatology(run)) for run in runs)
    return f"{_name(method, runs[0])}: RMSE {typical:.3g}" + f", {lost} of {len(runs)} diverged" * bool(lost)


def _thinned(series: xr.DataArray, step: int) -> xr.DataArray:
    """Means over `step` cycles, without times that no seed has."""
    series = series.coarsen(time=step, boundary="pad").mean() if step > 1 else series
    return series.dropna("time", how="all")


def _draw_scores(axes: Axes, rmse: xr.DataArray, spread: xr.DataArray, colour: str, label: str) -> None:
    low, high = rmse.min("seed"), rmse.max("seed")
    axes.fill_between(rmse["time"], low, high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(spread["time"], spread.median("seed"), **_line(spread["time"], colour, 1), linestyle="dashed")
    axes.plot(rmse["time"], rmse.median("seed"), **_line(rmse["time"], colour, 1.6), label=label)


def _draw_means(axes: Axes, means: xr.DataArray, column: int, colour: str) -> None:
    axes.plot(np.full(means.size, column), means, "o", color=colour, alpha=0.6, markersize=5, mew=0)
    axes.plot(column, means.median(), "_", color=colour, markersize=11, mew=2)


def _draw_references(axes: Axes, run: xr.Dataset) -> None:
    look: dict[str, Any] = {"color": INK, "linewidth": 0.9, "zorder": 1}
    observed = run["observation_error"]
    error, climatology = float(observed.isel(time=-1).mean()), _climatology(run)
    if np.isfinite(error) and _unit(observed) == _unit(run["rmse_analysis"]):
        axes.axhline(error, linestyle=(0, (1, 2)), label=f"observation error {error:.3g} (as observed)", **look)
    if np.isfinite(climatology):
        axes.axhline(climatology, linestyle=(0, (6, 2, 1, 2)), label=f"climatology {climatology:.3g}", **look)
    if (burn_in := _burn_in(run)) > 0:
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


# --- rank histograms -------------------------------------------------------------------------------------


@_styled
def figure_ranks(runs: Runs) -> Figure:
    """Rank histogram of the truth among the members of the analysis, one panel per method.

    Parameters and result as in `figure_rmse`.
    """
    rows, columns = -(-len(runs) // 3), min(len(runs), 3)
    caption = (
        f"{_heading(itertools.chain(*runs.values()))}, after burn-in. A flat histogram says that the truth is like "
        "one more member; a hump says too much spread, a trough too little. Bars pool all seeds."
    )
    figure = _figure(1.5 + 2.4 * rows, "Rank of the truth among the members of the analysis", caption)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in panels.flat[len(runs) :]:
        axes.set_axis_off()
    tops = []
    for axes, (method, colour) in zip(panels.flat, _colours(runs).items(), strict=False):
        tops.append(_draw_ranks(axes, runs[method], colour))
        axes.set_title(_name(method, runs[method][0]))
    panels[0, 0].set_ylim(0, np.clip(1.25 * max(tops), 1.7, 5))
    for axes in panels[:, 0]:
        axes.set_ylabel("frequency relative to flat (1)")
    for axes in panels.flat[max(0, len(runs) - columns) : len(runs)]:
        axes.set_xlabel("rank / number of ranks (1)")
    _legend(figure, panels[0, 0], 3)
    return figure


def _draw_ranks(axes: Axes, runs: Sequence[xr.Dataset], colour: str) -> float:
    """Draw the histogram; return the height of its tallest bar."""
    counts = np.stack([_scored(run["rank_histogram"], run).sum("time").values for run in runs])
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


# --- states ----------------------------------------------------------------------------------------------


@_styled
def figure_states(runs: Runs) -> Figure:
    """Truth, analysis mean and error of one seed, the first that all methods share.

    Curves of each variable for tiny models, time-space diagrams for fields of one dimension, maps otherwise.
    Parameters and result as in `figure_rmse`.
    """
    shared = set.intersection(*({run.attrs["seed"] for run in datasets} for datasets in runs.values()))
    chosen = {
        method: next((run for run in datasets if run.attrs["seed"] in sorted(shared)[:1]), datasets[0])
        for method, datasets in runs.items()
    }
    run = _longest(chosen.values())
    truth = run[f"{_variable(run)}_truth"]
    draw = _curves if truth[0].size <= CURVES else _hovmoeller if truth.ndim == 2 else _maps
    return draw(chosen)


def _about(chosen: Chosen) -> str:
    cycles = _longest(chosen.values()).sizes["time"]
    return _heading(chosen.values()) + f", last {WINDOW} of {cycles} cycles" * (cycles > WINDOW)


def _curves(chosen: Chosen) -> Figure:
    fields, truth = _recent(chosen)
    size, name = truth[0].size, _variable(next(iter(chosen.values())))
    caption = f"{_about(chosen)}. Left: states. Right: analysis mean minus truth. Bands: two standard deviations."
    figure = _figure(1.4 + 1.5 * size, "Truth, analysis and error", caption)
    panels = figure.subplots(size, 2, sharex=True, squeeze=False)
    for number, row in enumerate(panels):
        for method, colour in _colours(chosen).items():
            mean, error, spread = (_component(fields[method][what], number) for what in ("mean", "error", "spread"))
            _draw_band(row[0], mean, spread, colour, _name(method, chosen[method]))
            _draw_band(row[1], error, spread, colour)
        values = _component(truth, number)
        margin = 0.2 * float(values.max() - values.min()) or 1.0
        row[0].plot(truth["time"], values, **_line(values, INK, 0.9), label="truth")
        row[0].set_ylim(float(values.min()) - margin, float(values.max()) + margin)
        row[0].set_ylabel(f"{name}[{number}] ({_unit(truth)})")
        row[1].set_ylabel(f"error ({_unit(truth)})")
        row[1].axhline(0, color=INK, linewidth=0.9)
    for axes in panels.flat:
        axes.margins(x=0.01)
        axes.grid()
    for axes in panels[-1]:
        axes.set_xlabel(_label(truth["time"]))
    _legend(figure, panels[0, 0], 4)
    return figure


def _component(field: xr.DataArray, number: int) -> xr.DataArray:
    return field.stack(component=field.dims[1:])[:, number]


def _draw_band(axes: Axes, centre: xr.DataArray, spread: xr.DataArray, colour: str, label: str | None = None) -> None:
    """A line, with two standard deviations either side."""
    time = centre["time"]
    axes.plot(time, centre, **_line(time, colour, 1.3), label=label)
    axes.fill_between(time, centre - 2 * spread, centre + 2 * spread, color=colour, alpha=0.2, linewidth=0)


def _hovmoeller(chosen: Chosen) -> Figure:
    fields, truth = _recent(chosen)
    caption = f"{_about(chosen)}. Left: states. Right: analysis mean minus truth, and its RMSE."
    figure = _figure(2.1 + 1.3 * (len(chosen) + 1), "Truth, analysis and error", caption)
    panels = figure.subplots(len(chosen) + 1, 2, sharex=True)
    state = _state_look(truth)
    error = _error_look(part["error"][part.sizes["time"] // 2 :] for part in fields.values())
    _draw_plane(panels[0, 0], truth.T, state, "truth")
    for row, (method, colour) in zip(panels[1:], _colours(chosen).items(), strict=True):
        part = fields[method]
        _draw_plane(row[0], part["mean"].T, state, _name(method, chosen[method]), colour)
        _draw_plane(row[1], part["error"].T, error, f"error of {method}", colour)
        panels[0, 1].plot(part["time"], part["rmse_analysis"], **_line(part["time"], colour, 1.3))
    panels[0, 1].set(title="RMSE of the methods", ylabel=f"({_unit(truth)})", ylim=(0, None))
    panels[0, 1].grid()
    for axes in panels[-1]:
        axes.set_xlabel(_label(truth["time"]))
    _bars(figure, panels, state, error, truth)
    return figure


def _maps(chosen: Chosen) -> Figure:
    last = min(run["time"].values[-1] for run in chosen.values())
    fields = {method: _layer(part) for method, part in _fields(chosen, slice(last, last)).items()}
    truth = next(iter(fields.values()))["truth"]
    fixed = sorted((name for name in truth.coords if not truth[name].ndim), key=lambda name: name != "time")
    where = ", ".join(_place(truth[name]) for name in fixed)
    caption = f"{_heading(chosen.values())}, {where}. Below each state: analysis mean minus truth."
    columns, aspect = min(len(chosen) + 1, 4), _aspect(truth)
    blocks = -(-(len(chosen) + 1) // columns)
    height = 1.75 + 2 * blocks * (0.3 + np.clip(9.2 * aspect / columns, 1, 4))
    figure = _figure(height, "Truth, analysis and error", caption)
    panels = figure.subplots(2 * blocks, columns, sharex=True, sharey=True)
    for axes in panels.flat:
        axes.set_axis_off()
    state, error = _state_look(truth), _error_look(part["error"] for part in fields.values())
    _draw_plane(panels[0, 0], truth, state, "truth")
    for place, (method, colour) in enumerate(_colours(chosen).items(), 1):
        part, (block, column) = fields[method], divmod(place, columns)
        title = f"error, RMSE {float(part['rmse_analysis']):.3g}"
        _draw_plane(panels[2 * block, column], part["mean"], state, _name(method, chosen[method]), colour)
        _draw_plane(panels[2 * block + 1, column], part["error"], error, title, colour)
    for axes in panels.flat:
        axes.set_box_aspect(aspect)
        axes.label_outer()
    _bars(figure, panels, state, error, truth)
    return figure


def _layer(fields: xr.Dataset) -> xr.Dataset:
    """The plane of the last two dimensions: one time, and the first of any levels."""
    return fields.isel(dict.fromkeys(fields["truth"].dims[:-2], 0))


def _aspect(plane: xr.DataArray) -> float:
    """Height over width: the true one if both axes are in metres, say, or in degrees."""
    vertical, horizontal = (plane[name] for name in plane.dims)
    if _unit(vertical)[:1] != _unit(horizontal)[:1]:
        return 1.0
    return float(np.clip(np.ptp(_edges(vertical)) / np.ptp(_edges(horizontal)), 0.25, 2))


def _state_look(truth: xr.DataArray) -> Look:
    from matplotlib.colors import Normalize

    return {"cmap": "viridis", "norm": Normalize(*np.quantile(truth, (0.005, 0.995)))}


def _error_look(errors: Iterable[xr.DataArray]) -> Look:
    """Symmetric about 0, for the errors of the typical method: one that is lost does not pale the others."""
    from matplotlib.colors import Normalize

    sizes = [np.abs(error.values[np.isfinite(error.values)]) for error in errors]
    limits = [np.quantile(size, 0.99) for size in sizes if len(size)]
    limit = float(np.quantile(limits or 1.0, 0.5, method="lower")) or 1.0
    return {"cmap": "RdBu_r", "norm": Normalize(-limit, limit)}


def _draw_plane(axes: Axes, plane: xr.DataArray, look: Look, title: str, colour: str = GREY) -> None:
    """A plane (vertical, horizontal) with its coordinates on the axes and a margin in the method's colour."""
    vertical, horizontal = (plane[name] for name in plane.dims)
    axes.set_axis_on()
    axes.set(title=title, facecolor=PALE, ylabel=_label(vertical), ylim=_edges(vertical)[[0, -1]])
    axes.spines["left"].set(color=colour, linewidth=3)
    if len(_label(vertical)) < 3:
        axes.yaxis.label.set(rotation=0, va="center")
    if horizontal.name != "time":
        axes.set_xlabel(_label(horizontal))
    if plane.size:
        axes.pcolormesh(_edges(horizontal), _edges(vertical), plane.values, rasterized=True, **look)
    else:
        axes.text(0.5, 0.5, "ended before", transform=axes.transAxes, ha="center", va="center")


def _edges(centres: xr.DataArray) -> np.ndarray:
    """Edges of the cells around centres."""
    values = centres.values.astype(float)
    middle = (values[1:] + values[:-1]) / 2
    first, last = (middle[0], middle[-1]) if len(middle) else (values[0] - 0.5, values[0] + 0.5)
    ends = (2 * values[0] - first, 2 * values[-1] - last) if len(middle) else (first, last)
    return np.concatenate((ends[:1], middle, ends[1:]))


def _bars(figure: Figure, panels: Any, state: Look, error: Look, truth: xr.DataArray) -> None:
    """Colour bars of states and errors below the left and right half of the panels."""
    from matplotlib.cm import ScalarMappable

    half = panels.shape[1] // 2
    labels = _quantity(truth), f"error ({_unit(truth)})"
    for look, label, part in zip((state, error), labels, (panels[:, :half], panels[:, half:]), strict=True):
        place: dict[str, Any] = {"location": "bottom", "aspect": 80 * part.shape[1] / panels.shape[1], "pad": 0.02}
        figure.colorbar(ScalarMappable(**look), ax=list(part.flat), label=label, extend="both", **place)


# --- methods by experiments ------------------------------------------------------------------------------


@_styled
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
    figure = _figure(1.7 + 0.5 * len(table), "Methods by experiments", caption)
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
        look: dict[str, Any] = {"color": "white" if octaves[row, column] > 1.3 else INK, "fontsize": 8.5}
        weight = "bold" if octaves[row, column] == 0 and not lost else "normal"
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontweight=weight, **look)
    bar = figure.colorbar(mesh, ax=axes, extend="max", aspect=25, pad=0.02, label="ratio to the best (1)")
    bar.set_ticks([0, 0.5, 1, 1.5, 2], labels=["1", "1.4", "2", "2.8", "4"])
    return figure
