"""Langevin samplers: chains that leave a density as it is, at one noise level, at falling ones, or between two steps.

    ULA         z <- z + d S(z) + sqrt(2 d) e          error of order d; S is the score
    MALA        the same as a proposal, taken with the Metropolis-Hastings probability of a known density: exact
    annealed    ULA at falling noise, d proportional to beta^2 (Song & Ermon 2019)
    corrector   ULA at the noise that a predictor has reached (Song et al. 2021)

Critically damped Langevin diffusion (Dockhorn et al. 2022) blurs position and velocity, and noise enters by the
velocity alone: with rate b, mass M and friction 2 sqrt(M),

    dq = b v / M dt,    dv = -b q dt - 2 b v / sqrt(M) dt + sqrt(4 b sqrt(M)) dW,    q_0 = x, v_0 ~ N(0, g M).

Given x, (q, v) is Gaussian with mean m(t) x and a 2 x 2 covariance P(t). So all that (q, v) says of x is
u = m^T P^-1 (q, v) / m^T P^-1 m ~ N(x, 1 / m^T P^-1 m): a blurred state like any other. Its E[x | u] from the ordinary
score is E[x | q, v], for any score. The transitions are then Gaussian bridges, as those of the ancestral sampler.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np

from ensf.arrays import Array, Generator, is_count, like, namespace, normal
from ensf.diffusion.sampler import (
    SHARPEST,
    ReverseSDE,
    Sampler,
    Score,
    check_steps,
    denoise,
    log_snr_times,
    stable_steps,
)
from ensf.diffusion.schedule import Schedule, time_of_log_snr

__all__ = ["MALA", "AnnealedLangevin", "CriticallyDamped", "Langevin", "PredictorCorrector"]


def _langevin(z: Array, drift: Array, size: float, rng: Generator) -> Array:
    return z + size * drift + math.sqrt(2 * size) * normal(rng, z.shape, z)


def _check_positive(sampler: Sampler, **numbers: float) -> None:
    check_steps(sampler)
    for name, number in numbers.items():
        if not 0 < number < math.inf:
            raise ValueError(f"{type(sampler).__name__} has a {name} of {number}: give a positive number")


@dataclass(frozen=True)
class Langevin(Sampler):
    """The unadjusted Langevin algorithm at one noise level; wherever the chain starts.

    Parameters
    ----------
    steps : int
    size : float
        d, in the square of the state's unit; stable below 2 over the largest curvature of the log density.
    time : float
        Pseudo-time of the noise level; the samples have its blur.
    """

    steps: int = 1000
    size: float = 0.01
    time: float = 0.0

    def __post_init__(self) -> None:
        _check_positive(self, size=self.size)
        _check_time(self.time)

    def walk(self, z: Array, score: Score, schedule: Schedule, rng: Generator) -> Iterator[tuple[float, Array]]:
        """Pseudo-time, always the same, and state after every step."""
        for _ in range(self.steps):
            z = _langevin(z, score(z, self.time), self.size, rng)
            yield self.time, z


def _check_time(time: float) -> None:
    if not 0 <= time <= 1:
        raise ValueError(f"a pseudo-time is {time}: give a number from 0 to 1")


@dataclass(frozen=True)
class MALA(Sampler):
    """The Metropolis-adjusted Langevin algorithm: exact for a density that is known, whatever the score.

    Parameters
    ----------
    log_density : callable
        Log of the density to be sampled, up to a constant, ``(member, state) -> (member,)``.
    steps : int
    size : float
        d; about the square of the narrowest spread over the cube root of the size of the state.
    time : float
        Pseudo-time at which the score proposes.
    """

    log_density: Callable[[Array], Array]
    steps: int = 1000
    size: float = 0.1
    time: float = 0.0

    def __post_init__(self) -> None:
        _check_positive(self, size=self.size)
        _check_time(self.time)

    def walk(self, z: Array, score: Score, schedule: Schedule, rng: Generator) -> Iterator[tuple[float, Array]]:
        """Pseudo-time, always the same, and state after every step."""
        xp = namespace(z)
        drift, level = score(z, self.time), self.log_density(z)
        for _ in range(self.steps):
            proposed = _langevin(z, drift, self.size, rng)
            drift_there, level_there = score(proposed, self.time), self.log_density(proposed)
            forth = xp.sum((proposed - z - self.size * drift) ** 2, axis=-1)
            back = xp.sum((z - proposed - self.size * drift_there) ** 2, axis=-1)
            gain = level_there - level + (forth - back) / (4 * self.size)
            taken = xp.log(like(rng.random(z.shape[0]), z)) < gain
            z = xp.where(taken[:, None], proposed, z)
            drift = xp.where(taken[:, None], drift_there, drift)
            level = xp.where(taken, level_there, level)
            yield self.time, z


@dataclass(frozen=True)
class AnnealedLangevin(Sampler):
    """Langevin steps at falling noise, and E[x | z] at the end if that is without noise.

    Parameters
    ----------
    steps : int
        Noise levels, uniform in log-SNR.
    repeats : int
        Langevin steps at each.
    snr : float
        d is snr^2 beta^2.
    """

    steps: int = 30
    repeats: int = 10
    snr: float = 0.3

    def __post_init__(self) -> None:
        _check_positive(self, snr=self.snr)
        _check_repeats(self, self.repeats)

    def walk(self, z: Array, score: Score, schedule: Schedule, rng: Generator) -> Iterator[tuple[float, Array]]:
        """Pseudo-time and state after every level."""
        before = 1.0
        for s in log_snr_times(schedule, self.steps)[1:]:
            if schedule.variance(s) == 0:
                yield s, denoise(z, before, score, schedule)
                return
            z = z * (schedule.alpha(s) / schedule.alpha(before))
            for _ in range(self.repeats):
                z = _langevin(z, score(z, s), self.snr**2 * schedule.variance(s), rng)
            before = s
            yield s, z


def _check_repeats(sampler: Sampler, repeats: int) -> None:
    if not is_count(repeats):
        raise ValueError(f"{type(sampler).__name__} repeats {repeats} times: give a whole number, 1 or more")


@dataclass(frozen=True)
class PredictorCorrector(Sampler):
    """Euler-Maruyama steps on a uniform grid, each followed by Langevin steps at the noise it reached.

    Parameters
    ----------
    steps : int
        Steps from t = 1 to t = 0.
    repeats : int
        Langevin steps after each.
    snr : float
        d is snr^2 beta^2. The corrections err by it however many the steps are; for order 1 let snr^2 fall as they do.
    """

    steps: int = 200
    repeats: int = 1
    snr: float = 0.16

    def __post_init__(self) -> None:
        _check_positive(self, snr=self.snr)
        _check_repeats(self, self.repeats)

    def walk(self, z: Array, score: Score, schedule: Schedule, rng: Generator) -> Iterator[tuple[float, Array]]:
        """Pseudo-time and state after every step."""
        for k in range(self.steps):
            s = 1 - (k + 1) / self.steps
            z = self.step(z, 1 - k / self.steps, s, score, schedule, rng)
            yield s, z

    def step(self, z: Array, t: float, s: float, score: Score, schedule: Schedule, rng: Generator) -> Array:
        """One transition from `t` to `s < t`, and the corrections there."""
        z = ReverseSDE(self.steps).step(z, t, s, score, schedule, rng)
        for _ in range(self.repeats if s > 0 else 0):
            z = _langevin(z, score(z, s), self.snr**2 * schedule.variance(s), rng)
        return z

    def stable_steps(self, schedule: Schedule, stiffness: float) -> int:
        """As for the reverse SDE."""
        return stable_steps(self.steps, schedule, stiffness)


@dataclass(frozen=True)
class CriticallyDamped(Sampler):
    """Critically damped Langevin diffusion, by Gaussian bridges; its clock is uniform in the log of the precision of x.

    The schedule only tells the score what noise to expect; its ratio beta / alpha at t = 1 must reach that of the
    blurred position and velocity at the end, some 20 for the numbers below, or that ratio is the first.

    Parameters
    ----------
    steps : int
        Steps from t = 1 to t = 0.
    mass : float
        M.
    rate : float
        b.
    initial : float
        g, over M the variance of the velocity at t = 0.
    """

    steps: int = 100
    mass: float = 0.25
    rate: float = 4.0
    initial: float = 0.04

    def __post_init__(self) -> None:
        _check_positive(self, mass=self.mass, rate=self.rate, initial=self.initial)

    def transition(self, duration: float) -> np.ndarray:
        """Factor (2, 2) on the mean of position and velocity over a time: the exponential of the drift."""
        w = 1 / math.sqrt(self.mass)
        along = self.rate * duration
        drift = np.array([[0.0, 1 / self.mass], [-1.0, -2 * w]])
        return math.exp(-w * along) * (np.eye(2) + along * (drift + w * np.eye(2)))

    def covariance(self, t: float) -> np.ndarray:
        """P(t), given x."""
        factor = self.transition(t)
        rest = np.diag([1.0, self.mass])
        return rest - factor @ (rest - np.diag([0.0, self.initial * self.mass])) @ factor.T

    def walk(self, z: Array, score: Score, schedule: Schedule, rng: Generator) -> Iterator[tuple[float, Array]]:
        """Pseudo-time and position after every step; `z`, of unit size, is the position at t = 1."""
        z = z / schedule.terminal_deviation()
        velocity = math.sqrt(self.mass) * normal(rng, z.shape, z)
        for t, s in pairwise(self.times()):
            z, velocity = self.step(z, velocity, t, s, score, schedule, rng)
            yield s, z

    def step(
        self, position: Array, velocity: Array, t: float, s: float, score: Score, schedule: Schedule, rng: Generator
    ) -> tuple[Array, Array]:
        """One transition of position and velocity from `t` to `s < t`."""
        state = self._denoise(position, velocity, t, score, schedule)
        return self._bridge(position, velocity, state, t, s, rng)

    def precision(self, t: float) -> float:
        """m^T P^-1 m, what position and velocity tell of x."""
        mean = self.transition(t)[:, 0]
        return float(mean @ np.linalg.solve(self.covariance(t), mean))

    def times(self) -> list[float]:
        """Times from 1 to 0, all but the last uniform in the log precision, which falls with t."""
        table, levels = _precisions(self.mass, self.rate, self.initial)
        inner = np.linspace(levels[0], SHARPEST, self.steps)
        return [*np.exp(np.interp(inner, levels, np.log(table))).tolist(), 0.0]

    def _denoise(self, position: Array, velocity: Array, t: float, score: Score, schedule: Schedule) -> Array:
        """E[x | q, v]."""
        mean = self.transition(t)[:, 0]
        weights = np.linalg.solve(self.covariance(t), mean)
        precision = float(weights @ mean)
        state = (float(weights[0]) * position + float(weights[1]) * velocity) / precision
        time = time_of_log_snr(schedule, math.log(precision))
        return denoise(schedule.alpha(time) * state, time, score, schedule)

    def _bridge(
        self, position: Array, velocity: Array, state: Array, t: float, s: float, rng: Generator
    ) -> tuple[Array, Array]:
        """Draw of (q_s, v_s) given (q_t, v_t) and x."""
        step = self.transition(t - s)
        before = self.covariance(s)
        gain = np.linalg.solve(self.covariance(t), step @ before).T
        left = before - gain @ step @ before
        mean, mean_t = self.transition(s)[:, 0], self.transition(t)[:, 0]
        off = [position - float(mean_t[0]) * state, velocity - float(mean_t[1]) * state]
        values, axes = np.linalg.eigh((left + left.T) / 2)
        root = axes * np.sqrt(np.maximum(values, 0.0))
        noise = [normal(rng, position.shape, position) for _ in range(2)]
        moved = [
            float(mean[i]) * state
            + float(gain[i, 0]) * off[0]
            + float(gain[i, 1]) * off[1]
            + float(root[i, 0]) * noise[0]
            + float(root[i, 1]) * noise[1]
            for i in range(2)
        ]
        return moved[0], moved[1]


@cache
def _precisions(mass: float, rate: float, initial: float) -> tuple[np.ndarray, np.ndarray]:
    """Times from 1 to nearly 0, and the log of what (q, v) tells of x at each."""
    sampler = CriticallyDamped(mass=mass, rate=rate, initial=initial)
    times = np.geomspace(1.0, 1e-4, 400)
    return times, np.log([sampler.precision(t) for t in times])
