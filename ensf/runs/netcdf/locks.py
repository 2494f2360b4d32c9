"""Locks on files: one process at a time writes a run. A lock ends with its process, however that ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["held", "lock"]


def lock(descriptor: int, path: Path) -> None:
    """Lock an open file, where the system has such locks.

    Raises
    ------
    OSError
        If another process holds it; the file is closed.
    """
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise OSError(f"another process is writing {path}: wait until it ends, or stop it") from error


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock of a file of this name, which is made if it is not there."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    lock(descriptor, path)
    try:
        yield
    finally:
        os.close(descriptor)
