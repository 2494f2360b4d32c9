"""Where things are, what is near what, and how fast trust fades: distances, tapers, patches.

A *patch* is what one place of the model may learn from: the observations k within the support of the taper,

    rho_k = G(d_k / c),        d_k = distance of observation k,   c = half-width,

with G the compactly supported fifth-order function of Gaspari & Cohn (1999), zero beyond 2c. State variables
at the same place (levels of one column, several fields) share one patch. Local filters weigh the precision of
each observation by rho_k (R-localization). Neighbours are found through a k-d tree, never by all pairs.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Protocol

import numba
import numpy as np
import scipy.sparse
from scipy.spatial import cKDTree

from ensf.arrays import Array, is_host, namespace, to_numpy

__all__ = [
    "Euclidean",
    "Geometry",
    "Localization",
    "Patches",
    "Periodic",
    "Product",
    "Sphere",
    "gaspari_cohn",
    "periodic_line",
]

PAIRS = 2**24
"""Pairs of place and observation remembered (400 MB), whatever the number of networks; the last one always is."""


def gaspari_cohn(distance: Array, half_width: float | Array) -> Array:
    """Taper of Gaspari & Cohn (1999, eq. 4.10): 1 at 0, 5/24 at c, 0 from 2c on.

    Parameters
    ----------
    distance : array
        Non-negative, any shape.
    half_width : float or array
        Half-width c in the same unit, broadcast against `distance`; infinity means no taper.
    """
    xp = namespace(distance)
    r = distance / half_width
    if is_host(r) and r.dtype in (np.float32, np.float64) and r.flags.c_contiguous:
        _taper(r.reshape(-1))
        return r
    r = xp.clip(r, 0.0, 2.0)
    near = 1 + r * r * (-5 / 3 + r * (5 / 8 + r * (1 / 2 - r / 4)))
    s = xp.clip(r, 1.0, 2.0)
    far = 4 - 2 / (3 * s) + s * (-5 + s * (5 / 3 + s * (5 / 8 + s * (-1 / 2 + s / 12))))
    return xp.where(r < 1, near, xp.where(r < 2, xp.clip(far, 0.0, 1.0), xp.zeros_like(far)))


@numba.njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract", "arcp"})
def _taper(r):
    """Overwrite distances in half-widths with the taper: the same in one pass."""
    for k in range(r.size):
        s = min(max(r[k], 1), 2)
        far = 4 - 2 / (3 * s) + s * (-5 + s * (5 / 3 + s * (5 / 8 + s * (-1 / 2 + s / 12))))
        near = 1 + r[k] * r[k] * (-5 / 3 + r[k] * (5 / 8 + r[k] * (1 / 2 - r[k] / 4)))
        r[k] = near if r[k] < 1 else max(far, 0) if r[k] < 2 else 0


# --- geometries ------------------------------------------------------------------------------------------


class Geometry(Protocol):
    """What distance means."""

    def pairs(self, points: np.ndarray, others: np.ndarray, radius: float) -> scipy.sparse.csr_array:
        """Distances of all pairs no further apart than `radius`, sparse ``(point, other)``, zeros stored."""


@dataclass(frozen=True)
class Euclidean:
    """Straight-line distance in as many dimensions as the positions have."""

    def pairs(self, points: np.ndarray, others: np.ndarray, radius: float) -> scipy.sparse.csr_array:
        """Distances of all pairs no further apart than `radius`."""
        return _tree_pairs(cKDTree(points), cKDTree(others), radius)


@dataclass(frozen=True)
class Periodic:
    """Straight-line distance on a ring, a torus or a channel.

    Parameters
    ----------
    period : tuple of float
        One per dimension, in the unit of the positions; infinity for a dimension that does not wrap.
    """

    period: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "period", tuple(float(p) for p in np.atleast_1d(self.period)))
        if not all(p > 0 for p in self.period):
            raise ValueError(f"period is {self.period}: give positive lengths, or infinity")

    def pairs(self, points: np.ndarray, others: np.ndarray, radius: float) -> scipy.sparse.csr_array:
        """Distances of all pairs no further apart than `radius`."""
        return _tree_pairs(self._tree(points), self._tree(others), radius)

    def _tree(self, position: np.ndarray) -> cKDTree:
        period = np.asarray(self.period)
        if position.shape[1] != len(period):
            raise ValueError(f"positions have {position.shape[1]} dimensions but {len(period)} periods are given")
        wraps = np.isfinite(period)
        wrapped = np.where(wraps, np.mod(position, np.where(wraps, period, 1.0)), position)
        wrapped[wrapped == period] = 0.0
        return cKDTree(wrapped, boxsize=np.where(wraps, period, 0.0))


@dataclass(frozen=True)
class Sphere:
    """Great-circle distance between positions (latitude, longitude) in degrees.

    Parameters
    ----------
    radius : float
        Radius of the sphere; distances have its unit (default: km on the Earth).
    """

    radius: float = 6371.0

    def pairs(self, points: np.ndarray, others: np.ndarray, radius: float) -> scipy.sparse.csr_array:
        """Distances of all pairs no further apart than `radius`."""
        angle = radius / self.radius
        chord = 2 * np.sin(angle / 2) if angle < np.pi else np.inf
        found = _tree_pairs(cKDTree(_on_unit_sphere(points)), cKDTree(_on_unit_sphere(others)), chord)
        found.data = 2 * self.radius * np.arcsin(np.minimum(found.data / 2, 1.0))
        return found


@dataclass(frozen=True)
class Product:
    """Two tapers in a product, ``G(h / c) G(v / c)``: h horizontal, v vertical.

    A pair gets the distance d at which one taper equals the product, ``G(d / c) = G(h / c) G(v / c)``, with 2c the
    radius of the search. Unlike ``sqrt(h^2 + v^2)`` it keeps the full horizontal support at every height.

    Parameters
    ----------
    horizontal : Geometry
        Of all columns of the positions but the last.
    scale : float
        Horizontal distance that one unit of the last column counts for.
    """

    horizontal: Geometry
    scale: float

    def __post_init__(self) -> None:
        if not 0 < self.scale < np.inf:
            raise ValueError(f"the vertical scale is {self.scale}: give a positive number")

    def pairs(self, points: np.ndarray, others: np.ndarray, radius: float) -> scipy.sparse.csr_array:
        """Distances of all pairs no further apart than `radius`."""
        near = self.horizontal.pairs(points[:, :-1], others[:, :-1], radius)
        if radius < np.inf:
            row = np.repeat(np.arange(len(points)), np.diff(near.indptr))
            rise = self.scale * np.abs(points[row, -1] - others[near.indices, -1])
            apart = rise > 0
            weight = gaspari_cohn(near.data[apart], radius / 2) * gaspari_cohn(rise[apart], radius / 2)
            near.data[apart] = radius / 2 * np.interp(-weight, *_taper_table())
        return near


@cache
def _taper_table() -> tuple[np.ndarray, np.ndarray]:
    """Increasing ``-G(r)``, and r: the inverse of the taper by interpolation, to 1e-9 in G."""
    r = np.linspace(0.0, 2.0, 40001)
    return -gaspari_cohn(r, 1.0), r


def _on_unit_sphere(position: np.ndarray) -> np.ndarray:
    if position.shape[1] != 2 or np.any(np.abs(position[:, 0]) > 90):
        raise ValueError("positions on a sphere are (latitude, longitude) in degrees, latitude between -90 and 90")
    latitude, longitude = np.deg2rad(position).T
    return np.stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], axis=1
    )


def _tree_pairs(points: cKDTree, others: cKDTree, radius: float) -> scipy.sparse.csr_array:
    found = points.sparse_distance_matrix(others, radius, output_type="ndarray")
    pairs = scipy.sparse.csr_array((found["v"], (found["i"], found["j"])), shape=(points.n, others.n))
    pairs.sort_indices()
    return pairs


# --- patches ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Patches:
    """Observations near each place, in compressed rows: place i sees ``index[indptr[i]:indptr[i + 1]]``.

    Attributes
    ----------
    variables : (point, variable) int64 array
        State variables at each place; every state variable occurs once.
    indptr : (point + 1,) int64 array
    index : (pair,) int64 array
        Observation of each pair.
    distance : (pair,) array
    weight : (pair,) array
        Taper in (0, 1].
    """

    variables: np.ndarray
    indptr: np.ndarray
    index: np.ndarray
    distance: np.ndarray
    weight: np.ndarray

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
        return _tapered(self.variables, self.indptr, self.index, self.distance, weight)


def _tapered(
    variables: np.ndarray, indptr: np.ndarray, index: np.ndarray, distance: np.ndarray, weight: np.ndarray
) -> Patches:
    keep = weight > 0
    before = np.concatenate([[0], np.cumsum(keep)])
    return Patches(variables, before[indptr], index[keep].astype(np.int64), distance[keep], weight[keep])


@dataclass(frozen=True, eq=False)
class Localization:
    """Where the state variables are and how far an observation reaches.

    Parameters
    ----------
    position : (state, dimension) array
        Place of each state variable.
    geometry : Geometry
        `Euclidean`, `Periodic` or `Sphere`.
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
        """State variables by place, ``(point, variable)``; one by one if places hold unequal numbers."""
        _, point, count = np.unique(self.position, axis=0, return_inverse=True, return_counts=True)
        if np.any(count != count[0]):
            return np.arange(len(self.position))[:, None]
        groups = np.argsort(point.ravel(), kind="stable").reshape(-1, count[0])
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
        return _tapered(self.variables, near.indptr, near.indices, near.data, weight)


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
