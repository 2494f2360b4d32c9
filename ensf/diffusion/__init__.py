"""THE SCORE TOOLBOX.

Noise schedules, scores of the prior, guidance by observations, and samplers of the reverse-time diffusion.
"""

from ensf.diffusion.edm import AdamFlow, EDMHeun
from ensf.diffusion.exponential import DDIM, AdaptiveFlow, DPMSolver, ancestral
from ensf.diffusion.guidance import (
    DPS,
    ConditionalGuidance,
    DampedGuidance,
    Guidance,
    MomentMatching,
    PiGDM,
    TiltedGuidance,
)
from ensf.diffusion.langevin import MALA, AnnealedLangevin, CriticallyDamped, Langevin, PredictorCorrector
from ensf.diffusion.learned import LearnedScore, Neighbourhood
from ensf.diffusion.mixtures import GaussianMixture
from ensf.diffusion.prior_scores import (
    FunctionScore,
    GaussianScore,
    IndependentScore,
    KernelDensityScore,
    MiniBatchScore,
    MixtureScore,
    PairedScore,
    PriorScore,
)
from ensf.diffusion.sampler import (
    ProbabilityFlow,
    ReverseSDE,
    RunningMeanStop,
    Sampler,
    StandardisedNoise,
    StandardNoise,
)
from ensf.diffusion.sampling import Trajectory, draw, energy_distance, log_likelihood
from ensf.diffusion.schedule import (
    EDM,
    Cosine,
    LinearSchedule,
    Schedule,
    VarianceExploding,
    VariancePreserving,
    ornstein_uhlenbeck,
)

__all__ = [
    "EDM",
    "ConditionalGuidance",
    "DampedGuidance",
    "GaussianScore",
    "IndependentScore",
    "Guidance",
    "LinearSchedule",
    "MiniBatchScore",
    "MixtureScore",
    "PairedScore",
    "PriorScore",
    "ProbabilityFlow",
    "ReverseSDE",
    "RunningMeanStop",
    "Sampler",
    "Schedule",
    "StandardNoise",
    "StandardisedNoise",
    "VariancePreserving",
    "Cosine",
    "VarianceExploding",
    "ornstein_uhlenbeck",
    "FunctionScore",
    "GaussianMixture",
    "KernelDensityScore",
    "LearnedScore",
    "Neighbourhood",
    "AdamFlow",
    "AdaptiveFlow",
    "AnnealedLangevin",
    "CriticallyDamped",
    "DDIM",
    "DPMSolver",
    "EDMHeun",
    "Langevin",
    "MALA",
    "PredictorCorrector",
    "ancestral",
    "Trajectory",
    "draw",
    "energy_distance",
    "log_likelihood",
    "DPS",
    "MomentMatching",
    "PiGDM",
    "TiltedGuidance",
]
