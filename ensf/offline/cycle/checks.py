"""What a run would stumble over, checked before the first forecast; and in words, for a dry run."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ensf.dataset import Layout
from ensf.dataset.methods import (
    check_places,
    find_localization,
    loop_of,
    method_for,
    places,
    reach_of,
    with_catalogues,
)
from ensf.dataset.pipeline import Pipeline
from ensf.dataset.stores import is_there, size_of
from ensf.dataset.tiles import Range, tile_at
from ensf.filters.base import Filter
from ensf.observations.predictions import BadPrediction
from ensf.offline.analysis import Offline
from ensf.offline.cycle.command import Task
from ensf.offline.cycle.members import check_start, content
from ensf.offline.cycle.settings import Cycling
from ensf.offline.cycle.template import filled, templates, uses
from ensf.offline.job import check_limit, cut_within
from ensf.offline.members import Source, parameter_source
from ensf.offline.memory import check_memory, read_memory
from ensf.offline.observations import converted_units, counts, entries_read, locate, meet, named, refuse_rejected
from ensf.offline.parameter_checks import check_within
from ensf.offline.parts import among
from ensf.offline.staging import check_free
from ensf.runs.files import expanded
from ensf.runs.patterns import find_files
from ensf.tables import ObservationTable, Observed, read
from ensf.tables.flags import WINDOW
from ensf.tables.groups import correlations_by_name
from ensf.tables.stations.stations import dates, time_dims
from ensf.wrappers.parameters import check_preparable

__all__ = ["check_inputs", "lines"]

SHOWN = 12
"""Cycles of which a dry run tells."""


def check_inputs(
    cycling: Cycling, tasks: Sequence[Task], directory: Path, first: int | None, memory_limit: float = 0.0
) -> dict[int, Met | None]:
    """Tables of the cycles from `first` on with a code for every row; None where there is no file yet.

    Parameters
    ----------
    cycling : Cycling
    tasks : sequence of Task
        Forecasts of the next cycle.
    directory : Path
        Of the run.
    first : int or None
        The next cycle; None if the analysis is one's own, so that nobody knows what it takes.
    memory_limit : float
        GB for each process; 0 = no limit.

    Raises
    ------
    ValueError, OSError
        One sentence that names the file, and what to do.
    """
    check_limit(memory_limit)
    _check_program(cycling, tasks[0])
    for task in tasks:
        if not is_there(task.input):
            raise FileNotFoundError(
                f"there is no file {task.input} for member {task.member}: check initial, or give fewer members"
            )
    check_free(directory, [], 2 * sum(size_of(task.input) for task in tasks), True)
    if first is None:
        return {}
    source = _source(cycling, tasks, first)
    if first == 1 and cycling.check_time:
        check_start(tasks[0].input, cycling.time(0), cycling.interval)
    met = {cycle: _met(cycling, source, cycle, first) for cycle in range(first, cycling.cycles + 1)}
    read = max((one.entries for one in met.values() if one is not None), default=0)
    method = method_for(cycling.filter, source.layout)
    _check_loop(cycling, method)
    parts = cut_within(memory_limit, source, method, _parameters(cycling, source), read)
    _ask_filter(cycling, source, parts, met.values())
    return met


def _ask_filter(cycling: Cycling, source: Source, parts: Sequence[Range], met: Iterable[Met | None]) -> None:
    """Raise ValueError if the filter does not take the rows of a cycle, as one for Gaussian errors other laws.

    It is asked with the members at the start, once for rows with the same laws; what depends on the states themselves
    is left to the analysis, and so is a filter of whole states.
    """
    transforms = Offline(cycling.filter, variables=cycling.variables).transforms(source)
    method = _with_catalogues(method_for(cycling.filter, source.layout), source)
    asked = set[tuple[object, ...]]()
    for one in met:
        if one is None or not one.observed.observation.size:
            continue
        observation = one.observed.observation
        alike = (type(observation.law), *np.unique(one.table.laws[one.observed.used]).tolist())
        pipeline = Pipeline.of(method, observation, source.layout, transforms, source.label, one.observed.place)
        if alike in asked or not pipeline.is_prepared:
            continue
        asked.add(alike)
        read = entries_read(observation, source.layout.size) if pipeline.needed is None else pipeline.needed
        try:
            pipeline.prepare(_members_at(source, parts, read), np.random.default_rng(cycling.seed))
        except BadPrediction:
            continue


def _check_loop(cycling: Cycling, method: Filter) -> None:
    """Raise ValueError if the model is in the loop beside parameters, or forecasts are files of several times."""
    if loop_of(method) is None:
        return
    if cycling.parameters:
        check_preparable(method)
    if cycling.model.by_time:
        raise ValueError(
            "the model in the loop takes each member from one file to one, but by_time says that there is one for each "
            "time: leave by_time out, or the loop"
        )


def _with_catalogues(method: Filter, source: Source) -> Filter:
    """The filter with the states that its catalogues name."""
    return with_catalogues(method, lambda pattern: source.catalogue(find_files(pattern, "the catalogue")))


def _members_at(source: Source, parts: Sequence[Range], entries: np.ndarray) -> np.ndarray:
    """The members at some entries of the state, ascending, ``(member, entry)``."""
    values = np.empty((source.members, len(entries)), source.dtype)
    for part in parts:
        tile = tile_at(source.layout, part)
        which, where = among(entries, tile)
        if len(which):
            values[:, which] = source.part(tile)[:, where]
    return values


def _check_program(cycling: Cycling, task: Task) -> None:
    """Raise OSError if there is no template, or no program that could be started."""
    words = _words(task, task.output.parent)
    template = expanded(cycling.folder) / cycling.model.template_folder(words)
    if not template.is_dir():
        raise FileNotFoundError(f"there is no folder {template}: check template")
    if cycling.model.model:
        check = [*cycling.model.python(expanded(cycling.folder).resolve()), " ".join(cycling.own_parameters)]
        done = subprocess.run(check, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.strip()]
            raise ValueError(said[-1] if said else f"model {cycling.model.model} ended with {done.returncode}")
        return
    _check_words(cycling, template, words)
    program = cycling.model.arguments(words)[0]
    inside = os.sep in program and not os.path.isabs(program)
    there = (template / program).is_file() and bool(cycling.model.template) if inside else shutil.which(program)
    if not there:
        where = f"in {template}" if inside and cycling.model.template else "that can be run"
        raise FileNotFoundError(f"there is no program {program} {where}: check command, and template")
    if inside and not os.access(template / program, os.X_OK):
        raise PermissionError(f"{template / program} cannot be executed: change its permissions, or write sh {program}")


def _check_words(cycling: Cycling, template: Path, words: Mapping[str, object]) -> None:
    """Raise ValueError if a template cannot be filled, or nothing has the word of a parameter."""
    files = list(templates(template)) if cycling.model.template else []
    for path in files:
        filled(path, words)
    for name in cycling.own_parameters:
        if f"{{{name}" not in cycling.model.command and not any(uses(path, name) for path in files):
            raise ValueError(
                f"no member would get the parameter {name!r}: write {{{name}}} in the command, or in a file of the "
                "template whose name ends in .template"
            )


def _words(task: Task, place: Path) -> Mapping[str, object]:
    files = {name: place / f"{name}{task.output.suffix}" for name in ("input", "output")}
    return {"member": task.member, "directory": place, **files, **task.values}


def _source(cycling: Cycling, tasks: Sequence[Task], first: int) -> Source:
    """The members as they are before the first forecast, alike and without holes."""
    inside = [name for name, one in cycling.parameters.items() if not one.is_own]
    source = Source.of(
        [task.input for task in tasks],
        "realization",
        tuple(cycling.variables),
        cycling.mask,
        cycling.coordinates.values(),
        inside,
    )
    source = source.with_axes(cycling.coordinates, cycling.periods, cycling.surface)
    for one in _parameters(cycling, source):
        (name,) = map(str, one.layout.template.data_vars)
        check_within(name, cycling.parameters[name].parameter, one)
    for task in tasks:
        try:
            content(task.input, cycling.file_variables, cycling.mask)
        except ValueError as error:
            advice = "" if cycling.mask else ", or give mask = true if there is no data"
            raise ValueError(f"{task.input} of member {task.member} is not valid: {error}: repair it{advice}") from None
    method = method_for(cycling.filter, source.layout)
    _with_catalogues(method, source)
    places(find_localization(method), source.layout, np.arange(source.layout.size))
    for name, estimated in cycling.parameters.items():
        check_places(f"parameter {name!r}", estimated.parameter.places, find_localization(method), source.layout)
    if first == 1 and cycling.first_memory is not None:
        if cycling.model.by_time:  # its fields have times, which the members at the start have not
            check_memory(cycling.first_memory, method)
        else:
            read_memory(cycling.first_memory, method, source.layout, source.dtype)
    return source


def _parameters(cycling: Cycling, source: Source) -> list[Source]:
    """The parameters that are variables of the members' files."""
    how = cycling.mask, tuple(cycling.coordinates.values())
    inside = [name for name, one in cycling.parameters.items() if not one.is_own]
    return [parameter_source(source.paths, "realization", name, *how) for name in inside]


class Met(NamedTuple):
    """The rows of a cycle, as far as they can be judged without a forecast.

    Attributes
    ----------
    observed : Observed
        With a code for every row.
    entries : int
        How many entries of the state they read.
    converted : tuple of str
        Which rows are in other units than their variable, in words.
    """

    observed: Observed
    entries: int
    converted: tuple[str, ...]

    @property
    def table(self) -> ObservationTable:
        """With a code for every row."""
        return self.observed.table


def _met(cycling: Cycling, source: Source, cycle: int, first: int) -> Met | None:
    """The rows of a cycle; None if there is no file yet."""
    try:
        paths = cycling.tables(cycle)
    except FileNotFoundError:
        if cycle == first:
            raise
        return None
    settings = cycling.analysis(cycle)
    options = {name: settings[name] for name in ("surface", "correlation", "laws")}
    table = read(paths, good=cycling.good, laws=cycling.laws)
    window = cycling.span(cycle)
    table = table if window is None else table.within(*window)
    observed = meet(_at_start(table, source.layout), named(paths), source.layout, settings["checks"], options)
    if cycling.strict:
        refuse_rejected(observed.table, table.codes == WINDOW)
    method = method_for(cycling.filter, source.layout)
    entries = entries_read(observed.observation, source.layout.size)
    located = locate(observed, find_localization(method), named(paths))
    return Met(located, len(entries), converted_units(table, located))


def _at_start(table: ObservationTable, layout: Layout) -> ObservationTable:
    """The table at the last time of files with several, where the forecast that it will meet begins."""
    for variable in layout.template.data_vars.values():
        for dim in time_dims(variable, variable.dims):
            return replace(table, time=np.full(len(table), dates(variable, dim)[-1]))
    return table


# --- in words --------------------------------------------------------------------------------------------


def lines(cycling: Cycling, tasks: Sequence[Task], tables: Mapping[int, Met | None], directory: Path) -> Iterator[str]:
    """What would be done.

    Parameters
    ----------
    cycling, tasks, directory
        As of `check_inputs`.
    tables : mapping of int to Met or None
        What that returned.
    """
    first = min(tables)
    task = tasks[0]
    source = _source(cycling, tasks, first)
    layout = source.layout
    grids = (f"{name} ({', '.join(f'{d} {n}' for d, n in v.sizes.items())})" for name, v in layout.template.items())
    yield f"members: {len(tasks)}, from {tasks[0].input} to {tasks[-1].input}"
    yield f"variables: {', '.join(grids)}; {layout.size} values of each member are analysed"
    method = method_for(cycling.filter, layout)
    yield f"method: {method}"
    yield f"localization: {reach_of(method, layout)}"
    for name, law in cycling.laws.items():
        yield f"errors of {name}: {law}"
    for name, correlation in correlations_by_name(cycling.correlation).items():
        yield f"correlation of errors within {name or 'every group'}: {correlation}"
    loop = loop_of(method)
    if loop is not None:
        yield (
            f"model in the loop: at most {loop.max_pieces} more forecasts of the members in a cycle, one more if the "
            "model has noise, from changed copies of the files that they start from"
        )
    if first == 1 and cycling.first_memory is not None:
        yield f"memory: {cycling.first_memory}"
    if cycling.lag:
        yield f"smoother: the states of {cycling.lag} cycles before are corrected, in the folders smoothed"
    for name, one in cycling.parameters.items():
        after = " after the transform" if one.parameter.transform else ""
        start = f"{one.value:g}, spread {one.spread:g}{after}" if one.is_own else "in the files"
        yield f"parameter {name}: {start}; {one.parameter}"
    place = task.output.parents[1] / "runs" / f"member_{task.member:04d}_..."
    model = cycling.model
    yield f"forecast of member {task.member}: {model.model or shlex.join(model.arguments(_words(task, place)))}"
    limit = f"{model.timeout:g} s each" if model.timeout else "no limit of time"
    yield f"    {model.jobs} at a time, {limit}, {model.retries} retries"
    if model.by_time:
        yield f"    leaves a file for each time: {model.earlier_files(_words(task, place))}, then {{output}} at the end"
    yield f"cycles: {first} to {cycling.cycles}, from {cycling.time(first - 1)} to {cycling.time(cycling.cycles)}"
    for cycle in [*tables][: SHOWN if len(tables) > SHOWN + 1 else None]:
        files = ", ".join(map(str, cycling.observed(cycle)))
        met = tables[cycle]
        yield f"    {cycle}, {cycling.time(cycle)}: {files}, {_counted(met)}"
        yield from (f"        {one}" for one in (() if met is None else met.converted))
    if len(tables) > SHOWN + 1:
        late = sum(met is None for met in tables.values())
        empty = sum(met is not None and not met.table.used.any() for met in tables.values())
        yield f"    and so on; {late} tables are not there yet, {empty} have no row that can be used"
    yield f"files in {directory}"


def _counted(met: Met | None) -> str:
    if met is None:
        return "which is not there yet"
    table = met.table
    rejected = [f"{number} {reason}" for reason, number in counts(table).items() if reason != "used"]
    return "; ".join([f"{table.used.sum()} of {len(table)} rows can be used", *rejected])
