"""Figure of docs/toolbox.md: the learned climatology of Lorenz-96, and one analysis of score_prior_lorenz96."""

import sys

import matplotlib.pyplot as plt
import numpy as np

from ensf.diffusion import draw
from ensf.experiments import load
from ensf.experiments._score_prior import SIZE, library

page = load("score_prior_lorenz96")
learned = page.methods["score"].filter
rng = np.random.default_rng(2)
draws = draw(learned.score.fit(library(), rng), learned.schedule, learned.sampler, np.zeros((300, SIZE)), rng)

figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), width_ratios=(1, 1, 1.8), layout="constrained")
for states, label in ((library(), "the 300 states"), (draws, "300 draws of the score")):
    print(label, *(f"{value:.2f}" for value in (states.mean(), states.std(), states.min(), states.max())))
    axes[0].hist(states.ravel(), bins=np.arange(-12, 16, 0.5), density=True, histtype="step", label=label)
    power = np.mean(np.abs(np.fft.rfft(states - states.mean(), axis=1) / SIZE) ** 2, axis=0)
    axes[1].semilogy(np.arange(1, SIZE // 2 + 1), power[1:])
axes[0].set(xlabel="x", ylabel="density")
axes[0].legend(fontsize="x-small", loc="upper left")
axes[0].set_ylim(0, 0.15)
axes[1].set(xlabel="wavenumber", ylabel="power")
cycle = next(page.run(page.methods["score"], 1))
members, points = cycle.analysis.ensemble, cycle.observation.operator.index
axes[2].plot(members.T, color="C1", lw=0.4, alpha=0.5)
axes[2].plot(members.mean(axis=0), color="C1", lw=1.8, label="mean and members")
axes[2].plot(cycle.truth, "k", lw=1.2, label="truth")
axes[2].plot(points, cycle.observation.value, "ko", ms=4, mfc="white", label="observations")
axes[2].set(xlabel="variable", ylabel="x", ylim=(-13, 17))
axes[2].legend(fontsize="x-small", ncols=3, loc="upper right")
figure.savefig(sys.argv[1], dpi=110)
