"""Distance with a vertical part: positions are those of a horizontal geometry and one column more,

distance^2 = horizontal distance^2 + (scale x vertical separation)^2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

__all__ = ["Layered"]


@dataclass(frozen=True)
class Layered:
    """A horizontal geometry and a vertical coordinate, as a geometry for `ensf.localization.Localization`.

    Parameters
    ----------
    horizontal : Geometry
        `Sphere`, `Euclidean` or `Periodic`, of all columns of the positions but the last.
    scale : float
        Horizontal distance that one unit of the last column counts for: ``Layered(Sphere(), 100.0)`` with heights in
        km takes 1 km in the vertical for 100 km.

    Raises
    ------
    ValueError
        If the scale is not a positive number.
    """

    horizontal: Any
    scale: float

    def __post_init__(self) -> None:
        if not 0 < self.scale < np.inf:
            raise ValueError(f"the vertical scale is {self.scale}: give a positive number")

    def pairs(self, points: np.ndarray, others: np.ndarray, radius: float) -> scipy.sparse.csr_array:
        """Distances of all pairs no further apart than `radius`, sparse ``(point, other)``."""
        near = self.horizontal.pairs(points[:, :-1], others[:, :-1], radius).tocoo()
        rise = self.scale * (points[near.row, -1] - others[near.col, -1])
        distance = np.hypot(near.data, rise)
        kept = distance <= radius
        pairs = (distance[kept], (near.row[kept], near.col[kept]))
        found = scipy.sparse.csr_array(pairs, shape=near.shape)
        found.sort_indices()
        return found
