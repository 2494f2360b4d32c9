"""Settings as dotted names: a tree of frozen dataclasses, read and replaced by path.

``letkf.AnalysisInflation.factor`` is the inflation of the method `letkf`: in a chain of wrappers each filter is
found by its class name. Only numbers, booleans and text are settings; arrays are data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

__all__ = ["leaves", "override"]

_HIDDEN = {"name", "summary", "source"}


def leaves(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted name and value of every setting in a tree of dataclasses and mappings."""
    found: dict[str, Any] = {}
    for key, value, _ in _children(settings):
        if isinstance(value, bool | int | float | str):
            found[prefix + key] = value
        elif is_dataclass(value) or isinstance(value, Mapping):
            found |= leaves(value, f"{prefix}{key}.")
    return found


def override(settings: Any, changes: Mapping[str, Any], prefix: str = "") -> Any:
    """Settings with the values of `changes` (dotted names, as from `leaves`) in place."""
    if not any(name.startswith(prefix) for name in changes):
        return settings
    replaced: dict[str, Any] = {}
    for key, value, where in _children(settings):
        if prefix + key in changes:
            replaced[where] = changes[prefix + key]
        elif is_dataclass(value) or isinstance(value, Mapping):
            new = override(value, changes, f"{prefix}{key}.")
            if new is not value:
                replaced[where] = new
    if not replaced:
        return settings
    return {**settings, **replaced} if isinstance(settings, Mapping) else replace(settings, **replaced)


def _children(settings: Any) -> Iterator[tuple[str, Any, str]]:
    """Name in the path, value, and field of each child; the methods of an experiment join its own level."""
    if isinstance(settings, Mapping):
        yield from ((key, value, key) for key, value in settings.items())
        return
    for field in fields(settings):
        value = getattr(settings, field.name, None)
        if field.name in _HIDDEN or not field.init:
            continue
        name = type(value).__name__ if field.name == "filter" else field.name
        yield name, value, field.name
