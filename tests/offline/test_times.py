"""A file for each time: the analysis is that of files with all times, file by file, bit for bit."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray as xr

from ensf import ETKF, LETKF, Localization, Parameter, letsf
from ensf.cli import main
from ensf.dataset.methods import find_localization
from ensf.localization import Euclidean
from ensf.offline import Offline, Source, job, parts
from ensf.offline.times import TimesSource

MEMBERS, TIMES = 4, 3
NEAR = Localization(Euclidean(), 1.5, dims=("x", "y"))
ABOUT = {"units": "hours since 2020-01-01", "standard_name": "time"}


def fields(rng):
    """Two variables of all members and times; p is on the sea alone."""
    p = 5 + rng.standard_normal((MEMBERS, TIMES, 3, 4))
    p[:, :, 1, 2] = np.nan
    return {"q": rng.standard_normal((MEMBERS, TIMES, 3, 4)).astype(np.float32), "p": p}


def dataset(values, times, units="hours since 2020-01-01"):
    grid = {"y": ("y", np.arange(3.0), {"axis": "Y"}), "x": ("x", np.arange(4.0), {"axis": "X"})}
    made = {name: (("time", "y", "x"), one, {"units": "K"}) for name, one in values.items()}
    return xr.Dataset(made, grid | {"time": ("time", times, ABOUT | {"units": units})}, {"history": "made"})


def scalar(file):
    return file.isel(time=0)


def dated(file):
    """Its time in minutes since that day at noon."""
    minutes = (file.time.values - 12) * 60
    return file.assign_coords(time=("time", minutes, ABOUT | {"units": "minutes since 2020-01-01T12:00"}))


def other_order(file):
    return file.transpose("y", "time", "x")


CHANGES = {"scalar": scalar, "dated": dated, "order": other_order}


@pytest.fixture
def folder(tmp_path, rng, request):
    """Files of one time each, of all times if a test compares with them, and of the kind that it names."""
    values, kind = fields(rng), getattr(request.node, "callspec", None) and request.node.callspec.params.get("kind")
    for name in ("whole", "hour_0", "hour_3", "hour_6", "other"):
        (tmp_path / name).mkdir()
    for member in range(MEMBERS):
        own = {name: one[member] for name, one in values.items()}
        dataset(own, 3.0 * np.arange(TIMES)).to_netcdf(tmp_path / "whole" / f"m{member}.nc")
        for k in range(TIMES):
            file = dataset({name: one[k : k + 1] for name, one in own.items()}, [3.0 * k])
            if kind is None:
                file.to_netcdf(tmp_path / f"hour_{3 * k}" / f"m{member}.nc")
            else:
                changed = file if kind == "dated" and not k else CHANGES[kind](file)
                changed.to_netcdf(tmp_path / "other" / f"m{member}_t{k}.nc")
    rows = ["variable,value,error,time,y,x"]
    for k in range(12):
        time = np.datetime64("2020-01-01T00:00") + np.timedelta64(31 * k, "m")
        rows.append(f"{'qp'[k % 2]},{rng.standard_normal() + 5 * (k % 2):.3f},0.5,{time},{k % 3},{k % 4}")
    rows.append("q,1.0,0.5,2020-01-01T07:00,0,0")
    (tmp_path / "obs.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def analysed(folder, prior, output, method, engine="serial", **settings):
    offline = Offline(method, mask=True, statistics=("analysis",), **{"by_time": True, **settings})
    rng = np.random.default_rng(1)
    made = offline.analyse(prior, str(folder / "obs.csv"), folder / output, rng=rng, engine=engine)
    return made, folder / output


def loaded(paths):
    return [xr.load_dataset(path, decode_times=False) for path in paths]


def test_files_of_one_time_have_the_analysis_of_files_of_all(folder):
    method = letsf(NEAR)
    whole, place = analysed(folder, str(folder / "whole" / "m*.nc"), "a", method, by_time=False)
    assert 10 <= whole.info["table"].used.sum() < 13
    expected = loaded(place / f"m{member}.nc" for member in range(MEMBERS))
    times = [str(folder / f"hour_{hour}" / "m*.nc") for hour in (0, 3, 6)]
    by_time, place = analysed(folder, times, "b", method)
    np.testing.assert_array_equal(by_time.info["table"].reason, whole.info["table"].reason)
    for member in range(MEMBERS):
        for k in range(TIMES):
            (made,) = loaded([place / f"hour_{3 * k}" / f"m{member}.nc"])
            xr.testing.assert_equal(made, expected[member].isel(time=[k]))
            (prior,) = loaded([folder / f"hour_{3 * k}" / f"m{member}.nc"])
            assert (made.q != prior.q).any() and made.p.isnull().sum() == 1
    mean = xr.load_dataset(folder / "b" / "statistics" / "analysis_mean.nc", decode_times=False)
    xr.testing.assert_allclose(mean, xr.load_dataset(folder / "a/statistics/analysis_mean.nc", decode_times=False))


@pytest.mark.parametrize("kind", ["scalar", "dated", "order"])
def test_a_time_may_be_a_number_in_other_units_and_anywhere(folder, kind):
    whole, _ = analysed(folder, str(folder / "whole" / "m*.nc"), "a", LETKF(NEAR), by_time=False)
    times = [str(folder / "other" / f"m*_t{k}.nc") for k in range(TIMES)]
    by_time, place = analysed(folder, times, "b", LETKF(NEAR))
    np.testing.assert_array_equal(by_time.info["table"].reason, whole.info["table"].reason)
    for member in range(MEMBERS):
        (expected,) = loaded([folder / "a" / f"m{member}.nc"])
        for k in range(TIMES):
            (made,) = loaded([place / f"m{member}_t{k}.nc"])
            for name in ("q", "p"):
                ours = made[name].transpose(..., "y", "x").values.reshape(3, 4)
                np.testing.assert_allclose(ours, expected[name].values[k], rtol=0, atol=0 if kind != "order" else 1e-12)


def test_files_of_each_time_have_lead_times_of_their_own(folder):
    whole, _ = analysed(folder, str(folder / "whole" / "m*.nc"), "a", LETKF(NEAR), by_time=False)
    for path in folder.glob("hour_*/m*.nc"):
        file, hour = xr.load_dataset(path, decode_times=False), float(path.parent.name[-1])
        file.q.attrs["units"] = "K" if hour else "kelvin"
        file.assign_coords(forecast_period=hour, x=file.x + 1e-10 * hour).to_netcdf(path)
    by_time, _ = analysed(folder, [str(folder / f"hour_{hour}" / "m*.nc") for hour in (0, 3, 6)], "b", LETKF(NEAR))
    np.testing.assert_allclose(by_time.ensemble, whole.ensemble, rtol=0, atol=1e-8)


def test_files_that_hold_all_members_at_one_time(folder):
    whole, _ = analysed(folder, str(folder / "whole" / "m*.nc"), "a", LETKF(NEAR), by_time=False)
    for hour in (0, 3, 6):
        files = loaded(folder / f"hour_{hour}" / f"m{member}.nc" for member in range(MEMBERS))
        xr.concat(files, "realization").to_netcdf(folder / f"all_{hour}.nc")
    by_time, place = analysed(folder, [str(folder / f"all_{hour}.nc") for hour in (0, 3, 6)], "b", LETKF(NEAR))
    np.testing.assert_array_equal(by_time.ensemble, whole.ensemble)
    for k, hour in enumerate((0, 3, 6)):
        (made,) = loaded([place / f"all_{hour}.nc"])
        for member in range(MEMBERS):
            (expected,) = loaded([folder / "a" / f"m{member}.nc"])
            np.testing.assert_array_equal(made.q[member, 0], expected.q[k])


def test_the_command_line_has_it(folder, capsys):
    words = ["analyse", "--by-time", "--mask", "--observations", str(folder / "obs.csv"), "--method", repr(LETKF(NEAR))]
    prior = ["--prior", *(str(folder / f"hour_{hour}" / "m*.nc") for hour in (0, 3, 6))]
    assert main([*words, *prior, "--output", str(folder / "out"), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "forecast: 4 members" in said and "hour_0/m0.nc to " in said and "hour_6/m0.nc" in said
    assert main([*words, *prior, "--output", str(folder / "out")]) == 0
    assert len(list((folder / "out").rglob("m*.nc"))) >= MEMBERS * TIMES


def test_what_does_not_fit_is_refused_in_a_sentence_and_nothing_is_written(folder):
    hours = [str(folder / f"hour_{hour}" / "m*.nc") for hour in (0, 3, 6)]

    def refused(sentence, prior, **settings):
        with pytest.raises((ValueError, FileNotFoundError), match=sentence):
            analysed(folder, prior, "out", LETKF(NEAR), **settings)
        assert not (folder / "out").exists()

    refused("hour_0/m0.nc is of no later time than .*hour_3/m0.nc: give the times in their order", [hours[1], hours[0]])
    refused("has 3 times: with a file for each time", [str(folder / "whole" / f"m[{k}].nc") for k in ("01", "23")])
    refused("all 12 files are of one name or pattern, but by_time needs one for each", [str(folder / "hour_*/m*.nc")])
    by_the_shell = [str(path) for path in sorted(folder.glob("hour_*/m*.nc"))]
    refused("m0.nc is one file, without 'realization', but by_time takes .*: put patterns in quotes", by_the_shell)
    mixed = [str(folder / "hour_[03]" / "m*.nc"), hours[2]]
    refused("hour_3/m0.nc is of 2020-01-01T03:00:00 but .*hour_0/m0.nc of 2020-01-01T00:00:00: give members", mixed)
    late = xr.load_dataset(folder / "hour_0" / "m2.nc", decode_times=False)  # the same numbers, of an hour later
    late.time.attrs["units"] = "hours since 2020-01-01T01:00"
    late.to_netcdf(folder / "late.nc")
    late.assign_coords(time=late.time + np.nan).to_netcdf(folder / "timeless.nc")
    refused(
        "m0.nc is of 2020-01-01T00:00:00 but .*timeless.nc of no time",
        [[folder / "timeless.nc", folder / "hour_0" / "m0.nc"], *hours[1:]],
    )
    an_hour_off = [[*sorted((folder / "hour_0").glob("m[013].nc")), folder / "late.nc"], *hours[1:]]
    refused("late.nc is of 2020-01-01T01:00:00 but .*hour_0/m0.nc of 2020-01-01T00:00:00", an_hour_off)
    refused("are the same file", [hours[0], hours[0]])
    refused("there is no file", [hours[0], str(folder / "none*.nc")])
    refused("window '6h' has no centre", hours, window="6h")
    (folder / "hour_6" / "m3.nc").rename(folder / "gone.nc")
    refused("hour_6/m0.nc and its like are 3 members, but there are 4 of .*hour_0/m0.nc", hours)
    for member in range(MEMBERS):
        path = folder / "hour_6" / f"m{member}.nc"
        file = xr.load_dataset(folder / "hour_3" / f"m{member}.nc", decode_times=False)
        file.assign_coords(time=("time", [6.0], ABOUT), x=file.x + 1.0).to_netcdf(path)
    refused("coordinate 'x' of variable 'q' differs between .*hour_6/m0.nc and .*hour_0/m0.nc", hours)
    for member in range(MEMBERS):
        path = folder / "hour_6" / f"m{member}.nc"
        xr.load_dataset(folder / "hour_3" / f"m{member}.nc").drop_vars("time").isel(time=0).to_netcdf(path)
    refused("variable 'q' of .*hour_6/m0.nc does not say its time", hours)


def test_a_trajectory_costs_its_reading_alone(folder, monkeypatch):
    """Values are read as often as those of files of one time, the filter works once, observations read two steps."""
    part, prepare, count = Source.part, LETKF.prepare, {"values": 0, "updates": 0}

    def read(source, tile):
        count["values"] += source.members * tile.layout.size
        return part(source, tile)

    def prepared(*arguments, **more):
        count["updates"] += 1
        return prepare(*arguments, **more)

    monkeypatch.setattr(Source, "part", read)
    monkeypatch.setattr(LETKF, "prepare", prepared)
    hours, observed = [str(folder / f"hour_{hour}" / "m*.nc") for hour in (0, 3, 6)], []
    for name, prior, by_time in (
        ("one", hours[1], False), ("all", str(folder / "whole" / "m*.nc"), False), ("times", hours, True)
    ):  # fmt: skip
        count |= {"values": 0, "updates": 0}
        made, _ = analysed(folder, prior, name, LETKF(NEAR), by_time=by_time, window="all")
        assert count == {"values": 2 * MEMBERS * made.source.layout.size, "updates": 1}
        offline = Offline(LETKF(NEAR), mask=True, by_time=by_time, window="all")
        ready = offline.prepare(prior, str(folder / "obs.csv"), folder / "none")
        observed.append(len(ready.columns.entries))
    assert observed[1] == observed[2] <= 2 * observed[0]


def test_strict_refuses_a_row_of_the_window_that_the_trajectory_does_not_reach(folder):
    """Of rows outside a window that was asked for it says nothing."""
    hours = [str(folder / f"hour_{hour}" / "m*.nc") for hour in (0, 3, 6)]
    for window in ("", "2020-01-01/2020-01-02"):
        with pytest.raises(ValueError, match=r"obs.csv: row 12 is not used .outside the time window.: repair it, or"):
            analysed(folder, hours, "out", ETKF(), strict=True, window=window)
    made, _ = analysed(folder, hours, "out", ETKF(), strict=True, window="2020-01-01/2020-01-01T06:30")
    assert made.info["table"].used.tolist() == 12 * [True] + [False]


@pytest.mark.parametrize("method", [LETKF(NEAR), ETKF()], ids=["rows", "times"])
def test_parts_of_times_have_the_bits_of_the_whole(folder, method, monkeypatch):
    """Parts are ranges of the grid, of all times; without a localization they are ranges of the times."""
    hours = [str(folder / f"hour_{hour}" / "m*.nc") for hour in (0, 3, 6)]
    whole, place = analysed(folder, hours, "a", method)
    monkeypatch.setattr(parts, "VALUES", (1, 40))
    cut = parts.cut_source(whole.source, find_localization(method))
    assert len(cut) > 2 and {part.dim for part in cut} == {"time" if method == ETKF() else "y"}
    with ThreadPoolExecutor(2) as pool:
        made, other = analysed(folder, hours, "b", method, pool)
    np.testing.assert_array_equal(made.ensemble, whole.ensemble)
    files = [path.relative_to(place) for path in place.rglob("*.nc") if path.parent != place]
    assert len(files) == MEMBERS * TIMES + 2
    for path in files:
        xr.testing.assert_identical(*(one.drop_attrs(deep=False) for one in loaded([place / path, other / path])))


def test_a_source_of_times_is_sent_as_names(folder):
    hours = [sorted((folder / f"hour_{hour}").glob("m*.nc")) for hour in (0, 3, 6)]
    source = TimesSource.of_times(hours, "realization", (), True)
    again = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(again.load(), source.load())
    assert again.layout.template.identical(source.layout.template) and again.paths == source.paths
    assert len(pickle.dumps(source)) < 5000


def test_times_take_an_engine_and_a_limit_of_memory(folder, monkeypatch, capsys):
    hours = [str(folder / f"hour_{hour}" / "m*.nc") for hour in (0, 3, 6)]
    near = "LETKF(Localization(Euclidean(), 1.5, dims=('x', 'y')))"
    request = ["analyse", "--by-time", "--mask", "--method", near, "--observations", str(folder / "obs.csv")]
    request += ["--prior", *hours, "--output"]
    assert main([*request, str(folder / "a")]) == 0
    monkeypatch.setattr(job, "ALWAYS", 0.0)
    limit = ["--memory-limit", "4.5e-5"]
    assert main([*request, str(folder / "b"), *limit, "--dry-run"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("analysis in")]
    assert int(line.split()[2]) > 1 and float(line.split()[5]) <= 4.5e-5, line
    assert main([*request, str(folder / "b"), *limit, "--engine", "processes:1"]) == 0
    for path in (folder / "a").rglob("m*.nc"):
        (one, other) = loaded([path, folder / "b" / path.relative_to(folder / "a")])
        xr.testing.assert_identical(one.drop_attrs(deep=False), other.drop_attrs(deep=False))
    given = hours, folder / "obs.csv", folder / "c"
    with pytest.raises(ValueError, match="memory_limit is 3.5e-05 GB but one part of .* smaller pieces"):
        Offline(LETKF(NEAR), mask=True, by_time=True, memory_limit=3.5e-5).prepare(*given)
    with pytest.raises(ValueError, match="but an update by the members at 23 observed values needs .*: .* thin the"):
        Offline(LETKF(NEAR), mask=True, by_time=True, memory_limit=1e-6).prepare(*given)


def test_parameters_are_those_of_the_last_time(folder, rng):
    """A number and a field, each as in files of all times; earlier files keep what they have."""
    rate, rough = 1 + 0.1 * rng.standard_normal(MEMBERS), rng.standard_normal((MEMBERS, 3, 4)).astype(np.float32)
    for number, path in enumerate(sorted(folder.glob("*/m?.nc"))):
        member, earlier = number % MEMBERS, 5.0 * (path.parent.name in ("hour_0", "hour_3"))
        file = xr.load_dataset(path, decode_times=False)
        field = file.q.isel(time=0, drop=True).copy(data=rough[member] + np.float32(earlier))
        file.assign(rate=rate[member] + earlier, rough=field).to_netcdf(path)
    chosen = {"rate": Parameter(min_spread=0.05), "rough": Parameter()}
    times = [str(folder / f"hour_{hour}" / "m*.nc") for hour in (0, 3, 6)]
    analysed(folder, str(folder / "whole" / "m*.nc"), "a", LETKF(NEAR), by_time=False, parameters=chosen)
    analysed(folder, times, "b", LETKF(NEAR), parameters=chosen)
    for member in range(MEMBERS):
        (whole,) = loaded([folder / "a" / f"m{member}.nc"])
        first, _, last = loaded(folder / "b" / f"hour_{hour}" / f"m{member}.nc" for hour in (0, 3, 6))
        xr.testing.assert_equal(last, whole.isel(time=[2]))
        assert first.rate == rate[member] + 5 and 0 < abs(last.rate - rate[member]) < 0.5
        np.testing.assert_array_equal(first.rough, rough[member] + np.float32(5))
        assert (last.rough != rough[member]).any()
