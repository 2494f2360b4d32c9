"""Analysis of a Dataset: as on flat arrays, in other coordinates by change of variables, and nothing else changed."""

from dataclasses import dataclass
from functools import partial
from operator import mul

import array_api_strict as xp
import numpy as np
import pytest
import scipy.sparse
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from ensf import (
    ETKF,
    LETKF,
    LETSF,
    RTPS,
    AnalysisInflation,
    Callback,
    Copula,
    Correlated,
    Euclidean,
    FailedMembers,
    Identity,
    InformationLimit,
    Layered,
    Linear,
    Localization,
    Observation,
    Parameter,
    Pointwise,
    Select,
    Sphere,
    StudentT,
    WindSpeed,
    arctan,
    letsf,
    published,
)
from ensf.dataset import (
    Blocks,
    Bounds,
    Chain,
    Log,
    Logit,
    Problem,
    Scale,
    Standardise,
    analyse,
    first_localization,
    interpolate,
    nearest,
    pack,
    positions,
    unpack,
)
from ensf.dataset.blocks import Change, observation_of
from ensf.dataset.methods import check_order, method_for
from ensf.observations import Combined, Joined
from ensf.tables import ObservationTable

RNG = np.random.default_rng
LATITUDE, LONGITUDE = np.array([55.0, 50.0, 45.0]), np.array([0.0, 5.0, 10.0, 15.0])


def forecast(members=8, dtype=np.float64, seed=0):
    """Temperature on two levels, humidity on the ground, and what no filter touches."""
    rng = RNG(seed)
    common = rng.standard_normal((members, 1, 1))
    t = 280 + 2 * common[:, None] + rng.standard_normal((members, 2, 3, 4))
    q = np.exp(-5 + 0.5 * common + 0.3 * rng.standard_normal((members, 3, 4)))
    dataset = xr.Dataset(
        {
            "t": (("realization", "level", "latitude", "longitude"), t.astype(dtype), {"units": "K"}),
            "q": (("latitude", "realization", "longitude"), q.swapaxes(0, 1).astype(dtype), {"units": "kg kg-1"}),
            "orography": (("latitude", "longitude"), rng.random((3, 4)), {"units": "m"}),
            "category": (("realization",), np.arange(members), {"long_name": "an integer for every member"}),
        },
        coords={
            "level": ("level", [850.0, 500.0], {"units": "hPa"}),
            "latitude": ("latitude", LATITUDE, {"units": "degrees_north"}),
            "longitude": ("longitude", LONGITUDE, {"units": "degrees_east"}),
            "realization": ("realization", np.arange(members) + 1, {"standard_name": "realization"}),
            "time": ((), np.datetime64("2020-01-01", "ns")),
        },
        attrs={"title": "forecast"},
    )
    dataset["t"].encoding = {"dtype": "int16", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": -32768}
    dataset["orography"].encoding = {"zlib": True, "complevel": 4}
    return dataset


def stations(layout, dtype=np.float64):
    """Humidity and temperature at three places, by interpolation."""
    latitude, longitude = np.array([46.0, 52.0, 55.0]), np.array([2.0, 7.0, 15.0])
    matrix = scipy.sparse.vstack(
        [
            interpolate(layout, "q", latitude, longitude),
            interpolate(layout, "t", latitude, longitude, at={"level": 850}),
        ]
    )
    value, error = np.array([0.008, 0.006, 0.009, 281, 279, 280]), np.repeat([1e-3, 0.5], 3)
    place = np.tile(np.stack([latitude, longitude], axis=1), (2, 1))
    return Observation(value.astype(dtype), Linear(matrix.tocsr()), error.astype(dtype), place)


def points(layout, names=("q", "t")):
    """Humidity and temperature at grid points."""
    options = {"q": {}, "t": {"at": {"level": 500}}}
    index = np.concatenate([nearest(layout, name, [46.0, 54.0], [6.0, 14.0], **options[name]) for name in names])
    value, error = {"q": [0.008, 0.005], "t": [281.0, 279.0]}, {"q": 1e-3, "t": 0.5}
    return Observation(
        np.concatenate([value[name] for name in names]), Select(index), np.repeat([error[name] for name in names], 2)
    )


def gusts(layout):
    """A function of both at grid points."""
    index = points(layout).operator.index
    return Observation(np.array([280.0, 281.0]), WindSpeed(Select(index[2:]), Select(index[:2])), 1.0)


STATE = ["t", "q"]
NEAR = LETKF(Localization(Sphere(), 600.0))


# --- structure -------------------------------------------------------------------------------------------


def test_an_analysis_is_that_of_the_flat_arrays():
    dataset = forecast()
    before = dataset.copy(deep=True)
    analysis = analyse(dataset, stations, NEAR, RNG(1), variables=STATE)
    array, layout = pack(dataset, "realization", STATE)
    flat = NEAR.analyse(array, stations(layout), RNG(1), positions=positions(layout))
    xr.testing.assert_identical(analysis[STATE], unpack(flat.ensemble, layout))
    assert not analysis.t.equals(dataset.t)
    xr.testing.assert_identical(dataset, before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_everything_else_is_as_it_was(dtype):
    dataset = forecast(dtype=dtype)
    dataset.encoding = {"unlimited_dims": {"realization"}, "source": "forecast.nc"}
    analysis = analyse(dataset, partial(points, names=["t"]), ETKF(), RNG(1), variables=["t"])
    xr.testing.assert_identical(analysis.drop_vars("t"), dataset.drop_vars("t"))
    assert list(analysis) == list(dataset)
    assert analysis.encoding == dataset.encoding
    for name in dataset.variables:
        assert analysis[name].dims == dataset[name].dims
        assert analysis[name].dtype == dataset[name].dtype
        assert analysis[name].attrs == dataset[name].attrs
        assert analysis[name].encoding == dataset[name].encoding
    assert not analysis.t.equals(dataset.t)


def test_without_data_nothing_changes():
    dataset = forecast()

    def silent(layout):
        return Observation(np.full(layout.size, np.nan), Identity(), 1.0)

    xr.testing.assert_identical(analyse(dataset, silent, ETKF(), RNG(1), variables=STATE), dataset)
    units = {"t": (Log(50.0), Standardise()), "q": Logit(-0.1, 0.3)}
    problem = Problem.of(dataset, silent, ETKF(), variables=units)
    blocks = problem.pipeline.transforms.blocks(problem.layout)
    assert 0 < np.abs(blocks.inverse(blocks.forward(problem.forecast)) - problem.forecast).max() < 1e-10
    xr.testing.assert_identical(analyse(dataset, silent, ETKF(), RNG(1), variables=units), dataset)


def test_a_data_array_gives_a_data_array():
    dataset = forecast()
    expected = analyse(dataset[["t"]], partial(points, names=["t"]), NEAR, RNG(1)).t
    array = analyse(dataset.t, partial(points, names=["t"]), NEAR, RNG(1))
    xr.testing.assert_identical(array, expected)
    assert array.encoding == dataset.t.encoding

    def first(layout):
        return Observation(np.array([280.0]), Select([0]), 1.0)

    unnamed = analyse(dataset.t.rename(None), first, ETKF(), RNG(1), variables={"variable": Standardise()})
    assert unnamed.name is None
    np.testing.assert_allclose(unnamed, analyse(dataset.t, first, ETKF(), RNG(1)), rtol=1e-12)


def test_all_variables_of_the_members_by_default():
    dataset = forecast()
    with pytest.raises(ValueError, match="variable 'category' has dtype int64"):
        analyse(dataset, stations, ETKF(), RNG(1))
    whole = analyse(dataset.drop_vars("category"), stations, ETKF(), RNG(1))
    chosen = analyse(dataset, stations, ETKF(), RNG(1), variables=STATE)
    xr.testing.assert_identical(whole, chosen.drop_vars("category"))


def test_dask_arrays_are_computed_once_and_others_stay(caplog):
    pytest.importorskip("dask.array")
    dataset = forecast()
    analysis = analyse(dataset.chunk({"latitude": 1}), stations, NEAR, RNG(1), variables=STATE)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "ensf"]
    assert line == (
        "an analysis needs the whole ensemble: computing the Dask arrays of 't', 'q', 0.0023 MB, into memory"
    )
    assert analysis.orography.chunks is not None
    assert analysis.t.chunks is None
    xr.testing.assert_identical(analysis.compute(), analyse(dataset, stations, NEAR, RNG(1), variables=STATE))


def counted(dataset, calls):
    """The same in chunks; `calls` gets the name and place of each that is computed."""
    array = pytest.importorskip("dask.array")

    def lazy(name, one):
        def count(block, block_info):
            calls.append((name, tuple(block_info[0]["chunk-location"])))
            return block

        chunks = array.from_array(one.values, tuple(-(-size // 2) for size in one.shape))
        chunks = chunks.map_blocks(count, dtype=one.dtype, meta=np.empty((0,) * one.ndim, one.dtype))
        return one.variable.copy(data=chunks)

    return dataset.assign({name: lazy(name, one) for name, one in dataset.items()})


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"method": Copula(ETKF())},
        {"method": FailedMembers(NEAR, 3), "broken": True},
        {"mask": "land"},
        {"mask": {"t": "land", "q": "land"}},
        {"parameters": {"rate": Parameter(), "rough": Parameter()}},
    ],
    ids=["near", "whole", "failed", "mask", "masks", "parameters"],
)
def test_no_chunk_is_computed_twice(how):
    dataset = forecast()
    dataset["rate"] = "realization", RNG(1).random(8)
    dataset["rough"] = ("realization", "latitude", "longitude"), RNG(2).random((8, 3, 4))
    dataset["land"] = dataset.orography > 0.95
    if how.get("broken"):
        dataset["t"][2, 0] = np.nan
    calls = []

    def made(data):
        mask = how.get("mask")
        mask = {name: data[one] for name, one in mask.items()} if isinstance(mask, dict) else mask and data[mask]
        options = {"variables": STATE, "mask": mask, "parameters": how.get("parameters")}
        return analyse(data, points, how.get("method", NEAR), RNG(1), **options)

    result = made(counted(dataset, calls))
    assert len(set(calls)) == len(calls) and {name for name, _ in calls} >= {"t", "q"}
    xr.testing.assert_identical(result.compute(), made(dataset))


def test_masked_points_keep_the_values_of_each_member():
    dataset = forecast()
    land = dataset.orography > 0.5
    garbage = xr.zeros_like(dataset.q) + dataset.realization
    filled = dataset.assign(q=dataset.q.where(~land, garbage).transpose(*dataset.q.dims))

    def everywhere(layout):
        return Observation(np.full(layout.size, 0.007), Identity(), 1e-3)

    analysis = analyse(filled, everywhere, ETKF(), RNG(1), variables={"q": Log()}, mask=land)
    assert bool((analysis.q.where(land) == garbage.where(land)).where(land, True).all())
    assert bool((analysis.q != dataset.q).where(~land, True).all())
    sea = dataset.assign(q=dataset.q.where(~land))
    missing = analyse(sea, everywhere, ETKF(), RNG(1), variables={"q": Log()}, mask=True)
    xr.testing.assert_identical(missing.q.notnull(), sea.q.notnull())
    xr.testing.assert_allclose(missing.q, analysis.q.where(~land).transpose(*dataset.q.dims))


def test_files_in_files_out(tmp_path):
    forecast().to_netcdf(tmp_path / "forecast.nc", unlimited_dims=["realization"])
    with xr.open_dataset(tmp_path / "forecast.nc") as dataset:
        analyse(dataset, stations, NEAR, RNG(1), variables=STATE).to_netcdf(tmp_path / "analysis.nc")
        with xr.open_dataset(tmp_path / "analysis.nc") as analysis:
            for name in set(dataset.variables) - {"time"}:
                files = [{**file[name].encoding, "source": ""} for file in (analysis, dataset)]
                assert str(files[0]) == str(files[1])  # a fill value NaN is not equal to itself
            assert analysis.attrs == dataset.attrs
            assert not analysis.q.equals(dataset.q)


@st.composite
def cases(draw):
    """Dataset of two variables on their own grids in any order of dimensions, with a mask on some."""
    rng = RNG(draw(st.integers(0, 2**32 - 1)))
    sizes = {"m": draw(st.integers(2, 5)), "z": draw(st.integers(1, 3)), "y": draw(st.integers(1, 4)), "x": 3, "u": 2}
    fields = {}
    for name, dims in {"a": ("m", "z", "y", "x"), "b": ("m", "y", "u"), "c": ("x", "y")}.items():
        order = draw(st.permutations(dims))
        dtype = draw(st.sampled_from(["float32", "float64"]))
        fields[name] = xr.DataArray(1 + rng.random([sizes[d] for d in order]), dims=order).astype(dtype)
    hidden = xr.DataArray(rng.random((sizes["y"], 3)) < draw(st.sampled_from([0.0, 0.4])), dims=("y", "x"))
    hidden[0, 0] = False
    fields["a"] = fields["a"].where(~hidden).transpose(*fields["a"].dims)
    return xr.Dataset(fields, attrs={"history": "drawn"})


@settings(max_examples=40, deadline=None, derandomize=True)
@given(cases())
def test_any_dataset_keeps_its_structure(dataset):
    def observe(layout):
        return Observation(np.ones(layout.size), Identity(), 0.5)

    options = {"member_dim": "m", "mask": True, "variables": {"a": (Log(), Scale(3.0)), "b": None}}
    analysis = analyse(dataset, observe, ETKF(), RNG(0), **options)
    xr.testing.assert_identical(analysis.c, dataset.c)
    for name in "ab":
        assert analysis[name].dims == dataset[name].dims
        assert analysis[name].dtype == dataset[name].dtype
        xr.testing.assert_identical(analysis[name].isnull(), dataset[name].isnull())
        assert not analysis[name].equals(dataset[name])


# --- methods and observations ----------------------------------------------------------------------------


def test_local_filters_take_their_places_from_the_dataset():
    dataset = forecast()

    def explicit(layout):
        return RTPS(LETKF(Localization(Sphere(), 600.0, ("nav_lat", "nav_lon"))), 0.3)

    named = dataset.assign_coords(
        nav_lat=(("latitude", "longitude"), np.repeat(LATITUDE[:, None], 4, 1)),
        nav_lon=(("latitude", "longitude"), np.repeat(LONGITUDE[None], 3, 0)),
    )
    wrapped = RTPS(NEAR, 0.3)
    one = analyse(named, points, explicit, RNG(1), variables=STATE)
    xr.testing.assert_identical(analyse(named, points, wrapped, RNG(1), variables=STATE), one)
    deeper = AnalysisInflation(wrapped, 1.0)
    xr.testing.assert_allclose(analyse(named, points, deeper, RNG(1), variables=STATE), one, rtol=1e-12)


def test_the_recommended_filter_has_a_localization_from_the_coordinates():
    """Nothing, its name, and the call that these stand for."""
    dataset = forecast()
    _, layout = pack(dataset, "realization", STATE)
    made = letsf(first_localization(layout))
    assert method_for(None, layout) == method_for("letsf", layout) == made
    one, other = (analyse(dataset, stations, method, RNG(1), variables=STATE) for method in ("letsf", made))
    xr.testing.assert_identical(one, other)


def test_local_filters_with_settings_of_their_own():
    narrow = LETKF(Localization(Sphere(), 600.0), InformationLimit(0.2))
    one, other = (analyse(forecast(), points, method, RNG(1), variables=STATE) for method in (narrow, NEAR))
    assert not one.t.equals(other.t)


def test_a_vertical_coordinate_narrows_the_reach():
    dataset = forecast()
    height = xr.DataArray([1.5, 5.5], dims="level", attrs={"units": "km"})
    dataset = dataset.assign_coords(height=height)
    dims = ("latitude", "longitude", "height")
    method = LETKF(Localization(Layered(Sphere(), 200.0), 300.0, dims, at={"height": 0.0}))

    def at_ground(layout):
        return Observation(np.array([0.01]), Select([layout.offset["q"]]), 1e-3)

    analysis = analyse(dataset, at_ground, method, RNG(1), variables=STATE)
    changed = (analysis.t != dataset.t).any(["realization", "latitude", "longitude"])
    assert changed.values.tolist() == [True, False]
    assert bool((analysis.q != dataset.q).isel(latitude=0, longitude=0).all())


def test_curvilinear_grids():
    dataset = forecast().drop_vars(["latitude", "longitude"])
    south_north, west_east = np.meshgrid(LATITUDE, LONGITUDE, indexing="ij")
    curved = dataset.assign_coords(
        nav_lat=(("latitude", "longitude"), south_north, {"standard_name": "latitude"}),
        nav_lon=(("latitude", "longitude"), west_east, {"standard_name": "longitude"}),
    )

    def observe(layout):
        return Observation(np.array([280.0]), Select([layout.offset["t"] + 5]), 0.5)

    one = analyse(curved, observe, NEAR, RNG(1), variables=STATE)
    other = analyse(forecast(), observe, NEAR, RNG(1), variables=STATE)
    assert np.array_equal(one.t, other.t)
    assert list(one.coords) == list(curved.coords)


def test_a_box_with_two_grids():
    rng = RNG(2)
    a, b = rng.standard_normal((6, 5, 4)), rng.standard_normal((6, 9))
    dataset = xr.Dataset(
        {"a": (("m", "y", "x"), a), "b": (("m", "across"), b)},
        coords={"y": 10.0 * np.arange(5), "x": 10.0 * np.arange(4), "across": 5.0 * np.arange(9), "line": 20.0},
    )
    box = LETKF(Localization(Euclidean(), 4.0, dims={"a": ("y", "x"), "b": ("line", "across")}))

    def corner(layout):
        return Observation(np.array([3.0]), Select([9]), 0.1)  # a at y = 20, x = 10

    analysis = analyse(dataset, corner, box, RNG(1), member_dim="m")
    changed = np.abs(analysis.b - dataset.b).max("m") > 1e-9
    assert changed.values.tolist() == [False, True, True, True, False, False, False, False, False]
    plane = LETKF(Localization(Euclidean(), 4.0, dims=("y", "x")))
    single = analyse(dataset[["a"]], corner, plane, RNG(1), member_dim="m")
    xr.testing.assert_allclose(single.a, analysis.a)
    with pytest.raises(ValueError, match="dims= has no coordinates for variable 'b'"):
        analyse(dataset, corner, LETKF(Localization(Euclidean(), 4.0, dims={"a": ("y", "x")})), RNG(1), member_dim="m")


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (LETKF, "method is the class LETKF: give a filter, such as LETKF"),
        ("letkf", "method is 'letkf': give a filter such as LETKF"),
        (lambda layout: layout.size, "method is 36: give a filter such as LETKF"),
        (
            LETKF(Localization(Sphere(), 600.0, ("latitude", "east"))),
            "'t' has no coordinate 'east' but 'level', .*: give dims=",
        ),
    ],
)
def test_what_is_no_method_is_refused(method, message):
    with pytest.raises(ValueError, match=message):
        analyse(forecast(), stations, method, RNG(1), variables=STATE)


@pytest.mark.parametrize("observations", [{"value": [1.0]}, np.zeros(3), None])
def test_forecast_and_observations_in_the_wrong_order_are_refused(observations):
    with pytest.raises(ValueError, match=f"the forecast is a {type(observations).__name__}: give an xarray.Dataset"):
        analyse(observations, forecast(), ETKF(), RNG(1))


def test_kilometres_along_degrees_are_refused():
    with pytest.raises(ValueError, match=r"half-width of 600 degrees, .* give Sphere\(\) for km"):
        analyse(forecast(), stations, LETKF(Localization(Euclidean(), 600.0)), RNG(1), variables=STATE)


class Table:
    """What an observation table is to an analysis."""

    def observe(self, layout):
        return Record(stations(layout))


@dataclass(frozen=True)
class Record:
    observation: Observation

    def locate(self, localization):
        return self


def test_observations_come_as_table_function_or_observation():
    dataset = forecast()
    _, layout = pack(dataset, "realization", STATE)
    made = [
        analyse(dataset, observations, NEAR, RNG(1), variables=STATE)
        for observations in (Table(), stations, stations(layout))
    ]
    xr.testing.assert_identical(made[0], made[1])
    xr.testing.assert_identical(made[0], made[2])
    with pytest.raises(ValueError, match="observations are a ndarray: give an Observation"):
        analyse(dataset, np.ones(3), NEAR, RNG(1), variables=STATE)
    other = Observation(np.ones(3), Identity(), 1.0)
    with pytest.raises(ValueError, match="the operator predicts 36 observations but 3 values"):
        analyse(dataset, other, NEAR, RNG(1), variables=STATE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variables": ["t", "r"]}, "no variable 'r': choose from 't', 'q'"),
        ({"variables": ["orography"]}, "'orography' has no member dimension 'realization'"),
        ({"variables": ["t"], "coordinates": {"latt": "latitude"}}, "coordinates has 'latt', which is no column of a"),
        ({"variables": {"t": Log}}, "variable 't' has the setting <class .*Log'>: give None"),
        ({"variables": {"t": 2.0}}, "variable 't' has the setting 2.0"),
        ({"member_dim": "member"}, "no variable has the member dimension 'member': choose member_dim= among 're"),
        ({"variables": {"t": Log(-280.0)}}, r"variable 't' is 27\d.* in member \d, but Log\(offset=-280.0\) needs"),
        ({"variables": {"t": Logit(200, 281)}}, r"'t' is 28\d.* needs values above 200 and below 281: change"),
    ],
)
def test_variables_that_do_not_fit_are_refused(options, message):
    def make(layout):
        return Observation(np.ones(1), Select([0]), 1.0)

    with pytest.raises(ValueError, match=message):
        analyse(forecast(), make, ETKF(), RNG(1), **options)


def test_a_variable_without_spread_is_not_standardised():
    same = forecast().isel(realization=[0, 0, 0])
    with pytest.raises(ValueError, match="variable 't' has no spread among members: leave out Standardise"):
        analyse(same, stations, ETKF(), RNG(1), variables={"t": Standardise(), "q": ...})


# --- transforms ------------------------------------------------------------------------------------------

TRANSFORMS = [
    Log(),
    Log(0.5),
    Logit(-1.0, 12.0),
    Scale(-3.0),
    Scale(0.2, 4.0),
    Chain((Log(1.0), Scale(2.0, 1.0))),
    Chain(()),
]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
@settings(deadline=None, derandomize=True)
@given(values=st.lists(st.floats(0.01, 11.0), min_size=1, max_size=5))
def test_transforms_have_an_inverse_and_its_slope(transform, values):
    x = np.array(values)
    z = transform.forward(x)
    np.testing.assert_allclose(transform.inverse(z), x, rtol=1e-9, atol=1e-12)
    h = 1e-5
    numeric = (transform.inverse(z + h) - transform.inverse(z - h)) / (2 * h)
    np.testing.assert_allclose(transform.slope(z), numeric, rtol=1e-6, atol=1e-9)


def test_chains_and_tuples_are_the_same():
    settings = [(Log(), Standardise(), Scale(2.0)), Chain((Log(), Chain((Standardise(),)), Scale(2.0)))]
    one, other = (Problem.of(forecast(), points, ETKF(), variables={"t": ..., "q": s}) for s in settings)
    assert one.pipeline.transforms == other.pipeline.transforms
    with pytest.raises(ValueError, match="needs values above 1"):
        Problem.of(forecast(), points, ETKF(), variables={"t": ..., "q": Chain((Log(-1.0),))})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_transforms_keep_dtype_namespace_and_device(dtype):
    device = xp.Device("no_float64" if dtype == "float32" else "device1")
    x = xp.asarray(np.linspace(0.5, 3, 6, dtype=dtype).reshape(2, 3), device=device)
    blocks = Blocks((1, 2, 3), (Chain((Log(), Scale(2.0))), Chain(()), Chain((Logit(0.0, 4.0),))))
    z = blocks.forward(x)
    assert z.dtype == x.dtype
    assert z.device == x.device
    back = blocks.inverse(z)
    assert bool(xp.all(xp.abs(back - x) < 1e-5))
    assert Standardise().fit(x).forward(x).dtype == x.dtype
    operator = WindSpeed(Select([0]), Select([1])).through(Change(blocks))
    assert operator(z).dtype == x.dtype
    assert operator.adjoint(z, operator(z)).shape == (2, 3)


def test_standardise_gives_mean_zero_and_spread_one():
    prior = 280 + 3 * RNG(1).standard_normal((30, 50)) + np.arange(50)
    z = Standardise().fit(prior).forward(prior)
    assert abs(z.mean()) < 1e-12
    assert abs(z.var(axis=0, ddof=1).mean() - 1) < 1e-12


def test_bounds_clip_and_say_how_many(caplog):
    dataset = forecast()

    def dry(layout):
        return Observation(np.full(12, -0.02), Select(range(*layout.block("q").indices(layout.size))), 1e-3)

    free = analyse(dataset, dry, ETKF(), RNG(1), variables=STATE)
    assert not caplog.records
    limited = analyse(dataset, dry, ETKF(), RNG(1), variables={"t": None, "q": Bounds(0.0, 1.0)})
    negative = int((free.q < 0).sum())
    assert negative > 0
    xr.testing.assert_identical(limited.q, free.q.clip(0.0, keep_attrs=True))
    xr.testing.assert_identical(limited.t, free.t)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == f"analysis of 'q': {negative} of 96 values clipped to Bounds(low=0.0, high=1.0)"


def test_an_analysis_beyond_what_a_transform_can_hold_is_refused():
    def far(layout):
        return Observation(np.array([1e6]), Select([layout.offset["q"]]), 1e-9)

    with pytest.raises(ValueError, match="analysis of variable 'q' is not finite in member"):
        analyse(forecast(), far, ETKF(), RNG(1), variables={"q": (Log(), Scale(1e-3))})


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (Logit, (1.0, 0.0), "has no range: give two finite numbers"),
        (Logit, (0.0, np.inf), "has no range"),
        (Bounds, (1.0, 0.0), "leaves no room: give low < high"),
        (Scale, (0.0,), "a finite factor other than zero"),
        (Layered, (Sphere(), 0.0), "the vertical scale is 0.0: give a positive number"),
    ],
)
def test_settings_without_sense_are_refused(kind, values, message):
    with pytest.raises(ValueError, match=message):
        kind(*values)


# --- what observations see -------------------------------------------------------------------------------

CHAINS = {
    "log": Chain((Log(),)),
    "units": Chain((Scale(3.0, 1.0),)),
    "other": Chain((Scale(0.5),)),
    "none": Chain(()),
}
MATRIX = RNG(5).random((3, 6))


def first_squares(x):
    return x[..., :2] ** 2


def first_squares_adjoint(x, residuals):
    return np.concatenate([2 * x[..., :2] * residuals, 0 * x[..., 2:]], axis=-1)


OPERATORS = {
    "identity": Identity(),
    "first": Select([1, 0, 2]),
    "last": Select([5, 4, 4]),
    "both": Select([5, 0, 3]),
    "dense": Linear(MATRIX),
    "sparse": Linear(scipy.sparse.csr_array(np.where(MATRIX > 0.5, MATRIX, 0))),
    "pointwise": Pointwise(arctan, Select([2, 1])),
    "pointwise both": Pointwise(arctan, Select([2, 4])),
    "pointwise linear": Pointwise(arctan, Linear(MATRIX)),
    "speed": WindSpeed(Select([0, 1]), Select([3, 4])),
    "joined": Joined((Pointwise(arctan, Select([4, 1])), Select([5, 0])), ((3, 0), (2, 1))),
    "joined linear": Joined((Pointwise(arctan, Linear(MATRIX[:2])), Select([0])), ((1, 2), (0,))),
    "product": Combined(mul, (Select([0, 2, 5]), Linear(MATRIX))),
    "callback": Callback(first_squares, first_squares_adjoint),
}


@pytest.mark.parametrize("law", ["gaussian", "correlated", "heavy tails"])
@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@pytest.mark.parametrize("names", ["log log", "log none", "units other", "units log", "none units"])
def test_observations_see_the_physical_variable(operator, names, law):
    """Likelihood (up to a constant) and its gradient by the chain rule."""
    rng = RNG(3)
    x = 0.5 + rng.random((4, 6))
    blocks = Blocks((3, 6), tuple(CHAINS[name] for name in names.split()))
    size = operator(x).shape[-1]
    deviation = 0.1 + rng.random(size)
    errors = {
        "gaussian": deviation,
        "correlated": Correlated(np.diag(deviation**2) + 0.01),
        "heavy tails": StudentT(deviation, 5.0),
    }
    original = Observation(rng.random(size), operator, errors[law])
    z = blocks.forward(x)
    transformed = observation_of(original, blocks)
    expected, actual = original.log_likelihood(x), transformed.log_likelihood(z)
    np.testing.assert_allclose(actual - actual[0], expected - expected[0], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(transformed.score(z), blocks.slope(z) * original.score(x), rtol=1e-7, atol=1e-9)
    v, h = rng.standard_normal(z.shape), 1e-6
    numeric = (transformed.operator(z + h * v) - transformed.operator(z - h * v)) / (2 * h)
    np.testing.assert_allclose(transformed.operator.tangent(z, v), numeric, rtol=1e-6, atol=1e-8)
    usable = transformed.without_scaling()
    assert usable.part.function(usable.predict(z)) == pytest.approx(usable.operator(z))


@pytest.mark.parametrize(
    ("names", "operator", "structure"),
    [
        ("none log", "first", "the same"),
        ("units log", "first", "linear"),
        ("units other", "both", "linear"),
        ("units other", "sparse", "linear"),
        ("units none", "dense", "linear"),
        ("none log", "last", "pointwise"),
        ("log log", "identity", "pointwise"),
        ("log none", "pointwise", "pointwise"),
        ("log none", "both", "pointwise"),
        ("units log", "pointwise both", "pointwise"),
        ("units log", "joined", "pointwise"),
        ("units other", "pointwise linear", "pointwise"),
        ("none none", "speed", "the same"),
    ],
)
def test_the_structure_of_operators_is_kept(names, operator, structure):
    blocks = Blocks((3, 6), tuple(CHAINS[name] for name in names.split()))
    size = OPERATORS[operator](np.ones(6)).shape[0]
    observation = Observation(np.ones(size), OPERATORS[operator], 0.1)
    transformed = observation_of(observation, blocks).without_scaling()
    assert (transformed is observation) == (structure == "the same")
    if structure != "the same":
        part = transformed.operator.linear_part()
        assert part.pointwise and part.exact == (structure == "linear") and transformed.law.is_gaussian
        assert type(part.linear) in (Identity, Select, Linear)


def test_a_wind_beside_other_coordinates_keeps_its_components():
    blocks = Blocks((3, 6), (CHAINS["none"], CHAINS["log"]))
    joined = Joined((WindSpeed(Select([0]), Select([1])), Select([5])), ((0,), (1,)))
    operator = observation_of(Observation(np.ones(2), joined, 0.1), blocks).operator
    z = RNG(1).standard_normal((4, 6))
    np.testing.assert_array_equal(operator.linear_part().linear(z), z[:, [0, 1, 5]])


def test_only_what_is_read_is_transformed():
    blocks = Blocks((500, 1000), (CHAINS["log"], CHAINS["units"]))
    matrix = scipy.sparse.csr_array(([0.5, 0.5], ([0, 0], [3, 700])), shape=(1, 1000))
    operator = observation_of(Observation(np.ones(1), Linear(matrix), 0.1), blocks).operator
    assert operator.reads().tolist() == [3, 700]
    z = RNG(1).standard_normal((2, 1000))
    np.testing.assert_allclose(operator(z), Linear(matrix)(blocks.inverse(z)))
    z[:, 4] = np.inf
    assert np.isfinite(operator(z)).all()


@pytest.mark.parametrize("method", [ETKF(), NEAR, LETSF(Localization(Sphere(), 600.0))], ids=str)
@pytest.mark.parametrize("observations", [stations, points])
def test_other_units_do_not_change_an_analysis(method, observations):
    units = {"t": Scale(-0.1, 273.15), "q": (Scale(1000.0), Standardise())}
    plain = analyse(forecast(), observations, method, RNG(1), variables=STATE)
    scaled = analyse(forecast(), observations, method, RNG(1), variables=units)
    xr.testing.assert_allclose(scaled, plain, rtol=1e-7)


def test_mixed_networks_are_where_their_grid_points_are():
    """Humidity in logarithms and temperature as it is: the places come from the localization."""
    both, places = {"t": None, "q": Log()}, [[45, 5], [55, 15], [45, 5], [55, 15]]
    problem = Problem.of(forecast(), points, NEAR, variables=both)
    assert np.array_equal(problem.pipeline.observation.position, places)
    assert problem.pipeline.observation.part.pointwise
    analysis = analyse(forecast(), points, NEAR, RNG(1), variables=both)
    assert float(analysis.q.min()) > 0
    fast = Problem.of(forecast(), gusts, NEAR, variables=both)
    assert np.array_equal(fast.pipeline.observation.position, [[45, 5], [55, 15]])


def test_a_mixed_network_at_grid_points_is_analysed_exactly():
    """Both variables alone are what each is in the mixed network, where they are independent."""
    rng = RNG(4)
    t, q = rng.standard_normal((2, 400))
    q = np.exp(q - (q @ t) / (t @ t) * t)
    dataset = xr.Dataset({"t": (("member", "x"), t[:, None]), "q": (("member", "x"), q[:, None])})
    options = {"member_dim": "member", "variables": {"t": None, "q": Log()}}

    def sensor(*index):
        return lambda layout: Observation(np.array([0.5, 1.5])[list(index)], Select(index), 0.4)

    both, first, second = (
        analyse(dataset, sensor(*index), LETSF(steps=8), RNG(1), **options) for index in ((0, 1), (0,), (1,))
    )
    np.testing.assert_allclose([both.t.mean(), both.t.std()], [first.t.mean(), first.t.std()], atol=0.01)
    np.testing.assert_allclose([both.q.mean(), both.q.std()], [second.q.mean(), second.q.std()], atol=0.01)


def test_a_lognormal_variable_has_its_exact_posterior():
    """Humidity observed with Gaussian error, its prior lognormal: LETSF in log q against quadrature."""
    z = np.sort(RNG(2).standard_normal(400))
    q = np.exp(1 + 0.6 * (z - z.mean()) / z.std(ddof=1))
    dataset = xr.Dataset({"q": (("member", "x"), q[:, None])})
    nodes = np.linspace(-4, 6, 20001)
    density = np.exp(-0.5 * ((nodes - 1) / 0.6) ** 2 - 0.5 * ((np.exp(nodes) - 1.5) / 0.5) ** 2)
    mean = np.sum(density * np.exp(nodes)) / density.sum()
    deviation = np.sqrt(np.sum(density * (np.exp(nodes) - mean) ** 2) / density.sum())

    def sensor(layout):
        return Observation(np.array([1.5]), Identity(), 0.5)

    options = {"member_dim": "member", "variables": {"q": Log()}}
    exact = analyse(dataset, sensor, LETSF(steps=20), RNG(1), **options).q.values
    assert abs(exact.mean() - mean) < 1e-3
    assert abs(exact.std(ddof=1) - deviation) < 4e-3
    plain = analyse(dataset, sensor, ETKF(), RNG(1), member_dim="member").q.values
    logged = analyse(dataset, sensor, ETKF(), RNG(1), **options).q.values
    assert abs(plain.std(ddof=1) - deviation) > 0.05
    assert abs(logged.mean() - mean) > 0.1


def test_filters_that_care_for_units_see_variables_alike():
    """EnSF takes a prior of magnitude one; temperature in kelvin is none."""
    units = {"t": Standardise(), "q": (Log(), Standardise())}
    problem = Problem.of(forecast(40), stations, published("cmame"), variables=units)
    spread = problem.pipeline.states(problem.forecast).std(axis=0, ddof=1)
    assert 0.7 < spread.min() < spread.max() < 1.4
    analysis = problem.restore(problem.analyse(RNG(1)).ensemble)
    assert 270 < float(analysis.t.min()) < float(analysis.t.max()) < 290
    assert 1e-3 < float(analysis.q.min()) < float(analysis.q.max()) < 0.05


def test_the_pieces_are_at_hand():
    problem = Problem.of(forecast(), points, NEAR, variables=STATE)
    result = problem.analyse(RNG(1))
    assert result.info["degrees_of_freedom"].shape == (problem.layout.size,)
    xr.testing.assert_identical(
        problem.restore(result.ensemble), analyse(forecast(), points, NEAR, RNG(1), variables=STATE)
    )
    with pytest.raises(ValueError, match="does not fit the dataset"):
        problem.restore(result.ensemble[:3])


# --- distance with a vertical part -----------------------------------------------------------------------


@pytest.mark.parametrize("geometry", [Euclidean(), Sphere(10.0)])
def test_layered_distances(geometry):
    rng = RNG(4)
    points, others = (np.column_stack([rng.uniform(-60, 60, (n, 2)), rng.uniform(0, 3, n)]) for n in (30, 20))
    layered = Layered(geometry, 2.0).pairs(points, others, 15.0).toarray()
    flat = geometry.pairs(points[:, :2], others[:, :2], 1e3).toarray()
    distance = np.hypot(flat, 2.0 * (points[:, None, 2] - others[None, :, 2]))
    np.testing.assert_allclose(layered, np.where(distance <= 15.0, distance, 0.0), atol=1e-9)
    assert 0 < np.count_nonzero(layered) < layered.size


def test_one_member_is_no_ensemble():
    for method in (NEAR, ETKF(), "letsf"):
        with pytest.raises(ValueError, match="the Dataset has 1 member along 'realization': give two members or more"):
            analyse(forecast(members=1), stations, method, RNG(1), variables=STATE)


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"units": "m"}, "'y' of variable 't' is in m: name a latitude"),
        ({"units": "km"}, "'y' of variable 't' is in km: name a latitude"),
        ({}, "'y' of variable 't' is up to 400: name a latitude"),
    ],
)
def test_lengths_are_no_places_on_a_sphere(axes, words):
    grid = {"y": ("y", 100.0 * np.arange(5), axes), "x": ("x", 100.0 * np.arange(4), axes)}
    dataset = xr.Dataset({"t": (("realization", "y", "x"), RNG(1).normal(size=(6, 5, 4)))}, grid)
    observation = Observation(np.ones(1), Select([0]), 1.0, position=np.zeros((1, 2)))
    method = RTPS(LETKF(Localization(Sphere(), 1000.0, dims=("y", "x"))), 0.3)
    with pytest.raises(ValueError, match=f"the localization is on the sphere, but {words}.*take Euclidean"):
        Problem.of(dataset, observation, method)
    column = xr.Dataset(
        {"t": (("realization", "z"), RNG(1).normal(size=(6, 5)))}, {"z": ("z", np.arange(5.0), {"units": "m"})}
    )
    layered = Localization(Layered(Sphere(), 1.0), 9.0, ("latitude", "longitude", "z"), {"latitude": 1, "longitude": 2})
    place = Observation(np.ones(1), Select([0]), 1.0, position=np.array([[1.0, 2.0, 0.0]]))
    assert Problem.of(column, place, LETKF(layered)).layout.size == 5


def test_coordinates_the_other_way_round_than_the_table_are_refused():
    grid = {"x": np.arange(5.0), "y": np.arange(4.0)}
    field = xr.DataArray(RNG(1).normal(size=(6, 4, 5)), grid | {"realization": np.arange(6)}, ("realization", "y", "x"))
    table = ObservationTable(
        ["q"], value=[0.0], error=[1.0], time=["2026-01-01"], position=[[2.0, 1.0]], axes=("x", "y")
    )
    right = LETKF(Localization(Euclidean(), 1.0, dims=("x", "y")))
    assert analyse(field.rename("q"), table, right, RNG(1)).shape == field.shape
    for dims in (("y", "x"), {"p": ("x", "y"), "q": ("y", "x")}):
        wrong = RTPS(LETKF(Localization(Euclidean(), 1.0, dims=dims)), 0.3)
        with pytest.raises(ValueError, match=r"dims=\('y', 'x'\) but .* positions \('x', 'y'\): .* dims=\('x', 'y'\)"):
            analyse(field.rename("q"), table, wrong, RNG(1))


def test_members_of_several_times_are_refused():
    hours = np.array(["2020-01-01T00", "2020-01-01T00", "2020-01-01T01"], "datetime64[ns]")
    dataset = xr.Dataset({"v": (("realization", "x"), RNG(1).normal(size=(3, 4)))}, {"time": ("realization", hours)})
    with pytest.raises(ValueError, match="coordinate 'time' of member 2 is 2020-01-01T01:00:00.* but 2020-01-01T00:00"):
        pack(dataset, "realization")
    pack(dataset.assign_coords(time=("realization", hours[[0, 0, 0]])), "realization")
    pack(dataset.swap_dims(realization="time"), "time")  # a static ensemble
    pack(dataset.rename(time="forecast_reference_time"), "realization")


@pytest.mark.parametrize("dims", [("longitude",), ("longitude", "level"), ("latitude", "longitude", "level")])
def test_coordinates_of_a_line_or_a_section_are_not_the_other_way_round(dims):
    check_order(Localization(Euclidean(), 1.0, dims=dims), ("lat", "lon"))


@pytest.mark.parametrize("setting", [None, Scale(0.5, 1.0)])
def test_predictions_of_a_dense_operator_do_not_depend_on_the_size_of_the_state(setting):
    """Beyond 2^22 values the same bits as of an array."""
    members, size = 9, 2**19
    values = 1 + RNG(1).random((members, size), dtype=np.float32)
    dataset = xr.Dataset({"v": (("realization", "x"), values)}, coords={"x": np.arange(size)})
    matrix = RNG(2).random((3, size), dtype=np.float32)
    matrix[:, 100:200] = 0.0

    def observe(layout):
        return Observation(np.ones(3, np.float32), Linear(matrix), 1.0)

    problem = Problem.of(dataset, observe, ETKF(), variables={"v": setting})
    pipeline, states = problem.pipeline, problem.pipeline.states(problem.forecast)
    observation = pipeline.observation.without_scaling()
    wanted = ETKF().prepare(observation.predict(states), observation, RNG(1))
    made = pipeline.prepare(problem.forecast, RNG(1))
    np.testing.assert_array_equal(made.apply(states[:, :9]), wanted.apply(states[:, :9]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("transform", [Logit(), Logit(-2.0, 0.3), Log(), Log(0.5)], ids=str)
def test_what_a_transform_makes_it_takes_again(transform, dtype):
    """However far the filter has moved it: rounding leaves nothing on a bound."""
    high = [90.0, 1e4] if np.isfinite(transform.domain[1]) else [70.0, 80.0]
    far = np.array([[-1e4, -90.0, -1.0, 0.0, 1.0, *high]], dtype)
    made = transform.inverse(far)
    assert made.dtype == dtype and (made > transform.domain[0]).all() and (made < transform.domain[1]).all()
    again = transform.forward(made)
    assert np.isfinite(again).all() and (np.diff(again) >= 0).all()
    np.testing.assert_allclose(again[0, 2:5], far[0, 2:5], rtol=0, atol=1e-5)
