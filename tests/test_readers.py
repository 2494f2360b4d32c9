"""Every filter and wrapper through everything that reads filters: array, Dataset, twin, recipe, restart, parts."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from rows import FILTERS, MEMBERS, SIZE

from ensf.dataset import Problem
from ensf.filters import Preparable, usable
from ensf.filters.base import Smoothing
from ensf.models.lorenz96 import Lorenz96
from ensf.observations import Identity, Observation, Select
from ensf.runs import restart
from ensf.runs.recipe.reader import read_method
from ensf.twin import GaussianStart, Network, Streams, twin

pytestmark = pytest.mark.filterwarnings("ignore::ensf.StiffnessWarning")
every_filter = pytest.mark.parametrize("method", [row.filter for row in FILTERS.values()], ids=FILTERS)
INDEX = np.arange(float(SIZE))[:, None]


@pytest.fixture
def prior(rng):
    smooth = np.exp(-0.3 * np.abs(np.subtract.outer(np.arange(SIZE), np.arange(SIZE))))
    return rng.standard_normal((MEMBERS, SIZE)) @ np.linalg.cholesky(smooth).T


@pytest.fixture
def observation(prior):
    return Observation(prior[1, [0, 3, 4, 9]] + 0.2, Select((0, 3, 4, 9)), np.array([0.3, 0.5, 0.4, 0.6]))


def analysed(method, prior, observation, memory=None):
    return method.analyse(prior, observation, np.random.default_rng(4), memory)


@every_filter
def test_a_dataset_is_its_array(method, prior, observation):
    dataset = xr.Dataset({"q": (("realization", "x"), prior)}, {"x": np.arange(float(SIZE))})
    if isinstance(method, Smoothing):  # there are no earlier states in one Dataset
        with pytest.raises(ValueError, match=r"method is a Smoother .* give LETKF\(.*\), and correct them"):
            Problem.of(dataset, observation, method)
        method = method.filter
    result = Problem.of(dataset, observation, method).analyse(np.random.default_rng(4))
    np.testing.assert_array_equal(result.ensemble, analysed(method, prior, observation).ensemble)


@every_filter
def test_a_recipe_is_the_filter(method, prior, observation):
    again = read_method(repr(method))
    assert again == method
    np.testing.assert_array_equal(
        analysed(again, prior, observation).ensemble, analysed(method, prior, observation).ensemble
    )


@every_filter
def test_a_twin_hands_on_what_the_filter_remembers(method):
    model, network, streams = Lorenz96(SIZE), Network(Identity(), 0.5), Streams.spawn(1)
    start = GaussianStart(np.eye(SIZE)[0], 1.0)
    cycles = list(
        twin(model, method, network, start, members=MEMBERS, cycles=3, interval=0.05, streams=Streams.spawn(1))
    )
    _, ensemble = start.draw(MEMBERS, streams)
    memory = None
    for cycle in cycles:
        forecast = model.advance(ensemble, cycle.time - 0.05, 0.05, streams.model_noise)
        analysis = method.analyse(forecast, cycle.observation, streams.filter, memory)
        ensemble, memory = analysis.ensemble, analysis.memory
        np.testing.assert_array_equal(ensemble, cycle.analysis.ensemble)


@every_filter
def test_a_restart_keeps_what_the_filter_remembers(method, prior, observation, tmp_path):
    memory = analysed(method, prior, observation).memory
    restart.write(tmp_path / "restart.npz", {"memory": memory})
    kept = restart.read(tmp_path / "restart.npz")["memory"]
    next_one = analysed(method, prior, observation, memory).ensemble
    np.testing.assert_array_equal(analysed(method, prior, observation, kept).ensemble, next_one)


@pytest.mark.parametrize(
    "method",
    [row.filter for row in FILTERS.values() if isinstance(row.filter, Preparable)],
    ids=[name for name, row in FILTERS.items() if isinstance(row.filter, Preparable)],
)
@pytest.mark.parametrize("cut", [range(SIZE + 1), (0, SIZE), (0, 1, 5, 6, SIZE)], ids=["one entry", "all", "some"])
def test_parts_are_the_whole(method, cut, prior, observation, rng):
    whole = analysed(method, prior, observation).ensemble
    states, present, positions = usable(prior, observation)
    update = method.prepare(present.predict(states), present, np.random.default_rng(4))
    order, result = rng.permutation(SIZE), np.empty_like(prior)
    for start, stop in zip(cut, list(cut)[1:], strict=False):
        part = order[start:stop]
        result[:, part] = update.near(positions[part]).apply(prior[:, part], positions[part], part)
    np.testing.assert_array_equal(result, whole)


@every_filter
def test_what_a_filter_leaves_prints_shapes_and_no_numbers(method, prior, observation):
    analysis = analysed(method, prior, observation)
    words = f"{analysis!r} {analysis.update!r} {analysis.memory!r}"
    assert "array(" not in words and "\n" not in words and len(words) < 3000
