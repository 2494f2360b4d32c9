"""Figures from the files of a run: what is drawn is what the files hold, and nothing breaks on short or lost runs."""

import subprocess
import sys
from contextlib import ExitStack
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import xarray as xr

from ensf.filters import Analysis
from ensf.models.sqg import SQG, SQGTemperature
from ensf.observations import Identity, Observation
from ensf.plot import figure_board, figure_ranks, figure_rmse, figure_spectra, figure_states, folder, report
from ensf.plot.fields import figure_fields
from ensf.plot.reading import read_runs
from ensf.plot.style import INK, PALETTE
from ensf.runs.netcdf.writer import Writer, read
from ensf.twin import Cycle

RING = SimpleNamespace(shape=(12,), dims=("i",), coords={"i": np.arange(12)}, units="K", long_name="temperature")
TINY = SimpleNamespace(shape=(3,), dims=("i",), coords={"i": np.arange(3)})
GRID = {"latitude": np.linspace(30, 60, 4), "longitude": np.linspace(0, 50, 6)}
MAP = SimpleNamespace(shape=(4, 6), dims=("latitude", "longitude"), coords=GRID, units="m")
ROW = SimpleNamespace(shape=(1, 6), dims=("y", "x"), units="m")
LEVELS = SimpleNamespace(shape=(2, 4, 6), dims=("z", "y", "x"), coords={"z": np.array([0.0, 9e3])}, units="K")
WAVES = SQGTemperature(SQG(n=16))
MEMBERS = 5


def write(folder, method, seed, model=RING, cycles=6, error=0.5, rmse=None, climatology=3.0, burn_in=1.0, units="1"):
    """One file as `ensf run` writes it; truth and ensemble are noise, the score `rmse` is given."""
    size = int(np.prod(model.shape))
    rng = np.random.default_rng(seed)
    rmse = np.full(cycles, error) if rmse is None else rmse
    attributes = {"experiment": "small", "seed": seed, "ensf_burn_in": burn_in, "ensf_climatology": climatology}
    path = folder / f"{method}_seed{seed}.nc"

    def cycle(index):
        truth = 2 * rng.standard_normal(size)
        ensemble = truth + error * (1 + rng.standard_normal((MEMBERS, size)))
        observation = Observation(truth, Identity(), 0.25)
        return Cycle(index, 0.5 * (index + 1), truth, observation, ensemble, Analysis(ensemble), 0.0, 0.0)

    made, about = [cycle(index) for index in range(cycles)], {"attributes": attributes, "time_units": units}
    first = made[0] if made else cycle(0)
    names = ("rmse_analysis", "spread_analysis")
    with Writer.create(path, first, model=model, scores=names, **about) as writer:
        for one in made:
            writer.write(one, {"rmse_analysis": rmse[one.index], "spread_analysis": 0.9 * rmse[one.index]})
    return path


@pytest.fixture
def runs(request, tmp_path):
    """Open datasets of two methods and two seeds; the model is the parameter."""
    model = getattr(request, "param", RING)
    paths = {name: [write(tmp_path, name, seed, model) for seed in (1, 2)] for name in ("letkf", "ensf")}
    opened = {name: [read(path) for path in several] for name, several in paths.items()}
    yield opened
    for dataset in sum(opened.values(), []):
        dataset.close()


def texts(figure):
    """Every word in a figure."""
    return "\n".join(artist.get_text() for artist in figure.findobj(matplotlib.text.Text))


def meshes(figure):
    return [axes.collections[0] for axes in figure.axes if axes.get_title("left") and axes.collections]


def in_pixels(path):
    return matplotlib.image.imread(path).shape[1::-1]


@pytest.mark.parametrize(
    ("model", "cycles", "methods"),
    [
        (TINY, 1, ["letkf"]),
        (RING, 4, ["ensf", "letkf"]),
        (MAP, 1, ["letkf"]),
        (ROW, 2, ["letkf"]),
        (LEVELS, 4, ["letkf"]),
        (WAVES, 4, ["letkf"]),
    ],
)
def test_report_draws_every_kind_of_model(tmp_path, model, cycles, methods):
    for method in methods:
        write(tmp_path, method, 1, model, cycles)
    paths = report(tmp_path)
    maps = [f"maps_{method}.png" for method in methods] if len(model.shape) > 1 else []
    spectra = ["spectra.png"] if model is WAVES else []
    assert [path.name for path in paths] == ["rmse.png", "ranks.png", "states.png", *spectra, *maps]
    assert all(in_pixels(path)[0] >= 1000 for path in paths)


def test_report_names_the_folder_without_files(tmp_path):
    with pytest.raises(ValueError, match="METHOD_seedN.nc"):
        report(tmp_path)


def test_report_says_that_nothing_finished(tmp_path):
    write(tmp_path, "letkf", 1, cycles=0)
    with pytest.raises(ValueError, match="no file in .* has a finished cycle"):
        report(tmp_path)


def test_report_names_a_damaged_file(tmp_path):
    write(tmp_path, "letkf", 1)
    (tmp_path / "letkf_seed2.nc").write_bytes(b"CDF?")
    with pytest.raises(ValueError, match="letkf_seed2.nc cannot be read"):
        report(tmp_path)


def test_time_in_years_is_shown_as_years(tmp_path):
    write(tmp_path, "m", 1, MAP, 20, burn_in=0.0, units="years")
    with ExitStack() as stack:
        figure = figure_rmse(read_runs(tmp_path, stack))
    assert figure.axes[0].get_xlabel() == "time (years)"
    assert figure.axes[0].lines[0].get_xdata()[[0, -1]] == pytest.approx([0.5, 10], abs=0.005)


def test_report_survives_an_unfinished_a_short_and_a_lost_run(tmp_path):
    write(tmp_path, "letkf", 1, cycles=0)
    write(tmp_path, "letkf", 2, cycles=2)
    write(tmp_path, "letkf", 3, cycles=300)
    write(tmp_path, "ensf", 2, cycles=300, rmse=np.where(np.arange(300) < 9, 0.5, np.nan))
    write(tmp_path, "map", 2, cycles=3, rmse=np.full(3, np.nan))
    assert len(report(tmp_path)) == 3


def test_the_library_draws_without_global_state(tmp_path):
    write(tmp_path, "letkf", 1)
    code = (
        "import sys, ensf.plot as plot; assert 'matplotlib' not in sys.modules\n"
        f"plot.report({str(tmp_path)!r}); assert 'matplotlib.pyplot' not in sys.modules\n"
        "import matplotlib as m; assert m.rcParams['font.size'] == m.rcParamsDefault['font.size']"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- scores ----------------------------------------------------------------------------------------------


def test_rmse_says_what_it_shows(runs):
    words = texts(figure_rmse(runs))
    for expected in (
        "small, seeds 1–2", "RMSE and spread (K)", "time (dimensionless)", "letkf (5 members): RMSE 0.5",
        "ensf (5 members)", "observation error 0.25", "climatology 3", "burn-in",
    ):  # fmt: skip
        assert expected in words


def test_rmse_is_the_median_within_the_range_of_seeds(tmp_path):
    values = {1: [1.0, 2.0, 3.0], 2: [3.0, 2.5, 3.5], 3: [1.5, 9.0]}
    runs = [read(write(tmp_path, "m", seed, cycles=len(v), rmse=np.array(v))) for seed, v in values.items()]
    axes = figure_rmse({"m": runs}).axes[0]
    solid = next(line for line in axes.lines if line.get_label().startswith("m "))
    assert solid.get_ydata() == pytest.approx([1.5, 2.5, 3.25])
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == 1.0
    assert band[:, 1].max() == 9.0


@pytest.mark.parametrize(("burn_in", "said"), [(1.0, "after burn-in"), (9.0, "ends within its burn-in")])
def test_captions_say_over_which_cycles_means_are(tmp_path, burn_in, said):
    write(tmp_path, "m", 1, WAVES, 6, burn_in=burn_in)
    with ExitStack() as stack:
        runs = read_runs(tmp_path, stack)
        for figure in (figure_rmse(runs), figure_ranks(runs), figure_spectra(runs)):
            assert said in " ".join(figure.get_suptitle().split())


def test_means_leave_out_the_burn_in(tmp_path):
    rmse = np.array([8.0, 8.0, 0.5, 0.7])
    figure = figure_rmse({"m": [read(write(tmp_path, "m", 1, cycles=4, rmse=rmse))]})
    assert "RMSE 0.6" in texts(figure)
    assert figure.axes[1].lines[0].get_ydata() == pytest.approx([0.6])


def test_diverged_runs_are_counted(tmp_path):
    runs = [read(write(tmp_path, "m", seed, rmse=np.full(6, level))) for seed, level in ((1, 0.2), (2, 2.0))]
    assert "1 of 2 diverged" in texts(figure_rmse({"m": runs}))


@pytest.mark.parametrize(("last", "scale"), [(0.6, "linear"), (0.05, "log")])
def test_scale_is_logarithmic_for_wide_ranges(tmp_path, last, scale):
    rmse = np.linspace(1.0, last, 6)
    path = write(tmp_path, "m", 1, rmse=rmse, climatology=np.inf)
    assert figure_rmse({"m": [read(path)]}).axes[0].get_yscale() == scale


def test_a_blow_up_does_not_squeeze_the_rest(tmp_path):
    rmse = np.array([0.5, 0.5, 1e9, 1e20, 1e30, np.inf])
    top = figure_rmse({"m": [read(write(tmp_path, "m", 1, rmse=rmse))]}).axes[0].get_ylim()[1]
    assert top == pytest.approx(9.0)


def test_long_runs_are_averaged(tmp_path):
    rmse = np.tile([0.4, 0.6], 450)
    figure = figure_rmse({"m": [read(write(tmp_path, "m", 1, TINY, 900, rmse=rmse))]})
    solid = next(line for line in figure.axes[0].lines if line.get_label().startswith("m "))
    assert "Averages over 3 cycles" in texts(figure)
    assert len(solid.get_ydata()) == 300
    assert np.mean(solid.get_ydata()) == pytest.approx(0.5)


def test_the_error_of_another_quantity_is_no_reference(runs):
    other = {name: [run.copy() for run in several] for name, several in runs.items()}
    for run in sum(other.values(), []):
        run["observation_error"].attrs["units"] = "1"
    assert "observation error" in texts(figure_rmse(runs))
    assert "observation error" not in texts(figure_rmse(other))


@pytest.mark.parametrize(("units", "label"), [("hours", "time (hours)"), ("1", "time (dimensionless)")])
def test_time_has_the_unit_of_the_model(tmp_path, units, label):
    figure = figure_rmse({"m": [read(write(tmp_path, "m", 1, units=units))]})
    assert figure.axes[0].get_xlabel() == label


# --- ranks -----------------------------------------------------------------------------------------------


def ranked(counts, cycles=3):
    """A run with this rank histogram in every cycle."""
    counts = np.asarray(counts)
    data = {"rank_histogram": (("time", "rank"), np.tile(counts, (cycles, 1)))}
    coordinates = {"time": np.arange(1.0, cycles + 1), "realization": np.arange(len(counts) - 1)}
    return xr.Dataset(data, coordinates, {"seed": 1, "experiment": "small"})


def bars(axes):
    return np.array([bar.get_height() for bar in axes.patches if hasattr(bar, "get_height")])


def test_ranks_are_relative_to_flat():
    figure = figure_ranks({"flat": [ranked([7] * 6)], "edge": [ranked([6, 0, 0, 0, 0, 6])]})
    assert bars(figure.axes[0]) == pytest.approx(np.ones(6))
    assert bars(figure.axes[1]) == pytest.approx([3, 0, 0, 0, 0, 3])
    words = texts(figure)
    for expected in ("flat (5 members)", "outside all members 100 %, expected 33.3 %", "expected", "number of ranks"):
        assert expected in words


def test_ranks_of_many_members_are_pooled():
    axes = figure_ranks({"m": [ranked(np.ones(801, int))]}).axes[0]
    assert len(bars(axes)) == 30
    assert bars(axes) == pytest.approx(np.ones(30))


def test_seeds_weigh_by_their_counts():
    runs = [ranked([4, 0], cycles=3), ranked([0, 4], cycles=1)]
    assert bars(figure_ranks({"m": runs}).axes[0]) == pytest.approx([1.5, 0.5])


# --- states ----------------------------------------------------------------------------------------------


def test_time_space_diagrams_show_truth_mean_and_error(runs):
    figure = figure_states(runs)
    truth, mean, error = meshes(figure)[:3]
    run = runs["letkf"][0]
    assert np.asarray(truth.get_array()) == pytest.approx(run["x_truth"].values.T)
    assert np.asarray(mean.get_array()) == pytest.approx(run["x_analysis_mean"].values.T)
    assert np.asarray(error.get_array()) == pytest.approx((run["x_analysis_mean"] - run["x_truth"]).values.T, abs=1e-6)
    words = texts(figure)
    for expected in ("small, seed 1", "temperature (K)", "error (K)", "time (dimensionless)", "letkf (5 members)"):
        assert expected in words


def test_methods_share_colours_and_errors_are_symmetric(runs):
    _, first, first_error, second, second_error = meshes(figure_states(runs))
    assert first.norm is second.norm
    assert first_error.norm is second_error.norm
    assert first_error.norm.vmin == -first_error.norm.vmax


def test_the_lost_method_does_not_pale_the_others(tmp_path):
    runs = {f"m{n}": [read(write(tmp_path, f"m{n}", 1, error=error))] for n, error in enumerate((0.5, 50.0))}
    assert meshes(figure_states(runs))[2].norm.vmax < 5


@pytest.mark.parametrize("runs", [TINY], indirect=True)
def test_curves_show_each_variable(runs):
    figure = figure_states(runs)
    assert len(figure.axes) == 6
    truth = next(line for line in figure.axes[2].lines if line.get_label() == "truth")
    assert truth.get_ydata() == pytest.approx(runs["ensf"][0]["x_truth"].values[:, 1])
    mean, spread = (runs["letkf"][0][f"x_analysis_{what}"].values[:, 1] for what in ("mean", "spread"))
    band = figure.axes[2].collections[0].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx((mean + 2 * spread).max())
    assert "x[1] (dimensionless)" in texts(figure)


@pytest.mark.parametrize("runs", [MAP], indirect=True)
def test_maps_show_the_last_cycle(runs):
    figure = figure_states(runs)
    truth = meshes(figure)[0]
    assert np.asarray(truth.get_array()) == pytest.approx(runs["ensf"][0]["x_truth"].values[-1])
    words = texts(figure)
    for expected in ("latitude (°N)", "longitude (°E)", "small, seed 1, time 3", "error, RMSE 0.5", "error (m)"):
        assert expected in words


def test_maps_show_the_last_cycle_that_all_reached(tmp_path):
    runs = {name: [read(write(tmp_path, name, 1, LEVELS, cycles))] for name, cycles in (("a", 6), ("b", 2))}
    figure = figure_states(runs)
    assert np.asarray(meshes(figure)[0].get_array()) == pytest.approx(runs["a"][0]["x_truth"].values[1, 0])
    assert "time 1, z 0" in texts(figure)


def test_states_are_of_a_seed_that_all_methods_share(tmp_path):
    runs = {name: [read(write(tmp_path, name, s)) for s in seeds] for name, seeds in (("a", (1, 3)), ("b", (2, 3)))}
    assert "small, seed 3" in texts(figure_states(runs))


def test_a_method_has_one_colour(runs):
    rmse, ranks, states = figure_rmse(runs), figure_ranks(runs), figure_states(runs)
    line = next(line for line in rmse.axes[0].lines if line.get_label().startswith("ensf "))
    title = {axes.get_title("left"): axes for axes in (*ranks.axes, *states.axes)}
    spine = title["error of ensf"].spines["left"].get_edgecolor()
    bar = ranks.axes[list(runs).index("ensf")].patches[0].get_facecolor()
    assert line.get_color() in PALETTE
    assert bar[:3] == spine[:3] == matplotlib.colors.to_rgb(line.get_color())


# --- spectra and maps ------------------------------------------------------------------------------------


@pytest.mark.parametrize("runs", [WAVES], indirect=True)
def test_spectra_are_means_over_scored_cycles_and_seeds(runs):
    figure = figure_spectra(runs)
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    for method in runs:
        drawn = lines[f"{method} (5 members)"]
        kept = [run.kinetic_energy_spectrum_analysis_error.values[2:, 1:-1] for run in runs[method]]  # time above 1
        assert drawn.get_ydata() == pytest.approx(np.concatenate(kept).mean(axis=0))
        assert drawn.get_xdata().tolist() == list(range(1, 8)) and drawn.get_linestyle() == "-"
        kept = [run.kinetic_energy_spectrum_analysis_spread.values[2:, 1:-1] for run in runs[method]]
        dashed = [x for x in axes.lines if x.get_linestyle() == "--" and x.get_color() == drawn.get_color()]
        assert dashed[0].get_ydata() == pytest.approx(np.concatenate(kept).mean(axis=0))
    assert lines["truth"].get_color() == INK
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    for expected in ("kinetic energy (m2 s-2)", "total wavenumber (cycles per period)", "small, seeds 1–2", "burn-in"):
        assert expected in texts(figure)


def test_spectra_of_a_lost_run_leave_the_others_visible(tmp_path):
    write(tmp_path, "fine", 1, WAVES)
    write(tmp_path, "lost", 1, WAVES, error=1e12)
    write(tmp_path, "gone", 1, WAVES, error=np.nan)
    with ExitStack() as stack:
        (axes,) = figure_spectra(read_runs(tmp_path, stack)).axes
    truth = next(line for line in axes.lines if line.get_label() == "truth").get_ydata()
    assert axes.get_ylim()[1] <= 10 * truth.max()
    assert len(report(tmp_path)) == 4 + 3


def test_maps_of_a_folder_are_of_the_last_cycle_of_the_first_seed(tmp_path, monkeypatch):
    for seed in (3, 2):
        path = write(tmp_path, "letkf", seed, WAVES, 4)
    drawn = []
    monkeypatch.setattr(folder, "figure_fields", lambda *what: drawn.append(what) or figure_fields(*what))
    report(tmp_path)
    ((frame, title),) = drawn
    with read(path) as run:
        np.testing.assert_array_equal(frame.truth, run.theta_truth.values[-1, 0])
        np.testing.assert_array_equal(frame.spread, run.theta_analysis_spread.values[-1, 0])
    assert title == "small, seed 2, letkf (5 members), cycle 4"
    words = figure_fields(frame, title).get_suptitle()
    assert words.startswith(f"{title}\ntime 2 ")


# --- board -----------------------------------------------------------------------------------------------


def test_board_compares_methods_with_the_best():
    table = {"one": {"a": 0.1, "b": 0.2}, "two": {"a": 3.0, "c": np.nan}}
    figure = figure_board(table, {"one": {"b": 2}})
    octaves = figure.axes[0].collections[0].get_array()
    assert octaves[0].filled(np.nan) == pytest.approx([0, 1, np.nan], nan_ok=True)
    assert octaves[1].filled(np.nan) == pytest.approx([0, np.nan, np.nan], nan_ok=True)
    words = texts(figure)
    for expected in ("one", "two", "a", "b", "c", "0.2\n2 lost", "–", "ratio to the best"):
        assert expected in words
