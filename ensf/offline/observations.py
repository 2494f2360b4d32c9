"""What the observations say: a table, checked before and after it meets the forecast, with a reason for every row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ensf.dataset import Layout
from ensf.dataset.coordinates import column_coordinate, find_coordinate
from ensf.observations.observation import Observation
from ensf.offline.parts import Predicted
from ensf.tables import Observed

__all__ = ["check_prior", "compare", "counts", "locate", "meet", "predict", "refuse_rejected"]


def meet(table: Any, path: Path, layout: Layout, checks: Sequence[Any], options: Mapping[str, Any]) -> Observed:
    """The rows that are left by the checks that need no forecast, on a layout."""
    for check in checks:
        if not hasattr(check, "stage"):
            table = check.flag(table)
    try:
        return table.observe(layout, **options)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def check_prior(observed: Observed, ensemble: np.ndarray, checks: Sequence[Any]) -> Observed:
    """The rows that are left by the checks that need the forecast, and what it predicts."""
    return compare(observed, "prior", ensemble).check(*(check for check in checks if hasattr(check, "stage")))


def predict(observation: Observation, ensemble: np.ndarray) -> np.ndarray:
    """Predicted observations ``(member, observation)``, member by member: no copy of the ensemble is made."""
    rows = [observation.operator(ensemble[member : member + 1]) for member in range(len(ensemble))]
    return np.concatenate(rows)


def compare(observed: Observed, stage: str, ensemble: np.ndarray) -> Observed:
    """`Observed.compare` without a copy of the ensemble."""
    known = Predicted(predict(observed.observation, ensemble))
    stand_in = replace(observed, observation=replace(observed.observation, operator=known))
    return replace(observed, table=stand_in.compare(stage, ensemble).table)


def locate(observed: Observed, layout: Layout, dims: Any, coordinates: Mapping[str, str], path: Path) -> np.ndarray:
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


def _axis(variable: Any, dim: str, axes: tuple[str, str], coordinates: Mapping[str, str]) -> str:
    """Column of a table for a coordinate of the localization."""
    wanted = find_coordinate(variable, dim)
    for axis in axes:
        if wanted is not None and column_coordinate(variable, axis, coordinates).name == wanted.name:
            return axis
    return "z"


def counts(table: Any) -> dict[str, int]:
    """Number of rows by reason."""
    reasons, numbers = np.unique(table.reason, return_counts=True)
    return dict(zip(reasons.tolist(), numbers.tolist(), strict=True))


def refuse_rejected(table: Any, path: Path) -> None:
    """Raise ValueError that names the first row that is not used."""
    if not table.used.all():
        row = int(np.argmax(~table.used))
        raise ValueError(f"{path}: row {row} is not used ({table.reason[row]}): repair it, or leave out --strict")
