"""Lorenz-96, all observed every 0.05 with error 1; 5 percent of the errors are ten times as large.

The filter is told Gaussian errors of 1, as if there were no outliers: what the rejection of outliers is for.
"""

from dataclasses import replace

from ensf.experiments._lorenz96 import ROBUST, GrossErrors, experiment
from ensf.localization import periodic_line
from ensf.twin import Network
from ensf.wrappers import OutlierRejection

_LETSF = ROBUST["letsf"]
_GROSS = replace(
    _LETSF,
    filter=OutlierRejection(_LETSF.filter, localization=periodic_line(40, 10.0)),
    summary="the same, outliers rejected",
)

EXPERIMENT = experiment(
    "lorenz96_outliers_gaussian",
    "Lorenz-96, all observed every 0.05, error 1, 5 percent outliers of 10, told Gaussian",
    0.05,
    Network(error=GrossErrors(1.0), told=1.0),
    {"letsf": _LETSF, "letsf_gross": _GROSS},
)

EXPECTED: dict[str, dict[str, tuple[float, float]]] = {}
