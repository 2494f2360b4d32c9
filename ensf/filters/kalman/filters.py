"""Kalman filters whose weights are the same everywhere.

EnKF     x_j + A^T S (I + S^T S)^{-1} (d + e_j - sqrt(J-1) S_j) / sqrt(J-1),   e_j ~ N(0, I), centred
ETKF     m + A^T [ w_j + (I + S S^T)^{-1} S d / sqrt(J-1) ],   w_j = column j of (I + S S^T)^{-1/2}, symmetric

For linear h the mean and covariance of the ETKF are the exact posterior of N(m, A^T A / (J-1)). Both decompose
S S^T = Q diag(l) Q^T, or S itself where observations are few or accurate, in double precision.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ensf.arrays import Array, Generator, centred, mean_departure, member_mean, namespace, normal, stream
from ensf.filters.base import Memory, Prepared, Update
from ensf.filters.weights import WeightsUpdate, gain, precise, spectrum, symmetric_root
from ensf.observations.error_laws import is_gaussian
from ensf.observations.observation import Observation
from ensf.observations.predictions import check_resolved

__all__ = ["ETKF", "EnKF", "whitened"]


@dataclass(frozen=True)
class EnKF(Prepared):
    """Stochastic ensemble Kalman filter with perturbed observations.

    Source: Burgers, van Leeuwen & Evensen (1998), MWR 126, 1719, eqs. 13 to 19. The perturbations have mean
    zero over the members.
    """

    def prepare(self, predicted: Array, observation: Observation, rng: Generator, memory: Memory = None) -> Update:
        """Weights from whitened departures of every member from its own perturbed observation.

        Raises
        ------
        ValueError
            If the errors are not Gaussian.
        """
        anomalies, innovation = whitened(predicted, observation)
        noise = normal(stream(rng, predicted), anomalies.shape, predicted)
        root = math.sqrt(anomalies.shape[0] - 1)
        departures = precise(innovation + noise - member_mean(noise)) - root * precise(anomalies)
        return WeightsUpdate(memory, weights=gain(anomalies, departures.T / root), anomalies=anomalies)


@dataclass(frozen=True)
class ETKF(Prepared):
    """Ensemble transform Kalman filter with the symmetric square root.

    Source: Bishop, Etherton & Majumdar (2001), MWR 129, 420; symmetric root: Hunt, Kostelich & Szunyogh
    (2007), Physica D 230, 112, eqs. 20 to 24. Treats all members alike.
    """

    def prepare(self, predicted: Array, observation: Observation, rng: Generator, memory: Memory = None) -> Update:
        """Weights of the symmetric square root; `info` has the degrees of freedom taken.

        Raises
        ------
        ValueError
            If the errors are not Gaussian.
        """
        xp = namespace(predicted)
        anomalies, innovation = whitened(predicted, observation)
        vectors, values, pulls = spectrum(anomalies, innovation)
        mean = xp.matmul(vectors, pulls / (1 + values)) / math.sqrt(anomalies.shape[0] - 1)
        info = {"degrees_of_freedom": float(xp.sum(values / (1 + values)))}
        return WeightsUpdate(memory, info, weights=symmetric_root(vectors, values, mean), anomalies=anomalies)


def whitened(predicted: Array, observation: Observation) -> tuple[Array, Array]:
    """S ``(member, observation)`` and d ``(observation,)``.

    Parameters
    ----------
    predicted : (member, column) array
        ``observation.predict(prior)``.
    observation : Observation

    Raises
    ------
    ValueError
        If the errors are not Gaussian.
    Unresolved
        If a prediction is rounded by more than the error, as of `Observation.check_resolved`.
    """
    law = observation.law
    if not is_gaussian(law):
        raise ValueError(f"a Kalman filter needs Gaussian errors, not {law}: give standard deviations or Correlated")
    values = observation.part.function(predicted)
    if observation.size:
        check_resolved(values, law.standard_deviation(observation.value))
    anomalies = law.whiten(centred(values) / math.sqrt(values.shape[0] - 1))
    return anomalies, law.whiten(mean_departure(observation.value, values))
