"""Lorenz-96 at single times: the magnitude of every second variable observed with error 1, and 300 other states.

As score_prior_lorenz96, with its settings: no option was set for this page. The sign of what is observed comes from
the neighbours.
"""

import numpy as np

from ensf.experiments._score_prior import SIZE, SingleTimes, methods
from ensf.observations import Pointwise, Select, absolute
from ensf.twin import Network

POINTS = tuple(range(0, SIZE, 2))

EXPERIMENT = SingleTimes(
    name="score_prior_lorenz96_abs",
    summary="Lorenz-96, single times, |x| of every second variable observed with error 1: a learned prior",
    network=Network(Pointwise(absolute, Select(POINTS)), 1.0, np.array(POINTS, dtype=float)[:, None]),
    methods=methods(length=0.5, half_width=4.0, analogs=20),
)
EXPECTED = {
    "climatology": {"rmse_analysis": (3.63, 0.005), "spread_analysis": (3.627, 0.005)},
    "analogs": {"rmse_analysis": (3.288, 0.005), "spread_analysis": (3.45, 0.005)},
    "oi": {"rmse_analysis": (3.453, 0.005), "spread_analysis": (2.295, 0.005)},
    "letkf": {"rmse_analysis": (3.145, 0.005), "spread_analysis": (3.051, 0.005)},
    "letsf": {"rmse_analysis": (3.123, 0.005), "spread_analysis": (3.094, 0.005)},
    "score": {"rmse_analysis": (3.152, 0.05), "spread_analysis": (3.01, 0.05)},
    "states": {"rmse_analysis": (3.232, 0.05), "spread_analysis": (3.354, 0.05)},
}
