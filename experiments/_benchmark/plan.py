"""The board: experiments x methods x seeds, every method tuned alike, on seeds that are not scored.

For each experiment and each method that fits it,

    trials    n settings x tuning seeds, shortened runs;  best  argmin of the median RMSE, infinite if a run diverged
    scores    the best settings x scoring seeds

Each run is a *cell* (`ensf.experiments._benchmark.cells`): finished ones are not run again, and the board resumes where
it stopped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import cache, cached_property
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

from ensf import experiments
from ensf.diagnostics.score_table import SCORES, title
from ensf.experiments._benchmark.cells import Cell, CellRecord, complete
from ensf.experiments._benchmark.methods import EXPERIMENTS, RECIPES, BoardExperiment
from ensf.observations import RandomPoints, RegularPoints
from ensf.runs.files import write_json, write_text
from ensf.twin import Method, Network, TwinExperiment

__all__ = ["EXPERIMENTS", "METHODS", "Plan", "Row", "Trial", "heat_map", "markdown", "run", "table", "write"]

METHODS = tuple(RECIPES)
MEASURED = (
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
error has an infinite RMSE and CRPS and no part in the other medians; "–" is a median that is not finite. Half-widths
are in grid intervals; of a page of one's own in the units of its localization."""

Pair = tuple[str, str]
Settings = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class BoardCell(Cell):
    """One run of a board; `settings` are those that are tuned.

    Parameters
    ----------
    cycles : int
        The run is cut after so many; 0 = not at all.
    trial : int
        Its number; -1 for a run that is scored.
    """

    cycles: int
    trial: int = -1

    @property
    def file(self) -> str:
        """Name of its file."""
        trial = f"trial{self.trial}." if self.trial >= 0 else ""
        name = re.sub(r"[^\w+-]", "_", title_of(self.experiment))
        return f"{name}.{self.method}.{trial}seed{self.seed}.json"

    def load(self) -> tuple[BoardExperiment, Method]:
        """The experiment, shortened, and the method with its settings."""
        experiment = _shortened(self.experiment, self.cycles)
        return experiment, RECIPES[self.method].method(experiment, dict(self.settings))


def page(name: str) -> BoardExperiment:
    """Experiment of that name, or of the page in that file, whose parts recipes look at.

    Raises
    ------
    ValueError
        If it has other parts, or as `ensf.experiments.load`.
    """
    experiment: Any = experiments.load(name)
    fits = isinstance(experiment, TwinExperiment)
    if not fits or not isinstance(experiment.network, Network | RandomPoints | RegularPoints):
        what = f"the network {type(experiment.network).__name__}" if fits else f"a {type(experiment).__name__}"
        raise ValueError(
            f"{name} has {what}, but a page of the board needs a TwinExperiment with a Network, RandomPoints or "
            "RegularPoints: compare its own methods by `ensf run`"
        )
    return experiment


def title_of(name: str) -> str:
    """Name of an experiment as tables have it: of a page in a file its own name."""
    return page(name).name if name.endswith(".py") else name


@cache
def _shortened(name: str, cycles: int) -> BoardExperiment:
    """The experiment with at most that many cycles, half of them burn-in at most."""
    experiment = page(name)
    if not 0 < cycles < experiment.cycles:
        return experiment
    burn_in = min(experiment.burn_in, cycles // 2 * experiment.interval)
    return replace(experiment, cycles=cycles, burn_in=burn_in)


@dataclass(frozen=True)
class Trial:
    """Settings that were tried.

    Attributes
    ----------
    settings : dict of str to float
    rmse : list of float or None
        Of the analysis, one for each tuning seed; None for a run that ended in an error.
    diverged : list of bool
        One for each tuning seed.
    """

    settings: dict[str, float]
    rmse: list[float | None]
    diverged: list[bool]


@dataclass(frozen=True)
class Row:
    """One method in one experiment.

    Attributes
    ----------
    experiment, method, summary : str
    members : int
    settings : dict of str to float
        Those that were tuned, with the best values.
    recipe : str
        The filter as it was scored.
    cycles : int
        Of a scored run.
    burn_in : float
        Model time before the first scored cycle.
    medians : dict of str to float or None
        Over scoring seeds, by the names in `MEASURED`; None for one that is not finite.
    diverged : int
        Number of scored runs that did.
    seeds, tuning_seeds : tuple of int
    tuning_cycles : int
    runs : list of dict
        Records of the scored cells.
    trials : list of Trial
    """

    experiment: str
    method: str
    summary: str
    members: int
    settings: dict[str, float]
    recipe: str
    cycles: int
    burn_in: float
    medians: dict[str, float | None]
    diverged: int
    seeds: tuple[int, ...]
    tuning_seeds: tuple[int, ...]
    tuning_cycles: int
    runs: list[CellRecord]
    trials: list[Trial]


@dataclass(frozen=True)
class Plan:
    """What a board runs.

    Parameters
    ----------
    experiments, methods : tuple of str
        Names, or paths of pages of one's own. A method is left out of experiments that it does not fit.
    seeds, tuning_seeds : tuple of int
    trials : int
        Settings that are tried for each method that has any to tune.
    cycles : int
        A scored run is cut after so many cycles; 0 = not at all.
    tuning_cycles : int
        A tuning run is cut after so many cycles.

    Raises
    ------
    ValueError
        If a seed is both scored and used for tuning, numbers are too small, no method fits, or names are the same.
    """

    experiments: tuple[str, ...] = EXPERIMENTS
    methods: tuple[str, ...] = METHODS
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    tuning_seeds: tuple[int, ...] = (106, 107)
    trials: int = 8
    cycles: int = 0
    tuning_cycles: int = 300

    def __post_init__(self) -> None:
        if both := sorted(set(self.seeds) & set(self.tuning_seeds)):
            raise ValueError(f"seed {both[0]} is both scored and used for tuning: choose other --tuning-seeds")
        if self.trials < 1 or self.tuning_cycles < 1 or self.cycles < 0:
            raise ValueError("a board needs --trials and --tuning-cycles of 1 or more, and --cycles of 0 or more")
        titles = [title_of(name) for name in self.experiments]
        if double := next((one for one in titles if titles.count(one) > 1), None):
            raise ValueError(f"two experiments of the board are named {double}: give the page another name=")
        if not self.pairs:
            raise ValueError(f"none of {', '.join(self.methods)} fits {', '.join(self.experiments)}: name others")

    @cached_property
    def pairs(self) -> list[Pair]:
        """Experiments and methods that fit together."""
        pairs = [(experiment, method) for experiment in self.experiments for method in self.methods]
        return [pair for pair in pairs if RECIPES[pair[1]].fits(page(pair[0]))]

    def trial_cells(self, pair: Pair) -> list[list[BoardCell]]:
        """One list of cells, over tuning seeds, for each trial."""
        points = RECIPES[pair[1]].trials(page(pair[0]), self.trials)
        return [
            [BoardCell(*pair, tuple(point.items()), seed, self.tuning_cycles, trial) for seed in self.tuning_seeds]
            for trial, point in enumerate(points)
        ]

    def score_cells(self, pair: Pair, settings: Settings) -> list[BoardCell]:
        """One cell for each scoring seed."""
        return [BoardCell(*pair, settings, seed, self.cycles) for seed in self.seeds]


def run(plan: Plan, directory: Path, engine: str = "serial") -> list[Row]:
    """Run what is not finished yet; return one row for each experiment and method.

    Parameters
    ----------
    plan : Plan
    directory : Path
        The files of its cells are in its folder `cells`.
    engine : str
        As in `ensf.runs.engines`.

    Raises
    ------
    ValueError
        If every scored run of an experiment ended in an error.
    """
    folder = directory / "cells"
    folder.mkdir(parents=True, exist_ok=True)
    cells = {pair: plan.trial_cells(pair) for pair in plan.pairs}
    tuned = complete([cell for pair in plan.pairs for cell in sum(cells[pair], [])], folder, engine, "tuning")
    trials = {pair: [_trial(same_settings, tuned) for same_settings in cells[pair]] for pair in plan.pairs}
    best = {pair: plan.score_cells(pair, _best(trials[pair])) for pair in plan.pairs}
    scored = complete([cell for pair in plan.pairs for cell in best[pair]], folder, engine, "scoring")
    for name in plan.experiments:
        runs = [scored[cell] for pair in plan.pairs if pair[0] == name for cell in best[pair]]
        if runs and all("error" in record for record in runs):
            raise ValueError(
                f"every run of {name} ended in an error, the first by {runs[0]['error']}; records are in {folder}"
            )
    return [_row(plan, pair, trials[pair], [scored[cell] for cell in best[pair]]) for pair in plan.pairs]


# --- what came out ---------------------------------------------------------------------------------------


def _trial(cells: list[BoardCell], records: Mapping[BoardCell, CellRecord]) -> Trial:
    """What became of cells of the same settings."""
    runs = [records[cell] for cell in cells]
    rmse = [run.get("rmse_analysis") for run in runs]
    return Trial(dict(cells[0].settings), rmse, [run["diverged"] for run in runs])


def _best(trials: list[Trial]) -> Settings:
    """Settings with the smallest median RMSE, a diverged run being infinite; if all are, without that rule."""

    def criterion(trial: Trial) -> tuple[float, float]:
        rmse = [math.inf if value is None else value for value in trial.rmse]
        strict = [math.inf if diverged else value for value, diverged in zip(rmse, trial.diverged, strict=True)]
        return median(strict), median(rmse)

    return tuple(min(trials, key=criterion).settings.items()) if trials else ()


def _row(plan: Plan, pair: Pair, trials: list[Trial], runs: list[CellRecord]) -> Row:
    """Everything about one method in one experiment."""
    settings = _best(trials)
    experiment, method = plan.score_cells(pair, settings)[0].load()
    return Row(
        experiment=pair[0],
        method=pair[1],
        summary=method.summary,
        members=method.members,
        settings=dict(settings),
        recipe=repr(method.filter),
        cycles=experiment.cycles,
        burn_in=experiment.burn_in,
        medians=_medians(runs),
        diverged=sum(run["diverged"] for run in runs),
        seeds=plan.seeds,
        tuning_seeds=plan.tuning_seeds,
        tuning_cycles=plan.tuning_cycles,
        runs=runs,
        trials=trials,
    )


def _medians(runs: list[CellRecord]) -> dict[str, float | None]:
    """Medians over seeds. A run without a number has an infinite error; it has no part in other medians."""
    with_ratio = [run | {"spread_ratio": _ratio(run)} for run in runs]
    return {
        name: _median([run.get(name) for run in with_ratio], is_error=name.startswith(("rmse", "crps")))
        for name in MEASURED
    }


def _ratio(run: CellRecord) -> float | None:
    error, spread = run.get("rmse_analysis"), run.get("spread_analysis")
    return spread / error if error and spread is not None else None


def _median(values: list[float | None], is_error: bool) -> float | None:
    numbers = [math.inf if value is None else value for value in values if is_error or value is not None]
    middle = median(numbers) if numbers else math.inf
    return middle if math.isfinite(middle) else None


# --- tables and files -------------------------------------------------------------------------------------


def write(rows: list[Row], plan: Plan, directory: Path, command: str, figure: str) -> None:
    """Write `board.json` and `board.md`; the page shows a figure of this name beside it."""
    write_json(directory / "board.json", [asdict(row) for row in rows])
    write_text(directory / "board.md", markdown(rows, plan, command, figure))


def heat_map(rows: list[Row]) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, int]]]:
    """Median RMSE (NaN if there is none) and diverged runs by experiment and method, long names on two lines."""
    present = {row.method for row in rows}
    labels = {name: name.replace("_", "\n") if len(name) > 8 else name for name in METHODS if name in present}
    titles = {row.experiment: title_of(row.experiment) for row in rows}
    scores = {title: dict.fromkeys(labels.values(), math.nan) for title in titles.values()}
    diverged: dict[str, dict[str, int]] = {name: {} for name in scores}
    for row in rows:
        rmse, label, name = row.medians["rmse_analysis"], labels[row.method], titles[row.experiment]
        scores[name][label] = math.nan if rmse is None else rmse
        diverged[name][label] = row.diverged
    return scores, diverged


def markdown(rows: list[Row], plan: Plan, command: str, figure: str) -> str:
    """The page: how it was made, the heat map, one table for each experiment."""
    groups = groupby(rows, key=lambda row: row.experiment)
    link = f"[methods by experiments]({figure})"
    shown = link if figure.endswith(".pdf") else f"!{link}"  # browsers show no PDF as an image
    parts = ["# Board", _making(plan, command), LEGEND, shown]
    return "\n\n".join([*parts, *(_section(name, list(group)) for name, group in groups)]) + "\n"


def _making(plan: Plan, command: str) -> str:
    return (
        f"`{command}`, {date.today()}: seeds {_list(plan.seeds)}. Each tuned method had {plan.trials} trials on "
        f"seeds {_list(plan.tuning_seeds)}, of at most {plan.tuning_cycles} cycles, and was scored with the "
        "settings of the smallest median RMSE, a diverged run counting as infinite."
    )


def _list(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))


def _section(name: str, rows: list[Row]) -> str:
    experiment, first = page(name), rows[0]
    short = f" of {experiment.cycles}" if first.cycles < experiment.cycles else ""
    length = f"{first.cycles}{short} cycles, scored after t = {first.burn_in:g}"
    return f"## {title_of(name)}\n\n{experiment.summary}. {length}.\n\n{table(rows)}"


def table(rows: list[Row]) -> str:
    """Markdown table of one experiment: methods as rows."""
    columns = {key: form for key, form in COLUMNS.items() if any(row.medians.get(key) is not None for row in rows)}
    head = ["method", "members", "tuned", *map(title, columns), "diverged", "ms forecast", "ms analysis"]
    lines = [head, ["---"] * 3 + ["---:"] * (len(head) - 3), *(_line(row, columns) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _line(row: Row, columns: Mapping[str, str]) -> list[str]:
    tuned = ", ".join(f"{name.replace('_', '-')} {value:g}" for name, value in row.settings.items())
    scores = [_number(row.medians.get(key), form) for key, form in columns.items()]
    diverged = f"{row.diverged} of {len(row.seeds)}"
    times = [_number(row.medians[f"seconds_{what}"], ".2f", 1000) for what in ("forecast", "analysis")]
    return [row.method, str(row.members), tuned or "–", *scores, diverged, *times]


def _number(value: float | None, form: str, scale: float = 1.0) -> str:
    return "–" if value is None else format(scale * value, form)
