"""Noise schedules: the forward process z_t | x ~ N(alpha_t x, beta_t^2 I), pseudo-time t in [0, 1], 1 is noise.

It is the law of the forward SDE dZ = b(t) Z dt + s(t) dW with

    b = d log(alpha) / dt,    s^2 = d(beta^2) / dt - 2 b beta^2        (Song et al. 2021).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

__all__ = ["LinearSchedule", "Schedule", "VariancePreserving"]


class Schedule(Protocol):
    """A noise schedule; every method takes and returns a number."""

    def alpha(self, t: float) -> float:
        """Factor on the state."""

    def variance(self, t: float) -> float:
        """Noise variance beta^2."""

    def drift(self, t: float) -> float:
        """b(t)."""

    def diffusion(self, t: float) -> float:
        """s(t)^2."""


@dataclass(frozen=True)
class LinearSchedule:
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
class VariancePreserving:
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
