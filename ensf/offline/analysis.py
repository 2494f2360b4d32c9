"""Files in, files out: read this first.

`Offline.prepare` reads and checks everything, `Offline.analyse` does it and then the rest: inflation of the forecast,
the analysis part by part in the memory of the forecast, the files.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ensf.arrays import Generator
from ensf.dataset import seen as transformed
from ensf.dataset.local import check_order, place
from ensf.filters.base import Analysis
from ensf.offline import observations as seen
from ensf.offline.coordinates import Coordinates
from ensf.offline.job import Job
from ensf.offline.members import Source, find_files
from ensf.offline.parts import Predicted, cut, find_local, in_parts, on_part, split, whole
from ensf.offline.staging import check_free, staged
from ensf.offline.writer import RECORD, TABLE, Follow, Writer, names

__all__ = ["STAGES", "Offline", "analyse_files"]

STAGES = ("forecast", "preassim", "postassim", "analysis")


def quiet(steps: Iterable[Any], what: str) -> Iterable[Any]:
    """The steps, without showing progress."""
    return steps


@dataclass(frozen=True)
class Offline:
    """An analysis of files.

    Parameters
    ----------
    method : Filter
        `ensf.dataset.Local` for a local filter.
    variables : sequence of str, or mapping of str to settings
        What is analysed, as in `ensf.dataset.analyse`; all variables of floating point if empty.
    checks : tuple of Check
        Of `ensf.tables.quality.checks`, in order.
    member_dim : str
        Dimension that counts the members in one file.
    mask : bool
        NaN in the first member means that there is no data, in every member.
    coordinates, periods : mapping
        As in `ensf.tables.ObservationTable.observe`.
    stages : tuple of str
        Whose member files are written: ``forecast``, ``preassim`` (after inflation of the forecast), ``postassim``
        (before corrections of the spread), ``analysis``.
    statistics : tuple of str
        Stages of which files with mean and spread are written.
    strict : bool
        Refuse a table with a row that cannot be used.

    Raises
    ------
    ValueError
        If there is no such stage.
    """

    method: Any
    variables: Sequence[str] | Mapping[str, Any] = ()
    checks: tuple[Any, ...] = ()
    member_dim: str = "realization"
    mask: bool = False
    coordinates: Mapping[str, str] = field(default_factory=dict)
    periods: Mapping[str, float] = field(default_factory=dict)
    stages: tuple[str, ...] = ("analysis",)
    statistics: tuple[str, ...] = ()
    strict: bool = False

    def __post_init__(self) -> None:
        for stage in (*self.stages, *self.statistics):
            if stage not in STAGES:
                raise ValueError(f"there is no stage {stage!r}: choose from {', '.join(STAGES)}")

    def prepare(
        self, prior: Any, observations: Any, output: Any, *, overwrite: bool = False, follow: Follow = quiet
    ) -> Job:
        """Read and check everything; write nothing.

        Parameters
        ----------
        prior : str, Path, or sequence of these
            Names or patterns of the files of the forecast.
        observations : str or Path
            A table, as `ensf.tables.read` takes it.
        output : str or Path
            Folder; made if it is not there.
        overwrite : bool
            Replace files that are there.
        follow : callable
            ``follow(steps, what)`` gives the same steps and may show progress.

        Returns
        -------
        Job

        Raises
        ------
        ValueError, OSError
            One sentence that names the file, and what to do.
        """
        from ensf import tables

        paths = find_files(prior)
        source = Source.of(paths, self.member_dim, tuple(self.variables), self.mask)
        files = names(source, self.stages, self.statistics)
        _check_apart([*paths, Path(observations)], Path(output), files)
        written = len(self.stages) * sum(path.stat().st_size for path in paths)
        check_free(Path(output), files, written, overwrite)
        table = tables.read(observations)
        options = {"coordinates": self.coordinates, "periods": self.periods}
        observed = seen.meet(table, Path(observations), source.layout, self.checks, options)
        ensemble = source.load(lambda members: follow(members, "reading"))
        settings = self.variables if isinstance(self.variables, Mapping) else {}
        coordinates = Coordinates.fit(settings, source, ensemble)
        observed = seen.check_prior(observed, ensemble, self.checks)
        if self.strict:
            seen.refuse_rejected(observed.table, Path(observations))
        observed = self._located(observed, source, Path(observations))
        observation = transformed(observed.observation, coordinates.blocks(source.layout))
        check_order(self.method, observed.table.axes)
        method = split(self.method)[1]
        parts = [whole(source.layout)]
        if divided := in_parts(method, observation.operator):
            parts = cut(source.layout, method, _positions(observed))
        else:
            place(method, source.layout)
        return Job(source, ensemble, observed, coordinates, parts, divided, Path(observations), Path(output))

    def analyse(
        self,
        prior: Any,
        observations: Any,
        output: Any,
        *,
        rng: Generator,
        memory: Any = None,
        overwrite: bool = False,
        command: str | None = None,
        record: bool = True,
        follow: Follow = quiet,
    ) -> Analysis:
        """Analysis of files into files of the same names in the folder `output`.

        Parameters
        ----------
        prior, observations, output, overwrite, follow
            As in `prepare`.
        rng : numpy.random.Generator
        memory : object
            What the filter left in the cycle before.
        command : str, optional
            Appended to the attribute ``history`` of the files, with the date.
        record : bool
            Write ``observations.nc`` and ``analysis.json`` too.

        Returns
        -------
        Analysis
            Its ensemble ``(member, state)`` is physical; `info` has the table of the observations.

        Raises
        ------
        ValueError, OSError
            As in `prepare`, or if the analysis cannot be stored; the files that were there are untouched.
        """
        job = self.prepare(prior, observations, output, overwrite=overwrite, follow=follow)
        with staged(Path(output), RECORD) as folder:
            writer = Writer(job.source, folder, command, self.stages, self.statistics, follow)
            memory, table = self._run(job, rng, memory, writer, follow)
            if record:
                table.write(folder / TABLE)
                writer.record(self, job, table)
        return Analysis(job.ensemble, memory, {"table": table})

    def _run(self, job: Job, rng: Generator, memory: Any, writer: Writer, follow: Follow) -> tuple[Any, Any]:
        """All stages; the forecast in memory becomes the analysis."""
        inflation, method = split(self.method)
        ensemble, observed = job.ensemble, job.observed
        writer.save("forecast", ensemble)
        if inflation is not None and observed.observation.size:
            _inflate(job, inflation.factor)
        writer.save("preassim", ensemble)
        before = ensemble.copy() if writer.wants("postassim") else None
        if observed.observation.size:
            memory = _assimilate(job, method, rng, memory, before, follow)
        writer.save("postassim", ensemble if before is None else before)
        writer.save("analysis", ensemble)
        return memory, seen.compare(observed, "analysis", ensemble).table

    def _located(self, observed: Any, source: Source, path: Path) -> Any:
        """Observations at places in the coordinates of the localization."""
        local = find_local(self.method)
        if local is None or not observed.observation.size:
            return observed
        position = seen.locate(observed, source.layout, local.dims, self.coordinates, path)
        return replace(observed, observation=replace(observed.observation, position=position))


def _inflate(job: Job, factor: float) -> None:
    """Overwrite the forecast by itself with larger anomalies."""
    for part in job.parts:
        physical = job.ensemble[:, part.index]
        job.ensemble[:, part.index] = job.coordinates.inflated(part.layout, physical, factor)


def _assimilate(job: Job, method: Any, rng: Generator, memory: Any, before: Any, follow: Follow) -> Any:
    """Overwrite the forecast by the analysis, and `before` by what it is without corrections; return the memory."""
    observation, ensemble = job.observed.observation, job.ensemble
    if job.divided:
        observation = replace(observation, operator=Predicted(seen.predict(observation, ensemble)))
    else:
        observation = transformed(observation, job.coordinates.blocks(job.source.layout))
    last, result = rng, memory
    for part in follow(job.parts, "analysis"):
        last = copy.deepcopy(rng)
        filter = on_part(method, part.layout) if job.divided else place(method, part.layout)
        physical = ensemble[:, part.index]
        core, final, result = job.coordinates.analysed(part.layout, physical, observation, filter, last, memory)
        ensemble[:, part.index] = final
        if before is not None:
            before[:, part.index] = core
    rng.bit_generator.state = last.bit_generator.state
    return result


def _positions(observed: Any) -> np.ndarray:
    position = observed.observation.position
    return np.zeros((0, 2)) if position is None else position


def _check_apart(paths: Sequence[Path], output: Path, files: Sequence[str]) -> None:
    """Raise ValueError if a file that is read would be written."""
    read = {path.resolve(): path for path in paths}
    for name in files:
        if (output / name).resolve() in read:
            raise ValueError(f"{read[(output / name).resolve()]} would be overwritten: choose another output folder")


def analyse_files(
    prior: Any, observations: Any, method: Any, output: Any, *, rng: Generator, memory: Any = None, **settings: Any
) -> Analysis:
    """Analysis of files without a record, which replaces files that are there: what cycling needs.

    Parameters
    ----------
    prior, observations, output, rng, memory
        As in `Offline.analyse`.
    method : Filter
    **settings
        Of `Offline`.
    """
    offline = Offline(method, **settings)
    return offline.analyse(prior, observations, output, rng=rng, memory=memory, overwrite=True, record=False)
