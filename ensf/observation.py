"""What was seen, and how likely it is: observation y = h(x) + e.

An *operator* maps states ``(..., state)`` to predicted observations ``(..., observation)`` and pulls residuals
back with its adjoint, ``J(x)^T r``. Operators that are a pointwise function of a linear map,
``h(x)_k = f((L x)_k)``, are their own class (`Pointwise`): consistent filters use that structure.

An *error law* is the density of y given h(x). A plain number or vector is a standard deviation of Gaussian errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import scipy.linalg
import scipy.sparse

from ensf.arrays import Array, Generator, like, namespace, normal, to_numpy

__all__ = [
    "Callback",
    "Correlated",
    "ErrorLaw",
    "Function",
    "Gaussian",
    "Identity",
    "Linear",
    "Observation",
    "Operator",
    "Pointwise",
    "Select",
    "WindSpeed",
    "absolute",
    "arctan",
    "cube",
    "exponential",
    "log",
    "square",
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

    index: tuple[int, ...]

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
        return sum(
            (xp.take(padded, table, axis=-1) for table in others), start=xp.take(padded, first, axis=-1)
        )

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
        return (
            (matrix @ flat.T)
            .T.reshape(*vectors.shape[:-1], matrix.shape[0])
            .astype(vectors.dtype, copy=False)
        )
    xp = namespace(vectors)
    return xp.matmul(vectors, xp.astype(matrix, vectors.dtype, copy=False).T)


# --- pointwise functions of a linear map -----------------------------------------------------------------


@dataclass(frozen=True)
class Function:
    """Scalar function with a derivative: user-given, else by complex step, else by finite differences.

    Parameters
    ----------
    forward : callable
        Acts elementwise on an array of any shape.
    derivative : callable, optional
        Its derivative, elementwise. Without it, a complex step is used where `forward` is complex-analytic
        (checked against a finite difference at the points of use), and central differences elsewhere.
    """

    forward: Callable[[Array], Array]
    derivative: Callable[[Array], Array] | None = None
    name: str = ""

    def __call__(self, values: Array) -> Array:
        return self.forward(values)

    def slope(self, values: Array) -> Array:
        """Derivative at `values`, same shape."""
        if self.derivative is not None:
            return self.derivative(values)
        central = _central_difference(self.forward, values)
        analytic = _complex_step(self.forward, values)
        xp = namespace(values)
        if analytic is None or not bool(xp.all(xp.abs(analytic - central) <= 1e-2 * (1 + xp.abs(central)))):
            return central
        return analytic

    def __repr__(self) -> str:
        return self.name or f"Function({getattr(self.forward, '__name__', 'user')})"


def _complex_step(function: Callable, values: Array, step: float = 1e-20) -> Array | None:
    xp = namespace(values)
    kind = xp.complex64 if values.dtype == xp.float32 else xp.complex128
    try:
        image = function(xp.astype(values, kind) + step * 1j)
    except Exception:  # whatever a user's function does with complex numbers that it was not made for
        return None
    return xp.imag(image) / step if xp.isdtype(image.dtype, "complex floating") else None


def _central_difference(function: Callable, values: Array) -> Array:
    xp = namespace(values)
    step = float(xp.finfo(values.dtype).eps) ** (1 / 3) * xp.maximum(xp.abs(values), xp.ones_like(values))
    return (function(values + step) - function(values - step)) / (2 * step)


def _arctan(x: Array) -> Array:
    return namespace(x).atan(x)


def _arctan_slope(x: Array) -> Array:
    return 1 / (1 + x * x)


def _abs(x: Array) -> Array:
    return namespace(x).abs(x)


def _sign(x: Array) -> Array:
    return namespace(x).sign(x)


def _square(x: Array) -> Array:
    return x * x


def _square_slope(x: Array) -> Array:
    return 2 * x


def _cube(x: Array) -> Array:
    return x * x * x


def _cube_slope(x: Array) -> Array:
    return 3 * x * x


def _exp(x: Array) -> Array:
    return namespace(x).exp(x)


def _log(x: Array) -> Array:
    return namespace(x).log(x)


def _log_slope(x: Array) -> Array:
    return 1 / x


arctan = Function(_arctan, _arctan_slope, "arctan")
absolute = Function(_abs, _sign, "absolute")
square = Function(_square, _square_slope, "square")
cube = Function(_cube, _cube_slope, "cube")
exponential = Function(_exp, _exp, "exponential")
log = Function(_log, _log_slope, "log")


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
        if not isinstance(self.function, Function):
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
        return self.eastward.adjoint(states, cosine * residuals) + self.northward.adjoint(
            states, sine * residuals
        )


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


def _restrict(operator: Any, index: tuple[int, ...]) -> Any:
    """Operator that predicts only the observations at `index`, keeping its class where it can."""
    if isinstance(operator, Identity):
        return Select(index)
    if isinstance(operator, Select):
        return Select(tuple(operator.index[i] for i in index))
    if isinstance(operator, Linear):
        return Linear(_rows(operator.matrix, index))
    if isinstance(operator, Pointwise):
        return replace(operator, linear=_restrict(operator.linear, index))
    if isinstance(operator, WindSpeed):
        return WindSpeed(_restrict(operator.eastward, index), _restrict(operator.northward, index))
    return _Present(operator, index)


def _rows(matrix: Any, index: Sequence[int]) -> Any:
    if hasattr(matrix, "tocsr"):
        return matrix.tocsr()[list(index)]
    return namespace(matrix).take(matrix, like(np.asarray(index, dtype=np.int64), matrix), axis=0)


def tangent(operator: Any, states: Array, directions: Array) -> Array:
    """``J(x) v``; by central differences for operators without a tangent of their own."""
    if hasattr(operator, "tangent"):
        return operator.tangent(states, directions)
    xp = namespace(states)
    step = float(xp.finfo(states.dtype).eps) ** (1 / 3)
    return (operator(states + step * directions) - operator(states - step * directions)) / (2 * step)


# --- error laws ------------------------------------------------------------------------------------------


class ErrorLaw(Protocol):
    """Density of the observation given its prediction."""

    def log_density(self, value: Array, predicted: Array) -> Array:
        """``log p(y | h)`` up to a constant, summed over observations: ``(..., observation) -> (...)``."""

    def score(self, value: Array, predicted: Array) -> Array:
        """``d log p(y | h) / d h``, shape of `predicted`."""

    def draw(self, predicted: Array, rng: Generator) -> Array:
        """Observations of the predicted values."""


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Independent Gaussian errors.

    Parameters
    ----------
    deviation : float or (observation,) array
        Standard deviation, in the units of the observation; positive.
    """

    deviation: Any

    def standard_deviation(self, value: Array) -> Array:
        """Standard deviation per observation, shape of `value`."""
        xp = namespace(value)
        if isinstance(self.deviation, float | int):
            return xp.full_like(value, self.deviation)
        return xp.broadcast_to(xp.astype(self.deviation, value.dtype, copy=False), value.shape)

    def whiten(self, residuals: Array) -> Array:
        """``R^(-1/2) r`` along the last axis."""
        return residuals / self._scale(residuals)

    def weigh(self, residuals: Array) -> Array:
        """``R^(-1) r`` along the last axis."""
        scale = self._scale(residuals)
        return residuals * (1 / (scale * scale))

    def covariance(self, value: Array) -> Array:
        """Matrix R for observations shaped like `value`."""
        xp = namespace(value)
        deviation = self.standard_deviation(value)
        return (deviation * deviation)[:, None] * xp.eye(
            value.shape[0], dtype=value.dtype, device=value.device
        )

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
        return noise * self._scale(noise)

    def draw(self, predicted: Array, rng: Generator) -> Array:
        """Observations of the predicted values."""
        return predicted + self.noise(predicted.shape, predicted, rng)

    def restrict(self, index: np.ndarray) -> Gaussian:
        """Law of the observations at `index`."""
        if isinstance(self.deviation, float | int) or self.deviation.ndim == 0:
            return self
        return Gaussian(_rows(self.deviation, index))

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
        deviation = np.atleast_1d(self.deviation if single else to_numpy(self.deviation))
        bad = ~(np.isfinite(deviation) & (deviation > 0))
        if bad.any():
            k = int(np.argmax(bad))
            raise ValueError(
                f"observation error number {k} is {deviation[k]}: give a positive, finite standard deviation"
            )


@dataclass(frozen=True, eq=False)
class Correlated:
    """Gaussian errors with a full covariance matrix R.

    Parameters
    ----------
    matrix : (observation, observation) array
        Covariance, in squared units of the observation; symmetric positive definite.
    """

    matrix: Any

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
        return namespace(residuals).matmul(
            self.whiten(residuals), self._cast(self._inverse_factor, residuals)
        )

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


# --- the record ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Observation:
    """One batch of observations.

    Parameters
    ----------
    value : (observation,) array
        What was measured; NaN = not observed.
    operator : Operator
        Maps states to predicted observations.
    error : float, (observation,) array, or error law
        Standard deviation (never a variance), or an object such as `Correlated`.
    position : (observation, dimension) array, optional
        Where each observation is, in the coordinates of the localization. Needed by local filters unless every
        observation is of a state variable at a known place (`Identity`, `Select`, pointwise functions of these).

    Raises
    ------
    ValueError
        If an error is zero, negative or not finite, or shapes do not fit.
    """

    value: Array
    operator: Any
    error: Any
    position: Array | None = None
    law: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if getattr(self.value, "ndim", None) != 1:
            raise ValueError("observation value must be a one-dimensional array, one entry per observation")
        _check_value(self.value)
        law = self.error if hasattr(self.error, "log_density") else Gaussian(self.error)
        law.check(self.value)
        object.__setattr__(self, "law", law)
        if self.position is not None and self.position.shape[0] != self.value.shape[0]:
            raise ValueError(
                f"there are {self.value.shape[0]} observations but {self.position.shape[0]} positions: "
                "give one position per observation"
            )

    @property
    def size(self) -> int:
        """Number of observations, missing ones included."""
        return self.value.shape[0]

    def log_likelihood(self, states: Array) -> Array:
        """``log p(y | x)`` up to a constant, ``(..., state) -> (...)``."""
        return self.law.log_density(self.value, self.operator(states))

    def score(self, states: Array) -> Array:
        """``grad_x log p(y | x)``, ``(..., state) -> (..., state)``."""
        return self.operator.adjoint(states, self.law.score(self.value, self.operator(states)))

    def present(self, dtype: Any = None) -> Observation:
        """The observations that are not missing (NaN), as `dtype` if one is given; itself if nothing changes."""
        xp = namespace(self.value)
        value = self.value if dtype is None else xp.astype(self.value, dtype, copy=False)
        missing = xp.isnan(value)
        if not bool(xp.any(missing)):
            return self if value is self.value else Observation(value, self.operator, self.law, self.position)
        index = np.flatnonzero(~to_numpy(missing))
        position = None if self.position is None else _rows(self.position, index)
        operator = _restrict(self.operator, tuple(index.tolist()))
        return Observation(_rows(value, index), operator, self.law.restrict(index), position)


def _check_value(value: Array) -> None:
    xp = namespace(value)
    if not xp.isdtype(value.dtype, "real floating"):
        raise ValueError(f"observation value has dtype {value.dtype}: give float32 or float64")
    infinite = xp.isinf(value)
    if bool(xp.any(infinite)):
        k = int(np.argmax(to_numpy(infinite)))
        raise ValueError(f"observation {k} is infinite: give a finite value, or NaN if it is missing")
