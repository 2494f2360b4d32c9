"""The likelihood in pieces: p(y | x) = prod_k p(y | x)^(w_k), sum of w_k = 1, one analysis for each.

Every piece sees the operator at the ensemble that the piece before left, so a nonlinear operator, such as a forecast
followed by an observation, is linearised anew where the members have moved to (Emerick & Reynolds 2013, Comput. Geosci.
17, 325, "multiple data assimilation"). For a linear operator and a Kalman filter the pieces together are the analysis.
The weights are those that let every piece take an equal part of the information,

    w_1 + ... + w_k = ((1 + l)^(k / K) - 1) / l,        l = largest ratio of ensemble to error variance:

small first steps where the ensemble is wide beside the error, equal ones where it is not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from operator import add

import numpy as np

from ensf.arrays import Array, Generator, generator, is_count, namespace
from ensf.filters.base import Analysis, Filter, Memory, Part, Update, check_filter, innovations, usable, with_values
from ensf.observations.observation import Observation

__all__ = ["Tempered", "tempering"]


@dataclass(frozen=True)
class Tempered:
    """Wrapper: the filter analyses the same observations `pieces` times, each time with a part of the precision.

    Parameters
    ----------
    filter : Filter
        A filter without inflation: it acts in every piece.
    pieces : int
        Number of analyses, and of linearisations of the operator.
    """

    filter: Filter
    pieces: int = 4

    def __post_init__(self) -> None:
        check_filter(self.filter, type(self).__name__)
        if not is_count(self.pieces):
            raise ValueError(f"the likelihood is cut into {self.pieces} pieces: give a whole number, 1 or more")

    def analyse(
        self,
        prior: Array,
        observation: Observation,
        rng: Generator | int | None,
        memory: Memory = None,
        positions: np.ndarray | None = None,
    ) -> Analysis:
        """Analysis ensemble ``(member, state)``; `info` has the degrees of freedom of all pieces together.

        Raises
        ------
        ValueError
            If the prior, the predicted observations or the error law do not fit.
        """
        prior, observation, positions = usable(prior, observation, positions)
        rng = generator(rng)
        if observation.size == 0:
            return Analysis(prior, self.filter.analyse(prior, observation, rng, memory, positions).memory)
        analysis, freedom, updates, befores = Analysis(prior, memory), 0.0, [], []
        for weight in tempering(self.pieces, _largest_ratio(prior, observation)).tolist():
            piece = replace(observation, error=observation.law.tempered(weight))
            analysis = self.filter.analyse(analysis.ensemble, piece, rng, analysis.memory, positions)
            freedom = freedom + analysis.info.get("degrees_of_freedom", 0.0)
            updates.append(analysis.update)
            befores.append(analysis.before)
        info = analysis.info
        if "degrees_of_freedom" in info:
            info = {**info, "degrees_of_freedom": freedom}
        prepared = [update for update in updates if update is not None]
        update = InPieces(updates=tuple(prepared)) if prepared else None
        return replace(analysis, info=info, update=update, before=befores[0])


@dataclass(frozen=True, eq=False)
class InPieces(Update):
    """Updates one after another.

    Attributes
    ----------
    updates : tuple of Update
    """

    updates: tuple[Update, ...] = ()

    def analysed(self, part: Part) -> tuple[Array, dict[str, Array]]:
        """Members of a part after all of them."""
        fields: dict[str, Array] = {}
        for update in self.updates:
            values, fields = update.analysed(part)
            part = with_values(part, values)
        return part.values, fields

    def degrees_of_freedom(self, positions: np.ndarray) -> Array:
        """Of all pieces together."""
        return reduce(add, (update.degrees_of_freedom(positions) for update in self.updates))


def tempering(pieces: int, ratio: float) -> np.ndarray:
    """Weights ``(piece,)`` for the largest ratio l of ensemble to error variance; they sum to 1."""
    part = np.arange(pieces + 1) / pieces
    return np.diff(np.expm1(part * np.log1p(ratio)) / ratio) if 0 < ratio < np.inf else np.diff(part)


def _largest_ratio(prior: Array, observation: Observation) -> float:
    return float(namespace(prior).max(innovations(observation.predict(prior), observation)[1]))
