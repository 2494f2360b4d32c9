"""As lorenz96_published, with shocks: the truth is kicked at 41 of 1500 model steps, the members are not.

At model step n the truth gets x += s_n abs(x) N(0, I) with the published profile s.
"""

from ensf.experiments._published import METHODS, MODEL, NETWORK, PublishedTruths, data
from ensf.models.wrappers import Shocked
from ensf.twin import TwinExperiment

PROFILE = tuple(data("lorenz96_shock_profile.npy").tolist())

EXPERIMENT = TwinExperiment(
    name="lorenz96_published_shocks",
    summary="as lorenz96_published, the truth kicked at 41 of 1500 model steps",
    source="Bao, Zhang & Zhang (2024), CMAME 432, 117447",
    model=MODEL,
    truth_model=Shocked(MODEL, PROFILE),
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
    "ensf": {"rmse_analysis_all": (1.00, 0.10), "rmse_analysis_last50": (0.88, 0.15)},
    "map": {"rmse_analysis_all": (0.95, 0.10), "rmse_analysis_last50": (0.79, 0.15)},
    "letsf": {"rmse_analysis_all": (0.395, 0.02), "rmse_analysis_last50": (0.368, 0.02), "coverage95": (0.895, 0.02)},
}
