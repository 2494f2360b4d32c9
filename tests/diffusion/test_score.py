"""Every prior score is the gradient of the log density that it names."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from ensf.arrays import to_numpy
from ensf.diffusion import (
    FunctionScore,
    GaussianMixture,
    GaussianScore,
    KernelDensityScore,
    MiniBatchScore,
    MixtureScore,
    PairedScore,
)
from ensf.diffusion.prior_scores import principal_axes

SCORES = [PairedScore(), MixtureScore(), MiniBatchScore(100), GaussianScore(), KernelDensityScore()]
ALPHA, VARIANCE = 0.7, 0.4


def name(score):
    return type(score).__name__


def evaluate(score, z, prior, alpha=ALPHA, variance=VARIANCE, seed=0):
    return score.fit(prior, np.random.default_rng(seed))(z, alpha, variance)


def gradient(function, point, step=1e-5):
    """Central differences of a scalar function at one point."""
    shifts = step * np.eye(len(point))
    return np.array([(function(point + shift) - function(point - shift)) / (2 * step) for shift in shifts])


def log_paired(z, prior, i):
    return multivariate_normal.logpdf(z, ALPHA * prior[i], VARIANCE * np.eye(len(z)))


def log_mixture(z, prior, i):
    return logsumexp(-((z - ALPHA * prior) ** 2).sum(axis=1) / (2 * VARIANCE))


def log_gaussian(z, prior, i):
    covariance = ALPHA**2 * np.cov(prior.T) + VARIANCE * np.eye(len(z))
    return multivariate_normal.logpdf(z, ALPHA * prior.mean(axis=0), covariance)


def log_kernel(z, prior, i):
    members, state = prior.shape
    width = np.sqrt(prior.var(axis=0, ddof=1).mean()) * (4 / ((state + 2) * members)) ** (1 / (state + 4))
    return logsumexp(-((z - ALPHA * prior) ** 2).sum(axis=1) / (2 * (VARIANCE + (ALPHA * width) ** 2)))


DENSITIES = {
    "KernelDensityScore": log_kernel,
    "PairedScore": log_paired,
    "MixtureScore": log_mixture,
    "MiniBatchScore": log_mixture,
    "GaussianScore": log_gaussian,
}


@pytest.fixture
def prior(rng):
    return rng.standard_normal((7, 3)) @ np.array([[1.0, 0.5, 0], [0, 2, 0.3], [0, 0, 0.4]]) + [1.0, -2, 0.5]


@pytest.mark.parametrize("score", SCORES, ids=name)
def test_score_is_the_gradient_of_its_log_density(score, prior, rng):
    z = rng.standard_normal(prior.shape)
    log_density = DENSITIES[name(score)]
    expected = [gradient(lambda point, i=i: log_density(point, prior, i), z[i]) for i in range(len(z))]
    np.testing.assert_allclose(evaluate(score, z, prior), expected, rtol=1e-6, atol=1e-7)


def test_gaussian_score_of_fewer_members_than_variables(rng):
    prior, z = rng.standard_normal((4, 10)), rng.standard_normal((4, 10))
    covariance = ALPHA**2 * np.cov(prior.T) + VARIANCE * np.eye(10)
    expected = -np.linalg.solve(covariance, (z - ALPHA * prior.mean(axis=0)).T).T
    np.testing.assert_allclose(evaluate(GaussianScore(), z, prior), expected, rtol=1e-10)


@pytest.mark.parametrize("shape", [(4, 10), (10, 4), (5, 5)])
def test_principal_axes_rebuild_the_covariance(shape, rng):
    prior = rng.standard_normal(shape)
    mean, axes, variances = principal_axes(prior)
    assert axes.shape == (min(shape[0] - 1, shape[1]), shape[1])
    np.testing.assert_allclose(mean, prior.mean(axis=0), atol=1e-14)
    np.testing.assert_allclose((axes.T * variances) @ axes, np.cov(prior.T), atol=1e-12)
    np.testing.assert_allclose(axes @ axes.T, np.eye(len(axes)), atol=1e-12)


@pytest.mark.parametrize("score", SCORES[1:], ids=name)
def test_order_of_members_does_not_matter(score, prior, rng):
    z, shuffled = rng.standard_normal(prior.shape), rng.permutation(prior)
    np.testing.assert_allclose(evaluate(score, z, shuffled), evaluate(score, z, prior), atol=1e-12)


def test_paired_score_follows_its_member(prior, rng):
    z, order = rng.standard_normal(prior.shape), rng.permutation(len(prior))
    expected = evaluate(PairedScore(), z, prior)[order]
    np.testing.assert_array_equal(evaluate(PairedScore(), z[order], prior[order]), expected)


@pytest.mark.parametrize("score", SCORES, ids=name)
def test_translation(score, prior, rng):
    z, shift = rng.standard_normal(prior.shape), np.array([30.0, -50, 7])
    moved = evaluate(score, z + ALPHA * shift, prior + shift)
    np.testing.assert_allclose(moved, evaluate(score, z, prior), atol=1e-10)


@pytest.mark.parametrize("score", SCORES, ids=name)
def test_change_of_units(score, prior, rng):
    z, unit = rng.standard_normal(prior.shape), 1000.0
    scaled = evaluate(score, unit * z, unit * prior, variance=VARIANCE * unit**2)
    np.testing.assert_allclose(scaled * unit, evaluate(score, z, prior), rtol=1e-9)


@pytest.mark.parametrize("score", SCORES, ids=name)
def test_rotation(score, prior, rng):
    z, rotation = rng.standard_normal(prior.shape), np.linalg.qr(rng.standard_normal((3, 3)))[0]
    rotated = evaluate(score, z @ rotation, prior @ rotation)
    np.testing.assert_allclose(rotated, evaluate(score, z, prior) @ rotation, atol=1e-12)


@pytest.mark.parametrize("score", SCORES[1:3], ids=name)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_distant_members_leave_the_nearest_alone(score, dtype):
    prior = np.array([[1e6, 0], [-1e6, 0], [0, 1e5]], dtype)
    z = np.array([[999999.0, 0], [-999999.0, 0], [0, 99999.0]], dtype)
    result = evaluate(score, z, prior, alpha=1.0, variance=0.001)
    np.testing.assert_allclose(result, (prior - z) / 0.001, rtol=1e-3, atol=1e-3)


def test_batch_of_one_points_every_particle_at_the_same_member(prior, rng):
    z = rng.standard_normal(prior.shape)
    score = MiniBatchScore(1).fit(prior, rng)
    seen = set()
    for k in range(60):
        variance = VARIANCE + 1e-3 * k  # a batch belongs to a pseudo-time
        centres = ALPHA**-1 * (z + variance * score(z, ALPHA, variance))
        np.testing.assert_array_equal(score(z, ALPHA, variance), score(z, ALPHA, variance))
        distance = np.abs(centres[:, None] - prior[None]).max(axis=2)
        seen |= set(np.argmin(distance, axis=1).tolist())
        assert len(set(np.argmin(distance, axis=1).tolist())) == 1 and distance.min(axis=1).max() < 1e-12
    assert seen == set(range(len(prior)))


@pytest.mark.parametrize("score", [*SCORES, MiniBatchScore(3)], ids=lambda score: repr(score))
def test_scores_stay_on_their_device_with_their_dtype(score, backend, prior, rng):
    z = rng.standard_normal(prior.shape)
    result = evaluate(score, backend.array(z), backend.array(prior))
    assert backend.owns(result)
    if score != MiniBatchScore(3):
        expected = evaluate(score, z, prior)
        np.testing.assert_allclose(to_numpy(result), expected, rtol=backend.tolerance, atol=backend.tolerance)


# --- Gaussian mixtures -----------------------------------------------------------------------------------


@pytest.fixture
def mixture(rng):
    roots = rng.standard_normal((2, 3, 3))
    return GaussianMixture(np.array([1.0, 3.0]), rng.standard_normal((2, 3)), roots @ roots.swapaxes(1, 2) + np.eye(3))


def mixture_log_density(mixture, point, alpha, variance):
    parts = [
        np.log(w) + multivariate_normal.logpdf(point, alpha * m, alpha**2 * c + variance * np.eye(len(m)))
        for w, m, c in zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
    ]
    return logsumexp(parts)


def test_density_and_score_of_a_mixture(mixture, backend, rng):
    z = rng.standard_normal((6, 3))
    there = backend.array(z)
    density, score = mixture.log_density(there, ALPHA, VARIANCE), mixture.fit(there, rng)(there, ALPHA, VARIANCE)
    assert backend.owns(density) and backend.owns(score)
    expected = [mixture_log_density(mixture, point, ALPHA, VARIANCE) for point in z]
    slopes = [gradient(lambda p: mixture_log_density(mixture, p, ALPHA, VARIANCE), point) for point in z]
    np.testing.assert_allclose(to_numpy(density), expected, rtol=backend.tolerance)
    np.testing.assert_allclose(to_numpy(score), slopes, atol=1e-7 + 10 * backend.tolerance)


def test_draws_of_a_mixture_have_its_moments(mixture, rng):
    draws = mixture.draw(200_000, rng)
    np.testing.assert_allclose(draws.mean(axis=0), mixture.mean, atol=0.03)
    np.testing.assert_allclose(np.cov(draws.T), mixture.covariance, rtol=0.05, atol=0.05)


def test_posterior_of_a_mixture_is_bayes_rule(mixture, rng):
    matrix, error, value = rng.standard_normal((2, 3)), np.array([[0.5, 0.1], [0.1, 0.3]]), np.array([0.3, -0.8])
    posterior, points = mixture.posterior(matrix, error, value), rng.standard_normal((5, 3))
    likelihood = [multivariate_normal.logpdf(value, matrix @ point, error) for point in points]
    ratio = posterior.log_density(points) - mixture.log_density(points) - likelihood
    np.testing.assert_allclose(ratio, ratio[0], atol=1e-10)


@pytest.mark.parametrize(
    ("weights", "means", "covariances", "message"),
    [
        (np.ones(2), np.zeros((2, 3)), np.zeros((2, 2, 2)), "component, state, state"),
        (np.array([1.0, -1.0]), np.zeros((2, 1)), np.ones((2, 1, 1)), "positive"),
        (np.ones(1), np.zeros((1, 2)), np.ones((1, 2, 2)), "component 0 is not positive definite"),
    ],
)
def test_bad_mixtures_are_named(weights, means, covariances, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(weights, means, covariances)


# --- kernel density: right in one dimension, useless in many ---------------------------------------------


def kernel_error(members, state, seed=1, count=1000, variance=0.01):
    """Root-mean-square error of the score of N(0, I), over that of no score at all, at draws of the blurred law."""
    rng = np.random.default_rng(seed)
    prior, z = rng.standard_normal((members, state)), np.sqrt(1 + variance) * rng.standard_normal((count, state))
    exact = -z / (1 + variance)
    return np.sqrt(np.mean((KernelDensityScore().fit(prior, rng)(z, 1.0, variance) - exact) ** 2) / np.mean(exact**2))


def test_kernel_density_tends_to_the_truth_in_one_dimension():
    errors = np.array([np.median([kernel_error(members, 1, seed) for seed in range(3)]) for members in (20, 200, 2000)])
    assert np.all(errors[1:] < 0.9 * errors[:-1]) and errors[-1] < 0.2


def test_kernel_density_degenerates_in_many_dimensions():
    assert kernel_error(2000, 1) < 0.2 and kernel_error(2000, 40, count=500, variance=0.25) > 0.6


@pytest.mark.parametrize("width", [0.0, -1.0, np.nan, np.inf])
def test_bandwidth_is_positive(width):
    with pytest.raises(ValueError, match="bandwidth of .* give a positive number"):
        KernelDensityScore(width)


# --- any function ----------------------------------------------------------------------------------------


def test_a_function_is_a_score_in_any_library(backend, prior, rng):
    z = backend.array(rng.standard_normal(prior.shape))
    score = FunctionScore(lambda z, alpha, variance: -to_numpy(z) / (alpha**2 + variance)).fit(prior, rng)
    result = score(z, 0.6, 0.64)
    assert backend.owns(result)
    np.testing.assert_allclose(to_numpy(result), -to_numpy(z), rtol=1e-6)


def test_a_function_of_another_shape_is_named(prior, rng):
    score = FunctionScore(lambda z, alpha, variance: z[:, :1]).fit(prior, rng)
    with pytest.raises(ValueError, match=r"shape \(7, 1\) for states of shape \(7, 3\)"):
        score(prior, 1.0, 0.5)
