"""LETSF where an observation is a function of several columns and its errors are not Gaussian."""

import numpy as np
import pytest

from ensf.filters import LETSF
from ensf.localization import periodic_line
from ensf.observations import Gaussian, Observation, Select, StudentT, WindSpeed


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_wind_speed_under_any_law_stays_within_its_columns(steps, rng):
    """One column per observation, not two: under a law that is nearly Gaussian as under a Gaussian one."""
    prior = rng.normal(3, 0.3, (40, 12))
    places = np.arange(6.0)[:, None]
    speed = WindSpeed(Select(range(6)), Select(range(6, 12)))
    value = speed(prior).mean(axis=0) + 0.2
    filter = LETSF(periodic_line(12, 2.0), steps=steps)
    laws = Gaussian(0.5), StudentT(0.5, 1e6)
    one, other = (
        filter.analyse(prior, Observation(value, speed, law, position=places), 1).ensemble[:, :6] for law in laws
    )
    np.testing.assert_allclose(one.mean(axis=0), other.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(one.std(axis=0), other.std(axis=0), rtol=0.1)
