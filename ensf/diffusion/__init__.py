"""THE SCORE TOOLBOX.

Noise schedules, scores of the prior, guidance by observations, and samplers of the reverse-time diffusion.
"""

from ensf.diffusion.guidance import ConditionalGuidance, DampedGuidance, Guidance
from ensf.diffusion.prior_scores import GaussianScore, MiniBatchScore, MixtureScore, PairedScore, PriorScore
from ensf.diffusion.sampler import (
    ProbabilityFlow,
    ReverseSDE,
    RunningMeanStop,
    Sampler,
    StandardisedNoise,
    StandardNoise,
)
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
]
