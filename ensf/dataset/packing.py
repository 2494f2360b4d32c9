"""Dataset to flat ensemble and back."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace

import numpy as np
import xarray as xr

from ensf.arrays import Array, to_numpy
from ensf.dataset.coordinates import CRITERIA, check_coordinates, check_periods, located
from ensf.dataset.dates import counts_times
from ensf.dataset.encoding import of_one_state, truthful
from ensf.dataset.layout import Layout
from ensf.dataset.masks import Mask, find_masks, point
from ensf.dataset.stored import storage, without_marks

__all__ = ["choose", "pack", "restore", "unpack", "without_fills"]


def pack(
    dataset: xr.Dataset,
    member_dim: str,
    variables: Iterable[Hashable] | None = None,
    mask: Mask = None,
    *,
    coordinates: Mapping[str, str] | None = None,
    periods: Mapping[str, float] | None = None,
) -> tuple[np.ndarray, Layout]:
    """Ensemble as an array.

    Parameters
    ----------
    dataset : xarray.Dataset
        Variables that are Dask arrays are computed, and a line is logged.
    member_dim : str
        Dimension that counts the members.
    variables : iterable of str, optional
        The variables of the state, in this order; by default all of the Dataset.
    mask : True, xarray.DataArray, or mapping of str to xarray.DataArray, optional
        Grid points without data, which are not in the state: True = where the first member has NaN. A DataArray is
        True where there is no data; it serves every variable, a mapping those that it names.
    coordinates : mapping of str to str, optional
        Coordinate of the grid for the columns ``lat``, ``lon``, ``x``, ``y`` or ``z`` of a table where names and
        attributes do not tell, such as ``{"lat": "gphit"}``.
    periods : mapping of str to float, optional
        Period of ``x``, ``y`` or the one coordinate of a line, in a periodic domain.

    Returns
    -------
    ensemble : (member, state) array
        In the widest dtype of the variables.
    layout : Layout
        Turns such an array back into a Dataset with `unpack`.

    Raises
    ------
    ValueError
        If a variable is not there, has no member dimension, is not of floating point, or has NaN or infinite values
        that are not masked; or if a mask, a coordinate or a period does not fit.
    """
    chosen = without_fills(choose(dataset, member_dim, variables))
    layout = _layout(chosen, member_dim, find_masks(mask, chosen, member_dim))
    layout = replace(layout, coordinates=coordinates or {}, periods=periods or {})
    check_coordinates(layout)
    check_periods(layout)
    dtype = np.result_type(*(variable.dtype for variable in chosen.values()))
    ensemble = np.empty((chosen.sizes[member_dim], layout.size), dtype=dtype)
    for name, variable in chosen.items():
        _fill(ensemble[:, layout.block(name)], variable.transpose(member_dim, ...), layout)
    return ensemble, layout


def choose(dataset: xr.Dataset, member_dim: str, variables: Iterable[Hashable] | None = None) -> xr.Dataset:
    """The variables of the state, in memory.

    Parameters
    ----------
    dataset : xarray.Dataset
        Variables that are Dask arrays are computed, and a line is logged.
    member_dim : str
        Dimension that counts the members.
    variables : iterable of str, optional
        The variables of the state, in this order; by default all of the Dataset.

    Raises
    ------
    ValueError
        If a variable is not there, has no member dimension, or is not of floating point, or members are of several
        times.
    """
    names = list(dataset.data_vars if variables is None else variables)
    _check_names(dataset, names)
    for name in names:
        _check_variable(dataset[name], member_dim)
    chosen = located(dataset)[names]
    _check_times(chosen, member_dim)
    lazy = [name for name in names if chosen[name].chunks is not None]
    if lazy:
        size = sum(chosen[name].nbytes for name in lazy) / 1e6
        message = "an analysis needs the whole ensemble: computing the Dask arrays of %s, %.3g MB, into memory"
        logging.getLogger("ensf").warning(message, ", ".join(map(repr, lazy)), size)
    return chosen.compute()


def without_fills(chosen: xr.Dataset) -> xr.Dataset:
    """The same, NaN where an entry or a coordinate is missing."""
    return chosen.assign_coords(
        {name: without_marks(one.variable) for name, one in chosen.coords.items() if one.ndim > 1}
    ).assign({name: without_marks(one.variable) for name, one in chosen.items()})


def _layout(chosen: xr.Dataset, member_dim: str, masks: dict[Hashable, np.ndarray]) -> Layout:
    along = [name for name, coordinate in chosen.coords.items() if member_dim in coordinate.dims]
    return Layout(
        template=chosen.isel({member_dim: 0}).drop_vars(along),
        member_dim=member_dim,
        dims={name: variable.dims for name, variable in chosen.items()},
        member_coords=chosen.drop_vars(set(chosen.variables) - set(along)),
        masks=masks,
    )


def _fill(block: np.ndarray, variable: xr.DataArray, layout: Layout) -> None:
    """Write a variable with members first into its ``(member, state)`` block."""
    values = variable.values.reshape(len(block), -1)
    block[...] = values[:, layout.kept(variable.name)]
    if not np.isfinite(block).all():
        _name_bad_entry(variable, values, layout)


def unpack(array: Array, layout: Layout) -> xr.Dataset:
    """Dataset of an ensemble ``(member, state)`` or of one state ``(state,)``, on the layout's grid.

    Masked points get the value of the first member that was packed. The coordinates of the members come back if there
    are as many members as were packed.

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
    if values.ndim == 1 and "unlimited_dims" in dataset.encoding:
        dataset.encoding["unlimited_dims"] = set(dataset.encoding["unlimited_dims"]) - {layout.member_dim}
    return dataset


def _field(values: np.ndarray, layout: Layout, name: Hashable) -> xr.Variable:
    """One variable, with its own dimensions, dtype, attributes and encoding."""
    grid = layout.template[name].variable
    data = np.empty((*values.shape[:-1], grid.size), dtype=grid.dtype)
    if name in layout.masks:
        data[...] = grid.values.ravel()
    data[..., layout.kept(name)] = values[..., layout.block(name)]
    data = data.reshape(*values.shape[:-1], *grid.shape)
    if values.ndim == 1:
        return xr.Variable(grid.dims, data, grid.attrs, of_one_state(grid.encoding))
    field = xr.Variable((layout.member_dim, *grid.dims), data, grid.attrs, grid.encoding)
    return field.transpose(*layout.dims[name])


def restore(dataset: xr.Dataset, ensemble: Array, layout: Layout) -> xr.Dataset:
    """The Dataset that was packed, with the ensemble ``(member, state)`` in it; masked points keep their values.

    Attributes and encoding of a variable say what is true: a packing that cannot hold the values is renewed, limits are
    widened, checksums dropped. A line is logged for a packing.

    Parameters
    ----------
    dataset : xarray.Dataset
        What was packed.
    ensemble : (member, state) array
    layout : Layout

    Raises
    ------
    ValueError
        If the ensemble has not the members and the state that were packed.
    """
    values = to_numpy(ensemble)
    if values.shape != (dataset.sizes[layout.member_dim], layout.size):
        raise ValueError(
            f"ensemble of shape {values.shape} does not fit the dataset: "
            f"give ({dataset.sizes[layout.member_dim]}, {layout.size})"
        )
    return dataset.assign({name: _replaced(dataset[name], values, layout) for name in layout.template.data_vars})


def _replaced(original: xr.DataArray, values: np.ndarray, layout: Layout) -> xr.Variable:
    """A variable with its entries of the state replaced."""
    members_first = original.variable.transpose(layout.member_dim, ...)
    data = np.array(members_first.values).reshape(len(values), -1)
    new = values[:, layout.block(original.name)]
    data[:, layout.kept(original.name)] = storage(original.variable).clear_of_marks(new)
    attributes, encoding = truthful(original.name, original.variable, new)
    whole = xr.Variable(members_first.dims, data.reshape(members_first.shape), attributes, encoding)
    return whole.transpose(*original.dims)


# --- errors of users -------------------------------------------------------------------------------------


def _check_names(dataset: xr.Dataset, names: list[Hashable]) -> None:
    unknown = [name for name in names if name not in dataset.data_vars]
    if unknown:
        choice = ", ".join(map(repr, dataset.data_vars))
        raise ValueError(f"the dataset has no variable {unknown[0]!r}: choose from {choice}")
    if not names:
        raise ValueError("a state needs one variable or more")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"variable {twice[0]!r} is named twice: name each variable of the state once")


def _check_times(chosen: xr.Dataset, member_dim: str) -> None:
    """Raise ValueError if a member is of another time than the first."""
    for name, time in chosen.coords.items():
        criterion = CRITERIA["time"]
        named = time.attrs.get("standard_name") in criterion.standard_names or name in ("time", *criterion.names)
        if not named or member_dim not in time.dims or counts_times(time, member_dim):
            continue
        time = time.transpose(member_dim, ...)
        others = ((time != time[0]) & (time.notnull() | time[0].notnull())).values
        if others.any():
            member, *which = np.argwhere(others)[0]
            its, mine = (str(time[number].values[tuple(which)]) for number in (member, 0))
            raise ValueError(
                f"coordinate {name!r} of member {member} is {its} but {mine} of member 0: give members of the same time"
            )


def _check_variable(variable: xr.DataArray, member_dim: str) -> None:
    if member_dim not in variable.dims:
        raise ValueError(
            f"variable {variable.name!r} has no member dimension {member_dim!r}, only {variable.dims}: "
            "name the variables of the state with variables=, or choose another member_dim"
        )
    if variable.dtype.kind != "f" or variable.dtype.itemsize < 4:
        raise ValueError(f"variable {variable.name!r} has dtype {variable.dtype}: convert it to float32 or float64")


def _name_bad_entry(variable: xr.DataArray, values: np.ndarray, layout: Layout) -> None:
    """Raise ValueError for the first entry ``(member, grid point)`` that is in the state and not finite."""
    bad = ~np.isfinite(values)
    if variable.name in layout.masks:
        bad &= layout.kept(variable.name)
    member, place = np.argwhere(bad)[0]
    where = point(variable, np.unravel_index(place, variable.shape[1:]))
    raise ValueError(
        f"variable {variable.name!r} of member {member} is {values[member, place]} at {where} (and "
        f"{np.count_nonzero(bad[member]) - 1} points more): repair or drop that member, or give a mask= of the grid "
        "points without data"
    )
