"""Files in, files out: read this first.

`Offline.prepare` reads and checks everything, `Offline.analyse` does it and then the rest: the update of the filter,
prepared once and applied tile by tile in the memory of the forecast (`ensf.dataset.pipeline`), and the files.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ensf.arrays import Generator
from ensf.dataset.blocks import Transforms
from ensf.dataset.methods import Method, beside_parameters, find_localization, inside, method_for, with_catalogues
from ensf.dataset.pipeline import Follow, Pipeline, quiet
from ensf.dataset.transforms import Setting, several
from ensf.filters.base import Analysis, Memory, Update
from ensf.offline.fields import FIELDS, FieldsFile
from ensf.offline.job import Job
from ensf.offline.members import Source
from ensf.offline.memory import MEMORY, keepers, read_memory, write_memory
from ensf.offline.observations import check_prior, locate, meet, named, refuse_rejected, set_aside
from ensf.offline.staging import check_free, staged
from ensf.offline.statistics import STATISTICS, Bands, write
from ensf.offline.times import TimesSource
from ensf.offline.windows import window_of
from ensf.offline.writer import RECORD, TABLE, Writer, names
from ensf.runs.files import expanded, resolved
from ensf.runs.owner import owned
from ensf.runs.patterns import find_files
from ensf.tables import Check, Correlation, read
from ensf.wrappers.failed_members import FailedMembers, Replacement, of_other_members
from ensf.wrappers.parameters import Parameter, check_preparable

__all__ = ["STAGES", "Earlier", "Offline", "Replaced", "analyse_files"]

LOGGER = logging.getLogger("ensf")
STAGES = ("forecast", "preassim", "postassim", "analysis")
Paths = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class Earlier:
    """The files of an earlier cycle, to be corrected by the update of this one.

    Parameters
    ----------
    paths : tuple of Path
        As the updates since then have left them; they stay as they are.
    lag : int
        How many cycles ago.
    folder : Path
        Of the corrected copies, which have the names of the files.
    """

    paths: tuple[Path, ...]
    lag: int
    folder: Path

    def source(self, now: Source) -> Source:
        """The source of the files, which must be like those of the forecast.

        Raises
        ------
        ValueError, OSError
            If one cannot be read, or they are not like the forecast's; it names them.
        """
        layout = now.layout
        masked = bool(layout.masks)
        names = tuple(map(str, layout.template.data_vars))
        source = Source.of(self.paths, layout.member_dim, names, masked, now.coordinates)
        if source.members != now.members or source.layout.size != layout.size:
            raise ValueError(
                f"{source.label(0)} and its like are {source.members} members of {source.layout.size} values but the "
                f"forecast has {now.members} of {layout.size}: give earlier states of the same members and grid"
            )
        return source

    def correct(
        self, job: Job, source: Source, update: Update, command: str | None, replaced: Replaced | None = None
    ) -> None:
        """Write the corrected copies."""
        ensemble = source.load()
        made = job.pipeline.smooth(update, ensemble, self.lag, replaced.replacement if replaced else None)
        self.folder.mkdir(parents=True, exist_ok=True)
        writer = Writer(source, self.folder, command, ("analysis",), (), quiet)
        writer.save("analysis", ensemble)
        if replaced:
            writer.save_replaced(replaced.names, replaced.replacement.donors, made)


@dataclass(frozen=True, eq=False)
class Replaced:
    """Members whose forecast failed, to be replaced by what the analysis makes of the others.

    Parameters
    ----------
    names : tuple of str
        Of their files.
    replacement : Replacement
    """

    names: tuple[str, ...]
    replacement: Replacement


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
    good : tuple of int
        Codes in the column `qc` of rows that are to be used.
    surface : tuple of str
        Variables with levels of which rows without a height see the level nearest to the surface.
    correlation : Correlation, optional
        Of the errors of the rows of one group, as in `ensf.tables.ObservationTable.observe`.
    parameters : mapping of str to Parameter
        Variables that are parameters of the model, numbers or fields, as in `ensf.dataset.analyse`.
    by_time : bool
        Each name or pattern of the forecast is the files of one time, from the first to the last.
    window : str
        Times of rows that are used: ``START/END``, the end excluded; a duration such as ``6h``, centred at the time of
        the forecast; or ``all``. By default six hours if the files say what time it is.

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
    good: tuple[int, ...] = (0,)
    surface: tuple[str, ...] = ()
    correlation: Correlation | None = None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    by_time: bool = False
    window: str = ""

    def __post_init__(self) -> None:
        if self.by_time and self.parameters:
            raise ValueError("parameters cannot be in files of one time each: leave by_time or the parameters out")
        if self.by_time and self.window and self.window != "all" and "/" not in self.window:
            raise ValueError(f"window {self.window!r} has no centre with a file for each time: give START/END, or all")
        for stage in (*self.stages, *self.statistics):
            if stage not in STAGES:
                raise ValueError(f"there is no stage {stage!r}: choose from {', '.join(STAGES)}")
        for name in self.parameters:
            if name in self.variables:
                raise ValueError(f"{name!r} is a parameter and among variables: name it in one of them")
        if not 0 <= self.withhold < 1:
            raise ValueError(f"withhold is {self.withhold:g}: give a part of the places from 0 to below 1, such as 0.2")

    def prepare(
        self,
        prior: Paths,
        observations: Paths,
        output: str | Path,
        *,
        memory: Memory | str | Path = None,
        overwrite: bool = False,
        follow: Follow = quiet,
    ) -> Job:
        """Read and check everything; write nothing.

        Parameters
        ----------
        prior : str, Path, or sequence of these
            Names or patterns of the files of the forecast.
        observations : str, Path, or sequence of these
            Tables, as `ensf.tables.read` takes them.
        output : str or Path
            Folder; made if it is not there.
        memory : object, str or Path
            What the filter left in the cycle before, or its file ``memory.nc``.
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
        folder, paths = expanded(output), find_files(prior, "the forecast")
        tables = find_files(observations, "the observations")
        of_source = partial(Source.of, paths, self.member_dim, mask=self.mask, coordinates=[*self.coordinates.values()])
        source = self._of_times(prior) if self.by_time else of_source(self.variables, without=tuple(self.parameters))
        parameters = {name: of_source((name,)) for name in self.parameters}
        layout = source.layout

        method = method_for(beside_parameters(self.method) if parameters else self.method, layout)
        if parameters:
            check_preparable(method)
        if any(isinstance(one, FailedMembers) for one in inside(method)):
            raise ValueError(
                f"method {method!r} holds FailedMembers, which is for arrays and Datasets: give the filter inside, and "
                "name the files without those of failed members; ensf cycle has min_members"
            )
        files = names(source, self.stages, self.statistics, bool(keepers(method)))
        former = [expanded(memory)] if isinstance(memory, str | Path) else []
        _check_apart([*paths, *tables, *former], folder, files)
        check_free(folder, files, len(self.stages) * sum(path.stat().st_size for path in paths), overwrite)

        window = window_of(self.window or ("all" if self.by_time else ""), paths)
        table = read(tables, good=self.good)
        table = table if window is None else table.within(*window)
        options = {
            "coordinates": self.coordinates,
            "periods": self.periods,
            "surface": self.surface,
            "correlation": self.correlation,
        }
        observed = meet(table, named(tables), layout, self.checks, options)
        ensemble = source.load(lambda members: follow(members, "reading"))
        observed = check_prior(observed, ensemble, self.checks)
        observed, withheld = set_aside(observed, self.withhold)
        if self.strict:
            refuse_rejected(observed.table, bool(self.window))
        bands = Bands.of(layout, self.coordinates, self.bands)

        for path in former:
            memory = read_memory(path, method, layout, ensemble.dtype)
        observed = locate(observed, find_localization(method), named(tables))

        settings = self.variables if isinstance(self.variables, Mapping) else {}
        chosen: dict[Hashable, Sequence[Any]] = {name: several(name, setting) for name, setting in settings.items()}
        transforms = Transforms.fit(chosen, layout, ensemble, source.label)
        blocks = transforms.blocks(layout)
        method = with_catalogues(
            method, lambda pattern: blocks.forward(source.catalogue(find_files(pattern, "the catalogue")))
        )
        pipeline = Pipeline.of(method, observed.observation, layout, transforms, source.label)
        read_parameters = tuple((one, parameters[name]) for name, one in self.parameters.items())
        return Job(
            source, ensemble, observed, withheld, bands, pipeline, tables, folder, window, memory, read_parameters
        )

    def _of_times(self, prior: Paths) -> Source:
        patterns = [prior] if isinstance(prior, str | Path) else prior
        groups = [find_files(pattern, "the forecast") for pattern in patterns]
        return TimesSource.of_times(groups, self.member_dim, self.variables, self.mask, self.coordinates.values())

    def analyse(
        self,
        prior: Paths,
        observations: Paths,
        output: str | Path,
        *,
        rng: Generator,
        memory: Memory | str | Path = None,
        overwrite: bool = False,
        command: str | None = None,
        record: bool = True,
        earlier: Sequence[Earlier] = (),
        replaced: Replaced | None = None,
        follow: Follow = quiet,
    ) -> Analysis:
        """Analysis of files into files of the same names in the folder `output`, which is owned meanwhile.

        Parameters
        ----------
        prior, observations, output, memory, overwrite, follow
            As in `prepare`.
        rng : numpy.random.Generator
        command : str, optional
            Appended to the attribute ``history`` of the files, with the date.
        record : bool
            Write ``observations.nc``, ``statistics.nc`` and ``analysis.json`` too.
        earlier : sequence of Earlier
            Files of earlier cycles, of which corrected copies are written.
        replaced : Replaced, optional
            Members of which there is no forecast, whose files are written too; the forecast has a file per member.

        Returns
        -------
        Analysis
            Its ensemble ``(member, state)`` is physical; `info` has the table of the observations and its statistics.
            If the filter remembers something, ``memory.nc`` is in the folder.

        Raises
        ------
        ValueError, OSError
            As in `prepare`, or if the analysis cannot be stored; the files that were there are untouched.
        """
        place = expanded(output)
        with owned(place) as fresh:
            job = self.prepare(prior, observations, place, memory=memory, overwrite=overwrite, follow=follow)
            strange = job.observed.far_off()
            former = [(one, one.source(job.source)) for one in earlier]
            with staged(place, RECORD, fresh) as folder:
                writer = Writer(job.source, folder, command, self.stages, self.statistics, follow)
                analysis = _run(job, rng, writer, follow, replaced)
                assert analysis.update is not None
                for one, source in former:
                    one.correct(job, source, analysis.update, command, replaced)
                if keepers(job.pipeline.method):
                    write_memory(folder / MEMORY, analysis.memory, job.pipeline.method, job.source.layout)
                if record:
                    analysis.info["table"].write(folder / TABLE)
                    write(analysis.info["statistics"], folder / STATISTICS)
                    writer.record(self, job, analysis.info["table"], analysis.info)
        for sentence in strange:
            LOGGER.warning(sentence)
        return analysis


def _run(job: Job, rng: Generator, writer: Writer, follow: Follow, replaced: Replaced | None) -> Analysis:
    """All stages; the forecast in memory becomes the analysis."""
    ensemble, pipeline = job.ensemble, job.pipeline
    writer.save("forecast", ensemble)
    update = pipeline.prepare(ensemble, rng, job.memory)
    influence = pipeline.influence(update, ensemble)
    if writer.wants("preassim"):
        writer.save("preassim", pipeline.before(update, ensemble))
    uncorrected = np.empty_like(ensemble) if writer.wants("postassim") else None
    with FieldsFile.open(writer.folder / FIELDS, pipeline.layout, pipeline.length_unit) as fields:
        replacement = replaced.replacement if replaced else None
        made = np.empty((len(replacement.failed) if replacement else 0, ensemble.shape[1]), ensemble.dtype)
        pipeline.apply(
            update,
            ensemble,
            uncorrected=uncorrected,
            replacement=replacement,
            replaced=made,
            watch=fields.write,
            follow=follow,
        )
    if uncorrected is not None:
        writer.save("postassim", uncorrected)
    writer.save("analysis", ensemble)
    if replaced:
        writer.save_replaced(replaced.names, replaced.replacement.donors, made)
    if job.parameters:
        key = int(rng.integers(2**63))
        for parameter, source in job.parameters:
            values = pipeline.parameter(update, parameter, source.layout, source.load(distinct=False), key)
            writer.overwrite(source, values)
            if replaced:
                writer.overwrite(source, parameter.replaced(values, replaced.replacement), replaced.names)
    table, statistics = job.scored(ensemble, influence)
    memory = of_other_members(update.memory) if replaced else update.memory
    return Analysis(ensemble, memory, {**update.info, "table": table, "statistics": statistics}, update)


def _check_apart(paths: Sequence[Path], output: Path, files: Sequence[str]) -> None:
    """Raise ValueError if a file that is read would be written."""
    read = {resolved(path): path for path in paths}
    for name in files:
        if resolved(output / name) in read:
            raise ValueError(f"{read[resolved(output / name)]} would be overwritten: choose another output folder")


def analyse_files(
    prior: Paths,
    observations: Paths,
    method: Method,
    output: str | Path,
    *,
    rng: Generator,
    memory: Memory | str | Path = None,
    earlier: Sequence[Earlier] = (),
    replaced: Replaced | None = None,
    **settings: Any,
) -> Analysis:
    """Analysis of files without a record, which replaces files that are there: what cycling needs.

    Parameters
    ----------
    prior, observations, output, rng, memory, earlier, replaced
        As in `Offline.analyse`.
    method : Filter, callable, str, or None
        As in `Offline`.
    **settings
        Of `Offline`.
    """
    offline = Offline(method, **settings)
    how: dict[str, Any] = {"overwrite": True, "record": False, "earlier": earlier, "replaced": replaced}
    return offline.analyse(prior, observations, output, rng=rng, memory=memory, **how)
