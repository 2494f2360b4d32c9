"""Patches limited by information content."""

from itertools import pairwise

import array_api_strict as strict
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from ensf import LETKF, LETSF, Identity, Observation, periodic_line
from ensf.arrays import like, to_numpy
from ensf.localization import InformationLimit, Localization, Periodic, gaspari_cohn
from ensf.localization.information_limit import degrees_of_freedom

LINE = periodic_line(30, half_width=8.0)
PLACES = np.arange(30.0)[:, None]


@pytest.fixture
def anomalies(rng):
    return rng.standard_normal((10, 30))


def by_eigenvalues(patches, half_width, anomalies):
    freedom = []
    for i in range(len(patches.variables)):
        near = slice(patches.indptr[i], patches.indptr[i + 1])
        local = anomalies[:, patches.index[near]]
        values = np.linalg.eigvalsh(local * gaspari_cohn(patches.distance[near], half_width) @ local.T).clip(0)
        freedom.append((values / (1 + values)).sum())
    return np.array(freedom)


@pytest.mark.parametrize("half_width", [8.0, 3.0])
def test_degrees_of_freedom_on_every_path(anomalies, half_width):
    patches = LINE.patches(PLACES, PLACES)
    wanted = by_eigenvalues(patches, half_width, anomalies)
    there = like(anomalies, strict.asarray(anomalies, device=strict.Device("device1")))
    weight = gaspari_cohn(patches.distance, half_width)
    np.testing.assert_allclose(degrees_of_freedom(patches, weight, anomalies), wanted, rtol=1e-9)
    np.testing.assert_allclose(degrees_of_freedom(patches, weight, there), wanted, rtol=1e-9)


def test_the_limit_is_kept_and_nearly_reached(anomalies):
    patches, limit = LINE.patches(PLACES, PLACES), InformationLimit(0.4)
    factor = limit.chosen(patches, 8.0, anomalies)
    assert ((factor >= limit.shrink[-1]) & (factor <= 1)).all() and (factor < 1).all()
    reached = [by_eigenvalues(patches, 8.0 * f, anomalies)[i] for i, f in enumerate(factor)]
    assert np.max(reached) < 0.4 * 10 * 1.15 and np.median(reached) > 0.4 * 10 * 0.85


def test_little_information_leaves_the_patches_alone(anomalies):
    patches = LINE.patches(PLACES, PLACES)
    narrowed = InformationLimit(0.4).narrow(patches, 8.0, 1e-3 * anomalies)[0]
    np.testing.assert_allclose(narrowed.weight, patches.weight)


@pytest.mark.parametrize("filter_class", [LETKF, LETSF])
def test_more_accurate_observations_reach_less_far(filter_class, rng):
    prior = rng.standard_normal((10, 30)).cumsum(axis=1)
    far = {}
    for error in (10.0, 0.1):
        value = np.full(30, np.nan)
        value[::2] = prior.mean(axis=0)[::2] + 1
        observation = Observation(value, Identity(), error)
        method = filter_class(LINE, information_limit=InformationLimit(0.3))
        plain = filter_class(LINE).analyse(prior, observation, rng).ensemble
        far[error] = np.abs(method.analyse(prior, observation, rng).ensemble - plain).max()
    assert far[10.0] < 1e-9 < far[0.1]


def test_array_code_agrees(rng):
    prior = rng.standard_normal((10, 30))
    there = strict.asarray(prior, device=strict.Device("device1"))
    method = LETKF(LINE, information_limit=InformationLimit(0.3))
    host = method.analyse(prior, Observation(np.zeros(30), Identity(), 0.3), rng).ensemble
    there_too = method.analyse(there, Observation(like(np.zeros(30), there), Identity(), 0.3), rng).ensemble
    np.testing.assert_allclose(to_numpy(there_too), host, atol=1e-9)


@pytest.mark.parametrize("bad", [{"fraction": 0.0}, {"shrink": (0.5, 0.2)}, {"shrink": (1.0, 1.0)}])
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match="give a"):
        InformationLimit(**bad)


@pytest.mark.parametrize(("members", "observations"), [(10, 30), (40, 3000)])
def test_a_place_has_the_same_factor_whatever_other_places_there_are(members, observations, rng):
    """Also where BLAS would share a large patch among threads."""
    line, limit = Localization(Periodic((30.0,)), 8.0), InformationLimit(0.4)
    observed = rng.uniform(0, 30, (observations, 1))
    anomalies = (
        rng.standard_normal((members, observations))
        * rng.uniform(0.1, 0.7, observations)
        * (members / observations) ** 0.5
    )
    places = rng.uniform(0, 30, (60, 1))
    with threadpool_limits(2, user_api="blas"):
        whole = limit.chosen(line.patches(places, observed), 8.0, anomalies)
        for part in (slice(7, 8), slice(20, 23), slice(0, 60, 7)):
            alone = limit.chosen(line.patches(places[part], observed), 8.0, anomalies)
            np.testing.assert_array_equal(alone, whole[part])
    assert np.unique(whole).size > 5


def test_patches_without_a_half_width_stay_as_they_are(anomalies):
    line = Localization(Periodic((30.0,)), np.inf)
    patches = line.patches(PLACES, PLACES)
    assert InformationLimit(0.4).narrow(patches, np.inf, anomalies)[0] is patches


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("error", [1e-3, 1e-6, 1e-9])
def test_degrees_of_freedom_of_accurate_observations(error, dtype, rng):
    """As many as observations near, or as members less one; a Cholesky factor of I + G is none there."""
    patches = LINE.patches(PLACES, PLACES[::4])
    anomalies = rng.standard_normal((10, 30))
    anomalies = ((anomalies - anomalies.mean(axis=0)) / error)[:, ::4].astype(dtype)
    wanted = np.minimum(np.array([np.count_nonzero(patches.weight[a:b]) for a, b in pairwise(patches.indptr)]), 9)
    there = like(anomalies, strict.asarray(anomalies, device=strict.Device("device1")))
    clear = np.array([patches.weight[a:b].min() > 1e-3 for a, b in pairwise(patches.indptr)])  # no weight near 0
    assert clear.any()
    for numbers in (anomalies, there):
        freedom = degrees_of_freedom(patches, patches.weight, numbers)
        np.testing.assert_allclose(freedom[clear], wanted[clear], rtol=1e-2)


@pytest.mark.parametrize("shrink", [(), (0.5,), (1.0, 0.5, 0.5), (1.0, -0.5), (1.0, 0.0)])
def test_factors_that_do_not_fall_are_refused(shrink):
    with pytest.raises(ValueError, match="falls from 1 and stays above 0"):
        InformationLimit(shrink=shrink)
