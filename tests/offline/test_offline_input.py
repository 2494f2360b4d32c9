"""Input that goes wrong: one sentence that names file, variable, row or member; nothing written, nothing accepted."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import netCDF4
import numpy as np
import pytest
from offline_files import (
    HEAD,
    MEMBERS,
    ROWS,
    command,
    contents,
    edit,
    member,
    put,
    rebuild,
    remove,
    rows,
    truncate,
    with_row,
    write,
)

from ensf.cli import main
from ensf.filters import ETKF, LETKF
from ensf.localization import Layered, Localization, Sphere
from ensf.offline import Offline, Source, writer
from ensf.runs.owner import OWNER
from ensf.tables import read
from ensf.tables.quality import GrossCheck
from ensf.wrappers import RTPS, FailedMembers


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return write(tmp_path_factory.mktemp("offline") / "files")


@pytest.fixture
def folder(original, tmp_path):
    return Path(shutil.copytree(original, tmp_path / "files"))


# --- mutations of a valid input: (folder) -> None -----------------------------------------------------------


HOLE = "is missing, unlike in other members,"
CASES = {
    "no forecast": (
        lambda folder: [path.unlink() for path in folder.glob("forecast_*")],
        "no file {folder}/forecast_*.nc",
    ),
    "one member": (
        lambda folder: [member(folder, k).unlink() for k in range(2, MEMBERS + 1)],
        "forecast_1.nc is one file without a dimension 'realization'",
    ),
    "no observations": (remove("obs.csv"), "no file {folder}/obs.csv"),
    "missing variable": (lambda folder: rebuild(folder, ["q"]), "forecast_3.nc has no variable 'q'"),
    "variable that the first has not": (
        lambda folder: rebuild(folder, ["q"], number=1),
        "has a variable 'q' but",
    ),
    "other shape": (lambda folder: rebuild(folder, sizes={"lat": 9}), "variable 't' has dimensions"),
    "other grid": (put("lat", 41.0), "coordinate 'lat' of variable 't' differs between"),
    "other time": (put("time", 9.0), "forecast_3.nc is of 2024-01-31T09:00:00 but"),
    "other units": (
        lambda folder: edit(member(folder), lambda file: file["t"].setncattr("units", "degC")),
        "has units degC in {folder}/forecast_3.nc but K",
    ),
    "nan": (put("q", np.nan, 17), f"forecast_3.nc: variable 'q' {HOLE} at 1 point, the first lat 1, lon 7: repair"),
    "infinity": (put("q", -np.inf, 17), "forecast_3.nc: variable 'q' is infinite at 1 point, the first lat 1, lon 7"),
    "never written": (put("q", 9.96921e36, 17), f"forecast_3.nc: variable 'q' {HOLE} at 1 point"),
    "never written first": (put("q", 9.96921e36, 17, 1), f"forecast_1.nc: variable 'q' {HOLE} at 1 point"),
    "fill value": (
        put("t", -32767, 25),
        f"forecast_3.nc: variable 't' {HOLE} at 1 point, the first time 0, level 0, lat 2, lon 5",
    ),
    "other mask": (put("sst", -1e30, 5), f"forecast_3.nc: variable 'sst' {HOLE}"),
    "first mask": (put("sst", -1e30, 5, 1), f"forecast_1.nc: variable 'sst' {HOLE}"),
    "no mask": (put("sst", 280.0, 0), "forecast_3.nc: variable 'sst' is missing in other members at 1 point"),
    "duplicate member": (
        lambda folder: shutil.copy(member(folder, 2), member(folder, 4)),
        "forecast_4.nc and {folder}/forecast_2.nc hold the same state",
    ),
    "linked member": (
        lambda folder: (member(folder, 4).unlink(), member(folder, 4).symlink_to(member(folder, 2))),
        "forecast_4.nc and {folder}/forecast_2.nc are the same file",
    ),
    "truncated": (truncate, "forecast_3.nc is not a NetCDF file, or damaged"),
    "truncated first": (lambda folder: truncate(folder, 0.9, 1), "forecast_1.nc is not a NetCDF file, or damaged"),
    "empty": (lambda folder: truncate(folder, 0.0), "forecast_3.nc is not a NetCDF file"),
    "text": (lambda folder: member(folder).write_text("hello"), "forecast_3.nc is not a NetCDF file"),
    "no column": (
        lambda folder: (folder / "obs.csv").write_text("variable,value\nq,1\n"),
        "obs.csv has no column 'error'",
    ),
    "no row of the state": (rows("wind,3,1,2024-01-31,44,5,"), "obs.csv: row 0: variable 'wind' is unknown"),
    "no z": (
        rows("t,3,1,2024-01-31,44,5,"),
        "obs.csv: variable 't' has levels but its rows have no z",
    ),
    "empty table": (lambda folder: (folder / "obs.csv").write_text(""), "obs.csv"),
    "output a file": (lambda folder: (folder / "out").write_text("mine"), "out is a file: name a folder"),
    "output there": (
        lambda folder: ((folder / "out").mkdir(), (folder / "out" / "forecast_4.nc").write_text("mine")),
        "out/forecast_4.nc exists",
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("mode", [[], ["--dry-run"]], ids=["run", "dry-run"])
def test_one_sentence_and_nothing_written(folder, capsys, case, mode):
    change, sentence = CASES[case]
    change(folder)
    before = contents(folder)
    assert main([*command(folder), *mode]) == 2
    shown = capsys.readouterr().err.strip()
    assert sentence.format(folder=folder) in shown and shown.startswith("ensf: ") and "\n" not in shown
    assert contents(folder) == before


def add(name, values, **attributes):
    """A scalar coordinate of all variables of each member, from one value or one for each."""

    def change(folder):
        for number, value in zip(range(1, MEMBERS + 1), np.broadcast_to(values, MEMBERS), strict=True):
            with netCDF4.Dataset(member(folder, number), "a") as file:
                file.createVariable(name, "f8", ())[...] = value
                file[name].setncatts(attributes)
                for variable in ("t", "q"):
                    before = getattr(file[variable], "coordinates", "")
                    file[variable].coordinates = f"{before} {name}".strip()

    return change


def nearly(folder):
    with netCDF4.Dataset(member(folder), "a") as file:
        file["lat"][:] = file["lat"][:] + 1e-9


PLAIN = {
    "lead": add("forecast_period", np.arange(MEMBERS) * 6.0, units="hours", standard_name="forecast_period"),
    "start": add(
        "start", np.arange(MEMBERS) * 6.0, units="hours since 2024-01-29", standard_name="forecast_reference_time"
    ),
    "number": add("number", np.arange(MEMBERS), standard_name="realization"),
    "iteration": add("iteration", np.arange(MEMBERS)),
    "spelling": lambda folder: edit(member(folder), lambda file: file["t"].setncattr("units", "kelvin")),
    "no units": lambda folder: edit(member(folder), lambda file: file["t"].delncattr("units")),
    "nearly": nearly,
}


@pytest.mark.parametrize("case", PLAIN)
def test_members_may_differ_in_what_has_no_place(folder, case):
    """As those of a lagged ensemble; the analysis is what it is without."""
    offline, given = Offline(ETKF(), mask=True), (str(folder / "forecast_*.nc"), folder / "obs.csv")
    offline.analyse(*given, folder / "before", rng=np.random.default_rng(1))
    PLAIN[case](folder)
    offline.analyse(*given, folder / "after", rng=np.random.default_rng(1))
    for number in (1, 3):
        fields = []
        for output in ("before", "after"):
            with netCDF4.Dataset(folder / output / member(folder, number).name) as file:
                fields.append(np.ma.filled(file["q"][:], np.nan))
        np.testing.assert_array_equal(fields[1], fields[0])


def test_members_on_other_levels_are_refused(folder):
    add("height", [2.0] * (MEMBERS - 1) + [10.0], units="m")(folder)
    sentence = (
        r"coordinate 'height' of variable '\w' differs between .*, in the former it is 10, not 2: give members of"
    )
    with pytest.raises(ValueError, match=sentence):
        Offline(ETKF(), mask=True).prepare(folder / "forecast_*.nc", folder / "obs.csv", folder / "out")


REJECTED = {
    "q,0.008,0,2024-01-31,44,5,": ("error not positive", "error is 0.0: give a positive standard deviation"),
    "q,0.008,nan,2024-01-31,44,5,": ("error missing", "error is nan: give a positive standard deviation"),
    "q,inf,1,2024-01-31,44,5,": ("value not a number of the states", "value is inf: give a finite number"),
    "q,1e300,1,2024-01-31,44,5,": ("gross check", ""),
    "q,much,1,2024-01-31,44,5,": ("an entry cannot be read", "value is 'much': give a number"),
    "q,0.008,1,soon,44,5,": ("an entry cannot be read", "time is 'soon': give ISO 8601"),
    "q,0.008,1,2024-01-31,144,5,": ("no such place", "lat is 144.0: give a number from -90 to 90 degrees"),
    "q,0.008": ("an entry cannot be read", "2 entries but the header has 7: complete the line"),
    "wind,3,1,2024-01-31,44,5,": ("variable not in the state", ""),
    "q,0.008,1,2024-01-31T06:00,44,5,": ("outside the time window", ""),
    "q,0.008,1,1931-01-31T03:00,44,5,": ("outside the time window", ""),
}


def test_a_bad_row_is_a_rejected_row(folder):
    with_row("\n".join(REJECTED))(folder)
    offline = Offline(ETKF(), mask=True, checks=(GrossCheck(10.0),))
    job = offline.prepare(folder / "forecast_*.nc", folder / "obs.csv", folder / "out")
    assert job.observed.table.reason.tolist() == ["used", "used", "used", *(reason for reason, _ in REJECTED.values())]


@pytest.mark.parametrize("line", [line for line, (_, sentence) in REJECTED.items() if sentence])
def test_what_is_wrong_with_a_row_is_said(folder, caplog, line):
    with_row(line)(folder)
    read(folder / "obs.csv")
    assert "obs.csv, line 5: " in caplog.text and REJECTED[line][1] in caplog.text


@pytest.mark.parametrize("line", ["q,0.008,0,2024-01-31,44,5,", "wind,3,1,2024-01-31,44,5,"])
def test_one_bad_row_ends_a_strict_analysis(folder, line):
    with_row(line)(folder)
    offline = Offline(ETKF(), mask=True, checks=(GrossCheck(10.0),), strict=True)
    with pytest.raises(ValueError, match=r"obs\.csv: row 3 is not used \(" + REJECTED[line][0]):
        offline.prepare(folder / "forecast_*.nc", folder / "obs.csv", folder / "out")


SETTINGS = {
    "unknown method": (["--method", "LETFK()"], "unknown name 'LETFK'"),
    "a class": (["--method", "LETKF"], "write LETKF(...)"),
    "variable": (["--variables", "q,rain"], "forecast_1.nc has no variable 'rain': choose from t, q, sst, orography"),
    "integers": (["--variables", "q,step"], "variable 'step' of"),
    "unobserved": (["--variables", "sst"], "obs.csv: row 0: variable 't' is unknown"),
    "window": (
        ["--window", "6 hours"],
        "window '6 hours' cannot be read: give a duration",
    ),
    "no window": (["--window", "2024-02-01/2024-01-01"], "is empty: give START before END"),
    "codes": (["--good", "best"], "--good 'best' is no list of codes"),
    "check": (["--quality", "ETKF()"], "which is no check"),
    "check class": (["--quality", "GrossCheck"], "write GrossCheck(...)"),
    "stage": (["--stages", "analysis,after"], "no stage 'after'"),
    "dims": (["--method", "LETKF(Localization(Sphere(), 300.0, ('y', 'x')))"], "'y'"),
    "seed": (["--seed", "-1"], "--seed is -1"),
    "option": (["--priors", "x"], "unknown option --priors"),
    "folder of the forecast": (["--output", "{folder}"], "would be overwritten"),
    "member dimension": (["--member-dim", "lat"], "forecast_1.nc has a dimension 'lat' of 12: give one file"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_that_do_not_fit(folder, capsys, case):
    words, sentence = SETTINGS[case]
    before = contents(folder)
    for mode in ([], ["--dry-run"]):
        assert main([*command(folder), *(word.format(folder=folder) for word in words), *mode]) == 2
        shown = capsys.readouterr().err.strip()
        assert sentence in shown and "\n" not in shown
    assert contents(folder) == before


def test_a_row_without_the_height_that_the_localization_uses(folder):
    """A row of a variable without levels is where the localization takes that variable to be, if it says so."""
    near = Localization(Layered(Sphere(), 1.0), 300.0, dims=("lat", "lon", "level"))
    given = folder / "forecast_*.nc", folder / "obs.csv", folder / "out"
    with pytest.raises(ValueError, match="obs.csv: row 1 has no z, but the localization uses 'level': give it"):
        Offline(LETKF(near), mask=True).prepare(*given)
    job = Offline(LETKF(replace(near, at={"level": 900.0})), mask=True).prepare(*given)
    assert job.observed.observation.position[:, 2].tolist() == [850.0, 900.0, 1000.0]


def test_failed_members_are_left_out_by_name(folder):
    for method in (FailedMembers(ETKF(), 2), FailedMembers(RTPS(ETKF(), 0.5), 2)):
        with pytest.raises(
            ValueError, match="FailedMembers, which is for arrays and Datasets: give the filter inside, and"
        ):
            Offline(method, mask=True).prepare(folder / "forecast_*.nc", folder / "obs.csv", folder / "out")


def test_domain_of_a_transform_names_variable_and_member(folder, capsys):
    put("q", -0.5, 3)(folder)
    (folder / "method.toml").write_text('[variables]\nt = ""\nq = "Log()"\n')
    assert main([*command(folder), "--config", str(folder / "method.toml")]) == 2
    assert "variable 'q' is -0.5 in " in (shown := capsys.readouterr().err) and "forecast_3.nc" in shown


def test_files_that_are_there_are_replaced_on_demand_only(folder):
    assert main(command(folder)) == 0
    first = contents(folder / "out")
    assert main(command(folder)) == 2 and contents(folder / "out") == first
    (folder / "out" / "mine.txt").write_text("mine")
    (folder / "obs.csv").write_text(f"{HEAD}\n{ROWS[0]}\n")
    assert main([*command(folder), "--overwrite"]) == 0
    second = contents(folder / "out")
    assert second.keys() - first.keys() == {folder / "out" / "mine.txt"}
    assert len(read(folder / "out" / "observations.nc")) == 1


def test_a_strict_run_names_the_row(folder, capsys):
    words = ["--strict", "--quality", "TimeWindow('2024-01-31', '2024-02-01')"]
    for row, reason in (("2023-01-31,44,5", "outside the time window"), ("2024-01-31,74,5", "out of domain")):
        (folder / "obs.csv").write_text("\n".join([HEAD, *ROWS, f"q,0.008,1,{row},"]) + "\n")
        assert main([*command(folder), *words]) == 2 and not (folder / "out").exists()
        assert f"obs.csv: row 3 is not used ({reason})" in capsys.readouterr().err


def test_a_place_that_cannot_be_written(folder, capsys):
    assert main(command(folder, output="/proc/nowhere/out")) == 2
    assert "/proc/nowhere/out" in capsys.readouterr().err


# --- the machine ------------------------------------------------------------------------------------------


def run(folder, *more, **options):
    program = [sys.executable, "-c", "import sys; from ensf.cli import main; sys.exit(main(sys.argv[1:]))"]
    return subprocess.Popen(
        [*program, *command(folder, *more)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
    )


def limited():
    """A disk that is full after 20 kB per file."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def test_a_full_disk(folder):
    before = contents(folder)
    process = run(folder, preexec_fn=limited)
    shown = process.communicate()[1]
    assert process.returncode == 2 and "out could not be written (" in shown and "Traceback" not in shown
    assert contents(folder) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may write everywhere")
def test_a_protected_folder(folder, capsys):
    folder.chmod(0o500)
    assert main(command(folder)) == 2
    assert "cannot be written" in capsys.readouterr().err
    folder.chmod(0o700)


def slow_writes(folder):
    """A program that stops while it writes the third member, after it has told so."""
    return (
        "import sys, time; from ensf.cli import main; from ensf.offline import writer\n"
        "def slow(*given):\n"
        "    old(*given); print('writing', flush=True); time.sleep(0.3)\n"
        "old, writer.overwrite = writer.overwrite, slow\n"
        "sys.exit(main(sys.argv[1:]))"
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=["TERM", "INT", "KILL"])
def test_a_signal_leaves_no_file_of_the_analysis(folder, number):
    before = contents(folder)
    process = subprocess.Popen(
        [sys.executable, "-c", slow_writes(folder), *command(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(3):
        assert process.stdout.readline() == "writing\n"
    process.send_signal(number)
    shown = process.communicate()[1]
    left = {path for path in contents(folder) if path not in before}
    if number == signal.SIGKILL:
        left.discard(folder / "out")
        assert all(any(part.startswith(".") for part in path.relative_to(folder).parts) for path in left)
        return
    assert not (folder / "out").exists()
    assert process.returncode == 128 + number and "Traceback" not in shown
    assert "interrupted; the analysis is there as a whole, or not at all" in shown
    assert not left


def test_an_interrupt_that_a_library_swallows_stops_it_too(folder, monkeypatch, capsys):
    before, overwrite = contents(folder), writer.overwrite

    def swallowing(*given):
        overwrite(*given)
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(writer, "overwrite", swallowing)
    assert main(command(folder)) == 130
    assert "interrupted" in capsys.readouterr().err
    assert contents(folder) == before


def test_an_interrupt_swallowed_after_the_last_step_is_told(folder, monkeypatch):
    def swallowing(*given):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return 0

    monkeypatch.setattr("ensf.cli.analyse._run", swallowing)
    assert main(command(folder)) == 130


def test_observations_that_wait_are_told(folder, capsys):
    """The first analysis never waits; with its memory a surprise does, and is said to."""
    near = "Localization(Sphere(), 300.0)"
    method = f"DeferredAnalysis(LETKF({near}), chi2_limit=1.0000001, min_constraint=1.0)"
    (folder / "obs.csv").write_text("\n".join([HEAD, "q,9,.1,2024-01-31,44,5,500"]) + "\n")
    said = []
    for name, memory in (("first", []), ("second", ["--memory", str(folder / "first" / "memory.nc")])):
        assert main([*command(folder, output=name), "--method", method, *memory]) == 0
        said.append("wait for the next analysis" in capsys.readouterr().err)
    assert said == [False, True]


@pytest.mark.slow
def test_killed_at_any_moment(folder):
    """All files of the analysis, or none, whenever the process is killed."""
    names = ["analysis.json", "fields.nc", "observations.nc", "statistics.nc"]
    whole, finished = {*names, *(member(folder, k).name for k in range(1, MEMBERS + 1))}, 0
    for delay in np.linspace(0.5, 6.0, 40):
        shutil.rmtree(folder / "out", ignore_errors=True)
        process = run(folder)
        time.sleep(float(delay))
        process.kill()
        process.communicate()
        files = {path.name for path in (folder / "out").glob("*")} - {OWNER}
        assert not files or files == whole
        finished += bool(files)
    assert finished


@pytest.mark.parametrize(("stages", "copies"), [("analysis", 1), ("forecast,postassim,analysis", 3)])
def test_a_disk_that_is_too_small_is_refused(folder, monkeypatch, capsys, stages, copies):
    """Room for the files, and for what parts leave for them."""
    paths = [member(folder, number) for number in range(1, MEMBERS + 1)]
    source = Source.of(paths, "realization", (), True)
    parts = MEMBERS * source.layout.size * source.dtype.itemsize
    size = copies * (sum(path.stat().st_size for path in paths) + parts)
    for free, code in ((size, 0), (size - 1, 2)):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: SimpleNamespace(free=free))
        assert main(command(folder, "--stages", stages, "--dry-run")) == code
    assert f"out needs {size / 1e6:.0f} MB but" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("correlation = 3", "correlation is 3: give text, in quotes"),
        ('quality = ["GrossCheck(3.0)"]', "quality is ['GrossCheck(3.0)']: give text, in quotes"),
        ('mehtod = "ETKF()"', "the configuration has 'mehtod', which is no option: the nearest are method"),
        ("[corelations]\nt = 3", "the configuration has 'corelations', which is no option: the nearest are correl"),
        ('quality = "GrosCheck(4.0)"', "unknown name 'GrosCheck': the nearest are GrossCheck\n"),
        ("good = {a = 1}", "good is a table with a: give a value"),
        ("bands = [nan]", "--bands [nan] are no edges of levels"),
        ('strict = "yes"', "strict is 'yes': give true or false"),
        ("variables.t.surface = 3", "variables.t.surface is 3: give true or false"),
        (
            "correlation = 'ByDistance(1.0, 3)'",
            "3 stands where a name must: give a name in quotes, or a tuple",
        ),
        ('correlation = \'ByChannel("z", ("a",), 4)\'', "ByChannel has 1 names: give 1 rows of 1 correlations"),
        ('quality = \'TimeWindow("a", "b")\'', "'a' of TimeWindow is no date: give one such as '2024-01-31T09:00'"),
        ("method = 'ETKF(**{\"a\": 1})'", "cannot be part of a method: write classes, numbers and text"),
        ('parameters = ["rate"]', "parameters is ['rate']: give a table of names and values"),
        ("parameters.rate = 3", "parameters.rate is 3: give a table, [parameters.rate], which may be empty"),
        (
            "parameters.rate.places = [[1.0], [1.0, 2.0]]",
            "parameters.rate.places is [[1.0], [1.0, 2.0]]: give lists of",
        ),
        (
            'parameters.rate.places = ["here"]',
            "parameters.rate.places is ['here']: give lists of equally many numbers",
        ),
        (
            "parameters.rate.places = [[[1.0]]]",
            "parameters.rate.places is [[[1.0]]]: give lists of equally many numbers",
        ),
    ],
)
def test_settings_of_another_kind_are_one_sentence(folder, capsys, lines, sentence):
    (folder / "c.toml").write_text(lines + "\n")
    assert main([*command(folder, output=folder / "none"), "--config", str(folder / "c.toml")]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1
    assert not (folder / "none").exists()
