"""Nature runs: made once, read again, refused with a reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from ensf.models.sqg import SQG, SQGTemperature
from ensf.runs.nature import NatureRun, Trajectory, cache_folder
from ensf.runs.owner import alone

MODEL = SQGTemperature(SQG(n=8, dt=3600.0))
RUN = NatureRun(MODEL, spin_up=7200.0, duration=4 * 7200.0, interval=7200.0, seed=3)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ENSF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_states_are_those_of_the_model():
    trajectory = RUN.load()
    assert trajectory.states.dtype == np.float32 and trajectory.states.shape == (5, 128)
    state = MODEL.noise(np.random.default_rng(3))
    for k in range(5):
        state = MODEL.advance(state, 0.0, 7200.0)
        np.testing.assert_allclose(trajectory.states[k], state, rtol=0, atol=1e-5)
        if k:
            assert trajectory.advance(None, (k - 1) * 7200.0, 7200.0) is not None
            np.testing.assert_array_equal(trajectory.advance(None, 7200.0, (k - 1) * 7200.0), trajectory.states[k])


def test_made_once(cache, monkeypatch):
    first = RUN.load()
    assert [path.name for path in cache.iterdir()] == [RUN.path().name]
    monkeypatch.setattr(NatureRun, "_make", lambda *_: pytest.fail("made again"))
    np.testing.assert_array_equal(RUN.load().states, first.states)


def test_each_recipe_has_its_file():
    others = [
        replace(RUN, seed=4), replace(RUN, spin_up=0.0), replace(RUN, interval=3600.0),
        replace(RUN, model=SQGTemperature(SQG(n=8, dt=3600.0, U=20.0))),
    ]  # fmt: skip
    assert len({run.path() for run in [RUN, *others]}) == 5


def test_folder_by_argument_and_by_environment(tmp_path, monkeypatch, cache):
    RUN.load(tmp_path / "here")
    assert (tmp_path / "here" / RUN.path().name).is_file() and not cache.exists()
    monkeypatch.delenv("ENSF_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "ensf"


@pytest.mark.parametrize("platform, end", [("linux", ".cache/ensf"), ("darwin", "Library/Caches/ensf")])
def test_folder_of_the_platform(platform, end, monkeypatch):
    for name in ("ENSF_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", platform)
    assert cache_folder() == Path.home() / end


def test_a_damaged_file_is_made_again(cache):
    first = RUN.load()
    RUN.path().write_bytes(b"not NetCDF")
    np.testing.assert_array_equal(RUN.load().states, first.states)
    assert len(list(cache.iterdir())) == 1


def test_nothing_is_left_of_an_interrupted_write(cache, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("ensf.runs.nature._fill", interrupted)
    with pytest.raises(KeyboardInterrupt):
        RUN.load()
    assert not list(cache.iterdir())


def test_what_a_kill_left_beside_a_finished_file_goes(cache):
    first = RUN.load()
    guard = cache / f".{RUN.path().name}-owner"
    guard.write_text("process 1 on another")
    np.testing.assert_array_equal(RUN.load().states, first.states)
    assert not guard.exists()
    with alone(RUN.path()):  # of a living process it stays
        RUN.load()
        assert guard.exists()


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PermissionError, match="set ENSF_CACHE"):
        RUN.load(tmp_path / "file" / "below")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_model_that_blows_up_leaves_no_file(cache):
    wild = SQGTemperature(SQG(n=8, dt=7200.0, U=1e4))
    with pytest.raises(ValueError, match="smaller time step"):
        replace(RUN, model=wild, duration=1000 * 7200.0).load()
    assert not list(cache.iterdir())


def test_a_file_of_the_user(tmp_path):
    path, states = tmp_path / "mine.nc", np.arange(3 * 128, dtype="f4").reshape(3, 2, 8, 8)
    write(path, "pv", states)
    run = replace(RUN, file=str(path), variable="pv", factor=0.5)
    np.testing.assert_array_equal(run.load().states, states.reshape(3, 128) / 2)
    assert run.load().states.dtype == np.float32


def write(path, name, states):
    with netCDF4.Dataset(path, "w") as file:
        for k, size in enumerate(states.shape):
            file.createDimension(f"d{k}", size)
        file.createVariable(name, "f4", tuple(f"d{k}" for k in range(states.ndim)))[:] = states


@pytest.mark.parametrize("name, shape, value, words", [
    ("pv", (3, 2, 8, 8), 0.0, "'theta' is not there in .*: name one of pv"),
    ("theta", (3, 2, 8, 6), 0.0, "has shape .3, 2, 8, 6. in .*, and the model needs .time, 2, 8, 8.: give"),
    ("theta", (2, 8, 8), 0.0, "needs .time, 2, 8, 8."),
    ("theta", (3, 2, 8, 8), np.nan, "missing or infinite"),
])  # fmt: skip
def test_files_that_do_not_fit(tmp_path, name, shape, value, words):
    write(tmp_path / "mine.nc", name, np.full(shape, value))
    with pytest.raises(ValueError, match=words):
        replace(RUN, file=str(tmp_path / "mine.nc")).load()


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="no nature run"):
        replace(RUN, file=str(tmp_path / "none.nc")).load()
    (tmp_path / "text.nc").write_text("text")
    with pytest.raises(ValueError, match="not a NetCDF file"):
        replace(RUN, file=str(tmp_path / "text.nc")).load()


def test_windows_and_times():
    trajectory = Trajectory(np.arange(10.0)[:, None], 2.0)
    window = trajectory.window(3, 4)
    assert len(window) == 4 and window.advance(None, 2.0, 4.0) == 6.0
    for time in (1.0, 8.0, -2.0):
        with pytest.raises(ValueError, match="there is no truth at time"):
            window.advance(None, time, 0.0)
    with pytest.raises(ValueError, match="fewer cycles"):
        trajectory.window(7, 4)
