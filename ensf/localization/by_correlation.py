"""Localization of what has no distance: how far an observation reaches is told by the members' own correlations.

With r the correlation of an entry with what the members predict of an observation, J members, and k = `errors`, the
precision of the observation is multiplied for this entry by

    (r^2 (J - 1) - k^2) / (r^2 (J - 1 - k^2)),      0 where r^2 (J - 1) <= k^2

which is 0 for a correlation that k standard errors of no correlation explain, 1 for r = 1, and 1 for every other one
in the limit of many members. With k = 1 it is the localization of least squared error of a covariance (Menetrier et al.
2015, MWR 143, 1622), of one entry and one observation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ensf.arrays.settings import check_settings
from ensf.localization.patches import Patches

__all__ = ["ByCorrelation"]


@dataclass(frozen=True)
class ByCorrelation:
    """In place of a `Localization`, where entries of the state have no places, such as parameters of a model.

    Parameters
    ----------
    errors : float
        Standard errors that a correlation must exceed.

    Raises
    ------
    ValueError
        If it is negative or no number.
    """

    errors: float = 2.0

    def __post_init__(self) -> None:
        check_settings(self)
        if not 0 <= self.errors < math.inf:
            raise ValueError(f"errors of ByCorrelation is {self.errors}: give a number of 0 or more, such as 2.0")

    def patches(self, anomalies: np.ndarray, predicted: np.ndarray, group: np.ndarray | None = None) -> Patches:
        """What each entry learns from.

        Parameters
        ----------
        anomalies : (member, entry) array
        predicted : (member, observation) array
            Anomalies of the predictions, in any units.
        group : (observation,) array of int, optional
            Observations of one group weigh as much as the one of them that weighs most.

        Raises
        ------
        ValueError
            If there are so few members that no correlation could exceed the errors.
        """
        left = len(anomalies) - 1 - self.errors**2
        if not left > 0:
            raise ValueError(
                f"{len(anomalies)} members are too few for ByCorrelation({self.errors}): give more than "
                f"{1 + self.errors**2:g}, or fewer errors"
            )
        from ensf.localization.loops import squared_correlations

        square = np.empty((anomalies.shape[1], predicted.shape[1]))
        squared_correlations(_scaled(anomalies), _scaled(predicted), square)
        with np.errstate(divide="ignore"):
            weight = np.clip(((len(anomalies) - 1) - self.errors**2 / square) / left, 0.0, 1.0)
        if group is not None:
            number = np.unique(group, return_inverse=True)[1].ravel()
            order = np.argsort(number, kind="stable")
            starts = np.flatnonzero(np.diff(number[order], prepend=-1))
            weight = np.maximum.reduceat(weight[:, order], starts, axis=1)[:, number]
        row, index = np.nonzero(weight)
        indptr = np.searchsorted(row, np.arange(len(weight) + 1)).astype(np.int64)
        own = weight[row, index]
        return Patches(np.arange(len(weight))[:, None], indptr, index.astype(np.int64), 1 - own, own)


def _scaled(anomalies: np.ndarray) -> np.ndarray:
    """Anomalies as rows, the largest of each 1: their squares stay in the range of numbers."""
    rows = np.ascontiguousarray(anomalies.T, dtype=np.float64)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    return rows / np.where(largest > 0, largest, 1.0)
