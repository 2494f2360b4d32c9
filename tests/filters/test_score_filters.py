"""EnSF with its trajectory, the iterated EnSF and the ensemble flow filter against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from ensf import EnFF, EnSF, Identity, IteratedEnSF, Lost, Observation, Pointwise, ReverseSDE, Select, arctan, published
from ensf.arrays import to_numpy
from ensf.diffusion import (
    EDM,
    ConditionalGuidance,
    DPMSolver,
    GaussianScore,
    IndependentScore,
    VarianceExploding,
    VariancePreserving,
)
from ensf.filters import FilteringToPredictive, OptimalTransport
from ensf.filters.enff import FlowMemory

SEEN = Observation(np.array([1.5]), Select((0,)), 1.0)


@pytest.fixture
def prior(rng):
    return rng.standard_normal((400, 2)) @ np.array([[1.0, 0.5], [0.0, 0.8]])


def kalman(prior, value, error):
    """Mean and covariance after an observation of the first variable."""
    mean, covariance = prior.mean(axis=0), np.cov(prior.T)
    gain = covariance[:, 0] / (covariance[0, 0] + error**2)
    return mean + gain * (value - mean[0]), covariance - np.outer(gain, covariance[0])


# --- trajectories ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("filter", [EnSF(sampler=ReverseSDE(30)), published("cmame", sampler=ReverseSDE(30))])
def test_a_trajectory_ends_at_the_analysis(filter, prior, backend):
    there = Observation(backend.array(SEEN.value), SEEN.operator, 1.0)
    kept = filter.analyse(backend.array(prior), there, 3, trajectory=True)
    plain = filter.analyse(backend.array(prior), there, 3)
    way = kept.info["trajectory"]
    assert way.states.shape == (31, 400, 2) and backend.owns(way.states) and kept.info["steps"] == 30
    np.testing.assert_allclose(way.times, 1 - np.arange(31) / 30, atol=1e-12)
    np.testing.assert_array_equal(to_numpy(way.states[-1, ...]), to_numpy(kept.ensemble))
    rounding = 100 * np.finfo(to_numpy(kept.ensemble).dtype).eps  # without a trajectory steps are fused
    np.testing.assert_allclose(to_numpy(kept.ensemble), to_numpy(plain.ensemble), rtol=rounding, atol=rounding)
    assert "trajectory" not in plain.info


# --- where it starts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [VariancePreserving(), VarianceExploding(), EDM()], ids=repr)
def test_the_analysis_is_kalmans_for_every_schedule(schedule, prior):
    """The start has the noise that the schedule has there: from N(0, I) members of the last two would nearly agree."""
    mean, covariance = kalman(prior, 1.5, 1.0)
    filter = EnSF(schedule, GaussianScore(), ConditionalGuidance(), DPMSolver(40))
    ensemble = filter.analyse(prior, SEEN, 1).ensemble
    np.testing.assert_allclose(ensemble.mean(axis=0), mean, atol=0.12)
    np.testing.assert_allclose(np.cov(ensemble.T), covariance, atol=0.12)


# --- iterated --------------------------------------------------------------------------------------------


def test_rounds_approach_the_kalman_mean(prior):
    mean, covariance = kalman(prior, 1.5, 1.0)
    deviation = np.sqrt(np.diag(covariance))
    errors, spreads = [], []
    for rounds in (1, 2, 6):
        ensembles = [
            IteratedEnSF(rounds, sampler=ReverseSDE(100)).analyse(prior, SEEN, seed).ensemble for seed in (1, 2)
        ]
        errors.append(np.abs((np.mean(ensembles, axis=(0, 1)) - mean) / deviation).max())
        spreads.append(np.mean([ensemble.std(axis=0) for ensemble in ensembles], axis=0) / deviation)
    assert errors[0] > 0.15 and max(errors[1:]) < 0.13
    np.testing.assert_allclose(spreads[-1], 1.0, atol=0.1)


def test_independent_variables_leave_the_other_alone(prior):
    analysis = IteratedEnSF(4, independent=True, sampler=ReverseSDE(100)).analyse(prior, SEEN, 1).ensemble
    variance = prior[:, 0].var(ddof=1)
    mean = prior[:, 0].mean() + variance / (variance + 1) * (1.5 - prior[:, 0].mean())
    assert analysis[:, 0].mean() == pytest.approx(mean, abs=0.15)
    assert analysis[:, 1].mean() == pytest.approx(prior[:, 1].mean(), abs=0.15)


def test_iteration_helps_a_nonlinear_scalar(rng):
    """Against quadrature."""
    prior = 1.5 * rng.standard_normal((1000, 1))
    seen = Observation(np.array([1.2]), Pointwise(arctan), 0.2)
    nodes = np.linspace(-9, 9, 4001)
    weights = np.exp(-0.5 * ((nodes - prior.mean()) / prior.std()) ** 2 - 0.5 * ((1.2 - np.arctan(nodes)) / 0.2) ** 2)
    mean = weights @ nodes / weights.sum()
    deviation = np.sqrt(weights @ (nodes - mean) ** 2 / weights.sum())
    once, often, plain = (
        abs(filter.analyse(prior, seen, 1).ensemble.mean() - mean) / deviation
        for filter in (
            IteratedEnSF(1, sampler=ReverseSDE(100)),
            IteratedEnSF(4, sampler=ReverseSDE(100)),
            EnSF(score=GaussianScore(), sampler=ReverseSDE(100)),
        )
    )
    assert often < 0.35 < plain < 0.5 < once


def test_independent_score_is_that_of_a_diagonal_gaussian(prior, backend, rng):
    z = rng.standard_normal((5, 2))
    score = IndependentScore().fit(backend.array(prior), rng)(backend.array(z), 0.7, 0.4)
    assert backend.owns(score)
    wanted = -(z - 0.7 * prior.mean(axis=0)) / (0.49 * prior.var(axis=0, ddof=1) + 0.4)
    np.testing.assert_allclose(to_numpy(score), wanted, rtol=backend.tolerance, atol=backend.tolerance)


# --- flow ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [OptimalTransport(0.05), FilteringToPredictive(0.05)], ids=repr)
def test_without_pull_the_flow_carries_to_the_members(path, rng):
    """Of well separated members, each draw ends at one, with the narrowest deviation about it."""
    prior = 3.0 * np.eye(4)
    before = prior + rng.standard_normal((4, 4))
    ends = (
        EnFF(path, 200, 0.0)
        .analyse(prior, Observation(np.ones(1), Select((0,)), 1.0), rng, FlowMemory(before))
        .ensemble
    )
    assert np.linalg.norm(ends[:, None] - prior, axis=-1).min(axis=1).max() < 0.3


def test_a_flow_step_by_hand():
    """Two members in one dimension, one Euler step from noise: v = E[x] - (1 - narrowest) z at t = 0."""
    prior, rng = np.array([[-1.0], [2.0]]), np.random.default_rng(5)
    z = np.random.default_rng(5).standard_normal((2, 1))
    seen = Observation(np.array([0.5]), Select((0,)), 2.0)
    velocity = prior.mean() - 0.9 * z
    end = z + velocity
    wanted = end + 0.3 * (0.5 - end) / 4
    np.testing.assert_allclose(EnFF(OptimalTransport(0.1), 1, 0.3).analyse(prior, seen, rng).ensemble, wanted)


def test_the_flow_starts_at_the_last_analysis(rng):
    prior = rng.standard_normal((6, 3))
    before = prior + 100.0
    first = EnFF(FilteringToPredictive(), 4, 0.1).analyse(prior, Observation(np.zeros(3), Select((0, 1, 2)), 1.0), 1)
    np.testing.assert_array_equal(first.memory.ensemble, first.ensemble)
    moved = EnFF(FilteringToPredictive(), 4, 0.0).analyse(
        prior, Observation(np.zeros(3), Select((0, 1, 2)), 1.0), 1, FlowMemory(before)
    )
    np.testing.assert_allclose(moved.ensemble, prior, atol=1e-2)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: EnFF(steps=0), "whole number"),
        (lambda: EnFF(strength=-1.0), "strength of -1.0: give a number of 0 or more"),
        (lambda: OptimalTransport(0.0), "narrowest"),
        (lambda: FilteringToPredictive(np.nan), "narrowest"),
        (lambda: IteratedEnSF(0), "rounds: give a whole number"),
    ],
)
def test_bad_settings_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_memory_of_another_size_is_named(prior):
    with pytest.raises(ValueError, match="memory of EnFF is of 3 members but the prior has 400"):
        EnFF().analyse(prior, SEEN, 1, FlowMemory(np.zeros((3, 2))))


@pytest.mark.filterwarnings("ignore:overflow")
def test_too_strong_a_pull_is_named(prior):
    accurate = Observation(np.array([1.5]), Select((0,)), 1e-14)
    with pytest.raises(Lost, match="strength of 1000.0 are unstable"):
        EnFF(steps=5, strength=1e3).analyse(prior, accurate, 1)


@pytest.mark.parametrize(("error", "stable"), [(0.3, True), (0.12, True), (0.05, False), (0.01, False), (1e-9, False)])
def test_a_flow_whose_steps_are_unstable_gives_no_analysis(error, stable, rng):
    """A pull multiplies a departure by |1 - strength / (steps error^2)|: beyond 1 it grows."""
    prior = rng.standard_normal((20, 10))
    observation = Observation(0.1 * rng.standard_normal(10), Select(tuple(range(10))), error)
    if stable:
        assert np.abs(EnFF().analyse(prior, observation, 1).ensemble).max() < 4
        return
    with pytest.raises(Lost, match="unstable for errors as small as these: give a smaller strength or more steps"):
        EnFF().analyse(prior, observation, 1)


@pytest.mark.parametrize("independent", [False, True])
@pytest.mark.filterwarnings("ignore::ensf.StiffnessWarning")
@pytest.mark.parametrize(("steps", "error"), [(10, 0.1), (30, 0.03), (10, 1e-4)])
def test_steps_that_are_unstable_are_no_members_fault(rng, independent, steps, error):
    prior = rng.standard_normal((20, 6))
    observation = Observation(prior[1], Identity(), error)
    with pytest.raises(Lost, match="^the score filter left the range of numbers in .* steps: take more steps"):
        IteratedEnSF(4, independent=independent, sampler=ReverseSDE(steps)).analyse(prior, observation, 1)
