"""What time a forecast is of, which rows are of that time, and tables of several files."""

from __future__ import annotations

import json

import netCDF4
import numpy as np
import pytest
import xarray as xr
from offline_files import HEAD, ROWS, command, write

from ensf.cli import main
from ensf.offline.valid_times import check_times, valid_time
from ensf.offline.windows import window_of
from ensf.tables import read


def dated(path, name="time", value=3.0, size=None, **about):
    about = {"units": "hours since 2024-02-27", **about}
    with netCDF4.Dataset(path, "w") as file:
        dims = () if size is None else ("t",)
        file.createDimension("t", size or 1)
        file.createVariable(name, "f8", dims)[...] = value
        file[name].setncatts(about)
    return path


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "2024-02-27T03"),
        ({"size": 1}, "2024-02-27T03"),
        ({"name": "ocean_time", "units": "seconds since 2024-02-27", "value": 60.0}, "2024-02-27T00:01"),
        ({"value": 48.0, "calendar": "noleap"}, "2024-03-01"),
        ({"value": 48.0}, "2024-02-29"),
        ({"size": 2}, None),
        ({"units": "hours"}, None),
        ({"name": "t0", "standard_name": "forecast_reference_time"}, None),
    ],
)
def test_the_time_of_a_file(tmp_path, options, expected):
    time = valid_time(dated(tmp_path / "m.nc", **options))
    assert time == (None if expected is None else np.datetime64(expected))


def test_the_time_of_a_file_of_wrf(tmp_path):
    with netCDF4.Dataset(tmp_path / "m.nc", "w") as file:
        file.createDimension("Time", None)
        file.createDimension("length", 19)
        file.createVariable("Times", "S1", ("Time", "length"))[0] = netCDF4.stringtochar(
            np.array(["2024-01-31_12:00:00"], dtype="S19")
        )
    assert valid_time(tmp_path / "m.nc") == np.datetime64("2024-01-31T12")


def test_a_date_that_no_year_has_is_refused(tmp_path):
    path = dated(tmp_path / "m.nc", value=24.0 * 3, calendar="360_day")
    with pytest.raises(ValueError, match=r"m\.nc: variable 'time' is no date .*: say window START/END"):
        valid_time(path)


def test_windows(tmp_path):
    paths = [dated(tmp_path / "m1.nc"), dated(tmp_path / "m2.nc")]
    three = np.datetime64("2024-02-27T03")
    assert window_of("", paths) == (three - np.timedelta64(3, "h"), three + np.timedelta64(3, "h"))
    assert window_of("1d", paths)[0] == np.datetime64("2024-02-26T15")
    assert window_of("2024-01-01/2024-01-02T06:00", paths)[1] == np.datetime64("2024-01-02T06")
    assert window_of("all", paths) is None
    assert window_of("", [dated(tmp_path / "m3.nc", units="hours")]) is None
    with pytest.raises(ValueError, match=r"m3\.nc does not say what time it is, so that window '6h' has no centre"):
        window_of("6h", [tmp_path / "m3.nc"])
    with pytest.raises(ValueError, match=r"m4\.nc has 2 times, so that window '6h' has no centre: give START/END"):
        window_of("6h", [dated(tmp_path / "m4.nc", size=2)])


def test_neighbouring_windows_use_each_row_once(tmp_path):
    """Of [START, END) a row at START is used, and one at END is of the window after it."""
    folder = write(tmp_path / "files")
    times = ("02:59:59", "03:00", "05:59:59", "06:00", "08:59:59", "09:00")
    rows = "".join(f"t,281.5,1.0,2024-01-31T{time},47.3,4.2,850\n" for time in times)
    (folder / "edges.csv").write_text(HEAD.strip() + "\n" + rows)
    words = command(folder)
    words[words.index("--observations") + 1] = str(folder / "edges.csv")
    used = []
    for number, window in enumerate(("2024-01-31T03/2024-01-31T06", "2024-01-31T06/2024-01-31T09")):
        words[words.index("--output") + 1] = str(tmp_path / f"out{number}")
        assert main([*words, "--window", window]) == 0
        used.append(read(tmp_path / f"out{number}" / "observations.nc").used.tolist())
    assert used == [[False, True, True, False, False, False], [False, False, False, True, True, False]]


@pytest.mark.parametrize("window", [[], ["--window", "all"], ["--window", "2024-01-31/2024-02-01"]])
def test_members_of_other_times_are_refused_with_every_window(tmp_path, capsys, window):
    folder = write(tmp_path / "files")
    with netCDF4.Dataset(folder / "forecast_4.nc", "a") as file:  # the same number, 300 days later
        file["time"].units = "hours since 2024-11-26"
    assert main([*command(folder, output=tmp_path / "out"), *window]) == 2
    said = capsys.readouterr().err
    assert "forecast_4.nc is of 2024-11-26T03:00:00 but" in said and "forecast_1.nc of 2024-01-31T03:00:00" in said
    assert not (tmp_path / "out").exists()


def test_times_are_compared_as_dates(tmp_path):
    """In units and calendars of their own, one by one, in a file for each member or in one of all."""
    first = dated(tmp_path / "m1.nc", value=[0.0, 1 / 3, 48.0], size=3)
    about = {"units": "days since 1900-01-01"}
    same = dated(tmp_path / "m2.nc", value=45347 + np.array([0.0, 1 / 72, 2.0]), size=3, **about)
    check_times([first, same], "realization")
    noleap = dated(tmp_path / "m3.nc", value=[0.0, 1 / 3, 48.0], size=3, calendar="noleap")
    with pytest.raises(ValueError, match=r"m3\.nc is of 2024-03-01T00:00:00 but .*m1\.nc of 2024-02-29T00:00:00"):
        check_times([first, same, noleap], "realization")
    with pytest.raises(ValueError, match=r"m4\.nc has 2 times but .*m1\.nc 3: make members alike"):
        check_times([first, dated(tmp_path / "m4.nc", size=2)], "realization")
    with pytest.raises(ValueError, match=r"m5\.nc is of no time but .*m1\.nc of 2024-02-27T00:00:00"):
        check_times([first, dated(tmp_path / "m5.nc", units="hours")], "realization")
    unwritten = [dated(tmp_path / f"u{number}.nc", value=[np.nan]) for number in (1, 2)]
    check_times(unwritten, "realization")
    with pytest.raises(ValueError, match=r"u1\.nc is of no time but .*m4\.nc of 2024-02-27T00:00:00"):
        check_times([dated(tmp_path / "m4.nc", value=[0.0]), unwritten[0]], "realization")
    with pytest.raises(ValueError, match=r"m6\.nc: variable 'time' has no time at 1 of 2 places: repair it"):
        check_times([dated(tmp_path / "m6.nc", value=[0.0, np.nan], size=2)], "realization")
    one = dated(tmp_path / "one.nc", value=[3.0, 3.0, 4.0], size=3)
    with pytest.raises(ValueError, match=r"member 2 of .*one\.nc is of 2024-02-27T04:00:00 but member 0 of .*T03:00"):
        check_times([one], "t")
    check_times([dated(tmp_path / "static.nc", name="t", value=[3.0, 3.0, 4.0], size=3)], "t")  # of many times


DAYS = "days since 1900-01-01"


@pytest.mark.parametrize(
    ("mine", "its", "sentence"),
    [
        ((np.float32(44000), DAYS), (np.float32(44000 + 11 / 1440), DAYS), None),
        ((np.float32(44000), DAYS), (44000 + 5 / 1440, DAYS), None),
        ((np.float32(44000), DAYS), (np.float32(44000 + 40 / 1440), DAYS), "b.nc is of 2020-06-20T00:39:22.500000 but"),
        ((1.0, "days Since 1900-01-01"), (2.0, DAYS), "b.nc is of 1900-01-03T00:00:00 but .*a.nc of 1900-01-02"),
        ((1.0, "days Since 1900-01-01"), (24.0, "hours SINCE 1900-01-01"), None),
        ((3.0, "days since 0000-01-01"), (72.0, "hours since 0000-01-01"), None),
        ((3.0, "days since 0000-01-01"), (73.0, "hours since 0000-01-01"), "b.nc is of 0000-01-04T01:00:00 but"),
        ((1600000000 * 10**9, "nanoseconds since 1970-01-01"), (1600000000, "seconds since 1970-01-01"), None),
        (
            (1600000000 * 10**9, "ns since 1970-01-01"),
            (1600000001, "seconds since 1970-01-01"),
            "T12:26:41 but .*26:40",
        ),
        ((np.inf, DAYS), (np.inf, DAYS), "a.nc: variable 'time' is infinite: repair it"),
        (("0001-01-01_00:00:00", ""), ("0001-01-01_06:00:00", ""), "is of 0001-01-01T06:00:00 but .*0001-01-01T00:00:"),
        (("0000-00-00_00:00:00", ""), ("0000-00-00_00:00:00", ""), "a.nc: variable 'Times' is no date"),
    ],
)
def test_units_of_times(tmp_path, mine, its, sentence):
    """Two steps of what is stored are rounding, 11 minutes of days since 1900 in single precision; no more is."""
    for name, (value, units) in {"a.nc": mine, "b.nc": its}.items():
        wrf = xr.Variable(("Time",), np.array([value], "S19")) if isinstance(value, str) else None
        time = {"time": ((), value, {"units": units})} if wrf is None else {"Times": wrf}
        xr.Dataset({"q": (("x",), np.zeros(3)), **time}).to_netcdf(tmp_path / name)
    files = [tmp_path / "a.nc", tmp_path / "b.nc"]
    if sentence is None:
        check_times(files, "realization")
        return
    with pytest.raises(ValueError, match=sentence):
        check_times(files, "realization")


def test_several_tables_and_options_of_a_file(tmp_path, monkeypatch, capsys):
    folder = write(tmp_path / "files")
    monkeypatch.chdir(folder)
    (folder / "buoy_10.csv").write_text(f"{HEAD},qc\n{ROWS[0]},2\n{ROWS[2]},0\n")
    (folder / "buoy_9.csv").write_text(f"{HEAD},qc\n{ROWS[2]},1\nt,280,1,2024-01-31T03:00,45,5,,1\n")
    (folder / "c.toml").write_text('good = [1, 2]\nobservations = ["buoy_*.csv"]\n[variables.t]\nsurface = true\n')
    for options in (
        ["--observations", "buoy_*.csv", "--good", "1,2", "--surface", "t", "--variables", "t"],
        ["--config", "c.toml"],
    ):
        words = command(folder, output="out")
        words = words[: words.index("--observations")] + words[words.index("--observations") + 2 :]
        assert main([*words, *options, "--overwrite"]) == 0
        table = read("out/observations.nc")
        assert [table.place(row) for row in range(4)] == [
            f"buoy_{number}.csv: row {row}" for number in (9, 10) for row in (0, 1)
        ]
        assert table.reason.tolist() == ["used", "used", "used", "code 0 of its provider is not good"]
        assert table.extra["prior_mean"][1] > 0
        record = json.loads((folder / "out" / "analysis.json").read_text())["observations"]
        assert record["files"] == ["buoy_9.csv", "buoy_10.csv"]
        assert record["window"] == ["2024-01-31T00:00:00.000000", "2024-01-31T06:00:00.000000"]
    words = [*command(folder, output="none"), "--observations", "buoy_9.csv", "--variables", "t", "--surface", "t"]
    assert main(words) == 0
    assert (
        "none of 2 observations used (2 rejected by its provider, code 1); say which codes" in capsys.readouterr().err
    )


@pytest.mark.parametrize("start", ["2024-03-02", "2024-03-01T00:05", "2025-03-01"])
def test_cycles_begin_at_the_time_of_the_initial_files(tmp_path, capsys, start):
    """Members of another time than the start are refused, unless one says that it is right."""
    for number in (1, 2):
        field = xr.Dataset({"h": ("x", [1.0, number])}, {"time": np.datetime64("2024-03-01", "ns")})
        field.to_netcdf(tmp_path / f"m{number}.nc")
    (tmp_path / "obs.csv").write_text(f"variable,value,error,time,x\nh,0.3,0.5,{start},0\n")
    (tmp_path / "c.toml").write_text(
        'command = "cp {input} {output}"\ninitial = "m{member}.nc"\nobservations = "obs.csv"\nmembers = 2\ncycles = 1\n'
        'interval = 3600.0\nmethod = "ETKF()"\noutput = "out"\n'
    )
    words = ["cycle", str(tmp_path / "c.toml"), "--dry-run"]
    assert main([*words, "--start", start]) == 2
    said = capsys.readouterr().err
    assert "m1.nc: its time 'time' is 2024-03-01T00:00:00 but start is " in said and "check_time = false" in said
    assert main([*words, "--start", start, "--check_time", "false"]) == 0
    assert main([*words, "--start", "2024-03-01"]) == 0
    assert main([*words, "--start", "0"]) == 0
    capsys.readouterr()
    assert main([*words, "--start", "0", "--correlations", "h=Constant(0.4)"]) == 0
    assert "correlation of errors within h: Constant(" in capsys.readouterr().out
    main([*words, "--start", "0", "--method", "letsf", "--laws", "h=StudentT(freedom=3)"])
    assert "errors of h: StudentT(freedom=3)" in capsys.readouterr().out
