"""What distance means: on a line or in space, on a ring or a torus, on a sphere. Neighbours by k-d trees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ensf.arrays.settings import check_settings

if TYPE_CHECKING:
    import scipy.sparse

__all__ = ["Euclidean", "Geometry", "Periodic", "Sphere"]


class Geometry(Protocol):
    """What distance means."""

    def pairs(self, points: np.ndarray, others: np.ndarray, radius: float) -> scipy.sparse.csr_array:
        """Distances of all pairs no further apart than `radius`, sparse ``(point, other)``, zeros stored.

        Parameters
        ----------
        points, others : (point, dimension) and (other, dimension) arrays
        radius : float

        Raises
        ------
        ValueError
            If positions have other dimensions than the geometry.
        """


@dataclass(frozen=True)
class Euclidean:
    """Straight-line distance in as many dimensions as the positions have."""

    def pairs(self, points: np.ndarray, others: np.ndarray, radius: float) -> scipy.sparse.csr_array:
        """Distances of all pairs no further apart than `radius`."""
        return _near(_finite(points), _finite(others), radius)


@dataclass(frozen=True)
class Periodic:
    """Straight-line distance on a ring, a torus or a channel.

    Parameters
    ----------
    period : tuple of float
        One per dimension, in the unit of the positions; infinity for a dimension that does not wrap.
    """

    period: tuple[float, ...]

    def __post_init__(self) -> None:
        check_settings(self)
        object.__setattr__(self, "period", tuple(float(p) for p in np.atleast_1d(self.period)))
        if not all(p > 0 for p in self.period):
            raise ValueError(f"period is {self.period}: give positive lengths, or infinity")

    def pairs(self, points: np.ndarray, others: np.ndarray, radius: float) -> scipy.sparse.csr_array:
        """Distances of all pairs no further apart than `radius`."""
        box = np.where(np.isfinite(self.period), self.period, 0.0)
        return _near(self._wrapped(points), self._wrapped(others), radius, box)

    def _wrapped(self, position: np.ndarray) -> np.ndarray:
        """Positions within the first period."""
        period, position = np.asarray(self.period), _finite(position)
        if position.shape[1] != len(period):
            raise ValueError(
                f"positions have {position.shape[1]} coordinates but {self!r} has {len(period)} periods: give each "
                f"position {len(period)} numbers, in a Dataset by the dims of Localization"
            )
        wraps = np.isfinite(period)
        wrapped = np.where(wraps, np.mod(position, np.where(wraps, period, 1.0)), position)
        wrapped[wrapped == period] = 0.0
        return wrapped


@dataclass(frozen=True)
class Sphere:
    """Great-circle distance between positions (latitude, longitude) in degrees.

    Parameters
    ----------
    radius : float
        Radius of the sphere; distances have its unit (default: km on the Earth).
    """

    radius: float = 6371.0

    def __post_init__(self) -> None:
        check_settings(self)
        if not 0 < self.radius < np.inf:
            raise ValueError(f"radius of the sphere is {self.radius}: give a positive length")

    def pairs(self, points: np.ndarray, others: np.ndarray, radius: float) -> scipy.sparse.csr_array:
        """Distances of all pairs no further apart than `radius`."""
        angle = radius / self.radius
        chord = 2 * np.sin(angle / 2) if angle < np.pi else np.inf
        near = _near(_on_unit_sphere(points), _on_unit_sphere(others), chord)
        near.data = 2 * self.radius * np.arcsin(np.minimum(near.data / 2, 1.0))
        return near


def _finite(position: np.ndarray) -> np.ndarray:
    """The positions; raises ValueError for one that is not finite."""
    if not np.isfinite(position.sum()) and not (finite := np.isfinite(position).all(axis=1)).all():
        number = int(np.argmin(finite))
        place = tuple(position[number].tolist())
        raise ValueError(f"the position of entry {number} is {place}: give finite coordinates, or leave it out")
    return position


def _on_unit_sphere(position: np.ndarray) -> np.ndarray:
    position = _finite(position)
    if position.shape[1] != 2 or np.any(np.abs(position[:, 0]) > 90):
        raise ValueError(
            "positions on a sphere are (latitude, longitude) in degrees, latitude between -90 and 90: give these, or "
            "Euclidean() for lengths"
        )
    latitude, longitude = np.deg2rad(position).T
    return np.stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], axis=1
    )


def _near(
    points: np.ndarray, others: np.ndarray, radius: float, box: np.ndarray | None = None
) -> scipy.sparse.csr_array:
    """Distances of all pairs no further apart than `radius`, on a torus if there is a box (0 = does not wrap)."""
    import scipy.sparse
    from scipy.spatial import cKDTree

    pairs = cKDTree(points, boxsize=box).sparse_distance_matrix(
        cKDTree(others, boxsize=box), radius, output_type="ndarray"
    )
    distances = scipy.sparse.csr_array((pairs["v"], (pairs["i"], pairs["j"])), shape=(len(points), len(others)))
    distances.sort_indices()
    return distances
