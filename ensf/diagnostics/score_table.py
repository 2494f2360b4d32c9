"""The scores of a run: name, title, long name, formula and unit of each, as tables, files, figures, boards show them.

With members x_i, their mean m, N of them, truth x, observations y = h(x) + e; the
formulas in full are in `ensf.diagnostics`.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AT_LEADS", "LAGGED", "MEASURED", "REPORTED", "SCORES", "Score", "title"]


@dataclass(frozen=True)
class Score:
    """One number per cycle, or per run.

    Parameters
    ----------
    name : str
        In mappings of scores, files and summaries.
    title : str
        Head of a column.
    long_name : str
    formula : str
    of_state : bool
        True if the unit is that of the state; else it is 1.
    """

    name: str
    title: str
    long_name: str
    formula: str
    of_state: bool = False


def _of_stage(stage: str, rmse: str, suffix: str) -> tuple[Score, ...]:
    """Scores of forecast or analysis against the truth; the titles of a table tell them apart where both are shown."""
    return (
        Score(
            f"rmse_{stage}",
            rmse,
            f"root mean square error of the mean of the {stage}",
            "square root of the mean over components of (m - x)^2",
            of_state=True,
        ),
        Score(
            f"bias_{stage}",
            f"bias{suffix}",
            f"mean error of the mean of the {stage}",
            "mean over components of m - x",
            of_state=True,
        ),
        Score(
            f"spread_{stage}",
            f"spread{suffix}",
            f"standard deviation of the {stage}, root mean square over components",
            "square root of the mean over components of sum_i (x_i - m)^2 / (N - 1)",
            of_state=True,
        ),
        Score(
            f"crps_{stage}",
            f"CRPS{suffix}",
            f"fair continuous ranked probability score of the {stage}",
            "mean over components of sum_i |x_i - x| / N - sum_ij |x_i - x_j| / (2 N (N - 1))",
            of_state=True,
        ),
    )


MEASURED = (
    *_of_stage("forecast", "RMSE fc", " fc"),
    *_of_stage("analysis", "RMSE an", ""),
    Score(
        "coverage95",
        "cover 95%",
        "fraction of components with the truth in the 95 percent interval of the analysis",
        "fraction of components with |m - x| <= t s sqrt(1 + 1/N), t the quantile of Student's law, s the spread",
    ),
    Score(
        "chi2",
        "chi2",
        "normalised squared innovation, 1 on average if spread and error are consistent",
        "d^T (H B H^T + R)^-1 d over the number of observations, d = y - mean of h(x_i) of the forecast",
    ),
    Score(
        "desroziers_error",
        "error ratio",
        "observation error variance from departures, over the assumed one",
        "d_a^T d_b over the number of observations, whitened departures of analysis and forecast",
    ),
    Score(
        "desroziers_spread",
        "spread ratio",
        "forecast variance from departures, over that of the ensemble",
        "(d_b - d_a)^T d_b over the variance of the whitened h(x_i) of the forecast",
    ),
)
"""What `ensf.diagnostics.scores` measures in every cycle, in its order."""

REPORTED = (
    Score("failed_members", "failed", "members whose forecast failed", "counted by the filter"),
    Score("model_runs", "runs", "forecasts of the whole ensemble that the cycle took", "counted by the filter"),
    Score(
        "error_factor",
        "R factor",
        "factor of the standard deviation of observation errors that the filter estimates",
        "1 while there is no evidence",
    ),
    Score(
        "bias",
        "model bias",
        "what the filter adds to the forecast of what is observed",
        "0 while there is no evidence",
        of_state=True,
    ),
)
"""Numbers that go on from a filter's `info`, if it has them."""

OF_PARAMETERS = (
    Score(
        "rmse_parameters",
        "RMSE par",
        "root mean square error of the mean of the parameters, in their units",
        "square root of the mean over parameters of (m - p)^2",
    ),
)
"""Of the parameters at the end of the state, if there are any."""

OF_RUNS = (
    Score(
        "spread_ratio",
        "spread / RMSE",
        "time mean of the spread of the analysis over that of its RMSE, 1 if consistent",
        "mean over cycles of spread_analysis / mean over cycles of rmse_analysis",
    ),
)

LAGS = 100
"""Lags of a smoother that have names."""


def lagged(lag: int) -> tuple[Score, Score]:
    """RMSE and spread of the state of so many cycles ago, corrected by all observations since."""
    before = f"state {lag} cycle{'s' * (lag > 1)} before the analysis, corrected by a smoother"
    return (
        Score(
            f"rmse_lag{lag}",
            f"RMSE -{lag}",
            f"root mean square error of the mean of the {before}",
            "square root of the mean over components of (m - x)^2",
            of_state=True,
        ),
        Score(
            f"spread_lag{lag}",
            f"spread -{lag}",
            f"standard deviation of the {before}, root mean square over components",
            "square root of the mean over components of sum_i (x_i - m)^2 / (N - 1)",
            of_state=True,
        ),
    )


LAGGED = tuple(score for lag in range(1, LAGS + 1) for score in lagged(lag))
"""Those of a smoother, RMSE and spread in turn."""

LEADS = 15
"""Leads of a forecast that have names."""


def at_lead(lead: int) -> tuple[Score, Score]:
    """CRPS and coverage of what is forecast for so many days after the analysis."""
    after = f"{lead} day{'s' * (lead > 1)} after the analysis"
    return (
        Score(
            f"crps_lead{lead}",
            f"CRPS +{lead}",
            f"fair continuous ranked probability score of the forecast {after}",
            "sum_i |x_i - x| / N - sum_ij |x_i - x_j| / (2 N (N - 1))",
            of_state=True,
        ),
        Score(
            f"cover90_lead{lead}",
            f"90% +{lead}",
            f"whether the report {after} is among the middle 90 percent of the forecast",
            "1 if at least (N + 1) / 20 members are on either side of it, else 0",
        ),
    )


AT_LEADS = tuple(score for lead in range(1, LEADS + 1) for score in at_lead(lead))
"""Those of forecasts for several days, in turn."""

SCORES = {score.name: score for score in (*MEASURED, *REPORTED, *OF_PARAMETERS, *LAGGED, *AT_LEADS, *OF_RUNS)}


def title(name: str) -> str:
    """Head of the column of a score, or of the RMSE of the analysis in another window of the run.

    Parameters
    ----------
    name : str
        As in a summary: ``chi2``, ``rmse_analysis``, ``rmse_analysis_all``, ``rmse_analysis_last50``.
    """
    window = name.removeprefix("rmse_analysis_")
    return SCORES[name].title if name in SCORES else window.replace("last", "last ")
