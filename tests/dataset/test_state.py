"""xarray Dataset <-> flat state: exact round trips, positions, and station operators against affine fields."""

import logging

import array_api_strict as xp
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from ensf.dataset import coordinates, interpolate, nearest, pack, positions, recognise, restore, unpack
from ensf.dataset.methods import reach_of
from ensf.localization import Layered, Localization, Sphere
from ensf.localization.patches import grouped
from ensf.observations import Linear, Select

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


def test_members_of_several_models():
    """A member dimension that is stacked, and coordinates along it."""
    dataset = described().drop_vars("member").expand_dims(model=["a", "b"])
    dataset = dataset.assign_coords(run=("member", [0, 6, 12])).stack(realization=("model", "member"))
    dataset = dataset.assign_coords(weight=("realization", np.arange(6.0)))
    array, layout = pack(dataset, "realization")
    assert array.shape == (6, 60)
    xr.testing.assert_identical(unpack(array, layout), dataset)


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


# --- points without data ---------------------------------------------------------------------------------


def ocean(members=3, seed=1):
    """Salinity on two levels over a sea floor, and sea level; land in the north-west."""
    draw = np.random.default_rng(seed).standard_normal
    dataset = atmosphere(members, seed=seed).rename(t="salt", ps="ssh")
    land = (dataset.latitude > 45) & (dataset.longitude < -5)
    deep = xr.DataArray(draw((2, 4, 5)) > 0.5, dims=("level", "latitude", "longitude"))
    return dataset.assign(salt=dataset.salt.where(~(land | deep)), ssh=dataset.ssh.where(~land)), land


def test_masked_points_are_not_in_the_state_and_come_back():
    dataset, _ = ocean()
    array, layout = pack(dataset, "member", mask=True)
    assert np.isfinite(array).all()
    assert array.shape == (3, layout.size) == (3, int(dataset.isel(member=0).count().to_array().sum()))
    assert layout.offset == {"salt": 0, "ssh": layout.size - 16}
    xr.testing.assert_identical(unpack(array, layout), dataset)
    mean = unpack(array.mean(axis=0), layout)
    xr.testing.assert_allclose(mean, dataset.mean("member", skipna=False))


def test_the_index_of_masked_points_is_minus_one():
    dataset, land = ocean()
    array, layout = pack(dataset, "member", mask=True)
    for name in dataset:
        index = layout.index(name)
        first = dataset[name].isel(member=0)
        assert np.array_equal(index.values < 0, np.isnan(first.values))
        seen = index.values[index.values >= 0]
        assert np.array_equal(array[0, seen], first.values[~np.isnan(first.values)])
        assert np.array_equal(np.arange(layout.size)[layout.block(name)], seen)


def test_a_declared_mask_serves_every_variable_on_its_grid():
    dataset, land = ocean()
    filled = dataset.fillna(-9.0)
    array, layout = pack(filled, "member", mask=land)
    assert layout.size == 2 * 16 + 16
    xr.testing.assert_identical(unpack(array, layout), filled)
    one, layout = pack(filled, "member", mask={"ssh": land})
    assert layout.size == 40 + 16


def test_masked_points_have_no_position():
    dataset, land = ocean()
    _, layout = pack(dataset, "member", ["ssh"], mask=True)
    place = positions(layout)
    assert place.shape == (16, 2)
    assert not ((place[:, 0] > 45) & (place[:, 1] < -5)).any()


def test_stations_beside_masked_points():
    dataset, land = ocean()
    array, layout = pack(dataset, "member", ["ssh"], mask=True)
    with pytest.raises(ValueError, match="station 1 cannot see 'ssh', a grid point beside it is masked"):
        interpolate(layout, "ssh", [35.0, 45.0], [0.0, -12.0])
    np.testing.assert_allclose(
        Linear(interpolate(layout, "ssh", 40.0, -20.0))(array)[:, 0], dataset.ssh.values[:, 2, 0]
    )
    index = nearest(layout, "ssh", [49.0], [-12.0])
    assert np.array_equal(positions(layout)[index], [[40.0, -10.0]])
    with pytest.raises(ValueError, match="station 0 cannot see 'ssh', all grid points around it are masked"):
        nearest(layout, "ssh", 55.0, -15.0)


def test_a_member_with_another_mask_is_named():
    dataset, _ = ocean()
    more, less = dataset.copy(deep=True), dataset.copy(deep=True)
    more.ssh[2, 3, 4] = np.nan
    with pytest.raises(
        ValueError, match="'ssh' of member 2 has 1 missing values .* at latitude 30.0, longitude 20.0: a"
    ):
        pack(more, "member", mask=True)
    less.ssh[1, 0, 0] = 1.0
    with pytest.raises(
        ValueError, match="'ssh' of member 1 .* and 1 values where they have none, the first at latitude 60"
    ):
        pack(less, "member", mask=True)
    with pytest.raises(
        ValueError, match="'salt' of member 0 is nan at .* give a mask= of the grid points without data"
    ):
        pack(dataset, "member")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda land: 1, "mask is a int"),
        (lambda land: land.astype(int), "the mask has dtype int64: give True where there is no data"),
        (lambda land: {"sst": land}, "the mask names 'sst': the variables are 'salt', 'ssh'"),
        (lambda land: land.expand_dims(level=2), "the mask has a dimension 'level' that variable 'ssh' has not"),
        (lambda land: land.isel(latitude=slice(3)), "the mask and variable 'salt' are on different grids"),
        (lambda land: land.assign_coords(latitude=[1, 2, 3, 4]), "the mask and variable 'salt' are on different grids"),
        (lambda land: xr.ones_like(land), "variable 'salt' is masked everywhere"),
    ],
)
def test_masks_that_do_not_fit_are_refused(change, message):
    dataset, land = ocean()
    with pytest.raises(ValueError, match=message):
        pack(dataset, "member", mask=change(land))


@st.composite
def ensembles(draw):
    """Dataset of one to three variables of any dimensions, dtypes and masks, and how it was masked."""
    sizes = {name: draw(st.integers(1, 4)) for name in ("member", "level", "y", "x")}
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    variables = {}
    for name in draw(st.lists(st.sampled_from("abc"), min_size=1, unique=True)):
        dims = draw(st.permutations(["member", *draw(st.lists(st.sampled_from(["level", "y", "x"]), unique=True))]))
        dtype = draw(st.sampled_from(["float32", "float64", ">f4", ">f8"]))
        field = xr.DataArray(random.standard_normal([sizes[dim] for dim in dims]), dims=dims)
        grid = field.isel(member=0)
        hidden = grid.copy(data=random.random(grid.shape) < draw(st.sampled_from([0.0, 0.5])))
        variables[name] = field.where(~hidden if not hidden.all() else True).astype(dtype)
    coords = {name: np.arange(size) for name, size in sizes.items() if draw(st.booleans())}
    dataset = xr.Dataset(variables)
    return dataset.assign_coords({name: values for name, values in coords.items() if name in dataset.dims})


@settings(deadline=None, derandomize=True)
@given(ensembles())
def test_round_trip_of_any_dataset_is_identical(dataset):
    array, layout = pack(dataset, "member", mask=True)
    assert np.isfinite(array).all()
    assert array.dtype.isnative
    back = unpack(array, layout)
    xr.testing.assert_identical(back, dataset)
    assert all(back[name].dtype == dataset[name].dtype for name in dataset)
    assert all(back[name].dims == dataset[name].dims for name in dataset)


# --- what a file needs -----------------------------------------------------------------------------------


def written(folder):
    """A packed and chunked file."""
    dataset = described().assign_coords(longitude=LONGITUDE.astype(float))
    dataset["t"].encoding = {"dtype": "int16", "scale_factor": 1e-3, "add_offset": 0.5, "_FillValue": -32768}
    dataset["ps"].encoding = {"dtype": "float32", "chunksizes": (1, 4, 5), "zlib": True, "complevel": 4}
    dataset["latitude"].encoding = {"dtype": "float32", "_FillValue": None}
    dataset.to_netcdf(folder / "forecast.nc", unlimited_dims=["member"])
    return folder / "forecast.nc"


def test_encodings_and_attributes_survive(tmp_path):
    with xr.open_dataset(written(tmp_path)) as file:
        dataset = file.load()
    before = dict(dataset.encoding)
    array, layout = pack(dataset, "member")
    unpack(array[0], layout)
    back = unpack(array, layout)
    xr.testing.assert_identical(back, dataset)
    for name in dataset.variables:
        assert back[name].encoding == dataset[name].encoding, name
        assert back[name].attrs == dataset[name].attrs, name
    assert back.encoding == dataset.encoding == before
    assert back.encoding["unlimited_dims"] == {"member"}
    assert back.t.encoding["scale_factor"] == 1e-3
    assert back.ps.encoding["chunksizes"] == (1, 4, 5)


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("members", [1, 7])
def test_other_ensemble_sizes_and_means_can_be_written(tmp_path, members):
    with xr.open_dataset(written(tmp_path)) as dataset:
        array, layout = pack(dataset, "member")
    many = unpack(np.repeat(array, members, axis=0), layout)
    mean = unpack(array.mean(axis=0), layout)
    for name, fields in {"many": many, "mean": mean}.items():
        fields.to_netcdf(tmp_path / f"{name}.nc")
        with xr.open_dataset(tmp_path / f"{name}.nc") as read:
            xr.testing.assert_allclose(read, fields, atol=1e-3)
            assert read.t.encoding["dtype"] == np.int16


def test_values_that_do_not_fit_the_encoding_are_said(tmp_path, caplog):
    with xr.open_dataset(written(tmp_path)) as file:
        dataset = file.load()
    array, layout = pack(dataset, "member")
    xr.testing.assert_identical(restore(dataset, array, layout), dataset)
    assert not caplog.records
    array[1, 7] = 40.0
    changed = restore(dataset, array, layout)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "the packing of 't' in its encoding cannot hold the analysis: it is renewed" in line
    changed.to_netcdf(tmp_path / "changed.nc")
    with xr.open_dataset(tmp_path / "changed.nc") as read:
        assert np.abs(read.t - changed.t).max() <= 0.5001 * read.t.encoding["scale_factor"] < 0.001


def test_dask_arrays_are_computed_and_said(caplog):
    pytest.importorskip("dask.array")
    dataset = described()
    with caplog.at_level(logging.INFO, "ensf"):
        array, layout = pack(dataset.chunk({"level": 1}).assign(ps=dataset.ps), "member")
    xr.testing.assert_identical(unpack(array, layout), dataset)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "ensf"]
    assert line.startswith("an analysis needs the whole ensemble: computing the Dask arrays of 't', 0.00096 MB")


# --- positions -------------------------------------------------------------------------------------------


def test_positions_repeat_for_levels_and_variables():
    array, layout = pack(atmosphere(), "member")
    place = positions(layout)
    assert place.shape == (60, 2)
    expected = np.stack([g.ravel() for g in np.meshgrid(LATITUDE, LONGITUDE, indexing="ij")], axis=1)
    assert np.array_equal(place, np.tile(expected, (3, 1)))
    assert grouped(place).shape == (20, 3)


def test_positions_on_a_curvilinear_grid():
    lat, lon = np.meshgrid(LATITUDE, LONGITUDE, indexing="ij")
    dataset = xr.Dataset(
        {"h": (("j", "i", "member"), np.ones((4, 5, 2)))},
        coords={"nav_lat": (("j", "i"), lat), "nav_lon": (("j", "i"), lon + lat)},
    )
    _, layout = pack(dataset, "member")
    place = positions(layout, ("nav_lat", "nav_lon"))
    assert np.array_equal(place, np.stack([lat.ravel(), (lon + lat).ravel()], axis=1))


def test_coordinates_are_found_by_standard_name_units_and_short_name():
    dataset = atmosphere()
    expected = positions(pack(dataset, "member")[1])
    short = dataset.rename(latitude="lat", longitude="lon").copy()
    for coordinate in (short.lat, short.lon):
        coordinate.attrs = {}
    by_units = dataset.rename(latitude="phi", longitude="lambda")
    by_name = by_units.copy(deep=True)
    by_name["phi"].attrs, by_name["lambda"].attrs = {"standard_name": "latitude"}, {"standard_name": "longitude"}
    for renamed in (short, by_units, by_name):
        assert np.array_equal(positions(pack(renamed, "member")[1]), expected)
    twice = by_units.assign_coords(mu=("phi", LATITUDE, {"units": "degrees_north"}))
    with pytest.raises(ValueError, match="'t' has several coordinates of latitude, 'phi', 'mu'"):
        positions(pack(twice, "member")[1])


def test_every_variable_is_on_its_own_grid():
    dataset = atmosphere()[["ps"]]
    shifted = (dataset.ps.latitude - 5.0).values[:3]
    dataset["v"] = (("member", "latitude_v", "longitude"), np.ones((3, 3, 5)))
    dataset = dataset.assign_coords(latitude_v=("latitude_v", shifted, {"standard_name": "latitude"}))
    _, layout = pack(dataset, "member")
    place = positions(layout)
    assert np.array_equal(np.unique(place[layout.block("v"), 0]), np.sort(shifted))
    assert np.array_equal(np.unique(place[layout.block("ps"), 0]), np.sort(LATITUDE))


def test_a_vertical_coordinate_and_a_surface():
    _, layout = pack(atmosphere(), "member")
    with pytest.raises(
        ValueError, match=r"'ps' has no coordinate 'level' but .*: give dims= of these, or its place, at={'level': ...}"
    ):
        positions(layout, ("latitude", "longitude", "level"))
    place = positions(layout, ("latitude", "longitude", "level"), at={"level": 1000.0})
    assert np.array_equal(np.unique(place[:, 2], return_counts=True), [[500.0, 850.0, 1000.0], [20, 20, 20]])
    assert np.array_equal(place[:, :2], positions(layout))


def levels_of_a_sea(order=("thetao", "zos")):
    """Levels whose name nobody knows: only their attribute tells that they are vertical."""
    grid = {"lat": [40.0, 41.0], "lon": [0.0, 1.0], "deptht": ("deptht", [5.0, 50.0, 500.0], {"positive": "down"})}
    fields = {
        "thetao": (("member", "deptht", "lat", "lon"), np.arange(36.0).reshape(3, 3, 2, 2)),
        "zos": (("member", "lat", "lon"), np.arange(12.0).reshape(3, 2, 2)),
    }
    return pack(xr.Dataset({name: fields[name] for name in order}, grid), "member")[1]


@pytest.mark.parametrize("order", [("thetao", "zos"), ("zos", "thetao")])
@pytest.mark.parametrize("name", ["deptht", "vertical"])
def test_levels_that_only_an_attribute_tells(name, order):
    dims = ("latitude", "longitude", name)
    place = positions(levels_of_a_sea(order), dims, at={name: 0.0})
    assert np.array_equal(np.unique(place[:, 2], return_counts=True), [[0, 5, 50, 500], [4, 4, 4, 4]])
    words = reach_of(Localization(Layered(Sphere(), 0.5), 300.0, dims, at={name: 0.0}), levels_of_a_sea(order))
    assert words == "half-width 300 km along lat, lon, deptht, 1 along deptht counted as 0.5 km, on the sphere"


def test_levels_are_not_put_at_one_place_by_another_name():
    """All levels were at the surface, in silence, and observations had no reach along them."""
    with pytest.raises(
        ValueError, match="'thetao' has no coordinate 'depth' but levels along 'deptht', and would be at 0"
    ):
        positions(levels_of_a_sea(), ("latitude", "longitude", "depth"), at={"depth": 0.0})
    assert len(positions(levels_of_a_sea(("zos",)), ("latitude", "longitude", "depth"), at={"depth": 0.0})) == 4


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
        (
            [40.0, 61.0],
            [0.0, 0.0],
            "station 1 at latitude 61, longitude 0 is outside the grid of 'ps', latitude 30",
        ),
        (
            [40.0],
            [25.0],
            "station 0 at latitude 40, longitude 25 is outside .* longitude -20 to 20: drop",
        ),
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
        ("latitude", {}, "the state has no variable 'latitude': choose one of 't', 'ps'"),
        ("t", {}, r"several values along \['level'\]"),
        ("t", {"at": {"level": 700}}, "is not at {'level': 700}"),
        ("ps", {"dims": ("y", "x")}, "not a grid of"),
    ],
)
def test_what_stations_cannot_see_is_refused(variable, options, message):
    _, layout = pack(atmosphere(), "member")
    with pytest.raises(ValueError, match=message):
        interpolate(layout, variable, 40.0, 0.0, **options)


def test_interpolation_on_a_curvilinear_grid_and_just_beyond_an_edge():
    """Two-dimensional coordinates serve as one-dimensional ones; a thousandth of a cell is rounding."""
    dataset = atmosphere()
    _, layout = pack(dataset[["ps"]], "member")
    rows, columns = xr.broadcast(dataset.latitude, dataset.longitude)
    turned = dataset[["ps"]].drop_vars(["latitude", "longitude"]).rename(latitude="j", longitude="i")
    turned = turned.assign_coords(nav_lat=(("j", "i"), rows.values), nav_lon=(("j", "i"), columns.values))
    array, curved = pack(turned, "member")
    where = [45.0, 33.0], [-12.0, 17.0]
    one, other = (Linear(interpolate(grid, "ps", *where))(array) for grid in (layout, curved))
    np.testing.assert_allclose(one, other, atol=0.02)
    assert np.array_equal(nearest(curved, "ps", *where), nearest(layout, "ps", *where))
    np.testing.assert_allclose(
        interpolate(layout, "ps", 60.009, 0.0).toarray(), interpolate(layout, "ps", 60.0, 0.0).toarray()
    )
    with pytest.raises(ValueError, match="outside the grid"):
        interpolate(layout, "ps", 60.011, 0.0)


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("latitude", {}),
        ("lat", {}),
        ("nav_lat", {}),
        ("gphit", {"units": "degreeN"}),
        ("gphit", {"standard_name": "latitude"}),
        ("my_rows", {}),
    ],
)
def test_a_coordinate_is_recognised_by_any_of_its_criteria(name, attributes, monkeypatch):
    monkeypatch.setattr(coordinates, "CRITERIA", dict(coordinates.CRITERIA))
    recognise("latitude", names=["my_rows"])
    dataset = atmosphere().rename(latitude=name)
    dataset[name].attrs = attributes
    assert coordinates.find_coordinate(dataset.ps, "latitude").name == name
    assert coordinates.column_coordinate(dataset.ps, "lat", {}).name == name
    _, layout = pack(dataset, "member")
    assert positions(layout).shape == (layout.size, 2)


def test_a_layout_prints_facts():
    dataset, _ = ocean()
    _, layout = pack(dataset, "member", ["ssh"], mask=True)
    assert repr(layout).splitlines() == [
        "Layout: 16 state variables, members along 'member'",
        "    ssh  float64, latitude 4 x longitude 5, 4 masked",
    ]
    assert "<td style='text-align: left'>4 masked</td>" in layout._repr_html_()


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
