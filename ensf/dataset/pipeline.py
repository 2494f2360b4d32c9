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
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np

from ensf.arrays import Array, Generator, to_numpy
from ensf.dataset.blocks import Blocks, Transforms, observation_of
from ensf.dataset.coordinates import find_coordinate, variable_dims
from ensf.dataset.layout import Layout
from ensf.dataset.methods import Method, dims_of, find_localization, method_for, places
from ensf.dataset.tiles import Tile, cut
from ensf.dataset.transforms import Bounds
from ensf.filters.base import Filter, Memory, Part, Preparable, Unchanged, Update, as_part
from ensf.filters.guarded import check_memory
from ensf.localization import Localization, Sphere, variable_code
from ensf.observations import Observation, Operator
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
    """

    method: Filter
    observation: Observation
    layout: Layout
    transforms: Transforms
    label: Callable[[int], str] = member_label

    @classmethod
    def of(
        cls,
        method: Method,
        observation: Observation,
        layout: Layout,
        transforms: Transforms,
        label: Callable[[int], str] = member_label,
    ) -> Pipeline:
        """For observations of physical states.

        Parameters
        ----------
        method : Filter, callable, str, or None
            As in `ensf.dataset.methods.method_for`.
        observation : Observation
            Of physical states.
        layout, transforms, label
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
            here = here.located(places(find_localization(filter), layout, np.arange(layout.size)))
        return cls(filter, here, layout, transforms, label)

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
        localization = self.localization
        if localization is None or isinstance(localization.geometry, Sphere):
            return "" if localization is None else "km"
        dims = dims_of(localization)
        variable = next(iter(self.layout.template.data_vars.values()))
        own = variable_dims(variable.name, dims)
        coordinate = find_coordinate(variable, own[0]) if own else None
        return "" if coordinate is None else str(coordinate.attrs.get("units", ""))

    @cached_property
    def tiles(self) -> Sequence[Tile]:
        """The state, cut."""
        position = self.observation.position
        return cut(
            self.layout, self.localization, to_numpy(position) if position is not None and len(position) else None
        )

    def states(self, ensemble: np.ndarray) -> np.ndarray:
        """z of a physical ensemble ``(member, state)``."""
        return self.transforms.blocks(self.layout).forward(ensemble)

    # --- once ---------------------------------------------------------------------------------------------

    def prepare(self, ensemble: np.ndarray, rng: Generator, memory: Memory = None) -> Update:
        """The analysis of a physical ensemble ``(member, state)``, as an update of its tiles.

        Parameters
        ----------
        ensemble : (member, state) array
        rng : numpy.random.Generator
        memory : object
            What the cycle before left.

        Raises
        ------
        ValueError
            As the filter.
        """
        if memory is not None:
            check_memory(self.method, memory, ensemble.shape)
        usable = self.observation.present(ensemble.dtype).without_scaling()
        if isinstance(self.method, Preparable):
            if usable.size:
                states = _read(ensemble, self.transforms.blocks(self.layout), usable.operator)
                return self.method.prepare(usable.predict(states), usable, rng, memory)
            where = places(self.localization, self.tiles[0].layout, self.tiles[0].entries)[:0]
            unobserved = self.method.analyse(ensemble[:, :0], usable, rng, memory, where)
            return Unchanged(unobserved.memory, unobserved.info)
        where = places(self.localization, self.layout, np.arange(self.layout.size))
        states = self.states(ensemble)
        analysis = self.method.analyse(states, self.observation, rng, memory, where)
        if analysis.ensemble is states:
            return Unchanged(analysis.memory, analysis.info)
        return Whole(analysis.memory, analysis.info, ensemble=analysis.ensemble, taken=analysis.before)

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
            if uncorrected is not None:
                physical, part = self._part(ensemble, tile)
                uncorrected[:, tile.entries] = self._physical(update.uncorrected(part), part, physical, tile)
            if replacement is not None and replaced is not None:
                physical, part = self._part(ensemble, tile)
                replaced[:, tile.entries] = self._made(replacement, update.analysed(part)[0], part, physical, tile)
            done = self.analysed(update, ensemble, tile, clipped)
            ensemble[:, tile.entries] = done.analysis
            watch(done)
        for (name, bounds), number in clipped.items():
            total = ensemble[:, self.layout.block(name)].size
            LOGGER.warning("analysis of %r: %d of %d values clipped to %s", name, number, total, bounds)

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
        if not self.is_prepared:
            raise ValueError(
                f"{type(self.method).__name__} needs whole states, so that its update serves no earlier ones: give a "
                "filter such as LETKF or LETSF"
            )
        corrected = np.empty_like(ensemble)
        failed = 0 if replacement is None else len(replacement.failed)
        replaced = np.empty((failed, ensemble.shape[1]), ensemble.dtype)
        for tile in self.tiles:
            physical, part = self._part(ensemble, tile)
            result = update.analysed(replace(part, field=earlier_field(lag), inflate=False))[0]
            corrected[:, tile.entries] = self._physical(result, part, physical, tile)
            if replacement is not None:
                replaced[:, tile.entries] = self._made(replacement, result, part, physical, tile)
        ensemble[...] = corrected
        return replaced

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
            If a member is outside the bounds, the analysis is not finite, or a field has no coordinate that the
            localization could use.
        """
        (name,) = layout.template.data_vars
        entries = np.arange(layout.size)
        positions = None if layout.size == 1 else places(self.localization, layout, entries)
        made = parameter.analysed(update, ensemble, repr(name), positions, entries, key)
        if not np.isfinite(made).all():
            member = int(np.argmin(np.isfinite(made).all(axis=1)))
            raise ValueError(
                f"the analysis of parameter {name!r} is not finite in {self.label(member)}: give its transform bounds"
            )
        return to_numpy(made).astype(ensemble.dtype, copy=False)

    def analysed(self, update: Update, ensemble: np.ndarray, tile: Tile, clipped: Clipped | None = None) -> Done:
        """The analysis of one tile of a physical ensemble ``(member, state)``, which stays as it is.

        Raises
        ------
        ValueError
            If it is not finite.
        """
        physical, part = self._part(ensemble, tile)
        result, looks = update.analysed(part)
        analysis = self._physical(result, part, physical, tile, clipped)
        return Done(tile, physical, analysis, {name: to_numpy(values) for name, values in looks.items()})

    def influence(self, update: Update, ensemble: np.ndarray) -> np.ndarray:
        """What each observation has of its own analysis, ``(observation,)``: the diagonal of H K, 0 to 1.

        It is the variance of the analysis of what the members predict, at the place of the observation itself and
        before corrections of the spread, over that of the error.

        Parameters
        ----------
        update : Update
            Of `prepare`.
        ensemble : (member, state) array
            Physical forecast.

        Returns
        -------
        (observation,) array
            NaN for a filter of whole states.
        """
        usable = self.observation.present(ensemble.dtype).without_scaling()
        if not self.is_prepared or not usable.size:
            return np.full(usable.size, np.nan)
        states = _read(ensemble, self.transforms.blocks(self.layout), usable.operator)
        predicted = usable.part.function(usable.predict(states))
        variance = np.zeros(usable.size)
        for first in range(0, usable.size, OBSERVATIONS):
            some = slice(first, first + OBSERVATIONS)
            position = None if usable.position is None else usable.position[some]
            part = as_part(predicted[:, some], position, self.layout.size + np.arange(usable.size)[some])
            analysed = update.uncorrected(part)
            moved = (analysed != part.values).any(axis=0)
            variance[some] = np.where(moved, np.var(analysed, axis=0, ddof=1), 0.0)
        return variance / usable.law.standard_deviation(usable.value) ** 2

    def before(self, update: Update, ensemble: np.ndarray) -> np.ndarray:
        """The physical ensemble as the filter takes it: after inflation of the forecast."""
        inflated = np.empty_like(ensemble)
        for tile in self.tiles:
            physical, part = self._part(ensemble, tile)
            inflated[:, tile.entries] = self._physical(update.before(part), part, physical, tile)
        return inflated

    def _part(self, ensemble: np.ndarray, tile: Tile) -> tuple[np.ndarray, Part]:
        """Physical members of a tile, and the part z of them."""
        physical = np.ascontiguousarray(ensemble[:, tile.entries])
        states = self.transforms.blocks(tile.layout).forward(physical)
        where = places(self.localization, tile.layout, tile.entries)
        variables = np.empty(tile.layout.size)
        for name in tile.layout.template.data_vars:
            variables[tile.layout.block(name)] = variable_code(str(name))
        return physical, as_part(states, where, tile.entries, variables=variables)

    def _made(
        self, replacement: Replacement, result: Array, part: Part, physical: np.ndarray, tile: Tile
    ) -> np.ndarray:
        """Physical members ``(failed, entry)`` that take the places of those that failed, of a result in z."""
        made, donors = replacement.made(result), replacement.donors
        kept = (made == part.values[donors]) | (physical == physical[:1]).all(axis=0)
        return self._finished(made, kept, physical[donors], tile)

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


def _read(ensemble: np.ndarray, blocks: Blocks, operator: Operator) -> np.ndarray:
    """z of a physical ensemble, at the entries that the operator reads; whatever elsewhere."""
    if blocks.unchanged:
        return ensemble
    read = operator.reads()
    if read is None:
        return blocks.forward(ensemble)
    states = np.zeros_like(ensemble)
    states[:, read] = blocks.at(read).forward(np.ascontiguousarray(ensemble[:, read]))
    return states


# --- updates that are finished ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Whole(Update):
    """The analysis of a filter of whole states.

    Attributes
    ----------
    ensemble : (member, state) array
    taken : callable
        Members of a part as the filter took them.
    """

    ensemble: Array = field(kw_only=True)
    taken: Callable[[Part], Array] = field(kw_only=True)

    def before(self, part: Part) -> Array:
        """The members as the filter took them."""
        return self.taken(part)

    def analysed(self, part: Part) -> tuple[Array, dict[str, Array]]:
        """The members at the entries of a part."""
        return np.ascontiguousarray(self.ensemble[:, part.entries]), {}
