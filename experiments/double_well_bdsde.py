"""A double well, filtered by backward doubly stochastic equations, against 100 000 particles.

A particle in two wells crosses from one to the other some times in a hundred units of time,

    dX = 4 X (1 - X^2) dt + .8 dW,    observed every .25 with error .8.

The filter of Bao, Cao, Meir & Zhao (2016) has no members: it carries the density of X on points x of a line. Between
two observations the density solves the adjoint of the forward equation, whose solution is an expectation over paths
that start from x and go against the drift b; at the observation it is multiplied by the likelihood. One step is

    p_{n+1}(x) = exp(-b'(x) h) E[ p_n(x - b(x) h + s sqrt(h) xi) ],    xi ~ N(0, 1),

with the expectation by Gauss-Hermite quadrature and p_n between points by linear interpolation: of first order in h.
Its members are quantiles of the density. Nothing was tuned. The bootstrap particle filter is exact but for sampling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ensf.arrays import Array, Generator, like, normal, to_numpy
from ensf.filters import ETKF, LETSF, Analysis, EnSF, FreeRun, ParticleFilter
from ensf.filters.base import Memory
from ensf.observations import Identity, Observation
from ensf.twin import GaussianStart, Method, Network, TwinExperiment

NOISE, STEP, INTERVAL, ERROR = 0.8, 0.00625, 0.25, 0.8
START = GaussianStart(np.zeros(1), 1.0)


def drift(x: Array) -> Array:
    """b(x)."""
    return 4 * x * (1 - x * x)


@dataclass(frozen=True)
class DoubleWell:
    """X on a line, with noise."""

    shape: ClassVar[tuple[int, ...]] = (1,)
    dims: ClassVar[tuple[str, ...]] = ("x",)

    def advance(self, states: Array, time: float, duration: float, rng: Generator | None = None) -> Array:
        """States ``(..., 1)`` after a duration, by Euler-Maruyama; without `rng` there is no noise."""
        for _ in range(round(duration / STEP)):
            states = states + STEP * drift(states)
            if rng is not None:
                states = states + NOISE * STEP**0.5 * normal(rng, states.shape, states)
        return states


@dataclass(frozen=True)
class BackwardDoublyStochastic:
    """Filter of a density on a line, between two observations by the adjoint equation.

    Parameters
    ----------
    points : int
        From -3 to 3.
    steps : int
        Between two observations.
    nodes : int
        Of the Gauss-Hermite quadrature.
    """

    points: int = 601
    steps: int = 80
    nodes: int = 8

    @property
    def line(self) -> np.ndarray:
        """Where the density is held."""
        return np.linspace(-3.0, 3.0, self.points)

    def start(self) -> np.ndarray:
        """Density of the initial law."""
        return np.exp(-0.5 * (self.line / START.deviation) ** 2)

    def forecast(self, density: np.ndarray, duration: float) -> np.ndarray:
        """Density after a duration, up to a factor."""
        x, h = self.line, duration / self.steps
        unit, weights = np.polynomial.hermite_e.hermegauss(self.nodes)
        places = (x - h * drift(x))[:, None] + NOISE * h**0.5 * unit
        growth = np.exp(-h * 4 * (1 - 3 * x * x))
        for _ in range(self.steps):
            density = growth * (np.interp(places, x, density, left=0.0, right=0.0) @ weights)
            density = density / density.sum()
        return density

    def analyse(
        self,
        prior: Array,
        observation: Observation,
        rng: Generator | int | None,
        memory: Memory = None,
        positions: np.ndarray | None = None,
        predicted: Array | None = None,
    ) -> Analysis:
        """Quantiles ``(member, 1)`` of the density, as many as the prior has members; the density is the memory."""
        before = self.start() if memory is None else memory
        density = self.forecast(before, INTERVAL)
        logs = observation.law.log_density(to_numpy(observation.value), self.line[:, None])
        density = density * np.exp(logs - logs.max())
        density = density / density.sum()
        levels = (np.arange(prior.shape[0]) + 0.5) / prior.shape[0]
        quantiles = np.interp(levels, np.cumsum(density) - 0.5 * density, self.line)
        return Analysis(like(quantiles[:, None], prior), density)


EXPERIMENT = TwinExperiment(
    name="double_well_bdsde",
    summary="A double well seen every .25 with error .8: the density by backward doubly stochastic equations",
    model=DoubleWell(),
    network=Network(Identity(), ERROR),
    initial=START,
    methods={
        "climatology": Method(FreeRun(), 1000, "members without observations"),
        "particles": Method(ParticleFilter(), 100_000, "bootstrap particle filter"),
        "bdsde": Method(BackwardDoublyStochastic(), 1000, "backward doubly stochastic filter, 601 points"),
        "etkf": Method(ETKF(), 100, "ETKF"),
        "letsf": Method(LETSF(), 100, "LETSF"),
        "ensf": Method(EnSF(), 100, "EnSF as published"),
    },
    cycles=200,
    interval=INTERVAL,
    source="Bao, Cao, Meir & Zhao (2016), SIAM/ASA J. Uncertain. Quantif. 4, 413",
)
EXPECTED = {
    "climatology": {
        "rmse_analysis": (0.8686, 0.0087),
        "spread_analysis": (0.9435, 0.0094),
        "crps_analysis": (0.5061, 0.0051),
    },
    "particles": {
        "rmse_analysis": (0.2015, 0.002),
        "spread_analysis": (0.2855, 0.0029),
        "crps_analysis": (0.1472, 0.0015),
    },
    "bdsde": {"rmse_analysis": (0.2013, 0.002), "spread_analysis": (0.2824, 0.0028), "crps_analysis": (0.1475, 0.0015)},
    "etkf": {"rmse_analysis": (0.2242, 0.0022), "spread_analysis": (0.3866, 0.0039), "crps_analysis": (0.1581, 0.0016)},
    "letsf": {
        "rmse_analysis": (0.2242, 0.0022),
        "spread_analysis": (0.3866, 0.0039),
        "crps_analysis": (0.1581, 0.0016),
    },
    "ensf": {"rmse_analysis": (0.8488, 0.0085), "spread_analysis": (0.9392, 0.0094), "crps_analysis": (0.4899, 0.0049)},
}
