"""The folder of a cycle, and what of it is a run's own: whatever else lies in it is the user's, and stays."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count, takewhile
from pathlib import Path

from ensf.dataset import stores

__all__ = [
    "at_time",
    "by_time",
    "folder",
    "groups",
    "numbered",
    "remove",
    "remove_analysis",
    "remove_members",
    "remove_smoothed",
    "smoothed",
]

NUMBER = re.compile(r"cycle_(\d{4,})")
MEMBER = re.compile(r"member_\d{4,}(_\d{2,})?\.[^.]+|\.member_\d{4,}(_\d{2,})?-[0-9a-f]{32}\.[^.]+")
ANALYSIS = re.compile(rf"{MEMBER.pattern}|(?:fields|memory)\.nc|\.memory-[0-9a-f]{{32}}\.nc|\.ensf-owner")
TABLE = re.compile(r"fields\.nc|(?:observations|parameters)\.csv|\.(?:observations|parameters)-[0-9a-f]{32}\.csv")
HALF = re.compile(r"\.analysis-[0-9a-f]{32}")


def folder(directory: Path, cycle: int) -> Path:
    return directory / f"cycle_{cycle:04d}"


def at_time(end: Path, number: int) -> Path:
    """The file of a member of one of the times before that of the end, from 1."""
    return end.with_name(f"{end.stem}_{number:02d}{end.suffix}")


def by_time(end: Path) -> tuple[Path, ...]:
    """The files of a member: those of the times before, as far as there are any, and that of the end."""
    return (*takewhile(stores.is_there, (at_time(end, number) for number in count(1))), end)


def groups(ends: Sequence[Path], times: int) -> list[tuple[Path, ...]]:
    """The files of several members, of each of so many times."""
    return [*(tuple(at_time(end, number) for end in ends) for number in range(1, times)), tuple(ends)]


def numbered(directory: Path) -> dict[int, Path]:
    """Folders of cycles by number."""
    names = {path: NUMBER.fullmatch(path.name) for path in _content(directory)}
    return {int(name[1]): path for path, name in sorted(names.items()) if name and path.is_dir()}


def remove(place: Path) -> None:
    """Remove what a run wrote into the folder of a cycle, and the folder if nothing is left in it.

    Raises
    ------
    OSError
        If something cannot be removed.
    """
    remove_members(place)
    _remove(place, TABLE)


def remove_members(place: Path) -> None:
    """Remove the files of the members, and what the filter remembered.

    Raises
    ------
    OSError
        If something cannot be removed.
    """
    _remove_analysis_files(place)
    if (place / "runs").is_dir():
        shutil.rmtree(place / "runs")
    _remove(place / "forecast", MEMBER)


def remove_analysis(place: Path) -> None:
    """Remove an analysis, finished or not, under its name or a hidden one, its tables and its fields.

    Raises
    ------
    OSError
        If something cannot be removed.
    """
    _remove_analysis_files(place)
    for path in [path for path in _content(place) if TABLE.fullmatch(path.name)]:
        path.unlink()


def _remove_analysis_files(place: Path) -> None:
    for path in [path for path in _content(place) if HALF.fullmatch(path.name)]:
        shutil.rmtree(path)
    for path in [path for path in _content(place / "analysis") if HALF.fullmatch(path.name)]:
        shutil.rmtree(path)
    _remove(place / "analysis", ANALYSIS)
    for cycle in smoothed(place):
        remove_smoothed(place, cycle)


def smoothed(place: Path) -> list[int]:
    """Cycles whose states the cycle of a folder has corrected."""
    return list(numbered(place / "smoothed"))


def remove_smoothed(place: Path, cycle: int) -> None:
    """Remove the states of a cycle as the cycle of a folder has corrected them."""
    _remove(folder(place / "smoothed", cycle), MEMBER)
    with suppress(OSError):
        (place / "smoothed").rmdir()


def _remove(place: Path, names: re.Pattern[str]) -> None:
    """Remove files of these names, and the folder if nothing is left in it."""
    for path in [path for path in _content(place) if names.fullmatch(path.name)]:
        stores.remove(path)
    with suppress(OSError):
        place.rmdir()


def _content(place: Path) -> Iterator[Path]:
    return place.iterdir() if place.is_dir() else iter(())
