"""Files in, files out: read this first.

`Offline.prepare` reads and checks everything, and keeps the forecast where it is observed; `Offline.analyse` does it
and then the rest: the update of the filter, prepared once, applied to part after part (`ensf.offline.parts`), files.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ensf.arrays import Generator
from ensf.dataset.blocks import Transforms
from ensf.dataset.methods import (
    Method,
    beside_parameters,
    check_places,
    find_localization,
    inside,
    loop_of,
    method_for,
    refuse_loop,
    with_catalogues,
)
from ensf.dataset.pipeline import Clipped, Follow, Pipeline, quiet
from ensf.dataset.stores import size_of
from ensf.dataset.transforms import Setting, several
from ensf.filters.base import Info, Memory, Update
from ensf.offline.fields import FIELDS, GridFile, attributes_of
from ensf.offline.job import Job, check_limit, cut_within
from ensf.offline.loop import Again
from ensf.offline.members import Source, parameter_source
from ensf.offline.memory import MEMORY, keepers, read_memory, write_memory
from ensf.offline.model_runs import MODEL_RUNS
from ensf.offline.observations import (
    Columns,
    check_prior,
    converted_units,
    entries_read,
    locate,
    meet,
    named,
    refuse_rejected,
    set_aside,
)
from ensf.offline.parameter_checks import check_within
from ensf.offline.parameter_statistics import Pair, of_parameters
from ensf.offline.parts import Forecast, Work, analyse, load, path_of, scan
from ensf.offline.staging import check_free, staged
from ensf.offline.statistics import STATISTICS, Bands, write
from ensf.offline.times import TimesSource
from ensf.offline.windows import window_of
from ensf.offline.writer import RECORD, TABLE, Output, names, write_values
from ensf.offline.writer import record as write_record
from ensf.runs.engines import Engine, Workers, clear, opened
from ensf.runs.files import expanded, resolved
from ensf.runs.owner import owned
from ensf.runs.patterns import each, find_files
from ensf.tables import Check, Correlations, read
from ensf.tables.flags import WINDOW
from ensf.wrappers.failed_members import FailedMembers, Replacement, with_replaced
from ensf.wrappers.parameters import Parameter, check_preparable

__all__ = ["STAGES", "Analysed", "Earlier", "Offline", "Replaced", "Run", "analyse_files"]

LOGGER = logging.getLogger("ensf")
STAGES = ("forecast", "preassim", "postassim", "analysis")
Paths = str | Path | Sequence[str | Path]
Groups = Paths | Sequence[Sequence[str | Path]]
"""Names or patterns, or several of each time."""


@dataclass(frozen=True)
class Earlier:
    """The files of an earlier cycle, to be corrected by the update of this one.

    Parameters
    ----------
    paths : tuple of Path
        As the updates since then have left them; they stay as they are. All of one time after another, if there is a
        file for each.
    lag : int
        How many cycles ago.
    folder : Path
        Of the corrected copies, which have the names of the files.
    """

    paths: tuple[Path, ...]
    lag: int
    folder: Path

    def correct(
        self,
        job: Job,
        source: Source,
        update: Update,
        command: str | None,
        run: Run,
        replaced: Replaced | None = None,
    ) -> None:
        """Write the corrected copies."""
        self.folder.mkdir(parents=True, exist_ok=True)
        apply(job, source, update, ("analysis",), (), self.folder, command, run, self.lag, replaced)


@dataclass(frozen=True, eq=False)
class Replaced:
    """Members whose forecast failed, to be replaced by what the analysis makes of the others.

    Parameters
    ----------
    names : tuple of str
        Of their files, all of one time after another if there is a file for each.
    replacement : Replacement
    """

    names: tuple[str, ...]
    replacement: Replacement

    @property
    def copies(self) -> dict[str, int]:
        """Names of the files, and number of the member whose file each is a copy of."""
        donors = self.replacement.donors
        return dict(zip(self.names, np.resize(donors, len(self.names)).tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class Run:
    """Who works, and what shows the progress."""

    workers: Workers
    follow: Follow

    def counted(self, work: Callable[..., Any], name: str, number: int, what: str) -> Iterator[tuple[int, Any]]:
        """Numbers of tasks and their results, as they finish."""
        results = self.workers.completed(work, [(name, k) for k in range(number)])
        for (task, result), _ in zip(results, self.follow(range(number), what), strict=False):
            yield task[1], result


@dataclass(frozen=True, eq=False)
class Analysed:
    """An analysis of files.

    Attributes
    ----------
    members : int
    memory : object
        What the filter remembers; with ``memory.nc`` in the folder, if it does.
    info : mapping
        What the filter reports, and `table` and `statistics` of the observations.
    update : Update
        Serves parameters, and states at earlier times.
    source : Source or None
        The files; None if the members of the analysis were not asked for.
    """

    members: int
    memory: Memory
    info: Info
    update: Update
    source: Source | None

    @cached_property
    def ensemble(self) -> np.ndarray:
        """The analysis as its files have it, physical, ``(member, state)``: all of it, in memory.

        Raises
        ------
        ValueError
            If there are no such files.
        """
        if self.source is None:
            raise ValueError("the members of the analysis were not written: give it among the stages")
        return self.source.load(distinct=False)


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
    laws : mapping of str to str
        Error laws by kind or variable, as of `ensf.tables.ObservationTable.observe`.
    correlation : Correlation, or mapping of str to Correlation, optional
        Of the errors of the rows of one group, as in `ensf.tables.ObservationTable.observe`.
    parameters : mapping of str to Parameter
        Variables that are parameters of the model, numbers or fields, as in `ensf.dataset.analyse`; with `by_time`
        those of the files of the last time, from which the model goes on.
    by_time : bool
        Each name or pattern of the forecast, or group of them, is the files of one time, from the first to the last.
    window : str
        Times of rows that are used: ``START/END``, the end excluded; a duration such as ``6h``, centred at the time of
        the forecast; or ``all``. By default six hours if the files say what time it is.
    memory_limit : float
        GB of memory that each process may take, about: the state is cut into smaller parts for it; 0 = no limit.

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
    correlation: Correlations | None = None
    laws: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    by_time: bool = False
    window: str = ""
    memory_limit: float = 0.0

    def __post_init__(self) -> None:
        check_limit(self.memory_limit)
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
        prior: Groups,
        observations: Paths,
        output: str | Path,
        *,
        memory: Memory | str | Path = None,
        overwrite: bool = False,
        again: Again | None = None,
        follow: Follow = quiet,
        run: Run | None = None,
    ) -> Job:
        """Read and check everything; write nothing.

        Parameters
        ----------
        prior : str, Path, or sequence of these
            Names or patterns of the files of the forecast; with `by_time` there may be several of each time.
        observations : str, Path, or sequence of these
            Tables, as `ensf.tables.read` takes them.
        output : str or Path
            Folder; made if it is not there.
        memory : object, str or Path
            What the filter left in the cycle before, or its file ``memory.nc``.
        overwrite : bool
            Replace files that are there.
        again : Again, optional
            How members are forecast again, for a model in the loop.
        follow : callable
            ``follow(steps, what)`` gives the same steps and may show progress.
        run : Run, optional
            Who reads the forecast; by default this process.

        Returns
        -------
        Job

        Raises
        ------
        ValueError, OSError
            One sentence that names the file, and what to do.
        """
        folder = expanded(output)
        paths = find_files([name for group in each(prior) for name in each(group)], "the forecast")
        tables = find_files(observations, "the observations")
        how = self.mask, tuple(self.coordinates.values())
        without, last = tuple(self.parameters), paths
        if self.by_time:
            groups = [find_files(group, "the forecast") for group in each(prior)]
            source: Source = TimesSource.of_times(groups, self.member_dim, self.variables, *how, without)
            last = groups[-1]
        else:
            source = Source.of(paths, self.member_dim, self.variables, *how, without)
        source = source.with_axes(self.coordinates, self.periods, self.surface)
        parameters = {name: parameter_source(last, self.member_dim, name, *how) for name in self.parameters}
        layout = source.layout

        method = method_for(beside_parameters(self.method) if parameters else self.method, layout)
        if parameters:
            check_preparable(method)
        if again is None:
            refuse_loop(method)
        for name, one in parameters.items():
            check_places(f"parameter {name!r}", self.parameters[name].places, find_localization(method), layout)
            check_within(name, self.parameters[name], one)
        if any(isinstance(one, FailedMembers) for one in inside(method)):
            raise ValueError(
                f"method {method!r} holds FailedMembers, which is for arrays and Datasets: give the filter inside, and "
                "name the files without those of failed members; ensf cycle has min_members"
            )
        files = names(source, self.stages, self.statistics, bool(keepers(method)))
        former = [expanded(memory)] if isinstance(memory, str | Path) else []
        _check_apart([*paths, *tables, *former], folder, files)
        size = sum(map(size_of, paths))
        left = source.members * layout.size * source.dtype.itemsize  # by parts, beside the files
        check_free(folder, files, len(self.stages) * (size + left), overwrite)

        window = window_of(self.window or ("all" if self.by_time else ""), paths)
        table = read(tables, good=self.good, laws=self.laws)
        table = table if window is None else table.within(*window)
        aside = (table.codes == WINDOW) & bool(self.window)
        options = {"surface": self.surface, "correlation": self.correlation, "laws": self.laws}
        observed = meet(table, named(tables), layout, self.checks, options)
        converted = converted_units(table, observed)
        read_at = entries_read(observed.observation, layout.size)
        parts = cut_within(self.memory_limit, source, method, tuple(parameters.values()), len(read_at))
        transforms = self.transforms(source)
        with opened("serial", folder) as here:
            columns = _scanned(Forecast(source, parts, transforms, read_at), run or Run(here, follow))
        observed = check_prior(observed, columns, self.checks)
        observed, withheld = set_aside(observed, self.withhold)
        if self.strict:
            refuse_rejected(observed.table, aside)
        bands = Bands.of(layout, self.coordinates, self.bands)

        for path in former:
            memory = read_memory(path, method, layout, source.dtype)
        observed = locate(observed, find_localization(method), named(tables))

        blocks = transforms.blocks(layout)
        method = with_catalogues(
            method, lambda pattern: blocks.forward(source.catalogue(find_files(pattern, "the catalogue")))
        )
        pipeline = Pipeline.of(method, observed.observation, layout, transforms, source.label, observed.place)
        own = tuple((one, parameters[name]) for name, one in self.parameters.items())
        job = Job(source, parts, columns, observed, withheld, bands, pipeline, tables, folder, window, memory, own)
        return replace(job, converted=converted)

    def transforms(self, source: Source) -> Transforms:
        """Those of each variable of a source; what is fitted gets its variable whole."""
        settings = self.variables if isinstance(self.variables, Mapping) else {}
        chosen: dict[Hashable, Sequence[Any]] = {name: several(name, setting) for name, setting in settings.items()}
        return Transforms.of(chosen, source.layout, source.variable, source.label)

    def analyse(
        self,
        prior: Groups,
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
        again: Again | None = None,
        follow: Follow = quiet,
        engine: Engine = "serial",
    ) -> Analysed:
        """Analysis of files into files of the same names in the folder `output`, which is owned meanwhile.

        Parameters
        ----------
        prior, observations, output, memory, overwrite, again, follow
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
        engine : str, concurrent.futures.Executor or Workers
            Where parts are worked, as in `ensf.runs.engines`; the bits are those of ``serial``.

        Returns
        -------
        Analysed

        Raises
        ------
        ValueError, OSError
            As in `prepare`, or if the analysis cannot be stored; the files that were there are untouched.
        """
        place = expanded(output)
        with owned(place) as fresh, opened(engine, place) as workers:
            clear(place)
            run = Run(workers, follow)
            how: dict[str, Any] = {"memory": memory, "overwrite": overwrite, "again": again, "run": run}
            job = self.prepare(prior, observations, place, **how)
            if replaced and any(source.single for source, _ in job.source.pieces):
                raise ValueError(
                    f"members that failed are to be replaced but {job.source.members} members are in "
                    f"{len(job.source.paths)} files: give a file of each member"
                )
            strange = job.observed.far_off()
            former = [(one, job.source.earlier(one.paths)) for one in earlier]
            again = None if loop_of(job.pipeline.method) is None else again
            update = _prepared(job, rng, again)
            with staged(place, RECORD, fresh) as folder:
                stages = self.stages, self.statistics
                analysis = apply(job, job.source, update, *stages, folder, command, run, replaced=replaced)
                table, statistics = job.scored(analysis, job.pipeline.influence(update, job.needed))
                if job.parameters:
                    pairs = self._analyse_parameters(job, update, rng, folder, replaced)
                    statistics = statistics.merge(of_parameters(pairs, job.parameter_units))
                for one, source in former:
                    one.correct(job, source, update, command, run, replaced)
                kept = with_replaced(update.memory, replaced.replacement) if replaced else update.memory
                if keepers(job.pipeline.method):
                    write_memory(folder / MEMORY, kept, job.pipeline.method, job.source.layout)
                info = {
                    **({MODEL_RUNS: 1.0} if again else {}),
                    **update.info,
                    "table": table,
                    "statistics": statistics,
                }
                if record:
                    table.write(folder / TABLE)
                    write(statistics, folder / STATISTICS)
                    write_record(folder / RECORD, self, job, table, info, command)
        for sentence in strange:
            LOGGER.warning(sentence)
        paths = tuple(place / name for name in names(job.source, ("analysis",), ())[: len(job.source.paths)])
        made = job.source.of_members(paths) if "analysis" in self.stages else None
        return Analysed(job.source.members, kept, info, update, made)

    def _analyse_parameters(
        self, job: Job, update: Update, rng: Generator, folder: Path, replaced: Replaced | None
    ) -> dict[str, Pair]:
        """Analysis of parameters in the files of the analysis that are there, and of members that are replaced.

        Returns
        -------
        dict of str to two (member, entry) arrays
            Forecast and analysis.
        """
        key = int(rng.integers(2**63))
        pairs = {}
        files = names(job.source, ("analysis",), ())[: len(job.source.paths)]
        for name, (parameter, source) in zip(self.parameters, job.parameters, strict=True):
            forecast = source.load(distinct=False)
            values = job.pipeline.parameter(update, parameter, source.layout, forecast, key)
            pairs[name] = (forecast, values)
            if "analysis" in self.stages:
                write_values(folder, source, values, files[-len(source.paths) :])
            if replaced:
                made = parameter.combined(values, replaced.replacement.made)
                write_values(folder, source, made, replaced.names[-len(made) :])
        return pairs


def _prepared(job: Job, rng: Generator, again: Again | None) -> Update:
    """The update of a filter, given what it needs at once: whole states, or the members where observations read."""
    if job.pipeline.needed is not None:
        return job.pipeline.prepare(job.needed, rng, job.memory)
    states = job.source.load()
    window = None if again is None else again.window(job.source, states)
    return job.pipeline.prepare(states, rng, job.memory, window)


def _scanned(forecast: Forecast, run: Run) -> Columns:
    """Read everything once: the forecast where it is observed."""
    source, number = forecast.source, len(forecast.parts)
    values = np.empty((source.members, len(forecast.read)), source.dtype)
    hashes: dict[int, list[bytes]] = {}
    with run.workers.sharing(forecast) as name:
        for part, scanned in run.counted(scan, name, number, "reading"):
            hashes[part] = scanned.hashes
            values[:, scanned.which] = scanned.columns
    source.refuse_twins(hashes[part] for part in range(number))
    return Columns(forecast.read, values)


def apply(
    job: Job,
    source: Source,
    update: Update,
    members: tuple[str, ...],
    statistics: tuple[str, ...],
    folder: Path,
    command: str | None,
    run: Run,
    lag: int = 0,
    replaced: Replaced | None = None,
) -> Columns:
    """Apply an update to all parts of a source, and write the files; the analysis where it is observed.

    What each part leaves lies in a hidden folder meanwhile.
    """
    pipeline = job.pipeline
    left = folder / ".parts"
    left.mkdir()
    wanted = job.columns.entries[:0] if lag else job.columns.entries
    what = (pipeline.method, pipeline.observation, pipeline.transforms, update, job.parts, wanted)
    work = Work(source, *what, members, statistics, left, lag, replaced.replacement if replaced else None)
    values = np.empty((source.members, len(wanted)), source.dtype)
    clipped: Clipped = Counter()
    looks: dict[str, Any] = {}
    with ExitStack() as stack:
        if not pipeline.is_prepared and not run.workers.are_here:
            LOGGER.warning(
                "%s takes whole states: it works in this process, and workers only read and write",
                type(pipeline.method).__name__,
            )
            run_here = Run(stack.enter_context(opened("serial", folder)), run.follow)
        else:
            run_here = run
        with run_here.workers.sharing(work) as name:
            for _, done in run_here.counted(analyse, name, len(job.parts), "analysis"):
                values[:, done.which] = done.columns
                clipped += done.clipped
                looks |= done.looks
    pipeline.say_clipped(clipped, source.members)
    copies = replaced.copies if replaced else {}
    Output(source, job.parts, left, folder, command, members, statistics, copies).write(run.workers, run.follow)
    if not lag:
        write_fields(folder / FIELDS, job, left, list(looks))
    shutil.rmtree(left)
    return Columns(wanted, values)


def write_fields(path: Path, job: Job, left: Path, looks: list[str]) -> None:
    """Write what parts have left of fields."""
    layout, unit = job.source.layout, job.pipeline.length_unit
    transformed = {name for name, chain in job.pipeline.transforms.chains.items() if chain.transforms}
    with GridFile.open(path, layout) as file:
        for look in looks:
            names = {
                name: (f"{name}_{look}", attributes_of(layout, name, look, unit, name in transformed))
                for name in layout.template.data_vars
            }
            numbers = [k for k in range(len(job.parts)) if path_of(left, f"field_{look}", k).exists()]
            file.write(names, ((job.parts[k], load(left, f"field_{look}", k)) for k in numbers))


def _check_apart(paths: Sequence[Path], output: Path, files: Sequence[str]) -> None:
    """Raise ValueError if a file that is read would be written."""
    read = {resolved(path): path for path in paths}
    for name in files:
        if resolved(output / name) in read:
            raise ValueError(f"{read[resolved(output / name)]} would be overwritten: choose another output folder")


def analyse_files(
    prior: Groups,
    observations: Paths,
    method: Method,
    output: str | Path,
    *,
    rng: Generator,
    memory: Memory | str | Path = None,
    earlier: Sequence[Earlier] = (),
    replaced: Replaced | None = None,
    again: Again | None = None,
    engine: Engine = "serial",
    **settings: Any,
) -> Analysed:
    """Analysis of files without a record, which replaces files that are there: what cycling needs.

    Parameters
    ----------
    prior, observations, output, rng, memory, earlier, replaced, again, engine
        As in `Offline.analyse`.
    method : Filter, callable, str, or None
        As in `Offline`.
    **settings
        Of `Offline`.
    """
    offline = Offline(method, **settings)
    how: dict[str, Any] = {"overwrite": True, "record": False, "earlier": earlier, "replaced": replaced, "again": again}
    return offline.analyse(prior, observations, output, rng=rng, memory=memory, engine=engine, **how)
