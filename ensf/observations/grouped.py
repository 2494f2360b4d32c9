"""Gaussian errors that are correlated within groups: a profile, the channels of a sounder, a swath.

With R made of blocks R_g, one for each group, the whitened residuals ``R_g^{-1/2} r`` are independent. What is whitened
belongs to its group as a whole, and no longer to a place of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self

import numpy as np

from ensf.arrays import Array, Generator, Numbers, Record, as_floating, like, namespace, normal, to_numpy
from ensf.arrays.settings import as_indices
from ensf.observations.functions import PointwiseFunction, identity
from ensf.observations.operators import GroupedFunction, LinearPart, Operator

__all__ = ["Grouped", "Whitened", "WhitenedFunction", "numbered"]


@dataclass(frozen=True, eq=False, repr=False)
class Grouped(Record):
    """Gaussian errors, correlated within groups and independent from group to group.

    Parameters
    ----------
    group : (observation,) array
        Name or number of the group of each observation.
    matrices : sequence of (row, row) arrays
        Covariance of each group, in squared units of the observation, in the ascending order of the names; rows as they
        stand among the observations. Symmetric positive definite. Of missing observations nothing is asked.

    Raises
    ------
    ValueError
        If there is not a matrix of fitting shape for each group.
    """

    group: np.ndarray
    matrices: tuple[np.ndarray, ...]
    is_gaussian: ClassVar[bool] = True
    is_independent: ClassVar[bool] = False

    def __post_init__(self) -> None:
        names, number, count = np.unique(np.asarray(self.group), return_inverse=True, return_counts=True)
        matrices = tuple(to_numpy(as_floating(one, "covariance of a group")) for one in self.matrices)
        if len(names) != len(matrices):
            raise ValueError(f"there are {len(names)} groups but {len(matrices)} covariances: give one for each group")
        for name, size, matrix in zip(names.tolist(), count.tolist(), matrices, strict=True):
            if matrix.shape != (size, size):
                raise ValueError(
                    f"group {name!r} has {size} observations but a covariance of shape {matrix.shape}: "
                    f"give ({size}, {size})"
                )
        object.__setattr__(self, "group", number.ravel())
        object.__setattr__(self, "matrices", matrices)

    def __repr__(self) -> str:
        return f"Grouped({len(self.group)} observations in {len(self.matrices)} groups)"

    @classmethod
    def of(cls, group: np.ndarray, deviation: Numbers, correlations: Sequence[np.ndarray]) -> Self:
        """From standard deviations, and the correlation matrix of each group.

        Parameters
        ----------
        group : (observation,) array
        deviation : float or (observation,) array
        correlations : sequence of (row, row) arrays
            In the ascending order of the names of groups.
        """
        scale = np.broadcast_to(to_numpy(deviation), np.shape(group))
        parts = (scale[rows] for rows in _rows_of(numbered(group)))
        return cls(group, tuple(s[:, None] * c * s for s, c in zip(parts, correlations, strict=True)))

    @cached_property
    def _batches(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Rows ``(group, row)`` and covariances ``(group, row, row)`` of all groups of one size."""
        rows, sizes = _rows_of(self.group), np.array([len(one) for one in self.matrices], dtype=np.int64)
        chosen = [np.flatnonzero(sizes == size) for size in np.unique(sizes)]
        return [(np.stack([rows[g] for g in some]), np.stack([self.matrices[g] for g in some])) for some in chosen]

    @cached_property
    def _factors(self) -> list[np.ndarray]:
        return [np.linalg.cholesky(matrices) for _, matrices in self._batches]

    @cached_property
    def _inverse_roots(self) -> list[np.ndarray]:
        """R^(-1/2), the symmetric one: what is whitened stays closest to what it was, in any order of the rows."""
        spectra = [np.linalg.eigh(matrices) for _, matrices in self._batches]
        return [(vectors / np.sqrt(values)[:, None, :]) @ np.swapaxes(vectors, 1, 2) for values, vectors in spectra]

    def _product(self, factors: list[np.ndarray], residuals: Array) -> Array:
        """Each group of the last axis times its matrix."""
        xp = namespace(residuals)
        lead = residuals.shape[:-1]
        if not self.matrices:
            return residuals
        parts = []
        for (rows, _), factor in zip(self._batches, factors, strict=True):
            columns = xp.reshape(xp.take(residuals, like(rows.ravel(), residuals), axis=-1), (*lead, *rows.shape, 1))
            product = xp.matmul(xp.astype(like(factor, residuals), residuals.dtype, copy=False), columns)
            parts.append(xp.reshape(product, (*lead, rows.size)))
        order = np.argsort(np.concatenate([rows.ravel() for rows, _ in self._batches]))
        return xp.take(xp.concat(parts, axis=-1), like(order, residuals), axis=-1)

    def standard_deviation(self, value: Array) -> Array:
        """Standard deviation per observation, shape of `value`."""
        deviation = np.empty(len(self.group))
        for rows, matrices in self._batches:
            deviation[rows] = np.sqrt(np.diagonal(matrices, axis1=1, axis2=2))
        return namespace(value).astype(like(deviation, value), value.dtype, copy=False)

    def whiten(self, residuals: Array) -> Array:
        """``R^(-1/2) r`` along the last axis, group by group."""
        return self._product(self._inverse_roots, residuals)

    def pull(self, whitened: Array) -> Array:
        """``R^(-1/2) r`` along the last axis: the adjoint of `whiten`, which is symmetric."""
        return self.whiten(whitened)

    def weigh(self, residuals: Array) -> Array:
        """``R^(-1) r`` along the last axis."""
        return self.pull(self.whiten(residuals))

    def covariance(self, value: Array) -> Array:
        """Matrix R for observations shaped like `value`."""
        size = len(self.group)
        whole = np.zeros((size, size))
        for rows, matrices in self._batches:
            whole[rows[:, :, None], rows[:, None, :]] = matrices
        return namespace(value).astype(like(whole, value), value.dtype, copy=False)

    def log_density(self, value: Array, predicted: Array) -> Array:
        """``log p(y | h)`` up to a constant."""
        white = self.whiten(value - predicted)
        return -0.5 * namespace(white).sum(white * white, axis=-1)

    def score(self, value: Array, predicted: Array) -> Array:
        """``R^(-1) (y - h)``."""
        return self.weigh(value - predicted)

    def noise(self, shape: tuple[int, ...], value: Array, rng: Generator) -> Array:
        """Errors of the given shape ``(..., observation)``."""
        return self._product(self._factors, normal(rng, shape, value))

    def draw(self, predicted: Array, rng: Generator) -> Array:
        """Observations of the predicted values."""
        return predicted + self.noise(predicted.shape, predicted, rng)

    def tempered(self, weight: float) -> Grouped:
        """Law whose log density is `weight` times this one's."""
        return Grouped(self.group, tuple(matrix / weight for matrix in self.matrices))

    def rescaled(self, factor: Numbers) -> Grouped:
        """Law of errors that are `factor` times as large."""
        scale = np.broadcast_to(to_numpy(factor), self.group.shape)
        parts = [scale[rows] for rows in _rows_of(self.group)]
        return Grouped(
            self.group,
            tuple(s[:, None] * matrix * s for s, matrix in zip(parts, self.matrices, strict=True)),
        )

    def restrict(self, index: np.ndarray) -> Grouped:
        """Law of the observations at `index`."""
        index = as_indices(index, "index")
        rank = np.empty_like(self.group)
        for rows in _rows_of(self.group):
            rank[rows] = np.arange(len(rows))
        group = self.group[index]
        names = np.unique(group).tolist()
        parts = zip(names, _rows_of(numbered(group)), strict=True)
        return Grouped(group, tuple(self.matrices[g][np.ix_(*2 * [rank[index[rows]]])] for g, rows in parts))

    def check(self, value: Array) -> None:
        """Raise ValueError for a covariance that is not symmetric positive definite, or groups that do not fit."""
        if len(self.group) != value.shape[0]:
            raise ValueError(
                f"errors are in groups of {len(self.group)} observations but there are {value.shape[0]}: "
                "give one group for each"
            )
        there = ~np.isnan(to_numpy(value))
        law = self if there.all() else self.restrict(np.flatnonzero(there))
        for rows, matrices in law._batches:
            size = np.abs(matrices).max(axis=(1, 2), initial=0.0)
            good = np.isfinite(matrices).all(axis=(1, 2))
            good &= (np.abs(matrices - np.swapaxes(matrices, 1, 2)).max(axis=(1, 2)) <= 1e-6 * size) & (size > 0)
            good[good] = np.linalg.eigvalsh(matrices[good]).min(axis=1) > 0
            if not good.all():
                row = int(np.flatnonzero(there)[rows[int(np.argmin(good)), 0]])
                raise ValueError(
                    f"the covariance of the group of observation {row} is not symmetric positive definite: "
                    "check its entries"
                )


def numbered(group: np.ndarray) -> np.ndarray:
    """Numbers 0, 1, ... of the names of groups, in their ascending order."""
    return np.unique(np.asarray(group), return_inverse=True)[1].ravel()


def _rows_of(number: np.ndarray) -> list[np.ndarray]:
    """Rows of each group, ascending."""
    order = np.argsort(number, kind="stable")
    return np.split(order, np.cumsum(np.bincount(number))[:-1]) if len(number) else []


# --- seen through the whitening -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class WhitenedFunction:
    """``R^{-1/2} f`` of the columns of a linear map.

    Attributes
    ----------
    function : PointwiseFunction or GroupedFunction
        f.
    law : Grouped
    """

    function: PointwiseFunction | GroupedFunction
    law: Grouped

    @property
    def is_linear(self) -> bool:
        """Whether f is the identity."""
        return self.function is identity

    def __call__(self, columns: Array) -> Array:
        return self.law.whiten(self.function(columns))

    def owners(self, observations: int) -> np.ndarray:
        """Observation that each column belongs to; what is whitened takes from the others of its group, too."""
        if isinstance(self.function, PointwiseFunction):
            return np.arange(observations)
        return self.function.owners(observations)


@dataclass(frozen=True, eq=False)
class Whitened(Operator):
    """``R^{-1/2} h(x)``, whose errors are independent and of unit variance.

    Attributes
    ----------
    operator : Operator
        h.
    law : Grouped
    """

    operator: Operator
    law: Grouped

    def __call__(self, states: Array) -> Array:
        return self.law.whiten(self.operator(states))

    def tangent(self, states: Array, directions: Array) -> Array:
        """``R^{-1/2} J(x) v`` for directions ``(..., state)``."""
        return self.law.whiten(self.operator.tangent(states, directions))

    def adjoint(self, states: Array, residuals: Array) -> Array:
        """``J(x)^T R^{-1/2} r``."""
        return self.operator.adjoint(states, self.law.pull(residuals))

    def linear_part(self) -> LinearPart:
        """The columns of h, and their function."""
        part = self.operator.linear_part()
        return LinearPart(part.linear, WhitenedFunction(part.function, self.law))

    def reads(self) -> np.ndarray | None:
        """All that h reads."""
        return self.operator.reads()

    def narrowed(self, entries: np.ndarray) -> Whitened:
        """Of a part of the state."""
        return Whitened(self.operator.narrowed(entries), self.law)

    def places(self, positions: np.ndarray) -> np.ndarray | None:
        """Those of h."""
        return self.operator.places(positions)

    def through(self, change: PointwiseFunction) -> Whitened:
        """h through the change."""
        return Whitened(self.operator.through(change), self.law)

    def on(self, array: Array) -> Whitened:
        """h on the device of `array`; the law goes along."""
        return Whitened(self.operator.on(array), self.law)
