"""Finished runs that go on with more cycles: bit for bit one long run, from the command line too."""

from __future__ import annotations

import json
from dataclasses import replace

import netCDF4
import numpy as np
import pytest

from ensf import experiments
from ensf.cli import main
from ensf.runs import runner

pytestmark = pytest.mark.usefixtures("without_figures")
NEW = ("history", "date_created", "id", "command")


def methods():
    experiment = experiments.load("lorenz96_sakov2008")
    return {"letkf": experiment.methods["letkf"]}


def run(folder, cycles, resume=False, **options):
    folder.mkdir(exist_ok=True)
    experiment = replace(experiments.load("lorenz96_sakov2008"), cycles=cycles)
    return runner.run(experiment, methods(), [1, 2], folder, "test", resume=resume, **options)


def contents(path):
    """All bits of a file but those of its making."""
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        values = {name: variable[...].tobytes() for name, variable in file.variables.items()}
        return values, {name: file.getncattr(name) for name in file.ncattrs() if name not in NEW}


def summary(folder):
    records = json.loads((folder / "summary.json").read_text())
    return [{name: value for name, value in one.items() if not name.startswith("seconds")} for one in records]


def test_a_finished_run_is_extended_bit_for_bit(tmp_path):
    run(tmp_path / "long", 9)
    run(tmp_path / "parts", 4)
    assert not list((tmp_path / "parts").glob("*.journal"))
    for cycles in (4, 6, 9):
        run(tmp_path / "parts", cycles, resume=True)
    for seed in (1, 2):
        long, parts = (contents(tmp_path / name / f"letkf_seed{seed}.nc") for name in ("long", "parts"))
        assert parts == long
    assert summary(tmp_path / "parts") == summary(tmp_path / "long")


def test_an_extension_that_is_stopped_goes_on(tmp_path, monkeypatch):
    run(tmp_path / "long", 7)
    run(tmp_path / "parts", 3)
    from ensf.runs.netcdf.writer import Writer

    write = Writer.write

    def stopped(self, cycle, scores=None):
        if cycle.index == 5:
            raise KeyboardInterrupt
        write(self, cycle, scores)

    monkeypatch.setattr(Writer, "write", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", 7, resume=True)
    monkeypatch.undo()
    run(tmp_path / "parts", 7, resume=True)
    assert contents(tmp_path / "parts" / "letkf_seed1.nc") == contents(tmp_path / "long" / "letkf_seed1.nc")


def test_what_cannot_be_extended_is_refused_in_a_sentence(tmp_path):
    run(tmp_path / "a", 4)
    before = contents(tmp_path / "a" / "letkf_seed1.nc")
    with pytest.raises(ValueError, match="has 4 cycles but 3 are to be run: give that many or more"):
        run(tmp_path / "a", 3, resume=True)
    with netCDF4.Dataset(tmp_path / "a" / "letkf_seed2.nc", "a") as file:
        file["time"][4] = 1.0
    with pytest.raises(ValueError, match="letkf_seed2.nc has 5 cycles but the restart beside it 4"):
        run(tmp_path / "a", 6, resume=True)
    run(tmp_path / "b", 4, restart_every=0)
    assert not list((tmp_path / "b").glob("*.restart.npz"))
    with pytest.raises(ValueError, match="has 4 cycles, not 6, and no restart beside it"):
        run(tmp_path / "b", 6, resume=True)
    assert contents(tmp_path / "b" / "letkf_seed1.nc") == before


def test_the_command_takes_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["run", "lorenz96_sakov2008", "--methods", "letkf", "--seeds", "3", "--members", "8", "--output", "here"]
    assert main([*words, "--cycles", "3"]) == 0
    assert main(["run", "here", "--resume", "--cycles", "5"]) == 0
    assert main(["run", "here", "--resume"]) == 0  # it is that long now
    assert main([*words[:-1], "there", "--cycles", "5"]) == 0
    assert contents("here/letkf_seed3.nc") == contents("there/letkf_seed3.nc")
    capsys.readouterr()
    (tmp_path / "empty").mkdir()
    assert main(["run", "empty", "--resume"]) == 2
    assert "empty holds no run" in capsys.readouterr().err
    assert main(["run", "here", "--cycles", "7"]) == 2
    assert "--resume" in capsys.readouterr().err
    assert np.all(np.diff(netCDF4.Dataset("here/letkf_seed3.nc")["time"][:]) > 0)
