"""Units of a table: as its file states them, then as the state has them; and values that are in others, by their looks.

Each row may state the units of its value in the column `units`, and those of its error, where these are others, in
`error_units`. Where the variable of the state has units as well, value and error are converted to them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping

import numpy as np

from ensf.dataset.units import conversion, in_units
from ensf.tables.columns import numbers_of, words_of
from ensf.tables.laws import IN_UNITS, LAW, without_units

__all__ = ["FAR", "conversions", "far_off", "in_units_of", "stated"]

FAR = 10.0
"""Standard deviations, of ensemble and error together, beyond which a value is far from the forecast."""
CODES = [sign * code for code in (99, 99.9, 999, 999.9, 9999, 99999, 999999, 32767, 32768) for sign in (1, -1)]
"""Numbers by which tables say that nothing was measured; a table in text cannot declare its own."""


def stated(
    size: int, columns: Mapping[str, np.ndarray], attributes: Mapping[str, Mapping[Hashable, object]]
) -> dict[str, np.ndarray]:
    """Columns `units` and `error_units` of a file whose variables have attributes, unless it has such columns.

    Parameters
    ----------
    size : int
        Number of rows.
    columns : mapping of str to (row,) array
    attributes : mapping of str to mapping
        Of the columns; those of `value` and `error` are asked.
    """
    value, error = (str(attributes.get(name, {}).get("units", "")).strip() for name in ("value", "error"))
    added = {}
    if value and "units" not in columns:
        added["units"] = np.full(size, value)
    if error and error != value and "error_units" not in columns:
        added["error_units"] = np.full(size, error)
    return added


def in_units_of(
    wanted: Mapping[str, str],
    variable: np.ndarray,
    value: np.ndarray,
    error: np.ndarray,
    extra: Mapping[str, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Values and errors in the units of the state, and the other columns, which say so.

    Parameters
    ----------
    wanted : mapping of str to str
        Units of the variables of the state that have some.
    variable, value, error : (row,) array
        Columns of the table.
    extra : mapping of str to (row,) array
        Its other columns.

    Raises
    ------
    ValueError
        If units cannot be converted, or are those of a variance.
    """
    empty = np.full(len(variable), "")
    units, error_units = (words_of(extra.get(name, empty)).astype(object) for name in ("units", "error_units"))
    is_stated = error_units != ""
    error_units = np.where(error_units == "", units, error_units)
    value, error, named = value.copy(), error.copy(), dict(extra)
    is_answer, is_part = without_units(extra, len(variable))
    lawful = extra.get(LAW, np.full(len(variable), "")) != ""
    limits = {one: numbers_of(extra[one]) for one in IN_UNITS if LAW in extra and one in extra}
    for name, target in wanted.items():
        here = (variable == name) & ((units != "") | (error_units != ""))
        for one, other in set(zip(units[here].tolist(), error_units[here].tolist(), strict=True)):
            rows = here & (units == one) & (error_units == other)
            try:
                for column, these in (
                    (value, rows & ~is_answer),
                    *((limit, rows & lawful) for limit in limits.values()),
                ):
                    _convert(column, these, one, target)
                _convert(error, rows & ~is_part, other, target, difference=True)
                _convert(error, rows & is_part & is_stated, other, "1", difference=True)
            except ValueError as problem:
                raise ValueError(f"observations of {name!r}: {_advice(other, target) or problem}") from None
            units[rows & (units != "")] = target
            error_units[rows] = target
    unnamed = ~np.isin(variable, list(wanted)) & (units != "") & (error_units != units) & ~is_part
    for one, other in set(zip(units[unnamed].tolist(), error_units[unnamed].tolist(), strict=True)):
        rows = unnamed & (units == one) & (error_units == other)
        try:
            _convert(error, rows, other, one, difference=True)
        except ValueError as problem:
            raise ValueError(f"observations in {one!r}: {_advice(other, one) or problem}") from None
        error_units[rows] = one
    named |= limits
    if "units" in named:
        named["units"] = units.astype(str)
    if "error_units" in named:
        named["error_units"] = error_units.astype(str)
    return value, error, named


def _convert(column: np.ndarray, rows: np.ndarray, units: str, target: str, difference: bool = False) -> None:
    """Overwrite some rows of a column by what they are in other units."""
    if rows.any():
        column[rows] = in_units(column[rows], units, target, difference)


def conversions(variable: np.ndarray, before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> list[str]:
    """A sentence per variable and units whose values were converted by `in_units_of`.

    Parameters
    ----------
    variable : (row,) array
    before, after : mapping of str to (row,) array
        Other columns of the table as it was, and converted.
    """
    if "units" not in before:
        return []
    triples = zip(variable.tolist(), before["units"].tolist(), after["units"].tolist(), strict=True)
    counts = Counter(triple for triple in triples if triple[1] != triple[2])
    return [
        f"{name}: {number} {'row' if number == 1 else 'rows'} from {one} to {other}"
        for (name, one, other), number in counts.items()
    ]


def _advice(units: str, target: str) -> str:
    """What is wrong with the units of an error, if they are those of a variance."""
    try:
        conversion(units, f"({target})2")
    except ValueError:
        return ""
    return f"the error has units {units!r}, those of a variance: give the standard deviation, in {target!r}"


def far_off(
    variable: np.ndarray, value: np.ndarray, error: np.ndarray, mean: np.ndarray, spread: np.ndarray
) -> list[str]:
    """A sentence per variable whose values are far from what the forecast predicts, as in other units.

    Parameters
    ----------
    variable, value, error : (row,) array
        Of the rows that are used.
    mean, spread : (row,) array
        Of the ensemble, as the rows see it.
    """
    far = np.abs(value - mean) > FAR * np.sqrt(spread**2 + error**2)
    names, count = np.unique(variable[far], return_counts=True)
    return [
        f"{number} of {np.count_nonzero(variable == name)} observations of {name!r} are farther from the forecast than "
        f"{FAR:g} standard deviations of ensemble and error together: {_suspicion(value[far & (variable == name)])}"
        for name, number in zip(names.tolist(), count.tolist(), strict=True)
    ]


def _suspicion(values: np.ndarray) -> str:
    """What may be wrong with values that are far off."""
    codes, count = np.unique(values[np.isin(values, CODES)], return_counts=True)
    if not len(codes):
        return "are they in its units?"
    coded = ", ".join(f"{number} of them {code:g}" for code, number in zip(codes.tolist(), count.tolist(), strict=True))
    return f"{coded}, which often says that nothing was measured: leave such values empty, or give a qc that is not 0"
