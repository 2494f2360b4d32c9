"""Lorenz-96, all observed every 0.05 with error 1; members know F as N(7, 1), the truth has 8.

`rmse_parameters` is the error of F after 300 cycles; it is to be within 0.05.
"""

from ensf.experiments._parameter import experiment

EXPERIMENT = experiment(
    "lorenz96_parameter", "Lorenz-96, all observed every 0.05, error 1, forcing 8 estimated from N(7, 1)", 0.0, 600, 300
)

EXPECTED = {
    "letsf": {"rmse_analysis": (0.198, 0.02), "rmse_parameters": (0.027, 0.015)},
    "letsf_walk": {"rmse_analysis": (0.197, 0.02), "rmse_parameters": (0.037, 0.02)},
    "letkf": {"rmse_analysis": (0.216, 0.01), "rmse_parameters": (0.017, 0.01)},
}
