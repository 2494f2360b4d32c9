"""What happened since the last analysis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ensf.arrays import Array, summary

__all__ = ["Window"]


@dataclass(frozen=True, eq=False)
class Window:
    """The way of the members from the last analysis to the observations.

    Attributes
    ----------
    start : (member, state) array
        Ensemble at the start of the window.
    end : (member, state) array
        Its forecast.
    forecast : callable
        Deterministic forecast of states ``(..., state)`` over the window.
    """

    start: Array
    end: Array
    forecast: Callable[[Array], Array]

    def __repr__(self) -> str:
        return f"Window({summary(self.start)} to {summary(self.end)})"
