"""Grid points around stations, and what each weighs: one horizontal interpolator for Datasets and tables.

`ensf.dataset.grids` has the cell around each station and its bilinear weights, on regular and curvilinear grids.
`Bilinear` and `Nearest` choose among these grid points where some are masked. `interpolate` and `nearest` refuse a
station that they cannot serve; `ensf.tables` rejects its row instead, and adds levels.

At the edges: longitude counts modulo 360, and a grid that goes round the Earth has no edge there. A station beyond
another edge is outside, unless by less than a thousandth of a cell (rounding to float32), which counts as on the edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.sparse
import xarray as xr
from numpy.typing import ArrayLike

from ensf.arrays.settings import check_settings
from ensf.dataset.coordinates import find_coordinate
from ensf.dataset.grids import grid_of, horizontal
from ensf.dataset.layout import Layout

__all__ = ["Bilinear", "Interpolation", "Nearest", "interpolate", "nearest", "sparse_rows"]


# --- masked grid points ----------------------------------------------------------------------------------


class Interpolation(Protocol):
    """Chooses among the grid points around a station."""

    def choose(self, place: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Places in the state and weights, ``(station, point)``, and whether there is data for the station.

        Parameters
        ----------
        place : (station, point) array of int
            Places in the state of the grid points around each station; -1 where masked.
        weight : (station, point) array
            Sum to one.
        """


@dataclass(frozen=True)
class Bilinear:
    """Linear along each coordinate.

    Parameters
    ----------
    min_weight : float
        Part of the weight that must be on grid points with data, in (0, 1]; 1 rejects every station beside land.
    """

    min_weight: float = 0.5

    def __post_init__(self) -> None:
        check_settings(self)
        if not 0 < self.min_weight <= 1:
            raise ValueError(f"min_weight is {self.min_weight}: give a part of the weight, above 0 and up to 1")

    def choose(self, place: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All grid points with data, in proportion to their weights."""
        weight = np.where(place >= 0, weight, 0.0)
        total = weight.sum(axis=1, keepdims=True)
        good = total[:, 0] >= self.min_weight - 1e-9
        return np.maximum(place, 0), weight / np.where(good[:, None], total, 1.0), good


@dataclass(frozen=True)
class Nearest:
    """The one grid point that is nearest along each coordinate; no data for the station if it is masked."""

    def choose(self, place: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The grid point of the largest weight."""
        place = np.take_along_axis(place, weight.argmax(axis=1)[:, None], axis=1)
        return np.maximum(place, 0), np.ones_like(place, dtype=np.float64), place[:, 0] >= 0


# --- stations of a layout --------------------------------------------------------------------------------


def nearest(
    layout: Layout,
    variable: str,
    latitude: ArrayLike,
    longitude: ArrayLike,
    *,
    dims: tuple[str, str] = ("latitude", "longitude"),
    at: Mapping[str, object] | None = None,
) -> np.ndarray:
    """Place in the state of the grid point nearest to each station: ``Select(nearest(...))``.

    Near means near along each coordinate. Of the four grid points around a station, masked ones do not count.

    Parameters
    ----------
    layout : Layout
    variable : str
        What is observed.
    latitude, longitude : float or (station,) array_like
        In degrees, as for `interpolate`.
    dims : tuple of two str
        Coordinates of latitude and longitude, called as in `positions`.
    at : mapping of str to value, optional
        Coordinate value on every other dimension that has more than one, such as ``{"level": 500}``.

    Returns
    -------
    (station,) int64 array

    Raises
    ------
    ValueError
        As `interpolate`, but only if all four grid points around a station are masked.
    """
    place, weight = _around(layout, variable, latitude, longitude, dims, at or {})
    place, _, good = Nearest().choose(place, np.where(place < 0, -1.0, weight))
    _refuse(~good, variable, "all grid points around it are", "drop it")
    return place[:, 0].astype(np.int64)


def interpolate(
    layout: Layout,
    variable: str,
    latitude: ArrayLike,
    longitude: ArrayLike,
    *,
    dims: tuple[str, str] = ("latitude", "longitude"),
    at: Mapping[str, object] | None = None,
) -> scipy.sparse.csr_array:
    """Bilinear interpolation to stations: ``Linear(interpolate(...))`` is their observation operator.

    Parameters
    ----------
    layout : Layout
    variable : str
        What is observed.
    latitude, longitude : float or (station,) array_like
        In degrees. Longitudes count modulo 360, and a grid that goes round the Earth has no edge there. Less than a
        thousandth of a cell beyond another edge counts as on it.
    dims : tuple of two str
        Coordinates of latitude and longitude, called as in `positions`: one-dimensional ones of a regular grid, or
        two-dimensional ones of a curvilinear grid.
    at : mapping of str to value, optional
        Coordinate value on every other dimension that has more than one, such as ``{"level": 500}``.

    Returns
    -------
    (station, state) sparse array
        Up to four weights per row, which sum to one.

    Raises
    ------
    ValueError
        If a station is outside the grid or beside a masked grid point, or the variable is not on a
        latitude-longitude grid.
    """
    place, weight = _around(layout, variable, latitude, longitude, dims, at or {})
    place, weight, good = Bilinear(1.0).choose(place, weight)
    _refuse(~good, variable, "a grid point beside it is", "drop it, or use nearest")
    return sparse_rows(place, weight, layout.size)


def sparse_rows(place: np.ndarray, weight: np.ndarray, size: int) -> scipy.sparse.csr_array:
    """Matrix ``(station, size)`` with the weights ``(station, point)`` of each station at its places.

    Parameters
    ----------
    place : (station, point) array of int
        Columns of the matrix; a column may occur several times in a row.
    weight : (station, point) array
    size : int
        Number of columns, that of the state.
    """
    starts = np.arange(0, place.size + 1, place.shape[1])
    matrix = scipy.sparse.csr_array((weight.ravel(), place.ravel(), starts), shape=(len(place), size))
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def _around(
    layout: Layout,
    variable: str,
    latitude: ArrayLike,
    longitude: ArrayLike,
    dims: tuple[str, str],
    at: Mapping[str, object],
) -> tuple[np.ndarray, np.ndarray]:
    """Places in the state of the four grid points around each station, -1 where masked, and their weights."""
    plane, first, second = _plane(layout.index(variable), dims, at)
    station = np.stack(np.broadcast_arrays(*np.atleast_1d(latitude, longitude)), axis=1).astype(np.float64)
    corners = grid_of((first, second), sphere=True, periods=(np.inf, 360.0)).corners(station)
    if not corners.inside.all():
        k = int(np.argmin(corners.inside))
        (south, north), (west, east) = ((float(c.min()), float(c.max())) for c in (first, second))
        raise ValueError(
            f"station {k} at {dims[0]} {station[k, 0]:g}, {dims[1]} {station[k, 1]:g} is outside the grid of "
            f"{variable!r}, {dims[0]} {south:g} to {north:g}, {dims[1]} {west:g} to {east:g}: drop it"
        )
    return plane.values.ravel()[corners.place], corners.weight


def _plane(
    index: xr.DataArray, dims: tuple[str, str], at: Mapping[str, object]
) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Index of the one horizontal plane at the coordinates `at`, and its coordinates of latitude and longitude."""
    try:
        plane = index.sel(at)
    except KeyError as error:
        raise ValueError(f"variable {index.name!r} is not at {dict(at)}: choose a value on its grid") from error
    first, second = (find_coordinate(plane, dim) for dim in dims)
    if first is None or second is None or not first.dims or not second.dims:
        raise ValueError(f"variable {index.name!r} has dimensions {index.dims}, not a grid of {dims}: give dims=")
    first, second = horizontal(first), horizontal(second)
    kept = tuple(dict.fromkeys((*first.dims, *second.dims)))
    plane = plane.squeeze([dim for dim in plane.dims if dim not in kept and plane.sizes[dim] == 1])
    others = [dim for dim in plane.dims if dim not in kept]
    if others:
        raise ValueError(f"variable {index.name!r} has several values along {others}: choose one of each with at=")
    return plane.transpose(*kept), first, second


def _refuse(blind: np.ndarray, variable: str, what: str, remedy: str) -> None:
    if blind.any():
        raise ValueError(f"station {int(np.argmax(blind))} cannot see {variable!r}, {what} masked: {remedy}")
