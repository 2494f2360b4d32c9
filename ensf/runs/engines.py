"""Engines: where runs, the parts of an analysis, and members of a cycle are worked, by one word.

    serial             here, one after the other
    processes:N        N processes of this machine; `processes` alone: one per processor
    dask               the processors of this machine, by Dask
    dask:tcp://...     the cluster of a Dask scheduler at that address
    mpi                the processes of ``mpiexec -n N python -m mpi4py.futures -m ensf ...``

In Python any `concurrent.futures.Executor` will do in place of the word. A task carries names; whoever works it reads
and writes the files of that task. So the bits of a result do not depend on the engine, and workers on other computers
need the same files.
"""

from __future__ import annotations

import importlib
import importlib.util
import multiprocessing
import os
import pickle
import platform
import sys
import threading
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from ensf.runs.files import clear_unfinished, resolved
from ensf.runs.interrupts import deferred, held

__all__ = ["Engine", "Workers", "check", "clear", "completed", "opened", "shared"]

Task = TypeVar("Task")
Result = TypeVar("Result")
Work = Callable[[Task, Callable[[], bool]], Result]
"""``work(task, stopping)``: a function of a module; raises KeyboardInterrupt soon after `stopping` is True."""

WORDS = ("serial", "processes", "dask", "mpi")
TRIES = 3
LOCAL = {"threads_per_worker": 1, "dashboard_address": None, "silence_logs": 40}
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def check(engine: Engine) -> None:
    """Raise ValueError if there is no such engine, ImportError if what it needs is not installed."""
    if not isinstance(engine, str):
        return
    word, _, rest = engine.partition(":")
    if word not in WORDS or (rest and word in ("serial", "mpi")):
        raise ValueError(
            f"there is no engine {engine!r}: choose serial, processes:N, dask, dask:tcp://HOST:PORT, or mpi"
        )
    if word == "processes" and rest and not (rest.isdigit() and int(rest)):
        raise ValueError(f"engine {engine!r}: give a number of processes, such as processes:4")
    if word == "dask" and rest and "://" not in rest:
        raise ValueError(f"engine {engine!r}: give the address of the scheduler, such as dask:tcp://127.0.0.1:8786")
    for name, extra in {"dask": ("distributed", "dask"), "mpi": ("mpi4py", "mpi")}.items():
        if word == name and importlib.util.find_spec(extra[0]) is None:
            raise ImportError(f'engine {word} needs {extra[0]}: pip install "ensf[{extra[1]}]"')


def completed(
    engine: Engine,
    work: Work[Task, Result],
    tasks: Iterable[Task],
    folder: Path,
    stopping: Callable[[], bool] = lambda: False,
) -> Generator[tuple[Task, Result], None, None]:
    """Tasks with their results, in the order in which they finish; parameters and errors are those of `opened`."""
    tasks = list(tasks)
    with opened(engine, folder, stopping, len(tasks)) as workers:
        yield from workers.completed(work, tasks)


@contextmanager
def opened(
    engine: Engine, folder: Path, stopping: Callable[[], bool] = lambda: False, tasks: int | None = None
) -> Iterator[Workers]:
    """Workers for one round of tasks after another.

    Parameters
    ----------
    engine : str, Executor, or Workers
        Workers that are open stay open.
    folder : Path
        Seen by all workers: a hidden file in it tells them to stop.
    stopping : callable
        True if all is to stop, as that of `ensf.runs.interrupts.deferred`.
    tasks : int, optional
        No more workers than this are started.

    Raises
    ------
    ValueError, ImportError
        As `check`.
    OSError
        If an address does not answer.
    """
    if isinstance(engine, Workers):
        yield engine
        return
    check(engine)
    workers = Workers(engine, resolved(folder) / f".stop-{uuid.uuid4().hex}", stopping, tasks)
    try:
        yield workers
    finally:
        workers.close()


def clear(folder: Path) -> None:
    """Remove what a killed process left for its workers in a folder, which this process owns."""
    for name in ("shared", "stop"):
        clear_unfinished(folder / name)


class Workers:
    """Workers that `opened` gives; they start with the first round of tasks."""

    def __init__(self, engine: str | Executor, stop: Path, stopping: Callable[[], bool], limit: int | None) -> None:
        self.engine, self.stop, self.stopping, self.limit = engine, stop, stopping, limit
        self.stays_open = isinstance(engine, Executor)
        self._stack = ExitStack()
        self._pool: Executor | None = None
        self._futures: dict[Future, Any] = {}

    @property
    def are_here(self) -> bool:
        """Whether the work is done in this process, one task after the other."""
        return self.engine == "serial"

    @contextmanager
    def sharing(self, content: object) -> Iterator[str]:
        """Within, `shared` gives workers what their tasks have in common, of the yielded name.

        Raises
        ------
        ValueError
            If it cannot be sent to other processes.
        """
        path = self.stop.with_name(f".shared-{uuid.uuid4().hex}")
        try:
            if not self.are_here:
                path.write_bytes(_pickled(content))
            _SHARED[str(path)] = content
            yield str(path)
        finally:
            _SHARED.pop(str(path), None)
            path.unlink(missing_ok=True)

    def completed(self, work: Work[Task, Result], tasks: Iterable[Task]) -> Generator[tuple[Task, Result], None, None]:
        """Tasks with their results, in the order in which they finish.

        When the generator is closed early, workers stop as soon as `work` looks at its `stopping`. A task whose worker
        died is done again.

        Raises
        ------
        KeyboardInterrupt
            After `stopping` is True and all workers have stopped.
        OSError
            If an address does not answer, or workers have died three times.
        """
        tasks = list(tasks)
        if self.are_here:
            for task in tasks:
                yield task, work(task, self.stopping)
            return
        for attempt in range(1, TRIES + 1):
            try:
                yield from self._round(work, tasks)
                return
            except BrokenProcessPool:
                if attempt == TRIES or self.stays_open:
                    raise OSError(
                        f"processes of engine {self.engine} died {attempt} times, perhaps for lack of memory: "
                        "try again with fewer"
                    ) from None
                self.close()

    def _round(self, work: Work[Task, Result], tasks: list[Task]) -> Generator[tuple[Task, Result], None, None]:
        """Each task is taken out of the list when it is done."""
        try:
            if self._pool is None:
                _start_tracker(self.engine)
            with held():
                pool = self._started(len(tasks))
                self._futures = {pool.submit(_worked, work, task, str(self.stop), mine()): task for task in tasks}
            pending = set(self._futures)
            while pending:
                finished, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
                if self.stopping():
                    raise KeyboardInterrupt
                for future in finished:
                    result = _result(future)
                    tasks.remove(self._futures[future])
                    yield self._futures[future], result
            self._futures = {}
        except BrokenProcessPool:
            raise
        except BaseException:
            self.stop.touch()
            raise

    def _started(self, tasks: int) -> Executor:
        if self._pool is None:
            self._pool = self._stack.enter_context(_executor(self.engine, self.limit or tasks))
        return self._pool

    def close(self) -> None:
        """Wait for the workers; Ctrl-C waits too, a second one does not."""
        with deferred() as stopping:
            for future in self._futures:
                future.cancel()
            if self._pool is not None and self.stays_open:
                wait(self._futures)
            elif self._pool is not None:
                self._pool.shutdown()
            self._stack.close()
            self._stack, self._pool, self._futures = ExitStack(), None, {}
            self.stop.unlink(missing_ok=True)
        if stopping():
            raise KeyboardInterrupt


Engine = str | Executor | Workers
"""One of the words above, or an executor or workers, which stay open."""


def _result(future: Future) -> Any:
    try:
        return future.result()
    except (BrokenProcessPool, KeyboardInterrupt):
        raise
    except Exception as error:
        if type(error).__name__ == "KilledWorker":
            raise OSError(f"workers died over and over ({error}): give them more memory") from error
        raise


@contextmanager
def _executor(engine: str | Executor, tasks: int) -> Iterator[Executor]:
    if isinstance(engine, Executor):
        yield engine
        return
    word, _, rest = engine.partition(":")
    with ExitStack() as stack:
        stack.enter_context(_one_thread_each())
        if word == "processes":
            number = max(1, min(int(rest or os.cpu_count() or 1), tasks))
            yield ProcessPoolExecutor(number, multiprocessing.get_context("spawn"), _leave_with_parent)
        elif word == "dask":
            yield stack.enter_context(_dask(rest)).get_executor(pure=False)
        else:
            yield stack.enter_context(_mpi())


def _start_tracker(engine: str | Executor) -> None:
    """Start what Python starts with the first process: when it does, it lets Ctrl-C through."""
    if isinstance(engine, str) and engine != "mpi" and sys.platform != "win32":
        resource_tracker.ensure_running()


@contextmanager
def _dask(address: str) -> Iterator[Any]:
    distributed = importlib.import_module("distributed")
    try:
        client = distributed.Client(address, timeout=10) if address else distributed.Client(**LOCAL)
    except (OSError, ValueError) as error:
        raise OSError(f"no Dask scheduler answers at {address or 'this machine'} ({error}): is it running?") from error
    with client:
        yield client


def _mpi() -> Executor:
    """The other processes of this ``mpiexec``: none is started."""
    try:
        futures = importlib.import_module("mpi4py.futures")
    except RuntimeError as error:
        raise ImportError(f'engine mpi finds no MPI library ({error}): pip install "ensf[mpi]"') from error
    if importlib.import_module("mpi4py.MPI").COMM_WORLD.size < 2 or futures._core.SharedPool is None:
        raise ValueError("engine mpi: start it as mpiexec -n N python -m mpi4py.futures -m ensf ..., N being 2 or more")
    return futures.MPIPoolExecutor()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes that are started within use one thread: said before they import anything."""
    former = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in former.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _pickled(content: object) -> bytes:
    try:
        return pickle.dumps(content)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"this cannot be sent to workers ({error}): define functions and classes in a module, or use engine serial"
        ) from error


# --- in a worker -----------------------------------------------------------------------------------------


_SHARED: dict[str, Any] = {}


def shared(name: str) -> Any:
    """What the tasks of a round have in common; read once by each process."""
    if name not in _SHARED:
        _SHARED.clear()
        _SHARED[name] = pickle.loads(Path(name).read_bytes())
    return _SHARED[name]


def mine() -> tuple[str, str]:
    """What must be the same in all processes that work together."""
    return f"ensf {version('ensf')}", f"numpy {version('numpy')}"


def _worked(work: Work[Task, Result], task: Task, stop: str, theirs: tuple[str, str]) -> Result:
    import numba

    if mine() != theirs:
        raise ValueError(
            f"the worker on {platform.node()} has {' and '.join(mine())} but this process {' and '.join(theirs)}: "
            "install the same there"
        )
    if not Path(stop).parent.is_dir():
        raise ValueError(
            f"the worker on {platform.node()} has no folder {Path(stop).parent}: give workers the same files, under "
            "the same names"
        )
    numba.set_num_threads(1)
    with threadpool_limits(1):
        return work(task, Path(stop).exists)


def _leave_with_parent() -> None:
    threading.Thread(target=_leave_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def _leave_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
