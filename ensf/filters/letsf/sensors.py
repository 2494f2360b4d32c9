"""What the observations say about the flow: coefficients of a step, from what the members predict.

    linear       h(x) = L x, Gaussian errors         y itself
    pointwise    h(x)_k = f((L x)_k), any law        pseudo-observations of eta = L x that carry the tilted moments of
                                                     p(y | f(eta)) under the Gaussian of the members
    regressed    f of several columns,               statistical linearisation over the members, anew at every step
                 or correlated errors

A function of several columns with errors that are not Gaussian is pointwise in eta = h(x).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from ensf.arrays import Array, centred, mean_departure, member_mean, namespace, to_numpy
from ensf.diffusion.tilted_moments import tilted_moments
from ensf.observations.error_laws import is_independent
from ensf.observations.functions import PointwiseFunction, identity
from ensf.observations.grouped import WhitenedFunction
from ensf.observations.observation import Observation

__all__ = ["Look", "Sensor", "sensor_of"]

PRECISION_FLOOR = 1e-3


@dataclass(frozen=True, eq=False)
class Look:
    """Coefficients of a step, before whitening.

    Attributes
    ----------
    anomalies : (member, observation) array
        Predicted, of the prior, over ``sqrt(J - 1)``.
    precision : (observation,) array
    departure : (1 or member, observation) array
        y_j - H m.
    displacement : (member, observation) array, optional
        H (u_j - m); None while the members are those of the prior.
    """

    anomalies: Array
    precision: Array
    departure: Array
    displacement: Array | None = None

    @property
    def rows(self) -> Array:
        """Whitened, ``(observation, column)``, as `ensf.filters.letsf.flow.exponential_step` takes them."""
        xp = namespace(self.anomalies)
        root = xp.sqrt(self.precision)
        parts = [part * root for part in (self.anomalies, self.departure, self.displacement) if part is not None]
        return xp.concat(parts, axis=0).T


class Sensor(Protocol):
    """How the observations are looked at."""

    is_nonlinear: ClassVar[bool]

    @property
    def columns(self) -> Array:
        """What the members of the prior predict, ``(member, column)``: what the flow moves."""

    @property
    def position(self) -> np.ndarray | None:
        """Where each column is, ``(column, dimension)``; None if that is not known."""

    def look(self, moved: Array, alpha: float) -> Look:
        """Coefficients at alpha for columns that have moved."""

    def moments(self, centre: Array, spread: Array) -> tuple[Array, Array]:
        """Means ``(member, observation)`` of N(centre, spread^2) times the likelihood, and their mean variance."""

    def weight(self, moved: Array) -> Array | None:
        """What a law that bounds influence makes of each observation beside these members, ``(observation,)``.

        1 is full weight; None if the law bounds none.
        """


def sensor_of(observation: Observation, predicted: Array, unresolved: Array | float = 0.0) -> Sensor:
    """The sensor of a batch of observations.

    Parameters
    ----------
    observation : Observation
    predicted : (member, column) array
        ``observation.predict(prior)``.
    unresolved : (observation,) array or 0.0
        Variance of eta that the members do not span.
    """
    if observation.part.exact and observation.law.is_gaussian:
        return _LinearSensor(observation, predicted, unresolved)
    if isinstance(observation.part.function, WhitenedFunction) and observation.part.function.is_linear:
        return _LinearSensor(observation, observation.part.function(predicted), unresolved)
    pointwise = observation.part.pointwise
    if pointwise is not None and observation.law.is_independent:
        return _PointwiseSensor(observation, predicted, pointwise, unresolved)
    if not observation.law.is_gaussian:
        return _PointwiseSensor(observation, observation.part.function(predicted), identity, unresolved)
    return _RegressedSensor(observation, predicted)


@dataclass(frozen=True, eq=False)
class _LinearSensor:
    observation: Observation
    columns: Array
    unresolved: Array | float
    is_nonlinear: ClassVar[bool] = False

    @property
    def position(self) -> np.ndarray | None:
        return _of_observations(self.observation)

    def look(self, moved: Array, alpha: float) -> Look:
        value = self.observation.value
        variance = self.observation.law.standard_deviation(value) ** 2
        _, anomalies = _moments(self.columns)
        return Look(anomalies, 1 / (variance + self.unresolved), mean_departure(value, self.columns)[None, :])

    def moments(self, centre: Array, spread: Array) -> tuple[Array, Array]:
        value = self.observation.value
        variance = self.observation.law.standard_deviation(value) ** 2
        gain = spread**2 / (spread**2 + variance)
        return centre + gain * (value - centre), gain * variance

    def weight(self, moved: Array) -> None:
        return None


@dataclass(frozen=True, eq=False)
class _PointwiseSensor:
    """Pseudo-observations of eta = L x that carry the tilted moments of p(y | f(eta))."""

    observation: Observation
    columns: Array
    function: PointwiseFunction
    unresolved: Array | float
    is_nonlinear: ClassVar[bool] = True

    @property
    def position(self) -> np.ndarray | None:
        return _of_observations(self.observation)

    def look(self, moved: Array, alpha: float) -> Look:
        xp = namespace(self.columns)
        mean, anomalies = _moments(self.columns)
        displacement = moved - mean if alpha > 0 else None
        centre = mean[None, :] if displacement is None else mean + alpha * displacement
        spread = xp.sqrt((1 - alpha**2) * xp.sum(anomalies * anomalies, axis=0) + self.unresolved)
        spread = xp.where(spread > 0, spread, xp.ones_like(spread))  # what is certain has no anomalies to move
        tilted, variance = self.moments(centre, spread)
        prior_precision = spread**-2
        precision = 1 / variance - prior_precision
        precision = xp.maximum(precision, PRECISION_FLOOR * prior_precision)
        pseudo = centre + (tilted - centre) * (1 + prior_precision / precision)
        return Look(anomalies, precision / (1 + self.unresolved * precision), pseudo - mean, displacement)

    def moments(self, centre: Array, spread: Array) -> tuple[Array, Array]:
        """By quadrature."""
        value = self.observation.value
        law = self.observation.law
        function = self.function
        xp = namespace(centre)
        assert is_independent(law)

        def log_likelihood(part: slice) -> Callable[[Array], Array]:
            whole = part.stop - part.start == value.shape[0]
            index = np.arange(part.start, part.stop)
            here = law if whole else law.restrict(index)
            assert is_independent(here)
            column, predicted = here.column(), (function if whole else function.restrict(index)).column()
            return lambda states: column.each(value[part, None], predicted(states))

        mean, variance = tilted_moments(
            log_likelihood, centre, xp.broadcast_to(spread, centre.shape), not law.is_gaussian
        )
        return mean, xp.mean(variance, axis=0)

    def weight(self, moved: Array) -> Array | None:
        assert is_independent(self.observation.law)
        weight = self.observation.law.weight(self.observation.value, self.function(moved))
        return None if weight is None else member_mean(weight)


@dataclass(frozen=True, eq=False)
class _RegressedSensor:
    """Statistical linearisation over the ensemble, anew at every step."""

    observation: Observation
    columns: Array
    is_nonlinear: ClassVar[bool] = True

    @property
    def position(self) -> np.ndarray | None:
        return self.observation.column_position

    def look(self, moved: Array, alpha: float) -> Look:
        value, function, prior = self.observation.value, self.observation.part.function, self.columns
        precision = 1 / self.observation.law.standard_deviation(value) ** 2
        if alpha == 0:
            _, anomalies = _moments(function(prior))
            return Look(anomalies, precision, mean_departure(value, function(prior))[None, :])
        mean, moved_mean = member_mean(prior), member_mean(moved)
        shrink = math.sqrt(1 - alpha**2)
        centre = mean + alpha * (moved_mean - mean)
        expected, anomalies = _moments(function(centre + shrink * (prior - mean)))
        shifted = function(mean + alpha * (moved - mean))
        shifted = shifted + expected - member_mean(shifted)
        displacement = (function(centre + shrink * (moved - moved_mean)) - expected) / shrink
        displacement = displacement + (expected - member_mean(function(prior))) / alpha
        departure = value - shifted + alpha * displacement
        return Look(anomalies / shrink, precision, departure, displacement)

    def moments(self, centre: Array, spread: Array) -> tuple[Array, Array]:
        raise NotImplementedError("observations of several variables are refused before")

    def weight(self, moved: Array) -> None:
        return None


def _of_observations(observation: Observation) -> np.ndarray | None:
    """Where observations with one column each are."""
    return None if observation.position is None else to_numpy(observation.position)


def _moments(predicted: Array) -> tuple[Array, Array]:
    """Mean and anomalies over ``sqrt(J - 1)``."""
    mean = member_mean(predicted)
    return mean, centred(predicted) / math.sqrt(predicted.shape[0] - 1)
