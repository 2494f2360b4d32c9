"""PRIOR + OBSERVATION -> ANALYSIS: the filters. Read `base` first, then the one you are after.

    filter                one line                            needs                                  reports
    EnKF                  perturbed observations              Gaussian errors, also correlated       -
    ETKF                  symmetric square root               Gaussian errors, also correlated       degrees_of_freedom
    LETKF                 an ETKF at every place              Gaussian errors, places                degrees_of_freedom
    SchurEnKF             localized covariances, few data     Gaussian errors, places                degrees_of_freedom
    LETSF                 score flow at every place           errors of any law, places              degrees_of_freedom
    QuantileFilter        quantiles kept, serial (EAKF, RHF)  independent errors of any law, places  -
    ParticleFilter        weights and resampling              any law, few variables                 effective_size
    FixedGainMAP          nudging of observed variables       Gaussian errors, single variables      -
    EnSF                  reverse-time diffusion              adjoint of h, whole states             steps, clipped
    IteratedEnSF          EnSF about its own last analysis    adjoint of h, whole states             steps, moved
    EnFF                  flow matched to the members         adjoint of h, whole states             steps
    OptimalInterpolation  a static correlation                Gaussian errors, whole states          -
    FreeRun               the prior, as a reference           -                                      -

None of them but EnFF remembers anything from cycle to cycle. All but those of whole states are `Preparable`: they know
of the state only what the members predict of the observations, and their `prepare` gives an update for any part of it.
Where "places" are needed, a filter without localization does without. Where errors are to be independent they may be so
in groups (`ensf.observations.Grouped`).
"""

from ensf.filters.base import Analysis, Filter, Part, Preparable, Prepared, Update, usable
from ensf.filters.enff import EnFF, FilteringToPredictive, OptimalTransport
from ensf.filters.ensf import EnSF, StiffnessWarning
from ensf.filters.fixed_gain import FixedGainMAP
from ensf.filters.free_run import FreeRun
from ensf.filters.iterated_ensf import IteratedEnSF
from ensf.filters.kalman import ETKF, LETKF, EnKF, SchurEnKF
from ensf.filters.letsf import LETSF
from ensf.filters.lost import Lost
from ensf.filters.optimal_interpolation import OptimalInterpolation
from ensf.filters.particle import ParticleFilter
from ensf.filters.quantile import Kernel, QuantileFilter, RankHistogram

__all__ = [
    "Analysis",
    "ETKF",
    "EnFF",
    "EnKF",
    "EnSF",
    "Filter",
    "FilteringToPredictive",
    "FixedGainMAP",
    "FreeRun",
    "IteratedEnSF",
    "Kernel",
    "LETKF",
    "LETSF",
    "Lost",
    "OptimalInterpolation",
    "OptimalTransport",
    "Part",
    "ParticleFilter",
    "Preparable",
    "Prepared",
    "QuantileFilter",
    "RankHistogram",
    "SchurEnKF",
    "StiffnessWarning",
    "Update",
    "usable",
]
