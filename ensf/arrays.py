"""Array namespace, random streams, transforms and transfers.

One code path serves NumPy and CuPy: a function asks its input for the namespace (``namespace(x)``) and
stays there. Nothing here moves an array to another device unless the name says so (`to_numpy`, `like`).

Randomness is a `numpy.random.Generator` handed in by the caller. `stream` turns it into a generator that
draws on the device of an array; on the host it is the same object, so host streams can be stored and resumed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

import array_api_compat
import numpy as np

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

Array: TypeAlias = np.ndarray
"""An array of NumPy, or of CuPy or another library that follows the array API; typed as the first."""
Generator: TypeAlias = np.random.Generator
"""A random generator of NumPy, or one of CuPy from `stream`; typed as the first."""

__all__ = [
    "SMALL",
    "Array",
    "Generator",
    "add_scaled_noise",
    "blas_threads",
    "fft",
    "is_host",
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
    if all(type(a) is np.ndarray for a in arrays):
        return _numpy_namespace()
    return array_api_compat.array_namespace(*arrays)


@cache
def _numpy_namespace() -> ModuleType:
    import array_api_compat.numpy

    return array_api_compat.numpy


def is_host(array: Array) -> bool:
    """True for NumPy arrays, which compiled loops may read."""
    return isinstance(array, np.ndarray)


def like(values: Any, array: Array) -> Array:
    """Values from the host as an array with the namespace, device and (if floating) dtype of `array`."""
    values = np.asarray(values)
    if values.dtype.kind == "f":
        values = values.astype(_numpy_dtype(array), copy=False)
    if is_host(array):
        return values
    return namespace(array).asarray(values, device=array_api_compat.device(array))


def rows(matrix: Any, index: Any) -> Any:
    """Rows of a dense or sparse matrix, or entries of a vector, at `index`."""
    if hasattr(matrix, "tocsr"):
        return matrix.tocsr()[list(index)]
    return namespace(matrix).take(matrix, like(np.asarray(index, dtype=np.int64), matrix), axis=0)


def to_numpy(array: Array) -> np.ndarray:
    """Copy to the host, explicitly."""
    if is_host(array):
        return array
    if array_api_compat.is_cupy_array(array):
        on_device: Any = array
        return on_device.get()
    if hasattr(array, "__array_namespace__"):
        xp = namespace(array)
        if hasattr(xp, "Device"):
            array = array_api_compat.to_device(array, xp.Device("CPU_DEVICE"))
    return np.asarray(array)


def stream(rng: Generator, array: Array) -> Generator:
    """Random generator that draws where `array` lives; a host generator is handed through unchanged."""
    if array_api_compat.is_cupy_array(array) and isinstance(rng, np.random.Generator):
        import cupy

        return cupy.random.Generator(cupy.random.Philox4x3210(int(rng.integers(2**63))))
    return rng


def normal(rng: Generator, shape: tuple[int, ...], array: Array) -> Array:
    """Standard normal numbers with the namespace, device and dtype of `array`."""
    values = rng.standard_normal(shape, dtype=_numpy_dtype(array))
    return values if not isinstance(values, np.ndarray) else like(values, array)


def add_scaled_noise(mean: Array, scale: float, rng: Generator) -> Array:
    """``mean + scale * noise`` with standard normal noise; overwrites `mean`, which the caller owns."""
    if is_host(mean) and mean.flags.c_contiguous and mean.dtype in (np.float32, np.float64):
        _scaled_noise_adder()(mean.reshape(-1), mean.dtype.type(scale), rng)
        return mean
    mean += scale * normal(rng, mean.shape, mean)
    return mean


@cache
def _scaled_noise_adder() -> Callable[[np.ndarray, np.floating, Generator], None]:
    import numba

    @numba.njit(cache=True)
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
    """Hold BLAS to one thread while a compiled loop of this much work is parallel over places."""
    return nullcontext() if work < SMALL else _thread_pools().limit(limits=1, user_api="blas")


@cache
def _thread_pools() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
