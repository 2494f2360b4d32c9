"""Numbers of the runs of both pages that are there, and figures of seed 1: python atmosphere.py results FOLDER"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ensf import experiments
from ensf.experiments import _atmosphere as page
from ensf.runs.netcdf.writer import read

PAGES = ("atmosphere_dinosaur", "atmosphere_dinosaur_saturating")
COLOURS = {"free": "#666666", "letkf": "#0072B2", "letkf_adaptive": "#009E73", "letsf": "#D55E00"}
MODEL = page.MODEL
LAYER = 5  # of the maps
SETTLED = 10  # analyses that are not counted


def error(run, stage):
    """Mean minus truth ``(time, plane, latitude, longitude)``."""
    return (run[f"atmosphere_{stage}_mean"] - run["atmosphere_truth"]).values


def squares(run, stage, where):
    """Mean squares of errors, and of the spread, over an area."""
    both = error(run, stage), run[f"atmosphere_{stage}_spread"].values
    return [page.mean_squares(MODEL, values.reshape(len(values), -1), where) for values in both]


def figure_errors(runs, away):
    """Error and spread over time in three regions; forecast and analysis of each cycle are joined by a line."""
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    for axes, region in zip(figure.subplots(1, 3, sharey=True), page.REGIONS, strict=True):
        for name, run in runs.items():
            both = [squares(run, stage, away & page.within(MODEL, region)) for stage in ("forecast", "analysis")]
            days = np.arange(1, len(run["time"]) + 1) / 2
            errors = np.stack([page.energy_norm(one) for one, _ in both], axis=1).ravel()
            axes.plot(np.repeat(days, 2), errors, color=COLOURS[name], label=f"{name}: error")
            axes.plot(days, page.energy_norm(both[1][1]), "--", color=COLOURS[name], label=f"{name}: spread")
        axes.set(title=region, xlabel="time (days)", ylim=(0, None))
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("total energy norm (m/s)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=len(runs), fontsize=8)
    return figure


def figure_layers(runs, away):
    """Errors of analyses by layer, in the north and in the south."""
    figure = Figure(figsize=(8, 5.4), layout="constrained")
    panels = figure.subplots(2, 2, sharey=True, sharex="col")
    for row, region in zip(panels, ("north", "south"), strict=True):
        for axes, part, unit in zip(row, ("temperature", "wind"), ("K", "m/s"), strict=True):
            for name, run in runs.items():
                square = squares(run, "analysis", away & page.within(MODEL, region))[0][part][SETTLED:]
                axes.plot(np.sqrt(square.mean(axis=0)), MODEL.sigma, ".-", color=COLOURS[name], label=name)
            axes.set(title=f"{region}: {part}", xlabel=f"RMS error ({unit})", xlim=(0, None))
            axes.grid(alpha=0.3)
        row[0].set_ylabel("pressure / surface pressure")
    panels[0, 0].set_ylim(1, 0)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=len(runs), fontsize=8)
    return figure


def figure_maps(runs, observed):
    """Truth on the last day, and RMS errors of temperature since day 5, on one layer; dots are what is observed."""
    figure = Figure(figsize=(10, 5.4), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True, sharey=True).ravel()
    truth = next(iter(runs.values()))["atmosphere_truth"].values[-1, LAYER]
    shade = panels[0].pcolormesh(MODEL.longitude, MODEL.latitude, truth, cmap="viridis")
    figure.colorbar(shade, ax=panels[0], label="truth, last analysis (K)")
    fields = {
        name: np.sqrt((error(run, "analysis")[SETTLED:, LAYER] ** 2).mean(axis=0))
        for name, run in runs.items()
        if name != "letkf_adaptive"
    }
    analysed = max(np.quantile(field, 0.99) for name, field in fields.items() if name != "free")
    for axes, (name, field) in zip(panels[1:], fields.items(), strict=True):
        largest = np.quantile(field, 0.99) if name == "free" else analysed
        shade = axes.pcolormesh(MODEL.longitude, MODEL.latitude, field, cmap="magma_r", vmin=0, vmax=largest)
        figure.colorbar(shade, ax=axes, label=f"{name}: RMS error (K)")
    for axes in panels:
        axes.plot(*observed.T[::-1], "k.", markersize=2)
    figure.supxlabel("longitude (°E)", fontsize=9)
    figure.supylabel("latitude (°N)", fontsize=9)
    return figure


def table(runs, away):
    """Errors of analyses after day 5: energy norm, then temperature, wind, pressure; then the norm by region."""
    for name, run in runs.items():
        whole = {part: value[SETTLED:] for part, value in squares(run, "analysis", away)[0].items()}
        parts = [np.sqrt(value.mean()) for value in whole.values()]
        regions = [
            page.energy_norm(squares(run, "analysis", away & page.within(MODEL, region))[0])[SETTLED:].mean()
            for region in page.REGIONS
        ]
        numbers = [page.energy_norm(whole).mean(), *parts, *regions]
        print(f"{name:16s}", *(f"{number:6.2f}" for number in numbers))


if __name__ == "__main__":
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    for name in PAGES:
        experiment = experiments.load(name)
        away = page.unobserved(experiment.network)
        observed = MODEL.positions[experiment.network.entries(), :2]
        for seed in experiment.seeds:
            files = {key: source / name / f"{key}_seed{seed}.nc" for key in experiment.methods}
            runs = {key: read(path) for key, path in files.items() if path.exists()}
            if not runs:
                continue
            print(f"{name}, seed {seed}: norm (m/s), T (K), wind (m/s), p (hPa); norm in {', '.join(page.REGIONS)}")
            table(runs, away)
            if seed == 1:
                short = "atmosphere" if name == PAGES[0] else "atmosphere_saturating"
                figure_errors(runs, away).savefig(target / f"{short}_errors.png", dpi=110)
                if name == PAGES[0]:
                    figure_layers(runs, away).savefig(target / f"{short}_layers.png", dpi=110)
                figure_maps(runs, observed).savefig(target / f"{short}_maps.png", dpi=110)
