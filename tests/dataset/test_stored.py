"""What is missing, by every way in which a file can say so; units; places of grids."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from ensf.dataset import analyse, interpolate, netcdf, pack
from ensf.dataset.coordinates import find_coordinate, located, without_place
from ensf.dataset.grids import Curvilinear
from ensf.dataset.stored import JEDI_INTEGERS, Stored, decoded
from ensf.dataset.units import in_units
from ensf.filters import ETKF
from ensf.observations import Observation, Select

F4, F8 = 9.969209968386869e36, 9.969209968386869e36
JEDI = np.float32(-3.3687953e38)
CASES = {  # type, attributes, stored, which are missing
    "never written, 4 bytes": ("f4", {}, [1, F4], [0, 1]),
    "never written, 8 bytes": ("f8", {}, [1, F8], [0, 1]),
    "never written beside another fill": ("f4", {"_FillValue": -1.0}, [1, F4, -1], [0, 1, 1]),
    "never written, 2-byte integer": ("i2", {"scale_factor": 0.5}, [1, -32767], [0, 1]),
    "never written, 4-byte integer": ("i4", {"scale_factor": 0.5}, [1, -2147483647], [0, 1]),
    "never written, unsigned": ("u2", {"scale_factor": 0.5}, [1, 65535], [0, 1]),
    "a fill value replaces that of integers": ("i2", {"_FillValue": np.int16(5)}, [5, -32767], [1, 0]),
    "bytes are all in use": ("i1", {"scale_factor": 0.5}, [-127, -128, 127], [0, 0, 0]),
    "bytes with a fill value": ("i1", {"_FillValue": np.int8(-127)}, [-127, -128], [1, 0]),
    "a vector of missing values": ("f4", {"missing_value": np.array([-99.9, -999.0])}, [-99.9, -999, 0], [1, 1, 0]),
    "both, which differ": ("f8", {"_FillValue": -999.0, "missing_value": -99.0}, [-999, -99, 0], [1, 1, 0]),
    "fill is NaN": ("f8", {"_FillValue": np.nan, "missing_value": -99.0}, [np.nan, -99, 0], [1, 1, 0]),
    "below valid_min": ("f4", {"valid_min": np.float32(0.1)}, [0.1, 0.09], [0, 1]),
    "above valid_max": ("f4", {"valid_max": np.float32(0.1)}, [0.1, 0.11], [0, 1]),
    "outside valid_range": ("f8", {"valid_range": np.array([-1.0, 1.0])}, [-1, 1, -1.1, 1.1], [0, 0, 1, 1]),
    "limits of packed numbers": (
        "i2",
        {"scale_factor": 0.1, "add_offset": 5.0, "valid_range": np.array([0, 50], "i2")},
        [-1, 0, 50, 51],
        [1, 0, 0, 1],
    ),
    "limits of unpacked numbers": (
        "i2",
        {"scale_factor": 0.1, "add_offset": 5.0, "valid_range": np.array([5.0, 10.0])},
        [-1, 0, 50, 51],
        [1, 0, 0, 1],
    ),
    "limits beside a negative scale": (
        "i2",
        {"scale_factor": -0.1, "valid_range": np.array([0.0, 5.0])},
        [-51, -50, 0, 1],
        [1, 0, 0, 1],
    ),
    "unsigned by an attribute": (
        "i1",
        {"_Unsigned": "true", "_FillValue": np.int8(-1), "scale_factor": 1.0},
        [-1, -2, 3],
        [1, 0, 0],
    ),
    "JEDI's, without an attribute": ("f4", {}, [1, JEDI], [0, 1]),
    "JEDI's, as 8 bytes": ("f8", {}, [1, JEDI], [0, 1]),
    "a mark that the type cannot hold": ("i2", {"missing_value": 1e20, "scale_factor": 1.0}, [1, 0], [0, 0]),
    "text is no mark": ("f4", {"missing_value": "none"}, [1, 2], [0, 0]),
    "infinite is not missing": ("f4", {}, [np.inf, 1], [0, 0]),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_missing(case):
    dtype, attributes, stored, missing = CASES[case]
    values = np.array(stored, dtype)
    how = Stored.of(values.dtype, attributes)
    assert how.missing(values).tolist() == [bool(one) for one in missing]
    assert np.isnan(how.numbers(values)).tolist() == [bool(one) for one in missing]


def test_masks_and_integers_of_jedi_are_missing():
    how = Stored.of(np.dtype("f4"), {})
    assert how.missing(np.ma.masked_equal(np.array([1, 2], "f4"), 2)).tolist() == [False, True]
    values = np.array([-2147483643, 7], "i4")
    assert Stored.of(values.dtype, {}).missing(values).tolist() == [False, False]
    assert Stored.of(values.dtype, {}, JEDI_INTEGERS).missing(values).tolist() == [True, False]


def test_numbers_unpack_as_the_attributes_say():
    dataset = xr.Dataset({"t": ("x", np.array([0, 100, -32767], "i2"), {"scale_factor": 0.01, "add_offset": 280.0})})
    t = decoded(dataset).t
    np.testing.assert_allclose(t, [280.0, 281.0, np.nan])
    assert t.dtype == "f8" and t.attrs == {} and t.encoding["scale_factor"] == 0.01


@pytest.mark.parametrize("marks", [(-32767,), (-999,), (0,), (32767, -32768)])
def test_a_new_packing_holds_values_and_meets_no_mark(marks, rng):
    attributes = {"scale_factor": 0.001, "add_offset": 0.0, "missing_value": np.array(marks, "i2")}
    how = Stored.of(np.dtype("i2"), attributes)
    values = rng.uniform(-300.0, 900.0, (2, 5000))
    new = how.holding(values)
    codes = new.pack(values)
    assert not np.isin(codes, new.marks).any()
    assert np.abs(new.numbers(codes) - values).max() <= 0.5001 * new.scale < 0.5001 * 1200 / 32000
    assert how.holding(np.array([[5.0, 6.0]])) is how


def test_what_was_never_written_is_missing_in_datasets_too(rng):
    values = rng.normal(280.0, 1.0, (4, 6))
    values[1, 2] = F8
    dataset = xr.Dataset({"t": (("realization", "x"), values)}, {"x": np.arange(6.0)})
    with pytest.raises(ValueError, match="'t' of member 1 is nan at x 2.0"):
        pack(dataset, "realization")
    values[:, 2] = F8
    ensemble, layout = pack(dataset, "realization", mask=True)
    assert ensemble.shape == (4, 5) and ensemble.max() < 300
    result = analyse(dataset, Observation([281.0], Select((0,)), [0.5]), ETKF(), 1, mask=True)
    assert (result.t.values[:, 2] == F8).all()
    packed = dataset.isel(x=[0, 1]).copy(deep=True)
    packed.t.encoding = {"dtype": np.dtype("i2"), "scale_factor": 0.01, "add_offset": 280.0}
    packed.t.values[2, 1] = -32767 * 0.01 + 280.0
    with pytest.raises(ValueError, match="'t' of member 2 is nan"):
        pack(packed, "realization")


def test_what_comes_back_can_be_written(rng, tmp_path):
    values = rng.normal(280.0, 1.0, (4, 6)).round(2)
    dataset = xr.Dataset({"t": (("realization", "x"), values, {"valid_max": 283.0, "checksum": "ab"})})
    dataset.t.encoding = {"dtype": "i2", "scale_factor": 0.001, "add_offset": 280.0, "_FillValue": -32767,
                          "missing_value": np.int16(-32768)}  # fmt: skip
    result = analyse(dataset, Observation([400.0], Select((0,)), [0.01]), ETKF(), 1)
    assert "checksum" not in result.t.attrs and result.t.attrs["valid_max"] >= result.t.max() > 350
    result.to_netcdf(tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc") as again:
        step = again.t.encoding["scale_factor"]
        assert np.abs(again.t - result.t).max() <= 0.5001 * step and np.isfinite(again.t).all()


# --- units -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("units", "wanted", "value", "error"),
    [
        ("degC", "K", 281.15, 8.0),
        ("K", "degC", -265.15, 8.0),
        ("degF", "K", 259.81666666666666, 8 / 1.8),
        ("hPa", "Pa", 800.0, 800.0),
        ("g kg-1", "1", 0.008, 0.008),
        ("1e-3", "1", 0.008, 0.008),
        ("percent", "1", 0.08, 0.08),
        ("kg m-2 s-1", "g m**-2 s**-1", 8000.0, 8000.0),
        ("m/s", "m s-1", 8.0, 8.0),
        ("", "K", 8.0, 8.0),
        ("degC", "", 8.0, 8.0),
        ("psu", "psu", 8.0, 8.0),
    ],
)
def test_units_are_converted(units, wanted, value, error):
    eight = np.array([8.0])
    np.testing.assert_allclose(in_units(eight, units, wanted), [value], rtol=1e-12)
    np.testing.assert_allclose(in_units(eight, units, wanted, difference=True), [error], rtol=1e-12)


@pytest.mark.parametrize(("units", "wanted"), [("m", "K"), ("psu", "1"), ("K2", "K"), ("days since 2000-01-01", "s")])
def test_units_that_are_not_known_or_of_another_quantity_are_refused(units, wanted):
    with pytest.raises(ValueError, match=f"units '{units}' .*'{wanted}'"):
        in_units(np.ones(2), units, wanted)


@pytest.mark.parametrize("units", ["rad", "radian", "radians"])
def test_a_grid_in_radians_is_that_in_degrees(units, rng):
    lat, lon = np.arange(40.0, 46.0), np.arange(0.0, 8.0)
    about = {"standard_name": "latitude", "units": units}, {"standard_name": "longitude", "units": units}
    coords = {"lat": ("lat", np.deg2rad(lat), about[0]), "lon": ("lon", np.deg2rad(lon), about[1])}
    dataset = xr.Dataset({"t": (("realization", "lat", "lon"), rng.normal(size=(3, 6, 8)))}, coords)
    _, layout = pack(dataset, "realization")
    row = interpolate(layout, "t", [42.25], [4.0]).toarray()[0].reshape(6, 8)
    np.testing.assert_allclose([row[2, 4], row[3, 4]], [0.75, 0.25], atol=1e-9)


# --- places ------------------------------------------------------------------------------------------------


def test_coordinates_of_wrf_and_nemo_are_found():
    lat, lon = np.meshgrid(np.arange(40.0, 46.0), np.arange(8.0), indexing="ij")
    t = (("Time", "y", "x"), np.zeros((1, 6, 8)))
    wrf = xr.Dataset({"T2": t}, {"XLAT": (("Time", "y", "x"), lat[None]), "XLONG": (("Time", "y", "x"), lon[None])})
    assert find_coordinate(located(wrf).T2, "latitude").dims == ("y", "x")
    nemo = xr.Dataset({"tn": t, "nav_lat": (("y", "x"), lat), "nav_lon": (("y", "x"), lon), "glam": (("y", "x"), lon)})
    assert set(located(nemo).data_vars) == {"tn", "glam"} and set(located(nemo, ["glam", "no"]).data_vars) == {"tn"}
    np.testing.assert_array_equal(find_coordinate(located(nemo).tn, "longitude"), lon)


def test_points_without_a_place_are_not_in_the_state(rng):
    lat, lon = np.meshgrid(np.arange(40.0, 46.0), np.arange(8.0), indexing="ij")
    lat[0, :3] = np.nan
    dims = ("realization", "y", "x")
    dataset = xr.Dataset(
        {"t": (dims, rng.normal(size=(3, 6, 8)))}, {"lat": (("y", "x"), lat), "lon": (("y", "x"), lon)}
    )
    assert np.count_nonzero(without_place(dataset.t[0])) == 3
    assert pack(dataset, "realization")[0].shape == (3, 45)
    dataset.t.values[:, 0, 0] = np.nan
    assert pack(dataset, "realization")[0].shape == (3, 45)


def test_cells_of_no_place_hold_no_station():
    """Land whose place is 0, 0: cells between it and the sea would reach across half the Earth."""
    lat, lon = np.meshgrid(np.arange(40.0, 60.0), np.arange(20.0, 50.0), indexing="ij")
    whole = Curvilinear(lat, lon, True)
    lat, lon = lat.copy(), lon.copy()
    lat[5:10, 10:20], lon[5:10, 10:20] = 0.0, 0.0
    grid = Curvilinear(lat, lon, True)
    stations = np.array(
        [[20.0, 15.0], [10.0, 12.0], [0.0, 0.0], [47.0, 35.0], [41.5, 21.5], [44.4, 29.5], [57.2, 48.9]]
    )
    assert grid.corners(stations).inside.tolist() == [False, False, False, False, True, False, True]
    assert whole.corners(stations).inside.tolist() == [False, False, False, True, True, True, True]


def test_a_pole_may_be_the_corner_of_many_cells():
    lat, lon = np.meshgrid(np.arange(60.0, 91.0, 5.0), np.arange(0.0, 360.0, 10.0), indexing="ij")
    corners = Curvilinear(lat, lon, True).corners(np.array([[89.9, 33.0], [87.0, 355.0], [90.0, 0.0]]))
    assert corners.inside.all()


@pytest.mark.parametrize("error", netcdf.DAMAGED)
@pytest.mark.parametrize("way", [netcdf.lazy, netcdf.reading])
def test_what_libraries_raise_for_a_damaged_file_is_one_sentence(monkeypatch, error, way):
    def broken(*given, **options):
        raise error("bad\nheader")

    monkeypatch.setattr(netcdf, "_open", broken)
    with (
        pytest.raises(ValueError, match=r"^a.nc is not a NetCDF file, or damaged \(.*bad.*header.*make it again$"),
        way("a.nc"),
    ):
        pass
