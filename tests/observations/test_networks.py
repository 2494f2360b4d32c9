"""Networks on a grid: how many points, where, when, and what they say."""

import numpy as np
import pytest

from ensf.observations import Pointwise, RandomPoints, RegularPoints, Select, arctan

SHAPE = (2, 6, 8)
TRUTH = np.arange(96.0)


def columns(network, cycle, rng):
    """Rows and columns of the points that are seen on both levels."""
    operator = network.observe(TRUTH, cycle, rng).operator
    low, high = np.split(np.array(operator.index), 2)
    np.testing.assert_array_equal(low + 48, high)
    return np.unravel_index(low, SHAPE[1:])


def test_random_points_are_new_in_each_cycle_and_each_another(rng):
    first, second = (RandomPoints(SHAPE, 20).observe(TRUTH, k, rng).operator.index for k in (0, 1))
    assert len(set(first)) == len(set(second)) == 40 and first != second
    seen = set().union(*(RandomPoints(SHAPE, 20).observe(TRUTH, k, rng).operator.index for k in range(30)))
    assert seen == set(range(96))


def test_random_points_depend_on_the_stream_alone():
    one, other = (RandomPoints(SHAPE, 20).observe(TRUTH, 0, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one.value, other.value)


def test_a_box_bounds_random_points(rng):
    y, x = columns(RandomPoints(SHAPE, 6, box=((1, 3), (5, 8))), 0, rng)
    assert sorted(zip(y, x, strict=True)) == [(j, i) for j in (1, 2) for i in (5, 6, 7)]


def test_regular_points_stay(rng):
    for cycle in (0, 5):
        y, x = columns(RegularPoints(SHAPE, every=3), cycle, rng)
        assert sorted(zip(y, x, strict=True)) == [(j, i) for j in (0, 3) for i in (0, 3, 6)]


def test_a_moving_network_sees_each_point_once(rng):
    network = RegularPoints(SHAPE, every=2, shift=1)
    first = [int(columns(network, cycle, rng)[part][0]) for cycle in range(4) for part in (0, 1)]
    assert first == [0, 0, 0, 1, 1, 0, 1, 1]
    seen = [k for cycle in range(4) for k in network.observe(TRUTH, cycle, rng).operator.index]
    assert sorted(seen) == list(range(96))


def test_a_network_may_skip(rng):
    y, x = columns(RegularPoints(SHAPE, every=4, shift=3), 2, rng)
    assert (y[0], x[0]) == (1, 2)


def test_a_box_bounds_regular_points(rng):
    y, x = columns(RegularPoints(SHAPE, every=2, box=((1, 6), (3, 7))), 0, rng)
    assert sorted(zip(y, x, strict=True)) == [(j, i) for j in (1, 3, 5) for i in (3, 5)]


def test_a_line_is_a_grid_of_one_dimension(rng):
    assert RegularPoints((10,), every=4, shift=1).observe(np.arange(10.0), 1, rng).operator.index == (1, 5, 9)
    assert len(RandomPoints((10,), 3).observe(np.arange(10.0), 0, rng).operator.index) == 3


@pytest.mark.parametrize("network", [RandomPoints(SHAPE, 48, 0.01), RegularPoints(SHAPE, every=1, error=0.01)])
def test_values_are_truth_and_error(network, rng):
    observation = network.observe(TRUTH, 0, rng)
    assert isinstance(observation.operator, Select)
    misses = observation.value - TRUTH[list(observation.operator.index)]
    assert np.std(misses) == pytest.approx(0.01, rel=0.3) and observation.error == 0.01


def test_a_function_is_observed(rng):
    observation = RandomPoints(SHAPE, 5, 1e-9, function=arctan).observe(TRUTH, 0, rng)
    assert isinstance(observation.operator, Pointwise)
    np.testing.assert_allclose(observation.value, np.arctan(TRUTH[list(observation.operator.linear.index)]), atol=1e-8)


BAD = [
    (lambda: RandomPoints(SHAPE, 0), "from 1 to 48"),
    (lambda: RandomPoints(SHAPE, 49), "from 1 to 48"),
    (lambda: RandomPoints(SHAPE, 7, box=((1, 3), (5, 8))), "from 1 to 6"),
    (lambda: RandomPoints(SHAPE, 2, box=((1, 3), (5, 9))), "not on a grid"),
    (lambda: RandomPoints(SHAPE, 2, box=((1, 3),)), "not on a grid"),
    (lambda: RegularPoints(SHAPE, 0), "from 1 to 6"),
    (lambda: RegularPoints(SHAPE, 7), "from 1 to 6"),
    (lambda: RegularPoints(SHAPE, 2, box=((3, 3), (0, 4))), "not on a grid"),
]


@pytest.mark.parametrize("make, message", BAD)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
