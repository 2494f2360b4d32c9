r"""Bias of the model as fields: what its number leaves here and there, by scale, at the knots.

A forcing that is wrong in one place and right in another is a bias of that place. For each scale, a taper W of the
localization's half-width or of .3 of it, and of the forecast with all bias that is believed, m is what the likeliest
shift near a knot has more than the likeliest for all observations of the kind,

    m_i = sum_k W_ik g_k / sum_k W_ik i_k - sum_k g_k / sum_k i_k,

with g and i as of `ensf.wrappers.spread_control.bias`, and

    var <- .99 var + .01 m^2;      raw <- (1 - leak) raw + gain m;      noise <- (1 - leak)^2 noise + gain^2 var;
    b = sign(raw) max(|raw| - 3 root(noise), 0),      gain = .003, leak = .001.

The scales add up, and with the number of the kind: what all its observations have in common, as where an instrument is
off, is the number's alone. The dead zone is wider than that of the number, for many places are looked at; it costs
cycles and not accuracy, for raw goes on until little is left. A knot without an observation of the kind near it stays
as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ensf.arrays import Record
from ensf.localization import Localization, Patches
from ensf.wrappers.knots import at_places, near_sums
from ensf.wrappers.spread_control.bias import FORGETTING, MAX_NOISE

__all__ = ["FIRST_CYCLES", "SCALES", "BiasFields", "tapers"]

SCALES = 1.0, 0.3
"""In half-widths."""
GAIN, LEAK, DEAD_ZONE = 0.003, 0.001, 3.0
FIRST_CYCLES = 30
"""Of a kind, that teach nothing: what a start is off by in a place lasts for some."""
NEAR = 5 / 24
"""Taper of an observation at the half-width: what is near a knot weighs as much together."""


@dataclass(frozen=True, eq=False)
class BiasFields(Record):
    """Bias of one kind of observations at the knots, in the units of what they see.

    Attributes
    ----------
    raw : (scale, knot) array
        Before the dead zone.
    square : (scale, knot) array
        Mean square of m; negative before the first.
    noise : (scale, knot) array
        Variance of what noise alone makes of raw.
    variance : (scale, knot) array
        Of the last forecast: tapered mean of the observations near by.
    """

    raw: np.ndarray
    square: np.ndarray
    noise: np.ndarray
    variance: np.ndarray

    @classmethod
    def at_first(cls, knots: int) -> BiasFields:
        """Before the first observation."""
        none = np.zeros((len(SCALES), knots))
        return cls(none, none - 1, none, none)

    def covering(self, knots: int) -> BiasFields:
        """With knots that came."""
        new = BiasFields.at_first(knots - self.raw.shape[1])
        return BiasFields(*(np.hstack(both) for both in zip(self._arrays, new._arrays, strict=True)))

    @property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        return self.raw, self.square, self.noise, self.variance

    @property
    def value(self) -> np.ndarray:
        """b: what all scales together add to the forecast, ``(knot,)``."""
        beyond = np.maximum(np.abs(self.raw) - DEAD_ZONE * np.sqrt(self.noise), 0.0)
        return np.where(self.noise > MAX_NOISE * self.variance, 0.0, np.sign(self.raw) * beyond).sum(axis=0)

    def at(self, localization: Localization, knots: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """The same at places, ``(place,)``: what knots near by have."""
        value = self.value
        if not len(positions) or not value.any():
            return np.zeros(len(positions))
        near = localization.patches(positions, knots)
        return at_places(localization, near, value[None, :])[0][near.slots // near.variables.shape[1]]

    def with_shifts(
        self,
        near: Sequence[Patches],
        slope: np.ndarray,
        curvature: np.ndarray,
        variance: np.ndarray,
        trust: float = 1.0,
    ) -> BiasFields:
        """With m of one more cycle.

        Parameters
        ----------
        near : sequence of Patches
            `tapers`: observations near each knot, by scale.
        slope, curvature, variance : (observation,) array
            g, i and the forecast variance; nan of observations that do not count.
        trust : float
            Part of the gain: 0 where errors are correlated in time, and look like a bias.
        """
        counts = np.isfinite(slope)
        of_each = np.where(counts, np.stack([counts, slope, curvature, variance]), 0.0)
        gain = trust * GAIN
        common = np.nansum(slope) / curvature[counts].sum()
        scales = []
        for taper, *before in zip(near, *self._arrays, strict=True):
            weight, pull, information, spread = near_sums(taper, of_each, 1)
            learns = (weight >= NEAR) & (information > 0)
            shift, mean = pull / np.where(learns, information, 1.0) - common, spread / np.where(learns, weight, 1.0)
            raw, square, noise, _ = before
            square = np.where(square < 0, shift**2, (1 - FORGETTING) * square + FORGETTING * shift**2)
            now = (1 - LEAK) * raw + gain * shift, square, (1 - LEAK) ** 2 * noise + gain**2 * square, mean
            scales.append([np.where(learns, new, old) for new, old in zip(now, before, strict=True)])
        return BiasFields(*(np.stack(each) for each in zip(*scales, strict=True)))


def tapers(patches: Patches, half_width: float) -> list[Patches]:
    """Observations near each knot with the taper of each scale; those of the whole half-width are given."""
    return [patches if scale == 1 else patches.narrowed(scale * half_width) for scale in SCALES]
