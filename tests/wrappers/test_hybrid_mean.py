"""The hybrid mean: its covariances against dense ones, its mean against closed forms, what it is invariant under."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad

from ensf import (
    ETKF,
    LETKF,
    LETSF,
    DisplacementCovariance,
    EnsembleCovariance,
    Euclidean,
    HybridMean,
    Identity,
    Layered,
    Linear,
    Localization,
    Observation,
    Periodic,
    Pointwise,
    Product,
    Select,
    Sphere,
    StaticCovariance,
    arctan,
    gaspari_cohn,
)
from ensf.arrays import to_numpy
from ensf.observations import Correlated, StudentT
from ensf.wrappers import ForecastInflation
from ensf.wrappers.hybrid_mean.conjugate_gradients import conjugate_gradients
from ensf.wrappers.hybrid_mean.grid import PeriodicGrid

NY, NX, MEMBERS = 6, 8, 5
PLANE = Product(Periodic((60.0, 80.0)), 4.0)
LOCAL = LETKF(Localization(PLANE, 25.0))
MODELS = {
    "ensemble": EnsembleCovariance((20.0, 12.0), (35.0,), vertical_half_width=15.0, weight=0.5),
    "static": StaticCovariance(20.0, weight=0.3),
    "displacement": DisplacementCovariance(9.0, weight=0.2),
}
HYBRID = HybridMean(LOCAL, PLANE, **MODELS, tolerance=1e-12)


def plane(levels=(0.0, 2.0)):
    """Positions (level, y, x) of a state that is laid out so."""
    z, y, x = np.meshgrid(levels, 10.0 * np.arange(NY), 10.0 * np.arange(NX), indexing="ij")
    return np.stack([y.ravel(), x.ravel(), z.ravel()], axis=1)


def turbulence(rng, members=MEMBERS, levels=2):
    """Members with more variance in large scales, (member, state)."""
    noise = np.fft.fft2(rng.standard_normal((members + 1, levels, NY, NX)))
    size = np.hypot(np.fft.fftfreq(NY, 10.0)[:, None], np.fft.fftfreq(NX, 10.0))
    fields = np.fft.ifft2(noise / (1 + (30 * size) ** 2)).real
    return 3 * (fields[:1] + fields[1:]).reshape(members, -1)


def dense(product, size):
    return np.stack([product(row) for row in np.eye(size)], axis=1)


@pytest.fixture
def prior(rng):
    return turbulence(rng)


# --- the covariances ---------------------------------------------------------------------------------------------


def moved(field, dy, dx):
    return np.roll(field, (dy, dx), axis=(-2, -1))


def circulant(kernel):
    """Matrix of a convolution with a kernel ``(NY, NX)``."""
    return np.stack([moved(kernel, dy, dx).ravel() for dy in range(NY) for dx in range(NX)], axis=1)


def distance():
    y, x = (10.0 * np.minimum(np.arange(n), n - np.arange(n)) for n in (NY, NX))
    return np.hypot(y[:, None], x)


def filtered(field, response):
    return np.fft.ifft2(np.fft.fft2(field) * response).real


def wavenumber():
    return np.hypot(np.fft.fftfreq(NY, 10.0)[:, None], np.fft.fftfreq(NX, 10.0))


def dense_ensemble(model, anomalies):
    """By roots of matrices, scale by scale."""
    place = np.clip(0.5 + np.log(np.maximum(wavenumber(), 1e-9) * 35.0) / 0.7, 0, 1)
    large = 0.5 + 0.5 * np.cos(np.pi * place)
    parts = [filtered(anomalies, band).reshape(MEMBERS, -1) for band in (large, 1 - large)]
    vertical = gaspari_cohn(np.array([[0.0, 8.0], [8.0, 0.0]]), 15.0)
    roots = []
    for half_width in model.half_widths:
        values, vectors = np.linalg.eigh(circulant(gaspari_cohn(distance(), half_width)))
        roots.append(np.kron(np.linalg.cholesky(vertical), vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T))
    columns = [sum(part[j][:, None] * root for part, root in zip(parts, roots, strict=True)) for j in range(MEMBERS)]
    return sum(column @ column.T for column in columns)


def dense_static(model, anomalies):
    """By sums over rings of wavenumbers, pair by pair of layers."""
    smoother = np.exp(-0.5 * (2 * np.pi * wavenumber() * model.smoothing) ** 2)
    deviation = np.sqrt(filtered((anomalies**2).sum(axis=0), smoother))
    spectra = np.fft.fft2(anomalies / deviation)
    ring = np.rint(wavenumber() * 80.0)
    blocks = np.empty((2, NY * NX, 2, NY * NX))
    for one in range(2):
        for other in range(2):
            cross = (spectra[:, one] * spectra[:, other].conj()).real.sum(axis=0)
            mean = np.zeros_like(cross)
            for number in np.unique(ring):
                mean[ring == number] = cross[ring == number].mean()
            blocks[one, :, other] = circulant(np.fft.ifft2(mean).real)
    scale = np.sqrt([blocks[one, 0, one, 0] for one in range(2)])
    correlation = blocks / scale[:, None, None, None] / scale[None, None, :, None]
    return deviation.ravel()[:, None] * correlation.reshape(2 * NY * NX, -1) * deviation.ravel()


def dense_displacement(model, anomalies, mean):
    """Of streamfunctions with the correlation in space that their spectrum has, and the gradient of the mean."""
    frequencies = (np.fft.fftfreq(count, 10.0) for count in (NY, NX))
    ky, kx = (2j * np.pi * np.where(np.abs(f) == 0.05, 0, f) for f in frequencies)
    derivative_y = np.stack([np.fft.ifft2(ky[:, None] * np.fft.fft2(e)).real.ravel() for e in units()], axis=1)
    derivative_x = np.stack([np.fft.ifft2(kx * np.fft.fft2(e)).real.ravel() for e in units()], axis=1)
    k = 2 * np.pi * wavenumber()
    spectrum = (1 + (9.0 * k) ** 2) ** -2.5
    near = circulant(np.fft.ifft2(spectrum).real)
    apart = circulant(np.fft.ifft2(spectrum / np.cosh(k * 8.0 / 2)).real)
    streams = np.block([[near, apart], [apart, near]])
    jacobians = np.zeros((2 * NY * NX, 2 * NY * NX))
    for layer in range(2):
        here = slice(layer * NY * NX, (layer + 1) * NY * NX)
        gradient_y, gradient_x = derivative_y @ mean[layer].ravel(), derivative_x @ mean[layer].ravel()
        jacobians[here, here] = gradient_y[:, None] * derivative_x - gradient_x[:, None] * derivative_y
    covariance = jacobians @ streams @ jacobians.T
    return covariance * (anomalies**2).sum(axis=0).mean() / np.diag(covariance).mean()


def units():
    return np.eye(NY * NX).reshape(-1, NY, NX)


@pytest.mark.parametrize("name", MODELS)
def test_a_covariance_is_what_a_dense_construction_makes_of_it(name, prior):
    fields = prior.reshape(MEMBERS, 2, NY, NX)
    mean = fields.mean(axis=0)
    anomalies = (fields - mean) / np.sqrt(MEMBERS - 1)
    model, grid = MODELS[name], PeriodicGrid.of(PLANE, plane())
    product = model.on(grid, mean, anomalies)
    found = dense(lambda row: product(row.reshape(2, NY, NX)).ravel(), prior.shape[1])
    if name == "ensemble":
        expected = dense_ensemble(model, anomalies)
    elif name == "static":
        expected = dense_static(model, anomalies)
    else:
        expected = dense_displacement(model, anomalies, mean)
    np.testing.assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("name", MODELS)
def test_a_covariance_is_symmetric_and_positive_semidefinite(name, prior):
    one = replace(HYBRID, **{other: None for other in MODELS if other not in (name, "ensemble")})
    if name != "ensemble":
        one = replace(one, ensemble=replace(MODELS["ensemble"], weight=0.0))
    matrix = dense(one.covariance(prior, plane()), prior.shape[1])
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-10 * matrix.max())
    assert np.linalg.eigvalsh(matrix).min() > -1e-10 * matrix.max()


def test_mean_variances_are_those_of_the_members(prior):
    """Of all three, where the taper is 1 at no distance; the mean over the plane."""
    wanted = prior.var(axis=0, ddof=1).mean()
    for name in ("static", "displacement"):
        none = replace(MODELS["ensemble"], weight=0.0)
        others = {other: None for other in ("static", "displacement") if other != name}
        one = replace(HYBRID, ensemble=none, **others, **{name: replace(MODELS[name], weight=1.0)})
        variance = np.diag(dense(one.covariance(prior, plane()), prior.shape[1]))
        assert variance.mean() == pytest.approx(wanted, rel=1e-6)


def test_bands_sum_to_one_and_meet_half_way():
    grid = PeriodicGrid.of(Periodic((100.0,)), np.arange(100.0)[:, None])
    bands = EnsembleCovariance((30.0, 20.0, 10.0), (25.0, 10.0)).bands(grid)
    np.testing.assert_allclose(bands.sum(axis=0), 1.0, atol=1e-15)
    assert bands.min() >= 0 and bands[0, 0] == bands[2, -1] == 1
    np.testing.assert_allclose([bands[0, 4], bands[2, 10]], 0.5)  # wavelengths of 25 and of 10


# --- the mean ----------------------------------------------------------------------------------------------------


def gain(covariance, operator, error):
    return covariance @ operator.T @ np.linalg.inv(operator @ covariance @ operator.T + np.diag(error**2))


def test_without_localization_it_is_the_ensemble_kalman_filter(prior, rng):
    whole = HybridMean(ETKF(), PLANE, EnsembleCovariance((np.inf,), weight=1.0), tolerance=1e-13)
    seen = Observation(rng.normal(size=7), Select((0, 3, 20, 47, 48, 50, 90)), np.linspace(0.3, 1.0, 7))
    analysis = whole.analyse(prior, seen, 1, positions=plane())
    expected = ETKF().analyse(prior, seen, 1).ensemble
    np.testing.assert_allclose(analysis.ensemble, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("operator", [Select(tuple(range(0, 96, 5))), "averages"], ids=["points", "averages"])
def test_the_mean_is_the_dense_solution(operator, prior, rng):
    if operator == "averages":
        operator = Linear(rng.uniform(size=(9, 96)) / 50)
    matrix = operator(np.eye(96)).T
    error, value = rng.uniform(0.2, 1.0, size=len(matrix)), rng.normal(size=len(matrix))
    place = plane()[: len(matrix)]
    analysis = HYBRID.analyse(prior, Observation(value, operator, error, position=place), 1, positions=plane())
    mean = prior.mean(axis=0)
    covariance = dense(HYBRID.covariance(prior, plane()), 96)
    expected = mean + gain(covariance, matrix, error) @ (value - matrix @ mean)
    np.testing.assert_allclose(analysis.ensemble.mean(axis=0), expected, rtol=1e-8, atol=1e-9)
    local = LOCAL.analyse(prior, Observation(value, operator, error, position=place), 1, positions=plane()).ensemble
    np.testing.assert_allclose(
        analysis.ensemble - analysis.ensemble.mean(axis=0), local - local.mean(axis=0), atol=1e-12
    )


def test_it_takes_the_prior_as_the_filter_inside_takes_it(prior):
    seen = Observation(prior[1, ::4] + 0.5, Select(range(0, 96, 4)), 0.4)
    inflated = replace(HYBRID, filter=ForecastInflation(LOCAL, 1.5))
    by_hand = prior.mean(axis=0) + 1.5 * (prior - prior.mean(axis=0))
    expected = HYBRID.analyse(by_hand, seen, 1, positions=plane()).ensemble
    np.testing.assert_allclose(inflated.analyse(prior, seen, 1, positions=plane()).ensemble, expected, atol=1e-9)


# --- sensors that are not linear ---------------------------------------------------------------------------------


def exact_mean(mean, variance, likelihood):
    def moment(power):
        density = lambda x: x**power * likelihood(x) * np.exp(-0.5 * (x - mean) ** 2 / variance)  # noqa: E731
        places = mean + variance**0.5 * np.linspace(-12, 12, 41)
        return quad(density, places[0], places[-1], limit=400, points=places)[0]

    return moment(1) / moment(0)


@pytest.mark.parametrize("weight", [1.0, 0.4])
@pytest.mark.parametrize(
    ("value", "operator", "law", "likelihood"),
    [
        (1.3, Pointwise(arctan, Select((3,))), 0.05, lambda x: np.exp(-0.5 * ((1.3 - np.arctan(x)) / 0.05) ** 2)),
        (2.5, Select((3,)), StudentT(0.9, 4.0), None),
        (1.0, Select((3,)), 0.5, lambda x: np.exp(-0.5 * ((1.0 - x) / 0.5) ** 2)),
    ],
    ids=["arctan", "Student-t", "linear"],
)
def test_one_observation_has_the_exact_mean(weight, value, operator, law, likelihood, rng):
    """And what is not observed follows by regression."""
    prior = rng.normal(0.5, 1.0, size=(8, 12))
    seen = Observation(np.array([value]), operator, law)
    if likelihood is None:
        likelihood = lambda x: np.exp(seen.law.each(seen.value, np.array([x]))[0])  # noqa: E731
    ring = HybridMean(LETSF(), Periodic((12.0,)), EnsembleCovariance((np.inf,), weight=weight), tolerance=1e-10)
    mean, covariance = prior.mean(axis=0), weight * np.cov(prior.T)
    change = exact_mean(mean[3], covariance[3, 3], likelihood) - mean[3]
    expected = mean + covariance[:, 3] / covariance[3, 3] * change
    np.testing.assert_allclose(ring.analyse(prior, seen, 1).ensemble.mean(axis=0), expected, rtol=1e-3, atol=1e-3)


# --- what it is invariant under, and where it is -----------------------------------------------------------------


def turned(states, side):
    """A quarter turn of square fields of two levels."""
    return np.rot90(states.reshape(*states.shape[:-1], 2, side, side), axes=(-2, -1)).reshape(states.shape)


def shifted(states, side):
    return moved(states.reshape(*states.shape[:-1], 2, side, side), 2, -1).reshape(states.shape)


@pytest.mark.parametrize("change", [turned, shifted])
def test_a_turned_or_shifted_plane_has_the_turned_or_shifted_analysis(change, rng):
    side = 6
    z, y, x = np.meshgrid([0.0, 2.0], *[10.0 * np.arange(side)] * 2, indexing="ij")
    positions = np.stack([y.ravel(), x.ravel(), z.ravel()], axis=1)
    square = Product(Periodic((60.0, 60.0)), 4.0)
    method = replace(HYBRID, filter=LETKF(Localization(square, 25.0)), geometry=square)
    prior = rng.normal(size=(MEMBERS, 2 * side**2))
    value = np.where(rng.random(2 * side**2) < 0.6, rng.normal(size=2 * side**2), np.nan)
    analysis, other = (
        method.analyse(ensemble, Observation(seen, Identity(), 0.5), 1, positions=positions).ensemble
        for ensemble, seen in ((prior, value), (change(prior, side), change(value, side)))
    )
    np.testing.assert_allclose(other, change(analysis, side), atol=1e-8)


def test_the_order_of_state_variables_does_not_matter(prior, rng):
    order, positions = rng.permutation(96), plane()
    seen = Observation(prior[1] + 0.3, Identity(), 0.5)
    expected = HYBRID.analyse(prior, seen, 1, positions=positions).ensemble[:, order]
    shuffled = Observation(seen.value[order], Identity(), 0.5)
    found = HYBRID.analyse(prior[:, order], shuffled, 1, positions=positions[order]).ensemble
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_other_arrays_give_the_same(prior, backend):
    seen = Observation(backend.array(prior[1, ::3] + 0.3), Select(range(0, 96, 3)), 0.5)
    plain = Observation(prior[1, ::3] + 0.3, Select(range(0, 96, 3)), 0.5)
    method = replace(HYBRID, tolerance=1e-5)
    found = method.analyse(backend.array(prior), seen, 1, positions=plane()).ensemble
    assert backend.owns(found)
    expected = method.analyse(prior, plain, 1, positions=plane()).ensemble
    np.testing.assert_allclose(to_numpy(found), expected, atol=max(1e-9, backend.tolerance))


def test_levels_at_the_same_height_are_variables(rng):
    """Two variables at every point of one level: a vertical distance of zero."""
    positions = np.tile(plane((0.0,)), (2, 1))
    prior = rng.normal(size=(MEMBERS, 96))
    grid = PeriodicGrid.of(PLANE, positions)
    assert grid.shape == (NY, NX) and not grid.separation.any()
    np.testing.assert_array_equal(grid.fields(prior), prior.reshape(MEMBERS, 2, NY, NX))
    np.testing.assert_array_equal(grid.states(grid.fields(prior)), prior)


@pytest.mark.parametrize("geometry", [Euclidean(), Sphere(), Periodic((60.0, np.inf)), Layered(Sphere(), 2.0), 3])
def test_another_geometry_is_refused(geometry):
    with pytest.raises(ValueError, match="give a plane that wraps in both directions, or a ring"):
        replace(HYBRID, geometry=geometry)


def test_covariances_that_are_all_nothing_are_refused():
    nothing = {"ensemble": replace(HYBRID.ensemble, weight=0.0), "static": None, "displacement": None}
    with pytest.raises(ValueError, match="all covariances of HybridMean have weight 0: give one a positive weight"):
        replace(HYBRID, **nothing)


def test_positions_that_are_no_grid_are_refused(prior):
    seen = Observation(prior[1], Identity(), 0.5)
    torn, positions = plane(), plane()
    torn[3, 1] += 2.0
    with pytest.raises(ValueError, match="evenly spaced around the period"):
        HYBRID.analyse(prior, seen, 1, positions=torn)
    with pytest.raises(ValueError, match="the same layers at every point"):
        HYBRID.analyse(prior[:, :-1], Observation(prior[1, :-1], Identity(), 0.5), 1, positions=positions[:-1])
    for given, has in ((positions[:, :2], 2), (None, 1)):
        with pytest.raises(ValueError, match=rf"have {has} coordinates but .* needs 3: give HybridMean positions="):
            replace(HYBRID, filter=ETKF()).analyse(prior, seen, 1, positions=given)


def test_what_it_cannot_take_is_refused(prior, rng):
    covariance = np.eye(96) + 0.5
    with pytest.raises(ValueError, match="needs independent errors"):
        HYBRID.analyse(prior, Observation(prior[1], Identity(), Correlated(covariance)), 1, positions=plane())
    ring = HybridMean(ETKF(), Periodic((12.0,)), MODELS["ensemble"], displacement=MODELS["displacement"])
    with pytest.raises(ValueError, match="DisplacementCovariance needs a plane: leave it out on a ring"):
        ring.analyse(rng.normal(size=(5, 12)), Observation(np.zeros(12), Identity(), 0.5), 1)


@pytest.mark.parametrize(
    "build",
    [
        lambda: EnsembleCovariance((3.0, 2.0)),
        lambda: EnsembleCovariance((3.0, 2.0, 1.0), (4.0, 5.0)),
        lambda: EnsembleCovariance((-3.0,)),
        lambda: EnsembleCovariance((3.0,), vertical_half_width=0.0),
        lambda: StaticCovariance(-1.0),
        lambda: StaticCovariance(1.0, weight=-0.1),
        lambda: DisplacementCovariance(0.0),
        lambda: replace(HYBRID, tolerance=1.0),
        lambda: replace(HYBRID, max_steps=0),
        lambda: replace(HYBRID, ensemble=EnsembleCovariance),
    ],
)
def test_settings_out_of_range_are_refused(build):
    with pytest.raises(ValueError, match="give"):
        build()


@pytest.mark.parametrize("rank", [1, 3])
def test_conjugate_gradients_take_a_step_for_each_eigenvalue(rank, rng):
    basis = np.linalg.qr(rng.normal(size=(9, 9)))[0][:, :rank]
    matrix = np.eye(9) + basis * np.arange(2.0, 2.0 + rank) @ basis.T
    right = rng.normal(size=9)
    solution, steps = conjugate_gradients(lambda vector: matrix @ vector, right, 1e-12, 50)
    assert steps == rank + 1
    np.testing.assert_allclose(solution, np.linalg.solve(matrix, right), rtol=1e-10)
    assert conjugate_gradients(lambda vector: matrix @ vector, right, 1e-12, 1)[1] == 1
