"""Runge-Kutta steps of the SQG model on the CPU: few bytes and few transforms.

The two levels of a real field travel as real and imaginary part of one complex field, so that a tendency takes four
inverse transforms and one forward transform in place, without the columns of zeros of the padded grid; products
are elementwise on the same bytes. Blocks of members that fit a core's cache go through all steps, one thread each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numba
import numpy as np
import scipy.fft

from ensf.models.integrate import rk4_table
from ensf.models.sqg_waves import Settings, Tables

__all__ = ["march"]

BLOCK = 3 * 2**19  # bytes of the work array of one thread, below the cache of a core
LARGE = 2**23  # bytes of work per member above which its transforms are worth several threads


def march(waves: np.ndarray, tables: Tables, model: Settings, steps: int) -> None:
    """Overwrite Fourier coefficients ``(member, 2, n, n/2 + 1)`` with those after `steps` steps.

    Parameters
    ----------
    waves : (member, 2, n, n/2 + 1) complex array
        In m/s, of members, divided by the number of grid points.
    tables : ensf.models.sqg_waves.Tables
        In the precision of `waves`.
    model : SQG
    steps : int
    """
    threads, bytes_each = numba.get_num_threads(), 4 * (3 * model.n // 2) ** 2 * waves.itemsize
    members = max(1, min(BLOCK // bytes_each, -(-len(waves) // threads)))
    blocks = [waves[first : first + members] for first in range(0, len(waves), members)]
    workers = threads // len(blocks) if bytes_each > LARGE and blocks else 1
    march_block = partial(_march, tables=tables, model=model, steps=steps, workers=max(1, workers))
    if threads == 1 or len(blocks) < 2:
        deque(map(march_block, blocks), maxlen=0)
        return
    with ThreadPoolExecutor(threads) as pool:
        deque(pool.map(march_block, blocks), maxlen=0)


def _march(waves: np.ndarray, tables: Tables, model: Settings, steps: int, workers: int) -> None:
    fine, real = 3 * model.n // 2, waves.real.dtype
    work = np.empty((len(waves), 4, fine, fine), waves.dtype)
    k, l = (np.ascontiguousarray(table.imag.reshape(-1)) for table in (tables.x, tables.y))  # noqa: E741
    factors = np.array([1.0, 0.5, -1.0], real)
    rates = np.array([model.jacobian_factor / 2, 1 / model.tdiab], real)
    start, stage, total = waves, waves.copy(), waves.copy()
    q, near, far = _pairs(stage), tables.near, tables.far
    rest = _pairs(total), _pairs(work), near, far, tables.ekman, _pairs(tables.jet), rates
    for _ in range(steps):
        for node, weight in rk4_table(model.dt, real):
            _gradients(q, k, l, near, far, factors, _pairs(work))
            _to_grid(work, model.n, workers)
            _multiply(work.view(real))
            _to_waves(work[:, 0], model.n, workers)
            _update(_pairs(start), q, *rest, node, weight)
        np.multiply(total, tables.damping, out=total)
        start[...] = stage[...] = total


def _pairs(waves: np.ndarray) -> np.ndarray:
    """Real and imaginary parts along a new last axis; the same memory."""
    return waves.view(waves.real.dtype).reshape(*waves.shape, 2)


def _to_grid(work: np.ndarray, n: int, workers: int) -> None:
    """Inverse transforms in place; the columns of zeros between n/2 and fine - n/2 stay out of the first pass."""
    for columns in (work[..., : n // 2 + 1], work[..., -(n // 2) :]):
        _in_place(scipy.fft.ifft, columns, -2, workers)
    _in_place(scipy.fft.ifft, work, -1, workers)


def _to_waves(work: np.ndarray, n: int, workers: int) -> None:
    """Forward transform in place; columns from n/2 to fine - n/2 are left half transformed."""
    _in_place(scipy.fft.fft, work, -1, workers)
    for columns in (work[..., : n // 2], work[..., 1 - n // 2 :]):
        _in_place(scipy.fft.fft, columns, -2, workers)


def _in_place(transform: Callable[..., np.ndarray], array: np.ndarray, axis: int, workers: int) -> None:
    result = transform(array, axis=axis, norm="forward", overwrite_x=True, workers=workers)
    if result.ctypes.data != array.ctypes.data:
        array[...] = result


# --- one pass over the coefficients of a block; the last axis is (real part, imaginary part) -------------


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _gradients(q, k, l, near, far, factors, work):  # noqa: E741
    """Coefficients of psi_x, psi_y, q_x, q_y on the fine grid, surface + i lid, from those of q."""
    n, half, fine = q.shape[2], q.shape[3] - 1, work.shape[2]
    one, shared, minus = factors
    for b in range(q.shape[0]):
        work[b, :, half : fine - half + 1] = 0
        work[b, :, :, half + 1 : fine - half] = 0
        for i in range(n):
            row = i if i < half else i + fine - n
            mirror = (fine - row) % fine
            for j in range(half + 1):
                scale = shared if j == 0 and i == half else one  # rows -n/2 and n/2 share what has no partner
                turn = minus if j == half else scale
                sr, si = scale * q[b, 0, i, j, 0], turn * q[b, 0, i, j, 1]
                lr, li = scale * q[b, 1, i, j, 0], turn * q[b, 1, i, j, 1]
                s, t, opposite = far[i, j], near[i, j], (fine - j) % fine
                psr, psi = s * lr - t * sr, s * li - t * si
                plr, pli = t * lr - s * sr, t * li - s * si
                _put(work[b, 0], work[b, 1], row, j, mirror, opposite, k[j], l[i], psr, psi, plr, pli)
                _put(work[b, 2], work[b, 3], row, j, mirror, opposite, k[j], l[i], sr, si, lr, li)


@numba.njit(cache=True, inline="always")
def _put(along_x, along_y, row, column, mirror, opposite, x, y, sr, si, lr, li):
    """Derivatives of surface + i lid for one wave, and for its conjugate at the opposite wavenumber."""
    wr, wi, cr, ci = -si - lr, sr - li, lr - si, -sr - li
    along_x[row, column, 0], along_x[row, column, 1] = x * wr, x * wi
    along_y[row, column, 0], along_y[row, column, 1] = y * wr, y * wi
    along_x[mirror, opposite, 0], along_x[mirror, opposite, 1] = x * cr, x * ci
    along_y[mirror, opposite, 0], along_y[mirror, opposite, 1] = y * cr, y * ci


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _multiply(work):
    """``psi_x q_y - psi_y q_x`` of both levels, into the first field."""
    for b in range(work.shape[0]):
        for i in range(work.shape[2]):
            psi_x, psi_y, q_x, q_y = work[b, 0, i], work[b, 1, i], work[b, 2, i], work[b, 3, i]
            for j in range(work.shape[3]):
                psi_x[j] = psi_x[j] * q_y[j] - psi_y[j] * q_x[j]


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _update(start, stage, total, work, near, far, ekman, jet, rates, node, weight):
    """Add the slope at `stage` to `total` and write the next stage."""
    n, half, fine = stage.shape[2], stage.shape[3] - 1, work.shape[2]
    factor, relax = rates
    slope = np.empty((2, 2), stage.dtype)
    for b in range(stage.shape[0]):
        for i in range(n):
            row = i if i < half else i + fine - n
            mirror = (fine - row) % fine
            for j in range(half + 1):
                s, t = far[i, j], near[i, j]
                for c in range(2):
                    surface, lid = stage[b, 0, i, j, c], stage[b, 1, i, j, c]
                    slope[0, c] = relax * (jet[0, i, j, c] - surface) + ekman[0, i, j] * (s * lid - t * surface)
                    slope[1, c] = relax * (jet[1, i, j, c] - lid) + ekman[1, i, j] * (t * lid - s * surface)
                if j < half:
                    wave, other = work[b, 0, row, j], work[b, 0, mirror, (fine - j) % fine]
                    slope[0, 0] -= factor * (wave[0] + other[0])
                    slope[0, 1] -= factor * (wave[1] - other[1])
                    slope[1, 0] -= factor * (wave[1] + other[1])
                    slope[1, 1] -= factor * (other[0] - wave[0])
                for v in range(2):
                    for c in range(2):
                        total[b, v, i, j, c] += weight * slope[v, c]
                        stage[b, v, i, j, c] = start[b, v, i, j, c] + node * slope[v, c]
