"""A homogeneous and isotropic covariance with the spectra that the members of this cycle have.

    B = D C D

D^2 is the variance of the members, smoothed; C has at each total wavenumber the mean over directions and members of the
(cross) spectra of A_j / D, scaled to variance one: the correlation that a forecast error has on average, where few
members say little about the one of the day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ensf.arrays import Array, like, namespace, to_numpy
from ensf.arrays.settings import check_settings
from ensf.wrappers.base import check_ranges
from ensf.wrappers.hybrid_mean.grid import PeriodicGrid

__all__ = ["StaticCovariance"]


@dataclass(frozen=True)
class StaticCovariance:
    """Homogeneous, isotropic correlations with the spectra of the members.

    Parameters
    ----------
    smoothing : float
        Standard deviation of the Gaussian that smooths their variance, a length.
    weight : float
        Of this covariance in the sum.

    Raises
    ------
    ValueError
        If a number is negative.
    """

    smoothing: float
    weight: float = 0.25

    def __post_init__(self) -> None:
        check_settings(self)
        rules = {
            "smoothing": (0 <= self.smoothing < np.inf, "a length, 0 or more"),
            "weight": (self.weight >= 0, "0 or more"),
        }
        check_ranges(self, "static covariance", rules)

    def on(self, grid: PeriodicGrid, mean: Array, anomalies: Array) -> Callable[[Array], Array]:
        """The covariance as a map of fields ``(layer, *shape)``, of anomalies ``(member, layer, *shape)``."""
        xp = namespace(anomalies)
        smoother = np.exp(-0.5 * (2 * np.pi * grid.wavenumber * self.smoothing) ** 2)
        variance = grid.back(grid.spectra(xp.sum(anomalies * anomalies, axis=0)) * like(smoother, anomalies))
        deviation = xp.sqrt(xp.clip(variance, 0.0, None))
        spectra = grid.spectra(anomalies / xp.where(deviation > 0, deviation, xp.ones_like(deviation)))
        correlation = like(_ring_means(grid, _cross_spectra(spectra)), anomalies)

        def covariance(field: Array) -> Array:
            return deviation * grid.back(xp.sum(correlation * grid.spectra(deviation * field), axis=1))

        return covariance


def _cross_spectra(spectra: Array) -> np.ndarray:
    """Real parts of the cross spectra of each pair of layers, ``(layer, layer, *spectrum)``."""
    xp = namespace(spectra)
    members, layers, *shape = spectra.shape
    lines = xp.permute_dims(xp.reshape(spectra, (members, layers, -1)), (2, 1, 0))
    cross = xp.real(xp.matmul(lines, xp.conj(xp.matrix_transpose(lines))))
    return to_numpy(xp.permute_dims(cross, (1, 2, 0))).reshape(layers, layers, *shape)


def _ring_means(grid: PeriodicGrid, cross: np.ndarray) -> np.ndarray:
    """Means over rings of total wavenumber, scaled to variance one in each layer."""
    layers = len(cross)
    ring = np.rint(grid.wavenumber * max(grid.period)).astype(np.int64)
    count = ring.max() + 1
    number = ring + count * np.arange(layers**2).reshape(layers, layers, *([1] * ring.ndim))
    total = np.bincount(number.ravel(), (cross * grid.multiplicity).ravel(), count * layers**2)
    weight = np.bincount(ring.ravel(), grid.multiplicity.ravel(), count)
    mean = (total.reshape(layers, layers, count) / np.maximum(weight, 1e-300))[..., ring]
    axes = tuple(range(2, mean.ndim))
    deviation = np.sqrt(np.sum(mean * grid.multiplicity, axis=axes)[np.arange(layers), np.arange(layers)])
    deviation = np.where(deviation > 0, deviation, 1.0).reshape(layers, *([1] * ring.ndim))
    return mean / deviation[:, None] / deviation
