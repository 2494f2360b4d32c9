"""Swaths whose errors are correlated, on a ring, judged by the exact posterior.

In each cycle, independent of all others, a field x of 240 points is drawn from N(0, B), with B a Gaussian correlation
of length 8, and 40 members beside it. Eight swaths of 15 neighbouring points see x, with errors of standard deviation
0.7 that are correlated as exp(-distance / 20) within a swath, and independent from swath to swath. The Gaussian
posterior of B and R is computed exactly, and its mean takes the place of the truth: the score `rmse_analysis` is the
distance of the ensemble mean from it, and the exact posterior has a spread of 0.577.

Half-widths were chosen among 4, 6, 8, 12, 16, 24 and 40 points on seeds 11 to 13: 24 was the best for each.
"""

from __future__ import annotations

import math
import time as clock
from collections import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from ensf.filters import ETKF, LETKF, LETSF
from ensf.localization import periodic_line
from ensf.observations import Correlated, Gaussian, Grouped, Observation, Select
from ensf.twin import Checkpoint, Cycle, Method, Streams

SIZE, SWATHS, LENGTH = 240, 8, 15
DEVIATION, REACH = 0.7, 20.0


# --- the line ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ring:
    """The points, in place of a model: there is no forecast."""

    shape: ClassVar[tuple[int, ...]] = (SIZE,)
    dims: ClassVar[tuple[str, ...]] = ("x",)

    def advance(
        self, states: np.ndarray, time: float, duration: float, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """The states as they are."""
        return states


def _distance() -> np.ndarray:
    apart = np.abs(np.subtract.outer(np.arange(SIZE), np.arange(SIZE)))
    return np.minimum(apart, SIZE - apart)


POINTS = (np.arange(SWATHS)[:, None] * (SIZE // SWATHS) + np.arange(LENGTH)).ravel()
GROUP = np.repeat(np.arange(SWATHS), LENGTH)
CORRELATION = np.exp(-np.abs(np.subtract.outer(np.arange(LENGTH), np.arange(LENGTH))) / REACH)
ERRORS = Grouped.of(GROUP, DEVIATION, [CORRELATION] * SWATHS)


@cache
def gaussian() -> tuple[np.ndarray, np.ndarray]:
    """Symmetric root of B, which is the same on every machine, and the gain of the exact posterior."""
    covariance = np.exp(-0.5 * (_distance() / 8.0) ** 2)
    values, vectors = np.linalg.eigh(covariance)
    errors = ERRORS.covariance(np.zeros(len(POINTS)))
    innovation = covariance[np.ix_(POINTS, POINTS)] + errors
    return vectors * np.sqrt(np.clip(values, 0.0, None)) @ vectors.T, np.linalg.solve(innovation, covariance[POINTS]).T


# --- what a filter is told of the errors -----------------------------------------------------------------------


def grouped() -> Grouped:
    """The truth."""
    return ERRORS


def dense() -> Correlated:
    """The same matrix, without groups."""
    return Correlated(ERRORS.covariance(np.zeros(len(POINTS))))


def ignored() -> Gaussian:
    """Independent errors of the same standard deviation."""
    return Gaussian(DEVIATION)


def inflated() -> Gaussian:
    """Independent errors, larger as the root of the row sums of the correlation matrix tell, damped by another root."""
    return Gaussian(DEVIATION * np.tile(CORRELATION.sum(axis=1) ** 0.25, SWATHS))


@dataclass(frozen=True)
class Told(Method):
    """A method, and what it is told of the errors."""

    law: Callable[[], Grouped | Correlated | Gaussian] = grouped


@dataclass(frozen=True)
class Draws:
    """Independent draws on the ring; fields as in `ensf.twin.experiment.TwinExperiment`."""

    name: str
    summary: str
    methods: Mapping[str, Told]
    cycles: int = 50
    seeds: tuple[int, ...] = (1, 2, 3)
    source: str = ""

    model: ClassVar[Ring] = Ring()
    time_units: ClassVar[str] = "1"
    burn_in: ClassVar[float] = 0.0
    climatology: ClassVar[float] = math.inf
    last: ClassVar[int] = 0

    def run(self, method: Told, seed: int, start: Checkpoint | None = None) -> abc.Generator[Cycle, None, None]:
        """One `Cycle` per draw after those of `start`; its truth is the mean of the exact posterior."""
        root, gain = gaussian()
        streams, done = (start.streams.copy(), start.cycles) if start else (Streams.spawn(seed), 0)
        for index in range(done, self.cycles):
            field = root @ streams.truth.standard_normal(SIZE)
            prior = streams.ensemble.standard_normal((method.members, SIZE)) @ root.T
            value = ERRORS.draw(field[POINTS], streams.observations)
            observation = Observation(value, Select(POINTS), method.law())
            started = clock.process_time()
            analysis = method.filter.analyse(prior, observation, streams.filter)
            seconds = clock.process_time() - started
            yield Cycle(index, index + 1.0, gain @ value, observation, prior, analysis, 0.0, seconds, streams)

    def scored(self, times: np.ndarray) -> dict[str, np.ndarray]:
        """All draws count."""
        return {"": np.ones_like(times, dtype=bool)}


def near(half_width: float) -> LETKF:
    """LETKF on the ring."""
    return LETKF(periodic_line(SIZE, half_width))


EXPERIMENT = Draws(
    name="correlated_errors",
    summary="A ring of 240 points, eight swaths with correlated errors; the exact posterior is the truth",
    methods={
        "ignored": Told(near(24.0), 40, "LETKF that takes the errors for independent", ignored),
        "inflated": Told(near(24.0), 40, "LETKF with independent, inflated errors", inflated),
        "grouped": Told(near(24.0), 40, "LETKF, whitened group by group", grouped),
        "patches": Told(near(24.0), 40, "LETKF, whitened patch by patch", dense),
        "letsf": Told(LETSF(periodic_line(SIZE, 24.0)), 40, "LETSF, whitened group by group", grouped),
        "etkf": Told(ETKF(), 40, "ETKF, without localization", grouped),
    },
)

EXPECTED = {
    "ignored": {"rmse_analysis": (0.337, 0.006), "spread_analysis": (0.4392, 0.002)},
    "inflated": {"rmse_analysis": (0.344, 0.006), "spread_analysis": (0.5771, 0.002)},
    "grouped": {"rmse_analysis": (0.145, 0.004), "spread_analysis": (0.5708, 0.002)},
    "patches": {"rmse_analysis": (0.131, 0.004), "spread_analysis": (0.5662, 0.002)},
    "letsf": {"rmse_analysis": (0.145, 0.004), "spread_analysis": (0.5708, 0.002)},
    "etkf": {"rmse_analysis": (0.322, 0.015), "spread_analysis": (0.5204, 0.002)},
}
