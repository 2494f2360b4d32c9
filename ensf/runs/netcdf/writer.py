"""Cycles to a CF NetCDF-4 file, one record after another, and back.

A file holds, along the unlimited dimension `time`, mean and spread of forecast and analysis, the truth, the scores,
the rank histogram and the observations with their equivalents; for models with `spectral_fields` the spectra of truth,
error and spread; on request the members of every k-th cycle (`ensf.runs.netcdf.variables` has the table). Every cycle
ends with a `sync`: a run that is killed leaves a file with every finished cycle.

Large fields are compressed (zlib 1, shuffle), one chunk per field. Small ones share a chunk between cycles and are
not compressed, for each `sync` would compress, write and enlarge the shared chunk again. HDF5 keeps no journal: a
kill in the few microseconds in which a sync renews the index of the file can still damage it. With a `journal` beside
it, the file is made again (`Writer.resume`) whatever happened to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import netCDF4
import numpy as np

from ensf import diagnostics
from ensf.dataset.netcdf import LOCK, lazy
from ensf.runs.files import expanded
from ensf.runs.netcdf import cf, records, variables
from ensf.runs.netcdf.journal import Journal
from ensf.runs.netcdf.time_units import TIME_UNITS
from ensf.runs.netcdf.variables import Observed, Row, View
from ensf.twin.twin import Cycle, Model

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Writer", "read", "save"]


def read(path: str | Path) -> xr.Dataset:
    """Open a file of `Writer`; `time` is a number, in the units that its attributes say.

    Values are read when they are needed: use the dataset in a ``with`` statement, or close it. For dates use
    `xarray.open_dataset`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a NetCDF file, or damaged.
    """
    path = expanded(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: check its name")
    try:
        return lazy(path)
    except OSError as error:
        raise ValueError(f"{path} is not a NetCDF file, or damaged ({error}): make it again") from error


def save(path: str | Path, cycles: Iterable[Cycle], *, model: Model, **options: Any) -> None:
    """Write cycles to a file, each when it comes.

    Parameters
    ----------
    path : str or Path
    cycles : iterable of Cycle
    model : Model
    **options
        Of `Writer.create`.

    Raises
    ------
    OSError, ValueError
        As `Writer.create` and `Writer.write`; ValueError also if there is no cycle.
    """
    cycles = iter(cycles)
    first = next(cycles, None)
    if first is None:
        raise ValueError(f"there is no cycle to write to {path}: give one or more")
    with Writer.create(path, first, model=model, **options) as writer:
        writer.write(first)
        for cycle in cycles:
            writer.write(cycle)


class _Column(NamedTuple):
    """A variable of the file, what it is, and the shape of one record."""

    variable: netCDF4.Variable
    row: Row
    shape: tuple[int, ...]


class Writer:
    """A file of cycles that is open: `create` or `resume` one, then `write`, at last `close`."""

    def __init__(
        self,
        path: Path,
        file: netCDF4.Dataset,
        model: Model,
        columns: list[_Column],
        member_columns: list[_Column],
        every: int,
        layout: np.dtype,
        journal: Journal | None,
        count: int,
    ) -> None:
        self.path, self.model, self.every = path, model, every
        self._file, self._columns, self._member_columns = file, columns, member_columns
        with LOCK:
            self._members, self._slots = file.dimensions["realization"].size, file.dimensions["observation"].size
        self._layout, self._journal = layout, journal
        self._count = count  # records that the file has

    @classmethod
    def create(
        cls,
        path: str | Path,
        first: Cycle,
        *,
        model: Model,
        scores: Iterable[str] | None = None,
        observations: int = 0,
        attributes: Mapping[str, object] | None = None,
        time_units: str = "1",
        every: int = 0,
        overwrite: bool = False,
        journal: str | Path | None = None,
    ) -> Writer:
        """New file for cycles like the first one, which is not written yet.

        Parameters
        ----------
        path : str or Path
            A file that does not exist yet, in a folder that does.
        first : Cycle
            Tells the number of members, and what there is to say of the observations.
        model : Model
            Publishes `shape` and `dims`; if it has them also `coords`, `coord_units`, and `variable`, `long_name`,
            `standard_name`, `units` of its variable; and `spectral_fields(states)`, a sequence of fields
            ``(..., state)`` whose powers are added to spectra of `spectral_name` in `spectral_units`; and `epoch`, the
            date of model time 0, by default 1 January 2000.
        scores : iterable of str, optional
            Names of the scores that `write` gets; by default those of `ensf.diagnostics.scores`.
        observations : int
            Largest number of observations in a cycle; cycles with fewer are padded. 0 = as in the first.
        attributes : mapping, optional
            Global attributes, the recipe of the run. They replace the defaults.
        time_units : str
            Unit of model time: seconds, minutes, hours, days, or years (of the calendar); 1 if it is dimensionless,
            and written as days.
        every : int
            All members are written in cycles 0, every, 2 every, ...; never if 0. They take no space in other cycles.
        overwrite : bool
            Replace an existing file.
        journal : str or Path, optional
            A file beside it, from which `Writer.resume` makes it again. Remove it when the run is complete.

        Raises
        ------
        FileExistsError
            If the file exists, unless `overwrite`; it is not touched.
        OSError
            If the folder does not exist or cannot be written.
        ValueError
            If the unit of time is unknown, or the model has spectral fields without two dimensions.
        """
        if time_units not in TIME_UNITS:
            raise ValueError(f"unknown unit of time {time_units!r}: give one of {', '.join(TIME_UNITS)}")
        path = expanded(path)
        waves = variables.wavenumbers(model)
        names = diagnostics.scores(first) if scores is None else scores
        file = records.create(path, overwrite)
        with records.disk(f"{path} could not be created"):
            members = first.analysis.ensemble.shape[0]
            file.setncatts(cf.attributes(path.stem, attributes or {}))
            file.createDimension("time", None)
            for name, size in _sizes(first, model, members, observations, waves).items():
                file.createDimension(name, size)
            for name, values, about in cf.coordinates(model, members, waves):
                variable = file.createVariable(name, values.dtype, (name,), fill_value=False)
                variable.setncatts(about)
                variable[:] = values
            observed = Observed.in_cycle(first, model)
            columns = _define(file, variables.of_cycles(model, time_units, names, observed))
            member_columns = _define(file, variables.members(model) if every else (), shared=False)
            file.sync()
        template = path.read_bytes()
        kept = None if journal is None else Journal.create(expanded(journal), template)
        return cls(path, file, model, columns, member_columns, every, records.layout(template), kept, 0)

    @classmethod
    def resume(
        cls,
        path: str | Path,
        journal: str | Path,
        cycles: int,
        *,
        model: Model,
        time_units: str = "1",
        every: int = 0,
        command: str = "",
        attributes: Mapping[str, str] | None = None,
    ) -> Writer:
        """Make a file again from the first `cycles` records of its journal, to go on.

        Parameters
        ----------
        path, journal : str or Path
            The file is replaced, whatever is there.
        cycles : int
            What was written after these is forgotten.
        model, time_units, every
            As the file was made with.
        command : str
            For the attribute `history`.
        attributes : mapping, optional
            Global attributes that are no longer what they were.

        Raises
        ------
        OSError
            If there is no journal, another process is writing, or the file cannot be written.
        ValueError
            If the journal is damaged, has fewer records, or is of a version that wrote no spectra of this model.
        """
        path = expanded(path)
        source = Journal.resume(expanded(journal))
        with ExitStack() as stack, records.disk(f"{path} could not be made again"):
            stack.callback(source.close)
            layout = records.layout(source.template)
            file = records.fill(path, source.template, source.read(cycles, layout), every)
            if variables.wavenumbers(model) and "wavenumber" not in file.dimensions:
                file.close()
                raise ValueError(f"{journal} is of an ensf that wrote no spectra: run anew, or end it with that one")
            names = records.numbers(layout)
            observed = Observed.in_file(file)
            columns = _define(file, variables.of_cycles(model, time_units, names, observed))
            member_columns = _define(file, variables.members(model) if every else (), shared=False)
            file.setncatts(attributes or {})
            if command:
                file.history = f"{file.history}\n{cf.event(command)}"
            file.sync()
            stack.pop_all()
        return cls(path, file, model, columns, member_columns, every, layout, source, cycles)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.close()
        except OSError:
            if kind is None:
                raise

    def write(self, cycle: Cycle, scores: Mapping[str, float] | None = None) -> None:
        """Append one cycle and sync.

        Parameters
        ----------
        cycle : Cycle
        scores : mapping of str to float, optional
            As `ensf.diagnostics.scores` gives, which is called without. Those that the file was made for are written.

        Raises
        ------
        OSError
            If the file cannot be written; the cycles before this one are safe.
        ValueError
            If the ensembles or observations do not fit the file.
        """
        self._check(cycle)
        scores = diagnostics.scores(cycle) if scores is None else scores
        with records.disk(f"cycle {cycle.index} could not be written to {self.path}"):
            self._append(View(cycle, scores, self._slots, self.model))

    def history(self) -> list[tuple[float, dict[str, float]]]:
        """Model time and scores of every cycle, from the journal."""
        if self._journal is None:
            return []
        written = self._journal.read(self._count, self._layout)
        columns = {name: written[name].tolist() for name in records.numbers(self._layout)}
        scores = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return list(zip(written[records.TIME].tolist(), scores, strict=True))

    def remark(self, name: str, text: str) -> None:
        """Write an attribute of the whole file."""
        with records.disk(f"{self.path} could not be written"):
            self._file.setncattr(name, text)

    def close(self) -> None:
        """Finish the file; a second call does nothing."""
        if not self._file.isopen():
            return
        with records.disk(f"{self.path} could not be finished"):
            self._file.setncatts(cf.coverage(self._file["time"]))
            self._file.close()
        if self._journal is not None:
            self._journal.close()

    @np.errstate(all="ignore")
    def _append(self, view: View) -> None:
        """One record to the journal, then to the file."""
        record = np.zeros((), self._layout)
        record[records.TIME] = view.cycle.time
        with_members = bool(self.every) and self._count % self.every == 0
        columns = self._columns + (self._member_columns if with_members else [])
        for column in columns:
            record[column.row.name] = np.asarray(column.row.value(view), column.row.dtype).reshape(column.shape)
        if self._journal is not None:
            used = records.used(self._layout, (column.row.name for column in columns))
            self._journal.write(self._count, record, used)
        for column in columns:
            column.variable[self._count : self._count + 1] = record[column.row.name][None]
        self._file.sync()
        self._count += 1

    def _check(self, cycle: Cycle) -> None:
        expected = (self._members, math.prod(self.model.shape))
        for name, ensemble in (("forecast", cycle.forecast), ("analysis", cycle.analysis.ensemble)):
            fewer = name == "forecast" and 0 < ensemble.shape[0] < self._members
            if tuple(ensemble.shape) != expected and not (fewer and tuple(ensemble.shape[1:]) == expected[1:]):
                raise ValueError(
                    f"the {name} of cycle {cycle.index} has shape {tuple(ensemble.shape)} but {self.path} was made "
                    f"for {expected}: give Writer the model and the number of members of the run"
                )
        if cycle.observation.size > self._slots:
            raise ValueError(
                f"cycle {cycle.index} has {cycle.observation.size} observations but {self.path} was made for "
                f"{self._slots}: give Writer the largest number"
            )


def _sizes(first: Cycle, model: Model, members: int, observations: int, waves: int) -> dict[str, int]:
    """Lengths of the dimensions but time."""
    sizes = {"realization": members, "rank": members + 1, "observation": observations or first.observation.size}
    sizes |= dict(zip(model.dims, model.shape, strict=True))
    if waves:
        sizes["wavenumber"] = waves
    if first.observation.position is not None:
        sizes["axis"] = first.observation.position.shape[1]
    return sizes


def _define(file: netCDF4.Dataset, rows: Iterable[Row], shared: bool = True) -> list[_Column]:
    """Variables for the rows of a table; those that are there already stay."""
    shapes = [(row, tuple(file.dimensions[dim].size for dim in row.dims)) for row in rows]
    return [_Column(records.variable(file, row, shape, shared), row, shape) for row, shape in shapes]
