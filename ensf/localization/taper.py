"""How fast trust fades: the compactly supported taper of Gaspari & Cohn (1999)."""

from __future__ import annotations

import numpy as np

from ensf.arrays import Array, is_host, namespace
from ensf.localization.pieces import inner, outer

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
        from ensf.localization.loops import taper

        taper(r.reshape(-1))
        return r
    near, far = inner(xp.clip(r, 0.0, 1.0)), outer(xp.clip(r, 1.0, 2.0))
    return xp.where(r < 1, near, xp.where(r < 2, xp.clip(far, 0.0, 1.0), xp.zeros_like(far)))
