"""The Held-Suarez atmosphere: grid to harmonics and back, complete restarts, balances of its climate."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from ensf.models.held_suarez import HeldSuarez

COARSE = HeldSuarez(truncation=5, layers=3)


@pytest.fixture(scope="module")
def moved():
    """Two states after three days from noise."""
    pytest.importorskip("dinosaur")
    states = np.array([COARSE.noise(np.random.default_rng(seed)) for seed in (1, 2)])
    return COARSE.advance(states, 0.0, 72.0)


# --- without dinosaur ------------------------------------------------------------------------------------


def test_the_page_is_there_without_dinosaur(tmp_path):
    code = (
        "import sys; sys.modules['dinosaur'] = None\n"
        "from ensf.cli import main\n"
        "main(['list']); sys.exit(main(['run', 'atmosphere_dinosaur', '--output', sys.argv[1]]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    environment = {"ENSF_CACHE": str(tmp_path / "cache"), "PATH": ""}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert "atmosphere_dinosaur: " in done.stdout and "letsf: " in done.stdout
    assert done.returncode == 2
    assert 'ensf: dinosaur is not installed: pip install "ensf[atmosphere]"\n' in done.stderr


def test_planes_have_places_and_names():
    state = np.arange(float(COARSE.size))
    fields = COARSE.split(np.stack([state, -state]))
    assert [part.shape for part in fields.values()] == [(2, 3, 8, 16)] * 3 + [(2, 1, 8, 16)]
    joined = np.concatenate([part[0] for part in fields.values()])
    np.testing.assert_array_equal(joined.ravel(), state)
    latitude, longitude, height = (axis.reshape(COARSE.shape) for axis in COARSE.positions.T)
    np.testing.assert_allclose(height[:, 0, 0], [*np.tile(-np.log([1 / 6, 3 / 6, 5 / 6]), 3), 0.0])
    np.testing.assert_allclose(latitude[5, :, 7], COARSE.latitude)
    np.testing.assert_allclose(longitude[5, 3], 22.5 * np.arange(16))


def test_areas_integrate_polynomials_of_the_sine_of_latitude():
    sine = np.sin(np.deg2rad(COARSE.latitude))
    for power, mean in ((0, 1.0), (1, 0.0), (2, 1 / 3), (4, 1 / 5), (14, 1 / 15)):
        assert 16 * COARSE.area @ sine**power == pytest.approx(mean, abs=1e-14)


def test_radiative_equilibrium_is_that_of_held_and_suarez():
    model = HeldSuarez(layers=2)  # sigma 1/4 and 3/4
    equator, pole = np.argmin(abs(model.latitude)), -1
    sine = np.sin(np.deg2rad(model.latitude[[equator, pole]]))
    low = 0.75 ** (2 / 7) * (315 - 60 * sine**2 - 10 * np.log(0.75) * (1 - sine**2))
    np.testing.assert_allclose(model.equilibrium()[1, [equator, pole], 0], low)
    assert model.equilibrium()[0, pole, 0] == 200.0


@pytest.mark.parametrize("settings", [{"truncation": 20}, {"layers": 0}, {"dt": 0.0}, {"damping": -1.0}])
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))}.* give"):
        HeldSuarez(**settings)


# --- the model -------------------------------------------------------------------------------------------


def test_the_grid_is_that_of_dinosaur():
    spherical_harmonic = pytest.importorskip("dinosaur.spherical_harmonic")
    model = HeldSuarez()
    longitude, sine = spherical_harmonic.Grid.T21().nodal_axes
    np.testing.assert_allclose(np.rad2deg(longitude), model.longitude)
    np.testing.assert_allclose(np.rad2deg(np.arcsin(sine)), model.latitude)


def test_a_state_goes_to_harmonics_and_back(moved):
    np.testing.assert_allclose(COARSE.filtered(moved), moved, rtol=2e-6, atol=2e-4)


def test_noise_beyond_the_truncation_is_lost_once(moved):
    noisy = moved + np.random.default_rng(3).standard_normal(moved.shape)
    once = COARSE.filtered(noisy)
    assert 0.2 < np.std(once - moved) < 0.8  # 36 harmonics of a field of 128 points: a root of 36/128
    np.testing.assert_allclose(COARSE.filtered(once), once, rtol=2e-6, atol=5e-4)


def test_fields_are_a_complete_restart(moved):
    once = COARSE.advance(moved, 72.0, 24.0)
    twice = COARSE.advance(COARSE.advance(moved, 72.0, 10.0), 82.0, 14.0)
    assert np.abs(once - moved).max() > 1.0
    np.testing.assert_allclose(twice, once, rtol=2e-6, atol=1e-3)


def test_members_are_independent_and_not_changed(moved):
    before = moved.copy()
    together = COARSE.advance(moved, 0.0, 5.0)
    np.testing.assert_array_equal(moved, before)
    np.testing.assert_array_equal(COARSE.advance(moved[::-1].copy(), 0.0, 5.0), together[::-1])
    assert together.dtype == moved.dtype and COARSE.advance(moved.astype("f4"), 0.0, 5.0).dtype == np.float32


def test_a_turned_planet_has_turned_weather(moved):
    """The forcing knows no longitude."""
    turned = np.roll(moved.reshape(2, *COARSE.shape), 3, axis=-1).reshape(2, -1)
    later = COARSE.advance(moved, 0.0, 24.0).reshape(2, *COARSE.shape)
    again = COARSE.advance(turned, 0.0, 24.0).reshape(2, *COARSE.shape)
    np.testing.assert_allclose(again, np.roll(later, 3, axis=-1), rtol=2e-6, atol=2e-3)


def test_radiation_acts_in_40_days_aloft():
    """Of an atmosphere at rest, alike everywhere on each layer, nothing but radiation changes at first."""
    pytest.importorskip("dinosaur")
    state = np.zeros(COARSE.size)
    fields = COARSE.split(state)
    alike = COARSE.equilibrium().mean(axis=1, keepdims=True)
    fields["temperature"][:], fields["pressure"][:] = alike, 1000.0
    drawn = state.copy()
    COARSE.split(drawn)["temperature"][:] += (COARSE.equilibrium() - alike) / (40 * 24)
    later = COARSE.split(COARSE.advance(np.stack([state, drawn]), 0.0, 1.0)[0])
    expected = COARSE.split(COARSE.filtered(np.stack([drawn, drawn]))[0])
    change = (expected["temperature"] - alike)[:2]
    np.testing.assert_allclose((later["temperature"] - alike)[:2], change, atol=0.03 * abs(change).max())


def test_a_duration_between_steps_is_refused(moved):
    with pytest.raises(ValueError, match="1.5 is not a whole number"):
        COARSE.advance(moved, 0.0, 1.5)
    with pytest.raises(ValueError, match="last axis"):
        COARSE.advance(moved[:, 1:], 0.0, 1.0)


@pytest.mark.slow
def test_the_climate_has_westerlies_of_a_known_strength():
    """Held and Suarez (1994), their figure 2: jets of about 30 m/s near 45 degrees and 250 hPa, easterlies below."""
    pytest.importorskip("dinosaur")
    model = HeldSuarez()
    state = model.advance(model.noise(np.random.default_rng(1)), 0.0, 150 * 24.0)
    winds = []
    for _ in range(30):
        state = model.advance(state, 0.0, 120.0)
        winds.append(model.split(state)["eastward"].mean(axis=-1))
    wind = np.mean(winds, axis=0)
    upper, lower = wind[2], wind[-1]
    assert 25 < upper.max() < 40 and 30 < abs(model.latitude[np.argmax(upper)]) < 55
    assert lower[abs(model.latitude) < 15].mean() < 0
