"""Draws without observation, their trajectories, and log densities by the probability flow."""

from __future__ import annotations

import numpy as np
import pytest

from ensf.arrays import to_numpy
from ensf.diffusion import (
    EDM,
    DPMSolver,
    GaussianMixture,
    LinearSchedule,
    MixtureScore,
    PairedScore,
    ReverseSDE,
    VarianceExploding,
    VariancePreserving,
    draw,
    energy_distance,
    log_likelihood,
    ornstein_uhlenbeck,
)

PLANE = GaussianMixture(
    np.array([0.4, 0.6]),
    np.array([[-2.0, 0.0], [2.0, 1.0]]),
    np.array([[[0.5, 0.2], [0.2, 0.3]], [[0.3, 0.0], [0.0, 0.6]]]),
)


def test_a_trajectory_keeps_every_step(backend, rng):
    start = backend.array(np.zeros((4, 2)))
    way = draw(PLANE, VariancePreserving(), DPMSolver(7), start, np.random.default_rng(3), trajectory=True)
    end = draw(PLANE, VariancePreserving(), DPMSolver(7), start, np.random.default_rng(3))
    assert way.states.shape == (8, 4, 2) and backend.owns(way.states)
    assert way.times[0] == 1 and way.times[-1] == 0 and np.all(np.diff(way.times) < 0)
    np.testing.assert_array_equal(to_numpy(way.states[-1, ...]), to_numpy(end))


@pytest.mark.parametrize("schedule", [VariancePreserving(), VarianceExploding(0.01, 60.0), EDM(0.01, 80.0)], ids=repr)
def test_draws_have_the_law(schedule, rng):
    z = draw(PLANE, schedule, DPMSolver(25), np.zeros((2000, 2)), rng)
    assert energy_distance(z, PLANE.draw(2000, rng)) < 0.02


def test_energy_distance_by_hand(rng):
    first, second = np.array([[0.0], [2.0]]), np.array([[1.0], [5.0]])
    assert energy_distance(first, second) == pytest.approx(2 * (1 + 5 + 1 + 3) / 4 - 2 - 4)
    assert energy_distance(rng.standard_normal((3000, 2)), rng.standard_normal((3000, 2))) == pytest.approx(
        0, abs=0.005
    )


def test_a_schedule_that_keeps_signal_is_named(rng):
    with pytest.raises(ValueError, match="keeps a signal of 0.607 beside noise of 0.795 at pseudo-time 1"):
        draw(PLANE, ornstein_uhlenbeck(1.0), DPMSolver(5), np.zeros((3, 2)), rng)
    with pytest.raises(ValueError, match="keeps a signal"):
        log_likelihood(np.zeros((3, 2)), PLANE, LinearSchedule(0.5, 0.025))


def test_a_score_that_is_not_finite_is_named(rng):
    def broken(z, alpha, variance):
        return np.where((np.arange(len(z)) == 2)[:, None] & (alpha > 0.5), np.nan, PLANE(z, alpha, variance))

    with pytest.raises(ArithmeticError, match=r"score of row 2 is not finite at pseudo-time 0\.[34]"):
        draw(broken, VariancePreserving(), ReverseSDE(20), np.zeros((5, 2)), rng)


@pytest.mark.parametrize("schedule", [VariancePreserving(), VarianceExploding(0.01, 60.0)], ids=repr)
def test_log_likelihood_of_a_mixture(schedule, backend, rng):
    states = PLANE.draw(20, rng)  # in float64; Heun's error at 60 steps
    computed = log_likelihood(backend.array(states), PLANE, schedule, steps=60)
    assert backend.owns(computed)
    exact = PLANE.log_density(states)
    np.testing.assert_allclose(to_numpy(computed), exact, atol=0.15 if backend.dtype == "float64" else 0.5)


def test_log_likelihood_converges_with_the_square_of_the_step(rng):
    states, schedule = PLANE.draw(50, rng), VarianceExploding(0.01, 60.0)
    runs = [log_likelihood(states, PLANE, schedule, steps) for steps in (80, 160, 320)]
    differences = [np.abs(after - before).max() for before, after in zip(runs[:-1], runs[1:], strict=True)]
    assert np.log2(differences[0] / differences[1]) == pytest.approx(2.0, abs=0.3)
    np.testing.assert_allclose(runs[-1], PLANE.log_density(states), atol=0.05)  # z_1 is not quite N(0, beta^2 I)


def test_hutchinson_has_the_mean_of_the_exact_divergence(rng):
    state = PLANE.draw(1, rng)
    schedule = VarianceExploding(0.01, 60.0)
    many = log_likelihood(np.repeat(state, 400, axis=0), PLANE, schedule, 40, rng)
    exact = log_likelihood(state, PLANE, schedule, 40)
    assert many.mean() == pytest.approx(exact[0], abs=5 * many.std() / 20 + 1e-6) and many.std() > 1e-3


def test_the_mixture_of_members_draws_members(rng):
    members = rng.standard_normal((10, 3))
    z = draw(MixtureScore().fit(members, rng), VariancePreserving(), DPMSolver(40), np.zeros((50, 3)), rng)
    distance = np.linalg.norm(z[:, None] - members, axis=-1).min(axis=1)
    assert np.median(distance) < 0.02
    assert PairedScore().fit(members, rng)(members, 1.0, 0.5) == pytest.approx(np.zeros((10, 3)))
