"""HOLDS A FILTER AND IS ONE: control of the spread, other coordinates, several passes, guards."""

from ensf.wrappers.adaptive_inflation import AdaptiveInflation
from ensf.wrappers.collapse_guard import CollapseGuard
from ensf.wrappers.copula import Copula
from ensf.wrappers.deferred_analysis import DeferredAnalysis
from ensf.wrappers.finite_size import FiniteSize
from ensf.wrappers.fixed_spread import FixedSpread
from ensf.wrappers.inverted_arctan import InvertedArctan
from ensf.wrappers.model_in_the_loop import ModelInTheLoop
from ensf.wrappers.partial_state import PartialState
from ensf.wrappers.published import published
from ensf.wrappers.spread import RTPP, RTPS, AnalysisInflation, ForecastInflation, Rotation, SpreadReset
from ensf.wrappers.standardised import Standardised
from ensf.wrappers.tempered import Tempered

__all__ = [
    "AdaptiveInflation",
    "AnalysisInflation",
    "CollapseGuard",
    "Copula",
    "FiniteSize",
    "FixedSpread",
    "ForecastInflation",
    "InvertedArctan",
    "ModelInTheLoop",
    "DeferredAnalysis",
    "PartialState",
    "RTPP",
    "RTPS",
    "Rotation",
    "SpreadReset",
    "Standardised",
    "Tempered",
    "published",
]
