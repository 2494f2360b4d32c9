"""Which rows of a table can be trusted, and how many are needed.

A check is a setting with one verb: `flag` gives the table with a code in the rows that fail, and never touches a row
that failed before, so that every rejected row keeps its first reason. "Out of domain" and "on land" are
found by `ObservationTable.observe`.

    GrossCheck           |y - mean(h(x))| > k sqrt(spread(h(x))^2 + error^2)
    SuperObservations    y = sum_i w_i y_i,    w_i = error_i^-2 / sum_j error_j^-2,
                         error^2 = (1 - r) sum_i w_i^2 error_i^2 + r (sum_i w_i error_i)^2,

the second with r the correlation of the errors in one box: 0 gives the error of independent observations, 1 no gain.

References
----------
Lorenc (1981), Mon. Wea. Rev. 109, 701-721 (checks against a prior, super-observations).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ensf.arrays.settings import check_kind, check_settings
from ensf.tables.columns import words_of
from ensf.tables.flags import DUPLICATE, GROSS, MERGED, THINNED
from ensf.tables.laws import LAW
from ensf.tables.quality.boxes import Boxes
from ensf.tables.table import ObservationTable

__all__ = ["Duplicates", "GrossCheck", "SuperObservations", "Thinning", "TimeWindow"]


@dataclass(frozen=True)
class TimeWindow:
    """Rejects what was not observed from `start`, included, to `end`, which belongs to the next window.

    Parameters
    ----------
    start, end : datetime64, or str in ISO 8601
        UTC.
    """

    start: np.datetime64 | str
    end: np.datetime64 | str

    def __post_init__(self) -> None:
        for date in (self.start, self.end):
            try:
                np.datetime64(date)
            except ValueError:
                raise ValueError(f"{date!r} of TimeWindow is no date: give one such as '2024-01-31T09:00'") from None
        if not np.datetime64(self.start) < np.datetime64(self.end):
            raise ValueError(f"the window from {self.start} to {self.end} is empty: give start before end")

    def flag(self, table: ObservationTable) -> ObservationTable:
        """The table with rows outside the window rejected."""
        return table.within(self.start, self.end)


@dataclass(frozen=True)
class GrossCheck:
    """Rejects innovations of more than so many total standard deviations.

    Parameters
    ----------
    gross_limit : float
        k, the largest number of standard deviations.
    stage : str
        Reads the columns ``<stage>_mean`` and ``<stage>_spread`` that `Observed.compare` writes.
    """

    gross_limit: float = 4.0
    stage: str = "prior"

    def __post_init__(self) -> None:
        check_settings(self)
        if not self.gross_limit > 0:
            raise ValueError(
                f"the gross check has gross_limit {self.gross_limit}: give a positive number of standard deviations"
            )

    def flag(self, table: ObservationTable) -> ObservationTable:
        """The table with rows of a larger innovation rejected.

        Raises
        ------
        ValueError
            If the table has no such columns.
        """
        names = [f"{self.stage}_{statistic}" for statistic in ("mean", "spread")]
        missing = [name for name in names if name not in table.extra]
        if missing:
            raise ValueError(f"the table has no column {missing[0]!r}: compare({self.stage!r}, ensemble) comes first")
        mean, spread = (table.extra[name] for name in names)
        total = np.sqrt(spread**2 + table.deviation**2)
        return table.reject(np.abs(table.value - mean) > self.gross_limit * total, GROSS)


@dataclass(frozen=True)
class Duplicates:
    """Rejects all but one of the rows of one variable, place and time; the one with the smallest error stays."""

    def flag(self, table: ObservationTable) -> ObservationTable:
        """The table with the other rows rejected."""
        rows = np.flatnonzero(table.used)
        return _without(table, rows, _same(table, rows), DUPLICATE)


@dataclass(frozen=True)
class Thinning:
    """Keeps one row of each variable in each box, the one with the smallest error.

    Parameters
    ----------
    boxes : Boxes
    """

    boxes: Boxes

    def __post_init__(self) -> None:
        check_kind(self.boxes, "number", "boxes of Thinning", "Boxes(100.0)")

    def flag(self, table: ObservationTable) -> ObservationTable:
        """The table with the other rows rejected."""
        rows = np.flatnonzero(table.used)
        return _without(table, rows, self.boxes.number(table.take(rows)), THINNED)


@dataclass(frozen=True)
class SuperObservations:
    """Replaces the rows of each variable in each box by their weighted mean, a new row at the end of the table.

    Rows of other units, kinds or groups are not taken together, and those of another error law than the Gaussian are
    left as they are.

    Parameters
    ----------
    boxes : Boxes
    correlation : float
        Correlation r of the errors of rows in one box, from 0 to 1.
    """

    boxes: Boxes
    correlation: float = 0.0

    def __post_init__(self) -> None:
        check_kind(self.boxes, "number", "boxes of SuperObservations", "Boxes(100.0)")
        check_settings(self)
        if not 0 <= self.correlation <= 1:
            raise ValueError(f"the correlation of errors is {self.correlation}: give a number from 0 to 1")

    def flag(self, table: ObservationTable) -> ObservationTable:
        """The table with the merged rows rejected, and the new rows with a column `merged` that counts them."""
        rows = np.flatnonzero(table.used)
        words = _alike(table.take(rows))
        box = np.unique(np.stack([self.boxes.number(table.take(rows)), *words.values()]), axis=1, return_inverse=True)[
            1
        ]
        box = box.ravel()
        merged = (np.bincount(box, minlength=1)[box] > 1) & _is_gaussian(table.take(rows))
        if not merged.any():
            return table
        which = np.zeros(len(table), dtype=bool)
        which[rows[merged]] = True
        _, box = np.unique(box[merged], return_inverse=True)
        return table.reject(which, MERGED).append(self._means(table.take(rows[merged]), box.ravel()))

    def _means(self, table: ObservationTable, box: np.ndarray) -> ObservationTable:
        """One row per box."""
        precision = table.error**-2.0
        weight = precision / np.bincount(box, precision)[box]
        independent = np.bincount(box, (weight * table.error) ** 2)
        common = np.bincount(box, weight * table.error) ** 2
        first = np.unique(box, return_index=True)[1]
        since = (table.time - table.time[first][box]) / np.timedelta64(1, "us")
        later = np.round(np.bincount(box, weight * since)).astype("timedelta64[us]")
        return ObservationTable(
            table.variable[first],
            np.bincount(box, weight * table.value),
            np.sqrt((1 - self.correlation) * independent + self.correlation * common),
            table.time[first] + later,
            self.boxes.centre(table, box, weight),
            axes=table.axes,
            z=None if table.z is None else np.bincount(box, weight * table.z),
            vertical={name: np.bincount(box, weight * column) for name, column in table.vertical.items()},
            extra={name: table.extra[name][first] for name in _alike(table)}
            | {"merged": np.bincount(box).astype(float)},
        )


def _alike(table: ObservationTable) -> dict[str, np.ndarray]:
    """Columns in which rows that are taken together agree, as numbers of their entries, ``(row,)`` each."""
    names = [name for name in ("units", "error_units", "kind", "group", LAW) if name in table.extra]
    return {name: np.unique(words_of(table.extra[name]), return_inverse=True)[1].ravel() for name in names}


def _is_gaussian(table: ObservationTable) -> np.ndarray:
    """Rows ``(row,)`` of bool that name no other error law."""
    words = words_of(table.extra[LAW]) if LAW in table.extra else np.full(len(table), "")
    return np.isin(words, ("", "Gaussian"))


def _without(table: ObservationTable, rows: np.ndarray, group: np.ndarray, code: int) -> ObservationTable:
    """The table with all rows of each group rejected but that of the smallest error, the first of equals."""
    order = np.lexsort((table.error[rows], group))
    repeated = np.diff(group[order], prepend=-1) == 0
    which = np.zeros(len(table), dtype=bool)
    which[rows[order[repeated]]] = True
    return table.reject(which, code)


def _same(table: ObservationTable, rows: np.ndarray) -> np.ndarray:
    """Number of the variable, place and time of each row."""
    position = table.position[rows]
    places = [np.mod(one, 360.0) if axis == "lon" else one for axis, one in zip(table.axes, position.T, strict=True)]
    levels = [column[rows] for column in table.levels.values()]
    law = words_of(table.extra[LAW])[rows] if LAW in table.extra else np.full(len(rows), "")
    columns = (table.variable[rows], table.time[rows], *places, *levels, law)
    keys = [np.unique(column, return_inverse=True)[1].ravel() for column in columns]
    return np.unique(np.stack(keys, axis=1), axis=0, return_inverse=True)[1].ravel()
