"""Optimal interpolation against its closed forms."""

import math

import numpy as np
import pytest

from ensf.arrays import to_numpy
from ensf.filters import optimal_interpolation
from ensf.filters.optimal_interpolation import OptimalInterpolation
from ensf.localization import Localization, Periodic, Sphere, gaspari_cohn, periodic_line
from ensf.observations import Correlated, Laplace, Linear, Observation, Pointwise, Select, arctan

SIZE = 30
LINE, PLACES = periodic_line(SIZE, math.inf), np.arange(SIZE)[:, None]


@pytest.fixture
def prior(rng):
    return 2.0 + rng.normal(size=(12, SIZE)) * np.linspace(0.5, 2.0, SIZE)


def correlation(length):
    steps = np.arange(SIZE)
    distance = np.minimum(steps, SIZE - steps) / length
    return (1 + distance) * np.exp(-distance)


def test_correlation_is_one_at_home_and_falls_with_distance():
    found = OptimalInterpolation(LINE, 1.0).correlation(PLACES)
    expected = np.array([np.roll(correlation(1.0), k) for k in range(SIZE)])
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert np.linalg.eigvalsh(found).min() > -1e-6


def test_correlation_on_the_sphere_is_of_great_circle_distance():
    places = np.array([[40.0, 0.0], [60.0, 0.0], [40.0, 180.0]])
    found = OptimalInterpolation(Localization(Sphere(), math.inf), 800.0).correlation(places)
    distance = 6371.0 * np.deg2rad([20.0, 100.0]) / 800.0
    np.testing.assert_allclose(found[0, 1:], (1 + distance) * np.exp(-distance), rtol=1e-9)


def test_the_taper_of_the_localization_ends_correlations():
    found = OptimalInterpolation(Localization(Periodic((SIZE,)), 3.0), 4.0).correlation(PLACES)
    distance = np.minimum(np.arange(SIZE), SIZE - np.arange(SIZE)).astype(float)
    np.testing.assert_allclose(found[0], correlation(4.0) * gaspari_cohn(distance, 3.0), rtol=1e-12)
    assert found[0, 6] == 0 < found[0, 5]


def test_one_observation_has_the_closed_form(backend, prior):
    k, error = 7, 0.4
    observation = Observation(backend.array([3.0]), Select((k,)), error)
    analysis = to_numpy(OptimalInterpolation(LINE, 2.0).analyse(backend.array(prior), observation, None).ensemble)
    mean, deviation = prior.mean(axis=0), prior.std(axis=0, ddof=1)
    covariance = deviation * np.roll(correlation(2.0), k) * deviation[k]
    gain = covariance / (deviation[k] ** 2 + error**2)
    tolerance = {"rtol": 100 * backend.tolerance}
    np.testing.assert_allclose(analysis.mean(axis=0), mean + gain * (3.0 - mean[k]), **tolerance)
    np.testing.assert_allclose(analysis.var(axis=0, ddof=1), deviation**2 - gain * covariance, **tolerance)


def test_several_observations_with_correlated_errors(prior):
    rows, covariance = np.array([3, 4, 20]), 0.2 * (np.eye(3) + 0.5)
    matrix = np.zeros((3, SIZE))
    matrix[np.arange(3), rows] = [1.0, 2.0, -1.0]
    value = np.array([2.0, 5.0, -1.0])
    analysis = OptimalInterpolation(LINE, 2.0).analyse(
        prior, Observation(value, Linear(matrix), Correlated(covariance)), None
    )
    mean, deviation = prior.mean(axis=0), prior.std(axis=0, ddof=1)
    static = deviation[:, None] * np.array([np.roll(correlation(2.0), k) for k in range(SIZE)]) * deviation
    gain = static @ matrix.T @ np.linalg.inv(matrix @ static @ matrix.T + covariance)
    np.testing.assert_allclose(analysis.ensemble.mean(axis=0), mean + gain @ (value - matrix @ mean), rtol=1e-10)
    variance = np.diag(static - gain @ matrix @ static)
    np.testing.assert_allclose(analysis.ensemble.var(axis=0, ddof=1), variance, rtol=1e-9)


def test_a_sensor_is_linearised_at_the_mean(prior):
    k, mean = 7, prior.mean(axis=0)
    slope = 1 / (1 + mean[k] ** 2)
    seen = Observation(np.array([np.arctan(mean[k]) + slope * 0.3]), Pointwise(arctan, Select((k,))), 0.2 * slope)
    line = Observation(np.array([mean[k] + 0.3]), Select((k,)), 0.2)
    one, two = (OptimalInterpolation(LINE, 2.0).analyse(prior, o, None).ensemble for o in (seen, line))
    np.testing.assert_allclose(one, two, rtol=1e-10)


def test_variables_without_spread_stay(prior):
    prior[:, 5] = 1.5
    analysis = OptimalInterpolation(LINE, 2.0).analyse(prior, Observation(np.array([9.0]), Select((5,)), 0.1), None)
    np.testing.assert_allclose(analysis.ensemble, prior, rtol=1e-12)
    np.testing.assert_array_equal(analysis.ensemble[:, 5], 1.5)


def test_what_does_not_fit_is_refused(prior):
    with pytest.raises(ValueError, match="correlation length is 0"):
        OptimalInterpolation(LINE, 0.0)
    with pytest.raises(ValueError, match="Gaussian errors"):
        OptimalInterpolation(LINE, 2.0).analyse(prior, Observation(np.zeros(1), Select((2,)), Laplace(1.0)), None)
    with pytest.raises(ValueError, match=r"shape \(9, 1\) but the prior has 30 variables"):
        OptimalInterpolation(LINE, 2.0).analyse(
            prior, Observation(np.zeros(1), Select((2,)), 1.0), None, positions=PLACES[:9]
        )


def test_positions_say_which_variables_are_near(prior, rng):
    order = rng.permutation(SIZE)
    number = int(np.flatnonzero(order == 7)[0])
    oi = OptimalInterpolation(LINE, 2.0)
    straight = oi.analyse(prior, Observation(np.array([3.0]), Select((7,)), 0.4), None).ensemble
    shuffled = oi.analyse(
        prior[:, order], Observation(np.array([3.0]), Select((number,)), 0.4), None, positions=PLACES[order]
    ).ensemble
    np.testing.assert_allclose(shuffled, straight[:, order], rtol=1e-12)


@pytest.mark.parametrize("length", [4.0, 8.0, 60.0])
def test_a_length_beyond_which_the_correlation_is_not_positive_definite(prior, length):
    expected = np.array([np.roll(correlation(length), k) for k in range(SIZE)])
    assert np.linalg.eigvalsh(expected).min() < -0.01
    with pytest.raises(ValueError, match=f"with length {length} is not positive definite at these positions: give a"):
        OptimalInterpolation(LINE, length).analyse(prior, Observation(np.array([9.0]), Select((5,)), 0.1), None)


@pytest.mark.parametrize("half_width", [math.inf, 500.0])
def test_not_all_pairs_are_there_at_once(monkeypatch, half_width, rng):
    places = np.column_stack([rng.uniform(-90, 90, 50), rng.uniform(0, 360, 50)])
    method = OptimalInterpolation(Localization(Sphere(), half_width), 700.0)
    whole, largest, pairs = method.correlation(places), [], Sphere.pairs
    optimal_interpolation._correlation.cache_clear()
    monkeypatch.setattr(optimal_interpolation, "AT_ONCE", 400)
    monkeypatch.setattr(Sphere, "pairs", lambda *given: (made := pairs(*given), largest.append(made.nnz))[0])
    np.testing.assert_array_equal(method.correlation(places), whole)
    assert len(largest) == 7 and max(largest) <= 400
