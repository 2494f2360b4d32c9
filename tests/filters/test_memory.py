"""A filter of one's own that remembers without saying so is refused in its first cycle, whoever calls it."""

from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr

from ensf import RTPS, FailedMembers, Identity, Observation, Select, analyse_window
from ensf.dataset import Problem
from ensf.filters import Analysis, Prepared
from ensf.filters.base import Unchanged
from ensf.filters.guarded import guarded


@dataclass(frozen=True)
class Counting(Prepared):
    """Counts cycles."""

    def prepare(self, predicted, observation, rng, memory=None):
        return Unchanged(1 + (memory or 0))


class Counted(Counting):
    remembers = int


@dataclass(frozen=True)
class WholeCounting:
    remembers = None

    @guarded
    def analyse(self, prior, observation, rng, memory=None, positions=None):
        return Analysis(1.0 * prior, 1 + (memory or 0))


class WholeCounted(WholeCounting):
    remembers = int


SEEN = Observation(np.zeros(4), Identity(), 0.5)


def alone(method, prior):
    return method.analyse(prior, SEEN, 1)


def in_a_dataset(method, prior):
    return Problem.of(xr.Dataset({"t": (("realization", "x"), prior)}), SEEN, method).analyse(1)


def in_a_window(method, prior):
    return analyse_window(
        method, np.stack([prior, prior], axis=1), Observation(SEEN.value, Select(range(4, 8)), 0.5), 1
    )


def in_a_wrapper(method, prior):
    return RTPS(method, 0.5).analyse(prior, SEEN, 1)


def in_failed_members(method, prior):
    return FailedMembers(method, 3).analyse(prior, SEEN, 1)


@pytest.mark.parametrize("reader", [alone, in_a_dataset, in_a_window, in_a_wrapper, in_failed_members])
@pytest.mark.parametrize("silent, saying", [(Counting, Counted), (WholeCounting, WholeCounted)])
def test_a_memory_that_is_not_announced_is_refused_at_once(reader, silent, saying, rng):
    prior = rng.standard_normal((6, 4))
    assert reader(saying(), prior).memory == 1
    name = silent.__name__
    sentence = f"^{name} leaves a int as its memory but remembers None: set {name}.remembers = int$"
    with pytest.raises(ValueError, match=sentence):
        reader(silent(), prior)
