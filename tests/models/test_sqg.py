"""SQG: reference fields, inversion, conservation, linear growth, order, contracts, and speed against a plain peer."""

from __future__ import annotations

import math
import time
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import array_api_strict as strict
import numba
import numpy as np
import pytest
import scipy.fft

from ensf.models import sqg_steps
from ensf.models.integrate import rk4, whole_steps
from ensf.models.sqg import SQG, SQGTemperature

REFERENCE = SQG(U=20.0, dt=900.0, diff_efold=43200.0, jacobian_factor=2.25)
SMALL = SQG(n=16, dt=3600.0, r=50.0, jacobian_factor=2.25)
NEVER = 1e30
FREE = SQG(U=0.0, dt=900.0, diff_efold=NEVER, tdiab=NEVER)


def analytic(n=64):
    """Smooth state, m/s: waves of at most 20 cycles a side."""
    x = 2 * np.pi / n * np.arange(n)
    x, y = x[None, :], x[:, None]
    surface = 800 * np.cos(3 * x + 0.3) * np.sin(2 * y) + 500 * np.sin(x - 4 * y + 1) + 300 * np.cos(7 * x + 5 * y)
    lid = 900 * np.sin(2 * x + y) + 600 * np.cos(5 * x - 3 * y + 0.7) + 2000 * np.sin(x / 2) ** 40 * np.sin(y) ** 20
    state = np.stack([surface, lid])
    return (state - state.mean(axis=(1, 2), keepdims=True)).reshape(-1)


def states(model, *leading, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    flat = [model.noise(rng) for _ in range(math.prod(leading))]
    return np.array(flat, dtype).reshape(*leading, model.size)


def apart(a, b):
    return abs(a - b).max() / abs(b).max()


# --- the scheme ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype, steps, tolerance", [
    (np.float64, 1, 1e-13), (np.float64, 10, 1e-13), (np.float64, 100, 1e-12), (np.float32, 10, 2e-6),
    (np.float32, 100, 5e-5),
])  # fmt: skip
def test_fields_of_the_reference_code(dtype, steps, tolerance):
    stored = np.load(Path(__file__).parents[1] / "data" / "sqg_analytic.npz")[f"step{steps}"]
    end = REFERENCE.advance(analytic().astype(dtype), 0.0, steps * REFERENCE.dt)
    assert end.dtype == dtype
    assert apart(end.reshape(REFERENCE.shape)[:, ::3, ::3], stored) < tolerance


@pytest.mark.parametrize("model", [SMALL, replace(SMALL, symmetric=False), REFERENCE, SQG(n=18, dt=3600.0)])
def test_compiled_steps_equal_the_array_form(model):
    start = states(model, 3)
    assert apart(model.advance(start, 0.0, 3 * model.dt), plain_form(model, start, 3)) < 1e-13


def plain_form(model, start, steps):
    """By array code, which other namespaces and precisions take."""
    return model.advance(start.astype(np.longdouble), 0.0, steps * model.dt).astype(float)


def test_streamfunction_has_the_state_as_its_vertical_derivative():
    """psi(z) of one wave by the boundary values, differentiated at both ends."""
    model = SQG()
    state = analytic()
    psi = np.fft.rfft2(model.streamfunction(state).reshape(model.shape))
    k, l = np.arange(33), np.fft.fftfreq(64, 1 / 64)[:, None]  # noqa: E741
    mu = 2 * np.pi / model.L * np.hypot(k, l) * model.deformation_radius
    mu[0, 0] = 1.0
    slope = mu / model.H * np.array([psi[1] - psi[0] * np.cosh(mu), psi[1] * np.cosh(mu) - psi[0]]) / np.sinh(mu)
    assert apart(np.fft.irfft2(slope), state.reshape(model.shape)) < 1e-12


def test_wind_is_the_turned_gradient():
    model = SQG()
    psi, (u, v) = model.streamfunction(analytic()), model.wind(analytic())
    psi, u, v = (a.reshape(model.shape) for a in (psi, u, v))
    spacing = model.L / model.n
    k = 2 * np.pi * np.fft.fftfreq(model.n, spacing)
    along = lambda a, axis: np.fft.ifft(1j * np.moveaxis(k[:, None], 0, axis) * np.fft.fft(a, axis=axis), axis=axis)  # noqa: E731
    assert apart(-along(psi.transpose(0, 2, 1), -1).real.transpose(0, 2, 1), u) < 1e-11
    assert apart(along(psi, -1).real, v) < 1e-11


@pytest.mark.parametrize("symmetric", [True, False])
def test_jet(symmetric):
    model = SQG(symmetric=symmetric)
    u, v = (a.reshape(model.shape) for a in model.wind(model.jet()))
    assert abs(v).max() < 1e-12
    lid = u[1].max()
    assert u[0].max() == pytest.approx(lid if symmetric else 0.0, abs=1e-10)
    wave = np.sin(2 * np.pi * model.coords["y"] / model.L)[:, None]
    assert abs(u[1] - u[1].max() * np.sign(u[1, 16, 0]) * wave).max() < 1e-10
    assert lid == pytest.approx(model.U / 2 if symmetric else model.U, rel=1e-10)


def test_relaxation_keeps_the_jet():
    model = SQG(n=32)
    assert apart(model.advance(model.jet(), 0.0, 5 * model.dt), model.jet()) < 1e-6


def test_jacobian_factor_is_a_change_of_units():
    """q(U, c) = q(c U, 1) / c."""
    strong = replace(SMALL, U=2.25 * SMALL.U, jacobian_factor=1.0)
    start = states(SMALL)
    ends = SMALL.advance(start, 0.0, 5 * SMALL.dt), strong.advance(2.25 * start, 0.0, 5 * SMALL.dt) / 2.25
    assert apart(*ends) < 1e-13


def test_ekman_pumping_spins_down():
    calm, rough = SQG(n=32, U=0.0, tdiab=NEVER), SQG(n=32, U=0.0, tdiab=NEVER, r=100.0)
    start = calm.jet() + analytic(32)
    difference = rough.tendency(start) - calm.tendency(start)
    psi = calm.streamfunction(start).reshape(calm.shape)
    energy_change = difference.reshape(calm.shape) * psi * np.array([-1, 1])[:, None, None]
    assert (energy_change.mean(axis=(1, 2)) < 0).all()


# --- conservation ----------------------------------------------------------------------------------------


def invariants(state):
    q, psi = state.reshape(FREE.shape), FREE.streamfunction(state).reshape(FREE.shape)
    energy = (psi[1] * q[1] - psi[0] * q[0]).mean()
    return np.array([energy, *(q**2).mean(axis=(1, 2))])


def test_tendency_does_no_work():
    state, tendency = analytic(), FREE.tendency(analytic())
    q, dq, psi = (a.reshape(FREE.shape) for a in (state, tendency, FREE.streamfunction(state)))
    for product in (q * dq, psi * dq):
        assert (abs(product.sum(axis=(1, 2))) < 1e-12 * abs(product).sum(axis=(1, 2))).all()
    assert (abs(dq.sum(axis=(1, 2))) < 1e-12 * abs(dq).sum(axis=(1, 2))).all()


def test_drift_of_invariants_falls_with_the_time_step():
    start = analytic()
    drift = [
        invariants(replace(FREE, dt=dt).advance(start, 0.0, dt)) / invariants(start) - 1 for dt in (3600.0, 1800.0)
    ]
    assert (abs(drift[1]) < 1e-8).all()
    assert (np.log2(abs(drift[0] / drift[1])) > 4.7).all()
    once = invariants(FREE.advance(start, 0.0, 900.0)) / invariants(start) - 1
    assert abs(once[0]) < 1e-10 and (abs(once[1:]) < 1e-10).all()


def test_time_stepping_has_order_four():
    model, start = SQG(U=20.0, dt=600.0, diff_efold=NEVER), analytic()
    exact = model.advance(start, 0.0, 14400.0)
    errors = [np.linalg.norm(replace(model, dt=dt).advance(start, 0.0, 14400.0) - exact) for dt in (7200.0, 3600.0)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4.0, abs=0.3)


# --- linear growth ---------------------------------------------------------------------------------------


def growth(model, wave):
    """Fastest growth per day of small disturbances of the jet with this zonal wavenumber, by the model."""
    n, size = model.n, 1e-3
    phase = 2 * np.pi / n * np.arange(n)
    basis = np.einsum("vw,li,sj->vlswij", np.eye(2), np.eye(n), [np.cos(wave * phase), np.sin(wave * phase)])
    basis = basis.reshape(4 * n, -1)
    ends = model.advance(model.jet() + size * np.concatenate([basis, -basis]), 0.0, model.dt)
    matrix = (ends[: 4 * n] - ends[4 * n :]) @ basis.T / (2 * size) * (2 / n)
    return np.log(abs(np.linalg.eigvals(matrix)).max()) / model.dt * 86400


def linear_theory(model, wave, waves=24):
    """The same by the linear equations in y alone, as a matrix of coupled meridional wavenumbers."""
    unit, l = 2 * np.pi / model.L, np.arange(-waves, waves + 1)  # noqa: E741
    total = unit * np.hypot(wave, l)
    mu = total * model.deformation_radius
    near, far = np.diag(model.H / mu / np.tanh(mu)), np.diag(model.H / mu / np.sinh(mu))
    psi = np.block([[-near, far], [-far, near]])
    couple = np.eye(l.size, k=1), np.eye(l.size, k=-1)
    mu0 = unit * model.deformation_radius
    amplitude = -mu0 * model.U / (2 * unit * model.H) / np.tanh(mu0 / 2)
    inverse = model.H / mu0 * (1 / np.sinh(mu0) - 1 / np.tanh(mu0))
    sine = (couple[1] - couple[0]) / 2j
    slope_q = -unit * amplitude * np.kron(np.eye(2), sine)
    slope_psi = np.kron(np.diag([inverse, -inverse]), np.eye(l.size)) @ slope_q
    advection = -model.jacobian_factor * 1j * unit * wave * (slope_q @ psi - slope_psi)
    damping = 1 / model.tdiab + (total / (unit * model.n / 2)) ** model.diff_order / model.diff_efold
    return np.linalg.eigvals(advection - np.diag(np.tile(damping, 2))).real.max() * 86400


def eady(model, wave):
    """Growth rate, 1/s, of a zonal wave on a uniform shear U / H by the model's streamfunction."""
    x = 2 * np.pi / model.n * np.arange(model.n)
    line = np.tile(np.cos(wave * x), (model.n, 1))
    psi = [model.streamfunction(np.kron(level, line).reshape(-1)) for level in np.eye(2)[:, :, None, None]]
    psi = np.array(psi).reshape(2, 2, model.n, model.n)[:, :, 0, 0].T
    wind, slope = np.diag([-model.U / 2, model.U / 2]), -model.U / model.H
    return np.linalg.eigvals(-2j * np.pi * wave / model.L * (wind + slope * psi)).real.max()


@pytest.mark.parametrize("wave", range(1, 10))
def test_eady_waves_grow_as_in_closed_form(wave):
    """Eady (1949): sigma = (k U / mu) sqrt((coth(mu/2) - mu/2) (mu/2 - tanh(mu/2))), and 0 for short waves."""
    model = SQG()
    half = np.pi * wave / model.L * model.deformation_radius
    product = (1 / np.tanh(half) - half) * (half - np.tanh(half))
    expected = model.U / model.deformation_radius * np.sqrt(max(product, 0.0))
    assert eady(model, wave) == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_most_unstable_eady_wave():
    model = SQG(L=1e8)
    rates = [eady(model, wave) for wave in range(1, 30)]
    assert max(rates) * model.deformation_radius / model.U == pytest.approx(0.3098, abs=2e-4)


@pytest.mark.parametrize("wave, factor, per_day", [(5, 2.25, 0.97660), (5, 1.0, 0.37849), (3, 2.25, 0.72850)])
def test_growth_of_the_unstable_jet(wave, factor, per_day):
    model = replace(REFERENCE, jacobian_factor=factor)
    assert growth(model, wave) == pytest.approx(per_day, abs=2e-4)
    assert linear_theory(model, wave) == pytest.approx(per_day, abs=2e-4)


# --- contracts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [SMALL, SQGTemperature(SMALL)], ids=["SQG", "K"])
def test_describes_its_grid(model):
    assert model.shape == (2, 16, 16) and model.dims == ("z", "y", "x")
    assert tuple(model.coords[dim].size for dim in model.dims) == model.shape
    assert set(model.coord_units) == set(model.dims)
    assert model.units in ("K", "m s-1") and model.variable and model.long_name
    assert eval(repr(model)) == model and hash(eval(repr(model))) == hash(model)
    with pytest.raises(FrozenInstanceError):
        model.dt = 1.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("steps", [0, 2])
def test_input_is_left_alone(dtype, steps):
    batch = states(SMALL, 2, dtype=dtype)
    copy = batch.copy()
    batch.flags.writeable = False
    end = SMALL.advance(batch, 0.0, steps * SMALL.dt)
    assert end.dtype == dtype and end.shape == batch.shape and not np.shares_memory(end, batch)
    np.testing.assert_array_equal(batch, copy)
    assert np.array_equal(end, copy) == (steps == 0)


@pytest.mark.parametrize("leading", [(), (0,), (1,), (2, 3), (9,)])
def test_batch_equals_one_by_one(leading):
    batch = states(SMALL, *leading)
    together = SMALL.advance(batch, 0.0, 2 * SMALL.dt)
    assert together.shape == batch.shape
    for i in np.ndindex(*leading):
        assert apart(together[i], SMALL.advance(batch[i], 0.0, 2 * SMALL.dt)) < 1e-13


def test_threads_and_blocks_change_nothing(monkeypatch):
    batch = states(SMALL, 7)
    one = SMALL.advance(batch, 0.0, 2 * SMALL.dt)
    for block, large in ((1, 2**23), (2**17, 0), (1, 0)):
        monkeypatch.setattr(sqg_steps, "BLOCK", block)
        monkeypatch.setattr(sqg_steps, "LARGE", large)
        np.testing.assert_array_equal(SMALL.advance(batch, 0.0, 2 * SMALL.dt), one)


def test_strided_input_and_composed_steps():
    batch = states(SMALL, 2, 4)
    once = SMALL.advance(batch[:, ::2], 0.0, SMALL.dt)
    assert apart(once, SMALL.advance(batch, 0.0, SMALL.dt)[:, ::2]) < 1e-13
    smooth = states(SMALL) * 0 + SMALL.jet()
    smooth = smooth + 50 * np.sin(2 * np.pi / SMALL.n * np.arange(SMALL.n))[np.arange(SMALL.size) % SMALL.n]
    twice = SMALL.advance(SMALL.advance(smooth, 0.0, SMALL.dt), SMALL.dt, SMALL.dt)
    assert apart(twice, SMALL.advance(smooth, 0.0, 2 * SMALL.dt)) < 1e-12


def test_spectral_fields_add_up_to_kinetic_energy():
    start = states(SMALL, 2, 3)
    (u, v), fields = SMALL.wind(start), SMALL.spectral_fields(start)
    np.testing.assert_allclose(sum(f**2 for f in fields), (u**2 + v**2) / 2)
    for field, other in zip(SQGTemperature(SMALL).spectral_fields(SMALL.kelvin * start), fields, strict=True):
        assert field.shape == start.shape and apart(field, other) < 1e-13


@pytest.mark.parametrize("device, dtype", [("device1", "float64"), ("no_float64", "float32")])
def test_other_namespaces_agree_with_numpy(device, dtype):
    batch = states(SMALL, 2, 3, dtype=dtype)
    there = strict.asarray(batch, device=strict.Device(device))
    end = SMALL.advance(there, 0.0, 2 * SMALL.dt)
    assert end.dtype == there.dtype and end.device == there.device
    back = np.asarray(end.to_device(strict.Device("CPU_DEVICE")))
    assert apart(back, SMALL.advance(batch, 0.0, 2 * SMALL.dt)) < (1e-13 if dtype == "float64" else 2e-6)
    for other in (SMALL.tendency, SMALL.streamfunction):
        assert other(there).device == there.device
    assert SMALL.wind(there)[1].dtype == SMALL.spectral_fields(there)[1].dtype == there.dtype


def test_temperature_is_the_same_model_in_kelvin():
    model, start = SQGTemperature(SMALL), states(SMALL, 2)
    assert SMALL.kelvin == pytest.approx(3.0612245e-3, rel=1e-7)
    end = model.advance(SMALL.kelvin * start, 0.0, 2 * SMALL.dt)
    assert apart(end / SMALL.kelvin, SMALL.advance(start, 0.0, 2 * SMALL.dt)) < 1e-13
    assert model.advance(start.astype(np.float32), 0.0, model.dt).dtype == np.float32


@pytest.mark.parametrize("bad", [
    {"n": 63}, {"n": 6}, {"dt": 0.0}, {"L": -1.0}, {"tdiab": math.inf}, {"nsq": 0.0}, {"diff_efold": math.nan},
])  # fmt: skip
def test_refuses_bad_settings(bad):
    with pytest.raises(ValueError, match="give"):
        SQG(**bad)


def test_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="last axis"):
        SMALL.advance(states(SMALL)[:-1], 0.0, SMALL.dt)
    with pytest.raises(ValueError, match="whole number of model steps"):
        SMALL.advance(states(SMALL), 0.0, 1.5 * SMALL.dt)


# --- long runs and speed ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_spectrum_and_spread_of_the_nature_run():
    model = SQG(jacobian_factor=2.25)
    state, days, spectra = model.noise(np.random.default_rng(1)), [], []
    state = model.advance(state, 0.0, 300 * 86400.0)
    for _ in range(100):
        state = model.advance(state, 0.0, 86400.0)
        days.append(state)
        spectra.append(kinetic_energy(model, state))
    days = model.kelvin * np.array(days)
    assert days.std(axis=0).mean() == pytest.approx(7.05, abs=0.5)
    k = np.arange(6, 21)
    slope = np.polyfit(np.log(k), np.log(np.mean(spectra, axis=0)[k]), 1)[0]
    assert slope == pytest.approx(-1.6, abs=0.2)


def kinetic_energy(model, state):
    """Sum of |u|^2 + |v|^2 over rings of total wavenumber."""
    energy = sum(abs(np.fft.fft2(a.reshape(model.shape))) ** 2 for a in model.wind(state)).sum(axis=0)
    k = np.fft.fftfreq(model.n, 1 / model.n)
    ring = np.rint(np.hypot(k, k[:, None])).astype(int)
    return np.bincount(ring.ravel(), energy.ravel())


class Plain:
    """The scheme as it is written down, for a whole ensemble at once: what speed is measured against."""

    def __init__(self, model, dtype, workers):
        self.model, self.workers, self.dtype = model, workers, dtype
        kind = np.result_type(dtype, np.complex64)
        unit, n = 2 * np.pi / model.L, model.n
        k, l = unit * np.arange(n // 2 + 1), unit * np.fft.fftfreq(n, 1 / n)[:, None]  # noqa: E741
        total = np.hypot(k, l)
        mu = total * model.deformation_radius
        mu[0, 0] = np.inf
        self.near, self.far = ((model.H / mu / f(mu)).astype(dtype) for f in (np.tanh, np.sinh))
        self.x, self.y = (1j * k).astype(kind), (1j * l).astype(kind)
        self.damping = np.exp(-model.dt / model.diff_efold * (total / (unit * n / 2)) ** model.diff_order).astype(dtype)
        self.jet = self.forward(model.jet().astype(dtype).reshape(model.shape))

    def forward(self, fields):
        return scipy.fft.rfft2(fields, norm="forward", workers=self.workers)

    def fine(self, waves):
        half = self.model.n // 2
        padded = np.zeros((*waves.shape[:-2], 3 * half, 3 * half // 2 + 1), waves.dtype)
        padded[..., :half, :half], padded[..., -half:, :half] = waves[..., :half, :half], waves[..., half:, :half]
        padded[..., :half, half] = waves[..., :half, half].conj()
        padded[..., -half:, half] = waves[..., half:, half].conj()
        return scipy.fft.irfft2(padded, s=(3 * half, 3 * half), norm="forward", workers=self.workers)

    def slope(self, q):
        half = self.model.n // 2
        surface, lid = q[..., 0, :, :], q[..., 1, :, :]
        psi = np.stack([self.far * lid - self.near * surface, self.near * lid - self.far * surface], axis=-3)
        x, y = self.x.copy(), self.y
        x[-1] *= -1
        psi_x, psi_y, q_x = self.fine(x * psi), self.fine(y * psi), self.fine(x * q)
        waves = self.forward(psi_x * self.fine(y * q) - psi_y * q_x)
        slope = (self.jet - q) / self.dtype(self.model.tdiab)
        slope[..., :half, :half] -= self.dtype(self.model.jacobian_factor) * waves[..., :half, :half]
        slope[..., half:, :half] -= self.dtype(self.model.jacobian_factor) * waves[..., -half:, :half]
        return slope

    def advance(self, states, steps):
        fields = states.reshape(-1, *self.model.shape)
        q = self.forward(fields)
        for _ in range(steps):
            q = self.damping * rk4(self.slope, q, self.model.dt)
        return scipy.fft.irfft2(q, s=fields.shape[-2:], norm="forward").reshape(states.shape)


@pytest.mark.slow
@pytest.mark.parametrize("n, dt, efold, steps", [(64, 900.0, 43200.0, 6), (256, 180.0, 5400.0, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_faster_than_the_plain_scheme(n, dt, efold, steps, dtype, capsys):
    model = SQG(n=n, U=20.0, dt=dt, diff_efold=efold, jacobian_factor=2.25)
    start = np.tile(analytic(n).astype(dtype), (20, 1))
    peer = Plain(model, dtype, workers=numba.get_num_threads())
    assert apart(model.advance(start, 0.0, 2 * dt), peer.advance(start, 2)) < (1e-5 if dtype == np.float32 else 1e-12)
    runs = {"plain": lambda: peer.advance(start, steps), "ours": lambda: model.advance(start, 0.0, steps * dt)}
    best = dict.fromkeys(runs, math.inf)
    for _ in range(5):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            best[name] = min(best[name], (time.perf_counter() - began) / steps / 20 * 1e3)
    with capsys.disabled():
        print(f"\nn={n} {np.dtype(dtype)}: ms per member and step", {k: round(v, 3) for k, v in best.items()})
    assert whole_steps(steps * dt, dt) == steps and best["plain"] > 1.5 * best["ours"]
