"""As sqg_linear, but the arctangent of the temperature in K is observed, with error 0.01."""

from ensf.experiments._sqg import experiment, methods
from ensf.observations import Pointwise, arctan
from ensf.twin import Network
from ensf.wrappers import InvertedArctan

EXPERIMENT = experiment(
    "sqg_arctan",
    "SQG turbulence, arctangent of the temperature observed at all points, error 0.01",
    network=Network(Pointwise(arctan), error=0.01),
    methods=methods(2800.0, 0.8, InvertedArctan),
)

EXPECTED = {
    "ensf": {"rmse_analysis": (0.99, 0.12), "rmse_forecast": (2.05, 0.3)},
    "letkf": {"rmse_analysis": (3.4, 0.8)},
    "map": {"rmse_analysis": (0.93, 0.15)},
    "letsf": {"rmse_analysis": (0.13, 0.02), "rmse_forecast": (0.19, 0.03)},
}
