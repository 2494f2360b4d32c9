"""Surface quasi-geostrophic turbulence, temperature observed at all points of both levels, error 1 K, every 12 h."""

from ensf.experiments._sqg import LINEAR, experiment
from ensf.observation import Identity
from ensf.twin import Network

EXPERIMENT = experiment(
    "sqg_linear",
    "SQG turbulence, all points of both levels observed every 12 h, error 1 K",
    network=Network(Identity(), error=1.0),
    methods=LINEAR,
)

EXPECTED = {
    "letkf": {"rmse_analysis": (0.46, 0.03)},
    "ensf": {"rmse_analysis": (0.91, 0.05), "rmse_forecast": (1.94, 0.10)},
}
