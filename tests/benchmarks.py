"""Timings that the page `docs/benchmarks.md` shows: `python tests/benchmarks.py [SECTION ...]` prints its tables.

Every row stands beside another that does the same work in the same run, and is the fastest of a few repeats. Sections:

    places     a place of LETKF and LETSF, in lockstep beside LAPACK, one thread
    step       a step of the score filter beside a plain one in NumPy, one thread
    size       the score filter from 10^4 variables, time and peak memory, each in a process of its own
    workers    ensf analyse by one process and by two workers
    million    a cycle of lorenz96_million: model and analysis apart
    dapper     EnKF, ETKF and LETKF of lorenz96_sakov2008 beside DAPPER's, if an interpreter has it
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numba
import numpy as np
import xarray as xr

from ensf import experiments
from ensf.diffusion import LinearSchedule, MiniBatchScore, PairedScore, ReverseSDE
from ensf.experiments.lorenz96_million import million
from ensf.filters import ETKF, LETKF, EnKF, EnSF
from ensf.filters.kalman import loops
from ensf.filters.letsf.flow import exponential_step
from ensf.localization import Patches, periodic_line
from ensf.observations import Identity, Observation, Pointwise, arctan
from ensf.twin import Method
from ensf.wrappers import AnalysisInflation, Rotation

MEMBERS = 20


def fastest(work: Callable[[], object], repeats: int = 3) -> float:
    """Seconds of processor of the fastest of some calls after a first one, which compiles."""
    work()
    seconds = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return min(seconds)


def table(*rows: tuple[object, ...]) -> None:
    """Print rows as a table in Markdown; the first is its head."""
    head, *others = [[f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    for row in (head, ["---"] * len(head), *others):
        print("| " + " | ".join(row) + " |")
    print()


# --- places ----------------------------------------------------------------------------------------------


def patches_on_a_line(places: int, observations: int, rng: np.random.Generator) -> Patches:
    index = (np.arange(places)[:, None] + np.arange(observations)).ravel()
    weight = rng.uniform(0.01, 1.0, index.size)
    count = np.arange(places + 1) * observations
    return Patches(np.arange(places)[:, None], count, index, 1 - weight, weight)


def by_lapack(anomalies: np.ndarray, rows: np.ndarray, start: float, end: float, patches: Patches) -> None:
    increment, freedom = np.zeros_like(anomalies), np.zeros(anomalies.shape[1])
    chosen = np.arange(len(patches.variables))
    loops.places(
        anomalies, rows, patches.variables, patches.indptr, patches.index, patches.weight, start, end, chosen,
        increment, freedom,
    )  # fmt: skip


def in_steps(
    one: Callable, steps: list[tuple[float, float]], anomalies: np.ndarray, rows: np.ndarray, near: Patches
) -> None:
    for start, end in steps:
        one(anomalies, rows, start, end, near)


def places(_: argparse.Namespace) -> None:
    numba.set_num_threads(1)
    rng = np.random.default_rng(0)
    rows = [("members", "observations", "filter", "lockstep, us a place", "LAPACK, us a place", "ratio")]
    for members, observations in ((20, 20), (20, 29), (40, 20), (40, 100), (100, 100)):
        count = 20_000 // members
        near = patches_on_a_line(count, observations, rng)
        anomalies = rng.standard_normal((members, count)) / math.sqrt(members - 1)
        seen = rng.standard_normal((count + observations, 2 * members)) / math.sqrt(members - 1)
        for name, columns, steps in (
            ("LETKF", members + 1, [(0.0, 1.0)]),
            ("LETSF", 2 * members, [(0.0, 0.7), (0.7, 1.0)]),
        ):
            local = np.ascontiguousarray(seen[:, :columns])
            ours, lapack = (
                fastest(partial(in_steps, one, steps, anomalies, local, near)) for one in (exponential_step, by_lapack)
            )
            rows.append((members, observations, name, 1e6 * ours / count, 1e6 * lapack / count, lapack / ours))
    table(*rows)


# --- a step of the score filter --------------------------------------------------------------------------


def plain_step(z, prior, value, error, t, dt, schedule, rng, sensor):
    """What a reader of the paper writes."""
    alpha, variance, diffusion = schedule.alpha(t), schedule.variance(t), schedule.diffusion(t)
    seen, slope = (z, 1) if sensor == "identity" else (np.arctan(z), 1 / (1 + z * z))
    score = (alpha * prior - z) / variance + (1 - t) * (value - seen) / error**2 * slope
    noise = rng.standard_normal(z.shape, dtype=z.dtype)
    return z - dt * (schedule.drift(t) * z - diffusion * score) + math.sqrt(dt * diffusion) * noise


def step(_: argparse.Namespace) -> None:
    """A step is the difference of 30 and 10, so that start and checks, which are no steps, drop out."""
    numba.set_num_threads(1)
    rng, schedule = np.random.default_rng(0), LinearSchedule(0.05, 0.0)
    prior = rng.standard_normal((MEMBERS, 500_000), dtype=np.float32)
    rows = [("sensor", "form", "ms a step of 10^7 numbers, single precision", "ratio")]
    for name, operator in (("identity", Identity()), ("arctan", Pointwise(arctan))):
        value = operator(prior[0])
        observation = Observation(value, operator, 1.0)
        z = rng.standard_normal(prior.shape, dtype=np.float32)
        base = 1e3 * fastest(partial(plain_step, z, prior, value, 1.0, 0.5, 0.01, schedule, rng, name), 2)
        rows.append((name, "NumPy", base, 1.0))
        for score, form in ((PairedScore(), "paired"), (MiniBatchScore(5), "mini-batches of 5")):
            few, many = (
                fastest(partial(EnSF(schedule, score, sampler=ReverseSDE(n)).analyse, prior, observation, 1), 2)
                for n in (10, 30)
            )
            mine = 1e3 * (many - few) / 20
            rows.append((name, form, mine, base / mine))
    table(*rows)


def score_filter_at(size: int) -> tuple[float, float, float]:
    """Seconds, and peak memory before and during an analysis of 20 steps in MB."""
    rng = np.random.default_rng(0)
    prior = rng.standard_normal((MEMBERS, size), dtype=np.float32)
    observation = Observation(np.arctan(prior[0]), Pointwise(arctan), 1.0)
    method = EnSF(sampler=ReverseSDE(20))
    few = Observation(observation.value[:600], Pointwise(arctan), 1.0)
    method.analyse(np.ascontiguousarray(prior[:, :600]), few, 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    started = time.process_time()
    method.analyse(prior, observation, 1)
    return time.process_time() - started, before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def size(options: argparse.Namespace) -> None:
    rows = [("variables", "s, 20 steps", "ns a number and step", "members, MB", "peak above what was there, MB")]
    for exponent in range(4, options.largest + 1):
        many = 10**exponent
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            seconds, before, peak = process.submit(score_filter_at, many).result()
        numbers = MEMBERS * many
        rows.append((f"10^{exponent}", seconds, 1e9 * seconds / numbers / 20, numbers * 4 / 1e6, peak - before))
    table(*rows)


# --- workers ---------------------------------------------------------------------------------------------


def forecast(folder: Path, rows: int, columns: int, rng: np.random.Generator) -> None:
    """Files of 20 members, and a table of 600 observations."""
    lat, lon = np.linspace(-80, 80, rows), np.arange(columns) * 360 / columns
    for member in range(MEMBERS):
        field = 280 + rng.normal() + rng.standard_normal((rows, columns), dtype=np.float32)
        grid = {"lat": ("lat", lat, {"units": "degrees_north"}), "lon": ("lon", lon, {"units": "degrees_east"})}
        fields = {"t": (("lat", "lon"), field.astype(np.float32), {"units": "K"})}
        xr.Dataset(fields, grid).to_netcdf(folder / f"forecast_{member:02d}.nc")
    places = rng.uniform((-75, 0), (75, 359), (600, 2))
    lines = [f"t,{280 + rng.normal():.3f},0.5,2024-01-31,{y:.3f},{x:.3f}" for y, x in places]
    (folder / "obs.csv").write_text("variable,value,error,time,lat,lon\n" + "\n".join(lines) + "\n")


def timed(command: list[str]) -> tuple[float, float, float]:
    """Seconds, seconds of processor and peak memory in MB of a command and all that it starts."""
    script = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3)"
    )
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", script, *command], check=True, capture_output=True, text=True)
    cpu, peak = map(float, done.stdout.split())
    return time.perf_counter() - began, cpu, peak


def workers(options: argparse.Namespace) -> None:
    """What two workers add to the processor time of one; their efficiency is at most the ratio."""
    program = [sys.executable, "-c", "import sys; from ensf.cli import main; sys.exit(main(sys.argv[1:]))"]
    method = ["--method", "LETKF(Localization(Sphere(), 500.0))"]
    rows = [("ensf analyse, 20 members", "engine", "s", "s of processor", "peak of one process, MB", "ratio")]
    with tempfile.TemporaryDirectory() as name:
        folder, first = Path(name), 0.0
        forecast(folder, 1000, options.values // 1000, np.random.default_rng(1))
        for engine in ("serial", "processes:2"):
            files = ["--prior", f"{folder}/forecast_*.nc", "--observations", f"{folder}/obs.csv"]
            where = ["--output", f"{folder}/{engine.replace(':', '_')}", "--engine", engine]
            seconds, cpu, peak = timed([*program, "analyse", *files, *method, *where])
            first = first or cpu
            rows.append((f"{options.values} values", engine, seconds, cpu, peak, first / cpu))
    table(*rows)


# --- cycles, and another package -------------------------------------------------------------------------


def cycle_at(many: int, name: str) -> tuple[float, float, float]:
    """Processor seconds of model and analysis of the second cycle, and the peak memory of the process in MB."""
    warnings.simplefilter("ignore")
    page = replace(million(many), cycles=2)
    *_, last = page.run(replace(page.methods[name], members=MEMBERS), 1)
    return last.seconds_forecast, last.seconds_analysis, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def cycles(options: argparse.Namespace) -> None:
    rows = [("method, 20 members", "variables", "model, s of processor", "analysis, s of processor", "peak memory, MB")]
    for name in ("ensf_20", "cmame", "letkf", "letsf"):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            rows.append((name, options.variables, *process.submit(cycle_at, options.variables, name).result()))
    table(*rows)


DAPPER = """
import sys, time
import dapper as dpr, dapper.tools.progressbar
dapper.tools.progressbar.disable_progbar = True
from dapper.da_methods import EnKF, LETKF
from dapper.mods.Lorenz96.sakov2008 import HMM
import dapper.tools.liveplotting
HMM.tseq.T = 50.0
HMM.liveplotters = []
dpr.set_seed(1)
xx, yy = HMM.simulate()
for name, method in (("enkf", EnKF("PertObs", N=40, infl=1.06)), ("etkf", EnKF("Sqrt", N=40, infl=1.02, rot=True)),
                     ("letkf", LETKF(N=7, infl=1.04, rot=True, loc_rad=4))):
    started = time.process_time()
    method.assimilate(HMM, xx, yy, liveplots=False)
    print("MS", name, 1e3 * (time.process_time() - started) / HMM.tseq.Ko)
"""


def dapper(options: argparse.Namespace) -> None:
    found = subprocess.run([options.dapper, "-c", DAPPER], capture_output=True, text=True)
    if found.returncode:
        last = found.stderr.strip().splitlines()[-1:] or [""]
        print(f"no timings of DAPPER ({last[0]}): give --dapper the Python of an environment that has it\n")
        return
    theirs = {line.split()[1]: float(line.split()[2]) for line in found.stdout.splitlines() if line.startswith("MS ")}
    page = replace(experiments.load("lorenz96_sakov2008"), cycles=1000)
    line = periodic_line(40, half_width=7.3)
    ours = {
        "enkf": Method(AnalysisInflation(EnKF(), 1.06), 40),
        "etkf": Method(AnalysisInflation(Rotation(ETKF()), 1.02), 40),
        "letkf": Method(AnalysisInflation(Rotation(LETKF(line)), 1.04), 7),
    }
    rows = [
        ("lorenz96_sakov2008, 1000 cycles", "ms of processor a cycle", "DAPPER 1.7.1, with its diagnostics", "ratio")
    ]
    for name, method in ours.items():
        mine = 1e3 * fastest(lambda method=method: [None for _ in page.run(method, 1)], 1) / 1000
        rows.append((name, mine, theirs[name], theirs[name] / mine))
    table(*rows)


SECTIONS = {"places": places, "step": step, "size": size, "workers": workers, "million": cycles, "dapper": dapper}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], default=list(SECTIONS), metavar="SECTION")
    parser.add_argument("--largest", type=int, default=6, help="exponent of the largest size, 7 needs 3 GB")
    parser.add_argument("--values", type=int, default=10**6, help="values of the state of the files of `workers`")
    parser.add_argument("--variables", type=int, default=10**6, help="variables of the cycle of lorenz96_million")
    parser.add_argument("--dapper", default=sys.executable, help="Python of an environment with DAPPER")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in options.sections or SECTIONS:
        print(f"{name}\n")
        SECTIONS[name](options)


if __name__ == "__main__":
    main()
