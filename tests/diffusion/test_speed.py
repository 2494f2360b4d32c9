"""Processor time per score evaluation: no piece of the toolbox takes much more of it than a step of EnSF."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import pytest

from ensf.diffusion import (
    DDIM,
    DPS,
    EDM,
    MALA,
    AdamFlow,
    AdaptiveFlow,
    AnnealedLangevin,
    ConditionalGuidance,
    Cosine,
    CriticallyDamped,
    DPMSolver,
    EDMHeun,
    GaussianScore,
    IndependentScore,
    KernelDensityScore,
    Langevin,
    LinearSchedule,
    MiniBatchScore,
    MixtureScore,
    MomentMatching,
    PairedScore,
    PiGDM,
    PredictorCorrector,
    ProbabilityFlow,
    ReverseSDE,
    TiltedGuidance,
    VarianceExploding,
    VariancePreserving,
    ancestral,
    ornstein_uhlenbeck,
)
from ensf.filters import EnSF
from ensf.observations import Linear, Observation

MEMBERS, SIZE = 40, 400
PRIOR = np.random.default_rng(1).standard_normal((MEMBERS, SIZE))
PAIRS = 0.5 * (np.eye(SIZE) + np.roll(np.eye(SIZE), 1, axis=1))[::2]
"""Means of two variables: their steps are not fused, as those of nothing else here are."""
SEEN = Observation(PRIOR[0] @ PAIRS.T, Linear(PAIRS), 1.0)

PIECES = {
    "ReverseSDE": {"sampler": ReverseSDE(20)},
    "ancestral": {"sampler": ancestral(20)},
    "PredictorCorrector": {"sampler": PredictorCorrector(10)},
    "CriticallyDamped": {"sampler": CriticallyDamped(20)},
    "DDIM": {"sampler": DDIM(20)},
    "ProbabilityFlow": {"sampler": ProbabilityFlow(10)},
    "DPMSolver": {"sampler": DPMSolver(20)},
    "AdaptiveFlow": {"sampler": AdaptiveFlow(0.05)},
    "EDMHeun": {"sampler": EDMHeun(10)},
    "EDMHeun with churn": {"sampler": EDMHeun(10, churn=5.0)},
    "AdamFlow": {"sampler": AdamFlow(20)},
    "AnnealedLangevin": {"sampler": AnnealedLangevin(10, repeats=2)},
    "Langevin": {"sampler": Langevin(20, size=1e-3, time=0.02)},
    "MALA": {"sampler": MALA(lambda z: -0.5 * np.sum(z * z, axis=-1), 20, size=1e-3, time=0.02)},
    "DPS": {"guidance": DPS()},
    "PiGDM": {"guidance": PiGDM()},
    "MomentMatching": {"guidance": MomentMatching()},
    "ConditionalGuidance": {"guidance": ConditionalGuidance()},
    "LinearSchedule": {"schedule": LinearSchedule()},
    "ornstein_uhlenbeck": {"schedule": ornstein_uhlenbeck()},
    "Cosine": {"schedule": Cosine()},
    "VarianceExploding": {"schedule": VarianceExploding()},
    "EDM": {"schedule": EDM()},
    "GaussianScore": {"score": GaussianScore()},
    "IndependentScore": {"score": IndependentScore()},
    "KernelDensityScore": {"score": KernelDensityScore()},
    "MiniBatchScore": {"score": MiniBatchScore(10)},
    "PairedScore": {"score": PairedScore()},
}


@dataclass(frozen=True)
class Counting:
    """A prior score that notes when it is evaluated."""

    score: object
    calls: list[int] = field(default_factory=list)

    def fit(self, prior, rng):
        fitted = self.score.fit(prior, rng)

        def counted(z, alpha, variance):
            self.calls.append(1)
            return fitted(z, alpha, variance)

        return counted


def cost(**pieces):
    """Seconds of processor time per score evaluation, the least of five analyses."""
    least = np.inf
    for _ in range(5):
        score = Counting(pieces.get("score", MixtureScore()))
        method = EnSF(**{"schedule": VariancePreserving(), "sampler": ReverseSDE(20)} | pieces | {"score": score})
        began = time.process_time()
        method.analyse(PRIOR, SEEN, 1)
        least = min(least, (time.process_time() - began) / len(score.calls))
    return least


@pytest.mark.slow
@pytest.mark.parametrize("name", PIECES)
@pytest.mark.filterwarnings("ignore::ensf.StiffnessWarning")
def test_no_piece_is_slower_than_a_step_of_ensf(name):
    """Critically damped diffusion, with two variables to be drawn, takes half as much again; a busy machine, more."""
    assert cost(**PIECES[name]) < 2.2 * cost(schedule=LinearSchedule())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ensf.StiffnessWarning")
def test_quadrature_for_every_sensor_is_slower():
    """200 sensors, 40 members: 30 steps of EnSF."""
    assert 2 < cost(guidance=TiltedGuidance()) / cost(schedule=LinearSchedule()) < 80
