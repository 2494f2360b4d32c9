"""The standard scores of one cycle."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from ensf.arrays import Array, is_host, namespace, to_numpy
from ensf.diagnostics.observations import consistency, departures
from ensf.diagnostics.score_table import LAGGED, MEASURED, REPORTED
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

    @property
    def observed_forecast(self) -> Array: ...

    @property
    def observed_analysis(self) -> Array | None: ...

    @property
    def lag(self) -> int: ...

    @property
    def earlier_truths(self) -> Sequence[Array]: ...

    @property
    def measured(self) -> Mapping[str, float]: ...


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
        One number for each name in `ensf.diagnostics.score_table.MEASURED`; the last three, from observations with
        Gaussian errors, are NaN if there is none. Then those of `REPORTED` that the filter reports,
        `rmse_parameters` if it has parameters, of a smoother those of each lag, NaN while there are not as many
        cycles before, and what the experiment itself has measured.
    """
    forecast, analysis = cycle.forecast, cycle.analysis.ensemble
    observation = cycle.observation.with_gaussian_errors()
    values = [*marginal_scores(forecast, cycle.truth)[:4], *marginal_scores(analysis, cycle.truth)]
    observed = cycle.observed_analysis
    if observation.size and observed is not None:
        values += consistency(departures(cycle.observed_forecast, observation), departures(observed, observation))
    host = values if is_host(forecast) else to_numpy(namespace(forecast).stack(values))
    numbers = [float(value) for value in host]
    info = getattr(cycle.analysis, "info", {})
    reported = {score.name: float(info[score.name]) for score in REPORTED if np.ndim(info.get(score.name, [])) == 0}
    if info.get("parameters"):
        off = to_numpy(analysis)[:, -info["parameters"] :].mean(axis=0) - to_numpy(cycle.truth)[-info["parameters"] :]
        reported["rmse_parameters"] = float(np.sqrt(np.mean(off**2)))
    missing = [math.nan] * (len(MEASURED) - len(numbers))
    measured = dict(zip((score.name for score in MEASURED), numbers + missing, strict=True))
    return measured | reported | _smoothed(cycle) | dict(cycle.measured)


def _smoothed(cycle: Cycle) -> dict[str, float]:
    """RMSE and spread of the states that a smoother has corrected, by lag."""
    names = [score.name for score in LAGGED[: 2 * cycle.lag]]
    values = dict.fromkeys(names, math.nan)
    for lag, (state, truth) in enumerate(zip(cycle.analysis.earlier, cycle.earlier_truths, strict=True)):
        rmse, _, spread, _ = marginal_scores(state, truth)[:4]
        values |= {names[2 * lag]: float(rmse), names[2 * lag + 1]: float(spread)}
    return values
