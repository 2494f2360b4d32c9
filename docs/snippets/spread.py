"""Figure of docs/spread.md: inflation, factor of the error and coverage over time on three pages."""

import sys
from dataclasses import replace
from importlib import import_module

import matplotlib.pyplot as plt
import numpy as np

from ensf.diagnostics import scores

PAGES = {
    "lorenz96_forcing_low": "forcing 6 percent too low",
    "lorenz96_wrong_error": "R told a quarter",
    "lorenz96_quarter": "every fourth variable observed",
}
CYCLES, SEED, WINDOW = 300, 1, 20


def series(name: str) -> dict[str, np.ndarray]:
    """Mean inflation, factor of the error, coverage and RMSE of each cycle."""
    page = replace(import_module(f"ensf.experiments.{name}").EXPERIMENT, cycles=CYCLES)
    rows = []
    for cycle in page.run(page.methods["letsf"], SEED):
        info, score = cycle.analysis.info, scores(cycle)
        rows.append((info["inflation"].mean(), info["error_factor"], score["coverage95"], score["rmse_analysis"]))
    return dict(zip(("inflation", "error_factor", "coverage", "rmse"), np.array(rows).T, strict=True))


figure, axes = plt.subplots(3, 1, figsize=(7, 6), sharex=True, layout="constrained")
for name, label in PAGES.items():
    run = series(name)
    print(name, *(f"{key} {values[100:].mean():.3f}" for key, values in run.items()), flush=True)
    smooth = np.convolve(run["coverage"], np.ones(WINDOW) / WINDOW, "valid")
    axes[0].plot(run["inflation"], label=label, lw=1)
    axes[1].plot(run["error_factor"], lw=1)
    axes[2].plot(np.arange(WINDOW - 1, CYCLES), smooth, lw=1)
axes[0].set(
    ylabel="inflation of the spread", yscale="log", yticks=[1, 1.5, 2, 3, 4], yticklabels=["1", "1.5", "2", "3", "4"]
)
axes[0].minorticks_off()
axes[1].set_ylabel("factor of the error")
axes[1].axhline(2, color="0.7", lw=0.8, zorder=0)
axes[2].axhline(0.95, color="0.7", lw=0.8, zorder=0)
axes[2].set(ylabel=f"coverage, {WINDOW} cycles", xlabel="cycle", ylim=(0.5, 1.02))
axes[0].legend(fontsize="small")
figure.savefig(sys.argv[1], dpi=110)
