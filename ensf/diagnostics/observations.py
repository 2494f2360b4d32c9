"""Scores against the observations, from whitened departures."""

from __future__ import annotations

import math
from typing import NamedTuple

from ensf.arrays import Array, namespace
from ensf.observations.error_laws import is_gaussian
from ensf.observations.observation import Observation

__all__ = ["Desroziers", "consistency", "departures", "desroziers", "innovation_chi2"]


class Desroziers(NamedTuple):
    """Ratios of an estimated variance to the assumed one; 1 is consistent."""

    error: Array
    spread: Array


def departures(ensemble: Array, observation: Observation) -> Array:
    """Whitened departures ``R^(-1/2) (y - h(x_i))`` of the observations that are not NaN.

    Parameters
    ----------
    ensemble : (..., member, state) array
    observation : Observation

    Returns
    -------
    (..., member, present) array

    Raises
    ------
    ValueError
        If the errors are not Gaussian.
    """
    observation = observation.present()
    law = observation.law
    if not is_gaussian(law):
        raise ValueError(f"error law {law!r} cannot be whitened: give a Gaussian error")
    return law.whiten(observation.value - observation.operator(ensemble))


def innovation_chi2(forecast: Array, observation: Observation) -> Array:
    """``d^T (H B H^T + R)^(-1) d / p`` with the covariance B of the forecast ensemble.

    Parameters
    ----------
    forecast : (..., member, state) array
    observation : Observation

    Returns
    -------
    (...) array
        1 on average for a large consistent ensemble, more for a small one.
    """
    whitened = departures(forecast, observation)
    return consistency(whitened, whitened)[0]


def desroziers(forecast: Array, analysis: Array, observation: Observation) -> Desroziers:
    """Observation error and forecast spread that the departures imply, over the assumed ones.

    One batch of observations is a sample, which can even be negative: average many before reading them.

    Parameters
    ----------
    forecast, analysis : (..., member, state) array
    observation : Observation

    Returns
    -------
    Desroziers
        ``d_a^T d_b / p`` for the variance R and ``(d_b - d_a)^T d_b / tr(A^T A)`` for H B H^T. Departures are
        whitened, so observations of different units mix.

    Notes
    -----
    Source: Desroziers, Berre, Chapnik & Poli (2005), Q. J. R. Meteorol. Soc. 131, 3385, eqs. 3 and 2.
    """
    return Desroziers(*consistency(departures(forecast, observation), departures(analysis, observation))[1:])


def consistency(prior: Array, posterior: Array) -> tuple[Array, Array, Array]:
    """chi2 and Desroziers ratios from whitened departures (..., member, observation)."""
    xp = namespace(prior)
    members, size = prior.shape[-2:]
    innovation, residual = (xp.sum(whitened, axis=-2) / members for whitened in (prior, posterior))
    anomalies = (prior - innovation[..., None, :]) / math.sqrt(members - 1)
    variance = xp.sum(anomalies * anomalies, axis=(-2, -1))
    error = xp.vecdot(residual, innovation)
    gain = xp.vecdot(innovation, innovation) - error
    return _misfit(innovation, anomalies) / size, error / size, gain / variance


def _misfit(innovation: Array, anomalies: Array) -> Array:
    """``d^T (I + A^T A)^(-1) d = min_w |d - A^T w|^2 + |w|^2``, at ``w = (I + A A^T)^(-1) A d``."""
    xp = namespace(anomalies)
    column = innovation[..., None]
    transposed = xp.matrix_transpose(anomalies)
    members, size = anomalies.shape[-2:]
    identity = xp.eye(min(members, size), dtype=anomalies.dtype, device=anomalies.device)
    if size < members:
        return xp.vecdot(innovation, xp.linalg.solve(identity + transposed @ anomalies, column)[..., 0])
    weight = xp.linalg.solve(identity + anomalies @ transposed, anomalies @ column)
    rest, weight = (column - transposed @ weight)[..., 0], weight[..., 0]
    return xp.vecdot(rest, rest) + xp.vecdot(weight, weight)
