"""Correlated errors, localization by variable, few observations: against dense formulas, and by parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ensf import (
    ETKF,
    LETKF,
    LETSF,
    AdaptiveInflation,
    AdaptiveSpread,
    ByVariable,
    Correlated,
    CountLimit,
    Euclidean,
    Grouped,
    Identity,
    InformationLimit,
    Localization,
    Observation,
    Periodic,
    Pointwise,
    QuantileFilter,
    SchurEnKF,
    Select,
    arctan,
    gaspari_cohn,
    letsf,
    variable_code,
)
from ensf.filters.patch_whitening import _whitened
from ensf.runs.recipe.reader import read_method

SIZE, MEMBERS = 40, 9
NEAR, WIDE = Localization(Euclidean(), 3.0), Localization(Euclidean(), 1e9)
ENTRIES = np.arange(1, SIZE, 2)
GROUP = np.array([0, 0, 0, 4, 1, 1, 4, 2, 2, 2, 2, 5, 6, 3, 3, 3, 7, 8, 8, 9])


@pytest.fixture
def prior(rng):
    return rng.standard_normal((MEMBERS, 7)) @ rng.standard_normal((7, SIZE)) + rng.standard_normal((MEMBERS, SIZE))


def law_of(group, rng):
    """Any covariance within each group."""
    roots = [rng.standard_normal((size, size)) for size in np.unique(group, return_counts=True)[1]]
    return Grouped(group, [root @ root.T + 0.5 * np.eye(len(root)) for root in roots])


def observed(law, operator=None):
    return Observation(np.linspace(-1, 1, len(ENTRIES)), operator or Select(ENTRIES), law)


# --- the law ---------------------------------------------------------------------------------------------------


def test_the_law_is_that_of_the_whole_matrix(rng):
    law = law_of(GROUP, rng)
    dense, value = Correlated(law.covariance(np.zeros(20))), rng.standard_normal((3, 20))
    for verb in ("weigh", "log_density", "score"):
        arguments = (value,) if verb == "weigh" else (value[0], value)
        np.testing.assert_allclose(getattr(law, verb)(*arguments), getattr(dense, verb)(*arguments), rtol=1e-9)
    white = law.whiten(np.eye(20)).T
    np.testing.assert_allclose(white @ dense.matrix @ white.T, np.eye(20), atol=1e-11)
    np.testing.assert_allclose(law.pull(np.eye(20)), white, atol=1e-12)
    index = rng.permutation(20)[:13]
    np.testing.assert_array_equal(law.restrict(index).covariance(value[0, :13]), dense.matrix[np.ix_(index, index)])
    factor = rng.uniform(0.5, 2.0, 20)
    np.testing.assert_allclose(law.rescaled(factor).covariance(value[0]), dense.rescaled(factor).matrix)
    draws = law.draw(np.zeros((200_000, 20)), rng)
    np.testing.assert_allclose(draws.T @ draws / len(draws), dense.matrix, atol=0.2)


def test_a_law_that_is_none_is_refused(rng):
    with pytest.raises(ValueError, match="10 groups but 1 covariances"):
        Grouped(GROUP, [np.eye(3)])
    with pytest.raises(ValueError, match=r"group 'b' has 1 observations but a covariance of shape \(2, 2\)"):
        Grouped(["a", "b", "a"], [np.eye(2), np.eye(2)])
    with pytest.raises(ValueError, match="of the group of observation 1 is not symmetric positive definite"):
        Observation(np.zeros(3), Select([0, 1, 2]), Grouped([0, 1, 1], [[[1.0]], [[1.0, 2.0], [2.0, 1.0]]]))
    with pytest.raises(ValueError, match="groups of 20 observations but there are 3"):
        Observation(np.zeros(3), Select([0, 1, 2]), law_of(GROUP, rng))


# --- filters ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["grouped", "dense"])
@pytest.mark.parametrize("method", [LETKF(WIDE), LETSF(WIDE), LETSF()], ids=["LETKF", "LETSF", "global"])
def test_a_large_half_width_gives_the_dense_posterior(method, form, prior, rng):
    law = law_of(GROUP, rng)
    dense = Correlated(law.covariance(np.zeros(20)))
    expected = ETKF().analyse(prior, observed(dense), None).ensemble
    found = method.analyse(prior, observed(law if form == "grouped" else dense), None).ensemble
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)


def test_a_group_is_near_as_a_whole(prior, rng):
    """At every place: precision of each group times the taper of its nearest member, by dense matrices."""
    law, places = law_of(GROUP, rng), np.arange(SIZE)[:, None]
    found = LETKF(NEAR).analyse(prior, observed(law), None).ensemble
    mean, covariance = prior.mean(axis=0), np.cov(prior.T)
    distance = np.abs(places - ENTRIES)
    nearest = np.stack([distance[:, g == GROUP].min(axis=1) for g in GROUP], axis=1)
    precision = np.linalg.inv(law.covariance(np.zeros(20)))
    for i in (0, 7, 20, 39):
        root = np.sqrt(gaspari_cohn(nearest[i], 3.0))
        local = root[:, None] * precision * root
        system = np.eye(20) + local @ covariance[np.ix_(ENTRIES, ENTRIES)]
        departure = np.linspace(-1, 1, 20) - mean[ENTRIES]
        expected = mean[i] + covariance[i, ENTRIES] @ np.linalg.solve(system, local @ departure)
        assert found[:, i].mean() == pytest.approx(expected, abs=1e-10)


METHODS = {
    "LETKF": LETKF(NEAR),
    "LETKF limited": LETKF(NEAR, InformationLimit(0.3)),
    "LETKF counted": LETKF(NEAR, CountLimit(4)),
    "LETKF nearest": LETKF(Localization(Euclidean(), 8.0, nearest=4)),
    "LETSF": LETSF(NEAR),
    "QuantileFilter": QuantileFilter(NEAR),
    "SchurEnKF": SchurEnKF(NEAR),
    "AdaptiveInflation": AdaptiveInflation(LETKF(NEAR), NEAR),
    "AdaptiveSpread": AdaptiveSpread(LETKF(NEAR), NEAR),
    "letsf": letsf(NEAR),
}


@pytest.mark.parametrize("form", ["grouped", "dense", "independent"])
@pytest.mark.parametrize("operator", [Select(ENTRIES), Pointwise(arctan, Select(ENTRIES))], ids=["linear", "arctan"])
@pytest.mark.parametrize("name", METHODS)
def test_parts_equal_the_whole(name, operator, form, prior, rng):
    law, method = law_of(GROUP, rng), METHODS[name]
    if form == "dense" and name in ("QuantileFilter", "AdaptiveInflation", "AdaptiveSpread", "letsf"):
        pytest.skip("needs groups")
    error = {"grouped": law, "dense": Correlated(law.covariance(np.zeros(20))), "independent": 0.7}[form]
    places = np.arange(SIZE)[:, None].astype(float)
    analysis = method.analyse(prior, observed(error, operator), np.random.default_rng(1), None, places)
    assert np.isfinite(analysis.ensemble).all()
    for entries in ([3], [38, 0, 17], rng.permutation(SIZE)):
        part = analysis.update.near(places[entries]).apply(prior[:, entries], places[entries], np.array(entries))
        np.testing.assert_array_equal(part, analysis.ensemble[:, entries])


def test_missing_members_of_a_group_are_left_out(prior, rng):
    law = law_of(GROUP, rng)
    value = np.linspace(-1, 1, 20)
    value[[1, 8, 13]] = np.nan
    kept = np.flatnonzero(~np.isnan(value))
    found = LETKF(NEAR).analyse(prior, Observation(value, Select(ENTRIES), law), None).ensemble
    smaller = Observation(value[kept], Select(ENTRIES[kept]), law.restrict(kept))
    np.testing.assert_allclose(found, LETKF(NEAR).analyse(prior, smaller, None).ensemble, atol=1e-12)


# --- the Schur product -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["grouped", "independent"])
def test_schur_product_equals_the_dense_formula(form, prior, rng):
    error = law_of(GROUP, rng) if form == "grouped" else 0.7
    observation = observed(error)
    taper = gaspari_cohn(np.abs(np.arange(SIZE)[:, None] - np.arange(SIZE)) * 1.0, 3.0)
    localized = taper * np.cov(prior.T)
    covariance = observation.law.covariance(observation.value)
    gain = localized[:, ENTRIES] @ np.linalg.inv(localized[np.ix_(ENTRIES, ENTRIES)] + covariance)
    mean = prior.mean(axis=0)
    expected = mean + gain @ (observation.value - mean[ENTRIES])
    found = SchurEnKF(NEAR).analyse(prior, observation, 1).ensemble
    np.testing.assert_allclose(found.mean(axis=0), expected, atol=1e-11)


# --- by variable -----------------------------------------------------------------------------------------------

RULES = (("t", "q", 0.0), ("q", "*", 2.0))
TYPED = Localization(ByVariable(Euclidean(), RULES), 3.0, ("x", "variable"))


def typed_positions():
    names = np.repeat([variable_code("t"), variable_code("q")], SIZE // 2)
    return np.stack([np.tile(np.arange(SIZE // 2) * 1.0, 2), names], axis=1)


def test_half_widths_by_variable_and_what_does_not_touch_what(prior):
    places, only_q = typed_positions(), Observation(np.ones(4), Select([22, 25, 31, 37]), 0.5)
    found = LETKF(TYPED).analyse(prior, only_q, None, None, places).ensemble
    np.testing.assert_array_equal(found[:, : SIZE // 2], prior[:, : SIZE // 2])
    wider = LETKF(Localization(Euclidean(), 6.0)).analyse(prior, only_q, None, None, places[:, :1]).ensemble
    np.testing.assert_allclose(found[:, SIZE // 2 :], wider[:, SIZE // 2 :], atol=1e-12)
    only_t = Observation(np.ones(3), Select([1, 8, 15]), 0.5)
    found = LETKF(TYPED).analyse(prior, only_t, None, None, places).ensemble
    for half_width, part in ((3.0, slice(0, SIZE // 2)), (6.0, slice(SIZE // 2, SIZE))):
        plain = LETKF(Localization(Euclidean(), half_width)).analyse(prior, only_t, None, None, places[:, :1]).ensemble
        np.testing.assert_allclose(found[:, part], plain[:, part], atol=1e-12)


@pytest.mark.parametrize("method", [LETKF(TYPED), letsf(TYPED), SchurEnKF(TYPED)], ids=["LETKF", "letsf", "Schur"])
def test_by_variable_in_parts_and_as_a_recipe(method, prior, rng):
    places, observation = typed_positions(), Observation(np.ones(20), Select(ENTRIES), 0.5)
    analysis = method.analyse(prior, observation, np.random.default_rng(1), None, places)
    entries = rng.permutation(SIZE)[:13]
    part = analysis.update.near(places[entries]).apply(prior[:, entries], places[entries], entries)
    np.testing.assert_array_equal(part, analysis.ensemble[:, entries])
    assert read_method(repr(method)) == method


def test_rules_that_are_none_are_refused():
    for rules in ((("t", "q"),), (("t", 3, 1.0),), (("t", "q", -1.0),), (("t", "q", np.inf),)):
        with pytest.raises(ValueError, match="give"):
            ByVariable(Euclidean(), rules)


# --- at most so many -------------------------------------------------------------------------------------------


def test_the_nearest_and_those_with_most_information(rng):
    places, observed_places = np.arange(30.0)[:, None], rng.uniform(0, 30, (50, 1))
    patches = Localization(Euclidean(), 8.0, nearest=5).patches(places, observed_places)
    anomalies = rng.standard_normal((6, 50))
    wide = Localization(Euclidean(), 8.0).patches(places, observed_places)
    informed = CountLimit(5).narrow(wide, 8.0, anomalies)[0]
    for i, place in enumerate(places[:, 0]):
        distance = np.abs(place - observed_places[:, 0])
        near = patches.index[patches.indptr[i] : patches.indptr[i + 1]]
        assert set(near) == set(np.argsort(distance)[:5])
        value = gaspari_cohn(distance, 8.0) * (anomalies**2).sum(axis=0)
        assert set(informed.index[informed.indptr[i] : informed.indptr[i + 1]]) == set(np.argsort(-value)[:5])


PLANE = np.stack(np.meshgrid(0.1 * np.arange(6), 0.1 * np.arange(5)), axis=-1).reshape(-1, 2)
SHEET = Localization(Periodic((0.6, 0.5)), 0.2)
SOME = np.repeat(np.arange(15), 2)


@pytest.mark.parametrize("group", [None, SOME, np.arange(30) // 7], ids=["alone", "pairs", "sevens"])
@pytest.mark.parametrize("nearest", [1, 2, 4, 6, 9])
def test_the_order_of_observations_plays_no_part(rng, nearest, group):
    """On a periodic grid, where distances tie, and with anomalies that do: sets of observations of every place."""
    localization = replace(SHEET, nearest=nearest)
    anomalies = rng.standard_normal((6, 3))[:, np.arange(30) % 3]

    def sets(order):
        own = None if group is None else group[order]
        wide = SHEET.patches(PLANE, PLANE[order], own)
        few = localization.patches(PLANE, PLANE[order], own)
        informed = CountLimit(nearest).narrow(wide, 0.2, anomalies[:, order], own)[0]
        return [[set(order[part]) for part in np.split(p.index, p.indptr[1:-1])] for p in (few, informed)]

    first = sets(np.arange(30))
    assert all(sets(rng.permutation(30)) == first for _ in range(5))


@pytest.mark.parametrize(("nearest", "number"), [(1, 1), (2, 5), (5, 5), (6, 9), (10, 13)])
def test_all_that_are_as_near_as_the_last_are_taken(nearest, number):
    """On a periodic grid every place takes as many: itself, 4 beside it, 4 at the corners, 4 two steps away."""
    places = np.stack(np.meshgrid(0.1 * np.arange(7), 0.1 * np.arange(9)), axis=-1).reshape(-1, 2)
    localization = Localization(Periodic((0.7, 0.9)), 0.2, nearest=nearest)
    assert set(np.diff(localization.patches(places, places).indptr)) == {number}
    assert set(np.diff(localization.patches(places, places + 70 * 0.7 * np.array([1, 0])).indptr)) == {number}


@pytest.mark.parametrize("filter", [LETKF, LETSF])
def test_an_analysis_does_not_depend_on_the_order_of_tied_observations(rng, filter):
    method = filter(replace(SHEET, nearest=4))
    prior, value, order = rng.standard_normal((8, 30)), rng.standard_normal(30), rng.permutation(30)
    one = Observation(value, Identity(), 0.5, position=PLANE)
    other = Observation(value[order], Select(order), 0.5, position=PLANE[order])
    found = [method.analyse(prior, observation, 1, positions=PLANE).ensemble for observation in (one, other)]
    np.testing.assert_allclose(*found, rtol=0, atol=1e-12)


def test_of_groups_as_near_each_that_fits_is_taken():
    """Beside one that is nearer: a pair and a triple are equally near, and a fourth lies behind them."""
    places, group = np.zeros((1, 1)), np.array([0, 1, 1, 2, 2, 2, 3])
    observed = np.array([0.1, 0.5, 0.6, -0.5, -0.7, 0.9, 0.8])[:, None]

    def taken(nearest):
        index = Localization(Euclidean(), 8.0, nearest=nearest).patches(places, observed, group).index
        return sorted(set(group[index]))

    assert [taken(nearest) for nearest in (1, 2, 3, 4, 7)] == [[0], [0, 3], [0, 1], [0, 1, 2], [0, 1, 2, 3]]


def test_groups_are_counted_as_a_whole():
    places = np.zeros((1, 1))
    observed_places, group = np.array([[0.1], [0.5], [0.6], [0.2], [0.7]]), np.array([0, 1, 1, 2, 1])
    counted = {
        count: sorted(
            Localization(Euclidean(), 8.0, nearest=count).patches(places, observed_places, group).index.tolist()
        )
        for count in (1, 2, 4, 5)
    }
    assert counted == {1: [0], 2: [0, 3], 4: [0, 3], 5: [0, 1, 2, 3, 4]}
    for number in (0, 1.5, -2):
        with pytest.raises(ValueError, match="whole number"):
            CountLimit(number)
        with pytest.raises(ValueError, match="whole number"):
            Localization(Euclidean(), 8.0, nearest=number)


def test_patches_are_whitened_by_the_root_of_their_own_correlation(rng):
    """Against dense factors, place by place, patches without observations too; and what is no correlation."""
    places, observed_places = np.linspace(0.0, 60.0, 9)[:, None], np.sort(rng.uniform(0, 20, (15, 1)), axis=0)
    patches = Localization(Euclidean(), 5.0).patches(places, observed_places)
    assert patches.largest > 5 and np.diff(patches.indptr).min() == 0
    correlation = np.exp(-np.abs(observed_places - observed_places.T) / 4)
    rows = rng.standard_normal((15, 3))
    white = _whitened(rows, correlation, patches, 1, 9)
    for place in range(1, 9):
        near = slice(patches.indptr[place], patches.indptr[place + 1])
        own = slice(near.start - patches.indptr[1], near.stop - patches.indptr[1])
        index, taper = patches.index[near], np.sqrt(patches.weight[near])[:, None]
        root = np.linalg.cholesky(correlation[np.ix_(index, index)])
        np.testing.assert_allclose(white[own], np.linalg.solve(root, taper * rows[index]), rtol=1e-12, atol=1e-13)
    with pytest.raises(ValueError, match="correlation of observation errors is not positive definite"):
        _whitened(rows, np.ones((15, 15)), patches, 0, 9)
