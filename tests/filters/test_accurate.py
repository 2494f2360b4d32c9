"""Observations that are far more accurate than the members, more of them than directions, and none at all for long."""

from __future__ import annotations

import numpy as np
import pytest
from exact import kalman_posterior

from ensf import (
    ETKF,
    LETKF,
    LETSF,
    AdaptiveInflation,
    AdaptiveSpread,
    EnKF,
    Euclidean,
    Kernel,
    Linear,
    Localization,
    Observation,
    QuantileFilter,
    SchurEnKF,
    Select,
)

EVERYWHERE = Localization(Euclidean(), np.inf)
EXACT = {
    "ETKF": ETKF(),
    "LETKF": LETKF(EVERYWHERE),
    "LETSF": LETSF(),
    "LETSF local": LETSF(EVERYWHERE),
    "SchurEnKF": SchurEnKF(EVERYWHERE),
    "Kernel": QuantileFilter(None, Kernel(1.0)),
}


@pytest.mark.parametrize("error", [1e-4, 1e-6, 1e-8])
@pytest.mark.parametrize("method", EXACT.values(), ids=EXACT)
def test_one_accurate_observation_has_the_closed_form(method, error):
    prior = np.random.default_rng(3).normal(size=(40, 10))
    matrix = np.eye(10)[:1]
    mean, covariance = kalman_posterior(
        prior.mean(axis=0), np.cov(prior.T), matrix, np.array([[error**2]]), np.array([0.5])
    )
    positions = np.arange(10.0)[:, None]
    ensemble = method.analyse(prior, Observation(np.array([0.5]), Select([0]), error), 1, positions=positions).ensemble
    tolerance = max(1e-11, 3 * error) if method == EXACT["SchurEnKF"] else 1e-11  # it draws
    np.testing.assert_allclose(ensemble.mean(axis=0), mean, atol=tolerance)
    if method != EXACT["SchurEnKF"]:
        np.testing.assert_allclose(ensemble[:, 1:].var(axis=0, ddof=1), covariance.diagonal()[1:], rtol=1e-9)


@pytest.mark.parametrize("error", [1e-6, 1e-7, 1e-8, 1e-9])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_many_more_accurate_observations_than_directions_tell_the_state(error, dtype):
    """The observed state is (1, 1, 1): a factorisation that fails must not give anything else."""
    error = error if dtype == np.float64 else 1e-3
    for seed in range(5):
        rng = np.random.default_rng(seed)
        prior, matrix = rng.normal(size=(5, 3)).astype(dtype), rng.normal(size=(2000, 3)).astype(dtype)
        seen = Observation(matrix.sum(axis=1, dtype=np.float64).astype(dtype), Linear(matrix), error)
        for method in (ETKF(), EnKF()):
            np.testing.assert_allclose(
                method.analyse(prior, seen, rng).ensemble, 1.0, atol=1e-6 if dtype == np.float64 else 1e-3
            )


def spread_of_the_unobserved(method, network, cycles, error):
    """Spread of variables 20 to 29 after each cycle, around a truth of 2 with errors of this size, told .5."""
    rng, members, memory, spread = np.random.default_rng(2), np.random.default_rng(0).normal(2, 1, (20, 30)), None, []
    for cycle in range(cycles):
        index = network(cycle)
        seen = Observation(2 + error * rng.normal(size=len(index)), Select(index), 0.5)
        analysis = method.analyse(members, seen, rng, memory, positions=np.arange(30.0)[:, None])
        members, memory = analysis.ensemble, analysis.memory
        spread.append(members[:, 20:].std(axis=0, ddof=1).mean())
    return np.array(spread)


NEAR = Localization(Euclidean(), 2.0)


@pytest.mark.parametrize(
    "method", [LETKF(NEAR, unresolved_variance=0.2), LETSF(NEAR, unresolved_variance=0.2)], ids=["LETKF", "LETSF"]
)
def test_what_is_never_observed_keeps_its_spread(method):
    np.testing.assert_array_equal(np.ptp(spread_of_the_unobserved(method, lambda cycle: [0, 1, 2], 10, 0.5)), 0.0)


@pytest.mark.parametrize("wrapper", [AdaptiveInflation, AdaptiveSpread])
def test_what_is_observed_no_more_is_widened_no_more(wrapper):
    """For 30 cycles all is observed, with errors twice as large as told; then variables 0 to 4 alone."""
    method = wrapper(LETKF(NEAR), NEAR)
    spread = spread_of_the_unobserved(method, lambda cycle: range(30) if cycle < 30 else range(5), 60, 1.0)
    np.testing.assert_allclose(spread[30:], spread[29], rtol=1e-12)
