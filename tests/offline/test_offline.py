"""Offline analysis: files in, files out, the same as in memory; together or not at all; within the memory bound."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr
from offline_files import HEAD, MEMBERS, ROWS, command, edit, load, member, write, write_one

from ensf import (
    ETKF,
    LETKF,
    LETSF,
    RTPP,
    RTPS,
    AdaptiveInflation,
    AnalysisInflation,
    CollapseGuard,
    Copula,
    DeferredAnalysis,
    EnKF,
    Euclidean,
    FiniteSize,
    ForecastInflation,
    InformationLimit,
    Layered,
    Localization,
    ParticleFilter,
    QuantileFilter,
    ReverseSDE,
    Rotation,
    Sphere,
    SpreadReset,
    Standardised,
    letsf,
    published,
)
from ensf.cli import main
from ensf.dataset import Bounds, Log, Problem, Standardise, tiles
from ensf.dataset.methods import places
from ensf.dataset.raw import raw
from ensf.dataset.tiles import Range
from ensf.offline import Offline, Source, analyse_files
from ensf.offline.packing import codings, overwrite
from ensf.offline.staging import staged
from ensf.tables import read
from ensf.tables.quality import Duplicates

LOCAL = LETKF(Localization(Sphere(), 300.0))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return write(tmp_path_factory.mktemp("offline") / "files")


@pytest.fixture
def folder(original, tmp_path):
    return Path(shutil.copytree(original, tmp_path / "files"))


# --- the same as in memory --------------------------------------------------------------------------------


NEAR = Localization(Sphere(), 300.0)
HIGH = Localization(Layered(Sphere(), 2.0), 300.0, ("lat", "lon", "level"), {"level": 1000.0})
SECTION = Localization(Euclidean(), 60.0, ("lon", "level"), {"level": 1000.0})
METHODS = {
    "ETKF": ETKF(),
    "EnKF": EnKF(),
    "LETKF": LOCAL,
    "LETKF limited": LETKF(NEAR, InformationLimit(0.1)),
    "LETSF": LETSF(NEAR),
    "LETSF of three steps": LETSF(NEAR, steps=3),
    "LETSF limited": LETSF(NEAR, 2, InformationLimit(0.1)),
    "LETSF global": LETSF(),
    "QuantileFilter": QuantileFilter(NEAR),
    "ParticleFilter": ParticleFilter(0.1),
    "FiniteSize": FiniteSize(ETKF()),
    "RTPS": RTPS(LOCAL, 0.5),
    "RTPP and inflation": AnalysisInflation(RTPP(LOCAL, 0.4), 1.1),
    "Rotation": Rotation(EnKF()),
    "ForecastInflation": ForecastInflation(RTPS(LOCAL, 0.5), 1.2),
    "AdaptiveInflation": AdaptiveInflation(Rotation(LETSF(NEAR)), NEAR),
    "AdaptiveInflation surprised": AdaptiveInflation(LETKF(NEAR), NEAR, surprise_limit=0.01),
    "DeferredAnalysis": DeferredAnalysis(ETKF()),
    "letsf": letsf(NEAR),
    "LETKF with height": LETKF(HIGH),
    "letsf with height": letsf(HIGH),
    "LETKF in a section": LETKF(SECTION),
    "LETKF of sections": LETKF(replace(SECTION, dims=dict.fromkeys(("t", "q", "sst"), ("lon", "level")))),
    "Copula": Copula(LETSF(NEAR)),
    "published": published("sqg", sampler=ReverseSDE(20)),
}
SETTINGS = [{"t": None, "q": None, "sst": None}, {"t": None, "q": Log(), "sst": (Standardise(), Bounds(high=287.0))}]


@pytest.fixture(scope="module")
def several(original, tmp_path_factory):
    """Files with three observations, and what is in them."""
    folder = Path(shutil.copytree(original, tmp_path_factory.mktemp("several") / "files"))
    (folder / "obs.csv").write_text("\n".join([HEAD, ROWS[0], ROWS[1] + "1000", ROWS[2]]) + "\n")
    return folder, load(folder), read(folder / "obs.csv")


@pytest.mark.filterwarnings("ignore::ensf.StiffnessWarning")
@pytest.mark.parametrize(
    ("method", "settings"),
    [pytest.param(method, SETTINGS[1], id=name) for name, method in METHODS.items()]
    + [
        pytest.param(METHODS[name], SETTINGS[0], id=f"{name}, plain")
        for name in ("LETKF", "EnKF", "letsf", "published")
    ],
)
def test_files_dataset_and_array_are_one(several, tmp_path, monkeypatch, method, settings):
    """The same bits, but for a variable that its files pack: there the same code."""
    folder, forecast, table = several
    problem = Problem.of(forecast, table, method, variables=settings, mask=True)
    whole = problem.analyse(np.random.default_rng(5))
    pipeline = problem.pipeline
    where = places(pipeline.localization, problem.layout, np.arange(problem.layout.size))
    array = method.analyse(
        pipeline.states(problem.forecast), pipeline.observation, np.random.default_rng(5), None, where
    )
    inverse = pipeline.transforms.blocks(problem.layout).inverse(array.ensemble)
    changed = (array.ensemble != pipeline.states(problem.forecast)) & (whole.ensemble < 286.999)
    np.testing.assert_array_equal(whole.ensemble[changed], inverse[changed])

    monkeypatch.setattr(tiles, "ENTRIES", 100)
    offline = Offline(method, settings, mask=True)
    job = offline.prepare(folder / "forecast_*.nc", folder / "obs.csv", tmp_path / "out")
    assert len(job.pipeline.tiles) > 3
    np.testing.assert_array_equal(job.pipeline.observation.position, pipeline.observation.position)
    offline.analyse(folder / "forecast_*.nc", folder / "obs.csv", tmp_path / "out", rng=np.random.default_rng(5))
    wanted, written = problem.restore(whole.ensemble), load(tmp_path / "out")
    np.testing.assert_array_equal(written.q, wanted.q.astype(written.q.dtype))
    np.testing.assert_allclose(written.t, wanted.t, atol=0.0051)


@pytest.mark.parametrize(
    "localization, places",
    [
        (NEAR, [[47.3, 4.2], [41, 1]]),
        (HIGH, [[47.3, 4.2, 850], [41, 1, 1000]]),
        (SECTION, [[4.2, 850], [1, 1000]]),
        (Localization(Euclidean(), 1.0, ("lon",)), [[4.2], [1]]),
        (Localization(Euclidean(), 1.0, ("level", "lat")), [[850, 47.3], [1000, 41]]),
    ],
)
def test_observations_are_where_the_localization_takes_them_to_be(folder, localization, places):
    (folder / "obs.csv").write_text("\n".join([HEAD, ROWS[0], ROWS[2]]) + "\n")
    table, method = read(folder / "obs.csv"), AdaptiveInflation(LETKF(localization), localization)
    offline = Offline(method, {"t": None}).prepare(folder / "forecast_*.nc", folder / "obs.csv", folder / "out")
    np.testing.assert_array_equal(offline.pipeline.observation.position, places)
    for observations in (table, table.observe, lambda layout: table.observe(layout).check(Duplicates())):
        problem = Problem.of(load(folder), observations, method, variables=["t"])
        np.testing.assert_array_equal(problem.pipeline.observation.position, places)


@pytest.mark.parametrize(
    "dims, row, message",
    [
        (
            ("lat", "lon", "level"),
            "q,0.008,0.001,2024-01-31T03:00,43.3,8.2,",
            "row 1 has no z, but .* 'level': give it",
        ),
        (("lon", "lat"), ROWS[2], r".*dims=\('lon', 'lat'\) but the observations have positions"),
        (("lat", "lon", "height"), ROWS[2], "the column z is in 'level' but the localization uses 'height': name the"),
    ],
)
def test_a_place_that_the_table_does_not_tell(folder, dims, row, message):
    for path in folder.glob("forecast_*.nc"):
        edit(path, lambda file: file.createVariable("height", "f8", ("level",)).__setitem__(slice(None), [0.1, 1.5]))
        edit(path, lambda file: file["t"].setncattr("coordinates", "height"))
    (folder / "obs.csv").write_text("\n".join([HEAD, ROWS[0], row]) + "\n")
    method = LETKF(Localization(Euclidean(), 100.0, dims, {"height": 0.1}))
    with pytest.raises(ValueError, match=f"obs.csv: {message}"):
        Offline(method, ["t", "q"]).prepare(folder / "forecast_*.nc", folder / "obs.csv", folder / "out")
    with pytest.raises(ValueError, match=message):
        Problem.of(load(folder), read(folder / "obs.csv"), method, variables=["t", "q"])


def test_localizations_with_other_coordinates_in_one_method(folder):
    method = AdaptiveInflation(LETKF(SECTION), NEAR)
    with pytest.raises(ValueError, match=r"AdaptiveInflation has localizations with dims=\('lon', 'level'\).*name the"):
        Problem.of(load(folder), read(folder / "obs.csv"), method, mask=True)


def test_a_filter_of_the_whole_state_gets_it_at_once(folder):
    method = published("cmame")
    settings = {"t": Standardise(), "sst": None}
    (folder / "obs.csv").write_text("\n".join([HEAD, ROWS[0], ROWS[2]]) + "\n")
    offline = Offline(method, settings, mask=True)
    job = offline.prepare(folder / "forecast_*.nc", folder / "obs.csv", folder / "out")
    assert not job.pipeline.is_prepared and any("whole state" in line for line in job.lines(["a.nc"]))
    offline.analyse(folder / "forecast_*.nc", folder / "obs.csv", folder / "out", rng=np.random.default_rng(5))
    problem = Problem.of(load(folder), read(folder / "obs.csv"), method, variables=settings, mask=True)
    wanted = problem.restore(problem.analyse(np.random.default_rng(5)).ensemble)
    np.testing.assert_allclose(load(folder / "out").sst, wanted.sst, rtol=1e-6)


def test_one_file_and_a_file_per_member_are_the_same(folder, tmp_path):
    one = write_one(tmp_path / "one")
    offline = Offline(RTPS(LOCAL, 0.3), mask=True)
    offline.analyse(folder / "forecast_*.nc", folder / "obs.csv", folder / "out", rng=np.random.default_rng(1))
    offline.analyse(one / "forecast.nc", one / "obs.csv", one / "out", rng=np.random.default_rng(1))
    several, together = load(folder / "out"), xr.load_dataset(one / "out" / "forecast.nc", decode_times=False)
    for name in ("t", "q", "sst"):
        np.testing.assert_array_equal(several[name], together[name].transpose("realization", ...), err_msg=name)


def test_the_generator_goes_on_as_after_one_analysis(folder):
    rng, other = np.random.default_rng(5), np.random.default_rng(5)
    offline = Offline(EnKF(), mask=True)
    offline.analyse(folder / "forecast_*.nc", folder / "obs.csv", folder / "out", rng=rng)
    other.standard_normal((MEMBERS, len(ROWS)))
    assert rng.standard_normal() == other.standard_normal()


# --- files ------------------------------------------------------------------------------------------------


def described(group):
    """Everything of a file but the values of the analysed variables, values as stored."""
    group.set_auto_maskandscale(False)
    variables = {
        name: (
            variable.dtype, variable.dimensions, variable.__dict__, variable.filters(), variable.chunking(),
            variable.endian(), None if name in ("t", "q", "sst") else variable[...].tolist(),
        )
        for name, variable in group.variables.items()
    }  # fmt: skip
    dimensions = {name: (len(dim), dim.isunlimited()) for name, dim in group.dimensions.items()}
    attributes = {name: value for name, value in group.__dict__.items() if name != "history"}
    return dimensions, repr(variables), attributes, {name: described(one) for name, one in group.groups.items()}


@pytest.mark.parametrize("make", [write, write_one])
def test_round_trip_keeps_everything_but_the_analysed_values(make, tmp_path):
    folder = make(tmp_path / "files")
    assert main(["analyse", "--prior", f"{folder}/forecast*.nc", *command(folder)[3:]]) == 0
    paths = sorted(folder.glob("forecast*.nc"))
    for path in paths:
        with netCDF4.Dataset(path) as before, netCDF4.Dataset(folder / "out" / path.name) as after:
            assert described(before) == described(after)
            assert after.history.startswith("made\n") and "ensf analyse" in after.history
            assert (before["q"][...] != after["q"][...]).any() and (before["t"][...] != after["t"][...]).any()
            np.testing.assert_array_equal(before["sst"][...] == -1e30, after["sst"][...] == -1e30)
    record = json.loads((folder / "out" / "analysis.json").read_text())
    assert record["observations"]["rows"] == {"used": 3} and "RTPS" in record["settings"]
    assert record["innovations"]["rms_analysis"] < record["innovations"]["rms_prior"]


def test_a_model_restarts_from_the_analysis(folder):
    """Forecast files -> analysis files -> the model -> forecast files of the next cycle -> analysis files."""
    for cycle in (1, 2):
        place = folder if cycle == 1 else folder / "next"
        (folder / "obs.csv").replace(place / "obs.csv") if cycle == 2 else None
        assert main(command(place)) == 0
        if cycle == 1:
            shutil.copytree(
                folder / "out",
                folder / "next",
                ignore=shutil.ignore_patterns("ob*", "*.json", "fields.nc", "statistics.nc"),
            )
            for path in (folder / "next").glob("*.nc"):
                with netCDF4.Dataset(path, "r+") as file:
                    assert file["name"][2] == "ccc" and file["orography"][3, 4] == 34.0 and file["time"][0] == 3.0
                    file["t"][:] += 0.5
                    file["time"][0] += 6.0
    means = [load(place).t.mean() for place in (folder, folder / "out", folder / "next", folder / "next" / "out")]
    assert float(means[2] - means[1]) == pytest.approx(0.5, abs=0.01)


def test_members_come_in_the_natural_order_and_from_folders(folder, tmp_path):
    order = [10, 9, 2, 1]
    for number, name in enumerate(order, 1):
        (tmp_path / f"m{name}").mkdir()
        (folder / f"forecast_{number}.nc").rename(tmp_path / f"m{name}" / "restart.nc")
    offline = Offline(ETKF(), ["q"])
    (folder / "obs.csv").write_text(f"{HEAD}\n{ROWS[1]}\n")
    job = offline.prepare(tmp_path / "m*" / "restart.nc", folder / "obs.csv", tmp_path / "out")
    assert [path.parent.name for path in job.source.paths] == ["m1", "m2", "m9", "m10"]
    offline.analyse(tmp_path / "m*" / "restart.nc", folder / "obs.csv", tmp_path / "out", rng=np.random.default_rng(1))
    assert len(list((tmp_path / "out").glob("m*/restart.nc"))) == 4


def test_stages_and_statistics(folder):
    names = "forecast,preassim,postassim,analysis"
    method = "ForecastInflation(RTPS(LETKF(Localization(Sphere(), 300.0)), 0.7), 1.5)"
    assert main([*command(folder), "--method", method, "--stages", names, "--statistics", names]) == 0
    out = folder / "out"
    stages = {name: load(out if name == "analysis" else out / name).q for name in names.split(",")}
    np.testing.assert_array_equal(stages["forecast"], load(folder).q)
    spread = {name: float(values.std("realization", ddof=1).mean()) for name, values in stages.items()}
    assert spread["preassim"] == pytest.approx(1.5 * spread["forecast"], rel=1e-5)
    assert spread["postassim"] < spread["analysis"] < spread["preassim"]
    means = [stages[name].mean("realization") for name in ("postassim", "analysis")]
    np.testing.assert_allclose(*means, rtol=1e-5)
    for name, values in stages.items():
        mean, file = (xr.load_dataset(out / f"statistics/{name}_{what}.nc").q for what in ("mean", "spread"))
        np.testing.assert_allclose(mean, values.mean("realization"), rtol=1e-5)
        np.testing.assert_allclose(file, values.std("realization", ddof=1), rtol=1e-4)
        assert file.attrs["cell_methods"] == "realization: standard_deviation" and file.attrs["units"] == "1"


def test_the_table_says_what_was_used(folder):
    rows = [*ROWS, "t,400,1.0,2024-01-31T03:00,47.3,4.2,850", "t,280,1.0,2024-01-31T03:00,80,4.2,850"]
    (folder / "obs.csv").write_text("\n".join([HEAD, *rows]) + "\n")
    assert main([*command(folder), "--quality", "TimeWindow('2024-01-31', '2024-02-01'), GrossCheck(4.0)"]) == 0
    table = read(folder / "out" / "observations.nc")
    assert table.reason.tolist() == ["used"] * 3 + ["gross check", "out of domain"]
    assert np.isfinite(table.extra["analysis_spread"][:3]).all() and np.isfinite(table.extra["prior_mean"][3])
    departure = (table.value - table.extra["prior_mean"])[:3]
    record = json.loads((folder / "out" / "analysis.json").read_text())
    assert record["innovations"]["rms_prior"] == pytest.approx(np.sqrt(np.mean(departure**2)))
    assert main([*command(folder, output="strict"), "--strict"]) == 2 and not (folder / "strict").exists()


def test_without_observations_the_analysis_is_the_forecast(folder, capsys):
    (folder / "obs.csv").write_text("\n".join([HEAD, "t,280,1.0,2024-01-31T03:00,80,4.2,850"]) + "\n")
    assert main(command(folder)) == 0
    warning = "ensf: warning: none of 1 observations used (1 out of domain): the analysis is the forecast"
    assert warning in capsys.readouterr().err
    for path in folder.glob("forecast_*.nc"):
        with netCDF4.Dataset(path) as before, netCDF4.Dataset(folder / "out" / path.name) as after:
            before.set_auto_maskandscale(False), after.set_auto_maskandscale(False)
            assert all((before[name][...] == after[name][...]).all() for name in ("t", "q", "sst"))


REMEMBERING = {
    "SpreadReset": SpreadReset(LETKF(NEAR)),
    "wrapped": ForecastInflation(Copula(RTPS(DeferredAnalysis(AdaptiveInflation(SpreadReset(LOCAL), NEAR)), 0.3)), 1.1),
    "DeferredAnalysis": Rotation(DeferredAnalysis(LOCAL)),
    "letsf": letsf(NEAR),
}


@pytest.mark.parametrize(
    ("method", "settings"),
    [pytest.param(method, SETTINGS[1], id=name) for name, method in REMEMBERING.items()]
    + [pytest.param(REMEMBERING["wrapped"], SETTINGS[0], id="wrapped, plain")],
)
@pytest.mark.parametrize("row", [(), ("t,280,1.0,2024-01-31T03:00,80,4.2,850",)], ids=["no row", "no row used"])
def test_a_cycle_without_observations_is_remembered(folder, method, row, settings):
    (folder / "obs.csv").write_text("\n".join([HEAD, *row]) + "\n")
    problem = Problem.of(load(folder), read(folder / "obs.csv"), method, variables=settings, mask=True)
    memory = problem.analyse(np.random.default_rng(1)).memory
    offline = Offline(method, settings, mask=True)
    given = folder / "forecast_*.nc", folder / "obs.csv", folder / "out"
    forecast = offline.prepare(*given).source.load()
    analysis = offline.analyse(*given, rng=np.random.default_rng(1))
    assert repr(analysis.memory) == repr(memory) != "None"
    np.testing.assert_array_equal(analysis.ensemble, forecast)
    if isinstance(method, SpreadReset):
        spread = problem.pipeline.states(problem.forecast).std(axis=0, ddof=1)
        np.testing.assert_allclose(analysis.memory.spread, spread, rtol=1e-12)


@pytest.mark.parametrize(
    "method, factor",
    [
        (ForecastInflation(SpreadReset(LOCAL), 1.5), 1.5),
        (RTPS(ForecastInflation(DeferredAnalysis(SpreadReset(ForecastInflation(LOCAL, 1.2)), 1e9), 1.5), 0.3), 1.8),
        (SpreadReset(Standardised(ForecastInflation(LOCAL, 1.5))), 1.5),
        (Copula(ForecastInflation(LOCAL, 1.5), bandwidth=0.999), 1.5),
        (CollapseGuard(ForecastInflation(LOCAL, 1.5), limit=1e9), 1.5),
    ],
)
def test_what_a_filter_of_the_whole_state_takes_is_the_inflated_forecast(folder, method, factor):
    offline = Offline(method, mask=True, stages=("preassim",))
    offline.analyse(folder / "forecast_*.nc", folder / "obs.csv", folder / "out", rng=np.random.default_rng(1))
    forecast, inflated = load(folder).q, load(folder / "out" / "preassim").q
    np.testing.assert_allclose(inflated.mean("realization"), forecast.mean("realization"), rtol=2e-3)
    np.testing.assert_allclose(inflated.std("realization"), factor * forecast.std("realization"), rtol=2e-2)
    assert (inflated != forecast).all()


def test_progress_can_be_followed(folder):
    seen = []

    def follow(steps, what):
        steps = list(steps)
        seen.append((what, len(steps)))
        return steps

    rng = np.random.default_rng(1)
    given = folder / "forecast_*.nc", folder / "obs.csv", folder / "out"
    Offline(LOCAL, mask=True).analyse(*given, rng=rng, follow=follow)
    assert seen == [("reading", 1), ("analysis", 1), ("writing analysis", MEMBERS)]


def test_perturbed_observations_depend_on_the_seed(folder):
    for output, seed in (("out", "1"), ("other", "2"), ("again", "1")):
        assert main([*command(folder, output=output), "--method", "EnKF()", "--seed", seed]) == 0
    first, other, again = (load(folder / output).q.values for output in ("out", "other", "again"))
    assert (first != other).any() and (first == again).all()


def test_a_dry_run_writes_nothing(folder, capsys):
    before = sorted(folder.rglob("*"))
    assert main([*command(folder), "--dry-run"]) == 0
    assert sorted(folder.rglob("*")) == before
    shown = capsys.readouterr().out
    assert f"{MEMBERS} members" in shown and "3 of 3 rows used" in shown and "parts" in shown


def test_options_of_a_file(folder, monkeypatch):
    monkeypatch.chdir(folder)
    Path("method.toml").write_text("""
method = "LETKF(Localization(Sphere(), 300.0))"
quality = "Duplicates(), GrossCheck(5.0)"
prior = ["forecast_*.nc"]
output = "out"
mask = true
[variables]
t = ""
q = "Log(), Bounds(high=0.02)"
""")
    assert main(["analyse", "--config", "method.toml", "--observations", "obs.csv"]) == 0
    record = json.loads(Path("out/analysis.json").read_text())["settings"]
    assert "'q': (Log(offset=0.0), Bounds(low=-inf, high=0.02))" in record and "GrossCheck(gross_limit=5.0" in record
    np.testing.assert_array_equal(load(Path("out")).sst, load(Path()).sst)
    monkeypatch.undo()


def test_cycling_gets_files_alone(folder):
    out = folder / "out"
    out.mkdir()
    paths = sorted(folder.glob("forecast_*.nc"))
    given = {"variables": ("q",)}
    (folder / "obs.csv").write_text(f"{HEAD}\n{ROWS[1]}\n")
    for _ in range(2):
        analysis = analyse_files(paths, folder / "obs.csv", ETKF(), out, rng=np.random.default_rng(1), **given)
    assert sorted(path.name for path in out.iterdir()) == ["fields.nc", *(path.name for path in paths)]
    assert analysis.memory is None and analysis.ensemble.shape == (MEMBERS, 120)


def test_values_that_stay_keep_their_bits_in_packed_floats_too(tmp_path, rng):
    paths = [tmp_path / "1.nc", tmp_path / "2.nc"]
    for path in paths:
        with netCDF4.Dataset(path, "w") as file:
            file.createDimension("x", 1000)
            variable = file.createVariable("v", "f8", ("x",))
            variable.scale_factor, variable.add_offset = 0.1, 3.0
            variable.set_auto_maskandscale(False)
            variable[:] = rng.normal(size=1000)
    source = Source.of(paths, "realization", (), False)
    state = source.load()[0]
    state[7] += 1.0
    with netCDF4.Dataset(paths[0]) as file:
        file.set_auto_maskandscale(False)
        former = file["v"][:]
    part = Range(("v",), "x", 0, 1000)
    with raw(paths[0], "r+") as file:
        coded = codings(file, source.layout, [part], lambda number: state[None])
        overwrite(file, source.layout, coded, [(part, state[None])], None)
        assert np.flatnonzero(file["v"][:] != former).tolist() == [7]


def test_entries_in_which_all_members_agree_stay(folder):
    same = np.linspace(0.001, 0.012, 30).reshape(3, 10)
    for number in range(1, MEMBERS + 1):
        edit(member(folder, number), lambda file: file["q"].__setitem__(slice(3), same))
    offline = Offline(ForecastInflation(ETKF(), 3.0), {"q": Log(offset=1e-3)})
    (folder / "obs.csv").write_text(f"{HEAD}\n{ROWS[1]}\n")
    offline.analyse(folder / "forecast_*.nc", folder / "obs.csv", folder / "out", rng=np.random.default_rng(1))
    before, after = load(folder).q, load(folder / "out").q
    np.testing.assert_array_equal(after[:, :3], before[:, :3])
    assert (after[:, 3:] != before[:, 3:]).mean() > 0.9


# --- parts -------------------------------------------------------------------------------------------------


def test_parts_are_cut_by_pairs_of_place_and_observation(folder, monkeypatch):
    layout = Source.of(sorted(folder.glob("forecast_*.nc")), "realization", ("q",), False).layout
    observed = np.stack(np.meshgrid(np.linspace(40, 51, 7), np.linspace(0, 9, 9)), axis=-1).reshape(-1, 2)
    (tile,) = tiles.cut(layout, NEAR, observed)
    pairs = NEAR.patches(places(NEAR, layout, tile.entries), observed).index.size
    assert tiles._pairs(tile, NEAR, observed) == pairs
    monkeypatch.setattr(tiles, "PAIRS", pairs // 3)
    assert len(tiles.cut(layout, NEAR, observed)) >= 3


# --- all or none -------------------------------------------------------------------------------------------


def test_the_record_comes_after_the_files_of_its_analysis(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "another").touch()
    moved, rename = [], os.replace
    monkeypatch.setattr(os, "replace", lambda source, target: (moved.append(target.name), rename(source, target)))
    with staged(tmp_path / "out", "analysis.json", fresh=False) as folder:
        for name in ("a.nc", "analysis.json", "z.nc"):
            (folder / name).touch()
    assert moved == ["a.nc", "z.nc", "analysis.json"]
