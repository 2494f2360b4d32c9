"""Observed against theoretical order of every sampler, on a Gaussian and on a mixture; energy distance of its draws."""

from __future__ import annotations

import itertools
import math

import array_api_strict as strict
import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.ndimage import map_coordinates
from scipy.stats import norm

from ensf.arrays import to_numpy
from ensf.diffusion import (
    DDIM,
    MALA,
    AdamFlow,
    AdaptiveFlow,
    AnnealedLangevin,
    CriticallyDamped,
    DPMSolver,
    EDMHeun,
    GaussianMixture,
    Langevin,
    LinearSchedule,
    PredictorCorrector,
    ProbabilityFlow,
    ReverseSDE,
    VarianceExploding,
    VariancePreserving,
    ancestral,
)
from ensf.diffusion.sampling import energy_distance

SCHEDULE = VariancePreserving(0.5, 8.0)
ONE = GaussianMixture(np.ones(1), np.array([[1.5]]), np.array([[[0.36]]]))
TWO = GaussianMixture(np.array([0.3, 0.7]), np.array([[-2.0], [1.0]]), np.array([[[0.36]], [[0.64]]]))


def churned(steps):
    return EDMHeun(steps, churn=5.0)


def corrected(steps):
    """Corrections of a fixed size keep their bias; here it falls as the steps do."""
    return PredictorCorrector(steps, snr=0.16 * math.sqrt(40 / steps))


ORDERS = {
    "ReverseSDE": (ReverseSDE, 1),
    "ancestral": (ancestral, 1),
    "PredictorCorrector": (corrected, 1),
    "CriticallyDamped": (CriticallyDamped, 1),
    "DDIM": (DDIM, 1),
    "ProbabilityFlow": (ProbabilityFlow, 2),
    "DPMSolver": (DPMSolver, 2),
    "EDMHeun": (EDMHeun, 2),
    "EDMHeun with churn": (churned, 2),
}
FLOWS = ("DDIM", "ProbabilityFlow", "DPMSolver", "EDMHeun")


def score_of(mixture, schedule=SCHEDULE):
    return lambda z, t: mixture(z, schedule.alpha(t), schedule.variance(t))


class Unit:
    """Stands for a generator: draw k is zero but for its k-th entry; counts the draws."""

    def __init__(self, amplitude):
        self.amplitude, self.draws = amplitude, 0

    def standard_normal(self, shape, dtype=np.float64):
        draw = np.zeros(shape, dtype)
        if self.draws < draw.size:
            draw.reshape(-1)[self.draws] = self.amplitude
        self.draws += 1
        return draw


def moments(sampler, schedule=SCHEDULE):
    """Mean and variance of what a sampler makes of a Gaussian: it is linear in every draw."""
    mean, variance = 1.5 * schedule.alpha(1.0), 0.36 * schedule.alpha(1.0) ** 2 + schedule.variance(1.0)

    def score(z, t):
        return -(z - 1.5 * schedule.alpha(t)) / (0.36 * schedule.alpha(t) ** 2 + schedule.variance(t))

    def run(amplitude, columns):
        noise = Unit(amplitude)
        start = mean + math.sqrt(variance) * noise.standard_normal((1, columns))
        return to_numpy(sampler.sample(strict.asarray(start), score, schedule, noise)[0])[0], noise.draws

    middle, draws = run(0.0, 1)
    return np.array([middle[0], np.sum((run(1.0, draws)[0] - run(0.0, draws)[0]) ** 2)])


@pytest.mark.parametrize("name", ORDERS)
def test_order_on_a_gaussian(name):
    """From differences where a grid on log-SNR leaves out the same at its end for all numbers of steps."""
    build, order = ORDERS[name]
    results = np.array([moments(build(steps)) for steps in (20, 40, 80, 160)])
    differences = np.abs(np.diff(results[:, 1]))
    if name in ("ReverseSDE", "PredictorCorrector", "ProbabilityFlow"):
        differences = np.abs(results[:, 1] - 0.36)
    assert np.log2(differences[-2] / differences[-1]) == pytest.approx(order, abs=0.2), differences
    assert results[-1] == pytest.approx([1.5, 0.36], abs=0.03)


def quantiles(mixture, z, t, schedule=SCHEDULE):
    alpha, variance = schedule.alpha(t), schedule.variance(t)
    deviations = np.sqrt(alpha**2 * mixture.covariances[:, 0, 0] + variance)
    return norm.cdf((z[..., None] - alpha * mixture.means[:, 0]) / deviations) @ mixture.weights


@pytest.mark.parametrize("name", FLOWS)
def test_order_of_the_flow_on_a_mixture(name):
    build, order = ORDERS[name]
    start = np.linspace(-2, 2, 21)[:, None]
    runs = [build(steps).sample(start, score_of(TWO), SCHEDULE, None)[0] for steps in (40, 80, 160, 320)]
    differences = np.array([np.abs(after - before).max() for before, after in zip(runs[:-1], runs[1:], strict=True)])
    assert np.log2(differences[-2] / differences[-1]) == pytest.approx(order, abs=0.2), differences
    expected = quantiles(TWO, start, 1.0)
    np.testing.assert_allclose(quantiles(TWO, runs[-1], 0.0), expected, atol=0.01)


POINTS = np.linspace(-7, 7, 401)


class Given:
    """Stands for a generator: draw k is what was given for it."""

    def __init__(self, *draws):
        self.draws = list(draws)

    def standard_normal(self, shape, dtype=np.float64):
        return np.broadcast_to(self.draws.pop(0), shape).astype(dtype)


def gauss_hermite(count, dimensions):
    """Nodes of so many independent normal numbers, and the weights of their products."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    products = np.prod(np.meshgrid(*[weights / weights.sum()] * dimensions, indexing="ij"), axis=0)
    return [axis.ravel() for axis in np.meshgrid(*[nodes] * dimensions, indexing="ij")], products.ravel()


STATISTICS = (np.cos, np.tanh)
DRAWS = {"ReverseSDE": 1, "ancestral": 1, "EDMHeun with churn": 1, "PredictorCorrector": 2}


def expected_backwards(sampler, times, draws):
    """E f(z_0) given z_1 at the points, from the last transition to the first: no statistical error."""
    nodes, weights = gauss_hermite(5, draws)
    values = [f(POINTS) for f in STATISTICS]
    for t, s in reversed(list(itertools.pairwise(times))):
        here = np.repeat(POINTS, weights.size)[:, None]
        noise = Given(*(np.tile(draw, POINTS.size)[:, None] for draw in nodes))
        there = sampler.step(here, t, s, score_of(TWO), SCHEDULE, noise)[:, 0].clip(POINTS[0], POINTS[-1])
        values = [CubicSpline(POINTS, u)(there).reshape(-1, weights.size) @ weights for u in values]
    return values


def grid_of(sampler):
    """Pseudo-times of a sampler."""
    return [1.0, *(t for t, _ in sampler.walk(np.zeros((1, 1)), score_of(TWO), SCHEDULE, Unit(0.0)))]


@pytest.mark.parametrize("name", DRAWS)
def test_weak_order_on_a_mixture(name):
    build, order = ORDERS[name]
    number = 40 if order == 1 else 20
    start = np.exp(TWO.log_density(POINTS[:, None], SCHEDULE.alpha(1.0), SCHEDULE.variance(1.0)))
    exact = np.exp(TWO.log_density(POINTS[:, None]))
    errors = []
    for steps in (number, 2 * number):
        values = expected_backwards(build(steps), grid_of(build(steps)), DRAWS[name])
        errors.append([u @ start - f(POINTS) @ exact for f, u in zip(STATISTICS, values, strict=True)])
    errors = np.abs(np.array(errors)).max(axis=1) * (POINTS[1] - POINTS[0])
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.2), errors
    assert errors[1] < 0.05


@pytest.mark.slow
def test_weak_order_of_critical_damping_on_a_mixture():
    """The same for position and velocity, from its own law at t = 1, against many steps."""
    axes = np.linspace(-7, 7, 141), np.linspace(-3, 3, 81)
    position, velocity = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
    nodes, weights = gauss_hermite(5, 2)
    start = norm.pdf(position) * norm.pdf(velocity, scale=0.5) * np.prod([axis[1] - axis[0] for axis in axes])

    def expected(steps):
        sampler, values = CriticallyDamped(steps), [f(position) for f in STATISTICS]
        for t, s in reversed(list(itertools.pairwise(sampler.times()))):
            here = [np.repeat(part, weights.size)[:, None] for part in (position, velocity)]
            noise = Given(*(np.tile(draw, position.size)[:, None] for draw in nodes))
            there = sampler.step(*here, t, s, score_of(TWO), SCHEDULE, noise)
            index = [(part[:, 0] - axis[0]) / (axis[1] - axis[0]) for part, axis in zip(there, axes, strict=True)]
            values = [
                map_coordinates(u.reshape(141, 81), index, mode="nearest").reshape(-1, weights.size) @ weights
                for u in values
            ]
        return np.array([u @ start for u in values])

    coarse, middle, fine = (expected(steps) for steps in (20, 40, 80))
    differences = np.abs(coarse - middle).max(), np.abs(middle - fine).max()
    assert np.log2(differences[0] / differences[1]) == pytest.approx(1.0, abs=0.2), differences


# --- tolerance -------------------------------------------------------------------------------------------


def test_steps_follow_the_tolerance():
    start, times, runs = np.linspace(-2, 2, 21)[:, None], [], []
    for tolerance in (1e-2, 1e-3, 1e-4):
        walk = list(AdaptiveFlow(tolerance).walk(start, score_of(TWO), SCHEDULE, None))
        times.append(len(walk))
        runs.append(np.abs(quantiles(TWO, walk[-1][1], 0.0) - quantiles(TWO, start, 1.0)).max())
        assert [t for t, _ in walk] == sorted((t for t, _ in walk), reverse=True) and walk[-1][0] == 0
    assert times[0] < times[1] < times[2] < 30 * times[0]
    assert runs[2] < 0.3 * runs[0] and runs[0] < 0.03


def test_a_tolerance_that_is_not_met_is_named():
    with pytest.raises(ArithmeticError, match="does not meet its tolerance of 1e-09 in 5 steps"):
        AdaptiveFlow(1e-9, steps=5).sample(np.ones((3, 1)), score_of(TWO), SCHEDULE, None)


# --- chains ----------------------------------------------------------------------------------------------


def test_bias_of_langevin_is_of_the_order_of_its_step():
    """For N(0, 1): variance 1 / (1 - d / 2)."""
    variances = []
    for size in (0.4, 0.2, 0.1):
        sampler = Langevin(steps=round(12 / size), size=size)
        noise = Unit(1.0)
        z = sampler.sample(np.zeros((1, sampler.steps)), lambda z, t: -z, SCHEDULE, noise)[0]
        variances.append(np.sum(z**2))
    np.testing.assert_allclose(variances, [1 / (1 - d / 2) for d in (0.4, 0.2, 0.1)], rtol=1e-6)


def test_mala_is_exact_whatever_its_score(rng):
    exact = TWO.draw(10_000, rng)
    for proposal in (score_of(TWO), lambda z, t: -0.5 * z):
        sampler = MALA(TWO.log_density, steps=150, size=0.6)
        z, _ = sampler.sample(2 * rng.standard_normal((10_000, 1)), proposal, LinearSchedule(), rng)
        moments = [(np.mean(f(z)), np.mean(f(exact))) for f in (np.cos, np.tanh, np.square)]
        for one, other in moments:
            assert one == pytest.approx(other, abs=0.05)


# --- draws -----------------------------------------------------------------------------------------------

PLANE = GaussianMixture(
    np.array([0.4, 0.6]),
    np.array([[-2.0, 0.0], [2.0, 1.0]]),
    np.array([[[0.5, 0.2], [0.2, 0.3]], [[0.3, 0], [0, 0.6]]]),
)
DRAWN = {
    "ReverseSDE": ReverseSDE(200),
    "ancestral": ancestral(100),
    "DDIM": DDIM(100),
    "ProbabilityFlow": ProbabilityFlow(100),
    "DPMSolver": DPMSolver(20),
    "AdaptiveFlow": AdaptiveFlow(0.01),
    "EDMHeun": EDMHeun(20),
    "EDMHeun with churn": EDMHeun(40, churn=10.0),
    "PredictorCorrector": PredictorCorrector(200),
    "CriticallyDamped": CriticallyDamped(200),
    "AnnealedLangevin": AnnealedLangevin(60, 20, 0.2),
    "AdamFlow": AdamFlow(50),
}


@pytest.mark.parametrize("name", DRAWN)
def test_energy_distance_of_draws_of_a_mixture(name, rng):
    schedule, count = VariancePreserving(), 2000
    z, _ = DRAWN[name].sample(rng.standard_normal((count, 2)), score_of(PLANE, schedule), schedule, rng)
    exact = PLANE.draw(count, rng)
    distance = energy_distance(z, exact)
    noise = energy_distance(PLANE.draw(count, rng), exact)
    assert distance < (0.2 if name == "AdamFlow" else noise + 0.01), (distance, noise)


@pytest.mark.parametrize("name", [*DRAWN, "Langevin"])
@pytest.mark.parametrize("schedule", [VariancePreserving(), VarianceExploding(0.05, 20.0)], ids=repr)
def test_samplers_stay_on_their_device_with_their_dtype(name, schedule, backend, rng):
    sampler = (DRAWN | {"Langevin": Langevin(5, 1e-3, time=0.5)})[name]
    if name != "AdaptiveFlow":
        sampler = type(sampler)(6)
    start = schedule.terminal_deviation() * rng.standard_normal((4, 2))
    z, steps = sampler.sample(backend.array(start), score_of(PLANE, schedule), schedule, rng)
    assert backend.owns(z) and np.isfinite(to_numpy(z)).all() and steps > 0


@pytest.mark.parametrize(
    "build",
    [
        lambda: DDIM(0),
        lambda: DDIM(10, eta=1.5),
        lambda: DPMSolver(2.5),
        lambda: AdaptiveFlow(0.0),
        lambda: EDMHeun(10, churn=-1.0),
        lambda: EDMHeun(10, rho=0.0),
        lambda: AdamFlow(10, momentum=1.0),
        lambda: Langevin(10, size=0.0),
        lambda: Langevin(10, time=1.5),
        lambda: MALA(len, 10, size=-1.0),
        lambda: AnnealedLangevin(10, repeats=0),
        lambda: PredictorCorrector(10, snr=0.0),
        lambda: CriticallyDamped(10, mass=0.0),
    ],
)
def test_bad_numbers_are_refused(build):
    with pytest.raises(ValueError, match="give"):
        build()
