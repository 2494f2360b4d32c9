"""Published settings, one file each, with the numbers they should give.

`names` lists them; `load` gives the `EXPERIMENT` record of one. The numbers are in each page's `EXPECTED`.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil

from ensf.twin import Experiment

__all__ = ["load", "names"]


def names() -> list[str]:
    """Names of all experiments, in alphabetical order."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def load(name: str) -> Experiment:
    """Experiment record of that name.

    Raises
    ------
    ValueError
        If there is none; the message names the nearest ones.
    """
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=3, cutoff=0.3) or names()
        raise ValueError(f"unknown experiment {name!r}: the nearest are {', '.join(near)} (`ensf list` shows all)")
    return importlib.import_module(f"{__name__}.{name}").EXPERIMENT
