"""The standard scores of one cycle."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ensf.arrays import is_host, namespace, to_numpy
from ensf.diagnostics.observations import consistency, departures
from ensf.diagnostics.truth import marginal_scores

__all__ = ["scores"]

_SCORES = (
    [f"{score}_forecast" for score in ("rmse", "bias", "spread", "crps")]
    + [f"{score}_analysis" for score in ("rmse", "bias", "spread", "crps")]
    + ["coverage95", "chi2", "desroziers_error", "desroziers_spread"]
)
REPORTED = ("model_runs",)
"""Numbers that go on from a filter's `info`, if it has them."""


@np.errstate(all="ignore")
def scores(cycle: Any) -> dict[str, float]:
    """Compute the standard scores of one cycle (`ensf.twin.twin.Cycle`).

    Returns
    -------
    dict
        ``rmse_``, ``bias_``, ``spread_`` and ``crps_`` of ``forecast`` and ``analysis``, in the units of the
        state; ``coverage95`` of the analysis; ``chi2`` of the forecast; ``desroziers_error``,
        ``desroziers_spread``. The last three are NaN if nothing was observed or errors are not Gaussian. Then
        ``model_runs``, if the filter reports them.
    """
    forecast, analysis, observation = cycle.forecast, cycle.analysis.ensemble, cycle.observation
    values = [*marginal_scores(forecast, cycle.truth)[:4], *marginal_scores(analysis, cycle.truth)]
    if hasattr(observation.law, "whiten"):
        values += consistency(departures(forecast, observation), departures(analysis, observation))
    host = values if is_host(forecast) else to_numpy(namespace(forecast).stack(values))
    numbers = [float(value) for value in host]
    info = getattr(cycle.analysis, "info", {})
    reported = {name: float(info[name]) for name in REPORTED if name in info}
    return dict(zip(_SCORES, numbers + [math.nan] * (len(_SCORES) - len(numbers)), strict=True)) | reported
