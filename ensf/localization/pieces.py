"""The polynomials of the taper of Gaspari & Cohn (1999, eq. 4.10), for array code and compiled loops alike."""

from __future__ import annotations

from ensf.arrays import Array

__all__ = ["inner", "outer"]


def inner(r: Array) -> Array:
    """Taper within one half-width, ``0 <= r <= 1``."""
    return 1 + r * r * (-5 / 3 + r * (5 / 8 + r * (1 / 2 - r / 4)))


def outer(r: Array) -> Array:
    """Taper between one half-width and two, ``1 <= r <= 2``; near 2 it may fall below 0 by rounding."""
    return 4 - 2 / (3 * r) + r * (-5 + r * (5 / 3 + r * (5 / 8 + r * (-1 / 2 + r / 12))))
