"""Journal of a file that is being written: records of one size at fixed places, in the order of cycles.

A NetCDF file has no journal of its own: a process that is killed in the few microseconds in which it renews the index
of the file can leave it unreadable. So every record is first written here, in one call, and the NetCDF file can be made
again at any time from its empty form, the *template*, and the records:

    b"ensfjrn2" | size of the template, its checksum (uint64, little-endian) | template | record 0 | record 1 | ...

Each record has its own checksum and number of bytes ahead of it. The process that writes holds a lock, which ends with
it.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np

from ensf.runs.owner import lock

__all__ = ["Journal"]

MAGIC = b"ensfjrn2"
HEAD = np.dtype([("used", "<u8"), ("checksum", "<u8")])
"""Ahead of the template and of every record: number of its bytes that are used, and their checksum."""


class Journal:
    """An open journal; `create` or `resume` one.

    Attributes
    ----------
    path : Path
    template : bytes
        What the records go into.
    """

    def __init__(self, path: Path, descriptor: int, template: bytes) -> None:
        self.path, self.template = path, template
        self._descriptor, self._start = descriptor, len(MAGIC) + HEAD.itemsize + len(template)

    @classmethod
    def create(cls, path: Path, template: bytes) -> Journal:
        """New journal without records; replaces another one."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        lock(descriptor, path)
        os.ftruncate(descriptor, 0)
        _write(descriptor, MAGIC + _head(template) + template, 0, path)
        return cls(path, descriptor, template)

    @classmethod
    def resume(cls, path: Path) -> Journal:
        """Open a journal to read its records and to write more.

        Raises
        ------
        FileNotFoundError
            If there is none.
        OSError
            If another process is writing to it.
        ValueError
            If the file is no journal, or damaged.
        """
        if not path.is_file():
            raise FileNotFoundError(f"there is no journal {path} beside the restart: start the run again")
        descriptor = os.open(path, os.O_RDWR)
        lock(descriptor, path)
        return cls._read(path, descriptor)

    @classmethod
    def look(cls, path: Path) -> Journal:
        """Open a journal to read it, whoever is writing to it; nothing is locked.

        Raises
        ------
        OSError
            If there is none.
        ValueError
            If the file is no journal, damaged, or not whole yet.
        """
        return cls._read(path, os.open(path, os.O_RDONLY))

    @classmethod
    def _read(cls, path: Path, descriptor: int) -> Journal:
        head = os.pread(descriptor, len(MAGIC) + HEAD.itemsize, 0)
        size = int.from_bytes(head[len(MAGIC) :][:8], "little")
        template = os.pread(descriptor, min(size, os.fstat(descriptor).st_size), len(head))
        if head != MAGIC + _head(template):
            os.close(descriptor)
            raise ValueError(f"{path} is not a journal, or damaged: start the run again with --overwrite")
        return cls(path, descriptor, template)

    def write(self, index: int, record: np.ndarray, used: int) -> None:
        """Write the first `used` bytes of record `index`; the rest of it takes no space.

        Raises
        ------
        OSError
            If not all of it could be written.
        """
        place = self._start + index * (HEAD.itemsize + record.nbytes)
        content = record.reshape(1).view(np.uint8)[:used].tobytes()
        _write(self._descriptor, _head(content, index) + content, place, self.path)
        if used < record.nbytes:
            os.ftruncate(self._descriptor, place + HEAD.itemsize + record.nbytes)

    def read(self, count: int, dtype: np.dtype) -> np.ndarray:
        """The first records, ``(count,)``.

        Raises
        ------
        ValueError
            If there are fewer, or one is damaged.
        """
        if not count:
            return np.empty(0, dtype)
        entries = np.dtype([("head", HEAD), ("content", np.uint8, (dtype.itemsize,))])
        if os.fstat(self._descriptor).st_size < self._start + count * entries.itemsize:
            raise ValueError(f"{self.path} has fewer than {count} records: start the run again with --overwrite")
        stored = np.memmap(self.path, entries, "r", self._start, (count,))
        for index, entry in enumerate(stored):
            content = entry["content"][: int(entry["head"]["used"])].tobytes()
            if entry["head"].tobytes() != _head(content, index):
                raise ValueError(f"record {index} of {self.path} is damaged: start the run again with --overwrite")
        return np.memmap(self.path, np.dtype([("head", HEAD), ("record", dtype)]), "r", self._start, (count,))["record"]

    def last(self, dtype: np.dtype) -> tuple[int, np.ndarray] | None:
        """Number of records up to the last that is whole, and that one, ``(1,)``; None if there is none."""
        size = HEAD.itemsize + dtype.itemsize
        count = (os.fstat(self._descriptor).st_size - self._start) // size
        for index in range(count - 1, -1, -1):
            stored = os.pread(self._descriptor, size, self._start + index * size)
            head, content = stored[: HEAD.itemsize], stored[HEAD.itemsize :]
            used = int.from_bytes(head[:8], "little")
            if head == _head(content[:used], index):
                return index + 1, np.frombuffer(content, dtype)
        return None

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _head(content: bytes, index: int = 0) -> bytes:
    """Size and checksum; records in each other's place are damaged too."""
    return np.array((len(content), zlib.crc32(content, index)), HEAD).tobytes()


def _write(descriptor: int, content: bytes, place: int, path: Path) -> None:
    failure, written = "", 0
    try:
        written = os.pwrite(descriptor, content, place)
    except OSError as error:
        failure = f" ({error.strerror})"
    if written < len(content):
        raise OSError(f"{path} could not be written{failure}: is the disk full?")
