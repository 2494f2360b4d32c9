"""
One observation, and how far it speaks
======================================

What one observation changes is the covariance of the members with what it sees. Twenty
members have wrong correlations far away; a half-width keeps the correction near.
"""

import matplotlib.pyplot as plt
import numpy as np

import ensf

rng = np.random.default_rng(2)
x = np.arange(80)
apart = np.minimum(np.abs(x - x[:, None]), 80 - np.abs(x - x[:, None]))
smooth = np.exp(-((apart / 4.0) ** 2))
prior = rng.normal(size=(20, 80)) @ smooth
observation = ensf.Observation(
    prior.mean(axis=0)[[40]] + 1.0, ensf.Select([40]), error=0.5
)

# %%
# The right correction follows from the covariance that the members were drawn with; their
# own gives that of the ETKF.

covariance = smooth.T @ smooth
exact = covariance[:, 40] / (covariance[40, 40] + 0.25)

figure, axis = plt.subplots(figsize=(8, 3.6), layout="constrained")
axis.plot(x, exact, "k--", label="right covariance")
filters = {
    "ETKF": ensf.ETKF(),
    "LETKF, half-width 16": ensf.LETKF(ensf.periodic_line(80, half_width=16.0)),
    "LETKF, half-width 6": ensf.LETKF(ensf.periodic_line(80, half_width=6.0)),
}
for name, method in filters.items():
    increment = method.analyse(prior, observation, rng).ensemble.mean(
        axis=0
    ) - prior.mean(axis=0)
    axis.plot(x, increment, label=name)
    print(f"{name}: {np.sqrt(np.mean((increment - exact) ** 2)):.3f} off")
axis.plot(40, 1.0, "o", color="C3", label="observed minus forecast")
axis.set(xlabel="grid point", ylabel="correction of the mean (K)")
axis.legend(fontsize="small")
plt.show()
