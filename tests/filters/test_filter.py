"""The ensemble score filter: published settings give their published gain, consistent settings the Kalman posterior."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, replace
from itertools import product

import array_api_strict as strict
import numpy as np
import pytest
from exact import UnitNoise, kalman_posterior

from ensf.arrays import to_numpy
from ensf.diffusion import (
    ConditionalGuidance,
    DampedGuidance,
    GaussianScore,
    LinearSchedule,
    MiniBatchScore,
    MixtureScore,
    PairedScore,
    ProbabilityFlow,
    ReverseSDE,
    RunningMeanStop,
    StandardisedNoise,
    StandardNoise,
    VariancePreserving,
)
from ensf.diffusion.counted import CountedNormals
from ensf.filters import EnSF, StiffnessWarning, usable
from ensf.observations import (
    Callback,
    Correlated,
    Function,
    Identity,
    Laplace,
    Linear,
    Observation,
    Pointwise,
    Select,
    arctan,
    cube,
)
from ensf.wrappers import SpreadReset, Standardised, published

CONSISTENT = EnSF(schedule=VariancePreserving(0.1, 30.0), score=GaussianScore(), guidance=ConditionalGuidance())


def change(method, **settings):
    return replace(method, **settings)


@pytest.fixture
def prior(rng):
    return rng.standard_normal((20, 6)) * [1, 2, 0.5, 1, 1, 3] + [0, 1, -1, 5, 0, 0]


@pytest.fixture
def observation(prior):
    value = np.arctan(prior[0])
    value[2] = np.nan
    return Observation(value, Pointwise(arctan), np.linspace(0.3, 1, 6))


# --- what the published settings do ----------------------------------------------------------------------

ERRORS = (0.05, 0.1, 0.33, 0.5, 1.0)
WEIGHTS = {
    "legacy, 100 steps": (published("legacy"), (None, 0.367, 0.071, 0.034, 0.009)),
    "legacy, 1000 steps": (
        published("legacy", sampler=ReverseSDE(1000)),
        (0.217, 0.077, 0.009, 0.004, 0.001),
    ),
    "cmame, 500 steps": (published("cmame"), (0.917, 0.761, 0.318, 0.194, 0.067)),
}


def scalar_weight(method, error):
    """How far the analysis mean moves with the observation: 1 = it follows, 0 = it ignores it."""
    prior = np.random.default_rng(1).standard_normal((20, 1))
    prior = (prior - prior.mean()) / prior.std(ddof=1)
    means = [
        method.analyse(prior, Observation(np.array([y]), Identity(), error), np.random.default_rng(2)).ensemble.mean()
        for y in (0.0, 1.0)
    ]
    return means[1] - means[0]


@pytest.mark.parametrize(("method", "weights"), WEIGHTS.values(), ids=WEIGHTS)
def test_weight_of_the_observation(method, weights):
    for error, weight in zip(ERRORS, weights, strict=True):
        if weight is not None:
            assert scalar_weight(method, error) == pytest.approx(weight, abs=0.01)


def test_too_few_steps_warn_with_a_number_that_is_enough(rng):
    prior, method = rng.standard_normal((20, 3)), published("legacy")
    observation = Observation(np.ones(3), Identity(), 0.05)
    with pytest.warns(StiffnessWarning, match="ReverseSDE with 100 steps is unstable.*ConditionalGuidance") as caught:
        unstable = method.analyse(prior, observation, rng).ensemble
    assert caught[0].filename == __file__
    assert np.abs(unstable).max() > 1e10
    enough = int(re.search(r"take (\d+) steps", str(caught[0].message)).group(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stable = change(method, sampler=ReverseSDE(enough)).analyse(prior, observation, rng).ensemble
    assert 100 < enough < 1000 and np.abs(stable).max() < 10


@pytest.mark.parametrize(
    ("operator", "count", "error"),
    [
        (Linear(np.eye(9, 10, 1) - np.eye(9, 10)), 9, 0.1),
        (Linear(np.full((1, 10), 1.0)), 1, 0.1),
        (Select((1, 1, 1, 1)), 4, 0.1),
        (Pointwise(arctan), 10, 0.05),
        (Identity(), 10, Correlated(0.01 * (0.1 * np.eye(10) + 0.9))),
    ],
    ids=["difference", "sum", "repeated", "arctan", "correlated"],
)
@pytest.mark.parametrize("sampler", [ReverseSDE, ProbabilityFlow])
def test_the_number_in_the_warning_is_enough_for_any_operator(sampler, operator, count, error, rng):
    prior = rng.standard_normal((20, 10))
    observation = Observation(np.zeros(count), operator, error)
    with pytest.warns(StiffnessWarning) as caught:
        EnSF(sampler=sampler(30)).analyse(prior, observation, rng)
    enough = int(re.search(r"take (\d+) steps", str(caught[0].message)).group(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stable = EnSF(sampler=sampler(enough)).analyse(prior, observation, rng).ensemble
    assert np.abs(stable).max() < 30


def test_conditional_guidance_does_not_warn(rng):
    prior = rng.standard_normal((20, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        change(CONSISTENT, sampler=ReverseSDE(50)).analyse(prior, Observation(np.ones(3), Identity(), 0.01), rng)


def test_published_settings_have_the_documented_fields():
    legacy, cmame, sqg = (published(name) for name in ("legacy", "cmame", "sqg"))
    assert legacy == EnSF(
        LinearSchedule(0.05, 0.0),
        PairedScore(),
        DampedGuidance(),
        ReverseSDE(100),
        StandardNoise(),
        float("inf"),
    )
    assert cmame == EnSF(
        LinearSchedule(0.5, 0.025),
        PairedScore(),
        DampedGuidance(),
        ReverseSDE(500),
        StandardisedNoise(),
        1000.0,
    )
    rule = RunningMeanStop(window=200, tolerance=0.005, earliest=201, latest=501)
    assert sqg == SpreadReset(Standardised(change(legacy, sampler=ReverseSDE(1000, stop=rule))))
    assert hash(legacy) != hash(cmame) and eval(repr(cmame), globals() | {"inf": float("inf")}) == cmame


def test_published_settings_can_be_changed():
    assert published("cmame", sampler=ReverseSDE(200)).sampler == ReverseSDE(200)
    assert published("sqg", clip=10.0).filter.filter.clip == 10.0


def test_unknown_published_setting_is_refused():
    with pytest.raises(ValueError, match="unknown published setting 'x': choose one of 'legacy', 'cmame', 'sqg'"):
        published("x")


def test_sqg_stops_between_its_bounds(rng):
    prior = rng.standard_normal((20, 6))
    result = published("sqg").analyse(prior, Observation(prior[0], Identity(), 1.0), rng)
    assert 201 <= result.info["steps"] <= 501


def test_standardised_filter_sees_one_standard_deviation(prior, rng):
    """Whatever the units of a variable, the wrapped filter gets the same numbers."""
    unit, offset = np.array([1, 10, 1e3, 1, 1e-3, 1]), np.array([0, 5.0, 0, -3, 0, 1])
    method = Standardised(published("legacy"))
    here = Observation(prior[0], Identity(), 0.5 * prior.std(axis=0))
    there = Observation(unit * prior[0] + offset, Identity(), 0.5 * unit * prior.std(axis=0))
    expected = method.analyse(prior, here, np.random.default_rng(3)).ensemble
    result = method.analyse(unit * prior + offset, there, np.random.default_rng(3)).ensemble
    np.testing.assert_allclose(result, unit * expected + offset, rtol=1e-8)


@pytest.mark.parametrize("guidance", [DampedGuidance(), ConditionalGuidance()])
def test_standardised_filter_works_with_every_operator(guidance, prior, rng):
    method = Standardised(EnSF(guidance=guidance, sampler=ReverseSDE(100)))
    analytic = Observation(np.ones(6), Pointwise(cube), 300.0)
    callback = Observation(np.ones(6), Callback(lambda x: x**3, lambda x, r: 3 * x**2 * r), 300.0)
    results = [method.analyse(prior, o, np.random.default_rng(3)).ensemble for o in (analytic, callback)]
    np.testing.assert_allclose(results[0], results[1], rtol=1e-4, atol=1e-4)


def test_a_variable_without_spread_stays_finite(prior, rng):
    prior[:, 3] = 5.0
    result = Standardised(published("legacy")).analyse(prior, Observation(np.ones(6), Identity(), 1.0), rng)
    assert np.isfinite(result.ensemble).all()


# --- the exact posterior ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class WhiteNoise:
    """Terminal noise whose sample mean is exactly zero and whose sample covariance is exactly one."""

    def draw(self, prior, rng):
        noise = rng.standard_normal(prior.shape)
        left, _, right = np.linalg.svd(noise - noise.mean(axis=0), full_matrices=False)
        return left @ right * np.sqrt(len(noise) - 1)


def linear_problem(state, observed, members, seed):
    """Prior ensemble, observation, and the Kalman posterior of the ensemble's own mean and covariance."""
    rng = np.random.default_rng(seed)
    prior = rng.standard_normal((members, state)) @ rng.standard_normal((state, state)) / np.sqrt(state)
    prior += rng.standard_normal(state)
    matrix, root = rng.standard_normal((observed, state)), rng.standard_normal((observed, observed))
    error = root @ root.T / observed + 0.3 * np.eye(observed)
    value = matrix @ prior.mean(axis=0) + rng.standard_normal(observed)
    posterior = kalman_posterior(prior.mean(axis=0), np.cov(prior.T).reshape(state, state), matrix, error, value)
    return prior, Observation(value, Linear(matrix), Correlated(error)), posterior


@pytest.mark.parametrize(("state", "observed"), [(1, 1), (3, 2), (5, 5), (4, 7)])
@pytest.mark.parametrize(
    ("sampler", "members", "tolerance"), [(ProbabilityFlow(150), 200, 0.01), (ReverseSDE(200), 8_000, 0.05)]
)
def test_consistent_settings_give_the_kalman_posterior(sampler, members, tolerance, state, observed):
    prior, observation, (mean, covariance) = linear_problem(state, observed, members, seed=state)
    method = change(CONSISTENT, sampler=sampler, start=WhiteNoise())
    ensemble = method.analyse(prior, observation, np.random.default_rng(7)).ensemble
    deviation = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(ensemble.mean(axis=0) - mean) < tolerance * deviation)
    sampled = np.cov(ensemble.T).reshape(covariance.shape)
    assert np.all(np.abs(sampled - covariance) < 2 * tolerance * np.outer(deviation, deviation))


def test_unobserved_variables_get_their_regression_increment(rng):
    prior = rng.standard_normal((200, 2)) @ np.array([[1.0, 0.9], [0, 0.3]])
    observation = Observation(np.array([1.5]), Select((0,)), 0.5)
    method = change(CONSISTENT, sampler=ProbabilityFlow(100), start=WhiteNoise())
    moved = method.analyse(prior, observation, rng).ensemble.mean(axis=0) - prior.mean(axis=0)
    assert moved[1] / moved[0] == pytest.approx(np.cov(prior.T)[0, 1] / np.var(prior[:, 0], ddof=1), rel=0.02)


def exact_moments(method, mean, y):
    """Mean and variance of the scalar analysis for a prior N(mean, 1), without sampling error."""
    members = method.sampler.steps + 2
    prior = strict.asarray(WhiteNoise().draw(np.empty((members, 1)), np.random.default_rng(0)) + mean)
    observation = Observation(strict.asarray([float(y)]), Identity(), 1.0)
    still, moved = (
        to_numpy(method.analyse(prior, observation, UnitNoise(amplitude)).ensemble) for amplitude in (0.0, 1.0)
    )
    return still.mean(), np.sum((moved - still) ** 2)


@pytest.mark.parametrize(("steps", "ratio"), [(100, 1.010), (500, 1.002)])
def test_check_values_of_conditional_guidance(steps, ratio):
    """Published schedule, prior 1, error 1: the mean is exact; the variance tends to its value like 1 / steps."""
    method = EnSF(score=GaussianScore(), guidance=ConditionalGuidance(), sampler=ReverseSDE(steps))
    mean, variance = exact_moments(method, mean=0.0, y=1.0)
    assert mean == pytest.approx(0.5, abs=0.001)
    assert variance / 0.5 == pytest.approx(ratio, abs=0.001)


def test_damping_biases_the_mean_at_any_number_of_steps():
    posterior, deviation = 3.5, np.sqrt(0.5)
    for steps in (100, 400):
        settings = {"score": GaussianScore(), "sampler": ReverseSDE(steps)}
        damped, _ = exact_moments(EnSF(guidance=DampedGuidance(), **settings), mean=3.0, y=4.0)
        conditional, _ = exact_moments(EnSF(guidance=ConditionalGuidance(), **settings), mean=3.0, y=4.0)
        assert abs(damped - posterior) > 0.4 * deviation
        assert abs(conditional - posterior) < 0.02 * deviation


@pytest.mark.parametrize("sampler", [ReverseSDE(200), ProbabilityFlow(200)], ids=lambda s: type(s).__name__)
def test_mixture_score_keeps_two_modes(sampler, rng):
    """With a worthless observation the analysis is a new sample of the prior, both modes and their widths."""
    prior = np.concatenate([rng.normal(-2, 0.3, (100, 1)), rng.normal(2, 0.5, (200, 1))])
    method = EnSF(VariancePreserving(), MixtureScore(), DampedGuidance(), sampler)
    ensemble = method.analyse(prior, Observation(np.array([1.0]), Identity(), 1e6), rng).ensemble
    left, right = ensemble[ensemble < 0], ensemble[ensemble > 0]
    assert len(left) / 300 == pytest.approx(1 / 3, abs=0.1)
    assert (left.mean(), left.std()) == pytest.approx((-2, 0.3), abs=0.15)
    assert (right.mean(), right.std()) == pytest.approx((2, 0.5), abs=0.15)


# --- every combination on every backend ------------------------------------------------------------------

COMBINATIONS = {
    f"{type(score).__name__}-{type(guidance).__name__}-{type(sampler).__name__}": EnSF(
        schedule=VariancePreserving(), score=score, guidance=guidance, sampler=sampler
    )
    for score, guidance, sampler in product(
        (PairedScore(), MixtureScore(), MiniBatchScore(5), GaussianScore()),
        (DampedGuidance(), ConditionalGuidance()),
        (ReverseSDE(8), ProbabilityFlow(8)),
    )
}
QUICK_STOP = ReverseSDE(8, stop=RunningMeanStop(window=3, tolerance=0.1, earliest=4, latest=6))
NAMED = {
    "legacy": published("legacy", sampler=ReverseSDE(8)),
    "cmame": published("cmame", sampler=ReverseSDE(8)),
    "sqg": published("sqg", sampler=QUICK_STOP),
}
every_setting = pytest.mark.parametrize("method", (COMBINATIONS | NAMED).values(), ids=COMBINATIONS | NAMED)


@every_setting
@pytest.mark.filterwarnings("ignore::ensf.filters.ensf.StiffnessWarning")
def test_whole_analysis_on_every_backend(method, backend, prior, observation):
    there = Observation(backend.array(observation.value), Pointwise(arctan), backend.array(observation.error))
    ensemble = method.analyse(backend.array(prior), there, np.random.default_rng(5)).ensemble
    assert backend.owns(ensemble) and ensemble.shape == prior.shape
    if backend.dtype == "float64":
        expected = method.analyse(prior, observation, np.random.default_rng(5)).ensemble
        np.testing.assert_allclose(to_numpy(ensemble), expected, rtol=1e-7, atol=1e-7)
    assert np.isfinite(to_numpy(ensemble)).all()


@every_setting
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("ignore::ensf.filters.ensf.StiffnessWarning")
def test_pure_and_reproducible(method, dtype, prior, observation):
    prior = prior.astype(dtype)
    before = prior.copy(), observation.value.copy(), observation.error.copy()
    rng = np.random.default_rng(5)
    first, second = (method.analyse(prior, observation, rng).ensemble for _ in range(2))
    again = method.analyse(prior, observation, np.random.default_rng(5)).ensemble
    assert first.dtype == second.dtype == dtype
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, second)
    for kept, now in zip(before, (prior, observation.value, observation.error), strict=True):
        np.testing.assert_array_equal(kept, now)


@pytest.mark.parametrize("score", [MixtureScore(), GaussianScore()])
@pytest.mark.parametrize("guidance", [DampedGuidance(), ConditionalGuidance()])
def test_order_of_members_does_not_matter(score, guidance, prior, observation):
    """Particles are not tied to members, so a shuffled prior with the same noise gives the same particles."""
    method = EnSF(VariancePreserving(), score, guidance, ReverseSDE(40))
    shuffled = np.random.default_rng(0).permutation(prior)
    results = [method.analyse(p, observation, np.random.default_rng(5)).ensemble for p in (prior, shuffled)]
    np.testing.assert_allclose(results[0], results[1], rtol=1e-8, atol=1e-9)


def test_paired_score_ties_particles_to_members(prior, observation):
    class Silent:
        def standard_normal(self, shape, dtype):
            return np.zeros(shape, dtype)

    def particles(states):
        there = Observation(strict.asarray(observation.value), Pointwise(arctan), 1.0)
        return to_numpy(EnSF(sampler=ReverseSDE(20)).analyse(strict.asarray(states), there, Silent()).ensemble)

    np.testing.assert_allclose(particles(prior[::-1].copy()), particles(prior)[::-1], rtol=1e-12)


def test_everything_missing_returns_the_prior(prior, rng):
    method = EnSF(VariancePreserving(), MixtureScore(), DampedGuidance(), ProbabilityFlow(10))
    analysis = method.analyse(prior, Observation(np.full(6, np.nan), Identity(), 1.0), rng)
    np.testing.assert_array_equal(analysis.ensemble, prior)


# --- clipping and information ----------------------------------------------------------------------------


def test_clipping_bounds_the_score_and_is_reported(prior, observation, rng):
    nothing = EnSF(sampler=ReverseSDE(20)).analyse(prior, observation, rng).info
    everything = EnSF(sampler=ReverseSDE(20), clip=1e-9).analyse(prior, observation, rng).info
    some = EnSF(sampler=ReverseSDE(20), clip=5.0).analyse(prior, observation, rng).info
    assert nothing == {"steps": 20, "clipped": 0.0}
    assert everything["clipped"] == 1.0 and 0.0 < some["clipped"] < 1.0


def test_a_clipped_score_is_as_if_it_were_the_bound():
    """One particle step with a score far beyond the bound, by hand."""
    prior, schedule = np.full((2, 1), 1e6), LinearSchedule(0.5, 0.025)
    method = EnSF(schedule, sampler=ReverseSDE(1), clip=10.0)
    result = method.analyse(prior, Observation(np.array([0.0]), Identity(), 1e3), np.random.default_rng(4)).ensemble
    draws = CountedNormals(np.random.default_rng(4))
    start, noise = draws.standard_normal((2, 1)), draws.standard_normal((2, 1))
    drift, diffusion = schedule.drift(1.0), schedule.diffusion(1.0)
    np.testing.assert_allclose(result, start * (1 - drift) + 10.0 * diffusion + np.sqrt(diffusion) * noise)


# --- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [published("legacy"), published("sqg"), Standardised(EnSF())])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_bad_prior_names_member_and_variable(method, bad, prior, observation, rng):
    prior[7, 4] = bad
    with pytest.raises(ValueError, match=f"prior member 7 has {bad} at state variable 4: repair or drop"):
        method.analyse(prior, observation, rng)


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [((6,), r"\(member, state\)"), ((1, 6), "two members or more"), ((2, 3, 6), r"not shape \(2, 3, 6\)")],
)
def test_prior_of_the_wrong_shape_is_refused(shape, sentence, observation, rng):
    with pytest.raises(ValueError, match=sentence):
        EnSF().analyse(np.zeros(shape), observation, rng)


def test_prior_of_the_wrong_type_is_refused(observation, rng):
    for complex_or_text in (np.ones((3, 6), dtype=complex), np.full((3, 6), "a")):
        with pytest.raises(ValueError, match="prior has dtype"):
            EnSF().analyse(complex_or_text, observation, rng)
    with pytest.raises(ValueError, match="move one to the other"):
        EnSF().analyse(strict.ones((3, 6)), observation, rng)


@pytest.mark.parametrize("kind", [list, "integers", "masked", "Fortran"])
def test_priors_of_other_kinds_are_taken_as_their_numbers(kind, observation):
    numbers = np.random.default_rng(1).integers(-5, 5, (10, 6)).astype(float)
    kinds = {
        list: numbers.tolist(),
        "integers": numbers.astype(int),
        "masked": np.ma.masked_array(numbers, mask=False),
        "Fortran": np.asfortranarray(numbers),
    }
    method = EnSF(sampler=ReverseSDE(20), guidance=ConditionalGuidance())
    found, expected = (method.analyse(prior, observation, 3).ensemble for prior in (kinds[kind], numbers))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("operator", "sentence"),
    [
        (Identity(), "predicts 6 observations but 4 values"),
        (Linear(np.ones((4, 5))), "cannot act on vectors of 6 entries"),
        (Select((0, 1, 2, 6)), "selects state variable 6 but the state has 6"),
        (Pointwise(Function(np.sin), Select((0, 1, 2))), "predicts 3 observations but 4 values"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(operator, sentence, prior, rng):
    with pytest.raises(ValueError, match=sentence):
        EnSF().analyse(prior, Observation(np.ones(4), operator, 1.0), rng)


def test_huge_but_finite_priors_are_accepted():
    prior = np.full((4, 3), 1e308) * [[1], [-1], [1], [1]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_array_equal(usable(prior, Observation(np.ones(3), Identity(), 1.0))[0], prior)


def test_other_error_laws_are_used_or_refused(rng):
    prior = rng.standard_normal((20, 4))
    observation = Observation(np.ones(4), Identity(), Laplace(0.5))
    moved = EnSF(sampler=ReverseSDE(50)).analyse(prior, observation, rng).ensemble
    assert np.isfinite(moved).all()
    with pytest.raises(ValueError, match="Gaussian errors"):
        EnSF(guidance=ConditionalGuidance()).analyse(prior, observation, rng)
