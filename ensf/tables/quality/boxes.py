"""Boxes of about equal size: which rows of a table are neighbours.

On the sphere, bands of latitude of width d are cut into as many boxes as have at least width d in the middle of the
band, so that boxes do not shrink towards the poles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ensf.arrays.settings import check_settings
from ensf.tables.table import ObservationTable

__all__ = ["Boxes"]


@dataclass(frozen=True)
class Boxes:
    """Boxes in space and time; rows of different variables are never in one box.

    Parameters
    ----------
    side : float
        Side of a box: km on the sphere, else in the unit of x and y.
    height : float, optional
        Height of a box in the unit of the first of the columns z, depth, height and pressure that the table has; the
        others of them are passed over. By default only rows of which all of them are equal are in one box.
    duration : float, optional
        Seconds that a box lasts, from 1970 on; by default any time.
    radius : float
        Radius of the sphere in the unit of `side`.
    """

    side: float
    height: float | None = None
    duration: float | None = None
    radius: float = 6371.0

    def __post_init__(self) -> None:
        check_settings(self)
        for name in ("side", "height", "duration", "radius"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise ValueError(f"boxes have {name} {getattr(self, name)}: give a positive number")

    def number(self, table: ObservationTable) -> np.ndarray:
        """Number of the box of each row, (row,) array of int, from 0 without gaps."""
        across = self._sphere(table.position) if table.axes == ("lat", "lon") else self._plane(table.position)
        heights = [*table.levels.values()]
        if self.height is not None:
            first = next((level for level in heights if not np.isnan(level).all()), table.height)
            heights = [np.floor(first / self.height)]
        keys = [_ranked(key) for key in (table.variable, *across, *heights, self._interval(table.time))]
        return np.unique(np.stack(keys, axis=1), axis=0, return_inverse=True)[1].ravel()

    def centre(self, table: ObservationTable, box: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Mean position of the rows of each box with weights that sum to one, ``(box, axis)``.

        Parameters
        ----------
        table : ObservationTable
        box : (row,) array of int
            Number of the box of each row.
        weight : (row,) array
            Sums to one in each box.
        """
        if table.axes != ("lat", "lon"):
            means = np.zeros((1 + box.max(initial=-1), len(table.axes)))
            for axis, column in enumerate(table.position.T):
                means[:, axis] = np.bincount(box, weight * column)
            return means
        latitude, longitude = np.deg2rad(table.position).T
        flat = np.cos(latitude)
        parts = (flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude))
        x, y, z = (np.bincount(box, weight * part) for part in parts)
        return np.rad2deg(np.stack([np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)], axis=1))

    def _plane(self, position: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(np.floor(position / self.side).T)

    def _sphere(self, position: np.ndarray) -> tuple[np.ndarray, ...]:
        width = np.rad2deg(self.side / self.radius)
        last = max(0, int(np.ceil(180 / width)) - 1)
        band = np.clip(np.floor((position[:, 0] + 90) / width), 0, last)
        middle = np.deg2rad(np.minimum((band + 0.5) * width, 180.0) - 90)
        around = np.maximum(1, np.floor(360 * np.cos(middle) / width))
        return band, np.floor(np.mod(position[:, 1], 360.0) / 360 * around)

    def _interval(self, time: np.ndarray) -> np.ndarray:
        if self.duration is None:
            return np.zeros(len(time), dtype=np.int64)
        return time.astype("datetime64[us]").astype(np.int64) // round(self.duration * 1e6)


def _ranked(key: np.ndarray) -> np.ndarray:
    """Rank of each entry, equal for equal entries and for NaN."""
    return np.unique(key, return_inverse=True)[1].ravel()
