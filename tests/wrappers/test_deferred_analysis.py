"""Deferred analysis: surprises that could not be repaired are slept on, for a cycle; everything else is the filter."""

from __future__ import annotations

import array_api_strict as xp
import numpy as np
import pytest
from rows import Keep

from ensf.filters import ETKF
from ensf.observations import Identity, Observation, Select
from ensf.runs.recipe.reader import read_method
from ensf.wrappers import DeferredAnalysis
from ensf.wrappers.deferred_analysis import DeferralMemory

SIZE, MEMBERS = 40, 20


def seen(count, away, error=0.5):
    """The first `count` variables, observed `away` from the mean of the prior."""
    noise = error * np.random.default_rng(3).standard_normal(count)
    return Observation(away * (-1.0) ** np.arange(count) + noise, Select(range(count)), error)


def waits(method, prior, observations):
    memory, rng = DeferralMemory(), np.random.default_rng(1)
    for observation in observations:
        analysis = method.analyse(prior, observation, rng, memory)
        memory = analysis.memory
        yield analysis.info["waited"]


@pytest.fixture
def prior(rng):
    return rng.standard_normal((MEMBERS, SIZE))


@pytest.mark.parametrize(("count", "away", "expected"), [(10, 6.0, 1.0), (10, 1.0, 0.0), (40, 6.0, 0.0)])
def test_it_waits_if_a_surprise_determines_too_little(prior, count, away, expected):
    observation = seen(count, away)
    analysis = DeferredAnalysis(ETKF()).analyse(prior, observation, np.random.default_rng(1), DeferralMemory())
    plain = ETKF().analyse(prior, observation, np.random.default_rng(1))
    assert analysis.info["waited"] == expected
    np.testing.assert_array_equal(analysis.ensemble, prior if expected else plain.ensemble)


def test_how_much_observations_determine(rng):
    """All are far off, so each determines one variable but for its error."""
    prior, observation = rng.standard_normal((MEMBERS, SIZE)), seen(20, 100.0)
    assert list(waits(DeferredAnalysis(ETKF(), min_constraint=0.49), prior, [observation])) == [0.0]
    assert list(waits(DeferredAnalysis(ETKF(), min_constraint=0.51), prior, [observation])) == [1.0]


def test_how_much_observations_near_their_errors_determine(prior):
    """The widened variances are of the order of the errors, so that what is lacking counts."""
    observation = seen(20, 4.0, error=2.0)
    square = ((observation.value - prior[:, :20].mean(axis=0)) / 2.0) ** 2
    variance = prior[:, :20].var(axis=0, ddof=1) / 4.0
    widened = variance * (square - 1).sum() / variance.sum()
    part = (widened / (1 + widened)).sum() / SIZE
    assert 0.3 < part < 0.45
    assert list(waits(DeferredAnalysis(ETKF(), min_constraint=0.9999 * part), prior, [observation])) == [0.0]
    assert list(waits(DeferredAnalysis(ETKF(), min_constraint=1.0001 * part), prior, [observation])) == [1.0]


def test_what_is_said_twice_is_believed(prior):
    far, near = seen(10, 6.0), seen(10, 1.0)
    assert list(waits(DeferredAnalysis(ETKF()), prior, [far, far, far, near, far])) == [1, 0, 1, 0, 1]
    assert list(waits(DeferredAnalysis(ETKF(), max_delay=2), prior, [far, far, far, near, far])) == [1, 1, 0, 0, 1]
    assert list(waits(DeferredAnalysis(ETKF(), max_delay=0), prior, [far, far])) == [0, 0]


def test_where_the_limit_is(prior):
    observation = seen(10, 6.0)
    predicted = prior[:, :10]
    expected = ((observation.value - predicted.mean(axis=0)) ** 2).sum() / (predicted.var(axis=0, ddof=1) + 0.25).sum()
    assert list(waits(DeferredAnalysis(ETKF(), chi2_limit=1.001 * expected), prior, [observation])) == [0.0]
    assert list(waits(DeferredAnalysis(ETKF(), chi2_limit=0.999 * expected), prior, [observation])) == [1.0]


def test_the_memory_of_the_filter_stays(prior):
    class Counting:
        def analyse(self, prior, observation, rng, memory=None, positions=None):
            analysis = ETKF().analyse(prior, observation, rng)
            return type(analysis)(analysis.ensemble, (memory or 0) + 1, {"count": memory})

    memory, far, near = None, seen(10, 6.0), seen(10, 1.0)
    for observation in (near, far, near):
        analysis = DeferredAnalysis(Counting()).analyse(prior, observation, np.random.default_rng(1), memory)
        memory = analysis.memory
    assert memory.inner == 2 and analysis.info == {"count": 1, "waited": 0.0}


NOTHING = Observation(np.full(SIZE, np.nan), Identity(), 1.0)


def test_the_first_analysis_waits_for_nothing(prior):
    """A single analysis of files has no next cycle: what it did not use would be lost."""
    observation, rng = seen(10, 6.0), np.random.default_rng(1)
    analysis = DeferredAnalysis(ETKF()).analyse(prior, observation, rng)
    plain = ETKF().analyse(prior, observation, np.random.default_rng(1))
    np.testing.assert_array_equal(analysis.ensemble, plain.ensemble)
    assert analysis.info["waited"] == 0.0 and analysis.memory.waited == 0
    again = DeferredAnalysis(ETKF()).analyse(prior, observation, rng, analysis.memory)
    assert again.info["waited"] == 1.0


def test_nothing_observed(prior):
    analysis = DeferredAnalysis(Keep()).analyse(prior, NOTHING, None, DeferralMemory(1, "inner"))
    np.testing.assert_array_equal(analysis.ensemble, prior)
    assert (analysis.memory.waited, analysis.memory.inner) == (1, "inner")


@pytest.mark.parametrize("away", [1.0, 6.0])
def test_missing_is_the_smaller_problem(prior, away):
    part = seen(10, away)
    value = np.concatenate([part.value, np.full(SIZE - 10, np.nan)])
    found, wanted = (
        DeferredAnalysis(ETKF()).analyse(prior, observation, np.random.default_rng(1), DeferralMemory())
        for observation in (Observation(value, Identity(), 0.5), part)
    )
    assert found.info == wanted.info and found.info["waited"] == (away > 3)
    np.testing.assert_allclose(found.ensemble, wanted.ensemble, atol=1e-12)


def test_a_bad_member_is_named_though_nothing_is_observed(prior):
    prior[3, 4] = np.nan
    with pytest.raises(ValueError, match="prior member 3 has nan at state variable 4"):
        DeferredAnalysis(ETKF()).analyse(prior, NOTHING, None)


@pytest.mark.parametrize(("device", "dtype"), [("device1", "float64"), ("no_float64", "float32")])
@pytest.mark.parametrize("away", [1.0, 6.0])
def test_on_any_device(rng, device, dtype, away):
    place = {"device": xp.Device(device), "dtype": getattr(xp, dtype)}
    prior = xp.asarray(rng.standard_normal((MEMBERS, SIZE)).tolist(), **place)
    given = seen(10, away)
    observation = Observation(xp.asarray(given.value.tolist(), **place), given.operator, 0.5)
    analysis = DeferredAnalysis(ETKF()).analyse(prior, observation, np.random.default_rng(1), DeferralMemory())
    assert analysis.ensemble.device == prior.device and analysis.ensemble.dtype == prior.dtype
    assert analysis.info["waited"] == (away > 3)


def test_its_recipe_can_be_read():
    method = DeferredAnalysis(ETKF(), chi2_limit=3.0)
    assert read_method(repr(method)) == method


@pytest.mark.parametrize(
    "numbers", [{"chi2_limit": 1.0}, {"min_constraint": -0.1}, {"min_constraint": 1.1}, {"max_delay": -1}]
)
def test_settings_are_checked(numbers):
    with pytest.raises(ValueError, match=f"{next(iter(numbers))} {next(iter(numbers.values()))}"):
        DeferredAnalysis(ETKF(), **numbers)
