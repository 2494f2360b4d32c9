"""Stations on the grids of a layout: the linear map from the state to a variable at each station."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import xarray as xr

from ensf.dataset.coordinates import column_coordinate, find_coordinate
from ensf.dataset.grids import Corners, Grid, grid_of, horizontal
from ensf.dataset.interpolation import Bilinear, Interpolation, sparse_rows
from ensf.dataset.layout import Layout
from ensf.observations.operators import Linear, Operator, Select
from ensf.observations.trajectory import brackets
from ensf.tables.flags import LAND, LEVEL, OUTSIDE, USED, WINDOW
from ensf.tables.stations.profiles import layer_weights, level_weights
from ensf.tables.stations.vertical import advice, heights, is_time, is_vertical, surface_level

__all__ = ["StationOperator", "Stations", "dates", "time_dims"]

SECOND = np.timedelta64(1, "s")


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
    position : (station, axis) array
    height : (station,) array
        NaN where there is none.
    axes : tuple of str
        ``("lat", "lon")`` or ``("x", "y")``; one on a line, none in a single column.
    interpolation : Interpolation
    coordinates : mapping of str to str
        Coordinate of the grid for ``lat``, ``lon``, ``x``, ``y`` or ``z``, where names and attributes do not tell.
    periods : mapping of str to float
        Period of ``x`` or ``y`` in a periodic domain.
    vertical : mapping of str to (station,) array
        How high a station is where `height` is NaN: columns ``depth``, ``height`` (m) and ``pressure`` (Pa).
    surface : collection of str
        Variables of which stations without any height see the level nearest to the surface.
    time : (station,) array of datetime64, optional
        Of each station, for variables with several times: between two of them they are linear in time.
    """

    layout: Layout
    position: np.ndarray
    height: np.ndarray
    axes: tuple[str, ...] = ("lat", "lon")
    interpolation: Interpolation = Bilinear()
    coordinates: Mapping[str, str] = field(default_factory=dict)
    periods: Mapping[str, float] = field(default_factory=dict)
    vertical: Mapping[str, np.ndarray] = field(default_factory=dict)
    surface: Collection[str] = ()
    time: np.ndarray | None = None
    _grids: dict[tuple[Hashable, ...], Grid] = field(init=False, repr=False, default_factory=dict)

    @property
    def dtype(self) -> np.dtype:
        """Of the states: the widest of the variables."""
        return np.result_type(*(variable.dtype for variable in self.layout.template.data_vars.values()))

    def take(self, rows: np.ndarray) -> Stations:
        """The stations at `rows`, on the same grids."""
        vertical = {name: column[rows] for name, column in self.vertical.items()}
        time = None if self.time is None else self.time[rows]
        chosen = replace(self, position=self.position[rows], height=self.height[rows], vertical=vertical, time=time)
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
        """Each station in the vertical coordinate of a variable, ``(station,)``: `height` if it has no levels.

        One that sees the level nearest to the surface is there.
        """
        column = Column.of(self, variable)
        height = column.heights(self)
        alone = np.isnan(height)
        if variable not in self.surface or column.vertical is None or not alone.any():
            return height
        around = column.around()
        nearest = np.broadcast_to(surface_level(variable, column.vertical, around), height.shape)
        levels = np.broadcast_to(around, (len(height), around.shape[-1]))
        return np.where(alone, np.take_along_axis(levels, nearest[:, None], axis=1)[:, 0], height)

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
        level, weight, during = column.during(level, weight, self.time)
        corners = column.corners
        place = column.index[level[:, :, None], corners.place[:, None, :]].reshape(len(level), -1)
        product = (weight[:, :, None] * corners.weight[:, None, :]).reshape(place.shape)
        place, product, sea = self.interpolation.choose(place, product)
        code = np.select([~during, ~corners.inside, ~between, ~sea], [WINDOW, OUTSIDE, LEVEL, LAND], USED)
        if place.shape[1] == 1:
            return StationOperator(Select(place[:, 0]), code)
        matrix = sparse_rows(place, product.astype(self.dtype, copy=False), self.layout.size)
        return StationOperator(Linear(matrix), code)

    def grid(self, variable: xr.DataArray) -> tuple[Grid, tuple[Hashable, ...]]:
        """Horizontal grid of a variable, and its dimensions."""
        found = [horizontal(column_coordinate(variable, axis, self.coordinates)) for axis in self.axes]
        dims = tuple(dim for one in found for dim in one.dims)
        key = (*(one.name for one in found), *dims)
        if key not in self._grids:
            periods = [360.0 if axis == "lon" else self.periods.get(axis, np.inf) for axis in self.axes]
            self._grids[key] = grid_of(found, self.axes == ("lat", "lon"), periods)
        return self._grids[key], tuple(dict.fromkeys(dims))


@dataclass(frozen=True, eq=False)
class Column:
    """One variable as levels over grid points: its places in the state, and the corners of each station.

    Of several times, the levels of each are one after another.
    """

    name: str
    index: np.ndarray
    corners: Corners
    vertical: xr.DataArray | None
    dims: tuple[Hashable, ...]
    times: np.ndarray | None = None

    @classmethod
    def of(cls, stations: Stations, variable: str) -> Column:
        """Of a variable of the layout of some stations."""
        index = stations.layout.index(variable)
        grid, dims = stations.grid(index)
        index = index.squeeze([dim for dim in index.dims if dim not in dims and index.sizes[dim] == 1])
        others = [dim for dim in index.dims if dim not in dims]
        when = time_dims(index, others)
        others = [dim for dim in others if dim not in when]
        _check_placed(index, others, stations)
        if len(when) > 1 or when and stations.time is None:
            raise ValueError(
                f"variable {variable!r} has several times along {', '.join(map(repr, when))}, and a time is no height: "
                "choose one, with isel or sel, or write it alone into the file"
            )
        times = dates(index, when[0]) if when else None
        if len(others) > 1:
            raise ValueError(f"variable {variable!r} has several values along {others}: one vertical dimension at most")
        vertical = _vertical(index, str(others[0]), stations.coordinates) if others else None
        if when and vertical is not None and when[0] in vertical.dims:
            raise ValueError(
                f"the levels of variable {variable!r} change along {when[0]!r}, its time: choose one time, with isel "
                "or sel, or give levels that stay, coordinates={'z': ...}"
            )
        points = int(np.prod([index.sizes[dim] for dim in dims]))
        places = index.transpose(*when, *others, *dims).values.reshape(-1, points)
        return cls(variable, places, grid.corners(stations.position), vertical, dims, times)

    def during(
        self, level: np.ndarray, weight: np.ndarray, time: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows of the index at the times around each station, their weights, and whether it is between times.

        Parameters
        ----------
        level, weight : (station, level) array
            Levels and their weights.
        time : (station,) array of datetime64
        """
        if self.times is None or time is None:
            return level, weight, np.ones(len(level), dtype=bool)
        within = (time >= self.times[0]) & (time <= self.times[-1])
        if len(within) and not within.any():
            first, last = (one.astype("datetime64[s]") for one in (self.times[0], self.times[-1]))
            raise ValueError(
                f"no row is within the times of {self.name!r}, {first} to {last}: give those of its window"
            )
        inside = np.where(within, time, self.times[0])
        step, later = brackets((inside - self.times[0]) / SECOND, (self.times - self.times[0]) / SECOND)
        levels = len(self.index) // len(self.times)
        after = np.minimum(step + 1, len(self.times) - 1)
        both = np.concatenate([level + levels * step[:, None], level + levels * after[:, None]], axis=1)
        return both, np.concatenate([weight * (1 - later[:, None]), weight * later[:, None]], axis=1), within

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
        around = self.around()
        level, weight, between = level_weights(around, height)
        alone = np.isnan(height)
        if surface and alone.any():
            nearest = np.broadcast_to(surface_level(self.name, self.vertical, around), height.shape)[alone]
            level[alone], weight[alone], between[alone] = nearest[:, None], [1.0, 0.0], True
        return level, weight, between

    def around(self) -> np.ndarray:
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


def time_dims(variable: xr.DataArray, dims: Sequence[Hashable]) -> list[Hashable]:
    """Those of some dimensions of a variable along which it has several times."""
    named = [dim for dim in dims if variable.sizes[dim] > 1]
    return [
        dim for dim in named if dim in variable.coords and is_time(variable.coords[dim]) or str(dim).lower() == "time"
    ]


def dates(variable: xr.DataArray, dim: Hashable) -> np.ndarray:
    """The times of a variable along a dimension, ascending, as dates in UTC.

    Raises
    ------
    ValueError
        If they are no dates, or do not ascend.
    """
    name = f"variable {variable.name!r} has several times along {dim!r}"
    if dim not in variable.coords:
        raise ValueError(f"{name} but they are not told: give a coordinate {dim!r} with dates")
    try:
        values = xr.conventions.decode_cf_variable(str(dim), variable.coords[dim].variable.load()).values
        times = np.array([str(one) for one in values], dtype="datetime64[us]")
    except Exception as error:  # the libraries below raise many kinds of error for units that they cannot read
        raise ValueError(f"{name}, which are no dates: choose one with isel or sel, or give them as dates") from error
    if np.isnat(times).any():
        raise ValueError(f"{name}, of which that at {int(np.argmax(np.isnat(times)))} is missing: repair it")
    if not (np.diff(times) > np.timedelta64(0)).all():
        raise ValueError(f"{name} that do not ascend: sort them")
    return times


def _check_placed(variable: xr.DataArray, others: Sequence[Hashable], stations: Stations) -> None:
    """Raise ValueError if a table has fewer horizontal coordinates than the grid of a variable."""
    flat = [dim for dim in others if not is_vertical(column_coordinate(variable, str(dim), {}))]
    if len(stations.axes) < 2 and len(flat) > ("z" in stations.coordinates):
        told = f"the column {stations.axes[0]} alone" if stations.axes else "no column"
        raise ValueError(
            f"variable {variable.name!r} is along {', '.join(map(repr, flat))}, of which the table has {told}: "
            "give lat and lon, x and y, or on a line a column of the name of its coordinate"
        )


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
