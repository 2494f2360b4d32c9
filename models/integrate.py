"""Time stepping: dx/dt = f(x) from t to t + h, for states ``(..., state)``.

Classical Runge-Kutta of order 4:

    k1 = f(x),  k2 = f(x + h k1/2),  k3 = f(x + h k2/2),  k4 = f(x + h k3),
    x <- x + h (k1 + 2 k2 + 2 k3 + k4) / 6.

Exponential time differencing of order 4 (ETDRK4) for dv/dt = c v + N(v) with a stiff diagonal c: the linear
part is exact, and functions of c h weigh the nonlinear part.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import array_api_compat
import numpy as np

Array: TypeAlias = np.ndarray
"""An array of NumPy, or of CuPy or another library that follows the array API; typed as the first."""
Generator: TypeAlias = np.random.Generator

__all__ = [
    "Etdrk4",
    "check_settings",
    "check_states",
    "compilable",
    "etdrk4",
    "like",
    "rk4",
    "rk4_table",
    "whole_steps",
]


def whole_steps(duration: float, dt: float) -> int:
    """Number of steps of length `dt` in `duration`.

    Parameters
    ----------
    duration, dt : float
        In the same units of time.

    Raises
    ------
    ValueError
        If `duration` is negative or not a whole number of steps, within rounding.
    """
    steps = duration / dt
    if not 0 <= steps < math.inf or abs(steps - round(steps)) > 1e-6:
        raise ValueError(f"{duration} is not a whole number of model steps of {dt}: give a multiple of dt")
    return round(steps)


def rk4(tendency: Callable[[Array], Array], states: Array, dt: float, steps: int = 1) -> Array:
    """States after `steps` classical Runge-Kutta steps of length `dt`; always a new array.

    Parameters
    ----------
    tendency : callable
        ``f``, of and to an array shaped like `states`.
    states : (..., state) array
    dt : float
        In the units of time of `tendency`.
    steps : int
    """
    result = array_api_compat.array_namespace(states).asarray(states, copy=True)
    for _ in range(steps):
        start = stage = result
        for node, weight in rk4_table(dt, np.dtype(float)).tolist():
            slope = tendency(stage)
            result = result + weight * slope
            stage = start + node * slope
    return result


@lru_cache
def rk4_table(dt: float, dtype: np.dtype) -> np.ndarray:
    """One row (node of the next stage, weight of this slope) per stage, times `dt`: an array (4, 2)."""
    table = np.array([(dt / 2, dt / 6), (dt / 2, dt / 3), (dt, dt / 3), (0.0, dt / 6)], dtype=dtype)
    table.flags.writeable = False
    return table


class Etdrk4(NamedTuple):
    """Coefficients of one ETDRK4 step, in the notation of Kassam & Trefethen (2005).

    Attributes
    ----------
    full, half : exp(h c), exp(h c / 2)
    stage : weight of N within the stages (Q)
    first, middle, last : weights of N at the start, at the two midpoints and at the end (f1, f2, f3)
    """

    full: Array
    half: Array
    stage: Array
    first: Array
    middle: Array
    last: Array

    @classmethod
    def of(cls, linear: np.ndarray, dt: float, points: int) -> Etdrk4:
        """Coefficients for a real diagonal, as means over nodes of a unit half circle.

        The contour avoids the cancellation of the closed forms near zero
        (A.-K. Kassam and L. N. Trefethen, SIAM J. Sci. Comput. 26 (2005) 1214, eqs. 2.5 and 3.2).

        Parameters
        ----------
        linear : (wave,) array
            c, per unit of time.
        dt : float
            Length of the step.
        points : int
            Number of nodes.
        """
        nodes = np.exp(1j * np.pi * (np.arange(points) + 0.5) / points)
        z = dt * linear[:, None] + nodes
        e = np.exp(z)
        mean = lambda values: dt * np.mean(values, axis=-1).real  # noqa: E731
        return cls(
            full=np.exp(dt * linear),
            half=np.exp(dt * linear / 2),
            stage=mean((np.exp(z / 2) - 1) / z),
            first=mean((-4 - z + e * (4 - 3 * z + z**2)) / z**3),
            middle=mean(2 * (2 + z + e * (z - 2)) / z**3),
            last=mean((-4 - 3 * z - z**2 + e * (4 - z)) / z**3),
        )


def etdrk4(nonlinear: Callable[[Array], Array], table: Etdrk4, v: Array) -> Array:
    """One ETDRK4 step (Kassam & Trefethen 2005, eq. 2.5, after Cox & Matthews 2002).

    Parameters
    ----------
    nonlinear : callable
        ``N``, of and to an array shaped like `v`.
    table : Etdrk4
        Coefficients ``(wave,)``, which hold the length of the step.
    v : (..., wave) array

    Returns
    -------
    (..., wave) array
    """
    at_start = nonlinear(v)
    drifted = table.half * v
    a = drifted + table.stage * at_start
    at_a = nonlinear(a)
    at_b = nonlinear(drifted + table.stage * at_a)
    at_c = nonlinear(table.half * a + table.stage * (2 * at_b - at_start))
    return table.full * v + table.first * at_start + table.middle * (at_a + at_b) + table.last * at_c


def compilable(states: Array) -> bool:
    """True for the arrays that compiled loops serve: NumPy, float32 or float64."""
    return isinstance(states, np.ndarray) and states.dtype in (np.float32, np.float64)


def like(values: np.ndarray, states: Array) -> Array:
    """Host values with the namespace, device and precision of `states`; complex stays complex."""
    xp = array_api_compat.array_namespace(states)
    if xp.finfo(states.dtype).bits == 32:
        values = values.astype(np.complex64 if np.iscomplexobj(values) else np.float32)
    return values if isinstance(states, np.ndarray) else xp.asarray(values, device=array_api_compat.device(states))


def check_states(states: Array, size: int) -> None:
    """Raise ValueError if the last axis is not the state."""
    if states.ndim < 1 or states.shape[-1] != size:
        raise ValueError(f"states have shape {tuple(states.shape)}: the last axis must be the state of size {size}")


def check_settings(size: int, smallest: int, dt: float) -> None:
    """Raise ValueError for a grid that is too small or a time step that is not positive."""
    if size < smallest:
        raise ValueError(f"size is {size}: give at least {smallest} grid points")
    if not 0 < dt < math.inf:
        raise ValueError(f"dt is {dt}: give a positive time step")
