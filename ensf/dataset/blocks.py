"""The flat state in other coordinates: each block of it, one variable, has its own transform.

x = g(z),     entry by entry, g = inverse of the transform of the variable that the entry belongs to
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ensf.arrays import Array, namespace
from ensf.dataset.layout import Layout
from ensf.dataset.transforms import Bounds, Chain, Scale, fitted

__all__ = ["Blocks", "fit_blocks"]


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
        """z of physical states ``(..., state)``."""
        return states if self.unchanged else self._each(lambda chain: chain.forward, states)

    def inverse(self, states: Array) -> Array:
        """Physical states of z."""
        return states if self.unchanged else self._each(lambda chain: chain.inverse, states)

    def slope(self, states: Array) -> Array:
        """dx/dz at z."""
        return self._each(lambda chain: chain.slope, states)

    @property
    def unchanged(self) -> bool:
        """Whether x = z."""
        return all(chain == Chain() for chain in self.chains)

    def _each(self, verb: Callable[[Chain], Callable], states: Array) -> Array:
        parts = zip((0, *self.stops), self.stops, self.chains, strict=False)
        return namespace(states).concat([verb(chain)(states[..., a:b]) for a, b, chain in parts], axis=-1)

    def at(self, index: np.ndarray) -> Blocks:
        """Blocks of the entries at an ascending `index`."""
        stops = np.searchsorted(index, self.stops)
        kept = [k for k, size in enumerate(np.diff(stops, prepend=0)) if size]
        return Blocks(tuple(int(stops[k]) for k in kept), tuple(self.chains[k] for k in kept))

    def affine(self) -> tuple[np.ndarray, np.ndarray] | None:
        """x = a + d z as ``(a, d)``, a number per entry; None if some transform is not affine."""
        if not all(isinstance(part, Scale) for chain in self.chains for part in chain.transforms):
            return None
        zero = np.zeros(self.stops[-1])
        return self.inverse(zero), self.slope(zero)


def fit_blocks(settings: Mapping[Hashable, tuple[Any, ...]], layout: Layout, prior: np.ndarray) -> Blocks:
    """Transforms of every variable of the state, fitted to the prior ``(member, state)``.

    Raises
    ------
    ValueError
        If prior values are outside the domain of a transform; it names the variable and the member.
    """
    stops, chains = [], []
    for name in layout.template.data_vars:
        block = layout.block(name)
        transforms = [setting for setting in settings.get(name, ()) if not isinstance(setting, Bounds)]
        try:
            chains.append(fitted(transforms, prior[:, block]))
        except ValueError as error:
            raise ValueError(f"variable {name!r} {error}") from error
        stops.append(block.stop)
    return Blocks(tuple(stops), tuple(chains))
