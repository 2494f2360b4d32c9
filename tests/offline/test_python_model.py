"""Models in Python: a function of a Dataset in place of a command, bit for bit the command that does the same."""

from __future__ import annotations

import shlex
import sys

import numpy as np
import pytest
import xarray as xr

from ensf import ETKF, Smoother
from ensf.cli import main
from ensf.filters import EnKF
from ensf.offline import cycle as external
from ensf.offline.cycle import Command, Cycling
from ensf.runs.owner import OWNER

MODULE = """
import os
import sys

import numpy as np
import xarray as xr

def advance(dataset, start, duration, seed):
    noise = np.random.default_rng(seed).standard_normal(dataset.q.shape)
    return dataset.assign(q=dataset.q.copy(data=0.9 * np.roll(dataset.q.values, 1, axis=-1) + 0.1 * noise + start))

def all_words(dataset, **words):
    assert set(words) == {"start", "end", "duration", "seed", "member", "cycle"} and words["end"] == 7.5
    assert os.environ["OMP_NUM_THREADS"] == "1" and "ensf" not in sys.modules
    return advance(dataset, words["start"], words["duration"], words["seed"])

def ill(dataset):
    raise ArithmeticError("the time step is too long")

def once(dataset, member):
    if member == 2 and not os.path.exists("FOLDER/tried"):
        open("FOLDER/tried", "w").close()
        ill(dataset)
    return dataset

def lame(dataset, member):
    return ill(dataset) if member == 2 else dataset

def number(dataset):
    return 3

def nothing_given():
    pass

async def later(dataset):
    return dataset

if __name__ == "__main__":
    source, target, start, duration, seed = sys.argv[1:]
    advance(xr.load_dataset(source), float(start), float(duration), int(seed)).to_netcdf(target)
"""


@pytest.fixture
def place(tmp_path):
    """A model, initial members, a table per cycle."""
    (tmp_path / "toy_model.py").write_text(MODULE.replace("FOLDER", str(tmp_path)))
    (tmp_path / "broken.py").write_text("\ndef f(dataset) return\n")
    (tmp_path / "leaving.py").write_text("1 / 0\n")
    rng = np.random.default_rng(3)
    (tmp_path / "initial").mkdir()
    grid = {"y": ("y", np.arange(3.0), {"axis": "Y"}), "x": ("x", np.arange(4.0), {"axis": "X"})}
    for number in (1, 2, 3):
        state = xr.Dataset({"q": (("y", "x"), rng.standard_normal((3, 4)))}, grid)
        state.to_netcdf(tmp_path / "initial" / f"m{number:02d}.nc")
    for cycle in (1, 2):
        (tmp_path / f"obs_{cycle}.csv").write_text("variable,value,error,time,y,x\nq,0.3,0.5,2020-01-01,1,2\n")
    return tmp_path


def run(folder, output="out", resume=False, model=None, show=None, overwrite=False, **changes):
    lines = []
    settings = {"initial": "initial/m{member:02d}.nc", "observations": "obs_{cycle}.csv", "folder": str(folder)}
    numbers = {"interval": 6.0, "start": "1.5"}
    cycling = Cycling(Command(**model), **{"method": EnKF(), **settings, **numbers, **changes})
    how = {"resume": resume, "overwrite": overwrite, "show": show or lines.append}
    return external.run(cycling, folder / output, **how), lines


def contents(directory):
    """All files of the cycles, and the summary."""
    names = sorted(path for path in directory.rglob("*") if path.is_file() and path.name not in ("restart.npz", OWNER))
    return {str(path.relative_to(directory)): path.read_bytes() for path in names}


def python(name, **changes):
    return {"model": {"command": "", "model": f"toy_model:{name}", "jobs": 2, **changes}, "members": 2, "cycles": 2}


@pytest.mark.slow
def test_it_is_the_command_that_does_the_same(place):
    command = f"{shlex.quote(sys.executable)} {place}/toy_model.py {{input}} {{output}} {{start}} {{duration}} {{seed}}"
    run(place, output="commanded", model={"command": command, "jobs": 2}, members=2, cycles=1)
    run(place, output="called", **python("advance") | {"cycles": 1})
    assert contents(place / "called") == contents(place / "commanded")


@pytest.mark.slow
def test_it_takes_all_words_and_few_threads_and_no_ensf(place, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    run(place, **python("all_words", jobs=10_000) | {"cycles": 1})


@pytest.mark.slow
def test_failures_retries_and_members_left_are_as_with_a_command(place):
    with pytest.raises(OSError, match=r"failed in cycle 1: it ended with exit status 1, and said last: .*too long"):
        run(place, **python("ill"))
    with pytest.raises(OSError, match=r"exit status 1, and said last: the model gave a int: give an xarray.Dataset"):
        run(place, output="number", **python("number"))
    records, _ = run(place, output="once", **python("once", retries=1) | {"cycles": 1})
    assert records[0]["failed"] == [] and (place / "tried").exists()
    records, lines = run(place, output="lame", **python("lame") | {"cycles": 1, "members": 3, "min_members": 2})
    assert records[0]["failed"] == [2] and "goes on without member 2" in lines[0]


@pytest.mark.slow
def test_it_is_resumed_bit_for_bit(place):
    run(place, output="whole", **python("advance"))
    run(place, output="parts", **python("advance") | {"cycles": 1})
    run(place, output="parts", resume=True, **python("advance"))
    assert contents(place / "parts") == contents(place / "whole")


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("toy_model:nothing", "module toy_model has no function nothing: check model toy_model:nothing"),
        ("no_such_module:f", "module no_such_module of model no_such_module:f cannot be imported"),
        ("toy_model:np.pi", "np.pi of module toy_model is no function"),
        ("broken:f", "broken.py, line 2: expected ':': mend it, for model broken:f"),
        ("leaving:f", "leaving.py, line 1: module leaving of model leaving:f cannot be imported (ZeroDivisionError"),
        ("toy_model:nothing_given", "toy_model:nothing_given cannot be called with a Dataset and start, end, duration"),
        ("toy_model:later", "the function of model toy_model:later is async: give one that returns the Dataset"),
    ],
)
def test_a_function_that_is_not_there_is_refused_before_anything_is_written(place, model, sentence, capsys):
    text = 'initial = "initial/m{member:02d}.nc"\nobservations = "obs_{cycle}.csv"\nmethod = "ETKF()"\n'
    (place / "config.toml").write_text(f'model = "{model}"\nmembers = 2\ncycles = 1\ninterval = 6.0\n{text}')
    for more in (["--dry-run"], []):
        assert main(["cycle", str(place / "config.toml"), *more]) == 2
        assert sentence in capsys.readouterr().err
    assert not list((place / "cycles").rglob("*.nc")) and not (place / "cycles" / "restart.npz").exists()


def test_a_function_takes_the_parameters_by_their_names(place, capsys):
    with open(place / "toy_model.py", "a") as module:
        module.write("\ndef with_rate(dataset, rate):\n    return dataset.assign(q=rate + 0.0 * dataset.q)\n")
    text = 'initial = "initial/m{member:02d}.nc"\nobservations = "obs_{cycle}.csv"\nmethod = "ETKF()"\n'
    text += "members = 2\ncycles = 1\n"
    for function, code in (("advance", 2), ("with_rate", 0)):
        settings = (
            f'model = "toy_model:{function}"\ninterval = 6.0\n{text}[parameters.rate]\nvalue = 0.7\nspread = 0.1\n'
        )
        (place / "config.toml").write_text(settings)
        assert main(["cycle", str(place / "config.toml"), *(["--dry-run"] if code else [])]) == code
    assert (
        "no member would get the parameter 'rate': let the function of model toy_model:advance"
        in capsys.readouterr().err
    )
    with (place / "cycles" / "cycle_0001" / "parameters.csv").open() as file:
        ran_with = float(file.readlines()[1].split(",")[1])
    with xr.open_dataset(place / "cycles" / "cycle_0001" / "forecast" / "member_0001.nc") as forecast:
        assert float(forecast.q.mean()) == pytest.approx(ran_with)


def test_a_model_is_one_function_and_no_command_beside_it():
    with pytest.raises(ValueError, match="is no function of a module: give package.module:function"):
        Command(model="toy_model.advance")
    with pytest.raises(ValueError, match="give one of them"):
        Command("cp {input} {output}", model="toy_model:advance")
    with pytest.raises(ValueError, match="or model, as package.module:function"):
        Command()


def test_a_configuration_with_a_model_runs(place, capsys):
    text = 'initial = "initial/m{member:02d}.nc"\nobservations = "obs_{cycle}.csv"\nmethod = "ETKF()"\n'
    (place / "config.toml").write_text(f'model = "toy_model:advance"\nmembers = 2\ncycles = 1\ninterval = 6.0\n{text}')
    assert main(["cycle", str(place / "config.toml"), "--dry-run"]) == 0
    assert "forecast of member 1: toy_model:advance" in capsys.readouterr().out
    assert main(["cycle", str(place / "config.toml")]) == 0
    assert len(list((place / "cycles" / "cycle_0001" / "analysis").glob("member_*.nc"))) == 2


def test_a_limit_of_memory_that_is_too_small_is_told_before_the_first_forecast(place):
    cycling = Cycling(
        Command(model="toy_model:advance"),
        initial="initial/m{member:02d}.nc",
        observations="obs_{cycle}.csv",
        folder=str(place),
        members=2,
        cycles=2,
        interval=6.0,
        method=ETKF(),
    )
    for way in (external.plan, external.run):
        for limit, message in ((0.1, "memory_limit is 0.1 GB but one part"), (-1.0, "memory_limit is -1: give GB")):
            with pytest.raises(ValueError, match=message):
                way(cycling, place / "out", memory_limit=limit)
    assert not list((place / "out").glob("cycle*"))


@pytest.mark.filterwarnings("ignore:Consolidated metadata is", "ignore:Failed to open Zarr store with")
def test_members_may_be_stores(place):
    """With failed members that are replaced, earlier states, and a run that was stopped."""
    pytest.importorskip("zarr")
    for path in (place / "initial").glob("*.nc"):
        xr.load_dataset(path).to_zarr(path.with_suffix(".zarr"), zarr_format=2 if path.stem == "m01" else 3)
    command = "sh -c 'test {member} -ne 2 && cp -r {input} {output}'"
    asked = {"model": {"command": command}, "members": 3, "cycles": 2, "method": Smoother(ETKF(), 1)}
    asked |= {"min_members": 2, "replace_failed": True, "check_time": False}
    stores = {**asked, "initial": "initial/m{member:02d}.zarr"}
    run(place, "files", **asked)

    def stop(line):
        if line.startswith("cycle 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(place, "stores", show=stop, **stores)
    run(place, "stores", resume=True, **stores)
    paths = [path.relative_to(place / "files") for path in (place / "files").rglob("member_*.nc")]
    assert len(paths) == 13
    for path in paths:
        store = (place / "stores" / path).with_suffix(".zarr")
        xr.testing.assert_equal(xr.load_dataset(store, engine="zarr"), xr.load_dataset(place / "files" / path))
        assert path.stem == "member_0002" or (store / ".zgroup").exists() == (path.stem == "member_0001")
    assert len(list((place / "stores").rglob("member_*.zarr"))) == len(paths)
    run(place, "stores", overwrite=True, cycles=1, **{key: stores[key] for key in stores if key != "cycles"})
    assert not (place / "stores" / "cycle_0002").exists()


@pytest.mark.slow
def test_a_model_in_python_takes_stores(place):
    pytest.importorskip("zarr")
    for path in (place / "initial").glob("*.nc"):
        xr.load_dataset(path).to_zarr(path.with_suffix(".zarr"), zarr_format=2 if path.stem == "m01" else 3)
    run(place, "files", **python("advance"))
    run(place, "stores", **python("advance"), initial="initial/m{member:02d}.zarr")
    for member in (1, 2):
        store = place / "stores" / "cycle_0002" / "analysis" / f"member_{member:04d}.zarr"
        made = xr.load_dataset(store, engine="zarr", consolidated=False)
        file = place / "files" / store.relative_to(place / "stores").with_suffix(".nc")
        xr.testing.assert_equal(made, xr.load_dataset(file))
        assert (store / ".zgroup").exists() == (member == 1)
