"""Settings out of their range are refused when they are built, in a sentence that says what to give."""

from __future__ import annotations

import math
from dataclasses import replace

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
    FixedGainMAP,
    LinearSchedule,
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
    letsf,
    periodic_line,
)

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
