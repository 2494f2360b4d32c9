"""What the Lorenz-96 pages with 40 variables share: start on the attractor, 600 cycles, 40 members."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ensf.arrays import Array, Generator, like
from ensf.experiments._letsf import adaptive_letsf, looped_letsf
from ensf.filters import LETKF
from ensf.localization import periodic_line
from ensf.models.lorenz96 import Lorenz96
from ensf.observations import Gaussian
from ensf.twin import Method, Network, PerturbedTruth, TwinExperiment
from ensf.twin.experiment import AnyNetwork
from ensf.wrappers import AnalysisInflation, Rotation

SIZE = 40
MODEL = Lorenz96(size=SIZE, forcing=8.0, dt=0.05)
LOCALIZATION = periodic_line(SIZE, half_width=7.3)
METHODS = {
    "letkf": Method(AnalysisInflation(Rotation(LETKF(LOCALIZATION)), 1.04), 40, "LETKF, inflation 1.04, rotated"),
    "letsf": adaptive_letsf(SIZE, 40),
}
ROBUST = {"letsf": METHODS["letsf"]}
"""Of pages on which something is wrong or not Gaussian: no option was set for one of them alone."""
_LETKF_WIDENED = Method(AnalysisInflation(Rotation(LETKF(LOCALIZATION)), 1.16), 40, "LETKF, inflation 1.16, rotated")
LOOPED = {"letsf_loop": looped_letsf(SIZE, 40)}


def experiment(
    name: str,
    summary: str,
    interval: float,
    network: AnyNetwork,
    methods: Mapping[str, Method] = METHODS,
) -> TwinExperiment[AnyNetwork]:
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


def wrong_forcing(name: str, summary: str, forcing: float) -> TwinExperiment[Network]:
    """Page on which the members are driven by another forcing than the truth, all observed every 0.05 with error 1."""
    page = experiment(name, summary, 0.05, Network(error=1.0), ROBUST | {"letkf": _LETKF_WIDENED})
    return replace(page, model=Lorenz96(size=SIZE, forcing=forcing, dt=0.05), truth_model=MODEL)


class GrossErrors(Gaussian):
    """Gaussian errors of which 5 percent are ten times as large; as a density, Gaussian."""

    def draw(self, predicted: Array, rng: Generator) -> Array:
        """Observations of the predicted values."""
        gross = 1 + 9 * (rng.random(predicted.shape) < 0.05)
        return predicted + self.noise(predicted.shape, predicted, rng) * like(gross.astype(float), predicted)
