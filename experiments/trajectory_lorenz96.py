"""Trajectories of Lorenz-96 as a whole, by a score of short windows: every second variable at every second time.

A state of this page is a trajectory, 9 times of .1 apart, of which 5 have observations with error 1. The truth of each
cycle has nothing to do with that of the last: all that is known before are 300 other trajectories, the library.

Score-based data assimilation (Rozet & Louppe 2023) has no model. It learns the score of windows of the library, here of
5 times: a regression of each variable on 4 neighbours on each side, then and one time before and after, with the same
weights for all variables and times, and with marks of what is outside the window. The windows make up the trajectory:
at every place its score is that of the window about it. Observations pull as PiGDM says. Training-free, the same with
the score of the mixture of the library's trajectories.

The others know the model. `smoother` is an LETKF that forecasts the library's first states from time to time and
corrects all earlier times as well (`ensf.wrappers.Smoother`): as many model runs as the library took. `loop` corrects
the first states through the model in four pieces (`Tempered` LETSF), six times as many. For observations as these,
LETSF is the LETKF, so the smoother stands for both.

`rmse_analysis` is of the whole trajectory, `rmse_first`, `rmse_middle` and `rmse_end` of one time. Tuned on seeds 11 to
13: half-widths (2 to 15) and inflation (1, 1.04, 1.1), the number of analogs (5 to 40). On two trajectories of seed 11:
sampler and deviation of PiGDM, for a score that was learned at a constant rate (error of the page 1.99): `DPMSolver`,
with fewer scores, had errors of 2.5 where ancestral sampling had 1.9.
"""

from __future__ import annotations

import time as clock
from collections import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar

import numpy as np

from ensf.arrays import Array, Generator, generator, normal, to_numpy
from ensf.diffusion import EDM, LearnedScore, MixtureScore, Neighbourhood, PiGDM, ancestral
from ensf.diffusion.learned import Perceptron
from ensf.diffusion.prior_scores import FittedScore
from ensf.experiments._lorenz96 import MODEL, SIZE
from ensf.experiments._score_prior import DEVIATION, LIBRARY, SPIN_UP, Analogs
from ensf.filters import LETKF, LETSF, Analysis, EnSF, Filter, FreeRun
from ensf.filters.base import Memory
from ensf.localization import periodic_line
from ensf.observations import Observation, Select
from ensf.observations.operators import as_operator
from ensf.twin import Checkpoint, Cycle, Method, Streams
from ensf.wrappers import AnalysisInflation, Smoother, Tempered

TIMES, INTERVAL, WINDOW, ERROR = 9, 0.1, 5, 1.0
SEEN = np.arange(0, TIMES, 2)
POINTS = np.arange(0, SIZE, 2)
PLACES = np.arange(SIZE, dtype=np.float64)[:, None]


def trajectories(first: Array) -> np.ndarray:
    """Trajectories ``(..., time, state)`` from first states ``(..., state)``."""
    states = [to_numpy(first)]
    for _ in range(1, TIMES):
        states.append(MODEL.advance(states[-1], 0.0, INTERVAL))
    return np.stack(states, axis=-2)


def flat(states: np.ndarray) -> np.ndarray:
    """As states of the page, ``(..., time * state)``."""
    return states.reshape(*states.shape[:-2], TIMES * SIZE)


@cache
def library() -> np.ndarray:
    """Trajectories of the attractor ``(300, time, state)``."""
    rng = np.random.default_rng(96)
    return trajectories(MODEL.advance(normal(rng, (LIBRARY, SIZE), np.zeros(1)), 0.0, SPIN_UP))


# --- without a model -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WindowScore:
    """A score of trajectories learned from windows of the library, once, whatever the ensemble.

    Parameters
    ----------
    reach : tuple of int
        Times and neighbours that are seen on each side.
    units : int
        Of each of the two layers.
    repeats : int
        Times that every window is blurred.
    epochs : int
    """

    reach: tuple[int, int] = (1, 4)
    units: int = 64
    repeats: int = 4
    epochs: int = 15

    def fit(self, prior: Array, rng: Generator) -> FittedScore:
        """The score function."""
        return _learned(self)


@cache
def _learned(settings: WindowScore) -> FittedScore:
    regressor = Perceptron(0, (settings.units, settings.units), settings.epochs)
    near = Neighbourhood(settings.reach, (WINDOW, SIZE), periodic=(False, True))
    starts = range(0, TIMES - WINDOW + 1, WINDOW - 1)
    windows = np.concatenate([library()[:, start : start + WINDOW] for start in starts])
    states = windows.reshape(-1, WINDOW * SIZE)
    return LearnedScore(regressor, near, settings.repeats).fit(states, np.random.default_rng(1))


# --- with the model ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Smoothed:
    """A filter with the model, as a filter of trajectories: from time to time, all earlier times corrected.

    Parameters
    ----------
    filter : Filter
        One with `prepare`.
    """

    filter: Filter

    def analyse(
        self,
        prior: Array,
        observation: Observation,
        rng: Generator | int | None,
        memory: Memory = None,
        positions: np.ndarray | None = None,
        predicted: Array | None = None,
    ) -> Analysis:
        """Trajectories ``(member, time * state)`` from the first states of the prior."""
        stream, smoother = generator(rng), Smoother(self.filter, TIMES)
        values = np.full((TIMES, POINTS.size), np.nan)
        values[SEEN] = to_numpy(observation.value).reshape(SEEN.size, POINTS.size)
        result = Analysis(to_numpy(prior)[:, :SIZE])
        for step, value in enumerate(values):
            states = MODEL.advance(result.ensemble, 0.0, INTERVAL) if step else result.ensemble
            seen = Observation(value, Select(tuple(POINTS)), ERROR)
            result = smoother.analyse(states, seen, stream, result.memory, PLACES)
        return Analysis(np.concatenate([*result.earlier[::-1], result.ensemble], axis=1), memory)


@dataclass(frozen=True)
class FromTheStart:
    """A filter of the first states, which the model carries to the observations.

    Parameters
    ----------
    filter : Filter
    """

    filter: Filter

    def analyse(
        self,
        prior: Array,
        observation: Observation,
        rng: Generator | int | None,
        memory: Memory = None,
        positions: np.ndarray | None = None,
        predicted: Array | None = None,
    ) -> Analysis:
        """Trajectories ``(member, time * state)`` from the first states of the prior."""

        def through(first: Array) -> Array:
            return observation.operator(flat(trajectories(first)))

        seen = Observation(observation.value, as_operator(through), ERROR, observation.position)
        first = self.filter.analyse(to_numpy(prior)[:, :SIZE], seen, rng, memory, PLACES)
        return Analysis(flat(trajectories(first.ensemble)), memory)


# --- the page ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trajectory:
    """The model of the page, which has no forecast: a state is a trajectory."""

    shape: ClassVar[tuple[int, ...]] = (TIMES, SIZE)
    dims: ClassVar[tuple[str, ...]] = ("step", "x")

    def advance(self, states: Array, time: float, duration: float, rng: Generator | None = None) -> Array:
        """The states as they are."""
        return states


@dataclass(frozen=True)
class Trajectories:
    """Every cycle is another trajectory; fields as in `ensf.twin.experiment.TwinExperiment`."""

    name: str
    summary: str
    methods: Mapping[str, Method]
    model: Trajectory = field(default_factory=Trajectory)
    cycles: int = 10
    seeds: tuple[int, ...] = (1, 2, 3)
    source: str = ""

    time_units: ClassVar[str] = "1"
    burn_in: ClassVar[float] = 0.0
    climatology: ClassVar[float] = np.inf

    def run(self, method: Method, seed: int, start: Checkpoint | None = None) -> abc.Generator[Cycle, None, None]:
        """One `Cycle` per trajectory after those of `start`.

        Raises
        ------
        ValueError
            If a method asks for more members than the library has.
        """
        if not 2 <= method.members <= LIBRARY:
            raise ValueError(
                f"{method.members} members: the library of {self.name} has {LIBRARY}, so take 2 to {LIBRARY}"
            )
        streams, done = (start.streams.copy(), start.cycles) if start else (Streams.spawn(seed), 0)
        entries = (SEEN[:, None] * SIZE + POINTS).ravel()
        where = np.tile(PLACES, (TIMES, 1))
        prior = flat(library()[: method.members])
        for index in range(done, self.cycles):
            first = MODEL.advance(normal(streams.truth, (SIZE,), np.zeros(1)), 0.0, SPIN_UP)
            truth = flat(trajectories(first))
            noise = ERROR * normal(streams.observations, (entries.size,), truth)
            observation = Observation(truth[entries] + noise, Select(tuple(entries)), ERROR, where[entries])
            started = clock.process_time()
            analysis = method.filter.analyse(prior, observation, streams.filter, positions=where)
            seconds = clock.process_time() - started
            error = (to_numpy(analysis.ensemble).mean(axis=0) - truth).reshape(TIMES, SIZE)
            times = {"first": 0, "middle": TIMES // 2, "end": -1}
            measured = {f"rmse_{name}": float(np.sqrt(np.mean(error[k] ** 2))) for name, k in times.items()}
            yield Cycle(
                index, index + 1.0, truth, observation, prior, analysis, 0.0, seconds, streams, measured=measured
            )

    def scored(self, times: np.ndarray) -> dict[str, np.ndarray]:
        """All trajectories count."""
        return {"": np.ones_like(times, dtype=bool)}


NOISE, PULL, SAMPLER = EDM(0.02 * DEVIATION, 40 * DEVIATION), PiGDM(1.0), ancestral(80)


def smoother(half_width: float, inflation: float, members: int) -> Method:
    """LETKF from time to time."""
    filter = AnalysisInflation(LETKF(periodic_line(SIZE, half_width)), inflation)
    return Method(Smoothed(filter), members, f"LETKF smoother, half-width {half_width:g}, inflation {inflation:g}")


def loop(half_width: float, members: int) -> Method:
    """LETSF of the first states."""
    filter = Tempered(LETSF(periodic_line(SIZE, half_width), steps=1), 4)
    return Method(FromTheStart(filter), members, f"LETSF with the model in the loop, half-width {half_width:g}")


EXPERIMENT = Trajectories(
    name="trajectory_lorenz96",
    summary="Lorenz-96, trajectories of 9 times, every second variable at every second time with error 1",
    source="Rozet & Louppe (2023), arXiv 2306.10574",
    methods={
        "climatology": Method(FreeRun(), LIBRARY, "the library as it is"),
        "analogs": Method(Analogs(20), LIBRARY, "the 20 trajectories that are nearest to the observations"),
        "letkf": Method(LETKF(periodic_line(SIZE, 3.0)), LIBRARY, "LETKF of whole trajectories, no model"),
        "score": Method(EnSF(NOISE, WindowScore(), PULL, SAMPLER), 20, "EnSF with a learned score of windows, PiGDM"),
        "states": Method(EnSF(NOISE, MixtureScore(), PULL, SAMPLER), LIBRARY, "the same with the library's score"),
        "smoother": smoother(7.3, 1.0, LIBRARY),
        "smoother_40": smoother(4.0, 1.1, 40),
        "loop": loop(11.0, LIBRARY),
        "loop_40": loop(6.0, 40),
    },
)
EXPECTED = {
    "climatology": {
        "rmse_analysis": (3.619, 0.036),
        "spread_analysis": (3.629, 0.036),
        "rmse_first": (3.59, 0.036),
        "rmse_end": (3.618, 0.036),
        "crps_analysis": (2.065, 0.021),
    },
    "analogs": {
        "rmse_analysis": (2.999, 0.03),
        "spread_analysis": (3.407, 0.034),
        "rmse_first": (2.99, 0.03),
        "rmse_end": (3.03, 0.03),
        "crps_analysis": (1.598, 0.016),
    },
    "letkf": {
        "rmse_analysis": (2.121, 0.021),
        "spread_analysis": (2.069, 0.021),
        "rmse_first": (1.993, 0.02),
        "rmse_end": (2.185, 0.022),
        "crps_analysis": (1.059, 0.011),
    },
    "score": {
        "rmse_analysis": (1.721, 0.06),
        "spread_analysis": (1.643, 0.054),
        "rmse_first": (1.89, 0.063),
        "rmse_end": (1.981, 0.064),
        "crps_analysis": (0.7969, 0.028),
    },
    "states": {
        "rmse_analysis": (2.936, 0.029),
        "spread_analysis": (3.343, 0.033),
        "rmse_first": (2.984, 0.03),
        "rmse_end": (2.98, 0.03),
        "crps_analysis": (1.651, 0.017),
    },
    "smoother": {
        "rmse_analysis": (1.108, 0.011),
        "spread_analysis": (1.063, 0.011),
        "rmse_first": (1.577, 0.016),
        "rmse_end": (1.047, 0.01),
        "crps_analysis": (0.5791, 0.0058),
    },
    "smoother_40": {
        "rmse_analysis": (1.375, 0.014),
        "spread_analysis": (1.174, 0.012),
        "rmse_first": (1.968, 0.02),
        "rmse_end": (1.169, 0.012),
        "crps_analysis": (0.6787, 0.0068),
    },
    "loop": {
        "rmse_analysis": (1.457, 0.015),
        "spread_analysis": (1.677, 0.017),
        "rmse_first": (1.386, 0.014),
        "rmse_end": (1.807, 0.018),
        "crps_analysis": (0.7374, 0.0074),
    },
    "loop_40": {
        "rmse_analysis": (1.644, 0.016),
        "spread_analysis": (1.295, 0.013),
        "rmse_first": (1.685, 0.017),
        "rmse_end": (1.985, 0.02),
        "crps_analysis": (0.8582, 0.0086),
    },
}
