"""Lorenz-96, all variables seen through arctan every 0.4 with error 0.05."""

from ensf.experiments._lorenz96 import experiment
from ensf.observations import Pointwise, arctan
from ensf.twin import Network

EXPERIMENT = experiment(
    "lorenz96_arctan_04",
    "Lorenz-96, arctan(x) of all observed every 0.4, error 0.05",
    0.4,
    Network(Pointwise(arctan), error=0.05),
)

EXPECTED = {"letsf": {"rmse_analysis": (0.078, 0.008)}}
