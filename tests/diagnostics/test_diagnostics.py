"""Scores against closed forms, dense formulas and an independent package."""

import math
import warnings
from types import SimpleNamespace

import array_api_strict
import numpy as np
import pytest

from ensf import diagnostics
from ensf.arrays import to_numpy
from ensf.diagnostics.score_table import MEASURED, REPORTED, SCORES, title
from ensf.experiments import load
from ensf.observations import Correlated, Gaussian, Identity, Laplace, Observation, Pointwise, Select, StudentT, arctan
from ensf.observations.joined_law import join_laws
from ensf.twin import summarise


@pytest.fixture
def rng():
    return np.random.default_rng(20240917)


def cycle(forecast, analysis, truth, observation):
    return SimpleNamespace(
        forecast=forecast,
        analysis=SimpleNamespace(ensemble=analysis, earlier=()),
        truth=truth,
        observation=observation,
        observed_forecast=forecast,
        observed_analysis=analysis,
        lag=0,
        earlier_truths=(),
        measured={},
    )


def covariance(rng, size):
    factor = rng.standard_normal((size, size))
    return factor @ factor.T / size + 0.5 * np.eye(size)


# --- against the truth -----------------------------------------------------------------------------------


def test_rmse_bias_and_spread_by_hand():
    ensemble = np.array([[1.0, 2.0], [3.0, 6.0]])
    truth = np.array([1.0, 6.0])
    assert diagnostics.rmse(ensemble, truth) == pytest.approx(math.sqrt((1 + 4) / 2))
    assert diagnostics.rmse(np.array([2.0, 4.0]), truth) == pytest.approx(math.sqrt((1 + 4) / 2))
    assert diagnostics.bias(ensemble, truth) == pytest.approx((1 - 2) / 2)
    assert diagnostics.spread(ensemble) == pytest.approx(math.sqrt((2 + 8) / 2))
    ratio = math.sqrt(3 / 2) * math.sqrt(5) / math.sqrt(2.5)
    assert diagnostics.spread_skill(ensemble, truth) == pytest.approx(ratio)


@pytest.mark.parametrize("members", [2, 3, 20])
def test_crps_is_the_fair_one(rng, members):
    """E|x - truth| - E|x - x'| / 2, the mean over pairs of different members."""
    ensemble, truth = 280 + rng.standard_normal((members, 30)), 280 + rng.standard_normal(30)
    apart = np.abs(ensemble[:, None] - ensemble).sum(axis=(0, 1)) / (members * (members - 1))
    expected = np.abs(ensemble - truth).mean(axis=0) - apart / 2
    assert diagnostics.crps(ensemble, truth) == pytest.approx(expected.mean(), rel=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("members", [2, 3, 20])
def test_crps_is_the_fair_one_of_scoringrules(rng, members):
    import scoringrules  # compiles when it is imported: not while tests are collected

    ensemble, truth = 280 + rng.standard_normal((members, 30)), 280 + rng.standard_normal(30)
    expected = scoringrules.crps_ensemble(truth, ensemble.T, estimator="fair")
    assert diagnostics.crps(ensemble, truth) == pytest.approx(expected.mean(), rel=1e-10)


def test_expected_crps_does_not_depend_on_the_number_of_members(rng):
    few, many, truth = (rng.standard_normal((n, 100_000)) for n in (3, 20, 1))
    closed_form = 1 / math.sqrt(math.pi)
    assert diagnostics.crps(few, truth[0]) == pytest.approx(closed_form, abs=0.01)
    assert diagnostics.crps(many, truth[0]) == pytest.approx(closed_form, abs=0.01)


@pytest.mark.parametrize("members", [5, 20])
@pytest.mark.parametrize("level", [0.5, 0.95])
def test_coverage_is_nominal_for_gaussian_members(rng, members, level):
    size = 200_000
    ensemble, truth = rng.standard_normal((members, size)), rng.standard_normal(size)
    error = math.sqrt(level * (1 - level) / size)
    assert diagnostics.coverage(ensemble, truth, level) == pytest.approx(level, abs=4 * error)


def test_spread_skill_is_one_for_exchangeable_members(rng):
    ensemble, truth = rng.standard_normal((5, 100_000)), rng.standard_normal(100_000)
    assert diagnostics.spread_skill(ensemble, truth) == pytest.approx(1, abs=0.01)


def test_rank_histogram_by_hand():
    ensemble = np.array([[1.0, 1.0, 1.0, 5.0], [2.0, 2.0, 2.0, 5.0]])
    truth = np.array([0.0, 1.5, 3.0, 5.0])
    assert diagnostics.rank_histogram(ensemble, truth).tolist() == [2, 1, 1]


def test_rank_histogram_breaks_ties_at_random(rng):
    ensemble, truth = np.zeros((3, 40_000)), np.zeros(40_000)
    assert diagnostics.rank_histogram(ensemble, truth).tolist() == [40_000, 0, 0, 0]
    counts = diagnostics.rank_histogram(ensemble, truth, rng)
    assert counts.sum() == 40_000
    assert np.abs(counts - 10_000).max() < 5 * math.sqrt(10_000)


def test_rank_histogram_is_flat_for_exchangeable_members(rng):
    counts = diagnostics.rank_histogram(rng.standard_normal((9, 50_000)), rng.standard_normal(50_000))
    assert counts.shape == (10,)
    assert ((counts - 5000) ** 2 / 5000).sum() < 35  # chi^2 with 9 degrees of freedom: p about 6e-5


def test_effective_sample_size():
    assert diagnostics.effective_sample_size(np.full((2, 7), 3.0)).tolist() == pytest.approx([7, 7])
    assert diagnostics.effective_sample_size(np.array([0.0, 2.0, 0.0])) == pytest.approx(1)


# --- against the observations ----------------------------------------------------------------------------


@pytest.mark.parametrize("members", [4, 40])
@pytest.mark.parametrize("error", ["number", "vector", "matrix"])
def test_innovation_chi2_is_the_dense_formula(rng, members, error):
    size = 8
    errors = {"number": 0.7, "vector": 0.5 + rng.random(size), "matrix": Correlated(covariance(rng, size))}
    observation = Observation(rng.standard_normal(size), Select(range(size)), errors[error])
    forecast = rng.standard_normal((members, 10))
    innovation = observation.value - forecast[:, :size].mean(axis=0)
    total = np.cov(forecast[:, :size].T) + observation.law.covariance(observation.value)
    expected = innovation @ np.linalg.solve(total, innovation) / size
    assert diagnostics.innovation_chi2(forecast, observation) == pytest.approx(expected, rel=1e-9)


def test_innovation_chi2_in_single_precision_with_a_huge_spread(rng):
    forecast = 1e4 * rng.standard_normal((5, 20))
    observation = Observation(rng.standard_normal(20), Identity(), 1.0)
    single = Observation(observation.value.astype(np.float32), Identity(), 1.0)
    expected = diagnostics.innovation_chi2(forecast, observation)
    assert diagnostics.innovation_chi2(forecast.astype(np.float32), single) == pytest.approx(expected, rel=1e-3)


def test_consistent_innovations_have_chi2_one(rng):
    batches, members, size = 200, 400, 10
    forecast = rng.standard_normal((batches, members, size))
    observation = Observation(np.zeros(size), Identity(), 0.5)
    shift = rng.standard_normal((batches, 1, size)) + 0.5 * rng.standard_normal((batches, 1, size))
    chi2 = diagnostics.innovation_chi2(forecast + shift, observation)
    assert chi2.shape == (batches,)
    assert chi2.mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("error", ["number", "vector", "matrix"])
def test_missing_observations_do_not_count(rng, error):
    errors = {"number": 0.7, "vector": 0.5 + rng.random(6), "matrix": Correlated(covariance(rng, 6))}
    value = rng.standard_normal(6)
    value[[1, 4]] = np.nan
    observation = Observation(value, Identity(), errors[error])
    present = observation.present()
    prior, posterior = rng.standard_normal((2, 5, 6))
    assert diagnostics.departures(prior, observation).shape == (5, 4)
    assert diagnostics.innovation_chi2(prior, observation) == diagnostics.innovation_chi2(prior, present)
    result = diagnostics.desroziers(prior, posterior, observation)
    assert result == diagnostics.desroziers(prior, posterior, present)


def test_desroziers_ratios_are_one_for_the_optimal_analysis(rng):
    batches, members, variance, error = 4000, 2, 2.0, 0.5
    gain = variance / (variance + error**2)
    anomalies = math.sqrt(variance / 2) * np.array([[1.0], [-1.0]]) * np.ones((members, 10))
    observation = Observation(np.zeros(10), Identity(), error)
    innovation = math.sqrt(variance + error**2) * rng.standard_normal((batches, 1, 10))
    forecast = anomalies - innovation
    analysis = anomalies - (1 - gain) * innovation
    result = diagnostics.desroziers(forecast, analysis, observation)
    assert result.error.mean() == pytest.approx(1, abs=0.03)
    assert result.spread.mean() == pytest.approx(1, abs=0.03)


def test_desroziers_finds_an_error_that_was_assumed_too_small(rng):
    forecast = rng.standard_normal((3, 6))
    analysis = forecast + 0.3 * rng.standard_normal(6)
    value = rng.standard_normal(6)
    small, large = (Observation(value, Identity(), error) for error in (0.5, 1.0))
    ratio = diagnostics.desroziers(forecast, analysis, small).error
    assert ratio == pytest.approx(4 * diagnostics.desroziers(forecast, analysis, large).error)


def test_departures_refuse_an_error_that_is_not_gaussian(rng):
    law = SimpleNamespace(log_density=None, is_gaussian=False, check=lambda value: None)
    with pytest.raises(ValueError, match="give a Gaussian error"):
        diagnostics.departures(rng.standard_normal((3, 2)), Observation(np.zeros(2), Identity(), law))


# --- one cycle -------------------------------------------------------------------------------------------


def standard_cycle(rng, members=12, size=30):
    forecast = rng.standard_normal((members, size))
    truth = rng.standard_normal(size)
    observation = Observation(np.arctan(truth[::2]), Pointwise(arctan, Select(range(0, size, 2))), 0.3)
    return cycle(forecast, 0.5 * forecast + 0.4 * truth, truth, observation)


def test_scores_are_the_public_functions(rng):
    record = standard_cycle(rng)
    expected = {}
    for stage, ensemble in (("forecast", record.forecast), ("analysis", record.analysis.ensemble)):
        expected[f"rmse_{stage}"] = diagnostics.rmse(ensemble, record.truth)
        expected[f"bias_{stage}"] = diagnostics.bias(ensemble, record.truth)
        expected[f"spread_{stage}"] = diagnostics.spread(ensemble)
        expected[f"crps_{stage}"] = diagnostics.crps(ensemble, record.truth)
    consistency = diagnostics.desroziers(record.forecast, record.analysis.ensemble, record.observation)
    expected["coverage95"] = diagnostics.coverage(record.analysis.ensemble, record.truth)
    expected["chi2"] = diagnostics.innovation_chi2(record.forecast, record.observation)
    expected["desroziers_error"], expected["desroziers_spread"] = consistency
    result = diagnostics.scores(record)
    assert all(type(value) is float for value in result.values())
    assert result == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("device", ["device1", "no_float64"])
def test_scores_and_ranks_are_the_same_on_another_device(rng, device):
    dtype = np.float32 if device == "no_float64" else np.float64
    host = standard_cycle(rng)
    value, truth, forecast, analysis = (
        array_api_strict.asarray(array.astype(dtype), device=array_api_strict.Device(device))
        for array in (host.observation.value, host.truth, host.forecast, host.analysis.ensemble)
    )
    moved = cycle(forecast, analysis, truth, Observation(value, host.observation.operator, 0.3))
    tolerance = 2e-4 if device == "no_float64" else 1e-10
    assert diagnostics.scores(moved) == pytest.approx(diagnostics.scores(host), rel=tolerance, abs=tolerance)
    counts = diagnostics.rank_histogram(forecast, truth, rng)
    assert to_numpy(counts).tolist() == diagnostics.rank_histogram(host.forecast, host.truth).tolist()
    assert diagnostics.crps(forecast, truth).dtype == forecast.dtype


def test_a_batch_is_one_by_one(rng):
    ensemble, truth = rng.standard_normal((2, 3, 5, 7)), rng.standard_normal((2, 3, 7))
    observation = Observation(rng.standard_normal(7), Identity(), 0.5)
    functions = [getattr(diagnostics, name) for name in ("rmse", "bias", "crps", "coverage", "spread_skill")]
    for function in (*functions, diagnostics.rank_histogram):
        assert np.allclose(function(ensemble, truth)[1, 2], function(ensemble[1, 2], truth[1, 2]), rtol=1e-12)
    chi2 = diagnostics.innovation_chi2(ensemble, observation)
    assert chi2[1, 2] == pytest.approx(diagnostics.innovation_chi2(ensemble[1, 2], observation))


@pytest.mark.parametrize("function", ["rmse", "bias", "crps", "coverage", "spread_skill"])
def test_single_precision_stays(rng, function):
    ensemble, truth = (
        rng.standard_normal((5, 7)).astype(np.float32),
        rng.standard_normal(7).astype(np.float32),
    )
    before = ensemble.copy(), truth.copy()
    assert getattr(diagnostics, function)(ensemble, truth).dtype == np.float32
    assert (ensemble == before[0]).all() and (truth == before[1]).all()


def test_scores_without_observations_or_a_gaussian_error_are_nan(rng):
    for observation in (
        Observation(np.full(30, np.nan), Identity(), 1.0),
        Observation(np.zeros(30), Identity(), Laplace(1.0)),
    ):
        record = standard_cycle(rng)
        record.observation = observation
        result = diagnostics.scores(record)
        assert all(math.isnan(result[name]) for name in ("chi2", "desroziers_error", "desroziers_spread"))
        assert math.isfinite(result["crps_analysis"])


def test_scores_of_several_laws_are_those_of_the_gaussian_rows(rng):
    record = standard_cycle(rng)
    few, rest = np.arange(0, 30, 7), np.setdiff1d(np.arange(30), np.arange(0, 30, 7))
    value, error = rng.standard_normal(30), np.full(30, 0.3)
    alone = diagnostics.scores(
        SimpleNamespace(**vars(record) | {"observation": Observation(value[rest], Select(rest), 0.3)})
    )
    law = join_laws([(StudentT(0.3, 4.0), few), (Gaussian(error[rest]), rest)])
    beside = diagnostics.scores(SimpleNamespace(**vars(record) | {"observation": Observation(value, Identity(), law)}))
    assert beside == pytest.approx(alone, rel=1e-12) and math.isfinite(alone["chi2"])


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_scores_of_a_diverged_run_neither_fail_nor_warn(rng, value):
    record = standard_cycle(rng)
    record.forecast[3] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not diagnostics.scores(record)["rmse_forecast"] < 1


def test_every_score_has_one_place_in_the_table(rng):
    record = standard_cycle(rng)
    measured = diagnostics.scores(SimpleNamespace(**vars(record) | {"analysis": reporting(record.analysis)}))
    assert list(measured) == [score.name for score in (*MEASURED, *REPORTED)]
    for name in measured:
        assert SCORES[name].name == name and SCORES[name].title and SCORES[name].long_name and SCORES[name].formula
    assert [title(name) for name in ("chi2", "rmse_analysis", "rmse_analysis_all", "rmse_analysis_last50")] == [
        "chi2", "RMSE an", "all", "last 50",
    ]  # fmt: skip
    of_state = {name for name in measured if SCORES[name].of_state}
    assert of_state == {name for name in measured if name.endswith(("_forecast", "_analysis"))} | {"bias"}


def reporting(analysis):
    """An analysis of a filter that reports everything it may."""
    return SimpleNamespace(ensemble=analysis.ensemble, earlier=(), info={score.name: 2 for score in REPORTED})


def test_fields_of_a_filter_are_no_scores(rng):
    """A filter may report a field under the name of a number."""
    record = standard_cycle(rng)
    info = {"bias": np.zeros(3), "error_factor": 1.5}
    record = SimpleNamespace(
        **vars(record) | {"analysis": SimpleNamespace(ensemble=record.analysis.ensemble, earlier=(), info=info)}
    )
    measured = diagnostics.scores(record)
    assert measured["error_factor"] == 1.5 and "bias" not in measured


def test_a_score_that_is_not_there_in_every_cycle_has_the_mean_of_those_that_are():
    page = load("lorenz63_sakov2012")
    cycles = [(20.0 + k, {"rmse_analysis": 1.0, "error_factor": 1.0 + k}) for k in range(3)]
    del cycles[1][1]["error_factor"]
    assert summarise(page, cycles)["error_factor"] == 2.0
