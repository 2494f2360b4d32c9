"""Error laws with a parameter for each observation: density, derivative, draws, and parts of each."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate

from ensf.arrays import to_numpy
from ensf.observations import (
    Censored,
    Contaminated,
    Correlated,
    Gaussian,
    Identity,
    JoinedLaw,
    Laplace,
    Lognormal,
    Observation,
    Poisson,
    Proportional,
    StudentT,
    Threshold,
)

DEVIATION = np.array([0.5, 1.0, 2.0, 0.3])
LOW = np.array([-1.0, -np.inf, 0.2, -0.5])
HIGH = np.array([1.0, 0.4, np.inf, 0.5])
FULL = np.diag(DEVIATION**2) + 0.05

# name: law, and values that it may report
LAWS = {
    "Gaussian": (Gaussian(DEVIATION), np.array([0.3, -1.0, 2.0, 0.1])),
    "Laplace": (Laplace(DEVIATION), np.array([0.3, -1.0, 2.0, 0.1])),
    "StudentT": (StudentT(DEVIATION, np.array([2.5, 4.0, 9.0, 30.0])), np.array([0.3, -1.0, 2.0, 0.1])),
    "StudentT, one freedom": (StudentT(DEVIATION, 5), np.array([0.3, -1.0, 2.0, 0.1])),
    "Poisson": (Poisson(), np.array([0.0, 1.0, 3.0, 8.0])),
    "Censored": (Censored(DEVIATION, LOW, HIGH), np.array([-1.0, 0.4, 0.2, 0.1])),
    "Censored above": (Censored(0.7, high=HIGH), np.array([1.0, 0.4, 7.0, 0.1])),
    "Threshold": (Threshold(DEVIATION, np.array([0.0, 1.0, -1.0, 0.2])), np.array([0.0, 1.0, 1.0, 0.0])),
    "Contaminated": (Contaminated(DEVIATION, np.array([0.05, 0.1, 0.5, 0.01]), 10.0), np.array([0.3, -1.0, 9.0, 0.1])),
    "Proportional": (Proportional(DEVIATION, np.array([0.1, 0.5, 2.0, 0.01])), np.array([0.3, -1.0, 2.0, 0.1])),
    "Lognormal": (Lognormal(DEVIATION), np.array([0.3, 1.0, 2.0, 0.1])),
    "Joined": (
        JoinedLaw(
            (Threshold(DEVIATION[[3]], 0.4), StudentT(DEVIATION[[1, 0]], np.array([3.0, 4.0])), Lognormal(2.0)),
            ((3,), (1, 0), (2,)),
        ),
        np.array([0.3, -1.0, 2.0, 1.0]),
    ),
    "tempered Joined": (
        JoinedLaw((Gaussian(DEVIATION[:3]), Threshold(0.7, np.array([0.3]))), ((0, 1, 2), (3,))).tempered(0.3),
        np.array([0.3, -1.0, 2.0, 1.0]),
    ),
    "tempered StudentT": (StudentT(DEVIATION, 5).tempered(0.3), np.array([0.3, -1.0, 2.0, 0.1])),
    "tempered Censored": (Censored(DEVIATION, LOW, HIGH).tempered(0.3), np.array([-1.0, 0.4, 0.2, 0.1])),
}
every_law = pytest.mark.parametrize("name", LAWS)


@pytest.fixture
def predicted(rng):
    return rng.uniform(0.3, 2.5, (5, 4))


def scalar(law, k):
    """The law of one observation, with numbers for parameters."""
    one = law.restrict(np.array([k]))
    if hasattr(one, "part"):
        return scalar(one.law, 0).tempered(one.part)
    return type(one)(*(np.ravel(number)[0] for number in one._parameters.values()))


@every_law
def test_an_array_of_parameters_is_a_law_for_each_observation(name, predicted):
    law, value = LAWS[name]
    law.check(value)
    for k in range(4):
        one = scalar(law, k)
        here = value[k : k + 1], predicted[:, k : k + 1]
        np.testing.assert_allclose(law.each(value, predicted)[:, k : k + 1], one.each(*here), rtol=1e-12)
        np.testing.assert_allclose(law.score(value, predicted)[:, k : k + 1], one.score(*here), rtol=1e-12)
        assert law.standard_deviation(value)[k] == one.standard_deviation(here[0])[0]


@every_law
def test_score_is_the_derivative(name, predicted):
    (law, value), step = LAWS[name], 1e-6
    slope = (law.each(value, predicted + step) - law.each(value, predicted - step)) / (2 * step)
    np.testing.assert_allclose(law.score(value, predicted), slope, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(law.log_density(value, predicted), law.each(value, predicted).sum(-1), rtol=1e-12)


@every_law
def test_columns_parts_and_weights(name, predicted):
    law, value = LAWS[name]
    whole, index = law.each(value, predicted), np.array([3, 0, 0])
    np.testing.assert_allclose(law.column().each(value[:, None], predicted.T), whole.T, rtol=1e-13)
    np.testing.assert_array_equal(law.restrict(index).each(value[index], predicted[:, index]), whole[:, index])
    np.testing.assert_allclose(law.tempered(0.25).each(value, predicted), 0.25 * whole, rtol=1e-12)
    both = law.tempered(0.25).restrict(index).column().each(value[index, None], predicted[:, index].T)
    np.testing.assert_allclose(both, 0.25 * whole[:, index].T, rtol=1e-12)
    np.testing.assert_allclose(law.tempered(0.25).standard_deviation(value), 2 * law.standard_deviation(value))


@every_law
def test_every_backend_agrees(name, predicted, backend):
    law, value = LAWS[name]
    there = backend.array(value), backend.array(predicted)
    for verb in ("each", "score", "log_density"):
        result = getattr(law, verb)(*there)
        assert backend.owns(result)
        np.testing.assert_allclose(to_numpy(result), getattr(law, verb)(value, predicted), rtol=1e-3, atol=1e-3)
    assert backend.owns(law.standard_deviation(there[0]))


def test_draws_of_several_laws_are_those_of_each(rng):
    law = JoinedLaw((Threshold(1.0, 0.5), Lognormal(0.2), Gaussian(0.5)), ((2,), (0, 3), (1,)))
    drawn = law.draw(np.tile([1.0, 2.0, 0.5, 4.0], (50_000, 1)), rng)
    np.testing.assert_allclose(drawn.mean(axis=0), [np.exp(0.02), 2.0, 0.5, 4 * np.exp(0.02)], rtol=0.01)
    assert set(np.unique(drawn[:, 2])) == {0.0, 1.0}


@pytest.mark.parametrize("name", ["Contaminated", "Proportional", "Lognormal"])
def test_draws_have_the_density(name, rng):
    """As a distribution of y, with what depends on the prediction: quantiles against the integral."""
    law, predicted = LAWS[name][0], np.array([1.0, 0.7, 2.0, 0.5])
    drawn = law.draw(np.tile(predicted, (100_000, 1)), rng)
    for k in range(4):
        one, h = scalar(law, k), predicted[k : k + 1]

        def density(y, one=one, h=h):
            jacobian = y if name == "Lognormal" else 1.0
            return math.exp(one.each(np.array([y]), h)[0]) / jacobian

        low, middle, high = np.quantile(drawn[:, k], [0.02, 0.5, 0.98])
        halves = [integrate.quad(density, a, b, limit=200)[0] for a, b in ((low, middle), (middle, high))]
        assert halves[0] == pytest.approx(halves[1], rel=0.05)
        quarter = np.quantile(drawn[:, k], 0.25)
        assert integrate.quad(density, low, quarter, limit=200)[0] / halves[0] == pytest.approx(0.23 / 0.48, abs=0.02)


@pytest.mark.parametrize("law", [StudentT(1.0, 3), Contaminated(1.0), Contaminated(1.0).tempered(0.3)])
def test_the_weight_of_what_is_far_off_falls(law):
    """Beside the pull of an observation that agrees, the same deviation away."""
    residual = np.array([1e-6, 1.0, 4.0, 30.0])
    weight, pull = law.weight(residual, np.zeros(4)), law.score(residual, np.zeros(4)) / residual
    assert (np.diff(weight) < 0).all() and weight[0] > 0.98 and weight[3] < 0.01
    np.testing.assert_allclose(weight / weight[0], pull / pull[0], atol=0.011)


def test_the_weight_of_several_laws():
    law = JoinedLaw((Gaussian(1.0), StudentT(1.0, 3)), ((1,), (2, 0)))
    value = np.array([9.0, 9.0, 0.0])
    np.testing.assert_allclose(law.weight(value, np.zeros(3)), [1 / 82, 1, 1])
    assert law.restrict(np.array([1])).weight(value[:1], np.zeros(1)) is None
    assert JoinedLaw((Gaussian(1.0), Threshold(1.0)), ((1,), (2, 0))).weight(np.ones(3), np.zeros(3)) is None


@pytest.mark.parametrize("name", ["Gaussian", "Laplace", "StudentT, one freedom"])
def test_draws_have_the_standard_deviation(name, rng):
    law = LAWS[name][0]
    drawn = law.draw(np.tile([1.0, 2.0, 3.0, 4.0], (200_000, 1)), rng)
    np.testing.assert_allclose(drawn.mean(axis=0), [1, 2, 3, 4], atol=0.02)
    np.testing.assert_allclose(drawn.std(axis=0), DEVIATION, rtol=0.03)


def test_draws_of_student_t_have_its_density(rng):
    """Quantiles against those of the density, for degrees of freedom that are no whole numbers, too."""
    law = StudentT(DEVIATION, np.array([2.5, 4.0, 9.0, 30.0]))
    drawn = law.draw(np.zeros((100_000, 4)), rng)
    for k in range(4):
        one, high = scalar(law, k), float(np.quantile(drawn[:, k], 0.9))

        def density(h, one=one):
            return math.exp(one.each(np.zeros(1), np.array([h]))[0])

        inside = integrate.quad(density, -high, high)[0] / (2 * integrate.quad(density, 0, np.inf)[0])
        assert abs(inside - 0.8) < 0.01


def test_draws_of_counts_limits_and_levels(rng):
    predicted = np.tile([0.5, 1.0, 2.0, 4.0], (100_000, 1))
    counts = Poisson().draw(predicted, rng)
    np.testing.assert_allclose(counts.mean(axis=0), predicted[0], rtol=0.03)
    np.testing.assert_allclose(counts.var(axis=0), predicted[0], rtol=0.05)
    law = Censored(DEVIATION, LOW, HIGH)
    drawn = law.draw(0 * predicted, rng)
    assert (drawn >= LOW).all() and (drawn <= HIGH).all()
    at_low = np.exp(law.each(np.where(np.isfinite(LOW), LOW, np.nan), np.zeros(4)))
    np.testing.assert_allclose((drawn == LOW).mean(axis=0), np.nan_to_num(at_low), atol=0.01)
    yes = LAWS["Threshold"][0].draw(0 * predicted, rng)
    np.testing.assert_allclose(yes.mean(axis=0), np.exp(LAWS["Threshold"][0].each(np.ones(4), np.zeros(4))), atol=0.01)


def test_draws_stay_on_their_device(backend, rng):
    for law, _ in (LAWS[name] for name in LAWS if "tempered" not in name):
        assert backend.owns(law.draw(backend.array(np.ones((3, 4))), rng))


def test_a_tempered_law_says_that_it_cannot_draw(rng):
    with pytest.raises(ValueError, match="no density to draw from"):
        Laplace(1.0).tempered(0.5).draw(np.zeros(2), rng)


def test_gaussian_draws_of_a_tempered_law_are_wider(rng):
    drawn = Gaussian(DEVIATION).tempered(0.25).draw(np.zeros((100_000, 4)), rng)
    np.testing.assert_allclose(drawn.std(axis=0), 2 * DEVIATION, rtol=0.02)


def test_counts_without_density_pull_nowhere():
    np.testing.assert_array_equal(Poisson().score(np.ones(3), np.array([-1.0, 0.0, 0.5])), [0.0, 0.0, 1.0])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: StudentT(1.0, 2), "StudentT has 2 degrees of freedom.*give more than 2"),
        (lambda: StudentT(1.0, np.array([4.0, 1.0])), "StudentT has 1.0 degrees of freedom"),
        (lambda: Censored(1.0, 1.0, 1.0), "range from 1.0 to 1.0: give low below high"),
        (lambda: Censored(1.0, np.array([0.0, 2.0]), 1.0), "range from 2.0 to 1.0"),
        (lambda: Contaminated(1.0, 1.0), "gross_part 1.0: give a probability between 0 and 1"),
        (lambda: Contaminated(1.0, 0.1, 1.0), "widening 1.0: give a number above 1"),
        (lambda: Proportional(1.0, 0.0), "fraction 0.0: give a positive number"),
        (lambda: JoinedLaw((Gaussian(1.0),), ((0,), (1,))), "1 laws but rows for 2"),
        (lambda: JoinedLaw((Gaussian(1.0), Poisson()), ((0,), (2,))), "not every observation once"),
        (lambda: JoinedLaw((Correlated(np.eye(2)),), ((0, 1),)), "laws of independent errors"),
        (lambda: Threshold(1.0, ["a"]), "level of Threshold has dtype <U1: give numbers, not text"),
        (lambda: Gaussian("1"), "observation error has dtype <U1"),
        (lambda: Correlated([["a"]]), "observation covariance has dtype <U1"),
    ],
)
def test_settings_out_of_range_are_refused_when_built(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize(
    ("law", "value", "sentence"),
    [
        (StudentT(1.0, np.array([4.0, 5.0])), np.zeros(3), r"freedom of StudentT has shape \(2,\) but there are 3"),
        (Censored(1.0, np.zeros(2)), np.zeros(3), r"low of Censored has shape \(2,\)"),
        (Threshold(1.0, [np.nan, 1.0]), np.zeros(2), "level of Threshold number 0 is missing"),
        (Threshold(1.0), np.array([0.0, 0.5]), "observation 1 is 0.5: Threshold takes 1"),
        (Poisson(), np.array([1.0, -1.0]), "a count is zero or more"),
        (Lognormal(1.0), np.array([1.0, 0.0]), "observation 1 is 0.0: Lognormal takes positive values"),
        (
            JoinedLaw((Gaussian(1.0), Threshold(1.0)), ((0,), (1, 2))),
            np.zeros(4),
            "rows for 3 observations but there are 4",
        ),
        (
            JoinedLaw((Gaussian(1.0), Threshold(1.0)), ((0,), (1, 2))),
            np.array([0.0, 1.0, 0.5]),
            "of the rows of law 1, Threshold: observation 1 is 0.5",
        ),
        (Laplace(-1.0), np.zeros(2), "observation error number 0 is -1.0"),
    ],
)
def test_parameters_must_fit_the_values(law, value, sentence):
    with pytest.raises(ValueError, match=sentence):
        Observation(value, Identity(), law)


def test_poisson_has_no_deviation():
    with pytest.raises(TypeError):
        Poisson(2.0)
    np.testing.assert_array_equal(Poisson().standard_deviation(np.array([0.0, 1.0, 9.0])), [1.0, 1.0, 3.0])


@pytest.mark.parametrize("law", [Gaussian, Laplace, StudentT, Censored, Threshold, Contaminated])
def test_deviations_as_users_have_them(law):
    masked = np.ma.masked_array([1, 2, 9], [False, False, True])
    observation = Observation([1.0, 0.0, np.nan], Identity(), law(masked)).present()
    np.testing.assert_array_equal(observation.law.deviation, [1.0, 2.0])
    assert law([1, 2]).deviation.dtype == np.float64 and law(2).deviation == law(np.float32(2)).deviation == 2


def test_the_covariance_of_missing_observations_is_not_asked_for():
    matrix = FULL.copy()
    matrix[1], matrix[:, 1] = np.nan, np.nan
    present = Observation([1.0, np.nan, 2.0, 3.0], Identity(), Correlated(matrix)).present()
    keep = [0, 2, 3]
    np.testing.assert_array_equal(present.law.matrix, FULL[np.ix_(keep, keep)])
    with pytest.raises(ValueError, match="not symmetric positive definite"):
        Observation(np.ones(4), Identity(), Correlated(matrix))


def test_short_reprs():
    many = np.linspace(0.5, 2, 1000)
    assert repr(Gaussian(0.5)) == "Gaussian(deviation=0.5)"
    assert repr(StudentT(many, 5)) == "StudentT(deviation=(1000,) float64, 0.5 to 2, freedom=5)"
    assert repr(Poisson()) == "Poisson()"
    assert repr(Correlated(np.eye(300))) == "Correlated((300, 300) float64, 0 to 1)"
    assert len(repr(Laplace(many).tempered(0.5))) < 120


def test_counts_of_a_negative_mean_are_refused():
    with pytest.raises(ValueError, match="Poisson cannot draw an observation of the predicted value -0.5: let"):
        Poisson().draw(np.array([1.0, -0.5]), np.random.default_rng(1))


@pytest.mark.parametrize("law", [Poisson(), Lognormal(0.3)])
@pytest.mark.parametrize("wrong", [-0.5, 0.0, np.nan, np.inf])
def test_what_has_no_density_is_not_drawn(law, wrong, rng):
    with pytest.raises(ValueError, match=f"cannot draw an observation of the predicted value {wrong:g}: let the oper"):
        law.draw(np.array([1.0, wrong]), rng)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@every_law
def test_draws_have_a_finite_density(name, dtype, rng):
    if "tempered" in name:
        return
    law, predicted = LAWS[name][0], rng.uniform(0.01, 30.0, (500, 4)).astype(dtype)
    drawn = law.draw(predicted, rng)
    for value, of in zip(drawn, predicted, strict=True):
        law.check(value)
        assert np.isfinite(law.log_density(value, of))
