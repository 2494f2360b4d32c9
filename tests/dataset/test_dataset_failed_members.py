"""Members of a Dataset that failed: as of the array of its states, with transforms, parameters and earlier states."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from ensf import ETKF, LETKF, Copula, Euclidean, FailedMembers, Localization, Observation, Parameter, Select
from ensf.dataset import Log, Problem, analyse
from ensf.wrappers.failed_members import Replacement

MEMBERS, FAILED, LEFT = 8, [0, 5], [1, 2, 3, 4, 6, 7]
SEEN = Observation(np.array([0.4, -0.3]), Select((0, 4)), 0.5)
NEAR = LETKF(Localization(Euclidean(), 1.5, ("x",)))


def member_of(states):
    rate = 0.2 + 0.05 * states[:, 0]
    fields = {"t": (("realization", "x"), states, {"units": "K"}), "rate": ("realization", rate)}
    names = [f"m{number}" for number in range(len(states))]
    return xr.Dataset(fields, {"x": ("x", np.arange(6.0), {"axis": "X"}), "realization": names})


@pytest.fixture
def states(rng):
    return rng.standard_normal((MEMBERS, 6))


@pytest.fixture
def broken(states):
    """The first member, from which masks are taken, is empty; another is infinite somewhere."""
    states = states.copy()
    states[0], states[5, 3] = np.nan, np.inf
    return states


@pytest.mark.parametrize("inner", [ETKF(), NEAR, Copula(ETKF())], ids=["ETKF", "LETKF", "Copula"])
def test_a_dataset_is_its_array(inner, broken):
    method = FailedMembers(inner, 4)
    analysis = Problem.of(member_of(broken)[["t"]], SEEN, method).analyse(3)
    expected = method.analyse(broken, SEEN, 3)
    np.testing.assert_array_equal(analysis.ensemble[LEFT], expected.ensemble[LEFT])
    np.testing.assert_allclose(analysis.ensemble[FAILED], expected.ensemble[FAILED], rtol=1e-12)
    assert analysis.info["failed_members"] == 2 and analysis.info["copies"] == expected.info["copies"]
    assert sorted(analysis.info["copies"]) == FAILED
    result = analyse(member_of(broken)[["t"]], SEEN, method, 3)
    np.testing.assert_array_equal(result.t, analysis.ensemble)
    assert result.realization.values.tolist() == member_of(broken).realization.values.tolist()
    whole = Problem.of(member_of(broken[LEFT])[["t"]], SEEN, method).analyse(3)
    assert whole.info["failed_members"] == 0


def test_members_are_left_out_for_good(broken):
    method = FailedMembers(NEAR, 4, replaced=False)
    result = analyse(member_of(broken), SEEN, method, 3, parameters={"rate": Parameter()})
    expected = analyse(member_of(broken).isel(realization=LEFT), SEEN, NEAR, 3, parameters={"rate": Parameter()})
    xr.testing.assert_identical(result, expected)


def test_parameters_and_transforms_take_the_same_weights(broken, states):
    dataset = member_of(np.exp(broken))
    method, seen = FailedMembers(NEAR, 4), Observation(np.array([1.2, 0.8]), Select((0, 4)), 0.5)
    how = {"variables": {"t": Log()}, "parameters": {"rate": Parameter()}}
    result = analyse(dataset, seen, method, 3, **how)
    expected = analyse(dataset.isel(realization=LEFT), seen, NEAR, 3, **how)
    for name in ("t", "rate"):
        np.testing.assert_array_equal(result[name].values[LEFT], expected[name])
    alive = np.isin(np.arange(MEMBERS), LEFT)
    replacement = Replacement.draw(alive, np.random.default_rng(3))
    np.testing.assert_allclose(np.log(result.t.values[FAILED]), replacement.made(np.log(expected.t.values)), rtol=1e-10)
    np.testing.assert_allclose(result.rate.values[FAILED], replacement.made(expected.rate.values[:, None])[:, 0])


def test_earlier_states_follow(broken, states, rng):
    problem = Problem.of(member_of(broken)[["t"]], SEEN, FailedMembers(NEAR, 4))
    analysis = problem.analyse(3)
    earlier = member_of(rng.standard_normal((MEMBERS, 6)))[["t"]]
    corrected = problem.smooth(analysis.update, earlier).t.values
    left = Problem.of(member_of(broken[LEFT])[["t"]], SEEN, NEAR)
    expected = left.smooth(left.analyse(3).update, earlier.isel(realization=LEFT)).t.values
    np.testing.assert_array_equal(corrected[LEFT], expected)
    np.testing.assert_allclose(corrected[FAILED], analysis.update.replacement.made(expected), rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "lag", "sentence"),
    [
        (lambda e: e, 0, "lag is 0: give the number of cycles ago"),
        (lambda e: e, 1.5, "lag is 1.5"),
        (lambda e: e.assign_coords(x=2 * e.x), 1, "has other values of 'x' than the forecast"),
        (lambda e: e.assign(t=e.t.assign_attrs(units="degC")), 1, "is in 'degC' but that of the forecast in 'K'"),
        (lambda e: e.transpose("x", "realization"), 1, "has dimensions .* but that of the forecast .*: transpose it"),
        (lambda e: e.isel(realization=slice(0, 5)), 1, "has 5 members of 6 values but the forecast 8 of 6"),
    ],
)
def test_earlier_states_are_like_the_forecast(states, change, lag, sentence):
    forecast = member_of(states)[["t"]]
    forecast.t.attrs["units"] = "K"
    problem = Problem.of(forecast, SEEN, NEAR)
    update = problem.analyse(3).update
    assert problem.smooth(update, forecast).t.dims == forecast.t.dims
    problem.smooth(update, forecast.assign(t=forecast.t.assign_attrs(units="kelvin")))  # the same unit
    with pytest.raises(ValueError, match=sentence):
        problem.smooth(update, change(forecast), lag)


def test_what_all_miss_is_no_failure_and_land_is_not_looked_at(broken):
    dataset = member_of(broken)
    land = xr.zeros_like(dataset.t.isel(realization=0), dtype=bool)
    land[2] = True
    sea = dataset.where(~land)
    result = analyse(sea[["t"]], SEEN, FailedMembers(NEAR, 4), 3, mask=True)
    assert np.isnan(result.t[:, 2]).all() and np.isfinite(result.t.drop_sel(x=2.0)).all()
    some = dataset.copy(deep=True)
    some.t[3, 2] = np.nan
    declared = analyse(some[["t"]], SEEN, FailedMembers(NEAR, 4), 3, mask=land)
    np.testing.assert_array_equal(declared.t.drop_sel(x=2.0), result.t.drop_sel(x=2.0))


def test_too_few_are_refused_and_members_keep_their_numbers(broken):
    with pytest.raises(
        ValueError, match="6 of 8 members are left, member 0 is not finite or too far off, and min_members is 7"
    ):
        analyse(member_of(broken)[["t"]], SEEN, FailedMembers(NEAR, 7), 3)
    with pytest.raises(ValueError, match="'t' of member 0 is nan"):
        analyse(member_of(broken)[["t"]], SEEN, NEAR, 3)


def test_a_parameter_without_a_number_is_a_member_that_failed(states):
    dataset = member_of(states)
    dataset.rate[6] = np.nan
    left = np.delete(np.arange(MEMBERS), 6)
    how = {"parameters": {"rate": Parameter()}}
    result = analyse(dataset, SEEN, FailedMembers(NEAR, 4), 3, **how)
    expected = analyse(dataset.isel(realization=left), SEEN, NEAR, 3, **how)
    for name in ("t", "rate"):
        np.testing.assert_array_equal(result[name].values[left], expected[name])
        assert np.isfinite(result[name].values[6]).all()
    with pytest.raises(ValueError, match="parameter 'rate' has no number in member 6"):
        analyse(dataset, SEEN, NEAR, 3, **how)


@pytest.mark.parametrize("mask", [None, True, "declared"])
def test_most_members_may_fail(mask, rng):
    """Whole members without values are no land, however many they are; what all lack is."""
    dataset = xr.Dataset({"t": (("realization", "x"), rng.standard_normal((20, 6)))}, {"x": np.arange(6.0)})
    dataset.t[5:] = np.nan
    land = xr.zeros_like(dataset.t.isel(realization=0), dtype=bool)
    if mask is not None:
        land[2], dataset.t[:, 2] = True, np.nan
    result = analyse(dataset, SEEN, FailedMembers(NEAR, 4), 3, mask=land if mask == "declared" else mask).t
    assert np.isfinite(result.values[:, ~land.values]).all()
    expected = analyse(dataset.isel(realization=slice(5)), SEEN, NEAR, 3, mask=land if mask == "declared" else mask).t
    np.testing.assert_array_equal(result.values[:5], expected)
    with pytest.raises(ValueError, match="5 of 20 members are left"):
        analyse(dataset, SEEN, FailedMembers(NEAR, 6), 3, mask=land if mask == "declared" else mask)
