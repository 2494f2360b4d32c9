"""Exponential integrators of the probability flow, and the ancestral sampler.

With D = E[x | z] of the score, l = log(alpha / beta) as the clock and h = l_s - l_t > 0, the flow is solved exactly but
for how D changes along the step:

    z_s = (beta_s / beta_t) z_t + alpha_s int_0^h e^(-u) D(l_s - u) du.

    DDIM        D frozen at t                                            (Song, Meng & Ermon 2021; order 1)
    DPMSolver   D linear through the last two evaluations, 2M of Lu et al. (2022, DPM-Solver++; order 2)
    midpoint    D of the middle of the step                              (2S of the same; order 2)

At noise 0 the step is infinitely long in l, and z_0 = D. The ancestral sampler of Ho et al. (2020) draws from the
Gaussian law of z_s given z_t and x = D; it is DDIM with as much fresh noise as that law has.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from ensf.arrays import Array, Generator, namespace, normal
from ensf.diffusion.sampler import (
    SHARPEST,
    AffineStep,
    Sampler,
    Score,
    check_steps,
    denoise,
    log_snr_times,
    stable_on_grid,
)
from ensf.diffusion.schedule import Schedule, time_of_log_snr

__all__ = ["DDIM", "AdaptiveFlow", "DPMSolver", "ancestral"]


def _towards(z: Array, state: Array, t: float, s: float, schedule: Schedule) -> Array:
    """Exact step from t to s < t if E[x | z] stayed at `state`."""
    kept = math.sqrt(schedule.variance(s) / schedule.variance(t))
    return kept * z + (schedule.alpha(s) - kept * schedule.alpha(t)) * state


def _half_log_snr(schedule: Schedule, t: float) -> float:
    return 0.5 * schedule.log_snr(t)


@dataclass(frozen=True)
class DDIM(Sampler):
    """Exponential Euler on a log-SNR grid; one score a step.

    Parameters
    ----------
    steps : int
        Steps from t = 1 to t = 0.
    eta : float
        Fresh noise, over that of the ancestral sampler: 0 is the flow, 1 is ancestral.
    """

    steps: int = 40
    eta: float = 0.0

    def __post_init__(self) -> None:
        check_steps(self)
        if not 0 <= self.eta <= 1:
            raise ValueError(f"DDIM has an eta of {self.eta}: give a number from 0 to 1")

    def step(self, z: Array, t: float, s: float, score: Score, schedule: Schedule, rng: Generator) -> Array:
        """One transition from `t` to `s < t`."""
        kept, fresh = self._kept_and_fresh(t, s, schedule)
        moved = kept * z + (schedule.alpha(s) - kept * schedule.alpha(t)) * denoise(z, t, score, schedule)
        return moved if fresh == 0 else moved + fresh * normal(rng, z.shape, z)

    def _kept_and_fresh(self, t: float, s: float, schedule: Schedule) -> tuple[float, float]:
        """Part of z's noise that stays, and the deviation of the noise that is added."""
        before, after = schedule.variance(t), schedule.variance(s)
        fresh = after / before * (before - (schedule.alpha(t) / schedule.alpha(s)) ** 2 * after)
        fresh = self.eta**2 * max(fresh, 0.0)
        return math.sqrt(max(after - fresh, 0.0) / before), math.sqrt(fresh)

    def affine_steps(self, schedule: Schedule) -> list[AffineStep]:
        """The steps."""
        steps = []
        for t, s in pairwise(log_snr_times(schedule, self.steps)):
            kept, fresh = self._kept_and_fresh(t, s, schedule)
            moved = schedule.alpha(s) / schedule.alpha(t) - kept
            steps.append(AffineStep(t, kept + moved, moved * schedule.variance(t), fresh))
        return steps

    def walk(self, z: Array, score: Score, schedule: Schedule, rng: Generator) -> Iterator[tuple[float, Array]]:
        """Pseudo-time and state after every step."""
        for t, s in pairwise(log_snr_times(schedule, self.steps)):
            z = self.step(z, t, s, score, schedule, rng)
            yield s, z

    def stable_steps(self, schedule: Schedule, stiffness: float) -> int:
        """Steps for which no step overshoots by more than the distance."""
        return stable_on_grid(self, schedule, stiffness, 2.0)


def ancestral(steps: int = 100) -> DDIM:
    """The sampler of Ho et al. (2020), DDIM with all of its noise."""
    return DDIM(steps, eta=1.0)


@dataclass(frozen=True)
class DPMSolver(Sampler):
    """DPM-Solver++(2M) on a log-SNR grid; one score a step, the first and the last of order 1.

    Parameters
    ----------
    steps : int
        Steps from t = 1 to t = 0.
    """

    steps: int = 20

    def __post_init__(self) -> None:
        check_steps(self)

    def walk(self, z: Array, score: Score, schedule: Schedule, rng: Generator) -> Iterator[tuple[float, Array]]:
        """Pseudo-time and state after every step."""
        before: Array | None = None
        length_before = 0.0
        for t, s in pairwise(log_snr_times(schedule, self.steps)):
            state = denoise(z, t, score, schedule)
            length = _half_log_snr(schedule, s) - _half_log_snr(schedule, t)
            ahead = state
            if before is not None and math.isfinite(length):
                ahead = state + 0.5 * length / length_before * (state - before)
            z = _towards(z, ahead, t, s, schedule)
            before, length_before = state, length
            yield s, z

    def stable_steps(self, schedule: Schedule, stiffness: float) -> int:
        """As for DDIM, with half the bound, for what is extrapolated."""
        return stable_on_grid(self, schedule, stiffness, 1.0)


@dataclass(frozen=True)
class AdaptiveFlow(Sampler):
    """Exponential midpoint whose steps in log-SNR keep its distance from exponential Euler within a tolerance.

    All members take the same steps. A step that fails is taken anew, shorter.

    Parameters
    ----------
    tolerance : float
        Largest root-mean-square difference of the two in a step, over beta_s plus alpha_s times the spread of E[x | z].
    steps : int
        Most steps that are tried.
    """

    tolerance: float = 0.01
    steps: int = 10_000

    def __post_init__(self) -> None:
        check_steps(self)
        if not 0 < self.tolerance < math.inf:
            raise ValueError(f"AdaptiveFlow has a tolerance of {self.tolerance}: give a positive number")

    def walk(self, z: Array, score: Score, schedule: Schedule, rng: Generator) -> Iterator[tuple[float, Array]]:
        """Pseudo-time and state after every step.

        Raises
        ------
        ArithmeticError
            If the tolerance is not met within the steps.
        """
        xp = namespace(z)
        t = 1.0
        level = schedule.log_snr(1.0)
        end = min(SHARPEST, schedule.log_snr(0.0))
        length = (end - level) / 8
        state = denoise(z, 1.0, score, schedule)
        for _ in range(self.steps):
            length = min(length, end - level)
            middle, s = (time_of_log_snr(schedule, level + part * length) for part in (0.5, 1.0))
            halfway = denoise(_towards(z, state, t, middle, schedule), middle, score, schedule)
            moved = _towards(z, halfway, t, s, schedule)
            apart = moved - _towards(z, state, t, s, schedule)
            signal = schedule.alpha(s) * float(xp.std(halfway))
            error = float(xp.sqrt(xp.mean(apart * apart))) / (schedule.variance(s) ** 0.5 + signal) / self.tolerance
            if error <= 1:
                z, t, level = moved, s, level + length
                yield t, z
                state = denoise(z, t, score, schedule)
                if level >= end - 1e-9:
                    yield 0.0, _towards(z, state, t, 0.0, schedule)
                    return
            length *= min(3.0, max(0.3, 0.9 / math.sqrt(max(error, 1e-12))))
        raise ArithmeticError(
            f"AdaptiveFlow does not meet its tolerance of {self.tolerance} in {self.steps} steps: give a larger one"
        )
