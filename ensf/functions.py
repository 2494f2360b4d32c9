"""Scalar functions that act on every entry of an array, with a derivative: what a sensor does to what it sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ensf.arrays import Array, namespace

__all__ = ["Function", "absolute", "arctan", "cube", "exponential", "log", "square"]


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
