"""
From noise to an analysis
=========================

A score filter draws the analysis by running a diffusion backwards: noise becomes members. Here the prior is known, a
mixture of two Gaussians in the plane, so that every step can be looked at; one variable is observed.
"""

import matplotlib.pyplot as plt
import numpy as np

from ensf import Observation, Select
from ensf.diffusion import GaussianMixture, MomentMatching, ReverseSDE, VariancePreserving, draw
from ensf.filters import EnSF

rng = np.random.default_rng(1)
prior = GaussianMixture(np.array([0.5, 0.5]), np.array([[-1.5, -1.0], [1.5, 1.0]]), np.array([0.2 * np.eye(2)] * 2))
schedule, sampler = VariancePreserving(), ReverseSDE(200)

# %%
# Without an observation: ways from noise to draws of the prior.

path = draw(prior, schedule, sampler, np.zeros((400, 2)), rng, trajectory=True)
steps = len(path.states)
figure, axes = plt.subplots(1, 4, figsize=(11, 3), sharex=True, sharey=True, layout="constrained")
for axis, k in zip(axes, (0, steps // 2, (3 * steps) // 4, steps - 1), strict=True):
    axis.plot(path.states[:, :12, 0], path.states[:, :12, 1], color="0.85", lw=0.5)
    axis.plot(*path.states[k].T, ".", ms=3)
    axis.set(title=f"time {path.times[k]:.2f}", xlabel="first variable", xlim=(-4, 4), ylim=(-4, 4))
axes[0].set_ylabel("second variable")
plt.show()

# %%
# With an observation of the first variable: the guidance adds the score of the likelihood at every step.

observation = Observation(np.array([1.0]), Select([0]), error=0.5)
members = prior.draw(2000, rng)
analysis = EnSF(schedule, prior, MomentMatching(), sampler).analyse(members, observation, rng).ensemble

figure, axis = plt.subplots(figsize=(4.4, 4), layout="constrained")
axis.plot(*members[:500].T, ".", ms=3, color="0.7", label="prior")
axis.plot(*analysis[:500].T, ".", ms=3, color="C0", label="analysis")
axis.axvspan(0.5, 1.5, color="C3", alpha=0.15, label="observation and error")
axis.set(xlabel="first variable, observed", ylabel="second variable", xlim=(-4, 4), ylim=(-4, 4))
axis.legend(fontsize="small")
plt.show()

# %%
# The exact posterior of a mixture is a mixture.

exact = prior.posterior(np.array([[1.0, 0.0]]), np.array([[0.25]]), np.array([1.0]))
print(f"mean {analysis.mean(axis=0).round(2)}, exactly {exact.mean.round(2)}")
print(f"deviations {analysis.std(axis=0).round(2)}, exactly {np.sqrt(np.diag(exact.covariance)).round(2)}")
