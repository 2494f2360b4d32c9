"""What observations see of a state in other coordinates: the physical variables, h(x) = h(g(z)).

The structure that a filter uses is kept wherever there is one:

    affine g, entries observed            y -> (y - a) / d,  error -> error / |d|       the same operator
    affine g, linear combinations         y -> y - L a,      L -> L diag(d)             linear as before
    one g for all that is observed        f(L z) -> f(g(L z))                           pointwise, L selects entries
    anything else                         h(g(z))                                       with tangent and adjoint
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse

from ensf.arrays import Array, like, to_numpy
from ensf.errors import Correlated, Gaussian
from ensf.functions import Function
from ensf.observation import Observation
from ensf.operators import Identity, Linear, Pointwise, Select, WindSpeed, tangent
from ensf.state.blocks import Blocks
from ensf.state.variables import Chain

__all__ = ["Physical", "seen"]


def seen(observation: Observation, blocks: Blocks) -> Observation:
    """The same observations of the state z that `blocks` makes of the physical state.

    Parameters
    ----------
    observation : Observation
        Of the physical state.
    blocks : Blocks

    Returns
    -------
    Observation
        Of z; the likelihood of z is that of the physical state, up to a constant factor.
    """
    operator, size = observation.operator, blocks.stops[-1]
    entries = np.arange(size) if (read := _entries(operator, size)) is None else read
    touched = blocks.at(np.unique(entries))
    chains = set(touched.chains)
    if touched.unchanged:
        return observation
    affine = touched.affine()
    if affine is not None and isinstance(operator, Identity | Select) and isinstance(observation.law, Gaussian):
        return _rescaled(observation, *_spread_out(affine, entries))
    if affine is not None and isinstance(operator, Linear) and isinstance(observation.law, Gaussian | Correlated):
        return _shifted(observation, *_columns(affine, entries, size))
    base = operator.linear if isinstance(operator, Pointwise) else operator
    if len(chains) == 1 and isinstance(base, Identity | Select):
        outer = operator.function if isinstance(operator, Pointwise) else None
        return replace(observation, operator=Pointwise(_composed(outer, chains.pop()), base))
    return replace(observation, operator=_physical(operator, read, blocks))


def _entries(operator: Any, size: int) -> np.ndarray | None:
    """Entries of the state that an operator reads, in its order; None if unknown or all."""
    if isinstance(operator, Select):
        return np.asarray(operator.index, dtype=np.int64)
    if isinstance(operator, Linear):
        matrix = operator.matrix
        columns = matrix.tocsr().indices if hasattr(matrix, "tocsr") else np.nonzero(to_numpy(matrix))[1]
        return np.unique(to_numpy(columns))
    if isinstance(operator, Pointwise):
        return _entries(operator.linear, size)
    if isinstance(operator, WindSpeed):
        eastward, northward = _entries(operator.eastward, size), _entries(operator.northward, size)
        return None if eastward is None or northward is None else np.union1d(eastward, northward)
    return None


# --- affine ----------------------------------------------------------------------------------------------


def _spread_out(affine: tuple[np.ndarray, np.ndarray], entries: np.ndarray) -> list[np.ndarray]:
    """Constants of the distinct entries as constants of every observation."""
    place = np.searchsorted(np.unique(entries), entries)
    return [constants[place] for constants in affine]


def _columns(affine: tuple[np.ndarray, np.ndarray], entries: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Constants of the distinct entries as constants of the whole state, x = z elsewhere."""
    offset, factor = np.zeros(size), np.ones(size)
    offset[entries], factor[entries] = affine
    return offset, factor


def _rescaled(observation: Observation, offset: np.ndarray, factor: np.ndarray) -> Observation:
    value = observation.value
    offset, factor = like(offset, value), like(factor, value)
    deviation = observation.law.standard_deviation(value) / abs(factor)
    return Observation((value - offset) / factor, observation.operator, deviation, observation.position)


def _shifted(observation: Observation, offset: np.ndarray, factor: np.ndarray) -> Observation:
    matrix, value = observation.operator.matrix, observation.value
    unseen = observation.operator(like(offset, value))
    scaled = (
        matrix @ scipy.sparse.diags_array(factor) if scipy.sparse.issparse(matrix) else matrix * like(factor, matrix)
    )
    return replace(observation, value=value - unseen, operator=Linear(scaled))


# --- pointwise, and anything else ------------------------------------------------------------------------


def _composed(function: Function | None, chain: Chain) -> Function:
    """z -> function(x)."""
    if function is None:
        return Function(chain.inverse, chain.slope, f"{chain}.inverse")

    def derivative(values: Array) -> Array:
        return function.slope(chain.inverse(values)) * chain.slope(values)

    return Function(lambda values: function(chain.inverse(values)), derivative, f"{function} of {chain}.inverse")


def _physical(operator: Any, entries: np.ndarray | None, blocks: Blocks) -> Physical:
    """h(g(z)) that computes g only where h reads."""
    if entries is None:
        return Physical(operator, blocks, Identity())
    distinct = np.unique(entries)
    return Physical(_narrowed(operator, distinct), blocks.at(distinct), Select(distinct))


def _narrowed(operator: Any, entries: np.ndarray) -> Any:
    """The operator on the part of the state at `entries`."""
    if isinstance(operator, Select):
        return Select(np.searchsorted(entries, operator.index))
    if isinstance(operator, Linear):
        matrix = operator.matrix
        return Linear(matrix.tocsc()[:, entries].tocsr() if hasattr(matrix, "tocsc") else matrix[:, entries])
    if isinstance(operator, Pointwise):
        return replace(operator, linear=_narrowed(operator.linear, entries))
    return WindSpeed(_narrowed(operator.eastward, entries), _narrowed(operator.northward, entries))


@dataclass(frozen=True)
class Physical:
    """Operator of physical states, for states z: h(g(S z)).

    Parameters
    ----------
    operator : operator
        h.
    blocks : Blocks
        g is their inverse.
    select : Identity or Select
        S, the entries that h reads.
    """

    operator: Any
    blocks: Blocks
    select: Any

    def __call__(self, states: Array) -> Array:
        return self.operator(self.blocks.inverse(self.select(states)))

    def tangent(self, states: Array, directions: Array) -> Array:
        """``J(z) v`` for directions ``(..., state)``."""
        read = self.select(states)
        return tangent(self.operator, self.blocks.inverse(read), self.blocks.slope(read) * self.select(directions))

    def adjoint(self, states: Array, residuals: Array) -> Array:
        """``J(z)^T r``."""
        read = self.select(states)
        pulled = self.operator.adjoint(self.blocks.inverse(read), residuals)
        return self.select.adjoint(states, self.blocks.slope(read) * pulled)
