"""Parameters of a Dataset: analysed with the state, without a place, within bounds; refused in a sentence."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from exact import kalman_posterior

from ensf import ETKF, LETKF, Copula, Euclidean, Localization, Observation, Parameter, Select
from ensf.dataset import Log, Logit, analyse, pack
from ensf.dataset.methods import Recommended, beside_parameters, method_for


@pytest.fixture
def dataset(rng):
    state = rng.standard_normal((10, 6))
    rate = 0.2 + 0.05 * state[:, 0] + 0.02 * rng.standard_normal(10)
    return xr.Dataset(
        {"t": (("realization", "x"), state), "rate": ("realization", rate, {"units": "d-1"})},
        {"x": ("x", np.arange(6.0), {"axis": "X"})},
    )


SEEN = Observation(np.array([0.4, -0.3]), Select((0, 4)), 0.5)


def test_a_parameter_has_the_exact_posterior_of_the_sample(dataset):
    result = analyse(dataset, SEEN, ETKF(), 1, parameters={"rate": Parameter()})
    prior = np.column_stack([dataset.t, dataset.rate])
    mean, covariance = kalman_posterior(
        prior.mean(axis=0), np.cov(prior.T), np.eye(7)[[0, 4]], 0.25 * np.eye(2), SEEN.value
    )
    joint = np.column_stack([result.t, result.rate])
    np.testing.assert_allclose(joint.mean(axis=0), mean, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(np.cov(joint.T), covariance, rtol=1e-8, atol=1e-11)
    assert result.rate.attrs == dataset.rate.attrs and result.rate.dims == dataset.rate.dims
    np.testing.assert_array_equal(result.t, analyse(dataset[["t"]], SEEN, ETKF(), 1).t)


def test_the_recommended_filter_leaves_the_bias_of_the_model_to_its_parameters(dataset):
    layout = pack(dataset[["t"]], "realization")[1]
    for method in (None, "letsf"):
        assert "estimate_bias=False" in repr(method_for(beside_parameters(method), layout))
        assert "estimate_bias=True" in repr(method_for(method, layout))
    assert beside_parameters(ETKF()) == ETKF()
    assert beside_parameters(Recommended({"reference": "buoy"})).settings == {
        "reference": "buoy",
        "estimate_bias": False,
    }
    told = Recommended({"estimate_bias": True})
    assert beside_parameters(told) == told
    result = analyse(dataset, SEEN, None, 1, parameters={"rate": Parameter()})
    assert not np.array_equal(result.rate, dataset.rate)


def test_bounds_and_a_floor(dataset):
    result = analyse(dataset, SEEN, ETKF(), 1, parameters={"rate": Parameter(Logit(0.0, 0.5), min_spread=2.0)})
    assert ((result.rate > 0) & (result.rate < 0.5)).all()
    odds = np.log(result.rate / (0.5 - result.rate))
    np.testing.assert_allclose(odds.std(ddof=1), 2.0, rtol=1e-10)


def test_what_is_no_parameter_is_refused_in_a_sentence(dataset):
    with pytest.raises(ValueError, match="has no parameter 'q': choose among 't', 'rate'"):
        analyse(dataset, SEEN, ETKF(), 1, parameters={"q": Parameter()})
    with pytest.raises(ValueError, match="parameter 'number' is int64 with dimensions"):
        numbered = dataset.assign(number=("realization", np.arange(10)))
        analyse(numbered, SEEN, ETKF(), 1, variables=["t"], parameters={"number": Parameter()})
    with pytest.raises(ValueError, match="Copula needs whole states and has no update for parameters"):
        analyse(dataset, SEEN, Copula(ETKF()), 1, parameters={"rate": Parameter()})
    with pytest.raises(ValueError, match=r"'rate' is .* outside the bounds of Logit"):
        analyse(dataset, SEEN, ETKF(), 1, parameters={"rate": Parameter(Logit(0.0, 0.2))})
    with pytest.raises(ValueError, match="parameter 'rate' has no number in member 3"):
        broken = dataset.rate.values.copy()
        broken[3] = np.nan
        analyse(dataset.assign(rate=("realization", broken)), SEEN, ETKF(), 1, parameters={"rate": Parameter()})


def test_a_field_is_analysed_at_its_own_places_within_its_bounds(dataset, rng):
    """A field on a grid of its own, in two dimensions, partly masked: as the update of the state makes it there."""
    grid = {"x": ("x", np.arange(6.0), {"axis": "X"}), "column": ("column", [0.5, 3.0], {"axis": "X"})}
    rough = np.exp(0.3 * dataset.t.values[:, [0, 3]][:, None, :] + 0.1 * rng.standard_normal((10, 2, 2)))
    rough[:, 1, 0] = np.nan
    here = dataset.assign_coords(grid).assign(rough=(("realization", "row", "column"), rough, {"units": "m"}))
    near = LETKF(Localization(Euclidean(), 1.5, dims={"t": ("x",), "rough": ("column",)}))
    field = Parameter(Log(), min_spread=0.05)
    result = analyse(here, SEEN, near, 1, variables=["t"], mask=True, parameters={"rough": field})
    update = near.analyse(dataset.t.values, SEEN, 1).update
    kept = np.log(rough.reshape(10, 4)[:, [0, 1, 3]])
    expected = field.with_spread(update.apply(kept, np.array([[0.5], [3.0], [3.0]])), "", None, 0)
    np.testing.assert_allclose(np.log(result.rough.values.reshape(10, 4)[:, [0, 1, 3]]), expected, rtol=1e-10)
    assert np.isnan(result.rough.values[:, 1, 0]).all() and result.rough.attrs["units"] == "m"
    with pytest.raises(ValueError, match=r"'rough' is .* outside the bounds of Logit"):
        analyse(here, SEEN, near, 1, variables=["t"], mask=True, parameters={"rough": Parameter(Logit(0.0, 1.0))})


@pytest.mark.parametrize("parameters", [["rate"], "rate", {"rate": None}, {"rate": {}}, {"rate": Parameter}], ids=str)
def test_parameters_are_named_with_their_settings(dataset, parameters):
    with pytest.raises(ValueError, match="parameters= is .*: give one for each name, such as"):
        analyse(dataset, SEEN, ETKF(), 1, parameters=parameters)
    with pytest.raises(ValueError, match=r"places of Parameter have \[1, 2\] coordinates"):
        Parameter(places=((1.0,), (2.0, 3.0)))
    local, elsewhere = LETKF(Localization(Euclidean(), 3.0, ("x",))), Parameter(places=((1.0, 2.0),))
    with pytest.raises(
        ValueError, match=r"places of parameter 'rate' have 2 coordinates but the localization 1, x: give these"
    ):
        analyse(dataset, SEEN, local, 1, parameters={"rate": elsewhere})
