"""Kalman filters with an ensemble: EnKF, ETKF and, place by place, LETKF.

J members x_j with mean m and anomalies A (member x state); observation y = h(x) + e, e ~ N(0, R). Everything
happens in whitened observation space,

    S = R^{-1/2} (h(x_j) - mean) / sqrt(J-1)  (member x observation),    d = R^{-1/2} (y - mean of h(x_j)).
"""

from ensf.filters.kalman.filters import ETKF, EnKF
from ensf.filters.kalman.letkf import LETKF
from ensf.filters.kalman.schur import SchurEnKF

__all__ = ["ETKF", "LETKF", "EnKF", "SchurEnKF"]
