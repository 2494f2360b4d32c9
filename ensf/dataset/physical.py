"""What observations see of a state in other coordinates: the physical variables, h(x) = h(g(z)).

The structure that a filter uses is kept wherever there is one:

    affine g, entries observed            y -> (y - a) / d,  error -> error / |d|       the same operator
    affine g, linear combinations         y -> y - L a,      L -> L diag(d)             linear as before
    functions of entries                  f_k(x_k) -> f_k(g_k(z_k))                     pointwise, L selects entries
    anything else                         h(g(z))                                       with tangent and adjoint

Operators may be made of operators, as those of a station network are: `Joined`, `Combined`, `WindSpeed`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse

from ensf.arrays import Array, like, to_numpy
from ensf.dataset.blocks import Blocks
from ensf.dataset.transforms import Chain
from ensf.observations import Identity, Linear, Pointwise, Select, WindSpeed
from ensf.observations.combined import Combined
from ensf.observations.error_laws import Correlated, Gaussian
from ensf.observations.functions import Composed, Function, Mixed, identity
from ensf.observations.observation import Observation

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
    if touched.unchanged:
        return observation
    affine = touched.affine()
    if affine is not None and isinstance(operator, Identity | Select) and isinstance(observation.law, Gaussian):
        return _rescaled(observation, *_spread_out(affine, entries))
    if affine is not None and isinstance(operator, Linear) and isinstance(observation.law, Gaussian | Correlated):
        return _shifted(observation, *_columns(affine, entries, size))
    single = _of_entries(operator)
    if single is not None:
        outer, base = single
        return replace(observation, operator=Pointwise(_composed(outer, _inverses(touched, entries, base)), base))
    return replace(observation, operator=_physical(operator, read, blocks))


def _entries(operator: Any, size: int) -> np.ndarray | None:
    """Entries of the state that an operator reads, in the order of a `Select`; None if unknown or all."""
    if isinstance(operator, Select):
        return np.asarray(operator.index, dtype=np.int64)
    if isinstance(operator, Linear):
        matrix = operator.matrix
        columns = matrix.tocsr().indices if hasattr(matrix, "tocsr") else np.nonzero(to_numpy(matrix))[1]
        return np.unique(to_numpy(columns))
    parts = [_entries(part, size) for several in _parts(operator).values() for part in several]
    known = [part for part in parts if part is not None]
    return np.unique(np.concatenate(known)) if parts and len(known) == len(parts) else None


def _parts(operator: Any) -> dict[str, tuple[Any, ...]]:
    """Operators that an operator is made of, by the name of its field."""
    if isinstance(operator, Pointwise | Combined):
        names: tuple[str, ...] = ("linear",)
    elif isinstance(operator, WindSpeed):
        names = "eastward", "northward"
    else:
        names = ("operators",) if _is_joined(operator) else ()
    found = {name: getattr(operator, name) for name in names}
    return {name: part if isinstance(part, tuple) else (part,) for name, part in found.items()}


def _is_joined(operator: Any) -> bool:
    """Whether it is a `Joined` of `ensf.observations.joined`."""
    return hasattr(operator, "operators") and hasattr(operator, "rows")


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


def _of_entries(operator: Any) -> tuple[Any, Any] | None:
    """f and the entries of an operator f_k(x_k), f None where it is x_k itself; None for any other operator."""
    if isinstance(operator, Identity | Select):
        return None, operator
    if isinstance(operator, Pointwise) and isinstance(operator.linear, Identity | Select):
        return operator.function, operator.linear
    parts = [_of_entries(part) for part in operator.operators] if _is_joined(operator) else []
    known = [part for part in parts if part is not None and isinstance(part[1], Select)]
    if not known or len(known) < len(parts):
        return None
    order = np.concatenate([np.asarray(rows, dtype=np.int64) for rows in operator.rows])
    number, index = np.empty_like(order), np.empty_like(order)
    number[order] = np.repeat(np.arange(len(known)), [len(rows) for rows in operator.rows])
    index[order] = np.concatenate([np.asarray(select.index) for _, select in known])
    return Mixed(tuple(outer or identity for outer, _ in known), tuple(number.tolist())), Select(index)


def _inverses(touched: Blocks, entries: np.ndarray, base: Any) -> Any:
    """g_k of every observation."""
    functions = tuple(
        identity if one == Chain() else Function(one.inverse, one.slope, f"{one}.inverse") for one in touched.chains
    )
    if len(set(touched.chains)) == 1:
        return functions[0]
    place = np.searchsorted(np.unique(entries), base.index) if isinstance(base, Select) else entries
    return Mixed(functions, tuple(np.searchsorted(touched.stops, place, side="right").tolist()))


def _composed(outer: Any, inner: Any) -> Any:
    return inner if outer is None else Composed(outer, inner)


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
    narrowed = {name: tuple(_narrowed(one, entries) for one in part) for name, part in _parts(operator).items()}
    single = {name: part if isinstance(getattr(operator, name), tuple) else part[0] for name, part in narrowed.items()}
    return replace(operator, **single)


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
        return self.operator.tangent(self.blocks.inverse(read), self.blocks.slope(read) * self.select(directions))

    def adjoint(self, states: Array, residuals: Array) -> Array:
        """``J(z)^T r``."""
        read = self.select(states)
        pulled = self.operator.adjoint(self.blocks.inverse(read), residuals)
        return self.select.adjoint(states, self.blocks.slope(read) * pulled)
