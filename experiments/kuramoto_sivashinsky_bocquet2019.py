"""Kuramoto-Sivashinsky on 128 points, all observed every 1.0 with error 1 (Bocquet & Farchi 2019, DAPPER).

L = 32 pi, ETDRK4 with step 0.5; truth and members start from N(x0, 0.001 I), x0 = Kassam-Trefethen's initial state
after t = 150; scores are means over t > 100.
"""

import math

from ensf.experiments._letsf import adaptive_letsf
from ensf.filters import ETKF, LETKF
from ensf.localization import periodic_line
from ensf.models.kuramoto_sivashinsky import KuramotoSivashinsky
from ensf.twin import GaussianStart, Method, Network, TwinExperiment
from ensf.wrappers import AnalysisInflation, Rotation

SIZE = 128
MODEL = KuramotoSivashinsky(length=32 * math.pi, size=SIZE, dt=0.5)

EXPERIMENT = TwinExperiment(
    name="kuramoto_sivashinsky_bocquet2019",
    summary="Kuramoto-Sivashinsky, 128 points, all observed every 1.0, error 1",
    source="Bocquet & Farchi (2019), NPG 26, 143",
    model=MODEL,
    network=Network(error=1.0),
    initial=GaussianStart(MODEL.advance(MODEL.initial_state(), 0.0, 150.0), 0.001**0.5),
    methods={
        "letkf": Method(
            AnalysisInflation(Rotation(LETKF(periodic_line(SIZE, half_width=51.0))), 1.02),
            16,
            "LETKF, half-width 51 points, inflation 1.02, rotated",
        ),
        "etkf": Method(AnalysisInflation(Rotation(ETKF()), 1.03), 20, "ETKF, inflation 1.03, rotated"),
        "letsf": adaptive_letsf(SIZE, 40, reach=60.0),
    },
    cycles=1501,
    interval=1.0,
    burn_in=100.0,
    climatology=1.3,
)

EXPECTED = {"letkf": {"rmse_analysis": (0.107, 0.006)}}
