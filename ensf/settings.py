"""What constructors make of what users give: plain numbers and indices, or one sentence that says what is wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["as_indices", "check_settings"]


def as_indices(index: ArrayLike | Sequence[int], owner: str) -> np.ndarray:
    """Indices ``(entry,)`` of whole numbers, or of a mask that is True at those that are meant.

    Parameters
    ----------
    index : sequence of int, or array of bool
    owner : str
        What has them, for the sentence.

    Raises
    ------
    ValueError
        If they are neither integers nor a one-dimensional mask.
    """
    if isinstance(index, np.ma.MaskedArray) and np.ma.getmaskarray(index).any():
        raise ValueError(f"{owner} has masked entries: leave them out")
    numbers = np.asarray(index)
    if numbers.ndim > 1:
        raise ValueError(f"{owner} has entries of shape {numbers.shape}: flatten them, as the state is flat")
    if numbers.dtype == bool and numbers.ndim == 1:
        numbers = np.flatnonzero(numbers)
    if numbers.size and numbers.dtype.kind not in "iu":
        raise ValueError(f"{owner} has entries of type {numbers.dtype}: give whole numbers, or a mask of booleans")
    return numbers.ravel().astype(np.int64, copy=False)


def check_settings(settings: Any) -> None:
    """Make the numbers of a frozen dataclass plain ones of Python, by what its fields are declared to be.

    Raises
    ------
    ValueError
        For text, None, NaN, or what else is no number where one is declared; no whole number where an int is; neither
        True nor False where a bool is.
    """
    for one in fields(settings):
        value, declared = getattr(settings, one.name), str(one.type)
        plain = value
        if declared.endswith(" | None") and value is None:
            continue
        match declared.removesuffix(" | None"):
            case "float":
                plain = _number(value, one.name, settings)
            case "int":
                plain = _whole(value, one.name, settings)
            case "bool":
                plain = _truth(value, one.name, settings)
            case "tuple[float, ...]":
                several = [value] if np.ndim(value) == 0 else value
                plain = tuple(_number(number, one.name, settings) for number in several)
        if plain is not value:
            object.__setattr__(settings, one.name, plain)


def _number(value: object, name: str, owner: object) -> float:
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, float | int) or math.isnan(plain):
        raise ValueError(f"{name} of {type(owner).__name__} is {plain!r}: give a number")
    return plain


def _whole(value: object, name: str, owner: object) -> int:
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, int):
        raise ValueError(f"{name} of {type(owner).__name__} is {plain!r}: give a whole number")
    return plain


def _truth(value: object, name: str, owner: object) -> bool:
    plain = _plain(value)
    if not isinstance(plain, bool):
        raise ValueError(f"{name} of {type(owner).__name__} is {plain!r}: give True or False")
    return plain


def _plain(value: Any) -> Any:
    """A number of NumPy, or an array of one, as a number of Python."""
    return value.item() if isinstance(value, np.generic | np.ndarray) and np.size(value) == 1 else value
