"""Fixed-gain MAP: each member minimises, variable by variable, with its own perturbed observations y_j,

    |x - x_j|^2 / (2 deviation^2) + |y_j - h(x)|^2 / (2 error^2).

A baseline that any filter with an ensemble ought to beat, as the spread of the prior plays no part in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ensf.arrays import Array, Generator, is_count, like, namespace, normal, stream
from ensf.arrays.settings import check_settings
from ensf.filters.base import Memory, Part, Prepared, Update, observed_variables
from ensf.observations.observation import Observation
from ensf.observations.operators import Identity, Select

__all__ = ["FixedGainMAP"]

FAR = 30.0
"""Deviations from the prior that are no analysis but steps gone astray."""
HALVINGS = 40


@dataclass(frozen=True)
class FixedGainMAP(Prepared):
    """Maximum a posteriori per member and variable, by Gauss-Newton, under a constant prior deviation.

    Where its steps lead more than 30 deviations away, as with accurate observations of a function that saturates, they
    are halved until the cost does not grow.

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
        check_settings(self)
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
        observation.check_resolved(predicted)
        xp = namespace(predicted)
        value, error = observation.value, law.standard_deviation(observation.value)
        perturbed = value + error * normal(stream(rng, predicted), predicted.shape, predicted)
        variables, first, number = np.unique(entries, return_index=True, return_inverse=True)
        in_order = len(variables) == len(entries) and bool((variables == entries).all())
        observed = Identity() if in_order else Select(number.ravel())
        prior = xp.take(predicted, like(first, predicted), axis=1)
        precision = 1 / self.deviation**2

        def cost(states: Array) -> Array:
            misfit = observed.adjoint(states, ((perturbed - function(observed(states))) / error) ** 2)
            return precision * (states - prior) ** 2 + misfit

        def step(states: Array) -> Array:
            columns = observed(states)
            slope = function.slope(columns)
            curvature = precision + observed.adjoint(states, (slope / error) ** 2)
            pull = observed.adjoint(states, slope * (perturbed - function(columns)) / error**2)
            return (precision * (prior - states) + pull) / curvature

        states = prior
        for _ in range(self.steps):
            states = states + step(states)
        astray = ~(xp.abs(states - prior) <= FAR * self.deviation)
        if bool(xp.any(astray)):
            damped = self._damped(prior, step, cost)
            states = xp.where(astray & ~(cost(states) <= cost(damped)), damped, states)
        return FixedGainUpdate(memory, variables=variables, changes=states - prior)

    def _damped(self, prior: Array, step: Callable[[Array], Array], cost: Callable[[Array], Array]) -> Array:
        """As many Gauss-Newton steps from the prior, each halved for a variable until its cost does not grow."""
        xp, states = namespace(prior), prior
        for _ in range(self.steps):
            change, before = step(states), cost(states)
            for _ in range(HALVINGS):
                change = xp.where(cost(states + change) <= before, change, change / 2)
            states = xp.where(cost(states + change) <= before, states + change, states)
        return states


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

    @property
    def members(self) -> int:
        """Number of members."""
        return self.changes.shape[0]

    def analysed(self, part: Part) -> tuple[Array, dict[str, Array]]:
        """Members of a part."""
        if part.field != "state":
            return part.values, {}
        if np.array_equal(part.entries, self.variables):
            return part.values + self.changes, {}
        xp = namespace(part.values)
        last = len(self.variables)
        number = np.minimum(np.searchsorted(self.variables, part.entries), last - 1)
        column = np.where(self.variables[number] == part.entries, number, last)
        changes = xp.concat([self.changes, xp.zeros_like(self.changes[:, :1])], axis=1)
        return part.values + xp.take(changes, like(column, changes), axis=1), {}

    def degrees_of_freedom(self, positions: np.ndarray) -> Array:
        """None: the ensemble has no part in the gain."""
        return like(np.zeros(len(positions)), self.changes)
