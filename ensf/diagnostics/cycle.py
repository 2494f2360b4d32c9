"""The standard scores of one cycle."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from ensf.arrays import Array, is_host, namespace, to_numpy
from ensf.diagnostics.observations import consistency, departures
from ensf.diagnostics.score_table import MEASURED, REPORTED
from ensf.diagnostics.truth import marginal_scores
from ensf.filters.base import Analysis
from ensf.observations import Observation

__all__ = ["Cycle", "scores"]


class Cycle(Protocol):
    """What there is to score: forecast and analysis of one time, the truth, and what was observed of it."""

    @property
    def forecast(self) -> Array: ...

    @property
    def analysis(self) -> Analysis: ...

    @property
    def truth(self) -> Array: ...

    @property
    def observation(self) -> Observation: ...


@np.errstate(all="ignore")
def scores(cycle: Cycle) -> dict[str, float]:
    """Compute the standard scores of one cycle.

    Parameters
    ----------
    cycle : Cycle
        As `ensf.twin.twin` yields it.

    Returns
    -------
    dict
        One number for each name in `ensf.diagnostics.score_table.MEASURED`; the last three, from observations, are NaN
        if nothing was observed or errors are not Gaussian. Then those of `REPORTED` that the filter reports, and
        `rmse_parameters` if it has parameters.
    """
    forecast, analysis, observation = cycle.forecast, cycle.analysis.ensemble, cycle.observation
    values = [*marginal_scores(forecast, cycle.truth)[:4], *marginal_scores(analysis, cycle.truth)]
    if observation.law.is_gaussian:
        values += consistency(departures(forecast, observation), departures(analysis, observation))
    host = values if is_host(forecast) else to_numpy(namespace(forecast).stack(values))
    numbers = [float(value) for value in host]
    info = getattr(cycle.analysis, "info", {})
    reported = {score.name: float(info[score.name]) for score in REPORTED if np.ndim(info.get(score.name, [])) == 0}
    if info.get("parameters"):
        off = to_numpy(analysis)[:, -info["parameters"] :].mean(axis=0) - to_numpy(cycle.truth)[-info["parameters"] :]
        reported["rmse_parameters"] = float(np.sqrt(np.mean(off**2)))
    missing = [math.nan] * (len(MEASURED) - len(numbers))
    return dict(zip((score.name for score in MEASURED), numbers + missing, strict=True)) | reported
