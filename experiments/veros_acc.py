"""A real ocean model, Veros: temperature analysed from sparse surface and profile observations, every 10 days.

Truth and members are one spun-up ocean with temperature perturbed, after months under winds and air temperatures of
their own. The forcing differs all the time, so that a free ensemble keeps its error; no filter knows the forcing of
the truth, nor changes that of a member. Temperature alone is analysed: velocities and the rest of each restart are
kept, and adjust in the steps that follow. `unobserved` has the points without an observation, which are nearly all.
"""

from __future__ import annotations

from collections import abc
from dataclasses import dataclass, fields, replace
from functools import cache, lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter

from ensf.arrays import Array, Generator
from ensf.filters import LETKF, LETSF, FreeRun
from ensf.localization import InformationLimit, Localization, Product, Sphere
from ensf.models.veros_acc import FORCING, VerosACC, WetTemperature
from ensf.observations import Select
from ensf.twin import Checkpoint, Cycle, Method, Network, Streams, TwinExperiment, twin
from ensf.wrappers import RTPS, AdaptiveInflation, PartialState, Rotation

YEAR, ADJUSTMENT, INTERVAL, MEMBERS = 360.0, 120.0, 10.0, 15


# --- what is observed ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sparse:
    """A network of surface temperatures and, elsewhere, profiles through all layers, at the same points in all cycles.

    Parameters
    ----------
    surface, profiles : int
        Numbers of columns, drawn at random once.
    surface_error, profile_error : float
        K.
    """

    surface: int = 30
    profiles: int = 8
    surface_error: float = 0.3
    profile_error: float = 0.1

    def on(self, model: VerosACC) -> Network:
        """The network on a model's grid."""
        columns = np.random.default_rng(7).permutation(int(model.wet[0].sum()))
        deep = columns[: self.profiles, None] + int(model.wet[0].sum()) * np.arange(len(model.depth))
        surface = columns[self.profiles : self.profiles + self.surface]
        error = [self.surface_error] * surface.size + [self.profile_error] * deep.size
        return Network(Select(tuple(np.concatenate([surface, deep.ravel()]).tolist())), np.array(error))


def unobserved(experiment: OceanExperiment) -> np.ndarray:
    """Numbers of the wet points at which there is no observation."""
    points = np.arange(experiment.model.model.points)
    observed = experiment.network.operator.entries(points.size)
    return np.setdiff1d(points, points if observed is None else observed)


# --- truth and members at the start ----------------------------------------------------------------------


@cache
def spun_up(model: VerosACC, years: int) -> np.ndarray:
    """State after so many years from rest, under the mean forcing."""
    return model.advance(model.rest(), 0.0, years * YEAR)


def smooth(model: VerosACC, count: int, rng: Generator) -> np.ndarray:
    """Random temperatures ``(count, point)``, standard deviation 1, correlated over about 1000 km and three layers."""
    cells = 9.0 / model.spacing
    noise = rng.standard_normal((count, *model.wet.shape))
    field = gaussian_filter(noise, (0, 1.5, cells, cells), mode=("nearest", "nearest", "nearest", "wrap"))
    return (field / field.std())[:, model.wet]


@dataclass(frozen=True)
class Perturbed:
    """Truth and members from one spun-up ocean; they depend on the seed alone.

    Parameters
    ----------
    model : VerosACC
    spin_up : int
        Years.
    deviation : float
        Standard deviation of the temperature perturbations at the surface, K; a depth of 500 m divides it by e.
    """

    model: VerosACC
    spin_up: int = 5
    deviation: float = 1.0

    def draw(self, members: int, streams: Streams) -> tuple[Array, Array]:
        """Truth ``(state,)`` and members ``(member, state)``, `ADJUSTMENT` days after they were perturbed."""
        return drawn(self, members, streams.seed)


@lru_cache(maxsize=8)
def drawn(law: Perturbed, members: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What a law draws; methods of the same seed and size share it."""
    rng, model = Streams.spawn(seed).ensemble, law.model
    states = model.forced(spun_up(model, law.spin_up), rng.standard_normal((members + 1, FORCING)))
    decay = law.deviation * np.exp(-model.positions[:, 2] / 0.5)
    states = model.warmed(states, states[:, : model.points] + decay * smooth(model, members + 1, rng))
    states = model.advance(states, 0.0, ADJUSTMENT)
    return states[0], states[1:]


# --- the experiment --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class OceanCycle(Cycle):
    """A cycle with temperatures for states; its checkpoint has the whole ocean."""

    whole: Checkpoint | None = None

    @property
    def checkpoint(self) -> Checkpoint | None:
        """What the next cycle needs."""
        return self.whole

    @classmethod
    def of(cls, cycle: Cycle, points: int) -> OceanCycle:
        """Temperatures of a cycle of complete restarts."""
        analysis = replace(cycle.analysis, ensemble=cycle.analysis.ensemble[:, :points])
        parts = {field.name: getattr(cycle, field.name) for field in fields(cycle)}
        parts |= {"truth": cycle.truth[:points], "forecast": cycle.forecast[:, :points], "analysis": analysis}
        return cls(**parts, whole=cycle.checkpoint)


@dataclass(frozen=True)
class OceanExperiment(TwinExperiment[Network]):
    """A twin experiment that carries complete restarts and shows temperatures."""

    model: WetTemperature

    def run(self, method: Method, seed: int, start: Checkpoint | None = None) -> abc.Generator[Cycle, None, None]:
        """Cycles of one method and seed, after those of `start`."""
        model = self.model.model
        cycles = twin(
            model,
            PartialState(method.filter, model.points),
            self.network,
            self.initial,
            members=method.members,
            cycles=self.cycles,
            interval=self.interval,
            streams=Streams.spawn(seed),
            start=start,
        )
        for cycle in cycles:
            yield OceanCycle.of(cycle, model.points)


def experiment(model: VerosACC, network: Sparse = Sparse(), half_width: float = 1200.0) -> OceanExperiment:
    """The experiment on another grid, with another network or localization (Gaspari-Cohn half-width, km)."""
    local = Localization(Product(Sphere(), half_width), half_width)
    inner = Rotation(LETSF(local, information_limit=InformationLimit()))
    return OceanExperiment(
        name="veros_acc",
        summary="Ocean model Veros, 30 surface temperatures and 8 profiles every 10 days",
        model=WetTemperature(model),
        network=network.on(model),
        initial=Perturbed(model),
        methods={
            "free": Method(FreeRun(), MEMBERS, "no analysis"),
            "letkf": Method(RTPS(LETKF(local), 0.5), MEMBERS, "LETKF, RTPS 0.5"),
            "letsf": Method(AdaptiveInflation(inner, local), MEMBERS, "LETSF, adaptive inflation, rotated"),
        },
        cycles=12,
        interval=INTERVAL,
        seeds=(1, 2),
        time_units="days",
        source="set-up acc of Veros, Haefner et al. (2018), Geosci. Model Dev. 11, 3299",
    )


EXPERIMENT = experiment(VerosACC())

GAIN = {"letkf": (2.24, 1.90), "letsf": (2.00,)}
"""Error of the free ensemble over that of the analysis, means over twelve cycles at unobserved points; by seed."""

EXPECTED: dict[str, dict[str, tuple[float, float]]] = {}
