"""Methods and other settings from their recipe: the text that Python prints for a filter makes the same filter again.

``AnalysisInflation(Rotation(ETKF()), 1.05)`` or ``RTPS(Local(LETKF, Sphere(), half_width=500.0), 0.3)`` are read as
calls of known classes with numbers, text, tuples, mappings and such calls as arguments; options of a local filter go
through ``Local(partial(LETSF, steps=3), ...)``. Nothing else is evaluated.
"""

from __future__ import annotations

import ast
import difflib
import importlib
from functools import cache, partial
from typing import Any

__all__ = ["read_method", "read_settings"]

ROOMS = (
    "dataset", "diffusion.guidance", "diffusion.prior_scores", "diffusion.sampler", "diffusion.schedule",
    "filters.ensf", "filters.fixed_gain", "filters.kalman.filters", "filters.letsf.filter", "filters.particle",
    "filters.quantile.filter", "localization", "localization.information_limit", "tables.quality.boxes", "tables.quality.checks",
    "wrappers.adaptive_inflation", "wrappers.collapse_guard", "wrappers.copula", "wrappers.deferred_analysis",
    "wrappers.finite_size", "wrappers.spread", "wrappers.tempered",
)  # fmt: skip


def read_method(text: str) -> Any:
    """The filter of a recipe.

    Raises
    ------
    ValueError
        If the text is no such recipe, names an unknown class, or its arguments do not fit.
    """
    try:
        method = _value(ast.parse(text.strip(), mode="eval").body)
    except SyntaxError as error:
        raise ValueError(f"method {text!r} is no recipe ({error.msg}): write one such as {EXAMPLE}") from None
    except TypeError as error:
        raise ValueError(f"method {text!r}: {error}") from None
    if not hasattr(method, "analyse") or isinstance(method, type):
        raise ValueError(f"method {text!r} is no filter: write one such as {EXAMPLE}")
    return method


EXAMPLE = "AnalysisInflation(ETKF(), 1.05)"


def read_settings(text: str) -> tuple[Any, ...]:
    """The settings of a recipe, separated by commas: ``Log(), Bounds(low=0.0)``.

    Raises
    ------
    ValueError
        As `read_method`.
    """
    try:
        return _value(ast.parse(f"({text.strip()},)" if text.strip() else "()", mode="eval").body)
    except SyntaxError as error:
        raise ValueError(f"setting {text!r} is no recipe ({error.msg}): write one such as GrossCheck(4.0)") from None
    except TypeError as error:
        raise ValueError(f"setting {text!r}: {error}") from None


@cache
def _known() -> dict[str, Any]:
    """Public classes and functions of the rooms, and `functools.partial`, by name."""
    found: dict[str, Any] = {"partial": partial}
    for room in ROOMS:
        module = importlib.import_module(f"ensf.{room}")
        found |= {name: getattr(module, name) for name in module.__all__ if callable(getattr(module, name))}
    return found


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(map(_value, node.elts))
    if isinstance(node, ast.Dict) and all(node.keys):
        return dict(zip(map(_value, filter(None, node.keys)), map(_value, node.values), strict=True))
    if isinstance(node, ast.Name):
        return _named(node.id)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and not node.attr.startswith("_"):
        return getattr(_named(node.value.id), node.attr)
    if isinstance(node, ast.Call):
        options = {keyword.arg: _value(keyword.value) for keyword in node.keywords if keyword.arg}
        return _value(node.func)(*map(_value, node.args), **options)
    raise ValueError(f"{ast.unparse(node)!r} cannot be part of a method: write classes, numbers and text")


def _named(name: str) -> Any:
    if name not in _known():
        near = difflib.get_close_matches(name, _known(), n=3, cutoff=0.3) or ["ETKF", "LETKF", "LETSF"]
        raise ValueError(f"unknown method {name!r}: the nearest are {', '.join(near)}")
    return _known()[name]
