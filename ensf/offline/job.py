"""What is about to be analysed, read and checked; and in words, for a dry run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr

from ensf.dataset.methods import find_localization, inside, loop_of, reach_of
from ensf.dataset.pipeline import Pipeline
from ensf.dataset.tiles import Range, layout_at
from ensf.filters.base import Filter, Memory, Preparable
from ensf.offline.members import Source
from ensf.offline.memory import keepers
from ensf.offline.observations import Columns, compare, counts
from ensf.offline.parts import cut_source
from ensf.offline.statistics import Bands, by_band
from ensf.offline.windows import Span
from ensf.runs.patterns import find_files
from ensf.tables import ObservationTable, Observed
from ensf.tables.flags import USED, WITHHELD
from ensf.wrappers import AdditiveNoise, Parameter
from ensf.wrappers.model_in_the_loop import BLOCKS

__all__ = ["Job", "check_limit", "cut_within"]

ALWAYS = 4e8
"""Bytes of a process that has imported what it needs."""
PART = 10
"""Parts in the widest type that a process needs at once, about: forecast, analysis, and what is on the way."""
OBSERVED = 40
"""The same of what is read of the forecast at observations, of which the update is made."""
WHOLE = 8
"""Ensembles that a filter of the whole state needs in memory, about."""
CATALOGUE = 2
"""Catalogues of states in memory at once: as the files have them, and as the filter takes them."""


def bytes_beside(source: Source, method: Filter, parameters: Iterable[Source]) -> float:
    """Bytes of what is whole in memory with any filter, about: catalogues of states, and the largest parameter.

    Raises
    ------
    FileNotFoundError
        If a catalogue is names of files and there is none.
    """
    states = 0
    for one in inside(method):
        if isinstance(one, AdditiveNoise):
            catalogue = one.catalogue
            states += len(find_files(catalogue, "the catalogue") if isinstance(catalogue, str) else catalogue)
    fields = (one.members * one.layout.size * one.dtype.itemsize for one in parameters)
    return CATALOGUE * states * source.layout.size * source.dtype.itemsize + WHOLE * max(fields, default=0)


def whole_ensembles(method: Filter) -> int:
    """Ensembles that a method needs in memory, about; none if it is prepared once, three times as many in a loop."""
    return 0 if isinstance(method, Preparable) else WHOLE * (1 if loop_of(method) is None else BLOCKS)


def bytes_needed(source: Source, parts: Sequence[Range], whole: int, beside: float, observed: int = 0) -> float:
    """Bytes that each process needs at most, about.

    Parameters
    ----------
    source : Source
    parts : sequence of Range
    whole : int
        As of `whole_ensembles`.
    beside : float
        As of `bytes_beside`.
    observed : int
        Bytes of the forecast at observations.
    """
    largest = max((layout_at(source.layout, part).size for part in parts), default=0) * source.members * 8.0
    states = whole * source.layout.size * source.members * source.dtype.itemsize
    return ALWAYS + PART * largest + OBSERVED * observed + states + beside


def check_limit(memory_limit: float) -> None:
    """Raise ValueError if it is no number of GB."""
    if not memory_limit >= 0:
        raise ValueError(f"memory_limit is {memory_limit:g}: give GB for each process, or 0 for no limit")


def cut_within(
    memory_limit: float, source: Source, method: Filter, parameters: Sequence[Source] = (), read: int = 0
) -> list[Range]:
    """The parts of a source, small enough for the memory of each process.

    Parameters
    ----------
    memory_limit : float
        GB; 0 = no limit.
    source : Source
    method : Filter
    parameters : sequence of Source
        Variables that are parameters of the model.
    read : int
        Values of each member that observations read.

    Raises
    ------
    ValueError
        If the smallest part, or what the method needs beside it, does not fit into the memory.
    """
    limit = memory_limit * 1e9 if memory_limit else np.inf
    localization, whole = find_localization(method), whole_ensembles(method)
    parts = cut_source(source, localization)
    beside, observed = bytes_beside(source, method, parameters), read * source.members * source.dtype.itemsize
    needed = bytes_needed(source, parts, whole, beside, observed)
    while needed > limit and max(part.stop - part.start for part in parts) > 1:
        fewer = max(layout_at(source.layout, part).size for part in parts) * source.members / 2
        smaller = cut_source(source, localization, fewer)
        if len(smaller) == len(parts):
            break
        parts = smaller
        needed = bytes_needed(source, parts, whole, beside, observed)
    if needed <= limit:
        return parts
    more = f", with {beside / 1e9:.3g} GB of catalogues and parameters," if beside else ""
    what = f"{type(method).__name__}, which takes whole states," if whole else f"one part of the state{more}"
    advice = "a filter such as LETKF or LETSF" if whole else "store the state in smaller pieces"
    alone, predicted = (bytes_needed(source, (), 0, 0.0, size) for size in (0, observed))
    if alone <= limit < predicted:
        what, advice = f"an update by the members at {read} observed values", "thin the observations"
    raise ValueError(
        f"memory_limit is {memory_limit:.3g} GB but {what} needs {needed / 1e9:.3g} GB: give more, or {advice}"
    )


@dataclass(frozen=True, eq=False)
class Job:
    """An analysis that can begin.

    Attributes
    ----------
    source : Source
    parts : list of Range
        What is read, analysed and written at once.
    columns : Columns
        Forecast where it is observed.
    observed : Observed
        The table, with codes and what the forecast predicts, and the observation.
    withheld : Observed
        The observations that are scored and not used, of the same table.
    bands : Bands
        Of the statistics.
    pipeline : Pipeline
        The filter, and the observations as it sees them.
    tables : tuple of Path
        Files of the observations.
    output : Path
    window : tuple of two datetime64, or None
        Times of observations that are used, the second excluded; None = all.
    memory : object
        What the filter remembers of the cycle before.
    parameters : tuple of (Parameter, Source)
        Parameters of the model, and the files that they are variables of.
    converted : tuple of str
        Which rows were in other units than their variable, in words.
    """

    source: Source
    parts: Sequence[Range]
    columns: Columns
    observed: Observed
    withheld: Observed
    bands: Bands
    pipeline: Pipeline
    tables: tuple[Path, ...]
    output: Path
    window: Span | None = None
    memory: Memory = None
    parameters: tuple[tuple[Parameter, Source], ...] = ()
    converted: tuple[str, ...] = ()

    @property
    def needed(self) -> np.ndarray:
        """The forecast where the filter needs it, ``(member, entry)``; of a filter of whole states where observed."""
        return self.columns.at(self.pipeline.needed)

    @property
    def parameter_units(self) -> dict[str, str]:
        """Units of the parameters of the model that have some."""
        grids = {str(name): grid for _, source in self.parameters for name, grid in source.layout.template.items()}
        return {name: str(grid.attrs["units"]) for name, grid in grids.items() if "units" in grid.attrs}

    @property
    def bytes(self) -> float:
        """Bytes that each process needs at most, about."""
        beside = bytes_beside(self.source, self.pipeline.method, [source for _, source in self.parameters])
        whole = whole_ensembles(self.pipeline.method)
        return bytes_needed(self.source, self.parts, whole, beside, self.columns.values.nbytes)

    def scored(self, analysis: Columns, influence: np.ndarray) -> tuple[ObservationTable, xr.Dataset]:
        """The table with what the analysis predicts and what each row had of it; statistics."""
        table = compare(self.observed, "analysis", analysis).table
        column = np.full(len(table), np.nan)
        column[self.observed.used] = influence
        table = replace(table, extra={**table.extra, "influence": column, "level": self._levels()})
        table = compare(replace(self.withheld, table=table), "analysis", analysis).table
        template = self.source.layout.template
        units = {name: variable.attrs["units"] for name, variable in template.items() if "units" in variable.attrs}
        return table, by_band(table, self.bands, units)

    def _levels(self) -> np.ndarray:
        """Each row in the vertical coordinate of its variable, ``(row,)``; NaN where there is none."""
        table, stations = self.observed.table, self.observed.stations
        level = table.height.copy()
        for name in np.unique(table.variable[np.isin(table.codes, (USED, WITHHELD))]).tolist():
            if name in stations.layout.template.data_vars:
                rows = table.variable == name
                level[rows] = stations.heights(name)[rows]
        return level

    def check_method(self, seed: int) -> None:
        """Raise ValueError if the filter does not take these observations, as one for Gaussian errors other laws.

        A filter of whole states is not asked: that is the analysis.
        """
        if self.pipeline.is_prepared:
            self.pipeline.prepare(self.needed, np.random.default_rng(seed), self.memory)

    def lines(self, files: list[str]) -> Iterator[str]:
        """What would be done."""
        source = self.source
        members, size, dtype = source.members, source.layout.size, source.dtype
        names = ", ".join(map(str, source.layout.template.data_vars))
        yield f"forecast: {members} members, {source.label(0)} to {source.label(members - 1)}"
        yield f"variables: {names}; {size} values of {dtype}, {members * size * dtype.itemsize / 1e6:.3g} MB"
        if self.window is not None:
            yield "window: " + " to ".join(str(time.astype("datetime64[s]")) for time in self.window)
        yield f"observations: {self.observed.observation.size} of {len(self.observed.table)} rows used"
        yield from (f"    {number} {reason}" for reason, number in counts(self.observed.table).items())
        yield from (f"    {one}" for one in self.converted)
        laws, rows = np.unique(self.observed.table.laws[self.observed.used], return_counts=True)
        yield from (
            f"    {number} with the law {law}" for law, number in zip(laws.tolist(), rows.tolist(), strict=True) if law
        )
        for parameter, source in self.parameters:
            (name,) = source.layout.template.data_vars
            yield f"parameter {name}, {source.layout.size} of each member: {parameter}"
        how = f"in {len(self.parts)} parts" if self.pipeline.is_prepared else "of the whole state at once"
        yield f"method: {self.pipeline.method}"
        yield f"localization: {reach_of(self.pipeline.method, self.source.layout)}"
        kept = [type(keeper).__name__ for keeper in keepers(self.pipeline.method)]
        if kept:
            yield f"memory of {', '.join(kept)}: {'none yet' if self.memory is None else 'of the analysis before'}"
        yield f"analysis {how}, about {self.bytes / 1e9:.2g} GB of memory"
        yield f"files in {self.output}: {', '.join(files[:3])}{f' ... {files[-1]}' if len(files) > 3 else ''}"
        yield from self.observed.far_off()
