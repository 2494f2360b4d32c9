"""Patches limited by information content: no radius is tuned by hand.

An ensemble of J members cannot absorb more than a few degrees of freedom per patch. With the eigenvalues l of the Gram
matrix of whitened predicted anomalies, tapered at half-width c,

    DFS(c) = sum l / (1 + l)        (degrees of freedom for signal),

each place gets the largest half-width at which DFS stays below a fraction of J, interpolated between the half-widths of
a descending list so that it varies smoothly in space.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from ensf.arrays import Array, blas_threads, is_count, is_host, like, namespace, to_numpy
from ensf.arrays.settings import check_settings
from ensf.localization.lockstep import grouped_by_size, shared_out
from ensf.localization.patches import Patches, first_of
from ensf.localization.taper import gaspari_cohn

__all__ = ["CountLimit", "InformationLimit", "PatchLimit", "degrees_of_freedom"]


class PatchLimit(Protocol):
    """A rule that makes patches smaller, from what the members predict."""

    def narrow(
        self, patches: Patches, half_width: float, anomalies: Array, group: np.ndarray | None = None
    ) -> tuple[Patches, np.ndarray]:
        """Smaller patches, and the half-width of each place, ``(point,)``; `InformationLimit` says what is given."""


@dataclass(frozen=True)
class CountLimit:
    """So many observations for a place: those with the largest tapered ratio of ensemble to error variance.

    With ``rho_k`` the taper and ``s_k`` the whitened predicted anomalies of observation k it is ``rho_k |s_k|^2``; of a
    group the mean over its observations. Of equal ones all are kept, and groups as a whole, as in `Localization`.

    Parameters
    ----------
    count : int

    Raises
    ------
    ValueError
        If it is no count.
    """

    count: int

    def __post_init__(self) -> None:
        check_settings(self)
        if not is_count(self.count):
            raise ValueError(f"count limit is {self.count}: give a whole number, 1 or more")

    def narrow(
        self, patches: Patches, half_width: float, anomalies: Array, group: np.ndarray | None = None
    ) -> tuple[Patches, np.ndarray]:
        """Patches of so many observations; the half-width stays."""
        host = to_numpy(anomalies)
        information = np.sum(np.ascontiguousarray(host.T) ** 2, axis=1)
        if group is not None:
            _, number, size = np.unique(group, return_inverse=True, return_counts=True)
            information = (np.bincount(number.ravel(), information) / size)[number.ravel()]
        cost = -patches.weight * information[patches.index]
        return first_of(patches, cost, self.count, group), np.full(len(patches.variables), half_width)


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
        check_settings(self)
        if not 0 < self.fraction <= 1:
            raise ValueError(f"information fraction is {self.fraction}: give a number above 0, at most 1")
        object.__setattr__(self, "shrink", tuple(self.shrink))
        falling = all(0 < b < a for a, b in pairwise(self.shrink))
        if self.shrink[:1] != (1,) or not falling:
            raise ValueError(f"shrink factors are {self.shrink}: give a list that falls from 1 and stays above 0")

    def narrow(
        self, patches: Patches, half_width: float, anomalies: Array, group: np.ndarray | None = None
    ) -> tuple[Patches, np.ndarray]:
        """Patches with a half-width of their own at each place; those without a half-width stay as they are.

        Parameters
        ----------
        patches : Patches
            Built with `half_width`.
        half_width : float
        anomalies : (member, observation) array
            Whitened predicted anomalies divided by ``sqrt(J - 1)``.
        group : (observation,) array of int, optional
            Of the same distance, and so kept or left out as a whole.

        Returns
        -------
        patches : Patches
        half_width : (point,) array
        """
        if np.isinf(half_width):
            return patches, np.full(len(patches.variables), half_width)
        chosen = half_width * self.chosen(patches, half_width, anomalies)
        return patches.narrowed(chosen), chosen

    def chosen(self, patches: Patches, half_width: float, anomalies: Array) -> np.ndarray:
        """Factor of the half-width at each place, ``(point,)``."""
        limit = self.fraction * anomalies.shape[0]
        factor = np.full(len(patches.variables), self.shrink[-1])
        wider = degrees_of_freedom(patches, patches.weight, anomalies)
        factor[wider <= limit] = self.shrink[0]
        undecided = wider > limit
        for large, small in zip(self.shrink, self.shrink[1:], strict=False):
            if not undecided.any():
                break
            asked = np.repeat(undecided, np.diff(patches.indptr))
            taper = np.zeros_like(patches.weight)
            taper[asked] = gaspari_cohn(patches.distance[asked], small * half_width)
            narrower = degrees_of_freedom(patches, taper, anomalies, undecided)
            here = undecided & (narrower <= limit)
            between = (limit - narrower[here]) / np.maximum(wider[here] - narrower[here], 1e-12)
            factor[here] = small + (large - small) * between
            undecided &= ~here
            wider = narrower
        return factor


def degrees_of_freedom(
    patches: Patches, weight: np.ndarray, anomalies: Array, chosen: np.ndarray | None = None
) -> np.ndarray:
    """DFS of every patch, ``(point,)``, on the host: the same bits whatever other places there are.

    Parameters
    ----------
    patches : Patches
    weight : (pair,) array
        Taper of each of its pairs.
    anomalies : (member, observation) array
        Whitened predicted anomalies divided by ``sqrt(J - 1)``.
    chosen : (point,) array of bool, optional
        Places that are asked for; others may have 0.
    """
    if not is_host(anomalies):
        return to_numpy(_batched(patches, weight, anomalies))
    from ensf.localization import loops

    members, places = anomalies.shape[0], len(patches.variables)
    rows = np.ascontiguousarray(anomalies.T, dtype=np.float64)
    freedom, information, count = np.zeros(places), np.empty(places), np.empty(places, dtype=np.int64)
    loops.describe_places(rows, members, patches.indptr, weight, patches.index, information, count)
    asked = count > 0 if chosen is None else chosen & (count > 0)
    lockstep = asked & (information <= loops.ACCURATE)
    problem = rows, patches.indptr, patches.index, weight
    groups = grouped_by_size(count, members, lockstep)
    shared_out(lambda part: loops.freedom_in_lockstep(*problem, count, part, freedom), groups)
    others = np.flatnonzero(asked & ~lockstep)
    if len(others):
        with blas_threads(max(patches.largest, members) * members**2):
            loops.freedom_of_places(*problem, others, freedom)
    return freedom


def _batched(patches: Patches, weight: np.ndarray, anomalies: Array) -> Array:
    xp = namespace(anomalies)
    root = np.zeros_like(patches.padded[1])
    root[np.arange(root.shape[1]) < np.diff(patches.indptr)[:, None]] = np.sqrt(weight)
    index = like(patches.padded[0], anomalies)
    local = (
        xp.reshape(xp.take(anomalies.T, xp.reshape(index, (-1,)), axis=0), (*index.shape, -1))
        * like(root, anomalies)[..., None]
    )
    if float(xp.max(xp.sum(local * local, axis=(-2, -1)))) > 1 / xp.finfo(local.dtype).eps ** 0.6:
        values = xp.linalg.svdvals(local) ** 2
    else:
        values = xp.clip(xp.linalg.eigvalsh(xp.matmul(xp.matrix_transpose(local), local)), 0.0, None)
    return xp.sum(values / (1 + values), axis=-1)
