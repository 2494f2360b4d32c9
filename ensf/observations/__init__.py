"""WHAT WAS SEEN.

Y = h(x) + e, a record of values, their operator h, the law of e, and networks that make such records.
"""

from ensf.observations.error_laws import Correlated, ErrorLaw, Gaussian, Independent
from ensf.observations.functions import (
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
from ensf.observations.joined import Joined
from ensf.observations.networks import RandomPoints, RegularPoints
from ensf.observations.non_gaussian import Censored, Laplace, Poisson, StudentT, Threshold
from ensf.observations.observation import Observation
from ensf.observations.operators import Callback, Identity, Linear, Operator, Pointwise, Select, WindSpeed

__all__ = [
    "Callback",
    "Censored",
    "Composed",
    "Correlated",
    "ErrorLaw",
    "Function",
    "Gaussian",
    "Identity",
    "Independent",
    "Joined",
    "Laplace",
    "Linear",
    "Mixed",
    "Observation",
    "Operator",
    "Pointwise",
    "Poisson",
    "RandomPoints",
    "RegularPoints",
    "Select",
    "StudentT",
    "Threshold",
    "WindSpeed",
    "absolute",
    "arctan",
    "cube",
    "exponential",
    "identity",
    "log",
    "square",
]
