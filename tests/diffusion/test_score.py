"""Every prior score is the gradient of the log density that it names."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from ensf.arrays import to_numpy
from ensf.diffusion import GaussianScore, MiniBatchScore, MixtureScore, PairedScore
from ensf.diffusion.prior_scores import principal_axes

SCORES = [PairedScore(), MixtureScore(), MiniBatchScore(100), GaussianScore()]
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


DENSITIES = {
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
    for _ in range(60):
        centres = ALPHA**-1 * (z + VARIANCE * score(z, ALPHA, VARIANCE))
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
