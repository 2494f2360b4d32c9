"""Gaussian copula with kernel-density marginals: a filter for Gaussians sees variables in which the prior is one.

The prior marginal of a variable with members x_j, of mean m and spread s (over J), is a kernel density estimate with
the mean and the variance of the members (West 1993, J. R. Stat. Soc. B 55, 409),

    F(x) = 1/J sum_j Phi((x - c_j) / (b s)),        c_j = m + sqrt(1 - b^2) (x_j - m),

a Gaussian for bandwidth b = 1, the members themselves for b -> 0. Coordinates z in which it is N(m, s^2):

    z = m + s Phi^{-1}(F(x)),        x = G(z) = F^{-1}(Phi((z - m) / s)).

The inner filter works on z and sees the operator through G: f(x_k) becomes f(G_k(z_k)), still a function of one
variable, h(x) becomes h(G(z)). G is tabulated on a uniform grid in z, linear between and beyond; z is its inverse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ensf.arrays import Array, Generator, centred, is_host, like, log_ndtr, member_mean, namespace, rows
from ensf.arrays.settings import check_settings
from ensf.filters.base import Analysis, Filter, Memory, Part, check_filter, refuse_predictions, usable, with_values
from ensf.filters.guarded import guarded
from ensf.observations.observation import Observation

__all__ = ["Copula", "Warp"]

REACH, CELLS = 6, 8  # the table reaches so many spreads to either side, so many cells each
ITERATIONS = 60
TOLERANCE = 1e-8  # of the last step in spreads, or a few roundings; Newton squares it
BLOCK = 2**22  # numbers at once
SMALL = 1_000_000  # kernels at nodes below which one thread is used


@dataclass(frozen=True)
class Copula:
    """Wrapper: the filter sees every variable in coordinates in which its prior marginal is Gaussian.

    Between variables, the dependence of the members is kept as it is in these coordinates. Wrappers that change the
    spread, such as `AdaptiveInflation`, belong around it.

    Parameters
    ----------
    filter : Filter
    bandwidth : float
        Width of the kernels in spreads, in (0, 1]; with 1 it is the filter alone.
    """

    filter: Filter
    bandwidth: float = 0.5

    def __post_init__(self) -> None:
        check_settings(self)
        check_filter(self.filter, type(self).__name__)
        if not 0 < self.bandwidth <= 1:
            raise ValueError(f"kernel bandwidth is {self.bandwidth}: give a positive number of spreads up to 1")

    @guarded
    def analyse(
        self,
        prior: Array,
        observation: Observation,
        rng: Generator | int | None,
        memory: Memory = None,
        positions: np.ndarray | None = None,
        predicted: Array | None = None,
    ) -> Analysis:
        """Analysis of the wrapped filter, made in z.

        Raises
        ------
        ValueError
            If the prior does not fit, and as the filter.
        """
        refuse_predictions(predicted, self)
        prior, observation, positions = usable(prior, observation, positions)
        observation.check_resolved(observation.predict(prior))  # before the members are in other coordinates
        if self.bandwidth == 1:
            return self.filter.analyse(prior, observation, rng, memory, positions)
        warp = Warp.fitted(prior, self.bandwidth)
        warped = replace(observation, operator=observation.operator.through(warp), error=observation.law)
        analysis = self.filter.analyse(warp.inverse(prior), warped, rng, memory, positions)
        if observation.size == 0:
            return Analysis(prior, analysis.memory)

        def before(part: Part) -> Array:
            here = warp.restrict(part.entries)
            return here(analysis.before(with_values(part, here.inverse(part.values))))

        return replace(analysis, ensemble=warp(analysis.ensemble), before=before)


# --- the change of coordinates ---------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Warp:
    """x = G_k(z), another increasing function for each variable; for use as the function of a `Pointwise`, too.

    Attributes
    ----------
    mean, spread : (variable,) array
    table : (variable, node) array
        (x - mean) / spread where (z - mean) / spread is a node; ascending.
    behind : int
        Number of axes of the values behind that of the variables.
    """

    mean: Array
    spread: Array
    table: Array
    behind: int = 0

    @classmethod
    def fitted(cls, ensemble: Array, bandwidth: float) -> Warp:
        """From members ``(member, variable)`` and the width of the kernels in spreads."""
        xp = namespace(ensemble)
        anomalies = centred(ensemble)
        mean, spread = member_mean(ensemble), xp.std(anomalies, axis=0)
        spread = xp.where(spread > 0, spread, xp.ones_like(spread))
        centres = math.sqrt(1 - bandwidth**2) * (anomalies / spread).T
        return cls(mean, spread, xp.sort(_quantiles(centres, bandwidth), axis=-1))

    def __call__(self, values: Array) -> Array:
        """x of z, ``(..., variable)``."""
        left, rise, place = self._cell(values)
        return self._tail(self.mean) + self._tail(self.spread) * (left + place * rise)

    def slope(self, values: Array) -> Array:
        """dx/dz at z."""
        return CELLS * self._cell(values)[1]

    def inverse(self, values: Array) -> Array:
        """z of x, ``(..., variable)``."""
        standard = (values - self.mean) / self.spread
        blocks = _blocks(values.shape[-1], math.prod(values.shape[:-1]) * self.table.shape[1])
        parts = [_located(standard[..., block], self.table[block, :]) for block in blocks]
        return self.mean + self.spread * (namespace(values).concat(parts, axis=-1) / CELLS - REACH)

    def column(self) -> Warp:
        """The same for values with one more axis behind that of the variables."""
        return replace(self, behind=self.behind + 1)

    def restrict(self, index: Array) -> Warp:
        """The functions of the variables at `index`."""
        return Warp(rows(self.mean, index), rows(self.spread, index), rows(self.table, index), self.behind)

    @property
    def affine(self) -> None:
        """It is not."""
        return None

    def _tail(self, numbers: Array) -> Array:
        return namespace(numbers).reshape(numbers, (-1,) + (1,) * self.behind)

    @cached_property
    def _first(self) -> Array:
        """Where the table of each variable begins in the table of all."""
        return self._tail(like(np.arange(self.table.shape[0]) * self.table.shape[1], self.table))

    def _cell(self, values: Array) -> tuple[Array, Array, Array]:
        """Value at the left node, rise to the right one, and place between them in cells; of standard x."""
        xp = namespace(values)
        last = self.table.shape[1] - 2
        place = ((values - self._tail(self.mean)) / self._tail(self.spread) + REACH) * CELLS
        cell = xp.clip(xp.floor(place), 0.0, float(last))
        number = xp.reshape(xp.astype(cell, xp.int64) + self._first, (-1,))
        table = xp.reshape(self.table, (-1,))
        left = xp.take(table, number)
        rise = xp.take(table, number + 1) - left
        return xp.reshape(left, values.shape), xp.reshape(rise, values.shape), place - cell


def _blocks(size: int, each: int) -> list[slice]:
    """Parts of `size` variables with so many numbers each."""
    step = max(1, BLOCK // each)
    return [slice(first, min(first + step, size)) for first in range(0, size, step)]


def _located(standard: Array, table: Array) -> Array:
    """Places of standard x ``(..., variable)`` in the table, in cells."""
    xp = namespace(table)
    last = table.shape[1] - 2
    inner = xp.astype(standard[..., None] >= table[:, 1:-1], xp.int64)
    cell = xp.sum(inner, axis=-1)
    number = xp.reshape(cell + like(np.arange(table.shape[0]) * (last + 2), table), (-1,))
    flat = xp.reshape(table, (-1,))
    left = xp.reshape(xp.take(flat, number), cell.shape)
    rise = xp.reshape(xp.take(flat, number + 1), cell.shape) - left
    fraction = xp.where(rise > 0, (standard - left) / xp.where(rise > 0, rise, xp.ones_like(rise)), xp.zeros_like(rise))
    return xp.astype(cell, table.dtype) + fraction


# --- quantiles of the kernel density ---------------------------------------------------------------------


def _quantiles(centres: Array, width: float) -> Array:
    """x with F(x) = Phi(u) at the nodes u, ``(variable, node)``, for centres ``(variable, member)``."""
    from scipy.special import ndtr

    nodes = np.arange(-REACH * CELLS, REACH * CELLS + 1) / CELLS
    if is_host(centres):
        from ensf.wrappers.loops import quantiles, quantiles_in_parallel

        values = np.empty((centres.shape[0], nodes.size))
        loop = quantiles if values.size * centres.shape[1] < SMALL else quantiles_in_parallel
        loop(centres.astype(np.float64), width, nodes, ndtr(-abs(nodes)), ITERATIONS, TOLERANCE, values)
        return values.astype(centres.dtype)
    blocks = _blocks(centres.shape[0], centres.shape[1] * nodes.size)
    return namespace(centres).concat([_bracketed(centres[block, :], width, nodes) for block in blocks], axis=0)


def _bracketed(centres: Array, width: float, nodes: np.ndarray) -> Array:
    """The same as batched array code."""
    from scipy.special import ndtr

    xp = namespace(centres)
    host = np.abs(nodes)
    sign, log_tail = (like(part, centres) for part in (np.where(nodes > 0, -1.0, 1.0), np.log(ndtr(-host))))
    u = like(nodes, centres)
    one = xp.ones_like(centres[:, :1])
    low = xp.min(centres, axis=-1, keepdims=True) + width * u
    high = xp.max(centres, axis=-1, keepdims=True) + width * u
    x = xp.clip(one * u, low, high)
    tolerance = max(TOLERANCE, 8 * float(xp.finfo(centres.dtype).eps))
    for _ in range(ITERATIONS):
        v = (x[..., None] - centres[:, None, :]) / width
        mass = xp.mean(xp.exp(log_ndtr(sign[:, None] * v)), axis=-1)
        density = xp.mean(xp.exp(-0.5 * v * v), axis=-1) / (width * math.sqrt(2 * math.pi))
        tiny = float(xp.finfo(centres.dtype).smallest_normal)
        excess = sign * (xp.log(xp.clip(mass, tiny, None)) - log_tail)
        low, high = xp.where(excess > 0, low, x), xp.where(excess > 0, x, high)
        new = x - excess * mass / xp.clip(density, tiny, None)
        new = xp.where((new >= low) & (new <= high), new, 0.5 * (low + high))
        change, x = xp.max(xp.abs(new - x)), new
        if float(change) <= tolerance:
            break
    return x
