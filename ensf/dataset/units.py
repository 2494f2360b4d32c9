"""Units as UDUNITS knows them, the library of the CF conventions: ``degC``, ``m s-1``, ``1e-3``, ``degrees_north``.

value:  y = slope x + shift        degC to K: x + 273.15
error:  y = |slope| x              a standard deviation has no shift
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

__all__ = ["conversion", "in_units"]


def in_units(values: np.ndarray, units: str, wanted: str, difference: bool = False) -> np.ndarray:
    """Numbers in other units; the same array if either side states none, or both are the same.

    Parameters
    ----------
    values : array
    units, wanted : str
        Those of `values`, and those that they are to have; nothing if they are not stated.
    difference : bool
        The numbers are differences or standard deviations: without the shift between degC and K.

    Raises
    ------
    ValueError
        If the units differ, and are of other quantities, or not known to UDUNITS.
    """
    if not units.strip() or not wanted.strip():
        return values
    slope, shift = conversion(units.strip(), wanted.strip())
    if difference:
        return values if abs(slope) == 1.0 else values * abs(slope)
    return values if (slope, shift) == (1.0, 0.0) else values * slope + shift


@lru_cache(maxsize=1024)
def conversion(units: str, wanted: str) -> tuple[float, float]:
    """Slope and shift that take numbers from one unit to another.

    Raises
    ------
    ValueError
        If the units differ, and are of other quantities, or not known to UDUNITS.
    """
    if units == wanted:
        return 1.0, 0.0
    try:
        from cf_units import Unit
    except ImportError as error:
        raise ValueError(
            f"units {units!r} and {wanted!r} differ, and cf-units, which knows them, is not installed: install it, or "
            "give both in the same units"
        ) from error
    parsed = []
    for one in (units, wanted):
        try:
            parsed.append(Unit(one))
        except ValueError as error:
            raise ValueError(
                f"units {units!r} and {wanted!r} differ, and {one!r} is no unit of the CF conventions: give both in "
                "the same units"
            ) from error
    here, there = parsed
    if not here.is_convertible(there) or here.is_time_reference() or there.is_time_reference():
        raise ValueError(f"units {units!r} cannot be converted to {wanted!r}: they are of another quantity")
    shift = float(here.convert(0.0, there))
    slope = float(here.convert(1.0, there)) - shift
    middle = float(here.convert(0.5, there))
    if not np.isclose(middle, shift + 0.5 * slope, rtol=1e-9, atol=1e-9 * abs(slope)):
        raise ValueError(f"units {units!r} and {wanted!r} differ by more than a factor and a shift: convert the values")
    return (float(f"{slope:.13g}"), float(f"{shift:.13g}"))


def same_units(mine: object, its: object) -> bool:
    """Whether numbers in one unit are the same in the other; so they are if either side states none."""
    own, other = ("" if unit is None else str(unit).strip() for unit in (mine, its))
    try:
        return not own or not other or conversion(other, own) == (1.0, 0.0)
    except ValueError:
        return own.casefold() == other.casefold()
