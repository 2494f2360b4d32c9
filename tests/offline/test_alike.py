"""Coordinates and units of two files: what is rounding, and what is not."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from ensf.offline.alike import is_place, other_place, same_units

FINE = np.arange(359.0, 360.0, 0.01)
DEPTH = np.array([0.5, 1.5, 3.0, 10.0, 100.0, 1000.0, 5000.0])
LAT, LON = np.meshgrid(np.arange(40.0, 41.0, 0.1), np.arange(5.0, 6.0, 0.1), indexing="ij")


def along(values, **attributes):
    return xr.Variable(list("yx")[: np.ndim(values)], values, attributes)


@pytest.mark.parametrize(
    "values", [FINE, DEPTH, LAT, LON, LAT + 1e-9 * LON, np.array([]), np.array([3.0]), np.array(2.0)]
)
def test_rounding_is_no_other_place(values):
    """Single precision is, though it is 3e-5 of 360 degrees, more than 1e-5 of the spacing."""
    mine = along(values)
    for its in (values.astype(np.float32), values * (1 + 1e-15)):
        assert other_place(along(its), mine) == "" and other_place(mine, along(its)) == ""
    missing = np.where(values == values.ravel()[:1], np.nan, values) if values.size else values
    assert other_place(along(missing), along(missing)) == ""


def test_what_is_another_place_is_said_with_its_numbers():
    assert (
        other_place(along(LAT + 1e-5 * ((LON[0, 3] == LON) * (LAT[0, 0] == LAT))), along(LAT))
        == "is 40.00001 at y 0, x 3, not 40"
    )
    assert other_place(along(DEPTH + 0.5), along(DEPTH)) == "is 1 at y 0, not 0.5"
    assert other_place(along(FINE[:-1]), along(FINE)) == f"is y {FINE.size - 1}, not y {FINE.size}"
    assert other_place(along(np.array(10.0)), along(np.array(2.0))) == "is 10, not 2"
    assert other_place(along(np.array([1.0, np.nan])), along(np.array([1.0, 2.0]))) == "is nan at y 1, not 2"
    assert other_place(along(np.array(["a", "b"])), along(np.array(["a", "c"]))) == "has other values"
    assert other_place(along(np.array(["a", "b"])), along(np.array(["a", "b"]))) == ""


def test_places_are_compared_in_one_unit():
    kilometres, metres = along(np.arange(3.0), units="km"), along(np.arange(3) * 1000, units="m")
    assert other_place(kilometres, metres) == "" and other_place(metres, kilometres) == ""
    assert other_place(along(np.arange(3.0), units="m"), kilometres) == "is 0.001 at y 1, not 1"
    assert other_place(along(np.arange(3.0), units="s"), metres) == "has units s, not m"


@pytest.mark.parametrize(
    ("mine", "its", "same"),
    [
        ("K", "kelvin", True),
        ("m s-1", "m/s", True),
        ("1e-3", "g kg-1", True),
        ("K", None, True),
        ("", "K", True),
        ("psu", "PSU", True),
        (1, "1", True),
        ("K", "degC", False),
        ("Pa", "hPa", False),
        ("K", "m", False),
        ("psu", "1e-3", False),
    ],
)
def test_units_are_the_same_if_the_numbers_are(mine, its, same):
    assert same_units(mine, its) is same and same_units(its, mine) is same


@pytest.mark.parametrize(
    ("name", "attributes", "place"),
    [
        ("realization", {"standard_name": "realization"}, False),
        ("forecast_period", {"units": "hours"}, False),
        ("iteration", {}, False),
        ("height", {}, True),
        ("lon", {"units": "degrees_east"}, True),
        ("ht", {"axis": "Z"}, True),
        ("sigma", {"positive": "down"}, True),
    ],
)
def test_one_number_is_a_place_if_it_is_known_for_one(name, attributes, place):
    field = xr.DataArray(np.zeros(3), dims="x", coords={name: ((), 2.0, attributes), "x": np.arange(3), "one": 1})
    assert is_place(field.coords[name], field) is place
    assert is_place(field.coords["x"], field) and not is_place(field.coords["one"], field)
    short = field.isel(x=slice(1))
    assert is_place(short.coords["x"], short)
