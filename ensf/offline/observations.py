"""What the observations say: a table, checked before and after it meets the forecast, with a reason for every row."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ensf.arrays import Array
from ensf.dataset import Layout
from ensf.localization import Localization
from ensf.observations import Observation, Operator
from ensf.tables import Check, ObservationTable, Observed
from ensf.tables.columns import FILE, numbers_of, words_of
from ensf.tables.flags import WITHHELD
from ensf.tables.units import conversions

__all__ = [
    "Columns",
    "check_prior",
    "converted_units",
    "compare",
    "counts",
    "entries_read",
    "locate",
    "meet",
    "named",
    "refuse_rejected",
    "set_aside",
    "summary",
]


def meet(
    table: ObservationTable, tables: str, layout: Layout, checks: Sequence[Check], options: Mapping[str, Any]
) -> Observed:
    """The rows that are left by the checks that need no forecast, on a layout."""
    with_forecast = _of_forecast(checks)
    options = dict(options)
    try:
        table = table.placed(layout).with_laws(options.pop("laws", {}))
        for check in checks:
            if check not in with_forecast:
                table = check.flag(table)
        return table.observe(layout, **options)
    except ValueError as error:
        raise ValueError(_of_file(str(error), tables, table)) from error


def converted_units(table: ObservationTable, observed: Observed) -> tuple[str, ...]:
    """Which rows of a table were in other units than the variables of the layout, in words.

    Rows that checks have added at its end are in those of others already.
    """
    met = observed.table.take(np.arange(len(table)))
    return tuple(conversions(table.variable, table.extra, met.extra))


def entries_read(observation: Observation, size: int) -> np.ndarray:
    """Entries of a state of this size that observations read, ascending."""
    read = observation.operator.reads()
    return np.arange(size) if read is None else read


@dataclass(frozen=True, eq=False)
class Columns:
    """The members at those entries of the state that observations read.

    Attributes
    ----------
    entries : (entry,) array of int
        Ascending.
    values : (member, entry) array
        Physical.
    """

    entries: np.ndarray
    values: np.ndarray

    def at(self, entries: np.ndarray | None) -> np.ndarray:
        """The members at some of the entries, ascending; at all of them if None."""
        if entries is None:
            return self.values
        return np.ascontiguousarray(self.values[:, np.searchsorted(self.entries, entries)])

    def predicted(self, operator: Operator) -> np.ndarray:
        """What the members predict, ``(member, observation)``."""
        narrowed = operator if operator.reads() is None else operator.narrowed(self.entries)
        return np.concatenate([narrowed(self.values[j : j + 1]) for j in range(len(self.values))])


def check_prior(observed: Observed, columns: Columns, checks: Sequence[Check]) -> Observed:
    """The rows that are left by the checks that need the forecast, and what it predicts."""
    return compare(observed, "prior", columns).check(*_of_forecast(checks))


def _of_forecast(checks: Sequence[Check]) -> list[Check]:
    """Those that need what the members predict."""
    return [check for check in checks if hasattr(check, "stage")]


def set_aside(observed: Observed, part: float) -> tuple[Observed, Observed]:
    """The observations to use, and those that are withheld, to be scored.

    Withheld are rows with a number other than 0, or true, in a column ``withheld``, and a part of the places, whole:
    what lies at one place, as a profile does, would otherwise be scored by its neighbours. In a single column its
    heights are the places. Places are chosen by their coordinates alone, so that they are the same in every cycle and
    with every method.

    Parameters
    ----------
    observed : Observed
    part : float
        From 0 up to, but without, 1.

    Raises
    ------
    ValueError
        If an entry in the column is neither a number nor true or false.
    """
    table = observed.table
    places, number = np.unique(np.round(table.places, 6), axis=0, return_inverse=True)
    used = np.unique(number.ravel()[observed.used])
    rank = [hashlib.blake2b(np.ascontiguousarray(place).data).digest() for place in places[used]]
    chosen = used[sorted(range(len(used)), key=rank.__getitem__)[: math.ceil(part * len(used))]]
    withheld = np.isin(number.ravel(), chosen)
    if "withheld" in table.extra:
        withheld |= _by_hand(table, table.extra["withheld"])
    here = withheld[observed.used]
    table = table.reject(withheld, WITHHELD)

    def with_rows(kept: np.ndarray) -> Observed:
        return replace(observed, observation=observed.observation.restrict(kept), used=observed.used[kept], table=table)

    return with_rows(np.flatnonzero(~here)), with_rows(np.flatnonzero(here))


def _by_hand(table: ObservationTable, column: np.ndarray) -> np.ndarray:
    """Rows that a column ``withheld`` names, ``(row,)`` of bool."""
    words = np.char.lower(np.char.strip(words_of(column)))
    numbers = np.where(words == "true", 1.0, np.where(np.isin(words, ("false", "", "nan")), 0.0, numbers_of(column)))
    if np.isnan(numbers).any():
        row = int(np.argmax(np.isnan(numbers)))
        raise ValueError(f"{table.place(row)}: withheld is {str(column[row])!r}: give 1 to withhold the row, or 0")
    return numbers != 0


@dataclass(frozen=True, eq=False)
class _Predicted(Operator):
    """The operator of states whose predicted observations are there already, ``(member, observation)``."""

    values: Array

    def __call__(self, states: Array) -> Array:
        return self.values


def compare(observed: Observed, stage: str, columns: Columns) -> Observed:
    """`Observed.compare` of what the observations read."""
    observation = observed.observation
    stand_in = replace(observation, operator=_Predicted(columns.predicted(observation.operator)), error=observation.law)
    return replace(observed, table=replace(observed, observation=stand_in).compare(stage, columns.values).table)


def locate(observed: Observed, localization: Localization | None, tables: str) -> Observed:
    """`Observed.locate` where there is a localization; a sentence names the file."""
    if localization is None:
        return observed
    try:
        return observed.locate(localization)
    except ValueError as error:
        raise ValueError(_of_file(str(error), tables, observed.table)) from error


def _of_file(problem: str, tables: str, table: ObservationTable) -> str:
    """A sentence with the names of the tables, unless it begins with the file of a row."""
    names = tuple(f"{name}: " for name in np.unique(table.extra.get(FILE, [])).tolist())
    return problem if problem.startswith(names) else f"{tables}: {problem}"


def counts(table: ObservationTable) -> dict[str, int]:
    """Number of rows by reason."""
    reasons, numbers = np.unique(table.reason, return_counts=True)
    return dict(zip(reasons.tolist(), numbers.tolist(), strict=True))


def summary(table: ObservationTable) -> str:
    """How many rows are used, and why others are not, in a line."""
    used, others = int(table.used.sum()), counts(table.take(~table.used))
    rejected = ", ".join(f"{number} {reason}" for reason, number in others.items())
    why = f" ({rejected})" if rejected else ""
    if used or not len(table):
        return f"{used} of {len(table)} observations used{why}"
    hint = "; say which codes are good, --good" if "provider" in rejected else ""
    return f"warning: none of {len(table)} observations used{why}{hint}"


def named(tables: Sequence[Path]) -> str:
    """What errors call some tables."""
    more = f" and {len(tables) - 1} more" if len(tables) > 1 else ""
    return f"{tables[0]}{more}"


def refuse_rejected(table: ObservationTable, aside: np.ndarray) -> None:
    """Raise ValueError that names the first row that is not used, unless it is withheld or of no concern.

    Parameters
    ----------
    table : ObservationTable
    aside : (row,) array of bool
        Of which rows nothing is asked, as of those outside a window that was asked for; of rows that checks have added
        at the end of the table it says nothing.
    """
    refused = ~table.used & (table.codes != WITHHELD)
    refused[: len(aside)] &= ~aside
    if refused.any():
        row = int(np.argmax(refused))
        raise ValueError(f"{table.place(row)} is not used ({table.reason[row]}): repair it, or leave out --strict")
