"""The Kuramoto-Sivashinsky equation: chaos of a flame front on a periodic line.

    u_t = -u u_x - u_xx - u_xxxx,

in Fourier space ``dv/dt = (k^2 - k^4) v - (i k / 2) F[u^2]``: long waves grow, short waves are damped, and
advection moves energy between them. The mean of u is conserved.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import ClassVar

import array_api_compat
import numpy as np
import scipy.fft

from ensf.models.integrate import (
    Array,
    Etdrk4,
    Generator,
    check_settings,
    check_states,
    etdrk4,
    like,
    whole_steps,
)

__all__ = ["KuramotoSivashinsky"]


@dataclass(frozen=True)
class KuramotoSivashinsky:
    """Kuramoto-Sivashinsky, Fourier pseudospectral in space and ETDRK4 in time.

    Source: A.-K. Kassam and L. N. Trefethen, SIAM J. Sci. Comput. 26 (2005) 1214, section 4. As there,
    products are not dealiased. Unlike there, the wave of two grid points is damped like other short waves.

    Parameters
    ----------
    length : float
        Period of the domain, dimensionless.
    size : int
        Number of grid points, at least 4.
    dt : float
        Time step, dimensionless.
    contour_points : int
        Nodes of the contour integrals for the coefficients of the time step.

    Raises
    ------
    ValueError
        If there are fewer than 4 grid points, no contour point, or a length or time step that is not positive.
    """

    length: float = 32 * math.pi
    size: int = 128
    dt: float = 0.5
    contour_points: int = 16

    dims: ClassVar[tuple[str, ...]] = ("x",)
    variable: ClassVar[str] = "u"
    long_name: ClassVar[str] = "Kuramoto-Sivashinsky velocity"
    units: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        check_settings(self.size, 4, self.dt)
        if not self.length > 0 or self.contour_points < 1:
            raise ValueError("give a positive length and at least one contour point")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the state."""
        return (self.size,)

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Grid points ``j length / size``."""
        return {"x": self.length / self.size * np.arange(self.size)}

    def initial_state(self, after: float = 0.0) -> np.ndarray:
        """State of Kassam & Trefethen (2005, eq. 4.2), advanced from there by the time `after`.

        It is ``cos(p) (1 + sin(p))`` with the phase ``p = 2 pi x / length``, which is x/16 for their domain.
        """
        phase = 2 * math.pi / self.length * self.coords["x"]
        return self.advance(np.cos(phase) * (1 + np.sin(phase)), 0.0, after)

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
        fft = _fft(states)
        slope, *coefficients = (like(c, states) for c in _coefficients(self))
        table = Etdrk4(*coefficients)

        def advection(waves: Array) -> Array:
            field = fft.irfft(waves, n=self.size, axis=-1)
            return slope * fft.rfft(field * field, axis=-1)

        waves = fft.rfft(states, axis=-1)
        for _ in range(steps):
            waves = etdrk4(advection, table, waves)
        return fft.irfft(waves, n=self.size, axis=-1)


@lru_cache
def _coefficients(model: KuramotoSivashinsky) -> tuple[np.ndarray, ...]:
    """Complex ``-i k / 2`` (0 for the wave of two grid points) and coefficients of the time step."""
    k = 2 * np.pi / model.length * np.arange(model.size // 2 + 1)
    slope = -0.5j * np.where(2 * np.arange(len(k)) == model.size, 0.0, k)
    table = Etdrk4.of(k**2 - k**4, model.dt, model.contour_points)
    return (slope, *(c.astype(complex) for c in table))


def _fft(states: Array) -> ModuleType:
    """FFT module that keeps the precision of `states`."""
    return scipy.fft if isinstance(states, np.ndarray) else array_api_compat.array_namespace(states).fft
