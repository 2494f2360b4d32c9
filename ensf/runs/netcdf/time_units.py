"""Units of model time, and the number that a file has in their place."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ensf.twin.about import EPOCH

__all__ = ["CALENDAR", "TIME_UNITS"]

CALENDAR = "proleptic_gregorian"


def _days(year: float) -> float:
    """Days from the epoch to a time in calendar years: 2000.0 is the first of January."""
    whole = math.floor(year)
    start, end = (np.datetime64(whole + k - 1970, "Y").astype("datetime64[D]") for k in (0, 1))
    return float((start - np.datetime64(EPOCH[:10])).astype(int) + (year - whole) * (end - start).astype(int))


TIME_UNITS: dict[str, tuple[str, Callable[[float], float]]] = {
    "1": ("days", float),
    "seconds": ("seconds", float),
    "minutes": ("minutes", float),
    "hours": ("hours", float),
    "days": ("days", float),
    "years": ("days", _days),
}
"""By unit of model time: the unit in the file, and the number in that unit."""
