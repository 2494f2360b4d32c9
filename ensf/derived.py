"""Quantities that a table may name beside the variables of the state, derived from them at the station.

A derived quantity is a setting with one verb: it sees `ensf.stations.Stations` and gives an operator with one row per
station, and a code per station (0, or why the station cannot be seen, `ensf.flags`). Each keeps its structure in view:

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

from ensf.arrays import Array, namespace
from ensf.functions import Function
from ensf.operators import Pointwise, WindSpeed, restrict, tangent

__all__ = ["Combination", "Combined", "Derived", "FunctionOf", "LayerMean", "Speed", "register", "registered"]


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
        Elementwise, such as `ensf.functions.log`.
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


@dataclass(frozen=True)
class Combined:
    """Pointwise function of several linear maps, ``h(x)_k = f((L_1 x)_k, ..., (L_n x)_k)``.

    Parameters
    ----------
    function : callable
        Of n arrays of one shape, elementwise; its derivatives are central differences.
    linear : tuple of operator
        `Identity`, `Select` or `Linear`.
    """

    function: Callable[..., Array]
    linear: tuple[Any, ...]

    def __call__(self, states: Array) -> Array:
        return self.function(*(linear(states) for linear in self.linear))

    def tangent(self, states: Array, directions: Array) -> Array:
        """``J(x) v`` for directions ``(..., state)``."""
        pairs = zip(self._slopes(states), self.linear, strict=True)
        return _total([slope * tangent(linear, states, directions) for slope, linear in pairs])

    def adjoint(self, states: Array, residuals: Array) -> Array:
        """``J(x)^T r``."""
        pairs = zip(self._slopes(states), self.linear, strict=True)
        return _total([linear.adjoint(states, slope * residuals) for slope, linear in pairs])

    def restrict(self, index: tuple[int, ...]) -> Combined:
        """The observations at `index` only."""
        return Combined(self.function, tuple(restrict(linear, index) for linear in self.linear))

    def _slopes(self, states: Array) -> list[Array]:
        seen = [linear(states) for linear in self.linear]
        return [self._slope(seen, k) for k in range(len(seen))]

    def _slope(self, seen: list[Array], k: int) -> Array:
        xp = namespace(seen[k])
        step = float(xp.finfo(seen[k].dtype).eps) ** (1 / 3) * xp.maximum(xp.abs(seen[k]), xp.ones_like(seen[k]))
        above, below = ([*seen[:k], seen[k] + sign * step, *seen[k + 1 :]] for sign in (1, -1))
        return (self.function(*above) - self.function(*below)) / (2 * step)


def _seen(stations: Any, variables: tuple[str, ...]) -> tuple[tuple[Any, ...], np.ndarray]:
    """Linear operators of several variables, and the first reason not to see a station."""
    operators, codes = zip(*(stations.linear(variable) for variable in variables), strict=True)
    return operators, reduce(lambda first, second: np.where(first != 0, first, second), codes)


def _total(arrays: list[Array]) -> Array:
    return reduce(lambda first, second: first + second, arrays)


register("wind_speed", Speed("u", "v"))
