"""Distances against brute force, tapers against their formula, patches against dense matrices."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from ensf.arrays import to_numpy
from ensf.filters import LETKF, LETSF
from ensf.localization import Euclidean, Layered, Localization, Periodic, Product, Sphere, gaspari_cohn, periodic_line
from ensf.localization.localization import _REMEMBERED, NETWORKS
from ensf.localization.patches import grouped
from ensf.observations import Observation, Select
from ensf.wrappers import AdaptiveInflation

LINE = np.arange(30.0)[:, None]

EARTH = 6371.0


def euclidean(a, b):
    return np.linalg.norm(a[:, None] - b, axis=-1)


def torus(a, b, period=(10.0, 4.0)):
    gap = np.abs(a[:, None] - b) % period
    return np.linalg.norm(np.minimum(gap, period - gap), axis=-1)


def channel(a, b):
    gap = a[:, None] - b
    gap[..., 0] = (gap[..., 0] + 5.0) % 10.0 - 5.0
    return np.linalg.norm(gap, axis=-1)


def great_circle(a, b):
    """Vincenty's formula, accurate at all angles."""
    (lat, lon), (lat2, lon2) = np.deg2rad(a.T)[:, :, None], np.deg2rad(b.T)[:, None]
    east = np.cos(lat2) * np.sin(lon2 - lon)
    north = np.cos(lat) * np.sin(lat2) - np.sin(lat) * np.cos(lat2) * np.cos(lon2 - lon)
    along = np.sin(lat) * np.sin(lat2) + np.cos(lat) * np.cos(lat2) * np.cos(lon2 - lon)
    return EARTH * np.arctan2(np.hypot(east, north), along)


def scattered(rng, count, geometry):
    """Positions that also lie outside the first period, at both poles and across the date line."""
    if isinstance(geometry, Sphere):
        ends = [[90.0, 12.0], [-90.0, 200.0], [0.0, 180.0], [0.0, -180.0], [30.0, 359.9], [30.0, 0.1]]
        free = np.rad2deg(np.arcsin(rng.uniform(-1, 1, count))), rng.uniform(-180, 360, count)
        return np.concatenate([ends, np.stack(free, axis=1)])
    edges = [[0.0, 0.0], [10.0, 4.0], [-1e-18, -1e-18], [9.999, 3.999], [-0.3, 0.2]]
    return np.concatenate([edges, rng.uniform(-12, 22, (count, 2))])


CASES = [
    (Euclidean(), euclidean, 5.0),
    (Periodic((10.0, 4.0)), torus, 1.5),
    (Periodic((10.0, 4.0)), torus, 5.0),
    (Periodic((10.0, np.inf)), channel, 3.0),
    (Sphere(), great_circle, 2500.0),
    (Sphere(), great_circle, 15000.0),
    (Sphere(), great_circle, np.inf),
    (Euclidean(), euclidean, np.inf),
    (Periodic((10.0, 4.0)), torus, np.inf),
]


# --- taper -----------------------------------------------------------------------------------------------


def test_gaspari_cohn_values(backend):
    taper = gaspari_cohn(backend.array([0.0, 1.5, 3.0, 6.0, 7.0, 1e9]), 3.0)
    half = 1 - 5 / 3 / 4 + 5 / 8 / 8 + 1 / 2 / 16 - 1 / 4 / 32
    assert backend.owns(taper)
    np.testing.assert_allclose(to_numpy(taper), [1.0, half, 5 / 24, 0.0, 0.0, 0.0], atol=1e-6)


def test_gaspari_cohn_is_smooth_and_falls():
    distance = np.linspace(0, 5, 5001)
    taper = gaspari_cohn(distance, 2.0)
    slope, bend = np.diff(taper) / 1e-3, np.diff(taper, 2) / 1e-6
    assert np.all(slope <= 1e-12) and np.all(taper >= 0)
    assert np.abs(np.diff(taper)).max() < 1e-3
    assert np.abs(np.diff(slope)).max() < 2e-3
    assert np.abs(np.diff(bend)).max() < 1e-2


def test_gaspari_cohn_is_a_correlation():
    x = np.linspace(0, 10, 60)
    assert np.linalg.eigvalsh(gaspari_cohn(np.abs(x[:, None] - x), 1.3)).min() > -1e-12


def test_gaspari_cohn_without_bound():
    assert np.all(gaspari_cohn(np.array([0.0, 1.0, 1e12]), np.inf) == 1)


# --- geometries ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("geometry", "distance", "radius"), CASES)
def test_neighbours_equal_brute_force(geometry, distance, radius, rng):
    points, others = scattered(rng, 120, geometry), scattered(rng, 80, geometry)
    expected = distance(points, others)
    pairs = geometry.pairs(points, others, radius)
    found = np.zeros(expected.shape, dtype=bool)
    rows = np.repeat(np.arange(len(points)), np.diff(pairs.indptr))
    found[rows, pairs.indices] = True
    assert np.all(found[expected < radius * (1 - 1e-12)])
    assert not np.any(found[expected > radius * (1 + 1e-12)])
    np.testing.assert_allclose(pairs.data, expected[rows, pairs.indices], rtol=1e-9, atol=3e-4)


@pytest.mark.parametrize(
    ("a", "b", "degrees"),
    [
        ((0, 0), (0, 90), 90),
        ((0, 0), (1, 0), 1),
        ((0, 179), (0, -179), 2),
        ((90, 0), (90, 123), 0),
        ((89, 0), (89, 180), 2),
        ((90, 0), (-90, 77), 180),
        ((60, 0), (60, 180), 60),
    ],
)
def test_great_circle_distance(a, b, degrees):
    pairs = Sphere(1.0).pairs(np.array([a], float), np.array([b], float), np.inf)
    np.testing.assert_allclose(pairs.data, [np.deg2rad(degrees)], atol=1e-7)


def test_radius_of_the_sphere_is_the_unit():
    degree = Sphere().pairs(np.array([[0.0, 0.0]]), np.array([[0.0, 1.0]]), 200.0).data
    np.testing.assert_allclose(degree, [111.19], atol=0.01)


# --- patches ---------------------------------------------------------------------------------------------


def dense(patches, observations):
    """Weights as a matrix ``(state, observation)``."""
    weight = np.zeros((patches.variables.max() + 1, observations))
    for place, variables in enumerate(patches.variables):
        near = slice(patches.indptr[place], patches.indptr[place + 1])
        weight[np.ix_(variables, patches.index[near])] = patches.weight[near]
    return weight


@pytest.mark.parametrize(("geometry", "distance", "radius"), CASES)
def test_patches_hold_the_tapered_neighbours(geometry, distance, radius, rng):
    points, others = scattered(rng, 60, geometry), scattered(rng, 40, geometry)
    patches = Localization(geometry, radius / 2).patches(points, others)
    expected = gaspari_cohn(distance(points, others), radius / 2)
    np.testing.assert_allclose(dense(patches, len(others)), expected, atol=1e-6)
    assert patches.weight.min() > 0
    assert patches.indptr.dtype == patches.index.dtype == np.int64


def test_observations_exactly_two_half_widths_away_are_left_out():
    patches = periodic_line(20, half_width=3).patches(LINE[:20], np.array([[0.0]]))
    assert np.flatnonzero(dense(patches, 1)).tolist() == [0, 1, 2, 3, 4, 5, 15, 16, 17, 18, 19]


def test_places_closer_than_one_unit():
    ring = Localization(Periodic((5.0,)), half_width=0.75)
    patches = ring.patches(0.25 * LINE[:20], np.array([[0.25]]))
    assert np.flatnonzero(dense(patches, 1)).tolist() == [0, 1, 2, 3, 4, 5, 6, 16, 17, 18, 19]


def test_padded_patches_equal_the_compressed_ones(rng):
    observed = rng.uniform(0, 30, (7, 1))
    patches = periodic_line(30, half_width=2.0).patches(LINE, observed)
    index, weight = patches.padded
    matrix = np.zeros((30, 7))
    np.add.at(matrix, (np.arange(30)[:, None], index), weight)
    np.testing.assert_array_equal(matrix, dense(patches, 7))
    assert index.shape[1] == np.diff(patches.indptr).max()


def test_narrowed_patches_equal_those_built_narrow(rng):
    observed = rng.uniform(0, 30, (25, 1))
    wide = periodic_line(30, half_width=5.0).patches(LINE, observed)
    narrow = periodic_line(30, half_width=2.0).patches(LINE, observed)
    for name in ("indptr", "index", "distance", "weight"):
        np.testing.assert_array_equal(getattr(wide.narrowed(2.0), name), getattr(narrow, name))
    half_width = np.where(np.arange(30) < 10, 2.0, 5.0)
    mixed = dense(wide.narrowed(half_width), 25)
    np.testing.assert_array_equal(mixed[:10], dense(narrow, 25)[:10])
    np.testing.assert_array_equal(mixed[10:], dense(wide, 25)[10:])


def test_variables_at_one_place_share_a_patch(rng):
    grid = rng.uniform(0, 10, (12, 2))
    patches = Localization(Euclidean(), 2.0).patches(np.concatenate([grid, grid, grid]), grid)
    np.testing.assert_array_equal(patches.variables, np.arange(36).reshape(3, 12).T)
    assert len(patches.indptr) == 13


def test_shorter_places_repeat_their_first_variable():
    np.testing.assert_array_equal(grouped(np.array([[0.0], [0.0], [1.0]])), [[0, 1], [2, 2]])


def test_a_crowded_place_is_split_so_that_little_is_repeated(rng):
    position = np.concatenate([np.zeros(50), np.arange(1.0, 31.0), np.zeros(50)])[rng.permutation(130)][:, None]
    crowded = grouped(position)
    assert crowded.size < 3 * 130
    np.testing.assert_array_equal(np.unique(crowded), np.arange(130))
    assert all(np.ptp(position[variables]) == 0 for variables in crowded)


def test_slots_lead_from_places_back_to_variables(rng):
    patches = Localization(Euclidean(), 2.0).patches(rng.integers(0, 9, (40, 2)) / 2.0, np.zeros((1, 2)))
    assert patches.variables.shape[1] > 1
    np.testing.assert_array_equal(patches.variables.ravel()[patches.slots], np.arange(40))


@pytest.mark.parametrize("make", [LETKF, LETSF, lambda plane: AdaptiveInflation(LETSF(plane), plane, sampling=0.0)])
@pytest.mark.parametrize("size", [40, 4000])
def test_columns_of_unequal_length_are_analysed_like_single_variables(make, size, backend, rng):
    """Masked columns against the same variables, each at a place of its own by a rounding error."""
    column = rng.permutation(np.arange(size) // 3)[np.arange(size) % 5 > 0]
    aside = 1e-10 * np.arange(len(column))
    columns, single = (np.stack([column, x], axis=1) for x in (0 * aside, aside))
    assert len(grouped(columns)) < len(column) < grouped(columns).size
    observed = np.arange(0, len(column), 7)
    value = backend.array(3 * rng.standard_normal(len(observed)))
    observation = Observation(value, Select(observed), 0.5, columns[observed])
    prior, method = backend.array(rng.standard_normal((6, len(column)))), make(Localization(Euclidean(), 2.0))
    analyses = [
        to_numpy(method.analyse(prior, observation, 3, positions=places).ensemble) for places in (columns, single)
    ]
    np.testing.assert_allclose(analyses[0], analyses[1], rtol=0, atol=1e-6 if backend.dtype == "float64" else 1e-3)
    assert np.abs(analyses[0] - to_numpy(prior)).max() > 0.1


def test_networks_are_remembered_by_content(rng):
    """Also by another localization with the same settings."""
    line, places = periodic_line(10, half_width=2.0), LINE[:10]
    observed = rng.uniform(0, 10, (5, 1))
    first = line.patches(places, observed)
    assert line.patches(places.copy(), observed.copy()) is first
    assert periodic_line(10, half_width=2.0).patches(places, observed) is first
    assert periodic_line(10, half_width=3.0).patches(places, observed) is not first
    assert line.patches(places + 1, observed) is not first
    observed[0] += 1.0
    assert line.patches(places, observed) is not first


def test_the_oldest_network_is_forgotten(rng):
    line = periodic_line(10, half_width=2.0)
    observed = rng.uniform(0, 10, (5, 1))
    first, *others = (line.patches(LINE[:10], observed + shift) for shift in range(NETWORKS + 1))
    assert line.patches(LINE[:10], observed + NETWORKS) is others[-1]
    assert line.patches(LINE[:10], observed + 1) is others[0]
    assert line.patches(LINE[:10], observed) is not first


def test_a_localization_is_settings():
    plane = Localization(Product(Periodic((10.0, np.inf)), 0.5), 2.0, {"t": ["y", "x"]}, {"p": 3.0})
    assert plane == pickle.loads(pickle.dumps(plane)) and len({plane, pickle.loads(pickle.dumps(plane))}) == 1
    names = {"Localization": Localization, "Product": Product, "Periodic": Periodic, "inf": np.inf}
    assert eval(repr(plane), names) == plane
    assert plane != Localization(Product(Periodic((10.0, np.inf)), 0.5), 2.5, {"t": ["y", "x"]}, {"p": 3.0})


def test_positions_are_the_index_unless_given(rng):
    prior, observation = rng.standard_normal((6, 30)), Observation(np.ones(3), Select((0, 4, 20)), 0.5)
    method = LETKF(periodic_line(30, 2.0))
    default = method.analyse(prior, observation, rng).ensemble
    np.testing.assert_array_equal(default, method.analyse(prior, observation, rng, positions=LINE).ensemble)
    far = method.analyse(prior, observation, rng, positions=LINE[::-1] * 0.5).ensemble
    assert np.abs(far - default).max() > 0.1


@pytest.mark.parametrize(
    "geometry", [Euclidean(), Periodic((10.0, 4.0)), Sphere(), Layered(Euclidean(), 2.0), Product(Euclidean(), 2.0)]
)
def test_without_a_half_width_no_pairs_are_stored(geometry):
    """A million places and ten thousand observations."""
    dimensions = 3 if isinstance(geometry, Layered | Product) else 2
    wide, places = Localization(geometry, np.inf), np.zeros((10**6, dimensions))
    patches = wide.patches(places, places[:10_000])
    assert patches.index.size == 10_000 and (patches.weight == 1).all() and len(patches.variables) == 1
    np.testing.assert_array_equal(wide.reached(places, places[:10_000]), np.arange(10_000))


@pytest.mark.parametrize(("geometry", "distance", "radius"), CASES[:6])
def test_a_place_has_the_same_patch_whatever_other_places_there_are(geometry, distance, radius, rng):
    points, others = scattered(rng, 60, geometry), scattered(rng, 40, geometry)
    near = Localization(geometry, radius / 2)
    whole = near.patches(points, others)
    for k in (0, 7, 31):
        alone, here = near.patches(points[k : k + 1], others), slice(*whole.indptr[k : k + 2])
        np.testing.assert_array_equal(alone.index, whole.index[here])
        np.testing.assert_array_equal(alone.weight, whole.weight[here])


def test_a_taper_is_the_same_whatever_other_distances_there_are(rng):
    distance = rng.uniform(0, 3, 1001)
    whole = gaspari_cohn(distance, 1.3)
    alone = [gaspari_cohn(distance[k : k + 1], 1.3)[0] for k in range(1001)]
    np.testing.assert_array_equal(whole, alone)
    np.testing.assert_array_equal(whole[3:200], gaspari_cohn(distance[3:200], np.full(197, 1.3)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: periodic_line(10, half_width=0.0), "half-width"),
        (lambda: Localization(Euclidean(), np.nan), "half_width of Localization is nan"),
        (lambda: Localization(Euclidean(), 1.0).patches(np.zeros(4), np.zeros((1, 1))), "positions"),
        (lambda: Localization(Euclidean(), 1.0).patches(np.array([[np.nan]]), np.zeros((1, 1))), "position of .* 0 is"),
        (lambda: Periodic((0.0,)), "period"),
        (lambda: periodic_line(10, half_width=1.0).patches(LINE, np.zeros((3, 2))), "dimensions"),
        (lambda: Localization(Periodic((1.0,)), 1.0).patches(np.zeros((3, 2)), np.zeros((3, 2))), "periods"),
        (lambda: Localization(Sphere(), 1.0).patches(np.full((1, 2), 95.0), np.zeros((3, 2))), "latitude"),
    ],
)
def test_errors_say_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- a product of two tapers -------------------------------------------------------------------------------


@pytest.mark.parametrize("half_width", [0.4, 1.5, 3.0])
def test_product_of_a_horizontal_and_a_vertical_taper(rng, half_width):
    flat = scattered(rng, 40, Periodic((10.0, 4.0)))
    heights = rng.choice([0.0, 0.5, 2.0], len(flat))[:, None]
    position = np.concatenate([flat, heights], axis=1)
    geometry = Product(Periodic((10.0, 4.0)), scale=0.7)
    patches = Localization(geometry, half_width).patches(position, position)
    expected = gaspari_cohn(torus(flat, flat), half_width) * gaspari_cohn(0.7 * abs(heights - heights.T), half_width)
    found = np.zeros_like(expected)
    point = np.repeat(np.arange(len(patches.variables)), np.diff(patches.indptr))
    found[patches.variables[point, 0], patches.index] = patches.weight
    for column in patches.variables.T:
        found[column] = found[patches.variables[:, 0]]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)
    assert np.count_nonzero(found) > len(flat)


@pytest.mark.parametrize("scale", [0.0, -1.0, np.inf, np.nan])
def test_product_refuses_a_bad_scale(scale):
    with pytest.raises(ValueError, match="give a (positive )?number"):
        Product(Euclidean(), scale)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_compiled_taper_equals_the_array_form(dtype):
    distance = np.linspace(0, 5, 4002).astype(dtype).reshape(-1, 6)
    for r in (distance, distance[:, ::2], distance.T):
        taper = gaspari_cohn(r, dtype(1.7))
        assert taper.dtype == dtype
        whole = gaspari_cohn(r.astype(np.longdouble), 1.7)
        np.testing.assert_allclose(taper, whole.astype(dtype), rtol=0, atol=1e-6 if dtype == np.float32 else 1e-14)


def test_memory_of_networks_is_bounded(monkeypatch):
    line, places = periodic_line(10, half_width=2.0), LINE[:10]
    networks = [np.arange(3.0)[:, None] + k for k in range(5)]
    _REMEMBERED.clear()
    first = line.patches(places, networks[0])
    assert line.patches(places, networks[0]) is first
    monkeypatch.setattr("ensf.localization.localization.PAIRS", 2 * len(first.index))
    line.patches(places, networks[1])
    assert line.patches(places, networks[0]) is first
    line.patches(places, networks[2])
    assert line.patches(places, networks[0]) is first and len(_REMEMBERED) == 2


def test_positions_of_another_number_of_coordinates_say_what_to_give():
    sentence = r"positions have 0 coordinates but Periodic\(period=\(12.0,\)\) has 1 periods: give each"
    with pytest.raises(ValueError, match=sentence):
        Periodic((12.0,)).pairs(np.zeros((3, 0)), np.zeros((2, 0)), 1.0)
