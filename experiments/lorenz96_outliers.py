"""Lorenz-96, all observed every 0.05 with error 1; 5 percent of the errors are ten times as large.

The filter is told a Student-t law whose middle is about as wide as that of the errors.
"""

from ensf.experiments._lorenz96 import ROBUST, GrossErrors, experiment
from ensf.observations import StudentT
from ensf.twin import Network

EXPERIMENT = experiment(
    "lorenz96_outliers",
    "Lorenz-96, all observed every 0.05, error 1, 5 percent outliers of 10, told Student-t",
    0.05,
    Network(error=GrossErrors(1.0), told=StudentT(1.5, freedom=3)),
    ROBUST,
)

EXPECTED = {"letsf": {"rmse_analysis": (0.23, 0.03)}}
