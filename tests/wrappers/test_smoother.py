"""What a smoother costs: the update applied to the states that it corrects, and little else."""

import time

import numpy as np
import pytest

from ensf import LETKF, LETSF, Observation, Select, Smoother, periodic_line
from ensf.wrappers.smoother import earlier_field

SIZE, MEMBERS, LAG = 4000, 20, 4


def seconds(work):
    began = time.process_time()
    work()
    return time.process_time() - began


@pytest.mark.parametrize(
    "method", [LETKF(periodic_line(SIZE, 4.0)), LETSF(periodic_line(SIZE, 4.0))], ids=["letkf", "letsf"]
)
def test_smoothing_adds_at_most_the_update_of_the_states_before(method, rng):
    """1.3 times; the least of several times, taken in turn, is that without what else the machine does."""
    states = rng.standard_normal((LAG + 1, MEMBERS, SIZE))
    positions = np.arange(SIZE, dtype=np.float64)[:, None]
    observation = Observation(np.ones(SIZE // 2), Select(range(0, SIZE, 2)), 0.5)
    smoother, memory = Smoother(method, LAG), None
    for state in states[:LAG]:
        memory = smoother.analyse(state, observation, 1, memory).memory
    update = method.analyse(states[-1], observation, 1).update

    def apply():
        for lag, state in enumerate(memory.states, start=1):
            update.apply(state, positions, field=earlier_field(lag), inflate=False)

    work = {
        "filter": lambda: method.analyse(states[-1], observation, 1),
        "smoother": lambda: smoother.analyse(states[-1], observation, 1, memory),
        "applied": apply,
    }
    assert len(work["smoother"]().earlier) == LAG
    least = np.min([[seconds(one) for one in work.values()] for _ in range(15)], axis=0)
    taken = dict(zip(work, least, strict=True))
    assert taken["smoother"] - taken["filter"] <= 1.3 * taken["applied"], taken
