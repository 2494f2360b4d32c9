"""A part of the state is analysed: the rest of a complete restart keeps its values and adjusts in the next forecast."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ensf.arrays import Array, Generator, is_count, namespace
from ensf.arrays.settings import check_settings
from ensf.filters.base import Analysis, Filter, Memory, Part, as_ensemble, as_part, check_filter, refuse_predictions
from ensf.filters.guarded import guarded
from ensf.observations.observation import Observation

__all__ = ["PartialState"]


@dataclass(frozen=True)
class PartialState:
    """A filter of the first entries of the state; the others keep the values of the prior, member by member.

    Parameters
    ----------
    filter : Filter
    size : int
        Number of entries that are analysed. Observations are of them alone: the operator never sees the others.

    Raises
    ------
    ValueError
        If the size is not positive.
    """

    filter: Filter
    size: int

    def __post_init__(self) -> None:
        check_settings(self)
        check_filter(self.filter, type(self).__name__, parameters=True)
        if not is_count(self.size):
            raise ValueError(f"the analysed part of the state has {self.size} entries: give a whole number, 1 or more")

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
        """Analysis ensemble ``(member, state)``.

        Raises
        ------
        ValueError
            If the state has fewer entries than are to be analysed, or as the wrapped filter.
        """
        refuse_predictions(predicted, self)
        prior = as_ensemble(prior)
        xp = namespace(prior)
        if prior.shape[1] < self.size:
            raise ValueError(f"the prior has {prior.shape[1]} state variables: {self.size} are to be analysed")
        analysed = xp.asarray(prior[:, : self.size], copy=True)
        places = None if positions is None else positions[: self.size]
        analysis = self.filter.analyse(analysed, observation, rng, memory, places)

        def before(part: Part) -> Array:
            inside = np.flatnonzero(part.entries < self.size)
            values = xp.asarray(part.values, copy=True)
            place = None if part.positions is None else part.positions[inside]
            values[:, inside] = analysis.before(as_part(part.values[:, inside], place, part.entries[inside]))
            return values

        ensemble = xp.concat([analysis.ensemble, prior[:, self.size :]], axis=1)
        return replace(analysis, ensemble=ensemble, update=None, before=before)
