"""Error laws: the density of an observation given its prediction, p(y | h).

The errors of `Gaussian` are independent, those of `Correlated` have a full covariance matrix R. A standard deviation
is meant wherever a plain number or vector is given, never a variance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import ClassVar, Protocol, Self, TypeGuard, cast

import numpy as np

from ensf.arrays import (
    Array,
    Generator,
    Numbers,
    Record,
    as_floating,
    is_host,
    like,
    namespace,
    normal,
    rows,
    summary,
    to_numpy,
)
from ensf.arrays.settings import as_indices

__all__ = [
    "Correlated",
    "ErrorLaw",
    "Gaussian",
    "GaussianLaw",
    "Independent",
    "IndependentLaw",
    "is_error_law",
    "is_gaussian",
    "is_independent",
]


class ErrorLaw(Protocol):
    """Density of the observation given its prediction."""

    is_gaussian: ClassVar[bool]
    is_independent: ClassVar[bool]

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

    def rescaled(self, factor: Numbers) -> ErrorLaw | None:
        """Law of errors that are `factor` times as large, of either sign, a number or one per observation.

        None if there is no such.
        """

    def check(self, value: Array) -> None:
        """Raise ValueError if the law does not fit the values; of missing ones (NaN) nothing is asked."""


class IndependentLaw(ErrorLaw, Protocol):
    """A law of errors that are independent."""

    def each(self, value: Array, predicted: Array) -> Array:
        """``log p(y | h)`` of every observation up to a constant, shape of `predicted`."""

    def column(self) -> IndependentLaw:
        """The same law for predictions with one more axis behind that of the observations."""

    def weight(self, value: Array, predicted: Array) -> Array | None:
        """Influence of every observation beside that of one that agrees, shape of `predicted`, from 0 to 1.

        None for a law that bounds no influence.
        """

    def restrict(self, index: np.ndarray) -> IndependentLaw:
        """Law of the observations at `index`."""

    def tempered(self, weight: float) -> IndependentLaw:
        """Law whose log density is `weight` times this one's."""


class GaussianLaw(ErrorLaw, Protocol):
    """A law of Gaussian errors."""

    def whiten(self, residuals: Array) -> Array:
        """``R^(-1/2) r`` along the last axis."""

    def weigh(self, residuals: Array) -> Array:
        """``R^(-1) r`` along the last axis."""

    def covariance(self, value: Array) -> Array:
        """Matrix R for observations shaped like `value`."""


def one_each(numbers: Numbers) -> TypeGuard[Array]:
    """Whether there is a number for every observation, rather than one for all."""
    return not isinstance(numbers, float | int)


def is_error_law(error: object) -> TypeGuard[ErrorLaw]:
    """Whether it is a law, rather than standard deviations."""
    return hasattr(error, "log_density")


def is_gaussian(law: ErrorLaw) -> TypeGuard[GaussianLaw]:
    """Whether errors are Gaussian: then the law can whiten."""
    return law.is_gaussian


def is_independent(law: ErrorLaw) -> TypeGuard[IndependentLaw]:
    """Whether errors are independent: then the law has a density for each."""
    return law.is_independent


@dataclass(frozen=True, eq=False, repr=False)
class Independent(Record):
    """Errors of the observations are independent, with a standard deviation each.

    Subclasses are dataclasses, whose fields are the parameters of the law: a number for all observations, or an array
    with one per observation.

    Parameters
    ----------
    deviation : float or (observation,) array
        Standard deviation, in the units of the observation; positive.

    Raises
    ------
    ValueError
        If a parameter is not made of real numbers, or one number that is NaN.
    """

    deviation: Numbers
    is_gaussian: ClassVar[bool] = False
    is_independent: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, numbers in self._parameters.items():
            array = as_floating(numbers, _label(self, name))
            if not array.ndim and np.isnan(float(array)):
                raise ValueError(f"{_label(self, name)} is nan: give a number")
            if type(numbers) not in (float, int):
                object.__setattr__(self, name, array if array.ndim else float(array))

    @property
    def _parameters(self) -> dict[str, Numbers]:
        return {parameter.name: getattr(self, parameter.name) for parameter in fields(self) if parameter.init}

    @property
    def _arrays(self) -> dict[str, Array]:
        """Parameters with one number per observation."""
        return {name: numbers for name, numbers in self._parameters.items() if one_each(numbers)}

    def each(self, value: Array, predicted: Array) -> Array:
        """``log p(y | h)`` of every observation up to a constant, shape of `predicted`."""
        raise _lacking(self, "each(value, predicted), the log density of every observation")

    def score(self, value: Array, predicted: Array) -> Array:
        """Derivative of `each` by the prediction, shape of `predicted`."""
        raise _lacking(self, "score(value, predicted), the derivative of its log density by the prediction")

    def draw(self, predicted: Array, rng: Generator) -> Array:
        """Observations of states with these predictions, shape of `predicted`."""
        raise _lacking(self, "draw(predicted, rng), which makes observations")

    def log_density(self, value: Array, predicted: Array) -> Array:
        """``log p(y | h)`` up to a constant."""
        return namespace(predicted).sum(self.each(value, predicted), axis=-1)

    def weight(self, value: Array, predicted: Array) -> Array | None:
        """None: the law bounds no influence."""
        return None

    def column(self) -> Self:
        """The same law for predictions with one more axis behind that of the observations."""
        return replace(self, **{name: numbers[..., None] for name, numbers in self._arrays.items()})

    def standard_deviation(self, value: Array) -> Array:
        """Standard deviation per observation, shape of `value`."""
        if not one_each(self.deviation):
            return namespace(value).full_like(value, self.deviation)
        return namespace(value).zeros_like(value) + beside(self.deviation, value)

    def restrict(self, index: np.ndarray) -> Self:
        """Law of the observations at `index`; itself if its parameters are the same for all."""
        arrays = self._arrays
        return replace(self, **{name: rows(numbers, index) for name, numbers in arrays.items()}) if arrays else self

    def tempered(self, weight: float) -> IndependentLaw:
        """Law whose log density is `weight` times this one's."""
        return _Tempered(self, weight)

    def rescaled(self, factor: Numbers) -> ErrorLaw | None:
        """None: the law may have more than a scale."""
        return None

    def _scale(self, residuals: Array) -> Numbers:
        return beside(self.deviation, residuals)

    def check(self, value: Array) -> None:
        """Raise ValueError for a parameter that does not fit the values, or a deviation that is not positive."""
        for name, numbers in self._arrays.items():
            if tuple(numbers.shape) != tuple(value.shape):
                raise ValueError(
                    f"{_label(self, name)} has shape {tuple(numbers.shape)} but there are {value.shape[0]} "
                    "observations: give one number, or an array with one per observation"
                )
            if name != "deviation" and (missing := np.isnan(to_numpy(numbers)) & ~np.isnan(to_numpy(value))).any():
                raise ValueError(
                    f"{_label(self, name)} number {int(np.argmax(missing))} is missing but its observation is not: "
                    "give a number"
                )
        if not one_each(self.deviation) and 0 < self.deviation < math.inf:
            return
        deviation = np.broadcast_to(to_numpy(self.deviation), value.shape)
        bad = ~(np.isfinite(deviation) & (deviation > 0)) & ~np.isnan(to_numpy(value))
        if bad.any():
            k = int(np.argmax(bad))
            raise ValueError(
                f"observation error number {k} is {deviation[k]}: give a positive, finite standard deviation"
            )


def _lacking(law: Independent, verb: str) -> ValueError:
    return ValueError(f"{type(law).__name__} has no {verb}: give its class this method, or take another error law")


def _label(law: Independent, name: str) -> str:
    return "observation error" if name == "deviation" else f"{name} of {type(law).__name__}"


def beside(numbers: Numbers, array: Array) -> Numbers:
    """A parameter of a law where `array` lives, in its dtype; a single number stays one."""
    return alike(numbers, array) if one_each(numbers) else numbers


def alike(numbers: Array, array: Array) -> Array:
    """Numbers of a law where `array` lives, in its dtype."""
    if is_host(numbers) and not is_host(array):
        return like(numbers, array)
    return namespace(array).astype(numbers, array.dtype, copy=False)


@dataclass(frozen=True, eq=False, repr=False)
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

    def rescaled(self, factor: Numbers) -> Gaussian:
        """Law of errors that are `factor` times as large."""
        if np.ndim(factor) and is_host(factor) and np.ndim(self.deviation) and not is_host(self.deviation):
            factor = like(factor, self.deviation)  # type: ignore[arg-type]
        return Gaussian(cast(Numbers, abs(self.deviation * factor)))

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


@dataclass(frozen=True)
class _Tempered:
    """A law of independent errors whose log density is multiplied by a weight."""

    law: IndependentLaw
    part: float
    is_gaussian: ClassVar[bool] = False
    is_independent: ClassVar[bool] = True

    def each(self, value: Array, predicted: Array) -> Array:
        return self.part * self.law.each(value, predicted)

    def log_density(self, value: Array, predicted: Array) -> Array:
        return self.part * self.law.log_density(value, predicted)

    def score(self, value: Array, predicted: Array) -> Array:
        return self.part * self.law.score(value, predicted)

    def draw(self, predicted: Array, rng: Generator) -> Array:
        raise ValueError(f"a part of {self.law!r} is no density to draw from: draw from the law itself")

    def weight(self, value: Array, predicted: Array) -> Array | None:
        return self.law.weight(value, predicted)

    def column(self) -> _Tempered:
        return _Tempered(self.law.column(), self.part)

    def standard_deviation(self, value: Array) -> Array:
        return self.law.standard_deviation(value) / math.sqrt(self.part)

    def restrict(self, index: np.ndarray) -> _Tempered:
        return _Tempered(self.law.restrict(index), self.part)

    def tempered(self, weight: float) -> _Tempered:
        return _Tempered(self.law, self.part * weight)

    def rescaled(self, factor: Numbers) -> ErrorLaw | None:
        return None

    def check(self, value: Array) -> None:
        self.law.check(value)


@dataclass(frozen=True, eq=False, repr=False)
class Correlated:
    """Gaussian errors with a full covariance matrix R.

    Parameters
    ----------
    matrix : (observation, observation) array
        Covariance, in squared units of the observation; symmetric positive definite. Of missing observations nothing is
        asked.
    """

    matrix: Array
    is_gaussian: ClassVar[bool] = True
    is_independent: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrix", as_floating(self.matrix, "observation covariance"))

    @cached_property
    def _factor(self) -> Array:
        return namespace(self.matrix).linalg.cholesky(self.matrix)

    @cached_property
    def _inverse_factor(self) -> Array:
        if is_host(self._factor):
            import scipy.linalg

            return scipy.linalg.solve_triangular(self._factor, np.eye(len(self._factor)), lower=True)
        return namespace(self.matrix).linalg.inv(self._factor)

    def standard_deviation(self, value: Array) -> Array:
        """Standard deviation per observation, shape of `value`."""
        xp = namespace(value)
        return alike(xp.sqrt(xp.linalg.diagonal(self.matrix)), value)

    def whiten(self, residuals: Array) -> Array:
        """``C^(-1) r`` along the last axis, with ``R = C C^T`` (Cholesky)."""
        return namespace(residuals).matmul(residuals, alike(self._inverse_factor, residuals).T)

    def weigh(self, residuals: Array) -> Array:
        """``R^(-1) r`` along the last axis."""
        return namespace(residuals).matmul(self.whiten(residuals), alike(self._inverse_factor, residuals))

    def covariance(self, value: Array) -> Array:
        """Matrix R for observations shaped like `value`."""
        return alike(self.matrix, value)

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
        return namespace(noise).matmul(noise, alike(self._factor, noise).T)

    def draw(self, predicted: Array, rng: Generator) -> Array:
        """Observations of the predicted values."""
        return predicted + self.noise(predicted.shape, predicted, rng)

    def tempered(self, weight: float) -> Correlated:
        """Law whose log density is `weight` times this one's."""
        return Correlated(self.matrix / weight)

    def rescaled(self, factor: Numbers) -> Correlated:
        """Law of errors that are `factor` times as large."""
        outer = factor[:, None] if one_each(factor) else factor
        return Correlated(self.matrix * outer * factor)

    def restrict(self, index: np.ndarray) -> Correlated:
        """Law of the observations at `index`."""
        xp, chosen = namespace(self.matrix), like(as_indices(index, "index"), self.matrix)
        return Correlated(xp.take(xp.take(self.matrix, chosen, axis=0), chosen, axis=1))

    def check(self, value: Array) -> None:
        """Raise ValueError for a matrix that is not symmetric positive definite or does not fit."""
        size = value.shape[0]
        if tuple(self.matrix.shape) != (size, size):
            raise ValueError(f"observation covariance has shape {tuple(self.matrix.shape)}: give ({size}, {size})")
        there = ~np.isnan(to_numpy(value))
        law = self if there.all() else self.restrict(np.flatnonzero(there))
        if not law._positive_definite:
            raise ValueError("observation covariance is not symmetric positive definite: check its entries")

    @cached_property
    def _positive_definite(self) -> bool:
        matrix = to_numpy(self.matrix)
        if not np.isfinite(matrix).all():
            return False
        symmetric = np.allclose(matrix, matrix.T, atol=1e-6 * np.abs(matrix).max(initial=0.0))
        return bool(symmetric and np.linalg.eigvalsh(matrix).min(initial=np.inf) > 0)

    def __repr__(self) -> str:
        return f"Correlated({summary(self.matrix)})"
