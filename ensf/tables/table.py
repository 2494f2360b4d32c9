"""The two records of a table: its rows, and what they observe of the states of a layout.

`ObservationTable` has columns of equal length, checked row by row when they are put together. `Observed` is what its
verb `observe` gives: the `Observation` of the rows that are used, beside the table with a reason for every other row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ensf.arrays import Array, like, namespace, rows, to_numpy
from ensf.dataset.interpolation import Bilinear, Interpolation
from ensf.dataset.layout import Layout
from ensf.dataset.summary import as_html, as_text, span
from ensf.observations.joined import join
from ensf.observations.observation import Observation
from ensf.tables.check import RowError, check_rows, check_shapes
from ensf.tables.flags import MISSING, REASONS, USED
from ensf.tables.formats import files
from ensf.tables.stations.derived import Derived, registered
from ensf.tables.stations.stations import StationOperator, Stations

__all__ = ["Check", "ObservationTable", "Observed", "RowError"]

BILINEAR = Bilinear()

COLUMNS = ("variable", "value", "error", "time", "position", "qc")
AXES = (("lat", "lon"), ("x", "y"))


@dataclass(frozen=True, eq=False, repr=False)
class ObservationTable:
    """Observations, one row each.

    Parameters
    ----------
    variable : (row,) array of str
        A variable of the state, or the name of a derived quantity (`ensf.tables.stations.derived`).
    value : (row,) array
        In the units of the variable; NaN = not observed, which rejects the row as missing.
    error : (row,) array or float
        Standard deviation in the units of the variable.
    time : (row,) array of datetime64
        UTC.
    position : (row, 2) array
        In the coordinates `axes`: degrees, or metres as the grid has them.
    axes : tuple of two str
        ``("lat", "lon")`` or ``("x", "y")``.
    z : (row,) array, optional
        Vertical coordinate as the grid has it; NaN where there is none.
    qc : (row,) array of int, optional
        0 = use; other integers name a reason not to.
    reasons : mapping of int to str
        What the codes in `qc` mean, beside those of `ensf.tables.flags`.
    extra : mapping of str to (row,) array
        Columns that are carried along.

    Raises
    ------
    RowError
        A ValueError that names the first row that is to be used and cannot be.
    ValueError
        If columns are missing or of unequal length.
    """

    variable: np.ndarray
    value: np.ndarray
    error: np.ndarray
    time: np.ndarray
    position: np.ndarray
    axes: tuple[str, str] = ("lat", "lon")
    z: np.ndarray | None = None
    qc: np.ndarray | None = None
    reasons: Mapping[int, str] = field(default_factory=dict)
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, column in _converted(self).items():
            object.__setattr__(self, name, column)
        check_shapes(self.value, self.position, {"z": self.z, **self.extra})
        check_rows(self.columns, self.used, self.axes)

    def __len__(self) -> int:
        return len(self.value)

    def __repr__(self) -> str:
        return as_text(*self._summary())

    def _repr_html_(self) -> str:
        return as_html(*self._summary())

    def _summary(self) -> tuple[str, list[tuple[str, ...]]]:
        """Rows by variable with the range of their values, places and times, rows by reason, and other columns."""
        facts: list[tuple[str, ...]] = []
        for name, count in _counts(self.variable):
            facts.append((name, f"{count} rows", span(self.value[self.variable == name])))
        ranges = {**dict(zip(self.axes, self.position.T, strict=True)), "z": self.height, "time": self.time}
        facts += [(name, span(column)) for name, column in ranges.items() if name != "z" or self.z is not None]
        facts += [(reason, f"{count} rows") for reason, count in _counts(self.reason)]
        if self.extra:
            facts.append(("other columns", ", ".join(self.extra)))
        return f"ObservationTable: {len(self)} rows", facts

    @property
    def used(self) -> np.ndarray:
        """Rows with code 0, (row,) array of bool."""
        return self.codes == USED

    @property
    def codes(self) -> np.ndarray:
        """The column `qc`, (row,) int32 array."""
        assert self.qc is not None
        return self.qc

    @property
    def height(self) -> np.ndarray:
        """The column `z`, NaN where there is none."""
        return np.full(len(self), np.nan) if self.z is None else self.z

    @property
    def meanings(self) -> dict[int, str]:
        """Sentence of every code that occurs."""
        sentences = {**REASONS, **self.reasons}
        codes = np.unique(self.codes).tolist()
        return {code: sentences.get(code, f"rejected by its provider, code {code}") for code in codes}

    @property
    def reason(self) -> np.ndarray:
        """Sentence of every row, (row,) array of str."""
        codes, inverse = np.unique(self.codes, return_inverse=True)
        return np.array([self.meanings[int(code)] for code in codes], dtype=str)[inverse.ravel()]

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """All columns by their names in files, in order."""
        named = {"variable": self.variable, "value": self.value, "error": self.error, "time": self.time}
        named |= dict(zip(self.axes, self.position.T, strict=True))
        vertical = {} if self.z is None else {"z": self.z}
        return {**named, **vertical, "qc": self.codes, **self.extra}

    def reject(self, which: np.ndarray, code: int, reason: str | None = None) -> ObservationTable:
        """The table with `code` in the rows `which` that were used; rows rejected before keep their reason.

        Parameters
        ----------
        which : (row,) array of bool
        code : int
            Of `ensf.tables.flags`, or one's own.
        reason : str, optional
            What one's own code means.
        """
        qc = np.where(np.asarray(which) & self.used, code, self.codes).astype(np.int32)
        return replace(self, qc=qc, reasons=self.reasons if reason is None else {**self.reasons, code: reason})

    def take(self, rows: np.ndarray) -> ObservationTable:
        """The table of the rows at `rows`: integers, or a mask."""
        taken: dict[str, Any] = {name: getattr(self, name)[rows] for name in COLUMNS}
        return replace(
            self,
            **taken,
            z=None if self.z is None else self.z[rows],
            extra={name: column[rows] for name, column in self.extra.items()},
        )

    def append(self, other: ObservationTable) -> ObservationTable:
        """The rows of both; columns of one only are empty in the other."""
        if self.axes != other.axes:
            raise ValueError(f"tables in {self.axes} and {other.axes} cannot be joined: convert one of them")
        both: dict[str, Any] = {name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in COLUMNS}
        return replace(
            self,
            **both,
            z=None if self.z is None and other.z is None else np.concatenate([self.height, other.height]),
            reasons={**other.reasons, **self.reasons},
            extra={
                name: np.concatenate([_extra(self, other, name), _extra(other, self, name)])
                for name in {**self.extra, **other.extra}
            },
        )

    def observe(
        self,
        layout: Layout,
        *,
        interpolation: Interpolation = BILINEAR,
        coordinates: Mapping[str, str] | None = None,
        periods: Mapping[str, float] | None = None,
        derived: Mapping[str, Derived] | None = None,
    ) -> Observed:
        """The rows as an `Observation` of states of a layout.

        Parameters
        ----------
        layout : ensf.dataset.Layout
        interpolation : Interpolation
            `Bilinear` or `Nearest`.
        coordinates : mapping of str to str, optional
            Coordinate of the grid for the columns ``lat``, ``lon``, ``x``, ``y`` or ``z`` where names and attributes
            do not tell, such as ``{"lat": "nav_lat"}``.
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
            If a row names what is neither a variable of the state nor a derived quantity, or the grid is neither
            regular nor curvilinear.
        """
        quantities = {**registered(), **(derived or {})}
        stations = Stations(
            layout, self.position, self.height, self.axes, interpolation, coordinates or {}, periods or {}
        )
        table, parts = self, []
        for name, which in _kinds(self, layout, quantities):
            operator, code = _operator(name, stations.take(which), quantities)
            good = np.flatnonzero(code == USED)
            parts.append((operator.restrict(good), which[good]))
            table = _rejected(table, which, code)
        used = np.flatnonzero(table.used)
        place = np.full(len(table), -1)
        place[used] = np.arange(len(used))
        operator = join([(operator, place[which]) for operator, which in parts if len(which)])
        value, error = _numbers(table, used, stations.dtype)
        kind = table.variable[used]
        return Observed(Observation(value, operator, error, table.position[used], kind=kind), used, table)

    def write(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write all rows, rejected ones too, with their codes and reasons: CSV or CF NetCDF, as the suffix says.

        The file is there as a whole, or not at all.

        Parameters
        ----------
        path : str or Path
            With suffix ``.csv``, ``.nc`` or ``.nc4``.
        overwrite : bool
            Replace an existing file.

        Raises
        ------
        FileExistsError
            If the file exists, unless `overwrite`.
        OSError
            If it cannot be written; a file that was there before is untouched.
        """
        meanings = {**REASONS, **self.reasons, **self.meanings}
        files.save(Path(path), self.columns, meanings, overwrite=overwrite)


class Check(Protocol):
    """A check of quality."""

    def flag(self, table: ObservationTable) -> ObservationTable:
        """The table with a code in the rows that fail."""


@dataclass(frozen=True, eq=False, repr=False)
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
    table: ObservationTable

    def __repr__(self) -> str:
        return as_text(*self._summary())

    def _repr_html_(self) -> str:
        return as_html(*self._summary())

    def _summary(self) -> tuple[str, list[tuple[str, ...]]]:
        """Rows that are used by variable, operator and dtype, rows that are not by reason."""
        table, kind = self.table, type(self.observation.operator).__name__
        facts: list[tuple[str, ...]] = [("operator", kind), ("dtype", str(self.observation.value.dtype))]
        for name, count in _counts(table.variable[self.used]):
            facts.append(
                (name, f"{count} observations", span(table.value[self.used][table.variable[self.used] == name]))
            )
        facts += [(reason, f"{count} rows") for reason, count in _counts(table.reason[~table.used])]
        return f"Observed: {len(self.used)} of {len(table)} rows", facts

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
        statistics = {
            f"{stage}_mean": xp.mean(predicted, axis=0),
            f"{stage}_spread": xp.std(predicted, axis=0, correction=1),
        }
        columns = {name: self._column(name, to_numpy(values)) for name, values in statistics.items()}
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
        used, whole = self.used[kept], self.observation
        operator, law = whole.operator.restrict(kept), whole.law.restrict(kept)
        kind = None if whole.kind is None else whole.kind[kept]
        observation = Observation(rows(whole.value, kept), operator, law, table.position[used], kind=kind)
        return Observed(observation, used, table)

    def beside(self, array: Array) -> Observed:
        """The record with the observation on the device of `array` and in its dtype: what a filter there needs."""
        here = self.observation
        value, error = (like(to_numpy(one), array) for one in (here.value, here.law.standard_deviation(here.value)))
        moved = Observation(value, here.operator.on(array), error, here.position, kind=here.kind)
        return replace(self, observation=moved)

    def _column(self, name: str, values: np.ndarray) -> np.ndarray:
        column = np.array(self.table.extra.get(name, np.full(len(self.table), np.nan)), dtype=np.float64)
        column[self.used] = values
        return column


# --- helpers -------------------------------------------------------------------------------------------


def _counts(words: np.ndarray) -> list[tuple[str, int]]:
    """How often each word occurs, the most frequent first."""
    distinct, count = np.unique(words, return_counts=True)
    order = np.argsort(-count, kind="stable")
    return list(zip(distinct[order].tolist(), count[order].tolist(), strict=True))


def _converted(table: ObservationTable) -> dict[str, Any]:
    """Columns in their dtypes; rows without a value are rejected as missing."""
    value = np.array(table.value, dtype=np.float64, ndmin=1)
    shape = value.shape
    qc = np.broadcast_to(np.asarray(0 if table.qc is None else table.qc, dtype=np.int32), shape)
    if tuple(table.axes) not in AXES:
        raise ValueError(f"positions are in {tuple(table.axes)}: give axes=('lat', 'lon') or ('x', 'y')")
    return {
        "variable": np.broadcast_to(np.asarray(table.variable, dtype=str), shape),
        "value": value,
        "error": np.broadcast_to(np.asarray(table.error, dtype=np.float64), shape),
        "time": np.broadcast_to(np.asarray(table.time, dtype="datetime64[us]"), shape),
        "position": np.asarray(table.position, dtype=np.float64),
        "axes": tuple(table.axes),
        "z": None if table.z is None else np.asarray(table.z, dtype=np.float64),
        "qc": np.where(np.isnan(value) & (qc == USED), MISSING, qc).astype(np.int32),
        "reasons": {int(code): str(reason) for code, reason in table.reasons.items()},
        "extra": {str(name): np.asarray(column) for name, column in table.extra.items()},
    }


def _extra(table: ObservationTable, other: ObservationTable, name: str) -> np.ndarray:
    """A column that is carried along; empty if this table lacks it."""
    if name in table.extra:
        return table.extra[name]
    kind = other.extra[name].dtype.kind
    if kind == "M":
        return np.full(len(table), np.datetime64("NaT"))
    return np.full(len(table), "" if kind in "SUO" else np.nan)


def _numbers(table: ObservationTable, used: np.ndarray, dtype: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray]:
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


def _kinds(table: ObservationTable, layout: Layout, quantities: Mapping[str, Derived]) -> list[tuple[str, np.ndarray]]:
    """What is observed, and the rows that observe it."""
    which = np.flatnonzero(table.used)
    names, first, kind = np.unique(table.variable[which], return_index=True, return_inverse=True)
    for name, row in zip(names.tolist(), which[first].tolist(), strict=True):
        if name not in quantities and name not in layout.template.data_vars:
            choice = ", ".join(map(repr, [*layout.template.data_vars, *quantities]))
            raise ValueError(
                f"row {row}: variable {name!r} is unknown: choose one of {choice}, register it, or reject the row"
            )
    return [(name, which[kind.ravel() == number]) for number, name in enumerate(names.tolist())]


def _operator(name: str, stations: Stations, quantities: Mapping[str, Derived]) -> StationOperator:
    """A variable of the state comes before a derived quantity of its name."""
    if name in stations.layout.template.data_vars:
        return stations.linear(name)
    return quantities[name].at(stations)


def _rejected(table: ObservationTable, which: np.ndarray, code: np.ndarray) -> ObservationTable:
    column = np.zeros(len(table), dtype=np.int32)
    column[which] = code
    for one in np.unique(code[code != USED]).tolist():
        table = table.reject(column == one, one)
    return table
