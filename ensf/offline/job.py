"""What is about to be analysed, read and checked; and in words, for a dry run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr

from ensf.dataset.pipeline import Pipeline
from ensf.filters.base import Memory
from ensf.offline.members import Source
from ensf.offline.memory import keepers
from ensf.offline.observations import compare, counts
from ensf.offline.statistics import Bands, by_band
from ensf.offline.windows import Window
from ensf.tables import ObservationTable, Observed
from ensf.tables.flags import USED, WITHHELD
from ensf.wrappers import Parameter

__all__ = ["Job"]

PREPARED = 2
"""Ensembles that a filter that is prepared once needs in memory at most: what is read is transformed."""
WHOLE = 8
"""Ensembles that a filter of the whole state needs in memory, about."""


@dataclass(frozen=True, eq=False)
class Job:
    """An analysis that can begin.

    Attributes
    ----------
    source : Source
    ensemble : (member, state) array
        Physical forecast.
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
    """

    source: Source
    ensemble: np.ndarray
    observed: Observed
    withheld: Observed
    bands: Bands
    pipeline: Pipeline
    tables: tuple[Path, ...]
    output: Path
    window: Window | None = None
    memory: Memory = None
    parameters: tuple[tuple[Parameter, Source], ...] = ()

    @property
    def bytes(self) -> float:
        """Bytes needed at most, about."""
        return self.ensemble.nbytes * (PREPARED if self.pipeline.is_prepared else WHOLE) + 3e8

    def scored(self, analysis: np.ndarray, influence: np.ndarray) -> tuple[ObservationTable, xr.Dataset]:
        """The table with what the analysis ``(member, state)`` predicts and what each row had of it; statistics."""
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

    def lines(self, files: list[str]) -> Iterator[str]:
        """What would be done."""
        members, size = self.ensemble.shape
        source, names = self.source, ", ".join(map(str, self.source.layout.template.data_vars))
        yield f"forecast: {members} members, {source.label(0)} to {source.label(members - 1)}"
        yield f"variables: {names}; {size} values of {self.ensemble.dtype}, {self.ensemble.nbytes / 1e6:.3g} MB"
        if self.window is not None:
            yield "window: " + " to ".join(str(time.astype("datetime64[s]")) for time in self.window)
        yield f"observations: {self.observed.observation.size} of {len(self.observed.table)} rows used"
        yield from (f"    {number} {reason}" for reason, number in counts(self.observed.table).items())
        for parameter, source in self.parameters:
            (name,) = source.layout.template.data_vars
            yield f"parameter {name}, {source.layout.size} of each member: {parameter}"
        tiles = len(self.pipeline.tiles)
        how = f"in {tiles} parts" if self.pipeline.is_prepared else "of the whole state at once"
        yield f"method: {self.pipeline.method}"
        kept = [type(keeper).__name__ for keeper in keepers(self.pipeline.method)]
        if kept:
            yield f"memory of {', '.join(kept)}: {'none yet' if self.memory is None else 'of the analysis before'}"
        yield f"analysis {how}, about {self.bytes / 1e9:.2g} GB of memory"
        yield f"files in {self.output}: {', '.join(files[:3])}{f' ... {files[-1]}' if len(files) > 3 else ''}"
        yield from self.observed.far_off()
