"""Marginals of an ensemble: what density the members eta_j of a scalar stand for.

A likelihood l makes of the density p, with distribution function F,

    p_a(eta) ~ p(eta) l(eta),            eta_j -> F_a^{-1}(F(eta_j)):

every member keeps its quantile (Anderson 2022, MWR 150, 1061, section 2). A marginal is a row of cells: nodes, the
mass between neighbouring nodes, uniform in the cell; in a cell log l is taken as linear, and a cell is cut where log l
bends in it (`ensf.filters.quantile.compiled`).

RankHistogram   equal mass between neighbouring members; outside, Gaussian tails with the spread of the members
Kernel          Gaussians of width b s at m + sqrt(1 - b^2) (eta_j - m): mean m and spread s stay, b = 1 is N(m, s^2)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np

from ensf.arrays.settings import check_settings

__all__ = ["TAIL", "Kernel", "Marginal", "RankHistogram", "Table", "normal_scores"]

TAIL = 24
"""Cells in a tail."""
TAIL_STEP = 0.25
"""Width of a cell in a tail, in spreads."""
PARTS = 4
"""Cells between two members."""


class Table(NamedTuple):
    """Constants of a marginal for the compiled loops; a bandwidth of 0 means a rank histogram.

    A node is at ``low + fraction (high - low) + offset * spread``: low and high are the sorted members `left` and
    `right`, or the ends of the grid of a kernel density. `mass` is between nodes.
    """

    left: np.ndarray
    right: np.ndarray
    fraction: np.ndarray
    offset: np.ndarray
    mass: np.ndarray
    lower: float
    upper: float
    bandwidth: float


class Marginal(Protocol):
    """Prior marginal of what an observation sees."""

    def table(self, members: int) -> Table:
        """Constants for so many members."""


@dataclass(frozen=True)
class RankHistogram:
    """Equal probability between neighbouring members, Gaussian tails, optionally bounded.

    Source: Anderson (2010), MWR 138, 4186, section 3; bounds: Anderson (2022), MWR 150, 1061. Between
    members the likelihood is resolved by a few nodes, not by the members alone.

    Parameters
    ----------
    lower, upper : float
        Bounds of the quantity; the tail beyond the outermost member is cut there and keeps its probability.

    Raises
    ------
    ValueError
        If the lower bound is not below the upper one.
    """

    lower: float = -math.inf
    upper: float = math.inf

    def __post_init__(self) -> None:
        check_settings(self)
        if not self.lower < self.upper:
            raise ValueError(f"{self}: give a lower bound below the upper one")

    def table(self, members: int) -> Table:
        """Constants for so many members."""
        left, right, fraction, offset, mass = _histogram_table(members)
        return Table(left, right, fraction, offset, mass, self.lower, self.upper, 0.0)


@dataclass(frozen=True)
class Kernel:
    """Gaussian kernels at the members, drawn together so that mean and spread stay.

    Source: West (1993), J. R. Stat. Soc. B 55, 409, for the shrunken centres.

    Parameters
    ----------
    bandwidth : float
        Width b of the kernels in spreads of the members, in (0, 1]; 1 is a single Gaussian.

    Raises
    ------
    ValueError
        If the bandwidth is not in (0, 1].
    """

    bandwidth: float = 0.5

    def __post_init__(self) -> None:
        check_settings(self)
        if not 0 < self.bandwidth <= 1:
            raise ValueError(f"kernel bandwidth is {self.bandwidth}: give a positive number of spreads up to 1")

    def table(self, members: int) -> Table:
        """Constants for so many members."""
        grid, nothing, nowhere = _kernel_grid(self.bandwidth), np.empty(0), np.empty(0, np.int64)
        return Table(nowhere, nowhere, grid, nothing, nothing, -math.inf, math.inf, float(self.bandwidth))


@lru_cache
def _histogram_table(members: int) -> tuple[np.ndarray, ...]:
    """Sorted members left and right of each node, fraction between, offset in spreads, and mass of the cells."""
    from scipy.special import ndtr, ndtri

    start = ndtri(1 / (members + 1))
    gaps = members - 1
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
    from scipy.special import ndtri

    inner = ndtri(np.arange(1, members + 1) / (members + 1))
    return np.concatenate([inner[:1] - TAIL, inner, inner[-1:] + TAIL])
