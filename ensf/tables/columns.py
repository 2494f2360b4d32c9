"""What the columns of a table are called in files, and the codes in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

__all__ = ["NUMBERS", "axes", "codes", "renamed"]

NUMBERS = ("value", "error", "lat", "lon", "x", "y", "z", "qc")
ALIASES = {"latitude": "lat", "longitude": "lon"}


def renamed(names: list[str], path: Path) -> list[str]:
    """Names of columns, aliases replaced; ValueError if one is empty, missing, or occurs twice."""
    known = [ALIASES.get(name, name) for name in names]
    twice = [name for name in known if known.count(name) > 1]
    if twice:
        raise ValueError(f"{path} has two columns {twice[0]!r}: keep one")
    if "" in known:
        raise ValueError(f"{path} has a column without a name, number {known.index('') + 1}: name it")
    missing = [name for name in ("variable", "value", "error", "time", *axes(known)) if name not in known]
    if missing:
        raise ValueError(
            f"{path} has no column {missing[0]!r}: a table needs variable, value, error, time, and lat, lon or x, y"
        )
    return known


def axes(names: Iterable[str]) -> tuple[str, str]:
    """Columns of the position: x, y if there is no lat, lon."""
    plane, sphere = ({*pair} <= {*names} for pair in (("x", "y"), ("lat", "lon")))
    return ("x", "y") if plane and not sphere else ("lat", "lon")


def codes(column: np.ndarray, path: Path, where: Callable[[int], str]) -> np.ndarray:
    """The column `qc` as integers; ValueError if one is not."""
    with np.errstate(invalid="ignore"):
        bad = ~(np.isfinite(column) & (column == np.round(column)) & (np.abs(column) < 2**31))
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"{path}, {where(row)}: qc is {column[row]}: give an integer, 0 to use the row")
    return column.astype(np.int32)
