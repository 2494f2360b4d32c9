"""The ensemble flow filter (EnFF): members are carried along a flow that was matched to the ensemble, without training.

With forecast members x_j and a path of Gaussians N(m_j(t), d(t)^2 I) from t = 0 to the members at t = 1, the flow

    v(z, t) = sum_j w_j [ d'/d (z - m_j) + m_j' ],    w = softmax_j( -|z - m_j|^2 / (2 d^2) )

carries the mixture at 0 to that at 1 (Lipman et al. 2023). Towards its end the observation pulls:

    dz = v dt + strength grad_x log p(y | x) dt   at   x = z + (1 - t) v,   where z would end.

    path                   m_j(t)                      d(t)                        z at t = 0
    OptimalTransport       t x_j                       1 - (1 - narrowest) t       N(0, I)
    FilteringToPredictive  t x_j + (1 - t) a_j         narrowest                   a_j and that noise

with a_j the analysis of the cycle before, from which member j came. Here t = 0 is the start, unlike in
`ensf.diffusion`.
The pull is no posterior score: the strength takes the place of a gain, and has to be chosen for every problem.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from ensf.arrays import Array, Generator, Record, generator, is_count, namespace, normal, rows, stream
from ensf.arrays.settings import check_kind, check_settings
from ensf.diffusion.prior_scores import member_weights
from ensf.filters.base import Analysis, refuse_predictions, usable
from ensf.filters.guarded import guarded
from ensf.filters.lost import Lost
from ensf.observations.observation import Observation

__all__ = ["EnFF", "FilteringToPredictive", "FlowMemory", "OptimalTransport"]


LARGEST_LOSS = 2.0
"""Of the log likelihood of an observation: an analysis that loses more than this is no analysis."""


class Replaces(Protocol):
    """What takes the places of members that failed."""

    def joined(self, members: Array) -> Array:
        """All members ``(member, entry)``, of those that are left."""


@dataclass(frozen=True, eq=False)
class FlowMemory(Record):
    """Where the next flow starts from.

    Attributes
    ----------
    ensemble : (member, state) array
        The analysis of the cycle before.
    """

    ensemble: Array

    @property
    def shape(self) -> tuple[int | None, int | None]:
        """Members and state variables that it is of."""
        return self.ensemble.shape[0], self.ensemble.shape[1]

    def of_members(self, left: np.ndarray) -> FlowMemory:
        """Of the members at these places alone."""
        return FlowMemory(rows(self.ensemble, left))

    def with_replaced(self, replacement: Replaces) -> FlowMemory:
        """With what takes the places of members that failed."""
        return FlowMemory(replacement.joined(self.ensemble))


def _check_narrowest(path: FlowPath) -> None:
    if not 0 < path.narrowest < math.inf:
        raise ValueError(f"{path}: give a positive narrowest standard deviation")


class FlowPath(Protocol):
    """How the Gaussian of every member moves from t = 0 to the member at t = 1."""

    @property
    def narrowest(self) -> float:
        """Standard deviation at t = 1."""

    def start(self, prior: Array, before: Array, rng: Generator) -> Array:
        """Draws at t = 0 ``(member, state)``."""

    def mean(self, t: float, prior: Array, before: Array) -> tuple[Array, Array]:
        """Means ``(member, state)`` and how fast they move."""

    def deviation(self, t: float) -> tuple[float, float]:
        """Standard deviation and how fast it grows."""


@dataclass(frozen=True)
class OptimalTransport:
    """Straight from noise to the members (Lipman et al. 2023).

    Parameters
    ----------
    narrowest : float
        Standard deviation at t = 1, in the units of the state.
    """

    narrowest: float = 0.1

    def __post_init__(self) -> None:
        check_settings(self)
        _check_narrowest(self)

    def start(self, prior: Array, before: Array, rng: Generator) -> Array:
        """Standard normal noise."""
        return normal(rng, prior.shape, prior)

    def mean(self, t: float, prior: Array, before: Array) -> tuple[Array, Array]:
        """Means and how fast they move."""
        return t * prior, prior

    def deviation(self, t: float) -> tuple[float, float]:
        """Standard deviation and how fast it grows."""
        return 1 - (1 - self.narrowest) * t, self.narrowest - 1


@dataclass(frozen=True)
class FilteringToPredictive:
    """Straight from the analysis of the cycle before, member by member; in the first cycle, the members as they are.

    Parameters
    ----------
    narrowest : float
        Standard deviation of every Gaussian, in the units of the state.
    """

    narrowest: float = 1e-4

    def __post_init__(self) -> None:
        check_settings(self)
        _check_narrowest(self)

    def start(self, prior: Array, before: Array, rng: Generator) -> Array:
        """The earlier analysis with noise."""
        return before + self.narrowest * normal(rng, prior.shape, prior)

    def mean(self, t: float, prior: Array, before: Array) -> tuple[Array, Array]:
        """Means and how fast they move."""
        return t * prior + (1 - t) * before, prior - before

    def deviation(self, t: float) -> tuple[float, float]:
        """Standard deviation, which stays."""
        return self.narrowest, 0.0


@dataclass(frozen=True)
class EnFF:
    """Ensemble flow filter, by Euler steps.

    Parameters
    ----------
    path : OptimalTransport or FilteringToPredictive
        From what the flow comes.
    steps : int
        Euler steps from t = 0 to 1.
    strength : float
        Factor on the gradient of the log likelihood; stable below about 2 `steps` times the smallest error variance
        over the square of the slope of the operator. The default is the best of the paper's code for Lorenz-96 seen
        through arctan with error 0.05.

    Notes
    -----
    Costs one flow (a product of members by members by state), one operator and one adjoint a step.
    Source: Transue, Chen, Takao & Wang (2025), arXiv 2508.13313, whose T sampling times are ``T - 1`` steps.
    """

    path: FlowPath = FilteringToPredictive()
    steps: int = 4
    strength: float = 0.05
    remembers: ClassVar[type | None] = FlowMemory

    def __post_init__(self) -> None:
        check_settings(self)
        check_kind(self.path, "deviation", "path of EnFF", "OptimalTransport()")
        if not is_count(self.steps):
            raise ValueError(f"EnFF has {self.steps} steps: give a whole number, 1 or more")
        if not 0 <= self.strength < math.inf:
            raise ValueError(f"EnFF has a strength of {self.strength}: give a number of 0 or more")

    @guarded
    def analyse(
        self,
        prior: Array,
        observation: Observation,
        rng: Generator | int | None,
        memory: FlowMemory | None = None,
        positions: np.ndarray | None = None,
        predicted: Array | None = None,
    ) -> Analysis:
        """Analysis ensemble from a prior ensemble ``(member, state)``.

        Parameters
        ----------
        prior : (member, state) array
        observation : Observation
        rng : numpy.random.Generator or int
        memory : FlowMemory, optional
            What the cycle before left.
        positions : (state, dimension) array, optional
            Not used.

        Raises
        ------
        ValueError
            If the prior or a prediction is not finite, or shapes do not fit.
        Lost
            If the integration is unstable, as with too large a strength: members leave the observations.
        """
        refuse_predictions(predicted, self)
        prior, observation, _ = usable(prior, observation, positions)
        if observation.size == 0:
            return Analysis(prior, memory)
        observation.check_resolved(observation.predict(prior))
        likelihood = observation.log_likelihood(prior)
        before = prior if memory is None else memory.ensemble
        z = self.path.start(prior, before, stream(generator(rng), prior))
        with np.errstate(over="ignore", invalid="ignore"):
            for k in range(self.steps):
                t = k / self.steps
                velocity = self._flow(t, prior, before)(z)
                pull = observation.score(z + (1 - t) * velocity)
                z = z + (velocity + self.strength * pull) / self.steps
        likelihood = observation.log_likelihood(z) - likelihood
        if not float(namespace(z).mean(likelihood)) > -LARGEST_LOSS * observation.size:
            raise Lost(
                f"members of the flow filter are further from the observations than the forecast was: {self.steps} "
                f"steps with a strength of {self.strength} are unstable for errors as small as these",
                advice="give a smaller strength or more steps, or take LETSF, which needs neither",
            )
        return Analysis(z, FlowMemory(z), {"steps": self.steps})

    def _flow(self, t: float, prior: Array, before: Array) -> Callable[[Array], Array]:
        """v at t, of which members and motion are those of the path."""
        mean, motion = self.path.mean(t, prior, before)
        deviation, growth = self.path.deviation(t)

        def flow(z: Array) -> Array:
            weights = member_weights(z, mean, deviation**2)
            matmul = namespace(z).matmul
            return growth / deviation * (z - matmul(weights, mean)) + matmul(weights, motion)

        return flow
