"""Whether a variable of one file is that of another, as far as an analysis asks: its unit, and where it is."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr

from ensf.dataset.coordinates import CRITERIA
from ensf.dataset.units import in_units, same_units

__all__ = ["is_bounds", "is_place", "other_place", "sizes_of"]

NEAR = 1e-5
"""Part of the spacing of a grid by which the places of its points may differ."""
ROUNDING = 2.0
"""Steps of the numbers of floating point that are stored by which these may differ."""
BOUNDS = ("_bnds", "_bounds")


def is_bounds(name: Hashable, file: xr.Dataset) -> bool:
    """Whether a variable is of the edges of cells of another one, as it is called: ``time_bnds``."""
    return any(str(name).removesuffix(end) in file.variables for end in BOUNDS if str(name).endswith(end))


def is_place(coordinate: xr.DataArray, variable: xr.DataArray) -> bool:
    """Whether a coordinate of a variable, which is no time, says where it is.

    One number beside a variable, such as that of the member, of an iteration or the length of the forecast, does not,
    unless it is known for a latitude, longitude or vertical coordinate.
    """
    attributes = coordinate.attrs
    if attributes.get("standard_name") == "realization":
        return False
    return (
        coordinate.size > 1
        or coordinate.name in variable.dims
        or "positive" in attributes
        or any(
            attributes.get("standard_name") in criterion.standard_names
            or attributes.get("units") in criterion.units
            or attributes.get("axis") == criterion.axis != ""
            or coordinate.name in (name, *criterion.names)
            for name, criterion in CRITERIA.items()
            if name != "time"
        )
    )


def other_place(its: xr.Variable, mine: xr.Variable) -> str:
    """Where a coordinate is not that of another file, in words; nothing if it is, up to rounding.

    Parameters
    ----------
    its, mine : xarray.Variable
        Numbers as `ensf.dataset.stored.decoded` makes them, or text.
    """
    if (its.dims, its.shape) != (mine.dims, mine.shape):
        return f"is {sizes_of(its)}, not {sizes_of(mine)}"
    if its.dtype.kind not in "fiu" or mine.dtype.kind not in "fiu":
        return "" if np.array_equal(its.values, mine.values) else "has other values"
    units, wanted = (str(one.attrs.get("units", "")) for one in (its, mine))
    own, other = mine.values.astype(np.float64), its.values.astype(np.float64)
    try:
        other = in_units(other, units, wanted)
    except ValueError:
        if not same_units(units, wanted):
            return f"has units {units}, not {wanted}"
    steps = max(float(np.finfo(one.dtype).eps) if one.dtype.kind == "f" else 0.0 for one in (mine, its))
    tolerance = np.maximum(NEAR * _spacing(own), ROUNDING * steps * np.abs(own))
    differs = ~((np.abs(own - other) <= tolerance) | np.isnan(own) & np.isnan(other) | (own == other))
    if not differs.any():
        return ""
    place = np.unravel_index(int(np.argmax(differs)), own.shape)
    where = ", ".join(f"{dim} {number}" for dim, number in zip(mine.dims, place, strict=True))
    return f"is {other[place]:.9g}{where and f' at {where}'}, not {own[place]:.9g}"


def sizes_of(variable: xr.DataArray | xr.Variable) -> str:
    """Dimensions in words."""
    return " x ".join(f"{dim} {size}" for dim, size in variable.sizes.items()) or "one value"


def _spacing(values: np.ndarray) -> float:
    """Distance of the points of a grid along the dimension in which a coordinate changes most; that from 0 of one."""
    gaps = [np.abs(np.diff(values, axis=axis)) for axis in range(values.ndim)]
    apart = [gap[gap > 0.0] for gap in gaps]
    return max((float(np.median(gap)) for gap in apart if gap.size), default=float(np.abs(values).max(initial=0.0)))
