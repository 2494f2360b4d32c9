"""The pages give the numbers they promise: all of them in the slow suite, a quick seeded form by default."""

from dataclasses import dataclass, replace
from statistics import median

import pytest

from ensf import experiments
from ensf.diagnostics import scores
from ensf.experiments import _sqg
from ensf.twin import summarise


def expected(name):
    return __import__(f"ensf.experiments.{name}", fromlist=["EXPECTED"]).EXPECTED


CASES = [
    (name, method, score) for name in experiments.names() for method, row in expected(name).items() for score in row
]


@dataclass(frozen=True)
class Quick:
    """A short form of a page with one seed: other settings than the published ones, so other numbers.

    Parameters
    ----------
    scores : mapping of str to mapping of str to (float, float)
        Value and tolerance of scores, by method. Measured; a change of rounding moves them by less than 1e-6.
    cycles : int
    burn_in : int
        Cycles that are not scored.
    members : int
        0 = those of the page.
    """

    scores: dict[str, dict[str, tuple[float, float]]]
    cycles: int
    burn_in: int = 0
    members: int = 0


QUICK = {
    "geopotential_height": Quick(
        cycles=2,
        members=16,
        scores={
            "climatology": {"rmse_analysis": (50.4, 0.3), "spread_analysis": (43.9, 0.2)},
            "oi": {"rmse_analysis": (25.22, 0.1), "spread_analysis": (20.89, 0.1)},
            "etkf": {"rmse_analysis": (34.38, 0.2), "spread_analysis": (11.11, 0.06)},
            "letkf": {"rmse_analysis": (27.68, 0.1), "spread_analysis": (13.79, 0.07)},
            "letsf": {"rmse_analysis": (27.68, 0.1), "spread_analysis": (13.79, 0.07)},
            "ensf": {"rmse_analysis": (50.19, 0.3), "spread_analysis": (43.91, 0.2)},
            "ensf_gaussian": {"rmse_analysis": (33.43, 0.2), "spread_analysis": (12.04, 0.06)},
        },
    ),
    "geopotential_height_arctan": Quick(
        cycles=2,
        members=16,
        scores={
            "climatology": {"rmse_analysis": (50.4, 0.3), "spread_analysis": (43.9, 0.2)},
            "oi": {"rmse_analysis": (31.28, 0.2), "spread_analysis": (20.96, 0.1)},
            "etkf": {"rmse_analysis": (31.16, 0.2), "spread_analysis": (14.38, 0.07)},
            "letkf": {"rmse_analysis": (26.83, 0.1), "spread_analysis": (17.29, 0.09)},
            "letsf": {"rmse_analysis": (26.69, 0.1), "spread_analysis": (17.15, 0.09)},
            "ensf": {"rmse_analysis": (50.23, 0.3), "spread_analysis": (43.96, 0.2)},
            "ensf_gaussian": {"rmse_analysis": (33.76, 0.2), "spread_analysis": (14.18, 0.07)},
        },
    ),
    "kuramoto_sivashinsky_bocquet2019": Quick(
        cycles=160,
        burn_in=100,
        scores={
            "letkf": {"rmse_analysis": (0.1125, 0.0006)},
        },
    ),
    "lorenz63_sakov2012": Quick(
        cycles=250,
        burn_in=64,
        scores={
            "etkf": {"rmse_analysis": (0.4915, 0.002)},
            "enkf": {"rmse_analysis": (0.5149, 0.003)},
            "letsf": {"rmse_analysis": (0.5065, 0.003)},
            "letsf_loop": {"rmse_analysis": (0.309, 0.002)},
        },
    ),
    "lorenz96_abs_01": Quick(
        cycles=60,
        burn_in=30,
        scores={
            "letsf": {"rmse_analysis": (0.2346, 0.001)},
        },
    ),
    "lorenz96_abs_025": Quick(
        cycles=60,
        burn_in=30,
        scores={
            "letsf": {"rmse_analysis": (0.5258, 0.003)},
        },
    ),
    "lorenz96_arctan_005": Quick(
        cycles=60,
        burn_in=30,
        scores={
            "letsf": {"rmse_analysis": (0.0265, 0.0001)},
        },
    ),
    "lorenz96_arctan_04": Quick(
        cycles=60,
        burn_in=30,
        scores={
            "letsf": {"rmse_analysis": (0.0759, 0.0004)},
        },
    ),
    "lorenz96_half": Quick(
        cycles=60,
        burn_in=30,
        scores={
            "letsf": {"rmse_analysis": (0.3319, 0.002)},
        },
    ),
    "lorenz96_published": Quick(
        cycles=60,
        scores={
            "ensf": {
                "rmse_analysis_last50": (0.2425, 0.001),
                "rmse_analysis_all": (0.4462, 0.002),
                "spread_analysis_all": (0.2862, 0.001),
            },
            "letkf": {"rmse_analysis_last50": (0.1084, 0.0005)},
            "map": {"rmse_analysis_last50": (0.1994, 0.001)},
            "letsf": {
                "rmse_analysis_all": (0.1096, 0.0005),
                "rmse_analysis_last50": (0.05135, 0.0003),
                "coverage95": (0.9623, 0.005),
            },
        },
    ),
    "lorenz96_published_shocks": Quick(
        cycles=60,
        scores={
            "ensf": {"rmse_analysis_all": (1.143, 0.006), "rmse_analysis_last50": (1.075, 0.005)},
            "map": {"rmse_analysis_all": (1.119, 0.006), "rmse_analysis_last50": (1.075, 0.005)},
            "letsf": {
                "rmse_analysis_all": (0.433, 0.002),
                "rmse_analysis_last50": (0.4297, 0.002),
                "coverage95": (0.8833, 0.004),
            },
        },
    ),
    "lorenz96_sakov2008": Quick(
        cycles=400,
        burn_in=200,
        scores={
            "enkf": {"rmse_analysis": (0.2119, 0.001)},
            "etkf": {"rmse_analysis": (0.1779, 0.0009)},
            "letkf": {"rmse_analysis": (0.2148, 0.001)},
        },
    ),
    "lorenz96_window_04": Quick(
        cycles=40,
        burn_in=20,
        scores={
            "letsf": {"rmse_analysis": (0.5566, 0.003)},
            "letsf_loop": {"rmse_analysis": (0.4331, 0.002)},
        },
    ),
    "lorenz96_window_06": Quick(
        cycles=40,
        burn_in=20,
        scores={
            "letsf": {"rmse_analysis": (0.7068, 0.004)},
            "letsf_loop": {"rmse_analysis": (0.4181, 0.002)},
        },
    ),
    "sqg_linear": Quick(
        cycles=1,
        members=8,
        scores={
            "letkf": {"rmse_analysis": (0.9325, 0.005), "rmse_forecast": (1.228, 0.006)},
            "ensf": {"rmse_analysis": (0.863, 0.004), "rmse_forecast": (1.228, 0.006)},
            "map": {"rmse_analysis": (0.8093, 0.004)},
            "letsf": {"rmse_analysis": (0.842, 0.004), "rmse_forecast": (1.228, 0.006)},
        },
    ),
    "sqg_linear_shocks": Quick(
        cycles=1,
        members=8,
        scores={
            "ensf": {"rmse_analysis": (0.863, 0.004)},
            "letkf": {"rmse_analysis": (0.9325, 0.005)},
            "map": {"rmse_analysis": (0.8093, 0.004)},
            "letsf": {"rmse_analysis": (0.842, 0.004)},
        },
    ),
    "sqg_arctan": Quick(
        cycles=1,
        members=8,
        scores={
            "ensf": {"rmse_analysis": (1.805, 0.009), "rmse_forecast": (1.228, 0.006)},
            "letkf": {"rmse_analysis": (1.37, 0.007)},
            "map": {"rmse_analysis": (1.628, 0.008)},
            "letsf": {"rmse_analysis": (1.012, 0.005), "rmse_forecast": (1.228, 0.006)},
        },
    ),
    "sqg_arctan_half_shocks": Quick(
        cycles=1,
        members=8,
        scores={
            "ensf": {"rmse_analysis": (1.627, 0.008)},
            "map": {"rmse_analysis": (1.432, 0.007)},
            "letsf": {"rmse_analysis": (1.135, 0.006)},
        },
    ),
}


def summary(experiment, method, seed):
    history = [(cycle.time, scores(cycle)) for cycle in experiment.run(experiment.methods[method], seed)]
    return summarise(experiment, history)


@pytest.mark.parametrize("name", experiments.names())
def test_every_page_says_what_it_is(name):
    experiment = experiments.load(name)
    assert experiment.name == name and experiment.summary and experiment.methods
    assert set(expected(name)) <= set(experiment.methods)


@pytest.fixture(scope="module")
def young_turbulence(tmp_path_factory):
    """A short nature run of the SQG pages, in a file."""
    run = replace(_sqg.NATURE, spin_up=10 * _sqg.DAY, duration=_sqg.DAY)
    folder = tmp_path_factory.mktemp("nature")
    run.load(folder)
    return replace(run, file=str(run.path(folder)))


def shortened(name, request):
    quick, experiment = QUICK[name], experiments.load(name)
    changes = {"burn_in": quick.burn_in * experiment.interval} if quick.burn_in else {}
    if name.startswith("sqg"):
        changes["nature"] = request.getfixturevalue("young_turbulence")
    if name.startswith("geopotential"):
        pytest.importorskip("eofs", reason='the data come with pip install "ensf[examples]"')
    methods = {
        key: replace(method, members=quick.members or method.members) for key, method in experiment.methods.items()
    }
    return replace(experiment, cycles=quick.cycles, methods=methods, **changes)


def test_every_expected_row_has_a_quick_form():
    for name in experiments.names():
        quick = QUICK[name].scores if name in QUICK else {}
        assert {key: set(row) for key, row in quick.items()} == {key: set(row) for key, row in expected(name).items()}


@pytest.mark.parametrize("name, method", [(name, method) for name, quick in QUICK.items() for method in quick.scores])
def test_quick_form(name, method, request):
    result = summary(shortened(name, request), method, seed=1)
    for score, (value, tolerance) in QUICK[name].scores[method].items():
        assert result[score] == pytest.approx(value, abs=tolerance), score
    assert not result["diverged"]


@pytest.fixture(scope="module")
def records():
    summaries = {}

    def record(name, method):
        if (name, method) not in summaries:
            experiment = experiments.load(name)
            summaries[name, method] = [summary(experiment, method, seed) for seed in experiment.seeds]
        return summaries[name, method]

    return record


@pytest.mark.slow
@pytest.mark.parametrize("name, method, score", CASES)
def test_expected_numbers(records, name, method, score):
    value, tolerance = expected(name)[method][score]
    assert median(run[score] for run in records(name, method)) == pytest.approx(value, abs=tolerance)
