"""The spread control against closed forms: score of the evidence, lagged products, likelihood ratios, bias."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import scipy.sparse
from scipy.special import ndtr
from scipy.stats import norm
from scipy.stats import t as student_t

from ensf.diagnostics import rmse
from ensf.filters import LETKF, LETSF
from ensf.filters.base import Part
from ensf.localization import Euclidean, Localization, periodic_line
from ensf.models.lorenz96 import Lorenz96
from ensf.observations import (
    Function,
    Gaussian,
    Identity,
    Laplace,
    Linear,
    Observation,
    Pointwise,
    Select,
    StudentT,
    Threshold,
    arctan,
    identity,
)
from ensf.observations.joined import join
from ensf.observations.joined_law import join_laws
from ensf.runs import restart
from ensf.twin import AsynchronousNetwork, GaussianStart, Network, PerturbedTruth, Streams, twin
from ensf.wrappers import AdaptiveSpread, Rotation, letsf
from ensf.wrappers.knots import Widening
from ensf.wrappers.spread_control import control, correction
from ensf.wrappers.spread_control.bias import GAIN, LEAK, BiasEstimate
from ensf.wrappers.spread_control.error_estimate import FALL, MAX_FACTOR_POINTWISE, ErrorEstimate
from ensf.wrappers.spread_control.error_evidence import Alternation, Repetition, TimeCorrelation
from ensf.wrappers.spread_control.evidence import VARIANCE_RATIOS, score_of_evidence, sight, weigh
from ensf.wrappers.spread_control.lagged import LaggedProducts, LastCycle, Past, lagged_products
from ensf.wrappers.spread_control.means import spread_over_variables, weights_of_means
from ensf.wrappers.spread_control.offset import OffsetEstimate, offset_shifts
from ensf.wrappers.spread_control.pairs import Pairs, repeated, rested
from ensf.wrappers.spread_control.sites import Sites


def members(rng, mean, variance, count=10):
    """Ensemble ``(member, state)`` with exactly these means and variances."""
    draws = rng.standard_normal((count, len(mean)))
    draws -= draws.mean(axis=0)
    return mean + draws / draws.std(axis=0, ddof=1) * np.sqrt(variance)


ON_A_LINE = Localization(Euclidean(), 4.0)


def sites(position, kind=None):
    """Of observations on a line."""
    position = np.asarray(position)
    kind = np.zeros(len(position), dtype=int) if kind is None else np.asarray(kind)
    return Sites(kind, position[:, None], np.full(len(position), -1))


def looked(value, law, operator=None):
    observation = Observation(np.asarray(value, float), operator or Identity(), law)
    return sight(observation, np.zeros((2, len(value))))[0]


# --- score of the evidence -------------------------------------------------------------------------------


def test_score_of_a_gaussian_is_its_closed_form(rng):
    v, r = np.array([0.5, 2.0, 3.0]), np.array([1.0, 0.5, 4.0])
    mean, innovation = rng.standard_normal(3), np.array([0.3, -2.0, 5.0])
    gain = v / (v + r)
    analysed = members(rng, mean + gain * innovation, gain * r)
    statistic, information = score_of_evidence(looked(mean + innovation, Gaussian(np.sqrt(r))), mean, analysed)
    np.testing.assert_allclose(statistic, gain * (innovation**2 / (v + r) - 1))
    assert (information >= 0.5 * gain**2 * (1 - 1e-12)).all()


def test_information_is_that_of_independent_observations(rng):
    """Of many: a^2 / 2."""
    size = 400
    v, r = np.full(size, 0.5), 1.0
    gain = v / (v + r)
    analysed = members(rng, np.zeros(size), gain * r)
    _, information = score_of_evidence(looked(np.zeros(size), Gaussian(r)), np.zeros(size), analysed)
    np.testing.assert_allclose(information, 0.5 * gain**2)


UNIT = norm.ppf((np.arange(8000) + 0.5) / 8000)


def expected_score(law, values, density, prior=1.5):
    """Mean of t over observations of a calibrated prior N(0, prior^2), whose analysis is drawn exactly."""
    total, mass, eta = 0.0, 0.0, prior * UNIT
    for value, weight in zip(values, np.gradient(values) if len(values) > 2 else (1.0, 1.0), strict=True):
        likelihood = density(value, eta)
        evidence = likelihood.mean() * weight
        ranks = np.searchsorted(np.cumsum(likelihood) / likelihood.sum(), (np.arange(2000) + 0.5) / 2000)
        statistic, _ = score_of_evidence(looked([value], law), np.zeros(1), eta[ranks][:, None])
        total, mass = total + evidence * statistic[0], mass + evidence
    return total / mass


def test_score_of_a_calibrated_prior_is_zero_for_other_laws():
    heavy = student_t(4, scale=math.sqrt(0.5))
    wide = np.linspace(-25, 25, 126)
    assert abs(expected_score(StudentT(1.0, 4), wide, lambda y, eta: heavy.pdf(y - eta))) < 5e-3
    yes_or_no = np.array([0.0, 1.0])
    assert (
        abs(expected_score(Threshold(0.7, 0.4), yes_or_no, lambda y, eta: ndtr((2 * y - 1) * (eta - 0.4) / 0.7))) < 5e-3
    )
    narrow = expected_score(StudentT(1.0, 4), wide, lambda y, eta: heavy.pdf(y - 1.5 * eta))
    assert narrow > 0.05  # the truth is 1.5 times as far out as the prior says


# --- lagged products -------------------------------------------------------------------------------------


def two_cycles(rng, inflation, factor, size=150_000):
    """Innovations of a scalar filter that believes v and r where `inflation` v and `factor` r are right."""
    v, r, growth, noise = 0.8, 1.0, 1.3, 0.4
    gain = v / (v + r)
    departure = rng.standard_normal(size) * math.sqrt(inflation * v)
    innovation = departure + rng.standard_normal(size) * math.sqrt(factor * r)
    after = growth * (departure - gain * innovation) + noise * rng.standard_normal(size)
    later = after + rng.standard_normal(size) * math.sqrt(factor * r)
    analysed = np.tile(np.array([-1.0, 0.0, 1.0])[:, None] * math.sqrt(gain * r), (1, size))
    last = LastCycle(
        sites=sites(np.arange(float(size))),
        innovation=innovation,
        increment=gain * innovation,
        variance=np.full(size, v),
        error=np.full(size, r),
        anomalies=analysed,
        surprised=np.zeros(size, dtype=bool),
    )
    return lagged_products(last, (), last.sites, ON_A_LINE, later, growth * analysed)


def untrusted(products):
    """With signs only."""
    return products.weighted(np.zeros(len(products.index)))


@pytest.mark.parametrize(("inflation", "factor"), [(1.0, 1.0), (1.7, 1.0), (1.0, 3.0), (2.0, 0.5), (1.0, 0.1)])
def test_lagged_products_tell_the_prior_from_the_error(inflation, factor, rng):
    products = two_cycles(rng, inflation, factor)
    expected = products.memory * products.last.variance
    assert products.cross.sum() / expected.sum() == pytest.approx(inflation, rel=0.03)
    estimate = ErrorEstimate().with_pairs(Pairs(products))
    assert estimate.factor == pytest.approx(factor, abs=0.03)
    right = np.full(len(products.index), factor)
    score, information = products.score(right, products.last.variance, products.last.error)
    assert np.sign(round(score.sum() / information.sum(), 1)) == np.sign(round(inflation - 1, 1))


def test_observations_in_common_are_matched_by_place(rng):
    products = two_cycles(rng, 1.0, 1.0, size=6)
    order = np.array([4, 1, 3])
    here = sites([4.0, 1.0, 3.0, 9.0])
    later, forecast = rng.standard_normal(4), rng.standard_normal((3, 4))
    some = lagged_products(products.last, (), here, ON_A_LINE, later, forecast)
    assert some.index.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(some.last.innovation, products.last.innovation[order])
    far = here.rows(np.array([3]))
    assert lagged_products(products.last, (), far, ON_A_LINE, later[3:], forecast[:, 3:]) is None


def test_the_nearest_of_the_kind_are_partners():
    before = sites([0.0, 1.0, 2.0, 5.0, 7.0], kind=[0, 0, 1, 0, 0])
    here = sites([2.1, 1.0, 1.3, 5.6, 5.4, 8.3], kind=[0, 0, 0, 0, 0, 0])
    now, then = here.partners(before, ON_A_LINE)
    assert list(zip(now.tolist(), then.tolist(), strict=True)) == [(1, 1), (4, 3)]
    everywhere = Localization(Euclidean(), math.inf)
    assert here.partners(before, everywhere)[0].tolist() == [1]


def test_where_many_are_as_near_almost_all_have_a_partner():
    """Even points in one cycle, odd ones in the next: one of twenty was matched."""
    even, odd = sites(np.arange(0.0, 400.0, 2.0)), sites(np.arange(1.0, 400.0, 2.0))
    now, then = odd.partners(even, ON_A_LINE)
    assert len(now) > 160 and len(set(then.tolist())) == len(then)
    np.testing.assert_array_equal(np.abs(odd.position[now] - even.position[then]), 1.0)


def test_of_several_at_one_place_the_first_meets_the_last_of_the_cycle_before():
    before, here = sites([3.0, 1.0, 3.0, 3.0]), sites([5.0, 3.0, 1.0, 3.0])
    now, then, new, gone = here.same(before)
    assert (now.tolist(), then.tolist(), new.tolist(), gone.tolist()) == ([1, 2], [3, 1], [0], [])
    assert [pair.tolist() for pair in before.repeated] == [[0, 2], [2, 3]]


def test_places_that_rested_meet_their_last_cycle():
    one, other = sites([0.0, 2.0]), sites([1.0, 3.0])
    numbers = np.array([1.0, 2.0])
    past = Past(one, numbers, 0.5 * numbers, 0.0 * numbers + 4), Past(other, 9 * numbers, numbers, numbers)
    last = LastCycle(other, *(numbers,) * 4, np.zeros((3, 2)), np.zeros(2, dtype=bool))
    pairs = rested(sites([2.0, 3.0, 7.0]), np.array([-6.0, 5.0, 5.0]), last, past)
    assert pairs.index.tolist() == [0]
    sums = Alternation().with_pairs(Pairs(rested=pairs)).sums
    np.testing.assert_allclose(sums, [-6 * 2 / 4, 9.0, 2 * (2 - 1) / 4, 1.0])


@pytest.mark.parametrize(("inflation", "factor"), [(1.0, 1.0), (2.0, 1.0), (1.0, 3.0)])
def test_lagged_products_of_a_network_that_moves(inflation, factor, rng):
    """Four places of a smooth field, two observed and then the other two, in many copies far apart."""
    place, then, now = np.array([0.0, 2.0, 0.8, 2.8]), [0, 1], [2, 3]
    copies, growth = 60_000, 1.4
    prior = np.exp(-0.5 * (place[:, None] - place) ** 2 / 3**2) + 1e-6 * np.eye(4)
    gain = prior[:, then] @ np.linalg.inv(prior[np.ix_(then, then)] + np.eye(2))
    analysed = prior - gain @ prior[then]
    departure = rng.multivariate_normal(np.zeros(4), inflation * prior, copies)
    innovation = departure[:, then] + math.sqrt(factor) * rng.standard_normal((copies, 2))
    increment = innovation @ gain.T
    after = growth * (departure - increment)[:, now]
    later = after + math.sqrt(factor) * rng.standard_normal(after.shape)
    half = np.linalg.cholesky(analysed).T
    anomalies = np.concatenate([half, -half])
    origin = 100.0 * np.arange(copies)[:, None]
    last = LastCycle(
        sites=sites((origin + place[then]).ravel()),
        innovation=innovation.ravel(),
        increment=increment[:, then].ravel(),
        variance=np.tile(prior[then, then], copies),
        error=np.ones(2 * copies),
        anomalies=np.tile(anomalies[:, then], copies),
        surprised=np.zeros(2 * copies, dtype=bool),
    )
    forecast = np.tile(growth * anomalies[:, now], copies)
    products = lagged_products(last, (), sites((origin + place[now]).ravel()), ON_A_LINE, later.ravel(), forecast)
    assert len(products.index) == 2 * copies
    estimate = ErrorEstimate().with_pairs(Pairs(products))
    assert products.cross.sum() / (products.memory * last.variance).sum() == pytest.approx(inflation, rel=0.06)
    assert estimate.factor == pytest.approx(factor, abs=0.06)


@pytest.mark.parametrize(("inflation", "factor"), [(0.0, 1.0), (1.0, 9.0), (0.2, 30.0), (0.3, 1e4)])
def test_the_sign_of_innovations_tells_the_error_where_it_is_believed_too_much(inflation, factor, rng):
    """No pair is trusted; growth is 1.3, and the members' own is that."""
    products = two_cycles(rng, inflation, factor)
    alternation = Alternation().with_pairs(Pairs(products))
    assert alternation.deviations > 30
    assert alternation.factor == pytest.approx(factor, rel=0.02, abs=0.03)
    assert ErrorEstimate().with_pairs(Pairs(untrusted(products))).factor == alternation.factor


def test_innovations_that_persist_tell_nothing_of_the_error(rng):
    """A forecast error four times what is believed: the same sums would say more than R."""
    products = two_cycles(rng, 16.0, 1.0)
    assert Alternation().with_pairs(Pairs(products)).deviations < -30
    assert ErrorEstimate().with_pairs(Pairs(untrusted(products))).factor == 1.0
    assert ErrorEstimate(factor=4.0).with_pairs(Pairs(untrusted(products))).factor == FALL * 4.0


def test_members_that_keep_nothing_leave_the_sign_without_meaning(rng):
    products = two_cycles(rng, 1.0, 9.0)
    forgotten = replace(products, covariance=0.4 * products.analysed)
    assert not Alternation().with_pairs(Pairs(forgotten)).sums.any()


def test_what_the_sign_told_holds_until_pairs_are_known_well(rng):
    """Pairs that are trusted count alone when there are a hundred of them."""
    told = ErrorEstimate().with_pairs(Pairs(untrusted(two_cycles(rng, 1.0, 9.0, size=2_000))))
    later = two_cycles(rng, 6.0, 9.0, size=100)
    assert told.with_pairs(Pairs(untrusted(later))).factor > 7
    enough = two_cycles(rng, 1.0, 4.0, size=400_000)
    assert told.with_pairs(Pairs(enough)).factor == pytest.approx(4.0, abs=0.2)


@pytest.mark.parametrize("told", [0.25, 0.1])
def test_half_of_the_points_with_an_error_told_far_too_small(told):
    """Surprises of every cycle blew the model up between observations; now the error is found in its first cycles."""
    model, line = Lorenz96(20), periodic_line(20, 20.0)
    network = Network(Select(range(0, 20, 2)), error=1.0, told=told)
    start = PerturbedTruth(model, np.zeros(20))
    run = twin(model, letsf(line), network, start, members=20, cycles=60, interval=0.05, streams=Streams.spawn(1))
    *_, last = run
    assert last.analysis.info["error_factor"] == pytest.approx(1 / told, rel=0.1)
    assert rmse(last.analysis.ensemble, last.truth) < 0.7


def test_a_factor_that_only_signs_told_falls_when_they_do(rng):
    """A network that takes turns: error three times what is told, then as told."""
    here = sites(np.arange(40.0))

    def turn(factor):
        d = math.sqrt(factor) * rng.standard_normal((2, 40))
        d[1] -= 0.8 * d[0]  # what a filter leaves that follows
        past = (Past(here, d[0], 0.8 * d[0], np.ones(40)),)
        last = LastCycle(sites(np.arange(40.0) + 50), *(np.ones(40),) * 4, np.zeros((3, 40)), np.zeros(40, dtype=bool))
        return rested(here, d[1], last, past)

    estimate = ErrorEstimate()
    for _ in range(60):
        estimate = estimate.with_pairs(Pairs(rested=turn(9.0)))
    assert estimate.factor == pytest.approx(9.0, rel=0.1)
    for _ in range(500):
        estimate = estimate.with_pairs(Pairs(rested=turn(1.0)))
    assert estimate.factor < 1.3


def test_a_few_products_leave_the_error_alone(rng):
    products = two_cycles(rng, 1.0, 1.0, size=60)
    assert ErrorEstimate().with_pairs(Pairs(products)).factor == 1.0


# --- what else tells of R --------------------------------------------------------------------------------


@pytest.mark.parametrize(("inflation", "factor"), [(1.0, 9.0), (0.1, 9.0), (5.0, 2.0), (3.0, 1.0)])
def test_several_observations_of_a_place_tell_the_error_in_one_cycle(inflation, factor, rng):
    """Whatever the forecast error is."""
    size, covariance = 40_000, np.array([[1.0, 1.1], [1.1, 1.5]])
    departure = rng.multivariate_normal(np.zeros(2), inflation * covariance, size)
    innovation = (departure + math.sqrt(factor) * rng.standard_normal((size, 2))).T.ravel()
    half = np.linalg.cholesky(covariance).T
    forecast = np.repeat(np.concatenate([half, -half]), size, axis=1)
    pairs = repeated(sites(np.tile(np.arange(float(size)), 2)), innovation, np.ones(2 * size), forecast)
    assert len(pairs.index) == size
    np.testing.assert_allclose(pairs.weight, 2 * 1.1**2 / 1.5 - 1)
    repetition = Repetition().with_pairs(pairs)
    assert repetition.factor == pytest.approx(factor, rel=0.05)
    assert (repetition.deviations > 10) == (factor > 1)
    assert ErrorEstimate().with_pairs(Pairs(repeated=pairs)).factor == pytest.approx(factor, rel=0.05)


def test_predictions_that_are_not_alike_tell_nothing(rng):
    pairs = repeated(sites([1.0, 1.0, 2.0]), np.ones(3), np.ones(3), rng.standard_normal((4, 3)) * [1, -1, 1])
    forecast = np.array([[1.0, 0.2], [-1.0, 0.8], [0.0, -1.0]])
    assert not len(repeated(sites([1.0, 1.0]), np.ones(2), np.ones(2), forecast).index)
    assert ErrorEstimate().with_pairs(Pairs(repeated=pairs)).factor == 1.0


def three_cycles(rng, told=1.0, spread=1.0, phi=0.0, bias=0.0, size=20_000, growth=1.1, noise=0.3):
    """Products of the last two cycles, of many scalar filters whose observation errors have correlation phi."""
    r, v = told, 0.4 * spread
    gain, error = v / (v + r), rng.standard_normal(size)
    departure, past, last = rng.standard_normal(size) * math.sqrt(0.4), (), None
    here = sites(np.arange(float(size)))
    half = np.array([-1.0, 0.0, 1.0])[:, None]
    for _ in range(12):
        innovation = departure + error
        analysed = np.tile(half * math.sqrt(gain * r), (1, size))
        if last is not None:
            products = lagged_products(last, past, here, ON_A_LINE, innovation, growth * last.anomalies)
            past = (Past.of(last),)
        full = np.ones(size)
        last = LastCycle(here, innovation, gain * innovation, v * full, r * full, analysed, np.zeros(size, dtype=bool))
        departure = growth * (departure - gain * innovation) + bias + noise * rng.standard_normal(size)
        error = phi * error + math.sqrt(1 - phi**2) * rng.standard_normal(size)
    return products


@pytest.mark.parametrize(("told", "spread"), [(1.0, 1.0), (4.0, 1.0), (0.2, 1.0), (1.0, 5.0), (9.0, 3.0)])
def test_white_errors_are_seen_as_such_whatever_is_believed(told, spread, rng):
    """And errors of the model that are white."""
    correlation = TimeCorrelation().with_products(three_cycles(rng, told, spread))
    assert abs(correlation.deviations) < 3 and correlation.any < 0.5


@pytest.mark.parametrize("phi", [0.3, 0.6])
def test_errors_that_are_correlated_in_time_are_seen(phi, rng):
    """E[c], for the simulation itself: -E[d_0 (d_2 - beta (d_1 - delta_1))], of the errors alone phi (beta - phi) R."""
    products = three_cycles(rng, phi=phi)
    correlation = TimeCorrelation().with_products(products)
    assert correlation.deviations > 20 and correlation.positive == 1.0
    assert ErrorEstimate().with_pairs(Pairs(products)).factor >= 1.0  # the products alone would say .5
    assert ErrorEstimate().with_pairs(Pairs(three_cycles(rng, told=4.0))).factor == pytest.approx(0.25, abs=0.06)


def test_a_bias_of_the_model_is_no_correlated_error(rng):
    correlation = TimeCorrelation().with_products(three_cycles(rng, bias=0.4))
    assert correlation.deviations < -20
    assert correlation.positive == 0.0 and correlation.any == 1.0


# --- likelihood ratios -----------------------------------------------------------------------------------


def test_ratios_by_quadrature_are_the_closed_form():
    value, mean, variance = np.array([0.3, 2.0, -9.0]), np.zeros(3), np.array([1.0, 0.2, 2.0])
    for deviation in (1.0, 0.3):
        closed = weigh(looked(value, Gaussian(deviation)), mean, variance)
        look = replace(looked(value, Gaussian(deviation)), linear=np.zeros(3, dtype=bool))
        for exact, numerical in zip(closed, weigh(look, mean, variance), strict=True):
            np.testing.assert_allclose(numerical, exact, rtol=0.06, atol=5e-3)


def test_ratio_of_a_likelihood_that_is_a_point():
    """As the prior densities there, although no node is near."""
    variance, value = 1.0, 3.3
    look = replace(looked([value], Gaussian(1e-5)), linear=np.zeros(1, dtype=bool))
    ratios = weigh(look, np.zeros(1), np.full(1, variance))[0][:, 0]
    exact = norm.logpdf(value, scale=np.sqrt(VARIANCE_RATIOS)) - norm.logpdf(value)
    np.testing.assert_allclose(ratios, exact, atol=0.3)


def cycle_of(values, law, size=30, spread=1.0, **settings):
    """Analysis of a prior N(0, spread^2) by the spread control, with these observations of all variables."""
    line = Localization(Euclidean(), 5.0)
    prior = members(np.random.default_rng(1), np.zeros(size), np.full(size, spread**2), 20)
    return AdaptiveSpread(LETSF(line), line, **settings).analyse(prior, Observation(values, Identity(), law), 3)


@pytest.mark.parametrize("law", [Gaussian(0.5), Laplace(0.5), StudentT(0.5, 4)])
def test_a_lone_outlier_never_fires(law):
    values = np.zeros(30)
    calm = cycle_of(values, law).info["inflation"]
    values[12] = 1e5
    np.testing.assert_array_equal(cycle_of(values, law).info["inflation"], calm)
    values[9:16] = 8.0
    surprised = cycle_of(values, law).info["inflation"]
    assert surprised[12] > 1.5 and surprised[29] == calm[29]


# --- the filter ------------------------------------------------------------------------------------------


def test_nothing_is_widened_where_nothing_is_observed(rng):
    line = Localization(Euclidean(), 3.0)
    observation = Observation(np.full(8, 9.0), Select(range(8)), 0.5)
    prior = rng.standard_normal((15, 40))
    wrapper = AdaptiveSpread(LETKF(line), line)
    first = wrapper.analyse(prior, observation, 1)
    second = wrapper.analyse(prior, observation, 1, first.memory)
    assert (second.info["inflation"][:8] > 1).all() and (second.info["inflation"][20:] == 1).all()
    np.testing.assert_allclose(second.ensemble[:, 20:], prior[:, 20:], rtol=1e-12)


@pytest.mark.parametrize(("phi", "margin"), [(0.1, 0.0), (0.17, 0.075), (0.3, 0.15), (0.9, 0.15)])
def test_the_margin_begins_beyond_what_a_calm_model_has(phi, margin, rng, monkeypatch):
    """Where inflation supplies little of the growth of variance nothing is added, so that nothing feeds itself."""
    position, known = np.arange(6.0)[:, None], 500.0
    filter = AdaptiveSpread(LETKF(ON_A_LINE), ON_A_LINE, surprise_limit=np.inf)
    prior = members(rng, np.zeros(6), np.ones(6))
    observation = Observation(np.full(6, 0.5), Identity(), 1.0, position)
    memory = filter.analyse(prior, observation, 1, positions=position).memory
    memory = replace(memory, local=0 * memory.local, common=phi, common_information=known, growth=1.0, last=None)
    monkeypatch.setattr(control, "GROWTH_CYCLES", math.inf)  # growth stays 1
    with_margin = filter.analyse(prior, observation, 1, memory, position).memory
    monkeypatch.setattr(control, "MARGIN", 0.0)
    without = filter.analyse(prior, observation, 1, memory, position).memory
    information = without.common_information - math.exp(-1 / filter.common_persistence) * known
    step = margin * information / (without.common_information + 4)
    assert with_margin.common - without.common == pytest.approx(step, rel=1e-6, abs=1e-12)


def test_memory_outlives_a_restart_and_another_network(rng, tmp_path):
    line = Localization(Euclidean(), 3.0)
    prior, wrapper = rng.standard_normal((15, 40)), AdaptiveSpread(Rotation(LETKF(line)), line)
    memory = wrapper.analyse(prior, Observation(np.ones(8), Select(range(8)), 0.5), 1).memory
    restart.write(tmp_path / "restart.npz", {"memory": memory})
    kept = restart.read(tmp_path / "restart.npz")["memory"]
    elsewhere = Observation(np.ones(6), Select(range(4, 34, 5)), 0.5, kind=["a"] * 3 + ["b"] * 3)
    with_memory, with_kept = (wrapper.analyse(prior, elsewhere, 2, one) for one in (memory, kept))
    np.testing.assert_array_equal(with_memory.ensemble, with_kept.ensemble)
    assert len(with_memory.memory.knots) > len(memory.knots)
    assert list(with_memory.memory.kinds) == ["", "a", "b"]


def test_columns_are_not_analysed_twice_and_have_the_same_bits(rng):
    """What is remembered of the columns is what the update makes of them."""
    line = Localization(Euclidean(), 3.0)
    prior, wrapper = rng.standard_normal((15, 40)), AdaptiveSpread(LETKF(line), line)
    analysis = wrapper.analyse(prior, Observation(np.ones(40), Pointwise(arctan), 0.5), 1)
    update, entries = replace(analysis.update, columns=None), np.arange(40)
    again, fields = update.analysed(Part(prior, entries[:, None].astype(float), entries))
    np.testing.assert_array_equal(analysis.ensemble, again)
    np.testing.assert_array_equal(analysis.info["degrees_of_freedom"], fields["degrees_of_freedom"])


@dataclass(frozen=True)
class TwoInstruments:
    """All variables seen by two instruments, the second with an error that is told wrong."""

    factor: float

    def observe(self, truth, cycle, rng):
        size = len(truth)
        error = np.repeat([0.7, 0.7 * self.factor], size)
        value = np.tile(truth, 2) + error * rng.standard_normal(2 * size)
        entries = np.tile(np.arange(size), 2)
        return Observation(value, Select(entries), 0.7, kind=np.repeat(["good", "bad"], size))


def test_the_error_of_each_kind_is_found():
    size, line = 12, periodic_line(12, 5.0)
    wrapper = AdaptiveSpread(Rotation(LETKF(line)), line)
    start = GaussianStart(np.full(size, 2.0), 1.0)
    run = twin(
        Lorenz96(size), wrapper, TwoInstruments(2.0), start,
        members=12, cycles=200, interval=0.05, streams=Streams.spawn(2),
    )  # fmt: skip
    *_, last = run
    assert last.analysis.info["error_factor_good"] == pytest.approx(1.0, abs=0.15)
    assert last.analysis.info["error_factor_bad"] == pytest.approx(2.0, abs=0.3)
    off = replace(wrapper, estimate_error=False)
    assert "error_factor_good" not in off.analyse(last.forecast, last.observation, 1).info


def test_the_bias_of_a_model_is_found():
    size, line = 12, periodic_line(12, 5.0)
    start, network = GaussianStart(np.full(size, 2.0), 1.0), Network(Identity(), 0.5)
    found = {}
    for forcing in (8.0, 7.0):
        run = twin(
            Lorenz96(size, forcing), AdaptiveSpread(Rotation(LETKF(line)), line), network, start,
            members=12, cycles=150, interval=0.05, streams=Streams.spawn(2), truth_model=Lorenz96(size),
        )  # fmt: skip
        *_, last = run
        found[forcing] = last.analysis.info["bias"]
    assert abs(found[8.0]) < 0.005
    assert found[7.0] == pytest.approx(0.05, abs=0.03)


@dataclass(frozen=True)
class Between:
    """Means of two neighbours, as interpolation to the middle between them makes them."""

    def observe(self, truth, cycle, rng):
        size = len(truth)
        between = scipy.sparse.csr_array(0.5 * (np.eye(size) + np.roll(np.eye(size), 1, axis=1)))
        value = between @ truth + 0.5 * rng.standard_normal(size)
        return Observation(value, Linear(between), 0.5, np.arange(0.5, size)[:, None])


def test_the_bias_of_a_model_is_found_through_means_of_variables(monkeypatch):
    size, line = 12, periodic_line(12, 5.0)

    def error(forcing):
        run = twin(
            Lorenz96(size, forcing), AdaptiveSpread(Rotation(LETKF(line)), line), Between(),
            GaussianStart(np.full(size, 2.0), 1.0),
            members=12, cycles=150, interval=0.05, streams=Streams.spawn(2), truth_model=Lorenz96(size),
        )  # fmt: skip
        done = list(run)
        errors = [rmse(each.analysis.ensemble, each.truth) for each in done[-100:]]
        return float(np.mean(errors)), done[-1].analysis.info["bias"]

    right, of_right = error(8.0)
    found, of_wrong = error(7.0)
    monkeypatch.setattr(correction, "weights_of_means", lambda observation: None)
    assert right == pytest.approx(error(8.0)[0], rel=0.02)
    assert abs(of_right) < 0.005 < of_wrong
    assert found < 0.95 * error(7.0)[0]


def test_a_bias_of_means_is_that_of_the_variables_where_it_is_the_same_everywhere(rng):
    weights = scipy.sparse.csr_array(np.array([[0.2, 0.8, 0, 0], [0, 0.5, 0, 0.5]]))
    entries, bias = spread_over_variables(weights, np.full(2, 0.3))
    np.testing.assert_array_equal(entries, [0, 1, 3])
    np.testing.assert_allclose(bias, 0.3)


@pytest.mark.parametrize("matrix", [[[1.0, -1.0]], [[0.7, 0.7]], [[0.0, 0.0]]], ids=["difference", "sum", "nothing"])
def test_what_is_no_mean_has_no_weights(matrix):
    assert weights_of_means(replace(Observation(np.ones(1), Linear(np.array(matrix)), 1.0), state_size=2)) is None


def test_pairs_count_by_how_well_the_forecast_is_known():
    """rho = sum w (d^2 - lambda v) / sum w r, lambda = sum w cross / sum w beta^2 v, w = 1 / (1 + v / (rho r))^2."""
    v, square, cross = np.array([0.01, 100.0]), np.array([4.0, 900.0]), np.array([0.02, 50.0])
    last = LastCycle(
        sites([0.0, 9.0]), np.sqrt(square), 0 * v, v, np.ones(2), np.zeros((3, 2)), np.zeros(2, dtype=bool)
    )
    ones = np.ones(2)
    products = LaggedProducts(np.arange(2), last, 0 * ones, ones, cross, ones, 0 * ones, ones, np.nan * ones)
    estimate, rho = ErrorEstimate(), 1.0
    sums = np.zeros(5)
    for _ in range(40):
        weight = 1 / (1 + v / rho) ** 2
        sums = math.exp(-1 / 100) * sums + [(weight * one).sum() for one in (cross, v, square, v, np.ones(2))]
        estimate = estimate.with_pairs(Pairs(products))
        np.testing.assert_allclose(estimate.sums, sums)
        rho = estimate.factor
    raw, doubt = (sums[2] - sums[0] / sums[1] * sums[3]) / sums[4], 3 / sums[4]
    prior = max(0.25, (raw - 1) ** 2 - 9 * doubt)
    assert rho == pytest.approx(1 + (raw - 1) * prior / (prior + doubt) - 2 * math.sqrt(doubt))


@dataclass(frozen=True)
class Moving:
    """Half of the variables, drawn anew in each cycle."""

    told: float

    def observe(self, truth, cycle, rng):
        points = np.sort(rng.choice(len(truth), len(truth) // 2, replace=False))
        return Observation(truth[points] + rng.standard_normal(len(points)), Select(points), self.told)


@pytest.mark.parametrize(
    "network",
    [Network(error=1.0, told=0.1), Network(error=1.0, told=0.002), Moving(0.4)],
    ids=["tenth", "far", "moving"],
)
def test_an_error_told_far_too_small_is_found(network):
    """All observations surprise, cycle after cycle; an ensemble that follows them has an error of 1."""
    line = periodic_line(20, 5.0)
    run = twin(
        Lorenz96(20), AdaptiveSpread(Rotation(LETKF(line)), line), network, GaussianStart(np.full(20, 2.0), 1.0),
        members=12, cycles=150, interval=0.05, streams=Streams.spawn(2),
    )  # fmt: skip
    *_, last = run
    assert last.analysis.info["error_factor"] * network.told == pytest.approx(1.0, abs=0.15)
    assert np.sqrt(np.mean((last.analysis.ensemble.mean(axis=0) - last.truth) ** 2)) < 0.5


def test_bias_within_what_noise_makes_is_none(rng):
    silent = 0
    for _ in range(200):
        bias = BiasEstimate()
        for shift in rng.standard_normal(1000):
            bias = bias.with_shift(shift, variance=1.0)
        silent += bias.value == 0
    assert silent == pytest.approx(0.866 * 200, abs=20)  # within 1.5 standard deviations


def test_no_bias_is_no_negative_zero():
    assert math.copysign(1.0, BiasEstimate(raw=-0.001, noise=1.0, variance=1e3).value) == 1.0


def test_bias_is_none_where_noise_is_large_beside_the_spread():
    bias = BiasEstimate(raw=1.0, noise=0.04, variance=2.1)
    assert bias.value == pytest.approx(1 - 1.5 * 0.2)
    assert replace(bias, variance=1.9).value == 0


@pytest.mark.parametrize("error", [3.0, 1e3, *(pytest.param(error, marks=pytest.mark.slow) for error in (30.0, 1e6))])
def test_observations_that_tell_little_move_little(error, rng):
    """What is within their noise may be far beside a forecast of spread 1."""
    line, memory, largest = periodic_line(12, 5.0), None, 0.0
    filter = AdaptiveSpread(LETKF(line), line)
    for _ in range(200):
        observation = Observation(error * rng.standard_normal(12), Identity(), Gaussian(error))
        analysis = filter.analyse(rng.standard_normal((12, 12)), observation, rng, memory)
        memory = analysis.memory
        largest = max(largest, abs(analysis.info["bias"]))
    assert largest < 0.25


def test_bias_is_followed(rng):
    """b = 1 remains, less what leaks and the dead zone."""
    bias = BiasEstimate()
    for noise in 0.1 * rng.standard_normal(4000):
        bias = bias.with_shift(1 - bias.value + noise, variance=1.0)
    assert bias.value == pytest.approx(1 / (1 + LEAK / GAIN), abs=0.1)


@pytest.mark.parametrize(
    ("name", "value"),
    [("sampling", -1.0), ("local_persistence", 0.0), ("surprise_limit", 0.0), ("independent_part", 2.0)],
)
def test_a_number_out_of_range_is_named(name, value):
    line = periodic_line(12, 5.0)
    with pytest.raises(ValueError, match=name):
        AdaptiveSpread(LETKF(line), line, **{name: value})


def through_arctan(rng, size=30):
    """A prior that knows arctan(x) far better than a sensor told to err by 0.01; nothing between them."""
    truth = rng.uniform(-0.3, 0.3, size)
    return members(rng, truth, np.full(size, 1e-6)), arctan(truth)


def test_surprises_that_last_are_an_error_of_the_sensor(rng):
    filter, memory = AdaptiveSpread(LETSF(ON_A_LINE), ON_A_LINE, estimate_bias=False), None
    factors = []
    for _ in range(12):
        prior, seen = through_arctan(rng)
        value = seen + 0.1 * rng.standard_normal(len(seen))
        analysis = filter.analyse(prior, Observation(value, Pointwise(arctan), 0.01), rng, memory)
        memory = analysis.memory
        factors.append(analysis.info["error_factor"])
    assert factors[:4] == [1] * 4 and factors[-1] == pytest.approx(math.sqrt(MAX_FACTOR_POINTWISE))


def test_a_surprise_that_passes_is_none(rng):
    filter, memory, counts = AdaptiveSpread(LETSF(ON_A_LINE), ON_A_LINE, estimate_bias=False), None, []
    for cycle in range(4):
        prior, seen = through_arctan(rng)
        value = seen + (0.1 if cycle == 2 else 0.01) * rng.standard_normal(len(seen))
        memory = filter.analyse(prior, Observation(value, Pointwise(arctan), 0.01), rng, memory).memory
        counts.append(next(iter(memory.kinds.values())).error.histogram.sum())
    assert counts[0] == 30 and counts[2] < counts[1] < counts[3]


# --- problems of which nobody told the filter ------------------------------------------------------------


def errors_in_time(correlation):
    """Observations of all variables whose errors, of variance 1, have this correlation from cycle to cycle."""

    @dataclass
    class Correlated:
        error: np.ndarray | None = None

        def observe(self, truth, cycle, rng):
            new = rng.standard_normal(len(truth))
            before = new if self.error is None else self.error
            self.error = correlation * before + math.sqrt(1 - correlation**2) * new
            return Observation(truth + self.error, Identity(), 1.0)

    return Correlated()


@dataclass(frozen=True)
class Turns:
    """Even variables in one cycle, odd ones in the next."""

    told: float

    def observe(self, truth, cycle, rng):
        points = np.arange(cycle % 2, len(truth), 2)
        return Observation(truth[points] + rng.standard_normal(len(points)), Select(points), self.told)


@dataclass(frozen=True)
class Beside:
    """All variables with errors told .3 for 1, but a few of another law, or through another sensor."""

    few: tuple[int, ...]
    law: StudentT | Gaussian
    sensor: Function

    def observe(self, truth, cycle, rng):
        few, rest = np.array(self.few), np.setdiff1d(np.arange(len(truth)), self.few)
        value = truth + rng.standard_normal(len(truth))
        value[few] = self.sensor(truth[few]) + self.law.draw(np.zeros(len(few)), rng)
        operator = join([(Pointwise(self.sensor, Select(few)), few), (Select(rest), rest)])
        return Observation(value, operator, join_laws([(self.law, few), (Gaussian(0.3), rest)]))


WINDOW = 0.0, 0.05, 0.1, 0.15, 0.2


@pytest.mark.parametrize(
    ("network", "factor", "bound"),
    [
        (Network(error=1.0, told=3.0), 0.45, 0.26),
        (errors_in_time(0.4), 1.0, 0.4),
        (Turns(0.25), 4.0, 0.4),
        (AsynchronousNetwork(Network(error=1.0, told=0.1), WINDOW[1:], WINDOW), 10.0, 0.3),
        (Beside((3,), StudentT(1.0, 4.0), identity), 1 / 0.3, 0.26),
        (Beside((0, 9), Gaussian(0.05), arctan), 1 / 0.3, 0.26),
    ],
    ids=["told too large", "correlated in time", "taking turns", "windows", "beside another law", "beside a sensor"],
)  # fmt: skip
def test_what_is_wrong_with_the_errors_is_found(network, factor, bound):
    model, interval = Lorenz96(20), 0.2 if isinstance(network, AsynchronousNetwork) else 0.05
    cycles = 40 if interval == 0.2 else 100
    run = twin(
        model, letsf(periodic_line(20, 20.0)), network, PerturbedTruth(model, np.zeros(20)),
        members=20, cycles=cycles, interval=interval, streams=Streams.spawn(1),
    )  # fmt: skip
    done = list(run)
    assert np.mean([rmse(each.analysis.ensemble, each.truth) for each in done[-cycles // 2 :]]) < bound
    assert done[-1].analysis.info["error_factor"] == pytest.approx(factor, rel=0.1)


def test_two_instruments_share_their_difference_by_their_errors(rng):
    """s = r_i / (r_i + r_j) (d_i - d_j); who sees another quantity near by, or the same far off, is not compared."""
    one, unlike = rng.standard_normal(10), rng.standard_normal(10)
    forecast = np.stack([one, 1.1 * one, 3.0 * one, unlike, one], axis=1)
    here = sites([0.0, 0.5, 0.1, 0.1, 40.0], kind=[0, 1, 2, 3, 4])
    d, r = np.array([2.0, 0.5, 9.0, 9.0, 9.0]), np.array([4.0, 1.0, 1.0, 1.0, 1.0])
    shifts = offset_shifts(here, d, r, forecast, ON_A_LINE)
    assert shifts == {0: pytest.approx(0.8 * 1.5), 1: pytest.approx(-0.2 * 1.5)}
    to_one = offset_shifts(here, d, r, forecast, ON_A_LINE, np.array([1]))
    assert to_one == {0: pytest.approx(1.5)}
    assert not offset_shifts(here, d, r, forecast, ON_A_LINE, np.zeros(0, dtype=int))
    assert not offset_shifts(here.rows(np.array([0, 4])), np.ones(2), np.ones(2), forecast[:, [0, 4]], ON_A_LINE)


def test_an_offset_is_believed_beyond_its_noise(rng):
    """m (1 - (2 e / m)^2), 0 within two standard errors."""
    estimate = OffsetEstimate()
    for shift in [0.4, 0.6] * 2:
        estimate = estimate.with_shift(shift)
    assert estimate.value == 0.0  # four cycles
    for shift in [0.4, 0.6] * 10:
        estimate = estimate.with_shift(shift)
    assert estimate.value == pytest.approx(0.5 * (1 - 4 * 0.01 / estimate.sums[2] / 0.25), rel=1e-3)
    assert OffsetEstimate(np.array([0.5, 10.0, 10.0])).value == 0.0


@dataclass(frozen=True)
class OneIsOff:
    """One sees all variables and is off by `offset`, the other sees some well."""

    offset: float
    error: float = 1.0
    name: str = "satellite"

    def observe(self, truth, cycle, rng):
        points = np.concatenate([np.arange(len(truth)), np.arange(0, len(truth), 4)])
        is_off = np.arange(len(points)) < len(truth)
        error = np.where(is_off, self.error, 0.3)
        value = truth[points] + error * rng.standard_normal(len(points))
        kind = np.where(is_off, self.name, "buoy")
        return Observation(value + self.offset * is_off, Select(points), error, kind=kind)


@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_an_instrument_that_is_off_is_found_by_another(offset):
    """Without that the error is .95."""
    model = Lorenz96(20)
    run = twin(
        model, letsf(periodic_line(20, 20.0)), OneIsOff(offset), PerturbedTruth(model, np.zeros(20)),
        members=20, cycles=100, interval=0.05, streams=Streams.spawn(1),
    )  # fmt: skip
    done = list(run)
    assert np.mean([rmse(each.analysis.ensemble, each.truth) for each in done[50:]]) < 0.15
    assert done[-1].analysis.info["instrument_offset_satellite"] == pytest.approx(offset, abs=0.15)
    assert abs(done[-1].analysis.info["instrument_offset_buoy"]) < 0.1


@pytest.mark.parametrize("reference", ["", "buoy"])
def test_a_reference_keeps_its_values_and_the_other_takes_all_of_the_difference(reference):
    """Of equal error: nothing else says who is right."""
    model = Lorenz96(20)
    run = twin(
        model, letsf(periodic_line(20, 20.0), reference=reference), OneIsOff(1.0, 0.3),
        PerturbedTruth(model, np.zeros(20)), members=20, cycles=60, interval=0.05, streams=Streams.spawn(1),
    )  # fmt: skip
    done = list(run)
    error = np.mean([rmse(each.analysis.ensemble, each.truth) for each in done[30:]])
    info = done[-1].analysis.info
    if reference:
        assert error < 0.15 and info["instrument_offset_satellite"] == pytest.approx(1.0, abs=0.1)
        assert "instrument_offset_buoy" not in info and info["references_unseen"] == 0
    else:
        assert error > 0.3 and info["instrument_offset_satellite"] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("reference", ["buoy", ("buoy", "sst_buoy")])
def test_a_kind_whose_name_ends_alike_is_no_reference(reference):
    """Drifting buoys that are off by 1, and buoys: the drifting ones are corrected, wholly."""
    model = Lorenz96(20)
    run = twin(
        model, letsf(periodic_line(20, 20.0), reference=reference), OneIsOff(1.0, 0.3, "drifting_buoy"),
        PerturbedTruth(model, np.zeros(20)), members=20, cycles=60, interval=0.05, streams=Streams.spawn(1),
    )  # fmt: skip
    info = list(run)[-1].analysis.info
    assert info["instrument_offset_drifting_buoy"] == pytest.approx(1.0, abs=0.1)
    assert info["references_unseen"] == (0 if reference == "buoy" else 1)


def test_a_variable_that_nothing_constrains_does_not_grow():
    """Two independent signals at the same places, one observed: the spread of the other was 90 after 200 cycles."""
    size, rng = 20, np.random.default_rng(1)
    smooth = np.linalg.cholesky(
        np.exp(-0.5 * (np.arange(size) - np.arange(size)[:, None]) ** 2 / 16) + 1e-4 * np.eye(size)
    )

    def noise(*shape):
        return (rng.standard_normal((*shape, 2, size)) @ smooth.T).reshape(*shape, 2 * size)

    place = np.concatenate([np.arange(size), np.arange(size)])[:, None].astype(float)
    filter, truth, members, memory = letsf(Localization(Euclidean(), 10.0)), noise(), noise(20), None
    for _ in range(100):
        truth, members = 0.98 * truth + 0.2 * noise(), 0.98 * members + 0.2 * noise(20)
        seen = Observation(truth[:size] + 0.3 * rng.standard_normal(size), Select(range(size)), 0.3, place[:size])
        analysis = filter.analyse(members, seen, rng, memory, place)
        members, memory = analysis.ensemble, analysis.memory
    spread = members.std(axis=0, ddof=1)
    assert spread[:size].max() < 0.4 and 0.1 < spread[size:].mean() < 1.0
    assert (analysis.info["inflation"][size:] <= analysis.info["inflation"][:size] + 1e-12).all()


def test_balanced_widening_is_its_closed_form(rng):
    """lambda^2 is 1 + 2 (lambda^2 - 1) q_i / q where that is less, and 1 / (1 - q_i) at most."""
    line, size = Localization(Euclidean(), 4.0), 3
    position = np.zeros((size, 1))
    widening = Widening(line, position[:1], position[:1], np.array([1.5]), np.array([0.0]), 0.5, None)
    part = Part(members(rng, np.zeros(size), np.ones(size)), position, np.arange(size))
    wide = widening.inflated(part)
    took = np.array([0.4, 0.15, 0.0])
    analysed = wide.mean(axis=0) + np.sqrt(1 - took) * (wide - wide.mean(axis=0)) + [0.3, 0.2, 0.1]
    known = replace(widening, taken=np.array([0.4]))
    balanced, factor = known.balanced(part, wide, analysed)
    np.testing.assert_allclose(factor**2, [1.5, 1 / 0.85, 1.0])

    np.testing.assert_allclose(balanced.var(axis=0, ddof=1), factor**2 * (1 - took))
    np.testing.assert_allclose(balanced.mean(axis=0), np.array([0.3, 0.2, 0.1]) * factor / math.sqrt(1.5), atol=1e-12)
    np.testing.assert_array_equal(balanced[:, 0], analysed[:, 0])
