"""Operators of several kinds of observations as one, linear wherever all of them are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np

from ensf.arrays import Array, namespace
from ensf.arrays.settings import as_indices
from ensf.observations.functions import Mixed, PointwiseFunction, identity
from ensf.observations.operators import (
    Linear,
    LinearPart,
    Operator,
    Select,
    Stacked,
    lengths,
    merged,
    stacked_matrices,
    union,
)

__all__ = ["Joined", "join"]


@dataclass(frozen=True)
class Joined(Operator):
    """Observations of several operators in any order.

    Parameters
    ----------
    operators : tuple of operator
    rows : tuple of tuple of int
        Which observations each operator predicts; together every one, once.
    """

    operators: tuple[Operator, ...]
    rows: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(tuple(as_indices(rows, "Joined").tolist()) for rows in self.rows))

    def __repr__(self) -> str:
        parts = (f"{len(rows)} of {operator!r}" for operator, rows in zip(self.operators, self.rows, strict=True))
        return f"Joined({', '.join(parts)})"

    def __call__(self, states: Array) -> Array:
        return self._gather([operator(states) for operator in self.operators])

    def tangent(self, states: Array, directions: Array) -> Array:
        """``J(x) v`` for directions ``(..., state)``."""
        return self._gather([operator.tangent(states, directions) for operator in self.operators])

    def adjoint(self, states: Array, residuals: Array) -> Array:
        """``J(x)^T r``."""
        pairs = zip(self.operators, self._selects, strict=True)
        return reduce(
            lambda first, second: first + second,
            [operator.adjoint(states, select(residuals)) for operator, select in pairs],
        )

    def linear_part(self) -> LinearPart:
        """Pointwise if every operator is; else the columns of each operator one after another."""
        parts = [operator.linear_part() for operator in self.operators]
        order = np.concatenate([np.asarray(rows, dtype=np.int64) for rows in self.rows])
        functions = [part.pointwise for part in parts if part.pointwise is not None]
        if len(functions) == len(parts):
            number = np.empty_like(order)
            number[order] = np.repeat(np.arange(len(parts)), [len(rows) for rows in self.rows])
            linear = join([(part.linear, np.asarray(rows)) for part, rows in zip(parts, self.rows, strict=True)])
            if all(part.exact for part in parts):
                return LinearPart(linear, identity)
            in_order = (one.restrict(np.argsort(rows)) for one, rows in zip(functions, self.rows, strict=True))
            return LinearPart(linear, Mixed(tuple(in_order), tuple(number.tolist())))
        owners = [
            np.asarray(rows, dtype=np.int64)[part.owners(len(rows))]
            for part, rows in zip(parts, self.rows, strict=True)
        ]
        gathered = _Gathered(tuple(part.function for part in parts), owners, order)
        return LinearPart(Stacked(tuple(part.linear for part in parts)), gathered)

    def entries(self, size: int) -> np.ndarray | None:
        """Those of each operator, in the order of the observations."""
        return self._each([operator.entries(size) for operator in self.operators])

    def reads(self) -> np.ndarray | None:
        """All that one of the operators reads."""
        return union(self.operators)

    def reads_of_state(self) -> np.ndarray | None:
        """All that one of the operators reads of a state."""
        return merged([operator.reads_of_state() for operator in self.operators])

    def lengths(self) -> frozenset[int]:
        """Those of all of them."""
        return lengths(self.operators)

    def narrowed(self, entries: np.ndarray) -> Joined:
        """Of a part of the state."""
        return Joined(tuple(operator.narrowed(entries) for operator in self.operators), self.rows)

    def places(self, positions: np.ndarray) -> np.ndarray | None:
        """Those of each operator, in the order of the observations."""
        return self._each([operator.places(positions) for operator in self.operators])

    def through(self, change: PointwiseFunction) -> Joined:
        """Each operator through the change."""
        return Joined(tuple(operator.through(change) for operator in self.operators), self.rows)

    def on(self, array: Array) -> Joined:
        """With all operators on the device of `array`."""
        return Joined(tuple(operator.on(array) for operator in self.operators), self.rows)

    def _each(self, parts: list[np.ndarray | None]) -> np.ndarray | None:
        """What each operator says of its observations, in the order of all; None if one says nothing."""
        named = [part for part in parts if part is not None]
        if len(named) < len(parts):
            return None
        return np.concatenate(named)[np.argsort(np.concatenate([np.asarray(rows) for rows in self.rows]))]

    def restrict(self, rows: Sequence[int] | np.ndarray) -> Operator:
        """Some of the observations."""
        wanted = as_indices(rows, "rows")
        place = np.full(sum(map(len, self.rows)), -1)
        parts = []
        for operator, own in zip(self.operators, self.rows, strict=True):
            place[:] = -1
            place[list(own)] = np.arange(len(own))
            here = np.flatnonzero(place[wanted] >= 0)
            if len(here):
                parts.append((operator.restrict(place[wanted[here]]), here))
        return join(parts)

    @cached_property
    def _selects(self) -> tuple[Select, ...]:
        return tuple(Select(rows) for rows in self.rows)

    @cached_property
    def _order(self) -> Select:
        return Select(np.argsort(np.concatenate([np.asarray(rows, dtype=np.int64) for rows in self.rows])))

    def _gather(self, predicted: list[Array]) -> Array:
        return self._order(namespace(*predicted).concat(predicted, axis=-1))


@dataclass(frozen=True, eq=False)
class _Gathered:
    """f of the columns of several operators one after another, in the order of the observations."""

    functions: tuple[Callable[[Array], Array], ...]
    columns: list[np.ndarray]
    order: np.ndarray

    def __call__(self, columns: Array) -> Array:
        stops = np.cumsum([len(each) for each in self.columns]).tolist()
        pieces = zip(self.functions, [0, *stops], stops, strict=False)
        values = namespace(columns).concat([f(columns[..., a:b]) for f, a, b in pieces], axis=-1)
        return Select(np.argsort(self.order))(values)

    def owners(self, observations: int) -> np.ndarray:
        """Observation that each column belongs to."""
        return np.concatenate(self.columns)


def join(parts: list[tuple[Operator, np.ndarray]]) -> Operator:
    """One operator of several, each with the rows that it predicts: `Select` or `Linear` if all are, else `Joined`."""
    if not parts:
        return Select(())
    selects = [operator.index for operator, _ in parts if isinstance(operator, Select)]
    if len(selects) == len(parts):
        return Select(np.concatenate(selects).astype(np.int64)[_order(parts)])
    if len(parts) == 1:
        return parts[0][0] if _is_sorted(parts[0][1]) else parts[0][0].restrict(_order(parts))
    matrices = [operator.matrix for operator, _ in parts if isinstance(operator, Linear)]
    if len(matrices) == len(parts):
        return stacked_matrices(matrices).restrict(_order(parts))
    return Joined(tuple(operator for operator, _ in parts), tuple(tuple(rows.tolist()) for _, rows in parts))


def _order(parts: list[tuple[Operator, np.ndarray]]) -> np.ndarray:
    return np.argsort(np.concatenate([rows for _, rows in parts]), kind="stable")


def _is_sorted(rows: np.ndarray) -> bool:
    return bool((np.diff(rows) > 0).all())
