"""A sweep: one experiment with several values of its settings, methods and seeds; scores as an array of all of them.

A setting is named as `ensf run EXPERIMENT --help` has it, and may be shortened: ``letkf.half_width`` is
``letkf.LETKF.localization.half_width``. What begins with the name of a method changes that method alone, and the others
are run once for all its values.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import numpy as np
import xarray as xr

from ensf import experiments
from ensf.diagnostics.score_table import SCORES, title
from ensf.experiments._benchmark.cells import Cell, complete
from ensf.runs.recipe.settings import is_of_another, of_experiment
from ensf.runs.recipe.words import whole_numbers
from ensf.twin import Experiment, Method

__all__ = ["Sweep", "full_name", "parsed", "run", "table"]

Value: TypeAlias = bool | int | float | str
NOT_SCORES = {"method", "experiment", "settings", "seed", "recipe", "version", "error", "cycles"}
COLUMNS = ("rmse_analysis", "spread_analysis", "coverage95")


@dataclass(frozen=True)
class SweepCell(Cell):
    """One run of a sweep; `settings` are by their full names, `members` among them."""

    @property
    def file(self) -> str:
        """Name of its file."""
        words = [self.method, *(f"{name}={value}" for name, value in self.settings), f"seed{self.seed}"]
        return re.sub(r"[^\w.=+-]", "_", " ".join(words)) + ".json"

    def load(self) -> tuple[Experiment, Method]:
        """The experiment and the method with the settings."""
        changes = dict(self.settings)
        members = changes.pop("members", 0)
        experiment, methods = experiments.Configured(self.experiment, tuple(changes.items()), (self.method,), members)()
        return experiment, methods[self.method]


@dataclass(frozen=True)
class Sweep:
    """What is run: all combinations.

    Parameters
    ----------
    experiment : str
        Its name, or the path of its page.
    methods : tuple of str
    seeds : tuple of int
    values : mapping of str to tuple
        Values of each setting, by its full name or `members`.
    """

    experiment: str
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    values: Mapping[str, tuple[Value, ...]]

    @cached_property
    def page(self) -> Experiment:
        return experiments.load(self.experiment)

    def cell(self, method: str, seed: int, point: Mapping[str, Value]) -> SweepCell:
        """The run of a method and a seed at a point of the sweep."""
        own = [name for name in point if not is_of_another(name, method, self.page.methods)]
        return SweepCell(self.experiment, method, tuple((name, point[name]) for name in own), seed)

    def points(self) -> list[dict[str, Value]]:
        """All combinations of values."""
        return [dict(zip(self.values, point, strict=True)) for point in itertools.product(*self.values.values())]


def full_name(short: str, experiment: Experiment) -> str:
    """The one setting of an experiment whose dotted words begin and end as those of `short`.

    Raises
    ------
    ValueError
        If there is none, or more than one.
    """
    names = [*of_experiment(experiment), "members"]
    if short in names:
        return short
    first, _, rest = short.partition(".")
    fitting = [name for name in names if rest and name.startswith(f"{first}.") and f".{name}".endswith(f".{rest}")]
    fitting = fitting or [name for name in names if f".{name}".endswith(f".{short}")]
    if len(fitting) != 1:
        why = f"may be {', '.join(fitting)}: say which" if fitting else "is none: --help lists them"
        raise ValueError(f"--{short} as a setting of {experiment.name} {why}")
    return fitting[0]


def parsed(name: str, text: str, experiment: Experiment) -> tuple[Value, ...]:
    """Values of a setting from words separated by commas, or ``first:last`` for whole numbers; each of them once.

    Raises
    ------
    ValueError
        If a word is no such value.
    """
    kind = int if name == "members" else type(of_experiment(experiment)[name])
    if kind is int:
        return tuple(whole_numbers(text, f"--{name}"))
    words = [word.strip() for word in text.split(",") if word.strip()]
    values: list[Value]
    try:
        if kind is bool:
            values = [{"true": True, "false": False}[word.lower()] for word in words]
        else:
            values = [kind(word) for word in words]
    except (ValueError, KeyError):
        raise ValueError(f"--{name} {text!r} is not a list of values such as {kind.__name__} 1,2,3") from None
    if not values:
        raise ValueError(f"--{name} has no value: give some, separated by commas")
    return tuple(dict.fromkeys(values))


def run(sweep: Sweep, directory: Path, engine: str = "serial") -> xr.Dataset:
    """Run what is not finished yet; scores by method, setting and seed.

    Parameters
    ----------
    sweep : Sweep
    directory : Path
        The files of its runs are in its folder `cells`.
    engine : str
        As in `ensf.runs.engines`.

    Returns
    -------
    Dataset
        A variable for each score, ``(filter, setting, ..., seed)``, NaN where a run ended in an error. A setting with
        one value is a coordinate without a dimension.

    Raises
    ------
    ValueError
        If every run ended in an error.
    """
    folder = directory / "cells"
    folder.mkdir(parents=True, exist_ok=True)
    points = sweep.points()
    grid = [[[sweep.cell(method, seed, p) for seed in sweep.seeds] for p in points] for method in sweep.methods]
    cells = list(dict.fromkeys(cell for rows in grid for row in rows for cell in row))
    for cell in cells:
        cell.load()  # what is no setting is refused before the first run
    records = complete(cells, folder, engine, "sweep")
    shape = (len(sweep.methods), *(len(values) for values in sweep.values.values()), len(sweep.seeds))
    dims = ("filter", *sweep.values, "seed")
    flat = [records[cell] for rows in grid for row in rows for cell in row]
    errors = [str(record["error"]) for record in flat if "error" in record]
    if len(errors) == len(flat):
        raise ValueError(f"every run of the sweep ended in an error, the first by {errors[0]}; records are in {folder}")
    names = list(dict.fromkeys(name for record in flat for name in record if name not in NOT_SCORES))
    units = getattr(sweep.page.model, "units", "1")
    variables = {
        name: (dims, np.reshape([_number(record.get(name)) for record in flat], shape), _attributes(name, units))
        for name in names
        if name not in dims
    }
    coordinates = {"filter": list(sweep.methods), "seed": list(sweep.seeds)}
    coordinates |= {name: list(values) for name, values in sweep.values.items()}
    about = {"title": f"sweep of {sweep.page.name}", "summary": sweep.page.summary, "references": sweep.page.source}
    cube = xr.Dataset(variables, coordinates, about)
    return cube.squeeze([name for name, values in sweep.values.items() if len(values) == 1])


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _attributes(name: str, units_of_state: str) -> dict[str, str]:
    words = {"diverged": "1 if the run diverged", "members": "ensemble size", "past_burn_in": "cycles after burn-in"}
    base = re.sub(r"_(all|last\d+)$", "", name)
    if base in SCORES:
        return {"long_name": SCORES[base].long_name, "units": units_of_state if SCORES[base].of_state else "1"}
    return {"long_name": words.get(name, name.replace("_", " ")), "units": "s" if name.startswith("seconds") else "1"}


def table(cube: xr.Dataset) -> str:
    """Markdown: a row for each method and point; median over seeds, lowest and highest of the RMSE, diverged runs."""
    settings = [str(name) for name in cube["rmse_analysis"].dims if name not in ("filter", "seed")]
    present = [name for name in COLUMNS if name in cube]
    head = ["filter", *settings, *(title(name) for name in present), "lowest", "highest", "diverged", "ms an"]
    lines = [head, ["---"] * (1 + len(settings)) + ["---:"] * (len(head) - 1 - len(settings))]
    methods = [str(method) for method in cube["filter"].values]
    points = [range(cube.sizes[name]) for name in settings]
    for method, index in itertools.product(methods, itertools.product(*points)):
        place = dict(zip(settings, index, strict=True))
        other = {name for name in settings if is_of_another(name, method, methods)}
        if any(place[name] for name in other):
            continue
        at = cube.sel(filter=method).isel(place)
        words = ["–" if name in other else _word(at[name].item()) for name in settings]
        lines.append([method, *words, *_scores(at, present)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _word(value: Value) -> str:
    return str(value) if isinstance(value, str | bool) else f"{value:g}"


def _scores(at: xr.Dataset, present: list[str]) -> list[str]:
    rmse = [value if math.isfinite(value) else math.inf for value in at["rmse_analysis"].values.tolist()]
    medians = [median(rmse), *(float(at[name].median()) for name in present[1:])]
    numbers = [f"{value:.3f}" for value in (*medians, min(rmse), max(rmse))]
    lost = f"{int(np.nansum(at['diverged'].values))} of {at.sizes['seed']}"
    return [*numbers, lost, f"{1000 * float(at['seconds_analysis'].median()):.2f}"]
