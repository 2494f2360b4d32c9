"""What the pages of a global atmosphere share: truth and members from one climate, networks on the sphere, scores.

Truth and members of a seed are states of a nature run five days apart, in an order of the seed's own: all that is known
at the start is the climate. Errors are counted at columns without a station, weighted by area, for each variable and
layer, and as one number in the norm of dry total energy (Ehrendorfer and Errico 1995, J. Atmos. Sci. 52, 3475),

    e^2 = mean over layers of  du^2 + dv^2 + (c_p / T_r) dT^2   +  R T_r (dp_s / p_r)^2,    T_r = 300 K, p_r = 1000 hPa,

in (m/s)^2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from ensf.arrays import Array, Generator
from ensf.localization import Localization, Product, Sphere
from ensf.models.held_suarez import HeldSuarez
from ensf.observations import Affine, Composed, Observation, Pointwise, Select, arctan
from ensf.runs.nature import NatureRun
from ensf.twin import Method, Network, Streams, TwinExperiment

DAY = 24.0
MEMBERS = 20
MODEL = HeldSuarez()
NATURE = NatureRun(MODEL, spin_up=200 * DAY, duration=300 * DAY, interval=5 * DAY)

REGIONS = {"north": (20.0, 90.0), "tropics": (-20.0, 20.0), "south": (-90.0, -20.0)}
"""Southern and northern bounds, degrees."""
HEAT, GAS, WARMTH, PRESSURE = 1004.0, 287.0, 300.0, 1000.0


@dataclass(frozen=True)
class Climate:
    """Truth and members are states of a nature run, drawn without replacement; the truth depends on the seed alone.

    Parameters
    ----------
    nature : NatureRun
    """

    nature: NatureRun = NATURE

    def draw(self, members: int, streams: Streams) -> tuple[Array, Array]:
        """Initial truth ``(state,)`` and members ``(member, state)``.

        Raises
        ------
        ValueError
            If the run has not as many states.
        """
        states = self.nature.load().states
        if members >= len(states):
            raise ValueError(f"{members} members and a truth from {len(states)} states: take fewer members")
        order = streams.truth.permutation(len(states))
        return states[order[0]], states[order[1 : members + 1]]


# --- what is observed ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Radiosondes:
    """Soundings of temperature and wind on all layers, and surface pressure, at the same columns in all cycles.

    Columns are drawn once: by area on two continents, 20 to 70 degrees north, and a tenth as often elsewhere.

    Parameters
    ----------
    count : int
    temperature, wind : (float, float)
        Error at the ground and at the top, K and m/s; linear in sigma.
    pressure : float
        Error, hPa.
    model : HeldSuarez
        Whose states are observed.
    """

    count: int = 80
    temperature: tuple[float, float] = (0.7, 1.2)
    wind: tuple[float, float] = (1.5, 2.5)
    pressure: float = 0.7
    model: HeldSuarez = MODEL

    def entries(self) -> np.ndarray:
        """Numbers of the observed entries of a state, plane by plane."""
        model = self.model
        latitude, longitude = model.latitude[:, None], model.longitude
        land = (abs(latitude - 45) < 25) & ((longitude < 140) | (abs(longitude - 265) < 35))
        weight = (model.area[:, None] * np.where(land, 1.0, 0.1)).ravel()
        rng = np.random.default_rng(7)
        columns = np.sort(rng.choice(weight.size, self.count, replace=False, p=weight / weight.sum()))
        return (np.arange(model.shape[0])[:, None] * weight.size + columns).ravel()

    def observe(self, truth: Array, cycle: int, rng: Generator) -> Observation:
        """Observation of the truth ``(state,)``."""
        return self.network.observe(truth, cycle, rng)

    @cached_property
    def network(self) -> Network:
        """Entries and their errors."""
        lines = (self.temperature, self.wind)
        temperature, wind = (np.interp(self.model.sigma, (0, 1), (top, low)) for low, top in lines)
        error = np.concatenate([temperature, wind, wind, [self.pressure]])
        return Network(Select(self.entries()), np.repeat(error, self.count))


@dataclass(frozen=True)
class Sounder:
    """Temperature of every layer of a regular network through a sensor that saturates away from the climate.

    With T_c the mean of the nature run over time and longitude, ``y = arctan((T - T_c) / width)`` plus noise.

    Parameters
    ----------
    nature : NatureRun
    every : (int, int)
        So many latitudes, and longitudes, from one column to the next.
    width : float
        K.
    error : float
        Standard deviation; `width` times it in K, where the sensor is best.
    model : HeldSuarez
        That of the nature run.
    """

    nature: NatureRun = NATURE
    every: tuple[int, int] = (2, 4)
    width: float = 1.0
    error: float = 0.05
    model: HeldSuarez = MODEL

    def entries(self) -> np.ndarray:
        """Numbers of the observed entries of a state, layer by layer."""
        numbers = self.model.split(np.arange(self.model.size))["temperature"]
        return numbers[:, self.every[0] // 2 :: self.every[0], :: self.every[1]].ravel()

    def observe(self, truth: Array, cycle: int, rng: Generator) -> Observation:
        """Observation of the truth ``(state,)``."""
        return self.network.observe(truth, cycle, rng)

    @cached_property
    def network(self) -> Network:
        """The network, which the nature run is read or made for."""
        shape, entries = self.model.shape, self.entries()
        mean = self.nature.load().states.mean(axis=0).reshape(shape).mean(axis=-1, keepdims=True)
        climate = np.broadcast_to(mean, shape).ravel()[entries]
        scaled = Composed(arctan, Affine(-climate / self.width, np.full(entries.size, 1 / self.width)))
        return Network(Pointwise(scaled, Select(entries)), self.error)


class Stations(Protocol):
    """A network that tells what it observes: `Radiosondes` or a `Sounder`."""

    @property
    def model(self) -> HeldSuarez: ...

    def entries(self) -> np.ndarray:
        """Numbers of the observed entries of a state."""

    def observe(self, truth: Array, cycle: int, rng: Generator) -> Observation:
        """Observation of the truth ``(state,)``."""


def unobserved(network: Stations) -> np.ndarray:
    """Columns of which no entry of the state is observed, ``(latitude, longitude)``."""
    away = np.ones(network.model.shape[1:], dtype=bool)
    away.ravel()[network.entries() % away.size] = False
    return away


def local(half_width: float, height: float) -> Localization:
    """Gaspari-Cohn half-widths along the sphere, km, and in the vertical, scale heights."""
    return Localization(Product(Sphere(), half_width / height), half_width, dims=("latitude", "longitude", "height"))


# --- the experiment --------------------------------------------------------------------------------------


def experiment(
    name: str, summary: str, network: Stations, methods: Mapping[str, Method], cycles: int
) -> TwinExperiment[Stations]:
    """Page of one observing network: an analysis every 12 hours, scores after five days."""
    return TwinExperiment(
        name=name,
        summary=summary,
        model=MODEL,
        network=network,
        initial=Climate(),
        methods=methods,
        cycles=cycles,
        interval=DAY / 2,
        burn_in=5 * DAY,
        seeds=(1, 2),
        time_units="hours",
        source="Held and Suarez (1994), Bull. Amer. Meteor. Soc. 75, 1825; model dinosaur",
    )


# --- scores ----------------------------------------------------------------------------------------------


def within(model: HeldSuarez, region: str) -> np.ndarray:
    """Latitudes of a region, or of the sphere for any other name, ``(latitude, 1)``."""
    south, north = REGIONS.get(region, (-90.0, 90.0))
    return ((south <= model.latitude) & (model.latitude < north))[:, None]


def mean_squares(model: HeldSuarez, states: Array, where: np.ndarray) -> dict[str, np.ndarray]:
    """Means of squares over an area, by variable, ``(..., layer)``; wind as the sum of both components.

    Parameters
    ----------
    model : HeldSuarez
    states : (..., state) array
        Errors, or standard deviations.
    where : (latitude, longitude) array of bool
    """
    weight = np.where(where, model.area[:, None], 0.0)
    weight = weight / weight.sum()
    parts = {
        name: np.einsum("...ijk,jk->...i", np.square(part, dtype=np.float64), weight)
        for name, part in model.split(states).items()
    }
    wind = parts.pop("eastward") + parts.pop("northward")
    return {"temperature": parts["temperature"], "wind": wind, "pressure": parts["pressure"]}


def energy_norm(squares: dict[str, np.ndarray]) -> np.ndarray:
    """Root of the mean of dry total energy, m/s, of what `mean_squares` gives."""
    layered = squares["wind"] + HEAT / WARMTH * squares["temperature"]
    ground = GAS * WARMTH / PRESSURE**2 * squares["pressure"][..., 0]
    return np.sqrt(layered.mean(axis=-1) + ground)


GAIN: dict[str, dict[str, tuple[float, ...]]] = {
    "atmosphere_dinosaur": {"letkf": (3.82, 2.90), "letsf": (3.01, 2.50)},
    "atmosphere_dinosaur_saturating": {"letkf": (5.44, 4.45), "letkf_adaptive": (4.35, 4.62), "letsf": (6.95, 5.55)},
}
"""Norm of the free ensemble over that of the analyses since day 5.5, at columns without observations; by seed."""
