"""How the errors of the rows of one group are correlated: a profile, the channels of a sounder, a swath.

A setting gives the correlation matrix of some rows of a table, from their columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ensf.arrays import as_floating, as_names
from ensf.arrays.settings import check_settings
from ensf.localization import Euclidean, Sphere
from ensf.tables.columns import place_of

__all__ = ["ByChannel", "ByDistance", "Constant", "Correlation"]

ROUNDING = 1e-6
"""How far correlations may be from 1, or from each other, and still be the same."""


class Correlation(Protocol):
    """Correlation of the errors of some rows."""

    def matrix(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Correlation ``(row, row)`` of rows with these columns, each ``(row,)``.

        Raises
        ------
        ValueError
            If a column is not there, or is empty in a row.
        """


@dataclass(frozen=True)
class Constant:
    """The same correlation of every two rows.

    Parameters
    ----------
    correlation : float
        From 0 up to, but without, 1.

    Raises
    ------
    ValueError
        If it is out of this range.
    """

    correlation: float

    def __post_init__(self) -> None:
        check_settings(self)
        if not 0 <= self.correlation < 1:
            raise ValueError(f"correlation is {self.correlation}: give a number from 0 to below 1")

    def matrix(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Correlation of rows."""
        size = len(next(iter(columns.values())))
        return self.correlation + (1 - self.correlation) * np.eye(size)


@dataclass(frozen=True)
class ByDistance:
    """Correlation ``exp(-distance / length)``.

    Parameters
    ----------
    length : float
        In km for ``lat, lon``, else in the unit of the columns.
    along : tuple of str
        Columns that make a position: ``("lat", "lon")`` for a swath, ``("z",)`` for a profile.

    Raises
    ------
    ValueError
        If the length is not positive.
    """

    length: float
    along: tuple[str, ...] = ("lat", "lon")

    def __post_init__(self) -> None:
        check_settings(self)
        object.__setattr__(self, "along", as_names(self.along))
        if not 0 < self.length < np.inf:
            raise ValueError(f"length of the error correlation is {self.length}: give a positive length")
        if {"lat", "lon"} & {*self.along} and self.along != ("lat", "lon"):
            raise ValueError(f"ByDistance is along {self.along}: give ('lat', 'lon') alone, or columns of one unit")

    def matrix(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Correlation of rows."""
        position = np.stack([_column(columns, name) for name in self.along], axis=1)
        geometry = Sphere() if self.along == ("lat", "lon") else Euclidean()
        return np.exp(-geometry.pairs(position, position, np.inf).toarray() / self.length)


@dataclass(frozen=True)
class ByChannel:
    """Correlations listed by what a column holds.

    Parameters
    ----------
    column : str
        Such as ``variable`` or ``channel``.
    names : tuple
        Entries of the column.
    correlations : tuple of tuple of float
        A row for each name.

    Raises
    ------
    ValueError
        If there is not a number for each two names, or they are no correlations: 1 with oneself, the same both ways,
        none above 1 or below -1.
    """

    column: str
    names: tuple[str | float, ...]
    correlations: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        check_settings(self)
        object.__setattr__(self, "names", as_names(self.names))
        size = len(self.names)
        try:
            sizes = [len(row) for row in self.correlations]
        except TypeError:  # numbers without rows
            sizes = []
        if sizes != [size] * size:
            raise ValueError(f"ByChannel has {size} names: give {size} rows of {size} correlations")
        self._check(np.asarray(as_floating(self.correlations, "correlations of ByChannel"), dtype=np.float64))

    def matrix(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Correlation of rows."""
        if self.column not in columns:
            raise ValueError(f"there is no column {self.column!r} that the error correlation needs: give it")
        place = {name: k for k, name in enumerate(self.names)}
        unknown = [name for name in columns[self.column].tolist() if name not in place]
        if unknown:
            raise ValueError(
                f"column {self.column!r} has {unknown[0]!r}, of which ByChannel has no correlation: give it"
            )
        chosen = [place[name] for name in columns[self.column].tolist()]
        return np.asarray(self.correlations, dtype=np.float64)[np.ix_(chosen, chosen)]

    def _check(self, matrix: np.ndarray) -> None:
        """Raise ValueError for a matrix that is none of correlations, such as a covariance."""
        wrong = ~((np.abs(matrix) <= 1 + ROUNDING) & (np.abs(matrix - matrix.T) <= ROUNDING))
        wrong |= np.diag(~(np.abs(np.diag(matrix) - 1) <= ROUNDING))
        if wrong.any():
            row, column = np.argwhere(wrong)[0].tolist()
            raise ValueError(
                f"the correlation of {self.names[row]!r} with {self.names[column]!r} is {matrix[row, column]:g} in "
                "ByChannel: give 1 with oneself, and of two the same number both ways, from -1 to 1; a covariance is "
                "divided by both standard deviations, which the column 'error' has"
            )


def _column(columns: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name not in columns or columns[name].dtype.kind not in "fiu":
        raise ValueError(f"there is no column {name!r} of numbers that the error correlation needs: give it")
    values = columns[name].astype(np.float64)
    if np.isnan(values).any():
        where = place_of(columns, int(np.argmax(np.isnan(values))))
        raise ValueError(f"{where} of a group has an empty column {name!r}: give it")
    return values
