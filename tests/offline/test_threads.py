"""Many fast members at once: NetCDF is opened by one thread at a time, or the process ends with a signal."""

from __future__ import annotations

import subprocess
import sys

import netCDF4
import numpy as np
import pytest

MEMBERS = 20
CODE = """
import sys
from pathlib import Path
from ensf import ETKF
from ensf.offline.cycle import Command, Cycling, run

model = Command("cp {input} {output}", jobs=20)
cycling = Cycling(model, ETKF(), "start_{member}.nc", "obs_{cycle}.csv", members=20, cycles=2, interval=1.0)
for k in range(int(sys.argv[1])):
    run(cycling, Path(f"run_{k}"), show=lambda line: None)
print("done")
"""


@pytest.fixture
def folder(tmp_path, rng):
    for member in range(1, MEMBERS + 1):
        with netCDF4.Dataset(tmp_path / f"start_{member}.nc", "w") as file:
            file.createDimension("x", 8)
            file.createVariable("x", "f8", ("x",))[:] = np.arange(8.0)
            for name in "abcdef":
                file.createVariable(name, "f4", ("x",), zlib=True)[:] = rng.normal(size=8)
    for cycle in (1, 2):
        (tmp_path / f"obs_{cycle}.csv").write_text("variable,value,error,time,x,y\n")
    return tmp_path


@pytest.mark.parametrize("runs", [1, pytest.param(50, marks=pytest.mark.slow)])
def test_twenty_fast_members_do_not_crash(folder, runs):
    done = subprocess.run([sys.executable, "-c", CODE, str(runs)], cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "done\n"), f"{done.returncode}: {done.stderr[-2000:]}"
