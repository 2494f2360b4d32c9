"""Gaussian copula: coordinates in which kernel-density marginals are Gaussian; posteriors against quadrature."""

import array_api_strict as xp
import numpy as np
import pytest
from rows import Keep

from ensf.arrays import to_numpy
from ensf.filters import ETKF, LETKF, LETSF, EnKF, Kernel, QuantileFilter
from ensf.localization import periodic_line
from ensf.observations import (
    Callback,
    Composed,
    Function,
    Identity,
    Linear,
    Mixed,
    Observation,
    Pointwise,
    Select,
    StudentT,
    WindSpeed,
    absolute,
    arctan,
)
from ensf.wrappers import AdaptiveInflation, Copula, Rotation
from ensf.wrappers.copula import Warp

LINE = periodic_line(12, 3.0)
BANDWIDTHS = pytest.mark.parametrize("bandwidth", [1.0, 0.8, 0.5, 0.2, 0.05])


def bimodal(rng, members=60, size=12):
    """Two clusters, other ones in each variable."""
    side = rng.random((members, size)) < 0.4
    states = np.where(side, -2, 1) + np.where(side, 0.4, 0.6) * rng.standard_normal((members, size))
    return states * np.linspace(0.5, 20, size) + np.arange(size)


def quantiles(members=200):
    """Members of one variable at the quantiles of 0.4 N(-2, 0.5^2) + 0.6 N(1, 0.7^2), and that density."""
    nodes = np.linspace(-8, 8, 20001)
    density = 0.4 / 0.5 * np.exp(-0.5 * ((nodes + 2) / 0.5) ** 2) + 0.6 / 0.7 * np.exp(-0.5 * ((nodes - 1) / 0.7) ** 2)
    law = np.cumsum(density) / density.sum()
    return np.interp((np.arange(members) + 0.5) / members, law, nodes)[:, None], nodes, density


def kernel_density(members, bandwidth, nodes):
    mean, spread = members.mean(), members.std()
    departure = (nodes[:, None] - mean - np.sqrt(1 - bandwidth**2) * (members.T - mean)) / (bandwidth * spread)
    return np.exp(-0.5 * departure**2).mean(axis=1)


# --- the coordinates -------------------------------------------------------------------------------------


@BANDWIDTHS
def test_round_trip_is_exact_and_both_ways_increase(bandwidth, rng):
    members = bimodal(rng)
    warp = Warp.fitted(members, bandwidth)
    np.testing.assert_allclose(warp(warp.inverse(members)), members, rtol=1e-11, atol=1e-11)
    line = np.linspace(-40, 40, 3001)[:, None] * warp.spread + warp.mean
    np.testing.assert_allclose(warp.inverse(warp(line)), line, rtol=1e-9, atol=1e-9)
    assert (np.diff(warp(line), axis=0) > 0).all()
    order = np.argsort(members, axis=0)
    assert (np.diff(np.take_along_axis(warp.inverse(members), order, axis=0), axis=0) > 0).all()


@BANDWIDTHS
def test_a_gaussian_in_z_has_mean_and_spread_of_the_members_in_x(bandwidth, rng):
    members = bimodal(rng)
    warp = Warp.fitted(members, bandwidth)
    u = np.linspace(-5.9, 5.9, 4001)
    mass = np.exp(-0.5 * u * u) / np.exp(-0.5 * u * u).sum()
    x = warp(warp.mean + warp.spread * u[:, None])
    np.testing.assert_allclose((mass @ x - members.mean(axis=0)) / members.std(axis=0), 0, atol=0.02)
    spread = np.sqrt(mass @ (x - mass @ x) ** 2)
    np.testing.assert_allclose(spread / members.std(axis=0), 1, atol=0.02)


@pytest.mark.parametrize("bandwidth", [0.8, 0.5, 0.2])
def test_the_table_has_the_quantiles_of_the_kernel_density(bandwidth, rng):
    members = bimodal(rng, size=1)
    warp = Warp.fitted(members, bandwidth)
    nodes = np.linspace(members.min() - 10, members.max() + 10, 40_001)
    law = np.cumsum(kernel_density(members, bandwidth, nodes))
    found = warp.mean + warp.spread * warp.table[0]
    u = np.linspace(-6, 6, found.size)
    inner = abs(u) < 3.5
    gauss = np.cumsum(np.exp(-0.5 * np.linspace(-9, 9, 40_001) ** 2))
    wanted = np.interp(np.interp(u, np.linspace(-9, 9, 40_001), gauss / gauss[-1]), law / law[-1], nodes)
    np.testing.assert_allclose(found[inner], wanted[inner], atol=2e-3)


def test_bandwidth_one_changes_nothing(rng):
    members = bimodal(rng)
    warp = Warp.fitted(members, 1.0)
    z = np.vstack([members, 30 * members])
    for image in (warp(z), warp.inverse(z)):
        np.testing.assert_allclose(image, z, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(warp.slope(z), 1, atol=1e-10)


@pytest.mark.parametrize("operator", [Identity(), Pointwise(arctan), Linear(np.ones((2, 12)))])
@pytest.mark.parametrize(
    "method", [ETKF(), LETKF(LINE), EnKF(), LETSF(LINE), QuantileFilter(), Rotation(ETKF())], ids=str
)
def test_bandwidth_one_is_the_filter_itself(method, operator, rng):
    prior = bimodal(rng)
    observation = Observation(
        operator(prior[1]), operator, 0.5, position=np.arange(float(operator(prior).shape[1]))[:, None]
    )
    one, alone = (
        filter.analyse(prior, observation, np.random.default_rng(2)).ensemble
        for filter in (Copula(method, 1.0), method)
    )
    np.testing.assert_allclose(one, alone, atol=1e-10)


@pytest.mark.parametrize("operator", [Identity(), Pointwise(arctan, Select((0, 5))), Linear(np.ones((2, 12)))])
def test_bandwidth_near_one_is_near_the_filter(operator, rng):
    prior = bimodal(rng)
    observation = Observation(
        operator(prior[1]), operator, 0.5, position=np.arange(float(operator(prior).shape[1]))[:, None]
    )
    near, alone = (filter.analyse(prior, observation, rng).ensemble for filter in (Copula(ETKF(), 1 - 1e-9), ETKF()))
    np.testing.assert_allclose(near, alone, atol=1e-3)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_namespace_device_and_dtype_are_kept(dtype, rng):
    members = bimodal(rng).astype(dtype)
    device = xp.Device("no_float64" if dtype == "float32" else "device1")
    there = xp.asarray(members, device=device)
    here, warp = Warp.fitted(members, 0.4), Warp.fitted(there, 0.4)
    tolerance = 1e-9 if dtype == "float64" else 2e-4
    for mine, strict in ((here.table, warp.table), (here.inverse(members), warp.inverse(there))):
        assert strict.device == device and mine.dtype == dtype and str(strict.dtype).endswith(dtype)
        np.testing.assert_allclose(to_numpy(strict), mine, rtol=tolerance, atol=tolerance)
    assert warp(there).dtype == warp.slope(there).dtype == there.dtype


def test_columns_and_parts_are_the_same_functions(rng):
    members = bimodal(rng)
    warp = Warp.fitted(members, 0.4)
    np.testing.assert_array_equal(warp.restrict((5, 2))(members[:, [5, 2]]), warp(members)[:, [5, 2]])
    nodes = members[..., None] + np.linspace(-1, 1, 7)
    expected = np.moveaxis(warp(np.moveaxis(nodes, -1, 0)), 0, -1)
    np.testing.assert_array_equal(warp.column()(nodes), expected)
    np.testing.assert_array_equal(warp.column().restrict([3, 5])(nodes[:, [3, 5]]), expected[:, [3, 5]])


def test_slope_is_the_derivative(rng):
    members = bimodal(rng)
    warp = Warp.fitted(members, 0.4)
    z = warp.mean + warp.spread * (rng.integers(-40, 40, (9, 12)) + 0.5) / 8
    numeric = (warp(z + 1e-4) - warp(z - 1e-4)) / 2e-4
    np.testing.assert_allclose(warp.slope(z), numeric, rtol=1e-6)


def test_members_that_agree_stay(rng):
    prior = bimodal(rng)
    prior[:, 3] = 7.0
    warp = Warp.fitted(prior, 0.5)
    np.testing.assert_allclose(warp(warp.inverse(prior))[:, 3], 7.0, rtol=1e-12)
    analysis = Copula(LETSF(), 0.5).analyse(prior, Observation(prior[1, :2], Select((0, 1)), 0.5), rng)
    np.testing.assert_allclose(analysis.ensemble[:, 3], 7.0, rtol=1e-12)


# --- posteriors ------------------------------------------------------------------------------------------


CASES = {
    "identity between": (Function(lambda x: x), 1.0, -0.3),
    "identity in a mode": (Function(lambda x: x), 0.5, -1.8),
    "identity wide": (Function(lambda x: x), 2.0, 2.0),
    "arctan saturated": (arctan, 0.1, -1.2),
    "absolute": (absolute, 0.5, 1.5),
    "heavy tails": (arctan, StudentT(0.3, 6.0), 0.7),
}


@pytest.mark.parametrize(("function", "error", "value"), CASES.values(), ids=CASES)
def test_posterior_of_a_bimodal_prior(function, error, value, rng):
    """Mean to three percent of the spread, spread to three percent, against quadrature of the kernel density."""
    members, nodes, _ = quantiles()
    observation = Observation(np.array([value]), Pointwise(function), error)
    density = kernel_density(members, 0.15, nodes) * np.exp(observation.log_likelihood(nodes[:, None]))
    mass = density / density.sum()
    mean = mass @ nodes
    spread = np.sqrt(mass @ (nodes - mean) ** 2)
    found = Copula(LETSF(steps=50), 0.15).analyse(members, observation, rng).ensemble
    assert found.mean() == pytest.approx(mean, abs=0.03 * spread)
    assert found.std() == pytest.approx(spread, rel=0.03)
    gaussian = LETSF(steps=50).analyse(members, observation, rng).ensemble
    assert abs(gaussian.std() / spread - 1) + abs(gaussian.mean() - mean) / spread > 0.03


def test_what_is_seen_of_the_state_is_the_same(rng):
    """Of any operator, with its derivatives."""
    prior = bimodal(rng)
    seen = {}

    class Peek:
        def analyse(self, prior, observation, rng, memory=None, positions=None):
            seen["prior"], seen["observation"] = prior, observation
            return LETSF().analyse(prior, observation, rng, memory)

    operators = (
        Select((3, 1)),
        Pointwise(arctan, Select((3, 1))),
        Linear(rng.standard_normal((4, 12))),
        WindSpeed(Select((1, 2)), Select((4, 5))),
        Callback(lambda x: x[..., :2] ** 2, lambda x, r: np.concatenate([2 * x[..., :2] * r, 0 * x[..., 2:]], axis=-1)),
    )
    for operator in operators:
        value = operator(prior[1])
        value[0] = np.nan
        Copula(Peek(), 0.4).analyse(prior, Observation(value, operator, 0.5), rng)
        inner, z = seen["observation"], seen["prior"]
        np.testing.assert_allclose(inner.operator(z), operator(prior)[:, 1:], rtol=1e-9)
        r, v = rng.standard_normal((len(z), inner.size)), rng.standard_normal(z.shape)
        pulled = np.sum(inner.operator.adjoint(z, r) * v, axis=1)
        if hasattr(inner.operator, "tangent"):
            np.testing.assert_allclose(np.sum(r * inner.operator.tangent(z, v), axis=1), pulled, rtol=1e-5, atol=1e-6)


def test_serial_filter_sees_each_observation_through_its_own_function(rng):
    """`QuantileFilter` with a Gaussian marginal in z is exact for one observation, whichever variable it is of."""
    members, nodes, _ = quantiles(200)
    prior = np.hstack([rng.permutation(members), members, rng.permutation(members)]) * np.array([3.0, 1.0, 0.2])
    observation = Observation(np.array([-1.8]), Select((1,)), 0.5)
    density = kernel_density(members, 0.2, nodes) * np.exp(-0.5 * ((nodes + 1.8) / 0.5) ** 2)
    mass = density / density.sum()
    found = Copula(QuantileFilter(marginal=Kernel(1.0)), 0.2).analyse(prior, observation, rng).ensemble[:, 1]
    assert found.mean() == pytest.approx(mass @ nodes, abs=0.06)
    assert found.std() == pytest.approx(np.sqrt(mass @ (nodes - mass @ nodes) ** 2), rel=0.03)


def test_functions_of_observations_in_blocks_are_the_same(rng, monkeypatch):
    """The quadrature takes many observations in parts, each with its own functions and its own number of passes."""
    prior = bimodal(rng, members=10, size=40)
    observation = Observation(np.arctan(prior[1]), Pointwise(arctan), 0.3)
    whole = Copula(LETSF(), 0.4).analyse(prior, observation, rng).ensemble
    monkeypatch.setattr("ensf.diffusion.tilted_moments.BLOCK", 7 * 10 * 32)
    parts = Copula(LETSF(), 0.4).analyse(prior, observation, rng).ensemble
    np.testing.assert_allclose((parts - whole) / prior.std(axis=0), 0, atol=5e-3)


def test_mixed_functions_are_those_of_each_observation(rng):
    members = bimodal(rng)
    warp, x = Warp.fitted(members, 0.4), rng.standard_normal((5, 4))
    mixed = Mixed((Composed(arctan, warp.restrict((7, 3))), absolute), (1, 0, 0, 1))
    expected = np.stack([abs(x[:, 0]), *np.arctan(warp.restrict((7, 3))(x[:, 1:3])).T, abs(x[:, 3])], axis=1)
    np.testing.assert_array_equal(mixed(x), expected)
    np.testing.assert_array_equal(mixed.restrict((3, 2, 1, 2))(x[:, [3, 2, 1, 2]]), expected[:, [3, 2, 1, 2]])
    np.testing.assert_array_equal(mixed.restrict([2])(x[:, [2]]), expected[:, [2]])
    np.testing.assert_array_equal(mixed.column()(x[..., None])[..., 0], expected)
    np.testing.assert_array_equal(mixed.column().slope(x[..., None])[..., 0], mixed.slope(x))
    z = x + 1e-6 * np.ones(4)
    np.testing.assert_allclose((mixed(z) - mixed(x)) / 1e-6, mixed.slope(x), atol=1e-4)


def test_it_composes_with_inflation_and_localization(rng):
    prior = bimodal(rng)
    method = AdaptiveInflation(Rotation(Copula(LETSF(LINE), 0.6)), LINE)
    observation = Observation(np.arctan(prior[1]), Pointwise(arctan), 0.05)
    first = method.analyse(prior, observation, rng)
    second = method.analyse(first.ensemble, observation, rng, first.memory)
    assert np.isfinite(second.ensemble).all()
    assert "degrees_of_freedom" in second.info


def test_nothing_is_changed(rng):
    prior = bimodal(rng)
    before = prior.copy()
    prior.setflags(write=False)
    memory = object()
    nothing = Copula(Keep(), 0.4).analyse(prior, Observation(np.full(12, np.nan), Identity(), 1.0), rng, memory)
    assert nothing.memory is memory
    np.testing.assert_array_equal(nothing.ensemble, before)
    Copula(LETSF(), 0.4).analyse(prior, Observation(before[1], Identity(), 1.0), rng)
    np.testing.assert_array_equal(prior, before)


@pytest.mark.parametrize("bandwidth", [0.0, -0.1, 1.01, np.nan])
def test_a_bandwidth_that_is_none_is_refused(bandwidth):
    with pytest.raises(ValueError, match="bandwidth .*: give a (positive )?number"):
        Copula(ETKF(), bandwidth)
