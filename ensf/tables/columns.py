"""Columns of a table as a file has them: their names, units and codes, and where in the file a row is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ensf.dataset.coordinates import COLUMNS, CRITERIA
from ensf.tables.flags import NOT_GOOD, UNREADABLE, USED
from ensf.tables.stations.vertical import SI, factor

__all__ = [
    "FILE",
    "NUMBERS",
    "ROW",
    "VERTICAL",
    "WANTED",
    "Columns",
    "axes",
    "codes",
    "import_row",
    "in_table_units",
    "is_named",
    "numbers_of",
    "place_of",
    "renamed",
    "words_of",
]

VERTICAL = ("z", "depth", "height", "pressure")
"""Columns that say how high."""
NUMBERS = ("value", "error", "lat", "lon", "x", "y", *VERTICAL, "qc")
FILE, ROW = "from_file", "from_row"
"""Columns that say from which file a row was read, and which one it was there, counted from 0."""
NEEDED = ("variable", "value", "error", "time")
AXES = (("lat", "lon"), ("x", "y"))
WANTED = (
    "a table needs variable, value, error, time and a place: lat, lon or x, y, in a model of one dimension the column "
    "of its name alone; optional are depth, height, pressure or z, units, qc (good = [1, 2] says which codes are "
    "good), kind, group, law, withheld; the page on observations from files tells of each"
)
"""What a table needs, and what it may have."""
WIDEST = 1000
"""Columns of a table: what is carried along is written again, which takes seconds for so many."""


@dataclass(frozen=True, eq=False)
class Columns:
    """What was read from a file.

    Attributes
    ----------
    values : mapping of str to (row,) array
        Columns by name.
    meanings : mapping of int to str
        What the codes in the column `qc` mean.
    where : callable
        Number of a row, counted from 0, to its place in the file, such as ``line 3``.
    problems : mapping of int to str
        What is wrong with entries that cannot be read, by row; the code of these rows says so too.
    """

    values: Mapping[str, np.ndarray]
    meanings: Mapping[int, str]
    where: Callable[[int], str]
    problems: Mapping[int, str] = field(default_factory=dict)


def is_named(names: np.ndarray) -> np.ndarray:
    """Where a column of names or numbers is filled, ``(row,)`` of bool."""
    return ~np.isnan(names) if names.dtype.kind == "f" else names.astype(str) != ""


def place_of(columns: Mapping[str, np.ndarray], row: int) -> str:
    """What errors call a row: its file and number there, if the columns say so."""
    if FILE not in columns or ROW not in columns:
        return f"row {row}"
    return f"{columns[FILE][row]}: row {int(columns[ROW][row])}"


def import_row(row: int) -> str:
    """Place of a row in a file that is not a table."""
    return f"row {row} of the import"


def renamed(names: list[str], path: Path) -> list[str]:
    """Names of columns, other names of latitude and longitude replaced; ValueError if one is missing or twice there."""
    if len(names) > WIDEST:
        raise ValueError(f"{path} has {len(names)} columns: keep {WIDEST} or fewer, for each observation is a row")
    aliases = {
        alias: column for column, coordinate in COLUMNS.items() for alias in (coordinate, *CRITERIA[coordinate].names)
    }
    columns = [aliases.get(name, name) for name in names]
    twice = [name for name, count in Counter(columns).items() if count > 1 and name]
    if twice:
        raise ValueError(f"{path} has two columns {twice[0]!r}: keep one")
    if "" in columns:
        raise ValueError(f"{path} has a column without a name, number {columns.index('') + 1}: name it")
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        raise ValueError(f"{path} has no column {missing[0]!r}: {WANTED}")
    return columns


def axes(names: Iterable[str]) -> tuple[str, ...]:
    """Columns of the position: lat, lon, else x, y, else what there is of them; a column of levels needs none."""
    there = {*names}
    pairs = (pair for pair in AXES if {*pair} <= there)
    return next(pairs, tuple(name for pair in AXES for name in pair if name in there))


def codes(column: np.ndarray, good: Collection[int]) -> np.ndarray:
    """The column `qc` with 0 for rows that are to be used, ``(row,)``.

    Parameters
    ----------
    column : (row,) array of float
        Codes of whoever made the observations.
    good : collection of int
        Those of rows that are to be used.
    """
    with np.errstate(invalid="ignore"):
        readable = np.isfinite(column) & (column == np.round(column)) & (np.abs(column) < 2**31)
        whole = np.where(readable, column, UNREADABLE).astype(np.int32)
    used = np.isin(whole, list(good)) & readable
    return np.where(used, USED, np.where(whole == USED, NOT_GOOD, whole)).astype(np.int32)


def numbers_of(column: np.ndarray) -> np.ndarray:
    """A column of numbers, NaN for what is none."""
    import pandas as pd

    return pd.to_numeric(pd.Series(column), errors="coerce").to_numpy(np.float64, copy=True)


def words_of(column: np.ndarray) -> np.ndarray:
    """A column of text, empty where a number is missing; whole numbers without a point."""
    if column.dtype.kind not in "fiu":
        return column.astype(str)
    words = np.array([f"{one:.15g}" for one in column.tolist()], dtype=str)
    return np.where(np.isnan(column), "", words) if column.dtype.kind == "f" else words


def in_table_units(name: str, column: np.ndarray, units: str, path: Path, advice: str) -> np.ndarray:
    """A column that says how high, in the units of the table.

    Parameters
    ----------
    name : str
        A column of `ensf.tables.stations.vertical.SI`; any other is as it was.
    column : (row,) array of float
    units : str
        As the file states them; a depth or height without units is in metres.
    path : Path
        File that errors name.
    advice : str
        How units are stated.

    Raises
    ------
    ValueError
        If a pressure has no units, or the units are others.
    """
    if name not in SI:
        return column
    if not units and name == "pressure":
        raise ValueError(f"{path}: column 'pressure' states no units, and may be in Pa, hPa or dbar: {advice}")
    scale = factor(units, SI[name]) if units else 1.0
    if scale is None:
        raise ValueError(
            f"{path}: column {name!r} has units {units!r}, which cannot be converted to {SI[name]}: {advice}"
        )
    return column if scale == 1.0 else column * scale
