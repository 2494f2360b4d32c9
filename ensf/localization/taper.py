"""How fast trust fades: the compactly supported taper of Gaspari & Cohn (1999)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from ensf.arrays import Array, is_host, namespace

__all__ = ["gaspari_cohn"]


def gaspari_cohn(distance: Array, half_width: float | Array) -> Array:
    """Taper of Gaspari & Cohn (1999, eq. 4.10): 1 at 0, 5/24 at c, 0 from 2c on.

    Parameters
    ----------
    distance : array
        Non-negative, any shape.
    half_width : float or array
        Half-width c in the same unit, broadcast against `distance`; infinity means no taper.
    """
    xp = namespace(distance)
    r = distance / half_width
    if is_host(r) and r.dtype in (np.float32, np.float64) and r.flags.c_contiguous:
        _compiled()(r.reshape(-1))
        return r
    r = xp.clip(r, 0.0, 2.0)
    near = 1 + r * r * (-5 / 3 + r * (5 / 8 + r * (1 / 2 - r / 4)))
    s = xp.clip(r, 1.0, 2.0)
    far = 4 - 2 / (3 * s) + s * (-5 + s * (5 / 3 + s * (5 / 8 + s * (-1 / 2 + s / 12))))
    return xp.where(r < 1, near, xp.where(r < 2, xp.clip(far, 0.0, 1.0), xp.zeros_like(far)))


@cache
def _compiled() -> Callable[[np.ndarray], None]:
    """Overwrites distances in half-widths with the taper: the same in one pass."""
    import numba

    @numba.njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract", "arcp"})
    def taper(r):
        for k in range(r.size):
            s = min(max(r[k], 1), 2)
            far = 4 - 2 / (3 * s) + s * (-5 + s * (5 / 3 + s * (5 / 8 + s * (-1 / 2 + s / 12))))
            near = 1 + r[k] * r[k] * (-5 / 3 + r[k] * (5 / 8 + r[k] * (1 / 2 - r[k] / 4)))
            r[k] = near if r[k] < 1 else max(far, 0) if r[k] < 2 else 0

    return taper
