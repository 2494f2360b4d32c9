"""One method and seed of an experiment: its files, and how it goes on where it stopped.

Beside the file of cycles, ``METHOD_seedN.nc``, an unfinished run has a restart and a journal. A cycle is finished when
its record is in the journal, then in the file, then counted by the restart, in this order; a run goes on from its
restart, and makes the file again from the journal. When the run is complete the journal is removed, and the restart has
what else it takes to make it again from the file: so the run can be extended by more cycles.
"""

from __future__ import annotations

import json
import time as clock
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ensf.diagnostics import scores
from ensf.filters.lost import Lost
from ensf.runs import restart
from ensf.runs.netcdf.again import beginning, make_journal
from ensf.runs.netcdf.writer import Writer, read
from ensf.runs.recipe import describe
from ensf.runs.recipe.settings import leaves
from ensf.twin.experiment import Experiment, Method, Record, summarise
from ensf.twin.twin import Checkpoint, Cycle

__all__ = ["Run"]

Show = Callable[[Mapping[str, float], int], None]
"""Gets the scores of a cycle, and how many there are."""

ROLES = ("forecast", "analysis", "output")


@dataclass(frozen=True)
class Run:
    """One method and seed of an experiment, and its files in a folder.

    Parameters
    ----------
    experiment : Experiment
    name : str
        Of the method.
    method : Method
    seed : int
    directory : Path
    command : str
        For the attributes of the file.
    keep_members : int
        All members are written every so many cycles; 0 = never.
    """

    experiment: Experiment
    name: str
    method: Method
    seed: int
    directory: Path
    command: str
    keep_members: int = 0

    @property
    def key(self) -> tuple[str, int]:
        """Method and seed."""
        return self.name, self.seed

    @property
    def path(self) -> Path:
        """The file of cycles."""
        return self.directory / f"{self.name}_seed{self.seed}.nc"

    @property
    def restart_file(self) -> Path:
        """What an unfinished run goes on from."""
        return self.path.with_suffix(".restart.npz")

    @property
    def journal_file(self) -> Path:
        """The journal of the file of cycles."""
        return self.path.with_suffix(".journal")

    @cached_property
    def recipe(self) -> dict[str, str]:
        """All that determines the cycles, their scores and what is kept of them."""
        method = {"method": self.method.filter, "members": self.method.members}
        kept = {"keep_members": self.keep_members} if self.keep_members else {}
        return describe.run_recipe(self.experiment, **method, name=self.name, seed=self.seed, **kept)

    def finished(self, record: Record | None) -> bool:
        """True if `record`, from the summary, is of a complete run of this recipe; False if there is more to do.

        Raises
        ------
        ValueError
            If the files are of another recipe or have more cycles, or there are cycles but nothing to go on from.
        """
        wanted = self.experiment.cycles
        if self.restart_file.exists():
            content = restart.read(self.restart_file)
            describe.check_recipe(self.recipe, content["recipe"], self.restart_file)
            done = content["checkpoint"].cycles
            if done > wanted:
                raise ValueError(
                    f"{self.path} has {done} cycles but {wanted} are to be run: give that many or more, or run again "
                    "with --overwrite"
                )
            return record is not None and not self.journal_file.exists() and done == wanted
        cycles, recipe = (0, {}) if self.journal_file.exists() else _stored(self.path)
        if cycles and (record is None or record["cycles"] != cycles):
            raise ValueError(
                f"{self.path} has {cycles} cycles but no restart beside it: run it again with --overwrite, "
                "or choose another --output"
            )
        if cycles:
            describe.check_recipe(self.recipe, recipe, self.path)
        if cycles and cycles != wanted and not (record and record.get("lost")):
            raise ValueError(
                f"{self.path} has {cycles} cycles, not {wanted}, and no restart beside it from which it could be "
                "extended: run it again with --overwrite"
            )
        return cycles > 0

    def complete(
        self,
        resume: bool,
        restart_every: int,
        stopping: Callable[[], bool],
        show: Show,
    ) -> Record:
        """Run to the end, or until the members leave the range of numbers, and return the record for the summary.

        Raises
        ------
        KeyboardInterrupt
            After the cycle in which `stopping` is True; the restart is written.
        """
        progress = Progress.resume(self) if resume and self.restart_file.exists() else Progress.begin(self)
        start = (progress.start,) if progress.start else ()
        try:
            with closing(self.experiment.run(self.method, self.seed, *start)) as cycles:
                for cycle in cycles:
                    stop = stopping()
                    done = cycle.index + 1
                    due = restart_every > 0 and (done % restart_every == 0 or done == self.experiment.cycles)
                    progress.take(cycle, stop or due)
                    show(progress.history[-1][1], len(progress.history))
                    if stop:
                        raise KeyboardInterrupt
        except Lost as error:
            if not progress.history:
                raise ValueError(str(error)) from error
            warnings.warn(f"{self.name}, seed {self.seed}: {error}; the run ends here", stacklevel=2)
            progress.lost(error)
            return progress.record() | {"diverged": True, "lost": str(error)}
        finally:
            progress.close()
        return progress.record()

    def tidy(self) -> None:
        """Remove the journal of a run whose record is in the summary, and a restart that is not of its last cycle."""
        if self.journal_file.exists() and self.restart_file.exists():
            content = restart.read(self.restart_file)
            cycles = _stored(self.path)[0]
            if content["checkpoint"].cycles == cycles:
                restart.write(self.restart_file, content | {"journal": beginning(self.journal_file, cycles)})
            else:
                self.restart_file.unlink()
        self.journal_file.unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove restart and journal of a run that begins again; a journal alone is no run that is complete."""
        self.restart_file.unlink(missing_ok=True)
        self.journal_file.unlink(missing_ok=True)


class Progress:
    """What a run has so far: its file, scores and seconds; `begin` or `resume` one.

    Attributes
    ----------
    start : Checkpoint or None
        From where the run goes on.
    history : list of (time, scores)
    """

    def __init__(self, run: Run, start: Checkpoint | None, writer: Writer | None, seconds: Mapping[str, float]) -> None:
        self.run, self.start, self.writer, self.seconds = run, start, writer, dict(seconds)
        self.history: list[tuple[float, Mapping[str, float]]] = [*(writer.history() if writer else ())]

    @classmethod
    def begin(cls, run: Run) -> Progress:
        """Nothing so far; what an earlier run left is removed."""
        run.forget()
        return cls(run, None, None, dict.fromkeys(ROLES, 0.0))

    @classmethod
    def resume(cls, run: Run) -> Progress:
        """As the restart has it."""
        content = restart.read(run.restart_file)
        start = content["checkpoint"]
        experiment = run.experiment
        if not run.journal_file.exists() and "journal" in content:
            make_journal(run.journal_file, run.path, content["journal"])
        writer = Writer.resume(
            run.path,
            run.journal_file,
            start.cycles,
            model=experiment.model,
            time_units=experiment.time_units,
            every=run.keep_members,
            command=run.command,
            attributes={"settings": _settings(run)},
        )
        return cls(run, start, writer, content["seconds"])

    def take(self, cycle: Cycle, save: bool) -> None:
        """Write a cycle, and the restart after it if asked for."""
        started = clock.process_time()
        measured = scores(cycle)
        if self.writer is None:
            self.writer = _open(self.run, cycle, measured)
        self.writer.write(cycle, measured)
        self.history.append((cycle.time, measured))
        self.seconds["forecast"] += cycle.seconds_forecast
        self.seconds["analysis"] += cycle.seconds_analysis
        checkpoint = cycle.checkpoint if save else None
        if checkpoint is not None:
            self._save(checkpoint, cycle.time)
        self.seconds["output"] += clock.process_time() - started

    def _save(self, checkpoint: Checkpoint, time: float) -> None:
        recipe = {"recipe": self.run.recipe, "recipe_hash": describe.digest(self.run.recipe)}
        content = {"checkpoint": checkpoint, "time": time, "seconds": self.seconds}
        restart.write(self.run.restart_file, content | recipe)

    def lost(self, error: Lost) -> None:
        """Say in the file why the run ends here."""
        if self.writer is not None:
            self.writer.remark("lost", str(error))

    def close(self) -> None:
        """Close the file."""
        if self.writer is not None:
            self.writer.close()

    def record(self) -> Record:
        """Method, seed, scores, and seconds per cycle."""
        run = self.run
        about = {"method": run.name, "seed": run.seed, "members": run.method.members}
        per_cycle = {f"seconds_{role}": total / len(self.history) for role, total in self.seconds.items()}
        return about | summarise(run.experiment, self.history) | per_cycle


def _open(run: Run, cycle: Cycle, scores: Iterable[str]) -> Writer:
    """A new file, with a journal if the experiment can be resumed."""
    experiment, method = run.experiment, run.method
    attributes = {
        "title": f"{experiment.name}: {run.name}, seed {run.seed}",
        "summary": f"{experiment.summary}. {method.summary}.",
        "references": experiment.source,
        "command": run.command,
        "seed": run.seed,
        "experiment": experiment.name,
        "method": run.name,
        "method_recipe": repr(method.filter),
        "model_recipe": repr(experiment.model),
        "settings": _settings(run),
        "recipe": json.dumps(run.recipe),
        "recipe_hash": describe.digest(run.recipe),
        "ensf_burn_in": float(experiment.burn_in),
        "ensf_climatology": float(experiment.climatology),
    }
    return Writer.create(
        run.path,
        cycle,
        model=experiment.model,
        scores=scores,
        attributes=attributes,
        time_units=experiment.time_units,
        every=run.keep_members,
        overwrite=True,
        journal=None if cycle.checkpoint is None else run.journal_file,
    )


def _settings(run: Run) -> str:
    """Every number of experiment and method."""
    return json.dumps(leaves({"experiment": run.experiment, "method": run.method}))


def _stored(path: Path) -> tuple[int, dict[str, str]]:
    """Cycles and recipe of a file; no cycles if there is none, or it was left unreadable or without its dimensions."""
    try:
        with read(path) as file:
            return file.sizes["time"], json.loads(file.attrs.get("recipe", "{}"))
    except (FileNotFoundError, KeyError, ValueError):
        return 0, {}
