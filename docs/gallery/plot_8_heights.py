"""
Observed heights over the North Atlantic
========================================

500-hPa heights of 65 winters, as an xarray Dataset. One winter is analysed from 25
stations; the 64 others are the members.
"""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from eofs.examples import example_data_path

import ensf
from ensf.dataset import interpolate, pack, positions, unpack
from ensf.diagnostics import rmse

winters = xr.open_dataset(example_data_path("hgt_djf.nc"), decode_times=False)
heights, layout = pack(winters, "time", ["z"])
truth, prior = heights[-1], heights[:-1]

rng = np.random.default_rng(1)
latitude, longitude = rng.uniform(20, 80, 25), rng.uniform(-80, 40, 25)
stations = ensf.Linear(interpolate(layout, "z", latitude, longitude))
place = np.stack([latitude, longitude], axis=1)
observation = ensf.Observation(
    stations(truth) + rng.normal(0, 10, 25), stations, error=10.0, position=place
)

# %%
# Distances on the sphere are kilometres.

letsf = ensf.letsf(ensf.Localization(ensf.Sphere(), half_width=4000))
analysis = letsf.analyse(prior, observation, rng, positions=positions(layout)).ensemble
print(f"RMSE {rmse(prior, truth):.1f} m before, {rmse(analysis, truth):.1f} m after")

# %%
# ``unpack`` gives a Dataset again, on the grid of the file.


def field(state):
    return unpack(state[None], layout).z.squeeze()


mean = prior.mean(axis=0)
panels = {
    "truth, departure from the mean winter": field(truth - mean),
    "analysis, departure from the mean winter": field(analysis.mean(axis=0) - mean),
    "error of the analysis": field(analysis.mean(axis=0) - truth),
}
figure, axes = plt.subplots(3, 1, figsize=(8, 8), sharex=True, layout="constrained")
for axis, (title, values) in zip(axes, panels.items(), strict=True):
    image = axis.pcolormesh(
        values.longitude, values.latitude, values, cmap="RdBu_r", vmin=-120, vmax=120
    )
    axis.plot(longitude, latitude, "k^", ms=4)
    axis.set(title=title, ylabel="latitude (degrees)")
axes[-1].set_xlabel("longitude (degrees); triangles: stations")
figure.colorbar(image, ax=axes, label="500-hPa height (m)")
plt.show()
