"""The way from prior ensemble and observation to analysis ensemble: observe, prepare, apply. Read this first.

An ensemble filter knows of the state only what the members predict of the observations, so its work has three steps:

    predicted = observation.predict(prior)                        (member, column)
    update = filter.prepare(predicted, observation, rng, memory)  once; nothing in it has the size of the state
    part = update.apply(part, positions, entries)                 any part of the state, in any order, anywhere

and `analyse`, the verb of every filter, is the three steps on everything. What is applied to a part has, bit for bit,
the numbers that it has in the whole; so one update serves the analysed state, tiles on other machines, parameters
without a place (``positions=None``), states at earlier times, and fields that were not analysed.

A filter that needs whole states (a score filter, a copula) has `analyse` alone: it is no `Preparable`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any, ClassVar, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np

from ensf.arrays import (
    Array,
    Generator,
    Record,
    as_floating,
    generator,
    is_host,
    like,
    mean_departure,
    member_variance,
    namespace,
    summary,
    to_numpy,
)
from ensf.arrays.settings import as_indices
from ensf.filters.guarded import check_finite, guarded
from ensf.observations.observation import Observation
from ensf.observations.operators import Select

Maybe = TypeVar("Maybe")
Memory: TypeAlias = Any
"""What a filter leaves for its next cycle; nobody but the filter looks into it."""
Info: TypeAlias = Mapping[str, Any]
"""What one looks at: scalars, or arrays with an entry per variable. No filter reads it."""

__all__ = [
    "Analysis",
    "Filter",
    "Info",
    "Memory",
    "Part",
    "Preparable",
    "Prepared",
    "Smoothing",
    "Unchanged",
    "Update",
    "as_ensemble",
    "as_positions",
    "can",
    "check_filter",
    "refuse_predictions",
    "unsmoothed",
    "usable",
    "with_predictions",
]


@dataclass(frozen=True, eq=False)
class Analysis:
    """What a filter returns.

    Attributes
    ----------
    ensemble : (member, state) array
    memory : object
        What the next cycle's call needs; None for most filters.
    info : mapping
        What one looks at: scalars or arrays that no filter reads again.
    update : Update, optional
        What was applied to the prior, by a filter that prepares one: it serves parameters, and states at earlier times.
    before : callable
        Members of a part of the prior as the filter took them: after inflation of the forecast.
    earlier : tuple of (member, state) array
        States of the cycles before, corrected by the same update, the latest first: what a `Smoother` gives.
    """

    ensemble: Array
    memory: Memory = None
    info: Info = field(default_factory=dict)
    update: Update | None = None
    before: Callable[[Part], Array] = attrgetter("values")
    earlier: tuple[Array, ...] = ()

    def __repr__(self) -> str:
        return f"Analysis(ensemble {summary(self.ensemble)}, info {', '.join(self.info) or 'none'})"


class Filter(Protocol):
    """Anything with this verb is a filter; wrappers hold a filter and are filters."""

    def analyse(
        self,
        prior: Array,
        observation: Observation,
        rng: Generator | int | None,
        memory: Memory = None,
        positions: np.ndarray | None = None,
    ) -> Analysis:
        """Analysis ensemble from a prior ensemble ``(member, state)``; arguments are never changed.

        `positions`, ``(state, dimension)``, say where the state variables are; by default each is at its index. A
        filter that is `Preparable` takes predictions of the observations made elsewhere, too: ``predicted=``.
        """


@runtime_checkable
class Preparable(Protocol):
    """A filter that knows of the state only what the members predict of the observations."""

    def prepare(self, predicted: Array, observation: Observation, rng: Generator, memory: Memory = None) -> Update:
        """The analysis as an update for any part of the state.

        Parameters
        ----------
        predicted : (member, column) array
            ``observation.predict(prior)``.
        observation : Observation
            As `usable` gives it: present, and located if the filter is local.
        rng : numpy.random.Generator
        memory : object
            What the cycle before left.
        """


@runtime_checkable
class Smoothing(Protocol):
    """A filter that also corrects states of earlier cycles; no wrapper may stand around it."""

    @property
    def filter(self) -> Filter:
        """What analyses the last cycle."""

    @property
    def lag(self) -> int:
        """Number of earlier cycles."""

    def corrected(self, analysis: Analysis, memory: Memory, positions: np.ndarray | None) -> Analysis:
        """The analysis of the filter with the remembered states corrected by its update, and itself remembered."""


@runtime_checkable
class Augmenting(Protocol):
    """A filter whose state ends with parameters; wrappers that change members stand in it."""

    @property
    def filter(self) -> Filter:
        """What analyses the state before them."""

    @property
    def parameters(self) -> tuple[object, ...]:
        """How each is analysed."""


def unsmoothed(method: Maybe) -> tuple[Maybe | Filter, int]:
    """What analyses the last cycle, and how many earlier ones are corrected: the method itself, and none."""
    return (method.filter, method.lag) if isinstance(method, Smoothing) else (method, 0)


# --- the analysis as an update -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Part(Record):
    """A part of the state, at the time of the analysis or another.

    Attributes
    ----------
    values : (member, entry) array
    positions : (entry, dimension) array, optional
        Where the entries are; None for parameters, which have no place.
    entries : (entry,) array of int
        Their indices in the whole field.
    field : str
        What they are entries of; "state" is what the observations read.
    inflate : bool
        Whether the spread is to be controlled; not for states at earlier times.
    variables : (entry,) array, optional
        Code of the variable of each entry, as `ensf.variable_code`; None where variables have no names.
    """

    values: Array
    positions: np.ndarray | None
    entries: np.ndarray
    field: str = "state"
    inflate: bool = True
    variables: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Update(Record):
    """An analysis that is ready to be applied; subclasses say how in `analysed`.

    Attributes
    ----------
    memory : object
        What the next cycle's call needs.
    info : mapping
        What one looks at. No filter reads it.
    """

    memory: Memory = None
    info: Info = field(default_factory=dict)

    @property
    def members(self) -> int | None:
        """Number of members of what it is applied to; None where any number will do."""
        return None

    def near(self, positions: np.ndarray) -> Update:
        """The update without what does not reach the positions: for parts there it gives the same bits."""
        return self

    def apply(
        self,
        part: Array,
        positions: np.ndarray | None = None,
        entries: np.ndarray | None = None,
        *,
        field: str = "state",
        inflate: bool = True,
    ) -> Array:
        """Analysis of a part of the state.

        Parameters
        ----------
        part : (member, entry) array
            Of the prior.
        positions : (entry, dimension) array, optional
            Where the entries are; without, as for a parameter, they take the mean update of the places that
            `prepare` fixed.
        entries : (entry,) array of int, optional
            Their indices in the whole field; by default ``0, 1, ...``.
        field : str
            Name of the field. Observations read "state"; random numbers differ from field to field.
        inflate : bool
            Whether the spread is to be controlled; not for states at earlier times.

        Returns
        -------
        (member, entry) array

        Raises
        ------
        ValueError
            If the part is no array (member, entry) of numbers, has not the members of the prior, or positions or
            entries are not one for each entry.
        Lost
            If the analysis is not finite.
        """
        part = as_floating(part, "part")
        if part.ndim != 2:
            raise ValueError(f"part has shape {tuple(part.shape)}: give (member, entry), one column per entry")
        if self.members not in (None, part.shape[0]):
            raise ValueError(
                f"the part has {part.shape[0]} members but the update is of {self.members}: give the same members, in "
                "their order"
            )
        if positions is not None:
            positions = as_positions(positions, part.shape[1], "the part has {} entries")
        if entries is not None and np.shape(entries) != (part.shape[1],):
            raise ValueError(
                f"entries have shape {np.shape(entries)} but the part has {part.shape[1]}: give one index for each"
            )
        analysis = self.analysed(as_part(part, positions, entries, field, inflate))[0]
        check_finite(analysis, "a part", part)
        return analysis

    def analysed(self, part: Part) -> tuple[Array, dict[str, Array]]:
        """Members of a part, and what one may look at of its entries: name and ``(entry,)`` array."""
        raise NotImplementedError(f"{type(self).__name__} has no analysed: it gives the members and a mapping")

    def before(self, part: Part) -> Array:
        """The members as the filter takes them: after inflation of the forecast."""
        return part.values

    def uncorrected(self, part: Part) -> Array:
        """The analysis before its spread is corrected."""
        return self.analysed(part)[0]

    def combined(self, part: Part, combine: Callable[[Array], Array]) -> Array:
        """Combinations of the members of a part, in the coordinates in which the filter takes them.

        Parameters
        ----------
        part : Part
            Its analysis.
        combine : callable
            ``(member, entry) -> (combination, entry)``, linear in the anomalies.
        """
        return combine(part.values)

    def degrees_of_freedom(self, positions: np.ndarray) -> Array:
        """Degrees of freedom that the observations take at each position, ``(position,)``.

        Raises
        ------
        ValueError
            If the filter does not tell.
        """
        raise ValueError(
            f"{type(self).__name__} does not tell its degrees of freedom, which adaptive inflation needs: give it "
            "degrees_of_freedom(positions), or use another inflation"
        )


def as_part(
    values: Array,
    positions: np.ndarray | None = None,
    entries: np.ndarray | None = None,
    field: str = "state",
    inflate: bool = True,
    variables: np.ndarray | None = None,
) -> Part:
    """A part with contiguous values; its entries are counted from 0 unless they are given."""
    values = np.ascontiguousarray(values) if is_host(values) else values
    entries = np.arange(values.shape[1]) if entries is None else as_indices(entries, "part")
    return Part(values, None if positions is None else to_numpy(positions), entries, field, inflate, variables)


@dataclass(frozen=True, eq=False)
class Unchanged(Update):
    """The prior is the analysis."""

    def analysed(self, part: Part) -> tuple[Array, dict[str, Array]]:
        """The members as they are."""
        return part.values, {}


@dataclass(frozen=True)
class Prepared:
    """`analyse` for a filter with `prepare`: the three steps on everything.

    Attributes
    ----------
    remembers : type, optional
        Class of what it leaves as memory; None for nothing.
    """

    remembers: ClassVar[type | None] = None

    def prepare(self, predicted: Array, observation: Observation, rng: Generator, memory: Memory = None) -> Update:
        """The analysis as an update for any part of the state."""
        raise NotImplementedError(f"{type(self).__name__} has no prepare: it gives an Update")

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
            Where the state variables are, in the coordinates of the localization; by default each is at its index.
        predicted : (member, column) array, optional
            What each member predicts, missing observations included, where the model is elsewhere: a column for each
            observation, or as many as the linear part of the operator has. By default ``observation.predict(prior)``.

        Raises
        ------
        ValueError
            If prior, observation, positions or predictions do not fit, or a prediction is not finite; the sentence
            names it.
        """
        prior, observation, positions, predicted = with_predictions(prior, observation, positions, predicted)
        if observation.size == 0:
            return Analysis(prior, memory)
        update = self.prepare(predicted, observation, generator(rng), memory)
        ensemble, fields = update.analysed(as_part(prior, positions))
        return Analysis(ensemble, update.memory, {**update.info, **fields}, update, update.before)


# --- what every filter asks of its input -------------------------------------------------------------------


def can(thing: object, *verbs: str) -> bool:
    """Whether a thing, which is no class, has one of these methods."""
    return not isinstance(thing, type) and any(hasattr(thing, verb) for verb in verbs)


def check_filter(filter: object, owner: str, parameters: bool = False) -> None:
    """Raise ValueError for what is no filter, such as its class, or one that stands outside of its owner.

    Parameters
    ----------
    filter : object
    owner : str
        What holds it.
    parameters : bool
        Whether its state may end with parameters.
    """
    if not can(filter, "analyse", "prepare"):
        name = filter.__name__ if isinstance(filter, type) else repr(filter)
        raise ValueError(f"{owner} holds {name}, which is no filter: give one with its settings, such as ETKF()")
    if isinstance(filter, Smoothing):
        raise ValueError(
            f"{owner} holds {type(filter).__name__}, which remembers the analyses as they go into the next cycle: put "
            f"it outside, {type(filter).__name__}({owner}(...), {filter.lag})"
        )
    if isinstance(filter, Augmenting) and not parameters:
        raise ValueError(
            f"{owner} holds {type(filter).__name__}, and would take parameters for variables of the state, beyond "
            f"their bounds: put it outside, {type(filter).__name__}({owner}(...), ...)"
        )


def usable(
    prior: Array, observation: Observation, positions: np.ndarray | None = None
) -> tuple[Array, Observation, np.ndarray]:
    """Prior, the observations to use, and the positions of the state variables.

    The observations are those that are not missing, in the dtype of the prior, at their places.

    Raises
    ------
    ValueError
        If the prior is not a finite (member, state) ensemble, lives elsewhere than the observation, or does not fit
        the positions.
    """
    prior = as_ensemble(prior)
    xp = namespace(prior)
    if namespace(observation.value) is not xp:
        raise ValueError(
            f"prior is a {type(prior).__module__} array but the observation a {type(observation.value).__module__} "
            "one: move one to the other with ensf.arrays.like"
        )
    if positions is None:
        positions = np.arange(prior.shape[1], dtype=np.float64)[:, None]
    else:
        positions = as_positions(positions, prior.shape[1], "the prior has {} variables")
    present = observation.present(prior.dtype).without_scaling()
    return prior, present.located(positions) if present.size else present, positions


def with_predictions(
    prior: Array, observation: Observation, positions: np.ndarray | None, predicted: Array | None
) -> tuple[Array, Observation, np.ndarray, Array]:
    """As `usable`, and the columns that the members predict of the observations to use, ``(member, column)``.

    Parameters
    ----------
    prior, observation, positions
        As of `usable`.
    predicted : (member, column) array or None
        Of all observations, those that are missing included; None: as the operator predicts.

    Raises
    ------
    ValueError
        As `usable`, or if the predictions do not fit, or one of an observation that is not missing is not finite.
    """
    prior, present, positions = usable(prior, observation, positions)
    if predicted is None:
        return prior, present, positions, present.predict(prior) if present.size else prior[:, :0]
    return prior, present, positions, observation.columns_of(predicted, prior)


def refuse_predictions(predicted: Array | None, filter: object) -> None:
    """Raise ValueError if a filter that needs whole states or the operator itself is given predictions."""
    if predicted is not None:
        raise ValueError(
            f"{type(filter).__name__} needs the operator and whole states, not predicted= alone: give a filter that "
            "is Preparable, such as EnKF, ETKF, LETKF or LETSF"
        )


def as_ensemble(prior: Array) -> Array:
    """A finite (member, state) array of what a caller has.

    Raises
    ------
    ValueError
        If it is masked, not finite, or has another shape.
    """
    prior = as_members(prior)
    if not bool(namespace(prior).isfinite(namespace(prior).sum(prior))):
        _name_bad_entry(to_numpy(prior))
    return prior


def as_members(prior: Array) -> Array:
    """A (member, state) array of what a caller has, finite or not.

    Raises
    ------
    ValueError
        If it is masked or has another shape.
    """
    if np.ma.is_masked(prior):
        member, variable = np.argwhere(np.ma.getmaskarray(prior))[0].tolist()
        raise ValueError(f"prior member {member} is masked at state variable {variable}: leave masked points out")
    prior = as_floating(prior, "prior")
    if prior.ndim != 2 or prior.shape[0] < 2:
        raise ValueError(
            f"prior must be an array (member, state) of two members or more, not shape {tuple(prior.shape)}"
        )
    return prior


def as_positions(positions: Array, count: int, counted: str) -> np.ndarray:
    """Positions ``(entry, dimension)`` on the host of what a caller has.

    Parameters
    ----------
    positions : array, or anything that NumPy reads as numbers
    count : int
        Number of entries that they are for.
    counted : str
        What these are, for the sentence, with braces for their number.

    Raises
    ------
    ValueError
        If there are not `count` rows of numbers.
    """
    array = to_numpy(as_floating(positions, "positions"))
    if array.ndim != 2 or len(array) != count:
        raise ValueError(
            f"positions have shape {array.shape} but {counted.format(count)}: give one row of coordinates for each, "
            "(entry, dimension)"
        )
    return array


def _name_bad_entry(prior: np.ndarray) -> None:
    bad = ~np.isfinite(prior)
    if bad.any():
        member, variable = np.argwhere(bad)[0]
        raise ValueError(
            f"prior member {member} has {prior[member, variable]} at state variable {variable}: "
            "repair or drop that member before the analysis"
        )


def observed_variables(observation: Observation) -> np.ndarray | None:
    """Variable that each observation is a function of, ``(observation,)``; None unless its column is that variable."""
    size = observation.state_size or observation.size
    entries, part = observation.operator.entries(size), observation.part
    if entries is None or part.pointwise is None:
        return None
    linear, variable, read = part.linear, Select(entries), part.linear.reads()
    if read is None:
        read = np.arange(size)
    else:
        read = np.union1d(read, entries)
        linear, variable = linear.narrowed(read), variable.narrowed(read)
    states = like(np.cos(1.0 + read)[None], observation.value)
    same = namespace(states).all(linear(states) == variable(states))
    return entries if bool(same) else None


def innovations(predicted: Array, observation: Observation) -> tuple[Array, Array]:
    """Squared innovation of the mean and ensemble variance, ``(observation,)``, over the variance of the error.

    Parameters
    ----------
    predicted : (member, column) array
        ``observation.predict(prior)``.
    observation : Observation
    """
    values = observation.part.function(predicted)
    error = observation.law.standard_deviation(observation.value)
    square = (mean_departure(observation.value, values) / error) ** 2
    return square, member_variance(values) / error**2


def with_values(part: Part, values: Array) -> Part:
    """The same entries with other members."""
    return replace(part, values=values)
