"""Columns of a table as a file has them: their names, the codes in them, and where in the file a row is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ensf.dataset.coordinates import COLUMNS, CRITERIA

__all__ = ["NUMBERS", "Columns", "axes", "codes", "import_row", "renamed"]

NUMBERS = ("value", "error", "lat", "lon", "x", "y", "z", "qc")


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
    """

    values: Mapping[str, np.ndarray]
    meanings: Mapping[int, str]
    where: Callable[[int], str]


def import_row(row: int) -> str:
    """Place of a row in a file that is not a table."""
    return f"row {row} of the import"


def renamed(names: list[str], path: Path) -> list[str]:
    """Names of columns, other names of latitude and longitude replaced; ValueError if one is missing or twice there."""
    aliases = {
        alias: column for column, coordinate in COLUMNS.items() for alias in (coordinate, *CRITERIA[coordinate].names)
    }
    columns = [aliases.get(name, name) for name in names]
    twice = [name for name in columns if columns.count(name) > 1]
    if twice:
        raise ValueError(f"{path} has two columns {twice[0]!r}: keep one")
    if "" in columns:
        raise ValueError(f"{path} has a column without a name, number {columns.index('') + 1}: name it")
    missing = [name for name in ("variable", "value", "error", "time", *axes(columns)) if name not in columns]
    if missing:
        raise ValueError(
            f"{path} has no column {missing[0]!r}: a table needs variable, value, error, time, and lat, lon or x, y"
        )
    return columns


def axes(names: Iterable[str]) -> tuple[str, str]:
    """Columns of the position: x, y if there is no lat, lon."""
    plane, sphere = ({*pair} <= {*names} for pair in (("x", "y"), ("lat", "lon")))
    return ("x", "y") if plane and not sphere else ("lat", "lon")


def codes(column: np.ndarray, path: Path, where: Callable[[int], str]) -> np.ndarray:
    """The column `qc` as integers; ValueError if one is not.

    Parameters
    ----------
    column : (row,) array of float
    path : Path
        File that errors name.
    where : callable
        Number of a row to its place in the file.
    """
    with np.errstate(invalid="ignore"):
        bad = ~(np.isfinite(column) & (column == np.round(column)) & (np.abs(column) < 2**31))
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"{path}, {where(row)}: qc is {column[row]}: give an integer, 0 to use the row")
    return column.astype(np.int32)
