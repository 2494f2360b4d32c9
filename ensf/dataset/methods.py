"""The filter that a method is on a layout, and where its localization takes the state variables to be."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import xarray as xr

from ensf.arrays.settings import inside
from ensf.dataset.coordinates import COUNTED, VARIABLE, find_coordinate, positions, variable_dims
from ensf.dataset.layout import Layout
from ensf.dataset.reach import first_localization
from ensf.dataset.units import conversion
from ensf.filters.base import Filter, Smoothing, can
from ensf.localization import Layered, Localization, Periodic, Product, Sphere
from ensf.wrappers import Relinearised, letsf

__all__ = [
    "Method",
    "Recommended",
    "beside_parameters",
    "check_order",
    "check_places",
    "dims_of",
    "distance_of",
    "find_localization",
    "inside",
    "loop_of",
    "length_unit",
    "method_for",
    "places",
    "reach_of",
    "refuse_loop",
    "with_catalogues",
]


@runtime_checkable
class NamesVariables(Protocol):
    """A setting of a method that names variables of the state."""

    def check_names(self, names: Iterable[object]) -> None:
        """Raise ValueError if the state does not have one."""


@runtime_checkable
class NamesFiles(Protocol):
    """A filter that may name files with a catalogue of states."""

    def with_catalogue(self, read: Callable[[str], np.ndarray | str]) -> Filter:
        """The filter with what `read` makes of the names, if it has some."""


Method = Filter | Callable[[Layout], Filter] | str | None
"""A filter, a function that makes one of a layout, or the recommended one: its name, or nothing."""


def method_for(method: Method, layout: Layout) -> Filter:
    """The filter that a method is on a layout.

    Parameters
    ----------
    method : Filter, callable, str, or None
        A filter; a function ``layout -> Filter``; ``"letsf"`` or None = `ensf.letsf` with a first localization from
        the coordinates.
    layout : Layout

    Raises
    ------
    ValueError
        If it is no method, or on the sphere where the coordinates are no degrees.
    """
    if method is None or method == "letsf":
        return Recommended()(layout)
    if isinstance(method, type):
        raise ValueError(f"method is the class {method.__name__}: give a filter, such as {method.__name__}(...)")
    made = method(layout) if callable(method) else method
    if not can(made, "analyse"):
        raise ValueError(
            f"method is {made!r}: give a filter such as LETKF(Localization(Sphere(), 500.0)), a function "
            "layout -> filter, or letsf"
        )
    if isinstance(made, Smoothing):
        raise ValueError(
            f"method is a {type(made).__name__} but there are no earlier states here: give {made.filter!r}, and "
            "correct them with Problem.smooth, or cycle it with ensf cycle"
        )
    for one in inside(made):
        if isinstance(one, NamesVariables):
            one.check_names(layout.template.data_vars)
        if isinstance(one, Localization):
            _check_degrees(one, layout)
    return cast(Filter, made)


def _check_degrees(localization: Localization, layout: Layout) -> None:
    """Raise ValueError for half-widths in km along what is no degrees, and in degrees beyond half a circle."""
    if not any(isinstance(part, Sphere) for part in inside(localization.geometry)):
        units = [str(one.attrs.get("units", "")) for one in _coordinates(localization, layout)]
        degrees = bool(units) and all(unit.startswith("degree") for unit in units)
        if degrees and 180 < localization.half_width < math.inf:
            raise ValueError(
                f"the localization has a half-width of {localization.half_width:g} degrees, as its coordinates are: "
                "give Sphere() for km"
            )
        return
    for variable in layout.template.data_vars.values():
        for number, dim in enumerate(variable_dims(variable.name, dims_of(localization))[:2]):
            one = find_coordinate(variable, dim)
            if one is None:
                continue
            unit = str(one.attrs.get("units", "")).strip()
            if _is_length(unit) or number == 0 and not np.nanmax(np.abs(one.values), initial=0.0) <= 90:
                words = f"in {unit}" if unit else f"up to {np.nanmax(np.abs(one.values)):g}"
                raise ValueError(
                    f"the localization is on the sphere, but {one.name!r} of variable {variable.name!r} is {words}: "
                    "name a latitude and a longitude in degrees, dims=, or take Euclidean() for lengths"
                )


def _is_length(unit: str) -> bool:
    try:
        return bool(unit) and conversion(unit, "m") is not None
    except ValueError:
        return False


@dataclass(frozen=True)
class Recommended:
    """`ensf.letsf` with a first localization from the coordinates.

    Parameters
    ----------
    settings : mapping
        Those of `ensf.letsf` but the localization.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, layout: Layout) -> Filter:
        return letsf(first_localization(layout), **self.settings)


def beside_parameters(method: Method) -> Method:
    """A method where parameters of the model are estimated: the recommended filter leaves the model's bias to them."""
    if method is None or method == "letsf":
        return Recommended({"estimate_bias": False})
    return Recommended({"estimate_bias": False, **method.settings}) if isinstance(method, Recommended) else method


def loop_of(method: object) -> Relinearised | None:
    """What asks the model for more forecasts, in a method with a model in the loop."""
    return next((one for one in inside(method) if isinstance(one, Relinearised)), None)


def refuse_loop(method: object) -> None:
    """Raise ValueError if a method asks for a model where there is none."""
    if loop_of(method) is not None:
        raise ValueError(
            f"{type(method).__name__} has the model in the loop, but there is no model here: use ensf cycle, or in "
            "Python ensf.dataset.analyse(..., window=Window(start, model))"
        )


def with_catalogues(method: Filter, read: Callable[[str], np.ndarray | str]) -> Filter:
    """A filter whose catalogues of states, where they are names of files, are what `read` makes of the names."""
    inner = getattr(method, "filter", None)
    if inner is not None and (made := with_catalogues(inner, read)) is not inner:
        method = replace(method, filter=made)  # type: ignore[type-var]
    return method.with_catalogue(read) if isinstance(method, NamesFiles) else method


def find_localization(method: object) -> Localization | None:
    """The first localization in a method and what it wraps.

    Raises
    ------
    ValueError
        If another one has other coordinates: an observation has one place.
    """
    localizations = [one for one in inside(method) if isinstance(one, Localization)]
    if not localizations:
        return None
    first, *others = localizations
    for other in others:
        if (first.dims, first.at) != (other.dims, other.at):
            raise ValueError(
                f"{type(method).__name__} has localizations with dims={first.dims!r}, at={first.at!r} and with "
                f"dims={other.dims!r}, at={other.at!r}: name the same coordinates in both"
            )
    return first


def dims_of(localization: Localization) -> Sequence[str] | Mapping[Hashable, Sequence[str]]:
    """Coordinates that make a position, of every variable or by variable.

    Raises
    ------
    ValueError
        If the last is the variable itself but the geometry has no rules for it, or the other way round.
    """
    by_variable: dict[Hashable, Sequence[str]] = {
        one[0]: one[1] for one in localization.dims if not isinstance(one, str)
    }
    each = list(by_variable.values()) or [tuple(map(str, localization.dims))]
    for dims in each:
        if can(localization.geometry, "factor") and dims[-1:] != (VARIABLE,):
            raise ValueError(f"ByVariable asks for the variable, but dims={dims!r}: give it last, (..., {VARIABLE!r})")
        if VARIABLE in dims and not any(can(one, "factor") for one in inside(localization)):
            raise ValueError(
                f"dims={dims!r} has the variable, for which {type(localization.geometry).__name__} has no rules: leave "
                "it out, or give ByVariable(geometry, rules)"
            )
    return by_variable if by_variable else each[0]


def places(localization: Localization | None, layout: Layout, entries: np.ndarray) -> np.ndarray:
    """Where the entries of a layout are, ``(entry, dimension)``: at their index where nothing is localized.

    Parameters
    ----------
    localization : Localization or None
    layout : Layout
        Of the entries.
    entries : (entry,) array of int
        Their indices in the whole state.

    Raises
    ------
    ValueError
        If a variable has no such coordinate.
    """
    if localization is None:
        return entries[:, None].astype(np.float64)
    return positions(layout, dims_of(localization), dict(localization.at))


def check_places(
    what: str, given: Sequence[Sequence[float]], localization: Localization | None, layout: Layout
) -> None:
    """Raise ValueError for places that have another number of coordinates than the localization.

    Parameters
    ----------
    what : str
        What they are places of, for the sentence.
    given : sequence of sequence of float
    localization : Localization or None
    layout : Layout
        Of the state.
    """
    if localization is None or not given:
        return
    dims = variable_dims(next(iter(layout.template.data_vars)), dims_of(localization))
    if len(given[0]) != len(dims):
        raise ValueError(
            f"places of {what} have {len(given[0])} coordinates but the localization {len(dims)}, "
            f"{', '.join(map(str, dims))}: give these"
        )


def length_unit(localization: Localization, layout: Layout) -> str:
    """Unit of half-widths: km on the sphere, else that of the coordinates that make a position, if they have one."""
    if any(isinstance(one, Sphere) for one in inside(localization.geometry)):
        return "km"
    first = next(iter(_coordinates(localization, layout)), None)
    unit = "" if first is None else str(first.attrs.get("units", ""))
    return "" if unit == COUNTED else unit


def _coordinates(localization: Localization, layout: Layout) -> list[xr.DataArray]:
    """Those that make a position, of the first variable that has all or most of them."""
    return max((_position_of(one, localization) for one in layout.template.data_vars.values()), key=len, default=[])


def _position_of(variable: xr.DataArray, localization: Localization) -> list[xr.DataArray]:
    """Coordinates of a variable that make its position."""
    found = (find_coordinate(variable, dim) for dim in variable_dims(variable.name, dims_of(localization)))
    return [one for one in found if one is not None]


def reach_of(method: object, layout: Layout) -> str:
    """The localization of a method in words: half-width, and how distance is taken."""
    localization = find_localization(method)
    if localization is None or math.isinf(localization.half_width):
        return "none, every observation reaches everything"
    reach = f"half-width {localization.half_width:g} {length_unit(localization, layout)}".rstrip()
    return f"{reach} {distance_of(localization, layout)}"


def distance_of(localization: Localization, layout: Layout) -> str:
    """How distance is taken, in words: coordinates, what is periodic, scaled or counted, and along what it is not."""
    coordinates = _coordinates(localization, layout)
    words = [f"along {', '.join(str(one.name) for one in coordinates)}"]
    for geometry in inside(localization.geometry):
        if isinstance(geometry, Sphere):
            words.append("on the sphere")
        if isinstance(geometry, Periodic):
            each = zip(coordinates, geometry.period, strict=False)
            words += [f"periodic in {one.name} with {period:g}" for one, period in each if math.isfinite(period)]
        if isinstance(geometry, Layered | Product):
            vertical, length = coordinates[-1], f"{geometry.scale:g} {length_unit(localization, layout)}".rstrip()
            one = f"1 {vertical.attrs.get('units', '')}".rstrip()
            words.append(f"{one} along {vertical.name} counted as {length}")
    counted = [str(one.name) for one in coordinates if one.name in one.dims and one.name not in one.coords]
    words += [f"points along {', '.join(counted)} counted from 0"] if counted else []
    free: dict[Hashable, None] = {}
    for variable in layout.template.data_vars.values():
        along = {dim for one in _position_of(variable, localization) for dim in one.dims}
        free |= {dim: None for dim, size in variable.sizes.items() if size > 1 and dim not in along}
    words += [f"not along {', '.join(map(str, free))}"] if free else []
    return ", ".join(words)


def check_order(localization: Localization, axes: Sequence[str]) -> None:
    """Raise ValueError if a localization names its coordinates the other way round than a table its positions."""
    dims = dims_of(localization)
    for pair in dims.values() if isinstance(dims, Mapping) else [dims]:
        if len(pair) > 1 and len(axes) > 1 and pair[0].startswith(axes[1]) and pair[1].startswith(axes[0]):
            raise ValueError(
                f"the localization has dims={tuple(pair)!r} but the observations have positions {tuple(axes)!r}: "
                f"name the coordinates in the same order, dims={(pair[1], pair[0], *pair[2:])!r}"
            )
