"""Which wrapper remembers what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import xarray as xr

from ensf.dataset.methods import inside
from ensf.filters.base import Filter
from ensf.offline.memory.quantities import COUNT, KNOT, NUMBER, STATE, Quantity
from ensf.offline.memory.reader import Reader
from ensf.offline.memory.spread import read_spread, spread_variables
from ensf.wrappers import AdaptiveInflation, AdaptiveSpread, CollapseGuard, DeferredAnalysis, SpreadReset
from ensf.wrappers.adaptive_inflation import InflationMemory
from ensf.wrappers.collapse_guard import GuardMemory
from ensf.wrappers.deferred_analysis import DeferralMemory
from ensf.wrappers.spread import ResetMemory
from ensf.wrappers.spread_control.memory import SpreadMemory

__all__ = ["KINDS", "Kind", "keepers"]


@dataclass(frozen=True)
class Kind:
    """The memory of a wrapper."""

    memory: type[Any]
    quantities: tuple[Quantity, ...]
    more: Callable[[Any], dict[str, xr.Variable]] | None = None
    """What else it is made of, as variables."""
    more_of: Callable[[xr.Dataset, Reader], dict[str, object]] | None = None
    """The same from a file."""

    @property
    def has_knots(self) -> bool:
        """Whether the wrapper has a localization, at whose knots it remembers."""
        return any(quantity.along == KNOT for quantity in self.quantities)


FORMULA = "squared inflation factor of the forecast = 1 + sampling * degrees_of_freedom / (members - 1) + this"
LOG_FORMULA = (
    "squared inflation factor of the forecast = "
    "(1 + sampling * degrees_of_freedom / (members - 1)) * exp(g + max(this, 0))"
)
KINDS: Mapping[type, Kind] = {
    DeferredAnalysis: Kind(DeferralMemory, (Quantity("waited", "waited", COUNT, "cycles in a row without analysis"),)),
    AdaptiveInflation: Kind(
        InflationMemory,
        (
            Quantity("departure", "inflation_departure", KNOT, FORMULA, -np.inf),
            Quantity("variance", "inflation_variance", KNOT, "variance of the error of inflation_departure"),
            Quantity("freedom", "degrees_of_freedom", KNOT, "degrees of freedom that the last observations took"),
        ),
    ),
    AdaptiveSpread: Kind(
        SpreadMemory,
        (
            Quantity("local", "inflation_local", KNOT, LOG_FORMULA, -np.inf),
            Quantity("local_information", "inflation_local_information", KNOT, "what is known of inflation_local"),
            Quantity("freedom", "degrees_of_freedom", KNOT, "degrees of freedom that the last observations took"),
            Quantity("common", "inflation_common", NUMBER, "g in the formula of inflation_local", -np.inf),
            Quantity("common_information", "inflation_common_information", NUMBER, "what is known of g"),
            Quantity("growth", "variance_growth", NUMBER, "mean log of prior over analysis variance, smoothed"),
        ),
        spread_variables,
        read_spread,
    ),
    CollapseGuard: Kind(
        GuardMemory,
        (
            Quantity("mean", "past_mean", STATE, "mean over members and past cycles", -np.inf),
            Quantity(
                "square", "past_square", STATE, "sum over past cycles of the mean squared distance from past_mean"
            ),
            Quantity("past_cycles", "past_cycles", COUNT, "number of past cycles"),
            Quantity("strained", "strained_cycles", COUNT, "cycles in a row with chi^2 of innovations above the limit"),
        ),
    ),
    SpreadReset: Kind(
        ResetMemory, (Quantity("spread", "reset_spread", STATE, "standard deviation to which the analysis is reset"),)
    ),
}
"""By wrapper, from the outermost quantity of a memory to the innermost."""


def keepers(method: object) -> list[Filter]:
    """The filters in a method that remember something, the outermost first."""
    return [cast(Filter, one) for one in inside(method) if type(one) in KINDS]
