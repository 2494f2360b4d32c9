"""LETSF as all Lorenz pages use it: one fixed set of options, nothing tuned to the case."""

from ensf.adaptive import AdaptiveInflation
from ensf.experiment import Method
from ensf.information import InformationLimit
from ensf.localization import periodic_line
from ensf.spread import Rotation
from ensf.transform import LETSF


def adaptive_letsf(size: int, members: int, interval: float = 1.0) -> Method:
    """LETSF whose patches are limited by information and whose inflation follows the innovations.

    Half-widths are 20 and 10 grid points of this interval: as wide as 40 members with linear dynamics like it.
    """
    wide, near = (periodic_line(size, points * interval, size * interval) for points in (20.0, 10.0))
    inner = Rotation(LETSF(wide, limit=InformationLimit()))
    return Method(AdaptiveInflation(inner, near), members, "LETSF, adaptive inflation, patches limited by information")
