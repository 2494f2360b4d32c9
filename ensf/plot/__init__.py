"""Figures of a run, drawn from its NetCDF files alone.

    rmse.png         RMSE and spread of the analysis over time, beside observation error and climatology
    ranks.png        rank histograms of the truth among the members
    states.png       truth, analysis mean and error of one seed: curves, time-space diagrams or maps
    spectra.png      power of truth, error and spread by wavenumber, if the model publishes `spectral_fields`
    maps_METHOD.png  truth, mean, error, spread and what was observed in the last cycle, for fields of two dimensions

The figures take *runs*: a mapping from the name of a method to its datasets, one per seed. A method has the same
colour in all figures of the same methods. Matplotlib is imported when a figure is drawn.
"""

from ensf.plot.board import figure_board
from ensf.plot.folder import Report, report, save
from ensf.plot.observe_one import figure_observe_one
from ensf.plot.ranks import figure_ranks
from ensf.plot.scores import figure_rmse
from ensf.plot.spectra import figure_spectra
from ensf.plot.states import figure_states
from ensf.plot.sweep import figure_sweep

__all__ = [
    "Report",
    "figure_board",
    "figure_observe_one",
    "figure_ranks",
    "figure_rmse",
    "figure_spectra",
    "figure_states",
    "figure_sweep",
    "report",
    "save",
]
