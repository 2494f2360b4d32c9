"""`ensf watch`: what it prints while something runs, and that it ends; nothing that runs is disturbed."""

import itertools
import json
import os
import socket
import time
from contextlib import closing

import numpy as np
import pytest
import xarray as xr

from ensf import experiments
from ensf.cli import main
from ensf.runs import runner
from ensf.runs.netcdf.journal import Journal
from ensf.runs.owner import OWNER, is_owned, owned
from ensf.runs.run import Run

PAGE = "lorenz63_sakov2012"
NUMBERS = np.dtype([("a", "f8"), ("b", "i4")])


@pytest.fixture
def looks(monkeypatch):
    """What happens between two looks: functions, one after another; none of it takes time."""
    after = []
    monkeypatch.setattr(time, "sleep", lambda seconds: after.pop(0)())
    monkeypatch.setattr("ensf.cli.watch.is_owned", lambda folder: bool(after))
    return after


def started(folder, method="etkf"):
    """A run, and a function that goes on with it for so many cycles."""
    experiment = experiments.load(PAGE)
    one = Run(experiment, method, experiment.methods[method], 1, folder, "ensf run")

    def go_on(cycles):
        stops = itertools.chain([False] * (cycles - 1), [True])
        with pytest.raises(KeyboardInterrupt):
            one.complete(True, 1, lambda: next(stops), lambda measured, done: None)

    return one, go_on


def test_a_run_is_followed_until_nobody_works_on_it(tmp_path, looks, capsys):
    _, go_on = started(tmp_path)
    looks += [lambda: go_on(3), lambda: None, lambda: go_on(2), lambda: None]
    assert main(["watch", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines[:2]] == ["etkf seed 1: cycle 3", "etkf seed 1: cycle 5"]
    assert lines[2:] == ["etkf_seed1 has stopped before its end: ensf run ... --resume goes on"]
    with xr.open_dataset(tmp_path / "etkf_seed1.nc") as file:
        rmse, spread = file["rmse_analysis"].values, file["spread_analysis"].values
    for line, cycle in zip(lines, (3, 5), strict=False):
        assert f"RMSE {rmse[cycle - 1]:.3f}" in line.replace("RMSE an", "RMSE")
        assert f"{spread[cycle - 1]:.3f}" in line


def test_a_complete_run_is_its_means_and_its_table_at_once(tmp_path, capsys, without_figures):
    assert main(["run", PAGE, "--methods", "etkf", "--cycles", "4", "--seeds", "1,2", "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert main(["watch", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    records = json.loads((tmp_path / "summary.json").read_text())
    for line, record in zip(lines, records, strict=False):
        assert line.startswith(f"etkf seed {record['seed']}: complete, 4 cycles, means ")
        assert f" {record['rmse_analysis']:.3f}, " in line
    assert lines[2:] == runner.table(records).splitlines() and "\n".join(lines[2:]) in printed


def test_it_reads_beside_the_one_that_writes(tmp_path, looks, capsys):
    one, go_on = started(tmp_path)
    go_on(2)
    looks.append(lambda: None)
    with owned(tmp_path), closing(Journal.resume(one.journal_file)):
        assert main(["watch", str(tmp_path)]) == 0
    assert "etkf seed 1: cycle 2, " in capsys.readouterr().out


def test_a_cycled_model_is_followed(tmp_path, looks, capsys):
    rng = np.random.default_rng(1)
    grid = {
        "lat": ("lat", np.arange(40.0, 43), {"units": "degrees_north"}),
        "lon": ("lon", np.arange(0.0, 4), {"units": "degrees_east"}),
    }
    for member in (1, 2, 3):
        field = xr.Dataset({"t": (("lat", "lon"), rng.normal(size=(3, 4)), {"units": "K"})}, grid)
        field.to_netcdf(tmp_path / f"m{member}.nc")
    rows = [f"t,{value},0.5,2024-01-31T01:00,41,{x}" for x, value in enumerate((0.5, 1.0, -0.5, 0.2))]
    (tmp_path / "obs.csv").write_text("\n".join(["variable,value,error,time,lat,lon", *rows]) + "\n")
    words = 'command = "cp {input} {output}"\ninitial = "m{member}.nc"\nobservations = "obs.csv"\nmembers = 3\n'
    (tmp_path / "c.toml").write_text(
        words + 'start = "2024-01-31"\ncycles = 1\ninterval = 3600.0\nmethod = "ETKF()"\nwithhold = 0.25\n'
    )
    folder = tmp_path / "cycles"
    folder.mkdir()
    looks += [lambda: main(["cycle", str(tmp_path / "c.toml")]), lambda: None]
    assert main(["watch", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    with xr.open_dataset(folder / "statistics.nc") as file:
        one = file.isel(cycle=0, band=0).load()
    news = [line for line in lines if line.startswith("cycle 1, time ")]
    assert [f"{role}, RMSE" in line for line, role in zip(news, ("used", "withheld"), strict=True)] == [True, True]
    for line, role in zip(news, ("used", "withheld"), strict=True):
        rmse = [float(one[f"t_{stage}_rmse"].sel(role=role)) for stage in ("prior", "analysis")]
        assert "3 members: t (K)" in line and f"RMSE {rmse[0]:.3g} -> {rmse[1]:.3g}, spread" in line
    assert lines[-3].startswith("observations") and lines[-1].startswith("t (K), withheld")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name one folder first"),
        (["nowhere"], "there is no folder nowhere"),
        (["."], "holds no cycle of a run or of ensf cycle, and nobody works on it"),
        ([".", "--every", "0"], "--every is 0"),
        ([".", "--every", "nan"], "nan"),
        ([".", "twice"], "name one folder first"),
        (["sweep"], "sweep is of a sweep or a board"),
    ],
)
def test_what_cannot_be_watched_is_one_sentence(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep" / "cells").mkdir(parents=True)
    assert main(["watch", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("ensf: ") and error.count("\n") == 1 and said in error


def test_ctrl_c_ends_it(tmp_path, looks, capsys):
    def interrupt():
        raise KeyboardInterrupt

    looks.append(interrupt)
    assert main(["watch", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "\nensf: no longer watching; what runs goes on\n"


def test_who_owns_a_folder(tmp_path):
    assert not is_owned(tmp_path)
    with owned(tmp_path):
        assert is_owned(tmp_path)
    assert not is_owned(tmp_path)
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    (tmp_path / OWNER).write_text(f"process {child} on {socket.gethostname()}")
    assert not is_owned(tmp_path)  # it was killed
    for words in (f"process {child} on another", "", f"process {os.getpid()} on {socket.gethostname()}"):
        (tmp_path / OWNER).write_text(words)
        assert is_owned(tmp_path)


def test_the_last_whole_record_of_a_journal(tmp_path):
    path = tmp_path / "a.journal"
    with closing(Journal.create(path, b"template")) as journal:
        assert journal.last(NUMBERS) is None
        for index in range(3):
            journal.write(index, np.array((index + 0.5, index), NUMBERS), NUMBERS.itemsize)
        with closing(Journal.look(path)) as other:
            count, record = other.last(NUMBERS)
            assert other.template == b"template" and count == 3 and record[0].tolist() == (2.5, 2)
        os.truncate(path, path.stat().st_size - 1)
        count, record = journal.last(NUMBERS)
        assert count == 2 and record[0].tolist() == (1.5, 1)
        with path.open("r+b") as file:
            file.seek(path.stat().st_size - NUMBERS.itemsize - 20)
            file.write(b"??")
        assert journal.last(NUMBERS)[0] == 1
    path.write_bytes(b"ensfj")
    with pytest.raises(ValueError, match="not a journal"):
        Journal.look(path)
