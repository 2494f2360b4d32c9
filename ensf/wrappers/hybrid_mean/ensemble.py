"""Covariance of the members, localized by scale: what is large reaches farther than what is small.

With bands g_b of the total wavenumber that sum to one, A_jb the part of anomaly j in band b, and L_b the Gaspari-Cohn
taper of the band times one of the vertical distance,

    B = sum_j sum_b sum_b' diag(A_jb) L_b^{1/2} L_b'^{T/2} diag(A_jb'),

which keeps the covariance between bands (Buehner & Shlyaeva 2015, Tellus A 67, 28027). The bands meet at wavelengths
where g falls as a cosine of the logarithm of the wavenumber.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from operator import add

import numpy as np

from ensf.arrays import Array, like, namespace
from ensf.arrays.settings import check_settings
from ensf.localization import gaspari_cohn
from ensf.wrappers.base import check_ranges
from ensf.wrappers.hybrid_mean.grid import PeriodicGrid

__all__ = ["EnsembleCovariance"]

OVERLAP = 0.7
"""Width of the transition from a band to the next, in logarithms of the wavenumber."""


@dataclass(frozen=True)
class EnsembleCovariance:
    """Covariance of the members, localized by scale.

    Parameters
    ----------
    half_widths : tuple of float
        Gaspari-Cohn half-width of each band, from the largest scales to the smallest; infinity: no taper.
    wavelengths : tuple of float
        Where each band but the last ends.
    vertical_half_width : float
        Gaspari-Cohn half-width between layers, in units of horizontal distance.
    weight : float
        Of this covariance in the sum.

    Raises
    ------
    ValueError
        If the bands do not fit, or a number is not positive.
    """

    half_widths: tuple[float, ...]
    wavelengths: tuple[float, ...] = ()
    vertical_half_width: float = np.inf
    weight: float = 0.55

    def __post_init__(self) -> None:
        check_settings(self)
        if len(self.half_widths) != len(self.wavelengths) + 1 or not all(w > 0 for w in self.half_widths):
            raise ValueError(
                f"EnsembleCovariance has half_widths {self.half_widths} and wavelengths {self.wavelengths}: give a "
                "positive half-width for each band, and a wavelength where each band but the last ends"
            )
        if not all(one > other for one, other in pairwise((np.inf, *self.wavelengths, 0.0))):
            raise ValueError(f"EnsembleCovariance has wavelengths {self.wavelengths}: give them from long to short")
        rules = {
            "vertical_half_width": (self.vertical_half_width > 0, "a positive length, or infinity"),
            "weight": (self.weight >= 0, "0 or more"),
        }
        check_ranges(self, "ensemble covariance", rules)

    def bands(self, grid: PeriodicGrid) -> np.ndarray:
        """Part of each Fourier coefficient that each band has, ``(band, *spectrum)``; they sum to one."""
        wavenumber = np.maximum(grid.wavenumber, np.finfo(float).tiny)
        below = [np.zeros_like(wavenumber)]
        for wavelength in self.wavelengths:
            place = np.clip(0.5 + np.log(wavenumber * wavelength) / OVERLAP, 0.0, 1.0)
            below.append(0.5 + 0.5 * np.cos(np.pi * place))
        return np.diff([*below, np.ones_like(wavenumber)], axis=0)

    def on(self, grid: PeriodicGrid, mean: Array, anomalies: Array) -> Callable[[Array], Array]:
        """The covariance as a map of fields ``(layer, *shape)``, of anomalies ``(member, layer, *shape)``."""
        xp = namespace(anomalies)
        spectra = grid.spectra(anomalies)
        parts = [grid.back(spectra * like(band, anomalies)) for band in self.bands(grid)]
        tapers = [np.ascontiguousarray(gaspari_cohn(grid.distance, width)) for width in self.half_widths]
        roots = [like(np.sqrt(np.maximum(grid.spectra(taper).real, 0.0)), anomalies) for taper in tapers]
        vertical = xp.astype(like(gaspari_cohn(grid.separation, self.vertical_half_width), anomalies), spectra.dtype)
        flat = (anomalies.shape[0], len(grid.height), -1)

        def covariance(field: Array) -> Array:
            control = reduce(add, (root * grid.spectra(part * field) for root, part in zip(roots, parts, strict=True)))
            control = xp.reshape(xp.matmul(vertical, xp.reshape(control, flat)), control.shape)
            bands = (part * grid.back(root * control) for root, part in zip(roots, parts, strict=True))
            return xp.sum(reduce(add, bands), axis=0)

        return covariance
