"""What is wrong with a row: the first problem, in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["RowError", "check"]

LIMITS = {"lat": (-90.0, 90.0), "lon": (-180.0, 360.0)}


class RowError(ValueError):
    """A row that cannot be used.

    Attributes
    ----------
    row : int
        Counted from 0.
    problem : str
        Column, what it holds, and what to do.
    """

    def __init__(self, row: int, problem: str) -> None:
        super().__init__(f"row {row}: {problem}")
        self.row, self.problem = row, problem


def check(table: Any) -> None:
    """Raise ValueError for columns of unequal length, RowError for the first row in use that is broken."""
    _check_shapes(table)
    first: tuple[int, str] | None = None
    for name, column, good, advice in _rules(table):
        bad = table.used & ~good
        row = int(np.argmax(bad)) if bad.any() else len(bad)
        if row < (len(bad) if first is None else first[0]):
            shown = str(column[row])
            first = (row, f"{name} is {shown if shown else 'empty'}: {advice}")
    if first is not None:
        raise RowError(*first)


def _rules(table: Any) -> Iterator[tuple[str, np.ndarray, np.ndarray, str]]:
    """Column name, column, where it is good, and advice where it is not."""
    rejected = ", or a qc other than 0"
    yield "variable", table.variable, table.variable != "", "name what was observed"
    finite = np.isfinite(table.value)
    yield "value", table.value, finite, "give a finite number, or leave it empty if nothing was measured"
    error = table.error
    good = np.isfinite(error) & (error > 0)
    yield "error", error, good, f"give a positive standard deviation{rejected}"
    yield "time", table.time, ~np.isnat(table.time), f"give a time such as 2024-01-31T12:00:00{rejected}"
    for name, column in zip(table.axes, table.position.T, strict=True):
        low, high = LIMITS.get(name, (-np.finfo(float).max, np.finfo(float).max))
        span = f"a number from {low:g} to {high:g} degrees" if name in LIMITS else "a finite number"
        yield name, column, (column >= low) & (column <= high), f"give {span}{rejected}"
    if table.z is not None:
        yield "z", table.z, ~np.isinf(table.z), "give a finite number, or leave it empty"


def _check_shapes(table: Any) -> None:
    size = len(table.value)
    if table.value.ndim != 1 or table.position.shape != (size, 2):
        raise ValueError(
            f"a table of {size} values has positions of shape {table.position.shape}: give two coordinates per row"
        )
    columns = {"z": table.z, **table.extra}
    for name, column in columns.items():
        if column is not None and column.shape != (size,):
            raise ValueError(
                f"column {name!r} has shape {column.shape} but the table {size} rows: give one entry per row"
            )
