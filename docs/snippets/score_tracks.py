"""Figure of docs/toolbox.md: a trajectory of Lorenz-96 by a score and by a smoother, and a target seen by bearings."""

import sys

import matplotlib.pyplot as plt
import numpy as np

from ensf.experiments import bearings_only_bdsde, trajectory_lorenz96
from ensf.experiments.trajectory_lorenz96 import INTERVAL, POINTS, SEEN, SIZE, TIMES

figure = plt.figure(figsize=(11, 4.4), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=(1.7, 1))

page = trajectory_lorenz96.EXPERIMENT
names = {"letkf": "LETKF, no model", "score": "learned score, no model", "smoother": "LETKF smoother"}
cycle = {name: next(page.run(page.methods[name], 1)) for name in names}
truth = cycle["score"].truth.reshape(TIMES, SIZE)
fields = {"truth": truth} | {
    label: cycle[name].analysis.ensemble.mean(axis=0).reshape(TIMES, SIZE) for name, label in names.items()
}
for axis, (title, field) in zip(left.subplots(4, 1, sharex=True), fields.items(), strict=True):
    axis.imshow(field, aspect="auto", cmap="RdBu_r", vmin=-12, vmax=12, extent=(-0.5, SIZE - 0.5, TIMES - 0.5, -0.5))
    error = f", error {np.sqrt(np.mean((field - truth) ** 2)):.2f}" if title != "truth" else ""
    axis.set_title(f"{title}{error}", fontsize="small")
    axis.set(yticks=[0, TIMES - 1], yticklabels=["0", f"{(TIMES - 1) * INTERVAL:.1f}"])
    if title == "truth":
        axis.plot(np.tile(POINTS, SEEN.size), np.repeat(SEEN, POINTS.size), "k.", ms=2)
axis.set(xlabel="variable")

page = bearings_only_bdsde.EXPERIMENT
run = list(page.run(page.methods["bdsde"], 2))
track = np.array([one.truth for one in run])
path = np.array([bearings_only_bdsde.observer(one.index + 1) for one in run])
axis = right.subplots()
for index, colour in ((3, "C0"), (9, "C1"), (39, "C2")):
    members = run[index].analysis.ensemble
    axis.plot(*members[:, :2].T, ".", ms=1.5, alpha=0.4, color=colour)
    sight = np.array([path[index], track[index, :2]])
    axis.plot(*sight.T, color=colour, lw=0.8, label=f"after {index + 1} bearings")
axis.plot(*track[:, :2].T, "k", lw=1.2, label="target")
axis.plot(*path.T, "k:", lw=1, label="observer")
axis.set(xlabel="east", ylabel="north", aspect="equal", xlim=(-1.5, 3.0), ylim=(-0.3, 5.0))
axis.legend(fontsize="x-small", loc="upper right")
figure.savefig(sys.argv[1], dpi=110)
