"""Power by total wavenumber of fields on a doubly periodic plane, and of error and spread of a cycle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ensf.arrays import Array, centred, fft, mean_departure, namespace, to_numpy
from ensf.diagnostics.cycle import Cycle

if TYPE_CHECKING:
    import scipy.sparse

__all__ = ["cycle_spectra", "power"]


def power(fields: Array) -> np.ndarray:
    """Power by total wavenumber 0, 1, ..., real ``(..., y, x) -> (..., wavenumber)``, on the host.

    The corners of the square of wavenumbers count to the last one, so that the sum is the mean square.
    """
    fields = to_numpy(fields)
    waves = fft(fields).rfftn(fields, axes=(-2, -1), norm="forward")
    rings = _rings(*fields.shape[-2:])
    squares = (waves.real**2 + waves.imag**2).reshape(-1, rings.shape[1])
    return (rings @ squares.T).T.reshape(*waves.shape[:-2], rings.shape[0])


@lru_cache(maxsize=4)
def _rings(rows: int, columns: int) -> scipy.sparse.csr_array:
    """How often each squared coefficient of `rfftn` counts to each wavenumber: 2 for itself and its conjugate."""
    import scipy.sparse

    largest = min(rows, columns) // 2
    y, x = np.fft.fftfreq(rows, 1 / rows)[:, None], np.fft.rfftfreq(columns, 1 / columns)
    ring = np.minimum(np.rint(np.hypot(y, x)).astype(int), largest)
    times = np.where((x == 0) | (2 * x == columns), 1.0, 2.0) + 0 * y
    places = ring.ravel(), np.arange(ring.size)
    return scipy.sparse.csr_array((times.ravel(), places), shape=(largest + 1, ring.size))


def cycle_spectra(
    cycle: Cycle, shape: tuple[int, ...], fields: Callable[[Array], Sequence[Array]]
) -> dict[str, np.ndarray]:
    """Power ``(wavenumber,)`` of truth, error and spread of forecast and analysis, mean over the levels.

    Parameters
    ----------
    cycle : Cycle
    shape : tuple of int
        The model's; the last two dimensions are the plane.
    fields : callable
        Linear function of the states ``(..., state)`` to a sequence of fields of the same shape whose powers are added.

    Returns
    -------
    dict
        ``truth``, ``forecast_error``, ``forecast_spread``, ``analysis_error``, ``analysis_spread``. The sum over
        wavenumbers is the mean square of the fields of the truth, of mean minus truth, and of the spread.
    """

    def total(states: Array) -> np.ndarray:
        planes = (namespace(f).reshape(f, (-1, *shape[-2:])) for f in fields(states))
        return sum((power(plane).sum(axis=0) for plane in planes), np.zeros(())) / levels

    levels = int(np.prod(shape[:-2], dtype=int))
    spectra = {"truth": total(cycle.truth)}
    for stage, members in {"forecast": cycle.forecast, "analysis": cycle.analysis.ensemble}.items():
        spectra[f"{stage}_error"] = total(-mean_departure(cycle.truth, members))
        spectra[f"{stage}_spread"] = total(centred(members) / (members.shape[0] - 1) ** 0.5)
    return spectra
