"""ES-MDA: the likelihood in pieces with coefficients of one's own, for a simulator in the loop or elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from exact import kalman_posterior, scalar_posterior

from ensf import ETKF, EnKF, Observation, Simulated, Tempered

PUBLISHED = (9.333, 7.0, 4.0, 2.0)
"""Emerick & Reynolds (2013), Comput. Geosci. 17, 325."""


def linear(rng, members):
    prior = rng.standard_normal((members, 3)) @ np.array([[1.0, 0.3, 0.0], [0.0, 0.8, 0.2], [0.0, 0.0, 1.2]]) + 1.0
    matrix = rng.standard_normal((4, 3))
    return prior, matrix, Observation(rng.standard_normal(4), lambda states: states @ matrix.T, 0.7)


@pytest.mark.parametrize("pieces", [(4.0, 4.0, 4.0, 4.0), PUBLISHED, 3], ids=["equal", "published", "by information"])
def test_a_linear_problem_has_the_exact_posterior_of_the_sample(pieces, rng):
    prior, matrix, observation = linear(rng, 12)
    exact = kalman_posterior(prior.mean(axis=0), np.cov(prior.T), matrix, 0.49 * np.eye(4), observation.value)
    ensemble = Tempered(ETKF(), pieces).analyse(prior, observation, 1).ensemble
    np.testing.assert_allclose(ensemble.mean(axis=0), exact[0], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(np.cov(ensemble.T), exact[1], rtol=1e-8, atol=1e-10)


def test_perturbed_observations_of_many_members_have_the_exact_posterior(rng):
    prior, matrix, observation = linear(rng, 20_000)
    exact = kalman_posterior(prior.mean(axis=0), np.cov(prior.T), matrix, 0.49 * np.eye(4), observation.value)
    ensemble = Tempered(EnKF(), PUBLISHED).analyse(prior, observation, 1).ensemble
    np.testing.assert_allclose(ensemble.mean(axis=0), exact[0], atol=0.01)  # sampling: spread / 140
    np.testing.assert_allclose(np.cov(ensemble.T), exact[1], atol=0.01)


def flow(rate):
    return rate + 0.15 * rate**2


@pytest.mark.parametrize("filter", [EnKF(), ETKF()], ids=["EnKF", "ETKF"])
def test_a_nonlinear_simulator_against_quadrature(filter, rng):
    """More pieces come nearer to the posterior, which none of them reaches: it is not Gaussian, and weights are."""
    prior = rng.standard_normal((500, 1))
    prior = (prior - prior.mean()) / prior.std()
    observation = Observation(np.array([3.0]), flow, 0.3)
    mean, variance = scalar_posterior(lambda x: -0.5 * x**2 - 0.5 * ((3.0 - flow(x)) / 0.3) ** 2, -4, 4)
    off, wide = {}, {}
    for pieces in (1, 4, 16):
        ensemble = Tempered(filter, (float(pieces),) * pieces).analyse(prior, observation, 1).ensemble
        off[pieces], wide[pieces] = abs(ensemble.mean() - mean), ensemble.std() / variance**0.5
    assert off[4] < 0.2 * off[1] and off[16] < 0.05
    assert wide[1] > 1.5 and wide[4] < 1.3 and wide[16] < 1.12


def test_the_loop_is_ones_own(rng):
    """With a simulator elsewhere: the same members, bit for bit."""
    prior = rng.standard_normal((20, 1))
    for pieces in (PUBLISHED, 4):
        method = Tempered(EnKF(), pieces)
        expected = method.analyse(prior, Observation(np.array([3.0, 2.0]), double, 0.3), 5).ensemble
        observation, stream = Observation(np.array([3.0, 2.0, np.nan]), Simulated(), 0.3), np.random.default_rng(5)
        ensemble, predicted = prior, with_a_gap(prior)
        for weight in method.weights(predicted, observation):
            piece = observation.tempered(weight)
            ensemble = method.filter.analyse(ensemble, piece, stream, predicted=predicted).ensemble
            predicted = with_a_gap(ensemble)
        np.testing.assert_array_equal(ensemble, expected)


def double(rates):
    return np.concatenate([flow(rates), np.sin(rates)], axis=-1)


def with_a_gap(rates):
    return np.concatenate([double(rates), np.full_like(rates, np.nan)], axis=-1)


@pytest.mark.parametrize(
    "bad",
    [(), (4.0, 4.0), (0.0, 1.0), (-1.0, 0.5), (np.nan, 1.0), (2.0, 3.0)],
    ids=["none", "1/2", "0", "-1", "nan", "5/6"],
)
def test_coefficients_that_do_not_sum_to_1_are_refused(bad):
    with pytest.raises(ValueError, match=r"1 / alpha of the coefficients .* give positive ones whose sum is 1"):
        Tempered(EnKF(), bad)
