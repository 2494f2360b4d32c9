"""A dry global atmosphere: spectral primitive equations with the forcing of Held and Suarez, by `dinosaur`.

A state is what a weather service analyses, on the Gaussian grid and on sigma layers, from the top down:

    temperature (K), eastward and northward wind (m/s), each (layer, latitude, longitude),
    surface pressure (hPa)                                   (latitude, longitude).

`dinosaur` steps vorticity, divergence, temperature and the logarithm of surface pressure as spherical harmonics. Its
steps have one time level, so that these fields are a complete restart; what the grid holds beyond the truncation, as an
analysis may, is lost in the next forecast. Friction near the ground and relaxation to

    T_eq = max(200, (p / p0)^kappa [315 - 60 sin^2 lat - 10 ln(p / p0) cos^2 lat])      K,   p0 = 1000 hPa,

are all the physics. Source: Held and Suarez (1994), Bull. Amer. Meteor. Soc. 75, 1825. The library is imported when
states are advanced.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from ensf.models.dinosaur_steps import advance, filtered
from ensf.models.integrate import Array, Generator, check_states, whole_steps

__all__ = ["HeldSuarez"]

KAPPA = 2 / 7


@dataclass(frozen=True)
class HeldSuarez:
    """Held-Suarez atmosphere at triangular truncation; states are NumPy arrays, what is inside a step is JAX's.

    Parameters
    ----------
    truncation : int
        Largest total wavenumber T: the grid has 3 T + 1 longitudes, a multiple of 4, and half as many latitudes, so
        32 x 64 points for 21.
    layers : int
        Sigma layers of equal mass.
    dt : float
        Time step, h.
    damping : float
        Time in which eighth-order diffusion divides the smallest waves by e, h.

    Raises
    ------
    ValueError
        If the truncation has no such grid, or there is no layer.
    """

    truncation: int = 21
    layers: int = 8
    dt: float = 1.0
    damping: float = 6.0

    dims: ClassVar[tuple[str, ...]] = ("plane", "latitude", "longitude")
    coord_units: ClassVar[dict[str, str]] = {"latitude": "degrees_north", "longitude": "degrees_east"}
    variable: ClassVar[str] = "atmosphere"
    long_name: ClassVar[str] = "temperature (K), eastward and northward wind (m s-1), surface pressure (hPa)"
    units: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        if self.truncation < 1 or (3 * self.truncation + 1) % 4:
            raise ValueError(f"truncation is {self.truncation}: give 1, 5, 9, ... 21, ... (3 T + 1 a multiple of 4)")
        if self.layers < 1 or not 0 < self.dt < math.inf or not 0 < self.damping < math.inf:
            raise ValueError(
                f"layers, dt, damping are {self.layers}, {self.dt}, {self.damping}: give at least one layer and "
                "positive times"
            )

    # --- the grid ----------------------------------------------------------------------------------------

    @cached_property
    def latitude(self) -> np.ndarray:
        """Gaussian latitudes, degrees, from south to north."""
        return np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(len(self.longitude) // 2)[0]))

    @cached_property
    def longitude(self) -> np.ndarray:
        """Degrees east, from 0."""
        points = 3 * self.truncation + 1
        return np.arange(points) * 360 / points

    @cached_property
    def sigma(self) -> np.ndarray:
        """Pressure over surface pressure in the middle of layers, from the top down."""
        return (np.arange(self.layers) + 0.5) / self.layers

    @property
    def shape(self) -> tuple[int, int, int]:
        """Planes, latitudes, longitudes."""
        return (3 * self.layers + 1, len(self.latitude), len(self.longitude))

    @property
    def size(self) -> int:
        """Number of state variables."""
        return math.prod(self.shape)

    @cached_property
    def coords(self) -> dict[str, np.ndarray]:
        """Number of each plane, latitude and longitude."""
        return {"plane": np.arange(self.shape[0]), "latitude": self.latitude, "longitude": self.longitude}

    @cached_property
    def positions(self) -> np.ndarray:
        """Place of each state variable, ``(state, 3)``: latitude, longitude, height ``-ln(sigma)`` in scale heights."""
        height = np.append(np.tile(-np.log(self.sigma), 3), 0.0)
        axes = np.meshgrid(height, self.latitude, self.longitude, indexing="ij")
        return np.stack([axes[1], axes[2], axes[0]], axis=-1).reshape(-1, 3)

    @cached_property
    def area(self) -> np.ndarray:
        """Part of the sphere that each latitude of the grid stands for at one longitude; times longitudes, sum 1."""
        return np.polynomial.legendre.leggauss(len(self.latitude))[1] / (2 * len(self.longitude))

    # --- states ------------------------------------------------------------------------------------------

    def split(self, states: Array) -> dict[str, Array]:
        """Views of states ``(..., state)``: `temperature`, `eastward`, `northward`, `pressure`.

        Returns
        -------
        dict of str to (..., layer, latitude, longitude) array
            Surface pressure has one layer.
        """
        check_states(states, self.size)
        planes = states.reshape(*states.shape[:-1], *self.shape)
        names = ("temperature", "eastward", "northward", "pressure")
        return {
            name: planes[..., first : first + self.layers, :, :]
            for name, first in zip(names, range(0, self.shape[0], self.layers), strict=True)
        }

    def noise(self, rng: Generator) -> np.ndarray:
        """A state ``(state,)`` to spin up from: at rest in radiative equilibrium, temperature with noise of 1 K."""
        state = np.zeros(self.size)
        fields = self.split(state)
        fields["temperature"][:] = self.equilibrium() + rng.standard_normal(fields["temperature"].shape)
        fields["pressure"][:] = 1000.0
        return state

    def equilibrium(self) -> np.ndarray:
        """Temperature ``(layer, latitude, 1)`` in K that radiation draws to, for a surface pressure of 1000 hPa."""
        sigma, sine = self.sigma[:, None, None], np.sin(np.deg2rad(self.latitude))[:, None]
        warm = 315 - 60 * sine**2 - 10 * np.log(sigma) * (1 - sine**2)
        return np.maximum(200.0, sigma**KAPPA * warm)

    def filtered(self, states: Array) -> Array:
        """States ``(..., state)`` without what the truncation does not hold, as the next forecast starts from them."""
        return filtered(self, self._batch(states)).astype(states.dtype).reshape(states.shape)

    def advance(self, states: Array, time: float, duration: float, rng: Generator | None = None) -> Array:
        """States ``(..., state)`` after `duration` hours.

        All of them go through one compiled program, which is made anew for every number of states (some seconds).

        Parameters
        ----------
        states : (..., state) array
            K, m/s and hPa; NumPy arrays. What comes back is too, of the same type; steps are in float32.
        time : float
            Not used: the model does not depend on it.
        duration : float
            A multiple of `dt`, in h.
        rng : numpy.random.Generator, optional
            Not used: the model draws nothing.

        Raises
        ------
        ValueError
            If `duration` is not a whole number of steps, or the last axis is not the state.
        ModuleNotFoundError
            If dinosaur is not installed.
        """
        steps = whole_steps(duration, self.dt)
        return advance(self, self._batch(states), steps).astype(states.dtype).reshape(states.shape)

    def _batch(self, states: Array) -> Array:
        """``(..., state) -> (member, plane, latitude, longitude)``."""
        check_states(states, self.size)
        return states.reshape(-1, *self.shape)
