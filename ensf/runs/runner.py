"""Run an experiment's methods and seeds into a folder: NetCDF files, `summary.json` and a table."""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from ensf.diagnostics.score_table import title
from ensf.runs.engines import completed
from ensf.runs.faults import OwnFault, own_place, told
from ensf.runs.files import clear_unfinished, expanded, resolved, write_json
from ensf.runs.interrupts import deferred
from ensf.runs.owner import owned
from ensf.runs.run import Run
from ensf.twin.experiment import Experiment, Method, Record

__all__ = ["check_free", "outputs", "read_summary", "run", "table"]

ALWAYS = ("method", "seed", "members", "cycles", "diverged")
"""What every record of a summary has."""

Load: TypeAlias = Callable[[], tuple[Experiment, Mapping[str, Method]]]


def outputs(directory: Path, methods: Iterable[str], seeds: Iterable[int]) -> list[Path]:
    """Files that a run writes, besides figures."""
    cells = [directory / f"{method}_seed{seed}.nc" for method in methods for seed in seeds]
    return [*cells, directory / "summary.json"]


def check_free(directory: Path, files: Iterable[Path], replace: bool) -> None:
    """Raise FileExistsError if a folder holds one of the files and they are not to be replaced."""
    existing = [path.name for path in files if path.exists()]
    if existing and not replace:
        raise FileExistsError(
            f"{directory} already holds {existing[0]}: choose another --output, or say --overwrite to replace it "
            "or --resume to go on"
        )


def run(
    experiment: Experiment,
    methods: Mapping[str, Method],
    seeds: Iterable[int],
    directory: Path,
    command: str,
    *,
    resume: bool = False,
    restart_every: int = 1,
    engine: str = "serial",
    keep_members: int = 0,
    load: Load | None = None,
) -> list[Record]:
    """Run every method and seed; write one file for each and `summary.json`; return the records.

    The folder is owned meanwhile. Records of other methods and seeds stay in the summary.

    Parameters
    ----------
    experiment : Experiment
    methods : mapping of str to Method
    seeds : iterable of int
    directory : Path
        Made if it is not there.
    command : str
        For the attributes of the files.
    resume : bool
        Keep what is finished, and go on where a run stopped: the files are the same, bit for bit, as if it had not.
    restart_every : int
        Write a restart every so many cycles; 0 = only when a signal stops the run.
    engine : str
        As in `ensf.runs.engines`.
    keep_members : int
        Write all members every so many cycles; 0 = never.
    load : callable, optional
        Gives experiment and methods once more, in a worker of the engine: something that compares, and that can be
        sent there by its name. Without it all is run here.

    Raises
    ------
    ValueError
        If there is no cycle or fewer than two members, `resume` finds files of another recipe, or the summary is not
        one of runs. Nothing is written.
    OSError
        If another process owns the folder, or something cannot be written.
    """
    seeds = list(seeds)
    directory = expanded(directory)
    runs = [
        Run(experiment, name, methods[name], seed, directory, command, keep_members)
        for name in methods
        for seed in seeds
    ]
    with owned(directory), threadpool_limits(1), deferred() as stopping:
        records = read_summary(directory)
        done = {run.key for run in runs if resume and run.finished(records.get(run.key))}
        for unfinished in (directory / "summary.json", *(run.restart_file for run in runs)):
            clear_unfinished(unfinished)
        for run in runs:
            if run.key in done:
                run.tidy()
        missing = [run for run in runs if run.key not in done]
        if load is None:
            work = _in_turn(missing, resume, restart_every, stopping)
        else:
            place = resolved(directory)
            tasks = {
                Task(load, run.name, run.seed, place, command, resume, restart_every, keep_members): run
                for run in missing
            }
            work = _by_workers(engine, tasks, place, stopping)
        with closing(work):
            for run, record in work:
                records[run.key] = record
                _write_summary(directory, records.values())
                run.tidy()
    return [records[run.key] for run in runs]


def _in_turn(
    runs: list[Run], resume: bool, restart_every: int, stopping: Callable[[], bool]
) -> Generator[tuple[Run, Record], None, None]:
    for number, run in enumerate(runs, 1):
        with _progress(run.experiment.cycles, f"[{number}/{len(runs)}] {run.name} seed {run.seed}") as show:
            record = run.complete(resume, restart_every, stopping, show)
        yield run, record


@dataclass(frozen=True)
class Task:
    """A run as a worker gets it; fields are those of `run` and `Run`."""

    load: Load
    method: str
    seed: int
    directory: Path
    command: str
    resume: bool
    restart_every: int
    keep_members: int


def _work(task: Task, stopping: Callable[[], bool]) -> Record:
    try:
        experiment, methods = task.load()
        method = methods[task.method]
        one = Run(experiment, task.method, method, task.seed, task.directory, task.command, task.keep_members)
        return one.complete(task.resume, task.restart_every, stopping, lambda measured, done: None)
    except Exception as error:
        if own_place(error):  # another process does not get the traceback
            raise OwnFault(told(error)) from error
        raise


def _by_workers(
    engine: str, tasks: Mapping[Task, Run], directory: Path, stopping: Callable[[], bool]
) -> Generator[tuple[Run, Record], None, None]:
    """Runs as they finish, each counted."""
    bar = tqdm(total=len(tasks), desc="runs", unit="run", mininterval=0.5 if sys.stderr.isatty() else 30)
    with bar, closing(completed(engine, _work, tasks, directory, stopping)) as work:
        for task, record in work:
            bar.update()
            yield tasks[task], record


@contextmanager
def _progress(cycles: int, label: str) -> Iterator[Callable[[Mapping[str, float], int], None]]:
    """Show RMSE and spread: a bar on a terminal, else a line every tenth of the run."""
    every = max(1, math.ceil(cycles / 10))

    def lines(measured: Mapping[str, float], done: int) -> None:
        if done % every == 0 or done == cycles:
            print(f"{label}: cycle {done} of {cycles}, {_state(measured)}", file=sys.stderr, flush=True)

    if not sys.stderr.isatty():
        yield lines
        return
    with tqdm(total=cycles, desc=label, unit="cycle", leave=True) as bar:

        def show(measured: Mapping[str, float], done: int) -> None:
            bar.set_postfix_str(_state(measured), refresh=False)
            bar.update(done - bar.n)

        yield show


def _state(measured: Mapping[str, float]) -> str:
    return f"RMSE {measured['rmse_analysis']:.3f}, spread {measured['spread_analysis']:.3f}"


def read_summary(directory: Path) -> dict[tuple[str, int], Record]:
    """Records of a folder by method and seed; none if it has no summary.

    Raises
    ------
    ValueError
        If the summary is not one of runs, or damaged.
    """
    path = directory / "summary.json"
    if not path.exists():
        return {}
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
        for record in records:
            _check_record(record)
        return {(record["method"], record["seed"]): record for record in records}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a summary of runs, or damaged: choose another output, or remove it") from error


def _check_record(record: Record) -> None:
    """Raise ValueError unless a record has what every run has, and numbers where it has scores."""
    missing = [name for name in ALWAYS if name not in record]
    words = [name for name, value in record.items() if name != "method" and isinstance(value, str | list | dict)]
    if missing or words or not isinstance(record["method"], str):
        raise ValueError(f"a record has no {missing[0]}" if missing else "a record has no number where it should")


def _write_summary(directory: Path, records: Iterable[Record]) -> None:
    """Replace the summary at once."""
    write_json(directory / "summary.json", [_finite(record) for record in records])


def _finite(record: Record) -> Record:
    """JSON has no NaN or infinity: null in their place."""
    bad = {key for key, value in record.items() if isinstance(value, float) and not math.isfinite(value)}
    return {key: None if key in bad else value for key, value in record.items()}


# --- the table -------------------------------------------------------------------------------------------

COLUMNS = (
    "rmse_forecast", "rmse_analysis", "rmse_analysis_all", "rmse_analysis_last50", "spread_analysis", "crps_analysis",
    "chi2", "coverage95", "crps_lead1", "crps_lead3", "crps_lead7", "cover90_lead1", "cover90_lead3", "model_runs",
)  # fmt: skip


def table(records: list[Record]) -> str:
    """Methods as rows; medians over seeds, k of n diverged, milliseconds of processor time per cycle.

    Forecasts of the ensemble per cycle (runs) are shown if a method needs more than the one of the cycle.
    """
    columns = {key: title(key) for key in COLUMNS if any(key in record for record in records)}
    if "rmse_analysis_all" in columns:
        del columns["rmse_analysis"]
    head = ["method", "members", *columns.values(), "diverged", "ms fc", "ms an"]
    rows = [_row(name, [r for r in records if r["method"] == name], columns) for name in _methods(records)]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [
        "  ".join(cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
        for row in [head, *rows]
    ]
    return "\n".join(lines)


def _methods(records: list[Record]) -> list[str]:
    return list(dict.fromkeys(record["method"] for record in records))


def _row(name: str, records: list[Record], columns: Mapping[str, str]) -> list[str]:
    def median(key: str) -> float:
        values = [math.nan if record.get(key, 1.0) is None else record.get(key, 1.0) for record in records]
        return statistics.median(values)

    diverged = f"{sum(record['diverged'] for record in records)} of {len(records)}"
    times = [f"{1000 * median(key):.2f}" for key in ("seconds_forecast", "seconds_analysis")]
    return [name, str(records[0]["members"]), *(f"{median(key):.3f}" for key in columns), diverged, *times]
