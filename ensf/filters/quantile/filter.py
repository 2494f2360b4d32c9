"""Quantile-conserving filter: one scalar observation after another, any error law, any marginal.

For each observation k with members eta_j of what it sees,

    eta_j -> F_a^{-1}(F(eta_j)),     F, F_a prior and posterior distribution functions (`marginals`),
    x_j   -> x_j + rho cov(x, eta) / var(eta) (change of eta_j),

for every state variable x within the localization and every eta of an observation still to come; rho is the
Gaspari-Cohn taper. Observations that are a pointwise function of a linear map, h(x)_k = f((L x)_k), are taken at
eta = (L x)_k with the likelihood p(y_k | f(eta)), others at eta = h(x)_k. In probit space all of these are replaced,
before the first observation, by the normal scores of their rank histograms, in which the regression is done, and
taken back after the last (Anderson 2023, MWR 151, 2759).

Observations are taken in the given order. What they do to each other needs only what the members predict of them: a
serial loop, compiled and on the host, that is done once. It leaves a direction and a change of the members for each
observation, which take any entry of the state through all of them, by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from ensf.arrays import SMALL, Array, Generator, centred, is_host, like, member_mean, namespace, to_numpy
from ensf.arrays.settings import check_kind, check_settings
from ensf.filters.base import Memory, Part, Prepared, Update, with_values
from ensf.filters.local import LocalUpdate, check_local
from ensf.filters.quantile.marginals import Marginal, RankHistogram, normal_scores
from ensf.localization import Localization, Patches
from ensf.localization.localization import check_localization
from ensf.localization.patches import everything
from ensf.observations.functions import identity
from ensf.observations.observation import Observation

__all__ = ["QuantileFilter"]


@dataclass(frozen=True)
class QuantileFilter(Prepared):
    """Quantile-conserving ensemble filter framework.

    Source: Anderson (2022), MWR 150, 1061, section 2; regression in probit space: Anderson (2023), MWR 151, 2759,
    section 2. With ``RankHistogram()`` the rank histogram filter (Anderson 2010, MWR 138, 4186), with ``Kernel(1.0)``
    for Gaussian errors the ensemble adjustment Kalman filter (Anderson 2001, MWR 129, 2884).

    Parameters
    ----------
    localization : Localization, optional
        How far an observation reaches; None = everywhere.
    marginal : RankHistogram or Kernel
        Prior marginal of what an observation sees.
    probit : bool
        Regress in the space of normal scores.
    """

    localization: Localization | None = None
    marginal: Marginal = RankHistogram()
    probit: bool = False

    def __post_init__(self) -> None:
        check_settings(self)
        check_kind(self.marginal, "table", "marginal of QuantileFilter", "RankHistogram()")
        if self.localization is not None:
            check_localization(self.localization, "QuantileFilter")

    def prepare(self, predicted: Array, observation: Observation, rng: Generator, memory: Memory = None) -> Update:
        """What each observation makes of the members at its turn.

        Raises
        ------
        ValueError
            If errors are correlated, the place of an observation is unknown, or an observation is impossible for the
            prior.
        """
        from ensf.filters.quantile import compiled

        observation.check_resolved(predicted)
        observation = observation.decorrelated()
        position = check_local(observation, self.localization, "QuantileFilter")
        part = observation.part
        columns = predicted if part.pointwise else part.function(predicted)
        rows = np.ascontiguousarray(to_numpy(columns).T, dtype=np.float64)
        scores, ordered = np.empty(0), np.empty((0, 0))
        if self.probit:
            scores = normal_scores(rows.shape[1])
            ordered = np.ascontiguousarray(_table(rows.T).T)
            rows = np.ascontiguousarray(_to_scores(rows.T, scores).T)
        near = self._between(position, len(rows), observation.group)
        place = near.slots // near.variables.shape[1]
        marginal = self.marginal.table(rows.shape[1])
        way = place, near.indptr, near.index, near.weight
        directions, changes, taken = np.zeros(rows.shape), np.zeros(rows.shape), np.zeros(len(rows))
        if observation.law.is_gaussian and (part.exact or not part.pointwise):
            value = to_numpy(observation.value).astype(np.float64)
            error = to_numpy(observation.law.standard_deviation(observation.value)).astype(np.float64)
            compiled.gaussian_loop(
                rows, value, error, marginal, scores, ordered, *way, directions, changes, taken
            )  # fmt: skip
        else:
            for k in range(observation.size):
                values, nodes, mass = compiled.begin(rows, k, marginal, scores, ordered, *way, directions, changes)
                log_likelihood = _log_likelihood(observation, k)
                logs = log_likelihood(nodes)
                for _ in range(compiled.PASSES):
                    finer, mass = compiled.cut(nodes, mass, logs)
                    if len(finer) == len(nodes):
                        break
                    nodes, logs = finer, log_likelihood(finer)
                compiled.end(rows, k, values, nodes, mass, logs, scores, ordered, directions, changes, taken)
        kind = ProbitUpdate if self.probit else QuantileUpdate
        return kind(
            memory,
            localization=self.localization,
            information_limit=None,
            position=position,
            anomalies=like(directions.T, predicted),
            group=observation.group,
            changes=like(changes.T, predicted),
            taken=like(taken, predicted),
        )

    def _between(self, position: np.ndarray | None, observations: int, group: np.ndarray | None) -> Patches:
        """Observations near each observation."""
        if self.localization is None or position is None:
            return everything(observations, observations)
        return self.localization.patches(position, position, group)


def _log_likelihood(observation: Observation, k: int) -> Callable[[np.ndarray], np.ndarray]:
    """Log likelihood of observation k at values ``(node,)`` of what it sees; zero likelihood where h is undefined."""
    alone = np.array([k])
    value = observation.value[k : k + 1]
    part = observation.part
    law, function = observation.law.restrict(alone), part.pointwise.restrict(alone) if part.pointwise else identity

    def log_likelihood(nodes: np.ndarray) -> np.ndarray:
        states = nodes[:, None] if is_host(value) else like(nodes[:, None], value)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            logs = to_numpy(law.log_density(value, function(states))).astype(np.float64)
        if not np.isfinite(logs.max()):
            logs = np.where(np.isnan(logs), -np.inf, logs)
            if not np.isfinite(logs.max()):
                raise ValueError(
                    f"observation {k} has no likelihood over the range of the prior: check its value and operator, or "
                    "use a larger observation error"
                )
        return logs

    return log_likelihood


@dataclass(frozen=True, eq=False)
class QuantileUpdate(LocalUpdate):
    """Every entry goes through the observations near it, in their order.

    Attributes
    ----------
    anomalies : (member, observation) array
        Direction of each observation: the departures of its members at its turn, over their norm.
    changes : (member, observation) array
        Changes of its members, over the same norm.
    taken : (observation,) array
        Degrees of freedom of each: 1 - variance after / variance before of what it sees, at its turn; 0 where the
        variance grew. A place takes their sum, tapered.
    """

    changes: Array = field(kw_only=True)
    taken: Array = field(kw_only=True)

    def increments(self, anomalies: Array, patches: Patches) -> tuple[Array, Array]:
        """Change of members with these prior anomalies, and degrees of freedom."""
        if not is_host(anomalies):
            return _batched(anomalies, self.anomalies.T, self.changes.T, self.taken, patches)
        from ensf.filters.quantile.compiled import regress

        increments = np.empty_like(anomalies)
        freedom = np.empty(anomalies.shape[1], dtype=anomalies.dtype)
        directions, changes = (
            np.ascontiguousarray(part.T, dtype=np.float64) for part in (self.anomalies, self.changes)
        )
        in_parallel = patches.largest * anomalies.size > SMALL
        regress(anomalies, directions, changes, self.taken, patches, in_parallel, increments, freedom)
        return increments, freedom

    def restrict(self, index: np.ndarray) -> QuantileUpdate:
        """With the observations at `index` alone."""
        xp = namespace(self.changes)
        chosen = like(index, self.changes)
        changes, taken = xp.take(self.changes, chosen, axis=1), xp.take(self.taken, chosen)
        return replace(super().restrict(index), changes=changes, taken=taken)


@dataclass(frozen=True, eq=False)
class ProbitUpdate(QuantileUpdate):
    """The same in the space of normal scores: of each entry those of its own rank histogram."""

    def analysed(self, part: Part) -> tuple[Array, dict[str, Array]]:
        """Members of a part, and the degrees of freedom at each entry."""
        scores = like(normal_scores(part.values.shape[0]), part.values)
        moved, fields = super().analysed(with_values(part, _to_scores(part.values, scores)))
        return _from_scores(moved, scores, _table(part.values)), fields


def _batched(
    anomalies: Array, directions: Array, changes: Array, taken: Array, patches: Patches
) -> tuple[Array, Array]:
    """The same as array code, all places at once, their observations one after another."""
    xp = namespace(anomalies)
    index, weight = (like(part, anomalies) for part in patches.padded)
    moved = xp.take(anomalies, like(patches.variables.ravel(), anomalies), axis=1)
    moved = before = xp.reshape(moved.T, (*patches.variables.shape, -1))
    for n in range(index.shape[1]):
        direction, change = (xp.take(part, index[:, n], axis=0)[:, None, :] for part in (directions, changes))
        along = xp.sum((moved - moved[..., :1]) * direction, axis=-1, keepdims=True)
        moved = moved + weight[:, n][:, None, None] * along * change
    freedom = xp.sum(weight * xp.reshape(xp.take(taken, xp.reshape(index, (-1,))), index.shape), axis=-1)
    order = like(patches.slots, anomalies)
    increments = xp.take(xp.reshape(moved - before, (-1, anomalies.shape[0])), order, axis=0).T
    return increments, xp.take(freedom, order // patches.variables.shape[1])


# --- probit space ----------------------------------------------------------------------------------------


def _table(values: Array) -> Array:
    """Values ``(node, entry)`` at the normal scores: sorted members, Gaussian tails."""
    xp = namespace(values)
    ordered = xp.sort(values, axis=0)
    anomalies = centred(values)
    spread = xp.sqrt(member_mean(anomalies * anomalies) * (values.shape[0] / (values.shape[0] - 1)))
    scores = normal_scores(values.shape[0])
    tail = float(scores[1] - scores[0]) * spread
    return xp.concat([ordered[:1, :] - tail, ordered, ordered[-1:, :] + tail])


def _to_scores(values: Array, scores: Array) -> Array:
    """Normal scores ``(member, entry)`` of the ranks of members."""
    xp = namespace(values)
    rank = xp.argsort(xp.argsort(values, axis=0), axis=0)
    return xp.reshape(xp.take(scores, xp.reshape(rank, (-1,)) + 1), values.shape)


def _from_scores(moved: Array, scores: Array, table: Array) -> Array:
    """Piecewise linear from scores ``(member, entry)`` to the values of each entry."""
    xp = namespace(moved)
    flat = xp.reshape(moved, (-1,))
    cell = xp.clip(xp.searchsorted(scores, flat, side="right") - 1, 0, scores.shape[0] - 2)
    fraction = (flat - xp.take(scores, cell)) / (xp.take(scores, cell + 1) - xp.take(scores, cell))
    cell, fraction = xp.reshape(cell, moved.shape), xp.reshape(fraction, moved.shape)
    low, high = xp.take_along_axis(table, cell, axis=0), xp.take_along_axis(table, cell + 1, axis=0)
    return low + fraction * (high - low)
