"""The fused score filter is the general one, to rounding with the same noise, and in law; closed forms besides."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numba
import numpy as np
import pytest
import scipy.stats

from ensf.diffusion import (
    DDIM,
    EDM,
    Cosine,
    DampedGuidance,
    LinearSchedule,
    MiniBatchScore,
    MixtureScore,
    PairedScore,
    ProbabilityFlow,
    ReverseSDE,
    RunningMeanStop,
    StandardisedNoise,
    VariancePreserving,
    ancestral,
)
from ensf.diffusion.counted import CountedNormals
from ensf.filters import EnSF, StiffnessWarning, ensf_loops, usable
from ensf.filters.ensf_pointwise import affine_steps, pointwise_steps
from ensf.observations import (
    Correlated,
    Function,
    Gaussian,
    Identity,
    Laplace,
    Linear,
    Observation,
    Pointwise,
    Select,
    absolute,
    arctan,
    cube,
    exponential,
    square,
)
from ensf.observations.functions import Affine, Composed
from ensf.wrappers import published


@dataclass(frozen=True)
class General(DampedGuidance):
    """The same guidance, which the fused steps do not know."""


def served(method, prior, observation):
    steps = affine_steps(method.schedule, method.score, method.guidance, method.sampler)
    if steps is None:
        return False
    settings = method.schedule, method.score, method.sampler, method.clip, steps
    return pointwise_steps(*settings, *usable(prior, observation)[:2]) is not None


def both(method, prior, observation, seed=5):
    """Members and info of fused steps, and of the general path in NumPy with the same noise."""
    assert served(method, prior, observation)
    fused = method.analyse(prior, observation, np.random.default_rng(seed))
    prior, observation, _ = usable(prior, observation)
    draws = CountedNormals(np.random.default_rng(seed))
    return (fused.ensemble, fused.info), method._integrated(prior, observation, draws, False)


SIZE = 1100  # two whole panels and a part of one
STOP = ReverseSDE(30, RunningMeanStop(window=5, tolerance=0.2, earliest=8, latest=25))
METHODS = {
    "legacy": published("legacy", sampler=ReverseSDE(30)),
    "cmame": published("cmame", sampler=ReverseSDE(30), clip=20.0),
    "stop": EnSF(sampler=STOP),
    "mixture": EnSF(VariancePreserving(), MixtureScore(), sampler=ReverseSDE(30)),
    "mini-batch": EnSF(VariancePreserving(), MiniBatchScore(3), sampler=ReverseSDE(30), start=StandardisedNoise()),
    "mini-batch, stop": EnSF(VariancePreserving(), MiniBatchScore(3), sampler=STOP),
    "ancestral": EnSF(Cosine(), sampler=ancestral(30)),
    "ddim": EnSF(VariancePreserving(), MixtureScore(), sampler=DDIM(30)),
    "edm": EnSF(EDM(), sampler=DDIM(30, eta=0.5), clip=3.0),
}
OPERATORS = {
    "identity": Identity(),
    "some": Select(np.random.default_rng(3).permutation(SIZE)[:700]),
    "arctan": Pointwise(arctan),
    "some absolute": Pointwise(absolute, Select(np.arange(0, SIZE, 3))),
    "square": Pointwise(square),
    "cube": Pointwise(cube),
    "exponential": Pointwise(exponential),
    "affine": Pointwise(Affine(np.linspace(0, 1, SIZE), np.linspace(1, 2, SIZE))),
    "arctan of affine": Pointwise(Composed(arctan, Affine(np.linspace(0, 1, SIZE), 0.5))),
}


def problem(operator):
    rng = np.random.default_rng(7)
    prior = rng.standard_normal((8, SIZE)) * 0.5 + rng.standard_normal(SIZE)
    value = operator(rng.standard_normal((1, SIZE)))[0]
    value[3] = np.nan
    steep = operator in (OPERATORS["cube"], OPERATORS["square"], OPERATORS["exponential"])
    return prior, Observation(value, operator, np.linspace(2, 4, value.size) * (100 if steep else 1))


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@pytest.mark.filterwarnings("ignore::ensf.filters.ensf.StiffnessWarning")
def test_fused_steps_are_the_general_ones(method, operator):
    (fused, info), (general, general_info) = both(method, *problem(operator))
    np.testing.assert_allclose(fused, general, rtol=1e-9, atol=1e-9)
    assert info["steps"] == general_info["steps"]
    assert info["clipped"] == pytest.approx(general_info["clipped"], abs=1e-4)


@pytest.mark.parametrize("name", ["legacy", "cmame"])
def test_the_first_entries_alone_are_those_of_the_whole(name):
    prior, observation = problem(Pointwise(arctan))
    whole = METHODS[name].analyse(prior, observation, np.random.default_rng(5)).ensemble
    few = Observation(observation.value[:700], Pointwise(arctan), observation.error[:700])
    part = METHODS[name].analyse(prior[:, :700], few, np.random.default_rng(5)).ensemble
    np.testing.assert_array_equal(part, whole[:, :700])


@pytest.mark.parametrize("name", ["legacy", "cmame", "mini-batch"])
def test_single_precision_is_double_to_rounding(name):
    prior, observation = problem(Pointwise(arctan))
    method = METHODS[name]
    double = method.analyse(prior, observation, np.random.default_rng(5)).ensemble
    single = method.analyse(prior.astype(np.float32), observation, np.random.default_rng(5)).ensemble
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, double, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["legacy", "mini-batch", "stop"])
def test_threads_and_calls_do_not_change_the_bits(name, monkeypatch):
    from ensf.filters import ensf_pointwise

    prior, observation = problem(Pointwise(arctan))
    prior, value = np.tile(prior, 40), np.tile(observation.value, 40)
    observation = Observation(value, Pointwise(arctan), 2.0)
    expected = METHODS[name].analyse(prior, observation, np.random.default_rng(5)).ensemble
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        single = METHODS[name].analyse(prior, observation, np.random.default_rng(5)).ensemble
    finally:
        numba.set_num_threads(threads)
    monkeypatch.setattr(ensf_pointwise, "STEPS_AT_ONCE", 1)
    monkeypatch.setattr(ensf_pointwise, "AT_ONCE", 2**60)
    in_calls = METHODS[name].analyse(prior, observation, np.random.default_rng(5)).ensemble
    np.testing.assert_array_equal(single, expected)
    np.testing.assert_array_equal(in_calls, expected)


def exact_law(method, member, y, error):
    """Mean and variance of one particle beside one member, observed as it is: the recursion is linear."""
    mean, variance = 0.0, 1.0
    for step in method.sampler.affine_steps(method.schedule):
        alpha, v = method.schedule.alpha(step.t), method.schedule.variance(step.t)
        slope = -1 / v - (1 - step.t) / error**2
        constant = alpha * member / v + (1 - step.t) * y / error**2
        mean = (step.keep + step.pull * slope) * mean + step.pull * constant
        variance = (step.keep + step.pull * slope) ** 2 * variance + step.noise**2
    return mean, variance


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "method",
    [
        published("legacy"),
        EnSF(LinearSchedule(0.5, 0.025), sampler=ReverseSDE(200)),
        EnSF(Cosine(), sampler=ancestral(80)),
    ],
    ids=["legacy", "cmame", "ancestral"],
)
def test_the_law_of_the_analysis_is_the_closed_form(method, dtype):
    entries, members = 20_000, np.array([-1.0, 0.3, 2.0])
    prior = np.repeat(members[:, None], entries, axis=1).astype(dtype)
    observation = Observation(np.full(entries, 0.8), Identity(), 0.33)
    ensemble = method.analyse(prior, observation, np.random.default_rng(1)).ensemble.astype(float)
    for row, member in zip(ensemble, members, strict=True):
        mean, variance = exact_law(method, member, 0.8, 0.33)
        assert row.mean() == pytest.approx(mean, abs=4.5 * np.sqrt(variance / entries) + 1e-6)
        assert row.var() == pytest.approx(variance, rel=4.5 * np.sqrt(2 / entries), abs=1e-12)
        if variance > 1e-8:  # else single precision rounds it to few values
            assert scipy.stats.kstest((row - mean) / np.sqrt(variance), "norm").pvalue > 1e-4


@pytest.mark.parametrize("name", ["legacy", "cmame", "mini-batch"])
def test_the_law_is_that_of_the_general_path_with_other_noise(name):
    """One member repeated; an arctan seen exactly enough to matter."""
    method = METHODS[name]
    prior = np.repeat(np.array([[-1.0], [0.0], [2.0], [2.5]]), 12_000, axis=1)
    observation = Observation(np.full(12_000, 0.6), Pointwise(arctan), 0.3)
    fused = method.analyse(prior, observation, np.random.default_rng(1)).ensemble
    general = replace(method, guidance=General()).analyse(prior, observation, np.random.default_rng(2)).ensemble
    for row, other in zip(fused, general, strict=True):
        if method.score == PairedScore():
            assert scipy.stats.ks_2samp(row, other).pvalue > 1e-4
    assert fused.std() == pytest.approx(general.std(), rel=0.03)


def test_a_mixture_in_fused_steps_keeps_two_modes():
    """With a worthless observation the analysis is a new sample of the prior."""
    rng = np.random.default_rng(2)
    prior = np.concatenate([rng.normal(-2, 0.3, (100, 1)), rng.normal(2, 0.5, (200, 1))])
    method = EnSF(VariancePreserving(), MixtureScore(), sampler=ReverseSDE(200))
    observation = Observation(np.array([1.0]), Identity(), 1e6)
    assert served(method, prior, observation)
    ensemble = method.analyse(prior, observation, rng).ensemble
    left, right = ensemble[ensemble < 0], ensemble[ensemble > 0]
    assert len(left) / 300 == pytest.approx(1 / 3, abs=0.1)
    assert (left.mean(), left.std()) == pytest.approx((-2, 0.3), abs=0.15)
    assert (right.mean(), right.std()) == pytest.approx((2, 0.5), abs=0.15)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 3e-7), (np.float64, 5e-16)])
def test_arctan_of_the_loops(dtype, tolerance):
    x = np.concatenate([np.linspace(-30, 30, 100_001), [1e30, -1e30, np.inf, -np.inf, 0.0, 1e-30, np.nan]])
    x = x.astype(dtype)
    value, slope = np.empty_like(x), np.empty_like(x)
    ensf_loops.image(ensf_loops.ARCTAN, x, value, slope)
    np.testing.assert_allclose(value, np.arctan(x.astype(float)), rtol=tolerance)
    np.testing.assert_allclose(slope, 1 / (1 + x.astype(float) ** 2), rtol=4 * tolerance, atol=1e-37)


@pytest.mark.parametrize("operator", [Identity(), Pointwise(arctan), Pointwise(cube), Select((2, 0))])
def test_the_warning_of_too_few_steps_has_the_same_number(operator):
    prior = np.random.default_rng(0).standard_normal((6, 5))
    observation = Observation(np.zeros(operator(prior).shape[-1]), operator, 0.03)
    said = []
    for guidance in (DampedGuidance(), General()):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", StiffnessWarning)
            EnSF(guidance=guidance, sampler=ReverseSDE(30), clip=1e3).analyse(prior, observation, 1)
        said.append([int(word) for word in str(caught[0].message).split() if word.isdigit()][-1])
    assert said[0] == pytest.approx(said[1], rel=0.05) and said[0] >= said[1]


OTHERS = {
    "matrix": (EnSF(), Observation(np.ones(2), Linear(np.ones((2, 4))), 1.0)),
    "twice the same variable": (EnSF(), Observation(np.ones(2), Select((1, 1)), 1.0)),
    "function of one's own": (EnSF(), Observation(np.ones(4), Pointwise(Function(np.tanh)), 1.0)),
    "correlated": (EnSF(), Observation(np.ones(4), Identity(), Correlated(0.5 + 0.5 * np.eye(4)))),
    "heavy tails": (EnSF(), Observation(np.ones(4), Identity(), Laplace(1.0))),
    "Heun": (EnSF(sampler=ProbabilityFlow(50)), Observation(np.ones(4), Identity(), 1.0)),
}


@pytest.mark.parametrize(("method", "observation"), OTHERS.values(), ids=OTHERS)
def test_other_forms_take_the_general_path(method, observation):
    prior = np.random.default_rng(0).standard_normal((6, 4))
    assert not served(method, prior, observation)
    assert served(EnSF(), prior, Observation(np.ones(4), Identity(), Gaussian(1.0)))
    assert np.isfinite(method.analyse(prior, observation, 1).ensemble).all()


def test_a_prediction_beyond_the_numbers_is_named():
    prior = np.zeros((3, 4))
    prior[2, 1] = 1e4
    with pytest.raises(ValueError, match="observation 1 of member 2 is predicted as inf"):
        EnSF().analyse(prior, Observation(np.ones(4), Pointwise(exponential), 1.0), 1)
