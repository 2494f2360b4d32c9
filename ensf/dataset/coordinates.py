"""Where every state variable is.

A variable is at its coordinates, on its own grid: one-dimensional ones on a regular grid, two-dimensional ones on a
curvilinear grid. A coordinate is called by its name or its CF standard name; latitude and longitude are known by their
units as well.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ensf.dataset.layout import Layout

__all__ = ["find_coordinate", "positions"]

UNITS = {
    "latitude": ("degrees_north", "degree_north", "degrees_N", "degree_N", "degreesN", "degreeN"),
    "longitude": ("degrees_east", "degree_east", "degrees_E", "degree_E", "degreesE", "degreeE"),
}
SHORT = {"latitude": "lat", "longitude": "lon"}


def positions(
    layout: Layout,
    dims: Sequence[str] | Mapping[Hashable, Sequence[str]] = ("latitude", "longitude"),
    at: Mapping[str, float] | None = None,
) -> np.ndarray:
    """Position of every state variable, for `ensf.localization.Localization`.

    Parameters
    ----------
    layout : Layout
    dims : sequence of str, or mapping of str to sequence of str
        Coordinates that make a position, of one dimension or more each; degrees for a sphere. Each by its name, its
        CF standard name, or (latitude and longitude) found by its units. A mapping gives each variable its own, as on
        staggered grids.
    at : mapping of str to float, optional
        Where variables without that coordinate are: ``{"level": 1000.0}`` for a surface pressure beside fields on
        levels.

    Returns
    -------
    (state, dimension) array

    Raises
    ------
    ValueError
        If a variable has no such coordinate, or more than one.
    """
    blocks = []
    for name, variable in layout.template.data_vars.items():
        columns = [_column(variable, dim, at or {})[layout.kept(name)] for dim in _dims(name, dims)]
        blocks.append(np.stack(columns, axis=1))
    return np.concatenate(blocks).astype(np.float64)


def _dims(name: Hashable, dims: Any) -> Sequence[str]:
    if isinstance(dims, Mapping) and name not in dims:
        raise ValueError(f"dims= has no coordinates for variable {name!r}: give those of every variable")
    return dims[name] if isinstance(dims, Mapping) else dims


def _column(variable: xr.DataArray, name: str, at: Mapping[str, Any]) -> np.ndarray:
    """One coordinate at every grid point of the variable, flattened."""
    coordinate = find_coordinate(variable, name)
    if coordinate is None:
        if name not in at:
            where = f"at={{{name!r}: ...}}"
            raise ValueError(
                f"variable {variable.name!r} has no coordinate {name!r}: give dims=, or its place, {where}"
            )
        return np.full(variable.size, float(at[name]))
    return coordinate.broadcast_like(variable).transpose(*variable.dims).values.ravel()


def find_coordinate(variable: xr.DataArray, name: str) -> xr.DataArray | None:
    """The coordinate of a variable that is called `name`: by its name, else its standard name, else its units.

    Raises
    ------
    ValueError
        If several coordinates fit equally.
    """
    if name in variable.coords:
        return variable.coords[name]
    for fits in (
        [c for c in variable.coords.values() if c.attrs.get("standard_name") == name],
        [c for c in variable.coords.values() if c.attrs.get("units") in UNITS.get(name, ())],
        [c for c in variable.coords.values() if c.name == SHORT.get(name)],
    ):
        if len(fits) > 1:
            raise ValueError(
                f"variable {variable.name!r} has several coordinates of {name}, "
                f"{', '.join(repr(c.name) for c in fits)}: name one with dims="
            )
        if fits:
            return fits[0]
    return None
