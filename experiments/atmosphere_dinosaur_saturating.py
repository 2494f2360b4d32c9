"""The same atmosphere seen through a saturating sensor: arctan of each layer's temperature, at 256 columns of 2048.

A sounder of eight channels, one for a layer, passes over every fourth longitude of every second latitude every 12
hours. It is made for the zonal mean of the climate: y = arctan((T - T_climate) / 1 K), error 0.05, tells 0.05 K there
and no more than the sign 5 K away. There are no radiosondes; wind and pressure are never observed.

`letkf` was tuned by runs of 8 days with seed 11; `letkf_adaptive` has all that the recommended LETSF has around it but
LETSF itself, which isn't tuned.
"""

from ensf.experiments._atmosphere import MEMBERS, NATURE, Sounder, experiment, local
from ensf.filters import LETKF, FreeRun
from ensf.localization import InformationLimit
from ensf.twin import Method
from ensf.wrappers import RTPS, AdaptiveSpread, DeferredAnalysis, Rotation, letsf

NEAR = local(2000.0, 2.0)
ADAPTIVE = DeferredAnalysis(
    AdaptiveSpread(Rotation(LETKF(NEAR, InformationLimit())), local(1000.0, 1.0)), min_constraint=0.2
)

EXPERIMENT = experiment(
    name="atmosphere_dinosaur_saturating",
    summary="Held-Suarez atmosphere of dinosaur, temperature through a saturating sensor every 12 hours",
    network=Sounder(NATURE),
    methods={
        "free": Method(FreeRun(), MEMBERS, "no analysis"),
        "letkf": Method(RTPS(LETKF(NEAR), 0.3), MEMBERS, "LETKF, half-widths 2000 km and 2 scale heights, RTPS 0.3"),
        "letkf_adaptive": Method(ADAPTIVE, MEMBERS, "LETKF in place of LETSF, all else as in letsf"),
        "letsf": Method(letsf(NEAR), MEMBERS, "LETSF as recommended, within the same half-widths"),
    },
    cycles=20,
)

EXPECTED: dict[str, dict[str, tuple[float, float]]] = {}
