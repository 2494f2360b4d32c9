"""Tables as CSV: a header, one line per observation, times in ISO 8601."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np

from ensf.tables.columns import NUMBERS, Columns, codes, renamed

__all__ = ["load", "save", "times"]


def load(path: Path) -> Columns:
    """Columns by name, what codes mean, and where in the file a row is.

    Raises
    ------
    ValueError
        If it is not CSV in UTF-8, or an entry is not what its column holds.
    """
    names, rows, lines = _entries(path)

    def where(row: int) -> str:
        return f"line {lines[row]}"

    strings = dict(zip(renamed(names, path), zip(*rows, strict=True) if rows else [()] * len(names), strict=True))
    columns = {name: _column(name, entries, path, where) for name, entries in strings.items()}
    if "qc" in columns:
        columns["qc"] = codes(columns["qc"], path, where)
    reason = columns.pop("reason", None)
    meanings = {} if reason is None else _meanings(columns.get("qc", np.zeros(len(rows), int)), reason)
    return Columns(columns, meanings, where)


def save(path: Path, columns: Mapping[str, np.ndarray], meanings: Mapping[int, str], title: str) -> None:
    """Write all rows, with a column `reason`.

    Parameters
    ----------
    path : Path
    columns : mapping of str to (row,) array
    meanings : mapping of int to str
        Of all codes that occur in the column `qc`.
    title : str
        What the table is called, where the file has a place for it.
    """
    named = {}
    for name, column in columns.items():
        named[name] = _strings(column)
        if name == "qc":
            named["reason"] = [meanings[code] for code in column.tolist()]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(named)
        writer.writerows(zip(*named.values(), strict=True))


# --- reading ---------------------------------------------------------------------------------------------


def _entries(path: Path) -> tuple[list[str], list[list[str]], list[int]]:
    """Header, entries of each row, and the line on which each row ends."""
    rows, lines = [], []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            for row in reader:
                if row:
                    rows.append(row)
                    lines.append(reader.line_num)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8 ({error.reason}): write it as CSV") from None
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: not CSV ({error}): write the file again") from None
    if not rows:
        raise ValueError(f"{path} is empty: give a header and one line per observation")
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(rows[0]):
            raise ValueError(
                f"{path}, line {line}: {len(row)} entries but the header has {len(rows[0])}: complete the line"
            )
    return [name.strip() for name in rows[0]], rows[1:], lines[1:]


def _column(name: str, entries: tuple[str, ...], path: Path, where: Callable[[int], str]) -> np.ndarray:
    if name in NUMBERS:
        return _numbers(name, entries, path, where)
    if name == "time":
        return times(entries, path, where)
    if name not in ("variable", "reason"):
        try:
            return _floats(entries)
        except ValueError:
            pass
    return np.array([entry.strip() for entry in entries], dtype=str)


def _floats(entries: tuple[str, ...]) -> np.ndarray:
    """Numbers, NaN where an entry is empty."""
    values = np.array([float(entry) if entry.strip() else np.nan for entry in entries], dtype=np.float64)
    if any("_" in entry for entry in entries):
        raise ValueError("digits are grouped")
    return values


def _numbers(name: str, entries: tuple[str, ...], path: Path, where: Callable[[int], str]) -> np.ndarray:
    try:
        return _floats(entries)
    except ValueError:
        row = next(row for row, entry in enumerate(entries) if not _is_number(entry))
        raise ValueError(f"{path}, {where(row)}: {name} is {entries[row]!r}: give a number") from None


def _is_number(entry: str) -> bool:
    try:
        _floats((entry,))
    except ValueError:
        return False
    return True


def times(entries: tuple[str, ...], path: Path, where: Callable[[int], str]) -> np.ndarray:
    """UTC times of ISO 8601; NaT where an entry is empty.

    Parameters
    ----------
    entries : tuple of str
    path : Path
        File that errors name.
    where : callable
        Number of an entry to its place in the file.

    Returns
    -------
    (entry,) datetime64 array

    Raises
    ------
    ValueError
        If an entry is no such time.
    """
    times: list[datetime | None] = []
    for row, entry in enumerate(entries):
        try:
            times.append(_utc(entry.strip()) if entry.strip() else None)
        except (ValueError, OverflowError):
            advice = "give ISO 8601 such as 2024-01-31T12:00:00"
            raise ValueError(f"{path}, {where(row)}: time is {entry!r}: {advice}") from None
    return np.array(times, dtype="datetime64[us]")


@lru_cache(maxsize=65536)
def _utc(entry: str) -> datetime:
    time = datetime.fromisoformat(entry)
    return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)


def _meanings(qc: np.ndarray, reason: np.ndarray) -> dict[int, str]:
    codes, first = np.unique(qc, return_index=True)
    return {int(code): str(reason[row]) for code, row in zip(codes, first, strict=True) if code and reason[row]}


# --- writing ---------------------------------------------------------------------------------------------


def _strings(column: np.ndarray) -> list[object]:
    """Entries as they are written: empty where there is none, else without loss."""
    if column.dtype.kind == "M":
        return ["" if time == "NaT" else time for time in np.datetime_as_string(column, timezone="naive").tolist()]
    if column.dtype.kind == "f":
        return ["" if value != value else repr(value) for value in column.tolist()]
    return column.tolist()
