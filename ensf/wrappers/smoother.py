"""States of earlier cycles corrected by the same update: a fixed-lag ensemble smoother.

    x_(k-l)  <-  x_(k-l) + (anomalies of x_(k-l)) W_k,      W_k the weights of the analysis of cycle k, at each place

An earlier state and what is observed now are joint in the ensemble, and the weights know of both only the members. So
the update of the filter, applied to the members of an earlier cycle, is its analysis by the observations since. Linear
and Gaussian, with many members, this is the Kalman smoother. Sources: Evensen & van Leeuwen (2000), MWR 128, 1852;
Khare, Anderson, Hoar & Nychka (2008), Tellus A 60, 97.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ensf.arrays import Array, Generator, Record
from ensf.arrays.settings import check_settings
from ensf.filters.base import Analysis, Filter, Memory, Preparable, check_filter
from ensf.filters.guarded import guarded
from ensf.observations.observation import Observation

__all__ = ["Smoother", "SmootherMemory", "earlier_field", "is_a_state"]


@dataclass(frozen=True, eq=False)
class SmootherMemory(Record):
    """States that later observations are to correct.

    Attributes
    ----------
    states : tuple of (member, state) array
        Of the last cycles, corrected so far; the latest first.
    inner : object
        The filter's own memory.
    """

    states: tuple[Array, ...] = ()
    inner: Memory = None

    @property
    def shape(self) -> tuple[int | None, int | None]:
        """Members and state variables that it is of."""
        return (self.states[0].shape[0], self.states[0].shape[1]) if self.states else (None, None)


@dataclass(frozen=True)
class Smoother:
    """A filter whose observations also correct the states of earlier cycles; it stands outside of all wrappers.

    The analyses are those of the filter. Their record has the corrected states as `Analysis.earlier`, and the memory
    carries them.

    Parameters
    ----------
    filter : Filter
        One with `prepare`, in all its wrappers.
    lag : int
        Number of earlier cycles whose states are corrected.

    Raises
    ------
    ValueError
        If the filter is not `Preparable`, or the lag is not positive.
    """

    filter: Filter
    lag: int
    remembers: ClassVar[type | None] = SmootherMemory

    def __post_init__(self) -> None:
        check_settings(self)
        check_filter(self.filter, type(self).__name__, parameters=True)
        if not isinstance(self.filter, Preparable):
            raise ValueError(
                f"Smoother holds {self.filter!r}, which needs whole states: give a filter that is Preparable, such as "
                "LETKF or LETSF, for its update serves states of earlier times"
            )
        if self.lag < 1:
            raise ValueError(
                f"lag of the smoother is {self.lag}: give the number of earlier cycles to correct, 1 or more"
            )

    @guarded
    def analyse(
        self,
        prior: Array,
        observation: Observation,
        rng: Generator | int | None,
        memory: SmootherMemory | None = None,
        positions: np.ndarray | None = None,
        predicted: Array | None = None,
    ) -> Analysis:
        """Analysis of the filter, with the states of earlier cycles corrected.

        Parameters
        ----------
        prior, observation, rng, positions, predicted
            As of every filter that is Preparable.
        memory : SmootherMemory, optional
            What the cycle before left.

        Raises
        ------
        ValueError
            As the filter.
        """
        memory = memory or SmootherMemory()
        elsewhere = {} if predicted is None else {"predicted": predicted}
        analysis = self.filter.analyse(prior, observation, rng, memory.inner, positions, **elsewhere)
        return self.corrected(analysis, memory, positions)

    def corrected(self, analysis: Analysis, memory: SmootherMemory, positions: np.ndarray | None) -> Analysis:
        """The analysis of the filter with the remembered states corrected by its update, and itself remembered."""
        update, earlier = analysis.update, memory.states
        if update is not None:
            where = np.arange(analysis.ensemble.shape[1], dtype=np.float64)[:, None] if positions is None else positions
            earlier = tuple(
                update.apply(state, where, field=earlier_field(lag), inflate=False)
                for lag, state in enumerate(earlier, start=1)
            )
        states = (analysis.ensemble, *earlier)[: self.lag]
        return replace(analysis, memory=SmootherMemory(states, analysis.memory), earlier=earlier)


def earlier_field(lag: int) -> str:
    """Name of the field that the state of so many cycles ago is."""
    return f"state {lag} cycles ago"


def is_a_state(field: str) -> bool:
    """Whether a field is the state, of this cycle or of an earlier one."""
    return field == "state" or re.fullmatch(r"state \d+ cycles ago", field) is not None
