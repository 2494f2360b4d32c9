"""Reverse-time transitions from z_1 ~ noise to z_0 = analysis.

Reverse SDE (Anderson 1982):   dz = [b z - s^2 score] dt + s dW, run from t = 1 to 0;
probability flow (Song et al. 2021):   dz = [b z - s^2 score / 2] dt.

A sampler receives a posterior score ``(z, t) -> (member, state)`` and a schedule. A step covers an interval with
both ends as arguments, from `t` to `s < t`.

    sampler             what it is                                     order    scores a step   random
    ReverseSDE          Euler-Maruyama of the reverse SDE              1 (weak)     1           yes
    ProbabilityFlow     Heun of the flow in t                          2            2
    DDIM                exponential Euler of the flow                  1            1
    ancestral           Gaussian bridge to E[x | z]                    1 (weak)     1           yes
    DPMSolver           exponential, two steps back, in log-SNR        2            1
    AdaptiveFlow        exponential midpoint, steps by tolerance       2            2
    EDMHeun             Heun in beta / alpha, churn adds noise         2            2           with churn
    PredictorCorrector  Euler-Maruyama, then Langevin at that noise    1 (weak)*    2           yes
    CriticallyDamped    bridge of position and velocity                1 (weak)     1           yes
    Langevin, MALA      a chain at one noise level                     bias 1, 0    1           yes
    AnnealedLangevin    a chain at falling noise                       -            several     yes
    AdamFlow            the flow as an optimisation                    -            1

* If the square of its snr falls as the steps do; at a fixed one the bias of Langevin steps stays.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ensf.arrays import Array, Generator, add_scaled_noise, is_count, namespace, normal
from ensf.diffusion.schedule import Schedule, time_of_log_snr

__all__ = [
    "AffineStep",
    "ProbabilityFlow",
    "ReverseSDE",
    "RunningMeanStop",
    "Sampler",
    "StandardNoise",
    "StandardisedNoise",
    "stable_steps",
]

Score = Callable[[Array, float], Array]


class AffineStep(NamedTuple):
    """z <- keep z + pull score(z, t) + noise xi."""

    t: float
    keep: float
    pull: float
    noise: float


class Sampler(Protocol):
    """Settings of a reverse-time integration. A class that inherits from it writes `walk`."""

    @property
    def steps(self) -> int:
        """Steps from t = 1 to t = 0."""

    def walk(self, z: Array, score: Score, schedule: Schedule, rng: Generator) -> Iterator[tuple[float, Array]]:
        """Pseudo-time and state after every step, from `z` at t = 1."""

    def sample(self, z: Array, score: Score, schedule: Schedule, rng: Generator) -> tuple[Array, int]:
        """State at the end of the integration and the number of steps taken; `z` may be overwritten."""
        steps, state = 0, z
        for steps, (_, state) in enumerate(self.walk(z, score, schedule, rng), start=1):  # noqa: B007
            pass
        return state, steps

    def stable_steps(self, schedule: Schedule, stiffness: float) -> int:
        """Number of steps from which on this sampler is stable."""
        return self.steps

    def affine_steps(self, schedule: Schedule) -> list[AffineStep] | None:
        """The steps, if each is affine in the score at its start and no more; else None."""
        return None

    def stopping(self) -> Callable[[Array, int], bool] | None:
        """Rule ``(z, step) -> stop?`` for one integration; None if all steps are taken."""
        return None


# --- where the integration starts ------------------------------------------------------------------------


@dataclass(frozen=True)
class StandardNoise:
    """z_1 ~ N(0, I)."""

    def draw(self, prior: Array, rng: Generator) -> Array:
        """Noise shaped like the prior."""
        return normal(rng, prior.shape, prior)


@dataclass(frozen=True)
class StandardisedNoise:
    """z_1 ~ N(0, I), then standardised over members to mean 0 and standard deviation 1 (released code)."""

    def draw(self, prior: Array, rng: Generator) -> Array:
        """Noise shaped like the prior."""
        xp = namespace(prior)
        noise = normal(rng, prior.shape, prior)
        noise -= xp.mean(noise, axis=0)
        square = xp.zeros_like(noise[0, :])
        for member in range(noise.shape[0]):
            square += noise[member, :] * noise[member, :]
        noise /= xp.sqrt(square / (noise.shape[0] - 1))
        return noise


# --- when it stops ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunningMeanStop:
    """Stop early when the running mean of the ensemble mean settles (released SQG code).

    Parameters
    ----------
    window : int
        Steps in the running mean.
    tolerance : float
        Largest movement of the running mean, in any state variable, that counts as settled.
    earliest, latest : int
        First and last step at which the integration may stop.
    """

    window: int = 200
    tolerance: float = 0.005
    earliest: int = 201
    latest: int = 501

    def start(self) -> Callable[[Array, int], bool]:
        """Rule ``(z, step) -> stop?`` with its own history."""
        recent: deque[Array] = deque()
        total: Array | float = 0.0
        previous: Array | None = None

        def settled(z: Array, step: int) -> bool:
            nonlocal total, previous
            xp = namespace(z)
            recent.append(xp.mean(z, axis=0))
            total = total + recent[-1] - (recent.popleft() if len(recent) > self.window else 0.0)
            if step < self.earliest - 1:
                return False
            mean = total / len(recent)
            moved = math.inf if previous is None else float(xp.max(xp.abs(mean - previous)))
            previous = mean
            return step >= self.latest or moved < self.tolerance

        return settled


# --- samplers --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReverseSDE(Sampler):
    """Euler-Maruyama for the reverse SDE on a uniform grid.

    Parameters
    ----------
    steps : int
        Steps from t = 1 to t = 0.
    stop : RunningMeanStop, optional
        Rule for stopping before t = 0; the state is returned as it is then.
    """

    steps: int = 500
    stop: RunningMeanStop | None = None

    def __post_init__(self) -> None:
        check_steps(self)

    def step(self, z: Array, t: float, s: float, score: Score, schedule: Schedule, rng: Generator) -> Array:
        """One transition from `t` to `s < t`."""
        dt = t - s
        diffusion = schedule.diffusion(t)
        update = score(z, t)
        update = update * (dt * diffusion)
        update += (1 - dt * schedule.drift(t)) * z
        return add_scaled_noise(update, math.sqrt(dt * diffusion), rng)

    def affine_steps(self, schedule: Schedule) -> list[AffineStep]:
        """The steps."""
        dt = 1 / self.steps
        steps = []
        for k in range(self.steps):
            t = 1 - k / self.steps
            pull = dt * schedule.diffusion(t)
            steps.append(AffineStep(t, 1 - dt * schedule.drift(t), pull, math.sqrt(pull)))
        return steps

    def stopping(self) -> Callable[[Array, int], bool] | None:
        """That of `stop`."""
        return self.stop.start() if self.stop else None

    def walk(self, z: Array, score: Score, schedule: Schedule, rng: Generator) -> Iterator[tuple[float, Array]]:
        """Pseudo-time and state after every step."""
        settled = self.stopping()
        for k in range(self.steps):
            s = 1 - (k + 1) / self.steps
            z = self.step(z, 1 - k / self.steps, s, score, schedule, rng)
            yield s, z
            if settled is not None and settled(z, k + 1):
                return

    def stable_steps(self, schedule: Schedule, stiffness: float) -> int:
        """Steps that keep ``dt s^2 (1 - t) stiffness < 2`` at every t; the prior's own pull is stable at any number."""
        return stable_steps(self.steps, schedule, stiffness)


@dataclass(frozen=True)
class ProbabilityFlow(Sampler):
    """Heun's method for the probability-flow ODE on a uniform grid; the last step is Euler's.

    Parameters
    ----------
    steps : int
        Steps from t = 1 to t = 0.
    """

    steps: int = 100

    def __post_init__(self) -> None:
        check_steps(self)

    def step(self, z: Array, t: float, s: float, score: Score, schedule: Schedule, rng: Generator) -> Array:
        """One transition from `t` to `s < t`."""
        slope = self._slope(z, t, score, schedule)
        euler = z + (s - t) * slope
        if s <= 0:
            return euler
        return z + 0.5 * (s - t) * (slope + self._slope(euler, s, score, schedule))

    def _slope(self, z: Array, t: float, score: Score, schedule: Schedule) -> Array:
        return schedule.drift(t) * z - 0.5 * schedule.diffusion(t) * score(z, t)

    def walk(self, z: Array, score: Score, schedule: Schedule, rng: Generator) -> Iterator[tuple[float, Array]]:
        """Pseudo-time and state after every step."""
        for k in range(self.steps):
            s = 1 - (k + 1) / self.steps
            z = self.step(z, 1 - k / self.steps, s, score, schedule, rng)
            yield s, z

    def stable_steps(self, schedule: Schedule, stiffness: float) -> int:
        """As for the reverse SDE, with half the pull."""
        return math.ceil(stable_steps(self.steps, schedule, stiffness) / 2)


def check_steps(sampler: Sampler) -> None:
    if not is_count(sampler.steps):
        raise ValueError(f"{type(sampler).__name__} has {sampler.steps} steps: give a whole number, 1 or more")


SHARPEST = 10.0
"""log-SNR from which the last step goes to the state itself: noise of .7 percent of the signal."""


def log_snr_times(schedule: Schedule, steps: int) -> list[float]:
    """Pseudo-times from 1 to 0, uniform in log-SNR; if there is no noise at 0, all but the last of them."""
    return [log_snr_time(schedule, steps, k) for k in range(steps + 1)]


def log_snr_time(schedule: Schedule, steps: int, k: int) -> float:
    """Entry `k` of `log_snr_times`."""
    if k in (0, steps):
        return 1.0 if k == 0 else 0.0
    first, sharpest = schedule.log_snr(1.0), schedule.log_snr(0.0)
    last, parts = (sharpest, steps) if sharpest <= SHARPEST else (SHARPEST, steps - 1)
    return time_of_log_snr(schedule, first + (last - first) * k / parts)


def denoise(z: Array, t: float, score: Score, schedule: Schedule) -> Array:
    """E[x | z] of the score at t (Tweedie's formula)."""
    return (z + schedule.variance(t) * score(z, t)) / schedule.alpha(t)


def stable_on_grid(sampler: Sampler, schedule: Schedule, stiffness: float, bound: float, limit: int = 10**6) -> int:
    """Smallest doubling of the steps for which exponential steps on the log-SNR grid are stable."""
    steps = sampler.steps
    while steps < limit and _largest_push(steps, schedule) * stiffness > bound:
        steps *= 2
    return steps


def _largest_push(steps: int, schedule: Schedule) -> float:
    """Largest of alpha_s (1 - e^-h) v_t (1 - t) / alpha_t over 65 steps: the change of z per unit of a damped score."""
    pushes = []
    for k in {round(i * (steps - 1) / 64) for i in range(65)}:
        t, s = log_snr_time(schedule, steps, k), log_snr_time(schedule, steps, k + 1)
        kept = math.sqrt(schedule.variance(s) / schedule.variance(t)) * schedule.alpha(t)
        pushes.append((schedule.alpha(s) - kept) * schedule.variance(t) * (1 - t) / schedule.alpha(t))
    return max(pushes)


def stable_steps(steps: int, schedule: Schedule, stiffness: float, limit: int = 10**7) -> int:
    """Smallest number of uniform steps, `steps` or more, for which explicit Euler is stable."""
    while steps < limit:
        needed = math.ceil(_largest_rate(steps, schedule, stiffness) / 2)
        if needed <= steps:
            return steps
        steps = max(needed, steps + 1)
    return limit


def _largest_rate(steps: int, schedule: Schedule, stiffness: float) -> float:
    """Largest of b + s^2 (1 - t) stiffness over (at most 200 points of) the grid 1/steps ... 1."""
    grid = {max(1, round(k * steps / 200)) / steps for k in range(1, 201)} | {1 / steps}
    return max(schedule.drift(t) + schedule.diffusion(t) * (1 - t) * stiffness for t in grid)
