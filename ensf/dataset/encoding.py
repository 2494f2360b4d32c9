"""What a variable keeps for the file that it will be written to, and what of that is true of other values.

A variable packed in integers holds ``scale_factor * (smallest ... largest integer) + add_offset`` and no more. Where
that is too little for an analysis, it is packed otherwise; limits of what is valid are widened; attributes that are of
the former values, such as checksums, are dropped; and no value equals a mark of missing ones.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from ensf.dataset.stored import LIMITS, Stored, storage

__all__ = ["FORMER", "of_one_state", "truthful", "truthful_attributes"]

SHAPED = ("chunksizes", "preferred_chunks", "original_shape")
PACKED = ("scale_factor", "add_offset", "_Unsigned", "_FillValue", "missing_value")
FORMER = re.compile(
    r".*(checksum|md5|sha_?\d|crc|adler|fletcher|xxhash|digest).*|actual_(range|min|max)|data_(min|max)", re.IGNORECASE
)
"""Attributes that are of the values, and untrue of others."""


def of_one_state(encoding: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
    """Encoding of a variable without the member dimension."""
    return {key: value for key, value in encoding.items() if key not in SHAPED}


def truthful(
    name: Hashable, variable: xr.Variable, values: np.ndarray
) -> tuple[dict[Hashable, Any], dict[Hashable, Any]]:
    """Attributes and encoding of a decoded variable that are true of new values.

    A line is logged if it is packed otherwise.

    Parameters
    ----------
    name : str
    variable : xarray.Variable
        With the former values.
    values : (member, entry) array
        The new ones, without what is missing.
    """
    encoding = dict(variable.encoding)
    stored = storage(variable)
    packed = stored.holding(values)
    if packed is not stored:
        logging.getLogger("ensf").warning(
            "the packing of %r in its encoding cannot hold the analysis: it is renewed", name
        )
    how = {key: value for key, value in encoding.items() if key in PACKED}
    attributes = truthful_attributes({**variable.attrs, **how}, stored, packed, values)
    encoding |= {key: attributes.pop(key) for key in PACKED if key in attributes}
    if {"_FillValue", "missing_value"} <= set(encoding) and not _same(
        encoding["_FillValue"], encoding["missing_value"]
    ):
        del encoding["missing_value"]  # every missing value is NaN by now, and xarray writes one mark
    return attributes, encoding


def _same(fill: Any, missing: Any) -> bool:
    return np.size(missing) == 1 and bool(np.all((np.asarray(fill) == missing) | (fill != fill) & (missing != missing)))


def truthful_attributes(
    attributes: Mapping[Hashable, Any], former: Stored, new: Stored, values: np.ndarray
) -> dict[Hashable, Any]:
    """Attributes that hold of what will be stored: packing, limits that have all values within, nothing of former ones.

    Parameters
    ----------
    attributes : mapping
        Of the variable in the file.
    former, new : Stored
        As the variable is packed, and as it will be.
    values : array
        All that will be stored, NaN where one is missing.
    """
    kept = {key: value for key, value in attributes.items() if not FORMER.fullmatch(str(key))}
    if new is not former:
        kept |= {"scale_factor": new.number.type(new.scale), "add_offset": new.number.type(new.offset)}
    if not np.isfinite(values).any():
        return kept
    codes = np.sort(new.pack(np.array([np.nanmin(values), np.nanmax(values)])))
    for name in LIMITS:
        if name not in kept:
            continue
        limits = np.atleast_1d(kept[name])
        if bits := new.dtype.kind == "u" and limits.dtype == np.dtype(f"i{new.dtype.itemsize}"):
            limits = limits.view(new.dtype)
        of_numbers = new.is_packed and limits.dtype.kind == "f"
        ends = np.sort(codes * new.scale + new.offset) if of_numbers else codes
        if new is not former and not of_numbers:
            limits = np.sort(new.pack(limits * former.scale + former.offset)).astype(limits.dtype)
        wide = _outward(np.array([min(limits[0], ends[0]), max(limits[-1], ends[1])]), limits.dtype)
        wide = wide.view(f"i{new.dtype.itemsize}") if bits else wide
        kept[name] = {"valid_min": wide[0], "valid_max": wide[1], "valid_range": wide}[name]
    return kept


def _outward(ends: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Limits in the type of an attribute, no narrower by rounding."""
    cast = ends.astype(dtype)
    if dtype.kind != "f":
        return cast
    first = cast[0] if cast[0] <= ends[0] else np.nextafter(cast[0], dtype.type(-np.inf))
    last = cast[-1] if cast[-1] >= ends[-1] else np.nextafter(cast[-1], dtype.type(np.inf))
    return np.array([first, last])
