"""Local filters where an observation is a function of several columns, under any law: patches are of what is moved."""

import numpy as np
import pytest

from ensf.filters import LETSF
from ensf.localization import InformationLimit, periodic_line
from ensf.observations import Combined, Gaussian, Laplace, Observation, Select, StudentT, WindSpeed

PLACES = np.arange(6.0)[:, None]
PARTS = Select(range(6)), Select(range(6, 12))
OPERATORS = {"wind speed": WindSpeed(*PARTS), "product": Combined(lambda u, v: u * v, PARTS)}


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@pytest.mark.parametrize("limit", [None, InformationLimit()], ids=["wide", "limited"])
def test_a_nearly_gaussian_law_moves_members_as_a_gaussian_one(operator, steps, limit, rng):
    prior = rng.normal(3, 0.3, (40, 12))
    value = operator(prior).mean(axis=0) + 0.2
    filter = LETSF(periodic_line(12, 2.0), steps=steps, information_limit=limit)
    one, other = (
        filter.analyse(prior, Observation(value, operator, law, position=PLACES), 1).ensemble[:, :6]
        for law in (Gaussian(0.5), StudentT(0.5, 1e6))
    )
    np.testing.assert_allclose(one.mean(axis=0), other.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(one.std(axis=0), other.std(axis=0), rtol=0.1)


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@pytest.mark.parametrize("law", [Laplace(0.5), StudentT(0.5, 3.0)], ids=["Laplace", "Student-t"])
def test_heavy_tails_pull_less_and_parts_are_the_whole(operator, law, rng):
    prior = rng.normal(3, 0.3, (40, 12))
    value = operator(prior).mean(axis=0) + 8.0
    positions = np.arange(12.0)[:, None]
    filter = LETSF(periodic_line(12, 2.0))
    pulls = []
    for error in (Gaussian(0.5), law):
        analysis = filter.analyse(prior, Observation(value, operator, error, position=PLACES), 1)
        pulls.append(np.abs(analysis.ensemble[:, :6].mean(axis=0) - prior[:, :6].mean(axis=0)))
        halves = [
            analysis.update.apply(prior[:, half], positions[half], np.arange(12)[half])
            for half in (slice(0, 5), slice(5, 12))
        ]
        np.testing.assert_array_equal(np.concatenate(halves, axis=1), analysis.ensemble)
    assert (pulls[1] < pulls[0]).all()


def test_positions_that_do_not_fit_are_refused(rng):
    observation = Observation(np.zeros(6), Select(range(6)), 0.5, position=PLACES)
    update = LETSF(periodic_line(12, 2.0)).analyse(rng.normal(size=(10, 12)), observation, 1).update
    with pytest.raises(ValueError, match="24 positions of 12 entries"):
        update.patches(np.arange(24.0)[:, None], 12)
