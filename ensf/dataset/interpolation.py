"""What a station on a latitude-longitude grid sees: four grid points and their bilinear weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse
import xarray as xr

from ensf.dataset.coordinates import find_coordinate
from ensf.dataset.layout import Layout

__all__ = ["interpolate", "nearest"]


def nearest(
    layout: Layout,
    variable: str,
    latitude: Any,
    longitude: Any,
    *,
    dims: tuple[str, str] = ("latitude", "longitude"),
    at: Mapping[str, Any] | None = None,
) -> np.ndarray:
    """Place in the state of the grid point nearest to each station: ``Select(nearest(...))``.

    Near means near along each coordinate. Of the four grid points around a station, masked ones do not count.
    Parameters are those of `interpolate`.

    Returns
    -------
    (station,) int64 array

    Raises
    ------
    ValueError
        As `interpolate`, but only if all four grid points around a station are masked.
    """
    places, weights = _corners(layout.index(variable), latitude, longitude, dims, at or {})
    weights = np.where(places < 0, -1.0, weights)
    best = np.argmax(weights, axis=1)[:, None]
    _check_seen(np.take_along_axis(weights, best, axis=1) < 0, variable, "all grid points around it are", "drop it")
    return np.take_along_axis(places, best, axis=1)[:, 0].astype(np.int64)


def interpolate(
    layout: Layout,
    variable: str,
    latitude: Any,
    longitude: Any,
    *,
    dims: tuple[str, str] = ("latitude", "longitude"),
    at: Mapping[str, Any] | None = None,
) -> scipy.sparse.csr_array:
    """Bilinear interpolation to stations: ``Linear(interpolate(...))`` is their observation operator.

    Parameters
    ----------
    layout : Layout
    variable : str
        What the stations see.
    latitude, longitude : float or (station,) array_like
        In degrees. Longitudes count modulo 360, and a grid that goes round the Earth has no edge there.
    dims : tuple of two str
        One-dimensional coordinates of latitude and longitude, called as in `positions`.
    at : mapping of str to value, optional
        Coordinate value on every other dimension that has more than one, such as ``{"level": 500}``.

    Returns
    -------
    (station, state) sparse array
        Four weights per row, which sum to one.

    Raises
    ------
    ValueError
        If a station is outside the grid or beside a masked grid point, or the variable is not on a
        latitude-longitude grid.
    """
    places, weights = _corners(layout.index(variable), latitude, longitude, dims, at or {})
    masked = (places < 0) & (weights > 0)
    _check_seen(np.any(masked, axis=1), variable, "a grid point beside it is", "drop it, or use nearest")
    station = np.repeat(np.arange(len(places)), 4)
    entries = (weights.ravel(), (station, np.maximum(places, 0).ravel()))
    return scipy.sparse.csr_array(entries, shape=(len(places), layout.size))


def _check_seen(blind: np.ndarray, variable: str, what: str, remedy: str) -> None:
    if blind.any():
        raise ValueError(f"station {int(np.argmax(blind))} cannot see {variable!r}, {what} masked: {remedy}")


def _corners(
    index: xr.DataArray, latitude: Any, longitude: Any, dims: tuple[str, str], at: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Places in the state of the four grid points around each station and their weights, ``(station, 4)`` each."""
    grid = _horizontal(index, dims, at)
    south_north, west_east = (grid[dim].values for dim in grid.dims)
    stations = np.broadcast_arrays(*np.atleast_1d(latitude, longitude))
    rows, north = _bracket(south_north, stations[0], dims[0])
    columns, east = _bracket(*_unrolled(west_east, stations[1]), dims[1])
    places = grid.values[rows[:, :, None], columns[:, None, :] % grid.shape[1]]
    weights = north[:, :, None] * east[:, None, :]
    return places.reshape(-1, 4), weights.reshape(-1, 4)


def _horizontal(index: xr.DataArray, dims: tuple[str, str], at: Mapping[str, Any]) -> xr.DataArray:
    """Index of the one latitude-longitude plane at the coordinates `at`."""
    found = [find_coordinate(index, dim) for dim in dims]
    names = [coordinate.name for coordinate in found if coordinate is not None and coordinate.name in index.indexes]
    if len(names) < 2:
        raise ValueError(f"variable {index.name!r} has dimensions {index.dims}, not a grid of {dims}: give dims=")
    try:
        plane = index.sel(at)
    except KeyError as error:
        raise ValueError(f"variable {index.name!r} is not at {dict(at)}: choose a value on its grid") from error
    plane = plane.squeeze([dim for dim in plane.dims if dim not in names and plane.sizes[dim] == 1])
    if plane.ndim != 2:
        others = [dim for dim in plane.dims if dim not in names]
        raise ValueError(f"variable {index.name!r} has several values along {others}: choose one of each with at=")
    return plane.transpose(*names)


def _unrolled(grid: np.ndarray, longitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Grid, closed by its first point if it goes round the Earth, and longitudes in its range of 360 degrees."""
    west, east = float(grid.min()), float(grid.max())
    gap = 360.0 - (east - west)
    if len(grid) > 1 and 0 < gap < 1.5 * (east - west) / (len(grid) - 1):
        grid = np.append(grid, grid[0] + 360.0) if grid[0] < grid[-1] else np.append(grid, grid[0] - 360.0)
    low = float(grid.min())
    return grid, low + np.mod(longitude - low, 360.0)


def _bracket(grid: np.ndarray, points: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The two grid points around each point and their weights, ``(point, 2)`` each."""
    order = np.argsort(grid)
    ordered, points = grid[order].astype(np.float64), np.asarray(points, dtype=np.float64)
    outside = ~((points >= ordered[0]) & (points <= ordered[-1]))
    if outside.any():
        k = int(np.argmax(outside))
        raise ValueError(
            f"station {k} at {name} {points[k]:g} is outside the grid, {ordered[0]:g} to {ordered[-1]:g}: drop it"
        )
    if len(grid) < 2:
        raise ValueError(f"the grid has one point along {name}: two or more are needed")
    left = np.clip(np.searchsorted(ordered, points, side="right") - 1, 0, len(grid) - 2)
    fraction = (points - ordered[left]) / (ordered[left + 1] - ordered[left])
    return np.stack([order[left], order[left + 1]], axis=1), np.stack([1 - fraction, fraction], axis=1)
