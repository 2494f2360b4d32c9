"""The files of an analysis: copies of the forecast's with the analysed variables replaced, statistics, a record."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ensf.dataset.encoding import FORMER
from ensf.dataset.netcdf import is_store
from ensf.dataset.pipeline import Follow
from ensf.dataset.raw import finish, raw
from ensf.dataset.stored import LIMITS
from ensf.dataset.tiles import Range
from ensf.filters.base import Info
from ensf.offline.fields import FIELDS, GridFile
from ensf.offline.job import Job
from ensf.offline.members import Source
from ensf.offline.memory import MEMORY
from ensf.offline.observations import counts
from ensf.offline.packing import Coding, codings, overwrite
from ensf.offline.parts import load
from ensf.offline.statistics import STATISTICS
from ensf.runs.engines import Workers, shared
from ensf.tables import ObservationTable

__all__ = ["RECORD", "TABLE", "Output", "names", "record"]

RECORD = "analysis.json"
TABLE = "observations.nc"


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


@dataclass(frozen=True, eq=False)
class Output:
    """Files that are to be written of what parts have left.

    Attributes
    ----------
    source : Source
        Whose copies they are.
    parts : sequence of Range
    left : Path
        Folder of what parts have left.
    folder : Path
    command : str or None
        For the attribute ``history``.
    members, statistics : tuple of str
        Stages whose members, and whose mean and spread are written.
    """

    source: Source
    parts: Sequence[Range]
    left: Path
    folder: Path
    command: str | None
    members: tuple[str, ...]
    statistics: tuple[str, ...]
    history: str | None = None
    coded: Mapping[str, Mapping[str, Coding]] = field(default_factory=dict)

    def write(self, workers: Workers, follow: Follow) -> None:
        """Write all of them."""
        by_part = self.source.is_one_store
        stamped = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}: {self.command}"
        output = replace(self, history=None if self.command is None else stamped)
        if by_part:
            output = replace(output, coded={stage: output.begun(stage, 0) for stage in self.members})
        for stage in self.members:
            numbers = range(len(self.parts if by_part else self.source.paths))
            with workers.sharing((output, stage)) as name:
                results = workers.completed(_write, [(name, number) for number in numbers])
                for _ in zip(results, follow(numbers, f"writing {stage}"), strict=False):
                    pass
            for number in range(len(self.source.paths)):
                finish(self.path(stage, number))
        for stage in self.statistics:
            output.write_statistics(stage)

    def path(self, stage: str, number: int) -> Path:
        """Copy of a file."""
        return self.folder / (_folder(stage) + _members(self.source)[number])

    def begun(self, stage: str, number: int) -> dict[str, Coding]:
        """Copy a file, and make all true of it but the numbers."""
        target, path = self.path(stage, number), self.source.paths[number]
        target.parent.mkdir(parents=True, exist_ok=True)
        if is_store(path):
            shutil.rmtree(target, ignore_errors=True)  # of a worker that died
            shutil.copytree(path, target)
        else:
            shutil.copyfile(path, target)
        with raw(target, "r+") as file:
            made = codings(file, self.source.layout, self.parts, lambda part: self.of_file(stage, part, number))
            if self.history is not None:
                former = str(file.attributes.get("history", "")).rstrip("\n")
                file.change(file.attributes | {"history": f"{former}\n{self.history}" if former else self.history})
        return made

    def of_file(self, stage: str, part: int, number: int) -> np.ndarray:
        """Members of a part that are in a file."""
        members = slice(None) if self.source.single else slice(number, number + 1)
        return load(self.left, stage, part, members)

    def write_parts(self, stage: str, number: int, coded: Mapping[str, Coding], parts: Sequence[int]) -> None:
        """Write the numbers of some parts into a file."""
        layout = self.source.layout
        pieces = ((self.parts[part], self.of_file(stage, part, number)) for part in parts)
        with raw(self.path(stage, number), "r+") as file:
            overwrite(file, layout, coded, pieces, layout.member_dim if self.source.single else None)

    def write_statistics(self, stage: str) -> None:
        """Write mean and spread."""
        layout = self.source.layout
        (self.folder / "statistics").mkdir(exist_ok=True)
        attributes = dict(layout.template.attrs)
        attributes["history"] = "\n".join(filter(None, [attributes.get("history"), self.history]))
        for row, (what, method) in enumerate((("mean", "mean"), ("spread", "standard_deviation"))):
            grids = layout.template.items()
            names = {name: (str(name), _of_statistic(grid.attrs, method)) for name, grid in grids}
            pieces = ((part, load(self.left, f"{stage}_moments", k)[row]) for k, part in enumerate(self.parts))
            with GridFile.open(self.folder / "statistics" / f"{stage}_{what}.nc", layout, attributes) as file:
                file.write(names, pieces)


def _of_statistic(attributes: Mapping[str, Any], method: str) -> dict[str, Any]:
    kept = {key: value for key, value in attributes.items() if key not in LIMITS and not FORMER.fullmatch(key)}
    return kept | {"cell_methods": f"{kept.get('cell_methods', '')} realization: {method}".strip()}


def _write(task: tuple[str, int], stopping: Callable[[], bool]) -> None:
    """Write a file, or a part of the one store."""
    name, number = task
    output: Output
    output, stage = shared(name)
    if stopping():
        raise KeyboardInterrupt
    if output.coded:
        output.write_parts(stage, 0, output.coded[stage], [number])
    else:
        output.write_parts(stage, number, output.begun(stage, number), range(len(output.parts)))


def record(path: Path, settings: object, job: Job, table: ObservationTable, info: Info, command: str | None) -> None:
    """Write what was done, what was used and rejected, and the numbers that the filter reports."""
    content = {
        "package": f"ensf {version('ensf')}",
        "date_created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "command": command,
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
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _innovations(table: ObservationTable) -> dict[str, float | None]:
    """Root mean square of observation minus mean, of forecast and analysis, over the rows that were used."""
    found = {}
    for stage in ("prior", "analysis"):
        departure = (table.value - table.extra[f"{stage}_mean"])[table.used]
        found[f"rms_{stage}"] = float(np.sqrt(np.mean(departure**2))) if len(departure) else None
    return found
