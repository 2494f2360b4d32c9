"""Lorenz-96, windows of 0.2 in which all variables are observed every 0.05 with error 1: each at its own time."""

from ensf.experiments._asynchronous import windows

EXPERIMENT = windows("lorenz96_asynchronous", "Lorenz-96, windows of 0.2, all observed every 0.05, error 1")

EXPECTED = {
    "letkf": {"rmse_analysis": (0.200, 0.010)},
    "letsf": {"rmse_analysis": (0.185, 0.010)},
}
