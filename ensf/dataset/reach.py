"""A localization to begin with, from the coordinates of a Dataset."""

from __future__ import annotations

import math

import numpy as np

from ensf.dataset.coordinates import find_coordinate
from ensf.dataset.layout import Layout
from ensf.localization import Euclidean, Localization, Sphere

__all__ = ["first_localization"]

LONGEST = 2000.0
"""Half-width on the sphere, km, at most."""
PART = 0.25
"""Half-width as a part of the longest side of the domain."""


def first_localization(layout: Layout) -> Localization:
    """Geometry and a first reach: a quarter of the domain's longest side, on the sphere 2000 km at most.

    It is meant for filters that narrow patches themselves where there is more information than their members can
    absorb (`ensf.InformationLimit`). Columns are not divided by height.

    Parameters
    ----------
    layout : Layout

    Raises
    ------
    ValueError
        If not all variables have latitude and longitude, x and y, or one coordinate of their own in common.
    """
    variables = list(layout.template.data_vars.values())
    for dims in (("latitude", "longitude"), ("x", "y"), ("x",)):
        coordinates = [[find_coordinate(variable, dim) for dim in dims] for variable in variables]
        if all(one is not None for several in coordinates for one in several):
            ranges = [
                (min(float(np.nanmin(one)) for one in along), max(float(np.nanmax(one)) for one in along))
                for along in zip(*coordinates, strict=True)
            ]
            if dims[0] == "latitude":
                return Localization(Sphere(), min(LONGEST, PART * _longest_side(*ranges)), dims)
            return Localization(Euclidean(), PART * max(high - low for low, high in ranges), dims)
    raise ValueError(
        "the variables have no coordinates (latitude, longitude) or (x, y) in common from which a localization could "
        "be made: name them with coordinates, or give a method such as "
        "LETKF(Localization(Euclidean(), 10.0, dims=('row', 'column')))"
    )


def _longest_side(latitude: tuple[float, float], longitude: tuple[float, float]) -> float:
    """Longest side of a box on the Earth in km; half the circumference at most."""
    degree = math.radians(1.0) * Sphere().radius
    nearest_to_equator = 0.0 if latitude[0] < 0 < latitude[1] else min(map(abs, latitude))
    across = min(longitude[1] - longitude[0], 180.0) * math.cos(math.radians(nearest_to_equator))
    return degree * max(latitude[1] - latitude[0], across)
