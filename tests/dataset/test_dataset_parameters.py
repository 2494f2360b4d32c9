"""Parameters of a Dataset: analysed with the state, without a place, within bounds; refused in a sentence."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from exact import kalman_posterior

from ensf import ETKF, Copula, Observation, Parameter, Select
from ensf.dataset import Logit, analyse


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


def test_bounds_and_a_floor(dataset):
    result = analyse(dataset, SEEN, ETKF(), 1, parameters={"rate": Parameter(Logit(0.0, 0.5), min_spread=2.0)})
    assert ((result.rate > 0) & (result.rate < 0.5)).all()
    odds = np.log(result.rate / (0.5 - result.rate))
    np.testing.assert_allclose(odds.std(ddof=1), 2.0, rtol=1e-10)


def test_what_is_no_parameter_is_refused_in_a_sentence(dataset):
    with pytest.raises(ValueError, match="has no parameter 'q': choose among 't', 'rate'"):
        analyse(dataset, SEEN, ETKF(), 1, parameters={"q": Parameter()})
    with pytest.raises(ValueError, match="parameter 't' is float64 with dimensions"):
        analyse(dataset, SEEN, ETKF(), 1, parameters={"t": Parameter()})
    with pytest.raises(ValueError, match="Copula needs whole states and has no update for parameters"):
        analyse(dataset, SEEN, Copula(ETKF()), 1, parameters={"rate": Parameter()})
    with pytest.raises(ValueError, match=r"'rate' is .* outside the bounds of Logit"):
        analyse(dataset, SEEN, ETKF(), 1, parameters={"rate": Parameter(Logit(0.0, 0.2))})
    with pytest.raises(ValueError, match="parameter 'rate' has no number in member 3"):
        broken = dataset.rate.values.copy()
        broken[3] = np.nan
        analyse(dataset.assign(rate=("realization", broken)), SEEN, ETKF(), 1, parameters={"rate": Parameter()})
