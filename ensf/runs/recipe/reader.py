"""Methods and other settings from their recipe: the text that Python prints for a filter makes the same filter again.

``AnalysisInflation(Rotation(ETKF()), 1.05)`` is read as calls of the classes of settings, and of a few functions that
make such, with numbers, text, tuples, mappings and such calls as arguments. A function may stand alone, ``letsf`` for
``letsf()``. Nothing else is evaluated.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, TypeGuard, get_origin, get_type_hints

import numpy as np

from ensf.filters.base import Filter

__all__ = ["read_method", "read_settings", "settings_without_localization"]

Maker = Callable[..., Any]
"""A class of settings, or a function that makes such."""

ROOMS = (
    "filters", "wrappers", "localization", "diffusion", "dataset.transforms", "tables.correlations",
    "tables.quality.boxes", "tables.quality.checks",
)  # fmt: skip
"""Where settings are: their public classes that are dataclasses, compare by value and need no Python function."""

FUNCTIONS = {
    "ancestral": "ensf.diffusion",
    "letsf": "ensf.wrappers",
    "ornstein_uhlenbeck": "ensf.diffusion",
    "periodic_line": "ensf.localization",
    "published": "ensf.wrappers",
}
"""Functions that make a method or a part of one, by the module that has them."""

NUMBERS = {"inf": math.inf, "nan": math.nan}
"""Numbers that Python prints as a word."""

EXAMPLE = "AnalysisInflation(ETKF(), 1.05)"


def read_method(text: str) -> Filter:
    """The filter of a recipe.

    Parameters
    ----------
    text : str
        As `repr` prints it; or the name of a function that makes a filter, such as ``letsf``.

    Raises
    ------
    ValueError
        If the text is no such recipe, names an unknown class, or its arguments do not fit.
    """
    word = text.strip()
    method = _evaluated(f"{word}()" if word in FUNCTIONS else word, f"method {text!r}", EXAMPLE)
    if not hasattr(method, "analyse"):
        raise ValueError(f"method {text!r} is no filter: write one such as {EXAMPLE}")
    return method


def settings_without_localization(text: str) -> dict[str, Any] | None:
    """Settings of a recipe that is ``letsf(...)`` without a localization, and None for another.

    Raises
    ------
    ValueError
        If such a call is inside of another method: only alone can it have the localization of a Dataset or files.
    """
    recipe = ast.parse(text.strip(), mode="eval").body
    bare = [node for node in ast.walk(recipe) if _is_bare_letsf(node)]
    if not bare:
        return None
    if bare != [recipe]:
        raise ValueError(
            f"method {text!r} has letsf without a localization inside of another method: give it one, such as "
            "letsf(Localization(Sphere(), 500.0)), or let letsf stand alone"
        )
    return {keyword.arg: _value(keyword.value) for keyword in bare[0].keywords if keyword.arg}


def _is_bare_letsf(node: ast.AST) -> TypeGuard[ast.Call]:
    match node:
        case ast.Call(func=ast.Name(id="letsf"), args=[], keywords=keywords):
            return "localization" not in [keyword.arg for keyword in keywords]
    return False


def read_settings(text: str) -> tuple[Any, ...]:
    """The settings of a recipe, separated by commas: ``Log(), Bounds(low=0.0)``.

    Raises
    ------
    ValueError
        As `read_method`.
    """
    words = text.strip()
    return _evaluated(f"({words},)" if words else "()", f"setting {text!r}", "GrossCheck(4.0)")


@cache
def makers() -> Mapping[str, Maker]:
    """All that can be named in a recipe: settings and functions that make them, not the bases of settings."""
    rooms = [importlib.import_module(f"ensf.{room}") for room in ROOMS]
    public = {name: getattr(room, name) for room in rooms for name in room.__all__}
    settings = {name: kind for name, kind in public.items() if _compares_by_value(kind)}
    bases = {base for kind in settings.values() for base in kind.__mro__[1:]}
    classes = {name: kind for name, kind in settings.items() if kind not in bases and not _needs_a_function(kind)}
    return classes | {name: getattr(importlib.import_module(home), name) for name, home in FUNCTIONS.items()}


def _compares_by_value(kind: object) -> bool:
    """True for classes of settings; records of arrays are compared by identity."""
    made = isinstance(kind, type) and is_dataclass(kind) and kind.__eq__ is not object.__eq__
    return made and not kind.__module__.endswith(".base")


def _needs_a_function(kind: type) -> bool:
    """True for classes of settings of which one, without a default, is a function: a text cannot give it."""
    needed = [field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING]
    return any(get_origin(get_type_hints(kind)[name]) is Callable for name in needed)


def _evaluated(expression: str, what: str, example: str) -> Any:
    try:
        return _value(ast.parse(expression, mode="eval").body)
    except SyntaxError as error:
        raise ValueError(f"{what} is no recipe ({error.msg}): write one such as {example}") from None
    except TypeError as error:
        raise ValueError(f"{what}: {error}") from None


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.Tuple(elts=entries) | ast.List(elts=entries):
            return tuple(map(_value, entries))
        case ast.Dict(keys=keys, values=values) if None not in keys:
            return {_value(key): _value(value) for key, value in zip(keys, values, strict=True) if key}
        case ast.Name(id=name) if name in NUMBERS:
            return NUMBERS[name]
        case ast.Call(func=ast.Attribute(value=ast.Name(id="np"), attr=kind), args=[number], keywords=[]):
            return _numpy_number(kind, _value(number))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=keywords) if all(one.arg for one in keywords):
            options = {str(keyword.arg): _value(keyword.value) for keyword in keywords}
            return _maker(name)(*map(_value, arguments), **options)
        case ast.Name(id=name) if name in FUNCTIONS:
            raise ValueError(
                f"{name} without settings can only stand alone: inside of a method write {name}(...), such as "
                "letsf(Localization(Sphere(), 500.0))"
            )
        case ast.Name(id=name) if name in makers():
            raise ValueError(f"{name} is a name without its settings: write {name}(...)")
    raise ValueError(f"{ast.unparse(node)!r} cannot be part of a method: write classes, numbers and text")


def _maker(name: str) -> Maker:
    if name not in makers():
        near = difflib.get_close_matches(name, makers(), n=3) or ["ETKF", "LETKF", "LETSF"]
        raise ValueError(f"unknown name {name!r}: the nearest are {', '.join(near)}")
    return makers()[name]


def _numpy_number(kind: str, number: Any) -> Any:
    """A number that NumPy prints with its type, ``np.float64(0.3)``."""
    scalar = getattr(np, kind, None)
    if not (isinstance(scalar, type) and issubclass(scalar, np.number)):
        raise ValueError(f"'np.{kind}' cannot be part of a method: write classes, numbers and text")
    try:
        return scalar(number)
    except (TypeError, ValueError):
        raise ValueError(f"'np.{kind}({number!r})' is no number: write one such as np.float64(0.3)") from None
