"""Statistics of a group of observations, from what forecast and analysis predict of each.

With innovations d_b = y - mean of h(x) of the forecast, residuals d_a of the analysis, ensemble variances s_b^2, s_a^2
of h(x) and the assumed variance of the error sigma^2, over the n observations of a group

    bias = mean d,    rmse = sqrt(mean d^2),    spread = sqrt(mean s^2),    total_spread = sqrt(mean (s^2 + sigma^2)),
    chi2 = mean of d_b^2 / (s_b^2 + sigma^2),
    error_ratio  = mean of d_a d_b / sigma^2,
    spread_ratio = sum of (d_b - d_a) d_b / sigma^2 over sum of s_b^2 / sigma^2,
    freedom      = sum of the influence of each observation on its own analysis, 0 to 1,

and for observations that were withheld, instead of the last three,

    analysis_chi2 = mean of d_a^2 / (s_a^2 + sigma^2);

and crps of the normal law of mean and total spread. chi2, error_ratio and spread_ratio (Desroziers, Berre, Chapnik &
Poli 2005) are 1 on average if spread and errors are what is assumed. The degrees of freedom for signal are the trace of
the influence matrix (Liu, Kalnay, Miyoshi & Cardinali 2009, Q. J. R. Meteorol. Soc. 135, 1842). Each observation counts
by itself: correlations between them, which few members cannot tell, are left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["Departures"]


@dataclass(frozen=True, eq=False)
class Departures:
    """Observations and what is predicted of them, ``(observation,)`` arrays.

    Attributes
    ----------
    value, error : array
        Observed, and its standard deviation.
    prior_mean, prior_spread, analysis_mean, analysis_spread : array
    influence : array
        Part that each has of its own analysis, as the filter weighs it; NaN where that is not known.
    """

    value: np.ndarray
    error: np.ndarray
    prior_mean: np.ndarray
    prior_spread: np.ndarray
    analysis_mean: np.ndarray
    analysis_spread: np.ndarray
    influence: np.ndarray

    @property
    def normalised(self) -> np.ndarray:
        """Innovations over their expected standard deviation."""
        return (self.value - self.prior_mean) / np.hypot(self.prior_spread, self.error)

    def take(self, rows: np.ndarray) -> Departures:
        """Those at `rows`."""
        return Departures(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def statistics(self, withheld: bool = False) -> dict[str, float]:
        """All of the above, and ``signal``, the mean of s_b^2 / sigma^2; NaN of no observation."""
        numbers = dict.fromkeys(NAMES, math.nan)
        if not len(self.value):
            return numbers
        innovation, residual = self.value - self.prior_mean, self.value - self.analysis_mean
        signal = (self.prior_spread / self.error) ** 2
        numbers |= _of_stage("prior", innovation, self.prior_spread, self.error)
        numbers |= _of_stage("analysis", residual, self.analysis_spread, self.error)
        numbers |= {"chi2": float(np.mean(self.normalised**2)), "signal": float(np.mean(signal))}
        if withheld:
            expected = self.analysis_spread**2 + self.error**2
            return numbers | {"analysis_chi2": float(np.mean(residual**2 / expected))}
        with np.errstate(divide="ignore", invalid="ignore"):
            gained = np.sum((innovation - residual) * innovation / self.error**2) / np.sum(signal)
        return numbers | {
            "error_ratio": float(np.mean(residual * innovation / self.error**2)),
            "spread_ratio": float(gained),
            "freedom": float(np.sum(self.influence)),
        }


def _of_stage(stage: str, departure: np.ndarray, spread: np.ndarray, error: np.ndarray) -> dict[str, float]:
    total = np.hypot(spread, error)
    return {
        f"{stage}_bias": float(np.mean(departure)),
        f"{stage}_rmse": _root_mean_square(departure),
        f"{stage}_spread": _root_mean_square(spread),
        f"{stage}_total_spread": _root_mean_square(total),
        f"{stage}_crps": float(np.mean(_normal_crps(departure / total) * total)),
    }


def _root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _normal_crps(deviation: np.ndarray) -> np.ndarray:
    """CRPS of the standard normal law at a deviation (Gneiting et al. 2005, Mon. Weather Rev. 133, 1098)."""
    from scipy.special import ndtr

    density = np.exp(-(deviation**2) / 2) / math.sqrt(2 * math.pi)
    return deviation * (2 * ndtr(deviation) - 1) + 2 * density - 1 / math.sqrt(math.pi)


OF_STAGES = ("bias", "rmse", "spread", "total_spread", "crps")
NAMES = (
    *(f"{stage}_{name}" for stage in ("prior", "analysis") for name in OF_STAGES),
    "chi2",
    "analysis_chi2",
    "error_ratio",
    "spread_ratio",
    "freedom",
    "signal",
)
