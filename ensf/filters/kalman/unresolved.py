r"""What the members cannot span: a white part of the prior error, beside the covariance of the ensemble.

With J members a patch of many observations has room for J - 1 directions; the error outside of them is there all the
same. Let

    x = p + w,        p ~ the ensemble,        w ~ N(0, c^2) independent at each variable,        c^2 = fraction v,

where v is the ensemble variance. For p, w is a part of the observation error: an accurate observation counts with
R + c^2, so that it cannot spend what the members have for the whole patch. Given member p_j, w at an observed variable
is a scalar problem: N(x; p_j, c^2) p(y | h(x)) has the mean t_j and variance u_j. The members go to t_j, and their
anomalies are widened to the variance of t_j plus the mean of u_j (law of total variance; u = c^2 where nothing is
observed). Exact for a Gaussian with covariance A^T A / (J - 1) + diag(c^2) and linear observations of single variables,
in the mean and in the variance of each variable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ensf.arrays import Array, like, namespace
from ensf.observations.observation import Identity, Observation, Pointwise, observed_index

__all__ = ["UnresolvedVariance", "check_fraction"]


def check_fraction(fraction: float) -> None:
    """Raise ValueError if the fraction is negative."""
    if not fraction >= 0:
        raise ValueError(f"unresolved_variance is {fraction}: give the part of the ensemble variance, 0 or more")


@dataclass(frozen=True, eq=False)
class UnresolvedVariance:
    """Variance c^2 that the members do not span.

    Attributes
    ----------
    variance : (state,) array
    index : (observation,) array of int
        The variable that each observation sees.
    """

    variance: Array
    index: np.ndarray

    @classmethod
    def of(cls, fraction: float, prior: Array, observation: Observation) -> UnresolvedVariance | None:
        """Of a prior ``(member, state)``; None if the fraction is 0.

        Raises
        ------
        ValueError
            If an observation sees several variables, or a variable is seen by several observations.
        """
        if fraction == 0:
            return None
        variance = fraction * namespace(prior).var(prior, axis=0, correction=1)
        return cls(variance, _variables(observation.operator, prior.shape[1]))

    @property
    def seen(self) -> Array:
        """c^2 at the observations ``(observation,)``."""
        return self.at_observations(self.variance)

    def at_observations(self, states: Array) -> Array:
        """``(..., state) -> (..., observation)``."""
        return namespace(states).take(states, like(self.index, states), axis=-1)

    def settle(self, ensemble: Array, moments: Callable[[Array, Array], tuple[Array, Array]]) -> Array:
        """Members p_j ``(member, state)`` with what the observations say about w.

        Parameters
        ----------
        ensemble : (member, state) array
            Analysis of p.
        moments : callable
            ``(member, observation), (observation,) -> (member, observation) twice``: mean and variance of
            N(p, c^2) times the likelihood.
        """
        xp = namespace(ensemble)
        centre, spread = self.at_observations(ensemble), xp.sqrt(self.seen)
        known = spread > 0
        mean, variance = moments(centre, xp.where(known, spread, xp.ones_like(spread)))
        mean = xp.where(known, mean, centre)
        variance = xp.where(known, xp.mean(variance, axis=0), xp.zeros_like(spread))
        source = like(_source(self.index, ensemble.shape[1]), ensemble)
        moved = xp.take(xp.concat([ensemble, mean], axis=1), source, axis=1)
        added = xp.take(xp.concat([self.variance, variance]), source)
        centre, before = xp.mean(moved, axis=0), xp.var(moved, axis=0, correction=1)
        widening = xp.sqrt(1 + added / xp.clip(before, xp.finfo(before.dtype).smallest_normal, None))
        return centre + widening * (moved - centre)


def _variables(operator: object, size: int) -> np.ndarray:
    whole = isinstance(operator.linear if isinstance(operator, Pointwise) else operator, Identity)
    index = np.arange(size) if whole else observed_index(operator)
    if index is None or len(np.unique(index)) < len(index):
        raise ValueError(
            "unresolved_variance needs observations that see one variable each, and each another: "
            "give Identity, Select or Pointwise of one, or set it to 0"
        )
    return index


def _source(index: np.ndarray, size: int) -> np.ndarray:
    """Column of each variable in states beside observations: its own, or that of its observation."""
    source = np.arange(size)
    source[index] = size + np.arange(len(index))
    return source
