"""Standard normal numbers from a counter: a number depends on key, draw, row and entry, and on nothing drawn before.

Parts of an array, in any order and by any number of threads, get the same bits. Threefry-2x32 of 20 rounds (Salmon,
Moraes, Dror & Shaw 2011, Parallel random numbers: as easy as 1, 2, 3) turns a counter of two words under a key of two
into two random words,

    key of a draw = threefry((draw, 0), key),    words = threefry((lane, row), key of the draw),

and the first form of Box & Muller (1958) these into two normal numbers of single precision, whatever the dtype of the
state: a panel of `PANEL` entries has half as many lanes, whose cosines are its first half and whose sines its second.
`ensf.diffusion.counter_loops` is the compiled form, `panel_normals` here its twin in NumPy, with the same bits.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["LANES", "PANEL", "panel_normals", "threefry"]

PANEL = 512
"""Entries of a row that are drawn together."""
LANES = PANEL // 2

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)


def threefry(first: np.ndarray, second: np.ndarray, key_first: int, key_second: int) -> tuple[np.ndarray, np.ndarray]:
    """Two random words for each counter of two words (Threefry-2x32, 20 rounds).

    Parameters
    ----------
    first, second : array of uint32
        Words of the counters.
    key_first, key_second : int
        Words of the key, below 2^32.
    """
    schedule = [np.uint32(key_first), np.uint32(key_second), np.uint32(key_first ^ key_second) ^ _PARITY]
    with np.errstate(over="ignore"):
        x, y = first + schedule[0], second + schedule[1]
        for group in range(5):
            for turn in _ROTATIONS[group % 2]:
                x = x + y
                y = (y << np.uint32(turn) | y >> np.uint32(32 - turn)) ^ x
            x = x + schedule[(group + 1) % 3]
            y = y + schedule[(group + 2) % 3] + np.uint32(group + 1)
    return x, y


def panel_normals(panel: int, row: int, key_first: int, key_second: int) -> np.ndarray:
    """Normal numbers ``(PANEL,)`` of a panel of a row, in single precision, as the compiled loop has them."""
    lane = np.arange(panel * LANES, (panel + 1) * LANES).astype(np.uint32)
    radial, angular = threefry(lane, np.full(LANES, row, np.uint32), key_first, key_second)
    uniform = ((radial >> np.uint32(1)).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-31)
    radius = np.sqrt(np.float32(-2) * _log(uniform))
    cosine, sine = _cosine_and_sine(angular)
    return np.concatenate([radius * cosine, radius * sine])


LOG_TERMS = tuple(
    np.float32(term)
    for term in (
        *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
        *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
    )
)
SINE_TERMS = tuple(np.float32(term) for term in (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1))
COSINE_TERMS = tuple(np.float32(term) for term in (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2))
"""Of Moshier's Cephes library, single precision."""


def _log(x: np.ndarray) -> np.ndarray:
    bits = x.view(np.int32)
    exponent = bits - np.int32(0x3F3504F3) >> np.int32(23)
    m = (bits - (exponent << np.int32(23))).view(np.float32) - np.float32(1)
    series: np.ndarray | np.float32 = LOG_TERMS[0]
    for term in LOG_TERMS[1:]:
        series = series * m + term
    square = m * m
    return m * square * series - np.float32(0.5) * square + m + exponent.astype(np.float32) * np.float32(math.log(2))


def _cosine_and_sine(angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of angles in units of 2^-32 of a full turn."""
    with np.errstate(over="ignore"):
        quadrant = angle + np.uint32(2**29) >> np.uint32(30)
        rest = (angle - (quadrant << np.uint32(30))).view(np.int32)
    a = rest.astype(np.float32) * np.float32(math.pi / 2**31)
    square = a * a
    sine = a + a * square * ((SINE_TERMS[0] * square + SINE_TERMS[1]) * square + SINE_TERMS[2])
    series = (COSINE_TERMS[0] * square + COSINE_TERMS[1]) * square + COSINE_TERMS[2]
    cosine = square * square * series - np.float32(0.5) * square + np.float32(1)
    odd = (quadrant & np.uint32(1)) == 1
    turned, crossed = np.where(odd, sine, cosine), np.where(odd, cosine, sine)
    return np.where((quadrant == 1) | (quadrant == 2), -turned, turned), np.where(quadrant >= 2, -crossed, crossed)
