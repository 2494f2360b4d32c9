"""A global atmosphere, the Held-Suarez of `dinosaur` at T21 with eight layers: radiosondes find its weather.

80 of 2048 columns are sounded every 12 hours, most of them on two continents of the north. Members start from other
states of the climate than the truth, so that a free ensemble knows no weather at all. What is analysed is temperature,
wind and surface pressure on the grid, a complete restart.

Half-widths and relaxation of the LETKF were chosen by a run of 12 days with seed 11; LETSF has its one set of options
within the same half-widths.
"""

from ensf.experiments._atmosphere import MEMBERS, Radiosondes, experiment, local
from ensf.filters import LETKF, FreeRun
from ensf.twin import Method
from ensf.wrappers import RTPS, letsf

NEAR = local(2000.0, 2.0)

EXPERIMENT = experiment(
    name="atmosphere_dinosaur",
    summary="Held-Suarez atmosphere of dinosaur, 80 radiosondes every 12 hours",
    network=Radiosondes(),
    methods={
        "free": Method(FreeRun(), MEMBERS, "no analysis"),
        "letkf": Method(RTPS(LETKF(NEAR), 0.3), MEMBERS, "LETKF, half-widths 2000 km and 2 scale heights, RTPS 0.3"),
        "letsf": Method(letsf(NEAR), MEMBERS, "LETSF as recommended, within the same half-widths"),
    },
    cycles=40,
)

EXPECTED: dict[str, dict[str, tuple[float, float]]] = {}
