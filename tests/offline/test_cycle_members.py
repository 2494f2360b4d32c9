"""What a model leaves is its own: members that fail in every way, land, times, windows, dry runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr

from ensf.cli import main
from ensf.filters import ETKF
from ensf.offline import cycle as external
from ensf.offline.cycle import Command, Cycling
from ensf.offline.cycle.members import changed, check_time, content, unlike
from ensf.offline.cycle.members import contents as held
from ensf.offline.cycle.settings import Date
from ensf.runs.recipe.reader import read_method
from ensf.tables import read

COPY = "cp {input} {output}"
MEMBERS = 4
HEAD = "variable,value,error,time,y,x\n"


def write(path, seed, time=0.0, land=(), columns=4, way=""):
    """A field on 3 x 4 points at one time, some of them land; as a member leaves it that fails in some way."""
    rng = np.random.default_rng(seed)
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("time", None)
        file.createVariable("time", "f8", ("time",))[:] = [time - 6.0 * (way == "time")]
        file["time"].units, file["time"].standard_name = "hours since 2020-01-01", "time"
        for name, size in (("y", 3), ("x", columns)):
            file.createDimension(name, size)
            file.createVariable(name, "f8", (name,))[:] = np.arange(size)
            file[name].axis = name.upper()
        values = np.ma.masked_array(rng.standard_normal((1, 3, columns)), mask=False)
        for point in (*land, *([6] if way == "hole" else [])):
            values[0, point // 4, point % 4] = np.ma.masked
        if way == "infinite":
            values[0, 1, 2] = np.inf
        if way == "coordinate":
            file["x"][0] = 0.5
        name = "p" if way == "name" else "q"
        file.createVariable(name, "f8", ("time", "y", "x"), fill_value=-1e30)[:] = values
        file[name].units = "degC" if way == "units" else "K"
    if way == "damaged":
        path.write_bytes(path.read_bytes()[:600])


# As the command of a model: what it leaves lies in `made`; member 3 does worse, once for each word.
MODEL = """
given=$1; made=$2; member=$3; cycle=$4; folder=$5; shift 5
if [ $member = 3 ]; then
    printf x >> $folder/tries; tries=$(wc -c < $folder/tries)
    while [ $tries -gt 1 ] && [ $# -gt 0 ]; do shift; tries=$((tries - 1)); done
    word=${1:-well}
    echo step 1 >&2; echo "forrtl: $word" >&2
    case $word in
        exit) exit 3;;
        nothing) exit 0;;
        hang) sleep 60;;
        well) ;;
        *) exec cp $folder/made/$word.nc $made;;
    esac
fi
cp $folder/made/${cycle}_$member.nc $made
"""
LAND = (0, 1, 4)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("members")
    (folder / "initial").mkdir()
    (folder / "made").mkdir()
    (folder / "model.sh").write_text(MODEL)
    for member in range(1, MEMBERS + 1):
        write(folder / "initial" / f"m{member}.nc", member)
        for cycle in (1, 2, 3):
            write(folder / "made" / f"{cycle}_{member}.nc", 10 * cycle + member, 6.0 * cycle)
    for way in ("hole", "infinite", "time", "units", "coordinate", "name", "damaged"):
        write(folder / "made" / f"{way}.nc", 9, time=6.0, way=way)
    write(folder / "made" / "grid.nc", 9, time=6.0, columns=5)
    for cycle in (1, 2, 3):
        row = f"q,0.3,0.5,2020-01-01T{6 * cycle:02d}:00,1,2\n"
        (folder / f"obs_{cycle}.csv").write_text(HEAD + row)
    return folder


@pytest.fixture
def folder(original, tmp_path):
    return Path(shutil.copytree(original, tmp_path, dirs_exist_ok=True))


@pytest.fixture(scope="module")
def ended(original, tmp_path_factory):
    """What a cycle leaves in which no member fails."""
    folder = Path(shutil.copytree(original, tmp_path_factory.mktemp("ended"), dirs_exist_ok=True))
    run(folder, model(), cycles=1)
    return contents(folder / "out")


def model(*words):
    return f"sh {{folder}}/model.sh {{input}} {{output}} {{member}} {{cycle}} {{folder}} {' '.join(words)}"


def made_with_land(folder):
    for path in [*(folder / "initial").iterdir(), *(folder / "made").iterdir()]:
        cycle = 0 if path.parent.name == "initial" else int(path.name[0]) if path.name[0].isdigit() else 1
        write(path, sum(path.name.encode()), 6.0 * cycle, land=LAND, way="hole" if path.stem == "hole" else "")


def cycling(folder, command=COPY, **changes):
    names = ("template", "timeout", "retries", "jobs")
    work = {"retries": 0, **{name: changes.pop(name) for name in names if name in changes}}
    settings = {"method": ETKF(), "initial": "initial/m{member}.nc", "observations": "obs_{cycle}.csv"}
    numbers = {"members": MEMBERS, "cycles": 2, "interval": 21600.0, "start": "2020-01-01"}
    return Cycling(Command(command, **work), **{**settings, **numbers, "folder": str(folder), **changes})


def run(folder, command=COPY, output="out", resume=False, **changes):
    lines = []
    records = external.run(cycling(folder, command, **changes), folder / output, resume=resume, show=lines.append)
    return records, lines


def contents(directory):
    names = [path for path in directory.rglob("*") if path.is_file() and path.name not in ("restart.npz", ".lock")]
    return {str(path.relative_to(directory)): path.read_bytes() for path in names}


# --- members that fail, whatever the way -----------------------------------------------------------------

WAYS = {
    "hole": "its output is not valid: variable 'q' has no value at 1 of 12 points",
    "infinite": "its output is not valid: variable 'q' is infinite at 1 of 12 points",
    "time": "its output is not valid: its time 'time' is 2020-01-01T00:00:00 but the cycle ends at 2020-01-01T06:00:00",
    "units": "its output is unlike the others: variable 'q' has units degC, not K",
    "coordinate": "its output is unlike the others: coordinate 'x' of variable 'q' is 0.5 at x 0, not 0",
    "name": "its output is unlike the others: it has no variable 'q'",
    "grid": "its output is unlike the others: variable 'q' is time 1 x y 3 x x 5, not time 1 x y 3 x x 4",
    "exit": "it ended with exit status 3",
    "nothing": "it left no output file",
    "hang": "it took longer than 1 s",
    "damaged": "its output is not valid: ",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_member_that_fails_in_any_way_is_left_out_or_tried_again(folder, ended, way):
    """With what it said last; tried again, the run is as if nothing had been."""
    timeout = {"timeout": 1.0} if way == "hang" else {}
    records, lines = run(folder, model(way), cycles=1, min_members=3, **timeout)
    assert records[0]["failed"] == [3] and records[0]["members"] == 3
    assert lines[0].startswith(f"cycle 1 of 1: goes on without member 3: {WAYS[way]}"), lines[0]
    assert f", and said last: step 1 / forrtl: {way}; see " in lines[0]
    assert not (folder / "out/cycle_0001/forecast/member_0003.nc").exists()
    (folder / "tries").unlink()
    records, lines = run(folder, model(way), output="again", cycles=1, retries=1, **timeout)
    assert records[0]["failed"] == [] and len(lines) == 1
    assert contents(folder / "again") == ended


def test_a_member_of_another_grid_fails_and_a_repaired_model_goes_on(folder):
    with pytest.raises(
        OSError, match="member 3 failed in cycle 1: its output is unlike the others: .* x x 5, not .*x x 4"
    ):
        run(folder, model("grid"), cycles=1)
    records, _ = run(folder, model("grid"), cycles=1, resume=True)
    assert records[0]["failed"] == []


def test_the_first_member_is_no_better_than_the_others(folder):
    """What most have is right."""
    script = 'if [ "$2" = 1 ]; then cp other.nc "$1"; else cp "$0" "$1"; fi'
    (folder / "template").mkdir()
    shutil.copyfile(folder / "made" / "grid.nc", folder / "template" / "other.nc")
    command = f"sh -c {shlex.quote(script)} {{input}} {{output}} {{member}}"
    records, lines = run(folder, command, template="template", check_time=False, cycles=1, min_members=2)
    assert records[0]["failed"] == [1] and "unlike the others" in lines[0]


def with_units(file, units):
    return file.assign(q=file.q.assign_attrs(units=units))


REFUSED = {
    "grid": (lambda file: file.isel(x=slice(0, 2)), "variable 'q' is y 3 x x 2, not y 3 x x 4"),
    "order": (lambda file: file.transpose("time", "x", "y"), "variable 'q' is x 4 x y 3, not y 3 x x 4"),
    "place": (lambda file: file.assign_coords(x=file.x + 1e-4), "coordinate 'x' of variable 'q' is 0.0001 at x 0, not"),
    "level": (lambda file: file.assign_coords(level=850.0), "coordinate 'level' of variable 'q' is 850, not 500"),
    "integers": (lambda file: file.assign(q=file.q.astype("i4")), "variable 'q' has type int32, which is not floating"),
    "less": (lambda file: file.rename(q="p"), "it has no variable 'q'; let it keep variables, grid and units, or name"),
    "units": (lambda file: with_units(file, "degC"), "variable 'q' has units degC, not K"),
    "factor": (lambda file: with_units(file, "mK"), "variable 'q' has units mK, not K"),
}
KEPT = {
    "nothing": lambda file: file,
    "times": lambda file: xr.concat([file, file.assign_coords(time=file.time + 1)], "time"),
    "time": lambda file: file.isel(time=0).drop_encoding(),
    "single": lambda file: file.astype("f4"),
    "single places": lambda file: file.assign_coords(x=file.x.astype("f4"), y=file.y.astype("f4")),
    "nearly": lambda file: file.assign_coords(x=file.x + 1e-12),
    "kelvin": lambda file: with_units(file, "kelvin"),
    "no units": lambda file: file.assign(q=file.q.drop_attrs(deep=False)),
    "bounds": lambda file: file.assign(time_bnds=(("time", "nv"), [[0.0, 6.0]])),
    "diagnostic": lambda file: file.assign(dt=0.5),
    "lead": lambda file: file.assign_coords(forecast_period=((), 6.0, {"units": "hours"})),
    "iteration": lambda file: file.assign_coords(iteration=480),
}


def altered(folder, change):
    """The file of a member before and after a model, at 500 hPa, some forecast hours and iterations on."""
    given, made = folder / "given.nc", folder / "changed.nc"
    file = xr.load_dataset(folder / "initial" / "m1.nc", decode_times=False)
    file = file.assign_coords(x=0.1 * file.x, level=500.0, iteration=0, forecast_period=0.0)
    for path, one in ((given, file), (made, change(file))):
        one.to_netcdf(path)
    return given, made


@pytest.mark.parametrize("way", REFUSED)
def test_what_a_model_must_keep(folder, way):
    change, sentence = REFUSED[way]
    given, made = altered(folder, change)
    reasons = changed([(1, given, given), (2, given, made)])
    assert list(reasons) == [2] and f"the file that the model was given: {sentence}" in reasons[2]


@pytest.mark.parametrize("way", KEPT)
def test_what_a_model_may_change(folder, way):
    """Times, types, what has no place, how the unit is written, and rounding; there may be more variables."""
    given, made = altered(folder, KEPT[way])
    assert changed([(1, given, made)]) == {}


@pytest.mark.parametrize("way", ["nothing", "single places", "nearly", "kelvin", "no units", "lead", "iteration"])
def test_members_may_differ_in_what_a_model_may_change(folder, way):
    files = {number: [path] for number, path in enumerate(altered(folder, KEPT[way]), 1)}
    holds = {number: held(paths) for number, paths in files.items()}
    assert unlike(holds, files) == {}
    other = altered(folder, REFUSED["level"][0])[1].rename(folder / "level.nc")
    altered(folder, KEPT[way])
    files[3], holds[3] = [other], content(other)
    said = "the others: coordinate 'level' of variable 'q' is 850, not 500"
    assert unlike(holds, files) == {3: said}


def test_members_with_numbers_of_their_own_are_cycled(folder):
    """CF has the number of a member, and the length of its forecast, as coordinates."""
    for path in [*(folder / "initial").iterdir(), *(folder / "made").glob("?_?.nc")]:
        with netCDF4.Dataset(path, "a") as file:
            for name, value in (("realization", int(path.stem[-1])), ("forecast_period", float(file["time"][0]))):
                file.createVariable(name, "f8", ())[...] = value
            file["q"].coordinates = "realization forecast_period"
    records, _ = run(folder, model(), cycles=2)
    assert [record["failed"] for record in records] == [[], []]
    with netCDF4.Dataset(folder / "out/cycle_0002/analysis/member_0003.nc") as file:
        assert float(file["realization"][...]) == 3.0 and float(file["forecast_period"][...]) == 12.0


def test_a_model_that_changes_the_grid_of_all_members_is_refused(folder):
    (folder / "template").mkdir()
    shutil.copyfile(folder / "made" / "grid.nc", folder / "template" / "other.nc")
    words = {"template": "template", "check_time": False, "cycles": 1}
    with pytest.raises(OSError, match="member 1 .and 3 others. failed in cycle 1: its output is unlike the file that"):
        run(folder, "cp other.nc {output}", **words)
    assert not list((folder / "out" / "cycle_0001").glob("*/member_*.nc"))


def test_members_of_the_same_dates_are_alike(folder):
    same = {"time": 360.0, "units": "minutes since 2020-01-01"}
    write(folder / "one.nc", 1, time=6.0)
    write(folder / "other.nc", 2, time=6.0)
    with netCDF4.Dataset(folder / "other.nc", "a") as file:
        file["time"][:], file["time"].units = same.values()
    files = {1: [folder / "one.nc"], 2: [folder / "other.nc"]}
    assert unlike({member: content(*paths) for member, paths in files.items()}, files) == {}
    with netCDF4.Dataset(folder / "other.nc", "a") as file:
        file["time"].units = "minutes since 2020-10-27"
    assert unlike({member: content(*paths) for member, paths in files.items()}, files) == {
        2: "the others: its time 'time' is 2020-10-27T06:00:00, not 2020-01-01T06:00:00"
    }


@pytest.mark.parametrize("holes", [(5, 6), (4,)])
def test_members_without_data_elsewhere_are_unlike(folder, holes):
    files = {member: [folder / f"{member}.nc"] for member in (1, 2, 3)}
    for member, (path,) in files.items():
        write(path, member, land=holes if member == 2 else (5,))
    holds = {member: content(*paths, mask=True) for member, paths in files.items()}
    where = {(5, 6): "at 2 of 12 points, not at 1; the first that differs is time 0, y 1, x 2", (4,): "at 1 of 12"}
    reason = unlike(holds, files)[2]
    assert len(unlike(holds, files)) == 1 and f"the others: variable 'q' has no value {where[holes]}" in reason


def test_an_output_of_the_template_does_not_count(folder):
    (folder / "template").mkdir()
    write(folder / "template" / "output.nc", 77, time=6.0)
    script = 'test "$2" = 3 || cp "$0" "$1"'
    command = f"sh -c {shlex.quote(script)} {{input}} {{output}} {{member}}"
    before = (folder / "template" / "output.nc").read_bytes()
    with pytest.raises(OSError, match="member 3 failed in cycle 1: it left no output file; see"):
        run(folder, command, template="template", check_time=False)
    assert (folder / "template" / "output.nc").read_bytes() == before


def test_links_of_a_template_are_not_written_through(folder):
    (folder / "template").mkdir()
    for name in ("input.nc", "output.nc", "stdout.txt", "stderr.txt"):
        (folder / "mine").write_text("mine")
        (folder / "template" / name).symlink_to(folder / "mine")
    run(folder, COPY, template="template", check_time=False, cycles=1)
    assert (folder / "mine").read_text() == "mine"


def test_an_output_that_is_a_link_is_copied(folder):
    command = 'sh -c \'mv "$0" restart.nc; ln -s restart.nc "$1"\' {input} {output}'
    run(folder, command, check_time=False, cycles=1)
    made = folder / "out/cycle_0001/forecast/member_0001.nc"
    assert not made.is_symlink() and made.read_bytes() == (folder / "initial/m1.nc").read_bytes()


def test_a_damaged_forecast_of_a_stopped_cycle_is_made_again(folder):
    (folder / "obs_1.csv").rename(folder / "later")
    (folder / "obs_1.csv").write_text(HEAD)
    run(folder, model(), output="whole", cycles=1)
    run(folder, model(), cycles=1)
    (folder / "out/restart.npz").unlink()
    shutil.rmtree(folder / "out/cycle_0001/analysis")
    forecast = folder / "out/cycle_0001/forecast/member_0002.nc"
    forecast.write_bytes(forecast.read_bytes()[:500])
    external.driver._save(external.Checkpoint.begin(cycling(folder, model())), cycling(folder, model()), folder / "out")
    run(folder, model(), cycles=1, resume=True)
    assert contents(folder / "out") == contents(folder / "whole")


def test_twenty_fast_members_are_read_in_the_main_thread(folder):
    """NetCDF in other threads ends the process: the library is not safe there."""
    for member in range(1, 21):
        write(folder / "initial" / f"m{member}.nc", member)
    for output in ("a", "b"):
        run(folder, COPY, output, members=20, jobs=20, check_time=False, cycles=1)
    assert contents(folder / "a") == contents(folder / "b")


# --- time ------------------------------------------------------------------------------------------------


def test_a_clock_without_dates_must_not_stand_still(folder):
    with pytest.raises(
        OSError, match="member 1 .and 3 others.*its time 'time' stands still at 0 hours since 2020-01-01 .check_time"
    ):
        run(folder, start="0")
    run(folder, model(), output="moving", start="0")


def test_a_scalar_time_as_xarray_writes_it_must_not_stand_still(folder):
    """No standard name, no dimension: units alone say that it is a time."""
    for path in [*(folder / "initial").iterdir(), *(folder / "made").glob("?_?.nc")]:
        with xr.open_dataset(path) as file:
            field = file["q"].isel(time=0, drop=True).load()
        hours = 0 if path.parent.name == "initial" else 6 * int(path.name[0])
        date = np.datetime64("2020-01-01T00:00:00", "ns") + np.timedelta64(hours, "h")
        field.assign_coords(valid=date).to_netcdf(path)
    with pytest.raises(OSError, match="its time 'valid' is 2020-01-01T00:00:00 but the cycle ends at 2020-01-01T06:00"):
        run(folder)
    run(folder, model(), output="moving")


def test_calendars_of_the_model(folder):
    for member in range(1, MEMBERS + 1):
        for cycle in (1, 2):
            with netCDF4.Dataset(folder / "made" / f"{cycle}_{member}.nc", "a") as file:
                file["time"].calendar = "noleap"
    run(folder, model())


@pytest.mark.parametrize("hours", [1, 3, 6])
def test_times_in_single_precision_are_those_of_short_cycles(tmp_path, hours):
    """Days since 1900 are stored to 6 minutes; a time that stands still is seen."""
    first, step = np.datetime64("2020-03-01T00:00"), np.timedelta64(hours, "h")
    for cycle in range(12):
        start, end = first + cycle * step, first + (cycle + 1) * step
        for name, when in (("given.nc", start), ("made.nc", end)):
            days = np.float32((when - np.datetime64("1900-01-01")) / np.timedelta64(1, "D"))
            coordinate = ("time", [days], {"units": "days since 1900-01-01", "standard_name": "time"})
            xr.Dataset({"q": ("x", np.zeros(3)), "time": coordinate}).to_netcdf(tmp_path / name)
        made, given, dates = tmp_path / "made.nc", tmp_path / "given.nc", (Date(str(start)), Date(str(end)))
        check_time(made, given, *dates)
        with pytest.raises(ValueError, match=f"its time 'time' is .* but the cycle ends at {end}"):
            check_time(given, given, *dates)


@pytest.mark.parametrize(
    ("calendar", "end", "value", "sentence"),
    [
        (
            "noleap",
            "2020-02-29",
            59.0,
            "with 2020-02-29T00:00 .calendar 'noleap' has no 2020-02-29. .check_time = f",
        ),
        ("360_day", "2020-01-31", 30.0, "with 2020-01-31T00:00 .calendar '360_day' has no 2020-01-31. .check_time = f"),
        ("standard", "2020-01-31", np.inf, "its time 'time' is infinite .check_time = false"),
        ("standard", "2020-01-31", np.nan, "its time 'time' is missing .check_time = false"),
        ("noleap", "2020-03-01", 59.0, None),
    ],
)
def test_ends_that_a_calendar_does_not_have(tmp_path, calendar, end, value, sentence):
    """A cycle may start on one."""
    attributes = {"units": "days since 2020-01-01", "calendar": calendar, "standard_name": "time"}
    path, end = tmp_path / "made.nc", np.datetime64(f"{end}T00:00")
    xr.Dataset({"q": ("x", np.zeros(3)), "time": ("time", [value], attributes)}).to_netcdf(path)
    dates = Date(str(end - np.timedelta64(1, "D"))), Date(str(end))
    if sentence is None:
        check_time(path, path, *dates)
        return
    with pytest.raises(ValueError, match=sentence):
        check_time(path, path, *dates)


@pytest.mark.parametrize(
    ("times", "used"),
    [
        (("03:00", "08:59"), [2, 0]),
        (("02:59", "09:00"), [0, 1]),
        (("06:00", "12:00"), [1, 1]),
        (("14:59", "15:00"), [0, 1]),
    ],
)
def test_one_table_for_all_cycles(folder, times, used):
    """Windows of half the interval to either side; the common edge belongs to the later one."""
    rows = "".join(f"q,0.3,0.5,2020-01-01T{time},1,2\n" for time in times)
    (folder / "all.csv").write_text(HEAD + rows)
    run(folder, observations="all.csv", check_time=False)
    tables = [read(folder / f"out/cycle_{cycle:04d}/observations.csv") for cycle in (1, 2)]
    assert [int(table.used.sum()) for table in tables] == used


@pytest.mark.parametrize(
    ("window", "used"),
    [
        ((21600.0, 0.0), [[False, True, True, False], [False, False, False, True]]),  # it has its end, and no start
        ((18000.0, 3600.0), [[False, True, True, False], [False, False, False, True]]),
        ((25200.0, -3600.0), [[True, False, False, False], [False, True, True, False]]),
    ],
)
def test_the_window_may_be_another(folder, window, used):
    """Each row is used once."""
    times = ("00:00", "05:00", "06:00", "12:00")
    rows = [f"q,0.3,0.5,2020-01-01T{time},1,2\n" for time in times]
    (folder / "all.csv").write_text(HEAD + "".join(rows))
    run(folder, observations="all.csv", check_time=False, window=window)
    tables = [read(folder / f"out/cycle_{cycle:04d}/observations.csv") for cycle in (1, 2)]
    assert [table.used.tolist() for table in tables] == used


def test_windows_may_not_use_a_row_twice(folder):
    for table in ("all.csv", "{time:%Y%m%d}.csv"):
        with pytest.raises(
            ValueError, match="window .*21600.0, 1800.0. is longer .* cycles 1 and 2 would both use rows"
        ):
            cycling(folder, observations=table, window=(21600.0, 1800.0))
    cycling(folder, window=(21600.0, 1800.0))  # a table for each cycle


def test_rows_of_another_year_are_counted(folder):
    (folder / "obs_1.csv").write_text(HEAD + "q,0.3,0.5,1931-01-01T06:00,1,2\n")
    _, lines = run(folder, check_time=False)
    assert lines[0].endswith("warning: none of 1 observations used (1 outside the time window)")


def test_dates_in_paths_and_commands(folder):
    for cycle, hour in ((1, "06"), (2, "12")):
        shutil.copyfile(folder / f"obs_{cycle}.csv", folder / f"obs_20200101{hour}_{cycle:02d}.csv")
    for member in range(1, MEMBERS + 1):
        (folder / "initial" / f"m{member}.nc").rename(folder / "initial" / f"202001_{member:03d}.nc")
        (folder / f"t{member}").mkdir()
        (folder / f"t{member}" / "name").write_text(f"{member}")
    script = "cp $0 $1; echo $2 $3 $4 $(cat name) >> $5/log"
    words = "{time:%Y%m%d%H} {start:%H:%M} {end:.10} {folder}"
    run(
        folder,
        f"sh -c {shlex.quote(script)} {{input}} {{output}} {words}",
        initial="initial/{time:%Y%m}_{member:03d}.nc",
        observations="obs_{time:%Y%m%d%H}_{cycle:02d}.csv",
        template="t{member}",
        check_time=False,
    )
    lines = sorted((folder / "log").read_text().splitlines())
    assert lines[0] == "2020010106 00:00 2020-01-01 1" and lines[-1] == "2020010112 06:00 2020-01-01 4"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"observations": "obs_{time:%Q}.csv"}, "path 'obs_{time:%Q}.csv' cannot be read"),
        ({"observations": "obs_{cycle.x}.csv"}, "path 'obs_{cycle.x}.csv' cannot be read"),
        ({"observations": "obs_{time:%H}.csv", "start": "0"}, "cannot be read"),
        ({"command": "cp {input} {output} {time:%H}", "start": "0"}, "command .* cannot be read"),
        ({"observations": "all.csv", "start": "0"}, "observations 'all.csv' are one table for all cycles"),
        ({"window": (3600.0, -7200.0)}, "window is .3600.0, -7200.0.: give the seconds before and after"),
        ({"window": (3600.0, 0.0), "start": "0"}, "a window needs dates"),
        ({"interval": 1e300}, "end after the year 9999"),
        ({"start": "nan"}, "start 'nan' is no time"),
        ({"keep_every": 3}, "keep_every is 3 but all cycles are kept"),
        ({"template": "t{colour}"}, "template 't{colour}' has the unknown word {colour}"),
    ],
)
def test_bad_settings_are_one_sentence(folder, changes, words):
    with pytest.raises(ValueError, match=words) as caught:
        cycling(folder, **changes)
    assert "\n" not in str(caught.value)


# --- land ------------------------------------------------------------------------------------------------


def test_land_is_cycled(folder):
    made_with_land(folder)
    with pytest.raises(
        ValueError, match="m1.nc of member 1 is not valid: variable 'q' has no value at 3 of 12 points: .* mask = true"
    ):
        run(folder, model())
    run(folder, model(), mask=True)
    with netCDF4.Dataset(folder / "out/cycle_0002/analysis/member_0002.nc") as file:
        assert np.flatnonzero(np.ma.getmaskarray(file["q"][0])).tolist() == list(LAND)


def test_a_hole_in_the_sea_is_a_failure_beside_land(folder):
    made_with_land(folder)
    with pytest.raises(
        OSError, match="member 3 failed in cycle 1: .*variable 'q' has no value at 4 of 12 points, not at 3; the first"
    ):
        run(folder, model("hole"), mask=True)


# --- dry runs --------------------------------------------------------------------------------------------


def configure(folder, **changes):
    settings = {
        "command": COPY,
        "initial": "initial/m{member}.nc",
        "observations": "obs_{cycle}.csv",
        "method": "LETKF(Localization(Euclidean(), 2.0, dims=('x', 'y')))",
        "members": MEMBERS,
        "cycles": 4,
        "interval": 21600.0,
        "start": "2020-01-01",
        "check_time": False,
    }
    lines = (f"{name} = {json.dumps(value)}\n" for name, value in {**settings, **changes}.items())
    (folder / "c.toml").write_text("".join(lines))
    return main(["cycle", str(folder / "c.toml"), "--dry-run"])


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(folder, capsys):
    before = contents(folder)
    assert configure(folder) == 0
    lines = capsys.readouterr().out.splitlines()
    place = folder / "cycles/cycle_0001/runs/member_0001_..."
    assert lines == [
        f"members: 4, from {folder}/initial/m1.nc to {folder}/initial/m4.nc",
        "variables: q (time 1, y 3, x 4); 12 values of each member are analysed",
        lines[2],
        "localization: half-width 2 along x, y",
        f"forecast of member 1: cp {place}/input.nc {place}/output.nc",
        "    1 at a time, no limit of time, 0 retries",
        "cycles: 1 to 4, from 2020-01-01T00:00:00 to 2020-01-02T00:00:00",
        *(
            f"    {cycle}, 2020-01-01T{6 * cycle:02d}:00:00: {folder}/obs_{cycle}.csv, 1 of 1 rows can be used"
            for cycle in (1, 2, 3)
        ),
        f"    4, 2020-01-02T00:00:00: {folder}/obs_4.csv, which is not there yet",
        f"files in {folder}/cycles",
    ]
    assert lines[2].startswith("method: LETKF(")
    (folder / "c.toml").unlink()
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"observations": "none_{cycle}.csv"},
            "there is no file .*none_1.csv: check the name or pattern of the observations of cycle 1",
        ),
        ({"observations": "bad_{cycle}.csv"}, "bad_2.csv"),
        ({"method": "LETKF(Localization(Sphere(), 2.0))"}, "coordinate|latitude"),
        ({"variables": "w"}, "m1.nc has no variable 'w'"),
        ({"members": 5}, "there is no file .*m5.nc for member 5"),
        ({"command": "absent {input}"}, "there is no program absent"),
        ({"output": "c.toml"}, "c.toml is a file"),
        ({"initial": "initial/u{member}.nc"}, "u2.nc.* differs|u2.nc|u3.nc"),
    ],
)
def test_a_dry_run_finds_what_a_run_would_stumble_over(folder, capsys, changes, words):
    shutil.copyfile(folder / "obs_1.csv", folder / "bad_1.csv")
    (folder / "bad_2.csv").write_text("variable,value\n1,2\n")
    for member in range(1, MEMBERS + 1):
        write(folder / "initial" / f"u{member}.nc", member, columns=5 if member == 2 else 4)
    assert configure(folder, **changes) == 2
    caught = capsys.readouterr()
    assert not caught.out and caught.err.count("\n") == 1
    assert re.search(words, caught.err), caught.err
    assert not (folder / "cycles").exists()


# --- queues ----------------------------------------------------------------------------------------------

# Like `sbatch --wait`: hands a job to a server, in another session, and waits for its end.
SBATCH = """#!/bin/sh
setsid sh -c '
    echo $$ > "$QUEUE/job"
    sleep 1
    if [ -e "$QUEUE/slow" ]; then sleep 30; fi
    cp "$GIVEN" "$MADE"
    echo done > "$QUEUE/done"
' &
wait $!
"""
SCANCEL = """#!/bin/sh
echo "$1" > "$QUEUE/cancelled"
kill -9 -$(cat "$QUEUE/job")
"""
PAGE = (Path(__file__).parents[2] / "docs" / "queues.md").read_text()
RUN = PAGE.split("```sh\n")[1].split("```")[0]


def has_ended(job):
    """Gone, or waiting for whoever started it to notice."""
    status = Path(f"/proc/{job}/stat")
    return not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] == "Z"


@pytest.fixture
def queue(folder, monkeypatch):
    (folder / "template").mkdir()
    for name, text in (("bin/sbatch", SBATCH), ("bin/scancel", SCANCEL), ("template/run.sh", RUN)):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    (folder / "queue").mkdir()
    monkeypatch.setenv("PATH", f"{folder}/bin:" + os.environ["PATH"])
    monkeypatch.setenv("QUEUE", str(folder / "queue"))
    return folder / "queue"


def one(folder, **changes):
    command = Command("./run.sh {input} {output}", template="template", **changes)
    task = external.Task(1, folder / "initial/m1.nc", folder / "made.nc", {})
    return command.forecast([task], folder / "runs", lambda task, path: None, folder)


def test_a_job_that_waits_in_a_queue_is_waited_for(folder, queue):
    assert one(folder) == {} and (folder / "made.nc").exists()


def test_a_timeout_asks_first_so_that_a_script_can_cancel_its_job(folder, queue):
    (queue / "slow").touch()
    assert "it took longer than 1.5 s" in one(folder, timeout=1.5)[1]
    assert (queue / "cancelled").read_text().startswith("--name=member_")
    time.sleep(0.2)
    assert has_ended(int((queue / "job").read_text())) and not (queue / "done").exists()


def test_a_program_that_does_not_listen_is_killed(folder, monkeypatch):
    monkeypatch.setattr(external.processes, "GRACE", 0.3)
    command = Command("sh -c \"trap '' TERM; sleep 60; sleep 60\"", timeout=0.3)
    started = time.monotonic()
    task = external.Task(1, folder / "initial/m1.nc", folder / "made.nc", {})
    assert "took longer" in command.forecast([task], folder / "runs", lambda task, path: None)[1]
    assert time.monotonic() - started < 5


def test_a_second_control_c_asks_too(folder, queue):
    (queue / "slow").touch()
    configure(folder, command="./run.sh {input} {output}", template="template", cycles=1)
    command = [sys.executable, "-c", "from ensf.cli import main; raise SystemExit(main())"]
    process = subprocess.Popen([*command, "cycle", str(folder / "c.toml")], stderr=subprocess.PIPE, text=True)
    while not (queue / "job").exists() and process.poll() is None:
        time.sleep(0.02)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in errors
    assert (queue / "cancelled").exists() and has_ended(int((queue / "job").read_text()))


# --- all of it together ----------------------------------------------------------------------------------

OCEAN = """
import os, struct, sys
given, made, member, cycle, folder = sys.argv[1:]
with open(given, "rb") as file:
    content = file.read()
way = ""
if member == "3":
    with open(folder + "/tries_" + cycle, "a") as log:
        log.write("x")
    way = {1: "exit", 2: "short", 3: "time"}.get(os.path.getsize(folder + "/tries_" + cycle), "")
if way == "exit":
    sys.exit("blow up")
hours = 6.0 * int(cycle) - (6.0 if way == "time" else 0.0)
with open(made, "wb") as file:
    file.write(content[:-8] + struct.pack(">d", hours) if way != "short" else content[:900])
"""


def write_ocean(path, seed):
    """t, u and v on a staggered grid with land; a classic file that ends with its time."""
    rng = np.random.default_rng(seed)
    centre, corner = np.arange(40.0, 48.0), np.arange(39.5, 47.5)
    land = np.zeros((8, 10), dtype=bool)
    land[:3, :4] = True
    with netCDF4.Dataset(path, "w", format="NETCDF3_CLASSIC") as file:
        file.createDimension("time", 1)
        grids = {"yc": centre, "yg": corner, "xc": np.arange(10.0), "xg": np.arange(10.0) - 0.5}
        for name, values in grids.items():
            file.createDimension(name, len(values))
            file.createVariable(name, "f8", (name,))[:] = values
            file[name].units = "degrees_north" if name.startswith("y") else "degrees_east"
        for name, dims in (("t", ("yc", "xc")), ("u", ("yc", "xg")), ("v", ("yg", "xc"))):
            field = rng.normal() + 0.3 * rng.normal(size=(8, 10))
            file.createVariable(name, "f8", ("time", *dims), fill_value=-1e30)[:] = np.ma.masked_array(field, land)[
                None
            ]
        file.createVariable("time", "f8", ("time",)).units = "hours since 2020-01-01"
        file["time"].standard_name = "time"
        file["time"][:] = 0.0


@pytest.mark.parametrize("members, cycles", [(6, 3), pytest.param(20, 12, marks=pytest.mark.slow)])
def test_an_ocean_is_cycled_with_a_member_that_fails_three_ways_and_resumed_twice(tmp_path, members, cycles):
    """A job for each member, land, one table for all cycles, adaptive inflation: the bits of the undisturbed run."""
    (tmp_path / "initial").mkdir()
    (tmp_path / "ocean.py").write_text(OCEAN)
    for member in range(1, members + 1):
        write_ocean(tmp_path / "initial" / f"m{member}.nc", member)
    rng = np.random.default_rng(0)
    times = np.datetime64("2020-01-01T00:00") + np.arange(6 * (cycles + 1)) * np.timedelta64(60, "m")
    rows = [f"t,{rng.normal():.3f},0.3,{when},{rng.uniform(43, 47):.2f},{rng.uniform(0, 9):.2f}" for when in times]
    (tmp_path / "all.csv").write_text("variable,value,error,time,lat,lon\n" + "\n".join(rows) + "\n")
    where = "Localization(Sphere(), 300.0)"
    settings = {
        "method": read_method(f"RTPS(AdaptiveInflation(LETKF({where}), {where}), 0.2)"),
        "initial": "initial/m{member}.nc",
        "observations": "all.csv",
        "folder": str(tmp_path),
        "mask": True,
        "members": members,
        "interval": 21600.0,
        "start": "2020-01-01",
    }
    program = (
        f"{shlex.quote(sys.executable)} -S -I {{folder}}/ocean.py {{input}} {{output}} {{member}} {{cycle}} {{folder}}"
    )
    model = Command(program, retries=3, jobs=members)
    records = []
    for part in (1, 2, cycles):
        cycling = Cycling(model, cycles=part, **settings)
        records = external.run(cycling, tmp_path / "out", resume=part > 1, show=lambda line: None)
    assert [record["members"] for record in records] == [members] * cycles
    assert (tmp_path / "tries_1").read_text() == "xxxx"
    external.run(Cycling(model, cycles=cycles, **settings), tmp_path / "whole", show=lambda line: None)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    used = [int(read(tmp_path / f"out/cycle_{k + 1:04d}/observations.csv").used.sum()) for k in range(cycles)]
    assert used == [6] * cycles
    assert (tmp_path / f"out/cycle_{cycles:04d}/analysis/memory.nc").exists()
    with netCDF4.Dataset(tmp_path / f"out/cycle_{cycles:04d}/analysis/member_0001.nc") as file:
        assert all(np.ma.getmaskarray(file[name][0])[:3, :4].all() for name in "tuv")
    assert struct.unpack(">d", (tmp_path / "out/cycle_0002/analysis/member_0001.nc").read_bytes()[-8:]) == (12.0,)
