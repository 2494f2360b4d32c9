"""What the observations say: a table, checked before and after it meets the forecast, with a reason for every row."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ensf.arrays import Array
from ensf.dataset import Layout
from ensf.dataset.coordinates import column_coordinate, find_coordinate
from ensf.observations import Operator
from ensf.tables import Check, ObservationTable, Observed
from ensf.tables.flags import USED, WITHHELD

__all__ = ["check_prior", "compare", "counts", "locate", "meet", "refuse_rejected", "set_aside"]


def meet(
    table: ObservationTable, path: Path, layout: Layout, checks: Sequence[Check], options: Mapping[str, Any]
) -> Observed:
    """The rows that are left by the checks that need no forecast, on a layout."""
    for check in checks:
        if not hasattr(check, "stage"):
            table = check.flag(table)
    try:
        return table.observe(layout, **options)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def check_prior(observed: Observed, ensemble: np.ndarray, checks: Sequence[Check]) -> Observed:
    """The rows that are left by the checks that need the forecast, and what it predicts."""
    return compare(observed, "prior", ensemble).check(*(check for check in checks if hasattr(check, "stage")))


def set_aside(observed: Observed, part: float) -> tuple[Observed, Observed]:
    """The observations to use, and those that are withheld, to be scored.

    Withheld are rows with a number other than 0 in a column ``withheld``, and a part of the places, whole: what lies
    at one place, as a profile does, would otherwise be scored by its neighbours. Places are chosen by their coordinates
    alone, so that they are the same in every cycle and with every method.

    Parameters
    ----------
    observed : Observed
    part : float
        From 0 up to, but without, 1.
    """
    table = observed.table
    places, number = np.unique(np.round(table.position, 6), axis=0, return_inverse=True)
    used = np.unique(number.ravel()[observed.used])
    rank = [hashlib.blake2b(np.ascontiguousarray(place).data).digest() for place in places[used]]
    chosen = used[sorted(range(len(used)), key=rank.__getitem__)[: math.ceil(part * len(used))]]
    withheld = np.isin(number.ravel(), chosen)
    if "withheld" in table.extra:
        withheld |= np.nan_to_num(table.extra["withheld"].astype(np.float64)) != 0
    away = withheld[observed.used]
    table = table.reject(withheld, WITHHELD)
    kept, scored = (np.flatnonzero(which) for which in (~away, away))
    return (
        Observed(observed.observation.restrict(kept), observed.used[kept], table),
        Observed(observed.observation.restrict(scored), observed.used[scored], table),
    )


@dataclass(frozen=True, eq=False)
class _Predicted(Operator):
    """The operator of states whose predicted observations are there already, ``(member, observation)``."""

    values: Array

    def __call__(self, states: Array) -> Array:
        return self.values


def compare(observed: Observed, stage: str, ensemble: np.ndarray) -> Observed:
    """`Observed.compare` member by member: no copy of the ensemble is made."""
    observation = observed.observation
    predicted = np.concatenate([observation.operator(ensemble[j : j + 1]) for j in range(len(ensemble))])
    stand_in = replace(observation, operator=_Predicted(predicted), error=observation.law)
    return replace(observed, table=replace(observed, observation=stand_in).compare(stage, ensemble).table)


def locate(
    observed: Observed,
    layout: Layout,
    dims: Sequence[str] | Mapping[Hashable, Sequence[str]],
    coordinates: Mapping[str, str],
    path: Path,
) -> np.ndarray:
    """Positions ``(observation, dimension)`` in the coordinates of a localization.

    Raises
    ------
    ValueError
        If the table has no column for one of them, or a row is empty there.
    """
    table, rows = observed.table, observed.used
    variable = layout.template[next(iter(layout.template.data_vars))]
    if isinstance(dims, Mapping):
        dims = dims.get(variable.name, ())
    columns = []
    for dim in dims:
        axis = _axis(variable, dim, table.axes, coordinates)
        column = table.height if axis == "z" else table.position[:, table.axes.index(axis)]
        if np.isnan(column[rows]).any():
            row = int(rows[np.argmax(np.isnan(column[rows]))])
            raise ValueError(f"{path}: row {row} has no {axis}, but the localization uses {dim!r}: give it")
        columns.append(column[rows])
    return np.stack(columns, axis=1)


def _axis(variable: xr.DataArray, dim: str, axes: tuple[str, str], coordinates: Mapping[str, str]) -> str:
    """Column of a table for a coordinate of the localization."""
    wanted = find_coordinate(variable, dim)
    for axis in axes:
        if wanted is not None and column_coordinate(variable, axis, coordinates).name == wanted.name:
            return axis
    return "z"


def counts(table: ObservationTable) -> dict[str, int]:
    """Number of rows by reason."""
    reasons, numbers = np.unique(table.reason, return_counts=True)
    return dict(zip(reasons.tolist(), numbers.tolist(), strict=True))


def refuse_rejected(table: ObservationTable, path: Path) -> None:
    """Raise ValueError that names the first row that is not used."""
    good = np.isin(table.codes, (USED, WITHHELD))
    if not good.all():
        row = int(np.argmax(~good))
        raise ValueError(f"{path}: row {row} is not used ({table.reason[row]}): repair it, or leave out --strict")
