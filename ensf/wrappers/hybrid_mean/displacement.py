"""Errors of place: a random non-divergent displacement of the mean field.

What is advected is often right in shape and wrong in place. With the mean m and a random streamfunction chi,

    error = J chi = chi_x m_y - chi_y m_x,        B = J S J^T,

where S is the covariance (1 + r/L) exp(-r/L) of chi, of spectrum (1 + (kL)^2)^(-5/2), with the coherence 1/cosh(kd/2)
between layers at a vertical distance d, as of flow that is bound to boundaries. It is scaled so that its mean variance
is that of the members.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ensf.arrays import Array, like, namespace
from ensf.arrays.settings import check_settings
from ensf.wrappers.base import check_ranges
from ensf.wrappers.hybrid_mean.grid import PeriodicGrid

__all__ = ["DisplacementCovariance"]


@dataclass(frozen=True)
class DisplacementCovariance:
    """Covariance of random displacements of the mean field, on a plane.

    Parameters
    ----------
    length : float
        L of the displacement's streamfunction.
    weight : float
        Of this covariance in the sum.

    Raises
    ------
    ValueError
        If the length is not positive, or the weight negative.
    """

    length: float
    weight: float = 0.15

    def __post_init__(self) -> None:
        check_settings(self)
        rules = {
            "length": (0 < self.length < np.inf, "a positive length"),
            "weight": (self.weight >= 0, "0 or more"),
        }
        check_ranges(self, "displacement covariance", rules)

    def on(self, grid: PeriodicGrid, mean: Array, anomalies: Array) -> Callable[[Array], Array]:
        """The covariance as a map of fields ``(layer, *shape)``, of a mean like them.

        Raises
        ------
        ValueError
            If the grid is a ring.
        """
        if len(grid.shape) != 2:
            raise ValueError("DisplacementCovariance needs a plane: leave it out on a ring")
        xp = namespace(mean)
        ky, kx = (2 * np.pi * _odd(line, count) for line, count in zip(grid.frequencies, grid.shape, strict=True))
        k = 2 * np.pi * grid.wavenumber
        spectrum = (1 + (k * self.length) ** 2) ** -2.5
        coherence = 1 / np.cosh(np.minimum(0.5 * k * grid.separation[:, :, None, None], 300.0))
        along_y, along_x = like(ky, mean), like(kx, mean)
        transformed = grid.spectra(mean)
        mean_y, mean_x = grid.back(1j * along_y * transformed), grid.back(1j * along_x * transformed)
        gradient = [float(np.sum(line**2 * spectrum * grid.multiplicity)) for line in (kx, ky)]
        variance = float(xp.mean(mean_y * mean_y * gradient[0] + mean_x * mean_x * gradient[1]))
        wanted = float(xp.mean(xp.sum(anomalies * anomalies, axis=0)))
        streamfunction = like(coherence * spectrum * (wanted / variance if variance > 0 else 0.0), mean)

        def covariance(field: Array) -> Array:
            adjoint = 1j * (along_y * grid.spectra(mean_x * field) - along_x * grid.spectra(mean_y * field))
            chi = xp.sum(streamfunction * adjoint, axis=1)
            return mean_y * grid.back(1j * along_x * chi) - mean_x * grid.back(1j * along_y * chi)

        return covariance


def _odd(line: np.ndarray, count: int) -> np.ndarray:
    """Frequencies of a derivative: that of the shortest wave, whose derivative is not real, is 0."""
    shortest = np.abs(line) == np.max(np.abs(line))
    return np.where(shortest & (count % 2 == 0), 0.0, line)
