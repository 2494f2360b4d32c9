r"""What one cycle's observations say of the prior variance, for any law: the score of the evidence, likelihood ratios.

With eta what the linear part of the operator sees, m its forecast mean and x_j the analysis members,

    t_k = mean_j [ (eta_j - m)_k  d log p(y_k | eta) / d eta at eta_j ],        E t_k = 0 if prior and law are right,

and 1/2 sum_k t_k is the derivative of the log evidence by the log of the factor of the prior variance. Heavy tails,
censored and yes-or-no observations bound it by themselves. Its information is

    a_k = -cov_j(eta, score)_k in [0, 1],       I_k = 1/2 sum_l r2_kl a_k a_l,

r2 the squared correlations of the analysis, less what J members have by chance. Linear Gaussian: t_k is Desroziers'
statistic of B, a_k = analysis variance / error variance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ensf.arrays import Array, Record, centred, is_host, like, member_mean, namespace, rows
from ensf.observations.error_laws import IndependentLaw, is_independent
from ensf.observations.functions import PointwiseFunction, identity, identity_rows
from ensf.observations.joined_law import gaussian_rows
from ensf.observations.observation import Observation

__all__ = ["VARIANCE_RATIOS", "Sight", "score_of_evidence", "sight", "weigh"]

VARIANCE_RATIOS = np.array([1.0, 1.3, 1.7, 2.2, 3.0, 4.0, 5.5, 7.5, 10.0, 14.0, 20.0, 30.0])
"""Factors of the prior variance that are weighed against 1."""
NODES, REACH = 65, 22.0
BLOCK = 1000
"""Observations whose nodes are worked on at once: they stay in the processor's cache."""
CORRELATED = 300
"""Observations up to which their correlations are looked at."""


@dataclass(frozen=True, eq=False)
class Sight(Record):
    """Observations as functions of one number each: y_k ~ p(y_k | f_k(eta_k)).

    Attributes
    ----------
    value : (observation,) array
    function : PointwiseFunction
    law : IndependentLaw
    linear : (observation,) array of bool
        f is the identity and the law Gaussian.
    """

    value: Array
    function: PointwiseFunction
    law: IndependentLaw
    linear: np.ndarray

    def restrict(self, index: np.ndarray) -> Sight:
        """Of some of the observations."""
        law = self.law.restrict(index)
        assert is_independent(law)
        return Sight(rows(self.value, index), self.function.restrict(index), law, self.linear[index])

    def score(self, eta: Array) -> Array:
        """d log p / d eta of members ``(member, observation)``."""
        if self.function is identity:
            return self.law.score(self.value, eta)
        return self.law.score(self.value, self.function(eta)) * self.function.slope(eta)

    def each(self, eta: Array) -> Array:
        """log p at nodes ``(observation, node)``."""
        return self.law.column().each(self.value[:, None], self.function.column()(eta))


def sight(observation: Observation, columns: Array) -> tuple[Sight, Array]:
    """How a batch is looked at, and eta of members: the columns if h is pointwise in them, else h(x)."""
    law, part = observation.law, observation.part
    assert is_independent(law)
    gaussian = gaussian_rows(law, observation.size)
    if part.pointwise is None:
        return Sight(observation.value, identity, law, gaussian), part.function(columns)
    linear = gaussian & identity_rows(part.pointwise, observation.size)
    return Sight(observation.value, part.pointwise, law, linear), columns


def score_of_evidence(look: Sight, mean: Array, analysed: Array) -> tuple[Array, Array]:
    """t and I of each observation.

    Parameters
    ----------
    look : Sight
    mean : (observation,) array
        Of the forecast.
    analysed : (member, observation) array
        eta of the analysis.
    """
    xp, members = namespace(analysed), analysed.shape[0]
    score = look.score(analysed)
    centre, pull = member_mean(analysed), member_mean(score)
    anomalies = centred(analysed)
    covariance = member_mean(anomalies * (score - pull)) * (members / (members - 1))
    statistic = (centre - mean) * pull + covariance
    absorbed = xp.clip(-covariance, 0.0, 1.0)
    if analysed.shape[1] > CORRELATED or members < 3:
        return statistic, 0.5 * absorbed * absorbed
    length = xp.sqrt(xp.sum(anomalies * anomalies, axis=0))
    unit = anomalies / xp.where(length > 0, length, xp.ones_like(length))
    square = xp.matmul(unit.T, unit) ** 2
    beyond_chance = xp.clip((square * (members - 1) - 1) / (members - 2), 0.0, 1.0)
    return statistic, 0.5 * absorbed * xp.matmul(beyond_chance, absorbed)


def weigh(look: Sight, mean: Array, variance: Array) -> tuple[Array, Array, Array]:
    """Other priors than N(mean, variance), weighed by each observation.

    Linear Gaussian: in closed form. The others by quadrature on nodes shared by all ratios, so that a likelihood
    narrower than their distance sees them alike.

    Returns
    -------
    ratios : (ratio, observation) array
        log p(y_k | prior variance r v_k) - log p(y_k | v_k) for each of `VARIANCE_RATIOS`.
    slope, curvature : (observation,) array
        Of log p(y_k) by the mean; the curvature with its sign changed.
    """
    linear, others = np.flatnonzero(look.linear), np.flatnonzero(~look.linear)
    block = BLOCK if is_host(mean) else max(len(others), 1)
    parts = [(_in_closed_form, linear)] if len(linear) else []
    parts += [(_by_quadrature, others[first : first + block]) for first in range(0, len(others), block)]
    if len(parts) == 1:
        logs, slope, curvature = parts[0][0](look, mean, variance)
    else:
        weighed = [verb(look.restrict(index), rows(mean, index), rows(variance, index)) for verb, index in parts]
        order = like(np.argsort(np.concatenate([index for _, index in parts])), mean)
        xp = namespace(mean)
        logs, slope, curvature = (
            xp.take(xp.concat(list(each), axis=-1), order, axis=-1) for each in zip(*weighed, strict=True)
        )
    return _finite(logs - logs[0, :]), _finite(slope), _finite(curvature)


def _in_closed_form(look: Sight, mean: Array, variance: Array) -> tuple[Array, Array, Array]:
    xp, logs = namespace(mean), []
    error = look.law.standard_deviation(look.value) ** 2
    innovation = look.value - mean
    for ratio in VARIANCE_RATIOS.tolist():
        total = ratio * variance + error
        logs.append(-0.5 * (xp.log(total) + innovation * innovation / total))
    return xp.stack(logs), innovation / (variance + error), 1 / (variance + error)


def _by_quadrature(look: Sight, mean: Array, variance: Array) -> tuple[Array, Array, Array]:
    xp, logs = namespace(mean), []
    unit = np.sinh(np.linspace(-math.asinh(REACH), math.asinh(REACH), NODES))
    log_width = 0.5 * np.log(1 + unit**2)
    spread = xp.sqrt(variance)
    log_density = look.each(mean[:, None] + spread[:, None] * like(unit, mean))
    slope, curvature = xp.zeros_like(mean), xp.zeros_like(mean)
    for ratio in VARIANCE_RATIOS.tolist():
        weighted = log_density + like(log_width - 0.5 * unit**2 / ratio - 0.5 * math.log(ratio), mean)
        top = xp.max(weighted, axis=-1, keepdims=True)
        mass = xp.exp(weighted - top)
        total = xp.sum(mass, axis=-1)
        logs.append(top[:, 0] + xp.log(total))
        if ratio == 1:
            safe = xp.where(variance > 0, variance, xp.ones_like(variance))
            tilted = xp.sum(mass * like(unit, mean), axis=-1) / total
            square = xp.sum(mass * like(unit**2, mean), axis=-1) / total - tilted * tilted
            slope, curvature = tilted / xp.sqrt(safe), (1 - square) / safe
    return xp.stack(logs), slope, curvature


def _finite(numbers: Array) -> Array:
    xp = namespace(numbers)
    return xp.where(xp.isfinite(numbers), numbers, xp.zeros_like(numbers))
