"""What is applied to a part of the state has, bit for bit, the numbers that it has in the whole."""

from __future__ import annotations

import numpy as np
import pytest
from rows import FILTERS as ROWS

from ensf.filters import (
    ETKF,
    LETKF,
    LETSF,
    EnKF,
    FixedGainMAP,
    Kernel,
    ParticleFilter,
    Preparable,
    QuantileFilter,
    RankHistogram,
)
from ensf.localization import Euclidean, InformationLimit, Localization, Product
from ensf.observations import Callback, Laplace, Linear, Observation, Pointwise, Select, arctan
from ensf.wrappers import (
    RTPP,
    RTPS,
    AdaptiveInflation,
    AdaptiveSpread,
    AnalysisInflation,
    DeferredAnalysis,
    FiniteSize,
    ForecastInflation,
    Rotation,
    Tempered,
)

SIZE, MEMBERS = 60, 9
LOCAL = Localization(Euclidean(), 5.0)
LEVELS = Localization(Product(Euclidean(), 3.0), 8.0)

FILTERS = {
    "EnKF": EnKF(),
    "ETKF": ETKF(),
    "LETKF": LETKF(LOCAL),
    "LETKF limited": LETKF(LOCAL, InformationLimit(0.3)),
    "LETKF unresolved": LETKF(LOCAL, unresolved_variance=0.2),
    "LETSF": LETSF(LOCAL),
    "LETSF of four steps": LETSF(LOCAL, steps=4),
    "LETSF global": LETSF(steps=3),
    "LETSF limited": LETSF(LOCAL, information_limit=InformationLimit(0.3)),
    "LETSF unresolved": LETSF(LOCAL, unresolved_variance=0.2),
    "QuantileFilter": QuantileFilter(LOCAL),
    "QuantileFilter everywhere": QuantileFilter(marginal=Kernel(1.0)),
    "QuantileFilter probit": QuantileFilter(LOCAL, RankHistogram(-1e9), probit=True),
    "ParticleFilter": ParticleFilter(),
    "ParticleFilter jitter": ParticleFilter(0.3),
    "FixedGainMAP": FixedGainMAP(),
}
INSIDE = {"ETKF": ETKF(), "LETSF": LETSF(LOCAL)}
AROUND = {
    "ForecastInflation": lambda inside: ForecastInflation(inside, 1.1),
    "AnalysisInflation": lambda inside: AnalysisInflation(inside, 1.1),
    "RTPS": lambda inside: RTPS(inside, 0.5),
    "RTPP": lambda inside: RTPP(inside, 0.5),
    "Rotation": Rotation,
    "FiniteSize": FiniteSize,
    "AdaptiveInflation": lambda inside: AdaptiveInflation(inside, LOCAL),
    "AdaptiveInflation surprised": lambda inside: AdaptiveInflation(inside, LOCAL, surprise_limit=0.01),
    "AdaptiveSpread": lambda inside: AdaptiveSpread(inside, LOCAL),
    "AdaptiveSpread surprised": lambda inside: AdaptiveSpread(inside, LOCAL, surprise_limit=0.01),
    "DeferredAnalysis": DeferredAnalysis,
    "Tempered": lambda inside: Tempered(inside, 2),
}
METHODS = FILTERS | {
    f"{outer}({name})": wrap(inside) for outer, wrap in AROUND.items() for name, inside in INSIDE.items()
}
METHODS |= {  # a filter that is a row of the contracts and not yet above
    name: row.filter
    for name, row in ROWS.items()
    if isinstance(row.filter, Preparable) and type(row.filter) not in {type(method) for method in METHODS.values()}
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def problem(dtype, offset, operator, rng):
    """Prior, positions at one or two levels, an observation."""
    positions = np.sort(rng.uniform(0, 50, SIZE // 2))
    positions = np.concatenate([positions, positions])[:, None]
    prior = rng.standard_normal((MEMBERS, 6)) @ rng.standard_normal((6, SIZE)) + rng.standard_normal((MEMBERS, SIZE))
    prior = (prior + offset).astype(dtype)
    value = operator(prior[:1].astype(np.float64))[0] + 0.3
    value[2] = np.nan
    error = rng.uniform(0.3, 0.8, len(value))
    return prior, positions, Observation(value.astype(dtype), operator, error)


def cuts(size, rng):
    """Parts of any kind in any order: single entries, a few, everything."""
    yield from ([entry] for entry in rng.permutation(size)[:4])
    for parts in (2, 9) if size > 9 else (2, 5):
        order = rng.permutation(size)
        yield from np.split(order, np.sort(rng.choice(np.arange(1, size), parts - 1, replace=False)))
    yield np.arange(size)[::-1]


def assert_parts_equal_the_whole(method, prior, positions, observation, rng):
    analysis = method.analyse(prior, observation, np.random.default_rng(3), None, positions)
    update, whole = analysis.update, analysis.ensemble
    assert whole.dtype == prior.dtype and np.isfinite(whole).all()
    for entries in cuts(prior.shape[1], rng):
        part, places = prior[:, entries], positions[entries]
        np.testing.assert_array_equal(update.apply(part, places, entries), whole[:, entries])
        np.testing.assert_array_equal(update.near(places).apply(part, places, entries), whole[:, entries])
        np.testing.assert_array_equal(update.apply(np.asfortranarray(part), places, entries), whole[:, entries])


SINGLE = Select(range(3, 57, 3))
CASES = {"select": (SINGLE, 0.0), "large": (SINGLE, 1e5), "arctan": (Pointwise(arctan, SINGLE), 0.0)}


@every_method
@pytest.mark.parametrize(("operator", "offset"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parts_equal_the_whole(method, operator, offset, dtype, rng):
    prior, positions, observation = problem(dtype, offset, operator, rng)
    assert_parts_equal_the_whole(method, prior, positions, observation, rng)


@pytest.mark.parametrize(
    "name", ["ETKF", "LETKF", "LETSF", "QuantileFilter", "QuantileFilter probit", "ParticleFilter"]
)
@pytest.mark.parametrize("operator", ["matrix", "callback"])
def test_parts_equal_the_whole_for_observations_of_several_variables(name, operator, rng):
    matrix = rng.standard_normal((8, SIZE)) * (rng.random((8, SIZE)) < 0.1)
    operator = Linear(matrix) if operator == "matrix" else Callback(lambda x: (x @ matrix.T) ** 3 / 10, None)
    prior, positions, observation = problem(np.float64, 0.0, operator, rng)
    located = Observation(observation.value, operator, observation.error, rng.uniform(0, 50, (8, 1)))
    assert_parts_equal_the_whole(FILTERS[name], prior, positions, located, rng)


@pytest.mark.parametrize("name", ["LETSF", "QuantileFilter", "QuantileFilter probit", "ParticleFilter jitter"])
def test_parts_equal_the_whole_for_other_error_laws(name, rng):
    prior, positions, observation = problem(np.float64, 0.0, SINGLE, rng)
    heavy = Observation(observation.value, SINGLE, Laplace(observation.error))
    assert_parts_equal_the_whole(FILTERS[name], prior, positions, heavy, rng)


@pytest.mark.parametrize(
    "method", [LETKF(LEVELS), LETSF(LEVELS), QuantileFilter(LEVELS)], ids=lambda one: type(one).__name__
)
def test_parts_equal_the_whole_with_a_vertical(method, rng):
    prior, positions, observation = problem(np.float64, 0.0, SINGLE, rng)
    positions = np.concatenate([positions, rng.integers(0, 3, (SIZE, 1))], axis=1)
    assert_parts_equal_the_whole(method, prior, positions, observation, rng)


@every_method
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_in_the_second_cycle_too(method, dtype, rng):
    """With the memory of the first; numbers stay in their precision."""
    prior, positions, observation = problem(dtype, 0.0, SINGLE, rng)
    first = method.analyse(prior, observation, np.random.default_rng(1), None, positions)
    analysis = method.analyse(first.ensemble, observation, np.random.default_rng(2), first.memory, positions)
    assert analysis.ensemble.dtype == dtype
    for entries in cuts(SIZE, rng):
        part = analysis.update.near(positions[entries]).apply(first.ensemble[:, entries], positions[entries], entries)
        np.testing.assert_array_equal(part, analysis.ensemble[:, entries])


@every_method
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_in_parts(method, dtype, rng):
    """Entries without a place take the mean of the updates, each by itself."""
    prior, positions, observation = problem(dtype, 0.0, SINGLE, rng)
    update = method.analyse(prior, observation, np.random.default_rng(1), None, positions).update
    parameters = rng.standard_normal((MEMBERS, 7)).astype(dtype)
    whole = update.apply(parameters, field="parameters")
    assert whole.dtype == dtype and np.isfinite(whole).all()
    for entries in cuts(7, rng):
        part = update.apply(parameters[:, entries], None, entries, field="parameters")
        np.testing.assert_array_equal(part, whole[:, entries])


@every_method
def test_the_members_are_not_changed(method, rng):
    prior, positions, observation = problem(np.float64, 0.0, SINGLE, rng)
    update = method.analyse(prior, observation, np.random.default_rng(1), None, positions).update
    prior.flags.writeable = False
    assert not np.shares_memory(update.apply(prior, positions), prior)


def test_many_entries_in_parallel_are_those_of_one_thread(rng):
    """Loops that share out their work give the bits of those that do not."""
    size = 40_000
    prior, positions = rng.standard_normal((MEMBERS, size)), np.arange(size)[:, None] / 100
    observation = Observation(rng.standard_normal(40), Select(range(0, size, 1000)), 0.5)
    for method in (
        ETKF(),
        LETKF(LOCAL),
        LETSF(LOCAL),
        QuantileFilter(LOCAL),
        QuantileFilter(),
        QuantileFilter(LOCAL, probit=True),
    ):
        analysis = method.analyse(prior, observation, rng, None, positions)
        for entries in (np.arange(1000, 1007), np.array([39_999])):
            part = analysis.update.near(positions[entries]).apply(prior[:, entries], positions[entries], entries)
            np.testing.assert_array_equal(part, analysis.ensemble[:, entries])


def test_parts_in_any_form_and_what_does_not_fit():
    prior = np.arange(30.0).reshape(5, 6) % 7
    observation = Observation([1.0, 2.0], Select([0, 3]), 0.5)
    analysis = LETKF(LOCAL).analyse(prior, observation, None)
    places = np.arange(6.0)[:, None]
    whole = analysis.update.apply(prior.astype(int).tolist(), places.tolist(), list(range(6)))
    np.testing.assert_array_equal(whole, analysis.ensemble)
    for part, positions, entries, message in (
        (prior[0], None, None, "part has shape"),
        (prior, places[:4], None, r"positions have shape \(4, 1\) but the part has 6 entries"),
        (prior, places[:, 0], None, r"positions have shape \(6,\) but the part has 6 entries"),
        (prior, places, [1, 2], r"entries have shape \(2,\) but the part has 6"),
        (prior, places, 3, r"entries have shape \(\) but the part has 6"),
    ):
        with pytest.raises(ValueError, match=message):
            analysis.update.apply(part, positions, entries)
