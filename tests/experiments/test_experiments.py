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
    "correlated_errors": Quick(
        cycles=3,
        scores={
            "ignored": {"rmse_analysis": (0.38227, 0.0004), "spread_analysis": (0.44396, 0.0004)},
            "inflated": {"rmse_analysis": (0.39475, 0.0004), "spread_analysis": (0.58468, 0.0004)},
            "grouped": {"rmse_analysis": (0.15069, 0.0002), "spread_analysis": (0.57457, 0.0004)},
            "patches": {"rmse_analysis": (0.13907, 0.0002), "spread_analysis": (0.56977, 0.0004)},
            "letsf": {"rmse_analysis": (0.15069, 0.0002), "spread_analysis": (0.57457, 0.0004)},
            "etkf": {"rmse_analysis": (0.307, 0.0003), "spread_analysis": (0.52625, 0.0004)},
        },
    ),
    "geopotential_height": Quick(
        cycles=2,
        members=16,
        scores={
            "climatology": {"rmse_analysis": (50.404, 0.05), "spread_analysis": (43.902, 0.04)},
            "oi": {"rmse_analysis": (25.218, 0.03), "spread_analysis": (20.887, 0.02)},
            "etkf": {"rmse_analysis": (34.38, 0.03), "spread_analysis": (11.105, 0.01)},
            "letkf": {"rmse_analysis": (27.676, 0.03), "spread_analysis": (13.787, 0.01)},
            "letsf": {"rmse_analysis": (27.676, 0.03), "spread_analysis": (13.787, 0.01)},
            "ensf": {"rmse_analysis": (50.186, 0.05), "spread_analysis": (43.913, 0.04)},
            "ensf_gaussian": {"rmse_analysis": (33.433, 0.03), "spread_analysis": (12.035, 0.01)},
        },
    ),
    "geopotential_height_arctan": Quick(
        cycles=2,
        members=16,
        scores={
            "climatology": {"rmse_analysis": (50.404, 0.05), "spread_analysis": (43.902, 0.04)},
            "oi": {"rmse_analysis": (31.28, 0.03), "spread_analysis": (20.963, 0.02)},
            "etkf": {"rmse_analysis": (31.157, 0.03), "spread_analysis": (14.383, 0.01)},
            "letkf": {"rmse_analysis": (26.826, 0.03), "spread_analysis": (17.289, 0.02)},
            "letsf": {"rmse_analysis": (26.686, 0.03), "spread_analysis": (17.154, 0.02)},
            "ensf": {"rmse_analysis": (50.233, 0.05), "spread_analysis": (43.958, 0.04)},
            "ensf_gaussian": {"rmse_analysis": (33.76, 0.03), "spread_analysis": (14.176, 0.01)},
        },
    ),
    "kuramoto_sivashinsky_bocquet2019": Quick(
        cycles=160,
        burn_in=100,
        scores={
            "letkf": {"rmse_analysis": (0.11254, 0.0001)},
        },
    ),
    "lorenz63_sakov2012": Quick(
        cycles=250,
        burn_in=64,
        scores={
            "etkf": {"rmse_analysis": (0.49148, 0.0005)},
            "enkf": {"rmse_analysis": (0.51485, 0.0005)},
            "letsf": {"rmse_analysis": (0.50646, 0.0005)},
            "letsf_loop": {"rmse_analysis": (0.30897, 0.0003)},
        },
    ),
    "lorenz96_abs_01": Quick(
        cycles=60,
        burn_in=30,
        scores={
            "letsf": {"rmse_analysis": (0.23457, 0.0002)},
        },
    ),
    "lorenz96_abs_025": Quick(
        cycles=60,
        burn_in=30,
        scores={
            "letsf": {"rmse_analysis": (0.52582, 0.0005)},
        },
    ),
    "lorenz96_arctan_005": Quick(
        cycles=60,
        burn_in=30,
        scores={
            "letsf": {"rmse_analysis": (0.026496, 3e-05)},
        },
    ),
    "lorenz96_arctan_04": Quick(
        cycles=60,
        burn_in=30,
        scores={
            "letsf": {"rmse_analysis": (0.075902, 8e-05)},
        },
    ),
    "lorenz96_asynchronous": Quick(
        cycles=40,
        burn_in=20,
        scores={"letkf": {"rmse_analysis": (0.20729, 0.0002)}, "letsf": {"rmse_analysis": (0.17963, 0.0002)}},
    ),
    "lorenz96_asynchronous_end": Quick(
        cycles=40,
        burn_in=20,
        scores={"letkf": {"rmse_analysis": (1.3769, 0.001)}, "letsf": {"rmse_analysis": (1.4165, 0.001)}},
    ),
    "lorenz96_censored": Quick(
        cycles=50,
        burn_in=20,
        scores={"letsf_spread": {"rmse_analysis": (0.27106, 0.0003)}},
    ),
    "lorenz96_forcing_high": Quick(
        cycles=50,
        burn_in=20,
        scores={"letsf_spread": {"rmse_analysis": (0.30842, 0.0003)}},
    ),
    "lorenz96_forcing_low": Quick(
        cycles=50,
        burn_in=20,
        scores={"letsf_spread": {"rmse_analysis": (0.29464, 0.0003)}},
    ),
    "lorenz96_outliers": Quick(
        cycles=50,
        burn_in=20,
        scores={"letsf_spread": {"rmse_analysis": (0.29934, 0.0003)}},
    ),
    "lorenz96_quarter": Quick(
        cycles=50,
        burn_in=20,
        scores={"letsf_spread": {"rmse_analysis": (0.52597, 0.0003)}},
    ),
    "lorenz96_threshold": Quick(
        cycles=50,
        burn_in=20,
        scores={"letsf_spread": {"rmse_analysis": (0.53413, 0.0003)}},
    ),
    "lorenz96_wrong_error": Quick(
        cycles=50,
        burn_in=20,
        scores={"letsf_spread": {"rmse_analysis": (0.275, 0.0003)}},
    ),
    "lorenz96_half": Quick(
        cycles=60,
        burn_in=30,
        scores={
            "letsf": {"rmse_analysis": (0.33193, 0.0003)},
        },
    ),
    "lorenz96_parameter": Quick(
        cycles=60,
        burn_in=30,
        scores={
            "letsf": {"rmse_analysis": (0.16165, 0.0002), "rmse_parameters": (0.035658, 0.0003)},
            "letsf_walk": {"rmse_analysis": (0.1633, 0.0002), "rmse_parameters": (0.074495, 0.0003)},
            "letkf": {"rmse_analysis": (0.19486, 0.0002), "rmse_parameters": (0.044765, 0.0003)},
        },
    ),
    "lorenz96_parameter_drift": Quick(
        cycles=60,
        burn_in=30,
        scores={"letsf": {"rmse_analysis": (0.19465, 0.0002), "rmse_parameters": (0.22725, 0.001)}},
    ),
    "lorenz96_published": Quick(
        cycles=60,
        scores={
            "ensf": {
                "rmse_analysis_last50": (0.24254, 0.0002),
                "rmse_analysis_all": (0.44622, 0.0004),
                "spread_analysis_all": (0.28621, 0.0003),
            },
            "letkf": {"rmse_analysis_last50": (0.10838, 0.0001)},
            "map": {"rmse_analysis_last50": (0.19936, 0.0002)},
            "letsf": {
                "rmse_analysis_all": (0.10961, 0.0001),
                "rmse_analysis_last50": (0.05135, 5e-05),
                "coverage95": (0.96233, 0.001),
            },
        },
    ),
    "lorenz96_published_shocks": Quick(
        cycles=60,
        scores={
            "ensf": {"rmse_analysis_all": (1.1432, 0.001), "rmse_analysis_last50": (1.0746, 0.001)},
            "map": {"rmse_analysis_all": (1.1194, 0.001), "rmse_analysis_last50": (1.0746, 0.001)},
            "letsf": {
                "rmse_analysis_all": (0.43305, 0.0004),
                "rmse_analysis_last50": (0.42971, 0.0004),
                "coverage95": (0.88333, 0.0009),
            },
        },
    ),
    "lorenz96_sakov2008": Quick(
        cycles=400,
        burn_in=200,
        scores={
            "enkf": {"rmse_analysis": (0.2119, 0.0002)},
            "etkf": {"rmse_analysis": (0.17786, 0.0002)},
            "letkf": {"rmse_analysis": (0.21477, 0.0002)},
        },
    ),
    "lorenz96_smoother": Quick(
        cycles=40,
        burn_in=20,
        scores={
            "letkf": {
                "rmse_analysis": (0.21168, 0.0002),
                "rmse_lag1": (0.18934, 0.0002),
                "rmse_lag5": (0.1454, 0.0002),
                "rmse_lag10": (0.13588, 0.0002),
            },
            "letsf": {
                "rmse_analysis": (0.18595, 0.0002),
                "rmse_lag1": (0.16772, 0.0002),
                "rmse_lag5": (0.13239, 0.0002),
                "rmse_lag10": (0.12744, 0.0002),
            },
        },
    ),
    "lorenz96_every_step": Quick(
        cycles=80,
        burn_in=40,
        scores={"letkf": {"rmse_analysis": (0.20028, 0.0002)}, "letsf": {"rmse_analysis": (0.18883, 0.0002)}},
    ),
    "lorenz96_window_04": Quick(
        cycles=40,
        burn_in=20,
        scores={
            "letsf": {"rmse_analysis": (0.55665, 0.0006)},
            "letsf_loop": {"rmse_analysis": (0.43307, 0.0004)},
        },
    ),
    "lorenz96_window_06": Quick(
        cycles=40,
        burn_in=20,
        scores={
            "letsf": {"rmse_analysis": (0.70678, 0.0007)},
            "letsf_loop": {"rmse_analysis": (0.41808, 0.0004)},
        },
    ),
    "sqg_linear": Quick(
        cycles=1,
        members=8,
        scores={
            "letkf": {"rmse_analysis": (0.93253, 0.0009), "rmse_forecast": (1.2276, 0.001)},
            "ensf": {"rmse_analysis": (0.86302, 0.0009), "rmse_forecast": (1.2276, 0.001)},
            "map": {"rmse_analysis": (0.80933, 0.0008)},
            "letsf": {"rmse_analysis": (0.84202, 0.0008), "rmse_forecast": (1.2276, 0.001)},
        },
    ),
    "sqg_linear_shocks": Quick(
        cycles=1,
        members=8,
        scores={
            "ensf": {"rmse_analysis": (0.86302, 0.0009)},
            "letkf": {"rmse_analysis": (0.93253, 0.0009)},
            "map": {"rmse_analysis": (0.80933, 0.0008)},
            "letsf": {"rmse_analysis": (0.84202, 0.0008)},
        },
    ),
    "sqg_arctan": Quick(
        cycles=1,
        members=8,
        scores={
            "ensf": {"rmse_analysis": (1.8046, 0.002), "rmse_forecast": (1.2276, 0.001)},
            "letkf": {"rmse_analysis": (1.3704, 0.001)},
            "map": {"rmse_analysis": (1.6282, 0.002)},
            "letsf": {"rmse_analysis": (1.0117, 0.001), "rmse_forecast": (1.2276, 0.001)},
        },
    ),
    "sqg_arctan_half_shocks": Quick(
        cycles=1,
        members=8,
        scores={
            "ensf": {"rmse_analysis": (1.6266, 0.002)},
            "map": {"rmse_analysis": (1.4321, 0.001)},
            "letsf": {"rmse_analysis": (1.1346, 0.001)},
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
