"""Lorenz-96, of all variables exp(x / 4) is observed every 0.05, times a lognormal factor: 0.5 in the logarithm."""

from ensf.experiments._lorenz96 import ROBUST, experiment
from ensf.observations import Affine, Composed, Identity, Lognormal, Pointwise, exponential
from ensf.twin import Network

EXPERIMENT = experiment(
    "lorenz96_lognormal",
    "Lorenz-96, exp(x/4) observed every 0.05 with a lognormal error of 50 percent",
    0.05,
    Network(Pointwise(Composed(exponential, Affine(0.0, 0.25)), Identity()), error=Lognormal(0.5)),
    ROBUST,
)

EXPECTED: dict[str, dict[str, tuple[float, float]]] = {}
