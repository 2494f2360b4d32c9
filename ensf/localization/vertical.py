"""Distance with a vertical part: positions are those of a horizontal geometry and one column more.

With h the horizontal distance and v the vertical separation, scaled, `Layered` takes ``sqrt(h^2 + v^2)``, and `Product`
the distance at which one taper equals the product of two.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ensf.arrays.settings import check_kind, check_settings
from ensf.localization.geometry import Geometry
from ensf.localization.taper import gaspari_cohn

if TYPE_CHECKING:
    import scipy.sparse

__all__ = ["Layered", "Product"]


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

    horizontal: Geometry
    scale: float

    def __post_init__(self) -> None:
        _check(self)

    def pairs(self, points: np.ndarray, others: np.ndarray, radius: float) -> scipy.sparse.csr_array:
        """Distances of all pairs no further apart than `radius`, sparse ``(point, other)``."""
        near = self.horizontal.pairs(points[:, :-1], others[:, :-1], radius).tocoo()
        rise = self.scale * (points[near.row, -1] - others[near.col, -1])
        distance = np.hypot(near.data, rise)
        kept = distance <= radius
        pairs = (distance[kept], (near.row[kept], near.col[kept]))
        import scipy.sparse

        layered = scipy.sparse.csr_array(pairs, shape=near.shape)
        layered.sort_indices()
        return layered


@dataclass(frozen=True)
class Product:
    """Two tapers in a product, ``G(h / c) G(v / c)``: h horizontal, v vertical.

    A pair gets the distance d at which one taper equals the product, ``G(d / c) = G(h / c) G(v / c)``, with 2c the
    radius of the search. Unlike ``sqrt(h^2 + v^2)`` it keeps the full horizontal support at every height.

    Parameters
    ----------
    horizontal : Geometry
        Of all columns of the positions but the last.
    scale : float
        Horizontal distance that one unit of the last column counts for.

    Raises
    ------
    ValueError
        If the scale is not a positive number.
    """

    horizontal: Geometry
    scale: float

    def __post_init__(self) -> None:
        _check(self)

    def pairs(self, points: np.ndarray, others: np.ndarray, radius: float) -> scipy.sparse.csr_array:
        """Distances of all pairs no further apart than `radius`."""
        near = self.horizontal.pairs(points[:, :-1], others[:, :-1], radius)
        if radius < np.inf:
            row = np.repeat(np.arange(len(points)), np.diff(near.indptr))
            rise = self.scale * np.abs(points[row, -1] - others[near.indices, -1])
            apart = rise > 0
            weight = gaspari_cohn(near.data[apart], radius / 2) * gaspari_cohn(rise[apart], radius / 2)
            near.data[apart] = radius / 2 * np.interp(-weight, *_taper_table())
        return near


def _check(geometry: Layered | Product) -> None:
    check_kind(geometry.horizontal, "pairs", f"horizontal geometry of {type(geometry).__name__}", "Sphere()")
    check_settings(geometry)
    if not 0 < geometry.scale < np.inf:
        raise ValueError(f"the vertical scale is {geometry.scale}: give a positive number")


@cache
def _taper_table() -> tuple[np.ndarray, np.ndarray]:
    """Increasing ``-G(r)``, and r: the inverse of the taper by interpolation, to 1e-9 in G."""
    r = np.linspace(0.0, 2.0, 40001)
    return -gaspari_cohn(r, 1.0), r
