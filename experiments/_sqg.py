"""What the pages of surface quasi-geostrophic turbulence share: 64 x 64 points on two levels, in K, every 12 hours.

The truth is days 300 to 600 of a nature run; seed s begins 50 (s - 1) days later. Members start from truth plus white
noise. A shock is white noise on the truth in the cycle in which it strikes: on what is observed and scored, or, if it
lasts, on the truth itself.
"""

from __future__ import annotations

from collections import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Protocol, cast

from ensf.arrays import Array, Generator, normal
from ensf.diffusion import LinearSchedule, ReverseSDE, RunningMeanStop
from ensf.filters import LETKF, LETSF, EnSF, Filter, FixedGainMAP
from ensf.localization import InformationLimit, Localization, Periodic, Product
from ensf.models.sqg import SQG, SQGTemperature
from ensf.observations import RandomPoints
from ensf.runs.nature import NatureRun, Trajectory
from ensf.twin import Checkpoint, Cycle, Method, Model, Network, Streams, TwinExperiment, twin
from ensf.wrappers import (
    RTPS,
    AdaptiveInflation,
    DeferredAnalysis,
    DisplacementCovariance,
    EnsembleCovariance,
    HybridMean,
    SpreadReset,
    Standardised,
    StaticCovariance,
)

DAY, HALF_DAY = 86400.0, 43200.0
MEMBERS = 20
MODEL = SQGTemperature(SQG(n=64, U=30.0, dt=1200.0, diff_efold=86400.0, jacobian_factor=2.25))
KELVIN = MODEL.model.kelvin
NATURE = NatureRun(MODEL, spin_up=300 * DAY, duration=300 * DAY, interval=HALF_DAY)


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
    weights : tuple of float
        Probability of each size, given that there is a shock.
    """

    probability: float = 0.0
    sizes: tuple[float, ...] = (1.0,)
    weights: tuple[float, ...] = (1.0,)

    def strike(self, truth: Array, rng: Generator) -> Array:
        """Truth ``(state,)`` in K, struck or not."""
        if rng.random() >= self.probability:
            return truth
        size = float(rng.choice(self.sizes, p=self.weights))
        return truth + KELVIN * size * normal(rng, truth.shape, truth)


class SourceOfTruth(Protocol):
    """What makes the truth: a model or a trajectory."""

    def advance(self, states: Array, time: float, duration: float, rng: Generator | None = None) -> Array:
        """Truth ``(state,)`` at ``time + duration``."""


@dataclass(frozen=True)
class Struck:
    """A source of truth, a model or a trajectory, with shocks at the end of each interval."""

    source: SourceOfTruth
    shocks: Shocks

    def advance(self, states: Array, time: float, duration: float, rng: Generator | None = None) -> Array:
        """Truth ``(state,)`` at ``time + duration``.

        Raises
        ------
        ValueError
            If there is no `rng`.
        """
        if rng is None:
            raise ValueError("shocks draw random numbers: give advance an rng")
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
def localization(cut_off: float) -> Localization:
    """Gaspari-Cohn taper that is zero from `cut_off` on, times the same function of the deformation radius; km."""
    side = MODEL.model.L / 1000
    scale = MODEL.model.deformation_radius / MODEL.model.H
    return Localization(Product(Periodic((side, side)), scale), cut_off / 2, dims=("y", "x", "z"))


ENSF = EnSF(schedule=LinearSchedule(0.05, 0.0), sampler=ReverseSDE(1000, stop=RunningMeanStop()))
PUBLISHED = SpreadReset(Standardised(ENSF), deviation=1000.0 * KELVIN * (1 - 1 / MEMBERS) ** 0.5)
"""The published code takes the spread of the initial members with divisor J, that of the analysis with J - 1."""

WIDE, LIMIT, UNRESOLVED = localization(2800.0), InformationLimit(0.45), 0.2


def adaptive(filter: Filter, name: str) -> Method:
    """A filter with patches limited by information and unresolved variance, as every page uses it."""
    summary = f"{name}, patches limited by information, unresolved variance, adaptive inflation, deferred analyses"
    inflated = AdaptiveInflation(filter, localization(1600.0))
    return Method(DeferredAnalysis(inflated, chi2_limit=1.6), MEMBERS, summary)


def hybrid(filter: Filter) -> HybridMean:
    """The filter's anomalies about the mean of a hybrid covariance; lengths in km, one set for all pages."""
    return HybridMean(
        filter,
        WIDE.geometry,
        ensemble=EnsembleCovariance(
            half_widths=(4000.0, 2750.0, 1750.0), wavelengths=(5000.0, 2000.0), vertical_half_width=1500.0, weight=0.42
        ),
        static=StaticCovariance(smoothing=2000.0, weight=0.2),
        displacement=DisplacementCovariance(length=1872.0, weight=0.15),
    )


def methods(cut_off: float, relaxation: float, wrap: Callable[[Filter], Filter] = lambda f: f) -> dict[str, Method]:
    """Methods of a page: the published ones with its options, and what they are compared with.

    Parameters
    ----------
    cut_off : float
        Of the published LETKF's localization, km.
    relaxation : float
        Strength of its relaxation to prior spread.
    wrap : callable
        Put around filters that need linear observations.
    """
    limited = LETSF(WIDE, information_limit=LIMIT, unresolved_variance=UNRESOLVED)
    return {
        "ensf": Method(wrap(PUBLISHED), MEMBERS, "EnSF as published, standardised, stopped early, spread reset"),
        "letkf": Method(
            RTPS(LETKF(localization(cut_off)), relaxation),
            MEMBERS,
            f"LETKF, cut-off {cut_off:g} km, RTPS {relaxation}",
        ),
        "map": Method(wrap(FixedGainMAP(1.2)), MEMBERS, "fixed-gain MAP per member and point"),
        "letkf_limited": adaptive(LETKF(WIDE, LIMIT, UNRESOLVED), "LETKF"),
        "letsf": adaptive(limited, "LETSF"),
        "hybrid": adaptive(hybrid(limited), "LETSF about a hybrid mean"),
    }


LINEAR = methods(2200.0, 0.3)


# --- the experiment --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SQGExperiment(TwinExperiment[Network | RandomPoints]):
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

    def run(self, method: Method, seed: int, start: Checkpoint | None = None) -> abc.Generator[Cycle, None, None]:
        """Cycles of one method and seed, after those of `start`; truth and observations depend on the seed alone."""
        truth = self.truth(seed)
        source = cast(Model, Struck(self.model if self.lasting else truth, self.shocks))
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


def experiment(
    name: str, summary: str, network: Network | RandomPoints, methods: Mapping[str, Method], shocks: Shocks = Shocks()
) -> SQGExperiment:
    """Page of one observing network: 300 cycles, scores after 100."""
    return SQGExperiment(
        name=name,
        summary=summary,
        source="Bao, Chipilski, Liang, Zhang & Whitaker (2025), MWR 153, 1155",
        model=MODEL,
        network=network,
        initial=None,  # type: ignore[arg-type]  # members start about the truth of the seed, in `run`
        methods=methods,
        cycles=300,
        interval=HALF_DAY,
        burn_in=100 * HALF_DAY,
        climatology=7.05,
        seeds=(1,),
        time_units="seconds",
        shocks=shocks,
    )
