"""Patches limited by information content."""

import array_api_strict as strict
import numpy as np
import pytest

from ensf import LETKF, LETSF, Identity, Observation, periodic_line
from ensf.arrays import like, to_numpy
from ensf.localization import gaspari_cohn
from ensf.localization.information_limit import InformationLimit, degrees_of_freedom

LINE = periodic_line(30, half_width=8.0)
PLACES = np.arange(30.0)[:, None]


@pytest.fixture
def seen(rng):
    return rng.standard_normal((10, 30))


def by_eigenvalues(patches, half_width, seen):
    freedom = []
    for i in range(len(patches.variables)):
        near = slice(patches.indptr[i], patches.indptr[i + 1])
        local = seen[:, patches.index[near]]
        values = np.linalg.eigvalsh(local * gaspari_cohn(patches.distance[near], half_width) @ local.T).clip(0)
        freedom.append((values / (1 + values)).sum())
    return np.array(freedom)


@pytest.mark.parametrize("half_width", [8.0, 3.0])
def test_degrees_of_freedom_on_every_path(seen, half_width):
    patches = LINE.patches(PLACES)
    wanted = by_eigenvalues(patches, half_width, seen)
    there = like(seen, strict.asarray(seen, device=strict.Device("device1")))
    np.testing.assert_allclose(degrees_of_freedom(patches, half_width, seen), wanted, rtol=1e-9)
    np.testing.assert_allclose(degrees_of_freedom(patches, half_width, there), wanted, rtol=1e-9)


def test_the_limit_is_kept_and_nearly_reached(seen):
    patches, limit = LINE.patches(PLACES), InformationLimit(0.4)
    factor = limit.chosen(patches, 8.0, seen)
    assert ((factor >= limit.shrink[-1]) & (factor <= 1)).all() and (factor < 1).all()
    reached = [by_eigenvalues(patches, 8.0 * f, seen)[i] for i, f in enumerate(factor)]
    assert np.max(reached) < 0.4 * 10 * 1.15 and np.median(reached) > 0.4 * 10 * 0.85


def test_little_information_leaves_the_patches_alone(seen):
    patches = LINE.patches(PLACES)
    narrowed = InformationLimit(0.4).narrow(patches, 8.0, 1e-3 * seen)
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
    found = method.analyse(there, Observation(like(np.zeros(30), there), Identity(), 0.3), rng).ensemble
    np.testing.assert_allclose(to_numpy(found), host, atol=1e-9)


@pytest.mark.parametrize("bad", [{"fraction": 0.0}, {"shrink": (0.5, 0.2)}, {"shrink": (1.0, 1.0)}])
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match="give a"):
        InformationLimit(**bad)
