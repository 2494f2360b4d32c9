"""The flat state in other coordinates: each block of it, one variable, has its own transform.

x = g(z),     entry by entry, g = inverse of the transform of the variable that the entry belongs to

Observations are of x. Those of z are the same, seen through g: y = h(g(z)) + e.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from ensf.arrays import Array, namespace
from ensf.arrays.settings import as_indices
from ensf.dataset.layout import Layout
from ensf.dataset.transforms import Bounds, Chain, Inverse, check_domain, fitted
from ensf.observations import Observation
from ensf.observations.functions import Mixed, PointwiseFunction, identity

__all__ = ["Blocks", "Change", "Transforms", "observation_of"]


@dataclass(frozen=True)
class Transforms:
    """Transform and bounds of each variable of a state.

    Attributes
    ----------
    chains : mapping of str to Chain
    bounds : mapping of str to tuple of Bounds
    """

    chains: Mapping[Hashable, Chain]
    bounds: Mapping[Hashable, tuple[Bounds, ...]]

    @classmethod
    def fit(
        cls,
        settings: Mapping[Hashable, Sequence[Any]],
        layout: Layout,
        ensemble: np.ndarray,
        label: Callable[[int], str] = "member {}".format,
    ) -> Transforms:
        """Those among the settings of each variable, fitted to a physical ensemble ``(member, state)``.

        Raises
        ------
        ValueError
            As `of` and `check`.
        """
        made = cls.of(settings, layout, lambda name: ensemble[:, layout.block(name)], label)
        made.check(layout, ensemble, label)
        return made

    @classmethod
    def of(
        cls,
        settings: Mapping[Hashable, Sequence[Any]],
        layout: Layout,
        values: Callable[[Hashable], np.ndarray],
        label: Callable[[int], str] = "member {}".format,
    ) -> Transforms:
        """Those among the settings of each variable.

        Parameters
        ----------
        settings : mapping of str to sequence of settings
            As `ensf.dataset.transforms.several` gives them; variables may be left out.
        layout : Layout
        values : callable
            Name of a variable to its prior ``(member, entry)``, of those that are to be fitted to it.
        label : callable
            Number of a member to what errors call it.

        Raises
        ------
        ValueError
            If values are outside the domain of a transform; it names the variable and the member.
        """
        chains, bounds = {}, {}
        for name in layout.template.data_vars:
            own = settings.get(name, ())
            bounds[name] = tuple(one for one in own if isinstance(one, Bounds))
            transforms = [one for one in own if not isinstance(one, Bounds)]
            try:
                chains[name] = fitted(transforms, partial(values, name), label)
            except ValueError as error:
                raise ValueError(f"variable {name!r} {error}") from error
        return cls(chains, bounds)

    def check(self, layout: Layout, members: np.ndarray, label: Callable[[int], str] = "member {}".format) -> None:
        """Raise ValueError if physical members ``(member, entry)`` of a layout are outside the domain of a transform.

        It names the variable and the member, by its `label`.
        """
        for name in layout.template.data_vars:
            try:
                check_domain(self.chains[name], members[:, layout.block(name)], label)
            except ValueError as error:
                raise ValueError(f"variable {name!r} {error}") from error

    def blocks(self, layout: Layout) -> Blocks:
        """Transforms of the entries of a state, or of a part of it."""
        names = list(layout.template.data_vars)
        return Blocks(tuple(layout.block(name).stop for name in names), tuple(self.chains[name] for name in names))


@dataclass(frozen=True)
class Blocks:
    """Transforms of the parts of a state.

    Parameters
    ----------
    stops : tuple of int
        Where each block ends; the last is the size of the state.
    chains : tuple of Chain
        Transform of each block; an empty one changes nothing.
    """

    stops: tuple[int, ...]
    chains: tuple[Chain, ...]

    def forward(self, states: Array) -> Array:
        """z of physical states ``(..., state)``; the same array where nothing changes."""
        return states if self.unchanged else self._each([chain.forward for chain in self.chains], states)

    def inverse(self, states: Array, axis: int = -1) -> Array:
        """Physical states of z, whose entries are along an axis counted from behind."""
        return states if self.unchanged else self._each([chain.inverse for chain in self.chains], states, axis)

    def slope(self, states: Array, axis: int = -1) -> Array:
        """dx/dz at z."""
        return self._each([chain.slope for chain in self.chains], states, axis)

    @cached_property
    def unchanged(self) -> bool:
        """Whether x = z."""
        return all(chain == Chain() for chain in self.chains)

    def _each(self, verbs: Sequence[Callable[[Array], Array]], states: Array, axis: int = -1) -> Array:
        behind: tuple[Any, ...] = (slice(None),) * (-axis - 1)
        parts = zip((0, *self.stops), self.stops, verbs, strict=False)
        return namespace(states).concat([verb(states[(..., slice(a, b), *behind)]) for a, b, verb in parts], axis=axis)

    def at(self, index: np.ndarray) -> Blocks:
        """Blocks of the entries at an ascending `index`."""
        stops = np.searchsorted(index, self.stops)
        kept = [k for k, size in enumerate(np.diff(stops, prepend=0)) if size]
        return Blocks(tuple(int(stops[k]) for k in kept), tuple(self.chains[k] for k in kept))


@dataclass(frozen=True)
class Change:
    """x = g(z) as a `PointwiseFunction`, one for each entry of the state.

    Parameters
    ----------
    blocks : Blocks
    axis : int
        Axis of the entries, from behind.
    """

    blocks: Blocks
    axis: int = -1

    def __call__(self, values: Array) -> Array:
        """x of z."""
        return self.blocks.inverse(values, self.axis)

    def slope(self, values: Array) -> Array:
        """dx/dz at z."""
        return self.blocks.slope(values, self.axis)

    def column(self) -> Change:
        """The same for values with one more axis behind that of the entries."""
        return replace(self, axis=self.axis - 1)

    def restrict(self, index: Array) -> PointwiseFunction:
        """The functions of the entries at `index`, in any order; one function where it is the same for all."""
        block = np.searchsorted(self.blocks.stops, as_indices(index, "index"), side="right")
        used, number = np.unique(block, return_inverse=True)
        chains = [self.blocks.chains[k] for k in used.tolist()]
        functions = tuple(identity if chain == Chain() else Inverse(chain) for chain in chains)
        if len(set(functions)) == 1:
            return functions[0]
        return Mixed(functions, tuple(number.tolist()), self.axis)

    @property
    def affine(self) -> tuple[np.ndarray, np.ndarray] | None:
        """a and d of ``a + d z``, ``(state,)`` each; None if a transform is not of that form."""
        each = [chain.affine for chain in self.blocks.chains]
        known = [one for one in each if one is not None]
        if len(known) < len(each):
            return None
        sizes = np.diff(self.blocks.stops, prepend=0)
        return np.repeat([a for a, _ in known], sizes), np.repeat([d for _, d in known], sizes)


def observation_of(observation: Observation, blocks: Blocks) -> Observation:
    """The same observations of the states z that `blocks` make of physical states x.

    Parameters
    ----------
    observation : Observation
        Of x.
    blocks : Blocks

    Returns
    -------
    Observation
        Of z, with the same likelihood; itself if nothing that is read changes.
    """
    read = observation.operator.reads()
    if (blocks if read is None else blocks.at(read)).unchanged:
        return observation
    return replace(observation, operator=observation.operator.through(Change(blocks)), error=observation.law)
