"""Localization by the members' own correlations: its formula, the exact posterior, parts, what it is for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from exact import kalman_posterior

from ensf import (
    ETKF,
    LETKF,
    LETSF,
    AdaptiveInflation,
    ByCorrelation,
    Correlated,
    Euclidean,
    Grouped,
    InformationLimit,
    Linear,
    Localization,
    Observation,
    Parameter,
    Pointwise,
    Select,
    Simulated,
    Smoother,
    arctan,
)
from ensf.dataset import Problem, analyse
from ensf.runs.recipe.reader import read_method

SIZE, MEMBERS = 12, 10
SEEN = Observation(np.array([0.5, -0.2, 1.0]), Select((0, 4, 9)), 0.5)


@pytest.fixture
def prior(rng):
    return rng.standard_normal((MEMBERS, SIZE)) @ rng.standard_normal((SIZE, SIZE))


@pytest.mark.parametrize("errors", [0.0, 1.0, 2.0])
def test_an_entry_learns_as_much_as_its_correlation_tells(prior, errors):
    """One observation: the closed form with the precision of its error multiplied by the weight."""
    one = Observation(np.array([0.7]), Select((4,)), 0.5)
    analysis = LETKF(ByCorrelation(errors)).analyse(prior, one, 1).ensemble
    for entry in range(SIZE):
        r = np.corrcoef(prior[:, entry], prior[:, 4])[0, 1] ** 2 * (MEMBERS - 1)
        weight = max(0.0, (r - errors**2) / (r * (MEMBERS - 1 - errors**2)) * (MEMBERS - 1))
        if weight == 0:
            np.testing.assert_array_equal(analysis[:, entry], prior[:, entry])
            continue
        joint = prior[:, [entry, 4]]
        mean, covariance = kalman_posterior(
            joint.mean(axis=0), np.cov(joint.T), np.array([[0.0, 1.0]]), np.array([[0.25 / weight]]), one.value
        )
        assert analysis[:, entry].mean() == pytest.approx(mean[0], rel=1e-9, abs=1e-10)
        assert analysis[:, entry].var(ddof=1) == pytest.approx(covariance[0, 0], rel=1e-8)
    np.testing.assert_allclose(analysis[:, 4], ETKF().analyse(prior, one, 1).ensemble[:, 4], rtol=1e-9)


def chains(members, rng, count=40):
    """Parameters, each seen by three observations of its own: predictions, and the exact posterior."""
    parameters = rng.standard_normal((members, count))
    operator = np.repeat(np.eye(count), 3, axis=0) * (1 + 0.2 * rng.standard_normal((3 * count, 1)))
    truth = rng.standard_normal(count)
    value = operator @ truth + 0.8 * rng.standard_normal(3 * count)
    mean, _ = kalman_posterior(np.zeros(count), np.eye(count), operator, 0.64 * np.eye(3 * count), value)
    return parameters, parameters @ operator.T, Observation(value, Simulated(), 0.8), mean


def distance(method, members, seed):
    parameters, predicted, observation, mean = chains(members, np.random.default_rng(seed))
    analysis = method.analyse(parameters, observation, 1, predicted=predicted).ensemble
    return np.sqrt(np.mean((analysis.mean(axis=0) - mean) ** 2))


def test_with_few_members_it_is_nearer_to_the_exact_posterior_and_with_many_there():
    few = np.array([[distance(one, 30, seed) for one in (ETKF(), LETKF(ByCorrelation()))] for seed in range(5)])
    assert few[:, 1].mean() < 0.6 * few[:, 0].mean()
    assert distance(LETKF(ByCorrelation()), 4000, 1) < 0.05


def test_letsf_is_the_letkf_where_observations_are_linear(prior):
    for errors in (0.0, 1.0):
        one, other = (kind(ByCorrelation(errors)).analyse(prior, SEEN, 1).ensemble for kind in (LETKF, LETSF))
        np.testing.assert_allclose(one, other, atol=1e-9)


def test_letsf_of_seen_functions_is_the_whole_filter_where_every_correlation_counts(prior):
    seen = Observation(np.array([0.3, -0.2, 0.5]), Pointwise(arctan, Select((0, 4, 9))), 0.1)
    whole = LETSF().analyse(prior, seen, 1).ensemble
    np.testing.assert_allclose(LETSF(ByCorrelation(0.0)).analyse(prior, seen, 1).ensemble, whole, atol=1e-9)


def test_letsf_with_few_members_is_nearer_to_independent_scalar_posteriors():
    """60 parameters, each seen through an arctangent: the exact mean of each by quadrature."""
    grid, far = np.linspace(-6, 6, 4001), []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        parameters, value = rng.standard_normal((2, 60))
        members = rng.standard_normal((30, 60))
        density = np.exp(-0.5 * grid**2 - 0.5 * ((np.arctan(value)[:, None] - np.arctan(grid)) / 0.3) ** 2)
        mean = (density * grid).sum(axis=1) / density.sum(axis=1)
        seen = Observation(np.arctan(value), Pointwise(arctan), 0.3)
        analyses = (LETSF(one).analyse(members, seen, 1).ensemble for one in (None, ByCorrelation()))
        far.append([np.sqrt(np.mean((one.mean(axis=0) - mean) ** 2)) for one in analyses])
    whole, local = np.mean(far, axis=0)
    assert local < 0.6 * whole


@pytest.mark.parametrize(
    ("method", "seen"),
    [
        (LETKF(ByCorrelation(1.0)), SEEN),
        (LETSF(ByCorrelation(1.0), steps=3), replace(SEEN, operator=Pointwise(arctan, Select((0, 4, 9))))),
    ],
    ids=["LETKF", "LETSF"],
)
def test_parts_recipes_datasets_and_earlier_states(prior, rng, method, seen):
    analysis = method.analyse(prior, seen, 3)
    positions = np.arange(float(SIZE))[:, None]
    for entries in np.split(rng.permutation(SIZE), [1, 5]):
        part = analysis.update.near(positions[entries]).apply(prior[:, entries], positions[entries], entries)
        np.testing.assert_array_equal(part, analysis.ensemble[:, entries])
    np.testing.assert_array_equal(analysis.update.apply(prior[:, 3:5], None, field="p"), analysis.ensemble[:, 3:5])
    assert read_method(repr(method)) == method
    dataset = xr.Dataset({"q": (("realization", "x"), prior), "rate": ("realization", prior[:, 4] + 0.1)})
    np.testing.assert_array_equal(Problem.of(dataset[["q"]], seen, method).analyse(3).ensemble, analysis.ensemble)
    made = analyse(dataset, seen, method, 3, parameters={"rate": Parameter()})
    np.testing.assert_allclose(made.rate, analysis.ensemble[:, 4] + 0.1, rtol=1e-12)
    np.testing.assert_array_equal(Smoother(method, 1).analyse(prior, seen, 3).ensemble, analysis.ensemble)


def test_groups_are_near_as_a_whole_and_dense_errors_are_taken(prior):
    operator = Linear(np.eye(SIZE)[[0, 4, 9]])
    matrix = np.array([[1.0, 0.4], [0.4, 1.0]])
    value = np.array([0.5, -0.2, 1.0])
    grouped = Observation(value, operator, Grouped.of(np.array([0, 0, 1]), 0.5, [matrix, np.ones((1, 1))]))
    dense = np.eye(3)
    dense[:2, :2] = matrix
    whole = ETKF().analyse(prior, Observation(value, operator, Correlated(0.25 * dense)), 1).ensemble
    for law in (grouped, Observation(value, operator, Correlated(0.25 * dense))):
        np.testing.assert_allclose(LETKF(ByCorrelation(0.0)).analyse(prior, law, 1).ensemble, whole, atol=1e-9)
    some = LETKF(ByCorrelation(1.5)).analyse(prior, grouped, 1)
    patches = ByCorrelation(1.5).patches(prior - prior.mean(axis=0), some.update.anomalies, some.update.group)
    for entry in range(SIZE):
        own = slice(patches.indptr[entry], patches.indptr[entry + 1])
        weight = dict(zip(patches.index[own].tolist(), patches.weight[own].tolist(), strict=True))
        assert weight.get(0) == weight.get(1)


@pytest.mark.parametrize("method", [LETKF(ByCorrelation(1.0)), LETSF(ByCorrelation(1.0))], ids=["LETKF", "LETSF"])
@pytest.mark.parametrize("seen", [Select, lambda k: Pointwise(arctan, Select(k))], ids=["linear", "arctan"])
def test_the_order_of_rows_in_a_group_plays_no_part(prior, method, seen):
    entries, value = np.array([2, 3, 4, 8]), np.array([1.0, -1.0, 0.5, 0.7])
    matrix = 0.25 * np.exp(-np.abs(np.subtract.outer(entries, entries)) / 2)
    order = [2, 0, 3, 1]
    laws = Grouped(np.zeros(4), [matrix]), Grouped(np.zeros(4), [matrix[np.ix_(order, order)]])
    one, other = (
        method.analyse(prior, Observation(value[k], seen(entries[k]), law), 1).ensemble
        for k, law in zip((slice(None), order), laws, strict=True)
    )
    assert np.abs(one - prior).max() > 0.1
    np.testing.assert_allclose(one, other, atol=1e-12)


def test_what_does_not_fit_is_refused_in_a_sentence(prior):
    with pytest.raises(ValueError, match="errors of ByCorrelation is -1"):
        ByCorrelation(-1.0)
    with pytest.raises(ValueError, match="10 members are too few for ByCorrelation.3.0.: give more than 10"):
        LETKF(ByCorrelation(3.0)).analyse(prior, SEEN, 1)
    with pytest.raises(ValueError, match="has no places: leave information_limit and unresolved_variance out"):
        LETKF(ByCorrelation(), InformationLimit())
    near = Localization(Euclidean(), 2.0)
    with pytest.raises(ValueError, match="ByCorrelation knows no places"):
        AdaptiveInflation(LETKF(ByCorrelation(1.0)), near).analyse(prior, SEEN, 1)


def test_a_variable_without_spread_stays(prior):
    prior[:, 3] = 1.0
    np.testing.assert_array_equal(LETKF(ByCorrelation(1.0)).analyse(prior, SEEN, 1).ensemble[:, 3], prior[:, 3])
