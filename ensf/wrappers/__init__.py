"""HOLDS A FILTER AND IS ONE: control of the spread, other coordinates, several passes, guards."""

from ensf.wrappers.adaptive_inflation import AdaptiveInflation
from ensf.wrappers.collapse_guard import CollapseGuard
from ensf.wrappers.copula import Copula
from ensf.wrappers.deferred_analysis import DeferredAnalysis
from ensf.wrappers.finite_size import FiniteSize
from ensf.wrappers.model_in_the_loop import ModelInTheLoop
from ensf.wrappers.published import published
from ensf.wrappers.recommended import letsf
from ensf.wrappers.spread import RTPP, RTPS, AnalysisInflation, ForecastInflation, Rotation, SpreadReset
from ensf.wrappers.standardised import Standardised
from ensf.wrappers.tempered import Tempered

__all__ = [
    "AdaptiveInflation",
    "AnalysisInflation",
    "CollapseGuard",
    "Copula",
    "FiniteSize",
    "ForecastInflation",
    "ModelInTheLoop",
    "DeferredAnalysis",
    "RTPP",
    "RTPS",
    "Rotation",
    "SpreadReset",
    "Standardised",
    "Tempered",
    "letsf",
    "published",
]
