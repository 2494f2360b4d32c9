"""The ensemble score filter (EnSF): prior ensemble + observation -> analysis ensemble.

    score(z, t) = prior score of the ensemble at pseudo-time t + guidance by the observation
    z_1 ~ noise,  z_0 = reverse-time integration of the score  = analysis members.

Each choice is a named object from its own room: `schedule`, `score`, `guidance`, `sampler`.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ensf.arrays import Array, Generator, generator, namespace, stream
from ensf.arrays.settings import check_kind, check_settings
from ensf.diffusion.counted import CountedNormals, counted
from ensf.diffusion.guidance import DampedGuidance, Guidance
from ensf.diffusion.prior_scores import PairedScore, PriorScore
from ensf.diffusion.sampler import ReverseSDE, Sampler, StandardNoise
from ensf.diffusion.sampling import recorded
from ensf.diffusion.schedule import LinearSchedule, Schedule
from ensf.filters.base import Analysis, Memory, refuse_predictions, usable
from ensf.filters.ensf_pointwise import affine_steps, pointwise_steps
from ensf.filters.guarded import guarded
from ensf.filters.lost import Lost
from ensf.observations.observation import Observation

__all__ = ["EnSF", "StiffnessWarning"]


class StiffnessWarning(UserWarning):
    """The sampler takes too few steps for the accuracy of the observations."""


@dataclass(frozen=True)
class EnSF:
    """Ensemble score filter.

    Parameters
    ----------
    schedule : Schedule
        Noise schedule.
    score : PriorScore
        What the ensemble says about grad log p_t(z).
    guidance : Guidance
        How the likelihood pulls.
    sampler : Sampler
        Reverse-time integration.
    start : StandardNoise or StandardisedNoise
        Terminal law, where the integration starts, in units of the schedule's noise there.
    clip : float
        Bound on every entry of the posterior score; infinite = none.

    Notes
    -----
    Costs one prior score, one operator and one adjoint evaluation per step and member.
    Source: Bao, Zhang & Zhang (2024), CMAME 432, 117447, Algorithm 1.
    """

    schedule: Schedule = LinearSchedule()
    score: PriorScore = PairedScore()
    guidance: Guidance = DampedGuidance()
    sampler: Sampler = ReverseSDE()
    start: Any = StandardNoise()
    clip: float = math.inf
    remembers: ClassVar[type | None] = None

    def __post_init__(self) -> None:
        check_settings(self)
        check_kind(self.schedule, "alpha", "schedule of EnSF", "LinearSchedule()")
        check_kind(self.score, "fit", "score of EnSF", "GaussianScore()")
        check_kind(self.guidance, "fit", "guidance of EnSF", "ConditionalGuidance()")
        check_kind(self.sampler, "sample", "sampler of EnSF", "ReverseSDE(30)")
        check_kind(self.start, "draw", "start of EnSF", "StandardNoise()")
        if not self.clip > 0:
            raise ValueError(f"the bound on the score of EnSF is {self.clip}: give a positive number, or infinity")

    @guarded
    def analyse(
        self,
        prior: Array,
        observation: Observation,
        rng: Generator | int | None,
        memory: Memory = None,
        positions: np.ndarray | None = None,
        predicted: Array | None = None,
        *,
        trajectory: bool = False,
    ) -> Analysis:
        """Analysis ensemble from a prior ensemble ``(member, state)``.

        Parameters
        ----------
        prior : (member, state) array
        observation : Observation
        rng : numpy.random.Generator or int
        memory : None
            Not used.
        positions : (state, dimension) array, optional
            Not used.
        trajectory : bool
            Whether z at every pseudo-time is kept.

        Returns
        -------
        Analysis
            Its info has `steps`, the pseudo-time steps taken, `clipped`, the fraction of scores that were clipped, and
            `trajectory`, a `Trajectory`, if asked for.

        Raises
        ------
        ValueError
            If the prior or a prediction is not finite, or shapes do not fit.
        Lost
            If the integration leaves the range of numbers, as with too few steps for accurate observations.

        Warns
        -----
        StiffnessWarning
            If the sampler takes too few steps to be stable; the message gives a number that would be.
        """
        refuse_predictions(predicted, self)
        prior, observation, _ = usable(prior, observation, positions)
        if observation.size == 0:
            return Analysis(prior, memory)
        observation.check_resolved(observation.predict(prior))
        affine = affine_steps(self.schedule, self.score, self.guidance, self.sampler)
        pointwise = None
        if affine is not None:
            pointwise = pointwise_steps(self.schedule, self.score, self.sampler, self.clip, affine, prior, observation)
        stiffness = math.nan if pointwise is None else pointwise.stiffness()
        if math.isnan(stiffness):
            stiffness = self.guidance.stiffness(prior, observation)
        self._warn_if_stiff(stiffness)
        draws = stream(generator(rng), prior) if affine is None else counted(generator(rng), prior)
        if pointwise is not None and not trajectory and isinstance(draws, CountedNormals):
            noise = self.schedule.terminal_deviation() * self.start.draw(prior, draws)
            ensemble, steps, clipped = pointwise.run(noise, draws)
            info: dict[str, object] = {"steps": steps, "clipped": clipped / (steps * ensemble.size)}
        else:
            ensemble, info = self._integrated(prior, observation, draws, trajectory)
        if not bool(namespace(ensemble).isfinite(namespace(ensemble).sum(ensemble))):
            raise Lost(
                f"the score filter left the range of numbers in {info['steps']} steps",
                advice="take more steps, a larger observation error, or ConditionalGuidance",
            )
        return Analysis(ensemble, memory, info)

    def _integrated(
        self, prior: Array, observation: Observation, rng: Generator, trajectory: bool
    ) -> tuple[Array, dict[str, object]]:
        """Members at the end and the info of the analysis, whatever the settings and the observation."""
        prior_score = self.score.fit(prior, rng)
        guide = self.guidance.fit(prior, observation, prior_score)
        clipping = _Clipping(self.clip)

        def posterior_score(z: Array, t: float) -> Array:
            alpha, variance = self.schedule.alpha(t), self.schedule.variance(t)
            score = prior_score(z, alpha, variance)
            return clipping(score + guide(z, score, t, alpha, variance))

        noise = self.schedule.terminal_deviation() * self.start.draw(prior, rng)
        way: dict[str, object] = {}
        if trajectory:
            path = recorded(noise, self.sampler.walk(noise, posterior_score, self.schedule, rng))
            ensemble = path.states[-1, ...]
            steps = len(path.times) - 1
            way = {"trajectory": path}
        else:
            ensemble, steps = self.sampler.sample(noise, posterior_score, self.schedule, rng)
        return ensemble, {"steps": steps, "clipped": clipping.fraction(), **way}

    def _warn_if_stiff(self, stiffness: float) -> None:
        needed = self.sampler.stable_steps(self.schedule, stiffness)
        if needed > self.sampler.steps:
            warnings.warn(
                f"{type(self.sampler).__name__} with {self.sampler.steps} steps is unstable for observations this "
                f"accurate: take {needed} steps or more, or use ConditionalGuidance",
                StiffnessWarning,
                stacklevel=4,
            )


class _Clipping:
    """Clips scores to +-bound and keeps the fraction that was clipped (on the device until asked)."""

    def __init__(self, bound: float) -> None:
        self.bound, self.entries, self.clipped = bound, 0, 0

    def __call__(self, score: Array) -> Array:
        if math.isinf(self.bound):
            return score
        xp = namespace(score)
        bounded = xp.minimum(xp.maximum(score, -self.bound), self.bound)
        self.entries += math.prod(score.shape)
        self.clipped = self.clipped + xp.count_nonzero(bounded != score)
        return bounded

    def fraction(self) -> float:
        return int(self.clipped) / max(self.entries, 1)
