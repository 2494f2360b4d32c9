"""What a filter remembers goes from analysis to analysis by files: bit for bit, through changes of network, by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import netCDF4
import numpy as np
import offline_files
import pytest
import xarray as xr

from ensf.cli import main
from ensf.offline import Offline
from ensf.offline.memory import keepers
from ensf.runs.recipe.reader import read_method, read_settings
from ensf.wrappers import letsf

SPHERE = "Localization(Sphere(), 600.0)"
ADAPTIVE = f"AdaptiveInflation(LETKF({SPHERE}), {SPHERE})"
SPREAD = f"AdaptiveSpread(LETKF({SPHERE}), {SPHERE})"
METHODS = {
    f"DeferredAnalysis({SPREAD})": ("DeferredAnalysis", "AdaptiveSpread"),
    ADAPTIVE: ("AdaptiveInflation",),
    "letsf": ("DeferredAnalysis", "AdaptiveSpread"),
    f"RTPS(DeferredAnalysis(LETKF({SPHERE}), chi2_limit=1.01, min_constraint=1.0), 0.3)": ("DeferredAnalysis",),
    "SpreadReset(CollapseGuard(ETKF(), limit=1.01, cycles=1))": ("SpreadReset", "CollapseGuard"),
    f"CollapseGuard({ADAPTIVE})": ("CollapseGuard", "AdaptiveInflation"),
}
SECOND = ("t,283.5,0.4,2024-01-31T03:00,45.3,6.2,850", "t,277,0.5,2024-01-31T03:00,50,8,1000")


@pytest.fixture(scope="module")
def forecasts(tmp_path_factory):
    """Two forecasts, each with a table; the second has another network."""
    folder = tmp_path_factory.mktemp("forecasts")
    for seed in (1, 2):
        place = offline_files.write(folder / f"f{seed}", seed)
    (place / "obs.csv").write_text("\n".join([offline_files.HEAD, *SECOND]) + "\n")
    return folder


def offline(text):
    method = text if text == "letsf" else read_method(text)
    return Offline(method, variables=("t", "q", "sst"), mask=True)


def analyse(forecasts, output, number, text, memory=None):
    place = forecasts / f"f{number}"
    rng = np.random.default_rng(number)
    return offline(text).analyse(f"{place}/forecast_*.nc", place / "obs.csv", output, rng=rng, memory=memory)


@pytest.fixture(scope="module")
def first(forecasts, tmp_path_factory):
    """The analysis of the first forecast by a method, made once, and the file of what it remembers."""
    kept = {}

    def made(text):
        if text not in kept:
            folder = tmp_path_factory.mktemp("first")
            kept[text] = analyse(forecasts, folder / "1", 1, text), folder / "1" / "memory.nc"
        return kept[text]

    return made


@pytest.mark.parametrize("text", METHODS)
def test_by_file_and_in_python_are_the_same_bits(forecasts, first, tmp_path, text):
    before, memory = first(text)
    carried = analyse(forecasts, tmp_path / "2", 2, text, before.memory)
    by_file = analyse(forecasts, tmp_path / "3", 2, text, memory)
    assert carried.ensemble.tobytes() == by_file.ensemble.tobytes()
    assert same(carried.memory, by_file.memory)


def test_the_home_folder_is_the_same_everywhere(forecasts, first, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    analyse(forecasts, "~/1", 1, ADAPTIVE)
    by_name = analyse(forecasts, "~/2", 2, ADAPTIVE, "~/1/memory.nc")
    assert same(by_name.memory, analyse(forecasts, tmp_path / "3", 2, ADAPTIVE, first(ADAPTIVE)[1]).memory)


@pytest.mark.parametrize("text", [ADAPTIVE, "SpreadReset(CollapseGuard(ETKF(), limit=1.01, cycles=1))"])
def test_what_is_remembered_matters(forecasts, first, tmp_path, text):
    carried = analyse(forecasts, tmp_path / "2", 2, text, first(text)[1])
    assert not same(carried.memory, analyse(forecasts, tmp_path / "3", 2, text).memory)


def test_who_has_waited_waits_no_more(forecasts, tmp_path):
    """One number, changed by hand."""
    text = next(one for one in METHODS if one.startswith("RTPS"))
    analyse(forecasts, tmp_path / "1", 1, text)
    waited = []
    for number in (0, 1):
        edit(tmp_path / "1" / "memory.nc", lambda file, number=number: file["waited"].assignValue(number))
        made = analyse(forecasts, tmp_path / f"w{number}", 2, text, tmp_path / "1" / "memory.nc")
        waited.append((made.info["waited"], made.memory.waited))
    assert waited == [(1.0, 1), (0.0, 0)]


def same(one, other):
    """Whether two memories have the same bits."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if hasattr(one, "__dataclass_fields__"):
        return all(same(getattr(one, name), getattr(other, name)) for name in one.__dataclass_fields__)
    a, b = np.asarray(one), np.asarray(other)
    return a is b or (a.dtype == b.dtype and a.shape == b.shape and (one is None or a.tobytes() == b.tobytes()))


def test_every_filter_that_remembers_is_found():
    for text, names in METHODS.items():
        method = letsf(read_settings(SPHERE)[0]) if text == "letsf" else read_method(text)
        assert tuple(type(one).__name__ for one in keepers(method)) == names


def test_float32_stays(tmp_path):
    rng = np.random.default_rng(5)
    grid = {"lat": ("lat", np.arange(40.0, 46), {"units": "degrees_north"})}
    grid["lon"] = ("lon", np.arange(5.0), {"units": "degrees_east"})
    for member in range(1, 7):
        values = rng.normal(280, 1, (6, 5)).astype(np.float32)
        xr.Dataset({"t": (("lat", "lon"), values)}, grid).to_netcdf(tmp_path / f"m{member}.nc")
    (tmp_path / "obs.csv").write_text("variable,value,error,time,lat,lon\nt,282,0.5,2024-01-31,42.3,2.2\n")
    results = []
    memory = None
    for output in ("a", "b", "c"):
        made = Offline(read_method(f"SpreadReset({ADAPTIVE})")).analyse(
            f"{tmp_path}/m*.nc", tmp_path / "obs.csv", tmp_path / output, rng=np.random.default_rng(1), memory=memory
        )
        memory = made.memory if output == "a" else None
        memory = tmp_path / "a" / "memory.nc" if output == "b" else memory
        results.append(made)
    assert results[1].ensemble.dtype == np.float32 and results[1].memory.inner.departure.dtype == np.float32
    assert results[1].ensemble.tobytes() == results[2].ensemble.tobytes() and same(results[1].memory, results[2].memory)


# --- readable, and changed by hand -----------------------------------------------------------------------


@pytest.fixture
def former(first, tmp_path):
    (tmp_path / "1").mkdir()
    return Path(shutil.copy(first(ADAPTIVE)[1], tmp_path / "1" / "memory.nc"))


def test_the_file_says_what_it_holds(former):
    with xr.open_dataset(former) as file:
        assert file.attrs["Conventions"] == "CF-1.11" and file.attrs["remembered_by"] == "AdaptiveInflation"
        assert {"inflation_departure", "inflation_variance", "degrees_of_freedom"} == set(file.data_vars) - set(
            file.coords
        )
        assert file.knot_latitude.attrs["units"] == "degrees_north" and file.knot_latitude.dims == ("knot",)
        assert float(file.knot_latitude.min()) >= 40 and file.inflation_variance.attrs["long_name"]


def edit(path, change):
    with netCDF4.Dataset(path, "a") as file:
        change(file)


def test_a_changed_value_takes_effect(forecasts, tmp_path, former):
    before = analyse(forecasts, tmp_path / "2", 2, ADAPTIVE, former)

    def widen(file):
        file["inflation_departure"][:] = 3.0
        file["inflation_variance"][:] = 1e-12

    edit(former, widen)
    after = analyse(forecasts, tmp_path / "3", 2, ADAPTIVE, former)
    assert np.nanmax(after.info.get("inflation", [0])) >= 0
    assert after.memory.departure.max() > 2.5 > before.memory.departure.max()
    assert after.ensemble.tobytes() != before.ensemble.tobytes()


def test_knots_may_be_added_and_moved(forecasts, tmp_path, former):
    """A table of points made by other means, as from a map."""
    stored = xr.load_dataset(former)
    more = xr.concat([stored, stored.isel(knot=[0])], "knot", data_vars="minimal", coords="minimal")
    more["knot_latitude"][-1] = 55.0
    more.to_netcdf(tmp_path / "more.nc")
    made = analyse(forecasts, tmp_path / "2", 2, ADAPTIVE, tmp_path / "more.nc")
    assert 55.0 in made.memory.knots[:, 0]


CHANGES = [
    (
        lambda file: file["inflation_variance"].__setitem__(0, -1.0),
        "inflation_variance is -1.0 somewhere: it cannot be",
    ),
    (lambda file: file["degrees_of_freedom"].__setitem__(0, -0.5), "degrees_of_freedom is -0.5 somewhere"),
    (
        lambda file: file["inflation_departure"].__setitem__(0, np.nan),
        "inflation_departure is missing or not finite at 1",
    ),
    (
        lambda file: file["inflation_departure"].__setitem__(0, 9.96921e36),
        "inflation_departure is missing or not finite",
    ),
    (lambda file: file["knot_latitude"].__setitem__(0, 95.0), "knot_latitude is 95.0: give -90 to 90 degrees"),
    (lambda file: file["knot_longitude"].__setitem__(0, np.inf), "knot_longitude is missing or not finite at 1"),
    (lambda file: file.renameVariable("inflation_variance", "other"), "has no variable 'inflation_variance'"),
    (lambda file: file.delncattr("remembered_by"), "is not the memory of a filter"),
    (lambda file: file.setncattr("remembered_by", "SpreadReset"), "has the memory of SpreadReset, but the method rem"),
]


@pytest.mark.parametrize(("change", "words"), CHANGES)
def test_what_makes_no_sense_is_refused(forecasts, tmp_path, former, change, words):
    edit(former, change)
    with pytest.raises(ValueError, match=words) as caught:
        analyse(forecasts, tmp_path / "2", 2, ADAPTIVE, former)
    assert str(caught.value).startswith(str(former)) and "\n" not in str(caught.value)
    assert not (tmp_path / "2").exists()


def test_a_wrong_shape_is_refused(forecasts, tmp_path):
    reset = "SpreadReset(ETKF())"
    analyse(forecasts, tmp_path / "1", 1, reset)
    for change, words in (
        (lambda one: one.isel(lat=slice(1, None)), "t_reset_spread has .*, but should have time 1 x level 2 x lat 12"),
        (lambda one: one.rename(lat="y"), "should have"),
        (lambda one: one.assign(t_reset_spread=-one.t_reset_spread), "t_reset_spread is -.* it cannot be negative"),
    ):
        change(xr.load_dataset(tmp_path / "1" / "memory.nc")).to_netcdf(tmp_path / "other.nc")
        with pytest.raises(ValueError, match=words):
            analyse(forecasts, tmp_path / "2", 2, reset, tmp_path / "other.nc")


def test_a_memory_for_a_filter_that_has_none_is_refused(forecasts, tmp_path, former):
    with pytest.raises(ValueError, match="this method remembers nothing that a file can hold: leave memory out"):
        analyse(forecasts, tmp_path / "2", 2, "ETKF()", former)
    analyse(forecasts, tmp_path / "3", 2, "ETKF()")
    assert not (tmp_path / "3" / "memory.nc").exists()


def test_a_cycle_without_observations_hands_the_memory_on(forecasts, tmp_path, former):
    place = forecasts / "f2"
    (tmp_path / "none.csv").write_text(offline_files.HEAD + "\nt,279,1.0,2024-01-31T03:00,80,1,1000\n")
    empty = offline(ADAPTIVE)
    prior = f"{place}/forecast_*.nc"
    rng = np.random.default_rng(1)
    empty.analyse(prior, tmp_path / "none.csv", tmp_path / "2", rng=rng, memory=former)
    empty.analyse(prior, tmp_path / "none.csv", tmp_path / "3", rng=rng)
    assert xr.load_dataset(tmp_path / "2" / "memory.nc").identical(xr.load_dataset(former))
    third = analyse(forecasts, tmp_path / "4", 2, ADAPTIVE, tmp_path / "3" / "memory.nc")
    assert same(third.memory, analyse(forecasts, tmp_path / "5", 2, ADAPTIVE).memory)


def test_the_command_line(forecasts, tmp_path, former, capsys):
    place = forecasts / "f2"
    words = ["analyse", "--prior", f"{place}/forecast_*.nc", "--observations", str(place / "obs.csv"), "--mask"]
    words += ["--variables", "t,q,sst", "--method", ADAPTIVE, "--seed", "2", "--output", str(tmp_path / "cli")]
    assert main([*words, "--memory", str(former), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "memory of AdaptiveInflation: of the analysis before\n" in out and not (tmp_path / "cli").exists()
    assert main([*words, "--memory", str(former)]) == 0
    by_hand = analyse(forecasts, tmp_path / "2", 2, ADAPTIVE, former)
    assert by_hand.memory is not None
    assert xr.load_dataset(tmp_path / "cli/memory.nc").identical(xr.load_dataset(tmp_path / "2/memory.nc"))
    capsys.readouterr()
    assert main([*words, "--memory", str(tmp_path / "nothing.nc"), "--overwrite"]) == 2
    assert "there is no file" in (error := capsys.readouterr().err) and error.count("\n") == 1
    assert main([*words, "--memory", str(tmp_path / "cli/memory.nc"), "--overwrite"]) == 2
    assert "would be overwritten" in capsys.readouterr().err


def test_what_is_learnt_of_a_kind_is_read_and_may_be_changed(forecasts, tmp_path):
    first = analyse(forecasts, tmp_path / "1", 1, SPREAD)
    former = tmp_path / "1" / "memory.nc"
    stored = xr.load_dataset(former)
    reported = json.loads((tmp_path / "1" / "analysis.json").read_text())["reported"]
    assert reported["error_factor_t"] == 1.0 and reported["bias_t"] == first.info["bias_t"]
    assert stored.kind.values.tolist() == list(first.memory.kinds) and "t" in stored.kind.values
    edit(former, lambda file: file["error_variance_factor"].__setitem__(slice(None), 4.0))
    made = analyse(forecasts, tmp_path / "2", 2, SPREAD, former)
    carried = analyse(forecasts, tmp_path / "3", 2, SPREAD, first.memory)
    assert made.memory.kinds["t"].error.sums is not None
    at = list(first.memory.kinds).index("t")
    edit(former, lambda file: file["surprises"].__setitem__(at, 0.25))
    edit(former, lambda file: file["bias_cycles"].__setitem__(at, 7))
    edit(former, lambda file: file["bias_field_raw"].__setitem__((at, 0), 0.25))
    strained = analyse(forecasts, tmp_path / "strained", 2, SPREAD, former)
    assert strained.memory.kinds["t"].surprises == pytest.approx(0.9 * 0.25)
    assert strained.memory.kinds["t"].bias.cycles == 8  # an interpolation teaches a bias too
    assert strained.memory.kinds["t"].bias_fields.raw.max(axis=1).tolist() == [0.25, 0.0]
    assert made.ensemble.tobytes() != carried.ensemble.tobytes()
    edit(former, lambda file: file["error_variance_factor"].__setitem__(0, -1.0))
    with pytest.raises(ValueError, match="error_variance_factor is -1.0 somewhere: it cannot be negative"):
        analyse(forecasts, tmp_path / "4", 2, SPREAD, former)
    edit(former, lambda file: file["error_variance_factor"].__setitem__(0, 1.0))
    edit(former, lambda file: file["last_kind"].__setitem__(0, 7))
    with pytest.raises(ValueError, match="last_kind is 7, but there are"):
        analyse(forecasts, tmp_path / "5", 2, SPREAD, former)
