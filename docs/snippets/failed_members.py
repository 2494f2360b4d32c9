"""Figure of docs/way.md: failed_members.py NONE PAGE FILE.png, of two folders of runs.

ensf run lorenz96_failed_members --methods letkf,letsf_inflation,letsf --model.probability 0 --output NONE
ensf run lorenz96_failed_members --methods letkf,letsf_inflation,letsf --output PAGE
"""

import json
import sys
from pathlib import Path
from statistics import median

import matplotlib.pyplot as plt

METHODS = {
    "letkf": "LETKF,\ninflation 1.04",
    "letsf_inflation": "LETSF,\nadaptive inflation",
    "letsf": "LETSF,\nadaptive spread",
}
SCORES = {"rmse_analysis": ("RMSE", "o"), "spread_analysis": ("spread", "_")}

figure, axis = plt.subplots(figsize=(7, 3.5), layout="constrained")
for offset, color, label, folder in ((-0.12, "C0", "none fails", 1), (0.12, "C1", "one forecast in twenty", 2)):
    runs = json.loads((Path(sys.argv[folder]) / "summary.json").read_text())
    for place, method in enumerate(METHODS):
        for score, (name, marker) in SCORES.items():
            values = [run[score] for run in runs if run["method"] == method]
            print(label, method, name, f"{median(values):.3f}")
            axis.plot([place + offset] * len(values), values, marker, color=color, ms=6 if marker == "o" else 16)
for name, marker in SCORES.values():
    axis.plot([], [], marker, color="0.4", label=name)
for color, label in (("C0", "none fails"), ("C1", "one forecast in twenty fails")):
    axis.plot([], [], "s", color=color, label=label)
axis.set_xticks(range(len(METHODS)), METHODS.values())
axis.set(ylim=(0, 0.29), ylabel="analysis")
axis.legend(fontsize="small", ncols=2, loc="lower right")
figure.savefig(sys.argv[3], dpi=110)
