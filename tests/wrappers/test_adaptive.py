"""Adaptive inflation: hand-computed patches, the scalar Riccati equation, chi^2 tails, shocks, a linear twin."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import scipy.stats

from ensf.arrays import to_numpy
from ensf.filters.base import Analysis, Unchanged
from ensf.filters.kalman.filters import ETKF
from ensf.filters.kalman.letkf import LETKF
from ensf.localization import Euclidean, Localization, gaspari_cohn, periodic_line
from ensf.observations import Identity, Observation, Select
from ensf.wrappers.adaptive_inflation import AdaptiveInflation, InflationMemory
from ensf.wrappers.spread import Rotation


@dataclass(frozen=True, eq=False)
class Keep:
    """No analysis: the inflated prior comes back; counts its calls in memory."""

    def analyse(self, prior, observation, rng, memory=None, positions=None):
        return Analysis(prior, (memory or 0) + 1)


@dataclass(frozen=True, eq=False)
class KeepPrepared:
    """The same as a preparable filter, with degrees of freedom at the places 0, 1, ..."""

    freedom: Any

    def prepare(self, predicted, observation, rng, memory=None):
        return Kept((memory or 0) + 1, freedom=self.freedom)


@dataclass(frozen=True, eq=False)
class Kept(Unchanged):
    freedom: Any = None

    def degrees_of_freedom(self, positions):
        return self.freedom[positions[:, 0].astype(int)]


def remembered(departure, variance, places=None):
    """Memory at places, by default 0, 1, ..."""
    places = np.arange(len(departure)) if places is None else places
    return InflationMemory(np.asarray(places, float)[:, None], departure, variance, np.zeros(len(departure)))


def apart():
    """Places that see nothing but themselves."""
    return Localization(Euclidean(), 0.4)


def members(rng, variance, count=10):
    """Ensemble ``(member, state)`` of zero mean with exactly these variances."""
    draws = rng.standard_normal((count, np.size(variance)))
    draws -= draws.mean(axis=0)
    return draws / draws.std(axis=0, ddof=1) * np.sqrt(variance)


def repeated(size, times):
    """Each variable observed so often, at its place."""
    return np.repeat(np.arange(size), times)


def analysed(filter, prior, observation, memory=None, seed=0, positions=None):
    return filter.analyse(prior, observation, np.random.default_rng(seed), memory, positions)


def calm(localization, filter=None, **settings):
    """Nothing is learnt, nothing surprises, unless `settings` say so."""
    defaults = {"sampling": 0.0, "deviation": 1e-9, "surprise_limit": np.inf}
    return AdaptiveInflation(filter or Keep(), localization, **(defaults | settings))


# --- sampling error --------------------------------------------------------------------------------------


def test_sampling_error_is_that_of_the_cycle_before(rng):
    freedom = np.array([0.0, 1.0, 4.0, 2.5])
    prior, observation = members(rng, np.ones(4)), Observation(np.zeros(4), Identity(), 1.0)
    wrapper = calm(apart(), KeepPrepared(freedom), sampling=0.7)
    first = analysed(wrapper, prior, observation)
    second = analysed(wrapper, prior, observation, first.memory)
    np.testing.assert_allclose(first.info["inflation"], 1.0)
    np.testing.assert_allclose(second.info["inflation"] ** 2, 1 + 0.7 * freedom / 9, rtol=1e-12)
    np.testing.assert_allclose(second.ensemble.var(axis=0, ddof=1), 1 + 0.7 * freedom / 9)


@pytest.mark.parametrize("inner", [ETKF(), LETKF(apart()), Rotation(LETKF(apart()))])
def test_degrees_of_freedom_come_from_the_filter_within(inner, rng):
    prior, observation = members(rng, np.ones(4)), Observation(np.zeros(4), Identity(), np.array([0.1, 0.5, 1.0, 9.0]))
    wrapper = calm(apart(), inner, sampling=1.0)
    first = analysed(wrapper, prior, observation)
    second = analysed(wrapper, prior, observation, first.memory)
    freedom = first.info["degrees_of_freedom"] + np.zeros(4)
    assert freedom.min() > 0
    np.testing.assert_allclose(second.info["inflation"] ** 2, 1 + freedom / 9)


# --- what innovations say --------------------------------------------------------------------------------


def test_ratio_and_its_noise_by_hand(rng):
    """Three observations of unlike errors within reach of one place, and one beyond."""
    place, reach = np.array([0.0, 1.0, 1.5, 50.0]), Localization(Euclidean(), 2.0)
    variance, error = np.array([1.0, 4.0, 0.25, 1.0]), np.array([0.5, 1.0, 2.0, 1.0])
    value = np.array([2.0, -1.0, 3.0, 7.0])
    memory = remembered(np.full(4, 0.2), np.full(4, 0.3), place)
    wrapper = calm(reach, deviation=0.25, persistence=10.0)
    observation = Observation(value, Identity(), error)
    after = analysed(wrapper, members(rng, variance), observation, memory, positions=place[:, None]).memory

    kept = np.exp(-0.1)
    expected, expected_variance = kept * 0.2, kept**2 * 0.3 + (1 - kept**2) * 0.25
    rho = gaspari_cohn(np.array([0.0, 1.0, 1.5]), 2.0)
    d2, v = (value[:3] / error[:3]) ** 2, variance[:3] / error[:3] ** 2
    ratio = np.sum(rho * (d2 - 1)) / np.sum(rho * v)
    noise = 2 * np.sum(rho**2 * ((1 + expected) * v + 1) ** 2) / np.sum(rho * v) ** 2
    gain = expected_variance / (expected_variance + noise)
    np.testing.assert_allclose(after.variance[0], (1 - gain) * expected_variance, rtol=1e-12)
    np.testing.assert_allclose(after.departure[0], expected + gain * (ratio - 1 - expected), rtol=1e-12)


def test_a_far_ratio_counts_as_three_standard_deviations(rng):
    observation = Observation(np.array([1e4]), Identity(), 1.0)
    after = analysed(calm(apart(), deviation=0.05), members(rng, 1.0), observation).memory
    total = 0.1**2 + 2 * (1 + 1) ** 2
    np.testing.assert_allclose(after.departure, 0.1**2 / total * 3 * np.sqrt(total), rtol=1e-12)


def test_variance_of_the_departure_solves_the_riccati_equation(rng):
    """Innovations of exactly the expected size: r stays 0 and its variance becomes steady."""
    error, deviation, persistence = 0.5, 0.3, 20.0
    prior = members(rng, np.ones(2))
    observation = Observation(np.full(10, np.sqrt(1 + error**2)), Select(repeated(2, 5)), error)
    wrapper, memory = calm(apart(), deviation=deviation / 2, persistence=persistence), None
    for _ in range(200):
        memory = analysed(wrapper, prior, observation, memory).memory
    noise, kept = 2 * (1 + error**2) ** 2 / 5, np.exp(-2 / persistence)
    added = (1 - kept) * deviation**2
    steady = np.roots(
        [kept, added + noise * (1 - kept), -noise * added]
    ).max()  # p = noise f / (noise + f), f = kept p + added
    np.testing.assert_allclose(memory.variance, steady, rtol=1e-10)
    np.testing.assert_allclose(memory.departure, 0.0, atol=1e-12)


def test_without_observations_nearby_the_departure_reverts(rng):
    wrapper = calm(apart(), deviation=0.1, persistence=7.0)
    memory = remembered(np.array([0.5, 0.5]), np.array([0.001, 0.001]))
    observation = Observation(np.zeros(1), Select((0,)), 1.0)
    prior = members(rng, np.ones(2))
    for _ in range(5):
        memory = analysed(wrapper, prior, observation, memory).memory
    kept = np.exp(-5 / 7)
    np.testing.assert_allclose(memory.departure[1], 0.5 * kept, rtol=1e-9)
    np.testing.assert_allclose(memory.variance[1], 0.04 + kept**2 * (0.001 - 0.04), rtol=1e-9)
    assert memory.departure[0] < memory.departure[1] and memory.variance[0] < memory.variance[1]


def test_places_without_observations_get_nothing(rng):
    prior, observation = members(rng, np.ones(3)), Observation(np.array([30.0]), Select((1,)), 1.0)
    analysis = analysed(AdaptiveInflation(Keep(), apart()), prior, observation)
    np.testing.assert_array_equal(analysis.info["inflation"][[0, 2]], 1.0)
    np.testing.assert_allclose(analysis.ensemble[:, [0, 2]], prior[:, [0, 2]], rtol=1e-14)
    assert analysis.info["inflation"][1] > 5


def test_units_of_distant_observations_do_not_matter(rng):
    """Two places with the same evidence, one of them in units 1e9 times smaller."""
    prior, unit = members(rng, np.ones(1)) * np.ones(2), np.array([1.0, 1e-9])
    for value in (1.7, 9.0):
        observation = Observation(value * unit, Identity(), 0.3 * unit)
        analysis = analysed(AdaptiveInflation(Keep(), apart(), independent_part=0.0), prior * unit, observation)
        np.testing.assert_allclose(analysis.ensemble[:, 1] * 1e9, analysis.ensemble[:, 0], rtol=1e-10)
        assert np.ptp(analysis.info["inflation"]) < 1e-10


# --- surprises -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deviations", [2.0, 3.0])
@pytest.mark.parametrize("times", [1, 3, 20])
def test_consistent_innovations_surprise_at_the_nominal_rate(times, deviations, rng):
    size, error = 40000, np.tile(np.linspace(0.8, 1.2, times), 40000)
    variance = np.full(size, 0.7)
    observed = Select(repeated(size, times))
    value = np.sqrt(np.repeat(0.7, size * times) + error**2) * rng.standard_normal(size * times)
    wrapper = calm(apart(), surprise_limit=deviations, independent_part=0.0)
    inflation = analysed(wrapper, members(rng, variance, 3), Observation(value, observed, error)).info["inflation"]
    nominal = scipy.stats.norm.sf(deviations)
    assert 0.5 * nominal < np.mean(inflation > 1 + 1e-6) < 2 * nominal


def test_a_shock_is_answered_in_the_same_cycle(rng):
    """Spread grows to the deficit: ensemble variance plus error variance is the mean squared innovation."""
    prior, error = members(rng, np.array([1.0, 2.0])), 0.1
    value = np.array([8.0, 9.0, 10.0, -1.4, 1.4, 1.4])
    observation = Observation(value, Select(repeated(2, 3)), error)
    analysis = analysed(AdaptiveInflation(Keep(), apart(), independent_part=0.0), prior, observation)
    variance = analysis.ensemble.var(axis=0, ddof=1)
    np.testing.assert_allclose(variance[0] + error**2, np.mean(value[:3] ** 2), rtol=1e-9)
    np.testing.assert_allclose(variance, analysis.info["inflation"] ** 2 * [1.0, 2.0])
    assert variance[1] < 2.2


def test_a_part_of_the_surprise_is_independent_noise(rng):
    """All variables agree in the prior: what they share afterwards is the part that is not noise."""
    size, value = 600, 6.0
    prior = members(rng, np.ones(1), 20) * np.ones(size)
    observation = Observation(np.full(4 * size, value), Select(repeated(size, 4)), 1.0)
    wrapper = calm(apart(), surprise_limit=3.5, independent_part=0.25)
    analysis = analysed(wrapper, prior, observation)
    excess = value**2 - 1 - 1
    np.testing.assert_allclose(analysis.info["inflation"] ** 2, 1 + excess)
    covariance = np.cov(analysis.ensemble.T)
    between = covariance[~np.eye(size, dtype=bool)].mean()
    np.testing.assert_allclose(between, 1 + 0.75 * excess, rtol=0.03)
    np.testing.assert_allclose(np.diag(covariance).mean(), 1 + excess, rtol=0.03)
    np.testing.assert_allclose(analysis.ensemble.mean(axis=0), 0.0, atol=1e-12)
    assert np.linalg.matrix_rank(analysis.ensemble) == 19 and np.linalg.matrix_rank(prior) == 1
    grown = analysed(replace(wrapper, independent_part=0.0), prior, observation).ensemble
    assert np.linalg.matrix_rank(grown) == 1


def test_after_a_surprise_the_departure_is_learnt_faster(rng):
    prior = members(rng, np.ones(2))
    observation = Observation(np.array([1.0, 50.0]), Identity(), 1.0)
    wrapper = AdaptiveInflation(Keep(), apart(), deviation=0.05, persistence=100.0, deviation_after_surprise=0.2)
    after = analysed(wrapper, prior, observation).memory
    assert after.variance[0] < 0.1**2 and after.variance[1] == pytest.approx(0.4**2)
    unsurprised = analysed(replace(wrapper, surprise_limit=np.inf), prior, observation).memory
    assert unsurprised.variance[1] < 0.1**2


def test_max_inflation_bounds_what_is_followed_and_what_surprises(rng):
    prior, observation = members(rng, np.ones(1)), Observation(np.array([1e3]), Identity(), 1.0)
    surprised = analysed(calm(apart(), surprise_limit=3.5, max_inflation=4.0), prior, observation)
    np.testing.assert_allclose(surprised.info["inflation"], np.sqrt(1 + 16), rtol=1e-6)
    memory = remembered(np.array([1e5]), np.array([1e-9]))
    followed = analysed(calm(apart(), max_inflation=4.0), prior, observation, memory)
    np.testing.assert_allclose(followed.info["inflation"], 4.0, rtol=1e-6)


def test_no_less_than_the_prior_and_nothing_from_members_that_agree(rng):
    memory = remembered(np.array([-0.9, 0.0]), np.full(2, 1e-9))
    prior = members(rng, np.ones(2)) * [1.0, 0.0]
    analysis = analysed(AdaptiveInflation(Keep(), apart()), prior, Observation(np.zeros(2), Identity(), 1.0), memory)
    np.testing.assert_array_equal(analysis.info["inflation"], 1.0)
    np.testing.assert_allclose(analysis.ensemble, prior, atol=1e-15)


# --- knots -----------------------------------------------------------------------------------------------


def test_knots_cover_what_was_observed_so_far_and_what_they_learnt_stays(rng):
    place = 0.1 * np.arange(200)[:, None]
    wrapper, prior = calm(Localization(Euclidean(), 1.0), deviation=0.2), members(rng, np.ones(200))
    west, east = np.arange(80), np.arange(60, 160)
    first = analysed(wrapper, prior, Observation(np.full(80, 2.0), Select(west), 1.0), positions=place).memory
    second = analysed(wrapper, prior, Observation(np.ones(100), Select(east), 1.0), first, positions=place).memory
    for knots, last in ((first.knots, 80), (second.knots, 160)):
        assert np.abs(place[:last] - knots.T).min(axis=1).max() <= 0.25
        assert len(knots) < last / 2
    np.testing.assert_array_equal(second.knots[: len(first.knots)], first.knots)
    forgot = np.exp(-1 / wrapper.persistence)
    alone = first.knots[:, 0] < 60 * 0.1 - 2
    assert alone.any()
    np.testing.assert_allclose(second.departure[: len(alone)][alone], forgot * first.departure[alone], rtol=1e-12)


def test_the_factor_between_knots_is_between_theirs(rng):
    place, reach = np.arange(0, 20, 0.05)[:, None], Localization(Euclidean(), 2.0)
    prior, observed = members(rng, np.ones(len(place))), np.arange(0, len(place), 5)
    value = np.where(place[observed, 0] < 10, 4.0, 0.0)
    wrapper = calm(reach, deviation=0.5)
    analysis = analysed(wrapper, prior, Observation(value, Select(observed), 1.0), positions=place)
    factor, learnt = analysis.info["inflation"] ** 2, 1 + np.clip(analysis.memory.departure, 0, None)
    assert learnt.min() - 1e-9 <= factor.min() < 1.05 and 1.5 < factor.max() <= learnt.max() + 1e-9
    assert np.abs(np.diff(factor)).max() < 0.1 * np.ptp(factor)  # ten places from knot to knot
    assert factor[place[:, 0] < 8].min() > 1.5 and factor[place[:, 0] > 14].max() < 1.05


# --- many cycles -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1.0, 1.5, 2.5])
def test_a_known_lack_of_variance_is_found(factor, rng):
    """A linear twin whose forecast variances are too small by `factor`: lambda^2 becomes that factor."""
    size, count, memory = 30, 30, None
    line = periodic_line(size, 1.5)
    wrapper = AdaptiveInflation(Rotation(LETKF(line)), line, deviation=0.5, persistence=1e4)
    truth, ensemble = rng.standard_normal(size), rng.standard_normal((count, size))
    found = []
    for _ in range(200):
        truth = 0.9 * truth + np.sqrt(0.19) * rng.standard_normal(size)
        ensemble = 0.9 * ensemble + np.sqrt(0.19) * rng.standard_normal((count, size))
        mean = ensemble.mean(axis=0)
        ensemble = mean + (ensemble - mean) / np.sqrt(factor)
        observation = Observation(truth + 0.4 * rng.standard_normal(size), Identity(), 0.4)
        analysis = wrapper.analyse(ensemble, observation, rng, memory)
        ensemble, memory = analysis.ensemble, analysis.memory
        found.append(analysis.info["inflation"] ** 2)
    assert abs(np.mean(found[100:]) / factor - 1) < 0.08


def test_memory_resumes(rng):
    line = periodic_line(20, 3.0)
    wrapper = AdaptiveInflation(Keep(), line)
    prior = members(rng, np.ones(20))
    networks = [Observation(3 * rng.standard_normal(20), Identity(), 0.5) for _ in range(4)]
    memory = None
    for k, observation in enumerate(networks):
        straight = analysed(wrapper, prior, observation, memory)
        resumed = analysed(wrapper, prior, observation, pickle.loads(pickle.dumps(memory)))
        np.testing.assert_array_equal(resumed.ensemble, straight.ensemble)
        memory = straight.memory
        assert memory.inner == k + 1
    assert not np.allclose(straight.ensemble, analysed(wrapper, prior, networks[-1]).ensemble)


def test_missing_observations_are_those_that_are_not_there(rng):
    line, value = periodic_line(12, 2.0), 3 * rng.standard_normal(12)
    prior, seen = members(rng, np.ones(12)), np.array([0, 3, 4, 9])
    gaps = np.full(12, np.nan)
    gaps[seen] = value[seen]
    wrapper = AdaptiveInflation(Keep(), line)
    with_gaps = analysed(wrapper, prior, Observation(gaps, Identity(), 0.5))
    without = analysed(wrapper, prior, Observation(value[seen], Select(seen), 0.5))
    np.testing.assert_array_equal(with_gaps.ensemble, without.ensemble)
    nothing = analysed(wrapper, prior, Observation(np.full(12, np.nan), Identity(), 0.5), with_gaps.memory)
    assert nothing.ensemble is prior
    assert (with_gaps.memory.inner, nothing.memory.inner) == (1, 2)
    for name in ("knots", "departure", "variance", "freedom"):
        assert getattr(nothing.memory, name) is getattr(with_gaps.memory, name)


# --- arrays ----------------------------------------------------------------------------------------------


def test_array_and_dtype_are_kept(backend, rng):
    line = periodic_line(16, 3.0)
    wrapper = AdaptiveInflation(LETKF(line), line, independent_part=0.0, deviation=0.25)
    prior, value = members(rng, np.linspace(0.5, 2.0, 16)), rng.standard_normal(16) + 6.0 * (np.arange(16) == 5)
    given, expected = [], []
    for make, kept in ((backend.array, given), (np.asarray, expected)):
        memory = None
        for _ in range(3):
            analysis = analysed(wrapper, make(prior), Observation(make(value), Identity(), 0.5), memory)
            memory = analysis.memory
        kept += [analysis.ensemble, analysis.info["inflation"], memory.departure, memory.variance, memory.freedom]
    assert all(backend.owns(array) for array in given)
    assert to_numpy(given[1]).max() > 1.5
    for there, here in zip(given, expected, strict=True):
        np.testing.assert_allclose(to_numpy(there), here, rtol=50 * backend.tolerance, atol=5 * backend.tolerance)


def test_noise_is_drawn_beside_the_array(backend, rng):
    prior = members(rng, np.ones(3))
    observation = Observation(backend.array(np.full(3, 20.0)), Identity(), 1.0)
    analysis = analysed(AdaptiveInflation(Keep(), apart()), backend.array(prior), observation)
    assert backend.owns(analysis.ensemble) and np.linalg.matrix_rank(to_numpy(analysis.ensemble)) == 3


# --- settings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("sampling", -0.1, "0 or more"),
        ("deviation", 0.0, "a positive number"),
        ("persistence", 0.0, "a positive number of cycles"),
        ("surprise_limit", 0.0, "infinity for never"),
        ("deviation_after_surprise", -1.0, "0 or more"),
        ("independent_part", 1.1, "0 to 1"),
        ("independent_part", -0.1, "0 to 1"),
        ("max_inflation", 0.5, "1 or more"),
        *(
            (name, np.nan, "give")
            for name in (
                "sampling",
                "deviation",
                "persistence",
                "surprise_limit",
                "deviation_after_surprise",
                "independent_part",
            )
        ),
    ],
)
def test_impossible_settings_are_refused(name, value, advice):
    with pytest.raises(ValueError, match=f"{name} of .* is {value}: .*{advice}"):
        AdaptiveInflation(Keep(), apart(), **{name: value})


def test_settings_at_their_limits_are_taken():
    AdaptiveInflation(
        Keep(),
        apart(),
        sampling=0.0,
        surprise_limit=np.inf,
        deviation_after_surprise=0.0,
        independent_part=1.0,
        max_inflation=1.0,
    )
