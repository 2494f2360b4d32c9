"""Restart files: all that the rest of a run depends on, read back bit for bit.

What is stored is a tree of mappings, sequences, dataclasses, arrays, random generators and plain values. The file is
an ``npz`` archive of NumPy, uncompressed: every array is an entry under its dotted name (``restart.ensemble``), in its
own dtype and memory order; the entry ``tree`` is JSON and says where each belongs. The archive's comment, the last
bytes of the file, is a checksum of all before it. Nothing is pickled, and the classes and libraries that a file may
name are those listed here: reading one imports nothing else.

Whenever a process is killed, the former file or the new one is there, whole.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import singledispatch
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import array_api_compat
import numpy as np

from ensf.arrays import Array, to_numpy
from ensf.runs.files import replacing

__all__ = ["read", "write"]

Tree: TypeAlias = Any
"""What a restart can hold."""
Json: TypeAlias = Any
"""The same as JSON, with names in the place of arrays."""
Arrays: TypeAlias = Mapping[str, np.ndarray]

PLAIN = (bool, int, float, str)
CLASSES = (
    "ensf.twin.twin:Checkpoint",
    "ensf.twin.twin:Streams",
    "ensf.twin.watch:Watch",
    "ensf.filters.enff:FlowMemory",
    "ensf.offline.cycle.driver:Checkpoint",
    "ensf.wrappers.adaptive_inflation:InflationMemory",
    "ensf.wrappers.collapse_guard:GuardMemory",
    "ensf.wrappers.deferred_analysis:DeferralMemory",
    "ensf.wrappers.smoother:SmootherMemory",
    "ensf.wrappers.spread:ResetMemory",
    "ensf.wrappers.spread_control.bias:BiasEstimate",
    "ensf.wrappers.spread_control.bias_fields:BiasFields",
    "ensf.wrappers.spread_control.memory:KindMemory",
    "ensf.wrappers.spread_control.memory:SpreadMemory",
    "ensf.wrappers.spread_control.error_estimate:ErrorEstimate",
    "ensf.wrappers.spread_control.error_evidence:Alternation",
    "ensf.wrappers.spread_control.error_evidence:Repetition",
    "ensf.wrappers.spread_control.error_evidence:TimeCorrelation",
    "ensf.wrappers.spread_control.lagged:LastCycle",
    "ensf.wrappers.spread_control.lagged:Past",
    "ensf.wrappers.spread_control.offset:OffsetEstimate",
    "ensf.wrappers.spread_control.sites:Sites",
)
"""Dataclasses that a restart can hold, by module and name."""
LIBRARIES = (
    "array_api_compat.numpy", "array_api_compat.cupy", "array_api_compat.torch", "array_api_strict", "cupy", "torch",
    "jax.numpy",
)  # fmt: skip
"""Array libraries other than NumPy."""
GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")
BROKEN = (
    OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, ImportError, RecursionError, zipfile.BadZipFile,
)  # fmt: skip
"""What a file that is no restart raises."""
CHECKSUM = 64
"""Bytes of the checksum."""
CHUNK = 2**24


def write(path: Path, content: Mapping[str, Tree]) -> None:
    """Store a tree; the file of that name is replaced at once.

    Raises
    ------
    OSError
        If the file cannot be written; the former one is untouched.
    ValueError
        If an entry is of a kind that a restart file cannot hold; the message names it.
    """
    arrays: dict[str, np.ndarray] = {}
    tree = json.dumps({name: _encode(value, name, arrays) for name, value in content.items()})
    with replacing(path) as hidden, open(hidden, "w+b") as file:
        np.savez(file, tree=np.frombuffer(tree.encode(), np.uint8), **arrays)  # type: ignore[arg-type]
        with zipfile.ZipFile(file, "a") as archive:
            archive.comment = bytes(CHECKSUM)
        checksum = _checksum(file)
        file.seek(file.tell())
        file.write(checksum)


def read(path: Path | str) -> dict[str, Tree]:
    """The tree that `write` stored.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no restart file, or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no restart {path}: check its name")
    try:
        with open(path, "rb") as whole:
            if _checksum(whole) != whole.read():
                raise ValueError("its checksum does not fit")
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        tree = json.loads(arrays.pop("tree").tobytes())
        return {name: _decode(value, arrays) for name, value in tree.items()}
    except BROKEN as error:
        raise ValueError(
            f"{path} is not a restart file, or damaged ({error}): start the run again with --overwrite"
        ) from error


def _checksum(file: BinaryIO) -> bytes:
    """Of all but the place of the checksum, where the file then stands."""
    left = file.seek(0, 2) - CHECKSUM
    value = hashlib.sha256()
    file.seek(0)
    while left > 0:
        left -= len(chunk := file.read(min(left, CHUNK)))
        value.update(chunk)
    return value.hexdigest().encode()


# --- trees -----------------------------------------------------------------------------------------------


@singledispatch
def _encode(value: Tree, name: str, arrays: dict[str, np.ndarray]) -> Json:
    """JSON of a tree; its arrays go to `arrays` under their dotted names."""
    kind = f"{type(value).__module__}:{type(value).__qualname__}"
    if value is None or type(value) in PLAIN:
        return value
    if kind in CLASSES:
        parts = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        return {"class": kind, "fields": _encode_parts(parts, name, arrays)}
    if array_api_compat.is_array_api_obj(value):  # comes back on the default device of its library
        in_same_order = value.get(order="A") if array_api_compat.is_cupy_array(value) else to_numpy(value)
        return _encode(in_same_order, name, arrays) | {"library": array_api_compat.array_namespace(value).__name__}
    raise ValueError(
        f"{name} is a {type(value).__qualname__}, which a restart cannot hold: "
        "make it of mappings, sequences, arrays, random generators, plain values and what ensf's own filters remember"
    )


def _encode_parts(parts: Mapping[str, Tree], name: str, arrays: dict[str, np.ndarray]) -> dict[str, Json]:
    return {key: _encode(part, f"{name}.{key}", arrays) for key, part in parts.items()}


@_encode.register(Mapping)
def _encode_mapping(value: Mapping[str, Tree], name: str, arrays: dict[str, np.ndarray]) -> Json:
    if not set(map(type, value)) <= {str}:
        raise ValueError(f"{name} is a mapping with keys that are no text, which a restart cannot hold: name them")
    return {"mapping": _encode_parts(value, name, arrays)}


@_encode.register(list)
def _encode_list(value: list[Tree], name: str, arrays: dict[str, np.ndarray]) -> Json:
    return {"list": [_encode(entry, f"{name}.{k}", arrays) for k, entry in enumerate(value)]}


@_encode.register(tuple)
def _encode_tuple(value: tuple[Tree, ...], name: str, arrays: dict[str, np.ndarray]) -> Json:
    return {"tuple": [_encode(entry, f"{name}.{k}", arrays) for k, entry in enumerate(value)]}


@_encode.register(np.ndarray)
def _encode_array(value: np.ndarray, name: str, arrays: dict[str, np.ndarray]) -> Json:
    if value.dtype.hasobject:
        raise ValueError(f"{name} is an array of Python objects, which a restart cannot hold: give it a number dtype")
    arrays[name] = value
    return {"array": name}


@_encode.register(np.generic)
def _encode_scalar(value: np.generic, name: str, arrays: dict[str, np.ndarray]) -> Json:
    arrays[name] = np.asarray(value)
    return {"scalar": name}


@_encode.register(np.random.Generator)
def _encode_generator(rng: np.random.Generator, name: str, arrays: dict[str, np.ndarray]) -> Json:
    """Kind, state, and the seed sequence that children are spawned from."""
    bits = rng.bit_generator
    seed = getattr(bits.seed_seq, "state", None)  # type: ignore[attr-defined]
    return {"generator": {"state": _without_arrays(bits.state), "seed": seed and _without_arrays(seed)}}


def _without_arrays(value: Tree) -> Json:
    match value:
        case Mapping():
            return {key: _without_arrays(part) for key, part in value.items()}
        case np.ndarray():
            return {"dtype": str(value.dtype), "values": value.tolist()}
    return value


def _with_arrays(value: Json) -> Tree:
    match value:
        case {"dtype": dtype, "values": values, **rest} if not rest:
            return np.array(values, dtype)
        case Mapping():
            return {key: _with_arrays(part) for key, part in value.items()}
    return value


def _decode(value: Json, arrays: Arrays) -> Tree:
    if not isinstance(value, dict):
        return value
    (kind, content), *rest = value.items()
    return DECODERS[kind](content, dict(rest), arrays)


def _decode_array(name: str, rest: dict[str, Json], arrays: Arrays) -> Array:
    if "library" not in rest:
        return arrays[name]
    if rest["library"] not in LIBRARIES:
        raise ValueError(f"it names {rest['library']!r}, which is no array library")
    return importlib.import_module(rest["library"]).asarray(arrays[name])


def _decode_class(kind: str, rest: dict[str, Json], arrays: Arrays) -> Tree:
    if kind not in CLASSES:
        raise ValueError(f"it names {kind!r}, which is no class of a restart")
    module, _, name = kind.partition(":")
    made = getattr(importlib.import_module(module), name)
    return made(**{key: _decode(part, arrays) for key, part in rest["fields"].items()})


def _decode_generator(stored: dict[str, Json], rest: dict[str, Json], arrays: Arrays) -> np.random.Generator:
    state, seed = _with_arrays(stored["state"]), _with_arrays(stored["seed"])
    sequence = np.random.SeedSequence(**seed) if seed else 0
    if state["bit_generator"] not in GENERATORS:
        raise ValueError(f"it names {state['bit_generator']!r}, which is no random generator")
    bits = getattr(np.random, state["bit_generator"])(sequence)
    bits.state = state
    return np.random.Generator(bits)


DECODERS: dict[str, Callable[[Json, dict[str, Json], Arrays], Tree]] = {
    "array": _decode_array,
    "scalar": lambda name, rest, arrays: arrays[name][()],
    "class": _decode_class,
    "generator": _decode_generator,
    "mapping": lambda parts, rest, arrays: {key: _decode(part, arrays) for key, part in parts.items()},
    "list": lambda parts, rest, arrays: [_decode(part, arrays) for part in parts],
    "tuple": lambda parts, rest, arrays: tuple(_decode(part, arrays) for part in parts),
}
