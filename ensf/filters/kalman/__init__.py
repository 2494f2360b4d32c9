"""Kalman filters with an ensemble: EnKF, ETKF and, local, LETKF."""

from ensf.filters.kalman.filters import ETKF, LETKF, EnKF

__all__ = ["ETKF", "EnKF", "LETKF"]
