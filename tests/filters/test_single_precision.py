"""Single precision far from zero: the analysis is that of double precision, to the spacing of numbers there."""

import numpy as np
import pytest
from rows import FILTERS, MEMBERS, SIZE

from ensf import Identity, Observation
from ensf.arrays import centred, mean_departure, member_mean, member_variance
from ensf.diagnostics.truth import bias, rmse, spread

OFFSET, SPACING = 5e5, 2.0**-5  # of float32 at the offset
DRAWS = ("EnKF", "SchurEnKF", "FixedGainMAP", "Rotation", "letsf", "ParticleFilter")
"""Filters that draw other numbers in another precision."""
DIFFUSION = ("EnSF", "IteratedEnSF", "EnFF", "Standardised")
ALIKE = {name: row.filter for name, row in FILTERS.items() if not name.startswith(DRAWS + DIFFUSION)}
AMPLIFIED = {
    "AnalysisInflation": 2,
    "RTPP": 2,
    "RTPS": 6,
    "OnlyVariables": 6,
    "SpreadReset": 14,
    "SpreadReset to a number": 6,
    "Copula": 4,
    "HybridMean": 2,
}
"""Spacings by which others may be off: they widen, or warp, what the analysis has rounded."""
AMPLIFIED |= dict.fromkeys(("LETSF with unresolved variance", "LETKF with unresolved variance"), 6)


@pytest.fixture
def prior(rng):
    return (OFFSET + 0.7 * rng.standard_normal((MEMBERS, SIZE)).cumsum(axis=1)).astype(np.float32)


def test_moments_are_those_of_double_precision(rng):
    prior = (OFFSET + rng.standard_normal((100, SIZE))).astype(np.float32)
    double = prior.astype(np.float64)
    exact = double - double.mean(axis=0)
    np.testing.assert_allclose(member_mean(prior), double.mean(axis=0), rtol=0, atol=SPACING / 2)
    np.testing.assert_allclose(centred(prior), exact, rtol=0, atol=1e-5)
    np.testing.assert_allclose(centred(prior).mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(member_variance(prior), exact.var(axis=0, ddof=1), rtol=1e-5)
    departure = mean_departure(prior[0], prior)
    np.testing.assert_allclose(departure, double[0] - double.mean(axis=0), rtol=0, atol=1e-5)
    assert {a.dtype for a in (member_mean(prior), centred(prior), member_variance(prior), departure)} == {prior.dtype}


@pytest.mark.parametrize("name", ALIKE)
def test_the_analysis_is_that_of_double_precision(name, prior):
    method, value = ALIKE[name], (prior[1] + np.float32(0.3)).astype(np.float32)
    single, double = (
        method.analyse(prior.astype(number), Observation(value.astype(number), Identity(), number(0.1)), 4).ensemble
        for number in (np.float32, np.float64)
    )
    assert single.dtype == np.float32
    np.testing.assert_allclose(single.astype(np.float64), double, rtol=0, atol=AMPLIFIED.get(name, 1) * SPACING)


@pytest.mark.parametrize("name", ["RTPS", "SpreadReset", "SpreadReset to a number"])
def test_what_is_widened_is_off_by_the_rounding_of_the_analysis_times_that(name, prior):
    """Half a spacing, which the analysis of the filter inside has been rounded by, and is multiplied with it."""
    method, value = FILTERS[name].filter, (prior[1] + np.float32(0.3)).astype(np.float32)

    def analysed(filter, number):
        seen = Observation(value.astype(number), Identity(), number(0.1))
        return filter.analyse(prior.astype(number), seen, 4).ensemble.astype(np.float64)

    inner, double = (analysed(filter, np.float64) for filter in (method.filter, method))
    assert np.abs(analysed(method.filter, np.float32) - inner).max() <= 0.5 * SPACING
    widened = double.std(axis=0) / inner.std(axis=0)
    assert widened.max() > 5
    assert (np.abs(analysed(method, np.float32) - double) <= (0.55 * widened + 1) * SPACING).all()


def test_scores_are_those_of_double_precision(prior):
    truth = (prior[1] + np.float32(0.25)).astype(np.float32)
    for score in (rmse, bias):
        wanted = score(prior.astype(np.float64), truth.astype(np.float64))
        assert score(prior, truth) == pytest.approx(wanted, rel=1e-5)
    assert spread(prior) == pytest.approx(spread(prior.astype(np.float64)), rel=1e-5)
