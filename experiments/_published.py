"""What lorenz96_published and lorenz96_published_shocks share (data: zezhongzhang/EnSF, MIT licence)."""

from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from ensf.arrays import Array, normal
from ensf.diffusion import ReverseSDE
from ensf.experiments._letsf import adaptive_letsf
from ensf.filters import LETKF, EnFF, FixedGainMAP, IteratedEnSF
from ensf.localization import periodic_line
from ensf.models.lorenz96 import Lorenz96
from ensf.observations import Pointwise, arctan
from ensf.twin import Method, Network, Streams
from ensf.wrappers import AnalysisInflation, Rotation, published

SIZE = 100
MODEL = Lorenz96(size=SIZE, forcing=8.0, dt=0.01)
NETWORK = Network(Pointwise(arctan), error=0.05)
METHODS = {
    "ensf": Method(published("cmame", sampler=ReverseSDE(200)), 20, "EnSF as in CMAME 2024, 200 steps"),
    "enff": Method(EnFF(), 20, "EnFF from the last analysis, 4 steps, as in arXiv 2508.13313"),
    "iensf": Method(
        IteratedEnSF(rounds=2, independent=True, sampler=ReverseSDE(200)), 20, "iterated EnSF, 2 rounds, independent"
    ),
    "letkf": Method(
        AnalysisInflation(Rotation(LETKF(periodic_line(SIZE, half_width=7.3))), 1.2),
        20,
        "LETKF, half-width 7.3, inflation 1.2, rotated",
    ),
    "map": Method(FixedGainMAP(deviation=0.35, steps=6), 20, "fixed-gain MAP per member and point"),
    "letsf": adaptive_letsf(SIZE, 20),
}


def data(name: str) -> np.ndarray:
    """Array stored beside the pages."""
    with files(__package__).joinpath(name).open("rb") as stream:
        return np.load(stream, allow_pickle=False)


@dataclass(frozen=True)
class PublishedTruths:
    """Truth number ``(seed - 1) mod 10`` of the ten published ones; members from N(0, I)."""

    def draw(self, members: int, streams: Streams) -> tuple[Array, Array]:
        """Initial truth and members."""
        truths = data("lorenz96_truths_d100.npy").astype(np.float64)
        truth = truths[(streams.seed - 1) % len(truths)]
        return truth, normal(streams.ensemble, (members, truth.size), truth)
