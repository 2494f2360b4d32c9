"""
What a filter does
==================

Twenty forecasts of a field on a ring, observed at seven places: the analysis goes to the
observations where there are any, keeps the shapes that the members know, and is sure of
itself where it was told something.
"""

import matplotlib.pyplot as plt
import numpy as np

import ensf

rng = np.random.default_rng(4)
x = np.arange(80)
apart = np.abs(x - x[:, None])
smooth = np.exp(-((np.minimum(apart, 80 - apart) / 5.0) ** 2))
truth, *members = rng.normal(size=(21, 80)) @ smooth / 2.5
prior = np.array(members)

# %%
# Seven stations. The error is a standard deviation.

stations = np.array([5, 12, 20, 26, 33, 60, 66])
observed = truth[stations] + 0.2 * rng.normal(size=7)
observation = ensf.Observation(observed, ensf.Select(stations), error=0.2)

# %%
# :func:`ensf.letsf` is the recommended filter, whole. It wants to know where things are,
# 80 points on a ring, and how far an observation speaks.

localization = ensf.periodic_line(80, half_width=8.0)
analysis = ensf.letsf(localization).analyse(prior, observation, rng).ensemble

figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True, layout="constrained")
for axis, ensemble, title in zip(
    axes, (prior, analysis), ("forecast", "analysis"), strict=True
):
    axis.plot(x, ensemble.T, color="C0", lw=0.5, alpha=0.6)
    axis.plot(x, ensemble.mean(axis=0), color="C0", lw=2, label="members and mean")
    axis.plot(x, truth, "k--", lw=1.2, label="truth")
    axis.errorbar(
        stations,
        observed,
        0.2,
        fmt="o",
        color="C3",
        ms=4,
        capsize=2,
        label="observations",
    )
    axis.set(title=title, xlabel="grid point")
axes[0].set_ylabel("temperature anomaly (K)")
axes[0].legend(fontsize="small", loc="lower left")
plt.show()

# %%
# In numbers: root mean square error of the mean, and spread.

from ensf.diagnostics import rmse, spread  # noqa: E402

for name, ensemble in (("forecast", prior), ("analysis", analysis)):
    print(f"{name}: RMSE {rmse(ensemble, truth):.2f} K, spread {spread(ensemble):.2f} K")
