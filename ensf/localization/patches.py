"""What each place of the model may learn from: the observations near it, with their tapers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ensf.localization.taper import gaspari_cohn

__all__ = ["Patches", "tapered"]


@dataclass(frozen=True, eq=False)
class Patches:
    """Observations near each place, in compressed rows: place i sees ``index[indptr[i]:indptr[i + 1]]``.

    Attributes
    ----------
    variables : (point, variable) int64 array
        State variables at each place, every one at one place; shorter rows repeat their first variable.
    indptr : (point + 1,) int64 array
    index : (pair,) int64 array
        Observation of each pair.
    distance : (pair,) array
    weight : (pair,) array
        Taper in (0, 1].
    """

    variables: np.ndarray
    indptr: np.ndarray
    index: np.ndarray
    distance: np.ndarray
    weight: np.ndarray

    @cached_property
    def slots(self) -> np.ndarray:
        """Where in ``variables.ravel()`` each state variable stands, ``(state,)``."""
        slots = np.empty(self.variables.max() + 1, dtype=np.int64)
        slots[self.variables.ravel()] = np.arange(self.variables.size)
        return slots

    @cached_property
    def padded(self) -> tuple[np.ndarray, np.ndarray]:
        """Index and weight as rectangles ``(point, most)`` for batched array code; padding weighs 0."""
        count = np.diff(self.indptr)
        filled = np.arange(max(1, count.max(initial=0))) < count[:, None]
        index, weight = np.zeros(filled.shape, dtype=np.int64), np.zeros(filled.shape)
        index[filled], weight[filled] = self.index, self.weight
        return index, weight

    def narrowed(self, half_width: float | np.ndarray) -> Patches:
        """The same places with another, smaller half-width: one number, or one per place."""
        count = np.diff(self.indptr)
        weight = gaspari_cohn(self.distance, np.repeat(np.broadcast_to(half_width, count.shape), count))
        return tapered(self.variables, self.indptr, self.index, self.distance, weight)


def tapered(
    variables: np.ndarray, indptr: np.ndarray, index: np.ndarray, distance: np.ndarray, weight: np.ndarray
) -> Patches:
    """Patches of the pairs that weigh something."""
    keep = weight > 0
    before = np.concatenate([[0], np.cumsum(keep)])
    return Patches(variables, before[indptr], index[keep].astype(np.int64), distance[keep], weight[keep])
