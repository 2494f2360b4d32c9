"""The ensemble score filter where every observation is a function of one variable of its own: fused, in threads.

Noise, score, likelihood and update of an entry need nothing of other entries but the weights of a mixture. So a panel
of entries takes all its steps in the processor's cache, and nothing of the size of the state is held but the prior and
the members on their way. It is the general path of `ensf.filters.ensf` with the same noise, equal to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ensf.arrays import Array, Numbers, is_host
from ensf.diffusion.counted import CountedNormals
from ensf.diffusion.counter import PANEL
from ensf.diffusion.guidance import DampedGuidance, Guidance
from ensf.diffusion.prior_scores import MiniBatchScore, MixtureScore, PairedScore, PriorScore
from ensf.diffusion.sampler import AffineStep, Sampler
from ensf.diffusion.schedule import Schedule
from ensf.filters.base import observed_variables
from ensf.observations.error_laws import is_independent
from ensf.observations.functions import (
    Composed,
    PointwiseFunction,
    absolute,
    arctan,
    cube,
    exponential,
    identity,
    square,
)
from ensf.observations.observation import Observation

__all__ = ["PointwiseSteps", "affine_steps", "pointwise_steps"]

FUNCTIONS = (identity, arctan, absolute, square, cube, exponential)
"""In the order of their numbers in the compiled loops."""
STEPS_AT_ONCE = 2**28
"""Entries times steps of a compiled call, about a second, after which Ctrl-C is heard."""

AT_ONCE = 2**16
"""Entries times steps below which one thread is used."""

Sensor = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def affine_steps(
    schedule: Schedule, score: PriorScore, guidance: Guidance, sampler: Sampler
) -> list[AffineStep] | None:
    """The steps of settings that can be fused, whose noise is counted on any array; None for others."""
    fused = type(guidance) is DampedGuidance and type(score) in _BATCHES
    return sampler.affine_steps(schedule) if fused else None


def pointwise_steps(
    schedule: Schedule,
    score: PriorScore,
    sampler: Sampler,
    clip: float,
    steps: list[AffineStep],
    prior: Array,
    observation: Observation,
) -> PointwiseSteps | None:
    """The integration of `EnSF` in compiled loops; None if the observation or the array is of another form.

    Parameters
    ----------
    schedule, score, sampler, clip
        Settings of `EnSF`.
    steps : list of AffineStep
        Those of `affine_steps`.
    prior : (member, state) array
    observation : Observation
        As `usable` gives it.
    """
    if not is_host(prior) or prior.dtype not in (np.float32, np.float64):
        return None
    function = _numbered(observation.part.pointwise)
    sensor = None if function is None else _sensor(observation, *function[1:], prior)
    if function is None or sensor is None:
        return None
    return PointwiseSteps(schedule, score, sampler, clip, np.ascontiguousarray(prior), steps, function[0], sensor)


def _numbered(function: PointwiseFunction | None) -> tuple[int, Numbers, Numbers] | None:
    """Number of f, and a and d of f(a + d eta)."""
    if function is None:
        return None
    if function.affine is not None:
        return 0, *function.affine
    if isinstance(function, Composed) and function.inner.affine is not None:
        outer = _numbered(function.outer)
        return None if outer is None or outer[1:] != (0.0, 1.0) else (outer[0], *function.inner.affine)
    return next(((number, 0.0, 1.0) for number, one in enumerate(FUNCTIONS) if function == one), None)


def _sensor(observation: Observation, offset: Numbers, factor: Numbers, prior: np.ndarray) -> Sensor | None:
    """Value, precision, offset and factor of each state variable; 0, so that nothing pulls, of one not observed."""
    law = observation.law
    size = prior.shape[1]
    if not (law.is_gaussian and is_independent(law)):
        return None
    entries = observed_variables(observation)
    if entries is None or np.bincount(entries, minlength=size).max() > 1:
        return None
    numbers = (observation.value, law.standard_deviation(observation.value) ** -2.0, offset, factor)
    fields = np.zeros((4, size), prior.dtype)
    for field, number in zip(fields, numbers, strict=True):
        field[entries] = number
    return fields[0], fields[1], fields[2], fields[3]


# --- members of which a mixture is made, of so many; None where each particle sees its own -----------------


def _all_members(score: MixtureScore, members: int, rng: CountedNormals, prior: np.ndarray) -> np.ndarray:
    return np.arange(members)


def _drawn_members(score: MiniBatchScore, members: int, rng: CountedNormals, prior: np.ndarray) -> np.ndarray:
    return score.batch(prior, rng)  # type: ignore[arg-type]


_BATCHES: dict[type, Callable | None] = {
    PairedScore: None,
    MixtureScore: _all_members,
    MiniBatchScore: _drawn_members,
}


@dataclass(frozen=True, eq=False)
class PointwiseSteps:
    """The integration of one analysis."""

    schedule: Schedule
    score: PriorScore
    sampler: Sampler
    clip: float
    prior: np.ndarray
    steps: list[AffineStep]
    function: int
    sensor: Sensor

    def stiffness(self) -> float:
        """Largest curvature of the likelihood, as `DampedGuidance.stiffness`; the curvature is diagonal here.

        Returns
        -------
        float
            NaN if a prediction of a member is not finite.
        """
        from ensf.filters import ensf_loops

        panels = self._panels
        curvature, finite = np.empty(panels), np.empty(panels, dtype=np.bool_)
        shrinks = np.array([0.0, 0.5, 1.0], self.prior.dtype)
        ensf_loops.largest_curvature(self.prior, self.function, self.sensor, shrinks, curvature, finite)
        return float(curvature.max()) if finite.all() else np.nan

    def run(self, z: np.ndarray, rng: CountedNormals) -> tuple[np.ndarray, int, int]:
        """Members at the end, the steps taken, and the number of scores that were clipped; `z` is overwritten."""
        settled = self.sampler.stopping()
        batch = _BATCHES[type(self.score)]
        clipped = np.zeros(self._panels, np.int64)
        if settled is None and batch is None:
            self._advance(z, self.steps, rng, self._paired, clipped)
            return z, len(self.steps), int(clipped.sum())
        for count, step in enumerate(self.steps, start=1):  # noqa: B007
            mixture = self._paired
            if batch is not None:
                members = batch(self.score, len(z), rng, self.prior)
                mixture = self._weights(z, members, step), np.tile(members, (len(z), 1))
            self._advance(z, [step], rng, mixture, clipped)
            if settled is not None and settled(z, count):
                break
        return z, count, int(clipped.sum())

    @property
    def _panels(self) -> int:
        return -(-self.prior.shape[1] // PANEL)

    @property
    def _paired(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights ``(particle, b)`` and members ``(particle, b)`` of the mixture of each particle: its own member."""
        own = np.arange(len(self.prior))[:, np.newaxis]
        return np.ones(own.shape, self.prior.dtype), own

    def _advance(
        self,
        z: np.ndarray,
        steps: list[AffineStep],
        rng: CountedNormals,
        mixture: tuple[np.ndarray, np.ndarray],
        clipped: np.ndarray,
    ) -> None:
        from ensf.filters import ensf_loops

        table = _table(steps, self.schedule).astype(z.dtype)
        noisy = np.array([step.noise > 0 for step in steps])
        keys = np.zeros((len(steps), 2), np.uint32)
        keys[noisy] = rng.next_keys(int(noisy.sum()))
        advance = ensf_loops.advance if z.size * len(steps) < AT_ONCE else ensf_loops.advance_in_parallel
        at_once = max(64, STEPS_AT_ONCE // (PANEL * len(z) * len(steps)))
        for first in range(0, self._panels, at_once):
            panels = first, min(first + at_once, self._panels)
            bound = z.dtype.type(self.clip)
            advance(panels, z, self.prior, *mixture, table, keys, self.function, self.sensor, bound, clipped)

    def _weights(self, z: np.ndarray, batch: np.ndarray, step: AffineStep) -> np.ndarray:
        """Softmax weights ``(particle, member)`` of the mixture of N(alpha x_b, v I)."""
        from ensf.filters import ensf_loops

        partial = np.empty((self._panels, len(z) + 2, len(batch)))
        ensf_loops.products(z, self.prior, batch, partial)
        total = partial.sum(axis=0)
        alpha, variance = self.schedule.alpha(step.t), self.schedule.variance(step.t)
        logits = alpha * (total[:-2] - alpha * total[-2] - 0.5 * alpha * total[-1]) / variance
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (weights / weights.sum(axis=1, keepdims=True)).astype(z.dtype)


def _table(steps: list[AffineStep], schedule: Schedule) -> np.ndarray:
    """alpha, 1 / v, damping and the three numbers of each step, ``(step, 6)``."""
    return np.array(
        [(schedule.alpha(s.t), 1 / schedule.variance(s.t), 1 - s.t, s.keep, s.pull, s.noise) for s in steps]
    )
