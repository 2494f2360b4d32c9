"""Why an observation was not used: integer codes with a sentence each.

Code 0 means used. The codes of whoever made the observations are theirs, and mean "do not use"; those that this package
gives begin at 101, so that both fit in one column.
"""

from __future__ import annotations

__all__ = [
    "DUPLICATE",
    "GROSS",
    "LAND",
    "LEVEL",
    "MERGED",
    "MISSING",
    "NO_ERROR",
    "OUTSIDE",
    "REASONS",
    "THINNED",
    "USED",
    "WINDOW",
    "WITHHELD",
]

USED = 0
MISSING, OUTSIDE, LEVEL, LAND, WINDOW, GROSS, DUPLICATE, THINNED, MERGED, NO_ERROR = range(101, 111)
WITHHELD = 120

REASONS = {
    USED: "used",
    MISSING: "value missing",
    OUTSIDE: "out of domain",
    LEVEL: "outside the levels, or without z",
    LAND: "on land",
    WINDOW: "outside the time window",
    GROSS: "gross check",
    DUPLICATE: "duplicate",
    THINNED: "thinned",
    MERGED: "merged into a super-observation",
    NO_ERROR: "error missing",
    WITHHELD: "withheld for scoring",
}
"""Sentence of each code that this package gives."""
