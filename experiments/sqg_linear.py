"""Surface quasi-geostrophic turbulence, temperature observed at all points of both levels, error 1 K, every 12 h."""

from ensf.experiments._sqg import LINEAR, experiment
from ensf.observations import Identity
from ensf.twin import Network

EXPERIMENT = experiment(
    "sqg_linear",
    "SQG turbulence, all points of both levels observed every 12 h, error 1 K",
    network=Network(Identity(), error=1.0),
    methods=LINEAR,
)

EXPECTED = {
    "letkf": {"rmse_analysis": (0.46, 0.03), "rmse_forecast": (0.67, 0.04)},
    "ensf": {"rmse_analysis": (0.92, 0.03), "rmse_forecast": (2.05, 0.20)},
    "map": {"rmse_analysis": (0.82, 0.08)},
    "letsf": {"rmse_analysis": (0.47, 0.03), "rmse_forecast": (0.67, 0.05)},
}
