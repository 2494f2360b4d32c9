"""The mean by a hybrid covariance, the anomalies by a local filter."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Protocol

import numpy as np

from ensf.arrays import Array, Generator, centred, member_mean, namespace
from ensf.arrays.settings import check_kind, check_settings
from ensf.filters.base import Analysis, Filter, Memory, as_part, check_filter, refuse_predictions, usable
from ensf.filters.guarded import guarded
from ensf.filters.letsf.sensors import sensor_of
from ensf.localization import Geometry
from ensf.observations.observation import Observation
from ensf.wrappers.base import check_ranges
from ensf.wrappers.hybrid_mean.conjugate_gradients import conjugate_gradients
from ensf.wrappers.hybrid_mean.grid import PeriodicGrid, horizontal_periods

__all__ = ["CovarianceModel", "HybridMean"]


class CovarianceModel(Protocol):
    """A covariance of forecast errors on a periodic grid."""

    @property
    def weight(self) -> float:
        """Of this covariance in the sum."""

    def on(self, grid: PeriodicGrid, mean: Array, anomalies: Array) -> Callable[[Array], Array]:
        """The covariance as a map of fields ``(layer, *shape)``.

        Parameters
        ----------
        grid : PeriodicGrid
        mean : (layer, ...) array
        anomalies : (member, layer, ...) array
            Over ``sqrt(J - 1)``.
        """


@dataclass(frozen=True)
class HybridMean:
    """Wrapper: the analysis mean is that of a hybrid covariance, the anomalies are those of the filter.

    For states on a regular grid of a ring or a doubly periodic plane, with the same layers at every point. Wrappers
    that change the spread, or defer an analysis, belong around it. An analysis without observations is the prior.

    Parameters
    ----------
    filter : Filter
        Its prior, with whatever inflation it has, is what the covariance is made of.
    geometry : Geometry
        `Periodic`, or `Product` or `Layered` of it where the last column of positions is a height.
    ensemble : EnsembleCovariance
    static : StaticCovariance, optional
    displacement : DisplacementCovariance, optional
    tolerance : float
        Norm of the residual, in units of the first, at which the conjugate gradients stop.
    max_steps : int
        Most of their steps.

    Raises
    ------
    ValueError
        If the geometry is another, or a number is out of its range.
    """

    filter: Filter
    geometry: Geometry
    ensemble: CovarianceModel
    static: CovarianceModel | None = None
    displacement: CovarianceModel | None = None
    tolerance: float = 1e-2
    max_steps: int = 200

    def __post_init__(self) -> None:
        check_settings(self)
        check_filter(self.filter, type(self).__name__)
        horizontal_periods(self.geometry)
        for model in self._models:
            check_kind(model, "on", "a covariance of HybridMean", "EnsembleCovariance((2000.0,))")
        rules = {
            "tolerance": (0 < self.tolerance < 1, "a number between 0 and 1"),
            "max_steps": (self.max_steps >= 1, "1 or more"),
        }
        check_ranges(self, "hybrid mean", rules)
        if not sum(model.weight for model in self._models) > 0:
            raise ValueError("all covariances of HybridMean have weight 0: give one a positive weight")

    @property
    def _models(self) -> list[CovarianceModel]:
        return [self.ensemble, *(model for model in (self.static, self.displacement) if model is not None)]

    def covariance(self, prior: Array, positions: np.ndarray) -> Callable[[Array], Array]:
        """B as a map of states ``(state,)``.

        Parameters
        ----------
        prior : (member, state) array
        positions : (state, dimension) array

        Raises
        ------
        ValueError
            If the positions are not those of a regular periodic grid.
        """
        grid = PeriodicGrid.of(self.geometry, positions)
        mean, anomalies = grid.fields(member_mean(prior)), grid.fields(centred(prior)) / math.sqrt(prior.shape[0] - 1)
        maps = [(model.weight, model.on(grid, mean, anomalies)) for model in self._models]

        def covariance(state: Array) -> Array:
            field = grid.fields(state)
            return grid.states(reduce(add, (weight * product(field) for weight, product in maps)))

        return covariance

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
        """Analysis ensemble ``(member, state)``; `info` has the steps of the conjugate gradients as `solver_steps`.

        Raises
        ------
        ValueError
            If the prior or the positions do not fit, an observation is a function of several variables or errors are
            correlated, or as the filter.
        """
        refuse_predictions(predicted, self)
        prior, observation, positions = usable(prior, observation, positions)
        if observation.part.pointwise is None or not observation.law.is_independent:
            raise ValueError(
                "HybridMean needs independent errors, and observations of single variables or of weighted sums: leave "
                "others out, or use LETSF"
            )
        analysis = self.filter.analyse(prior, observation, rng, memory, positions)
        if observation.size == 0:
            return Analysis(prior, analysis.memory)
        members = analysis.before(as_part(prior, positions))
        mean, increment, steps = self._mean(members, observation, positions)
        ensemble = centred(analysis.ensemble) + (mean + increment)
        return replace(analysis, ensemble=ensemble, info={**analysis.info, "solver_steps": float(steps)})

    def _mean(self, prior: Array, observation: Observation, positions: np.ndarray) -> tuple[Array, Array, int]:
        """Mean of the prior, its increment, and the number of steps that this took."""
        xp = namespace(prior)
        linear = observation.part.linear
        covariance = self.covariance(prior, positions)
        mean = member_mean(prior)
        columns = linear(mean) + math.sqrt(sum(model.weight for model in self._models)) * centred(linear(prior))
        look = sensor_of(observation, columns).look(columns, 0.0)
        root = xp.sqrt(look.precision)

        def weighed(residuals: Array) -> Array:
            """B H^T R^{-1/2} r."""
            return covariance(linear.adjoint(mean, root * residuals))

        solution, steps = conjugate_gradients(
            lambda residuals: residuals + root * linear.tangent(mean, weighed(residuals)),
            root * member_mean(look.departure),
            self.tolerance,
            self.max_steps,
        )
        return mean, weighed(solution), steps
