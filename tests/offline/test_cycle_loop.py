"""The model in the loop on files: the numbers of arrays; a program is run again as a model in Python is."""

from __future__ import annotations

import importlib.util
import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from types import ModuleType

import netCDF4
import numpy as np
import pytest
import xarray as xr

from ensf import letsf
from ensf.cli import main
from ensf.dataset import Log
from ensf.dataset.methods import Recommended
from ensf.filters import LETSF
from ensf.localization import periodic_line
from ensf.observations import Identity, Observation, Select, Window
from ensf.offline import Offline
from ensf.offline import cycle as external
from ensf.offline.cycle import Command, Cycling, Estimated
from ensf.runs.owner import OWNER
from ensf.twin import GaussianStart, Network, Streams, twin
from ensf.wrappers import AdaptiveSpread, ModelInTheLoop, Parameter, Relinearised

SIZE, MEMBERS, CYCLES, INTERVAL, SEED = 12, 6, 2, 0.5, 7
LINE = periodic_line(SIZE, half_width=3.0)
LOOP = letsf(LINE, loop=True, max_pieces=2)

MODULE = """
import os
import random
import struct
import sys

SIZE = 12

def slope(u):
    return [(u[(k + 1) % SIZE] - u[k - 2]) * u[k - 1] - u[k] + 8.0 for k in range(SIZE)]

def lorenz(u, duration, step=0.05):
    u = list(map(float, u))
    for _ in range(round(duration / step)):
        a = slope(u)
        b = slope([x + 0.5 * step * d for x, d in zip(u, a)])
        c = slope([x + 0.5 * step * d for x, d in zip(u, b)])
        d = slope([x + step * e for x, e in zip(u, c)])
        u = [x + step / 6 * (p + 2 * q + 2 * r + s) for x, p, q, r, s in zip(u, a, b, c, d)]
    return u

def model(dataset, duration):
    return dataset.assign(u=dataset.u.copy(data=lorenz(dataset.u.values, duration)))

def rounded(dataset, duration):
    values = [5 + one / 200 for one in lorenz([200 * (float(one) - 5) for one in dataset.u.values], duration)]
    return dataset.assign(u=dataset.u.copy(data=values).astype("f4"))

def in_the_loop():
    return os.sep + os.path.join("runs", "loop") + os.sep in os.getcwd()

if __name__ == "__main__":
    source, target, duration, member, seed, *words = sys.argv[1:]
    with open("FOLDER/log.txt", "a") as log:
        log.write(f"{member} {seed} {in_the_loop()}\\n")
    if "ill" in words and member == "2" or "ill_in_loop" in words and member == "2" and in_the_loop():
        sys.exit("this member is ill")
    if "first_in_loop" in words and member == "1" and in_the_loop():
        sys.exit("the first is ill")
    if "once" in words and member == "3" and in_the_loop() and not os.path.exists("FOLDER/tried"):
        open("FOLDER/tried", "w").close()
        sys.exit("first time")
    with open(source, "rb") as file:
        content = file.read()
    values = lorenz(struct.unpack(f">{SIZE}d", content[-8 * SIZE:]), float(duration))
    if "noise" in words:
        draw = random.Random(int(seed))
        values = [value + draw.gauss(0.0, 0.3) for value in values]
    with open(target, "wb") as file:
        file.write(content[: -8 * SIZE] + struct.pack(f">{SIZE}d", *values))
"""


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A model, members at the start, a table per cycle."""
    folder = tmp_path_factory.mktemp("loop")
    (folder / "ring.py").write_text(MODULE)
    rng = np.random.default_rng(3)
    (folder / "initial").mkdir()
    ring = functions(folder)
    states = 3.0 + rng.standard_normal((MEMBERS + 1, SIZE))
    *members, truth = (ring.lorenz(state, 3.0) for state in states)
    for number, member in enumerate(members, 1):
        with netCDF4.Dataset(folder / "initial" / f"m{number}.nc", "w", format="NETCDF3_64BIT_OFFSET") as file:
            file.createDimension("x", SIZE)
            file.createVariable("x", "f8", ("x",))[:] = np.arange(SIZE)
            file["x"].axis = "X"
            file.createVariable("u", "f8", ("x",))[:] = member  # the last bytes of the file
    for cycle in range(1, CYCLES + 1):
        truth = ring.lorenz(truth, INTERVAL)
        rows = [f"u,{truth[k] + rng.standard_normal()!r},1.0,2020-01-01,{k}" for k in range(0, SIZE, 2)]
        rows = [row.replace("np.float64(", "").replace(")", "") for row in rows]
        (folder / f"obs_{cycle}.csv").write_text("\n".join(["variable,value,error,time,x", *rows]) + "\n")
    return folder


@pytest.fixture
def place(prepared, tmp_path):
    folder = tmp_path / "here"
    shutil.copytree(prepared, folder)
    (folder / "ring.py").write_text(MODULE.replace("FOLDER", str(folder)))
    return folder


def functions(folder):
    spec = importlib.util.spec_from_file_location("ring", folder / "ring.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def program(folder, *words):
    run = f"{shlex.quote(sys.executable)} -S {folder}/ring.py {{input}} {{output}} {{duration}} {{member}} {{seed}}"
    return {"command": " ".join([run, *words])}


def run(folder, model, output="out", resume=False, show=None, engine="serial", **changes):
    numbers = {"members": MEMBERS, "cycles": CYCLES, "interval": INTERVAL, "seed": SEED, "periods": {"x": 12.0}}
    paths = {"initial": "initial/m{member}.nc", "observations": "obs_{cycle}.csv", "folder": str(folder)}
    cycling = Cycling(Command(jobs=2, **model), **{"method": LOOP, **numbers, **paths, **changes})
    return external.run(cycling, folder / output, resume=resume, show=show or [].append, engine=engine)


def configure(folder, method):
    (folder / "cycle.toml").write_text(f"""
command = "{program(folder)["command"]}"
initial = "initial/m{{member}}.nc"
observations = "obs_{{cycle}}.csv"
method = "{method}"
members = {MEMBERS}
cycles = {CYCLES}
interval = {INTERVAL}
seed = {SEED}
periods = {{ x = 12.0 }}
jobs = 2
""")


def analysed(folder, cycle, members=range(1, MEMBERS + 1)):
    files = [folder / f"cycle_{cycle:04d}" / "analysis" / f"member_{member:04d}.nc" for member in members]
    return np.stack([xr.load_dataset(file).u.values for file in files])


def contents(directory):
    """All files of the cycles, and the summary."""
    names = sorted(path for path in directory.rglob("*") if path.is_file() and path.name not in ("restart.npz", OWNER))
    return {str(path.relative_to(directory)): path.read_bytes() for path in names}


def in_arrays(folder, method=LOOP):
    """Analyses of each cycle."""
    ring, rng = functions(folder), np.random.Generator(np.random.SFC64(np.random.SeedSequence(SEED)))
    state = np.stack([xr.load_dataset(folder / "initial" / f"m{k}.nc").u.values for k in range(1, MEMBERS + 1)])
    memory = None

    def ahead(states):
        return np.stack([ring.lorenz(one, INTERVAL) for one in states])

    for cycle in range(1, CYCLES + 1):
        rows = np.genfromtxt(folder / f"obs_{cycle}.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
        where = rows["x"].astype(int)
        end = ahead(state)
        observation = Observation(rows["value"], Select(where), error=1.0, position=rows["x"][:, None].astype(float))
        analysis = method.analyse(end, observation.within(Window(state, end, ahead)), rng, memory)
        state, memory = analysis.ensemble, analysis.memory
        yield analysis


def test_cycles_are_those_of_arrays_and_say_their_forecasts(place, capsys):
    start, lines = contents(place / "initial"), []
    records = run(place, program(place), show=lines.append)
    wanted = list(in_arrays(place))
    for cycle, one in enumerate(wanted, 1):
        np.testing.assert_allclose(analysed(place / "out", cycle), one.ensemble, rtol=1e-10, atol=1e-11)
    runs = [one.info["model_runs"] for one in wanted]
    assert [record["model_runs"] for record in records] == runs and max(runs) > 2
    assert json.loads((place / "out" / "summary.json").read_text()) == records
    assert f"{runs[0]:.3g} forecasts of the ensemble" in lines[0]
    ran = [line.split() for line in (place / "log.txt").read_text().splitlines()]
    assert len(ran) == round(MEMBERS * sum(runs))
    assert len({seed for _, seed, is_again in ran if is_again == "True"}) == CYCLES  # one in each loop, for all members
    assert contents(place / "initial") == start and not list(place.rglob("runs"))
    with xr.open_dataset(place / "out" / "statistics.nc") as statistics:
        assert statistics.model_runs.values.tolist() == runs
    with xr.open_dataset(place / "out" / "cycle_0002" / "fields.nc") as fields:
        np.testing.assert_allclose(fields.u_inflation, wanted[1].info["inflation"], rtol=1e-8)
    assert main(["report", str(place / "out"), "--html"]) == 0
    assert "out/forecasts.png" in capsys.readouterr().out
    assert "forecasts of the ensemble in a cycle: " in (place / "out" / "report.html").read_text()


@dataclass(frozen=True)
class Ring:
    """The program's model in arrays."""

    ring: ModuleType
    shape = (SIZE,)
    dims = ("x",)

    def advance(self, states, time, duration, rng=None):
        return np.apply_along_axis(self.ring.lorenz, -1, states, duration)


def test_cycles_are_those_of_a_twin_experiment(place):
    method = ModelInTheLoop(AdaptiveSpread(Relinearised(LETSF(LINE), 2), LINE))  # draws nothing
    model = Ring(functions(place))
    spun = model.advance(3.0 + np.sin(np.arange(SIZE) ** 2.0), 0.0, 3.0)
    start, network = GaussianStart(spun, 1.0), Network(Identity(), 0.5)
    how = {"members": MEMBERS, "cycles": CYCLES, "interval": INTERVAL}
    cycles = list(twin(model, method, network, start, streams=Streams.spawn(1), **how))
    for number, state in enumerate(start.draw(MEMBERS, Streams.spawn(1))[1], 1):
        with netCDF4.Dataset(place / "initial" / f"m{number}.nc", "r+") as file:
            file["u"][:] = state
    for cycle in cycles:
        rows = [f"u,{value},0.5,2020-01-01,{k}" for k, value in enumerate(cycle.observation.value.tolist())]
        path = place / f"obs_{cycle.index + 1}.csv"
        path.write_text("\n".join(["variable,value,error,time,x", *rows]) + "\n")
    records = run(place, program(place), method=method)
    assert [record["model_runs"] for record in records] == [one.analysis.info["model_runs"] for one in cycles]
    assert records[0]["model_runs"] > 2
    for number, one in enumerate(cycles, 1):
        np.testing.assert_allclose(analysed(place / "out", number), one.analysis.ensemble, rtol=1e-9, atol=1e-10)


@pytest.mark.slow
def test_a_model_in_python_is_the_command_that_does_the_same(place):
    method = ModelInTheLoop(Relinearised(LETSF(LINE), max_pieces=1))
    records = run(place, program(place), "commanded", method=method, cycles=1)
    assert run(place, {"model": "ring:model"}, "called", method=method, cycles=1) == records
    np.testing.assert_array_equal(analysed(place / "called", 1), analysed(place / "commanded", 1))
    assert records[0]["model_runs"] > 2


def test_it_is_resumed_bit_for_bit_and_after_it_broke_in_the_loop(place):
    run(place, program(place), "whole")
    run(place, program(place), "parts", cycles=1)
    run(place, program(place), "parts", resume=True)
    assert contents(place / "parts") == contents(place / "whole")
    with pytest.raises(
        OSError, match=r"member 3 failed in cycle 1: in the loop it ended with .* first time; see .*loop"
    ):
        run(place, program(place, "once"), "broken")
    assert list((place / "broken" / "cycle_0001" / "runs" / "loop" / "runs").glob("member_0003_*"))
    run(place, program(place, "once"), "broken", resume=True)
    broken = contents(place / "broken")
    assert broken == contents(place / "whole")


def test_a_run_that_is_killed_in_the_loop_goes_on(place):
    configure(place, LOOP)
    command = [sys.executable, "-c", "from ensf.cli import main; raise SystemExit(main())", "cycle"]
    process = subprocess.Popen([*command, str(place / "cycle.toml")], stderr=subprocess.DEVNULL)
    while not list(place.glob("cycles/cycle_0001/runs/loop/forecast/member_*.nc")) and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -signal.SIGKILL and not (place / "cycles" / "cycle_0001" / "observations.csv").exists()
    assert main(["cycle", str(place / "cycle.toml"), "--resume"]) == 0
    run(place, program(place), "whole")
    assert contents(place / "cycles") == contents(place / "whole")


def test_it_is_the_same_in_other_processes(place):
    run(place, program(place), "whole", cycles=1)
    run(place, program(place), "elsewhere", cycles=1, engine="processes:2")
    assert contents(place / "elsewhere") == contents(place / "whole")


def test_a_member_that_fails_in_the_loop_is_as_one_that_failed_before(place):
    lines = []
    early = run(place, program(place, "ill"), "early", min_members=3)
    late = run(place, program(place, "ill_in_loop"), "late", min_members=3, show=lines.append)
    assert early == late and late[0]["failed"] == [2]
    assert "goes on without member 2: in the loop it ended with exit status 1, and said last: this member" in lines[0]
    left = [1, 3, 4, 5, 6]
    np.testing.assert_array_equal(analysed(place / "early", 2, left), analysed(place / "late", 2, left))
    assert not (place / "late" / "cycle_0001" / "runs" / "loop").exists()
    replaced = [
        run(place, program(place, word), f"replaced_{word}", min_members=3, replace_failed=True, cycles=1)
        for word in ("ill", "ill_in_loop")
    ]
    assert replaced[0] == replaced[1]
    np.testing.assert_array_equal(analysed(place / "replaced_ill", 1), analysed(place / "replaced_ill_in_loop", 1))


def test_the_first_member_that_fails_in_the_loop_alone_is_no_mean(place):
    """It is forecast again by itself first, to see whether the model has noise."""
    lines = []
    records = run(place, program(place, "first_in_loop"), min_members=3, show=lines.append)
    assert [record["failed"] for record in records] == [[1], []]
    assert "goes on without member 1: in the loop it ended with" in lines[0]


def test_rounding_of_transforms_is_no_noise_of_the_model(place):
    """Members are stored in single precision, and analysed as logarithms, whose inverse rounds otherwise."""
    logarithms = {"variables": {"u": Log()}, "method": ModelInTheLoop(Relinearised(LETSF(LINE), max_pieces=0))}
    for path in (place / "initial").glob("*.nc"):
        file = xr.load_dataset(path)
        file.assign(u=(5 + file.u / 200).astype("f4")).to_netcdf(path, format="NETCDF3_64BIT")
    (place / "obs_1.csv").write_text("variable,value,error,time,x\nu,5.02,0.01,2020-01-01,3\n")
    assert run(place, {"model": "ring:rounded"}, cycles=1, **logarithms)[0]["model_runs"] == 1 + 2 / MEMBERS


def test_noise_of_the_model_costs_a_forecast_and_stays_with_its_member(place):
    straight = ModelInTheLoop(Relinearised(LETSF(LINE), max_pieces=0))
    noisy = run(place, program(place, "noise"), method=straight, cycles=1)
    assert noisy[0]["model_runs"] == pytest.approx(2 + 2 / MEMBERS)
    run(place, program(place, "noise"), "plain", method=LETSF(LINE), cycles=1)
    np.testing.assert_allclose(analysed(place / "out", 1), analysed(place / "plain", 1), atol=1e-12)


def test_a_dry_run_and_refusals(place, capsys):
    configure(place, "letsf(loop=True, max_pieces=1)")
    assert main(["cycle", str(place / "cycle.toml"), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "model in the loop: at most 1 more forecasts of the members in a cycle" in printed
    assert not (place / "log.txt").exists()
    with pytest.raises(ValueError, match="one for each time: leave by_time out, or the loop"):
        run(place, program(place) | {"by_time": "hist_*.nc"}, "refused")
    rate = {"parameters": {"rate": Estimated(Parameter(), 1.0, 0.1)}, "method": Recommended({"loop": True})}
    with pytest.raises(ValueError, match="needs whole states and has no update for parameters"):
        run(place, program(place, "{rate}") | {"words": ("rate",)}, "refused", **rate)
    prior = [str(place / "initial" / f"m{member}.nc") for member in range(1, MEMBERS + 1)]
    sentence = "has the model in the loop, but there is no model here: use ensf cycle, or in Python"
    with pytest.raises(ValueError, match=sentence):
        Offline(LOOP, periods={"x": 12.0}).prepare(prior, [place / "obs_1.csv"], place / "analysis")
    files = ["--prior", *prior, "--observations", str(place / "obs_1.csv"), "--output", str(place / "analysis")]
    assert main(["analyse", *files, "--method", "letsf(loop=True)", "--dry-run"]) != 0
    assert sentence in capsys.readouterr().err
