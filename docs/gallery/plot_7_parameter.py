"""
A parameter of the model
========================

Members carry the forcing of Lorenz-96 behind their state. It has no place; observations
of the state correct it by the members' covariance. A floor of its spread keeps it from
being believed too much.
"""

import matplotlib.pyplot as plt
import numpy as np

from ensf.experiments import load

page = load("lorenz96_parameter")
figure, axes = plt.subplots(2, 1, figsize=(8, 4.6), sharex=True, layout="constrained")
for name, color in (("letsf", "C0"), ("stuck", "C1")):
    cycles = [
        cycle
        for cycle, _ in zip(page.run(page.methods[name], 1), range(300), strict=False)
    ]
    time = [cycle.time for cycle in cycles]
    forcing = np.array([cycle.analysis.ensemble[:, -1] for cycle in cycles])
    label = {"letsf": "floor of the spread, 0.05", "stuck": "no floor"}[name]
    axes[0].plot(time, forcing.mean(axis=1), color=color, label=label)
    axes[0].fill_between(
        time, forcing.min(axis=1), forcing.max(axis=1), color=color, alpha=0.2
    )
    axes[1].semilogy(time, forcing.std(axis=1, ddof=1), color=color)
    print(f"{label}: {forcing[-1].mean():.2f}, spread {forcing[-1].std(ddof=1):.3f}")
axes[0].axhline(8.0, color="k", ls="--", lw=1, label="truth")
axes[0].set(ylabel="forcing: mean and range")
axes[1].set(ylabel="spread of the forcing", xlabel="time")
axes[0].legend(fontsize="small")
plt.show()
