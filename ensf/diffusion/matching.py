"""Score matching: losses whose minimum is the score of a density, and derivatives of any score by differences.

For a score s of the density q of z = alpha x + beta e:

    explicit    1/2 E |s(z) - grad log q(z)|^2                      needs the answer (Hyvarinen 2005, eq. 2)
    implicit    E [ 1/2 |s(z)|^2 + div s(z) ]                       needs draws of z (eq. 4)
    sliced      E [ 1/2 |s(z)|^2 + v^T (grad s) v ], v random       the same, with one slope a draw (Song et al. 2019)
    denoising   1/2 E |s(z) - (alpha x - z) / beta^2|^2             needs draws of x (Vincent 2011, eq. 9)

All differ by constants that do not depend on s, so they have the same minimum. The last is a regression.
"""

from __future__ import annotations

from collections.abc import Callable

from ensf.arrays import Array, Generator, namespace, normal

__all__ = [
    "denoising_loss",
    "divergence",
    "explicit_loss",
    "hutchinson",
    "implicit_loss",
    "sliced_loss",
    "slope",
]

Field = Callable[[Array], Array]


def slope(function: Field, z: Array, directions: Array) -> Array:
    """Derivative of a vector field along directions, ``(member, state)``, by central differences."""
    xp = namespace(z)
    step = float(xp.finfo(z.dtype).eps) ** (1 / 3) * max(1.0, float(xp.max(xp.abs(z))))
    length = xp.linalg.vector_norm(directions, axis=-1, keepdims=True)
    length = xp.where(length > 0, length, xp.ones_like(length))
    step_along = step * directions / length
    return (function(z + step_along) - function(z - step_along)) * (length / (2 * step))


def divergence(function: Field, z: Array) -> Array:
    """Divergence of a vector field at every row, ``(member,)``: 2 evaluations per entry of the state."""
    xp = namespace(z)
    identity = xp.eye(z.shape[-1], dtype=z.dtype, device=z.device)
    total = xp.zeros_like(z[:, 0])
    for k in range(z.shape[-1]):
        total = total + slope(function, z, xp.broadcast_to(identity[k : k + 1, :], z.shape))[:, k]
    return total


def hutchinson(function: Field, z: Array, rng: Generator, probes: int = 1) -> Array:
    """Unbiased estimate of the divergence, ``(member,)``: ``v^T (grad f) v`` with random signs v (Hutchinson 1990)."""
    xp = namespace(z)
    total = xp.zeros_like(z[:, 0])
    for _ in range(probes):
        signs = xp.sign(normal(rng, z.shape, z))
        total = total + xp.sum(signs * slope(function, z, signs), axis=-1)
    return total / probes


def explicit_loss(score: Field, exact: Field, z: Array) -> float:
    """Half the mean square distance of two scores at draws z."""
    return float(0.5 * namespace(z).mean(namespace(z).sum((score(z) - exact(z)) ** 2, axis=-1)))


def implicit_loss(score: Field, z: Array) -> float:
    """Hyvarinen's loss at draws z, with the exact divergence."""
    xp = namespace(z)
    return float(xp.mean(0.5 * xp.sum(score(z) ** 2, axis=-1) + divergence(score, z)))


def sliced_loss(score: Field, z: Array, rng: Generator, slices: int = 1) -> float:
    """Hyvarinen's loss at draws z, with the divergence estimated along `slices` random directions."""
    xp = namespace(z)
    return float(xp.mean(0.5 * xp.sum(score(z) ** 2, axis=-1) + hutchinson(score, z, rng, slices)))


def denoising_loss(score: Field, states: Array, alpha: float, variance: float, rng: Generator) -> float:
    """Vincent's loss at states x, each blurred once."""
    xp = namespace(states)
    noise = normal(rng, states.shape, states)
    residual = score(alpha * states + variance**0.5 * noise) + noise / variance**0.5
    return float(0.5 * xp.mean(xp.sum(residual**2, axis=-1)))
