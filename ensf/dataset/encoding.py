"""What a variable keeps for the file that it will be written to.

A variable packed in integers holds ``scale_factor * (smallest ... largest integer) + add_offset`` and no more.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["check_range", "of_one_state"]

SHAPED = ("chunksizes", "preferred_chunks", "original_shape")
PACKING = {"scale_factor": 1.0, "add_offset": 0.0}


def of_one_state(encoding: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
    """Encoding of a variable without the member dimension."""
    return {key: value for key, value in encoding.items() if key not in SHAPED}


def check_range(name: Hashable, variable: xr.Variable) -> None:
    """Log a warning if values are beyond what the encoding can hold, and would be wrong in a file."""
    dtype = np.dtype(variable.encoding.get("dtype", float))
    if dtype.kind not in "iu":
        return
    scale, offset = (float(variable.encoding.get(key, default)) for key, default in PACKING.items())
    low, high = sorted(scale * limit + offset for limit in (np.iinfo(dtype).min, np.iinfo(dtype).max))
    smallest, largest = float(np.nanmin(variable.values)), float(np.nanmax(variable.values))
    if smallest < low or largest > high:
        logging.getLogger("ensf").warning(
            "the analysis of %r is from %.6g to %.6g, but its encoding as %s holds %.6g to %.6g: "
            "change its encoding before it is written",
            *(name, smallest, largest, dtype, low, high),
        )
