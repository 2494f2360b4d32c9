"""Lorenz-96 of 10^6 variables, all seen through arctan with error 0.05 (Bao, Zhang & Zhang, arXiv 2309.00983v1).

Noise drives truth and members, Euler-Maruyama with step 0.005, each step observed; the truth starts uniform on [0, 10],
members from N(0, I) know nothing of it. The stored result of the released code, with 250 members in half precision on a
GPU: an RMSE of 5.03 after the first cycle, and .223 as the mean of the last 300 of 600. States here are in single
precision. The other methods have 20 members, for which the mean of the filter has more noise of its own.

An RMSE is a mean over variables, so it does not depend on their number: `million(1000)` is this page in minutes instead
of days. Its numbers, and time and memory of a cycle of 10^6, are on the page `published_filter` of the docs.
"""

from dataclasses import dataclass

import numpy as np

from ensf.arrays import Array
from ensf.experiments._letsf import adaptive_letsf
from ensf.filters import LETKF
from ensf.localization import periodic_line
from ensf.models.lorenz96 import NoisyLorenz96
from ensf.observations import Pointwise, arctan
from ensf.twin import Method, Network, Streams, TwinExperiment
from ensf.wrappers import AnalysisInflation, Rotation, published

MEMBERS = 20


@dataclass(frozen=True)
class PublishedStart:
    """Truth uniform on [0, 10]; members from N(0, I)."""

    size: int

    def draw(self, members: int, streams: Streams) -> tuple[Array, Array]:
        """Initial truth and members, in single precision."""
        truth = 10 * streams.truth.random(self.size, dtype=np.float32)
        return truth, streams.ensemble.standard_normal((members, self.size), dtype=np.float32)


def million(size: int = 10**6) -> TwinExperiment:
    """The page for a number of variables."""
    return TwinExperiment(
        name="lorenz96_million",
        summary="Lorenz-96, 10^6 variables, arctan observed every 0.005, error 0.05",
        source="Bao, Zhang & Zhang, arXiv 2309.00983v1",
        model=NoisyLorenz96(size=size, forcing=8.0, dt=0.005, noise=0.1),
        network=Network(Pointwise(arctan), error=0.05),
        initial=PublishedStart(size),
        methods={
            "ensf": Method(published("legacy"), 250, "EnSF as in arXiv v1, 100 steps, 250 members"),
            "ensf_20": Method(published("legacy"), MEMBERS, "the same with 20 members"),
            "cmame": Method(published("cmame"), MEMBERS, "EnSF as in CMAME 2024, 500 steps"),
            "letkf": Method(
                AnalysisInflation(Rotation(LETKF(periodic_line(size, half_width=7.3))), 1.02),
                MEMBERS,
                "LETKF, half-width 7.3, inflation 1.02, rotated",
            ),
            "letsf": adaptive_letsf(size, MEMBERS),
        },
        cycles=600,
        interval=0.005,
        climatology=3.63,
        seeds=(1,),
        last=300,
    )


EXPERIMENT = million()
EXPECTED: dict[str, dict[str, tuple[float, float]]] = {}
