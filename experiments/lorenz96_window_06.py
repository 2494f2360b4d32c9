"""Lorenz-96, all variables observed every 0.6 with error 1."""

from ensf.experiments._lorenz96 import LOOPED, METHODS, experiment
from ensf.observations import Identity
from ensf.twin import Network

EXPERIMENT = experiment(
    "lorenz96_window_06",
    "Lorenz-96, all observed every 0.6, error 1",
    0.6,
    Network(Identity(), error=1.0),
    METHODS | LOOPED,
)

EXPECTED = {
    "letsf": {"rmse_analysis": (0.69, 0.04)},
    "letsf_loop": {"rmse_analysis": (0.46, 0.04)},
}
