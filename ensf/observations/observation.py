"""The record of a batch of observations, y = h(x) + e: values, operator h, law of e, places."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import cast

import numpy as np

from ensf.arrays import Array, Numbers, as_floating, like, namespace, rows, summary, to_numpy
from ensf.arrays.settings import as_indices
from ensf.observations.error_laws import ErrorLaw, Gaussian, is_error_law, is_gaussian
from ensf.observations.functions import Affine
from ensf.observations.grouped import Grouped, Whitened
from ensf.observations.joined_law import gaussian_rows
from ensf.observations.operators import LinearPart, Operator, as_operator
from ensf.observations.predictions import check_finite_predictions, check_resolved, unresolved_members
from ensf.observations.window import Window

__all__ = ["Observation"]


@dataclass(frozen=True, eq=False)
class Observation:
    """One batch of observations.

    Parameters
    ----------
    value : (observation,) array
        What was measured; NaN, or masked, = not observed. A list, a Series or a DataArray is taken as its numbers.
    operator : Operator or callable
        Maps states to predicted observations; any callable ``(..., state) -> (..., observation)`` will do.
    error : float, (observation,) array, or error law
        Standard deviation (never a variance), or an object such as `Correlated`. Where the value is missing, the error
        may be too.
    position : (observation, dimension) array, optional
        Where each observation is, in the coordinates of the state's positions. Needed by local filters unless every
        observation reads a state variable at a known place (`Identity`, `Select`, pointwise functions of these).
    state_size : int, optional
        Number of state variables, where it is known.
    window : Window, optional
        The way of the members to the observation, for filters that run the model.
    kind : (observation,) array of str, optional
        Name of what measured it: observations of one kind have the same unknown faults. Without, all are of one kind.
        A filter that learns knows a kind by its name alone, in this cycle and the next.
    group : (observation,) array of int, optional
        Number of a group whose observations are near a place, or far from it, as a whole; each alone without.

    Raises
    ------
    ValueError
        If a value is infinite, an error is zero, negative or not finite, shapes do not fit, or the operator cannot be
        called.
    """

    value: Array
    operator: Operator
    error: ErrorLaw | Numbers
    position: Array | None = None
    state_size: int | None = None
    window: Window | None = None
    kind: np.ndarray | None = None
    group: np.ndarray | None = None
    law: ErrorLaw = field(init=False, repr=False)

    def __post_init__(self) -> None:
        value = as_floating(self.value, "observation value")
        if value.ndim != 1:
            raise ValueError(
                f"observation value has shape {tuple(value.shape)}: give one dimension, one entry per observation "
                "(a field, or a table of one column, as .ravel())"
            )
        _check_finite(value)
        error = self.error
        law: ErrorLaw = error if is_error_law(error) else Gaussian(cast(Numbers, error))
        law.check(value)
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "operator", as_operator(self.operator))
        object.__setattr__(self, "law", law)
        if self.position is not None:
            object.__setattr__(self, "position", _places(self.position, value.shape[0]))
        if self.kind is not None:
            object.__setattr__(self, "kind", _names(self.kind, value.shape[0]))

    @property
    def size(self) -> int:
        """Number of observations, missing ones included."""
        return self.value.shape[0]

    @cached_property
    def part(self) -> LinearPart:
        """L and f of h(x) = f(L x)."""
        return self.operator.linear_part()

    @property
    def is_linear(self) -> bool:
        """Whether h is linear and its errors are Gaussian, each for itself."""
        return self.part.exact and self.law.is_gaussian and self.law.is_independent

    def predict(self, states: Array) -> Array:
        """What the linear part of the operator makes of states: the columns ``(..., state) -> (..., column)``.

        Raises
        ------
        ValueError
            If their number does not fit the values.
        BadPrediction
            If an observation of a state is predicted that is not finite; it names both.
        """
        columns = self.part.linear(states)
        with np.errstate(all="ignore"):
            predicted = self.part.function(columns)
        self._check_number(predicted.shape[-1])
        check_finite_predictions(predicted)
        return columns

    def columns_of(self, predicted: Array, prior: Array) -> Array:
        """Columns of the observations that are not missing, ``(member, column)``, of what was predicted elsewhere.

        Parameters
        ----------
        predicted : (member, column) array
            Of all observations, in the order of the linear part's columns; whatever where the value is missing.
        prior : (member, state) array
            The members that predict.

        Raises
        ------
        ValueError
            If there is not a row for each member and a column for each of the linear part, or a prediction is not
            finite.
        """
        predicted = as_floating(predicted, "predicted")
        xp = namespace(prior)
        owners = self.part.owners(self.size)
        if tuple(predicted.shape) != (prior.shape[0], len(owners)):
            each = "one column per observation" if len(owners) == self.size else f"the columns of {self.operator!r}"
            raise ValueError(
                f"predicted has shape {tuple(predicted.shape)} but there are {prior.shape[0]} members and "
                f"{self.size} observations, missing ones included: give ({prior.shape[0]}, {len(owners)}), one row per "
                f"member and {each}"
            )
        if namespace(predicted) is not xp:
            raise ValueError(
                f"prior is a {type(prior).__module__} array but predicted a {type(predicted).__module__} one: move "
                "one to the other with ensf.arrays.like"
            )
        absent = to_numpy(xp.isnan(self.value))
        missing = absent[owners]
        unusable = ~to_numpy(xp.isfinite(predicted)) & ~missing
        if unusable.any():
            member, column = np.argwhere(unusable)[0].tolist()
            raise ValueError(
                f"predicted has {float(predicted[member, column])} for observation {owners[column]} in member "
                f"{member}: repair or drop that member, or leave that observation out"
            )
        predicted = xp.astype(predicted, prior.dtype, copy=False)
        present = self.present()
        if len(present.part.owners(present.size)) != np.count_nonzero(~missing):  # an operator whose rows have no L
            predicted = self.part.function(predicted)
            missing = absent
        return xp.take(predicted, like(np.flatnonzero(~missing), predicted), axis=1)

    def check_resolved(self, columns: Array) -> None:
        """Look whether rounding hides where an observation is, as a filter must that divides by its error.

        Parameters
        ----------
        columns : (member, column) array
            Of `predict`.

        Raises
        ------
        Unresolved
            If a member is so far off, or an error so small, that predictions are rounded by more than the error.
        """
        if self.size:
            check_resolved(self.part.function(columns), self._deviation)

    def unresolved_members(self, columns: Array) -> np.ndarray:
        """Members ``(member,)`` of `columns` that `check_resolved` would refuse."""
        if self.size:
            return unresolved_members(self.part.function(columns), self._deviation)
        return np.zeros(columns.shape[0], dtype=bool)

    @property
    def _deviation(self) -> Array:
        """Standard deviations of the errors, ``(observation,)``; infinite where a law has none at the value."""
        deviation = self.law.standard_deviation(self.value)
        return namespace(deviation).where(deviation > 0, deviation, math.inf)

    def _check_number(self, predicted: int) -> None:
        if predicted != self.size:
            raise ValueError(
                f"the operator predicts {predicted} observations but {self.size} values are given: "
                "make operator and value match"
            )

    def log_likelihood(self, states: Array) -> Array:
        """``log p(y | x)`` up to a constant, ``(..., state) -> (...)``."""
        return self.law.log_density(self.value, self.operator(states))

    def score(self, states: Array) -> Array:
        """``grad_x log p(y | x)``, ``(..., state) -> (..., state)``."""
        return self.operator.adjoint(states, self.law.score(self.value, self.operator(states)))

    def present(self, dtype: np.dtype | None = None) -> Observation:
        """The observations that are not missing (NaN), as `dtype` if one is given; itself if nothing changes."""
        xp = namespace(self.value)
        value = self.value if dtype is None else xp.astype(self.value, dtype, copy=False)
        missing = xp.isnan(value)
        if bool(xp.any(missing)):
            index = np.flatnonzero(~to_numpy(missing))
            return self.restrict(index) if dtype is None else self.restrict(index).present(dtype)
        return self if value is self.value else replace(self, value=value, error=self.law)

    def restrict(self, index: np.ndarray) -> Observation:
        """The observations at `index`, whole numbers or a mask."""
        index = as_indices(index, "index")
        position = None if self.position is None else rows(self.position, index)
        kind = None if self.kind is None else self.kind[index]
        group = None if self.group is None else self.group[index]
        law, operator = self.law.restrict(index), self.operator.restrict(index)
        return replace(
            self,
            value=rows(self.value, index),
            operator=operator,
            error=law,
            position=position,
            kind=kind,
            group=group,
        )

    def with_gaussian_errors(self) -> Observation:
        """Those of which the errors are Gaussian; itself if all are."""
        gaussian = gaussian_rows(self.law, self.size)
        return self if gaussian.all() else self.restrict(np.flatnonzero(gaussian))

    @property
    def correlation(self) -> np.ndarray | None:
        """Correlation of errors that are correlated without groups, ``(observation, observation)``; None if of none."""
        law = self.law
        if law.is_independent or not is_gaussian(law):
            return None
        covariance = to_numpy(law.covariance(self.value)).astype(np.float64)
        deviation = np.sqrt(np.diagonal(covariance))
        return covariance / deviation[:, None] / deviation

    def marginal(self) -> Observation:
        """With errors of the same standard deviations that are independent of each other, where they are not."""
        if self.law.is_independent:
            return self
        return replace(self, error=Gaussian(self.law.standard_deviation(self.value)))

    def decorrelated(self) -> Observation:
        """The same information with independent errors, where they are correlated within groups.

        Each value is then a function of the columns of its whole group (`ensf.observations.grouped`).
        """
        law = self.law
        if not isinstance(law, Grouped):
            return self
        return replace(
            self, value=law.whiten(self.value), operator=Whitened(self.operator, law), error=1.0, group=law.group
        )

    def tempered(self, weight: float) -> Observation:
        """With a part of the precision: its log-likelihood is multiplied by the weight, 1 / alpha in ES-MDA.

        Raises
        ------
        ValueError
            If the weight is not positive and finite.
        """
        if not 0 < weight < math.inf:
            raise ValueError(f"the weight of the likelihood is {weight}: give a positive number, such as 1 / alpha")
        return replace(self, error=self.law.tempered(weight))

    def located(self, positions: np.ndarray) -> Observation:
        """With the places of the observations among ``(state, dimension)`` positions, unless they are there already."""
        place = self.operator.places(positions) if self.position is None else self.position
        if place is not None:
            self._check_number(place.shape[0])
        return self._with(position=place, state_size=len(positions))

    def within(self, window: Window) -> Observation:
        """The same with the way of the members to it."""
        return self._with(window=window)

    def _with(self, **changes: object) -> Observation:
        """The same values, operator and law: nothing to check again."""
        changed = object.__new__(type(self))
        vars(changed).update(vars(self), **changes)
        return changed

    @property
    def column_position(self) -> np.ndarray | None:
        """Where each column of the linear part is, ``(column, dimension)``; None if that is not known."""
        return None if self.position is None else to_numpy(self.position)[self.part.owners(self.size)]

    def without_scaling(self) -> Observation:
        """The same information with h(x) = L x in place of h(x) = a + d L x, where the law can be rescaled."""
        form = None if self.part.exact or self.part.pointwise is None else self.part.pointwise.affine
        if form is None or any(np.shape(part) not in ((), self.value.shape) for part in form):
            return self
        affine = Affine(*form)
        if bool(namespace(self.value).any(affine.slope(self.value) == 0)):
            return self
        law = self.law.rescaled(1 / affine.factor)
        if law is None:
            return self
        return replace(self, value=affine.inverse(self.value), operator=self.part.linear, error=law)

    def __repr__(self) -> str:
        missing = int(np.isnan(to_numpy(self.value)).sum())
        place = "" if self.position is None else f", position {tuple(self.position.shape)}"
        operator = type(self.operator).__name__
        return f"Observation({summary(self.value)}, {missing} missing, {operator}, {type(self.law).__name__}{place})"


def _check_finite(value: Array) -> None:
    xp = namespace(value)
    infinite = xp.isinf(value)
    if bool(xp.any(infinite)):
        k = int(np.argmax(to_numpy(infinite)))
        raise ValueError(f"observation {k} is infinite: give a finite value, or NaN if it is missing")


def _places(position: Array, observations: int) -> Array:
    position = as_floating(position, "observation position")
    if position.ndim != 2 or position.shape[0] != observations:
        raise ValueError(
            f"there are {observations} observations but positions of shape {tuple(position.shape)}: "
            "give one row of coordinates per observation"
        )
    return position


def _names(kind: np.ndarray, observations: int) -> np.ndarray:
    kind = np.asarray(kind).astype(str)
    if kind.shape != (observations,):
        raise ValueError(
            f"there are {observations} observations but kinds of shape {kind.shape}: give one name per observation"
        )
    return kind
