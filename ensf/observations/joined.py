"""Operators of several kinds of observations as one, linear wherever all of them are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import numpy as np
import scipy.sparse

from ensf.arrays import Array, namespace
from ensf.observations.operators import Linear, Select, restrict, tangent

__all__ = ["Joined", "join"]


@dataclass(frozen=True)
class Joined:
    """Observations of several operators in any order.

    Parameters
    ----------
    operators : tuple of operator
    rows : tuple of tuple of int
        Which observations each operator predicts; together every one, once.
    """

    operators: tuple[Any, ...]
    rows: tuple[tuple[int, ...], ...]

    def __call__(self, states: Array) -> Array:
        return self._gather([operator(states) for operator in self.operators])

    def tangent(self, states: Array, directions: Array) -> Array:
        """``J(x) v`` for directions ``(..., state)``."""
        return self._gather([tangent(operator, states, directions) for operator in self.operators])

    def adjoint(self, states: Array, residuals: Array) -> Array:
        """``J(x)^T r``."""
        pairs = zip(self.operators, self._selects, strict=True)
        return reduce(
            lambda first, second: first + second,
            [operator.adjoint(states, select(residuals)) for operator, select in pairs],
        )

    def restrict(self, index: tuple[int, ...]) -> Any:
        """The observations at `index` only."""
        wanted = np.asarray(index, dtype=np.int64)
        place = np.full(sum(map(len, self.rows)), -1)
        parts = []
        for operator, rows in zip(self.operators, self.rows, strict=True):
            place[:] = -1
            place[list(rows)] = np.arange(len(rows))
            here = np.flatnonzero(place[wanted] >= 0)
            if len(here):
                parts.append((restrict(operator, tuple(place[wanted[here]].tolist())), here))
        return join(parts)

    @cached_property
    def _selects(self) -> tuple[Select, ...]:
        return tuple(Select(rows) for rows in self.rows)

    @cached_property
    def _order(self) -> Select:
        return Select(np.argsort(np.concatenate([np.asarray(rows, dtype=np.int64) for rows in self.rows])))

    def _gather(self, predicted: list[Array]) -> Array:
        return self._order(namespace(*predicted).concat(predicted, axis=-1))


def join(parts: list[tuple[Any, np.ndarray]]) -> Any:
    """One operator of several, each with the rows that it predicts: `Select` or `Linear` if all are, else `Joined`."""
    if not parts:
        return Select(())
    if all(isinstance(operator, Select) for operator, _ in parts):
        return Select(np.concatenate([operator.index for operator, _ in parts]).astype(np.int64)[_order(parts)])
    if all(isinstance(operator, Linear) for operator, _ in parts):
        matrix = scipy.sparse.vstack([operator.matrix for operator, _ in parts], format="csr")
        return Linear(matrix[_order(parts)])
    if len(parts) == 1:
        return parts[0][0] if _is_sorted(parts[0][1]) else restrict(parts[0][0], tuple(_order(parts).tolist()))
    return Joined(tuple(operator for operator, _ in parts), tuple(tuple(rows.tolist()) for _, rows in parts))


def _order(parts: list[tuple[Any, np.ndarray]]) -> np.ndarray:
    return np.argsort(np.concatenate([rows for _, rows in parts]), kind="stable")


def _is_sorted(rows: np.ndarray) -> bool:
    return bool((np.diff(rows) > 0).all())
