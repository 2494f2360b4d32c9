"""Observed winters: the leave-one-out rules, the sensors, optimal interpolation, the snippet."""

import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ensf import experiments
from ensf.arrays import namespace
from ensf.diagnostics import rmse
from ensf.experiments import _geopotential as page
from ensf.filters import FreeRun
from ensf.observations import Observation, Select
from ensf.twin import Method

pytest.importorskip("eofs", reason='the data come with pip install "ensf[examples]"')

SNIPPET = Path(__file__).parents[2] / "docs" / "snippets" / "geopotential_height.py"
PAGES = ("geopotential_height", "geopotential_height_arctan")


def cycles(name, method, number, seed=1):
    experiment = replace(experiments.load(name), cycles=number)
    return list(experiment.run(experiment.methods[method], seed))


@pytest.fixture
def prior():
    heights, _ = page.heights()
    return heights[1:] - heights[1:].mean(axis=0)


# --- the winters -----------------------------------------------------------------------------------------


def test_the_winters_are_whole():
    heights, years = page.heights()
    assert heights.shape == (65, 29 * 49) and heights.dtype == np.float64
    assert np.array_equal(years, np.arange(1948, 2013))
    assert heights.min() > 4900 and heights.max() < 5900
    north = page.POSITIONS[:, 0] == 90
    assert np.ptp(heights[:, north], axis=1).max() == 0


def test_the_truth_is_left_out_of_the_prior():
    heights, _ = page.heights()
    for cycle in cycles("geopotential_height", "climatology", 3):
        others = np.delete(heights, cycle.index, axis=0)
        np.testing.assert_allclose(cycle.truth, heights[cycle.index] - others.mean(axis=0), atol=1e-9)
        np.testing.assert_allclose(cycle.forecast, others - others.mean(axis=0), atol=1e-9)
        assert cycle.time == 1948 + cycle.index and cycle.analysis.memory is None


@pytest.mark.parametrize("name", PAGES)
def test_stations_and_errors_depend_on_the_seed_alone(name):
    first, other = cycles(name, "climatology", 2), cycles(name, "etkf", 2)
    for one, two in zip(first, other, strict=True):
        assert np.array_equal(one.observation.value, two.observation.value)
        assert np.array_equal(one.observation.position, first[0].observation.position)
    elsewhere = cycles(name, "climatology", 1, seed=2)[0]
    assert not np.array_equal(elsewhere.observation.position, first[0].observation.position)


def test_stations_are_distinct_and_spread_evenly_over_the_area(rng):
    drawn = [page.scatter(25, rng) for _ in range(400)]
    assert all(len(np.unique(points)) == 25 for points in drawn)
    latitude, area = page.POSITIONS[:, 0], np.cos(np.deg2rad(page.POSITIONS[:, 0]))
    expected = np.average(latitude, weights=area)
    assert np.mean(latitude[np.concatenate(drawn)]) == pytest.approx(expected, abs=0.6)
    assert abs(latitude.mean() - expected) > 5


def test_fewer_members_are_other_winters():
    experiment = experiments.load("geopotential_height")
    cycle = next(experiment.run(Method(FreeRun(), 20), 1))
    whole = cycles("geopotential_height", "climatology", 1)[0].forecast
    assert cycle.forecast.shape == (20, 1421)
    assert all((whole == member).all(axis=1).any() for member in cycle.forecast)


@pytest.mark.parametrize(
    ("changes", "members", "message"),
    [
        ({}, 65, "there are 65 winters, so take 2 to 64 members"),
        ({"cycles": 66}, 64, "1 to 65 cycles"),
        ({"stations": 0}, 64, "0 stations: take 1 to 1421"),
    ],
)
def test_more_than_there_is_is_refused(changes, members, message):
    experiment = replace(experiments.load("geopotential_height"), **changes)
    with pytest.raises(ValueError, match=message):
        next(experiment.run(Method(FreeRun(), members), 1))


def test_without_the_data_pages_load_and_runs_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "eofs.examples", None)
    with pytest.raises(ImportError, match=r'pip install "ensf\[examples\]"'):
        page.heights.__wrapped__()
    code = f"import sys; sys.modules['eofs'] = None; from ensf import experiments; experiments.load('{PAGES[1]}')"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- the sensors -----------------------------------------------------------------------------------------


def test_the_saturating_sensor_is_as_accurate_as_the_other_for_small_anomalies(prior, rng):
    points = page.scatter(25, rng)
    network = page.Saturating(10.0).network(points, prior)
    direction = np.zeros(prior.shape[1])
    direction[points] = 10.0
    np.testing.assert_allclose(network.operator.tangent(0 * direction, direction), network.error)
    deviation = prior.std(axis=0, ddof=1)
    np.testing.assert_allclose(network.operator(2 * deviation), np.arctan(2.0))


# --- references ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["climatology", "oi"])
def test_references_refuse_missing_values_and_keep_their_arguments(prior, method):
    reference = experiments.load("geopotential_height").methods[method].filter
    observation = Observation(np.array([30.0]), Select((7,)), 10.0)
    before = prior.copy()
    assert namespace(reference.analyse(prior, observation, None, positions=page.POSITIONS).ensemble) is namespace(prior)
    assert np.array_equal(prior, before)
    prior[3, 5] = np.nan
    with pytest.raises(ValueError, match="member 3 has nan at state variable 5"):
        reference.analyse(prior, observation, None, positions=page.POSITIONS)


# --- what the methods do ---------------------------------------------------------------------------------


def test_letsf_is_letkf_for_linear_observations():
    letkf, letsf = (cycles("geopotential_height", method, 1)[0].analysis for method in ("letkf", "letsf"))
    np.testing.assert_allclose(letsf.ensemble, letkf.ensemble, atol=1e-6)


def test_conditional_guidance_with_a_gaussian_score_is_the_etkf():
    pairs = zip(*(cycles("geopotential_height", method, 4) for method in ("ensf_gaussian", "etkf")), strict=True)
    for gaussian, etkf in pairs:
        assert rmse(gaussian.analysis.ensemble, etkf.analysis.ensemble.mean(axis=0)) < 5.0
        spread = [cycle.analysis.ensemble.std(axis=0, ddof=1).mean() for cycle in (gaussian, etkf)]
        assert spread[0] == pytest.approx(spread[1], rel=0.05)


def test_the_published_filter_moves_only_what_is_seen():
    cycle = cycles("geopotential_height", "ensf", 1)[0]
    seen = np.zeros(1421, dtype=bool)
    seen[list(cycle.observation.operator.index)] = True
    analysis, truth = cycle.analysis.ensemble, cycle.truth
    assert rmse(analysis[:, seen], truth[seen]) < 0.7 * rmse(cycle.forecast[:, seen], truth[seen])
    unseen = rmse(analysis[:, ~seen], truth[~seen]) / rmse(cycle.forecast[:, ~seen], truth[~seen])
    assert unseen == pytest.approx(1.0, abs=0.02)


# --- the snippet of the README ---------------------------------------------------------------------------


def test_the_snippet_runs_and_is_short(capsys):
    assert len(SNIPPET.read_text().splitlines()) < 30
    runpy.run_path(str(SNIPPET), run_name="__main__")
    printed = capsys.readouterr()
    words = printed.out.split()
    before, after = float(words[1]), float(words[4])
    assert before == pytest.approx(42.5, abs=0.1)
    assert after == pytest.approx(9.2, abs=0.2)
    assert printed.err == ""
