"""What is wrong with a row: the first problem, in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

__all__ = ["RowError", "check_rows", "check_shapes"]

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


def check_rows(columns: Mapping[str, np.ndarray], used: np.ndarray, axes: tuple[str, str]) -> None:
    """Raise RowError for the first row in use that is broken.

    Parameters
    ----------
    columns : mapping of str to (row,) array
        Columns of the table by their names in files.
    used : (row,) array of bool
        Rows that are to be used; the others may be incomplete.
    axes : tuple of two str
        Columns of the position.
    """
    first: tuple[int, str] | None = None
    for name, good, advice in _rules(columns, axes):
        bad = used & ~good
        row = int(np.argmax(bad)) if bad.any() else len(bad)
        if row < (len(bad) if first is None else first[0]):
            entry = str(columns[name][row])
            first = (row, f"{name} is {entry if entry else 'empty'}: {advice}")
    if first is not None:
        raise RowError(*first)


def _rules(columns: Mapping[str, np.ndarray], axes: tuple[str, str]) -> Iterator[tuple[str, np.ndarray, str]]:
    """Name of a column, where it is good, and advice where it is not."""
    rejected = ", or a qc other than 0"
    yield "variable", columns["variable"] != "", "name what was observed"
    finite = np.isfinite(columns["value"])
    yield "value", finite, "give a finite number, or leave it empty if nothing was measured"
    error = columns["error"]
    yield "error", np.isfinite(error) & (error > 0), f"give a positive standard deviation{rejected}"
    yield "time", ~np.isnat(columns["time"]), f"give a time such as 2024-01-31T12:00:00{rejected}"
    for name in axes:
        low, high = LIMITS.get(name, (-np.finfo(float).max, np.finfo(float).max))
        span = f"a number from {low:g} to {high:g} degrees" if name in LIMITS else "a finite number"
        yield name, (columns[name] >= low) & (columns[name] <= high), f"give {span}{rejected}"
    if "z" in columns:
        yield "z", ~np.isinf(columns["z"]), "give a finite number, or leave it empty"


def check_shapes(value: np.ndarray, position: np.ndarray, columns: Mapping[str, np.ndarray | None]) -> None:
    """Raise ValueError unless there is a position and an entry of every column for every value.

    Parameters
    ----------
    value : (row,) array
    position : (row, 2) array
    columns : mapping of str to (row,) array, or None
        The others by name, None where the table has no such column.
    """
    size = len(value)
    if value.ndim != 1 or position.shape != (size, 2):
        raise ValueError(
            f"a table of {size} values has positions of shape {position.shape}: give two coordinates per row"
        )
    for name, column in columns.items():
        if column is not None and column.shape != (size,):
            raise ValueError(
                f"column {name!r} has shape {column.shape} but the table {size} rows: give one entry per row"
            )
