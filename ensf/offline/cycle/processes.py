"""Programs under way, each the head of a group of processes that ends as a whole: asked first, then killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO

__all__ = ["GRACE", "Processes"]

GRACE = 5.0
"""Seconds from SIGTERM to SIGKILL: time for a script to take its job off a queue."""


class Processes:
    """The programs that run at present, from several threads."""

    def __init__(self) -> None:
        self._lock, self._running, self._stopped = threading.Lock(), set[subprocess.Popen[bytes]](), False

    def run(self, arguments: list[str], place: Path, timeout: float) -> int:
        """Run a program in a directory and return its status.

        Raises
        ------
        subprocess.TimeoutExpired
            After `timeout` seconds, if that is positive; the program has then ended.
        OSError
            If it cannot be started.
        """
        with open(place / "stdout.txt", "wb") as out, open(place / "stderr.txt", "wb") as errors:
            process = self._start(arguments, place, out, errors)
            try:
                return process.wait(timeout or None)
            except BaseException:
                _end([process])
                raise
            finally:
                with self._lock:
                    self._running.discard(process)

    def _start(self, arguments: list[str], place: Path, out: IO[bytes], errors: IO[bytes]) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped:
                raise OSError("interrupted")
            process = subprocess.Popen(
                arguments, cwd=place, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, start_new_session=True
            )
            self._running.add(process)
        return process

    def stop(self) -> None:
        """End all and start no more."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        _end(running)


def _end(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """Ask the groups of some processes to end; kill what is left of them after a while."""
    groups = [process for process in processes if process.poll() is None]
    for process in groups:
        _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    for process in groups:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
        _signal(process, signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To the group of a process, which may be left when its head has ended."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
