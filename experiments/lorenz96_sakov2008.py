"""Lorenz-96, 40 variables, all observed every 0.05 with error 1 (Sakov & Oke 2008).

RK4 with step 0.05; truth and members start from N(e_1, 0.001 I); scores are means over t > 20.
"""

import numpy as np

from ensf.experiments._letsf import adaptive_letsf
from ensf.filters import ETKF, LETKF, EnKF
from ensf.localization import periodic_line
from ensf.models.lorenz96 import Lorenz96
from ensf.twin import GaussianStart, Method, Network, TwinExperiment
from ensf.wrappers import AnalysisInflation, Rotation

SIZE = 40

EXPERIMENT = TwinExperiment(
    name="lorenz96_sakov2008",
    summary="Lorenz-96, 40 variables, all observed every 0.05, error 1",
    source="Sakov & Oke (2008), Tellus A 60, 361",
    model=Lorenz96(size=SIZE, forcing=8.0, dt=0.05),
    network=Network(error=1.0),
    initial=GaussianStart(np.eye(SIZE)[0], 0.001**0.5),
    methods={
        "enkf": Method(AnalysisInflation(EnKF(), 1.06), 40, "stochastic EnKF, inflation 1.06"),
        "etkf": Method(AnalysisInflation(Rotation(ETKF()), 1.02), 40, "ETKF, inflation 1.02, rotated"),
        "letkf": Method(
            AnalysisInflation(Rotation(LETKF(periodic_line(SIZE, half_width=7.3))), 1.04),
            7,
            "LETKF, half-width 7.3, inflation 1.04, rotated",
        ),
        "letsf": adaptive_letsf(SIZE, 40),
    },
    cycles=5001,
    interval=0.05,
    burn_in=20.0,
    climatology=3.63,
)

EXPECTED = {
    "enkf": {"rmse_analysis": (0.219, 0.010)},
    "etkf": {"rmse_analysis": (0.177, 0.006)},
    "letkf": {"rmse_analysis": (0.216, 0.008)},
}
