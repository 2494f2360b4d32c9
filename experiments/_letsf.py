"""LETSF as all Lorenz and Kuramoto-Sivashinsky pages use it: one fixed set of options, nothing tuned to the case."""

from ensf.filters import LETSF, Filter
from ensf.localization import InformationLimit, Localization, periodic_line
from ensf.twin import Method
from ensf.wrappers import AdaptiveSpread, ModelInTheLoop, Relinearised, Rotation


def adaptive_letsf(size: int, members: int, reach: float = 20.0) -> Method:
    """LETSF on a ring whose patches, at most `reach` points wide, are limited by information; adaptive spread."""
    letsf = LETSF(periodic_line(size, reach), information_limit=InformationLimit())
    summary = "LETSF, adaptive spread, patches limited by information, rotated"
    return Method(AdaptiveSpread(Rotation(letsf), periodic_line(size, 10.0)), members, summary)


def looped_letsf(size: int, members: int, reach: float = 20.0) -> Method:
    """The same with the model in the loop."""
    letsf = LETSF(periodic_line(size, reach), information_limit=InformationLimit())
    return Method(in_the_loop(letsf, periodic_line(size, 10.0)), members, "the same, model in the loop")


def in_the_loop(filter: Filter, localization: Localization) -> Filter:
    """Model in the loop around a filter without inflation, with adaptive spread."""
    return ModelInTheLoop(AdaptiveSpread(Relinearised(Rotation(filter)), localization))
