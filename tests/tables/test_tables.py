"""Observation tables: round trips, what broken files and rows get, imports, conventions."""

import string
import sys
import time
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from compliance_checker.runner import CheckSuite
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ensf.tables import ObservationTable, from_dart, from_frame, read, read_dart, read_ioda
from ensf.tables.flags import (
    BAD_ERROR,
    BAD_HEIGHT,
    BAD_POSITION,
    BAD_VALUE,
    MISSING,
    NO_ERROR,
    NO_TIME,
    NOT_GOOD,
    OUTSIDE,
    UNKNOWN,
    UNREADABLE,
    WINDOW,
)

HEADER = "variable,value,error,time,lat,lon,z,qc"
ROWS = [
    "t,280.5,1.0,2024-01-31T12:00:00,45.0,10.0,500,0",
    "t,,1.0,2024-01-31T13:30:00Z,46.0,11.0,,0",
    "u,-3.25,0.5,2024-01-31T12:00:00+01:00,47,355,850,0",
    "v,1e1,0.5,2024-01-31,-48,-12,850,7",
]
FORMATS = (".csv", ".nc")


def csv_file(folder, rows=ROWS, header=HEADER):
    path = folder / "obs.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def example(**changes):
    columns = {
        "variable": np.array(["t", "u", "t"]),
        "value": np.array([280.123456789012, np.nan, 1.0]),
        "error": np.array([1.0, 0.5, np.nan]),
        "time": np.array(["2024-01-31T12:00:00.25", "2024-02-01", "2024-02-02"], dtype="datetime64[us]"),
        "position": np.array([[45.1, 10.0], [-46.0, 359.5], [0.0, -180.0]]),
        "z": np.array([500.0, np.nan, 2.0]),
        "qc": np.array([0, 0, 3]),
        "reasons": {3: "bad sonde"},
        "extra": {"prior_mean": np.array([1.5, np.nan, 3.0]), "station": np.array(["a b", "", "ü,c"])},
    }
    return ObservationTable(**(columns | changes))


ORIGIN = ["from_file", "from_row"]


def same(one, other):
    """Equal but for where the rows are from."""
    names = [[name for name in table.columns if name not in ORIGIN] for table in (one, other)]
    assert names[0] == names[1]
    assert one.axes == other.axes
    for name, column in one.columns.items():
        if name in ORIGIN:
            continue
        np.testing.assert_array_equal(column, other.columns[name], err_msg=name)
    assert (one.reason == other.reason).all()


# --- the record ------------------------------------------------------------------------------------------


def test_a_row_without_a_value_is_rejected_as_missing():
    table = example()
    assert table.codes.tolist() == [0, MISSING, 3]
    assert table.used.tolist() == [True, False, False]
    assert table.reason.tolist() == ["used", "value missing", "bad sonde"]


def test_the_first_reason_is_kept():
    table = example().reject(np.array([True, True, True]), OUTSIDE)
    assert table.codes.tolist() == [OUTSIDE, MISSING, 3]
    again = table.reject(np.array([True, False, False]), 77, "mine")
    assert again.codes.tolist() == [OUTSIDE, MISSING, 3]
    assert example().reject(np.array([True, False, False]), 77, "mine").reason[0] == "mine"


def test_an_unknown_code_is_somebodys_reason():
    assert example(reasons={}).reason[2] == "rejected by its provider, code 3"


def test_arguments_are_not_changed():
    value, qc = np.array([np.nan, 1.0]), np.array([0, 0])
    table = ObservationTable("t", value, 1.0, "2024-01-01", np.zeros((2, 2)), qc=qc)
    assert qc.tolist() == [0, 0]
    assert table.codes.tolist() == [MISSING, 0]


def test_rows_are_taken_and_appended():
    table = example()
    same(table.take(np.array([0])).append(table.take(np.array([1, 2]))), table)
    other = example(extra={"merged": np.ones(3)}, z=None)
    joined = table.append(other)
    assert np.isnan(joined.extra["merged"][:3]).all()
    assert joined.extra["station"].tolist() == ["a b", "", "ü,c", "", "", ""]
    assert np.isnan(joined.height[3:]).all()
    with pytest.raises(ValueError, match="cannot be joined"):
        table.append(example(axes=("x", "y")))


def test_reasons_of_both_tables_stay():
    other = example(qc=np.array([0, 0, 5]), reasons={3: "something else", 5: "bad buoy"})
    reasons = example().append(other).reason
    assert reasons[2] == "bad sonde or something else" and reasons[5] == "bad buoy"


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({"variable": np.array(["t", "", ""]), "value": np.ones(3)}, [0, UNKNOWN, 3]),
        ({"value": np.array([np.inf, 1.0, -np.inf])}, [BAD_VALUE, 0, 3]),
        ({"error": np.array([0.0, 1.0, -1.0])}, [BAD_ERROR, MISSING, 3]),
        ({"error": np.array([-1.0, 1.0, 1.0])}, [BAD_ERROR, MISSING, 3]),
        ({"error": np.array([np.inf, 1.0, 1.0])}, [BAD_ERROR, MISSING, 3]),
        ({"error": np.array([np.nan, 1.0, 1.0])}, [NO_ERROR, MISSING, 3]),
        ({"time": np.array(["NaT", "2024", "2024"], dtype="datetime64[us]")}, [NO_TIME, MISSING, 3]),
        ({"position": np.array([[90.1, 0], [0, 0], [0, 0]])}, [BAD_POSITION, MISSING, 3]),
        ({"position": np.array([[0, 1e20], [0, 0], [0, 0]])}, [BAD_POSITION, MISSING, 3]),
        ({"position": np.array([[0, -999.0], [0, 0], [0, 0]])}, [BAD_POSITION, MISSING, 3]),
        ({"position": np.array([[np.nan, 0], [0, 0], [0, 0]])}, [BAD_POSITION, MISSING, 3]),
        ({"position": np.array([[0, np.inf], [0, 0], [0, 0]]), "axes": ("x", "y")}, [BAD_POSITION, MISSING, 3]),
        ({"z": np.array([np.inf, 0, 0])}, [BAD_HEIGHT, MISSING, 3]),
        ({"vertical": {"depth": np.array([-np.inf, 0, 0])}}, [BAD_HEIGHT, MISSING, 3]),
    ],
)
def test_a_broken_row_is_one_rejected_row(changes, codes):
    table = example(**changes)
    assert table.codes.tolist() == codes
    assert table.reason[0] in ("used", *table.meanings.values())


def test_latitudes_are_poles_to_rounding():
    position = np.array([[90.00000000000003, 0], [np.float32(-90.000001), 360.00000000000006], [90.001, 0]])
    table = ObservationTable("t", np.ones(3), 1.0, "2024-01-01", position)
    assert table.codes.tolist() == [0, 0, BAD_POSITION]
    assert table.position[:2, 0].tolist() == [90, -90]


def test_a_common_edge_of_two_windows_is_of_the_later_one():
    time = np.array(["2024-01-01T03", "2024-01-01T09", "2024-01-01T15", "NaT"], dtype="datetime64[us]")
    table = ObservationTable("t", np.ones(4), 1.0, time, np.zeros((4, 2)))
    assert table.within("2024-01-01T03", "2024-01-01T09").codes.tolist() == [0, WINDOW, WINDOW, NO_TIME]
    assert table.within("2024-01-01T09", "2024-01-01T15").codes.tolist() == [WINDOW, 0, WINDOW, NO_TIME]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"position": np.zeros((2, 2))}, "give each row its lat and lon"),
        ({"z": np.zeros(2)}, "column 'z' has shape"),
        ({"extra": {"a": np.zeros(2)}}, "column 'a' has shape"),
        ({"vertical": {"depth": np.zeros(2)}}, "column 'depth' has shape"),
        ({"vertical": {"altitude": np.zeros(3)}}, "vertical has a column 'altitude': give depth, height, pressure"),
        ({"axes": ("lon", "lat")}, r"give axes=\('lat', 'lon'\)"),
    ],
)
def test_columns_of_unequal_length_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        example(**changes)


# --- files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("axes", [("lat", "lon"), ("x", "y")])
def test_round_trip_is_identical(tmp_path, suffix, axes):
    table = example(axes=axes)
    table.write(tmp_path / f"obs{suffix}")
    same(read(tmp_path / f"obs{suffix}"), table)


@pytest.mark.parametrize("suffix", FORMATS)
def test_round_trip_of_no_rows(tmp_path, suffix):
    table = example().take(np.zeros(3, dtype=bool))
    table.write(tmp_path / f"obs{suffix}")
    assert len(read(tmp_path / f"obs{suffix}")) == 0


def test_csv_is_read(tmp_path):
    table = read(csv_file(tmp_path))
    assert table.variable.tolist() == ["t", "t", "u", "v"]
    assert table.codes.tolist() == [0, MISSING, 0, 7]
    times = ["2024-01-31T12:00", "2024-01-31T13:30", "2024-01-31T11:00", "2024-01-31T00:00"]
    assert (table.time == np.array(times, dtype="datetime64[us]")).all()
    assert np.array_equal(table.z, [500, np.nan, 850, 850], equal_nan=True)
    assert table.value[3] == 10


MASKED = {
    "value": (np.array([1, 2]), "value missing"),
    "error": (np.array([1.0, 2.0]), "error missing"),
    "time": (np.full(2, np.datetime64("2024-01-01", "us")), "time missing"),
    "variable": (np.array(["t", "t"]), "variable not in the state"),
    "qc": (np.array([0, 0]), "an entry cannot be read"),
    "position": (np.zeros((2, 2)), "no such place"),
}


@pytest.mark.parametrize("name", MASKED)
def test_what_is_masked_in_a_column_is_empty(name):
    column, reason = MASKED[name]
    mask = np.zeros(column.shape, bool)
    mask[1] = True
    columns = {one: values for one, (values, _) in MASKED.items()} | {name: np.ma.masked_array(column, mask)}
    assert ObservationTable(**columns).reason.tolist() == ["used", reason]


def test_what_is_masked_in_a_carried_column_or_a_height_is_empty():
    masked = np.ma.masked_array([1, 2], [False, True])
    columns = {one: values for one, (values, _) in MASKED.items()}
    table = ObservationTable(**columns, z=masked, vertical={"depth": masked}, extra={"cruise": masked})
    for column in (table.height, table.vertical["depth"], table.extra["cruise"]):
        np.testing.assert_array_equal(column, [1.0, np.nan])


def test_columns_in_any_order_with_long_names_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "obs.csv"
    path.write_text("\ufefflongitude, latitude,error,value,time,variable,note\n1,2,3,4,2024-01-01, t ,x\n\n")
    table = read(path)
    assert table.position.tolist() == [[2, 1]]
    assert table.variable.tolist() == ["t"]
    assert table.extra["note"].tolist() == ["x"]


BROKEN = [
    (HEADER.replace("time,", ""), "no column 'time'"),
    (HEADER.replace("z", "value"), "two columns 'value'"),
    (HEADER.replace("z", "latitude"), "two columns 'lat'"),
    (HEADER.replace("z", ""), "a column without a name, number 7"),
    (HEADER.replace("z", "pressure"), r"'pressure' states no units, .*: write it into the header, as in pressure"),
    (HEADER.replace("z", "pressure [m]"), "'pressure' has units 'm', which cannot be converted to Pa"),
    (HEADER.replace("z", "depth [fathoms per day]"), "'depth' has units 'fathoms per day'"),
]


@pytest.mark.parametrize(("header", "message"), BROKEN)
def test_a_broken_header_is_one_sentence(tmp_path, header, message):
    with pytest.raises(ValueError, match=message) as caught:
        read(csv_file(tmp_path, [], header))
    assert "obs.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_ten_thousand_columns_are_refused_at_once(tmp_path):
    header = ",".join([HEADER, *(f"c{number}" for number in range(10_000))])
    start = time.perf_counter()
    with pytest.raises(ValueError, match=r"obs\.csv has 10008 columns: keep 1000 or fewer"):
        read(csv_file(tmp_path, [], header))
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_another_separator_is_told(tmp_path, separator):
    with pytest.raises(ValueError, match=r"obs\.csv separates its columns by '.*': write it with commas"):
        read(csv_file(tmp_path, [row.replace(",", separator) for row in ROWS], HEADER.replace(",", separator)))


def test_quotes_after_a_blank_are_quotes(tmp_path):
    quoted = [", ".join(f'"{entry}"' for entry in row.split(",")) for row in (HEADER, *ROWS[2:])]
    table = read(csv_file(tmp_path, [*quoted[1:], quoted[1].replace("-3.25", "abc")], quoted[0]))
    assert table.value.tolist()[:2] == [-3.25, 10.0] and table.codes.tolist() == [0, 7, UNREADABLE]


def test_an_open_quote_is_no_csv(tmp_path):
    with pytest.raises(ValueError, match=r"obs\.csv, line 5: not CSV"):
        read(csv_file(tmp_path, [*ROWS[:3], ROWS[3].replace(",7", ',"7')]))


CELLS = [
    (2, "-3.25", "abc", UNREADABLE, "line 4: value is 'abc': give a number"),
    (2, "-3.25", "1_0", UNREADABLE, "line 4: value is '1_0': give a number"),
    (2, "0.5", "0", BAD_ERROR, "line 4: error is 0.0: give a positive standard deviation; the"),
    (2, "0.5", "-1", BAD_ERROR, "line 4: error is -1.0"),
    (2, "0.5", "", NO_ERROR, "line 4: error is nan: give a positive standard deviation; unless its law needs none, "),
    (2, "0.5", "inf", BAD_ERROR, "line 4: error is inf"),
    (0, "2024-01-31T12:00:00", "2024-13-31", UNREADABLE, "line 2: time is '2024-13-31': give ISO 8601"),
    (0, "2024-01-31T12:00:00", "", NO_TIME, "line 2: time is NaT"),
    (0, "t,", ",", UNKNOWN, "line 2: variable is empty"),
    (0, "45.0", "95", BAD_POSITION, "line 2: lat is 95.0"),
    (2, "850,0", "850,7.5", UNREADABLE, ""),
    (2, "850,0", "850,", UNREADABLE, ""),
    (2, "850,0", "850", UNREADABLE, "line 4: 7 entries but the header has 8"),
    (2, "850,0", "850,0,8", UNREADABLE, "line 4: 9 entries but the header has 8"),
    (0, "500,0", "500,0,8", UNREADABLE, "line 2: 9 entries but the header has 8"),
]


@pytest.mark.parametrize(("row", "old", "new", "code", "message"), CELLS)
def test_a_broken_row_of_csv_is_rejected_and_told(tmp_path, caplog, row, old, new, code, message):
    rows = list(ROWS)
    assert old in rows[row]
    rows[row] = rows[row].replace(old, new, 1)
    table = read(csv_file(tmp_path, rows))
    expected = [0, MISSING, 0, 7]
    expected[row] = code
    assert table.codes.tolist() == expected
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == bool(message)
    assert all("obs.csv, " + message in one and one.endswith(" the row is rejected") for one in told)


def test_lines_of_wrong_lengths_that_cancel_are_seen(tmp_path):
    rows = [ROWS[0], ROWS[0] + ",8", ROWS[0].removesuffix(",0"), ROWS[0]]
    assert read(csv_file(tmp_path, rows)).codes.tolist() == [0, UNREADABLE, UNREADABLE, 0]
    assert read(csv_file(tmp_path, rows[1:])).codes.tolist() == [UNREADABLE, UNREADABLE, 0]


def test_lines_are_counted_as_an_editor_does(tmp_path, caplog):
    path = csv_file(tmp_path, [ROWS[0].replace("t,", '"t\n",'), "", ROWS[0].replace("280.5", "x")])
    assert read(path).codes.tolist() == [0, UNREADABLE]
    assert "obs.csv, line 5: value is 'x'" in caplog.text


# --- several files -----------------------------------------------------------------------------------------


def test_several_tables_say_which_file_and_row_each_row_is_from(tmp_path):
    for name in ("argo_10.nc", "argo_9.nc"):
        example(value=np.full(3, float(name[5:-3]))).write(tmp_path / name)
    path = csv_file(tmp_path)
    table = read([path, tmp_path / "argo_*.nc"])
    files = [path] * 4 + [tmp_path / "argo_9.nc"] * 3 + [tmp_path / "argo_10.nc"] * 3
    assert table.extra["from_file"].tolist() == [file.name for file in files]
    assert table.extra["from_row"].tolist() == [0, 1, 2, 3, 0, 1, 2, 0, 1, 2]
    assert table.value[4:].tolist() == [9, 9, 9, 10, 10, 10]
    assert table.place(5) == "argo_9.nc: row 1"
    table.write(tmp_path / "all.nc")
    again = read(tmp_path / "all.nc")
    assert again.extra["from_file"].tolist() == table.extra["from_file"].tolist()
    assert again.extra["from_row"].tolist() == table.extra["from_row"].tolist()
    with pytest.raises(FileNotFoundError, match="buoy_.*check the name or pattern of the observations"):
        read([path, tmp_path / "buoy_*.csv"])
    with pytest.raises(ValueError, match="are the same file"):
        read([path, tmp_path / "*.csv"])
    example(axes=("x", "y")).write(tmp_path / "plane.csv")
    with pytest.raises(ValueError, match=r"plane\.csv has positions in \('x', 'y'\)"):
        read([path, tmp_path / "plane.csv"])


def test_codes_that_count_otherwise(tmp_path):
    rows = [ROWS[0].removesuffix("0") + str(code) for code in (0, 1, 2, 3)]
    assert read(csv_file(tmp_path, rows), good=(1, 2)).codes.tolist() == [NOT_GOOD, 0, 0, 3]
    assert read(tmp_path / "obs.csv").codes.tolist() == [0, 1, 2, 3]
    example().write(tmp_path / "obs.nc")
    flags = xr.DataArray(np.array([b"1", b" ", b"4"]), dims="obs")
    edited(tmp_path / "obs.nc", qc=lambda v: flags)
    assert read(tmp_path / "obs.nc", good=[1]).codes.tolist() == [0, UNREADABLE, 4]


@pytest.mark.parametrize("suffix", FORMATS)
def test_heights_keep_their_kind_and_are_in_units_of_the_table(tmp_path, suffix):
    header = "variable,value,error,time,lat,lon,depth [km],height,pressure (hPa)"
    path = csv_file(tmp_path, ["t,1,1,2024-01-01,1,1,0.5,,", "t,1,1,2024-01-01,1,1,,20,850"], header)
    table = read(path)
    table.write(tmp_path / f"again{suffix}")
    for one in (table, read(tmp_path / f"again{suffix}")):
        assert np.array_equal(one.vertical["depth"], [500, np.nan], equal_nan=True)
        assert np.array_equal(one.vertical["height"], [np.nan, 20], equal_nan=True)
        assert np.array_equal(one.vertical["pressure"], [np.nan, 85000], equal_nan=True)
        assert one.z is None
    both = table.append(example())
    assert np.isnan(both.vertical["depth"][2:]).all() and both.z[2] == 500


def test_a_depth_in_netcdf_may_count_upwards(tmp_path):
    example(z=None, vertical={"depth": np.array([-5.0, -10.0, 0.0])}).write(tmp_path / "obs.nc")
    edited(tmp_path / "obs.nc", depth=lambda v: v.assign_attrs(positive="up", units="cm"))
    assert read(tmp_path / "obs.nc").vertical["depth"].tolist() == [0.05, 0.1, 0]


def test_files_that_are_no_tables(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file .*obs.csv: check the name or pattern"):
        read(tmp_path / "obs.csv")
    (tmp_path / "obs.txt").write_text("x")
    with pytest.raises(ValueError, match="suffix '.txt': give a table as one of .csv, .nc"):
        read(tmp_path / "obs.txt")
    (tmp_path / "obs.csv").write_text("")
    with pytest.raises(ValueError, match=r"obs\.csv is empty"):
        read(tmp_path / "obs.csv")
    (tmp_path / "obs.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ValueError, match="not text in UTF-8"):
        read(tmp_path / "obs.csv")


@pytest.mark.parametrize("part", [0, 1, 10, 100, 0.3, 0.6, 0.9, 0.99])
def test_a_truncated_netcdf_file_is_refused(tmp_path, part):
    path = tmp_path / "obs.nc"
    example().write(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part if part >= 1 or part == 0 else part * len(whole))])
    with pytest.raises(ValueError, match=r"obs\.nc is not a NetCDF file, or damaged \(.*\): make it again"):
        read(path)


def edited(path, **changes):
    """The file with variables replaced, or dropped if None."""
    with xr.open_dataset(path, decode_times=False) as file:
        dataset = file.load()
    for name, change in changes.items():
        dataset = dataset.drop_vars(name) if change is None else dataset.assign({name: change(dataset[name])})
    dataset.to_netcdf(path)
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": None}, "no variable 'value'"),
        ({"time": None}, "no column 'time': a table needs .*good = "),
        ({"error": lambda v: v.astype(str)}, "variable 'error' has dtype"),
        ({"value": lambda v: xr.DataArray(v.values[None], dims=("level", "obs"))}, "'value' has dimensions"),
        ({"time": lambda v: v.astype(str)}, "variable 'time' has dtype"),
        ({"time": lambda v: v.assign_attrs(units="fortnights since yesterday")}, "'time' has units 'fortnights"),
        (
            {"time": lambda v: v.assign_attrs(units="days since 1970-01-01", calendar="360_day")},
            "a calendar of real dates",
        ),
        ({"lat": lambda v: v.assign_attrs(units="metres")}, "'lat' has units 'metres': give degrees_north"),
        ({"lon": lambda v: v.assign_attrs(units="degrees_west")}, "'lon' has units 'degrees_west'"),
        ({"variable": lambda v: xr.zeros_like(v, dtype=np.int32)}, "variable 'variable' has dtype int32"),
    ],
)
def test_broken_netcdf_is_one_sentence(tmp_path, changes, message):
    example().write(tmp_path / "obs.nc")
    with pytest.raises(ValueError, match=message) as caught:
        read(edited(tmp_path / "obs.nc", **changes))
    assert "obs.nc" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({"error": lambda v: v * 0}, [BAD_ERROR, MISSING, 3]),
        ({"time": lambda v: v.where(v < 0)}, [NO_TIME, MISSING, 3]),
        ({"qc": lambda v: v + 0.5}, [UNREADABLE] * 3),
    ],
)
def test_a_broken_row_of_netcdf_is_rejected(tmp_path, changes, codes):
    example().write(tmp_path / "obs.nc")
    assert read(edited(tmp_path / "obs.nc", **changes)).codes.tolist() == codes


def test_names_may_be_written_as_flags_and_times_in_hours(tmp_path):
    example().write(tmp_path / "obs.nc")
    flags = {"flag_values": np.array([4, 5], dtype=np.int32), "flag_meanings": "wind_speed t"}
    edited(
        tmp_path / "obs.nc",
        variable=lambda v: xr.DataArray(np.array([4, 5, 4], dtype=np.int32), dims="obs", attrs=flags),
        time=lambda v: xr.DataArray([0.5, 1.0, 2.0], dims="obs", attrs={"units": "hours since 2024-01-01"}),
    )
    table = read(tmp_path / "obs.nc")
    assert table.variable.tolist() == ["wind_speed", "t", "wind_speed"]
    assert table.time[0] == np.datetime64("2024-01-01T00:30")


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_existing_file_is_not_touched(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"obs{suffix}"
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="exists: write elsewhere, or say overwrite"):
        example().write(path)
    with monkeypatch.context() as patch, pytest.raises(OSError, match=r"could not be written .*: is the disk full"):
        patch.setattr(Path, "open", full)
        patch.setattr(xr.Dataset, "to_netcdf", full)
        example().write(path, overwrite=True)
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]


def full(*_, **__):
    raise OSError(28, "No space left on device")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder .*nowhere"):
        example().write(tmp_path / "nowhere" / "obs.csv")


# --- whatever happens to a file --------------------------------------------------------------------------

SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read_or_refuse(path):
    """Table of a file that may be broken; every row in use is whole, and an error is one sentence."""
    try:
        table = read(path)
    except (ValueError, OSError) as error:
        assert str(path) in str(error)
        assert "\n" not in str(error) and len(str(error)) < 600
        return None
    used = table.used
    assert np.isfinite(table.value[used]).all()
    assert (np.isfinite(table.error[used]) & (table.error[used] > 0)).all()
    assert not np.isnat(table.time[used]).any()
    assert "lat" not in table.axes or (np.abs(table.position[used, 0]) <= 90).all()
    assert (table.variable[used] != "").all()
    return table


@SLOW
@given(data=st.data())
def test_mutated_csv_is_read_right_or_refused(tmp_path, data):
    text = csv_file(tmp_path).read_text()
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        stop = data.draw(st.integers(start, min(len(text), start + 8)))
        text = text[:start] + data.draw(st.text(string.printable + "ü\x00\ufeff", max_size=6)) + text[stop:]
    (tmp_path / "obs.csv").write_text(text, encoding="utf-8")
    read_or_refuse(tmp_path / "obs.csv")


@SLOW
@given(data=st.data())
def test_an_entry_is_what_was_written_or_refused(tmp_path, data):
    row, column = data.draw(st.integers(0, 2)), data.draw(st.sampled_from([1, 2, 4, 5]))
    entry = data.draw(st.one_of(st.floats().map(repr), st.text("0123456789eE+-._naif", max_size=8)))
    rows = [line.split(",") for line in ROWS]
    rows[row][column] = entry
    table = read_or_refuse(csv_file(tmp_path, [",".join(line) for line in rows]))
    if table is not None and table.used[row]:
        read_back = [table.value, table.error, None, *table.position.T][column - 1]
        assert read_back[row] == float(entry)


@SLOW
@given(data=st.data())
def test_mutated_bytes_are_read_right_or_refused(tmp_path, data):
    path = csv_file(tmp_path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    read_or_refuse(path)


BAD = [np.nan, np.inf, -np.inf, 0.0, -1.0, 1e20, 1e300, -999.0]


@SLOW
@given(data=st.data())
def test_mutated_netcdf_is_read_right_or_refused(tmp_path, data):
    path = tmp_path / "obs.nc"
    example().write(path, overwrite=True)
    with netCDF4.Dataset(path, "a") as file:
        name = data.draw(st.sampled_from(["value", "error", "time", "lat", "lon", "z", "qc"]))
        what = data.draw(st.sampled_from(["value", "attribute", "rename", "no attribute"]))
        if what == "value":
            bad = data.draw(st.sampled_from(BAD if name != "qc" else [-1, 5, 2**31 - 1]))
            file[name][data.draw(st.integers(0, 2))] = bad
        elif what == "attribute":
            attribute = data.draw(
                st.sampled_from(["units", "calendar", "scale_factor", "flag_values", "missing_value"])
            )
            drawn = st.one_of(
                st.sampled_from(BAD), st.text(string.ascii_letters, min_size=1), st.just("days since 1-1-1")
            )
            file[name].setncattr(attribute, data.draw(drawn))
        elif what == "rename":
            file.renameVariable(name, "something")
        elif "units" in file[name].ncattrs():
            file[name].delncattr("units")
    read_or_refuse(path)


# --- imports ---------------------------------------------------------------------------------------------


def ioda(path, leave=(), **changes):
    """An IODA file of three places with temperature and wind."""
    variables = {
        "MetaData/latitude": np.array([10.0, 20.0, -30.0], dtype="f4"),
        "MetaData/longitude": np.array([0.0, 350.0, -10.0], dtype="f4"),
        "MetaData/pressure": np.array([1e5, 5e4, np.nan], dtype="f4"),
        "MetaData/dateTime": np.array([0, 3600, 7200], dtype="i8"),
        "ObsValue/airTemperature": np.array([280.0, np.nan, 290.0]),
        "ObsError/airTemperature": np.array([1.0, 1.0, np.nan]),
        "PreQC/airTemperature": np.array([0, 0, 0], dtype="i4"),
        "ObsValue/windEastward": np.array([1.0, 2.0, 3.0]),
        "ObsError/windEastward": np.array([0.5, 0.5, 0.5]),
        "PreQC/windEastward": np.array([0, 2, 9], dtype="i4"),
    }
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("Location", 3)
        file.createDimension("Channel", 2)
        for name, values in (variables | changes).items():
            if name in leave or name.split("/")[0] in leave:
                continue
            dims = ("Location", "Channel")[: values.ndim]
            kind = str if values.dtype.kind == "U" else values.dtype
            written = file.createVariable(f"/{name}", kind, dims)
            written[:] = values.astype(object) if kind is str else values
            if name.endswith("dateTime") and kind is not str:
                written.units = "seconds since 2024-01-01T00:00:00Z"
    return path


def test_ioda_is_imported(tmp_path):
    names = {"airTemperature": "t", "windEastward": "u"}
    table = read_ioda(ioda(tmp_path / "ioda.nc"), names, vertical="pressure")
    assert table.variable.tolist() == ["t"] * 3 + ["u"] * 3
    assert table.codes.tolist() == [0, MISSING, NO_ERROR, 0, 2, 9]
    assert table.position[1].tolist() == [20, 350]
    assert (table.time[:3] == np.array(["2024-01-01T00", "2024-01-01T01", "2024-01-01T02"], "datetime64[h]")).all()
    assert np.array_equal(table.z, [1e5, 5e4, np.nan] * 2, equal_nan=True)
    assert read_ioda(tmp_path / "ioda.nc", names, good=range(4)).codes[4] == 0
    assert set(read_ioda(tmp_path / "ioda.nc").variable) == set(names)


def test_a_file_is_known_by_its_content(tmp_path):
    path = ioda(tmp_path / "ioda.nc")
    same(read(path), read_ioda(path, vertical="pressure"))
    np.testing.assert_array_equal(read(path).z[:2], [1e5, 5e4])
    assert read(ioda(path, ("MetaData/pressure",))).z is None
    other = tmp_path / "stations.txt"
    other.write_text("obs, but no sequence")
    with pytest.raises(ValueError, match="suffix '.txt'"):
        read(other)


def test_negative_quality_codes_of_ioda_are_not_good(tmp_path):
    written = ioda(tmp_path / "ioda.nc", **{"PreQC/windEastward": np.array([-7, 2, 0], dtype="i4")})
    assert read_ioda(written, {"windEastward": "u"}, good=range(4)).codes.tolist() == [-7, 0, 0]


def test_ioda_without_quality_codes_and_with_written_times(tmp_path):
    times = np.array(["2024-01-01T00:00:00Z", "2024-01-01T01:00:00Z", "2024-01-01T02:00:00Z"])
    written = ioda(tmp_path / "ioda.nc", leave=("PreQC", "MetaData/dateTime"), **{"MetaData/datetime": times})
    table = read_ioda(written, {"windEastward": "u"})
    assert table.used.all()
    assert table.time[2] == np.datetime64("2024-01-01T02")


@pytest.mark.parametrize(
    ("leave", "changes", "message"),
    [
        (("ObsError",), {}, "no group 'ObsError'"),
        (("MetaData/latitude",), {}, "no variable MetaData/latitude: the group has"),
        (("ObsError/windEastward",), {}, "no variable ObsError/windEastward"),
        ((), {"ObsValue/windEastward": np.ones((3, 2))}, "ObsError/windEastward has dimensions .* along the channels"),
        ((), {"ObsError/windEastward": np.ones((3, 2))}, "ObsError/windEastward has dimensions"),
    ],
)
def test_broken_ioda_is_one_sentence(tmp_path, leave, changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_ioda(ioda(tmp_path / "ioda.nc", leave, **changes), {"windEastward": "u"})
    assert "ioda.nc" in str(caught.value)


def test_a_broken_row_of_ioda_is_rejected(tmp_path, caplog):
    changes = {"ObsError/windEastward": np.array([0.5, 0, 0.5]), "MetaData/latitude": np.array([99.0, 0, 0])}
    table = read_ioda(ioda(tmp_path / "ioda.nc", leave=("PreQC",), **changes), {"windEastward": "u"})
    assert table.codes.tolist() == [BAD_POSITION, BAD_ERROR, 0]
    assert "ioda.nc, row 0 of the import: lat is 99.0" in caplog.text


def test_channels_are_variables(tmp_path):
    numbers = np.array([5, 12], dtype="i4")
    values = np.arange(6.0).reshape(3, 2)
    path = ioda(
        tmp_path / "ioda.nc",
        **{
            "ObsValue/brightnessTemperature": values,
            "ObsError/brightnessTemperature": 0.1 + values,
            "PreQC/brightnessTemperature": np.array([[0, 1], [2, 0], [0, 0]], dtype="i4"),
        },
    )
    assert set(read_ioda(path, {"brightnessTemperature": "tb"}).variable) == {"tb_1", "tb_2"}
    with netCDF4.Dataset(path, "a") as file:
        file.createVariable("Channel", "i4", ("Channel",))[:] = numbers
    table = read_ioda(path, {"brightnessTemperature": "tb", "windEastward": "u"})
    assert table.variable.tolist() == ["tb_5"] * 3 + ["tb_12"] * 3 + ["u"] * 3
    assert table.value[:6].tolist() == [0, 2, 4, 1, 3, 5]
    assert table.error[:6].tolist() == [0.1, 2.1, 4.1, 1.1, 3.1, 5.1]
    assert table.codes[:6].tolist() == [0, 2, 0, 1, 0, 0]
    one = read_ioda(path, {"brightnessTemperature_12": "window"})
    assert one.variable.tolist() == ["window"] * 3 and one.value.tolist() == [1, 3, 5]
    with pytest.raises(ValueError, match="has no channel 7: choose from 5, 12"):
        read_ioda(path, {"brightnessTemperature_7": "window"})


def test_files_that_are_not_ioda(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_ioda(tmp_path / "ioda.nc")
    (tmp_path / "ioda.nc").write_bytes(b"x")
    with pytest.raises(ValueError, match="not a NetCDF file, or damaged"):
        read_ioda(tmp_path / "ioda.nc")


DART = """ obs_sequence
obs_type_definitions
           2
          1 RADIOSONDE_TEMPERATURE
          2 RADIOSONDE_U_WIND_COMPONENT
  num_copies:            1  num_qc:            1
  num_obs:            3  max_num_obs:            3
NCEP BUFR observation
NCEP QC index
  first:            1  last:            3
 OBS            1
   280.5
   1.0
          -1           2          -1
obdef
loc3d
     1.5707963267948966        0.5235987755982988         50000.0      2
kind
           1
 43200     154862
   4.0
 OBS            2
   -3.0
   0.0
           1           3          -1
obdef
loc3d
     0.0        0.0         10.0     -1
kind
           2
 0     154863
   0.25
 OBS            3
   -888888.0
   0.0
           2          -1          -1
obdef
loc3d
     0.0        0.0         10.0     3
kind
           2
 0     154863
   0.25
"""


def sequence():
    """What pydartdiags makes of `DART`."""
    return pd.DataFrame(
        {
            "obs_num": [1, 2, 3],
            "observation": [280.5, -3.0, -888888.0],
            "NCEP_QC_index": [1.0, 0.0, 0.0],
            "linked_list": ["", "", ""],
            "longitude": [90.0, 0.0, 0.0],
            "latitude": [30.0, 0.0, 0.0],
            "vertical": [50000.0, 10.0, 10.0],
            "vert_unit": ["pressure (Pa)", "surface (m)", "height (m)"],
            "type": ["RADIOSONDE_TEMPERATURE", "RADIOSONDE_U_WIND_COMPONENT", "RADIOSONDE_U_WIND_COMPONENT"],
            "time": pd.to_datetime(["2024-12-31 12:00", "2025-01-01 00:00", "2025-01-01 00:00"]),
            "obs_err_var": [4.0, 0.25, 0.25],
        }
    )


def check_dart(table):
    assert table.variable.tolist() == ["t", "u", "u"]
    assert table.error.tolist() == [2, 0.5, 0.5]
    np.testing.assert_allclose(table.position, [[30, 90], [0, 0], [0, 0]], atol=1e-12)
    assert np.array_equal(table.vertical["pressure"], [50000, np.nan, np.nan], equal_nan=True)
    assert np.array_equal(table.vertical["height"], [np.nan, np.nan, 10], equal_nan=True)
    assert table.codes.tolist() == [1, 0, MISSING]
    times = ["2024-12-31T12", "2025-01-01T00", "2025-01-01T00"]
    assert (table.time == np.array(times, dtype="datetime64[h]")).all()


KINDS = {"RADIOSONDE_TEMPERATURE": "t", "RADIOSONDE_U_WIND_COMPONENT": "u"}


def test_a_frame_of_dart_is_imported():
    check_dart(from_dart(sequence(), KINDS))
    assert from_dart(sequence(), {"RADIOSONDE_TEMPERATURE": "t"}, good=[1]).codes.tolist() == [0]
    both = sequence().assign(DART_quality_control=[7.0, 7.0, 0.0])
    check_dart(from_dart(both, KINDS))
    assert from_dart(both.drop(columns="NCEP_QC_index"), KINDS).codes.tolist() == [7, 7, MISSING]
    with pytest.raises(ValueError, match="no column 'obs_err_var'"):
        from_dart(sequence().drop(columns="obs_err_var"))
    assert from_dart(sequence().assign(obs_err_var=[1.0, 0.0, 1.0])).codes.tolist() == [1, NO_ERROR, MISSING]


def test_a_text_file_of_dart_is_imported(tmp_path):
    pytest.importorskip("pydartdiags")
    (tmp_path / "obs_seq.out").write_text(DART)
    check_dart(read_dart(tmp_path / "obs_seq.out", KINDS))
    for lines in range(0, len(DART.splitlines()), 3):
        (tmp_path / "obs_seq.out").write_text("\n".join(DART.splitlines()[:lines]))
        with pytest.raises(ValueError, match=r"obs_seq\.out"):
            read_dart(tmp_path / "obs_seq.out", KINDS)


def test_dart_needs_its_reader(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydartdiags.obs_sequence.obs_sequence", None)
    (tmp_path / "obs_seq.out").write_text(DART)
    with pytest.raises(ImportError, match="pip install pydartdiags"):
        read_dart(tmp_path / "obs_seq.out")


# --- conventions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [("lat", "lon"), ("x", "y")])
def test_files_follow_cf(tmp_path, axes):
    example(axes=axes).write(tmp_path / "obs.nc")
    CheckSuite.load_all_available_checkers()
    checker = CheckSuite()
    file = checker.load_dataset(str(tmp_path / "obs.nc"))
    ((groups, errors),) = checker.run_all(file, ["cf:1.11"]).values()
    file.close()
    assert set(errors) <= {"check_domain_variables"}  # which looks for a cf_role, that points have not, and crashes
    assert [message for result in leaves(groups) for message in result.msgs or [] if failed(result)] == []
    with xr.open_dataset(tmp_path / "obs.nc") as opened:
        assert opened.attrs["featureType"] == "point"
        assert opened.qc.attrs["flag_meanings"].split()[1] == "value_missing"


def failed(result):
    score = result.value if isinstance(result.value, tuple) else (int(bool(result.value)), 1)
    return score[0] < score[1]


def leaves(results):
    for result in results:
        yield from leaves(result.children) if result.children else [result]


def test_columns_are_called_as_coordinates_are(tmp_path):
    path = tmp_path / "obs.csv"
    for latitude, longitude in (("latitude", "longitude"), ("lat", "lon"), ("nav_lat", "nav_lon")):
        path.write_text(f"variable,value,error,time,{longitude},{latitude}\nt,1,1,2024-01-01,7,50\n")
        assert read(path).position.tolist() == [[50.0, 7.0]]


# --- what is printed -------------------------------------------------------------------------------------


def test_a_table_prints_facts_not_rows():
    size = 100_000
    value = np.linspace(250.0, 300.0, size)
    value[7] = np.nan
    variable = np.where(np.arange(size) < 10, "<ps>", "t")
    time = np.datetime64("2024-01-01") + np.arange(size).astype("timedelta64[s]")
    position = np.stack([np.linspace(-60, 60, size), np.zeros(size)], axis=1)
    shown = repr(ObservationTable(variable, value, 1.0, time, position, extra={"height": value}))
    assert shown.splitlines() == [
        "ObservationTable: 100000 rows",
        "    t              99990 rows, 250.005 to 300",
        "    <ps>           10 rows, 250 to 250.005",
        "    lat            -60 to 60",
        "    lon            0",
        "    time           2024-01-01T00:00:00 to 2024-01-02T03:46:39",
        "    used           99999 rows",
        "    value missing  1 rows",
        "    other columns  height",
    ]
    html = ObservationTable(variable, value, 1.0, time, position)._repr_html_()
    assert "&lt;ps&gt;" in html and "<td style='text-align: left'>99999 rows</td>" in html


def test_an_empty_table_prints():
    empty = ObservationTable(np.array([], str), np.array([]), 1.0, np.array([], "M8[us]"), np.zeros((0, 2)))
    assert "0 rows" in repr(empty) and "no time" in repr(empty)


# --- DataFrames ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("indexed", [False, True])
def test_a_dataframe_is_read_as_its_csv_is(rng, indexed):
    frame = pd.DataFrame(
        {
            "variable": ["t", "u"] * 10,
            "lat": rng.uniform(-90, 90, 20),
            "lon": rng.uniform(0, 360, 20),
            "value": np.where(np.arange(20) % 7, rng.standard_normal(20), np.nan),
            "error": np.float32(0.1),
            "time": pd.date_range("2024-01-31T01:00", periods=20, freq="90min", tz="Europe/Berlin"),
            "kind": ["buoy", None] * 10,
            "pressure [hPa]": rng.uniform(10, 1000, 20),
            "qc": np.arange(20) % 3,
        }
    )
    table = from_frame(frame.set_index("time") if indexed else frame, good=(0, 1), name="mine")
    np.testing.assert_array_equal(table.value, frame["value"])
    np.testing.assert_array_equal(table.position, frame[["lat", "lon"]])
    np.testing.assert_allclose(table.vertical["pressure"], 100 * frame["pressure [hPa]"], rtol=1e-15)
    assert table.time[0] == np.datetime64("2024-01-31T00:00") and np.unique(np.diff(table.time)) == 90 * 60 * 10**6
    assert table.kind[:2].tolist() == ["buoy", "u"] and table.place(3) == "mine: row 3"
    used = (np.arange(20) % 7 > 0) & (np.arange(20) % 3 < 2)
    assert (table.used == used).all()


def test_a_dataframe_that_is_no_table_is_told(caplog):
    columns = {"variable": ["t"], "lat": [1.0], "lon": [2.0], "value": ["warm"], "error": [0.5], "time": ["2024-01-31"]}
    assert from_frame(columns).reason.tolist() == ["an entry cannot be read"]
    assert "DataFrame, row 0: value is 'warm': give a number" in caplog.text
    with pytest.raises(ValueError, match="DataFrame has no column 'value'"):
        from_frame({"variable": ["t"]})
