"""Files that are there as a whole or not at all: written under a hidden name beside their own, then renamed.

Whenever a process is killed, the former file or the new one is there, whole. What it leaves of an unfinished one has a
hidden name of its own, which `clear_unfinished` removes.
"""

from __future__ import annotations

import glob
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["clear_unfinished", "expanded", "replacing", "resolved", "write_json", "write_text"]


def expanded(path: str | Path) -> Path:
    """A path as a user writes it: ``~`` is the home folder, ``~name`` that of a user, as in a shell."""
    return Path(os.path.expanduser(path))


def resolved(path: str | Path) -> Path:
    """The absolute path without links; a link to itself stays."""
    return Path(os.path.realpath(path))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name for a file to write, hidden, beside `path` and with its suffix; at the end it takes the place of `path`.

    Raises
    ------
    OSError
        If it cannot be written, as one sentence; a former file is untouched, and nothing is left of the new one.
    """
    hidden = path.with_name(f".{path.stem}-{uuid.uuid4().hex}{path.suffix}")
    try:
        yield hidden
        os.replace(hidden, path)
    except (OSError, RuntimeError) as error:  # RuntimeError: what the NetCDF library raises
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise OSError(f"{path} could not be written ({reason}): is the disk full, or the folder protected?") from error
    finally:
        hidden.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace a file by one with this text, at once.

    Raises
    ------
    OSError
        As `replacing`.
    """
    with replacing(path) as hidden:
        hidden.write_text(text, encoding="utf-8")


def write_json(path: Path, content: object) -> None:
    """Replace a file by one with this content as JSON, at once.

    Raises
    ------
    OSError
        As `replacing`.
    """
    write_text(path, json.dumps(content, indent=1) + "\n")


def clear_unfinished(path: Path) -> None:
    """Remove what killed processes left of a file of this name; no other process may be writing it now."""
    for hidden in path.parent.glob(f".{glob.escape(path.stem)}-{'[0-9a-f]' * 32}{glob.escape(path.suffix)}"):
        hidden.unlink(missing_ok=True)
