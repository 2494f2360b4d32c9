"""Knots: places that cover the observations of all cycles so far, where wrappers keep what they learn of the spread.

A place takes the tapered mean of the knots near it, and nothing where no observation of the cycle reaches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ensf.arrays import Array, Record, centred, counted_normal, is_host, like, member_mean, namespace
from ensf.filters.base import Part
from ensf.localization.localization import Localization, Patches, finite_positions, gaspari_cohn
from ensf.observations.observation import Observation
from ensf.wrappers.spread import spread

__all__ = ["Widening", "at_places", "column_entries", "covering", "near_sums"]

SPACING = 0.25
"""Distance of knots, in half-widths."""
FULL = 2.0
"""An entry of which the analysis took 1 / FULL of what it took of the observations near by is widened as they are."""
FAR = 1e-3
"""Weight of knots further away, where there is none as near."""


@dataclass(frozen=True, eq=False)
class Widening(Record):
    """Larger anomalies and independent noise, from what is known at knots.

    Attributes
    ----------
    localization : Localization
    observed : (observation, dimension) array
        Where observations are in this cycle.
    knots : (knot, dimension) array
    followed, excess : (knot,) array
        lambda^2, and what a surprise adds.
    independent_part : float
    key : int or None
        Of the noise; None without a surprise.
    only : (entry,) array of int, optional
        Entries of the state that a surprise widens; None = all.
    taken : (knot,) array, optional
        Part of the widened variance that the analysis took of the observations near by, when that is known.
    """

    localization: Localization
    observed: np.ndarray
    knots: np.ndarray
    followed: Array
    excess: Array
    independent_part: float
    key: int | None
    only: np.ndarray | None = None
    taken: Array | None = None
    _last: dict[str, Any] = field(init=False, repr=False, default_factory=dict)

    def inflated(self, part: Part) -> Array:
        """Members of a part."""
        if part.positions is None or not part.inflate:
            return part.values
        xp = namespace(part.values)
        values = part.values
        followed, excess, _ = self._at(part)
        mean = member_mean(values)
        inflated = mean + xp.sqrt(followed + (1 - self.independent_part) * excess) * centred(values)
        if self.key is None:
            return inflated
        noise = counted_normal(self.key, part.field, part.entries, values.shape[0], values)
        return inflated + xp.sqrt(self.independent_part * excess) * spread(values) * (noise - member_mean(noise))

    def factor(self, part: Part) -> Array:
        """Of the standard deviation, ``(entry,)``."""
        followed, excess, _ = self._at(part)
        return namespace(followed).sqrt(followed + excess)

    def balanced(self, part: Part, wide: Array, analysed: Array) -> tuple[Array, Array]:
        """The analysis with less of the widening where observations hardly constrain an entry, and the factor left.

        With q the part of the variance that the analysis took of the observations near by, and q_i of an entry: if
        q_i < q / 2, lambda^2 is 1 + 2 (lambda^2 - 1) q_i / q, and 1 / (1 - q_i) at most, so that without a surprise no
        analysis is wider than the prior before it was widened; and a surprise adds 2 q_i / q of what it adds near by.
        Increment and anomalies are in proportion to the prior anomalies, and shrink with them.

        Parameters
        ----------
        part : Part
        wide, analysed : (member, entry) array
            The prior as widened, and its analysis.

        Returns
        -------
        ensemble : (member, entry) array
        factor : (entry,) array
            Of the standard deviation of the prior.
        """
        followed, excess, taken = self._at(part)
        xp, total = namespace(analysed), followed + excess
        before = spread(wide)
        kept = spread(analysed) / xp.where(before > 0, before, xp.ones_like(before))
        took = xp.clip(1 - kept * kept, 0.0, None)
        share = xp.clip(FULL * took / xp.where(taken > 0, taken, xp.ones_like(taken)), 0.0, 1.0)
        calm = xp.minimum(1 + (followed - 1) * share, 1 / xp.clip(1 - took, 1e-3, None))
        left = xp.where((taken > 0) & (share < 1), xp.minimum(calm + excess * share, total), total)
        mean = member_mean(wide)
        scaled = mean + xp.sqrt(left / total) * (analysed - mean)
        return xp.where(left < total, scaled, analysed), xp.sqrt(left)

    def _at(self, part: Part) -> tuple[Array, Array, Array]:
        """lambda^2, excess and what was taken at the entries; 1, 0 and 0 where no observation of this cycle reaches."""
        assert part.positions is not None
        near = self.localization.patches(part.positions, self.knots)
        if self._last.get("near") is not near:
            self._last.update(near=near, values=self._at_places(near, part.positions))
        place = near.slots // near.variables.shape[1]
        followed, excess, taken = (namespace(each).take(each, like(place, each)) for each in self._last["values"])
        if self.only is not None:
            excess = excess * like(np.isin(part.entries, self.only).astype(np.float64), excess)
        return followed, excess, taken

    def _at_places(self, near: Patches, positions: np.ndarray) -> tuple[Array, Array, Array]:
        """The same for places with the knots near them."""
        xp = namespace(self.followed)
        taken = 0 * self.excess if self.taken is None else self.taken
        values = xp.stack([self.followed - 1, self.excess, taken])
        followed, excess, taken = at_places(self.localization, near, values)
        reach = self.localization.patches(positions, self.observed).largest_weight
        cover = like(np.minimum(1.0, reach * (24 / 5)), followed)
        return 1 + cover * followed, cover * excess, taken


def column_entries(observation: Observation, columns: int) -> np.ndarray:
    """Variable that each column is, so that it draws as that one does; else numbers that no variable has."""
    size = observation.state_size or 0
    entries = observation.part.linear.entries(size)
    return size + np.arange(columns) if entries is None else entries


def covering(knots: np.ndarray, position: np.ndarray, localization: Localization) -> np.ndarray:
    """The knots, and more where an observation has none within their spacing.

    Raises
    ------
    ValueError
        If they have other dimensions than the observations, or one of these has no place.
    """
    position = finite_positions(position, "observation")
    if len(knots) and knots.shape[1] != position.shape[1]:
        raise ValueError(
            f"the memory has places of {knots.shape[1]} dimensions but the observations of {position.shape[1]}: give "
            "what was left for the same coordinates, or None"
        )
    spacing = SPACING * localization.half_width
    places = np.unique(position, axis=0)
    if math.isinf(spacing):
        return knots if len(knots) else places[:1]
    if len(knots):
        places = places[np.diff(localization.geometry.pairs(places, knots, spacing).indptr) == 0]
    if not len(places):
        return knots
    near = localization.geometry.pairs(places, places, spacing)
    covered = np.zeros(len(places), dtype=bool)
    chosen = []
    for k in range(len(places)):
        if not covered[k]:
            chosen.append(k)
            covered[near.indices[near.indptr[k] : near.indptr[k + 1]]] = True
    return np.concatenate([knots, places[chosen]])


def at_places(localization: Localization, near: Patches, values: Array) -> list[Array]:
    """Tapered means of what is known at knots ``(row, knot)`` over those near each place, by row; 0 without any.

    Parameters
    ----------
    localization : Localization
    near : Patches
        Knots near the places.
    values : (row, knot) array
    """
    xp = namespace(values)
    spacing = SPACING * localization.half_width
    weight = near.weight if math.isinf(spacing) else gaspari_cohn(near.distance, spacing) + FAR * near.weight
    rows = xp.concat([xp.ones_like(values[:1, :]), values])
    total, *sums = near_sums(replace(near, weight=weight), rows, 1)
    return [each / xp.where(total > 0, total, xp.ones_like(total)) for each in sums]


def near_sums(patches: Patches, values: Array, power: int) -> list[Array]:
    """Sums of ``rho^power values`` over each patch, of each row of values ``(row, observation)``."""
    xp = namespace(values)
    if is_host(values):
        import scipy.sparse

        shape = len(patches.variables), values.shape[1]
        taper = scipy.sparse.csr_array((patches.weight**power, patches.index, patches.indptr), shape=shape)
        return list((taper @ values.T).T.astype(values.dtype))
    index, weight = patches.padded
    index, weight = like(index.ravel(), values), like(weight**power, values)
    near = (xp.reshape(xp.take(values[k, :], index), weight.shape) for k in range(values.shape[0]))
    return [xp.sum(weight * part, axis=-1) for part in near]
