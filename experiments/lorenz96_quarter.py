"""Lorenz-96, every fourth variable observed every 0.05 with error 1."""

from ensf.experiments._lorenz96 import ROBUST, experiment
from ensf.observations import Select
from ensf.twin import Network

EXPERIMENT = experiment(
    "lorenz96_quarter",
    "Lorenz-96, every fourth variable observed every 0.05, error 1",
    0.05,
    Network(Select(tuple(range(0, 40, 4))), error=1.0),
    ROBUST,
)

EXPECTED = {"letsf": {"rmse_analysis": (0.5, 0.08)}}
