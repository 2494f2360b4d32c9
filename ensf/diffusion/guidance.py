"""Guidance: how the likelihood pulls on z at pseudo-time t.

Damped (published):       G = h(t) grad_x log p(y | x) at x = z,  h(t) = 1 - t.
Gaussian-conditional:     G = (d xhat / dz)^T H^T (R + H C H^T)^{-1} (y - h(xhat)),
    with xhat = E[x | z], C = Cov[x | z] = B v (alpha^2 B + v I)^{-1}, d xhat / dz = alpha C / v, H linearised at xhat.
    It is the exact score of p(y | z_t) for a Gaussian prior and a linear h.
DPS:                      G = J^T grad_x log p(y | x) at x = xhat,  J = d xhat / dz (Chung et al. 2023).
PiGDM:                    G = J^T H^T (R + r^2 H H^T)^{-1} (y - h(xhat)),  r^2 = s^2 v / (alpha^2 s^2 + v)
    (Song et al. 2023).
Moment matching (TMPD):   the same with Cov[x | z] = v J / alpha for r^2 I (Boys et al. 2023; by conjugate gradients as
    Rozet et al. 2024).
Tilted:                   Gaussian-conditional with the exact moments of N(xhat_k, s_k^2) p(y_k | h) for every pointwise
    sensor, as LETSF has them.

J is symmetric, so J^T w is a difference of scores along w: any score serves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ensf.arrays import Array, like, namespace
from ensf.diffusion.matching import slope
from ensf.diffusion.prior_scores import FittedScore, denoised, principal_axes
from ensf.diffusion.tilted_moments import tilted_moments
from ensf.observations import Observation
from ensf.observations.error_laws import GaussianLaw, is_gaussian, is_independent

__all__ = [
    "DPS",
    "ConditionalGuidance",
    "DampedGuidance",
    "Guidance",
    "MomentMatching",
    "PiGDM",
    "TiltedGuidance",
]

FittedGuidance = Callable[[Array, Array, float, float, float], Array]

ACCURATE = 2e6
"""Information (trace of T^T V T) from which I + T T^T V loses digits."""


class Guidance(Protocol):
    """Settings of a guidance."""

    def fit(self, prior: Array, observation: Observation, prior_score: FittedScore) -> FittedGuidance:
        """Function ``(z, prior_score, t, alpha, variance) -> (member, state)``."""

    def stiffness(self, prior: Array, observation: Observation) -> float:
        """Largest damping-free curvature of the likelihood that an explicit step meets, per unit h(t)."""


@dataclass(frozen=True)
class DampedGuidance:
    """Likelihood score at z itself, damped by h(t) = 1 - t (Bao, Zhang & Zhang 2024, eq. 3.14)."""

    def fit(self, prior: Array, observation: Observation, prior_score: FittedScore) -> FittedGuidance:
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

    def fit(self, prior: Array, observation: Observation, prior_score: FittedScore) -> FittedGuidance:
        """Guidance function for one observation; works in the span of the ensemble, r <= member - 1."""
        xp = namespace(prior)
        operator = observation.operator
        law = _gaussian_law(observation, self)
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


def _gaussian_law(observation: Observation, guidance: Guidance) -> GaussianLaw:
    law = observation.law
    if not is_gaussian(law):
        raise ValueError(
            f"{type(guidance).__name__} needs Gaussian errors, not {type(law).__name__}: use DampedGuidance or LETSF"
        )
    return law


def _through_denoiser(score: FittedScore, z: Array, direction: Array, alpha: float, variance: float) -> Array:
    """J w = (w + v (grad S) w) / alpha."""
    return (direction + variance * slope(lambda x: score(x, alpha, variance), z, direction)) / alpha


def _solved(apply: Callable[[Array], Array], right: Array, iterations: int) -> Array:
    """Solution of a positive definite system for every row, by conjugate gradients."""
    xp = namespace(right)
    solution, residual = xp.zeros_like(right), right
    direction, size = right, xp.sum(right * right, axis=-1, keepdims=True)
    first = size
    for _ in range(iterations):
        image = apply(direction)
        curvature = xp.sum(direction * image, axis=-1, keepdims=True)
        going = (size > 1e-20 * first) & (curvature > 0)
        if not bool(xp.any(going)):
            break
        length = xp.where(going, size / xp.where(going, curvature, xp.ones_like(curvature)), xp.zeros_like(size))
        solution, residual = solution + length * direction, residual - length * image
        after = xp.sum(residual * residual, axis=-1, keepdims=True)
        direction = residual + after / xp.where(size > 0, size, xp.ones_like(size)) * direction
        size = after
    return solution


@dataclass(frozen=True)
class DPS:
    """Likelihood score at E[x | z], as if that were x: it forgets how uncertain x still is, and pulls too hard."""

    def fit(self, prior: Array, observation: Observation, prior_score: FittedScore) -> FittedGuidance:
        """Guidance function for one observation."""

        def guide(z: Array, score: Array, t: float, alpha: float, variance: float) -> Array:
            pull = observation.score(denoised(z, score, alpha, variance))
            return _through_denoiser(prior_score, z, pull, alpha, variance)

        return guide

    def stiffness(self, prior: Array, observation: Observation) -> float:
        """As for the damped guidance."""
        return DampedGuidance().stiffness(prior, observation)


@dataclass(frozen=True)
class PiGDM:
    """Gaussian guidance with one variance of x for all entries.

    Parameters
    ----------
    deviation : float
        s, the standard deviation of the prior.
    iterations : int
        Of conjugate gradients; as many as observations are exact.
    """

    deviation: float = 1.0
    iterations: int = 20

    def fit(self, prior: Array, observation: Observation, prior_score: FittedScore) -> FittedGuidance:
        """Guidance function for one observation."""
        xp = namespace(prior)
        operator = observation.operator
        law = _gaussian_law(observation, self)
        error = law.covariance(observation.value)

        def guide(z: Array, score: Array, t: float, alpha: float, variance: float) -> Array:
            state = denoised(z, score, alpha, variance)
            spread = self.deviation**2 * variance / (alpha**2 * self.deviation**2 + variance)

            def predicted(vector: Array) -> Array:
                image = operator.tangent(state, operator.adjoint(state, vector))
                return xp.matmul(vector, error) + spread * image

            weights = _solved(predicted, observation.value - operator(state), self.iterations)
            return _through_denoiser(prior_score, z, operator.adjoint(state, weights), alpha, variance)

        return guide

    def stiffness(self, prior: Array, observation: Observation) -> float:
        """Zero, as for the conditional guidance."""
        return 0.0


@dataclass(frozen=True)
class MomentMatching:
    """Gaussian guidance with Cov[x | z] of the prior score itself; exact for a Gaussian score and a linear operator.

    Parameters
    ----------
    iterations : int
        Of conjugate gradients, two scores each; as many as observations are exact.
    """

    iterations: int = 5

    def fit(self, prior: Array, observation: Observation, prior_score: FittedScore) -> FittedGuidance:
        """Guidance function for one observation."""
        xp = namespace(prior)
        operator = observation.operator
        law = _gaussian_law(observation, self)
        error = law.covariance(observation.value)

        def guide(z: Array, score: Array, t: float, alpha: float, variance: float) -> Array:
            state = denoised(z, score, alpha, variance)

            def predicted(vector: Array) -> Array:
                spread = _through_denoiser(prior_score, z, operator.adjoint(state, vector), alpha, variance)
                return xp.matmul(vector, error) + variance / alpha * operator.tangent(state, spread)

            weights = _solved(predicted, observation.value - operator(state), self.iterations)
            return _through_denoiser(prior_score, z, operator.adjoint(state, weights), alpha, variance)

        return guide

    def stiffness(self, prior: Array, observation: Observation) -> float:
        """Zero, as for the conditional guidance."""
        return 0.0


@dataclass(frozen=True)
class TiltedGuidance:
    """Conditional guidance of pointwise sensors of any independent law, with the exact tilted moments of each."""

    def fit(self, prior: Array, observation: Observation, prior_score: FittedScore) -> FittedGuidance:
        """Guidance function for one observation; works in the span of the ensemble.

        Raises
        ------
        ValueError
            If errors are not independent, or an observation is a function of several linear combinations.
        """
        xp = namespace(prior)
        law = observation.law
        part = observation.part
        if not is_independent(law):
            raise ValueError(f"TiltedGuidance needs independent errors, not {type(law).__name__}: use MomentMatching")
        function = part.pointwise
        if function is None:
            raise ValueError(
                f"TiltedGuidance needs a function of one linear combination per observation, not "
                f"{observation.operator!r}: use MomentMatching"
            )
        _, axes, variances = principal_axes(prior)
        rows = part.linear(axes) - part.linear(xp.zeros_like(axes))

        def log_likelihood(entries: slice) -> Callable[[Array], Array]:
            index = np.arange(entries.start, entries.stop)
            here = law.restrict(index)
            assert is_independent(here)
            column, predicted = here.column(), function.restrict(index).column()
            return lambda states: column.each(observation.value[entries, None], predicted(states))

        def guide(z: Array, score: Array, t: float, alpha: float, variance: float) -> Array:
            centre = part.linear(denoised(z, score, alpha, variance))
            gain = variances / (alpha**2 * variances + variance)
            scaled = xp.sqrt(variance * gain)[:, None] * rows
            spread = xp.sqrt(xp.sum(scaled * scaled, axis=0))
            mean, narrowed = tilted_moments(
                log_likelihood, centre, xp.broadcast_to(spread, centre.shape), not law.is_gaussian
            )
            prior_precision = 1 / spread**2
            precision = xp.maximum(1 / narrowed - prior_precision, 1e-3 * prior_precision)
            departure = (mean - centre) * (1 + prior_precision / precision)
            covariance = xp.matmul(xp.matrix_transpose(scaled), scaled)
            identity = xp.eye(spread.shape[0], dtype=z.dtype, device=z.device)
            weights = xp.linalg.solve(covariance + identity * (1 / precision)[:, None, :], departure[..., None])
            return alpha * xp.matmul(gain * xp.matmul(weights[..., 0], xp.matrix_transpose(rows)), axes)

        return guide

    def stiffness(self, prior: Array, observation: Observation) -> float:
        """Zero, as for the conditional guidance."""
        return 0.0
