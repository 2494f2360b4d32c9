"""Who may import whom, read from the sources; and what no source may do."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# The direction of imports: a room may import the rooms of the lines above its own, and those of its own line that do
# not import it.
DIRECTION = (
    "arrays",
    "observations localization diffusion",
    "filters diagnostics",
    "wrappers",
    "dataset twin",
    "tables offline runs",
    "experiments plot",
    "cli",
)
LEVEL = {name: number for number, names in enumerate(DIRECTION) for name in names.split()}

# Libraries that only some rooms may import.
RESERVED = {
    "matplotlib": "plot cli",
    "jsonargparse": "cli",
    "tqdm": "cli experiments plot runs",
    "netCDF4": "dataset offline runs",
    "xarray": "dataset experiments offline plot runs tables",
}

OPTIONAL = {"cupy", "cupyx", "dinosaur", "jax", "veros"}
MODEL_LIBRARIES = {"array_api_compat", "numba", "numpy", "scipy", *OPTIONAL, *sys.stdlib_module_names}
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


@cache
def imports(path: Path, lazy: bool = True) -> tuple[str, ...]:
    """Dotted names that a file imports."""
    return tuple(imported(parsed(path), lazy))


def room(path: Path) -> str:
    """Room that a file belongs to: its folder at the top of the package, or the file itself."""
    part = path.relative_to(ROOT).with_suffix("").parts
    return part[1] if part[0] == "ensf" else part[0]


def rooms(path: Path) -> set[str]:
    """Rooms that a file imports."""
    parts = (name.split(".") for name in imports(path) if name.startswith("ensf."))
    return {part[1] for part in parts if part[1] in LEVEL or part[1] == "models"}


def libraries(path: Path, lazy: bool = True) -> set[str]:
    return {name.split(".")[0] for name in imports(path, lazy)}


def where(path: Path) -> str:
    return str(path.relative_to(ROOT))


def of_each(*paths: Path) -> Callable[[Callable[[Path], None]], Callable[[], None]]:
    """Decorator: one test of all these files, which names every file with a fault."""

    def whole(check: Callable[[Path], None]) -> Callable[[], None]:
        def test() -> None:
            faults = []
            for path in paths:
                try:
                    check(path)
                except AssertionError as fault:
                    faults.append(f"{where(path)}: {fault}")
            assert not faults, "\n".join(faults)

        return test

    return whole


every_room = of_each(*sources("ensf", "experiments"))
every_model = of_each(*sources("models"))
every_source = of_each(*sources("ensf", "models", "experiments"))
every_file = of_each(*sources("ensf", "models", "experiments", "tests", "docs"))


@every_room
def test_arrows_go_one_way(path):
    here = room(path)
    if here in ("__init__", "__main__"):
        return
    up = {name for name in rooms(path) - {here} if name != "models" and LEVEL[name] > LEVEL[here]}
    assert not up, f"{where(path)} imports {', '.join(sorted(up))}, above its own room: move what it needs down"


def test_the_rooms_have_no_circle():
    arrows = {name: set() for name in LEVEL}
    for path in sources("ensf", "experiments"):
        if room(path) in arrows:
            arrows[room(path)] |= rooms(path) - {room(path), "models"}
    TopologicalSorter(arrows).prepare()


def test_the_files_have_no_circle():
    files = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sources("ensf")}
    arrows = {name: {one for one in imports(path) if one in files} for name, path in files.items()}
    TopologicalSorter(arrows).prepare()


def test_the_plan_is_seen_at_the_top():
    entries = {
        path.stem for path in (ROOT / "ensf").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert entries == {"__init__", "__main__", *LEVEL} - {"experiments"}


@pytest.mark.parametrize(("names", "most"), [(("isinstance", "hasattr"), 4), (("Any",), 5)], ids=str)
def test_types_are_asked_for_seldom(names, most):
    """So many in 1000 lines: variation is a verb or a protocol, and what has a type says it."""
    texts = [path.read_text(encoding="utf-8") for path in sources("ensf")]
    asked = sum(len(re.findall(rf"\b({'|'.join(names)})\b", text)) for text in texts)
    assert asked <= most * sum(text.count("\n") for text in texts) / 1000


def test_all_folders_are_installed():
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {path.parent for path in sources("ensf", "models", "experiments")} | {ROOT / "ensf/cli/templates"}
    names = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert sorted(name if name.startswith("ensf") else f"ensf.{name}" for name in names) == sorted(packages)


@every_room
def test_reserved_libraries_stay_in_their_rooms(path):
    taken = {library for library in libraries(path) & set(RESERVED) if room(path) not in RESERVED[library].split()}
    assert not taken, f"{where(path)} imports {taken}"


DOOR = ROOT / "ensf" / "dataset" / "netcdf.py"
PROGRAM = ROOT / "ensf" / "offline" / "cycle" / "python_model.py"  # held to what it may import by the second test below
OPENERS = {"Dataset", "MFDataset", "NetCDF4DataStore", "H5NetCDFStore", "netcdf_file", "to_netcdf", "File"}
KINDS = ("dataset", "dataarray", "mfdataset", "datatree", "groups")
OPENERS |= {f"{verb}_{kind}" for verb in ("open", "load", "save") for kind in KINDS}
LIBRARIES = {"netCDF4", "xr", "xarray", "h5netcdf", "h5py"}


def opens_netcdf(node: ast.AST) -> bool:
    """Whether a call opens a NetCDF file: the library is not safe between threads."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    name, of = node.func.attr, node.func.value
    if name in ("Dataset", "File"):
        return isinstance(of, ast.Name) and of.id in LIBRARIES - {"xr", "xarray"}
    return name in OPENERS


@of_each(*(path for path in sources("ensf", "experiments") if path not in (DOOR, PROGRAM)))
def test_nobody_else_opens_netcdf(path):
    lines = [node.lineno for node in ast.walk(parsed(path)) if opens_netcdf(node)]
    assert not lines, f"{where(path)}:{lines} opens NetCDF: use ensf.dataset.netcdf"
    assert not libraries(path) & {"h5netcdf", "h5py"}, "imports another NetCDF library"
    assert not {"netCDF4.Dataset", "xarray.open_dataset", "xarray.load_dataset"} & set(imports(path))


def test_the_program_of_a_member_has_one_thread_and_starts_without_ensf():
    """So it needs no door, and a member starts in the time that xarray needs."""
    assert libraries(PROGRAM) == {"difflib", "importlib", "inspect", "json", "numpy", "os", "sys", "xarray"}


@of_each(*sources("models", "experiments"))
def test_models_and_experiments_do_not_draw(path):
    assert "matplotlib" not in libraries(path)


@every_model
def test_models_know_nothing_of_the_method(path):
    names = {name for name in imports(path) if name.split(".")[0] == "ensf"}
    assert all(name.startswith("ensf.models") for name in names)
    assert libraries(path) - {"ensf"} <= MODEL_LIBRARIES


@every_file
def test_there_is_one_copy_of_every_module(path):
    assert not libraries(path) & {"models", "experiments"}, "import ensf.models and ensf.experiments instead"


@every_source
def test_optional_libraries_are_imported_where_they_are_used(path):
    assert not libraries(path, lazy=False) & OPTIONAL


@every_file
def test_no_global_random_stream(path):
    assert "random" not in libraries(path)
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute) and node.value.attr == "random":
            assert node.attr in EXPLICIT, f"{where(path)}:{node.lineno} uses the global stream: pass an rng"
    drawn = {name.split(".")[2] for name in imports(path) if name.startswith("numpy.random.")}
    assert drawn <= EXPLICIT


def test_the_filters_need_no_plotting_and_no_command_line():
    code = "import sys, ensf, ensf.twin; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(result.stdout.split()) & {"matplotlib", "jsonargparse", "cupy", "tqdm", "xarray"}


HEAVY = {"numba", "matplotlib", "xarray", "netCDF4", "jsonargparse", "tqdm", "threadpoolctl", "concurrent.futures"}
HEAVY |= {"scipy.linalg", "scipy.optimize", "scipy.sparse", "scipy.spatial", "scipy.special", "scipy.stats"}


def test_what_takes_long_to_import_is_imported_late():
    code = "import sys, ensf; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(result.stdout.split()) & HEAVY


def test_arrays_import_little():
    """Without `ensf` itself, whose front door opens all rooms."""
    stub = "import sys, types; sys.modules['ensf'] = ensf = types.ModuleType('ensf'); ensf.__path__ = [sys.argv[1]]"
    code = f"{stub}; import ensf.arrays; print(*sys.modules)"
    command = [sys.executable, "-c", code, str(ROOT / "ensf")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not set(result.stdout.split()) & HEAVY
