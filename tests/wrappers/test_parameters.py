"""Parameters behind the state: the exact posterior, bounds, spread, places, parts, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from exact import kalman_posterior

from ensf import (
    ETKF,
    LETKF,
    RTPS,
    AdaptiveInflation,
    AnalysisInflation,
    AugmentedState,
    Copula,
    FailedMembers,
    ForecastInflation,
    Observation,
    OutlierRejection,
    Parameter,
    Rotation,
    Select,
    Smoother,
    Tempered,
    analyse_window,
    at_times,
    letsf,
    periodic_line,
)
from ensf.dataset import Log, Logit
from ensf.diagnostics import scores
from ensf.models.lorenz96 import ForcedLorenz96, Lorenz96
from ensf.twin import Network, Streams, twin
from ensf.wrappers import Relinearised

SIZE, MEMBERS = 12, 10
LINE = periodic_line(SIZE, 2.5)


@pytest.fixture
def prior(rng):
    states = rng.standard_normal((MEMBERS, SIZE))
    return np.concatenate([states, 2 + 0.3 * states[:, :1] + 0.2 * rng.standard_normal((MEMBERS, 2))], axis=1)


@pytest.fixture
def observation():
    return Observation(np.array([0.5, -0.2, 1.0]), Select((0, 4, 9)), 0.5)


def test_a_parameter_has_the_exact_posterior_of_the_sample(prior, observation):
    method = AugmentedState(ETKF(), (Parameter(), Parameter()))
    ensemble = method.analyse(prior, observation, 1).ensemble
    matrix = np.eye(SIZE + 2)[[0, 4, 9]]
    mean, covariance = kalman_posterior(
        prior.mean(axis=0), np.cov(prior.T), matrix, 0.25 * np.eye(3), observation.value
    )
    np.testing.assert_allclose(ensemble.mean(axis=0), mean, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(np.cov(ensemble.T), covariance, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("inner", [LETKF(LINE), ETKF(), Rotation(LETKF(LINE))], ids=["local", "global", "rotated"])
def test_a_parameter_that_stands_still_has_one_smoothed_value(inner, prior, observation):
    """It is today what it was in each cycle before: it took the update of a place behind the state."""
    positive = np.concatenate([prior[:, :-1], np.exp(2 * prior[:, -1:])], axis=1)
    method, memory, states = (
        Smoother(AugmentedState(inner, (Parameter(), Parameter(transform=Log()))), 3),
        None,
        positive,
    )
    for _ in range(4):
        analysis = method.analyse(states, observation, 1, memory)
        memory, states = analysis.memory, analysis.ensemble * np.r_[np.full(SIZE, 0.9), 1, 1]
    assert len(analysis.earlier) == 3
    for earlier in analysis.earlier:
        np.testing.assert_allclose(earlier[:, SIZE:], analysis.ensemble[:, SIZE:], rtol=1e-12)


def test_the_state_does_not_notice(prior, observation):
    for inner in (LETKF(LINE), Rotation(LETKF(LINE)), letsf(LINE)):
        method = AugmentedState(inner, (Parameter(min_spread=1.0), Parameter(places=((3.0,), (4.0,)))))
        ensemble = method.analyse(prior, observation, 1).ensemble
        np.testing.assert_array_equal(ensemble[:, :SIZE], inner.analyse(prior[:, :SIZE], observation, 1).ensemble)


def test_the_floor_and_the_walk_are_what_they_say(prior, observation):
    free = AugmentedState(ETKF(), (Parameter(), Parameter())).analyse(prior, observation, 1).ensemble
    held = AugmentedState(ETKF(), (Parameter(min_spread=1.5), Parameter(min_spread=1e-3))).analyse(
        prior, observation, 1
    )
    np.testing.assert_allclose(held.ensemble[:, SIZE].std(ddof=1), 1.5, rtol=1e-12)
    np.testing.assert_allclose(held.ensemble.mean(axis=0), free.mean(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(held.ensemble[:, SIZE + 1], free[:, SIZE + 1])
    walking = AugmentedState(ETKF(), (Parameter(walk=0.4), Parameter()))
    steps = [walking.analyse(prior, observation, seed).ensemble[:, SIZE] - free[:, SIZE] for seed in range(400)]
    np.testing.assert_allclose(np.mean(steps, axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(np.mean(np.var(steps, axis=1, ddof=1)), 0.16, rtol=0.08)


@pytest.mark.parametrize("window", [False, True], ids=["at its end", "in a window"])
def test_a_cycle_without_values_has_its_walk_and_its_floor(prior, window):
    """A walk is of the parameter, and not of the observations."""
    nothing = Observation(np.full(2, np.nan), Select([0, 3]), 0.5)

    def made(method, seed):
        if not window:
            return method.analyse(prior, nothing, seed)
        seen = Observation(nothing.value, at_times(Select([0, 3]), [0.0, 1.0], [0.0, 1.0]), 0.5)
        return analyse_window(method, np.stack([0 * prior, prior], axis=1), seen, seed)

    walking = AugmentedState(ETKF(), (Parameter(walk=0.4), Parameter(min_spread=1.5)))
    steps = np.array([made(walking, seed).ensemble - prior for seed in range(400)])
    assert (steps[:, :, :SIZE] == 0).all()
    np.testing.assert_allclose(np.mean(steps[:, :, SIZE], axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(np.mean(np.var(steps[:, :, SIZE], axis=1, ddof=1)), 0.16, rtol=0.08)
    analysis = made(walking, 1)
    np.testing.assert_allclose(analysis.ensemble[:, SIZE + 1].std(ddof=1), 1.5, rtol=1e-12)
    np.testing.assert_array_equal(analysis.update.apply(prior, np.arange(SIZE + 2.0)[:, None]), analysis.ensemble)
    still = made(AugmentedState(ETKF(), (Parameter(), Parameter())), 1)
    np.testing.assert_array_equal(still.ensemble, prior)


def test_the_floor_holds_where_all_members_agree(prior, observation):
    parameters = (Parameter(min_spread=0.5), Parameter(Log(), min_spread=0.1))
    method = AugmentedState(LETKF(LINE), parameters)
    prior = prior.copy()
    prior[:, SIZE:] = [2.0, 3.0]
    analysis = method.analyse(prior, observation, 1)
    for made, mean, spread in (
        (analysis.ensemble[:, SIZE], 2.0, 0.5),
        (np.log(analysis.ensemble[:, SIZE + 1]), np.log(3.0), 0.1),
    ):
        np.testing.assert_allclose([made.mean(), made.std(ddof=1)], [mean, spread], rtol=1e-12)
    entries = np.array([SIZE + 1])
    part = analysis.update.apply(prior[:, entries], None, entries)
    np.testing.assert_array_equal(part, analysis.ensemble[:, entries])


def test_the_inflation_of_parameters_is_one(prior, observation):
    info = AugmentedState(letsf(LINE), (Parameter(), Parameter())).analyse(prior, observation, 1).info
    assert np.isfinite(info["inflation"]).all() and (info["inflation"][SIZE:] == 1).all()


def test_bounds_are_kept_by_the_transform(prior, observation):
    prior = prior.copy()
    prior[:, SIZE] = np.exp(prior[:, SIZE])
    prior[:, SIZE + 1] = 1 / (1 + np.exp(-4 * prior[:, 0]))
    method = AugmentedState(ETKF(), (Parameter(Log(), min_spread=2.0), Parameter(Logit(), min_spread=3.0)))
    ensemble = method.analyse(prior, observation, 1).ensemble
    assert (ensemble[:, SIZE] > 0).all() and ((ensemble[:, -1] > 0) & (ensemble[:, -1] < 1)).all()
    np.testing.assert_allclose(np.log(ensemble[:, SIZE]).std(ddof=1), 2.0, rtol=1e-10)
    logged = prior.copy()
    logged[:, SIZE] = np.log(prior[:, SIZE])
    free = AugmentedState(ETKF(), (Parameter(), Parameter())).analyse(logged, observation, 1).ensemble
    unheld = AugmentedState(ETKF(), (Parameter(Log()), Parameter())).analyse(prior, observation, 1).ensemble
    np.testing.assert_allclose(np.log(unheld[:, SIZE]), free[:, SIZE], rtol=1e-10)
    prior[3, SIZE + 1] = 1.5
    with pytest.raises(ValueError, match=r"parameter 1 is 1.5 in member 3, outside the bounds of Logit"):
        method.analyse(prior, observation, 1)


def test_places_speak_for_a_parameter(prior, observation):
    """The mean of what entries with these values would get at the places, and nothing where nothing is observed."""
    inner = LETKF(periodic_line(SIZE, 1.0))
    places = ((0.0,), (4.0,), (7.0,))
    method = AugmentedState(inner, (Parameter(places=places), Parameter(places=((7.0,),))))
    ensemble = method.analyse(prior, observation, 1).ensemble
    update = inner.analyse(prior[:, :SIZE], observation, 1).update
    there = update.apply(np.repeat(prior[:, [SIZE]], 3, axis=1), np.array(places))
    np.testing.assert_allclose(ensemble[:, SIZE], there.mean(axis=1), rtol=1e-12)
    np.testing.assert_array_equal(ensemble[:, SIZE + 1], prior[:, SIZE + 1])


OUTSIDE = {
    "RTPS": lambda inner: RTPS(inner, 0.9),
    "AnalysisInflation": lambda inner: AnalysisInflation(inner, 2.0),
    "Rotation": Rotation,
    "ForecastInflation": lambda inner: ForecastInflation(inner, 2.0),
    "AdaptiveInflation": lambda inner: AdaptiveInflation(inner, LINE),
    "Copula": Copula,
    "Relinearised": Relinearised,
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_wrappers_that_change_members_stand_inside(name):
    """Around it they made of a rate within its bounds one below 0."""
    rate = AugmentedState(LETKF(LINE), (Parameter(transform=Log()),))
    sentence = f"{name} holds AugmentedState, and would take .*: put it outside, AugmentedState[(]{name}"
    with pytest.raises(ValueError, match=sentence):
        OUTSIDE[name](rate)
    FailedMembers(OutlierRejection(rate), 5)
    Tempered(rate)


def test_a_parameter_without_places_takes_the_mean_over_those_of_the_observations(prior, observation):
    inner = LETKF(LINE)
    ensemble = AugmentedState(inner, (Parameter(), Parameter())).analyse(prior, observation, 1).ensemble
    update = inner.analyse(prior[:, :SIZE], observation, 1).update
    for entry in (SIZE, SIZE + 1):
        there = update.apply(np.repeat(prior[:, [entry]], 3, axis=1), np.array([[0.0], [4.0], [9.0]]))
        np.testing.assert_allclose(ensemble[:, entry], there.mean(axis=1), rtol=1e-12)


def test_a_field_is_analysed_at_its_places(prior, observation):
    inner = LETKF(LINE)
    field = Parameter(places=((0.0,), (7.0,)), is_field=True)
    ensemble = AugmentedState(inner, (field,)).analyse(prior, observation, 1).ensemble
    update = inner.analyse(prior[:, :SIZE], observation, 1).update
    np.testing.assert_array_equal(ensemble[:, SIZE:], update.apply(prior[:, SIZE:], np.array(field.places)))


@pytest.mark.parametrize("inner", [ETKF(), LETKF(LINE), letsf(LINE)], ids=["ETKF", "LETKF", "letsf"])
def test_parts_have_the_bits_of_the_whole(inner, prior, observation, rng):
    parameters = (Parameter(walk=0.2, min_spread=0.5), Parameter(Log(), places=((1.0,), (5.0,))))
    prior[:, -1] = np.exp(prior[:, -1])
    analysis = AugmentedState(inner, parameters).analyse(prior, observation, 3)
    positions = np.arange(SIZE + 2.0)[:, None]
    positions[SIZE:] = np.nan
    for _ in range(5):
        for entries in np.split(rng.permutation(SIZE + 2), [1, 4, 9]):
            update = analysis.update.near(positions[entries])
            part = update.apply(prior[:, entries], positions[entries], entries)
            np.testing.assert_array_equal(part, analysis.ensemble[:, entries])


def test_what_does_not_fit_is_refused_in_a_sentence(prior, observation):
    with pytest.raises(ValueError, match="Copula needs whole states and has no update for parameters"):
        AugmentedState(Copula(LETKF(LINE)), (Parameter(),))
    with pytest.raises(ValueError, match="give a tuple of Parameter"):
        AugmentedState(ETKF(), ())
    with pytest.raises(ValueError, match="min_spread of the parameter is -1"):
        Parameter(min_spread=-1)
    with pytest.raises(ValueError, match="walk of Parameter is nan"):
        Parameter(walk=np.nan)
    with pytest.raises(ValueError, match="a place for each entry"):
        Parameter(is_field=True)
    with pytest.raises(ValueError, match="reads entry 12, which is a parameter: the state ends at 11"):
        AugmentedState(ETKF(), (Parameter(), Parameter())).analyse(
            prior, Observation(np.zeros(1), Select([SIZE]), 1.0), 1
        )
    with pytest.raises(ValueError, match="the last 20 are parameters"):
        AugmentedState(ETKF(), (Parameter(),) * 20).analyse(prior, observation, 1)


# --- a model with its forcing ----------------------------------------------------------------------------


def test_each_member_has_its_own_forcing(rng):
    states = 8 + rng.standard_normal((3, 40))
    forcing = np.array([7.0, 8.0, 9.5])
    there = ForcedLorenz96().advance(np.column_stack([states, forcing]), 0.3, 0.2)
    for row, one in zip(there, zip(states, forcing, strict=True), strict=True):
        np.testing.assert_array_equal(row[:-1], Lorenz96(forcing=one[1]).advance(one[0], 0.0, 0.2))
        assert row[-1] == one[1]
    drifting = ForcedLorenz96(swing=1.0, period=4.0).advance(np.append(states[0], 8.0), 0.0, 1.0)
    np.testing.assert_allclose(drifting[-1], 9.0)


def test_a_twin_finds_the_forcing_and_scores_it():
    class Start:
        def draw(self, members, streams):
            truth = Lorenz96().advance(8 + streams.truth.standard_normal(40), 0.0, 5.0)
            states = truth + streams.ensemble.standard_normal((members, 40))
            return np.append(truth, 8.0), np.column_stack([states, 7 + streams.ensemble.standard_normal(members)])

    method = AugmentedState(LETKF(periodic_line(40, 7.3)), (Parameter(min_spread=0.05),))
    network = Network(Select(range(40)), 0.3)
    run = twin(
        ForcedLorenz96(), method, network, Start(), members=20, cycles=60, interval=0.05, streams=Streams.spawn(1)
    )
    *_, last = run
    assert scores(last)["rmse_parameters"] == pytest.approx(abs(last.analysis.ensemble[:, -1].mean() - 8.0))
    assert scores(last)["rmse_parameters"] < 0.3
