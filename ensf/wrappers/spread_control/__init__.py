"""Spread control for any error law, from the evidence of one cycle and the products of two."""

from ensf.wrappers.spread_control.control import AdaptiveSpread
from ensf.wrappers.spread_control.memory import SpreadMemory

__all__ = ["AdaptiveSpread", "SpreadMemory"]
