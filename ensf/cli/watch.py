"""``ensf watch DIR``: scores of a run or of cycles while they go, by another process that is not disturbed.

Nothing is locked and no NetCDF file that is being written is opened: what is read are journals, and files that are
always there as a whole.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ensf.cli import options
from ensf.runs import interrupts
from ensf.runs.files import expanded
from ensf.runs.owner import is_owned

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

__all__ = ["parser", "watch"]

SCORES = ("rmse_forecast", "rmse_analysis", "spread_analysis", "crps_analysis", "chi2")
Shown = dict[tuple[str, int], str]
"""The last line of each method and seed, or of each variable and cycle."""


def watch(arguments: list[str]) -> int:
    """Print what is new until nobody works on the folder any more, then its table."""
    if arguments and arguments[0] in ("-h", "--help"):
        parser().print_help()
        return 0
    if not arguments or arguments[0].startswith("-") or (len(arguments) > 1 and not arguments[1].startswith("-")):
        raise ValueError("name one folder first: ensf watch DIR")
    every = options.read(parser(), arguments[1:])["every"]
    if not 0.1 <= every <= 3600:
        raise ValueError(f"--every is {every:g}: give seconds from 0.1 to 3600")
    folder = expanded(arguments[0])
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}: name that of a run or of cycles, which ensf run and cycle make")
    if (folder / "cells").is_dir():
        raise ValueError(
            f"{folder} is of a sweep or a board, which show themselves how far they are: name that of a run"
        )
    try:
        _follow(folder, every)
    except KeyboardInterrupt:
        print("\nensf: no longer watching; what runs goes on", file=sys.stderr)
        return interrupts.status()
    return 0


def parser() -> ArgumentParser:
    """Options of the command."""
    made = options.parser("ensf watch DIR", "Scores of a run or of cycles while they go, a line when there is news")
    made.add_argument("--every", type=float, default=2.0, help="seconds from one look to the next")
    return made


def _follow(folder: Path, every: float) -> None:
    shown: Shown = {}
    while True:
        is_going = is_owned(folder)  # asked first: what was written before the end is then read
        for key, line in _news(folder, shown):
            shown[key] = line
            print(line, flush=True)
        if not is_going:
            break
        time.sleep(every)
    if not shown:
        raise ValueError(f"{folder} holds no cycle of a run or of ensf cycle, and nobody works on it: start one first")
    for line in _table(folder):
        print(line)


def _of_cycles(folder: Path) -> bool:
    return (folder / "restart.npz").is_file() or any(folder.glob("cycle_*"))


def _news(folder: Path, shown: Shown) -> Iterator[tuple[tuple[str, int], str]]:
    lines = _cycles(folder, shown) if _of_cycles(folder) else _runs(folder)
    return ((key, line) for key, line in lines if shown.get(key) != line)


def _table(folder: Path) -> Iterator[str]:
    """What there is in the end, as the command itself says it."""
    from ensf.offline.statistics import STATISTICS, lines, read_statistics
    from ensf.runs import runner

    if _of_cycles(folder):
        if (folder / STATISTICS).is_file():
            yield from lines(read_statistics(folder / STATISTICS))
    elif records := list(runner.read_summary(folder).values()):
        yield runner.table(records)
    for path in sorted(folder.glob("*.journal")):
        yield f"{path.stem} has stopped before its end: ensf run ... --resume goes on"


# --- runs -------------------------------------------------------------------------------------------------


def _runs(folder: Path) -> Iterator[tuple[tuple[str, int], str]]:
    """A line for each method and seed: its last cycle, or its means when it is complete."""
    from ensf.diagnostics.score_table import title
    from ensf.runs import runner

    for (method, seed), record in runner.read_summary(folder).items():
        if not (folder / f"{method}_seed{seed}.journal").exists():
            numbers = [f"{title(name)} {record[name]:.3f}" for name in SCORES if record.get(name) is not None]
            lost = ", diverged" * bool(record["diverged"])
            yield (
                (method, seed),
                f"{method} seed {seed}: complete, {record['cycles']} cycles, means {', '.join(numbers)}{lost}",
            )
    for path in sorted(folder.glob("*_seed*.journal")):
        name, _, number = path.stem.rpartition("_seed")
        if line := _last_cycle(path):
            yield (name, int(number)), f"{name} seed {number}: {line}"


def _last_cycle(path: Path) -> str:
    """The last record of a journal; nothing if it has none yet."""
    from contextlib import closing

    from ensf.diagnostics.score_table import title
    from ensf.runs.netcdf import records
    from ensf.runs.netcdf.journal import Journal

    try:
        journal = Journal.look(path)
    except (OSError, ValueError):  # it went, or its beginning is being written
        return ""
    with closing(journal):
        layout = records.layout(journal.template)
        last = journal.last(layout)
    if last is None:
        return ""
    count, record = last
    numbers = [f"{title(name)} {float(record[name][0]):.3f}" for name in SCORES if name in records.numbers(layout)]
    return f"cycle {count}, {', '.join(numbers)}"


# --- cycles -----------------------------------------------------------------------------------------------


def _cycles(folder: Path, shown: Shown) -> Iterator[tuple[tuple[str, int], str]]:
    """Lines of the finished cycles that are not shown yet: one for each variable, or one where nothing was observed."""
    from ensf.offline.statistics import STATISTICS

    try:
        records = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    done = {number for _, number in shown}
    new = [record for record in records if record["cycle"] not in done]
    path = folder / STATISTICS
    numbers = _statistics(path, [record["cycle"] for record in new]) if new and path.is_file() else {}
    for record in new:
        label = f"cycle {record['cycle']}, time {record['time']}, {record['members']} members"
        for name, words in (numbers.get(record["cycle"]) or {"": "no statistics"}).items():
            yield (name, record["cycle"]), f"{label}: {words}"


def _statistics(path: Path, cycles: list[int]) -> dict[int, dict[str, str]]:
    """Scores of these cycles, each by variable and role; of those that the file has."""
    from ensf.offline.statistics import pooled, read_statistics, variables_of

    statistics = read_statistics(path)
    words: dict[int, dict[str, str]] = {cycle: {} for cycle in cycles if cycle in statistics["cycle"].values}
    for cycle, of_cycle in words.items():
        one = statistics.sel(cycle=[cycle])
        for variable in variables_of(one):
            unit = str(one[f"{variable}_prior_bias"].attrs.get("units", ""))
            for role in ("used", "withheld"):
                numbers = pooled(one, variable, role)
                if numbers["count"]:
                    of_cycle[f"{variable} {role}"] = (
                        f"{variable}{f' ({unit})' * bool(unit)}, {numbers['count']:.0f} {role}, "
                        f"RMSE {numbers['prior_rmse']:.3g} -> {numbers['analysis_rmse']:.3g}, "
                        f"spread {numbers['prior_spread']:.3g} -> {numbers['analysis_spread']:.3g}, "
                        f"chi2 {numbers['chi2']:.2f}"
                    )
    return words
