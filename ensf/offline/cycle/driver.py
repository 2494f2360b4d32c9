"""Cycling an external model: forecast of every member, analysis of their files, and again from the analysed files.

    cycle k:   k-1/analysis/member_*.nc --model--> k/forecast/member_*.nc --filter--> k/analysis/member_*.nc

The folder of a cycle is complete when the restart counts it. A run that was stopped or killed goes on with the cycle
after those; its forecasts that were finished are kept. If the model gives the same output for the same input, the run
is the same, bit for bit, as if it had never stopped.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ensf.arrays import Generator
from ensf.filters.base import Analysis, Memory
from ensf.offline import analyse_files
from ensf.offline.cycle import members
from ensf.offline.cycle.command import Task
from ensf.offline.cycle.settings import Cycling
from ensf.offline.fields import FIELDS
from ensf.offline.statistics import STATISTICS, append, lines, read_statistics
from ensf.runs import restart
from ensf.runs.files import clear_unfinished, write_json
from ensf.runs.interrupts import deferred
from ensf.runs.netcdf.locks import held
from ensf.runs.recipe import describe

__all__ = ["Analyse", "Checkpoint", "run", "summary_lines"]


class Analyse(Protocol):
    """The analysis of member files: `ensf.offline.analyse_files`, or one's own."""

    def __call__(
        self, prior_paths: Any, observations_path: Path, method: Any, output_dir: Path, *, rng: Any, memory: Memory
    ) -> Analysis:
        """Write a file of the same name for each prior file; `memory` of the result is for the next cycle."""


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
        Remove the run that the folder holds.
    analyse : Analyse, optional
        By default `ensf.offline.analyse_files`.
    show : callable, optional
        Gets a line per cycle; by default it goes to standard error.

    Raises
    ------
    ValueError, OSError
        If a file is missing or another recipe's, a member fails and is not to, or an analysis is refused. What is
        finished is kept: `resume` goes on there.
    KeyboardInterrupt
        After the cycle in which Ctrl-C or SIGTERM came; a second one ends the cycle at once.
    """
    analyse = analyse or partial(analyse_files, **cycling.analysis)
    show = show or partial(print, file=sys.stderr, flush=True)
    checkpoint = _checkpoint(cycling, directory, resume, overwrite)
    _check_files(cycling, checkpoint.cycles)
    directory.mkdir(parents=True, exist_ok=True)
    with held(directory / ".lock"), deferred() as stopping:
        if checkpoint.cycles == 0 and not resume:
            _clear(directory)
        for name in ("restart.npz", "summary.json", STATISTICS):
            clear_unfinished(directory / name)
        _save(checkpoint, cycling, directory)
        while checkpoint.cycles < cycling.cycles:
            checkpoint = _cycle(checkpoint, cycling, directory, analyse, show)
            _save(checkpoint, cycling, directory)
            _prune(checkpoint.cycles, cycling.keep_cycles, directory)
            if stopping():
                raise KeyboardInterrupt
    return checkpoint.records


def _cycle(
    checkpoint: Checkpoint, cycling: Cycling, directory: Path, analyse: Analyse, show: Callable[[str], None]
) -> Checkpoint:
    """Forecast and analysis."""
    cycle = checkpoint.cycles + 1
    place, label = _folder(directory, cycle), f"cycle {cycle} of {cycling.cycles}"
    prior, failed = _forecast(checkpoint, cycling, directory, place)
    for member, reason in failed.items():
        show(f"{label}: goes on without member {member}: {reason}")
    observed = cycling.observed(cycle)
    if not observed.is_file():
        raise FileNotFoundError(f"there is no file {observed} with the observations of cycle {cycle}: make it, resume")
    _drop_analysis(place)
    (place / "analysis").mkdir()
    analysis = analyse(
        list(prior.values()), observed, cycling.method, place / "analysis", rng=checkpoint.rng, memory=checkpoint.memory
    )
    used = _write_table(analysis, place)
    _keep_looks(analysis, place, cycle, cycling.time(cycle))
    show(f"{label}: time {cycling.time(cycle)}, {len(prior)} members{used and ', '}{used}")
    if not failed:
        shutil.rmtree(place / "runs", ignore_errors=True)
    record = {"cycle": cycle, "time": cycling.time(cycle), "members": len(prior), "failed": sorted(failed)}
    return replace(
        checkpoint,
        cycles=cycle,
        members=tuple(prior),
        memory=analysis.memory,
        records=[*checkpoint.records, record],
    )


def _forecast(
    checkpoint: Checkpoint, cycling: Cycling, directory: Path, place: Path
) -> tuple[dict[int, Path], dict[int, str]]:
    """Files of the members at the end of the cycle, and why others failed."""
    (place / "forecast").mkdir(parents=True, exist_ok=True)
    tasks = list(_tasks(checkpoint, cycling, directory, place / "forecast"))
    check = partial(members.check_member, variables=tuple(cycling.variables))
    failed = cycling.model.forecast(tasks, place / "runs", check, Path(cycling.folder))
    prior = {task.member: task.output for task in tasks if task.member not in failed}
    _check_failures(failed, len(prior), cycling.min_members, checkpoint.cycles + 1)
    return prior, failed


def _write_table(analysis: Analysis, place: Path) -> str:
    """Store which observations were used, and why others were not; say how many."""
    table = analysis.info.get("table")
    if table is None:
        return ""
    table.write(place / "observations.csv", overwrite=True)
    return f"{table.used.sum()} of {len(table)} observations used"


def _keep_looks(analysis: Analysis, place: Path, cycle: int, time: float | str) -> None:
    """What one looks at: the fields beside the members' folder, the statistics with those of the cycles before."""
    if (place / "analysis" / FIELDS).exists():
        os.replace(place / "analysis" / FIELDS, place / FIELDS)
    if "statistics" in analysis.info:
        append(analysis.info["statistics"], place.parent / STATISTICS, cycle, time)


def _tasks(checkpoint: Checkpoint, cycling: Cycling, directory: Path, forecasts: Path) -> Iterator[Task]:
    cycle = checkpoint.cycles + 1
    times = {"start": cycling.time(cycle - 1), "end": cycling.time(cycle), "duration": cycling.interval}
    for member in checkpoint.members:
        given = cycling.path(cycling.initial, member=member)
        name = f"member_{member:04d}{given.suffix}"
        if cycle > 1:
            given = _folder(directory, cycle - 1) / "analysis" / name
        seed = int(np.random.SeedSequence((cycling.seed, cycle, member)).generate_state(1)[0]) % 2**31
        values = {"cycle": cycle, "seed": seed, "folder": Path(cycling.folder).resolve(), **times}
        yield Task(member, given, (forecasts / name).resolve(), values)


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


def summary_lines(directory: Path) -> list[str]:
    """Statistics in observation space over all cycles of a run; none if it has no such file."""
    path = directory / STATISTICS
    return list(lines(read_statistics(path))) if path.exists() else []


# --- files of a run --------------------------------------------------------------------------------------


def _folder(directory: Path, cycle: int) -> Path:
    return directory / f"cycle_{cycle:04d}"


def _check_files(cycling: Cycling, cycles: int) -> None:
    """Raise if there is no template, or before the first cycle no initial file."""
    template = Path(cycling.folder) / cycling.model.template
    if not template.is_dir():
        raise FileNotFoundError(f"there is no folder {template}: check template")
    for member in range(1, cycling.members + 1) if cycles == 0 else ():
        path = cycling.path(cycling.initial, member=member)
        if not path.is_file():
            raise FileNotFoundError(
                f"there is no file {path} for member {member}: check initial, or give fewer members"
            )


def _checkpoint(cycling: Cycling, directory: Path, resume: bool, overwrite: bool) -> Checkpoint:
    """Where the run stands; refused if the folder holds another one, or one that is not to be resumed."""
    path = directory / "restart.npz"
    if path.exists() and resume:
        content = restart.read(path)
        describe.check_recipe(cycling.recipe, content["recipe"], path)
        return content["checkpoint"]
    if not overwrite and (path.exists() or any(directory.glob("cycle_*"))):
        raise FileExistsError(
            f"{directory} already holds {'a run' if path.exists() else 'cycles, but no restart'}: "
            "choose another output, say --overwrite to replace it, or --resume to go on"
        )
    return Checkpoint.begin(cycling)


def _save(checkpoint: Checkpoint, cycling: Cycling, directory: Path) -> None:
    recipe = cycling.recipe
    content = {"checkpoint": checkpoint, "time": cycling.time(checkpoint.cycles), "recipe": recipe}
    restart.write(directory / "restart.npz", content | {"recipe_hash": describe.digest(recipe)})
    write_json(directory / "summary.json", checkpoint.records)


def _drop_analysis(place: Path) -> None:
    """Remove what a killed run left of an analysis, under its name or, unfinished, under a hidden one."""
    for path in [*place.glob(".analysis-*"), *place.glob("analysis")]:
        shutil.rmtree(path)
    for path in place.glob(".observations-*"):
        path.unlink()


def _prune(cycles: int, keep_cycles: int, directory: Path) -> None:
    """Remove the files of old cycles."""
    for path in directory.glob("cycle_*") if keep_cycles else ():
        if int(path.name.removeprefix("cycle_")) <= cycles - keep_cycles:
            shutil.rmtree(path, ignore_errors=True)


def _clear(directory: Path) -> None:
    """Remove what a run left in its folder."""
    for name in ("restart.npz", STATISTICS):
        (directory / name).unlink(missing_ok=True)
    for path in directory.glob("cycle_*"):
        shutil.rmtree(path)
