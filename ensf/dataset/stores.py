"""A NetCDF file, or a Zarr store, which is a folder: whether it is there, how large it is; copied, removed."""

from __future__ import annotations

import shutil
from pathlib import Path

__all__ = ["check_there", "copy", "is_store", "is_there", "remove", "size_of"]

ROOTS = ("zarr.json", ".zgroup")
"""What makes a folder a store, of version 3 or 2."""


def is_store(path: Path) -> bool:
    """Whether it is a Zarr store."""
    return any((path / name).is_file() for name in ROOTS)


def is_there(path: Path) -> bool:
    """Whether there is a file or a store."""
    return path.is_file() or is_store(path)


def check_there(path: Path) -> None:
    """Raise FileNotFoundError unless there is a file or a store."""
    if not is_there(path):
        raise FileNotFoundError(f"there is no file {path}: check the name or pattern of the forecast")


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a store."""
    return sum(one.stat().st_size for one in path.rglob("*") if one.is_file()) if path.is_dir() else path.stat().st_size


def copy(source: Path, target: Path) -> None:
    """Copy a file, or a store; what a process that was killed left of a copy is removed before.

    Raises
    ------
    OSError
        If it cannot be copied.
    """
    if is_store(source):
        remove(target)
        try:
            shutil.copytree(source, target)
        except shutil.Error as error:  # it tells of every file
            raise OSError(error.args[0][0][2]) from error
    else:
        shutil.copyfile(source, target)


def remove(path: Path) -> None:
    """Remove a file, a link or a store, if it is there; what is left of a store when it fails is no store."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for name in ROOTS:
        (path / name).unlink(missing_ok=True)
    shutil.rmtree(path)
