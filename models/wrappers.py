"""Models made from models.

`Clipped` keeps every step inside bounds, ``|x| <= bound``. `Failing` loses members, one in so many. `Shocked` adds
noise after some steps,

    x <- x + s_n |x| xi,   xi ~ N(0, I),

where n counts the model steps since time 0. Both hold a model and are models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import array_api_compat
import numpy as np

from ensf.models.integrate import Array, Generator, like, whole_steps

__all__ = ["Clipped", "Failing", "Shocked"]


class Model(Protocol):
    """What wrappers need of a model."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dims(self) -> tuple[str, ...]: ...

    @property
    def coords(self) -> Mapping[str, np.ndarray]: ...

    @property
    def dt(self) -> float: ...

    @property
    def variable(self) -> str: ...

    @property
    def long_name(self) -> str: ...

    @property
    def units(self) -> str: ...

    def advance(self, states: Array, time: float, duration: float, rng: Generator | None = None) -> Array:
        """States ``(..., state)`` at ``time + duration``."""


class _Wrapper:
    """Grid, names and time step are those of the model inside."""

    model: Model

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the state."""
        return self.model.shape

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the dimensions."""
        return self.model.dims

    @property
    def coords(self) -> Mapping[str, np.ndarray]:
        """Coordinates of the dimensions."""
        return self.model.coords

    @property
    def dt(self) -> float:
        """Time step."""
        return self.model.dt

    @property
    def variable(self) -> str:
        """Short name of the variable."""
        return self.model.variable

    @property
    def long_name(self) -> str:
        """Long name of the variable."""
        return self.model.long_name

    @property
    def units(self) -> str:
        """Units of the variable."""
        return self.model.units


@dataclass(frozen=True)
class Failing(_Wrapper):
    """A model some of whose forecasts end without a result: such a member is NaN.

    Parameters
    ----------
    model : Model
    probability : float
        That a forecast of a member fails, each on its own.

    Raises
    ------
    ValueError
        If it is no probability.
    """

    model: Model
    probability: float

    def __post_init__(self) -> None:
        if not 0 <= self.probability < 1:
            raise ValueError(f"probability is {self.probability}: give a number from 0 to below 1")

    def advance(self, states: Array, time: float, duration: float, rng: Generator | None = None) -> Array:
        """States ``(member, state)`` after `duration`, NaN where one failed; without `rng` none fails.

        Parameters
        ----------
        states : (member, state) array
            In the units of the model; of other dimensions none fails.
        time, duration : float
            As of the model.
        rng : numpy.random.Generator, optional
            Draws which fail, and is then handed on to the model.
        """
        if rng is None or states.ndim != 2:
            return self.model.advance(states, time, duration, rng)
        failed = like(np.where(rng.random(states.shape[0]) < self.probability, np.nan, 0.0), states)
        return self.model.advance(states, time, duration, rng) + failed[:, None]


@dataclass(frozen=True)
class Clipped(_Wrapper):
    """A model whose state is clipped to ``[-bound, bound]`` after every step.

    Parameters
    ----------
    model : Model
    bound : float
        In the units of the state; positive.

    Raises
    ------
    ValueError
        If the bound is not positive.
    """

    model: Model
    bound: float

    def __post_init__(self) -> None:
        if not self.bound > 0:
            raise ValueError(f"bound is {self.bound}: give a positive number")

    def advance(self, states: Array, time: float, duration: float, rng: Generator | None = None) -> Array:
        """States ``(..., state)`` after `duration`.

        Parameters
        ----------
        states : (..., state) array
            In the units of the model.
        time : float
            Handed on to the model, step by step.
        duration : float
            A multiple of `dt`, in its units of time.
        rng : numpy.random.Generator, optional
            Handed on to the model.

        Raises
        ------
        ValueError
            If `duration` is not a whole number of steps.
        """
        steps = whole_steps(duration, self.dt)
        if steps == 0:
            return self.model.advance(states, time, 0.0, rng)
        xp = array_api_compat.array_namespace(states)
        for n in range(steps):
            states = self.model.advance(states, time + n * self.dt, self.dt, rng)
            states = xp.clip(states, -self.bound, self.bound)
        return states


@dataclass(frozen=True)
class Shocked(_Wrapper):
    """A model that is hit by noise proportional to its state after some of its steps.

    Parameters
    ----------
    model : Model
    profile : sequence of float
        Relative size ``s_n`` of the shock after model step n (the one from time ``n dt`` to ``(n + 1) dt``);
        0 is no shock, and there is none after the end of the profile.

    Raises
    ------
    ValueError
        If an entry of the profile is negative or not finite.
    """

    model: Model
    profile: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "profile", tuple(float(size) for size in self.profile))
        if not all(0 <= size < np.inf for size in self.profile):
            raise ValueError("the shock profile must hold finite numbers that are not negative")

    @cached_property
    def _shocked_steps(self) -> np.ndarray:
        return np.flatnonzero(self.profile)

    def advance(self, states: Array, time: float, duration: float, rng: Generator | None = None) -> Array:
        """States ``(..., state)`` after `duration`; every state gets noise of its own.

        Parameters
        ----------
        states : (..., state) array
            In the units of the model.
        time : float
            A multiple of `dt`: it tells which shocks of the profile strike.
        duration : float
            A multiple of `dt`, in its units of time.
        rng : numpy.random.Generator, optional
            For the shocks; needed if there is one in this interval.

        Raises
        ------
        ValueError
            If `time` or `duration` is not a whole number of steps, or there is a shock but no `rng`.
        """
        now = whole_steps(time, self.dt)
        end = now + whole_steps(duration, self.dt)
        first, last = np.searchsorted(self._shocked_steps, (now, end))
        for step in self._shocked_steps[first:last].tolist():
            states = self.model.advance(states, now * self.dt, (step + 1 - now) * self.dt, rng)
            states = self._shock(states, self.profile[step], rng)
            now = step + 1
        return self.model.advance(states, now * self.dt, (end - now) * self.dt, rng)

    def _shock(self, states: Array, size: float, rng: Generator | None) -> Array:
        if rng is None:
            raise ValueError("a shocked model draws random numbers: give advance an rng")
        noise = like(rng.standard_normal(tuple(states.shape)), states)
        return states + size * array_api_compat.array_namespace(states).abs(states) * noise
