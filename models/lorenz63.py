"""The convection model of Lorenz (1963): chaos in three variables.

    dx/dt = sigma (y - x),   dy/dt = x (rho - z) - y,   dz/dt = x y - beta z.

With the standard parameters the leading Lyapunov exponent is 0.906, and volumes shrink like
exp(-(sigma + 1 + beta) t).
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

__all__ = ["Lorenz63"]


@dataclass(frozen=True)
class Lorenz63:
    """Lorenz-63, stepped by classical Runge-Kutta (E. N. Lorenz, J. Atmos. Sci. 20 (1963) 130, eqs. 25-27).

    Parameters
    ----------
    sigma, rho, beta : float
        Prandtl number, relative Rayleigh number, aspect parameter.
    dt : float
        Time step, dimensionless.

    Raises
    ------
    ValueError
        If the time step is not positive.
    """

    sigma: float = 10.0
    rho: float = 28.0
    beta: float = 8 / 3
    dt: float = 0.01

    shape: ClassVar[tuple[int, ...]] = (3,)
    dims: ClassVar[tuple[str, ...]] = ("i",)
    variable: ClassVar[str] = "x"
    long_name: ClassVar[str] = "Lorenz-63 convection amplitudes"
    units: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        check_settings(3, 3, self.dt)

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Component number 0, 1, 2 for x, y, z."""
        return {"i": np.arange(3)}

    def tendency(self, states: Array) -> Array:
        """``dx/dt``, ``(..., 3) -> (..., 3)``."""
        x, y, z = states[..., 0], states[..., 1], states[..., 2]
        slopes = (self.sigma * (y - x), x * (self.rho - z) - y, x * y - self.beta * z)
        return array_api_compat.array_namespace(states).stack(slopes, axis=-1)

    def advance(self, states: Array, time: float, duration: float, rng: Generator | None = None) -> Array:
        """States ``(..., 3)`` after `duration`.

        Parameters
        ----------
        states : (..., 3) array
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
        check_states(states, 3)
        if not compilable(states):
            return rk4(self.tendency, states, self.dt, steps)
        result = np.array(states, order="C")
        parameters = np.array((self.sigma, self.rho, self.beta), dtype=result.dtype)
        _advance(result.reshape(-1, 3), parameters, rk4_table(self.dt, result.dtype), steps)
        return result


@numba.njit(cache=True)
def _advance(states, parameters, table, steps):
    """Overwrite the rows of `states` with their values after `steps` Runge-Kutta steps."""
    sigma, rho, beta = parameters
    for row in range(states.shape[0]):
        x0, y0, z0 = states[row]
        for _ in range(steps):
            x, y, z = x0, y0, z0
            x1, y1, z1 = x0, y0, z0
            for node, weight in table:
                dx, dy, dz = sigma * (y - x), x * (rho - z) - y, x * y - beta * z
                x1, y1, z1 = x1 + weight * dx, y1 + weight * dy, z1 + weight * dz
                x, y, z = x0 + node * dx, y0 + node * dy, z0 + node * dz
            x0, y0, z0 = x1, y1, z1
        states[row, 0], states[row, 1], states[row, 2] = x0, y0, z0
