"""What a filter remembers, in a file: NetCDF that anyone can read, and change by hand.

Adaptive inflation lives at knots, places of its own, and so survives a change of the grid and of the network: a table
of points. What is remembered of every variable is a field on the grid of the state. Everything in the file is read
again, bit for bit; there is nothing else in it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import netCDF4
import numpy as np
import xarray as xr

from ensf.arrays import to_numpy
from ensf.dataset import Layout, netcdf
from ensf.dataset.coordinates import cf_attributes, variable_dims
from ensf.dataset.methods import dims_of, find_localization, inside
from ensf.dataset.stored import decoded
from ensf.filters.base import Filter, Memory
from ensf.wrappers import AdaptiveInflation, AdaptiveSpread, CollapseGuard, DeferredAnalysis, SpreadReset
from ensf.wrappers.adaptive_inflation import InflationMemory
from ensf.wrappers.collapse_guard import GuardMemory
from ensf.wrappers.deferred_analysis import DeferralMemory
from ensf.wrappers.spread import ResetMemory

__all__ = ["MEMORY", "keepers", "read_memory", "write_memory"]

MEMORY = "memory.nc"
NUMBER, KNOT, STATE = "number", "knot", "state"
"""What a quantity is one of: one number, one at each knot, one at each entry of the state."""


@dataclass(frozen=True)
class Quantity:
    """A part of a memory: its attribute, its name in the file, what it is one of, its meaning, and its lowest value."""

    attribute: str
    name: str
    along: str
    meaning: str
    lowest: float = 0.0


@dataclass(frozen=True)
class Kind:
    """The memory of a wrapper."""

    memory: type[Any]
    quantities: tuple[Quantity, ...]

    @property
    def has_knots(self) -> bool:
        """Whether the wrapper has a localization, at whose knots it remembers."""
        return any(quantity.along == KNOT for quantity in self.quantities)


FORMULA = "squared inflation factor of the forecast = 1 + sampling * degrees_of_freedom / (members - 1) + this"
KINDS: Mapping[type, Kind] = {
    DeferredAnalysis: Kind(DeferralMemory, (Quantity("waited", "waited", NUMBER, "cycles in a row without analysis"),)),
    AdaptiveInflation: Kind(
        InflationMemory,
        (
            Quantity("departure", "inflation_departure", KNOT, FORMULA, -np.inf),
            Quantity("variance", "inflation_variance", KNOT, "variance of the error of inflation_departure"),
            Quantity("freedom", "degrees_of_freedom", KNOT, "degrees of freedom that the last observations took"),
        ),
    ),
    CollapseGuard: Kind(
        GuardMemory,
        (
            Quantity("mean", "past_mean", STATE, "mean over members and past cycles", -np.inf),
            Quantity(
                "square", "past_square", STATE, "sum over past cycles of the mean squared distance from past_mean"
            ),
            Quantity("seen", "past_cycles", NUMBER, "number of past cycles"),
            Quantity(
                "strained", "strained_cycles", NUMBER, "cycles in a row with chi^2 of innovations above the limit"
            ),
        ),
    ),
    SpreadReset: Kind(
        ResetMemory, (Quantity("spread", "reset_spread", STATE, "standard deviation to which the analysis is reset"),)
    ),
}
"""By wrapper, from the outermost quantity of a memory to the innermost."""
NOT_IN_FILES = (AdaptiveSpread,)
"""Wrappers whose memory `ensf cycle` keeps in its restart alone."""


def keepers(method: object) -> list[Filter]:
    """The filters in a method that remember something, the outermost first; none if a file cannot hold it all."""
    parts = list(inside(method))
    if any(type(one) in NOT_IN_FILES for one in parts):
        return []
    return [cast(Filter, one) for one in parts if type(one) in KINDS]


# --- out -------------------------------------------------------------------------------------------------


def write_memory(path: Path, memory: Memory, method: Filter, layout: Layout) -> None:
    """Write what a method remembers after an analysis.

    Parameters
    ----------
    path : Path
    memory : object
        Of the analysis.
    method : Filter
        With `keepers`.
    layout : Layout
        Of the state.

    Raises
    ------
    ValueError
        If the memory is not one of this method.
    """
    dataset, stored = xr.Dataset(), []
    for keeper in keepers(method):
        if memory is None:
            break
        kind = KINDS[type(keeper)]
        if not isinstance(memory, kind.memory):
            raise ValueError(f"{path}: a {type(memory).__name__} is not what {type(keeper).__name__} remembers")
        dataset = dataset.assign(_variables(memory, keeper, layout))
        stored.append(type(keeper).__name__)
        memory = memory.inner
    grid = {name: one for name, one in layout.template.coords.items() if set(one.dims) <= set(dataset.dims)}
    dataset = dataset.assign_coords(grid).drop_encoding()
    dataset.attrs = {
        "Conventions": "CF-1.11",
        "title": "What a filter remembers from one analysis to the next; every value may be changed",
        "method": repr(method),
        "remembered_by": " ".join(stored),
    }
    netcdf.save(dataset, path, {name: {"_FillValue": None} for name in dataset.variables})


def _variables(memory: Memory, keeper: Filter, layout: Layout) -> dict[str, xr.Variable]:
    variables: dict[str, xr.Variable] = {}
    if KINDS[type(keeper)].has_knots:
        for dim, column in zip(_dims(keeper, layout), memory.knots.T, strict=True):
            attributes = {key: value for key, value in cf_attributes(dim).items() if key != "axis"}
            variables[f"knot_{dim}"] = xr.Variable(("knot",), column, attributes | {"long_name": f"{dim} of the knot"})
    for quantity in KINDS[type(keeper)].quantities:
        values, attributes = getattr(memory, quantity.attribute), {"long_name": quantity.meaning, "units": "1"}
        if quantity.along == NUMBER:
            variables[quantity.name] = xr.Variable((), np.int64(values), attributes)
        elif quantity.along == KNOT:
            places = " ".join(name for name in variables if name.startswith("knot_"))
            variables[quantity.name] = xr.Variable(("knot",), to_numpy(values), attributes | {"coordinates": places})
        else:
            variables |= _fields(to_numpy(values), quantity, layout)
    return variables


def _fields(values: np.ndarray, quantity: Quantity, layout: Layout) -> dict[str, xr.Variable]:
    """Of each variable of the state, as the filter sees it, NaN where there is no data."""
    variables = {}
    for name, grid in layout.template.data_vars.items():
        data = np.full(grid.size, np.nan, dtype=values.dtype)
        data[layout.kept(name)] = values[layout.block(name)]
        meaning = f"{quantity.meaning}, of {name} as the filter sees it, after its transforms"
        variables[f"{name}_{quantity.name}"] = xr.Variable(grid.dims, data.reshape(grid.shape), {"long_name": meaning})
    return variables


def _dims(keeper: Filter, layout: Layout) -> Sequence[str]:
    localization = find_localization(keeper)
    assert localization is not None
    return list(variable_dims(next(iter(layout.template.data_vars)), dims_of(localization)))


# --- in --------------------------------------------------------------------------------------------------


def read_memory(path: Path, method: Filter, layout: Layout, dtype: np.dtype[Any]) -> Memory:
    """What the method is to remember.

    Parameters
    ----------
    path : Path
        A file of `write_memory`, changed or not.
    method : Filter
    layout : Layout
        Of the state.
    dtype : numpy.dtype
        Of the ensemble.

    Raises
    ------
    ValueError, FileNotFoundError
        If it is no such file, or what it holds does not fit the method, the grid or its own meaning.
    """
    stored = _loaded(path)
    expected = keepers(method)
    names = [type(keeper).__name__ for keeper in expected]
    there = str(stored.attrs["remembered_by"]).split()
    if not names:
        raise ValueError(
            f"{path}: this method remembers nothing that a file can hold: leave memory out, or give the method that "
            "wrote it"
        )
    if there != names[: len(there)]:
        raise ValueError(
            f"{path} has the memory of {' in '.join(reversed(there))}, but the method remembers by "
            f"{' in '.join(reversed(names))}: give the method that wrote it, or leave memory out"
        )
    memory: Memory = None
    for keeper in reversed(expected[: len(there)]):
        memory = _memory(stored, keeper, memory, _Reader(path, layout, dtype))
    return memory


def _loaded(path: Path) -> xr.Dataset:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: check memory, or leave it out in the first cycle")
    with netcdf.reading(path) as file:
        stored = decoded(file).load()
    if "remembered_by" not in stored.attrs:
        raise ValueError(f"{path} is not the memory of a filter: give {MEMORY} of an earlier analysis")
    return stored


def _memory(stored: xr.Dataset, keeper: Filter, inner: Memory, reader: _Reader) -> Memory:
    kind = KINDS[type(keeper)]
    parts: dict[str, Any] = {"inner": inner}
    if kind.has_knots:
        columns = [reader.knots(stored, f"knot_{dim}", -np.inf) for dim in _dims(keeper, reader.layout)]
        for dim, column in zip(_dims(keeper, reader.layout), columns, strict=True):
            if dim.startswith("lat") and (np.abs(column) > 90).any():
                raise ValueError(
                    f"{reader.path}: knot_{dim} is {column[np.abs(column) > 90][0]}: give -90 to 90 degrees"
                )
        parts["knots"] = np.stack(columns, axis=1).astype(np.float64)
    for quantity in kind.quantities:
        if quantity.along == NUMBER:
            parts[quantity.attribute] = reader.number(stored, quantity)
        elif quantity.along == KNOT:
            parts[quantity.attribute] = reader.knots(stored, quantity.name, quantity.lowest).astype(reader.dtype)
        else:
            parts[quantity.attribute] = reader.state(stored, quantity)
    return kind.memory(**parts)


@dataclass(frozen=True, eq=False)
class _Reader:
    """Values of one file, each checked."""

    path: Path
    layout: Layout
    dtype: np.dtype[Any]

    def knots(self, stored: xr.Dataset, name: str, lowest: float) -> np.ndarray:
        """One value at each knot."""
        values = self._values(stored, name, ("knot",), (stored.sizes.get("knot", 0),))
        self._check(values, name, lowest)
        return values

    def number(self, stored: xr.Dataset, quantity: Quantity) -> int:
        """A whole number."""
        values = self._values(stored, quantity.name, (), ())
        self._check(values, quantity.name, quantity.lowest)
        if values != np.round(values):
            raise ValueError(f"{self.path}: {quantity.name} is {values}: give a whole number")
        return int(values)

    def state(self, stored: xr.Dataset, quantity: Quantity) -> np.ndarray:
        """One value at each entry of the state."""
        state = np.empty(self.layout.size, dtype=self.dtype)
        for variable, grid in self.layout.template.data_vars.items():
            name = f"{variable}_{quantity.name}"
            values = self._values(stored, name, grid.dims, grid.shape).ravel()[self.layout.kept(variable)]
            self._check(values, name, quantity.lowest)
            state[self.layout.block(variable)] = values
        return state

    def _values(self, stored: xr.Dataset, name: str, dims: tuple[Hashable, ...], shape: tuple[int, ...]) -> np.ndarray:
        if name not in stored.variables:
            raise ValueError(f"{self.path} has no variable {name!r}, which the method remembers: put it back")
        variable = stored[name]
        if variable.dims != dims or variable.shape != shape:
            wanted = " x ".join(f"{dim} {size}" for dim, size in zip(dims, shape, strict=True)) or "one number"
            there = " x ".join(f"{dim} {size}" for dim, size in variable.sizes.items()) or "one number"
            raise ValueError(f"{self.path}: {name} has {there}, but should have {wanted}: change values, not the shape")
        if variable.dtype.kind not in "fiu":
            raise ValueError(f"{self.path}: {name} is no number: put numbers back")
        return np.asarray(variable.values)

    def _check(self, values: np.ndarray, name: str, lowest: float) -> None:
        bad = ~np.isfinite(values) | (np.abs(values) >= netCDF4.default_fillvals["f4"])
        if bad.any():
            raise ValueError(
                f"{self.path}: {name} is missing or not finite at {np.count_nonzero(bad)} places: repair it"
            )
        if (values < lowest).any():
            raise ValueError(f"{self.path}: {name} is {values[values < lowest].min()} somewhere: it cannot be negative")
