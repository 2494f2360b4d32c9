"""A global atmosphere"""

from ensf.experiments._atmosphere import DAY, MEMBERS, MODEL, Climate, Radiosondes, local
from ensf.filters import LETKF, FreeRun
from ensf.observations import Select
from ensf.twin import Method, Network, TwinExperiment
from ensf.wrappers import RTPS, letsf

STATIONS = Radiosondes()

EXPERIMENT = TwinExperiment(
    name="atmosphere_dinosaur",
    summary="Held-Suarez atmosphere of dinosaur, 80 radiosondes every 12 hours",
    model=MODEL,
    network=Network(Select(STATIONS.entries(MODEL)), STATIONS.errors(MODEL)),
    initial=Climate(),
    methods={
        "free": Method(FreeRun(), MEMBERS, "no analysis"),
        "letkf": Method(RTPS(LETKF(local(2000.0, 1.0)), 0.5), MEMBERS, "LETKF, half-widths 2000 km, RTPS 0.5"),
        "letsf": Method(letsf(local(2000.0, 1.0)), MEMBERS, "ensf.letsf()"),
    },
    cycles=40,
    interval=DAY / 2,
    burn_in=5 * DAY,
    time_units="hours",
)
EXPECTED: dict[str, dict[str, tuple[float, float]]] = {}
