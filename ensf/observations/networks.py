"""Observing networks on a grid: random or regular points, others in every cycle.

The last two dimensions of the model's shape, or its only one, are the grid; a point that is seen is seen on all levels
above it. `box` bounds a network to a part of the grid. Every observation sees one variable, so that localization knows
where it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ensf.arrays import Array, Generator
from ensf.arrays.settings import check_settings
from ensf.observations.functions import PointwiseFunction
from ensf.observations.observation import Observation
from ensf.observations.operators import Pointwise, Select

__all__ = ["RandomPoints", "RegularPoints"]

Box = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class RandomPoints:
    """Points drawn anew in each cycle.

    Parameters
    ----------
    shape : tuple of int
        The model's.
    count : int
        Points of a level that are observed.
    error : float
        Standard deviation.
    function : Function, optional
        What is observed of a variable; None = the variable itself.
    box : tuple of (int, int), optional
        For each dimension of the grid, the first index that may be seen and the one after the last; None = everywhere.

    Raises
    ------
    ValueError
        If there are fewer points than are to be drawn, or the box is not on the grid.
    """

    shape: tuple[int, ...]
    count: int
    error: float = 1.0
    function: PointwiseFunction | None = None
    box: Box | None = None

    def __post_init__(self) -> None:
        check_settings(self)
        size = _inside(self.shape, self.box).size
        if not 1 <= self.count <= size:
            raise ValueError(f"{self.count} random points are asked for: give a number from 1 to {size}")

    def observe(self, truth: Array, cycle: int, rng: Generator) -> Observation:
        """Observation of the truth ``(state,)``."""
        points = np.sort(rng.choice(_inside(self.shape, self.box), self.count, replace=False))
        return _observe(points, self, truth, rng)


@dataclass(frozen=True)
class RegularPoints:
    """Every k-th point of the grid, in each of its dimensions; the network may move from cycle to cycle.

    Parameters
    ----------
    shape, error, function, box
        As in `RandomPoints`.
    every : int
        Distance of points.
    shift : int
        Points by which the network moves in a cycle, along the last dimension and, every time it has gone round, along
        the one before: with 1 each point is seen once in ``every ** 2`` cycles. 0 = it stays.

    Raises
    ------
    ValueError
        If the distance is below 1, or the box is smaller than it or not on the grid.
    """

    shape: tuple[int, ...]
    every: int
    shift: int = 0
    error: float = 1.0
    function: PointwiseFunction | None = None
    box: Box | None = None

    def __post_init__(self) -> None:
        check_settings(self)
        _inside(self.shape, self.box)
        shortest = min(stop - first for first, stop in _bounds(self.shape, self.box))
        if not 1 <= self.every <= shortest:
            raise ValueError(f"every {self.every}th point is asked for: give a distance from 1 to {shortest}")

    def observe(self, truth: Array, cycle: int, rng: Generator) -> Observation:
        """Observation of the truth ``(state,)``."""
        moved = cycle * self.shift
        parts = list[np.ndarray]()
        for first, stop in reversed(_bounds(self.shape, self.box)):
            parts.append(np.arange(first + moved % self.every, stop, self.every))
            moved //= self.every
        return _observe(_flat(parts[::-1], self.shape), self, truth, rng)


def _bounds(shape: tuple[int, ...], box: Box | None) -> Box:
    """First index and the one after the last, of each dimension of the grid."""
    return tuple((0, size) for size in shape[-2:]) if box is None else box


def _inside(shape: tuple[int, ...], box: Box | None) -> np.ndarray:
    """Points of a level that may be seen.

    Raises
    ------
    ValueError
        If the box is not on the grid.
    """
    bounds = _bounds(shape, box)
    grid = shape[-2:]
    fits = len(bounds) == len(grid) and all(0 <= a < b <= n for (a, b), n in zip(bounds, grid, strict=True))
    if not fits:
        raise ValueError(f"the box {box} is not on a grid of {grid} points: give (first, last + 1) for each dimension")
    return _flat([np.arange(first, stop) for first, stop in bounds], shape)


def _flat(parts: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    return np.ravel_multi_index(np.ix_(*parts), shape[-2:]).ravel()


def _observe(points: np.ndarray, network: RandomPoints | RegularPoints, truth: Array, rng: Generator) -> Observation:
    """Points of a level, on all levels."""
    levels = np.arange(math.prod(network.shape[:-2])) * math.prod(network.shape[-2:])
    select = Select((levels[:, None] + points).ravel())
    operator = select if network.function is None else Pointwise(network.function, select)
    predicted = operator(truth)
    law = Observation(predicted, operator, network.error).law
    return Observation(law.draw(predicted, rng), operator, network.error)
