"""Veros: a restart goes on bit for bit; forcing does what it says; the experiment analyses temperature alone."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from ensf import experiments
from ensf.cli import main
from ensf.diagnostics import rmse
from ensf.experiments import veros_acc as page
from ensf.models import veros_steps
from ensf.models.veros_acc import FORCING, VerosACC
from ensf.runs import restart
from ensf.runs.netcdf.writer import read, save
from ensf.twin import Method, Streams
from ensf.wrappers import PartialState

COARSE = VerosACC(spacing=12.0, processes=1)


@pytest.fixture(scope="module")
def rest():
    pytest.importorskip("veros")
    return COARSE.rest()


@pytest.fixture(scope="module")
def moved(rest):
    return COARSE.advance(rest, 0.0, 5.0)


@pytest.fixture
def small(rest, monkeypatch):
    """The experiment on a coarse grid, without spin-up, from days after the perturbation."""
    monkeypatch.setattr(page, "ADJUSTMENT", 2.0)
    changed = page.experiment(COARSE, page.Sparse(surface=8, profiles=3))
    methods = {name: Method(method.filter, 4) for name, method in changed.methods.items()}
    return replace(changed, methods=methods, initial=page.Perturbed(COARSE, spin_up=0), cycles=3, interval=2.0)


# --- without Veros ---------------------------------------------------------------------------------------


def test_the_experiment_is_there_without_veros(tmp_path):
    code = (
        "import sys; sys.modules['veros'] = None\n"
        "from ensf.cli import main\n"
        "main(['list']); sys.exit(main(['run', 'veros_acc', '--output', sys.argv[1]]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "veros_acc: " in done.stdout and "letsf: " in done.stdout
    assert done.returncode == 2 and done.stderr == 'ensf: Veros is not installed: pip install "ensf[examples]"\n'


def test_wet_points_have_places():
    model = VerosACC()
    temperature = np.arange(float(model.points))
    field = model.grid(temperature)
    assert field.shape == (15, 21, 15) and np.isnan(field).sum() == 15 * 16
    np.testing.assert_array_equal(field[model.wet], temperature)
    last = model.positions[-1]
    np.testing.assert_allclose(last, [42.0, 58.0, (sum(model.thickness) - 138) / 1000])


def test_a_spacing_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="spacing is 7"):
        VerosACC(spacing=7.0)


# --- the model -------------------------------------------------------------------------------------------


def test_a_restart_is_complete(moved):
    """What goes on in the memory of Veros, and what is loaded from the state, are the same, bit for bit."""
    once = COARSE.advance(moved, 0.0, 3.0)
    simulation = veros_steps._simulation(COARSE)
    for _ in range(4):
        simulation.step(simulation.state)
    in_memory = veros_steps._read(COARSE, simulation)
    COARSE.advance(COARSE.rest(), 0.0, 2.0)
    np.testing.assert_array_equal(COARSE.advance(once, 3.0, 4.0)[:-FORCING], in_memory)


def test_the_grid_is_that_of_veros(rest):
    vs = veros_steps._simulation(COARSE).state.variables
    np.testing.assert_allclose(vs.xt[2:-2], COARSE.longitude)
    np.testing.assert_allclose(vs.yt[2:-2], COARSE.latitude)
    np.testing.assert_allclose(-vs.zt[::-1], COARSE.depth, atol=11)
    np.testing.assert_array_equal(np.asarray(vs.maskT[2:-2, 2:-2, ::-1]).T.astype(bool), COARSE.wet)
    assert rest.shape == COARSE.shape


def test_members_are_independent_and_not_changed(moved):
    rng = np.random.default_rng(1)
    states = COARSE.forced(moved, rng.standard_normal((2, 2, FORCING)))
    before = states.copy()
    together = COARSE.advance(states, 0.0, 2.0)
    np.testing.assert_array_equal(states, before)
    for index in np.ndindex(2, 2):
        np.testing.assert_array_equal(together[index], COARSE.advance(states[index], 0.0, 2.0))


@pytest.mark.slow
def test_processes_do_not_matter(moved):
    states = COARSE.forced(moved, np.random.default_rng(1).standard_normal((3, FORCING)))
    alone = COARSE.advance(states, 0.0, 2.0)
    np.testing.assert_array_equal(replace(COARSE, processes=2).advance(states, 0.0, 2.0), alone)


def test_warm_air_warms_the_surface_and_wind_moves_the_water(moved):
    coefficients = np.zeros((3, FORCING))
    coefficients[1, FORCING // 2] = 2.0  # K, times sin(pi r)
    coefficients[2, 0] = 2.0  # westerly
    mean, warm, windy = COARSE.grid(COARSE.advance(COARSE.forced(moved, coefficients), 0.0, 3.0)[:, : COARSE.points])
    gained = np.nanmean((warm - mean)[0], axis=1)
    restored = 2.0 * np.sin(np.pi * (COARSE.latitude + 40) / 84) * (1 - np.exp(-3 / 30))
    np.testing.assert_allclose(gained[2:5], restored[2:5], rtol=0.05)  # convection mixes it down nearer to the poles
    assert (gained > 0).all() and (gained < restored).all()
    assert np.abs(np.nan_to_num(warm - mean))[-1].max() < 1e-3
    assert np.nanmax(np.abs(windy - mean)) > 1e-4


def test_a_new_temperature_leaves_the_rest(moved):
    warmed = COARSE.warmed(moved, moved[: COARSE.points] + 1.0)
    np.testing.assert_array_equal(warmed[COARSE.points :], moved[COARSE.points :])
    later = COARSE.advance(warmed, 0.0, 2.0)
    assert np.isfinite(later).all()
    assert np.mean(later[: COARSE.points] - moved[: COARSE.points]) == pytest.approx(1.0, abs=0.1)


# --- the experiment --------------------------------------------------------------------------------------


def test_truth_and_observations_depend_on_the_seed_alone(small):
    free, letkf = (next(small.run(small.methods[name], 1)) for name in ("free", "letkf"))
    np.testing.assert_array_equal(free.truth, letkf.truth)
    np.testing.assert_array_equal(free.observation.value, letkf.observation.value)
    np.testing.assert_array_equal(free.forecast, letkf.forecast)
    np.testing.assert_array_equal(free.analysis.ensemble, free.forecast)
    assert np.abs(letkf.analysis.ensemble - letkf.forecast).max() > 0.1
    assert np.any(free.truth != next(small.run(small.methods["free"], 2)).truth)


def test_only_temperature_is_analysed(small):
    whole = PartialState(small.methods["letkf"].filter, COARSE.points)
    truth, prior = small.initial.draw(4, Streams.spawn(1))
    observation = small.network.observe(truth, 0, np.random.default_rng(1))
    analysis = whole.analyse(prior, observation, np.random.default_rng(2), positions=COARSE.positions).ensemble
    np.testing.assert_array_equal(analysis[:, COARSE.points :], prior[:, COARSE.points :])
    hidden = page.unobserved(small)
    assert hidden.size + observation.size == COARSE.points
    assert rmse(analysis[:, hidden], truth[hidden]) < rmse(prior[:, hidden], truth[hidden])


@pytest.mark.parametrize("name", ["letkf", "letsf"])
def test_a_run_goes_on_from_its_restart(small, name, tmp_path):
    cycles = small.run(small.methods[name], 1)
    next(cycles)
    restart.write(tmp_path / "a.npz", {"checkpoint": next(cycles).checkpoint})
    last = next(cycles)
    again = next(small.run(small.methods[name], 1, restart.read(tmp_path / "a.npz")["checkpoint"]))
    np.testing.assert_array_equal(again.analysis.ensemble, last.analysis.ensemble)
    np.testing.assert_array_equal(again.truth, last.truth)


def test_a_file_holds_temperatures_of_wet_points(small, tmp_path):
    cycle = next(small.run(small.methods["free"], 1))
    save(tmp_path / "a.nc", [cycle], model=small.model)
    with read(tmp_path / "a.nc") as file:
        assert file.temp_truth.dims == ("time", "point") and file.temp_truth.units == "degree_C"
        np.testing.assert_allclose(file.temp_truth[0], cycle.truth, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["letkf", "letsf"])
def test_analyses_beat_the_free_ensemble_at_unobserved_points(name):
    pytest.importorskip("veros")
    experiment = experiments.load("veros_acc")
    hidden = page.unobserved(experiment)

    def errors(method):
        cycles = experiment.run(experiment.methods[method], 1)
        return np.array([rmse(cycle.analysis.ensemble[:, hidden], cycle.truth[hidden]) for cycle in cycles])

    assert errors("free").mean() / errors(name).mean() == pytest.approx(page.GAIN[name][0], rel=0.05)


def test_the_command_line_shows_it(capsys):
    assert main(["list"]) == 0
    assert "veros_acc: Ocean model Veros" in capsys.readouterr().out
