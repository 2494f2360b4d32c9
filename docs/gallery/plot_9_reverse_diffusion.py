"""
From noise to an analysis
=========================

A score filter draws the analysis by running a diffusion backwards: noise becomes members.
Here the prior is known, a mixture of two Gaussians in the plane, so that every step can
be looked at; one variable is observed.
"""

import matplotlib.pyplot as plt
import numpy as np

from ensf import Observation, Select
from ensf.diffusion import (
    DPS,
    GaussianMixture,
    MomentMatching,
    ReverseSDE,
    VariancePreserving,
    draw,
)
from ensf.filters import EnSF

rng = np.random.default_rng(1)
prior = GaussianMixture(
    np.array([0.5, 0.5]),
    np.array([[-1.5, -1.0], [1.5, 1.0]]),
    np.array([0.2 * np.eye(2)] * 2),
)
schedule, sampler = VariancePreserving(), ReverseSDE(200)

# %%
# Without an observation: ways from noise to draws of the prior.

path = draw(prior, schedule, sampler, np.zeros((400, 2)), rng, trajectory=True)
steps = len(path.states)
figure, axes = plt.subplots(
    1, 4, figsize=(11, 3), sharex=True, sharey=True, layout="constrained"
)
for axis, k in zip(axes, (0, steps // 2, (3 * steps) // 4, steps - 1), strict=True):
    axis.plot(path.states[:, :12, 0], path.states[:, :12, 1], color="0.85", lw=0.5)
    axis.plot(*path.states[k].T, ".", ms=3)
    axis.set(
        title=f"time {path.times[k]:.2f}",
        xlabel="first variable",
        xlim=(-4, 4),
        ylim=(-4, 4),
    )
axes[0].set_ylabel("second variable")
plt.show()

# %%
# With an observation of the first variable: the guidance adds the score of the likelihood
# at every step. Each guidance guesses in its own way what a noisy state will become.

observation = Observation(np.array([1.0]), Select([0]), error=0.5)
members = prior.draw(2000, rng)
analyses = {
    type(guidance).__name__: EnSF(schedule, prior, guidance, sampler)
    .analyse(members, observation, rng)
    .ensemble
    for guidance in (DPS(), MomentMatching())
}
analysis = analyses["DPS"]

figure, axis = plt.subplots(figsize=(4.4, 4), layout="constrained")
axis.plot(*members[:500].T, ".", ms=3, color="0.7", label="prior")
axis.plot(*analysis[:500].T, ".", ms=3, color="C0", label="analysis, DPS")
axis.axvspan(0.5, 1.5, color="C3", alpha=0.15, label="observation and error")
axis.set(
    xlabel="first variable, observed",
    ylabel="second variable",
    xlim=(-4, 4),
    ylim=(-4, 4),
)
axis.legend(fontsize="small")
plt.show()

# %%
# The exact posterior of a mixture is a mixture. Between two clusters no Gaussian guess is
# right: moment matching, exact for Gaussian priors, leaves too many members in the wrong
# one.

exact = prior.posterior(np.array([[1.0, 0.0]]), np.array([[0.25]]), np.array([1.0]))
deviations = np.sqrt(np.diag(exact.covariance))
print(f"exact: mean {exact.mean.round(2)}, deviations {deviations.round(2)}")
for name, ensemble in analyses.items():
    mean, deviations = ensemble.mean(axis=0), ensemble.std(axis=0)
    print(f"{name}: mean {mean.round(2)}, deviations {deviations.round(2)}")
