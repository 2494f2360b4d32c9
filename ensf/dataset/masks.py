"""Grid points that hold no data, such as land: which they are, and that every member has them at the same points."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import xarray as xr

from ensf.dataset.coordinates import without_place

__all__ = ["Mask", "computed", "find_masks", "point", "whole_members"]

Mask: TypeAlias = "bool | xr.DataArray | Mapping[Hashable, xr.DataArray] | None"


def computed(mask: Mask) -> Mask:
    """The same in memory: a Dask array is computed once, whatever asks for it."""
    masks = list(mask.values()) if isinstance(mask, Mapping) else [mask]
    if not any(isinstance(one, xr.DataArray) and one.chunks is not None for one in masks):
        return mask
    return importlib.import_module("dask").compute(mask)[0]


def find_masks(mask: Mask, dataset: xr.Dataset, member_dim: str) -> dict[Hashable, np.ndarray]:
    """Mask of every variable that has one: what `Layout` calls `masks`.

    Parameters
    ----------
    mask : None, True, xarray.DataArray, or mapping of str to xarray.DataArray
        True = NaN in the first member. A DataArray is True where there is no data, and serves every variable.
    dataset : xarray.Dataset
        The variables of the state, with all members.
    member_dim : str

    Raises
    ------
    ValueError
        If a mask does not fit its variable, or with ``mask=True`` a member has NaN at other points than the first.
    """
    mask = computed(mask)
    if mask is None or mask is False:
        masks = {name: np.zeros(variable.isel({member_dim: 0}).shape, bool) for name, variable in dataset.items()}
    elif mask is True:
        masks = {name: _missing(variable, member_dim) for name, variable in dataset.items()}
    else:
        masks = _declared(mask, dataset.isel({member_dim: 0}))
    for name, variable in dataset.isel({member_dim: 0}).items():
        nowhere = without_place(variable)
        if nowhere.any():
            masks[name] = masks.get(name, False) | nowhere
    for name, where in masks.items():
        if where.all():
            raise ValueError(f"variable {name!r} is masked everywhere: drop it from the state")
    return {name: where for name, where in masks.items() if where.any()}


def whole_members(dataset: xr.Dataset, member_dim: str, mask: Mask) -> np.ndarray:
    """Which members have an infinite value nowhere, and NaN only where it may be, ``(member,)`` of bool.

    With ``mask=True`` that is where most of the members that have values have none, else where all have none.

    Parameters
    ----------
    dataset : xarray.Dataset
        The variables of the state.
    member_dim : str
    mask : None, True, xarray.DataArray, or mapping of str to xarray.DataArray
        As of `find_masks`; what a DataArray masks is not looked at.
    """
    masks = {} if mask is None or isinstance(mask, bool) else find_masks(mask, dataset, member_dim)
    whole = np.ones(dataset.sizes[member_dim], dtype=bool)
    for name, variable in dataset.items():
        values = variable.transpose(member_dim, ...).values.reshape(len(whole), -1)
        if name in masks:
            values = values[:, ~masks[name].ravel()]
        missing = np.isnan(values)
        some = missing[~missing.all(axis=1)] if mask is True else missing
        usual = 2 * some.sum(axis=0) > len(some) if mask is True and len(some) else missing.all(axis=0)
        whole &= ~(np.isinf(values) | missing & ~usual).any(axis=1)
    return whole


def _missing(variable: xr.DataArray, member_dim: str) -> np.ndarray:
    """NaN in the first member, and so in the others."""
    members_first = variable.transpose(member_dim, ...)
    missing = np.isnan(members_first.values)
    patterns = Counter(one.tobytes() for one in missing)
    usual = max(missing, key=lambda one: (patterns[one.tobytes()], -np.count_nonzero(one)))
    for member, one in enumerate(missing):
        other = (one != usual) & ~without_place(members_first[member])
        if other.any():
            place = np.argwhere(other)[0]
            raise ValueError(
                f"variable {variable.name!r} of member {member} has {np.count_nonzero(one & other)} missing values "
                f"where other members have values, and {np.count_nonzero(usual & other)} values where they have none, "
                f"the first at {point(members_first, place)}: a mask must be the same in every member, repair it or "
                "leave it out"
            )
    return usual


def _declared(mask: Mask, first: xr.Dataset) -> dict[Hashable, np.ndarray]:
    if isinstance(mask, xr.DataArray):
        return {name: _on_grid(mask, variable) for name, variable in first.items()}
    if not isinstance(mask, Mapping):
        raise ValueError(f"mask is a {type(mask).__name__}: give True, a DataArray, or a DataArray per variable")
    unknown = [name for name in mask if name not in first]
    if unknown:
        raise ValueError(f"the mask names {unknown[0]!r}: the variables are {', '.join(map(repr, first))}")
    return {name: _on_grid(one, first[name]) for name, one in mask.items()}


def _on_grid(mask: xr.DataArray, variable: xr.DataArray) -> np.ndarray:
    """The mask, with the dimensions of a variable of one member."""
    if mask.dtype.kind != "b":
        raise ValueError(f"the mask has dtype {mask.dtype}: give True where there is no data, such as mask == 0")
    extra = [dim for dim in mask.dims if dim not in variable.dims]
    if extra:
        raise ValueError(
            f"the mask has a dimension {extra[0]!r} that variable {variable.name!r} has not: give a mask per variable, "
            "as mask={name: mask}"
        )
    try:
        xr.align(mask, variable, join="exact")
    except ValueError as error:
        raise ValueError(
            f"the mask and variable {variable.name!r} are on different grids: give the mask the sizes and coordinates "
            "of the variable"
        ) from error
    return mask.broadcast_like(variable).transpose(*variable.dims).values


def point(variable: xr.DataArray, place: Sequence[int] | np.ndarray) -> str:
    """Coordinates in words of a place, given as indices along the dimensions behind the first."""
    pairs = zip(variable.dims[1:], place, strict=True)
    return ", ".join(f"{dim} {variable[dim].values[i]}" for dim, i in pairs) or "its only point"
