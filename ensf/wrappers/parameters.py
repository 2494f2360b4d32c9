"""State augmentation: parameters of the model are analysed with the state, by the update that the state gets.

    z = g(p),      z <- z + increment of the update,      p = g^-1(z)

g is the parameter's transform, which keeps it within bounds. What nothing forecasts loses spread in every analysis,
until the filter does not listen any more. So after it

    walk          z_j <- z_j + walk e_j,   e_j ~ N(0, 1), with mean zero over the members
    min_spread    anomalies of z are multiplied until their standard deviation is this, if it is smaller

A parameter without a place takes the mean, over places, of what the update would make of it there: over places of
observations that `prepare` fixes, or over those that speak for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from ensf.arrays import Array, Generator, as_floating, counted_normal, like, member_mean, namespace, to_numpy
from ensf.arrays.settings import check_kind, check_settings
from ensf.filters.base import Analysis, Filter, Memory, Part, Preparable, Unchanged, Update, as_part
from ensf.observations.observation import Observation
from ensf.wrappers.base import WrappedUpdate, Wrapper, check_ranges
from ensf.wrappers.smoother import is_a_state
from ensf.wrappers.spread import scaled, spread, spread_ratio

__all__ = ["AugmentedState", "Parameter"]

OfParameter = Callable[["Parameter", Part, str, np.ndarray | None], Array]
"""What becomes of a part that is of a parameter, of its name and at its places."""
UNTOUCHED = {"inflation": 1.0, "correction": 0.0}
"""Of what one may look at of the state: what stands at parameters; NaN at all else."""


class Transform(Protocol):
    """Change of coordinates of a parameter, such as `ensf.dataset.Log` or `ensf.dataset.Logit`."""

    def forward(self, values: Array) -> Array:
        """z of the physical values p."""

    def inverse(self, values: Array) -> Array:
        """p of z."""


@dataclass(frozen=True)
class Parameter:
    """How a parameter is analysed.

    Parameters
    ----------
    transform : Transform, optional
        To what the filter works on: ``Log()`` for what is positive, ``Logit(low, high)`` for what has two bounds.
    min_spread : float
        Standard deviation of the members that an analysis leaves at least, in the units of the parameter; with a
        transform in those of z, for `Log` a part of the value.
    walk : float
        Standard deviation of a random walk from one analysis to the next, in the same units.
    places : tuple of tuple of float
        Places that speak for a parameter without a place, in the coordinates of the localization; or where the entries
        of a field are. Without, places of observations.
    is_field : bool
        Whether there is an entry at each of the places.

    Raises
    ------
    ValueError
        If a number is negative or not finite, or a field has no places.
    """

    transform: Transform | None = None
    min_spread: float = 0.0
    walk: float = 0.0
    places: tuple[tuple[float, ...], ...] = ()
    is_field: bool = False

    def __post_init__(self) -> None:
        check_settings(self)
        if self.transform is not None:
            check_kind(self.transform, "forward", "transform of Parameter", "Log()")
        dimensions = sorted({np.size(place) for place in self.places})
        if len(dimensions) > 1:
            raise ValueError(f"places of Parameter have {dimensions} coordinates: give the same number of each")
        places = to_numpy(as_floating(self.places, "places of Parameter")) if dimensions else np.zeros((0, 1))
        if places.ndim == 1:
            places = places[:, None]
        object.__setattr__(self, "places", tuple(map(tuple, places.tolist())))
        rules = {
            name: (0 <= getattr(self, name) < math.inf, "0 or a positive number") for name in ("min_spread", "walk")
        }
        rules["places"] = bool(np.isfinite(places).all()), "finite coordinates"
        rules["is_field"] = not self.is_field or len(places) > 0, "a place for each entry, or is_field=False"
        check_ranges(self, "parameter", rules)

    @property
    def size(self) -> int:
        """Number of its entries."""
        return len(self.places) if self.is_field else 1

    def to_filter(self, values: Array, name: str) -> Array:
        """z of physical members ``(member, entry)``.

        Raises
        ------
        ValueError
            If one is not within the bounds of the transform; it names parameter and member.
        """
        if self.transform is None:
            return values
        with np.errstate(all="ignore"):
            changed = self.transform.forward(values)
        outside = ~np.isfinite(to_numpy(changed))
        if outside.any():
            member, entry = np.argwhere(outside)[0].tolist()
            raise ValueError(
                f"{name} is {float(values[member, entry]):.6g} in member {member}, outside the bounds of "
                f"{self.transform}: change the transform, or draw members within"
            )
        return changed

    def analysed(
        self,
        update: Update,
        values: Array,
        name: str,
        positions: np.ndarray | None = None,
        entries: np.ndarray | None = None,
        key: int | None = None,
    ) -> Array:
        """Analysis of the parameter.

        Parameters
        ----------
        update : Update
            Of the state.
        values : (member, entry) array
            Physical members.
        name : str
        positions : (entry, dimension) array, optional
            Where the entries of a field are.
        entries : (entry,) array of int, optional
            Their indices in the field.
        key : int, optional
            Of the random walk; without one the spread is not controlled, as of earlier times.

        Raises
        ------
        ValueError
            If a member is not within the bounds of the transform.
        """
        prior = self.to_filter(values, name)
        if positions is not None or not self.places:
            analysis = update.analysed(as_part(prior, positions, entries, name, inflate=False))[0]
        else:
            places = np.array(self.places)
            spread_out = namespace(prior).broadcast_to(prior, (prior.shape[0], len(places)))
            there = update.analysed(as_part(spread_out, places, None, name, inflate=False))[0]
            analysis = prior + member_mean((there - prior).T)[:, None]
        if key is not None:
            analysis = self.with_spread(analysis, name, entries, key)
        if self.transform is None:
            return analysis
        return namespace(prior).where(analysis == prior, values, self.transform.inverse(analysis))

    def combined(self, values: Array, combine: Callable[[Array], Array]) -> Array:
        """Combinations of physical members in z, as what takes the places of members that failed, within the bounds."""
        if self.transform is None:
            return combine(values)
        return self.transform.inverse(combine(self.transform.forward(values)))

    def with_spread(self, members: Array, name: str, entries: np.ndarray | None, key: int) -> Array:
        """Members z ``(member, entry)`` after a step of the random walk, with the spread that they have at least.

        Where all members agree there is nothing to widen: they are drawn anew around their value."""
        xp = namespace(members)
        if self.walk:
            entries = np.arange(members.shape[1]) if entries is None else entries
            noise = counted_normal(key, name, entries, members.shape[0], members)
            members = members + self.walk * (noise - member_mean(noise))
        if not self.min_spread:
            return members
        factor = spread_ratio(xp.full_like(members[0, :], self.min_spread), members)
        members = xp.where(factor > 1, scaled(members, factor), members)
        agree = spread(members) < 0.5 * self.min_spread
        if not bool(xp.any(agree)):
            return members
        entries = np.arange(members.shape[1]) if entries is None else entries
        noise = counted_normal(key, f"{name} where members agree", entries, members.shape[0], members)
        return xp.where(agree, member_mean(members) + self.min_spread * _standard(noise), members)


def _standard(noise: Array) -> Array:
    """Members ``(member, entry)`` with mean zero and spread one."""
    anomalies = noise - member_mean(noise)
    return anomalies / spread(anomalies)


@dataclass(frozen=True)
class AugmentedState(Wrapper):
    """Wrapper: the last entries of the state are parameters.

    The model hands them on, each member with its own; observations are of the other entries. In a Dataset and in
    cycles with files, ``parameters=`` does it. It goes outside of other wrappers, so that these see the state alone;
    those that change members refuse it.

    Parameters
    ----------
    filter : Preparable
    parameters : tuple of Parameter
        In their order at the end of the state. Their rows of ``positions=`` are not read.

    Raises
    ------
    ValueError
        If the filter needs whole states, or there are no parameters.
    """

    parameters: tuple[Parameter, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        chosen = (self.parameters,) if isinstance(self.parameters, Parameter) else tuple(self.parameters)
        object.__setattr__(self, "parameters", chosen)
        if not chosen or not all(isinstance(one, Parameter) for one in chosen):
            raise ValueError(f"parameters are {self.parameters!r}: give a tuple of Parameter(...), one for each")
        check_preparable(self.filter)

    @property
    def size(self) -> int:
        """Number of entries that are parameters."""
        return sum(parameter.size for parameter in self.parameters)

    def _prepare(self, predicted: Array, observation: Observation, rng: Generator, memory: Memory = None) -> Update:
        if observation.state_size is None or observation.state_size <= self.size:
            raise ValueError(
                f"the state has {observation.state_size} entries, the last {self.size} are parameters: give a state "
                "that ends with them, and observations of the rest"
            )
        size = observation.state_size - self.size
        read = observation.operator.reads_of_state()
        if read is not None and read.size and read[-1] >= size:
            raise ValueError(
                f"an observation reads entry {int(read[-1])}, which is a parameter: the state ends at {size - 1}"
            )
        located = replace(observation, error=observation.law)
        object.__setattr__(located, "state_size", size)
        return self._around(self._inner(predicted, located, rng, memory), size, rng)

    def _around(self, update: Update, size: int, rng: Generator) -> AugmentedUpdate:
        """The update of the state, of so many entries, and of the parameters behind it."""
        key = int(rng.integers(2**63)) if any(parameter.walk for parameter in self.parameters) else 0
        info = {**update.info, "parameters": self.size}
        return AugmentedUpdate(
            update.memory, info, update=update, whole=update, parameters=self.parameters, size=size, key=key
        )

    def _without_observations(
        self, prior: Array, observation: Observation, rng: Generator, memory: Memory, positions: np.ndarray
    ) -> Analysis:
        """The state as it is; parameters go on with their walk, and keep the spread that they have at least."""
        analysis = super()._without_observations(prior, observation, rng, memory, positions)
        size = prior.shape[1] - self.size
        if size <= 0:
            return analysis
        update = self._around(Unchanged(analysis.memory), size, rng)
        ensemble = update.analysed(as_part(prior, positions))[0]
        return Analysis(ensemble, update.memory, update.info, update)


def check_preparable(filter: Filter) -> None:
    """Raise ValueError for a filter that gives no update for parameters."""
    if not isinstance(filter, Preparable):
        raise ValueError(
            f"{type(filter).__name__} needs whole states and has no update for parameters: give a filter that is "
            "Preparable, such as LETKF or letsf"
        )


@dataclass(frozen=True, eq=False)
class AugmentedUpdate(WrappedUpdate):
    """The update of the state, and of the parameters behind it.

    Attributes
    ----------
    whole : Update
        What parameters get: of all observations.
    parameters : tuple of Parameter
    size : int
        Number of entries of the state before them.
    key : int
        Of random walks.
    """

    whole: Update = field(kw_only=True)
    parameters: tuple[Parameter, ...] = field(kw_only=True)
    size: int = field(kw_only=True)
    key: int = field(kw_only=True)

    def near(self, positions: np.ndarray) -> AugmentedUpdate:
        """With what reaches the positions; parameters, whose positions are not finite, keep everything."""
        finite = np.isfinite(to_numpy(positions)).all(axis=1)
        return replace(self, update=self.update.near(to_numpy(positions)[finite])) if finite.any() else self

    def analysed(self, part: Part) -> tuple[Array, dict[str, Array]]:
        """Members of a part, and what one may look at of the state; at parameters `UNTOUCHED`."""
        fields: dict[str, Array] = {}

        def of_state(state: Part) -> Array:
            ensemble, looks = self.update.analysed(state)
            fields.update(looks)
            return ensemble

        ensemble = self._joined(part, of_state, self._analysed(self.key if part.inflate else None))
        is_state = self._is_state(part)
        if not is_state.all():
            fields = {name: _filled(values, is_state, UNTOUCHED.get(name, math.nan)) for name, values in fields.items()}
        return ensemble, fields

    def before(self, part: Part) -> Array:
        """As the update inside; parameters as they are."""
        return self._joined(part, self.update.before, lambda _, own, *place: own.values)

    def uncorrected(self, part: Part) -> Array:
        """As the update inside; parameters without control of their spread."""
        return self._joined(part, self.update.uncorrected, self._analysed(None))

    def combined(self, part: Part, combine: Callable[[Array], Array]) -> Array:
        """As the update inside; parameters stay within the bounds of their transforms."""
        return self._joined(
            part,
            lambda state: self.update.combined(state, combine),
            lambda parameter, own, *place: parameter.combined(own.values, combine),
        )

    def _analysed(self, key: int | None) -> OfParameter:
        """The analysis of a parameter; without a key its spread is not controlled."""
        return lambda parameter, own, name, places: parameter.analysed(
            self.whole, own.values, name, places, own.entries, key
        )

    def _is_state(self, part: Part) -> np.ndarray:
        """Which entries of a part are no parameters."""
        return (part.entries < self.size) | (not is_a_state(part.field))

    def _joined(self, part: Part, of_state: Callable[[Part], Array], of_parameter: OfParameter) -> Array:
        """What becomes of the state and of each parameter, in the order of the part."""
        is_state = self._is_state(part)
        if is_state.all():
            return of_state(part)
        columns, pieces, start = [], [], self.size
        if is_state.any():
            columns.append(np.flatnonzero(is_state))
            pieces.append(of_state(_some(part, columns[0])))
        for number, parameter in enumerate(self.parameters):
            own = np.flatnonzero(~is_state & (part.entries >= start) & (part.entries < start + parameter.size))
            if len(own):
                some = _some(part, own)
                some = replace(some, entries=some.entries - start)
                places = np.array(parameter.places)[some.entries] if parameter.is_field else None
                pieces.append(of_parameter(parameter, some, f"parameter {number}", places))
                columns.append(own)
            start += parameter.size
        order = np.argsort(np.concatenate(columns))
        xp = namespace(part.values)
        return xp.take(xp.concat(pieces, axis=1), like(order, part.values), axis=1)


def _some(part: Part, columns: np.ndarray) -> Part:
    """Some columns of a part."""
    values = namespace(part.values).take(part.values, like(columns, part.values), axis=1)
    positions = None if part.positions is None else part.positions[columns]
    variables = None if part.variables is None else part.variables[columns]
    return as_part(values, positions, part.entries[columns], part.field, part.inflate, variables)


def _filled(values: Array, there: np.ndarray, otherwise: float) -> Array:
    """Values of the entries that have one, and what the others have."""
    xp = namespace(values)
    place = np.where(there, np.cumsum(there) - 1, len(values))
    nothing = xp.full_like(values[:1], otherwise)
    return xp.take(xp.concat([values, nothing]), like(place, values))
