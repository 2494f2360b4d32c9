"""Where a station is on a grid: the corners of the cell around it, and what each weighs.

Along one coordinate, with grid points ``g_i <= p <= g_(i+1)``, linear interpolation weighs

    w_i = (g_(i+1) - p) / (g_(i+1) - g_i),        w_(i+1) = 1 - w_i.

On a *regular* grid, whose coordinates have one dimension each, the weight of a corner is the product of those along
each: two in a plane, one on a line, none where there is no horizontal place.
On a *curvilinear* grid, whose coordinates have two dimensions each, p is in the cell of c_00, c_10, c_01, c_11 if

    (1-a)(1-b) c_00 + a(1-b) c_10 + (1-a)b c_01 + ab c_11 = p        with a, b in [0, 1],

and these four factors are the weights. On the sphere the c are unit vectors, and the sum has to point in the direction
of p: edges are great circles, neither the date line nor a pole is special. A k-d tree of centres finds the cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Protocol

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

__all__ = ["EDGE", "Corners", "Curvilinear", "Grid", "Regular", "bracket", "grid_of", "horizontal"]

EDGE = 1e-3
"""A station beyond the edge of the grid by less than this part of a cell is on the edge (rounding to float32)."""
ROUNDING = 1e-9
LARGER = 10.0
"""A cell that is larger than the smallest one near it by this factor has a corner that is not where it says."""


@dataclass(frozen=True, eq=False)
class Corners:
    """The corners around each station.

    Attributes
    ----------
    place : (station, corner) int64 array
        Grid point, counted along the flattened grid; 0 for stations that are outside.
    weight : (station, corner) array
        Sums to one.
    inside : (station,) array of bool
    """

    place: np.ndarray
    weight: np.ndarray
    inside: np.ndarray


class Grid(Protocol):
    """Knows the corners around a station."""

    def corners(self, position: np.ndarray) -> Corners:
        """Corners around each station at ``(station, coordinate)``."""


def grid_of(coordinates: Sequence[xr.DataArray], sphere: bool, periods: Sequence[float]) -> Grid:
    """The grid that coordinates make, its points counted along the dimensions of the first, then of the second.

    Dimensions of length one beside two others, as the time of WRF's XLAT, are the caller's to drop (`horizontal`).

    Parameters
    ----------
    coordinates : sequence of xarray.DataArray
        Of one dimension each, or two of the same two.
    sphere : bool
        Whether they are latitude and longitude in degrees.
    periods : sequence of float
        Of one-dimensional coordinates; infinity for one that does not wrap.

    Raises
    ------
    ValueError
        If the dimensions are others.
    """
    if all(one.ndim == 1 for one in coordinates) and len({one.dims for one in coordinates}) == len(coordinates):
        return Regular(tuple(one.values for one in coordinates), tuple(periods))
    if len(coordinates) == 2 and all(one.ndim == 2 for one in coordinates):
        first, second = coordinates
        if set(first.dims) == set(second.dims):
            return Curvilinear(first.values, second.transpose(*first.dims).values, sphere)
    told = " and ".join(f"{one.name!r} of {one.dims}" for one in coordinates)
    raise ValueError(
        f"coordinates {told} make neither a regular nor a curvilinear grid: give coordinates of one dimension each, "
        "or of two"
    )


def horizontal(coordinate: xr.DataArray) -> xr.DataArray:
    """The coordinate without dimensions of length one, if it has more than two dimensions."""
    return coordinate.squeeze() if coordinate.ndim > 2 else coordinate


def bracket(grid: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two grid points around each point, ``(point, 2)``, their weights, and whether the point is inside.

    Raises
    ------
    ValueError
        If the grid has fewer than two points, or neither increases nor decreases.
    """
    steps = np.diff(grid)
    if len(grid) < 2 or not (np.all(steps > 0) or np.all(steps < 0)):
        raise ValueError("a coordinate must have two values or more, which increase or decrease: sort the grid")
    down = steps[0] < 0
    ordered = (grid[::-1] if down else grid).astype(np.float64)
    left = np.clip(np.searchsorted(ordered, points, side="right") - 1, 0, len(grid) - 2)
    fraction = (points - ordered[left]) / (ordered[left + 1] - ordered[left])
    inside = (fraction >= -EDGE) & (fraction <= 1 + EDGE)
    fraction = np.clip(np.where(inside, fraction, 0.0), 0.0, 1.0)
    pair = np.stack([left, left + 1], axis=1)
    return len(grid) - 1 - pair if down else pair, np.stack([1 - fraction, fraction], axis=1), inside


# --- one-dimensional coordinates -------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Regular:
    """Grid of coordinates of one dimension each: a plane of two, a line of one, a single place of none.

    Parameters
    ----------
    coordinates : tuple of (n,) array
        Along each dimension.
    periods : tuple of float
        Infinity for a coordinate that does not wrap; 360 for longitude.
    """

    coordinates: tuple[np.ndarray, ...]
    periods: tuple[float, ...]

    def corners(self, position: np.ndarray) -> Corners:
        """Corners around each station at ``(station, coordinate)``."""
        size = len(position)
        place, weight = np.zeros((size, 1), dtype=np.int64), np.ones((size, 1))
        inside = np.ones(size, dtype=bool)
        for grid, points, period in zip(self.coordinates, position.T, self.periods, strict=True):
            pair, part, within = _along(grid, points, period)
            shape = size, 2 * place.shape[1]
            place = (place[:, :, None] * len(grid) + pair[:, None, :]).reshape(shape)
            weight = (weight[:, :, None] * part[:, None, :]).reshape(shape)
            inside &= within
        return Corners(np.where(inside[:, None], place, 0), weight, inside)


def _along(grid: np.ndarray, points: np.ndarray, period: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`bracket` on a coordinate that may wrap; a grid that goes all the way round has no edge."""
    if not np.isfinite(period):
        return bracket(grid, points)
    closed = _closed(np.unwrap(grid.astype(np.float64), period=period), period)
    low = closed.min() - EDGE * abs(closed[1] - closed[0])
    pair, weight, inside = bracket(closed, low + np.mod(points - low, period))
    return pair % len(grid), weight, inside


def _closed(grid: np.ndarray, period: float) -> np.ndarray:
    """The grid, and its first point again if the gap to it is no wider than a cell."""
    if len(grid) < 2:
        return grid
    turn = np.sign(grid[-1] - grid[0]) * period
    gap = abs(grid[0] + turn - grid[-1])
    widest = np.abs(np.diff(grid)).max()
    return np.append(grid, grid[0] + turn) if EDGE * widest < gap < 1.5 * widest else grid


# --- two-dimensional coordinates -------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Curvilinear:
    """Grid of two coordinates of two dimensions each.

    Some cells do not exist: those with a corner that is not finite, with repeated corners, or far larger than the
    cells near them, as where a model has written 0 for the place of land. Two corners may be one pole.

    Parameters
    ----------
    first, second : (n, m) array
        Degrees latitude and longitude on a sphere, else any length.
    sphere : bool
        Edges are great circles. If the last column lies beside the first, the grid is closed there.
    """

    first: np.ndarray
    second: np.ndarray
    sphere: bool

    def corners(self, position: np.ndarray) -> Corners:
        """Corners around each station at ``(station, 2)``."""
        size = len(position)
        place, weight = np.zeros((size, 4), dtype=np.int64), np.tile([1.0, 0.0, 0.0, 0.0], (size, 1))
        inside = np.zeros(size, dtype=bool)
        points = _vectors(position, self.sphere)
        waiting = np.flatnonzero(np.isfinite(points).all(axis=1))
        for rows, cell, tolerance in self._candidates(points, waiting, inside):
            a, b, within = _inverse(self._points[self._cells[cell]], points[rows], self.sphere, tolerance)
            rows, a, b, cell = rows[within], a[within], b[within], cell[within]
            place[rows], inside[rows] = self._cells[cell], True
            weight[rows] = np.stack([(1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b], axis=1)
        return Corners(place, weight, inside)

    def _candidates(
        self, points: np.ndarray, waiting: np.ndarray, inside: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
        """Stations that have no cell yet, each with its next nearest cell; `inside` is updated by the caller."""
        tree, reach = self._tree
        for start, stop, tolerance in ((0, 4, ROUNDING), (4, 16, ROUNDING), (16, 64, ROUNDING), (0, 4, EDGE)):
            for part in np.array_split(waiting, 1 + len(waiting) * stop // 1_000_000):
                _, cells = tree.query(points[part], k=stop, distance_upper_bound=reach)
                for nearest in cells[:, start:].T:
                    left = ~inside[part] & (nearest < tree.n)
                    yield part[left], nearest[left], tolerance
            waiting = waiting[~inside[waiting]]

    @cached_property
    def _points(self) -> np.ndarray:
        return _vectors(np.stack([self.first.ravel(), self.second.ravel()], axis=1), self.sphere)

    @cached_property
    def _cells(self) -> np.ndarray:
        """Corners c_00, c_10, c_01, c_11 of each cell, ``(cell, 4)``."""
        number = np.arange(self.first.size).reshape(self.first.shape)
        if self.sphere and self._meets(number):
            number = np.concatenate([number, number[:, :1]], axis=1)
        around = (number[:-1, :-1], number[:-1, 1:], number[1:, :-1], number[1:, 1:])
        cells = np.stack([corner.ravel() for corner in around], axis=1)
        return cells[self._plausible(cells, number[1:, 1:].shape)]

    def _plausible(self, cells: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Which cells ``(cell, 4)`` have four corners of their own, and are about as large as those near them."""
        corners = self._points[cells]
        pairs = [np.linalg.norm(corners[:, i] - corners[:, k], axis=1) for i, k in combinations(range(4), 2)]
        size = np.max(pairs, axis=0)
        from scipy.ndimage import minimum_filter

        with np.errstate(invalid="ignore"):
            tiny = [length <= 1e-6 * size for length in pairs]
            if self.sphere:
                at_pole = (np.abs(self.first.ravel()) >= 90 - 1e-6)[cells]
                ends = combinations(range(4), 2)
                tiny = [one & ~at_pole[:, [i, k]].all(axis=1) for one, (i, k) in zip(tiny, ends, strict=True)]
            good = np.isfinite(size) & (size > 0) & ~np.any(tiny, axis=0)
            near = minimum_filter(np.where(good, size, np.inf).reshape(shape), size=5, mode="nearest").ravel()
            return good & (size <= LARGER * near)

    def _meets(self, number: np.ndarray) -> bool:
        """True if the last column lies one cell away from the first."""
        if number.shape[1] < 3:
            return False
        first, last, before = (self._points[number[:, k]] for k in (0, -1, -2))
        seam, cell = (np.linalg.norm(last - other, axis=1) for other in (first, before))
        good = np.isfinite(seam) & np.isfinite(cell)
        return bool(good.any() and 0.1 < np.median(seam[good]) / max(np.median(cell[good]), 1e-300) < 1.9)

    @cached_property
    def _tree(self) -> tuple[cKDTree, float]:
        """Tree of cell centres, and the largest distance from a centre to a corner."""
        from scipy.spatial import cKDTree

        corners = self._points[self._cells]
        centre = corners.mean(axis=1)
        if not len(centre):
            raise ValueError("the grid has no cell with four finite corners: check its coordinates")
        reach = max(float(np.linalg.norm(corners[:, k] - centre, axis=1).max()) for k in range(4))
        return cKDTree(centre), 1.01 * reach


def _vectors(position: np.ndarray, sphere: bool) -> np.ndarray:
    """Unit vectors on a sphere, else the positions."""
    if not sphere:
        return position.astype(np.float64)
    latitude, longitude = np.deg2rad(position.astype(np.float64)).T
    flat = np.cos(latitude)
    return np.stack([flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)], axis=1)


def _tangent(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors at right angles to each unit vector."""
    axis = np.eye(3)[np.abs(points).argmin(axis=1)]
    first = np.cross(points, axis)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return first, np.cross(points, first)


def _inverse(
    corners: np.ndarray, points: np.ndarray, sphere: bool, tolerance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fractions a, b of each point in its cell ``(point, 4, dimension)``, and whether it is inside.

    In the plane at right angles to p, ``(c + a u) + b (v + a w) = 0`` with c = c_00 - p, u = c_10 - c_00,
    v = c_01 - c_00, w = c_11 - c_10 - v; the cross product of both brackets is a quadratic equation for a.
    """
    plane = corners - points[:, None, :]
    if sphere:
        plane = np.stack([np.einsum("pcd,pd->pc", corners, e) for e in _tangent(points)], axis=2)
    c, u, v = plane[:, 0], plane[:, 1] - plane[:, 0], plane[:, 2] - plane[:, 0]
    w = plane[:, 3] - plane[:, 1] - v
    inside, a, b = np.zeros(len(c), dtype=bool), np.zeros(len(c)), np.zeros(len(c))
    for root in _roots(_cross(u, w), _cross(c, w) + _cross(u, v), _cross(c, v)):
        side = v + root[:, None] * w
        length = np.einsum("pd,pd->p", side, side)
        other = -np.einsum("pd,pd->p", c + root[:, None] * u, side) / np.where(length > 0, length, 1.0)
        good = ~inside & (np.abs(root - 0.5) <= 0.5 + tolerance) & (np.abs(other - 0.5) <= 0.5 + tolerance)
        inside, a, b = inside | good, np.where(good, root, a), np.where(good, other, b)
    if sphere:
        inside &= np.einsum("pcd,pd->p", corners, points) > 0
    return np.clip(a, 0.0, 1.0), np.clip(b, 0.0, 1.0), inside


def _cross(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]


def _roots(square: np.ndarray, linear: np.ndarray, constant: np.ndarray) -> Iterator[np.ndarray]:
    """Both roots of ``square r^2 + linear r + constant = 0``, without cancellation; NaN where there is none."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        half = -0.5 * (linear + np.copysign(np.sqrt(linear**2 - 4 * square * constant), linear))
        yield np.nan_to_num(constant / half, nan=np.nan, posinf=np.nan, neginf=np.nan)
        yield np.nan_to_num(half / square, nan=np.nan, posinf=np.nan, neginf=np.nan)
