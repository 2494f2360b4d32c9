"""Twin experiments: one random stream per role, lazily, without side effects."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, fields, replace
from types import GeneratorType

import array_api_strict as strict
import numpy as np
import pytest

from ensf.arrays import normal
from ensf.experiments import load
from ensf.filters import ETKF, Analysis, EnSF, FreeRun, Lost
from ensf.filters.base import innovations
from ensf.localization import Euclidean, Localization
from ensf.observations import Correlated, Gaussian, Identity, Observation, Select, StudentT, Threshold
from ensf.observations.joined_law import join_laws
from ensf.runs import runner
from ensf.runs.netcdf.writer import read
from ensf.twin import GaussianStart, Method, Network, Streams, TwinExperiment, twin
from ensf.twin.experiment import diverged
from ensf.twin.watch import Watch
from ensf.wrappers import AdaptiveSpread, ForecastInflation

SIZE = 5


@dataclass
class Damped:
    """x <- 0.9 x per unit of time, plus noise; counts its calls."""

    noise: float = 0.0
    shape: tuple[int, ...] = (SIZE,)
    dims: tuple[str, ...] = ("i",)
    calls: int = 0

    def advance(self, states, time, duration, rng=None):
        self.calls += 1
        return 0.9**duration * states + self.noise * normal(rng, states.shape, states)


@dataclass(frozen=True)
class Normal:
    """Truth and members from N(0, I)."""

    example: object = None

    def draw(self, members, streams):
        example = np.zeros(()) if self.example is None else self.example
        return normal(streams.truth, (SIZE,), example), normal(streams.ensemble, (members, SIZE), example)


@dataclass(frozen=True)
class Greedy:
    """Filter that draws many random numbers and counts cycles in its memory."""

    def analyse(self, prior, observation, rng, memory=None, positions=None):
        rng.standard_normal(1000)
        return Analysis(prior, (memory or 0) + 1)


def run(method=None, seed=1, **settings):
    settings = {"members": 6, "cycles": 4, "interval": 0.5} | settings
    model = settings.pop("model", None) or Damped(noise=0.3)
    network = settings.pop("network", None) or Network(Identity(), 0.5)
    initial = settings.pop("initial", None) or Normal()
    return twin(model, method or ETKF(), network, initial, streams=Streams.spawn(seed), **settings)


def truths(cycles):
    return np.array([cycle.truth for cycle in cycles])


def values(cycles):
    return np.array([cycle.observation.value for cycle in cycles])


def ensembles(cycles):
    return np.array([cycle.analysis.ensemble for cycle in cycles])


def test_one_seed_one_experiment():
    first, second, other = list(run()), list(run()), list(run(seed=2))
    for quantity in (truths, values, ensembles):
        np.testing.assert_array_equal(quantity(first), quantity(second))
        assert not np.any(quantity(first) == quantity(other))


@pytest.mark.parametrize("method", [Greedy(), EnSF()])
def test_the_filter_changes_neither_truth_nor_observations(method):
    reference, changed = list(run()), list(run(method))
    np.testing.assert_array_equal(truths(reference), truths(changed))
    np.testing.assert_array_equal(values(reference), values(changed))
    np.testing.assert_array_equal(reference[0].forecast, changed[0].forecast)
    assert not np.any(ensembles(reference) == ensembles(changed))


def test_the_number_of_members_changes_neither_truth_nor_observations():
    few, many = list(run(members=3)), list(run(members=30))
    np.testing.assert_array_equal(truths(few), truths(many))
    np.testing.assert_array_equal(values(few), values(many))


def test_the_network_does_not_change_the_truth():
    every, some = list(run()), list(run(network=Network(Select((0, 3)), np.array([0.1, 2.0]))))
    np.testing.assert_array_equal(truths(every), truths(some))
    assert values(some).shape == (4, 2)


def test_streams_of_the_roles_are_independent():
    roles = [f.name for f in fields(Streams) if f.name != "seed"]
    draws = np.array([getattr(Streams.spawn(1), role).standard_normal(2000) for role in roles])
    correlations = np.corrcoef(draws) - np.eye(len(roles))
    assert np.abs(correlations).max() < 4.5 / np.sqrt(2000)
    assert Streams.spawn(3).seed == 3


def test_truth_and_members_feel_different_model_noise():
    same_start = Damped(noise=1.0)

    @dataclass(frozen=True)
    class Zero:
        def draw(self, members, streams):
            return np.zeros(SIZE), np.zeros((members, SIZE))

    cycle = next(run(model=same_start, initial=Zero()))
    assert not np.any(cycle.forecast == cycle.truth)
    assert len(np.unique(cycle.forecast)) == cycle.forecast.size


def test_a_generator_does_nothing_until_asked():
    model = Damped()
    cycles = run(model=model, cycles=10**9)
    assert isinstance(cycles, GeneratorType) and model.calls == 0
    next(cycles)
    assert model.calls == 2
    next(cycles)
    assert model.calls == 4


def test_cycle_is_forecast_then_analysis():
    """Without noise everything can be followed by hand."""
    cycles = list(run(Greedy(), model=Damped(), cycles=3))
    truth, members = Normal().draw(6, Streams.spawn(1))
    for k, cycle in enumerate(cycles):
        truth, members = 0.9**0.5 * truth, 0.9**0.5 * members
        assert (cycle.index, cycle.time) == (k, 0.5 * (k + 1))
        np.testing.assert_allclose(cycle.truth, truth)
        np.testing.assert_allclose(cycle.forecast, members)
        assert cycle.analysis.memory == k + 1
        assert cycle.seconds_forecast >= 0 and cycle.seconds_analysis >= 0


def test_the_analysis_is_the_filters_answer_to_the_forecast():
    cycle = next(run())
    expected = ETKF().analyse(cycle.forecast, cycle.observation, None).ensemble
    np.testing.assert_array_equal(cycle.analysis.ensemble, expected)


def test_the_truth_can_have_its_own_model():
    cycles = list(run(model=Damped(), truth_model=Damped(noise=5.0)))
    plain = list(run(model=Damped()))
    assert np.all(truths(cycles) != truths(plain))
    np.testing.assert_array_equal(cycles[0].forecast, plain[0].forecast)


def test_earlier_cycles_are_not_overwritten():
    kept = [(c, c.truth.copy(), c.forecast.copy(), c.analysis.ensemble.copy()) for c in run(EnSF())]
    for cycle, truth, forecast, analysis in kept:
        np.testing.assert_array_equal(cycle.truth, truth)
        np.testing.assert_array_equal(cycle.forecast, forecast)
        np.testing.assert_array_equal(cycle.analysis.ensemble, analysis)


@pytest.mark.parametrize(
    ("network", "covariance"),
    [
        (Network(Identity(), 0.5), 0.25 * np.eye(SIZE)),
        (Network(Select((0, 3)), np.array([0.1, 2.0])), np.diag([0.01, 4.0])),
        (Network(Select((0, 3)), Correlated(np.array([[1.0, 0.5], [0.5, 2.0]]))), [[1.0, 0.5], [0.5, 2.0]]),
    ],
    ids=["number", "vector", "correlated"],
)
def test_observation_errors_have_their_law(network, covariance, rng):
    truth = np.arange(SIZE, dtype=float)
    errors = np.array([network.observe(truth, k, rng).value - network.operator(truth) for k in range(4000)])
    largest = np.max(covariance)
    np.testing.assert_allclose(errors.mean(axis=0), 0, atol=5 * np.sqrt(largest / 4000))
    np.testing.assert_allclose(np.cov(errors.T), covariance, atol=8 * largest / np.sqrt(4000))


def test_float32_stays_float32():
    cycle = list(run(EnSF(), initial=Normal(np.zeros((), np.float32))))[-1]
    arrays = cycle.truth, cycle.observation.value, cycle.forecast, cycle.analysis.ensemble
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}


def test_a_whole_experiment_on_another_device():
    device = strict.Device("device1")
    cycles = list(run(EnSF(), initial=Normal(strict.zeros((), device=device)), cycles=2))
    assert cycles[-1].analysis.ensemble.device == cycles[-1].truth.device == device


@pytest.mark.parametrize("settings", [{"members": 1}, {"cycles": 0}])
def test_nothing_to_do_is_refused(settings):
    with pytest.raises(ValueError, match="needs 2 members and 1 cycle or more"):
        next(run(**settings))


@dataclass(frozen=True)
class Exploding:
    """Doubles for two cycles, then overflows; the truth's model does not."""

    shape: tuple[int, ...] = (SIZE,)
    dims: tuple[str, ...] = ("i",)

    def advance(self, states, time, duration, rng=None):
        return 2 * states if time < 2 else states * np.inf


def test_members_out_of_range_end_the_run():
    cycles = run(Greedy(), model=Exploding(), truth_model=Damped(), interval=1.0)
    next(cycles), next(cycles)
    with pytest.raises(Lost, match="lost the truth: the forecast of member 0 is not finite in cycle 3") as lost:
        next(cycles)
    assert lost.value.cycle == 3


def test_a_lost_run_gets_the_advice_that_its_filter_leaves():
    method = AdaptiveSpread(ETKF(), Localization(Euclidean(), 2.0))
    cycles = run(method, model=Exploding(), truth_model=Damped(), interval=1.0, members=5)
    next(cycles), next(cycles)
    with pytest.raises(Lost, match="its inflation is estimated already, so take a localization") as lost:
        next(cycles)
    assert "AdaptiveSpread" not in str(lost.value) and lost.value.cycle == 3
    again = pickle.loads(pickle.dumps(lost.value))
    assert (str(again), again.cycle) == (str(lost.value), 3)


def test_a_lost_run_is_counted_as_diverged(tmp_path):
    experiment = TwinExperiment(
        name="lost", summary="", model=Exploding(), network=Network(), initial=Normal(), cycles=4, interval=1.0,
        methods={"greedy": Method(Greedy(), 5)}, truth_model=Damped(),
    )  # fmt: skip
    with pytest.warns(UserWarning, match="greedy, seed 1: .* in cycle 3: .*; the run ends here"):
        (record,) = runner.run(experiment, experiment.methods, [1], tmp_path, "test")
    assert record["diverged"] and record["cycles"] == 2 and "in cycle 3" in record["lost"]
    with read(tmp_path / "greedy_seed1.nc") as file:
        assert file.attrs["lost"] == record["lost"]


def test_a_lost_seed_leaves_the_others_alone(tmp_path):
    """A free run of few members is confident and lost; the filter of the other method goes on to the end."""
    page = load("lorenz63_sakov2012")
    methods = {"free": Method(ForecastInflation(FreeRun(), 0.2), 5), "etkf": page.methods["etkf"]}
    page = replace(page, methods=methods, cycles=250)
    with pytest.warns(UserWarning, match="free, seed 1: the filter has lost the truth in cycle .*chi.2.*take Adapt"):
        free, etkf = runner.run(page, methods, [1], tmp_path, "test")
    assert free["diverged"] and 99 <= free["cycles"] < 250 and not etkf["diverged"] and etkf["cycles"] == 250


def test_what_follows_the_truth_with_too_small_a_spread_is_not_lost():
    """Innovations far beyond the spread, and far below those of a climate."""
    rng, watch, sums = np.random.default_rng(1), Watch.begin(0), np.zeros(2)
    for cycle in range(1, 200):
        truth = 10 * rng.standard_normal(30)
        forecast = truth + rng.standard_normal(30) + 0.01 * rng.standard_normal((5, 30))
        observation = Observation(truth, Identity(), 0.1)
        watch = watch.after(cycle, forecast, observation)
        square, variance = innovations(forecast, observation)
        sums += square.sum(), (variance + 1).sum()
    assert sums[0] > 10 * sums[1]
    with pytest.raises(Lost, match="in cycle") as lost:
        for cycle in range(200, 3000):
            forecast = 10 * rng.standard_normal(30) + 0.01 * rng.standard_normal((5, 30))
            watch = watch.after(cycle, forecast, Observation(10 * rng.standard_normal(30), Identity(), 0.1))
    assert lost.value.chi2 > 100 and lost.value.cycle > 200


def test_rows_of_another_law_hide_no_lost_filter():
    rng, watch = np.random.default_rng(1), Watch.begin(0)
    law = join_laws([(StudentT(0.1, 4.0), np.arange(2)), (Gaussian(0.1), np.arange(2, 30))])
    with pytest.raises(Lost, match="in cycle"):
        for cycle in range(1, 300):
            forecast = 10 * rng.standard_normal(30) + 0.01 * rng.standard_normal((5, 30))
            watch = watch.after(cycle, forecast, Observation(10 * rng.standard_normal(30), Identity(), law))


@pytest.mark.parametrize("back", [100, 200, 300])
def test_one_that_comes_back_is_not_lost(back):
    """Far off for 80 cycles in a row, now and again, and then on the truth to the end."""
    rng, watch = np.random.default_rng(2), Watch.begin(0)
    for cycle in range(1, 350):
        truth = 10 * rng.standard_normal(30)
        off = cycle < back and cycle % 100 > 19
        centre = 10 * rng.standard_normal(30) if off else truth + 0.1 * rng.standard_normal(30)
        forecast = centre + 0.1 * rng.standard_normal((5, 30))
        watch = watch.after(cycle, forecast, Observation(truth, Identity(), 0.1))
    assert watch.strained == 0 and watch.lately < 0.01


@pytest.mark.parametrize(("tail", "is_lost"), [(8.3, True), (1.0, False), (4.4, True), (4.0, False), (np.nan, True)])
def test_a_run_at_the_climatological_error_has_diverged(tail, is_lost):
    """Though single cycles are below half of it: the error of Lorenz-63 fluctuates."""
    rmse = np.concatenate([np.full(80, 0.5), tail * np.sqrt(np.tile([0.1, 1.9], 10))])
    assert diverged(rmse, 8.3) == is_lost


def test_a_checkpoint_serves_as_often_as_one_likes():
    """Whatever went on from it, and from its cycle, before."""
    cycles = run(cycles=4)
    next(cycles)
    start = next(cycles).checkpoint
    rest = list(cycles)
    for _ in range(2):
        for one, other in zip(run(cycles=4, start=start), rest, strict=True):
            assert one.index == other.index
            np.testing.assert_array_equal(one.observation.value, other.observation.value)
            np.testing.assert_array_equal(one.analysis.ensemble, other.analysis.ensemble)


def test_records_print_shapes_and_ranges_not_numbers():
    cycle = next(run(members=6, cycles=4))
    for record in (cycle, cycle.checkpoint, cycle.streams, Normal(), Network(Select(range(200)), np.ones(200))):
        assert len(repr(record)) < 500 and "\n" not in repr(record)
    assert repr(cycle).startswith("Cycle(0, time 0.5, truth (") and "float64" in repr(cycle)
    assert "1 cycles" in repr(cycle.checkpoint) and "Streams(seed=1)" in repr(cycle.checkpoint)
    assert repr(GaussianStart(np.zeros(1000), 1.0)) == "GaussianStart(mean (1000,) float64, 0 to 0, deviation=1.0)"


def test_a_network_draws_yes_or_no(rng):
    truth = np.linspace(-3, 3, 400)
    drawn = Network(error=Threshold(1.0, level=0.5)).observe(truth, 0, rng)
    assert set(drawn.value.tolist()) == {0.0, 1.0} and drawn.value[truth > 2.9].all()


def test_a_network_may_tell_other_errors_than_its_own(rng):
    observation = Network(error=2.0, told=0.5).observe(np.zeros(10_000), 0, rng)
    assert observation.value.std() == pytest.approx(2.0, rel=0.05)
    assert isinstance(observation.law, Gaussian) and observation.law.deviation == 0.5
    network = Network(error=1.0, told=StudentT(1.5, 3))
    assert isinstance(network.observe(np.zeros(3), 0, rng).law, StudentT) and "told StudentT" in repr(network)
