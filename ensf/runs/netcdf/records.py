"""How records lie in a NetCDF file and in its journal: chunks, compression, layout; and errors of the disk."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np

from ensf.dataset.netcdf import LOCK, opened, start
from ensf.runs.files import resolved
from ensf.runs.netcdf.variables import Row

__all__ = ["SMALL", "TIME", "choose", "create", "disk", "fill", "layout", "numbers", "used", "variable"]

SMALL = 16384
"""Fields below this number of bytes share a chunk of about this size."""
TIME = "model time"
"""Name of the model time in a record of the journal; the file has dates."""


@contextmanager
def disk(failure: str) -> Iterator[None]:
    """The NetCDF library for this thread alone; its errors as OSError."""
    try:
        with LOCK:
            yield
    except RuntimeError as error:
        raise OSError(f"{failure} ({error}): is the disk full?") from error


def create(path: Path, overwrite: bool) -> netCDF4.Dataset:
    """New file; OSError with one clear sentence if there cannot be one."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}: make it, or write elsewhere")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists: write elsewhere, or say overwrite to replace it")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise PermissionError(f"{path} cannot be written: write elsewhere, or change its permissions")
    try:
        resolved(path).unlink(missing_ok=True)  # HDF5 keeps a damaged file open that it could not read
        return start(path, "w", clobber=overwrite)
    except OSError as error:
        raise OSError(f"{path} cannot be created ({error}): write elsewhere") from error


# --- records ---------------------------------------------------------------------------------------------


def layout(template: bytes) -> np.dtype:
    """A record of the journal: the model time, one entry of every variable along time, the members last."""
    with opened("template", memory=template) as file:
        variables = [variable for variable in file.variables.values() if variable.dimensions[0] == "time"]
        variables.sort(key=_has_members)
        entries = [(v.name, v.dtype, v.shape[1:]) for v in variables]
        return np.dtype([(TIME, "f8"), *entries])


def _has_members(variable: netCDF4.Variable) -> bool:
    return "realization" in variable.dimensions


def used(layout: np.dtype, names: Iterable[str]) -> int:
    """Bytes of a record up to the last of these entries."""
    entries: Mapping[str, Any] = layout.fields or {}
    return max(entries[name][1] + entries[name][0].itemsize for name in names)


def numbers(layout: np.dtype) -> list[str]:
    """Names of the scores: what is one number per record and no time."""
    return [name for name in layout.names or () if not layout[name].shape and name not in (TIME, "time")]


def fill(path: Path, template: bytes, records: np.ndarray, every: int) -> netCDF4.Dataset:
    """A file of these records, open; members are taken from every so many only."""
    path.write_bytes(template)
    file = start(path, "r+")
    for name in (records.dtype.names or ())[1:] if len(records) else ():
        variable = file[name]
        variable.set_auto_maskandscale(False)
        some = range(0, len(records), every) if _has_members(variable) else ()
        for span in [slice(k, k + 1) for k in some] if some else [slice(0, len(records))]:
            variable[span] = records[name][span]
    return file


# --- variables -------------------------------------------------------------------------------------------


def variable(file: netCDF4.Dataset, row: Row, shape: tuple[int, ...], shared: bool) -> netCDF4.Variable:
    """Variable of a row, created if it is not there; records that are small share chunks, if they may."""
    options = choose(row, shape, shared)
    if row.name in file.variables:
        made = file[row.name]
        if "chunk_cache" in options:
            made.set_var_chunk_cache(size=options["chunk_cache"])
    else:
        number = row.dtype.startswith("f") and row.name != "time"
        dims = ("time", *row.dims)
        empty = np.nan if number else False
        made = file.createVariable(row.name, row.dtype, dims, fill_value=empty, **options)
        made.setncatts(row.attributes)
    made.set_auto_maskandscale(False)
    return made


def choose(row: Row, shape: tuple[int, ...], shared: bool) -> dict[str, Any]:
    """Chunks and compression."""
    size = max(1, math.prod(shape)) * np.dtype(row.dtype).itemsize
    if size < SMALL and shared:
        return {"chunksizes": (min(512, SMALL // size), *shape)}
    if size >= SMALL and row.dims[0] == "realization":
        shape = (1, *shape[1:])
    return {"chunksizes": (1, *shape), "zlib": True, "complevel": 1, "shuffle": True, "chunk_cache": 0}
