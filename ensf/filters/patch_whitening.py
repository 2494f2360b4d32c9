"""Errors that are correlated from observation to observation, without groups: whitened within each patch.

The covariance R of the errors is cut to the observations near a place, and each counts for less the farther it is: with
tapers rho on the diagonal of T, the standard deviations of the place are those of R over the root of the taper,

    R_place = T^{-1/2} R T^{-1/2} = C C^T,        whitened rows = C^{-1} r,

so that independent errors are weighed as ever, and all observations everywhere (T = 1) are whitened by R itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from ensf.arrays import Array, like, namespace, to_numpy
from ensf.localization import Patches

__all__ = ["in_whitened_patches"]

AT_ONCE = 2**24
"""Numbers of whitened rows that are there at once."""

Transform = Callable[[Array, Array, Patches], tuple[Array, Array]]


def in_whitened_patches(
    transform: Transform, anomalies: Array, rows: Array, correlation: np.ndarray, patches: Patches
) -> tuple[Array, Array]:
    """Increments ``(member, entry)`` and degrees of freedom ``(entry,)`` of a local transform.

    Parameters
    ----------
    transform : callable
        ``(anomalies, rows, patches) -> (increments, freedom)`` for rows of independent errors.
    anomalies : (member, entry) array
    rows : (observation, column) array
        Over the standard deviations of the errors.
    correlation : (observation, observation) array
        Of the errors.
    patches : Patches
    """
    xp = namespace(anomalies)
    parts = []
    order = []
    for first, stop in _blocks(patches, rows.shape[1]):
        entries, inverse = np.unique(patches.variables[first:stop], return_inverse=True)
        begin, end = patches.indptr[first], patches.indptr[stop]
        local = replace(
            patches,
            variables=inverse.reshape(-1, patches.variables.shape[1]),
            indptr=patches.indptr[first : stop + 1] - begin,
            index=np.arange(end - begin),
            distance=patches.distance[begin:end],
            weight=np.ones(end - begin),
        )
        white = _whitened(rows, correlation, patches, first, stop)
        parts.append(transform(xp.take(anomalies, like(entries, anomalies), axis=1), white, local))
        order.append(entries)
    place = like(np.argsort(np.concatenate(order)), anomalies)
    increments, freedom = (xp.concat([part[k] for part in parts], axis=-1) for k in (0, 1))
    return xp.take(increments, place, axis=1), xp.take(freedom, place)


def _blocks(patches: Patches, columns: int) -> Iterator[tuple[int, int]]:
    """First place and the one after the last of blocks that fit into memory."""
    number = (patches.indptr[1:] - 1) * columns // AT_ONCE
    starts = np.flatnonzero(np.diff(number, prepend=-1) > 0) if len(number) else np.zeros(1, dtype=np.int64)
    starts[:1] = 0
    yield from zip(starts.tolist(), [*starts[1:].tolist(), len(number)], strict=True)


def _whitened(rows: Array, correlation: np.ndarray, patches: Patches, first: int, stop: int) -> Array:
    """Rows of each pair of places, whitened place by place."""
    from ensf.filters.loops import whiten_places

    host = np.ascontiguousarray(to_numpy(rows), dtype=np.float64)
    indptr = patches.indptr[first : stop + 1]
    near = slice(indptr[0], indptr[-1])
    white = np.empty((indptr[-1] - indptr[0], rows.shape[1]))
    errors = np.ascontiguousarray(correlation, dtype=np.float64)
    if not whiten_places(errors, host, indptr, patches.index[near], patches.weight[near], white):
        raise ValueError("the correlation of observation errors is not positive definite: check the law of errors")
    return like(white, rows)
