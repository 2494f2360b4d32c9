"""Error against score evaluations: every sampler draws from a mixture of two Gaussians in the plane.

The score is exact and the schedule variance-preserving, so all that errs is the sampler. A cycle is a number of scores,
10 to 160, which is also its time; a sampler that needs two a step takes half as many steps. The `steps` of a sampler
are those of the last cycle; those of the first are a sixteenth. The state of a cycle is the
characteristic function of the draws at points t_k, over root weights for which the mean square difference from the
exact one is the energy distance,

    rmse^2 = 1 / (2 pi) int |phi_draws(t) - phi(t)|^2 / |t|^3 dt,

by quadrature in polar coordinates. So `rmse_analysis` is the root of the energy distance of the draws from the mixture,
and `rmse_forecast` that of as many exact draws: what is left of the best of samplers. Nothing is observed.

No setting was tuned but the step of the chains, for the lowest error at 160 scores (seeds 11 to 13): Langevin and MALA
from .02 to .8; annealed Langevin among 1, 2, 4, 8 repeats and signal-to-noise ratios from .2 to 1.
"""

from __future__ import annotations

import math
import time as clock
from collections import abc
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ensf.arrays import Array, Generator, generator
from ensf.diffusion import (
    DDIM,
    MALA,
    AdamFlow,
    AnnealedLangevin,
    CriticallyDamped,
    DPMSolver,
    EDMHeun,
    GaussianMixture,
    Langevin,
    PredictorCorrector,
    ProbabilityFlow,
    ReverseSDE,
    Sampler,
    Schedule,
    VariancePreserving,
    draw,
)
from ensf.filters import Analysis
from ensf.filters.base import Memory
from ensf.observations import Identity, Observation
from ensf.twin import Checkpoint, Cycle, Method, Streams

MIXTURE = GaussianMixture(np.array([0.4, 0.6]), np.array([[-2.0, 0.0], [2.0, 1.0]]), np.array([0.4 * np.eye(2)] * 2))
SCORES = (10, 20, 40, 80, 160)


# --- the energy distance as a mean square --------------------------------------------------------------------

ANGLES, RADII, REACH = 8, 16, 6.0


def _points() -> tuple[np.ndarray, np.ndarray]:
    """Points t ``(point, 2)`` of half a plane, and root weights ``(point,)`` of their squared differences."""
    nodes, weights = np.polynomial.legendre.leggauss(RADII)
    radius = 0.5 * REACH * (nodes + 1)
    angle = math.pi * (np.arange(ANGLES) + 0.5) / ANGLES
    points = radius[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    density = 0.5 * REACH * weights / radius**2 / ANGLES
    count = 2 * ANGLES * RADII
    return points.reshape(-1, 2), np.sqrt(count * np.repeat(density, ANGLES))


POINTS, ROOT = _points()


def embedded(states: np.ndarray) -> np.ndarray:
    """Weighted cosines and sines ``(member, 2 point)`` of states ``(member, 2)``."""
    phase = states @ POINTS.T
    return np.concatenate([ROOT * np.cos(phase), ROOT * np.sin(phase)], axis=1)


def exact() -> np.ndarray:
    """The mean of `embedded` over the mixture ``(2 point,)``."""
    spread = np.einsum("pi,kij,pj->pk", POINTS, MIXTURE.covariances, POINTS)
    phi = np.exp(1j * POINTS @ MIXTURE.means.T - 0.5 * spread) @ MIXTURE.weights
    return np.concatenate([ROOT * phi.real, ROOT * phi.imag])


# --- the page ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CharacteristicFunction:
    """The points at which it is known, in place of a model: there is no forecast."""

    shape: ClassVar[tuple[int, ...]] = (2 * len(POINTS),)
    dims: ClassVar[tuple[str, ...]] = ("point",)

    def advance(self, states: Array, time: float, duration: float, rng: Generator | None = None) -> Array:
        """The states as they are."""
        return states


@dataclass(frozen=True)
class Draws:
    """As a filter: draws from the mixture, whatever was before and is observed.

    Parameters
    ----------
    sampler : Sampler
    scores : int
        Score evaluations a step.
    schedule : Schedule
    """

    sampler: Sampler
    scores: int = 1
    schedule: Schedule = VariancePreserving()

    @property
    def steps(self) -> int:
        """Of the sampler."""
        sampler: Any = self.sampler  # a dataclass
        return sampler.steps

    def shortened(self, part: float) -> Draws:
        """With a part of the steps."""
        sampler: Any = self.sampler  # a dataclass
        return replace(self, sampler=replace(sampler, steps=int(part * self.steps)))

    def analyse(
        self,
        prior: Array,
        observation: Observation,
        rng: Generator | int | None,
        memory: Memory = None,
        positions: np.ndarray | None = None,
        predicted: Array | None = None,
    ) -> Analysis:
        """Characteristic function ``(member, 2 point)`` of as many draws as there are members."""
        start = np.zeros((prior.shape[0], 2))
        return Analysis(embedded(draw(MIXTURE, self.schedule, self.sampler, start, generator(rng))), memory)


@dataclass(frozen=True)
class Drawing(Method):
    """A method whose filter draws."""

    filter: Draws


@dataclass(frozen=True)
class Samplers:
    """A cycle for every number of scores; fields as in `ensf.twin.experiment.TwinExperiment`."""

    name: str
    summary: str
    methods: Mapping[str, Drawing]
    cycles: int = len(SCORES)
    seeds: tuple[int, ...] = (1, 2, 3)
    source: str = ""

    model: ClassVar[CharacteristicFunction] = CharacteristicFunction()
    time_units: ClassVar[str] = "1"
    burn_in: ClassVar[float] = 0.0
    climatology: ClassVar[float] = math.inf

    def run(self, method: Drawing, seed: int, start: Checkpoint | None = None) -> abc.Generator[Cycle, None, None]:
        """One `Cycle` per number of scores after those of `start`; its time is that number.

        Raises
        ------
        ValueError
            If more cycles are asked for than there are numbers of scores, or the first would have no step.
        """
        if not 1 <= self.cycles <= len(SCORES):
            raise ValueError(f"{self.cycles} cycles: {self.name} has {len(SCORES)}, one for each number of scores")
        if method.filter.steps * SCORES[0] < SCORES[-1]:
            raise ValueError(
                f"{method.filter.steps} steps: the first cycle of {self.name} takes {SCORES[0]} of {SCORES[-1]} of "
                f"them, so give {SCORES[-1] // SCORES[0]} or more"
            )
        streams, done = (start.streams.copy(), start.cycles) if start else (Streams.spawn(seed), 0)
        truth = exact()
        nothing = Observation(np.full(truth.size, math.nan), Identity(), 1.0)
        for index, scores in enumerate(SCORES[done : self.cycles], done):
            prior = embedded(MIXTURE.draw(method.members, streams.ensemble))
            started = clock.process_time()
            shorter = method.filter.shortened(scores / SCORES[-1])
            analysis = shorter.analyse(prior, nothing, streams.filter)
            seconds = clock.process_time() - started
            yield Cycle(
                index, float(shorter.steps * shorter.scores), truth, nothing, prior, analysis, 0.0, seconds, streams
            )

    def scored(self, times: np.ndarray) -> dict[str, np.ndarray]:
        """All numbers of scores together, and each alone."""
        alone = {f"_{scores:g}": times == scores for scores in times}
        return {"": np.ones_like(times, dtype=bool)} | alone


def _method(sampler: Sampler, summary: str, scores: int = 1) -> Drawing:
    full: Any = sampler  # a dataclass
    return Drawing(Draws(replace(full, steps=SCORES[-1] // scores), scores), 10_000, summary)


EXPERIMENT = Samplers(
    name="samplers_mixture",
    summary="Two Gaussians in the plane, exact score: energy distance of the draws after 10 to 160 scores",
    methods={
        "reverse_sde": _method(ReverseSDE(), "Euler-Maruyama of the reverse equation"),
        "ancestral": _method(DDIM(eta=1.0), "ancestral, as in DDPM"),
        "predictor_corrector": _method(PredictorCorrector(), "Euler-Maruyama, one Langevin step after each", 2),
        "critically_damped": _method(CriticallyDamped(), "critically damped Langevin, by bridges"),
        "ddim": _method(DDIM(), "DDIM"),
        "flow": _method(ProbabilityFlow(), "Heun of the probability flow in t", 2),
        "dpm_solver": _method(DPMSolver(), "DPM-Solver++(2M)"),
        "edm": _method(EDMHeun(), "Heun of Karras et al.", 2),
        "edm_churn": _method(EDMHeun(churn=10.0), "Heun of Karras et al., churn 10", 2),
        "adam": _method(AdamFlow(), "Adam on the flow"),
        "annealed": _method(AnnealedLangevin(repeats=2, snr=0.7), "annealed Langevin, 2 steps a level", 2),
        "langevin": _method(Langevin(size=0.4), "Langevin without schedule, step .4"),
        "mala": _method(MALA(MIXTURE.log_density, size=0.8), "the same, Metropolis-adjusted, step .8"),
    },
)

EXPECTED = {
    "reverse_sde": {
        "rmse_analysis_10": (0.072, 0.012),
        "rmse_analysis_20": (0.031, 0.012),
        "rmse_analysis_40": (0.022, 0.012),
        "rmse_analysis_80": (0.014, 0.012),
        "rmse_analysis_160": (0.021, 0.012),
    },
    "ancestral": {
        "rmse_analysis_10": (0.279, 0.014),
        "rmse_analysis_20": (0.137, 0.012),
        "rmse_analysis_40": (0.065, 0.012),
        "rmse_analysis_80": (0.037, 0.012),
        "rmse_analysis_160": (0.020, 0.012),
    },
    "predictor_corrector": {
        "rmse_analysis_10": (0.201, 0.012),
        "rmse_analysis_20": (0.067, 0.012),
        "rmse_analysis_40": (0.035, 0.012),
        "rmse_analysis_80": (0.022, 0.012),
        "rmse_analysis_160": (0.015, 0.012),
    },
    "critically_damped": {
        "rmse_analysis_10": (0.292, 0.015),
        "rmse_analysis_20": (0.143, 0.012),
        "rmse_analysis_40": (0.067, 0.012),
        "rmse_analysis_80": (0.030, 0.012),
        "rmse_analysis_160": (0.022, 0.012),
    },
    "ddim": {
        "rmse_analysis_10": (0.216, 0.012),
        "rmse_analysis_20": (0.097, 0.012),
        "rmse_analysis_40": (0.055, 0.012),
        "rmse_analysis_80": (0.027, 0.012),
        "rmse_analysis_160": (0.019, 0.012),
    },
    "flow": {
        "rmse_analysis_10": (0.168, 0.012),
        "rmse_analysis_20": (0.053, 0.012),
        "rmse_analysis_40": (0.016, 0.012),
        "rmse_analysis_80": (0.022, 0.012),
        "rmse_analysis_160": (0.011, 0.012),
    },
    "dpm_solver": {
        "rmse_analysis_10": (0.091, 0.012),
        "rmse_analysis_20": (0.025, 0.012),
        "rmse_analysis_40": (0.010, 0.012),
        "rmse_analysis_80": (0.022, 0.012),
        "rmse_analysis_160": (0.011, 0.012),
    },
    "edm": {
        "rmse_analysis_10": (1.040, 0.052),
        "rmse_analysis_20": (0.172, 0.012),
        "rmse_analysis_40": (0.026, 0.012),
        "rmse_analysis_80": (0.025, 0.012),
        "rmse_analysis_160": (0.011, 0.012),
    },
    "edm_churn": {
        "rmse_analysis_10": (1.381, 0.069),
        "rmse_analysis_20": (0.296, 0.015),
        "rmse_analysis_40": (0.065, 0.012),
        "rmse_analysis_80": (0.016, 0.012),
        "rmse_analysis_160": (0.014, 0.012),
    },
    "adam": {
        "rmse_analysis_10": (0.466, 0.023),
        "rmse_analysis_20": (0.268, 0.013),
        "rmse_analysis_40": (0.208, 0.012),
        "rmse_analysis_80": (0.043, 0.012),
        "rmse_analysis_160": (0.111, 0.012),
    },
    "annealed": {
        "rmse_analysis_10": (3.143, 0.157),
        "rmse_analysis_20": (0.722, 0.036),
        "rmse_analysis_40": (0.215, 0.012),
        "rmse_analysis_80": (0.096, 0.012),
        "rmse_analysis_160": (0.055, 0.012),
    },
    "langevin": {
        "rmse_analysis_10": (0.315, 0.016),
        "rmse_analysis_20": (0.283, 0.014),
        "rmse_analysis_40": (0.238, 0.012),
        "rmse_analysis_80": (0.196, 0.012),
        "rmse_analysis_160": (0.168, 0.012),
    },
    "mala": {
        "rmse_analysis_10": (0.319, 0.016),
        "rmse_analysis_20": (0.322, 0.016),
        "rmse_analysis_40": (0.291, 0.015),
        "rmse_analysis_80": (0.295, 0.015),
        "rmse_analysis_160": (0.249, 0.012),
    },
}
