"""PRIOR + OBSERVATION -> ANALYSIS: the filters."""

from ensf.filters.base import Analysis, Filter
from ensf.filters.ensf import EnSF, StiffnessWarning
from ensf.filters.free_run import FreeRun
from ensf.filters.kalman import ETKF, LETKF, EnKF
from ensf.filters.letsf import LETSF
from ensf.filters.optimal_interpolation import OptimalInterpolation
from ensf.filters.particle import FixedGainMAP, ParticleFilter
from ensf.filters.quantile import Kernel, QuantileFilter, RankHistogram

__all__ = [
    "Analysis",
    "ETKF",
    "EnKF",
    "EnSF",
    "Filter",
    "FixedGainMAP",
    "FreeRun",
    "Kernel",
    "LETKF",
    "LETSF",
    "OptimalInterpolation",
    "ParticleFilter",
    "QuantileFilter",
    "RankHistogram",
    "StiffnessWarning",
]
