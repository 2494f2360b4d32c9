"""How far an observation reaches: a geometry and a half-width. Positions come with the state."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ensf.arrays import Array, as_names, is_count, to_numpy
from ensf.arrays.settings import check_kind, check_settings
from ensf.localization.geometry import Geometry, Periodic
from ensf.localization.patches import TIE, Patches, everything, first_of, grouped, tapered, whole_groups
from ensf.localization.taper import gaspari_cohn

__all__ = ["Localization", "periodic_line"]

PAIRS = 2**24
"""Pairs of place and observation remembered (400 MB), whatever the number of networks; the last one always is."""
NETWORKS = 8

Dims = tuple[str, ...] | tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Localization:
    """How far an observation reaches.

    Settings only: where state variables are comes with the state, as ``positions=`` beside an array (by default a
    variable is at its index), as the coordinates of a Dataset or of files.

    Parameters
    ----------
    geometry : Geometry
        `Euclidean`, `Periodic`, `Sphere`, or with a vertical coordinate `Product` or `Layered`.
    half_width : float
        Gaspari-Cohn half-width in the unit of the geometry's distance; nothing reaches twice as far.
        Infinity means that every observation reaches everything with weight 1.
    dims : tuple of str, or mapping of str to tuple of str
        Coordinates of a Dataset that make a position, of every variable or by variable.
    at : mapping of str to float
        Where variables of a Dataset are that lack one of these coordinates.
    nearest : int, optional
        So many observations for a place, the nearest, and all that are as near as the last of them: the order of
        observations plays no part. A group that would exceed the number is left out, but the nearest one never is.

    Raises
    ------
    ValueError
        If the half-width is not positive, or the number no count.
    """

    geometry: Geometry
    half_width: float
    dims: Dims = ("latitude", "longitude")
    at: tuple[tuple[str, float], ...] = ()
    nearest: int | None = None

    def __post_init__(self) -> None:
        check_kind(self.geometry, "pairs", "geometry of Localization", "Sphere(); positions come with the state")
        dims = self.dims.items() if isinstance(self.dims, Mapping) else as_names(self.dims)
        each = (one if isinstance(one, str) else (one[0], as_names(one[1])) for one in dims)
        object.__setattr__(self, "dims", tuple(each))
        if isinstance(self.at, Mapping):
            object.__setattr__(self, "at", tuple(self.at.items()))
        check_settings(self)
        if not isinstance(self.at, tuple) or not all(isinstance(one, tuple) and len(one) == 2 for one in self.at):
            raise ValueError(f"Localization has at={self.at!r}: give a place by coordinate, such as {{'level': 0.0}}")
        for name, place in self.at:
            if not isinstance(place, float | int) or not np.isfinite(place):
                raise ValueError(f"Localization has {name} at {place!r}: give a finite number")
        if not self.half_width > 0:
            raise ValueError(f"localization half-width is {self.half_width}: give a positive length")
        if self.nearest is not None and not is_count(self.nearest):
            raise ValueError(f"nearest is {self.nearest} observations: give a whole number, 1 or more")

    def patches(self, positions: np.ndarray, observed: Array, group: np.ndarray | None = None) -> Patches:
        """What each place among ``(state, dimension)`` positions may learn from observations at `observed`.

        Parameters
        ----------
        positions : (state, dimension) array
        observed : (observation, dimension) array
        group : (observation,) array of int, optional
            Observations of one group are as far as the nearest of them.

        Returns
        -------
        Patches
            The last few are remembered.

        Raises
        ------
        ValueError
            If positions are not finite, or have other dimensions than the observations.
        """
        if np.isinf(self.half_width) and self.nearest is None:
            return everything(len(positions), len(observed))
        positions = finite_positions(positions, "state variable or observation")
        observed = finite_positions(to_numpy(observed), "observation")
        groups = None if group is None else _digest(np.ascontiguousarray(group))
        key = (self.geometry, self.half_width, self.nearest, _digest(positions), _digest(observed), groups)
        if key not in _REMEMBERED:
            _REMEMBERED[key] = self._build(positions, observed, group)
            pairs = sum(len(patches.index) for patches in _REMEMBERED.values())
            while len(_REMEMBERED) > 1 and (len(_REMEMBERED) > NETWORKS or pairs > PAIRS):
                pairs -= len(_REMEMBERED.popitem(last=False)[1].index)
        _REMEMBERED.move_to_end(key)
        return _REMEMBERED[key]

    def _build(self, positions: np.ndarray, observed: np.ndarray, group: np.ndarray | None) -> Patches:
        if observed.shape[1] != positions.shape[1]:
            raise ValueError(
                f"observation positions have {observed.shape[1]} dimensions, state positions {positions.shape[1]}: "
                "give both in the same coordinates"
            )
        variables = grouped(positions)
        near = self.geometry.pairs(positions[variables[:, 0]], observed, 2 * self.half_width)
        indptr, index, distance = near.indptr, near.indices, near.data
        if group is not None:
            indptr, index, distance = whole_groups(indptr, index, distance, group)
        patches = tapered(variables, indptr, index, distance, gaspari_cohn(distance, self.half_width))
        if self.nearest is None:
            return patches
        here = TIE * self.half_width if self.half_width < np.inf else 0.0
        return first_of(patches, np.maximum(patches.distance, here), self.nearest, group)

    def reached(self, positions: np.ndarray, observed: np.ndarray, group: np.ndarray | None = None) -> np.ndarray:
        """Observations that reach one of the positions, ascending, as they stand in `observed`."""
        if np.isinf(self.half_width) and self.nearest is None:
            return np.arange(len(observed))
        return np.unique(self.patches(positions, observed, group).index)


_REMEMBERED: OrderedDict[tuple, Patches] = OrderedDict()


def _digest(array: np.ndarray) -> tuple[bytes, tuple[int, ...]]:
    return hashlib.blake2b(array.data, digest_size=16).digest(), array.shape


def finite_positions(position: np.ndarray, owner: str) -> np.ndarray:
    """Positions ``(owner, dimension)``; raises ValueError for one that is not finite, and says of which owner."""
    position = np.ascontiguousarray(position, dtype=np.float64)
    if position.ndim != 2:
        raise ValueError(f"positions have shape {position.shape}: give one row of coordinates per {owner}")
    if not np.isfinite(position.sum()) and not (finite := np.isfinite(position).all(axis=1)).all():
        number = int(np.argmin(finite))
        place = tuple(position[number].tolist())
        raise ValueError(f"the position of {owner} {number} is {place}: give finite coordinates, or leave it out")
    return position


def check_localization(localization: object, owner: str) -> None:
    """Raise ValueError for what is no `Localization`, such as a geometry or a length alone."""
    if not isinstance(localization, Localization) and hasattr(localization, "patches"):
        raise ValueError(
            f"localization of {owner} is {localization!r}, which knows no places: it needs a Localization(geometry, "
            f"half_width); LETKF({localization!r}) is the filter that takes correlations in place of distance"
        )
    if not isinstance(localization, Localization):
        raise ValueError(
            f"localization of {owner} is a {type(localization).__name__}: give Localization(geometry, half_width), "
            "such as Localization(Sphere(), 500.0)"
        )


def periodic_line(size: int, half_width: float) -> Localization:
    """Localization of `size` equidistant variables on a ring, as in the Lorenz-96 model, neighbours one unit apart.

    Parameters
    ----------
    size : int
    half_width : float
        Gaspari-Cohn half-width.
    """
    return Localization(Periodic((float(size),)), half_width, dims=("x",))
