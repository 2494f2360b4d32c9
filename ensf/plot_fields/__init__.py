"""Figures of fields on a plane: maps with the observations, power spectra, an animation.

A `Frame` has what a map shows of one cycle and one level, from a `Cycle` or from the file of a run. The power of a
field f on a doubly periodic plane at total wavenumber k, cycles per period, is

    P(k) = sum of |f_mn|^2 over k - 1/2 <= |(m, n)| < k + 1/2,   f = sum f_mn exp(i (m x + n y)),

so that the sum over k is the mean square of f. `Spectra` adds the power of truth, error and ensemble spread over
cycles; given a function from states to the two components of the wind, they are spectra of kinetic energy.
"""

from ensf.plot_fields.frame import Frame, frames
from ensf.plot_fields.maps import animate, animate_folder, figure_fields
from ensf.plot_fields.spectra import Spectra, figure_spectra, power

__all__ = ["Frame", "Spectra", "animate", "animate_folder", "figure_fields", "figure_spectra", "frames", "power"]
