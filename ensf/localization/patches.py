"""What each place of the model may learn from: the observations near it, with their tapers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from ensf.arrays import Record
from ensf.localization.taper import gaspari_cohn

__all__ = ["Patches", "everything", "first_of", "grouped", "tapered", "whole_groups"]

TIE = 1e-9


@dataclass(frozen=True, eq=False)
class Patches(Record):
    """Observations near each place, in compressed rows: place i sees ``index[indptr[i]:indptr[i + 1]]``.

    Attributes
    ----------
    variables : (point, variable) int64 array
        State variables at each place, every one at one place; shorter rows repeat their first variable.
    indptr : (point + 1,) int64 array
    index : (pair,) int64 array
        Observation of each pair.
    distance : (pair,) array
    weight : (pair,) array
        Taper in (0, 1].
    everywhere : bool
        One place with all variables: the cost is in them.
    """

    variables: np.ndarray
    indptr: np.ndarray
    index: np.ndarray
    distance: np.ndarray
    weight: np.ndarray
    everywhere: bool = False

    @cached_property
    def slots(self) -> np.ndarray:
        """Where in ``variables.ravel()`` each state variable stands, ``(state,)``."""
        slots = np.empty(self.variables.max() + 1, dtype=np.int64)
        slots[self.variables.ravel()] = np.arange(self.variables.size)
        return slots

    @property
    def largest(self) -> int:
        """Number of observations in the largest patch."""
        return int(np.diff(self.indptr).max(initial=0))

    @cached_property
    def largest_weight(self) -> np.ndarray:
        """Largest taper at each place, ``(point,)``; 0 where no observation reaches."""
        weight = np.zeros(len(self.variables))
        filled = np.diff(self.indptr) > 0
        weight[filled] = np.maximum.reduceat(self.weight, self.indptr[:-1][filled]) if filled.any() else 0.0
        return weight

    @cached_property
    def padded(self) -> tuple[np.ndarray, np.ndarray]:
        """Index and weight as rectangles ``(point, most)`` for batched array code; padding weighs 0."""
        count = np.diff(self.indptr)
        filled = np.arange(max(1, count.max(initial=0))) < count[:, None]
        index, weight = np.zeros(filled.shape, dtype=np.int64), np.zeros(filled.shape)
        index[filled], weight[filled] = self.index, self.weight
        return index, weight

    def narrowed(self, half_width: float | np.ndarray) -> Patches:
        """The same places with another, smaller half-width: one number, or one per place."""
        count = np.diff(self.indptr)
        weight = gaspari_cohn(self.distance, np.repeat(np.broadcast_to(half_width, count.shape), count))
        return tapered(self.variables, self.indptr, self.index, self.distance, weight)


def tapered(
    variables: np.ndarray, indptr: np.ndarray, index: np.ndarray, distance: np.ndarray, weight: np.ndarray
) -> Patches:
    """Patches of the pairs that weigh something."""
    keep = weight > 0
    before = np.concatenate([[0], np.cumsum(keep)])
    return Patches(variables, before[indptr], index[keep].astype(np.int64), distance[keep], weight[keep])


def first_of(patches: Patches, cost: np.ndarray, count: int, group: np.ndarray | None = None) -> Patches:
    """About `count` observations for each place, those of the smallest cost; of equal ones all or none.

    An observation, or a group of them as a whole, is kept if it fits into what those of smaller cost that are kept
    leave of the count. So the order of observations plays no part, nor which of equal ones rounding puts first; where
    costs tie, more than `count` may be kept. Those of the smallest cost always are.

    Parameters
    ----------
    patches : Patches
    cost : (pair,) array
        The same for all of a group at a place; costs tie that differ by less than `TIE` of themselves.
    count : int
    group : (observation,) array of int, optional
    """
    size = np.diff(patches.indptr)
    if patches.largest <= count:
        return patches
    order = np.lexsort((cost, np.repeat(np.arange(len(size)), size)))
    cost = cost[order]
    further = np.abs(np.diff(cost, prepend=0.0)) > TIE * np.abs(cost)
    further[patches.indptr[:-1][size > 0]] = True
    keep = np.zeros(len(cost), dtype=bool)
    if group is None:
        nearer = np.maximum.accumulate(np.where(further, np.arange(len(cost)), 0)) - np.repeat(
            patches.indptr[:-1], size
        )
        keep[order] = nearer < count
    else:
        for first, stop in pairwise(patches.indptr.tolist()):
            room = count
            for tied in np.split(order[first:stop], np.flatnonzero(further[first + 1 : stop]) + 1):
                _, own, number = np.unique(group[patches.index[tied]], return_inverse=True, return_counts=True)
                fits = (number <= room) | (room == count)
                keep[tied] = fits[own.ravel()]
                room -= number[fits].sum()
    before = np.concatenate([[0], np.cumsum(keep)])
    return Patches(
        patches.variables, before[patches.indptr], patches.index[keep], patches.distance[keep], patches.weight[keep]
    )


def whole_groups(
    indptr: np.ndarray, index: np.ndarray, distance: np.ndarray, group: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Near pairs with groups of observations as a whole: all of a group are as far as its nearest observation.

    Parameters
    ----------
    indptr, index, distance
        Of `Patches`, for each observation alone.
    group : (observation,) array of int
    """
    _, number, count = np.unique(group, return_inverse=True, return_counts=True)
    number = number.ravel()
    groups = len(count)
    members = np.argsort(number, kind="stable")
    starts = np.concatenate([[0], np.cumsum(count)[:-1]])
    place = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    pair = place * groups + number[index]
    order = np.lexsort((distance, pair))
    first = np.diff(pair[order], prepend=-1) > 0
    pair, nearest = pair[order][first], distance[order][first]
    place, own = pair // groups, pair % groups
    size = count[own]
    within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
    whole = members[np.repeat(starts[own], size) + within]
    place, far = np.repeat(place, size), np.repeat(nearest, size)
    order = np.lexsort((whole, place))
    ends = np.cumsum(np.bincount(place, minlength=len(indptr) - 1))
    return np.concatenate([[0], ends]), whole[order], far[order]


def grouped(positions: np.ndarray) -> np.ndarray:
    """State variables by place, ``(point, variable)``; shorter rows repeat their first variable.

    A place with more than twice the mean number of variables is several places, so that little is repeated.
    """
    _, point, count = np.unique(positions, axis=0, return_inverse=True, return_counts=True)
    width = min(count.max(), int(np.ceil(2 * count.mean())))
    rank = np.arange(len(positions)) - np.repeat(np.cumsum(count) - count, count)
    by_point = np.argsort(point.ravel(), kind="stable")
    first = rank % width == 0
    groups = np.repeat(by_point[first][:, None], width, axis=1)
    groups[np.cumsum(first) - 1, rank % width] = by_point
    return groups[np.argsort(groups[:, 0])]


def everything(variables: int, observations: int) -> Patches:
    """One place with all variables, which learns from all observations with weight 1."""
    index = np.arange(observations)
    ones = np.ones(observations)
    return Patches(np.arange(variables)[None, :], np.array([0, observations]), index, 0 * ones, ones, everywhere=True)
