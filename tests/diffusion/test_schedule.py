"""Every schedule implies its own forward SDE: b = d log(alpha) / dt, s^2 = d(beta^2) / dt - 2 b beta^2."""

from __future__ import annotations

import cmath
import math
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensf.diffusion import EDM, Cosine, LinearSchedule, VarianceExploding, VariancePreserving, ornstein_uhlenbeck
from ensf.diffusion.schedule import check_pure_noise, time_of_log_snr

TIMES = st.floats(0.01, 0.99)
LINEAR = st.builds(LinearSchedule, st.floats(0.01, 0.99), st.floats(0.0, 0.9))
PRESERVING = st.builds(VariancePreserving, st.floats(0.01, 5.0), st.floats(0.01, 25.0))
COSINE = st.builds(Cosine, st.floats(0.0, 0.1), st.floats(1e-3, 0.3))
EXPLODING = st.builds(VarianceExploding, st.floats(1e-3, 0.5), st.floats(1.0, 100.0))
KARRAS = st.builds(EDM, st.floats(2e-3, 0.5), st.floats(1.0, 100.0), st.floats(1.0, 8.0))
SCHEDULES = st.one_of(LINEAR, PRESERVING, COSINE, EXPLODING, KARRAS)
PUBLISHED = [
    LinearSchedule(),
    LinearSchedule(0.5, 0.025),
    VariancePreserving(),
    ornstein_uhlenbeck(),
    Cosine(),
    VarianceExploding(),
    EDM(),
]


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


@given(st.one_of(PRESERVING, COSINE), st.floats(0.0, 1.0))
def test_variance_is_preserved(schedule, t):
    assert schedule.alpha(t) ** 2 + schedule.variance(t) == pytest.approx(1.0, abs=1e-12)


@given(SCHEDULES)
def test_pseudo_time_zero_is_the_state(schedule):
    assert schedule.alpha(0.0) == 1.0
    smallest = getattr(schedule, "smallest", 0.0)
    assert schedule.variance(0.0) == pytest.approx(getattr(schedule, "eps_beta", smallest**2), rel=1e-12)


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


# --- consistency to 1e-10 ------------------------------------------------------------------------------------


def complex_values(schedule, t):
    """d log(alpha) / dt and d(beta^2) / dt without cancellation: Cauchy's integral in the complex plane."""
    points = np.exp(2j * np.pi * np.arange(16) / 16)
    radius = 1e-2
    names = {name: getattr(cmath, name) for name in ("acos", "cos", "sin", "tan", "exp", "log", "sqrt")}
    names["expm1"] = lambda z: cmath.exp(z) - 1
    with mock.patch.multiple("ensf.diffusion.schedule.math", **names):
        alphas = np.array([schedule.alpha(t + radius * point) for point in points])
        variances = np.array([schedule.variance(t + radius * point) for point in points])
    slopes = [np.mean(values * points.conj()) / radius for values in (np.log(alphas), variances)]
    return [float(np.real(slope)) for slope in slopes]


@pytest.mark.parametrize("t", [0.05, 0.3, 0.77, 0.95])
@pytest.mark.parametrize("schedule", PUBLISHED, ids=repr)
def test_drift_and_diffusion_are_derivatives_to_ten_digits(schedule, t):
    log_alpha, variance = complex_values(schedule, t)
    assert schedule.drift(t) == pytest.approx(log_alpha, rel=1e-10, abs=1e-10)
    expected = variance - 2 * schedule.drift(t) * schedule.variance(t)
    assert schedule.diffusion(t) == pytest.approx(expected, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("schedule", PUBLISHED, ids=repr)
def test_forward_simulation_has_the_stated_mean_and_variance(schedule, rng):
    """Milstein is Euler-Maruyama here; its bias is removed by halving the step (Richardson)."""
    x, stop, means, variances = 1.5, 0.9, [], []
    for steps in (400, 800):
        mean, variance, dt = x, schedule.variance(0.0), stop / steps
        for k in range(steps):
            t = (k + 0.5) * dt
            grown = math.exp(schedule.drift(t) * dt)
            mean, variance = grown * mean, grown**2 * variance + schedule.diffusion(t) * dt * grown
        means.append(mean)
        variances.append(variance)
    assert (4 * means[1] - means[0]) / 3 == pytest.approx(schedule.alpha(stop) * x, rel=1e-4)
    assert (4 * variances[1] - variances[0]) / 3 == pytest.approx(schedule.variance(stop), rel=1e-4)

    count, steps = 20_000, 400
    z = x + math.sqrt(schedule.variance(0.0)) * rng.standard_normal(count)
    for k in range(steps):
        t = (k + 0.5) * stop / steps
        z = z * math.exp(schedule.drift(t) * stop / steps)
        z += math.sqrt(schedule.diffusion(t) * stop / steps) * rng.standard_normal(count)
    deviation = math.sqrt(schedule.variance(stop))
    assert z.mean() == pytest.approx(schedule.alpha(stop) * x, abs=5 * deviation / math.sqrt(count))
    assert z.std() == pytest.approx(deviation, rel=5 / math.sqrt(2 * count) + 0.01)


@given(SCHEDULES, TIMES)
def test_log_snr_falls_and_has_an_inverse(schedule, t):
    assert schedule.log_snr(t) == pytest.approx(math.log(schedule.alpha(t) ** 2 / schedule.variance(t)), abs=1e-9)
    assert schedule.log_snr(t) > schedule.log_snr(t + 0.005)
    assert time_of_log_snr(schedule, schedule.log_snr(t)) == pytest.approx(t, abs=1e-9)


def test_no_noise_is_infinite_signal():
    assert LinearSchedule().log_snr(0.0) == math.inf


@pytest.mark.parametrize(
    ("schedule", "t", "alpha", "variance"),
    [
        (VarianceExploding(0.01, 50.0), 0.5, 1.0, 0.5),
        (EDM(), 1.0, 1.0, 6400.0),
        (EDM(rho=1.0, smallest=1.0, largest=3.0), 0.5, 1.0, 4.0),
        (Cosine(0.0, 1e-3), 1.0, 1e-3, 1 - 1e-6),
        (ornstein_uhlenbeck(2.0), 1.0, math.exp(-1), 1 - math.exp(-2)),
    ],
)
def test_values_by_hand(schedule, t, alpha, variance):
    assert (schedule.alpha(t), schedule.variance(t)) == pytest.approx((alpha, variance), rel=1e-12)


def test_training_noise_has_its_law(rng):
    logs = np.log(EDM().training_noise(100_000, rng))
    assert (logs.mean(), logs.std()) == pytest.approx((-1.2, 1.2), abs=0.02)


@pytest.mark.parametrize(
    ("schedule", "scale"),
    [(LinearSchedule(0.5, 0.025), 1.0), (ornstein_uhlenbeck(1.0), 1.0), (VarianceExploding(), 30.0)],
)
def test_signal_at_the_end_is_named(schedule, scale):
    with pytest.raises(ValueError, match="keeps a signal of .* at pseudo-time 1.*smaller alpha"):
        check_pure_noise(schedule, scale)


@pytest.mark.parametrize("schedule", [LinearSchedule(), VariancePreserving(), Cosine(), VarianceExploding(), EDM()])
def test_noise_alone_is_taken(schedule):
    check_pure_noise(schedule)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Cosine(-0.1),
        lambda: Cosine(0.008, 0.0),
        lambda: VarianceExploding(0.0),
        lambda: VarianceExploding(2.0, 1.0),
        lambda: EDM(rho=0.0),
        lambda: EDM(smallest=-1.0),
        lambda: EDM(deviation=math.nan),
    ],
)
def test_numbers_out_of_range_are_refused(build):
    with pytest.raises(ValueError, match="give"):
        build()
