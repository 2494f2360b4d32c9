r"""Offset of an instrument: what one kind of observations has in its mean that another, near by, has not.

Two kinds that see the same quantity have the forecast in common, so that the difference of their innovations is one of
the instruments, whatever the model does: with pairs (i, j) of the kind and the nearest observation of another,

    shift = mean of r_i / (r_i + r_j) (d_i - d_j),

for the less accurate kind has more of it. Of the shifts s of the cycles with mean m and standard error e,

    offset = m max(1 - (2 e / m)^2, 0)

is taken off the observations. Where one kind is named as the reference, it is the only other, and r_i / (r_i + r_j) is
1: all of the difference is taken off the kind that is not. Two kinds see the same quantity if their predictions are
alike in all members: correlated by more than .95, with standard deviations that differ by a quarter at most.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ensf.arrays import Array, Record, centred, to_numpy
from ensf.localization import Localization
from ensf.wrappers.spread_control.sites import NEAR, Sites

__all__ = ["OffsetEstimate", "offset_shifts"]

PAIRS = 1000
"""Of each kind that are looked at: a mean of more is known no better."""
ALIKE, RATIO = 0.95, 1.25
"""Correlation of the predictions at least, and ratio of their standard deviations at most."""
PERSISTENCE, FORGETTING = math.exp(-1 / 500), math.exp(-1 / 100)
"""Of the sums in a cycle with another kind near by, and in one without."""
FEWEST = 5.0
"""Cycles for which an offset is believed."""


@dataclass(frozen=True, eq=False)
class OffsetEstimate(Record):
    """Offset of one kind of observations, in their units.

    Attributes
    ----------
    sums : (term,) array
        Of the shifts, their squares and 1, fading.
    """

    sums: np.ndarray = field(default_factory=lambda: np.zeros(3))

    def with_shift(self, shift: float | None) -> OffsetEstimate:
        """With that of one more cycle, of observations as they came; None without another kind near by."""
        if shift is None:
            return OffsetEstimate(FORGETTING * self.sums)
        return OffsetEstimate(PERSISTENCE * self.sums + [shift, shift * shift, 1.0])

    @property
    def value(self) -> float:
        """What is taken off the observations."""
        total, square, count = self.sums.tolist()
        if count < FEWEST:
            return 0.0
        mean = total / count
        doubt = 4 * max(square / count - mean * mean, 0.0) / count
        return mean * (1 - doubt / mean**2) if mean * mean > doubt else 0.0


def offset_shifts(
    sites: Sites,
    innovation: Array,
    error: Array,
    forecast: Array,
    localization: Localization,
    reference: np.ndarray | None = None,
) -> dict[int, float]:
    """Shift of each kind that has another near by, by its number.

    Parameters
    ----------
    sites : Sites
    innovation, error : (observation,) array
        d of observations as they came, and the error variance r.
    forecast : (member, observation) array
    localization : Localization
    reference : (kind,) array of int, optional
        Kinds that are right.
    """
    shifts: dict[int, float] = {}
    numbers, right = np.unique(sites.kind), np.ones(len(sites), dtype=bool)
    if len(numbers) < 2:
        return shifts
    if reference is not None:
        numbers, right = np.setdiff1d(numbers, reference), np.isin(sites.kind, reference)
    reach = NEAR * localization.half_width
    d, r, anomalies = to_numpy(innovation), to_numpy(error), to_numpy(centred(forecast))
    for number in numbers.tolist():
        mine, others = np.flatnonzero(sites.kind == number), np.flatnonzero((sites.kind != number) & right)
        mine = mine[:: -(-len(mine) // PAIRS)]
        if math.isfinite(reach):
            near = localization.geometry.pairs(sites.position[mine], sites.position[others], reach).tocoo()
            order = np.argsort(near.data, kind="stable")
            first, second = mine[near.row[order]], others[near.col[order]]
        else:
            row, column = np.nonzero((sites.position[mine, None] == sites.position[others]).all(axis=-1))
            first, second = mine[row], others[column]
        one, other = anomalies[:, first], anomalies[:, second]
        variances, covariance = ((one * one).mean(axis=0), (other * other).mean(axis=0)), (one * other).mean(axis=0)
        small, large = np.minimum(*variances), np.maximum(*variances)
        alike = np.flatnonzero((covariance > ALIKE * np.sqrt(small * large)) & (large < RATIO**2 * small))
        nearest = alike[np.unique(first[alike], return_index=True)[1]]
        if len(nearest):
            i, j = first[nearest], second[nearest]
            part = r[i] / (r[i] + r[j]) if reference is None else 1.0
            shifts[number] = float(np.mean(part * (d[i] - d[j])))
    return shifts
