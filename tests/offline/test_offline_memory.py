"""The memory of an offline analysis stays below three times the ensemble, at any size."""

from __future__ import annotations

import json
import subprocess
import sys

import netCDF4
import numpy as np
import pytest

MEMBERS, LEVELS = 20, 10
LIMIT = 3.0

PROGRAM = """
import json, resource, sys, time
import numpy as np
from ensf.runs.recipe.reader import read_method
from ensf.offline import Offline

def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def analyse(folder):
    offline = Offline(read_method(sys.argv[3]))
    names = f"{folder}/forecast_*.nc", f"{folder}/obs.csv", f"{folder}/{sys.argv[4]}"
    offline.analyse(*names, rng=np.random.default_rng(1))

analyse(sys.argv[1])
before, start = peak(), time.monotonic()
analyse(sys.argv[2])
print(json.dumps({"before": before, "peak": peak(), "seconds": time.monotonic() - start}))
"""


def write(folder, rows, columns, stations):
    """Two variables on levels, float32; bytes of the ensemble."""
    rng = np.random.default_rng(1)
    folder.mkdir()
    sizes = {"level": LEVELS, "lat": rows, "lon": columns}
    longitude = np.linspace(0, 360, columns, endpoint=False)
    grid = {"lat": np.linspace(-60, 60, rows), "lon": longitude, "level": np.arange(10.0)}
    for member in range(MEMBERS):
        with netCDF4.Dataset(folder / f"forecast_{member}.nc", "w") as file:
            for name, size in sizes.items():
                file.createDimension(name, size)
                file.createVariable(name, "f8", (name,))[:] = grid[name]
            for name in ("t", "u"):
                values = 280 + rng.standard_normal((LEVELS, rows, columns), dtype=np.float32)
                file.createVariable(name, "f4", ("level", "lat", "lon"))[:] = values
    place = rng.uniform((-59, 0, 0), (59, 350, 9), (stations, 3))
    lines = [f"t,{280 + rng.normal():.3f},1.0,2024-01-31,{lat},{lon},{z}" for lat, lon, z in place]
    (folder / "obs.csv").write_text("\n".join(["variable,value,error,time,lat,lon,z", *lines]) + "\n")
    return 4 * MEMBERS * 2 * LEVELS * rows * columns


def measure(folder, method, output):
    """Bytes of a process before and at most during the analysis of a large ensemble."""
    words = [sys.executable, "-c", PROGRAM, str(folder / "small"), str(folder / "large"), method, output]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def ensembles(tmp_path_factory):
    """A small ensemble and a large one, and the bytes of this."""
    folder = tmp_path_factory.mktemp("ensembles")
    write(folder / "small", 10, 20, 10)
    return folder, write(folder / "large", 120, 150, 60)


@pytest.mark.parametrize(
    ("method", "output"), [("RTPS(ETKF(), 0.3)", "whole"), ("LETKF(Localization(Sphere(), 300.0))", "local")]
)
def test_memory_grows_by_less_than_the_bound(ensembles, method, output):
    """Beside what the process has before: one ensemble, and the parts."""
    folder, size = ensembles
    found = measure(folder, method, output)
    assert found["peak"] - found["before"] < LIMIT * size


@pytest.mark.slow
def test_ten_million_values(tmp_path):
    """10^7 values x 20 members of 4 bytes, everything in the process counted."""
    write(tmp_path / "small", 10, 20, 10)
    size = write(tmp_path / "large", 500, 1000, 20_000)
    found = measure(tmp_path, "LETKF(Localization(Sphere(), 150.0))", "out")
    assert size == 8e8 and found["peak"] < LIMIT * size
    print(f"{found['peak'] / 1e6:.0f} MB, {found['seconds']:.0f} s")
