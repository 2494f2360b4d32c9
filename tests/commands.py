"""The commands that write files: what each needs, its words, and what it leaves, without dates and seconds."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import external_model
import netCDF4
import numpy as np
import offline_files
import xarray as xr

MODEL = shlex.join([sys.executable, external_model.__file__]) + " {input} {output} {start} {duration} {seed}"
CONFIG = f"""
command = '''{MODEL}'''
members = 3
cycles = 2
interval = 6.0
initial = "initial/m{{member}}.nc"
observations = "obs_{{cycle}}.csv"
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
    for cycle in (1, 2):
        (folder / f"obs_{cycle}.csv").write_text("variable,value,error,time,y,x\nq,0.5,0.5,2020-01-01,1,2\n")
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
    if path.name.endswith(".restart.npz"):
        with np.load(path) as file:
            dated = ("tree", "journal.template")
            return {name: file[name].tobytes() for name in file.files if name not in dated and "seconds" not in name}
    return b"" if path.name == "restart.npz" else path.read_bytes()
