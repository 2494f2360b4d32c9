"""What is wrong with a row: a code, and the first problem in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ensf.tables.columns import VERTICAL
from ensf.tables.flags import BAD_ERROR, BAD_HEIGHT, BAD_POSITION, BAD_VALUE, MISSING, NO_ERROR, NO_TIME, UNKNOWN, USED
from ensf.tables.laws import Laws, without_error

__all__ = ["REJECTED", "check_rows", "check_shapes", "first_problem", "on_earth"]

REJECTED = "; the row is rejected"
"""How a sentence about a row ends."""
ROUNDING = 1e-5
"""Degrees by which a latitude may be beyond a pole: those of 4 bytes, and of radians."""
LIMITS = {"lat": (-90.0 - ROUNDING, 90.0 + ROUNDING), "lon": (-180.0 - ROUNDING, 360.0 + ROUNDING)}


def check_rows(columns: Mapping[str, np.ndarray], axes: tuple[str, ...]) -> np.ndarray:
    """The column `qc` with a code of `ensf.tables.flags` in each row that was to be used and is broken, ``(row,)``.

    Parameters
    ----------
    columns : mapping of str to (row,) array
        Columns of the table by their names in files; rows whose `qc` is not 0 may be incomplete.
    axes : tuple of str
        Columns of the position.
    """
    codes = columns["qc"]
    for _, bad, code, _ in _rules(columns, axes):
        codes = np.where((codes == USED) & bad, code, codes)
    return codes.astype(np.int32)


def first_problem(
    columns: Mapping[str, np.ndarray], axes: tuple[str, ...], laws: Laws | None = None
) -> tuple[int, str] | None:
    """The first broken row and, in a sentence, its first problem: column, what it holds, what to do, and its end.

    A row without a value is not broken: nothing was measured; nor is one without an error whose law needs none.
    """
    used = columns["qc"] == USED
    first = None
    for name, bad, code, advice in _rules(columns, axes, laws):
        if code == MISSING:
            used = used & ~bad
        elif (bad & used).any():
            row = int(np.argmax(bad & used))
            if first is None or row < first[0]:
                entry = str(columns[name][row])
                depends = code == NO_ERROR and laws is None
                ending = "; unless its law needs none, the row is rejected" if depends else REJECTED
                first = (row, f"{name} is {entry if entry else 'empty'}: {advice}{ending}")
    return first


def _rules(
    columns: Mapping[str, np.ndarray], axes: tuple[str, ...], laws: Laws | None = None
) -> Iterator[tuple[str, np.ndarray, int, str]]:
    """Name of a column, where it is bad, the code of that, and advice."""
    value, error = columns["value"], np.where(without_error(columns, laws), 1.0, columns["error"])
    yield "value", np.isnan(value), MISSING, "give what was measured"
    yield "variable", columns["variable"] == "", UNKNOWN, "name what was observed"
    yield "value", np.isinf(value), BAD_VALUE, "give a finite number, or leave it empty if nothing was measured"
    yield "error", np.isnan(error), NO_ERROR, "give a positive standard deviation"
    yield "error", ~((error > 0) & (error < np.inf)), BAD_ERROR, "give a positive standard deviation"
    yield "time", np.isnat(columns["time"]), NO_TIME, "give a time such as 2024-01-31T12:00:00"
    for name in axes:
        low, high = LIMITS.get(name, (-np.finfo(float).max, np.finfo(float).max))
        span = f"a number from {low:.0f} to {high:.0f} degrees" if name in LIMITS else "a finite number"
        yield name, ~((columns[name] >= low) & (columns[name] <= high)), BAD_POSITION, f"give {span}"
    for name in VERTICAL:
        if name in columns:
            yield name, np.isinf(columns[name]), BAD_HEIGHT, "give a finite number, or leave it empty"


def on_earth(position: np.ndarray, axes: tuple[str, ...]) -> np.ndarray:
    """Positions whose latitude is a pole if it is beyond one by no more than rounding, ``(row, axis)``."""
    if "lat" not in axes or position.ndim != 2 or position.shape[1] != len(axes):
        return position
    latitude = position[:, axes.index("lat")]
    beyond = (np.abs(latitude) > 90) & (np.abs(latitude) <= 90 + ROUNDING)
    if not beyond.any():
        return position
    position = position.copy()
    position[beyond, axes.index("lat")] = np.sign(latitude[beyond]) * 90.0
    return position


def check_shapes(
    value: np.ndarray, position: np.ndarray, axes: tuple[str, ...], columns: Mapping[str, np.ndarray | None]
) -> None:
    """Raise ValueError unless there is a position and an entry of every column for every value.

    Parameters
    ----------
    value : (row,) array
    position : (row, axis) array
    axes : tuple of str
    columns : mapping of str to (row,) array, or None
        The others by name, None where the table has no such column.
    """
    size = len(value)
    if value.ndim != 1 or position.shape != (size, len(axes)):
        raise ValueError(
            f"a table of {size} values has positions of shape {position.shape}: give each row its "
            f"{' and '.join(axes) or 'value alone'}"
        )
    for name, column in columns.items():
        if column is not None and column.shape != (size,):
            raise ValueError(
                f"column {name!r} has shape {column.shape} but the table {size} rows: give one entry per row"
            )
