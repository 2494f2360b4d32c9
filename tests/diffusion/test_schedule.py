"""Every schedule implies its own forward SDE: b = d log(alpha) / dt, s^2 = d(beta^2) / dt - 2 b beta^2."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensf.diffusion import LinearSchedule, VariancePreserving

TIMES = st.floats(0.01, 0.99)
LINEAR = st.builds(LinearSchedule, st.floats(0.01, 0.99), st.floats(0.0, 0.9))
PRESERVING = st.builds(VariancePreserving, st.floats(0.01, 5.0), st.floats(0.01, 25.0))
SCHEDULES = st.one_of(LINEAR, PRESERVING)


def derivative(function, t, h=1e-3):
    """Fourth-order central difference."""
    near, far = function(t + h) - function(t - h), function(t + 2 * h) - function(t - 2 * h)
    return (8 * near - far) / (12 * h)


@given(SCHEDULES, TIMES)
def test_drift_is_the_logarithmic_derivative_of_alpha(schedule, t):
    expected = derivative(lambda u: math.log(schedule.alpha(u)), t)
    assert schedule.drift(t) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@given(SCHEDULES, TIMES)
def test_diffusion_balances_the_variance(schedule, t):
    expected = derivative(schedule.variance, t) - 2 * schedule.drift(t) * schedule.variance(t)
    assert schedule.diffusion(t) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(PRESERVING, st.floats(0.0, 1.0))
def test_variance_is_preserved(schedule, t):
    assert schedule.alpha(t) ** 2 + schedule.variance(t) == pytest.approx(1.0, abs=1e-12)


@given(SCHEDULES)
def test_pseudo_time_zero_is_the_state(schedule):
    assert schedule.alpha(0.0) == 1.0
    assert schedule.variance(0.0) == getattr(schedule, "eps_beta", 0.0)


@pytest.mark.parametrize(
    ("schedule", "t", "alpha", "variance", "drift", "diffusion"),
    [
        (LinearSchedule(), 0.0, 1.0, 0.0, -0.95, 1.0),
        (LinearSchedule(), 1.0, 0.05, 1.0, -19.0, 39.0),
        (LinearSchedule(), 0.5, 0.525, 0.5, -0.95 / 0.525, 1 + 0.95 / 0.525),
        (LinearSchedule(0.5, 0.025), 0.0, 1.0, 0.025, -0.5, 1.0),
        (LinearSchedule(0.5, 0.025), 1.0, 0.5, 1.0, -1.0, 2.975),
        (VariancePreserving(1.0, 1.0), 0.5, math.exp(-0.25), 1 - math.exp(-0.5), -0.5, 1.0),
        (VariancePreserving(), 1.0, math.exp(-5.025), 1 - math.exp(-10.05), -10.0, 20.0),
    ],
)
def test_published_values(schedule, t, alpha, variance, drift, diffusion):
    values = schedule.alpha(t), schedule.variance(t), schedule.drift(t), schedule.diffusion(t)
    assert values == pytest.approx((alpha, variance, drift, diffusion), rel=1e-12, abs=1e-15)


@given(PRESERVING)
def test_small_variances_are_not_lost_to_rounding(schedule):
    assert schedule.variance(1e-18) == pytest.approx(schedule.rate_min * 1e-18, rel=1e-6)
