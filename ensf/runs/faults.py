"""Whose fault an error is: that of code which is neither of the package nor of a library is its author's."""

from __future__ import annotations

import importlib
import sysconfig
import traceback
from functools import cache
from pathlib import Path

__all__ = ["OwnFault", "own_place", "told"]


class OwnFault(ValueError):
    """An error in a page, model, operator or filter of one's own; its words say where."""


def told(error: BaseException) -> str:
    """Kind and words of an error, and where it is if it is in code of one's own."""
    if isinstance(error, OwnFault):
        return str(error)
    place = own_place(error)
    return f"{place}: {type(error).__name__}: {error}" if place else f"{type(error).__name__}: {error}"


def own_place(error: BaseException) -> str:
    """File and line of an error in code of one's own, or in what that called of a library; nothing if it is in ours."""
    frames = traceback.extract_tb(error.__traceback__)
    ours, libraries = _roots()
    for frame in reversed(frames):
        path = Path(frame.filename)
        if not path.is_absolute():
            continue  # compiled, or without a file
        if any(root in path.parents for root in ours):
            return ""
        if not any(root in path.parents for root in libraries):
            return f"{path}, line {frame.lineno}"
    return ""


@cache
def _roots() -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Folders of the package, and of Python and its libraries."""
    names = ("ensf", "ensf.models", "ensf.experiments")
    ours = [Path(folder) for name in names for folder in importlib.import_module(name).__path__]
    schemes = sysconfig.get_paths()
    libraries = [Path(schemes[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")]
    libraries += [Path(module).parent.parent for module in (_file("numpy"),) if module]
    both = [[*folders, *(folder.resolve() for folder in folders)] for folders in (ours, libraries)]
    return tuple(both[0]), tuple(both[1])


def _file(name: str) -> str:
    return str(importlib.import_module(name).__file__ or "")
