r"""An analysis part by part: what the observations see of the whole ensemble is computed once, then

    analysis of a part = filter(prior of the part, h(x_j) as stored, y),

which is the analysis of the whole for filters that look at the state through the predicted observations only and treat
each place, or each entry, by itself: `LETKF`, `ETKF`, `EnKF`, `LETSF` of linear observations (where it is the LETKF),
and the corrections of the spread around them. Every part gets the same random numbers.

A part is a range of the grid along its longest horizontal dimension, with all variables and levels there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from ensf.arrays import Array
from ensf.dataset import Layout, Local
from ensf.dataset.coordinates import find_coordinate
from ensf.dataset.local import find_localization, place
from ensf.filters.kalman.filters import ETKF, LETKF, EnKF
from ensf.filters.letsf.filter import LETSF
from ensf.observations import Identity, Linear, Select
from ensf.wrappers.spread import RTPP, RTPS, AnalysisInflation, ForecastInflation, Rotation

__all__ = ["Part", "Predicted", "cut", "find_local", "in_parts", "on_part", "split", "whole"]

CORRECTIONS = (AnalysisInflation, RTPS, RTPP, Rotation)
ENTRIES = 2**16
"""Entries of the state in a part, about."""
PAIRS = 2**20
"""Pairs of place and observation in a part, about."""


@dataclass(frozen=True, eq=False)
class Predicted:
    """The operator of states whose predicted observations are known.

    Parameters
    ----------
    values : (member, observation) array
    """

    values: Array

    def __call__(self, states: Array) -> Array:
        return self.values


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a state.

    Attributes
    ----------
    layout : Layout
        Of the part.
    index : (entry,) int64 array, or slice
        Its entries in the whole.
    """

    layout: Layout
    index: Any


def whole(layout: Layout) -> Part:
    """The one part that is everything."""
    return Part(layout, slice(None))


# --- methods ---------------------------------------------------------------------------------------------


def split(method: Any) -> tuple[ForecastInflation | None, Any]:
    """The inflation of the forecast around a method, and the rest."""
    return (method, method.filter) if isinstance(method, ForecastInflation) else (None, method)


def find_local(method: Any) -> Local | None:
    """The `Local` in a method, if there is one."""
    while not isinstance(method, Local) and hasattr(method, "filter"):
        method = method.filter
    return method if isinstance(method, Local) else None


def in_parts(method: Any, operator: Any) -> bool:
    """Whether the analysis of parts is that of the whole: `method` without inflation of the forecast."""
    while isinstance(method, CORRECTIONS):
        method = method.filter
    kind: Any = type(method)
    if isinstance(method, Local):
        kind = getattr(method.filter, "func", method.filter)
    elif kind in (LETKF, LETSF) and method.localization is not None:
        return False
    return kind in (LETKF, ETKF, EnKF) or (kind is LETSF and isinstance(operator, Identity | Select | Linear))


def on_part(method: Any, layout: Layout) -> Any:
    """The filter with its places in a part, for predicted observations that are known."""
    return _linear(place(method, layout))


def _linear(method: Any) -> Any:
    """The same with `LETSF` as what it is for linear observations."""
    if isinstance(method, CORRECTIONS):
        return replace(method, filter=_linear(method.filter))
    if isinstance(method, LETSF):
        return ETKF() if method.localization is None else LETKF(method.localization, method.limit)
    return method


# --- parts -----------------------------------------------------------------------------------------------


def cut(layout: Layout, method: Any, observed: np.ndarray) -> list[Part]:
    """Parts of a state that are small enough for a method and observations at ``(observation, dimension)``."""
    parts = []
    index = {name: layout.index(name) for name in layout.template.data_vars}
    for dim, names in _groups(layout, method).items():
        group = layout.template[names]
        step = 1 if dim is None else _step(layout, index, names, dim, method, observed)
        for start in range(0, group.sizes.get(dim, 1), step):
            part = _part(layout, index, names, {} if dim is None else {dim: slice(start, start + step)})
            if len(part.index):
                parts.append(part)
    return parts


def _groups(layout: Layout, method: Any) -> dict[Hashable, list[Hashable]]:
    """Variables by the dimension along which they are cut."""
    groups = defaultdict(list)
    for name, variable in layout.template.data_vars.items():
        groups[_longest(variable, _dims(method, name))].append(name)
    return groups


def _dims(method: Any, name: Hashable) -> Any:
    """Coordinates that the localization of a method uses."""
    local = find_local(method)
    if local is None:
        return ()
    return local.dims.get(name, ()) if isinstance(local.dims, Mapping) else local.dims


def _longest(variable: xr.DataArray, dims: Any) -> Hashable | None:
    """The longest dimension of these coordinates, else of all."""
    found = [coordinate for dim in dims if (coordinate := find_coordinate(variable, dim)) is not None]
    horizontal = {dim for coordinate in found for dim in coordinate.dims} or set(variable.dims)
    return max((dim for dim in variable.dims if dim in horizontal), key=lambda dim: variable.sizes[dim], default=None)


def _part(layout: Layout, index: Mapping[Hashable, xr.DataArray], names: Any, where: dict[Hashable, slice]) -> Part:
    template = layout.template[names].isel(where)
    masks = {}
    for name in set(names) & set(layout.masks):
        masks[name] = layout.masks[name][tuple(where.get(dim, slice(None)) for dim in layout.template[name].dims)]
    entries = np.concatenate([index[name].isel(where).values.ravel() for name in names])
    dims = {name: layout.dims[name] for name in names}
    return Part(replace(layout, template=template, dims=dims, masks=masks), entries[entries >= 0])


def _step(layout: Layout, index: Any, names: Any, dim: Hashable, method: Any, observed: np.ndarray) -> int:
    """Length of the parts along a dimension, from the entries and pairs at a few of its places."""
    size = layout.template.sizes[dim]
    entries = sum(layout.template[name].size for name in names) // size
    samples = np.unique(np.linspace(0, size - 1, 8).astype(int))
    pairs = max(_pairs(_part(layout, index, names, {dim: slice(k, k + 1)}), method, observed) for k in samples)
    return max(1, min(size, int(ENTRIES // max(entries, 1)), int(PAIRS // max(pairs, 1))))


def _pairs(part: Part, method: Any, observed: np.ndarray) -> float:
    """Pairs of place and observation in a part, from a sample of its places."""
    localization = find_localization(place(method, part.layout)) if len(part.index) else None
    if localization is None:
        return 0.0
    places = localization.position[localization.variables[:, 0]]
    sample = places[:: max(1, len(places) // 256)]
    near = localization.geometry.pairs(sample, observed, 2 * localization.half_width)
    return near.nnz * len(places) / len(sample)
