"""Initial state of a heat equation from its end: reverse physics with a score, after Holzschuh et al. (2023).

A field on a periodic square diffuses for a time of .2 while white noise acts on it,

    dx = laplacian(x) dt + g dW,    x(0) a Gaussian field of spectrum k^-4 and unit variance.

All that is observed is the end. Backwards, the physics alone amplifies noise by exp(k^2 t); with the score s of the law
of x(t) it is Anderson's reverse equation, whose draws have the law of x(0) given x(.2):

    dx = [-laplacian(x) - g^2 s(x, t)] dt + g dW,    t from .2 to 0.

Each cycle is another field. The score is exact, or learned from 200 trajectories by the one-step loss of the paper,
which is a regression of what the reverse physics misses in a step on the state before it; it is linear, with weights
shared by all waves of one length. The law of x(0) given the end is known: method `exact`, and the scores

    rmse_exact      of the analysis mean, from the mean of that law
    rmse_end        of x(.2) run from the members without noise, from what was observed
    spectrum_error  mean absolute difference of log10 power of the members from that of the truth's law, for k above 5

The paper learns networks; of a Gaussian field the score is linear. The `flow` without noise gives one field, which fits
the end better and lacks short waves, as the exact score in too long steps does. Nothing was tuned.
"""

from __future__ import annotations

import time as clock
from collections import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar, Protocol

import numpy as np

from ensf.arrays import Array, Generator, generator, to_numpy
from ensf.filters import ETKF, Analysis, FreeRun
from ensf.filters.base import Memory
from ensf.observations import Correlated, Linear, Observation
from ensf.twin import Checkpoint, Cycle, Method, Network, Streams

SIDE, DURATION, NOISE, STEPS, TRAJECTORIES = 32, 0.2, 0.1, 200, 200
STEP = DURATION / STEPS
_NUMBERS = np.fft.fftfreq(SIDE, 1 / SIDE)
SQUARE = _NUMBERS[:, None] ** 2 + np.arange(SIDE // 2 + 1)[None, :] ** 2
"""k^2 of every wave."""


def waves(fields: np.ndarray) -> np.ndarray:
    """Orthonormal Fourier coefficients of fields ``(..., state)``."""
    return np.fft.rfft2(fields.reshape(*fields.shape[:-1], SIDE, SIDE), norm="ortho")


def fields_of(coefficients: np.ndarray) -> np.ndarray:
    """Fields ``(..., state)`` of Fourier coefficients."""
    return np.fft.irfft2(coefficients, s=(SIDE, SIDE), norm="ortho").reshape(*coefficients.shape[:-2], SIDE * SIDE)


def _unit_power() -> np.ndarray:
    whole = np.maximum(_NUMBERS[:, None] ** 2 + _NUMBERS[None, :] ** 2, 1.0) ** -2.0
    return SIDE**2 * np.maximum(SQUARE, 1.0) ** -2.0 / whole.sum()


POWER = _unit_power()
"""Variance of every coefficient of x(0)."""


def decay(time: float) -> np.ndarray:
    """Factor by which every wave is damped after a time."""
    return np.exp(-SQUARE * time)


def noise(time: float) -> np.ndarray:
    """Variance of the noise of every coefficient after a time."""
    rate = np.where(SQUARE > 0, 2 * SQUARE, 1.0)
    return NOISE**2 * np.where(SQUARE > 0, -np.expm1(-2 * SQUARE * time) / rate, time)


def white(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Fourier coefficients of white noise."""
    return waves(rng.standard_normal((*shape, SIDE * SIDE)))


def initial(members: int, rng: np.random.Generator) -> np.ndarray:
    """Fields x(0) ``(member, state)``."""
    return fields_of(np.sqrt(POWER) * white((members,), rng))


# --- scores: by the number of a step, the factor of every coefficient ----------------------------------------


def exact_score(step: int) -> np.ndarray:
    """Score of x(t) over x(t), at the end of a step."""
    time = (step + 1) * STEP
    return -1 / (decay(time) ** 2 * POWER + noise(time))


@cache
def _learned() -> np.ndarray:
    """Scores of all steps ``(step, k, k)``, by least squares along trajectories."""
    rng = np.random.default_rng(32)
    state = waves(initial(TRAJECTORIES, rng))
    squares, shell = np.unique(SQUARE, return_inverse=True)
    shell = shell.reshape(SQUARE.shape)
    scores = np.empty((STEPS, *SQUARE.shape))
    for step in range(STEPS):
        after = decay(STEP) * state + np.sqrt(noise(STEP)) * white((TRAJECTORIES,), rng)
        missed = state - (1 + STEP * SQUARE) * after
        both = np.sum((missed * after.conj()).real, axis=0), np.sum(np.abs(after) ** 2, axis=0)
        along, size = (np.bincount(shell.ravel(), one.ravel(), squares.size) for one in both)
        scores[step] = (along / size)[shell] / (NOISE**2 * STEP)
        state = after
    return scores


def learned_score(step: int) -> np.ndarray:
    """The same, learned."""
    return _learned()[step]


# --- filters -------------------------------------------------------------------------------------------------


class _Fields(Protocol):
    """Draws of x(0) given the end, as a filter that does not look at the prior but for its size."""

    def draws(self, end: np.ndarray, members: int, rng: np.random.Generator) -> np.ndarray:
        """Fourier coefficients ``(member, k, k)`` from those of the end."""

    def analyse(
        self,
        prior: Array,
        observation: Observation,
        rng: Generator | int | None,
        memory: Memory = None,
        positions: np.ndarray | None = None,
        predicted: Array | None = None,
    ) -> Analysis:
        """Analysis ensemble ``(member, state)``."""
        end = waves(to_numpy(observation.value))
        stream = np.random.default_rng(generator(rng).integers(2**63))
        return Analysis(fields_of(self.draws(end, prior.shape[0], stream)), memory)


@dataclass(frozen=True)
class ReversePhysics(_Fields):
    """The physics backwards, with a score.

    Parameters
    ----------
    score : callable
        By the number of a step, the score over the state.
    random : bool
        The reverse equation, or its flow without noise.
    """

    score: Callable[[int], np.ndarray] = field(default=exact_score, repr=False)
    random: bool = True

    def draws(self, end: np.ndarray, members: int, rng: np.random.Generator) -> np.ndarray:
        """By Euler-Maruyama."""
        state = np.broadcast_to(end, (members, *end.shape))
        strength = (1.0 if self.random else 0.5) * NOISE**2
        for step in reversed(range(STEPS)):
            state = (1 + STEP * (SQUARE + strength * self.score(step))) * state
            if self.random:
                state = state + NOISE * np.sqrt(STEP) * white((members,), rng)
        return state


def posterior(end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the coefficients of x(0) given those of the end."""
    damping = decay(DURATION)
    gain = POWER * damping / (damping**2 * POWER + noise(DURATION))
    return gain * end, POWER * (1 - gain * damping)


@dataclass(frozen=True)
class Exact(_Fields):
    """Draws of the law of x(0) given the end."""

    def draws(self, end: np.ndarray, members: int, rng: np.random.Generator) -> np.ndarray:
        """Wave by wave."""
        mean, variance = posterior(end)
        return mean + np.sqrt(variance) * white((members,), rng)


# --- the page ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Heat:
    """The heat equation without noise."""

    shape: ClassVar[tuple[int, ...]] = (SIDE, SIDE)
    dims: ClassVar[tuple[str, ...]] = ("y", "x")

    def advance(self, states: Array, time: float, duration: float, rng: Generator | None = None) -> Array:
        """States ``(..., state)`` after a duration, exactly."""
        return fields_of(decay(duration) * waves(to_numpy(states)))


@cache
def network() -> Network:
    """The end of the equation: a blurred field, with correlated errors."""
    unit = np.eye(SIDE * SIDE)
    blur, covariance = (fields_of(factor * waves(unit)) for factor in (decay(DURATION), noise(DURATION)))
    return Network(Linear(blur), Correlated(covariance))


@dataclass(frozen=True)
class Ends:
    """Every cycle is another field; fields as in `ensf.twin.experiment.TwinExperiment`."""

    name: str
    summary: str
    methods: Mapping[str, Method]
    model: Heat = field(default_factory=Heat)
    cycles: int = 20
    seeds: tuple[int, ...] = (1, 2, 3)
    source: str = ""

    time_units: ClassVar[str] = "1"
    burn_in: ClassVar[float] = 0.0
    climatology: ClassVar[float] = np.inf

    def run(self, method: Method, seed: int, start: Checkpoint | None = None) -> abc.Generator[Cycle, None, None]:
        """One `Cycle` per field after those of `start`."""
        streams, done = (start.streams.copy(), start.cycles) if start else (Streams.spawn(seed), 0)
        for index in range(done, self.cycles):
            truth = initial(1, streams.truth)[0]
            observation = network().observe(truth, index, streams.observations)
            prior = initial(method.members, streams.ensemble)
            started = clock.process_time()
            analysis = method.filter.analyse(prior, observation, streams.filter)
            seconds = clock.process_time() - started
            measured = _measured(to_numpy(analysis.ensemble), to_numpy(observation.value))
            yield Cycle(
                index, index + 1.0, truth, observation, prior, analysis, 0.0, seconds, streams, measured=measured
            )

    def scored(self, times: np.ndarray) -> dict[str, np.ndarray]:
        """All fields count."""
        return {"": np.ones_like(times, dtype=bool)}


def _measured(ensemble: np.ndarray, end: np.ndarray) -> dict[str, float]:
    short = (SQUARE > 25) & (SQUARE < SIDE**2 / 4)
    power = np.mean(np.abs(waves(ensemble)) ** 2, axis=0)
    shells = np.sqrt(SQUARE[short]).astype(int)
    drawn, wanted = (np.bincount(shells, one[short])[6:] for one in (power, POWER))
    mean = fields_of(posterior(waves(end))[0])
    return {
        "rmse_exact": float(np.sqrt(np.mean((ensemble.mean(axis=0) - mean) ** 2))),
        "rmse_end": float(np.sqrt(np.mean((Heat().advance(ensemble, 0.0, DURATION) - end) ** 2))),
        "spectrum_error": float(np.mean(np.abs(np.log10(drawn / wanted)))),
    }


EXPERIMENT = Ends(
    name="heat_equation_physics",
    summary="Heat equation on 32 x 32 points: the initial field from its blurred end, by reverse physics and a score",
    source="Holzschuh, Vegetti & Thuerey (2023), arXiv 2301.10250",
    methods={
        "climatology": Method(FreeRun(), 40, "other initial fields"),
        "etkf": Method(ETKF(), 100, "ETKF, 100 initial fields"),
        "exact": Method(Exact(), 40, "draws of the exact law"),
        "score": Method(ReversePhysics(exact_score), 40, "reverse physics, exact score"),
        "learned": Method(ReversePhysics(learned_score), 40, "reverse physics, score learned from 200 trajectories"),
        "flow": Method(ReversePhysics(exact_score, random=False), 40, "the flow of the exact score, without noise"),
    },
)
EXPECTED = {
    "climatology": {
        "rmse_analysis": (0.9891, 0.0099),
        "spread_analysis": (1.003, 0.01),
        "rmse_exact": (0.9756, 0.0098),
        "rmse_end": (1.084, 0.011),
        "spectrum_error": (0.009585, 9.6e-05),
    },
    "etkf": {
        "rmse_analysis": (0.2175, 0.0022),
        "spread_analysis": (0.1122, 0.0011),
        "rmse_exact": (0.1493, 0.0015),
        "rmse_end": (0.009425, 9.4e-05),
        "spectrum_error": (0.1465, 0.0015),
    },
    "exact": {
        "rmse_analysis": (0.157, 0.0016),
        "spread_analysis": (0.1554, 0.0016),
        "rmse_exact": (0.02454, 0.00025),
        "rmse_end": (0.009122, 9.1e-05),
        "spectrum_error": (0.01004, 0.0001),
    },
    "score": {
        "rmse_analysis": (0.1569, 0.0016),
        "spread_analysis": (0.1446, 0.0014),
        "rmse_exact": (0.02317, 0.00023),
        "rmse_end": (0.009137, 9.1e-05),
        "spectrum_error": (0.1337, 0.0013),
    },
    "learned": {
        "rmse_analysis": (0.1571, 0.0016),
        "spread_analysis": (0.1548, 0.0015),
        "rmse_exact": (0.0246, 0.00025),
        "rmse_end": (0.009126, 9.1e-05),
        "spectrum_error": (0.01042, 0.0001),
    },
    "flow": {
        "rmse_analysis": (0.1948, 0.0019),
        "rmse_exact": (0.119, 0.0012),
        "rmse_end": (0.00638, 6.4e-05),
        "spectrum_error": (0.1772, 0.0018),
    },
}
