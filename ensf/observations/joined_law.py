"""Error laws of several kinds in one batch: some errors Gaussian, some censored, some yes or no."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, cast

import numpy as np

from ensf.arrays import Array, Generator, Numbers, Record, is_host, like, namespace, rows, to_numpy
from ensf.arrays.settings import as_indices
from ensf.observations.error_laws import (
    ErrorLaw,
    Gaussian,
    IndependentLaw,
    is_error_law,
    is_gaussian,
    is_independent,
    one_each,
)
from ensf.observations.grouped import Grouped

__all__ = ["JoinedLaw", "gaussian_rows", "in_turn", "join_laws", "widened"]


@dataclass(frozen=True, eq=False, repr=False)
class JoinedLaw(Record):
    """Independent errors of several laws, in any order.

    Parameters
    ----------
    laws : tuple of error law
        Of independent errors; a parameter of one observation each is in the order of its own rows.
    rows : tuple of tuple of int
        The observations of each law; together every one, once.
    behind : int
        Axes of predictions behind that of the observations.

    Raises
    ------
    ValueError
        If the errors of a law are not independent, or rows are missing or twice there.
    """

    laws: tuple[IndependentLaw, ...]
    rows: tuple[tuple[int, ...], ...]
    behind: int = 0
    is_gaussian: ClassVar[bool] = False
    is_independent: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(tuple(as_indices(rows, "JoinedLaw").tolist()) for rows in self.rows))
        if len(self.laws) != len(self.rows):
            raise ValueError(f"JoinedLaw has {len(self.laws)} laws but rows for {len(self.rows)}: give rows for each")
        for law in self.laws:
            if not law.is_independent:
                raise ValueError(f"JoinedLaw holds {law!r}: give laws of independent errors")
        if not np.array_equal(self._joined[self._order], np.arange(len(self._joined))):
            raise ValueError("rows of JoinedLaw are not every observation once: number them from 0 and leave out none")

    def __repr__(self) -> str:
        parts = (f"{len(rows)} of {law!r}" for law, rows in zip(self.laws, self.rows, strict=True))
        return f"JoinedLaw({', '.join(parts)})"

    @cached_property
    def _joined(self) -> np.ndarray:
        return np.concatenate([np.asarray(rows, dtype=np.int64) for rows in self.rows])

    @cached_property
    def _order(self) -> np.ndarray:
        return np.argsort(self._joined, kind="stable")

    def _each(self, verb: Callable[[IndependentLaw, np.ndarray], Array]) -> Array:
        """What each law says of its observations, in the order of all."""
        parts = [verb(law, np.asarray(rows)) for law, rows in zip(self.laws, self.rows, strict=True) if rows]
        return self._take(namespace(*parts).concat(parts, axis=-1 - self.behind), self._order)

    def _take(self, array: Array, index: np.ndarray) -> Array:
        """Those of the observations at `index`."""
        return namespace(array).take(array, like(index, array), axis=-1 - self.behind)

    def log_density(self, value: Array, predicted: Array) -> Array:
        """``log p(y | h)`` up to a constant."""
        return namespace(predicted).sum(self.each(value, predicted), axis=-1)

    def each(self, value: Array, predicted: Array) -> Array:
        """``log p(y | h)`` of every observation up to a constant, shape of `predicted`."""
        return self._each(lambda law, rows: law.each(self._take(value, rows), self._take(predicted, rows)))

    def score(self, value: Array, predicted: Array) -> Array:
        """``d log p(y | h) / d h``, shape of `predicted`."""
        return self._each(lambda law, rows: law.score(self._take(value, rows), self._take(predicted, rows)))

    def weight(self, value: Array, predicted: Array) -> Array | None:
        """Influence of every observation: 1 for those whose law bounds none; None if no law does."""
        if all(law.weight(value[:0, ...], predicted[..., :0]) is None for law in self._without_arrays):
            return None

        def weight(law: IndependentLaw, rows: np.ndarray) -> Array:
            here = self._take(predicted, rows)
            bounded = law.weight(self._take(value, rows), here)
            return namespace(here).ones_like(here) if bounded is None else bounded

        return self._each(weight)

    @property
    def _without_arrays(self) -> list[IndependentLaw]:
        """The laws of no observations."""
        return [law.restrict(np.zeros(0, dtype=np.int64)) for law in self.laws]

    def draw(self, predicted: Array, rng: Generator) -> Array:
        """Observations of the predicted values."""
        return self._each(lambda law, rows: law.draw(self._take(predicted, rows), rng))

    def standard_deviation(self, value: Array) -> Array:
        """Standard deviation per observation, shape of `value`."""
        return self._each(lambda law, rows: law.standard_deviation(self._take(value, rows)))

    def column(self) -> JoinedLaw:
        """The same law for predictions with one more axis behind that of the observations."""
        return replace(self, laws=tuple(law.column() for law in self.laws), behind=self.behind + 1)

    def restrict(self, index: np.ndarray) -> IndependentLaw:
        """Law of the observations at `index`."""
        index = as_indices(index, "index")
        lengths = [len(rows) for rows in self.rows]
        numbers = np.repeat(np.arange(len(self.laws)), lengths)[self._order][index]
        places = np.concatenate([np.arange(length) for length in lengths])[self._order][index]
        parts = []
        for number in np.unique(numbers).tolist():
            here = np.flatnonzero(numbers == number)
            parts.append((self.laws[number].restrict(places[here]), here))
        return join_laws(parts) if parts else self.laws[0].restrict(index)

    def tempered(self, weight: float) -> JoinedLaw:
        """Law whose log density is `weight` times this one's."""
        return replace(self, laws=tuple(law.tempered(weight) for law in self.laws))

    def rescaled(self, factor: Numbers) -> ErrorLaw | None:
        """Law of errors that are `factor` times as large; None if one of the laws has none."""
        laws: list[IndependentLaw] = []
        for law, index in zip(self.laws, self.rows, strict=True):
            scaled = law.rescaled(rows(factor, np.asarray(index)) if one_each(factor) else factor)
            if scaled is None:
                return None
            laws.append(cast(IndependentLaw, scaled))
        return replace(self, laws=tuple(laws))

    def check(self, value: Array) -> None:
        """Raise ValueError if there is not a value for every row, or one does not fit its law."""
        size = len(self._joined)
        if value.shape[0] != size:
            raise ValueError(f"JoinedLaw has rows for {size} observations but there are {value.shape[0]}: give as many")
        for number, (law, index) in enumerate(zip(self.laws, self.rows, strict=True)):
            try:
                law.check(rows(value, np.asarray(index)))
            except ValueError as error:
                raise ValueError(f"of the rows of law {number}, {type(law).__name__}: {error}") from error


def join_laws(parts: Sequence[tuple[IndependentLaw, np.ndarray]]) -> IndependentLaw:
    """One law of several, each with the rows that are its: `Gaussian` if all are, else `JoinedLaw`.

    Parameters
    ----------
    parts : sequence of (error law, (observation,) array of int)
    """
    order = np.argsort(np.concatenate([index for _, index in parts]), kind="stable")
    if len(parts) == 1:
        return parts[0][0].restrict(order)
    parts = [piece for law, index in parts for piece in _pieces(law, index)]
    gaussian = [(law, index) for law, index in parts if isinstance(law, Gaussian)]
    if len(gaussian) == len(parts):
        deviations = [np.broadcast_to(to_numpy(law.deviation), len(index)) for law, index in gaussian]
        return Gaussian(np.concatenate(deviations)[order])
    return JoinedLaw(tuple(law for law, _ in parts), tuple(tuple(index.tolist()) for _, index in parts))


def _pieces(law: IndependentLaw, index: np.ndarray) -> list[tuple[IndependentLaw, np.ndarray]]:
    """The laws of a `JoinedLaw` with their rows, else the law itself."""
    if not isinstance(law, JoinedLaw):
        return [(law, index)]
    return [(one, index[list(own)]) for one, own in zip(law.laws, law.rows, strict=True)]


def in_turn(errors: Sequence[Numbers | ErrorLaw], sizes: Sequence[int]) -> Numbers | ErrorLaw:
    """Errors of observations made one time after another, those of one time independent of those of the others.

    Parameters
    ----------
    errors : sequence of float, (observation,) array or error law
        Of each time.
    sizes : sequence of int
        Number of observations of each time.

    Raises
    ------
    ValueError
        If errors of one time are correlated and those of another not Gaussian.
    """
    if not any(map(is_error_law, errors)):
        numbers = cast("Sequence[Numbers]", errors)
        if not any(map(one_each, numbers)) and len(set(numbers)) == 1:
            return numbers[0]
        pairs = zip(numbers, sizes, strict=True)
        arrays = [number if one_each(number) else np.full(size, number) for number, size in pairs]
        device = next((array for array in arrays if not is_host(array)), arrays[0])
        return namespace(device).concat([like(array, device) if is_host(array) else array for array in arrays])
    laws = [error if is_error_law(error) else Gaussian(cast(Numbers, error)) for error in errors]
    stops = np.cumsum(sizes).tolist()
    independent = [law for law in laws if is_independent(law)]
    if len(independent) == len(laws):
        rows_of_each = [np.arange(stop - size, stop) for stop, size in zip(stops, sizes, strict=True)]
        return join_laws(list(zip(independent, rows_of_each, strict=True)))
    group, matrices = list[np.ndarray](), list[np.ndarray]()
    for law, size in zip(laws, sizes, strict=True):
        if not is_gaussian(law):
            raise ValueError(f"errors of one time are correlated and those of another {law!r}: give one law of all")
        whole = (law.covariance(np.ones(size)),) if size else ()
        grouped = law if isinstance(law, Grouped) else Grouped(np.zeros(size), whole)
        group.append(grouped.group + len(matrices))
        matrices.extend(grouped.matrices)
    return Grouped(np.concatenate(group), tuple(matrices))


def gaussian_rows(law: ErrorLaw, observations: int) -> np.ndarray:
    """Which observations have Gaussian errors, ``(observation,)`` array of bool."""
    if not isinstance(law, JoinedLaw):
        return np.full(observations, law.is_gaussian)
    gaussian = np.zeros(observations, dtype=bool)
    for part, index in zip(law.laws, law.rows, strict=True):
        gaussian[list(index)] = part.is_gaussian
    return gaussian


def widened(law: ErrorLaw, factor: Array) -> ErrorLaw:
    """The law with errors that are Gaussian `factor`, ``(observation,)``, times as large."""
    if isinstance(law, JoinedLaw):
        parts = zip(law.laws, law.rows, strict=True)
        laws = tuple(cast(IndependentLaw, widened(part, rows(factor, np.asarray(index)))) for part, index in parts)
        return replace(law, laws=laws)
    return (law.rescaled(factor) if law.is_gaussian else law) or law
