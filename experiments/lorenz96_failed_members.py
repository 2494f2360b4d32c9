"""Lorenz-96 as in `lorenz96_sakov2008`, but one forecast of a member in twenty fails: two of 40 members in a cycle.

The analysis is of the members that are left; moved copies of these take the places of the others. They bring no new
directions, so that fewer than 40 count: what sets the inflation from the innovations alone has to notice. Truth and
observations are those of `lorenz96_sakov2008`, where nothing fails.
"""

from ensf.experiments._letsf import adaptive_letsf
from ensf.experiments._lorenz96 import MODEL, SIZE
from ensf.experiments.lorenz96_sakov2008 import EXPERIMENT as WHOLE
from ensf.filters import LETKF, LETSF
from ensf.localization import InformationLimit, periodic_line
from ensf.models.wrappers import Failing
from ensf.twin import Method, TwinExperiment
from ensf.wrappers import AdaptiveInflation, AnalysisInflation, FailedMembers, Rotation

_LETKF = AnalysisInflation(Rotation(LETKF(periodic_line(SIZE, 7.3))), 1.04)
_LETSF = adaptive_letsf(SIZE, 40).filter
_INSIDE = Rotation(LETSF(periodic_line(SIZE, 20.0), information_limit=InformationLimit()))
_SHORT_MEMORY = AdaptiveInflation(_INSIDE, periodic_line(SIZE, 10.0))

EXPERIMENT = TwinExperiment(
    name="lorenz96_failed_members",
    summary="Lorenz-96, all observed every 0.05 with error 1, one forecast of a member in twenty fails",
    model=Failing(MODEL, 0.05),
    truth_model=MODEL,
    network=WHOLE.network,
    initial=WHOLE.initial,
    methods={
        "letkf": Method(FailedMembers(_LETKF, 20), 40, "LETKF, inflation 1.04, moved copies"),
        "letkf_copies": Method(FailedMembers(_LETKF, 20, move=0.0), 40, "LETKF, inflation 1.04, plain copies"),
        "letkf_draws": Method(FailedMembers(_LETKF, 20, move=1.0), 40, "LETKF, inflation 1.04, Gaussian draws"),
        "letsf": Method(FailedMembers(_LETSF, 20), 40, "LETSF with adaptive spread, moved copies"),
        "letsf_inflation": Method(FailedMembers(_SHORT_MEMORY, 20), 40, "LETSF with adaptive inflation, moved copies"),
    },
    cycles=1000,
    interval=WHOLE.interval,
    burn_in=WHOLE.burn_in,
    climatology=WHOLE.climatology,
)

EXPECTED = {
    "letkf": {"rmse_analysis": (0.206, 0.010), "spread_analysis": (0.246, 0.010)},
    "letkf_copies": {"rmse_analysis": (0.206, 0.010)},
    "letkf_draws": {"rmse_analysis": (0.206, 0.010)},
    "letsf": {"rmse_analysis": (0.185, 0.012), "spread_analysis": (0.210, 0.012)},
    "letsf_inflation": {"rmse_analysis": (0.229, 0.015), "spread_analysis": (0.187, 0.010)},
}
