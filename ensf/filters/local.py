"""Analyses with weights of their own at every place, from the observations near it.

    increment of an entry = W(place)^T a,      a = prior anomalies of the entry,      W: J x J weights

A parameter has no place: it takes the mean of the weights over places of observations, fixed once.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import numpy as np

from ensf.arrays import Array, centred, like, namespace, to_numpy
from ensf.arrays.settings import check_kind
from ensf.filters.base import Part, Update
from ensf.filters.weights import combine
from ensf.localization import ByCorrelation, Localization, Patches, PatchLimit
from ensf.localization.information_limit import degrees_of_freedom
from ensf.localization.localization import check_localization
from ensf.localization.patches import everything
from ensf.observations.observation import Observation

__all__ = ["LocalUpdate", "check_local", "check_localized"]

PLACES = 64
"""Places over which the weights of a parameter are averaged, at most."""


@dataclass(frozen=True, eq=False)
class _Narrowed:
    """Patches, and what an information limit makes of them: narrower ones, and the half-width of each, ``(point,)``."""

    wide: Patches
    patches: Patches
    half_width: np.ndarray


@dataclass(frozen=True, eq=False)
class LocalUpdate(Update):
    """Subclasses say what the observations near a place make of anomalies there (`increments`).

    Attributes
    ----------
    localization : Localization, ByCorrelation or None
        None: every observation reaches everything.
    information_limit : PatchLimit or None
    position : (observation, dimension) array or None
    anomalies : (member, observation) array
        Whitened, over ``sqrt(J - 1)``: what the information limit looks at.
    group : (observation,) array of int, optional
        Observations of one group are near or far as a whole.
    correlation : (observation, observation) array, optional
        Of errors that are correlated without groups; what is whitened is then divided by standard deviations alone.
    """

    localization: Localization | ByCorrelation | None = field(kw_only=True)
    information_limit: PatchLimit | None = field(kw_only=True)
    position: np.ndarray | None = field(kw_only=True)
    anomalies: Array = field(kw_only=True)
    group: np.ndarray | None = field(kw_only=True, default=None)
    correlation: np.ndarray | None = field(kw_only=True, default=None)
    _last_narrowed: list[_Narrowed] = field(init=False, repr=False, default_factory=list)

    @property
    def members(self) -> int:
        """Number of members."""
        return self.anomalies.shape[0]

    @property
    def _by_place(self) -> Localization | None:
        """The localization, if it asks where things are."""
        return self.localization if isinstance(self.localization, Localization) else None

    def increments(self, anomalies: Array, patches: Patches) -> tuple[Array, Array]:
        """Change of members with these prior anomalies ``(member, entry)``, and degrees of freedom by entry."""
        raise NotImplementedError

    def analysed(self, part: Part) -> tuple[Array, dict[str, Array]]:
        """Members of a part, and the degrees of freedom at each entry."""
        anomalies = centred(part.values)
        if part.positions is None and self._by_place is not None:
            return part.values + combine(anomalies, self._mean_weights), {}
        increments, freedom = self.increments(anomalies, self.patches_of(anomalies, part.positions))
        return part.values + increments, self.looks(part, freedom)

    def patches_of(self, anomalies: Array, positions: np.ndarray | None) -> Patches:
        """What entries with these anomalies ``(member, entry)``, at these positions, learn from."""
        if isinstance(self.localization, ByCorrelation):
            return self.localization.patches(to_numpy(anomalies), to_numpy(self.anomalies), self.group)
        return self.patches(positions, anomalies.shape[1])

    def looks(self, part: Part, freedom: Array) -> dict[str, Array]:
        """What one may look at of a part: degrees of freedom, and the half-widths that an information limit chose."""
        wide = None if part.positions is None or self.information_limit is None else self._wide(part.positions)
        if wide is None:
            return {"degrees_of_freedom": freedom}
        half_width = self._narrowed(wide).half_width[wide.slots // wide.variables.shape[1]]
        return {"degrees_of_freedom": freedom, "half_width": like(half_width, freedom)}

    def patches(self, positions: np.ndarray | None, entries: int) -> Patches:
        """What each place learns from, of so many entries at ``(entry, dimension)`` positions.

        Compiled loops write wherever patches say: what does not fit is refused here.

        Raises
        ------
        ValueError
            If there is not one position per entry.
        """
        if positions is not None and len(positions) != entries:
            raise ValueError(f"{len(positions)} positions of {entries} entries: give one for each")
        wide = None if positions is None else self._wide(positions)
        if wide is None:
            return everything(entries, self.anomalies.shape[1])
        return wide if self.information_limit is None else self._narrowed(wide).patches

    def _wide(self, positions: np.ndarray) -> Patches | None:
        """Patches with the half-width of the localization; None where every observation reaches everything."""
        if self._by_place is not self.localization:
            raise ValueError("ByCorrelation knows no places: give a Localization to what asks for them")
        if self._by_place is None or self.position is None:
            return None
        return self._by_place.patches(positions, self.position, self.group)

    def _narrowed(self, wide: Patches) -> _Narrowed:
        """What the information limit makes of patches."""
        assert self._by_place is not None and self.information_limit is not None
        if not self._last_narrowed or self._last_narrowed[0].wide is not wide:
            widest = self._by_place.half_width
            patches, half_width = self.information_limit.narrow(wide, widest, self.anomalies, self.group)
            self._last_narrowed[:] = [_Narrowed(wide, patches, half_width)]
        return self._last_narrowed[0]

    def near(self, positions: np.ndarray) -> Self:
        """With the observations that reach the positions alone."""
        if self._by_place is None or self.position is None:
            return self
        return self.restrict(self._by_place.reached(to_numpy(positions), self.position, self.group))

    def restrict(self, index: np.ndarray) -> Self:
        """With the observations at `index` alone."""
        assert self.position is not None
        anomalies = namespace(self.anomalies).take(self.anomalies, like(index, self.anomalies), axis=1)
        group = None if self.group is None else self.group[index]
        correlation = None if self.correlation is None else self.correlation[np.ix_(index, index)]
        position = self.position[index]
        return replace(self, position=position, anomalies=anomalies, group=group, correlation=correlation)

    def degrees_of_freedom(self, positions: np.ndarray) -> Array:
        """Degrees of freedom that the observations take at each position."""
        patches = self.patches(positions, len(positions))
        freedom = like(degrees_of_freedom(patches, patches.weight, self.anomalies), self.anomalies)
        return namespace(freedom).take(freedom, like(patches.slots // patches.variables.shape[1], freedom))

    def coverage(self, part: Part) -> np.ndarray:
        """How far observations cover each entry: 1 within the half-width of one, falling to 0 where none reaches."""
        if self._by_place is None or part.positions is None:
            return np.ones(part.values.shape[1])
        assert self.position is not None
        patches = self._by_place.patches(part.positions, self.position, self.group)
        place = patches.slots // patches.variables.shape[1]
        return np.minimum(1.0, patches.largest_weight * (24 / 5))[place]

    @cached_property
    def _mean_weights(self) -> Array:
        """Weights ``(member, member)`` averaged over places of observations."""
        assert self.position is not None
        places = np.unique(self.position, axis=0)
        places = places[:: -(-len(places) // PLACES)]
        members, count = self.anomalies.shape[0], len(places)
        patches = self.patches(places, count)
        variables = patches.variables[:, :1] * members + np.arange(members)
        identity = like(np.tile(np.eye(members), count), self.anomalies)
        increments = self.increments(identity, replace(patches, variables=variables))[0]
        xp = namespace(increments)
        return xp.mean(xp.reshape(increments, (members, count, members)), axis=1).T


def check_localized(
    localization: Localization | ByCorrelation | None,
    limit: PatchLimit | None,
    unresolved_variance: float,
    name: str,
    optional: bool = False,
) -> None:
    """Raise ValueError for what localizes no filter, and for correlations beside what needs places."""
    if limit is not None:
        check_kind(limit, "narrow", f"information_limit of {name}", "InformationLimit(0.2)")
    if not isinstance(localization, ByCorrelation):
        if localization is not None or not optional:
            check_localization(localization, name)
    elif limit is not None or unresolved_variance:
        raise ValueError(
            f"{name} with ByCorrelation has no places: leave information_limit and unresolved_variance out"
        )


def check_local(
    observation: Observation, localization: Localization | ByCorrelation | None, name: str, *, correlated: bool = False
) -> np.ndarray | None:
    """Places of the observations for a local filter, None where it asks for none.

    Parameters
    ----------
    observation : Observation
        As `Observation.decorrelated` gives it.
    localization : Localization, ByCorrelation or None
    name : str
        What errors call the filter.
    correlated : bool
        Whether it takes errors that are correlated without groups.

    Raises
    ------
    ValueError
        If errors are correlated, or a place is not there.
    """
    if not observation.law.is_independent and not correlated:
        raise ValueError(
            f"{name} needs independent observation errors, or groups of them: give standard deviations or Grouped, or "
            "use LETKF, LETSF or ETKF"
        )
    if not isinstance(localization, Localization):
        return None
    if observation.position is None:
        raise ValueError(
            f"the places seen by {type(observation.operator).__name__} are unknown: give "
            "Observation(..., position=...), one row of coordinates per observation"
        )
    return to_numpy(observation.position)
