"""Lorenz-96, all observed every 0.05 with error 1, of which the filter is told half: a quarter of R."""

from ensf.experiments._lorenz96 import ROBUST, experiment
from ensf.twin import Network

EXPERIMENT = experiment(
    "lorenz96_wrong_error",
    "Lorenz-96, all observed every 0.05, error 1 of which the filter is told half",
    0.05,
    Network(error=1.0, told=0.5),
    ROBUST,
)

EXPECTED = {"letsf": {"rmse_analysis": (0.201, 0.015)}}
