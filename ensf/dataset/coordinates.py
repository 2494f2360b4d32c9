"""What a coordinate is, and where every state variable is.

A variable is at its coordinates, on its own grid: one-dimensional ones on a regular grid, two-dimensional ones on a
curvilinear grid. A coordinate is called by its name or its CF standard name; latitude, longitude, the vertical, time, x
and y are recognised by the criteria of one table as well, `CRITERIA`, which `recognise` extends. Along a dimension
without a coordinate of its name, points are counted from 0.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from ensf.dataset.dates import tells_dates
from ensf.dataset.layout import Layout
from ensf.dataset.units import in_units
from ensf.localization import variable_code

__all__ = [
    "COLUMNS",
    "CRITERIA",
    "Criterion",
    "cf_attributes",
    "check_coordinates",
    "check_periods",
    "column_coordinate",
    "find_coordinate",
    "is_time_of_state",
    "located",
    "positions",
    "recognise",
    "variable_dims",
    "without_place",
]


# --- criteria --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Criterion:
    """How a coordinate is recognised: by its standard name, else its units, its name, or an attribute.

    Parameters
    ----------
    standard_names : tuple of str
        The first is written to files.
    units : tuple of str
        Units that no other coordinate has; the first is written to files.
    names : tuple of str
    axis : str
        CF attribute ``axis``, written to files.
    attributes : tuple of str
        Attributes that no other coordinate has.
    """

    standard_names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    axis: str = ""
    attributes: tuple[str, ...] = ()


CRITERIA: dict[str, Criterion] = {
    "latitude": Criterion(
        standard_names=("latitude",),
        units=("degrees_north", "degree_north", "degrees_N", "degree_N", "degreesN", "degreeN"),
        names=("lat", "nav_lat", "XLAT"),
        axis="Y",
    ),
    "longitude": Criterion(
        standard_names=("longitude",),
        units=("degrees_east", "degree_east", "degrees_E", "degree_E", "degreesE", "degreeE"),
        names=("lon", "nav_lon", "XLONG"),
        axis="X",
    ),
    "vertical": Criterion(
        standard_names=("air_pressure", "altitude", "depth", "geopotential_height", "height", "model_level_number"),
        names=("z", "level", "lev", "plev", "depth", "height", "altitude"),
        axis="Z",
        attributes=("positive",),
    ),
    "time": Criterion(standard_names=("time",), names=("Time", "valid_time"), axis="T"),
    "x": Criterion(standard_names=("projection_x_coordinate",)),
    "y": Criterion(standard_names=("projection_y_coordinate",)),
}
"""Criteria by the name of the coordinate; the name itself is one."""

COLUMNS = {"lat": "latitude", "lon": "longitude"}
"""Coordinates of the columns of a table that have another name."""

VARIABLE = "variable"
"""What `ByVariable` takes for a coordinate: the code of the variable itself."""

RADIANS = ("rad", "radian", "radians")
MODEL_LEVELS = ("z", "level", "lev")
SAME = 1e-6
"""Part of the extent of a coordinate within which its last point, a period on, is the first."""
COUNTED = "1"
"""Units of points that are counted."""


def recognise(
    coordinate: str,
    *,
    names: Sequence[str] = (),
    standard_names: Sequence[str] = (),
    units: Sequence[str] = (),
) -> None:
    """Recognise a coordinate by more criteria: ``recognise("latitude", names=["gphit"])``.

    Parameters
    ----------
    coordinate : str
        A name in `CRITERIA`, or a new one.
    names, standard_names, units : sequence of str
        Beside those that there are.
    """
    criterion = CRITERIA.get(coordinate, Criterion())
    CRITERIA[coordinate] = replace(
        criterion,
        standard_names=tuple(dict.fromkeys((*criterion.standard_names, *standard_names))),
        units=tuple(dict.fromkeys((*criterion.units, *units))),
        names=tuple(dict.fromkeys((*criterion.names, *names))),
    )


def cf_attributes(coordinate: str) -> dict[str, str]:
    """Standard name, units and axis of a coordinate whose units tell what it is; none of any other."""
    criterion = CRITERIA.get(coordinate, Criterion())
    if not criterion.units:
        return {}
    return {"standard_name": criterion.standard_names[0], "units": criterion.units[0], "axis": criterion.axis}


# --- positions -------------------------------------------------------------------------------------------


def positions(
    layout: Layout,
    dims: Sequence[str] | Mapping[Hashable, Sequence[str]] = ("latitude", "longitude"),
    at: Mapping[str, float] | None = None,
) -> np.ndarray:
    """Position of every state variable, for `ensf.localization.Localization`.

    Parameters
    ----------
    layout : Layout
    dims : sequence of str, or mapping of str to sequence of str
        Coordinates that make a position, of one dimension or more each; degrees for a sphere. Each by its name, its
        CF standard name, or its name in `ensf.dataset.coordinates.CRITERIA`. A mapping gives each variable its own,
        as on staggered grids.
    at : mapping of str to float, optional
        Where variables without that coordinate are: ``{"level": 1000.0}`` for a surface pressure beside fields on
        levels.

    Returns
    -------
    (state, dimension) array

    Raises
    ------
    ValueError
        If a variable has no such coordinate, or more than one, or is placed by `at` though it has levels.
    """
    blocks = []
    for name, variable in layout.template.data_vars.items():
        its_dims = variable_dims(name, dims)
        _check_levels(variable, its_dims, at or {})
        columns = [_column(variable, dim, at or {})[layout.kept(name)] for dim in its_dims]
        blocks.append(np.stack(columns, axis=1))
    return np.concatenate(blocks).astype(np.float64)


def variable_dims(name: Hashable, dims: Sequence[str] | Mapping[Hashable, Sequence[str]]) -> Sequence[str]:
    """Coordinates that make a position of one variable.

    Raises
    ------
    ValueError
        If a mapping lacks the variable.
    """
    if not isinstance(dims, Mapping):
        return dims
    if name not in dims:
        raise ValueError(f"dims= has no coordinates for variable {name!r}: give those of every variable")
    return dims[name]


def _column(variable: xr.DataArray, name: str, at: Mapping[str, float]) -> np.ndarray:
    """One coordinate at every grid point of the variable, flattened."""
    coordinate = find_coordinate(variable, name)
    if coordinate is None and name == VARIABLE:
        return np.full(variable.size, variable_code(str(variable.name)))
    if coordinate is None:
        if name not in at:
            raise ValueError(
                f"variable {variable.name!r} has no coordinate {name!r} but {_named(variable)}: give dims= of these, "
                f"or its place, at={{{name!r}: ...}}"
            )
        return np.full(variable.size, float(at[name]))
    return coordinate.variable.set_dims(variable.sizes).transpose(*variable.dims).values.ravel()


def _check_levels(variable: xr.DataArray, dims: Sequence[str], at: Mapping[str, float]) -> None:
    """Raise ValueError if all levels of a variable would be at one place, for another name of their coordinate."""
    found = {dim: find_coordinate(variable, dim) for dim in dims}
    placed = [dim for dim, coordinate in found.items() if coordinate is None and dim in at]
    levels = find_coordinate(variable, "vertical") if placed else None
    if levels is not None and levels.size > 1 and all(one is None or one.name != levels.name for one in found.values()):
        raise ValueError(
            f"variable {variable.name!r} has no coordinate {placed[0]!r} but levels along {levels.name!r}, and would "
            f"be at {at[placed[0]]:g} as a whole: name that in dims= and at=, or 'vertical', the levels of any variable"
        )


def find_coordinate(variable: xr.DataArray, name: str) -> xr.DataArray | None:
    """The coordinate of a variable that is called `name`: by its name, else by the criteria of `CRITERIA`.

    A dimension of that name without a coordinate counts its points from 0, unless the name is that of a latitude,
    a longitude, a depth, a height, a pressure or a time.

    Parameters
    ----------
    variable : xarray.DataArray
    name : str
        Name or standard name of the coordinate, or a name in `CRITERIA`.

    Raises
    ------
    ValueError
        If several coordinates fit equally.
    """
    if name in variable.coords:
        coordinate = variable.coords[name]
        return _in_degrees(coordinate) if _is_of_sphere(coordinate) else coordinate
    criterion = CRITERIA.get(name, Criterion())
    for fits in (
        [c for c in variable.coords.values() if c.attrs.get("standard_name") in (name, *criterion.standard_names)],
        [c for c in variable.coords.values() if c.attrs.get("units") in criterion.units],
        [c for c in variable.coords.values() if c.name in criterion.names],
        [c for c in variable.coords.values() if any(one in c.attrs for one in criterion.attributes)],
    ):
        if len(fits) > 1 and name == "vertical":  # levels may have heights and pressures as auxiliary coordinates
            fits = [c for c in fits if c.name in variable.dims] or fits
        if len(fits) > 1:
            raise ValueError(
                f"variable {variable.name!r} has several coordinates of {name}, "
                f"{', '.join(repr(c.name) for c in fits)}: name one with dims="
            )
        if fits:
            return _in_degrees(fits[0]) if name in COLUMNS.values() or _is_of_sphere(fits[0]) else fits[0]
    return variable[name].assign_attrs(units=COUNTED) if name in variable.dims and _is_countable(name) else None


def is_time_of_state(coordinate: xr.DataArray) -> bool:
    """Whether it is a time that members have in common, unlike the start of their forecasts."""
    standard_name, criterion = coordinate.attrs.get("standard_name"), CRITERIA["time"]
    named = standard_name in criterion.standard_names or coordinate.name in ("time", *criterion.names)
    return named or tells_dates(coordinate) and standard_name != "forecast_reference_time"


def _is_countable(dim: str) -> bool:
    """Whether points along a dimension may be counted: its name is none of a quantity that has units."""
    named = {one for key, criterion in CRITERIA.items() for one in (key, *criterion.names)}
    return dim in ("x", "y", *MODEL_LEVELS) or dim not in named


def _is_of_sphere(coordinate: xr.DataArray) -> bool:
    """Whether it is a latitude or longitude."""
    return any(_is(coordinate.variable, str(coordinate.name), CRITERIA[name]) for name in COLUMNS.values())


def _is(variable: xr.Variable, name: str, criterion: Criterion) -> bool:
    """Whether a variable of a file is what a criterion recognises."""
    attributes = variable.attrs
    return (
        attributes.get("standard_name") in criterion.standard_names
        or attributes.get("units") in criterion.units
        or name in criterion.names
    )


def _in_degrees(coordinate: xr.DataArray) -> xr.DataArray:
    """A latitude or longitude in degrees, whose units may be radians."""
    units = str(coordinate.attrs.get("units", ""))
    if units not in RADIANS:
        return coordinate
    degrees = in_units(coordinate.values.astype(np.float64), units, "degrees")
    return coordinate.copy(data=degrees).assign_attrs(units="degrees")


def column_coordinate(variable: xr.DataArray, column: str, coordinates: Mapping[str, str]) -> xr.DataArray:
    """The coordinate of a variable for a column of an observation table.

    Parameters
    ----------
    variable : xarray.DataArray
    column : str
        ``lat``, ``lon``, ``x``, ``y`` or ``z``.
    coordinates : mapping of str to str
        Name of the coordinate by column, before the criteria.

    Raises
    ------
    ValueError
        If there is none, or several fit equally.
    """
    name = coordinates.get(column, COLUMNS.get(column, column))
    coordinate = find_coordinate(variable, name)
    if coordinate is None:
        raise ValueError(
            f"the grid of variable {variable.name!r} has no coordinate {name!r} for the column {column!r} of the "
            f"table: say which of {_named(variable)} it is, coordinates={{{column!r}: ...}}"
        )
    return _in_degrees(coordinate) if column in COLUMNS else coordinate


def _named(variable: xr.DataArray) -> str:
    """The coordinates and dimensions of a variable."""
    return ", ".join(map(repr, dict.fromkeys([*variable.coords, *variable.dims]))) or "none"


def check_coordinates(layout: Layout) -> None:
    """Refuse coordinates of columns that a table cannot have.

    Raises
    ------
    ValueError
        If one is neither ``lat``, ``lon``, ``x``, ``y`` or ``z`` nor the name of a coordinate, as on a line.
    """
    columns = ["lat", "lon", "x", "y", "z"]
    for name in layout.coordinates:
        if name not in (*columns, *layout.template.coords, *layout.template.dims):
            raise ValueError(f"coordinates has {name!r}, which is no column of a table: give {', '.join(columns)}")


def check_periods(layout: Layout) -> None:
    """Refuse periods that the grid of a layout cannot have.

    Raises
    ------
    ValueError
        If none of its variables has the coordinate, or a period is not larger than the extent of the coordinate: the
        last point is then the first one again.
    """
    for name, period in layout.periods.items():
        called = layout.coordinates.get(name, COLUMNS.get(name, name))
        variables = layout.template.data_vars.values()
        found = [one for one in (find_coordinate(variable, called) for variable in variables) if one is not None]
        if not found:
            there = ", ".join(map(repr, dict.fromkeys([*layout.template.coords, *layout.template.dims]))) or "none"
            raise ValueError(f"periods has {name!r}, but no variable has such a coordinate: name one of {there}")
        for coordinate in found:
            extent = np.ptp(coordinate.values) if coordinate.ndim == 1 else 0.0
            if not period > (1 + SAME) * extent:
                raise ValueError(
                    f"the period {period:g} of {name!r} must be larger than {extent:g}, from the first to the last "
                    f"point of {coordinate.name!r}: give it in its unit, and a point at both ends once"
                )


# --- in files --------------------------------------------------------------------------------------------


def located(dataset: xr.Dataset, names: Iterable[str] = ()) -> xr.Dataset:
    """The Dataset with its latitudes and longitudes, and what is named, among its coordinates.

    They are recognised by standard name or name, as NEMO's ``nav_lat(y, x)`` that no attribute names. A leading
    dimension of length one beside two others, as in WRF's ``XLAT(Time, y, x)``, is dropped.

    Parameters
    ----------
    dataset : xarray.Dataset
    names : iterable of str
        More variables that are coordinates; those that are not there are left out.
    """
    chosen = {name for name in names if name in dataset.variables}
    for name, variable in dataset.variables.items():
        for criterion in (CRITERIA[one] for one in COLUMNS.values()):
            if _is(variable, str(name), replace(criterion, units=())):
                chosen.add(str(name))
    flat = {name: dataset.variables[name] for name in chosen}
    for name, variable in flat.items():
        for dim in variable.dims[: max(0, variable.ndim - 2)]:
            if variable.sizes[dim] == 1:
                flat[name] = flat[name].isel({dim: 0})
    return dataset.assign_coords({name: variable for name, variable in flat.items() if variable.dims != (name,)})


def without_place(variable: xr.DataArray) -> np.ndarray:
    """Where latitude or longitude is missing, as it may be on land: array of bool, shaped as the variable."""
    nowhere = np.broadcast_to(False, variable.shape)
    for coordinate in variable.coords.values():
        if coordinate.ndim > 1 and coordinate.dtype.kind == "f" and _is_of_sphere(coordinate):
            missing = np.isnan(coordinate)
            if missing.any():
                nowhere = nowhere | missing.broadcast_like(variable).transpose(*variable.dims).values
    return nowhere
