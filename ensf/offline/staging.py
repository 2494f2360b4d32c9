"""Files that appear together or not at all.

Everything is written into a hidden folder beside its final place. A folder that is new or empty then gets its name in
one step; into a folder with other files they are moved one by one, the record last, so that a record is only there
beside all files of its analysis.
"""

from __future__ import annotations

import os
import shutil
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ensf.runs.interrupts import deferred

__all__ = ["check_free", "staged"]


def check_free(output: Path, names: list[str], size: int, overwrite: bool) -> None:
    """Raise OSError if files are there already, or the folder cannot take `size` bytes.

    Raises
    ------
    FileExistsError, OSError
    """
    if output.exists() and not output.is_dir():
        raise FileExistsError(f"{output} is a file: name a folder")
    there = [name for name in names if (output / name).exists()]
    if there and not overwrite:
        raise FileExistsError(f"{output / there[0]} exists: name another folder, or say --overwrite to replace it")
    folder = next(one for one in (output, *output.absolute().parents) if one.is_dir())
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} cannot be written: choose another output, or change its permissions")
    free = shutil.disk_usage(folder).free
    if size > free:
        raise OSError(f"{output} needs {size / 1e6:.0f} MB but {free / 1e6:.0f} MB are free: make room")


@contextmanager
def staged(output: Path, last: str) -> Iterator[Path]:
    """A hidden folder whose files get to `output` at the end; the file called `last` is the last one.

    Raises
    ------
    OSError
        If something cannot be written; nothing is left of it.
    """
    absolute = output.absolute()
    fresh = not absolute.is_dir() or not any(absolute.iterdir())
    folder = (absolute.parent if fresh else absolute) / f".{absolute.name}-{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True)
        yield folder
        with deferred() as stopping:
            _rename(folder, absolute) if fresh else _move(folder, absolute, last)
        if stopping():
            signal.raise_signal(signal.SIGINT)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise OSError(f"{output} could not be written ({reason}): is the disk full or protected?") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _rename(folder: Path, output: Path) -> None:
    if output.is_dir():
        output.rmdir()
    os.rename(folder, output)


def _move(folder: Path, output: Path, last: str) -> None:
    (output / last).unlink(missing_ok=True)
    files = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.name == last)
    for path in files:
        target = output / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
