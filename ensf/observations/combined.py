"""Operators that are a function of several linear maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

from ensf.arrays import Array, namespace
from ensf.observations.operators import restrict, tangent

__all__ = ["Combined"]


@dataclass(frozen=True)
class Combined:
    """Pointwise function of several linear maps, ``h(x)_k = f((L_1 x)_k, ..., (L_n x)_k)``.

    Parameters
    ----------
    function : callable
        Of n arrays of one shape, elementwise; its derivatives are central differences.
    linear : tuple of operator
        `Identity`, `Select` or `Linear`.
    """

    function: Callable[..., Array]
    linear: tuple[Any, ...]

    def __call__(self, states: Array) -> Array:
        return self.function(*(linear(states) for linear in self.linear))

    def tangent(self, states: Array, directions: Array) -> Array:
        """``J(x) v`` for directions ``(..., state)``."""
        pairs = zip(self._slopes(states), self.linear, strict=True)
        return _total([slope * tangent(linear, states, directions) for slope, linear in pairs])

    def adjoint(self, states: Array, residuals: Array) -> Array:
        """``J(x)^T r``."""
        pairs = zip(self._slopes(states), self.linear, strict=True)
        return _total([linear.adjoint(states, slope * residuals) for slope, linear in pairs])

    def restrict(self, index: tuple[int, ...]) -> Combined:
        """The observations at `index` only."""
        return Combined(self.function, tuple(restrict(linear, index) for linear in self.linear))

    def _slopes(self, states: Array) -> list[Array]:
        seen = [linear(states) for linear in self.linear]
        return [self._slope(seen, k) for k in range(len(seen))]

    def _slope(self, seen: list[Array], k: int) -> Array:
        xp = namespace(seen[k])
        step = float(xp.finfo(seen[k].dtype).eps) ** (1 / 3) * xp.maximum(xp.abs(seen[k]), xp.ones_like(seen[k]))
        above, below = ([*seen[:k], seen[k] + sign * step, *seen[k + 1 :]] for sign in (1, -1))
        return (self.function(*above) - self.function(*below)) / (2 * step)


def _total(arrays: list[Array]) -> Array:
    return reduce(lambda first, second: first + second, arrays)
