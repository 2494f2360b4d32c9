"""What the pages of surface quasi-geostrophic turbulence share: 64 x 64 points on two levels, in K, every 12 hours.

The truth is days 300 to 600 of a nature run; seed s begins 50 (s - 1) days later. Members start from truth plus white
noise. A shock is white noise on the truth in the cycle in which it strikes: on what is observed and scored, or, if it
lasts, on the truth itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from ensf.arrays import Array, Generator, namespace, normal
from ensf.filters.base import Analysis
from ensf.filters.kalman.filters import LETKF
from ensf.filters.letsf.filter import LETSF
from ensf.filters.fixed_gain import FixedGainMAP
from ensf.localization import Localization, Periodic, Product
from ensf.localization.information_limit import InformationLimit
from ensf.models.sqg import SQG, SQGTemperature
from ensf.observations.observation import Observation
from ensf.runs.nature import NatureRun, Trajectory
from ensf.twin.experiment import Method, TwinExperiment
from ensf.twin.twin import Cycle, Restart, Streams, twin
from ensf.wrappers.adaptive_inflation import AdaptiveInflation
from ensf.wrappers.deferred_analysis import DeferredAnalysis
from ensf.wrappers.published import published
from ensf.wrappers.spread import RTPS

DAY, HALF_DAY = 86400.0, 43200.0
MEMBERS = 20
MODEL = SQGTemperature(SQG(n=64, U=30.0, dt=1200.0, diff_efold=86400.0, jacobian_factor=2.25))
KELVIN = MODEL.model.kelvin
NATURE = NatureRun(MODEL, spin_up=300 * DAY, duration=300 * DAY, interval=HALF_DAY)
SOURCE = "Bao, Chipilski, Liang, Zhang & Whitaker (2025), MWR 153, 1155"


# --- truth -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shocks:
    """White noise that strikes in some cycles.

    Parameters
    ----------
    probability : float
        Of a shock in a cycle.
    sizes : tuple of float
        Standard deviations, in m/s of the model's variable.
    shares : tuple of float
        Of the sizes among the shocks.
    """

    probability: float = 0.0
    sizes: tuple[float, ...] = (1.0,)
    shares: tuple[float, ...] = (1.0,)

    def strike(self, truth: Array, rng: Generator) -> Array:
        """Truth ``(state,)`` in K, struck or not."""
        if rng.random() >= self.probability:
            return truth
        size = float(rng.choice(self.sizes, p=self.shares))
        return truth + KELVIN * size * normal(rng, truth.shape, truth)


@dataclass(frozen=True)
class Struck:
    """A source of truth, a model or a trajectory, with shocks at the end of each interval."""

    source: Any
    shocks: Shocks

    def advance(self, states: Array, time: float, duration: float, rng: Generator = None) -> Array:
        """Truth ``(state,)`` at ``time + duration``."""
        return self.shocks.strike(self.source.advance(states, time, duration, rng), rng)


@dataclass(frozen=True, eq=False)
class Around:
    """Members are the first state of a trajectory plus white noise."""

    trajectory: Trajectory
    deviation: float

    def draw(self, members: int, streams: Streams) -> tuple[Array, Array]:
        """Initial truth and members."""
        truth = self.trajectory.states[0]
        return truth, truth + self.deviation * normal(streams.ensemble, (members, truth.size), truth)


# --- methods ---------------------------------------------------------------------------------------------


@cache
def box(cut_off: float) -> Localization:
    """Gaspari-Cohn taper that is zero from `cut_off` on, times the same function of the deformation radius; km."""
    line = MODEL.coords["x"] / 1000
    height = MODEL.coords["z"] / 1000
    z, y, x = (axis.ravel() for axis in np.meshgrid(height, line, line, indexing="ij"))
    side = MODEL.model.L / 1000
    scale = MODEL.model.deformation_radius / MODEL.model.H
    return Localization(np.stack([y, x, z], axis=1), Product(Periodic((side, side)), scale), cut_off / 2)


@dataclass(frozen=True)
class InitialSpread:
    """A filter whose analysis spread is set to that of the initial members, the same at all points.

    Parameters
    ----------
    filter : Filter
    deviation : float
        In K. The published code takes the initial spread with divisor N, that of the analysis with N - 1.
    """

    filter: Any
    deviation: float = 1000.0 * KELVIN * (1 - 1 / MEMBERS) ** 0.5

    def analyse(self, prior: Array, observation: Observation, rng: Generator, memory: Any = None) -> Analysis:
        """Analysis ensemble ``(member, state)``."""
        analysis = self.filter.analyse(prior, observation, rng, memory)
        xp = namespace(prior)
        mean, spread = xp.mean(analysis.ensemble, axis=0), xp.std(analysis.ensemble, axis=0, correction=1)
        return replace(analysis, ensemble=mean + (analysis.ensemble - mean) * (self.deviation / spread))


@dataclass(frozen=True)
class InvertedSensor:
    """A filter that is given tan(y) in place of y = arctan(x) + error, and told a constant error.

    Parameters
    ----------
    filter : Filter
    error : float
        Standard deviation in K that the filter assumes.
    bound : float
        In K; y stays within plus and minus its arctangent. Beyond the error of y is amplified without limit, and past
        pi/2 the sign changes, until the model blows up.
    """

    filter: Any
    error: float = 1.0
    bound: float = 40.0

    def analyse(self, prior: Array, observation: Observation, rng: Generator, memory: Any = None) -> Analysis:
        """Analysis ensemble ``(member, state)``."""
        xp, most = namespace(observation.value), math.atan(self.bound)
        value = xp.tan(xp.clip(observation.value, -most, most))
        seen = replace(observation, value=value, operator=observation.operator.linear, error=self.error)
        return self.filter.analyse(prior, seen, rng, memory)


PUBLISHED = InitialSpread(published("sqg").filter)


def adaptive(filter: Any, summary: str) -> Method:
    """A filter with patches limited by information and a remainder, as every page uses it."""
    summary = f"{summary}, patches limited by information, remainder, adaptive inflation, patience with surprises"
    return Method(DeferredAnalysis(AdaptiveInflation(filter, box(1600.0)), chi2_limit=1.6), MEMBERS, summary)


PATCHES: dict[str, Any] = {
    "localization": box(2800.0),
    "information_limit": InformationLimit(0.45),
    "unresolved_variance": 0.2,
}


def methods(cut_off: float, relaxation: float, sensor: Any = lambda inner: inner) -> dict[str, Method]:
    """Methods of a page: the published ones with its options, and what they are compared with.

    Those that cannot see through an arctangent are wrapped by `sensor`.
    """
    return {
        "ensf": Method(sensor(PUBLISHED), MEMBERS, "EnSF as published, standardised, stopped early, spread reset"),
        "letkf": Method(
            RTPS(LETKF(box(cut_off)), relaxation), MEMBERS, f"LETKF, cut-off {cut_off:g} km, RTPS {relaxation}"
        ),
        "map": Method(sensor(FixedGainMAP(1.2)), MEMBERS, "fixed-gain MAP per member and point"),
        "letkf_limited": adaptive(LETKF(**PATCHES), "LETKF"),
        "letsf": adaptive(LETSF(**PATCHES), "LETSF"),
    }


LINEAR = methods(2200.0, 0.3)


# --- the experiment --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SQGExperiment(TwinExperiment):
    """A twin experiment whose truth is a stored nature run; other fields as in `TwinExperiment`, without `initial`.

    Parameters
    ----------
    nature : NatureRun
    shocks : Shocks
    lasting : bool
        Shocks act on the truth itself, not only on the cycle in which they strike.
    deviation : float
        Standard deviation of the initial members about the truth, K.
    """

    nature: NatureRun = NATURE
    shocks: Shocks = Shocks()
    lasting: bool = False
    deviation: float = 1000.0 * KELVIN

    def run(self, method: Method, seed: int, start: Restart | None = None) -> Iterator[Cycle]:
        """Cycles of one method and seed, after those of `start`; truth and observations depend on the seed alone."""
        truth = self.truth(seed)
        source: Any = Struck(self.model if self.lasting else truth, self.shocks)
        return twin(
            self.model,
            method.filter,
            self.network,
            Around(truth, self.deviation),
            members=method.members,
            cycles=self.cycles,
            interval=self.interval,
            streams=Streams.spawn(seed),
            truth_model=source,
            start=start,
        )

    def truth(self, seed: int) -> Trajectory:
        """The part of the nature run that is the truth of this seed."""
        nature = self.nature.load()
        spare = len(nature) - self.cycles
        return nature.window(100 * (seed - 1) % spare if spare > 0 else 0, self.cycles + 1)


def experiment(name: str, summary: str, **changes: Any) -> SQGExperiment:
    """Page with what all have in common."""
    common: dict[str, Any] = {
        "source": SOURCE,
        "model": MODEL,
        "initial": None,
        "cycles": 300,
        "interval": HALF_DAY,
        "burn_in": 100 * HALF_DAY,
        "climatology": 7.05,
        "seeds": (1,),
        "time_units": "seconds",
    }
    return SQGExperiment(name=name, summary=summary, **(common | changes))
