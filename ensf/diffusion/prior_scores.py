"""Prior scores: what an ensemble x_1 ... x_J says about grad log p_t(z).

With z_t | x ~ N(alpha x, v I) and weights over members,

    S(z) = - sum_j w_j (z - alpha x_j) / v,    w = softmax_j( -|z - alpha x_j|^2 / (2 v) )

is the score of the mixture prior. The released EnSF code pairs particle i with member i alone (`PairedScore`).
A Gaussian prior N(m, B) has S(z) = -(alpha^2 B + v I)^{-1} (z - alpha m).

A kernel density of bandwidth h is the mixture of N(x_j, h^2 I), blurred that of N(alpha x_j, (v + alpha^2 h^2) I).

A score object is fitted to a prior once per analysis; the fitted score is a function ``(z, alpha, v) -> S``.
Any score gives the denoised state E[x | z] = (z + v S) / alpha (Tweedie's formula). A fitted score, or any other
function of that form, serves as a prior of its own, whatever the ensemble, as `FunctionScore`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ensf.arrays import (
    Array,
    Generator,
    centred,
    is_count,
    like,
    member_mean,
    member_variance,
    namespace,
    normal,
    to_numpy,
)

__all__ = [
    "FittedScore",
    "FunctionScore",
    "GaussianScore",
    "IndependentScore",
    "KernelDensityScore",
    "MiniBatchScore",
    "MixtureScore",
    "PairedScore",
    "PriorScore",
    "denoised",
    "member_weights",
    "principal_axes",
]

FittedScore = Callable[[Array, float, float], Array]


def denoised(z: Array, score: Array, alpha: float, variance: float) -> Array:
    """E[x | z] of the score at z (Tweedie's formula)."""
    return (z + variance * score) / alpha


class PriorScore(Protocol):
    """Settings of a prior score."""

    def fit(self, prior: Array, rng: Generator) -> FittedScore:
        """Score function ``(z, alpha, variance) -> (member, state)`` of a prior ensemble ``(member, state)``."""


@dataclass(frozen=True)
class PairedScore:
    """Particle i sees member i alone: S(z_i) = -(z_i - alpha x_i) / v (released EnSF code)."""

    def fit(self, prior: Array, rng: Generator) -> FittedScore:
        """Score function of the prior."""

        def score(z: Array, alpha: float, variance: float) -> Array:
            result = alpha * prior
            result -= z
            result *= 1 / variance
            return result

        return score


@dataclass(frozen=True)
class MixtureScore:
    """Mixture of all members (Bao, Zhang & Zhang 2024, Monte Carlo score)."""

    def fit(self, prior: Array, rng: Generator) -> FittedScore:
        """Score function of the prior."""
        return lambda z, alpha, variance: _mixture(z, prior, alpha, variance)


@dataclass(frozen=True)
class MiniBatchScore:
    """Mixture of a random batch of members, drawn anew at every pseudo-time.

    Parameters
    ----------
    size : int
        Members per batch; at most the ensemble size is used.
    """

    size: int = 10

    def __post_init__(self) -> None:
        if not is_count(self.size):
            raise ValueError(f"MiniBatchScore has batches of {self.size} members: give a whole number, 1 or more")

    def batch(self, prior: Array, rng: Generator) -> Array:
        """Indices of a random batch of the members."""
        members = prior.shape[0]
        return namespace(prior).argsort(normal(rng, (members,), prior))[: min(self.size, members)]

    def fit(self, prior: Array, rng: Generator) -> FittedScore:
        """Score function of the prior."""
        batch, drawn_for = prior, (np.nan, np.nan)

        def score(z: Array, alpha: float, variance: float) -> Array:
            nonlocal batch, drawn_for
            if drawn_for != (alpha, variance):
                batch, drawn_for = namespace(prior).take(prior, self.batch(prior, rng), axis=0), (alpha, variance)
            return _mixture(z, batch, alpha, variance)

        return score


@dataclass(frozen=True)
class GaussianScore:
    """Gaussian prior with the ensemble's mean and covariance."""

    def fit(self, prior: Array, rng: Generator) -> FittedScore:
        """Score function of the prior."""
        mean, axes, variances = principal_axes(prior)
        xp = namespace(prior)

        def score(z: Array, alpha: float, variance: float) -> Array:
            departure = alpha * mean - z
            along = xp.matmul(departure, axes.T)
            shrink = alpha**2 * variances / (alpha**2 * variances + variance)
            return (departure - xp.matmul(shrink * along, axes)) / variance

        return score


@dataclass(frozen=True)
class IndependentScore:
    """Gaussian prior with the ensemble's mean and variances, and no correlations: few members of many variables."""

    def fit(self, prior: Array, rng: Generator) -> FittedScore:
        """Score function of the prior."""
        mean, variances = member_mean(prior), member_variance(prior)
        return lambda z, alpha, variance: (alpha * mean - z) / (alpha**2 * variances + variance)


@dataclass(frozen=True)
class KernelDensityScore:
    """Mixture of isotropic Gaussians at the members: the score of the kernel density estimate.

    Its variance is that of the ensemble and h^2. It tends to the true score in one dimension as members are added; in
    many dimensions one kernel has all the weight.

    Parameters
    ----------
    bandwidth : float, optional
        h, in the units of the state; by default Silverman's (1986) ``s (4 / ((state + 2) members))^(1 / (state + 4))``
        with s^2 the mean variance over the ensemble.
    """

    bandwidth: float | None = None

    def __post_init__(self) -> None:
        if self.bandwidth is not None and not 0 < self.bandwidth < np.inf:
            raise ValueError(f"KernelDensityScore has a bandwidth of {self.bandwidth}: give a positive number")

    def fit(self, prior: Array, rng: Generator) -> FittedScore:
        """Score function of the prior."""
        width = self.bandwidth or _silverman(prior)
        return lambda z, alpha, variance: _mixture(z, prior, alpha, variance + (alpha * width) ** 2)


def _silverman(prior: Array) -> float:
    members, state = prior.shape
    deviation = float(np.sqrt(to_numpy(member_variance(prior)).mean()))
    return deviation * (4 / ((state + 2) * members)) ** (1 / (state + 4))


@dataclass(frozen=True)
class FunctionScore:
    """Any function as the score of a prior that the ensemble does not change: a climatology, JAX, torch.

    Parameters
    ----------
    function : callable
        ``(z, alpha, variance) -> S``, both ``(member, state)``; the result may be an array of another library.
    """

    function: FittedScore

    def fit(self, prior: Array, rng: Generator) -> FittedScore:
        """The function, with its result on the side of z.

        Raises
        ------
        ValueError
            If the result has another shape than z, when it is called.
        """

        def score(z: Array, alpha: float, variance: float) -> Array:
            result = self.function(z, alpha, variance)
            if type(result) is not type(z):
                result = like(to_numpy(result), z)
            if result.shape != z.shape:
                raise ValueError(
                    f"the score function gives shape {tuple(result.shape)} for states of shape {tuple(z.shape)}: "
                    "return one row per row and one entry per entry"
                )
            return result

        return score


def principal_axes(prior: Array) -> tuple[Array, Array, Array]:
    """Mean (state,), axes (r, state) and variances (r,) of the ensemble covariance, r = min(member - 1, state)."""
    xp = namespace(prior)
    anomalies = centred(prior) / (prior.shape[0] - 1) ** 0.5
    _, deviations, axes = xp.linalg.svd(anomalies, full_matrices=False)
    rank = min(prior.shape[0] - 1, prior.shape[1])
    return member_mean(prior), axes[:rank, :], deviations[:rank] ** 2


def _mixture(z: Array, members: Array, alpha: float, variance: float) -> Array:
    """Score of the mixture of N(alpha x_j, variance I)."""
    xp = namespace(z)
    centres = alpha * members
    mean = xp.matmul(member_weights(z, centres, variance), centres)
    return (mean - z) / variance


def member_weights(z: Array, centres: Array, variance: float) -> Array:
    """Weights (particle, member) of N(centre_j, variance I) at z; the square of z is common to a row and drops out."""
    xp = namespace(z)
    origin = xp.mean(centres, axis=0)
    logits = (xp.matmul(z - origin, (centres - origin).T) - 0.5 * xp.sum((centres - origin) ** 2, axis=-1)) / variance
    logits = xp.exp(logits - xp.max(logits, axis=-1, keepdims=True))
    return logits / xp.sum(logits, axis=-1, keepdims=True)
