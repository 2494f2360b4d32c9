"""Learned scores against closed forms; the losses of score matching against each other."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import types

import numpy as np
import pytest
from scipy.stats import norm

from ensf.arrays import to_numpy
from ensf.diffusion import (
    EDM,
    DPMSolver,
    FunctionScore,
    GaussianMixture,
    LearnedScore,
    Neighbourhood,
    VariancePreserving,
    draw,
    energy_distance,
)
from ensf.diffusion.azula_denoiser import azula_denoiser, azula_score
from ensf.diffusion.matching import (
    denoising_loss,
    divergence,
    explicit_loss,
    hutchinson,
    implicit_loss,
    sliced_loss,
    slope,
)

ALPHA, VARIANCE = 0.8, 0.36
TWO = GaussianMixture(np.array([0.3, 0.7]), np.array([[-2.0], [1.0]]), np.array([[[0.36]], [[0.64]]]))


def curved(z):
    return np.tanh(z) * np.array([1.0, -0.5, 2.0]) + z[:, ::-1] ** 2 / 10


# --- derivatives -----------------------------------------------------------------------------------------


def test_divergence_and_slope_by_hand(backend, rng):
    z = rng.standard_normal((5, 3))
    weights = np.array([1.0, -0.5, 2.0])
    exact = (weights / np.cosh(z) ** 2).sum(axis=1) + z[:, 1] / 5
    there, factors = backend.array(z), backend.array(weights)
    xp = backend.xp
    computed = divergence(lambda x: xp.tanh(x) * factors + xp.flip(x, axis=1) ** 2 / 10, there)
    assert backend.owns(computed)
    np.testing.assert_allclose(to_numpy(computed), exact, atol=1e-8 if backend.dtype == "float64" else 0.05)
    along = slope(lambda x: 3.0 * x, there, backend.array(np.zeros((5, 3))))
    np.testing.assert_array_equal(to_numpy(along), 0.0)


def test_hutchinson_is_unbiased(rng):
    z = np.repeat(rng.standard_normal((1, 3)), 20_000, axis=0)
    estimates = hutchinson(curved, z, rng)
    assert estimates.mean() == pytest.approx(divergence(curved, z[:1])[0], abs=5 * estimates.std() / 20_000**0.5)
    linear = hutchinson(lambda x: x * np.array([1.0, 2.0, 3.0]), z[:3], rng)
    np.testing.assert_allclose(linear, 6.0, rtol=1e-7)


# --- the theorem -----------------------------------------------------------------------------------------


def quadrature(function, low=-9.0, high=9.0, count=20_001):
    points = np.linspace(low, high, count)
    return float(np.sum(function(points)) * (points[1] - points[0]))


def blurred_density(z):
    return np.exp(TWO.log_density(z[:, None], ALPHA, VARIANCE))


def explicit_by_quadrature(score):
    exact = lambda z: TWO(z[:, None], ALPHA, VARIANCE)[:, 0]  # noqa: E731
    return quadrature(lambda z: 0.5 * blurred_density(z) * (score(z) - exact(z)) ** 2)


def denoising_by_quadrature(score):
    """Over z the law of x given z is a mixture, of which mean and mean square are in closed form."""

    def integrand(z):
        moments = []
        for mean, covariance, weight in zip(TWO.means[:, 0], TWO.covariances[:, 0, 0], TWO.weights, strict=True):
            whole = ALPHA**2 * covariance + VARIANCE
            evidence = weight * norm.pdf(z, ALPHA * mean, whole**0.5)
            x = mean + ALPHA * covariance / whole * (z - ALPHA * mean)
            target = (ALPHA * x - z) / VARIANCE
            spread = ALPHA**2 * covariance * VARIANCE / whole / VARIANCE**2
            moments.append(evidence * ((score(z) - target) ** 2 + spread))
        return 0.5 * sum(moments)

    return quadrature(integrand)


def implicit_by_quadrature(score, slope):
    return quadrature(lambda z: blurred_density(z) * (0.5 * score(z) ** 2 + slope(z)))


FIELDS = {
    "zero": (lambda z: 0 * z, lambda z: 0 * z),
    "linear": (lambda z: 0.3 - 0.7 * z, lambda z: -0.7 + 0 * z),
    "wavy": (lambda z: np.sin(2 * z) - 0.2 * z, lambda z: 2 * np.cos(2 * z) - 0.2),
}


def test_explicit_implicit_and_denoising_losses_differ_by_constants():
    """Vincent (2011), by quadrature: the constants do not depend on the score."""
    explicit = np.array([explicit_by_quadrature(score) for score, _ in FIELDS.values()])
    denoising = np.array([denoising_by_quadrature(score) for score, _ in FIELDS.values()])
    implicit = np.array([implicit_by_quadrature(*field) for field in FIELDS.values()])
    np.testing.assert_allclose(denoising - explicit, (denoising - explicit)[0], atol=1e-10)
    np.testing.assert_allclose(implicit - explicit, (implicit - explicit)[0], atol=1e-10)
    assert (denoising - explicit)[0] > 0.1 and np.ptp(explicit) > 0.1


@pytest.mark.parametrize("name", FIELDS)
def test_losses_of_draws_are_those_of_quadrature(name, rng):
    score, slope_of = FIELDS[name]
    x = TWO.draw(200_000, rng)
    z = ALPHA * x + VARIANCE**0.5 * rng.standard_normal(x.shape)
    exact = lambda z: TWO(z, ALPHA, VARIANCE)  # noqa: E731
    assert explicit_loss(score, exact, z) == pytest.approx(explicit_by_quadrature(score), abs=0.02)
    assert denoising_loss(score, x, ALPHA, VARIANCE, rng) == pytest.approx(denoising_by_quadrature(score), abs=0.02)
    wanted = implicit_by_quadrature(score, slope_of)
    assert implicit_loss(score, z) == pytest.approx(wanted, abs=0.02)
    assert sliced_loss(score, z, rng) == pytest.approx(wanted, abs=0.02)


# --- learning --------------------------------------------------------------------------------------------


class Quadratic:
    """Least squares on 1, x, x^2, x^3 and products with the noise level: small, and free of randomness."""

    def _rows(self, X):
        return np.concatenate(
            [X**p * X[:, -1:] ** q for p in (1, 2, 3) for q in (0, 1, 2)] + [np.ones_like(X[:, :1])], 1
        )

    def fit(self, X, y):
        self.weights = np.linalg.lstsq(self._rows(X), y, rcond=None)[0]

    def predict(self, X):
        return self._rows(X) @ self.weights


def relative_error(score, exact, z, alpha, variance):
    truth = exact(z, alpha, variance)
    return np.sqrt(np.mean((score(z, alpha, variance) - truth) ** 2) / np.mean(truth**2))


@pytest.mark.parametrize("ratio", [0.3, 1.0, 2.0])
def test_learned_score_of_a_gaussian(ratio, rng):
    exact = GaussianMixture(np.ones(1), np.array([[3.0, -1.0]]), np.array([[[1.0, 0.4], [0.4, 0.8]]]))
    score = LearnedScore(Quadratic(), repeats=50).fit(exact.draw(1000, rng), rng)
    for alpha in (1.0, 0.6):
        variance = (alpha * ratio) ** 2
        z = alpha * exact.draw(2000, rng) + variance**0.5 * rng.standard_normal((2000, 2))
        assert relative_error(score, exact, z, alpha, variance) < 0.13


def test_learned_score_of_two_clusters(rng):
    pytest.importorskip("sklearn", reason='it comes with pip install "ensf[learned]"')
    two = GaussianMixture(np.array([0.4, 0.6]), np.array([[-2.0, 0.0], [2.0, 1.0]]), np.array([0.3 * np.eye(2)] * 2))
    score = LearnedScore().fit(two.draw(500, rng), rng)
    for ratio, bound in ((0.5, 0.15), (1.0, 0.11), (2.0, 0.07)):
        z = two.draw(2000, rng) + ratio * rng.standard_normal((2000, 2))
        assert relative_error(score, two, z, 1.0, ratio**2) < bound
    drawn = draw(score, VariancePreserving(), DPMSolver(40), np.zeros((2000, 2)), rng)
    assert energy_distance(drawn, two.draw(2000, rng)) < 0.012


def test_what_was_learned_is_independent_of_the_schedule(rng):
    states = rng.standard_normal((100, 2)) + 5
    score, z = LearnedScore(Quadratic()).fit(states, rng), rng.standard_normal((4, 2))
    np.testing.assert_allclose(score(0.5 * z, 0.5, 0.09) * 0.5, score(z, 1.0, 0.36), rtol=1e-9)


def test_learned_score_stays_on_its_device_with_its_dtype(backend, rng):
    states = backend.array(rng.standard_normal((50, 2)))
    score = LearnedScore(Quadratic(), repeats=5).fit(states, rng)
    assert backend.owns(score(states, 0.8, 0.36))


# --- neighbourhoods --------------------------------------------------------------------------------------


def test_neighbours_on_a_line_and_a_plane():
    assert Neighbourhood(1, (4,)).neighbours().tolist() == [[3, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 0]]
    assert Neighbourhood(1, (4,), periodic=False).neighbours()[0].tolist() == [-1, 0, 1]
    plane = Neighbourhood(1, (3, 4)).neighbours()
    assert plane[5].tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert plane[0].tolist() == [11, 8, 9, 3, 0, 1, 7, 4, 5]
    assert Neighbourhood(1, (3, 4), periodic=False).neighbours()[0].tolist() == [-1, -1, -1, -1, 0, 1, -1, 4, 5]


def test_each_axis_has_its_own_width_and_edges():
    near = Neighbourhood((1, 2), (2, 5), periodic=(False, True)).neighbours()
    assert near.shape == (10, 15)
    assert near[1].tolist() == [-1] * 5 + [4, 0, 1, 2, 3] + [9, 5, 6, 7, 8]
    longer = Neighbourhood((1, 2), (2, 5), periodic=(False, True)).of_size(15)
    assert longer.shape == (3, 5) and longer.neighbours()[6].tolist() == [
        4,
        0,
        1,
        2,
        3,
        9,
        5,
        6,
        7,
        8,
        14,
        10,
        11,
        12,
        13,
    ]


def smooth(count, size, rng):
    """Draws of a stationary moving average on a ring, and its exact score."""
    kernel = np.array([0.5, 1.0, 0.5])
    matrix = sum(w * np.roll(np.eye(size), k - 1, axis=1) for k, w in enumerate(kernel))
    exact = GaussianMixture(np.ones(1), np.zeros((1, size)), (matrix @ matrix.T + 0.2 * np.eye(size))[None])
    return exact.draw(count, rng), exact


def test_a_neighbourhood_learns_from_few_states(rng):
    states, exact = smooth(30, 24, rng)
    z = smooth(300, 24, rng)[0] + rng.standard_normal((300, 24))
    local = LearnedScore(Quadratic(), Neighbourhood(2, (24,)), repeats=20).fit(states, rng)
    whole = LearnedScore(Quadratic(), repeats=20).fit(states, rng)
    assert relative_error(local, exact, z, 1.0, 1.0) < 0.15
    assert relative_error(whole, exact, z, 1.0, 1.0) > 2 * relative_error(local, exact, z, 1.0, 1.0)


def markov(times, rng, count):
    """Trajectories of independent places, each x' = .8 x + .6 xi and of unit variance, and their exact score."""
    correlation = 0.8 ** np.abs(np.subtract.outer(np.arange(times), np.arange(times)))
    exact = GaussianMixture(np.ones(1), np.zeros((1, 4 * times)), np.kron(correlation, np.eye(4))[None])
    return exact.draw(count, rng), exact


class AtEdges:
    """Least squares for every pattern of marks: linear in the values, with weights quadratic in the noise level."""

    def _groups(self, X):
        values, level, marks = np.split(X, [X.shape[1] // 2, X.shape[1] // 2 + 1], axis=1)
        rows = np.concatenate([values * level**q for q in range(3)], axis=1)
        patterns, group = np.unique(marks, axis=0, return_inverse=True)
        for k, pattern in enumerate(patterns):
            yield tuple(pattern), group.ravel() == k, rows[group.ravel() == k]

    def fit(self, X, y):
        self.weights = {pattern: np.linalg.lstsq(rows, y[at], rcond=None)[0] for pattern, at, rows in self._groups(X)}

    def predict(self, X):
        predicted = np.empty(len(X))
        for pattern, at, rows in self._groups(X):
            predicted[at] = rows @ self.weights[pattern]
        return predicted


def test_scores_of_short_windows_make_up_that_of_a_long_trajectory(rng):
    """Of a Markov chain: what is more than two times away hardly counts at this noise."""
    near = Neighbourhood((2, 1), (5, 4), periodic=(False, True))
    score = LearnedScore(AtEdges(), near, repeats=5).fit(markov(5, rng, 300)[0], rng)
    states, exact = markov(16, rng, 100)
    z = states + 0.7 * rng.standard_normal(states.shape)
    assert relative_error(score, exact, z, 1.0, 0.49) < 0.17

    def one_time(z, alpha, variance):
        return -z / (alpha**2 + variance)

    assert relative_error(one_time, exact, z, 1.0, 0.49) > 0.3


def test_weights_are_shared_by_all_places(rng):
    states, z = smooth(30, 12, rng)[0], smooth(4, 12, rng)[0]
    for neighbourhood, shift in ((Neighbourhood(1, (12,)), 3), (Neighbourhood(1, (3, 4)), 4)):
        score = LearnedScore(Quadratic(), neighbourhood, repeats=5).fit(states, rng)
        moved = score(np.roll(z, shift, axis=1), 1.0, 0.5)
        np.testing.assert_allclose(moved, np.roll(score(z, 1.0, 0.5), shift, axis=1), atol=1e-12)


def test_an_edge_is_seen(rng):
    states, z = smooth(30, 12, rng)[0], smooth(4, 12, rng)[0]
    score = LearnedScore(Quadratic(), Neighbourhood(1, (12,), periodic=False), repeats=5).fit(states, rng)
    changed = z.copy()
    changed[:, -1] += 3.0
    difference = score(changed, 1.0, 0.5) - score(z, 1.0, 0.5)
    assert np.abs(difference[:, :10]).max() < 1e-10 < np.abs(difference[:, 10:]).min()


# --- what is refused -------------------------------------------------------------------------------------


class Wrong(Quadratic):
    def predict(self, X):
        return np.zeros((len(X), 7))


@pytest.mark.parametrize(
    ("setting", "states", "message"),
    [
        (LearnedScore(Quadratic()), np.eye(4), "learned from 4 states: give 10 or more"),
        (LearnedScore(Wrong()), np.eye(12), r"Wrong predicts shape \(1, 7\) where it learned \(1, 12\)"),
        (
            LearnedScore(Wrong(), Neighbourhood(1, (12,))),
            np.eye(12),
            r"shape \(12, 7\) where it learned \(12, 1\)",
        ),
        (LearnedScore(Quadratic()), np.ones((20, 3)), "all states are equal"),
        (
            LearnedScore(Quadratic(), Neighbourhood(1, (5,))),
            np.eye(12),
            r"12 entries, but the neighbourhood has .* \(5,",
        ),
    ],
)
def test_bad_training_is_named(setting, states, message, rng):
    with pytest.raises(ValueError, match=message):
        setting.fit(states, rng)


@pytest.mark.parametrize(
    "build",
    [
        lambda: LearnedScore(repeats=0),
        lambda: Neighbourhood(0, (5,)),
        lambda: Neighbourhood(3, (5,)),
        lambda: Neighbourhood(1, (3, 4, 5)),
        lambda: Neighbourhood((1, 1), (5,)),
        lambda: Neighbourhood((1, 2), (9, 4), periodic=(False, True)),
        lambda: Neighbourhood(1, (9, 4), periodic=(False, True, True)),
        lambda: Neighbourhood((1, 2), (2, 5), periodic=(False, True)).of_size(12),
    ],
)
def test_bad_settings_are_named(build):
    with pytest.raises(ValueError, match="give"):
        build()


def test_the_regressor_that_was_handed_in_learns_nothing(rng):
    regressor = Quadratic()
    LearnedScore(regressor, repeats=2).fit(rng.standard_normal((20, 2)), rng)
    assert not hasattr(regressor, "weights")


def test_scikit_learn_and_torch_are_imported_late():
    code = "import sys, ensf, ensf.diffusion, ensf.diffusion.azula_denoiser; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(result.stdout.split()) & {"sklearn", "torch", "azula"}


# --- azula -----------------------------------------------------------------------------------------------


class Tensor(np.ndarray):
    """Stands for a tensor of PyTorch."""

    def detach(self):
        return self

    cpu = detach

    def to(self, other):
        return self.astype(other.dtype)


def tensor(values, dtype=None):
    return np.asarray(values, dtype=dtype).view(Tensor)


@pytest.fixture
def stand_ins(monkeypatch):
    """For PyTorch and azula 0.10: `Schedule(t) -> alpha, sigma`, `Denoiser(x_t, t) -> posterior`, `posterior.mean`."""
    torch, azula, denoise = (types.ModuleType(name) for name in ("torch", "azula", "azula.denoise"))
    torch.as_tensor, torch.no_grad, torch.float64 = tensor, contextlib.nullcontext, np.float64

    class Denoiser:
        def __call__(self, x_t, t, **kwargs):
            return self.forward(x_t, t, **kwargs)

    denoise.Denoiser = Denoiser
    denoise.DiracPosterior = lambda mean: types.SimpleNamespace(mean=mean)
    for name, module in (("torch", torch), ("azula", azula), ("azula.denoise", denoise)):
        monkeypatch.setitem(sys.modules, name, module)


def exact_denoiser(schedule):
    """Stands for an azula denoiser of N(2, 0.25): posterior mean at its own schedule."""

    def denoise(x_t, t):
        alpha, sigma = schedule(t)
        mean = 2.0 + alpha * 0.25 / (alpha**2 * 0.25 + sigma**2) * (x_t - alpha * 2.0)
        return types.SimpleNamespace(mean=tensor(mean))

    denoise.schedule = schedule
    return denoise


@pytest.mark.parametrize(
    "schedule",
    [lambda t: (np.exp(-5 * t**2), np.sqrt(1 - np.exp(-10 * t**2) + 1e-6)), lambda t: (np.ones_like(t), 1e-3 * 1e5**t)],
    ids=["VP", "VE"],
)
def test_an_azula_denoiser_serves_any_schedule(schedule, stand_ins, rng):
    z = rng.standard_normal((5, 3))
    score = azula_score(exact_denoiser(schedule)).fit(z, rng)
    for alpha, variance in ((0.6, 0.64), (1.0, 0.04), (0.1, 0.99)):
        exact = -(z - alpha * 2.0) / (alpha**2 * 0.25 + variance)
        np.testing.assert_allclose(score(z, alpha, variance), exact, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("time", [0.4, [0.1, 0.4, 0.4, 0.9, 0.1]])
def test_a_score_is_an_azula_denoiser(time, stand_ins, rng):
    """At one time, or at a time for every row."""

    def schedule(t):
        return 1 - 0.5 * t, 0.1 + t

    exact = GaussianMixture(np.ones(1), np.array([[2.0, -1.0]]), 0.25 * np.eye(2)[None])
    z, t = rng.standard_normal((5, 2)).astype(np.float32), np.broadcast_to(time, 5)[:, None]
    alpha, sigma = schedule(t)
    wanted = exact.means + alpha * 0.25 / (alpha**2 * 0.25 + sigma**2) * (z - alpha * exact.means)
    denoised = azula_denoiser(exact, schedule)(tensor(z), tensor(time)).mean
    np.testing.assert_allclose(denoised, wanted, rtol=1e-5)
    assert denoised.dtype == np.float32


def test_azula_itself(rng):
    torch = pytest.importorskip("torch", reason='it comes with pip install "ensf[azula]"')
    noise = pytest.importorskip("azula.noise")
    exact = GaussianMixture(np.ones(1), np.array([[2.0, -1.0]]), 0.25 * np.eye(2)[None])
    denoiser, z = azula_denoiser(exact, noise.VPSchedule()), rng.standard_normal((5, 2))
    x_t, t = torch.as_tensor(z), torch.tensor(0.4, dtype=torch.float64)
    alpha, sigma = (float(part) for part in noise.VPSchedule()(t))
    wanted = (z + sigma**2 * exact(z, alpha, sigma**2)) / alpha
    np.testing.assert_allclose(denoiser(x_t, t).mean.numpy(), wanted, rtol=1e-6)
    np.testing.assert_allclose(azula_score(denoiser).fit(z, rng)(z, 0.6, 0.64), exact(z, 0.6, 0.64), rtol=1e-3)


def test_without_torch_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModuleNotFoundError, match="ensf.azula"):
        azula_score(lambda x_t, t: None)


def test_without_scikit_learn_it_says_how_to_get_it(monkeypatch, rng):
    monkeypatch.setitem(sys.modules, "sklearn.neural_network", None)
    with pytest.raises(ModuleNotFoundError, match="ensf.learned"):
        LearnedScore().fit(rng.standard_normal((20, 2)), rng)


def test_a_learned_score_is_a_prior_of_its_own(rng):
    learned = LearnedScore(Quadratic(), repeats=5, noise=EDM()).fit(rng.standard_normal((40, 2)), rng)
    other, z = rng.standard_normal((3, 2)), rng.standard_normal((3, 2))
    np.testing.assert_array_equal(FunctionScore(learned).fit(other, rng)(z, 0.8, 0.36), learned(z, 0.8, 0.36))
