"""LETSF as all Lorenz and Kuramoto-Sivashinsky pages use it: one fixed set of options, nothing tuned to the case."""

from ensf.filters import LETSF, Filter
from ensf.localization import InformationLimit, Localization, periodic_line
from ensf.twin import Method
from ensf.wrappers import AdaptiveInflation, AdaptiveSpread, ModelInTheLoop, Rotation, Tempered

PIECES = 4


def adaptive_letsf(size: int, members: int, reach: float = 20.0) -> Method:
    """LETSF on a ring whose patches, at most `reach` points wide, are limited by information; adaptive spread."""
    letsf = LETSF(periodic_line(size, reach), information_limit=InformationLimit())
    summary = "LETSF, adaptive spread, patches limited by information, rotated"
    return Method(AdaptiveSpread(Rotation(letsf), periodic_line(size, 10.0)), members, summary)


def looped_letsf(size: int, members: int, reach: float = 20.0) -> Method:
    """The same with the model in the loop."""
    letsf = LETSF(periodic_line(size, reach), steps=1, information_limit=InformationLimit())
    return Method(in_the_loop(letsf, periodic_line(size, 10.0)), members, "the same, model in the loop")


def in_the_loop(filter: Filter, localization: Localization) -> Filter:
    """Model in the loop around a filter of one step, with adaptive inflation."""
    return ModelInTheLoop(AdaptiveInflation(Rotation(Tempered(filter, PIECES)), localization))
