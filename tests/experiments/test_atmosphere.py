"""Pages of the atmosphere: what is observed and where, scores against closed forms, and what an analysis gains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ensf import experiments
from ensf.experiments import _atmosphere as page
from ensf.models.held_suarez import HeldSuarez
from ensf.runs.nature import NatureRun
from ensf.twin import Method, Streams

COARSE = HeldSuarez(truncation=5, layers=3)
PAGES = ("atmosphere_dinosaur", "atmosphere_dinosaur_saturating")


@pytest.fixture(scope="module")
def nature(tmp_path_factory):
    """A short nature run of a coarse model, in a file."""
    pytest.importorskip("dinosaur")
    run = NatureRun(COARSE, spin_up=240.0, duration=480.0, interval=48.0)
    folder = tmp_path_factory.mktemp("nature")
    run.load(folder)
    return replace(run, file=str(run.path(folder)))


def small(name, nature):
    """A page on the coarse model, with four members."""
    experiment = experiments.load(name)
    changes = {"count": 12} if name == PAGES[0] else {"nature": nature, "every": (2, 2)}
    network = replace(experiment.network, model=COARSE, **changes)
    methods = {key: Method(method.filter, 4) for key, method in experiment.methods.items()}
    return replace(experiment, model=COARSE, network=network, initial=page.Climate(nature), methods=methods, cycles=2)


# --- what is observed ------------------------------------------------------------------------------------


def test_soundings_are_of_whole_columns():
    entries = page.Radiosondes().entries().reshape(25, 80)
    columns = entries % (32 * 64)
    np.testing.assert_array_equal(columns, np.tile(columns[0], (25, 1)))
    assert len(np.unique(columns[0])) == 80
    np.testing.assert_array_equal(entries // (32 * 64), np.arange(25)[:, None] + np.zeros(80))
    latitude = page.MODEL.positions[entries[0], 0]
    assert 40 < np.sum((latitude > 20) & (latitude < 70)) < 75


def test_errors_of_soundings_grow_with_height():
    error = page.Radiosondes().network.error.reshape(25, 80)
    np.testing.assert_allclose(error[[0, 7], 0], [1.2 - 0.5 / 16, 0.7 + 0.5 / 16])
    np.testing.assert_allclose(error[[8, 16, 24], 0], [2.5 - 1 / 16, 2.5 - 1 / 16, 0.7])


def test_a_sounder_is_blind_far_from_the_climate(nature):
    sounder = page.Sounder(nature, every=(2, 2), width=2.0, error=1e-6, model=COARSE)
    climate = nature.load().states.mean(axis=0).reshape(COARSE.shape).mean(axis=-1, keepdims=True)
    states = np.broadcast_to(climate, COARSE.shape).reshape(-1)
    rng = np.random.default_rng(1)
    for departure in (0.0, 2.0, -20.0):
        value = sounder.observe(states + departure, 0, rng).value
        np.testing.assert_allclose(value, np.arctan(departure / 2), atol=1e-4)
    places = COARSE.positions[sounder.entries()]
    assert len(places) == 3 * 4 * 8 == sounder.observe(states, 0, rng).size
    np.testing.assert_allclose(np.unique(places[:, 0]), COARSE.latitude[1::2])


@pytest.mark.parametrize("name", PAGES)
def test_unobserved_columns_are_the_others(name):
    network = experiments.load(name).network
    away = page.unobserved(network)
    columns = {(round(a, 6), round(b, 6)) for a, b, _ in network.model.positions[network.entries()]}
    assert away.sum() + len(columns) == away.size == 2048


# --- scores ----------------------------------------------------------------------------------------------


def test_energy_of_uniform_errors():
    errors = np.zeros((4, COARSE.size))
    fields = COARSE.split(errors)
    fields["temperature"][0] = 2.0
    fields["eastward"][1], fields["northward"][1] = 3.0, 4.0
    fields["pressure"][2] = 10.0
    fields["temperature"][3, 1] = 3.0
    squares = page.mean_squares(COARSE, errors, np.ones(COARSE.shape[1:], dtype=bool))
    np.testing.assert_allclose(squares["temperature"][3], [0, 9, 0])
    np.testing.assert_allclose(squares["wind"][1], 25.0)
    hundredth = np.sqrt(287 * 300) / 100
    expected = [2 * np.sqrt(1004 / 300), 5.0, hundredth, np.sqrt(1004 / 300 * 3)]
    np.testing.assert_allclose(page.energy_norm(squares), expected)


def test_means_are_over_an_area():
    """The square of sin(lat) is 1/3 over the sphere, and what is outside of a region does not count."""
    state = np.zeros(COARSE.size)
    COARSE.split(state)["temperature"][:] = np.sin(np.deg2rad(COARSE.latitude))[:, None]
    everywhere = np.ones(COARSE.shape[1:], dtype=bool)
    np.testing.assert_allclose(page.mean_squares(COARSE, state, everywhere)["temperature"], 1 / 3)
    regions = [page.within(COARSE, region) for region in page.REGIONS]
    np.testing.assert_array_equal(np.sum(regions, axis=0), 1)
    north, tropics, south = (page.mean_squares(COARSE, state, everywhere & region)["temperature"] for region in regions)
    np.testing.assert_allclose(north, south)
    assert (tropics < np.sin(np.deg2rad(20)) ** 2).all() and (north > np.sin(np.deg2rad(20)) ** 2).all()


# --- the experiment --------------------------------------------------------------------------------------


def test_truth_and_members_are_different_states_of_the_climate(nature):
    law, states = page.Climate(nature), nature.load().states
    truth, members = law.draw(4, Streams.spawn(1))
    np.testing.assert_array_equal(law.draw(6, Streams.spawn(1))[0], truth)
    numbers = [int(np.flatnonzero((states == state).all(axis=1))[0]) for state in (truth, *members)]
    assert len(set(numbers)) == 5
    with pytest.raises(ValueError, match="take fewer members"):
        law.draw(11, Streams.spawn(1))


@pytest.mark.parametrize("name", PAGES)
def test_an_analysis_is_better_where_nothing_is_observed(name, nature):
    experiment = small(name, nature)
    away = page.unobserved(experiment.network)
    runs = {key: list(experiment.run(method, 1)) for key, method in experiment.methods.items()}
    size = {
        key: page.energy_norm(
            page.mean_squares(COARSE, cycles[-1].analysis.ensemble.mean(axis=0) - cycles[-1].truth, away)
        )
        for key, cycles in runs.items()
    }
    for key, cycles in runs.items():
        np.testing.assert_array_equal(cycles[-1].truth, runs["free"][-1].truth)
        assert key == "free" or size[key] < size["free"]


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_gains_over_the_free_ensemble(name):
    """A run of 20 days, as the docs tell it."""
    pytest.importorskip("dinosaur")
    experiment = experiments.load(name)
    away = page.unobserved(experiment.network)

    def errors(method):
        return np.array(
            [
                page.energy_norm(
                    page.mean_squares(page.MODEL, cycle.analysis.ensemble.mean(axis=0) - cycle.truth, away)
                )
                for cycle in experiment.run(experiment.methods[method], 1)
            ]
        )[10:]

    free = errors("free")
    for method, gain in page.GAIN[name].items():
        assert free.mean() / errors(method).mean() == pytest.approx(gain[0], rel=0.1), method
