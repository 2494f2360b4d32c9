"""Observations at their own times: operators of a trajectory, the states of a window one after another.

    X = (x(t_0), x(t_1), ..., x(t_n)),  flat        h(x(t)) = f(L x(t)),    L x(t) = (1 - w) L x(t_k) + w L x(t_k+1)

A trajectory is a state like any other, so that filters and error laws need not know of times. What the members predict
is linear between two steps of the trajectory in what the linear part L of the operator sees.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ensf.arrays import Array, as_floating, like, namespace
from ensf.arrays.settings import as_indices
from ensf.observations.joined import join
from ensf.observations.operators import LinearPart, Operator, as_operator

__all__ = ["AtStep", "at_times", "brackets"]

ROUNDING = 1e-6
"""Part of a step by which a time may differ from that of the step and still be the same."""


@dataclass(frozen=True)
class AtStep(Operator):
    """An operator at a step of a trajectory, or between that step and the next.

    Parameters
    ----------
    operator : Operator
        Of one state.
    step : int
        k.
    steps : int
        Number of states in the trajectory.
    weight : tuple of float
        w of each observation; none if all are at the step itself.
    """

    operator: Operator
    step: int
    steps: int
    weight: tuple[float, ...] = ()

    def __repr__(self) -> str:
        between = f" and {self.step + 1}" if self.weight else ""
        return f"AtStep({self.operator!r} at {self.step}{between} of {self.steps})"

    def __call__(self, states: Array) -> Array:
        part = self.operator.linear_part()
        return part.function(self._columns(part, states))

    def _columns(self, part: LinearPart, states: Array) -> Array:
        """L x(t), ``(..., step * state) -> (..., column)``."""
        here = part.linear(self._state(states, self.step))
        if not self.weight:
            return here
        weight = like(self._weight(part), here)
        return (1 - weight) * here + weight * part.linear(self._state(states, self.step + 1))

    def _weight(self, part: LinearPart) -> np.ndarray:
        """w of each column."""
        return np.asarray(self.weight)[part.owners(len(self.weight))]

    def _state(self, states: Array, step: int) -> Array:
        size = self._size(states.shape[-1])
        return states[..., step * size : (step + 1) * size]

    def _size(self, whole: int) -> int:
        """Number of variables of one state, of so many in all.

        Raises
        ------
        ValueError
            If they are no trajectory of so many steps.
        """
        if whole % self.steps:
            raise ValueError(
                f"a trajectory of {self.steps} steps cannot have {whole} entries: give the states of all steps one "
                "after another, (..., step * state)"
            )
        return whole // self.steps

    def adjoint(self, states: Array, residuals: Array) -> Array:
        """``J(x)^T r``."""
        part = self.operator.linear_part()
        if part.pointwise is None:
            return super().adjoint(states, residuals)
        if not part.exact:
            residuals = part.pointwise.slope(self._columns(part, states)) * residuals
        xp = namespace(states)
        weight = like(self._weight(part), states) if self.weight else 0 * residuals
        pulled = {self.step: part.linear.adjoint(self._state(states, self.step), (1 - weight) * residuals)}
        if self.weight:
            next_state = self._state(states, self.step + 1)
            pulled[self.step + 1] = part.linear.adjoint(next_state, weight * residuals)
        nothing = xp.zeros_like(pulled[self.step])
        return xp.concat([pulled.get(step, nothing) for step in range(self.steps)], axis=-1)

    def linear_part(self) -> LinearPart:
        """L at the time, and f."""
        part = self.operator.linear_part()
        weight = tuple(self._weight(part).tolist()) if self.weight else ()
        return LinearPart(replace(self, operator=part.linear, weight=weight), part.function)

    def places(self, positions: np.ndarray) -> np.ndarray | None:
        """Those of the operator among the positions of a trajectory, which are those of a state at every step."""
        return self.operator.places(positions[: self._size(len(positions))])

    def reads_of_state(self) -> np.ndarray | None:
        """Those of the operator, in the state of a step."""
        return self.operator.reads()

    def lengths(self) -> frozenset[int]:
        """Its steps."""
        return frozenset((self.steps,))

    def restrict(self, rows: Sequence[int] | np.ndarray) -> AtStep:
        """Some of the observations."""
        weight = tuple(np.asarray(self.weight)[as_indices(rows, "rows")].tolist()) if self.weight else ()
        return replace(self, operator=self.operator.restrict(rows), weight=weight)

    def on(self, array: Array) -> AtStep:
        """With the operator on the device of `array`."""
        return replace(self, operator=self.operator.on(array))


def at_times(
    operator: Callable[[Array], Array], times: Sequence[float] | np.ndarray, steps: Sequence[float]
) -> Operator:
    """The operator of a trajectory whose observations are made at their own times.

    Parameters
    ----------
    operator : Operator or callable
        Of one state, ``(..., state) -> (..., observation)``.
    times : (observation,) sequence
        When each observation is made.
    steps : (step,) sequence
        Times of the states of the trajectory, ascending, in the same unit.

    Returns
    -------
    Operator
        ``(..., step * state) -> (..., observation)``.

    Raises
    ------
    ValueError
        If there is not a time for each observation, one is outside the trajectory or no number, or the steps do not
        ascend.
    """
    operator = as_operator(operator)
    when = np.asarray(as_floating(times, "times"), dtype=np.float64)
    if when.ndim != 1:
        raise ValueError(f"times have shape {when.shape}: give one for each observation, (observation,)")
    read = operator.reads()
    if read is not None and len(read):
        with np.errstate(all="ignore"):
            observations = operator.narrowed(read)(np.ones(len(read))).shape[-1]
        if observations != len(when):
            raise ValueError(f"there are {len(when)} times for {observations} observations: give one for each")
    step, weight = brackets(when, np.asarray(as_floating(steps, "steps"), dtype=np.float64))
    parts: list[tuple[Operator, np.ndarray]] = []
    for here, between in np.unique(np.stack([step, weight > 0], axis=1), axis=0).tolist():
        rows = np.flatnonzero((step == here) & ((weight > 0) == between))
        of_rows = tuple(weight[rows].tolist()) if between else ()
        restricted = operator if len(rows) == len(step) else operator.restrict(rows)
        parts.append((AtStep(restricted, here, len(steps), of_rows), rows))
    return join(parts)


def brackets(times: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Step k before each time, ``(observation,)``, and weight w of the step after it, 0 at the step itself.

    Raises
    ------
    ValueError
        As `at_times`.
    """
    if steps.ndim != 1 or not len(steps) or not (np.diff(steps) > 0).all() or not np.isfinite(steps).all():
        raise ValueError(f"the times of a trajectory are {steps.tolist()}: give finite numbers that ascend")
    tolerance = ROUNDING * (np.diff(steps).min() if len(steps) > 1 else 1.0)
    outside = ~((times >= steps[0] - tolerance) & (times <= steps[-1] + tolerance))
    if outside.any():
        k = int(np.argmax(outside))
        raise ValueError(
            f"observation {k} is at time {times[k]:g}, outside the trajectory from {steps[0]:g} to {steps[-1]:g}: "
            "leave it out, or give the states around it"
        )
    nearest = np.abs(times[:, None] - steps).argmin(axis=1)
    at_step = np.abs(times - steps[nearest]) <= tolerance
    before = np.clip(np.searchsorted(steps, times, side="right") - 1, 0, max(len(steps) - 2, 0))
    after = np.minimum(before + 1, len(steps) - 1)
    length = np.where(after > before, steps[after] - steps[before], 1.0)
    weight = np.where(at_step, 0.0, (times - steps[before]) / length)
    return np.where(at_step, nearest, before), weight
