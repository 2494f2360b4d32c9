"""Cycles to a CF NetCDF-4 file, one record after another, and back.

A file holds, along the unlimited dimension `time`, mean and spread of forecast and analysis, the truth, the scores,
the rank histogram and the observations with their equivalents; on request the members of every k-th cycle
(`ensf.output` has the table). Every cycle ends with a `sync`: a run that is killed leaves a file with every finished
cycle.

Large fields are compressed (zlib 1, shuffle), one chunk per field. Small ones share a chunk between cycles and are
not compressed, for each `sync` would compress, write and enlarge the shared chunk again. HDF5 keeps no journal: a
kill in the few microseconds in which a sync renews the index of the file can still damage it.
"""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import xarray as xr

from ensf import diagnostics, output
from ensf.output import Row, View

__all__ = ["Writer", "read"]

SMALL = 16384
"""Fields below this number of bytes share a chunk of about this size."""


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
        `standard_name`, `units` of its variable.
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
    ) -> None:
        if time_units not in output.TIME_UNITS:
            raise ValueError(f"unknown unit of time {time_units!r}: give one of {', '.join(output.TIME_UNITS)}")
        sizes = {"realization": members, "rank": members + 1, "observation": observations}
        sizes |= dict(zip(model.dims, model.shape, strict=True))
        self.path, self.model, self.every, self._sizes, self._records = Path(path), model, every, sizes, 0
        self._file = _create(self.path, overwrite)
        with _disk(f"{self.path} could not be created"):
            self._define_file(members, attributes or {}, time_units)
            self._file.sync()

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
        view = View(cycle, diagnostics.scores(cycle) if scores is None else scores, self._sizes["observation"])
        with _disk(f"cycle {cycle.index} could not be written to {self.path}"):
            self._append(view)

    def close(self) -> None:
        """Finish the file; a second call does nothing."""
        if not self._file.isopen():
            return
        with _disk(f"{self.path} could not be finished"):
            self._file.setncatts(_coverage(self._file["time"]))
            self._file.close()

    @np.errstate(all="ignore")
    def _append(self, view: View) -> None:
        if not self._records:
            self._define_from(view)
        wanted = self.every and self._records % self.every == 0
        record = slice(self._records, self._records + 1)
        for variable, row, shape in self._rows + (self._member_rows if wanted else []):
            variable[record] = np.asarray(row.value(view), row.dtype).reshape(shape)
        self._file.sync()
        self._records += 1

    def _define_file(self, members: int, attributes: Mapping[str, Any], time_units: str) -> None:
        self._file.setncatts(_attributes(self.path.stem, attributes))
        for name, size in {"time": None, **self._sizes}.items():
            self._file.createDimension(name, size)
        for name, values, about in _coordinates(self.model, members):
            variable = self._file.createVariable(name, values.dtype, (name,), fill_value=False)
            variable.setncatts(about)
            variable[:] = values
        self._rows = self._define([output.time(time_units), *output.fields(self.model), output.ranks()])
        self._member_rows = self._define(output.members(self.model), shared=False) if self.every else []

    def _define_from(self, view: View) -> None:
        """Variables that the first cycle decides on."""
        if view.observation.position is not None:
            self._sizes["axis"] = view.observation.position.shape[1]
            self._file.createDimension("axis", self._sizes["axis"])
        self._rows += self._define(output.scores(view.scores, self.model))
        self._rows += self._define(output.observations(view.observation, self.model))

    def _define(self, rows: Iterable[Row], shared: bool = True) -> list[tuple[Any, Row, tuple[int, ...]]]:
        """Variable, row and shape of a record for each row."""
        return [(self._variable(row, shared), row, (1, *self._shape(row))) for row in rows]

    def _shape(self, row: Row) -> tuple[int, ...]:
        return tuple(self._sizes[dim] for dim in row.dims)

    def _variable(self, row: Row, shared: bool) -> netCDF4.Variable:
        """Create a variable; records that are small share chunks, if they may."""
        number = row.dtype.startswith("f") and row.name != "time"
        variable = self._file.createVariable(
            row.name,
            row.dtype,
            ("time", *row.dims),
            fill_value=np.nan if number else False,
            **_storage(row, self._shape(row), shared),
        )
        variable.setncatts(row.attributes)
        variable.set_auto_maskandscale(False)
        return variable

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


# --- parts of a file -------------------------------------------------------------------------------------


@contextmanager
def _disk(failure: str) -> Iterator[None]:
    """NetCDF errors as OSError."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(f"{failure} ({error}): is the disk full?") from error


def _create(path: Path, overwrite: bool) -> netCDF4.Dataset:
    """New file; OSError with one clear sentence if there cannot be one."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}: make it, or write elsewhere")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists: write elsewhere, or say overwrite to replace it")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise PermissionError(f"{path} cannot be written: write elsewhere, or change its permissions")
    try:
        return netCDF4.Dataset(path, "w", clobber=overwrite)
    except OSError as error:
        raise OSError(f"{path} cannot be created ({error}): write elsewhere") from error


def _storage(row: Row, shape: tuple[int, ...], shared: bool) -> dict[str, Any]:
    """Chunks and compression."""
    size = max(1, math.prod(shape)) * np.dtype(row.dtype).itemsize
    if size < SMALL and shared:
        return {"chunksizes": (min(512, SMALL // size), *shape)}
    if size >= SMALL and row.dims[0] == "realization":
        shape = (1, *shape[1:])
    return {"chunksizes": (1, *shape), "zlib": True, "complevel": 1, "shuffle": True, "chunk_cache": 0}


KNOWN = {
    "latitude": {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"},
    "longitude": {"standard_name": "longitude", "units": "degrees_east", "axis": "X"},
}


def _coordinates(model: Any, members: int) -> Iterable[tuple[str, np.ndarray, dict[str, str]]]:
    """Name, values and attributes of the coordinates."""
    about = {"standard_name": "realization", "long_name": "ensemble member", "units": "1"}
    yield "realization", np.arange(members, dtype="i4"), about
    yield "rank", np.arange(members + 1, dtype="i4"), {"long_name": "members below the truth", "units": "1"}
    units = getattr(model, "coord_units", {})
    for name, values in getattr(model, "coords", {}).items():
        if name in model.dims:
            values = np.asarray(values)
            about = {"long_name": f"{name} coordinate", "units": units.get(name, "1")} | KNOWN.get(name, {})
            yield name, values.astype("i4") if values.dtype.kind == "i" else values, about


def _attributes(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Global attributes: the defaults, then those given, without empty ones."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    package = f"ensf {version('ensf')}"
    default = {
        "Conventions": "CF-1.11, ACDD-1.3",
        "title": name,
        "summary": "Forecasts and analyses of an ensemble, one per cycle of data assimilation, with their scores",
        "keywords": "data assimilation, ensemble, forecast, analysis",
        "source": package,
        "history": f"{now}: {given.get('command') or package}",
        "date_created": now,
        "id": f"{name.replace(' ', '_')}-{uuid.uuid4()}",
        "naming_authority": "ensf",
        "project": "ensf",
        "institution": "not given",
        "creator_name": "not given",
        "license": "not given",
        "processing_level": "ensemble statistics of model output",
        "standard_name_vocabulary": "CF standard names",
        "comment": "spread: standard deviation of the members, divisor N - 1",
    }
    return {
        key: value if type(value) in (int, float) else str(value)
        for key, value in (default | dict(given)).items()
        if value is not None and str(value)
    }


def _coverage(time: netCDF4.Variable) -> dict[str, str]:
    """Global attributes about the times in the file."""
    if not time.size:
        return {}
    dates: Any = netCDF4.num2date(time[:], time.units, time.calendar)
    seconds = (dates[-1] - dates[0]).total_seconds()
    start, end = (date.isoformat() + "Z" for date in (dates[0], dates[-1]))
    duration, step = (
        f"PT{np.format_float_positional(length, precision=6, trim='-')}S"
        for length in (seconds, seconds / max(1, time.size - 1))
    )
    return {
        "time_coverage_start": start,
        "time_coverage_end": end,
        "time_coverage_duration": duration,
        "time_coverage_resolution": step,
    }
