"""IODA files, the observations of JEDI: NetCDF with the groups MetaData, ObsValue, ObsError and PreQC.

A variable has one value per place, or one per place and channel; then each channel is a variable of its own, called
``brightnessTemperature_5`` for channel 5.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
import xarray as xr

from ensf.dataset import netcdf
from ensf.dataset.stored import JEDI_INTEGERS
from ensf.tables.columns import Columns, codes, import_row
from ensf.tables.flags import NO_ERROR
from ensf.tables.formats.cf_points import dates, opened, text
from ensf.tables.formats.csv import times
from ensf.tables.stations.vertical import SI, factor
from ensf.tables.units import stated

__all__ = ["is_ioda", "load", "vertical"]

VERTICAL = ("pressure", "depthBelowWaterSurface", "depth", "height")
"""Variables of MetaData that say how high, the first that is there."""


def is_ioda(path: Path) -> bool:
    """Whether a NetCDF file has the group of the values."""
    return "ObsValue" in _groups(path)


def vertical(path: Path) -> str | None:
    """The variable of MetaData that says how high, if there is one."""
    inside = _group(path, "MetaData", _groups(path)).variables
    return next((name for name in VERTICAL if name in inside), None)


def load(path: Path, variables: Mapping[str, str] | None, vertical: str | None, good: Collection[int]) -> Columns:
    """Columns of an IODA file; parameters and errors are those of `ensf.tables.read_ioda`.

    Parameters
    ----------
    path : Path
    variables : mapping of str to str, or None
        Names in the file to those of the state; None = all.
    vertical : str or None
        Variable of MetaData that says how high.
    good : collection of int
        Codes of quality that are used.
    """
    there = _groups(path)
    groups = {name: _group(path, name, there) for name in ("MetaData", "ObsValue", "ObsError")}
    groups["PreQC"] = opened(path, "PreQC", JEDI_INTEGERS) if "PreQC" in there else xr.Dataset()
    names = dict(variables) if variables is not None else {str(name): str(name) for name in groups["ObsValue"]}
    if not names:
        raise ValueError(f"{path} has no variables in its group ObsValue: there is nothing to import")
    numbers = _channel_numbers(path, groups["MetaData"])
    place = {
        "time": _times(path, groups["MetaData"]),
        "lat": _numbers(path, groups, "MetaData", "latitude"),
        "lon": _numbers(path, groups, "MetaData", "longitude"),
        **({} if vertical is None else _height(path, groups, vertical)),
    }
    parts = [
        {"variable": np.full(len(place["time"]), called), **_part(path, groups, inside, channel, good), **place}
        for inside, channel, called in _series(path, groups["ObsValue"], names, numbers)
    ]
    names_of_all = list(dict.fromkeys(name for part in parts for name in part))
    none = np.full(len(place["time"]), "")
    return Columns(
        {name: np.concatenate([part.get(name, none) for part in parts]) for name in names_of_all}, {}, import_row
    )


def _series(
    path: Path, values: xr.Dataset, names: Mapping[str, str], numbers: list[int]
) -> Iterator[tuple[str, int | None, str]]:
    """Name in the file, place of the channel if there are channels, and name in the state, of each variable."""
    for inside, called in names.items():
        stem, _, number = inside.rpartition("_")
        if inside not in values.variables and stem in values.variables and number.isdecimal():
            if int(number) not in numbers:
                raise ValueError(f"{path}: ObsValue/{stem} has no channel {number}: choose from {_listed(numbers)}")
            yield stem, numbers.index(int(number)), called
            continue
        variable = _variable(path, values, "ObsValue", inside)
        if variable.ndim == 1:
            yield inside, None, called
        else:
            count = variable.shape[1]
            for channel, own in enumerate(numbers if len(numbers) == count else range(1, count + 1)):
                yield inside, channel, f"{called}_{own}"


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"


def _channel_numbers(path: Path, metadata: xr.Dataset) -> list[int]:
    """Numbers of the channels in their order, of MetaData/sensorChannelNumber or the variable Channel."""
    for dataset, name in ((metadata, "sensorChannelNumber"), (opened(path), "Channel"), (opened(path), "nchans")):
        if name in dataset.variables and dataset.variables[name].dtype.kind in "iuf":
            return [int(number) for number in np.nan_to_num(dataset.variables[name].values, nan=-1).ravel()]
    return []


def _part(
    path: Path, groups: Mapping[str, xr.Dataset], inside: str, channel: int | None, good: Collection[int]
) -> dict[str, np.ndarray]:
    """Value, error and code of one variable, or of one channel of it."""
    value, error = (_numbers(path, groups, group, inside, channel) for group in ("ObsValue", "ObsError"))
    there = inside in groups["PreQC"]
    qc = np.nan_to_num(_numbers(path, groups, "PreQC", inside, channel), nan=-1) if there else np.zeros(len(value))
    qc = codes(qc, good) if there else qc.astype(np.int32)
    without_error = (qc == 0) & ~np.isnan(value) & np.isnan(error)
    columns = {"value": value, "error": error, "qc": np.where(without_error, NO_ERROR, qc)}
    units = {"value": groups["ObsValue"][inside].attrs, "error": groups["ObsError"][inside].attrs}
    return columns | stated(len(value), columns, units)


def _height(path: Path, groups: Mapping[str, xr.Dataset], vertical: str) -> dict[str, np.ndarray]:
    """The column that its units make of a variable of MetaData."""
    column = _numbers(path, groups, "MetaData", vertical)
    units = str(groups["MetaData"][vertical].attrs.get("units", ""))
    name = "pressure" if factor(units, "Pa") else "depth" if vertical.lower().startswith("depth") else "height"
    scale = factor(units, SI[name]) if units else None
    return {"z": column} if scale is None else {name: column * scale}


def _groups(path: Path) -> tuple[str, ...]:
    """Names of the groups of a file that can be read."""
    with netcdf.reading(path), netcdf.opened(path) as file:
        return tuple(file.groups)


def _group(path: Path, name: str, there: tuple[str, ...]) -> xr.Dataset:
    if name not in there:
        raise ValueError(f"{path} has no group {name!r}: an IODA file has MetaData, ObsValue and ObsError")
    return opened(path, name, JEDI_INTEGERS)


def _numbers(
    path: Path, groups: Mapping[str, xr.Dataset], group: str, name: str, channel: int | None = None
) -> np.ndarray:
    """Numbers of a variable at each place, of one channel if it has channels."""
    variable = _variable(path, groups[group], group, name)
    if variable.dtype.kind not in "fiu":
        raise ValueError(f"{path}: {group}/{name} has dtype {variable.dtype}: numbers are needed")
    if variable.ndim != (1 if channel is None else 2):
        raise ValueError(
            f"{path}: {group}/{name} has dimensions {variable.dims}: it needs one along the places"
            f"{'' if channel is None else ', and one along the channels'}"
        )
    return variable.values[... if channel is None else (slice(None), channel)].astype(np.float64)


def _variable(path: Path, dataset: xr.Dataset, group: str, name: str) -> xr.Variable:
    if name not in dataset.variables:
        raise ValueError(
            f"{path} has no variable {group}/{name}: the group has {', '.join(map(str, dataset.variables))}"
        )
    variable = dataset.variables[name]
    if variable.ndim not in (1, 2):
        raise ValueError(f"{path}: {group}/{name} has dimensions {variable.dims}: it needs places, or also channels")
    return variable


def _times(path: Path, metadata: xr.Dataset) -> np.ndarray:
    """Of MetaData/dateTime: numbers with units, or ISO 8601."""
    name = "datetime" if "datetime" in metadata.variables else "dateTime"
    variable = _variable(path, metadata, "MetaData", name)
    if variable.dtype.kind in "fiu":
        return dates(variable, path)
    return times(tuple(text(variable.values).tolist()), path, lambda row: f"MetaData/{name} {row}")
