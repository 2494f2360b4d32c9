"""The model of Lorenz (1996): advection, damping and forcing on a circle of latitude.

    dx_i/dt = (x_{i+1} - x_{i-2}) x_{i-1} - x_i + F,   indices modulo the size.

The advection conserves the energy sum_i x_i^2 / 2. With F = 8 and 40 variables the leading Lyapunov exponent
is about 1.67: errors double in 0.4 time units.
"""

from __future__ import annotations

import math
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

__all__ = ["ForcedLorenz96", "Lorenz96", "NoisyLorenz96"]


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
        rows = result.reshape(-1, self.size)
        forcing = np.full(len(rows), self.forcing, result.dtype)
        _advance(rows, forcing, rk4_table(self.dt, result.dtype), steps)
        return result


@dataclass(frozen=True)
class NoisyLorenz96:
    """Lorenz-96 driven by white noise, ``dX = f(X) dt + noise dW``, stepped by Euler-Maruyama.

    Source: Bao, Zhang & Zhang, arXiv 2309.00983v1, section 4.2.

    Parameters
    ----------
    size : int
        Number of variables, at least 4.
    forcing : float
        F.
    dt : float
        Time step, dimensionless.
    noise : float
        Standard deviation that the noise alone gives a variable in a unit of time.

    Raises
    ------
    ValueError
        If there are fewer than 4 variables, the time step is not positive, or the noise is negative.
    """

    size: int = 40
    forcing: float = 8.0
    dt: float = 0.005
    noise: float = 0.1

    dims: ClassVar[tuple[str, ...]] = ("i",)
    variable: ClassVar[str] = "x"
    long_name: ClassVar[str] = "Lorenz-96 variable"
    units: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        check_settings(self.size, 4, self.dt)
        if not 0 <= self.noise < math.inf:
            raise ValueError(f"noise is {self.noise}: give a number of 0 or more")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the state."""
        return (self.size,)

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Site number."""
        return {"i": np.arange(self.size)}

    def advance(self, states: Array, time: float, duration: float, rng: Generator | None = None) -> Array:
        """States ``(..., state)`` after `duration`; every state has noise of its own.

        Parameters
        ----------
        states : (..., state) array
            Dimensionless; on the host.
        time : float
            Not used: the law of the model does not depend on it.
        duration : float
            A multiple of `dt`, dimensionless.
        rng : numpy.random.Generator, optional
            For the noise; needed unless that is 0.

        Raises
        ------
        ValueError
            If `duration` is not a whole number of steps, the last axis is not the state, or there is noise but no
            `rng`.
        """
        steps = whole_steps(duration, self.dt)
        check_states(states, self.size)
        result = np.array(states, order="C")
        deviation = self.noise * math.sqrt(self.dt)
        if deviation and steps and rng is None:
            raise ValueError("a model with noise draws random numbers: give advance an rng")
        for row in result.reshape(-1, self.size):
            for _ in range(steps):
                drawn = rng.standard_normal(self.size, dtype=row.dtype) if rng is not None and deviation else None
                _euler(row, row.dtype.type(self.forcing), row.dtype.type(self.dt))
                if drawn is not None:
                    drawn *= deviation
                    row += drawn
        return result


@dataclass(frozen=True)
class ForcedLorenz96:
    """Lorenz-96 whose state ends with its forcing, ``(x_0, ..., x_{size-1}, F)``: each member has its own.

    F is a parameter: it stays as it is, or, as that of a truth, moves by ``swing sin(2 pi time / period)``.

    Parameters
    ----------
    size : int
        Number of variables without the forcing, at least 4.
    dt : float
        Time step, dimensionless.
    swing : float
        Amplitude of the motion of F about its first value.
    period : float
        Model time of a whole motion.

    Raises
    ------
    ValueError
        If there are fewer than 4 variables, or time step or period are not positive.
    """

    size: int = 40
    dt: float = 0.05
    swing: float = 0.0
    period: float = 1.0

    dims: ClassVar[tuple[str, ...]] = ("i",)
    variable: ClassVar[str] = "x"
    long_name: ClassVar[str] = "Lorenz-96 variable, and the forcing behind the last"
    units: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        check_settings(self.size, 4, self.dt)
        if not self.period > 0:
            raise ValueError(f"period of the forcing is {self.period}: give a positive model time")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the state."""
        return (self.size + 1,)

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Site number; that of the forcing is the size."""
        return {"i": np.arange(self.size + 1)}

    def forcing(self, time: float) -> float:
        """How far F has moved since time 0."""
        return self.swing * math.sin(2 * math.pi * time / self.period)

    def advance(self, states: Array, time: float, duration: float, rng: Generator | None = None) -> Array:
        """States ``(..., state)`` after `duration`; each step has the forcing at its start.

        Parameters
        ----------
        states : (..., state) array
            Dimensionless; on the host.
        time : float
            When it starts.
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
        check_states(states, self.size + 1)
        result = np.array(states, order="C").reshape(-1, self.size + 1)
        rows, table = np.ascontiguousarray(result[:, :-1]), rk4_table(self.dt, result.dtype)
        first = result[:, -1] - self.forcing(time)
        for step in range(steps):
            forcing = first + self.forcing(time + step * self.dt)
            _advance(rows, forcing.astype(result.dtype, copy=False), table, 1)
        result[:, :-1], result[:, -1] = rows, first + self.forcing(time + duration)
        return result.reshape(states.shape)


@numba.njit(cache=True)
def _advance(states, forcing, table, steps):
    """Overwrite the rows of `states`, each with its forcing, with their values after `steps` Runge-Kutta steps."""
    size = states.shape[1]
    stage = np.empty(size + 3, states.dtype)  # x_{-2}, x_{-1}, x_0, ..., x_{size-1}, x_size
    slope = np.empty(size, states.dtype)
    total = np.empty(size, states.dtype)
    for row in range(states.shape[0]):
        start, drive = states[row], forcing[row]
        for _ in range(steps):
            for i in range(size):
                total[i] = stage[i + 2] = start[i]
            for node, weight in table:
                stage[0], stage[1], stage[size + 2] = stage[size], stage[size + 1], stage[2]
                for i in range(size):
                    slope[i] = (stage[i + 3] - stage[i]) * stage[i + 1] - stage[i + 2] + drive
                for i in range(size):
                    total[i] += weight * slope[i]
                    stage[i + 2] = start[i] + node * slope[i]
            for i in range(size):
                start[i] = total[i]


@numba.njit(cache=True, nogil=True)
def _euler(state, forcing, dt):
    """Overwrite a state with its value after one step of Euler's method."""
    size = state.size
    first, last = state[0], state[size - 1]
    second_before, before = state[size - 2], last
    for i in range(size):
        here = state[i]
        after = state[i + 1] if i + 1 < size else first
        state[i] = here + dt * ((after - second_before) * before - here + forcing)
        second_before, before = before, here
