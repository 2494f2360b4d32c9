"""Observations at their own times, and states of earlier cycles, beside the exact Kalman smoother."""

from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import pytest
import scipy.sparse
from exact import kalman_posterior
from scipy.linalg import block_diag

from ensf import (
    ETKF,
    LETKF,
    LETSF,
    RTPS,
    AdaptiveInflation,
    AdditiveNoise,
    AnalysisInflation,
    AsynchronousNetwork,
    AugmentedState,
    CollapseGuard,
    Correlated,
    EnKF,
    EnSF,
    Euclidean,
    ForecastInflation,
    Grouped,
    Identity,
    Linear,
    Localization,
    Network,
    Observation,
    Parameter,
    Pointwise,
    Rotation,
    Select,
    Smoother,
    Streams,
    StudentT,
    WindSpeed,
    analyse_window,
    arctan,
    at_times,
    letsf,
    periodic_line,
    twin,
)
from ensf.diagnostics import scores
from ensf.models.lorenz96 import Lorenz96
from ensf.observations import Combined, Gaussian, JoinedLaw, Stacked
from ensf.observations.joined_law import gaussian_rows, in_turn
from ensf.runs import restart
from ensf.twin import Climatology, PerturbedTruth

SIZE, MEMBERS = 6, 40
STEPS = (0.0, 0.1, 0.2, 0.3)
WIDE = Localization(Euclidean(), 1e9)
EXACT = {
    "etkf": ETKF(),
    "letkf": LETKF(WIDE),
    "letsf": LETSF(WIDE),
    "rotated": Rotation(ETKF()),
}
every_exact = pytest.mark.parametrize("method", EXACT.values(), ids=EXACT)


@dataclass(frozen=True)
class Turning:
    """A linear model without noise: a rotation in three planes, times a growth."""

    growth: float = 1.1
    shape = (SIZE,)
    dims = ("i",)

    def matrix(self, duration):
        whole = np.zeros((SIZE, SIZE))
        for k in range(SIZE // 2):
            angle = (k + 1) * duration * 3
            turn = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
            whole[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = self.growth**duration * np.array(turn)
        return whole

    def advance(self, states, time, duration, rng=None):
        return states @ self.matrix(duration).T


@dataclass(frozen=True)
class ExactMoments:
    """Truth and members whose sample mean and covariance are those of the Kalman filter's start."""

    covariance: float = 2.0

    def draw(self, members, streams):
        anomalies = streams.ensemble.standard_normal((members, SIZE))
        anomalies -= anomalies.mean(axis=0)
        anomalies = np.linalg.qr(anomalies)[0] * np.sqrt(members - 1)
        anomalies -= anomalies.mean(axis=0)
        return streams.truth.standard_normal(SIZE), np.sqrt(self.covariance) * anomalies


def moments(ensemble):
    return ensemble.mean(axis=0), np.cov(ensemble.T)


def coupled():
    """Two rows that mix all variables."""
    return Linear(np.array([[1.0, 0.5, 1.0, 0.2, 0.0, 1.0], [0.0, 1.0, -0.3, 1.0, 0.7, 0.0]]))


NETWORK = Network(coupled(), error=0.5, position=np.zeros((2, 1)))


def cycles_of(method, network, cycles, interval=0.3, **settings):
    start = Streams.spawn(3)
    model = settings.pop("model", Turning())
    initial = settings.pop("initial", ExactMoments())
    members = settings.pop("members", MEMBERS)
    return twin(
        model, method, network, initial, members=members, cycles=cycles, interval=interval, streams=start, **settings
    )


def exact_smoother(observations, wanted, interval, start=2.0):
    """Mean and covariance of the state at a time given values at times: dense, as one Gaussian problem in x(0)."""
    model = Turning()
    rows = [(coupled().matrix @ model.matrix(time), value) for time, value in observations]
    matrix, value = np.concatenate([h for h, _ in rows]), np.concatenate([v for _, v in rows])
    mean, covariance = kalman_posterior(np.zeros(SIZE), start * np.eye(SIZE), matrix, 0.25 * np.eye(len(value)), value)
    move = model.matrix(wanted)
    return move @ mean, move @ covariance @ move.T


@every_exact
@pytest.mark.parametrize("analysis_time", [None, 0.1])
def test_asynchronous_posterior_is_the_exact_one_at_any_time_of_the_window(method, analysis_time):
    network = AsynchronousNetwork(NETWORK, (0.1, 0.2, 0.3), STEPS)
    observed = []
    for cycle in cycles_of(method, network, 3, analysis_time=analysis_time):
        start = cycle.index * 0.3
        values = cycle.observation.value.reshape(3, 2)
        observed += [(start + time, value) for time, value in zip(network.times, values, strict=True)]
        mean, covariance = exact_smoother(observed, cycle.time, 0.3)
        assert cycle.time == pytest.approx(start + (0.3 if analysis_time is None else 0.1))
        np.testing.assert_allclose(moments(cycle.analysis.ensemble)[0], mean, atol=1e-10)
        np.testing.assert_allclose(moments(cycle.analysis.ensemble)[1], covariance, atol=1e-10)


def test_the_update_serves_every_step_of_the_window():
    network = AsynchronousNetwork(NETWORK, (0.1, 0.3), STEPS)
    (cycle,) = cycles_of(ETKF(), network, 1)
    values = [(time, value) for time, value in zip((0.1, 0.3), cycle.observation.value.reshape(2, 2), strict=True)]
    for step, time in enumerate(STEPS):
        mean, covariance = exact_smoother(values, time, 0.3)
        state = cycle.analysis.update.apply(cycle.window.trajectory[:, step])
        np.testing.assert_allclose(moments(state)[0], mean, atol=1e-10)
        np.testing.assert_allclose(moments(state)[1], covariance, atol=1e-10)


@every_exact
def test_smoothed_posterior_is_that_of_the_kalman_smoother(method):
    observed = []
    for cycle in cycles_of(Smoother(method, 3), NETWORK, 5):
        observed.append((cycle.time, cycle.observation.value))
        assert len(cycle.analysis.earlier) == min(cycle.index, 3)
        for lag, state in enumerate((cycle.analysis.ensemble, *cycle.analysis.earlier)):
            mean, covariance = exact_smoother(observed, cycle.time - 0.3 * lag, 0.3)
            np.testing.assert_allclose(moments(state)[0], mean, atol=1e-10)
            np.testing.assert_allclose(moments(state)[1], covariance, atol=1e-10)


def test_smoother_of_windows_with_an_analysis_in_the_middle():
    network = AsynchronousNetwork(NETWORK, (0.0, 0.15, 0.3), (0.0, 0.15, 0.3))
    observed = []
    for cycle in cycles_of(Smoother(ETKF(), 2), network, 3, analysis_time=0.15):
        values = cycle.observation.value.reshape(3, 2)
        observed += [(cycle.index * 0.3 + t, v) for t, v in zip(network.times, values, strict=True)]
        for lag, state in enumerate((cycle.analysis.ensemble, *cycle.analysis.earlier)):
            mean, covariance = exact_smoother(observed, cycle.time - 0.3 * lag, 0.3)
            np.testing.assert_allclose(moments(state)[0], mean, atol=1e-10)
            np.testing.assert_allclose(moments(state)[1], covariance, atol=1e-10)


def test_perturbed_observations_tend_to_the_kalman_smoother_with_many_members():
    values = []
    for cycle in cycles_of(Smoother(EnKF(), 2), NETWORK, 3, members=40000):
        values.append((cycle.time, cycle.observation.value))
    for lag, state in enumerate((cycle.analysis.ensemble, *cycle.analysis.earlier)):
        mean, covariance = exact_smoother(values, cycle.time - 0.3 * lag, 0.3)
        np.testing.assert_allclose(moments(state)[0], mean, atol=0.02)
        np.testing.assert_allclose(moments(state)[1], covariance, atol=0.03)


# --- operators of trajectories -----------------------------------------------------------------------------


@pytest.fixture
def trajectory(rng):
    return rng.standard_normal((5, len(STEPS), SIZE))


def flat(trajectory):
    return trajectory.reshape(*trajectory.shape[:-2], -1)


def test_observations_are_interpolated_between_the_steps(trajectory):
    times = [0.05, 0.3, 0.1, 0.0, 0.27]
    operator = at_times(Pointwise(arctan, Select([0, 1, 1, 3, 5])), times, STEPS)
    columns = [
        0.5 * trajectory[:, 0, 0] + 0.5 * trajectory[:, 1, 0],
        trajectory[:, 3, 1],
        trajectory[:, 1, 1],
        trajectory[:, 0, 3],
        0.3 * trajectory[:, 2, 5] + 0.7 * trajectory[:, 3, 5],
    ]
    expected = np.stack(columns, axis=1)
    np.testing.assert_allclose(operator(flat(trajectory)), np.arctan(expected), rtol=1e-12)
    np.testing.assert_allclose(operator.linear_part().linear(flat(trajectory)), expected, rtol=1e-12)
    np.testing.assert_allclose(operator.restrict([4, 0])(flat(trajectory)), np.arctan(expected[:, [4, 0]]), rtol=1e-12)
    positions = np.tile(np.arange(SIZE, dtype=float)[:, None], (len(STEPS), 1))
    np.testing.assert_array_equal(operator.places(positions)[:, 0], [0, 1, 1, 3, 5])


def test_a_speed_keeps_both_components(trajectory):
    speed = WindSpeed(Select([0, 2]), Select([1, 3]))
    operator = at_times(speed, [0.05, 0.2], STEPS)
    first, second = trajectory[:, :2].mean(axis=1), trajectory[:, 2]
    expected = np.stack([np.hypot(first[:, 0], first[:, 1]), np.hypot(second[:, 2], second[:, 3])], axis=1)
    part = operator.linear_part()
    np.testing.assert_allclose(operator(flat(trajectory)), expected, rtol=1e-12)
    np.testing.assert_allclose(part.function(part.linear(flat(trajectory))), expected, rtol=1e-12)
    assert sorted(part.owners(2).tolist()) == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "inner", [Identity(), coupled(), Pointwise(arctan, coupled())], ids=["identity", "linear", "arctan"]
)
def test_tangent_and_adjoint_agree(trajectory, rng, inner):
    states = flat(trajectory)
    count = inner(trajectory[:, 0]).shape[-1]
    operator = at_times(inner, np.linspace(0.02, 0.3, count), STEPS)
    direction, residual = rng.standard_normal(states.shape), rng.standard_normal((5, count))
    left = (operator.tangent(states, direction) * residual).sum()
    right = (direction * operator.adjoint(states, residual)).sum()
    assert left == pytest.approx(right, rel=1e-6)


@pytest.mark.parametrize("time", [-0.01, 0.31, np.nan])
def test_times_outside_the_trajectory_are_refused(time):
    with pytest.raises(ValueError, match=r"observation 1 is at time .*, outside the trajectory from 0 to 0.3"):
        at_times(Select([0, 1]), [0.1, time], STEPS)


@pytest.mark.parametrize("times", [[0.1], [0.1, 0.2, 0.3], 0.1, [[0.1, 0.2]]])
@pytest.mark.parametrize(
    "operator",
    [
        Select([0, 1]),
        Pointwise(arctan, Select([0, 1])),
        Linear(np.ones((2, 4)) / 4),
        Linear(scipy.sparse.csr_array(np.tri(2, 4))),
        WindSpeed(Select([0, 1]), Select([2, 3])),
    ],
    ids=["select", "pointwise", "mean", "sparse", "speed"],
)
def test_there_is_a_time_for_each_observation(operator, times):
    with pytest.raises(ValueError, match="times for 2 observations: give one for each|times have shape"):
        at_times(operator, times, STEPS)


DIRECTLY = at_times(Select([0, 1]), [0.1, 0.2], STEPS[:3])
TRAJECTORIES = {
    "at times": DIRECTLY,
    "at one time": at_times(Select([0, 1]), [0.1, 0.1], STEPS[:3]),
    "one of them": DIRECTLY.restrict([1]),
    "of a matrix": at_times(Linear(np.ones((2, SIZE))), [0.1, 0.2], STEPS[:3]),
    "function": Pointwise(arctan, DIRECTLY),
    "speed": WindSpeed(DIRECTLY, DIRECTLY),
    "combined": Combined(np.multiply, (DIRECTLY, DIRECTLY)),
    "stacked": Stacked((DIRECTLY, DIRECTLY)),
    "rows of stacked": Stacked((DIRECTLY, DIRECTLY)).restrict([0, 3]),
    "one state": Select([0, 1]),
    "function of one state": Pointwise(arctan, Select([0, 1])),
}


@pytest.mark.parametrize("name", TRAJECTORIES)
def test_an_operator_of_another_trajectory_is_refused(name, rng):
    operator, trajectory = TRAJECTORIES[name], rng.standard_normal((5, 4, SIZE))
    other = "reads one state, of a trajectory of 4" if "state" in name else "trajectories of 3 steps but .* has 4"
    value = np.ones(operator(trajectory[:, :3].reshape(5, -1)).shape[-1])
    with pytest.raises(ValueError, match=other):
        analyse_window(ETKF(), trajectory, Observation(value, operator, 0.5), 1)
    if "state" not in name:
        assert analyse_window(ETKF(), trajectory[:, :3], Observation(value, operator, 0.5), 1).ensemble.shape == (
            5,
            SIZE,
        )


def test_a_function_of_ones_own_may_read_all_of_a_trajectory(rng):
    """Such as rain that has fallen in a window; the last step is an entry like others."""
    trajectory = rng.standard_normal((9, 4, SIZE))
    seen = Observation(
        [0.3], lambda states: states.reshape(*states.shape[:-1], 4, SIZE)[..., 2].sum(axis=-1)[..., None], 0.5
    )
    total = trajectory[..., 2].sum(axis=1)
    wanted = ETKF().analyse(np.column_stack([trajectory[:, -1], total]), Observation([0.3], Select([SIZE]), 0.5), 1)
    found = analyse_window(ETKF(), trajectory, seen, 1).ensemble
    np.testing.assert_allclose(found, wanted.ensemble[:, :SIZE], atol=1e-12)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"step": 1.5}, "the analysis is at step 1.5: give one of them"),
        ({"step": 4}, "has 4 steps but the analysis is at step 4"),
        ({"step": "end"}, "the analysis is at step 'end'"),
        ({"filter": None}, r"filter is None: give one with its settings, such as ETKF\(\)"),
        ({"trajectory": np.ones((5, 8))}, r"shape \(5, 8\): give \(member, step, state\)"),
        ({"trajectory": "trajectory.nc"}, "trajectory"),
    ],
)
def test_what_a_window_is_given_is_looked_at(change, sentence, rng):
    given = {"filter": ETKF(), "trajectory": rng.standard_normal((5, 4, SIZE)), **change}
    with pytest.raises(ValueError, match=sentence):
        analyse_window(observation=Observation(np.ones(1), at_times(Select([0]), [0.1], STEPS), 0.5), rng=1, **given)


def test_a_trajectory_may_be_a_list(rng):
    trajectory, seen = (
        rng.standard_normal((5, 4, SIZE)),
        Observation(np.ones(1), at_times(Select([0]), [0.1], STEPS), 0.5),
    )
    made = [analyse_window(ETKF(), one, seen, 1).ensemble for one in (trajectory, trajectory.tolist())]
    np.testing.assert_array_equal(*made)


PAIR, ONES = np.array([[1.0, 0.4], [0.4, 1.0]]), np.ones((1, 1))
LAWS = {
    "number": (0.5, 0.25 * np.eye(6)),
    "numbers": (np.array([0.5, 1.0, 2.0]), np.diag([0.25, 1.0, 4.0] * 2)),
    "Correlated": (Correlated(block_diag(PAIR, ONES)), block_diag(PAIR, ONES, PAIR, ONES)),
    "Grouped": (Grouped(np.array(["b", "b", "a"]), [ONES, PAIR]), block_diag(PAIR, ONES, PAIR, ONES)),
    "StudentT": (StudentT(0.5, 4.0), None),
    "StudentT of each": (StudentT(np.array([0.5, 1.0, 2.0]), 4.0), None),
}


@pytest.mark.parametrize("name", LAWS)
def test_errors_of_different_times_are_independent(name):
    law, wanted = LAWS[name]
    network = AsynchronousNetwork(Network(Select([0, 2, 4]), law), (0.1, 0.25), STEPS)
    truths = [np.zeros(SIZE), np.ones(SIZE)]
    seen = network.observe(truths, 0, np.random.default_rng(1))
    if wanted is not None:
        np.testing.assert_allclose(seen.law.covariance(seen.value), wanted)
    rng = np.random.default_rng(1)
    each = [network.network.observe(truth, 0, rng) for truth in truths]
    np.testing.assert_array_equal(seen.value, np.concatenate([one.value for one in each]))
    predicted = np.linspace(-1, 1, 6)
    parts = sum(one.law.log_density(one.value, part) for one, part in zip(each, np.split(predicted, 2), strict=True))
    np.testing.assert_allclose(seen.law.log_density(seen.value, predicted), parts)
    trajectory = np.random.default_rng(2).standard_normal((MEMBERS, 4, SIZE))
    assert np.isfinite(analyse_window(LETSF(WIDE), trajectory, seen, 1).ensemble).all()


@pytest.mark.parametrize(
    ("errors", "wanted"),
    [
        ((1.0, 2.0), np.diag([1.0, 1.0, 4.0, 4.0])),
        ((1.0, Gaussian(2.0)), np.diag([1.0, 1.0, 4.0, 4.0])),
        ((Correlated(PAIR), 2.0), block_diag(PAIR, 4.0 * np.eye(2))),
        ((np.array([1.0, 3.0]), 2.0), np.diag([1.0, 9.0, 4.0, 4.0])),
    ],
)
def test_each_time_has_its_own_error(errors, wanted):
    class Changing:
        def observe(self, truth, cycle, rng):
            return Observation(truth[:2], Select([0, 1]), errors[int(truth[0])])

    network = AsynchronousNetwork(Changing(), (0.1, 0.2), STEPS)
    seen = network.observe([np.zeros(SIZE), np.ones(SIZE)], 0, np.random.default_rng(1))
    np.testing.assert_allclose(seen.law.covariance(seen.value), wanted)


def test_times_whose_errors_do_not_go_together_are_refused_and_empty_ones_taken():
    with pytest.raises(ValueError, match="errors of one time are correlated and those of another StudentT"):
        in_turn([Correlated(PAIR), StudentT(1.0)], [2, 2])
    law = in_turn([Correlated(PAIR), Correlated(np.zeros((0, 0)))], [2, 0])
    np.testing.assert_allclose(law.covariance(np.ones(2)), PAIR)
    nested = in_turn([JoinedLaw((Gaussian(1.0), StudentT(1.0)), ((0,), (1,)))] * 2, [2, 2])
    assert gaussian_rows(nested, 4).tolist() == [True, False, True, False]


def test_windows_that_do_not_fit_are_refused():
    network = AsynchronousNetwork(Network(), (0.1, 0.3), STEPS)
    for cycles, sentence in (
        (cycles_of(ETKF(), network, 1, interval=0.2), "the steps of the network end at 0.3 but the interval is 0.2"),
        (cycles_of(ETKF(), network, 1, analysis_time=0.15), "analysis_time is 0.15, which is no step of the window"),
        (cycles_of(ETKF(), network, 1, analysis_time="end"), "analysis_time is 'end': give a time from the start of"),
        (cycles_of(ETKF(), Network(), 1, analysis_time=0.1), "every observation is at the end of its window"),
    ):
        with pytest.raises(ValueError, match=sentence):
            next(cycles)
    for steps, times in (((0.1, 0.3), (0.2,)), ((0.0, 0.3, 0.2), (0.2,)), (STEPS, (0.4,)), (STEPS, ())):
        with pytest.raises(ValueError):
            AsynchronousNetwork(Network(), times, steps)
    with pytest.raises(ValueError, match="3 steps cannot have 8 entries"):
        at_times(Select([0]), [0.1], (0.0, 0.1, 0.2))(np.zeros((2, 8)))


# --- what holds for every method ---------------------------------------------------------------------------

MODEL = Lorenz96(size=20)
LINE = periodic_line(20, 4.0)
METHODS = {
    "letkf": Rotation(LETKF(LINE)),
    "letsf": AdaptiveInflation(Rotation(LETSF(LINE)), LINE),
    "inflated": RTPS(ForecastInflation(LETKF(LINE), 1.05), 0.3),
    "etkf": ETKF(),
}
EVERY_STEP = (0.0, 0.05, 0.1)


def lorenz(method, cycles, network=None, **settings):
    network = network or Network(Pointwise(arctan), error=0.3)
    initial = Climatology(MODEL, np.zeros(20))
    return cycles_of(method, network, cycles, 0.1, model=MODEL, initial=initial, members=10, **settings)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_window_with_all_observations_at_its_end_is_the_filter_bit_for_bit(method):
    network = Network(Pointwise(arctan), error=0.3)
    whole = AsynchronousNetwork(network, (0.1,), (0.0, 0.1))
    for plain, windowed in zip(lorenz(method, 3, network), lorenz(method, 3, whole), strict=True):
        np.testing.assert_array_equal(plain.analysis.ensemble, windowed.analysis.ensemble)
        np.testing.assert_array_equal(plain.observation.value, windowed.observation.value)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_smoother_leaves_the_analyses_as_they_are(method):
    for plain, smoothed in zip(lorenz(method, 4), lorenz(Smoother(method, 2), 4), strict=True):
        np.testing.assert_array_equal(plain.analysis.ensemble, smoothed.analysis.ensemble)


CONTROLS = {
    "inflation": lambda inner: AnalysisInflation(inner, 1.3),
    "RTPS": lambda inner: RTPS(inner, 0.5),
    "noise": lambda inner: AdditiveNoise(inner, np.random.default_rng(3).standard_normal((20, 6)), 0.4),
}


@pytest.mark.parametrize("control", CONTROLS.values(), ids=CONTROLS)
def test_the_spread_of_lagged_states_is_not_controlled_again(control, rng):
    """They take the weights of the filter inside alone."""
    observation = Observation(np.array([0.3, -0.2]), Select([1, 4]), 0.5)
    method, states = Smoother(control(ETKF()), 2), rng.standard_normal((2, 8, 6))
    memory = method.analyse(states[0], observation, 1).memory
    analysis = method.analyse(states[1], observation, 1, memory)
    expected = ETKF().analyse(states[1], observation, 1).update.apply(memory.states[0])
    np.testing.assert_array_equal(analysis.earlier[0], expected)
    assert not np.allclose(analysis.ensemble, ETKF().analyse(states[1], observation, 1).ensemble)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_lagged_states_are_the_same_by_parts(method):
    *_, cycle = lorenz(Smoother(method, 2), 3)
    before = cycle.analysis.memory
    observation = replace(cycle.observation, error=cycle.observation.law)
    again = method.analyse(cycle.forecast, observation, 5, before.inner)
    positions = np.arange(20.0)[:, None]
    for state in before.states:
        whole = again.update.apply(state, positions, field="earlier", inflate=False)
        for cut in (slice(0, 1), slice(1, 9), slice(9, 20)):
            entries = np.arange(20)[cut]
            near = again.update.near(positions[cut])
            part = near.apply(state[:, cut], positions[cut], entries, field="earlier", inflate=False)
            np.testing.assert_array_equal(part, whole[:, cut])


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_window_with_a_smoother_goes_on_from_its_restart_bit_for_bit(method, tmp_path):
    network = AsynchronousNetwork(Network(Pointwise(arctan), error=0.3), (0.05, 0.1), EVERY_STEP)
    whole = list(lorenz(Smoother(method, 2), 5, network, analysis_time=0.05))
    half = list(islice(lorenz(Smoother(method, 2), 5, network, analysis_time=0.05), 3))
    restart.write(tmp_path / "restart.npz", {"checkpoint": half[-1].checkpoint})
    start = restart.read(tmp_path / "restart.npz")["checkpoint"]
    for there, here in zip(
        whole[3:], lorenz(Smoother(method, 2), 5, network, start=start, analysis_time=0.05), strict=True
    ):
        np.testing.assert_array_equal(there.analysis.ensemble, here.analysis.ensemble)
        for mine, other in zip(there.analysis.earlier, here.analysis.earlier, strict=True):
            np.testing.assert_array_equal(mine, other)
        assert scores(there) == scores(here)


def test_scores_of_each_lag_are_there_from_the_first_cycle():
    first, second, third = (scores(cycle) for cycle in lorenz(Smoother(ETKF(), 2), 3))
    assert set(first) == set(second) == set(third)
    assert np.isnan(first["rmse_lag1"]) and np.isnan(second["rmse_lag2"])
    assert np.isfinite([second["rmse_lag1"], third["rmse_lag2"], third["spread_lag2"]]).all()


def test_a_filter_of_whole_states_takes_the_trajectory_for_one():
    network = AsynchronousNetwork(Network(error=0.3), (0.05, 0.1), EVERY_STEP)
    (cycle,) = lorenz(EnSF(), 1, network)
    assert cycle.analysis.ensemble.shape == (10, 20)
    assert np.isnan(scores(cycle)["chi2"])


def test_what_a_wrapper_has_of_states_is_of_one_step(rng):
    """A catalogue of states, and parameters behind the state, which the observations do not see."""
    trajectory = rng.standard_normal((6, 4, SIZE))
    seen = Observation(np.ones(3), at_times(Select([0, 1, 3]), [0.1, 0.15, 0.2], STEPS), 0.5)
    catalogue = rng.standard_normal((6, SIZE))
    plain, noisy = (analyse_window(one, trajectory, seen, 1) for one in (ETKF(), AdditiveNoise(ETKF(), catalogue, 0.3)))
    noise = catalogue[np.random.default_rng(1).permutation(6)]
    np.testing.assert_allclose(noisy.ensemble - plain.ensemble, 0.3 * (noise - noise.mean(axis=0)), atol=1e-12)
    with pytest.raises(ValueError, match="the catalogue has states of 24 variables but there are 6"):
        analyse_window(AdditiveNoise(ETKF(), np.ones((3, 4 * SIZE)), 0.3), trajectory, seen, 1)
    floor = AugmentedState(ETKF(), (Parameter(min_spread=3.0),))
    augmented = analyse_window(floor, trajectory, seen, 1).ensemble
    np.testing.assert_allclose(augmented[:, :-1], plain.ensemble[:, :-1], atol=1e-12)
    np.testing.assert_allclose(augmented[:, -1].std(ddof=1), 3.0)


@pytest.mark.parametrize("times", [[0.1], [0.12], [0.2]])
@pytest.mark.parametrize("entries", [[SIZE - 1], [0, SIZE - 1]])
def test_an_observation_of_a_parameter_is_refused_in_a_window_as_at_one_time(times, entries, rng):
    trajectory, method = rng.standard_normal((6, 4, SIZE)), AugmentedState(ETKF(), (Parameter(),))
    sentence = f"reads entry {SIZE - 1}, which is a parameter: the state ends at {SIZE - 2}"
    value = np.zeros(len(entries))
    with pytest.raises(ValueError, match=sentence):
        method.analyse(trajectory[:, -1], Observation(value, Select(entries), 1.0), 1)
    when = (times + [0.05])[: len(entries)]
    with pytest.raises(ValueError, match=sentence):
        analyse_window(method, trajectory, Observation(value, at_times(Select(entries[::-1]), when, STEPS), 1.0), 1)
    accepted = Observation(np.zeros(1), at_times(Select([SIZE - 2]), times, STEPS), 1.0)
    plain = analyse_window(ETKF(), trajectory, accepted, 1).ensemble
    np.testing.assert_allclose(analyse_window(method, trajectory, accepted, 1).ensemble, plain, atol=1e-12)


def test_without_any_value_the_prior_is_returned():
    operator = at_times(Identity(), [0.1] * SIZE, STEPS)
    trajectory = np.random.default_rng(2).standard_normal((5, 4, SIZE))
    observation = Observation(np.full(SIZE, np.nan), operator, 1.0)
    for method in (ETKF(), Smoother(ETKF(), 2)):
        analysis = analyse_window(method, trajectory, observation, 1)
        np.testing.assert_array_equal(analysis.ensemble, trajectory[:, -1])


def test_smoothers_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="put it outside, Smoother"):
        RTPS(Smoother(ETKF(), 2), 0.5)
    with pytest.raises(ValueError, match="needs whole states"):
        Smoother(EnSF(), 2)
    with pytest.raises(ValueError, match="needs whole states"):
        Smoother(CollapseGuard(ETKF()), 2)
    with pytest.raises(ValueError, match="lag of the smoother is 0"):
        Smoother(ETKF(), 0)


# --- models that work in place ------------------------------------------------------------------------------


class InPlace(Lorenz96):
    """Lorenz-96 that leaves the states of the end where those of the start were."""

    def advance(self, states, time, duration, rng=None):
        states[...] = super().advance(states.copy(), time, duration, rng)
        return states


@pytest.mark.parametrize("way", ["plain", "loop", "asynchronous", "smoother"])
def test_a_model_may_work_in_place(way):
    """Truth, members, trajectories, windows and cycles that one keeps are those of a model that does not."""
    local = periodic_line(40, 6.0)
    network = Network(Select(range(0, 40, 2)), 1.0)
    method = letsf(local, loop=way == "loop")
    if way == "smoother":
        method = Smoother(AnalysisInflation(LETKF(local), 1.05), 2)
    if way == "asynchronous":
        method, network = LETKF(local), AsynchronousNetwork(network, (0.1, 0.2), (0.0, 0.1, 0.2))
    runs = []
    for model in (Lorenz96(40), InPlace(40)):
        start = PerturbedTruth(Lorenz96(40), np.zeros(40))
        cycles = twin(
            model, method, network, start, members=8, cycles=3, interval=0.2, streams=Streams.spawn(1),
            truth_model=model,
        )  # fmt: skip
        runs.append(list(cycles))
    for one, other in zip(*runs, strict=True):
        np.testing.assert_array_equal(one.truth, other.truth)
        np.testing.assert_array_equal(one.analysis.ensemble, other.analysis.ensemble)
        np.testing.assert_array_equal(one.forecast, other.forecast)
