"""The filter that the board recommends, whole, in one call."""

from __future__ import annotations

import math
from dataclasses import replace

from ensf.filters.base import Filter
from ensf.filters.letsf import LETSF
from ensf.localization import Euclidean, InformationLimit, Localization
from ensf.localization.localization import check_localization
from ensf.wrappers.deferred_analysis import DeferredAnalysis
from ensf.wrappers.spread import Rotation
from ensf.wrappers.spread_control import AdaptiveSpread

__all__ = ["letsf"]


def letsf(localization: Localization | None = None, estimate_bias: bool = True, reference: str = "") -> Filter:
    """LETSF with patches limited by information, rotated, with adaptive spread and deferred analysis.

    One set of options, the one of the board; it changes with the board. Its recipe is what Python prints for it.

    Parameters
    ----------
    localization : Localization, optional
        How far an observation reaches at most; information narrows it where there is more than the members can
        absorb. Without one, every observation reaches everything. A Dataset and files have one from their coordinates.
    estimate_bias : bool
        Of the model. Beside parameters of the model that are estimated, no: both explain the same, and the bias learns
        faster.
    reference : str
        Kind of observations that is right, as of `AdaptiveSpread`.
    """
    wide = Localization(Euclidean(), math.inf) if localization is None else localization
    check_localization(wide, "letsf")
    filter = Rotation(LETSF(wide, information_limit=InformationLimit()))
    near = replace(wide, half_width=wide.half_width / 2)
    return DeferredAnalysis(
        AdaptiveSpread(filter, near, estimate_bias=estimate_bias, reference=reference), min_constraint=0.2
    )
