"""Settings out of their range are refused when they are built, in a sentence that says what to give."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import xarray as xr
from rows import FILTERS

from ensf import (
    ETKF,
    LETKF,
    LETSF,
    AdaptiveInflation,
    AdaptiveSpread,
    CollapseGuard,
    EnSF,
    Euclidean,
    FixedGainMAP,
    LinearSchedule,
    Localization,
    MiniBatchScore,
    Observation,
    OptimalInterpolation,
    PartialState,
    ProbabilityFlow,
    QuantileFilter,
    ReverseSDE,
    Select,
    Sphere,
    Tempered,
    VariancePreserving,
    at_times,
    letsf,
    periodic_line,
)
from ensf.twin import AsynchronousNetwork, Network

NO_COUNTS = [0, -3, 1.5, math.nan, math.inf]
COUNTED = {
    "LETSF": lambda count: LETSF(steps=count),
    "FixedGainMAP": lambda count: FixedGainMAP(steps=count),
    "ReverseSDE": ReverseSDE,
    "ProbabilityFlow": ProbabilityFlow,
    "MiniBatchScore": MiniBatchScore,
    "Tempered": lambda count: Tempered(ETKF(), count),
    "PartialState": lambda count: PartialState(ETKF(), count),
    "CollapseGuard": lambda count: CollapseGuard(ETKF(), cycles=count),
}


@pytest.mark.parametrize("count", NO_COUNTS)
@pytest.mark.parametrize("build", COUNTED.values(), ids=COUNTED)
def test_what_is_counted_is_a_whole_number(build, count):
    with pytest.raises(ValueError, match="whole number"):
        build(count)


@pytest.mark.parametrize(
    ("build", "numbers"),
    [
        (lambda clip: EnSF(clip=clip), [0, -1.0, math.nan]),
        (Sphere, [0, -6371.0, math.nan, math.inf]),
        (lambda alpha: LinearSchedule(eps_alpha=alpha), [0, -0.1, 1.5, math.nan]),
        (lambda beta: LinearSchedule(eps_beta=beta), [-0.1, 1.0, math.nan]),
        (lambda rate: VariancePreserving(rate_min=rate), [-1, math.nan, math.inf]),
        (lambda rate: VariancePreserving(rate_max=rate), [0, -1, math.nan, math.inf]),
    ],
    ids=["clip", "radius", "eps_alpha", "eps_beta", "rate_min", "rate_max"],
)
def test_numbers_out_of_range_are_refused(build, numbers):
    for number in numbers:
        with pytest.raises(ValueError, match="give"):
            build(number)


@pytest.mark.parametrize(
    "wrong", [3.0, Sphere(), "sphere", ETKF(), periodic_line], ids=lambda one: str(one).split(" at 0x")[0]
)
@pytest.mark.parametrize(
    "build",
    [
        LETKF,
        LETSF,
        QuantileFilter,
        letsf,
        lambda localization: OptimalInterpolation(localization, 2.0),
        lambda localization: AdaptiveInflation(ETKF(), localization),
        lambda localization: AdaptiveSpread(ETKF(), localization),
    ],
    ids=["LETKF", "LETSF", "QuantileFilter", "letsf", "OptimalInterpolation", "AdaptiveInflation", "AdaptiveSpread"],
)
def test_what_is_no_localization_is_refused(build, wrong):
    with pytest.raises(ValueError, match=r"localization of \w+ is a \w+: give Localization\(geometry, half_width\)"):
        build(wrong)


HOLDING = {name: row.filter for name, row in FILTERS.items() if hasattr(row.filter, "filter")}


@pytest.mark.parametrize("wrong", [3, None, ETKF], ids=lambda one: str(one).split(" at 0x")[0])
@pytest.mark.parametrize("wrapper", HOLDING.values(), ids=HOLDING)
def test_a_wrapper_holds_a_filter(wrapper, wrong):
    with pytest.raises(ValueError, match="which is no filter"):
        replace(wrapper, filter=wrong)


RANDOM = {name: row for name, row in FILTERS.items() if name != "OptimalInterpolation"}  # which looks at no rng


@pytest.mark.parametrize("row", RANDOM.values(), ids=RANDOM)
def test_random_numbers_come_from_a_generator_or_a_seed(row, rng):
    prior, observation = rng.standard_normal((10, 12)), Observation(np.zeros(6), Select(range(0, 12, 2)), 0.5)

    def ensemble(random):
        return row.filter.analyse(prior, observation, random).ensemble

    np.testing.assert_array_equal(ensemble(np.int64(3)), ensemble(np.random.default_rng(3)))
    for wrong in ("3", 3.0, [3]):
        with pytest.raises(ValueError, match=f"rng is a {type(wrong).__name__}: give numpy.random.default_rng"):
            ensemble(wrong)
    try:
        without = ensemble(None)
    except ValueError as error:
        assert str(error) == "rng is None, but this filter draws random numbers: give a generator, or a seed"
    else:
        np.testing.assert_array_equal(without, ensemble(3))


def test_a_prior_that_is_no_array_of_numbers():
    prior, observation = np.eye(4), Observation(np.zeros(1), Select([0]), 0.5)
    with pytest.raises(ValueError, match="prior is a Dataset: give an array of numbers"):
        ETKF().analyse(xr.Dataset({"t": (("member", "x"), prior)}), observation, None)
    if np.dtype(np.longdouble).itemsize > 8:
        with pytest.raises(ValueError, match="give float32 or float64"):
            ETKF().analyse(prior.astype(np.longdouble), observation, None)


# --- what holds one number is that number -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number", [4, 4.0, np.float32(4), np.array(4), np.array([4.0]), np.array([[4]]), Fraction(8, 2), Decimal("4")]
)
def test_one_number_is_taken_whatever_holds_it(number):
    assert FixedGainMAP(number, number) == FixedGainMAP(4.0, 4) and LETSF(steps=number) == LETSF(steps=4)
    assert type(FixedGainMAP(number, number).deviation) is float or number in (4,)
    assert type(LETSF(steps=number).steps) is int
    assert hash(Sphere(number)) == hash(Sphere(4.0))


@pytest.mark.parametrize("wrong", ["4", b"4", None, [4.0], np.array([4.0, 4.0]), 4j, True, np.array(["4"]), math.nan])
def test_what_is_no_number_is_refused(wrong):
    for build in (Sphere, lambda number: LETSF(steps=number)):
        with pytest.raises(ValueError, match="give a (whole )?number"):
            build(wrong)
    with pytest.raises(ValueError, match="steps of LETSF is 2.5: give a whole number"):
        LETSF(steps=Fraction(5, 2))


def test_places_are_taken_from_whatever_lists_them():
    wanted = Localization(Euclidean(), 2.0, ("x", "z"), (("z", 3.0),))
    for dims in (["x", "z"], np.array(["x", "z"]), (name for name in "xz")):
        for at in ({"z": 3}, {"z": 3.0}.items(), [["z", np.array([3.0])]], [("z", Fraction(3))]):
            made = Localization(Euclidean(), 2.0, dims if not hasattr(dims, "send") else ["x", "z"], at)
            assert made == wanted and hash(made) == hash(wanted)
    assert Localization(Euclidean(), 2.0, "x") == Localization(Euclidean(), 2.0, ("x",))
    by_variable = Localization(Euclidean(), 2.0, {"t": ["x"], "u": ("y",)})
    assert hash(by_variable) == hash(Localization(Euclidean(), 2.0, [["t", ["x"]], ("u", ("y",))]))
    for wrong in ("z3", ("z", 3.0), 3):
        with pytest.raises(ValueError, match=r"Localization has at=.*: give a place by coordinate, such as \{'level'"):
            Localization(Euclidean(), 2.0, ("x", "z"), wrong)


def test_what_numpy_says_of_a_mask_selects():
    mask = np.array([False, True, False, True])
    assert Select(np.where(mask)) == Select(mask) == Select(np.flatnonzero(mask)) == Select((1, 3))
    with pytest.raises(ValueError, match=r"entries of shape \(2, 2\): flatten them"):
        Select(np.where(np.eye(2, dtype=bool)))


def test_times_of_a_window_are_numbers():
    network = Network(Select((0,)), 0.5)
    made = AsynchronousNetwork(network, np.array([0.1, 0.2]), [0, Fraction(1, 2)], np.array([0.1, 0.2]))
    assert made == AsynchronousNetwork(network, (0.1, 0.2), (0.0, 0.5), (0.1, 0.2)) and hash(made)
    for times, steps in ((("a",), (0, 1)), ((0.1,), "ab"), ((None,), (0, 1)), ([[0.1, 0.2]], (0, 1))):
        with pytest.raises(ValueError, match="(times|steps) of AsynchronousNetwork is .*: give a number"):
            AsynchronousNetwork(network, times, steps)
    for times, steps in ((["a"], [0, 1]), ([0.1], ["a"]), ([None], [0, 1])):
        with pytest.raises(ValueError, match="(times|steps) has dtype .*: give numbers"):
            at_times(Select((0,)), times, steps)
