"""Operators of stations beside the states: sparse matrices for CuPy, dense ones where there is nothing sparse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import array_api_compat

from ensf.arrays import Array, is_host, like
from ensf.observations.combined import Combined
from ensf.observations.joined import Joined
from ensf.observations.operators import Linear, Pointwise, WindSpeed

__all__ = ["moved"]


def moved(operator: Any, array: Array) -> Any:
    """The operator with its matrices on the device of `array`; `Select` and others find their own way."""
    if isinstance(operator, Linear):
        return Linear(_matrix(operator.matrix, array))
    if isinstance(operator, Pointwise):
        return replace(operator, linear=moved(operator.linear, array))
    if isinstance(operator, WindSpeed):
        return WindSpeed(moved(operator.eastward, array), moved(operator.northward, array))
    if isinstance(operator, Combined):
        return replace(operator, linear=tuple(moved(linear, array) for linear in operator.linear))
    if isinstance(operator, Joined):
        return replace(operator, operators=tuple(moved(one, array) for one in operator.operators))
    return operator


def _matrix(matrix: Any, array: Array) -> Any:
    if is_host(array):
        return matrix
    if array_api_compat.is_cupy_array(array):
        import cupyx.scipy.sparse

        return cupyx.scipy.sparse.csr_matrix(matrix)
    return like(matrix.toarray(), array)
