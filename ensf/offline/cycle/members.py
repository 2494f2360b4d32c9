"""Member files: whether what a program left can be analysed, and whether it is like what the others left."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import xarray as xr

from ensf.dataset.dates import other_time, rounding, said, seconds_after, tells_dates
from ensf.dataset.netcdf import reading
from ensf.dataset.stored import Stored, decoded
from ensf.dataset.units import same_units
from ensf.offline.alike import is_bounds, is_place, other_place, sizes_of
from ensf.offline.cycle.settings import Date, Time
from ensf.offline.valid_times import time_variable, times_of

__all__ = ["changed", "check_start", "check_time", "content", "contents", "unlike"]

NEAR = 0.01
"""Part of the interval by which the time in a file may differ from that of the cycle, which is rounding."""
STEPS = 4
"""Steps of the number that is stored by which it may, up to half of the interval."""
ADVICE = " (check_time = false, if that is right)"


def content(path: Path, variables: Sequence[str] = (), mask: bool = False) -> str:
    """A hash of what the file of a member holds but for its values; of the same hash are files that are alike.

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
        made = hashlib.blake2b(digest_size=16)
        for name, how in _chosen(file, variables).items():
            variable = file[name].load()
            absent = how.missing(variable.values)
            _check_values(name, how.numbers(variable.values), absent, mask)
            made.update(repr((name, variable.dims, variable.shape, how.number, variable.attrs.get("units"))).encode())
            made.update(np.packbits(absent).tobytes())
            for key, place in sorted(_places(variable).items(), key=lambda item: str(item[0])):
                made.update(repr((key, place.dims, place.shape, place.dtype, place.attrs.get("units"))).encode())
                made.update(_bytes(place.values))
        time = time_variable(file, several=True)
        if time is not None:
            made.update(repr((time.attrs["units"], time.attrs.get("calendar"), time.dtype)).encode())
            made.update(_bytes(time.values))
        return made.hexdigest()


def contents(paths: Sequence[Path], variables: Sequence[str] = (), mask: bool = False) -> str:
    """A hash of what the files of a member hold, of earlier times and of the end; errors are those of `content`."""
    *earlier, end = paths
    hashes = [content(end, variables, mask)]
    for path in earlier:
        try:
            hashes.append(content(path, variables, mask))
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from error
    return " ".join(hashes)


def unlike(
    contents: Mapping[int, str], files: Mapping[int, Sequence[Path]], variables: Sequence[str] = ()
) -> dict[int, str]:
    """Members whose files are not like those of most, of equally many those of the first, and why, in words.

    Parameters
    ----------
    contents : mapping of int to str
        What `contents` says of each member.
    files : mapping of int to sequence of Path
        Of each member, of earlier times and of the end.
    variables : sequence of str
        Those that are analysed; all of floating point if empty.
    """
    kinds: dict[str, list[int]] = {}
    for member in sorted(contents):
        kinds.setdefault(contents[member], []).append(member)
    groups: list[list[int]] = []
    for members in kinds.values():
        own = files[members[0]]
        alike = next((group for group in groups if not _difference(own, files[group[0]], variables)), None)
        if alike is None:
            groups.append(members)
        else:
            alike += members
    common = max(groups, key=len, default=[])
    return {
        member: f"the others: {_difference(files[group[0]], files[common[0]], variables)}"
        for group in groups
        if group is not common
        for member in group
    }


def changed(members: Sequence[tuple[int, Path, Path]], variables: Sequence[str] = ()) -> dict[int, str]:
    """Members whose model has not kept a variable, its grid or unit, and what differs, in words.

    Parameters
    ----------
    members : sequence of (int, Path, Path)
        Number of each, the file that its model was given, and the one that it left. Times may differ, there may be
        more variables, and another type of floating point.
    variables : sequence of str
        Those that are analysed; all of floating point if empty.
    """
    advice = "let it keep variables, grid and units, or name what is analysed with variables"
    reasons = {}
    for member, given, made in members:
        with reading(given) as before, reading(made) as after:
            chosen = _chosen(before, variables)
            difference = next(filter(None, (_not_kept(after, before[name]) for name in chosen)), "")
        if difference:
            reasons[member] = f"the file that the model was given: {difference}; {advice}"
    return reasons


# --- what differs ----------------------------------------------------------------------------------------


def _difference(mine: Sequence[Path], others: Sequence[Path], variables: Sequence[str]) -> str:
    """What differs between the files of two members, in words; nothing if they are alike."""
    if len(mine) != len(others):
        return f"it has files of {len(mine)} times, not {len(others)}"
    for number, (path, other) in enumerate(zip(mine, others, strict=True), 1):
        with reading(path) as file, reading(other) as wanted:
            difference = _unlike(file, wanted, variables) or _other_time(path, other)
        if difference:
            return difference if number == len(mine) else f"{difference} at time {number}"
    return ""


def _unlike(file: xr.Dataset, wanted: xr.Dataset, variables: Sequence[str]) -> str:
    """What differs between the variables of two files."""
    chosen = _chosen(wanted, variables)
    for name, how in chosen.items():
        if name not in file.data_vars:
            return f"it has no variable {name!r}"
        own, other = file[name], wanted[name]
        number = Stored.of(own.dtype, own.attrs).number
        if number != how.number:
            return f"variable {name!r} has type {number}, not {how.number}"
        if tuple(own.sizes.items()) != tuple(other.sizes.items()):
            return f"variable {name!r} is {sizes_of(own)}, not {sizes_of(other)}"
        difference = _elsewhere(own, other) or _other_holes(own, other)
        if difference:
            return difference
    more = [name for name in _chosen(file, variables) if name not in chosen]
    return f"it has variable {more[0]!r}" if more else ""


def _not_kept(file: xr.Dataset, given: xr.DataArray) -> str:
    """What a model has not kept of a variable, but for its time and type."""
    name = given.name
    if name not in file.data_vars:
        return f"it has no variable {name!r}"
    made = file[name]
    number = Stored.of(made.dtype, made.attrs).number
    if number.kind != "f":
        return f"variable {name!r} has type {number}, which is not floating point"
    own, other = (one.isel({dim: 0 for dim in one.dims if _is_of_time(one, dim)}) for one in (made, given))
    if tuple(own.sizes.items()) != tuple(other.sizes.items()):
        return f"variable {name!r} is {sizes_of(own)}, not {sizes_of(other)}"
    return _elsewhere(made, given, dropped=True)


def _elsewhere(own: xr.DataArray, other: xr.DataArray, dropped: bool = False) -> str:
    """What differs in unit and places of a variable; coordinates may be missing if they may be dropped."""
    units, wanted = (one.attrs.get("units") for one in (own, other))
    if not same_units(units, wanted):
        return f"variable {own.name!r} has units {units}, not {wanted}"
    places, others = _places(own), _places(other)
    for key, place in others.items():
        differs = other_place(places[key], place) if key in places else ""
        if differs:
            return f"coordinate {key!r} of variable {own.name!r} {differs}"
    apart = [] if dropped else sorted(map(repr, places.keys() ^ others.keys()))
    return f"variable {own.name!r} has a coordinate {apart[0]} in some files alone" if apart else ""


def _other_holes(own: xr.DataArray, other: xr.DataArray) -> str:
    """Where a variable has no data, if not where another has none."""
    holes, others = (Stored.of(one.dtype, one.attrs).missing(one.values) for one in (own, other))
    if np.array_equal(holes, others):
        return ""
    place = np.unravel_index(int(np.argmax(holes != others)), holes.shape)
    where = ", ".join(f"{dim} {number}" for dim, number in zip(own.dims, place, strict=True)) or "its only point"
    return (
        f"variable {own.name!r} has no value at {np.count_nonzero(holes)} of {holes.size} points, not at "
        f"{np.count_nonzero(others)}; the first that differs is {where}"
    )


def _other_time(path: Path, other: Path) -> str:
    """What differs between the times of two files."""
    own, wanted = times_of(path), times_of(other)
    if own is None or wanted is None:
        return "" if own is wanted else f"it has {'no' if own is None else 'a'} time"
    if own.size != wanted.size:
        return f"its time {own.name!r} has {own.size} values, not {wanted.size}"
    differs = other_time(own, wanted)
    return f"its time {own.name!r} {differs}" if differs else ""


# --- what a file has -------------------------------------------------------------------------------------


def _chosen(file: xr.Dataset, variables: Sequence[str]) -> dict[Hashable, Stored]:
    """Variables that are analysed, and how they are stored."""
    missing = [name for name in variables if name not in file.data_vars]
    if missing:
        raise ValueError(f"it has no variable {missing[0]!r}")
    names: Sequence[Hashable] = variables or [name for name in file.data_vars if not is_bounds(name, file)]
    stored = {name: Stored.of(file[name].dtype, file[name].attrs) for name in names}
    chosen = {name: how for name, how in stored.items() if how.number.kind == "f"}
    if not chosen:
        raise ValueError("it has no variable of floating point")
    return chosen


def _check_values(name: Hashable, numbers: np.ndarray, missing: np.ndarray, mask: bool) -> None:
    """Raise ValueError if a value is infinite, or missing where none may be."""
    infinite, count = int(np.count_nonzero(np.isinf(numbers))), int(np.count_nonzero(missing))
    if infinite:
        raise ValueError(f"variable {name!r} is infinite at {infinite} of {numbers.size} points")
    if count and not mask:
        raise ValueError(f"variable {name!r} has no value at {count} of {numbers.size} points")


def _places(variable: xr.DataArray) -> dict[Hashable, xr.Variable]:
    """Coordinates that say where a variable is, but for its time."""
    return {
        key: decoded(coordinate.to_dataset(name="one"))["one"].variable
        for key, coordinate in variable.coords.items()
        if is_place(coordinate, variable)
        and not (tells_dates(coordinate) or any(_is_of_time(variable, dim) for dim in coordinate.dims))
    }


def _is_of_time(variable: xr.DataArray, dim: Hashable) -> bool:
    return str(dim).lower() == "time" or dim in variable.coords and tells_dates(variable.coords[dim])


def _bytes(values: np.ndarray) -> bytes:
    return repr(values.tolist()).encode() if values.dtype.hasobject else np.ascontiguousarray(values).tobytes()


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
    made = times_of(path)
    if made is None:
        return
    value, name, units = float(made.values.max()), made.name, made.attrs["units"]
    if not np.isfinite(value):
        raise ValueError(f"its time {name!r} is {'missing' if np.isnan(value) else 'infinite'}{ADVICE}")
    if not (isinstance(start, Date) and isinstance(end, Date)):
        before = times_of(input)
        if before is not None and before.attrs == made.attrs and float(before.values.max()) == value:
            raise ValueError(f"its time {name!r} stands still at {value:g} {units}{ADVICE}")
        return
    interval = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    _check_date(made, end, interval, f"the cycle ends at {end}")


def check_start(path: Path, start: Time, interval: float) -> None:
    """Raise ValueError unless the time in an initial file, if both are dates, is the start of the first cycle."""
    made = times_of(path)
    if made is None or not isinstance(start, Date) or np.isnan(made.values).any():
        return
    try:
        _check_date(made, start, interval, f"start is {start}")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _check_date(made: xr.DataArray, date: Date, interval: float, wanted: str) -> None:
    """Raise ValueError unless the last of times is a date, up to rounding."""
    try:
        late = float(seconds_after(made, datetime.fromisoformat(date)).max())
        tolerance = max(NEAR * interval, min(STEPS * rounding(made), interval / 2))
    except ValueError as error:
        raise ValueError(f"its time {made.name!r} cannot be compared with {date} ({error}){ADVICE}") from error
    if not abs(late) <= tolerance:
        there = said(made, int(np.argmax(made.values)))
        raise ValueError(f"its time {made.name!r} is {there} but {wanted}{ADVICE}")
