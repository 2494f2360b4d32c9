"""Stations on the grids of a layout: the linear map from the state to a variable at each station."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ensf.dataset.coordinates import column_coordinate, find_coordinate
from ensf.dataset.grids import Corners, Grid, grid_of, horizontal
from ensf.dataset.interpolation import Bilinear, Interpolation, sparse_rows
from ensf.dataset.layout import Layout
from ensf.observations.operators import Linear, Operator, Select
from ensf.tables.flags import LAND, LEVEL, OUTSIDE, USED
from ensf.tables.stations.profiles import layer_weights, level_weights
from ensf.tables.stations.vertical import advice, heights, is_time, is_vertical, surface_level

__all__ = ["StationOperator", "Stations"]


class StationOperator(NamedTuple):
    """What is observed at some stations.

    Attributes
    ----------
    operator : Operator
        One row per station.
    code : (station,) array of int
        0, or why the station cannot be used (`ensf.tables.flags`).
    """

    operator: Operator
    code: np.ndarray


@dataclass(frozen=True, eq=False)
class Stations:
    """Stations on the grids of a layout: what a derived quantity is made of.

    Parameters
    ----------
    layout : ensf.dataset.Layout
    position : (station, 2) array
    height : (station,) array
        NaN where there is none.
    axes : tuple of two str
        ``("lat", "lon")`` or ``("x", "y")``.
    interpolation : Interpolation
    coordinates : mapping of str to str
        Coordinate of the grid for ``lat``, ``lon``, ``x``, ``y`` or ``z``, where names and attributes do not tell.
    periods : mapping of str to float
        Period of ``x`` or ``y`` in a periodic domain.
    vertical : mapping of str to (station,) array
        How high a station is where `height` is NaN: columns ``depth``, ``height`` (m) and ``pressure`` (Pa).
    surface : collection of str
        Variables of which stations without any height see the level nearest to the surface.
    """

    layout: Layout
    position: np.ndarray
    height: np.ndarray
    axes: tuple[str, str] = ("lat", "lon")
    interpolation: Interpolation = Bilinear()
    coordinates: Mapping[str, str] = field(default_factory=dict)
    periods: Mapping[str, float] = field(default_factory=dict)
    vertical: Mapping[str, np.ndarray] = field(default_factory=dict)
    surface: Collection[str] = ()
    _grids: dict[tuple[Hashable, ...], Grid] = field(init=False, repr=False, default_factory=dict)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the states: the widest of the variables."""
        return np.result_type(*(variable.dtype for variable in self.layout.template.data_vars.values()))

    def take(self, rows: np.ndarray) -> Stations:
        """The stations at `rows`, on the same grids."""
        vertical = {name: column[rows] for name, column in self.vertical.items()}
        chosen = replace(self, position=self.position[rows], height=self.height[rows], vertical=vertical)
        object.__setattr__(chosen, "_grids", self._grids)
        return chosen

    def column(self, coordinate: str) -> tuple[str, np.ndarray]:
        """Name and values ``(station,)`` of the column of a table for a coordinate of the grid.

        Parameters
        ----------
        coordinate : str
            As in `ensf.dataset.positions`. What no variable of the layout has is the vertical.

        Raises
        ------
        ValueError
            If the column is in another coordinate.
        """
        for variable in self.layout.template.data_vars.values():
            wanted = find_coordinate(variable, coordinate)
            if wanted is None:
                continue
            for axis, values in zip(self.axes, self.position.T, strict=True):
                if column_coordinate(variable, axis, self.coordinates).name == wanted.name:
                    return axis, values
            vertical = Column.of(self.take(np.arange(0)), str(variable.name)).vertical
            if vertical is not None and vertical.name != wanted.name:
                raise ValueError(
                    f"the column z is in {vertical.name!r} but the localization uses {coordinate!r}: name the same, "
                    f"dims= of the localization or coordinates={{'z': {wanted.name!r}}} of the table"
                )
            break
        return "z", self.height

    def linear(self, variable: str) -> StationOperator:
        """Interpolation of a variable to each station, `Select` or `Linear`, and the code of each station."""
        column = Column.of(self, variable)
        height = column.heights(self)
        surface = variable in self.surface
        if column.vertical is not None and len(height) and np.isnan(height).all() and not surface:
            raise ValueError(f"variable {variable!r} has levels but {advice(column.vertical, self.vertical)}")
        level, weight, between = column.levels(height, surface)
        return self._operator(column, level, weight, between)

    def heights(self, variable: str) -> np.ndarray:
        """Each station in the vertical coordinate of a variable, ``(station,)``: `height` if it has no levels."""
        return Column.of(self, variable).heights(self)

    def layer(self, variable: str, low: float, high: float) -> StationOperator:
        """Mean of a variable over a layer at each station, `Linear`, and the code of each station.

        Parameters
        ----------
        variable : str
        low, high : float
            Edges of the layer in the vertical coordinate of the grid.

        Raises
        ------
        ValueError
            If the variable has no levels that are the same everywhere, or the layer is not between them.
        """
        column = Column.of(self, variable)
        weight = layer_weights(column.fixed_levels(), low, high)
        level = np.flatnonzero(weight)
        shape = (len(self.position), len(level))
        weights = np.broadcast_to(weight[level], shape)
        return self._operator(column, np.broadcast_to(level, shape), weights, np.ones(shape[0], dtype=bool))

    def _operator(self, column: Column, level: np.ndarray, weight: np.ndarray, between: np.ndarray) -> StationOperator:
        corners = column.corners
        place = column.index[level[:, :, None], corners.place[:, None, :]].reshape(len(level), -1)
        product = (weight[:, :, None] * corners.weight[:, None, :]).reshape(place.shape)
        place, product, sea = self.interpolation.choose(place, product)
        code = np.select([~corners.inside, ~between, ~sea], [OUTSIDE, LEVEL, LAND], USED)
        if place.shape[1] == 1:
            return StationOperator(Select(place[:, 0]), code)
        matrix = sparse_rows(place, product.astype(self.dtype, copy=False), self.layout.size)
        return StationOperator(Linear(matrix), code)

    def grid(self, variable: xr.DataArray) -> tuple[Grid, tuple[Hashable, ...]]:
        """Horizontal grid of a variable, and its dimensions."""
        first, second = (horizontal(column_coordinate(variable, axis, self.coordinates)) for axis in self.axes)
        key = (first.name, second.name, *first.dims, *second.dims)
        if key not in self._grids:
            north, east = (360.0 if axis == "lon" else self.periods.get(axis, np.inf) for axis in self.axes)
            self._grids[key] = grid_of(first, second, self.axes == ("lat", "lon"), (north, east))
        return self._grids[key], tuple(dict.fromkeys((*first.dims, *second.dims)))


@dataclass(frozen=True, eq=False)
class Column:
    """One variable as levels over grid points: its places in the state, and the corners of each station."""

    name: str
    index: np.ndarray
    corners: Corners
    vertical: xr.DataArray | None
    dims: tuple[Hashable, ...]

    @classmethod
    def of(cls, stations: Stations, variable: str) -> Column:
        """Of a variable of the layout of some stations."""
        index = stations.layout.index(variable)
        grid, dims = stations.grid(index)
        index = index.squeeze([dim for dim in index.dims if dim not in dims and index.sizes[dim] == 1])
        others = [dim for dim in index.dims if dim not in dims]
        for dim in others:
            if dim in index.coords and is_time(index.coords[dim]) or str(dim).lower() == "time":
                raise ValueError(
                    f"variable {variable!r} has several times along {dim!r}, and a time is no height: choose one, "
                    "with isel or sel, or write it alone into the file"
                )
        if len(others) > 1:
            raise ValueError(f"variable {variable!r} has several values along {others}: one vertical dimension at most")
        vertical = _vertical(index, str(others[0]), stations.coordinates) if others else None
        places = index.transpose(*others, *dims).values.reshape(-1, int(np.prod([index.sizes[dim] for dim in dims])))
        return cls(variable, places, grid.corners(stations.position), vertical, dims)

    def heights(self, stations: Stations) -> np.ndarray:
        """Each station in the vertical coordinate, ``(station,)``."""
        if self.vertical is None:
            return stations.height
        return heights(self.vertical, stations.height, stations.vertical)

    def levels(self, height: np.ndarray, surface: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Levels around each station, their weights, and whether it is between levels.

        Parameters
        ----------
        height : (station,) array
        surface : bool
            Stations without a height see the level nearest to the surface.
        """
        size = len(height)
        if self.vertical is None:
            return np.zeros((size, 1), dtype=np.int64), np.ones((size, 1)), np.ones(size, dtype=bool)
        around = self._around()
        level, weight, between = level_weights(around, height)
        alone = np.isnan(height)
        if surface and alone.any():
            nearest = np.broadcast_to(surface_level(self.name, self.vertical, around), height.shape)[alone]
            level[alone], weight[alone], between[alone] = nearest[:, None], [1.0, 0.0], True
        return level, weight, between

    def _around(self) -> np.ndarray:
        """The levels, ``(level,)``, or those around each station, ``(station, level)``."""
        assert self.vertical is not None
        if self.vertical.ndim == 1:
            return self.vertical.values
        others = [dim for dim in self.vertical.dims if dim not in self.dims]
        values = self.vertical.transpose(*others, *self.dims).values.reshape(len(self.index), -1)
        return np.einsum("lsc,sc->sl", values[:, self.corners.place], self.corners.weight)

    def fixed_levels(self) -> np.ndarray:
        """Levels that are the same everywhere."""
        if self.vertical is None or self.vertical.ndim != 1:
            raise ValueError(f"variable {self.name!r} has no levels that are the same everywhere: a layer needs them")
        return self.vertical.values


def _vertical(variable: xr.DataArray, dim: str, coordinates: Mapping[str, str]) -> xr.DataArray:
    """The vertical coordinate of a variable with a dimension beside the horizontal ones."""
    vertical = column_coordinate(variable, "z", {"z": dim, **coordinates})
    if is_time(vertical):
        raise ValueError(f"coordinate {vertical.name!r} of variable {variable.name!r} is a time, which is no height")
    if "z" not in coordinates and not is_vertical(vertical):
        raise ValueError(
            f"variable {variable.name!r} has several values along {dim!r}, which is not known to be vertical: "
            f"say that it is, coordinates={{'z': {dim!r}}}, or choose one with isel or sel"
        )
    return vertical
