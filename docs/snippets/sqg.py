"""Maps and spectra of 45 cycles of `sqg_arctan_half_shocks` with LETSF: python sqg.py FOLDER"""

import sys
from dataclasses import replace
from pathlib import Path

from ensf import experiments
from ensf.experiments._sqg import MODEL
from ensf.plot.fields import Frame, Spectra, figure_fields, figure_spectra

CYCLES, BURN_IN = 45, 25


def main(folder):
    """Write sqg_maps.png and sqg_spectra.png."""
    page = replace(experiments.load("sqg_arctan_half_shocks"), cycles=CYCLES)
    spectra = Spectra(MODEL.shape, MODEL.spectral_fields)
    for cycle in page.run(page.methods["letsf"], seed=1):
        if cycle.index >= BURN_IN:
            spectra.add(cycle)
    frame = Frame.of(cycle, MODEL)
    labels = "x (1000 km)", "y (1000 km)"
    days = cycle.time / 86400
    frame = replace(frame, time=days, time_units="days", x=frame.x / 1e6, y=frame.y / 1e6, labels=labels)
    figure_fields(frame).savefig(folder / "sqg_maps.png", dpi=80)
    figure_spectra(spectra, "kinetic energy (m$^2$ s$^{-2}$)").savefig(folder / "sqg_spectra.png", dpi=80)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
