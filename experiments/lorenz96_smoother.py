"""Lorenz-96, all variables observed every 0.05 with error 1: the states of the last 10 cycles, corrected since."""

from dataclasses import replace

from ensf.experiments._lorenz96 import METHODS, experiment
from ensf.observations import Identity
from ensf.twin import Network
from ensf.wrappers import Smoother

LAG = 10

PAGE = experiment(
    "lorenz96_smoother",
    "Lorenz-96, all observed every 0.05, error 1, smoothed over 10 cycles",
    0.05,
    Network(Identity(), error=1.0),
    {
        name: replace(method, filter=Smoother(method.filter, LAG), summary=f"{method.summary}, smoother of lag {LAG}")
        for name, method in METHODS.items()
    },
)

EXPERIMENT = replace(PAGE, cycles=300)

EXPECTED = {
    "letkf": {
        "rmse_analysis": (0.215, 0.010),
        "rmse_lag1": (0.195, 0.010),
        "rmse_lag5": (0.150, 0.010),
        "rmse_lag10": (0.132, 0.010),
    },
    "letsf": {
        "rmse_analysis": (0.178, 0.010),
        "rmse_lag1": (0.164, 0.010),
        "rmse_lag5": (0.126, 0.010),
        "rmse_lag10": (0.106, 0.010),
    },
}
