"""Observation operators h: states ``(..., state)`` to predicted observations ``(..., observation)``.

Every operator carries its own knowledge as verbs, all with a general default (`Operator`): a class of one's own needs
``__call__``, and overrides what it knows better.

    h(x) = f(L x)      linear_part()      L and f; filters look at the columns of L x, a place and a value each
    J(x) v, J(x)^T r   tangent, adjoint   directions and residuals
    h(S x)             entries, reads     which state variables an observation reads
    h(x_0, ..., x_n)   lengths            how many states, if it reads a trajectory
    h(g(z))            through(g)         the same observations of states in other coordinates
    (h_k) of some k    restrict(rows)     the observations that are not missing
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeGuard, cast

import array_api_compat
import numpy as np

from ensf.arrays import Array, as_floating, is_host, is_sparse, like, namespace, rows, summary, to_numpy
from ensf.arrays.settings import as_indices
from ensf.observations.functions import Affine, Composed, Function, PointwiseFunction, identity

if TYPE_CHECKING:
    import scipy.sparse

Matrix: TypeAlias = "np.ndarray | scipy.sparse.csr_array"
"""A dense matrix, or a sparse one of SciPy or CuPy; typed as SciPy's."""

__all__ = [
    "Callback",
    "GroupedFunction",
    "Identity",
    "Linear",
    "LinearPart",
    "Operator",
    "Pointwise",
    "Select",
    "Simulated",
    "Stacked",
    "WindSpeed",
    "as_operator",
]

AT_ONCE = 2**22
"""Values of vectors that a sparse matrix acts on at once."""


class Operator:
    """Observation operator h, with a general default for every verb but the call."""

    def __call__(self, states: Array) -> Array:
        """Predicted observations, ``(..., state) -> (..., observation)``."""
        raise NotImplementedError

    def tangent(self, states: Array, directions: Array) -> Array:
        """``J(x) v`` for directions ``(..., state)``, by central differences."""
        xp = namespace(states)
        step = float(xp.finfo(states.dtype).eps) ** (1 / 3)
        return (self(states + step * directions) - self(states - step * directions)) / (2 * step)

    def adjoint(self, states: Array, residuals: Array) -> Array:
        """``J(x)^T r``: ``(..., state), (..., observation) -> (..., state)``.

        Raises
        ------
        ValueError
            If the operator does not say.
        """
        raise ValueError(
            f"{self!r} has no adjoint: give its class a method adjoint(states, residuals), or use an ensemble filter "
            "such as ETKF, LETKF or LETSF, which needs none"
        )

    def linear_part(self) -> LinearPart:
        """L and f of h(x) = f(L x); an operator that does not say is its own L, as if it were linear."""
        return LinearPart(self, identity)

    def entries(self, size: int) -> np.ndarray | None:
        """State variable that each observation reads, ``(observation,)``; None unless each reads exactly one."""
        return None

    def reads(self) -> np.ndarray | None:
        """State variables that are read at all, ascending; None for all, or if the operator does not say."""
        return None

    def reads_of_state(self) -> np.ndarray | None:
        """As `reads`, in the state of a step where a trajectory is read."""
        return self.reads()

    def lengths(self) -> frozenset[int]:
        """Steps of the trajectories that are read, as `at_times` makes them; none of an operator of one state."""
        return frozenset()

    def nearest_row(self) -> np.ndarray | None:
        """For a linear map, the observation in which each state variable weighs most, ``(state,)``; else None."""
        return None

    def narrowed(self, entries: np.ndarray) -> Operator:
        """The operator on the part of the state at `entries`, ascending, which hold all that `reads` names."""
        raise NotImplementedError

    def places(self, positions: np.ndarray) -> np.ndarray | None:
        """Place of each observation among ``(state, dimension)`` positions; None if it has no one place."""
        index = self.entries(len(positions))
        return None if index is None else positions[index]

    def restrict(self, rows: Sequence[int] | np.ndarray) -> Operator:
        """The observations at `rows` only."""
        return _Restricted(self, Select(rows))

    def through(self, change: PointwiseFunction) -> Operator:
        """h(g(z)), where g maps every state variable by itself: ``change`` has one function for each."""
        read = self.reads()
        if read is None:
            return _Through(self, change, Identity())
        own = change.restrict(read)
        return self if own is identity else _Through(self.narrowed(read), own, Select(read))

    def on(self, array: Array) -> Operator:
        """The operator with its arrays on the device of `array`."""
        return self


def as_operator(operator: Callable[[Array], Array]) -> Operator:
    """An operator, or a callable ``(..., state) -> (..., observation)`` as one.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if isinstance(operator, Operator):
        return operator
    if not callable(operator):
        raise ValueError(f"operator is a {type(operator).__name__}: give Identity(), Select, Linear, or a callable")
    return _Own(operator)


class GroupedFunction(Protocol):
    """A function of columns of which several belong to one observation."""

    def __call__(self, columns: Array) -> Array:
        """Of columns ``(..., column)``, observations ``(..., observation)``."""

    def owners(self, observations: int) -> np.ndarray:
        """Observation that each column belongs to, ``(column,)``."""


@dataclass(frozen=True)
class LinearPart:
    """h(x) = f(L x).

    Attributes
    ----------
    linear : Operator
        L, ``(..., state) -> (..., column)``.
    function : PointwiseFunction or GroupedFunction
        f, ``(..., column) -> (..., observation)``; pointwise if column k is all that observation k depends on.
    """

    linear: Operator
    function: PointwiseFunction | GroupedFunction

    @cached_property
    def pointwise(self) -> PointwiseFunction | None:
        """f if observation k depends on column k alone."""
        return None if hasattr(self.function, "owners") else cast(PointwiseFunction, self.function)

    @property
    def exact(self) -> bool:
        """Whether h(x) = L x."""
        return self.function is identity

    def owners(self, observations: int) -> np.ndarray:
        """Observation that each column belongs to, ``(column,)``."""
        if self.pointwise is not None:
            return np.arange(observations)
        return cast(GroupedFunction, self.function).owners(observations)


VERBS = (
    "tangent",
    "adjoint",
    "linear_part",
    "entries",
    "reads",
    "lengths",
    "nearest_row",
    "narrowed",
    "places",
    "restrict",
    "through",
    "on",
)


@dataclass(frozen=True, eq=False)
class _Own(Operator):
    """A user's callable, with those verbs that it has."""

    operator: Callable[[Array], Array]

    def __post_init__(self) -> None:
        for verb in VERBS:
            if hasattr(self.operator, verb):
                object.__setattr__(self, verb, getattr(self.operator, verb))

    def __call__(self, states: Array) -> Array:
        made = self.operator(states)
        made = made if array_api_compat.is_array_api_obj(made) else like(np.asarray(made), states)
        xp = namespace(made)
        return made if xp.isdtype(made.dtype, "real floating") else xp.astype(made, states.dtype)

    def __repr__(self) -> str:
        return repr(self.operator)


# --- linear operators ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Identity(Operator):
    """Every state variable is observed."""

    def __call__(self, states: Array) -> Array:
        return states

    def tangent(self, states: Array, directions: Array) -> Array:
        """``J(x) v`` for directions ``(..., state)``."""
        return directions

    def adjoint(self, states: Array, residuals: Array) -> Array:
        """``J(x)^T r``."""
        return residuals

    def entries(self, size: int) -> np.ndarray:
        """All of them."""
        return np.arange(size)

    def restrict(self, rows: Sequence[int] | np.ndarray) -> Select:
        """A `Select` of these."""
        return Select(rows)

    def through(self, change: PointwiseFunction) -> Operator:
        """The change itself, a function of single variables."""
        return Pointwise(change, self)


@dataclass(frozen=True)
class Select(Operator):
    """Some state variables are observed.

    Parameters
    ----------
    index : sequence of int, or array of bool
        Positions in the state, one per observation; or a mask of the state, True where it is observed.

    Raises
    ------
    ValueError
        If the entries are neither integers nor a one-dimensional mask.
    """

    index: Sequence[int] | np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", tuple(as_indices(self.index, "Select").tolist()))

    def __repr__(self) -> str:
        if len(self.index) <= 8:
            return f"Select(index={self.index})"
        return f"Select({len(self.index)} of variables {min(self.index)} to {max(self.index)})"

    def __call__(self, states: Array) -> Array:
        return namespace(states).take(states, self._tables(states)[0], axis=-1)

    def tangent(self, states: Array, directions: Array) -> Array:
        """``J(x) v`` for directions ``(..., state)``."""
        return self(directions)

    def adjoint(self, states: Array, residuals: Array) -> Array:
        """``J(x)^T r``."""
        xp = namespace(residuals)
        padded = xp.concat([residuals, xp.zeros_like(residuals[..., :1])], axis=-1)
        first, *others = self._tables(states)[1]
        return sum((xp.take(padded, table, axis=-1) for table in others), start=xp.take(padded, first, axis=-1))

    def entries(self, size: int) -> np.ndarray:
        """The index."""
        return np.asarray(self.index, dtype=np.int64)

    def places(self, positions: np.ndarray) -> np.ndarray:
        """Positions of these variables."""
        index = np.asarray(self.index, dtype=np.int64)
        _check_index(index, len(positions))
        return positions[index]

    def reads(self) -> np.ndarray:
        """The index, ascending and each once."""
        return np.unique(np.asarray(self.index, dtype=np.int64))

    def narrowed(self, entries: np.ndarray) -> Select:
        """The same variables in a part of the state."""
        return Select(np.searchsorted(entries, np.asarray(self.index, dtype=np.int64)))

    def restrict(self, rows: Sequence[int] | np.ndarray) -> Select:
        """Some of the variables."""
        return Select(np.asarray(self.index, dtype=np.int64)[as_indices(rows, "rows")])

    def through(self, change: PointwiseFunction) -> Operator:
        """The change of these variables."""
        return Pointwise(change.restrict(np.asarray(self.index, dtype=np.int64)), self)

    @cached_property
    def _kept(self) -> dict[tuple[int, str, str], tuple[Array, list[Array]]]:
        return {}

    def _tables(self, states: Array) -> tuple[Array, list[Array]]:
        """Index tables (gather, scatter) beside the states, made once per state size and device."""
        size = states.shape[-1]
        key = (size, namespace(states).__name__, str(states.device))
        if key not in self._kept:
            index = np.asarray(self.index, dtype=np.int64)
            _check_index(index, size)
            self._kept[key] = (
                like(index, states),
                [like(table, states) for table in _inverse_tables(index, size)],
            )
        return self._kept[key]


def _check_index(index: np.ndarray, size: int) -> None:
    outside = (index < 0) | (index >= size)
    if outside.any():
        k = int(np.argmax(outside))
        raise ValueError(
            f"observation {k} selects state variable {index[k]} but the state has {size} variables: "
            f"give positions from 0 to {size - 1}"
        )


def _inverse_tables(index: np.ndarray, size: int) -> list[np.ndarray]:
    """Where each state variable finds its observation (len(index) = nowhere); one table per repetition of an index."""
    order = np.argsort(index, kind="stable")
    repetition = np.empty_like(index)
    repetition[order] = np.arange(len(index)) - np.searchsorted(index[order], index[order])
    tables = []
    for k in range(max(repetition, default=0) + 1):
        chosen = np.flatnonzero(repetition == k)
        table = np.full(size, len(index), dtype=np.int64)
        table[index[chosen]] = chosen
        tables.append(table)
    return tables


@dataclass(frozen=True, eq=False)
class Linear(Operator):
    """Linear map of the state.

    Parameters
    ----------
    matrix : (observation, state) array, table or sparse matrix
        A dense one lives on the device of the states; a sparse one, in any format, is kept as compressed rows.

    Raises
    ------
    ValueError
        If it is not a matrix of real numbers.
    """

    matrix: Matrix

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrix", _real_matrix(self.matrix))

    def __repr__(self) -> str:
        if is_sparse(self.matrix):
            return f"Linear({tuple(self.matrix.shape)} sparse {self.matrix.dtype}, {self.matrix.nnz} stored)"
        return f"Linear({summary(self.matrix)})"

    def __call__(self, states: Array) -> Array:
        return _apply(self.matrix, states)

    def tangent(self, states: Array, directions: Array) -> Array:
        """``J(x) v`` for directions ``(..., state)``."""
        return self(directions)

    def adjoint(self, states: Array, residuals: Array) -> Array:
        """``J(x)^T r``."""
        return _apply(self.matrix.T, residuals)

    def reads(self) -> np.ndarray:
        """Columns with an entry that is not zero."""
        if is_sparse(self.matrix):
            return np.unique(to_numpy(self.matrix.indices[self.matrix.data != 0])).astype(np.int64)
        return np.flatnonzero((to_numpy(self.matrix) != 0).any(axis=0))

    def nearest_row(self) -> np.ndarray:
        """The row in which a column weighs most."""
        size = abs(self.matrix)
        if not size.shape[0]:
            return np.zeros(size.shape[1], dtype=np.int64)
        return to_numpy(size.argmax(axis=0) if is_sparse(size) else namespace(size).argmax(size, axis=0)).ravel()

    def narrowed(self, entries: np.ndarray) -> Linear:
        """The columns at `entries`."""
        if _is_host_sparse(self.matrix):
            import scipy.sparse

            used = scipy.sparse.csr_array(self.matrix, copy=True)
            used.eliminate_zeros()
            columns = np.searchsorted(entries, used.indices)
            shape = used.shape[0], len(entries)
            return Linear(scipy.sparse.csr_array((used.data, columns, used.indptr), shape=shape))
        if is_sparse(self.matrix):
            return Linear(self.matrix.tocsc()[:, entries].tocsr())
        return Linear(namespace(self.matrix).take(self.matrix, like(entries, self.matrix), axis=1))

    def restrict(self, rows_: Sequence[int] | np.ndarray) -> Linear:
        """Some of the rows."""
        return Linear(rows(self.matrix, rows_))

    def through(self, change: PointwiseFunction) -> Operator:
        """``L g(z)``, which is ``L a + L diag(d) z`` where the variables that are read change as ``a + d z``."""
        read = self.reads()
        change = change.restrict(read)
        if change is identity:
            return self
        affine = change.affine
        if affine is None:
            return _Through(self.narrowed(read), change, Select(read))
        offset, factor = map(to_numpy, affine)
        matrix = self.narrowed(read).matrix
        shift = _apply(matrix, like(np.broadcast_to(offset, read.shape).astype(np.float64), _numbers(matrix)))
        factors = np.ones(self.matrix.shape[1])
        factors[read] = factor
        if is_sparse(self.matrix):
            import scipy.sparse

            scaled = self.matrix @ scipy.sparse.diags_array(factors)
        else:
            scaled = self.matrix * like(factors, self.matrix)
        return Pointwise(Affine(to_numpy(shift), 1.0), Linear(scaled))

    def on(self, array: Array) -> Linear:
        """Sparse for NumPy and CuPy, dense where there is nothing sparse."""
        if is_host(array):
            return self
        if not _is_host_sparse(self.matrix):
            return Linear(like(self.matrix, array)) if is_host(self.matrix) else self
        if array_api_compat.is_cupy_array(array):
            import cupyx.scipy.sparse

            return Linear(cupyx.scipy.sparse.csr_matrix(self.matrix))
        return Linear(like(self.matrix.toarray(), array))


def _is_host_sparse(matrix: Matrix) -> TypeGuard[scipy.sparse.csr_array]:
    """Whether it is a matrix of SciPy, which is not imported for the question."""
    return type(matrix).__module__.startswith("scipy.sparse")


def _real_matrix(matrix: Matrix) -> Matrix:
    """Compressed rows of a sparse matrix; a dense one as `as_floating` has it."""
    if not is_sparse(matrix):
        dense = as_floating(matrix, "operator matrix")
        if dense.ndim != 2:
            raise ValueError(f"operator matrix has shape {tuple(dense.shape)}: give (observation, state)")
        if not bool(namespace(dense).isfinite(namespace(dense).sum(dense))) and not np.isfinite(to_numpy(dense)).all():
            row, column = np.argwhere(~np.isfinite(to_numpy(dense)))[0].tolist()
            raise ValueError(f"operator matrix is not finite in row {row}, column {column}: give numbers")
        return dense
    if matrix.dtype.kind == "c" or matrix.ndim != 2:
        raise ValueError(f"operator matrix has shape {matrix.shape} and dtype {matrix.dtype}: give real numbers in 2-D")
    import scipy.sparse

    compressed = scipy.sparse.csr_array(matrix) if _is_host_sparse(matrix) else matrix.tocsr()
    return compressed if compressed.dtype.kind == "f" else compressed.astype(np.float64)


def stacked_matrices(matrices: Sequence[Matrix]) -> Linear:
    """The rows of several matrices one after another, dense if all of them are."""
    if any(map(is_sparse, matrices)):
        import scipy.sparse

        rows_of_all = [matrix if is_sparse(matrix) else scipy.sparse.csr_array(to_numpy(matrix)) for matrix in matrices]
        return Linear(scipy.sparse.vstack(rows_of_all, format="csr"))
    return Linear(namespace(*matrices).concat(matrices, axis=0))


def _numbers(matrix: Matrix) -> Array:
    """An array with the namespace, device and dtype of a matrix."""
    return matrix.data if is_sparse(matrix) else matrix


def _apply(matrix: Matrix, vectors: Array) -> Array:
    if matrix.shape[1] != vectors.shape[-1]:
        raise ValueError(
            f"a matrix of shape {matrix.shape} cannot act on vectors of {vectors.shape[-1]} entries: "
            "its rows are observations, its columns state variables"
        )
    if _is_host_sparse(matrix) or not hasattr(matrix, "__array_namespace__"):
        flat = vectors.reshape(-1, vectors.shape[-1])
        if _is_host_sparse(matrix) and flat.size > AT_ONCE:  # the same bits without a copy of all vectors
            each = np.stack([matrix @ vector for vector in flat])
            return each.reshape(*vectors.shape[:-1], matrix.shape[0]).astype(vectors.dtype, copy=False)
        return (matrix @ flat.T).T.reshape(*vectors.shape[:-1], matrix.shape[0]).astype(vectors.dtype, copy=False)
    xp = namespace(vectors)
    return xp.matmul(vectors, xp.astype(matrix, vectors.dtype, copy=False).T)


@dataclass(frozen=True)
class Stacked(Operator):
    """The observations of several operators one after another, ``(h_1(x), ..., h_n(x))``.

    Parameters
    ----------
    operators : tuple of Operator
    """

    operators: tuple[Operator, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "operators", tuple(map(as_operator, self.operators)))

    def __call__(self, states: Array) -> Array:
        return namespace(states).concat([operator(states) for operator in self.operators], axis=-1)

    def tangent(self, states: Array, directions: Array) -> Array:
        """``J(x) v`` for directions ``(..., state)``."""
        return namespace(states).concat([one.tangent(states, directions) for one in self.operators], axis=-1)

    def adjoint(self, states: Array, residuals: Array) -> Array:
        """``J(x)^T r``."""
        one = states[..., :1, :] if states.ndim > 1 else states
        stops = np.cumsum([operator(one).shape[-1] for operator in self.operators]).tolist()
        pieces = zip(self.operators, [0, *stops], stops, strict=False)
        first, *others = (operator.adjoint(states, residuals[..., a:b]) for operator, a, b in pieces)
        return sum(others, start=first)

    def entries(self, size: int) -> np.ndarray | None:
        """Those of each operator."""
        return joined([operator.entries(size) for operator in self.operators])

    def reads(self) -> np.ndarray | None:
        """All that one of them reads."""
        return union(self.operators)

    def reads_of_state(self) -> np.ndarray | None:
        """All that one of them reads of a state."""
        return merged([operator.reads_of_state() for operator in self.operators])

    def linear_part(self) -> LinearPart:
        """Its own, unless all of them are linear."""
        parts = [operator.linear_part() for operator in self.operators]
        if not all(part.exact for part in parts):
            return LinearPart(self, identity)
        return LinearPart(Stacked(tuple(part.linear for part in parts)), identity)

    def lengths(self) -> frozenset[int]:
        """Those of all of them."""
        return lengths(self.operators)

    def narrowed(self, entries: np.ndarray) -> Stacked:
        """Of a part of the state."""
        return Stacked(tuple(operator.narrowed(entries) for operator in self.operators))

    def places(self, positions: np.ndarray) -> np.ndarray | None:
        """Those of each operator."""
        return joined([operator.places(positions) for operator in self.operators])

    def through(self, change: PointwiseFunction) -> Stacked:
        """Each operator through the change."""
        return Stacked(tuple(operator.through(change) for operator in self.operators))

    def on(self, array: Array) -> Stacked:
        """With all operators on the device of `array`."""
        return Stacked(tuple(operator.on(array) for operator in self.operators))


# --- functions of linear maps ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pointwise(Operator):
    """Pointwise function of a linear map, ``h(x)_k = f((L x)_k)``.

    Parameters
    ----------
    function : Function or callable
        `arctan`, `absolute`, `square`, `cube`, `exponential`, `log`, or one's own.
    linear : Operator, optional
        `Identity`, `Select` or `Linear`.
    """

    function: PointwiseFunction
    linear: Operator = Identity()

    def __post_init__(self) -> None:
        if not isinstance(self.function, PointwiseFunction):
            object.__setattr__(self, "function", Function(self.function))
        object.__setattr__(self, "linear", as_operator(self.linear))

    def __call__(self, states: Array) -> Array:
        return self.function(self.linear(states))

    def tangent(self, states: Array, directions: Array) -> Array:
        """``J(x) v`` for directions ``(..., state)``."""
        return self.function.slope(self.linear(states)) * self.linear.tangent(states, directions)

    def adjoint(self, states: Array, residuals: Array) -> Array:
        """``J(x)^T r``."""
        return self.linear.adjoint(states, self.function.slope(self.linear(states)) * residuals)

    def linear_part(self) -> LinearPart:
        """L and f."""
        inner = self.linear.linear_part()
        if inner.pointwise is None:
            return LinearPart(self, identity)
        return LinearPart(inner.linear, self.function if inner.exact else Composed(self.function, inner.pointwise))

    def entries(self, size: int) -> np.ndarray | None:
        """Those of L."""
        return self.linear.entries(size)

    def reads(self) -> np.ndarray | None:
        """Those of L."""
        return self.linear.reads()

    def lengths(self) -> frozenset[int]:
        """Those of L."""
        return self.linear.lengths()

    def narrowed(self, entries: np.ndarray) -> Pointwise:
        """f of L on a part of the state."""
        return Pointwise(self.function, self.linear.narrowed(entries))

    def places(self, positions: np.ndarray) -> np.ndarray | None:
        """Those of L."""
        return self.linear.places(positions)

    def restrict(self, rows: Sequence[int] | np.ndarray) -> Pointwise:
        """Some of the functions, of some of the linear map."""
        rows = as_indices(rows, "rows")
        return Pointwise(self.function.restrict(rows), self.linear.restrict(rows))

    def through(self, change: PointwiseFunction) -> Operator:
        """f of L g(z), pointwise wherever that is a function of one linear combination."""
        part = self.linear.through(change).linear_part()
        if part.pointwise is None:
            return super().through(change)
        return Pointwise(self.function if part.exact else Composed(self.function, part.pointwise), part.linear)

    def on(self, array: Array) -> Pointwise:
        """With L on the device of `array`."""
        return replace(self, linear=self.linear.on(array))


@dataclass(frozen=True)
class WindSpeed(Operator):
    """Speed of two wind components, ``sqrt((L_u x)^2 + (L_v x)^2)``; its gradient at zero wind is taken as zero.

    Parameters
    ----------
    eastward, northward : Operator
        L_u and L_v.
    """

    eastward: Operator
    northward: Operator

    def __post_init__(self) -> None:
        object.__setattr__(self, "eastward", as_operator(self.eastward))
        object.__setattr__(self, "northward", as_operator(self.northward))

    def _components(self, states: Array) -> tuple[Array, Array, Array]:
        xp = namespace(states)
        u, v = self.eastward(states), self.northward(states)
        speed = xp.sqrt(u * u + v * v)
        safe = xp.where(speed > 0, speed, xp.ones_like(speed))
        return u / safe, v / safe, speed

    def __call__(self, states: Array) -> Array:
        return self._components(states)[2]

    def tangent(self, states: Array, directions: Array) -> Array:
        """``J(x) v`` for directions ``(..., state)``."""
        cosine, sine, _ = self._components(states)
        return cosine * self.eastward.tangent(states, directions) + sine * self.northward.tangent(states, directions)

    def adjoint(self, states: Array, residuals: Array) -> Array:
        """``J(x)^T r``."""
        cosine, sine, _ = self._components(states)
        return self.eastward.adjoint(states, cosine * residuals) + self.northward.adjoint(states, sine * residuals)

    def linear_part(self) -> LinearPart:
        """Both components, and the speed of two halves of the columns."""
        return combined_part(_speed, (self.eastward, self.northward), LinearPart(self, identity))

    def reads(self) -> np.ndarray | None:
        """All that one component reads."""
        return union((self.eastward, self.northward))

    def lengths(self) -> frozenset[int]:
        """Those of both components."""
        return lengths((self.eastward, self.northward))

    def narrowed(self, entries: np.ndarray) -> WindSpeed:
        """Of a part of the state."""
        return WindSpeed(self.eastward.narrowed(entries), self.northward.narrowed(entries))

    def places(self, positions: np.ndarray) -> np.ndarray | None:
        """Where both components are, if that is one place."""
        return common_places((self.eastward, self.northward), positions)

    def restrict(self, rows: Sequence[int] | np.ndarray) -> WindSpeed:
        """Of some of the observations."""
        return WindSpeed(self.eastward.restrict(rows), self.northward.restrict(rows))

    def through(self, change: PointwiseFunction) -> WindSpeed:
        """Both components through the change."""
        return WindSpeed(self.eastward.through(change), self.northward.through(change))

    def on(self, array: Array) -> WindSpeed:
        """With both components on the device of `array`."""
        return WindSpeed(self.eastward.on(array), self.northward.on(array))


def _speed(u: Array, v: Array) -> Array:
    return namespace(u).sqrt(u * u + v * v)


@dataclass(frozen=True)
class _OfGroups:
    """f(g_1(c_1), ..., g_n(c_n)) of columns that are n groups of equal size one after another, elementwise.

    Parameters
    ----------
    function : callable
    inner : tuple of PointwiseFunction
        g of each group.
    """

    function: Callable[..., Array]
    inner: tuple[PointwiseFunction, ...]

    def __call__(self, columns: Array) -> Array:
        size = columns.shape[-1] // len(self.inner)
        return self.function(*(g(columns[..., k * size : (k + 1) * size]) for k, g in enumerate(self.inner)))

    def owners(self, observations: int) -> np.ndarray:
        """Observation that each column belongs to."""
        return np.tile(np.arange(observations), len(self.inner))


def combined_part(function: Callable[..., Array], operators: Sequence[Operator], otherwise: LinearPart) -> LinearPart:
    """Linear part of ``f(h_1(x)_k, ..., h_n(x)_k)``, unless an h is not a pointwise function of a linear map."""
    parts = [operator.linear_part() for operator in operators]
    inner = tuple(part.pointwise for part in parts if part.pointwise is not None)
    if len(inner) < len(parts):
        return otherwise
    return LinearPart(Stacked(tuple(part.linear for part in parts)), _OfGroups(function, inner))


def union(operators: Sequence[Operator]) -> np.ndarray | None:
    """State variables that one of the operators reads; None for all, or if one does not say."""
    return merged([operator.reads() for operator in operators])


def merged(read: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """State variables of all lists together, ascending; None if one is None."""
    entries = joined(read)
    return None if entries is None else np.unique(entries)


def lengths(operators: Sequence[Operator]) -> frozenset[int]:
    """Steps of the trajectories that the operators read."""
    return frozenset().union(*(operator.lengths() for operator in operators))


def joined(entries: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Entries of several operators one after another; None if one has none."""
    named = [one for one in entries if one is not None]
    return np.concatenate(named) if named and len(named) == len(entries) else None


def common_places(operators: Sequence[Operator], positions: np.ndarray) -> np.ndarray | None:
    """Places that several operators have in common; None if they differ, or one has none."""
    first, *others = (operator.places(positions) for operator in operators)
    agree = first is not None and all(other is not None and np.array_equal(first, other) for other in others)
    return first if agree else None


@dataclass(frozen=True)
class Callback(Operator):
    """Any function of the state with its adjoint.

    Parameters
    ----------
    forward : callable
        ``(..., state) -> (..., observation)``.
    pullback : callable
        ``(states, residuals) -> J(x)^T r``.
    """

    forward: Callable[[Array], Array]
    pullback: Callable[[Array, Array], Array]

    def __post_init__(self) -> None:
        if not callable(self.forward):
            raise ValueError(f"forward of Callback is {self.forward!r}: give a function of states")

    def __call__(self, states: Array) -> Array:
        return self.forward(states)

    def adjoint(self, states: Array, residuals: Array) -> Array:
        """``J(x)^T r``."""
        return self.pullback(states, residuals)


@dataclass(frozen=True)
class Simulated(Operator):
    """What a simulator elsewhere makes of the state: the filter gets its predictions as a matrix, ``predicted=``.

    Functions of them are operators as ever: ``Pointwise(log, Simulated())``.
    """

    def __call__(self, states: Array) -> Array:
        raise ValueError(
            "the predictions of Simulated() are made elsewhere: give analyse predicted=, (member, observation), of a "
            "filter that is Preparable"
        )

    def restrict(self, rows: Sequence[int] | np.ndarray) -> Simulated:
        """Itself: the predictions are restricted with the values."""
        return self


# --- operators of operators ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Restricted(Operator):
    """Some of the observations of an operator."""

    operator: Operator
    select: Select

    def __call__(self, states: Array) -> Array:
        return self.select(self.operator(states))

    def tangent(self, states: Array, directions: Array) -> Array:
        return self.select(self.operator.tangent(states, directions))

    def adjoint(self, states: Array, residuals: Array) -> Array:
        full = self.select.adjoint(self.operator(states), residuals)
        return self.operator.adjoint(states, full)

    def entries(self, size: int) -> np.ndarray | None:
        entries = self.operator.entries(size)
        return None if entries is None else entries[list(self.select.index)]

    def reads(self) -> np.ndarray | None:
        return self.operator.reads()

    def lengths(self) -> frozenset[int]:
        return self.operator.lengths()

    def narrowed(self, entries: np.ndarray) -> Operator:
        return _Restricted(self.operator.narrowed(entries), self.select)

    def places(self, positions: np.ndarray) -> np.ndarray | None:
        places = self.operator.places(positions)
        return None if places is None else places[list(self.select.index)]

    def restrict(self, rows: Sequence[int] | np.ndarray) -> Operator:
        return _Restricted(self.operator, self.select.restrict(rows))

    def on(self, array: Array) -> Operator:
        return _Restricted(self.operator.on(array), self.select)


@dataclass(frozen=True, eq=False)
class _OfEntries:
    """h(g(c)) of columns that are the entries that h reads, each beside the observation that weighs it most."""

    operator: Operator
    change: PointwiseFunction
    nearest: np.ndarray

    def __call__(self, columns: Array) -> Array:
        return self.operator(self.change(columns))

    def owners(self, observations: int) -> np.ndarray:
        return self.nearest


@dataclass(frozen=True)
class _Through(Operator):
    """h(g(S z)): S the entries that h reads, g the change of each."""

    operator: Operator
    change: PointwiseFunction
    select: Operator

    def __call__(self, states: Array) -> Array:
        return self.operator(self.change(self.select(states)))

    def tangent(self, states: Array, directions: Array) -> Array:
        read = self.select(states)
        return self.operator.tangent(self.change(read), self.change.slope(read) * self.select(directions))

    def adjoint(self, states: Array, residuals: Array) -> Array:
        read = self.select(states)
        pulled = self.operator.adjoint(self.change(read), residuals)
        return self.select.adjoint(states, self.change.slope(read) * pulled)

    def linear_part(self) -> LinearPart:
        """The entries that h reads, and h of g of them: filters linearise it anew where they move these columns."""
        nearest = self.operator.nearest_row()
        if nearest is None:
            return super().linear_part()
        return LinearPart(self.select, _OfEntries(self.operator, self.change, nearest))

    def entries(self, size: int) -> np.ndarray | None:
        read = self.select.entries(size)
        entries = None if read is None else self.operator.entries(len(read))
        return None if read is None or entries is None else read[entries]

    def reads(self) -> np.ndarray | None:
        return self.select.reads()

    def lengths(self) -> frozenset[int]:
        return self.select.lengths()

    def narrowed(self, entries: np.ndarray) -> Operator:
        return replace(self, select=self.select.narrowed(entries))

    def places(self, positions: np.ndarray) -> np.ndarray | None:
        read = self.select.places(positions)
        return None if read is None else self.operator.places(read)

    def restrict(self, rows: Sequence[int] | np.ndarray) -> Operator:
        return replace(self, operator=self.operator.restrict(rows))

    def on(self, array: Array) -> Operator:
        return replace(self, operator=self.operator.on(array))
