"""A filter that sees the ensemble standardised by its own mean and standard deviation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ensf.arrays import Array, Generator, member_mean, member_variance, namespace
from ensf.filters.base import Analysis, Filter, Memory, Part, check_filter, refuse_predictions, usable, with_values
from ensf.filters.guarded import guarded
from ensf.observations.functions import Affine
from ensf.observations.observation import Observation

__all__ = ["Standardised"]


@dataclass(frozen=True)
class Standardised:
    """Wrapper: the filter works on the ensemble standardised by its own mean and standard deviation.

    Parameters
    ----------
    filter : Filter
    """

    filter: Filter

    def __post_init__(self) -> None:
        check_filter(self.filter, type(self).__name__)

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
        """Analysis ensemble, back in the units of the prior."""
        refuse_predictions(predicted, self)
        prior, observation, positions = usable(prior, observation, positions)
        observation.check_resolved(observation.predict(prior))  # before the members are in other coordinates
        xp = namespace(prior)
        mean, deviation = member_mean(prior), xp.sqrt(member_variance(prior))
        standard = Affine(mean, xp.where(deviation > 0, deviation, xp.ones_like(deviation)))
        standardised = replace(observation, operator=observation.operator.through(standard), error=observation.law)
        inner = self.filter.analyse(standard.inverse(prior), standardised, rng, memory, positions)
        if observation.size == 0:
            return Analysis(prior, inner.memory)

        def before(part: Part) -> Array:
            here = standard.restrict(part.entries)
            return here(inner.before(with_values(part, here.inverse(part.values))))

        return replace(inner, ensemble=standard(inner.ensemble), before=before)
