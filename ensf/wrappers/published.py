"""The ensemble score filter as it was published, by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ensf.diffusion.sampler import ReverseSDE, RunningMeanStop, StandardisedNoise
from ensf.diffusion.schedule import LinearSchedule
from ensf.filters.base import Filter
from ensf.filters.ensf import EnSF
from ensf.wrappers.spread import SpreadReset
from ensf.wrappers.standardised import Standardised

__all__ = ["published"]


def published(name: str, **changes: Any) -> Filter:
    """Settings of the ensemble score filter that were published, by name.

    Parameters
    ----------
    name : {"legacy", "cmame", "sqg"}
        "legacy": arXiv 2309.00983v1 (Lorenz-96 of 10^6 variables); "cmame": CMAME 432 (2024) 117447;
        "sqg": MWR 153 (2025) 1155, which standardises the ensemble, stops early and resets the spread.
    **changes
        Settings of `EnSF` to replace, such as ``sampler=ReverseSDE(200)``.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if name not in _PUBLISHED:
        raise ValueError(f"unknown published setting {name!r}: choose one of {', '.join(map(repr, _PUBLISHED))}")
    settings = replace(_PUBLISHED[name], **changes)
    return SpreadReset(Standardised(settings)) if name == "sqg" else settings


_PUBLISHED = {
    "legacy": EnSF(schedule=LinearSchedule(0.05, 0.0), sampler=ReverseSDE(100)),
    "cmame": EnSF(schedule=LinearSchedule(0.5, 0.025), sampler=ReverseSDE(500), start=StandardisedNoise(), clip=1000.0),
    "sqg": EnSF(schedule=LinearSchedule(0.05, 0.0), sampler=ReverseSDE(1000, stop=RunningMeanStop())),
}
