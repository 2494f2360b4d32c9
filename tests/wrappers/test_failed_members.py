"""Members that failed: the exact posterior of those that are left, and what takes the places of the others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from exact import kalman_posterior

from ensf import (
    ETKF,
    LETKF,
    RTPS,
    AdaptiveSpread,
    AnalysisInflation,
    AugmentedState,
    Copula,
    DeferredAnalysis,
    EnFF,
    FailedMembers,
    Observation,
    Parameter,
    Select,
    Simulated,
    Smoother,
    SpreadReset,
    analyse_window,
    at_times,
    letsf,
    periodic_line,
)
from ensf.dataset import Log, Problem
from ensf.diagnostics import scores
from ensf.filters import Lost
from ensf.models.lorenz96 import Lorenz96
from ensf.models.wrappers import Failing
from ensf.twin import AsynchronousNetwork, Climatology, Network, Streams, twin
from ensf.wrappers.failed_members import Replacement, of_members

SIZE, MEMBERS = 12, 10
LINE = periodic_line(SIZE, 2.5)
FAILED, LEFT = [2, 7], [0, 1, 3, 4, 5, 6, 8, 9]
SEEN = Observation(np.array([0.5, -0.2, 1.0]), Select((0, 4, 9)), 0.5)
FILTERS = [ETKF(), LETKF(LINE), letsf(LINE), Copula(LETKF(LINE)), AugmentedState(LETKF(LINE), (Parameter(),))]


@pytest.fixture
def prior(rng):
    states = rng.standard_normal((MEMBERS, SIZE))
    states[2, 5] = np.nan
    states[7, :] = np.inf
    return states


def test_the_analysis_is_the_exact_posterior_of_those_that_are_left(prior):
    analysis = FailedMembers(ETKF(), 5).analyse(prior, SEEN, 1)
    left, ensemble = prior[LEFT], analysis.ensemble[LEFT]
    mean, covariance = kalman_posterior(
        left.mean(axis=0), np.cov(left.T), np.eye(SIZE)[[0, 4, 9]], 0.25 * np.eye(3), SEEN.value
    )
    np.testing.assert_allclose(ensemble.mean(axis=0), mean, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(np.cov(ensemble.T), covariance, rtol=1e-8, atol=1e-11)
    assert analysis.info["failed_members"] == 2 and analysis.ensemble.shape == prior.shape


@pytest.mark.parametrize("inner", [LETKF(LINE), Copula(LETKF(LINE))], ids=["update", "whole"])
def test_it_says_of_which_member_each_is_a_copy(inner, prior):
    analysis = FailedMembers(inner, 5, move=0.0).analyse(prior, SEEN, 1)
    copies = analysis.info["copies"]
    assert list(copies) == FAILED and set(copies.values()) <= set(LEFT)
    np.testing.assert_allclose(analysis.ensemble[FAILED], analysis.ensemble[list(copies.values())], rtol=1e-12)
    assert "copies" not in FailedMembers(inner, 5, replaced=False).analyse(prior, SEEN, 1).info


@pytest.mark.parametrize("inner", FILTERS, ids=lambda one: type(one).__name__)
def test_the_others_do_not_notice_and_nothing_changes_where_none_failed(inner, prior):
    for method in (FailedMembers(inner, 5), FailedMembers(inner, 5, replaced=False)):
        expected = inner.analyse(prior[LEFT], SEEN, 1).ensemble
        ensemble = method.analyse(prior, SEEN, 1).ensemble
        np.testing.assert_array_equal(ensemble[LEFT] if method.replaced else ensemble, expected)
        whole = np.nan_to_num(prior, posinf=0.3)
        np.testing.assert_array_equal(method.analyse(whole, SEEN, 1).ensemble, inner.analyse(whole, SEEN, 1).ensemble)


@pytest.mark.parametrize("move", [0.0, 0.3, 1.0])
def test_what_takes_their_places_has_the_covariance_of_the_analysis(rng, move):
    members = rng.standard_normal((8, 3)) @ rng.standard_normal((3, 3))
    alive = np.array([True] * 8 + [False] * 8)
    made = np.concatenate([Replacement.draw(alive, rng, move).made(members) for _ in range(3000)])
    np.testing.assert_allclose(made.mean(axis=0), members.mean(axis=0), atol=0.05)
    sample = np.cov(members.T) * (1 - (1 - move**2) / 8)  # of copies: the sum over the members, over their number
    np.testing.assert_allclose(np.cov(made.T), sample, rtol=0.05, atol=0.05)
    if move:
        assert len(np.unique(made, axis=0)) == len(made)


def test_copies_are_of_different_members_while_there_are_enough(rng):
    alive = np.arange(10) < 6
    assert len(set(Replacement.draw(alive, rng).donors)) == 4
    assert sorted(np.bincount(Replacement.draw(alive[[0, 1, 2, 6, 7, 8, 9]], rng).donors)) == [1, 1, 2]


def test_parts_and_earlier_states_take_the_same_weights(prior, rng):
    method = FailedMembers(AnalysisInflation(LETKF(LINE), 1.1), 5)
    analysis = method.analyse(prior, SEEN, 3)
    positions = np.arange(float(SIZE))[:, None]
    for entries in np.split(rng.permutation(SIZE), [1, 5]):
        part = analysis.update.near(positions[entries]).apply(prior[:, entries], positions[entries], entries)
        np.testing.assert_array_equal(part, analysis.ensemble[:, entries])
    earlier = rng.standard_normal((MEMBERS, SIZE))
    corrected = analysis.update.apply(earlier, positions, field="earlier", inflate=False)
    inner = method.filter.analyse(prior[LEFT], SEEN, 3).update
    expected = inner.apply(earlier[LEFT], positions, field="earlier", inflate=False)
    np.testing.assert_array_equal(corrected[LEFT], expected)
    np.testing.assert_allclose(corrected[FAILED], analysis.update.replacement.made(expected))


@pytest.mark.parametrize("window", [False, True], ids=["time", "window"])
@pytest.mark.parametrize("observed", [True, False])
def test_earlier_states_are_those_of_the_copies_whatever_is_observed(prior, rng, observed, window):
    """An unmoved copy has the past of the member that it is of; one that is left out has none."""
    first = rng.standard_normal(prior.shape)
    seen = SEEN if observed else replace(SEEN, value=SEEN.value * np.nan, error=SEEN.law)

    def smoothed(replaced):
        method = Smoother(FailedMembers(LETKF(LINE), 4, replaced=replaced, move=0.0), 2)
        memory = method.analyse(first, SEEN, 1).memory
        if window:
            return analyse_window(method, prior[:, None], seen, 1, memory)
        return method.analyse(prior, seen, 1, memory)

    analysis, left = smoothed(True), smoothed(False)
    assert list(analysis.info["copies"]) == FAILED
    for failed, donor in analysis.info["copies"].items():
        for state in (analysis.ensemble, *analysis.earlier):
            np.testing.assert_allclose(state[failed], state[donor], rtol=0, atol=1e-12)
    for state, whole in zip((left.ensemble, *left.earlier), (analysis.ensemble, *analysis.earlier), strict=True):
        np.testing.assert_array_equal(state, whole[LEFT])
    assert [len(state) for state in left.memory.states] == [len(LEFT)] * 2


def test_parameters_of_what_takes_the_places_stay_within_their_bounds(rng):
    """The weights are those of the state, in the coordinates of the transform: exp of a combination of logarithms."""
    rates = np.exp(1.5 * rng.standard_normal((MEMBERS, 2)))
    states = np.concatenate([rng.standard_normal((MEMBERS, SIZE)), rates], axis=1)
    states[FAILED] = np.nan
    log = Parameter(transform=Log())
    inner = AugmentedState(RTPS(LETKF(LINE), 0.2), (log, log))
    negative = 0
    for seed in range(20):
        method = FailedMembers(inner, 5, move=0.9)
        for seen in (SEEN, replace(SEEN, value=SEEN.value * np.nan, error=SEEN.law)):
            analysis = method.analyse(states, seen, seed)
            left, weights = analysis.ensemble[LEFT], analysis.update.replacement.made
            np.testing.assert_allclose(analysis.ensemble[FAILED, :SIZE], weights(left[:, :SIZE]), atol=1e-12)
            expected = np.exp(weights(np.log(left[:, SIZE:])))
            np.testing.assert_allclose(analysis.ensemble[FAILED, SIZE:], expected, rtol=1e-12)
            negative += (weights(left[:, SIZE:]) <= 0).any()
    assert negative


def test_a_simulation_that_failed_is_a_member_that_failed(prior):
    """Its state is fine, its row of predictions is not finite; missing observations ask for nothing."""
    states, method = np.nan_to_num(prior, posinf=0.3), FailedMembers(ETKF(), 5)
    predicted = states[:, :3] + 1.0
    predicted[FAILED, 1] = [np.nan, np.inf, -np.inf][: len(FAILED)]
    seen = Observation(np.array([0.5, 1.0, 0.2]), Simulated(), 0.5)
    analysis = method.analyse(states, seen, 1, predicted=predicted)
    expected = ETKF().analyse(states[LEFT], seen, 1, predicted=predicted[LEFT]).ensemble
    np.testing.assert_array_equal(analysis.ensemble[LEFT], expected)
    assert analysis.info["failed_members"] == len(FAILED) and np.isfinite(analysis.ensemble).all()
    missing = Observation(np.array([0.5, np.nan, 0.2]), Simulated(), 0.5)
    assert method.analyse(states, missing, 1, predicted=predicted).info["failed_members"] == 0
    nobody = predicted.copy()
    nobody[:, 1] = np.nan
    with pytest.raises(ValueError, match="observation 1"):
        method.analyse(states, seen, 1, predicted=nobody)
    with pytest.raises(ValueError, match="predicted has shape .* but there are .* members"):
        method.analyse(states, seen, 1, predicted=predicted[:-1])
    with pytest.raises(ValueError, match=f"min_members is {len(states)}"):
        FailedMembers(ETKF(), len(states)).analyse(states, seen, 1, predicted=predicted)


def test_predictions_and_prepare_tell_who_failed(prior):
    method = FailedMembers(LETKF(LINE), 5)
    states = np.nan_to_num(prior, posinf=0.3)
    predicted = SEEN.predict(states)
    analysis = method.analyse(prior, SEEN, 1, predicted=predicted)
    expected = LETKF(LINE).analyse(prior[LEFT], SEEN, 1, predicted=predicted[LEFT])
    np.testing.assert_array_equal(analysis.ensemble[LEFT], expected.ensemble)
    predicted[FAILED] = np.nan
    located = SEEN.located(np.arange(float(SIZE))[:, None])
    update = method.prepare(predicted, located, np.random.default_rng(1))
    np.testing.assert_array_equal(update.apply(states, np.arange(float(SIZE))[:, None])[LEFT], expected.ensemble)


def test_too_few_and_wrong_numbers_are_refused(prior):
    with pytest.raises(ValueError, match="there are 10 members but min_members is 50: give a lower number"):
        FailedMembers(ETKF(), 50).analyse(np.nan_to_num(prior), SEEN, 1)
    with pytest.raises(
        ValueError, match="8 of 10 members are left, member 2 is not finite or too far off, and min_members is 9"
    ):
        FailedMembers(ETKF(), 9).analyse(prior, SEEN, 1)
    with pytest.raises(ValueError, match="min_members of the failed members is 1: give 2 or more"):
        FailedMembers(ETKF(), 1)
    with pytest.raises(ValueError, match="move of the failed members is 1.5"):
        FailedMembers(ETKF(), 2, move=1.5)


# --- in a window, and in twin experiments ----------------------------------------------------------------


def test_in_a_window_a_member_fails_as_a_whole(rng):
    trajectory = rng.standard_normal((MEMBERS, 3, SIZE))
    trajectory[2, 1, 4] = np.nan
    seen = Observation(np.ones(3), at_times(Select((3, 5, 7)), [0.5, 1.0, 2.0], [0.0, 1.0, 2.0]), 0.5)
    left = [k for k in range(MEMBERS) if k != 2]
    for inner in (LETKF(LINE), Smoother(LETKF(LINE), 2)):
        bare = inner.filter if isinstance(inner, Smoother) else inner
        method = FailedMembers(bare, 5)
        method = Smoother(method, 2) if isinstance(inner, Smoother) else method
        ensemble = analyse_window(method, trajectory, seen, 1).ensemble
        np.testing.assert_array_equal(ensemble[left], analyse_window(bare, trajectory[left], seen, 1).ensemble)
        assert ensemble.shape == (MEMBERS, SIZE) and np.isfinite(ensemble).all()


MODEL = Lorenz96()
RING = periodic_line(40, 7.3)


def cycles(method, network=None, probability=0.1, number=12):
    network = network or Network(Select(range(40)), 1.0)
    start = Climatology(MODEL, np.full(40, 8.0), spin_up=2.0)
    settings = {"members": 10, "cycles": number, "interval": 0.05, "streams": Streams.spawn(1), "truth_model": MODEL}
    return twin(Failing(MODEL, probability), method, network, start, **settings)


@pytest.mark.parametrize("wrapped", ["plain", "smoother", "loop", "window"])
def test_a_twin_goes_on(wrapped):
    method = FailedMembers(AnalysisInflation(LETKF(RING), 1.05), 4)
    network = None
    if wrapped == "smoother":
        method = Smoother(method, 2)
    if wrapped == "loop":
        method = replace(method, filter=letsf(RING, loop=True))
    if wrapped == "window":
        network = AsynchronousNetwork(Network(Select(range(40)), 1.0), (0.05,), (0.0, 0.05))
    failed = 0
    for cycle in cycles(method, network):
        measured = scores(cycle)
        assert np.isfinite(measured["rmse_forecast"]) and cycle.analysis.ensemble.shape == (10, 40)
        assert len(cycle.forecast) == 10 - measured["failed_members"]
        failed += measured["failed_members"]
    assert failed > 3


def test_a_twin_without_enough_members_or_without_the_wrapper_ends():
    with pytest.raises(Lost, match="members are left.*: see why the model fails for these members"):
        list(cycles(FailedMembers(LETKF(RING), 9), probability=0.5))
    with pytest.raises(Lost, match="the forecast of member . is not finite"):
        list(cycles(LETKF(RING), probability=0.5))


@pytest.mark.parametrize("wrap", [lambda inner: inner, SpreadReset, Copula], ids=["alone", "reset", "copula"])
def test_a_memory_of_members_is_of_those_that_are_left(rng, wrap):
    flow = wrap(EnFF(strength=0.05))
    method = FailedMembers(flow, 5)
    first, second, third = rng.standard_normal((3, MEMBERS, SIZE))
    first[2], second[5] = np.nan, np.nan
    before = method.analyse(first, SEEN, 1)
    kept = np.array([True] * 5 + [False] + [True] * 4)
    expected = flow.analyse(second[kept], SEEN, 3, of_members(before.memory, kept))
    analysis = method.analyse(second, SEEN, 3, before.memory)
    np.testing.assert_array_equal(analysis.ensemble[kept], expected.ensemble)
    remembered = getattr(analysis.memory, "inner", analysis.memory)
    assert remembered.ensemble.shape == (MEMBERS, SIZE)
    if flow == EnFF(strength=0.05):
        np.testing.assert_array_equal(before.memory.ensemble, before.ensemble)
        np.testing.assert_array_equal(of_members(before.memory, kept).ensemble, before.ensemble[kept])
    assert np.isfinite(method.analyse(third, SEEN, 4, analysis.memory).ensemble).all()
    smaller = FailedMembers(flow, 5, replaced=False)
    left = smaller.analyse(smaller.analyse(first, SEEN, 1).ensemble, SEEN, 2, smaller.analyse(first, SEEN, 1).memory)
    assert left.ensemble.shape == (MEMBERS - 1, SIZE)


def test_a_filter_inside_forgets_the_members_that_were_replaced(prior):
    whole = np.nan_to_num(prior, posinf=0.3)
    inside = DeferredAnalysis(AdaptiveSpread(LETKF(LINE), LINE))
    assert inside.analyse(whole, SEEN, 1).memory.inner.last is not None
    assert FailedMembers(inside, 5).analyse(prior, SEEN, 1).memory.inner.last is None
    dataset = xr.Dataset({"t": (("realization", "x"), prior)})
    method = FailedMembers(EnFF(strength=0.05), 5)
    first = Problem.of(dataset, SEEN, method).analyse(1)
    np.testing.assert_array_equal(first.memory.ensemble[LEFT], first.ensemble[LEFT])
    again = Problem.of(dataset, SEEN, method).analyse(2, first.memory)
    expected = method.analyse(prior, SEEN, 2, first.memory)
    np.testing.assert_array_equal(again.ensemble[LEFT], expected.ensemble[LEFT])
