"""Numbers as a file stores them: which are missing, and their way into floating point and back.

One class decides for members, tables, coordinates, and what a model leaves. An entry is missing if it is

- NaN, or masked;
- `_FillValue`, or one of `missing_value`, which may be a vector;
- the default fill of its type, which the NetCDF library writes where nothing was ever written: for numbers of floating
  point always, for integers where no `_FillValue` replaces it, for bytes never, of which all values are in use;
- outside `valid_min`, `valid_max` or `valid_range`;
- what JEDI writes for missing numbers of floating point, with or without an attribute.

Marks and limits are compared with the number that is stored, before it is unpacked as
``scale_factor * stored + add_offset``. Limits of floating point beside packed integers are of the unpacked number, as
the NetCDF Users Guide says.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import netCDF4
import numpy as np
import xarray as xr

__all__ = ["JEDI_INTEGERS", "LIMITS", "Stored", "decoded", "storage", "without_marks"]

MARKS = ("_FillValue", "missing_value")
PACKING = ("scale_factor", "add_offset", "_Unsigned")
LIMITS = ("valid_min", "valid_max", "valid_range")

SINGLE, DOUBLE = (float(np.finfo(kind).min) for kind in (np.float32, np.float64))
JEDI = (float(np.float32(0.99 * SINGLE)), float(np.float32(0.98 * SINGLE)), 0.98 * DOUBLE)
JEDI_INTEGERS = (-(2**15) + 3, -(2**31) + 5, -(2**63) + 7)
"""What JEDI writes for missing integers of 2, 4 and 8 bytes; elsewhere these may be data."""


@dataclass(frozen=True, eq=False)
class Stored:
    """How the numbers of one variable are stored.

    Attributes
    ----------
    dtype : numpy.dtype
        Of the number that is stored; unsigned where an attribute `_Unsigned` says so.
    marks : array of `dtype`
        Numbers that mean missing.
    low, high : float or int
        Limits of the numbers that are valid, stored.
    scale, offset : float
        ``number = scale * stored + offset``.
    number : numpy.dtype
        Of the unpacked number.
    """

    dtype: np.dtype
    marks: np.ndarray
    low: float = -np.inf
    high: float = np.inf
    scale: float = 1.0
    offset: float = 0.0
    number: np.dtype = np.dtype(np.float64)

    @classmethod
    def of(cls, dtype: np.dtype, attributes: Mapping[Hashable, Any], others: tuple[int, ...] = ()) -> Stored:
        """How a variable of a file is stored.

        Parameters
        ----------
        dtype : numpy.dtype
            Of the variable in the file.
        attributes : mapping
            Of the variable in the file.
        others : tuple of int
            More marks, such as `JEDI_INTEGERS`.

        Raises
        ------
        TypeError
            If `scale_factor` or `add_offset` is no number.
        """
        for key in PACKING[:2]:
            if np.size(attributes.get(key, 1.0)) != 1 or np.asarray(attributes.get(key, 1.0)).dtype.kind not in "fiu":
                raise TypeError(f"{key} is {attributes[key]!r}, not a number")
        if str(attributes.get("_Unsigned", "")).lower() == "true" and dtype.kind == "i":
            dtype = np.dtype(f"u{dtype.itemsize}")
        packing = [np.ravel(attributes[key])[0] for key in PACKING[:2] if key in attributes]
        scale, offset = (
            float(np.ravel(attributes.get(key, usual))[0])
            for key, usual in (("scale_factor", 1.0), ("add_offset", 0.0))
        )
        number = dtype
        if packing:
            number = np.result_type(*packing, np.float32)
            number = np.result_type(number, dtype) if dtype.kind == "f" or dtype.itemsize > 2 else number
        plain = cls(dtype, np.empty(0, dtype), scale=scale, offset=offset, number=number)
        low, high = _limits(plain, attributes)
        return cls(dtype, _marks(dtype, attributes, others), low, high, scale, offset, number)

    @property
    def is_packed(self) -> bool:
        """Whether numbers of floating point are stored as integers."""
        return self.dtype.kind in "iu" and self.number.kind == "f"

    def missing(self, stored: np.ndarray) -> np.ndarray:
        """Which entries are missing, array of bool like `stored`, which is as the file has it."""
        bare = self._bare(stored)
        bad = np.ma.getmaskarray(stored).copy()
        if self.dtype.kind == "f":
            bad |= np.isnan(bare)
        for mark in self._marks_within(bare):
            bad |= bare == mark
        if self.low > -np.inf:
            bad |= bare < self.low
        if self.high < np.inf:
            bad |= bare > self.high
        return bad

    def numbers(self, stored: np.ndarray) -> np.ndarray:
        """Unpacked numbers, NaN where one is missing; integers that are neither packed nor missing stay integers."""
        bare, bad = self._bare(stored), self.missing(stored)
        unpacked = bare.astype(self.number)
        if self.scale != 1.0:
            unpacked = unpacked * self.number.type(self.scale)
        if self.offset != 0.0:
            unpacked = unpacked + self.number.type(self.offset)
        if not bad.any():
            return unpacked
        return np.where(bad, np.array(np.nan, unpacked.dtype if unpacked.dtype.kind == "f" else np.float64), unpacked)

    def pack(self, numbers: np.ndarray) -> np.ndarray:
        """The nearest numbers that can be stored, as `dtype`, where there is one; whatever elsewhere."""
        with np.errstate(all="ignore"):
            if not self.is_packed and (self.scale, self.offset) == (1.0, 0.0):
                return np.asarray(numbers, self.dtype)
            wide = (np.asarray(numbers, np.float64) - self.offset) / self.scale
            if not self.is_packed:
                return wide.astype(self.dtype)
            wide = np.rint(wide)
            limits = np.iinfo(self.dtype)
            return np.clip(np.nan_to_num(wide), limits.min, limits.max).astype(self.dtype)

    def clear_of_marks(self, codes: np.ndarray) -> np.ndarray:
        """Numbers of floating point as they are to be stored, the next one where one is a mark."""
        if self.dtype.kind != "f":
            return codes
        hit = np.isin(codes, self._marks_within(codes))
        if not hit.any():
            return codes
        return np.where(hit, np.nextafter(codes, codes.dtype.type(0)), codes)

    def _marks_within(self, bare: np.ndarray) -> np.ndarray:
        """Marks that numbers as they are stored may have: those between the smallest and the largest."""
        if not bare.size:
            return self.marks
        low, high = np.fmin.reduce(bare, axis=None), np.fmax.reduce(bare, axis=None)
        return self.marks[(self.marks >= low) & (self.marks <= high)]

    def holding(self, values: np.ndarray) -> Stored:
        """The same, or if it cannot hold the values to half a step, with another `scale` and `offset`."""
        if not self.is_packed or not values.size or self.holds(values):
            return self
        return self.spanning(float(np.nanmin(values)), float(np.nanmax(values)))

    def holds(self, values: np.ndarray) -> bool:
        """Whether values ``(member, ...)`` can be packed to half a step."""
        return all(self._holds(row) for row in values.reshape(len(values), -1))

    def spanning(self, low: float, high: float) -> Stored:
        """The same with another `scale` and `offset`, which use all numbers of the type on one side of the marks.

        Parameters
        ----------
        low, high : float
            The smallest and the largest value.
        """
        limits = np.iinfo(self.dtype)
        ends = [limits.min - 1, *np.sort(self.marks).tolist(), limits.max + 1]
        room, first = max((above - below - 2, below + 1) for below, above in itertools.pairwise(ends))
        smallest_step = np.finfo(self.number).eps * max(abs(low), abs(high), 1e-300)
        scale = float(self.number.type(max((high - low) / max(room, 1) * (1 + 1e-6), smallest_step)))
        return replace(self, scale=scale, offset=float(self.number.type(low - scale * first)))

    def _holds(self, row: np.ndarray) -> bool:
        """Whether values can be packed to half a step and rounding, and none is a mark."""
        row = row[~np.isnan(row)]
        codes = self.pack(row)
        size = np.abs(row.astype(np.float64)) + abs(self.offset)
        rounding = 4 * np.finfo(np.float32 if self.number == np.float32 else np.float64).eps * size
        misfit = np.abs(codes.astype(np.float64) * self.scale + self.offset - row)
        return not np.isin(codes, self.marks).any() and bool(np.all(misfit <= 0.5001 * abs(self.scale) + rounding))

    def _bare(self, stored: np.ndarray) -> np.ndarray:
        """Without a mask, and unsigned where that is what the bits mean."""
        data = np.ma.getdata(stored)
        return (
            data.view(self.dtype) if data.dtype != self.dtype and data.dtype.itemsize == self.dtype.itemsize else data
        )


def storage(variable: xr.Variable) -> Stored:
    """How a variable of a decoded Dataset will be stored, as its encoding says."""
    return Stored.of(np.dtype(variable.encoding.get("dtype", variable.dtype)), {**variable.attrs, **variable.encoding})


def without_marks(variable: xr.Variable) -> xr.Variable:
    """A variable of a decoded Dataset, NaN also where an entry is missing that xarray left as it was.

    That is the default fill where nothing was ever written, and what is outside of `valid_range`. Packed numbers are
    compared as they were stored, which the encoding says.
    """
    how = storage(variable)
    if how.number.kind != "f" or variable.dtype.kind != "f":
        return variable
    values = variable.values
    missing = how.missing(how.pack(values)) & ~np.isnan(values)
    if not missing.any():
        return variable
    return variable.copy(data=np.where(missing, values.dtype.type(np.nan), values))


def decoded(dataset: xr.Dataset, others: tuple[int, ...] = ()) -> xr.Dataset:
    """A Dataset as it is stored, made numbers: unpacked, NaN where one is missing; values are computed.

    The attributes that say how are in the encoding afterwards, as xarray has them; limits stay attributes.

    Parameters
    ----------
    dataset : xarray.Dataset
        Of `ensf.dataset.netcdf.reading`.
    others : tuple of int
        More marks, as in `Stored.of`.
    """
    variables = {name: _decoded(variable, others) for name, variable in dataset.variables.items()}
    coords = {name: variables.pop(name) for name in dataset.coords}
    return xr.Dataset(variables, coords, dataset.attrs)


def _decoded(variable: xr.Variable, others: tuple[int, ...]) -> xr.Variable:
    if variable.dtype.kind not in "fiu":
        return variable.load()
    stored = Stored.of(variable.dtype, variable.attrs, others)
    how = {key: value for key, value in variable.attrs.items() if key in MARKS + PACKING}
    attributes = {key: value for key, value in variable.attrs.items() if key not in how}
    encoding = {**variable.encoding, **how, "dtype": variable.dtype}
    return xr.Variable(variable.dims, stored.numbers(variable.values), attributes, encoding)


def _marks(dtype: np.dtype, attributes: Mapping[Hashable, Any], others: tuple[int, ...]) -> np.ndarray:
    """Numbers that mean missing, without NaN; those that the type cannot hold mark nothing."""
    marks = [mark for key in MARKS for mark in _bits(attributes.get(key, ()), dtype)]
    marks += others
    default = netCDF4.default_fillvals.get(dtype.str[1:])
    if default is not None and (dtype.kind == "f" or dtype.itemsize > 1 and "_FillValue" not in attributes):
        marks.append(default)
    if dtype.kind == "f":
        marks += JEDI
        with np.errstate(over="ignore"):
            exact = np.array(marks, np.float64).astype(dtype)
        return np.unique(exact[np.isfinite(exact)])
    limits = np.iinfo(dtype)
    whole = [int(mark) for mark in marks if np.isfinite(mark) and mark == int(mark)]
    return np.unique(np.array([mark for mark in whole if limits.min <= mark <= limits.max], dtype))


def _limits(stored: Stored, attributes: Mapping[Hashable, Any]) -> tuple[float, float]:
    """Smallest and largest number that is valid, as stored."""
    ends = [_bits(attributes.get(key, ()), stored.dtype) for key in LIMITS]
    low, high = [*ends[0][:1], *ends[2][:1]], [*ends[1][:1], *ends[2][1:2]]
    if stored.is_packed and any(np.asarray(attributes[key]).dtype.kind == "f" for key in LIMITS if key in attributes):
        with np.errstate(all="ignore"):
            turn = -1 if stored.scale < 0 else 1
            low, high = ([(end - stored.offset) / stored.scale for end in both] for both in (low, high)[::turn])
            low, high = [end - 1e-6 for end in low], [end + 1e-6 for end in high]
    smallest = max((end for end in low if not np.isnan(end)), default=-np.inf)
    return smallest, min((end for end in high if not np.isnan(end)), default=np.inf)


def _bits(value: Any, dtype: np.dtype) -> list[Any]:
    """Numbers of an attribute; those of a signed type beside unsigned numbers are bits; text is none."""
    numbers = np.atleast_1d(np.asarray(value))
    if numbers.dtype.kind not in "fiu":
        return []
    if dtype.kind == "u" and numbers.dtype.kind == "i" and numbers.dtype.itemsize == dtype.itemsize:
        numbers = numbers.view(dtype)
    return numbers.tolist()
