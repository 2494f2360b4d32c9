"""Scalar functions that act on every entry of an array, with a derivative: what a sensor does to what it sees.

Functions may differ from observation to observation: f_k(eta_k). Then the last axis of their values is that of the
observations; `column` gives the same functions for values with one more axis behind it, `restrict` those of some
observations only. Where all observations share one function, both give the function itself.

    Function    f                         the same for all
    Affine      a_k + d_k eta_k
    Composed    outer_k(inner_k(eta_k))
    Mixed       f_n(k)(eta_k)             several functions, each for some of the observations
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np

from ensf.arrays import Array, Numbers, as_floating, is_host, like, namespace, rows, summary
from ensf.arrays.settings import as_indices

__all__ = [
    "Affine",
    "Composed",
    "Function",
    "Mixed",
    "PointwiseFunction",
    "absolute",
    "arctan",
    "cube",
    "exponential",
    "identity",
    "identity_rows",
    "log",
    "square",
]


@runtime_checkable
class PointwiseFunction(Protocol):
    """One scalar function for each observation, or one for all."""

    def __call__(self, values: Array) -> Array:
        """Of values ``(..., observation)``."""

    def slope(self, values: Array) -> Array:
        """Derivative at `values`, same shape."""

    def column(self) -> PointwiseFunction:
        """The same for values with one more axis behind that of the observations."""

    def restrict(self, index: Array) -> PointwiseFunction:
        """The functions of the observations at `index`."""

    @property
    def affine(self) -> tuple[Numbers, Numbers] | None:
        """a and d of a + d eta, numbers or ``(observation,)`` arrays; None if it is not of that form."""


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

    def __post_init__(self) -> None:
        if not callable(self.forward) or not (self.derivative is None or callable(self.derivative)):
            raise ValueError(f"Function has {self.forward!r}, {self.derivative!r}: give functions of an array")

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

    def column(self) -> Function:
        """Itself: it acts on arrays of any shape."""
        return self

    def restrict(self, index: Array) -> Function:
        """Itself: it is the same for every observation."""
        return self

    @property
    def affine(self) -> tuple[float, float] | None:
        """0 and 1 for the identity."""
        return (0.0, 1.0) if self.forward is _identity else None

    def __repr__(self) -> str:
        return self.name or f"Function({getattr(self.forward, '__name__', 'user')})"


@dataclass(frozen=True, eq=False)
class Affine:
    """``a + d eta``.

    Parameters
    ----------
    offset, factor : float or (observation,) array
    behind : int
        Number of axes of the values behind that of the observations.
    """

    offset: Numbers
    factor: Numbers
    behind: int = 0

    def __post_init__(self) -> None:
        for name in ("offset", "factor"):
            array = as_floating(getattr(self, name), f"{name} of Affine")
            if not array.ndim and np.isnan(float(array)):
                raise ValueError(f"{name} of Affine is nan: give a number")
            object.__setattr__(self, name, array if array.ndim else float(array))

    def __repr__(self) -> str:
        offset, factor = (summary(one) if np.ndim(one) else one for one in (self.offset, self.factor))
        return f"Affine(offset={offset}, factor={factor})"

    def __call__(self, values: Array) -> Array:
        return self._beside(self.offset, values) + self._beside(self.factor, values) * values

    def slope(self, values: Array) -> Array:
        """d, in the shape of `values`."""
        return namespace(values).ones_like(values) * self._beside(self.factor, values)

    def inverse(self, values: Array) -> Array:
        """``(values - a) / d``."""
        return (values - self._beside(self.offset, values)) / self._beside(self.factor, values)

    def column(self) -> Affine:
        """The same for values with one more axis behind that of the observations."""
        return replace(self, behind=self.behind + 1)

    def restrict(self, index: Array) -> Affine:
        """The functions of the observations at `index`."""
        return replace(self, offset=_rows(self.offset, index), factor=_rows(self.factor, index))

    @property
    def affine(self) -> tuple[Numbers, Numbers]:
        """a and d."""
        return self.offset, self.factor

    def _beside(self, numbers: Numbers, values: Array) -> Numbers:
        if np.ndim(numbers) == 0:
            return numbers
        numbers = like(numbers, values) if is_host(numbers) else numbers
        return namespace(values).reshape(numbers, (-1,) + (1,) * self.behind)


def _rows(numbers: Numbers, index: Array) -> Numbers:
    return numbers if np.ndim(numbers) == 0 else rows(numbers, index)


@dataclass(frozen=True)
class Composed:
    """One function after another, ``outer(inner(x))``.

    Parameters
    ----------
    outer, inner : Function, Mixed or alike
    """

    outer: PointwiseFunction
    inner: PointwiseFunction

    def __call__(self, values: Array) -> Array:
        return self.outer(self.inner(values))

    def slope(self, values: Array) -> Array:
        """Derivative at `values`, by the chain rule."""
        return self.outer.slope(self.inner(values)) * self.inner.slope(values)

    def column(self) -> Composed:
        """The same for values with one more axis behind that of the observations."""
        return Composed(self.outer.column(), self.inner.column())

    def restrict(self, index: Array) -> Composed:
        """The functions of the observations at `index`."""
        return Composed(self.outer.restrict(index), self.inner.restrict(index))

    @property
    def affine(self) -> tuple[Numbers, Numbers] | None:
        """``a_o + d_o a_i`` and ``d_o d_i``, if both are affine."""
        outer, inner = self.outer.affine, self.inner.affine
        if outer is None or inner is None:
            return None
        return outer[0] + outer[1] * inner[0], outer[1] * inner[1]


@dataclass(frozen=True)
class Mixed:
    """Several functions, each for some of the observations.

    Parameters
    ----------
    functions : tuple of Function or alike
        Those that differ themselves take their observations in order.
    number : tuple of int
        Which of them is that of each observation.
    axis : int
        Axis of the observations, from behind.
    """

    functions: tuple[PointwiseFunction, ...]
    number: tuple[int, ...]
    axis: int = -1

    def __post_init__(self) -> None:
        object.__setattr__(self, "number", tuple(as_indices(self.number, "Mixed").tolist()))

    def __repr__(self) -> str:
        counts = np.bincount(np.asarray(self.number, dtype=np.int64), minlength=len(self.functions)).tolist()
        return f"Mixed({', '.join(f'{n} of {one!r}' for one, n in zip(self.functions, counts, strict=True))})"

    def __call__(self, values: Array) -> Array:
        return self._each(values, [function.__call__ for function in self.functions])

    def slope(self, values: Array) -> Array:
        """Derivative at `values`, same shape."""
        return self._each(values, [function.slope for function in self.functions])

    def column(self) -> Mixed:
        """The same for values with one more axis behind that of the observations."""
        return replace(self, functions=tuple(one.column() for one in self.functions), axis=self.axis - 1)

    def restrict(self, index: Array) -> Mixed:
        """The functions of the observations at `index`."""
        number, index = np.asarray(self.number), as_indices(index, "index")
        rank = np.empty(len(number), dtype=np.int64)
        for few in self._order[0]:
            rank[few] = np.arange(len(few))
        parts = (one.restrict(rank[index[number[index] == n]]) for n, one in enumerate(self.functions))
        return replace(self, functions=tuple(parts), number=tuple(number[index].tolist()))

    @property
    def affine(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Those of each function, if all are affine."""
        each = [function.affine for function in self.functions]
        named = [one for one in each if one is not None]
        if len(named) < len(each):
            return None
        groups, order = self._order
        offset, factor = (
            np.concatenate(
                [np.zeros(0), *(np.broadcast_to(one[part], few.shape) for one, few in zip(named, groups, strict=True))]
            )
            for part in (0, 1)
        )
        return offset[order], factor[order]

    @cached_property
    def _order(self) -> tuple[list[np.ndarray], np.ndarray]:
        """Observations of each function, and where each observation is among these one after another."""
        number = np.asarray(self.number, dtype=np.int64)
        rows = [np.flatnonzero(number == n) for n in range(len(self.functions))]
        return rows, np.argsort(np.concatenate([number[:0], *rows]))

    def _each(self, values: Array, verbs: list[Callable[[Array], Array]]) -> Array:
        xp = namespace(values)
        rows, order = self._order
        if not len(order):
            return values
        parts = zip(verbs, rows, strict=True)
        images = [verb(xp.take(values, like(few, values), axis=self.axis)) for verb, few in parts if len(few)]
        return xp.take(xp.concat(images, axis=self.axis), like(order, values), axis=self.axis)


def identity_rows(function: PointwiseFunction, observations: int) -> np.ndarray:
    """Which observations are what they see, ``(observation,)`` array of bool."""
    if not isinstance(function, Mixed):
        return np.full(observations, function is identity)
    which = np.zeros(observations, dtype=bool)
    for one, index in zip(function.functions, function._order[0], strict=True):
        which[index] = identity_rows(one, len(index))
    return which


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


def _identity(x: Array) -> Array:
    return x


def _one(x: Array) -> Array:
    return namespace(x).ones_like(x)


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


identity = Function(_identity, _one, "identity")
arctan = Function(_arctan, _arctan_slope, "arctan")
absolute = Function(_abs, _sign, "absolute")
square = Function(_square, _square_slope, "square")
cube = Function(_cube, _cube_slope, "cube")
exponential = Function(_exp, _exp, "exponential")
log = Function(_log, _log_slope, "log")
