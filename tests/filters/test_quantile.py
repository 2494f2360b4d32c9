"""The serial quantile filter: exact scalar posteriors, the Kalman posterior, and what each promise of it means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from exact import kalman_posterior, scalar_posterior
from scipy.special import ndtri

from ensf.arrays import to_numpy
from ensf.filters import ETKF, Kernel, Preparable, QuantileFilter, RankHistogram
from ensf.localization import gaspari_cohn, periodic_line
from ensf.observations import (
    Correlated,
    Identity,
    Laplace,
    Linear,
    Observation,
    Pointwise,
    Poisson,
    Select,
    absolute,
    arctan,
    cube,
    log,
)

MARGINALS = [RankHistogram(), Kernel(1.0), Kernel(0.3)]
FILTERS = [QuantileFilter(marginal=marginal, probit=probit) for marginal in MARGINALS for probit in (False, True)]
every_marginal = pytest.mark.parametrize("marginal", MARGINALS, ids=repr)
every_filter = pytest.mark.parametrize("method", FILTERS, ids=repr)


def analysed(method, prior, observation):
    return method.analyse(prior, observation, None).ensemble


def gaussian_sample(count, mean, deviation):
    """Members at evenly spaced quantiles."""
    return (mean + deviation * ndtri((np.arange(count) + 0.5) / count))[:, None]


# --- one scalar ------------------------------------------------------------------------------------------


@every_marginal
@pytest.mark.parametrize("error", [0.1, 0.7, 3.0])
def test_scalar_gaussian_posterior(marginal, error):
    ensemble = analysed(
        QuantileFilter(marginal=marginal), gaussian_sample(4000, 0.4, 1.3), Observation(np.ones(1), Identity(), error)
    )
    variance = 1 / (1 / 1.3**2 + 1 / error**2)
    mean = variance * (0.4 / 1.3**2 + 1 / error**2)
    assert abs(ensemble.mean() - mean) < 0.003 * variance**0.5
    assert abs(ensemble.var() / variance - 1) < 0.01


@every_marginal
@pytest.mark.parametrize("error", [0.1, 1e-2, 1e-3, 1e-5])
@pytest.mark.parametrize("operator", [Identity(), Pointwise(cube)], ids=repr)
def test_scalar_posterior_of_an_accurate_observation(marginal, error, operator):
    """The nodes follow the likelihood, however narrow it is, through a sensor too."""
    prior = gaussian_sample(400, 0.4, 1.3)
    slope = 1.0 if operator == Identity() else 3 * 0.8**2
    observation = Observation(operator(np.array([0.8])), operator, slope * error)
    ensemble = analysed(QuantileFilter(marginal=marginal), prior, observation)

    def log_density(x):
        return observation.log_likelihood(x[:, None]) - 0.5 * ((x - 0.4) / 1.3) ** 2

    mean, variance = scalar_posterior(log_density, 0.8 - 50 * error, 0.8 + 50 * error)
    assert abs(ensemble.mean() - mean) < 0.02 * variance**0.5
    assert abs(ensemble.var() / variance - 1) < 0.04


@pytest.mark.parametrize("error", [0.1, 0.03, 1e-3, 1e-6])
def test_one_gaussian_is_the_etkf_of_accurate_observations(error, rng):
    """Independent of the number of members; the serial and the symmetric root share mean and covariance."""
    prior = rng.standard_normal((30, 4))
    observation = Observation(np.array([0.3, -0.2, 0.5]), Select([0, 1, 2]), error)
    serial, symmetric = (analysed(method, prior, observation) for method in (QuantileFilter(None, Kernel(1.0)), ETKF()))
    spread = symmetric.std(axis=0, ddof=1)
    np.testing.assert_allclose((serial.mean(axis=0) - symmetric.mean(axis=0)) / spread, 0.0, atol=1e-6)
    np.testing.assert_allclose((np.cov(serial.T) - np.cov(symmetric.T)) / np.outer(spread, spread), 0.0, atol=1e-6)


CASES = {
    "abs": (Observation(np.array([1.2]), Pointwise(absolute), 0.4), lambda x: -0.5 * ((1.2 - abs(x)) / 0.4) ** 2),
    "arctan": (
        Observation(np.array([1.2]), Pointwise(arctan), 0.05),
        lambda x: -0.5 * ((1.2 - np.arctan(x)) / 0.05) ** 2,
    ),
    "Laplace": (Observation(np.array([1.2]), Identity(), Laplace(2**0.5)), lambda x: -abs(1.2 - x)),
}


@every_marginal
@pytest.mark.parametrize("case", CASES)
def test_scalar_posterior_by_quadrature(marginal, case):
    observation, log_likelihood = CASES[case]
    ensemble = analysed(QuantileFilter(marginal=marginal), gaussian_sample(2000, 0.2, 1.0), observation)
    mean, variance = scalar_posterior(lambda x: log_likelihood(x) - 0.5 * (x - 0.2) ** 2, -8, 8)
    assert abs(ensemble.mean() - mean) < 0.01 * variance**0.5
    assert abs(ensemble.var() / variance - 1) < 0.02


def test_both_modes_keep_members():
    """|x| = 1.2 seen with a prior N(0.2, 1): the share on the right is that of the posterior."""
    ensemble = analysed(QuantileFilter(), gaussian_sample(2000, 0.2, 1.0), CASES["abs"][0])
    x = np.linspace(-8, 8, 20001)
    density = np.exp(CASES["abs"][1](x) - 0.5 * (x - 0.2) ** 2)
    assert abs(np.mean(ensemble > 0) - density[x > 0].sum() / density.sum()) < 0.002
    assert np.mean(abs(ensemble) < 0.3) < 0.05


@every_filter
def test_an_observation_that_says_nothing_changes_nothing(method, rng):
    prior = rng.standard_normal((15, 1)) ** 3
    ensemble = analysed(method, prior, Observation(np.zeros(1), Identity(), 1e8))
    np.testing.assert_allclose(ensemble, prior, rtol=1e-10, atol=1e-10)


@every_filter
def test_members_of_an_observed_variable_keep_their_order(method, rng):
    prior = rng.standard_normal((15, 1))
    ensemble = analysed(method, prior, Observation(np.array([3.0]), Identity(), 0.2))
    np.testing.assert_array_equal(np.argsort(ensemble[:, 0]), np.argsort(prior[:, 0]))


@every_marginal
def test_an_accurate_observation_far_away_is_finite_and_followed(marginal, rng):
    prior = rng.standard_normal((15, 1))
    ensemble = analysed(QuantileFilter(marginal=marginal), prior, Observation(np.array([1e4]), Identity(), 1e-3))
    assert np.isfinite(ensemble).all() and ensemble.mean() > 3


# --- many observations -----------------------------------------------------------------------------------


def correlated_sample(rng, count):
    covariance = np.exp(-0.5 * np.abs(np.subtract.outer(np.arange(4), np.arange(4))))
    return rng.standard_normal((count, 4)) @ np.linalg.cholesky(covariance).T + np.arange(4)


MATRIX = np.array([[1.0, 0.5, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0], [0.3, 0.3, 0.3, 0.3]])
SEEN = Observation(np.array([0.4, -0.8, 2.1]), Linear(MATRIX), np.array([0.5, 0.8, 0.3]))


@pytest.mark.parametrize(
    ("marginal", "members", "tolerance"),
    [(Kernel(1.0), 12, 0.01), (RankHistogram(), 4000, 0.03), (Kernel(0.4), 4000, 0.03)],
    ids=repr,
)
def test_kalman_posterior(marginal, members, tolerance, rng):
    """With one Gaussian as marginal for few members too: the ensemble adjustment Kalman filter."""
    prior = correlated_sample(rng, members)
    ensemble = analysed(QuantileFilter(marginal=marginal), prior, SEEN)
    mean, covariance = kalman_posterior(prior.mean(axis=0), np.cov(prior.T), MATRIX, np.diag(SEEN.error**2), SEEN.value)
    scale = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose((ensemble.mean(axis=0) - mean) / scale, 0.0, atol=tolerance)
    np.testing.assert_allclose((np.cov(ensemble.T) - covariance) / np.outer(scale, scale), 0.0, atol=2 * tolerance)


@every_filter
def test_order_of_observations_matters_little(method, rng):
    prior = correlated_sample(rng, 200)
    order = [2, 0, 1]
    other = Observation(SEEN.value[order], Linear(MATRIX[order]), SEEN.error[order])
    first, second = (analysed(method, prior, seen) for seen in (SEEN, other))
    spread = first.std(axis=0)
    np.testing.assert_allclose((first.mean(axis=0) - second.mean(axis=0)) / spread, 0.0, atol=0.15)
    assert np.sqrt(np.mean(((first - second) / spread) ** 2)) < 0.3


def test_missing_is_not_observed(rng):
    prior = correlated_sample(rng, 30)
    holes = Observation(np.array([np.nan, -0.8, np.nan]), Linear(MATRIX), SEEN.error)
    only = Observation(SEEN.value[1:2], Linear(MATRIX[1:2]), SEEN.error[1:2])
    np.testing.assert_array_equal(*(analysed(QuantileFilter(), prior, seen) for seen in (holes, only)))


def test_regression_in_probit_space_follows_a_curved_relation(rng):
    """Lognormal variables, the first one seen: exact in logarithms, where the prior is Gaussian."""
    logs = rng.standard_normal((4000, 2)) @ np.linalg.cholesky([[1.0, 0.9], [0.9, 1.0]]).T
    observation = Observation(np.array([1.5]), Pointwise(log, Select((0,))), 0.5)
    mean, covariance = kalman_posterior(
        logs.mean(axis=0), np.cov(logs.T), np.eye(1, 2), np.array([[0.25]]), observation.value
    )
    ensemble = np.log(analysed(QuantileFilter(probit=True), np.exp(logs), observation))
    np.testing.assert_allclose(ensemble.mean(axis=0), mean, atol=0.02)
    np.testing.assert_allclose(np.cov(ensemble.T), covariance, atol=0.02)
    linear = analysed(QuantileFilter(), np.exp(logs), observation)
    assert np.any(linear[:, 1] < 0)


# --- localization ----------------------------------------------------------------------------------------


@every_marginal
def test_increments_are_tapered(marginal, rng):
    prior = rng.standard_normal((20, 12)) + rng.standard_normal((20, 1))
    observation = Observation(np.array([1.0]), Select((3,)), 0.5)
    whole = analysed(QuantileFilter(marginal=marginal), prior, observation) - prior
    local = analysed(QuantileFilter(periodic_line(12, 2.0), marginal), prior, observation) - prior
    distance = np.minimum(abs(np.arange(12.0) - 3), 12 - abs(np.arange(12.0) - 3))
    np.testing.assert_allclose(local, gaspari_cohn(distance, 2.0) * whole, atol=1e-12)


def test_a_very_wide_localization_is_none(rng):
    prior = rng.standard_normal((20, 12))
    observation = Observation(rng.standard_normal(12), Identity(), 0.7)
    expected = analysed(QuantileFilter(), prior, observation)
    np.testing.assert_allclose(
        analysed(QuantileFilter(periodic_line(12, np.inf)), prior, observation), expected, atol=1e-12
    )


# --- the update ------------------------------------------------------------------------------------------


@every_filter
def test_a_parameter_takes_the_mean_of_the_updates_at_the_places_of_observations(method, rng):
    """Without probit, an entry with these values at each of the places, averaged; in probit space, its scores."""
    local = replace(method, localization=periodic_line(12, 2.0))
    assert isinstance(local, Preparable)
    prior, parameter = rng.standard_normal((9, 12)), rng.standard_normal((9, 1))
    places = np.array([[1.0], [4.0], [9.0]])
    observation = Observation(np.array([0.4, -1.0, 0.2]), Select((1, 4, 9)), 0.5)
    update = local.analyse(prior, observation, rng).update
    found = update.apply(parameter, field="parameter")
    each = update.apply(np.repeat(parameter, 3, axis=1), places, field="parameter")
    if not method.probit:
        np.testing.assert_allclose(found, each.mean(axis=1, keepdims=True), atol=1e-12)
    assert (abs(each - parameter).max(axis=0) > 0.01).any() and (abs(found - parameter) > 1e-3).any()
    everywhere = method.analyse(prior, observation, rng).update
    np.testing.assert_array_equal(everywhere.apply(prior), everywhere.apply(prior, np.arange(12.0)[:, None]))


def test_degrees_of_freedom_of_a_single_observation(rng):
    """One observation takes ``v / (v + error^2)`` where it is, and the taper of that elsewhere."""
    prior = rng.standard_normal((9, 12))
    observation = Observation(np.array([0.4]), Select((3,)), 0.5)
    analysis = QuantileFilter(periodic_line(12, 2.0), Kernel(1.0)).analyse(prior, observation, rng)
    variance = prior[:, 3].var(ddof=1)
    taper = gaspari_cohn(np.array([0.0, 1.0, 3.0]), 2.0)
    taken = analysis.info["degrees_of_freedom"]
    np.testing.assert_allclose(taken[[3, 4, 6]], taper * variance / (variance + 0.25))
    np.testing.assert_array_equal(taken[[8, 9, 10, 11]], 0.0)


@every_filter
def test_what_no_observation_reaches_stays_as_it_is(method, rng):
    prior = (1e5 + rng.standard_normal((9, 12))).astype(np.float32)
    observation = Observation(prior[0, :1] + 1, Select((3,)), 0.5)
    ensemble = analysed(replace(method, localization=periodic_line(12, 1.0)), prior, observation)
    far = [0, 1, 5, 6, 7, 8, 9, 10, 11]
    np.testing.assert_array_equal(ensemble[:, far], prior[:, far])
    assert (ensemble[:, 3] != prior[:, 3]).any()


# --- edges -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("probit", [False, True])
def test_bounds_hold(probit, rng):
    prior = rng.exponential(size=(20, 2))
    prior[:3, 0] = 0.0
    observation = Observation(np.array([-1.0]), Select((0,)), 0.3)
    bounded = analysed(QuantileFilter(marginal=RankHistogram(lower=0.0), probit=probit), prior, observation)
    free = analysed(QuantileFilter(probit=probit), prior, observation)
    assert bounded[:, 0].min() >= -1e-15 and bounded[:, 0].mean() < 0.7 * prior[:, 0].mean()
    assert free[:, 0].min() < 0


@every_filter
def test_variables_without_spread_stay(method, rng):
    prior = rng.standard_normal((9, 3))
    prior[:, 1] = 2.0
    ensemble = analysed(method, prior, Observation(np.zeros(3), Identity(), 1.0))
    np.testing.assert_allclose(ensemble[:, 1], 2.0, atol=1e-12)
    assert np.isfinite(ensemble).all()


@every_filter
def test_equal_members_stay_equal(method):
    prior = np.repeat(np.array([[0.0], [1.0], [1.0], [2.5]]), 2, axis=0)
    ensemble = analysed(method, prior, Observation(np.array([2.0]), Identity(), 0.5))
    if not method.probit:
        np.testing.assert_allclose(ensemble[::2], ensemble[1::2], atol=1e-12)
    assert np.isfinite(ensemble).all()


@pytest.mark.parametrize("operator", [Identity(), Pointwise(arctan)], ids=repr)
@pytest.mark.parametrize(
    "method", [*FILTERS, QuantileFilter(periodic_line(12, 2.0), RankHistogram(-4.0, 4.0))], ids=repr
)
def test_array_code_agrees_with_the_compiled_loop(method, operator, backend, rng):
    prior = (rng.standard_normal((10, 12)) + rng.standard_normal((10, 1))).astype(backend.dtype)
    observation = Observation(operator(prior[1]) + 0.1, operator, 0.4)
    there = Observation(backend.array(observation.value), operator, 0.4)
    ensemble = analysed(method, backend.array(prior), there)
    assert backend.owns(ensemble)
    tolerance = 1e-9 if backend.dtype == "float64" else 2e-3
    np.testing.assert_allclose(to_numpy(ensemble), analysed(method, prior, observation), atol=tolerance)


def test_what_is_refused(rng):
    prior = rng.standard_normal((5, 3))
    with pytest.raises(ValueError, match="independent observation errors"):
        analysed(QuantileFilter(), prior, Observation(np.zeros(3), Identity(), Correlated(np.eye(3))))
    with pytest.raises(ValueError, match="observation 0 has no likelihood"):
        analysed(QuantileFilter(), prior - 100, Observation(np.zeros(3), Identity(), Poisson()))
    with pytest.raises(ValueError, match="bandwidth"):
        Kernel(0.0)
    with pytest.raises(ValueError, match="lower bound"):
        RankHistogram(1.0, 1.0)
