"""A part of the state is analysed as if it were all, and the rest is kept."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import xarray as xr

from ensf.filters import ETKF, LETKF
from ensf.filters.base import as_part
from ensf.localization import periodic_line
from ensf.observations import Observation, Select
from ensf.wrappers import ForecastInflation, PartialState, SpreadReset
from ensf.wrappers.base import Wrapper

LOCAL = LETKF(periodic_line(8, 2.0))
OBSERVATION = Observation(np.array([1.0, -1.0]), Select((2, 6)), 0.5)


def test_the_first_entries_are_analysed_and_the_others_kept(rng):
    prior = rng.normal(size=(6, 20))
    before = prior.copy()
    analysis = PartialState(LOCAL, 8).analyse(prior, OBSERVATION, rng)
    alone = LOCAL.analyse(prior[:, :8].copy(), OBSERVATION, rng)
    np.testing.assert_array_equal(analysis.ensemble, np.concatenate([alone.ensemble, before[:, 8:]], axis=1))
    np.testing.assert_array_equal(prior, before)
    assert np.abs(analysis.ensemble - before)[:, :8].max() > 0.1


def test_all_of_the_state_is_a_part_of_it(rng):
    prior = rng.normal(size=(6, 8))
    analysis = PartialState(LOCAL, 8).analyse(prior, OBSERVATION, rng)
    np.testing.assert_array_equal(analysis.ensemble, LOCAL.analyse(prior, OBSERVATION, rng).ensemble)


def test_a_part_larger_than_the_state_is_refused(rng):
    with pytest.raises(ValueError, match="7 state variables: 8 are to be analysed"):
        PartialState(LOCAL, 8).analyse(rng.normal(size=(6, 7)), OBSERVATION, rng)
    with pytest.raises(ValueError, match="give a whole number, 1 or more"):
        PartialState(LOCAL, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("entry", [3, 8, 19])
def test_what_is_left_alone_is_finite_too(rng, bad, entry):
    prior = rng.normal(size=(6, 20))
    prior[4, entry] = bad
    with pytest.raises(ValueError, match=f"prior member 4 has {bad} at state variable {entry}: repair or drop"):
        PartialState(LOCAL, 8).analyse(prior, OBSERVATION, rng)


def test_what_is_left_alone_is_not_inflated_before_the_analysis(rng):
    prior = rng.normal(size=(6, 20))
    analysis = PartialState(ForecastInflation(LOCAL, 2.0), 8).analyse(prior, OBSERVATION, rng)
    entries = np.array([19, 2, 8, 7])
    before = analysis.before(as_part(prior[:, entries], entries=entries))
    factors = before.std(axis=0) / prior[:, entries].std(axis=0)
    np.testing.assert_allclose(factors, [1, 2, 1, 2])


def test_the_memory_is_of_the_part(rng):
    prior = rng.standard_normal((6, 3))
    observation = Observation(np.array([0.1]), Select([0]), 0.5)
    method = PartialState(SpreadReset(ETKF()), 2)
    memory = method.analyse(prior, observation, 0).memory
    whole = method.analyse(prior, observation, 1, memory).ensemble
    part = SpreadReset(ETKF()).analyse(prior[:, :2], observation, 1, memory).ensemble
    np.testing.assert_array_equal(whole, np.concatenate([part, prior[:, 2:]], axis=1))
    with pytest.raises(ValueError, match="state variables but the prior has"):
        PartialState(SpreadReset(ETKF()), 3).analyse(prior, observation, 1, memory)


@dataclass(frozen=True)
class Own(Wrapper):
    """A wrapper of a user, with a number and what is derived of it."""

    number: float = 1.0
    twice: float = field(init=False)

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "twice", 2 * self.number)


def test_settings_may_be_derived_and_come_from_arrays():
    assert Own(ETKF(), xr.DataArray(3)).twice == 6
    assert type(Own(ETKF(), xr.DataArray(3.0)).number) is float
    with pytest.raises(ValueError, match="number of Own is 'a': give a number"):
        Own(ETKF(), "a")
