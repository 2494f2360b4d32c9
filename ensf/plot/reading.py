"""Files of a folder as runs, and what the figures take from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import xarray as xr

from ensf.dataset.netcdf import lazy
from ensf.plot.words import unit_of

__all__ = [
    "WINDOW",
    "Chosen",
    "Runs",
    "burn_in_of",
    "climatology_of",
    "fields_of",
    "longest",
    "read_runs",
    "recent_fields",
    "scored",
    "seed_series",
    "variable_of",
    "when_scored",
]

Runs = Mapping[str, Sequence[xr.Dataset]]
Chosen = Mapping[str, xr.Dataset]

WINDOW = 200
"""Cycles in curves and time-space diagrams."""


def read_runs(directory: Path, stack: ExitStack) -> dict[str, list[xr.Dataset]]:
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
        run = stack.enter_context(lazy(path))
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error}): remove it, or run that seed again") from error
    return _in_years(run) if unit_of(run["time"]) == "days" and burn_in_of(run) <= 0 else run


def _in_years(run: xr.Dataset) -> xr.Dataset:
    """The same with time in years, if there are many days."""
    days = run["time"]
    if not days.size or np.ptp(days.values) < 1500:
        return run
    return run.assign_coords(time=("time", 2000 + days.values / 365.2425, {"units": "years"}))


def longest(runs: Iterable[xr.Dataset]) -> xr.Dataset:
    return max(runs, key=lambda run: run.sizes["time"])


def seed_series(runs: Sequence[xr.Dataset], name: str) -> xr.DataArray:
    """A score of all seeds ``(seed, time)``; NaN where a run ended early or the score is not finite."""
    columns = [run[name].load() for run in runs]
    joined = xr.concat(columns, "seed", join="outer", coords="minimal", compat="override")
    return joined.where(np.isfinite(joined))


def scored(series: xr.DataArray, run: xr.Dataset) -> xr.DataArray:
    """The part of a series after burn-in; all of it if nothing is left."""
    after = series["time"] > burn_in_of(run) * (1 + 1e-12)
    return series.sel(time=after) if burn_in_of(run) > 0 and after.any() else series


def when_scored(run: xr.Dataset) -> str:
    """Over which cycles means of a run are taken, in words for a caption."""
    short = burn_in_of(run) > 0 and scored(run["time"], run).size == run.sizes["time"]
    return "over all cycles (the run ends within its burn-in)" if short else "after burn-in"


def burn_in_of(run: xr.Dataset) -> float:
    return float(run.attrs.get("ensf_burn_in", 0.0))


def climatology_of(run: xr.Dataset) -> float:
    return float(run.attrs.get("ensf_climatology", np.inf))


def variable_of(run: xr.Dataset) -> str:
    """Name of the (first) model variable."""
    return next(str(name).removesuffix("_analysis_mean") for name in run if str(name).endswith("_analysis_mean"))


def fields_of(chosen: Chosen, times: slice) -> dict[str, xr.Dataset]:
    """Truth, mean, spread and error of the model variable, and RMSE, by method, in a range of times."""
    fields = {}
    for method, run in chosen.items():
        name = variable_of(run)
        words = {f"{name}_truth": "truth", f"{name}_analysis_mean": "mean", f"{name}_analysis_spread": "spread"}
        part = run[[*words, "rmse_analysis"]].sel(time=times).rename(words).load()
        fields[method] = part.assign(error=part["mean"] - part["truth"])
    return fields


def recent_fields(chosen: Chosen) -> tuple[dict[str, xr.Dataset], xr.DataArray]:
    """Fields of the last cycles of the longest run, and its truth."""
    start = longest(chosen.values())["time"].values[-WINDOW:][0]
    fields = fields_of(chosen, slice(start, None))
    return fields, longest(fields.values())["truth"]
