"""Published settings, one file each, with the numbers they should give.

`names` lists them; `load` gives the `EXPERIMENT` record of one, or that of a page of one's own by the path of its
file. The numbers are in each page's `EXPECTED`.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
import sys
import traceback
from dataclasses import dataclass, is_dataclass, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from ensf.filters.base import can
from ensf.runs.files import expanded, resolved
from ensf.runs.recipe.settings import override
from ensf.twin import Experiment, Method

__all__ = ["Configured", "load", "located", "names"]


def names() -> list[str]:
    """Names of all experiments, in alphabetical order."""
    return list(_names())


@cache
def _names() -> tuple[str, ...]:
    return tuple(sorted(page.name for page in pkgutil.iter_modules(__path__) if not page.name.startswith("_")))


def load(name: str) -> Experiment:
    """Experiment record of that name, or of the page in that file if the name ends in ``.py``.

    Raises
    ------
    ValueError
        If there is none, the message naming the nearest ones; or if the file ends in an error or has no `EXPERIMENT`
        that can run.
    FileNotFoundError
        If the file is not there.
    """
    if name.endswith(".py"):
        return _experiment_of(expanded(name))
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=3, cutoff=0.3) or names()
        hint = f"; for the page in the file {name}.py say {name}.py" if Path(f"{name}.py").is_file() else ""
        raise ValueError(
            f"unknown experiment {name!r}: the nearest are {', '.join(near)} (`ensf list` shows all){hint}"
        )
    return importlib.import_module(f"{__name__}.{name}").EXPERIMENT


@dataclass(frozen=True)
class Configured:
    """An experiment and its methods with changed settings, by names: what a worker makes anew.

    Parameters
    ----------
    name : str
        As `load` takes it.
    changes : tuple of (str, value)
        Settings by the dotted names of `ensf run EXPERIMENT --help`.
    methods : tuple of str
    members : int
        Ensemble size of every method; 0 = each method's own.
    """

    name: str
    changes: tuple[tuple[str, bool | int | float | str], ...]
    methods: tuple[str, ...]
    members: int = 0

    def __call__(self) -> tuple[Experiment, dict[str, Method]]:
        """The experiment, all its methods among it, and the chosen methods."""
        experiment: Any = load(self.name)  # a dataclass
        changes = dict(self.changes)
        methods = override(experiment.methods, changes)
        if self.members:
            methods = {name: replace(method, members=self.members) for name, method in methods.items()}
        return override(replace(experiment, methods=methods), changes), {name: methods[name] for name in self.methods}


def located(name: str) -> str:
    """The name as a process in any folder takes it: a page has its absolute path."""
    return str(resolved(expanded(name))) if name.endswith(".py") else name


def _experiment_of(path: Path) -> Experiment:
    """What a page of one's own has under `EXPERIMENT`."""
    module = _imported(path)
    if "EXPERIMENT" not in vars(module):
        raise ValueError(
            f"{path} has no EXPERIMENT: give it that name (`ensf new experiment NAME` writes a page that runs)"
        )
    experiment = module.EXPERIMENT
    runs = is_dataclass(experiment) and can(experiment, "run")
    if not runs:
        raise ValueError(f"{path}: EXPERIMENT is {_kind(experiment)}: give a TwinExperiment(...)")
    methods = experiment.methods
    if not methods or not all(isinstance(method, Method) for method in methods.values()):
        wrong = next(
            (f"{name!r}: {_kind(one)}" for name, one in methods.items() if not isinstance(one, Method)), "none"
        )
        raise ValueError(f"{path}: the methods of EXPERIMENT have {wrong}: give each as Method(filter, members)")
    missing = [name for name in ("shape", "dims", "advance") if not can(experiment.model, name)]
    if missing:
        raise ValueError(
            f"{path}: the model is {_kind(experiment.model)}, without {', '.join(missing)}: give an object that has "
            "the shape of a state, the names of its dimensions, and advances states"
        )
    return experiment


def _kind(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"


def _imported(path: Path) -> ModuleType:
    """The module in a file, under a name that no other module has; imported once."""
    if not path.is_file():
        raise FileNotFoundError(f"the page {path} is not there: check the path")
    path = resolved(path)
    name = f"ensf_page {path}"
    if name in sys.modules:
        return sys.modules[name]
    if (folder := str(path.parent)) not in sys.path:
        sys.path.append(folder)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        if isinstance(error, SyntaxError) and error.filename == str(path):
            lines.append(error.lineno)
        raise ValueError(f"{path}, line {lines[-1]}: {type(error).__name__}: {error}") from error
    return module
