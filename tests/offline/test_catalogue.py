"""Noise from a catalogue of states in files: as of an array, in analyses and cycles; what does not fit is refused."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from ensf import ETKF, AdditiveNoise, AnalysisInflation, Observation, OnlyVariables, Rotation, Select
from ensf.cli import main
from ensf.offline import Offline
from ensf.runs.recipe.reader import read_method

MEMBERS, SAMPLES = 5, 7
METHOD = "Rotation(AdditiveNoise(ETKF(), catalogue={!r}, factor=0.3))"


def write(path, values, hour):
    grid = {"y": ("y", np.arange(3.0), {"axis": "Y"}), "x": ("x", np.arange(4.0), {"axis": "X"})}
    time = ("time", [hour], {"units": "hours since 2020-01-01", "standard_name": "time"})
    xr.Dataset({"q": (("time", "y", "x"), values[None])}, grid | {"time": time}).to_netcdf(path)


@pytest.fixture
def folder(tmp_path, rng):
    (tmp_path / "days").mkdir()
    for member in range(1, MEMBERS + 1):
        write(tmp_path / f"m{member}.nc", 5 + rng.standard_normal((3, 4)), 0.0)
    for sample in range(SAMPLES):
        write(tmp_path / "days" / f"d{sample}.nc", 5 + rng.standard_normal((3, 4)), -24.0 * sample)
    rows = "\n".join(f"q,{5 + rng.standard_normal():.2f},0.5,2020-01-01,{k},{k}" for k in range(3))
    (tmp_path / "obs.csv").write_text(f"variable,value,error,time,y,x\n{rows}\n")
    return tmp_path


def states(paths):
    return np.stack([xr.load_dataset(path).q.values.ravel() for path in sorted(paths)])


def analysed(folder, method, output="out", **settings):
    offline = Offline(method, window="all", **settings)
    rng = np.random.default_rng(1)
    return offline.analyse(str(folder / "m*.nc"), str(folder / "obs.csv"), folder / output, rng=rng)


def test_files_are_the_array_of_their_states(folder):
    noisy = read_method(METHOD.format(str(folder / "days" / "*.nc")))
    assert read_method(repr(noisy)) == noisy
    catalogue = states((folder / "days").iterdir())
    made = analysed(folder, noisy).ensemble
    array = Rotation(AdditiveNoise(ETKF(), catalogue, 0.3))
    np.testing.assert_array_equal(made, analysed(folder, array, "array").ensemble)
    plain = analysed(folder, Rotation(ETKF()), "plain").ensemble
    np.testing.assert_allclose(made.mean(axis=0), plain.mean(axis=0), rtol=1e-12)
    assert np.abs(made - plain).max() > 0.1
    logs = analysed(folder, noisy, "logs", variables={"q": read_transform("Log()")}).ensemble
    array = Rotation(AdditiveNoise(ETKF(), np.log(catalogue), 0.3))
    np.testing.assert_array_equal(
        logs, analysed(folder, array, "log_array", variables={"q": read_transform("Log()")}).ensemble
    )


def read_transform(text):
    from ensf.runs.recipe.reader import read_settings

    return read_settings(text)[0]


def test_a_cycle_counts_paths_from_its_folder(folder, capsys):
    (folder / "c.toml").write_text(
        'command = "cp {input} {output}"\ninitial = "m{member}.nc"\nobservations = "obs.csv"\n'
        f'method = "{METHOD.format("days/*.nc")}"\n'
        f"members = {MEMBERS}\ncycles = 2\ninterval = 6.0\ncheck_time = false\n"
    )
    (folder / "obs.csv").rename(folder / "obs_1.csv")
    (folder / "obs_2.csv").write_text((folder / "obs_1.csv").read_text())
    text = (folder / "c.toml").read_text().replace("obs.csv", "obs_{cycle}.csv")
    (folder / "c.toml").write_text(text)
    assert main(["cycle", str(folder / "c.toml")]) == 0
    last = states((folder / "cycles" / "cycle_0002" / "analysis").glob("member_*.nc"))
    assert last.shape == (MEMBERS, 12) and last.std(axis=0, ddof=1).min() > 0.05
    (folder / "d.toml").write_text(text.replace("days/*.nc", "none/*.nc"))
    assert main(["cycle", str(folder / "d.toml"), "--dry-run", "--output", str(folder / "other")]) == 2
    assert "check the name or pattern of the catalogue" in capsys.readouterr().err


def test_what_does_not_fit_is_refused_in_a_sentence(folder, rng):
    method = read_method(METHOD.format(str(folder / "days" / "*.nc")))
    write(folder / "days" / "d3.nc", np.full((3, 4), np.nan), 0.0)
    with pytest.raises(ValueError, match=r"days/d3.nc: variable 'q' is missing"):
        analysed(folder, method)
    xr.load_dataset(folder / "m1.nc").isel(x=slice(0, 3)).to_netcdf(folder / "days" / "d3.nc")
    with pytest.raises(ValueError, match=r"variable 'q' has dimensions .*d3.nc but .*m1.nc"):
        analysed(folder, method)
    assert not (folder / "out").exists()
    seen = Observation(np.ones(1), Select((3,)), 0.5)
    with pytest.raises(ValueError, match=r"'days/\*.nc' is names of files, which analyses of files read"):
        AdditiveNoise(ETKF(), "days/*.nc", 0.3).analyse(rng.standard_normal((4, 12)), seen, 1)
    with pytest.raises(ValueError, match="the catalogue is .* give a finite array .sample, state. of two"):
        AdditiveNoise(ETKF(), np.ones((1, 12)), 0.3)
    with pytest.raises(ValueError, match="OnlyVariables names 'salt': choose from 'q'"):
        analysed(folder, OnlyVariables(AnalysisInflation(ETKF(), 1.1), ("salt",)))
