"""Which observation is which: the same one in another cycle, the nearest of its kind, several of one place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ensf.arrays import Record
from ensf.localization import Localization

__all__ = ["NEAR", "Sites"]

NEAR = 0.25
"""Half-widths within which observations of two cycles, or of two kinds, are compared."""
ROUNDS = 4
"""In which the nearest are matched: where several are as near, one leaves some without a partner."""


@dataclass(frozen=True, eq=False)
class Sites(Record):
    """Which observation is which.

    Attributes
    ----------
    kind : (observation,) array of int
        Number of its kind.
    position : (observation, dimension) array
    variable : (observation,) array of int
        That it reads; -1 if it does not read a single one.
    """

    kind: np.ndarray
    position: np.ndarray
    variable: np.ndarray

    def __len__(self) -> int:
        return len(self.kind)

    def partners(self, before: Sites, localization: Localization) -> tuple[np.ndarray, np.ndarray]:
        """Observations of this cycle and their partners of the one before: the same, else the nearest of the kind.

        Each has one partner at most. Nearest is who is nearest to each other, within a part of the half-width.

        Returns
        -------
        now, then : (pair,) arrays of int
            `now` is ascending.
        """
        now, then, new, gone = self.same(before)
        reach = NEAR * localization.half_width
        if before.position.shape[1] != self.position.shape[1] or math.isinf(reach) or not len(new) or not len(gone):
            return now, then
        near = localization.geometry.pairs(self.position[new], before.position[gone], reach).tocoo()
        row, column = new[near.row], gone[near.col]
        of_kind = np.flatnonzero(self.kind[row] == before.kind[column])
        order = of_kind[np.lexsort([_scattered(row, column)[of_kind], near.data[of_kind]])]
        row, column = row[order], column[order]
        for _ in range(ROUNDS):
            nearest = np.unique(row, return_index=True)[1], np.unique(column, return_index=True)[1]
            pairs = np.intersect1d(*nearest)
            now, then = np.concatenate([now, row[pairs]]), np.concatenate([then, column[pairs]])
            left = ~np.isin(row, row[pairs]) & ~np.isin(column, column[pairs])
            row, column = row[left], column[left]
        order = np.argsort(now)
        return now[order], then[order]

    def same(self, before: Sites) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Pairs of the same kind, place and variable, and who has no such partner.

        In the same network, of the same order, that is index by index. Else, of several of one place, the first of this
        cycle and the last of the one before.

        Returns
        -------
        now, then : (pair,) arrays of int
            `now` is ascending.
        new, gone : arrays of int
            Observations of this cycle, and of the one before.
        """
        none, mine, theirs = np.zeros(0, dtype=np.int64), self._rows, before._rows
        if theirs.shape[1] != mine.shape[1]:
            return none, none, np.arange(len(self)), np.arange(len(before))
        if theirs.shape == mine.shape and (theirs == mine).all():
            return np.arange(len(self)), np.arange(len(self)), none, none
        past, present = np.split(_numbered(np.concatenate([theirs, mine])), [len(before)])
        last, then = np.unique(past[::-1], return_index=True)
        first, now = np.unique(present, return_index=True)
        _, in_first, in_last = np.intersect1d(first, last, assume_unique=True, return_indices=True)
        order = np.argsort(now[in_first])
        now, then = now[in_first][order], (len(before) - 1 - then[in_last])[order]
        return now, then, np.flatnonzero(~np.isin(present, past)), np.flatnonzero(~np.isin(past, present))

    @cached_property
    def repeated(self) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of observations of one kind, place and variable: each with the next."""
        which = _numbered(self._rows)
        order = np.argsort(which, kind="stable")
        again = np.flatnonzero(np.diff(which[order]) == 0)
        return order[again], order[again + 1]

    @cached_property
    def _rows(self) -> np.ndarray:
        return np.column_stack([self.kind, self.position, self.variable])

    def is_at(self, others: Sites) -> np.ndarray:
        """Whether each is the same as its counterpart."""
        return (self._rows == others._rows).all(axis=1)

    def rows(self, index: np.ndarray) -> Sites:
        """Some of them."""
        return Sites(self.kind[index], self.position[index], self.variable[index])


def _numbered(rows: np.ndarray) -> np.ndarray:
    """A number of each row, the same where rows are equal."""
    order = np.lexsort(rows.T)
    number = np.zeros(len(rows), dtype=np.int64)
    number[order[1:]] = np.cumsum((rows[order[1:]] != rows[order[:-1]]).any(axis=1))
    return number


def _scattered(row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """A number of each pair, in no order of theirs: so that of many as near not all choose the same."""
    row, column = row.astype(np.uint64), column.astype(np.uint64)
    mixed = row * np.uint64(0x9E3779B97F4A7C15) ^ column * np.uint64(0xC2B2AE3D27D4EB4F)
    return mixed * np.uint64(0xD6E8FEB86659FD93)
