"""Lorenz-96, all observed every 0.05 with error 1; F of the truth moves between 7 and 9, back after 1000 cycles."""

from ensf.experiments._parameter import experiment

EXPERIMENT = experiment(
    "lorenz96_parameter_drift",
    "Lorenz-96, all observed every 0.05, error 1, forcing that drifts between 7 and 9",
    1.0,
    1500,
    300,
)

EXPECTED = {"letsf": {"rmse_analysis": (0.220, 0.015), "rmse_parameters": (0.144, 0.02)}}
