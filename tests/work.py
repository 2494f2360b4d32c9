"""What workers of the tests do, in a file that imports little: each worker reads it anew."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def square(task, stopping):
    return task**2


def threads(task, stopping):
    import numba

    return f"{os.environ['OMP_NUM_THREADS']} {numba.get_num_threads()}", os.getpid()


def die_once(task, stopping):
    """Worker of one task in three dies the first time."""
    number, folder = task
    mark = Path(folder) / f"tried{number}"
    if number == 1 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die(task, stopping):
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(task, stopping):
    raise ValueError("one sentence")


def wait_for_the_end(task, stopping):
    Path(task).touch()
    while not stopping():
        time.sleep(0.01)
    raise KeyboardInterrupt
