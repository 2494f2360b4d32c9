"""Where the state variables are and how far an observation reaches."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ensf.arrays import Array, to_numpy
from ensf.localization.geometry import Geometry, Periodic
from ensf.localization.patches import Patches, tapered
from ensf.localization.taper import gaspari_cohn

__all__ = ["Localization", "periodic_line"]

PAIRS = 2**24
"""Pairs of place and observation remembered (400 MB), whatever the number of networks; the last one always is."""


@dataclass(frozen=True, eq=False)
class Localization:
    """Where the state variables are and how far an observation reaches.

    Parameters
    ----------
    position : (state, dimension) array
        Place of each state variable.
    geometry : Geometry
        `Euclidean`, `Periodic`, `Sphere`, or with a vertical coordinate `Product` or `Layered`.
    half_width : float
        Gaspari-Cohn half-width in the unit of the geometry's distance; nothing is seen from twice as far.
        Infinity means that every place sees every observation with weight 1.

    Raises
    ------
    ValueError
        If positions are not a finite (state, dimension) array or the half-width is not positive.
    """

    position: np.ndarray
    geometry: Geometry
    half_width: float
    _known: OrderedDict[bytes, Patches] = field(init=False, repr=False, default_factory=OrderedDict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "position", _positions(self.position))
        if not self.half_width > 0:
            raise ValueError(f"localization half-width is {self.half_width}: give a positive length")

    def __repr__(self) -> str:
        state, dimension = self.position.shape
        return (
            f"Localization(position=<{state} x {dimension}>, geometry={self.geometry!r}, "
            f"half_width={self.half_width!r})"
        )

    @cached_property
    def variables(self) -> np.ndarray:
        """State variables by place, ``(point, variable)``; shorter rows repeat their first variable.

        A place with more than twice the mean number of variables is several places, so that little is repeated.
        """
        _, point, count = np.unique(self.position, axis=0, return_inverse=True, return_counts=True)
        width = min(count.max(), int(np.ceil(2 * count.mean())))
        rank = np.arange(len(self.position)) - np.repeat(np.cumsum(count) - count, count)
        by_point = np.argsort(point.ravel(), kind="stable")
        first = rank % width == 0
        groups = np.repeat(by_point[first][:, None], width, axis=1)
        groups[np.cumsum(first) - 1, rank % width] = by_point
        return groups[np.argsort(groups[:, 0])]

    def patches(self, observed: Array) -> Patches:
        """Patches for observations at ``(observation, dimension)``; the last few networks are remembered."""
        observed = _positions(to_numpy(observed))
        key = observed.tobytes()
        if key not in self._known:
            self._known[key] = self._build(observed)
            while len(self._known) > 1 and (len(self._known) > 4 or self._pairs > PAIRS):
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]

    @property
    def _pairs(self) -> int:
        return sum(len(patches.index) for patches in self._known.values())

    def _build(self, observed: np.ndarray) -> Patches:
        dimension = self.position.shape[1]
        if observed.shape[1] != dimension:
            raise ValueError(
                f"observation positions have {observed.shape[1]} dimensions, state positions {dimension}: "
                "give both in the same coordinates"
            )
        points = self.position[self.variables[:, 0]]
        near = self.geometry.pairs(points, observed, 2 * self.half_width)
        weight = gaspari_cohn(near.data, self.half_width)
        return tapered(self.variables, near.indptr, near.indices, near.data, weight)


def _positions(position: np.ndarray) -> np.ndarray:
    position = np.ascontiguousarray(position, dtype=np.float64)
    if position.ndim != 2 or not np.isfinite(position.sum()):
        raise ValueError("positions must be a finite array, one row of coordinates per state variable or observation")
    return position


def periodic_line(size: int, half_width: float, length: float | None = None) -> Localization:
    """Localization of `size` equidistant variables on a ring, as in the Lorenz-96 model.

    Parameters
    ----------
    size : int
    half_width : float
        Gaspari-Cohn half-width, in the unit of `length`.
    length : float, optional
        Length of the ring; by default `size`, so that neighbours are one unit apart.
    """
    length = float(size if length is None else length)
    return Localization(np.arange(size)[:, None] * (length / size), Periodic((length,)), half_width)
