"""LETSF: the LETKF where observations are linear, the exact scalar posterior where they are not."""

import array_api_strict as strict
import numpy as np
import pytest
from scipy import stats

from ensf import (
    ETKF,
    LETKF,
    LETSF,
    Callback,
    Function,
    Identity,
    Linear,
    Observation,
    Pointwise,
    Select,
    WindSpeed,
    absolute,
    arctan,
    exponential,
    periodic_line,
    square,
)
from ensf.arrays import like, to_numpy
from ensf.observations import Censored, Laplace, Poisson, StudentT, Threshold

LINE = periodic_line(40, half_width=7.3)


def gaussian_members(mean, deviation, count=400):
    quantiles = stats.norm.ppf((np.arange(count) + 0.5) / count)
    return mean + deviation * (quantiles / quantiles.std(ddof=1))[:, None]


@pytest.mark.parametrize("operator", [Identity(), Select(range(0, 40, 3)), "dense"])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_linear_observations_global_equals_etkf_and_local_equals_letkf(operator, steps, rng):
    operator = Linear(rng.standard_normal((25, 40))) if operator == "dense" else operator
    prior = 3 + 2 * rng.standard_normal((10, 40))
    value = operator(rng.standard_normal(40))
    position = rng.uniform(0, 40, (value.size, 1))
    observation = Observation(value, operator, rng.uniform(0.05, 2, value.size), position)
    for mine, reference in ((LETSF(steps=steps), ETKF()), (LETSF(LINE, steps), LETKF(LINE))):
        found, wanted = (method.analyse(prior, observation, rng) for method in (mine, reference))
        np.testing.assert_allclose(found.ensemble, wanted.ensemble, atol=1e-9)
        taken = (result.info["degrees_of_freedom"] for result in (found, wanted))
        np.testing.assert_allclose(*np.broadcast_arrays(*taken), rtol=1e-9)


CASES = [
    (arctan, 0.05, 1.2, 1.0, 1.0),
    (arctan, 0.05, 1.4, 3.0, 2.0),
    (arctan, 0.3, -0.5, 1.0, 2.0),
    (absolute, 1.0, 1.0, 2.0, 1.0),
    (absolute, 0.5, 1.0, 0.5, 1.0),
    (square, 1.0, 1.0, 1.0, 1.0),
    (exponential, 0.5, 2.0, 0.0, 1.0),
    (Function(lambda x: 1.0 * (x > 0.3)), 0.3, 1.0, 0.0, 1.0),
]


@pytest.mark.parametrize("function, error, value, mean, deviation", CASES)
def test_scalar_posterior_moments_within_one_percent_in_two_steps(function, error, value, mean, deviation, rng):
    nodes = np.linspace(mean - 10 * deviation, mean + 10 * deviation, 200_001)
    mass = np.exp(-0.5 * ((value - function(nodes)) / error) ** 2 - 0.5 * ((nodes - mean) / deviation) ** 2)
    mass /= mass.sum()
    centre = mass @ nodes
    spread = (mass @ (nodes - centre) ** 2) ** 0.5
    observation = Observation(np.array([value]), Pointwise(function), error)
    found = LETSF().analyse(gaussian_members(mean, deviation), observation, rng).ensemble
    assert found.mean() == pytest.approx(centre, abs=0.01 * spread)
    assert found.std(ddof=1) == pytest.approx(spread, rel=0.01)


LAWS = {
    "laplace": (Laplace(0.5), 1.0),
    "student": (StudentT(0.5, 4), 3.0),
    "poisson": (Poisson(), 4.0),
    "censored": (Censored(0.5, high=1.5), 1.5),
    "threshold": (Threshold(0.5, level=1.0), 0.0),
}


@pytest.mark.parametrize("name", LAWS)
def test_error_laws_give_the_exact_scalar_posterior(name, rng):
    law, value = LAWS[name]
    operator = Pointwise(exponential) if name == "poisson" else Identity()
    nodes = np.linspace(-8, 10, 100_001)
    logs = law.each(np.array([[value]]), operator(nodes[None, :]))[0] - 0.5 * (nodes - 1) ** 2
    mass = np.exp(logs - logs.max())
    mass /= mass.sum()
    centre = mass @ nodes
    spread = (mass @ (nodes - centre) ** 2) ** 0.5
    observation = Observation(np.array([value]), operator, law)
    found = LETSF().analyse(gaussian_members(1.0, 1.0), observation, rng).ensemble
    assert found.mean() == pytest.approx(centre, abs=0.01 * spread)
    assert found.std(ddof=1) == pytest.approx(spread, rel=0.012)


@pytest.mark.parametrize("name", LAWS)
def test_scores_of_the_laws_are_gradients_and_draws_are_finite(name, rng):
    law, value = LAWS[name]
    h, y = np.linspace(0.2, 4, 9), np.full(9, value)
    numeric = (law.each(y, h + 1e-6) - law.each(y, h - 1e-6)) / 2e-6
    np.testing.assert_allclose(law.score(y, h), numeric, rtol=1e-4, atol=1e-5)
    assert law.log_density(y, h) == pytest.approx(law.each(y, h).sum())
    drawn = law.draw(np.full(20_000, 1.2), rng)
    assert np.isfinite(drawn).all()
    if name in ("laplace", "student"):
        assert drawn.std() == pytest.approx(0.5, rel=0.1)


OPERATORS = {
    "identity": Identity(),
    "pointwise": Pointwise(arctan),
    "speed": WindSpeed(Select(range(0, 20)), Select(range(20, 40))),
    "free": Callback(lambda x: 0.1 * x**3, lambda x, r: 0.3 * x**2 * r),
}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("localization", [None, LINE])
def test_array_code_agrees_with_the_compiled_loops(name, localization, rng):
    operator = OPERATORS[name]
    prior = 1 + rng.standard_normal((9, 40))
    value = operator(rng.standard_normal(40))
    position = np.arange(len(value), dtype=float)[:, None]
    host = LETSF(localization).analyse(prior, Observation(value, operator, 0.4, position), rng)
    there = strict.asarray(prior, device=strict.Device("device1"))
    observation = Observation(like(value, there), operator, 0.4, like(position, there))
    found = LETSF(localization).analyse(there, observation, rng)
    assert found.ensemble.device == there.device
    np.testing.assert_allclose(to_numpy(found.ensemble), host.ensemble, atol=1e-6)
    freedom = (result.info["degrees_of_freedom"] for result in (found, host))
    np.testing.assert_allclose(*map(to_numpy, freedom), atol=1e-6)


@pytest.mark.parametrize("operator", [Identity(), Pointwise(arctan)])
@pytest.mark.parametrize("localization", [None, LINE])
def test_what_is_certain_stays_and_moves_nothing(operator, localization, rng):
    prior = rng.standard_normal((8, 40))
    certain = prior.copy()
    certain[:, 4] = 2.0
    value = np.full(40, 0.3)
    observed = Observation(value, operator, 0.5, position=np.arange(40.0)[:, None])
    found = LETSF(localization).analyse(certain, observed, rng).ensemble
    value[4] = np.nan
    expected = LETSF(localization).analyse(certain, observed, rng).ensemble
    np.testing.assert_allclose(found[:, 4], 2.0)
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("operator", [Identity(), Pointwise(arctan)])
def test_certain_members_stay(operator, rng):
    prior = np.broadcast_to(rng.standard_normal(40), (8, 40))
    found = LETSF(LINE).analyse(prior, Observation(np.full(40, 0.3), operator, 0.5), rng).ensemble
    np.testing.assert_allclose(found, prior)


def test_unobserved_variables_get_their_regression_increment(rng):
    prior = rng.standard_normal((200, 1)) @ np.array([[1.0, 2.0]])
    observation = Observation(np.array([1.2]), Pointwise(arctan, Select([0])), 0.1)
    found = LETSF().analyse(prior, observation, rng).ensemble
    np.testing.assert_allclose(found[:, 1], 2 * found[:, 0], atol=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_linear_callback_is_the_etkf_in_any_number_of_steps(steps, rng):
    matrix = rng.normal(size=(5, 8))
    prior = rng.normal(size=(12, 8))
    observation = Observation(rng.normal(size=5), Callback(lambda states: states @ matrix.T, None), error=0.5)
    expected = ETKF().analyse(prior, observation, rng).ensemble
    np.testing.assert_allclose(LETSF(steps=steps).analyse(prior, observation, rng).ensemble, expected, atol=1e-10)
