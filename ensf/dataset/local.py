"""Local filters that do not know their places yet, and what has them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from typing import Any

from ensf.arrays import Array, Generator
from ensf.dataset.coordinates import positions
from ensf.dataset.layout import Layout
from ensf.filters.base import Analysis, Filter
from ensf.localization import Geometry, Localization
from ensf.observations.observation import Observation

__all__ = ["Local", "check_order", "find_localization", "place"]


@dataclass(frozen=True)
class Local:
    """A local filter whose places are those of the Dataset that it will analyse.

    ``Local(LETKF, Sphere(), half_width=500.0)`` is ``LETKF(Localization(positions(layout), Sphere(), 500.0))`` as soon
    as there is a layout. Wrappers take it for a filter: ``RTPS(Local(LETKF, Sphere(), 500.0), 0.3)``.

    Parameters
    ----------
    filter : callable
        Class or function that makes a filter of a `Localization`: `LETKF`, ``partial(LETSF, steps=3)``.
    geometry : Geometry
        What distance means: `Sphere`, `Euclidean`, `Periodic`, or with a vertical coordinate `Layered`.
    half_width : float
        Gaspari-Cohn half-width in the unit of the geometry's distance (km on a sphere).
    dims : tuple of str, or mapping of str to tuple of str
        Coordinates that make a position, of every variable or by variable, as in `ensf.dataset.coordinates`.
    at : mapping of str to float, optional
        Where variables without one of these coordinates are.
    """

    filter: Callable[[Localization], Filter]
    geometry: Geometry
    half_width: float
    dims: Sequence[str] | Mapping[Hashable, Sequence[str]] = ("latitude", "longitude")
    at: Mapping[str, float] | None = None

    def __repr__(self) -> str:
        name, width = _written(self.filter), self.half_width
        return f"Local({name}, {self.geometry!r}, half_width={width!r}, dims={self.dims!r}, at={self.at!r})"

    def __call__(self, layout: Layout) -> Filter:
        """The filter on this layout."""
        return self.filter(Localization(positions(layout, self.dims, self.at), self.geometry, self.half_width))

    def analyse(self, prior: Array, observation: Observation, rng: Generator, memory: Any = None) -> Analysis:
        """Refused: a flat state has no places.

        Raises
        ------
        ValueError
            Always.
        """
        raise ValueError(f"{self} has no places in a flat state: hand it to ensf.dataset.analyse, or call it (layout)")


def _written(maker: Any) -> str:
    """What makes a filter, as a recipe writes it."""
    if not isinstance(maker, partial):
        return getattr(maker, "__name__", repr(maker))
    options = [f"{name}={value!r}" for name, value in maker.keywords.items()]
    return f"partial({', '.join([_written(maker.func), *map(repr, maker.args), *options])})"


def place(method: Any, layout: Layout) -> Any:
    """The filter that a method is on this layout: each `Local` in it gets its places, a function is called.

    Raises
    ------
    ValueError
        If it is no method.
    """
    if isinstance(method, type):
        raise ValueError(f"method is the class {method.__name__}: give a filter, or Local({method.__name__}, ...)")
    if not hasattr(method, "analyse") and not callable(method):
        raise ValueError(f"method is a {type(method).__name__}: give a filter, Local(...), or layout -> filter")
    return _placed(method if hasattr(method, "analyse") else method(layout), layout)


def _placed(method: Any, layout: Layout) -> Any:
    """The method with every `Local` in it on this layout."""
    if isinstance(method, Local):
        return method(layout)
    if not is_dataclass(method) or isinstance(method, type):
        return method
    parts = {part.name: getattr(method, part.name) for part in fields(method) if part.init}
    placed = {name: _placed(part, layout) for name, part in parts.items()}
    changed = {name: part for name, part in placed.items() if part is not parts[name]}
    return replace(method, **changed) if changed else method


def check_order(method: Any, axes: Sequence[str]) -> None:
    """Raise ValueError if a `Local` names its two coordinates the other way round than a table its positions."""
    if isinstance(method, Local):
        several = method.dims.values() if isinstance(method.dims, Mapping) else [method.dims]
        for dims in several:
            if len(dims) > 1 and dims[0].startswith(axes[1]) and dims[1].startswith(axes[0]):
                raise ValueError(
                    f"Local has dims={tuple(dims)!r} but the observations have positions {tuple(axes)!r}: "
                    f"name the coordinates in the same order, dims={(dims[1], dims[0], *dims[2:])!r}"
                )
    elif is_dataclass(method) and not isinstance(method, type):
        for part in fields(method):
            check_order(getattr(method, part.name, None), axes)


def find_localization(method: Any) -> Localization | None:
    """The first localization in a method and what it wraps."""
    if isinstance(method, Localization):
        return method
    if not is_dataclass(method):
        return None
    found = (find_localization(getattr(method, part.name)) for part in fields(method))
    return next((one for one in found if one is not None), None)
