"""Every schedule x score x guidance x sampler runs and is finite: the pieces of the table in the docs."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

SOURCE = Path(__file__).parents[2] / "docs" / "snippets" / "score_combinations.py"
SPEC = importlib.util.spec_from_file_location("score_combinations", SOURCE)
snippet = sys.modules["score_combinations"] = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(snippet)

TARGET = snippet.TARGETS["mixture"]
PRIOR = TARGET.prior.draw(10, np.random.default_rng(3))
SAMPLERS = snippet.samplers(TARGET, 2, 2, tolerance=1.0)
KINDS = list(SAMPLERS)


@pytest.fixture(scope="module")
def scores():
    return snippet.scores(TARGET, PRIOR, repeats=5, epochs=2)


def check(scores, kinds):
    """Of combinations of the numbers of a sampler, a schedule, a score and a guidance."""
    schedules, guidances, names = list(snippet.SCHEDULES), list(snippet.GUIDANCES), list(scores)
    for kind, i, j, k in kinds:
        build = schedules[i], scores[names[j]], guidances[k], SAMPLERS[KINDS[kind]]
        drawn = snippet.analysis(*build, PRIOR, TARGET.observation)
        assert drawn.shape == PRIOR.shape and np.isfinite(drawn).all(), (KINDS[kind], schedules[i], names[j], k)


ALL = list(itertools.product(range(len(KINDS)), range(6), range(8), range(6)))


def test_combinations_are_finite(scores):
    """A few of them, in which any two pieces meet."""
    some = [(kind, (kind + j) % 6, j, (kind // 2 + j) % 6) for kind in range(len(KINDS)) for j in range(8)]
    for pieces in itertools.combinations(range(4), 2):
        assert {tuple(one[p] for p in pieces) for one in some} == {tuple(one[p] for p in pieces) for one in ALL}
    check(scores, some)


@pytest.mark.slow
def test_all_combinations_are_finite(scores):
    check(scores, ALL)
