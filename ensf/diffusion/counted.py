"""A random stream of the numbers of `ensf.diffusion.counter`, draw by draw."""

from __future__ import annotations

import math
from typing import cast

import array_api_compat
import numpy as np

from ensf.arrays import Array, Generator, is_host_stream, stream
from ensf.diffusion.counter import threefry

__all__ = ["CountedNormals", "counted"]

AHEAD = 256
"""Draws whose keys are made together: one by one they cost more than the numbers of a small state."""


class CountedNormals:
    """A random stream whose draw number n, row and entry make a normal number.

    It stands for a generator where normal numbers are drawn.

    Parameters
    ----------
    rng : numpy.random.Generator
        Gives the key, and moves on by it.
    """

    def __init__(self, rng: Generator) -> None:
        key = int(rng.integers(2**63))
        self.key, self.draws = (key & 0xFFFFFFFF, key >> 32), 0
        self._ahead = np.empty((0, 2), np.uint32)

    def next_keys(self, count: int) -> np.ndarray:
        """Keys ``(draw, 2)`` of the next draws, which are thereby taken."""
        if count > len(self._ahead):
            draws = np.arange(self.draws, self.draws + max(count, AHEAD)).astype(np.uint32)
            self._ahead = np.stack(threefry(draws, np.zeros_like(draws), *self.key), axis=1)
        keys, self._ahead = self._ahead[:count], self._ahead[count:]
        self.draws += count
        return keys

    def standard_normal(self, shape: tuple[int, ...], dtype: np.dtype | type = np.float64) -> np.ndarray:
        """The next draw; its last axis is that of the entries, those before it count the rows."""
        from ensf.diffusion import counter_loops

        numbers = np.empty(shape, dtype=dtype)
        rows = numbers.reshape(math.prod(shape[:-1]), shape[-1])
        counter_loops.fill(rows, *self.next_keys(1)[0])
        return numbers


def counted(rng: Generator, array: Array) -> Generator:
    """Counted normal numbers under a key from a generator; other streams, and those on a GPU, as `stream` has them."""
    if is_host_stream(rng) and not array_api_compat.is_cupy_array(array):
        return cast(Generator, CountedNormals(rng))
    return stream(rng, array)
