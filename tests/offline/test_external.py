"""External models: members run in directories of their own, fail, are killed, and go on bit for bit."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import external_model
import netCDF4
import numpy as np
import pytest
import xarray as xr
from kills import kill

from ensf.cli import main
from ensf.filters import ETKF, LETKF, Analysis, FreeRun
from ensf.localization import Euclidean, Localization
from ensf.observations import Identity, Linear, Observation
from ensf.offline import cycle as external
from ensf.offline.cycle import Command, Cycling, folders
from ensf.offline.cycle.doubts import doubts
from ensf.offline.cycle.members import content
from ensf.offline.estimates import estimates
from ensf.offline.statistics import Bands, by_band
from ensf.runs.owner import OWNER
from ensf.runs.recipe.reader import read_method
from ensf.tables import ObservationTable, read
from ensf.wrappers import AdaptiveInflation, AdaptiveSpread

MODEL = Path(__file__).parents[1] / "external_model.py"
PROGRAM = f"{shlex.quote(sys.executable)} -S -I {shlex.quote(str(MODEL))}"
COMMAND = f"{PROGRAM} {{input}} {{output}} {{start}} {{duration}} {{seed}}"
MEMBERS, CYCLES = 4, 3
RENAMED = (
    'import os, sys, netCDF4; f = netCDF4.Dataset("other.nc", "a"); f.renameVariable("q", "p"); f.close(); '
    'os.rename("other.nc", sys.argv[1])'
)


def write_member(path, rng):
    """A classic NetCDF file: a state on 3 x 4 points, and what the analysis must not touch."""
    with netCDF4.Dataset(path, "w", format="NETCDF3_CLASSIC") as file:
        file.title = "mine"
        for name, size in (("y", 3), ("x", 4)):
            file.createDimension(name, size)
            file.createVariable(name, "f8", (name,))[:] = np.arange(size)
            file[name].axis = name.upper()
        file.createVariable("step", "i4", ("y",))[:] = np.arange(3)
        file.createVariable("q", "f8", ("y", "x"))[:] = rng.standard_normal((3, 4))
        file["q"].units = "K"


def write(folder):
    """Initial members, a table per cycle, a template."""
    rng = np.random.default_rng(3)
    (folder / "initial").mkdir()
    (folder / "template").mkdir()
    (folder / "template" / "namelist").write_text("dt = 1\n")
    for number in range(1, MEMBERS + 1):
        write_member(folder / "initial" / f"m{number:02d}.nc", rng)
    for cycle in range(1, CYCLES + 1):
        rows = [f"q,{rng.standard_normal():.3f},0.5,2020-01-01,{y},{x}" for y, x in ((0, 0), (1.5, 2.5), (2, 3))]
        (folder / f"obs_{cycle}.csv").write_text("\n".join(["variable,value,error,time,y,x", *rows]) + "\n")


@pytest.fixture
def folder(tmp_path):
    write(tmp_path)
    return tmp_path


def cycling(folder, words="", **changes):
    model = Command(**{"command": f"{COMMAND} {words}", "template": "template", **changes.pop("model", {})})
    settings = {"initial": "initial/m{member:02d}.nc", "observations": "obs_{cycle}.csv", "folder": str(folder)}
    numbers = {"members": MEMBERS, "cycles": CYCLES, "interval": 6.0, "start": "1.5"}
    return Cycling(model, **{"method": read_method("EnKF()"), **settings, **numbers, **changes})


def run(folder, words="", output="out", resume=False, analyse=None, engine="serial", **changes):
    lines = []
    settings = cycling(folder, words, **changes)
    how = {"resume": resume, "analyse": analyse, "engine": engine}
    records = external.run(settings, folder / output, show=lines.append, **how)
    return records, lines


def contents(directory):
    """All files of the cycles, and the summary."""
    names = sorted(path for path in directory.rglob("*") if path.is_file() and path.name not in ("restart.npz", OWNER))
    return {str(path.relative_to(directory)): path.read_bytes() for path in names}


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """What a run from the beginning to the end leaves, made once for each setting."""
    kept = {}

    def made(**changes):
        key = repr(changes)
        if key not in kept:
            folder = tmp_path_factory.mktemp("ended")
            write(folder)
            run(folder, **changes)
            kept[key] = contents(folder / "out")
        return kept[key]

    return made


def values(path):
    with xr.open_dataset(path) as file:
        return file.q.values


# --- what it does ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["q", ""])
def test_a_cycle_says_which_errors_are_told_far_too_small(folder, kind):
    def analyse(prior_paths, observation_paths, method, output_dir, *, rng, memory):
        for path in prior_paths:
            (output_dir / path.name).write_bytes(path.read_bytes())
        return Analysis(np.zeros((MEMBERS, 1)), None, {f"error_factor_{kind}".rstrip("_"): 9.84, "error_factor_t": 1.4})

    _, lines = run(folder, analyse=analyse, cycles=1)
    assert lines[0].endswith(f"4 members, errors{kind and ' of '}{kind} taken as 9.84 times what is told")
    assert not (folder / "out" / "statistics.nc").exists()


def test_offsets_and_biases_of_half_the_told_error_are_said():
    kinds = np.array(["ship"] * 2 + ["buoy"] * 3)
    columns = {f"{stage}_{what}": np.ones(5) for stage in ("prior", "analysis") for what in ("mean", "spread")}
    when, error = np.datetime64("2020-01-01T00:00"), np.where(kinds == "ship", 1.2, 0.2)
    rows = ObservationTable("t", np.ones(5), error, when, np.zeros((5, 2)), extra={"kind": kinds} | columns)
    info = {"table": rows, "statistics": by_band(rows, Bands(), {"t": "K"}), "inflation": np.ones(3)}
    small = {
        "instrument_offset_t_ship": 0.59,
        "bias_t_ship": -0.59,
        "instrument_offset_t_buoy": 0.09,
        "error_factor_t_ship": 1.4,
    }
    every = info["statistics"].expand_dims(cycle=[1])
    assert doubts(info | small, every) == ""
    said = doubts(info | small | {"instrument_offset_t_ship": -0.6}, every)
    assert said == ", -0.6 K taken off observations of t_ship"
    assert doubts(info | small | {"bias_t_buoy": 0.1}, every) == ", 0.1 K added to the forecast of t_buoy"
    assert estimates(info | small) == small
    said = doubts(info | small | {"references_unseen": 1}, every)
    assert said == ", no observations so far of a kind that is named as the reference: kinds are t_ship, t_buoy"
    assert doubts(info | small | {"references_unseen": 0}, every) == ""


def test_what_a_filter_learns_of_a_table_is_said_under_the_name_it_has_there():
    """Temperatures and salinities of one instrument, each with its own error and unit."""
    kinds = np.array(["ctd"] * 4 + ["argo"] * 2)
    columns = {f"{stage}_{what}": np.ones(6) for stage in ("prior", "analysis") for what in ("mean", "spread")}
    names = np.array(["t", "t", "s", "s", "t", "t"])
    error = np.where(names == "t", 1.0, 0.1)
    position = np.column_stack([np.arange(6.0), np.zeros(6)])
    when = np.datetime64("2020-01-01T00:00")
    rows = ObservationTable(names, np.ones(6), error, when, position, extra={"kind": kinds} | columns)
    near = Localization(Euclidean(), 2.0)
    seen = Observation(rows.value, Identity(), rows.error, position, kind=rows.learnt_as)
    prior = np.random.default_rng(1).standard_normal((8, 6))
    learnt = AdaptiveSpread(LETKF(near), near).analyse(prior, seen, 1, positions=position).info
    info = {"table": rows, "statistics": by_band(rows, Bands(), {"t": "K", "s": "g/kg"})}
    said = {"t_ctd": "0.6 K", "t_argo": "0.6 K", "s_ctd": "0.6 g/kg"}
    for name, words in said.items():
        assert f"error_factor_{name}" in learnt
        every = info["statistics"].expand_dims(cycle=[1])
        large, small = (info | {f"instrument_offset_{name}": offset} for offset in (0.6, 0.04))
        assert doubts(large, every) == f", {words} taken off observations of {name}"
        assert doubts(small, every) == ""


def test_the_summary_has_what_is_estimated_of_each_kind(folder):
    where = "Localization(Euclidean(), 2.0, dims=('x', 'y'))"
    method = read_method(f"AdaptiveSpread(LETKF({where}), {where})")
    records, _ = run(folder, method=method, cycles=2)
    assert all({"error_factor_q", "bias_q"} <= set(record) for record in records)
    assert json.loads((folder / "out" / "summary.json").read_text()) == records


def test_a_cycle_says_that_its_observations_wait(folder):
    def analyse(prior_paths, observation_paths, method, output_dir, *, rng, memory):
        for path in prior_paths:
            (output_dir / path.name).write_bytes(path.read_bytes())
        return Analysis(np.zeros((MEMBERS, 1)), None, {"waited": 1.0})

    _, lines = run(folder, analyse=analyse, cycles=1)
    assert lines[0].endswith(", which wait for the next cycle (DeferredAnalysis)")


def test_forecasts_and_analyses_alternate(folder):
    records, lines = run(folder)
    assert [record["cycle"] for record in records] == [1, 2, 3] and records[-1]["time"] == 19.5
    assert json.loads((folder / "out" / "summary.json").read_text()) == records
    assert lines[0] == "cycle 1 of 3: time 7.5, 4 members, 3 of 3 observations used"
    assert not list((folder / "out").rglob("runs"))
    given = values(folder / "out" / "cycle_0001" / "analysis" / "member_0002.nc").ravel()
    made = values(folder / "out" / "cycle_0002" / "forecast" / "member_0002.nc").ravel()
    seed = int(np.random.SeedSequence((1, 2, 2)).generate_state(1)[0]) % 2**31
    assert made.tolist() == external_model.advance(given.tolist(), 7.5, 6.0, seed)


@pytest.mark.parametrize(
    "engine",
    [ThreadPoolExecutor(2), pytest.param("processes:2", marks=pytest.mark.slow)],
    ids=["executor", "processes"],
)
def test_members_and_parts_by_workers_have_the_same_bits(folder, ended, engine):
    records, _ = run(folder, output="workers", engine=engine, cycles=2)
    assert [record["members"] for record in records] == [MEMBERS, MEMBERS]
    assert contents(folder / "workers") == ended(cycles=2)
    assert not [path for path in (folder / "workers").rglob(".*") if path.name != OWNER]


def test_a_member_that_fails_in_a_worker_is_named(folder):
    with ThreadPoolExecutor(2) as pool, pytest.raises(OSError, match="member 1 .*failed in cycle 1: .*exit status 3"):
        run(folder, model={"command": "sh -c 'exit 3'"}, engine=pool)


def test_the_analysis_is_the_filters_and_leaves_the_rest(folder):
    run(folder, method=ETKF(), cycles=1)
    place = folder / "out" / "cycle_0001"
    prior = np.stack([values(path).ravel() for path in sorted((place / "forecast").iterdir())])
    value = np.loadtxt(folder / "obs_1.csv", delimiter=",", skiprows=1, usecols=1)
    weights = np.zeros((3, 12))
    weights[0, 0] = weights[2, 11] = 1.0
    weights[1, [6, 7, 10, 11]] = 0.25
    observation = Observation(value, Linear(weights), 0.5)
    expected = ETKF().analyse(prior, observation, np.random.default_rng(0)).ensemble
    for number, path in enumerate(sorted((place / "analysis").iterdir())):
        np.testing.assert_allclose(values(path).ravel(), expected[number], rtol=1e-10, atol=1e-12)
        with xr.open_dataset(path) as made, xr.open_dataset(place / "forecast" / path.name) as given:
            assert made.attrs == given.attrs and made.q.attrs == given.q.attrs and made.step.identical(given.step)


def test_each_member_runs_alone_with_the_template(folder):
    run(folder, f"log={folder}/log", cycles=1, model={"jobs": 2})
    places = (folder / "log").read_text().split()
    assert len(set(places)) == MEMBERS and all("member_" in place for place in places)


def test_links_of_the_template_stay_links(folder):
    (folder / "template" / "forcing").symlink_to(folder / "obs_1.csv")
    command = Command('sh -c "test -L forcing && cp $0 $1" {input} {output}', template="template")
    task = external.Task(1, folder / "obs_1.csv", folder / "1.csv", {})
    assert command.forecast([task], folder / "runs", lambda task, path: None, folder) == {}


def test_words_of_the_command(folder):
    words = "{member:03d} {cycle} {seed} {directory} {folder}"
    model = Command(f'sh -c "cp $0 $1; echo $2 $3 $4 $5 $6 $(pwd) >> $6/words" {{input}} {{output}} {words}')
    external.run(replace(cycling(folder, seed=7), model=model), folder / "out", show=print)
    lines = [line.split() for line in (folder / "words").read_text().splitlines()]
    numbers = [(cycle, member) for cycle in range(1, CYCLES + 1) for member in range(1, MEMBERS + 1)]
    assert [(int(cycle), member) for member, cycle, *_ in lines] == [(c, f"{m:03d}") for c, m in numbers]
    seeds = [np.random.SeedSequence((7, *one)).generate_state(1)[0] % 2**31 for one in numbers]
    assert [int(line[2]) for line in lines] == seeds
    assert all(there == place and given == str(folder) for *_, there, given, place in lines)


def test_paths_may_be_relative(folder, ended, monkeypatch):
    monkeypatch.chdir(folder)
    settings = replace(cycling(folder, "log={folder}/log", cycles=1), folder=".")
    external.run(settings, Path("out"), show=print)
    assert contents(Path("out")) == ended(cycles=1) and Path("log").exists()


def test_a_program_that_reads_gets_nothing(folder):
    """Whatever ensf itself could read."""
    kept, (reads, writes) = os.dup(0), os.pipe()
    os.dup2(reads, 0)
    try:
        command = Command('sh -c "cat > $0" {output}', timeout=5.0)
        task = external.Task(1, folder / "obs_1.csv", folder / "1.csv", {})
        assert command.forecast([task], folder / "runs", lambda task, path: None) == {}
    finally:
        os.dup2(kept, 0)
        for number in (kept, reads, writes):
            os.close(number)


def test_what_is_checked_of_an_output(folder):
    with netCDF4.Dataset(folder / "made.nc", "w") as file:
        file.createDimension("x", 2)
        for name, value in (("q", 1.0), ("p", np.nan), ("time", 0.0), ("hot", np.inf)):
            file.createVariable(name, "f8", ("x",))[:] = value
        file.createVariable("never", "f8", ("x",))
        file["time"].units = "days since the beginning"
    content(folder / "made.nc", ("q", "time"))
    for name, sentence in (
        ("p", "variable 'p' has no value at 2 of 2 points"),
        ("never", "variable 'never' has no value at 2 of 2 points"),
        ("hot", "variable 'hot' is infinite at 2 of 2 points"),
        ("w", "it has no variable 'w'"),
    ):
        with pytest.raises(ValueError, match=f"^{sentence}$"):
            content(folder / "made.nc", ("q", name))
    assert content(folder / "made.nc", ("p",), mask=True) == content(folder / "made.nc", ("p",), mask=True)
    (folder / "made.nc").write_bytes((folder / "made.nc").read_bytes()[:600])
    with pytest.raises(ValueError, match="made.nc is not a NetCDF file, or damaged"):
        content(folder / "made.nc")


def test_an_output_without_numbers_of_floating_point_is_not_valid(folder):
    with netCDF4.Dataset(folder / "made.nc", "w") as file:
        file.createDimension("x", 2)
        file.createVariable("step", "i4", ("x",))[:] = 1
    with pytest.raises(ValueError, match="it has no variable of floating point"):
        content(folder / "made.nc")


def test_members_run_in_parallel_up_to_the_limit(folder):
    command = Command('sh -c "sleep 0.4; cp $0 $1" {input} {output}', jobs=4)
    tasks = [external.Task(k, folder / "obs_1.csv", folder / f"{k}.csv", {}) for k in range(8)]
    started = time.monotonic()
    assert command.forecast(tasks, folder / "runs", lambda task, path: None) == {}
    assert 0.8 <= time.monotonic() - started < 2.4
    assert (folder / "7.csv").read_bytes() == (folder / "obs_1.csv").read_bytes()


def test_dates(folder):
    words = "{start} {end} {duration:g} {start:.10}"
    model = Command(f'sh -c "cp $0 $1; echo $2 $3 $4 $5 >> {{folder}}/dates" {{input}} {{output}} {words}')
    settings = cycling(folder, start="2020-01-01T00:00", interval=3600.0)
    records = external.run(replace(settings, model=model), folder / "out", show=print)
    assert [record["time"] for record in records] == [f"2020-01-01T0{hour}:00:00" for hour in (1, 2, 3)]
    lines = (folder / "dates").read_text().splitlines()
    assert lines[0] == "2020-01-01T00:00:00 2020-01-01T01:00:00 3600 2020-01-01" and len(lines) == CYCLES * MEMBERS


KEPT = ["fields.nc", "observations.csv"]
"""What stays of a cycle whose member files are not kept."""


def test_old_cycles_are_removed(folder):
    run(folder, keep_cycles=1)
    for cycle in (1, 2):
        assert sorted(path.name for path in (folder / "out" / f"cycle_{cycle:04d}").iterdir()) == KEPT
    assert len(list((folder / "out" / "cycle_0003" / "analysis").iterdir())) == MEMBERS


def test_old_cycles_are_thinned(folder, ended):
    run(folder, keep_cycles=1, keep_every=2)
    kept = [path.parent.name for path in sorted((folder / "out").glob("cycle_*/analysis"))]
    assert kept == ["cycle_0002", "cycle_0003"]
    assert contents(folder / "out").items() <= ended().items()


def test_the_analysis_may_be_ones_own(folder):
    calls = []

    def copy(prior_paths, observation_paths, method, output_dir, *, rng, memory):
        calls.append((len(prior_paths), observation_paths[0].name, memory))
        for path in prior_paths:
            shutil.copyfile(path, output_dir / path.name)
        return Analysis(None, (memory or 0) + 1)

    run(folder, analyse=copy)
    assert calls == [(4, "obs_1.csv", None), (4, "obs_2.csv", 1), (4, "obs_3.csv", 2)]


# --- members that fail -----------------------------------------------------------------------------------


def shell(words):
    """Member 2 gets `words`, the others none: a command that is a shell script."""
    script = f'if [ "$1" = 2 ]; then set -- {words}; else set --; fi; exec {COMMAND} "$@"'
    return f"sh -c {shlex.quote(script)} model {{member}}"


def ill(folder, words, **changes):
    settings = cycling(folder, **changes)
    return replace(settings, model=replace(settings.model, command=shell(words)))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("fail", "it ended with exit status 1, and said last: this member is ill"),
        ("killed", "it ended with signal SIGKILL, and said last: running from 1.5"),
        (
            "nan",
            "its output is not valid: variable 'q' has no value at 1 of 12 points, and said last: running from 1.5",
        ),
        ("nothing", "it left no output file, and said last: running from 1.5"),
        ("hang", "it took longer than 0.5 s, and said last: running from 1.5"),
    ],
)
def test_a_failed_member_stops_the_run_with_one_sentence(folder, words, sentence):
    settings = ill(folder, words, model={"timeout": 0.5})
    with pytest.raises(OSError, match=rf"member 2 failed in cycle 1: {sentence}; see .*member_0002_\w+; repair it and"):
        external.run(settings, folder / "out", show=print)
    assert len(list((folder / "out" / "cycle_0001" / "forecast").iterdir())) == MEMBERS - 1
    (place,) = (folder / "out" / "cycle_0001" / "runs").iterdir()
    assert (place / "stdout.txt").read_text().startswith("running") and (place / "namelist").exists()
    assert ("this member is ill" in (place / "stderr.txt").read_text()) == (words == "fail")


def test_a_repaired_member_goes_on_and_others_are_not_run_again(folder, ended):
    settings = replace(cycling(folder, f"once={folder}/flag log={folder}/log"), cycles=1)
    with pytest.raises(OSError, match="member 1 failed"):
        external.run(settings, folder / "out", show=print)
    external.run(settings, folder / "out", resume=True, show=print)
    assert contents(folder / "out") == ended(cycles=1)
    assert len((folder / "log").read_text().split()) == MEMBERS


def test_an_output_without_what_is_analysed_is_a_failure(folder):
    script = f"{PROGRAM} {{input}} other.nc {{start}} {{duration}} {{seed}}; {sys.executable} -c '{RENAMED}' {{output}}"
    with pytest.raises(
        OSError, match=r"member 1 .and 3 others. failed in cycle 1: its output .*: it has no variable 'q'"
    ):
        run(folder, variables=("q",), model={"command": f"sh -c {shlex.quote(script)}"})
    with pytest.raises(ValueError, match="m01.nc has no variable 'w'"):
        run(folder, output="other", variables=("w",))


def test_what_a_program_started_ends_with_it(folder):
    (folder / "model.sh").write_text("for k in $(seq 100); do echo $k >> log; sleep 0.02; done & wait")
    command = Command("sh {folder}/model.sh", timeout=0.4)
    tasks = [external.Task(1, folder / "obs_1.csv", folder / "1.csv", {"folder": folder})]
    assert "took longer than 0.4 s" in command.forecast(tasks, folder / "runs", lambda task, path: None)[1]
    (log,) = (folder / "runs").glob("member_*/log")
    time.sleep(0.1)
    size = log.stat().st_size
    time.sleep(0.3)
    assert log.stat().st_size == size > 0


def test_an_interrupt_ends_what_runs_and_starts_no_more(folder):
    script = 'if [ "$0" = 1 ]; then cp "$1" "$2"; else exec sleep 30; fi'
    command = Command(f"sh -c {shlex.quote(script)} {{member}} {{input}} {{output}}", retries=1, jobs=2)
    tasks = [external.Task(k, folder / "obs_1.csv", folder / f"{k}.csv", {}) for k in range(1, 40)]

    def interrupt(task, path):
        raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        command.forecast(tasks, folder / "runs", interrupt)
    assert time.monotonic() - started < 15
    assert not list((folder / "runs").glob("member_0039_*"))


def test_directories_of_failed_members_are_those_of_the_last_attempt(folder):
    for resume in (False, True):
        with pytest.raises(OSError, match="member 2 failed"):
            external.run(ill(folder, "fail"), folder / "out", resume=resume, show=print)
    assert len(list((folder / "out" / "cycle_0001" / "runs").iterdir())) == 1


def test_a_member_is_tried_again(folder):
    records, lines = run(folder, f"once={folder}/flag", model={"retries": 1}, cycles=1)
    assert records[0]["failed"] == [] and len(lines) == 1


def test_the_rest_goes_on_and_says_so(folder):
    lines = []
    records = external.run(ill(folder, "fail", min_members=3, cycles=2), folder / "out", show=lines.append)
    assert [record["members"] for record in records] == [3, 3]
    assert [record["failed"] for record in records] == [[2], []]
    assert lines[0].startswith(
        "cycle 1 of 2: goes on without member 2: it ended with exit status 1, and said last: this member is ill; see "
    )
    assert "ill" in Path(lines[0].split("; see ")[1], "stderr.txt").read_text()
    names = [path.name for path in sorted((folder / "out" / "cycle_0002" / "analysis").iterdir())]
    assert names == ["member_0001.nc", "member_0003.nc", "member_0004.nc"]
    with pytest.raises(OSError, match="3 members are left but min_members is 4"):
        external.run(ill(folder, "fail", min_members=4), folder / "other", show=print)


@pytest.mark.parametrize("replace_failed", [False, True])
def test_a_member_that_is_far_off_is_as_one_that_failed(folder, replace_failed):
    lines, how = [], {"min_members": 3, "replace_failed": replace_failed, "cycles": 2}
    records = external.run(ill(folder, "far", **how), folder / "out", show=lines.append)
    assert records[0]["failed"] == [2] and len(lines) == 3 + replace_failed
    went_on = "replaces" if replace_failed else "goes on without"
    forecast, row = folder / "out" / "cycle_0001" / "forecast" / "member_0002.nc", "obs_1.csv: row 0"
    assert lines[0] == (
        f"cycle 1 of 2: {went_on} member 2: {forecast} predicts {row} as 1e+20, which float64 rounds by 1.1e+04, more "
        "than its error 0.5: repair or drop that member, give a larger error"
    )
    external.run(ill(folder, "fail", **how), folder / "failed", show=print)
    for path in sorted((folder / "failed" / "cycle_0001" / "analysis").iterdir()):
        np.testing.assert_array_equal(values(folder / "out" / "cycle_0001" / "analysis" / path.name), values(path))


@pytest.mark.parametrize("replace_failed", [False, True])
def test_a_filter_that_remembers_members_goes_on_with_those_that_are_left(folder, replace_failed):
    script = f'if [ "$1$2" = 22 ]; then set -- fail; else set --; fi; exec {COMMAND} "$@"'  # member 2 in cycle 2
    method = read_method("EnFF(strength=0.01)")
    settings = cycling(folder, min_members=3, replace_failed=replace_failed, method=method)
    command = f"sh -c {shlex.quote(script)} model {{member}} {{cycle}}"
    settings = replace(settings, model=replace(settings.model, command=command))
    records = external.run(settings, folder / "out", show=print)
    assert [record["failed"] for record in records] == [[], [2], []]
    assert [record["members"] for record in records] == [4, 3, 4 if replace_failed else 3]


def test_a_member_that_is_far_off_stops_a_run_that_is_not_to_go_on(folder):
    with pytest.raises(OSError, match=r"member 2 failed in cycle 1: .*member_0002.nc predicts .*; repair it and"):
        external.run(ill(folder, "far"), folder / "out", show=print)
    table = (folder / "obs_1.csv").read_text().replace("0.5,2020-01-01,2", "1e-30,2020-01-01,2")
    (folder / "obs_1.csv").write_text(table)
    with pytest.raises(ValueError, match=r"^\S*obs_1.csv: row 2 is predicted as .* error 1e-30, by most members:"):
        external.run(cycling(folder, min_members=2), folder / "other", show=print)


# --- stopped and killed ----------------------------------------------------------------------------------


def test_a_stopped_run_goes_on(folder):
    method = AdaptiveInflation(read_method("EnKF()"), euclidean())
    whole, _ = run(folder, output="whole", method=method, cycles=2)
    run(folder, cycles=1, method=method)
    records, _ = run(folder, resume=True, method=method, cycles=2)
    assert records == whole
    assert contents(folder / "out") == contents(folder / "whole")


def test_a_run_goes_on_without_the_initial_files(folder):
    run(folder, cycles=1)
    shutil.rmtree(folder / "initial")
    assert len(run(folder, resume=True)[0]) == CYCLES


def test_limits_and_the_way_of_working_may_change(folder, ended):
    run(folder, cycles=1)
    settings = cycling(folder, min_members=2, keep_cycles=3, model={"timeout": 60.0, "retries": 1, "jobs": 2})
    external.run(replace(settings, folder=f"{folder}/."), folder / "out", resume=True, show=print)
    assert contents(folder / "out") == ended()


def test_a_run_is_not_cut_to_fewer_cycles_than_are_finished(folder):
    run(folder, cycles=2)
    with pytest.raises(ValueError, match="restart.npz has 2 finished cycles but cycles is 1: give 2 or more"):
        run(folder, cycles=1, resume=True)


def test_streams_of_the_filter_differ_by_seed(folder):
    first, other, again = (external.Checkpoint.begin(cycling(folder, seed=seed)).rng.random() for seed in (1, 2, 1))
    assert first == again != other


def test_cycles_without_a_restart_are_not_replaced(folder):
    run(folder, cycles=1)
    (folder / "out" / "restart.npz").unlink()
    before = contents(folder / "out")
    for resume in (False, True):
        with pytest.raises(FileExistsError, match="out already holds cycles, but no restart: choose another output"):
            run(folder, resume=resume)
    assert contents(folder / "out") == before


def test_what_a_kill_left_of_an_analysis_goes(folder, ended):
    run(folder, cycles=1)
    place = folder / "out" / "cycle_0002"
    hidden = f".analysis-{32 * '0'}"
    for half in (place / hidden, place / "analysis", place / "analysis" / hidden):
        half.mkdir(parents=True)
        (half / "member_9999.nc").write_bytes(b"half")
    for table in ("observations.csv", f".observations-{32 * '7'}.csv"):
        (place / table).write_text("variable,val")
    run(folder, resume=True)
    assert contents(folder / "out") == ended()


def euclidean():
    return Localization(Euclidean(), 3.0, dims=("x", "y"))


def test_another_recipe_is_refused_and_nothing_is_touched(folder):
    run(folder, cycles=1)
    before = contents(folder / "out")
    with pytest.raises(ValueError, match="made by another recipe: cycling.method is EnKF there but ETKF now"):
        run(folder, resume=True, method=ETKF())
    with pytest.raises(FileExistsError, match="already holds a run: .* --overwrite .* --resume to go on"):
        run(folder)
    assert contents(folder / "out") == before


CONFIG = """
command = '''{command}'''
template = "template"
members = 4
cycles = 3
interval = 6.0
initial = "initial/m{{member:02d}}.nc"
observations = "obs_{{cycle}}.csv"
method = "AnalysisInflation(EnKF(), 1.1)"
jobs = 2
"""


def killed(folder, kills, seconds):
    """Kill `ensf cycle` so many times at random, then let it end; the exit statuses of the killed ones."""
    (folder / "c.toml").write_text(CONFIG.format(command=COMMAND + " sleep=0.05"))
    request = ["cycle", str(folder / "c.toml"), "--output", "killed", "--resume"]
    statuses = kill(kills, seconds, request)
    assert main(request) == 0
    assert main(["cycle", str(folder / "c.toml"), "--output", "whole"]) == 0
    assert contents(folder / "killed") == contents(folder / "whole")
    return statuses


def configured(folder, extra):
    (folder / "c.toml").write_text(CONFIG.format(command=COMMAND) + extra)
    return main(["cycle", str(folder / "c.toml"), "--output", "out"])


def test_observations_are_checked_and_every_row_keeps_its_reason(folder, capsys):
    path = folder / "obs_2.csv"
    path.write_text(path.read_text() + "q,99.0,0.5,2020-01-01,1,1\nq,0.0,0.5,2020-01-01,50,1\n")
    assert configured(folder, 'quality = "GrossCheck(10.0)"\n') == 0
    assert "cycle 2 of 3: time 12.0, 4 members, 3 of 5 observations used" in capsys.readouterr().err
    kept = read(folder / "out" / "cycle_0002" / "observations.csv")
    assert kept.used.tolist() == [True] * 3 + [False] * 2
    assert [kept.reasons[code] for code in kept.qc[3:].tolist()] == ["gross check", "out of domain"]


def test_a_dry_run_says_which_units_are_converted(folder, capsys):
    path = folder / "obs_1.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text(
        "\n".join([f"{header},units", *(f"{row},{'mK' if k else 'K'}" for k, row in enumerate(rows))]) + "\n"
    )
    (folder / "c.toml").write_text(CONFIG.format(command=COMMAND))
    assert main(["cycle", str(folder / "c.toml"), "--output", "out", "--dry-run"]) == 0
    others = f"{len(rows) - 1} {'row' if len(rows) == 2 else 'rows'}"
    assert f"        q: {others} from mK to K\n" in capsys.readouterr().out


def test_times_are_added_as_they_are_written():
    cycling = Cycling(Command("cp {input} {output}"), ETKF(), "m{member}", "o{cycle}", 2, 4, 0.2, "0.1")
    assert [cycling.time(cycle) for cycle in (0, 1, 3)] == [0.1, 0.3, 0.7]


def test_a_cycle_says_which_innovations_nothing_explains(folder, capsys):
    for cycle, value, number in ((1, 0.0, 12), (2, 30.0, 12), (3, 90.0, 9)):
        rows = [f"q,{value},1.0,2020-01-01,{k // 4},{k % 4}" for k in range(number)]
        (folder / f"obs_{cycle}.csv").write_text("\n".join(["variable,value,error,time,y,x", *rows]) + "\n")
    assert configured(folder, "") == 0
    one, two, three = [line for line in capsys.readouterr().err.splitlines() if "observations used" in line]
    assert re.search(
        r"12 of 12 observations used, innovations of q \d+(\.\d)? times what spread and error explain", two
    )
    assert "innovations" not in one
    assert "innovations of q in the last 2 cycles" in three


def test_few_innovations_are_judged_with_those_of_the_cycles_before(folder):
    """Three in a cycle: silent for three cycles, then the last twelve; a run that was stopped says the same."""
    for cycle in range(1, 6):
        rows = [f"q,30.0,1.0,2020-01-01,{k},{k}" for k in range(3)]
        (folder / f"obs_{cycle}.csv").write_text("\n".join(["variable,value,error,time,y,x", *rows]) + "\n")
    how = {"method": FreeRun(), "cycles": 5}
    _, whole = run(folder, output="whole", **how)
    _, parts = run(folder, **how | {"cycles": 4})
    _, more = run(folder, resume=True, **how)
    assert [*parts, *more][3:] == [line.replace("of 5", "of 4", 1) if "cycle 4" in line else line for line in whole][3:]
    assert "innovations" not in "".join(whole[:3])
    said = [float(re.search("innovations of q in the last 4 cycles (.*) times", line)[1]) for line in whole[3:]]
    with xr.open_dataset(folder / "out" / "statistics.nc") as statistics:
        chi2 = statistics["q_chi2"].sel(role="used").squeeze("band").values
    assert said == pytest.approx([np.sqrt(chi2[:4].mean()), np.sqrt(chi2[1:].mean())], rel=6e-3)


def test_variables_keep_their_bounds(folder):
    assert configured(folder, '[variables]\nq = "Bounds(low=-0.1)"\n') == 0
    for cycle in (1, 2, 3):
        for path in (folder / "out" / f"cycle_{cycle:04d}" / "analysis").iterdir():
            assert values(path).min() >= -0.1


def test_the_grid_is_what_the_configuration_says(folder, capsys):
    """Its x is called u, and 3.5 is between the last column and the first."""
    for path in (folder / "initial").iterdir():
        with netCDF4.Dataset(path, "a") as file:
            file["x"].delncattr("axis")
            file.renameVariable("x", "u")
            file.renameDimension("x", "u")
    path = folder / "obs_1.csv"
    path.write_text(path.read_text() + "q,0.0,0.5,2020-01-01,1,3.5\n")
    assert configured(folder, 'coordinates.x = "u"\nperiods.x = 4.0\n') == 0
    assert "cycle 1 of 3: time 6.0, 4 members, 4 of 4 observations used" in capsys.readouterr().err


@pytest.mark.parametrize("extra", ['variables = "q"', 'variables = ["q"]', "[variables]\nq = true", "periods.x = 4"])
def test_ways_to_write_the_same_analysis(folder, ended, extra):
    assert configured(folder, f"{extra}\n") == 0
    assert contents(folder / "out") == ended(method=read_method("AnalysisInflation(EnKF(), 1.1)"), start="0")


@pytest.mark.parametrize("quality", ["ETKF()", "EnKF()"])
def test_a_check_that_is_none_is_refused(folder, capsys, quality):
    assert configured(folder, f'quality = "{quality}"\n') == 2
    assert re.search(rf"--quality has .*{re.escape(quality)}\S*, which is no check", capsys.readouterr().err)


def test_a_strict_run_stops_at_a_row_that_cannot_be_used(folder, capsys):
    path = folder / "obs_2.csv"
    path.write_text(path.read_text() + "q,0.0,0.5,2020-01-01,50,1\n")
    assert configured(folder, "strict = true\n") == 2
    assert "obs_2.csv" in (shown := capsys.readouterr().err) and "Traceback" not in shown
    assert not (folder / "out").exists()


def test_a_run_killed_at_random_moments_goes_on(folder, capsys):
    statuses = killed(folder, kills=3, seconds=0.5)
    assert statuses.count(signal.SIGKILL) >= 2
    assert capsys.readouterr().out.splitlines()[-1].startswith("3 cycles, 4 of 4 members; files in ")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_a_run_killed_many_times_goes_on(folder, seed):
    killed(folder, kills=4 + seed, seconds=0.4)


def test_control_c_finishes_the_cycle(folder):
    (folder / "c.toml").write_text(CONFIG.format(command=COMMAND + " sleep=0.3"))
    command = [sys.executable, "-c", "from ensf.cli import main; raise SystemExit(main())"]
    process = subprocess.Popen([*command, "cycle", str(folder / "c.toml")], stderr=subprocess.PIPE, text=True)
    while not list(folder.glob("cycles/cycle_0001/runs/member_*")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in errors and "Traceback" not in errors
    assert [record["cycle"] for record in json.loads((folder / "cycles" / "summary.json").read_text())] == [1]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_second_signal_leaves_no_member_running(folder, number):
    (folder / "c.toml").write_text(CONFIG.format(command=COMMAND + " hang"))
    command = [sys.executable, "-c", "from ensf.cli import main; raise SystemExit(main())"]
    process = subprocess.Popen([*command, "cycle", str(folder / "c.toml")], stderr=subprocess.PIPE, text=True)
    while len(list(folder.glob("cycles/cycle_0001/runs/member_*/input.nc"))) < 2:
        time.sleep(0.01)
    for _ in range(2):
        time.sleep(0.2)
        process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number and "interrupted" in errors and "Traceback" not in errors
    assert subprocess.run(["pgrep", "-f", str(folder)], capture_output=True).stdout == b""


# --- several tables, and a memory to start with ----------------------------------------------------------


def test_several_tables_are_one(folder):
    """Names and a pattern in a list: the bits of one table with all rows."""
    (folder / "c.toml").write_text(CONFIG.format(command=COMMAND))
    assert main(["cycle", str(folder / "c.toml"), "--output", "whole"]) == 0
    for cycle in range(1, CYCLES + 1):
        head, *rows = (folder / f"obs_{cycle}.csv").read_text().splitlines()
        (folder / f"obs_{cycle}.csv").unlink()
        for name, part in (("ships", rows[:1]), ("argo_1", rows[1:2]), ("argo_2", rows[2:])):
            (folder / f"{name}_{cycle}.csv").write_text("\n".join([head, *part]) + "\n")
    several = '["ships_{cycle}.csv", "argo_*_{cycle}.csv"]'
    config = (folder / "c.toml").read_text().replace('"obs_{cycle}.csv"', several)
    (folder / "c.toml").write_text(config)
    assert main(["cycle", str(folder / "c.toml"), "--output", "parts"]) == 0
    for cycle in range(1, CYCLES + 1):
        places = [folder / part / f"cycle_{cycle:04d}" for part in ("whole", "parts")]
        for member in range(1, MEMBERS + 1):
            whole, parts = (place / "analysis" / f"member_{member:04d}.nc" for place in places)
            assert whole.read_bytes() == parts.read_bytes()
        assert read(places[1] / "observations.csv").used.tolist() == [True] * 3


@pytest.mark.parametrize(
    ("observations", "words"),
    [
        (("obs_{cycle}.csv", "none_{cycle}.csv"), "there is no file .*none_1.csv: .* observations of cycle 1"),
        (("obs_{cycle}.csv", "obs_{cycle:d}.csv"), "obs_1.csv and .*obs_1.csv are the same file: name it once"),
        (("obs_{cycle}.csv", "obs_2.csv"), "observations 'obs_2.csv' are one table for all cycles"),
        ((), "observations is empty: name a table"),
    ],
)
def test_several_tables_that_are_refused(folder, observations, words):
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        run(folder, observations=observations)
    assert not (folder / "out").exists()


def test_a_run_that_starts_with_a_memory_is_the_second_cycle_of_one(folder):
    where = "Localization(Euclidean(), 2.0, dims=('x', 'y'))"
    method = read_method(f"AdaptiveInflation(LETKF({where}), {where})")
    same = {"method": method, "model": {"command": "cp {input} {output}"}}
    run(folder, cycles=2, **same)
    before = folder / "out" / "cycle_0001" / "analysis"
    later = {"initial": f"{before}/member_{{member:04d}}.nc", "observations": "obs_2.csv", "cycles": 1, **same}
    run(folder, output="later", memory=str(before / "memory.nc"), **later)
    run(folder, output="new", **later)
    names = [f"member_{member:04d}.nc" for member in range(1, MEMBERS + 1)] + ["memory.nc"]
    second, first, without = (
        [(folder / place / "analysis" / name).read_bytes() for name in names]
        for place in ("out/cycle_0002", "later/cycle_0001", "new/cycle_0001")
    )
    assert first == second and first[0] != without[0]
    with pytest.raises(FileNotFoundError, match="there is no file .*none.nc"):
        run(folder, output="no", memory="none.nc", **later)
    with pytest.raises(ValueError, match="this method remembers nothing"):
        run(folder, output="no", memory=str(before / "memory.nc"), **{**later, "method": ETKF()})
    assert not (folder / "no").exists()


# --- refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('command = "model {member.x}"', ["command", "cannot be read"]),
        ('command = "model {member[0]}"', ["command", "cannot be read"]),
        ('initial = "initial/m{member.x}.nc"', ["path 'initial/m{member.x}.nc' cannot be read"]),
        ('observations = "obs_{cycle.x}.csv"', ["path 'obs_{cycle.x}.csv' cannot be read"]),
        ('observations = "obs_{cycle:~}.csv"', ["path 'obs_{cycle:~}.csv' cannot be read"]),
        ('interval = 1e300\nstart = "2020-01-01"', ["1e+300 s", "give interval in seconds"]),
        ('command = "model {inptu}"', ["unknown word {inptu}", "input"]),
        ('command = "model {input"', ["command", "cannot be read"]),
        ('method = "ETFK()"', ["unknown name 'ETFK'", "ETKF"]),
        ('method = "ETKF(3"', ["is no recipe", "AnalysisInflation(ETKF(), 1.05)"]),
        ('method = "__import__(1)"', ["unknown name '__import__'"]),
        ('method = "ETKF(colour=3)"', ["method", "colour"]),
        ('initial = "initial/m01.nc"', ["initial", "{member}"]),
        ('initial = "initial/x{member}.nc"', ["there is no file", "x1.nc for member 1"]),
        ('template = "nowhere"', ["there is no folder", "nowhere"]),
        ("members = 1", ["members 1"]),
        ("members = 9", ["m05.nc for member 5"]),
        ("min_members = 9", ["min_members is 9"]),
        ("min_members = 1", ["min_members is 1"]),
        ("keep_cycles = -1", ["keep_cycles -1"]),
        ("seed = -1", ["seed -1"]),
        ("cycles = -1", ["cycles -1"]),
        ("interval = -6.0", ["interval -6"]),
        ("timeout = -1.0", ["timeout -1"]),
        ("retries = -1", ["retries -1"]),
        ("jobs = 0", ["jobs 0"]),
        ('start = "yesterday"', ["start 'yesterday' is no time"]),
        ('command = ""', ["the configuration has no command"]),
        ("membres = 3", ["the configuration has 'membres'", "members"]),
        ('window = "6h"', ["window is 6h: give a list, in square brackets"]),
    ],
)
def test_bad_configurations_get_one_sentence_and_no_files(folder, capsys, lines, words):
    key = lines.split(" = ")[0]
    config = CONFIG.format(command=COMMAND).splitlines()
    (folder / "c.toml").write_text("\n".join([line for line in config if not line.startswith(f"{key} =")] + [lines]))
    before = contents(folder)
    assert main(["cycle", str(folder / "c.toml")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("ensf: ") and error.count("\n") == 1 and all(word in error for word in words), error
    assert contents(folder) == before


def test_a_program_that_is_not_there_is_named(folder):
    (folder / "template" / "text").write_text("exit 0")
    for model, sentence in (
        (Command("./nothing {input} {output}"), "there is no program ./nothing that can be run: check command"),
        (
            Command("./nothing {input} {output}", template="template"),
            "there is no program ./nothing in .*template: check command",
        ),
        (Command("nothing-at-all {input}"), "there is no program nothing-at-all that can be run: check command"),
        (
            Command("./text {input} {output}", template="template"),
            "template/text cannot be executed: .* or write sh ./text",
        ),
    ):
        with pytest.raises(OSError, match=sentence):
            external.run(replace(cycling(folder), model=model), folder / "out", show=print)
        assert not (folder / "out").exists()


def test_missing_observations_are_named_and_the_forecasts_kept(folder):
    def stamps():
        return {path.name: path.stat().st_mtime_ns for path in (folder / "out/cycle_0002/forecast").iterdir()}

    (folder / "obs_2.csv").rename(folder / "later")
    with pytest.raises(
        FileNotFoundError,
        match=r"there is no file .*obs_2.csv: check the name or pattern of the observations of cycle 2",
    ):
        run(folder)
    before = stamps()
    (folder / "later").rename(folder / "obs_2.csv")
    run(folder, resume=True)
    assert stamps() == before


@pytest.mark.parametrize(
    ("start", "time"),
    [("2", 8.0), ("2.5", 8.5), ('"2"', 8.0), ("2020-01-01T00:00:00", "2020-01-01T00:00:06"), ('"2020-01-01"', None)],
)
def test_the_start_may_be_a_number_or_a_date(folder, start, time):
    command = COMMAND.replace("{start}", "0")
    (folder / "c.toml").write_text(CONFIG.format(command=command) + f"start = {start}\n")
    assert main(["cycle", str(folder / "c.toml"), "--cycles", "1"]) == 0
    records = json.loads((folder / "cycles" / "summary.json").read_text())
    assert records[0]["time"] == (time or "2020-01-01T00:00:06")


def test_overwriting_starts_again_and_a_mistake_keeps_the_run(folder, capsys):
    (folder / "c.toml").write_text(CONFIG.format(command=COMMAND))
    request = ["cycle", str(folder / "c.toml"), "--cycles", "1"]
    assert main(request) == 0
    before = contents(folder / "cycles")
    assert main([*request, "--overwrite", "--template", "nowhere"]) == 2
    assert main([*request, "--overwrite", "--resume"]) == 2
    assert contents(folder / "cycles") == before
    assert main([*request, "--overwrite", "--seed", "2"]) == 0
    assert contents(folder / "cycles") != before


def test_a_run_that_is_replaced_in_part_is_replaced_as_a_whole(folder, monkeypatch):
    run(folder, cycles=1)

    def fail(path):
        raise OSError(f"{path} cannot be removed")

    with monkeypatch.context() as patched:
        patched.setattr(folders, "_remove", lambda place, names: fail(place))
        with pytest.raises(OSError, match="analysis cannot be removed"):
            external.run(cycling(folder, seed=2, cycles=2), folder / "out", overwrite=True, show=print)
    run(folder, resume=True, seed=2, cycles=2)
    run(folder, output="new", seed=2, cycles=2)
    assert contents(folder / "out") == contents(folder / "new")


def test_only_what_a_run_wrote_is_removed(folder):
    """By exact name, also where the output is the folder of everything else."""
    mine = ["cycle_observations/a.csv", "cycle_0001/notes.txt", "cycle_0001/analysis/map.png", "cycle_12/x"]
    for name in [*mine, "cycle_0007"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    before, place = contents(folder), folder.stat()
    for keep in (0, 1):
        external.run(cycling(folder, keep_cycles=keep, cycles=2), folder, overwrite=True, show=print)
        now = contents(folder)
        assert {name: now.get(name) for name in before} == before
    assert (folder / "cycle_0001" / "analysis" / "map.png").exists()
    kept = sorted(["analysis", "map.png", "notes.txt", *KEPT])
    assert sorted(path.name for path in (folder / "cycle_0001").rglob("*")) == kept
    assert (folder.stat().st_ino, folder.stat().st_mode) == (place.st_ino, place.st_mode)


def test_a_summary_of_something_else_is_not_replaced(folder):
    (folder / "out").mkdir()
    for text in ('[{"method": "enkf", "seed": 1}]', "no summary"):
        (folder / "out" / "summary.json").write_text(text)
        for how in ({}, {"overwrite": True}, {"resume": True}):
            with pytest.raises(FileExistsError, match=r"summary\.json is no summary of cycles"):
                external.run(cycling(folder), folder / "out", show=print, **how)
        assert (folder / "out" / "summary.json").read_text() == text


def test_two_processes_do_not_write_one_run(folder):
    run(folder, cycles=1)
    before = contents(folder / "out")
    code = (
        "import sys, time; from pathlib import Path; from ensf.runs.owner import owned\n"
        "with owned(Path(sys.argv[1])):\n    print('mine', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(folder / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        for how in ({"resume": True}, {"overwrite": True}, {}):
            with pytest.raises(BlockingIOError, match=rf"out is in use by process {process.pid} on "):
                external.run(cycling(folder), folder / "out", show=print, **how)
        process.kill()
    assert contents(folder / "out") == before
    run(folder, resume=True)


def test_the_last_line_counts_the_members_that_are_left(folder, capsys):
    script = f'[ "$0" = 2.2 ] || exec {COMMAND}'
    (folder / "c.toml").write_text(CONFIG.format(command=COMMAND))
    settings = ["--command", f"sh -c {shlex.quote(script)} {{member}}.{{cycle}}", "--min_members", "3"]
    assert main(["cycle", str(folder / "c.toml"), *settings]) == 0
    assert capsys.readouterr().out.endswith(f"3 cycles, 3 of 4 members; files in {folder / 'cycles'}\n")


@pytest.mark.parametrize("arguments", [[], ["--jobs", "2"], ["nowhere.toml"]])
def test_a_configuration_must_be_named(capsys, arguments):
    assert main(["cycle", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1
