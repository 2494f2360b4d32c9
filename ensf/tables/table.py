"""The two records of a table: its rows, and what they observe of the states of a layout.

`ObservationTable` has columns of equal length, checked row by row when they are put together. `Observed` is what its
verb `observe` gives: the `Observation` of the rows that are used, beside the table with a reason for every other row.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ensf.arrays import Array, as_names, like, member_mean, member_variance, namespace, to_numpy
from ensf.dataset.coordinates import VARIABLE, column_coordinate, find_coordinate, variable_dims
from ensf.dataset.interpolation import Bilinear, Interpolation
from ensf.dataset.layout import Layout
from ensf.dataset.methods import check_order, dims_of
from ensf.dataset.summary import as_html, as_text, span
from ensf.localization import Localization, variable_code
from ensf.observations.joined import join
from ensf.observations.observation import Observation
from ensf.tables.check import check_rows, check_shapes, on_earth
from ensf.tables.columns import VERTICAL, is_named, numbers_of, place_of, words_of
from ensf.tables.flags import BAD_ERROR, BAD_VALUE, IMPOSSIBLE, NO_ERROR, REASONS, UNKNOWN, UNREADABLE, USED, WINDOW
from ensf.tables.formats import files
from ensf.tables.groups import Correlations, check_groups, correlated, correlations_by_name
from ensf.tables.laws import AMOUNT, LAW, Laws, law_columns, law_of, without_error
from ensf.tables.matching import chosen, idle
from ensf.tables.stations.derived import Derived, derived_units, registered
from ensf.tables.stations.stations import StationOperator, Stations
from ensf.tables.stations.vertical import is_vertical
from ensf.tables.units import far_off, in_units_of

__all__ = ["Check", "ObservationTable", "Observed"]

BILINEAR = Bilinear()

KIND = "kind"
"""Column that says which rows filters count as alike, such as those of one instrument."""
LOGGER = logging.getLogger("ensf")
COLUMNS = ("variable", "value", "error", "time", "position", "qc")
PAIRS = (("lat", "lon"), ("x", "y"))


@dataclass(frozen=True, eq=False, repr=False)
class ObservationTable:
    """Observations, one row each.

    Parameters
    ----------
    variable : (row,) array of str
        A variable of the state, or the name of a derived quantity (`ensf.tables.stations.derived`).
    value : (row,) array
        In the units of the variable; NaN = not observed, which rejects the row as missing. What is masked, here and in
        every column, is empty.
    error : (row,) array or float
        Standard deviation in the units of the variable.
    time : (row,) array of datetime64
        UTC.
    position : (row, axis) array
        In the coordinates `axes`: degrees, or metres as the grid has them.
    axes : tuple of str
        ``("lat", "lon")`` or ``("x", "y")``; the one coordinate of a model of one dimension, such as ``("x",)``; none
        for a single column.
    z : (row,) array, optional
        Vertical coordinate as the grid has it; NaN where there is none.
    vertical : mapping of str to (row,) array
        Columns ``depth`` (m, positive down), ``height`` (m, positive up) and ``pressure`` (Pa), of which a grid takes
        the one that is its own where there is no `z`.
    qc : (row,) array of int, optional
        0 = use; other integers name a reason not to. A row that was to be used and is broken gets a code of its own.
    reasons : mapping of int to str
        What the codes in `qc` mean, beside those of `ensf.tables.flags`.
    extra : mapping of str to (row,) array
        Columns that are carried along.

    Raises
    ------
    ValueError
        If columns are missing or of unequal length.
    """

    variable: np.ndarray
    value: np.ndarray
    error: np.ndarray
    time: np.ndarray
    position: np.ndarray
    axes: tuple[str, ...] = ("lat", "lon")
    z: np.ndarray | None = None
    qc: np.ndarray | None = None
    reasons: Mapping[int, str] = field(default_factory=dict)
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)
    vertical: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, column in _converted(self).items():
            object.__setattr__(self, name, column)
        check_shapes(self.value, self.position, self.axes, {"z": self.z, **self.vertical, **self.extra})
        object.__setattr__(self, "error", np.where(without_error(self.columns), 1.0, self.error))
        object.__setattr__(self, "qc", check_rows(self.columns, self.axes))

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
        ranges = {**dict(zip(self.axes, self.position.T, strict=True)), **self.levels}
        facts += [(name, span(column)) for name, column in ranges.items()]
        facts.append(("time", span(self.time)))
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
    def kind(self) -> np.ndarray:
        """What each row is counted as: the column `kind`, where it is filled, else the variable."""
        kind = self.extra.get(KIND)
        if kind is None:
            return self.variable
        return np.where(is_named(kind), words_of(kind), self.variable)

    @property
    def laws(self) -> np.ndarray:
        """Name of the error law of each row, empty where errors are Gaussian."""
        return self.extra.get(LAW, np.full(len(self), ""))

    @property
    def deviation(self) -> np.ndarray:
        """Standard deviation of each error in the units of its variable, infinite for `answers`."""
        amount = self.extra.get(AMOUNT, np.full(len(self), np.nan))
        return np.where(np.isnan(amount), self.error, amount)

    @property
    def answers(self) -> np.ndarray:
        """Rows ``(row,)`` of bool that say yes or no, or that a limit is passed: nothing departs from a forecast."""
        return np.isinf(self.deviation)

    @property
    def learnt_as(self) -> np.ndarray:
        """What filters learn errors and biases of: the variable, and after it the column `kind` where it is filled.

        An instrument that sees temperature and salinity has an error of each.

        Raises
        ------
        ValueError
            If two would have one name: ``t_b`` of kind ``c``, and ``t`` of kind ``b_c``.
        """
        kind, variable = self.kind.astype(str), self.variable.astype(str)
        names = np.where(kind == variable, variable, np.char.add(np.char.add(variable, "_"), kind))
        _, first, number = np.unique(names, return_index=True, return_inverse=True)
        other = first[number.ravel()]
        if (variable != variable[other]).any():
            row = int(np.argmax(variable != variable[other]))
            one, two = (f"'{variable[k]}' of kind '{kind[k]}'" for k in (other[row], row))
            raise ValueError(f"rows of {one} and of {two} would both be learnt as '{names[row]}': rename one kind")
        return names

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
        return {**named, **self.levels, "qc": self.codes, **self.extra}

    @property
    def levels(self) -> dict[str, np.ndarray]:
        """The columns that say how high, by name."""
        return {**({} if self.z is None else {"z": self.z}), **self.vertical}

    @property
    def places(self) -> np.ndarray:
        """Where rows are: the position ``(row, axis)``, in a single column how high, ``(row, 1)``."""
        return self.position if self.axes else self.height[:, None]

    def place(self, row: int) -> str:
        """What errors call a row: its file and number there, if it was read from one."""
        return place_of(self.extra, row)

    def within(self, start: np.datetime64 | str, end: np.datetime64 | str) -> ObservationTable:
        """The table with rows before `start`, or at `end` or after it, rejected as outside the window.

        A row on the common edge of two windows so belongs to the later one.

        Parameters
        ----------
        start, end : datetime64, or str in ISO 8601
            UTC.
        """
        return self.reject(~((self.time >= np.datetime64(start)) & (self.time < np.datetime64(end))), WINDOW)

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
            vertical={name: column[rows] for name, column in self.vertical.items()},
            extra={name: column[rows] for name, column in self.extra.items()},
        )

    def append(self, *others: ObservationTable) -> ObservationTable:
        """The rows of all; columns of some only are empty in the others.

        Raises
        ------
        ValueError
            If positions are in other coordinates.
        """
        tables = (self, *others)
        for other in others:
            if self.axes != other.axes:
                raise ValueError(f"tables in {self.axes} and {other.axes} cannot be joined: convert one of them")
        joined: dict[str, Any] = {name: np.concatenate([getattr(table, name) for table in tables]) for name in COLUMNS}
        vertical = {name: None for table in tables for name in table.vertical}
        extra = {name: None for table in tables for name in table.extra}
        return replace(
            self,
            **joined,
            z=None if all(table.z is None for table in tables) else np.concatenate([table.height for table in tables]),
            vertical={name: np.concatenate([_height(table, name) for table in tables]) for name in vertical},
            reasons=_joined_reasons(tables),
            extra={name: np.concatenate(_extras(tables, name)) for name in extra},
        )

    def observe(
        self,
        layout: Layout,
        *,
        interpolation: Interpolation = BILINEAR,
        coordinates: Mapping[str, str] | None = None,
        periods: Mapping[str, float] | None = None,
        derived: Mapping[str, Derived] | None = None,
        surface: Collection[str] = (),
        correlation: Correlations | None = None,
        laws: Laws | None = None,
    ) -> Observed:
        """The rows as an `Observation` of states of a layout.

        Parameters
        ----------
        layout : ensf.dataset.Layout
        interpolation : Interpolation
            `Bilinear` or `Nearest`.
        coordinates : mapping of str to str, optional
            Coordinate of the grid for the columns ``lat``, ``lon``, ``x``, ``y`` or ``z`` where names and attributes
            do not tell, such as ``{"lat": "nav_lat"}``; by default those of the layout.
        periods : mapping of str to float, optional
            Period of ``x``, ``y`` or the one coordinate of a line, in a periodic domain; by default those of the
            layout. Longitude always has 360 degrees.
        derived : mapping of str to Derived, optional
            Derived quantities by name, before those of `ensf.tables.stations.derived.register`.
        surface : collection of str
            Variables with levels of which rows without a height see the level nearest to the surface: the uppermost
            of an ocean, the lowest of an atmosphere.
        correlation : Correlation, or mapping of str to Correlation, optional
            Of the errors of rows with the same entry in the column `group`; rows without one are independent. Without
            the column, of all rows of one variable. By kind or variable, as `laws`, where groups differ: ``{"profile":
            ByDistance(50.0, ("z",)), "swath": ByDistance(100.0)}``; all rows of a group have one setting.
        laws : mapping of str to str or error law, optional
            Of the errors, by kind or variable, where they are not Gaussian: ``{"chl": "Lognormal", "rain":
            Censored(1.0, low=0.1)}``. The deviation multiplies the column `error`; a column `law`, and columns with the
            names of its parameters, say it row by row. Rows of a law without a deviation, `Poisson`, need no error.
            A table that was observed already has these errors: observing it again is observing it once.

        Returns
        -------
        Observed
            Rows outside the grid or its levels, or on land, are rejected with that reason; the column `z` of its table
            is in the vertical coordinate of the grid, from whichever column.

        Raises
        ------
        ValueError
            If no row names a variable of the state or a derived quantity, rows of a variable with levels have no
            height, the grid is neither regular nor curvilinear, a group is in two files, nothing says how the errors of
            a group are correlated, something is no law of errors, or a value does not fit its law.
        """
        by_name = correlations_by_name(correlation)
        check_groups(self.columns, by_name)
        quantities = {**registered(), **(derived or {})}
        placed = self.placed(layout)
        stations = Stations(
            layout,
            placed.position,
            placed.height,
            placed.axes,
            interpolation,
            layout.coordinates if coordinates is None else coordinates,
            layout.periods if periods is None else periods,
            placed.vertical,
            tuple(surface),
            placed.time,
        )
        lawful = placed.with_laws(laws or {})
        table = _of_the_state(lawful.in_units_of(layout, quantities), layout, quantities)
        table = _possible(_within_numbers(table, stations.dtype), stations.dtype, laws or {})
        height = placed.height.copy()
        parts = []
        first = str(next(iter(layout.template.data_vars)))
        for name, which in _kinds(table):
            there = stations.take(which)
            operator, code = _operator(name, there, quantities)
            good = np.flatnonzero(code == USED)
            parts.append((operator.restrict(good), which[good]))
            table = _rejected(table, which, code)
            height[which] = there.heights(name if name in layout.template.data_vars else first)
        if self.vertical:
            table = replace(table, z=height)
        used = np.flatnonzero(table.used)
        place = np.full(len(table), -1)
        place[used] = np.arange(len(used))
        operator = join([(operator, place[which]) for operator, which in parts if len(which)])
        value, error = (column[used].astype(stations.dtype) for column in (table.value, table.error))
        made = law_of(table, used, value, error, laws or {})
        law = made.law
        if law is not error:
            column = np.full(len(table), np.nan)
            column[used] = made.amount
            table = replace(table, extra={**table.extra, AMOUNT: column})
        if by_name:
            for sentence in idle("a correlation of errors", [*filter(None, by_name)], self.variable, self.kind):
                LOGGER.warning(sentence)
            if law is not error:
                other = next(name for name in table.extra[LAW][used].tolist() if name not in ("", "Gaussian"))
                raise ValueError(f"errors are correlated, and some of {other} are not Gaussian: give one of the two")
            law = correlated(table.columns, table.kind, used, error, by_name)
        observation = Observation(made.value, operator, law, table.position[used], kind=table.learnt_as[used])
        return Observed(observation, used, table, replace(stations, height=height))

    def placed(self, layout: Layout) -> ObservationTable:
        """The table with a position, if it has none, from columns that have the name of a dimension of a layout.

        Where such a dimension is vertical, its column is `z`. An entry that is no number rejects its row.
        """
        variables = layout.template.data_vars.values()
        named = {str(dim): one for one in variables for dim in one.dims if dim in self.extra and not self.axes}
        if not named:
            return self
        levels = [dim for dim, variable in named.items() if is_vertical(column_coordinate(variable, dim, {}))]
        columns = {dim: numbers_of(self.extra[dim]) for dim in named}
        axes = tuple(dim for dim in named if dim not in levels)
        return replace(
            self,
            position=np.stack([columns[dim] for dim in axes], axis=1) if axes else self.position,
            axes=axes,
            z=columns[levels[0]] if levels and self.z is None else self.z,
            extra={name: column for name, column in self.extra.items() if name not in axes},
        )

    def with_laws(self, laws: Laws) -> ObservationTable:
        """The table with the laws of its rows, and their parameters, in columns; a line is logged for idle names.

        Parameters
        ----------
        laws : mapping of str to str or error law
            As of `observe`.

        Raises
        ------
        ValueError
            If something is no law of errors.
        """
        if not laws and LAW not in self.extra:
            return self
        for sentence in idle("an error law", laws, self.variable, self.kind):
            LOGGER.warning(sentence)
        error, extra = law_columns(self, laws)
        waiting = np.isin(self.codes, (NO_ERROR, BAD_ERROR)) & without_error({**self.columns, **extra})
        return replace(self, error=error, extra=extra, qc=np.where(waiting, USED, self.codes))

    def in_units_of(self, layout: Layout, quantities: Mapping[str, Derived] | None = None) -> ObservationTable:
        """The table with values and errors in the units of the variables of a layout, where both sides state units.

        The units of a value are in the column `units`, those of its error, if they are others, in `error_units`; where
        the variable has none, errors are converted to those of their values.
        Derived quantities have those of their variables, if they know.

        Raises
        ------
        ValueError
            If units cannot be converted, or are those of a variance.
        """
        grids = layout.template.data_vars.items()
        wanted = {str(name): str(grid.attrs["units"]) for name, grid in grids if grid.attrs.get("units")}
        named = {name: one for name, one in (quantities or {}).items() if (self.variable == name).any()}
        wanted = derived_units(named, wanted) | wanted
        if not {"units", "error_units"} & set(self.extra):
            return self
        value, error, extra = in_units_of(wanted, self.variable, self.value, self.error, self.extra)
        return replace(self, value=value, error=error, extra=extra)

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
        Of the rows that are used; its positions are in the coordinates of the table, or of what it was located for.
    used : (observation,) int64 array
        Rows of the table.
    table : ObservationTable
        All rows, with codes and reasons.
    stations : Stations
        All rows, on the grids of the layout.
    """

    observation: Observation
    used: np.ndarray
    table: ObservationTable
    stations: Stations

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

    def place(self, number: int) -> str:
        """What errors call an observation: the file and row that it is from."""
        return self.table.place(int(self.used[number]))

    def locate(self, localization: Localization) -> Observed:
        """The record with the observations where a localization takes them to be, in its coordinates and their order.

        Parameters
        ----------
        localization : Localization
            Its coordinates are those of the columns ``lat``, ``lon``, ``x``, ``y`` or ``z``. A row that sees the level
            at the surface is there, one of a variable without levels is where the localization says, `at`. A rule of
            `ByVariable` is for rows of the variable, and for those of the `kind`, that it names.

        Raises
        ------
        ValueError
            If a coordinate is in no column, or a row that is used is empty there.
        """
        check_order(localization, self.table.axes)
        columns = []
        first = next(iter(self.stations.layout.template.data_vars))
        for dim in variable_dims(first, dims_of(localization)):
            if dim == VARIABLE:
                kind, variable = self.table.kind[self.used], self.table.variable[self.used]
                named = chosen(getattr(localization.geometry, "observed", ()), variable, kind)
                named = np.where(named == variable, "", named)
                self._say_idle(localization.geometry, {*kind.tolist(), *variable.tolist()})
                columns.append(
                    np.array([variable_code(*pair) for pair in zip(variable.tolist(), named.tolist(), strict=True)])
                )
                continue
            name, values = self.stations.column(dim)
            values = np.where(np.isnan(values), dict(localization.at).get(dim, np.nan), values)[self.used]
            empty = np.isnan(values)
            if empty.any():
                row = int(self.used[np.argmax(empty)])
                variables = self.stations.layout.template.data_vars.values()
                if all(find_coordinate(variable, dim) is None for variable in variables):
                    raise ValueError(
                        f"the localization uses {dim!r}, which no variable of the state has: name the coordinates of "
                        f"the grid, dims={self.table.axes!r} or those with its heights"
                    )
                raise ValueError(
                    f"{self.table.place(row)} has no {name}, but the localization uses {dim!r}: give it, declare "
                    f"{self.table.variable[row]} a surface variable if it has levels, or say where it is, "
                    f"at={{{dim!r}: ...}} of the localization"
                )
            columns.append(values)
        return replace(self, observation=replace(self.observation, position=np.stack(columns, axis=1)))

    def _say_idle(self, geometry: object, observed: set[str]) -> None:
        """Log a warning for each name in rules of `ByVariable` that stands for nothing here."""
        idle = getattr(geometry, "idle", None)
        for sentence in idle(self.stations.layout.template.data_vars, observed) if idle else ():
            LOGGER.warning(sentence)

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
            f"{stage}_mean": member_mean(predicted),
            f"{stage}_spread": xp.sqrt(member_variance(predicted)),
        }
        columns = {name: self._column(name, to_numpy(values)) for name, values in statistics.items()}
        return replace(self, table=replace(self.table, extra={**self.table.extra, **columns}))

    def far_off(self, ensemble: Array | None = None) -> list[str]:
        """A sentence per variable whose values are far from the forecast, as in other units.

        Parameters
        ----------
        ensemble : (member, state) array, optional
            The forecast; without, what `compare` has left of the stage ``prior``.
        """
        table = self.table if ensemble is None else self.compare("prior", ensemble).table
        columns = (table.variable, table.value, table.deviation, table.extra["prior_mean"], table.extra["prior_spread"])
        return far_off(*(column[self.used] for column in columns))

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
        used = self.used[kept]
        whole = self.observation
        return replace(self, observation=whole.restrict(kept), used=used, table=table)

    def beside(self, array: Array) -> Observed:
        """The record with the observation on the device of `array` and in its dtype: what a filter there needs."""
        here = self.observation
        value, error = (like(to_numpy(one), array) for one in (here.value, here.law.standard_deviation(here.value)))
        law = error if here.law.is_independent and here.law.is_gaussian else here.law
        moved = Observation(value, here.operator.on(array), law, here.position, kind=here.kind)
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
    value = np.array(_filled(table.value, np.float64), ndmin=1)
    shape = value.shape
    qc = np.broadcast_to(_filled(0 if table.qc is None else table.qc, np.int32), shape)
    axes, position = tuple(as_names(table.axes)), _filled(table.position, np.float64)
    if {*axes} & {*COLUMNS, *VERTICAL} or len({*axes}) < len(axes) or len(axes) > 2 or axes[::-1] in PAIRS:
        raise ValueError(f"positions are in {axes}: give axes=('lat', 'lon'), ('x', 'y'), or one on a line, ('x',)")
    if position.ndim == 1 and len(axes) == 1:
        position = position[:, None]
    return {
        "variable": np.broadcast_to(_filled(table.variable, str), shape),
        "value": value,
        "error": np.broadcast_to(_filled(table.error, np.float64), shape),
        "time": np.broadcast_to(_filled(table.time, "datetime64[us]"), shape),
        "position": on_earth(position, axes),
        "axes": axes,
        "z": None if table.z is None else _filled(table.z, np.float64),
        "qc": qc.astype(np.int32),
        "vertical": _vertical(table.vertical),
        "reasons": {int(code): str(reason) for code, reason in table.reasons.items()},
        "extra": {str(name): _carried(column) for name, column in table.extra.items()},
    }


EMPTY: dict[str, object] = {"f": np.nan, "M": np.datetime64("NaT"), "U": "", "i": UNREADABLE}
"""What a masked entry is, by the kind of its column."""


def _filled(column: ArrayLike, dtype: DTypeLike) -> np.ndarray:
    """A column in a dtype, empty where it is masked."""
    if not isinstance(column, np.ma.MaskedArray):
        return np.asarray(column, dtype=dtype)
    typed = column.astype(dtype)
    values = np.array(typed.data)
    values[np.ma.getmaskarray(column)] = EMPTY[values.dtype.kind]
    return values


def _carried(column: ArrayLike) -> np.ndarray:
    """A column that is carried along: of numbers, masked ones are NaN."""
    array = np.asarray(column)
    masked = np.ma.is_masked(column)
    return _filled(column, np.float64 if array.dtype.kind in "iub" else array.dtype) if masked else array


def _vertical(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    for name in columns:
        if name not in VERTICAL[1:]:
            raise ValueError(f"vertical has a column {name!r}: give {', '.join(VERTICAL[1:])}, or z as the grid has it")
    return {name: _filled(column, np.float64) for name, column in columns.items()}


def _height(table: ObservationTable, name: str) -> np.ndarray:
    return table.vertical.get(name, np.full(len(table), np.nan))


def _extras(tables: Sequence[ObservationTable], name: str) -> list[np.ndarray]:
    """A column that is carried along; empty in tables that lack it, text if it is text in one of them."""
    kinds = {table.extra[name].dtype.kind for table in tables if name in table.extra}
    empty = np.datetime64("NaT") if kinds == {"M"} else "" if kinds & {*"SUO"} else np.nan
    columns = [table.extra.get(name, np.full(len(table), empty)) for table in tables]
    return [words_of(column) for column in columns] if empty == "" else columns


def _joined_reasons(tables: Sequence[ObservationTable]) -> dict[int, str]:
    """Sentence of each code; all of them where tables differ."""
    reasons: dict[int, dict[str, None]] = {}
    for table in tables:
        for code, reason in table.reasons.items():
            reasons.setdefault(code, {})[reason] = None
    return {code: " or ".join(words) for code, words in reasons.items()}


def _of_the_state(table: ObservationTable, layout: Layout, quantities: Mapping[str, Derived]) -> ObservationTable:
    """The table with rows of variables that the state does not have rejected, unless it has none."""
    which = np.flatnonzero(table.used)
    names, first, inverse = np.unique(table.variable[which], return_index=True, return_inverse=True)
    unknown = np.array([name not in quantities and name not in layout.template.data_vars for name in names.tolist()])
    if not unknown.any():
        return table
    row = int(which[first[unknown].min()])
    if unknown.all():
        choice = ", ".join(map(repr, [*layout.template.data_vars, *quantities]))
        raise ValueError(
            f"{table.place(row)}: variable {str(table.variable[row])!r} is unknown"
            f"{', and so is that of every other row' * (len(table) > 1)}: choose one of {choice}, or register it"
        )
    rejected = np.zeros(len(table), dtype=bool)
    rejected[which] = unknown[inverse.ravel()]
    return table.reject(rejected, UNKNOWN)


def _within_numbers(table: ObservationTable, dtype: np.dtype) -> ObservationTable:
    """The table with rows rejected whose value is not finite, or error not positive, in the dtype of the states."""
    with np.errstate(over="ignore", under="ignore"):
        value, error = table.value.astype(dtype), table.error.astype(dtype)
    bad = ~(np.isfinite(value) & np.isfinite(error) & (error > 0)) & table.used
    return table.reject(bad, BAD_VALUE) if bad.any() else table


def _possible(table: ObservationTable, dtype: np.dtype, laws: Laws) -> ObservationTable:
    """The table with rows rejected whose error law cannot give their value, as a concentration below zero."""
    if LAW not in table.extra:
        return table
    used = np.flatnonzero(table.used)
    fits = law_of(table, used, table.value[used].astype(dtype), table.error[used].astype(dtype), laws).fits
    if fits.all():
        return table
    which = np.zeros(len(table), dtype=bool)
    which[used[~fits]] = True
    return table.reject(which, IMPOSSIBLE)


def _kinds(table: ObservationTable) -> list[tuple[str, np.ndarray]]:
    """What is observed, and the rows that observe it, in order."""
    which = np.flatnonzero(table.used)
    names, kind = np.unique(table.variable[which], return_inverse=True)
    order = np.argsort(kind.ravel(), kind="stable")
    rows = np.split(which[order], np.cumsum(np.bincount(kind.ravel(), minlength=len(names)))[:-1])
    return list(zip(names.tolist(), rows, strict=True)) if len(names) else []


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
