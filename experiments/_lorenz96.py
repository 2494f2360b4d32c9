"""What the Lorenz-96 pages with 40 variables share: start on the attractor, 600 cycles, 40 members."""

from collections.abc import Mapping

import numpy as np

from ensf.experiments._letsf import adaptive_letsf, looped_letsf
from ensf.filters import LETKF
from ensf.localization import periodic_line
from ensf.models.lorenz96 import Lorenz96
from ensf.twin import Method, Network, PerturbedTruth, TwinExperiment
from ensf.wrappers import AnalysisInflation, Rotation

SIZE = 40
MODEL = Lorenz96(size=SIZE, forcing=8.0, dt=0.05)
LOCALIZATION = periodic_line(SIZE, half_width=7.3)
METHODS = {
    "letkf": Method(AnalysisInflation(Rotation(LETKF(LOCALIZATION)), 1.04), 40, "LETKF, inflation 1.04, rotated"),
    "letsf": adaptive_letsf(SIZE, 40),
}
LOOPED = {"letsf_loop": looped_letsf(SIZE, 40)}


def experiment(
    name: str, summary: str, interval: float, network: Network, methods: Mapping[str, Method] = METHODS
) -> TwinExperiment:
    """Page of one observing network: truth on the attractor, members around it, scores after 100 cycles."""
    return TwinExperiment(
        name=name,
        summary=summary,
        model=MODEL,
        network=network,
        initial=PerturbedTruth(MODEL, np.zeros(SIZE)),
        methods=methods,
        cycles=600,
        interval=interval,
        burn_in=100 * interval,
        climatology=3.63,
    )
