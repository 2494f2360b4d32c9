"""Forecasts of a river: nothing of the future is used, they go on bit for bit, their scores and figures are right."""

import importlib.util
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from ensf import experiments
from ensf.cli import main
from ensf.experiments import _river
from ensf.experiments._river import DISCHARGE, FIRST_PARAMETER, LEADS, Errors, Records, River, by_lead
from ensf.models.hymod import Hymod
from ensf.plot import forecasts, report
from ensf.runs import runner

RIVER = experiments.load("river_hymod")
DAYS, LATE = 80, 30


def invented(seed=0, late=1.0):
    """Records of a catchment that is not there; reports after day `LATE` of them are multiplied."""
    rng = np.random.default_rng(seed)
    rain = rng.exponential(5.0, (DAYS, 4)) * (rng.random((DAYS, 4)) < 0.3)
    evaporation, start = np.full(DAYS, 3.0), np.array([[60.0, 1, 1, 1, 30]])
    forcing = rain.reshape(1, -1), np.repeat(evaporation / 4, 4)[None]
    discharge = Hymod(1944.0, 4).run(start, np.array([[425.0, 0.05, 0.8, 0.004, 0.5]]), *forcing)[1][0]
    discharge *= np.exp(0.1 * rng.standard_normal(DAYS))
    discharge[LATE:] *= late
    return Records(np.datetime64("1960-09-01"), rain, evaporation, discharge)


def small(cycles=12, members=30, **how):
    records = invented(**how)
    river = replace(RIVER.model.river, start="1960-09-20", records=lambda: records)
    methods = {name: replace(method, members=members) for name, method in RIVER.methods.items()}
    return replace(RIVER, model=replace(RIVER.model, river=river), cycles=cycles, burn_in=0.0, methods=methods)


# --- the model -------------------------------------------------------------------------------------------


def test_without_errors_the_members_are_hymod():
    records = invented()
    river = River(Hymod(1944.0, 4), "1960-09-20", lambda: records, Errors())
    storages, parameters = np.array([[60.0, 1, 2, 3, 30]]), np.array([[425.0, 0.05, 0.8, 0.004, 0.5]])
    states = np.concatenate([np.sqrt(storages), np.zeros((1, 2)), np.ones((1, 1)), parameters], axis=1)
    discharge = river.forecast(states, 3.0, np.random.default_rng(1))
    days = slice(23, 23 + LEADS)  # the day that ends at time 3 is the 23rd of September
    assert records.first + days.start == np.datetime64("1960-09-24")
    forcing = records.rain[days].reshape(1, -1), np.repeat(records.evaporation[days] / 4, 4)[None]
    np.testing.assert_allclose(discharge, river.hymod.run(storages, parameters, *forcing)[1], rtol=1e-10)


def test_errors_have_the_deviation_and_the_memory_they_say():
    records = invented()
    errors = Errors(rain=0.4, rain_memory=0.5, output=0.3, output_memory=0.8)
    river = River(Hymod(1944.0, 4), "1960-09-01", lambda: records, errors)
    states = np.zeros((4000, _river.River.shape[0]))
    states[:, FIRST_PARAMETER:] = (425.0, 0.05, 0.8, 0.004, 0.5)
    rng, output = np.random.default_rng(2), []
    for day in range(40):
        states = river.advance(states, float(day), 1.0, rng)
        output.append(states[:, [_river.RAIN, _river.OUTPUT]])
    last, before = output[-1], output[-2]
    np.testing.assert_allclose(last.std(axis=0), (0.4, 0.3), rtol=0.04)
    for column, memory in enumerate((0.5, 0.8)):
        assert np.corrcoef(last[:, column], before[:, column])[0, 1] == pytest.approx(memory, abs=0.05)


# --- forecasts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", RIVER.methods)
def test_no_forecast_uses_a_report_that_was_not_there_yet(method):
    pairs = zip(*(one.run(one.methods[method], 1) for one in (small(), small(late=7.0))), strict=True)
    for true, wrong in pairs:
        told = true.index >= LATE - 20  # the first report is that of the 20th day after the first
        same = np.array_equal(true.analysis.ensemble, wrong.analysis.ensemble)
        assert same == (not told or method == "open_loop")
        assert told or np.array_equal(true.forecast, wrong.forecast)
        assert np.array_equal(true.truth, wrong.truth) == (true.index + LEADS < LATE - 20)


@pytest.mark.parametrize("method", ["letsf", "particle", "updating"])
def test_a_run_goes_on_bit_for_bit(method):
    experiment = small(cycles=5)
    whole, start = [], None
    for cycle in experiment.run(experiment.methods[method], 3):
        whole.append(cycle)
        start = cycle.checkpoint if cycle.index == 2 else start
    rest = list(experiment.run(experiment.methods[method], 3, start))
    assert [cycle.index for cycle in rest] == [3, 4]
    np.testing.assert_array_equal(rest[-1].analysis.ensemble, whole[-1].analysis.ensemble)
    np.testing.assert_array_equal(rest[-1].members, whole[-1].members)


def test_the_truth_is_what_the_gauge_reports_on_the_days_after():
    experiment = small(cycles=2)
    records = experiment.model.river.records()
    second = list(experiment.run(experiment.methods["persistence"], 1))[1]
    np.testing.assert_array_equal(second.truth, records.discharge[22 : 22 + LEADS])  # from the 23rd on
    np.testing.assert_allclose(second.observation.value, records.discharge[21])
    centre = np.exp(np.log(second.analysis.ensemble).mean(axis=0))
    np.testing.assert_allclose(centre, records.discharge[21], rtol=4 * experiment.gauge / np.sqrt(30))


def test_both_forms_of_the_gauge_have_one_density():
    states = np.random.default_rng(0).normal(3.0, 0.5, (6, 13))
    logs = []
    for observe in (_river.lognormal, _river.logarithm):
        observation = observe(20.0, 0.126)
        logs.append(np.asarray(observation.log_likelihood(states)))
    np.testing.assert_allclose(logs[0] - logs[0][0], logs[1] - logs[1][0], rtol=1e-9, atol=1e-9)
    assert states[np.argmax(logs[0]), DISCHARGE] == pytest.approx(
        states[np.argmin(np.abs(states[:, DISCHARGE] - np.log(20.0))), DISCHARGE]
    )


def test_scores_by_lead():
    members = np.arange(1.0, 20.0)[:, None].repeat(3, axis=1)  # 19: a twentieth of the ranks is one
    measured = by_lead(members, np.array([0.5, 1.5, 10.0]))
    assert [measured[f"cover90_lead{lead}"] for lead in (1, 2, 3)] == [0.0, 1.0, 1.0]
    pairs = np.abs(members[:, :1] - members[:, :1].T).sum() / (2 * 19 * 18)
    for lead, truth in enumerate((0.5, 1.5, 10.0), 1):
        assert measured[f"crps_lead{lead}"] == pytest.approx(np.abs(members[:, 0] - truth).mean() - pairs)


def test_a_filter_finds_a_river_that_is_one_of_its_own():
    experiment = small(cycles=40, members=60)

    def error(name):
        cycles = list(experiment.run(experiment.methods[name], 1))[10:]
        return np.mean([[cycle.measured[f"crps_lead{lead}"] for lead in (1, 2, 3)] for cycle in cycles])

    assert max(error("letsf"), error("enkf")) < 0.8 * error("open_loop")


def test_days_beyond_the_records_are_refused():
    with pytest.raises(ValueError, match=r"beyond the records: take 53 cycles at most"):
        next(small(cycles=54).run(RIVER.methods["enkf"], 1))
    assert len(list(small(cycles=53, members=5).run(RIVER.methods["persistence"], 1))) == 53
    with pytest.raises(ValueError, match="no records of 1970-01-01: give a day from 1960-09-01 to 1960-11-19"):
        invented().day("1970-01-01")


def test_without_the_package_of_the_records_it_says_how_to_get_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    _river.leaf_river.cache_clear()
    assert main(["run", "river_hymod", "--methods", "enkf", "--seeds", "1", "--output", str(tmp_path)]) == 2
    assert 'pip install "ensf[examples]"' in capsys.readouterr().err


def test_records_of_the_leaf_river():
    pytest.importorskip("spotpy", reason='the records come with pip install "ensf[examples]"')
    records = _river.leaf_river()
    assert records.rain.shape == (3717, 4) and records.first + 3716 == np.datetime64("1962-09-30")
    assert records.discharge[0] == 2.3503 and records.evaporation[1] == 5.1718
    np.testing.assert_array_equal(records.rain[1], [0.1049, 0.2155, 1.5552, 4.6142])
    first = records.first + RIVER.model.river.day(RIVER.burn_in + 1)
    assert str(first) == "1961-10-01"  # of the forecasts that are scored
    assert RIVER.model.river.day(0.0) + RIVER.cycles + LEADS < 3717


# --- files and figures -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run with all members every second day."""
    path = tmp_path_factory.mktemp("river")
    experiment = small(cycles=6, members=9)
    methods = {name: experiment.methods[name] for name in ("open_loop", "enkf")}
    runner.run(experiment, methods, [1, 2], path, "ensf run", keep_members=1)
    return SimpleNamespace(path=path, experiment=experiment, methods=methods)


def test_files_hold_forecasts_by_lead_and_date(folder):
    with xr.open_dataset(folder.path / "enkf_seed1.nc") as run:
        assert run["discharge_analysis"].dims == ("time", "realization", "lead")
        assert str(run["time"].values[0])[:10] == "1960-09-22"  # the end of the 21st
        cycle = next(iter(folder.experiment.run(folder.methods["enkf"], 1)))
        np.testing.assert_allclose(run["discharge_analysis"][0], cycle.analysis.ensemble, rtol=1e-6)
        assert float(run["crps_lead2"][0]) == pytest.approx(cycle.measured["crps_lead2"])
        assert run["discharge_truth"].attrs["units"] == "m3 s-1"


def test_members_are_kept_as_the_run_began(folder):
    again = replace(folder.experiment, cycles=8)
    with pytest.raises(ValueError, match="keep_members is 1 there but absent now"):
        runner.run(again, folder.methods, [1, 2], folder.path, "ensf run", resume=True)
    with pytest.raises(ValueError, match="keep_members is 1 there but 3 now"):
        runner.run(folder.experiment, folder.methods, [1], folder.path, "ensf run", resume=True, keep_members=3)


def test_members_are_kept_every_so_many_cycles_and_when_a_run_is_extended(tmp_path):
    experiment = small(cycles=3, members=9)
    methods = {"enkf": experiment.methods["enkf"]}
    runner.run(experiment, methods, [1], tmp_path, "ensf run", keep_members=2)
    runner.run(replace(experiment, cycles=6), methods, [1], tmp_path, "ensf run", resume=True, keep_members=2)
    cycles = list(replace(experiment, cycles=6).run(methods["enkf"], 1))
    with xr.open_dataset(tmp_path / "enkf_seed1.nc") as run:
        for number, cycle in enumerate(cycles):
            written = run["discharge_analysis"][number].values
            if number % 2:
                assert np.isnan(written).all()
            else:
                np.testing.assert_allclose(written, cycle.analysis.ensemble, rtol=1e-6)
    assert json.loads((tmp_path / "summary.json").read_text())[0]["cycles"] == 6


def test_figures_show_what_the_files_hold(folder):
    assert {"leads.png", "hydrographs.png", "rmse.png"} <= {path.name for path in report(folder.path)}
    with xr.open_dataset(folder.path / "enkf_seed1.nc", decode_times=False) as run:
        figure = forecasts.figure_leads({"enkf": [run]})
        line = figure.axes[0].lines[0]
        assert line.get_ydata() == pytest.approx([float(run[f"crps_lead{lead}"].mean()) for lead in range(1, 8)])
        series = forecasts.figure_hydrographs({"enkf": [run]}).axes[0].lines[0]
        middle = np.median(run["discharge_analysis"][:, :, 0], axis=1)
        np.testing.assert_allclose(series.get_ydata(), middle, rtol=1e-6)
        assert str(np.asarray(series.get_xdata())[0])[:10] == "1960-09-22"  # forecast on the 21st for the day after
