"""Models: contracts that all share, observed against theoretical order, invariants, growth rates."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, replace

import array_api_strict as strict
import numpy as np
import pytest
import scipy.integrate
from hypothesis import given, settings
from hypothesis import strategies as st

from ensf.models.integrate import Etdrk4, rk4, whole_steps
from ensf.models.kuramoto_sivashinsky import KuramotoSivashinsky
from ensf.models.lorenz63 import Lorenz63
from ensf.models.lorenz96 import Lorenz96, NoisyLorenz96
from ensf.models.wrappers import Clipped, Shocked

CHAOTIC = [Lorenz63(), Lorenz96(), Lorenz96(size=4, forcing=5.0, dt=0.02), KuramotoSivashinsky(size=64)]
CHAOTIC.append(KuramotoSivashinsky(length=22.0, size=33, dt=0.25))
QUIET = Shocked(Lorenz96(), (0.0,) * 5)
MODELS = [*CHAOTIC, Clipped(Lorenz96(), 6.0), QUIET]


def name(model):
    return type(model).__name__


def states(model, *leading, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal((*leading, *model.shape)).astype(dtype)


def order(errors):
    """Observed order of convergence when the step is halved from one error to the next."""
    return np.log2(np.array(errors[:-1]) / np.array(errors[1:]))


def exponent(model, start, interval, cycles, size=1e-7):
    """Leading Lyapunov exponent by renormalised pairs, averaged over the rows of `start` (Benettin et al. 1980)."""
    shift = np.random.default_rng(1).standard_normal(start.shape)
    growth = []
    for _ in range(cycles):
        shift *= size / np.linalg.norm(shift, axis=-1, keepdims=True)
        start, other = model.advance(np.stack((start, start + shift)), 0.0, interval)
        shift = other - start
        growth.append(np.log(np.linalg.norm(shift, axis=-1) / size))
    return np.mean(growth[cycles // 10 :]) / interval


# --- contracts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS, ids=name)
def test_describes_its_grid(model):
    assert len(model.dims) == len(model.shape)
    assert tuple(model.coords[dim].shape[0] for dim in model.dims) == model.shape
    assert all(model.coords[dim].ndim == 1 for dim in model.dims)
    assert model.variable and model.long_name and model.units == "1" and model.dt > 0


@pytest.mark.parametrize("model", MODELS, ids=name)
def test_is_a_setting(model):
    assert eval(repr(model)) == model and hash(eval(repr(model))) == hash(model)
    with pytest.raises(FrozenInstanceError):
        model.dt = 1.0


@pytest.mark.parametrize("model", MODELS, ids=name)
@settings(max_examples=12, deadline=None)
@given(leading=st.lists(st.integers(0, 3), max_size=3), steps=st.integers(0, 3))
def test_batch_equals_one_by_one(model, leading, steps):
    batch = states(model, *leading)
    together = model.advance(batch, 0.0, steps * model.dt)
    assert together.shape == batch.shape
    for i in np.ndindex(*leading):
        np.testing.assert_allclose(together[i], model.advance(batch[i], 0.0, steps * model.dt), rtol=0, atol=1e-12)


@pytest.mark.parametrize("model", MODELS, ids=name)
@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("dtype", [np.float64, np.longdouble])
def test_input_is_left_alone_and_not_shared(model, steps, dtype):
    batch = states(model, 2, dtype=dtype)
    copy = batch.copy()
    batch.flags.writeable = False
    result = model.advance(batch, 0.0, steps * model.dt)
    assert not np.shares_memory(result, batch) and result.dtype == dtype
    np.testing.assert_array_equal(batch, copy)
    assert np.allclose(result, copy, rtol=0, atol=1e-13) == (steps == 0)


@pytest.mark.parametrize("model", MODELS, ids=name)
def test_strided_input(model):
    batch = states(model, 2, 4)
    np.testing.assert_allclose(
        model.advance(batch[:, ::2], 0.0, model.dt), model.advance(batch, 0.0, model.dt)[:, ::2], atol=1e-13
    )


@pytest.mark.parametrize("model", MODELS, ids=name)
def test_steps_compose(model):
    batch = states(model, 2)
    halfway = model.advance(batch, 0.0, 2 * model.dt)
    np.testing.assert_allclose(
        model.advance(halfway, 2 * model.dt, 3 * model.dt),
        model.advance(batch, 0.0, 5 * model.dt),
        atol=1e-12,
    )


@pytest.mark.parametrize("model", MODELS, ids=name)
def test_float32_stays_and_agrees(model):
    batch = states(model, 3)
    single = model.advance(batch.astype(np.float32), 0.0, 4 * model.dt)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, model.advance(batch, 0.0, 4 * model.dt), atol=2e-5)


@pytest.mark.parametrize("model", MODELS, ids=name)
@pytest.mark.parametrize("device, dtype", [("device1", "float64"), ("no_float64", "float32")])
def test_other_namespaces_agree_with_numpy(model, device, dtype):
    batch = states(model, 2, 3, dtype=dtype)
    there = strict.asarray(batch, device=strict.Device(device))
    result = model.advance(there, 0.0, 3 * model.dt)
    assert result.dtype == there.dtype and result.device == there.device
    back = np.asarray(result.to_device(strict.Device("CPU_DEVICE")))
    atol = 1e-12 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(back, model.advance(batch, 0.0, 3 * model.dt), rtol=0, atol=atol)
    np.testing.assert_array_equal(np.asarray(there.to_device(strict.Device("CPU_DEVICE"))), batch)


@pytest.mark.parametrize("model", MODELS, ids=name)
@pytest.mark.parametrize("steps", [0.5, 2.001, -1.0, math.nan, math.inf])
def test_refuses_a_part_of_a_step(model, steps):
    with pytest.raises(ValueError, match="whole number of model steps"):
        model.advance(states(model), 0.0, steps * model.dt)


@pytest.mark.parametrize("model", MODELS, ids=name)
def test_refuses_a_state_that_does_not_fit(model):
    with pytest.raises(ValueError, match="last axis"):
        model.advance(states(model)[:-1], 0.0, model.dt)
    with pytest.raises(ValueError, match="last axis"):
        model.advance(np.array(1.0), 0.0, model.dt)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Lorenz63(dt=0.0),
        lambda: Lorenz96(size=3),
        lambda: Lorenz96(dt=-0.05),
        lambda: KuramotoSivashinsky(size=2),
        lambda: KuramotoSivashinsky(length=0.0),
        lambda: KuramotoSivashinsky(contour_points=0),
        lambda: Clipped(Lorenz96(), 0.0),
        lambda: Shocked(Lorenz96(), (0.1, -0.1)),
        lambda: Shocked(Lorenz96(), (math.nan,)),
    ],
)
def test_refuses_bad_settings(make):
    with pytest.raises(ValueError, match="give|must"):
        make()


@given(steps=st.integers(0, 10**6), dt=st.floats(1e-3, 1e3))
def test_duration_may_be_rounded(steps, dt):
    assert whole_steps(steps * dt, dt) == steps
    assert whole_steps((steps + 7) * dt - 7 * dt, dt) == steps
    with pytest.raises(ValueError, match="multiple"):
        whole_steps((steps + 0.5) * dt, dt)


# --- accuracy ----------------------------------------------------------------------------------------------


def lorenz63_reference(t, state):
    x, y, z = state
    return [10 * (y - x), 28 * x - y - x * z, x * y - 8 / 3 * z]


def lorenz96_reference(t, x):
    return (np.roll(x, -1) - np.roll(x, 2)) * np.roll(x, 1) - x + 8


def kuramoto_sivashinsky_reference(length, size):
    """Method of lines with dense spectral derivative matrices."""
    k = 2 * np.pi / length * np.fft.fftfreq(size, 1 / size)

    def matrix(symbol):
        return np.fft.ifft(symbol[:, None] * np.fft.fft(np.eye(size), axis=0), axis=0).real

    derivative, linear = matrix(1j * k), matrix(k**2 - k**4)
    return lambda t, u: linear @ u - derivative @ (u * u / 2)


def errors_at(model, tendency, start, duration, dts, method="DOP853"):
    """Distance to an independent, accurate solution for each time step."""
    exact = scipy.integrate.solve_ivp(tendency, (0, duration), start, method, rtol=1e-12, atol=1e-12).y[:, -1]
    return [np.linalg.norm(replace(model, dt=dt).advance(start, 0.0, duration) - exact) for dt in dts]


@pytest.mark.parametrize(
    "model, tendency", [(Lorenz63(), lorenz63_reference), (Lorenz96(), lorenz96_reference)], ids=["63", "96"]
)
def test_runge_kutta_has_order_four(model, tendency):
    start = model.advance(states(model), 0.0, 10.0)
    errors = errors_at(model, tendency, start, 0.4, [0.02, 0.01, 0.005])
    assert errors[-1] < 1e-5
    np.testing.assert_allclose(order(errors), 4.0, atol=0.15)


def test_etdrk4_has_order_four():
    model = KuramotoSivashinsky(size=64)
    tendency = kuramoto_sivashinsky_reference(model.length, model.size)
    errors = errors_at(model, tendency, model.initial_state(50.0), 2.0, [1 / 16, 1 / 32, 1 / 64], "Radau")
    assert errors[-1] < 1e-7
    np.testing.assert_allclose(order(errors), 4.0, atol=0.15)


def test_etdrk4_coefficients_equal_their_closed_forms():
    dt, z = 0.25, np.array([-2.0, -7.0, -60.0, 1.5])
    e = np.exp(z)
    table = Etdrk4.of(z / dt, dt, 32)
    closed = {
        "full": e,
        "half": np.exp(z / 2),
        "stage": dt * (np.exp(z / 2) - 1) / z,
        "first": dt * (-4 - z + e * (4 - 3 * z + z**2)) / z**3,
        "middle": 2 * dt * (2 + z + e * (z - 2)) / z**3,
        "last": dt * (-4 - 3 * z - z**2 + e * (4 - z)) / z**3,
    }
    for key, expected in closed.items():
        np.testing.assert_allclose(getattr(table, key), expected, rtol=1e-12, atol=1e-15)
    at_zero = np.array(Etdrk4.of(np.array([0.0, 1e-9]), dt, 32))
    np.testing.assert_allclose(at_zero.T, 2 * [[1, 1, dt / 2, dt / 6, dt / 3, dt / 6]], rtol=1e-8)


@pytest.mark.parametrize("model", [Lorenz63(), Lorenz96(), Lorenz96(size=5)], ids=name)
@pytest.mark.parametrize("dtype, atol", [(np.float64, 1e-12), (np.float32, 1e-4)])
def test_compiled_loop_equals_the_array_form(model, dtype, atol):
    start = 5 * states(model, 3, dtype=dtype)
    expected = rk4(model.tendency, start, model.dt, 10)
    assert expected.dtype == dtype
    np.testing.assert_allclose(model.advance(start, 0.0, 10 * model.dt), expected, rtol=0, atol=atol)


# --- Lorenz ------------------------------------------------------------------------------------------------


def test_lorenz63_contracts_volume_at_the_rate_of_its_divergence():
    model, eps = Lorenz63(), 1e-5
    start = model.advance(states(model), 0.0, 10.0)
    ends = model.advance(start + eps * np.concatenate((np.eye(3), -np.eye(3))), 0.0, 0.2)
    volume = np.linalg.det((ends[:3] - ends[3:]) / (2 * eps))
    np.testing.assert_allclose(np.log(volume) / 0.2, -(model.sigma + 1 + model.beta), rtol=1e-4)


def test_lorenz63_fixed_points_stay():
    model = Lorenz63()
    x = math.sqrt(model.beta * (model.rho - 1))
    points = np.array([(0.0, 0.0, 0.0), (x, x, model.rho - 1), (-x, -x, model.rho - 1)])
    np.testing.assert_allclose(model.advance(points, 0.0, 1.0), points, atol=1e-12)


def test_lorenz63_exponent():
    model = Lorenz63()
    start = model.advance(states(model, 64), 0.0, 20.0)
    assert abs(exponent(model, start, 0.5, 300) - 0.906) < 0.01


def test_lorenz96_exponent():
    model = Lorenz96()
    start = model.advance(states(model, 32), 0.0, 20.0)
    assert abs(exponent(model, start, 0.25, 300) - 1.67) < 0.05


@given(size=st.integers(4, 60), seed=st.integers(0, 2**31))
def test_lorenz96_advection_does_no_work(size, seed):
    model = Lorenz96(size=size)
    x = 10 * states(model, seed=seed)
    advection = model.advection(x)
    assert abs(x @ advection) <= 1e-13 * (abs(x) @ abs(advection))
    np.testing.assert_allclose(model.tendency(x), advection - x + model.forcing, rtol=0, atol=1e-12)


def test_lorenz96_advection_conserves_energy_to_fourth_order():
    model = Lorenz96()
    start = 3 * states(model)
    drifts = [abs(np.sum(rk4(model.advection, start, 0.4 / n, n) ** 2) / np.sum(start**2) - 1) for n in (40, 80, 160)]
    assert drifts[-1] < 1e-6
    assert (order(drifts) > 3.7).all()


@pytest.mark.parametrize("model", [Lorenz96(), KuramotoSivashinsky(size=64)], ids=name)
@pytest.mark.parametrize("shift", [1, 7, -3])
def test_translation(model, shift):
    start = states(model, 2)
    moved = model.advance(np.roll(start, shift, axis=-1), 0.0, 4 * model.dt)
    np.testing.assert_allclose(moved, np.roll(model.advance(start, 0.0, 4 * model.dt), shift, axis=-1), atol=1e-11)


# --- Kuramoto-Sivashinsky ----------------------------------------------------------------------------------


@pytest.mark.parametrize("wave", [1, 8, 11, 16, 20, 64])
def test_small_waves_grow_by_the_dispersion_relation(wave):
    model, amplitude = KuramotoSivashinsky(), 1e-7
    k = 2 * math.pi * wave / model.length
    start = amplitude * np.cos(k * model.coords["x"])
    expected = math.exp((k**2 - k**4) * 2.0) * start
    np.testing.assert_allclose(model.advance(start, 0.0, 2.0), expected, rtol=0, atol=1e-6 * amplitude)


def test_mean_is_conserved():
    model = KuramotoSivashinsky()
    start = states(model, 3) + np.array([[-1.0], [0.0], [2.0]])
    end = model.advance(start, 0.0, 50.0)
    np.testing.assert_allclose(end.mean(axis=-1), start.mean(axis=-1), atol=1e-12)
    assert np.abs(end - start).max() > 0.5


def test_galilean_invariance():
    model, speed = KuramotoSivashinsky(dt=0.05), 2 * math.pi
    start = model.initial_state()
    moved = model.advance(start + speed, 0.0, 2.0)
    cells = round(2.0 * speed / (model.length / model.size))
    np.testing.assert_allclose(moved - speed, np.roll(model.advance(start, 0.0, 2.0), cells), atol=1e-5)


def test_initial_state_of_kassam_and_trefethen():
    model = KuramotoSivashinsky()
    x = model.coords["x"]
    np.testing.assert_allclose(model.initial_state(), np.cos(x / 16) * (1 + np.sin(x / 16)), atol=1e-14)
    later = model.initial_state(150.0)
    np.testing.assert_array_equal(later, model.initial_state(after=150.0))
    assert abs(later.mean()) < 1e-12 and 1.1 < later.std() < 1.6


# --- wrappers ----------------------------------------------------------------------------------------------


def test_clipped_clips_after_every_step():
    inner = Lorenz96()
    model = Clipped(inner, 6.0)
    expected = start = 5 * states(inner, 3)
    for _ in range(4):
        expected = np.clip(inner.advance(expected, 0.0, inner.dt), -6.0, 6.0)
    np.testing.assert_array_equal(model.advance(start, 0.0, 4 * inner.dt), expected)
    assert abs(expected).max() == 6.0
    assert abs(expected - np.clip(inner.advance(start, 0.0, 4 * inner.dt), -6.0, 6.0)).max() > 0.1


def test_wrappers_nest():
    inner = Lorenz96()
    shocked = Shocked(inner, (0.0, 0.5, 0.0, 0.5))
    expected, rng = states(inner), np.random.default_rng(4)
    for n in range(4):
        expected = np.clip(shocked.advance(expected, n * inner.dt, inner.dt, rng), -3.0, 3.0)
    result = Clipped(shocked, 3.0).advance(states(inner), 0.0, 4 * inner.dt, np.random.default_rng(4))
    np.testing.assert_array_equal(result, expected)
    assert rng.bit_generator.state != np.random.default_rng(4).bit_generator.state


def test_shocks_fall_after_their_step():
    inner, rng = Lorenz96(), np.random.default_rng(5)
    model = Shocked(inner, (0.0, 0.3, 0.0, 0.0, 0.5, 0.0))
    start = states(inner, 2)
    result = model.advance(start, 0.0, 8 * inner.dt, np.random.default_rng(5))
    x = inner.advance(start, 0.0, 2 * inner.dt)
    x = inner.advance(x + 0.3 * abs(x) * rng.standard_normal(x.shape), 0.0, 3 * inner.dt)
    x = inner.advance(x + 0.5 * abs(x) * rng.standard_normal(x.shape), 0.0, 3 * inner.dt)
    np.testing.assert_allclose(result, x, atol=1e-12)


@given(split=st.integers(0, 12), shocks=st.lists(st.sampled_from([0.0, 0.0, 0.1, 0.4]), max_size=10))
@settings(max_examples=25, deadline=None)
def test_shocks_follow_the_clock(split, shocks):
    model = Shocked(Lorenz96(dt=0.01), tuple(shocks))
    start, rng = states(model), np.random.default_rng(3)
    whole = model.advance(start, 0.0, 12 * model.dt, np.random.default_rng(3))
    half = model.advance(start, 0.0, split * model.dt, rng)
    np.testing.assert_allclose(model.advance(half, split * model.dt, (12 - split) * model.dt, rng), whole, atol=1e-10)


def test_no_shock_draws_nothing_and_a_shock_needs_an_rng():
    model = Shocked(Lorenz96(), np.array([0.0, 0.0, 0.2]))
    start, rng = states(model), np.random.default_rng(0)
    calm = model.advance(start, 0.0, 2 * model.dt, rng)
    np.testing.assert_allclose(calm, model.model.advance(start, 0.0, 2 * model.dt), atol=1e-13)
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state
    with pytest.raises(ValueError, match="rng"):
        model.advance(calm, 2 * model.dt, model.dt)
    with pytest.raises(ValueError, match="whole number of model steps"):
        model.advance(calm, 0.5 * model.dt, model.dt, rng)


@pytest.mark.parametrize("device, dtype", [("device1", "float64"), ("no_float64", "float32")])
def test_shocks_on_other_namespaces(device, dtype):
    model = Shocked(Clipped(Lorenz96(), 8.0), (0.0, 0.3, 0.1))
    start = states(model, 2, dtype=dtype)
    there = strict.asarray(start, device=strict.Device(device))
    result = model.advance(there, 0.0, 4 * model.dt, np.random.default_rng(2))
    assert result.dtype == there.dtype and result.device == there.device
    back = np.asarray(result.to_device(strict.Device("CPU_DEVICE")))
    here = model.advance(start, 0.0, 4 * model.dt, np.random.default_rng(2))
    assert here.dtype == start.dtype
    np.testing.assert_allclose(back, here, atol=1e-12 if dtype == "float64" else 1e-4)


def test_shocks_have_the_size_they_claim():
    model = Shocked(Lorenz96(dt=1e-6), (0.2,))
    start = np.broadcast_to(3.0 + np.arange(40.0) % 4, (2000, 40))
    shock = model.advance(start, 0.0, model.dt, np.random.default_rng(1)) / start - 1
    np.testing.assert_allclose([shock.mean(), shock.std()], [0.0, 0.2], atol=0.003)


@pytest.mark.parametrize("dtype, atol", [(np.float64, 1e-13), (np.float32, 2e-6)])
def test_noisy_lorenz96_without_noise_is_eulers_method(dtype, atol):
    model = NoisyLorenz96(size=7, forcing=8.0, dt=0.005, noise=0.0)
    x = states(model, 3, dtype=dtype)
    expected = x.astype(float)
    for _ in range(4):
        before, second, after = (np.roll(expected, k, axis=-1) for k in (1, 2, -1))
        expected = expected + 0.005 * ((after - second) * before - expected + 8.0)
    there = model.advance(x, 0.0, 0.02)
    assert there.dtype == dtype
    np.testing.assert_allclose(there, expected, atol=atol)


def test_noisy_lorenz96_has_the_noise_of_its_duration():
    """One step of 0.005 and noise 0.1 a unit of time: deviation 0.1 sqrt(0.005), independent between states."""
    noisy, x = NoisyLorenz96(size=20_000), np.zeros((2, 20_000))
    noise = noisy.advance(x, 0.0, 0.005, np.random.default_rng(1)) - 0.04
    assert noise.std(axis=1) == pytest.approx([0.1 * 0.005**0.5] * 2, rel=0.03)
    assert abs(np.corrcoef(noise)[0, 1]) < 0.03
    with pytest.raises(ValueError, match="give advance an rng"):
        noisy.advance(x, 0.0, 0.005)
    with pytest.raises(ValueError, match="noise is -1"):
        NoisyLorenz96(noise=-1.0)
