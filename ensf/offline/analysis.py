"""Files in, files out: read this first.

`Offline.prepare` reads and checks everything, `Offline.analyse` does it and then the rest: the update of the filter,
prepared once and applied tile by tile in the memory of the forecast (`ensf.dataset.pipeline`), and the files.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ensf.arrays import Generator
from ensf.dataset.blocks import Transforms
from ensf.dataset.methods import Method, check_order, dims_of, find_localization, method_for
from ensf.dataset.pipeline import Follow, Pipeline, quiet
from ensf.dataset.transforms import Setting, several
from ensf.filters.base import Analysis, Memory, Unchanged
from ensf.offline.fields import FIELDS, FieldsFile
from ensf.offline.job import Job
from ensf.offline.members import Source, find_files
from ensf.offline.observations import check_prior, locate, meet, refuse_rejected, set_aside
from ensf.offline.staging import check_free, staged
from ensf.offline.statistics import STATISTICS, Bands, write
from ensf.offline.writer import RECORD, TABLE, Writer, names
from ensf.tables import Check, read

__all__ = ["STAGES", "Offline", "analyse_files"]

STAGES = ("forecast", "preassim", "postassim", "analysis")
Paths = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class Offline:
    """An analysis of files.

    Parameters
    ----------
    method : Filter, callable, str, or None
        As in `ensf.dataset.analyse`: ``"letsf"`` or None is `ensf.letsf` with a first localization from the
        coordinates of the files.
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
    withhold : float
        Part of the places whose observations are not used but scored.
    bands : tuple of float
        Edges of the level bands of the statistics, in the unit of the table's vertical column; by default of about
        equally many levels of the grid.

    Raises
    ------
    ValueError
        If there is no such stage.
    """

    method: Method = None
    variables: Sequence[str] | Mapping[str, Setting] = ()
    checks: tuple[Check, ...] = ()
    member_dim: str = "realization"
    mask: bool = False
    coordinates: Mapping[str, str] = field(default_factory=dict)
    periods: Mapping[str, float] = field(default_factory=dict)
    stages: tuple[str, ...] = ("analysis",)
    statistics: tuple[str, ...] = ()
    strict: bool = False
    withhold: float = 0.0
    bands: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for stage in (*self.stages, *self.statistics):
            if stage not in STAGES:
                raise ValueError(f"there is no stage {stage!r}: choose from {', '.join(STAGES)}")
        if not 0 <= self.withhold < 1:
            raise ValueError(f"withhold is {self.withhold:g}: give a part of the places from 0 to below 1, such as 0.2")

    def prepare(
        self,
        prior: Paths,
        observations: str | Path,
        output: str | Path,
        *,
        overwrite: bool = False,
        follow: Follow = quiet,
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
        table_path, folder = Path(observations), Path(output)
        paths = find_files(prior)
        source = Source.of(paths, self.member_dim, tuple(self.variables), self.mask)
        layout = source.layout

        files = names(source, self.stages, self.statistics)
        _check_apart([*paths, table_path], folder, files)
        check_free(folder, files, len(self.stages) * sum(path.stat().st_size for path in paths), overwrite)

        options = {"coordinates": self.coordinates, "periods": self.periods}
        observed = meet(read(observations), table_path, layout, self.checks, options)
        ensemble = source.load(lambda members: follow(members, "reading"))
        observed = check_prior(observed, ensemble, self.checks)
        observed, withheld = set_aside(observed, self.withhold)
        if self.strict:
            refuse_rejected(observed.table, table_path)
        bands = Bands.of(layout, self.coordinates, self.bands)

        method = method_for(self.method, layout)
        check_order(method, observed.table.axes)
        localization = find_localization(method)
        if localization is not None and observed.observation.size:
            position = locate(observed, layout, dims_of(localization), self.coordinates, table_path)
            observed = replace(observed, observation=replace(observed.observation, position=position))

        settings = self.variables if isinstance(self.variables, Mapping) else {}
        chosen: dict[Hashable, Sequence[Any]] = {name: several(name, setting) for name, setting in settings.items()}
        transforms = Transforms.fit(chosen, layout, ensemble, source.label)
        pipeline = Pipeline.of(method, observed.observation, layout, transforms, source.label)
        return Job(source, ensemble, observed, withheld, bands, pipeline, table_path, folder)

    def analyse(
        self,
        prior: Paths,
        observations: str | Path,
        output: str | Path,
        *,
        rng: Generator,
        memory: Memory = None,
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
            analysis = _run(job, rng, memory, writer, follow)
            if record:
                analysis.info["table"].write(folder / TABLE)
                write(analysis.info["statistics"], folder / STATISTICS)
                writer.record(self, job, analysis.info["table"])
        return analysis


def _run(job: Job, rng: Generator, memory: Memory, writer: Writer, follow: Follow) -> Analysis:
    """All stages; the forecast in memory becomes the analysis."""
    ensemble, pipeline = job.ensemble, job.pipeline
    writer.save("forecast", ensemble)
    update = pipeline.prepare(ensemble, rng, memory) if job.observed.observation.size else Unchanged(memory)
    influence = pipeline.influence(update, ensemble)
    if writer.wants("preassim"):
        writer.save("preassim", pipeline.before(update, ensemble))
    uncorrected = np.empty_like(ensemble) if writer.wants("postassim") else None
    with FieldsFile.open(writer.folder / FIELDS, pipeline.layout, pipeline.length_unit) as fields:
        pipeline.apply(update, ensemble, uncorrected=uncorrected, watch=fields.write, follow=follow)
    if uncorrected is not None:
        writer.save("postassim", uncorrected)
    writer.save("analysis", ensemble)
    table, statistics = job.scored(ensemble, influence)
    return Analysis(ensemble, update.memory, {**update.info, "table": table, "statistics": statistics}, update)


def _check_apart(paths: Sequence[Path], output: Path, files: Sequence[str]) -> None:
    """Raise ValueError if a file that is read would be written."""
    read = {path.resolve(): path for path in paths}
    for name in files:
        if (output / name).resolve() in read:
            raise ValueError(f"{read[(output / name).resolve()]} would be overwritten: choose another output folder")


def analyse_files(
    prior: Paths,
    observations: str | Path,
    method: Method,
    output: str | Path,
    *,
    rng: Generator,
    memory: Memory = None,
    **settings: Any,
) -> Analysis:
    """Analysis of files without a record, which replaces files that are there: what cycling needs.

    Parameters
    ----------
    prior, observations, output, rng, memory
        As in `Offline.analyse`.
    method : Filter, callable, str, or None
        As in `Offline`.
    **settings
        Of `Offline`.
    """
    offline = Offline(method, **settings)
    return offline.analyse(prior, observations, output, rng=rng, memory=memory, overwrite=True, record=False)
