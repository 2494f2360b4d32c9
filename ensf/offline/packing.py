"""Values of a state as a file stores them: the same bits where nothing changed, nothing that contradicts itself.

- No value equals a mark of missing values, such as `_FillValue`.
- Packed integers hold all values to half a step; where `scale_factor` and `add_offset` cannot, there are new ones.
- `valid_min`, `valid_max` and `valid_range` are widened where a value is outside.
- Attributes that are of the former values, checksums and `actual_range`, are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ensf.dataset import Layout
from ensf.dataset.encoding import FORMER, truthful_attributes
from ensf.dataset.raw import RawFile
from ensf.dataset.stored import LIMITS, Stored
from ensf.dataset.tiles import Range, layout_at

__all__ = ["Coding", "codings", "overwrite"]

Read = Callable[[int], np.ndarray]
"""Number of a part to its members ``(member, entry)``."""


@dataclass(frozen=True)
class Coding:
    """How a variable was stored, and how it will be."""

    former: Stored
    new: Stored


def codings(file: RawFile, layout: Layout, parts: Sequence[Range], read: Read) -> dict[str, Coding]:
    """How each variable will be stored; attributes are made true of it.

    Parameters
    ----------
    file : RawFile
        Open for writing.
    layout : Layout
    parts : sequence of Range
    read : callable
        Of the members in the file.
    """
    file.change({key: value for key, value in file.attributes.items() if not FORMER.fullmatch(key)})
    names = list(map(str, layout.template.data_vars))
    former = {name: Stored.of(file[name].dtype, file[name].attributes) for name in names}
    limited = [name for name in names if former[name].is_packed or set(LIMITS) & set(file[name].attributes)]
    extents = _extents(layout, parts, read, {name: former[name] for name in limited}) if limited else {}
    made = {}
    for name in names:
        variable, held, ends = file[name], *extents.get(name, (True, np.array([np.nan])))
        packed = former[name] if held else former[name].spanning(*ends.tolist())
        attributes = truthful_attributes(variable.attributes, former[name], packed, ends)
        made[name] = Coding(former[name], Stored.of(variable.dtype, attributes))
        variable.change(attributes)
    return made


def _extents(
    layout: Layout, parts: Sequence[Range], read: Read, stored: Mapping[str, Stored]
) -> dict[str, tuple[bool, np.ndarray]]:
    """Of each variable, whether its packing holds all values, and the smallest and largest of them."""
    extents = {name: (True, np.array([np.inf, -np.inf])) for name in stored}
    for number, part in enumerate(parts):
        own = layout_at(layout, part)
        members = read(number) if set(map(str, part.names)) & set(stored) else np.empty((0, own.size))
        for name in map(str, part.names):
            values = members[:, own.block(name)]
            if name not in stored or not values.size:
                continue
            held, ends = extents[name]
            held = held and (not stored[name].is_packed or stored[name].holds(values))
            extents[name] = held, np.array([min(ends[0], np.nanmin(values)), max(ends[1], np.nanmax(values))])
    return extents


def overwrite(
    file: RawFile,
    layout: Layout,
    coded: Mapping[str, Coding],
    parts: Iterable[tuple[Range, np.ndarray]],
    member_dim: str | None,
) -> None:
    """Replace the analysed variables in an open file, part by part; what is missing keeps its bits.

    Parameters
    ----------
    file : RawFile
        Open for writing, with the numbers of the forecast.
    layout : Layout
    coded : mapping of str to Coding
        Of `codings`.
    parts : iterable of Range and (member, entry) array
        Of the members in the file.
    member_dim : str or None
        Dimension of the file that counts them; None = the file has one.

    Raises
    ------
    ValueError
        If a value cannot be stored in the type of its variable.
    """
    for part, members in parts:
        own = layout_at(layout, part)
        for name in map(str, part.names):
            variable, coding = file[name], coded[name]
            dims, dtype = variable.dims, variable.dtype
            for member, row in enumerate(members[:, own.block(name)]):
                index = {} if member_dim is None else {member_dim: member}
                place = tuple(index.get(dim, part.where.get(dim, slice(None))) for dim in dims)
                old = variable[place]
                bare = _coded(name, row, old.reshape(-1), own.kept(name), coding)
                variable[place] = bare.view(dtype).reshape(old.shape)


def _coded(name: str, row: np.ndarray, old: np.ndarray, kept: np.ndarray | slice, coding: Coding) -> np.ndarray:
    """What to store of one member: the old numbers where the value is the old one, else the new value.

    Parameters
    ----------
    name : str
    row : (entry,) array
        Values.
    old : (grid,) array
        What the file has.
    kept : bool array, or slice
        Which entries of the grid are in the state.
    coding : Coding
    """
    former, new = coding.former, coding.new
    bare = np.ascontiguousarray(old).view(new.dtype).copy()
    codes = new.clear_of_marks(new.pack(row))
    if not np.all(np.isfinite(codes)):
        raise ValueError(
            f"the analysis of variable {name!r} is beyond the numbers of type {new.dtype}: check its prior"
        )
    if (former.scale, former.offset) == (new.scale, new.offset):
        codes = np.where(former.numbers(bare[kept]) == row, bare[kept], codes)
    shown = former.missing(bare) & ~new.missing(bare)  # by limits that are wider now
    if shown.any() and new.marks.size:
        bare[shown] = new.marks[0]
    bare[kept] = codes
    return bare
