"""LETSF as all Lorenz pages use it: one fixed set of options, nothing tuned to the case."""

from ensf.adaptive import AdaptiveInflation
from ensf.experiment import Method
from ensf.information import InformationLimit
from ensf.localization import periodic_line
from ensf.spread import Rotation
from ensf.transform import LETSF


def adaptive_letsf(size: int, members: int) -> Method:
    """LETSF whose patches are limited by information and whose inflation follows the innovations."""
    inner = Rotation(LETSF(periodic_line(size, half_width=10.0), limit=InformationLimit()))
    summary = "LETSF, adaptive inflation, patches limited by information, rotated"
    return Method(AdaptiveInflation(inner, periodic_line(size, half_width=6.0)), members, summary)
