"""Programs under way, each the head of a group of processes that ends as a whole."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

__all__ = ["Processes"]


class Processes:
    """The programs that run at present, from several threads."""

    def __init__(self) -> None:
        self._lock, self._running, self._stopped = threading.Lock(), set[subprocess.Popen](), False

    def run(self, arguments: list[str], place: Path, timeout: float) -> int:
        """Run a program in a directory and return its status.

        Raises
        ------
        subprocess.TimeoutExpired
            After `timeout` seconds, if that is positive.
        OSError
            If it cannot be started.
        """
        with open(place / "stdout.txt", "wb") as out, open(place / "stderr.txt", "wb") as errors:
            process = self._start(arguments, place, out, errors)
            try:
                return process.wait(timeout or None)
            finally:
                with self._lock:
                    _kill(process)
                    self._running.discard(process)
                process.wait()

    def _start(self, arguments: list[str], place: Path, out: Any, errors: Any) -> subprocess.Popen:
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
            for process in self._running:
                _kill(process)


def _kill(process: subprocess.Popen) -> None:
    """End a process that has not ended, with its group."""
    if process.poll() is not None:
        return
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
