"""Steps of the ensemble score filter, compiled: imported where they are called, for Numba takes its time.

One step of member j at entry i, with c the centre of the prior score there, a pointwise sensor f and the noise xi,

    eta = offset_i + factor_i z,    score = (c - z) / v + h(t) precision_i (y_i - f(eta)) factor_i f'(eta),
    z <- keep z + pull score + noise xi.

A panel of entries stays in the processor's cache over all steps of a call. Panels are independent, each a fixed
sequence of operations, so neither threads nor the cut into calls change the bits.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numba import types
from numba.extending import overload

from ensf.arrays.kernels import compiled
from ensf.diffusion.counter import PANEL
from ensf.diffusion.counter_loops import panel_normals, workspace

IDENTITY, ARCTAN, ABSOLUTE, SQUARE, CUBE, EXPONENTIAL = range(6)
ALPHA, PRECISION, DAMPING, KEEP, PULL, NOISE = range(6)
"""Columns of the table of steps; the second is 1 / v."""
_BUNDLE = 8


# --- the functions of sensors ----------------------------------------------------------------------------


def _atan(x):
    raise NotImplementedError


@compiled(error_model="numpy")
def _atan_single(x):
    one, size = np.float32(1), abs(x)
    far, middle = size > np.float32(2.414213562373095), size > np.float32(0.4142135623730950)
    shift = np.float32(math.pi / 2) if far else (np.float32(math.pi / 4) if middle else np.float32(0))
    above = -one if far else (size - one if middle else size)
    below = size if far else (size + one if middle else one)
    u = above / below
    square = u * u
    series = (np.float32(8.05374449538e-2) * square - np.float32(1.38776856032e-1)) * square
    series = (series + np.float32(1.99777106478e-1)) * square - np.float32(3.33329491539e-1)
    angle = shift + (series * square * u + u)
    return -angle if x < np.float32(0) else angle


@compiled(error_model="numpy")
def _atan_double(x):
    size = abs(x)
    far, middle = size > 2.41421356237309504880, size > 0.66
    shift = math.pi / 2 if far else (math.pi / 4 if middle else 0.0)
    above = -1.0 if far else (size - 1.0 if middle else size)
    below = size if far else (size + 1.0 if middle else 1.0)
    u = above / below
    square = u * u
    top = (-8.750608600031904122785e-1 * square - 1.615753718733365076637e1) * square - 7.500855792314704667340e1
    top = (top * square - 1.228866684490136173410e2) * square - 6.485021904942025371773e1
    bottom = (square + 2.485846490142306297962e1) * square + 1.650270098316988542046e2
    bottom = (bottom * square + 4.328810604912902668951e2) * square + 4.853903996359136964868e2
    bottom = bottom * square + 1.945506571482613964425e2
    angle = shift + (u * (square * top / bottom) + u)
    return -angle if x < 0.0 else angle


@overload(_atan)
def _atan_of(x):
    """Arctan in the precision of x, without a branch (Moshier's Cephes library)."""
    if x == types.float32:
        return lambda x: _atan_single(x)
    return lambda x: _atan_double(x)


@compiled(error_model="numpy")
def image(function, eta, value, slope):
    """Overwrite with f and its derivative."""
    one = eta.dtype.type(1)
    if function == ARCTAN:
        for i in range(eta.size):
            value[i] = _atan(eta[i])
            slope[i] = one / (one + eta[i] * eta[i])
    elif function == ABSOLUTE:
        for i in range(eta.size):
            value[i] = abs(eta[i])
            slope[i] = np.sign(eta[i])
    elif function == SQUARE:
        for i in range(eta.size):
            value[i] = eta[i] * eta[i]
            slope[i] = eta[i] + eta[i]
    elif function == CUBE:
        for i in range(eta.size):
            value[i] = eta[i] * eta[i] * eta[i]
            slope[i] = (one + one + one) * eta[i] * eta[i]
    elif function == EXPONENTIAL:
        for i in range(eta.size):
            value[i] = np.exp(eta[i])
            slope[i] = value[i]
    else:
        for i in range(eta.size):
            value[i] = eta[i]
            slope[i] = one


# --- steps -----------------------------------------------------------------------------------------------


@compiled(error_model="numpy")
def _step(z, centre, normals, step, first, function, sensor, bound, work):
    """Overwrite the entries from the first on with those after a step; the number of scores that were clipped."""
    value, precision, offset, factor = sensor
    eta, predicted, slope = work
    inverse, damping, keep, pull, noise = step[PRECISION], step[DAMPING], step[KEEP], step[PULL], step[NOISE]
    for i in range(z.size):
        eta[i] = offset[first + i] + factor[first + i] * z[i]
    image(function, eta, predicted, slope)
    clipped = 0
    for i in range(z.size):
        likelihood = precision[first + i] * factor[first + i] * (value[first + i] - predicted[i]) * slope[i]
        score = (centre[i] - z[i]) * inverse + damping * likelihood
        bounded = min(max(score, -bound), bound)
        clipped += bounded != score
        z[i] = keep * z[i] + pull * bounded + noise * normals[i]
    return clipped


@compiled(error_model="numpy")
def _advance_panel(panel, z, prior, weights, batch, table, keys, function, sensor, bound):
    """Overwrite a panel with its state after all steps of the table; the number of scores that were clipped."""
    first, last = panel * PANEL, min((panel + 1) * PANEL, z.shape[1])
    numbers = workspace()
    normals = numbers[2]
    normals[:] = 0
    centre = np.empty(last - first, z.dtype)
    work = np.empty_like(centre), np.empty_like(centre), np.empty_like(centre)
    clipped = 0
    for row in range(z.shape[0]):
        here = z[row, first:last]
        for k in range(table.shape[0]):
            for i in range(centre.size):
                centre[i] = 0
            for b in range(batch.shape[1]):
                scale = table[k, ALPHA] * weights[row, b]
                member = prior[batch[row, b], first:last]
                for i in range(centre.size):
                    centre[i] += scale * member[i]
            if table[k, NOISE] != 0:
                panel_normals(panel, row, keys[k, 0], keys[k, 1], numbers)
            clipped += _step(here, centre, normals, table[k], first, function, sensor, bound, work)
    return clipped


@compiled(nogil=True, error_model="numpy")
def advance(panels, z, prior, weights, batch, table, keys, function, sensor, bound, clipped):
    """Overwrite the panels from one to before another; add to the numbers of clipped scores, ``(panel,)``."""
    for panel in range(panels[0], panels[1]):
        clipped[panel] += _advance_panel(panel, z, prior, weights, batch, table, keys, function, sensor, bound)


@compiled(parallel=True, error_model="numpy")
def advance_in_parallel(panels, z, prior, weights, batch, table, keys, function, sensor, bound, clipped):
    """`advance` in threads."""
    for panel in numba.prange(panels[0], panels[1]):
        clipped[panel] += _advance_panel(panel, z, prior, weights, batch, table, keys, function, sensor, bound)


# --- weights of a mixture --------------------------------------------------------------------------------


@compiled(error_model="numpy")
def _product(a, b):
    """Scalar product in double precision, in an order that vectors of the processor can take."""
    sums = np.zeros(_BUNDLE)
    whole = a.size - a.size % _BUNDLE
    for i in range(0, whole, _BUNDLE):
        for k in range(_BUNDLE):
            sums[k] += np.float64(a[i + k]) * b[i + k]
    total = 0.0
    for k in range(_BUNDLE):
        total += sums[k]
    for i in range(whole, a.size):
        total += np.float64(a[i]) * b[i]
    return total


@compiled(error_model="numpy")
def _products_of_panel(first, last, z, prior, batch, products):
    members = z.shape[0]
    mean, anomaly = np.zeros(last - first), np.empty(last - first)
    for b in range(batch.size):
        for i in range(mean.size):
            mean[i] += prior[batch[b], first + i]
    for i in range(mean.size):
        mean[i] /= batch.size
    for b in range(batch.size):
        for i in range(mean.size):
            anomaly[i] = prior[batch[b], first + i] - mean[i]
        for row in range(members):
            products[row, b] = _product(z[row, first:last], anomaly)
        products[members, b] = _product(mean, anomaly)
        products[members + 1, b] = _product(anomaly, anomaly)


@compiled(parallel=True, error_model="numpy")
def products(z, prior, batch, partial):
    """With a_b the anomalies of a batch and m its mean, for every panel the products of a_b with z, m and itself.

    Parameters
    ----------
    z, prior : (member, entry) arrays
    batch : (b,) array of int
    partial : (panel, member + 2, b) array
        Overwritten.
    """
    for panel in numba.prange(partial.shape[0]):
        first, last = panel * PANEL, min((panel + 1) * PANEL, z.shape[1])
        _products_of_panel(first, last, z, prior, batch, partial[panel])


# --- what is asked before the first step -----------------------------------------------------------------


@compiled(error_model="numpy")
def _curvature_of_panel(first, last, prior, function, sensor, shrinks):
    _, precision, offset, factor = sensor
    eta = np.empty(last - first, prior.dtype)
    value, slope = np.empty_like(eta), np.empty_like(eta)
    largest, finite = 0.0, True
    for row in range(prior.shape[0]):
        for k in range(shrinks.size):
            for i in range(eta.size):
                eta[i] = offset[first + i] + factor[first + i] * (shrinks[k] * prior[row, first + i])
            image(function, eta, value, slope)
            for i in range(eta.size):
                here = precision[first + i] * (factor[first + i] * slope[i]) ** 2
                if np.isfinite(here) and here > largest:
                    largest = here
                finite &= np.isfinite(value[i])
    return largest, finite


@compiled(parallel=True, error_model="numpy")
def largest_curvature(prior, function, sensor, shrinks, curvature, finite):
    """For every panel the largest ``precision (factor f')^2`` over members shrunken towards zero as z is.

    Also whether each panel has finite predictions of all these; both ``(panel,)`` arrays are overwritten.
    """
    for panel in numba.prange(curvature.size):
        first, last = panel * PANEL, min((panel + 1) * PANEL, prior.shape[1])
        curvature[panel], finite[panel] = _curvature_of_panel(first, last, prior, function, sensor, shrinks)
