"""Fields on a plane: power against closed forms, spectra of known errors, maps, animation, and files."""

from __future__ import annotations

from dataclasses import replace

import array_api_strict as strict
import numpy as np
import pytest
from matplotlib.animation import PillowWriter

from ensf.cli import main
from ensf.filters import Analysis
from ensf.models.lorenz96 import Lorenz96
from ensf.models.sqg import SQG, SQGTemperature
from ensf.observations import Observation, Select
from ensf.plot.fields import Frame, Spectra, animate, figure_fields, figure_spectra, frames, power
from ensf.runs.netcdf import writer
from ensf.twin import Cycle

MODEL = SQGTemperature(SQG(n=16))
SIZE = 2 * 16 * 16


@pytest.fixture
def cycles(rng):
    return [make(rng, index) for index in range(3)]


def make(rng, index):
    truth, forecast, analysis = rng.normal(size=SIZE), rng.normal(size=(4, SIZE)), rng.normal(size=(4, SIZE))
    points = (3, 40, 256 + 3, 256 + 40)
    observation = Observation(truth[list(points)], Select(points), 1.0)
    return Cycle(index, 43200.0 * (index + 1), truth, observation, forecast, Analysis(analysis), 0.0, 0.0)


@pytest.mark.parametrize(("m", "n", "ring"), [(4, 3, 5), (1, 1, 1), (2, 2, 3), (-6, 0, 6), (16, 3, 16)])
def test_power_of_a_wave(m, n, ring):
    """Its ring is the nearest one, and the last has the corners."""
    x = 2 * np.pi / 32 * np.arange(32)
    field = 3 * np.cos(m * x + n * x[:, None]) + 0.5
    expected = np.zeros(17)
    expected[0], expected[ring] = 0.25, 4.5
    np.testing.assert_allclose(power(field), expected, atol=1e-13)


@pytest.mark.parametrize("shape", [(16, 16), (2, 3, 12, 20), (5, 9, 9)])
def test_power_sums_to_the_mean_square(rng, shape):
    fields = rng.normal(size=shape)
    np.testing.assert_allclose(power(fields).sum(axis=-1), (fields**2).mean(axis=(-2, -1)))
    there = strict.asarray(fields, device=strict.Device("device1"))
    np.testing.assert_allclose(power(there), power(fields), atol=1e-14)


def test_spectra_sum_to_error_and_spread(cycles):
    spectra = Spectra(MODEL.shape)
    for cycle in cycles:
        spectra.add(cycle)
    means = spectra.means()
    assert len(means) == 5
    for stage, states in (
        ("forecast", [c.forecast for c in cycles]),
        ("analysis", [c.analysis.ensemble for c in cycles]),
    ):
        error = np.mean([(x.mean(axis=0) - c.truth) ** 2 for x, c in zip(states, cycles, strict=True)])
        assert means[f"error of the {stage}"].sum() == pytest.approx(error)
        assert means[f"spread of the {stage}"].sum() == pytest.approx(np.mean([x.var(axis=0, ddof=1) for x in states]))
    assert means["truth"].sum() == pytest.approx(np.mean([c.truth**2 for c in cycles]))


def test_kinetic_energy_by_the_components_of_the_wind(cycles):
    kinetic = Spectra(MODEL.shape, lambda states: tuple(w / np.sqrt(2) for w in MODEL.model.wind(states)))
    kinetic.add(cycles[0])
    u, v = MODEL.model.wind(cycles[0].truth)
    assert kinetic.means()["truth"].sum() == pytest.approx(np.mean(u**2 + v**2) / 2)
    assert len(figure_spectra(kinetic, "kinetic energy").axes[0].lines) == 5


def test_lines_of_the_spectra(cycles):
    """Without the mean and the corners; dashed for the spread."""
    spectra = Spectra(MODEL.shape)
    spectra.add(cycles[0])
    lines = {line.get_label(): line for line in figure_spectra(spectra).axes[0].lines}
    for name, values in spectra.means().items():
        np.testing.assert_array_equal(lines[name].get_xdata(), np.arange(1, 8))
        np.testing.assert_array_equal(lines[name].get_ydata(), values[1:8])
        assert lines[name].get_linestyle() == ("--" if name.startswith("spread") else "-")


def test_spectra_of_nothing():
    with pytest.raises(ValueError, match="add one"):
        Spectra(MODEL.shape).means()


def test_frame_of_a_cycle(cycles):
    frame = Frame.of(cycles[0], MODEL, 1)
    shape = MODEL.shape
    np.testing.assert_array_equal(frame.truth, cycles[0].truth.reshape(shape)[1])
    np.testing.assert_allclose(frame.spread, cycles[0].analysis.ensemble.std(axis=0, ddof=1).reshape(shape)[1])
    assert np.flatnonzero(frame.observed).tolist() == [3, 40]
    assert frame.units == "K" and len(frame.x) == 16
    with pytest.raises(ValueError, match="two dimensions"):
        Frame.of(cycles[0], Lorenz96())


def test_maps_show_the_fields_and_the_observed_points(cycles):
    figure = figure_fields(Frame.of(cycles[0], MODEL))
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) == 4
    frame = Frame.of(cycles[0], MODEL)
    for axes, field in zip(panels, (frame.truth, frame.mean, frame.error, frame.spread), strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), field)
    x, y = panels[0].lines[0].get_data()
    np.testing.assert_allclose(x, MODEL.coords["x"][[3, 8]])
    np.testing.assert_allclose(y, MODEL.coords["y"][[0, 2]])
    full = figure_fields(replace(frame, observed=np.ones((16, 16), bool)))
    assert not len(full.axes[0].lines[0].get_xdata()) and full.get_suptitle().endswith(" K on this level")


def test_maps_are_where_the_grid_is_on_scales_that_fit(cycles):
    """Centres of cells are grid points, rows go up, errors are symmetric."""
    frame = Frame.of(cycles[0], MODEL)
    figure = figure_fields(frame)
    step = MODEL.coords["x"][1]
    for image in (axes.images[0] for axes in figure.axes if axes.images):
        np.testing.assert_allclose(image.get_extent(), [-step / 2, 15.5 * step] * 2)
        assert image.origin == "lower"
    for image in (axes.images[0] for axes in figure.axes[:2]):
        assert image.get_clim() == tuple(np.quantile(frame.truth, (0.005, 0.995)))
    error, spread = (figure.axes[k].images[0] for k in (2, 3))
    assert error.norm.vmin == -error.norm.vmax < 0 == spread.norm.vmin < spread.norm.vmax
    assert f"RMSE {np.sqrt(np.mean(frame.error**2)):.3g} K" in figure.get_suptitle()
    perfect = figure_fields(replace(frame, mean=frame.truth, spread=0 * frame.spread))
    assert [perfect.axes[k].images[0].get_clim() for k in (2, 3)] == [(-1.0, 1.0), (0.0, 1.0)]


def save(cycles, path, model=MODEL):
    writer.save(path, cycles, model=model, time_units="seconds")
    return path


def test_animations_of_a_folder_on_the_command_line(cycles, tmp_path, capsys):
    save(cycles, tmp_path / "letkf_seed1.nc")
    (tmp_path / "other.nc").write_text("not of a run")
    assert main(["report", str(tmp_path), "--animate"]) == 0
    assert capsys.readouterr().out == f"wrote {tmp_path / 'letkf_seed1.gif'}\n"
    assert (tmp_path / "letkf_seed1.gif").stat().st_size > 10_000
    assert main(["report", str(tmp_path / "nowhere"), "--animate"]) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert main(["report", "--animate"]) == 2
    assert "name one folder" in capsys.readouterr().err


def test_frames_of_a_file_and_an_animation(cycles, tmp_path):
    read = list(frames(save(cycles, tmp_path / "run.nc"), 1))
    assert len(read) == 3
    for frame, cycle in zip(read, cycles, strict=True):
        same = Frame.of(cycle, MODEL, 1)
        for name in ("truth", "mean", "error", "spread", "x", "y", "observed"):
            np.testing.assert_allclose(getattr(frame, name), getattr(same, name), atol=1e-5)
        assert frame.labels == same.labels == ("x (m)", "y (m)") and frame.time_units == "seconds"
    figure = figure_fields(read[0])
    assert figure.get_suptitle().startswith(f"time {read[0].time:g} seconds, RMSE ")
    assert figure.get_suptitle().endswith("K on this level; dots: observed")
    assert [figure.axes[2].get_xlabel(), figure.axes[2].get_ylabel()] == ["x (m)", "y (m)"]
    path = animate(read, tmp_path / "run.gif", rate=4)
    from PIL import Image

    with Image.open(path) as image:
        assert image.n_frames == 3 and image.info["duration"] == 250


def test_an_animation_shows_every_cycle_in_its_turn(cycles, tmp_path, monkeypatch):
    shown, grab = [], PillowWriter.grab_frame

    def noted(writer, **options):
        shown.append((writer.fig.get_suptitle(), writer.fig.axes[0].images[0].get_array()))
        grab(writer, **options)

    monkeypatch.setattr(PillowWriter, "grab_frame", noted)
    made = [Frame.of(cycle, MODEL) for cycle in cycles]
    animate(iter(made), tmp_path / "run.gif")
    for (title, field), frame in zip(shown, made, strict=True):
        assert title.startswith(f"time {frame.time:g}, RMSE ")
        np.testing.assert_array_equal(field, frame.truth)


def test_panels_of_an_animation_stay_where_they_are(cycles, tmp_path, monkeypatch):
    places, grab = [], PillowWriter.grab_frame

    def noted(writer, **options):
        grab(writer, **options)
        places.append([axes.get_position().bounds for axes in writer.fig.axes])

    monkeypatch.setattr(PillowWriter, "grab_frame", noted)
    animate((Frame.of(cycle, MODEL) for cycle in cycles), tmp_path / "run.gif")
    assert places[0] == places[1] == places[2]


def test_the_first_level_if_none_is_said(cycles, tmp_path):
    (frame,) = frames(save(cycles[:1], tmp_path / "run.nc"))
    np.testing.assert_array_equal(frame.truth, cycles[0].truth.reshape(MODEL.shape)[0].astype(np.float32))


def test_a_file_without_maps_is_refused(rng, tmp_path):
    model = Lorenz96(8)
    truth, members = rng.normal(size=8), rng.normal(size=(4, 8))
    cycle = Cycle(0, 1.0, truth, Observation(truth[:4], Select(range(4)), 1.0), members, Analysis(members), 0.0, 0.0)
    with pytest.raises(ValueError, match="run.nc has no truth and analysis of two dimensions"):
        next(frames(save([cycle], tmp_path / "run.nc", model)))


def test_animation_refuses_what_it_cannot_write(cycles, tmp_path):
    frame = Frame.of(cycles[0], MODEL)
    with pytest.raises(ValueError, match="name a .gif"):
        animate([frame], tmp_path / "run.xyz")
    with pytest.raises(ValueError, match="no cycle"):
        animate([], tmp_path / "run.gif")
    assert not list(tmp_path.iterdir())
