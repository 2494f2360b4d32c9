"""From files: observations at their own times in files of several times, and earlier cycles corrected since."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from dataclasses import replace
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr
from kills import kill

from ensf.cli import main
from ensf.dataset import Problem
from ensf.filters import ETKF
from ensf.offline import Offline
from ensf.offline import cycle as external
from ensf.offline.cycle import Command, Cycling, Estimated
from ensf.runs.owner import OWNER
from ensf.runs.recipe.reader import read_method
from ensf.tables import read
from ensf.wrappers import AnalysisInflation, Parameter

MODEL = Path(__file__).parents[1] / "external_model.py"
MEMBERS, CYCLES, TIMES = 5, 5, 4
PROGRAM = f"{shlex.quote(os.path.realpath(sys.executable))} -S -I {shlex.quote(str(MODEL))}"
COMMAND = f"{PROGRAM} {{input}} {{output}} 0 {{duration}} {{seed}}"
METHODS = ["Smoother(ETKF(), 3)", "Smoother(LETKF(Localization(Euclidean(), 1.5, dims=('x', 'y'))), 3)"]


def write_member(path, states, **numbers):
    """A classic NetCDF file of the states before the start, every two hours, behind other numbers."""
    with netCDF4.Dataset(path, "w", format="NETCDF3_CLASSIC") as file:
        for name, number in numbers.items():
            file.createVariable(name, "f8", ())[...] = number
        for name, size in (("y", 3), ("x", 4), ("time", len(states))):
            file.createDimension(name, size)
        for name in ("y", "x"):
            file.createVariable(name, "f8", (name,))[:] = np.arange(len(file.dimensions[name]))
            file[name].axis = name.upper()
        file.createVariable("time", "f8", ("time",))[:] = 24 + 2 * np.arange(1 - len(states), 1)
        file["time"].units = "hours since 2019-12-31"
        file.createVariable("q", "f8", ("time", "y", "x"))[:] = states


def write(folder):
    rng = np.random.default_rng(3)
    for number in range(1, MEMBERS + 1):
        states = rng.standard_normal((TIMES, 3, 4))
        write_member(folder / f"m{number}.nc", states)
        write_member(folder / f"last{number}.nc", states[-1:])
    rows = ["variable,value,error,time,y,x"]
    for minutes in range(20, CYCLES * 360, 100):
        time = np.datetime64("2020-01-01T00:00") + np.timedelta64(minutes, "m")
        rows.append(f"q,{rng.standard_normal():.3f},0.5,{time},{rng.uniform(0, 2):.2f},{rng.uniform(0, 3):.2f}")
    (folder / "obs.csv").write_text("\n".join(rows) + "\n")


@pytest.fixture
def folder(tmp_path):
    write(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A run of four cycles that never stopped."""
    folder = tmp_path_factory.mktemp("ended")
    write(folder)
    return run(folder, cycles=4)


def cycling(folder, words="", **changes):
    settings = {"initial": "m{member}.nc", "observations": "obs.csv", "folder": str(folder), "start": "2020-01-01"}
    numbers = {"members": MEMBERS, "cycles": CYCLES, "interval": 21600.0, "window": (21600.0, 0.0)}
    method = {"method": read_method(METHODS[0])}
    return Cycling(Command(f"{COMMAND} times={TIMES} {words}"), **{**settings, **numbers, **method, **changes})


def run(folder, words="", output="out", resume=False, **changes):
    external.run(cycling(folder, words, **changes), folder / output, resume=resume, show=lambda line: None)
    return folder / output


def members(place):
    states = []
    for path in sorted(place.glob("member_*.nc")):
        with xr.open_dataset(path) as file:
            states.append(file.q.values.ravel())
    return np.array(states)


def contents(directory):
    names = sorted(path for path in directory.rglob("*") if path.is_file() and path.name not in ("restart.npz", OWNER))
    return {str(path.relative_to(directory)): path.read_bytes() for path in names}


def test_each_row_is_predicted_at_its_own_time(ended):
    out = ended
    for cycle in (1, 2):
        table = read(out / f"cycle_{cycle:04d}" / "observations.csv")
        prior = members(out / f"cycle_{cycle:04d}" / "forecast").mean(axis=0).reshape(TIMES, 3, 4)
        grid = xr.DataArray(prior, {"hour": 6 * (cycle - 1) + 2 * np.arange(TIMES), "y": range(3), "x": range(4)})
        rows = np.flatnonzero(table.used)
        assert len(rows) > 2
        for row in rows:
            hour = (table.time[row] - np.datetime64("2020-01-01")) / np.timedelta64(1, "h")
            x, y = table.position[row]
            assert table.extra["prior_mean"][row] == pytest.approx(float(grid.interp(hour=hour, y=y, x=x)), abs=1e-6)


def test_earlier_states_take_the_weights_of_the_later_analysis(ended):
    out = ended
    place = "cycle_{:04d}".format
    for cycle in (2, 3, 4):
        prior, analysis = members(out / place(cycle) / "forecast"), members(out / place(cycle) / "analysis")
        weights = np.linalg.lstsq((prior - prior.mean(axis=0)).T, (analysis - prior).T, rcond=None)[0]
        if cycle == 2:
            before, state = out / place(1) / "analysis", 1
        else:
            before, state = (out / place(3) / "analysis", 3) if cycle == 4 else (out / place(2) / "analysis", 2)
        after = out / place(cycle) / "smoothed" / place(state)
        if not after.exists():
            continue  # a later cycle has corrected it further
        earlier = members(before)
        expected = earlier + ((earlier - earlier.mean(axis=0)).T @ weights).T
        np.testing.assert_allclose(members(after), expected, atol=1e-8)
    kept = {str(path.relative_to(out)) for path in out.glob("*/smoothed/*")}
    assert kept == {
        "cycle_0004/smoothed/cycle_0003",
        "cycle_0004/smoothed/cycle_0002",
        "cycle_0004/smoothed/cycle_0001",
    }


@pytest.mark.parametrize("method", METHODS, ids=["etkf", "letkf"])
def test_the_filter_runs_as_without_a_smoother(folder, method):
    smoothed = contents(run(folder, output="with", cycles=2, method=read_method(method)))
    plain = contents(run(folder, output="without", cycles=2, method=read_method(method).filter))
    assert {name: smoothed[name] for name in plain if "analysis" in name} == {
        name: content for name, content in plain.items() if "analysis" in name
    }


def test_a_run_that_was_killed_goes_on_bit_for_bit(folder, ended):
    assert (ended / "cycle_0004" / "smoothed" / "cycle_0001" / "member_0001.nc").is_file()
    assert not (ended / "cycle_0003" / "smoothed" / "cycle_0002").exists()
    process = external_run(folder, "half")
    process.wait()
    assert process.returncode == -signal.SIGKILL
    resumed = run(folder, output="half", resume=True, cycles=4)
    assert contents(resumed) == contents(ended)


CONFIG = f"""
command = {COMMAND + f" times={TIMES} rate={{rate}}"!r}
initial = "m{{member}}.nc"
observations = "obs.csv"
start = 2020-01-01
method = "{METHODS[0]}"
members = {MEMBERS}
cycles = {CYCLES}
interval = 21600.0
window = [21600.0, 0.0]

[parameters.rate]
value = 0.9
spread = 0.1
min_spread = 0.02
"""


@pytest.mark.slow
def test_windows_a_parameter_and_a_lag_of_three_are_killed_at_random_moments(folder):
    (folder / "c.toml").write_text(CONFIG)
    words = ["cycle", str(folder / "c.toml"), "--resume", "--output"]
    statuses = kill(30, 1.0, [*words, str(folder / "killed")])
    assert statuses.count(signal.SIGKILL) >= 5
    assert main([*words, str(folder / "killed")]) == main([*words, str(folder / "whole")]) == 0
    whole = contents(folder / "whole")
    assert contents(folder / "killed") == whole
    assert {"cycle_0005/smoothed/cycle_0002/member_0001.nc", "cycle_0005/parameters.csv"} <= whole.keys()
    tables = [folder / f"whole/cycle_{cycle:04d}/parameters.csv" for cycle in (1, CYCLES)]
    rates = np.array([np.loadtxt(path, delimiter=",", skiprows=1)[:, 1] for path in tables])
    assert np.ptp(rates, axis=0).max() > 0.01


def external_run(folder, output):
    """A run in a process of its own that is killed when the third cycle has corrected one earlier state."""
    import subprocess

    code = f"""
import os, signal, sys
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[1])!r}]
from pathlib import Path
from ensf.offline import Earlier
from test_smoothed_cycles import run
whole = Earlier.correct
def correct(self, *arguments):
    whole(self, *arguments)
    if "cycle_0003" in str(self.folder) and self.lag == 1:
        os.kill(os.getpid(), signal.SIGKILL)
Earlier.correct = correct
run(Path({str(folder)!r}), output={output!r}, cycles=4)
"""
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)


def test_a_lag_longer_than_what_is_kept_is_refused(folder):
    with pytest.raises(ValueError, match="lag of the smoother is 3 but the files of 2 cycles are kept"):
        cycling(folder, keep_cycles=2)


def test_an_analysis_of_single_files_refuses_a_smoother(folder):
    with pytest.raises(ValueError, match="method is a Smoother but there are no earlier states here"):
        Offline(read_method(METHODS[0])).analyse(
            str(folder / "m*.nc"), folder / "obs.csv", folder / "out", rng=np.random.default_rng(1)
        )
    assert not (folder / "out").exists()


def test_rows_outside_the_trajectory_are_rejected_and_all_of_them_refused(folder, capsys):
    arguments = ["analyse", "--prior", str(folder / "m*.nc"), "--observations", str(folder / "obs.csv")]
    arguments += ["--method", "ETKF()", "--output", str(folder / "out")]
    assert main(arguments) == 2
    assert "within the times of 'q', 2019-12-31T18:00:00 to 2020-01-01T00:00:00" in capsys.readouterr().err
    assert not (folder / "out").exists()


@pytest.mark.parametrize("method", [ETKF(), AnalysisInflation(ETKF(), 1.3)], ids=["plain", "inflated"])
def test_a_dataset_of_several_times_and_an_earlier_one(folder, method):
    """Earlier states take the weights alone: their spread was controlled in their own cycle."""
    forecast = xr.concat([xr.open_dataset(folder / f"m{k}.nc") for k in range(1, MEMBERS + 1)], "realization")
    earlier = forecast.copy(deep=True)
    earlier["q"] = earlier.q.isel(time=[1, 0, 3, 2]).drop_vars("time").assign_coords(time=forecast.time) * 0.5 + 1
    table = (folder / "obs.csv").read_text().replace("2020-01-01", "2019-12-31")
    (folder / "early.csv").write_text(table.replace("T0", "T2"))
    observed = read(folder / "early.csv")
    problem = Problem.of(forecast, observed, method)
    analysis = problem.analyse(1)
    prior, plain = problem.forecast, Problem.of(forecast, observed, ETKF()).analyse(1).ensemble
    weights = np.linalg.lstsq((prior - prior.mean(axis=0)).T, (plain - prior).T, rcond=None)[0]
    smoothed = problem.smooth(analysis.update, earlier).q.values.reshape(MEMBERS, -1)
    states = earlier.q.values.reshape(MEMBERS, -1)
    np.testing.assert_allclose(smoothed, states + ((states - states.mean(axis=0)).T @ weights).T, atol=1e-8)
    assert np.abs(smoothed - states).max() > 0.01
    with pytest.raises(ValueError, match="the earlier ensemble has 4 members of 48 values"):
        problem.smooth(analysis.update, earlier.isel(realization=slice(4)))


# --- a file for each time --------------------------------------------------------------------------------


def by_time(folder, words="", pattern="hist_*.nc", **changes):
    """The cycles with a file for each time."""
    return ill(folder, f"each={TIMES}", words, pattern, **{"initial": "last{member}.nc", "members": 3, **changes})


def ill(folder, number, words, pattern="", **changes):
    """Member 2 gets the words, and fails in cycle 2."""
    script = f"case $1$2 in 21) set -- {words};; 22) set -- fail;; *) set --;; esac; exec {COMMAND} {number} $*"
    command = Command(f"sh -c {shlex.quote(script)} model {{member}} {{cycle}}", by_time=pattern)
    return replace(cycling(folder, **changes), model=command)


def trajectories(place):
    """Times and states in the files of each member, one after another."""
    found = {}
    for path in sorted(place.glob("member_????_??.nc")) + sorted(place.glob("member_????.nc")):
        file = xr.load_dataset(path, decode_times=False)
        found.setdefault(path.name[:11], []).append((file.time.values, file.q.values))
    return {name: [np.concatenate(parts) for parts in zip(*files, strict=True)] for name, files in found.items()}


@pytest.mark.parametrize(
    ("method", "cycles"),
    [(METHODS[1], 2), *(pytest.param(method, 4, marks=pytest.mark.slow) for method in METHODS)],
    ids=["quick", "etkf", "letkf"],
)
def test_a_file_for_each_time_has_the_bits_of_one_with_all(folder, method, cycles):
    """In cycle 2 a member fails, and is replaced; a parameter in the files is that of the last time."""
    rng = np.random.default_rng(4)
    for number in range(1, 5):
        states, rate = rng.standard_normal((TIMES, 3, 4)), rng.standard_normal()
        write_member(folder / f"m{number}.nc", states, rate=rate)
        write_member(folder / f"last{number}.nc", states[-1:], rate=rate)
    how = {"cycles": cycles, "method": read_method(method), "members": 4, "min_members": 3, "replace_failed": True}
    how |= {"parameters": {"rate": Estimated(Parameter())}, "variables": ("q",)}
    external.run(ill(folder, f"times={TIMES}", "", **how), folder / "one", show=print)
    records = external.run(by_time(folder, **how), folder / "each", show=print)
    assert [record["replaced"] for record in records] == [[], [2], [], []][:cycles]
    places = sorted(path.parent.relative_to(folder / "one") for path in (folder / "one").glob("**/member_0001.nc"))
    assert len(places) == {2: 5, 4: 11}[cycles]  # forecasts, analyses, smoothed states
    for place in places:
        expected, made = trajectories(folder / "one" / place), trajectories(folder / "each" / place)
        assert made.keys() == expected.keys() and len(made) == 3 + (str(place) != "cycle_0002/forecast")
        for name, (times, states) in expected.items():
            assert states.shape == (TIMES, 3, 4)
            np.testing.assert_array_equal(made[name][0], times)
            np.testing.assert_array_equal(made[name][1], states)
    places = [folder / run / "cycle_0002" / part for run in ("one", "each") for part in ("forecast", "analysis")]
    rates = [[float(xr.load_dataset(path).rate) for path in sorted(place.glob("member_????.nc"))] for place in places]
    assert rates[:2] == rates[2:] and len(set(rates[0] + rates[1])) == 7
    one, each = (read(folder / run / "cycle_0002" / "observations.csv") for run in ("one", "each"))
    assert np.unique(one.time[one.used]).size > 2
    np.testing.assert_array_equal(each.extra["analysis_mean"], one.extra["analysis_mean"])


def test_the_memory_of_such_a_cycle_may_be_the_first_of_another(folder):
    """Its fields have the times of the window, which the members at the start have not."""
    method = read_method("SpreadReset(ETKF(), 0.5)")
    external.run(by_time(folder, cycles=1, method=method), folder / "former", show=print)
    memory = folder / "former" / "cycle_0001" / "analysis" / "memory.nc"
    with xr.open_dataset(memory, decode_times=False) as kept:
        assert kept["q_reset_spread"].sizes["time"] == TIMES and float(kept["q_reset_spread"].min()) == 0.5
        kept.load().assign(q_reset_spread=0.0 * kept["q_reset_spread"] + 2.0).to_netcdf(folder / "other.nc")
    external.run(by_time(folder, cycles=1, method=method, memory="other.nc"), folder / "next", show=print)
    states = np.stack([one for _, one in trajectories(folder / "next" / "cycle_0001" / "analysis").values()])
    np.testing.assert_allclose(states.std(axis=0, ddof=1), 2.0, rtol=1e-6)
    with pytest.raises(ValueError, match="has the memory of SpreadReset, but the method remembers by AdaptiveInfl"):
        wrong = read_method("AdaptiveInflation(ETKF(), Localization(Euclidean(), 2.0, ('x', 'y')))")
        external.plan(by_time(folder, cycles=1, method=wrong, memory="other.nc"), folder / "none")


def test_cycles_with_a_file_for_each_time_go_on_and_old_files_go(folder):
    external.run(by_time(folder, cycles=1, method=ETKF()), folder / "whole", show=print)
    settings = by_time(folder, f"once={folder}/flag link", cycles=1, method=ETKF())
    with pytest.raises(OSError, match="member 2 failed in cycle 1"):
        external.run(settings, folder / "half", show=print)
    for number in (1, 2, 3, 4):  # a kill has left them, before the file of the end
        (folder / "half" / "cycle_0001" / "forecast" / f"member_0002_{number:02d}.nc").write_text("half")
    external.run(settings, folder / "half", resume=True, show=print)
    names = {name for name in contents(folder / "whole") if "member" in name}
    assert len(names) == 2 * 3 * TIMES
    assert names == {name for name in contents(folder / "half") if "member" in name}
    assert all(contents(folder / "half")[name] == contents(folder / "whole")[name] for name in names)
    external.run(replace(settings, cycles=2, keep_cycles=1, min_members=2), folder / "half", resume=True, show=print)
    assert not list((folder / "half" / "cycle_0001").glob("*/member*"))


@pytest.mark.parametrize(
    ("words", "pattern", "member", "sentence"),
    [
        ("", "none_*.nc", 1, "its output is not valid: there is no file none_*.nc of an earlier time"),
        ("nan", "hist_*.nc", 2, "its output is not valid: hist_1.nc: variable 'q' has no value at 1 of 12 points"),
        ("less", "*.nc", 2, "its output is unlike the others: it has files of 3 times, not 4"),
        ("late", "hist_[0-2].nc", 2, "its time 'time' is 2020-01-01T02:00:00, not 2020-01-01T00:00:00 at time 1"),
    ],
    ids=["none", "nan", "less", "late"],
)
def test_a_member_whose_earlier_times_are_not_right_has_failed(folder, words, pattern, member, sentence):
    with pytest.raises(OSError, match=f"member {member}.* failed in cycle 1: ") as error:
        external.run(by_time(folder, words, pattern), folder / "out", show=print)
    assert sentence in str(error.value)
    left = [path.name for path in (folder / "out" / "cycle_0001" / "forecast").iterdir()]
    assert len(left) == (2 * TIMES if member == 2 else 0) and not any("member_0002" in name for name in left)


def test_patterns_are_checked_and_a_dry_run_tells(folder):
    for pattern in ("/elsewhere/*.nc", "../*.nc"):
        with pytest.raises(ValueError, match=r"leaves the member's directory: name files in it, 'hist_\*.nc'"):
            Command("model", by_time=pattern)
    with pytest.raises(ValueError, match="by_time 'hist_{hour}.nc' has the unknown word {hour}"):
        Command("model", by_time="hist_{hour}.nc")
    lines = external.plan(by_time(folder, pattern="hist_*_{member}.nc"), folder / "out")
    assert "    leaves a file for each time: hist_*_1.nc, then {output} at the end" in lines
    assert sum("rows can be used" in line for line in lines) == CYCLES
    noisy = read_method("AdditiveNoise(ETKF(), 'm*.nc', 0.1)")
    with pytest.raises(ValueError, match=r"variable 'q' has dimensions .*'time': 4.* but .*'time': 1"):
        external.plan(by_time(folder, method=noisy), folder / "out")


def test_the_noise_of_a_member_is_the_same_at_every_time(folder):
    """The samples of the catalogue are files of one time."""
    both = [read_method(text) for text in ("ETKF()", "AdditiveNoise(ETKF(), 'last*.nc', 0.5)")]
    states = []
    for name, method in zip(("plain", "noisy"), both, strict=True):
        external.run(by_time(folder, cycles=1, method=method), folder / name, show=print)
        of_members = trajectories(folder / name / "cycle_0001" / "analysis")
        states.append(np.stack([one for _, one in of_members.values()]))
    noise = states[1] - states[0]
    np.testing.assert_allclose(noise, np.broadcast_to(noise[:, :1], noise.shape), atol=1e-12)
    samples = np.stack([xr.load_dataset(folder / f"last{k}.nc").q.values[0] for k in range(1, MEMBERS + 1)])
    between = (samples - samples[:, None]) / 2  # differences of two members' noise are those of two samples
    for one in noise[1:, 0] - noise[0, 0]:
        assert np.abs(between - one).max(axis=(-2, -1)).min() < 1e-12
    assert np.abs(noise).max() > 0.1
