"""What the SQG pages are made of: shocks, networks, wrappers, truth from a stored run, localization."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ensf import experiments
from ensf.experiments import _sqg
from ensf.experiments._sqg import Shocks, Struck
from ensf.filters import Analysis
from ensf.localization import gaspari_cohn
from ensf.runs.nature import NatureRun, Trajectory
from ensf.twin import Method
from ensf.wrappers import InvertedArctan, published

PAGES = [name for name in experiments.names() if name.startswith("sqg")]
SHOCK = Shocks(1.0, (1000.0,), (1.0,))
SHOCKS = Shocks(0.5, (1500.0, 1200.0, 900.0, 600.0), (0.1, 0.2, 0.3, 0.4))


class Keep:
    """A filter that returns the prior, and what it was given."""

    def analyse(self, prior, observation, rng, memory=None, positions=None):
        return Analysis(prior, memory, {"observation": observation})


@pytest.fixture
def stored(monkeypatch, rng):
    """A nature run of constant fields, number k in state k, in place of the long one."""
    states = np.repeat(np.arange(601, dtype=np.float32), 8192).reshape(601, 8192)
    monkeypatch.setattr(NatureRun, "load", lambda self, folder=None: Trajectory(states, self.interval))


def cycles(name, seed=1, count=3, **changes):
    experiment = replace(experiments.load(name), cycles=count, **changes)
    return list(experiment.run(Method(Keep(), 3), seed))


def test_shocks_have_the_sizes_and_weights_that_they_say():
    rng, truth = np.random.default_rng(1), np.zeros(200, np.float32)
    sizes = np.array([SHOCKS.strike(truth, rng).std() for _ in range(4000)]) / _sqg.KELVIN
    struck = sizes[sizes > 0]
    assert len(struck) / 4000 == pytest.approx(0.5, abs=0.03)
    nearest = np.array(SHOCKS.sizes)[abs(struck[:, None] - SHOCKS.sizes).argmin(axis=1)]
    for size, weight in zip(SHOCKS.sizes, SHOCKS.weights, strict=True):
        assert np.mean(nearest == size) == pytest.approx(weight, abs=0.05)
    assert SHOCKS.strike(truth, rng).dtype == np.float32


def test_no_shock_leaves_the_truth_alone(rng):
    truth = rng.normal(size=5)
    assert Shocks().strike(truth, rng) is truth


def test_truth_follows_the_stored_run(stored):
    for k, cycle in enumerate(cycles("sqg_linear", count=5), 1):
        np.testing.assert_array_equal(cycle.truth, np.float32(k))
        assert cycle.time == k * 43200.0 and cycle.truth.dtype == cycle.forecast.dtype == np.float32


def test_seeds_take_other_parts_of_the_run(stored):
    first = [cycles("sqg_linear", seed, count=1)[0].truth[0] for seed in (1, 2, 3, 4)]
    assert first == [1, 101, 201, 301]


def test_seeds_have_other_noise(stored):
    """Truth, observations and members of another seed are others, beside the part of the run that they are in."""
    one, other = (cycles("sqg_linear_shocks", seed, count=1, shocks=SHOCK)[0] for seed in (1, 2))
    for part in (lambda c: c.truth, lambda c: c.observation.value - c.truth, lambda c: c.forecast[0]):
        assert abs(np.corrcoef(part(one), part(other))[0, 1]) < 0.5


def test_members_are_those_of_the_method_and_of_the_spread_that_is_said(stored):
    cycle = cycles("sqg_linear", count=1, deviation=0.0)[0]
    assert cycle.forecast.shape == (3, 8192) and not np.ptp(cycle.forecast, axis=0).any()


def test_members_come_from_the_stream_of_the_ensemble():
    trajectory = Trajectory(np.zeros((1, 50)), 1.0)
    _, members = _sqg.Around(trajectory, 2.0).draw(4, _sqg.Streams.spawn(3))
    expected = 2.0 * _sqg.Streams.spawn(3).ensemble.standard_normal((4, 50))
    np.testing.assert_array_equal(members, expected)


def test_a_page_goes_on_from_a_restart(stored):
    page, method = replace(experiments.load("sqg_linear"), cycles=3), Method(Keep(), 3)
    whole = page.run(method, 1)
    start = next(whole).checkpoint
    for one, other in zip(page.run(method, 1, start), whole, strict=True):
        assert one.index == other.index and one.forecast.tobytes() == other.forecast.tobytes()
        assert one.observation.value.tobytes() == other.observation.value.tobytes()


def test_filters_that_need_linear_observations_get_an_inverted_sensor():
    filters = {name: method.filter for name, method in _sqg.methods(2800.0, 0.8, InvertedArctan).items()}
    assert {name for name, one in filters.items() if isinstance(one, InvertedArctan)} == {"ensf", "map"}
    assert filters["ensf"].filter == _sqg.PUBLISHED and filters["letkf"].strength == 0.8
    assert not any(isinstance(method.filter, InvertedArctan) for method in _sqg.LINEAR.values())


def test_the_published_filter_is_the_named_one_with_the_spread_of_the_initial_members():
    assert _sqg.PUBLISHED.filter == published("sqg").filter
    assert _sqg.PUBLISHED.deviation == pytest.approx(2.98, abs=0.005)


def test_all_of_a_short_run_is_used(monkeypatch):
    states = np.zeros((4, 8192), np.float32)
    monkeypatch.setattr(NatureRun, "load", lambda self, folder=None: Trajectory(states, self.interval))
    assert len(cycles("sqg_linear", seed=3, count=3)) == 3
    with pytest.raises(ValueError, match="fewer cycles"):
        cycles("sqg_linear", count=4)


def test_published_shocks_pass_and_others_last(stored):
    passing = [c.truth - c.index - 1 for c in cycles("sqg_linear", count=4, shocks=SHOCK)]
    spread = 1000 * _sqg.KELVIN
    assert [part.std() for part in passing] == pytest.approx([spread] * 4, rel=0.05)
    assert abs(np.corrcoef(passing)[np.triu_indices(4, 1)]).max() < 0.1
    source = Struck(Trajectory(np.zeros((9, 8192)), 1.0), SHOCK)
    kept = Struck(_Still(), SHOCK)
    rng, other = np.random.default_rng(2), np.random.default_rng(2)
    a = b = np.zeros(8192)
    for k in range(4):
        a, b = source.advance(a, k, 1.0, rng), kept.advance(b, k, 1.0, other)
    assert (a.std(), b.std()) == pytest.approx((spread, 2 * spread), rel=0.05)


class _Still:
    def advance(self, states, time, duration, rng=None):
        return states


def test_lasting_shocks_act_on_the_model_state(stored):
    lasting = cycles("sqg_linear_shocks", count=1, lasting=True, shocks=Shocks())[0].truth
    expected = _sqg.MODEL.advance(np.zeros(8192, np.float32), 0.0, 43200.0)
    np.testing.assert_allclose(lasting, expected, atol=1e-4)


def test_members_start_about_the_truth(stored):
    truth, members = _sqg.Around(Trajectory(np.full((1, 8192), 5.0), 1.0), 3.06).draw(20, _sqg.Streams.spawn(1))
    assert members.mean() == pytest.approx(5.0, abs=0.05) and members.std() == pytest.approx(3.06, rel=0.02)
    assert (truth == 5.0).all()


def test_published_taper():
    """Zero at the cut-off; the other level counts by the same function of the deformation radius, 1000 km."""
    localization = _sqg.localization(2200.0)
    positions = _sqg.MODEL.positions
    patches = localization.patches(positions, positions)
    place = 64 * 20 + 30
    row = np.flatnonzero(patches.variables[:, 0] == place)[0]
    near = slice(patches.indptr[row], patches.indptr[row + 1])
    weight = np.zeros(8192)
    weight[patches.index[near]] = patches.weight[near]
    weight = weight.reshape(2, 64, 64)
    y, x = np.mgrid[:64, :64]
    distance = 312.5 * np.hypot((y - 20 + 32) % 64 - 32, (x - 30 + 32) % 64 - 32)
    np.testing.assert_allclose(weight[0], gaspari_cohn(distance, 1100.0), atol=1e-12)
    np.testing.assert_allclose(
        weight[1], gaspari_cohn(distance, 1100.0) * gaspari_cohn(np.array([1000.0]), 1100.0), atol=1e-8
    )


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_settings_that_can_be_written_down(name):
    from ensf.runs.recipe.settings import leaves

    experiment = experiments.load(name)
    settings = leaves(experiment)
    assert settings["nature.seed"] == 1 and settings["model.model.U"] == 30.0 and "lasting" in settings
    hybrid = set() if name == "sqg_arctan_half_shocks" else {"hybrid"}
    assert set(experiment.methods) == {"ensf", "letkf", "letkf_limited", "map", "letsf"} | hybrid
