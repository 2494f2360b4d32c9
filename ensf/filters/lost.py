"""The error of a filter that has lost the truth."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

from ensf.arrays.settings import inside

__all__ = ["ADVICE", "Lost"]

ADVICE = (
    "take AdaptiveSpread or more inflation, more members or observations, or a larger observation error, and check "
    "the model and the operator"
)


WIDENED = (
    "its inflation is estimated already, so take a localization that reaches less far, a larger observation error, "
    "more members or observations, or a fixed inflation in its place, and check the model and the operator"
)


@runtime_checkable
class EstimatesInflation(Protocol):
    """A part of a filter that finds the inflation itself, up to a limit."""

    max_inflation: float


class Lost(ArithmeticError):
    """The filter has lost the truth; the sentence says how one sees it, and what to try.

    Attributes
    ----------
    cycle : int
        Counted from 1; 0 where it is not known.
    chi2 : float
        Squared innovation over what spread and error explain; NaN where it is not known.
    """

    def __init__(self, sentence: str, cycle: int = 0, chi2: float = math.nan, advice: str = ADVICE) -> None:
        super().__init__(f"{sentence}: {advice}")
        self.sentence, self.advice = sentence, advice
        self.cycle, self.chi2 = cycle, chi2

    def __reduce__(self) -> tuple[object, ...]:
        """Sent between processes as what it was made of."""
        return type(self), (self.sentence, self.cycle, self.chi2, self.advice)

    def of(self, method: object) -> Lost:
        """The same, with advice that fits a filter: none to estimate an inflation that is estimated already."""
        if not any(isinstance(part, EstimatesInflation) for part in inside(method)):
            return self
        return Lost(self.sentence, self.cycle, self.chi2, self.advice.replace(ADVICE, WIDENED))
