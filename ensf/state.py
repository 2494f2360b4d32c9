"""xarray Dataset <-> flat state.

A filter works on one array ``(member, state)``. `pack` writes the variables of a Dataset one after another along
the last axis, each in the order of its own dimensions without the member dimension,

    state = [ variable_1 flattened, variable_2 flattened, ... ],

and remembers the names, dimensions, coordinates, attributes and dtypes in a `Layout`. `unpack` turns an ensemble
``(member, state)`` or one state ``(state,)`` back into a Dataset. The layout also says where every state variable
is (`positions`), and which of them a station sees (`nearest`, `interpolate`).

Grid points that hold no data, such as land, are dropped before packing:
``dataset.stack(point=("latitude", "longitude")).dropna("point")``.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse
import xarray as xr

from ensf.arrays import Array, to_numpy

__all__ = ["Layout", "interpolate", "nearest", "pack", "positions", "unpack"]


@dataclass(frozen=True, eq=False)
class Layout:
    """What `pack` remembers.

    Attributes
    ----------
    template : xarray.Dataset
        The first member: variables, coordinates, attributes and dtypes.
    member_dim : str
        Dimension that counts the members.
    dims : mapping of str to tuple of str
        Dimensions of each variable in their order, the member dimension included.
    member_coords : xarray.Dataset
        Coordinates along the member dimension.
    """

    template: xr.Dataset
    member_dim: str
    dims: Mapping[Hashable, tuple[Hashable, ...]]
    member_coords: xr.Dataset

    @property
    def size(self) -> int:
        """Number of state variables."""
        return sum(variable.size for variable in self.template.data_vars.values())

    @cached_property
    def offset(self) -> dict[Hashable, int]:
        """Place in the state where each variable begins."""
        sizes = [variable.size for variable in self.template.data_vars.values()]
        return dict(zip(self.template.data_vars, np.cumsum([0, *sizes]).tolist(), strict=False))

    def index(self, variable: str) -> xr.DataArray:
        """Place in the state of every grid point of `variable`, on its own grid.

        Raises
        ------
        ValueError
            If the state has no such variable.
        """
        if variable not in self.template:
            known = ", ".join(map(repr, self.template.data_vars))
            raise ValueError(f"the state has no variable {variable!r}: choose one of {known}")
        grid = self.template[variable]
        return grid.copy(data=self.offset[variable] + np.arange(grid.size).reshape(grid.shape))


def pack(dataset: xr.Dataset, member_dim: str, variables: Iterable[str] | None = None) -> tuple[np.ndarray, Layout]:
    """Ensemble as an array.

    Parameters
    ----------
    dataset : xarray.Dataset
    member_dim : str
        Dimension that counts the members.
    variables : iterable of str, optional
        The variables of the state, in this order; by default all of the Dataset.

    Returns
    -------
    ensemble : (member, state) array
        In the widest dtype of the variables.
    layout : Layout
        Turns such an array back into a Dataset with `unpack`.

    Raises
    ------
    ValueError
        If a variable is not there, has no member dimension, is not of floating point, or has NaN or infinite values.
    """
    names = list(dataset.data_vars if variables is None else variables)
    _check_names(dataset, names)
    chosen = dataset[names]
    blocks = [_flat(chosen[name], member_dim) for name in names]
    along = [name for name, coordinate in chosen.coords.items() if member_dim in coordinate.dims]
    layout = Layout(
        template=chosen.isel({member_dim: 0}).drop_vars(along).compute(),
        member_dim=member_dim,
        dims={name: chosen[name].dims for name in names},
        member_coords=xr.Dataset(coords={name: chosen[name] for name in along}),
    )
    return np.concatenate(blocks, axis=1), layout


def unpack(array: Array, layout: Layout) -> xr.Dataset:
    """Dataset of an ensemble ``(member, state)`` or of one state ``(state,)``, on the layout's grid.

    The coordinates of the members come back if there are as many members as were packed.

    Raises
    ------
    ValueError
        If the last axis is not the state of this layout.
    """
    values = to_numpy(array)
    if values.ndim not in (1, 2) or values.shape[-1] != layout.size:
        raise ValueError(
            f"array of shape {values.shape} does not fit the layout: give (member, {layout.size}) or ({layout.size},)"
        )
    fields = {name: _field(values, layout, name) for name in layout.template.data_vars}
    dataset = layout.template.assign(fields)
    if values.ndim == 2 and layout.member_coords.sizes.get(layout.member_dim) == len(values):
        dataset = dataset.assign_coords(layout.member_coords.coords)
    return dataset


def _field(values: np.ndarray, layout: Layout, name: Hashable) -> xr.Variable:
    """One variable, with its own dimensions, dtype and attributes."""
    grid, start = layout.template[name], layout.offset[name]
    data = values[..., start : start + grid.size].reshape(*values.shape[:-1], *grid.shape)
    data = np.array(data, dtype=grid.dtype)
    if values.ndim == 1:
        return xr.Variable(grid.dims, data, grid.attrs)
    return xr.Variable((layout.member_dim, *grid.dims), data, grid.attrs).transpose(*layout.dims[name])


def _flat(variable: xr.DataArray, member_dim: str) -> np.ndarray:
    """One variable as ``(member, grid point)``."""
    _check_variable(variable, member_dim)
    members_first = variable.transpose(member_dim, ...)
    block = members_first.values.reshape(members_first.shape[0], -1)
    if not np.isfinite(block).all():
        _name_bad_entry(members_first, block)
    return block


# --- where things are ------------------------------------------------------------------------------------


def positions(layout: Layout, dims: tuple[str, ...] = ("latitude", "longitude")) -> np.ndarray:
    """Position of every state variable, for `ensf.localization.Localization`.

    Parameters
    ----------
    layout : Layout
    dims : tuple of str
        Coordinates that make a position, of one dimension or more each; degrees for a sphere.

    Returns
    -------
    (state, len(dims)) array

    Raises
    ------
    ValueError
        If a variable has no such coordinate.
    """
    blocks = []
    for name, variable in layout.template.data_vars.items():
        missing = [dim for dim in dims if dim not in variable.coords]
        if missing:
            raise ValueError(f"variable {name!r} has no coordinate {missing[0]!r}: give dims=, or drop the variable")
        columns = [variable.coords[dim].broadcast_like(variable).transpose(*variable.dims) for dim in dims]
        blocks.append(np.stack([column.values.ravel() for column in columns], axis=1))
    return np.concatenate(blocks).astype(np.float64)


def nearest(layout: Layout, variable: str, latitude: Any, longitude: Any, **options: Any) -> np.ndarray:
    """Place in the state of the grid point nearest to each station: ``Select(nearest(...))``.

    Near means near along each coordinate. Parameters and errors are those of `interpolate`.

    Returns
    -------
    (station,) int64 array
    """
    weights = interpolate(layout, variable, latitude, longitude, **options)
    return np.asarray(weights.argmax(axis=1), dtype=np.int64).ravel()


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
        Dimensions of latitude and longitude of the grid.
    at : mapping of str to value, optional
        Coordinate value on every other dimension that has more than one, such as ``{"level": 500}``.

    Returns
    -------
    (station, state) sparse array
        Four weights per row, which sum to one.

    Raises
    ------
    ValueError
        If a station is outside the grid or the variable is not on a latitude-longitude grid.
    """
    grid = _horizontal(layout.index(variable), dims, at or {})
    stations = np.broadcast_arrays(*np.atleast_1d(latitude, longitude))
    rows, north = _bracket(grid[dims[0]].values, stations[0], dims[0])
    columns, east = _bracket(*_unrolled(grid[dims[1]].values, stations[1]), dims[1])
    places = grid.values[rows[:, :, None], columns[:, None, :] % grid.shape[1]]
    weights = north[:, :, None] * east[:, None, :]
    station = np.repeat(np.arange(len(rows)), 4)
    return scipy.sparse.csr_array((weights.ravel(), (station, places.ravel())), shape=(len(rows), layout.size))


def _horizontal(index: xr.DataArray, dims: tuple[str, str], at: Mapping[str, Any]) -> xr.DataArray:
    """Index of the one latitude-longitude plane at the coordinates `at`."""
    if any(dim not in index.indexes for dim in dims):
        raise ValueError(f"variable {index.name!r} has dimensions {index.dims}, not a grid of {dims}: give dims=")
    try:
        plane = index.sel(at)
    except KeyError as error:
        raise ValueError(f"variable {index.name!r} is not at {dict(at)}: choose a value on its grid") from error
    plane = plane.squeeze([dim for dim in plane.dims if dim not in dims and plane.sizes[dim] == 1])
    if plane.ndim != 2:
        others = [dim for dim in plane.dims if dim not in dims]
        raise ValueError(f"variable {index.name!r} has several values along {others}: choose one of each with at=")
    return plane.transpose(*dims)


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


# --- errors of users -------------------------------------------------------------------------------------


def _check_names(dataset: xr.Dataset, names: list[Hashable]) -> None:
    unknown = [name for name in names if name not in dataset.data_vars]
    if unknown or not names:
        raise ValueError(
            f"the dataset has no variable {unknown[0]!r}: choose from {', '.join(map(repr, dataset.data_vars))}"
            if unknown
            else "a state needs one variable or more"
        )


def _check_variable(variable: xr.DataArray, member_dim: str) -> None:
    if member_dim not in variable.dims:
        raise ValueError(
            f"variable {variable.name!r} has no member dimension {member_dim!r}, only {variable.dims}: "
            "name the variables of the state with variables=, or choose another member_dim"
        )
    if variable.dtype.kind != "f":
        raise ValueError(f"variable {variable.name!r} has dtype {variable.dtype}: convert it to float32 or float64")


def _name_bad_entry(variable: xr.DataArray, block: np.ndarray) -> None:
    """Raise ValueError for the first entry that is not finite, of a variable with members first."""
    member, place = np.argwhere(~np.isfinite(block))[0]
    indices = zip(variable.dims[1:], np.unravel_index(place, variable.shape[1:]), strict=True)
    where = ", ".join(f"{dim} {variable[dim].values[i]}" for dim, i in indices)
    raise ValueError(
        f"variable {variable.name!r} of member {member} is {block[member, place]} at {where}: "
        "repair or drop that member, or drop grid points without data before packing"
    )
