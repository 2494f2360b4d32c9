"""Figure of docs/toolbox.md: error of the samplers against the number of scores, and ways from noise to draws."""

import sys

import matplotlib.pyplot as plt
import numpy as np

from ensf.diffusion import DPMSolver, ReverseSDE, VariancePreserving, draw
from ensf.experiments.samplers_mixture import EXPECTED, EXPERIMENT, MIXTURE, SCORES

FLOOR = 0.0146
"""Of as many exact draws: `rmse_forecast` of the page."""
LINES = {
    "dpm_solver": ("DPMSolver", "C3", "-"),
    "ddim": ("DDIM", "C1", "-"),
    "flow": ("ProbabilityFlow", "C2", "-"),
    "edm": ("EDMHeun", "C4", "-"),
    "adam": ("AdamFlow", "C5", "-"),
    "reverse_sde": ("ReverseSDE", "C0", "--"),
    "ancestral": ("ancestral", "C1", "--"),
    "predictor_corrector": ("PredictorCorrector", "C2", "--"),
    "critically_damped": ("CriticallyDamped", "C6", "--"),
    "annealed": ("AnnealedLangevin", "C8", "--"),
    "langevin": ("Langevin", "C7", "--"),
}

figure, axes = plt.subplots(1, 3, figsize=(11, 4), width_ratios=(2, 1, 1), layout="constrained")
for name, (label, colour, style) in LINES.items():
    errors = [EXPECTED[name][f"rmse_analysis_{scores}"][0] for scores in SCORES]
    axes[0].loglog(SCORES, errors, style, color=colour, marker="o", ms=3, lw=1.2, label=label)
axes[0].axhline(FLOOR, color="0.6", lw=0.8)
axes[0].text(
    SCORES[-1], 0.93 * FLOOR, f"{EXPERIMENT.methods['ddim'].members} exact draws", ha="right", va="top", color="0.4"
)
axes[0].set(
    xlabel="score evaluations",
    ylabel="root of the energy distance",
    xticks=SCORES,
    xticklabels=SCORES,
    ylim=(0.008, 2),
)
axes[0].minorticks_off()
axes[0].legend(fontsize="x-small", ncols=2)
for axis, sampler, title in (
    (axes[1], ReverseSDE(200), "reverse equation"),
    (axes[2], DPMSolver(60), "probability flow"),
):
    way = draw(MIXTURE, VariancePreserving(), sampler, np.zeros((14, 2)), np.random.default_rng(3), trajectory=True)
    axis.plot(way.times, way.states[:, :, 0], color="C0", lw=0.7)
    axis.set(title=title, xlabel="pseudo-time t", xlim=(1, 0), ylim=(-4.5, 4.5))
axes[1].set_ylabel("first variable")
figure.savefig(sys.argv[1], dpi=110)
