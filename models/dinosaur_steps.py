"""`dinosaur` through its Python API: grid fields to spherical harmonics, time steps, and back, in one compiled program.

Vorticity and divergence follow from the harmonics of ``u / cos(lat)`` and ``v / cos(lat)``; pressure goes as its
logarithm. Steps are implicit for gravity waves and of third order for the rest (`imex_rk_sil3`), each followed by
diffusion. Members go one after another through a loop of the program, not of Python: on a CPU that takes half of the
time of a batch (`jax.vmap`), for the fields of one member stay in the cache. Arrays are JAX's from `_onto` to `_from`,
and NumPy's outside.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, Protocol

import numpy as np

__all__ = ["advance", "filtered"]

REFERENCE = 288.0
"""Temperature about which the semi-implicit scheme is linear, K."""
PRESSURE = 1000.0
"""Surface pressure about which logarithms are taken, hPa: they would lose digits in float32."""
DIFFUSION = 4
"""Power of the Laplacian."""


class Atmosphere(Protocol):
    """What the steps need of the model: a `ensf.models.held_suarez.HeldSuarez`."""

    @property
    def truncation(self) -> int: ...

    @property
    def layers(self) -> int: ...

    @property
    def dt(self) -> float: ...

    @property
    def damping(self) -> float: ...

    def __hash__(self) -> int: ...


def advance(model: Atmosphere, fields: np.ndarray, steps: int) -> np.ndarray:
    """Fields ``(member, plane, latitude, longitude)`` after so many steps, float32."""
    return np.asarray(_program(model)(fields.astype(np.float32), steps))


def filtered(model: Atmosphere, fields: np.ndarray) -> np.ndarray:
    """Fields ``(member, plane, latitude, longitude)`` to harmonics and back."""
    return advance(model, fields, 0)


class Units(NamedTuple):
    """1 m/s, 1 hPa, 1 K and 1 h in those of the library."""

    speed: float
    pressure: float
    kelvin: float
    hour: float


@cache
def _program(model: Atmosphere) -> Callable[[np.ndarray, int], Any]:
    """The compiled program of a model."""
    _load_dinosaur()
    import jax
    from dinosaur import coordinate_systems, sigma_coordinates, spherical_harmonic
    from dinosaur.primitive_equations import PrimitiveEquationsSpecs
    from dinosaur.scales import units

    grid = spherical_harmonic.Grid.construct(model.truncation, (3 * model.truncation + 1) // 4)
    layers = sigma_coordinates.SigmaCoordinates.equidistant(model.layers)
    coords = coordinate_systems.CoordinateSystem(grid, layers)
    specs = PrimitiveEquationsSpecs.from_si()
    one = (units.meter / units.second, units.hPa, units.degK, units.hour)
    unit = Units(*(float(specs.nondimensionalize(1.0 * each)) for each in one))
    step = _step(model, coords, specs, unit)

    def run(planes: Any, steps: int) -> Any:
        state = jax.lax.fori_loop(0, steps, lambda _, state: step(state), _onto(grid, unit, planes, model.layers))
        return _from(grid, unit, state)

    return jax.jit(lambda fields, steps: jax.lax.map(lambda planes: run(planes, steps), fields))


def _step(model: Atmosphere, coords: Any, specs: Any, unit: Units) -> Callable[[Any], Any]:
    """One time step of the harmonics."""
    from dinosaur import time_integration
    from dinosaur.held_suarez import HeldSuarezForcingSigma
    from dinosaur.primitive_equations import PrimitiveEquationsSigma, truncated_modal_orography

    reference = np.full(model.layers, REFERENCE * unit.kelvin)
    flat = truncated_modal_orography(np.zeros(coords.horizontal.nodal_shape), coords)
    dynamics = PrimitiveEquationsSigma(reference, flat, coords, specs)
    forcing = HeldSuarezForcingSigma(coords, specs, reference)
    dt = model.dt * unit.hour
    step = time_integration.imex_rk_sil3(time_integration.compose_equations([dynamics, forcing]), dt)
    diffusion = time_integration.horizontal_diffusion_step_filter(
        coords.horizontal, dt, model.damping * unit.hour, DIFFUSION
    )
    return time_integration.step_with_filters(
        step, [diffusion, lambda _, state: coords.horizontal.clip_wavenumbers(state)]
    )


def _onto(grid: Any, unit: Units, planes: Any, layers: int) -> Any:
    """Harmonics of one member's fields ``(plane, latitude, longitude)``."""
    import jax.numpy as jnp
    from dinosaur.primitive_equations import State
    from dinosaur.spherical_harmonic import add_constant, uv_nodal_to_vor_div_modal

    fields = jnp.swapaxes(planes, -1, -2)
    wind = unit.speed * fields[layers : 3 * layers]
    vorticity, divergence = uv_nodal_to_vor_div_modal(grid, wind[:layers], wind[layers:])
    temperature = grid.to_modal(unit.kelvin * (fields[:layers] - REFERENCE))
    departure = grid.to_modal(jnp.log(fields[3 * layers :] / PRESSURE))
    pressure = add_constant(departure, np.log(PRESSURE * unit.pressure))
    return grid.clip_wavenumbers(State(vorticity, divergence, temperature, pressure))


def _from(grid: Any, unit: Units, state: Any) -> Any:
    """Fields ``(plane, latitude, longitude)`` of one member's harmonics."""
    import jax.numpy as jnp
    from dinosaur.spherical_harmonic import add_constant, vor_div_to_uv_nodal

    eastward, northward = vor_div_to_uv_nodal(grid, state.vorticity, state.divergence, clip=False)
    temperature = REFERENCE + grid.to_nodal(state.temperature_variation) / unit.kelvin
    departure = add_constant(state.log_surface_pressure, -np.log(PRESSURE * unit.pressure))
    pressure = PRESSURE * jnp.exp(grid.to_nodal(departure))
    fields = [temperature, eastward / unit.speed, northward / unit.speed, pressure]
    return jnp.swapaxes(jnp.concatenate(fields), -1, -2)


def _load_dinosaur() -> None:
    """Raise ModuleNotFoundError, which names the extra, without the library."""
    try:
        import dinosaur  # noqa: F401
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError('dinosaur is not installed: pip install "ensf[atmosphere]"') from missing
