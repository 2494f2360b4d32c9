"""A state cut into tiles: ranges of the grid along its longest horizontal dimension, with all variables and levels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr

from ensf.dataset.coordinates import find_coordinate, variable_dims
from ensf.dataset.layout import Layout
from ensf.dataset.methods import dims_of, places
from ensf.localization import Localization

__all__ = ["Tile", "cut"]

ENTRIES = 2**16
"""Entries of the state in a tile, about."""
PAIRS = 2**20
"""Pairs of place and observation in a tile, about."""


@dataclass(frozen=True, eq=False)
class Tile:
    """A part of a state.

    Attributes
    ----------
    layout : Layout
        Of the part.
    entries : (entry,) int64 array
        Their indices in the whole state.
    where : mapping of str to slice
        Place of its grid in the whole one, along the dimension that was cut.
    """

    layout: Layout
    entries: np.ndarray
    where: Mapping[Hashable, slice] = field(default_factory=dict)


def cut(layout: Layout, localization: Localization | None, observed: np.ndarray | None) -> list[Tile]:
    """Tiles of a state, small enough to be analysed one after another.

    Parameters
    ----------
    layout : Layout
    localization : Localization or None
        Of the filter.
    observed : (observation, dimension) array, or None
        Where the observations are.
    """
    tiles = []
    index = {name: layout.index(name) for name in layout.template.data_vars}
    for dim, names in _groups(layout, localization).items():
        group = layout.template[names]
        step = 1 if dim is None else _step(layout, index, names, dim, localization, observed)
        for start in range(0, group.sizes.get(dim, 1), step):
            tile = _tile(layout, index, names, {} if dim is None else {dim: slice(start, start + step)})
            if len(tile.entries):
                tiles.append(tile)
    return tiles


def _groups(layout: Layout, localization: Localization | None) -> dict[Hashable, list[Hashable]]:
    """Variables by the dimension along which they are cut."""
    groups = defaultdict(list)
    dims = () if localization is None else dims_of(localization)
    for name, variable in layout.template.data_vars.items():
        own = variable_dims(name, dims)
        groups[_longest(variable, own)].append(name)
    return groups


def _longest(variable: xr.DataArray, dims: Sequence[str]) -> Hashable | None:
    """The longest dimension of these coordinates, else of all."""
    coordinates = [find_coordinate(variable, dim) for dim in dims]
    horizontal = {dim for one in coordinates if one is not None for dim in one.dims} or set(variable.dims)
    return max((dim for dim in variable.dims if dim in horizontal), key=lambda dim: variable.sizes[dim], default=None)


def _tile(
    layout: Layout,
    index: Mapping[Hashable, xr.DataArray],
    names: Sequence[Hashable],
    where: Mapping[Hashable, slice],
) -> Tile:
    template: Any = layout.template[names].isel(where)
    masks = {}
    for name in set(names) & set(layout.masks):
        masks[name] = layout.masks[name][tuple(where.get(dim, slice(None)) for dim in layout.template[name].dims)]
    entries = np.concatenate([index[name].isel(where).values.ravel() for name in names])
    dims = {name: layout.dims[name] for name in names}
    return Tile(replace(layout, template=template, dims=dims, masks=masks), entries[entries >= 0], where)


def _step(
    layout: Layout,
    index: Mapping[Hashable, xr.DataArray],
    names: Sequence[Hashable],
    dim: Hashable,
    localization: Localization | None,
    observed: np.ndarray | None,
) -> int:
    """Length of the tiles along a dimension, from the entries and pairs at a few of its places."""
    size = layout.template.sizes[dim]
    entries = sum(layout.template[name].size for name in names) // size
    samples = np.unique(np.linspace(0, size - 1, 8).astype(int))
    slices = [_tile(layout, index, names, {dim: slice(k, k + 1)}) for k in samples]
    pairs = max(_pairs(tile, localization, observed) for tile in slices)
    return max(1, min(size, int(ENTRIES // max(entries, 1)), int(PAIRS // max(pairs, 1))))


def _pairs(tile: Tile, localization: Localization | None, observed: np.ndarray | None) -> float:
    """Pairs of place and observation in a tile, from a sample of its places."""
    if localization is None or observed is None or not len(tile.entries) or np.isinf(localization.half_width):
        return 0.0
    positions = np.unique(places(localization, tile.layout, tile.entries), axis=0)
    sample = positions[:: max(1, len(positions) // 256)]
    near = localization.geometry.pairs(sample, observed, 2 * localization.half_width)
    return near.nnz * len(positions) / len(sample)
