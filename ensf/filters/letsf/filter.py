r"""The local ensemble transform score filter (LETSF).

Diffuse with the ensemble's own covariance B = A^T A / (J - 1) on the clock alpha^2 + beta^2 = 1. The latent code of
forecast member j is member j itself, and the probability flow carries u(0) = forecast to u(1) = analysis by

    du_j / dalpha = B H^T (R + (1 - alpha^2) H B H^T)^{-1} (y_j - H [m + alpha (u_j - m)]).                        (*)

For nonlinear pointwise observations y_j and R are pseudo-observations that carry the exact scalar likelihood score
(`ensf.filters.letsf.sensors`), so R is diagonal. With frozen (y, R) the flow has exact steps
(`ensf.filters.letsf.flow`). For linear h one step is the symmetric square-root filter: with patches, the LETKF.

Several steps stay in the space of the observations: each moves what the members predict, at the place of the
observation, and the weights of the steps add. The state is moved once, by their sum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add

import numpy as np

from ensf.arrays import (
    Array,
    Generator,
    Record,
    centred,
    is_count,
    is_host,
    like,
    member_variance,
    namespace,
)
from ensf.arrays.settings import check_settings
from ensf.filters.base import Memory, Part, Prepared, Update
from ensf.filters.kalman.unresolved import check_fraction, observed_entries, resolved
from ensf.filters.letsf.flow import exponential_step
from ensf.filters.letsf.sensors import sensor_of
from ensf.filters.local import LocalUpdate, check_local, check_localized
from ensf.filters.patch_whitening import in_whitened_patches
from ensf.localization import ByCorrelation, Localization, Patches, PatchLimit
from ensf.observations.observation import Observation

__all__ = ["LETSF"]


@dataclass(frozen=True)
class LETSF(Prepared):
    """Local ensemble transform score filter.

    Parameters
    ----------
    localization : Localization or ByCorrelation, optional
        How far an observation reaches; None = every observation everywhere.
    steps : int
        Steps in alpha for nonlinear observations; linear ones need one.
    information_limit : InformationLimit or CountLimit, optional
        Narrows each patch until it holds no more information than the members can absorb, or so many observations.
    unresolved_variance : float
        Variance of a white prior error outside the span of the members, as a part of the ensemble variance
        (`ensf.filters.kalman.unresolved`); observations must then see one variable each.

    Raises
    ------
    ValueError
        If steps are fewer than 1, or the variance is negative.

    Notes
    -----
    Each step costs a place its Gram matrix, a tridiagonal form of it, and some 20 solves with that;
    nonlinear observations add about 130 evaluations of the scalar operator per observation and member.
    """

    localization: Localization | ByCorrelation | None = None
    steps: int = 2
    information_limit: PatchLimit | None = None
    unresolved_variance: float = 0.0

    def __post_init__(self) -> None:
        check_settings(self)
        check_localized(self.localization, self.information_limit, self.unresolved_variance, "LETSF", optional=True)
        check_fraction(self.unresolved_variance)
        if not is_count(self.steps):
            raise ValueError(f"LETSF has {self.steps} steps: give a whole number, 1 or more")

    def prepare(self, predicted: Array, observation: Observation, rng: Generator, memory: Memory = None) -> Update:
        """The steps of the flow, from what the members predict.

        Under a law that bounds influence, `info` has the weight of each observation as `observation_weight`: that
        beside the members as the last step begins, 1 for one that agrees with them, near 0 for an outlier.

        Raises
        ------
        ValueError
            If the place of an observation is unknown, or, with unresolved variance, errors are correlated, an
            observation reads several variables, or a variable is read several times.
        """
        observation.check_resolved(predicted)
        observation = observation.decorrelated()
        position = check_local(observation, self.localization, "LETSF", correlated=True)
        entries = observed_entries(self.unresolved_variance, observation)
        xp = namespace(predicted)
        root = math.sqrt(predicted.shape[0] - 1)
        unresolved = self.unresolved_variance * member_variance(predicted) if entries is not None else 0.0
        sensor = sensor_of(observation, predicted, unresolved)
        prior = sensor.columns
        departures = centred(prior)
        anomalies = departures / root
        moved, grid, update, patches = prior, [0.0, 1.0], None, None
        for k in range(self.steps if sensor.is_nonlinear else 1):
            look = sensor.look(moved, grid[k])
            if update is None:
                if sensor.is_nonlinear:
                    largest = float(xp.max(look.precision * xp.sum(look.anomalies * look.anomalies, axis=0)))
                    grid = alpha_grid(self.steps, largest)
                update = LETSFUpdate(
                    memory,
                    localization=self.localization,
                    information_limit=self.information_limit,
                    position=position,
                    anomalies=look.anomalies * xp.sqrt(look.precision),
                    group=observation.group,
                    correlation=observation.correlation,
                )
            step = Step(look.rows, grid[k], grid[k + 1])
            update = replace(update, flow=(*update.flow, step))
            if k + 1 < len(grid) - 1:
                if patches is None:
                    patches = update.patches_of(departures, sensor.position)
                increments, freedom = step(anomalies, patches, update.correlation)
                if k == 0:
                    update = replace(update, first=FirstStep.of(observation, prior, increments, freedom))
                moved = moved + increments
        assert update is not None
        weight = sensor.weight(moved)
        if weight is not None:
            update = replace(update, info={**update.info, "observation_weight": weight})
        if entries is None:
            return update
        return resolved(update, self.unresolved_variance, entries, predicted, sensor.moments)


@dataclass(frozen=True, eq=False)
class Step(Record):
    """A step of the flow: its coefficients, as rows of `exponential_step`, from alpha = start to end."""

    rows: Array
    start: float
    end: float

    def __call__(
        self, anomalies: Array, patches: Patches, correlation: np.ndarray | None = None
    ) -> tuple[Array, Array]:
        """Change of members with these anomalies, and degrees of freedom; correlation of errors without groups."""

        def transform(anomalies: Array, rows: Array, patches: Patches) -> tuple[Array, Array]:
            return exponential_step(anomalies, rows, self.start, self.end, patches)

        if correlation is None:
            return transform(anomalies, self.rows, patches)
        return in_whitened_patches(transform, anomalies, self.rows, correlation, patches)


@dataclass(frozen=True, eq=False)
class FirstStep(Record):
    """What the first step did to the columns: variables that are observed need not go through it again.

    Attributes
    ----------
    entries : (observation,) array of int
        The variable that each column is, ascending.
    values, increments : (member, observation) array
    freedom : (observation,) array
    position : (observation, dimension) array or None
    """

    entries: np.ndarray
    values: Array
    increments: Array
    freedom: Array
    position: np.ndarray | None

    @classmethod
    def of(cls, observation: Observation, values: Array, increments: Array, freedom: Array) -> FirstStep | None:
        """Of columns that are variables; None for others."""
        entries = observation.operator.entries(observation.state_size or observation.size)
        if entries is None or values.shape[1] != len(entries) or not is_host(values):
            return None
        order = np.argsort(entries, kind="stable")
        place = observation.column_position
        position = None if place is None else place[order]
        return cls(entries[order], values[:, order], increments[:, order], freedom[order], position)

    def columns(self, part: Part) -> np.ndarray:
        """Column of each entry of a part that has its values, else -1."""
        column = np.minimum(np.searchsorted(self.entries, part.entries), len(self.entries) - 1)
        same = self.entries[column] == part.entries
        same[same] = (self.values[:, column[same]] == part.values[:, same]).all(axis=0)
        if self.position is not None and part.positions is not None:
            same[same] = (self.position[column[same]] == part.positions[same]).all(axis=1)
        return np.where(same, column, -1)


@dataclass(frozen=True, eq=False)
class LETSFUpdate(LocalUpdate):
    """The flow at every place.

    Attributes
    ----------
    flow : tuple of Step
    first : FirstStep, optional
        What is known of the first of several.
    """

    flow: tuple[Step, ...] = field(kw_only=True, default=())
    first: FirstStep | None = field(kw_only=True, default=None)

    def analysed(self, part: Part) -> tuple[Array, dict[str, Array]]:
        """Members of a part, and the degrees of freedom at each entry."""
        if self.first is None or part.positions is None:
            return super().analysed(part)
        column = self.first.columns(part)
        computed = column < 0
        anomalies = centred(part.values)
        increments, freedom = self.first.increments[:, column], self.first.freedom[column]
        if computed.any():
            patches = self.patches_of(anomalies[:, computed], part.positions[computed])
            first = replace(self, flow=self.flow[:1])
            increments[:, computed], freedom[computed] = first.increments(anomalies[:, computed], patches)
        increments = increments + self._later(anomalies, self.patches_of(anomalies, part.positions))
        return part.values + increments, self.looks(part, freedom)

    def increments(self, anomalies: Array, patches: Patches) -> tuple[Array, Array]:
        """Sum of the changes of all steps, and degrees of freedom of the first."""
        increments, freedom = self.flow[0](anomalies / math.sqrt(anomalies.shape[0] - 1), patches, self.correlation)
        return (increments + self._later(anomalies, patches) if len(self.flow) > 1 else increments), freedom

    def _later(self, anomalies: Array, patches: Patches) -> Array:
        """Sum of the changes of all steps but the first: one order of summation, whoever knows the first."""
        anomalies = anomalies / math.sqrt(anomalies.shape[0] - 1)
        return reduce(add, (step(anomalies, patches, self.correlation)[0] for step in self.flow[1:]))

    def restrict(self, index: np.ndarray) -> LETSFUpdate:
        """With the observations at `index` alone."""
        xp = namespace(self.anomalies)
        rows = like(index, self.anomalies)
        flow = tuple(replace(step, rows=xp.take(step.rows, rows, axis=0)) for step in self.flow)
        return replace(super().restrict(index), flow=flow, first=None)


def alpha_grid(steps: int, largest: float) -> list[float]:
    """alpha_0 = 0 ... alpha_n = 1; log(1 + (1 - alpha^2) l) falls as 1 - (k / n)^(3/2), l the largest eigenvalue."""
    if largest == 0:
        return [k / steps for k in range(steps + 1)]
    v = [(1 + largest) ** (1 - (k / steps) ** 1.5) for k in range(steps + 1)]
    return [math.sqrt(max(0.0, 1 - (x - 1) / largest)) for x in v[:-1]] + [1.0]
