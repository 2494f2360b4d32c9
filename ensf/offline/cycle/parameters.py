"""Parameters of a cycled model: each member runs with its own values, and they are analysed with the state.

    forecast of member j with p_j, p_j <- analysis of p_j by the update of the state, as `ensf.wrappers.Parameter` says

A parameter with a first value is kept here, in ``parameters.csv`` of each cycle, and reaches the program as a word of
its command or template. One without is a variable of the members' files, a number or a field, and is analysed there.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ensf.arrays import counted_normal
from ensf.filters.base import Update
from ensf.runs.files import write_text
from ensf.wrappers import Parameter
from ensf.wrappers.failed_members import Replacement

__all__ = ["PARAMETERS", "Estimated", "Values", "analysed", "at_start", "key", "read", "replaced", "write"]

PARAMETERS = "parameters.csv"
Values = Mapping[str, np.ndarray]
"""Values by name of a parameter, one for each member ``(member,)``."""


@dataclass(frozen=True)
class Estimated:
    """A parameter of the model.

    Parameters
    ----------
    parameter : Parameter
        How it is analysed.
    value : float, optional
        About which the members start. None: it is a variable of the members' files.
    spread : float
        Standard deviation of the members at the start, in the units of the parameter; with a transform in those of z,
        for `Log` a part of the value.

    Raises
    ------
    ValueError
        If there is a value without a spread, or a spread without a value, or the value is outside the bounds.
    """

    parameter: Parameter
    value: float | None = None
    spread: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.spread < math.inf:
            raise ValueError(f"spread of the parameter is {self.spread:g}: give a positive number")
        if (self.value is None) != (self.spread == 0):
            raise ValueError(
                f"the parameter has value {self.value} and spread {self.spread:g}: give both, for its members at the "
                "start; or neither, if it is a variable of the members' files"
            )
        if self.value is not None:
            if not math.isfinite(self.value):
                raise ValueError(f"value of the parameter is {self.value}: give a number")
            if self.parameter.is_field:
                raise ValueError("a parameter with a value is one number: a field is a variable of the members' files")
            self.parameter.to_filter(np.array([[self.value]]), "value of the parameter,")

    @property
    def is_own(self) -> bool:
        """Whether its values are kept by the run, and not in the members' files."""
        return self.value is not None

    def draw(self, name: str, seed: int, members: int) -> np.ndarray:
        """Values ``(member,)`` at the start."""
        centre = self.parameter.to_filter(np.array([[self.value]], dtype=np.float64), name)
        drawn = centre + self.spread * counted_normal(seed, f"first {name}", np.zeros(1, np.int64), members, centre)
        transform = self.parameter.transform
        return (drawn if transform is None else transform.inverse(drawn))[:, 0]


def at_start(estimated: Mapping[str, Estimated], seed: int, members: Sequence[int]) -> dict[str, np.ndarray]:
    """Values of the run's own parameters before the first cycle, of these members."""
    index = np.asarray(members) - 1
    return {name: one.draw(name, seed, max(members))[index] for name, one in estimated.items() if one.is_own}


def key(seed: int, cycle: int) -> int:
    """Of the random walks of a cycle."""
    return int(np.random.SeedSequence((seed, cycle, 0)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def analysed(estimated: Mapping[str, Estimated], values: Values, update: Update, walk: int) -> dict[str, np.ndarray]:
    """Analysis of the run's own parameters.

    Parameters
    ----------
    estimated : mapping of str to Estimated
    values : mapping of str to (member,) array
    update : Update
        Of the state.
    walk : int
        Key of the random walks.
    """
    return {
        name: estimated[name].parameter.analysed(update, one[:, None], repr(name), key=walk)[:, 0]
        for name, one in values.items()
    }


# --- in a file -------------------------------------------------------------------------------------------


def replaced(estimated: Mapping[str, Estimated], values: Values, replacement: Replacement) -> dict[str, np.ndarray]:
    """Values of the members that take the places of those that failed, of the analysis of the others."""
    return {
        name: estimated[name].parameter.combined(one[:, None], replacement.made)[:, 0] for name, one in values.items()
    }


def write(path: Path, members: Sequence[int], forecast: Values, analysis: Values) -> None:
    """Store the values of a cycle: a row for each member, and of each parameter its forecast and its analysis.

    A member without a forecast is one that replaces another: its cell is empty.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["member", *(column for name in analysis for column in (f"{name}_forecast", name))])
    for k, member in enumerate(members):
        cells = [value[k].item() for name in analysis for value in (forecast[name], analysis[name])]
        table.writerow([member, *("" if math.isnan(cell) else repr(cell) for cell in cells)])
    write_text(path, text.getvalue())


def read(path: Path, names: Sequence[str], members: Sequence[int]) -> dict[str, np.ndarray]:
    """Values after the analysis of a cycle, of these members.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is not there, is no such table, or lacks a member or a number; it names them.
    """
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        by_member = {int(row["member"]): row for row in rows}
    except FileNotFoundError:
        raise FileNotFoundError(
            f"there is no file {path} with the parameters of the cycle before: restore it"
        ) from None
    except (KeyError, TypeError, ValueError, UnicodeDecodeError, csv.Error):
        raise ValueError(f"{path} is no table of parameters with a column member: restore it") from None
    values = {}
    for name in names:
        column = np.empty(len(members))
        for k, member in enumerate(members):
            cell = by_member.get(member, {}).get(name)
            try:
                column[k] = float(cell if cell is not None else "nothing")
            except ValueError:
                column[k] = math.nan
            if not math.isfinite(column[k]):
                raise ValueError(f"{path} has no number for {name} of member {member} (there is {cell!r}): restore it")
        values[name] = column
    return values
