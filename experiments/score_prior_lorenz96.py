"""Lorenz-96 at single times: every fourth variable observed with error 1, and 300 states of the climatology.

The truth of each cycle has nothing to do with that of the last: `ensf.experiments._score_prior` says what is known of
it. Tuned on seeds 11 to 13: the length of optimal interpolation (.5, 1, 1.5, 2), the half-width of LETKF and LETSF (2,
3, 4, 6, 8) and the number of analogs (5, 10, 20, 40). The learned score was not tuned.
"""

import numpy as np

from ensf.experiments._score_prior import SIZE, SingleTimes, methods
from ensf.observations import Select
from ensf.twin import Network

POINTS = tuple(range(0, SIZE, 4))

EXPERIMENT = SingleTimes(
    name="score_prior_lorenz96",
    summary="Lorenz-96, single times, every fourth variable observed with error 1: a learned prior",
    network=Network(Select(POINTS), 1.0, np.array(POINTS, dtype=float)[:, None]),
    methods=methods(length=0.5, half_width=4.0, analogs=20),
)
EXPECTED = {
    "climatology": {"rmse_analysis": (3.630, 0.005), "spread_analysis": (3.627, 0.005)},
    "analogs": {"rmse_analysis": (3.174, 0.005), "spread_analysis": (3.423, 0.005)},
    "oi": {"rmse_analysis": (3.318, 0.005), "spread_analysis": (3.013, 0.005)},
    "letkf": {"rmse_analysis": (2.951, 0.005), "spread_analysis": (3.025, 0.005)},
    "letsf": {"rmse_analysis": (2.951, 0.005), "spread_analysis": (3.025, 0.005)},
    "score": {"rmse_analysis": (2.969, 0.05), "spread_analysis": (3.192, 0.05)},
    "states": {"rmse_analysis": (3.122, 0.05), "spread_analysis": (3.382, 0.05)},
}
