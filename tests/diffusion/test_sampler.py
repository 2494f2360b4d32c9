"""Samplers against closed forms: Gaussian and mixture targets, observed against theoretical order."""

from __future__ import annotations

import math

import array_api_strict as strict
import numpy as np
import pytest
from exact import UnitNoise
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from ensf.arrays import to_numpy
from ensf.diffusion import (
    LinearSchedule,
    ProbabilityFlow,
    ReverseSDE,
    RunningMeanStop,
    StandardisedNoise,
    StandardNoise,
    VariancePreserving,
)
from ensf.diffusion.sampler import stable_steps

SMOOTH = VariancePreserving(0.5, 8.0)
SCHEDULES = [SMOOTH, LinearSchedule(), LinearSchedule(0.5, 0.025)]
MEAN, DEVIATION = 1.5, 0.6


def gaussian_score(schedule, mean=MEAN, deviation=DEVIATION):
    def score(z, t):
        alpha, variance = schedule.alpha(t), schedule.variance(t)
        return -(z - alpha * mean) / (alpha**2 * deviation**2 + variance)

    return score


def marginal(schedule, t):
    """Mean and standard deviation of the noised Gaussian target."""
    alpha = schedule.alpha(t)
    return alpha * MEAN, math.sqrt(alpha**2 * DEVIATION**2 + schedule.variance(t))


def order(errors):
    """Observed order of convergence when the step is halved from one error to the next."""
    return np.log2(np.abs(errors[:-1]) / np.abs(errors[1:]))


def exact_moments(sampler, schedule):
    """Mean and variance of what a sampler makes of the Gaussian target, without sampling error."""
    mean, deviation = marginal(schedule, 1.0)
    runs = []
    for amplitude in (0.0, 1.0):
        noise = UnitNoise(amplitude)
        start = mean + deviation * noise.standard_normal((1, sampler.steps + 1), np.float64)
        z, _ = sampler.sample(strict.asarray(start), gaussian_score(schedule), schedule, noise)
        runs.append(to_numpy(z)[0])
    return runs[0][0], np.sum((runs[1] - runs[0]) ** 2)


# --- order of convergence --------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [SMOOTH, VariancePreserving(1.0, 1.0), VariancePreserving()], ids=repr)
def test_reverse_sde_has_weak_order_one(schedule):
    moments = np.array([exact_moments(ReverseSDE(steps), schedule) for steps in (100, 200, 400)])
    errors = moments - [marginal(schedule, 0.0)[0], DEVIATION**2]
    np.testing.assert_allclose(order(errors), 1.0, atol=0.15)
    assert np.all(np.abs(errors[-1]) < 0.02)


def test_reverse_sde_samples_its_moments(rng):
    count, sampler = 200_000, ReverseSDE(30)
    mean, deviation = marginal(SMOOTH, 1.0)
    start = mean + deviation * rng.standard_normal((count, 1))
    z, steps = sampler.sample(start, gaussian_score(SMOOTH), SMOOTH, rng)
    expected_mean, expected_variance = exact_moments(sampler, SMOOTH)
    assert steps == 30
    assert abs(z.mean() - expected_mean) < 4 * math.sqrt(expected_variance / count)
    assert abs(z.var() - expected_variance) < 4 * expected_variance * math.sqrt(2 / count)


def test_probability_flow_has_order_two_on_a_gaussian():
    start = np.linspace(-3, 3, 7)[None, :]
    (mean, deviation), (mean_0, deviation_0) = marginal(SMOOTH, 1.0), marginal(SMOOTH, 0.0)
    exact = mean_0 + deviation_0 / deviation * (start - mean)
    errors = []
    for steps in (40, 80, 160, 320):
        z, _ = ProbabilityFlow(steps).sample(start, gaussian_score(SMOOTH), SMOOTH, None)
        errors.append(np.abs(z - exact).max())
    np.testing.assert_allclose(order(np.array(errors)), 2.0, atol=0.15)
    assert errors[-1] < 1e-4


def test_probability_flow_has_order_two_on_a_mixture():
    """In one dimension the flow map keeps quantiles: F_0(z_0) = F_1(z_1)."""
    weights, means, deviations = np.array([0.3, 0.7]), np.array([-2.0, 1.0]), np.array([0.6, 0.8])

    def law(t):
        alpha = SMOOTH.alpha(t)
        return norm(alpha * means, np.sqrt(alpha**2 * deviations**2 + SMOOTH.variance(t)))

    def score(z, t):
        components = weights * law(t).pdf(z[..., None])
        pull = -(z[..., None] - law(t).mean()) / law(t).var()
        return (components * pull).sum(-1) / components.sum(-1)

    def quantile(z, t):
        return (weights * law(t).cdf(z[..., None])).sum(-1)

    start, errors = np.linspace(-2, 2, 9)[None, :], []
    for steps in (40, 80, 160):
        z, _ = ProbabilityFlow(steps).sample(start, score, SMOOTH, None)
        errors.append(np.abs(quantile(z, 0.0) - quantile(start, 1.0)).max())
    np.testing.assert_allclose(order(np.array(errors)), 2.0, atol=0.3)
    assert errors[-1] < 1e-3


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("sampler", [ReverseSDE(2000), ProbabilityFlow(2000)], ids=lambda s: type(s).__name__)
def test_every_schedule_works_with_every_sampler(sampler, schedule, rng):
    mean, deviation = marginal(schedule, 1.0)
    z, _ = sampler.sample(mean + deviation * rng.standard_normal((4000, 1)), gaussian_score(schedule), schedule, rng)
    expected_mean, expected_deviation = marginal(schedule, 0.0)
    assert abs(z.mean() - expected_mean) < 4 * expected_deviation / math.sqrt(4000) + 0.01
    assert abs(z.std() - expected_deviation) < 4 * expected_deviation / math.sqrt(8000) + 0.01


# --- what a sampler asks for -----------------------------------------------------------------------------


@pytest.mark.parametrize(("sampler", "evaluations"), [(ReverseSDE(10), 10), (ProbabilityFlow(10), 19)])
def test_score_is_asked_from_one_downwards_and_never_at_zero(sampler, evaluations):
    times = []

    def score(z, t):
        times.append(t)
        return -z

    sampler.sample(np.ones((2, 3)), score, SMOOTH, np.random.default_rng(0))
    assert len(times) == evaluations and times[0] == 1.0 and min(times) == pytest.approx(0.1)
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("sampler", [ReverseSDE(3), ProbabilityFlow(3)], ids=lambda s: type(s).__name__)
def test_samplers_stay_on_their_device_with_their_dtype(sampler, backend, rng):
    z, _ = sampler.sample(backend.array(np.ones((4, 3))), gaussian_score(SMOOTH), SMOOTH, rng)
    assert backend.owns(z) and np.isfinite(to_numpy(z)).all()


def test_step_covers_an_interval():
    score, rng = gaussian_score(SMOOTH), np.random.default_rng
    z = np.ones((2, 3))
    by_hand = z
    for t, s in ((1.0, 0.5), (0.5, 0.0)):
        by_hand = ProbabilityFlow(2).step(by_hand, t, s, score, SMOOTH, rng(0))
    np.testing.assert_array_equal(ProbabilityFlow(2).sample(z, score, SMOOTH, rng(0))[0], by_hand)


# --- where it starts -------------------------------------------------------------------------------------


def test_standard_noise(backend, rng):
    noise = StandardNoise().draw(backend.array(np.zeros((100, 50))), rng)
    assert backend.owns(noise)
    values = to_numpy(noise)
    assert abs(values.mean()) < 5 / math.sqrt(5000) and abs(values.var() - 1) < 5 * math.sqrt(2 / 5000)


def test_standardised_noise_has_mean_zero_and_deviation_one_over_members(backend, rng):
    noise = StandardisedNoise().draw(backend.array(np.zeros((5, 40))), rng)
    assert backend.owns(noise)
    np.testing.assert_allclose(to_numpy(noise).mean(axis=0), 0, atol=backend.tolerance)
    np.testing.assert_allclose(to_numpy(noise).std(axis=0, ddof=1), 1, rtol=backend.tolerance)


# --- when it stops ---------------------------------------------------------------------------------------

RULE = RunningMeanStop(window=5, tolerance=0.01, earliest=10, latest=30)


def stopped_at(rule, path):
    settled = rule.start()
    return next((k for k in range(1, 100) if settled(np.full((3, 2), path(k)), k)), None)


@pytest.mark.parametrize(
    ("path", "step"),
    [
        (lambda k: 1.0, 10),  # settled from the beginning: as early as allowed
        (lambda k: float(k), 30),  # never settles: as late as allowed
        (
            lambda k: float(max(0, 20 - k)),
            25,
        ),  # constant from step 20 on; the window of five forgets 19's value at 24
    ],
)
def test_running_mean_stop(path, step):
    assert stopped_at(RULE, path) == step


def test_one_rule_serves_many_runs():
    assert [stopped_at(RULE, lambda k: 1.0) for _ in range(2)] == [10, 10]


def test_sampler_returns_the_state_of_the_step_at_which_it_stopped():
    schedule, score = LinearSchedule(), gaussian_score(LinearSchedule())
    start, rule = np.ones((20, 3)), RunningMeanStop(window=50, tolerance=0.05, earliest=60, latest=400)
    early, steps = ReverseSDE(500, stop=rule).sample(start.copy(), score, schedule, np.random.default_rng(1))
    assert 60 <= steps < 400
    z, rng = start.copy(), np.random.default_rng(1)
    for k in range(steps):
        z = ReverseSDE(500).step(z, 1 - k / 500, 1 - (k + 1) / 500, score, schedule, rng)
    np.testing.assert_array_equal(early, z)


# --- how many steps are enough ---------------------------------------------------------------------------


def largest_rate(schedule, stiffness):
    return max(schedule.diffusion(t) * (1 - t) * stiffness for t in np.linspace(0, 1, 2001))


@given(st.sampled_from(SCHEDULES), st.floats(0.1, 1e4), st.integers(10, 300))
def test_stable_steps_keep_the_product_of_step_and_rate_below_two(schedule, stiffness, steps):
    needed = stable_steps(steps, schedule, stiffness)
    assert needed >= steps
    grid = np.arange(1, needed + 1) / needed
    rates = [schedule.drift(t) + schedule.diffusion(t) * (1 - t) * stiffness for t in grid]
    assert max(rates) / needed <= 2 * 1.01
    assert needed <= max(steps, math.ceil(largest_rate(schedule, stiffness) / 2) + 1)


def test_stable_steps_give_up_at_a_limit():
    assert stable_steps(10, SMOOTH, 1e12) == 10**7


def test_probability_flow_needs_half_the_steps():
    assert ProbabilityFlow(10).stable_steps(SMOOTH, 1e3) * 2 == pytest.approx(
        ReverseSDE(10).stable_steps(SMOOTH, 1e3), abs=2
    )
