"""The filter that the board recommends, whole, in one call."""

from __future__ import annotations

import math
from dataclasses import replace

from ensf.filters.base import Filter
from ensf.filters.letsf import LETSF
from ensf.localization import Euclidean, InformationLimit, Localization
from ensf.localization.localization import check_localization
from ensf.wrappers.deferred_analysis import DeferredAnalysis
from ensf.wrappers.model_in_the_loop import ModelInTheLoop, Relinearised
from ensf.wrappers.spread import Rotation
from ensf.wrappers.spread_control import AdaptiveSpread

__all__ = ["letsf"]


def letsf(
    localization: Localization | None = None,
    estimate_bias: bool = True,
    reference: str | tuple[str, ...] = (),
    loop: bool = False,
    max_pieces: int = 3,
    independent_part: float = 0.5,
) -> Filter:
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
    reference : str, or tuple of str
        Kinds of observations that are right, as of `AdaptiveSpread`.
    loop : bool
        Whether the model is put in the loop where the forecast bends (`ensf.ModelInTheLoop`): observations then come
        with their window, as in a twin experiment, ``ensf cycle``, or `ensf.dataset.analyse` with ``window=``.
    max_pieces : int
        How many times at most the loop forecasts the ensemble anew in a cycle; noise of the model costs one more.
    independent_part : float
        Of what a surprise adds, as noise from grid point to grid point: 0 for fields that are smooth and must stay so.

    Raises
    ------
    ValueError
        If a number is out of its range, or `max_pieces` is given without a loop.
    """
    wide = Localization(Euclidean(), math.inf) if localization is None else localization
    check_localization(wide, "letsf")
    if not isinstance(loop, bool):
        raise ValueError(
            f"loop of letsf is {loop!r}: give True or False; the model comes with the observation's window"
        )
    if not loop and max_pieces != 3:
        raise ValueError("max_pieces of letsf is of the model in the loop: give loop=True besides")
    inside = Rotation(LETSF(wide, information_limit=InformationLimit()))
    near = replace(wide, half_width=wide.half_width / 2)
    spread = AdaptiveSpread(
        Relinearised(inside, max_pieces) if loop else inside,
        near,
        independent_part=independent_part,
        estimate_bias=estimate_bias,
        reference=reference,
    )
    return DeferredAnalysis(ModelInTheLoop(spread) if loop else spread, min_constraint=0.2)
