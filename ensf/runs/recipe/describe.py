"""What determines a run, in words: the dotted name and text of every setting, which tell it from other runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import singledispatch
from importlib.metadata import version
from pathlib import Path
from typing import cast

import array_api_compat
import numpy as np

from ensf.arrays import Array, is_sparse, to_numpy

__all__ = ["check_recipe", "digest", "recipe", "run_recipe"]

PLAIN = (bool, int, float, str)
LONG = 16
"""Sequences of more plain values than this are described by a hash."""
NOT_OF_RUNS = [["experiment", name] for name in ("name", "methods", "seeds", "summary", "source", "cycles")]


def recipe(**settings: object) -> dict[str, str]:
    """Dotted name and text of all that determines a run: the version of the package, classes, numbers, arrays.

    Parameters
    ----------
    **settings
        Trees of dataclasses, mappings and sequences. Arrays are described by shape, dtype and a hash of their values.
    """
    text = {"version": version("ensf")}
    for name, value in settings.items():
        _describe(value, name, text)
    return text


def run_recipe(experiment: object, **settings: object) -> dict[str, str]:
    """`recipe` of one run of an experiment, whose name, words, methods, seeds and length do not matter.

    Parameters
    ----------
    experiment : Experiment
    **settings
        What else determines the run: method, members, seed.
    """
    whole = recipe(experiment=experiment, **settings)
    return {name: text for name, text in whole.items() if name.split(".")[:2] not in NOT_OF_RUNS}


def digest(recipe: Mapping[str, str]) -> str:
    """Hash of a recipe."""
    return _hash(json.dumps(dict(recipe), sort_keys=True).encode())


def check_recipe(recipe: Mapping[str, str], stored: Mapping[str, str], path: Path) -> None:
    """Raise ValueError that names the first difference between a recipe and the one in a file."""
    for name in {**recipe, **stored}:
        here, there = recipe.get(name, "absent"), stored.get(name, "absent")
        if here != there:
            raise ValueError(
                f"{path} was made by another recipe: {name} is {there} there but {here} now; "
                "give the settings of that run, or start again elsewhere or with --overwrite"
            )


@singledispatch
def _describe(value: object, name: str, text: dict[str, str]) -> None:
    """Functions and classes by name, objects that do not describe themselves by class and attributes."""
    if array_api_compat.is_array_api_obj(value):
        _describe(to_numpy(cast(Array, value)), name, text)
    elif is_sparse(value):
        matrix = value.tocsr()
        for part in ("data", "indices", "indptr"):
            _describe(getattr(matrix, part), f"{name}.{part}", text)
    elif hasattr(value, "__qualname__"):
        text[name] = f"{value.__module__}.{value.__qualname__}"
    elif is_dataclass(value):
        text[name] = type(value).__qualname__
        for field in fields(value):
            if field.init:
                _describe(getattr(value, field.name), f"{name}.{field.name}", text)
    elif type(value).__repr__ is object.__repr__:
        text[name] = type(value).__qualname__
        for key, part in getattr(value, "__dict__", {}).items():
            _describe(part, f"{name}.{key}", text)
    else:
        text[name] = repr(value)


@_describe.register(Mapping)
def _describe_mapping(values: Mapping[str, object], name: str, text: dict[str, str]) -> None:
    for key, part in values.items():
        _describe(part, f"{name}.{key}", text)


@_describe.register(list)
@_describe.register(tuple)
def _describe_sequence(values: Sequence[object], name: str, text: dict[str, str]) -> None:
    if all(value is None or isinstance(value, PLAIN) for value in values):
        whole = repr(values)
        text[name] = whole if len(values) <= LONG else f"<{len(values)} values, hash {_hash(whole.encode())}>"
        return
    for k, value in enumerate(values):
        _describe(value, f"{name}.{k}", text)


@_describe.register(np.ndarray)
def _describe_array(values: np.ndarray, name: str, text: dict[str, str]) -> None:
    shape = " x ".join(map(str, values.shape))
    text[name] = f"<{shape} {values.dtype}, hash {_hash(np.ascontiguousarray(values).tobytes())}>"


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
