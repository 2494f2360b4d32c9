"""Figure of docs/toolbox.md: initial fields of a heat equation from its end, and the density in a double well."""

import sys
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

from ensf.experiments import double_well_bdsde, heat_equation_physics
from ensf.experiments.heat_equation_physics import SIDE

page = replace(heat_equation_physics.EXPERIMENT, cycles=1)
cycle = {name: next(page.run(page.methods[name], 1)) for name in ("learned", "flow")}
fields = {
    "x(0)": cycle["flow"].truth,
    "x(.2), observed": cycle["flow"].observation.value,
    "a draw, learned score": cycle["learned"].analysis.ensemble[0],
    "flow": cycle["flow"].analysis.ensemble[0],
}
figure = plt.figure(figsize=(11, 4.6), layout="constrained")
grid = figure.add_gridspec(2, 4)
for k, (title, field) in enumerate(fields.items()):
    axis = figure.add_subplot(grid[0, k])
    axis.imshow(np.reshape(field, (SIDE, SIDE)), cmap="RdBu_r", vmin=-3, vmax=3)
    axis.set(title=title, xticks=[], yticks=[])

wells = replace(double_well_bdsde.EXPERIMENT, cycles=160)
axis = figure.add_subplot(grid[1, :])
run = list(wells.run(wells.methods["bdsde"], 2))
times = np.array([cycle.time for cycle in run])
density = np.stack([cycle.analysis.memory for cycle in run], axis=1)
line = wells.methods["bdsde"].filter.line
axis.pcolormesh(times, line, np.sqrt(density / density.max(axis=0)), cmap="Blues")
axis.plot(times, [cycle.truth[0] for cycle in run], color="C1", lw=1, label="truth")
axis.plot(times, [cycle.observation.value[0] for cycle in run], "k.", ms=2, label="observed")
axis.set(xlabel="time", ylabel="X", ylim=(-2.2, 2.2))
axis.legend(fontsize="x-small", loc="upper right")
figure.savefig(sys.argv[1], dpi=110)
