"""Station operators against affine fields on regular, curvilinear and layered grids; masks; derived quantities."""

import array_api_strict as xp
import numpy as np
import pytest
import xarray as xr

from ensf.arrays import to_numpy
from ensf.dataset import interpolate, pack
from ensf.dataset.grids import Curvilinear, Regular, bracket
from ensf.dataset.grids import _inverse as inverse
from ensf.localization import Layered, Localization, Sphere
from ensf.observations import Combined, Joined, Linear, Observation, Pointwise, Select, WindSpeed, log, square
from ensf.observations.joined import join
from ensf.tables import ObservationTable
from ensf.tables.flags import BAD_VALUE, LAND, LEVEL, OUTSIDE, UNKNOWN
from ensf.tables.quality.boxes import Boxes
from ensf.tables.quality.checks import GrossCheck, SuperObservations
from ensf.tables.stations import (
    Bilinear,
    Combination,
    FunctionOf,
    LayerMean,
    Nearest,
    Speed,
    register,
    registered,
)
from ensf.tables.stations.profiles import layer_weights, level_weights

LAT = np.array([60.0, 50.0, 40.0, 30.0])
LON = np.array([-20.0, -10.0, 0.0, 10.0, 20.0])
Z = np.array([1000.0, 850.0, 500.0])


def affine(first, second, z=0.0):
    return 3.0 + 0.5 * first - 0.25 * second + 0.01 * z


def table(variable, position, **columns):
    size = len(position)
    columns = {"value": np.zeros(size), "error": 1.0, "time": "2024-01-01"} | columns
    return ObservationTable(np.broadcast_to(variable, size), position=np.asarray(position, float), **columns)


def ensemble(variables, members=3, **coords):
    """Members are multiples of the fields, given with their dimensions."""
    factor = xr.DataArray(np.arange(1.0, members + 1), dims="member")
    fields = {name: factor.astype(v.dtype) * xr.DataArray(v, dims=dims) for name, (dims, v) in variables.items()}
    return xr.Dataset(fields).assign_coords(coords)


def plane(lat=LAT, lon=LON, dtype=np.float64, **more):
    field = affine(lat[:, None], lon).astype(dtype)
    return pack(ensemble({"t": (("lat", "lon"), field), **more}, lat=lat, lon=lon), "member")


def column():
    field = affine(LAT[:, None], LON, Z[:, None, None])
    variables = {"t": (("z", "lat", "lon"), field), "ps": (("lat", "lon"), field[0])}
    return pack(ensemble(variables, lat=LAT, lon=LON, z=Z), "member")


def stations(size, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([rng.uniform(30, 60, size), rng.uniform(-20, 20, size)], axis=1)


# --- regular grids ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("lat", [LAT, LAT[::-1]])
@pytest.mark.parametrize("lon", [LON, LON[::-1], LON + 360])
def test_bilinear_is_exact_for_affine_fields(lat, lon):
    position = stations(50)
    state, layout = pack(ensemble({"t": (("lon", "lat"), affine(lat, lon[:, None]))}, lat=lat, lon=lon), "member")
    seen = table("t", position).observe(layout)
    shift = 0.25 * 360 * (lon.min() > 180)
    expected = affine(*position.T) - shift
    assert isinstance(seen.observation.operator, Linear)
    np.testing.assert_allclose(seen.observation.operator(state), np.arange(1, 4)[:, None] * expected, rtol=1e-12)
    assert (seen.observation.position == position).all()


def test_weights_agree_with_xarray():
    state, layout = plane()
    position = stations(20, seed=2)
    noise = np.random.default_rng(1).standard_normal(state.shape)
    field = xr.DataArray(noise[0].reshape(4, 5), dims=("lat", "lon"), coords={"lat": LAT, "lon": LON})
    along = {"lat": xr.DataArray(position[:, 0], dims="s"), "lon": xr.DataArray(position[:, 1], dims="s")}
    seen = table("t", position).observe(layout).observation.operator(noise)
    np.testing.assert_allclose(seen[0], field.interp(along), atol=1e-12)


@pytest.mark.parametrize("start", [0.0, -180.0, 100.0])
@pytest.mark.parametrize("turn", [1, -1])
def test_a_grid_round_the_earth_has_no_edge(start, turn):
    lon = (start + np.arange(0.0, 360.0, 30.0))[::turn]
    z = np.cos(np.deg2rad(lon)) + np.zeros((4, 1))
    state, layout = pack(ensemble({"z": (("lat", "lon"), z)}, lat=LAT, lon=lon), "member")
    longitude = np.linspace(-180, 360, 109)
    seen = table("z", np.stack([np.full(109, 45.0), longitude], axis=1)).observe(layout)
    assert seen.table.used.all()
    expected = np.interp(longitude, np.arange(-180, 361, 30), np.cos(np.deg2rad(np.arange(-180, 361, 30))))
    if start != 100:
        np.testing.assert_allclose(seen.observation.operator(state)[0], expected, atol=1e-12)
    assert np.abs(seen.observation.operator(state)[0] - np.cos(np.deg2rad(longitude))).max() < 0.04


def test_stations_outside_the_grid_are_rejected_with_a_reason():
    _, layout = plane()
    seen = table("t", [[61, 0], [29.9, 0], [45, 21], [45, 339], [45, 340], [30, -20]]).observe(layout)
    assert seen.table.codes.tolist() == [OUTSIDE, OUTSIDE, OUTSIDE, OUTSIDE, 0, 0]
    assert seen.used.tolist() == [4, 5]
    assert seen.table.reason[0] == "out of domain"


@pytest.mark.parametrize("lon", [LON, LON[::-1]])
def test_stations_beside_the_edge_within_rounding_are_on_it(lon):
    state, layout = plane(lon=lon)
    beside = [[45, -20.005], [45, 20.005], [60.005, 0], [29.995, 0]]
    seen = table("t", [*beside, [45, -20.05], [45, 20.05], [60.05, 0]]).observe(layout)
    assert seen.table.codes.tolist() == [0, 0, 0, 0, OUTSIDE, OUTSIDE, OUTSIDE]
    edge = affine(np.array([45, 45, 60, 30]), np.array([-20, 20, 0, 0]))
    np.testing.assert_allclose(seen.observation.operator(state)[0], edge, rtol=1e-12)


def test_nearest_selects_a_grid_point():
    state, layout = plane()
    seen = table("t", [[44.9, -4.0], [30.0, -20.0], [58.0, 16.0]]).observe(layout, interpolation=Nearest())
    assert seen.observation.operator == Select((12, 15, 4))
    assert (seen.observation.operator(state)[0] == affine(np.array([40, 30, 60]), np.array([0, -20, 20]))).all()


def test_float32_grids_have_their_edges_and_dtype():
    lat = np.linspace(30.1, 60.3, 31, dtype=np.float32)
    state, layout = plane(lat, LON.astype(np.float32), np.float32)
    seen = table("t", [[30.1, 0.0], [60.3, 20.0]]).observe(layout)
    assert seen.table.used.all()
    predicted = seen.observation.operator(state)
    assert state.dtype == seen.observation.value.dtype == np.float32
    assert predicted.dtype == np.float32
    np.testing.assert_allclose(predicted[0], affine(np.array([30.1, 60.3]), np.array([0, 20])), rtol=1e-6)


def test_cartesian_grids_may_be_periodic():
    x, y = np.arange(0.0, 8.0), np.arange(0.0, 3.0)
    field = np.sin(2 * np.pi * x / 8) + y[:, None]
    state, layout = pack(ensemble({"q": (("y", "x"), field)}, x=x, y=y), "member")
    position = [[7.5, 0.5], [-0.5, 0.5], [4.0, 2.0]]
    assert table("q", position, axes=("x", "y")).observe(layout).table.codes.tolist() == [OUTSIDE, OUTSIDE, 0]
    seen = table("q", position, axes=("x", "y")).observe(layout, periods={"x": 8.0})
    np.testing.assert_allclose(seen.observation.operator(state)[0], [0.5 - np.sqrt(2) / 4, 0.5 - np.sqrt(2) / 4, 2.0])


def test_a_grid_needs_an_order():
    with pytest.raises(ValueError, match="increase or decrease"):
        bracket(np.array([0.0, 2.0, 1.0]), np.zeros(1))
    with pytest.raises(ValueError, match="two values or more"):
        bracket(np.array([0.0]), np.zeros(1))


# --- curvilinear grids -----------------------------------------------------------------------------------


def turned(size=40, centre=(50.0, 170.0)):
    """A polar stereographic grid around `centre`, 2-D latitude and longitude."""
    a, b = np.meshgrid(np.linspace(-0.2, 0.2, size), np.linspace(-0.3, 0.3, size + 7), indexing="ij")
    lat, lon = np.deg2rad(centre)
    up = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    north = np.array([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)])
    points = up + a[..., None] * north + b[..., None] * np.cross(north, up)
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    return np.rad2deg(np.arcsin(points[..., 2])), np.rad2deg(np.arctan2(points[..., 1], points[..., 0])), points


@pytest.mark.parametrize("centre", [(50.0, 10.0), (30.0, 179.9), (90.0, 0.0), (-89.0, 33.0)])
def test_curvilinear_weights_point_to_the_station(centre):
    lat, lon, points = turned(centre=centre)
    rng = np.random.default_rng(0)
    inner = rng.uniform([2, 2], [37, 43], (200, 2))
    low = inner.astype(int)
    part = inner - low
    corner = [points[low[:, 0] + i, low[:, 1] + j] for i in (0, 1) for j in (0, 1)]
    weight = [np.abs(1 - i - part[:, 0]) * np.abs(1 - j - part[:, 1]) for i in (0, 1) for j in (0, 1)]
    p = sum(w[:, None] * c for w, c in zip(weight, corner, strict=True))
    p /= np.linalg.norm(p, axis=1, keepdims=True)
    position = np.rad2deg(np.stack([np.arcsin(p[:, 2]), np.arctan2(p[:, 1], p[:, 0])], axis=1))
    found = Curvilinear(lat, lon, sphere=True).corners(position)
    assert found.inside.all()
    dense = np.zeros((200, lat.size))
    np.put_along_axis(dense, found.place, found.weight, axis=1)
    expected = np.zeros_like(dense)
    for k, (i, j) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        expected[np.arange(200), (low[:, 0] + i) * lat.shape[1] + low[:, 1] + j] = weight[k]
    np.testing.assert_allclose(dense, expected, atol=1e-6)


def test_curvilinear_agrees_with_regular_on_the_same_grid():
    lat, lon = np.linspace(-60, 60, 121), np.arange(0.0, 360.0, 1.0)
    grid = np.meshgrid(lat, lon, indexing="ij")
    rng = np.random.default_rng(3)
    position = np.stack([rng.uniform(-59.9, 59.9, 500), rng.uniform(-180, 360, 500)], axis=1)
    one = Regular((lat, lon), (np.inf, 360.0)).corners(position)
    other = Curvilinear(*grid, sphere=True).corners(position)
    assert one.inside.all() and other.inside.all()
    field = np.cos(np.deg2rad(grid[0])) * np.sin(np.deg2rad(2 * grid[1]))
    values = [(field.ravel()[found.place] * found.weight).sum(axis=1) for found in (one, other)]
    assert np.abs(values[0] - values[1]).max() < 1e-4


def test_stations_outside_a_curvilinear_grid():
    lat, lon, _ = turned()
    position = np.array([[50.0, 170.0], [50.0, -10.0], [-50.0, -10.0], [20.0, 170.0], [89.0, 0.0]])
    assert Curvilinear(lat, lon, sphere=True).corners(position).inside.tolist() == [True, False, False, False, False]
    assert not Curvilinear(lat, lon, sphere=True).corners(np.full((1, 2), np.nan)).inside.any()


def test_a_sheared_plane_is_exact_for_affine_fields():
    j, i = np.meshgrid(np.arange(20.0), np.arange(30.0), indexing="ij")
    x, y = 2 * i + 0.7 * j, j - 0.2 * i + 0.004 * i * j
    data = ensemble({"q": (("j", "i"), affine(x, y))})
    data = data.assign_coords(x=(("j", "i"), x), y=(("j", "i"), y))
    state, layout = pack(data, "member")
    rng = np.random.default_rng(0)
    a, b = rng.uniform(1, 18, 300), rng.uniform(1, 28, 300)
    position = np.stack([2 * b + 0.7 * a, a - 0.2 * b + 0.004 * a * b], axis=1)
    seen = table("q", position, axes=("x", "y")).observe(layout)
    assert seen.table.used.all()
    np.testing.assert_allclose(seen.observation.operator(state)[0], affine(*position.T), rtol=1e-9)


def test_coordinates_may_have_a_time_of_length_one():
    """As XLAT and XLONG of WRF, (Time, y, x)."""
    j, i = np.meshgrid(np.arange(40.0, 46.0), np.arange(0.0, 8.0), indexing="ij")
    dims = ("Time", "y", "x")
    data = ensemble({"t": (dims, affine(j, i)[None])})
    state, layout = pack(data.assign_coords(XLAT=(dims, j[None]), XLONG=(dims, i[None])), "member")
    position = np.array([[42.0, 4.0], [44.5, 6.5]])
    predicted = table("t", position).observe(layout).observation.operator(state)[0]
    np.testing.assert_allclose(predicted, affine(*position.T), atol=2e-3)  # edges are great circles
    np.testing.assert_allclose((state @ interpolate(layout, "t", *position.T).T)[0], predicted, rtol=1e-12)


def test_cells_with_corners_that_are_not_finite_do_not_exist():
    lat, lon, _ = turned()
    lat[20, 20] = np.nan
    here = np.array([[np.nanmean(lat[20:22, 20:22]), np.nanmean(lon[20:22, 20:22])], [lat[5, 5], lon[5, 5]]])
    assert Curvilinear(lat, lon, sphere=True).corners(here).inside.tolist() == [False, True]
    with pytest.raises(ValueError, match="no cell with four finite corners"):
        Curvilinear(lat * np.nan, lon, sphere=True).corners(here)


def test_curvilinear_grids_have_edges_within_rounding():
    j, i = np.meshgrid(np.arange(4.0), np.arange(5.0), indexing="ij")
    found = Curvilinear(j, i, sphere=False).corners(np.array([[1.5, 4.0005], [-0.0005, 2.0], [1.5, 4.01]]))
    assert found.inside.tolist() == [True, True, False]


@pytest.mark.parametrize("part", [1.0, 0.05])
def test_fractions_in_skewed_cells(part):
    """Of both roots of the quadratic equation, the one in the cell; a cell may have a side that is nearly a point."""
    rng = np.random.default_rng(0)
    corners = np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]]) + rng.uniform(-0.24, 0.24, (1000, 4, 2))
    corners[:, 2] = corners[:, 0] + part * (corners[:, 2] - corners[:, 0])
    a, b = rng.uniform(0.01, 0.99, (2, 1000))
    weight = np.stack([(1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b], axis=1)
    found = inverse(corners, np.einsum("pc,pcd->pd", weight, corners), False, 1e-9)
    assert found[2].all()
    np.testing.assert_allclose(found[:2], (a, b), atol=1e-9)


def test_the_other_side_of_the_earth_is_in_no_cell():
    points = turned(2)[2].reshape(1, -1, 3)[:, [0, 1, -9, -8]]
    centre = points.mean(axis=1) / np.linalg.norm(points.mean(axis=1), axis=1)
    assert inverse(points, centre, True, 1e-9)[2].all() and not inverse(points, -centre, True, 1e-9)[2].any()


def test_very_flat_cells_are_found():
    lat, lon = np.meshgrid(np.linspace(80, 89.9, 100), np.arange(0.0, 360.0, 10.0), indexing="ij")
    rng = np.random.default_rng(0)
    position = np.stack([rng.uniform(80.5, 89.5, 300), rng.uniform(0, 360, 300)], axis=1)
    assert Curvilinear(lat, lon, sphere=True).corners(position).inside.mean() > 0.99


# --- levels ----------------------------------------------------------------------------------------------


def test_levels_are_interpolated_and_surface_fields_need_none():
    state, layout = column()
    position = stations(30)
    z = np.random.default_rng(4).uniform(500, 1000, 30)
    variable = np.where(np.arange(30) % 3 == 0, "ps", "t")
    seen = table(variable, position, z=np.where(variable == "ps", np.nan, z)).observe(layout)
    assert isinstance(seen.observation.operator, Linear)
    expected = affine(*position.T, np.where(variable == "ps", 1000.0, z))
    np.testing.assert_allclose(seen.observation.operator(state)[0], expected, rtol=1e-12)


def test_rows_outside_the_levels_are_rejected():
    _, layout = column()
    seen = table("t", np.tile([45.0, 0.0], (4, 1)), z=[400, 1001, np.nan, 700]).observe(layout)
    assert seen.table.codes.tolist() == [LEVEL, LEVEL, LEVEL, 0]
    with pytest.raises(ValueError, match="'t' has levels but its rows have no z and no height along 'z': give z"):
        table("t", [[45.0, 0.0]]).observe(layout)


@pytest.mark.parametrize("turn", [1, -1])
def test_levels_may_follow_the_terrain(turn):
    rise = np.arange(4)[:, None] * 10.0 + np.zeros(5)
    height = (np.array([0.0, 100.0, 400.0])[:, None, None] + rise)[::turn]
    data = ensemble({"t": (("level", "lat", "lon"), affine(LAT[:, None], LON, height))}, lat=LAT, lon=LON)
    data = data.assign_coords(height=(("level", "lat", "lon"), height))
    state, layout = pack(data, "member")
    position, z = stations(20), np.random.default_rng(0).uniform(30, 400, 20)
    seen = table("t", position, z=z).observe(layout, coordinates={"z": "height"})
    assert seen.table.used.all()
    np.testing.assert_allclose(seen.observation.operator(state)[0], affine(*position.T, z), rtol=1e-12)


AXES = [
    ({"units": "m", "positive": "down"}, [0.5, 10.0, 100.0], "depth", 30.0, 30.0),
    ({"units": "m", "positive": "up"}, [-100.0, -10.0, -0.5], "depth", 30.0, -30.0),
    ({"standard_name": "depth", "units": "m"}, [-100.0, -10.0, -0.5], "depth", 30.0, -30.0),
    ({"standard_name": "depth", "units": "cm"}, [50.0, 1000.0, 10000.0], "depth", 30.0, 3000.0),
    ({"standard_name": "depth"}, [0.5, 10.0, 100.0], "height", -30.0, 30.0),
    ({"standard_name": "altitude", "units": "km"}, [0.0, 1.0, 2.0], "height", 300.0, 0.3),
    ({"units": "hPa"}, [1000.0, 850.0, 500.0], "pressure", 70000.0, 700.0),
    ({"units": "Pa"}, [100000.0, 85000.0, 50000.0], "pressure", 70000.0, 70000.0),
    ({"units": "dbar"}, [0.0, 10.0, 100.0], "pressure", 300000.0, 30.0),
]


def levels_of(about, levels, name="lev"):
    levels = np.array(levels)
    data = ensemble({"t": (("lev", "lat", "lon"), affine(LAT[:, None], LON, levels[:, None, None]))}, lat=LAT, lon=LON)
    return pack(data.assign_coords(lev=("lev", levels, about)).rename(lev=name), "member")


@pytest.mark.parametrize(("about", "levels", "column", "value", "expected"), AXES)
def test_heights_of_any_kind_meet_the_vertical_axis(about, levels, column, value, expected):
    state, layout = levels_of(about, levels)
    vertical = {column: np.array([value, np.nan, value])}
    rows = table("t", [[45.0, 3.0]] * 3, z=[np.nan, np.nan, levels[0]], vertical=vertical)
    seen = rows.observe(layout)
    assert seen.table.codes.tolist() == [0, LEVEL, 0]
    np.testing.assert_allclose(seen.observation.operator(state)[0], affine(45.0, 3.0, np.array([expected, levels[0]])))
    np.testing.assert_allclose(seen.table.z[[0, 2]], [expected, levels[0]])
    located = seen.locate(Localization(Layered(Sphere(), 1.0), 300.0, dims=("lat", "lon", "lev")))
    np.testing.assert_allclose(located.observation.position[:, 2], [expected, levels[0]])


@pytest.mark.parametrize(
    ("about", "column", "message"),
    [
        ({"units": "hPa"}, "depth", "column depth, but its levels, 'lev', are a pressure: give pressure, or z"),
        ({"units": "m", "positive": "down"}, "pressure", "'lev', are a depth: give depth or height, or z as the grid"),
        ({"units": "m"}, "depth", r"'lev', say neither units nor direction \(attributes units, positive\): give z"),
        ({"units": "1", "positive": "down"}, "pressure", "say neither units nor direction"),
    ],
)
def test_heights_of_another_kind_are_refused(about, column, message):
    _, layout = levels_of(about, [0.0, 10.0, 100.0])
    with pytest.raises(ValueError, match=message):
        table("t", [[45.0, 3.0]], vertical={column: np.array([20.0])}).observe(layout)


@pytest.mark.parametrize(
    ("about", "levels", "expected"),
    [
        ({"units": "m", "positive": "down"}, [0.5, 10.0, 100.0], 0.5),
        ({"units": "m", "positive": "up"}, [-100.0, -10.0, -0.5], -0.5),
        ({"units": "m", "positive": "up"}, [2.0, 10.0, 100.0], 2.0),
        ({"units": "hPa"}, [1000.0, 850.0, 500.0], 1000.0),
        ({"units": "dbar"}, [100.0, 10.0, 1.0], 1.0),
        ({"standard_name": "ocean_s_coordinate", "positive": "up"}, [-0.9, -0.5, -0.1], -0.1),
        ({"standard_name": "atmosphere_sigma_coordinate", "positive": "down"}, [0.1, 0.5, 0.9], 0.9),
    ],
)
def test_surface_variables_see_the_level_nearest_to_the_surface(about, levels, expected):
    state, layout = levels_of(about, levels)
    rows = table("t", [[45.0, 3.0], [45.0, 3.0]], z=[np.nan, levels[1]])
    seen = rows.observe(layout, surface=["t"])
    np.testing.assert_allclose(seen.observation.operator(state)[0], affine(45.0, 3.0, np.array([expected, levels[1]])))
    assert table("t", [[45.0, 3.0]]).observe(layout, surface=["t"]).table.used.all()


def test_a_surface_that_nobody_knows_is_refused():
    _, layout = levels_of({"units": "1"}, [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="'lev' of variable 't' does not say which level is nearest to the surface"):
        table("t", [[45.0, 3.0]]).observe(layout, surface=["t"])


@pytest.mark.parametrize(
    ("name", "about", "message"),
    [
        ("step", {"units": "hours", "long_name": "lead"}, "several times along 'step'"),
        ("ocean_time", {"units": "seconds since 2000-01-01"}, "no row is within the times of 't', 2000-01-01T00:00:00"),
        ("number", {"units": "1"}, "along 'number', which is not known to be vertical"),
        ("wavelength", {"units": "m"}, "along 'wavelength', which is not known to be vertical"),
    ],
)
def test_what_is_not_vertical_is_no_height(name, about, message):
    _, layout = levels_of(about, [0.0, 6.0, 12.0], name)
    with pytest.raises(ValueError, match=message):
        table("t", [[45.0, 3.0]], z=[2.0]).observe(layout)
    if "several times" in message:
        with pytest.raises(ValueError, match="several times|is a time, which is no height"):
            table("t", [[45.0, 3.0]], z=[2.0]).observe(layout, coordinates={"z": name})


def test_level_weights_of_columns_are_those_of_one():
    height = np.array([400.0, 500.0, 620.0, 1000.0, 1001.0, np.nan])
    for levels in (Z, Z[::-1]):
        one, each = level_weights(levels, height), level_weights(np.tile(levels, (6, 1)), height)
        assert one[2].tolist() == each[2].tolist() == [False, True, True, True, False, False]
        for weights in (one, each):
            total = (levels[weights[0]] * weights[1]).sum(axis=1)
            np.testing.assert_allclose(total[1:4], height[1:4])


# --- masks -----------------------------------------------------------------------------------------------


def masked(interpolation=Bilinear()):  # noqa: B008
    """One grid point, 40 N 0 E, is land."""
    field = affine(LAT[:, None], LON)
    field[2, 2] = np.nan
    data = ensemble({"t": (("lat", "lon"), field)}, lat=LAT, lon=LON)
    state, layout = pack(data, "member", mask=True)
    position = [[40.0, 0.0], [44.0, 4.0], [48.0, 8.0], [55.0, 0.0]]
    return state, table("t", position).observe(layout, interpolation=interpolation)


def test_stations_on_land_are_rejected_and_beside_land_see_the_sea():
    state, seen = masked()
    assert seen.table.codes.tolist() == [LAND, 0, 0, 0]
    weight = np.array([0.4 * 0.6, 0.4 * 0.4, 0.6 * 0.4])
    corners = affine(np.array([50, 50, 40]), np.array([0, 10, 10]))
    expected = (weight * corners).sum() / weight.sum()
    predicted = seen.observation.operator(state)[0]
    np.testing.assert_allclose(predicted[0], expected, rtol=1e-12)
    np.testing.assert_allclose(predicted[2], affine(55, 0), rtol=1e-12)


def test_a_station_outside_is_not_on_land():
    field = affine(LAT[:, None], LON)
    field[0, 0] = np.nan
    _, layout = pack(ensemble({"t": (("lat", "lon"), field)}, lat=LAT, lon=LON), "member", mask=True)
    assert table("t", [[10.0, 0.0], [60.0, -20.0]]).observe(layout).table.codes.tolist() == [OUTSIDE, LAND]


def test_how_much_sea_is_needed_is_a_setting():
    assert masked(Bilinear(0.7))[1].table.codes.tolist() == [LAND, LAND, 0, 0]
    assert masked(Bilinear(1.0))[1].table.codes.tolist() == [LAND, LAND, LAND, 0]
    assert masked(Nearest())[1].table.codes.tolist() == [LAND, LAND, 0, 0]
    with pytest.raises(ValueError, match="min_weight is 0"):
        Bilinear(0)


# --- derived quantities ----------------------------------------------------------------------------------


def winds(dtype=np.float64):
    rng = np.random.default_rng(5)
    shape = (("z", "lat", "lon"), rng.standard_normal((3, 4, 5)).astype(dtype) + 3)
    other = (("z", "lat", "lon"), rng.standard_normal((3, 4, 5)).astype(dtype) + 3)
    return pack(ensemble({"u": shape, "v": other}, lat=LAT, lon=LON, z=Z), "member")


def interpolated(state, layout, name, position, z):
    return table(name, position, z=z).observe(layout).observation.operator(state)


def test_wind_speed_is_registered():
    state, layout = winds()
    position, z = stations(10), np.full(10, 700.0)
    seen = table("wind_speed", position, z=z).observe(layout)
    assert isinstance(seen.observation.operator, WindSpeed)
    u, v = (interpolated(state, layout, name, position, z) for name in "uv")
    np.testing.assert_allclose(seen.observation.operator(state), np.hypot(u, v), rtol=1e-12)
    assert registered()["wind_speed"] == Speed("u", "v")


def test_speeds_and_layers_are_in_the_units_of_their_variables():
    def layout_of(east, north):
        field = affine(LAT[:, None], LON, Z[:, None, None])
        dataset = ensemble(dict.fromkeys(("u", "v"), (("z", "lat", "lon"), field)), lat=LAT, lon=LON, z=Z)
        dataset["u"].attrs["units"], dataset["v"].attrs["units"] = east, north
        return pack(dataset, "member")[1]

    knots = table(
        ["wind_speed", "layer", "u"],
        stations(3),
        z=np.full(3, 850.0),
        value=np.array([10.0, 20.0, 30.0]),
        error=np.ones(3),
        extra={"units": np.array(["knot"] * 3)},
    )
    seen = knots.observe(layout_of("m s-1", "m s-1"), derived={"layer": LayerMean("v", 500.0, 850.0)})
    np.testing.assert_allclose(seen.observation.value, np.array([10.0, 20.0, 30.0]) * 1852 / 3600, rtol=1e-12)
    np.testing.assert_allclose(seen.observation.law.deviation, 1852 / 3600, rtol=1e-12)
    with pytest.raises(ValueError, match="'u' has units 'm s-1' but 'v' 'knot': a speed needs one of both"):
        table("wind_speed", stations(1), z=np.array([850.0])).observe(layout_of("m s-1", "knot"))


def test_a_function_of_a_variable_is_pointwise():
    state, layout = winds()
    position, z = stations(10), np.full(10, 700.0)
    seen = table("lu", position, z=z).observe(layout, derived={"lu": FunctionOf(log, "u")})
    assert isinstance(seen.observation.operator, Pointwise)
    np.testing.assert_allclose(
        seen.observation.operator(np.abs(state)), np.log(interpolated(np.abs(state), layout, "u", position, z))
    )


def test_a_combination_has_tangent_and_adjoint():
    state, layout = winds()
    position, z = stations(10), np.full(10, 700.0)
    flux = {"flux": Combination(lambda u, v: u * v, ("u", "v"))}
    operator = table("flux", position, z=z).observe(layout, derived=flux).observation.operator
    u, v = (interpolated(state, layout, name, position, z) for name in "uv")
    np.testing.assert_allclose(operator(state), u * v, rtol=1e-12)
    check_adjoint(operator, state)


def test_slopes_of_a_combination_are_exact_to_many_digits(rng):
    state, direction = rng.standard_normal((2, 3, 4))
    operator = Combined(lambda u, v: np.exp(u) * v, (Select((0, 1)), Select((2, 3))))
    u, v, du, dv = state[:, :2], state[:, 2:], direction[:, :2], direction[:, 2:]
    np.testing.assert_allclose(operator.tangent(state, direction), np.exp(u) * (v * du + dv), rtol=1e-7, atol=1e-8)


def check_adjoint(operator, state):
    rng = np.random.default_rng(0)
    direction = rng.standard_normal(state.shape)
    residual = rng.standard_normal(operator(state).shape)
    step = 1e-6
    slope = (operator(state + step * direction) - operator(state - step * direction)) / (2 * step)
    np.testing.assert_allclose(operator.tangent(state, direction), slope, rtol=1e-5, atol=1e-5)
    left = (operator.tangent(state, direction) * residual).sum(axis=-1)
    right = (direction * operator.adjoint(state, residual)).sum(axis=-1)
    np.testing.assert_allclose(left, right, rtol=1e-8)


def test_a_layer_mean_is_the_integral_of_the_profile():
    nodes = np.linspace(600.0, 950.0, 100_001)
    profile = np.array([1.0, -2.0, 5.0])
    exact = np.trapezoid(np.interp(nodes, Z[::-1], profile[::-1]), nodes) / 350
    np.testing.assert_allclose(layer_weights(Z, 600.0, 950.0) @ profile, exact, rtol=1e-8)
    assert np.isclose(layer_weights(Z, 600.0, 950.0).sum(), 1)
    with pytest.raises(ValueError, match="the layer from 400 to 950 is outside the levels, 500 to 1000"):
        layer_weights(Z, 400.0, 950.0)


def test_layer_means_need_no_z():
    state, layout = column()
    position = stations(10)
    thick = {"thick": LayerMean("t", 500.0, 1000.0)}
    seen = table("thick", position).observe(layout, derived=thick)
    assert isinstance(seen.observation.operator, Linear)
    np.testing.assert_allclose(seen.observation.operator(state)[0], affine(*position.T, 750.0), rtol=1e-12)
    with pytest.raises(ValueError, match="no levels that are the same everywhere"):
        table("thick", position).observe(layout, derived={"thick": LayerMean("ps", 500.0, 1000.0)})
    with pytest.raises(ValueError, match="a layer from 2 to 1 is empty"):
        LayerMean("t", 2, 1)


def test_a_name_is_registered_once():
    register("wind_speed", Speed("u", "v"))
    with pytest.raises(ValueError, match="'wind_speed' is registered as Speed"):
        register("wind_speed", Speed("a", "b"))


def test_rows_of_all_kinds_keep_their_order():
    state, layout = winds()
    names = np.array(["u", "wind_speed", "v", "u2", "u", "wind_speed"])
    position, z = stations(6), np.full(6, 700.0)
    position[4] = 0.0
    seen = table(names, position, z=z).observe(layout, derived={"u2": FunctionOf(square, "u")})
    operator = seen.observation.operator
    assert isinstance(operator, Joined)
    assert seen.used.tolist() == [0, 1, 2, 3, 5]
    inside = np.array([0, 1, 2, 3, 5])
    u, v = (interpolated(state, layout, name, position[inside], z[inside]) for name in "uv")
    expected = np.stack([u[:, 0], np.hypot(u, v)[:, 1], v[:, 2], u[:, 3] ** 2, np.hypot(u, v)[:, 4]], axis=1)
    np.testing.assert_allclose(operator(state), expected, rtol=1e-12)
    check_adjoint(operator, state)
    np.testing.assert_allclose(operator.restrict((4, 0, 3))(state), expected[:, [4, 0, 3]], rtol=1e-12)
    gaps = Observation(np.array([0.0, np.nan, 0.0, np.nan, np.nan]), operator, 1.0).present()
    assert isinstance(gaps.operator, Linear)
    np.testing.assert_allclose(gaps.operator(state), expected[:, [0, 2]], rtol=1e-12)
    np.testing.assert_allclose(operator.restrict((2, 0))(state), expected[:, [2, 0]], rtol=1e-12)


def test_one_operator_with_its_rows_in_any_order(rng):
    operator, states = WindSpeed(Select((0, 1)), Select((2, 3))), rng.standard_normal((5, 4))
    joined = join([(operator, np.array([1, 0]))])
    np.testing.assert_array_equal(joined(states), operator(states)[:, [1, 0]])


def test_operators_work_beside_arrays_of_another_device():
    state, layout = winds()
    names = np.array(["u", "wind_speed", "v", "uv"])
    position = stations(4)
    derived = {"uv": Combination(lambda u, v: u * v, ("u", "v")), "lu": FunctionOf(square, "u")}
    seen = table(np.append(names, "lu"), np.append(position, position[:1], 0), z=np.full(5, 700.0)).observe(layout,
                   derived=derived)  # fmt: skip
    elsewhere = xp.asarray(state, device=xp.Device("device1"))
    moved = seen.beside(elsewhere)
    assert moved.observation.value.device == elsewhere.device
    operator = moved.observation.operator
    np.testing.assert_allclose(to_numpy(operator(elsewhere)), seen.observation.operator(state), rtol=1e-12)
    residual = seen.observation.operator(state)
    pulled = operator.adjoint(elsewhere, operator(elsewhere))
    np.testing.assert_allclose(to_numpy(pulled), seen.observation.operator.adjoint(state, residual), rtol=1e-8)
    checked, expected = (
        one.compare("prior", x).check(GrossCheck(1.5)) for one, x in ((moved, elsewhere), (seen, state))
    )
    assert checked.table.codes.tolist() == expected.table.codes.tolist()
    assert 0 < checked.observation.size == expected.observation.size < 5
    np.testing.assert_allclose(checked.table.extra["prior_spread"], expected.table.extra["prior_spread"])
    single = seen.beside(state.astype(np.float32))
    assert single.observation.value.dtype == single.observation.operator(state.astype(np.float32)).dtype == np.float32


# --- the record ------------------------------------------------------------------------------------------


def test_compare_and_check_fill_the_table():
    state, layout = plane()
    position = [[45.0, 0.0], [80.0, 0.0], [35.0, 5.0]]
    mean = 2 * affine(np.array([45.0, 80.0, 35.0]), np.array([0.0, 0.0, 5.0]))
    value = mean + np.array([1.0, 0.0, 1000.0])
    seen = table("t", position, value=value).observe(layout).compare("prior", state).check(GrossCheck(3.0))
    assert seen.table.reason.tolist() == ["used", "out of domain", "gross check"]
    assert seen.used.tolist() == [0]
    assert seen.observation.size == 1
    np.testing.assert_allclose(seen.table.extra["prior_mean"][[0, 2]], mean[[0, 2]])
    np.testing.assert_allclose(seen.table.extra["prior_spread"][[0, 2]], mean[[0, 2]] / 2)
    assert np.isnan(seen.table.extra["prior_mean"][1])
    after = seen.compare("analysis", state * 0.5)
    np.testing.assert_allclose(after.table.extra["analysis_mean"][0], mean[0] / 2)
    assert np.isnan(after.table.extra["analysis_mean"][1:]).all()


def test_new_rows_are_made_before_they_are_observed():
    _, layout = plane()
    seen = table("t", [[45.0, 0.0], [45.1, 0.0]]).observe(layout)
    with pytest.raises(ValueError, match="SuperObservations.* makes new rows, which no operator sees yet"):
        seen.check(SuperObservations(Boxes(100.0)))


def test_no_row_may_be_left():
    state, layout = plane()
    seen = table("t", [[80.0, 0.0]]).observe(layout)
    assert seen.observation.size == 0
    assert seen.observation.operator(state).shape == (3, 0)


def test_unknown_variables_are_rejected_or_named():
    _, layout = plane()
    seen = table(["t", "q"], stations(2)).observe(layout)
    assert seen.table.codes.tolist() == [0, UNKNOWN]
    with pytest.raises(ValueError, match="row 0: variable 'lat' is unknown.* choose one of 't', 'wind_speed'"):
        table("lat", stations(2)).observe(layout)


def test_numbers_that_the_dtype_of_the_states_cannot_hold_are_rejected():
    _, layout = plane(dtype=np.float32)
    seen = table("t", stations(3), value=[1.0, 1e300, 2.0], error=np.array([1.0, 1.0, 1e-60])).observe(layout)
    assert seen.table.codes.tolist() == [0, BAD_VALUE, BAD_VALUE]
    assert seen.observation.value.tolist() == [1]


def test_grids_without_coordinates_are_refused():
    _, layout = pack(ensemble({"t": (("j", "i"), np.ones((3, 4)))}), "member")
    with pytest.raises(ValueError, match="'t' has no coordinate 'latitude' for the column 'lat'"):
        table("t", [[0.0, 0.0]]).observe(layout)
    data = ensemble({"t": (("cell",), np.ones(4))}).assign_coords(lat=("cell", np.ones(4)), lon=("cell", np.ones(4)))
    with pytest.raises(ValueError, match="neither a regular nor a curvilinear grid"):
        table("t", [[0.0, 0.0]]).observe(pack(data, "member")[1])


@pytest.mark.slow
def test_a_hundred_thousand_observations_take_seconds():
    import time

    lat, lon = np.linspace(-80, 80, 800), np.arange(1250) * 360 / 1250
    _, layout = plane(lat, lon, np.float32)
    rng = np.random.default_rng(0)
    many = np.stack([rng.uniform(-80, 80, 100_000), rng.uniform(0, 360, 100_000)], axis=1)
    start = time.perf_counter()
    assert table("t", many).observe(layout).table.used.all()
    assert time.perf_counter() - start < 5


def test_what_is_observed_prints_facts():
    _, layout = plane()
    seen = table("t", [[45.0, 0.0], [80.0, 0.0], [35.0, 5.0]], value=np.array([1.0, 2.0, 3.0])).observe(layout)
    assert repr(seen).splitlines() == [
        "Observed: 2 of 3 rows",
        "    operator       Linear",
        "    dtype          float64",
        "    t              2 observations, 1 to 3",
        "    out of domain  1 rows",
    ]
    assert seen._repr_html_().startswith("<b>Observed: 2 of 3 rows</b><table><tr>")


def test_times_are_no_levels():
    field = affine(LAT[:, None], LON, np.zeros((3, 1, 1)))
    data = ensemble({"t": (("time", "lat", "lon"), field)}, lat=LAT, lon=LON, time=[0.0, 6.0, 12.0])
    with pytest.raises(ValueError, match=r"'t' has several times along 'time', which are no dates: choose one"):
        table("t", [[45.0, 0.0]], z=[2.0]).observe(pack(data, "member")[1])
