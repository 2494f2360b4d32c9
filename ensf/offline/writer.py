"""The files of an analysis: copies of the forecast's with the analysed variables replaced, statistics, a record."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import netCDF4
import numpy as np

from ensf.dataset import unpack
from ensf.dataset.encoding import FORMER
from ensf.dataset.netcdf import opened, save
from ensf.dataset.pipeline import Follow
from ensf.dataset.stored import LIMITS
from ensf.filters.base import Info
from ensf.offline.fields import FIELDS
from ensf.offline.job import Job
from ensf.offline.members import Source
from ensf.offline.memory import MEMORY
from ensf.offline.observations import counts
from ensf.offline.packing import overwrite
from ensf.offline.statistics import STATISTICS
from ensf.tables import ObservationTable

__all__ = ["RECORD", "TABLE", "Writer", "names"]

RECORD = "analysis.json"
TABLE = "observations.nc"
COLUMNS = 2**20


def names(source: Source, stages: Sequence[str], statistics: Sequence[str], remembers: bool = False) -> list[str]:
    """All files of an analysis, relative to its folder; with a memory if the method remembers something.

    Raises
    ------
    ValueError
        If a member's file is called as a file of the analysis.
    """
    members = _members(source)
    fields = (f"statistics/{stage}_{what}.nc" for stage in statistics for what in ("mean", "spread"))
    others = [*fields, FIELDS, *([MEMORY] if remembers else []), TABLE, STATISTICS, RECORD]
    taken = [name for name in members if name in others]
    if taken:
        raise ValueError(f"a file of the forecast is called {taken[0]}, as one of the analysis: rename it")
    return [_folder(stage) + name for stage in stages for name in members] + others


def _members(source: Source) -> list[str]:
    """Names of the member files, with folders where names alone are not distinct."""
    plain = [path.name for path in source.paths]
    if len(set(plain)) == len(plain):
        return plain
    paths = [path.absolute() for path in source.paths]
    common = os.path.commonpath([path.parent for path in paths])
    return [path.relative_to(common).as_posix() for path in paths]


def _folder(stage: str) -> str:
    return "" if stage == "analysis" else f"{stage}/"


class Writer:
    """Writes stages into a folder.

    Parameters
    ----------
    source : Source
    folder : Path
    command : str or None
        For the attribute ``history``.
    stages, statistics : sequence of str
        Stages whose members, and whose mean and spread are written.
    follow : callable
        ``follow(steps, what)`` gives the same steps and may show progress.
    """

    def __init__(
        self,
        source: Source,
        folder: Path,
        command: str | None,
        stages: Sequence[str],
        statistics: Sequence[str],
        follow: Follow,
    ) -> None:
        self.follow = follow
        self.source, self.folder, self.stages, self.statistics = source, folder, stages, statistics
        self.command = command
        self.history = None if command is None else f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}: {command}"

    def wants(self, stage: str) -> bool:
        """Whether something of a stage is to be written."""
        return stage in self.stages or stage in self.statistics

    def save(self, stage: str, ensemble: np.ndarray) -> None:
        """Write what is wanted of a stage."""
        if stage in self.stages:
            self._members(stage, ensemble)
        if stage in self.statistics:
            mean, spread = _moments(ensemble)
            self._statistic(f"{stage}_mean", mean, "realization: mean")
            self._statistic(f"{stage}_spread", spread, "realization: standard_deviation")

    def save_replaced(self, names: Sequence[str], donors: np.ndarray, ensemble: np.ndarray) -> None:
        """Write members of which there is no forecast: copies of their donors' files with other values."""
        for number, (name, donor) in enumerate(zip(names, donors.tolist(), strict=True)):
            shutil.copyfile(self.source.paths[donor], self.folder / name)
            with opened(self.folder / name, "r+") as file:
                overwrite(file, self.source.layout, ensemble[number : number + 1], None)
                self._append_history(file)

    def overwrite(self, source: Source, ensemble: np.ndarray, names: Sequence[str] = ()) -> None:
        """Replace other variables in files of the analysis that are there: those of the forecast, or of names."""
        if "analysis" not in self.stages:
            return
        for number, name in enumerate(names or _members(source)):
            with opened(self.folder / name, "r+") as file:
                one = ensemble if source.single else ensemble[number : number + 1]
                overwrite(file, source.layout, one, source.layout.member_dim if source.single else None)

    def _members(self, stage: str, ensemble: np.ndarray) -> None:
        places = [(*piece, number) for piece in self.source.pieces for number in range(len(piece[0].paths))]
        files = list(zip(places, _members(self.source), strict=True))
        for (source, columns, number), name in self.follow(files, f"writing {stage}"):
            target = self.folder / (_folder(stage) + name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.paths[number], target)
            here = ensemble if source.single else ensemble[number : number + 1]
            with opened(target, "r+") as file:
                overwrite(file, source.layout, here[:, columns], source.layout.member_dim if source.single else None)
                self._append_history(file)

    def _append_history(self, file: netCDF4.Dataset) -> None:
        if self.history is not None:
            former = str(getattr(file, "history", "")).rstrip("\n")
            file.history = f"{former}\n{self.history}" if former else self.history

    def _statistic(self, name: str, state: np.ndarray, method: str) -> None:
        dataset = unpack(state, self.source.layout)
        for key in dataset.variables:
            dataset[key].encoding = {}
        for variable in dataset.data_vars.values():
            former = [key for key in variable.attrs if key in LIMITS or FORMER.fullmatch(key)]
            kept = {key: value for key, value in variable.attrs.items() if key not in former}
            variable.attrs = kept | {"cell_methods": f"{kept.get('cell_methods', '')} {method}".strip()}
        dataset.attrs["history"] = "\n".join(filter(None, [dataset.attrs.get("history"), self.history]))
        dataset.encoding = {}
        (self.folder / "statistics").mkdir(exist_ok=True)
        compression = {key: {"zlib": True, "complevel": 1} for key in dataset.data_vars if dataset[key].ndim}
        save(dataset, self.folder / "statistics" / f"{name}.nc", compression)

    def record(self, settings: object, job: Job, table: ObservationTable, info: Info) -> None:
        """Write what was done, what was used and rejected, and the numbers that the filter reports."""
        content = {
            "package": f"ensf {version('ensf')}",
            "date_created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "command": self.command,
            "settings": repr(settings),
            "method": repr(job.pipeline.method),
            "forecast": [job.source.label(member) for member in range(job.source.members)],
            "observations": {
                "files": [str(path) for path in job.tables],
                "window": None if job.window is None else [str(time) for time in job.window],
                "rows": counts(table),
            },
            "innovations": _innovations(table),
            "reported": {
                name: number for name, number in info.items() if isinstance(number, float | int) and np.isfinite(number)
            },
        }
        (self.folder / RECORD).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _moments(ensemble: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread, a few columns at a time."""
    mean, spread = np.empty_like(ensemble[0]), np.empty_like(ensemble[0])
    for start in range(0, ensemble.shape[1], COLUMNS):
        columns = slice(start, start + COLUMNS)
        mean[columns] = ensemble[:, columns].mean(axis=0)
        spread[columns] = ensemble[:, columns].std(axis=0, ddof=1)
    return mean, spread


def _innovations(table: ObservationTable) -> dict[str, float | None]:
    """Root mean square of observation minus mean, of forecast and analysis, over the rows that were used."""
    found = {}
    for stage in ("prior", "analysis"):
        departure = (table.value - table.extra[f"{stage}_mean"])[table.used]
        found[f"rms_{stage}"] = float(np.sqrt(np.mean(departure**2))) if len(departure) else None
    return found
