"""A free run: the prior, and nothing else."""

import numpy as np
import pytest

from ensf.filters import FreeRun
from ensf.observations import Observation, Select


def test_the_analysis_is_the_prior(backend, rng):
    prior = backend.array(rng.normal(size=(5, 8)))
    analysis = FreeRun().analyse(prior, Observation(backend.array([3.0]), Select((2,)), 0.1), rng)
    assert analysis.ensemble is prior and analysis.memory is None and not analysis.info


def test_it_refuses_what_other_filters_refuse(rng):
    prior = rng.normal(size=(5, 8))
    with pytest.raises(ValueError, match="predicts 2 observations"):
        FreeRun().analyse(prior, Observation(np.zeros(1), Select((2, 3)), 0.1), rng)
    prior[3, 5] = np.nan
    with pytest.raises(ValueError, match="member 3 has nan at state variable 5"):
        FreeRun().analyse(prior, Observation(np.zeros(1), Select((2,)), 0.1), rng)
