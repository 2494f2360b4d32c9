"""The pages of the score toolbox: their densities and their smoothers are those they should be."""

from dataclasses import replace

import numpy as np
import pytest

from ensf import experiments
from ensf.diffusion import draw
from ensf.experiments import bearings_only_bdsde, double_well_bdsde, heat_equation_physics, trajectory_lorenz96
from ensf.experiments._lorenz96 import SIZE
from ensf.experiments._score_prior import library
from ensf.experiments.bearings_only_bdsde import cartesian, polar
from ensf.experiments.heat_equation_physics import SIDE, SQUARE, fields_of, noise, posterior, waves
from ensf.filters import ETKF
from ensf.observations import Observation, Select
from ensf.twin import Streams


def test_the_backward_filter_is_of_first_order_in_its_step():
    line = np.linspace(-3, 3, 2401)
    first = np.exp(-0.5 * ((line - 0.3) / 0.4) ** 2)
    errors = []
    exact = double_well_bdsde.BackwardDoublyStochastic(2401, 160).forecast(first, 0.25)
    for steps in (5, 10, 20):
        density = double_well_bdsde.BackwardDoublyStochastic(2401, steps).forecast(first, 0.25)
        errors.append(np.abs(density - exact).sum())
    slope = np.polyfit(np.log([5, 10, 20]), np.log(errors), 1)[0]
    assert slope == pytest.approx(-1.0, abs=0.2), errors


def test_the_backward_filter_is_the_exact_one(rng):
    page = replace(double_well_bdsde.EXPERIMENT, cycles=8)
    members = [
        [cycle.analysis.ensemble for cycle in page.run(page.methods[name], 5)] for name in ("bdsde", "particles")
    ]
    for backward, particles in zip(*members, strict=True):
        assert backward.mean() == pytest.approx(particles.mean(), abs=0.02)
        assert backward.std() == pytest.approx(particles.std(), rel=0.03)


def test_the_posterior_of_the_heat_equation_is_that_of_its_matrices(rng):
    observation = heat_equation_physics.network().observe(heat_equation_physics.initial(1, rng)[0], 0, rng)
    unit = np.eye(SIDE * SIDE)
    prior = fields_of(heat_equation_physics.POWER * waves(unit))
    blur = heat_equation_physics.network().operator.matrix
    errors = fields_of(noise(heat_equation_physics.DURATION) * waves(unit))
    mean = prior @ blur.T @ np.linalg.solve(blur @ prior @ blur.T + errors, observation.value)
    np.testing.assert_allclose(fields_of(posterior(waves(observation.value))[0]), mean, atol=1e-8)


@pytest.mark.parametrize("step", [100, 199])
def test_the_learned_score_of_the_heat_equation_is_the_exact_one(step):
    learned, exact = heat_equation_physics.learned_score(step), heat_equation_physics.exact_score(step)
    in_a_step = heat_equation_physics.STEP * heat_equation_physics.NOISE**2
    resolved = SQUARE < 150
    assert np.abs(in_a_step * exact[resolved]).max() > 0.2
    np.testing.assert_allclose(in_a_step * learned[resolved], in_a_step * exact[resolved], atol=0.03)


def test_polar_coordinates_come_back_and_have_the_volume_that_is_said(rng):
    place = (0.3, -0.2)
    coordinates = rng.standard_normal((20, 4)) * [0.5, 0.4, 0.1, 0.1]
    np.testing.assert_allclose(polar(cartesian(coordinates, place), place), coordinates, atol=1e-12)
    step = 1e-6
    there = coordinates[0] + step * np.concatenate([np.eye(4), -np.eye(4)])
    states = cartesian(there, place)
    volume = np.linalg.det((states[:4] - states[4:]) / (2 * step))
    assert abs(volume) == pytest.approx(np.exp(4 * coordinates[0, 1]), rel=1e-6)


def test_the_lattice_carries_a_density_as_many_draws_would(rng):
    """Of the initial law, a step ahead."""
    backward = bearings_only_bdsde.BackwardDoublyStochastic()
    before, target = backward.start(), bearings_only_bdsde.Target()
    draws = target.advance(bearings_only_bdsde.PolarStart().draw(200_000, Streams.spawn(1))[1], 0.0, 1.0, rng)
    place = bearings_only_bdsde.observer(1)
    exact = polar(draws, place)
    centre, axes = exact.mean(axis=0), np.linalg.cholesky(np.cov(exact.T))
    coordinates = centre + bearings_only_bdsde.Lattice.units(11) @ axes.T
    logs = backward.forecast(before, cartesian(coordinates, place)) + 4 * coordinates[:, 1]
    weights = np.exp(logs - logs.max())
    weights = weights / weights.sum()
    mean = weights @ coordinates
    np.testing.assert_allclose(mean, centre, atol=0.02 * exact.std(axis=0).max())
    np.testing.assert_allclose(np.sqrt(weights @ (coordinates - mean) ** 2), exact.std(axis=0), rtol=0.03)


def test_the_backward_filter_of_bearings_is_the_exact_one():
    page = replace(bearings_only_bdsde.EXPERIMENT, cycles=6)
    backward, particles = (list(page.run(page.methods[name], 5))[-1].analysis for name in ("bdsde", "particles"))
    spread = particles.ensemble.std(axis=0)
    np.testing.assert_allclose(backward.ensemble.mean(axis=0), particles.ensemble.mean(axis=0), atol=0.1 * spread.max())
    np.testing.assert_allclose(backward.ensemble.std(axis=0), spread, rtol=0.1)


def test_smoother_and_loop_are_the_analysis_of_whole_trajectories_while_the_model_is_linear():
    """Members within a thousandth of each other: from time to time, from the start, or all at once is the same."""
    page = trajectory_lorenz96
    rng = np.random.default_rng(4)
    prior = page.flat(page.trajectories(page.library()[0, 0] + 1e-3 * rng.standard_normal((20, page.SIZE))))
    entries = (page.SEEN[:, None] * page.SIZE + page.POINTS).ravel()
    value = prior[0, entries] + rng.standard_normal(entries.size)
    observation = Observation(value, Select(tuple(entries)), page.ERROR)
    whole, smoothed, looped = (
        filter.analyse(prior, observation, 1).ensemble.mean(axis=0) - prior.mean(axis=0)
        for filter in (ETKF(), page.Smoothed(ETKF()), page.FromTheStart(ETKF()))
    )
    largest = np.abs(whole).max()
    assert largest > 1e-6
    np.testing.assert_allclose(smoothed, whole, atol=0.01 * largest)
    np.testing.assert_allclose(looped, whole, atol=0.01 * largest)


def test_more_members_than_the_library_has_are_refused():
    page = trajectory_lorenz96.EXPERIMENT
    with pytest.raises(ValueError, match="the library of trajectory_lorenz96 has 300, so take 2 to 300"):
        next(page.run(replace(page.methods["climatology"], members=301), 1))


@pytest.mark.slow
def test_draws_of_the_learned_score_have_the_climate_of_lorenz96():
    """Mean, spread, extremes and spectrum of draws without an observation, beside the 300 states of the library."""
    learned = experiments.load("score_prior_lorenz96").methods["score"].filter
    rng, states = np.random.default_rng(2), library()
    draws = draw(learned.score.fit(states, rng), learned.schedule, learned.sampler, np.zeros((200, SIZE)), rng)
    assert draws.mean() == pytest.approx(states.mean(), abs=0.2)
    assert draws.std() == pytest.approx(states.std(), rel=0.06)
    assert abs(draws.min() - states.min()) < 1.5 and abs(draws.max() - states.max()) < 1.5
    power, expected = (np.mean(np.abs(np.fft.rfft(x - x.mean(), axis=1)) ** 2, axis=0)[1:] for x in (draws, states))
    assert np.all(np.abs(np.log(power / expected))[:16] < np.log(1.45))
    assert np.mean(power / expected) == pytest.approx(1.0, abs=0.12)
