"""Outlier rejection: an observation that is impossibly far from the forecast says nothing, unless its neighbours agree.

With d = y - mean of h(x_j), v the variance of h(x_j) over the members and r that of the error,

    |d_k| > limit sqrt(v_k + r_k)

is far off. An outlier is far off alone: where more than `max_part` of the observations near by are far off, it is the
forecast that is wrong, and they are kept. Only errors that are told to be Gaussian are checked: a heavy-tailed law
bounds what is far off by itself, and of a limit or a yes nothing is far off.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ensf.arrays import Array, Generator, like, to_numpy
from ensf.filters.base import Analysis, Memory, Update, innovations
from ensf.localization import Localization
from ensf.localization.localization import check_localization
from ensf.observations.joined_law import gaussian_rows, widened
from ensf.observations.observation import Observation
from ensf.wrappers.base import WrappedUpdate, Wrapper, check_ranges

__all__ = ["OutlierRejection"]

NOTHING = 1e6
"""Error of an observation that is to say nothing, in standard deviations of its innovation: it stays in its place."""


@dataclass(frozen=True)
class OutlierRejection(Wrapper):
    """Wrapper: observations whose innovation is of more than `limit` standard deviations are rejected.

    Parameters
    ----------
    filter : Filter
    limit : float
        Largest innovation, in standard deviations of the innovation.
    localization : Localization, optional
        Which observations are near each other; by default all.
    max_part : float
        Largest part of the observations near one, by weight, that may be far off with it.
    """

    limit: float = 4.0
    localization: Localization | None = None
    max_part: float = 0.3
    mixes_members: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.localization is not None:
            check_localization(self.localization, "OutlierRejection")
        rules = {
            "limit": (self.limit > 0, "a positive number of standard deviations"),
            "max_part": (0 < self.max_part <= 1, "a fraction above 0, up to 1"),
        }
        check_ranges(self, "outlier rejection", rules)

    def _prepare(self, predicted: Array, observation: Observation, rng: Generator, memory: Memory = None) -> Update:
        rejected, used = self._checked(predicted, observation)
        update = self._inner(predicted, used, rng, memory)
        return WrappedUpdate(update.memory, {**update.info, **_info(rejected)}, update=update)

    def _analyse_whole(
        self, prior: Array, observation: Observation, rng: Generator, memory: Memory, positions: np.ndarray
    ) -> Analysis:
        rejected, used = self._checked(observation.predict(prior), observation)
        analysis = self.filter.analyse(prior, used, rng, memory, positions)
        return replace(analysis, info={**analysis.info, **_info(rejected)})

    def _checked(self, predicted: Array, observation: Observation) -> tuple[np.ndarray, Observation]:
        """Which observations are rejected, ``(observation,)`` of bool, and all, of which these then say nothing."""
        square, variance = (to_numpy(part) for part in innovations(predicted, observation))
        rejected = self._rejected(square, variance, observation)
        if not rejected.any():
            return rejected, observation
        factor = like(np.where(rejected, NOTHING * np.sqrt(variance + 1), 1.0), observation.value)
        return rejected, replace(observation, error=widened(observation.law, factor))

    def _rejected(self, square: np.ndarray, variance: np.ndarray, observation: Observation) -> np.ndarray:
        """Of innovations and variances as of `innovations`."""
        checked = gaussian_rows(observation.law, observation.size)
        far = checked & (square > self.limit**2 * (variance + 1))
        if not far.any():
            return far
        if self.localization is None or observation.position is None:
            return far & (far.sum() <= self.max_part * checked.sum())
        position = to_numpy(observation.position)
        near = self.localization.patches(position, position)
        place = np.repeat(np.arange(len(near.variables)), np.diff(near.indptr))
        total = np.bincount(place, near.weight * checked[near.index], len(near.variables))
        beyond = np.bincount(place, near.weight * far[near.index], len(near.variables))
        alone = beyond - 1 <= self.max_part * (total - 1) + 1e-9  # but for itself, of weight 1
        return far & alone[near.slots // near.variables.shape[1]]


def _info(rejected: np.ndarray) -> dict[str, float | np.ndarray]:
    """How many observations were rejected, and which."""
    return {"rejected": float(rejected.sum()), "rejected_rows": np.flatnonzero(rejected)}
