"""Wrappers against their formulas."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import pytest

from ensf.arrays import to_numpy
from ensf.filters import ETKF, Analysis, ParticleFilter
from ensf.localization import periodic_line
from ensf.observations import Identity, Observation
from ensf.wrappers import (
    RTPP,
    RTPS,
    AdaptiveInflation,
    AnalysisInflation,
    CollapseGuard,
    Copula,
    DeferredAnalysis,
    FiniteSize,
    ForecastInflation,
    InvertedArctan,
    PartialState,
    Rotation,
    SpreadReset,
    Standardised,
    Tempered,
)


@dataclass(frozen=True)
class Shrink:
    """Moves the mean by one, multiplies anomalies, counts its calls in memory."""

    factor: float = 0.5

    def analyse(self, prior, observation, rng, memory=None, positions=None):
        mean = prior.mean(axis=0)
        return Analysis(mean + 1 + self.factor * (prior - mean), (memory or 0) + 1, {"seen": observation.size})


WRAPPERS = [
    ForecastInflation(Shrink(), 1.1),
    AnalysisInflation(Shrink(), 1.1),
    RTPS(Shrink(), 0.3),
    RTPP(Shrink(), 0.3),
    Rotation(Shrink()),
    SpreadReset(Shrink()),
]


@pytest.fixture
def prior(rng):
    return rng.standard_normal((8, 5)) * [1.0, 2.0, 3.0, 4.0, 5.0] + 10.0


@pytest.fixture
def observation():
    return Observation(np.zeros(5), Identity(), 1.0)


def anomalies(ensemble):
    return ensemble - ensemble.mean(axis=0)


def analysed(filter, prior, observation, seed=0, memory=None):
    return filter.analyse(prior, observation, np.random.default_rng(seed), memory)


@pytest.mark.parametrize("wrapper", WRAPPERS, ids=lambda w: type(w).__name__)
def test_mean_info_and_memory_come_from_the_wrapped_filter(wrapper, prior, observation):
    first = analysed(wrapper, prior, observation)
    second = analysed(wrapper, first.ensemble, observation, memory=first.memory)
    np.testing.assert_allclose(second.ensemble.mean(axis=0), prior.mean(axis=0) + 2, rtol=1e-12)
    assert first.info == {"seen": 5}
    assert getattr(second.memory, "inner", second.memory) == 2


@pytest.mark.parametrize("wrapper", WRAPPERS, ids=lambda w: type(w).__name__)
def test_without_observations_nothing_changes(wrapper, prior):
    empty = Observation(np.full(5, np.nan), Identity(), 1.0)
    np.testing.assert_array_equal(analysed(wrapper, prior, empty).ensemble, prior)


INSIDE = [Copula, CollapseGuard, Standardised, Tempered, DeferredAnalysis, AdaptiveInflation, PartialState, FiniteSize]


@pytest.mark.parametrize("kind", [*map(type, WRAPPERS), *INSIDE, InvertedArctan])
def test_a_filter_inside_is_asked_what_it_remembers_of_a_cycle_without_observations(kind, prior):
    """The very first cycle observes nothing: the spread to which a filter resets is the one of its prior."""
    line = periodic_line(5, 2.0)
    settings = {"factor": 1.1, "strength": 0.3, "localization": line, "size": 5, "error": 0.1}
    names = {one.name for one in fields(kind)}
    wrapper = kind(SpreadReset(ETKF()), **{name: value for name, value in settings.items() if name in names})
    empty = Observation(np.full(5, np.nan), Identity(), 1.0)
    analysis = analysed(wrapper, prior, empty)
    np.testing.assert_array_equal(analysis.ensemble, prior)
    inner = memory = analysis.memory
    while inner is not None:
        memory, inner = inner, inner.inner
    expected = np.ones(5) if kind is Standardised else prior.std(axis=0, ddof=1)
    np.testing.assert_allclose(memory.spread, expected, rtol=0.1 if kind is Copula else 1e-12)


@pytest.mark.parametrize("wrapper", WRAPPERS, ids=lambda w: type(w).__name__)
def test_arguments_are_not_changed(wrapper, prior, observation):
    before = prior.copy()
    prior.flags.writeable = False
    analysed(wrapper, prior, observation)
    np.testing.assert_array_equal(prior, before)


@pytest.mark.parametrize("wrapper", WRAPPERS, ids=lambda w: type(w).__name__)
def test_array_and_dtype_are_kept(wrapper, backend, prior):
    wrapper = type(wrapper)(**{**vars(wrapper), "filter": ETKF()})
    given = backend.array(prior)
    analysis = analysed(wrapper, given, Observation(backend.array(np.zeros(5)), Identity(), 1.0))
    expected = analysed(wrapper, prior, Observation(np.zeros(5), Identity(), 1.0))
    assert backend.owns(analysis.ensemble)
    if not isinstance(wrapper, Rotation) or backend.dtype == "float64":
        result = to_numpy(analysis.ensemble)
        np.testing.assert_allclose(result, expected.ensemble, rtol=backend.tolerance, atol=backend.tolerance)


@pytest.mark.parametrize("wrapper", WRAPPERS, ids=lambda w: type(w).__name__)
def test_nan_in_the_prior_is_named(wrapper, prior, observation):
    prior[2, 3] = np.nan
    with pytest.raises(ValueError, match="member 2 .* variable 3"):
        analysed(wrapper, prior, observation)


def test_forecast_inflation_acts_before_the_analysis(prior, observation):
    inflated = prior.mean(axis=0) + 1.3 * anomalies(prior)
    expected = analysed(ETKF(), inflated, observation).ensemble
    np.testing.assert_allclose(analysed(ForecastInflation(ETKF(), 1.3), prior, observation).ensemble, expected)


def test_analysis_inflation_acts_after_the_analysis(prior, observation):
    plain = analysed(ETKF(), prior, observation).ensemble
    expected = plain.mean(axis=0) + 1.3 * anomalies(plain)
    np.testing.assert_allclose(analysed(AnalysisInflation(ETKF(), 1.3), prior, observation).ensemble, expected)


def test_rtps_blends_the_spreads(prior, observation):
    plain, relaxed = (analysed(f, prior, observation).ensemble for f in (ETKF(), RTPS(ETKF(), 0.3)))
    blend = 0.7 * plain.std(axis=0, ddof=1) + 0.3 * prior.std(axis=0, ddof=1)
    np.testing.assert_allclose(relaxed.std(axis=0, ddof=1), blend)
    np.testing.assert_allclose(np.corrcoef(relaxed.T), np.corrcoef(plain.T), atol=1e-12)


def test_rtpp_blends_the_anomalies(prior, observation):
    plain, relaxed = (analysed(f, prior, observation).ensemble for f in (ETKF(), RTPP(ETKF(), 0.3)))
    np.testing.assert_allclose(anomalies(relaxed), 0.7 * anomalies(plain) + 0.3 * anomalies(prior))


@pytest.mark.parametrize("wrapper", [RTPS, SpreadReset])
def test_members_that_agree_exactly_stay_finite(wrapper, prior, observation):
    settings = {"strength": 0.5} if wrapper is RTPS else {}
    agreed = analysed(wrapper(Shrink(0.0), **settings), prior, observation).ensemble
    np.testing.assert_allclose(agreed, np.broadcast_to(prior.mean(axis=0) + 1, prior.shape))


@pytest.mark.parametrize("members", [3, 20, 61])
@pytest.mark.parametrize("wrapper", [lambda f: RTPS(f, 0.5), lambda f: SpreadReset(f, 1.0)])
def test_a_member_that_is_drawn_for_all_keeps_its_values(wrapper, members):
    """The mean of equal numbers is rounded, by more than one spacing: that is no spread to be widened."""
    prior = 10 + np.random.default_rng(3).normal(size=(members, 50))
    observation = Observation(np.full(50, 14.0), Identity(), 0.05)
    kept = ParticleFilter().analyse(prior, observation, 1).ensemble
    assert len(np.unique(kept, axis=0)) == 1
    np.testing.assert_allclose(wrapper(ParticleFilter()).analyse(prior, observation, 1).ensemble, kept, rtol=1e-13)


def test_rotation_keeps_mean_and_covariance(prior, observation):
    plain, turned = (analysed(f, prior, observation).ensemble for f in (ETKF(), Rotation(ETKF())))
    np.testing.assert_allclose(turned.mean(axis=0), plain.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(np.cov(turned.T), np.cov(plain.T), atol=1e-12)
    assert np.abs(turned - plain).max() > 0.1


def test_rotation_is_uniform_on_the_complement_of_ones(observation):
    """Moments of a Haar rotation: E Q = 1 1^T / J, and every anomaly direction is equally likely."""
    prior = np.eye(4, 5)
    draws = [anomalies(analysed(Rotation(Shrink(1.0)), prior, observation, seed).ensemble) for seed in range(4000)]
    complement = np.eye(4) - 0.25
    images = np.stack(draws)[:, :, :4]
    np.testing.assert_allclose(images.mean(axis=0), 0, atol=0.03)
    second = np.einsum("nia,njb->iajb", images, images) / len(draws)
    np.testing.assert_allclose(second, np.einsum("ij,ab->iajb", complement, complement) / 3, atol=0.03)


def test_rotation_of_two_members(observation):
    prior = np.array([[1.0] * 5, [3.0] * 5])
    turned = analysed(Rotation(Shrink(1.0)), prior, observation).ensemble
    np.testing.assert_allclose(np.sort(turned, axis=0), prior + 1)


def test_spread_is_reset_to_that_of_the_first_prior(prior, observation):
    reset = SpreadReset(ETKF())
    first = analysed(reset, prior, observation)
    second = analysed(reset, 3 * first.ensemble, observation, memory=first.memory)
    for analysis in (first, second):
        np.testing.assert_allclose(analysis.ensemble.std(axis=0, ddof=1), prior.std(axis=0, ddof=1))


@pytest.mark.parametrize(
    "make",
    [
        lambda: ForecastInflation(ETKF(), 0.0),
        lambda: AnalysisInflation(ETKF(), -1.0),
        lambda: RTPS(ETKF(), -0.1),
        lambda: RTPP(ETKF(), np.nan),
    ],
)
def test_impossible_settings_are_refused(make):
    with pytest.raises(ValueError, match="give"):
        make()


def test_settings_print_as_their_recipe():
    assert repr(RTPS(Rotation(ETKF()), 0.3)) == "RTPS(filter=Rotation(filter=ETKF()), strength=0.3)"
