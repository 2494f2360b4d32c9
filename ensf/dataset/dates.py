"""Times as files tell them, numbers since a date: compared as dates, whatever their unit and calendar."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import cftime
import numpy as np
import xarray as xr

__all__ = ["counts_times", "differing", "other_time", "rounding", "said", "seconds_after", "tells_dates"]

ROUNDING = 2
"""Steps of a number of floating point by which one time may differ between two files."""
MICROSECONDS = 2e-6
"""Seconds within which a date is read."""
SINCE = re.compile(r"\s+since\s+", re.IGNORECASE)
NANOSECONDS = ("nanosecond", "nanoseconds", "nanosec", "nsec", "ns")
"""Units that cftime does not know."""


def tells_dates(variable: xr.DataArray | xr.Variable) -> bool:
    """Whether the numbers of a variable are times since a date."""
    return variable.dtype.kind in "fiu" and SINCE.search(str(variable.attrs.get("units", ""))) is not None


def counts_times(time: xr.DataArray, member_dim: str) -> bool:
    """Whether the members are states of many times, as those of a static ensemble: their dimension is the time."""
    return time.dims == (member_dim,) and (time.name == member_dim or str(member_dim).lower() == "time")


@contextmanager
def _of_any_year() -> Iterator[None]:
    """Without the warning of a year 0, which the calendar of the CF conventions does not have, but files count from."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "this date/calendar/year zero convention")
        yield


@_of_any_year()
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
    own, other = (_numbers(one) for one in (mine, its))
    step, its_step = (_step(one) for one in (mine, its))
    tolerance = ROUNDING * max(step, its_step)
    if _counted(mine)[1:] != _counted(its)[1:]:
        second, its_second = (1 / _seconds(one) for one in (mine, its))
        tolerance = ROUNDING * (step + its_step * second / its_second) + MICROSECONDS * second
        other = _moved(other, its, mine)
    same = (np.abs(own - other) <= tolerance) | np.isnan(own) & np.isnan(other)
    return ~same


def other_time(its: xr.DataArray | xr.Variable, mine: xr.DataArray | xr.Variable) -> str:
    """Where times are not those of another variable of their shape, in words; nothing if they are."""
    try:
        differs = differing(mine, its).ravel()
    except ValueError as error:
        return f"cannot be compared ({error})"
    which = int(np.argmax(differs))
    return f"is {said(its, which)}, not {said(mine, which)}" if differs.any() else ""


@_of_any_year()
def said(variable: xr.DataArray | xr.Variable, which: int = 0) -> str:
    """One of the times of a variable in words, ``2020-01-31T06:00:00``, to a millisecond; as stored if no date."""
    number = float(_numbers(variable).ravel()[which])
    _, units, calendar = _counted(variable)
    if math.isnan(number):
        return "no time"
    if math.isinf(number):
        return f"{number:g} {units}"
    try:
        date = _date(number, units, calendar)
        return str((date + timedelta(microseconds=round(date.microsecond, -3) - date.microsecond)).isoformat())
    except (ValueError, OverflowError):
        return f"{number:g} {units}"


@_of_any_year()
def seconds_after(variable: xr.DataArray | xr.Variable, date: datetime) -> np.ndarray:
    """Seconds from a date to the times of a variable, in their calendar.

    Raises
    ------
    ValueError
        If the calendar does not have the date, or the unit cannot be read.
    """
    _, units, calendar = _counted(variable)
    how = {"calendar": calendar, "has_year_zero": _of_year_zero(units)}
    try:
        there = cftime.datetime(*date.timetuple()[:6], date.microsecond, **how)
    except ValueError as error:
        raise ValueError(f"calendar {calendar!r} has no {date:%Y-%m-%d}") from error
    return (_numbers(variable) - cftime.date2num(there, units, **how)) * _seconds(variable)


@_of_any_year()
def rounding(variable: xr.DataArray | xr.Variable) -> float:
    """Seconds between two neighbouring times that can be stored; 0 for whole numbers."""
    return _step(variable) * _seconds(variable)


def _step(variable: xr.DataArray | xr.Variable) -> float:
    """Distance of the numbers that can be stored, where they are largest, in the unit of `_counted`."""
    if variable.dtype.kind != "f" or not variable.size:
        return 0.0
    numbers = np.abs(variable.values[np.isfinite(variable.values)])
    return float(np.max(np.spacing(numbers), initial=0.0)) * _counted(variable)[0]


def _seconds(variable: xr.DataArray | xr.Variable) -> float:
    """Seconds of the unit of `_counted`."""
    one, nothing = (_date(number, *_counted(variable)[1:]) for number in (1, 0))
    return float((one - nothing).total_seconds())


def _counted(variable: xr.DataArray | xr.Variable) -> tuple[float, str, str]:
    """Factor of the numbers, unit and calendar of times that cftime reads."""
    calendar = str(variable.attrs.get("calendar", "standard")).lower()
    unit, *reference = SINCE.split(" ".join(str(variable.attrs["units"]).split()), maxsplit=1)
    factor, unit = (1e-3, "microseconds") if unit.lower() in NANOSECONDS else (1.0, unit)
    return factor, " since ".join([unit, *reference]), "standard" if calendar == "gregorian" else calendar


def _numbers(variable: xr.DataArray | xr.Variable) -> np.ndarray:
    """Times in the unit of `_counted`."""
    return np.asarray(variable.values, np.float64) * _counted(variable)[0]


def _date(number: float, units: str, calendar: str) -> cftime.datetime:
    """A time as a date; a calendar that has no year 0 has one if times count from it."""
    return cftime.num2date(number, units, calendar, has_year_zero=_of_year_zero(units))


def _of_year_zero(units: str) -> bool | None:
    """Whether times count from the year 0; None if not, where it is as the calendar says."""
    return re.match(r"0+-", SINCE.split(units)[-1]) is not None or None


def _moved(numbers: np.ndarray, its: xr.DataArray | xr.Variable, mine: xr.DataArray | xr.Variable) -> np.ndarray:
    """Times in the unit and calendar of others; NaN for a day that the calendar does not have."""
    _, units, calendar = _counted(mine)
    has_year_zero = _of_year_zero(units)
    moved = np.full(numbers.shape, np.nan)
    for place, number in np.ndenumerate(numbers):
        if math.isfinite(number):
            date = _date(number, *_counted(its)[1:])
            where = (*date.timetuple()[:6], date.microsecond)
            try:
                there = cftime.datetime(*where, calendar=calendar, has_year_zero=has_year_zero)
                moved[place] = cftime.date2num(there, units, calendar, has_year_zero=has_year_zero)
            except ValueError:
                continue
    return moved
