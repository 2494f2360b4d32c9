"""Statistics in observation space, fields, and withheld rows: against numbers that are known."""

from __future__ import annotations

from dataclasses import replace

import netCDF4
import numpy as np
import pytest
import xarray as xr
from offline_files import command, write

from ensf import LETKF, LETSF, RTPS, ForecastInflation, InformationLimit, Localization, Sphere
from ensf.cli import main
from ensf.diagnostics.groups import Departures
from ensf.offline import Offline, analyse_files
from ensf.offline.observe_one import ObserveOne, with_half_width
from ensf.offline.parameter_statistics import of_parameters, words
from ensf.offline.statistics import Bands, append, by_band, lines, pooled, read_statistics, variables_of
from ensf.tables import ObservationTable, read
from ensf.tables.flags import WITHHELD

LETKF_300 = LETKF(Localization(Sphere(), 300.0))


def gaussian(rows=4000, spread=2.0, error=1.0, assumed=1.0, seed=0):
    """Scalar analyses of independent places: everything about them is known."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=rows) * spread
    value = truth + error * rng.normal(size=rows)
    gain = spread**2 / (spread**2 + assumed**2)
    ones = np.ones(rows)
    return Departures(
        value, assumed * ones, 0 * ones, spread * ones, gain * value, np.sqrt(gain) * assumed * ones, gain * ones
    )


def test_statistics_of_a_consistent_analysis_are_what_theory_says():
    numbers = gaussian().statistics()
    for name in ("chi2", "error_ratio", "spread_ratio"):
        assert numbers[name] == pytest.approx(1.0, abs=0.08), name
    assert numbers["prior_rmse"] == pytest.approx(np.sqrt(5), rel=0.04)
    assert numbers["prior_total_spread"] == pytest.approx(np.sqrt(5))
    assert numbers["analysis_spread"] == pytest.approx(np.sqrt(0.8))
    assert numbers["freedom"] == pytest.approx(0.8 * 4000)
    assert numbers["prior_crps"] == pytest.approx(np.sqrt(5) / np.sqrt(np.pi), rel=0.04)


def test_errors_that_are_twice_as_large_show_in_the_error_ratio_alone():
    numbers = gaussian(error=2.0, spread=6.0).statistics()
    assert numbers["error_ratio"] == pytest.approx(4.0 * (36 + 4) / 40 * 40 / 37 / 4, rel=0.1)
    assert numbers["spread_ratio"] == pytest.approx(40 / 37, rel=0.1)


def test_withheld_rows_are_scored_by_the_analysis_and_have_no_ratios():
    numbers = gaussian().statistics(withheld=True)
    assert np.isnan([numbers[name] for name in ("error_ratio", "spread_ratio", "freedom")]).all()
    assert numbers["analysis_chi2"] > 0


def of_two_sources(kinds=("ship", "", "buoy far", "", "ship")):
    """Rows of a variable, of which some say what they are of, with innovations 1 to 5."""
    ones = np.ones(5)
    means = {"prior_mean": 0 * ones, "prior_spread": ones, "analysis_mean": 0 * ones, "analysis_spread": ones}
    return ObservationTable(
        np.full(5, "t"), np.arange(1.0, 6.0), 1.0, np.full(5, np.datetime64("2024-01-01")), np.zeros((5, 2)),
        extra={"kind": np.array(kinds), **means},
    )  # fmt: skip


def test_two_sources_of_a_variable_are_two_lines(tmp_path):
    statistics = by_band(of_two_sources(), Bands(), {"t": "K"})
    assert variables_of(statistics) == ["t", "t_buoy_far", "t_ship"]
    bias = {name: pooled(statistics, name, "used")["prior_bias"] for name in variables_of(statistics)}
    assert bias == {"t": 3.0, "t_buoy_far": 3.0, "t_ship": 3.0}
    assert statistics["t_ship_prior_rmse"].sel(role="used").item() == pytest.approx(np.sqrt(13))
    table = [line.split("  ")[0] for line in lines(statistics)]
    assert table[1:] == ["t (K)", "t (K), buoy far", "t (K), ship"]
    append(statistics, tmp_path / "statistics.nc", 1, 0.0)
    every = append(by_band(of_two_sources([""] * 5), Bands(), {"t": "K"}), tmp_path / "statistics.nc", 2, 1.0)
    assert pooled(every, "t", "used")["count"] == 7 and pooled(every, "t_ship", "used")["count"] == 2
    assert [line.split("  ")[0] for line in lines(read_statistics(tmp_path / "statistics.nc"))] == [
        "observations",
        *table[1:],
    ]


def test_two_kinds_never_share_a_name(tmp_path):
    """In one table, nor over cycles: the second cycle has two that are alike in letters, the first had one of them."""
    one, two = of_two_sources(("a-b",) * 5), of_two_sources(("a b", "a-b", "a b", "a_b", "a-b"))
    assert variables_of(by_band(two, Bands(), {})) == ["t_a_b", "t_a_b_2", "t_a_b_3"]
    for cycle, table in enumerate((one, two), 1):
        every = append(by_band(table, Bands(), {"t": "K"}), tmp_path / "statistics.nc", cycle, float(cycle))
    read = read_statistics(tmp_path / "statistics.nc")
    for statistics in (every, read):
        counts = {
            statistics[f"{name}_rows"].attrs["kind"]: statistics[f"{name}_count"]
            .sel(role="used")
            .values.ravel()
            .tolist()
            for name in variables_of(statistics)
        }
        assert counts == {"a-b": [5, 2], "a b": [0, 2], "a_b": [0, 1]}
        assert [line.split("  ")[0] for line in lines(statistics)][1:] == ["t (K), a-b", "t (K), a b", "t (K), a_b"]


def test_two_instruments_never_share_what_is_learnt_of_them():
    table = of_two_sources(("b_c", "c", "c", "", ""))
    table = replace(table, variable=np.array(["t", "t_b", "t_b", "t", "s"]))
    with pytest.raises(ValueError, match="rows of 't' of kind 'b_c' and of 't_b' of kind 'c' would both be learnt as"):
        _ = table.learnt_as


def test_parameters_have_mean_and_spread_beside_the_statistics():
    pair = np.array([1.0, 2.0, np.nan]), np.array([1.0, 3.0, 5.0])
    numbers = of_parameters({"rate": pair}, {"rate": "d-1"})
    assert words(numbers) == "mean of rate 1.5 (spread 0.71) -> 3 (2)"
    assert list(lines(numbers)) == [
        "parameters      mean      spread",
        "rate (d-1)  1.5 -> 3  0.707 -> 2",
    ]
    field = np.array([[0.0, 1.0], [2.0, 5.0]])
    assert of_parameters({"r": (field, field)})["r_parameter_analysis_spread"].item() == pytest.approx(np.sqrt(5))


@pytest.fixture(scope="module")
def analysed(tmp_path_factory):
    """An analysis with withheld rows, and its folder."""
    folder = write(tmp_path_factory.mktemp("files"))
    settings = {"variables": ["t", "q", "sst"], "mask": True, "withhold": 0.4, "strict": False}
    offline = Offline(RTPS(ForecastInflation(LETKF_300, 1.1), 0.4), **settings)
    result = offline.analyse(
        f"{folder}/forecast_*.nc", folder / "obs.csv", folder / "out", rng=np.random.default_rng(1)
    )
    return folder, result


def test_withheld_rows_are_not_used_and_are_compared(analysed):
    folder, result = analysed
    table = result.info["table"]
    withheld = table.codes == WITHHELD
    assert withheld.any() and table.used.any()
    assert np.isfinite(table.extra["analysis_mean"][withheld]).all()
    kept = table.take(np.flatnonzero(table.used))
    kept.write(folder / "kept.csv")
    method = RTPS(ForecastInflation(LETKF_300, 1.1), 0.4)
    options = {"variables": ["t", "q", "sst"], "mask": True}
    alone = analyse_files(
        f"{folder}/forecast_*.nc", folder / "kept.csv", method, folder / "b", rng=np.random.default_rng(1), **options
    )
    np.testing.assert_array_equal(alone.ensemble, result.ensemble)


def test_the_same_places_are_withheld_whatever_the_order_of_rows(tmp_path):
    rng = np.random.default_rng(2)
    grid = {"lat": ("lat", np.arange(40.0, 50), {"units": "degrees_north"})}
    grid["lon"] = "lon", np.arange(0.0, 9), {"units": "degrees_east"}
    for member in range(4):
        xr.Dataset({"t": (("lat", "lon"), rng.normal(size=(10, 9)))}, grid).to_netcdf(tmp_path / f"m{member}.nc")
    rows = [
        f"t,{value},1,2024-01-31T03:00,{lat},{lon}"
        for lat in (41.5, 43.5, 46)
        for lon in (1, 4.5, 7)
        for value in (0, 1)
    ]
    chosen = []
    for name, order in (("a", rows), ("b", rows[::-1])):
        (tmp_path / f"{name}.csv").write_text("variable,value,error,time,lat,lon\n" + "\n".join(order) + "\n")
        job = Offline(LETKF_300, withhold=0.3).prepare(f"{tmp_path}/m*.nc", tmp_path / f"{name}.csv", tmp_path / "out")
        table = job.observed.table
        chosen.append({tuple(place) for place in table.position[table.codes == WITHHELD]})
        assert np.count_nonzero(table.codes == WITHHELD) == 2 * len(chosen[-1]) == 6
    assert chosen[0] == chosen[1]


@pytest.mark.parametrize(("yes", "no"), [("1", "0"), ("True", "False"), ("2", ""), ("x", "0")])
def test_a_column_withholds_rows(tmp_path, yes, no):
    folder = write(tmp_path / "f")
    lines = (folder / "obs.csv").read_text().splitlines()
    (folder / "obs.csv").write_text(
        "\n".join([lines[0] + ",withheld", f"{lines[1]},{yes}", *(f"{one},{no}" for one in lines[2:])])
    )
    offline = Offline(LETKF_300, variables=["t", "q", "sst"], mask=True)
    files = f"{folder}/forecast_*.nc", folder / "obs.csv", tmp_path / "o"
    if yes == "x":
        with pytest.raises(ValueError, match=r"obs\.csv: row 0: withheld is 'x': give 1 to withhold the row, or 0"):
            offline.prepare(*files)
        return
    job = offline.prepare(*files)
    assert job.observed.table.codes[0] == WITHHELD and job.withheld.used.tolist() == [0]


def test_fields_are_the_moments_of_the_files(analysed):
    folder, result = analysed
    fields = xr.load_dataset(folder / "out" / "fields.nc", decode_times=False)
    paths = sorted((folder / "out").glob("forecast_*.nc"))
    before, after = (
        np.stack([xr.load_dataset(place / path.name, decode_times=False)["q"].values for path in paths]).astype(float)
        for place in (folder, folder / "out")
    )
    np.testing.assert_allclose(fields["q_increment"], (after - before).mean(axis=0), atol=1e-7)
    np.testing.assert_allclose(fields["q_prior_spread"], before.std(axis=0, ddof=1), rtol=1e-4)
    np.testing.assert_allclose(fields["q_analysis_spread"], after.std(axis=0, ddof=1), rtol=1e-4)
    assert fields["q_increment"].attrs["units"] == "1" and fields["t_increment"].dims == ("time", "level", "lat", "lon")
    assert np.isnan(fields["sst_increment"]).any() and not np.isnan(fields["sst_increment"]).all()


def test_fields_by_tiles_are_those_at_once(tmp_path, monkeypatch):
    from ensf.dataset import tiles

    folder = write(tmp_path / "f")
    method = LETSF(Localization(Sphere(), 600.0), information_limit=InformationLimit(0.1))
    options = {"variables": ["t", "q", "sst"], "mask": True}
    for name, entries in (("whole", 2**16), ("parts", 100)):
        monkeypatch.setattr(tiles, "ENTRIES", entries)
        offline = Offline(method, **options)
        offline.analyse(f"{folder}/forecast_*.nc", folder / "obs.csv", tmp_path / name, rng=np.random.default_rng(1))
    whole, parts = (xr.load_dataset(tmp_path / name / "fields.nc", decode_times=False) for name in ("whole", "parts"))
    assert set(whole) == set(parts) and "t_half_width" in whole and whole.t_half_width.attrs["units"] == "km"
    assert float(whole.t_half_width.min()) < 600 <= float(whole.t_half_width.max()) + 1e-3
    for name in whole.data_vars:
        np.testing.assert_array_equal(whole[name], parts[name], err_msg=name)


def test_influence_is_that_of_the_filter_before_corrections(tmp_path):
    """One observation of the LETKF: s^2 / (s^2 + error^2), whatever RTPS makes of the spread afterwards."""
    folder = write(tmp_path / "f")
    (folder / "obs.csv").write_text("variable,value,error,time,lat,lon\nq,0.01,0.002,2024-01-31T03:00,45.3,4.2\n")
    offline = Offline(RTPS(LETKF_300, 0.9), variables=["q"])
    table = offline.analyse(
        f"{folder}/forecast_*.nc", folder / "obs.csv", tmp_path / "o", rng=np.random.default_rng(1)
    ).info["table"]
    spread = table.extra["prior_spread"][0]
    assert table.extra["influence"][0] == pytest.approx(spread**2 / (spread**2 + 0.002**2), rel=1e-5)


def table_of(value, z=None, variable="t"):
    rows = len(value)
    one = np.ones(rows)
    extra = {
        "prior_mean": 0 * one,
        "prior_spread": one,
        "analysis_mean": 0.5 * np.asarray(value),
        "analysis_spread": 0.5 * one,
    }
    return ObservationTable(
        np.full(rows, variable), np.asarray(value, float), one, np.full(rows, "2024-01-01"), np.zeros((rows, 2)),
        z=None if z is None else np.asarray(z, float), extra=extra | {"influence": 0.25 * one},
    )  # fmt: skip


def test_bands_take_their_rows():
    bands = Bands((10.0, 100.0), "m")
    assert bands.labels == ["up to 10 m", "10 to 100 m", "from 100 m", "without level"]
    assert bands.number(np.array([0.0, 10.0, 99.0, 100.0, np.nan])).tolist() == [0, 1, 1, 2, 3]
    statistics = by_band(table_of([1.0, 3.0, -2.0], [5.0, 50.0, np.nan]), bands, {"t": "K"})
    assert statistics["t_prior_bias"].sel(role="used").values[[0, 1, 3]].tolist() == [1.0, 3.0, -2.0]
    assert statistics["t_prior_bias"].attrs["units"] == "K" and statistics["t_chi2"].attrs["units"] == "1"
    with pytest.raises(ValueError, match="let them rise"):
        Bands((5.0, 5.0))


def test_pooled_over_bands_and_cycles_are_those_of_all_rows(tmp_path):
    values, z = np.random.default_rng(3).normal(size=60), np.repeat([5.0, 50.0, 500.0], 20)
    bands = Bands((10.0, 100.0), "m")
    path = tmp_path / "statistics.nc"
    append(by_band(table_of(values[:25], z[:25]), bands, {}), path, 1, "2024-01-01T06:00")
    append(by_band(table_of(values[25:26], z[25:26]), bands, {}), path, 2, "2024-01-01T12:00")
    append(by_band(table_of(values[25:], z[25:]), bands, {}), path, 2, "2024-01-01T12:00")
    every = read_statistics(path)
    assert every.cycle.values.tolist() == [1, 2] and every.time.dtype.kind == "M"
    together = pooled(every, "t", "used")
    alone = pooled(by_band(table_of(values), Bands(), {}), "t", "used")
    assert together == pytest.approx(alone, nan_ok=True)


def test_the_command_prints_the_table_and_leaves_the_files(tmp_path, capsys):
    folder = write(tmp_path / "f")
    assert main(command(folder, "--withhold", "0.3", "--bands", "600")) == 0
    printed = capsys.readouterr().out
    assert "withheld for scoring" in printed and printed.startswith("observations") and " -> " in printed
    statistics = read_statistics(folder / "out" / "statistics.nc")
    assert "up to 600 hPa" in statistics.band.values
    with netCDF4.Dataset(folder / "out" / "statistics.nc") as file:
        assert file.Conventions == "CF-1.11"
    assert read(folder / "out" / "observations.nc").codes.tolist().count(WITHHELD) > 0


@pytest.mark.parametrize(
    ("option", "value", "words"), [("--withhold", "1.5", "part of the places"), ("--bands", "a,b", "no edges")]
)
def test_options_that_make_no_sense_are_one_sentence(tmp_path, capsys, option, value, words):
    assert main(command(write(tmp_path / "f"), option, value)) == 2
    assert words in capsys.readouterr().err


# --- one observation ----------------------------------------------------------------------------------------


def test_one_observation_does_what_an_analysis_of_one_row_does(tmp_path):
    folder = write(tmp_path / "f")
    one = ObserveOne(
        "q", {"lat": 45.3, "lon": 4.2}, 0.002, radii=(200.0, 400.0), method=LETKF_300, variables=["q", "sst"], mask=True
    )
    result = one.compute(f"{folder}/forecast_*.nc", np.random.default_rng(1))
    value = result.attrs["prior_mean"] + result.attrs["innovation"]
    assert result.attrs["innovation"] == pytest.approx(np.hypot(result.attrs["prior_spread"], 0.002))
    (folder / "obs.csv").write_text(f"variable,value,error,time,lat,lon\nq,{value!r},0.002,2024-01-31T03:00,45.3,4.2\n")
    offline = Offline(LETKF(Localization(Sphere(), 400.0)), variables=["q", "sst"], mask=True)
    offline.analyse(f"{folder}/forecast_*.nc", folder / "obs.csv", tmp_path / "o", rng=np.random.default_rng(1))
    fields = xr.load_dataset(tmp_path / "o" / "fields.nc", decode_times=False)
    for name in ("q_increment", "sst_increment", "q_analysis_spread"):
        np.testing.assert_allclose(result[name].isel(radius=1), fields[name], rtol=1e-4, atol=1e-6)


def test_radii_scale_every_localization_of_a_method():
    method = RTPS(LETKF(Localization(Sphere(), 100.0)), 0.3)
    assert with_half_width(method, 3.0) == RTPS(LETKF(Localization(Sphere(), 300.0)), 0.3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"at": {"lat": 45.0}}, "give lat and lon"),
        ({"error": 0.0}, "above 0"),
        ({"radii": (-1.0,)}, "above 0"),
        (
            {"at": {"lat": 80.0, "lon": 4.0}},
            r"lat=80, lon=4 \(out of domain\): the grid has lat 40 to 51",
        ),
        ({"variable": "zz"}, "'zz' is unknown: choose one of 'q', 'wind_speed', or register it"),
    ],
)
def test_one_observation_that_cannot_be_is_one_sentence(tmp_path, change, words):
    folder = write(tmp_path / "f")
    settings = {"variable": "q", "at": {"lat": 45.0, "lon": 4.0}, "error": 0.1, "variables": ["q"]} | change
    with pytest.raises(ValueError, match=words):
        ObserveOne(**settings).compute(f"{folder}/forecast_*.nc", np.random.default_rng(1))
