"""Error laws of the rows of a table: named by kind or variable, or row by row in a column; parameters in columns.

    law                              name of the law; empty where errors are Gaussian
    low, high, level, freedom, ...   its parameters by their names; where a row has none, those of the setting
    error                            its deviation

What is not in the units of the variable, the deviation of `Lognormal` and the answers of `Threshold`, is left as it is
where others are converted. The standard deviation that a law amounts to is a column of its own, for statistics.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Protocol, TypeGuard

import numpy as np

from ensf.arrays import Numbers
from ensf.filters.base import can
from ensf.observations import (
    Censored,
    Contaminated,
    ErrorLaw,
    Laplace,
    Lognormal,
    Poisson,
    Proportional,
    StudentT,
    Threshold,
)
from ensf.observations.error_laws import Gaussian, Independent, IndependentLaw
from ensf.observations.joined_law import join_laws
from ensf.tables.columns import numbers_of, words_of
from ensf.tables.matching import chosen

__all__ = [
    "AMOUNT",
    "IN_UNITS",
    "LAW",
    "LawOfRows",
    "Laws",
    "law_columns",
    "law_of",
    "read_law",
    "without_error",
    "without_units",
]

Laws = Mapping[str, str | ErrorLaw]
"""Laws by kind or variable, each as its text or as itself; its deviation multiplies the column `error`."""

LAW, AMOUNT = "law", "law_deviation"
"""Columns with the name of the law, and with the standard deviation that it amounts to in the units of the variable."""
FACTOR = "law_factor"
"""Column with the deviation of a law of the setting by which an error was multiplied already."""
IN_UNITS = ("low", "high", "level")
"""Parameters in the units of the variable."""
ROUNDING = 2.0**-23
"""Part of a limit by which a value in single precision may differ from it."""
SHIPPED: dict[str, type[Independent]] = {
    kind.__name__: kind
    for kind in (Gaussian, Laplace, StudentT, Contaminated, Proportional, Lognormal, Poisson, Censored, Threshold)
}


class Rows(Protocol):
    """Columns of a table, ``(row,)`` each."""

    @property
    def variable(self) -> np.ndarray:
        """What was observed."""

    @property
    def kind(self) -> np.ndarray:
        """What each row is counted as; its variable where it says no other."""

    @property
    def error(self) -> np.ndarray:
        """Standard deviations."""

    @property
    def used(self) -> np.ndarray:
        """Which rows are to be used, of bool."""

    @property
    def extra(self) -> Mapping[str, np.ndarray]:
        """Other columns by name."""

    def place(self, row: int) -> str:
        """What errors call a row."""


def read_law(text: str) -> Independent:
    """The law of a text: its name, with parameters if they are others than the defaults, ``Censored(low=0.1)``.

    Raises
    ------
    ValueError
        If there is no such law, or its parameters do not fit.
    """
    try:
        match ast.parse(text.strip(), mode="eval").body:
            case ast.Name(id=name):
                return _law(name, {})
            case ast.Call(func=ast.Name(id=name), args=[], keywords=keywords) if all(one.arg for one in keywords):
                return _law(name, {str(one.arg): ast.unparse(one.value) for one in keywords})
    except SyntaxError:
        pass
    raise ValueError(f"error law {text!r} is no name with parameters: write one such as StudentT or Censored(low=0.1)")


def _law(name: str, parameters: Mapping[str, str]) -> Independent:
    if name not in SHIPPED:
        near = difflib.get_close_matches(name, SHIPPED, n=1, cutoff=0.3) or ["StudentT"]
        raise ValueError(f"unknown error law {name!r}: the nearest is {near[0]}; choose from {', '.join(SHIPPED)}")
    kind, numbers = SHIPPED[name], dict[str, float]()
    for one, text in parameters.items():
        if one not in parameters_of(kind):
            choice = ", ".join(parameters_of(kind)) or "none"
            raise ValueError(f"error law {name} has no parameter {one!r}: it has {choice}")
        try:
            numbers[one] = float(text)
        except ValueError:
            raise ValueError(f"{one} of error law {name} is {text}: give a number, such as 0.1") from None
    return kind(1.0, **numbers) if _has_deviation(kind) else kind(**numbers)


def parameters_of(kind: type[Independent]) -> list[str]:
    """Names of the parameters of a law beside its deviation."""
    return [one.name for one in fields(kind) if one.init and one.name != "deviation"]


def law_columns(table: Rows, laws: Laws) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Deviations of the laws of all rows, and the other columns with `LAW` and the parameters filled.

    What a row says in its own columns comes first, then the law of its kind, then that of its variable. An error that
    was multiplied by the deviation of a law before is not multiplied again.

    Raises
    ------
    ValueError
        If something is no law, or an entry in a column of a parameter is no number; it names the row.
    """
    size, extra = len(table.variable), table.extra
    words = np.asarray(extra[LAW]).astype(str) if LAW in extra else np.full(size, "")
    words = np.where((words == "nan") | ~table.used, "", words)
    given = [(one, _independent(one, law)) for one, law in _named(laws).items()]
    told, parts = np.zeros(size, dtype=bool), list[tuple[Independent, np.ndarray]]()
    name = chosen(laws, table.variable, table.kind)
    for one, law in given:
        own = (name == one) & ((words == "") | (words == type(law).__name__))
        parts.append((law, own))
        told |= own
    for word in np.unique(words[~told & (words != "")]).tolist():
        own = ~told & (words == word)
        try:
            parts.append((read_law(word), own))
        except ValueError as problem:
            raise ValueError(f"{table.place(int(np.argmax(own)))}: {problem}") from None
    error, columns, names = table.error.copy(), dict(extra), np.full(size, "", dtype=object)
    before = numbers_of(extra[FACTOR]) if FACTOR in extra else np.full(size, np.nan)
    before = np.where(np.isnan(before), 1.0, before)
    factor = before.copy()
    for law, rows in parts[: len(given)]:
        factor[rows] = law.deviation
    error *= factor / before
    if (factor != 1).any() or FACTOR in extra:
        columns[FACTOR] = factor
    for law, rows in parts:
        names[rows] = type(law).__name__
        for parameter in parameters_of(type(law)) if rows.any() else ():
            numbers = _numbers(table, parameter, columns.get(parameter), rows)
            columns[parameter] = np.where(rows & np.isnan(numbers), getattr(law, parameter), numbers)
    if LAW in extra or (names != "").any():
        columns[LAW] = names.astype(str)
    return error, columns


def _numbers(table: Rows, parameter: str, column: np.ndarray | None, rows: np.ndarray) -> np.ndarray:
    """A column of a parameter, NaN where it is empty; ValueError for an entry of these rows that is no number."""
    if column is None:
        return np.full(len(rows), np.nan)
    numbers = numbers_of(column)
    if column.dtype.kind not in "fiu":
        words = np.char.strip(column.astype(str))
        wrong = rows & np.isnan(numbers) & ~np.isin(np.char.lower(words), ("", "nan"))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(f"{table.place(row)}: {parameter} of its error law is {str(words[row])!r}: give a number")
    return numbers


def _named(laws: Laws) -> Laws:
    """Raise ValueError for what is no mapping of names to laws."""
    if not can(laws, "items"):
        raise ValueError(f"laws is {laws!r}: give one for each kind or variable, such as {{'chl': 'Lognormal'}}")
    return laws


def _is_law(given: object) -> TypeGuard[Independent]:
    """Whether it is a law of independent errors itself."""
    return isinstance(given, Independent)


def _independent(name: str, given: str | ErrorLaw) -> Independent:
    """A law that is told by its text or as itself."""
    if not _is_law(given) and can(given, "log_density"):
        raise ValueError(f"the law of {name!r} is a {type(given).__name__}: give a class of Independent errors")
    law = given if _is_law(given) else read_law(str(given))
    numbers = [getattr(law, one, np.nan) for one in ("deviation", *parameters_of(type(law)))]
    if not all(np.ndim(one) == 0 for one in numbers):
        raise ValueError(f"the law of {name!r} has arrays: give numbers, and those of each row in columns of the table")
    return law


def _has_deviation(kind: type[Independent]) -> bool:
    return any(one.init and one.name == "deviation" for one in fields(kind))


NO_DEVIATION = [name for name, kind in SHIPPED.items() if not _has_deviation(kind)]
"""Laws whose standard deviation follows from the prediction: they take no column `error`."""


def without_error(columns: Mapping[str, np.ndarray], laws: Laws | None = None) -> np.ndarray:
    """Rows ``(row,)`` of bool whose law has no deviation of its own, and needs no error.

    It is what the column `LAW` names; where that is empty, that of the setting.
    """
    variable = columns["variable"]
    words = words_of(np.asarray(columns.get(LAW, np.full(len(variable), ""))))
    if laws:
        kind = words_of(np.asarray(columns.get("kind", variable)))
        name = chosen(laws, variable, np.where(kind == "", variable, kind))
        for one, law in _named(laws).items():
            words = np.where((words == "") & (name == one), str(law), words)
    return np.isin(words, [word for word in np.unique(words) if word.partition("(")[0].strip() in NO_DEVIATION])


def without_units(extra: Mapping[str, np.ndarray], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose value, and rows whose error is not in the units of the variable, ``(row,)`` of bool each."""
    names = extra.get(LAW, np.full(size, ""))
    return np.isin(names, ("Threshold", "Poisson")), np.isin(names, ("Lognormal", "Poisson"))


def law_of(table: Rows, rows: np.ndarray, value: np.ndarray, error: np.ndarray, laws: Laws) -> LawOfRows:
    """The law of some rows of a table whose columns `law_columns` has filled.

    Parameters
    ----------
    table : ObservationTable
    rows : (observation,) array of int
    value, error : (observation,) array
        Of these rows, in the dtype of the states.
    laws : mapping of str to str or error law
        Where a law is one's own.

    Raises
    ------
    ValueError
        If parameters do not fit their law; it names the law and the row.
    """
    names = table.extra[LAW][rows] if LAW in table.extra else np.full(len(rows), "")
    if np.isin(names, ("", "Gaussian")).all():
        return LawOfRows(error, value, error, np.ones(len(rows), dtype=bool))
    kinds = SHIPPED | {type(one).__name__: type(one) for one in laws.values() if _is_law(one)}
    value, amount, fits = value.copy(), error.copy(), np.ones(len(rows), dtype=bool)
    parts = list[tuple[IndependentLaw, np.ndarray]]()
    for name in np.unique(names).tolist():
        own = np.flatnonzero(names == name)
        kind = kinds[name or "Gaussian"]
        numbers = {one: table.extra[one][rows[own]].astype(error.dtype) for one in parameters_of(kind)}
        law = _built(table, rows[own], kind, error[own], numbers)
        if kind is Censored:
            value[own] = _at_limits(value[own], numbers["low"], numbers["high"])
        if not _takes(law, value[own]):
            fits[own] = [_takes(law.restrict(np.array([k])), value[own[[k]]]) for k in range(len(own))]
        with np.errstate(invalid="ignore"):
            amount[own] = law.standard_deviation(value[own])
        is_bound = (value[own] <= numbers["low"]) | (value[own] >= numbers["high"]) if kind is Censored else False
        amount[own] = np.where(is_bound | (kind is Threshold), np.inf, amount[own])
        parts.append((law, own))
    return LawOfRows(join_laws(parts), value, amount, fits)


@dataclass(frozen=True, eq=False)
class LawOfRows:
    """What `law_of` gives.

    Attributes
    ----------
    law : array or error law
        The errors themselves if they are Gaussian.
    value : (observation,) array
        What is a limit but for rounding is the limit.
    amount : (observation,) array
        Standard deviation that the law amounts to; infinite for answers and limits, from which nothing departs.
    fits : (observation,) array of bool
        Whether the law can give the value.
    """

    law: Numbers | ErrorLaw
    value: np.ndarray
    amount: np.ndarray
    fits: np.ndarray


def _built(
    table: Rows, rows: np.ndarray, kind: type[Independent], error: np.ndarray, numbers: Mapping[str, np.ndarray]
) -> Independent:
    """The law of rows, each with its parameters; ValueError that names the row if they do not fit."""
    if kind is Censored:
        endless = ~(np.isfinite(numbers["low"]) | np.isfinite(numbers["high"]))
        if endless.any():
            where = table.place(int(rows[np.argmax(endless)]))
            raise ValueError(f"{where}: Censored has no limit: give low or high, as a column or in the law")
    try:
        return kind(error, **numbers) if _has_deviation(kind) else kind(**numbers)
    except ValueError as problem:
        for k, row in enumerate(rows.tolist()):
            try:
                kind(float(error[k]), **{name: float(column[k]) for name, column in numbers.items()})
            except ValueError:
                raise ValueError(f"{table.place(row)}: {problem}") from None
        raise


def _takes(law: Independent, value: np.ndarray) -> bool:
    """Whether the law can give these values."""
    try:
        law.check(value)
    except ValueError:
        return False
    return True


def _at_limits(value: np.ndarray, *limits: np.ndarray) -> np.ndarray:
    """Values, those that are a limit but for the rounding of single precision as that limit."""
    for limit in limits:
        finite = np.where(np.isfinite(limit), limit, np.nan)
        value = np.where(np.abs(value - finite) <= ROUNDING * np.abs(finite), finite, value)
    return value
