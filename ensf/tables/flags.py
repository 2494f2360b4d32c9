"""Why an observation was not used: integer codes with a sentence each.

Code 0 means used. The codes of whoever made the observations are theirs, and mean "do not use"; those that this package
gives begin at 101, so that both fit in one column.
"""

from __future__ import annotations

__all__ = [
    "BAD_ERROR",
    "BAD_HEIGHT",
    "BAD_POSITION",
    "BAD_VALUE",
    "DUPLICATE",
    "GROSS",
    "IMPOSSIBLE",
    "LAND",
    "LEVEL",
    "MERGED",
    "MISSING",
    "NOT_GOOD",
    "NO_ERROR",
    "NO_TIME",
    "OUTSIDE",
    "REASONS",
    "THINNED",
    "UNKNOWN",
    "UNREADABLE",
    "USED",
    "WINDOW",
    "WITHHELD",
]

USED = 0
MISSING, OUTSIDE, LEVEL, LAND, WINDOW, GROSS, DUPLICATE, THINNED, MERGED, NO_ERROR = range(101, 111)
UNREADABLE, UNKNOWN, BAD_VALUE, BAD_ERROR, NO_TIME, BAD_POSITION, BAD_HEIGHT, NOT_GOOD, WITHHELD, IMPOSSIBLE = range(
    111, 121
)

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
    UNREADABLE: "an entry cannot be read",
    UNKNOWN: "variable not in the state",
    BAD_VALUE: "value not a number of the states",
    BAD_ERROR: "error not positive",
    NO_TIME: "time missing",
    BAD_POSITION: "no such place",
    BAD_HEIGHT: "height not finite",
    NOT_GOOD: "code 0 of its provider is not good",
    WITHHELD: "withheld for scoring",
    IMPOSSIBLE: "value that its error law cannot give",
}
"""Sentence of each code that this package gives."""
