"""When the forecast is valid, and which times around it count as its own: a window [start, end).

An observation on the common edge of two windows belongs to the later one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from ensf.dataset import netcdf
from ensf.dataset.coordinates import CRITERIA

__all__ = ["Span", "time_variable", "valid_time", "window_of"]

Span = tuple[np.datetime64, np.datetime64]
SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
DEFAULT = "6h"


def window_of(text: str, paths: Sequence[Path]) -> Span | None:
    """The window of a forecast; None if every time counts.

    Parameters
    ----------
    text : str
        ``START/END`` in ISO 8601; a duration such as ``6h``, centred at the time of the files; ``all``; or nothing,
        which is six hours if the files say what time it is, else ``all``.
    paths : sequence of Path
        Files of the forecast.

    Raises
    ------
    ValueError
        If the text is none of these, the files are of different times, or do not say theirs and the text needs it.
    """
    if text == "all":
        return None
    if "/" in text:
        return _interval(text)
    width = _duration(text or DEFAULT)
    times = [valid_time(path) for path in paths]
    for path, time in zip(paths, times, strict=True):
        if time != times[0]:
            raise ValueError(f"{path} is of {_said(time)} but {paths[0]} of {_said(times[0])}: make members alike")
    if times[0] is None:
        if text:
            raise ValueError(f"{paths[0]} does not say what time it is, which window {text!r} needs: give START/END")
        return None
    return times[0] - width // 2, times[0] - width // 2 + width


def _interval(text: str) -> Span:
    start, _, end = text.partition("/")
    try:
        window = np.datetime64(start.strip(), "us"), np.datetime64(end.strip(), "us")
    except ValueError:
        raise ValueError(f"window {text!r} is no START/END: give two dates such as 2024-01-31T09:00") from None
    if not window[0] < window[1]:
        raise ValueError(f"window {text!r} is empty: give START before END")
    return window


def _duration(text: str) -> np.timedelta64:
    match = re.fullmatch(r"(\d+)\s*(s|min|h|d)", text.strip())
    if match is None or int(match[1]) == 0:
        raise ValueError(f"window {text!r} cannot be read: give a duration such as 6h, START/END, or all")
    return np.timedelta64(int(match[1]) * SECONDS[match[2]] * 10**6, "us")


def _said(time: np.datetime64 | None) -> str:
    return "no time" if time is None else str(time.astype("datetime64[s]"))


def valid_time(path: Path) -> np.datetime64 | None:
    """The time that a file is of, in its own calendar; None if it does not say, or has several.

    Parameters
    ----------
    path : Path
        NetCDF, with a time coordinate that is a scalar or of length one, or WRF's ``Times``.

    Raises
    ------
    ValueError
        If the time cannot be read as a date.
    """
    with netcdf.reading(path) as file:
        time = time_variable(file)
        if time is None:
            return None
        try:
            value = xr.conventions.decode_cf_variable("time", time.variable.load()).values.reshape(-1)[0]
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
    """
    numbers = (file[name] for name in file.variables if file[name].dtype.kind in "fiu")
    dates = [
        variable
        for variable in numbers
        if " since " in str(variable.attrs.get("units", ""))
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
    seconds = np.array([text.replace("_", "T") for text in texts], dtype="datetime64[s]").astype(np.int64)
    return xr.DataArray(seconds, dims="Time", name="Times", attrs={"units": "seconds since 1970-01-01"})
