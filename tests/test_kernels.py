"""Machine code on disk is that of the sources: of the file of a loop, and of all that is compiled into it."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import numpy as np
import pytest
from numba.core.registry import CPUDispatcher

import ensf
from ensf.arrays import kernels

PACKAGE = Path(ensf.__file__).parent
TAPER = """
import sys
from importlib.machinery import PathFinder
sys.meta_path.insert(0, PathFinder)  # before the finder of an editable installation
import numpy as np
from ensf.localization import loops
r = np.array([0.0, 1.5])
loops.taper(r)
print(r[0], sum(loops.taper.stats.cache_hits.values()))
"""


@pytest.fixture
def copy(tmp_path):
    """A copy of the package without machine code, and how to run a script with it: taper at 0, and entries read."""
    shutil.copytree(PACKAGE, tmp_path / "ensf", ignore=shutil.ignore_patterns("__pycache__"))

    def run(**environment: str) -> tuple[float, int]:
        settings = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1", **environment}
        settings = {name: value for name, value in settings.items() if value}
        command = [sys.executable, "-c", TAPER]
        answer = subprocess.run(command, env=settings, cwd=tmp_path, capture_output=True, text=True, check=True)
        value, hits = answer.stdout.split()
        return float(value), int(hits)

    return tmp_path / "ensf" / "localization", run


def test_a_changed_file_changes_those_whose_loops_call_it(copy):
    """`taper` calls functions of another file; broken and outdated entries do no harm."""
    folder, run = copy
    assert run(NUMBA_CACHE_DIR="") == (1.0, 0)
    stored = sorted((folder / "__pycache__").glob("loops.taper-*.nbc"))
    pieces = folder / "pieces.py"
    times = os.stat(pieces)
    assert stored
    pieces.write_text(pieces.read_text().replace("return 1 + r * r", "return 7 + r * r"))
    os.utime(pieces, (times.st_atime, times.st_mtime))
    for old in stored:
        os.utime(old, (0, 0))
    assert run(NUMBA_CACHE_DIR="") == (7.0, 0)
    assert not any(old.exists() for old in stored)
    for entry in (folder / "__pycache__").glob("loops.taper-*.nb[ic]"):
        entry.write_bytes(b"broken")
    assert run(NUMBA_CACHE_DIR="") == (7.0, 0) and run(NUMBA_CACHE_DIR="") == (7.0, 1)


def test_where_nothing_can_be_written_loops_are_compiled_in_every_process(copy, tmp_path):
    folder, run = copy
    for path in (folder / "__pycache__", tmp_path / "home"):
        path.write_text("a file, so that there is no folder")
    places = {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "home" / "cache")}
    assert run(NUMBA_CACHE_DIR="", **places) == (1.0, 0)


def test_a_folder_of_the_users_serves_an_installation_that_cannot_be_written(copy, tmp_path):
    folder, run = copy
    (folder / "__pycache__").write_text("a file, so that there is no folder")
    places = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert run(NUMBA_CACHE_DIR="", **places) == (1.0, 0) and run(NUMBA_CACHE_DIR="", **places) == (1.0, 1)


def files_of_loops(*folders: Path) -> list[Path]:
    files = (path for folder in folders for path in sorted(folder.rglob("*.py")))
    return [path for path in files if path.name != "kernels.py" and "compiled(" in path.read_text()]


def names_of(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_of(constant)


def test_what_a_loop_calls_is_among_its_sources():
    """Whatever functions and modules of the package the names in a compiled function stand for."""
    calls = 0
    for path in files_of_loops(PACKAGE):
        module = importlib.import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
        for loop in vars(module).values():
            if not isinstance(loop, CPUDispatcher):
                continue
            function = loop.py_func
            own = kernels.sources(Path(sys.modules[function.__module__].__file__))
            for name in names_of(function.__code__):
                value = function.__globals__.get(name)
                value = getattr(value, "py_func", getattr(value, "_defn", value))
                if isinstance(value, FunctionType) and value.__module__.startswith("ensf."):
                    assert Path(sys.modules[value.__module__].__file__) in own, f"{path}: {name}"
                    calls += 1
                if isinstance(value, ModuleType) and value.__name__.startswith("ensf."):
                    assert Path(value.__file__) in own, f"{path}: {name}"
    assert calls > 50


def test_numba_is_called_in_one_place():
    """Models stand apart: their loops call what is in their own file alone."""
    callers = [path for path in PACKAGE.rglob("*.py") if "njit(" in path.read_text()]
    assert callers == [PACKAGE / "arrays" / "kernels.py"]
    for name in ("lorenz63", "lorenz96", "sqg_steps"):
        module = importlib.import_module(f"ensf.models.{name}")
        for loop in vars(module).values():
            if isinstance(loop, CPUDispatcher):
                assert loop.py_func.__module__ == module.__name__
                for word in names_of(loop.py_func.__code__):
                    value = getattr(module, word, None)
                    value = getattr(value, "py_func", value)
                    assert not isinstance(value, FunctionType) or value.__module__ == module.__name__
                    assert not isinstance(value, np.ndarray)


def test_sources_are_those_of_all_that_is_imported():
    names = {path.name for path in kernels.sources(PACKAGE / "filters" / "kalman" / "lockstep.py")}
    assert {"lockstep.py", "lanes.py", "tridiagonal.py", "kernels.py"} <= names
