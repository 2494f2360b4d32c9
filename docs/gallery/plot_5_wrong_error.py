"""
Observation errors that are told wrong
======================================

The errors are 1, but the filter is told .25. :func:`ensf.letsf` compares what it expects
of innovations with what they are, over cycles, and finds the factor; a LETKF believes
what it is told.
"""

import matplotlib.pyplot as plt
import numpy as np

import ensf
from ensf.diagnostics import rmse
from ensf.models.lorenz96 import Lorenz96
from ensf.twin import PerturbedTruth

model = Lorenz96(40)
network = ensf.Network(ensf.Select(range(0, 40, 2)), error=1.0, told=0.25)
filters = {
    "LETKF, inflation 1.04": ensf.AnalysisInflation(
        ensf.LETKF(ensf.periodic_line(40, half_width=7.3)), 1.04
    ),
    "letsf": ensf.letsf(ensf.periodic_line(40, half_width=20.0)),
}
figure, axes = plt.subplots(2, 1, figsize=(8, 4.6), sharex=True, layout="constrained")
for color, (name, method) in zip(("C1", "C0"), filters.items(), strict=True):
    start = PerturbedTruth(model, np.zeros(40))
    settings = {
        "members": 20,
        "cycles": 250,
        "interval": 0.05,
        "streams": ensf.Streams.spawn(1),
    }
    cycles = list(ensf.twin(model, method, network, start, **settings))
    errors = [rmse(cycle.analysis.ensemble, cycle.truth) for cycle in cycles]
    axes[0].plot(range(1, 251), errors, color=color, label=name)
    print(f"{name}: RMSE {np.mean(errors[100:]):.2f}")
axes[1].plot(
    range(1, 251), [cycle.analysis.info["error_factor"] for cycle in cycles], color="C0"
)
axes[1].axhline(4.0, color="k", ls="--", lw=1, label="right factor")
axes[0].set(ylabel="RMSE of the analysis", ylim=(0, 1.5))
axes[1].set(ylabel="errors are taken as\n... times what is told", xlabel="cycle")
for axis in axes:
    axis.legend(fontsize="small")
plt.show()
