"""Settings as dotted names: a tree of frozen dataclasses, read and replaced by path.

``letkf.AnalysisInflation.factor`` is the inflation of the method `letkf`, ``letkf.LETKF.localization.half_width`` what
is wrapped: every filter in a chain of wrappers goes by its class name. Only numbers, booleans and text
are settings; arrays are data.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

__all__ = ["is_of_another", "leaves", "of_experiment", "override"]

_HIDDEN = {"name", "summary", "source"}


def leaves(settings: object, prefix: str = "") -> dict[str, Any]:
    """Dotted name and value of every setting in a tree of dataclasses and mappings."""
    return {name: value for name, value, _ in _named_settings(settings, prefix, prefix)}


def of_experiment(experiment: Any) -> dict[str, Any]:
    """Settings of an experiment: its own, and those of each method under the method's name."""
    own = {name: value for name, value in leaves(experiment).items() if not name.startswith("methods.")}
    free = {name: value for name, value in own.items() if name not in experiment.methods}
    return free | leaves(experiment.methods)


def is_of_another(setting: str, method: str, methods: Collection[str]) -> bool:
    """Whether a setting is that of another method, so that its value does not matter to this one."""
    owner = setting.split(".")[0]
    return owner != method and owner in methods


def override(settings: Any, changes: Mapping[str, object], prefix: str = "") -> Any:
    """Settings with the values of `changes` (dotted names, as from `leaves`) in place."""
    for name, value, path in list(_named_settings(settings, prefix, prefix)):
        if name in changes and changes[name] != value:
            settings = _replaced(settings, path, changes[name])
    return settings


def _named_settings(settings: object, prefix: str, outer: str, path: tuple[str, ...] = ()) -> Iterator[tuple]:
    """Dotted name, value and path of fields of every setting; a wrapped filter is named beside its wrapper."""
    for key, value in _children(settings):
        below = (*path, key)
        if isinstance(value, bool | int | float | str):
            yield prefix + key, value, below
        elif key == "filter" and is_dataclass(value):
            yield from _named_settings(value, f"{outer}{type(value).__name__}.", outer, below)
        elif is_dataclass(value) or isinstance(value, Mapping):
            yield from _named_settings(value, f"{prefix}{key}.", f"{prefix}{key}.", below)


def _children(settings: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(settings, Mapping):
        yield from settings.items()
        return
    for field in fields(settings):
        if field.init and field.name not in _HIDDEN:
            yield field.name, getattr(settings, field.name)


def _replaced(settings: Any, path: tuple[str, ...], value: object) -> Any:
    key, *rest = path
    if isinstance(settings, Mapping):
        return {**settings, key: _replaced(settings[key], tuple(rest), value) if rest else value}
    return replace(settings, **{key: _replaced(getattr(settings, key), tuple(rest), value) if rest else value})
