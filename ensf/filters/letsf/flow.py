r"""The exact step of the score flow with frozen coefficients, at every place in the space of the members.

In the eigenvectors q of the Gram matrix G = S S^T of whitened predicted anomalies S = A H^T R^{-1/2} / sqrt(J - 1)
the flow (*) of `ensf.filters.letsf.filter` goes from alpha_0 to alpha_1 by

    c_1 = alpha_1 b / (1 + l) + sqrt(v_1 / v_0) (c_0 - alpha_0 b / (1 + l)),        v = 1 + (1 - alpha^2) l,

with l the eigenvalue, c = q^T w the state u - m = A^T w / sqrt(J - 1), and b = q^T S R^{-1/2} (y_j - H m). The state
comes in through l c_0 = q^T S R^{-1/2} H (u_j - m), which is sqrt(J - 1) l q_j as long as the members are the prior's.

NumPy arrays go through compiled loops (`ensf.filters.kalman.local_transform`); other arrays through batched array code.
"""

from __future__ import annotations

import math

import numpy as np

from ensf.arrays import Array, is_host, like, namespace
from ensf.filters.kalman.local_transform import BLOCK, on_host, place_spectrum
from ensf.localization import Patches

__all__ = ["exponential_step"]


def exponential_step(anomalies: Array, rows: Array, start: float, end: float, patches: Patches) -> tuple[Array, Array]:
    """Change of the ensemble from alpha = start to end.

    Parameters
    ----------
    anomalies : (member, state) array
        Prior anomalies over ``sqrt(J - 1)``.
    rows : (observation, column) array
        Whitened: J columns S, then 1 or J columns y - H m, then J columns H (u - m), or none for u = prior.
    start, end : float
    patches : Patches

    Returns
    -------
    increment : (member, state) array
    degrees_of_freedom : (state,) array
        Sum of l/(1+l) at the place of each state variable.
    """
    if not is_host(anomalies):
        return _batched(anomalies, rows, patches, start, end)
    return on_host(anomalies, rows, start, end, patches)


# --- the same as batched array code ----------------------------------------------------------------------


def _batched(anomalies: Array, rows: Array, patches: Patches, start: float, end: float) -> tuple[Array, Array]:
    xp = namespace(anomalies)
    index, weight = patches.padded
    step = max(1, BLOCK // (index.shape[1] * rows.shape[1]))
    parts = []
    for first in range(0, len(index), step):
        block = slice(first, first + step)
        weights, freedom = _block(
            rows, like(index[block], rows), like(np.sqrt(weight[block]), rows), anomalies.shape[0], start, end
        )
        local = xp.take(anomalies, like(patches.variables[block].ravel(), anomalies), axis=1)
        local = xp.reshape(local.T, (*patches.variables[block].shape, -1))
        freedom = xp.reshape(xp.broadcast_to(freedom[:, None], local.shape[:2]), (-1,))
        parts.append((xp.reshape(xp.matmul(local, weights), (-1, anomalies.shape[0])), freedom))
    order = like(patches.slots, anomalies)
    increment, freedom = (xp.take(xp.concat(part, axis=0), order, axis=0) for part in zip(*parts, strict=True))
    return increment.T, freedom


def _block(rows: Array, index: Array, root: Array, members: int, start: float, end: float) -> tuple[Array, Array]:
    """Weights ``(place, member, member)`` and degrees of freedom of places with observations ``(place, most)``."""
    xp = namespace(rows)
    local = xp.reshape(xp.take(rows, xp.reshape(index, (-1,)), axis=0), (*index.shape, -1)) * root[..., None]
    values, vectors, along = place_spectrum(local[..., :members], local[..., members:])
    values = values[..., None]
    v0, v1 = 1 + (1 - start**2) * values, 1 + (1 - end**2) * values
    ratio = xp.sqrt(v1 / v0)
    pull, memory = (end - start * ratio) / (1 + values), -(end**2 - start**2) / (v0 * (1 + ratio))
    if along.shape[-1] > members:
        departed, displaced = along[..., :-members], along[..., -members:]
    else:
        departed, displaced = along, math.sqrt(members - 1) * values * xp.matrix_transpose(vectors)
    weights = xp.matmul(vectors, pull * departed + memory * displaced)
    return weights, xp.sum(values / (1 + values), axis=(-2, -1))
