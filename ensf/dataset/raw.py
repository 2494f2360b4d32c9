"""Variables of a file or a Zarr store as they are stored, read and written in pieces."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import netCDF4
import numpy as np

from ensf.dataset.netcdf import DAMAGED, opened, readable, reading
from ensf.dataset.stores import check_there, is_store

__all__ = ["Raw", "RawFile", "finish", "raw"]

Place = tuple[int | slice, ...]

Key = TypeVar("Key")


class Raw(Protocol):
    """A variable; its numbers are as they are stored."""

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of its dimensions."""

    @property
    def dtype(self) -> np.dtype:
        """Of the numbers that are stored."""

    @property
    def attributes(self) -> dict[Hashable, object]:
        """All of them, marks of missing values included."""

    @property
    def chunks(self) -> Mapping[str, int]:
        """Length along each dimension of what is stored in one piece; empty if it is all."""

    def __getitem__(self, place: Place) -> np.ndarray:
        """Numbers at a place."""

    def __setitem__(self, place: Place, numbers: np.ndarray) -> None:
        """Overwrite numbers at a place."""

    def change(self, attributes: Mapping[Hashable, object]) -> None:
        """Let these be its attributes; those that mark missing values do not change."""


class RawFile(Protocol):
    """A file, or a store."""

    def __getitem__(self, name: str) -> Raw:
        """A variable."""

    @property
    def attributes(self) -> dict[str, object]:
        """Of the file."""

    def change(self, attributes: Mapping[str, object]) -> None:
        """Let these be its attributes."""


@contextmanager
def raw(path: Path, mode: Literal["r", "r+"] = "r") -> Iterator[RawFile]:
    """An open file or store.

    Raises
    ------
    OSError, ValueError
        If it cannot be read.
    """
    check_there(path)
    if is_store(path):
        yield _ZarrFile(path, mode)
        return
    if mode == "r+":
        with opened(path, mode) as file:
            yield _NetcdfFile(file)
        return
    with readable(path, OSError, *DAMAGED), opened(path, mode) as file:
        yield _NetcdfFile(file)


def finish(path: Path) -> None:
    """What a store keeps beside its variables, of all of them: renewed, if it does."""
    if not is_store(path) or not (path / "zarr.json").is_file():
        return
    import zarr

    if zarr.open_group(path, mode="r").metadata.consolidated_metadata is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(path)


# --- NetCDF ------------------------------------------------------------------------------------------------


class _NetcdfFile:
    def __init__(self, file: netCDF4.Dataset) -> None:
        self.file = file

    def __getitem__(self, name: str) -> Raw:
        return _NetcdfVariable(self.file[name])

    @property
    def attributes(self) -> dict[str, object]:
        return {key: self.file.getncattr(key) for key in self.file.ncattrs()}

    def change(self, attributes: Mapping[str, object]) -> None:
        _change(self.file, self.attributes, attributes)


class _NetcdfVariable:
    def __init__(self, variable: netCDF4.Variable) -> None:
        variable.set_auto_maskandscale(False)
        self.variable = variable

    @property
    def dims(self) -> tuple[str, ...]:
        return self.variable.dimensions

    @property
    def dtype(self) -> np.dtype:
        return self.variable.dtype

    @property
    def attributes(self) -> dict[Hashable, object]:
        return {key: self.variable.getncattr(key) for key in self.variable.ncattrs()}

    @property
    def chunks(self) -> Mapping[str, int]:
        chunks = self.variable.chunking()
        return {} if not isinstance(chunks, list) else dict(zip(self.dims, chunks, strict=True))

    def __getitem__(self, place: Place) -> np.ndarray:
        return np.asarray(self.variable[place])

    def __setitem__(self, place: Place, numbers: np.ndarray) -> None:
        self.variable[place] = numbers

    def change(self, attributes: Mapping[Hashable, object]) -> None:
        _change(self.variable, self.attributes, attributes)


def _change(owner: Any, former: Mapping[Key, object], new: Mapping[Key, object]) -> None:
    for dropped in [key for key in former if key not in new]:
        owner.delncattr(dropped)
    owner.setncatts({key: value for key, value in new.items() if key not in former or not _same(value, former[key])})


def _same(one: object, other: object) -> bool:
    """Whether two attributes are the same, NaN and type included."""
    mine, its = np.asarray(one), np.asarray(other)
    return mine.dtype == its.dtype and mine.shape == its.shape and mine.tobytes() == its.tobytes()


# --- Zarr --------------------------------------------------------------------------------------------------


class _ZarrFile:
    def __init__(self, path: Path, mode: Literal["r", "r+"]) -> None:
        import zarr

        self.path, self.group = path, zarr.open_group(path, mode=mode, use_consolidated=False)

    def __getitem__(self, name: str) -> Raw:
        return _ZarrVariable(self.path, self.group[name], name)

    @property
    def attributes(self) -> dict[str, object]:
        return dict(self.group.attrs)

    def change(self, attributes: Mapping[str, object]) -> None:
        self.group.attrs.put({key: _plain(value) for key, value in attributes.items()})


class _ZarrVariable:
    def __init__(self, path: Path, array: Any, name: str) -> None:
        self.path, self.array, self.name = path, array, name

    @property
    def dims(self) -> tuple[str, ...]:
        if not self.array.shape:
            return ()
        names = getattr(self.array.metadata, "dimension_names", None) or self.array.attrs["_ARRAY_DIMENSIONS"]
        return tuple(map(str, names))

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    @property
    def attributes(self) -> dict[Hashable, object]:
        with reading(self.path) as dataset:
            return dict(dataset.variables[self.name].attrs)

    @property
    def chunks(self) -> Mapping[str, int]:
        return dict(zip(self.dims, getattr(self.array, "shards", None) or self.array.chunks, strict=True))

    def __getitem__(self, place: Place) -> np.ndarray:
        with readable(self.path, Exception):  # what the codecs raise for a damaged piece has no end
            return np.asarray(self.array[place])

    def __setitem__(self, place: Place, numbers: np.ndarray) -> None:
        self.array[place] = numbers

    def change(self, attributes: Mapping[Hashable, object]) -> None:
        former = self.attributes
        stored = {key: value for key, value in self.array.attrs.items() if key in attributes or key not in former}
        new = {key: value for key, value in attributes.items() if key not in former or not _same(value, former[key])}
        self.array.attrs.put(stored | {str(key): _plain(value) for key, value in new.items()})


def _plain(value: object) -> Any:
    """As JSON has it."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
