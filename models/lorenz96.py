"""The model of Lorenz (1996): advection, damping and forcing on a circle of latitude.

    dx_i/dt = (x_{i+1} - x_{i-2}) x_{i-1} - x_i + F,   indices modulo the size.

The advection conserves the energy sum_i x_i^2 / 2. With F = 8 and 40 variables the leading Lyapunov exponent
is about 1.67: errors double in 0.4 time units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import array_api_compat
import numba
import numpy as np

from ensf.models.integrate import (
    Array,
    Generator,
    check_settings,
    check_states,
    compilable,
    rk4,
    rk4_table,
    whole_steps,
)

__all__ = ["Lorenz96"]


@dataclass(frozen=True)
class Lorenz96:
    """Lorenz-96, stepped by classical Runge-Kutta.

    Source: E. N. Lorenz, Predictability: a problem partly solved, ECMWF Seminar on Predictability 1 (1996) 1,
    eq. 1.

    Parameters
    ----------
    size : int
        Number of variables, at least 4.
    forcing : float
        F.
    dt : float
        Time step, dimensionless (1 stands for about 5 days).

    Raises
    ------
    ValueError
        If there are fewer than 4 variables, or the time step is not positive.
    """

    size: int = 40
    forcing: float = 8.0
    dt: float = 0.05

    dims: ClassVar[tuple[str, ...]] = ("i",)
    variable: ClassVar[str] = "x"
    long_name: ClassVar[str] = "Lorenz-96 variable"
    units: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        check_settings(self.size, 4, self.dt)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the state."""
        return (self.size,)

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Site number."""
        return {"i": np.arange(self.size)}

    def advection(self, states: Array) -> Array:
        """``(x_{i+1} - x_{i-2}) x_{i-1}``, ``(..., state) -> (..., state)``."""
        xp = array_api_compat.array_namespace(states)
        halo = xp.concat((states[..., -2:], states, states[..., :1]), axis=-1)
        return (halo[..., 3:] - halo[..., :-3]) * halo[..., 1:-2]

    def tendency(self, states: Array) -> Array:
        """``dx/dt``, ``(..., state) -> (..., state)``."""
        return self.advection(states) - states + self.forcing

    def advance(self, states: Array, time: float, duration: float, rng: Generator | None = None) -> Array:
        """States ``(..., state)`` after `duration`.

        Parameters
        ----------
        states : (..., state) array
            Dimensionless.
        time : float
            Not used: the model does not depend on it.
        duration : float
            A multiple of `dt`, dimensionless.
        rng : numpy.random.Generator, optional
            Not used: the model draws nothing.

        Raises
        ------
        ValueError
            If `duration` is not a whole number of steps, or the last axis is not the state.
        """
        steps = whole_steps(duration, self.dt)
        check_states(states, self.size)
        if not compilable(states):
            return rk4(self.tendency, states, self.dt, steps)
        result = np.array(states, order="C")
        forcing = result.dtype.type(self.forcing)
        _advance(result.reshape(-1, self.size), forcing, rk4_table(self.dt, result.dtype), steps)
        return result


@numba.njit(cache=True)
def _advance(states, forcing, table, steps):
    """Overwrite the rows of `states` with their values after `steps` Runge-Kutta steps."""
    size = states.shape[1]
    stage = np.empty(size + 3, states.dtype)  # x_{-2}, x_{-1}, x_0, ..., x_{size-1}, x_size
    slope = np.empty(size, states.dtype)
    total = np.empty(size, states.dtype)
    for row in range(states.shape[0]):
        start = states[row]
        for _ in range(steps):
            for i in range(size):
                total[i] = stage[i + 2] = start[i]
            for node, weight in table:
                stage[0], stage[1], stage[size + 2] = stage[size], stage[size + 1], stage[2]
                for i in range(size):
                    slope[i] = (stage[i + 3] - stage[i]) * stage[i + 1] - stage[i + 2] + forcing
                for i in range(size):
                    total[i] += weight * slope[i]
                    stage[i + 2] = start[i] + node * slope[i]
            for i in range(size):
                start[i] = total[i]
