"""An external model: a command that takes each member from one file to another, in a directory of its own.

    template, input --copied--> directory --command--> output

The command is any program: it is split as a shell would, but no shell runs it. These words in braces are replaced in
it and in the path of the template, with Python's formats (``{member:03d}``, ``{time:%Y%m%d%H}``):

    member, cycle       numbers, from 1
    input, output       restart file to read (a copy) and to write, with their full paths
    start, end          times; time is end; duration: their difference, in the unit of the interval (seconds if dates)
    seed                number for the random stream of a stochastic model: depends on run, cycle and member alone
    directory, folder   where the member runs; where the configuration is
    and names of parameters of the model, whose values are those of the member

Files of the template whose names end in ``.template`` are filled with them, too.

A member has failed if the command cannot start, does not return 0, takes too long, leaves no output of its own, or one
that is not valid or unlike those of the others. Its directory, with ``stdout.txt`` and ``stderr.txt``, is then kept.

With ``by_time`` it also leaves a file for each earlier time of the window, in its directory. They are taken with the
output, in the natural order of their names: ``member_0001_01.nc``, ``member_0001_02.nc``, ..., ``member_0001.nc``.

A model in Python is run by such a command, too: ``model = "package.module:function"`` takes a Dataset to a Dataset, and
of the words those that are names of its arguments: start, end, duration, seed, member, cycle, names of parameters.

Programs run from several threads; files are read in the main one alone, for the NetCDF library is not safe elsewhere.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from ensf.dataset.stores import copy, is_there, remove
from ensf.offline.cycle import template
from ensf.offline.cycle.folders import at_time, by_time
from ensf.offline.cycle.processes import Processes
from ensf.offline.cycle.python_model import GIVEN
from ensf.runs.engines import Engine, opened
from ensf.runs.files import resolved
from ensf.runs.patterns import find_files

__all__ = ["UNREADABLE", "WORDS", "Command", "Task"]

WORDS = ("member", "cycle", "input", "output", "start", "end", "time", "duration", "seed", "directory", "folder")
UNREADABLE = (KeyError, ValueError, IndexError, AttributeError, TypeError, MemoryError, OverflowError)
"""What a pattern raises whose words in braces cannot be replaced."""
LINES, LETTERS = 3, 300
"""How much of what a program said last is part of a message."""
PROGRAM = Path(__file__).with_name("python_model.py")
MODEL = re.compile(r"\w+(\.\w+)*:\w+(\.\w+)*")

Content = TypeVar("Content")
"""What a check says of an output, by which it is compared with the others."""


@dataclass(frozen=True)
class Task:
    """The forecast of one member: restart file in, restart file out, and the values of the other words."""

    member: int
    input: Path
    output: Path
    values: Mapping[str, object]


@dataclass(frozen=True)
class Command:
    """How members are run.

    Parameters
    ----------
    command : str
        Program and arguments. A relative path of the program counts from the member's directory. Or
    model : str
        ``package.module:function``, a function of a Dataset; the module may lie beside the configuration.
    template : str
        Folder whose content each directory starts with; symbolic links stay links; it may have words in braces. None
        if empty.
    by_time : str
        Pattern of the files that it leaves in the member's directory beside the output, one for each time before that
        of the output; it may have words in braces. None if empty: the output has all times.
    timeout : float
        Seconds for one try; then the program and all that it started are killed. 0 = no limit.
    retries : int
        How often a member that failed is run again, when the others have ended.
    jobs : int
        Members at the same time.
    words : tuple of str
        Further words, of which each task has a value: names of parameters.

    Raises
    ------
    ValueError
        If the command is empty, has an unknown word in braces, or a number is negative; if there is both a command and
        a model, or neither; if `by_time` is not within the member's directory.
    """

    command: str = ""
    _: KW_ONLY
    model: str = ""
    template: str = ""
    by_time: str = ""
    timeout: float = 0.0
    retries: int = 0
    jobs: int = 1
    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.command.strip() and not self.model:
            raise ValueError(
                "command is empty: give the program and its arguments, with {input} and {output}; or model, as "
                "package.module:function"
            )
        if self.command.strip() and self.model:
            raise ValueError(f"there is a command {self.command!r} and a model {self.model!r}: give one of them")
        if self.model and not MODEL.fullmatch(self.model):
            raise ValueError(f"model {self.model!r} is no function of a module: give package.module:function")
        if not self.timeout >= 0 or self.retries < 0 or self.jobs < 1:
            raise ValueError(
                f"timeout {self.timeout:g}, retries {self.retries}, jobs {self.jobs}: give no negative number, "
                "and one job or more"
            )
        trial: dict[str, object] = dict.fromkeys(WORDS, "x") | {"member": 1, "cycle": 1, "seed": 1, "duration": 1.0}
        trial |= dict.fromkeys(("start", "end", "time"), _Anything()) | dict.fromkeys(self.words, 1.0)
        self.arguments(trial)
        self.template_folder(trial)
        self.earlier_files(trial)

    def arguments(self, values: Mapping[str, object]) -> list[str]:
        """Program and arguments with the words replaced."""
        if self.model:
            words = {name: values[name] for name in (*GIVEN, *self.words) if name in values}
            task = json.dumps(words, default=str, sort_keys=True)
            return [*self.python(str(values.get("folder", ""))), str(values["input"]), str(values["output"]), task]
        try:
            parts = shlex.split(self.command)
        except ValueError as error:
            raise ValueError(f"command {self.command!r} cannot be read: {error}") from None
        return [os.path.expanduser(_filled(part, values, f"command {self.command!r}", self.words)) for part in parts]

    def python(self, folder: str | Path) -> list[str]:
        """The program that runs the model in Python; without more arguments it checks that the function is there."""
        threads = max(1, (os.cpu_count() or 1) // self.jobs)
        return [sys.executable, "-P", str(PROGRAM), self.model, str(folder), str(threads)]

    def template_folder(self, values: Mapping[str, object]) -> str:
        """The path of the template with the words replaced."""
        return os.path.expanduser(_filled(self.template, values, f"template {self.template!r}"))

    def earlier_files(self, values: Mapping[str, object]) -> str:
        """The pattern of the files of earlier times with the words replaced, within the member's directory."""
        pattern = _filled(self.by_time, values, f"by_time {self.by_time!r}")
        if os.path.isabs(pattern) or ".." in Path(pattern).parts:
            raise ValueError(f"by_time {self.by_time!r} leaves the member's directory: name files in it, 'hist_*.nc'")
        return pattern

    def forecast(
        self,
        tasks: Sequence[Task],
        directory: Path,
        check: Callable[[Task, Sequence[Path]], Content],
        folder: Path = Path(),
        unlike: Callable[[Mapping[int, Content]], Mapping[int, str]] = lambda contents: {},
        engine: Engine = "serial",
    ) -> dict[int, str]:
        """Run all members; those whose output is there already, and valid, are done.

        Parameters
        ----------
        tasks : sequence of Task
        directory : Path
            Where the directories of members are made.
        check : callable
            ``check(task, paths)`` says what the output holds, of files of earlier times and that of the end; raises
            ValueError if it is not valid.
        folder : Path
            Where the path of the template counts from.
        unlike : callable
            ``unlike(contents)`` says, of what `check` said by member, which are not like the others or what they came
            from, and why.
        engine : str, Executor, or Workers
            Where programs run, as in `ensf.runs.engines`: ``serial`` runs `jobs` at the same time, others as many as
            they have workers.

        Returns
        -------
        dict of int to str
            Why members failed; empty if none did.
        """
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True, exist_ok=True)
        directory = resolved(directory)
        contents, said, reasons = _finished(tasks, check), dict[int, str](), dict[int, str]()
        for _ in range(1 + self.retries):
            waiting = [task for task in tasks if task.member not in contents]
            reasons = {}
            for task, place, reason in self._ended(waiting, directory, folder, engine):
                said[task.member] = _last_words(place)
                if not reason:
                    try:
                        contents[task.member] = self._taken(task, place, check)
                    except ValueError as error:
                        reason = f"its output is not valid: {error}"
                if reason:
                    reasons[task.member] = f"{reason}{said[task.member]}; see {place}"
            different = unlike(contents)
            for task in tasks:
                if task.member in different:
                    del contents[task.member]
                    reason = f"its output is unlike {different[task.member]}{said.get(task.member, '')}"
                    reasons[task.member] = f"{reason}; see {self._given_back(task, directory)}"
            if not reasons:
                break
        return dict(sorted(reasons.items()))

    def _ended(
        self, tasks: Sequence[Task], directory: Path, folder: Path, engine: Engine
    ) -> Iterator[tuple[Task, Path, str]]:
        """Each task when its program has ended, where it ran, and why it failed or nothing."""
        with opened(engine, directory) as workers:
            if workers.are_here:
                yield from self._by_threads(tasks, directory, folder)
                return
            alone = replace(self, jobs=os.cpu_count() or 1)
            for run, (place, reason) in workers.completed(
                _by_worker, [_Run(alone, task, directory, folder) for task in tasks]
            ):
                yield run.task, place, reason

    def _by_threads(self, tasks: Sequence[Task], directory: Path, folder: Path) -> Iterator[tuple[Task, Path, str]]:
        processes = Processes()
        once = partial(self.run, directory=directory, folder=folder, processes=processes)
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                runs = {pool.submit(once, task): task for task in tasks}
                for run in as_completed(runs):
                    yield runs[run], *run.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                processes.stop()
                raise

    def run(self, task: Task, directory: Path, folder: Path, processes: Processes) -> tuple[Path, str]:
        """One try: where, and why it failed or nothing."""
        place = Path(tempfile.mkdtemp(prefix=f"member_{task.member:04d}_", dir=directory))
        given, made = _files(task, place)
        words = _words(task, place)
        try:
            if self.template:
                shutil.copytree(folder / self.template_folder(words), place, symlinks=True, dirs_exist_ok=True)
                template.fill(place, words)
            for path in (*self._earlier(task, place), given, made, place / "stdout.txt", place / "stderr.txt"):
                remove(path)  # neither an output nor a link of the template
            copy(task.input, given)
            status = processes.run(self.arguments(words), place, self.timeout)
            if status:
                return place, f"it ended with {_status(status)}"
            return place, "" if is_there(made) else "it left no output file"
        except subprocess.TimeoutExpired:
            return place, f"it took longer than {self.timeout:g} s"
        except OSError as error:
            return place, f"it could not be run ({error.strerror or error})"
        except ValueError as error:
            return place, f"it could not be run ({error})"

    def _earlier(self, task: Task, place: Path) -> list[Path]:
        """Files of earlier times in the directory of a member, in order."""
        if not self.by_time:
            return []
        own = [resolved(path) for path in _files(task, place)]
        pattern = self.earlier_files(_words(task, place))
        try:
            found = find_files(f"{glob.escape(str(place))}{os.sep}{pattern}", "by_time")
        except FileNotFoundError:
            return []
        return [path for path in found if resolved(path) not in own]

    def _taken(self, task: Task, place: Path, check: Callable[[Task, Sequence[Path]], Content]) -> Content:
        """What a valid output holds; its files get their names, the last of all that of the end; the directory goes."""
        made = [*self._earlier(task, place), _files(task, place)[1]]
        if self.by_time and len(made) == 1:
            raise ValueError(f"there is no file {self.earlier_files(_words(task, place))} of an earlier time")
        content = check(task, made)
        _remove(task.output)
        for number, path in enumerate(made[:-1], 1):
            _move(path, at_time(task.output, number))
        _move(made[-1], task.output)
        shutil.rmtree(place, ignore_errors=True)
        return content

    def _given_back(self, task: Task, directory: Path) -> Path:
        """A directory with the output, which was taken too early."""
        place = Path(tempfile.mkdtemp(prefix=f"member_{task.member:04d}_", dir=directory))
        earlier = by_time(task.output)[:-1]
        os.replace(task.output, _files(task, place)[1])
        for path in reversed(earlier):
            os.replace(path, place / path.name)
        return place


# --- in a worker -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Run:
    """One try of a member."""

    command: Command
    task: Task
    directory: Path
    folder: Path


def _by_worker(run: _Run, stopping: Callable[[], bool]) -> tuple[Path, str]:
    """Where it ran, and why it failed or nothing; its program is ended when all is to stop."""
    processes, ended = Processes(), threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            if stopping():
                processes.stop()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        result = run.command.run(run.task, run.directory, run.folder, processes)
    finally:
        ended.set()
        watcher.join()
    if stopping():
        raise KeyboardInterrupt
    return result


# --- what a program leaves -------------------------------------------------------------------------------


def _words(task: Task, place: Path) -> dict[str, object]:
    """What stands in braces for a member that runs in a directory."""
    given, made = _files(task, place)
    return {"member": task.member, "input": given, "output": made, "directory": place, **task.values}


def _files(task: Task, place: Path) -> tuple[Path, Path]:
    """Input and output in the directory of a member."""
    return place / f"input{task.output.suffix}", place / f"output{task.output.suffix}"


def _finished(tasks: Sequence[Task], check: Callable[[Task, Sequence[Path]], Content]) -> dict[int, Content]:
    """What the outputs hold that an earlier run has left; those that are not valid are removed."""
    contents = {}
    for task in tasks:
        if task.output.exists():
            try:
                contents[task.member] = check(task, by_time(task.output))
            except ValueError:
                _remove(task.output)
    return contents


def _remove(output: Path) -> None:
    """Remove what a member left, from the end on: of what a kill leaves, the first times are there without a gap."""
    for path in reversed(by_time(output)):
        remove(path)


def _move(made: Path, target: Path) -> None:
    """Give a file its name; of a link a copy."""
    if made.is_symlink():
        linked, made = made, made.with_name(f"copy{made.suffix}")
        copy(linked, made)
    os.replace(made, target)


def _last_words(place: Path) -> str:
    """The last lines that a program wrote on standard error, or else on standard output, for a message."""
    for name in ("stderr.txt", "stdout.txt"):
        path = place / name
        if not path.is_file():
            continue
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - 4 * LETTERS))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
        lines = [" ".join("".join(filter(str.isprintable, line.replace("\t", " "))).split()) for line in lines]
        last = " / ".join([line for line in lines if line][-LINES:])
        if last:
            return f", and said last: {last[-LETTERS:]}"
    return ""


def _filled(pattern: str, values: Mapping[str, object], what: str, more: Sequence[str] = ()) -> str:
    """A pattern with its words replaced.

    Raises
    ------
    ValueError
        If it has another word, or a format that does not fit.
    """
    try:
        return pattern.format(**values)
    except KeyError as error:
        choice = ", ".join((*WORDS, *more))
        raise ValueError(f"{what} has the unknown word {{{error.args[0]}}}: choose from {choice}") from None
    except UNREADABLE as error:
        raise ValueError(f"{what} cannot be read: {error}") from None


class _Anything:
    """A value that takes any format."""

    def __format__(self, form: str) -> str:
        return form


def _status(status: int) -> str:
    return f"exit status {status}" if status > 0 else f"signal {signal.Signals(-status).name}"
