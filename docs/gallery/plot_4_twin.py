"""
A twin experiment
=================

Lorenz-96 with 40 variables, half of them observed every .05 time units with error 1, 20
members. The forecast model is wrong: it is forced with 7.5 in place of 8. No setting of
:func:`ensf.letsf` knows of that.
"""

import matplotlib.pyplot as plt
import numpy as np

import ensf
from ensf.diagnostics import rmse, spread
from ensf.models.lorenz96 import Lorenz96
from ensf.twin import PerturbedTruth

model, truth_model = Lorenz96(40, forcing=7.5), Lorenz96(40, forcing=8.0)
network = ensf.Network(ensf.Select(range(0, 40, 2)), error=1.0)
initial = PerturbedTruth(truth_model, np.zeros(40))
filters = {
    "free run": ensf.FreeRun(),
    "LETKF, inflation 1.04": ensf.AnalysisInflation(
        ensf.LETKF(ensf.periodic_line(40, half_width=7.3)), 1.04
    ),
    "letsf": ensf.letsf(ensf.periodic_line(40, half_width=20.0)),
}

# %%
# ``twin`` yields one cycle after another. Truth and observations depend on the seed
# alone, so that each filter has the same.


def run(method):
    settings = {
        "members": 20,
        "cycles": 200,
        "interval": 0.05,
        "streams": ensf.Streams.spawn(1),
    }
    return list(
        ensf.twin(model, method, network, initial, truth_model=truth_model, **settings)
    )


runs = {name: run(method) for name, method in filters.items()}

figure, axis = plt.subplots(figsize=(8, 3.4), layout="constrained")
for (name, cycles), color in zip(runs.items(), ("0.6", "C1", "C0"), strict=True):
    time = [cycle.time for cycle in cycles]
    errors = [rmse(cycle.analysis.ensemble, cycle.truth) for cycle in cycles]
    axis.plot(time, errors, color=color, label=name)
    axis.plot(
        time,
        [spread(cycle.analysis.ensemble) for cycle in cycles],
        "--",
        color=color,
        lw=0.9,
    )
    print(f"{name}: RMSE {np.mean(errors[100:]):.2f}")
axis.set(xlabel="time", ylabel="RMSE (solid), spread (dashed)", ylim=(0, 5.5))
axis.legend(fontsize="small")
plt.show()

# %%
# The same runs in time and space: the error of the mean.

figure, axes = plt.subplots(1, 2, figsize=(9, 4), sharey=True, layout="constrained")
for axis, name in zip(axes, list(filters)[1:], strict=True):
    error = np.array(
        [cycle.analysis.ensemble.mean(axis=0) - cycle.truth for cycle in runs[name]]
    )
    image = axis.pcolormesh(range(40), time, error, cmap="RdBu_r", vmin=-2, vmax=2)
    axis.set(title=name, xlabel="variable")
axes[0].set_ylabel("time")
figure.colorbar(image, ax=axes, label="error of the analysis mean")
plt.show()
