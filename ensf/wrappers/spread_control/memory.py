"""What spread control remembers from one cycle to the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from ensf.arrays import Array, Record, like, namespace
from ensf.filters.base import Memory
from ensf.wrappers.failed_members import Replacement
from ensf.wrappers.spread_control.bias import BiasEstimate
from ensf.wrappers.spread_control.bias_fields import BiasFields
from ensf.wrappers.spread_control.error_estimate import ErrorEstimate
from ensf.wrappers.spread_control.lagged import LastCycle, Past
from ensf.wrappers.spread_control.offset import OffsetEstimate

__all__ = ["KindMemory", "SpreadMemory"]

MAX_SURPRISES = 0.5
"""Part of the observations that is near a surprise where surprises last."""


@dataclass(frozen=True, eq=False)
class KindMemory(Record):
    """What is learnt of one kind of observations.

    Attributes
    ----------
    error : ErrorEstimate
        Factor of R.
    bias : BiasEstimate
        Of the forecast of what they see.
    surprises : float
        Part of the observations that was near a surprise in the last cycles.
    offset : OffsetEstimate
        Of the instrument, against others that see the same.
    bias_fields : BiasFields
        At the knots, beside the bias.
    """

    error: ErrorEstimate = field(default_factory=ErrorEstimate)
    bias: BiasEstimate = BiasEstimate()
    surprises: float = 0.0
    offset: OffsetEstimate = field(default_factory=OffsetEstimate)
    bias_fields: BiasFields = field(default_factory=lambda: BiasFields.at_first(0), repr=False)

    @property
    def surprises_last(self) -> bool:
        """Whether they are many, cycle after cycle: then they are no shocks, but a wrong R, which is learnt of them."""
        return self.surprises > MAX_SURPRISES


@dataclass(frozen=True, eq=False)
class SpreadMemory(Record):
    """What the next cycle needs.

    Attributes
    ----------
    knots : (knot, dimension) array
        Places.
    local, local_information : (knot,) array
        n and what is known of it.
    freedom : (knot,) array
        Degrees of freedom that the observations took there.
    common, common_information : float
        g and what is known of it.
    growth : float
        Mean of log(prior variance / analysis variance) over the last cycles; 0 before the first.
    kinds : dict of str to KindMemory
        By kind of observations.
    last : LastCycle, optional
    past : tuple of Past
        The cycles before, newest first.
    inner : object
        The filter's own memory.
    """

    knots: np.ndarray
    local: Array
    local_information: Array
    freedom: Array
    common: float = 0.0
    common_information: float = 0.0
    growth: float = 0.0
    kinds: dict[str, KindMemory] = field(default_factory=dict)
    last: LastCycle | None = field(default=None, repr=False)
    past: tuple[Past, ...] = field(default=(), repr=False)
    inner: Memory = None

    @classmethod
    def at_first(cls, dimensions: int, array: Array) -> SpreadMemory:
        """What is remembered before the first observation, beside an array: nothing, at no knots."""
        none = like(np.zeros(0), array)
        return cls(np.zeros((0, dimensions)), none, none, none)

    def of_members(self, left: np.ndarray) -> SpreadMemory:
        """Without the cycle before, whose covariances are of all members."""
        return replace(self, last=None)

    def with_replaced(self, replacement: Replacement) -> SpreadMemory:
        """Without the cycle before, in which some members were others."""
        return replace(self, last=None)

    @property
    def log_inflation(self) -> Array:
        """g + max(n, 0) at the knots."""
        return self.common + namespace(self.local).clip(self.local, 0.0, None)

    def of_each(self, kind: np.ndarray, learnt: Callable[[KindMemory], float]) -> np.ndarray:
        """What is learnt of the kind of each observation, from the number of its kind."""
        return np.array([learnt(each) for each in self.kinds.values()])[kind]
