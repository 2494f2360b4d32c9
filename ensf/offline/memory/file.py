"""The file of a memory: out, checked, and in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from ensf.arrays import to_numpy
from ensf.dataset import Layout, netcdf
from ensf.dataset.coordinates import cf_attributes, variable_dims
from ensf.dataset.methods import dims_of, find_localization
from ensf.dataset.stored import decoded
from ensf.filters.base import Filter, Memory
from ensf.offline.memory.kinds import KINDS, keepers
from ensf.offline.memory.quantities import COUNT, KNOT, NUMBER, Quantity
from ensf.offline.memory.reader import Reader

__all__ = ["MEMORY", "check_memory", "read_memory", "write_memory"]

MEMORY = "memory.nc"


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
    dataset = xr.Dataset()
    stored = []
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
    kind = KINDS[type(keeper)]
    if kind.has_knots:
        for dim, column in zip(_dims(keeper, layout), memory.knots.T, strict=True):
            attributes = {key: value for key, value in cf_attributes(dim).items() if key != "axis"}
            variables[f"knot_{dim}"] = xr.Variable(("knot",), column, attributes | {"long_name": f"{dim} of the knot"})
    for quantity in kind.quantities:
        values = getattr(memory, quantity.attribute)
        attributes = {"long_name": quantity.meaning, "units": "1"}
        if quantity.along == COUNT:
            variables[quantity.name] = xr.Variable((), np.int64(values), attributes)
        elif quantity.along == NUMBER:
            variables[quantity.name] = xr.Variable((), np.float64(values), attributes)
        elif quantity.along == KNOT:
            places = " ".join(name for name in variables if name.startswith("knot_"))
            variables[quantity.name] = xr.Variable(("knot",), to_numpy(values), attributes | {"coordinates": places})
        else:
            variables |= _fields(to_numpy(values), quantity, layout)
    return variables if kind.more is None else variables | kind.more(memory)


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


def check_memory(path: Path, method: Filter) -> tuple[xr.Dataset, list[Filter]]:
    """Raise ValueError or FileNotFoundError for what is no memory of the method, whatever the grid.

    Returns
    -------
    xarray.Dataset
        What is in the file.
    list of Filter
        The filters that remember it, the outermost first.
    """
    stored, expected = _loaded(path), keepers(method)
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
    return stored, expected[: len(there)]


def read_memory(path: Path, method: Filter, layout: Layout, dtype: np.dtype) -> Memory:
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
    stored, there = check_memory(path, method)
    memory: Memory = None
    for keeper in reversed(there):
        memory = _memory(stored, keeper, memory, Reader(path, layout, dtype))
    return memory


def _loaded(path: Path) -> xr.Dataset:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: check memory, or leave it out in the first cycle")
    with netcdf.reading(path) as file:
        stored = decoded(file).load()
    if "remembered_by" not in stored.attrs:
        raise ValueError(f"{path} is not the memory of a filter: give {MEMORY} of an earlier analysis")
    return stored


def _memory(stored: xr.Dataset, keeper: Filter, inner: Memory, reader: Reader) -> Memory:
    kind = KINDS[type(keeper)]
    parts: dict[str, object] = {"inner": inner}
    if kind.has_knots:
        columns = [reader.knots(stored, f"knot_{dim}", -np.inf) for dim in _dims(keeper, reader.layout)]
        for dim, column in zip(_dims(keeper, reader.layout), columns, strict=True):
            if dim.startswith("lat") and (np.abs(column) > 90).any():
                raise ValueError(
                    f"{reader.path}: knot_{dim} is {column[np.abs(column) > 90][0]}: give -90 to 90 degrees"
                )
        parts["knots"] = np.stack(columns, axis=1).astype(np.float64)
    for quantity in kind.quantities:
        if quantity.along == COUNT:
            parts[quantity.attribute] = reader.count(stored, quantity)
        elif quantity.along == NUMBER:
            parts[quantity.attribute] = float(reader.values(stored, quantity.name, (), (), quantity.lowest))
        elif quantity.along == KNOT:
            parts[quantity.attribute] = reader.knots(stored, quantity.name, quantity.lowest).astype(reader.dtype)
        else:
            parts[quantity.attribute] = reader.state(stored, quantity)
    if kind.more_of is not None:
        parts |= kind.more_of(stored, reader)
    return kind.memory(**parts)
