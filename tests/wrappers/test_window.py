"""Model in the loop: a linear model changes nothing, runs are counted, windows of 0.6 on Lorenz-96 stay locked."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import netCDF4
import numpy as np
import pytest
from rows import Keep

from ensf import experiments
from ensf.arrays import to_numpy
from ensf.diagnostics import rmse, scores
from ensf.filters import ETKF, LETKF, LETSF, Analysis, Lost
from ensf.localization import InformationLimit, periodic_line
from ensf.models.lorenz96 import Lorenz96
from ensf.observations import Callback, Identity, Linear, Observation, Pointwise, Select, Window, WindSpeed, arctan
from ensf.runs import restart, runner
from ensf.twin import GaussianStart, Method, Network, Streams, TwinExperiment, twin
from ensf.wrappers import (
    AdaptiveSpread,
    AdditiveNoise,
    Copula,
    FailedMembers,
    ModelInTheLoop,
    PartialState,
    Relinearised,
    Rotation,
    Standardised,
    Tempered,
    letsf,
    model_in_the_loop,
)

SIZE, MEMBERS = 12, 15
EVERYTHING = Identity()
LINE = periodic_line(SIZE, half_width=3.0)
LOOP = ModelInTheLoop(AdaptiveSpread(Relinearised(Rotation(LETSF(LINE))), LINE))


@dataclass
class LinearModel:
    """x <- M x + b, on any backend; counts the members that it carries."""

    matrix: object
    shift: object
    members: int = 0

    def __call__(self, states):
        self.members += states.shape[0]
        return states @ self.matrix + self.shift


@pytest.fixture
def model(rng):
    return LinearModel(np.eye(SIZE) + 0.3 * rng.standard_normal((SIZE, SIZE)), rng.standard_normal(SIZE))


@pytest.fixture
def window(model, rng):
    start = rng.standard_normal((MEMBERS, SIZE))
    window = Window(start, model(start), model)
    model.members = 0
    return window


def analyse(method, window, observation, seed=1, memory=None):
    windowed = replace(observation, error=observation.law, window=window)
    return method.analyse(window.end, windowed, np.random.default_rng(seed), memory)


def observed(rng, operator=EVERYTHING, error=0.3):
    return Observation(rng.standard_normal(operator(np.zeros(SIZE)).size), operator, error)


# --- linear models ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("operator", [Identity(), Select((0, 3, 7)), Linear(np.ones((2, SIZE))), Pointwise(arctan)])
@pytest.mark.parametrize("method", [ETKF(), LETSF(), Rotation(LETSF(steps=2))])
def test_a_linear_model_in_the_loop_is_the_filter_at_the_end(method, operator, window, model, rng):
    size = operator(np.zeros(SIZE)).size
    observation = Observation(rng.standard_normal(size), operator, 0.3, position=np.arange(float(size))[:, None])
    wanted = method.analyse(window.end, observation, np.random.default_rng(1)).ensemble
    analysis = analyse(ModelInTheLoop(Relinearised(method)), window, observation)
    np.testing.assert_allclose(analysis.ensemble, wanted, atol=1e-12)
    assert analysis.info["model_runs"] == 1 + 2 / MEMBERS and model.members == 2  # is it deterministic; is it straight


@pytest.mark.parametrize("operator", [Identity(), Pointwise(arctan)])
def test_noise_of_the_model_is_no_bend(operator, window, model, rng):
    noisy = replace(window, end=window.end + 0.5 * rng.standard_normal(window.end.shape))
    observation = observed(rng, operator)
    wanted = LETSF().analyse(noisy.end, observation, rng).ensemble
    analysis = analyse(ModelInTheLoop(Relinearised(LETSF())), noisy, observation)
    np.testing.assert_allclose(analysis.ensemble, wanted, atol=1e-12)
    assert analysis.info["model_runs"] == 2 + 2 / MEMBERS  # eta of each member


def test_the_recommended_filter_has_its_own_digits_where_the_model_is_straight(window, rng):
    memories = [None, None]
    for cycle in range(4):
        observation = observed(rng)
        analyses = [
            analyse(letsf(loop=loop), window, observation, cycle, memory)
            for loop, memory in zip((False, True), memories, strict=True)
        ]
        np.testing.assert_allclose(analyses[0].ensemble, analyses[1].ensemble, atol=1e-9)
        memories = [analysis.memory for analysis in analyses]


def cubed(forcing=0.0):
    """One variable, x -> x^3 over the window: members, their window, and an observation of its end."""
    draws = np.random.default_rng(1).standard_normal((400, 1))
    start = 1.0 + 0.5 * (draws - draws.mean()) / draws.std(ddof=1)
    return Window(start, start**3 + forcing, lambda x: x**3)


def test_a_curved_forecast_is_linearised_anew():
    """Pieces come near to the posterior, which is by quadrature."""
    value, error = np.array([4.0]), 0.2
    nodes = np.linspace(-2, 4, 100_001)
    mass = np.exp(-0.5 * ((value - nodes**3) / error) ** 2 - 0.5 * ((nodes - 1.0) / 0.5) ** 2)
    exact = (mass @ nodes**3) / mass.sum()
    window, seen = cubed(), Observation(value, Identity(), error)
    start, wanted = [], (mass @ nodes) / mass.sum()
    for pieces in (0, 1, 3):
        kept = Keeping(Relinearised(ETKF(), max_pieces=pieces))
        ensemble = analyse(ModelInTheLoop(kept), window, seen).ensemble
        assert abs(float(ensemble.mean()) - exact) < 0.05
        start.append(abs(float(kept.analysis.ensemble[:, 1].mean()) - wanted))
    assert start[0] > 0.1 and start[1] < 0.02 and start[2] < 0.005


@dataclass
class Keeping:
    """A filter that keeps its last analysis."""

    filter: object
    analysis: object = None

    def analyse(self, prior, observation, rng, memory=None, positions=None):
        self.analysis = self.filter.analyse(prior, observation, rng, memory, positions)
        return self.analysis


@dataclass
class Watched:
    """An ETKF that notes what it is given, counts in its memory and looks at every variable."""

    seen: list = field(default_factory=list)

    def analyse(self, prior, observation, rng, memory=None, positions=None):
        self.seen.append((prior, observation.law.standard_deviation(observation.value)))
        analysis = ETKF().analyse(prior, observation, rng, positions=positions)
        return replace(analysis, memory=(memory or 0) + 1, info={"look": np.arange(prior.shape[1])})


@pytest.mark.parametrize("pieces", [1, 3])
def test_the_likelihood_is_used_once(pieces):
    """Precisions of the pieces, and of what is left in a trial, sum to that of the errors."""
    watched, window = Watched(), cubed()
    loop = ModelInTheLoop(Relinearised(watched, max_pieces=pieces))
    analysis = analyse(loop, window, Observation(np.array([4.0]), Identity(), 0.2))
    precision = np.array([float(error[0]) ** -2 for _, error in watched.seen])
    trials, used = precision[::2], precision[1::2]
    np.testing.assert_allclose(trials, 25.0 - np.concatenate([[0.0], np.cumsum(used)]))
    assert len(used) == pieces and (used > 0).all()
    assert analysis.memory == pieces + 1  # of the pieces and the last; trials that are not taken leave nothing
    np.testing.assert_array_equal(analysis.info["look"], [0])


def test_a_window_that_is_bent_a_little_ends_where_its_start_is_analysed_to():
    draws = np.random.default_rng(1).standard_normal((200, 1))
    start = 1.0 + 0.3 * draws
    window = Window(start, start + 0.3 * start**2, lambda x: x + 0.3 * x**2)
    seen = Observation(np.array([2.0]), Identity(), 0.2)
    at_start = ETKF().analyse(np.concatenate([window.end, start], axis=1), replace(seen, operator=Select((0,))), None)
    analysis = analyse(ModelInTheLoop(Relinearised(ETKF())), window, seen)
    np.testing.assert_allclose(analysis.ensemble, window.forecast(at_start.ensemble[:, 1:]), atol=1e-12)
    assert analysis.info["model_runs"] == pytest.approx(2 + 2 / 200)
    assert np.abs(analysis.ensemble - at_start.ensemble[:, :1]).max() > 1e-3


def test_noise_that_a_wrapper_adds_is_noise_of_the_model_and_none_of_the_start(window, rng):
    """Anomalies of the start are what they were, as far as they were widened; the end is what the wrapper made it."""
    watched, noise = Watched(), rng.standard_normal((MEMBERS, 3 * SIZE))
    noise[:, 2 * SIZE :] = 0
    given = []

    class Adding:
        def analyse(self, prior, observation, rng, memory=None, positions=None):
            given.append(prior + noise)
            return Relinearised(watched).analyse(prior + noise, observation, rng, memory, positions)

    analyse(ModelInTheLoop(Around(Relinearised(watched), Adding())), window, observed(rng))
    prior, _ = watched.seen[0]
    end, start, eta = (prior[:, k * SIZE : (k + 1) * SIZE] for k in range(3))
    np.testing.assert_array_equal(end, given[0][:, :SIZE])
    factor = (start - start.mean(axis=0)) / (window.start - window.start.mean(axis=0))
    np.testing.assert_allclose(factor, np.broadcast_to(factor[:1], factor.shape), rtol=1e-9)
    anomalies = window.end - window.end.mean(axis=0)
    np.testing.assert_allclose((eta * anomalies).sum(axis=0), 0.0, atol=1e-9)
    assert np.abs(eta).max() > 0.5


@dataclass
class Around:
    """A wrapper that does what another one does."""

    filter: object
    other: object

    def analyse(self, *given):
        return self.other.analyse(*given)


def test_the_operator_reads_the_end():
    at_end = model_in_the_loop._AtEnd(Select((1, 3)), 0, 3)
    states = np.arange(36.0)[None]
    np.testing.assert_array_equal(at_end(states), [[1.0, 3.0]])
    assert at_end.entries(36).tolist() == [1, 3]
    assert model_in_the_loop._AtEnd(Linear(np.ones((2, 12))), 0, 3).entries(36) is None


# --- runs of the model -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("pieces", "runs"), [(0, 0), (1, 1), (3, 3)])
def test_a_piece_costs_one_forecast_of_the_ensemble_and_one_of_a_mean(pieces, runs):
    window, members = cubed(), 400
    analysis = analyse(
        ModelInTheLoop(Relinearised(ETKF(), max_pieces=pieces)), window, Observation(np.array([4.0]), Identity(), 0.2)
    )
    assert analysis.info["model_runs"] == pytest.approx(1 + runs + (2 + pieces) / members)


def test_a_bias_that_is_added_to_the_end_is_no_bend(window, model, rng):
    """Wrappers add it to the end alone: the loop takes it for noise that all members have in common."""
    biased = ModelInTheLoop(Biased(Relinearised(ETKF())))
    observation = observed(rng)
    analysis = analyse(biased, window, observation)
    wanted = ETKF().analyse(window.end + 3.0, observation, None).ensemble
    np.testing.assert_allclose(analysis.ensemble, wanted, atol=1e-12)
    assert analysis.info["model_runs"] == 1 + 2 / MEMBERS


@dataclass
class Biased:
    """Adds three to the ends."""

    filter: object

    def analyse(self, prior, observation, rng, memory=None, positions=None):
        shift = np.where(np.arange(prior.shape[1]) < SIZE, 3.0, 0.0)
        return self.filter.analyse(prior + shift, observation, rng, memory, positions)


@pytest.mark.parametrize("operator", [Identity(), Pointwise(arctan), Select((1, 5))])
def test_reported_runs_are_the_members_that_were_carried(operator, window, model, rng):
    runs = analyse(LOOP, window, observed(rng, operator)).info["model_runs"]
    assert runs == pytest.approx(1 + model.members / MEMBERS)


def test_without_observations_the_forecast_is_the_analysis(window, model):
    nothing = Observation(np.full(SIZE, np.nan), Identity(), 1.0)
    analysis = analyse(ModelInTheLoop(Relinearised(Keep())), window, nothing, memory="kept")
    np.testing.assert_array_equal(analysis.ensemble, window.end)
    assert analysis.memory == "kept" and analysis.info == {"model_runs": 1.0} and model.members == 0


class Reporting:
    """A filter that reports runs."""

    def analyse(self, prior, observation, rng, memory=None, positions=None):
        return Analysis(prior, None, {"model_runs": 3})


def cycle_of(method):
    settings = {"members": 8, "cycles": 1, "interval": 0.1, "streams": Streams.spawn(1)}
    return next(twin(Lorenz96(40), method, Network(), GaussianStart(np.eye(40)[0], 1.0), **settings))


def test_runs_are_a_score_if_the_filter_reports_them():
    assert scores(cycle_of(Reporting()))["model_runs"] == 3.0
    assert "model_runs" not in scores(cycle_of(ETKF()))
    assert scores(cycle_of(ModelInTheLoop(Relinearised(ETKF(), max_pieces=0))))["model_runs"] == 1 + 2 / 8


class Counting:
    """A filter of windows that counts its analyses in its memory."""

    def analyse(self, prior, observation, rng, memory=None, positions=None):
        assert observation.window.end is prior
        return Analysis(prior, (memory or 0) + 1)


def test_the_memory_goes_from_window_to_window():
    settings = {"members": 8, "cycles": 3, "interval": 0.1, "streams": Streams.spawn(1)}
    cycles = twin(Lorenz96(40), Counting(), Network(), GaussianStart(np.eye(40)[0], 1.0), **settings)
    assert [cycle.analysis.memory for cycle in cycles] == [1, 2, 3]


# --- missing values, operators, dtypes -------------------------------------------------------------------


@pytest.mark.parametrize("function", [None, arctan])
def test_missing_is_the_smaller_problem(function, window, rng):
    value = rng.standard_normal(SIZE)
    value[[2, 3]] = np.nan
    keep = np.flatnonzero(~np.isnan(value))
    whole, part = (o if function is None else Pointwise(function, o) for o in (Identity(), Select(keep)))
    found = analyse(LOOP, window, Observation(value, whole, np.full(SIZE, 0.3))).ensemble
    np.testing.assert_allclose(found, analyse(LOOP, window, Observation(value[keep], part, 0.3)).ensemble, atol=1e-12)


OTHER = [WindSpeed(Select((0, 1, 2, 3)), Select((4, 5, 6, 7))), Callback(lambda x: x[..., :4] * x[..., 4:8], None)]


@pytest.mark.parametrize("operator", OTHER)
def test_other_operators(operator, window, rng):
    value = operator(rng.standard_normal(SIZE)) + 0.1
    observation = Observation(value, operator, 0.5, position=np.arange(4.0)[:, None])
    wanted = LETSF().analyse(window.end, observation, rng).ensemble
    ensemble = analyse(ModelInTheLoop(Relinearised(LETSF())), window, observation).ensemble
    np.testing.assert_allclose(ensemble, wanted, atol=1e-9)


@pytest.mark.parametrize("operator", [Identity(), Pointwise(arctan)])
def test_every_backend_and_dtype(operator, backend, rng):
    model = LinearModel(backend.array(np.eye(SIZE) * 1.1), backend.array(np.ones(SIZE)))
    start = backend.array(rng.standard_normal((MEMBERS, SIZE)))
    window = Window(start, model(start), model)
    analysis = analyse(LOOP, window, Observation(backend.array(rng.standard_normal(SIZE)), operator, 0.3))
    assert backend.owns(analysis.ensemble) and np.isfinite(to_numpy(analysis.ensemble)).all()


def test_a_twin_in_single_precision_stays_so(rng):
    start = GaussianStart(np.eye(40, dtype=np.float32)[0], 1.0)
    settings = {"members": 8, "cycles": 3, "interval": 0.1, "streams": Streams.spawn(1)}
    line = periodic_line(40, 6.0)
    loop = ModelInTheLoop(AdaptiveSpread(Relinearised(Rotation(LETSF(line))), line))
    for cycle in twin(Lorenz96(40), loop, Network(Pointwise(arctan), 0.1), start, **settings):
        assert cycle.analysis.ensemble.dtype == np.float32


def test_arguments_are_not_changed(window, rng):
    observation = observed(rng)
    before = [a.copy() for a in (window.start, window.end, observation.value)]
    memory = analyse(LOOP, window, observation).memory
    analyse(LOOP, window, observation, memory=memory)
    for kept, now in zip(before, (window.start, window.end, observation.value), strict=True):
        np.testing.assert_array_equal(kept, now)


# --- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [LOOP, Rotation(LOOP)])
def test_without_a_window_it_says_what_it_needs(method, window, rng):
    with pytest.raises(ValueError, match=r"needs the window that ends with the observation: .* window=Window\(start"):
        method.analyse(window.end, observed(rng), rng)


def test_the_part_that_decides_stands_in_a_loop(window, rng):
    with pytest.raises(ValueError, match="Relinearised analyses a window: put it in a ModelInTheLoop"):
        Relinearised(ETKF()).analyse(window.end, observed(rng), rng)
    with pytest.raises(ValueError, match="max_pieces"):
        Relinearised(ETKF(), max_pieces=-1)
    with pytest.raises(ValueError, match="max_pieces of letsf is of the model in the loop: give loop=True"):
        letsf(max_pieces=2)


@pytest.mark.parametrize("method", [LETKF(LINE), AdaptiveSpread(Rotation(LETSF(LINE)), LINE), letsf(LINE)])
def test_a_loop_in_which_nothing_asks_the_model_is_refused(method):
    with pytest.raises(ValueError, match="without a Relinearised in it, so that nothing asks the model: give Model"):
        ModelInTheLoop(method)


CATALOGUE = np.random.default_rng(2).standard_normal((20, SIZE))
PLACES = {
    "AdditiveNoise": lambda method: AdditiveNoise(method, CATALOGUE, 0.1),
    "FailedMembers": lambda method: FailedMembers(method, 4),
    "PartialState": lambda method: PartialState(method, 3),
}
CHANGES = {"Copula": Copula, "Standardised": Standardised, "Tempered": Tempered}


@pytest.mark.parametrize("name", PLACES)
def test_what_is_of_one_time_has_no_place_in_a_window(name):
    around, advice = PLACES[name], "leave it out" if name == "PartialState" else f"outside, {name}"
    sentence = f"ModelInTheLoop has {name} in it, where it cannot serve a window: .*{advice}"
    with pytest.raises(ValueError, match=sentence):
        ModelInTheLoop(Rotation(Relinearised(around(ETKF()))))
    with pytest.raises(ValueError, match=sentence):
        ModelInTheLoop(around(Relinearised(ETKF())))


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_states_or_likelihood_stands_in_the_part_that_asks_the_model(name, window, rng):
    """Around it the start of the window was one in other coordinates, or the likelihood counted more than once."""
    change = CHANGES[name]
    with pytest.raises(
        ValueError, match=rf"has {name} in it, where .*: put it inside, Relinearised\({name}\(\.\.\.\)\)"
    ):
        ModelInTheLoop(change(Relinearised(ETKF())))
    if name == "Copula":  # which bends what a linear model has left straight
        return
    seen = observed(rng)
    ensemble = analyse(ModelInTheLoop(Relinearised(change(ETKF()))), window, seen).ensemble
    np.testing.assert_allclose(ensemble, analyse(change(ETKF()), window, seen).ensemble, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["AdditiveNoise", "FailedMembers"])
def test_around_the_loop_they_are_as_around_a_filter(name, window, rng):
    seen, around = observed(rng), PLACES[name]
    ensemble = analyse(around(ModelInTheLoop(Relinearised(ETKF()))), window, seen).ensemble
    np.testing.assert_allclose(ensemble, analyse(around(ETKF()), window, seen).ensemble, rtol=0, atol=1e-9)


def test_what_a_model_gives_is_looked_at(window, rng):
    loop, observation = ModelInTheLoop(Relinearised(ETKF())), observed(rng)
    with pytest.raises(Lost, match="analysis of the model in the loop is nan in member 0 at state variable 0"):
        analyse(loop, replace(window, forecast=lambda states: states * np.nan), observation)
    for forecast, what in ((lambda states: states[:, 1:], r"shape \(1, 11\)"), (lambda states: None, "a NoneType")):
        with pytest.raises(ValueError, match=rf"gives {what} for states of shape \(1, 12\): give a model that takes"):
            analyse(loop, replace(window, forecast=forecast), observation)
    with pytest.raises(ValueError, match=r"starts with shape \(14, 12\) and ends with \(15, 12\): give the same"):
        analyse(loop, replace(window, start=window.start[1:]), observation)


def test_a_model_may_work_in_place():
    def cube(states):
        states **= 3
        return states

    window, seen = cubed(), Observation(np.array([4.0]), Identity(), 0.2)
    start, loop = window.start.copy(), ModelInTheLoop(Relinearised(ETKF()))
    wanted = analyse(loop, window, seen).ensemble
    np.testing.assert_array_equal(analyse(loop, replace(window, forecast=cube), seen).ensemble, wanted)
    np.testing.assert_array_equal(window.start, start)


@pytest.mark.parametrize("loop", ["yes", 2.5, 1, None, Lorenz96(40)])
def test_the_recommended_filter_takes_a_truth_value(loop):
    with pytest.raises(ValueError, match="loop of letsf is .*: give True or False; the model comes with the obs"):
        letsf(LINE, loop=loop)


@pytest.mark.parametrize("error", [0.3, 1e-8])
def test_members_that_agree_stay_as_they_are(error, model):
    start = np.ones((MEMBERS, SIZE))
    window = Window(start, model(start), model)
    observation = Observation(np.zeros(SIZE), Identity(), error)
    analysis = analyse(ModelInTheLoop(Relinearised(ETKF())), window, observation)
    np.testing.assert_allclose(analysis.ensemble, window.end, atol=1e-12)


def test_a_bad_member_is_named(window, rng):
    window.end[3, 4] = np.nan
    with pytest.raises(ValueError, match="prior member 3 has nan at state variable 4"):
        analyse(LOOP, window, observed(rng))


# --- Lorenz-96 -------------------------------------------------------------------------------------------

FAR, NEAR = periodic_line(40, 20.0), periodic_line(40, 10.0)
LONG = ModelInTheLoop(AdaptiveSpread(Relinearised(Rotation(LETSF(FAR, information_limit=InformationLimit()))), NEAR))


@pytest.mark.parametrize(
    ("burn_in", "cycles"), [(10, 15), pytest.param(40, 120, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_long_windows_stay_locked(burn_in, cycles):
    page = replace(experiments.load("lorenz96_window_06"), cycles=burn_in + cycles)
    errors = [float(rmse(c.analysis.ensemble, c.truth)) for c in page.run(Method(LONG, 40), 1)]
    assert np.mean(errors[burn_in:]) < 0.6


def test_a_twin_goes_on_from_a_file_as_if_it_had_not_stopped(tmp_path):
    page = replace(experiments.load("lorenz96_window_06"), cycles=4)
    whole = []
    for cycle in page.run(Method(LONG, 20), 1):
        restart.write(tmp_path / f"{cycle.index}.npz", {"checkpoint": cycle.checkpoint})
        whole.append(cycle)
    rest = list(page.run(Method(LONG, 20), 1, restart.read(tmp_path / "1.npz")["checkpoint"]))
    assert len(rest) == 2
    for one, other in zip(rest, whole[2:], strict=True):
        assert one.analysis.ensemble.tobytes() == other.analysis.ensemble.tobytes()
        assert one.analysis.info["model_runs"] == other.analysis.info["model_runs"]


SHORT = TwinExperiment(
    name="short",
    summary="Lorenz-96, a few cycles",
    model=Lorenz96(size=40, forcing=8.0, dt=0.05),
    network=Network(error=1.0),
    initial=GaussianStart(np.eye(40)[0], 1.0),
    methods={
        "loop": Method(ModelInTheLoop(AdaptiveSpread(Relinearised(Rotation(LETKF(NEAR))), NEAR)), 8),
        "etkf": Method(ETKF(), 8),
    },
    cycles=6,
    interval=0.2,
)


def run(folder, **how):
    folder.mkdir(exist_ok=True)
    return runner.run(SHORT, SHORT.methods, [1], folder, "test", **how)


class _Stopping:
    """Ctrl-C in the third cycle."""

    def __init__(self):
        self.calls = 0

    def __enter__(self):
        return self

    def __call__(self):
        self.calls += 1
        return self.calls == 3

    def __exit__(self, *_):
        return None


def variables(path):
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        return {name: variable[...].tobytes() for name, variable in file.variables.items()}


def test_a_resumed_run_is_the_run_bit_for_bit_and_files_have_the_runs(tmp_path, monkeypatch):
    run(tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(runner, "deferred", _Stopping)
        run(tmp_path / "stopped")
    records = run(tmp_path / "stopped", resume=True)
    name = "loop_seed1.nc"
    assert variables(tmp_path / "whole" / name) == variables(tmp_path / "stopped" / name)
    with netCDF4.Dataset(tmp_path / "stopped" / name) as file:
        assert (file["model_runs"][:] >= 1 + 2 / 8).all()
        assert file["model_runs"].long_name == "forecasts of the whole ensemble that the cycle took"
    summary = {r["method"]: r for r in json.loads((tmp_path / "stopped" / "summary.json").read_text())}
    runs = summary["loop"]["model_runs"]
    assert runs >= 1 + 2 / 8 and "model_runs" not in summary["etkf"]
    head, *rows = runner.table(records).splitlines()
    end = head.index("runs") + len("runs")
    assert [row[:end].split()[-1] for row in rows] == [f"{runs:.3f}", "1.000"]


def test_the_table_has_no_runs_if_none_is_reported(tmp_path):
    (tmp_path / "a").mkdir()
    records = runner.run(SHORT, {"etkf": SHORT.methods["etkf"]}, [1], tmp_path / "a", "test")
    assert "runs" not in runner.table(records)
