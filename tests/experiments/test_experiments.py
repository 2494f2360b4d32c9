"""The pages give the numbers they promise: all of them in the slow suite, a quick seeded form by default."""

from dataclasses import replace
from statistics import median

import pytest

from ensf import experiments
from ensf.diagnostics import scores
from ensf.twin import summarise


def expected(name):
    return __import__(f"ensf.experiments.{name}", fromlist=["EXPECTED"]).EXPECTED


CASES = [
    (name, method, score) for name in experiments.names() for method, row in expected(name).items() for score in row
]
QUICK = {
    ("lorenz96_sakov2008", "enkf"): (1001, 0.219, 0.02),
    ("lorenz96_sakov2008", "letkf"): (1001, 0.216, 0.02),
    ("lorenz63_sakov2012", "etkf"): (501, 0.57, 0.12),
    ("kuramoto_sivashinsky_bocquet2019", "letkf"): (301, 0.107, 0.02),
}


def summary(experiment, method, seed):
    history = [(cycle.time, scores(cycle)) for cycle in experiment.run(experiment.methods[method], seed)]
    return summarise(experiment, history)


@pytest.mark.parametrize("name", experiments.names())
def test_every_page_says_what_it_is(name):
    experiment = experiments.load(name)
    assert experiment.name == name and experiment.summary and experiment.methods
    assert set(expected(name)) <= set(experiment.methods)


@pytest.mark.parametrize("name, method", QUICK)
def test_quick_form(name, method):
    cycles, value, tolerance = QUICK[name, method]
    result = summary(replace(experiments.load(name), cycles=cycles), method, seed=1)
    assert result["rmse_analysis"] == pytest.approx(value, abs=tolerance)
    assert not result["diverged"]


@pytest.fixture(scope="module")
def records():
    known = {}

    def record(name, method):
        if (name, method) not in known:
            experiment = experiments.load(name)
            known[name, method] = [summary(experiment, method, seed) for seed in experiment.seeds]
        return known[name, method]

    return record


@pytest.mark.slow
@pytest.mark.parametrize("name, method, score", CASES)
def test_expected_numbers(records, name, method, score):
    value, tolerance = expected(name)[method][score]
    assert median(run[score] for run in records(name, method)) == pytest.approx(value, abs=tolerance)
