"""Figure of docs/time.md: smoother.py FOLDER FILE.png, of `ensf run lorenz96_smoother --output FOLDER`."""

import json
import sys
from pathlib import Path
from statistics import median

import matplotlib.pyplot as plt

LAG = 10
METHODS = {"letkf": ("LETKF", "C0"), "letsf": ("LETSF", "C1")}

runs = json.loads((Path(sys.argv[1]) / "summary.json").read_text())
figure, axis = plt.subplots(figsize=(5.5, 3.5), layout="constrained")
for method, (label, color) in METHODS.items():
    for score, style in (("rmse", "o-"), ("spread", "--")):
        names = [f"{score}_analysis", *(f"{score}_lag{lag}" for lag in range(1, LAG + 1))]
        values = [median(run[name] for run in runs if run["method"] == method) for name in names]
        print(label, score, *(f"{value:.3f}" for value in values))
        axis.plot(values, style, color=color, ms=4, label=f"{label}, {score.upper() if score == 'rmse' else score}")
axis.set(ylim=(0, None), xlabel="lag in cycles of 0.05", ylabel="median of three seeds")
axis.legend(frameon=False)
figure.savefig(sys.argv[2], dpi=110)
