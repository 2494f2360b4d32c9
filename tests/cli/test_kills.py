"""A kill at a call that changes a file, or a full disk, leaves what the next command continues, bit for bit."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import external_model
import netCDF4
import numpy as np
import offline_files
import pytest
import xarray as xr
from kills import Server

from ensf.runs.owner import OWNER

MODEL = shlex.join([sys.executable, external_model.__file__]) + " {input} {output} {start} {duration} {seed}"
CONFIG = f"""
command = '''{MODEL}'''
members = 3
cycles = 2
interval = 6.0
initial = "initial/m{{member}}.nc"
observations = "obs.csv"
method = "AnalysisInflation(EnKF(), 1.1)"
keep_cycles = 1
"""


def for_cycles(folder):
    (folder / "initial").mkdir()
    rng = np.random.default_rng(3)
    for number in (1, 2, 3):
        with netCDF4.Dataset(folder / f"initial/m{number}.nc", "w", format="NETCDF3_CLASSIC") as file:
            for name, size in (("y", 3), ("x", 4)):
                file.createDimension(name, size)
                file.createVariable(name, "f8", (name,))[:] = np.arange(size)
            file.createVariable("q", "f8", ("y", "x"))[:] = rng.standard_normal((3, 4))
    (folder / "obs.csv").write_text("variable,value,error,time,y,x\nq,0.5,0.5,2020-01-01,1,2\n")
    (folder / "c.toml").write_text(CONFIG)


def cycle(folder, *more):
    return ["cycle", str(folder / "c.toml"), "--output", "out", *more]


def run(folder, *more):
    words = ["run", "lorenz96_sakov2008", "--methods", "enkf,etkf", "--seeds", "1", "--cycles", "3", "--burn_in", "0"]
    return [*words, "--output", str(folder / "out"), *more]


def report(folder, *more):
    return ["report", str(folder / "out")]


def cache(folder, *more):
    return ["cache", str(folder / "out")]


@dataclass(frozen=True)
class Case:
    """A command: what it needs, its words, those that continue it, and those that make its input, if any."""

    make: Callable[[Path], object]
    words: Callable[..., list[str]]
    more: str = "--resume"
    before: Callable[..., list[str]] | None = None


CASES = {
    "run": Case(lambda folder: None, run),
    "cycle": Case(for_cycles, cycle),
    "analyse": Case(offline_files.write, offline_files.command, "--overwrite"),
    "report": Case(lambda folder: None, report, before=run),
    "cache": Case(lambda folder: None, cache),
}


def content(folder):
    """Everything that a command left in its folder, without dates and seconds."""
    return {str(path.relative_to(folder)): values(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def values(path):
    if path.suffix == ".nc":
        with xr.open_dataset(path, decode_times=False) as file:
            return {name: (variable.dims, variable.values.tobytes()) for name, variable in file.variables.items()}
    if path.name == "summary.json":
        records = json.loads(path.read_text())
        return [{name: part for name, part in record.items() if "seconds" not in name} for record in records]
    if path.name == "analysis.json":
        return {
            name: part for name, part in json.loads(path.read_text()).items() if name not in ("date_created", "command")
        }
    return b"" if path.name == "restart.npz" else path.read_bytes()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.close()


@pytest.fixture(scope="module", params=CASES)
def started(request, server, tmp_path_factory):
    """A case, the server after it has done it once, the folder with its input, what it should leave, and its calls."""
    case, source = CASES[request.param], tmp_path_factory.mktemp(request.param)
    case.make(source)
    server.warm((case.before or case.words)(source))
    if not case.before:
        shutil.rmtree(source / "out")
    place = copied(source, server)
    ended = server.run(case.words(place))
    assert ended.code == 0, ended.shown
    return case, server, source, content(place / "out"), ended.calls


def copied(source, server):
    """A copy of the input, always in the same place, which some outputs name."""
    place = server.folder / "place"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(source, place)
    return place


def continued(case, server, place):
    """What is there after the command that continues."""
    ended = server.run(case.words(place, case.more))
    assert ended.code == 0, ended.shown
    assert not [path for path in place.rglob("*") if path.name.startswith(".")]
    return content(place / "out")


def killed(started, calls):
    case, server, source, whole, _ = started
    for number, midst in calls:
        place = copied(source, server)
        ended = server.run(case.words(place), kill=number, midst=midst)
        assert ended.code == -9, (number, ended.shown)
        left = [path for path in place.rglob("*") if path.is_file() and path.name != OWNER]
        if case.more == "--overwrite":  # all files of an analysis, or none
            own = [path for path in left if path.parent.name == "out"]
            assert not own or content(place / "out").keys() - {OWNER} == whole.keys()
        assert continued(case, server, place) == whole, (number, midst)


def spread(calls, count):
    """So many numbers of calls, over all of them."""
    return sorted({int(number) for number in np.linspace(0, calls, count + 2)[1:-1]})


def test_a_kill_at_some_calls(started):
    killed(started, [(number, bool(k % 2)) for k, number in enumerate(spread(started[-1], 4))])


@pytest.mark.slow
def test_a_kill_at_every_call(started):
    calls = started[-1]
    print(f"{calls} calls")
    killed(started, [(number, midst) for number in range(calls) for midst in (False, True)])


def filled(started, rooms):
    """The disk is full after so many bytes: a sentence, what was there is untouched, and it goes on."""
    case, server, source, whole, _ = started
    stopped = 0
    for room in rooms:
        place = copied(source, server)
        before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
        ended = server.run(case.words(place), room=room)
        if ended.code == 0:
            continue
        stopped += 1
        last = ended.shown.strip().splitlines()[-1]
        assert ended.code == 2 and last.startswith("ensf: ") and "Traceback" not in ended.shown, (room, ended.shown)
        assert "unforeseen" not in last
        assert all(path.read_bytes() == former for path, former in before.items()), room
        assert continued(case, server, place) == whole, room
    return stopped


def written(started):
    """Bytes that the command writes, about."""
    case, server, source, _, _ = started
    low, high = 0, 2**24
    while high - low > max(256, low // 20):
        middle = (low + high) // 2
        code = server.run(case.words(copied(source, server)), room=middle).code
        low, high = (low, middle) if code == 0 else (middle, high)
    return high


def test_a_full_disk(started):
    assert filled(started, [3000])


@pytest.mark.slow
def test_a_disk_that_is_full_at_any_place(started):
    total = written(started)
    print(f"{total} bytes")
    filled(started, [int(room) for room in np.linspace(0, total, 60)])
