"""Heun's method in the noise-to-signal ratio (Karras et al. 2022, algorithms 1 and 2), and Adam on the same flow.

With x = z / alpha, r = beta / alpha and D = E[x | z], the probability flow of every schedule is

    dx/dr = (x - D) / r.

Its solutions bend least in these variables. Churn adds fresh noise before a step, which the step then takes away: what
an earlier step got wrong is forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from ensf.arrays import Array, Generator, namespace, normal
from ensf.diffusion.sampler import SHARPEST, Sampler, Score, check_steps, denoise
from ensf.diffusion.schedule import Schedule, time_of_log_snr

__all__ = ["AdamFlow", "EDMHeun"]


def _ratio(schedule: Schedule, t: float) -> float:
    return math.sqrt(schedule.variance(t)) / schedule.alpha(t)


def _time(schedule: Schedule, ratio: float) -> float:
    return time_of_log_snr(schedule, -2 * math.log(ratio))


def ratios(schedule: Schedule, steps: int, rho: float) -> list[float]:
    """Ratios from that of t = 1 to that of t = 0, uniform in their rho-th root; if the last is 0, the others above."""
    first, last = _ratio(schedule, 1.0), _ratio(schedule, 0.0)
    smallest = max(last, math.exp(-SHARPEST / 2))
    if smallest > last:
        steps -= 1
    high, low = first ** (1 / rho), smallest ** (1 / rho)
    roots = [high + (low - high) * k / max(steps, 1) for k in range(steps + 1)]
    return [root**rho for root in roots] + ([last] if smallest > last else [])


@dataclass(frozen=True)
class EDMHeun(Sampler):
    """Heun's method in beta / alpha; the last step is Euler's if it ends without noise.

    Parameters
    ----------
    steps : int
        Steps from t = 1 to t = 0.
    churn : float
        Their S_churn: a step begins with ratio (1 + min(churn / steps, sqrt(2) - 1)) r. 0 = no randomness.
    rho : float
        Their 7; 1 is a uniform grid.
    """

    steps: int = 20
    churn: float = 0.0
    rho: float = 7.0

    def __post_init__(self) -> None:
        check_steps(self)
        if not (0 <= self.churn < math.inf and 0 < self.rho < math.inf):
            raise ValueError(f"{self}: give a churn of 0 or more and a positive rho")

    def walk(self, z: Array, score: Score, schedule: Schedule, rng: Generator) -> Iterator[tuple[float, Array]]:
        """Pseudo-time and state after every step."""
        inner = ratios(schedule, self.steps, self.rho)[1:-1]
        for t, s in pairwise([1.0, *(_time(schedule, level) for level in inner), 0.0]):
            z = self.step(z, t, s, score, schedule, rng)
            yield s, z

    def step(self, z: Array, t: float, s: float, score: Score, schedule: Schedule, rng: Generator) -> Array:
        """One transition from `t` to `s < t`."""
        x, level, after = z / schedule.alpha(t), _ratio(schedule, t), _ratio(schedule, s)
        raised = min(level * (1 + min(self.churn / self.steps, math.sqrt(2) - 1)), _ratio(schedule, 1.0))
        if raised > level:
            x = x + math.sqrt(raised**2 - level**2) * normal(rng, x.shape, x)
            t = _time(schedule, raised)
        slope = (x - denoise(schedule.alpha(t) * x, t, score, schedule)) / raised
        moved = schedule.alpha(s) * (x + (after - raised) * slope)
        if after == 0:
            return moved
        slope_after = (moved / schedule.alpha(s) - denoise(moved, s, score, schedule)) / after
        return schedule.alpha(s) * (x + 0.5 * (after - raised) * (slope + slope_after))


@dataclass(frozen=True)
class AdamFlow(Sampler):
    """Steps of Adam (Kingma & Ba 2015) along the flow, after Kidger's proposal (2022).

    The slope dx/dr, whose entries have unit size where D is right, is taken for a gradient: its running mean over the
    root of its running mean square moves x by the step in r. The square is averaged over members and entries: Adam's
    own, entry by entry, makes every entry move by the same amount. It is no consistent integrator: the mean lags by a
    fixed number of steps. It is here to be measured beside the others.

    Parameters
    ----------
    steps : int
        Steps from t = 1 to t = 0.
    momentum, scaling : float
        Decay of the two running means; Adam's are 0.9 and 0.999. (0, 1) are Euler's steps.
    rho : float
        Of the grid in r.
    """

    steps: int = 50
    momentum: float = 0.5
    scaling: float = 0.999
    rho: float = 7.0

    def __post_init__(self) -> None:
        check_steps(self)
        if not (0 <= self.momentum < 1 and 0 < self.scaling <= 1 and 0 < self.rho < math.inf):
            raise ValueError(f"{self}: give a momentum below 1, a scaling of at most 1 and a positive rho")

    def walk(self, z: Array, score: Score, schedule: Schedule, rng: Generator) -> Iterator[tuple[float, Array]]:
        """Pseudo-time and state after every step."""
        xp = namespace(z)
        levels = ratios(schedule, self.steps, self.rho)
        x = z / schedule.alpha(1.0)
        t = 1.0
        mean, square = xp.zeros_like(x), 0.0
        for k, (level, after) in enumerate(pairwise(levels), start=1):
            state = denoise(schedule.alpha(t) * x, t, score, schedule)
            slope = (x - state) / level
            mean = self.momentum * mean + (1 - self.momentum) * slope
            direction = mean / (1 - self.momentum**k)
            if self.scaling < 1:
                square = self.scaling * square + (1 - self.scaling) * float(xp.mean(slope * slope))
                direction = direction / (math.sqrt(square / (1 - self.scaling**k)) + 1e-8)
            x = state if after == 0 else x + (after - level) * direction
            t = 0.0 if after == levels[-1] else _time(schedule, after)
            yield t, schedule.alpha(t) * x
