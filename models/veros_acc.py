"""An ocean general circulation model: the idealised ACC and Atlantic of Veros.

Primitive equations on a sector of the sphere, 60 degrees wide and cyclic, 40 S to 44 N. A wall along its western edge
from 20 S on makes the north a basin and the south a channel. Wind drives the ocean, and its surface temperature is
drawn to that of the air within 30 days. A state is a complete restart in one flat vector: temperature at wet points,
then all else that a time step needs (`ensf.models.veros_steps`), then coefficients c of the forcing, constant in time:

    wind stress      = mean(y) + 0.02 N/m^2  sum_k c_k m_k(x, y),
    air temperature  = mean(y) + 1 K  sum_k c_{6+k} m_k(x, y),
    m = {1, sqrt 2 cos p, sqrt 2 sin p} x {sin(pi r), sin(2 pi r)},   p = 2 pi x / 60,   r = (y + 40) / 84.

Tracers take longer steps than momentum, whose evolution is slower by that factor (Bryan 1984, J. Phys. Oceanogr. 14,
666): fit for slow states, not for waves. Source: Haefner et al. (2018), Geosci. Model Dev. 11, 3299, set-up `acc`, here
coarser. Veros is imported when a state is made or advanced.
"""

from __future__ import annotations

import math
import multiprocessing
import signal
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from typing import ClassVar

import numpy as np

from ensf.models.integrate import Array, Generator, check_states, whole_steps
from ensf.models.veros_steps import advance_one, entries, initial

__all__ = ["VerosACC", "WetTemperature"]

SOUTH, WIDTH, HEIGHT, WALL = -40.0, 60.0, 84.0, -20.0
FORCING, WIND, AIR = 12, 0.02, 1.0


@dataclass(frozen=True)
class VerosACC:
    """Veros' set-up `acc` with 15 levels; states are complete restarts.

    Parameters
    ----------
    spacing : float
        Grid spacing in degrees; it divides 60 and 84.
    dt : float
        Time step of tracers, days.
    dt_momentum : float
        Time step of momentum, s.
    processes : int
        Members are advanced in so many processes; 1 = in this one. They are spawned: a script needs the usual
        ``if __name__ == "__main__":``.

    Raises
    ------
    ValueError
        If the spacing does not divide the domain.
    """

    spacing: float = 4.0
    dt: float = 1.0
    dt_momentum: float = 4800.0
    processes: int = 2

    dims: ClassVar[tuple[str, ...]] = ("restart",)

    def __post_init__(self) -> None:
        if self.spacing <= 0 or WIDTH % self.spacing or HEIGHT % self.spacing:
            raise ValueError(f"spacing is {self.spacing} degrees: give one that divides {WIDTH:g} and {HEIGHT:g}")

    # --- the grid ----------------------------------------------------------------------------------------

    @cached_property
    def longitude(self) -> np.ndarray:
        """Centres of cells, degrees east."""
        return np.arange(self.spacing / 2, WIDTH, self.spacing)

    @cached_property
    def latitude(self) -> np.ndarray:
        """Centres of cells, degrees north."""
        return np.arange(SOUTH + self.spacing / 2, SOUTH + HEIGHT, self.spacing)

    @cached_property
    def thickness(self) -> np.ndarray:
        """Thickness of layers, m, from the surface down."""
        return np.array([20.0, 28, 40, 56, *np.arange(76.0, 277.0, 20)])

    @cached_property
    def depth(self) -> np.ndarray:
        """Middle of layers, m, from the surface down."""
        return np.cumsum(self.thickness) - self.thickness / 2

    @cached_property
    def wet(self) -> np.ndarray:
        """Where there is water, ``(depth, latitude, longitude)``."""
        plane = (self.longitude > self.spacing) | (self.latitude[:, None] < WALL)
        return np.broadcast_to(plane, (len(self.depth), *plane.shape))

    @cached_property
    def positions(self) -> np.ndarray:
        """Place of each wet point, ``(point, 3)``: latitude and longitude in degrees, depth in km."""
        axes = np.meshgrid(self.depth / 1000, self.latitude, self.longitude, indexing="ij")
        depth, latitude, longitude = (axis[self.wet] for axis in axes)
        return np.stack([latitude, longitude, depth], axis=1)

    @property
    def points(self) -> int:
        """Number of wet points: so many first entries of a state are temperatures in degrees Celsius."""
        return len(self.positions)

    def grid(self, temperature: np.ndarray) -> np.ndarray:
        """``(..., point) -> (..., depth, latitude, longitude)``, NaN on land."""
        field = np.full((*temperature.shape[:-1], *self.wet.shape), np.nan)
        field[..., self.wet] = temperature
        return field

    # --- states ------------------------------------------------------------------------------------------

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Shape of the state."""
        return (self.points + sum(math.prod(shape) for _, _, shape in entries(self)) + FORCING,)

    def rest(self) -> np.ndarray:
        """Veros' initial state ``(state,)``: at rest, layered, with the mean forcing."""
        return np.concatenate([initial(self), np.zeros(FORCING)])

    def warmed(self, states: Array, temperature: Array) -> Array:
        """States with another temperature ``(..., point)``; all else is kept, and adjusts in the steps that follow."""
        return _joined(temperature, states[..., self.points :])

    def forced(self, states: Array, coefficients: Array) -> Array:
        """States with other coefficients ``(..., 12)`` of the forcing."""
        return _joined(states[..., :-FORCING], coefficients)

    def advance(self, states: Array, time: float, duration: float, rng: Generator | None = None) -> Array:
        """States ``(..., state)`` after `duration` days.

        Parameters
        ----------
        states : (..., state) array
            In the units of Veros, temperature in degrees Celsius.
        time : float
            Not used: the model does not depend on it.
        duration : float
            A multiple of `dt`, in days.
        rng : numpy.random.Generator, optional
            Not used: the model draws nothing.

        Raises
        ------
        ValueError
            If `duration` is not a whole number of steps, or the last axis is not the state.
        ModuleNotFoundError
            If Veros is not installed.
        RuntimeError
            If a member blows up.
        """
        check_states(states, self.shape[0])
        flat = states.reshape(-1, states.shape[-1])
        run = _pool(self.processes).map if min(self.processes, len(flat)) > 1 else map
        new = list(run(self.advance_one, flat, [whole_steps(duration, self.dt)] * len(flat)))
        return np.array(new, states.dtype).reshape(states.shape)

    def advance_one(self, state: Array, steps: int) -> Array:
        """One state ``(state,)`` after so many steps, in this process."""
        wind, air = state[-FORCING:].reshape(2, -1) @ self._modes
        plane = (len(self.longitude), len(self.latitude))
        forcing = WIND * wind.reshape(plane), AIR * air.reshape(plane)
        return _joined(advance_one(self, state[:-FORCING], forcing, steps), state[-FORCING:])

    @cached_property
    def _modes(self) -> np.ndarray:
        """Modes of the forcing, ``(6, longitude x latitude)``."""
        phase, rise = 2 * np.pi * self.longitude / WIDTH, np.pi * (self.latitude - SOUTH) / HEIGHT
        zonal = np.stack([np.ones_like(phase), math.sqrt(2) * np.cos(phase), math.sqrt(2) * np.sin(phase)])
        meridional = np.stack([np.sin(rise), np.sin(2 * rise)])
        return np.einsum("ix,jy->ijxy", zonal, meridional).reshape(FORCING // 2, -1)


@dataclass(frozen=True)
class WetTemperature:
    """Temperature at the wet points of a model: what is analysed, scored and written.

    Points are numbered from the surface down, then from south to north, then from west to east.

    Parameters
    ----------
    model : VerosACC
    """

    model: VerosACC

    dims: ClassVar[tuple[str, ...]] = ("point",)
    variable: ClassVar[str] = "temp"
    long_name: ClassVar[str] = "temperature of sea water"
    standard_name: ClassVar[str] = "sea_water_potential_temperature"
    units: ClassVar[str] = "degree_C"

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of wet points."""
        return (self.model.points,)

    @property
    def positions(self) -> np.ndarray:
        """Place of each wet point, ``(point, 3)``: latitude and longitude in degrees, depth in km."""
        return self.model.positions

    @property
    def coords(self) -> Mapping[str, np.ndarray]:
        """Number of each wet point."""
        return {"point": np.arange(self.model.points)}

    def advance(self, states: Array, time: float, duration: float, rng: Generator | None = None) -> Array:
        """Complete restarts, as those of the model."""
        return self.model.advance(states, time, duration, rng)


def _joined(first: Array, last: Array) -> Array:
    """One vector after the other, on common leading axes."""
    leading = np.broadcast_shapes(first.shape[:-1], last.shape[:-1])
    parts = (np.broadcast_to(part, (*leading, part.shape[-1])) for part in (first, last))
    return np.concatenate(list(parts), axis=-1)


# --- processes -------------------------------------------------------------------------------------------


@cache
def _pool(processes: int) -> ProcessPoolExecutor:
    """Processes that wait for members until this one ends."""
    return ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _ignore_interrupts)


def _ignore_interrupts() -> None:
    """Ctrl-C is for the process that waits."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
