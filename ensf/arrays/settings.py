"""What constructors make of what users give: plain numbers and indices, or one sentence that says what is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["as_indices", "check_kind", "check_settings", "has_settings", "inside"]


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
    if isinstance(index, tuple) and len(index) == 1 and np.ndim(index[0]) == 1:  # of np.where(mask)
        index = index[0]
    if np.ma.is_masked(index):
        raise ValueError(f"{owner} has masked entries: leave them out")
    numbers = np.asarray(index)
    if numbers.ndim > 1:
        raise ValueError(f"{owner} has entries of shape {numbers.shape}: flatten them, as the state is flat")
    if numbers.dtype == bool and numbers.ndim == 1:
        numbers = np.flatnonzero(numbers)
    if numbers.size and numbers.dtype.kind not in "iu":
        raise ValueError(f"{owner} has entries of type {numbers.dtype}: give whole numbers, or a mask of booleans")
    return numbers.ravel().astype(np.int64, copy=False)


def has_settings(made: object) -> TypeGuard[DataclassInstance]:
    """True for what a dataclass has made."""
    return is_dataclass(type(made))


def inside(settings: object) -> Iterator[object]:
    """Settings and all that they are made of, from the outermost to the innermost."""
    yield settings
    if has_settings(settings):
        for part in fields(settings):
            yield from inside(getattr(settings, part.name, None))


def check_settings(settings: Any) -> None:
    """Make the numbers of a frozen dataclass plain ones of Python, by what its fields are declared to be.

    One rule for all: what holds one number is that number, a fraction or an array of one too, and 3.0 is a whole one.

    Raises
    ------
    ValueError
        For text, None, NaN, or what else is no number where one is declared; no whole number where an int is; neither
        True nor False where a bool is.
    """
    owner = type(settings).__name__
    for one in fields(settings):
        if not one.init:
            continue
        value, declared = getattr(settings, one.name), getattr(one.type, "__name__", str(one.type))
        kind = declared.removesuffix(" | None")
        if value is None and kind != declared:
            continue
        if kind in _KINDS:
            plain = _checked(value, kind, f"{one.name} of {owner}")
        elif kind in ("tuple[float, ...]", "tuple[int, ...]"):
            several = value if isinstance(value, tuple | list) or np.ndim(value) else [value]
            plain = tuple(_checked(each, kind[6:-6], f"{one.name} of {owner}") for each in several)
        elif kind.startswith("tuple["):
            listed = isinstance(value, Iterable) and not isinstance(value, str | np.ndarray)
            plain = _plain(tuple(value) if listed else value)
        else:
            continue
        object.__setattr__(settings, one.name, plain)


def check_kind(setting: object, verb: str, what: str, example: str) -> None:
    """Raise ValueError for a setting without the verb that all of its kind have.

    Parameters
    ----------
    setting : object
    verb : str
        Name of a method.
    what : str
        What it is, for the sentence.
    example : str
        One of its kind.
    """
    if isinstance(setting, type) or not callable(getattr(setting, verb, None)):
        raise ValueError(f"{what} is {setting!r}: give one such as {example}")


_KINDS = {"float": "a number", "int": "a whole number", "bool": "True or False"}


def _checked(value: object, kind: str, what: str) -> Any:
    plain = _plain(value)
    truth = isinstance(plain, bool)
    if kind == "int" and isinstance(plain, float) and plain.is_integer():
        plain = int(plain)
    number = not truth and isinstance(plain, int if kind == "int" else int | float) and not math.isnan(plain)
    if not (truth if kind == "bool" else number):
        raise ValueError(f"{what} is {plain!r}: give {_KINDS[kind]}")
    return plain


def _plain(value: Any) -> Any:
    """With all that holds one number, also in tuples, as numbers of Python."""
    match value:
        case tuple() | list():
            return tuple(map(_plain, value))
        case _ if getattr(value, "size", None) == 1 and callable(getattr(value, "item", None)):
            return value.item()
        case Real() | Decimal() if not isinstance(value, int | float):
            return float(value)
    return value
