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

from ensf.diffusion.guidance import ConditionalGuidance, DampedGuidance
from ensf.diffusion.prior_scores import GaussianScore, MiniBatchScore, MixtureScore, PairedScore
from ensf.diffusion.sampler import ProbabilityFlow, ReverseSDE, StandardisedNoise, StandardNoise
from ensf.diffusion.schedule import LinearSchedule, VariancePreserving
from ensf.filters.base import Analysis, Filter
from ensf.filters.ensf import EnSF, Standardised, StiffnessWarning
from ensf.filters.kalman.filters import ETKF, LETKF, EnKF
from ensf.filters.letsf.filter import LETSF
from ensf.filters.particle import FixedGainMAP, ParticleFilter
from ensf.localization import Euclidean, Localization, Periodic, Sphere, gaspari_cohn, periodic_line
from ensf.observations.observation import (
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
from ensf.twin.twin import Cycle, Network, Streams, twin
from ensf.wrappers.spread import RTPP, RTPS, AnalysisInflation, ForecastInflation, Rotation, SpreadReset

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
