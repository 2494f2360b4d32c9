"""LETKF: an ETKF at every place, from the observations near it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from ensf.arrays import Array, Generator, centred, like, namespace
from ensf.arrays.settings import check_settings
from ensf.filters.base import Memory, Prepared, Update
from ensf.filters.kalman.filters import whitened
from ensf.filters.kalman.local_transform import local_transform
from ensf.filters.kalman.unresolved import check_fraction, observed_entries, resolved
from ensf.filters.local import LocalUpdate, check_local, check_localized
from ensf.filters.patch_whitening import in_whitened_patches
from ensf.localization import ByCorrelation, Localization, Patches, PatchLimit
from ensf.observations.error_laws import is_gaussian
from ensf.observations.observation import Observation

__all__ = ["LETKF"]


@dataclass(frozen=True)
class LETKF(Prepared):
    """Local ensemble transform Kalman filter with localized observation precision.

    Source: Hunt, Kostelich & Szunyogh (2007), Physica D 230, 112, section 2.3; symmetric square root.

    Parameters
    ----------
    localization : Localization or ByCorrelation
        How far an observation reaches.
    information_limit : InformationLimit or CountLimit, optional
        Narrows each patch until it holds no more information than the members can absorb, or so many observations.
    unresolved_variance : float
        Variance of a white prior error outside the span of the members, as a part of the ensemble variance
        (`ensf.filters.kalman.unresolved`); observations must then see one variable each.
    """

    localization: Localization | ByCorrelation
    information_limit: PatchLimit | None = None
    unresolved_variance: float = 0.0

    def __post_init__(self) -> None:
        check_settings(self)
        check_localized(self.localization, self.information_limit, self.unresolved_variance, "LETKF")
        check_fraction(self.unresolved_variance)

    def prepare(self, predicted: Array, observation: Observation, rng: Generator, memory: Memory = None) -> Update:
        """Whitened anomalies and innovations, for the places that are to come.

        Raises
        ------
        ValueError
            If errors are not Gaussian, the place of an observation is unknown, or, with unresolved
            variance, an observation reads several variables, or a variable is read several times.
        """
        observation = observation.decorrelated()
        position = check_local(observation, self.localization, "LETKF", correlated=True)
        if not observation.law.is_gaussian:
            raise ValueError(
                "LETKF needs Gaussian errors: give standard deviations, Grouped or Correlated, or use LETSF for others"
            )
        anomalies, innovation = whitened(predicted, observation.marginal())
        entries = observed_entries(self.unresolved_variance, observation)
        xp = namespace(anomalies)
        if entries is not None:
            total = xp.sqrt(1 + self.unresolved_variance * xp.sum(anomalies * anomalies, axis=0))
            anomalies, innovation = anomalies / total, innovation / total
        update = LETKFUpdate(
            memory,
            localization=self.localization,
            information_limit=self.information_limit,
            position=position,
            anomalies=anomalies,
            group=observation.group,
            correlation=observation.correlation,
            innovation=innovation,
        )
        if entries is None:
            return update
        moments = partial(_regressed_moments, self.unresolved_variance, observation, predicted)
        return resolved(update, self.unresolved_variance, entries, predicted, moments)


@dataclass(frozen=True, eq=False)
class LETKFUpdate(LocalUpdate):
    """Symmetric square root at every place.

    Attributes
    ----------
    innovation : (observation,) array
        Whitened.
    """

    innovation: Array = field(kw_only=True)

    def increments(self, anomalies: Array, patches: Patches) -> tuple[Array, Array]:
        """Change of members with these prior anomalies, and degrees of freedom."""
        if self.correlation is None:
            return local_transform(anomalies, self.anomalies, self.innovation, patches)

        def transform(anomalies: Array, rows: Array, patches: Patches) -> tuple[Array, Array]:
            return local_transform(anomalies, rows[:, :-1].T, rows[:, -1], patches)

        rows = namespace(self.anomalies).concat([self.anomalies, self.innovation[None, :]]).T
        return in_whitened_patches(transform, anomalies, rows, self.correlation, patches)

    def restrict(self, index: np.ndarray) -> LETKFUpdate:
        """With the observations at `index` alone."""
        innovation = namespace(self.innovation).take(self.innovation, like(index, self.innovation))
        return replace(super().restrict(index), innovation=innovation)


def _regressed_moments(
    fraction: float, observation: Observation, predicted: Array, centre: Array, spread: Array
) -> tuple[Array, Array]:
    """Mean for each member and variance of N(p, c^2) times the likelihood, by regression of h on each variable."""
    xp = namespace(predicted)
    anomalies, _ = whitened(predicted, observation)
    variance = xp.sum(anomalies * anomalies, axis=0)
    shared = xp.sum(centred(predicted) * anomalies, axis=0) / math.sqrt(predicted.shape[0] - 1)
    slope = shared / xp.clip(variance, xp.finfo(variance.dtype).smallest_normal, None)
    lacking = fraction * variance
    gain = slope * lacking / (1 + lacking)
    unrelated = xp.clip(spread**2 - slope**2 * lacking, 0.0, None)  # what h says nothing of
    assert is_gaussian(observation.law)
    departures = observation.law.whiten(observation.value - observation.part.function(centre))
    return centre + gain * departures, unrelated + slope * gain
