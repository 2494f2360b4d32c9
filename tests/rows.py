"""Every filter and wrapper, a row each, and what it does not promise."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ensf import (
    ETKF,
    LETKF,
    LETSF,
    RTPP,
    RTPS,
    AdaptiveInflation,
    AdaptiveSpread,
    AnalysisInflation,
    ByCorrelation,
    CollapseGuard,
    ConditionalGuidance,
    Copula,
    CountLimit,
    DeferredAnalysis,
    EnFF,
    EnKF,
    EnsembleCovariance,
    EnSF,
    FailedMembers,
    FiniteSize,
    FixedGainMAP,
    ForecastInflation,
    GaussianScore,
    HybridMean,
    InformationLimit,
    InvertedArctan,
    IteratedEnSF,
    Kernel,
    OnlyVariables,
    OptimalInterpolation,
    OutlierRejection,
    PartialState,
    ParticleFilter,
    Periodic,
    ProbabilityFlow,
    QuantileFilter,
    ReverseSDE,
    Rotation,
    SchurEnKF,
    Smoother,
    SpreadReset,
    Standardised,
    StaticCovariance,
    Tempered,
    VariancePreserving,
    letsf,
    periodic_line,
    published,
)
from ensf.diffusion import RunningMeanStop
from ensf.filters import Analysis, Filter, OptimalTransport


class Keep:
    """A filter of one's own: the prior comes back, with whatever memory came."""

    def analyse(self, prior, observation, rng, memory=None, positions=None):
        return Analysis(prior, memory)


MEMBERS, SIZE = 10, 12
LINE = periodic_line(SIZE, 2.5)
STOP = RunningMeanStop(window=3, tolerance=0.1, earliest=4, latest=6)
RING, SHORT = Periodic((float(SIZE),)), EnsembleCovariance((3.0, 2.0), (4.0,))
CONSISTENT = EnSF(VariancePreserving(), GaussianScore(), ConditionalGuidance(), ProbabilityFlow(20))


@dataclass(frozen=True)
class Row:
    """A filter and what it does not promise."""

    filter: Filter
    affine: bool = True  # a change of units of one variable changes its analysis likewise
    symmetric: bool = True  # members in another order give the same members in another order
    correlated: bool = True  # takes correlated errors
    general: bool = True  # takes observations of several variables
    finite: bool = True  # refuses members that are not finite


def local(filter: Filter, **promises: bool) -> Row:
    """A filter that needs independent errors."""
    return Row(filter, **{"correlated": False, **promises})


FILTERS = {
    "EnSF": Row(EnSF(sampler=ReverseSDE(30)), affine=False, symmetric=False),
    "EnSF legacy": Row(published("legacy", sampler=ReverseSDE(30)), affine=False, symmetric=False),
    "EnSF cmame": Row(published("cmame", sampler=ReverseSDE(30)), affine=False, symmetric=False),
    "EnSF sqg": Row(published("sqg", sampler=ReverseSDE(8, stop=STOP)), symmetric=False),
    "EnSF consistent": Row(CONSISTENT, affine=False, symmetric=False),
    "IteratedEnSF": Row(IteratedEnSF(2, sampler=ReverseSDE(40)), affine=False, symmetric=False),
    "IteratedEnSF of independent variables": Row(
        IteratedEnSF(2, independent=True, sampler=ReverseSDE(40)), affine=False, symmetric=False
    ),
    "EnFF": Row(EnFF(strength=0.1), affine=False, symmetric=False),
    "EnFF from noise": Row(EnFF(OptimalTransport(), 10, 0.1), affine=False, symmetric=False),
    "Standardised": Row(Standardised(CONSISTENT), symmetric=False),
    "EnKF": Row(EnKF(), symmetric=False),
    "ETKF": Row(ETKF()),
    "LETKF": Row(LETKF(LINE)),
    "LETKF limited": Row(LETKF(LINE, InformationLimit(0.1))),
    "LETKF of few observations": Row(LETKF(replace(LINE, nearest=5), CountLimit(3))),
    "LETKF by correlation": Row(LETKF(ByCorrelation(1.0))),
    "LETSF by correlation": Row(LETSF(ByCorrelation(1.0))),
    "SchurEnKF": Row(SchurEnKF(LINE), symmetric=False),
    "LETSF": Row(LETSF(LINE)),
    "LETSF global": Row(LETSF()),
    "LETSF limited": Row(LETSF(LINE, 3, InformationLimit(0.1))),
    "LETSF with unresolved variance": local(LETSF(LINE, unresolved_variance=0.2), general=False),
    "LETKF with unresolved variance": local(LETKF(LINE, unresolved_variance=0.2), general=False),
    "ParticleFilter": Row(ParticleFilter(jitter=0.1), symmetric=False),
    "OptimalInterpolation": Row(OptimalInterpolation(LINE, 2.0)),
    "FixedGainMAP": local(FixedGainMAP(), affine=False, symmetric=False, general=False),
    "Copula": Row(Copula(LETSF(LINE))),
    "HybridMean": local(HybridMean(LETKF(LINE), RING, SHORT, StaticCovariance(2.0)), affine=False),
    "QuantileFilter": local(QuantileFilter(LINE)),
    "QuantileFilter probit": local(QuantileFilter(LINE, probit=True)),
    "QuantileFilter kernel": local(QuantileFilter(LINE, Kernel(1.0))),
    "FiniteSize": Row(FiniteSize(ETKF())),
    "ForecastInflation": Row(ForecastInflation(ETKF(), 1.1)),
    "AnalysisInflation": Row(AnalysisInflation(ETKF(), 1.1)),
    "RTPS": Row(RTPS(ETKF(), 0.5)),
    "RTPP": Row(RTPP(ETKF(), 0.5)),
    "OnlyVariables": Row(OnlyVariables(RTPS(ETKF(), 0.5), (0, 5))),
    "FailedMembers": Row(FailedMembers(ETKF(), 5), finite=False),
    "Rotation": Row(Rotation(ETKF()), symmetric=False),
    "SpreadReset": Row(SpreadReset(ETKF())),
    "SpreadReset to a number": Row(SpreadReset(ETKF(), 0.5), affine=False),
    "Tempered": Row(Tempered(ETKF(), 3)),
    "PartialState": Row(PartialState(ETKF(), SIZE)),
    "InvertedArctan": Row(InvertedArctan(ETKF(), error=0.5)),
    "CollapseGuard": Row(CollapseGuard(ETKF())),
    "CollapseGuard that acts": Row(CollapseGuard(ETKF(), limit=1.001, cycles=1), symmetric=False),
    "AdaptiveInflation": local(AdaptiveInflation(LETKF(LINE), LINE)),
    "AdaptiveInflation of whole states": local(AdaptiveInflation(Tempered(LETKF(LINE), 2), LINE)),
    "AdaptiveSpread": local(AdaptiveSpread(LETKF(LINE), LINE)),
    "AdaptiveSpread of whole states": local(AdaptiveSpread(Tempered(LETKF(LINE), 2), LINE)),
    "OutlierRejection": Row(OutlierRejection(ETKF())),
    "OutlierRejection near by": Row(OutlierRejection(LETKF(LINE), 1.5, LINE)),
    "Smoother": Row(Smoother(LETKF(LINE), 2)),
    "DeferredAnalysis": Row(DeferredAnalysis(ETKF())),
    "letsf": local(letsf(LINE), symmetric=False),
}
"""By name. A new filter or wrapper is a line here, and then keeps every promise that it does not deny."""
