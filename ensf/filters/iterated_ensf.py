"""The iterated ensemble score filter: the pull of the observation, taken where the analysis of the last round was.

For a Gaussian prior N(m, B) the exact pull at pseudo-time t is (Stein's identity, with alpha and v of the schedule)

    grad_z log p(y | z) = J^T E[ grad_x log p(y | x) | z, y ],    J = alpha B (alpha^2 B + v I)^{-1}.

EnSF takes the gradient at z, and h(t) for J. Here it is taken at E[x | z, y], for which x | y is a Gaussian: in the
first round the prior, then the analysis of the round before, whose mean is moved back along the way from the last one
to where the score of the posterior is smallest. For a linear operator and a Gaussian prior the exact posterior is a
fixed point: the mean comes near it in two rounds, the covariance in more, from both sides in turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ensf.arrays import Array, Generator, Record, generator, is_count, member_mean, member_variance, namespace
from ensf.arrays.settings import check_kind, check_settings
from ensf.diffusion.guidance import DampedGuidance, FittedGuidance
from ensf.diffusion.prior_scores import FittedScore, GaussianScore, IndependentScore, principal_axes
from ensf.diffusion.sampler import ReverseSDE, Sampler
from ensf.diffusion.schedule import LinearSchedule, Schedule
from ensf.filters.base import Analysis, Memory, refuse_predictions, usable
from ensf.filters.ensf import EnSF
from ensf.filters.guarded import guarded
from ensf.filters.lost import Lost
from ensf.observations.observation import Observation
from ensf.observations.predictions import Unresolved

__all__ = ["IteratedEnSF"]

TRIED = 21
"""Places on the way from one mean to the next at which the score of the posterior is looked at."""


@dataclass(frozen=True)
class IteratedEnSF:
    """Iterated ensemble score filter.

    Parameters
    ----------
    rounds : int
        Runs of the score filter; more where the operator is nonlinear or the posterior far from the prior.
    independent : bool
        Whether variables are taken for independent, in the prior and in the analysis of every round: for fewer members
        than variables.
    schedule : Schedule
        Noise schedule.
    sampler : Sampler
        Reverse-time integration.

    Notes
    -----
    Costs `rounds` times EnSF. Source: Zhang, Bao & Zhang (2025), arXiv 2510.20159.
    """

    rounds: int = 4
    independent: bool = False
    schedule: Schedule = LinearSchedule()
    sampler: Sampler = ReverseSDE()
    remembers: ClassVar[type | None] = None

    def __post_init__(self) -> None:
        check_settings(self)
        check_kind(self.schedule, "alpha", "schedule of IteratedEnSF", "LinearSchedule()")
        check_kind(self.sampler, "sample", "sampler of IteratedEnSF", "ReverseSDE(30)")
        if not is_count(self.rounds):
            raise ValueError(f"IteratedEnSF has {self.rounds} rounds: give a whole number, 1 or more")

    @guarded
    def analyse(
        self,
        prior: Array,
        observation: Observation,
        rng: Generator | int | None,
        memory: Memory = None,
        positions: np.ndarray | None = None,
        predicted: Array | None = None,
    ) -> Analysis:
        """Analysis ensemble from a prior ensemble ``(member, state)``; arguments as of `EnSF`.

        Returns
        -------
        Analysis
            Of the last round. Its info has also `moved`, the root-mean-square change of the mean in the last round.

        Raises
        ------
        Lost
            If the sampler is unstable: it takes too few steps.
        """
        refuse_predictions(predicted, self)
        prior, observation, _ = usable(prior, observation, positions)
        if observation.size == 0:
            return Analysis(prior, memory)
        rng = generator(rng)
        xp = namespace(prior)
        score = IndependentScore() if self.independent else GaussianScore()
        reference = prior
        analysis = Analysis(prior)
        moved = 0.0
        for _ in range(self.rounds):
            guidance = ReferenceGuidance(reference, self.independent)
            analysis = EnSF(self.schedule, score, guidance, self.sampler).analyse(prior, observation, rng)
            _check_stable(analysis, observation)
            before, mean = member_mean(reference), member_mean(analysis.ensemble)
            best = _calmest(before, mean, Moments.of(prior, self.independent), observation)
            reference = analysis.ensemble - mean + best
            moved = float(xp.sqrt(xp.mean((best - before) ** 2)))
        return Analysis(analysis.ensemble, memory, {**analysis.info, "moved": moved})


def _check_stable(analysis: Analysis, observation: Observation) -> None:
    """Raise Lost for members so far off that rounding hides the observations: no member of the prior's fault."""
    try:
        observation.check_resolved(observation.part.linear(analysis.ensemble))
    except Unresolved as error:
        raise Lost(
            f"the score filter left the range of numbers in {analysis.info['steps']} steps",
            advice="take more steps, or a larger observation error",
        ) from error


@dataclass(frozen=True, eq=False)
class Moments(Record):
    """A Gaussian N(mean, sum over axes of variance a a^T).

    Parameters
    ----------
    mean : (state,) array
    variances : (axis,) array
    axes : (axis, state) array or None
        Orthonormal; None: one axis per variable.
    """

    mean: Array
    variances: Array
    axes: Array | None = None

    @classmethod
    def of(cls, ensemble: Array, independent: bool) -> Moments:
        """Of the members, with or without correlations."""
        if independent:
            return cls(member_mean(ensemble), member_variance(ensemble))
        mean, axes, variances = principal_axes(ensemble)
        return cls(mean, variances, axes)

    def along(self, states: Array) -> Array:
        """Coordinates along the axes, ``(..., state) -> (..., axis)``."""
        return states if self.axes is None else namespace(states).matmul(states, self.axes.T)

    def back(self, coordinates: Array) -> Array:
        """States of coordinates, ``(..., axis) -> (..., state)``."""
        return coordinates if self.axes is None else namespace(coordinates).matmul(coordinates, self.axes)

    def pulled(self, states: Array, alpha: float, variance: float) -> Array:
        """``alpha B (alpha^2 B + v I)^{-1}`` times states."""
        return self.back(alpha * self.variances / (alpha**2 * self.variances + variance) * self.along(states))


def _calmest(first: Array, last: Array, prior: Moments, observation: Observation) -> Array:
    """Place between two means where the whitened score of the posterior is smallest, not the first itself."""
    xp = namespace(first)
    part = xp.reshape(xp.astype(xp.arange(1, TRIED, device=first.device), first.dtype), (-1, 1)) / (TRIED - 1)
    places = (1 - part) * first + part * last
    deviation = xp.sqrt(prior.variances)
    deviation = xp.where(deviation > 0, deviation, xp.ones_like(deviation))
    score = deviation * prior.along(observation.score(places)) - prior.along(places - prior.mean) / deviation
    size = xp.sum(score * score, axis=-1)
    return places[int(xp.argmin(xp.where(xp.isfinite(size), size, xp.full_like(size, xp.inf)))), ...]


@dataclass(frozen=True, eq=False)
class ReferenceGuidance(Record):
    """J^T grad_x log p(y | x) at E[x | z] of a Gaussian with the moments of a reference ensemble.

    Parameters
    ----------
    reference : (member, state) array
    independent : bool
        Whether variables are taken for independent.
    """

    reference: Array
    independent: bool = False

    def fit(self, prior: Array, observation: Observation, prior_score: FittedScore) -> FittedGuidance:
        """Guidance function for one observation."""
        before, there = (Moments.of(ensemble, self.independent) for ensemble in (prior, self.reference))

        def guide(z: Array, score: Array, t: float, alpha: float, variance: float) -> Array:
            state = there.mean + there.pulled(z - alpha * there.mean, alpha, variance)
            return before.pulled(observation.score(state), alpha, variance)

        return guide

    def stiffness(self, prior: Array, observation: Observation) -> float:
        """As for the damped guidance."""
        return DampedGuidance().stiffness(prior, observation)
