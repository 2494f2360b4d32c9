"""The score of the page samplers_mixture is the energy distance, and its cycles are numbers of scores."""

from dataclasses import replace

import numpy as np
import pytest

from ensf.diffusion import DDIM, EDMHeun, energy_distance
from ensf.experiments.samplers_mixture import EXPERIMENT, MIXTURE, Draws, embedded, exact


def test_the_mean_square_of_embedded_differences_is_the_energy_distance(rng):
    first, second = MIXTURE.draw(2000, rng), 1.2 * MIXTURE.draw(2000, rng) + 0.1
    apart = np.mean((embedded(first).mean(axis=0) - embedded(second).mean(axis=0)) ** 2)
    itself = sum(np.linalg.norm(a - a[::-1], axis=1).mean() / 2000 for a in (first, second))
    assert apart == pytest.approx(energy_distance(first, second) + itself, abs=0.002)


def test_the_exact_characteristic_function_is_that_of_many_draws(rng):
    assert np.sqrt(np.mean((embedded(MIXTURE.draw(20_000, rng)).mean(axis=0) - exact()) ** 2)) < 0.02


def test_a_cycle_has_as_many_scores_as_its_time_says():
    assert Draws(DDIM()).within(20).sampler.steps == 20
    assert Draws(EDMHeun(churn=3.0), scores=2).within(20).sampler == EDMHeun(10, churn=3.0)
    page = replace(EXPERIMENT, cycles=2)
    assert [cycle.time for cycle in page.run(replace(page.methods["ddim"], members=10), 1)] == [10, 20]
    with pytest.raises(ValueError, match="6 cycles: samplers_mixture has 5, one for each number of scores"):
        next(replace(page, cycles=6).run(page.methods["ddim"], 1))
