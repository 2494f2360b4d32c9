"""Normal numbers from a counter, compiled: imported where they are called, for Numba takes its time.

Loops over lanes have no branch, so that the compiler's vectors run across them. No fused products and no other order of
sums: the bits are those of `ensf.diffusion.counter.panel_normals`.
"""

from __future__ import annotations

import math

import numpy as np

from ensf.arrays.kernels import compiled
from ensf.diffusion.counter import COSINE_TERMS, LANES, LOG_TERMS, PANEL, SINE_TERMS

__all__ = ["fill", "panel_normals", "threefry", "workspace"]

_single, _word, _signed = np.float32, np.uint32, np.int32
_PARITY = np.uint32(0x1BD11BDA)
_LOG_2 = np.float32(math.log(2))
_TURN = np.float32(math.pi / 2**31)
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7, _L8 = LOG_TERMS
_S0, _S1, _S2 = SINE_TERMS
_C0, _C1, _C2 = COSINE_TERMS


@compiled(error_model="numpy")
def _mix(x, y, turn):
    x = _word(x + y)
    return x, _word(_word((y << turn) | (y >> (_word(32) - turn))) ^ x)


@compiled(error_model="numpy")
def _even_rounds(x, y):
    x, y = _mix(x, y, _word(13))
    x, y = _mix(x, y, _word(15))
    x, y = _mix(x, y, _word(26))
    return _mix(x, y, _word(6))


@compiled(error_model="numpy")
def _odd_rounds(x, y):
    x, y = _mix(x, y, _word(17))
    x, y = _mix(x, y, _word(29))
    x, y = _mix(x, y, _word(16))
    return _mix(x, y, _word(24))


@compiled(error_model="numpy")
def threefry(x, y, k0, k1):
    k2 = _word(k0 ^ k1 ^ _PARITY)
    x, y = _even_rounds(_word(x + k0), _word(y + k1))
    x, y = _odd_rounds(_word(x + k1), _word(y + k2 + _word(1)))
    x, y = _even_rounds(_word(x + k2), _word(y + k0 + _word(2)))
    x, y = _odd_rounds(_word(x + k0), _word(y + k1 + _word(3)))
    x, y = _even_rounds(_word(x + k1), _word(y + k2 + _word(4)))
    return _word(x + k2), _word(y + k0 + _word(5))


@compiled(error_model="numpy")
def workspace():
    """Words and numbers of a panel, and the bits of its numbers."""
    numbers = np.empty(PANEL, np.float32)
    return np.empty(LANES, np.uint32), np.empty(LANES, np.int32), numbers, numbers.view(np.int32)


@compiled(error_model="numpy")
def panel_normals(panel, row, k0, k1, work):
    """Overwrite the numbers of the workspace with those of a panel of a row."""
    angles, exponents, numbers, bits = work
    first, row = _word(panel * LANES), _word(row)
    for lane in range(LANES):
        radial, angle = threefry(_word(first + lane), row, k0, k1)
        angles[lane] = angle
        numbers[lane] = (_single(_signed(radial >> _word(1))) + _single(0.5)) * _single(2.0**-31)
    for lane in range(LANES):
        exponent = _signed(bits[lane] - _signed(0x3F3504F3)) >> _signed(23)
        bits[lane] = _signed(bits[lane] - _signed(exponent << _signed(23)))
        exponents[lane] = exponent
    for lane in range(LANES):
        m = numbers[lane] - _single(1)
        square = m * m
        series = ((((_L0 * m + _L1) * m + _L2) * m + _L3) * m + _L4) * m + _L5
        series = ((series * m + _L6) * m + _L7) * m + _L8
        log = m * square * series - _single(0.5) * square + m + _single(exponents[lane]) * _LOG_2
        radius = np.sqrt(_single(-2) * log)
        angle = angles[lane]
        quadrant = _word(_word(angle + _word(2**29)) >> _word(30))
        a = _single(_signed(angle - _word(quadrant << _word(30)))) * _TURN
        square = a * a
        sine = a + a * square * ((_S0 * square + _S1) * square + _S2)
        series = (_C0 * square + _C1) * square + _C2
        cosine = square * square * series - _single(0.5) * square + _single(1)
        odd = (quadrant & _word(1)) == 1
        turned = sine if odd else cosine
        crossed = cosine if odd else sine
        if (quadrant == 1) | (quadrant == 2):
            turned = -turned
        if quadrant >= 2:
            crossed = -crossed
        numbers[lane] = radius * turned
        numbers[LANES + lane] = radius * crossed


@compiled(nogil=True, error_model="numpy")
def fill(rows, k0, k1):
    """Overwrite ``(row, entry)`` with the numbers of a draw."""
    work = workspace()
    numbers = work[2]
    for row in range(rows.shape[0]):
        for panel in range((rows.shape[1] + PANEL - 1) // PANEL):
            panel_normals(panel, row, k0, k1, work)
            first = panel * PANEL
            for i in range(min(PANEL, rows.shape[1] - first)):
                rows[row, first + i] = numbers[i]
