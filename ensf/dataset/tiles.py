"""A state cut into tiles: ranges of the grid along a horizontal dimension, with all variables and levels.

What is read and written at once is a part (`ranges`); what is analysed at once is a tile of it (`cut`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr

from ensf.dataset.coordinates import find_coordinate, variable_dims
from ensf.dataset.layout import Layout
from ensf.dataset.methods import dims_of, places
from ensf.localization import Localization

__all__ = ["Range", "Tile", "cut", "layout_at", "ranges", "tile_at"]

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
        Place of its grid in that which was cut, along the dimension that was.
    within : (entry,) int64 array, optional
        Its entries in what was cut, if that is a part of the state.
    """

    layout: Layout
    entries: np.ndarray
    where: Mapping[Hashable, slice] = field(default_factory=dict)
    within: np.ndarray | None = None


@dataclass(frozen=True)
class Range:
    """A part of a state in words.

    Attributes
    ----------
    names : tuple of str
        The variables.
    dim : str or None
        Dimension that is cut; None for variables without any.
    start, stop : int
        Along this dimension.
    """

    names: tuple[Hashable, ...]
    dim: Hashable | None
    start: int
    stop: int

    @property
    def where(self) -> dict[Hashable, slice]:
        """Place of the part in the grid."""
        return {} if self.dim is None else {self.dim: slice(self.start, self.stop)}


def ranges(
    layout: Layout,
    localization: Localization | None,
    entries: int,
    multiple: Callable[[Sequence[Hashable], Hashable], int] = lambda names, dim: 1,
) -> list[Range]:
    """A state as parts of about equally many entries.

    Parameters
    ----------
    layout : Layout
    localization : Localization or None
        Of the filter.
    entries : int
        Of a part at most, unless the smallest part has more.
    multiple : callable
        ``multiple(names, dim)``: the length of a part along `dim` is a multiple of this, as of chunks of a store.
    """
    parts = []
    for dim, names in _groups(layout, localization).items():
        group = layout.template[names]
        size = group.sizes.get(dim, 1)
        own = sum(variable.size for variable in group.data_vars.values()) // size
        unit = 1 if dim is None else multiple(names, dim)
        step = unit * max(1, int(entries // max(own * unit, 1)))
        parts += [Range(tuple(names), dim, start, min(start + step, size)) for start in range(0, size, step)]
    return parts


def layout_at(layout: Layout, part: Range) -> Layout:
    """The layout of a part of a state, made once."""
    if part not in layout.parts:
        layout.parts[part] = _layout(layout, part.names, part.where)
    return layout.parts[part]


def tile_at(layout: Layout, part: Range) -> Tile:
    """A part of a state; it may have no entries."""
    return Tile(layout_at(layout, part), _entries(layout, part.names, part.where), part.where)


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
    for dim, names in _groups(layout, localization).items():
        group = layout.template[names]
        step = 1 if dim is None else _step(layout, names, dim, localization, observed)
        for start in range(0, group.sizes.get(dim, 1), step):
            tile = _tile(layout, names, {} if dim is None else {dim: slice(start, start + step)})
            if len(tile.entries):
                tiles.append(tile)
    return tiles


def _groups(layout: Layout, localization: Localization | None) -> dict[Hashable, list[Hashable]]:
    """Variables by the dimension along which they are cut."""
    groups = defaultdict(list)
    dims = () if localization is None else dims_of(localization)
    for name, variable in layout.template.data_vars.items():
        own = variable_dims(name, dims)
        groups[_direction(variable, own)].append(name)
    return groups


def _direction(variable: xr.DataArray, dims: Sequence[str]) -> Hashable | None:
    """Of the dimensions of these coordinates, else of all, the first with small slices: files have these in one piece.

    Where none has small slices, the longest.
    """
    coordinates = [find_coordinate(variable, dim) for dim in dims]
    there = {dim for one in coordinates if one is not None for dim in one.dims} or set(variable.dims)
    horizontal = [dim for dim in variable.dims if dim in there]
    small = [dim for dim in horizontal if variable.size <= ENTRIES * variable.sizes[dim]]
    return small[0] if small else max(horizontal, key=lambda dim: variable.sizes[dim], default=None)


def _tile(layout: Layout, names: Sequence[Hashable], where: Mapping[Hashable, slice]) -> Tile:
    return Tile(_layout(layout, names, where), _entries(layout, names, where), where)


def _entries(layout: Layout, names: Sequence[Hashable], where: Mapping[Hashable, slice]) -> np.ndarray:
    entries = np.concatenate([layout.within(name, where) for name in names])
    return entries[entries >= 0]


def _layout(layout: Layout, names: Sequence[Hashable], where: Mapping[Hashable, slice]) -> Layout:
    template: Any = layout.template[list(names)].isel(where)
    masks = {}
    for name in set(names) & set(layout.masks):
        masks[name] = layout.masks[name][tuple(where.get(dim, slice(None)) for dim in layout.template[name].dims)]
    dims = {name: layout.dims[name] for name in names}
    return replace(layout, template=template, dims=dims, masks=masks)


def _step(
    layout: Layout,
    names: Sequence[Hashable],
    dim: Hashable,
    localization: Localization | None,
    observed: np.ndarray | None,
) -> int:
    """Length of the tiles along a dimension, from the entries and pairs at a few of its places."""
    size = layout.template.sizes[dim]
    entries = sum(layout.template[name].size for name in names) // size
    samples = np.unique(np.linspace(0, size - 1, 8).astype(int))
    slices = [_tile(layout, names, {dim: slice(k, k + 1)}) for k in samples]
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
