"""Kalman filters with an ensemble: the baselines.

J members x_j with mean m and anomalies A (member x state); observation y = h(x) + e, e ~ N(0, R). Everything
happens in whitened observation space,

    S = R^{-1/2} (h(x_j) - mean) / sqrt(J-1)  (member x observation),    d = R^{-1/2} (y - mean of h(x_j)).

EnKF     x_j + A^T S (I + S^T S)^{-1} (d + e_j - sqrt(J-1) S_j) / sqrt(J-1),   e_j ~ N(0, I), centred
ETKF     m + A^T [ w_j + (I + S S^T)^{-1} S d / sqrt(J-1) ],   w_j = column j of (I + S S^T)^{-1/2}, symmetric
LETKF    an ETKF at every place, from the observations near it (`ensf.filters.kalman.local_transform`)

For linear h the mean and covariance of the ETKF are the exact posterior of N(m, A^T A / (J-1)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg.lapack

from ensf.arrays import Array, Generator, is_host, namespace, normal, stream, to_numpy
from ensf.filters.base import Analysis, check_predicted, check_prior
from ensf.filters.kalman.local_transform import local_transform
from ensf.filters.kalman.unresolved import UnresolvedVariance, check_fraction
from ensf.localization import Localization
from ensf.localization.information_limit import InformationLimit
from ensf.observations.observation import Gaussian, Identity, Observation, Pointwise, Select, WindSpeed

__all__ = ["ETKF", "LETKF", "EnKF", "observed_positions", "whitened"]


@dataclass(frozen=True)
class EnKF:
    """Stochastic ensemble Kalman filter with perturbed observations.

    Source: Burgers, van Leeuwen & Evensen (1998), MWR 126, 1719, eqs. 13 to 19. The perturbations have mean
    zero over the members. The system that is solved has the smaller size of members and observations.
    """

    def analyse(self, prior: Array, observation: Observation, rng: Generator, memory: Any = None) -> Analysis:
        """Analysis ensemble ``(member, state)``.

        Raises
        ------
        ValueError
            If the prior, the predicted observations or the error law do not fit.
        """
        check_prior(prior, observation)
        observation = observation.present()
        if observation.size == 0:
            return Analysis(prior, memory)
        anomalies = _moments(prior)[1]
        seen, innovation = whitened(prior, observation)
        perturbation = _moments(normal(stream(rng, prior), seen.shape, prior))[1]
        root = math.sqrt(seen.shape[0] - 1)
        departures = innovation + perturbation - root * seen
        return Analysis(prior + _increments(seen, departures, anomalies / root), memory)


@dataclass(frozen=True)
class ETKF:
    """Ensemble transform Kalman filter with the symmetric square root.

    Source: Bishop, Etherton & Majumdar (2001), MWR 129, 420; symmetric root: Hunt, Kostelich & Szunyogh
    (2007), Physica D 230, 112, eqs. 20 to 24. Treats all members alike.
    """

    def analyse(self, prior: Array, observation: Observation, rng: Generator, memory: Any = None) -> Analysis:
        """Analysis ensemble ``(member, state)``; `info` has the degrees of freedom taken.

        Raises
        ------
        ValueError
            If the prior, the predicted observations or the error law do not fit.
        """
        check_prior(prior, observation)
        observation = observation.present()
        if observation.size == 0:
            return Analysis(prior, memory)
        mean, anomalies = _moments(prior)
        deviations, freedom = _transform(*whitened(prior, observation), anomalies)
        return Analysis(mean + deviations, memory, {"degrees_of_freedom": freedom})


@dataclass(frozen=True)
class LETKF:
    """Local ensemble transform Kalman filter with localized observation precision.

    Source: Hunt, Kostelich & Szunyogh (2007), Physica D 230, 112, section 2.3; symmetric square root.

    Parameters
    ----------
    localization : Localization
        Where the state variables are and how far an observation reaches.
    information_limit : InformationLimit, optional
        Narrows each patch until it holds no more information than the members can absorb.
    unresolved_variance : float
        Variance of a white prior error outside the span of the members, as a part of the ensemble variance
        (`ensf.filters.kalman.unresolved`); observations must then see one variable each.
    """

    localization: Localization
    information_limit: InformationLimit | None = None
    unresolved_variance: float = 0.0

    def __post_init__(self) -> None:
        check_fraction(self.unresolved_variance)

    def analyse(self, prior: Array, observation: Observation, rng: Generator, memory: Any = None) -> Analysis:
        """Analysis ensemble ``(member, state)``; `info` has the degrees of freedom by variable.

        Raises
        ------
        ValueError
            If the prior, the predicted observations or the error law do not fit, if observation errors are
            correlated, if the place of an observation is unknown, or if a remainder meets observations that see
            several variables, or a variable several times.
        """
        check_prior(prior, observation)
        observation = observation.present()
        if observation.size == 0:
            return Analysis(prior, memory)
        if not isinstance(observation.law, Gaussian):
            raise ValueError(
                "LETKF needs independent Gaussian errors: give standard deviations, or use ETKF for correlated ones "
                "and LETSF for other laws"
            )
        patches = self.localization.patches(observed_positions(observation, self.localization, prior.shape[1]))
        mean, anomalies = _moments(prior)
        seen, innovation = whitened(prior, observation)
        rest = UnresolvedVariance.of(self.unresolved_variance, prior, observation)
        share = 1.0 if rest is None else _share(seen, self.unresolved_variance)
        if self.information_limit is not None:
            patches = self.information_limit.narrow(patches, self.localization.half_width, seen * share)
        deviations, freedom = local_transform(anomalies, seen * share, innovation * share, patches)
        ensemble = mean + deviations
        if rest is not None:
            departures = _departures(ensemble, observation)
            ensemble = rest.settle(
                ensemble, _regressed(rest.at_observations(anomalies), seen, departures, self.unresolved_variance)
            )
        return Analysis(ensemble, memory, {"degrees_of_freedom": freedom})


def _share(seen: Array, remainder: float) -> Array:
    """Observation error over that which has the variance outside the span added to it."""
    xp = namespace(seen)
    return 1 / xp.sqrt(1 + remainder * xp.sum(seen * seen, axis=0))


def _regressed(anomalies: Array, seen: Array, departures: Array, remainder: float) -> Any:
    """Moments of the remainder for `UnresolvedVariance.settle`, by regression of each variable on its observation."""
    xp = namespace(seen)
    variance = xp.sum(seen * seen, axis=0)
    shared = xp.sum(anomalies * seen, axis=0) / math.sqrt(seen.shape[0] - 1)
    slope = shared / xp.clip(variance, xp.finfo(variance.dtype).smallest_normal, None)
    lacking = remainder * variance
    gain = slope * lacking / (1 + lacking)

    def moments(centre: Array, spread: Array) -> tuple[Array, Array]:
        return centre + gain * departures, (spread**2 - gain * slope * lacking)[None, :]

    return moments


# --- observation space -----------------------------------------------------------------------------------


def _moments(ensemble: Array) -> tuple[Array, Array]:
    mean = namespace(ensemble).mean(ensemble, axis=0)
    return mean, ensemble - mean


def whitened(prior: Array, observation: Observation) -> tuple[Array, Array]:
    """S ``(member, observation)`` and d ``(observation,)`` of the module's docstring."""
    predicted = observation.operator(prior)
    check_predicted(predicted, observation)
    law = observation.law
    if not hasattr(law, "whiten"):
        raise ValueError(f"a Kalman filter needs Gaussian errors, not {law}: give standard deviations or Correlated")
    xp = namespace(prior)
    mean, anomalies = _moments(predicted)
    seen = law.whiten(anomalies / math.sqrt(prior.shape[0] - 1))
    if not bool(xp.isfinite(xp.sum(seen))):
        raise ValueError("the operator predicts a value that is not finite: check it over the range of the prior")
    return seen, law.whiten(xp.astype(observation.value, prior.dtype, copy=False) - mean)


def _departures(ensemble: Array, observation: Observation) -> Array:
    """``(y - h(x_j)) / error``, ``(member, observation)``."""
    value = namespace(ensemble).astype(observation.value, ensemble.dtype, copy=False)
    return observation.law.whiten(value - observation.operator(ensemble))


def _plus_identity(matrix: Array) -> Array:
    return matrix + namespace(matrix).eye(matrix.shape[0], dtype=matrix.dtype, device=matrix.device)


def _increments(seen: Array, departures: Array, anomalies: Array) -> Array:
    """``D (I + S^T S)^{-1} S^T A`` through the smaller of the two equivalent systems."""
    matmul = namespace(seen).matmul
    if seen.shape[0] <= seen.shape[1]:
        weights = _solve(_plus_identity(matmul(seen, seen.T)), matmul(seen, departures.T))
        return matmul(weights.T, anomalies)
    weights = _solve(_plus_identity(matmul(seen.T, seen)), departures.T)
    return matmul(weights.T, matmul(seen.T, anomalies))


def _solve(matrix: Array, right: Array) -> Array:
    """Solution for a symmetric positive definite matrix."""
    if not is_host(matrix):
        return namespace(matrix).linalg.solve(matrix, right)
    lapack = scipy.linalg.lapack
    return (lapack.sposv if matrix.dtype == np.float32 else lapack.dposv)(matrix, right)[1]


def _transform(seen: Array, innovation: Array, anomalies: Array) -> tuple[Array, Array]:
    """Analysis deviations from the prior mean and degrees of freedom, through the smaller eigenvalue problem."""
    xp = namespace(seen)
    root = math.sqrt(seen.shape[0] - 1)
    if seen.shape[0] <= seen.shape[1]:
        values, vectors = _positive_eigh(xp.matmul(seen, seen.T))
        mean = xp.matmul(vectors / (1 + values), xp.matmul(vectors.T, xp.matmul(seen, innovation)))
        spread = xp.matmul(vectors / xp.sqrt(1 + values), vectors.T)
        deviations = xp.matmul(spread + mean / root, anomalies)
    else:
        values, vectors = _positive_eigh(xp.matmul(seen.T, seen))
        along, growth = xp.matmul(seen, vectors), xp.sqrt(1 + values)
        mean = xp.matmul(vectors.T, innovation) / (1 + values)
        weights = mean / root - along / (growth * (1 + growth))
        deviations = anomalies + xp.matmul(weights, xp.matmul(along.T, anomalies))
    return deviations, xp.sum(values / (1 + values))


def _positive_eigh(matrix: Array) -> tuple[Array, Array]:
    xp = namespace(matrix)
    values, vectors = xp.linalg.eigh(matrix)
    return xp.clip(values, 0.0, None), vectors


# --- where observations are ------------------------------------------------------------------------------


def observed_positions(observation: Observation, localization: Localization, size: int) -> np.ndarray:
    """Positions ``(observation, dimension)`` as given, else of the variables that are seen.

    Raises
    ------
    ValueError
        If the localization has another state size, or the operator does not tell where observations are.
    """
    if len(localization.position) != size:
        raise ValueError(
            f"the localization has {len(localization.position)} positions but the prior {size} variables: "
            "give one position per state variable"
        )
    if observation.position is not None:
        return to_numpy(observation.position)
    return _seen_positions(observation.operator, localization.position)


def _seen_positions(operator: Any, position: np.ndarray) -> np.ndarray:
    if isinstance(operator, Identity):
        return position
    if isinstance(operator, Select):
        return position[np.asarray(operator.index)]
    if isinstance(operator, Pointwise):
        return _seen_positions(operator.linear, position)
    if hasattr(operator, "seen_as"):
        return _seen_positions(operator.seen_as, position)
    if isinstance(operator, WindSpeed):
        eastward = _seen_positions(operator.eastward, position)
        if np.array_equal(eastward, _seen_positions(operator.northward, position)):
            return eastward
    raise ValueError(
        f"the places seen by {type(operator).__name__} are unknown: give Observation(..., position=...), "
        "one row of coordinates per observation"
    )
