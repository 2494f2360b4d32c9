"""Errors that are correlated: within groups of rows, or, without any, among all rows of a variable."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ensf.arrays.settings import check_kind
from ensf.observations import Correlated, ErrorLaw, Grouped
from ensf.tables.columns import FILE, is_named, place_of
from ensf.tables.correlations import Correlation
from ensf.tables.matching import chosen

__all__ = ["Correlations", "check_groups", "correlated", "correlations_by_name"]

Correlations = Correlation | Mapping[str, Correlation]
"""Of the errors of the rows of one group: the same for all groups, or by kind or variable."""

GROUP = "group"
"""Column that says which rows have correlated errors."""
LARGEST = 10_000
"""Observations without groups whose errors may be correlated: their covariance is there at once."""


def correlations_by_name(correlation: Correlations | None) -> Mapping[str, Correlation]:
    """Correlations by kind or variable; the one of all rows has no name."""
    by_name = correlation if isinstance(correlation, Mapping) else {} if correlation is None else {"": correlation}
    for name, one in by_name.items():
        check_kind(one, "matrix", f"correlation of {repr(name) if name else 'a table'}", "ByDistance(100.0)")
    return by_name


def check_groups(columns: Mapping[str, np.ndarray], by_name: Mapping[str, Correlation]) -> None:
    """Raise ValueError for groups of whose errors nothing is said, or a group of two files."""
    names = columns.get(GROUP)
    if names is None or not is_named(names).any():
        return
    if not by_name:
        raise ValueError(
            f"the table has a column {GROUP!r}, but nothing says how the errors of a group are correlated: give "
            "correlation, such as ByDistance(100.0), or rename the column"
        )
    if FILE not in columns:
        return
    named = is_named(names)
    groups, number = np.unique(names[named], return_inverse=True)
    files, where = np.unique(columns[FILE][named].astype(str), return_inverse=True)
    pairs = np.unique(np.stack([number.ravel(), where.ravel()]), axis=1)
    twice = np.flatnonzero(np.bincount(pairs[0], minlength=len(groups)) > 1)
    if len(twice):
        there = files[pairs[1][pairs[0] == twice[0]]]
        raise ValueError(
            f"group {groups[twice[0]]!s} has rows in {there[0]} and in {there[1]}: give it one file, or two names"
        )


def correlated(
    columns: Mapping[str, np.ndarray],
    kind: np.ndarray,
    used: np.ndarray,
    error: np.ndarray,
    by_name: Mapping[str, Correlation],
) -> ErrorLaw:
    """Law of the rows that are used: correlated within groups, or, without any, among all rows of a variable."""
    names = columns.get(GROUP)
    setting = chosen(by_name, columns["variable"], kind)
    if names is None:
        if len(used) > LARGEST:
            raise ValueError(
                f"{len(used)} observations without groups have correlated errors, at most {LARGEST} may: thin them, or "
                f"give a column {GROUP!r}"
            )
        own, variable = setting[used], columns["variable"][used]
        matrix = np.eye(len(used))
        for one in np.unique(own[np.isin(own, list(by_name))]).tolist():
            rows = np.flatnonzero(own == one)
            alike = {name: column[used[rows]] for name, column in columns.items()}
            matrix[np.ix_(rows, rows)] = by_name[one].matrix(alike)
        matrix = np.where(variable[:, None] == variable, matrix, 0.0)
        _check_definite(columns, used, matrix)
        return Correlated(error[:, None].astype(np.float64) * matrix * error)
    own = names[used]
    number = np.where(is_named(own), np.unique(own, return_inverse=True)[1].ravel(), len(own) + np.arange(len(own)))
    order = np.argsort(number, kind="stable")
    matrices: list[np.ndarray] = []
    for rows in np.split(used[order], np.flatnonzero(np.diff(number[order])) + 1) if len(used) else ():
        if len(rows) == 1:
            matrices.append(np.ones((1, 1)))
            continue
        group = {name: column[rows] for name, column in columns.items()}
        matrices.append(_of_group(columns, kind, rows, setting, by_name).matrix(group))
        _check_definite(columns, rows, matrices[-1])
    return Grouped.of(number, error.astype(np.float64), matrices)


def _of_group(
    columns: Mapping[str, np.ndarray],
    kind: np.ndarray,
    rows: np.ndarray,
    setting: np.ndarray,
    by_name: Mapping[str, Correlation],
) -> Correlation:
    """The correlation of the rows of a group; ValueError if they have none, or two."""
    first = setting[rows[0]]
    other = rows[np.argmax(setting[rows] != first)]
    here = place_of(columns, int(rows[0]))
    if setting[other] != first:
        raise ValueError(
            f"{place_of(columns, int(other))} is in a group with {here}, but their correlations are of "
            f"{str(setting[other])!r} and of {str(first)!r}: give them two groups, or one correlation"
        )
    if first not in by_name:
        raise ValueError(
            f"{here} is in a group, but there is no correlation for its kind "
            f"{str(kind[rows[0]])!r}: choose from {', '.join(by_name)}, or give it one"
        )
    return by_name[str(first)]


def _check_definite(columns: Mapping[str, np.ndarray], rows: np.ndarray, matrix: np.ndarray) -> None:
    """Raise ValueError that names a row whose error is, as correlated, that of the rows before it."""
    import scipy.linalg

    factor, failed = scipy.linalg.lapack.dpotrf(matrix, lower=1)
    left = np.diag(factor)[: failed - 1 if failed else None] ** 2  # of the variance of each, with those before it known
    small = np.flatnonzero(left <= len(matrix) * np.finfo(np.float64).eps)
    if not failed and not len(small):
        return
    row = int(small[0]) if len(small) else failed - 1
    other = int(np.argmax(np.abs(matrix[row, :row]))) if row else 0
    here, there = (place_of(columns, int(rows[k])) for k in (row, other))
    raise ValueError(
        f"{here}: with it the correlation of {len(rows)} errors is not positive definite (it is "
        f"{matrix[row, other]:.3g} with {there}): leave out one of the two, or give another correlation"
    )
