"""Values of a state as a file stores them: the same bits where nothing changed, nothing that the type cannot hold."""

from __future__ import annotations

from typing import Any

import netCDF4
import numpy as np
import xarray as xr

from ensf.dataset import Layout

__all__ = ["overwrite"]

ENCODING = ("dtype", "scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned")


def overwrite(file: netCDF4.Dataset, layout: Layout, state: np.ndarray, where: dict[str, Any]) -> None:
    """Replace the analysed variables in an open file; masked points keep what they have.

    Parameters
    ----------
    file : netCDF4.Dataset
        Open for writing.
    layout : Layout
    state : (state,) array
    where : mapping of str to int
        Place along dimensions that the layout does not have, such as that of the members.

    Raises
    ------
    ValueError
        If a value cannot be stored in the type of its variable.
    """
    for name, grid in layout.template.data_vars.items():
        variable = file[str(name)]
        variable.set_auto_maskandscale(False)
        place = tuple(where.get(dim, slice(None)) for dim in variable.dimensions)
        values = state[layout.block(name)]
        if variable.dtype.kind == "f" and name not in layout.masks and not _scaled(grid):
            stored = _cast(str(name), values, variable.dtype)
        else:
            stored = np.array(variable[place]).reshape(-1)
            kept = layout.kept(name)
            stored[kept] = _coded(str(name), values, stored[kept], grid)
        variable[place] = stored.reshape(grid.shape)


def _scaled(grid: xr.DataArray) -> bool:
    return any(key in grid.encoding for key in ("scale_factor", "add_offset"))


def _cast(name: str, values: np.ndarray, dtype: Any) -> np.ndarray:
    with np.errstate(over="ignore"):
        cast = values.astype(dtype)
    if not np.isfinite(cast).all():
        raise ValueError(f"the analysis of variable {name!r} is beyond the numbers of type {dtype}: check its prior")
    return cast


def _coded(name: str, values: np.ndarray, stored: np.ndarray, grid: xr.DataArray) -> np.ndarray:
    """What to store: the old numbers where the value is the old one, else the new value packed."""
    encoding = {key: grid.encoding[key] for key in ENCODING if key in grid.encoding}
    coded = stored.copy()
    changed = _decoded(stored, encoding) != values
    packed = xr.Variable(("entry",), values[changed].astype(np.float64), {}, encoding)
    with np.errstate(all="ignore"):
        coded[changed] = xr.conventions.encode_cf_variable(packed, name=name).values
        error = np.abs(_decoded(coded, encoding).astype(np.float64) - values)
    tolerance = _tolerance(encoding, stored.dtype, values)
    if not np.all(error <= tolerance):
        worst = float(values[np.argmax(~(error <= tolerance))])
        raise ValueError(
            f"the analysis of variable {name!r} has the value {worst:.6g}, which its packing as {stored.dtype} cannot "
            "hold: pack the forecast with a wider range"
        )
    return coded


def _decoded(stored: np.ndarray, encoding: dict[str, Any]) -> np.ndarray:
    attributes = {key: value for key, value in encoding.items() if key != "dtype"}
    return xr.conventions.decode_cf_variable("packed", xr.Variable(("entry",), stored, attributes)).values


def _tolerance(encoding: dict[str, Any], dtype: Any, values: np.ndarray) -> Any:
    """Half of a step of packed integers, and rounding."""
    step = abs(float(encoding.get("scale_factor", 1.0))) if dtype.kind in "iu" else 0.0
    rounding = 4 * np.finfo(np.float32).eps * (np.abs(values) + abs(float(encoding.get("add_offset", 0.0))))
    return 0.5001 * step + rounding
