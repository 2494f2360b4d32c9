"""Lorenz-96, absolute values of all variables observed every 0.1 with error 1."""

from ensf.experiments._lorenz96 import experiment
from ensf.observations import Pointwise, absolute
from ensf.twin import Network

EXPERIMENT = experiment(
    "lorenz96_abs_01",
    "Lorenz-96, abs(x) of all observed every 0.1, error 1",
    0.1,
    Network(Pointwise(absolute), error=1.0),
)

EXPECTED = {"letsf": {"rmse_analysis": (0.264, 0.02)}}
