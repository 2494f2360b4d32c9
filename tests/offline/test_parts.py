"""Parts of an analysis of files: the same bits in one part and in many, by any engine, after a killed worker too."""

import importlib.util
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr

from ensf import ETKF, Parameter
from ensf.dataset import Bounds, Log, Standardise
from ensf.offline import STAGES, Earlier, Offline, Replaced, Source, job, parts
from ensf.wrappers.failed_members import Replacement

MEMBERS, SIZES = 4, {"level": 2, "lat": 12, "lon": 18}
NEAR = "Localization(Sphere(), 2500.0)"
METHODS = {
    "letkf": f"LETKF({NEAR})",
    "rtps": f"RTPS(LETKF({NEAR}), 0.4)",
    "adaptive": f"AdaptiveInflation(LETKF({NEAR}), {NEAR})",
    "letsf": f"LETSF({NEAR})",
    "spread": f"AdaptiveSpread(LETSF({NEAR}), {NEAR})",
    "ensf": "EnSF()",
}
"""All see q through exp, as its logarithm is analysed: a LETSF takes several steps."""


def write(folder, rng, members=MEMBERS, single=False, kind="f4"):
    """A forecast of three variables, one of them packed and one positive, and a table."""
    grid = {
        "level": ("level", [1000.0, 500.0], {"units": "hPa", "positive": "down", "standard_name": "air_pressure"}),
        "lat": ("lat", np.linspace(-69.0, 69.0, 12), {"units": "degrees_north"}),
        "lon": ("lon", np.arange(0.0, 360.0, 20.0), {"units": "degrees_east"}),
    }
    datasets = []
    for _ in range(members):
        smooth = rng.normal(size=(2, 1, 1)) + 0.3 * rng.normal(size=tuple(SIZES.values()))
        fields = {
            "t": (("level", "lat", "lon"), (280 + smooth).astype(kind), {"units": "K", "valid_min": np.float32(200.0)}),
            "q": (("lat", "lon"), np.exp(smooth[0] - 5).astype(kind), {"units": "1"}),
            "p": (("lat", "lon"), 1000 + 10 * smooth[1], {"units": "hPa"}),
            "mask": (("lat", "lon"), np.zeros((12, 18), dtype="i4")),
        }
        datasets.append(xr.Dataset(fields, grid))
    packing = {"p": {"dtype": "i2", "scale_factor": 0.01, "add_offset": 1000.0, "_FillValue": -32768}}
    if single:
        xr.concat(datasets, "realization", data_vars=["t", "q", "p"]).to_netcdf(folder / "all.nc", encoding=packing)
    for number, dataset in enumerate([] if single else datasets):
        dataset.to_netcdf(folder / f"forecast_{number:02d}.nc", encoding=packing)
    lines = ["variable,value,error,time,lat,lon,z"]
    for lat, lon in rng.uniform((-65, 0), (65, 339), (20, 2)):
        lines.append(f"t,{280 + rng.normal():.3f},0.5,2024-01-31,{lat:.3f},{lon:.3f},1000")
        lines.append(f"q,{np.exp(rng.normal() - 5):.5f},0.002,2024-01-31,{lat:.3f},{lon:.3f},")
    (folder / "obs.csv").write_text("\n".join(lines) + "\n")


def method_of(name):
    from ensf.runs.recipe.reader import read_method

    return read_method(METHODS[name])


def analysed(folder, output, name, engine="serial", prior="forecast_*.nc", cycles=("one",), t=None, **options):
    """The files of analyses, each with the memory of the one before."""
    settings = {"t": t, "q": (Log(), Bounds(1e-6, 1.0)), "p": Standardise() if name == "rtps" else None}
    options = {"stages": ("analysis",), "statistics": (), **options}
    offline = Offline(method_of(name), settings, withhold=0.1, **options)
    memory = None
    for cycle in cycles:
        result = offline.analyse(
            f"{folder}/{prior}",
            f"{folder}/obs.csv",
            folder / output / cycle,
            rng=np.random.default_rng(3),
            memory=memory,
            engine=engine,
        )
        memory = result.memory
    return contents(folder / output)


def contents(folder):
    """All numbers and attributes of all files, but dates and histories."""
    found = {}
    for path in sorted(folder.rglob("*.nc")):
        with netCDF4.Dataset(path) as file:
            file.set_auto_mask(False)
            for name, variable in file.variables.items():
                variable.set_auto_maskandscale(False)
                values = variable[...]
                bits = values.tobytes() if values.dtype != object else repr(values.tolist()).encode()
                found[str(path.relative_to(folder)), name] = bits, str(variable.__dict__)
    assert found
    return found


CUT = (2016, 2016)
"""Parts of seven rows, of which there are two."""
HOW = {name: {"cycles": ("one", "two") if name in ("adaptive", "spread") else ("one",)} for name in METHODS}
HOW["letkf"] = {"stages": STAGES}
HOW["letsf"] = {"statistics": ("analysis",), **HOW["letsf"]}


@pytest.fixture
def many(monkeypatch):
    """Whatever follows is cut into parts."""
    return lambda: monkeypatch.setattr(parts, "VALUES", CUT)


@pytest.mark.filterwarnings("ignore::ensf.StiffnessWarning")
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in ("letsf", "spread") else [pytest.mark.slow]) for name in METHODS],
)
def test_parts_have_the_bits_of_the_whole(name, tmp_path, rng, many):
    write(tmp_path, rng)
    whole = analysed(tmp_path, "whole", name, **HOW[name])
    many()
    assert analysed(tmp_path, "cut", name, **HOW[name]) == whole
    assert {path.name for path in (tmp_path / "cut" / "one").iterdir()} == {
        path.name for path in (tmp_path / "whole" / "one").iterdir()
    }


def test_one_file_of_all_members_by_threads(tmp_path, rng, many):
    write(tmp_path, rng, single=True)
    whole = analysed(tmp_path, "whole", "rtps", prior="all.nc")
    many()
    with ThreadPoolExecutor(2) as pool:
        assert analysed(tmp_path, "threads", "rtps", pool, prior="all.nc") == whole


def test_members_that_failed_are_replaced_in_parts_and_earlier_states_too(tmp_path, rng, many):
    write(tmp_path, rng)
    replacement = Replacement.draw(np.array([True] * 3 + [False, True]), rng)
    names = ("forecast_new.nc",)

    def made(output, engine="serial"):
        paths = tuple(sorted(tmp_path.glob("forecast_*.nc")))
        offline = Offline(method_of("letkf"), {"t": None, "q": Log(), "p": None})
        how = {"earlier": (Earlier(paths, 1, tmp_path / output / "before"),), "engine": engine}
        how |= {"replaced": Replaced(names, replacement), "rng": np.random.default_rng(3)}
        offline.analyse(paths, tmp_path / "obs.csv", tmp_path / output / "now", **how)
        return contents(tmp_path / output)

    whole = made("whole")
    many()
    with ThreadPoolExecutor(2) as pool:
        assert made("cut", pool) == whole
    for folder in ("now", "before"):
        path = tmp_path / "cut" / folder
        files = [xr.load_dataset(path / f"forecast_{number:02d}.nc") for number in range(MEMBERS)]
        new = xr.load_dataset(path / names[0])
        for name, atol in (("t", 1e-4), ("p", 0.02)):
            others = np.stack([file[name].values.ravel().astype(float) for file in files])
            np.testing.assert_allclose(new[name].values.ravel(), replacement.made(others)[0], rtol=0, atol=atol)
    write(tmp_path, rng, single=True)
    with pytest.raises(ValueError, match="4 members are in 1 files: give a file of each member"):
        how = {"replaced": Replaced(names, replacement), "rng": rng}
        Offline(method_of("letkf")).analyse(tmp_path / "all.nc", tmp_path / "obs.csv", tmp_path / "no", **how)


def as_stores(folder):
    """A Zarr store beside each NetCDF file, of two shards along the rows."""
    for path in folder.glob("*.nc"):
        with xr.open_dataset(path, mask_and_scale=False) as file:
            pieces = {}
            for name in ("t", "q", "p"):
                sizes = file[name].sizes
                chunks, shards = ({**sizes, "lat": length} for length in (3, 6))
                pieces[name] = {"chunks": tuple(chunks.values()), "shards": tuple(shards.values())}
            file.to_zarr(path.with_suffix(".zarr"), zarr_format=3, consolidated=False, encoding=pieces)


@pytest.mark.filterwarnings("ignore:Consolidated metadata is")
@pytest.mark.parametrize("single", [False, True], ids=["members", "one"])
def test_stores_have_the_bits_of_files(single, tmp_path, rng, many):
    pytest.importorskip("zarr")
    write(tmp_path, rng, members=2, single=single)
    as_stores(tmp_path)
    analysed(tmp_path, "files", "letkf", prior="*.nc")
    many()
    with ThreadPoolExecutor(2) as pool:
        analysed(tmp_path, "stores", "letkf", pool, prior="*.zarr")
    paths = [path for path in (tmp_path / "stores" / "one").iterdir() if path.suffix == ".zarr"]
    assert len(paths) == (1 if single else 2)
    for path in paths:
        with (
            xr.open_zarr(path, mask_and_scale=False, consolidated=False) as store,
            xr.open_dataset(tmp_path / "files" / "one" / f"{path.stem}.nc", mask_and_scale=False) as file,
        ):
            for name in ("t", "q", "p", "mask"):
                assert store[name].values.tobytes() == file[name].values.tobytes(), name
            assert store["p"].attrs["scale_factor"] == file["p"].attrs["scale_factor"]
            assert store["p"].encoding["shards" if single else "chunks"]


@pytest.mark.filterwarnings("ignore:Consolidated metadata is")
def test_stores_that_cannot_be_used_are_named(tmp_path, rng, monkeypatch):
    pytest.importorskip("zarr")
    write(tmp_path, rng, members=2)
    as_stores(tmp_path)
    analysed(tmp_path, "out", "letkf", prior="*.zarr")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != ".owner"}

    def refused(kind, message, output="out"):
        with pytest.raises(kind, match=message):
            analysed(tmp_path, output, "letkf", prior="*.zarr")

    refused(FileExistsError, r"forecast_00\.zarr exists: name another folder")
    refused(FileExistsError, r"forecast_01\.zarr is a Zarr store: name a folder that is not in one", "forecast_01.zarr")
    piece = next(path for path in (tmp_path / "forecast_01.zarr" / "t" / "c").rglob("*") if path.is_file())
    piece.write_bytes(before[piece][: len(before[piece]) // 2])
    refused(ValueError, r"forecast_01\.zarr is not a Zarr store, or damaged \(.*\): make it again", "new")
    piece.write_bytes(before[piece])
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "zarr" else find(name, *more))
    refused(ImportError, r"forecast_00\.zarr is a Zarr store, which needs zarr: pip install", "new")
    assert before == {path: path.read_bytes() for path in before} and not (tmp_path / "new" / "one").exists()


@pytest.mark.filterwarnings("ignore:Consolidated metadata is", "ignore:Failed to open Zarr store with")
def test_parameters_in_stores_are_those_in_files(tmp_path, rng):
    pytest.importorskip("zarr")
    grid = {"y": ("y", np.arange(3.0), {"axis": "Y"}), "x": ("x", np.arange(4.0), {"axis": "X"})}
    fields = {"q": (("y", "x"), (3, 4)), "rough": (("y", "x"), (3, 4)), "rate": ((), ())}
    datasets = []
    for member in range(3):
        datasets.append(
            xr.Dataset({name: (dims, rng.normal(size=size)) for name, (dims, size) in fields.items()}, grid)
        )
        datasets[-1].to_zarr(tmp_path / f"m{member}.zarr", zarr_format=3)
    whole = xr.concat(datasets, "realization")
    whole.to_zarr(tmp_path / "all.zarr", zarr_format=3)
    whole.to_netcdf(tmp_path / "all.nc")
    (tmp_path / "obs.csv").write_text("variable,value,error,time,x,y\nq,1.0,0.5,2020-01-01,1,0\n")
    offline = Offline(ETKF(), window="all", parameters={"rough": Parameter(), "rate": Parameter()})

    def made(prior):
        folder = tmp_path / f"out_{prior.replace('*', '')}"
        table, random = tmp_path / "obs.csv", np.random.default_rng(1)
        source = offline.analyse(str(tmp_path / prior), table, folder, rng=random).source
        files = [xr.load_dataset(path, engine="zarr" if prior.endswith("zarr") else None) for path in source.paths]
        return xr.concat(files, "realization") if len(files) > 1 else files[0]

    expected, *others = map(made, ("all.nc", "all.zarr", "m*.zarr"))
    for name in fields:
        assert (expected[name] != whole[name]).any()
        for other in others:
            np.testing.assert_array_equal(other[name].transpose(*expected[name].dims), expected[name])


@pytest.mark.parametrize(
    ("name", "limit", "message"),
    [
        ("letkf", 0.1, r"memory_limit is 0\.1 GB but one part of the state needs 0\.4 GB: give more"),
        ("ensf", 0.1, r"but EnSF, which takes whole states, needs 0\.4 GB: .* a filter such as LETKF"),
        ("letkf", -1.0, "memory_limit is -1: give GB"),
    ],
)
def test_a_memory_limit_that_is_too_small(name, limit, message, tmp_path, rng):
    write(tmp_path, rng)
    with pytest.raises(ValueError, match=message):
        analysed(tmp_path, "out", name, memory_limit=limit)
    assert not (tmp_path / "out" / "one").exists()


def test_a_memory_limit_cuts_more_parts(tmp_path, rng, monkeypatch):
    write(tmp_path, rng)
    monkeypatch.setattr(job, "ALWAYS", 0.0)
    given = f"{tmp_path}/forecast_*.nc", tmp_path / "obs.csv", tmp_path / "out"
    whole, cut = (Offline(method_of("letkf"), memory_limit=limit).prepare(*given) for limit in (0.0, 2.2e-4))
    assert len(whole.parts) == 1 and len(cut.parts) > 3
    assert cut.bytes <= 2.2e5 < whole.bytes


def test_parts_are_whole_pieces_of_files(tmp_path):
    for member in range(3):
        with netCDF4.Dataset(tmp_path / f"m{member}.nc", "w") as file:
            for dim, size in (("y", 50), ("x", 40)):
                file.createDimension(dim, size)
            file.createVariable("t", "f4", ("y", "x"), zlib=True, chunksizes=(7, 40))[:] = member
            file.createVariable("q", "f4", ("y", "x"))[:] = member
    source = Source.of(sorted(tmp_path.glob("*.nc")), "realization", (), False)
    cuts = {
        values: {part.stop - part.start for part in parts.cut_source(source, None, values)} for values in (4000, 900)
    }
    assert cuts == {4000: {14, 8}, 900: {3, 2}}


@dataclass(frozen=True)
class Fragile:
    """The identity; the first worker that comes to it is killed."""

    mark: str

    def forward(self, x):
        if multiprocessing.parent_process() is not None and not Path(self.mark).exists():
            Path(self.mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    def inverse(self, z):
        return z

    def slope(self, x):
        return np.ones_like(x)


@pytest.mark.slow
def test_the_part_of_a_killed_worker_is_done_again(tmp_path, rng, many):
    write(tmp_path, rng)
    whole = analysed(tmp_path, "whole", "letkf")
    many()
    mark = tmp_path / "killed"
    assert analysed(tmp_path, "killed_once", "letkf", "processes:2", t=Fragile(str(mark))) == whole
    assert mark.exists()
    assert not [path for path in tmp_path.rglob(".*") if path.name != ".owner"]


def is_left(group):
    """Whether a process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_ctrl_c_ends_all_workers(tmp_path, rng):
    write(tmp_path, rng)
    program = "import sys; from ensf.cli import main; sys.exit(main(sys.argv[1:]))"
    files = f"--prior {tmp_path}/f*.nc --observations {tmp_path}/obs.csv --output {tmp_path}/out"
    how = ["--engine", "processes:2", "--method", METHODS["letsf"]]
    process = subprocess.Popen(
        [sys.executable, "-c", program, "analyse", *files.split(), *how],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not list((tmp_path / "out").glob(".shared-*")) and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in error and "Traceback" not in error
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*"))
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and is_left(process.pid):
        time.sleep(0.05)
    assert not is_left(process.pid)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ensf.StiffnessWarning")
@pytest.mark.parametrize("engine", ["processes", "dask"])
def test_processes_and_dask_have_the_bits_of_one_process(engine, tmp_path, rng, many):
    write(tmp_path, rng)
    whole = {name: analysed(tmp_path, f"whole/{name}", name, **HOW[name]) for name in METHODS}
    many()
    with ExitStack() as stack:
        if engine == "dask":
            distributed = pytest.importorskip("distributed")
            how = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
            pool = stack.enter_context(distributed.Client(**how)).get_executor(pure=False)
        else:
            pool = stack.enter_context(ProcessPoolExecutor(2, multiprocessing.get_context("spawn")))
        for name in METHODS:
            assert analysed(tmp_path, f"{engine}/{name}", name, pool, **HOW[name]) == whole[name], name


MPI = """
import sys
from pathlib import Path
import test_parts
from ensf.offline import parts
if __name__ == "__main__":
    parts.VALUES = test_parts.CUT
    for name in test_parts.METHODS:
        test_parts.analysed(Path(sys.argv[1]), f"mpi/{name}", name, "mpi", **test_parts.HOW[name])
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ensf.StiffnessWarning")
@pytest.mark.skipif(find_spec("mpi4py") is None or shutil.which("mpiexec") is None, reason="MPI is not installed")
def test_mpi_has_the_bits_of_one_process(tmp_path, rng):
    write(tmp_path, rng)
    (tmp_path / "script.py").write_text(MPI)
    command = ["mpiexec", "-n", "3", sys.executable, "-m", "mpi4py.futures", str(tmp_path / "script.py")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([*command, str(tmp_path)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    for name in METHODS:
        assert contents(tmp_path / "mpi" / name) == analysed(tmp_path, f"whole/{name}", name, **HOW[name]), name
