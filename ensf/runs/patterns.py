"""Files by names and patterns."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from ensf.runs.files import expanded, resolved

__all__ = ["each", "find_files"]

Name = TypeVar("Name")
"""A name or pattern, or a group of them."""


def each(patterns: str | Path | Sequence[Name]) -> Sequence[str | Path | Name]:
    """Names or patterns of what a caller has: one, or several."""
    return [patterns] if isinstance(patterns, str | Path) else patterns


def find_files(patterns: str | Path | Sequence[str | Path], what: str) -> tuple[Path, ...]:
    """Files of one or more names or patterns, in the natural order of their names: ``m2.nc`` before ``m10.nc``.

    Parameters
    ----------
    patterns : str, Path, or sequence of these
    what : str
        What errors call the files, such as ``"the forecast"``.

    Raises
    ------
    FileNotFoundError
        If a name or pattern fits no file.
    ValueError
        If one file is there twice.
    """
    paths: list[Path] = []
    for pattern in each(patterns):
        whole = expanded(pattern)
        fits = [str(whole)] if whole.is_file() else glob.glob(str(whole))
        if not fits:
            raise FileNotFoundError(f"there is no file {pattern}: check the name or pattern of {what}")
        paths += [Path(one) for one in sorted(fits, key=_natural)]
    real: dict[Path, Path] = {}
    for path in paths:
        if resolved(path) in real:
            raise ValueError(f"{path} and {real[resolved(path)]} are the same file: name it once")
        real[resolved(path)] = path
    return tuple(paths)


def _natural(name: str) -> list[tuple[int, Any]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name)]
