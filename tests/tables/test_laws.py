"""Error laws of the rows of a table: by kind, by variable or row by row; units, statistics, files, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from ensf import LETKF, LETSF, Euclidean, Localization, Observation, Select
from ensf.cli import main
from ensf.dataset import Problem, analyse, pack
from ensf.observations import Censored, Gaussian, JoinedLaw, Laplace, Lognormal, StudentT, Threshold
from ensf.tables import Constant, from_frame, read
from ensf.tables.laws import read_law
from ensf.tables.quality import Boxes, Duplicates, GrossCheck, SuperObservations

NEAR = Localization(Euclidean(), 3.0, ("x",))
TABLE = """variable,value,error,time,x,units,kind,law,low,level
chl,1.3,.2,2020-01-01,3,mg m-3,,,,
chl,0.0009,.3,2020-01-01,5,g m-3,,,,
t,.4,.5,2020-01-01,1,K,buoy,,,
t,-.2,.5,2020-01-01,7,K,,Censored(low=-3),-.2,
t,1,.3,2020-01-01,8,,,Threshold,,.25
t,.1,.5,2020-01-01,6,K,,,,
"""
LAWS = {"chl": "Lognormal", "buoy": StudentT(2.0, freedom=3.0)}


def of_the_rows(buoy):
    """The law of all rows of `TABLE`, of which one is a buoy's."""
    laws = Lognormal(np.array([0.2, 0.3])), buoy, Censored(0.5, low=-0.2), Threshold(0.3, 0.25), Gaussian(0.5)
    return JoinedLaw(laws, ((0, 1), (2,), (3,), (4,), (5,)))


@pytest.fixture
def forecast(rng):
    states = rng.standard_normal((30, 10))
    fields = {
        "chl": (("realization", "x"), np.exp(0.3 * states), {"units": "mg m-3"}),
        "t": (("realization", "x"), states, {"units": "K"}),
    }
    return xr.Dataset(fields, {"x": ("x", np.arange(10.0), {"axis": "X"})})


@pytest.fixture
def table(tmp_path):
    (tmp_path / "o.csv").write_text(TABLE)
    return read(tmp_path / "o.csv")


def layout_of(forecast):
    return pack(forecast, "realization")[1]


def test_rows_have_the_law_of_their_column_then_their_kind_then_their_variable(forecast, table):
    observed = table.observe(layout_of(forecast), laws=LAWS)
    law, value = observed.observation.law, observed.observation.value
    np.testing.assert_allclose(value, [1.3, 0.9, 0.4, -0.2, 1.0, 0.1])
    same = of_the_rows(StudentT(1.0, 3.0))
    for predicted in (np.full(6, 0.7), np.linspace(0.1, 1.2, 6)):
        np.testing.assert_allclose(law.each(value, predicted), same.each(value, predicted), rtol=1e-12)


@pytest.mark.parametrize("reader", ["dataset", "files"])
def test_the_analysis_is_that_of_the_laws(forecast, table, tmp_path, monkeypatch, reader):
    laws = {"chl": "Lognormal", "buoy": "StudentT(freedom=3)"}
    method = LETSF(NEAR)
    law = of_the_rows(StudentT(0.5, 3.0))
    places = np.array([3.0, 5.0, 1.0, 7.0, 8.0, 6.0])[:, None]
    seen = Observation(np.array([1.3, 0.9, 0.4, -0.2, 1.0, 0.1]), Select([3, 5, 11, 17, 18, 16]), law, position=places)
    expected = Problem.of(forecast, seen, method).analyse(1).ensemble
    if reader == "dataset":
        made = analyse(forecast, lambda layout: table.observe(layout, laws=laws), method, 1)
    else:
        monkeypatch.chdir(tmp_path)
        for member in range(30):
            forecast.isel(realization=member).to_netcdf(f"m{member:02d}.nc")
        settings = 'prior = ["m??.nc"]\nobservations = "o.csv"\noutput = "out"\nwindow = "all"\n'
        settings += f'method = "{method!r}"\n[laws]\n' + "".join(f'{name} = "{one}"\n' for name, one in laws.items())
        (tmp_path / "c.toml").write_text(settings)
        assert main(["analyse", "--config", "c.toml"]) == 0
        made = xr.concat([xr.load_dataset(f"out/m{member:02d}.nc") for member in range(30)], "realization")
        rows = xr.load_dataset("out/observations.nc")
        assert rows.law.values.tolist() == ["Lognormal", "Lognormal", "StudentT", "Censored", "Threshold", ""]
    np.testing.assert_allclose(np.concatenate([made.chl, made.t], axis=1), expected, atol=1e-9)


def test_statistics_are_in_the_units_of_the_variable(forecast, table):
    """The deviation of a lognormal law is a fraction; an answer has no departure."""
    observed = table.observe(layout_of(forecast), laws=LAWS)
    law, value = observed.observation.law, observed.observation.value
    np.testing.assert_allclose(
        observed.table.deviation[:2], Lognormal(np.array([0.2, 0.3])).standard_deviation(value[:2])
    )
    np.testing.assert_allclose(observed.table.deviation[2:], [1.0, np.inf, np.inf, 0.5])
    assert observed.table.answers.tolist() == [False, False, False, True, True, False]
    np.testing.assert_array_equal(observed.table.error, [0.2, 0.3, 1.0, 0.5, 0.3, 0.5])
    compared = observed.compare("prior", np.concatenate([forecast.chl + 20, forecast.t + 40], axis=1))
    assert compared.check(GrossCheck(3.0)).table.used.tolist() == [False, False, False, True, True, False]
    assert len(compared.far_off()) == 2 and law.is_independent


def test_what_is_written_is_read_again(forecast, table, tmp_path):
    observed = table.observe(layout_of(forecast), laws=LAWS)
    observed.table.write(tmp_path / "again.nc")
    again = read(tmp_path / "again.nc").observe(layout_of(forecast)).observation
    predicted = np.linspace(0.1, 1.2, 6)
    np.testing.assert_allclose(
        again.law.each(again.value, predicted), observed.observation.law.each(again.value, predicted), rtol=1e-12
    )


def test_limits_are_converted_with_the_values_and_answers_are_not(forecast, tmp_path):
    (tmp_path / "c.csv").write_text(
        "variable,value,error,time,x,units,law,low,high,level\n"
        "t,20.0,.5,2020-01-01,1,degC,Censored,20.0,40.0,\n"
        "t,1,.5,2020-01-01,2,degC,Threshold,,,15.0\n"
    )
    forecast.t.attrs["units"] = "K"
    observed = read(tmp_path / "c.csv").observe(layout_of(forecast))
    np.testing.assert_allclose(observed.observation.value, [293.15, 1.0])
    columns = observed.table.extra
    np.testing.assert_allclose([columns["low"][0], columns["high"][0], columns["level"][1]], [293.15, 313.15, 288.15])


def test_one_law_is_no_batch_and_gaussian_errors_keep_their_bits(forecast, table):
    plain = table.take(np.array([0, 1]))
    assert isinstance(plain.observe(layout_of(forecast), laws={"chl": "Laplace"}).observation.law, Laplace)
    for laws in (None, {}, {"chl": "Gaussian"}):
        observed = plain.observe(layout_of(forecast), laws=laws)
        np.testing.assert_array_equal(observed.observation.law.deviation, [0.2, 300.0])
        assert isinstance(observed.observation.law, Gaussian) and "law_deviation" not in observed.table.extra


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Studnt", "unknown error law 'Studnt': the nearest is StudentT; choose from Gaussian"),
        ("Censored(lo=1)", "error law Censored has no parameter 'lo': it has low, high"),
        ("Poisson(rate=1)", "error law Poisson has no parameter 'rate': it has none"),
        ("StudentT(3)", r"error law 'StudentT\(3\)' is no name with parameters"),
        ("import os", "is no name with parameters"),
        ("", "is no name with parameters"),
    ],
)
def test_what_is_no_law_is_refused(text, sentence, forecast, table):
    with pytest.raises(ValueError, match=sentence):
        read_law(text)
    with pytest.raises(ValueError, match=sentence):
        table.observe(layout_of(forecast), laws={"chl": text})


def test_what_does_not_fit_is_refused_in_a_sentence(forecast, table, caplog):
    layout = layout_of(forecast)
    low = replace(table, value=-table.value).observe(layout, laws={"t": "Lognormal"})
    assert low.table.reason.tolist()[2] == "value that its error law cannot give" and 2 not in low.used
    with pytest.raises(ValueError, match="the law of 't' has arrays: give numbers"):
        table.observe(layout, laws={"t": StudentT(np.ones(6))})
    with pytest.raises(ValueError, match="LETKF needs Gaussian errors"):
        analyse(forecast, lambda layout: table.observe(layout, laws=LAWS), LETKF(NEAR), 1)
    with pytest.raises(ValueError, match="errors are correlated, and some of .* are not Gaussian"):
        table.observe(layout, laws=LAWS, correlation=Constant(0.3))
    table.observe(layout, laws={"salt": "Laplace"})
    assert caplog.messages == ["an error law is for observations of 'salt', of which there are none here"]


HEAD = "variable,value,error,time,x,"


def rows(folder, text, name="r.csv"):
    (folder / name).write_text(text)
    return read(folder / name)


@pytest.mark.parametrize(
    ("text", "laws", "sentence"),
    [
        ("law\nt,.1,.2,2020-01-01,3,Censored\n", {}, "r.csv: row 0: Censored has no limit: give low or high"),
        ("law,low\nt,.1,.2,2020-01-01,3,Censored,<0.1\n", {}, "row 0: low of its error law is '<0.1': give a number"),
        ('law,low\nt,.1,.2,2020-01-01,3,Censored,"0,1"\n', {}, "row 0: low of its error law is '0,1'"),
        ("law\nt,1,.2,2020-01-01,3,\nt,1,.2,2020-01-01,4,Studentt\n", {}, "r.csv: row 1: unknown error law 'Studentt'"),
        ("law,freedom\nt,1,.2,2020-01-01,3,StudentT,5\nt,1,.2,2020-01-01,4,StudentT,1.5\n", {}, "r.csv: row 1: "),
        ("law\nt,1,.2,2020-01-01,3,\n", [("t", "StudentT")], "laws is .*: give one for each kind or variable"),
        ("law\nt,1,.2,2020-01-01,3,\n", {"t": StudentT(1.0).tempered(0.5)}, "the law of 't' is a _Tempered"),
        ("law\nt,1,.2,2020-01-01,3,\n", {"t": "StudentT(freedom=3,nu=2)"}, "has no parameter 'nu': it has freedom"),
        ("law\nt,1,.2,2020-01-01,3,\n", {"t": "Censored(low='a')"}, "low of error law Censored is 'a': give a number"),
    ],
)
def test_entries_that_are_none_name_their_row(text, laws, sentence, forecast, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        rows(tmp_path, HEAD + text).observe(layout_of(forecast), laws=laws)


def test_what_a_row_does_not_say_the_setting_says(forecast, tmp_path):
    table = rows(tmp_path, HEAD + "law,low\nt,.1,.2,2020-01-01,3,Censored,\nt,.3,.2,2020-01-01,4,Censored,.3\n")
    law = table.observe(layout_of(forecast), laws={"t": "Censored(low=0.1)"}).observation.law
    np.testing.assert_array_equal(law.low, [0.1, 0.3])


def test_what_a_law_cannot_give_is_rejected_and_the_rest_goes_on(forecast, tmp_path):
    table = rows(tmp_path, HEAD + "law\nchl,0,.2,2020-01-01,3,Lognormal\nchl,1.2,.2,2020-01-01,4,Lognormal\n")
    observed = table.observe(layout_of(forecast))
    assert observed.used.tolist() == [1] and observed.table.reason[0] == "value that its error law cannot give"


@pytest.mark.parametrize("column", ["", "Gaussian"])
def test_a_column_that_says_nothing_is_none(forecast, tmp_path, column):
    text = f"law\nt,1,.2,2020-01-01,3,{column}\nt,1,.3,2020-01-01,4,{column}\n"
    layout = layout_of(forecast)
    observed = rows(tmp_path, HEAD + text).observe(layout)
    np.testing.assert_array_equal(observed.observation.law.deviation, [0.2, 0.3])
    assert rows(tmp_path, HEAD + text).observe(layout, correlation=Constant(0.3)).observation.law is not None


def test_a_limit_in_single_precision_is_the_limit(forecast, tmp_path):
    table = rows(tmp_path, HEAD + "law,low\nt,.1,.2,2020-01-01,3,Censored,.1\n")
    table = replace(table, value=np.array([np.float32(0.1)], dtype=np.float64))
    observed = table.observe(layout_of(forecast)).observation
    assert observed.law.each(observed.value, np.array([-9.0]))[0] == pytest.approx(0.0, abs=1e-9)


def test_units_of_what_has_none(forecast, tmp_path):
    """Counts are no lengths, a fraction may be stated in percent, and units that are numbers are text."""
    text = "law,units,error_units\nchl,10,10,2020-01-01,3,Lognormal,g m-3,%\nchl,7,1,2020-01-01,4,Poisson,g m-3,\n"
    observed = rows(tmp_path, HEAD + text).observe(layout_of(forecast))
    np.testing.assert_allclose(observed.observation.value, [10_000.0, 7.0])
    np.testing.assert_allclose(observed.table.error, [0.1, 1.0])
    forecast.t.attrs["units"] = "1"
    assert rows(tmp_path, HEAD + "units\nt,1,.2,2020-01-01,3,1\n").observe(layout_of(forecast)).used.tolist() == [0]


def test_files_with_other_columns_are_read_as_one(forecast, tmp_path):
    """What is a number in one file and text in another is text, and empty where it is missing."""
    rows(tmp_path, HEAD + "kind,group,law\nt,1,.2,2020-01-01,3,42,,\nt,1,.2,2020-01-01,4,,,\n", "a.csv")
    rows(tmp_path, HEAD + "kind,group,law\nt,1,.2,2020-01-01,5,buoy,g,StudentT\n", "b.csv")
    table = read([tmp_path / "a.csv", tmp_path / "b.csv"])
    assert table.kind.tolist() == ["42", "t", "buoy"] and table.extra["group"].tolist() == ["", "", "g"]
    names = table.with_laws({"42": "Laplace"}).extra["law"].tolist()
    assert names == ["Laplace", "", "StudentT"]


def test_super_observations_and_duplicates_take_like_and_like_alone(forecast, tmp_path):
    text = (
        "units,law,level\nt,7,.2,2020-01-01,3.1,degC,,\nt,8,.2,2020-01-01,3.2,degC,,\nt,280,.2,2020-01-01,3.3,K,,\n"
        "t,1,.1,2020-01-01,3.1,K,Threshold,270\nt,1,.1,2020-01-01,3.2,K,Threshold,270\n"
    )
    table = rows(tmp_path, HEAD + text)
    made = SuperObservations(Boxes(1.0)).flag(table)
    assert made.reason.tolist()[:5] == ["merged into a super-observation"] * 2 + ["used"] * 3 and len(made) == 6
    forecast.t.attrs["units"] = "K"
    observed = made.observe(layout_of(forecast))
    np.testing.assert_allclose(np.sort(observed.observation.value), [1.0, 1.0, 280.0, 280.65])
    same = rows(tmp_path, HEAD + "law,level\nt,280,.2,2020-01-01,3,,\nt,1,.1,2020-01-01,3,Threshold,270\n")
    assert Duplicates().flag(same).used.all()


def test_groups_beside_rejected_rows(forecast, tmp_path):
    text = "group\nt,,.2,2020-01-01,3,a\nt,1,.2,2020-01-01,4,b\nt,1,.2,2020-01-01,5,b\n"
    observed = rows(tmp_path, HEAD + text).observe(layout_of(forecast), correlation=Constant(0.3)).observation
    np.testing.assert_allclose(observed.law.covariance(observed.value), [[0.04, 0.012], [0.012, 0.04]])


def test_on_another_device_the_law_goes_along(forecast, table):
    observed = table.observe(layout_of(forecast), laws=LAWS)
    moved = observed.beside(np.zeros((2, 3), np.float32)).observation
    assert moved.law is observed.observation.law and not moved.law.is_gaussian


def test_a_dry_run_asks_the_filter_and_tells_the_laws(forecast, table, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for member in range(3):
        forecast.isel(realization=member).to_netcdf(f"m{member}.nc")
    request = ["analyse", "--prior", "m?.nc", "--observations", "o.csv", "--output", "out", "--window", "all"]
    request += ["--laws", "chl=Lognormal", "--dry-run"]
    assert main([*request, "--method", repr(LETSF(NEAR))]) == 0
    assert "    2 with the law Lognormal\n" in capsys.readouterr().out
    assert main([*request, "--method", repr(LETKF(NEAR))]) == 2
    assert "LETKF needs Gaussian errors" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_cycle_takes_the_laws_of_its_configuration(forecast, table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for member in range(1, 6):
        forecast.isel(realization=member).to_netcdf(f"m{member}.nc")
    settings = (
        'initial = "m{member}.nc"\nobservations = "o.csv"\ncommand = "cp {input} {output}"\nmembers = 5\ncycles = 1\n'
        f'interval = 6.0\ncheck_time = false\nmethod = "{LETSF(NEAR)!r}"\noutput = "out"\n[laws]\nchl = "Lognormal"\n'
    )
    (tmp_path / "c.toml").write_text(settings)
    assert main(["cycle", "c.toml"]) == 0
    cycle = tmp_path / "out" / "cycle_0001"
    rows = read(cycle / "observations.csv")
    assert rows.extra["law"].tolist() == ["Lognormal", "Lognormal", "", "Censored", "Threshold", ""]
    few = forecast.isel(realization=slice(1, 6))
    expected = analyse(few, lambda layout: table.observe(layout, laws={"chl": "Lognormal"}), LETSF(NEAR), 1)
    for number in range(5):
        made = xr.load_dataset(cycle / "analysis" / f"member_{number + 1:04d}.nc")
        np.testing.assert_allclose(made.chl, expected.chl[number], atol=1e-9)
    (tmp_path / "c.toml").write_text(settings.replace("Lognormal", "Lognormall"))
    assert main(["cycle", "c.toml", "--overwrite"]) == 2


@pytest.mark.parametrize("dry", [["--dry-run"], []])
def test_a_cycle_asks_the_filter_before_the_first_forecast(forecast, table, tmp_path, monkeypatch, capsys, dry):
    monkeypatch.chdir(tmp_path)
    for member in range(1, 6):
        forecast.isel(realization=member).to_netcdf(f"m{member}.nc")
    (tmp_path / "o1.csv").write_text("variable,value,error,time,x\nt,.4,.5,2020-01-01,1\n")
    (tmp_path / "o2.csv").write_text(TABLE)
    settings = (
        'initial = "m{member}.nc"\nobservations = "o{cycle}.csv"\ncommand = "cp {input} {output}"\nmembers = 5\n'
        "cycles = 2\ninterval = 6.0\ncheck_time = false\noutput = 'out'\n"
    )
    for method, status, sentence in ((LETKF(NEAR), 2, "LETKF needs Gaussian errors"), (LETSF(NEAR), 0, "")):
        (tmp_path / "c.toml").write_text(f'{settings}method = "{method!r}"\n')
        assert main(["cycle", "c.toml", *dry]) == status
        assert sentence in capsys.readouterr().err
        assert (tmp_path / "out" / "cycle_0001").exists() == (not dry and not status)


@pytest.mark.parametrize(("units", "factor"), [("K", 1.0), ("mK", 0.001), ("degC", 1.0), ("", 1.0)])
def test_errors_of_a_variable_without_units_are_in_those_of_their_values(forecast, units, factor):
    rows = {"variable": ["t"], "x": [3.0], "value": [1.0], "error": [0.5], "time": ["2020-01-01"], "units": ["degC"]}
    forecast["t"].attrs.clear()
    bare = layout_of(forecast)
    observed = from_frame({**rows, "error_units": [units]}).observe(bare)
    assert observed.table.error[0] == pytest.approx(0.5 * factor)
    with pytest.raises(ValueError, match="observations in 'degC': the error has units 'K2', those of a variance"):
        from_frame({**rows, "error_units": ["K2"]}).observe(bare)


def test_counts_need_no_error(forecast, tmp_path, caplog):
    text = "variable,value,error,time,x,law\nt,7,,2020-01-01,3,Poisson\nt,4,2.5,2020-01-01,4,Poisson\n"
    (tmp_path / "c.csv").write_text(text + "t,.4,,2020-01-01,5,Laplace\n")
    observed = read(tmp_path / "c.csv").observe(layout_of(forecast))
    assert observed.table.used.tolist() == [True, True, False] and "line 4" in caplog.text
    np.testing.assert_allclose(observed.table.deviation[:2], np.sqrt([7, 4]))
    assert repr(observed.observation.law) == "Poisson()"
    rows = "".join(f"t,7,{error},2020-01-01,3\n" for error in ("", "0", "-1", "-9999", "inf"))
    (tmp_path / "s.csv").write_text(f"variable,value,error,time,x\n{rows}t,,,2020-01-01,4\n")
    of_setting = read(tmp_path / "s.csv").observe(layout_of(forecast), laws={"t": "Poisson"})
    assert of_setting.table.used.tolist() == [True] * 5 + [False]
    caplog.clear()
    read(tmp_path / "s.csv", laws={"t": "Poisson"})
    assert not caplog.text  # nothing is rejected
    read(tmp_path / "s.csv", laws={"t": "Laplace"})
    assert "line 2: error is nan: give a positive standard deviation; the row is rejected" in caplog.text
    np.testing.assert_allclose(of_setting.table.deviation[0], np.sqrt(7))


@pytest.mark.parametrize("laws", [{"t": Gaussian(3.0)}, {"buoy": StudentT(2.0, freedom=3.0)}, LAWS])
def test_observing_again_is_observing_once(laws, forecast, table, tmp_path):
    layout = layout_of(forecast)
    once = table.observe(layout, laws=laws)
    once.table.write(tmp_path / "once.nc")
    for again in (once.table, read(tmp_path / "once.nc")):
        for repeated in (laws, None):
            np.testing.assert_array_equal(again.observe(layout, laws=repeated).table.error, once.table.error)


def test_another_factor_replaces_the_one_before(forecast, table):
    layout = layout_of(forecast)
    once = table.observe(layout, laws={"t": Gaussian(3.0)}).table
    np.testing.assert_allclose(once.error[5], 1.5)
    np.testing.assert_allclose(once.observe(layout, laws={"t": Gaussian(2.0)}).table.error[5], 1.0)
