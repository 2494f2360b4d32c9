"""Optimal interpolation: variances of the ensemble, and a correlation that is a function of distance.

With prior mean m, standard deviation s of each variable over the members, d_ij the distance of two variables, and H the
operator linearised at m,

    B_ij = s_i s_j (1 + d_ij / L) exp(-d_ij / L) G(d_ij / c),
    K    = B H^T (H B H^T + R)^{-1},   mean <- m + K (y - h(m)),   variance <- diag(B - K H B).

The correlation is autoregressive of second order (Daley 1991, Atmospheric Data Analysis, section 4.3); G is the taper
of the localization with half-width c, 1 if that is infinite.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from ensf.arrays import Array, Generator, like, member_mean, member_variance, namespace
from ensf.arrays.settings import check_settings
from ensf.filters.base import Analysis, Memory, refuse_predictions, usable
from ensf.filters.guarded import guarded
from ensf.localization.localization import Localization, check_localization
from ensf.localization.taper import gaspari_cohn
from ensf.observations.error_laws import is_gaussian
from ensf.observations.observation import Observation

__all__ = ["OptimalInterpolation"]

AT_ONCE = 2**20
"""Pairs of variables whose distances are there at once."""
ROUNDING = 1e-6
"""How far below 0 an eigenvalue of a correlation may be."""


@dataclass(frozen=True)
class OptimalInterpolation:
    """Linear analysis with a static correlation; of the ensemble it takes mean and standard deviations.

    The analysis members are the anomalies of the prior, scaled to the analysis variance of each variable. Needs the
    memory of two ``(state, state)`` arrays: for states of up to some ten thousand variables.

    Parameters
    ----------
    localization : Localization
        What distance means, and where correlations end (infinity = nowhere).
    length : float
        L, in the unit of the geometry's distance; on a ring or sphere short against half of its circumference, beyond
        which the correlation is no longer positive definite, and refused.

    Raises
    ------
    ValueError
        If the length is not positive.
    """

    localization: Localization
    length: float
    remembers: ClassVar[type | None] = None

    def __post_init__(self) -> None:
        check_settings(self)
        check_localization(self.localization, "OptimalInterpolation")
        if not 0 < self.length < np.inf:
            raise ValueError(f"correlation length is {self.length}: give a positive length")

    def correlation(self, positions: np.ndarray) -> np.ndarray:
        """Correlation of each pair of variables, ``(state, state)``, 0 beyond the support of the taper.

        Raises
        ------
        ValueError
            If it is not positive definite.
        """
        points = np.ascontiguousarray(positions, dtype=np.float64)
        return _correlation(self.localization, self.length, points.tobytes(), points.shape)

    @guarded
    def analyse(
        self,
        prior: Array,
        observation: Observation,
        rng: Generator | int | None,
        memory: Memory = None,
        positions: np.ndarray | None = None,
        predicted: Array | None = None,
    ) -> Analysis:
        """Analysis ensemble ``(member, state)``.

        Raises
        ------
        ValueError
            If the prior, the predicted observations or the positions do not fit, the error law is not Gaussian, or
            the correlation is not positive definite.
        """
        refuse_predictions(predicted, self)
        prior, observation, positions = usable(prior, observation, positions)
        if observation.size == 0:
            return Analysis(prior, memory)
        law = observation.law
        if not is_gaussian(law):
            raise ValueError("OptimalInterpolation needs Gaussian errors: give standard deviations, or use LETSF")
        xp = namespace(prior)
        operator = observation.operator
        observation.check_resolved(observation.predict(prior))
        mean, deviation = member_mean(prior), xp.sqrt(member_variance(prior))
        covariance = deviation[:, None] * like(self.correlation(positions), prior) * deviation
        across = operator.tangent(mean, covariance)
        system = operator.tangent(mean, across.T) + law.covariance(observation.value)
        gain = xp.linalg.solve(system, across.T).T
        centre = mean + gain @ (observation.value - operator(mean))
        variance = xp.where(deviation > 0, deviation**2, xp.ones_like(deviation))
        remaining = xp.clip(1 - xp.sum(gain * across, axis=1) / variance, 0.0, None)
        return Analysis(centre + xp.sqrt(remaining) * (prior - mean), memory)


@lru_cache(maxsize=1)
def _correlation(localization: Localization, length: float, points: bytes, shape: tuple[int, int]) -> np.ndarray:
    """`OptimalInterpolation.correlation` at the places of the last cycle; it is not to be written to."""
    positions = np.frombuffer(points).reshape(shape)
    size = shape[0]
    half_width = localization.half_width
    correlation = np.empty((size, size))
    step = max(1, AT_ONCE // size)
    for first in range(0, size, step):
        near = localization.geometry.pairs(positions[first : first + step], positions, 2 * half_width)
        ratio = near.data / length
        near.data = (1 + ratio) * np.exp(-ratio) * gaspari_cohn(near.data, half_width)
        correlation[first : first + step] = near.toarray()
    try:
        np.linalg.cholesky(correlation + ROUNDING * np.eye(size))
    except np.linalg.LinAlgError as error:
        raise ValueError(
            f"the correlation of OptimalInterpolation with length {length} is not positive definite at these "
            "positions: give a length that is short against half of the way around"
        ) from error
    correlation.flags.writeable = False
    return correlation
