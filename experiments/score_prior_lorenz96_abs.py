"""Lorenz-96 at single times: the magnitude of every second variable observed with error 1, and 300 other states.

As score_prior_lorenz96, with its settings: no option was set for this page. The sign of what is observed comes from
the neighbours, which a score knows of and a Gaussian knows little of.
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
    methods=methods(length=0.5, half_width=4.0, analogs=20),
)
EXPECTED: dict[str, dict[str, tuple[float, float]]] = {}
