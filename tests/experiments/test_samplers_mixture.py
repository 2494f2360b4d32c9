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
    assert Draws(EDMHeun(80, churn=3.0), scores=2).shortened(1 / 8).sampler == EDMHeun(10, churn=3.0)
    page = replace(EXPERIMENT, cycles=2)
    assert [cycle.time for cycle in page.run(replace(page.methods["ddim"], members=10), 1)] == [10, 20]
    with pytest.raises(ValueError, match="6 cycles: samplers_mixture has 5, one for each number of scores"):
        next(replace(page, cycles=6).run(page.methods["ddim"], 1))


def test_the_steps_of_a_sampler_are_those_of_the_last_cycle():
    method = replace(EXPERIMENT.methods["edm"], members=10, filter=Draws(EDMHeun(320), scores=2))
    times = [cycle.time for cycle in EXPERIMENT.run(method, 1)]
    assert times == [40, 80, 160, 320, 640]
    assert list(EXPERIMENT.scored(np.array(times)))[1:] == ["_40", "_80", "_160", "_320", "_640"]
    with pytest.raises(ValueError, match="15 steps: .* takes 10 of 160 of them, so give 16 or more"):
        next(EXPERIMENT.run(replace(method, filter=Draws(DDIM(15))), 1))
