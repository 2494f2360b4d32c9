"""What wrappers have in common: around a preparable filter they wrap its update, around another its analysis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, cast

import numpy as np

from ensf.arrays import Array, Generator, generator
from ensf.arrays.settings import check_settings
from ensf.filters.base import (
    Analysis,
    Filter,
    Memory,
    Part,
    Preparable,
    Update,
    as_part,
    can,
    check_filter,
    refuse_predictions,
    usable,
    with_predictions,
)
from ensf.filters.guarded import check_left, check_memory, guarded
from ensf.observations.observation import Observation

__all__ = ["WrappedUpdate", "Wrapper", "check_ranges"]


def check_ranges(settings: object, what: str, rules: Mapping[str, tuple[bool, str]]) -> None:
    """Raise ValueError for the first setting that is not in its range.

    Parameters
    ----------
    settings : object
    what : str
        What errors call it.
    rules : mapping of str to (bool, str)
        By name of a setting whether it is in its range, and which that is.
    """
    for name, (kept, rule) in rules.items():
        if not kept:
            raise ValueError(f"{name} of the {what} is {getattr(settings, name)}: give {rule}")


@dataclass(frozen=True)
class Wrapper:
    """A filter around a filter.

    Subclasses give `_prepare`, their update around that of the filter, and `_analyse_whole` for a filter that needs
    whole states.

    Parameters
    ----------
    filter : Filter

    Attributes
    ----------
    mixes_members : bool
        Whether what it does itself takes members together: one whose rounding hides the observations is then refused.
    """

    filter: Filter
    mixes_members: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Around a preparable filter the wrapper has the verb `prepare`, and so is `Preparable` itself."""
        check_settings(self)
        check_filter(self.filter, type(self).__name__, not self.mixes_members)
        if isinstance(self.filter, Preparable):
            object.__setattr__(self, "prepare", self._prepare_checked)

    def _prepare_checked(
        self, predicted: Array, observation: Observation, rng: Generator, memory: Memory = None
    ) -> Update:
        if memory is not None:
            check_memory(self, memory, predicted.shape[:1])
        if self.mixes_members:
            observation.check_resolved(predicted)
        return self._prepare(predicted, observation, rng, memory)

    def _prepare(self, predicted: Array, observation: Observation, rng: Generator, memory: Memory = None) -> Update:
        """The update of the wrapper, around that of the filter (`_inner`)."""
        raise NotImplementedError

    def _inner(self, predicted: Array, observation: Observation, rng: Generator, memory: Memory) -> Update:
        """Update of the filter inside."""
        if memory is not None:
            check_memory(self.filter, memory, predicted.shape[:1])
        update = cast(Preparable, self.filter).prepare(predicted, observation, rng, memory)
        check_left(self.filter, update.memory)
        return update

    def _analyse_whole(
        self, prior: Array, observation: Observation, rng: Generator, memory: Memory, positions: np.ndarray
    ) -> Analysis:
        raise NotImplementedError

    def _without_observations(
        self, prior: Array, observation: Observation, rng: Generator, memory: Memory, positions: np.ndarray
    ) -> Analysis:
        """The prior, and what the filter inside remembers of a cycle in which nothing is observed."""
        return Analysis(prior, self.filter.analyse(prior, observation, rng, memory, positions).memory)

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

        Parameters
        ----------
        prior : (member, state) array
        observation : Observation
        rng : numpy.random.Generator, int or None
            Random stream, or its seed.
        memory : object
            What the cycle before left.
        positions : (state, dimension) array, optional
            Where the state variables are; by default each is at its index.
        predicted : (member, column) array, optional
            What each member predicts, as of `ensf.filters.Prepared.analyse`.

        Raises
        ------
        ValueError
            As the filter.
        """
        if not can(self, "prepare"):
            refuse_predictions(predicted, self.filter)
            prior, observation, positions = usable(prior, observation, positions)
            if observation.size == 0:
                return self._without_observations(prior, observation, generator(rng), memory, positions)
            if self.mixes_members:
                observation.check_resolved(observation.predict(prior))
            return self._analyse_whole(prior, observation, generator(rng), memory, positions)
        prior, observation, positions, predicted = with_predictions(prior, observation, positions, predicted)
        rng = generator(rng)
        if observation.size == 0:
            return self._without_observations(prior, observation, rng, memory, positions)
        update = self._prepare_checked(predicted, observation, rng, memory)
        ensemble, fields = update.analysed(as_part(prior, positions))
        return Analysis(ensemble, update.memory, {**update.info, **fields}, update, update.before)


@dataclass(frozen=True, eq=False)
class WrappedUpdate(Update):
    """An update around another, which does what is not overridden.

    Attributes
    ----------
    update : Update
    """

    update: Update = field(kw_only=True)

    @property
    def members(self) -> int | None:
        """As the update inside."""
        return self.update.members

    def near(self, positions: np.ndarray) -> WrappedUpdate:
        """With the update near the positions."""
        return replace(self, update=self.update.near(positions))

    def analysed(self, part: Part) -> tuple[Array, dict[str, Array]]:
        """As the update inside."""
        return self.update.analysed(part)

    def before(self, part: Part) -> Array:
        """As the update inside."""
        return self.update.before(part)

    def uncorrected(self, part: Part) -> Array:
        """As the update inside."""
        return self.update.uncorrected(part)

    def combined(self, part: Part, combine: Callable[[Array], Array]) -> Array:
        """As the update inside."""
        return self.update.combined(part, combine)

    def degrees_of_freedom(self, positions: np.ndarray) -> Array:
        """As the update inside."""
        return self.update.degrees_of_freedom(positions)
