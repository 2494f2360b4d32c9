"""Settings by kind or variable of what was observed: which rows each is for, and which is for none.

A row has the setting of its kind; if there is none, that of its variable.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

__all__ = ["chosen", "idle"]


def chosen(names: Collection[str], variable: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """The name that each row has the setting of, empty where it has none, ``(row,)``.

    Parameters
    ----------
    names : collection of str
        Kinds, or variables, that have a setting.
    variable, kind : (row,) array of str
        The kind is the variable where a row says no other.
    """
    own = np.where(np.isin(variable, list(names)), variable, "")
    return np.where(np.isin(kind, list(names)), kind, own)


def idle(what: str, names: Collection[str], variable: np.ndarray, kind: np.ndarray) -> Iterator[str]:
    """A sentence for each name that is none of a row.

    Parameters
    ----------
    what : str
        What the setting is, such as ``an error law``.
    names, variable, kind
        As of `chosen`.
    """
    there = {*np.unique(variable).tolist(), *np.unique(kind).tolist()}
    for name in names:
        if name not in there:
            yield f"{what} is for observations of {name!r}, of which there are none here"
