"""Operators that are plain functions may give what functions give: counts, truth values, lists."""

from __future__ import annotations

import numpy as np
import pytest

from ensf import ETKF, LETKF, Observation, ParticleFilter, periodic_line

FLOATING = {
    "counts": lambda states: (states[..., ::2] > 0).astype(np.int64),
    "truth": lambda states: states[..., ::2] > 0,
    "list": lambda states: (states[..., ::2] > 0).astype(float).tolist(),
}


@pytest.mark.parametrize("kind", FLOATING)
@pytest.mark.parametrize("method", [ETKF(), LETKF(periodic_line(20, 4.0)), ParticleFilter(0.1)], ids=repr)
def test_what_is_no_floating_number_is_taken_as_one(method, kind, rng):
    prior, positions = rng.standard_normal((10, 20)), np.arange(20.0)[:, None]

    def floating(states):
        return (states[..., ::2] > 0).astype(states.dtype)

    made = [
        method.analyse(prior, Observation(np.ones(10), operator, 0.5, positions[::2]), 1, positions=positions).ensemble
        for operator in (FLOATING[kind], floating)
    ]
    np.testing.assert_array_equal(*made)
