"""Tables as CSV: a header, one line per observation, times in ISO 8601.

A file whose lines are all whole is read at once, by pandas. Any other is read entry by entry, and a row with an entry
that cannot be read is rejected, with what is wrong and its line.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path

import numpy as np

from ensf.tables.columns import NUMBERS, Columns, codes, in_table_units, renamed
from ensf.tables.flags import UNREADABLE, USED
from ensf.tables.stations.vertical import SI

__all__ = ["load", "parse", "save", "times"]

ADVICE = "write it into the header, as in pressure [hPa]"


def load(path: Path, good: Collection[int]) -> Columns:
    """Columns by name, what codes mean, and where in the file a row is.

    Parameters
    ----------
    path : Path
    good : collection of int
        Codes of rows that are to be used.

    Raises
    ------
    ValueError
        If it is not CSV in UTF-8, or lacks a column.
    """
    return parse(path.read_bytes(), path, good, _where(path))


def parse(content: bytes, path: Path, good: Collection[int], where: Callable[[int], str]) -> Columns:
    """The same of what is in a file.

    Parameters
    ----------
    content : bytes
    path : Path
        What sentences call it.
    good : collection of int
    where : callable
        Place of a row in it.

    Raises
    ------
    ValueError
        As `load`.
    """
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8 ({error.reason}): write it as CSV") from None
    header = _header(text, path)
    units = dict(_split(name) for name in header)
    names = renamed([_split(name)[0] for name in header], path)
    problems: dict[int, str] = {}
    columns = _at_once(content, names)
    if columns is None:
        columns, problems = _one_by_one(text, names, path)
    for name in columns:
        columns[name] = in_table_units(name, columns[name], units.get(name, ""), path, ADVICE)
    size = len(columns["value"])
    if "qc" in columns or problems:
        columns["qc"] = codes(columns.get("qc", np.zeros(size)), good if "qc" in columns else (0,))
        broken = np.array(list(problems), dtype=np.int64)
        columns["qc"][broken[columns["qc"][broken] == USED]] = UNREADABLE
    reason = columns.pop("reason", None)
    meanings = {} if reason is None else _meanings(columns.get("qc", np.zeros(size, int)), reason)
    return Columns(columns, meanings, where, problems)


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
        named[f"{name} [{SI[name]}]" if name in SI else name] = _strings(column)
        if name == "qc":
            named["reason"] = [meanings[code] for code in column.tolist()]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(named)
        writer.writerows(zip(*named.values(), strict=True))


# --- reading ---------------------------------------------------------------------------------------------


def _header(text: str, path: Path) -> list[str]:
    """Names of the columns, from the first line that is not empty."""
    for row in _reader(text, path):
        if len(row) == 1 and (other := re.search(r"[;\t|]", row[0])):
            advice = "write it with commas between columns, and points in numbers"
            raise ValueError(f"{path} separates its columns by {other[0]!r}: {advice}")
        if row:
            return [name.strip() for name in row]
    raise ValueError(f"{path} is empty: give a header and one line per observation")


def _split(name: str) -> tuple[str, str]:
    """Name and units of a column that says how high, as in ``pressure [hPa]``."""
    match = re.fullmatch(r"(\w+)\s*[\[(](.*)[\])]", name)
    return (match[1], match[2].strip()) if match and match[1] in SI else (name, "")


def _reader(text: str, path: Path) -> Iterator[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    try:
        yield from reader
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: not CSV ({error}): write the file again") from None


def _where(path: Path) -> Callable[[int], str]:
    """Number of a row to its line, for which the file is read again."""

    @cache
    def lines() -> list[int]:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, skipinitialspace=True)
            return [reader.line_num for row in reader if row][1:]

    return lambda row: f"line {lines()[row]}"


def _at_once(content: bytes, names: list[str]) -> dict[str, np.ndarray] | None:
    """Columns of a file without quotes whose rows all are whole and can be read; None if it is another one."""
    import pandas as pd

    if b'"' in content or b"\0" in content or content[:1] in (b"\n", b"\r"):
        return None
    numbers = [name for name in names if name in NUMBERS]
    kinds = {name: "float64" if name in numbers else "category" if name == "variable" else "object" for name in names}
    empty = {name: [""] for name in numbers}
    exact = tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1)  # earlier ones have to be told to read every digit
    try:
        frame = pd.read_csv(
            io.BytesIO(content), header=None, skiprows=1, names=names, dtype=kinds, keep_default_na=False,
            na_values=empty, quoting=csv.QUOTE_NONE, low_memory=False, float_precision=None if exact else "round_trip",
        )  # fmt: skip
        whole = content.count(b",") == (len(frame) + 1) * (len(names) - 1)
        if not whole or not isinstance(frame.index, pd.RangeIndex):
            return None
        columns = {name: frame[name].to_numpy() for name in names if name != "variable"}
        words = np.array([word.strip() for word in frame["variable"].cat.categories.tolist()] or [""], dtype=str)
        columns["variable"] = words[frame["variable"].cat.codes.to_numpy()]
        columns["time"] = np.array([_time(entry) for entry in columns["time"].tolist()], dtype="datetime64[us]")
    except (ValueError, OverflowError):
        return None
    return {name: columns[name] if name in (*NUMBERS, "variable", "time") else _carried(name, columns[name].tolist())
            for name in names}  # fmt: skip


def _one_by_one(text: str, names: list[str], path: Path) -> tuple[dict[str, np.ndarray], dict[int, str]]:
    """Columns, and what is wrong with rows that cannot be read."""
    rows: list[list[str]] = []
    problems: dict[int, str] = {}
    for entries in _reader(text, path):
        if entries:
            if len(entries) != len(names):
                what = f"{len(entries)} entries but the header has {len(names)}: complete the line"
                problems[len(rows) - 1] = what
                entries = [""] * len(names)
            rows.append(entries)
    columns = {}
    by_column = zip(*rows[1:], strict=True) if rows[1:] else [()] * len(names)
    for name, column in zip(names, by_column, strict=True):
        if name in NUMBERS:
            columns[name] = _readable(name, column, _number, np.nan, "give a number", problems, np.float64)
        elif name == "time":
            advice = "give ISO 8601 such as 2024-01-31T12:00:00"
            columns[name] = _readable(name, column, _time, None, advice, problems, "datetime64[us]")
        else:
            columns[name] = _carried(name, column)
    return columns, problems


def _readable(
    name: str,
    entries: Sequence[str],
    read: Callable[[str], object],
    empty: object,
    advice: str,
    problems: dict[int, str],
    dtype: np.typing.DTypeLike,
) -> np.ndarray:
    """A column; what is wrong with an entry that cannot be read goes into `problems`, and it is empty."""
    values = []
    for row, entry in enumerate(entries):
        try:
            values.append(read(entry))
        except (ValueError, OverflowError):
            problems.setdefault(row, f"{name} is {entry!r}: {advice}")
            values.append(empty)
    return np.array(values, dtype=dtype)


def _carried(name: str, entries: Sequence[str]) -> np.ndarray:
    """A column of any other name: numbers if all entries are, else text."""
    if name not in ("variable", "reason"):
        try:
            return np.array([_number(entry) for entry in entries], dtype=np.float64)
        except ValueError:
            pass
    return np.array([entry.strip() for entry in entries], dtype=str)


def _number(entry: str) -> float:
    """A number, NaN where an entry is empty."""
    if "_" in entry:
        raise ValueError("digits are grouped")
    return float(entry) if entry.strip() else np.nan


def _time(entry: str) -> datetime | None:
    return _utc(entry.strip()) if entry.strip() else None


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
            times.append(_time(entry))
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
