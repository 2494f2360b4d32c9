"""Array namespace, random streams, transforms and transfers.

One code path serves NumPy and CuPy: a function asks its input for the namespace (``namespace(x)``) and
stays there. Nothing here moves an array to another device unless the name says so (`to_numpy`, `like`).

Randomness is a `numpy.random.Generator` handed in by the caller. `stream` turns it into a generator that
draws on the device of an array; on the host it is the same object, so host streams can be stored and resumed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, TypeGuard, TypeVar, cast

import array_api_compat
import numpy as np

from ensf.arrays.settings import as_indices

if TYPE_CHECKING:
    import scipy.sparse
    from numpy.typing import ArrayLike
    from threadpoolctl import ThreadpoolController

Name = TypeVar("Name", bound=Hashable)
Array: TypeAlias = np.ndarray
"""An array of NumPy, or of CuPy or another library that follows the array API; typed as the first."""
Generator: TypeAlias = np.random.Generator
"""A random generator of NumPy, or one of CuPy from `stream`; typed as the first."""
Numbers: TypeAlias = np.ndarray | float
"""An array, or one number for all of its entries."""

__all__ = [
    "SMALL",
    "as_floating",
    "as_names",
    "centred",
    "counted_normal",
    "generator",
    "mean_departure",
    "member_mean",
    "member_variance",
    "summary",
    "Array",
    "Generator",
    "Record",
    "Numbers",
    "add_scaled_noise",
    "blas_threads",
    "fft",
    "is_double",
    "is_host",
    "is_host_stream",
    "is_sparse",
    "like",
    "log_ndtr",
    "namespace",
    "normal",
    "rows",
    "stream",
    "to_numpy",
]

SMALL = 2**20  # places times members cubed (a few milliseconds) below which one thread is used


def namespace(*arrays: Array) -> Any:
    """Array-API namespace of the arrays (NumPy, CuPy or array-api-strict)."""
    for array in arrays:
        if type(array) is not np.ndarray:
            return array_api_compat.array_namespace(*arrays)
    return _numpy_namespace()


@cache
def _numpy_namespace() -> ModuleType:
    import array_api_compat.numpy

    return array_api_compat.numpy


def is_host(array: object) -> TypeGuard[np.ndarray]:
    """True for NumPy arrays, which compiled loops may read."""
    return isinstance(array, np.ndarray)


def is_host_stream(rng: Generator) -> TypeGuard[np.random.Generator]:
    """True for generators of NumPy."""
    return isinstance(rng, np.random.Generator)


def is_sparse(matrix: object) -> TypeGuard[scipy.sparse.csr_array]:
    """True for sparse matrices, of SciPy or CuPy."""
    return hasattr(matrix, "tocsr")


def as_names(one_or_more: str | Iterable[Name]) -> tuple[str | Name, ...]:
    """Names of what a caller has: one, or several; ValueError for what is neither."""
    try:
        return (one_or_more,) if isinstance(one_or_more, str) else tuple(one_or_more)
    except TypeError:
        raise ValueError(f"{one_or_more!r} stands where a name must: give a name in quotes, or a tuple") from None


def as_floating(values: ArrayLike | Array, name: str) -> Array:
    """Floating-point array of what users have: lists, Series, DataArrays, masked arrays (masked = NaN), integers.

    Parameters
    ----------
    values : array, or anything that NumPy reads as numbers
    name : str
        What it is, for the sentence.

    Returns
    -------
    array
        As it came if it is floating; integers become float64, other byte orders that of the machine.

    Raises
    ------
    ValueError
        If it is not made of real numbers.
    """
    if type(values) is np.ndarray and values.dtype.type in (np.float32, np.float64) and values.dtype.isnative:
        return values
    if array_api_compat.is_array_api_obj(values) and not isinstance(values, np.ndarray | np.generic):
        array = cast(Array, values)
        if not namespace(array).isdtype(array.dtype, "real floating"):
            raise ValueError(f"{name} has dtype {array.dtype}: give float32 or float64")
        return array
    mask = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
    try:
        numbers = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} cannot be read as an array: give rows of equal length") from error
    except TypeError as error:
        raise ValueError(f"{name} is a {type(values).__name__}: give an array of numbers") from error
    if numbers.dtype.kind in "iu":
        numbers = numbers.astype(np.float64)
    if numbers.dtype.kind != "f" or numbers.dtype.itemsize not in (4, 8):
        raise ValueError(f"{name} has dtype {numbers.dtype}: {_ADVICE.get(numbers.dtype.kind, 'give numbers')}")
    if not numbers.dtype.isnative:
        numbers = numbers.astype(numbers.dtype.newbyteorder("="))
    return numbers if mask is None else np.where(mask, numbers.dtype.type(np.nan), numbers)


def is_count(number: object) -> bool:
    """Whether it is a whole number, one or more."""
    return isinstance(number, int | np.integer) and not isinstance(number, bool) and bool(number >= 1)


_ADVICE = {
    "O": "give numbers, and NaN where one is missing",
    "U": "give numbers, not text",
    "S": "give numbers, not text",
    "T": "give numbers, not text",
    "b": "give 1.0 for yes and 0.0 for no",
    "c": "give the real or the imaginary part",
    "f": "give float32 or float64",
}


def generator(rng: Generator | int | None) -> Generator:
    """A random generator, or one from an integer seed; None is one for a filter that draws nothing.

    Raises
    ------
    ValueError
        If it is neither; from None, when the filter draws.
    """
    if isinstance(rng, int | np.integer):
        return np.random.default_rng(rng)
    if rng is None:
        return cast(Generator, _Nothing())
    if not hasattr(rng, "standard_normal"):
        raise ValueError(f"rng is a {type(rng).__name__}: give numpy.random.default_rng(seed), or the seed")
    return rng


class _Nothing:
    """What draws are made from where no generator came."""

    def __getattr__(self, verb: str) -> NoReturn:
        if verb.startswith("__"):
            raise AttributeError(verb)
        raise ValueError("rng is None, but this filter draws random numbers: give a generator, or a seed")


def summary(array: Array | float) -> str:
    """Shape, dtype and range of an array in a few words."""
    host = to_numpy(array)
    finite = host[np.isfinite(host)] if host.dtype.kind == "f" else host
    span = f", {finite.min():.4g} to {finite.max():.4g}" if finite.size and host.dtype.kind in "fiu" else ""
    return f"{tuple(host.shape)} {host.dtype}{span}"


class Record:
    """Base of dataclasses of data: they, and what is derived of them, print arrays by shape, dtype and range."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        setattr(cls, "__repr__", cls.__repr__)  # noqa: B010  before the decorator, which keeps what is there

    def __repr__(self) -> str:
        shown = [one.name for one in fields(self) if one.repr and one.init]  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(f'{name}={_in_words(getattr(self, name))}' for name in shown)})"


def _in_words(value: Any) -> str:
    has_axes = array_api_compat.is_array_api_obj(value) and value.ndim > 0
    match value:
        case Mapping():
            return f"{{{', '.join(f'{key}: {_in_words(part)}' for key, part in value.items())}}}"
        case tuple() if type(value) is tuple:
            return f"({', '.join(map(_in_words, value))})"
    return summary(value) if has_axes else repr(value)


def member_mean(ensemble: Array) -> Array:
    """Mean over members of ``(member, ...)``, the same bits for an entry whatever other entries stand beside it.

    In single precision the mean of large numbers is off by more than their spread may be: that of the departures from
    it is added.
    """
    mean = _mean(ensemble)
    return mean if is_double(ensemble) else mean + _mean(ensemble - mean)


def centred(ensemble: Array) -> Array:
    """Anomalies ``(member, ...)``, the departures of members from their mean; in single precision centred twice."""
    anomalies = ensemble - _mean(ensemble)
    return anomalies if is_double(ensemble) else anomalies - _mean(anomalies)


def member_variance(ensemble: Array) -> Array:
    """Unbiased variance over members of ``(member, ...)``, the same bits for an entry whatever stands beside it."""
    anomalies = ensemble if is_double(ensemble) else centred(ensemble)
    if is_host(anomalies):
        return np.var(_row_by_row(anomalies), axis=0, ddof=1)[..., : anomalies.shape[-1]]
    return namespace(ensemble).var(anomalies, axis=0, correction=1)


def mean_departure(value: Array, ensemble: Array) -> Array:
    """A value ``(...)`` less the mean of the members ``(member, ...)``."""
    return value - member_mean(ensemble) if is_double(ensemble) else -member_mean(ensemble - value)


def is_double(array: Array) -> bool:
    """Whether it is in double precision."""
    return _numpy_dtype(array).itemsize >= 8


def _mean(ensemble: Array) -> Array:
    if is_host(ensemble):
        return np.add.reduce(_row_by_row(ensemble), axis=0)[..., : ensemble.shape[-1]] / len(ensemble)
    return namespace(ensemble).mean(ensemble, axis=0)


def _row_by_row(ensemble: np.ndarray) -> np.ndarray:
    """Members as NumPy adds them one after another: contiguous, one column twice, which it would add in pairs."""
    ensemble = np.ascontiguousarray(ensemble)
    return np.concatenate([ensemble, ensemble], axis=-1) if math.prod(ensemble.shape[1:]) == 1 else ensemble


def like(values: ArrayLike, array: Array) -> Array:
    """Values from the host as an array with the namespace, device and (if floating) dtype of `array`."""
    values = np.asarray(values)
    if values.dtype.kind == "f":
        values = values.astype(_numpy_dtype(array), copy=False)
    if is_host(array):
        return values
    return namespace(array).asarray(values, device=array_api_compat.device(array))


def rows(matrix: Any, index: Any) -> Any:
    """Rows of a dense or sparse matrix, or entries of a vector, at `index`."""
    if is_sparse(matrix):
        return matrix.tocsr()[as_indices(index, "index")]
    return namespace(matrix).take(matrix, like(as_indices(index, "index"), matrix), axis=0)


def to_numpy(array: Array | float) -> np.ndarray:
    """Copy to the host, explicitly."""
    if is_host(array):
        return array
    if array_api_compat.is_cupy_array(array):
        return array.get()  # type: ignore[union-attr]
    if hasattr(array, "__array_namespace__"):
        xp = namespace(cast(Array, array))
        if hasattr(xp, "Device"):
            array = array_api_compat.to_device(array, xp.Device("CPU_DEVICE"))
    return np.asarray(array)


def stream(rng: Generator, array: Array) -> Generator:
    """Random generator that draws where `array` lives; a host generator is handed through unchanged."""
    if array_api_compat.is_cupy_array(array) and is_host_stream(rng):
        import cupy

        return cupy.random.Generator(cupy.random.Philox4x3210(int(rng.integers(2**63))))
    return rng


def normal(rng: Generator, shape: tuple[int, ...], array: Array) -> Array:
    """Standard normal numbers with the namespace, device and dtype of `array`."""
    values = rng.standard_normal(shape, dtype=_numpy_dtype(array))
    return like(values, array) if is_host(values) else values


def add_scaled_noise(mean: Array, scale: float, rng: Generator) -> Array:
    """``mean + scale * noise`` with standard normal noise; overwrites `mean`, which the caller owns."""
    compiled = is_host_stream(rng) and is_host(mean) and mean.dtype in (np.float32, np.float64)
    if compiled and mean.flags.c_contiguous:
        _scaled_noise_adder()(mean.reshape(-1), mean.dtype.type(scale), rng)
        return mean
    mean += scale * normal(rng, mean.shape, mean)
    return mean


@cache
def _scaled_noise_adder() -> Callable[[np.ndarray, np.floating, Generator], None]:
    from ensf.arrays.kernels import compiled

    @compiled()
    def add_scaled_noise(values, scale, rng):
        for i in range(values.size):
            values[i] += scale * rng.standard_normal()

    return add_scaled_noise


def log_ndtr(array: Array) -> Array:
    """Logarithm of the standard normal distribution function."""
    import scipy.special

    if is_host(array):
        return scipy.special.log_ndtr(array)
    if array_api_compat.is_cupy_array(array):
        import cupyx.scipy.special

        return cupyx.scipy.special.log_ndtr(array)
    return like(scipy.special.log_ndtr(to_numpy(array)), array)


def fft(array: Array) -> Any:
    """FFT module for `array`: scipy.fft on the host (keeps float32), else the one of its namespace."""
    if is_host(array):
        import scipy.fft

        return scipy.fft
    if array_api_compat.is_cupy_array(array):
        import cupyx.scipy.fft

        return cupyx.scipy.fft
    return namespace(array).fft


def _numpy_dtype(array: Array) -> np.dtype:
    return array.dtype if is_host(array) else np.dtype(str(array.dtype).rsplit(".", 1)[-1])


def blas_threads(work: int) -> AbstractContextManager:
    """Hold BLAS to one thread while a compiled loop has products of up to this much work, which it would share out."""
    return nullcontext() if work < 2**17 else _thread_pools().limit(limits=1, user_api="blas")


@cache
def _thread_pools() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def counted_normal(key: int, field: str, entries: np.ndarray, members: int, like_: Array) -> Array:
    """Standard normal numbers ``(member, entry)`` that depend on key, field, entry and member alone.

    Parts in any order, on any number of machines, draw the same. SplitMix64 (Steele, Lea & Flood 2014, OOPSLA) of a
    counter gives two uniform numbers, Box & Muller (1958) a normal one.

    Parameters
    ----------
    key : int
        Of the random stream.
    field : str
        Name of what is drawn for.
    entries : (entry,) array of int
    members : int
    like_ : array
        Namespace, device and dtype of the result.
    """
    name = int.from_bytes(hashlib.blake2b(field.encode(), digest_size=8).digest(), "little")
    with np.errstate(over="ignore"):
        stream_key = _mixed(np.array([key & _WORD], np.uint64) ^ np.array([name], np.uint64))
        first = np.asarray(entries, dtype=np.uint64) * np.uint64(2 * members)
        numbers, columns = np.empty((members, len(first))), max(1, _IN_CACHE // members)
        for start in range(0, len(first), columns):
            counter = first[start : start + columns] + 2 * np.arange(members, dtype=np.uint64)[:, None]
            numbers[:, start : start + columns] = _box_muller(
                *(_mixed(stream_key + _GOLDEN * (counter + np.uint64(k))) for k in (1, 2))
            )
    return like(numbers, like_)


def _box_muller(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Normal numbers of two words each (Box & Muller 1958)."""
    uniform = ((first >> np.uint64(11)).astype(np.float64) + 1) * 2.0**-53
    angle = (second >> np.uint64(11)).astype(np.float64) * (2 * np.pi * 2.0**-53)
    return np.sqrt(-2 * np.log(uniform)) * np.cos(angle)


_IN_CACHE = 2**14
"""Numbers that are made at once, so that what they are made of stays in the processor's cache."""
_WORD = 2**64 - 1
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mixed(words: np.ndarray) -> np.ndarray:
    """Finaliser of SplitMix64."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
