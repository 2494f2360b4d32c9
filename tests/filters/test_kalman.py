"""Kalman filters against the exact posterior; particle filter and fixed-gain MAP against theirs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import xarray as xr
from exact import kalman_posterior, scalar_posterior
from hypothesis import given
from hypothesis import strategies as st

from ensf.arrays import to_numpy
from ensf.filters import ETKF, LETKF, EnKF, FixedGainMAP, ParticleFilter
from ensf.filters.kalman import local_transform as letkf
from ensf.localization import Euclidean, Localization, gaspari_cohn, periodic_line
from ensf.observations import (
    Callback,
    Correlated,
    Gaussian,
    Identity,
    Laplace,
    Linear,
    Observation,
    Operator,
    Pointwise,
    Poisson,
    Select,
    WindSpeed,
    absolute,
    arctan,
    exponential,
    square,
)

FILTERS = [
    EnKF(),
    ETKF(),
    LETKF(periodic_line(12, 2.5)),
    ParticleFilter(),
    ParticleFilter(0.2),
    FixedGainMAP(),
]
TRANSFORMS = [ETKF(), LETKF(periodic_line(12, 2.5))]


def name(value):
    return type(value).__name__


@dataclass(frozen=True)
class Problem:
    """A random linear Gaussian problem."""

    prior: np.ndarray
    matrix: np.ndarray
    error_covariance: np.ndarray
    value: np.ndarray

    @property
    def observation(self):
        return Observation(self.value, Linear(self.matrix), Correlated(self.error_covariance))

    @property
    def posterior(self):
        covariance = np.atleast_2d(np.cov(self.prior.T))
        return kalman_posterior(self.prior.mean(axis=0), covariance, self.matrix, self.error_covariance, self.value)


@st.composite
def problems(draw):
    members, state, observations = (draw(st.integers(low, 12)) for low in (2, 1, 1))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    root = rng.standard_normal((observations, observations))
    return Problem(
        3 + rng.standard_normal((members, state)) @ rng.standard_normal((state, state)),
        rng.standard_normal((observations, state)),
        root @ root.T + 0.1 * np.eye(observations),
        3 * rng.standard_normal(observations),
    )


def analysed(filter, prior, observation, seed=0, positions=None):
    return filter.analyse(prior, observation, np.random.default_rng(seed), None, positions).ensemble


def moments(ensemble):
    return ensemble.mean(axis=0), np.atleast_2d(np.cov(ensemble.T))


def assert_close(actual, expected, tolerance=1e-10):
    """Equal up to a tolerance relative to the largest value."""
    actual, expected = to_numpy(actual), to_numpy(expected)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * max(1.0, np.abs(expected).max()))


@pytest.fixture
def prior(rng):
    return 1 + rng.standard_normal((6, 12)) @ rng.standard_normal((12, 12))


def observe(backend, rng, operator=None, size=12, error=0.7):
    return Observation(backend.array(rng.standard_normal(size)), operator or Identity(), error)


# --- exact posterior -------------------------------------------------------------------------------------


@given(problems())
def test_etkf_is_exact(problem):
    mean, covariance = moments(analysed(ETKF(), problem.prior, problem.observation))
    expected_mean, expected_covariance = problem.posterior
    assert_close(mean, expected_mean)
    assert_close(covariance, expected_covariance)


@given(problems())
def test_enkf_mean_is_exact(problem):
    """Centred perturbations leave no sampling error in the mean."""
    assert_close(analysed(EnKF(), problem.prior, problem.observation).mean(axis=0), problem.posterior[0])


@pytest.mark.parametrize("observations", [2, 6])
def test_enkf_covariance_is_right_on_average(observations, rng):
    """Both systems, that of the members (6 observations) and that of the observations (2)."""
    matrix, root = rng.standard_normal((observations, 3)), rng.standard_normal((observations, observations))
    error = root @ root.T + 0.5 * np.eye(observations)
    problem = Problem(rng.standard_normal((4, 3)), matrix, error, rng.standard_normal(observations))
    observation = problem.observation
    draws = [moments(analysed(EnKF(), problem.prior, observation, seed))[1] for seed in range(4000)]
    standard_error = np.std(draws, axis=0) / np.sqrt(len(draws))
    assert np.all(np.abs(np.mean(draws, axis=0) - problem.posterior[1]) < 4.5 * standard_error)


def test_enkf_converges_to_the_posterior_with_many_members(rng):
    matrix = np.array([[1.0, 0.5, 0.0], [0.0, 0.0, 2.0]])
    problem = Problem(rng.standard_normal((40000, 3)), matrix, np.diag([0.25, 1.0]), np.array([1.0, -1.0]))
    mean, covariance = moments(analysed(EnKF(), problem.prior, problem.observation))
    exact_mean, exact_covariance = kalman_posterior(
        np.zeros(3), np.eye(3), matrix, problem.error_covariance, problem.value
    )
    assert_close(mean, exact_mean, 0.03)
    assert_close(covariance, exact_covariance, 0.03)


@given(problems())
def test_unbounded_letkf_equals_etkf(problem):
    deviation = np.sqrt(np.diag(problem.error_covariance))
    count = len(deviation)
    observation = Observation(problem.value, Linear(problem.matrix), deviation, np.zeros((count, 1)))
    local = LETKF(Localization(Euclidean(), np.inf))
    assert_close(analysed(local, problem.prior, observation), analysed(ETKF(), problem.prior, observation))


def test_unbounded_letkf_equals_etkf_everywhere(backend, prior, rng):
    given, observation = backend.array(prior), observe(backend, rng)
    local = LETKF(periodic_line(12, np.inf))
    assert_close(analysed(local, given, observation), analysed(ETKF(), given, observation), backend.tolerance)


def local_posterior(prior, observation, weight, variable):
    """Mean and variance of one variable from the observations with positive weight, their errors enlarged."""
    near = np.flatnonzero(weight)
    matrix = np.eye(prior.shape[1])[np.asarray(observation.operator.index)[near]]
    error = np.diag(observation.error[near] ** 2 / weight[near])
    mean, covariance = kalman_posterior(*moments(prior), matrix, error, observation.value[near])
    return mean[variable], covariance[variable, variable]


@pytest.mark.parametrize("levels", [1, 2])
def test_letkf_is_the_exact_posterior_at_every_place(levels, rng):
    place = rng.uniform(0, 10, (9, 2))
    positions = np.concatenate([place] * levels)
    prior = rng.standard_normal((5, 9 * levels)) @ rng.standard_normal((9 * levels, 9 * levels))
    index = (0, 3, 4, 7, 8)
    observation = Observation(rng.standard_normal(5), Select(index), rng.uniform(0.5, 2, 5))
    local = LETKF(Localization(Euclidean(), 2.0))
    ensemble = analysed(local, prior, observation, positions=positions)
    distance = np.linalg.norm(positions[:, None] - place[list(index)], axis=-1)
    for i, weight in enumerate(gaspari_cohn(distance, 2.0)):
        mean, variance = local_posterior(prior, observation, weight, i)
        assert_close(ensemble[:, i].mean(), mean)
        assert_close(ensemble[:, i].var(ddof=1), variance)


def test_letkf_leaves_the_prior_far_from_observations(backend, prior, rng):
    given = backend.array(prior)
    ensemble = to_numpy(analysed(LETKF(periodic_line(12, 1.5)), given, observe(backend, rng, Select((3,)), 1)))
    far = [0, 6, 7, 8, 9, 10, 11]
    assert_close(ensemble[:, far], prior[:, far], backend.tolerance)
    assert np.abs(ensemble[:, 1:6] - prior[:, 1:6]).max(axis=0).min() > 1e-6


# --- the two ways of computing a local analysis ----------------------------------------------------------


def test_array_code_equals_the_compiled_loop(backend, rng, monkeypatch):
    monkeypatch.setattr(letkf, "BLOCK", 700)
    place = rng.uniform(0, 10, (15, 1))
    filter, positions = LETKF(Localization(Euclidean(), 1.5)), np.concatenate([place, place])
    prior = rng.standard_normal((5, 30))
    value, error = rng.standard_normal(20), rng.uniform(0.5, 2, 20)
    operator = Select(tuple(range(4, 24)))
    expected = filter.analyse(prior, Observation(value, operator, error), rng, None, positions)
    given = Observation(backend.array(value), operator, backend.array(error))
    analysis = filter.analyse(backend.array(prior), given, rng, None, positions)
    assert backend.owns(analysis.ensemble)
    assert_close(analysis.ensemble, expected.ensemble, backend.tolerance)
    freedom = analysis.info["degrees_of_freedom"]
    assert_close(freedom, expected.info["degrees_of_freedom"], backend.tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parallel_loop_equals_the_serial_one(dtype, rng, monkeypatch):
    prior = rng.standard_normal((5, 50)).astype(dtype)
    observation = Observation(rng.standard_normal(50).astype(dtype), Identity(), 0.5)
    filter = LETKF(periodic_line(50, 3.0))
    serial = analysed(filter, prior, observation)
    monkeypatch.setattr(letkf, "SMALL", 0)
    parallel = analysed(filter, prior, observation)
    assert parallel.dtype == dtype
    np.testing.assert_array_equal(parallel, serial)


def test_degrees_of_freedom_of_a_single_observation():
    """One observation with weight 1 takes ``v / (v + error^2)``."""
    prior = np.array([[0.0, 1.0], [2.0, 4.0], [4.0, 1.0]])
    observation = Observation(np.array([1.0]), Select((0,)), 2.0)
    for filter in (ETKF(), LETKF(periodic_line(2, np.inf))):
        info = filter.analyse(prior, observation, np.random.default_rng()).info
        np.testing.assert_allclose(info["degrees_of_freedom"], 0.5)


# --- operators -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("filter", [EnKF(), ETKF(), LETKF(periodic_line(12, 2.5))], ids=name)
def test_operators_that_mean_the_same_agree(filter, prior, rng):
    index, value = (1, 4, 7), rng.standard_normal(3)
    matrix = np.eye(12)[list(index)]
    position = np.asarray(index, dtype=float)[:, None]
    expected = analysed(filter, prior, Observation(value, Select(index), 0.5))
    for operator in (
        Linear(matrix),
        Linear(scipy.sparse.csr_array(matrix)),
        Pointwise(lambda x: x, Select(index)),
        Callback(lambda x: x[..., list(index)], None),
    ):
        assert_close(analysed(filter, prior, Observation(value, operator, 0.5, position)), expected)


def test_nonlinear_operator_is_regressed_on_the_ensemble(prior, rng):
    """As if h(x) were a further, directly observed state variable."""
    predicted = prior[:, :3] ** 2
    value = rng.uniform(0, 3, 3)
    extended = analysed(
        ETKF(), np.concatenate([prior, predicted], axis=1), Observation(value, Select((12, 13, 14)), 0.5)
    )
    nonlinear = analysed(ETKF(), prior, Observation(value, Pointwise(square, Select((0, 1, 2))), 0.5))
    assert_close(nonlinear, extended[:, :12])


@pytest.mark.parametrize(
    "operator",
    [Pointwise(arctan, Select((2, 5))), WindSpeed(Select((2, 5)), Select((14, 17)))],
    ids=name,
)
def test_places_follow_from_the_operator(operator, rng):
    column, positions = Localization(Euclidean(), 2.0), np.tile(np.arange(12.0), 2)[:, None]
    prior, value = rng.standard_normal((4, 24)), np.array([0.3, 0.9])
    implied = analysed(LETKF(column), prior, Observation(value, operator, 0.5), positions=positions)
    located = Observation(value, operator, 0.5, np.array([[2.0], [5.0]]))
    given = analysed(LETKF(column), prior, located, positions=positions)
    np.testing.assert_array_equal(implied, given)
    assert np.abs(implied - prior).max() > 0.01


# --- missing observations --------------------------------------------------------------------------------


@pytest.mark.parametrize("filter", FILTERS, ids=name)
def test_missing_observations_are_the_smaller_problem(filter, backend, prior, rng):
    value = rng.standard_normal(12)
    kept = np.array([0, 2, 3, 7, 11])
    full = np.full(12, np.nan)
    full[kept] = value[kept]
    error = rng.uniform(0.5, 2.0, 12)
    given = backend.array(prior)
    missing = Observation(backend.array(full), Identity(), backend.array(error))
    smaller = Observation(backend.array(value[kept]), Select(tuple(kept)), backend.array(error[kept]))
    assert_close(analysed(filter, given, missing), analysed(filter, given, smaller), backend.tolerance)


@pytest.mark.parametrize("filter", [EnKF(), ETKF()], ids=name)
def test_missing_correlated_observations(filter, prior, rng):
    root = rng.standard_normal((4, 4))
    matrix, value = root @ root.T + np.eye(4), np.array([0.3, np.nan, 1.0, -2.0])
    missing = Observation(value, Select((0, 3, 5, 7)), Correlated(matrix))
    kept = np.ix_([0, 2, 3], [0, 2, 3])
    smaller = Observation(value[[0, 2, 3]], Select((0, 5, 7)), Correlated(matrix[kept]))
    assert_close(analysed(filter, prior, missing), analysed(filter, prior, smaller))


@pytest.mark.parametrize("filter", FILTERS, ids=name)
def test_without_observations_the_prior_is_returned(filter, prior):
    observation = Observation(np.full(12, np.nan), Identity(), 1.0)
    analysis = filter.analyse(prior, observation, np.random.default_rng())
    np.testing.assert_array_equal(analysis.ensemble, prior)
    assert analysis.memory is None


# --- arrays, purity, symmetry ----------------------------------------------------------------------------


@pytest.mark.parametrize("filter", FILTERS, ids=name)
@pytest.mark.parametrize("operator", [Identity(), Select((1, 2, 6, 9)), Pointwise(arctan)], ids=name)
def test_array_and_dtype_are_kept(filter, operator, backend, prior, rng):
    value = rng.standard_normal(4 if isinstance(operator, Select) else 12)
    here = Observation(backend.array(value), operator, 0.7)
    result = analysed(filter, backend.array(prior), here)
    assert backend.owns(result)
    if backend.dtype == "float64":
        assert_close(result, analysed(filter, prior, Observation(value, operator, 0.7)))


@pytest.mark.parametrize("filter", [EnKF(), ETKF()], ids=name)
def test_full_error_covariance_on_every_backend(filter, backend, prior, rng):
    root = rng.standard_normal((12, 12))
    matrix, value = root @ root.T + np.eye(12), rng.standard_normal(12)
    here = Observation(backend.array(value), Identity(), Correlated(backend.array(matrix)))
    result = analysed(filter, backend.array(prior), here)
    assert backend.owns(result)
    if isinstance(filter, ETKF):
        mean, _ = kalman_posterior(*moments(prior), np.eye(12), matrix, value)
        assert_close(to_numpy(result).mean(axis=0), mean, backend.tolerance)


@pytest.mark.parametrize("filter", FILTERS, ids=name)
def test_float32_prior_with_float64_observation_stays_float32(filter, prior, rng):
    observation = Observation(rng.standard_normal(12), Identity(), np.full(12, 0.7))
    assert analysed(filter, prior.astype("float32"), observation).dtype == np.float32


@pytest.mark.parametrize("filter", FILTERS, ids=name)
def test_arguments_are_not_changed(filter, prior, rng):
    observation = Observation(rng.standard_normal(12), Identity(), np.full(12, 0.7))
    given = (prior, observation.value, observation.error)
    before = [array.copy() for array in given]
    for array in given:
        array.flags.writeable = False
    result = analysed(filter, prior, observation)
    assert not any(np.shares_memory(result, array) for array in given)
    for array, copy in zip(given, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("filter", FILTERS, ids=name)
def test_same_stream_same_analysis(filter, prior, rng):
    observation = Observation(rng.standard_normal(12), Identity(), 0.7)
    np.testing.assert_array_equal(analysed(filter, prior, observation), analysed(filter, prior, observation))


@pytest.mark.parametrize("filter", TRANSFORMS, ids=name)
def test_order_of_members_does_not_matter(filter, prior, rng):
    observation = Observation(rng.standard_normal(12), Identity(), 0.7)
    order = rng.permutation(6)
    assert_close(analysed(filter, prior[order], observation), analysed(filter, prior, observation)[order])


@pytest.mark.parametrize("filter", [EnKF(), *TRANSFORMS], ids=name)
def test_units_do_not_matter(filter, prior, rng):
    value = rng.standard_normal(12)
    scaled = analysed(filter, 1e3 * prior, Observation(1e3 * value, Identity(), 700.0))
    assert_close(scaled / 1e3, analysed(filter, prior, Observation(value, Identity(), 0.7)), 1e-9)


@pytest.mark.parametrize("filter", [EnKF(), *TRANSFORMS], ids=name)
def test_large_mean_does_not_spoil_float32(filter, prior, rng):
    """Anomalies, not values, are multiplied: a mean of 1e4 costs its own rounding only."""
    value = rng.standard_normal(12)
    expected = analysed(filter, prior, Observation(value, Identity(), 0.7)) + 1e4
    single = (prior + 1e4).astype("float32")
    result = analysed(filter, single, Observation((value + 1e4).astype("float32"), Identity(), 0.7), seed=0)
    if not isinstance(filter, EnKF):
        np.testing.assert_allclose(result, expected, rtol=0, atol=0.02)
    np.testing.assert_allclose(result.mean(axis=0), expected.mean(axis=0), rtol=0, atol=0.02)


# --- particle filter -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("function", "value"), [(arctan, 1.0), (absolute, 0.8), (square, 2.0)])
def test_particle_filter_samples_the_scalar_posterior(function, value, rng):
    prior = rng.standard_normal((100000, 1))
    observation = Observation(np.array([value]), Pointwise(function), 0.3)
    ensemble = analysed(ParticleFilter(), prior, observation)
    mean, variance = scalar_posterior(lambda x: -(x**2) / 2 + observation.log_likelihood(x[:, None]), -8.0, 8.0)
    np.testing.assert_allclose([ensemble.mean(), ensemble.var()], [mean, variance], atol=0.02)


def test_systematic_resampling_copies_in_proportion():
    weight = np.array([0.05, 0.3, 0.0, 0.65])
    operator = Callback(
        lambda x: np.sqrt(-2 * np.log(np.maximum(weight, 1e-300)))[x[..., 0].astype(int)][:, None], None
    )
    observation = Observation(np.zeros(1), operator, 1.0)
    copies = []
    for seed in range(2000):
        ensemble = analysed(ParticleFilter(), np.arange(4.0)[:, None], observation, seed)
        copies.append(np.bincount(ensemble[:, 0].astype(int), minlength=4))
    assert np.all(np.abs(copies - 4 * weight) < 1)
    np.testing.assert_allclose(np.mean(copies, axis=0), 4 * weight, atol=0.05)


def test_effective_sample_size(rng):
    prior = rng.standard_normal((50, 2))
    vague = ParticleFilter().analyse(prior, Observation(np.zeros(2), Identity(), 1e6), rng)
    sharp = ParticleFilter().analyse(prior, Observation(np.full(2, 1e3), Identity(), 1e-3), rng)
    np.testing.assert_allclose(vague.info["effective_sample_size"], 50)
    np.testing.assert_allclose(sharp.info["effective_sample_size"], 1)
    assert np.unique(sharp.ensemble, axis=0).shape == (1, 2)


def test_jitter_adds_noise_with_the_covariance_of_the_ensemble(rng):
    prior = rng.standard_normal((20000, 2)) @ np.array([[2.0, 1.0], [0.0, 0.5]])
    observation = Observation(np.array([1.0]), Select((0,)), 1.0)
    jittered = ParticleFilter(0.5).analyse(prior[:2000], observation, rng).ensemble
    mean, covariance = kalman_posterior(np.zeros(2), np.cov(prior.T), np.eye(1, 2), np.eye(1), np.ones(1))
    assert_close(jittered.mean(axis=0), mean, 0.1)
    assert_close(np.cov(jittered.T), 1.25 * covariance, 0.1)


def test_degrees_of_freedom_are_what_the_weights_took():
    """log(J sum w^2): none for equal weights, log J where one member has all."""
    prior, places = np.arange(50.0)[:, None], np.zeros((3, 1))
    for error, taken in ((1e6, 0.0), (1e-3, np.log(50))):
        update = ParticleFilter().analyse(prior, Observation(np.array([7.0]), Identity(), error), 1).update
        np.testing.assert_allclose(update.degrees_of_freedom(places), taken, atol=1e-9)


def test_impossible_observation_is_refused(rng):
    nowhere = Observation(np.array([1.0]), Callback(lambda x: -x[..., :1], None), Poisson())
    with pytest.raises(ValueError, match="likelihood"):
        analysed(ParticleFilter(), 1 + rng.random((3, 1)), nowhere)


# --- fixed-gain MAP --------------------------------------------------------------------------------------


def perturbed(observation, members, seed=0):
    """The observations that the filter gives to its members."""
    noise = observation.law.noise((members, observation.size), observation.value, np.random.default_rng(seed))
    return observation.value + noise


def test_fixed_gain_is_a_nudging_for_linear_observations(prior, rng):
    observation = Observation(rng.standard_normal(3), Select((1, 4, 7)), 0.3)
    gain = 0.5**2 / (0.5**2 + 0.3**2)
    expected = prior.copy()
    expected[:, [1, 4, 7]] += gain * (perturbed(observation, 6) - prior[:, [1, 4, 7]])
    for steps in (1, 4):
        assert_close(analysed(FixedGainMAP(0.5, steps), prior, observation), expected)


def test_fixed_gain_of_a_variable_that_is_observed_twice(rng):
    """Two observations of error e are one of error e / sqrt(2), of their mean."""
    prior = rng.standard_normal((6, 4))
    observation = Observation(rng.standard_normal(3), Select((2, 0, 2)), 0.3)
    values, gain = perturbed(observation, 6), 0.5**2 / (0.5**2 + 0.3**2 / 2)
    ensemble = analysed(FixedGainMAP(0.5), prior, observation)
    assert_close(ensemble[:, 2], prior[:, 2] + gain * (values[:, [0, 2]].mean(axis=1) - prior[:, 2]))
    np.testing.assert_array_equal(ensemble[:, [1, 3]], prior[:, [1, 3]])


@pytest.mark.parametrize("error", [1e-3, 1e-8, 1e-12])
def test_fixed_gain_does_not_go_astray_where_a_function_saturates(error, prior):
    truth = np.linspace(-1.2, 1.2, 12)
    observation = Observation(np.arctan(truth), Pointwise(arctan), error)
    ensemble = analysed(FixedGainMAP(0.35, 40), prior, observation)
    assert np.abs(ensemble - prior).max() <= 30 * 0.35


def test_fixed_gain_leaves_other_fields(prior, rng):
    update = FixedGainMAP().analyse(prior, Observation(rng.standard_normal(12), Identity(), 0.5), rng).update
    np.testing.assert_array_equal(update.apply(prior, field="depth"), prior)


class _Squared(Operator):
    """Reads single variables, but not as they are, and does not say what its linear part is."""

    def __call__(self, states):
        return states[..., :3] ** 2

    def entries(self, size):
        return np.arange(3)


def test_fixed_gain_does_not_take_a_function_for_the_variable(prior):
    with pytest.raises(ValueError, match="single variables"):
        analysed(FixedGainMAP(), prior, Observation(np.ones(3), _Squared(), 0.5))


@pytest.mark.parametrize("function", [arctan, exponential])
def test_fixed_gain_map_is_a_stationary_point(function, rng):
    prior = 0.5 * rng.standard_normal((40, 6))
    observation = Observation(function(0.3 * rng.standard_normal(6)), Pointwise(function), 0.2)
    x = analysed(FixedGainMAP(0.35, 40), prior, observation)
    residual = perturbed(observation, 40) - function(x)
    gradient = (x - prior) / 0.35**2 - function.slope(x) * residual / 0.2**2
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


# --- errors ----------------------------------------------------------------------------------------------


def test_particle_filter_takes_any_error_law(prior):
    assert analysed(ParticleFilter(), prior, Observation(np.zeros(12), Identity(), Laplace(1.0))).shape == (
        6,
        12,
    )


LINE = LETKF(periodic_line(12, 2.5))
FULL = Correlated(np.eye(12))


@pytest.mark.parametrize(
    ("filter", "observation", "message"),
    [
        (ETKF(), Observation(np.zeros(3), Identity(), 1.0), "predicts 12 observations but 3"),
        (EnKF(), Observation(np.zeros(12), Identity(), Laplace(1.0)), "Gaussian"),
        (ETKF(), Observation(np.zeros(12), Pointwise(lambda x: x / 0.0), 1.0), "predicted as"),
        (LINE, Observation(np.zeros(2), Linear(np.eye(2, 12)), 1.0), "position"),
        (LINE, Observation(np.zeros(1), WindSpeed(Select((0,)), Select((1,))), 1.0), "position"),
        (FixedGainMAP(), Observation(np.zeros(2), Linear(np.eye(2, 12)), 1.0), "single variables"),
        (FixedGainMAP(), Observation(np.zeros(12), Identity(), FULL), "single variables"),
        (ParticleFilter(), Observation(np.zeros(3), Identity(), 1.0), "predicts 12 observations but 3"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_errors_say_what_is_wrong(filter, observation, message, prior):
    with pytest.raises(ValueError, match=message):
        analysed(filter, prior, observation)


@pytest.mark.parametrize("filter", FILTERS, ids=name)
def test_positions_that_do_not_fit_are_refused(filter, prior):
    with pytest.raises(ValueError, match=r"shape \(7, 1\) but the prior has 12 variables"):
        analysed(filter, prior, Observation(np.zeros(12), Identity(), 1.0), positions=np.zeros((7, 1)))
    for positions in (np.zeros(12), 3.0, np.zeros((12, 1, 1)), range(12)):
        with pytest.raises(ValueError, match="positions have shape .* one row of coordinates for each"):
            analysed(filter, prior, Observation(np.zeros(12), Identity(), 1.0), positions=positions)
    with pytest.raises(ValueError, match="positions has dtype <U1: give numbers, not text"):
        analysed(filter, prior, Observation(np.zeros(12), Identity(), 1.0), positions=[["a"]] * 12)


@pytest.mark.parametrize("filter", FILTERS, ids=name)
def test_positions_in_any_form(filter, prior):
    places, observation = np.arange(12)[:, None], Observation(np.zeros(4), Select(range(0, 12, 3)), 1.0)
    wanted = analysed(filter, prior, observation, positions=places.astype(float))
    for form in (places, places.tolist(), pd.DataFrame(places), xr.DataArray(places)):
        np.testing.assert_array_equal(analysed(filter, prior, observation, positions=form), wanted)


@pytest.mark.parametrize("filter", FILTERS, ids=name)
def test_nan_in_the_prior_is_named(filter, prior):
    prior[2, 5] = np.nan
    with pytest.raises(ValueError, match="member 2 .* variable 5"):
        analysed(filter, prior, Observation(np.zeros(12), Identity(), Gaussian(1.0)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: ParticleFilter(-1.0),
        lambda: ParticleFilter(np.inf),
        lambda: FixedGainMAP(0.0),
        lambda: FixedGainMAP(np.inf),
        lambda: FixedGainMAP(1.0, 0),
    ],
)
def test_impossible_settings_are_refused(make):
    with pytest.raises(ValueError, match="give"):
        make()
