"""Which coordinate of a grid is latitude, longitude, x, y or height: by name, by attributes, or as the user says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ensf.dataset.coordinates import find_coordinate

__all__ = ["find"]

NAMES = {
    "lat": ("latitude", "lat"),
    "lon": ("longitude", "lon"),
    "x": ("x", "projection_x_coordinate"),
    "y": ("y", "projection_y_coordinate"),
}


def find(variable: Any, axis: str, given: Mapping[str, str]) -> Any:
    """Coordinate of a variable for the column `axis` of a table.

    Raises
    ------
    ValueError
        If there is none.
    """
    names = (given[axis],) if axis in given else NAMES[axis]
    found = (find_coordinate(variable, name) for name in names)
    coordinate = next((one for one in found if one is not None), None)
    if coordinate is None:
        raise ValueError(
            f"the grid of variable {variable.name!r} has no coordinate {names[0]!r} for the column {axis!r} of the "
            f"table: say which it is, coordinates={{{axis!r}: ...}}"
        )
    return coordinate
