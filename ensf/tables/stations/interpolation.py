"""How the grid points around a station are weighed, and what happens where some of them are masked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

__all__ = ["Bilinear", "Interpolation", "Nearest"]


class Interpolation(Protocol):
    """Chooses among the grid points around a station."""

    def choose(self, place: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Places in the state and weights, ``(station, point)``, and whether there is data for the station."""


@dataclass(frozen=True)
class Bilinear:
    """Linear along each coordinate.

    Parameters
    ----------
    least : float
        Part of the weight that must be on grid points with data, in (0, 1]; 1 rejects every station beside land.
    """

    least: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.least <= 1:
            raise ValueError(f"least is {self.least}: give a part of the weight, above 0 and up to 1")

    def choose(self, place: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All grid points with data, in proportion to their weights."""
        weight = np.where(place >= 0, weight, 0.0)
        total = weight.sum(axis=1, keepdims=True)
        good = total[:, 0] >= self.least - 1e-9
        return np.maximum(place, 0), weight / np.where(good[:, None], total, 1.0), good


@dataclass(frozen=True)
class Nearest:
    """The one grid point that is nearest along each coordinate."""

    def choose(self, place: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The grid point of the largest weight."""
        place = np.take_along_axis(place, weight.argmax(axis=1)[:, None], axis=1)
        return np.maximum(place, 0), np.ones_like(place, dtype=np.float64), place[:, 0] >= 0
