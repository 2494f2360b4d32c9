"""Where things are, what is near what, and how fast trust fades: distances, tapers, patches.

A *patch* is what one place of the model may learn from: the observations k within the support of the taper,

    rho_k = G(d_k / c),        d_k = distance of observation k,   c = half-width,

with G the compactly supported fifth-order function of Gaspari & Cohn (1999), zero beyond 2c. State variables
at the same place (levels of one column, several fields) share one patch. Local filters weigh the precision of
each observation by rho_k (R-localization). Neighbours are found through a k-d tree, never by all pairs.
"""

from ensf.localization.by_correlation import ByCorrelation
from ensf.localization.by_variable import ByVariable, variable_code
from ensf.localization.geometry import Euclidean, Geometry, Periodic, Sphere
from ensf.localization.information_limit import CountLimit, InformationLimit, PatchLimit
from ensf.localization.localization import Localization, periodic_line
from ensf.localization.patches import Patches
from ensf.localization.taper import gaspari_cohn
from ensf.localization.vertical import Layered, Product

__all__ = [
    "ByCorrelation",
    "ByVariable",
    "CountLimit",
    "Euclidean",
    "Geometry",
    "InformationLimit",
    "Layered",
    "Localization",
    "PatchLimit",
    "Patches",
    "Periodic",
    "Product",
    "Sphere",
    "gaspari_cohn",
    "periodic_line",
    "variable_code",
]
