"""The parts of an analysis of files: each is read, analysed and left as files of its own, by whoever works it.

    source --part k--> (member, entry) --scan-----> what observations read of it
    source --part k--> (member, entry) --analyse--> analysis.k.npy, field_LOOK.k.npy, ... --written--> files of members

What all parts have in common is sent once (`ensf.runs.engines`); a task is a number.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ensf.arrays import member_mean, member_variance
from ensf.dataset.blocks import Transforms
from ensf.dataset.pipeline import Clipped, Pipeline
from ensf.dataset.tiles import Range, Tile, ranges, tile_at
from ensf.filters.base import Filter, Update
from ensf.localization import Localization
from ensf.observations import Observation
from ensf.offline.fields import moments
from ensf.offline.members import Source
from ensf.runs.engines import shared
from ensf.wrappers.failed_members import Replacement

__all__ = ["REPLACED", "Done", "Forecast", "Work", "analyse", "cut_source", "load", "path_of", "scan"]

REPLACED = "replaced"
"""Called as a stage is: what takes the places of members that failed, ``(failed, entry)``."""
Task = tuple[str, int]
"""Name of what is shared, and number of the part."""
VALUES = 2**18, 2**23
"""Values of a part at least and at most, about; a state has 32 parts unless these say otherwise."""


def cut_source(source: Source, localization: Localization | None, values: float = np.inf) -> list[Range]:
    """The parts of a source, with so many values ``(member, entry)`` at most.

    They are whole pieces of the files, which would be read several times otherwise, unless these are too large. Of one
    store they always are, because several workers write into it.
    """
    few, many = VALUES
    number = min(max(few, min(source.layout.size * source.members // 32, many)), values)
    entries = int(number) // source.members

    def multiple(names: Sequence[Hashable], dim: Hashable) -> int:
        grids = [source.layout.template[name] for name in names]
        piece = source.piece(names, dim)
        row = sum(grid.size // grid.sizes[dim] for grid in grids)
        return piece if source.is_one_store or piece * row <= entries else 1

    return ranges(source.layout, localization, entries, multiple)


# --- reading everything once -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Forecast:
    """A forecast to be read once.

    Attributes
    ----------
    source : Source
    parts : list of Range
    transforms : Transforms
        In whose domain it must be.
    read : (entry,) array of int
        Entries of the state that are wanted, ascending.
    """

    source: Source
    parts: Sequence[Range]
    transforms: Transforms
    read: np.ndarray


@dataclass(frozen=True, eq=False)
class Scanned:
    """What is known of a part that was read.

    Attributes
    ----------
    hashes : list of bytes
        A number for each member.
    which : (entry,) array of int
        Which of the wanted entries are in it.
    columns : (member, entry) array
        The members there.
    """

    hashes: list[bytes]
    which: np.ndarray
    columns: np.ndarray


def among(read: np.ndarray, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
    """Which of some entries, ascending, are in a tile, and where there."""
    order = np.argsort(tile.entries, kind="stable")
    place = np.searchsorted(tile.entries, read, sorter=order)
    inside = place < len(order)
    inside[inside] = tile.entries[order[place[inside]]] == read[inside]
    return np.flatnonzero(inside), order[place[inside]]


def scan(task: Task, stopping: Callable[[], bool]) -> Scanned:
    """Read a part, and check it."""
    name, number = task
    forecast: Forecast = shared(name)
    if stopping():
        raise KeyboardInterrupt
    tile = tile_at(forecast.source.layout, forecast.parts[number])
    members = forecast.source.part(tile)
    forecast.transforms.check(tile.layout, members, forecast.source.label)
    which, where = among(forecast.read, tile)
    return Scanned(forecast.source.hashes(tile, members), which, np.ascontiguousarray(members[:, where]))


# --- the analysis ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Work:
    """An update, to be applied to all parts of a source.

    Attributes
    ----------
    source : Source
    method, observation, transforms
        As of `Pipeline`.
    update : Update
    parts : list of Range
    read : (entry,) array of int
        Entries of the state whose analysis is wanted, ascending.
    members, statistics : collection of str
        Stages whose members, and whose mean and spread are wanted.
    folder : Path
        Of the files of parts.
    lag : int
        How many cycles ago the source is of; 0 = now.
    replacement : Replacement, optional
        Of members that failed.
    """

    source: Source
    method: Filter
    observation: Observation
    transforms: Transforms
    update: Update
    parts: Sequence[Range]
    read: np.ndarray
    members: tuple[str, ...]
    statistics: tuple[str, ...]
    folder: Path
    lag: int = 0
    replacement: Replacement | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Without what `pipeline` has made."""
        parts = (self.method, self.observation, self.transforms, self.update, self.parts, self.read)
        return Work, (self.source, *parts, self.members, self.statistics, self.folder, self.lag, self.replacement)

    @cached_property
    def pipeline(self) -> Pipeline:
        """The method on the source."""
        return Pipeline(self.method, self.observation, self.source.layout, self.transforms, self.source.label)

    @property
    def stages(self) -> set[str]:
        """All that are wanted."""
        return {*self.members, *self.statistics}


@dataclass(frozen=True, eq=False)
class Done:
    """What is known of an analysed part.

    Attributes
    ----------
    which : (entry,) array of int
        Which of the wanted entries are in it.
    columns : (member, entry) array
        Analysis at these.
    clipped : Counter
        Number of values that were clipped, by variable and bounds.
    looks : dict of str to dtype
        Names of its fields.
    """

    which: np.ndarray
    columns: np.ndarray
    clipped: Clipped = field(default_factory=Counter)
    looks: Mapping[str, np.dtype] = field(default_factory=dict)


def path_of(folder: Path, what: str, number: int) -> Path:
    """File of a part."""
    return folder / f"{what}.{number}.npy"


def load(folder: Path, what: str, number: int, members: slice = slice(None)) -> np.ndarray:
    """What a part left, of some of the members."""
    return np.ascontiguousarray(np.load(path_of(folder, what, number), mmap_mode="r")[members])


def analyse(task: Task, stopping: Callable[[], bool]) -> Done:
    """Analyse a part, and leave what is wanted of it."""
    name, number = task
    work: Work = shared(name)
    pipeline, update = work.pipeline, work.update
    tile = tile_at(work.source.layout, work.parts[number])
    forecast = work.source.part(tile)
    results = {stage: np.empty_like(forecast) for stage in work.stages | {"analysis"} if stage != "forecast"}
    failed = 0 if work.replacement is None else len(work.replacement.failed)
    replaced = np.empty((failed, forecast.shape[1]), forecast.dtype)
    fields: dict[str, np.ndarray] = {}
    clipped: Clipped = Counter()
    for piece in pipeline.tiles_of(tile):
        if stopping():
            raise KeyboardInterrupt
        members, within = np.ascontiguousarray(forecast[:, piece.within]), piece.within
        if work.replacement is not None:
            replaced[:, within] = pipeline.replaced(update, work.replacement, members, piece, work.lag)
        if work.lag:
            results["analysis"][:, within] = pipeline.smoothed(update, members, piece, work.lag)
            continue
        if "preassim" in results:
            results["preassim"][:, within] = pipeline.before(update, members, piece)
        if "postassim" in results:
            results["postassim"][:, within] = pipeline.uncorrected(update, members, piece)
        done = pipeline.analysed(update, members, piece, clipped)
        results["analysis"][:, within] = done.analysis
        for look, values in {**moments(done), **done.looks}.items():
            fields.setdefault(look, np.full(forecast.shape[1], np.nan, values.dtype))[within] = values
    results["forecast"] = forecast
    for stage in work.stages:
        if stage in work.members:
            _save(path_of(work.folder, stage, number), results[stage])
        if stage in work.statistics:
            mean, spread = member_mean(results[stage]), np.sqrt(member_variance(results[stage]))
            _save(path_of(work.folder, f"{stage}_moments", number), np.stack([mean, spread]))
    if work.replacement is not None:
        _save(path_of(work.folder, REPLACED, number), replaced)
    for look, values in fields.items():
        _save(path_of(work.folder, f"field_{look}", number), values)
    which, where = among(work.read, tile)
    columns = np.ascontiguousarray(results["analysis"][:, where])
    return Done(which, columns, clipped, {look: values.dtype for look, values in fields.items()})


def _save(path: Path, values: np.ndarray) -> None:
    """Whole or not at all: a worker may be killed, or one that was taken for dead may go on."""
    hidden = path.with_suffix(f".{uuid.uuid4().hex}.npy")
    np.save(hidden, values)
    hidden.replace(path)
