"""A white prior error outside the span of the members: exact Kalman mean and variances, the scalar posterior."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from exact import kalman_posterior
from scipy import stats

from ensf import LETKF, LETSF, Identity, Linear, Observation, Pointwise, Select, absolute, arctan, periodic_line
from ensf.filters.base import observed_variables
from ensf.filters.kalman.unresolved import observed_entries
from ensf.localization import InformationLimit
from ensf.observations import Laplace, Operator

LINE = periodic_line(30, half_width=7.3)
EVERYWHERE = periodic_line(30, half_width=1e9)
INDEX = [3, 4, 11, 25, 17]


@pytest.mark.parametrize("method", [LETSF(unresolved_variance=0.3), LETKF(EVERYWHERE, unresolved_variance=0.3)])
@pytest.mark.parametrize("operator, count", [(Select(INDEX), 5), (Identity(), 30)])
def test_mean_and_variances_are_those_of_kalman(method, operator, count, rng):
    prior = 3 + 2 * rng.standard_normal((8, 30)).cumsum(axis=1)
    value, error = 3 + 2 * rng.standard_normal(count), rng.uniform(0.1, 2, count)
    observation = Observation(value, operator, error)
    covariance = np.cov(prior.T) + 0.3 * np.diag(prior.var(axis=0, ddof=1))
    seen = operator(np.eye(30)).T
    mean, posterior = kalman_posterior(prior.mean(axis=0), covariance, seen, np.diag(error**2), value)
    found = method.analyse(prior, observation, rng).ensemble
    np.testing.assert_allclose(found.mean(axis=0), mean, atol=1e-5)
    np.testing.assert_allclose(found.var(axis=0, ddof=1), np.diag(posterior), rtol=1e-5)


@pytest.mark.parametrize("limit", [None, InformationLimit(0.3)])
def test_linear_letsf_is_the_letkf(limit, rng):
    prior = rng.standard_normal((8, 30)).cumsum(axis=1)
    observation = Observation(rng.standard_normal(5), Select(INDEX), rng.uniform(0.01, 0.2, 5))
    found, wanted = (
        kind(LINE, information_limit=limit, unresolved_variance=0.2).analyse(prior, observation, rng).ensemble
        for kind in (LETSF, LETKF)
    )
    np.testing.assert_allclose(found, wanted, atol=1e-9)


@pytest.mark.parametrize("function, law", [(arctan, 0.05), (absolute, 0.5), (arctan, Laplace(0.2))])
def test_scalar_posterior_of_the_widened_prior(function, law, rng):
    quantiles = stats.norm.ppf((np.arange(400) + 0.5) / 400)
    prior = 1 + (quantiles / quantiles.std(ddof=1))[:, None]
    observation = Observation(np.array([1.2]), Pointwise(function), law)
    nodes = np.linspace(-12, 14, 100_001)
    mass = np.exp(observation.log_likelihood(nodes[:, None]) - (nodes - 1) ** 2 / (2 * 1.25))
    mass /= mass.sum()
    centre = mass @ nodes
    spread = (mass @ (nodes - centre) ** 2) ** 0.5
    found = LETSF(unresolved_variance=0.25, steps=6).analyse(prior, observation, rng).ensemble
    assert found.mean() == pytest.approx(centre, abs=0.02 * spread)
    assert found.std(ddof=1) == pytest.approx(spread, rel=0.02)


@pytest.mark.parametrize("kind", [LETSF, LETKF])
def test_letkf_sees_the_remainder_through_a_nearly_linear_sensor(kind, rng):
    prior = 1 + 1e-4 * rng.standard_normal((8, 30)).cumsum(axis=1)
    value = arctan(prior.mean(axis=0)) + 3e-5
    sensor = Observation(value, Pointwise(arctan), 2e-5)
    slope = 1 / (1 + prior.mean(axis=0) ** 2)
    linear = Observation(prior.mean(axis=0) + 3e-5 / slope, Identity(), 2e-5 / slope)
    found, wanted = (
        kind(LINE, unresolved_variance=0.2).analyse(prior, seen, rng).ensemble for seen in (sensor, linear)
    )
    np.testing.assert_allclose(found, wanted, atol=2e-2 * prior.std())


@pytest.mark.parametrize("operator", [Identity(), Pointwise(arctan)])
def test_what_is_certain_stays(operator, rng):
    prior = rng.standard_normal((8, 30))
    prior[:, 4] = 2.0
    for kind in (LETSF, LETKF):
        found = (
            kind(LINE, unresolved_variance=0.2).analyse(prior, Observation(np.zeros(30), operator, 0.5), rng).ensemble
        )
        np.testing.assert_allclose(found[:, 4], 2.0)
        assert np.isfinite(found).all()


def test_an_accurate_observation_leaves_the_members_to_the_others(rng):
    prior = rng.standard_normal((5, 30)).cumsum(axis=1)
    value = np.r_[prior.mean(axis=0)[0] + 3.0, np.full(29, np.nan)]
    observation = Observation(value, Identity(), 1e-3)
    near = {part: LETSF(unresolved_variance=part).analyse(prior, observation, rng).ensemble for part in (0.0, 0.5)}
    moved = {part: np.abs(found.mean(axis=0) - prior.mean(axis=0)) for part, found in near.items()}
    assert moved[0.5][0] == pytest.approx(3.0, abs=1e-2)
    np.testing.assert_allclose(moved[0.5][1:], moved[0.0][1:] / 1.5, rtol=1e-4)


@pytest.mark.parametrize("operator", [Linear(np.eye(30)[:3]), Select([2, 2, 5]), Pointwise(arctan, Select([1, 4, 1]))])
@pytest.mark.parametrize("kind", [LETSF, LETKF])
def test_observations_of_several_variables_are_refused(kind, operator, rng):
    position = np.array([[1.0], [2.0], [5.0]])
    observation = Observation(np.zeros(3), operator, 1.0, position)
    with pytest.raises(ValueError, match="one variable each"):
        kind(LINE, unresolved_variance=0.2).analyse(rng.standard_normal((5, 30)), observation, rng)


def test_a_negative_part_is_refused():
    for kind in (LETSF, LETKF):
        with pytest.raises(ValueError, match="unresolved_variance is -0.1: give"):
            kind(LINE, unresolved_variance=-0.1)


def test_none_without_a_part():
    assert observed_entries(0.0, Observation(np.zeros(3), Identity(), 1.0)) is None


class Doubled(Operator):
    """Reads variable k as 2 x_k, and says only that it reads it."""

    def __call__(self, states):
        return 2 * states[..., np.array(INDEX)]

    def entries(self, size):
        return np.array(INDEX)


@pytest.mark.parametrize("operator", [Doubled(), Pointwise(arctan, Doubled())])
@pytest.mark.parametrize("method", [LETSF(LINE, unresolved_variance=0.2), LETKF(LINE, unresolved_variance=0.2)])
def test_a_column_that_is_not_the_variable_itself(method, operator, rng):
    observation = Observation(np.ones(5), operator, 0.5)
    with pytest.raises(ValueError, match="unresolved_variance needs observations that see one variable each"):
        method.analyse(rng.standard_normal((8, 30)), observation, rng)


@pytest.mark.parametrize("error", [1e-6, 1e-10])
def test_an_accurate_observation_leaves_no_negative_variance(error, rng):
    prior = rng.standard_normal((10, 12))
    observation = Observation(np.full(6, 0.3), Select(range(0, 12, 2)), error)
    for kind in (LETKF, LETSF):
        ensemble = kind(LINE, unresolved_variance=0.2).analyse(prior, observation, None).ensemble
        np.testing.assert_allclose(ensemble[:, ::2], 0.3, atol=10 * error)
        assert np.isfinite(ensemble).all()


@dataclass(frozen=True)
class Neighbours(Operator):
    """Variables, with a part of the next one, which `reads` tells and `entries` does not."""

    index: tuple[int, ...]
    part: float

    def __call__(self, states):
        index = np.array(self.index)
        return states[..., index] + self.part * states[..., index + 1]

    def entries(self, size):
        return np.array(self.index)

    def reads(self):
        return np.union1d(self.index, np.add(self.index, 1))

    def narrowed(self, entries):
        """Of a part of the state without the next variable, the variable alone."""
        places = {entry: place for place, entry in enumerate(np.asarray(entries).tolist())}
        if all(k + 1 in places for k in self.index):
            rows = np.zeros((len(self.index), len(places)))
            rows[range(len(rows)), [places[k] for k in self.index]] = 1.0
            rows[range(len(rows)), [places[k + 1] for k in self.index]] += self.part
            return Linear(rows)
        return Select([places[k] for k in self.index])


@pytest.mark.parametrize("wrap", [lambda operator: operator, lambda operator: Pointwise(arctan, operator)])
def test_an_operator_that_reads_beyond_its_entries_is_no_function_of_one_variable(wrap):
    for part, wanted in ((0.5, None), (0.0, [3, 7])):
        observation = replace(Observation(np.zeros(2), wrap(Neighbours((3, 7), part)), 0.5), state_size=30)
        entries = observed_variables(observation)
        assert (None if entries is None else entries.tolist()) == wanted


def test_a_variable_that_is_not_read_is_not_what_is_observed():
    """`entries` beyond `reads`: the place of an observation that sees another variable."""
    observation = replace(Observation(np.zeros(1), Elsewhere(), 0.5), state_size=30)
    assert observed_variables(observation) is None


@dataclass(frozen=True)
class Elsewhere(Operator):
    """Reads variable 3, says that it is at 5."""

    def __call__(self, states):
        return states[..., 3:4]

    def entries(self, size):
        return np.array([5])

    def reads(self):
        return np.array([3])

    def narrowed(self, entries):
        return Select(np.searchsorted(entries, [3]))
