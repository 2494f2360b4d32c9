"""An external model: a command that takes each member from one file to another, in a directory of its own.

    template, input --copied--> directory --command--> output

The command is any program: it is split as a shell would, but no shell runs it. These words in braces are replaced in
it, with Python's formats (``{member:03d}``):

    member, cycle       numbers, from 1
    input, output       restart file to read (a copy) and to write, with their full paths
    start, end          times; duration: their difference, in the unit of the interval (seconds between dates)
    seed                number for the random stream of a stochastic model: depends on run, cycle and member alone
    directory, folder   where the member runs; where the configuration is

A member has failed if the command cannot start, does not return 0, takes too long, or leaves no valid output. Its
directory, with ``stdout.txt`` and ``stderr.txt``, is then kept.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ensf.offline.cycle.processes import Processes
from ensf.runs.files import expanded, resolved

__all__ = ["UNREADABLE", "WORDS", "Command", "Task"]

WORDS = ("member", "cycle", "input", "output", "start", "end", "duration", "seed", "directory", "folder")

UNREADABLE = (KeyError, ValueError, IndexError, AttributeError, TypeError, MemoryError, OverflowError)
"""What a wrong format of a word raises."""


@dataclass(frozen=True)
class Task:
    """The forecast of one member: restart file in, restart file out, and the values of the other words."""

    member: int
    input: Path
    output: Path
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Command:
    """How members are run.

    Parameters
    ----------
    command : str
        Program and arguments. A relative path of the program counts from the member's directory.
    template : str
        Folder whose content each directory starts with; symbolic links stay links. None if empty.
    timeout : float
        Seconds for one try; then the program and all that it started are killed. 0 = no limit.
    retries : int
        How often a member that failed is run again.
    jobs : int
        Members at the same time.

    Raises
    ------
    ValueError
        If the command is empty, has an unknown word in braces, or a number is negative.
    """

    command: str
    template: str = ""
    timeout: float = 0.0
    retries: int = 0
    jobs: int = 1

    def __post_init__(self) -> None:
        if not self.command.strip():
            raise ValueError("command is empty: give the program and its arguments, with {input} and {output}")
        if self.timeout < 0 or self.retries < 0 or self.jobs < 1:
            raise ValueError(
                f"timeout {self.timeout:g}, retries {self.retries}, jobs {self.jobs}: give no negative number, "
                "and one job or more"
            )
        trial = dict.fromkeys(WORDS, "x") | {"member": 1, "cycle": 1, "seed": 1, "duration": 1.0}
        self.arguments(trial | {"start": _Anything(), "end": _Anything()})

    def arguments(self, values: Mapping[str, Any]) -> list[str]:
        """Program and arguments with the words replaced."""
        try:
            return [os.path.expanduser(part.format(**values)) for part in shlex.split(self.command)]
        except KeyError as error:
            raise ValueError(
                f"command {self.command!r} has the unknown word {{{error.args[0]}}}: choose from {', '.join(WORDS)}"
            ) from None
        except UNREADABLE as error:
            raise ValueError(f"command {self.command!r} cannot be read: {error}") from None

    def forecast(
        self, tasks: Iterable[Task], directory: Path, check: Callable[[Path], None], folder: Path = Path()
    ) -> dict[int, str]:
        """Run all members; those whose output is there already are done.

        Parameters
        ----------
        tasks : iterable of Task
        directory : Path
            Where the directories of members are made.
        check : callable
            ``check(path)`` raises ValueError if an output file is not valid.
        folder : Path
            Where the path of the template counts from.

        Returns
        -------
        dict of int to str
            Why members failed; empty if none did.
        """
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True, exist_ok=True)
        processes = Processes()
        once = partial(self._run, template=folder / expanded(self.template), check=check, processes=processes)
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                futures = {task.member: pool.submit(self._try, task, resolved(directory), once) for task in tasks}
                reasons = {member: future.result() for member, future in futures.items()}
            except BaseException:
                processes.stop()
                pool.shutdown(cancel_futures=True)
                raise
        return {member: reason for member, reason in reasons.items() if reason}

    def _try(self, task: Task, directory: Path, once: Callable[[Task, Path], str]) -> str:
        """Run a member until it succeeds or there are no tries left; the last reason of failure, or nothing."""
        reason = ""
        for _ in range(0 if task.output.exists() else 1 + self.retries):
            place = Path(tempfile.mkdtemp(prefix=f"member_{task.member:04d}_", dir=directory))
            reason = once(task, place)
            if not reason:
                shutil.rmtree(place, ignore_errors=True)
                return ""
            reason = f"{reason}; see {place}"
        return reason

    def _run(self, task: Task, place: Path, template: Path, check: Callable[[Path], None], processes: Processes) -> str:
        """One try; why it failed, or nothing."""
        given, made = (place / f"{what}{task.output.suffix}" for what in ("input", "output"))
        words = {"member": task.member, "input": given, "output": made, "directory": place, **task.values}
        try:
            if self.template:
                shutil.copytree(template, place, symlinks=True, dirs_exist_ok=True)
            shutil.copyfile(task.input, given)
            status = processes.run(self.arguments(words), place, self.timeout)
            if status:
                return f"it ended with {_status(status)}"
            if not made.is_file():
                return "it left no output file"
            check(made)
        except subprocess.TimeoutExpired:
            return f"it took longer than {self.timeout:g} s"
        except OSError as error:
            return f"it could not be run ({error.strerror or error})"
        except ValueError as error:
            return f"its output is not valid: {error}"
        os.replace(made, task.output)
        return ""


class _Anything:
    """A value that takes any format."""

    def __format__(self, form: str) -> str:
        return form


def _status(status: int) -> str:
    return f"exit status {status}" if status > 0 else f"signal {signal.Signals(-status).name}"
