"""Member files: whether what a program left can be analysed, and whether it is like what the others left."""

from __future__ import annotations

import hashlib
import math
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

__all__ = ["Content", "changed", "check_time", "content", "contents", "unlike"]

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
        holds: dict[str, str] = {}
        for name, how in _chosen(file, variables).items():
            variable = file[name].load()
            numbers, absent = how.numbers(variable.values), how.missing(variable.values)
            holds |= {f"variable {name!r}": _kind(variable, how)} | _coordinates(variable)
            holds |= _holes(name, numbers, absent, mask)
        return holds | _times(file)


def changed(members: Sequence[tuple[int, Path, Path]], variables: Sequence[str] = ()) -> dict[int, str]:
    """Members whose model has not kept the variables, their grid, types and units, and what differs, in words.

    Parameters
    ----------
    members : sequence of (int, Path, Path)
        Number of each, the file that its model was given, and the one that it left. Those were alike, and these are,
        so that the first tells of all; times may differ.
    variables : sequence of str
        Those that are analysed; all of floating point if empty.
    """
    if not members:
        return {}
    _, *files = members[0]
    (given, given_places), (made, places) = (_described(path, variables) for path in files)
    both = sorted(given_places.keys() & places.keys())
    given, made = (one | {what: where[what] for what in both} for one, where in ((given, given_places), (made, places)))
    if made == given:
        return {}
    difference = f"the file that the model was given: {_difference(made, given)}"
    advice = "let it keep variables, grid, types and units, or name what is analysed with variables"
    return {member: f"{difference}; {advice}" for member, *_ in members}


def _described(path: Path, variables: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Sizes at one time, types and units of what a file has, and its coordinates."""
    with reading(path) as file:
        chosen = _chosen(file, variables)
        places = {what: where for name in chosen for what, where in _coordinates(file[name]).items()}
        return {f"variable {name!r}": _kind(file[name], how, True) for name, how in chosen.items()}, places


def _chosen(file: xr.Dataset, variables: Sequence[str]) -> dict[Hashable, Stored]:
    """Variables that are analysed, and how they are stored."""
    missing = [name for name in variables if name not in file.data_vars]
    if missing:
        raise ValueError(f"it has no variable {missing[0]!r}")
    stored = {name: Stored.of(file[name].dtype, file[name].attrs) for name in variables or file.data_vars}
    chosen = {name: how for name, how in stored.items() if how.number.kind == "f"}
    if not chosen:
        raise ValueError("it has no variable of floating point")
    return chosen


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
    """Members whose content is not that of most, of equally many that of the first; what it is unlike, in words."""
    if not contents:
        return {}
    kinds = {member: tuple(content.items()) for member, content in sorted(contents.items())}
    common = dict(Counter(kinds.values()).most_common(1)[0][0])
    return {
        member: f"the others: {_difference(dict(kind), common)}"
        for member, kind in kinds.items()
        if dict(kind) != common
    }


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


def _times(file: xr.Dataset) -> dict[str, str]:
    """The times of a file."""
    time = time_variable(file, several=True)
    if time is None:
        return {}
    dates = [said(time, which) for which in range(time.size)]
    more = f" and {len(dates) - 1} more to {dates[-1]} ({_hash(np.array(dates))})" if dates[1:] else ""
    return {f"time {time.name!r}": f"{dates[0]}{more}"}


def _kind(variable: xr.DataArray, how: Stored, of_one_time: bool = False) -> str:
    """Size, type and unit of a variable."""
    sizes = [f"{dim} {n}" for dim, n in variable.sizes.items() if not (of_one_time and _is_of_time(variable, dim))]
    return f"{' x '.join(sizes) or 'one value'}, {how.number}, units {variable.attrs.get('units', 'none')}"


def _coordinates(variable: xr.DataArray) -> dict[str, str]:
    """Where a variable is, but for its time."""
    return {
        f"coordinate {name!r} of variable {variable.name!r}": f"values {_hash(coordinate.values)}"
        for name, coordinate in sorted(variable.coords.items(), key=lambda item: str(item[0]))
        if not (tells_dates(coordinate) or any(_is_of_time(variable, dim) for dim in coordinate.dims))
    }


def _is_of_time(variable: xr.DataArray, dim: Hashable) -> bool:
    return str(dim).lower() == "time" or dim in variable.coords and tells_dates(variable.coords[dim])


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
    if math.isnan(value):
        raise ValueError(f"its time {name!r} is missing{ADVICE}")
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
