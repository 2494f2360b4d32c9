"""Patches limited by information content: no radius is tuned by hand.

An ensemble of J members cannot absorb more than a few degrees of freedom per patch. With the eigenvalues l of the Gram
matrix of whitened predicted anomalies, tapered at half-width c,

    DFS(c) = sum l / (1 + l)        (degrees of freedom for signal),

each place gets the largest half-width at which DFS stays below a fraction of J, interpolated between the half-widths of
a descending list so that it varies smoothly in space.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from ensf.arrays import SMALL, Array, blas_threads, is_host, like, namespace, to_numpy
from ensf.localization.patches import Patches
from ensf.localization.taper import gaspari_cohn

__all__ = ["InformationLimit", "degrees_of_freedom"]


@dataclass(frozen=True)
class InformationLimit:
    """Rule for the half-width of each patch.

    Parameters
    ----------
    fraction : float
        Largest degrees of freedom for signal of a patch, as a fraction of the number of members.
    shrink : tuple of float
        Descending factors of the localization's half-width that may be chosen; the first is 1.
    """

    fraction: float = 0.2
    shrink: tuple[float, ...] = (1.0, 0.75, 0.55, 0.4, 0.3, 0.2, 0.12)

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"information fraction is {self.fraction}: give a number above 0, at most 1")
        if self.shrink[0] != 1 or any(b >= a for a, b in zip(self.shrink, self.shrink[1:], strict=False)):
            raise ValueError(f"shrink factors are {self.shrink}: give a list that falls from 1")

    def narrow(self, patches: Patches, half_width: float, seen: Array) -> Patches:
        """Patches with a half-width of their own at each place.

        Parameters
        ----------
        patches : Patches
            Built with `half_width`.
        half_width : float
        seen : (member, observation) array
            Whitened predicted anomalies divided by ``sqrt(J - 1)``.
        """
        return patches.narrowed(half_width * self.chosen(patches, half_width, seen))

    def chosen(self, patches: Patches, half_width: float, seen: Array) -> np.ndarray:
        """Factor of the half-width at each place, ``(point,)``."""
        most = self.fraction * seen.shape[0]
        factor = np.full(len(patches.variables), self.shrink[-1])
        wider = degrees_of_freedom(patches, half_width, seen)
        factor[wider <= most] = self.shrink[0]
        open_ = wider > most
        for large, small in zip(self.shrink, self.shrink[1:], strict=False):
            if not open_.any():
                break
            narrower = degrees_of_freedom(patches, small * half_width, seen)
            here = open_ & (narrower <= most)
            share = (most - narrower[here]) / np.maximum(wider[here] - narrower[here], 1e-12)
            factor[here] = small + (large - small) * share
            open_ &= ~here
            wider = narrower
        return factor


def degrees_of_freedom(patches: Patches, half_width: float, seen: Array) -> np.ndarray:
    """DFS of every patch at a half-width, ``(point,)``, on the host."""
    if not is_host(seen):
        return to_numpy(_batched(patches, half_width, seen))
    weight = gaspari_cohn(patches.distance, half_width)
    freedom = np.empty(len(patches.variables))
    work = len(freedom) * seen.shape[0] ** 3
    loop = _loop if work < SMALL else _loop_in_parallel
    with blas_threads(work):
        loop(np.ascontiguousarray(seen.T), patches.indptr, patches.index, weight, freedom)
    return freedom


@numba.njit(cache=True)
def _loop(rows, indptr, index, weight, freedom):
    for i in range(freedom.size):
        near = slice(indptr[i], indptr[i + 1])
        freedom[i] = _freedom(rows, index[near], weight[near])


@numba.njit(cache=True, parallel=True)
def _loop_in_parallel(rows, indptr, index, weight, freedom):
    for i in numba.prange(freedom.size):
        near = slice(indptr[i], indptr[i + 1])
        freedom[i] = _freedom(rows, index[near], weight[near])


@numba.njit(cache=True)
def _freedom(rows, index, weight):
    """``tr(I - (I + G)^{-1})`` of one place, by a Cholesky factor."""
    members = rows.shape[1]
    local = np.empty((np.count_nonzero(weight), members))
    near = 0
    for k in range(index.size):
        if weight[k] > 0:
            local[near] = np.sqrt(weight[k]) * rows[index[k]]
            near += 1
    factor = np.linalg.cholesky(np.eye(members) + np.dot(local.T, local))
    return members - _squared_norm_of_inverse(factor)


@numba.njit(cache=True)
def _squared_norm_of_inverse(factor):
    """Sum of the squares of the inverse of a lower triangular matrix, column by column."""
    total, column = 0.0, np.empty(factor.shape[0])
    for j in range(factor.shape[0]):
        column[j] = 1 / factor[j, j]
        total += column[j] ** 2
        for i in range(j + 1, factor.shape[0]):
            inner = 0.0
            for k in range(j, i):
                inner -= factor[i, k] * column[k]
            column[i] = inner / factor[i, i]
            total += column[i] ** 2
    return total


def _batched(patches: Patches, half_width: float, seen: Array) -> Array:
    xp = namespace(seen)
    distance = np.zeros_like(patches.padded[1])
    filled = np.arange(distance.shape[1]) < np.diff(patches.indptr)[:, None]
    distance[filled] = patches.distance
    root = np.where(filled, np.sqrt(gaspari_cohn(distance, half_width)), 0.0)
    index = like(patches.padded[0], seen)
    local = (
        xp.reshape(xp.take(seen.T, xp.reshape(index, (-1,)), axis=0), (*index.shape, -1)) * like(root, seen)[..., None]
    )
    values = xp.linalg.eigvalsh(xp.matmul(xp.matrix_transpose(local), local))
    values = xp.clip(values, 0.0, None)
    return xp.sum(values / (1 + values), axis=-1)
