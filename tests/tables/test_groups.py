"""Errors of rows of one group are correlated: in tables, Datasets and files, against the dense posterior."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from ensf import ETKF, LETKF, LETSF, Correlated, Localization, Observation, Select, Sphere
from ensf.cli import main
from ensf.dataset import analyse, pack
from ensf.observations import Linear
from ensf.tables import ByChannel, ByDistance, Constant, ObservationTable, read

LAT, LON = np.arange(0.0, 50.0, 10.0), np.arange(0.0, 60.0, 10.0)
WIDE = Localization(Sphere(), 1e9)
GROUPS = np.array(["a", "", "b", "a", "b", "a", ""])


@pytest.fixture
def forecast(rng):
    values = rng.standard_normal((12, LAT.size, LON.size))
    return xr.Dataset({"t": (("realization", "lat", "lon"), values)}, {"lat": LAT, "lon": LON})


@pytest.fixture
def table(rng):
    position = np.stack([rng.choice(LAT, 7), rng.choice(LON, 7)], axis=1)
    error = rng.uniform(0.4, 0.8, 7)
    when = np.datetime64("2020-01-01T00:00")
    return ObservationTable("t", rng.standard_normal(7), error, when, position, extra={"group": GROUPS})


def covariance(table, correlation):
    """R of the rows, by pairs."""
    same = (GROUPS[:, None] == GROUPS) & (GROUPS != "") | np.eye(7, dtype=bool)
    return np.where(same, correlation, 0.0) * np.outer(table.error, table.error)


def posterior(forecast, table, matrix):
    """Of the Gaussian of the members, by the ETKF with the dense R."""
    ensemble = forecast.t.values.reshape(12, -1)
    entry = [int(lat / 10) * LON.size + int(lon / 10) for lat, lon in table.position]
    operator = Linear(np.eye(ensemble.shape[1])[entry])
    return ETKF().analyse(ensemble, Observation(table.value, operator, Correlated(matrix)), None).ensemble


@pytest.mark.parametrize("method", [LETKF(WIDE), LETSF(WIDE), ETKF()], ids=["LETKF", "LETSF", "ETKF"])
@pytest.mark.parametrize("setting", [ByDistance(3000.0), Constant(0.4)], ids=["distance", "constant"])
def test_groups_of_a_table_equal_the_dense_posterior(method, setting, forecast, table):
    correlation = setting.matrix({"lat": table.position[:, 0], "lon": table.position[:, 1]})
    expected = posterior(forecast, table, covariance(table, correlation))

    def observe(layout):
        return table.observe(layout, correlation=setting)

    analysis = analyse(forecast, observe, method, 1)
    np.testing.assert_allclose(analysis.t.values.reshape(12, -1), expected, rtol=0, atol=1e-9)


def test_without_groups_all_rows_of_a_variable_are_correlated(forecast, table):
    from dataclasses import replace

    alone = replace(table, extra={})
    correlation = ByDistance(3000.0).matrix({"lat": table.position[:, 0], "lon": table.position[:, 1]})
    expected = posterior(forecast, table, correlation * np.outer(table.error, table.error))
    analysis = analyse(forecast, lambda layout: alone.observe(layout, correlation=ByDistance(3000.0)), LETKF(WIDE), 1)
    np.testing.assert_allclose(analysis.t.values.reshape(12, -1), expected, rtol=0, atol=1e-9)


def test_files_and_the_command_line_give_the_same(forecast, table, tmp_path):
    forecast.to_netcdf(tmp_path / "forecast.nc")
    table.write(tmp_path / "table.csv")
    words = ["--prior", f"{tmp_path}/forecast.nc", "--observations", f"{tmp_path}/table.csv", "--window", "all"]
    words += ["--output", f"{tmp_path}/out", "--method", "LETKF(Localization(Sphere(), 1e9, dims=('lat', 'lon')))"]
    assert main(["analyse", *words, "--correlation", "Constant(0.4)"]) == 0
    with xr.open_dataset(tmp_path / "out" / "forecast.nc") as analysis:
        expected = posterior(forecast, table, covariance(table, Constant(0.4).matrix({"t": GROUPS})))
        np.testing.assert_allclose(analysis.t.values.reshape(12, -1), expected, rtol=0, atol=1e-6)


KINDS = np.array(["swath", "", "profile", "swath", "profile", "swath", ""])
BY_KIND = {"swath": ByDistance(3000.0), "t": Constant(0.6)}


@pytest.fixture
def by_kind(forecast, table):
    """A table of a swath and a profile, and the exact posterior."""
    one, other = BY_KIND["swath"].matrix(table.columns), BY_KIND["t"].matrix(table.columns)
    matrix = np.where(KINDS[:, None] == "swath", one, other)
    return replace(table, extra={"group": GROUPS, "kind": KINDS}), posterior(forecast, table, covariance(table, matrix))


def test_groups_have_the_correlation_of_their_kind_else_of_their_variable(forecast, by_kind, caplog):
    rows, expected = by_kind
    analysis = analyse(forecast, lambda layout: rows.observe(layout, correlation=BY_KIND), LETKF(WIDE), 1)
    np.testing.assert_allclose(analysis.t.values.reshape(12, -1), expected, rtol=0, atol=1e-9)
    assert not caplog.text
    rows.observe(pack(forecast, "realization")[1], correlation=BY_KIND | {"swat": Constant(0.1)})
    assert "a correlation of errors is for observations of 'swat', of which there are none here" in caplog.text


@pytest.mark.parametrize("how", ["words", "file"])
def test_correlations_by_kind_from_files(forecast, by_kind, tmp_path, how):
    rows, expected = by_kind
    forecast.to_netcdf(tmp_path / "forecast.nc")
    rows.write(tmp_path / "table.csv")
    words = ["--prior", f"{tmp_path}/forecast.nc", "--observations", f"{tmp_path}/table.csv", "--window", "all"]
    words += ["--output", f"{tmp_path}/out", "--method", "LETKF(Localization(Sphere(), 1e9, dims=('lat', 'lon')))"]
    (tmp_path / "c.toml").write_text('[correlations]\nswath = "ByDistance(3000.0)"\nt = "Constant(0.6)"\n')
    nested = """t=ByChannel("kind", ("", "profile"), ((1, 0.6), (0.6, 1)))"""  # brackets within brackets
    told = ["--correlations", f"swath=ByDistance(3000.0),{nested}", "--correlations", "t=Constant(0.6)"]
    told = told if how == "words" else ["--config", f"{tmp_path}/c.toml"]
    assert main(["analyse", *told, *words]) == 0
    with xr.open_dataset(tmp_path / "out" / "forecast.nc") as analysis:
        np.testing.assert_allclose(analysis.t.values.reshape(12, -1), expected, rtol=0, atol=1e-6)


def test_correlations_by_kind_in_a_cycle(forecast, by_kind, tmp_path, capsys):
    """The model is a copy, so that the analysis is that of the initial members; a resumed run keeps its setting."""
    rows, expected = by_kind
    for member in range(12):
        forecast.isel(realization=member).to_netcdf(tmp_path / f"initial_{member + 1}.nc")
    rows.write(tmp_path / "table.csv")
    config = tmp_path / "c.toml"
    settings = f"""
        command = "cp {{input}} {{output}}"
        initial = "{tmp_path}/initial_{{member}}.nc"
        observations = "{tmp_path}/table.csv"
        method = "LETKF(Localization(Sphere(), 1e9, dims=('lat', 'lon')))"
        members = 12
        start = 2019-12-31T18:00:00
        interval = 21600.0
        window = [3600, 3600]
        output = "{tmp_path}/out"
    """
    config.write_text(settings + '[correlations]\nswath = "ByDistance(3000.0)"\nt = "Constant(0.6)"\n')
    assert main(["cycle", str(config), "--cycles", "1"]) == 0
    paths = sorted((tmp_path / "out/cycle_0001/analysis").glob("member_*.nc"))
    members = np.stack([xr.load_dataset(path).t.values.ravel() for path in paths])
    np.testing.assert_allclose(members, expected, rtol=0, atol=1e-6)
    config.write_text(settings + '[correlations]\nswath = "ByDistance(300.0)"\nt = "Constant(0.6)"\n')
    capsys.readouterr()
    assert main(["cycle", str(config), "--cycles", "2", "--resume"]) == 2
    assert "correlation" in capsys.readouterr().err


def test_without_groups_rows_of_a_variable_have_the_correlation_of_their_kind(forecast, table):
    rows = replace(table, extra={"kind": KINDS})
    law = rows.observe(pack(forecast, "realization")[1], correlation=BY_KIND).observation.law
    swath = KINDS == "swath"
    correlation = np.where(swath, BY_KIND["swath"].matrix(table.columns), BY_KIND["t"].matrix(table.columns))
    correlation = np.where(swath[:, None] == swath, correlation, 0.0)
    np.testing.assert_allclose(law.matrix, correlation * np.outer(table.error, table.error), rtol=1e-12)


def test_a_group_has_one_correlation(forecast, by_kind, capsys):
    rows, layout = by_kind[0], pack(forecast, "realization")[1]
    with pytest.raises(ValueError, match="row 2 is in a group, but there is no correlation for its kind 'profile': ch"):
        rows.observe(layout, correlation={"swath": Constant(0.4)})
    mixed = replace(rows, extra={"group": GROUPS, "kind": np.where(np.arange(7) == 3, "profile", KINDS)})
    with pytest.raises(ValueError, match="row 3 is in a group with row 0, but their correlations are of 't' and of "):
        mixed.observe(layout, correlation=BY_KIND)
    with pytest.raises(ValueError, match="correlation of 'swath' is .*: give one such as ByDistance"):
        rows.observe(layout, correlation={"swath": 0.4})
    words = ["analyse", "--prior", "a.nc", "--observations", "o.csv", "--output", "out"]
    assert main([*words, "--correlations", "t=Constant(0.4)", "--correlation", "Constant(0.4)"]) == 2
    assert "correlation is for all groups, correlations for t: give one of the two" in capsys.readouterr().err


def test_errors_of_two_rows_at_a_place_are_not_correlated_by_one(forecast, table):
    """Row and row are named; an empty column of groups is none."""
    layout = pack(forecast, "realization")[1]
    position = table.position.copy()
    position[5] = position[3]
    twice = replace(table, position=position)
    with pytest.raises(
        ValueError, match="row 5: with it the correlation of 3 errors is not positive definite .* row 3"
    ):
        twice.observe(layout, correlation=ByDistance(3000.0))
    alone = replace(twice, extra={})
    with pytest.raises(ValueError, match="row 5: with it the correlation of 7 errors is not .*it is 1 with .*row 3"):
        alone.observe(layout, correlation=ByDistance(3000.0))
    assert replace(table, extra={"group": np.full(7, "")}).observe(layout).observation.size == 7
    assert replace(table, extra={"group": np.full(7, np.nan)}).observe(layout).observation.size == 7


def test_what_is_not_said_is_refused(table, forecast, tmp_path, capsys):
    from ensf.dataset import pack

    layout = pack(forecast, "realization")[1]
    with pytest.raises(ValueError, match="nothing says how the errors of a group are correlated"):
        table.observe(layout)
    with pytest.raises(ValueError, match="no column 'channel'"):
        table.observe(layout, correlation=ByChannel("channel", (1, 2), ((1, 0.5), (0.5, 1))))
    with pytest.raises(ValueError, match="has 't', of which ByChannel has no correlation"):
        table.observe(layout, correlation=ByChannel("variable", ("u", "v"), ((1, 0.5), (0.5, 1))))
    for correlation in ("0.4", 0.4, Constant):
        with pytest.raises(ValueError, match="correlation of a table is .*: give one such as ByDistance"):
            table.observe(layout, correlation=correlation)
    for name in ("one.csv", "two.csv"):
        table.write(tmp_path / name)
    both = read([tmp_path / "one.csv", tmp_path / "two.csv"])
    with pytest.raises(ValueError, match="group a has rows in one.csv and in two.csv"):
        both.observe(layout, correlation=Constant(0.4))


@pytest.mark.parametrize(
    "build",
    [
        lambda: Constant(1.0),
        lambda: Constant(-0.1),
        lambda: ByDistance(0.0),
        lambda: ByDistance(30.0, ("lat", "lon", "depth")),
        lambda: ByChannel("channel", (1, 2), ((1, 0.5),)),
    ],
    ids=["one", "negative", "no length", "degrees and metres", "rows"],
)
def test_settings_out_of_range_are_refused(build):
    with pytest.raises(ValueError, match="give"):
        build()


@pytest.mark.parametrize(
    ("matrix", "sentence"),
    [
        (((0.09, 0.02), (0.02, 0.09)), "of 1 with 1 is 0.09 in ByChannel: .* a covariance is divided by"),
        (((1.0, 0.2), (0.3, 1.0)), "of 1 with 2 is 0.2"),
        (((1.0, 1.5), (1.5, 1.0)), "of 1 with 2 is 1.5"),
        (((1.0, np.nan), (np.nan, 1.0)), "of 1 with 2 is nan"),
        (((1.0, "x"), ("x", 1.0)), "correlations of ByChannel"),
    ],
)
def test_what_is_no_correlation_is_refused(matrix, sentence):
    with pytest.raises(ValueError, match=sentence):
        ByChannel("channel", (1, 2), matrix)


def test_the_device_form_keeps_the_correlation(forecast, table):
    from ensf.dataset import pack

    observed = table.observe(pack(forecast, "realization")[1], correlation=Constant(0.4))
    moved = observed.beside(np.zeros((2, 3))).observation
    np.testing.assert_array_equal(moved.law.covariance(moved.value), observed.observation.law.covariance(moved.value))
    assert isinstance(moved.operator, Select | Linear)
