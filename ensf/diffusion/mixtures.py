"""Gaussian mixtures: priors whose blurred density, score and posterior are in closed form.

With weights w_k, means m_k and covariances B_k, blurring by z = alpha x + beta e gives the mixture of

    N(alpha m_k, alpha^2 B_k + beta^2 I),

and an observation y = H x + e, e ~ N(0, R), the mixture of the Kalman posteriors of the components, with weights
proportional to w_k N(y; H m_k, H B_k H^T + R).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ensf.arrays import Array, Generator, Record, like, namespace, normal, to_numpy

__all__ = ["GaussianMixture"]


@dataclass(frozen=True, eq=False)
class GaussianMixture(Record):
    """A mixture of Gaussians; one component is a Gaussian.

    Parameters
    ----------
    weights : (component,) array
        Positive; they are scaled to sum to 1.
    means : (component, state) array
    covariances : (component, state, state) array

    Raises
    ------
    ValueError
        If shapes do not fit, a weight is not positive or a covariance not positive definite.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def __post_init__(self) -> None:
        components, state = self.means.shape
        if self.weights.shape != (components,) or self.covariances.shape != (components, state, state):
            raise ValueError(
                f"mixture of {self.weights.shape} weights, {self.means.shape} means and {self.covariances.shape} "
                "covariances: give (component,), (component, state) and (component, state, state)"
            )
        if not (self.weights > 0).all():
            raise ValueError(f"mixture has a weight of {self.weights.min()}: give positive ones")
        for k, variances in enumerate(self._eigen[0]):
            if not variances.min() > 0:
                raise ValueError(f"covariance of component {k} is not positive definite: give one that is")
        object.__setattr__(self, "weights", self.weights / self.weights.sum())

    @cached_property
    def _eigen(self) -> tuple[np.ndarray, np.ndarray]:
        """Variances ``(component, axis)`` and axes ``(component, state, axis)``."""
        return np.linalg.eigh(self.covariances)

    @property
    def mean(self) -> np.ndarray:
        """Mean ``(state,)``."""
        return self.weights @ self.means

    @property
    def covariance(self) -> np.ndarray:
        """Covariance ``(state, state)``."""
        anomalies = self.means - self.mean
        return np.tensordot(self.weights, self.covariances, 1) + (anomalies.T * self.weights) @ anomalies

    def fit(self, prior: Array, rng: Generator) -> GaussianMixture:
        """Itself, whatever the ensemble: the prior is what it says."""
        return self

    def _components(self, z: Array, alpha: float, variance: float) -> tuple[Array, Array, Array, Array]:
        """Log of weight times density ``(component, ..., 1)``, and departures, variances, axes of the components."""
        xp = namespace(z)
        variances, axes = (like(part, z) for part in self._eigen)
        blurred = alpha**2 * variances + variance
        along = xp.matmul(z[None, ...] - alpha * like(self.means, z)[:, None, :], axes)
        logs = -0.5 * xp.sum(along * along / blurred[:, None, :], axis=-1, keepdims=True)
        level = like(np.log(self.weights), z) - 0.5 * xp.sum(xp.log(2 * math.pi * blurred), axis=-1)
        return logs + level[:, None, None], along, blurred, axes

    def log_density(self, z: Array, alpha: float = 1.0, variance: float = 0.0) -> Array:
        """Log density of the blurred mixture, ``(member, state) -> (member,)``."""
        logs = self._components(z, alpha, variance)[0]
        xp = namespace(z)
        highest = xp.max(logs, axis=0, keepdims=True)
        return (xp.log(xp.sum(xp.exp(logs - highest), axis=0)) + highest[0, ...])[:, 0]

    def __call__(self, z: Array, alpha: float = 1.0, variance: float = 0.0) -> Array:
        """Score of the blurred mixture, ``(member, state) -> (member, state)``."""
        logs, along, blurred, axes = self._components(z, alpha, variance)
        xp = namespace(z)
        weights = xp.exp(logs - xp.max(logs, axis=0, keepdims=True))
        weights = weights / xp.sum(weights, axis=0, keepdims=True)
        return -xp.sum(weights * xp.matmul(along / blurred[:, None, :], xp.matrix_transpose(axes)), axis=0)

    def draw(self, count: int, rng: Generator) -> np.ndarray:
        """Draws ``(count, state)``."""
        component = np.searchsorted(np.cumsum(self.weights)[:-1], rng.random(count))
        variances, axes = self._eigen
        roots = np.einsum("ksa,ka,kta->kst", axes, np.sqrt(variances), axes)
        noise = normal(rng, (count, self.means.shape[1]), self.means)
        return self.means[component] + np.einsum("nt,nst->ns", noise, roots[component])

    def posterior(self, matrix: np.ndarray, error_covariance: np.ndarray, value: np.ndarray) -> GaussianMixture:
        """The mixture after ``value = matrix x + e``, e ~ N(0, error_covariance), by Bayes' rule."""
        value = to_numpy(value)
        logs, means, covariances = [], [], []
        for weight, mean, covariance in zip(self.weights, self.means, self.covariances, strict=True):
            predicted = matrix @ covariance @ matrix.T + error_covariance
            departure = value - matrix @ mean
            gain = np.linalg.solve(predicted, matrix @ covariance).T
            kept = np.eye(len(mean)) - gain @ matrix
            means.append(mean + gain @ departure)
            covariances.append(kept @ covariance @ kept.T + gain @ error_covariance @ gain.T)
            fit = departure @ np.linalg.solve(predicted, departure) + np.linalg.slogdet(2 * np.pi * predicted)[1]
            logs.append(np.log(weight) - 0.5 * fit)
        weights = np.exp(np.array(logs) - max(logs))
        return GaussianMixture(np.maximum(weights, np.finfo(float).tiny), np.array(means), np.array(covariances))
