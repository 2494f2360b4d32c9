"""Error laws: the density of an observation given its prediction, p(y | h).

The errors of `Gaussian` are independent, those of `Correlated` have a full covariance matrix R. A standard deviation
is meant wherever a plain number or vector is given, never a variance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
import scipy.linalg

from ensf.arrays import Array, Generator, like, namespace, normal, rows, to_numpy

__all__ = ["Correlated", "ErrorLaw", "Gaussian", "Independent", "is_error_law"]


class ErrorLaw(Protocol):
    """Density of the observation given its prediction."""

    is_gaussian: bool
    is_independent: bool

    def log_density(self, value: Array, predicted: Array) -> Array:
        """``log p(y | h)`` up to a constant, summed over observations: ``(..., observation) -> (...)``."""

    def score(self, value: Array, predicted: Array) -> Array:
        """``d log p(y | h) / d h``, shape of `predicted`."""

    def draw(self, predicted: Array, rng: Generator) -> Array:
        """Observations of the predicted values."""

    def standard_deviation(self, value: Array) -> Array:
        """Standard deviation per observation, shape of `value`."""

    def restrict(self, index: np.ndarray) -> ErrorLaw:
        """Law of the observations at `index`."""

    def tempered(self, weight: float) -> ErrorLaw:
        """Law whose log density is `weight` times this one's."""

    def rescaled(self, factor: Any) -> ErrorLaw | None:
        """Law of errors that are `factor` times as large, a number or one per observation; None if it has no such."""

    def check(self, value: Array) -> None:
        """Raise ValueError if the law does not fit the values; of missing ones (NaN) nothing is asked."""


def is_error_law(error: object) -> bool:
    """Whether it is a law, rather than standard deviations."""
    return hasattr(error, "log_density")


@dataclass(frozen=True, eq=False)
class Independent:
    """Errors of the observations are independent, with a standard deviation each.

    Parameters
    ----------
    deviation : float or (observation,) array
        Standard deviation, in the units of the observation; positive.
    """

    deviation: Any
    is_gaussian: ClassVar[bool] = False
    is_independent: ClassVar[bool] = True

    def each(self, value: Array, predicted: Array) -> Array:
        """``log p(y | h)`` of every observation up to a constant, shape of `predicted`."""
        raise NotImplementedError

    def log_density(self, value: Array, predicted: Array) -> Array:
        """``log p(y | h)`` up to a constant."""
        return namespace(predicted).sum(self.each(value, predicted), axis=-1)

    def column(self) -> Any:
        """The same law for predictions with one more axis behind that of the observations."""
        single = isinstance(self.deviation, float | int) or self.deviation.ndim == 0
        return self if single else replace(self, deviation=self.deviation[:, None])

    def standard_deviation(self, value: Array) -> Array:
        """Standard deviation per observation, shape of `value`."""
        xp = namespace(value)
        if isinstance(self.deviation, float | int):
            return xp.full_like(value, self.deviation)
        return xp.broadcast_to(xp.astype(self.deviation, value.dtype, copy=False), value.shape)

    def restrict(self, index: np.ndarray) -> Any:
        """Law of the observations at `index`."""
        if isinstance(self.deviation, float | int) or self.deviation.ndim == 0:
            return self
        return replace(self, deviation=rows(self.deviation, index))

    def tempered(self, weight: float) -> Any:
        """Law whose log density is `weight` times this one's."""
        return _Tempered(self.deviation, self, weight)

    def rescaled(self, factor: Any) -> ErrorLaw | None:
        """None: the law may have more than a scale."""
        return None

    def _scale(self, residuals: Array) -> Any:
        if isinstance(self.deviation, float | int):
            return self.deviation
        return namespace(residuals).astype(self.deviation, residuals.dtype, copy=False)

    def check(self, value: Array) -> None:
        """Raise ValueError for a deviation that is not positive or does not fit."""
        single = isinstance(self.deviation, float | int)
        shape = () if single else getattr(self.deviation, "shape", None)
        if shape not in ((), value.shape):
            raise ValueError(
                f"observation error has shape {shape} but there are {value.shape[0]} observations: "
                "give one number, or an array with one per observation"
            )
        deviation = np.broadcast_to(self.deviation if single else to_numpy(self.deviation), value.shape)
        bad = ~(np.isfinite(deviation) & (deviation > 0)) & ~np.isnan(to_numpy(value))
        if bad.any():
            k = int(np.argmax(bad))
            raise ValueError(
                f"observation error number {k} is {deviation[k]}: give a positive, finite standard deviation"
            )


@dataclass(frozen=True, eq=False)
class Gaussian(Independent):
    """Independent Gaussian errors.

    Parameters
    ----------
    deviation : float or (observation,) array
        Standard deviation, in the units of the observation; positive.
    """

    is_gaussian: ClassVar[bool] = True

    def whiten(self, residuals: Array) -> Array:
        """``R^(-1/2) r`` along the last axis."""
        return residuals / self._scale(residuals)

    def rescaled(self, factor: Any) -> Gaussian:
        """Law of errors that are `factor` times as large."""
        return Gaussian(self.deviation * factor)

    def weigh(self, residuals: Array) -> Array:
        """``R^(-1) r`` along the last axis."""
        scale = self._scale(residuals)
        return residuals * (1 / (scale * scale))

    def covariance(self, value: Array) -> Array:
        """Matrix R for observations shaped like `value`."""
        xp = namespace(value)
        deviation = self.standard_deviation(value)
        return (deviation * deviation)[:, None] * xp.eye(value.shape[0], dtype=value.dtype, device=value.device)

    def each(self, value: Array, predicted: Array) -> Array:
        """``log p(y | h)`` of every observation up to a constant."""
        white = self.whiten(value - predicted)
        return -0.5 * white * white

    def score(self, value: Array, predicted: Array) -> Array:
        """``R^(-1) (y - h)``."""
        return self.weigh(value - predicted)

    def tempered(self, weight: float) -> Gaussian:
        """Law whose log density is `weight` times this one's."""
        return Gaussian(self.deviation / math.sqrt(weight))

    def noise(self, shape: tuple[int, ...], value: Array, rng: Generator) -> Array:
        """Errors of the given shape ``(..., observation)``."""
        noise = normal(rng, shape, value)
        return noise * self._scale(noise)

    def draw(self, predicted: Array, rng: Generator) -> Array:
        """Observations of the predicted values."""
        return predicted + self.noise(predicted.shape, predicted, rng)


@dataclass(frozen=True, eq=False)
class _Tempered(Independent):
    """A law whose log density is multiplied by a weight."""

    law: Any
    weight: float

    def each(self, value: Array, predicted: Array) -> Array:
        return self.weight * self.law.each(value, predicted)

    def score(self, value: Array, predicted: Array) -> Array:
        return self.weight * self.law.score(value, predicted)

    def column(self) -> Any:
        return _Tempered(self.deviation, self.law.column(), self.weight)

    def standard_deviation(self, value: Array) -> Array:
        return self.law.standard_deviation(value) / math.sqrt(self.weight)

    def restrict(self, index: np.ndarray) -> Any:
        return self.law.restrict(index).tempered(self.weight)

    def tempered(self, weight: float) -> Any:
        return _Tempered(self.deviation, self.law, self.weight * weight)

    def check(self, value: Array) -> None:
        self.law.check(value)


@dataclass(frozen=True, eq=False)
class Correlated:
    """Gaussian errors with a full covariance matrix R.

    Parameters
    ----------
    matrix : (observation, observation) array
        Covariance, in squared units of the observation; symmetric positive definite.
    """

    matrix: Any
    is_gaussian: ClassVar[bool] = True
    is_independent: ClassVar[bool] = False

    @cached_property
    def _factor(self) -> Array:
        return namespace(self.matrix).linalg.cholesky(self.matrix)

    @cached_property
    def _inverse_factor(self) -> Array:
        if isinstance(self._factor, np.ndarray):
            return scipy.linalg.solve_triangular(self._factor, np.eye(len(self._factor)), lower=True)
        return namespace(self.matrix).linalg.inv(self._factor)

    def _cast(self, matrix: Array, other: Array) -> Array:
        return namespace(other).astype(matrix, other.dtype, copy=False)

    def standard_deviation(self, value: Array) -> Array:
        """Standard deviation per observation, shape of `value`."""
        xp = namespace(value)
        return self._cast(xp.sqrt(xp.linalg.diagonal(self.matrix)), value)

    def whiten(self, residuals: Array) -> Array:
        """``C^(-1) r`` along the last axis, with ``R = C C^T`` (Cholesky)."""
        return namespace(residuals).matmul(residuals, self._cast(self._inverse_factor, residuals).T)

    def weigh(self, residuals: Array) -> Array:
        """``R^(-1) r`` along the last axis."""
        return namespace(residuals).matmul(self.whiten(residuals), self._cast(self._inverse_factor, residuals))

    def covariance(self, value: Array) -> Array:
        """Matrix R for observations shaped like `value`."""
        return self._cast(self.matrix, value)

    def log_density(self, value: Array, predicted: Array) -> Array:
        """``log p(y | h)`` up to a constant."""
        white = self.whiten(value - predicted)
        return -0.5 * namespace(white).sum(white * white, axis=-1)

    def score(self, value: Array, predicted: Array) -> Array:
        """``R^(-1) (y - h)``."""
        return self.weigh(value - predicted)

    def noise(self, shape: tuple[int, ...], value: Array, rng: Generator) -> Array:
        """Errors of the given shape ``(..., observation)``."""
        noise = normal(rng, shape, value)
        return namespace(noise).matmul(noise, self._cast(self._factor, noise).T)

    def draw(self, predicted: Array, rng: Generator) -> Array:
        """Observations of the predicted values."""
        return predicted + self.noise(predicted.shape, predicted, rng)

    def tempered(self, weight: float) -> Correlated:
        """Law whose log density is `weight` times this one's."""
        return Correlated(self.matrix / weight)

    def rescaled(self, factor: Any) -> Correlated:
        """Law of errors that are `factor` times as large."""
        outer = factor if np.ndim(factor) == 0 else factor[:, None]
        return Correlated(self.matrix * outer * factor)

    def restrict(self, index: np.ndarray) -> Correlated:
        """Law of the observations at `index`."""
        xp, chosen = namespace(self.matrix), like(index, self.matrix)
        return Correlated(xp.take(xp.take(self.matrix, chosen, axis=0), chosen, axis=1))

    def check(self, value: Array) -> None:
        """Raise ValueError for a matrix that is not symmetric positive definite or does not fit."""
        size = value.shape[0]
        if self.matrix.shape != (size, size):
            raise ValueError(f"observation covariance has shape {self.matrix.shape}: give ({size}, {size})")
        if not self._positive_definite:
            raise ValueError("observation covariance is not symmetric positive definite: check its entries")

    @cached_property
    def _positive_definite(self) -> bool:
        matrix = to_numpy(self.matrix)
        symmetric = np.allclose(matrix, matrix.T, atol=1e-6 * np.abs(matrix).max(initial=0.0))
        return bool(symmetric and np.linalg.eigvalsh(matrix).min(initial=np.inf) > 0)
