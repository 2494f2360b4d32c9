"""Lorenz-96, all variables observed every 0.4 with error 1."""

from ensf.experiments._lorenz96 import LOOPED, METHODS, experiment
from ensf.observations import Identity
from ensf.twin import Network

EXPERIMENT = experiment(
    "lorenz96_window_04",
    "Lorenz-96, all observed every 0.4, error 1",
    0.4,
    Network(Identity(), error=1.0),
    METHODS | LOOPED,
)

EXPECTED = {
    "letsf": {"rmse_analysis": (0.54, 0.03)},
    "letsf_loop": {"rmse_analysis": (0.39, 0.03)},
}
