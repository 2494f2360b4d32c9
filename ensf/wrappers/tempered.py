"""The likelihood in pieces: p(y | x) = prod_k p(y | x)^(w_k), sum of w_k = 1, one analysis for each.

Every piece sees the operator at the ensemble that the piece before left, so a nonlinear operator, such as a forecast
followed by an observation, is linearised anew where the members have moved to (Emerick & Reynolds 2013, Comput. Geosci.
17, 325, "multiple data assimilation"). For a linear operator and a Kalman filter the pieces together are the analysis.
The weights are those that let every piece take an equal part of the information,

    w_1 + ... + w_k = ((1 + l)^(k / K) - 1) / l,        l = largest ratio of ensemble to error variance:

small first steps where the ensemble is wide beside the error, equal ones where it is not.

ES-MDA is ``Tempered(EnKF(), pieces=(4.0, 4.0, 4.0, 4.0))``, with coefficients of one's own and the simulator as
operator. Where the simulator runs elsewhere, the loop is one's own:

    for weight in method.weights(predicted, observation):
        ensemble = method.filter.analyse(ensemble, observation.tempered(weight), rng, predicted=predicted).ensemble
        predicted = ...  # of the new ensemble
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from operator import add

import numpy as np

from ensf.arrays import Array, Generator, as_floating, generator, is_count, like, namespace, to_numpy
from ensf.filters.base import (
    Analysis,
    Filter,
    Memory,
    Part,
    Update,
    check_filter,
    innovations,
    refuse_predictions,
    usable,
    with_values,
)
from ensf.filters.guarded import guarded
from ensf.observations.observation import Observation

__all__ = ["InPieces", "Tempered", "tempering", "weight_of"]

ROUNDED = 1e-3
"""How far the sum of 1 / alpha may be from 1, as coefficients are printed; the rest is shared out."""


@dataclass(frozen=True)
class Tempered:
    """Wrapper: the filter analyses the same observations `pieces` times, each time with a part of the precision.

    Parameters
    ----------
    filter : Filter
        A filter without inflation: it acts in every piece.
    pieces : int or tuple of float
        Number of analyses, and of linearisations of the operator; or for each the coefficient alpha by which it
        multiplies the variance of the errors, as in ES-MDA: the 1 / alpha sum to 1.

    Raises
    ------
    ValueError
        If there are no pieces, or coefficients are not positive or their 1 / alpha do not sum to 1.
    """

    filter: Filter
    pieces: int | tuple[float, ...] = 4

    def __post_init__(self) -> None:
        check_filter(self.filter, type(self).__name__, parameters=True)
        if np.ndim(self.pieces):
            coefficients = tuple(map(float, as_floating(self.pieces, "pieces of Tempered").tolist()))
            object.__setattr__(self, "pieces", coefficients)
            positive = all(0 < one < np.inf for one in coefficients)
            total = sum(1 / one for one in coefficients) if coefficients and positive else np.nan
            if not abs(total - 1) <= ROUNDED:
                raise ValueError(
                    f"1 / alpha of the coefficients {coefficients} sum to {total:.6g}: give positive ones whose sum is "
                    "1, such as (4.0, 4.0, 4.0, 4.0)"
                )
            return
        pieces = np.asarray(self.pieces).item()
        if not is_count(pieces):
            raise ValueError(
                f"the likelihood is cut into {pieces} pieces: give a whole number, 1 or more, or coefficients"
            )
        object.__setattr__(self, "pieces", pieces)

    def weights(self, predicted: Array, observation: Observation) -> list[float]:
        """Part of the precision that each piece has; they sum to 1.

        Parameters
        ----------
        predicted : (member, column) array
            ``observation.predict(prior)``. A row that is not finite, of a simulation that failed, does not count.
        observation : Observation
            Missing ones do not count.
        """
        if isinstance(self.pieces, tuple):
            parts = 1 / np.array(self.pieces)
            return list((parts / parts.sum()).tolist())
        xp = namespace(predicted)
        missing = xp.isnan(observation.value)
        asked = ~to_numpy(missing)[observation.part.owners(observation.size)]
        there = np.isfinite(to_numpy(predicted)[:, asked]).all(axis=1)
        predicted = xp.take(predicted, like(np.flatnonzero(there), predicted), axis=0)
        ratios = innovations(predicted, observation)[1]
        ratio = float(xp.max(xp.where(missing, xp.zeros_like(ratios), ratios)))
        return list(tempering(self.pieces, ratio).tolist())

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
        """Analysis ensemble ``(member, state)``; `info` has the degrees of freedom of all pieces together.

        Raises
        ------
        ValueError
            If the prior, the predicted observations or the error law do not fit.
        """
        refuse_predictions(predicted, self)
        prior, observation, positions = usable(prior, observation, positions)
        rng = generator(rng)
        if observation.size == 0:
            return Analysis(prior, self.filter.analyse(prior, observation, rng, memory, positions).memory)
        analysis = Analysis(prior, memory)
        freedom = 0.0
        updates = []
        befores = []
        predictions = observation.predict(prior)
        observation.check_resolved(predictions)
        for weight in self.weights(predictions, observation):
            piece = observation.tempered(weight)
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

    @property
    def members(self) -> int | None:
        """As the updates."""
        return self.updates[0].members if self.updates else None

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
    return np.diff(weight_of(np.arange(pieces + 1) / pieces, ratio))


def weight_of(information: np.ndarray | float, ratio: float) -> np.ndarray | float:
    """Part of the precision that takes a part of the information, for the largest ratio l."""
    return np.expm1(information * np.log1p(ratio)) / ratio if 0 < ratio < np.inf else information
