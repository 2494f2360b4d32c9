"""HOLDS A FILTER AND IS ONE: control of the spread, other coordinates, several passes, guards.

    wrapper            one line                               needs                       remembers         reports
    ForecastInflation  larger anomalies before the analysis   -                           -                 -
    AnalysisInflation  larger anomalies after it              -                           -                 -
    RTPS, RTPP         relaxation to the prior                -                           -                 -
    Rotation           random rotation of the members         -                           -                 -
    OnlyVariables      one of these of some variables         `prepare`                   -                 -
    AdditiveNoise      noise from a catalogue of states       -                           -                 -
    SpreadReset        back to the first spread, or a number  whole states                first spread      -
    FiniteSize         inflation for few members              Gaussian errors             -                 inflation
    AdaptiveInflation  inflation from innovations             independent errors, places  factors at knots  inflation
    AdaptiveSpread     spread, R and bias from evidence       independent errors, places  factors at knots  inflation,
                                                                                                  error_factor, bias
    DeferredAnalysis   sleeps on what cannot be repaired      -                           cycles waited     waited
    OutlierRejection   rejects what is impossibly far off     Gaussian errors             -                 rejected
    CollapseGuard      widens an ensemble that is lost        whole states                climate           guard
    Standardised       sees standardised members              whole states                -                 -
    Copula             sees Gaussian marginals                whole states                -                 -
    HybridMean         mean by a hybrid covariance            whole states of a periodic  -                 solver_steps
                                                                grid, independent errors
    Tempered           the likelihood in pieces               whole states                -                 -
    AugmentedState     parameters behind the state            places or not               -                 parameters
    FailedMembers      goes on without failed members         -                           -                 their number
    PartialState       analyses the first entries             whole states                -                 -
    InvertedArctan     sees tan(y), an error that is constant  -                          -                 -
    ModelInTheLoop     analyses the window as well as its end the window of a twin        -                 model_runs
    Relinearised       ... in pieces, a forecast after each   in a ModelInTheLoop         -                 -
    Smoother           corrects states of earlier cycles      `prepare`; outermost        those states      -

All remember and report what the filter inside does, too. A wrapper without "whole states" around a `Preparable` filter
is `Preparable` itself. Two names are made of them: `letsf`, the recommended filter, and `published`, the ensemble score
filter as it was published. `analyse_window` gives all of them observations at their own times.
"""

from ensf.wrappers.adaptive_inflation import AdaptiveInflation
from ensf.wrappers.base import WrappedUpdate, Wrapper
from ensf.wrappers.collapse_guard import CollapseGuard
from ensf.wrappers.copula import Copula
from ensf.wrappers.deferred_analysis import DeferredAnalysis
from ensf.wrappers.failed_members import FailedMembers
from ensf.wrappers.finite_size import FiniteSize
from ensf.wrappers.hybrid_mean import DisplacementCovariance, EnsembleCovariance, HybridMean, StaticCovariance
from ensf.wrappers.inverted_arctan import InvertedArctan
from ensf.wrappers.model_in_the_loop import ModelInTheLoop, Relinearised
from ensf.wrappers.outlier_rejection import OutlierRejection
from ensf.wrappers.parameters import AugmentedState, Parameter
from ensf.wrappers.partial_state import PartialState
from ensf.wrappers.published import published
from ensf.wrappers.recommended import letsf
from ensf.wrappers.smoother import Smoother
from ensf.wrappers.spread import (
    RTPP,
    RTPS,
    AdditiveNoise,
    AnalysisInflation,
    ForecastInflation,
    OnlyVariables,
    Rotation,
    SpreadReset,
)
from ensf.wrappers.spread_control import AdaptiveSpread
from ensf.wrappers.standardised import Standardised
from ensf.wrappers.tempered import Tempered
from ensf.wrappers.window import analyse_window

__all__ = [
    "AdditiveNoise",
    "OnlyVariables",
    "AdaptiveInflation",
    "AdaptiveSpread",
    "AnalysisInflation",
    "AugmentedState",
    "CollapseGuard",
    "Copula",
    "DeferredAnalysis",
    "DisplacementCovariance",
    "EnsembleCovariance",
    "FailedMembers",
    "FiniteSize",
    "ForecastInflation",
    "HybridMean",
    "InvertedArctan",
    "ModelInTheLoop",
    "OutlierRejection",
    "Parameter",
    "PartialState",
    "Relinearised",
    "RTPP",
    "RTPS",
    "Rotation",
    "Smoother",
    "SpreadReset",
    "Standardised",
    "StaticCovariance",
    "Tempered",
    "WrappedUpdate",
    "Wrapper",
    "analyse_window",
    "letsf",
    "published",
]
