"""Noise schedules: the forward process z_t | x ~ N(alpha_t x, beta_t^2 I), pseudo-time t in [0, 1], 1 is noise.

It is the law of the forward SDE dZ = b(t) Z dt + s(t) dW with

    b = d log(alpha) / dt,    s^2 = d(beta^2) / dt - 2 b beta^2        (Song et al. 2021).

    schedule             alpha                    beta^2                            source
    LinearSchedule       1 - (1 - eps_alpha) t    eps_beta + (1 - eps_beta) t       Bao, Zhang & Zhang 2024
    VariancePreserving   exp(-I / 2)              1 - exp(-I), I = int rate dt      Song et al. 2021
    ornstein_uhlenbeck   the same with a constant rate
    Cosine               cos, from 1 to alpha_end 1 - alpha^2                       Nichol & Dhariwal 2021
    VarianceExploding    1                        geometric in t                    Song et al. 2021
    EDM                  1                        (a + b t)^(2 rho)                 Karras et al. 2022

A geometric Brownian motion dZ = m Z dt + s Z dW blurs a state by a factor: z_t given x is lognormal, not Gaussian. It
is no schedule; take the logarithm of the state, for which it is one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ensf.arrays import Generator

__all__ = [
    "EDM",
    "Cosine",
    "LinearSchedule",
    "Schedule",
    "VarianceExploding",
    "VariancePreserving",
    "check_pure_noise",
    "ornstein_uhlenbeck",
    "time_of_log_snr",
]

NEGLIGIBLE_SIGNAL = 0.1
"""Signal over noise, alpha / beta, below which z_1 counts as noise alone."""


class Schedule(Protocol):
    """A noise schedule; every method takes and returns a number. Classes that inherit from it have the last two."""

    def alpha(self, t: float) -> float:
        """Factor on the state."""

    def variance(self, t: float) -> float:
        """Noise variance beta^2."""

    def drift(self, t: float) -> float:
        """b(t)."""

    def diffusion(self, t: float) -> float:
        """s(t)^2."""

    def log_snr(self, t: float) -> float:
        """log(alpha^2 / beta^2), which falls with t; infinite where there is no noise."""
        variance = self.variance(t)
        return math.inf if variance == 0 else 2 * math.log(self.alpha(t)) - math.log(variance)

    def terminal_deviation(self) -> float:
        """Standard deviation of the noise where the integration starts."""
        return 1.0


def check_pure_noise(schedule: Schedule, scale: float = 1.0) -> None:
    """Refuse a schedule that leaves signal in z_1, for a sampler that starts from noise alone.

    Parameters
    ----------
    schedule : Schedule
    scale : float
        Standard deviation of the state.

    Raises
    ------
    ValueError
        If alpha(1) times that is not small against beta(1).
    """
    signal, noise = schedule.alpha(1.0) * scale, math.sqrt(schedule.variance(1.0))
    if signal > NEGLIGIBLE_SIGNAL * noise:
        raise ValueError(
            f"{schedule} keeps a signal of {signal:.3g} beside noise of {noise:.3g} at pseudo-time 1, where this "
            "sampler starts from noise alone: take a schedule with a smaller alpha(1) or more noise"
        )


def time_of_log_snr(schedule: Schedule, log_snr: float) -> float:
    """Pseudo-time in [0, 1] at which a schedule has this log(alpha^2 / beta^2), by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if schedule.log_snr(middle) > log_snr else (low, middle)
    return 0.5 * (low + high)


@dataclass(frozen=True)
class LinearSchedule(Schedule):
    """alpha = 1 - (1 - eps_alpha) t and beta^2 = eps_beta + (1 - eps_beta) t (Bao, Zhang & Zhang 2024).

    Parameters
    ----------
    eps_alpha : float
        alpha at t = 1.
    eps_beta : float
        beta^2 at t = 0. Where it is positive it sets the gain of the published filter.
    """

    eps_alpha: float = 0.05
    eps_beta: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.eps_alpha <= 1 and 0 <= self.eps_beta < 1):
            raise ValueError(f"{self}: give an eps_alpha above 0, at most 1, and an eps_beta from 0 to below 1")

    def alpha(self, t: float) -> float:
        """Factor on the state."""
        return 1 - (1 - self.eps_alpha) * t

    def variance(self, t: float) -> float:
        """Noise variance beta^2."""
        return self.eps_beta + (1 - self.eps_beta) * t

    def drift(self, t: float) -> float:
        """b(t)."""
        return -(1 - self.eps_alpha) / self.alpha(t)

    def diffusion(self, t: float) -> float:
        """s(t)^2."""
        return (1 - self.eps_beta) - 2 * self.drift(t) * self.variance(t)


@dataclass(frozen=True)
class VariancePreserving(Schedule):
    """alpha^2 + beta^2 = 1 with rate ``rate_min + (rate_max - rate_min) t`` (Song et al. 2021, eq. 33).

    Parameters
    ----------
    rate_min, rate_max : float
        Rate of the Ornstein-Uhlenbeck process at t = 0 and t = 1; 1 and 1 is the plain process.
    """

    rate_min: float = 0.1
    rate_max: float = 20.0

    def __post_init__(self) -> None:
        if not (0 <= self.rate_min < math.inf and 0 < self.rate_max < math.inf):
            raise ValueError(f"{self}: give a rate_min of 0 or more and a positive rate_max")

    def _rate(self, t: float) -> float:
        return self.rate_min + (self.rate_max - self.rate_min) * t

    def _integral(self, t: float) -> float:
        return self.rate_min * t + 0.5 * (self.rate_max - self.rate_min) * t * t

    def alpha(self, t: float) -> float:
        """Factor on the state."""
        return math.exp(-0.5 * self._integral(t))

    def variance(self, t: float) -> float:
        """Noise variance beta^2."""
        return -math.expm1(-self._integral(t))

    def drift(self, t: float) -> float:
        """b(t)."""
        return -0.5 * self._rate(t)

    def diffusion(self, t: float) -> float:
        """s(t)^2."""
        return self._rate(t)


def ornstein_uhlenbeck(rate: float = 10.0) -> VariancePreserving:
    """The variance-preserving schedule of constant rate, alpha = exp(-rate t / 2)."""
    return VariancePreserving(rate, rate)


@dataclass(frozen=True)
class Cosine(Schedule):
    """alpha = cos(a + (b - a) t) / cos(a) and beta^2 = 1 - alpha^2 (Nichol & Dhariwal 2021, eq. 17).

    Parameters
    ----------
    offset : float
        Their s: a = s / (1 + s) pi / 2, so that beta does not start too slowly.
    alpha_end : float
        alpha at t = 1, which sets b; theirs is 0, where the drift is infinite.
    """

    offset: float = 0.008
    alpha_end: float = 1e-3

    def __post_init__(self) -> None:
        if not (0 <= self.offset < math.inf and 0 < self.alpha_end < 1):
            raise ValueError(f"{self}: give an offset of 0 or more and an alpha_end between 0 and 1")

    def _first(self) -> float:
        return self.offset / (1 + self.offset) * math.pi / 2

    def _rate(self) -> float:
        return math.acos(self.alpha_end * math.cos(self._first())) - self._first()

    def _angle(self, t: float) -> float:
        return self._first() + self._rate() * t

    def alpha(self, t: float) -> float:
        """Factor on the state."""
        return math.cos(self._angle(t)) / math.cos(self._first())

    def variance(self, t: float) -> float:
        """Noise variance beta^2, which is sin(angle - a) sin(angle + a) / cos(a)^2: exact where it is small."""
        angle = self._angle(t)
        first = self._first()
        return math.sin(self._rate() * t) * math.sin(angle + first) / math.cos(first) ** 2

    def drift(self, t: float) -> float:
        """b(t)."""
        return -self._rate() * math.tan(self._angle(t))

    def diffusion(self, t: float) -> float:
        """s(t)^2, which is -2 b as alpha^2 + beta^2 = 1."""
        return -2 * self.drift(t)


@dataclass(frozen=True)
class VarianceExploding(Schedule):
    """alpha = 1 and beta = smallest (largest / smallest)^t (Song et al. 2021, eq. 30).

    Parameters
    ----------
    smallest, largest : float
        beta at t = 0 and t = 1, in the units of the state; the largest should dwarf the state's range.
    """

    smallest: float = 0.01
    largest: float = 50.0

    def __post_init__(self) -> None:
        if not 0 < self.smallest < self.largest < math.inf:
            raise ValueError(f"{self}: give noise that grows from a positive smallest to the largest")

    def _rate(self) -> float:
        return math.log(self.largest / self.smallest)

    def alpha(self, t: float) -> float:
        """Factor on the state."""
        return 1.0

    def variance(self, t: float) -> float:
        """Noise variance beta^2."""
        return self.smallest**2 * math.exp(2 * self._rate() * t)

    def drift(self, t: float) -> float:
        """b(t)."""
        return 0.0

    def diffusion(self, t: float) -> float:
        """s(t)^2."""
        return 2 * self._rate() * self.variance(t)

    def terminal_deviation(self) -> float:
        """The largest noise."""
        return self.largest


@dataclass(frozen=True)
class EDM(Schedule):
    """alpha = 1 and beta = (smallest^(1/rho) (1 - t) + largest^(1/rho) t)^rho (Karras et al. 2022, eq. 5).

    A uniform grid of t is their grid of noise levels. Their numbers are for states of deviation 0.5.

    Parameters
    ----------
    smallest, largest : float
        beta at t = 0 and t = 1, in the units of the state.
    rho : float
        How much finer the small levels are resolved.
    mean, deviation : float
        Of the normal law of log(beta / scale of the state) from which `training_noise` draws.
    """

    smallest: float = 0.002
    largest: float = 80.0
    rho: float = 7.0
    mean: float = -1.2
    deviation: float = 1.2

    def __post_init__(self) -> None:
        if not (0 < self.smallest < self.largest < math.inf and 0 < self.rho < math.inf and self.deviation > 0):
            raise ValueError(
                f"{self}: give noise that grows from a positive smallest to the largest, a positive rho and deviation"
            )

    def _root(self, t: float) -> float:
        return self.smallest ** (1 / self.rho) * (1 - t) + self.largest ** (1 / self.rho) * t

    def alpha(self, t: float) -> float:
        """Factor on the state."""
        return 1.0

    def variance(self, t: float) -> float:
        """Noise variance beta^2."""
        return self._root(t) ** (2 * self.rho)

    def drift(self, t: float) -> float:
        """b(t)."""
        return 0.0

    def diffusion(self, t: float) -> float:
        """s(t)^2."""
        rate = self.largest ** (1 / self.rho) - self.smallest ** (1 / self.rho)
        return 2 * self.rho * rate * self._root(t) ** (2 * self.rho - 1)

    def terminal_deviation(self) -> float:
        """The largest noise."""
        return self.largest

    def training_noise(self, count: int, rng: Generator) -> np.ndarray:
        """Noise levels ``(count,)`` to train a score at (their table 1), over the scale of the state."""
        return np.exp(self.mean + self.deviation * rng.standard_normal(count))
