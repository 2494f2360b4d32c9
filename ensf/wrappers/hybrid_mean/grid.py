"""A regular grid on a ring or a doubly periodic plane, with one layer or more: where states become spectra."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from ensf.arrays import Array, fft, like, namespace
from ensf.localization import Geometry, Layered, Periodic, Product
from ensf.localization.localization import finite_positions

__all__ = ["PeriodicGrid", "horizontal_periods"]

SAME, EVEN = 1e-6, 1e-2
"""How far apart equal coordinates may be, in periods, and points from their places on the grid, in spacings."""


def horizontal_periods(geometry: Geometry) -> tuple[float, ...]:
    """Lengths of a ring or a doubly periodic plane.

    Raises
    ------
    ValueError
        If the geometry is neither, with or without a vertical coordinate.
    """
    match geometry:
        case Product(horizontal=Periodic(period=period)) | Layered(horizontal=Periodic(period=period)):
            pass
        case Periodic(period=period):
            pass
        case _:
            period = ()
    if not 1 <= len(period) <= 2 or not np.all(np.isfinite(period)):
        raise ValueError(
            f"HybridMean has the geometry {geometry!r}: give a plane that wraps in both directions, or a ring, such as "
            "Periodic((20000.0, 20000.0)), or Product of it where there are levels"
        )
    return period


@dataclass(frozen=True, eq=False)
class PeriodicGrid:
    """Fields ``(..., layer, *shape)`` of states ``(..., state)``, and their spectra.

    Attributes
    ----------
    shape : tuple of int
        Points along each horizontal dimension.
    period : tuple of float
        Length of each.
    height : (layer,) array
        In units of horizontal distance.
    order : (state,) array of int
        State variable of each point of the layers.
    """

    shape: tuple[int, ...]
    period: tuple[float, ...]
    height: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, geometry: Geometry, positions: np.ndarray) -> Self:
        """The grid at ``(state, dimension)`` positions.

        Raises
        ------
        ValueError
            If the geometry is another, or positions are not those of a regular grid with the same layers everywhere.
        """
        period = horizontal_periods(geometry)
        scale = getattr(geometry, "scale", None)
        positions = finite_positions(positions, "state variable")
        needed = len(period) + (scale is not None)
        if positions.shape[1] != needed:
            raise ValueError(
                f"positions of the state have {positions.shape[1]} coordinates but {geometry!r} needs {needed}: give "
                f"HybridMean positions=, one row of {needed} numbers for each state variable, or in a Dataset a "
                "filter with a Localization whose dims name its coordinates"
            )
        axes = [_points(axis, length) for axis, length in zip(positions.T, period, strict=False)]
        shape = tuple(count for _, count in axes)
        cell = np.ravel_multi_index(tuple(index for index, _ in axes), shape)
        height = np.zeros(len(positions)) if scale is None else scale * positions[:, -1]
        layers, rest = divmod(len(positions), int(np.prod(shape)))
        order = np.lexsort((height, cell))[: len(positions) - rest].reshape(-1, layers).T
        if rest or np.any(cell[order] != np.arange(order.shape[1])) or np.any(height[order] != height[order[:, :1]]):
            raise ValueError(
                f"{len(positions)} state variables are no layers of a grid of {' x '.join(map(str, shape))} points: "
                "HybridMean needs the same layers at every point"
            )
        return cls(shape, period, height[order[:, 0]], order.ravel())

    def fields(self, states: Array) -> Array:
        """Of states ``(..., state)``."""
        xp = namespace(states)
        ordered = xp.take(states, like(self.order, states), axis=-1)
        return xp.reshape(ordered, (*states.shape[:-1], len(self.height), *self.shape))

    def states(self, fields: Array) -> Array:
        """Of fields ``(..., layer, *shape)``."""
        xp = namespace(fields)
        flat = xp.reshape(fields, (*fields.shape[: fields.ndim - len(self.shape) - 1], -1))
        return xp.take(flat, like(np.argsort(self.order), fields), axis=-1)

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(-len(self.shape), 0))

    def spectra(self, fields: Array) -> Array:
        """Fourier coefficients of real fields, half of them along the last dimension."""
        return fft(fields).rfftn(fields, axes=self._axes)

    def back(self, spectra: Array) -> Array:
        """Fields of their spectra."""
        return fft(spectra).irfftn(spectra, s=self.shape, axes=self._axes)

    @cached_property
    def frequencies(self) -> tuple[np.ndarray, ...]:
        """Cycles per length along each dimension, as they broadcast against a spectrum."""
        last = len(self.shape) - 1
        lines = []
        for axis, (count, length) in enumerate(zip(self.shape, self.period, strict=True)):
            line = (np.fft.rfftfreq if axis == last else np.fft.fftfreq)(count, length / count)
            lines.append(line.reshape((-1,) + (1,) * (last - axis)))
        return tuple(lines)

    @cached_property
    def wavenumber(self) -> np.ndarray:
        """Total wavenumber in cycles per length, of each Fourier coefficient."""
        return np.sqrt(sum(line**2 for line in self.frequencies))

    @cached_property
    def multiplicity(self) -> np.ndarray:
        """How many coefficients of the whole spectrum each of the half stands for, over their number."""
        last = self.shape[-1]
        twice = np.full(last // 2 + 1, 2.0)
        twice[0] = 1.0
        if last % 2 == 0:
            twice[-1] = 1.0
        return np.broadcast_to(twice, self.wavenumber.shape) / np.prod(self.shape)

    @cached_property
    def distance(self) -> np.ndarray:
        """Of each point from the first, ``shape``."""
        lines = [
            np.minimum(np.arange(count), count - np.arange(count)) * (length / count)
            for count, length in zip(self.shape, self.period, strict=True)
        ]
        return np.sqrt(sum(line**2 for line in np.meshgrid(*lines, indexing="ij")))

    @cached_property
    def separation(self) -> np.ndarray:
        """Vertical distance of each pair of layers, ``(layer, layer)``, in units of horizontal distance."""
        return np.abs(self.height[:, None] - self.height)


def _points(coordinate: np.ndarray, period: float) -> tuple[np.ndarray, int]:
    """Number of each coordinate on an evenly spaced ring, and the number of points.

    Raises
    ------
    ValueError
        If the points are not evenly spaced.
    """
    offset = np.mod(coordinate - coordinate[0] + 0.5 * SAME * period, period)
    count = 1 + int(np.count_nonzero(np.diff(np.sort(offset)) > SAME * period))
    place = offset * (count / period)
    index = np.rint(place)
    if np.any(np.abs(place - index) > EVEN):
        raise ValueError(f"HybridMean needs points that are evenly spaced around the period {period:g}: these are not")
    return index.astype(np.int64) % count, count
