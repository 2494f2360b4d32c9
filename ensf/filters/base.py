"""The verb that every filter shares: prior ensemble + observation -> analysis ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ensf.arrays import Array, Generator, namespace, to_numpy
from ensf.observations.observation import Observation

__all__ = ["Analysis", "Filter", "check_prior", "innovations"]


@dataclass(frozen=True, eq=False)
class Analysis:
    """What a filter returns.

    Attributes
    ----------
    ensemble : (member, state) array
    memory : object
        What the next cycle's call needs; None for most filters.
    info : mapping
        What one looks at: scalars or arrays that no filter reads again.
    """

    ensemble: Array
    memory: Any = None
    info: Mapping[str, Any] = field(default_factory=dict)


class Filter(Protocol):
    """Anything with this verb is a filter; wrappers hold a filter and are filters."""

    def analyse(self, prior: Array, observation: Observation, rng: Generator, memory: Any = None) -> Analysis:
        """Analysis ensemble from a prior ensemble ``(member, state)``; arguments are never changed."""


def check_prior(prior: Array, observation: Observation) -> None:
    """Raise ValueError if the prior is not a finite (member, state) array beside the observation."""
    if getattr(prior, "ndim", None) != 2 or prior.shape[0] < 2:
        raise ValueError(
            f"prior must be an array (member, state) of two members or more, not shape {getattr(prior, 'shape', None)}"
        )
    xp = namespace(prior)
    if not xp.isdtype(prior.dtype, "real floating"):
        raise ValueError(f"prior has dtype {prior.dtype}: give float32 or float64")
    if namespace(observation.value) is not xp:
        raise ValueError(
            f"prior is a {type(prior).__module__} array but the observation a {type(observation.value).__module__} "
            "one: move one to the other with ensf.arrays.like"
        )
    if not bool(xp.isfinite(xp.sum(prior))):
        _name_bad_entry(to_numpy(prior))


def check_predicted(predicted: Array, observation: Observation) -> None:
    """Raise ValueError if the operator's output does not match the observation."""
    if predicted.shape[-1] != observation.size:
        raise ValueError(
            f"the operator predicts {predicted.shape[-1]} observations but {observation.size} values are given: "
            "make operator and value match"
        )


def innovations(prior: Array, observation: Observation) -> tuple[Array, Array]:
    """Squared innovation of the mean and ensemble variance, ``(observation,)``, over the variance of the error.

    Raises
    ------
    ValueError
        If the operator's output does not match the observation.
    """
    predicted = observation.operator(prior)
    check_predicted(predicted, observation)
    error, xp = observation.law.standard_deviation(observation.value), namespace(prior)
    square = ((observation.value - xp.mean(predicted, axis=0)) / error) ** 2
    return square, xp.var(predicted, axis=0, correction=1) / error**2


def _name_bad_entry(prior: np.ndarray) -> None:
    bad = ~np.isfinite(prior)
    if bad.any():
        member, variable = np.argwhere(bad)[0]
        raise ValueError(
            f"prior member {member} has {prior[member, variable]} at state variable {variable}: "
            "repair or drop that member before the analysis"
        )
