"""How high a row is, in the vertical coordinate of a grid: depth, height and pressure are turned into it.

grid's axis         from the column
depth (down)        depth in m, or minus the height
height (up)         height in m, or minus the depth
pressure            pressure in Pa
others              z alone, which is as the grid has it and comes before the other columns everywhere
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import xarray as xr

from ensf.dataset.coordinates import CRITERIA
from ensf.dataset.units import conversion

__all__ = ["SI", "advice", "factor", "heights", "is_time", "is_vertical", "kind", "surface_level"]

SI = {"depth": "m", "height": "m", "pressure": "Pa"}
"""Columns beside `z` that say how high, and their units in a table."""
DOWN, UP = ("depth",), ("height", "altitude", "geopotential_height")
PRESSURES = ("air_pressure", "sea_water_pressure")


@lru_cache(maxsize=256)
def factor(units: str, target: str) -> float | None:
    """By what numbers in `units` are multiplied to be in `target`; None if these are no such units."""
    try:
        return conversion({"mb": "hPa"}.get(units, units), target)[0]
    except ValueError:
        return None


def is_time(coordinate: xr.DataArray) -> bool:
    """Whether a coordinate counts time, as dates or as a duration."""
    about = coordinate.attrs
    units = str(coordinate.attrs.get("units", ""))
    named = str(about.get("standard_name", "")) in ("time", "forecast_period", "forecast_reference_time")
    dates = coordinate.dtype.kind in "mMO" or " since " in units or about.get("axis") == "T"
    return dates or named or str(coordinate.name).lower() in ("time", "valid_time") or factor(units, "s") is not None


def is_vertical(coordinate: xr.DataArray) -> bool:
    """Whether a coordinate says that it is a vertical one, by its name, attributes or units."""
    about = coordinate.attrs
    criterion = CRITERIA["vertical"]
    if is_time(coordinate):
        return False
    name, standard_name = str(coordinate.name), str(about.get("standard_name", ""))
    return (
        "positive" in about
        or about.get("axis") == "Z"
        or name in ("vertical", *criterion.names)
        or standard_name in (*criterion.standard_names, *PRESSURES)
        or standard_name.startswith(("atmosphere_", "ocean_"))
        or bool(kind(coordinate))
    )


def kind(coordinate: xr.DataArray) -> str:
    """The column that a vertical coordinate takes, ``depth``, ``height`` or ``pressure``; empty if that is not said."""
    units = str(coordinate.attrs.get("units", ""))
    if factor(units, "Pa") is not None:
        return "pressure"
    name, standard_name = str(coordinate.name).lower(), str(coordinate.attrs.get("standard_name", ""))
    words = (standard_name, name)
    said = any(word.startswith(DOWN) or word.endswith("depth") for word in words), any(word in UP for word in words)
    if factor(units, "m") is None if units else not any(said):
        return ""
    positive = str(coordinate.attrs.get("positive", "")).lower()
    if positive in ("down", "up"):
        return "depth" if positive == "down" else "height"
    if said[0]:
        return "depth" if not _below_zero(coordinate) else "height"
    return "height" if said[1] else ""


def _below_zero(coordinate: xr.DataArray) -> bool:
    """Whether all values are negative, or zero: what a depth that is counted upwards has."""
    return bool(np.nanmax(coordinate.values) <= 0 and np.nanmin(coordinate.values) < 0)


def heights(coordinate: xr.DataArray, z: np.ndarray, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Each row in a vertical coordinate, ``(row,)``; NaN where no column tells.

    Parameters
    ----------
    coordinate : xarray.DataArray
    z : (row,) array
    columns : mapping of str to (row,) array
        Those of `SI` that the table has, in its units.
    """
    axis, height = kind(coordinate), z
    if axis == "pressure" and "pressure" in columns:
        height = np.where(np.isnan(height), columns["pressure"] * _per_unit(coordinate, "Pa"), height)
    if axis in ("depth", "height"):
        for name in (axis, "height" if axis == "depth" else "depth"):
            if name in columns:
                upright = (1.0 if name == axis else -1.0) * _per_unit(coordinate, "m")
                height = np.where(np.isnan(height), upright * columns[name], height)
    return height


def advice(coordinate: xr.DataArray, columns: Mapping[str, np.ndarray]) -> str:
    """What to do where a table has no height for a vertical coordinate."""
    axis = kind(coordinate)
    others = [name for name, column in columns.items() if not np.isnan(column).all()]
    what = f"are a {axis}" if axis else "say neither units nor direction (attributes units, positive)"
    columns_of = "depth or height, or " if axis in ("depth", "height") else f"{axis}, or " if axis else ""
    give = f"give {columns_of}z as the grid has it"
    if not others:
        return (
            f"its rows have no z and no {axis or 'height'} along {coordinate.name!r}: {give}, or declare it a surface "
            "one, which sees the level there"
        )
    return f"its rows have the column {others[0]}, but its levels, {coordinate.name!r}, {what}: {give}"


def _per_unit(coordinate: xr.DataArray, si: str) -> float:
    units = str(coordinate.attrs.get("units", ""))
    return (factor(si, units) or 1.0) if units else 1.0


def surface_level(variable: str, coordinate: xr.DataArray, levels: np.ndarray) -> np.ndarray:
    """The level nearest to the surface: the uppermost of an ocean or a soil, the lowest of an atmosphere.

    Parameters
    ----------
    variable : str
        For messages.
    coordinate : xarray.DataArray
        The vertical coordinate.
    levels : (..., level) array
        Its values.

    Raises
    ------
    ValueError
        If the coordinate does not say which that is.
    """
    about = coordinate.attrs
    standard_name, positive = str(about.get("standard_name", "")), str(about.get("positive", "")).lower()
    axis = kind(coordinate)
    ends = (np.argmin(levels, axis=-1), np.argmax(levels, axis=-1))
    if axis == "depth":
        return ends[0]
    if axis == "height":
        return ends[int(_below_zero(coordinate))]
    if axis == "pressure":
        return ends[int(standard_name != "sea_water_pressure" and about.get("units") not in ("dbar", "decibar"))]
    if positive in ("up", "down") and standard_name.startswith(("atmosphere_", "ocean_")):
        return ends[int(standard_name.startswith("ocean_") == (positive == "up"))]
    raise ValueError(
        f"the vertical coordinate {coordinate.name!r} of variable {variable!r} does not say which level is nearest to "
        "the surface: give it the attributes units and positive, or the table the column z"
    )
