"""The skeletons of docs/extending.md keep what their kind promises: array, Dataset, twin, files and the contracts."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse
import test_contracts as contracts
import test_readers as readers
import xarray as xr
from filters import test_parts as parts
from rows import LINE, MEMBERS, SIZE
from test_docs import ROOT, blocks

from ensf import LETKF, LETSF, RTPS, AdaptiveInflation, Localization, Sphere, Tempered
from ensf.dataset import analyse
from ensf.models.lorenz96 import Lorenz96
from ensf.observations import Identity, Laplace, Observation, Select
from ensf.offline import Offline
from ensf.runs import restart
from ensf.twin import GaussianStart, Network, Streams, twin

FILTERS = ("MeanShift", "DEnKF")
every_filter = pytest.mark.parametrize("name", FILTERS)
NUMPY = SimpleNamespace(array=np.asarray, owns=lambda array: type(array) is np.ndarray)


@pytest.fixture(scope="module")
def page():
    """What the blocks of the page define."""
    names = {"__name__": "page"}
    with contextlib.redirect_stdout(io.StringIO()):
        for kind, text, _ in blocks(ROOT / "docs" / "extending.md"):
            if kind == "python":
                exec(compile(text, "extending.md", "exec", dont_inherit=True), names)
    return SimpleNamespace(**names)


@pytest.fixture
def prior(rng):
    smooth = np.exp(-0.3 * np.abs(np.subtract.outer(np.arange(SIZE), np.arange(SIZE))))
    return rng.standard_normal((MEMBERS, SIZE)) @ np.linalg.cholesky(smooth).T + rng.standard_normal(SIZE)


def made(page, name):
    return page.DEnKF(LINE) if name == "DEnKF" else page.MeanShift()


# --- a filter --------------------------------------------------------------------------------------------


@every_filter
@pytest.mark.parametrize("operator", contracts.OPERATORS.values(), ids=contracts.OPERATORS)
def test_a_filter_keeps_the_contract(page, name, operator, prior):
    method = made(page, name)
    contracts.test_returns_an_analysis_in_the_place_of_the_prior(method, operator, NUMPY, prior)
    contracts.test_arguments_are_not_changed(method, operator, prior.copy())
    contracts.test_missing_is_the_smaller_problem(method, operator, prior)
    contracts.test_everything_missing_returns_the_prior(method, operator, prior)
    contracts.test_order_of_members_does_not_matter(method, operator, prior)


@every_filter
def test_a_filter_keeps_the_rest_of_the_contract(page, name, prior):
    method = made(page, name)
    for promise in (
        contracts.test_a_float64_observation_leaves_a_float32_prior_float32,
        contracts.test_a_read_only_prior_is_enough,
        contracts.test_one_stream_one_analysis,
        contracts.test_memory_can_be_handed_on,
        contracts.test_settings_are_a_recipe,
        contracts.test_a_cycle_without_observations_keeps_the_memory,
        contracts.test_order_of_observations_does_not_matter,
    ):
        promise(method, *[prior.copy()][: promise.__code__.co_argcount - 1])


@every_filter
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parts_of_a_filter_are_the_whole(page, name, dtype, rng):
    method = made(page, name)
    parts.test_parts_equal_the_whole(method, parts.SINGLE, 0.0, dtype, rng)
    parts.test_parameters_in_parts(method, dtype, rng)
    parts.test_parts_equal_the_whole(RTPS(method, 0.3), parts.SINGLE, 0.0, dtype, rng)
    parts.test_parts_equal_the_whole(Tempered(method, 2), parts.SINGLE, 0.0, dtype, rng)


@every_filter
def test_a_filter_is_read_everywhere(page, name, prior):
    method, observation = made(page, name), Observation(prior[1, ::3], Select(range(0, SIZE, 3)), 0.5)
    readers.test_a_dataset_is_its_array(method, prior, observation)
    readers.test_a_twin_hands_on_what_the_filter_remembers(method)
    readers.test_what_a_filter_leaves_prints_shapes_and_no_numbers(method, prior, observation)


def test_what_a_filter_remembers_goes_through_a_restart_as_a_mapping(page, prior, tmp_path):
    @dataclass(frozen=True)
    class Last:
        total: np.ndarray

    class Remembering(page.MeanShift):
        remembers = dict

        def prepare(self, predicted, observation, rng, memory=None):
            update = super().prepare(predicted, observation, rng, memory)
            before = update.total if memory is None else memory["total"]
            return replace(update, memory={"total": 0.5 * (before + update.total)}, total=before)

    observation = Observation(prior[1, ::3], Select(range(0, SIZE, 3)), 0.5)
    readers.test_a_twin_hands_on_what_the_filter_remembers(Remembering())
    readers.test_a_restart_keeps_what_the_filter_remembers(Remembering(), prior, observation, tmp_path)
    with pytest.raises(ValueError, match="Last, which a restart cannot hold: make it of mappings"):
        restart.write(tmp_path / "class.npz", {"memory": Last(prior[0])})


def test_denkf_has_the_mean_of_the_kalman_filter_and_half_its_gain_for_anomalies(page, prior):
    observation = Observation(prior[1, ::3] + 0.1, Select(range(0, SIZE, 3)), 0.5)
    wide = Localization(LINE.geometry, 1e6)
    ensemble = page.DEnKF(wide).analyse(prior, observation, 1).ensemble
    covariance = np.cov(prior.T)
    gain = covariance[:, ::3] @ np.linalg.inv(covariance[::3, ::3] + 0.25 * np.eye(4))
    anomalies = prior - prior.mean(axis=0)
    mean = prior.mean(axis=0) + gain @ (observation.value - prior.mean(axis=0)[::3])
    np.testing.assert_allclose(ensemble, mean + anomalies - 0.5 * anomalies[:, ::3] @ gain.T, rtol=1e-8, atol=1e-8)


def test_what_a_filter_does_not_tell_is_refused_in_a_sentence(page, prior):
    observation = Observation(prior[1], Identity(), 0.5)
    with pytest.raises(ValueError, match="Shift does not tell its degrees of freedom"):
        AdaptiveInflation(page.MeanShift(), LINE).analyse(prior, observation, 1)
    with pytest.raises(ValueError, match="independent"):
        page.DEnKF(LINE).analyse(prior, Observation(prior[1], Identity(), Laplace(0.5)), 1)


def test_a_filter_of_ones_own_analyses_files(page, tmp_path, rng):
    grid = {"lat": ("lat", np.arange(40.0, 46.0)), "lon": ("lon", np.arange(5.0))}
    for member in range(1, 9):
        t = 280 + rng.normal() + 0.5 * rng.normal(size=(6, 5))
        xr.Dataset({"t": (("lat", "lon"), t)}, grid).to_netcdf(tmp_path / f"forecast_{member}.nc")
    (tmp_path / "obs.csv").write_text("variable,value,error,time,lat,lon\nt,281.5,0.5,2024-01-31,42.2,2.5\n")
    method = page.Positive(page.DEnKF(Localization(Sphere(), 300.0)))
    for filter, output in ((method, "whole"), (method.filter, "parts")):
        Offline(filter).analyse(str(tmp_path / "forecast_*.nc"), tmp_path / "obs.csv", tmp_path / output, rng=1)
    whole, pieces = (xr.open_dataset(tmp_path / output / "forecast_3.nc") for output in ("whole", "parts"))
    before = xr.open_dataset(tmp_path / "forecast_3.nc")
    np.testing.assert_array_equal(whole.t, pieces.t)
    assert not np.allclose(before.t, pieces.t)


# --- an operator, a law, a geometry ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Differences", "SquareOfMean"])
def test_an_operator_is_used_everywhere(page, name, rng):
    operator, prior = getattr(page, name)(), rng.standard_normal((MEMBERS, 6))
    count = operator(prior).shape[-1]
    observation = Observation(operator(prior[1]) + 0.1, operator, 0.5, position=np.arange(float(count))[:, None])
    method = LETSF(Localization(page.Euclidean(), 3.0, dims=("x",)))
    array = method.analyse(prior, observation, 1, positions=np.arange(6.0)[:, None]).ensemble
    data = xr.Dataset({"q": (("realization", "x"), prior)}, {"x": np.arange(6.0)})
    np.testing.assert_array_equal(analyse(data, observation, method, 1).q, array)
    network = Network(operator, 0.5, position=observation.position)
    start = GaussianStart(np.eye(6)[0], 1.0)
    settings = {"members": MEMBERS, "cycles": 3, "interval": 0.05, "streams": Streams.spawn(1)}
    assert [cycle.observation.size for cycle in twin(Lorenz96(6), method, network, start, **settings)] == [count] * 3


@pytest.mark.parametrize("deviation", [0.5, np.array([0.5, 1.0, 2.0, 0.3])])
def test_a_law_is_a_density_with_its_deviation(page, deviation, rng):
    law, value, predicted, step = page.Logistic(deviation), np.zeros(4), rng.normal(size=(5, 4)), 1e-6
    slope = (law.each(value, predicted + step) - law.each(value, predicted - step)) / (2 * step)
    np.testing.assert_allclose(law.score(value, predicted), slope, rtol=1e-6, atol=1e-7)
    draws = law.draw(np.zeros((200_000, 4)), rng)
    np.testing.assert_allclose(draws.std(axis=0), deviation * np.ones(4), rtol=0.02)
    assert "array" not in repr(law)
    index = np.array([3, 0])
    part, whole = law.restrict(index).each(value[index], predicted[:, index]), law.each(value, predicted)[:, index]
    np.testing.assert_array_equal(part, whole)
    observation = Observation(value, Select((0, 2, 4, 6)), law)
    parts.assert_parts_equal_the_whole(
        LETSF(LINE), rng.standard_normal((9, SIZE)), np.arange(float(SIZE))[:, None], observation, rng
    )


def test_a_law_without_a_verb_says_so(page, prior):
    class Silent(page.Independent):
        pass

    observation = Observation(prior[1], Identity(), Silent(0.5))
    with pytest.raises(ValueError, match=r"Silent has no each\(value, predicted\)"):
        LETSF().analyse(prior, observation, 1)
    with pytest.raises(ValueError, match=r"Silent has no draw\(predicted, rng\)"):
        Network(Identity(), Silent(0.5)).observe(prior[0], 0, np.random.default_rng(1))
    with pytest.raises(ValueError, match=r"Silent has no score\(value, predicted\)"):
        observation.score(prior)


def test_a_geometry_has_its_zeros_and_goes_into_a_dataset(page, rng):
    near = page.Rooms().pairs(page.places, page.places, 1.0)
    assert isinstance(near, scipy.sparse.csr_array) and near.nnz == 14 and (near.diagonal() == 0).all()
    prior = rng.standard_normal((MEMBERS, 6))
    data = xr.Dataset(
        {"q": (("realization", "room", "x"), prior.reshape(-1, 2, 3))}, {"room": [0.0, 1.0], "x": [0.0, 1, 2]}
    )
    method = LETKF(Localization(page.Rooms(), 1.0, dims=("room", "x")))
    observation = Observation([1.0], Select([0]), 0.5)
    array = method.analyse(prior, observation, 1, positions=page.places).ensemble
    np.testing.assert_array_equal(analyse(data, observation, method, 1).q.values.reshape(-1, 6), array)
    assert (array[:, 3:] == prior[:, 3:]).all() and not (array[:, :1] == prior[:, :1]).any()
