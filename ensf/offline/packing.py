"""Values of a state as a file stores them: the same bits where nothing changed, nothing that contradicts itself.

- No value equals a mark of missing values, such as `_FillValue`.
- Packed integers hold all values to half a step; where the old `scale_factor` and `add_offset` cannot, there are new ones.
- `valid_min`, `valid_max` and `valid_range` are widened where a value is outside.
- Attributes that are of the former values, checksums and `actual_range`, are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import netCDF4
import numpy as np

from ensf.dataset import Layout
from ensf.dataset.stored import LIMITS, Stored

__all__ = ["FORMER", "overwrite"]

FORMER = re.compile(
    r".*(checksum|md5|sha_?\d|crc|adler|fletcher|xxhash|digest).*|actual_(range|min|max)|data_(min|max)", re.IGNORECASE
)
"""Attributes that are of the values, and untrue of others."""


def overwrite(file: netCDF4.Dataset, layout: Layout, states: np.ndarray, member_dim: str | None) -> None:
    """Replace the analysed variables in an open file; what is missing keeps its bits.

    Parameters
    ----------
    file : netCDF4.Dataset
        Open for writing.
    layout : Layout
    states : (member, state) array
        Of the members in the file.
    member_dim : str or None
        Dimension of the file that counts them; None = the file has one.

    Raises
    ------
    ValueError
        If a value cannot be stored in the type of its variable.
    """
    _drop_former(file)
    for name in map(str, layout.template.data_vars):
        variable = file[name]
        variable.set_auto_maskandscale(False)
        attributes: dict[Hashable, Any] = {key: variable.getncattr(key) for key in variable.ncattrs()}
        field = Field(name, Stored.of(variable.dtype, attributes), layout.kept(name))
        values = states[:, layout.block(name)]
        packed = field.made_to_hold(values)
        truthful = _truthful(attributes, field.stored, packed.stored, values)
        new = replace(packed, stored=Stored.of(variable.dtype, truthful))
        for member, row in enumerate(values):
            place = tuple(member if dim == member_dim else slice(None) for dim in variable.dimensions)
            old = np.asarray(variable[place])
            stored = new.coded(row, old.reshape(-1), field.stored, exact=packed is field)
            variable[place] = stored.view(variable.dtype).reshape(old.shape)
        for key in attributes:
            if key not in truthful:
                variable.delncattr(str(key))
        variable.setncatts({key: value for key, value in truthful.items() if value is not attributes.get(key)})


@dataclass(frozen=True, eq=False)
class Field:
    """A variable of the file.

    Attributes
    ----------
    name : str
    stored : Stored
    kept : bool array, or slice
        Which entries of the grid are in the state.
    """

    name: str
    stored: Stored
    kept: np.ndarray | slice

    def made_to_hold(self, values: np.ndarray) -> Field:
        """The same, with a packing that holds the values, ``(member, entry)``."""
        stored = self.stored
        if not stored.is_packed or not values.size or all(self._holds(row) for row in values):
            return self
        limits = np.iinfo(stored.dtype)
        ends = np.concatenate([[limits.min - 1], np.sort(stored.marks).astype(object), [limits.max + 1]])
        widest = int(np.argmax(np.diff(ends)))
        first, last = int(ends[widest]) + 1, int(ends[widest + 1]) - 1
        low, high = float(values.min()), float(values.max())
        scale = max((high - low) / max(last - first, 1), np.finfo(stored.number).eps * max(abs(low), abs(high), 1e-300))
        scale = float(stored.number.type(scale * (1 + 1e-6)))
        offset = float(stored.number.type(low - scale * first))
        return replace(self, stored=replace(stored, scale=scale, offset=offset))

    def _holds(self, row: np.ndarray) -> bool:
        """Whether values can be packed to half a step, and none is a mark."""
        codes = self.stored.pack(row)
        return not np.isin(codes, self.stored.marks).any() and bool(np.all(self._misfit(codes, row) <= 0))

    def _misfit(self, codes: np.ndarray, row: np.ndarray) -> np.ndarray:
        """By how much codes miss values by more than half a step, and rounding."""
        stored = self.stored
        size = np.abs(row.astype(np.float64)) + abs(stored.offset)
        rounding = 4 * np.finfo(np.float32 if stored.number == np.float32 else np.float64).eps * size
        numbers = codes.astype(np.float64) * stored.scale + stored.offset
        return np.abs(numbers - row) - 0.5001 * abs(stored.scale) - rounding

    def coded(self, row: np.ndarray, old: np.ndarray, former: Stored, exact: bool) -> np.ndarray:
        """What to store: the old numbers where the value is the old one, else the new value.

        Parameters
        ----------
        row : (entry,) array
            Values of one member.
        old : (grid,) array
            What the file has.
        former : Stored
            How it was stored.
        exact : bool
            Whether the old numbers still mean the same.

        Raises
        ------
        ValueError
            If a value is beyond the numbers of the type.
        """
        bare = old.view(self.stored.dtype).copy()
        there = bare[self.kept]
        codes = self._clear_of_marks(self.stored.pack(row))
        if not np.all(np.isfinite(codes)):
            raise ValueError(
                f"the analysis of variable {self.name!r} is beyond the numbers of type {self.stored.dtype}: "
                "check its prior"
            )
        if exact:
            codes = np.where(former.numbers(there) == row, there, codes)
        shown = former.missing(bare) & ~self.stored.missing(bare)
        if shown.any() and self.stored.marks.size:
            bare[shown] = self.stored.marks[0]
        bare[self.kept] = codes
        return bare

    def _clear_of_marks(self, codes: np.ndarray) -> np.ndarray:
        """Numbers of floating point, the next one where one is a mark."""
        hit = np.isin(codes, self.stored.marks)
        if not hit.any() or codes.dtype.kind != "f":
            return codes
        return np.where(hit, np.nextafter(codes, codes.dtype.type(0)), codes)


def _drop_former(place: netCDF4.Dataset | netCDF4.Variable) -> None:
    for name in place.ncattrs():
        if FORMER.fullmatch(name):
            place.delncattr(name)


def _truthful(
    attributes: Mapping[Hashable, Any], former: Stored, new: Stored, values: np.ndarray
) -> dict[Hashable, Any]:
    """Attributes that hold of what will be stored: packing, limits that have all values within, nothing of former ones."""
    kept = {key: value for key, value in attributes.items() if not FORMER.fullmatch(str(key))}
    if new is not former:
        kept |= {"scale_factor": new.number.type(new.scale), "add_offset": new.number.type(new.offset)}
    if not values.size:
        return kept
    codes = np.sort(new.pack(np.array([values.min(), values.max()])))
    for name in LIMITS:
        if name not in kept:
            continue
        limits = np.atleast_1d(kept[name])
        of_numbers = new.is_packed and limits.dtype.kind == "f"
        ends = np.sort(codes * new.scale + new.offset) if of_numbers else codes
        if new is not former and not of_numbers:
            limits = np.sort(new.pack(limits * former.scale + former.offset)).astype(limits.dtype)
        wide = _outward(np.array([min(limits[0], ends[0]), max(limits[-1], ends[1])]), limits.dtype)
        kept[name] = {"valid_min": wide[0], "valid_max": wide[1], "valid_range": wide}[name]
    return kept


def _outward(ends: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Limits in the type of an attribute, no narrower by rounding."""
    cast = ends.astype(dtype)
    if dtype.kind != "f":
        return cast
    first = cast[0] if cast[0] <= ends[0] else np.nextafter(cast[0], dtype.type(-np.inf))
    last = cast[-1] if cast[-1] >= ends[-1] else np.nextafter(cast[-1], dtype.type(np.inf))
    return np.array([first, last])
