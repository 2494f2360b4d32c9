"""Conjugate gradients (Hestenes & Stiefel 1952, J. Res. Nat. Bur. Stand. 49, 409)."""

from __future__ import annotations

from collections.abc import Callable

from ensf.arrays import Array, namespace

__all__ = ["conjugate_gradients"]


def conjugate_gradients(
    matrix: Callable[[Array], Array], right: Array, tolerance: float, limit: int
) -> tuple[Array, int]:
    """Solution x of A x = b, and the number of products with A.

    Parameters
    ----------
    matrix : callable
        x -> A x, symmetric and positive definite.
    right : (entry,) array
        b.
    tolerance : float
        Norm of the residual, in units of that of b, at which it stops.
    limit : int
        Most products.
    """
    xp = namespace(right)
    solution, residual, direction = xp.zeros_like(right), right, right
    square = float(xp.sum(right * right))
    goal = tolerance**2 * square
    for count in range(limit):
        if square <= goal:
            return solution, count
        image = matrix(direction)
        step = square / float(xp.sum(direction * image))
        solution, residual = solution + step * direction, residual - step * image
        before, square = square, float(xp.sum(residual * residual))
        direction = residual + (square / before) * direction
    return solution, limit
