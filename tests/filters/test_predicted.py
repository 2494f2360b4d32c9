"""Predictions made elsewhere: the same analysis as with the operator, and a sentence where that is not enough."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from exact import kalman_posterior
from rows import FILTERS, MEMBERS, SIZE

from ensf import (
    ETKF,
    LETKF,
    EnKF,
    Euclidean,
    Identity,
    Linear,
    Localization,
    Observation,
    Pointwise,
    Select,
    Simulated,
    WindSpeed,
    arctan,
    log,
)
from ensf.filters import Preparable

SMOOTHER = FILTERS["Smoother"].filter
PREPARED = {name: row.filter for name, row in FILTERS.items() if isinstance(row.filter, Preparable)} | {
    "Smoother": SMOOTHER
}
WHOLE = {name: row.filter for name, row in FILTERS.items() if name not in PREPARED}
OPERATORS = {
    "identity": Identity(),
    "some": Select((0, 3, 4, 9, 11)),
    "arctan": Pointwise(arctan, Select((1, 4, 5, 8))),
    "wind": WindSpeed(Select((0, 2, 4)), Select((1, 3, 5))),
    "linear": Linear(np.random.default_rng(3).standard_normal((4, SIZE))),
    "callable": lambda states: states[..., :3] ** 2,
}


@pytest.fixture
def prior(rng):
    return rng.standard_normal((MEMBERS, SIZE)) + rng.standard_normal(SIZE)


def observed(operator, prior):
    values = Observation(np.zeros(1), operator, 1.0).operator(prior[1]) + 0.1
    values[1] = np.nan
    position = np.linspace(0, SIZE - 1, len(values))[:, None]
    return Observation(values, operator, np.linspace(0.3, 0.6, len(values)), position)


@pytest.mark.parametrize("method", PREPARED.values(), ids=PREPARED)
def test_predictions_of_the_operator_give_its_analysis_bit_for_bit(method, prior):
    for name in ("some", "arctan"):
        observation = observed(OPERATORS[name], prior)
        whole = observation.part.linear(prior)
        whole[:, 1] = np.nan  # nobody needs to predict what is missing
        expected = method.analyse(prior, observation, 3)
        analysis = method.analyse(prior, observation, 3, predicted=whole)
        np.testing.assert_array_equal(analysis.ensemble, expected.ensemble)
        assert not np.array_equal(analysis.ensemble, prior)


def test_predictions_serve_the_states_of_earlier_cycles(prior):
    observation = observed(OPERATORS["some"], prior)
    first = SMOOTHER.analyse(prior + 1, observation, 3).memory
    expected = SMOOTHER.analyse(prior, observation, 3, first)
    whole = observation.part.linear(prior)
    analysis = SMOOTHER.analyse(prior, observation, 3, first, predicted=whole)
    np.testing.assert_array_equal(analysis.earlier[0], expected.earlier[0])
    assert not np.array_equal(analysis.earlier[0], first.states[0])
    elsewhere = replace(observation, operator=Simulated())
    np.testing.assert_array_equal(
        SMOOTHER.analyse(prior, elsewhere, 3, first, predicted=whole).earlier[0], expected.earlier[0]
    )


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_every_operator_has_its_columns(operator, prior):
    observation = observed(operator, prior)
    whole = observation.part.linear(prior)
    expected = ETKF().analyse(prior, observation, 3).ensemble
    np.testing.assert_array_equal(ETKF().analyse(prior, observation, 3, predicted=whole).ensemble, expected)


@pytest.mark.parametrize("method", WHOLE.values(), ids=WHOLE)
def test_a_filter_that_needs_more_says_so(method, prior):
    observation = observed(OPERATORS["some"], prior)
    with pytest.raises(ValueError, match=r"needs the operator and whole states, not predicted="):
        method.analyse(prior, observation, 3, predicted=prior[:, [0, 3, 4, 9, 11]])


def test_a_simulator_that_nobody_sees(prior, rng):
    """Parameters and predictions: the mean and the covariance of the exact posterior of the sample."""
    matrix = rng.standard_normal((5, SIZE))
    value, error = rng.standard_normal(5), np.linspace(0.5, 1.0, 5)
    observation = Observation(value, Simulated(), error)
    ensemble = ETKF().analyse(prior, observation, 1, predicted=prior @ matrix.T).ensemble
    mean, covariance = kalman_posterior(prior.mean(axis=0), np.cov(prior.T), matrix, np.diag(error**2), value)
    np.testing.assert_allclose(ensemble.mean(axis=0), mean, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(np.cov(ensemble.T), covariance, rtol=1e-9, atol=1e-11)


def test_a_function_of_what_a_simulator_predicts(prior):
    rates = np.exp(prior[:, :3])
    logged = Observation(np.zeros(3), Pointwise(log, Simulated()), 0.5)
    expected = EnKF().analyse(prior, Observation(np.zeros(3), Simulated(), 0.5), 1, predicted=np.log(rates)).ensemble
    np.testing.assert_allclose(EnKF().analyse(prior, logged, 1, predicted=rates).ensemble, expected, rtol=1e-12)


def test_a_local_filter_takes_places_of_observations_and_states(prior):
    places = np.linspace(0, 11, 4)[:, None]
    observation = Observation(np.ones(4), Simulated(), 0.5, places)
    method = LETKF(Localization(Euclidean(), 1.5))
    columns = prior[:, [0, 4, 7, 11]]
    analysis = method.analyse(prior, observation, 1, None, np.arange(12.0)[:, None], columns)
    assert (analysis.ensemble[:, 0] != prior[:, 0]).all()
    assert (
        method.analyse(prior, observation, 1, None, 100.0 + np.arange(12.0)[:, None], columns).ensemble == prior
    ).all()


def test_nothing_observed_is_the_prior(prior):
    nothing = Observation(np.full(3, np.nan), Simulated(), 1.0)
    assert (ETKF().analyse(prior, nothing, 1, predicted=np.full((MEMBERS, 3), np.nan)).ensemble == prior).all()


def test_predictions_that_do_not_fit_are_refused_in_a_sentence(prior):
    observation = Observation(np.zeros(3), Simulated(), 1.0)
    good = prior[:, :3].copy()
    for bad in (good.T, good[:-1], good[:, :2], good[0]):
        with pytest.raises(ValueError, match=r"predicted has shape .* give \(10, 3\), one row per member and one"):
            ETKF().analyse(prior, observation, 1, predicted=bad)
    wind = Observation(np.ones(3), OPERATORS["wind"], 1.0)
    with pytest.raises(ValueError, match=r"give \(10, 6\), one row per member and the columns of WindSpeed"):
        ETKF().analyse(prior, wind, 1, predicted=good)
    good[4, 2] = np.inf
    with pytest.raises(ValueError, match="predicted has inf for observation 2 in member 4: repair or drop that member"):
        ETKF().analyse(prior, observation, 1, predicted=good)
    with pytest.raises(ValueError, match="predicted"):
        ETKF().analyse(prior, observation, 1, predicted=[["a"] * 3] * MEMBERS)
    with pytest.raises(ValueError, match=r"Simulated\(\) are made elsewhere: give analyse predicted="):
        ETKF().analyse(prior, observation, 1)
