"""PRIOR + OBSERVATION -> ANALYSIS: the filters."""

from ensf.filters.base import Analysis, Filter
from ensf.filters.ensf import EnSF, StiffnessWarning
from ensf.filters.fixed_gain import FixedGainMAP
from ensf.filters.kalman import ETKF, LETKF, EnKF
from ensf.filters.letsf import LETSF
from ensf.filters.particle import ParticleFilter
from ensf.filters.quantile import Kernel, QuantileFilter, RankHistogram

__all__ = [
    "Analysis",
    "ETKF",
    "EnKF",
    "EnSF",
    "Filter",
    "FixedGainMAP",
    "Kernel",
    "LETKF",
    "LETSF",
    "ParticleFilter",
    "QuantileFilter",
    "RankHistogram",
    "StiffnessWarning",
]
