"""How the likelihood pulls: the published damping, and the exact score of p(y | z_t) for a Gaussian prior."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from ensf.arrays import to_numpy
from ensf.diffusion import (
    DPS,
    ConditionalGuidance,
    DampedGuidance,
    GaussianScore,
    MomentMatching,
    PiGDM,
    TiltedGuidance,
)
from ensf.observations import (
    Callback,
    Correlated,
    Identity,
    Laplace,
    Linear,
    Observation,
    Pointwise,
    Select,
    WindSpeed,
    absolute,
    arctan,
    cube,
    exponential,
    log,
    square,
)

T, ALPHA, VARIANCE = 0.3, 0.8, 0.36


def pull(guidance, z, prior, observation, t=T):
    score = GaussianScore().fit(prior, None)
    return guidance.fit(prior, observation, score)(z, score(z, ALPHA, VARIANCE), t, ALPHA, VARIANCE)


def correlated(count, seed=3):
    root = np.random.default_rng(seed).standard_normal((count, count))
    return root @ root.T / count + 0.3 * np.eye(count)


@pytest.fixture
def problem(rng):
    """Prior (member, state), z, matrix H, R and y of a linear Gaussian problem."""
    prior = rng.standard_normal((20, 4)) @ rng.standard_normal((4, 4)) + [1.0, -2, 0, 3]
    matrix = rng.standard_normal((3, 4))
    return prior, rng.standard_normal(prior.shape), matrix, correlated(3), rng.standard_normal(3)


@pytest.mark.parametrize("t", [0.0, 0.25, 1.0])
def test_damped_guidance_is_the_likelihood_score_times_one_minus_t(t, problem):
    prior, z, matrix, error, value = problem
    observation = Observation(value, Pointwise(cube, Linear(matrix)), Correlated(error))
    expected = (1 - t) * observation.score(z)
    np.testing.assert_allclose(pull(DampedGuidance(), z, prior, observation, t), expected, rtol=1e-14)


@pytest.mark.parametrize("members", [20, 3], ids=["full rank", "fewer members than variables"])
def test_conditional_guidance_is_the_gradient_of_log_p_of_y_given_z(members, problem):
    prior, z, matrix, error, value = problem
    prior, z = prior[:members], z[:members]
    covariance, mean = np.cov(prior.T), prior.mean(axis=0)
    gain = ALPHA * covariance @ np.linalg.inv(ALPHA**2 * covariance + VARIANCE * np.eye(4))
    conditional = covariance - ALPHA * gain @ covariance

    def log_density(point):
        denoised = mean + gain @ (point - ALPHA * mean)
        return multivariate_normal.logpdf(value, matrix @ denoised, error + matrix @ conditional @ matrix.T)

    shifts = 1e-5 * np.eye(4)
    expected = [[(log_density(p + s) - log_density(p - s)) / 2e-5 for s in shifts] for p in z]
    result = pull(ConditionalGuidance(), z, prior, Observation(value, Linear(matrix), Correlated(error)))
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-7)


def test_conditional_guidance_linearises_at_the_denoised_state(problem):
    """For nonlinear h: particle by particle, with explicit matrices."""
    prior, z, _, _, _ = problem
    value, error = np.array([0.3, -0.5, 0.1, 0.9]), 0.2
    covariance, mean = np.cov(prior.T), prior.mean(axis=0)
    gain = ALPHA * covariance @ np.linalg.inv(ALPHA**2 * covariance + VARIANCE * np.eye(4))
    conditional = covariance - ALPHA * gain @ covariance
    expected = []
    for point in z:
        denoised = mean + gain @ (point - ALPHA * mean)
        slope = np.diag(1 / (1 + denoised**2))
        system = error**2 * np.eye(4) + slope @ conditional @ slope.T
        expected.append(gain.T @ slope.T @ np.linalg.solve(system, value - np.arctan(denoised)))
    result = pull(ConditionalGuidance(), z, prior, Observation(value, Pointwise(arctan), error))
    np.testing.assert_allclose(result, expected, rtol=1e-9)


def test_only_conditional_guidance_is_translation_invariant(problem):
    prior, z, matrix, error, value = problem
    shift = np.array([10.0, -20, 5, 1])
    here = Observation(value, Linear(matrix), Correlated(error))
    there = Observation(value + matrix @ shift, Linear(matrix), Correlated(error))
    change = {
        guidance: pull(guidance, z + ALPHA * shift, prior + shift, there) - pull(guidance, z, prior, here)
        for guidance in (DampedGuidance(), ConditionalGuidance())
    }
    assert np.abs(change[ConditionalGuidance()]).max() < 1e-10
    assert np.abs(change[DampedGuidance()]).max() > 1.0


@pytest.mark.parametrize(
    ("operator", "count"),
    [
        (Identity(), 6),
        (Select((0, 3)), 2),
        (Pointwise(arctan), 6),
        (WindSpeed(Select((0, 2)), Select((1, 3))), 2),
    ],
)
@pytest.mark.parametrize("guidance", [DampedGuidance(), ConditionalGuidance(), DPS(), PiGDM(), MomentMatching()])
def test_guidance_stays_on_its_device_with_its_dtype(guidance, operator, count, backend, rng):
    prior, z = rng.standard_normal((5, 6)) + 3, rng.standard_normal((5, 6)) + 2
    value = np.linspace(1, 2, count)
    there = Observation(backend.array(value), operator, 0.5)
    result = pull(guidance, backend.array(z), backend.array(prior), there)
    assert backend.owns(result)
    expected = pull(guidance, z, prior, Observation(value, operator, 0.5))
    np.testing.assert_allclose(to_numpy(result), expected, rtol=1e-3, atol=10 * backend.tolerance)


# --- stiffness -------------------------------------------------------------------------------------------

DIFFERENCE = np.eye(9, 10, 1) - np.eye(9, 10)
AVERAGE = np.full((1, 10), 1.0)


@pytest.mark.parametrize(
    "matrix",
    [np.eye(10), DIFFERENCE, AVERAGE, np.random.default_rng(0).standard_normal((4, 10))],
    ids=["identity", "difference", "sum", "random"],
)
def test_stiffness_is_the_largest_curvature_of_the_likelihood(matrix, rng):
    error = correlated(len(matrix))
    observation = Observation(np.zeros(len(matrix)), Linear(matrix), Correlated(error))
    largest = np.linalg.eigvalsh(matrix.T @ np.linalg.solve(error, matrix)).max()
    stiffness = DampedGuidance().stiffness(rng.standard_normal((20, 10)), observation)
    assert 0.8 * largest < stiffness < 1.0001 * largest


def test_stiffness_of_a_nonlinear_operator_is_its_steepest_place(rng):
    prior = rng.standard_normal((20, 10))
    prior[3, 4] = 6.0
    flat = DampedGuidance().stiffness(prior, Observation(np.zeros(10), Pointwise(arctan), 0.1))
    steep = DampedGuidance().stiffness(prior, Observation(np.zeros(10), Pointwise(square), 0.1))
    assert flat == pytest.approx(100.0)
    assert steep == pytest.approx(12.0**2 * 100, rel=0.02)


@pytest.mark.parametrize("function", [absolute, exponential, log, square], ids=repr)
def test_stiffness_is_finite_and_silent(function, backend, rng):
    prior = backend.array(rng.standard_normal((4, 3)))
    observation = Observation(backend.array(np.zeros(3)), Pointwise(function), 0.1)
    assert np.isfinite(DampedGuidance().stiffness(prior, observation))


def test_conditional_guidance_of_an_operator_without_a_tangent(problem):
    prior, z, matrix, error, value = problem
    plain = Observation(value, Linear(matrix), Correlated(error))
    callback = Callback(lambda x: x @ matrix.T, lambda x, r: r @ matrix)
    other = Observation(value, callback, Correlated(error))
    expected = pull(ConditionalGuidance(), z, prior, plain)
    np.testing.assert_allclose(pull(ConditionalGuidance(), z, prior, other), expected, rtol=1e-7)


def test_conditional_guidance_is_not_stiff(problem):
    prior, _, matrix, error, value = problem
    assert ConditionalGuidance().stiffness(prior, Observation(value, Linear(matrix), Correlated(error))) == 0.0


@pytest.mark.parametrize("count", [3, 12], ids=["fewer observations than axes", "more"])
@pytest.mark.parametrize("error", [1e-3, 1e-7, 1e-10])
def test_conditional_guidance_of_accurate_observations(error, count, rng):
    """H^T (H C H^T)^{-1} d in the limit, where I + T T^T has no inverse in floating point."""
    prior, z = rng.standard_normal((20, 5)), rng.standard_normal((20, 5))
    matrix = rng.standard_normal((count, 5))
    observation = Observation(matrix @ np.ones(5), Linear(matrix), error)
    axes, variances = np.linalg.eigh(np.cov(prior.T))[::-1]
    inside = axes * (variances * VARIANCE / (ALPHA**2 * variances + VARIANCE)) @ axes.T
    score = GaussianScore().fit(prior, None)(z, ALPHA, VARIANCE)
    departure = (observation.value - (z + VARIANCE * score) / ALPHA @ matrix.T) @ np.linalg.pinv(
        matrix @ inside @ matrix.T, rcond=1e-10
    )
    wanted = ALPHA / VARIANCE * departure @ matrix @ inside
    np.testing.assert_allclose(pull(ConditionalGuidance(), z, prior, observation), wanted, rtol=1e-3, atol=1e-3)


# --- any score -------------------------------------------------------------------------------------------


def test_moment_matching_is_exact_for_a_gaussian_score(problem):
    prior, z, matrix, error, value = problem
    observation = Observation(value, Linear(matrix), Correlated(error))
    expected = pull(ConditionalGuidance(), z, prior, observation)
    np.testing.assert_allclose(pull(MomentMatching(), z, prior, observation), expected, rtol=1e-5, atol=1e-6)


def test_pigdm_is_exact_for_a_white_prior(rng):
    prior, z = rng.standard_normal((20, 4)), rng.standard_normal((5, 4))
    white = np.linalg.qr(prior - prior.mean(axis=0))[0] * np.sqrt(19) * 1.5
    matrix = rng.standard_normal((3, 4))
    observation = Observation(np.ones(3), Linear(matrix), 0.4)
    expected = pull(ConditionalGuidance(), z, white, observation)
    np.testing.assert_allclose(pull(PiGDM(1.5), z, white, observation), expected, rtol=1e-5, atol=1e-6)


def test_dps_is_the_gradient_of_the_likelihood_of_the_denoised_state(problem):
    prior, z, matrix, error, value = problem
    observation = Observation(value, Linear(matrix), Correlated(error))
    score = GaussianScore().fit(prior, None)

    def level(points):
        return observation.log_likelihood((points + VARIANCE * score(points, ALPHA, VARIANCE)) / ALPHA)

    shifts = 1e-5 * np.eye(4)
    expected = np.stack([(level(z + shift) - level(z - shift)) / 2e-5 for shift in shifts], axis=1)
    np.testing.assert_allclose(pull(DPS(), z, prior, observation), expected, rtol=1e-5, atol=1e-5)


def test_tilted_guidance_is_conditional_guidance_for_linear_sensors(problem):
    prior, z, matrix, _, value = problem
    observation = Observation(value, Linear(matrix), 0.5)
    expected = pull(ConditionalGuidance(), z, prior, observation)
    np.testing.assert_allclose(pull(TiltedGuidance(), z, prior, observation), expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("function", [arctan, cube, absolute], ids=repr)
def test_tilted_guidance_is_the_exact_score_of_a_scalar(function, rng):
    prior = rng.standard_normal((50, 1)) + 0.5
    z = rng.standard_normal((6, 1))
    observation = Observation(np.array([0.8]), Pointwise(function), 0.3)
    variance_0, mean = prior.var(ddof=1), prior.mean()
    gain = ALPHA * variance_0 / (ALPHA**2 * variance_0 + VARIANCE)
    nodes = np.linspace(-8, 8, 20_001)

    def log_density(point):
        centre, spread = mean + gain * (point - ALPHA * mean), variance_0 - ALPHA * gain * variance_0
        likelihood = np.exp(observation.log_likelihood(nodes[:, None]) - (nodes - centre) ** 2 / (2 * spread))
        return np.log(likelihood.sum() / np.sqrt(spread))

    expected = [[(log_density(p[0] + 1e-4) - log_density(p[0] - 1e-4)) / 2e-4] for p in z]
    np.testing.assert_allclose(pull(TiltedGuidance(), z, prior, observation), expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("guidance", [PiGDM(), MomentMatching(), ConditionalGuidance()], ids=repr)
def test_guidance_of_gaussian_errors_names_another_law(guidance, rng):
    with pytest.raises(ValueError, match=f"{type(guidance).__name__} needs Gaussian errors, not Laplace"):
        pull(guidance, np.ones((3, 2)), rng.standard_normal((3, 2)), Observation(np.ones(2), Identity(), Laplace(0.5)))


def test_tilted_guidance_names_correlated_errors(problem):
    prior, z, matrix, error, value = problem
    with pytest.raises(ValueError, match="TiltedGuidance needs independent errors"):
        pull(TiltedGuidance(), z, prior, Observation(value, Linear(matrix), Correlated(error)))


def test_tilted_guidance_names_an_operator_of_several_columns(problem):
    prior, z, _, _, _ = problem
    speed = Observation(np.ones(2), WindSpeed(Select((0, 2)), Select((1, 3))), 0.5)
    with pytest.raises(ValueError, match="TiltedGuidance needs a function of one linear combination"):
        pull(TiltedGuidance(), z, prior, speed)
