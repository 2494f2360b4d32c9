"""Fourier space of the SQG model: its constants, and the way to the fine grid of products and back.

Coefficients ``(..., level, l, k)`` are those of a real transform, divided by the number of grid points, so that they
are the same on any grid: l = 0, ..., n/2 - 1, -n/2, ..., -1 along y and k = 0, ..., n/2 along x, times 2 pi / L.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, Protocol

import array_api_compat
import numpy as np

from ensf.models.integrate import Array

__all__ = ["Settings", "Tables", "conjugate_last", "padded", "tables", "truncated"]


def conjugate_last(waves: Array) -> Array:
    """Column n/2 conjugated, as in the reference code; it has no content unless the grid scale has."""
    xp, half = array_api_compat.array_namespace(waves), waves.shape[-1] - 1
    return xp.concat((waves[..., :half], xp.conj(waves[..., half:])), axis=-1)


def padded(waves: Array, fine: int) -> Array:
    """Coefficients ``(..., n, n/2 + 1)`` on a finer grid."""
    xp, n, half = array_api_compat.array_namespace(waves), waves.shape[-2], waves.shape[-1] - 1
    gap = xp.zeros((*waves.shape[:-2], fine - n, half + 1), dtype=waves.dtype, device=array_api_compat.device(waves))
    rows = xp.concat((waves[..., :half, :], gap, waves[..., half:, :]), axis=-2)
    return xp.concat((rows, xp.zeros_like(rows[..., : fine // 2 - half])), axis=-1)


def truncated(waves: Array, n: int) -> Array:
    """Coefficients of the coarse grid; column n/2 is zero."""
    xp, half = array_api_compat.array_namespace(waves), n // 2
    rows = xp.concat((waves[..., :half, :half], waves[..., -half:, :half]), axis=-2)
    return xp.concat((rows, xp.zeros_like(rows[..., :1])), axis=-1)


class Tables(NamedTuple):
    """Constants in Fourier space, broadcast against ``(..., 2, n, n/2 + 1)``.

    Attributes
    ----------
    x, y : ik, il
    near, far : (H/mu) / tanh mu, (H/mu) / sinh mu
    damping : factor of hyperdiffusion in one step
    ekman : factor of psi
    jet : coefficients of the basic flow
    """

    x: Array
    y: Array
    near: Array
    far: Array
    damping: Array
    ekman: Array
    jet: Array

    def invert(self, q: Array) -> Array:
        """Streamfunction of q."""
        xp = array_api_compat.array_namespace(q)
        surface, lid = q[..., 0, :, :], q[..., 1, :, :]
        psi = self.far * lid - self.near * surface, self.near * lid - self.far * surface
        return xp.stack(psi, axis=-3)


class Settings(Protocol):
    """What the constants follow from: an `ensf.models.sqg.SQG`, which has their units."""

    @property
    def n(self) -> int: ...

    @property
    def dt(self) -> float: ...

    @property
    def diff_efold(self) -> float: ...

    @property
    def diff_order(self) -> int: ...

    @property
    def r(self) -> float: ...

    @property
    def tdiab(self) -> float: ...

    @property
    def symmetric(self) -> bool: ...

    @property
    def jacobian_factor(self) -> float: ...

    @property
    def L(self) -> float: ...

    @property
    def H(self) -> float: ...

    @property
    def deformation_radius(self) -> float: ...

    def jet(self) -> np.ndarray: ...

    def transform(self, states: Array) -> Array: ...


@lru_cache(maxsize=8)
def tables(model: Settings) -> Tables:
    """Constants of an `SQG` model, on the host."""
    n, unit = model.n, 2 * np.pi / model.L
    k, l = unit * np.arange(n // 2 + 1), unit * np.fft.fftfreq(n, 1 / n)[:, None]  # noqa: E741
    total = np.hypot(k, l)
    mu = total * model.deformation_radius
    mu[0, 0] = np.inf
    decay = np.exp(-mu)
    near, far = model.H / mu / np.tanh(mu), model.H / mu * 2 * decay / (1 - decay**2)
    damping = np.exp(-model.dt / model.diff_efold * (total / (unit * n / 2)) ** model.diff_order)
    ekman = model.r * np.stack([total**2, -(total**2) if model.symmetric else 0 * total])
    return Tables(1j * k, 1j * l, near, far, damping, ekman, model.transform(model.jet()))
