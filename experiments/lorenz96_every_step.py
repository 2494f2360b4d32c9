"""The same observations as `lorenz96_asynchronous`, analysed at every step; scores of every step."""

from dataclasses import replace

from ensf.experiments._lorenz96 import experiment
from ensf.observations import Identity
from ensf.twin import Network

EXPERIMENT = replace(
    experiment(
        "lorenz96_every_step", "Lorenz-96, all observed every 0.05, error 1", 0.05, Network(Identity(), error=1.0)
    ),
    cycles=1200,
    burn_in=20.0,
)

EXPECTED = {
    "letkf": {"rmse_analysis": (0.214, 0.010)},
    "letsf": {"rmse_analysis": (0.181, 0.010)},
}
