"""The likelihood in pieces: linear problems are not changed by it, nonlinear ones come nearer to the posterior."""

import math

import array_api_strict as strict
import numpy as np
import pytest
from exact import scalar_posterior
from rows import Keep
from scipy import stats

from ensf.arrays import to_numpy
from ensf.filters import ETKF, LETKF, LETSF, Analysis, EnKF
from ensf.localization import InformationLimit, periodic_line
from ensf.observations import (
    Censored,
    Correlated,
    Gaussian,
    Identity,
    Laplace,
    Linear,
    Observation,
    Pointwise,
    Poisson,
    Select,
    Simulated,
    StudentT,
    Threshold,
    absolute,
    arctan,
    square,
)
from ensf.wrappers import AdaptiveInflation, Rotation, Tempered
from ensf.wrappers.tempered import tempering

SIZE = 12
LINE = periodic_line(SIZE, half_width=2.5)


@pytest.fixture
def prior(rng):
    return 1 + rng.standard_normal((8, SIZE)) @ rng.standard_normal((SIZE, SIZE)) / 3


def linear(rng, count=9, error=None):
    value = rng.standard_normal(count)
    error = rng.uniform(0.05, 2, count) if error is None else error
    return Observation(value, Linear(rng.standard_normal((count, SIZE))), error, rng.uniform(0, SIZE, (count, 1)))


def analyse(method, prior, observation, seed=1):
    return method.analyse(prior, observation, np.random.default_rng(seed))


# --- weights ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [0.0, 1e-300, 1e-12, 1.0, 1e3, 1e12, 1e300, math.inf])
@pytest.mark.parametrize("pieces", [1, 2, 4, 30])
def test_weights_are_positive_and_sum_to_one(pieces, ratio):
    weights = tempering(pieces, ratio)
    assert weights.shape == (pieces,) and (weights > 0).all()
    assert weights.sum() == pytest.approx(1, abs=1e-12)


def test_weights_are_equal_without_information_and_geometric_with_much():
    np.testing.assert_allclose(tempering(4, 0.0), 0.25)
    np.testing.assert_allclose(tempering(4, 1e-9), 0.25, rtol=1e-8)
    weights = tempering(4, 1e8)
    np.testing.assert_allclose(weights[1:] / weights[:-1], 100.0, rtol=0.02)


def test_every_piece_takes_an_equal_part_of_the_information():
    ratio, precision = 37.0, 1.0
    shrunk = []
    for weight in tempering(5, ratio):
        shrunk.append(1 + weight * ratio / precision)
        precision *= shrunk[-1]
    np.testing.assert_allclose(shrunk, 38 ** (1 / 5))


def test_the_widest_ensemble_beside_its_error_sets_the_weights():
    members = np.array([[1.0, 2.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, -2.0]])
    precisions = []

    class Looking:
        def analyse(self, prior, observation, rng, memory=None, positions=None):
            precisions.append(observation.law.standard_deviation(observation.value) ** -2.0)
            return Analysis(prior)

    analyse(Tempered(Looking(), 3), members, Observation(np.zeros(2), Identity(), np.array([0.2, 0.5])))
    np.testing.assert_allclose(precisions, np.outer(tempering(3, 4 / 3 / 0.2**2), [0.2**-2, 0.5**-2]))


def test_no_piece_is_refused():
    with pytest.raises(ValueError, match="cut into 0 pieces: give a whole number, 1 or more"):
        Tempered(ETKF(), 0)


# --- linear and Gaussian ---------------------------------------------------------------------------------

EXACT = {
    "ETKF": ETKF(),
    "LETSF": LETSF(),
    "LETKF everywhere": LETKF(periodic_line(SIZE, half_width=math.inf)),
}


@pytest.mark.parametrize("method", EXACT.values(), ids=EXACT)
@pytest.mark.parametrize("pieces", [1, 2, 4, 9])
def test_linear_observations_in_pieces_are_the_analysis(method, pieces, prior, rng):
    observation = linear(rng)
    wanted = analyse(method, prior, observation).ensemble
    np.testing.assert_allclose(analyse(Tempered(method, pieces), prior, observation).ensemble, wanted, atol=1e-10)


def test_correlated_errors_in_pieces_are_the_analysis(prior, rng):
    covariance = 0.3 * np.exp(-0.5 * np.abs(np.subtract.outer(np.arange(9), np.arange(9))))
    observation = linear(rng, error=Correlated(covariance))
    wanted = analyse(ETKF(), prior, observation).ensemble
    np.testing.assert_allclose(analyse(Tempered(ETKF(), 5), prior, observation).ensemble, wanted, atol=1e-10)


@pytest.mark.parametrize("method", [LETKF, LETSF])
def test_patches_that_do_not_overlap_are_the_analysis(method, prior, rng):
    alone = method(periodic_line(SIZE, half_width=0.5))
    observation = Observation(rng.standard_normal(SIZE), Identity(), 0.3)
    wanted = analyse(alone, prior, observation).ensemble
    np.testing.assert_allclose(analyse(Tempered(alone, 4), prior, observation).ensemble, wanted, atol=1e-10)


def test_patches_that_overlap_are_nearly_the_analysis(rng):
    """A piece sees neighbours as their own patches left them, so LETKF in pieces is not LETKF to the last digit."""
    smooth = np.exp(-0.1 * np.subtract.outer(np.arange(40), np.arange(40)) ** 2) + 1e-6 * np.eye(40)
    prior = rng.standard_normal((30, 40)) @ np.linalg.cholesky(smooth).T
    letkf, observation = LETKF(periodic_line(40, half_width=7.3)), Observation(rng.standard_normal(40), Identity(), 1.0)
    wanted = analyse(letkf, prior, observation).ensemble
    found = analyse(Tempered(letkf, 4), prior, observation).ensemble
    assert 0 < np.abs(found - wanted).mean() < 0.1 * np.abs(wanted - prior).mean()


def test_the_stochastic_filter_in_pieces_has_the_kalman_moments(rng):
    members, error = 20_000, 0.7
    prior = 1 + 2 * rng.standard_normal((members, 1))
    mean, variance = prior.mean(), prior.var(ddof=1)
    found = analyse(Tempered(EnKF(), 4), prior, Observation(np.array([3.0]), Identity(), error)).ensemble
    gain = variance / (variance + error**2)
    assert found.mean() == pytest.approx(mean + gain * (3 - mean), abs=0.01)
    assert found.var(ddof=1) == pytest.approx((1 - gain) * variance, rel=0.05)


# --- nonlinear -------------------------------------------------------------------------------------------

# function, value, prior mean, prior deviation, error: one mode, far from linear over the prior
CURVED = [(arctan, 1.2, 0.5, 1.0, 0.1), (square, 9.0, 2.0, 0.6, 0.5), (absolute, 2.0, 1.0, 0.6, 0.3)]


def members_of(mean, deviation, count=400):
    quantiles = stats.norm.ppf((np.arange(count) + 0.5) / count)
    return mean + deviation * (quantiles / quantiles.std(ddof=1))[:, None]


def distance(function, value, mean, deviation, error, pieces):
    """Error of the posterior mean, in posterior standard deviations."""
    centre, variance = scalar_posterior(
        lambda x: -0.5 * ((value - function(x)) / error) ** 2 - 0.5 * ((x - mean) / deviation) ** 2,
        mean - 8 * deviation,
        mean + 8 * deviation,
    )
    observation = Observation(np.array([value]), Pointwise(function), error)
    found = analyse(Tempered(ETKF(), pieces), members_of(mean, deviation), observation).ensemble
    return abs(found.mean() - centre) / math.sqrt(variance)


@pytest.mark.parametrize("case", CURVED, ids=lambda case: case[0].name if hasattr(case[0], "name") else str(case[0]))
def test_more_pieces_come_nearer_to_the_posterior(case):
    once, some, many = (distance(*case, pieces) for pieces in (1, 4, 32))
    assert many < 0.5 * once and some < once


# --- tempered laws ---------------------------------------------------------------------------------------

VECTOR = np.linspace(0.4, 0.8, 5)
LAWS = {
    "Gaussian": (Gaussian(VECTOR), np.linspace(-1, 1, 5)),
    "Gaussian number": (Gaussian(0.5), np.linspace(-1, 1, 5)),
    "Laplace": (Laplace(VECTOR), np.linspace(-1, 1, 5)),
    "StudentT": (StudentT(VECTOR, 5), np.linspace(-1, 1, 5)),
    "Poisson": (Poisson(), np.array([0.0, 1.0, 2.0, 5.0, 9.0])),
    "Censored": (Censored(VECTOR, low=-0.5, high=0.5), np.array([-0.5, -0.2, 0.0, 0.3, 0.5])),
    "Threshold": (Threshold(VECTOR, level=0.3), np.array([0.0, 1.0, 0.0, 1.0, 1.0])),
    "Correlated": (Correlated(np.diag(VECTOR**2) + 0.05), np.linspace(-1, 1, 5)),
}
every_law = pytest.mark.parametrize(("law", "value"), LAWS.values(), ids=LAWS)


@every_law
def test_a_tempered_density_is_the_weighted_one(law, value, rng):
    predicted = rng.uniform(0.2, 2, (3, 5))
    tempered = law.tempered(0.3)
    np.testing.assert_allclose(tempered.log_density(value, predicted), 0.3 * law.log_density(value, predicted))
    np.testing.assert_allclose(tempered.score(value, predicted), 0.3 * law.score(value, predicted))
    twice = tempered.tempered(0.5)
    np.testing.assert_allclose(twice.log_density(value, predicted), 0.15 * law.log_density(value, predicted))
    np.testing.assert_allclose(tempered.standard_deviation(value), law.standard_deviation(value) / math.sqrt(0.3))


@every_law
def test_the_pieces_together_are_the_law(law, value, rng):
    predicted = rng.uniform(0.2, 2, 5)
    parts = [law.tempered(weight).log_density(value, predicted) for weight in tempering(4, 20.0)]
    assert sum(parts) == pytest.approx(law.log_density(value, predicted))


@every_law
def test_a_tempered_law_is_restricted_like_the_law(law, value, rng):
    index, predicted = np.array([3, 0]), rng.uniform(0.2, 2, 2)
    found = law.tempered(0.3).restrict(index).log_density(value[index], predicted)
    np.testing.assert_allclose(found, 0.3 * law.restrict(index).log_density(value[index], predicted))


@pytest.mark.parametrize("name", sorted(set(LAWS) - {"Correlated"}))
def test_a_tempered_law_serves_columns(name, rng):
    law, value = LAWS[name]
    predicted = rng.uniform(0.2, 2, (5, 7))
    found = law.tempered(0.3).column().each(value[:, None], predicted)
    np.testing.assert_allclose(found, 0.3 * law.column().each(value[:, None], predicted))
    assert found.shape == (5, 7)


@every_law
def test_a_tempered_law_checks_what_the_law_checks(law, value):
    law.tempered(0.3).check(value)


@pytest.mark.parametrize(
    ("law", "value", "words"),
    [
        (Laplace(VECTOR), np.zeros(4), "error has shape"),
        (Poisson(), np.array([1.0, -1.0]), "a count is zero or more"),
        (Correlated(np.eye(3)), np.zeros(4), "covariance has shape"),
    ],
)
def test_a_tempered_law_refuses_what_the_law_refuses(law, value, words):
    with pytest.raises(ValueError, match=words):
        law.tempered(0.3).check(value)


@pytest.mark.parametrize("name", ["Laplace", "StudentT", "Poisson", "Censored", "Threshold"])
def test_other_laws_in_pieces_are_analysed_by_letsf(name, rng):
    law, value = LAWS[name]
    prior = rng.uniform(0.5, 3, (20, 5))
    whole, pieces = (analyse(m, prior, Observation(value, Identity(), law)).ensemble for m in (LETSF(), _pieces()))
    assert np.abs(pieces - whole).mean() < 0.2 * np.abs(whole - prior).mean()


def _pieces():
    return Tempered(LETSF(steps=2), 3)


# --- what else comes in, what comes out ------------------------------------------------------------------


def test_missing_observations_are_left_out(prior, rng):
    value = rng.standard_normal(SIZE)
    value[[1, 5]] = np.nan
    keep = np.flatnonzero(~np.isnan(value))
    found = analyse(Tempered(LETSF(LINE), 3), prior, Observation(value, Pointwise(arctan), np.full(SIZE, 0.2)))
    smaller = Observation(value[keep], Pointwise(arctan, Select(keep)), 0.2)
    np.testing.assert_allclose(found.ensemble, analyse(Tempered(LETSF(LINE), 3), prior, smaller).ensemble, atol=1e-12)


def test_nothing_observed_returns_the_prior_and_the_memory(prior):
    nothing = Observation(np.full(SIZE, np.nan), Identity(), 1.0)
    analysis = Tempered(Keep()).analyse(prior, nothing, np.random.default_rng(1), memory="kept")
    assert analysis.ensemble is prior and analysis.memory == "kept"


def test_memory_goes_from_piece_to_piece(prior, rng):
    counted = analyse(Tempered(_Counting(), 5), prior, linear(rng))
    assert counted.memory == 5 and "degrees_of_freedom" not in counted.info


class _Counting:
    def analyse(self, prior, observation, rng, memory=None, positions=None):
        return Analysis(prior, (memory or 0) + 1)


def test_degrees_of_freedom_are_those_of_all_pieces(prior, rng):
    observation = linear(rng)
    whole = analyse(ETKF(), prior, observation).info["degrees_of_freedom"]
    one = analyse(Tempered(ETKF(), 1), prior, observation).info["degrees_of_freedom"]
    four = analyse(Tempered(ETKF(), 4), prior, observation).info["degrees_of_freedom"]
    assert one == pytest.approx(whole, rel=1e-10) and whole < four < 4 * whole


@pytest.mark.parametrize("inner", [ETKF(), LETKF(LINE), LETSF(LINE, information_limit=InformationLimit()), EnKF()])
@pytest.mark.parametrize("operator", [Identity(), Pointwise(arctan)])
def test_every_backend_and_dtype(inner, operator, backend, prior, rng):
    observation = Observation(backend.array(rng.standard_normal(SIZE)), operator, 0.5)
    analysis = analyse(Tempered(inner, 3), backend.array(prior), observation)
    assert backend.owns(analysis.ensemble) and np.isfinite(to_numpy(analysis.ensemble)).all()


@pytest.mark.parametrize("law", [Laplace(0.5), Gaussian(np.full(SIZE, 0.5)), Correlated(0.25 * np.eye(SIZE))])
@pytest.mark.parametrize("device", ["numpy", "no_float64"])
def test_single_precision_stays(law, device, prior, rng):
    if device == "numpy":
        values = prior.astype(np.float32), rng.standard_normal(SIZE).astype(np.float32)
    else:
        here = {"dtype": strict.float32, "device": strict.Device("no_float64")}
        values = strict.asarray(prior, **here), strict.asarray(rng.standard_normal(SIZE), **here)
        if isinstance(law, Correlated):
            law = Correlated(0.25 * strict.eye(SIZE, **here))
        elif not isinstance(law.deviation, float):
            law = Gaussian(strict.asarray(law.deviation, **here))
    method = ETKF() if isinstance(law, Correlated) else LETSF(LINE)
    ensemble = analyse(Tempered(method, 3), values[0], Observation(values[1], Identity(), law)).ensemble
    assert "float32" in str(ensemble.dtype)


def test_it_takes_its_place_among_wrappers(prior, rng):
    method = AdaptiveInflation(Rotation(Tempered(LETSF(LINE, steps=1), 3)), LINE)
    observation = Observation(rng.standard_normal(SIZE), Pointwise(arctan), 0.2)
    first = analyse(method, prior, observation)
    second = method.analyse(first.ensemble, observation, np.random.default_rng(2), first.memory)
    assert np.isfinite(second.ensemble).all() and set(second.info) == {"degrees_of_freedom", "inflation"}


def test_what_does_not_fit_is_refused(prior):
    with pytest.raises(ValueError, match="predicts 12 observations but 4 values"):
        analyse(Tempered(ETKF()), prior, Observation(np.zeros(4), Identity(), 1.0))
    infinite = Observation(np.zeros(SIZE), Pointwise(lambda x: math.inf * x), 1.0)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="observation 0 of member 0 is predicted as"):
        analyse(Tempered(ETKF()), prior, infinite)


def test_a_simulation_that_failed_has_no_say_in_the_weights():
    predicted = np.random.default_rng(1).standard_normal((30, 4))
    seen = Observation(np.ones(4), Simulated(), 0.3)
    method = Tempered(EnKF(), 4)
    wanted = method.weights(np.delete(predicted, 2, axis=0), seen)
    predicted[2] = np.nan
    assert method.weights(predicted, seen) == wanted and wanted[0] < 0.1
