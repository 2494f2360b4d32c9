"""From a physical ensemble and its observations to the analysis, tile by tile: one way, whatever the ensemble is from.

    physical states x --transforms--> z --filter--> z --inverse, bounds--> x

The observations are of x; the filter sees what they see of z. A filter that knows of the state only what the members
predict of the observations is prepared once, from those entries that the observations read; its update then turns the
ensemble into the analysis one tile after another, in place. A filter of whole states analyses all of z at once.

What the filter leaves alone, and entries in which all members agree, keep every bit; what it changes is clipped to its
bounds.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np

from ensf.arrays import Array, Generator, member_variance, to_numpy
from ensf.dataset.blocks import Transforms, observation_of
from ensf.dataset.layout import Layout
from ensf.dataset.methods import (
    Method,
    check_places,
    find_localization,
    length_unit,
    method_for,
    places,
    refuse_loop,
)
from ensf.dataset.tiles import Tile, cut, ranges, tile_at
from ensf.dataset.transforms import Bounds
from ensf.filters.base import Filter, Memory, Part, Preparable, Unchanged, Update, as_part
from ensf.filters.guarded import check_left, check_memory
from ensf.localization import Localization, variable_code
from ensf.observations import Observation, Window
from ensf.observations.predictions import BadPrediction
from ensf.wrappers.failed_members import Replacement
from ensf.wrappers.parameters import Parameter
from ensf.wrappers.smoother import earlier_field

__all__ = ["Done", "Follow", "Pipeline", "Watch", "member_label", "quiet", "unwatched"]

LOGGER = logging.getLogger("ensf")
OBSERVATIONS = 2**12
"""Observations whose influence is computed at once."""

Step = TypeVar("Step")
Clipped = Counter[tuple[Hashable, Bounds]]


class Follow(Protocol):
    """What may show the progress of steps."""

    def __call__(self, steps: Iterable[Step], what: str, /) -> Iterable[Step]:
        """The same steps."""


def quiet(steps: Iterable[Step], what: str) -> Iterable[Step]:
    """The steps, without showing progress."""
    return steps


def member_label(number: int) -> str:
    """What errors call a member."""
    return f"member {number}"


def observation_label(number: int) -> str:
    """What errors call an observation."""
    return f"observation {number}"


@dataclass(frozen=True, eq=False)
class Done:
    """A tile and its analysis.

    Attributes
    ----------
    tile : Tile
    prior, analysis : (member, entry) array
        Physical.
    looks : mapping of str to (entry,) array
        What one may look at, such as degrees of freedom.
    """

    tile: Tile
    prior: np.ndarray
    analysis: np.ndarray
    looks: Mapping[str, np.ndarray]


Watch = Callable[[Done], None]


def unwatched(done: Done) -> None:
    """Nobody looks."""


@dataclass(frozen=True, eq=False)
class Pipeline:
    """A filter and observations, ready for ensembles of one layout.

    Attributes
    ----------
    method : Filter
    observation : Observation
        Of states z.
    layout : Layout
    transforms : Transforms
        Of each variable, and its bounds.
    label : callable
        Number of a member to what errors call it.
    place : callable
        The same of an observation.
    """

    method: Filter
    observation: Observation
    layout: Layout
    transforms: Transforms
    label: Callable[[int], str] = member_label
    place: Callable[[int], str] = observation_label

    @classmethod
    def of(
        cls,
        method: Method,
        observation: Observation,
        layout: Layout,
        transforms: Transforms,
        label: Callable[[int], str] = member_label,
        place: Callable[[int], str] = observation_label,
    ) -> Pipeline:
        """For observations of physical states.

        Parameters
        ----------
        method : Filter, callable, str, or None
            As in `ensf.dataset.methods.method_for`.
        observation : Observation
            Of physical states.
        layout, transforms, label, place
            As above.

        Raises
        ------
        ValueError
            If it is no method, or a variable has no place that the localization could use.
        """
        filter = method_for(method, layout)
        here = observation_of(observation, transforms.blocks(layout))
        here = replace(here, error=here.law, state_size=layout.size)
        if here.position is None and here.size:
            here = _located(here, find_localization(filter), layout)
        return cls(filter, here, layout, transforms, label, place)

    @property
    def is_prepared(self) -> bool:
        """Whether the filter is prepared once, and needs no whole states."""
        return isinstance(self.method, Preparable)

    @property
    def localization(self) -> Localization | None:
        """Of the filter."""
        return find_localization(self.method)

    @property
    def length_unit(self) -> str:
        """Of half-widths: km on the sphere, else that of the coordinates that make a position, if they have one."""
        return "" if self.localization is None else length_unit(self.localization, self.layout)

    @cached_property
    def tiles(self) -> Sequence[Tile]:
        """The state, cut."""
        return cut(self.layout, self.localization, self._observed)

    @property
    def _observed(self) -> np.ndarray | None:
        """Where the observations are; None if nowhere."""
        position = self.observation.position
        return to_numpy(position) if position is not None and len(position) else None

    def states(self, ensemble: np.ndarray) -> np.ndarray:
        """z of a physical ensemble ``(member, state)``."""
        return self.transforms.blocks(self.layout).forward(ensemble)

    # --- once ---------------------------------------------------------------------------------------------

    @cached_property
    def needed(self) -> np.ndarray | None:
        """Entries of the state that `prepare` needs, ascending: those that are observed; None for all of them."""
        return self.observation.operator.reads() if self.is_prepared else None

    def prepare(
        self, columns: np.ndarray, rng: Generator, memory: Memory = None, window: Window | None = None
    ) -> Update:
        """The analysis as an update of the tiles of a physical ensemble.

        Parameters
        ----------
        columns : (member, entry) array
            The members at the entries `needed`, or at all of them.
        rng : numpy.random.Generator
        memory : object
            What the cycle before left.
        window : Window, optional
            Physical, for a model in the loop; its end is `columns`, all of them.

        Raises
        ------
        ValueError
            As the filter.
        """
        try:
            return self._prepared(columns, rng, memory, window)
        except BadPrediction as error:
            present = np.flatnonzero(~np.isnan(to_numpy(self.observation.value)))
            raise error.named(self.label, lambda number: self.place(int(present[number]))) from error

    def _prepared(self, columns: np.ndarray, rng: Generator, memory: Memory, window: Window | None) -> Update:
        if memory is not None:
            check_memory(self.method, memory, columns.shape[: 1 if self.is_prepared else 2])
        usable = self.observation.present(columns.dtype).without_scaling()
        if isinstance(self.method, Preparable):
            if usable.size:
                update = self.method.prepare(self._predicted(usable, columns), usable, rng, memory)
                check_left(self.method, update.memory)
                return update
            tile = next(iter(self.tiles_of(tile_at(self.layout, ranges(self.layout, self.localization, 1)[0]))))
            where = places(self.localization, tile.layout, tile.entries)[:0]
            unobserved = self.method.analyse(columns[:, :0], usable, rng, memory, where)
            return Unchanged(unobserved.memory, unobserved.info)
        where = places(self.localization, self.layout, np.arange(self.layout.size))
        states, observation = self.states(columns), self.observation
        if window is None:
            refuse_loop(self.method)
        else:
            observation = observation.within(self._window(window, states))
        analysis = self.method.analyse(states, observation, rng, memory, where)
        if analysis.ensemble is states:
            return Unchanged(analysis.memory, analysis.info)
        looks = {name: value for name, value in analysis.info.items() if np.shape(value) == where.shape[:1]}
        info = {name: value for name, value in analysis.info.items() if name not in looks}
        return Whole(analysis.memory, info, ensemble=analysis.ensemble, taken=analysis.before, looks=looks)

    def _window(self, window: Window, states: np.ndarray) -> Window:
        """The window in z, which ends with `states`."""
        whole = Tile(self.layout, np.arange(self.layout.size))
        start = self.states(window.start)

        def forecast(states: np.ndarray) -> np.ndarray:
            if np.array_equal(states, start[: len(states)]):  # the inverse of a transform rounds
                return self.states(window.forecast(window.start[: len(states)].copy()))
            nothing = np.zeros(states.shape, dtype=bool)
            return self.states(window.forecast(self._finished(states, nothing, states, whole)))

        return Window(start, states, forecast)

    def unresolved_members(self, ensemble: np.ndarray) -> np.ndarray:
        """Members ``(member,)`` of a physical ensemble so far off that rounding hides an observation from a filter."""
        usable = self.observation.present(ensemble.dtype).without_scaling()
        columns = ensemble if self.needed is None else ensemble[:, self.needed]
        if not usable.size:
            return np.zeros(len(ensemble), dtype=bool)
        return usable.unresolved_members(self._predicted(usable, columns))

    def _predicted(self, usable: Observation, columns: np.ndarray) -> np.ndarray:
        """What the linear part of present observations makes of z, ``(member, column)``."""
        if self.needed is None or columns.shape[1] == self.layout.size:
            return usable.predict(self.states(columns))
        states = self.transforms.blocks(self.layout).at(self.needed).forward(columns)
        return replace(usable, operator=usable.operator.narrowed(self.needed), error=usable.law).predict(states)

    # --- for each tile --------------------------------------------------------------------------------------

    def apply(
        self,
        update: Update,
        ensemble: np.ndarray,
        *,
        uncorrected: np.ndarray | None = None,
        replacement: Replacement | None = None,
        replaced: np.ndarray | None = None,
        watch: Watch = unwatched,
        follow: Follow = quiet,
    ) -> None:
        """Overwrite the physical ensemble ``(member, state)`` by its analysis.

        A warning is logged for what was clipped.

        Parameters
        ----------
        update : Update
            Of `prepare`.
        ensemble : (member, state) array
        uncorrected : (member, state) array, optional
            Gets the analysis before corrections of the spread.
        replacement : Replacement, optional
            Of members that failed, whose states `replaced` ``(failed, state)`` gets.
        watch : callable
            ``watch(done)`` is called with every `Done` tile.
        follow : callable
            ``follow(steps, what)`` gives the same steps and may show progress.

        Raises
        ------
        ValueError
            If the analysis is not finite; tiles before are overwritten already.
        """
        clipped: Clipped = Counter()
        for tile in follow(self.tiles, "analysis"):
            members = ensemble.take(tile.entries, axis=1)  # in rows, as filters want them
            if uncorrected is not None:
                uncorrected[:, tile.entries] = self.uncorrected(update, members, tile)
            if replacement is not None and replaced is not None:
                replaced[:, tile.entries] = self.replaced(update, replacement, members, tile)
            done = self.analysed(update, members, tile, clipped)
            ensemble[:, tile.entries] = done.analysis
            watch(done)
        self.say_clipped(clipped, len(ensemble))

    def say_clipped(self, clipped: Clipped, members: int) -> None:
        """Log a warning for what was clipped."""
        for (name, bounds), number in clipped.items():
            block = self.layout.block(name)
            total = members * (block.stop - block.start)
            LOGGER.warning("analysis of %r: %d of %d values clipped to %s", name, number, total, bounds)

    def tiles_of(self, part: Tile) -> Iterator[Tile]:
        """A part of the state, cut; the entries of each tile are those of the whole state."""
        for tile in cut(part.layout, self.localization, self._observed):
            yield Tile(tile.layout, part.entries[tile.entries], tile.where, tile.entries)

    def smooth(
        self, update: Update, ensemble: np.ndarray, lag: int, replacement: Replacement | None = None
    ) -> np.ndarray:
        """Overwrite the physical ensemble ``(member, state)`` of so many cycles ago by what the update makes of it.

        Its spread is not corrected, for that is done once. The result is what takes the places of members that failed,
        ``(failed, state)``, of none without `replacement`.

        Raises
        ------
        ValueError
            If the result is not finite, or the filter needs whole states; nothing is overwritten then.
        """
        corrected = np.empty_like(ensemble)
        failed = 0 if replacement is None else len(replacement.failed)
        replaced = np.empty((failed, ensemble.shape[1]), ensemble.dtype)
        for tile in self.tiles:
            members = ensemble.take(tile.entries, axis=1)
            corrected[:, tile.entries] = self.smoothed(update, members, tile, lag)
            if replacement is not None:
                replaced[:, tile.entries] = self.replaced(update, replacement, members, tile, lag)
        ensemble[...] = corrected
        return replaced

    # --- each of a physical tile (member, entry), which stays as it is; not finite is a ValueError ---------------

    def analysed(self, update: Update, members: np.ndarray, tile: Tile, clipped: Clipped | None = None) -> Done:
        """The analysis."""
        physical, part = self._part(members, tile)
        result, looks = update.analysed(part)
        analysis = self._physical(result, part, physical, tile, clipped)
        return Done(tile, physical, analysis, {name: to_numpy(values) for name, values in looks.items()})

    def uncorrected(self, update: Update, members: np.ndarray, tile: Tile) -> np.ndarray:
        """The analysis before corrections of the spread."""
        physical, part = self._part(members, tile)
        return self._physical(update.uncorrected(part), part, physical, tile)

    def before(self, update: Update, members: np.ndarray, tile: Tile) -> np.ndarray:
        """The members as the filter takes them: after inflation of the forecast."""
        physical, part = self._part(members, tile)
        return self._physical(update.before(part), part, physical, tile)

    def smoothed(self, update: Update, members: np.ndarray, tile: Tile, lag: int) -> np.ndarray:
        """What the update makes of the members of so many cycles ago."""
        if not self.is_prepared:
            raise ValueError(
                f"{type(self.method).__name__} needs whole states, so that its update serves no earlier ones: give a "
                "filter such as LETKF or LETSF"
            )
        physical, part = self._part(members, tile)
        earlier = replace(part, field=earlier_field(lag), inflate=False)
        return self._physical(update.analysed(earlier)[0], part, physical, tile)

    def replaced(
        self, update: Update, replacement: Replacement, members: np.ndarray, tile: Tile, lag: int = 0
    ) -> np.ndarray:
        """What takes the places of members that failed, ``(failed, entry)``, in a cycle so many ago."""
        physical, part = self._part(members, tile)
        now = replace(part, field=earlier_field(lag), inflate=False) if lag else part
        made, donors = replacement.made(update.analysed(now)[0]), replacement.donors
        kept = (made == part.values[donors]) | (physical == physical[:1]).all(axis=0)
        return self._finished(made, kept, physical[donors], tile)

    def parameter(
        self, update: Update, parameter: Parameter, layout: Layout, ensemble: np.ndarray, key: int
    ) -> np.ndarray:
        """Analysis of a parameter of the model, physical ``(member, entry)``.

        Parameters
        ----------
        update : Update
            Of the state.
        parameter : Parameter
        layout : Layout
            Of the parameter alone: one entry has no place, of a field each has its own.
        ensemble : (member, entry) array
        key : int
            Of random walks.

        Raises
        ------
        ValueError
            If a member is outside the bounds, the analysis is not finite, a field has no coordinate that the
            localization could use, or its places have other coordinates.
        """
        (name,) = layout.template.data_vars
        check_places(f"parameter {name!r}", parameter.places, self.localization, self.layout)
        entries = np.arange(layout.size)
        positions = None if layout.size == 1 else places(self.localization, layout, entries)
        made = parameter.analysed(update, ensemble, repr(name), positions, entries, key)
        if not np.isfinite(made).all():
            member = int(np.argmin(np.isfinite(made).all(axis=1)))
            raise ValueError(
                f"the analysis of parameter {name!r} is not finite in {self.label(member)}: give its transform bounds"
            )
        return to_numpy(made).astype(ensemble.dtype, copy=False)

    def influence(self, update: Update, columns: np.ndarray) -> np.ndarray:
        """What each observation has of its own analysis, ``(observation,)``: the diagonal of H K, 0 to 1.

        It is the variance of the analysis of what the members predict, at the place of the observation itself and
        before corrections of the spread, over that of the error; 1 where it is more, as of one that others there have
        pushed aside.

        Parameters
        ----------
        update : Update
            Of `prepare`.
        columns : (member, entry) array
            As of `prepare`.

        Returns
        -------
        (observation,) array
            NaN for a filter of whole states.
        """
        usable = self.observation.present(columns.dtype).without_scaling()
        if not self.is_prepared or not usable.size:
            return np.full(usable.size, np.nan)
        predicted = usable.part.function(self._predicted(usable, columns))
        variance = np.zeros(usable.size)
        for first in range(0, usable.size, OBSERVATIONS):
            some = slice(first, first + OBSERVATIONS)
            position = None if usable.position is None else usable.position[some]
            part = as_part(predicted[:, some], position, self.layout.size + np.arange(usable.size)[some])
            analysed = update.uncorrected(part)
            moved = (analysed != part.values).any(axis=0)
            variance[some] = np.where(moved, member_variance(analysed), 0.0)
        return np.minimum(variance / usable.law.standard_deviation(usable.value) ** 2, 1.0)

    def _part(self, members: np.ndarray, tile: Tile) -> tuple[np.ndarray, Part]:
        """Physical members of a tile, and the part z of them."""
        physical = np.ascontiguousarray(members)
        states = self.transforms.blocks(tile.layout).forward(physical)
        where = places(self.localization, tile.layout, tile.entries)
        variables = np.empty(tile.layout.size)
        for name in tile.layout.template.data_vars:
            variables[tile.layout.block(name)] = variable_code(str(name))
        return physical, as_part(states, where, tile.entries, variables=variables)

    def _physical(
        self, result: Array, part: Part, physical: np.ndarray, tile: Tile, clipped: Clipped | None = None
    ) -> np.ndarray:
        """Physical members of a result in z, where it differs from the part that it came from; counts what is clipped.

        Raises
        ------
        ValueError
            If a value is not finite; it names variable and member.
        """
        kept = (result == part.values) | (physical == physical[:1]).all(axis=0)
        return self._finished(result, kept, physical, tile, clipped)

    def _finished(
        self, result: Array, kept: np.ndarray, physical: np.ndarray, tile: Tile, clipped: Clipped | None = None
    ) -> np.ndarray:
        """Physical members of a result in z, but for what is kept; errors are those of `_physical`."""
        layout = tile.layout
        with np.errstate(over="ignore"):
            values = np.where(kept, physical, self.transforms.blocks(layout).inverse(result))
        for name in layout.template.data_vars:
            block = layout.block(name)
            finite = np.isfinite(values[:, block]).all(axis=1)
            if not finite.all():
                raise ValueError(
                    f"the analysis of variable {name!r} is not finite in {self.label(int(np.argmin(finite)))}: "
                    "observations are too far from the forecast, reject them, or use another transform"
                )
            for bounds in self.transforms.bounds[name]:
                within, _ = bounds.clip(values[:, block])
                outside = (within != values[:, block]) & ~kept[:, block]
                values[:, block] = np.where(outside, within, values[:, block])
                if clipped is not None and outside.any():
                    clipped[name, bounds] += int(np.count_nonzero(outside))
        return values


def _located(observation: Observation, localization: Localization | None, layout: Layout) -> Observation:
    """Observations without places, at those of the entries that they read."""
    read = observation.operator.reads()
    if read is None or localization is not None:
        return observation.located(places(localization, layout, np.arange(layout.size)))
    narrowed = replace(observation, operator=observation.operator.narrowed(read), error=observation.law)
    return replace(observation, error=observation.law, position=narrowed.located(places(None, layout, read)).position)


# --- updates that are finished ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Whole(Update):
    """The analysis of a filter of whole states.

    Attributes
    ----------
    ensemble : (member, state) array
    taken : callable
        Members of a part as the filter took them.
    looks : mapping of str to (state,) array
        What one may look at of the entries.
    """

    ensemble: Array = field(kw_only=True)
    taken: Callable[[Part], Array] = field(kw_only=True)
    looks: Mapping[str, Array] = field(kw_only=True, default_factory=dict)

    @property
    def members(self) -> int:
        """Number of members."""
        return self.ensemble.shape[0]

    def before(self, part: Part) -> Array:
        """The members as the filter took them."""
        return self.taken(part)

    def analysed(self, part: Part) -> tuple[Array, dict[str, Array]]:
        """The members at the entries of a part."""
        looks = {name: value[part.entries] for name, value in self.looks.items()}
        return np.ascontiguousarray(self.ensemble[:, part.entries]), looks
