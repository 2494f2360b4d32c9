"""Cycling an external model: forecast of every member, analysis of their files, and again from the analysed files.

    cycle k:   k-1/analysis/member_*.nc --model--> k/forecast/member_*.nc --filter--> k/analysis/member_*.nc

The folder of a cycle is complete when the restart counts it. A run that was stopped or killed goes on with the cycle
after those; its forecasts that were finished are kept. If the model gives the same output for the same input, the run
is the same, bit for bit, as if it had never stopped.

Where the program leaves a file for each time, members have several, ``member_0001_01.nc`` and so on, in all folders.

With a `Smoother` each cycle also writes corrected copies of the states of the cycles before, beside the filter's own:

    k-1/analysis, k-1/smoothed/k-2, k-1/smoothed/k-3, ... --update of k--> k/smoothed/k-1, k/smoothed/k-2, ...

With the model in the loop members are forecast again within an analysis, from copies in ``k/runs/loop``:

    k-1/analysis --copied, changed--> k/runs/loop/start --model--> k/runs/loop/forecast
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray as xr

from ensf.arrays import Generator
from ensf.filters.base import Analysis, Memory
from ensf.observations.predictions import Unresolved
from ensf.offline import Analysed, Earlier, Replaced, analyse_files
from ensf.offline.cycle import folders, parameters
from ensf.offline.cycle.checks import check_inputs, lines
from ensf.offline.cycle.command import Task
from ensf.offline.cycle.doubts import doubts
from ensf.offline.cycle.members import changed, check_time, contents, unlike
from ensf.offline.cycle.settings import Cycling, Date, Time
from ensf.offline.estimates import estimates, of_estimates
from ensf.offline.fields import FIELDS
from ensf.offline.loop import Again, NotForecast
from ensf.offline.memory import MEMORY
from ensf.offline.model_runs import MODEL_RUNS, of_model_runs
from ensf.offline.model_runs import words as runs_in_words
from ensf.offline.observations import summary
from ensf.offline.parameter_statistics import of_parameters, words
from ensf.offline.statistics import STATISTICS, append
from ensf.runs import restart
from ensf.runs.engines import Engine, Workers, clear, opened
from ensf.runs.files import clear_unfinished, expanded, resolved, write_json
from ensf.runs.interrupts import deferred
from ensf.runs.owner import owned
from ensf.runs.recipe import describe
from ensf.wrappers.failed_members import Replacement, of_members

__all__ = ["Analyse", "Checkpoint", "plan", "run"]


class Analyse(Protocol):
    """The analysis of member files: `ensf.offline.analyse_files`, or one's own."""

    def __call__(
        self,
        prior_paths: Sequence[Path],
        observation_paths: Sequence[Path],
        method: Any,
        output_dir: Path,
        *,
        rng: Generator,
        memory: Memory,
    ) -> Analysis | Analysed:
        """Write a file of the same name for each prior file; `memory` of the result is for the next cycle.

        Of members with a file for each time the prior files are those of the end.
        """


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Where a run stands between two cycles.

    Attributes
    ----------
    cycles : int
        Number of finished cycles.
    members : tuple of int
        Those that have not failed.
    memory : object
        What the filter needs in the next cycle.
    rng : numpy.random.Generator
        Of the filter.
    records : list of dict
        One per cycle.
    """

    cycles: int
    members: tuple[int, ...]
    memory: Memory
    rng: Generator
    records: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def begin(cls, cycling: Cycling) -> Checkpoint:
        """Before the first cycle."""
        rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence(cycling.seed)))
        return cls(0, tuple(range(1, cycling.members + 1)), None, rng)


def run(
    cycling: Cycling,
    directory: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    analyse: Analyse | None = None,
    show: Callable[[str], None] | None = None,
    engine: Engine = "serial",
    memory_limit: float = 0.0,
) -> list[dict[str, Any]]:
    """Run all cycles into a folder; return one record per cycle, which ``summary.json`` has too.

    Parameters
    ----------
    cycling : Cycling
    directory : Path
        Made if it is not there.
    resume : bool
        Go on where a run stopped.
    overwrite : bool
        Remove the run that the folder holds, and nothing else.
    analyse : Analyse, optional
        By default `ensf.offline.analyse_files`.
    show : callable, optional
        Gets a line per cycle; by default it goes to standard error.
    engine : str or concurrent.futures.Executor
        Where members run and parts of the analysis are worked, as in `ensf.runs.engines`; the bits are the same.
    memory_limit : float
        GB that each process may take in the analysis, as in `ensf.offline.Offline`.

    Raises
    ------
    ValueError, OSError
        If a file is missing or another recipe's, a member fails and is not to, an analysis is refused, or another
        process owns the folder. What is finished is kept: `resume` goes on there.
    KeyboardInterrupt
        After the cycle in which Ctrl-C, SIGTERM or SIGHUP came; a second one ends the cycle at once.
    """
    if analyse and (cycling.replace_failed or cycling.parameters):
        raise ValueError("parameters and replace_failed need the analysis of ensf: leave analyse= out, or both of them")
    show = show or partial(print, file=sys.stderr, flush=True)
    directory = expanded(directory)
    with owned(directory), deferred() as stopping, opened(engine, directory) as workers:
        clear(directory)
        checkpoint, cleared = _checkpoint(cycling, directory, resume, overwrite)
        if checkpoint.cycles < cycling.cycles:
            tasks = list(_tasks(checkpoint, cycling, directory))
            check_inputs(cycling, tasks, directory, None if analyse else checkpoint.cycles + 1, memory_limit)
        for name in ("restart.npz", "summary.json", STATISTICS):
            clear_unfinished(directory / name)
        if not cleared:
            _save(checkpoint, cycling, directory, cleared=False)
            _clear(directory)
        _save(checkpoint, cycling, directory)
        _prune(checkpoint.cycles, cycling, directory)
        while checkpoint.cycles < cycling.cycles:
            checkpoint = _cycle(checkpoint, cycling, directory, analyse, show, workers, memory_limit)
            _save(checkpoint, cycling, directory)
            _prune(checkpoint.cycles, cycling, directory)
            if stopping():
                raise KeyboardInterrupt
    return checkpoint.records


def plan(
    cycling: Cycling, directory: Path, *, resume: bool = False, overwrite: bool = False, memory_limit: float = 0.0
) -> list[str]:
    """What `run` would do, in lines, when all that it would stumble over has been checked; nothing is written.

    Parameters
    ----------
    cycling, directory, resume, overwrite, memory_limit
        As of `run`.

    Raises
    ------
    ValueError, OSError
        As `run`.
    """
    directory = expanded(directory)
    checkpoint, _ = _checkpoint(cycling, directory, resume, overwrite)
    if checkpoint.cycles >= cycling.cycles:
        return [f"all {cycling.cycles} cycles are finished: nothing is left to do"]
    tasks = list(_tasks(checkpoint, cycling, directory))
    tables = check_inputs(cycling, tasks, directory, checkpoint.cycles + 1, memory_limit)
    return list(lines(cycling, tasks, tables, directory))


def _cycle(
    checkpoint: Checkpoint,
    cycling: Cycling,
    directory: Path,
    analyse: Analyse | None,
    show: Callable[[str], None],
    workers: Workers,
    memory_limit: float,
) -> Checkpoint:
    """Forecast and analysis."""
    cycle = checkpoint.cycles + 1
    place, label = folders.folder(directory, cycle), f"cycle {cycle} of {cycling.cycles}"
    said = f"{label}: {'replaces' if cycling.replace_failed else 'goes on without'} member"
    prior, failed = _forecast(checkpoint, cycling, directory, workers)
    for member, reason in failed.items():
        show(f"{said} {member}: {reason}")
    limits = {"engine": workers, "memory_limit": memory_limit}
    state = checkpoint.rng.bit_generator.state
    while True:
        try:
            replacement = _replacement(checkpoint, cycling, failed)
            analysis = _analysis(checkpoint, cycling, directory, prior, failed, replacement, analyse, limits)
            break
        except (Unresolved, NotForecast) as error:  # a member that is far off, or fails in the loop, has failed
            if not error.members:
                raise
            member = list(prior)[error.members[0]]
            del prior[member]
            failed = dict(sorted({**failed, member: str(error)}.items()))
            _check_failures(failed, len(prior), cycling.min_members, cycle)
            show(f"{said} {member}: {error}")
            checkpoint.rng.bit_generator.state = state
    used = _write_table(analysis, place)
    own = _analyse_parameters(analysis, cycling, directory, cycle, list(prior), list(failed), replacement)
    shutil.rmtree(place / "runs" / "loop", ignore_errors=True)
    numbers_of = (of_estimates(analysis.info), of_model_runs(analysis.info))
    statistics = xr.merge([analysis.info.get("statistics", xr.Dataset()), own, *numbers_of])
    every = _keep_looks(statistics, place, cycle, _plain(cycling.time(cycle)))
    numbers, copies = checkpoint.members, replacement.copies if replacement else {}
    copied = ", ".join(f"{numbers[one]} is a moved copy of {numbers[other]}" for one, other in copies.items())
    count = f"{len(prior)} members{copied and f' ({copied})'}"
    told = [
        f"{count}{used and ', '}{used}{doubts(analysis.info, every)}",
        runs_in_words(analysis.info),
        words(statistics),
    ]
    show(f"{label}: time {cycling.time(cycle)}, {', '.join(filter(None, told))}")
    if not failed:
        shutil.rmtree(place / "runs", ignore_errors=True)
    record = {"cycle": cycle, "time": _plain(cycling.time(cycle)), "members": len(prior), "failed": sorted(failed)}
    if cycling.replace_failed:
        record |= {"replaced": sorted(failed), "copies_of": [numbers[one] for one in copies.values()]}
    record |= estimates(analysis.info)
    record |= {MODEL_RUNS: analysis.info[MODEL_RUNS]} if MODEL_RUNS in analysis.info else {}
    return replace(
        checkpoint,
        cycles=cycle,
        members=checkpoint.members if replacement else tuple(prior),
        memory=analysis.memory,
        records=[*checkpoint.records, record],
    )


def _analysis(
    checkpoint: Checkpoint,
    cycling: Cycling,
    directory: Path,
    prior: Mapping[int, Path],
    failed: Mapping[int, str],
    replacement: Replacement | None,
    analyse: Analyse | None,
    limits: Mapping[str, Any],
) -> Analysis | Analysed:
    """Analysis of the members that are left, into the folder of the cycle."""
    cycle = checkpoint.cycles + 1
    place = folders.folder(directory, cycle)
    observed = cycling.tables(cycle)
    folders.remove_analysis(place)
    (place / "analysis").mkdir(exist_ok=True)
    suffix = next(iter(prior.values())).suffix
    replaced = None
    if replacement is not None:
        times = len(folders.by_time(next(iter(prior.values()))))
        files = folders.groups([Path(_name(member, suffix)) for member in failed], times)
        replaced = Replaced(tuple(str(name) for of_time in files for name in of_time), replacement)
    again = _again(checkpoint, cycling, directory, prior, limits["engine"])
    how = {"earlier": _earlier(cycling, directory, cycle, prior), "replaced": replaced, "again": again}
    analyse = analyse or _of_files({**cycling.analysis(cycle), **how, **limits})
    former = folders.folder(directory, cycle - 1) / "analysis" / MEMORY
    memory = former if former.is_file() else cycling.first_memory if cycle == 1 else checkpoint.memory
    memory = of_members(memory, np.array([member in prior for member in checkpoint.members]))
    return analyse(
        list(prior.values()), observed, cycling.filter, place / "analysis", rng=checkpoint.rng, memory=memory
    )


def _forecast(
    checkpoint: Checkpoint, cycling: Cycling, directory: Path, workers: Workers
) -> tuple[dict[int, Path], dict[int, str]]:
    """Files of the members at the end of the cycle, and why others failed."""
    cycle = checkpoint.cycles + 1
    place = folders.folder(directory, cycle)
    (place / "forecast").mkdir(parents=True, exist_ok=True)
    tasks = list(_tasks(checkpoint, cycling, directory))
    failed = _failures(tasks, cycle, cycling, place / "runs", workers)
    prior = {task.member: task.output for task in tasks if task.member not in failed}
    _check_failures(failed, len(prior), cycling.min_members, cycle)
    return prior, failed


def _failures(tasks: Sequence[Task], cycle: int, cycling: Cycling, runs: Path, workers: Workers) -> dict[int, str]:
    """Run the members of a cycle, in directories that `runs` gets; why some failed."""
    start, end = cycling.time(cycle - 1), cycling.time(cycle)

    def check(task: Task, paths: Sequence[Path]) -> str:
        if cycling.check_time:
            check_time(paths[-1], task.input, start, end)
        return contents(paths, cycling.file_variables, cycling.mask)

    def strange(holds: Mapping[int, str]) -> dict[int, str]:
        files = {task.member: folders.by_time(task.output) for task in tasks if task.member in holds}
        different = unlike(holds, files, cycling.file_variables)
        alike = [task for task in tasks if task.member in holds and task.member not in different]
        return different | changed([(task.member, task.input, task.output) for task in alike], cycling.file_variables)

    return cycling.model.forecast(tasks, runs, check, expanded(cycling.folder), strange, workers)


def _again(
    checkpoint: Checkpoint, cycling: Cycling, directory: Path, prior: Mapping[int, Path], workers: Workers
) -> Again:
    """How the members that are left are forecast again, all with one seed: noise is no part of the loop's forecast."""
    cycle = checkpoint.cycles + 1
    loop = folders.folder(directory, cycle) / "runs" / "loop"
    seed = int(np.random.SeedSequence((cycling.seed, cycle, 0, 2)).generate_state(1)[0]) % 2**31
    tasks = [task for task in _tasks(checkpoint, cycling, directory) if task.member in prior]

    def forecast(starts: Sequence[Path]) -> list[Path]:
        shutil.rmtree(loop / "forecast", ignore_errors=True)
        (loop / "forecast").mkdir(parents=True)
        again = [
            replace(
                task,
                input=start,
                output=resolved(loop / "forecast" / task.output.name),
                values={**task.values, "seed": seed},
            )
            for task, start in zip(tasks, starts, strict=False)
        ]
        failed = _failures(again, cycle, cycling, loop / "runs", workers)
        for number, task in enumerate(again):
            if task.member in failed:
                raise NotForecast(f"in the loop {failed[task.member]}", number)
        return [task.output for task in again]

    return Again(tuple(task.input for task in tasks), loop / "start", forecast)


def _earlier(cycling: Cycling, directory: Path, cycle: int, prior: Mapping[int, Path]) -> list[Earlier]:
    """States of the cycles before, of the members that go on, as the last cycle has left them."""
    before, place = folders.folder(directory, cycle - 1), folders.folder(directory, cycle)
    earlier = []
    for lag in range(1, min(cycling.lag, cycle - 1) + 1):
        left = before / "analysis" if lag == 1 else folders.folder(before / "smoothed", cycle - lag)
        ends = [left / path.name for path in prior.values()]
        paths = tuple(path for of_time in folders.groups(ends, len(folders.by_time(ends[0]))) for path in of_time)
        earlier.append(Earlier(paths, lag, folders.folder(place / "smoothed", cycle - lag)))
    return earlier


def _replacement(checkpoint: Checkpoint, cycling: Cycling, failed: Mapping[int, str]) -> Replacement | None:
    """What takes the places of members that failed, if that is wanted: drawn by seed and cycle alone."""
    if not failed or not cycling.replace_failed:
        return None
    seeds = np.random.SeedSequence((cycling.seed, checkpoint.cycles + 1, 0, 1))
    alive = np.array([member not in failed for member in checkpoint.members])
    return Replacement.draw(alive, np.random.Generator(np.random.SFC64(seeds)))


def _of_files(settings: Mapping[str, Any]) -> Analyse:
    """`ensf.offline.analyse_files` with settings."""

    def analyse(
        prior_paths: Sequence[Path],
        observation_paths: Sequence[Path],
        method: Any,
        output_dir: Path,
        *,
        rng: Generator,
        memory: Memory,
    ) -> Analysed:
        ends = list(prior_paths)
        prior = folders.groups(ends, len(folders.by_time(ends[0]))) if settings["by_time"] else ends
        return analyse_files(prior, observation_paths, method, output_dir, rng=rng, memory=memory, **settings)

    return analyse


def _plain(time: Time) -> float | str:
    """For a file."""
    return str(time) if isinstance(time, Date) else time


def _write_table(analysis: Analysis | Analysed, place: Path) -> str:
    """Store which observations were used, and why others were not; say how many."""
    table = analysis.info.get("table")
    if table is None:
        return ""
    table.write(place / "observations.csv", overwrite=True)
    return summary(table)


def _keep_looks(statistics: xr.Dataset, place: Path, cycle: int, time: float | str) -> xr.Dataset:
    """What one looks at: the fields beside the members' folder, the statistics with those of the cycles before.

    Returns
    -------
    xarray.Dataset
        Statistics of all cycles so far.
    """
    if (place / "analysis" / FIELDS).exists():
        os.replace(place / "analysis" / FIELDS, place / FIELDS)
    return append(statistics, place.parent / STATISTICS, cycle, time) if statistics else statistics


def _name(member: int, suffix: str) -> str:
    """Of the file of a member."""
    return f"member_{member:04d}{suffix}"


def _parameters(cycling: Cycling, directory: Path, cycle: int, members: Sequence[int]) -> dict[str, np.ndarray]:
    """What the members run with in a cycle."""
    own = cycling.own_parameters
    if not own or cycle == 1:
        return parameters.at_start(own, cycling.seed, members)
    return parameters.read(folders.folder(directory, cycle - 1) / parameters.PARAMETERS, list(own), members)


def _analyse_parameters(
    analysis: Analysis | Analysed,
    cycling: Cycling,
    directory: Path,
    cycle: int,
    members: list[int],
    failed: list[int],
    replacement: Replacement | None,
) -> xr.Dataset:
    """Store the parameters with which the members ran, and their analysis, and those of members that are replaced.

    Returns
    -------
    xarray.Dataset
        Their mean and spread.
    """
    own = cycling.own_parameters
    if not own:
        return xr.Dataset()
    if analysis.update is None:
        raise ValueError(
            f"the analysis has no update for the parameters {', '.join(own)}: give a filter that is Preparable, such "
            "as LETKF or letsf"
        )
    forecast = _parameters(cycling, directory, cycle, members)
    made = parameters.analysed(own, forecast, analysis.update, parameters.key(cycling.seed, cycle))
    if replacement is not None:
        more = parameters.replaced(own, made, replacement)
        made = {name: np.concatenate([values, more[name]]) for name, values in made.items()}
        nothing = np.full(len(failed), np.nan)
        forecast = {name: np.concatenate([values, nothing]) for name, values in forecast.items()}
        members = [*members, *failed]
    parameters.write(folders.folder(directory, cycle) / parameters.PARAMETERS, members, forecast, made)
    return of_parameters({name: (forecast[name], made[name]) for name in made})


def _tasks(checkpoint: Checkpoint, cycling: Cycling, directory: Path) -> Iterator[Task]:
    """The forecasts of the next cycle."""
    cycle = checkpoint.cycles + 1
    forecasts = folders.folder(directory, cycle) / "forecast"
    own = _parameters(cycling, directory, cycle, checkpoint.members)
    for k, member in enumerate(checkpoint.members):
        given = cycling.initial_file(member)
        name = _name(member, given.suffix)
        if cycle > 1:
            given = folders.folder(directory, cycle - 1) / "analysis" / name
        seed = int(np.random.SeedSequence((cycling.seed, cycle, member)).generate_state(1)[0]) % 2**31
        values = {name: values[k].item() for name, values in own.items()}
        yield Task(member, given, resolved(forecasts / name), cycling.words(cycle) | {"seed": seed} | values)


def _check_failures(failed: dict[int, str], left: int, min_members: int, cycle: int) -> None:
    """Raise OSError if there are more failures than may be."""
    if not failed or min_members and left >= min_members:
        return
    member, reason = next(iter(failed.items()))
    others = f" (and {len(failed) - 1} others)" if len(failed) > 1 else ""
    advice = (
        f"{left} members are left but min_members is {min_members}"
        if min_members
        else "or set min_members, to go on without it"
    )
    raise OSError(f"member {member}{others} failed in cycle {cycle}: {reason}; repair it and resume, {advice}")


# --- files of a run --------------------------------------------------------------------------------------


def _checkpoint(cycling: Cycling, directory: Path, resume: bool, overwrite: bool) -> tuple[Checkpoint, bool]:
    """Where the run stands, and whether nothing of a former one is left beside it.

    Refused if the folder holds another run, or one that is not to be resumed.
    """
    path = directory / "restart.npz"
    if path.exists() and resume:
        content = restart.read(path)
        describe.check_recipe(cycling.recipe, content["recipe"], path)
        finished = content["checkpoint"].cycles
        if finished > cycling.cycles:
            raise ValueError(
                f"{path} has {finished} finished cycles but cycles is {cycling.cycles}: give {finished} or more"
            )
        return content["checkpoint"], content["cleared"]
    _check_summary(directory / "summary.json")
    if not overwrite and (path.exists() or folders.numbered(directory)):
        raise FileExistsError(
            f"{directory} already holds {'a run' if path.exists() else 'cycles, but no restart'}: "
            "choose another output, say --overwrite to replace it, or --resume to go on"
        )
    return Checkpoint.begin(cycling), not (path.exists() or folders.numbered(directory))


def _check_summary(path: Path) -> None:
    """Raise FileExistsError if there is a summary of anything but cycles."""
    if not path.exists():
        return
    try:
        is_ours = all("cycle" in record for record in json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        is_ours = False
    if not is_ours:
        raise FileExistsError(f"{path} is no summary of cycles: choose another output, or remove it")


def _save(checkpoint: Checkpoint, cycling: Cycling, directory: Path, cleared: bool = True) -> None:
    recipe = cycling.recipe
    time = _plain(cycling.time(checkpoint.cycles))
    content = {"checkpoint": checkpoint, "time": time, "recipe": recipe, "cleared": cleared}
    restart.write(directory / "restart.npz", content | {"recipe_hash": describe.digest(recipe)})
    write_json(directory / "summary.json", checkpoint.records)


def _prune(finished: int, cycling: Cycling, directory: Path) -> None:
    """Remove the member files of old cycles; what is known of their observations stays."""
    for cycle, place in folders.numbered(directory).items():
        if cycle < finished and not cycling.keeps(cycle, finished):
            folders.remove_members(place)
        if cycle < finished:
            for state in folders.smoothed(place):
                if state != cycle - cycling.lag:  # a later cycle has corrected it further
                    folders.remove_smoothed(place, state)


def _clear(directory: Path) -> None:
    """Remove the cycles of a former run, and their statistics."""
    (directory / STATISTICS).unlink(missing_ok=True)
    for path in folders.numbered(directory).values():
        folders.remove(path)
