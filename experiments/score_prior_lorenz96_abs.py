"""Lorenz-96 at single times: |x| of every second variable observed with error 1, and 300 states of the climatology.

Tuned as `score_prior_lorenz96`, of half-widths only 2 and 3.
"""

import numpy as np

from ensf.experiments._score_prior import SIZE, SingleTimes, methods
from ensf.observations import Pointwise, Select, absolute
from ensf.twin import Network

POINTS = tuple(range(0, SIZE, 2))

EXPERIMENT = SingleTimes(
    name="score_prior_lorenz96_abs",
    summary="Lorenz-96, single times, |x| of every second variable observed with error 1: a learned prior",
    network=Network(Pointwise(absolute, Select(POINTS)), 1.0, np.array(POINTS, dtype=float)[:, None]),
    methods=methods(length=0.5, half_width=3.0, analogs=20),
)
EXPECTED: dict[str, dict[str, tuple[float, float]]] = {}
