"""Every schedule x score x guidance x sampler runs and is finite: the pieces of the table in the docs."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

SOURCE = Path(__file__).parents[2] / "docs" / "snippets" / "combinations.py"
SPEC = importlib.util.spec_from_file_location("combinations", SOURCE)
snippet = sys.modules["combinations"] = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(snippet)

TARGET = snippet.TARGETS["mixture"]
PRIOR = TARGET.prior.draw(12, np.random.default_rng(3))
SAMPLERS = snippet.samplers(TARGET, 4, 4)


@pytest.fixture(scope="module")
def scores():
    return snippet.scores(TARGET, PRIOR, repeats=5, epochs=2)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_combination_is_finite(sampler, scores):
    for name, schedule, guidance in itertools.product(scores, snippet.SCHEDULES, snippet.GUIDANCES):
        drawn = snippet.analysis(schedule, scores[name], guidance, SAMPLERS[sampler], PRIOR, TARGET.observation)
        assert drawn.shape == PRIOR.shape and np.isfinite(drawn).all(), (name, schedule, guidance)
