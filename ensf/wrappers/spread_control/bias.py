r"""Bias of the model: one number for each kind of observations, added to the forecast of what they see.

A wrong forcing is a bias, and no inflation mends a bias (after Dee & da Silva 1998). With m the shift of the forecast
mean that is likeliest for all observations of the kind, of any law,

    m = sum_k g_k / sum_k i_k,      g_k = (tilted mean - mean) / v,      i_k = (v - tilted variance) / v^2

(linear Gaussian: g = d / (v + r), i = 1 / (v + r)), of the forecast with the bias that is believed,

    var <- .99 var + .01 m^2;      raw <- (1 - leak) raw + gain m;      noise <- (1 - leak)^2 noise + gain^2 var;
    b = sign(raw) max(|raw| - 1.5 root(noise), 0),      gain = max(.005, 1 / (50 + 2 cycles)).

The dead zone is 1.5 standard deviations of what noise alone makes of raw; it is narrow at the beginning, and what is
plain is believed after a few cycles. Beyond it noise is still believed now and then: b is 0 while the noise is more
than .02 of the forecast variance, so that observations that tell nothing move nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["BiasEstimate"]

GAIN, LEAK, FORGETTING, DEAD_ZONE = 0.005, 0.003, 0.01, 1.5
MAX_NOISE = 0.02
"""Of the forecast variance: with more noise there is no bias."""
FIRST_CYCLES = 50
"""Inverse of the gain at the beginning."""


@dataclass(frozen=True, eq=False)
class BiasEstimate:
    """Bias of one kind of observations, in the units of what they see.

    Attributes
    ----------
    raw : float
        Before the dead zone.
    square : float
        Mean square of m; negative before the first.
    noise : float
        Variance of what noise alone makes of raw.
    variance : float
        Of the last forecast: mean of all observations of the kind.
    cycles : int
        Number of cycles so far.
    """

    raw: float = 0.0
    square: float = -1.0
    noise: float = 0.0
    variance: float = 0.0
    cycles: int = 0

    def __repr__(self) -> str:
        return f"BiasEstimate({self.value:.3g})"

    @property
    def value(self) -> float:
        """b: what is added to the forecast."""
        if self.noise > MAX_NOISE * self.variance:
            return 0.0
        beyond = max(abs(self.raw) - DEAD_ZONE * math.sqrt(self.noise), 0.0)
        return math.copysign(beyond, self.raw) if beyond else 0.0

    def with_shift(self, shift: float, variance: float) -> BiasEstimate:
        """With m of one more cycle, and its forecast variance."""
        square = shift**2 if self.square < 0 else (1 - FORGETTING) * self.square + FORGETTING * shift**2
        gain = max(GAIN, 1 / (FIRST_CYCLES + 2 * self.cycles))
        return BiasEstimate(
            raw=(1 - LEAK) * self.raw + gain * shift,
            square=square,
            noise=(1 - LEAK) ** 2 * self.noise + gain**2 * square,
            variance=variance,
            cycles=self.cycles + 1,
        )
