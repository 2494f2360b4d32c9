"""Member files: whether what a program left can be analysed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from ensf.dataset.netcdf import reading
from ensf.dataset.stored import Stored

__all__ = ["check_member"]


def check_member(path: Path, variables: Sequence[str] = ()) -> None:
    """Raise ValueError if a member file cannot be read, lacks a variable, or has a value that is not finite."""
    try:
        with reading(path) as file:
            chosen = _chosen(file, variables)
            bad = [name for name in chosen if not np.isfinite(_numbers(file[name])).all()]
    except KeyError as error:
        raise ValueError(f"{path} is not a NetCDF file, or damaged ({error})") from error
    if bad or not chosen:
        raise ValueError(f"variable {bad[0]!r} is not finite" if bad else "it has no variable of floating point")


def _chosen(file: xr.Dataset, variables: Sequence[str]) -> list[str]:
    stored = {name: Stored.of(file[name].dtype, file[name].attrs) for name in variables or file.data_vars}
    return [str(name) for name, how in stored.items() if how.number.kind == "f"]


def _numbers(variable: xr.DataArray) -> np.ndarray:
    return Stored.of(variable.dtype, variable.attrs).numbers(variable.values)
