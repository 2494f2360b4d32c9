"""Lorenz-96, every second variable observed every 0.05 with error 1."""

from ensf.experiments._lorenz96 import experiment
from ensf.observations import Select
from ensf.twin import Network

EXPERIMENT = experiment(
    "lorenz96_half",
    "Lorenz-96, every second variable observed every 0.05, error 1",
    0.05,
    Network(Select(tuple(range(0, 40, 2))), error=1.0),
)

EXPECTED = {"letsf": {"rmse_analysis": (0.29, 0.03)}}
