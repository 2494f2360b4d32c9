"""An arctangent undone: the tangent of the observation, bounded, with the assumed error."""

import numpy as np
import pytest

from ensf.filters.base import Analysis
from ensf.filters.kalman.filters import ETKF
from ensf.observations import Identity, Observation, Pointwise, Select, absolute, arctan
from ensf.wrappers.inverted_arctan import InvertedArctan


class Keep:
    """A filter that returns the prior, and what it received."""

    def analyse(self, prior, observation, rng, memory=None, positions=None):
        return Analysis(prior, memory, {"observation": observation})


def received(observation, rng, **settings):
    analysis = InvertedArctan(Keep(), **settings).analyse(rng.normal(size=(4, 3)), observation, rng, "memory")
    assert analysis.memory == "memory"
    return analysis.info["observation"]


@pytest.mark.parametrize(
    "operator, linear", [(Pointwise(arctan), Identity), (Pointwise(arctan, Select((0, 2))), Select)]
)
def test_the_filter_receives_the_tangent(operator, linear, rng):
    value = np.arctan(operator.linear(np.array([2.0, 0.5, -3.0])))
    observation = received(Observation(value, operator, 0.01, position=np.zeros((len(value), 2))), rng)
    np.testing.assert_allclose(observation.value, np.tan(value))
    assert isinstance(observation.operator, linear) and observation.error == 1.0
    assert observation.position.shape == (len(value), 2)


def test_the_tangent_is_bounded_and_missing_stays_missing(rng):
    value = np.array([1.9, -1.9, np.nan], np.float32)
    observation = received(Observation(value, Pointwise(arctan), 0.01), rng, bound=40.0)
    np.testing.assert_allclose(observation.value, [40.0, -40.0, np.nan], rtol=1e-4)
    assert observation.value.dtype == np.float32


@pytest.mark.parametrize("operator", [Identity(), Pointwise(absolute), Select((0, 1, 2))])
def test_other_operators_are_handed_on(operator, rng):
    observation = Observation(np.full(3, 0.5), operator, 0.01)
    assert received(observation, rng) is observation


def test_an_accurate_sensor_gives_the_analysis_of_linear_observations(rng):
    prior = rng.normal(size=(10, 3))
    truth = np.array([0.4, -0.8, 0.1])
    one = InvertedArctan(ETKF(), error=0.3).analyse(prior, Observation(np.arctan(truth), Pointwise(arctan), 0.1), rng)
    two = ETKF().analyse(prior, Observation(truth, Identity(), 0.3), rng)
    np.testing.assert_allclose(one.ensemble, two.ensemble, rtol=1e-12)


@pytest.mark.parametrize("settings", [{"error": 0.0}, {"bound": -1.0}, {"error": np.inf}])
def test_settings_that_are_not_positive_are_refused(settings):
    with pytest.raises(ValueError, match="give positive numbers"):
        InvertedArctan(Keep(), **settings)
