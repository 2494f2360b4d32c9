"""As sqg_arctan at half of the points, others in each cycle; in a tenth of the cycles a shock of 900 m/s (2.8 K)."""

from ensf.experiments._sqg import MODEL, Shocks, experiment, methods
from ensf.observations import RandomPoints, arctan
from ensf.wrappers import InvertedArctan

METHODS = methods(5800.0, 0.9, InvertedArctan)
del METHODS["hybrid"]  # behind LETSF here: see docs/sqg.md

EXPERIMENT = experiment(
    "sqg_arctan_half_shocks",
    "as sqg_arctan at 2048 random points of each level, and white noise of 2.8 K on the truth in a tenth of the cycles",
    network=RandomPoints(MODEL.shape, count=2048, error=0.01, function=arctan),
    methods=METHODS,
    shocks=Shocks(0.1, (900.0,), (1.0,)),
)

EXPECTED = {
    "ensf": {"rmse_analysis": (2.48, 0.6)},
    "map": {"rmse_analysis": (2.87, 0.8)},
    "letsf": {"rmse_analysis": (0.71, 0.15)},
}
