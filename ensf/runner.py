"""Run an experiment's methods and seeds into a folder: NetCDF files, `summary.json` and a table."""

from __future__ import annotations

import json
import math
import signal
import statistics
import sys
import threading
import time as clock
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from ensf.diagnostics import scores
from ensf.experiment import Method, summarise
from ensf.netcdf import Writer
from ensf.settings import leaves

__all__ = ["TABLE", "outputs", "prepare", "run", "table"]


def outputs(directory: Path, methods: Iterable[str], seeds: Iterable[int]) -> list[Path]:
    """Files that a run writes, besides figures."""
    cells = [directory / f"{method}_seed{seed}.nc" for method in methods for seed in seeds]
    return [*cells, directory / "summary.json"]


def prepare(directory: Path, files: list[Path], overwrite: bool) -> None:
    """Make the output folder and check that files may be written.

    Raises
    ------
    OSError
        If the folder cannot be written, or holds one of the files and `overwrite` is False.
    """
    existing = [path.name for path in files if path.exists()]
    if existing and not overwrite:
        raise FileExistsError(
            f"{directory} already holds {existing[0]}: choose another --output or say --overwrite to replace it"
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / ".ensf-probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise PermissionError(
            f"the output folder {directory} cannot be written ({error.strerror}): choose another --output"
        ) from error


def run(
    experiment: Any, methods: Mapping[str, Method], seeds: Iterable[int], directory: Path, command: str
) -> list[dict[str, Any]]:
    """Run every method and seed; write one file for each and `summary.json`; return the records."""
    records: list[dict[str, Any]] = []
    seeds = list(seeds)
    cells = [(name, seed) for name in methods for seed in seeds]
    with threadpool_limits(1), _stop_between_cycles() as check:
        for number, (name, seed) in enumerate(cells, 1):
            label = f"[{number}/{len(cells)}] {name} seed {seed}"
            records.append(_run_cell(experiment, name, methods[name], seed, directory, command, label, check))
            _write_summary(directory / "summary.json", records)
    return records


def _run_cell(
    experiment: Any,
    name: str,
    method: Method,
    seed: int,
    directory: Path,
    command: str,
    label: str,
    check: Callable[[], None],
) -> dict[str, Any]:
    """Run one method and seed into its file; `check` is called between cycles."""
    history: list[tuple[float, Mapping[str, float]]] = []
    seconds = {"forecast": 0.0, "analysis": 0.0, "output": 0.0}
    writer = None
    show = _progress(experiment.cycles, label)
    with closing(experiment.run(method, seed)) as cycles:
        try:
            for cycle in cycles:
                started = clock.process_time()
                measured = scores(cycle)
                if writer is None:
                    writer = _open(experiment, name, method, seed, directory, command, cycle)
                writer.write(cycle, measured)
                history.append((cycle.time, measured))
                seconds["output"] += clock.process_time() - started
                seconds["forecast"] += cycle.seconds_forecast
                seconds["analysis"] += cycle.seconds_analysis
                show(measured)
                check()
        finally:
            show(None)
            if writer is not None:
                writer.close()
    per_cycle = {f"seconds_{what}": total / len(history) for what, total in seconds.items()}
    return {"method": name, "seed": seed, "members": method.members} | summarise(experiment, history) | per_cycle


@contextmanager
def _stop_between_cycles() -> Iterator[Callable[[], None]]:
    """Ctrl-C and SIGTERM wait for the end of the cycle; a second one does not."""
    received: list[int] = []
    names = (signal.SIGINT, signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    former = {name: signal.getsignal(name) for name in names}

    def restore() -> None:
        for name, handler in former.items():
            signal.signal(name, handler)

    def receive(number: int, frame: Any) -> None:
        received.append(number)
        restore()

    def check() -> None:
        if received:
            raise KeyboardInterrupt

    for name in names:
        signal.signal(name, receive)
    try:
        yield check
    finally:
        restore()


def _open(experiment: Any, name: str, method: Method, seed: int, directory: Path, command: str, cycle: Any) -> Writer:
    attributes = {
        "title": f"{experiment.name}: {name}, seed {seed}",
        "summary": f"{experiment.summary}. {method.summary}.",
        "references": experiment.source,
        "command": command,
        "seed": seed,
        "experiment": experiment.name,
        "method": name,
        "method_recipe": repr(method.filter),
        "model_recipe": repr(experiment.model),
        "settings": json.dumps(leaves({"experiment": experiment, "method": method})),
        "ensf_burn_in": float(experiment.burn_in),
        "ensf_climatology": float(experiment.climatology),
    }
    return Writer(
        directory / f"{name}_seed{seed}.nc",
        model=experiment.model,
        members=cycle.forecast.shape[0],
        observations=cycle.observation.size,
        attributes=attributes,
        time_units=experiment.time_units,
        overwrite=True,
    )


def _progress(cycles: int, label: str) -> Callable[[Mapping[str, float] | None], None]:
    """Show RMSE and spread: a bar on a terminal, else a line every tenth of the run."""
    if sys.stderr.isatty():
        return _bar(cycles, label)
    every, done = max(1, math.ceil(cycles / 10)), [0]

    def show(measured: Mapping[str, float] | None) -> None:
        if measured is None:
            return
        done[0] += 1
        if done[0] % every == 0 or done[0] == cycles:
            print(f"{label}: cycle {done[0]} of {cycles}, {_state(measured)}", file=sys.stderr, flush=True)

    return show


def _bar(cycles: int, label: str) -> Callable[[Mapping[str, float] | None], None]:
    bar = tqdm(total=cycles, desc=label, unit="cycle", leave=True)

    def show(measured: Mapping[str, float] | None) -> None:
        if measured is None:
            bar.close()
            return
        bar.set_postfix_str(_state(measured), refresh=False)
        bar.update()

    return show


def _state(measured: Mapping[str, float]) -> str:
    return f"RMSE {measured['rmse_analysis']:.3f}, spread {measured['spread_analysis']:.3f}"


def _write_summary(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps([_finite(record) for record in records], indent=1) + "\n")


def _finite(record: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no NaN or infinity: null in their place."""
    bad = {key for key, value in record.items() if isinstance(value, float) and not math.isfinite(value)}
    return {key: None if key in bad else value for key, value in record.items()}


# --- the table -------------------------------------------------------------------------------------------

TABLE = {
    "rmse_forecast": "RMSE fc",
    "rmse_analysis": "RMSE an",
    "rmse_analysis_all": "all",
    "rmse_analysis_last50": "last 50",
    "spread_analysis": "spread",
    "crps_analysis": "CRPS",
    "chi2": "chi2",
    "coverage95": "cover 95%",
}


def table(records: list[dict[str, Any]]) -> str:
    """Methods as rows; medians over seeds, k of n diverged, milliseconds of processor time per cycle."""
    columns = {key: title for key, title in TABLE.items() if key in records[0]}
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


def _methods(records: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(record["method"] for record in records))


def _row(name: str, records: list[dict[str, Any]], columns: Mapping[str, str]) -> list[str]:
    def median(key: str) -> float:
        values = [math.nan if record[key] is None else record[key] for record in records]
        return statistics.median(values)

    diverged = f"{sum(record['diverged'] for record in records)} of {len(records)}"
    times = [f"{1000 * median(key):.2f}" for key in ("seconds_forecast", "seconds_analysis")]
    return [name, str(records[0]["members"]), *(f"{median(key):.3f}" for key in columns), diverged, *times]
