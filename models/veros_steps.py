"""Veros through its Python API: a simulation into which the complete restart of a member is loaded, stepped, and read.

Veros keeps its fields in a mutable object with three time levels that rotate. Tracers and momentum go forward in time
from level n, with Adams-Bashforth tendencies of n and n - 1,

    x_{n+1} = x_n + dt [(3/2 + eps) T_n - (1/2 + eps) T_{n-1}] + dt (mixing, implicit),

so that `NOW` at level n and `BEFORE` at level n - 1 are all that a step depends on; density, buoyancy frequency and
enthalpy follow from temperature and salinity, and are calculated again when a member is loaded. The tests hold that
loading what was read changes nothing, to rounding.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from functools import cache
from types import EllipsisType
from typing import Any, Protocol

import numpy as np

from ensf.models.integrate import Array

__all__ = ["advance_one", "entries", "initial"]

NOW = ("salt", "u", "v", "w", "tke", "eke", "K_diss_v", "psi", "dpsi", "dpsin")
"""What a step needs at its time level, besides temperature."""
BEFORE = ("dtemp", "dsalt", "du", "dv", "dtke", "deke", "dHd", "dpsi", "dpsin")
"""What it needs at the level before."""
PLANES, ISLANDS = ("psi", "dpsi"), 2
WHOLE = (*PLANES, "dpsin")
HALO = slice(2, -2)
DAY = 86400.0


class Ocean(Protocol):
    """What a simulation needs of the model: an `ensf.models.veros_acc.VerosACC`, which has units and shapes."""

    @property
    def spacing(self) -> float: ...

    @property
    def dt(self) -> float: ...

    @property
    def dt_momentum(self) -> float: ...

    @property
    def longitude(self) -> np.ndarray: ...

    @property
    def latitude(self) -> np.ndarray: ...

    @property
    def thickness(self) -> np.ndarray: ...

    @property
    def wet(self) -> np.ndarray: ...

    @property
    def points(self) -> int: ...

    def grid(self, temperature: np.ndarray) -> np.ndarray: ...

    def __hash__(self) -> int: ...


def entries(model: Ocean) -> Iterator[tuple[str, bool, tuple[int, ...]]]:
    """Name, whether at the level before, and shape, of what follows the temperature in a state."""
    depth, latitude, longitude = model.wet.shape
    for before, names in ((False, NOW), (True, BEFORE)):
        for name in names:
            plane = (longitude + 4, latitude + 4) if name in PLANES else (longitude, latitude, depth)
            yield name, before, (ISLANDS,) if name == "dpsin" else plane


def initial(model: Ocean) -> np.ndarray:
    """Veros' own initial state, without forcing."""
    return _read(model, _simulation(model))


def advance_one(model: Ocean, state: np.ndarray, forcing: tuple[np.ndarray, np.ndarray], steps: int) -> np.ndarray:
    """One state ``(state,)`` after so many steps under anomalies of wind stress (N/m^2) and air temperature (K).

    The anomalies are ``(longitude, latitude)``; neither state has the coefficients of the forcing.
    """
    simulation = _simulation(model)
    _load(model, simulation, state)
    _force(simulation, *forcing)
    for _ in range(steps):
        simulation.step(simulation.state)
    return _read(model, simulation)


# --- states ----------------------------------------------------------------------------------------------


def _read(model: Ocean, simulation: Any) -> np.ndarray:
    """State of a simulation."""
    vs = simulation.state.variables
    temperature = vs.temp[HALO, HALO, ::-1, int(vs.tau)].T[model.wet]
    rest = [_level(vs, name, before)[0][_inside(name)] for name, before, _ in entries(model)]
    return np.concatenate([temperature, *(part.ravel() for part in rest)])


def _load(model: Ocean, simulation: Any, state: np.ndarray) -> None:
    """Put a state into a simulation."""
    from veros.core.thermodynamics import calc_eq_of_state

    vs, cut = simulation.state.variables, model.points
    temperature = np.nan_to_num(model.grid(state[:cut])).T[..., ::-1]
    with vs.unlock():
        _put(vs, "temp", False, temperature)
        for name, before, shape in entries(model):
            size = math.prod(shape)
            _put(vs, name, before, state[cut : cut + size].reshape(shape))
            cut += size
        vs.update(calc_eq_of_state(simulation.state, int(vs.tau)))


def _level(vs: Any, name: str, before: bool) -> tuple[Array, EllipsisType | tuple[EllipsisType, int]]:
    """A variable at a time level, and the index of that level; a variable without levels, and everything."""
    values = np.asarray(getattr(vs, name))
    if name == "K_diss_v":
        return values, ...
    level = int(vs.taum1 if before else vs.tau)
    return values[..., level], (..., level)


def _put(vs: Any, name: str, before: bool, values: np.ndarray) -> None:
    """Replace a variable at a time level, halo included."""
    current, level = _level(vs, name, before)
    whole = current.copy()
    whole[_inside(name)] = values
    if name not in WHOLE:
        whole[:2], whole[-2:] = whole[-4:-2].copy(), whole[2:4].copy()
    stored = np.array(getattr(vs, name))
    stored[level] = whole
    setattr(vs, name, stored)


def _inside(name: str) -> EllipsisType | tuple[slice, slice]:
    """All of it, where the halo holds values on the coast."""
    return ... if name in WHOLE else (HALO, HALO)


def _force(simulation: Any, wind: np.ndarray, air: np.ndarray) -> None:
    """Wind stress and air temperature of a member, and what stirs the surface."""
    vs, settings = simulation.state.variables, simulation.state.settings
    stress = simulation.mean_stress.copy()
    stress[HALO, HALO] += wind
    stress[:2], stress[-2:] = stress[-4:-2].copy(), stress[2:4].copy()
    stress *= np.asarray(vs.maskU[:, :, -1])
    stirring = np.zeros_like(stress)
    stirring[HALO, HALO] = np.abs((stress[2:-2, 2:-2] + stress[1:-3, 2:-2]) / 2 / settings.rho_0) ** 1.5
    simulation.air = np.zeros_like(stress)
    simulation.air[HALO, HALO] = air
    with vs.unlock():
        vs.surface_taux, vs.forc_tke_surface = stress, stirring


# --- the simulation --------------------------------------------------------------------------------------


@cache
def _simulation(model: Ocean) -> Any:
    """The one simulation of a process, into which members are loaded in turn."""
    showwarning = warnings.showwarning
    try:
        simulation = _setup()(model)
        simulation.setup()
    finally:
        warnings.showwarning = showwarning
    simulation.mean_stress = np.asarray(simulation.state.variables.surface_taux)
    return simulation


def _load_veros() -> None:
    """Import Veros with its NumPy backend."""
    try:
        from veros import runtime_settings
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError('Veros is not installed: pip install "ensf[examples]"') from missing
    if not runtime_settings.__locked__:
        runtime_settings.update(backend="numpy", loglevel="error")


def _setup() -> Any:
    """Veros' set-up `acc` on the model's grid, with a member's forcing and no output."""
    _load_veros()
    from veros import veros_routine
    from veros.core.operators import at, update
    from veros.setups.acc.acc import ACCSetup

    class Simulation(ACCSetup):
        def __init__(self, model: Ocean) -> None:
            self.model, self.air = model, 0.0
            super().__init__()

        @veros_routine
        def set_parameter(self, state: Any) -> None:
            super().set_parameter(state)
            settings, model = state.settings, self.model
            settings.nz, settings.ny, settings.nx = model.wet.shape
            settings.dt_tracer, settings.dt_mom = model.dt * DAY, model.dt_momentum
            settings.x_origin, settings.y_origin = (
                model.longitude[0] + model.spacing / 2,
                model.latitude[0] + model.spacing / 2,
            )
            settings.A_h = (model.spacing * settings.degtom) ** 3 * 2e-11

        @veros_routine
        def set_grid(self, state: Any) -> None:
            vs = state.variables
            vs.dxt = update(vs.dxt, at[...], self.model.spacing)
            vs.dyt = update(vs.dyt, at[...], self.model.spacing)
            vs.dzt = update(vs.dzt, at[...], self.model.thickness[::-1])

        @veros_routine
        def set_topography(self, state: Any) -> None:
            vs = state.variables
            vs.kbot = update(vs.kbot, at[HALO, HALO], self.model.wet[0].T.astype(int))

        @veros_routine
        def set_forcing(self, state: Any) -> None:
            vs = state.variables
            vs.forc_temp_surface = vs.t_rest * (vs.t_star + self.air - vs.temp[:, :, -1, vs.tau])

        @veros_routine
        def set_diagnostics(self, state: Any) -> None:
            state.diagnostics.clear()

    return Simulation
