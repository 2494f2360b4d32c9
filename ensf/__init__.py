"""Ensemble data assimilation by score-based filtering, beside correct Kalman baselines.

Every filter has one verb, ``analyse(prior, observation, rng, memory=None) -> Analysis``:

>>> import numpy as np
>>> from ensf import LETKF, Observation, Select, periodic_line
>>> rng = np.random.default_rng(1)
>>> prior = rng.standard_normal((20, 40))
>>> seen = Observation(np.zeros(20), Select(range(0, 40, 2)), error=0.5)
>>> LETKF(periodic_line(40, half_width=4.0)).analyse(prior, seen, rng).ensemble.shape
(20, 40)
"""

from ensf.analysis import Analysis, Filter
from ensf.filter import EnSF, Standardised, StiffnessWarning
from ensf.guidance import ConditionalGuidance, DampedGuidance
from ensf.kalman import ETKF, LETKF, EnKF
from ensf.localization import Euclidean, Localization, Periodic, Sphere, gaspari_cohn, periodic_line
from ensf.observation import (
    Callback,
    Correlated,
    Function,
    Gaussian,
    Identity,
    Linear,
    Observation,
    Pointwise,
    Select,
    WindSpeed,
    absolute,
    arctan,
    cube,
    exponential,
    log,
    square,
)
from ensf.particle import FixedGainMAP, ParticleFilter
from ensf.sampler import ProbabilityFlow, ReverseSDE, StandardisedNoise, StandardNoise
from ensf.schedule import LinearSchedule, VariancePreserving
from ensf.score import GaussianScore, MiniBatchScore, MixtureScore, PairedScore
from ensf.spread import RTPP, RTPS, AnalysisInflation, ForecastInflation, Rotation, SpreadReset
from ensf.transform import LETSF
from ensf.twin import Cycle, Network, Streams, twin

__all__ = [
    "ETKF",
    "LETKF",
    "LETSF",
    "RTPP",
    "RTPS",
    "Analysis",
    "AnalysisInflation",
    "Callback",
    "ConditionalGuidance",
    "Correlated",
    "Cycle",
    "DampedGuidance",
    "EnKF",
    "EnSF",
    "Euclidean",
    "Filter",
    "FixedGainMAP",
    "ForecastInflation",
    "Function",
    "Gaussian",
    "GaussianScore",
    "Identity",
    "Linear",
    "LinearSchedule",
    "Localization",
    "MiniBatchScore",
    "MixtureScore",
    "Network",
    "Observation",
    "PairedScore",
    "ParticleFilter",
    "Periodic",
    "Pointwise",
    "ProbabilityFlow",
    "ReverseSDE",
    "Rotation",
    "Select",
    "Sphere",
    "SpreadReset",
    "StandardNoise",
    "Standardised",
    "StandardisedNoise",
    "StiffnessWarning",
    "Streams",
    "VariancePreserving",
    "WindSpeed",
    "absolute",
    "arctan",
    "cube",
    "exponential",
    "gaspari_cohn",
    "log",
    "periodic_line",
    "square",
    "twin",
]
