r"""Bias of the model: one number for each kind of observations, added to the forecast of what they see.

A wrong forcing is a bias, and no inflation mends a bias (after Dee & da Silva 1998). With m the shift of the forecast
mean that is likeliest for all observations of the kind, of any law,

    m = sum_k g_k / sum_k i_k,      g_k = (tilted mean - mean) / v,      i_k = (v - tilted variance) / v^2

(linear Gaussian: g = d / (v + r), i = 1 / (v + r)), of the forecast with the bias that is believed,

    var <- .99 var + .01 m^2;      raw <- (1 - leak) raw + gain m;
    b = sign(raw) max(|raw| - 1.5 gain root(var / (2 leak)), 0).

The dead zone is 1.5 standard deviations of what noise alone would make of raw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["BiasEstimate"]

GAIN, LEAK, FORGETTING, DEAD_ZONE = 0.005, 0.003, 0.01, 1.5


@dataclass(frozen=True, eq=False)
class BiasEstimate:
    """Bias of one kind of observations, in the units of what they see.

    Attributes
    ----------
    raw : float
        Before the dead zone.
    square : float
        Mean square of m; negative before the first.
    """

    raw: float = 0.0
    square: float = -1.0

    @property
    def value(self) -> float:
        """b: what is added to the forecast."""
        zone = DEAD_ZONE * GAIN * math.sqrt(max(self.square, 0.0) / (2 * LEAK))
        return math.copysign(max(abs(self.raw) - zone, 0.0), self.raw)

    def with_shift(self, shift: float) -> BiasEstimate:
        """With m of one more cycle."""
        square = shift**2 if self.square < 0 else (1 - FORGETTING) * self.square + FORGETTING * shift**2
        return BiasEstimate((1 - LEAK) * self.raw + GAIN * shift, square)
