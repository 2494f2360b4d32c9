"""What a memory is made of, by its name in a file."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["COUNT", "KNOT", "NUMBER", "STATE", "Quantity"]

COUNT, NUMBER, KNOT, STATE = "count", "number", "knot", "state"
"""What a quantity is one of: one whole number, one number, one at each knot, one at each entry of the state."""


@dataclass(frozen=True)
class Quantity:
    """A part of a memory: its attribute, its name in the file, what it is one of, its meaning, and its lowest value."""

    attribute: str
    name: str
    along: str
    meaning: str
    lowest: float = 0.0
