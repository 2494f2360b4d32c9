"""Figure of docs/observations.md: a draw of the page correlated_errors, and distances from the exact mean."""

import sys

import matplotlib.pyplot as plt

from ensf.experiments import load

page = load("correlated_errors")
labels = {
    "ignored": "LETKF, errors taken for independent",
    "grouped": "LETKF, errors whitened by group",
    "patches": "LETKF, errors whitened by patch",
}
figure, axes = plt.subplots(2, 1, figsize=(8, 5), sharex=True, height_ratios=(1.3, 1), layout="constrained")
for color, (name, label) in zip(("C1", "C0", "C2"), labels.items(), strict=True):
    cycle = next(page.run(page.methods[name], 1))
    mean = cycle.analysis.ensemble.mean(axis=0)
    axes[0].plot(mean, color=color, label=label)
    axes[1].plot(mean - cycle.truth, color=color)
axes[0].plot(cycle.truth, "k", lw=2.2, zorder=1, label="exact posterior mean")
axes[0].plot(cycle.observation.operator.index, cycle.observation.value, ".", color="0.6", label="observations")
axes[0].set_ylim(top=1.6 * axes[0].get_ylim()[1])
axes[0].set_ylabel("state (1)")
axes[0].legend(fontsize="small", ncols=2, loc="upper right")
axes[1].axhline(0, color="k", lw=0.8)
axes[1].set(ylabel="distance from exact (1)", xlabel="point")
figure.savefig(sys.argv[1], dpi=110)
