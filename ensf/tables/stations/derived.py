"""Quantities that a table may name beside the variables of the state, derived from them at the station.

A derived quantity is a setting with one verb: `at` takes `ensf.tables.stations.Stations` and gives an operator with one
row per station, and a code per station (0, or why the station cannot be used, `ensf.tables.flags`). Each keeps its
structure in view:

    Speed            sqrt(u^2 + v^2)                  WindSpeed(L_u, L_v)
    LayerMean        1/(b-a) int_a^b q dz             Linear
    FunctionOf       f(q), one variable               Pointwise(f, L)
    Combination      f(q_1, ..., q_n)                 Combined(f, (L_1, ..., L_n))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

import numpy as np

from ensf.arrays import Array
from ensf.observations.combined import Combined
from ensf.observations.functions import Function
from ensf.observations.operators import Operator, Pointwise, WindSpeed
from ensf.tables.stations.stations import StationOperator, Stations

__all__ = ["Combination", "Derived", "FunctionOf", "LayerMean", "Speed", "register", "registered"]


class Derived(Protocol):
    """A derived quantity.

    One that knows its units from those of the variables, a mapping of str to str, has ``units_of(units)``, too: rows in
    other units are then converted.
    """

    def at(self, stations: Stations) -> StationOperator:
        """Operator with one row per station, and the code of each station."""


_REGISTER: dict[str, Derived] = {}


def register(name: str, quantity: Derived) -> None:
    """Let tables name a derived quantity.

    Parameters
    ----------
    name : str
        What the column `variable` says.
    quantity : Derived
        `Speed`, `LayerMean`, `FunctionOf`, `Combination`, or one's own class.

    Raises
    ------
    ValueError
        If the name is taken by another quantity.
    """
    if _REGISTER.get(name, quantity) != quantity:
        raise ValueError(f"{name!r} is registered as {_REGISTER[name]!r}: choose another name")
    _REGISTER[name] = quantity


def derived_units(quantities: Mapping[str, Derived], units: Mapping[str, str]) -> dict[str, str]:
    """Units of those quantities that know theirs, of the units of variables."""
    each = {name: getattr(quantity, "units_of", lambda _: "")(units) for name, quantity in quantities.items()}
    return {name: one for name, one in each.items() if one}


def registered() -> dict[str, Derived]:
    """The derived quantities by name."""
    return dict(_REGISTER)


@dataclass(frozen=True)
class Speed:
    """Speed of two components.

    Parameters
    ----------
    eastward, northward : str
        Variables of the state, in the same units.
    """

    eastward: str = "u"
    northward: str = "v"

    def at(self, stations: Stations) -> StationOperator:
        """`WindSpeed` of both components."""
        (u, v), code = _linear(stations, (self.eastward, self.northward))
        return StationOperator(WindSpeed(u, v), code)

    def units_of(self, units: Mapping[str, str]) -> str:
        """Those of both components.

        Raises
        ------
        ValueError
            If they differ.
        """
        east, north = units.get(self.eastward, ""), units.get(self.northward, "")
        if east and north and east != north:
            raise ValueError(
                f"{self.eastward!r} has units {east!r} but {self.northward!r} {north!r}: a speed needs one of both"
            )
        return east or north


@dataclass(frozen=True)
class LayerMean:
    """Mean over a layer, of the profile that is linear between the levels.

    Parameters
    ----------
    variable : str
    low, high : float
        Edges of the layer in the vertical coordinate of the grid.
    """

    variable: str
    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"a layer from {self.low} to {self.high} is empty: give low below high")

    def at(self, stations: Stations) -> StationOperator:
        """`Linear` map of the levels of the layer."""
        return stations.layer(self.variable, self.low, self.high)

    def units_of(self, units: Mapping[str, str]) -> str:
        """Those of the variable."""
        return units.get(self.variable, "")


@dataclass(frozen=True)
class FunctionOf:
    """Function of one variable at the station.

    Parameters
    ----------
    function : Function or callable
        Elementwise, such as `ensf.observations.functions.log`.
    variable : str
    """

    function: Function | Callable[[Array], Array]
    variable: str

    def at(self, stations: Stations) -> StationOperator:
        """`Pointwise` function of the interpolated variable."""
        linear, code = stations.linear(self.variable)
        return StationOperator(Pointwise(self.function, linear), code)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Combination:
    """Function of several variables at the station.

    Parameters
    ----------
    function : callable
        Of one array per variable, elementwise.
    variables : tuple of str
    """

    function: Callable[..., Array]
    variables: tuple[str, ...]

    def at(self, stations: Stations) -> StationOperator:
        """`Combined` of the interpolated variables."""
        linear, code = _linear(stations, self.variables)
        return StationOperator(Combined(self.function, linear), code)


def _linear(stations: Stations, variables: tuple[str, ...]) -> tuple[tuple[Operator, ...], np.ndarray]:
    """Linear operators of several variables, and the first reason not to use a station."""
    operators, codes = zip(*(stations.linear(variable) for variable in variables), strict=True)
    return operators, reduce(lambda first, second: np.where(first != 0, first, second), codes)


register("wind_speed", Speed("u", "v"))
