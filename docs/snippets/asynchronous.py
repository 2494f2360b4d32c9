"""Figure of docs/time.md: asynchronous.py FOLDER FILE.png, with a folder of runs for each page in FOLDER.

for page in lorenz96_every_step lorenz96_asynchronous lorenz96_asynchronous_end
do ensf run $page --methods letkf,letsf --output FOLDER/$page; done
"""

import json
import sys
from pathlib import Path
from statistics import median

import matplotlib.pyplot as plt
import numpy as np

PAGES = {
    "lorenz96_every_step": "at every step",
    "lorenz96_asynchronous": "each at its own time",
    "lorenz96_asynchronous_end": "all taken at the end",
}
METHODS = {"letkf": "LETKF", "letsf": "LETSF"}

runs = {page: json.loads((Path(sys.argv[1]) / page / "summary.json").read_text()) for page in PAGES}
figure, axis = plt.subplots(figsize=(5.5, 3.2), layout="constrained")
for offset, (method, label) in zip((-0.2, 0.2), METHODS.items(), strict=True):
    rmse = [median(run["rmse_analysis"] for run in runs[page] if run["method"] == method) for page in PAGES]
    print(label, *(f"{value:.3f}" for value in rmse))
    bars = axis.bar(np.arange(len(PAGES)) + offset, rmse, 0.37, label=label)
    axis.bar_label(bars, fmt="%.3f", fontsize="small")
axis.set_xticks(range(len(PAGES)), PAGES.values())
axis.set(yscale="log", ylim=(0.1, 2.5), yticks=(0.1, 0.2, 0.5, 1, 2), yticklabels=("0.1", "0.2", "0.5", "1", "2"))
axis.minorticks_off()
axis.set_ylabel("RMSE of the analysis")
axis.legend(loc="upper left", frameon=False)
figure.savefig(sys.argv[2], dpi=110)
