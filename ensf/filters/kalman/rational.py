r"""The functions of a step of the flow as sums of shifted inverses.

From alpha_0 to alpha_1, with v = 1 + (1 - alpha^2) l of the eigenvalue l (`ensf.filters.letsf.flow`), a step needs

    psi(l) = (sqrt(v_1 / v_0) - 1) / l,      phi(l) = (alpha_1 - alpha_0 sqrt(v_1 / v_0)) / (1 + l).

Hale, Higham & Trefethen (2008), SIAM J. Numer. Anal. 46, 2505, write z^{-1/2} on [1, kappa] as sum_i w_i / (z + t_i)
with an error that falls by exp(-2 pi K / K') a node. With z = kappa v_1 / v_0,

    psi(l) = sum_i p_i / (l + tau_i),        tau_i = (1 + t_i) / (b_1 + t_i b_0),        b = 1 - alpha^2,

which is -(b_0 - b_1) / 2 at l = 0 and has no other poles than tau_i >= 1; and phi follows with one inverse more,

    phi(l) = [(alpha_1 - alpha_0) + alpha_0 psi(l)] / (1 + l) - alpha_0 psi(l).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

__all__ = ["CLASSES", "inverse_root", "rule"]

CLASSES = 4.0 ** np.arange(1, 12)
"""Bounds kappa on 1 + trace G; each place takes the first that is large enough."""
DIGITS = 1e-16


@lru_cache
def inverse_root(kappa: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes t and weights w with ``z^{-1/2} = sum w / (z + t)`` for z in [1, kappa].

    Parameters
    ----------
    kappa : float
        Above 1.
    """
    from scipy.special import ellipj, ellipk, ellipkm1

    own, other = float(ellipk(1 / kappa)), float(ellipkm1(1 / kappa))
    count = math.ceil(math.log(4 / DIGITS) * other / (2 * math.pi * own))
    near = (np.arange(count) + 0.5) * other / count
    far = near > other / 2  # cn loses digits there: by reflection about K' / 2
    sine, cosine, delta, _ = ellipj(np.where(far, near[::-1], near), 1 - 1 / kappa)
    nodes = np.where(far, kappa * (cosine / sine) ** 2, (sine / cosine) ** 2)
    weights = np.where(far, math.sqrt(kappa) * delta / sine**2, delta / cosine**2)
    return nodes, 2 * other / (math.pi * count) * weights


@lru_cache
def rule(start: float, end: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """tau and p of psi ``(class, node)``, and the nodes of each class, for a step from alpha = start to end."""
    parts = [inverse_root(float(kappa)) for kappa in CLASSES]
    counts = np.array([len(nodes) for nodes, _ in parts])
    shifts, factors = np.ones((len(CLASSES), counts.max())), np.zeros((len(CLASSES), counts.max()))
    before, after = 1 - start**2, 1 - end**2
    for k, (kappa, (nodes, weights)) in enumerate(zip(CLASSES, parts, strict=True)):
        t, w = nodes / kappa, weights / math.sqrt(kappa)
        slope = after + t * before
        shifts[k, : counts[k]] = (1 + t) / slope
        factors[k, : counts[k]] = -w * t * (end - start) * (end + start) / ((1 + t) * slope)
    return shifts, factors, counts
