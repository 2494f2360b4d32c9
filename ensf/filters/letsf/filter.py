r"""The local ensemble transform score filter (LETSF).

Diffuse with the ensemble's own covariance B = A^T A / (J - 1) on the clock alpha^2 + beta^2 = 1. The latent code of
forecast member j is member j itself, and the probability flow carries u(0) = forecast to u(1) = analysis by

    du_j / dalpha = B H^T (R + (1 - alpha^2) H B H^T)^{-1} (y_j - H [m + alpha (u_j - m)]).                        (*)

For nonlinear pointwise observations y_j and R are pseudo-observations that carry the exact scalar likelihood score
(`ensf.filters.letsf.tilted_moments`), so R is diagonal. With frozen (y, R) the flow has exact steps
(`ensf.filters.letsf.flow`). For linear h one step is the symmetric square-root filter: with patches, the LETKF.

Every place sees its own patch of observations, tapered; predicted observations are read from the assembled state
between steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ensf.arrays import Array, Generator, namespace
from ensf.filters.base import Analysis, check_predicted, check_prior
from ensf.filters.kalman.filters import observed_positions
from ensf.filters.kalman.unresolved import UnresolvedVariance, check_fraction
from ensf.filters.letsf.flow import exponential_step
from ensf.filters.letsf.tilted_moments import tilted_moments
from ensf.localization import Localization, Patches
from ensf.localization.information_limit import InformationLimit
from ensf.observations.error_laws import Gaussian, Independent
from ensf.observations.functions import identity
from ensf.observations.observation import Observation
from ensf.observations.operators import Identity, Linear, Pointwise, Select

__all__ = ["LETSF"]

PRECISION_FLOOR = 1e-3


@dataclass(frozen=True)
class LETSF:
    """Local ensemble transform score filter.

    Parameters
    ----------
    localization : Localization, optional
        Where the state variables are and how far an observation reaches; None = every observation everywhere.
    steps : int
        Steps in alpha for nonlinear observations; linear ones need one.
    information_limit : InformationLimit, optional
        Narrows each patch until it holds no more information than the members can absorb.
    unresolved_variance : float
        Variance of a white prior error outside the span of the members, as a part of the ensemble variance
        (`ensf.filters.kalman.unresolved`); observations must then see one variable each.

    Notes
    -----
    Each step costs one symmetric eigenproblem of the size of the ensemble per place and three products of its patch;
    nonlinear observations add about 130 evaluations of the scalar operator per observation and member.
    """

    localization: Localization | None = None
    steps: int = 2
    information_limit: InformationLimit | None = None
    unresolved_variance: float = 0.0

    def __post_init__(self) -> None:
        check_fraction(self.unresolved_variance)

    def analyse(self, prior: Array, observation: Observation, rng: Generator, memory: Any = None) -> Analysis:
        """Analysis ensemble ``(member, state)``; `info` has the degrees of freedom by variable (of the first step).

        Raises
        ------
        ValueError
            If the prior, the predicted observations or the error law do not fit, if observation errors are
            correlated, if the place of an observation is unknown, or if a remainder meets observations that see
            several variables, or a variable several times.
        """
        check_prior(prior, observation)
        observation = observation.present(prior.dtype)
        if observation.size == 0:
            return Analysis(prior, memory)
        check_predicted(observation.operator(prior[:1, :]), observation)
        xp = namespace(prior)
        mean = xp.mean(prior, axis=0)
        anomalies = (prior - mean) / math.sqrt(prior.shape[0] - 1)
        patches = self._patches(observation, prior.shape[1])
        rest = UnresolvedVariance.of(self.unresolved_variance, prior, observation)
        sensor = _sensor(observation, 0.0 if rest is None else rest.seen)
        ensemble, grid, freedom = prior, [0.0, 1.0], None
        for k in range(self.steps if sensor.nonlinear else 1):
            seen = sensor.look(prior, ensemble, grid[k])
            if k == 0 and sensor.nonlinear:
                grid = alpha_grid(self.steps, float(xp.max(seen.precision * xp.sum(seen.anomalies**2, axis=0))))
            if k == 0 and self.information_limit is not None and self.localization is not None:
                whitened = seen.anomalies * xp.sqrt(seen.precision)
                patches = self.information_limit.narrow(patches, self.localization.half_width, whitened)
            increment, taken = seen.step(anomalies, patches, grid[k], grid[k + 1])
            ensemble, freedom = ensemble + increment, taken if freedom is None else freedom
        if rest is not None:
            ensemble = rest.settle(ensemble, sensor.moments)
        return Analysis(ensemble, memory, {"degrees_of_freedom": freedom})

    def _patches(self, observation: Observation, size: int) -> Patches:
        if self.localization is None:
            everything = np.arange(observation.size)
            return Patches(
                np.arange(size)[None, :],
                np.array([0, observation.size]),
                everything,
                np.zeros(observation.size),
                np.ones(observation.size),
            )
        return self.localization.patches(observed_positions(observation, self.localization, size))


def alpha_grid(steps: int, largest: float) -> list[float]:
    """alpha_0 = 0 ... alpha_n = 1; log(1 + (1 - alpha^2) l) falls as 1 - (k / n)^(3/2), l the largest eigenvalue."""
    if largest == 0:
        return [k / steps for k in range(steps + 1)]
    v = [(1 + largest) ** (1 - (k / steps) ** 1.5) for k in range(steps + 1)]
    return [math.sqrt(max(0.0, 1 - (x - 1) / largest)) for x in v[:-1]] + [1.0]


# --- what the observations say about the flow ------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Look:
    """Coefficients of a step: S before whitening (J, p), precision (p,), y_j - Hm (J or 1, p), H(u_j - m) (J, p).

    Without displacement the members are still those of the prior.
    """

    anomalies: Array
    precision: Array
    departure: Array
    displacement: Array | None = None

    def step(self, anomalies: Array, patches: Patches, start: float, end: float) -> tuple[Array, Array]:
        """Change of the ensemble ``(member, state)`` from alpha = start to end, and degrees of freedom."""
        root = namespace(anomalies).sqrt(self.precision)
        parts = (part * root for part in (self.anomalies, self.departure, self.displacement) if part is not None)
        return exponential_step(anomalies, namespace(anomalies).concat(list(parts), axis=0).T, patches, start, end)


def _sensor(observation: Observation, rest: Any = 0.0) -> Any:
    """How the observations are looked at; `rest` is the variance of eta = L x that the members do not span."""
    operator, law = observation.operator, observation.law
    if not isinstance(law, Independent):
        raise ValueError("LETSF needs independent observation errors: give standard deviations, or use ETKF")
    if isinstance(operator, Identity | Select | Linear) and isinstance(law, Gaussian):
        return _LinearSensor(observation, rest)
    if isinstance(operator, Pointwise):
        return _PointwiseSensor(observation, operator.linear, operator.function, rest)
    if isinstance(operator, Identity | Select | Linear):
        return _PointwiseSensor(observation, operator, identity, rest)
    return _RegressedSensor(observation)


@dataclass(frozen=True, eq=False)
class _LinearSensor:
    observation: Observation
    rest: Any = 0.0
    nonlinear = False

    def look(self, prior: Array, ensemble: Array, alpha: float) -> _Look:
        mean, anomalies = _predict(self.observation.operator, prior)
        return _Look(anomalies, 1 / (self._variance + self.rest), (self.observation.value - mean)[None, :])

    def moments(self, centre: Array, spread: Array) -> tuple[Array, Array]:
        """Mean and variance of N(centre, spread^2) times the likelihood."""
        gain = spread**2 / (spread**2 + self._variance)
        return centre + gain * (self.observation.value - centre), (gain * self._variance)[None, :]

    @property
    def _variance(self) -> Array:
        return self.observation.law.standard_deviation(self.observation.value) ** 2


@dataclass(frozen=True, eq=False)
class _PointwiseSensor:
    """Pseudo-observations of eta = L x that carry the tilted moments of p(y | f(eta))."""

    observation: Observation
    linear: Any
    function: Any
    rest: Any = 0.0
    nonlinear = True

    def look(self, prior: Array, ensemble: Array, alpha: float) -> _Look:
        xp = namespace(prior)
        mean, anomalies = _predict(self.linear, prior)
        displacement = self.linear(ensemble) - mean if alpha > 0 else None
        centre = mean[None, :] if displacement is None else mean + alpha * displacement
        spread = xp.sqrt((1 - alpha**2) * xp.sum(anomalies * anomalies, axis=0) + self.rest)
        spread = xp.where(spread > 0, spread, xp.ones_like(spread))  # what is certain has no anomalies to move
        tilted, variance = self.moments(centre, spread)
        prior_precision = spread**-2
        precision = 1 / xp.mean(variance, axis=0) - prior_precision
        precision = xp.maximum(precision, PRECISION_FLOOR * prior_precision)
        pseudo = centre + (tilted - centre) * (1 + prior_precision / precision)
        return _Look(anomalies, _beside(precision, self.rest), pseudo - mean, displacement)

    def moments(self, centre: Array, spread: Array) -> tuple[Array, Array]:
        """Mean and variance of N(centre, spread^2) times the likelihood."""
        value, law, function = self.observation.value, self.observation.law, self.function

        def log_likelihood(states: Array, part: slice) -> Array:
            whole, index = part.stop - part.start == value.shape[0], np.arange(part.start, part.stop)
            here, seen = (one if whole else one.restrict(index) for one in (law, function))
            return here.column().each(value[part, None], seen.column()(states))

        return tilted_moments(log_likelihood, centre, namespace(centre).broadcast_to(spread, centre.shape))


@dataclass(frozen=True, eq=False)
class _RegressedSensor:
    """Statistical linearisation over the ensemble, anew at every step."""

    observation: Observation
    nonlinear = True

    def look(self, prior: Array, ensemble: Array, alpha: float) -> _Look:
        xp, operator = namespace(prior), self.observation.operator
        precision = 1 / self.observation.law.standard_deviation(self.observation.value) ** 2
        if alpha == 0:
            expected, anomalies = _predict(operator, prior)
            return _Look(anomalies, precision, (self.observation.value - expected)[None, :])
        mean = xp.mean(prior, axis=0)
        shrink = math.sqrt(1 - alpha**2)
        centre = mean + alpha * (xp.mean(ensemble, axis=0) - mean)
        expected, anomalies = _predict(operator, centre + shrink * (prior - mean))
        shifted = operator(mean + alpha * (ensemble - mean))
        shifted = shifted + expected - xp.mean(shifted, axis=0)
        displacement = (operator(centre + shrink * (ensemble - xp.mean(ensemble, axis=0))) - expected) / shrink
        displacement = displacement + (expected - xp.mean(operator(prior), axis=0)) / alpha
        departure = self.observation.value - shifted + alpha * displacement
        return _Look(anomalies / shrink, precision, departure, displacement)


def _beside(precision: Array, rest: Any) -> Array:
    """Precision of observations of p where that of p + w is given and w has the variance `rest`."""
    return precision if isinstance(rest, float) else precision / (1 + rest * precision)


def _predict(operator: Any, ensemble: Array) -> tuple[Array, Array]:
    """Mean and anomalies over sqrt(J - 1) of the predicted observations."""
    predicted = operator(ensemble)
    mean = namespace(ensemble).mean(predicted, axis=0)
    return mean, (predicted - mean) / math.sqrt(ensemble.shape[0] - 1)
