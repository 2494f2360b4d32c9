"""xarray Dataset <-> flat state: exact round trips, positions, and station operators against affine fields."""

import array_api_strict as xp
import numpy as np
import pytest
import xarray as xr

from ensf.localization import Localization, Sphere
from ensf.observation import Linear, Select
from ensf.state import interpolate, nearest, pack, positions, unpack

LATITUDE = np.array([60.0, 50.0, 40.0, 30.0], dtype=np.float32)
LONGITUDE = np.array([-20.0, -10.0, 0.0, 10.0, 20.0], dtype=np.float32)


def atmosphere(members=3, dtype=np.float64, seed=0):
    """Temperature on levels, members not first, and surface pressure, members first."""
    draw = np.random.default_rng(seed).standard_normal
    return xr.Dataset(
        {
            "t": (("level", "member", "latitude", "longitude"), draw((2, members, 4, 5)).astype(dtype)),
            "ps": (("member", "latitude", "longitude"), draw((members, 4, 5)).astype(dtype)),
        },
        coords={
            "level": ("level", [850.0, 500.0], {"units": "hPa"}),
            "latitude": ("latitude", LATITUDE, {"units": "degrees_north"}),
            "longitude": ("longitude", LONGITUDE, {"units": "degrees_east"}),
            "member": ("member", np.arange(members) + 7, {"long_name": "ensemble member"}),
            "step": ((), 6, {"units": "h"}),
        },
        attrs={"title": "test"},
    )


def described():
    dataset = atmosphere()
    dataset.t.attrs["units"], dataset.ps.attrs["units"] = "K", "Pa"
    return dataset


def ring(spacing=30.0):
    """Fields on a grid that goes round the Earth."""
    longitude = np.arange(0.0, 360.0, spacing)
    z = np.cos(np.deg2rad(longitude)) + np.zeros((2, 4, 1))
    return xr.Dataset(
        {"z": (("member", "latitude", "longitude"), z)},
        coords={"latitude": LATITUDE, "longitude": longitude},
    )


# --- round trip ------------------------------------------------------------------------------------------


def test_round_trip_is_identical():
    dataset = described()
    before = dataset.copy(deep=True)
    array, layout = pack(dataset, "member")
    assert array.shape == (3, layout.size) == (3, 60)
    xr.testing.assert_identical(unpack(array, layout), dataset)
    xr.testing.assert_identical(dataset, before)
    assert unpack(array, layout).t.dims == ("level", "member", "latitude", "longitude")


def test_members_are_rows_and_variables_follow_one_another():
    dataset = atmosphere()
    array, layout = pack(dataset, "member", ["ps", "t"])
    assert np.array_equal(array[1, :20], dataset.ps.values[1].ravel())
    assert np.array_equal(array[2, 20:], dataset.t.values[:, 2].ravel())
    assert list(unpack(array, layout).data_vars) == ["ps", "t"]


def test_other_ensemble_sizes_and_single_states():
    dataset = described()
    array, layout = pack(dataset, "member")
    larger = unpack(np.concatenate([array, array]), layout)
    assert larger.sizes["member"] == 6
    assert "member" not in larger.coords
    mean = unpack(array.mean(axis=0), layout)
    assert mean.t.dims == ("level", "latitude", "longitude")
    assert mean.t.attrs == {"units": "K"}
    xr.testing.assert_allclose(mean, dataset.mean("member"))


def test_unpacked_fields_do_not_share_memory_with_the_array():
    array, layout = pack(atmosphere(), "member")
    fields = unpack(array, layout)
    array[:] = 0.0
    assert np.abs(fields.t.values).min() > 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept(dtype):
    dataset = atmosphere(dtype=dtype)
    array, layout = pack(dataset, "member")
    assert array.dtype == dtype
    assert unpack(array, layout).t.dtype == dtype


def test_mixed_dtypes_travel_in_the_widest_and_come_back():
    dataset = atmosphere()
    dataset["ps"] = dataset.ps.astype(np.float32)
    array, layout = pack(dataset, "member")
    assert array.dtype == np.float64
    xr.testing.assert_identical(unpack(array, layout), dataset)


def test_arrays_of_another_device_are_brought_to_the_host():
    array, layout = pack(described(), "member")
    elsewhere = xp.asarray(array, device=xp.Device("device1"))
    xr.testing.assert_identical(unpack(elsewhere, layout), described())


def test_points_without_data_are_dropped_before_packing():
    dataset = atmosphere()[["ps"]]
    dataset["ps"] = dataset.ps.where(dataset.longitude < 15)
    sea = dataset.stack(point=("latitude", "longitude")).dropna("point")
    array, layout = pack(sea, "member")
    assert array.shape == (3, 16)
    back = unpack(array, layout).unstack("point").reindex(latitude=LATITUDE, longitude=LONGITUDE)
    xr.testing.assert_allclose(back, dataset)
    assert np.array_equal(positions(layout)[:5, 1], [-20.0, -10.0, 0.0, 10.0, -20.0])


# --- positions -------------------------------------------------------------------------------------------


def test_positions_repeat_for_levels_and_variables():
    array, layout = pack(atmosphere(), "member")
    place = positions(layout)
    assert place.shape == (60, 2)
    expected = np.stack([g.ravel() for g in np.meshgrid(LATITUDE, LONGITUDE, indexing="ij")], axis=1)
    assert np.array_equal(place, np.tile(expected, (3, 1)))
    assert Localization(place, Sphere(), 500.0).variables.shape == (20, 3)


def test_positions_on_a_curvilinear_grid():
    lat, lon = np.meshgrid(LATITUDE, LONGITUDE, indexing="ij")
    dataset = xr.Dataset(
        {"h": (("j", "i", "member"), np.ones((4, 5, 2)))},
        coords={"nav_lat": (("j", "i"), lat), "nav_lon": (("j", "i"), lon + lat)},
    )
    _, layout = pack(dataset, "member")
    place = positions(layout, ("nav_lat", "nav_lon"))
    assert np.array_equal(place, np.stack([lat.ravel(), (lon + lat).ravel()], axis=1))


def test_positions_need_the_coordinates():
    _, layout = pack(atmosphere().drop_vars("longitude"), "member")
    with pytest.raises(ValueError, match="no coordinate 'longitude'"):
        positions(layout)


# --- stations --------------------------------------------------------------------------------------------


def affine(latitude, longitude):
    return 3.0 + 0.5 * latitude - 0.25 * longitude


@pytest.mark.parametrize("ascending", [True, False])
def test_interpolation_is_exact_for_affine_fields(ascending):
    rng = np.random.default_rng(3)
    dataset = atmosphere().sortby("latitude", ascending=ascending)
    dataset["ps"] = affine(dataset.latitude, dataset.longitude).astype(float) + xr.zeros_like(dataset.ps)
    array, layout = pack(dataset, "member")
    latitude, longitude = rng.uniform(30, 60, 40), rng.uniform(-20, 20, 40)
    seen = Linear(interpolate(layout, "ps", latitude, longitude))(array)
    assert seen.shape == (3, 40)
    np.testing.assert_allclose(seen, np.tile(affine(latitude, longitude), (3, 1)), rtol=1e-12)


def test_interpolation_agrees_with_xarray_at_one_level():
    dataset = atmosphere()
    array, layout = pack(dataset, "member")
    latitude, longitude = np.array([33.3, 60.0, 30.0, 47.0]), np.array([-19.0, 20.0, -20.0, 0.0])
    seen = array @ interpolate(layout, "t", latitude, longitude, at={"level": 500}).T
    along = {"latitude": xr.DataArray(latitude, dims="s"), "longitude": xr.DataArray(longitude, dims="s")}
    expected = dataset.t.sel(level=500).interp(along).transpose("member", "s")
    np.testing.assert_allclose(seen, expected, atol=1e-12)


def test_nearest_is_the_nearest_grid_point():
    array, layout = pack(atmosphere(), "member")
    index = nearest(layout, "ps", [44.9, 30.0, 60.0], [-4.0, -20.0, 16.0])
    assert np.array_equal(positions(layout)[index], [[40.0, 0.0], [30.0, -20.0], [60.0, 20.0]])
    assert (index >= 40).all()
    seen = Select(index)(array)
    assert np.array_equal(seen[:, 1], atmosphere().ps.values[:, 3, 0])


def test_longitudes_count_modulo_360():
    _, layout = pack(atmosphere(), "member")
    west = interpolate(layout, "ps", [42.0], [-13.0])
    assert abs(west - interpolate(layout, "ps", [42.0], [347.0])).max() < 1e-12


@pytest.mark.parametrize("descending", [False, True])
def test_a_grid_round_the_earth_has_no_edge(descending):
    dataset = ring().isel(longitude=slice(None, None, -1)) if descending else ring()
    array, layout = pack(dataset, "member")
    matrix = interpolate(layout, "z", 45.0, [345.0, -15.0, 15.0, 359.999])
    seen = (array @ matrix.T)[0]
    half = (1 + np.cos(np.pi / 6)) / 2
    np.testing.assert_allclose(seen, [half, half, half, 1.0], atol=1e-5)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0)


@pytest.mark.parametrize(
    ("latitude", "longitude", "message"),
    [
        ([40.0, 61.0], [0.0, 0.0], "station 1 at latitude 61 is outside the grid, 30 to 60"),
        ([40.0], [25.0], "station 0 at longitude 25 is outside the grid, -20 to 20"),
        ([np.nan], [0.0], "station 0 at latitude nan"),
    ],
)
def test_stations_outside_the_grid_are_refused(latitude, longitude, message):
    _, layout = pack(atmosphere(), "member")
    for operator in (interpolate, nearest):
        with pytest.raises(ValueError, match=message):
            operator(layout, "ps", latitude, longitude)


@pytest.mark.parametrize(
    ("variable", "options", "message"),
    [
        ("q", {}, "the state has no variable 'q': choose one of 't', 'ps'"),
        ("t", {}, r"several values along \['level'\]"),
        ("t", {"at": {"level": 700}}, "is not at {'level': 700}"),
        ("ps", {"dims": ("y", "x")}, "not a grid of"),
    ],
)
def test_what_stations_cannot_see_is_refused(variable, options, message):
    _, layout = pack(atmosphere(), "member")
    with pytest.raises(ValueError, match=message):
        interpolate(layout, variable, 40.0, 0.0, **options)


# --- errors of users -------------------------------------------------------------------------------------


def test_a_missing_value_is_named():
    dataset = atmosphere()
    dataset.t[1, 2, 3, 0] = np.nan
    message = "variable 't' of member 2 is nan at level 500.0, latitude 30.0, longitude -20.0"
    with pytest.raises(ValueError, match=message):
        pack(dataset, "member")
    assert pack(dataset, "member", ["ps"])[0].shape == (3, 20)


def test_infinities_that_cancel_in_the_sum_are_no_excuse():
    dataset = atmosphere()
    dataset.ps[0, 0, :2] = [np.inf, -np.inf]
    with pytest.raises(ValueError, match="'ps' of member 0 is inf"):
        pack(dataset, "member")


@pytest.mark.parametrize(
    ("change", "variables", "message"),
    [
        ({"mask": ("latitude", np.ones(4))}, None, "'mask' has no member dimension 'member'"),
        ({"n": ("member", np.arange(3))}, None, "'n' has dtype int64"),
        ({}, ["t", "q"], "no variable 'q': choose from 't', 'ps'"),
        ({}, [], "one variable or more"),
    ],
)
def test_variables_that_are_no_state_are_refused(change, variables, message):
    with pytest.raises(ValueError, match=message):
        pack(atmosphere().assign(change), "member", variables)


@pytest.mark.parametrize("shape", [(3, 59), (2, 3, 60), ()])
def test_arrays_of_another_layout_are_refused(shape):
    _, layout = pack(atmosphere(), "member")
    with pytest.raises(ValueError, match="does not fit the layout"):
        unpack(np.zeros(shape), layout)
