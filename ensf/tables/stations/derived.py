"""Quantities that a table may name beside the variables of the state, derived from them at the station.

A derived quantity is a setting with one verb: it sees `ensf.tables.stations.Stations` and gives an operator with one
row per station, and a code per station (0, or why the station cannot be seen, `ensf.tables.flags`). Each keeps
its structure in view:

    Speed            sqrt(u^2 + v^2)                  WindSpeed(L_u, L_v)
    LayerMean        1/(b-a) int_a^b q dz             Linear
    FunctionOf       f(q), one variable               Pointwise(f, L)
    Combination      f(q_1, ..., q_n)                 Combined(f, (L_1, ..., L_n))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol

import numpy as np

from ensf.arrays import Array
from ensf.observations.combined import Combined
from ensf.observations.functions import Function
from ensf.observations.operators import Pointwise, WindSpeed

__all__ = ["Combination", "Derived", "FunctionOf", "LayerMean", "Speed", "register", "registered"]


class Derived(Protocol):
    """A derived quantity."""

    def see(self, stations: Any) -> tuple[Any, np.ndarray]:
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

    def see(self, stations: Any) -> tuple[Any, np.ndarray]:
        """`WindSpeed` of both components."""
        (u, v), code = _seen(stations, (self.eastward, self.northward))
        return WindSpeed(u, v), code


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

    def see(self, stations: Any) -> tuple[Any, np.ndarray]:
        """`Linear` map of the levels of the layer."""
        return stations.layer(self.variable, self.low, self.high)


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

    def see(self, stations: Any) -> tuple[Any, np.ndarray]:
        """`Pointwise` function of the interpolated variable."""
        linear, code = stations.linear(self.variable)
        return Pointwise(self.function, linear), code  # type: ignore[arg-type]


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

    def see(self, stations: Any) -> tuple[Any, np.ndarray]:
        """`Combined` of the interpolated variables."""
        linear, code = _seen(stations, self.variables)
        return Combined(self.function, linear), code


def _seen(stations: Any, variables: tuple[str, ...]) -> tuple[tuple[Any, ...], np.ndarray]:
    """Linear operators of several variables, and the first reason not to see a station."""
    operators, codes = zip(*(stations.linear(variable) for variable in variables), strict=True)
    return operators, reduce(lambda first, second: np.where(first != 0, first, second), codes)


register("wind_speed", Speed("u", "v"))
