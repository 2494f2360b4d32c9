"""Compiled loops: one decorator, whose machine code on disk is that of the sources it was made from.

Numba keeps machine code beside a file, or in the user's cache, and asks whether that file changed; what is compiled
into a loop from other files, functions and constants, it takes as it was. Here the name of an entry has a digest of the
file, of all files of the package that it imports at its top, directly or not, and of the versions of Python and Numba.
So a change anywhere among them compiles anew, and installations, branches and processes that differ never read each
other's entries. Imported where loops are called, for Numba takes its time.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

import llvmlite
import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

__all__ = ["compiled", "sources"]

Loop: TypeAlias = Callable[..., Any]
PACKAGE = Path(__file__).parents[1]
VERSIONS = sys.version, numba.__version__, llvmlite.__version__
UNUSED = 30 * 86400.0
"""Seconds after which entries of other sources are removed."""


def compiled(
    *, nogil: bool = False, parallel: bool = False, error_model: Literal["python", "numpy"] = "python"
) -> Callable[[Loop], Loop]:
    """Decorator: compile with these options of ``numba.njit``, and keep the machine code on disk where one can."""

    def compile_later(function: Loop) -> Loop:
        loop: Any = numba.njit(nogil=nogil, parallel=parallel, error_model=error_model)(function)
        # nowhere to write, or no source to read: compiled in every process
        with suppress(OSError, RuntimeError):
            loop._cache = _Entries(function, (nogil, parallel, error_model))
        return loop

    return compile_later


@cache
def sources(path: Path) -> frozenset[Path]:
    """A file and the files of the package that it imports at its top, directly or not."""
    reached, ahead = {path}, [path]
    while ahead:
        new = _imported(ahead.pop()) - reached
        reached |= new
        ahead.extend(new)
    return frozenset(reached)


@cache
def _imported(path: Path) -> frozenset[Path]:
    names: list[str] = []
    for node in ast.parse(_read(path)).body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return frozenset(file for name in names if name.split(".")[0] == PACKAGE.name for file in _file_of(name))


def _file_of(name: str) -> list[Path]:
    """Where a dotted name of the package is defined: its own file, else that of the module which has it."""
    place = PACKAGE.joinpath(*name.split(".")[1:])
    files = (file for one in (place, place.parent) for file in (one.with_suffix(".py"), one / "__init__.py"))
    return [file for file in files if file.is_file()][:1]


@cache
def _read(path: Path) -> bytes:
    """As it was when a process first asked: what it has in memory is no later than that."""
    return path.read_bytes()


class _Entries(FunctionCache):
    """Machine code of one function on disk, by signature; the folder is Numba's choice, the name is ours.

    What cannot be read is compiled anew, and what cannot be written is not kept: a full disk ends no run.
    """

    def __init__(self, function: Loop, options: tuple[bool | str, ...]) -> None:
        super().__init__(function)
        path = Path(inspect.getfile(function))
        digest = hashlib.blake2b(repr((VERSIONS, options)).encode(), digest_size=8)
        for source in sorted(sources(path)):
            digest.update(hashlib.blake2b(_read(source)).digest())
        self.name = f"{path.stem}.{function.__qualname__.replace('<', '').replace('>', '')}"
        self.base = f"{self.name}-{digest.hexdigest()}"
        self._cache_file = IndexDataCacheFile(self.cache_path, self.base, digest.hexdigest())

    def load_overload(self, signature: object, context: object) -> object:
        try:
            return super().load_overload(signature, context)
        except Exception:  # a damaged pickle raises anything
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, signature: object, result: object) -> None:
        with suppress(OSError):
            super().save_overload(signature, result)
            self._remove_unused()

    def _remove_unused(self) -> None:
        """Remove entries of the function that were made from other sources, and long ago."""
        for file in Path(self.cache_path).glob(f"{self.name}-*.nb[ic]"):
            if not file.name.startswith(self.base) and time.time() - file.stat().st_mtime > UNUSED:
                file.unlink(missing_ok=True)
