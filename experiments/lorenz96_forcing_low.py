"""Lorenz-96, all observed every 0.05 with error 1; the members are driven by 7.5, the truth by 8."""

from ensf.experiments._lorenz96 import wrong_forcing

EXPERIMENT = wrong_forcing(
    "lorenz96_forcing_low", "Lorenz-96, members driven by 7.5 in place of 8, all observed every 0.05, error 1", 7.5
)

EXPECTED = {"letsf": {"rmse_analysis": (0.23, 0.02)}}
