"""The error of a filter that has lost the truth."""

from __future__ import annotations

import math

__all__ = ["ADVICE", "Lost"]

ADVICE = (
    "take AdaptiveSpread or more inflation, more members or observations, or a larger observation error, and check "
    "the model and the operator"
)


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
        self.cycle, self.chi2 = cycle, chi2
