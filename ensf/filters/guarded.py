"""What every filter is given and what it makes, looked at in one place: its memory, and whether its analysis is finite.

Each `analyse` of the package stands under `guarded`. A filter says what it remembers as ``remembers``: the class of its
memory, None for nothing; one that does not say may be given anything. A memory may have a ``shape``: the members and
state variables that it is of, None where any number will do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np

from ensf.arrays import Array, namespace, to_numpy
from ensf.filters.lost import ADVICE, Lost

__all__ = ["OtherMemory", "check_finite", "check_left", "check_memory", "guarded"]

FAR_OFF = 1e6
"""How many times as large as most a member is that may be the cause of an analysis that is not finite."""
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class OtherMemory(ValueError):
    """The memory is of another filter, or of other members."""


def guarded(analyse: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The `analyse` of a filter, which refuses a memory that is not its own, and an analysis that is not finite.

    Raises
    ------
    ValueError
        If the memory is of another filter, of other members or of another state.
    Lost
        If the analysis is not finite.
    """

    @wraps(analyse)
    def checked(
        filter: object, prior: Array, observation: object, rng: object, memory: object = None, *rest: Any, **more: Any
    ) -> Any:
        if memory is not None:
            check_memory(filter, memory, np.shape(prior))
        analysis = cast(Any, analyse)(filter, prior, observation, rng, memory, *rest, **more)
        check_left(filter, analysis.memory)
        if analysis.ensemble is not prior:
            check_finite(analysis.ensemble, type(filter).__name__, prior)
        return analysis

    return cast(Callable[Arguments, Result], checked)


def check_memory(filter: object, memory: object, shape: tuple[int, ...] = ()) -> None:
    """Raise OtherMemory for a memory of another filter, or of others than members and state variables of this shape."""
    own, name, given = getattr(filter, "remembers", object), type(filter).__name__, type(memory).__name__
    if own is object:
        return
    if own is None:
        raise OtherMemory(f"memory is a {given} but {name} remembers nothing: give None, or set {name}.remembers")
    if not isinstance(memory, own):
        raise OtherMemory(f"memory of {name} is a {given}: give what {name} left in the cycle before, or None")
    for there, here, counted in zip(getattr(memory, "shape", ()), shape, ("members", "state variables"), strict=False):
        if there not in (None, here):
            raise OtherMemory(
                f"memory of {name} is of {there} {counted} but the prior has {here}: give what it left for these, or "
                "None to begin anew"
            )


def check_left(filter: object, memory: object) -> None:
    """Raise ValueError for a memory that a filter leaves and would refuse in the next cycle."""
    own, name, left = getattr(filter, "remembers", object), type(filter).__name__, type(memory).__name__
    if memory is not None and own is not object and not isinstance(memory, own or ()):
        raise ValueError(
            f"{name} leaves a {left} as its memory but remembers {own and own.__name__}: set {name}.remembers = {left}"
        )


def check_finite(ensemble: Array, name: str, prior: Array) -> None:
    """Raise Lost for an analysis ``(member, state)`` that is not finite; it has the name of the filter."""
    xp = namespace(ensemble)
    if bool(xp.isfinite(xp.sum(ensemble))):
        return
    values, before = to_numpy(ensemble), np.abs(to_numpy(prior))
    bad = ~np.isfinite(values)
    if not bad.any():
        return
    member, variable = np.argwhere(bad)[0].tolist()
    before = np.where(np.isfinite(before), before, -1.0)
    largest = np.unravel_index(int(np.argmax(before)), before.shape)
    sentence = f"the analysis of {name} is {values[member, variable]} in member {member} at state variable {variable}"
    if before[largest] <= FAR_OFF * float(np.median(before)):
        raise Lost(sentence)
    raise Lost(
        f"{sentence}; the prior is up to {before[largest]:.3g} large, in member {largest[0]} at state variable "
        f"{largest[-1]}",
        advice=f"repair or drop a member that is far off, or {ADVICE}",
    )
