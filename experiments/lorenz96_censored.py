"""Lorenz-96, all observed every 0.05 with error 1 by an instrument that reports 0 below 0 and 5 above 5."""

from ensf.experiments._lorenz96 import ROBUST, experiment
from ensf.observations import Censored
from ensf.twin import Network

EXPERIMENT = experiment(
    "lorenz96_censored",
    "Lorenz-96, all observed every 0.05, error 1, between 0 and 5 only",
    0.05,
    Network(error=Censored(1.0, low=0.0, high=5.0)),
    ROBUST,
)

EXPECTED = {"letsf": {"rmse_analysis": (0.240, 0.03)}}
