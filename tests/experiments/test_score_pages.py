"""The densities of the pages double_well_bdsde and heat_equation_physics are those they should be."""

from dataclasses import replace

import numpy as np
import pytest

from ensf.experiments import double_well_bdsde, heat_equation_physics
from ensf.experiments.heat_equation_physics import SIDE, SQUARE, fields_of, noise, posterior, waves


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
