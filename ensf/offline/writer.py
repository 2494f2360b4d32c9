"""The files of an analysis: copies of the forecast's with the analysed variables replaced, statistics, a record."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ensf.dataset import stores
from ensf.dataset.encoding import FORMER
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
from ensf.offline.parts import REPLACED, load
from ensf.offline.statistics import STATISTICS
from ensf.runs.engines import Workers, shared
from ensf.tables import ObservationTable

__all__ = ["RECORD", "TABLE", "Output", "names", "record", "write_values"]

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
class Copy:
    """A file that is to be written: a copy of one of the forecast's with other numbers.

    Attributes
    ----------
    target, path : Path
        The copy, and what it is a copy of.
    source : Source
        Of that file.
    piece : int
        Which of the pieces of the forecast this is.
    stage : str
        Of which parts have left the numbers.
    members : slice
        Which of these are in the file.
    """

    target: Path
    path: Path
    source: Source
    piece: int
    stage: str
    members: slice

    @property
    def member_dim(self) -> str | None:
        """Dimension of the file that counts its members; None if it has one."""
        return self.source.layout.member_dim if self.source.single else None


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
    replaced : mapping of str to int
        Files of members that failed, all of one time after another, and of whose file each is a copy.
    """

    source: Source
    parts: Sequence[Range]
    left: Path
    folder: Path
    command: str | None
    members: tuple[str, ...]
    statistics: tuple[str, ...]
    replaced: Mapping[str, int] = field(default_factory=dict)
    history: str | None = None

    def write(self, workers: Workers, follow: Follow) -> None:
        """Write all of them."""
        by_part = self.source.is_one_store
        stamped = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}: {self.command}"
        output = replace(self, history=None if self.command is None else stamped)
        for stage in (*self.members, *([REPLACED] if self.replaced else [])):
            copies = output.copies(stage)
            coded = output.begun(copies[0]) if by_part else None
            numbers = range(len(self.parts if by_part else copies))
            with workers.sharing((output, copies, coded)) as name:
                results = workers.completed(_write, [(name, number) for number in numbers])
                for _ in zip(results, follow(numbers, f"writing {stage}"), strict=False):
                    pass
            for copy in copies:
                finish(copy.target)
        for stage in self.statistics:
            output.write_statistics(stage)

    def copies(self, stage: str) -> list[Copy]:
        """The files of a stage, or those of members that failed."""
        if stage == REPLACED:
            pieces = self.source.pieces
            failed = len(self.replaced) // len(pieces)
            return [
                Copy(self.folder / name, source.paths[donor], source, piece, stage, slice(number, number + 1))
                for k, (name, donor) in enumerate(self.replaced.items())
                for piece, number in [divmod(k, failed)]
                for source in [pieces[piece][0]]
            ]
        copies, targets = list[Copy](), iter(_members(self.source))
        for piece, (source, _) in enumerate(self.source.pieces):
            for number, path in enumerate(source.paths):
                members = slice(None) if source.single else slice(number, number + 1)
                target = self.folder / (_folder(stage) + next(targets))
                copies.append(Copy(target, path, source, piece, stage, members))
        return copies

    def begun(self, copy: Copy) -> dict[str, Coding]:
        """Copy a file, and make all true of it but the numbers."""
        copy.target.parent.mkdir(parents=True, exist_ok=True)
        stores.copy(copy.path, copy.target)
        numbers, parts = self.held(copy)
        with raw(copy.target, "r+") as file:
            made = codings(file, copy.source.layout, parts, lambda k: self.of_file(copy, numbers[k]))
            if self.history is not None:
                former = str(file.attributes.get("history", "")).rstrip("\n")
                file.change(file.attributes | {"history": f"{former}\n{self.history}" if former else self.history})
        return made

    def held(self, copy: Copy) -> tuple[list[int], list[Range]]:
        """Numbers of the parts of which a file holds something, and which ranges of its own state that is."""
        within = ((number, self.source.within(part, copy.piece)) for number, part in enumerate(self.parts))
        held = [(number, own[0]) for number, own in within if own is not None]
        return [number for number, _ in held], [part for _, part in held]

    def of_file(self, copy: Copy, number: int) -> np.ndarray:
        """What a file holds of a part, ``(member, entry)``."""
        held = self.source.within(self.parts[number], copy.piece)
        values = load(self.left, copy.stage, number, copy.members)
        return values if held is None else values[:, held[1]]

    def write_parts(self, copy: Copy, coded: Mapping[str, Coding], chosen: Iterable[int]) -> None:
        """Write the numbers of some parts into a file."""
        wanted = set(chosen)
        pieces = (
            (part, self.of_file(copy, number))
            for number, part in zip(*self.held(copy), strict=True)
            if number in wanted
        )
        with raw(copy.target, "r+") as file:
            overwrite(file, copy.source.layout, coded, pieces, copy.member_dim)

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
    copies: Sequence[Copy]
    output, copies, coded = shared(name)
    if stopping():
        raise KeyboardInterrupt
    if coded is not None:
        output.write_parts(copies[0], coded, [number])
    else:
        output.write_parts(copies[number], output.begun(copies[number]), range(len(output.parts)))


def write_values(folder: Path, source: Source, values: np.ndarray, names: Sequence[str]) -> None:
    """Replace variables in files that are there, copies of those of a source.

    Parameters
    ----------
    folder : Path
    source : Source
        Of these variables alone, such as a parameter of the model.
    values : (member, entry) array
    names : sequence of str
        Of the files.
    """
    part = Range(tuple(source.layout.template.data_vars), None, 0, 1)
    member_dim = source.layout.member_dim if source.single else None
    for number, name in enumerate(names):
        members = [values if source.single else values[number : number + 1]]
        with raw(folder / name, "r+") as file:
            coded = codings(file, source.layout, [part], members.__getitem__)
            overwrite(file, source.layout, coded, [(part, members[0])], member_dim)
        finish(folder / name)


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
