"""Closed forms that tests compare with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def kalman_posterior(
    mean: np.ndarray,
    covariance: np.ndarray,
    matrix: np.ndarray,
    error_covariance: np.ndarray,
    value: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of x ~ N(mean, covariance) given ``value = matrix x + e``, e ~ N(0, error_covariance)."""
    gain = np.linalg.solve(matrix @ covariance @ matrix.T + error_covariance, matrix @ covariance).T
    return mean + gain @ (value - matrix @ mean), covariance - gain @ matrix @ covariance


def scalar_posterior(log_density: Callable[[np.ndarray], np.ndarray], low: float, high: float) -> tuple[float, float]:
    """Mean and variance of an unnormalised scalar density that vanishes outside (low, high)."""
    x = np.linspace(low, high, 20001)
    logs = log_density(x)
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    mean = float(weights @ x)
    return mean, float(weights @ (x - mean) ** 2)


class UnitNoise:
    """Stands for a random generator: draw k is zero but for its k-th entry.

    What a linear recursion makes of it are the coefficients of its noises: their squares add up to the exact
    variance. With ``amplitude=0`` the recursion gives its exact mean.
    """

    def __init__(self, amplitude: float = 1.0) -> None:
        self.amplitude, self.draws = amplitude, 0

    def standard_normal(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        draw = np.zeros(shape, dtype)
        draw.reshape(-1)[self.draws] = self.amplitude
        self.draws += 1
        return draw
