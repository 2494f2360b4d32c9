"""A localization to begin with, from the coordinates of a Dataset."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ensf.dataset.coordinates import COLUMNS, find_coordinate
from ensf.dataset.layout import Layout
from ensf.localization import Euclidean, Localization, Periodic, Sphere

__all__ = ["first_localization"]

LONGEST = 2000.0
"""Half-width on the sphere, km, at most."""
PART = 0.25
"""Half-width as a part of the longest side of the domain."""
AXES = (("lat", "lon"), ("x", "y"), ("x",))
"""Columns of a table that make a position."""


def first_localization(layout: Layout) -> Localization:
    """Geometry and a first reach: a quarter of the domain's longest side, on the sphere 2000 km at most.

    A line of one coordinate, as a column of one vertical coordinate is, has distance along it. With periods of the
    layout the domain is a ring, a torus or a channel.

    It is meant for filters that narrow patches themselves where there is more information than their members can
    absorb (`ensf.InformationLimit`). Columns are not divided by height.

    Parameters
    ----------
    layout : Layout

    Raises
    ------
    ValueError
        If not all variables have latitude and longitude, x and y, x, or one dimension in common.
    """
    variables = list(layout.template.data_vars.values())
    for dims, periods in _choices(layout):
        coordinates = [[find_coordinate(variable, dim) for dim in dims] for variable in variables]
        if all(one is not None for several in coordinates for one in several):
            ranges = [
                (min(float(np.nanmin(one)) for one in along), max(float(np.nanmax(one)) for one in along))
                for along in zip(*coordinates, strict=True)
            ]
            if len(dims) == 2 and dims[0] == layout.coordinates.get("lat", COLUMNS["lat"]):
                return Localization(Sphere(), min(LONGEST, PART * _longest_side(*ranges)), dims)
            sides = [min(period, high - low) for period, (low, high) in zip(periods, ranges, strict=True)]
            wraps = min(periods) < math.inf
            return Localization(Periodic(periods) if wraps else Euclidean(), PART * max(sides), dims)
    raise ValueError(
        "the variables have no coordinates (latitude, longitude), (x, y) or x, and no one dimension, in common from "
        "which a localization could be made: name them with coordinates, or give a method such as "
        "LETKF(Localization(Euclidean(), 10.0, dims=('row', 'column')))"
    )


def _choices(layout: Layout) -> Iterator[tuple[tuple[str, ...], tuple[float, ...]]]:
    """Coordinates that may make a position, with their periods; at last those of the one dimension that all have."""
    for axes in AXES:
        dims = tuple(layout.coordinates.get(axis, COLUMNS.get(axis, axis)) for axis in axes)
        yield dims, tuple(layout.periods.get(axis, math.inf) for axis in axes)
    lines = [variable.squeeze().dims for variable in layout.template.data_vars.values()]
    if all(len(dims) == 1 for dims in lines):
        for dim in dict.fromkeys((*(str(dims[0]) for dims in lines), "vertical")):
            yield (dim,), (layout.periods.get(dim, math.inf),)


def _longest_side(latitude: tuple[float, float], longitude: tuple[float, float]) -> float:
    """Longest side of a box on the Earth in km; half the circumference at most."""
    degree = math.radians(1.0) * Sphere().radius
    nearest_to_equator = 0.0 if latitude[0] < 0 < latitude[1] else min(map(abs, latitude))
    across = min(longitude[1] - longitude[0], 180.0) * math.cos(math.radians(nearest_to_equator))
    return degree * max(latitude[1] - latitude[0], across)
