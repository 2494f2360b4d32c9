"""Observations that see weighted means of variables, as interpolation makes them: their weights, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ensf.arrays import is_host, is_sparse
from ensf.observations.observation import Observation
from ensf.observations.operators import Linear

if TYPE_CHECKING:
    import scipy.sparse

__all__ = ["spread_over_variables", "weights_of_means"]


def weights_of_means(observation: Observation) -> scipy.sparse.csr_array | None:
    """Weights ``(observation, state)`` of the variables that each observation is a function of the mean of.

    None if one sees anything else than a mean, or the matrix is not on the host.
    """
    part = observation.part
    if observation.state_size is None or part.pointwise is None or not isinstance(part.linear, Linear):
        return None
    matrix = part.linear.matrix
    if not is_sparse(matrix) and not is_host(matrix):
        return None
    import scipy.sparse

    weights = scipy.sparse.csr_array(matrix)
    total = weights.sum(axis=1)
    return weights if (weights.data >= 0).all() and np.allclose(total, 1, rtol=0, atol=1e-6) else None


def spread_over_variables(weights: scipy.sparse.csr_array, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is seen in the means, at the variables they are of: the mean of those that see one, with their weights.

    Returns
    -------
    entries : (observed,) array of int
        Variables that are observed, ascending.
    at_entries : (observed,) array
    """
    total = weights.sum(axis=0)
    entries = np.flatnonzero(total > 0)
    return entries, (weights.T @ bias)[entries] / total[entries]
