"""Member files: whether what a program left can be analysed, and whether it is like what the others left."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import cftime
import numpy as np
import xarray as xr

from ensf.dataset.dates import said, tells_dates
from ensf.dataset.netcdf import reading
from ensf.dataset.stored import Stored
from ensf.offline.cycle.settings import Date, Time
from ensf.offline.valid_times import time_variable

__all__ = ["Content", "check_time", "content", "contents", "unlike"]

Content = Mapping[str, str]
"""What must be the same in the files of all members: what of which variable, and its value or a hash."""
NEAR = 0.01
"""Part of the interval by which the time in a file may differ from that of the cycle, which is rounding."""
ADVICE = " (check_time = false, if that is right)"


def content(path: Path, variables: Sequence[str] = (), mask: bool = False) -> dict[str, str]:
    """What the file of a member holds.

    Parameters
    ----------
    path : Path
    variables : sequence of str
        Those that are analysed; all of floating point if empty.
    mask : bool
        Points without data are allowed; else each is an error.

    Raises
    ------
    ValueError
        If it cannot be read, lacks a variable, or has a value that is missing or not finite; in one sentence.
    """
    with reading(path) as file:
        missing = [name for name in variables if name not in file.data_vars]
        if missing:
            raise ValueError(f"it has no variable {missing[0]!r}")
        stored = {name: Stored.of(file[name].dtype, file[name].attrs) for name in variables or file.data_vars}
        chosen = {name: how for name, how in stored.items() if how.number.kind == "f"}
        if not chosen:
            raise ValueError("it has no variable of floating point")
        holds: dict[str, str] = {}
        for name, how in chosen.items():
            variable = file[name].load()
            numbers, absent = how.numbers(variable.values), how.missing(variable.values)
            holds |= _described(variable, how.number) | _holes(name, numbers, absent, mask)
        return holds


def contents(paths: Sequence[Path], variables: Sequence[str] = (), mask: bool = False) -> dict[str, str]:
    """What the files of a member hold, of earlier times and of the end; errors are those of `content`."""
    *earlier, end = paths
    holds = content(end, variables, mask)
    for number, path in enumerate(earlier, 1):
        try:
            own = content(path, variables, mask)
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from error
        holds |= {f"{what} at time {number}": value for what, value in own.items()}
    return holds


def _holes(name: Hashable, numbers: np.ndarray, missing: np.ndarray, mask: bool) -> dict[str, str]:
    """Where there is no data."""
    infinite, count = int(np.count_nonzero(np.isinf(numbers))), int(np.count_nonzero(missing))
    if infinite:
        raise ValueError(f"variable {name!r} is infinite at {infinite} of {numbers.size} points")
    if count and not mask:
        raise ValueError(f"variable {name!r} has no value at {count} of {numbers.size} points")
    return {f"points without data of variable {name!r}": f"{count} ({_hash(np.packbits(missing))})"}


def unlike(contents: Mapping[int, Content]) -> dict[int, str]:
    """Members whose content is not that of most, of equally many that of the first; what differs, in words."""
    if not contents:
        return {}
    kinds = {member: tuple(content.items()) for member, content in sorted(contents.items())}
    common = dict(Counter(kinds.values()).most_common(1)[0][0])
    return {member: _difference(dict(kind), common) for member, kind in kinds.items() if dict(kind) != common}


def _difference(mine: Content, others: Content) -> str:
    for name in others:
        if name not in mine:
            return f"it has no {name}"
    for name in mine:
        if name not in others:
            return f"it has {name}"
        if mine[name] != others[name]:
            return f"{name}: {mine[name]}, not {others[name]}"
    return "its variables come in another order"


def _described(variable: xr.DataArray, number: np.dtype) -> dict[str, str]:
    sizes = " x ".join(f"{dim} {size}" for dim, size in variable.sizes.items()) or "one value"
    units = variable.attrs.get("units", "none")
    content = {f"variable {variable.name!r}": f"{sizes}, {number}, units {units}"}
    for name, coordinate in sorted(variable.coords.items(), key=lambda item: str(item[0])):
        values = coordinate.values
        if tells_dates(coordinate):
            dates = [said(coordinate, which) for which in range(values.size)]
            more = f" and {len(dates) - 1} more to {dates[-1]} ({_hash(np.array(dates))})" if dates[1:] else ""
            content[f"time {name!r}"] = f"{dates[0]}{more}"
        else:
            content[f"coordinate {name!r} of variable {variable.name!r}"] = f"values {_hash(values)}"
    return content


def _hash(values: np.ndarray) -> str:
    content = repr(values.tolist()).encode() if values.dtype.hasobject else np.ascontiguousarray(values).tobytes()
    return hashlib.blake2b(content, digest_size=4).hexdigest()


# --- time ------------------------------------------------------------------------------------------------


def check_time(path: Path, input: Path, start: Time, end: Time) -> None:
    """Raise ValueError unless the time in a file, if it has one, is the end of the cycle.

    Parameters
    ----------
    path, input : Path
        Output and input of a member.
    start, end : float or Date
        Of the cycle. If they are numbers, the time of the output must differ from that of the input.
    """
    made = _time(path)
    if made is None:
        return
    name, value, units, calendar = made
    if not (isinstance(start, Date) and isinstance(end, Date)):
        before = _time(input)
        if before is not None and before == made:
            raise ValueError(f"its time {name!r} stands still at {value:g} {units}{ADVICE}")
        return
    try:
        first, last = (cftime.date2num(_in_calendar(date, calendar), units, calendar) for date in (start, end))
    except ValueError as error:
        raise ValueError(f"its time {name!r} cannot be compared with {end} ({error}){ADVICE}") from error
    if not abs(value - last) <= NEAR * (last - first):
        try:
            there = str(cftime.num2date(value, units, calendar))
        except (ValueError, OverflowError):
            there = f"{value:g} {units}"
        raise ValueError(f"its time {name!r} is {there} but the cycle ends at {end}{ADVICE}")


def _time(path: Path) -> tuple[str, float, str, str] | None:
    """Name, last value, units and calendar of the time in a file."""
    with reading(path) as file:
        variable = time_variable(file, several=True)
        if variable is None:
            return None
        units, calendar = variable.attrs["units"], variable.attrs.get("calendar", "standard")
        return str(variable.name), float(variable.values.max()), str(units), str(calendar)


def _in_calendar(date: Date, calendar: str) -> cftime.datetime:
    there = datetime.fromisoformat(date)
    return cftime.datetime(*there.timetuple()[:6], there.microsecond, calendar=calendar)
