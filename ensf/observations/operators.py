"""Observation operators h: states ``(..., state)`` to predicted observations ``(..., observation)``.

An operator pulls residuals back with its adjoint, ``J(x)^T r``. Operators that are a pointwise function of a linear
map, ``h(x)_k = f((L x)_k)``, are their own class (`Pointwise`): consistent filters use that structure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import scipy.sparse

from ensf.arrays import Array, like, namespace, rows
from ensf.observations.functions import Function

__all__ = [
    "Callback",
    "Identity",
    "Linear",
    "Operator",
    "Pointwise",
    "Select",
    "WindSpeed",
    "restrict",
    "tangent",
]


class Operator(Protocol):
    """Observation operator h."""

    def __call__(self, states: Array) -> Array:
        """Predicted observations, ``(..., state) -> (..., observation)``."""

    def adjoint(self, states: Array, residuals: Array) -> Array:
        """``J(x)^T r``: ``(..., state), (..., observation) -> (..., state)``."""


# --- linear operators ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Identity:
    """Every state variable is observed."""

    def __call__(self, states: Array) -> Array:
        return states

    def tangent(self, states: Array, directions: Array) -> Array:
        """``J(x) v`` for directions ``(..., state)``."""
        return directions

    def adjoint(self, states: Array, residuals: Array) -> Array:
        """``J(x)^T r``."""
        return residuals


@dataclass(frozen=True)
class Select:
    """Some state variables are observed.

    Parameters
    ----------
    index : sequence of int
        Positions in the state, one per observation.
    """

    index: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", tuple(int(i) for i in np.asarray(self.index).ravel()))

    def __call__(self, states: Array) -> Array:
        return namespace(states).take(states, self._tables(states)[0], axis=-1)

    def tangent(self, states: Array, directions: Array) -> Array:
        """``J(x) v`` for directions ``(..., state)``."""
        return self(directions)

    def adjoint(self, states: Array, residuals: Array) -> Array:
        """``J(x)^T r``."""
        xp = namespace(residuals)
        padded = xp.concat([residuals, xp.zeros_like(residuals[..., :1])], axis=-1)
        first, *others = self._tables(states)[1]
        return sum((xp.take(padded, table, axis=-1) for table in others), start=xp.take(padded, first, axis=-1))

    @cached_property
    def _kept(self) -> dict[Any, tuple[Array, list[Array]]]:
        return {}

    def _tables(self, states: Array) -> tuple[Array, list[Array]]:
        """Index tables (gather, scatter) beside the states, made once per state size and device."""
        size = states.shape[-1]
        key = (size, namespace(states).__name__, str(states.device))
        if key not in self._kept:
            index = np.asarray(self.index, dtype=np.int64)
            _check_index(index, size)
            self._kept[key] = (
                like(index, states),
                [like(table, states) for table in _inverse_tables(index, size)],
            )
        return self._kept[key]


def _check_index(index: np.ndarray, size: int) -> None:
    outside = (index < 0) | (index >= size)
    if outside.any():
        k = int(np.argmax(outside))
        raise ValueError(
            f"observation {k} selects state variable {index[k]} but the state has {size} variables: "
            f"give positions from 0 to {size - 1}"
        )


def _inverse_tables(index: np.ndarray, size: int) -> list[np.ndarray]:
    """Where each state variable finds its observation (len(index) = nowhere); one table per repetition of an index."""
    order = np.argsort(index, kind="stable")
    repetition = np.empty_like(index)
    repetition[order] = np.arange(len(index)) - np.searchsorted(index[order], index[order])
    tables = []
    for k in range(max(repetition, default=0) + 1):
        chosen = np.flatnonzero(repetition == k)
        table = np.full(size, len(index), dtype=np.int64)
        table[index[chosen]] = chosen
        tables.append(table)
    return tables


@dataclass(frozen=True, eq=False)
class Linear:
    """Linear map of the state.

    Parameters
    ----------
    matrix : (observation, state) array or scipy.sparse / cupyx sparse matrix
        Must live on the device of the states.
    """

    matrix: Any

    def __call__(self, states: Array) -> Array:
        return _apply(self.matrix, states)

    def tangent(self, states: Array, directions: Array) -> Array:
        """``J(x) v`` for directions ``(..., state)``."""
        return self(directions)

    def adjoint(self, states: Array, residuals: Array) -> Array:
        """``J(x)^T r``."""
        return _apply(self.matrix.T, residuals)


def _apply(matrix: Any, vectors: Array) -> Array:
    if matrix.shape[1] != vectors.shape[-1]:
        raise ValueError(
            f"a matrix of shape {matrix.shape} cannot act on vectors of {vectors.shape[-1]} entries: "
            "its rows are observations, its columns state variables"
        )
    if scipy.sparse.issparse(matrix) or not hasattr(matrix, "__array_namespace__"):
        flat = vectors.reshape(-1, vectors.shape[-1])
        return (matrix @ flat.T).T.reshape(*vectors.shape[:-1], matrix.shape[0]).astype(vectors.dtype, copy=False)
    xp = namespace(vectors)
    return xp.matmul(vectors, xp.astype(matrix, vectors.dtype, copy=False).T)


@dataclass(frozen=True)
class Pointwise:
    """Pointwise function of a linear map, ``h(x)_k = f((L x)_k)``.

    Parameters
    ----------
    function : Function or callable
        `arctan`, `absolute`, `square`, `cube`, `exponential`, `log`, or one's own.
    linear : operator, optional
        `Identity`, `Select` or `Linear`.
    """

    function: Function
    linear: Any = Identity()

    def __post_init__(self) -> None:
        if not hasattr(self.function, "restrict"):
            object.__setattr__(self, "function", Function(self.function))

    def __call__(self, states: Array) -> Array:
        return self.function(self.linear(states))

    def tangent(self, states: Array, directions: Array) -> Array:
        """``J(x) v`` for directions ``(..., state)``."""
        return self.function.slope(self.linear(states)) * self.linear(directions)

    def adjoint(self, states: Array, residuals: Array) -> Array:
        """``J(x)^T r``."""
        return self.linear.adjoint(states, self.function.slope(self.linear(states)) * residuals)


@dataclass(frozen=True)
class WindSpeed:
    """Speed of two wind components, ``sqrt((L_u x)^2 + (L_v x)^2)``; its gradient at zero wind is taken as zero."""

    eastward: Any
    northward: Any

    def _components(self, states: Array) -> tuple[Array, Array, Array]:
        xp = namespace(states)
        u, v = self.eastward(states), self.northward(states)
        speed = xp.sqrt(u * u + v * v)
        safe = xp.where(speed > 0, speed, xp.ones_like(speed))
        return u / safe, v / safe, speed

    def __call__(self, states: Array) -> Array:
        return self._components(states)[2]

    def tangent(self, states: Array, directions: Array) -> Array:
        """``J(x) v`` for directions ``(..., state)``."""
        cosine, sine, _ = self._components(states)
        return cosine * self.eastward(directions) + sine * self.northward(directions)

    def adjoint(self, states: Array, residuals: Array) -> Array:
        """``J(x)^T r``."""
        cosine, sine, _ = self._components(states)
        return self.eastward.adjoint(states, cosine * residuals) + self.northward.adjoint(states, sine * residuals)


@dataclass(frozen=True)
class Callback:
    """Any function of the state with its adjoint.

    Parameters
    ----------
    forward : callable
        ``(..., state) -> (..., observation)``.
    pullback : callable
        ``(states, residuals) -> J(x)^T r``.
    """

    forward: Callable[[Array], Array]
    pullback: Callable[[Array, Array], Array]

    def __call__(self, states: Array) -> Array:
        return self.forward(states)

    def adjoint(self, states: Array, residuals: Array) -> Array:
        """``J(x)^T r``."""
        return self.pullback(states, residuals)


@dataclass(frozen=True)
class _Present:
    """The observations of `operator` at the positions `index`: the ones that are not missing."""

    operator: Any
    index: tuple[int, ...]

    @cached_property
    def _select(self) -> Select:
        return Select(self.index)

    def __call__(self, states: Array) -> Array:
        return self._select(self.operator(states))

    def tangent(self, states: Array, directions: Array) -> Array:
        return self._select(tangent(self.operator, states, directions))

    def adjoint(self, states: Array, residuals: Array) -> Array:
        full = self._select.adjoint(self.operator(states), residuals)
        return self.operator.adjoint(states, full)


def restrict(operator: Any, index: tuple[int, ...]) -> Any:
    """Operator that predicts only the observations at `index`: by its own verb, else keeping its class where it can."""
    if hasattr(operator, "restrict"):
        return operator.restrict(index)
    if isinstance(operator, Identity):
        return Select(index)
    if isinstance(operator, Select):
        return Select(tuple(operator.index[i] for i in index))
    if isinstance(operator, Linear):
        return Linear(rows(operator.matrix, index))
    if isinstance(operator, Pointwise):
        return Pointwise(operator.function.restrict(index), restrict(operator.linear, index))
    if isinstance(operator, WindSpeed):
        return WindSpeed(restrict(operator.eastward, index), restrict(operator.northward, index))
    return _Present(operator, index)


def tangent(operator: Any, states: Array, directions: Array) -> Array:
    """``J(x) v``; by central differences for operators without a tangent of their own."""
    if hasattr(operator, "tangent"):
        return operator.tangent(states, directions)
    xp = namespace(states)
    step = float(xp.finfo(states.dtype).eps) ** (1 / 3)
    return (operator(states + step * directions) - operator(states - step * directions)) / (2 * step)
