"""
Later observations correct earlier states
=========================================

A fixed-lag smoother is the same filter, whose update is also applied to the states of the
last cycles.
"""

import matplotlib.pyplot as plt
import numpy as np

import ensf
from ensf.diagnostics import rmse
from ensf.models.lorenz96 import Lorenz96
from ensf.twin import PerturbedTruth

model = Lorenz96(40)
network = ensf.Network(ensf.Identity(), error=1.0)
method = ensf.Smoother(ensf.letsf(ensf.periodic_line(40, half_width=20.0)), lag=10)
start = PerturbedTruth(model, np.zeros(40))
settings = {
    "members": 20,
    "cycles": 250,
    "interval": 0.05,
    "streams": ensf.Streams.spawn(1),
}
cycles = list(ensf.twin(model, method, network, start, **settings))

# %%
# ``analysis.earlier`` has the states of the cycles before, the latest first, as all
# observations up to now tell them.

error = np.array(
    [
        [rmse(states, cycles[k - lag].truth) for lag, states in enumerate(stack)]
        for k in range(60, 250)
        for stack in [[cycles[k].analysis.ensemble, *cycles[k].analysis.earlier]]
    ]
)
figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
axis.plot(np.arange(error.shape[1]), error.mean(axis=0), "o-", label="mean of 190 cycles")
axis.set(xlabel="later cycles that were used", ylabel="RMSE", ylim=(0, None))
axis.legend(fontsize="small")
plt.show()
for lag in (0, 5, 10):
    print(f"{lag} later cycles: RMSE {error[:, lag].mean():.3f}")
