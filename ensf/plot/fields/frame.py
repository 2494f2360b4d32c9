"""What a map shows of one cycle and one level, from a run in memory or from its file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import xarray as xr

from ensf.arrays import namespace, to_numpy
from ensf.runs.netcdf.writer import read
from ensf.twin import Model
from ensf.twin.about import About

if TYPE_CHECKING:
    from ensf.twin import Cycle

__all__ = ["Frame", "frames"]


class PlacedModel(Model, Protocol):
    """A model on a grid."""

    @property
    def coords(self) -> Mapping[str, np.ndarray]:
        """Coordinates by name of a dimension."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One cycle on one level.

    Attributes
    ----------
    time : float
    units : str
        Of the fields.
    x, y : array
        Coordinates of columns and rows.
    truth, mean, spread : (y, x) arrays
        The truth, and mean and spread of the analysis.
    observed : (y, x) boolean array
        Grid points that were observed; all False if that is not known.
    time_units : str
    labels : tuple of str
        Of the axes x and y.
    """

    time: float
    units: str
    x: np.ndarray
    y: np.ndarray
    truth: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    observed: np.ndarray
    time_units: str = ""
    labels: tuple[str, str] = ("x", "y")

    @property
    def error(self) -> np.ndarray:
        """Mean minus truth."""
        return self.mean - self.truth

    @classmethod
    def of(cls, cycle: Cycle, model: PlacedModel, *level: int) -> Frame:
        """From a `Cycle` of a model with `shape`, `dims`, `coords`; `level` are indices before the last two dimensions.

        Raises
        ------
        ValueError
            If the model has no fields of two dimensions.
        """
        if len(model.shape) < 2:
            raise ValueError(f"the model has fields of shape {model.shape}: maps need two dimensions")
        members = cycle.analysis.ensemble
        xp = namespace(members)
        states = (
            cycle.truth,
            xp.mean(members, axis=0),
            xp.std(members, axis=0, correction=1),
        )
        place = (*level, *[0] * (len(model.shape) - 2))[: len(model.shape) - 2]
        truth, mean, spread = (to_numpy(state).reshape(model.shape)[place] for state in states)
        observed = _observed(cycle.observation.operator.entries(cycle.truth.shape[-1]), model.shape)[place]
        rows, columns = model.dims[-2:]
        y, x = (np.asarray(model.coords[name], dtype=np.float64) for name in (rows, columns))
        about = About.of(model)
        labels = _label(columns, about.coord_units.get(columns)), _label(rows, about.coord_units.get(rows))
        return cls(cycle.time, about.units, x, y, truth, mean, spread, observed, labels=labels)

    @classmethod
    def read(cls, run: xr.Dataset, cycle: int, *level: int) -> Frame:
        """From a file of a run that is open: the cycle of this number, -1 for the last; `level` as in `of`."""
        name = _variable(run)
        truth = run[f"{name}_truth"]
        *above, rows, columns = map(str, truth.dims[1:])
        place = {dim: level[k] if k < len(level) else 0 for k, dim in enumerate(above)}
        field, mean, spread = (
            run[f"{name}_{what}"][cycle].isel(place).values for what in ("truth", "analysis_mean", "analysis_spread")
        )
        x, y = run[columns], run[rows]
        labels = _label(columns, x.attrs.get("units")), _label(rows, y.attrs.get("units"))
        index = run["observation_index"][cycle].values if "observation_index" in run else None
        observed = _observed(index, truth.shape[1:])[tuple(place.values())]
        units, since = (str(run[one].attrs.get("units", "1")) for one in (truth.name, "time"))
        time, time_units = float(run["time"][cycle]), since.partition(" since ")[0]
        return cls(time, units, x.values, y.values, field, mean, spread, observed, time_units, labels)


def _variable(run: xr.Dataset) -> str:
    """Name of the model variable; empty if there is none."""
    return next((str(name).removesuffix("_analysis_mean") for name in run if str(name).endswith("_analysis_mean")), "")


def _label(name: str, units: str | None) -> str:
    return f"{name} ({units})" if units else str(name)


def _observed(index: np.ndarray | None, model_shape: Sequence[int]) -> np.ndarray:
    """Where something is observed, in the shape of the model; nowhere if that is not known."""
    observed = np.zeros(int(np.prod(model_shape)), bool)
    observed[[] if index is None else index[index >= 0]] = True
    return observed.reshape(model_shape)


def frames(path: str | Path, *level: int) -> Iterator[Frame]:
    """Frames of the file of a run, one cycle after another.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is none of ours, or has no fields of two dimensions.
    """
    with read(path) as run:
        name = _variable(run)
        if not name or run[f"{name}_truth"].ndim < 3:
            raise ValueError(f"{path} has no truth and analysis of two dimensions: maps need them")
        for cycle in range(run.sizes["time"]):
            yield Frame.read(run, cycle, *level)
