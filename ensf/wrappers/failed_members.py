"""Members whose forecast failed: the analysis is that of the others, and moved copies of these take their places.

With the analysis x_1 ... x_n of those that are left, its anomalies a_k, and one of them, d, drawn for each that failed,

    x  =  mean + sqrt(1 - move^2) a_d + move sum_k w_k a_k / sqrt(n - 1),      w_k ~ N(0, 1), with mean zero over k

A copy alone would be the same state twice, which a deterministic model never parts; moved as here, the covariance of
the ensemble stays in the mean what it is (Liu & West 2001, in: Sequential Monte Carlo Methods in Practice, ch. 10).
The weights are the same for all variables, and for earlier states: nothing leaves the span of the members.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol, TypeVar, runtime_checkable

import numpy as np

from ensf.arrays import (
    Array,
    Generator,
    Record,
    as_floating,
    centred,
    generator,
    is_host_stream,
    like,
    member_mean,
    namespace,
    to_numpy,
)
from ensf.filters.base import (
    Analysis,
    Filter,
    Memory,
    Part,
    Preparable,
    Unchanged,
    Update,
    as_members,
    as_part,
    with_values,
)
from ensf.filters.guarded import guarded
from ensf.filters.weights import combine
from ensf.observations.observation import Observation
from ensf.observations.predictions import Unresolved
from ensf.wrappers.base import WrappedUpdate, Wrapper, check_ranges

__all__ = [
    "Completed",
    "FailedMembers",
    "Replacement",
    "Tolerant",
    "of_members",
    "with_replaced",
    "without_failed",
    "without_members",
]

Result = TypeVar("Result")
MOVE = 0.3
"""How far a copy is moved, unless it is said: the part of its variance that is new."""


@dataclass(frozen=True, eq=False)
class Replacement(Record):
    """What takes the places of members that failed.

    Attributes
    ----------
    left : (left,) array of int
        Members that are left, ascending.
    failed : (failed,) array of int
        Members that failed, ascending.
    donors : (failed,) array of int
        Of which of those that are left each is a moved copy, by its place among them.
    weights : (left, failed) array
        Of the anomalies of those that are left.
    """

    left: np.ndarray
    failed: np.ndarray
    donors: np.ndarray
    weights: np.ndarray

    @property
    def copies(self) -> dict[int, int]:
        """Of each member that failed, that of which it is a moved copy, both by their numbers among all."""
        return dict(zip(self.failed.tolist(), self.left[self.donors].tolist(), strict=True))

    @classmethod
    def draw(cls, alive: np.ndarray, rng: Generator, move: float = MOVE) -> Replacement:
        """Copies of different members while there are enough.

        Parameters
        ----------
        alive : (member,) array of bool
            Which are left.
        rng : numpy.random.Generator
        move : float
        """
        left, failed = np.flatnonzero(alive), np.flatnonzero(~alive)
        order = np.concatenate([rng.permutation(len(left)) for _ in range(-(-len(failed) // len(left)))])
        donors = order[: len(failed)].astype(np.int64)
        noise = rng.standard_normal((len(left), len(failed)))
        noise -= noise.mean(axis=0)
        weights = move * noise / math.sqrt(len(left) - 1)
        weights[donors, np.arange(len(failed))] += math.sqrt(1 - move * move)
        return cls(left, failed, donors, weights)

    def made(self, members: Array) -> Array:
        """What takes the places ``(failed, entry)``, of the members that are left ``(left, entry)``."""
        return member_mean(members) + combine(centred(members), like(self.weights, members))

    def joined(self, members: Array, made: Array | None = None) -> Array:
        """All members ``(member, entry)`` in their order, of those that are left and of what takes the places."""
        xp, made = namespace(members), self.made(members) if made is None else made
        order = like(np.argsort(np.concatenate([self.left, self.failed])), members)
        return xp.take(xp.concat([members, made], axis=0), order, axis=0)


@runtime_checkable
class Tolerant(Protocol):
    """A filter that goes on without members that failed."""

    @property
    def filter(self) -> Filter:
        """What analyses those that are left."""

    @property
    def replaced(self) -> bool:
        """Whether something takes the places of the others."""

    def alive(self, prior: Array) -> np.ndarray:
        """Which members are left, ``(member,)`` of bool."""

    def checked(self, alive: np.ndarray) -> np.ndarray:
        """Which members are left, unless they are too few."""

    def without_far_off(
        self, of_left: Callable[[np.ndarray], Result], alive: np.ndarray, rng: Generator
    ) -> tuple[Result, np.ndarray]:
        """What the members that are left give, and which these are, without those that the filter finds far off."""

    def completed(self, analysis: Analysis, alive: np.ndarray, rng: Generator) -> Analysis:
        """The analysis of those that are left, with the others in their places."""

    def update(self, update: Update, alive: np.ndarray, rng: Generator) -> Completed:
        """The update of those that are left, for all members."""


@dataclass(frozen=True)
class FailedMembers(Wrapper):
    """Wrapper: goes on without members that are not finite; they are replaced by moved copies of the others' analysis.

    So are members so far off that rounding hides the observations from the filter, and those whose row of
    ``predicted=`` is not finite, as of a simulation that failed.

    It stands outside of other wrappers, but inside a `Smoother`.

    Parameters
    ----------
    filter : Filter
    min_members : int
        Fewer members that are left are an error.
    replaced : bool
        False: the ensemble gets smaller for good.
    move : float
        Between 0, a copy, and 1, a draw from the Gaussian law of the analysis.

    Raises
    ------
    ValueError
        If a number is out of its range.
    """

    min_members: int
    replaced: bool = True
    move: float = MOVE
    mixes_members: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(
            self,
            "failed members",
            {
                "min_members": (self.min_members >= 2, "2 or more"),
                "move": (0 <= self.move <= 1, "a number from 0 to 1"),
            },
        )

    def alive(self, prior: Array) -> np.ndarray:
        """Which members of ``(member, ...)`` are finite; errors are those of `checked`."""
        return self.checked(np.isfinite(to_numpy(prior)).reshape(prior.shape[0], -1).all(axis=1))

    def checked(self, alive: np.ndarray) -> np.ndarray:
        """Which members ``(member,)`` of bool are left.

        Raises
        ------
        ValueError
            If fewer than `min_members` are.
        """
        if len(alive) < self.min_members:
            raise ValueError(
                f"there are {len(alive)} members but min_members is {self.min_members}: give a lower number"
            )
        if alive.sum() < self.min_members:
            raise ValueError(
                f"{alive.sum()} of {len(alive)} members are left, member {int(np.argmin(alive))} is not finite or too "
                f"far off, and min_members is {self.min_members}: repair the forecast, or give a lower number"
            )
        return alive

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
        """Analysis of the filter, by the members that are left; `info` has the number of those that failed.

        And ``copies``, for each member that is replaced the one of which it is a moved copy.

        Parameters
        ----------
        prior, observation, rng, memory, positions, predicted
            As of every filter.

        Raises
        ------
        ValueError
            If too few members are left, or as the filter.
        """
        prior = as_members(prior)
        alive = self.alive(prior)
        if predicted is not None:
            predicted = as_floating(predicted, "predicted")
            alive = self.checked(alive & _simulated(predicted, observation, len(alive)))
        rng = generator(rng)

        def of_left(alive: np.ndarray) -> Analysis:
            left = {} if predicted is None else {"predicted": without_failed(predicted, alive)}
            here, kept = without_members(observation, alive), without_failed(prior, alive)
            if observation.window is not None and here.window is not None and prior is observation.window.end:
                kept = here.window.end
            return self.filter.analyse(kept, here, rng, of_members(memory, alive), positions, **left)

        analysis, alive = self.without_far_off(of_left, alive, rng)
        return self.completed(analysis, alive, rng)

    def _prepare(self, predicted: Array, observation: Observation, rng: Generator, memory: Memory = None) -> Update:
        def of_left(alive: np.ndarray) -> Update:
            left, here = without_failed(predicted, alive), without_members(observation, alive)
            return self._inner(left, here, rng, of_members(memory, alive))

        update, alive = self.without_far_off(of_left, self.alive(predicted), rng)
        if alive.all():
            return replace(update, info={**update.info, "failed_members": 0})
        return self.update(update, alive, rng)

    def without_far_off(
        self, of_left: Callable[[np.ndarray], Result], alive: np.ndarray, rng: Generator
    ) -> tuple[Result, np.ndarray]:
        """What the members that are left give, and which these are: those that the filter finds far off have failed.

        Parameters
        ----------
        of_left : callable
            ``alive -> result``, of those members.
        alive : (member,) array of bool
        rng : numpy.random.Generator
            What `of_left` draws from: far off is as if it had failed before.

        Raises
        ------
        Unresolved
            If too few are left, or an observation is at fault.
        """
        state = rng.bit_generator.state if is_host_stream(rng) else None
        while True:
            try:
                return of_left(alive), alive
            except Unresolved as error:
                numbers = np.flatnonzero(alive)
                left = np.delete(numbers, error.members)
                if not error.members or len(left) < self.min_members:
                    names = [f"member {number}" for number in numbers]
                    raise error.named(names.__getitem__, "observation {}".format) from error
                alive = np.isin(np.arange(len(alive)), left)
                if state is not None:
                    rng.bit_generator.state = state

    def completed(self, analysis: Analysis, alive: np.ndarray, rng: Generator) -> Analysis:
        """The analysis of the members that are left, with what takes the places of the others."""
        info = {**analysis.info, "failed_members": int(len(alive) - alive.sum())}
        if alive.all():
            return replace(analysis, info=info)
        made = analysis.update
        if made is None and isinstance(self.filter, Preparable):  # nothing was observed
            made = Unchanged(analysis.memory, analysis.info)
        if made is not None:
            update = self.update(made, alive, rng)
            ensemble = update.joined(as_part(analysis.ensemble), analysis.ensemble)
            info |= {"copies": update.replacement.copies} if self.replaced else {}
            return replace(
                analysis, ensemble=ensemble, memory=update.memory, info=info, update=update, before=update.before
            )
        if not self.replaced:
            return replace(analysis, info=info)
        replacement = Replacement.draw(alive, rng, self.move)
        info["copies"] = replacement.copies
        ensemble, memory = replacement.joined(analysis.ensemble), with_replaced(analysis.memory, replacement)
        return replace(analysis, ensemble=ensemble, memory=memory, info=info)

    def update(self, update: Update, alive: np.ndarray, rng: Generator) -> Completed:
        """The update of those that are left, for all members."""
        replacement = Replacement.draw(alive, rng, self.move)
        info = {**update.info, "failed_members": len(replacement.failed)}
        info |= {"copies": replacement.copies} if self.replaced else {}
        memory = with_replaced(update.memory, replacement) if self.replaced else update.memory
        return Completed(memory, info, update=update, replacement=replacement, replaced=self.replaced)


@dataclass(frozen=True, eq=False)
class Completed(WrappedUpdate):
    """The update of those that are left, for parts of all members."""

    replacement: Replacement = field(kw_only=True)
    replaced: bool = field(kw_only=True)

    @property
    def members(self) -> int:
        """Number of all members, those that failed among them."""
        return len(self.replacement.left) + len(self.replacement.failed)

    def _left(self, part: Part) -> Part:
        rows = like(self.replacement.left, part.values)
        return with_values(part, namespace(part.values).take(part.values, rows, axis=0))

    def joined(self, part: Part, analysis: Array) -> Array:
        """All members of a part, of the analysis of those that are left; these alone if none is replaced."""
        if not self.replaced:
            return analysis
        made = self.update.combined(with_values(part, analysis), self.replacement.made)
        return self.replacement.joined(analysis, made)

    def analysed(self, part: Part) -> tuple[Array, dict[str, Array]]:
        ensemble, fields = self.update.analysed(self._left(part))
        return self.joined(part, ensemble), fields

    def before(self, part: Part) -> Array:
        """The members that are left, as the filter takes them."""
        return self.update.before(self._left(part))

    def uncorrected(self, part: Part) -> Array:
        return self.joined(part, self.update.uncorrected(self._left(part)))


@runtime_checkable
class OfMembers(Protocol):
    """A memory that holds something of each member."""

    def of_members(self, left: np.ndarray) -> Memory:
        """What is remembered of the members at `left`, ``(left,)`` of int, alone."""

    def with_replaced(self, replacement: Replacement) -> Memory:
        """What those that are left leave, for all members."""


@runtime_checkable
class _Holding(Protocol):
    """A wrapper's memory, which holds that of the filter inside."""

    inner: Memory


def of_members(memory: Memory, alive: np.ndarray) -> Memory:
    """What a filter remembers, and those inside it, of the members that are left, ``(member,)`` of bool."""
    if alive.all():
        return memory
    left = np.flatnonzero(alive)
    return _each(memory, lambda own: own.of_members(left))


def with_replaced(memory: Memory, replacement: Replacement) -> Memory:
    """What a filter remembers, and those inside it, of the members that are left, for all members."""
    return _each(memory, lambda own: own.with_replaced(replacement))


def _each(memory: Memory, changed: Callable[[OfMembers], Memory]) -> Memory:
    """A memory, and those that it holds, changed where it is of members."""
    own = changed(memory) if isinstance(memory, OfMembers) else memory
    if not isinstance(own, _Holding):
        return own
    return replace(own, inner=_each(own.inner, changed))  # type: ignore[type-var]


def _simulated(predicted: Array, observation: Observation, members: int) -> np.ndarray:
    """Of which members ``(member,)`` there are predictions: those of a simulation that failed are not finite.

    Nothing is asked of missing observations, nor of what no member has.
    """
    if predicted.ndim != 2 or predicted.shape[0] != members:
        raise ValueError(
            f"predicted has shape {tuple(predicted.shape)} but there are {members} members: give (member, observation)"
        )
    there = np.isfinite(to_numpy(predicted))
    asked = there.any(axis=0)
    if there.shape[1] == observation.size:
        asked &= ~np.isnan(to_numpy(observation.value))
    return there[:, asked].all(axis=1)


def without_failed(ensemble: Array, alive: np.ndarray) -> Array:
    """The members ``(member, ...)`` that are left."""
    if alive.all():
        return ensemble
    return namespace(ensemble).take(ensemble, like(np.flatnonzero(alive), ensemble), axis=0)


def without_members(observation: Observation, alive: np.ndarray) -> Observation:
    """The observation for the members that are left alone."""
    window = observation.window
    if window is None or alive.all():
        return observation
    xp = namespace(window.end)
    rows = like(np.flatnonzero(alive), window.end)
    left = replace(window, start=xp.take(window.start, rows, axis=0), end=xp.take(window.end, rows, axis=0))
    return replace(observation, error=observation.law, window=left)
