"""What score_prior_lorenz96 is made of: single times of Lorenz-96, analysed from its climatology.

Each truth is an independent state of the attractor, and there is no forecast: all that is known before the
observations are 300 other states, the library. A score is learned from it once, with weights that are shared by all
variables and see four neighbours on each side. Every other method has the library as its prior ensemble.

The guidance is PiGDM, which takes the spread of x | z for white. `MomentMatching` takes it from the slope of the score;
that of a learned score is wrong where no state was, and draws leave for good (root-mean-square errors of 4e7).
"""

from __future__ import annotations

import time as clock
from collections import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar

import numpy as np

from ensf.arrays import Array, Generator, namespace, normal, to_numpy
from ensf.diffusion import EDM, DPMSolver, LearnedScore, MixtureScore, Neighbourhood, PiGDM
from ensf.diffusion.learned import Perceptron
from ensf.diffusion.prior_scores import FittedScore
from ensf.experiments._lorenz96 import MODEL, SIZE
from ensf.filters import LETKF, LETSF, Analysis, EnSF, FreeRun, OptimalInterpolation
from ensf.filters.base import Memory
from ensf.localization import periodic_line
from ensf.models.lorenz96 import Lorenz96
from ensf.observations import Observation
from ensf.twin import Checkpoint, Cycle, Method, Network, Streams

LIBRARY, SPIN_UP, DEVIATION = 300, 20.0, 3.64
POSITIONS = np.arange(SIZE, dtype=np.float64)[:, None]


@cache
def library() -> np.ndarray:
    """States of the attractor ``(300, state)``, the ends of independent runs."""
    rng = np.random.default_rng(96)
    return to_numpy(MODEL.advance(normal(rng, (LIBRARY, SIZE), np.zeros(1)), 0.0, SPIN_UP))


@dataclass(frozen=True)
class ClimateScore:
    """A score learned from the library, once, whatever the ensemble.

    Parameters
    ----------
    half_width : int
        Neighbours that are seen on each side.
    units : int
        Of each of the two layers.
    repeats : int
        Times that every state is blurred.
    epochs : int
    """

    half_width: int = 4
    units: int = 64
    repeats: int = 40
    epochs: int = 15

    def fit(self, prior: Array, rng: Generator) -> FittedScore:
        """The score function."""
        return _learned(self)


@cache
def _learned(settings: ClimateScore) -> FittedScore:
    regressor = Perceptron(0, (settings.units, settings.units), settings.epochs)
    near = Neighbourhood(settings.half_width, (SIZE,))
    return LearnedScore(regressor, near, settings.repeats).fit(library(), np.random.default_rng(1))


@dataclass(frozen=True)
class Analogs:
    """The members whose predictions are nearest to the observations, as they are.

    Parameters
    ----------
    count : int
    """

    count: int = 10

    def analyse(
        self,
        prior: Array,
        observation: Observation,
        rng: Generator | int | None,
        memory: Memory = None,
        positions: np.ndarray | None = None,
        predicted: Array | None = None,
    ) -> Analysis:
        """Analysis ensemble ``(count, state)``."""
        xp = namespace(prior)
        distance = xp.sum((observation.operator(prior) - observation.value) ** 2, axis=-1)
        return Analysis(xp.take(prior, xp.argsort(distance)[: self.count], axis=0), memory)


@dataclass(frozen=True)
class SingleTimes:
    """Every cycle is another state of the attractor; fields as in `ensf.twin.experiment.TwinExperiment`."""

    name: str
    summary: str
    network: Network
    methods: Mapping[str, Method]
    model: Lorenz96 = field(default=MODEL)
    cycles: int = 20
    seeds: tuple[int, ...] = (1, 2, 3)
    source: str = ""

    time_units: ClassVar[str] = "1"
    burn_in: ClassVar[float] = 0.0
    climatology: ClassVar[float] = np.inf
    last: ClassVar[int] = 0

    def run(self, method: Method, seed: int, start: Checkpoint | None = None) -> abc.Generator[Cycle, None, None]:
        """One `Cycle` per state after those of `start`.

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
        for index in range(done, self.cycles):
            truth = self.model.advance(normal(streams.truth, (SIZE,), np.zeros(1)), 0.0, SPIN_UP)
            observation = self.network.observe(truth, index, streams.observations)
            prior = library()[: method.members]
            started = clock.process_time()
            analysis = method.filter.analyse(prior, observation, streams.filter, positions=POSITIONS)
            seconds = clock.process_time() - started
            yield Cycle(index, index + 1.0, truth, observation, prior, analysis, 0.0, seconds, streams)

    def scored(self, times: np.ndarray) -> dict[str, np.ndarray]:
        """All states count."""
        return {"": np.ones_like(times, dtype=bool)}


def methods(length: float, half_width: float, analogs: int) -> dict[str, Method]:
    """All methods: the length of optimal interpolation, the half-width of patches, the number of analogs."""
    noise, sampler = EDM(0.02 * DEVIATION, 40 * DEVIATION), DPMSolver(40)
    near, guidance = periodic_line(SIZE, half_width), PiGDM(DEVIATION)
    return {
        "climatology": Method(FreeRun(), LIBRARY, "the library as it is"),
        "analogs": Method(Analogs(analogs), LIBRARY, f"the {analogs} states that are nearest to the observations"),
        "oi": Method(
            OptimalInterpolation(periodic_line(SIZE, 8.0), length), LIBRARY, f"optimal interpolation, length {length:g}"
        ),
        "letkf": Method(LETKF(near), LIBRARY, f"LETKF, half-width {half_width:g}"),
        "letsf": Method(LETSF(near, steps=10), LIBRARY, f"LETSF, half-width {half_width:g}, 10 steps"),
        "score": Method(EnSF(noise, ClimateScore(), guidance, sampler), 40, "EnSF with a learned score, PiGDM"),
        "states": Method(EnSF(noise, MixtureScore(), guidance, sampler), LIBRARY, "the same with the library's score"),
    }
