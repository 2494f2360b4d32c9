"""What a table means for a layout: the record of the observation, its rows, and why the others are not used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from ensf.arrays import Array, like, namespace, rows, to_numpy
from ensf.observations.devices import moved
from ensf.observations.joined import join
from ensf.observations.observation import Observation
from ensf.observations.operators import restrict
from ensf.tables.flags import USED
from ensf.tables.stations.derived import Derived, registered
from ensf.tables.stations.interpolation import Bilinear, Interpolation
from ensf.tables.stations.stations import Stations

__all__ = ["Check", "Observed", "observe"]


BILINEAR = Bilinear()


class Check(Protocol):
    """A check of quality."""

    def flag(self, table: Any) -> Any:
        """The table with a code in the rows that fail."""


@dataclass(frozen=True, eq=False)
class Observed:
    """Observations of states of one layout.

    Attributes
    ----------
    observation : Observation
        Of the rows that are used; its positions are in the coordinates of the table.
    used : (observation,) int64 array
        Rows of the table.
    table : ObservationTable
        All rows, with codes and reasons.
    """

    observation: Observation
    used: np.ndarray
    table: Any

    def compare(self, stage: str, ensemble: Array) -> Observed:
        """The record with columns ``<stage>_mean`` and ``<stage>_spread``: the ensemble as the stations see it.

        Parameters
        ----------
        stage : str
            Such as ``"prior"`` or ``"analysis"``.
        ensemble : (member, state) array
            On the device of the observation. The spread has divisor N - 1.
        """
        predicted = self.observation.operator(ensemble)
        xp = namespace(predicted)
        found = {
            f"{stage}_mean": xp.mean(predicted, axis=0),
            f"{stage}_spread": xp.std(predicted, axis=0, correction=1),
        }
        columns = {name: self._column(name, to_numpy(values)) for name, values in found.items()}
        return replace(self, table=replace(self.table, extra={**self.table.extra, **columns}))

    def check(self, *checks: Check) -> Observed:
        """The record without the observations that fail the checks, one after another.

        Raises
        ------
        ValueError
            If a check makes new rows, as super-observations are.
        """
        table = self.table
        for check in checks:
            table = check.flag(table)
        if len(table) != len(self.table):
            raise ValueError(
                f"{checks[-1]!r} makes new rows, which no operator sees yet: flag the table, then observe it"
            )
        kept = np.flatnonzero(table.used[self.used])
        if len(kept) == len(self.used):
            return replace(self, table=table)
        used, seen = self.used[kept], self.observation
        operator = restrict(seen.operator, tuple(kept.tolist()))
        position = table.position[used]
        return Observed(Observation(rows(seen.value, kept), operator, seen.law.restrict(kept), position), used, table)

    def beside(self, array: Array) -> Observed:
        """The record with the observation on the device of `array` and in its dtype: what a filter there needs."""
        seen = self.observation
        value, error = (like(to_numpy(one), array) for one in (seen.value, seen.law.standard_deviation(seen.value)))
        return replace(self, observation=Observation(value, moved(seen.operator, array), error, seen.position))

    def _column(self, name: str, values: np.ndarray) -> np.ndarray:
        column = np.array(self.table.extra.get(name, np.full(len(self.table), np.nan)), dtype=np.float64)
        column[self.used] = values
        return column


def observe(
    table: Any,
    layout: Any,
    *,
    interpolation: Interpolation = BILINEAR,
    coordinates: Mapping[str, str] | None = None,
    periods: Mapping[str, float] | None = None,
    derived: Mapping[str, Derived] | None = None,
) -> Observed:
    """The rows of a table as an `Observation` of states of a layout.

    Parameters
    ----------
    table : ObservationTable
    layout : ensf.dataset.Layout
    interpolation : Interpolation
        `Bilinear` or `Nearest`.
    coordinates : mapping of str to str, optional
        Coordinate of the grid for the columns ``lat``, ``lon``, ``x``, ``y`` or ``z`` where names and attributes do
        not tell, such as ``{"lat": "nav_lat"}``.
    periods : mapping of str to float, optional
        Period of ``x`` or ``y`` in a periodic domain. Longitude always has 360 degrees.
    derived : mapping of str to Derived, optional
        Derived quantities by name, before those of `ensf.tables.stations.derived.register`.

    Returns
    -------
    Observed
        Rows outside the grid or its levels, or on land, are rejected with that reason.

    Raises
    ------
    ValueError
        If a row names what is neither a variable of the state nor a derived quantity, or the grid is of no known kind.
    """
    known = {**registered(), **(derived or {})}
    stations = Stations(
        layout, table.position, table.height, table.axes, interpolation, coordinates or {}, periods or {}
    )
    parts = []
    for name, which in _kinds(table, layout, known):
        operator, code = _see(name, stations.at(which), known)
        good = np.flatnonzero(code == USED)
        parts.append((restrict(operator, tuple(good.tolist())), which[good]))
        table = _rejected(table, which, code)
    used = np.flatnonzero(table.used)
    place = np.full(len(table), -1)
    place[used] = np.arange(len(used))
    operator = join([(operator, place[which]) for operator, which in parts if len(which)])
    value, error = _numbers(table, used, stations.dtype)
    return Observed(Observation(value, operator, error, table.position[used]), used, table)


def _numbers(table: Any, used: np.ndarray, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Values and errors in the dtype of the states."""
    with np.errstate(over="ignore", under="ignore"):
        value, error = table.value[used].astype(dtype), table.error[used].astype(dtype)
    bad = ~(np.isfinite(value) & np.isfinite(error) & (error > 0))
    if bad.any():
        row = int(used[np.argmax(bad)])
        raise ValueError(
            f"row {row}: value {table.value[row]} with error {table.error[row]} is not within the numbers of {dtype}, "
            "the dtype of the states: reject the row"
        )
    return value, error


def _kinds(table: Any, layout: Any, known: Mapping[str, Derived]) -> list[tuple[str, np.ndarray]]:
    """What is observed, and the rows that observe it."""
    which = np.flatnonzero(table.used)
    names, first, kind = np.unique(table.variable[which], return_index=True, return_inverse=True)
    for name, row in zip(names.tolist(), which[first].tolist(), strict=True):
        if name not in known and name not in layout.template.data_vars:
            choice = ", ".join(map(repr, [*layout.template.data_vars, *known]))
            raise ValueError(
                f"row {row}: variable {name!r} is unknown: choose one of {choice}, register it, or reject the row"
            )
    return [(name, which[kind.ravel() == number]) for number, name in enumerate(names.tolist())]


def _see(name: str, stations: Stations, known: Mapping[str, Derived]) -> tuple[Any, np.ndarray]:
    """A variable of the state comes before a derived quantity of its name."""
    return stations.linear(name) if name in stations.layout.template.data_vars else known[name].see(stations)


def _rejected(table: Any, which: np.ndarray, code: np.ndarray) -> Any:
    column = np.zeros(len(table), dtype=np.int32)
    column[which] = code
    for one in np.unique(code[code != USED]).tolist():
        table = table.reject(column == one, one)
    return table
