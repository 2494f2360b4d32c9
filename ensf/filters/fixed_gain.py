"""Fixed-gain MAP: each member minimises, variable by variable, with its own perturbed observations y_j,

    |x - x_j|^2 / (2 deviation^2) + |y_j - h(x)|^2 / (2 error^2).

A baseline that any filter with an ensemble ought to beat, as the spread of the prior plays no part in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ensf.arrays import Array, Generator, is_count, like, namespace, normal, stream
from ensf.filters.base import Memory, Part, Prepared, Update, observed_variables
from ensf.observations.observation import Observation
from ensf.observations.operators import Select

__all__ = ["FixedGainMAP"]


@dataclass(frozen=True)
class FixedGainMAP(Prepared):
    """Maximum a posteriori per member and variable, by Gauss-Newton, under a constant prior deviation.

    For linear h a nudging with the fixed gain ``deviation^2 / (deviation^2 + error^2)``. Only variables that are
    observed change.

    Parameters
    ----------
    deviation : float
        Assumed prior standard deviation, in the units of the state.
    steps : int
        Gauss-Newton steps.

    Raises
    ------
    ValueError
        If the deviation is not a positive number, or there is no step.
    """

    deviation: float = 0.35
    steps: int = 6

    def __post_init__(self) -> None:
        if not (0 < self.deviation < math.inf and is_count(self.steps)):
            raise ValueError(f"{self}: give a positive deviation and a whole number of steps, at least one")

    def prepare(self, predicted: Array, observation: Observation, rng: Generator, memory: Memory = None) -> Update:
        """Change of the observed variables.

        Raises
        ------
        ValueError
            If errors are not independent Gaussian, or an observation sees several variables.
        """
        law, function = observation.law, observation.part.pointwise
        entries = observed_variables(observation)
        if function is None or entries is None or not (law.is_gaussian and law.is_independent):
            raise ValueError(
                "FixedGainMAP needs independent Gaussian errors and observations of single variables (Identity, "
                "Select, Pointwise of these): use a Kalman filter otherwise"
            )
        xp = namespace(predicted)
        value, error = observation.value, law.standard_deviation(observation.value)
        perturbed = value + error * normal(stream(rng, predicted), predicted.shape, predicted)
        variables, first, number = np.unique(entries, return_index=True, return_inverse=True)
        observed = Select(number.ravel())
        prior = states = xp.take(predicted, like(first, predicted), axis=1)
        precision = 1 / self.deviation**2
        for _ in range(self.steps):
            columns = observed(states)
            slope = function.slope(columns)
            curvature = precision + observed.adjoint(states, (slope / error) ** 2)
            pull = observed.adjoint(states, slope * (perturbed - function(columns)) / error**2)
            states = states + (precision * (prior - states) + pull) / curvature
        return FixedGainUpdate(memory, variables=variables, changes=states - prior)


@dataclass(frozen=True, eq=False)
class FixedGainUpdate(Update):
    """Observed variables change, all others stay.

    Attributes
    ----------
    variables : (variable,) array of int
        Those that are observed, ascending.
    changes : (member, variable) array
    """

    variables: np.ndarray = field(kw_only=True)
    changes: Array = field(kw_only=True)

    def analysed(self, part: Part) -> tuple[Array, dict[str, Array]]:
        """Members of a part."""
        if part.field != "state":
            return part.values, {}
        xp = namespace(part.values)
        last = len(self.variables)
        number = np.minimum(np.searchsorted(self.variables, part.entries), last - 1)
        column = np.where(self.variables[number] == part.entries, number, last)
        changes = xp.concat([self.changes, xp.zeros_like(self.changes[:, :1])], axis=1)
        return part.values + xp.take(changes, like(column, changes), axis=1), {}

    def degrees_of_freedom(self, positions: np.ndarray) -> Array:
        """None: the ensemble has no part in the gain."""
        return like(np.zeros(len(positions)), self.changes)
