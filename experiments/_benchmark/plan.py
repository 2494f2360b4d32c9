"""The board: experiments x methods x seeds, every method tuned alike, on seeds that are not scored.

For each experiment and each method that fits it,

    trials    n settings x tuning seeds, shortened runs;  choose  argmin of the median RMSE, infinite if a run diverged
    scores    the chosen settings x scoring seeds

Each run is a *cell* (`ensf.experiments._benchmark.cells`): finished ones are kept, and the board resumes where it
stopped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

from ensf import experiments
from ensf.diagnostics.score_table import SCORES, title
from ensf.experiments._benchmark.cells import Cell, complete
from ensf.experiments._benchmark.methods import EXPERIMENTS, RECIPES
from ensf.runs.files import write_json, write_text

__all__ = ["EXPERIMENTS", "METHODS", "Plan", "heat", "markdown", "run", "table", "write"]

METHODS = tuple(RECIPES)
FIGURES = (
    "rmse_forecast", "rmse_analysis", "rmse_analysis_all", "rmse_analysis_last50", "spread_analysis", "spread_ratio",
    "crps_analysis", "chi2", "coverage95", "seconds_forecast", "seconds_analysis",
)  # fmt: skip
COLUMNS = {
    "rmse_analysis": ".3f",
    "rmse_analysis_last50": ".3f",
    "spread_ratio": ".2f",
    "crps_analysis": ".3f",
    "chi2": ".2f",
    "coverage95": ".2f",
}
"""Format of each score in a table."""
MEANINGS = "; ".join(f"{title(key)}: {SCORES[key].long_name}" for key in COLUMNS if key in SCORES)
LEGEND = f"""Medians over seeds, of analyses after burn-in. {MEANINGS}; diverged: RMSE above half the climatological
spread for the last fifth of the run, or an error; ms: processor time of one cycle on one thread. A run that ended in an
error has an infinite RMSE and CRPS and no part in the other medians; "–" is a median that is not finite."""

Pair = tuple[str, str]
Records = list[dict[str, Any]]


@dataclass(frozen=True)
class Plan:
    """What a board runs.

    Parameters
    ----------
    experiments, methods : tuple of str
        A method is left out of experiments that it does not fit.
    seeds, tuning_seeds : tuple of int
    trials : int
        Settings that are tried for each method that has any to tune.
    cycles : int
        Most cycles of a scored run; 0 = as many as the experiment says.
    tuning_cycles : int
        Most cycles of a tuning run.

    Raises
    ------
    ValueError
        If seeds are shared, numbers too small, or no method fits.
    """

    experiments: tuple[str, ...] = EXPERIMENTS
    methods: tuple[str, ...] = METHODS
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    tuning_seeds: tuple[int, ...] = (106, 107)
    trials: int = 8
    cycles: int = 0
    tuning_cycles: int = 300

    def __post_init__(self) -> None:
        if shared := sorted(set(self.seeds) & set(self.tuning_seeds)):
            raise ValueError(f"seed {shared[0]} is both scored and used for tuning: choose other --tuning-seeds")
        if self.trials < 1 or self.tuning_cycles < 1 or self.cycles < 0:
            raise ValueError("a board needs --trials and --tuning-cycles of 1 or more, and --cycles of 0 or more")
        if not self.pairs:
            raise ValueError(f"none of {', '.join(self.methods)} fits {', '.join(self.experiments)}: name others")

    @cached_property
    def pairs(self) -> list[Pair]:
        """Experiments and methods that fit together."""
        pairs = [(experiment, method) for experiment in self.experiments for method in self.methods]
        return [pair for pair in pairs if RECIPES[pair[1]].fits(experiments.load(pair[0]))]

    def trial_cells(self, pair: Pair) -> list[list[Cell]]:
        """One list of cells, over tuning seeds, for each trial."""
        points = RECIPES[pair[1]].trials(experiments.load(pair[0]), self.trials)
        return [
            [Cell(*pair, tuple(point.items()), seed, self.tuning_cycles, trial) for seed in self.tuning_seeds]
            for trial, point in enumerate(points)
        ]

    def score_cells(self, pair: Pair, settings: tuple[tuple[str, float], ...]) -> list[Cell]:
        """One cell for each scoring seed."""
        return [Cell(*pair, settings, seed, self.cycles) for seed in self.seeds]


def run(plan: Plan, directory: Path, jobs: int = 1) -> list[dict[str, Any]]:
    """Run what is not finished yet; return one record for each experiment and method.

    Parameters
    ----------
    plan : Plan
    directory : Path
        Cells are kept in its folder `cells`.
    jobs : int
        Processes; with 1 everything runs in this one.

    Returns
    -------
    list of dict
        Settings, trials, runs, medians over seeds, and how many runs diverged.
    """
    folder = directory / "cells"
    folder.mkdir(parents=True, exist_ok=True)
    trials = {pair: plan.trial_cells(pair) for pair in plan.pairs}
    tuned = complete([cell for pair in plan.pairs for cell in sum(trials[pair], [])], folder, jobs, "tuning")
    tried = {pair: [_trial(cells, tuned) for cells in trials[pair]] for pair in plan.pairs}
    chosen = {pair: plan.score_cells(pair, _best(tried[pair])) for pair in plan.pairs}
    scored = complete([cell for cells in chosen.values() for cell in cells], folder, jobs, "scoring")
    return [_record(plan, pair, tried[pair], [scored[cell] for cell in chosen[pair]]) for pair in plan.pairs]


# --- what came out ---------------------------------------------------------------------------------------


def _trial(cells: list[Cell], records: Mapping[Cell, dict[str, Any]]) -> dict[str, Any]:
    """Settings of a trial, RMSE of each tuning seed, and how many diverged."""
    runs = [records[cell] for cell in cells]
    rmse = [run.get("rmse_analysis") for run in runs]
    return {"settings": dict(cells[0].settings), "rmse": rmse, "diverged": [run["diverged"] for run in runs]}


def _best(trials: list[dict[str, Any]]) -> tuple[tuple[str, float], ...]:
    """Settings with the smallest median RMSE, a diverged run being infinite; if all are, without that rule."""

    def criterion(trial: dict[str, Any]) -> tuple[float, float]:
        rmse = [math.inf if value is None else value for value in trial["rmse"]]
        strict = [math.inf if lost else value for value, lost in zip(rmse, trial["diverged"], strict=True)]
        return median(strict), median(rmse)

    return tuple(min(trials, key=criterion)["settings"].items()) if trials else ()


def _record(plan: Plan, pair: Pair, trials: list[dict[str, Any]], runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Everything about one method in one experiment."""
    settings = _best(trials)
    experiment, method = plan.score_cells(pair, settings)[0].load()
    about = {"experiment": pair[0], "method": pair[1], "summary": method.summary, "members": method.members}
    how = {"settings": dict(settings), "recipe": repr(method.filter), "burn_in": experiment.burn_in}
    count = {"cycles": experiment.cycles, "diverged": sum(run["diverged"] for run in runs), "of": len(runs)}
    return about | how | count | _medians(runs) | {"seeds": plan.seeds, "runs": runs} | _tuning(plan, trials)


def _tuning(plan: Plan, trials: list[dict[str, Any]]) -> dict[str, Any]:
    return {"tuning_seeds": plan.tuning_seeds, "tuning_cycles": plan.tuning_cycles, "trials": trials}


def _medians(runs: list[dict[str, Any]]) -> dict[str, float | None]:
    """Medians over seeds. A run without a number has an infinite error; it has no part in other medians."""
    for_all = [run | {"spread_ratio": _ratio(run)} for run in runs]
    return {name: _median([run.get(name) for run in for_all], name.startswith(("rmse", "crps"))) for name in FIGURES}


def _ratio(run: dict[str, Any]) -> float | None:
    error, spread = run.get("rmse_analysis"), run.get("spread_analysis")
    return spread / error if error and spread is not None else None


def _median(values: list[float | None], is_error: bool) -> float | None:
    known = [math.inf if value is None else value for value in values if is_error or value is not None]
    middle = median(known) if known else math.inf
    return middle if math.isfinite(middle) else None


# --- tables and files -------------------------------------------------------------------------------------


def write(records: Records, plan: Plan, directory: Path, command: str) -> None:
    """Write `board.json` and `board.md`."""
    write_json(directory / "board.json", records)
    write_text(directory / "board.md", markdown(records, plan, command))


def heat(records: Records) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, int]]]:
    """Median RMSE (NaN if there is none) and diverged runs by experiment and method, long names on two lines."""
    present = {record["method"] for record in records}
    labels = {name: name.replace("_", "\n") if len(name) > 8 else name for name in METHODS if name in present}
    scores = {record["experiment"]: dict.fromkeys(labels.values(), math.nan) for record in records}
    diverged: dict[str, dict[str, int]] = {name: {} for name in scores}
    for record in records:
        rmse, label = record["rmse_analysis"], labels[record["method"]]
        scores[record["experiment"]][label] = math.nan if rmse is None else rmse
        diverged[record["experiment"]][label] = record["diverged"]
    return scores, diverged


def markdown(records: Records, plan: Plan, command: str) -> str:
    """The page: how it was made, the heat map, one table for each experiment."""
    groups = groupby(records, key=lambda record: record["experiment"])
    parts = ["# Board", _making(plan, command), LEGEND, "![methods by experiments](heatmap.png)"]
    return "\n\n".join([*parts, *(_section(name, list(group)) for name, group in groups)]) + "\n"


def _making(plan: Plan, command: str) -> str:
    return (
        f"`{command}`, {date.today()}: seeds {_list(plan.seeds)}. Each tuned method had {plan.trials} trials on "
        f"seeds {_list(plan.tuning_seeds)}, of at most {plan.tuning_cycles} cycles, and was given the settings with "
        "the smallest median RMSE, a diverged run counting as infinite."
    )


def _list(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))


def _section(name: str, records: Records) -> str:
    page, first = experiments.load(name), records[0]
    short = f" of {page.cycles}" if first["cycles"] < page.cycles else ""
    head = f"## {name}\n\n{page.summary}. {first['cycles']}{short} cycles, scored after t = {first['burn_in']:g}."
    return f"{head}\n\n{table(records)}"


def table(records: Records) -> str:
    """Markdown table of one experiment: methods as rows."""
    columns = {key: form for key, form in COLUMNS.items() if any(record[key] is not None for record in records)}
    head = ["method", "members", "tuned", *map(title, columns), "diverged", "ms forecast", "ms analysis"]
    rows = [head, ["---"] * 3 + ["---:"] * (len(head) - 3), *(_row(record, columns) for record in records)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(record: Mapping[str, Any], columns: Mapping[str, str]) -> list[str]:
    tuned = ", ".join(f"{name.replace('_', '-')} {value:g}" for name, value in record["settings"].items())
    figures = [_number(record[key], form) for key, form in columns.items()]
    diverged = f"{record['diverged']} of {record['of']}"
    times = [_number(record[f"seconds_{what}"], ".2f", 1000) for what in ("forecast", "analysis")]
    return [record["method"], str(record["members"]), tuned or "–", *figures, diverged, *times]


def _number(value: float | None, form: str, scale: float = 1.0) -> str:
    return "–" if value is None else format(scale * value, form)
