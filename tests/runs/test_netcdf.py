"""Files of cycles: round trips through xarray, kills, refusals, and the conventions they follow."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import array_api_strict
import netCDF4
import numpy as np
import pytest
import xarray as xr
from compliance_checker.suite import CheckSuite

from ensf import diagnostics
from ensf.filters import Analysis
from ensf.models.sqg import SQG, SQGTemperature
from ensf.observations import Identity, Observation, Pointwise, Select, arctan
from ensf.runs.netcdf import variables as output
from ensf.runs.netcdf.variables import ABSENT, MISSING, USED
from ensf.runs.netcdf.writer import Writer, read
from ensf.runs.netcdf.writer import save as write_all

MEMBERS = 6


@dataclass(frozen=True)
class Grid:
    """What Writer needs of a model."""

    shape: tuple
    dims: tuple
    coords: dict = field(default_factory=dict)
    coord_units: dict = field(default_factory=dict)
    variable: str = "x"
    long_name: str = "toy variable"
    units: str = "1"
    standard_name: str = ""


RING = Grid((40,), ("i",), {"i": np.arange(40)})
BOX = Grid(
    (2, 4, 5),
    ("z", "y", "x"),
    {"z": np.array([0.0, 1e4]), "y": np.arange(4.0), "x": np.arange(5.0)},
    {"z": "m", "y": "m", "x": "m"},
    "q",
    "vertical derivative of the streamfunction",
    "m s-1",
)
WAVES = SQGTemperature(SQG(n=16))
GLOBE = Grid((3, 4), ("latitude", "longitude"), {"latitude": np.arange(3.0), "longitude": np.arange(4.0)}, units="m")


def make(grid, count=5, dtype=np.float32, operator=None, position=None, seed=1):
    """Cycles of random numbers."""
    rng = np.random.default_rng(seed)
    size = int(np.prod(grid.shape))
    operator = operator or Identity()
    for index in range(count):
        truth, forecast, analysis = (
            rng.standard_normal(shape).astype(dtype) for shape in (size, (MEMBERS, size), (MEMBERS, size))
        )
        value = operator(truth) + dtype(0.5)
        value[index % len(value)] = np.nan
        observation = Observation(value, operator, 0.5, position)
        yield SimpleNamespace(
            index=index,
            time=0.05 * (index + 1),
            truth=truth,
            observation=observation,
            forecast=forecast,
            analysis=Analysis(analysis),
            observed_forecast=forecast,
            observed_analysis=analysis,
            lag=0,
            earlier_truths=(),
            measured={},
        )


def save(path, cycles, grid=RING, observations=40, **options):
    write_all(path, cycles, model=grid, observations=observations, **options)


# --- spectra ---------------------------------------------------------------------------------------------


def ring_power(field):
    """Power ``(level, wavenumber)`` of one field by the full transform, ring by ring."""
    waves = np.abs(np.fft.fft2(field, norm="forward")) ** 2
    m = np.fft.fftfreq(16, 1 / 16)
    ring = np.minimum(np.rint(np.hypot(m[:, None], m)), 8)
    return np.stack([waves[..., ring == k].sum(axis=-1) for k in range(9)], axis=-1)


def kinetic_energy(states):
    """Power ``(wavenumber,)``, mean over levels, sum over members."""
    wind = WAVES.model.wind(np.atleast_2d(states) / WAVES.model.kelvin)
    return sum(ring_power(w.reshape(-1, 2, 16, 16)).mean(axis=1).sum(axis=0) / 2 for w in wind)


def test_spectra_of_truth_error_and_spread(tmp_path):
    cycles = list(make(WAVES, dtype=np.float64))
    save(tmp_path / "run.nc", cycles, WAVES, observations=512)
    with read(tmp_path / "run.nc") as file:
        assert file.wavenumber.values.tolist() == list(range(9))
        assert file.wavenumber.attrs == {"long_name": "total wavenumber, cycles per period", "units": "1"}
        for index, cycle in enumerate(cycles):
            spectra = {name: file[f"kinetic_energy_spectrum_{name}"].values[index] for name in output.SPECTRA}
            expected = {"truth": cycle.truth}
            np.testing.assert_allclose(spectra["truth"], kinetic_energy(cycle.truth), rtol=1e-5, atol=1e-9)
            for stage, members in (("forecast", cycle.forecast), ("analysis", cycle.analysis.ensemble)):
                expected[f"{stage}_error"] = members.mean(axis=0) - cycle.truth
                expected[f"{stage}_spread"] = (members - members.mean(axis=0)) / np.sqrt(MEMBERS - 1)
            for name, states in expected.items():
                np.testing.assert_allclose(spectra[name], kinetic_energy(states), rtol=1e-5, atol=1e-9, err_msg=name)


def test_spectra_sum_to_the_mean_square(tmp_path):
    (cycle,) = make(WAVES, 1)
    save(tmp_path / "run.nc", [cycle], WAVES, observations=512)
    with read(tmp_path / "run.nc") as file:
        for name, states in (("truth", cycle.truth), ("analysis_error", cycle.analysis.ensemble.mean(0) - cycle.truth)):
            square = sum((field**2).mean() for field in WAVES.spectral_fields(states))
            assert float(file[f"kinetic_energy_spectrum_{name}"].sum()) == pytest.approx(square, rel=1e-5)
        spread = sum(w.var(axis=0, ddof=1).mean() for w in WAVES.spectral_fields(cycle.analysis.ensemble))
        assert float(file.kinetic_energy_spectrum_analysis_spread.sum()) == pytest.approx(spread, rel=1e-5)


def test_attributes_of_spectra(tmp_path):
    save(tmp_path / "run.nc", make(WAVES, 1), WAVES, observations=512)
    with read(tmp_path / "run.nc") as file:
        error = file.kinetic_energy_spectrum_analysis_error
        assert error.dims == ("time", "wavenumber") and error.dtype == np.float32
        assert error.attrs == {
            "long_name": "kinetic energy by total wavenumber, mean over levels, error of the mean of the analysis",
            "units": "m2 s-2",
            "coverage_content_type": "qualityInformation",
        }


@pytest.mark.parametrize("grid", [RING, BOX], ids=["ring", "box"])
def test_models_without_spectral_fields_have_no_spectra(tmp_path, grid):
    save(tmp_path / "run.nc", make(grid, 1), grid)
    with read(tmp_path / "run.nc") as file:
        assert "wavenumber" not in file.sizes and not [name for name in file if "spectrum" in name]


def test_spectra_need_two_dimensions(tmp_path):
    line = SimpleNamespace(shape=(40,), dims=("i",), spectral_fields=lambda states: (states,))
    with pytest.raises(ValueError, match="spectra need two dimensions"):
        Writer.create(tmp_path / "run.nc", next(make(RING, 1)), model=line)


def test_spectra_of_arrays_of_another_device():
    xp, device = array_api_strict, array_api_strict.Device("device1")
    (cycle,) = make(WAVES, 1)
    there = SimpleNamespace(
        truth=xp.asarray(cycle.truth, device=device),
        forecast=xp.asarray(cycle.forecast, device=device),
        analysis=Analysis(xp.asarray(cycle.analysis.ensemble, device=device)),
    )
    one, other = (diagnostics.cycle_spectra(c, WAVES.shape, WAVES.spectral_fields) for c in (cycle, there))
    for name, values in one.items():
        np.testing.assert_allclose(other[name], values, rtol=1e-4, atol=1e-6 * values.max())


# --- round trip ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [RING, BOX], ids=["ring", "box"])
def test_values_come_back_exactly(tmp_path, grid):
    cycles = list(make(grid))
    save(tmp_path / "run.nc", cycles, grid)
    with xr.open_dataset(tmp_path / "run.nc") as file:
        assert file.sizes == {
            **dict(zip(grid.dims, grid.shape, strict=True)),
            "time": 5,
            "realization": MEMBERS,
            "rank": MEMBERS + 1,
            "observation": 40,
        }
        assert file.time.values[2] == np.datetime64("2000-01-01T03:36:00")
        for index, cycle in enumerate(cycles):
            record = file.isel(time=index)
            truth = record[f"{grid.variable}_truth"]
            assert truth.dims == grid.dims and truth.dtype == np.float32
            assert (truth.values.ravel() == cycle.truth).all()
            for stage, ensemble in (("forecast", cycle.forecast), ("analysis", cycle.analysis.ensemble)):
                mean, spread = (record[f"{grid.variable}_{stage}_{what}"].values.ravel() for what in ("mean", "spread"))
                assert np.allclose(mean, ensemble.mean(axis=0), atol=1e-6)
                assert np.allclose(spread, ensemble.std(axis=0, ddof=1), atol=1e-6)
            for name, value in diagnostics.scores(cycle).items():
                assert record[name].item() == value
            ranks = diagnostics.rank_histogram(cycle.analysis.ensemble, cycle.truth)
            assert (record.rank_histogram.values == ranks).all()


def test_observations_come_back(tmp_path):
    position = np.stack([np.arange(30.0), np.zeros(30)], axis=1)
    operator = Pointwise(arctan, Select(range(30)))
    cycles = list(make(RING, 3, operator=operator, position=position))
    few = Pointwise(arctan, Select(range(20)))
    cycles[1].observation = Observation(cycles[1].observation.value[:20], few, 0.7, position[:20])
    save(tmp_path / "run.nc", cycles, observations=32)
    with read(tmp_path / "run.nc") as file:
        assert file.observation_value.attrs["units"] == "1"
        for record, cycle in zip((file.isel(time=k) for k in range(3)), cycles, strict=True):
            size = cycle.observation.size
            value = record.observation_value.values
            assert np.array_equal(value[:size], cycle.observation.value, equal_nan=True)
            assert np.isnan(value[size:]).all()
            flags = np.where(np.isnan(cycle.observation.value), MISSING, USED)
            assert record.observation_qc.values.tolist() == [*flags, *[ABSENT] * (32 - size)]
            assert np.allclose(record.observation_error.values[:size], cycle.observation.error)
            predicted = cycle.observation.operator(cycle.forecast)
            assert np.allclose(record.observation_forecast_mean[:size], predicted.mean(axis=0), atol=1e-6)
            assert np.allclose(record.observation_forecast_spread[:size], predicted.std(axis=0, ddof=1), atol=1e-6)
            assert (record.observation_position.values[:size] == position[:size]).all()
            assert record.observation_index.values.tolist() == [*range(size), *[-1] * (32 - size)]


@pytest.mark.parametrize(
    ("operator", "units"),
    [(Identity(), "m s-1"), (Select(range(30)), "m s-1"), (Pointwise(arctan, Select(range(30))), "1")],
)
def test_units_are_the_models_unless_a_function_is_observed(tmp_path, operator, units):
    save(tmp_path / "run.nc", make(BOX, 1, operator=operator), BOX, observations=operator(np.zeros(40)).size)
    with read(tmp_path / "run.nc") as file:
        for name in ("value", "error", "forecast_mean", "analysis_spread"):
            assert file[f"observation_{name}"].attrs["units"] == units
        assert file.q_truth.attrs["units"] == file.rmse_analysis.attrs["units"] == "m s-1"
        assert file.chi2.attrs["units"] == "1"


def test_attributes_say_what_a_variable_is(tmp_path):
    save(tmp_path / "run.nc", make(BOX, 1), replace(BOX, standard_name="eastward_wind"))
    with read(tmp_path / "run.nc") as file:
        for name in ("q_forecast", "q_analysis", "observation_forecast", "observation_analysis"):
            assert file[f"{name}_mean"].attrs["cell_methods"] == "realization: mean"
            assert file[f"{name}_spread"].attrs["cell_methods"] == "realization: standard_deviation"
        assert file.q_truth.attrs["standard_name"] == file.q_analysis_mean.attrs["standard_name"] == "eastward_wind"
        assert file.bias_forecast.attrs["long_name"] == "mean error of the mean of the forecast"
        assert file.chi2.attrs["long_name"].startswith("normalised squared innovation, 1 on average")
    save(tmp_path / "none.nc", make(BOX, 1), BOX)
    with read(tmp_path / "none.nc") as file:
        assert "standard_name" not in file.q_truth.attrs


def test_an_error_law_without_a_standard_deviation(tmp_path):
    cycle = next(make(RING, 1))
    law = SimpleNamespace(log_density=None, is_gaussian=False, check=lambda value: None, restrict=lambda index: law)
    cycle.observation = Observation(cycle.observation.value, Identity(), law)
    save(tmp_path / "run.nc", [cycle])
    with read(tmp_path / "run.nc") as file:
        assert np.isnan(file.observation_error).all() and np.isfinite(file.observation_forecast_mean).all()


def test_members_of_every_second_cycle(tmp_path):
    cycles = list(make(BOX))
    save(tmp_path / "run.nc", cycles, BOX, every=2)
    with read(tmp_path / "run.nc") as file:
        assert file.q_forecast.dims == ("time", "realization", "z", "y", "x")
        for index, cycle in enumerate(cycles):
            written = file.q_analysis.values[index].reshape(MEMBERS, -1)
            assert np.isnan(written).all() if index % 2 else (written == cycle.analysis.ensemble).all()


@pytest.mark.parametrize("grid", [BOX, WAVES], ids=["box", "waves"])
def test_a_file_with_members_is_made_again_from_its_journal(tmp_path, grid):
    path, journal = tmp_path / "run.nc", tmp_path / "journal"
    save(path, make(grid), grid, int(np.prod(grid.shape)), every=2, journal=journal)
    with read(path) as file:
        before = file.load()
    Writer.resume(path, journal, 5, model=grid, every=2).close()
    with read(path) as file:
        xr.testing.assert_equal(file.load(), before)


def test_a_journal_without_the_spectra_of_its_model_is_refused(tmp_path):
    path, journal = tmp_path / "run.nc", tmp_path / "journal"
    silent = SimpleNamespace(shape=WAVES.shape, dims=WAVES.dims)
    save(path, make(silent), silent, int(np.prod(WAVES.shape)), journal=journal)
    with pytest.raises(ValueError, match="wrote no spectra: run anew"):
        Writer.resume(path, journal, 5, model=WAVES)


def test_scores_of_ones_own_become_variables(tmp_path):
    names, cycles = ("rmse_analysis", "inflation", "my_number"), list(make(RING, 2))
    with Writer.create(tmp_path / "run.nc", cycles[0], model=RING, scores=names) as writer:
        for cycle in cycles:
            writer.write(cycle, {"rmse_analysis": 0.5, "inflation": 1.0 + cycle.index, "my_number": 3.0})
    with read(tmp_path / "run.nc") as file:
        assert file.inflation.values.tolist() == [1, 2]
        assert file.my_number.attrs["long_name"] == "my number"
        assert file.rmse_analysis.values.tolist() == [0.5, 0.5]


def test_the_recipe_is_in_the_attributes(tmp_path):
    recipe = {
        "title": "a run",
        "seed": 3,
        "command": "ensf run x",
        "model": repr(RING),
        "references": "",
        "note": None,
    }
    save(tmp_path / "run.nc", make(RING, 2), attributes=recipe)
    with read(tmp_path / "run.nc") as file:
        assert file.attrs["title"] == "a run" and file.attrs["seed"] == 3
        assert file.attrs["model"] == repr(RING) and "ensf run x" in file.attrs["history"]
        assert not {"references", "note"} & set(file.attrs)


@pytest.mark.parametrize(
    ("units", "times", "date"),
    [
        ("seconds", (60.0, 86400.0), "2000-01-02T00:00:00"),
        ("minutes", (1.0, 90.0), "2000-01-01T01:30:00"),
        ("hours", (24.0, 36.0), "2000-01-02T12:00:00"),
        ("days", (1.0, 2.5), "2000-01-03T12:00:00"),
        ("1", (1.0, 2.5), "2000-01-03T12:00:00"),
        ("years", (1948.0, 2004.5), "2004-07-02T00:00:00"),
        ("years", (1948.0, 2004.75), "2004-10-01T12:00:00"),
    ],
)
def test_time_is_a_date(tmp_path, units, times, date):
    cycles = list(make(RING, 2))
    for cycle, time in zip(cycles, times, strict=True):
        cycle.time = time
    save(tmp_path / "run.nc", cycles, time_units=units)
    with xr.open_dataset(tmp_path / "run.nc") as file:
        assert file.time.values[1] == np.datetime64(date)
        assert file.attrs["time_coverage_end"].startswith(date[:10])
        assert ("comment" in file.time.attrs) == (units == "1")


def test_arrays_of_another_device(tmp_path):
    device = array_api_strict.Device("device1")
    host = next(make(RING, 1))
    truth, value, forecast, analysis = (
        array_api_strict.asarray(array, device=device)
        for array in (host.truth, host.observation.value, host.forecast, host.analysis.ensemble)
    )
    there = {"truth": truth, "forecast": forecast, "analysis": Analysis(analysis)}
    there |= {"observed_forecast": forecast, "observed_analysis": analysis}
    moved = SimpleNamespace(**vars(host) | there | {"observation": Observation(value, Identity(), 0.5)})
    save(tmp_path / "host.nc", [host])
    save(tmp_path / "moved.nc", [moved])
    with read(tmp_path / "host.nc") as one, read(tmp_path / "moved.nc") as other:
        xr.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_an_overflow_is_written_without_a_warning(tmp_path, recwarn):
    cycle = next(make(RING, 1, np.float64))
    cycle.forecast[0] = 1e200
    save(tmp_path / "run.nc", [cycle])
    assert not recwarn.list
    with read(tmp_path / "run.nc") as file:
        assert np.isinf(file.x_forecast_mean).all()


# --- interrupted -----------------------------------------------------------------------------------------

KILLED = """
import sys
sys.path.insert(0, sys.argv[2])
from test_netcdf import RING, Writer, make
cycles = list(make(RING, 110))
writer = Writer.create(sys.argv[1], cycles[0], model=RING, every=3)
for cycle in cycles:
    writer.write(cycle)
print("written", flush=True)
sys.stdin.read()
"""


def test_a_killed_run_leaves_every_finished_cycle(tmp_path):
    path = tmp_path / "run.nc"
    command = [sys.executable, "-c", KILLED, str(path), os.path.dirname(__file__)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "written\n"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    with xr.open_dataset(path) as file:
        assert file.sizes["time"] == 110
        assert np.isfinite(file.rmse_analysis.values).all()
        for index, cycle in enumerate(make(RING, 110)):
            assert (file.x_truth.values[index] == cycle.truth).all()
            if index % 3 == 0:
                assert (file.x_analysis.values[index] == cycle.analysis.ensemble).all()


FULL = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from test_netcdf import RING, Writer, make
cycles = list(make(RING, 120))
with Writer.create(sys.argv[1], cycles[0], model=RING) as writer:
    writer.write(cycles[0])
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
    for cycle in cycles[1:]:
        writer.write(cycle)
"""


def test_a_full_disk_is_one_sentence(tmp_path):
    command = [sys.executable, "-c", FULL, str(tmp_path / "run.nc"), os.path.dirname(__file__)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert "OSError: cycle" in result.stderr.splitlines()[-1]
    assert "is the disk full?" in result.stderr.splitlines()[-1]


def test_the_file_can_be_closed_twice(tmp_path):
    writer = Writer.create(tmp_path / "run.nc", next(make(RING, 1)), model=RING)
    writer.close()
    writer.close()
    with read(tmp_path / "run.nc") as file:
        assert file.sizes["time"] == 0


# --- refused ---------------------------------------------------------------------------------------------


def test_an_existing_file_is_not_touched(tmp_path):
    path = tmp_path / "run.nc"
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError, match=r"run\.nc exists: write elsewhere, or say overwrite"):
        Writer.create(path, next(make(RING, 1)), model=RING)
    assert path.read_bytes() == b"precious"
    save(path, make(RING, 1), overwrite=True)
    with read(path) as file:
        assert file.sizes["time"] == 1


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder .*nowhere: make it"):
        Writer.create(tmp_path / "nowhere" / "run.nc", next(make(RING, 1)), model=RING)


def test_a_folder_without_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match="cannot be written"):
        Writer.create(tmp_path / "run.nc", next(make(RING, 1)), model=RING)
    assert not list(tmp_path.iterdir())


def test_an_unknown_unit_of_time_makes_no_file(tmp_path):
    with pytest.raises(ValueError, match="unknown unit of time 'fortnights'"):
        Writer.create(tmp_path / "run.nc", next(make(RING, 1)), model=RING, time_units="fortnights")
    assert not list(tmp_path.iterdir())


def test_cycles_that_do_not_fit_are_refused(tmp_path):
    first, second = make(RING, 2)
    few = SimpleNamespace(**vars(second) | {"forecast": second.forecast[:, :39]})
    with Writer.create(tmp_path / "run.nc", first, model=RING, observations=39) as writer:
        with pytest.raises(ValueError, match="cycle 0 has 40 observations but .* was made for 39"):
            writer.write(first)
        with pytest.raises(ValueError, match=r"the forecast of cycle 1 has shape \(6, 39\) but .* made for \(6, 40\)"):
            writer.write(few)


def test_no_cycle_is_no_file(tmp_path):
    with pytest.raises(ValueError, match="there is no cycle to write to .*run.nc"):
        save(tmp_path / "run.nc", [])
    assert not list(tmp_path.iterdir())


def test_read_names_a_missing_or_damaged_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file .*run.nc"):
        read(tmp_path / "run.nc")
    (tmp_path / "run.nc").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(ValueError, match="not a NetCDF file, or damaged"):
        read(tmp_path / "run.nc")


# --- storage and conventions -----------------------------------------------------------------------------


def test_large_fields_are_compressed_one_chunk_each_and_small_ones_share(tmp_path):
    large = Grid((2, 64, 64), ("z", "y", "x"))
    save(tmp_path / "run.nc", make(large, 2), large, observations=2 * 64 * 64, every=1)
    with netCDF4.Dataset(tmp_path / "run.nc") as file:
        assert file["x_truth"].chunking() == [1, 2, 64, 64]
        assert file["x_forecast"].chunking() == [1, 1, 2, 64, 64]
        filters = file["x_truth"].filters()
        assert filters["zlib"] and filters["shuffle"] and filters["complevel"] == 1
        assert file["rmse_analysis"].chunking() == [512] and not file["rmse_analysis"].filters()["zlib"]


def complaints(path, suite):
    """Messages by weight (3 high, 2 medium, 1 low)."""
    CheckSuite.load_all_available_checkers()
    checker = CheckSuite()
    file = checker.load_dataset(str(path))
    ((groups, errors),) = checker.run_all(file, [suite]).values()
    file.close()
    assert not errors
    found = {1: [], 2: [], 3: []}
    for result in leaves(groups):
        found[result.weight] += result.msgs or []
    return found


def leaves(results):
    for result in results:
        if result.children:
            yield from leaves(result.children)
        else:
            yield result


@pytest.fixture(params=[RING, BOX, GLOBE, WAVES], ids=["ring", "box", "globe", "waves"])
def example(request, tmp_path):
    size = int(np.prod(request.param.shape))
    cycles = make(request.param, position=np.zeros((size, 2)))
    save(tmp_path / "run.nc", cycles, request.param, observations=size, every=2, attributes={"seed": 3})
    return tmp_path / "run.nc"


FALSE_POSITIVE = "cell_methods name component realization does not match a dimension, area or auxiliary coordinate"


def test_files_follow_cf(example):
    found = complaints(example, "cf:1.11")
    assert [message for message in found[1] + found[2] + found[3] if FALSE_POSITIVE not in message] == []


NOBODY_KNOWS = ("geospatial", "publisher", "creator_url", "creator_email", "acknowledgment")


def test_files_follow_acdd(example):
    found = complaints(example, "acdd:1.3")
    assert set(found[3]) == {"standard_name"}  # toy variables and scores have none
    assert [message for message in found[2] if not message.startswith(NOBODY_KNOWS)] == []
