"""Times as files tell them, numbers since a date: compared as dates, whatever their unit and calendar."""

from __future__ import annotations

import math
from datetime import timedelta

import cftime
import numpy as np
import xarray as xr

__all__ = ["counts_times", "differing", "said", "tells_dates"]

ROUNDING = 8
"""Steps of a number of floating point by which one time may differ between two files."""
MICROSECONDS = 2e-6
"""Seconds within which a date is read."""


def tells_dates(variable: xr.DataArray | xr.Variable) -> bool:
    """Whether the numbers of a variable are times since a date."""
    return variable.dtype.kind in "fiu" and " since " in str(variable.attrs.get("units", ""))


def counts_times(time: xr.DataArray, member_dim: str) -> bool:
    """Whether the members are states of many times, as those of a static ensemble: their dimension is the time."""
    return time.dims == (member_dim,) and (time.name == member_dim or str(member_dim).lower() == "time")


def differing(mine: xr.DataArray | xr.Variable, its: xr.DataArray | xr.Variable) -> np.ndarray:
    """Which times of two variables of one shape are not the same date up to rounding, array of bool.

    Parameters
    ----------
    mine, its : xarray.DataArray or xarray.Variable
        Numbers, with attributes `units` and `calendar`. Missing ones are the same as missing ones.

    Raises
    ------
    ValueError
        If units or calendars differ, and one of them cannot be read.
    """
    own, other = (np.asarray(one.values, np.float64) for one in (mine, its))
    tolerance = ROUNDING * max(_step(mine), _step(its))
    if _counted(mine) != _counted(its):
        second, its_second = (1 / _seconds(one) for one in (mine, its))
        tolerance = ROUNDING * (_step(mine) + _step(its) * second / its_second) + MICROSECONDS * second
        other = _moved(other, its, mine)
    same = (np.abs(own - other) <= tolerance) | np.isnan(own) & np.isnan(other)
    return ~same


def said(variable: xr.DataArray | xr.Variable, which: int = 0) -> str:
    """One of the times of a variable in words, ``2020-01-31T06:00:00``, to a millisecond; as stored if no date."""
    number = float(np.ravel(variable.values)[which])
    units, calendar = _counted(variable)
    if math.isnan(number):
        return "no time"
    try:
        date = cftime.num2date(number, units, calendar)
        return str((date + timedelta(microseconds=round(date.microsecond, -3) - date.microsecond)).isoformat())
    except (ValueError, OverflowError):
        return f"{number:g} {units}"


def _counted(variable: xr.DataArray | xr.Variable) -> tuple[str, str]:
    """Unit and calendar of times."""
    calendar = str(variable.attrs.get("calendar", "standard")).lower()
    return " ".join(str(variable.attrs["units"]).split()), "standard" if calendar == "gregorian" else calendar


def _step(variable: xr.DataArray | xr.Variable) -> float:
    """Distance of the numbers that can be stored, where they are largest; 0 for whole numbers."""
    if variable.dtype.kind != "f" or not variable.size:
        return 0.0
    return float(np.nanmax(np.spacing(np.abs(variable.values)), initial=0.0))


def _seconds(variable: xr.DataArray | xr.Variable) -> float:
    """Seconds of the unit of times."""
    one, nothing = (cftime.num2date(number, *_counted(variable)) for number in (1, 0))
    return float((one - nothing).total_seconds())


def _moved(numbers: np.ndarray, its: xr.DataArray | xr.Variable, mine: xr.DataArray | xr.Variable) -> np.ndarray:
    """Times in the unit and calendar of others; NaN for a day that the calendar does not have."""
    units, calendar = _counted(mine)
    moved = np.full(numbers.shape, np.nan)
    for place, number in np.ndenumerate(numbers):
        if not math.isnan(number):
            date = cftime.num2date(number, *_counted(its))
            try:
                there = cftime.datetime(*date.timetuple()[:6], date.microsecond, calendar=calendar)
                moved[place] = cftime.date2num(there, units, calendar)
            except ValueError:
                continue
    return moved
