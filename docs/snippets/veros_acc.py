"""Figures of a run of `veros_acc`: python veros_acc.py results/veros_acc 1 FOLDER"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ensf.experiments import veros_acc as page
from ensf.runs.netcdf.writer import read

COLOURS = {"free": "#666666", "letkf": "#0072B2", "letsf": "#D55E00"}
MODEL = page.EXPERIMENT.model.model
HIDDEN = page.unobserved(page.EXPERIMENT)
SEEN = MODEL.positions[list(page.EXPERIMENT.network.operator.index)]
LEVEL, MERIDIAN = 5, 7  # layer of the map at depth, column of the section


def error(run, stage):
    """Mean minus truth ``(time, point)``, K."""
    return (run[f"temp_{stage}_mean"] - run["temp_truth"]).values


def size(values):
    """Root mean square over unobserved points."""
    return np.sqrt((values[..., HIDDEN] ** 2).mean(axis=-1))


def figure_errors(runs):
    """RMSE and spread at unobserved points over time; forecast and analysis of each cycle are joined by a line."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    for name, run in runs.items():
        days = np.repeat(run["time"].values, 2)
        both = np.stack([size(error(run, stage)) for stage in ("forecast", "analysis")], axis=1).ravel()
        axes.plot(days, both, color=COLOURS[name], label=f"{name}: RMSE of forecast and analysis")
        spread = size(run["temp_analysis_spread"].values)
        axes.plot(run["time"], spread, "--", color=COLOURS[name], label=f"{name}: spread of the analysis")
    axes.set(xlabel="time (days)", ylabel="temperature at unobserved points (K)", ylim=(0, None))
    axes.legend(ncols=len(runs), fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.16))
    axes.grid(alpha=0.3)
    return figure


def figure_maps(runs):
    """Truth, and errors of the last analyses: at the surface, at depth, and along a meridian."""
    figure = Figure(figsize=(10, 9), layout="constrained")
    panels = figure.subplots(3, len(runs) + 1, squeeze=False)
    truth = MODEL.grid(next(iter(runs.values()))["temp_truth"].values[-1])
    fields = {name: MODEL.grid(error(run, "analysis")[-1]) for name, run in runs.items()}
    limit = np.nanquantile(np.abs(fields["free"]), 0.98)
    for row in range(3):
        state = draw(panels[row, 0], truth, row, {"cmap": "viridis", "vmin": 0, "vmax": np.nanmax(truth)})
        for axes, (name, field) in zip(panels[row, 1:], fields.items(), strict=True):
            shade = draw(axes, field, row, {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit})
            axes.set(ylabel="", yticklabels=[])
            axes.set_title(f"{name}: mean − truth" if row == 0 else "")
    panels[0, 0].set_title("truth")
    figure.colorbar(state, ax=panels[:, 0], label="temperature (°C)", location="bottom", aspect=12)
    figure.colorbar(shade, ax=panels[:, 1:], label="error (K)", location="bottom", aspect=40, extend="both")
    return figure


def draw(axes, field, row, look):
    """A map of the surface, a map of a layer, or a section; with what is observed there."""
    axes.set_facecolor("#BBBBBB")
    if row == 2:
        axes.set(xlabel="latitude (°N)", ylabel=f"depth (m), {MODEL.longitude[MERIDIAN]:g} °E", ylim=(1500, 0))
        return axes.pcolormesh(MODEL.latitude, MODEL.depth, field[:, :, MERIDIAN], shading="nearest", **look)
    layer = LEVEL * row
    near = np.abs(SEEN[:, 2] - MODEL.depth[layer] / 1000) < 1e-6
    shade = axes.pcolormesh(MODEL.longitude, MODEL.latitude, field[layer], shading="nearest", **look)
    axes.plot(SEEN[near, 1], SEEN[near, 0], "k.", markersize=3)
    axes.set(xlabel="longitude (°E)", ylabel=f"latitude (°N), depth {MODEL.depth[layer]:.0f} m")
    return shade


if __name__ == "__main__":
    source, seed, target = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    runs = {name: read(source / f"{name}_seed{seed}.nc") for name in COLOURS}
    gain = {
        name: size(error(runs["free"], "analysis")).mean() / size(error(run, "analysis")).mean()
        for name, run in runs.items()
    }
    print(", ".join(f"{name}: {factor:.2f}" for name, factor in gain.items()))
    figure_errors(runs).savefig(target / "veros_errors.png", dpi=130)
    figure_maps(runs).savefig(target / "veros_maps.png", dpi=130)
