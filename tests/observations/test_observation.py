"""Observation operators, error laws, and what a missing value means."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from scipy.stats import multivariate_normal

from ensf.arrays import namespace, to_numpy
from ensf.observations import (
    Callback,
    Correlated,
    Function,
    Gaussian,
    Identity,
    Linear,
    Observation,
    Pointwise,
    Select,
    WindSpeed,
    absolute,
    arctan,
    cube,
    exponential,
    log,
    square,
)

STATE = 6
MATRIX = np.random.default_rng(1).standard_normal((4, STATE))
SPARSE = scipy.sparse.random_array((4, STATE), density=0.4, rng=np.random.default_rng(2), format="csr")
EVEN, ODD = Select((0, 2, 4)), Select((1, 3, 5))


def _softplus(x):
    xp = namespace(x)
    return xp.log(1 + xp.exp(x))


def _rectify(x):
    return 0.5 * (x + namespace(x).abs(x))


def _neighbour_product(x):
    return x[..., :-1] * x[..., 1:]


def _neighbour_pullback(x, r):
    xp = namespace(x)
    zero = xp.zeros_like(x[..., :1])
    return xp.concat([r * x[..., 1:], zero], axis=-1) + xp.concat([zero, r * x[..., :-1]], axis=-1)


PRODUCTS = Callback(_neighbour_product, _neighbour_pullback)

POINTWISE = {f"{function!r}": Pointwise(function) for function in (arctan, absolute, square, cube, exponential, log)}
PORTABLE = {
    "identity": Identity(),
    "select": Select((1, 4, 5)),
    "select_repeated": Select((1, 4, 1, 1, 0, 4)),
    "arctan_of_select": Pointwise(arctan, Select((5, 0, 5))),
    "user_analytic": Pointwise(_softplus),
    "user_kinked": Pointwise(_rectify),
    "wind_speed": WindSpeed(EVEN, ODD),
    "callback": PRODUCTS,
    **POINTWISE,
}
HOST = {
    "dense": Linear(MATRIX),
    "sparse": Linear(SPARSE),
    "sparse_coo": Linear(SPARSE.tocoo()),
    "cube_of_dense": Pointwise(cube, Linear(MATRIX)),
    "cube_of_sparse": Pointwise(cube, Linear(SPARSE)),
    "wind_speed_of_dense": WindSpeed(Linear(MATRIX[:2]), Linear(MATRIX[2:])),
}
OPERATORS = PORTABLE | HOST

every_operator = pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
every_portable_operator = pytest.mark.parametrize("operator", PORTABLE.values(), ids=PORTABLE)


@pytest.fixture
def states(rng):
    """Away from zero, where |x| has no derivative, and positive, where log has one."""
    return rng.uniform(0.5, 2.0, (3, 2, STATE))


def on(backend, operator):
    """Operators of arrays, moved to a backend."""
    return Linear(backend.array(operator.matrix)) if isinstance(operator, Linear) else operator


# --- operators -------------------------------------------------------------------------------------------


@every_operator
def test_adjoint_identity(operator, states, rng):
    directions = rng.standard_normal(states.shape)
    forward = operator.tangent(states, directions)
    residuals = rng.standard_normal(forward.shape)
    pulled = operator.adjoint(states, residuals)
    assert pulled.shape == states.shape
    np.testing.assert_allclose((forward * residuals).sum(-1), (directions * pulled).sum(-1), rtol=1e-7, atol=1e-9)


@every_operator
def test_tangent_is_the_derivative(operator, states, rng):
    directions, step = rng.standard_normal(states.shape), 1e-5
    expected = (operator(states + step * directions) - operator(states - step * directions)) / (2 * step)
    np.testing.assert_allclose(operator.tangent(states, directions), expected, rtol=1e-7, atol=1e-8)


@every_operator
def test_batch_equals_one_by_one(operator, states, rng):
    together = operator(states)
    residuals = rng.standard_normal(together.shape)
    pulled = operator.adjoint(states, residuals)
    for where in np.ndindex(states.shape[:-1]):
        np.testing.assert_allclose(together[where], operator(states[where]), rtol=1e-13)
        alone = operator.adjoint(states[where], residuals[where])
        np.testing.assert_allclose(pulled[where], alone, rtol=1e-10, atol=1e-13)


@every_operator
def test_arguments_are_not_changed(operator, states, rng):
    before, residuals = states.copy(), rng.standard_normal(operator(states).shape)
    kept = residuals.copy()
    operator.adjoint(states, residuals)
    operator.tangent(states, states)
    np.testing.assert_array_equal(states, before)
    np.testing.assert_array_equal(residuals, kept)


@every_portable_operator
def test_operators_stay_on_their_device_with_their_dtype(operator, backend, states):
    there = backend.array(states)
    predicted = operator(there)
    pulled = operator.adjoint(there, predicted)
    assert backend.owns(predicted) and backend.owns(pulled) and backend.owns(operator.tangent(there, there))
    np.testing.assert_allclose(to_numpy(predicted), operator(states), rtol=backend.tolerance)
    expected = operator.adjoint(states, operator(states))
    np.testing.assert_allclose(to_numpy(pulled), expected, rtol=10 * backend.tolerance)


def test_dense_matrix_stays_on_its_device_with_its_dtype(backend, states):
    operator, there = Linear(backend.array(MATRIX)), backend.array(states)
    predicted = operator(there)
    assert backend.owns(predicted) and backend.owns(operator.adjoint(there, predicted))
    np.testing.assert_allclose(to_numpy(predicted), states @ MATRIX.T, rtol=1e-3, atol=backend.tolerance)


@pytest.mark.parametrize("matrix", [MATRIX, SPARSE], ids=["dense", "sparse"])
def test_float32_states_stay_float32_under_a_float64_matrix(matrix, states):
    operator, single = Linear(matrix), states.astype(np.float32)
    assert operator(single).dtype == np.float32
    assert operator.adjoint(single, operator(single)).dtype == np.float32


def test_select_takes_any_sequence_and_compares_by_value():
    assert Select(np.array([2, 0])) == Select([2, 0]) and hash(Select([2, 0])) == hash(Select((2, 0)))
    assert repr(Select(np.array([2, 0]))) == "Select(index=(2, 0))"


def test_repeated_observations_add_up():
    pulled = Select((1, 1, 1)).adjoint(np.zeros(3), np.array([1.0, 10, 100]))
    np.testing.assert_array_equal(pulled, [0, 111, 0])


def test_select_serves_states_of_several_sizes():
    operator = Select((0, 2))
    for size in (3, 5, 3):
        np.testing.assert_array_equal(operator(np.arange(size)), [0, 2])
        assert operator.adjoint(np.zeros(size), np.ones(2)).shape == (size,)


@pytest.mark.parametrize("index", [STATE, -1])
def test_selecting_outside_the_state_is_refused(index, states):
    with pytest.raises(ValueError, match=rf"observation 1 selects state variable {index}.*6 variables"):
        Select((0, index))(states)


@pytest.mark.parametrize("matrix", [MATRIX, SPARSE], ids=["dense", "sparse"])
def test_matrix_that_does_not_fit_is_refused(matrix):
    with pytest.raises(ValueError, match=r"shape \(4, 6\) cannot act on vectors of 5 entries"):
        Linear(matrix)(np.ones(5))


# --- scalar functions ------------------------------------------------------------------------------------


def test_complex_step_is_exact_for_analytic_functions():
    points = np.linspace(-3, 3, 13)
    slope = Function(_softplus).slope(points)
    np.testing.assert_allclose(slope, 1 / (1 + np.exp(-points)), rtol=1e-14)


def _through_abs(x):
    return np.abs(x)


def _through_real_part(x):
    return np.sqrt(np.real(x) ** 2)


def _through_conjugate(x):
    return np.sqrt(x * np.conj(x))


def _through_comparison(x):
    return np.where(x > 0, x, -x)


def _refusing_complex(x):
    if np.iscomplexobj(x):
        raise RuntimeError("real numbers only")
    return np.abs(x)


@pytest.mark.parametrize(
    "function", [_through_abs, _through_real_part, _through_conjugate, _through_comparison, _refusing_complex]
)
def test_functions_that_are_not_complex_analytic_keep_their_derivative(function):
    points = np.array([-2.0, -0.5, 0.5, 3.0])
    np.testing.assert_allclose(Function(function).slope(points), np.sign(points), rtol=1e-8)


def test_user_derivative_is_used():
    assert Function(np.sin, lambda x: 0 * x + 42.0).slope(np.ones(2)).tolist() == [42.0, 42.0]


def test_float32_slopes_of_user_functions():
    points = np.linspace(-3, 3, 13, dtype=np.float32)
    slope = Function(_softplus).slope(points)
    assert slope.dtype == np.float32
    np.testing.assert_allclose(slope, 1 / (1 + np.exp(-points)), rtol=1e-5)


def test_callables_become_functions_and_have_names():
    assert isinstance(Pointwise(np.sin).function, Function)
    assert repr(Pointwise(arctan)) == "Pointwise(function=arctan, linear=Identity())"
    assert "_softplus" in repr(Function(_softplus))


def test_wind_speed_at_zero_wind():
    operator, calm = WindSpeed(EVEN, ODD), np.zeros((2, STATE))
    np.testing.assert_array_equal(operator(calm), np.zeros((2, 3)))
    np.testing.assert_array_equal(operator.adjoint(calm, np.ones((2, 3))), np.zeros((2, STATE)))
    np.testing.assert_array_equal(operator.tangent(calm, np.ones((2, STATE))), np.zeros((2, 3)))


def test_wind_speed_of_three_and_four():
    assert WindSpeed(Select((0,)), Select((1,)))(np.array([3.0, -4.0])).tolist() == [5.0]


# --- error laws ------------------------------------------------------------------------------------------

FULL = np.array([[2.0, 0.6, 0.1], [0.6, 1.0, -0.2], [0.1, -0.2, 0.5]])
LAWS = {
    "number": (Gaussian(0.7), 0.49 * np.eye(3)),
    "vector": (Gaussian(np.array([0.5, 1.0, 2.0])), np.diag([0.25, 1.0, 4.0])),
    "correlated": (Correlated(FULL), FULL),
}
every_law = pytest.mark.parametrize(("law", "covariance"), LAWS.values(), ids=LAWS)


@every_law
def test_score_of_the_error_law_is_the_gradient_of_its_log_density(law, covariance, rng):
    value, predicted, step = rng.standard_normal(3), rng.standard_normal((2, 3)), 1e-5
    score = law.score(value, predicted)
    for k, shift in enumerate(step * np.eye(3)):
        ahead, behind = law.log_density(value, predicted + shift), law.log_density(value, predicted - shift)
        np.testing.assert_allclose(score[:, k], (ahead - behind) / (2 * step), rtol=1e-6)


@every_law
def test_log_density_is_gaussian_up_to_a_constant(law, covariance, rng):
    value, predicted = rng.standard_normal(3), rng.standard_normal((5, 3))
    expected = np.array([multivariate_normal.logpdf(value, mean, covariance) for mean in predicted])
    difference = law.log_density(value, predicted) - expected
    np.testing.assert_allclose(difference, difference[0], rtol=1e-12)


@every_law
def test_draws_have_the_covariance(law, covariance, rng):
    count = 40000
    drawn = law.draw(np.tile([1.0, 2.0, 3.0], (count, 1)), rng)
    np.testing.assert_allclose(drawn.mean(axis=0), [1, 2, 3], atol=5 * np.sqrt(covariance.max() / count))
    np.testing.assert_allclose(np.cov(drawn.T), covariance, atol=7 * covariance.max() / np.sqrt(count))


@every_law
def test_whitened_residuals_measure_the_same_distance(law, covariance, rng):
    residuals = rng.standard_normal((2, 5, 3))
    inverse = np.linalg.inv(covariance)
    white = law.whiten(residuals)
    np.testing.assert_allclose((white**2).sum(-1), np.einsum("...i,ij,...j", residuals, inverse, residuals), rtol=1e-12)
    np.testing.assert_allclose(law.weigh(residuals), residuals @ inverse, rtol=1e-12)


@every_law
def test_covariance_and_standard_deviation(law, covariance):
    np.testing.assert_allclose(law.covariance(np.zeros(3)), covariance, rtol=1e-12)
    np.testing.assert_allclose(law.standard_deviation(np.zeros(3)), np.sqrt(np.diag(covariance)), rtol=1e-12)


@every_law
def test_error_laws_stay_on_their_device_with_their_dtype(law, covariance, backend, rng):
    inner = "matrix" if isinstance(law, Correlated) else "deviation"
    held = getattr(law, inner)
    there = type(law)(held if isinstance(held, float) else backend.array(held))
    value, predicted = backend.array(rng.standard_normal(3)), backend.array(rng.standard_normal((4, 3)))
    results = there.score(value, predicted), there.whiten(predicted), there.draw(predicted, rng)
    assert all(backend.owns(result) for result in results)
    assert all(backend.owns(result) for result in (there.covariance(value), there.standard_deviation(value)))
    assert backend.owns(there.log_density(value, predicted))
    expected = law.score(to_numpy(value).astype(float), to_numpy(predicted).astype(float))
    np.testing.assert_allclose(to_numpy(results[0]), expected, rtol=1e-3, atol=10 * backend.tolerance)


@every_law
def test_float64_errors_keep_float32(law, covariance, rng):
    value = rng.standard_normal(3).astype(np.float32)
    assert law.score(value, value).dtype == law.draw(value, rng).dtype == np.float32


# --- the record ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (0.0, "error number 0 is 0.0: give a positive"),
        (-1.0, "error number 0 is -1.0"),
        (float("nan"), "observation error is nan"),
        (float("inf"), "error number 0 is inf"),
        (np.array([1.0, 0.5, 0.0]), "error number 2 is 0.0"),
        (np.ones(2), r"shape \(2,\) but there are 3 observations"),
        ([1.0, 1.0], "give one number, or an array"),
        (["1", "2", "3"], "observation error has dtype <U1: give numbers, not text"),
        (np.float32(-2), "error number 0 is -2.0"),
        (Correlated(np.eye(2)), r"shape \(2, 2\): give \(3, 3\)"),
        (Correlated(np.diag([1.0, 1.0, -1.0])), "not symmetric positive definite"),
        (Correlated(np.triu(np.ones((3, 3)))), "not symmetric positive definite"),
        (Correlated(1e-9 * (np.eye(3) + np.triu(np.ones((3, 3)), 1))), "not symmetric positive definite"),
    ],
)
def test_bad_errors_are_refused(error, sentence):
    with pytest.raises(ValueError, match=sentence):
        Observation(np.zeros(3), Identity(), error)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (np.zeros((3, 1)), r"shape \(3, 1\): give one dimension"),
        (1.0, r"shape \(\): give one dimension"),
        (np.ones(3, dtype=np.float16), "dtype float16: give float32 or float64"),
        (np.ones(3, dtype=bool), "dtype bool: give 1.0 for yes"),
        (["a", "b"], "give numbers, not text"),
        ([1.0, None, 2.0], "dtype object: give numbers, and NaN where one is missing"),
        ([1.0, 2.0j], "dtype complex128: give the real or the imaginary part"),
        ([[1.0, 2.0], [3.0]], "rows of equal length"),
        (np.array([0.0, -np.inf, 1]), "observation 1 is infinite"),
    ],
)
def test_bad_values_are_refused(value, sentence):
    with pytest.raises(ValueError, match=sentence):
        Observation(value, Identity(), 1.0)


def test_positions_must_fit():
    with pytest.raises(ValueError, match=r"3 observations but positions of shape \(2, 1\)"):
        Observation(np.zeros(3), Identity(), 1.0, np.zeros((2, 1)))


def test_numpy_scalars_and_single_numbers_are_one_error_for_all():
    for error in (2, 2.0, np.float64(2), np.float32(2), np.array(2.0)):
        observation = Observation(np.array([1.0, np.nan, 3.0]), Identity(), error).present()
        assert observation.score(np.zeros(3)).tolist() == [0.25, 0, 0.75]


def errors(count):
    root = np.random.default_rng(3).standard_normal((count, count))
    return {
        "number": 0.7,
        "vector": np.linspace(0.5, 2, count),
        "correlated": Correlated(root @ root.T + count * np.eye(count)),
    }


@every_operator
@pytest.mark.parametrize("kind", ["number", "vector", "correlated"])
def test_missing_values_give_the_smaller_problem(operator, kind, states, rng):
    """With NaN: the likelihood of the other observations, computed here with explicit rows and sub-matrices."""
    predicted = operator(states)
    count = predicted.shape[-1]
    value = predicted[0, 0] + rng.standard_normal(count)
    keep = np.delete(np.arange(count), [0, count - 1])
    value[[0, -1]] = np.nan
    observation = Observation(value, operator, errors(count)[kind], position=np.arange(count, dtype=float)[:, None])
    present = observation.present()
    inverse = np.linalg.inv(observation.law.covariance(np.zeros(count))[np.ix_(keep, keep)])
    residuals = value[keep] - predicted[..., keep]
    weighed = np.zeros_like(predicted)
    weighed[..., keep] = residuals @ inverse

    assert present.size == len(keep)
    np.testing.assert_array_equal(present.position[:, 0], keep)
    np.testing.assert_allclose(present.operator(states), predicted[..., keep], rtol=1e-13)
    likelihood = -0.5 * np.einsum("...i,ij,...j", residuals, inverse, residuals)
    np.testing.assert_allclose(present.log_likelihood(states), likelihood, rtol=1e-10)
    np.testing.assert_allclose(present.score(states), operator.adjoint(states, weighed), rtol=1e-8, atol=1e-10)
    directions = rng.standard_normal(states.shape)
    expected = operator.tangent(states, directions)[..., keep]
    np.testing.assert_allclose(present.operator.tangent(states, directions), expected, rtol=1e-8, atol=1e-10)


@every_portable_operator
def test_missing_values_on_every_backend(operator, backend, states):
    predicted = operator(states)
    value = predicted[0, 0].copy()
    value[1] = np.nan
    error = np.linspace(0.5, 2, len(value))
    there = Observation(backend.array(value), operator, backend.array(error)).present()
    score = there.score(backend.array(states))
    assert there.size == len(value) - 1 and backend.owns(score)
    expected = Observation(value, operator, error).present().score(states)
    np.testing.assert_allclose(to_numpy(score), expected, rtol=1e-3, atol=100 * backend.tolerance)


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        (Identity(), Select),
        (Select((5, 3, 1)), Select),
        (Linear(MATRIX), Linear),
        (Linear(SPARSE), Linear),
        (Pointwise(arctan), Pointwise),
        (WindSpeed(EVEN, ODD), WindSpeed),
    ],
)
def test_operators_keep_their_class_when_values_are_missing(operator, kind, states):
    value = operator(states[0, 0])
    value[1] = np.nan
    assert type(Observation(value, operator, 1.0).present().operator) is kind


def test_nothing_missing_nothing_new():
    observation = Observation(np.zeros(3), Identity(), 1.0)
    assert observation.present() is observation and observation.present(np.float64) is observation


def test_present_in_another_dtype():
    observation = Observation(np.array([0.0, np.nan, 1.0]), Identity(), np.ones(3))
    assert observation.present(np.float32).value.dtype == np.float32
    assert observation.present(np.float32).score(np.zeros((2, 3), np.float32)).dtype == np.float32
    whole = Observation(np.zeros(3), Identity(), 1.0).present(np.float32)
    assert whole.value.dtype == np.float32 and whole.size == 3


def test_everything_missing():
    assert Observation(np.full(3, np.nan), Identity(), 1.0).present().size == 0


def test_observation_score_is_the_gradient_of_its_log_likelihood(states):
    operator = Pointwise(cube, Linear(MATRIX))
    observation = Observation(np.ones(4), operator, Correlated(errors(4)["correlated"].matrix))
    score, step = observation.score(states), 1e-6
    for k, shift in enumerate(step * np.eye(STATE)):
        ahead, behind = observation.log_likelihood(states + shift), observation.log_likelihood(states - shift)
        np.testing.assert_allclose(score[..., k], (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-4)


def test_kinds_go_with_their_observations():
    observation = Observation(np.array([1.0, np.nan, 3.0]), Select((0, 1, 2)), 0.5, kind=["t", "t", "q"])
    assert observation.present().kind.tolist() == ["t", "q"]
    assert observation.restrict(np.array([2, 0])).kind.tolist() == ["q", "t"]
    with pytest.raises(ValueError, match="3 observations but kinds of shape"):
        Observation(np.ones(3), Select((0, 1, 2)), 0.5, kind=["t"])
