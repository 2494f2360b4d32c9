"""The spread of every analysis is the stated one, and a spread of rounding is none."""

import numpy as np
import pytest

from ensf.filters.base import Analysis
from ensf.filters.kalman.filters import ETKF
from ensf.observations.observation import Identity, Observation
from ensf.wrappers.fixed_spread import FixedSpread


class Keep:
    """A filter that returns the prior and the memory."""

    def analyse(self, prior, observation, rng, memory=None):
        return Analysis(prior, memory, {"inner": 1.0})


def analysed(method, prior, memory=None):
    return method.analyse(prior, Observation(prior[0], Identity(), 1.0), np.random.default_rng(1), memory)


def test_the_spread_is_the_stated_one_and_the_mean_is_that_of_the_filter(rng):
    prior = rng.normal(size=(20, 7)).astype(np.float32)
    ensemble, inner = (analysed(method, prior).ensemble for method in (FixedSpread(ETKF(), 2.0), ETKF()))
    np.testing.assert_allclose(ensemble.std(axis=0, ddof=1), 2.0, rtol=1e-5)
    np.testing.assert_allclose(ensemble.mean(axis=0), inner.mean(axis=0), atol=1e-6)
    assert ensemble.dtype == np.float32


@pytest.mark.parametrize("value", [0.0, 273.15, -1e8])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_members_that_agree_to_rounding_stay(rng, value, dtype):
    prior = rng.normal(size=(20, 7)).astype(dtype)
    prior[:, 3] = value
    prior[::2, 3] = np.nextafter(dtype(value), dtype(np.inf)) if value else value
    ensemble = analysed(FixedSpread(Keep(), 2.0), prior).ensemble
    np.testing.assert_array_equal(ensemble[:, 3], prior[:, 3])
    np.testing.assert_allclose(np.delete(ensemble, 3, 1).std(axis=0, ddof=1), 2.0, rtol=1e-5)


def test_memory_and_info_of_the_filter_pass(rng):
    analysis = analysed(FixedSpread(Keep(), 2.0), rng.normal(size=(4, 3)), "memory")
    assert analysis.memory == "memory" and analysis.info == {"inner": 1.0}


@pytest.mark.parametrize("deviation", [0.0, -1.0, np.nan, np.inf])
def test_a_spread_that_is_not_positive_is_refused(deviation):
    with pytest.raises(ValueError, match="positive standard deviation"):
        FixedSpread(Keep(), deviation)
