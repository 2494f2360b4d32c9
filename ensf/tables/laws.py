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
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import TypeGuard

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
from ensf.tables.columns import numbers_of

__all__ = ["AMOUNT", "LAW", "Laws", "answers", "idle", "law_columns", "law_of", "read_law", "without_units"]

Laws = Mapping[str, str | ErrorLaw]
"""Laws by kind or variable, each as its text or as itself; its deviation multiplies the column `error`."""

LAW, AMOUNT = "law", "law_deviation"
"""Columns with the name of the law, and with the standard deviation that it amounts to in the units of the variable."""
IN_UNITS = ("low", "high", "level")
"""Parameters in the units of the variable."""
NUMBERED = re.compile(r"observation (\d+)")
SHIPPED: dict[str, type[Independent]] = {
    kind.__name__: kind
    for kind in (Gaussian, Laplace, StudentT, Contaminated, Proportional, Lognormal, Poisson, Censored, Threshold)
}


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
            case ast.Call(func=ast.Name(id=name), args=[], keywords=keywords):
                return _law(name, {str(one.arg): float(ast.unparse(one.value)) for one in keywords})
    except SyntaxError:
        pass
    raise ValueError(f"error law {text!r} is no name with parameters: write one such as StudentT or Censored(low=0.1)")


def _law(name: str, parameters: Mapping[str, float]) -> Independent:
    if name not in SHIPPED:
        near = difflib.get_close_matches(name, SHIPPED, n=1, cutoff=0.3) or ["StudentT"]
        raise ValueError(f"unknown error law {name!r}: the nearest is {near[0]}; choose from {', '.join(SHIPPED)}")
    kind = SHIPPED[name]
    factor = {} if kind is Poisson else {"deviation": 1.0}
    try:
        return kind(**factor, **parameters)
    except TypeError:
        choice = ", ".join(parameters_of(kind)) or "none"
        raise ValueError(f"error law {name} has no parameter {next(iter(parameters))!r}: it has {choice}") from None


def parameters_of(kind: type[Independent]) -> list[str]:
    """Names of the parameters of a law beside its deviation."""
    return [one.name for one in fields(kind) if one.init and one.name != "deviation"]


def law_columns(
    variable: np.ndarray, kind: np.ndarray, error: np.ndarray, extra: Mapping[str, np.ndarray], laws: Laws
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Deviations of the laws of all rows, and the other columns with `LAW` and the parameters filled.

    What a row says in its own columns comes first, then the law of its kind, then that of its variable.

    Parameters
    ----------
    variable, kind, error : (row,) array
        Columns of the table; a row without a kind has its variable there.
    extra : mapping of str to (row,) array
        Its other columns.
    laws : mapping of str to str or error law

    Raises
    ------
    ValueError
        If something is no law, or a column of a parameter is no number.
    """
    words = np.asarray(extra[LAW]).astype(str) if LAW in extra else np.full(len(variable), "")
    silent = (words == "") | (words == "nan")
    chosen = [(read_law(word), words == word) for word in np.unique(words[~silent]).tolist()]
    for name, given in laws.items():
        own = (kind == name) | (variable == name) & ~np.isin(kind, list(laws))
        chosen.append((_independent(name, given), silent & own))
    error, columns, names = error.copy(), dict(extra), np.full(len(variable), "", dtype=object)
    for law, rows in chosen:
        if not rows.any() or law.is_gaussian and law.deviation == 1:
            continue
        names[rows] = "" if law.is_gaussian else type(law).__name__
        error[rows] *= law.deviation
        for parameter in parameters_of(type(law)):
            own_numbers = numbers_of(columns[parameter]) if parameter in columns else np.full(len(variable), np.nan)
            columns[parameter] = np.where(rows & np.isnan(own_numbers), getattr(law, parameter), own_numbers)
    return error, columns | ({LAW: names.astype(str)} if (names != "").any() else {})


def _is_law(given: object) -> TypeGuard[Independent]:
    """Whether it is a law of independent errors itself."""
    return can(given, "each")


def _independent(name: str, given: str | ErrorLaw) -> Independent:
    """A law that is told by its text or as itself."""
    law = given if _is_law(given) else read_law(str(given))
    numbers = [getattr(law, one, np.nan) for one in ("deviation", *parameters_of(type(law)))]
    if not all(np.ndim(one) == 0 for one in numbers):
        raise ValueError(f"the law of {name!r} has arrays: give numbers, and those of each row in columns of the table")
    return law


def idle(laws: Laws, variable: np.ndarray, kind: np.ndarray) -> Iterator[str]:
    """A sentence for each name that is none of a row."""
    for name in laws:
        if not (kind == name).any() and not (variable == name).any():
            yield f"an error law is for observations of {name!r}, of which there are none here"


def without_units(extra: Mapping[str, np.ndarray], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose value, and rows whose error is not in the units of the variable, ``(row,)`` of bool each."""
    names = extra.get(LAW, np.full(size, ""))
    return names == Threshold.__name__, np.isin(names, (Lognormal.__name__, Poisson.__name__))


def answers(extra: Mapping[str, np.ndarray], size: int) -> np.ndarray:
    """Rows ``(row,)`` of bool that say yes or no: there is no departure from a forecast."""
    return without_units(extra, size)[0]


def law_of(
    extra: Mapping[str, np.ndarray],
    rows: np.ndarray,
    value: np.ndarray,
    error: np.ndarray,
    laws: Laws,
    place: Callable[[int], str],
) -> tuple[Numbers | ErrorLaw, np.ndarray]:
    """Law of some rows, and the standard deviation that it amounts to, infinite for answers.

    Parameters
    ----------
    extra : mapping of str to (row,) array
        Columns of all rows, as `law_columns` fills them.
    rows : (observation,) array of int
    value, error : (observation,) array
        Of these rows.
    laws : mapping of str to str or error law
        Where a law is one's own.
    place : callable
        Number of a row to what errors call it.

    Raises
    ------
    ValueError
        If a value or a parameter does not fit its law; it names the row.
    """
    if LAW not in extra or not (extra[LAW][rows] != "").any():
        return error, error
    kinds = SHIPPED | {type(one).__name__: type(one) for one in laws.values() if _is_law(one)}
    names, amount, parts = extra[LAW][rows], error.copy(), list[tuple[IndependentLaw, np.ndarray]]()
    for name in np.unique(names).tolist():
        own = np.flatnonzero(names == name)
        kind = kinds[name or "Gaussian"]
        parameters = {one: extra[one][rows[own]].astype(error.dtype) for one in parameters_of(kind)}
        try:
            law = kind(**parameters) if kind is Poisson else kind(error[own], **parameters)
            law.check(value[own])
        except ValueError as problem:
            number = NUMBERED.search(str(problem))
            where = place(int(rows[own[int(number[1])]])) if number else f"rows of {kind.__name__}"
            raise ValueError(NUMBERED.sub(where, str(problem)) if number else f"{where}: {problem}") from None
        amount[own] = np.inf if kind is Threshold else law.standard_deviation(value[own])
        parts.append((law, own))
    return (join_laws(parts) if parts else error), amount
