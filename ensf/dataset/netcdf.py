"""The one door to NetCDF files: nobody else in the package opens any.

The NetCDF and HDF5 libraries work for one thread at a time, whatever files the threads have; two at once end the
process with a segmentation fault. Whoever holds `LOCK` is the one. `opened` and `reading` hold it as long as a NetCDF
file is open; `lazy` gives a Dataset that takes it whenever it reads. What is open longer, as the file of a run, is
used with the lock: ``with LOCK: variable[:] = values``.
"""

from __future__ import annotations

import importlib.util
import threading
import warnings
import zlib
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import netCDF4
import xarray as xr

from ensf.dataset.stores import is_store

__all__ = ["DAMAGED", "LOCK", "lazy", "readable", "opened", "reading", "save", "start"]

LOCK = threading.RLock()
"""Held by the one thread of the process that may call the NetCDF library."""

DAMAGED = (AttributeError, IndexError, KeyError, OverflowError, RuntimeError, TypeError)
"""What the libraries raise for a damaged file, besides OSError and ValueError."""

Mode = Literal["r", "w", "x", "a", "r+"]


def start(path: str | Path, mode: Mode = "r", **options: Any) -> netCDF4.Dataset:
    """A file that stays open until its `close`; whatever is done to it is done while `LOCK` is held.

    Parameters
    ----------
    path : str or Path
    mode : str
    **options
        Of `netCDF4.Dataset`.

    Raises
    ------
    OSError
        If it cannot be opened.
    """
    with LOCK:
        return netCDF4.Dataset(path, mode, **options)


@contextmanager
def opened(path: str | Path, mode: Mode = "r", **options: Any) -> Iterator[netCDF4.Dataset]:
    """An open file, for this thread alone; parameters and errors are those of `start`."""
    with LOCK, netCDF4.Dataset(path, mode, **options) as file:
        yield file


@contextmanager
def reading(path: str | Path, group: str | None = None) -> Iterator[xr.Dataset]:
    """A file, or one group of it, as it is stored: nothing is unpacked, nothing is a time; a NetCDF file
    is for this thread alone.

    Values are read when they are needed; what is to outlive the file is loaded. `ensf.dataset.stored.decoded` makes
    numbers of it.

    Raises
    ------
    ValueError
        If it is neither a NetCDF file nor a Zarr store, or damaged: now, or when a value is read.
    ImportError
        If it is a Zarr store and zarr is not installed.
    """
    if is_store(Path(path)):
        if importlib.util.find_spec("zarr") is None:
            raise ImportError(f'{path} is a Zarr store, which needs zarr: pip install "ensf[zarr]"')
        with readable(path, Exception):
            store = _open_store(Path(path), group)
        with store, readable(path, OSError, RuntimeError, TypeError, MemoryError, OverflowError, zlib.error):
            yield store
        return
    with LOCK:
        with readable(path, Exception):  # what the libraries raise for a damaged file has no end
            dataset = _open(path, group, mask_and_scale=False, decode_coords="all", cache=False)
        with dataset, readable(path, OSError, RuntimeError, TypeError, MemoryError, OverflowError):
            yield dataset


def _open_store(path: Path, group: str | None) -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return xr.open_dataset(
            path,
            engine="zarr",
            group=group,
            consolidated=False,
            mask_and_scale=False,
            decode_times=False,
            decode_coords="all",
            cache=False,
        )


def lazy(path: str | Path) -> xr.Dataset:
    """A file of this package, unpacked, times as numbers; values are read when they are needed, by any thread.

    Use it in a ``with`` statement, or close it.

    Raises
    ------
    OSError, ValueError
        If it cannot be read.
    """
    with LOCK, readable(path, *DAMAGED):
        return _open(path, None)


def save(dataset: xr.Dataset, path: str | Path, encoding: Mapping[Hashable, Any] | None = None) -> None:
    """Write a Dataset as NetCDF-4.

    Parameters
    ----------
    dataset : xarray.Dataset
    path : str or Path
    encoding : mapping of str to mapping, optional
        As in `xarray.Dataset.to_netcdf`.
    """
    with LOCK:
        dataset.to_netcdf(path, engine="netcdf4", encoding=encoding)


def _open(path: str | Path, group: str | None, **options: Any) -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xr.SerializationWarning)
        return xr.open_dataset(path, engine="netcdf4", group=group, decode_times=False, lock=LOCK, **options)


@contextmanager
def readable(path: str | Path, *errors: type[Exception]) -> Iterator[None]:
    """Within, whatever the libraries say of a damaged file becomes one sentence."""
    try:
        yield
    except errors as error:
        reason = " ".join(str(error).split())[:200]
        kind = "Zarr store" if is_store(Path(path)) else "NetCDF file"
        raise ValueError(f"{path} is not a {kind}, or damaged ({reason}): make it again") from error
