"""Operators that are a function of several linear maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from ensf.arrays import Array, namespace
from ensf.observations.functions import PointwiseFunction, identity
from ensf.observations.operators import LinearPart, Operator, as_operator, combined_part, common_places, lengths, union

__all__ = ["Combined"]


@dataclass(frozen=True)
class Combined(Operator):
    """Pointwise function of several operators, ``h(x)_k = f((L_1 x)_k, ..., (L_n x)_k)``.

    Parameters
    ----------
    function : callable
        Of n arrays of one shape, elementwise; its derivatives are central differences.
    linear : tuple of Operator
        `Identity`, `Select` or `Linear`.
    """

    function: Callable[..., Array]
    linear: tuple[Operator, ...]

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ValueError(f"function of Combined is {self.function!r}: give a function of arrays")
        object.__setattr__(self, "linear", tuple(map(as_operator, self.linear)))

    def __call__(self, states: Array) -> Array:
        return self.function(*(linear(states) for linear in self.linear))

    def tangent(self, states: Array, directions: Array) -> Array:
        """``J(x) v`` for directions ``(..., state)``."""
        pairs = zip(self._slopes(states), self.linear, strict=True)
        return _total([slope * linear.tangent(states, directions) for slope, linear in pairs])

    def adjoint(self, states: Array, residuals: Array) -> Array:
        """``J(x)^T r``."""
        pairs = zip(self._slopes(states), self.linear, strict=True)
        return _total([linear.adjoint(states, slope * residuals) for slope, linear in pairs])

    def linear_part(self) -> LinearPart:
        """All linear maps one after another, and f of as many groups of columns."""
        return combined_part(self.function, self.linear, LinearPart(self, identity))

    def reads(self) -> np.ndarray | None:
        """All that one of the maps reads."""
        return union(self.linear)

    def lengths(self) -> frozenset[int]:
        """Those of all maps."""
        return lengths(self.linear)

    def narrowed(self, entries: np.ndarray) -> Combined:
        """Of a part of the state."""
        return Combined(self.function, tuple(linear.narrowed(entries) for linear in self.linear))

    def places(self, positions: np.ndarray) -> np.ndarray | None:
        """Where all maps are, if that is one place."""
        return common_places(self.linear, positions)

    def restrict(self, rows: Sequence[int] | np.ndarray) -> Combined:
        """Of some of the observations."""
        return Combined(self.function, tuple(linear.restrict(rows) for linear in self.linear))

    def through(self, change: PointwiseFunction) -> Combined:
        """All maps through the change."""
        return Combined(self.function, tuple(linear.through(change) for linear in self.linear))

    def on(self, array: Array) -> Combined:
        """With all maps on the device of `array`."""
        return Combined(self.function, tuple(linear.on(array) for linear in self.linear))

    def _slopes(self, states: Array) -> list[Array]:
        columns = [linear(states) for linear in self.linear]
        return [self._slope(columns, k) for k in range(len(columns))]

    def _slope(self, columns: list[Array], k: int) -> Array:
        xp = namespace(columns[k])
        step = float(xp.finfo(columns[k].dtype).eps) ** (1 / 3) * xp.maximum(
            xp.abs(columns[k]), xp.ones_like(columns[k])
        )
        above, below = ([*columns[:k], columns[k] + sign * step, *columns[k + 1 :]] for sign in (1, -1))
        return (self.function(*above) - self.function(*below)) / (2 * step)


def _total(arrays: list[Array]) -> Array:
    return reduce(lambda first, second: first + second, arrays)
