"""Surface quasi-geostrophic turbulence between two boundaries: weather made by temperature at the ground and a lid.

The state is q_j = dpsi/dz in m/s at the surface (j = 0, z = 0) and the lid (j = 1, z = H) of a doubly periodic
square; the temperature perturbation is (f theta0 / g) q. Potential vorticity is zero between the two, so that with
K = |(k, l)| and mu = K sqrt(nsq) H / f

    psi_0 = (H/mu) [q_1 / sinh mu - q_0 / tanh mu],   psi_1 = (H/mu) [q_1 / tanh mu - q_0 / sinh mu],
    dq_j/dt = -c J(psi_j, q_j) + (qbar_j - q_j) / tdiab + E_j,   J = psi_x q_y - psi_y q_x,   u = -psi_y, v = psi_x,

with Ekman pumping ``E_0 = r K^2 psi_0`` and, with the symmetric jet, ``E_1 = -r K^2 psi_1`` in Fourier space. Steps
are classical Runge-Kutta, followed by ``q <- exp(-(dt / diff_efold) (K / K_c)^diff_order) q`` with ``K_c = pi n / L``;
products are formed on a grid of 3n/2 points a side and truncated.

Sources: R. Tulloch and K. S. Smith, J. Atmos. Sci. 66 (2009) 450, eqs. 1 to 8; basic state and relaxation as in
J. Whitaker's `sqgturb`, whose Jacobian is 9/4 too large: ``jacobian_factor=2.25`` gives its runs, and 1 the physics.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import ClassVar

import array_api_compat
import numpy as np
import scipy.fft

from ensf.models.integrate import Array, Generator, check_states, compilable, like, rk4, whole_steps
from ensf.models.sqg_steps import march
from ensf.models.sqg_waves import Tables, conjugate_last, padded, tables, truncated

__all__ = ["SQG", "SQGTemperature"]


@dataclass(frozen=True)
class SQG:
    """Surface quasi-geostrophic model with two boundaries, relaxed to a zonal jet.

    Parameters
    ----------
    n : int
        Grid points a side, even, at least 8.
    U : float
        Amplitude of the jet, m/s.
    dt : float
        Time step, s.
    diff_efold : float
        Time in which hyperdiffusion damps the shortest wave along an axis by e, s.
    diff_order : int
        Order of the hyperdiffusion.
    r : float
        Ekman pumping, m/s.
    tdiab : float
        Time of relaxation to the jet, s.
    symmetric : bool
        Opposite jets at surface and lid; else none at the surface.
    jacobian_factor : float
        c; the published experiments have 9/4.
    f, nsq : float
        Coriolis parameter, 1/s, and squared buoyancy frequency, 1/s^2.
    L, H : float
        Side and height of the domain, m.
    theta0, g : float
        Reference temperature, K, and gravity, m/s^2.

    Raises
    ------
    ValueError
        If the grid is odd or too small, or a length, time or frequency is not positive.
    """

    n: int = 64
    U: float = 30.0
    dt: float = 1200.0
    diff_efold: float = 86400.0
    diff_order: int = 8
    r: float = 0.0
    tdiab: float = 864000.0
    symmetric: bool = True
    jacobian_factor: float = 1.0
    f: float = 1e-4
    nsq: float = 1e-4
    L: float = 2e7
    H: float = 1e4
    theta0: float = 300.0
    g: float = 9.8

    dims: ClassVar[tuple[str, ...]] = ("z", "y", "x")
    coord_units: ClassVar[dict[str, str]] = {"z": "m", "y": "m", "x": "m"}
    variable: ClassVar[str] = "q"
    long_name: ClassVar[str] = "vertical derivative of the streamfunction at the boundary"
    units: ClassVar[str] = "m s-1"
    spectral_name: ClassVar[str] = "kinetic_energy"
    spectral_units: ClassVar[str] = "m2 s-2"

    def __post_init__(self) -> None:
        if self.n < 8 or self.n % 2:
            raise ValueError(f"n is {self.n}: give an even number of grid points a side, at least 8")
        for name in ("dt", "diff_efold", "diff_order", "tdiab", "f", "nsq", "L", "H", "theta0", "g"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: give a positive number")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the state: level, y, x."""
        return (2, self.n, self.n)

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Heights of the boundaries and grid points, m."""
        line = self.L / self.n * np.arange(self.n)
        return {"z": np.array([0.0, self.H]), "y": line, "x": line}

    @property
    def positions(self) -> np.ndarray:
        """Place of each state variable, ``(state, 3)``: y, x and height, km."""
        z, y, x = np.meshgrid(*(self.coords[name] / 1000 for name in self.dims), indexing="ij")
        return np.stack([y.ravel(), x.ravel(), z.ravel()], axis=1)

    @property
    def size(self) -> int:
        """Number of state variables."""
        return 2 * self.n * self.n

    @property
    def kelvin(self) -> float:
        """Temperature in K for a state of 1 m/s."""
        return self.f * self.theta0 / self.g

    @property
    def deformation_radius(self) -> float:
        """``sqrt(nsq) H / f`` in m."""
        return self.nsq**0.5 * self.H / self.f

    def jet(self) -> np.ndarray:
        """State of the basic flow ``(state,)``, m/s."""
        k = 2 * np.pi / self.L
        mu = k * self.deformation_radius
        wave = self.U * mu / (k * self.H) * np.cos(k * self.coords["y"])
        if self.symmetric:
            surface = lid = -wave / (2 * np.tanh(mu / 2))
        else:
            surface, lid = -wave / np.sinh(mu), -wave / np.tanh(mu)
        return np.repeat(np.concatenate([surface, lid]), self.n)

    def noise(self, rng: Generator, deviation: float = 100.0, blob: float = 2000.0) -> np.ndarray:
        """A state ``(state,)`` to spin up from: white noise and one warm blob at the lid, without level means.

        Parameters
        ----------
        rng : numpy.random.Generator
        deviation : float
            Standard deviation of the noise, m/s.
        blob : float
            Height of the blob, m/s.
        """
        x = 2 * np.pi / self.n * np.arange(self.n)
        state = deviation * rng.standard_normal(self.shape)
        state[1] += blob * (np.sin(x / 2) ** 40) * (np.sin(x)[:, None] ** 20)
        return (state - state.mean(axis=(1, 2), keepdims=True)).reshape(-1)

    def advance(self, states: Array, time: float, duration: float, rng: Generator | None = None) -> Array:
        """States ``(..., state)`` in m/s after `duration` seconds.

        Parameters
        ----------
        states : (..., state) array
            In m/s.
        time : float
            Not used: the model does not depend on it.
        duration : float
            A multiple of `dt`, in s.
        rng : numpy.random.Generator, optional
            Not used: the model draws nothing.

        Raises
        ------
        ValueError
            If `duration` is not a whole number of steps, or the last axis is not the state.
        """
        steps = whole_steps(duration, self.dt)
        waves = self.transform(states)
        if steps == 0:
            return array_api_compat.array_namespace(states).asarray(states, copy=True)
        constants = self._tables(states)
        if compilable(states):
            waves = np.ascontiguousarray(waves)
            march(waves.reshape(-1, *waves.shape[-3:]), constants, self, steps)
            return self.inverse(waves, states)
        for _ in range(steps):
            waves = constants.damping * rk4(lambda q: self._slope(q, constants, states), waves, self.dt)
        return self.inverse(waves, states)

    def tendency(self, states: Array) -> Array:
        """``dq/dt`` without hyperdiffusion, ``(..., state) -> (..., state)``, m/s^2."""
        constants = self._tables(states)
        return self.inverse(self._slope(self.transform(states), constants, states), states)

    def streamfunction(self, states: Array) -> Array:
        """``psi`` at both boundaries, ``(..., state) -> (..., state)``, m^2/s."""
        constants = self._tables(states)
        return self.inverse(constants.invert(self.transform(states)), states)

    def wind(self, states: Array) -> tuple[Array, Array]:
        """Zonal and meridional wind, each ``(..., state)``, m/s."""
        constants = self._tables(states)
        psi = constants.invert(self.transform(states))
        return self.inverse(-constants.y * psi, states), self.inverse(constants.x * psi, states)

    def spectral_fields(self, states: Array) -> tuple[Array, Array]:
        """Components of the wind over sqrt(2), each ``(..., state)``, m/s: their squares add up to kinetic energy."""
        zonal, meridional = self.wind(states)
        return zonal / 2**0.5, meridional / 2**0.5

    # --- Fourier space: coefficients (..., level, l, k), divided by the number of grid points ---------------

    def transform(self, states: Array) -> Array:
        """Fourier coefficients ``(..., 2, n, n/2 + 1)`` of states ``(..., state)``."""
        check_states(states, self.size)
        xp = array_api_compat.array_namespace(states)
        fields = xp.reshape(states, (*states.shape[:-1], *self.shape))
        return _fft(states).rfftn(fields, axes=(-2, -1), norm="forward")

    def inverse(self, waves: Array, states: Array) -> Array:
        """States ``(..., state)`` of Fourier coefficients, on the device of `states`."""
        fields = _fft(states).irfftn(waves, s=self.shape[1:], axes=(-2, -1), norm="forward")
        return array_api_compat.array_namespace(states).reshape(fields, (*waves.shape[:-3], self.size))

    def _tables(self, states: Array) -> Tables:
        return Tables(*(like(table, states) for table in tables(self)))

    def _slope(self, q: Array, constants: Tables, states: Array) -> Array:
        """Tendency of coefficients by plain array code."""
        fft, fine = _fft(states), 3 * self.n // 2

        def field(waves: Array) -> Array:
            return fft.irfftn(padded(waves, fine), s=(fine, fine), axes=(-2, -1), norm="forward")

        psi, full = constants.invert(q), conjugate_last(q)
        flow = constants.invert(full)
        product = field(constants.x * flow) * field(constants.y * full) - field(constants.y * flow) * field(
            constants.x * full
        )
        jacobian = truncated(fft.rfftn(product, axes=(-2, -1), norm="forward"), self.n)
        return (constants.jet - q) / self.tdiab + constants.ekman * psi - self.jacobian_factor * jacobian


@dataclass(frozen=True)
class SQGTemperature:
    """The same model with the temperature perturbation in K as its state.

    Parameters
    ----------
    model : SQG
    """

    model: SQG = SQG()

    dims: ClassVar[tuple[str, ...]] = SQG.dims
    coord_units: ClassVar[dict[str, str]] = SQG.coord_units
    variable: ClassVar[str] = "theta"
    long_name: ClassVar[str] = "potential temperature perturbation at the boundary"
    units: ClassVar[str] = "K"
    spectral_name: ClassVar[str] = SQG.spectral_name
    spectral_units: ClassVar[str] = SQG.spectral_units

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the state."""
        return self.model.shape

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Heights of the boundaries and grid points, m."""
        return self.model.coords

    @property
    def positions(self) -> np.ndarray:
        """Place of each state variable, ``(state, 3)``: y, x and height, km."""
        return self.model.positions

    @property
    def dt(self) -> float:
        """Time step, s."""
        return self.model.dt

    def noise(self, rng: Generator) -> np.ndarray:
        """A state ``(state,)`` to spin up from, in K."""
        return self.model.kelvin * self.model.noise(rng)

    def advance(self, states: Array, time: float, duration: float, rng: Generator | None = None) -> Array:
        """States ``(..., state)`` in K after `duration` seconds.

        Parameters
        ----------
        states : (..., state) array
            In K.
        time : float
            Not used: the model does not depend on it.
        duration : float
            A multiple of `dt`, in s.
        rng : numpy.random.Generator, optional
            Not used: the model draws nothing.

        Raises
        ------
        ValueError
            If `duration` is not a whole number of steps, or the last axis is not the state.
        """
        kelvin = self.model.kelvin
        return kelvin * self.model.advance(states / kelvin, time, duration, rng)

    def spectral_fields(self, states: Array) -> tuple[Array, Array]:
        """Components of the wind of states in K over sqrt(2), each ``(..., state)``, m/s."""
        return self.model.spectral_fields(states / self.model.kelvin)


def _fft(states: Array) -> ModuleType:
    """FFT module that keeps the precision of `states`."""
    return scipy.fft if isinstance(states, np.ndarray) else array_api_compat.array_namespace(states).fft
