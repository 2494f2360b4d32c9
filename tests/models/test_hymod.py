"""HYMOD: no water lost or made, tanks and soil by their closed forms, and another's program."""

import numpy as np
import pytest

from ensf.models.hymod import PARAMETERS, STORAGES, Hymod

TYPICAL = np.array([400.0, 0.3, 0.8, 0.01, 0.5])
AREA = 86.4
"""km2: a runoff of 1 mm a day is 1 m3/s."""


def weather(days, steps, seed=0):
    """Rain on some days, and potential evaporation, ``(1, step)``."""
    rng = np.random.default_rng(seed)
    rain = rng.exponential(8.0, (1, days * steps)) * (rng.random((1, days * steps)) < 0.3)
    return rain, rng.uniform(0.0, 4.0 / steps, (1, days * steps))


@pytest.mark.parametrize("steps", [1, 4])
def test_no_water_is_lost_or_made(steps):
    rain, _ = weather(60, steps)
    start = np.array([[30.0, 1.0, 2.0, 3.0, 50.0]])
    end, discharge = Hymod(AREA, steps).run(start, TYPICAL[None], rain, np.zeros_like(rain))
    assert discharge.shape == (1, 60) and discharge.min() > 0
    assert end.sum() + discharge.sum() == pytest.approx(start.sum() + rain.sum(), rel=1e-12)


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("tank, rate", [("slow", 0.05), ("quick_3", 0.4)])
def test_a_tank_without_inflow_loses_its_part_every_day(steps, tank, rate):
    start = np.zeros((1, 5))
    start[0, STORAGES.index(tank)] = 10.0
    parameters = TYPICAL.copy()
    parameters[PARAMETERS.index(f"{tank[:5].rstrip('_')}_rate")] = rate
    dry = np.zeros((1, 7 * steps))
    end, discharge = Hymod(2 * AREA, steps).run(start, parameters[None], dry, dry)
    left = 10.0 * (1 - rate) ** np.arange(8)
    np.testing.assert_allclose(discharge[0], -2 * np.diff(left), rtol=1e-12)
    assert end.sum() == pytest.approx(left[-1], rel=1e-12)


@pytest.mark.parametrize("rain", [5.0, 150.0, 700.0])
def test_rain_on_dry_soil_fills_it_as_the_closed_form_says(rain):
    capacity, shape = 400.0, 1.7
    parameters = np.array([[capacity, shape, 0.8, 0.01, 0.5]])
    end, _ = Hymod(AREA).run(np.zeros((1, 5)), parameters, np.array([[rain]]), np.zeros((1, 1)))
    filled = capacity / (shape + 1) * (1 - (1 - min(rain / capacity, 1.0)) ** (shape + 1))
    assert end[0, 0] == pytest.approx(filled, rel=1e-12)


def test_wet_soil_evaporates_in_proportion():
    parameters = np.array([[100.0, 1.0, 0.8, 0.01, 0.5]])  # holds 50 mm
    storages = np.array([[20.0, 0, 0, 0, 0], [80.0, 0, 0, 0, 0], [-3.0, 0, 0, 0, 0]])
    end, _ = Hymod(AREA).run(storages, np.repeat(parameters, 3, 0), np.zeros((3, 1)), np.full((3, 1), 5.0))
    np.testing.assert_allclose(end[:, 0], [18.0, 45.0, 0.0], rtol=1e-12)


def test_equals_the_program_of_spotpy():
    program = pytest.importorskip("spotpy.examples.hymod_python.hymod", reason='pip install "ensf[examples]"')
    rain, evaporation = weather(200, 1)
    _, discharge = Hymod(AREA).run(np.zeros((1, 5)), TYPICAL[None], rain, evaporation)
    np.testing.assert_allclose(discharge[0], program.hymod(rain[0], evaporation[0], *TYPICAL), rtol=1e-9)


def test_days_and_members_one_by_one_or_together():
    model, rain, evaporation = Hymod(AREA, 4), *weather(10, 4)
    rng = np.random.default_rng(1)
    storages, parameters = rng.uniform(0, 40, (3, 5)), TYPICAL * rng.uniform(0.9, 1.1, (3, 5))
    before = storages.copy()
    forcing = [np.repeat(part, 3, 0) for part in (rain, evaporation)]
    whole, discharge = model.run(storages, parameters, *forcing)
    middle, first = model.run(storages[:1], parameters[:1], *(part[:1, :12] for part in forcing))
    end, second = model.run(middle, parameters[:1], *(part[:1, 12:] for part in forcing))
    np.testing.assert_array_equal(end, whole[:1])
    np.testing.assert_array_equal(np.concatenate([first, second], axis=1), discharge[:1])
    np.testing.assert_array_equal(storages, before)


def test_what_is_no_catchment_is_refused():
    for area, steps, words in ((0.0, 1, "area"), (np.nan, 1, "area"), (1.0, 0, "steps")):
        with pytest.raises(ValueError, match=words):
            Hymod(area, steps)
    with pytest.raises(ValueError, match="rain of 5 steps: give 4"):
        Hymod(AREA, 4).run(np.zeros((1, 5)), TYPICAL[None], np.zeros((1, 5)), np.zeros((1, 5)))
