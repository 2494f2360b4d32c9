"""When the members of a forecast are valid, as their files say: all at the same times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from ensf.dataset import netcdf
from ensf.dataset.coordinates import CRITERIA
from ensf.dataset.dates import counts_times, differing, said, tells_dates
from ensf.dataset.stored import decoded
from ensf.dataset.stores import check_there

__all__ = ["check_times", "time_variable", "times_of", "valid_time"]


def check_times(paths: Sequence[Path], member_dim: str) -> None:
    """Raise ValueError that names a member of other times than the first, in one file or in one of each member.

    Times are compared as dates. Files that tell none are alike.
    """
    first = _of_all(paths[0], member_dim)
    for path in paths[1:]:
        _refuse_other(_of_all(path, member_dim), first, str(path), str(paths[0]))


def _of_all(path: Path, member_dim: str) -> xr.DataArray | None:
    """The times of a file, which are those of all its members; None if it tells none, or states of many times are
    the members.
    """
    time = times_of(path)
    if time is None:
        return None
    if time.size > 1 and np.isnan(time.values).any():
        which = int(np.argmax(np.isnan(time.values)))
        raise ValueError(f"{path}: variable {time.name!r} has no time at {which} of {time.size} places: repair it")
    if np.isinf(time.values).any():
        raise ValueError(f"{path}: variable {time.name!r} is infinite: repair it")
    if counts_times(time, member_dim):
        return None
    if member_dim in time.dims:
        first, *others = (time.isel({member_dim: member}) for member in range(time.sizes[member_dim]))
        for member, other in enumerate(others, 1):
            _refuse_other(other, first, f"member {member} of {path}", "member 0")
        return first
    return time


def _refuse_other(time: xr.DataArray | None, first: xr.DataArray | None, name: str, first_name: str) -> None:
    """Raise ValueError unless the times of a member are those of the first."""
    if time is None and first is None:
        return
    which = 0
    if time is not None and first is not None:
        if time.size != first.size:
            raise ValueError(f"{name} has {time.size} times but {first_name} {first.size}: make members alike")
        try:
            others = differing(first, time).ravel()
        except ValueError as error:
            raise ValueError(f"times of {name} cannot be compared with those of {first_name} ({error})") from error
        if not others.any():
            return
        which = int(np.argmax(others))
    its, mine = ("no time" if one is None else said(one, which) for one in (time, first))
    raise ValueError(
        f"{name} is of {its} but {first_name} of {mine}: give members of the same time, or with --by-time a name or "
        "pattern for the files of each"
    )


def times_of(path: Path, several: bool = True) -> xr.DataArray | None:
    """The times of a file as numbers, NaN where one is missing; None if it tells none, or several if it may not.

    Raises
    ------
    ValueError
        If the file cannot be read, or WRF's ``Times`` are no dates.
    """
    check_there(path)
    with netcdf.reading(path) as file:
        try:
            time = time_variable(file, several)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        return None if time is None else decoded(xr.Dataset({"one": time.variable}))["one"].rename(time.name)


def valid_time(path: Path) -> np.datetime64 | None:
    """The time that a file is of, in its own calendar; None if it does not say, or has several, or one is missing.

    Parameters
    ----------
    path : Path
        NetCDF, with a time coordinate that is a scalar or of length one, or WRF's ``Times``.

    Raises
    ------
    ValueError
        If the time cannot be read as a date.
    """
    time = times_of(path, several=False)
    if time is None or np.isnan(time.values).any():
        return None
    try:
        value = xr.conventions.decode_cf_variable("time", time.variable).values.reshape(-1)[0]
        return np.datetime64(str(value), "us")
    except Exception as error:  # the libraries below raise many kinds of error for units that they cannot read
        problem = " ".join(str(error).split())[:200]
        raise ValueError(f"{path}: variable {time.name!r} is no date ({problem}): say window START/END") from error


def time_variable(file: xr.Dataset, several: bool = False) -> xr.DataArray | None:
    """The variable that says when a file is valid: by standard name or axis, else name, else dimension, else units.

    Parameters
    ----------
    file : xarray.Dataset
        With times as numbers. WRF's ``Times`` become seconds.
    several : bool
        Whether it may have several times.

    Raises
    ------
    ValueError
        If WRF's ``Times`` are no dates.
    """
    dates = [
        variable
        for variable in map(file.__getitem__, file.variables)
        if tells_dates(variable)
        and (variable.size == 1 or several and variable.size)
        and variable.attrs.get("standard_name") != "forecast_reference_time"
    ]
    criterion = CRITERIA["time"]
    for fits in (
        [variable for variable in dates if variable.attrs.get("standard_name") in criterion.standard_names],
        [variable for variable in dates if variable.attrs.get("axis") == criterion.axis],
        [variable for variable in dates if variable.name in ("time", *criterion.names)],
        [variable for variable in dates if variable.name in variable.dims],
        dates,
    ):
        if len(fits) == 1:
            return fits[0]
    return _of_wrf(file, several)


def _of_wrf(file: xr.Dataset, several: bool) -> xr.DataArray | None:
    """The character variable ``Times``, as in 2024-01-31_12:00:00, in seconds."""
    if "Times" not in file.variables or not (file["Times"].size == 1 or several and file["Times"].size):
        return None
    texts = [text.decode() if isinstance(text, bytes) else str(text) for text in file["Times"].values.ravel()]
    try:
        seconds = np.array([text.replace("_", "T") for text in texts], dtype="datetime64[s]").astype(np.int64)
    except ValueError as error:
        raise ValueError(f"variable 'Times' is no date ({error}): write one such as 2024-01-31_12:00:00") from error
    attributes = {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"}
    return xr.DataArray(seconds, dims="Time", name="Times", attrs=attributes)
