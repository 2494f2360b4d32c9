"""Lorenz-63, all three variables observed every 0.25 (Sakov, Oliver & Bertino 2012).

One RK4 step per 0.01; observation error variance 2; truth and members start from N([1.509, -1.531, 25.46], 2 I);
scores are means over t > 16.
"""

import math

import numpy as np

from ensf.experiments._letsf import in_the_loop
from ensf.filters import ETKF, LETSF, EnKF, ParticleFilter
from ensf.localization import Euclidean, Localization
from ensf.models.lorenz63 import Lorenz63
from ensf.twin import GaussianStart, Method, Network, TwinExperiment
from ensf.wrappers import AdaptiveInflation, AnalysisInflation, Rotation

ERROR = 2**0.5
EVERYWHERE = Localization(Euclidean(), math.inf)

EXPERIMENT = TwinExperiment(
    name="lorenz63_sakov2012",
    summary="Lorenz-63, all observed every 0.25, error variance 2",
    source="Sakov, Oliver & Bertino (2012), MWR 140, 1988",
    model=Lorenz63(dt=0.01),
    network=Network(error=ERROR),
    initial=GaussianStart(np.array([1.509, -1.531, 25.46]), ERROR),
    methods={
        "etkf": Method(AnalysisInflation(Rotation(ETKF()), 1.02), 10, "ETKF, inflation 1.02, rotated"),
        "enkf": Method(AnalysisInflation(EnKF(), 1.01), 100, "stochastic EnKF, inflation 1.01"),
        "particle": Method(ParticleFilter(jitter=0.3), 800, "bootstrap particle filter, regularised"),
        "letsf": Method(AdaptiveInflation(Rotation(LETSF()), EVERYWHERE), 20, "LETSF, adaptive inflation, rotated"),
        "letsf_loop": Method(in_the_loop(LETSF(), EVERYWHERE), 20, "the same, model in the loop"),
    },
    cycles=4001,
    interval=0.25,
    burn_in=16.0,
    climatology=8.3,
)

EXPECTED = {
    "etkf": {"rmse_analysis": (0.57, 0.05)},
    "enkf": {"rmse_analysis": (0.56, 0.05)},
    "letsf": {"rmse_analysis": (0.54, 0.05)},
    "letsf_loop": {"rmse_analysis": (0.316, 0.03)},
}
