"""One winter of 500-hPa heights, analysed from 25 stations and 64 other winters: pip install "ensf[examples]"."""

import numpy as np
import xarray as xr
from eofs.examples import example_data_path

from ensf import LETKF, Linear, Localization, Observation, Sphere
from ensf.dataset import interpolate, pack, positions, unpack
from ensf.diagnostics import rmse

winters = xr.open_dataset(example_data_path("hgt_djf.nc"), decode_times=False)
heights, layout = pack(winters, "time", ["z"])  # (65, 1421): a winter is a member
truth, prior = heights[-1], heights[:-1]

rng = np.random.default_rng(1)
latitude, longitude = rng.uniform(20, 80, 25), rng.uniform(-80, 40, 25)
stations = Linear(interpolate(layout, "z", latitude, longitude))
seen = stations(truth) + rng.normal(0, 10, 25)
observation = Observation(seen, stations, error=10.0, position=np.stack([latitude, longitude], axis=1))

letkf = LETKF(Localization(Sphere(), half_width=4000))  # km
analysis = letkf.analyse(prior, observation, rng, positions=positions(layout)).ensemble

fields = unpack(analysis, layout)  # a Dataset again, with the grid and attributes of `winters`
print(f"RMSE {rmse(prior, truth):.1f} m before, {rmse(analysis, truth):.1f} m after")
print(f"largest spread {float(fields.z.std('time', ddof=1).max()):.0f} m")
