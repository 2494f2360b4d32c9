"""Guidance: how the likelihood pulls on z at pseudo-time t.

Damped (published):       G = h(t) grad_x log p(y | x) at x = z,  h(t) = 1 - t.
Gaussian-conditional:     G = (d xhat / dz)^T H^T (R + H C H^T)^{-1} (y - h(xhat)),
    with xhat = E[x | z], C = Cov[x | z] = B v (alpha^2 B + v I)^{-1}, d xhat / dz = alpha C / v, H linearised at xhat.
    It is the exact score of p(y | z_t) for a Gaussian prior and a linear h.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ensf.arrays import Array, like, namespace
from ensf.diffusion.prior_scores import principal_axes
from ensf.observations import Observation
from ensf.observations.error_laws import is_gaussian

__all__ = ["ConditionalGuidance", "DampedGuidance", "Guidance"]

FittedGuidance = Callable[[Array, Array, float, float, float], Array]

ACCURATE = 2e6
"""Information (trace of T^T V T) from which I + T T^T V loses digits."""


class Guidance(Protocol):
    """Settings of a guidance."""

    def fit(self, prior: Array, observation: Observation) -> FittedGuidance:
        """Function ``(z, prior_score, t, alpha, variance) -> (member, state)``."""

    def stiffness(self, prior: Array, observation: Observation) -> float:
        """Largest damping-free curvature of the likelihood that an explicit step meets, per unit h(t)."""


@dataclass(frozen=True)
class DampedGuidance:
    """Likelihood score at z itself, damped by h(t) = 1 - t (Bao, Zhang & Zhang 2024, eq. 3.14)."""

    def fit(self, prior: Array, observation: Observation) -> FittedGuidance:
        """Guidance function for one observation."""
        return lambda z, score, t, alpha, variance: (1 - t) * observation.score(z)

    def stiffness(self, prior: Array, observation: Observation) -> float:
        """Largest eigenvalue of J^T R^-1 J over the prior, shrunken towards zero as z is."""
        return max(_largest_curvature(shrink * prior, observation) for shrink in (0.0, 0.5, 1.0))


def _largest_curvature(states: Array, observation: Observation, iterations: int = 6) -> float:
    """Largest eigenvalue of J^T R^-1 J over the states, by power iteration over the finite entries."""
    xp = namespace(states)
    direction = xp.ones_like(states) * like(np.sin(np.arange(1.0, states.shape[-1] + 1) ** 2), states)
    size = xp.ones_like(states[:, :1])
    with np.errstate(all="ignore"):
        for _ in range(iterations):
            direction = direction / xp.where(size > 0, size, xp.ones_like(size))
            weighed = _weighed(observation, _finite(observation.operator.tangent(states, direction)))
            direction = _finite(observation.operator.adjoint(states, weighed))
            size = xp.linalg.vector_norm(direction, axis=-1, keepdims=True)
    return float(xp.max(size))


def _weighed(observation: Observation, residuals: Array) -> Array:
    law = observation.law
    if is_gaussian(law):
        return law.weigh(residuals)
    return residuals / law.standard_deviation(observation.value) ** 2


def _finite(array: Array) -> Array:
    xp = namespace(array)
    return xp.where(xp.isfinite(array), array, xp.zeros_like(array))


@dataclass(frozen=True)
class ConditionalGuidance:
    """Score of p(y | z_t) under the ensemble's Gaussian; exact for a Gaussian prior and a linear operator."""

    def fit(self, prior: Array, observation: Observation) -> FittedGuidance:
        """Guidance function for one observation; works in the span of the ensemble, r <= member - 1."""
        xp, operator, law = namespace(prior), observation.operator, observation.law
        if not is_gaussian(law):
            raise ValueError(
                f"ConditionalGuidance needs Gaussian errors, not {type(law).__name__}: use DampedGuidance or LETSF"
            )
        _, axes, variances = principal_axes(prior)

        def guide(z: Array, score: Array, t: float, alpha: float, variance: float) -> Array:
            denoised = (z + variance * score) / alpha
            tangents = law.whiten(operator.tangent(denoised[:, None, :], axes[None, :, :]))
            departure = law.whiten(observation.value - operator(denoised))
            gain = variances / (alpha**2 * variances + variance)
            pull = _pull(tangents, variance * gain, _columns(departure, tangents.shape[0]))
            return alpha * xp.matmul(gain * xp.reshape(xp.matrix_transpose(pull), (z.shape[0], -1)), axes)

        return guide

    def stiffness(self, prior: Array, observation: Observation) -> float:
        """Zero: the pull is bounded by the prior score's own 1 / v."""
        return 0.0


def _pull(tangents: Array, variances: Array, departures: Array) -> Array:
    """``(I + T T^T V)^{-1} T d``, ``(group, axis, column)``; of accurate observations by singular values.

    Parameters
    ----------
    tangents : (group, axis, observation) array
        T, whitened.
    variances : (axis,) array
        Diagonal of V.
    departures : (group, observation, column) array
        d, whitened.
    """
    xp = namespace(tangents)
    root = xp.sqrt(variances)[:, None]
    scaled = root * tangents
    if float(xp.max(xp.sum(scaled * scaled, axis=(-2, -1)))) > ACCURATE:
        left, singular, right = xp.linalg.svd(scaled, full_matrices=False)
        damping = singular / (1 + singular * singular)
        return xp.matmul(left, damping[..., None] * xp.matmul(right, departures)) / root
    identity = xp.eye(tangents.shape[-2], dtype=tangents.dtype, device=tangents.device)
    system = identity + xp.matmul(tangents, xp.matrix_transpose(tangents)) * variances
    return xp.linalg.solve(system, xp.matmul(tangents, departures))


def _columns(vectors: Array, groups: int) -> Array:
    """Vectors ``(member, n)`` as columns ``(group, n, member / group)``: those sharing a matrix are solved at once."""
    xp = namespace(vectors)
    return xp.matrix_transpose(xp.reshape(vectors, (groups, -1, vectors.shape[-1])))
