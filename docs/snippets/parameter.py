"""Figure of docs/way.md: parameter.py FILE.png. The forcing of Lorenz-96 as a parameter, seed 1 of two pages."""

import sys

import matplotlib.pyplot as plt
import numpy as np

from ensf.experiments import load

figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True, layout="constrained")
for axis, name in zip(axes, ("lorenz96_parameter", "lorenz96_parameter_drift"), strict=True):
    page = load(name)
    cycles = list(page.run(page.methods["letsf"], 1))
    time = np.array([cycle.time for cycle in cycles])
    members = np.array([cycle.analysis.ensemble[:, -1] for cycle in cycles])
    truth = np.array([cycle.truth[-1] for cycle in cycles])
    mean, spread = members.mean(axis=1), members.std(axis=1, ddof=1)
    error = np.sqrt(np.mean((mean - truth)[time > page.burn_in] ** 2))
    print(f"{name}: RMSE {error:.3f}, spread {spread[time > page.burn_in].mean():.3f}")
    axis.plot(time, truth, "k--", lw=1, label="truth")
    axis.plot(time, mean, "C0", label="mean of the members")
    axis.fill_between(time, mean - spread, mean + spread, color="C0", alpha=0.25, label="spread")
    axis.set(title=name, xlabel="time")
axes[0].set(ylabel="forcing F")
axes[0].legend(fontsize="small")
figure.savefig(sys.argv[1], dpi=110)
