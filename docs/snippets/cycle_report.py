"""The report of a cycled model, as a picture: python docs/snippets/cycle_report.py FILE.png

A tracer drifts around a ring of 600 km; its speed is not known. Two moorings and a ferry see it.
"""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.image import imread

from ensf.cli import main

CYCLES, MEMBERS, SIZE = 20, 12, 60
X = 10.0 * np.arange(SIZE)

MODEL = """
import sys
import numpy as np
from scipy.io import netcdf_file

source, target, speed, seed = sys.argv[1:]
with netcdf_file(source, mmap=False) as file:
    tracer, x = file.variables["tracer"][:].copy(), file.variables["x"][:].copy()
waves = np.fft.rfftfreq(len(x))
shifted = np.fft.irfft(np.fft.rfft(tracer) * np.exp(-2j * np.pi * waves * float(speed) / 10.0), len(x))
noise = np.fft.irfft(np.fft.rfft(np.random.default_rng(int(seed)).normal(size=len(x))) * np.exp(-((waves * 25) ** 2)))
with netcdf_file(target, "w") as file:
    file.createDimension("x", len(x))
    for name, values, units in (("x", x, "km"), ("tracer", 0.98 * shifted + 0.4 * noise, "g m-3")):
        variable = file.createVariable(name, "d", ("x",))
        variable[:], variable.units = values, units
"""

CONFIG = f"""
command = "{sys.executable} {{folder}}/model.py {{input}} {{output}} {{speed}} {{seed}}"
initial = "member_{{member:02d}}.nc"
observations = "seen.csv"
members = {MEMBERS}
cycles = {CYCLES}
interval = 21600
start = "2024-03-01"
jobs = 2
periods.x = 600

[parameters.speed]
value = 20.0
spread = 6.0
min_spread = 0.5
"""


def smooth(rng):
    """A field on the ring, of long waves."""
    waves = np.fft.rfft(rng.normal(size=SIZE)) * np.exp(-((25 * np.fft.rfftfreq(SIZE)) ** 2))
    return 6.0 * np.fft.irfft(waves, SIZE)


def stored(tracer, path):
    """A field in a file that the model reads."""
    coordinates = {"x": ("x", X, {"units": "km"})}
    dataset = xr.Dataset({"tracer": ("x", tracer, {"units": "g m-3"})}, coordinates)
    dataset.to_netcdf(path, format="NETCDF3_64BIT", engine="scipy")


def rows(rng):
    """What is seen of a truth that drifts by 28 km in six hours."""
    truth = smooth(rng)
    for cycle in range(1, CYCLES + 1):
        waves = np.fft.rfftfreq(SIZE)
        truth = np.fft.irfft(np.fft.rfft(truth) * np.exp(-2j * np.pi * waves * 2.8), SIZE)
        time = np.datetime64("2024-03-01") + np.timedelta64(6 * cycle, "h")
        for kind, places, error in (("mooring", (150.0, 400.0), 0.1), ("ferry", (50.0 * (cycle % 12) + 20.0,), 0.4)):
            for place in places:
                value = np.interp(place, X, truth, period=600.0) + error * rng.normal()
                yield f"tracer,{value:.3f},{error},{time},{place:g},{kind}"


def draw(path):
    """Run the cycles in a folder of their own, and put two figures of their report side by side."""
    rng = np.random.default_rng(4)
    path = Path(path).resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("model.py").write_text(MODEL)
        Path("drift.toml").write_text(CONFIG)
        Path("seen.csv").write_text("\n".join(["variable,value,error,time,x,kind", *rows(rng)]) + "\n")
        for member in range(1, MEMBERS + 1):
            stored(smooth(rng), f"member_{member:02d}.nc")
        assert main(["cycle", "drift.toml"]) == 0 and main(["report", "cycles", "--html", "--dpi", "110"]) == 0
        pictures = [imread(f"cycles/{name}.png") for name in ("innovations", "parameters")]
        os.chdir(path.parent)
    height = sum(one.shape[0] for one in pictures)
    figure = Figure(figsize=(pictures[0].shape[1] / 100, height / 100))
    below = height
    for one in pictures:
        below -= one.shape[0]
        figure.figimage(one, 0, below)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    draw(sys.argv[1])
