"""Spread control for any error law, from the evidence of one cycle and the products of two."""

from ensf.wrappers.spread_control.control import AdaptiveSpread, SpreadMemory

__all__ = ["AdaptiveSpread", "SpreadMemory"]
