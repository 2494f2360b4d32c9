"""Cells: single runs of a board or a sweep, each finished once, in its own file, by any engine.

A finished cell is one file, written at once under its final name. It holds a hash of all that determines the run; a
cell whose recipe has changed is run again. A run that raises an error counts as diverged and its file holds the
message: remove it to try again.
"""

from __future__ import annotations

import json
import math
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from ensf.diagnostics import scores
from ensf.runs.engines import completed
from ensf.runs.faults import told
from ensf.runs.files import resolved, write_json
from ensf.runs.recipe.describe import digest, run_recipe
from ensf.twin import Experiment, Method, summarise

__all__ = ["Cell", "CellRecord", "complete"]

AnyCell = TypeVar("AnyCell", bound="Cell")
CellRecord = dict[str, Any]
"""What the file of a cell holds: its fields, its scores by name, `diverged`, or the `error` that ended it."""


@dataclass(frozen=True)
class Cell(ABC):
    """One run.

    Parameters
    ----------
    experiment : str
        Its name, or the path of its page.
    method : str
    settings : tuple of (str, value)
        What differs from run to run.
    seed : int
    """

    experiment: str
    method: str
    settings: tuple[tuple[str, Any], ...]
    seed: int

    @property
    @abstractmethod
    def file(self) -> str:
        """Name of its file."""

    @abstractmethod
    def load(self) -> tuple[Experiment, Method]:
        """The experiment and the method with the settings."""

    @cached_property
    def recipe(self) -> str:
        """Hash of all that determines the run: its length too, and the text of a page in a file."""
        experiment, method = self.load()
        settings = {"method": method.filter, "members": method.members, "cycles": experiment.cycles}
        page = {"page": Path(self.experiment).read_text(encoding="utf-8")} if self.experiment.endswith(".py") else {}
        return digest(run_recipe(experiment, **settings, seed=self.seed) | page)


# --- one cell --------------------------------------------------------------------------------------------


def _finish(cell: Cell, folder: Path, check: Callable[[], None] = lambda: None) -> None:
    """Run a cell into its file."""
    with _one_thread():
        about = asdict(cell) | {"settings": dict(cell.settings), "recipe": cell.recipe, "version": version("ensf")}
        record = about | _outcome(cell, check)
    write_json(folder / cell.file, record)


def _outcome(cell: Cell, check: Callable[[], None]) -> CellRecord:
    try:
        measured = _measure(*cell.load(), cell.seed, check)
    except Exception as error:
        return {"diverged": True, "error": told(error)}
    return {name: value if math.isfinite(value) else None for name, value in measured.items()}


def _measure(experiment: Experiment, method: Method, seed: int, check: Callable[[], None]) -> CellRecord:
    """Scores of one run; `check` is called between cycles."""
    history: list[tuple[float, Mapping[str, float]]] = []
    forecast, analysis = 0.0, 0.0
    for cycle in experiment.run(method, seed):
        history.append((cycle.time, scores(cycle)))
        forecast += cycle.seconds_forecast
        analysis += cycle.seconds_analysis
        check()
    seconds = {"seconds_forecast": forecast / len(history), "seconds_analysis": analysis / len(history)}
    return {"members": method.members} | summarise(experiment, history) | seconds


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread, and no warning of overflow in runs that diverge."""
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with threadpool_limits(1), np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        numba.set_num_threads(threads)


def _read(cell: Cell, folder: Path) -> CellRecord | None:
    """Record of a finished cell; None if there is none, or one of another recipe."""
    try:
        record = json.loads((folder / cell.file).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return record if record.get("recipe") == cell.recipe else None


# --- many cells ------------------------------------------------------------------------------------------


def complete(cells: Iterable[AnyCell], folder: Path, engine: str, what: str) -> dict[AnyCell, CellRecord]:
    """Records of all cells; those without a file are run.

    Parameters
    ----------
    cells : iterable of Cell
    folder : Path
        Where their files are.
    engine : str
        As in `ensf.runs.engines`.
    what : str
        Title of the progress bar.

    Raises
    ------
    OSError
        If processes die, or an engine does not answer.
    """
    stored = {cell: _read(cell, folder) for cell in cells}
    records = {cell: record for cell, record in stored.items() if record is not None}
    missing = [cell for cell, record in stored.items() if record is None]
    interval = 0.5 if sys.stderr.isatty() else 30
    bar = tqdm(total=len(stored), initial=len(records), desc=what, unit="run", mininterval=interval)
    work = completed(engine, partial(_work, folder=resolved(folder)), missing, folder)
    with bar, closing(work):
        for cell, _ in work:
            records[cell] = json.loads((folder / cell.file).read_text(encoding="utf-8"))
            bar.set_postfix_str(f"{cell.experiment} {cell.method}", refresh=False)
            bar.update()
    return records


def _work(cell: Cell, stopping: Callable[[], bool], folder: Path) -> None:
    def check() -> None:
        if stopping():
            raise KeyboardInterrupt

    _finish(cell, folder, check)
