"""Lorenz-96, of all variables it is observed every 0.05 whether they are above 2.5, with error 1."""

from ensf.experiments._lorenz96 import ROBUST, experiment
from ensf.observations import Threshold
from ensf.twin import Network

EXPERIMENT = experiment(
    "lorenz96_threshold",
    "Lorenz-96, whether each variable is above 2.5, observed every 0.05, error 1",
    0.05,
    Network(error=Threshold(1.0, level=2.5)),
    ROBUST,
)

EXPECTED = {"letsf": {"rmse_analysis": (0.56, 0.07)}}
