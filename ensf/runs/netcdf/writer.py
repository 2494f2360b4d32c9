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
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import xarray as xr

from ensf import diagnostics
from ensf.runs.netcdf import cf
from ensf.runs.netcdf import records as storage
from ensf.runs.netcdf import variables as output
from ensf.runs.netcdf.journal import Journal
from ensf.runs.netcdf.time_units import TIME_UNITS
from ensf.runs.netcdf.variables import Row, View

__all__ = ["Writer", "read"]


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
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}: check its name")
    try:
        return xr.open_dataset(path, engine="netcdf4", decode_times=False)
    except OSError as error:
        raise ValueError(f"{path} is not a NetCDF file, or damaged ({error}): make it again") from error


class Writer:
    """Stream cycles to a file.

    Parameters
    ----------
    path : str or Path
        A file that does not exist yet, in a folder that does.
    model : Model
        Publishes `shape` and `dims`; if it has them also `coords`, `coord_units`, and `variable`, `long_name`,
        `standard_name`, `units` of its variable; and `spectral_fields(states)`, a sequence of fields ``(..., state)``
        whose powers are added to spectra of `spectral_name` in `spectral_units`.
    members : int
        Ensemble size.
    observations : int
        Largest number of observations in a cycle; cycles with fewer are padded.
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
        If the unit of time is unknown.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        model: Any,
        members: int,
        observations: int,
        attributes: Mapping[str, Any] | None = None,
        time_units: str = "1",
        every: int = 0,
        overwrite: bool = False,
        journal: str | Path | None = None,
    ) -> None:
        if time_units not in TIME_UNITS:
            raise ValueError(f"unknown unit of time {time_units!r}: give one of {', '.join(TIME_UNITS)}")
        sizes = {"realization": members, "rank": members + 1, "observation": observations}
        sizes |= dict(zip(model.dims, model.shape, strict=True))
        if waves := output.wavenumbers(model):
            sizes["wavenumber"] = waves
        self._begin(Path(path), storage.create(Path(path), overwrite), sizes, model, every, journal)
        with storage.disk(f"{self.path} could not be created"):
            self._define_grid(members, attributes or {})
            self._define_rows(time_units)
            self._file.sync()

    @classmethod
    def resume(
        cls,
        path: str | Path,
        journal: str | Path,
        cycles: int,
        *,
        model: Any,
        time_units: str = "1",
        every: int = 0,
        command: str = "",
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

        Raises
        ------
        OSError
            If there is no journal, another process is writing, or the file cannot be written.
        ValueError
            If the journal is damaged, has fewer records, or is of a version that wrote no spectra of this model.
        """
        writer, path = cls.__new__(cls), Path(path)
        source = Journal.resume(Path(journal))
        layout = storage.layout(source.template)
        records = source.read(cycles, layout)
        with storage.disk(f"{path} could not be made again"):
            file = storage.fill(path, source.template, records, every)
            sizes = {name: dimension.size for name, dimension in file.dimensions.items() if name != "time"}
            if output.wavenumbers(model) and "wavenumber" not in sizes:
                file.close()
                raise ValueError(f"{journal} is of an ensf that wrote no spectra: run anew, or end it with that one")
            writer._begin(path, file, sizes, model, every, journal)
            writer._journal, writer._layout, writer._records = source, layout, cycles
            writer._define_rows(time_units)
            if command:
                file.history = f"{file.history}\n{cf.event(command)}"
            file.sync()
        return writer

    def _begin(
        self, path: Path, file: netCDF4.Dataset, sizes: dict[str, int], model: Any, every: int, journal: Any
    ) -> None:
        self.path, self._file, self._sizes, self.model, self.every = path, file, sizes, model, every
        self._journal: Journal | None = None
        self._journal_path = None if journal is None else Path(journal)
        self._layout, self._records, self._complete = np.dtype([]), 0, False

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        try:
            self.close()
        except OSError:
            if kind is None:
                raise

    def write(self, cycle: Any, scores: Mapping[str, float] | None = None) -> None:
        """Append one cycle and sync.

        Parameters
        ----------
        cycle : Cycle
        scores : mapping of str to float, optional
            As `ensf.diagnostics.scores` gives, which is called without. The names in the first cycle become
            variables, whatever they are.

        Raises
        ------
        OSError
            If the file cannot be written; the cycles before this one are safe.
        ValueError
            If the ensembles or observations do not fit the file.
        """
        self._check(cycle)
        scores = diagnostics.scores(cycle) if scores is None else scores
        view = View(cycle, scores, self._sizes["observation"], self.model)
        with storage.disk(f"cycle {cycle.index} could not be written to {self.path}"):
            self._append(view)

    def history(self) -> list[tuple[float, dict[str, float]]]:
        """Model time and scores of every cycle, from the journal."""
        if self._journal is None:
            return []
        records = self._journal.read(self._records, self._layout)
        columns = {name: records[name].tolist() for name in storage.numbers(self._layout)}
        scores = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return list(zip(records[storage.TIME].tolist(), scores, strict=True))

    def close(self) -> None:
        """Finish the file; a second call does nothing."""
        if not self._file.isopen():
            return
        with storage.disk(f"{self.path} could not be finished"):
            self._file.setncatts(cf.coverage(self._file["time"]))
            self._file.close()
        if self._journal is not None:
            self._journal.close()

    @np.errstate(all="ignore")
    def _append(self, view: View) -> None:
        if not self._complete:
            self._define_from(view)
        record = np.zeros((), self._layout)
        record[storage.TIME] = view.cycle.time
        wanted = bool(self.every) and self._records % self.every == 0
        rows = self._rows + (self._member_rows if wanted else [])
        for _, row, shape in rows:
            record[row.name] = np.asarray(row.value(view), row.dtype).reshape(shape[1:])
        if self._journal is not None:
            used = storage.used(self._layout, (row.name for _, row, _ in rows))
            self._journal.write(self._records, record, used)
        for variable, row, _ in rows:
            variable[self._records : self._records + 1] = record[row.name][None]
        self._file.sync()
        self._records += 1

    def _define_grid(self, members: int, attributes: Mapping[str, Any]) -> None:
        self._file.setncatts(cf.attributes(self.path.stem, attributes))
        for name, size in {"time": None, **self._sizes}.items():
            self._file.createDimension(name, size)
        for name, values, about in cf.coordinates(self.model, members, self._sizes.get("wavenumber", 0)):
            variable = self._file.createVariable(name, values.dtype, (name,), fill_value=False)
            variable.setncatts(about)
            variable[:] = values

    def _define_rows(self, time_units: str) -> None:
        model = self.model
        states = *output.fields(model), *output.spectra(model)
        self._rows = self._define([output.time(time_units), *states, output.ranks()])
        self._member_rows = self._define(output.members(self.model), shared=False) if self.every else []

    def _define_from(self, view: View) -> None:
        """Variables that the first cycle decides on."""
        if view.observation.position is not None and "axis" not in self._sizes:
            self._sizes["axis"] = view.observation.position.shape[1]
            self._file.createDimension("axis", self._sizes["axis"])
        self._rows += self._define(output.scores(view.scores, self.model))
        self._rows += self._define(output.observations(view.observation, self.model))
        self._complete = True
        if self._records == 0:
            self._start_records()

    def _start_records(self) -> None:
        self._file.sync()
        template = self.path.read_bytes()
        self._layout = storage.layout(template)
        if self._journal_path is not None:
            self._journal = Journal.create(self._journal_path, template)

    def _define(self, rows: Iterable[Row], shared: bool = True) -> list[tuple[Any, Row, tuple[int, ...]]]:
        """Variable, row and shape of a record for each row."""
        shapes = [(row, tuple(self._sizes[dim] for dim in row.dims)) for row in rows]
        return [(storage.variable(self._file, row, shape, shared), row, (1, *shape)) for row, shape in shapes]

    def _check(self, cycle: Any) -> None:
        expected = (self._sizes["realization"], math.prod(self.model.shape))
        for name, ensemble in (("forecast", cycle.forecast), ("analysis", cycle.analysis.ensemble)):
            if tuple(ensemble.shape) != expected:
                raise ValueError(
                    f"the {name} of cycle {cycle.index} has shape {tuple(ensemble.shape)} but {self.path} was made "
                    f"for {expected}: give Writer the model and the number of members of the run"
                )
        if cycle.observation.size > self._sizes["observation"]:
            raise ValueError(
                f"cycle {cycle.index} has {cycle.observation.size} observations but {self.path} was made for "
                f"{self._sizes['observation']}: give Writer the largest number"
            )
