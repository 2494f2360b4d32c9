"""What the pages on observations at their own times share: windows of 0.2, all variables observed every 0.05."""

from dataclasses import replace

from ensf.experiments._letsf import adaptive_letsf
from ensf.experiments._lorenz96 import LOCALIZATION, SIZE, experiment
from ensf.filters import LETKF
from ensf.twin import AsynchronousNetwork, Method, Network, TwinExperiment
from ensf.wrappers import AnalysisInflation, Rotation

STEPS = (0.0, 0.05, 0.1, 0.15, 0.2)
METHODS = {
    "letkf": Method(AnalysisInflation(Rotation(LETKF(LOCALIZATION)), 1.04), 40, "LETKF, inflation 1.04, rotated"),
    "letsf": adaptive_letsf(SIZE, 40),
}


def windows(name: str, summary: str, told: tuple[float, ...] | None = None) -> TwinExperiment[AsynchronousNetwork]:
    """Page on windows of 0.2 whose observations are made at each step of the model."""
    network = AsynchronousNetwork(Network(error=1.0), STEPS[1:], STEPS, told)
    return replace(experiment(name, summary, 0.2, network, METHODS), cycles=300)
