"""One run, one owner: who reads, removes or writes anything in a folder of results holds its lock first.

The lock of a folder is one of the system's on a file in it, ``.ensf-owner``. It ends with its process, however that
ends, so that what a killed process left counts for nothing. An owner may own its folder again: ``ensf run`` owns it
for the run and for the report.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from ensf.runs.files import resolved

__all__ = ["OWNER", "alone", "clear_guard", "is_owned", "lock", "owned"]

OWNER = ".ensf-owner"
"""Name of the file that is locked in a folder."""

BUSY = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
_OWNED: ContextVar[frozenset[Path]] = ContextVar("owned", default=frozenset())


def lock(descriptor: int, path: Path, wait: bool = False) -> None:
    """Lock an open file; a file system without locks is a warning.

    Raises
    ------
    BlockingIOError
        If another process holds it, unless `wait`; the file is closed.
    """
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in BUSY:
            os.close(descriptor)
            raise BlockingIOError(f"another process is writing {path}: wait until it ends, or stop it") from error
        warnings.warn(
            f"{path.parent} is on a file system without locks ({error.strerror}): let no other process write there",
            stacklevel=2,
        )


@contextmanager
def owned(folder: Path, *, make: bool = True) -> Iterator[bool]:
    """Within, no other process owns this folder; True if it was not there before.

    Parameters
    ----------
    folder : Path
    make : bool
        Make the folder if it is not there. It goes again if nothing is left in it.

    Raises
    ------
    BlockingIOError
        If a living process owns it; nothing was touched.
    OSError
        If it is no folder, or cannot be written.
    """
    place = resolved(folder)
    if place in _OWNED.get():
        yield False
        return
    missing = [one for one in (place, *place.parents) if not one.exists()]
    try:
        if make:
            place.mkdir(parents=True, exist_ok=True)
        descriptor = _acquired(place / OWNER)
    except BlockingIOError as error:
        owner = _words(place / OWNER)
        raise BlockingIOError(
            f"{folder} is in use by {owner}: wait until that ends or stop it, or name another folder"
        ) from error
    except OSError as error:
        _remove(missing)
        raise type(error)(_refusal(folder, error)) from error
    token = _OWNED.set(_OWNED.get() | {place})
    try:
        yield bool(missing)
    finally:
        _OWNED.reset(token)
        _release(descriptor, place / OWNER)
        _remove(missing)


def is_owned(folder: Path) -> bool:
    """Whether a process owns this folder, by the words that it left: no lock is touched, so nobody is disturbed.

    A process on another computer counts as long as its words are there.
    """
    try:
        words = (resolved(folder) / OWNER).read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True
    if len(words) != 4 or not words[1].isdigit() or words[3] != socket.gethostname():
        return True
    try:
        os.kill(int(words[1]), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True  # a process of somebody else
    return True


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Within, no other process makes this file in this way; one that does is waited for."""
    guard = _guard(path)
    try:
        descriptor = _acquired(guard)
    except BlockingIOError:
        print(f"waiting for {_words(guard)}, which makes {path}", file=sys.stderr, flush=True)
        descriptor = _acquired(guard, wait=True)
    try:
        yield
    finally:
        _release(descriptor, guard)


def clear_guard(path: Path) -> None:
    """Remove what a process that was killed when it had just made this file left of being alone."""
    guard = _guard(path)
    with suppress(OSError):
        if guard.exists():
            _release(_acquired(guard), guard)


def _guard(path: Path) -> Path:
    return path.with_name(f".{path.name}-owner")


def _acquired(path: Path, wait: bool = False) -> int:
    """Descriptor of the locked file of this name, with words on its owner."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        lock(descriptor, path, wait)
        with suppress(FileNotFoundError):  # a former owner has removed the file between these lines
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                break
        os.close(descriptor)
    words = f"process {os.getpid()} on {socket.gethostname()}".encode()
    with suppress(OSError):  # a full disk
        os.ftruncate(descriptor, os.pwrite(descriptor, words, 0))
    return descriptor


def _release(descriptor: int, path: Path) -> None:
    """Remove the file before its lock ends."""
    with suppress(OSError):
        path.unlink()
    os.close(descriptor)


def _words(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip() or "another process"
    except (OSError, ValueError):
        return "another process"


def _remove(folders: list[Path]) -> None:
    """Remove folders that are empty."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _refusal(folder: Path, error: OSError) -> str:
    if folder.exists() and not folder.is_dir():
        return f"{folder} is a file: name a folder"
    if isinstance(error, FileNotFoundError):
        return f"there is no folder {folder}: check its name"
    return f"the folder {folder} cannot be written ({error.strerror}): choose another output"
