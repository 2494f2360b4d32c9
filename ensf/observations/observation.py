"""What was seen: the record of a batch of observations y = h(x) + e.

`ensf.observations.operators` has the operators h, `ensf.observations.error_laws` the laws of e; the names are here too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ensf.arrays import Array, namespace, rows, to_numpy
from ensf.observations.error_laws import Correlated, ErrorLaw, Gaussian
from ensf.observations.functions import Function, absolute, arctan, cube, exponential, log, square
from ensf.observations.operators import (
    Callback,
    Identity,
    Linear,
    Operator,
    Pointwise,
    Select,
    WindSpeed,
    restrict,
    tangent,
)

__all__ = [
    "Callback",
    "Correlated",
    "ErrorLaw",
    "Function",
    "Gaussian",
    "Identity",
    "Linear",
    "Observation",
    "Operator",
    "Pointwise",
    "Select",
    "WindSpeed",
    "absolute",
    "arctan",
    "cube",
    "exponential",
    "log",
    "observed_index",
    "square",
    "tangent",
]


@dataclass(frozen=True, eq=False)
class Observation:
    """One batch of observations.

    Parameters
    ----------
    value : (observation,) array
        What was measured; NaN = not observed.
    operator : Operator
        Maps states to predicted observations.
    error : float, (observation,) array, or error law
        Standard deviation (never a variance), or an object such as `Correlated`.
    position : (observation, dimension) array, optional
        Where each observation is, in the coordinates of the localization. Needed by local filters unless every
        observation is of a state variable at a known place (`Identity`, `Select`, pointwise functions of these).

    Raises
    ------
    ValueError
        If an error is zero, negative or not finite, or shapes do not fit.
    """

    value: Array
    operator: Any
    error: Any
    position: Array | None = None
    law: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if getattr(self.value, "ndim", None) != 1:
            raise ValueError("observation value must be a one-dimensional array, one entry per observation")
        _check_value(self.value)
        law = self.error if hasattr(self.error, "log_density") else Gaussian(self.error)
        law.check(self.value)
        object.__setattr__(self, "law", law)
        if self.position is not None and self.position.shape[0] != self.value.shape[0]:
            raise ValueError(
                f"there are {self.value.shape[0]} observations but {self.position.shape[0]} positions: "
                "give one position per observation"
            )

    @property
    def size(self) -> int:
        """Number of observations, missing ones included."""
        return self.value.shape[0]

    def log_likelihood(self, states: Array) -> Array:
        """``log p(y | x)`` up to a constant, ``(..., state) -> (...)``."""
        return self.law.log_density(self.value, self.operator(states))

    def score(self, states: Array) -> Array:
        """``grad_x log p(y | x)``, ``(..., state) -> (..., state)``."""
        return self.operator.adjoint(states, self.law.score(self.value, self.operator(states)))

    def present(self, dtype: Any = None) -> Observation:
        """The observations that are not missing (NaN), as `dtype` if one is given; itself if nothing changes."""
        xp = namespace(self.value)
        value = self.value if dtype is None else xp.astype(self.value, dtype, copy=False)
        missing = xp.isnan(value)
        if not bool(xp.any(missing)):
            return self if value is self.value else Observation(value, self.operator, self.law, self.position)
        index = np.flatnonzero(~to_numpy(missing))
        position = None if self.position is None else rows(self.position, index)
        operator = restrict(self.operator, tuple(index.tolist()))
        return Observation(rows(value, index), operator, self.law.restrict(index), position)


def _check_value(value: Array) -> None:
    xp = namespace(value)
    if not xp.isdtype(value.dtype, "real floating"):
        raise ValueError(f"observation value has dtype {value.dtype}: give float32 or float64")
    infinite = xp.isinf(value)
    if bool(xp.any(infinite)):
        k = int(np.argmax(to_numpy(infinite)))
        raise ValueError(f"observation {k} is infinite: give a finite value, or NaN if it is missing")


def observed_index(operator: Any) -> np.ndarray | None:
    """State variable that each observation sees, ``(observation,)``; None unless it is `Select` or a function of it."""
    selected = operator.linear if isinstance(operator, Pointwise) else operator
    return np.asarray(selected.index) if isinstance(selected, Select) else None
