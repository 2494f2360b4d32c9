"""Figures of fields on a plane: maps with the observations, power spectra, an animation.

A `Frame` has what a map shows of one cycle and one level, from a `Cycle` or from the file of a run. `Spectra` adds the
power (`ensf.diagnostics.power`) of truth, error and ensemble spread over cycles; given a function from states to the
two components of the wind over sqrt(2), they are spectra of kinetic energy.
"""

from ensf.diagnostics import power
from ensf.plot.fields.frame import Frame, frames
from ensf.plot.fields.maps import animate, figure_fields
from ensf.plot.fields.spectra import Spectra, figure_spectra

__all__ = ["Frame", "Spectra", "animate", "figure_fields", "figure_spectra", "frames", "power"]
