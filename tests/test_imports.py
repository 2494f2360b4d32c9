"""Who may import whom, read from the sources; and what no source may do."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Rooms of the package and the rooms that each may import. A new file needs a line; a folder is one room.
ROOMS = {
    # ground
    "arrays": "",
    "schedule": "",
    "settings": "",
    "localization": "arrays",
    "functions": "arrays",
    "operators": "arrays functions",
    "errors": "arrays",
    "laws": "arrays errors",
    "observation": "arrays errors functions operators",
    "flags": "",
    "derived": "arrays functions operators",
    "stations": "arrays derived flags observation operators state",
    "tables": "flags stations",
    "boxes": "",
    "quality": "boxes flags",
    "score": "arrays",
    "tilted": "arrays",
    "state": "arrays derived errors functions localization observation operators",
    "analysis": "arrays observation",
    "diagnostics": "arrays observation",
    # the pieces of a score filter
    "guidance": "arrays observation score",
    "sampler": "arrays schedule",
    # filters
    "spread": "analysis arrays observation",
    "filter": "analysis arrays guidance observation sampler schedule score spread",
    "letkf": "arrays localization",
    "information": "arrays letkf localization",
    "remainder": "arrays observation",
    "kalman": "analysis arrays information letkf localization observation remainder",
    "flow": "arrays letkf localization",
    "particle": "analysis arrays observation",
    "transform": "analysis arrays errors flow functions information kalman localization observation operators "
    "remainder tilted",
    "copula": "analysis arrays functions observation operators",
    "adaptive": "analysis arrays kalman localization observation",
    "serial": "arrays",
    "marginals": "arrays serial",
    "quantile": "analysis arrays kalman localization marginals observation serial",
    "tempered": "analysis arrays observation",
    "guard": "analysis arrays observation",
    "patience": "analysis arrays observation",
    "window": "analysis arrays observation",
    "finite_size": "analysis arrays kalman observation",
    "dataset": "analysis arrays kalman localization observation state",
    "offline": "analysis arrays dataset interrupts kalman observation operators spread state stations tables transform",
    # experiments
    "networks": "arrays observation",
    "twin": "analysis arrays observation window",
    "experiment": "analysis arrays diagnostics twin",
    "nature": "arrays",
    "time_units": "",
    "output": "arrays diagnostics observation time_units",
    "cf": "",
    "locks": "",
    "journal": "locks",
    "storage": "output",
    "netcdf": "cf diagnostics journal output storage time_units",
    "restart": "arrays",
    "interrupts": "",
    "resumable": "diagnostics experiment netcdf restart settings twin",
    "runner": "experiment interrupts resumable",
    "methods": "",
    "external": "analysis arrays interrupts locks offline restart",
    "plot": "diagnostics experiment plot_fields",
    "plot_fields": "arrays diagnostics netcdf observation",
    "cells": "diagnostics experiment experiments settings",
    "board": "cells experiments",
    "cli": "board experiment external interrupts methods netcdf offline plot plot_fields runner settings",
    "__init__": "analysis filter guidance kalman localization observation particle sampler schedule score spread "
    "transform twin",
}

# Libraries that only some rooms may import.
RESERVED = {
    "matplotlib": "plot plot_fields cli",
    "jsonargparse": "cli",
    "tqdm": "cells cli nature plot_fields runner",
    "netCDF4": "cf nature netcdf offline storage",
    "xarray": "dataset external netcdf offline plot plot_fields state tables",
}

MODEL_LIBRARIES = {"array_api_compat", "cupy", "cupyx", "numba", "numpy", "scipy", "veros", *sys.stdlib_module_names}
EXPLICIT = {
    "BitGenerator",
    "Generator",
    "PCG64",
    "Philox",
    "Philox4x3210",
    "SFC64",
    "SeedSequence",
    "default_rng",
    "get_state",
}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(node: ast.AST, lazy: bool = True) -> Iterator[str]:
    """Dotted names that are imported; without `lazy`, only those outside functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"relative import in line {child.lineno}: write it in full"
            yield child.module
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif lazy or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from imported(child, lazy)


def room(path: Path) -> str:
    """Room that a file of the package belongs to: the folder's, if it is in one."""
    return path.relative_to(ROOT / "ensf").with_suffix("").parts[0]


def rooms(path: Path) -> set[str]:
    """Rooms of the package, and the folders `models` and `experiments`, that a file imports."""
    parts = (name.split(".") for name in imported(parsed(path)) if name.startswith("ensf."))
    known = {*ROOMS, "models", "experiments"}
    files = {room(source) for source in sources("ensf")}
    return {part[1] for part in parts if part[1] in known | files}


def libraries(path: Path, lazy: bool = True) -> set[str]:
    return {name.split(".")[0] for name in imported(parsed(path), lazy)}


def where(path: Path) -> str:
    return str(path.relative_to(ROOT))


every_room = pytest.mark.parametrize("path", sources("ensf"), ids=where)
every_model = pytest.mark.parametrize("path", sources("models"), ids=where)
every_source = pytest.mark.parametrize("path", sources("ensf", "models", "experiments"), ids=where)
every_file = pytest.mark.parametrize("path", sources("ensf", "models", "experiments", "tests", "docs"), ids=where)


@every_room
def test_rooms_import_what_the_table_allows(path):
    assert room(path) in ROOMS, f"{where(path)} is not in the table of rooms: add a line with what it may import"
    allowed = set(ROOMS[room(path)].split())
    if room(path) in ("cli", "runner"):
        allowed |= {"experiments"}
    assert rooms(path) - {room(path)} <= allowed


def test_the_table_has_no_cycle():
    TopologicalSorter({room: allowed.split() for room, allowed in ROOMS.items()}).prepare()


@every_room
def test_reserved_libraries_stay_in_their_rooms(path):
    taken = {library for library in libraries(path) & set(RESERVED) if room(path) not in RESERVED[library].split()}
    assert not taken, f"{where(path)} imports {taken}"


@pytest.mark.parametrize("path", sources("models", "experiments"), ids=where)
def test_models_and_experiments_do_not_draw(path):
    assert "matplotlib" not in libraries(path)


@every_model
def test_models_know_nothing_of_the_method(path):
    names = {name for name in imported(parsed(path)) if name.split(".")[0] == "ensf"}
    assert all(name.startswith("ensf.models") for name in names)
    assert libraries(path) - {"ensf"} <= MODEL_LIBRARIES


@every_file
def test_there_is_one_copy_of_every_module(path):
    assert not libraries(path) & {"models", "experiments"}, "import ensf.models and ensf.experiments instead"


@every_source
def test_optional_libraries_are_imported_where_they_are_used(path):
    assert not libraries(path, lazy=False) & {"cupy", "cupyx", "veros"}


@every_file
def test_no_global_random_stream(path):
    assert "random" not in libraries(path)
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute) and node.value.attr == "random":
            assert node.attr in EXPLICIT, f"{where(path)}:{node.lineno} uses the global stream: pass an rng"
    drawn = {name.split(".")[2] for name in imported(parsed(path)) if name.startswith("numpy.random.")}
    assert drawn <= EXPLICIT


def test_the_filters_need_no_plotting_and_no_command_line():
    code = "import sys, ensf.filter, ensf.kalman, ensf.twin; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(result.stdout.split()) & {"matplotlib", "jsonargparse", "cupy", "tqdm", "xarray"}
