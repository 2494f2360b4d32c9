r"""The EnKF with localized covariances (Schur product), for few observations.

With Y the predicted anomalies over ``sqrt(J - 1)``, R the covariance of the errors, e_j ~ N(0, R), and rho the taper of
the localization between variables (x) and observations (y),

    x_j <- x_j + (rho_xy o A^T Y) Z_j,      Z_j = (rho_yy o Y^T Y + R)^{-1} (y + e_j - h(x_j)).

Z is computed once, from a system of the size of the observations; each entry then takes its own row of the gain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from ensf.arrays import Array, Generator, centred, is_host, like, member_mean, namespace, stream, to_numpy
from ensf.filters.base import Memory, Prepared, Update
from ensf.filters.local import LocalUpdate, check_local
from ensf.localization import Localization, Patches
from ensf.localization.information_limit import degrees_of_freedom
from ensf.localization.localization import check_localization
from ensf.observations.error_laws import is_gaussian
from ensf.observations.observation import Observation

__all__ = ["SchurEnKF"]


@dataclass(frozen=True)
class SchurEnKF(Prepared):
    """Stochastic ensemble Kalman filter whose covariances are multiplied by a taper.

    Source: Houtekamer & Mitchell (2001), MWR 129, 123, eq. 6; perturbed observations have mean zero over the members.
    Errors may be correlated in any way. The cost grows with the third power of the number of observations.

    Parameters
    ----------
    localization : Localization
    """

    localization: Localization

    def __post_init__(self) -> None:
        check_localization(self.localization, "SchurEnKF")

    def prepare(self, predicted: Array, observation: Observation, rng: Generator, memory: Memory = None) -> Update:
        """What each observation, given all others, says of each member.

        Raises
        ------
        ValueError
            If the errors are not Gaussian, or the place of an observation is unknown.
        """
        observation.check_resolved(predicted)
        position = check_local(observation, self.localization, "SchurEnKF", correlated=True)
        law = observation.law
        value = observation.value
        xp = namespace(predicted)
        if not is_gaussian(law):
            raise ValueError("SchurEnKF needs Gaussian errors: give standard deviations, Grouped or Correlated")
        values, error = observation.part.function(predicted), law.standard_deviation(value)
        anomalies = centred(values) / math.sqrt(values.shape[0] - 1)
        noise = law.draw(0 * values, stream(rng, predicted))
        departures = value + noise - member_mean(noise) - values
        assert position is not None
        near = self.localization.patches(position, position)
        taper = np.zeros((observation.size, observation.size))
        place = near.slots // near.variables.shape[1]
        for k in range(observation.size):
            own = slice(near.indptr[place[k]], near.indptr[place[k] + 1])
            taper[k, near.index[own]] = near.weight[own]
        system = like(taper, anomalies) * xp.matmul(anomalies.T, anomalies) + law.covariance(value)
        return SchurUpdate(
            memory,
            localization=self.localization,
            information_limit=None,
            position=position,
            anomalies=anomalies / error,
            pulls=xp.linalg.solve(system, departures.T) * error[:, None],
        )


@dataclass(frozen=True, eq=False)
class SchurUpdate(LocalUpdate):
    """A row of the gain for each entry.

    Attributes
    ----------
    pulls : (observation, member) array
        Z, times the standard deviations of the errors.
    """

    pulls: Array = field(kw_only=True)

    def increments(self, anomalies: Array, patches: Patches) -> tuple[Array, Array]:
        """Change of members with these prior anomalies, and the degrees of freedom that an LETKF would take."""
        scaled = anomalies / math.sqrt(anomalies.shape[0] - 1)
        freedom = like(degrees_of_freedom(patches, patches.weight, self.anomalies), anomalies)
        place = like(patches.slots // patches.variables.shape[1], anomalies)
        freedom = namespace(anomalies).take(freedom, place)
        if not is_host(anomalies):
            return self._batched(scaled, patches), freedom
        from ensf.filters.kalman.schur_loops import gained

        increments = np.zeros_like(anomalies)
        predicted = np.ascontiguousarray(to_numpy(self.anomalies).T, dtype=np.float64)
        pulls = np.ascontiguousarray(self.pulls, dtype=np.float64)
        near = patches.variables, patches.indptr, patches.index, patches.weight
        gained(scaled, predicted, pulls, *near, increments)
        return increments, freedom

    def _batched(self, anomalies: Array, patches: Patches) -> Array:
        xp = namespace(anomalies)
        index, weight = (like(part, anomalies) for part in patches.padded)
        members = anomalies.shape[0]
        local = xp.take(anomalies, like(patches.variables.ravel(), anomalies), axis=1)
        local = xp.reshape(local.T, (*patches.variables.shape, members))
        predicted, pulls = (
            xp.reshape(xp.take(part, xp.reshape(index, (-1,)), axis=0), (*index.shape, members))
            for part in (self.anomalies.T, self.pulls)
        )
        gain = xp.matmul(local, xp.matrix_transpose(predicted)) * weight[:, None, :]
        increments = xp.reshape(xp.matmul(gain, pulls), (-1, members))
        return xp.take(increments, like(patches.slots, anomalies), axis=0).T

    def restrict(self, index: np.ndarray) -> SchurUpdate:
        """With the observations at `index` alone: what the others say is in Z already."""
        pulls = namespace(self.pulls).take(self.pulls, like(index, self.pulls), axis=0)
        return replace(super().restrict(index), pulls=pulls)
