"""One part of the state through its analysis: physical x -> z -> filter -> z -> x, clipped to its bounds.

Entries in which all members agree stay as they are, to the last bit; so do entries that the filter leaves alone.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ensf.dataset import Blocks, Bounds, Chain, Layout
from ensf.dataset.transforms import fitted, several
from ensf.filters.base import Analysis
from ensf.offline.members import Source
from ensf.offline.parts import CORRECTIONS

__all__ = ["Coordinates"]

LOGGER = logging.getLogger("ensf")
COLUMNS = 2**18
"""Entries of the state that are checked at once."""


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Transform and bounds of each variable.

    Attributes
    ----------
    chains : mapping of str to Chain
    bounds : mapping of str to tuple of Bounds
    """

    chains: Mapping[Hashable, Chain]
    bounds: Mapping[Hashable, tuple[Bounds, ...]]

    @classmethod
    def fit(cls, settings: Mapping[str, Any], source: Source, ensemble: np.ndarray) -> Coordinates:
        """Transforms fitted to a forecast.

        Raises
        ------
        ValueError
            If values are outside the domain of a transform.
        """
        layout, chains, bounds = source.layout, {}, {}
        for name in layout.template.data_vars:
            chosen = several(name, settings.get(str(name)))
            bounds[name] = tuple(one for one in chosen if isinstance(one, Bounds))
            transforms = [one for one in chosen if not isinstance(one, Bounds)]
            try:
                chains[name] = _fitted(transforms, ensemble[:, layout.block(name)])
            except ValueError as error:
                words = re.sub(r"member (\d+)", lambda found: source.label(int(found[1])), str(error))
                raise ValueError(f"variable {name!r} {words}") from error
        return cls(chains, bounds)

    def blocks(self, layout: Layout) -> Blocks:
        """Transforms of the variables of a part."""
        names = list(layout.template.data_vars)
        return Blocks(tuple(layout.block(name).stop for name in names), tuple(self.chains[name] for name in names))

    def inflated(self, layout: Layout, physical: np.ndarray, factor: float) -> np.ndarray:
        """Physical ensemble of a part with anomalies of z multiplied."""
        blocks = self.blocks(layout)
        states = blocks.forward(physical)
        mean = states.mean(axis=0)
        return self._physical(layout, mean + factor * (states - mean), states, physical)

    def analysed(
        self, layout: Layout, physical: np.ndarray, observation: Any, method: Any, rng: Any, memory: Any
    ) -> tuple[np.ndarray, np.ndarray, Any]:
        """Physical ensembles of a part before and after the corrections of the spread, and the filter's memory."""
        states = self.blocks(layout).forward(physical)
        core = _core(method).analyse(states, observation, rng, memory)
        final = _given(method, core).analyse(states, observation, rng, memory)
        before = self._clipped(layout, self._physical(layout, core.ensemble, states, physical))
        if final.ensemble is core.ensemble:
            return before, before, final.memory
        after = self._clipped(layout, self._physical(layout, final.ensemble, states, physical))
        return before, after, final.memory

    def _physical(self, layout: Layout, result: np.ndarray, states: np.ndarray, physical: np.ndarray) -> np.ndarray:
        """Physical values of a result, where it differs from the states that it came from."""
        kept = result == states
        kept |= (physical == physical[:1]).all(axis=0)
        with np.errstate(over="ignore"):
            values = np.where(kept, physical, self.blocks(layout).inverse(result))
        for name in layout.template.data_vars:
            if not np.isfinite(values[:, layout.block(name)]).all():
                raise ValueError(
                    f"the analysis of variable {name!r} is not finite: observations are too far from the forecast, "
                    "reject them, or use another transform"
                )
        return values

    def _clipped(self, layout: Layout, values: np.ndarray) -> np.ndarray:
        """The values within their bounds; overwrites them."""
        for name in layout.template.data_vars:
            block = layout.block(name)
            for limits in self.bounds[name]:
                values[:, block], clipped = limits.clip(values[:, block])
                if clipped:
                    LOGGER.info("analysis of %r: %d values clipped to %s", name, clipped, limits)
        return values


def _fitted(transforms: list[Any], values: np.ndarray) -> Chain:
    """The transforms of a variable; those that need no fit look at a few columns at a time."""
    if not all(hasattr(one, "forward") and not isinstance(one, Chain) for one in transforms):
        return fitted(transforms, values)
    for start in range(0, values.shape[1] if transforms else 0, COLUMNS):
        fitted(transforms, values[:, start : start + COLUMNS])
    return Chain(tuple(transforms))


# --- the method without its corrections, and what they make of a result -------------------------------------


@dataclass(frozen=True, eq=False)
class _Given:
    """A filter whose analysis is known."""

    analysis: Analysis

    def analyse(self, prior: Any, observation: Any, rng: Any, memory: Any = None) -> Analysis:
        return self.analysis


def _core(method: Any) -> Any:
    return _core(method.filter) if isinstance(method, CORRECTIONS) else method


def _given(method: Any, analysis: Analysis) -> Any:
    """The method around an analysis that is known."""
    if isinstance(method, CORRECTIONS):
        return replace(method, filter=_given(method.filter, analysis))
    return _Given(analysis)
