"""Finite-size inflation (EnKF-N): the factor of the prior anomalies is estimated anew at every analysis.

J members know the covariance of the forecast error only up to sampling errors. Integrating over the covariances that
they allow leaves one scalar to be found, the factor f of the prior anomalies (inflation), which minimises

    D(f) = d^T (I + f^2 S^T S)^{-1} d + (J - 1) e / f^2 + (J + g) log f^2,        e = 1 + 1 / J,

    S = R^{-1/2} (h(x_j) - mean) / sqrt(J-1)  (member x observation),    d = R^{-1/2} (y - mean of h(x_j)),

with g the number of directions in ensemble space that change no state. Without information from observations the
minimum is at f^2 = m = (J - 1) e / (J + g); the prior anomalies ought then to stay as they are, so the second term is
divided by, and the third multiplied by, m^(q/2), where q = mean of 1 / (1 + l) over the J eigenvalues l of S S^T is
the share of the prior in the analysis (*mode correction*: f^2 = m^(1-q) without information). In the basis of S S^T,
with b = Q^T S d, the first term is a constant minus f^2 sum b^2 / (1 + f^2 l).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ensf.arrays import Array, Generator, to_numpy
from ensf.filters.base import Analysis, Memory, Update
from ensf.filters.kalman.filters import whitened
from ensf.filters.weights import spectrum
from ensf.observations.observation import Observation
from ensf.wrappers.base import Wrapper
from ensf.wrappers.spread import InflatedForecast, scaled

__all__ = ["FiniteSize", "finite_size_factor"]

GRID = np.linspace(-0.05, 20.0, 402)  # log f^2 from just below its lower bound


@dataclass(frozen=True)
class FiniteSize(Wrapper):
    """Wrapper: prior anomalies are multiplied by the finite-size factor; ``FiniteSize(ETKF())`` is the EnKF-N.

    Source: Bocquet (2011), NPG 18, 735; in the dual form of Bocquet, Raanes & Hannart (2015), NPG 22, 645, with the
    mode correction of its eq. 36. It accounts for sampling errors; a model error still needs inflation of its own.

    Parameters
    ----------
    filter : Filter
        A filter without localization.
    certainty : float
        Multiplies the last two terms of D: how much better the members know the covariance than random draws would;
        1 = not better, as with strongly nonlinear dynamics.
    redundancy : int
        g: 1 if there are fewer members than variables (a shift of all weights changes no state), else members minus
        variables. With the mode correction its effect is small.
    """

    certainty: float = 1.0
    redundancy: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.certainty > 0 and self.redundancy >= 0):
            raise ValueError(f"{self}: give a positive certainty and a redundancy of 0 or more")

    def _prepare(self, predicted: Array, observation: Observation, rng: Generator, memory: Memory = None) -> Update:
        factor = self._factor(predicted, observation)
        update = self._inner(scaled(predicted, factor), observation, rng, memory)
        return InflatedForecast(update.memory, {**update.info, "inflation": factor}, update=update, factor=factor)

    def _analyse_whole(
        self, prior: Array, observation: Observation, rng: Generator, memory: Memory, positions: np.ndarray
    ) -> Analysis:
        factor = self._factor(observation.predict(prior), observation)
        analysis = self.filter.analyse(scaled(prior, factor), observation, rng, memory, positions)
        return replace(analysis, info={**analysis.info, "inflation": factor})

    def _factor(self, predicted: Array, observation: Observation) -> float:
        anomalies, innovation = whitened(predicted, observation)
        _, values, pulls = spectrum(anomalies, innovation)
        values, pulls = to_numpy(values).astype(float), to_numpy(pulls).astype(float) ** 2
        return finite_size_factor(values, pulls, predicted.shape[0], self.certainty, self.redundancy)


def finite_size_factor(
    values: np.ndarray, pulls: np.ndarray, members: int, certainty: float = 1.0, redundancy: int = 1
) -> float:
    """The factor f that minimises D: the lowest point of a grid in log f^2, then refined.

    Parameters
    ----------
    values : (direction,) array
        Eigenvalues l of ``S S^T``; those left out count as zero.
    pulls : (direction,) array
        b^2.
    members : int
        J.
    certainty, redundancy
        As in `FiniteSize`.
    """
    prior_share = 1 - np.sum(values / (1 + values)) / members
    mode = (members - 1) * (1 + 1 / members) / (members + redundancy)
    weight = certainty * (members + redundancy) * mode ** (prior_share / 2)
    mode = mode ** (1 - prior_share)

    def cost(log_square: np.ndarray) -> np.ndarray:
        inverse = np.exp(-log_square)
        return weight * (mode * inverse + log_square) - np.sum(pulls / (inverse[..., None] + values), axis=-1)

    def slope(log_square: float) -> float:
        inverse = math.exp(-log_square)
        return weight * (1 - mode * inverse) - inverse * np.sum(pulls / (inverse + values) ** 2)

    from scipy.optimize import brentq

    grid = math.log(mode) + GRID
    lowest = int(np.argmin(cost(grid)))
    if lowest == GRID.size - 1:
        return math.exp(grid[lowest] / 2)
    return math.exp(brentq(slope, grid[lowest - 1], grid[lowest + 1], xtol=1e-14) / 2)
