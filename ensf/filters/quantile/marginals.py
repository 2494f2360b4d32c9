"""Marginals of an ensemble and how a likelihood moves their quantiles.

The members eta_j of a scalar stand for a density p with distribution function F. A likelihood l makes of it

    p_a(eta) ~ p(eta) l(eta),            eta_j -> F_a^{-1}(F(eta_j)):

every member keeps its quantile (Anderson 2022, MWR 150, 1061, section 2). A marginal is a row of cells: nodes, the
mass between neighbouring nodes, uniform in the cell; in a cell log l is taken as linear.

RankHistogram   equal mass between neighbouring members; outside, Gaussian tails with the spread of the members
Kernel          Gaussians of width b s at m + sqrt(1 - b^2) (eta_j - m): mean m and spread s stay, b = 1 is N(m, s^2)

This is the array code; `ensf.filters.quantile.compiled` has the compiled form for NumPy arrays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import ndtr, ndtri

from ensf.arrays import Array, like, namespace
from ensf.filters.quantile.compiled import FLAT, IMPOSSIBLE, REACH, TAIL, Table

__all__ = ["Kernel", "RankHistogram", "conserve_quantiles", "interpolate", "normal_scores"]

PARTS = 4  # cells between two members
TAIL_STEP = 0.25  # width of the cells in a tail, in spreads


@dataclass(frozen=True)
class RankHistogram:
    """Equal probability between neighbouring members, Gaussian tails, optionally bounded.

    Source: Anderson (2010), MWR 138, 4186, section 3; bounds: Anderson (2022), MWR 150, 1061. Between
    members the likelihood is resolved by a few nodes, not by the members alone.

    Parameters
    ----------
    lower, upper : float
        Bounds of the quantity; the tail beyond the outermost member is cut there and keeps its probability.
    """

    lower: float = -math.inf
    upper: float = math.inf

    def __post_init__(self) -> None:
        if not self.lower < self.upper:
            raise ValueError(f"{self}: give a lower bound below the upper one")

    def table(self, members: int) -> Table:
        """Constants of the compiled loops."""
        left, right, fraction, offset, mass = _histogram_table(members)
        return Table(left, right, fraction, offset, mass, self.lower, self.upper, 0.0)

    def cells(self, values: Array) -> tuple[Array, Array]:
        """Nodes and the mass between them, for members ``(member,)``."""
        xp = namespace(values)
        left, right, fraction, offset, mass = (like(part, values) for part in _histogram_table(values.shape[0]))
        ordered = xp.sort(values)
        low, high = xp.take(ordered, left), xp.take(ordered, right)
        nodes = low + fraction * (high - low) + offset * xp.std(values, correction=1)
        if math.isinf(self.lower) and math.isinf(self.upper):
            return nodes, mass
        bounded = xp.clip(nodes, self.lower, self.upper)
        kept = mass * _share(bounded[1:] - bounded[:-1], nodes[1:] - nodes[:-1])
        tails = [_rescaled(kept[part], mass[part]) for part in (slice(TAIL), slice(-TAIL, None))]
        return bounded, xp.concat([tails[0], mass[TAIL:-TAIL], tails[1]])


@dataclass(frozen=True)
class Kernel:
    """Gaussian kernels at the members, drawn together so that mean and spread stay.

    Source: West (1993), J. R. Stat. Soc. B 55, 409, for the shrunken centres.

    Parameters
    ----------
    bandwidth : float
        Width b of the kernels in spreads of the members, in (0, 1]; 1 is a single Gaussian.
    """

    bandwidth: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.bandwidth <= 1:
            raise ValueError(f"kernel bandwidth is {self.bandwidth}: give a positive number of spreads up to 1")

    def table(self, members: int) -> Table:
        """Constants of the compiled loops."""
        grid, nothing, nowhere = _kernel_grid(self.bandwidth), np.empty(0), np.empty(0, np.int64)
        return Table(nowhere, nowhere, grid, nothing, nothing, -math.inf, math.inf, self.bandwidth)

    def cells(self, values: Array) -> tuple[Array, Array]:
        """Nodes and the mass between them, for members ``(member,)``."""
        xp = namespace(values)
        mean, width = xp.mean(values), self.bandwidth * xp.std(values, correction=1)
        centres = mean + math.sqrt(1 - self.bandwidth**2) * (values - mean)
        low = xp.minimum(xp.min(centres) - REACH * width, xp.min(values))
        high = xp.maximum(xp.max(centres) + REACH * width, xp.max(values))
        nodes = low + (high - low) * like(_kernel_grid(self.bandwidth), values)
        departure = (nodes[:, None] - centres) / xp.where(width > 0, width, xp.ones_like(width))
        density = xp.sum(xp.exp(-0.5 * departure * departure), axis=-1)
        return nodes, density[1:] + density[:-1] + float(xp.finfo(values.dtype).smallest_normal)


@lru_cache
def _histogram_table(members: int) -> tuple[np.ndarray, ...]:
    """Sorted members left and right of each node, fraction between, offset in spreads, and mass of the cells."""
    start, gaps = ndtri(1 / (members + 1)), members - 1
    out = TAIL_STEP * np.arange(1.0, TAIL + 1)
    tail = -np.diff(ndtr(start - np.append(0, out)))
    tail /= tail.sum() * (members + 1)
    left = np.repeat(np.arange(members), [TAIL + PARTS] + [PARTS] * (gaps - 1) + [TAIL + 1])
    fraction = np.concatenate([np.zeros(TAIL), np.tile(np.arange(PARTS) / PARTS, gaps), np.zeros(TAIL + 1)])
    offset = np.concatenate([-out[::-1], np.zeros(PARTS * gaps + 1), out])
    inner = np.full(PARTS * gaps, 1 / (PARTS * (members + 1)))
    return left, np.minimum(left + 1, gaps), fraction, offset, np.concatenate([tail[::-1], inner, tail])


@lru_cache
def _kernel_grid(bandwidth: float) -> np.ndarray:
    return np.linspace(0.0, 1.0, 128 + round(32 / bandwidth))


def normal_scores(members: int) -> np.ndarray:
    """Standard normal quantiles of sorted members, Phi^{-1}(j / (J + 1)), with a point far out at either end."""
    inner = ndtri(np.arange(1, members + 1) / (members + 1))
    return np.concatenate([inner[:1] - TAIL, inner, inner[-1:] + TAIL])


# --- one likelihood --------------------------------------------------------------------------------------


def conserve_quantiles(values: Array, nodes: Array, mass: Array, log_likelihood: Array) -> Array:
    """Members with their quantiles kept, from the prior cells to the posterior.

    Parameters
    ----------
    values : (member,) array
    nodes : (node,) array
        Ascending.
    mass : (node - 1,) array
        Prior mass between nodes, up to a factor.
    log_likelihood : (node,) array
        At the nodes; minus infinity where the likelihood is zero.
    """
    xp = namespace(values)
    logs = xp.clip(log_likelihood - xp.max(log_likelihood), -IMPOSSIBLE, 0.0)
    rise = logs[1:] - logs[:-1]
    steep = xp.where(xp.abs(rise) > FLAT, rise, xp.ones_like(rise))
    mean = xp.where(xp.abs(rise) > FLAT, xp.expm1(steep) / steep, 1 + 0.5 * rise)
    after = _distribution(mass * xp.exp(logs[:-1]) * mean)
    quantiles = interpolate(values, nodes, _distribution(mass))
    cell = xp.clip(xp.searchsorted(after, quantiles, side="right") - 1, 0, mass.shape[0] - 1)
    low, high, rise, steep = (xp.take(part, cell) for part in (after, after[1:], rise, steep))
    share = xp.clip(_share(quantiles - low, high - low), 0.0, 1.0)
    bent = xp.clip(xp.log1p(share * xp.expm1(steep)) / steep, None, 1.0)
    left, right = xp.take(nodes, cell), xp.take(nodes, cell + 1)
    return left + xp.where(xp.abs(rise) > FLAT, bent, share) * (right - left)


def _distribution(mass: Array) -> Array:
    xp = namespace(mass)
    total = xp.cumulative_sum(mass, include_initial=True)
    return total / total[-1]


def interpolate(points: Array, nodes: Array, values: Array) -> Array:
    """Piecewise linear function through ascending nodes, constant outside; all one-dimensional."""
    xp = namespace(points)
    cell = xp.clip(xp.searchsorted(nodes, points, side="right") - 1, 0, nodes.shape[0] - 2)
    left, right = xp.take(nodes, cell), xp.take(nodes, cell + 1)
    low, high = xp.take(values, cell), xp.take(values, cell + 1)
    return low + xp.clip(_share(points - left, right - left), 0.0, 1.0) * (high - low)


def _share(part: Array, whole: Array) -> Array:
    xp = namespace(part)
    return xp.where(whole > 0, part / xp.where(whole > 0, whole, xp.ones_like(whole)), xp.ones_like(part))


def _rescaled(kept: Array, mass: Array) -> Array:
    """Mass of a tail that was cut, with the total that it had; as it was where nothing is left."""
    xp = namespace(kept)
    total = xp.sum(kept)
    return xp.where(total > 0, kept * (xp.sum(mass) / xp.where(total > 0, total, xp.ones_like(total))), mass)
