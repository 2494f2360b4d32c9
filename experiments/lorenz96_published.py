"""Lorenz-96, 100 variables seen through arctan every 0.1 with error 0.05 (Bao, Zhang & Zhang 2024).

RK4 with step 0.01; members start from N(0, I), ten published truths, one per seed; scored over all 150 cycles and over
the last 50. The published filter is run with the 200 pseudo-time steps of its published result file.
"""

from ensf.experiments._published import METHODS, MODEL, NETWORK, PublishedTruths
from ensf.twin import TwinExperiment

EXPERIMENT = TwinExperiment(
    name="lorenz96_published",
    summary="Lorenz-96, 100 variables, arctan observed every 0.1, error 0.05",
    source="Bao, Zhang & Zhang (2024), CMAME 432, 117447",
    model=MODEL,
    network=NETWORK,
    initial=PublishedTruths(),
    methods=METHODS,
    cycles=150,
    interval=0.1,
    climatology=3.63,
    seeds=tuple(range(1, 11)),
    last=50,
)

EXPECTED = {
    "ensf": {
        "rmse_analysis_last50": (0.194, 0.02),
        "rmse_analysis_all": (0.292, 0.03),
        "spread_analysis_all": (0.297, 0.03),
    },
    "enff": {"rmse_analysis_last50": (0.642, 0.07), "spread_analysis_all": (0.944, 0.05)},
    "iensf": {"rmse_analysis_last50": (0.175, 0.05), "spread_analysis_all": (0.132, 0.015)},
    "letkf": {"rmse_analysis_last50": (0.059, 0.006)},
    "map": {"rmse_analysis_last50": (0.19, 0.03)},
    "letsf": {"rmse_analysis_all": (0.057, 0.01), "rmse_analysis_last50": (0.035, 0.005), "coverage95": (0.966, 0.02)},
}
