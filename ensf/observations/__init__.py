"""WHAT WAS SEEN.

Y = h(x) + e, a record of values, their operator h, the law of e, and networks that make such records.
"""

from ensf.observations.combined import Combined
from ensf.observations.error_laws import Correlated, ErrorLaw, Gaussian, Independent
from ensf.observations.functions import (
    Affine,
    Composed,
    Function,
    Mixed,
    absolute,
    arctan,
    cube,
    exponential,
    identity,
    log,
    square,
)
from ensf.observations.grouped import Grouped
from ensf.observations.joined import Joined
from ensf.observations.joined_law import JoinedLaw
from ensf.observations.networks import RandomPoints, RegularPoints
from ensf.observations.non_gaussian import (
    Censored,
    Contaminated,
    Laplace,
    Lognormal,
    Poisson,
    Proportional,
    StudentT,
    Threshold,
)
from ensf.observations.observation import Observation
from ensf.observations.operators import (
    Callback,
    Identity,
    Linear,
    Operator,
    Pointwise,
    Select,
    Simulated,
    Stacked,
    WindSpeed,
)
from ensf.observations.trajectory import at_times
from ensf.observations.window import Window

__all__ = [
    "Affine",
    "Callback",
    "Combined",
    "Censored",
    "Composed",
    "Contaminated",
    "Correlated",
    "ErrorLaw",
    "Function",
    "Gaussian",
    "Grouped",
    "Identity",
    "Independent",
    "Joined",
    "JoinedLaw",
    "Laplace",
    "Linear",
    "Lognormal",
    "Mixed",
    "Observation",
    "Operator",
    "Pointwise",
    "Poisson",
    "Proportional",
    "RandomPoints",
    "RegularPoints",
    "Select",
    "Simulated",
    "Stacked",
    "StudentT",
    "Threshold",
    "WindSpeed",
    "Window",
    "absolute",
    "arctan",
    "at_times",
    "cube",
    "exponential",
    "identity",
    "log",
    "square",
]
