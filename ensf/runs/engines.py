"""Engines: where the runs of a board, a sweep or an experiment are worked, by one word.

    serial             here, one after the other
    processes:N        N processes of this machine; `processes` alone: one per processor
    dask               the processors of this machine, by Dask
    dask:tcp://...     the cluster of a Dask scheduler at that address
    mpi                the processes of ``mpiexec -n N python -m mpi4py.futures -m ensf ...``

A task carries names; whoever works it reads and writes the files of that task. So the bits of a result do not depend on
the engine, and workers on other computers need the same files.
"""

from __future__ import annotations

import importlib
import importlib.util
import multiprocessing
import os
import signal
import threading
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from ensf.runs.files import resolved
from ensf.runs.interrupts import answered, deferred

__all__ = ["check", "completed"]

Task = TypeVar("Task")
Result = TypeVar("Result")
Work = Callable[[Task, Callable[[], bool]], Result]
"""``work(task, stopping)``: a function of a module; raises KeyboardInterrupt soon after `stopping` is True."""

WORDS = ("serial", "processes", "dask", "mpi")
TRIES = 3
LOCAL = {"threads_per_worker": 1, "dashboard_address": None, "silence_logs": 40}
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def check(engine: str) -> None:
    """Raise ValueError if there is no such engine, ImportError if what it needs is not installed."""
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
    engine: str,
    work: Work[Task, Result],
    tasks: Iterable[Task],
    folder: Path,
    stopping: Callable[[], bool] = lambda: False,
) -> Generator[tuple[Task, Result], None, None]:
    """Tasks with their results, in the order in which they finish.

    When the generator is closed early, workers stop as soon as `work` looks at its `stopping`. A task whose worker died
    is done again.

    Parameters
    ----------
    engine : str
    work : callable
    tasks : iterable
    folder : Path
        Seen by all workers: a hidden file in it tells them to stop.
    stopping : callable
        True if all is to stop, as that of `ensf.runs.interrupts.deferred`.

    Raises
    ------
    KeyboardInterrupt
        After `stopping` is True and all workers have stopped.
    OSError
        If an address does not answer, or workers have died three times.
    """
    tasks = list(tasks)
    check(engine)
    if engine == "serial":
        for task in tasks:
            yield task, work(task, stopping)
        return
    stop = resolved(folder) / f".stop-{uuid.uuid4().hex}"
    try:
        for attempt in range(1, TRIES + 1):
            try:
                yield from _parallel(engine, work, tasks, stop, stopping)
                return
            except BrokenProcessPool:
                if attempt == TRIES:
                    raise OSError(
                        f"processes of engine {engine} died {TRIES} times, perhaps for lack of memory: "
                        "try again with fewer"
                    ) from None
    finally:
        stop.unlink(missing_ok=True)


def _parallel(
    engine: str, work: Work[Task, Result], tasks: list[Task], stop: Path, stopping: Callable[[], bool]
) -> Generator[tuple[Task, Result], None, None]:
    """Each task is taken out of the list when it is done."""
    with ExitStack() as stack:
        with answered(signal.SIG_IGN, [signal.SIGINT]):
            pool = stack.enter_context(_executor(engine, len(tasks)))
            futures = {pool.submit(_worked, work, task, str(stop)): task for task in tasks}
        pending = set(futures)
        try:
            while pending:
                finished, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
                if stopping():
                    raise KeyboardInterrupt
                for future in finished:
                    result = _result(future)
                    tasks.remove(futures[future])
                    yield futures[future], result
        except BrokenProcessPool:
            raise
        except BaseException:
            stop.touch()
            raise
        finally:
            _close(pool, futures)


def _result(future: Future) -> Any:
    try:
        return future.result()
    except (BrokenProcessPool, KeyboardInterrupt):
        raise
    except Exception as error:
        if type(error).__name__ == "KilledWorker":
            raise OSError(f"workers died over and over ({error}): give them more memory") from error
        raise


def _close(pool: Executor, futures: Iterable[Future]) -> None:
    """Wait for the workers; Ctrl-C waits too, a second one does not."""
    with deferred() as stopping:
        for future in futures:
            future.cancel()
        pool.shutdown()
    if stopping():
        raise KeyboardInterrupt


@contextmanager
def _executor(engine: str, tasks: int) -> Iterator[Executor]:
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


# --- in a worker -----------------------------------------------------------------------------------------


def _worked(work: Work[Task, Result], task: Task, stop: str) -> Result:
    import numba

    numba.set_num_threads(1)
    with threadpool_limits(1):
        return work(task, Path(stop).exists)


def _leave_with_parent() -> None:
    threading.Thread(target=_leave_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def _leave_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
