"""The mean by a hybrid covariance on a periodic grid, the anomalies by a local filter."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import reduce
from operator import add

import numpy as np

from ensf.arrays import Array, Generator, centred, member_mean, member_variance, namespace
from ensf.arrays.settings import check_settings
from ensf.filters.base import Analysis, Filter, Memory, as_part, check_filter, refuse_predictions, usable
from ensf.filters.guarded import guarded
from ensf.filters.letsf.sensors import sensor_of
from ensf.localization import Geometry
from ensf.observations.observation import Observation
from ensf.wrappers.hybrid_mean.conjugate_gradients import conjugate_gradients
from ensf.wrappers.hybrid_mean.displacement import DisplacementCovariance
from ensf.wrappers.hybrid_mean.ensemble import EnsembleCovariance
from ensf.wrappers.hybrid_mean.grid import PeriodicGrid, horizontal_periods
from ensf.wrappers.hybrid_mean.static import StaticCovariance

__all__ = ["HybridMean"]

LIMIT = 200


@dataclass(frozen=True)
class HybridMean:
    filter: Filter
    geometry: Geometry
    ensemble: EnsembleCovariance
    static: StaticCovariance | None = None
    displacement: DisplacementCovariance | None = None
    iterations: int = 1
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        check_settings(self)
        check_filter(self.filter, type(self).__name__)
        horizontal_periods(self.geometry)

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
        refuse_predictions(predicted, self)
        prior, observation, positions = usable(prior, observation, positions)
        analysis = self.filter.analyse(prior, observation, rng, memory, positions)
        if observation.size == 0:
            return Analysis(prior, analysis.memory)
        part = observation.part
        if part.pointwise is None or not observation.law.is_independent:
            raise ValueError("single variables")
        members = analysis.before(as_part(prior, positions))
        grid = PeriodicGrid.of(self.geometry, positions)
        mean = member_mean(members)
        anomalies = grid.fields(centred(members)) / math.sqrt(members.shape[0] - 1)
        models = [model for model in (self.ensemble, self.static, self.displacement) if model is not None]
        maps = [(model.weight, model.on(grid, grid.fields(mean), anomalies)) for model in models]

        def covariance(state: Array) -> Array:
            field = grid.fields(state)
            return grid.states(reduce(add, (weight * product(field) for weight, product in maps)))

        xp = namespace(prior)
        predicted = observation.predict(members)
        sensor = sensor_of(observation, predicted)
        look = sensor.look(predicted, 0.0)
        precision, departure = look.precision, member_mean(look.departure)
        prior_eta, prior_var = member_mean(predicted), member_variance(predicted) * sum(m.weight for m in models)
        if sensor.is_nonlinear:
            precision, pseudo = site(sensor, prior_eta, prior_var)
            departure = pseudo - prior_eta
        total = 0
        after = member_variance(observation.predict(analysis.ensemble))
        for k in range(self.iterations if sensor.is_nonlinear else 1):
            if k > 0:
                eta = part.linear(mean + increment)
                cavity_precision = xp.maximum(1 / after - precision, 1 / prior_var)
                cavity = (eta * (cavity_precision + precision) - precision * (departure + prior_eta)) / cavity_precision
                precision, pseudo = site(sensor, cavity, 1 / cavity_precision)
                departure = pseudo - prior_eta
            root = xp.sqrt(precision)

            def system(residual):
                return residual + root * part.linear.tangent(
                    mean, covariance(part.linear.adjoint(mean, root * residual))
                )

            solved, count = conjugate_gradients(system, root * departure, self.tolerance, LIMIT)
            total += count
            increment = covariance(part.linear.adjoint(mean, root * solved))
        ensemble = centred(analysis.ensemble) + (mean + increment)
        return replace(analysis, ensemble=ensemble, info={**analysis.info, "solver_steps": float(total)})


def site(sensor, centre, variance):
    xp = namespace(centre)
    tilted, tilted_variance = sensor.moments(centre[None, :], xp.sqrt(variance))
    prior_precision = 1 / variance
    precision = xp.maximum(1 / tilted_variance - prior_precision, 1e-3 * prior_precision)
    return precision, centre + (tilted[0] - centre) * (1 + prior_precision / precision)
