"""Files that appear together or not at all.

Everything is written into a hidden folder. If the output folder is new, the hidden one takes its place in one step; a
folder that was there before stays the same one, and the files are moved into it one by one, the record last, so that a
record is only there beside all files of its analysis. The output folder is owned meanwhile (`ensf.runs.owner`).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ensf.dataset.stores import is_store, remove
from ensf.runs.files import resolved
from ensf.runs.interrupts import deferred
from ensf.runs.owner import OWNER

__all__ = ["check_free", "staged"]


def check_free(output: Path, names: list[str], size: int, overwrite: bool) -> None:
    """Raise OSError if files are there already, or the folder cannot take `size` bytes.

    Raises
    ------
    FileExistsError, OSError
    """
    if os.path.lexists(output) and not output.is_dir():
        raise FileExistsError(f"{output} is a file: name a folder")
    store = next((one for one in (output, *output.absolute().parents) if is_store(one)), None)
    if store is not None:
        raise FileExistsError(f"{store} is a Zarr store: name a folder that is not in one")
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
def staged(output: Path, last: str, fresh: bool) -> Iterator[Path]:
    """A hidden folder whose files get to `output` at the end; the file called `last` is the last one.

    Parameters
    ----------
    output : Path
        A folder that this process owns.
    last : str
    fresh : bool
        The folder is new: it has no file but its owner's.

    Raises
    ------
    OSError
        If something cannot be written; nothing is left of it.
    """
    absolute = resolved(output)
    folder = (absolute.parent if fresh else absolute) / f".{absolute.name}-{uuid.uuid4().hex}"
    try:
        for place in {absolute.parent, absolute}:
            _clear_unfinished(place, absolute.name)
        folder.mkdir()
        yield folder
        with deferred() as stopping:
            _take_place(folder, absolute) if fresh else _move(folder, absolute, last)
        if stopping():
            signal.raise_signal(signal.SIGINT)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise OSError(f"{output} could not be written ({reason}): is the disk full or protected?") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _clear_unfinished(place: Path, name: str) -> None:
    """Remove what killed processes left of an analysis into a folder of this name, which this process owns."""
    pattern = re.compile(rf"\.{re.escape(name)}-[0-9a-f]{{32}}")
    for path in place.iterdir() if os.access(place, os.R_OK) else ():
        if pattern.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def _take_place(folder: Path, output: Path) -> None:
    """A folder takes the place of one that is empty, with the file of its owner."""
    os.rename(output / OWNER, folder / OWNER)
    os.rename(folder, output)


def _move(folder: Path, output: Path, last: str) -> None:
    (output / last).unlink(missing_ok=True)
    for path in sorted(_files(folder), key=lambda path: path.name == last):
        target = output / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        if is_store(target):
            remove(target)
        os.replace(path, target)


def _files(folder: Path) -> Iterator[Path]:
    """Files and stores in a folder and its folders."""
    for path in sorted(folder.iterdir()):
        if path.is_file() or is_store(path):
            yield path
        elif path.is_dir():
            yield from _files(path)
