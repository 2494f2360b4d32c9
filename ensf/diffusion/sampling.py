"""Draws of a prior without observation, with their way, and log densities.

draw                  z_1 ~ noise  ->  z_0, by any sampler; its trajectory if asked for
log_likelihood        log p(x) by the probability flow (Song et al. 2021, eq. 39):
                      d log p_t(z_t) / dt = - div f,    f = b z - s^2 S / 2,    z_1 ~ N(0, beta_1^2 I)
energy_distance       2 E|X - Y| - E|X - X'| - E|Y - Y'|, 0 if and only if the laws are equal (Szekely & Rizzo 2013)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, overload

import numpy as np

from ensf.arrays import Array, Generator, Record, namespace, normal, to_numpy
from ensf.diffusion.matching import divergence, hutchinson
from ensf.diffusion.prior_scores import FittedScore
from ensf.diffusion.sampler import Sampler, Score, log_snr_times
from ensf.diffusion.schedule import Schedule, check_pure_noise

__all__ = ["Trajectory", "draw", "energy_distance", "log_likelihood"]


@dataclass(frozen=True, eq=False)
class Trajectory(Record):
    """The way from noise to a state.

    Parameters
    ----------
    times : (step,) array
        Pseudo-times, from 1 downwards.
    states : (step, member, state) array
        z at each.
    """

    times: np.ndarray
    states: Array


@overload
def draw(
    score: FittedScore,
    schedule: Schedule,
    sampler: Sampler,
    start: Array,
    rng: Generator,
    trajectory: Literal[False] = ...,
) -> Array: ...


@overload
def draw(
    score: FittedScore, schedule: Schedule, sampler: Sampler, start: Array, rng: Generator, trajectory: Literal[True]
) -> Trajectory: ...


def draw(
    score: FittedScore,
    schedule: Schedule,
    sampler: Sampler,
    start: Array,
    rng: Generator,
    trajectory: bool = False,
) -> Array | Trajectory:
    """Draws from the law whose score it is, without observation.

    Parameters
    ----------
    score : callable
        ``(z, alpha, variance) -> S``, such as `GaussianMixture` or what a prior score has fitted.
    schedule : Schedule
    sampler : Sampler
    start : (member, state) array
        Only its shape, dtype and device matter.
    rng : Generator
    trajectory : bool
        Whether z at every pseudo-time is kept.

    Returns
    -------
    (member, state) array, or Trajectory

    Raises
    ------
    ValueError
        If the schedule keeps signal at t = 1.
    ArithmeticError
        If the score is not finite at a pseudo-time, which is named.
    """
    check_pure_noise(schedule)
    z = schedule.terminal_deviation() * normal(rng, start.shape, start)
    walk = sampler.walk(z, checked(score, schedule), schedule, rng)
    if trajectory:
        return recorded(z, walk)
    for _, state in walk:
        z = state
    return z


def recorded(start: Array, walk: Iterator[tuple[float, Array]]) -> Trajectory:
    """Start and all steps of a walk."""
    times, states = zip((1.0, start), *walk, strict=True)
    return Trajectory(np.array(times), namespace(start).stack(states))


def checked(score: FittedScore, schedule: Schedule) -> Score:
    """The score as a function of pseudo-time, which says where it is not finite."""

    def at(z: Array, t: float) -> Array:
        result = score(z, schedule.alpha(t), schedule.variance(t))
        xp = namespace(z)
        if not bool(xp.isfinite(xp.sum(result))):
            row = int(np.argmin(np.isfinite(to_numpy(result)).all(axis=1)))
            raise ArithmeticError(
                f"the score of row {row} is not finite at pseudo-time {t:.4g}: take more steps, a schedule that keeps "
                "noise at 0, or a score that is finite there"
            )
        return result

    return at


def log_likelihood(
    states: Array,
    score: FittedScore,
    schedule: Schedule,
    steps: int = 60,
    rng: Generator | None = None,
    probes: int = 1,
) -> Array:
    """Log density of states ``(member, state) -> (member,)``, by Heun's method along the probability flow.

    Parameters
    ----------
    states : (member, state) array
    score : callable
        ``(z, alpha, variance) -> S``.
    schedule : Schedule
        With noise at t = 0, or with noise that is negligible there against what the density resolves: the density is
        that of the state blurred by a hundredth of itself at most. At t = 1 it is taken for N(0, beta^2 I), which is
        off by the signal that is left: .02 for states of size 2 beside noise of 60.
    steps : int
    rng : Generator, optional
        Without, the divergence is exact, 2 scores per entry of the state; with it, Hutchinson's estimate, 2 per probe.
    probes : int
        Of Hutchinson's estimate.

    Raises
    ------
    ValueError
        If the schedule keeps signal at t = 1.
    ArithmeticError
        If the score is not finite at a pseudo-time.
    """
    check_pure_noise(schedule)
    at = checked(score, schedule)
    xp = namespace(states)
    size = states.shape[1]

    def velocity(z: Array, t: float) -> tuple[Array, Array]:
        """f and its divergence."""

        def flow(z: Array) -> Array:
            return schedule.drift(t) * z - 0.5 * schedule.diffusion(t) * at(z, t)

        return flow(z), divergence(flow, z) if rng is None else hutchinson(flow, z, rng, probes)

    times = log_snr_times(schedule, steps)[::-1]
    if schedule.variance(0.0) == 0:
        times = times[1:]
    z = schedule.alpha(times[0]) * states
    change = xp.zeros_like(z[:, 0]) + size * math.log(schedule.alpha(times[0]))
    slope, growth = velocity(z, times[0])
    for s, t in pairwise(times):
        ahead, growth_ahead = velocity(z + (t - s) * slope, t)
        z = z + 0.5 * (t - s) * (slope + ahead)
        change = change + 0.5 * (t - s) * (growth + growth_ahead)
        slope, growth = velocity(z, t)
    variance = schedule.variance(1.0)
    last = -0.5 * xp.sum(z * z, axis=-1) / variance - 0.5 * size * math.log(2 * math.pi * variance)
    return last + change


def energy_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Energy distance of two samples ``(member, state)``, without the pairs of equals (unbiased: may be below 0)."""
    from scipy.spatial.distance import cdist, pdist

    return float(2 * cdist(first, second).mean() - pdist(first).mean() - pdist(second).mean())
