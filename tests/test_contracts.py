"""What every filter owes its caller: one suite, each filter a row of a table."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from rows import FILTERS, MEMBERS, SIZE

import ensf
from ensf import FailedMembers, HybridMean, OptimalInterpolation, PartialState, ParticleFilter
from ensf.arrays import to_numpy
from ensf.filters import Analysis
from ensf.observations import Callback, Correlated, Identity, Linear, Observation, Pointwise, Select, arctan, log

# Promises that a filter does not keep yet, by test and row, with the reason.
UNKEPT = {
    ("test_order_of_observations_does_not_matter", "QuantileFilter"): "serial: it matters a little",
    ("test_returns_an_analysis_in_the_place_of_the_prior", "FreeRun"): "the analysis is the prior",
    ("test_the_posterior_is_nearer_to_accurate_observations", "FreeRun"): "the analysis is the prior",
}

# Filters that need more than the prior: test_window.py, test_parameters.py, test_asynchronous.py and
# test_some_variables.py try them.
NEED_MORE = {"AdditiveNoise", "ModelInTheLoop", "Relinearised", "AugmentedState", "FreeRun", "Prepared", "Wrapper"}

OPERATORS = {
    "identity": Identity(),
    "some": Select((0, 3, 4, 9)),
    "arctan": Pointwise(arctan),
}


def those(chosen):
    rows = {name: row.filter for name, row in FILTERS.items() if chosen(row)}
    return pytest.mark.parametrize("method", rows.values(), ids=rows)


every_filter = those(lambda row: True)
every_operator = pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
pytestmark = pytest.mark.filterwarnings("ignore::ensf.StiffnessWarning")


@pytest.fixture(autouse=True)
def unkept(request):
    for (test, row), reason in UNKEPT.items():
        if request.function.__name__ == test and re.search(row, request.node.callspec.id):
            request.applymarker(pytest.mark.xfail(reason=reason))


@pytest.fixture
def prior(rng):
    smooth = np.exp(-0.3 * np.abs(np.subtract.outer(np.arange(SIZE), np.arange(SIZE))))
    return rng.standard_normal((MEMBERS, SIZE)) @ np.linalg.cholesky(smooth).T + rng.standard_normal(SIZE)


def observed(prior, operator, missing=()):
    """Observation of the second member, off by a little, with one error per value."""
    value = operator(prior[1]) + 0.1
    error = np.linspace(0.3, 0.6, len(value))
    value[list(missing)] = np.nan
    return Observation(value, operator, error)


def on(backend, observation):
    return Observation(backend.array(observation.value), observation.operator, backend.array(observation.error))


def analyse(method, prior, observation, seed=4, memory=None):
    return method.analyse(prior, observation, np.random.default_rng(seed), memory)


def arrays_in(memory):
    """Host copies of the arrays of a memory, wrapped memories included."""
    if hasattr(memory, "__dataclass_fields__"):
        return [array for name in memory.__dataclass_fields__ for array in arrays_in(getattr(memory, name))]
    return [to_numpy(memory).copy()] if hasattr(memory, "shape") else []


def has_the_verb(thing):
    verb = getattr(thing, "analyse", None)
    return verb is not None and {"prior", "observation"} <= set(inspect.signature(verb).parameters)


def test_every_filter_is_in_the_table():
    rooms = (ensf.filters, ensf.wrappers)
    things = [getattr(room, name) for room in rooms for name in room.__all__]
    classes = {thing.__name__ for thing in things if inspect.isclass(thing) and has_the_verb(thing)}
    assert classes - NEED_MORE - {"Filter"} <= {name for row in FILTERS.values() for name in names_in(row.filter)}


def names_in(filter):
    """Class names of a filter and of what it holds."""
    yield type(filter).__name__
    if hasattr(filter, "filter"):
        yield from names_in(filter.filter)


# --- what comes back -------------------------------------------------------------------------------------


@every_filter
@every_operator
def test_returns_an_analysis_in_the_place_of_the_prior(method, operator, backend, prior):
    observation = on(backend, observed(prior, operator))
    analysis = analyse(method, backend.array(prior), observation)
    assert isinstance(analysis, Analysis) and isinstance(analysis.info, Mapping)
    assert analysis.ensemble.shape == prior.shape and backend.owns(analysis.ensemble)
    assert np.isfinite(to_numpy(analysis.ensemble)).all()
    assert not np.allclose(to_numpy(analysis.ensemble), prior)


@every_filter
def test_backends_agree(method, backend, prior):
    if backend.dtype == "float32":
        pytest.skip("random numbers of another type are other numbers")
    observation = observed(prior, Identity())
    there = analyse(method, backend.array(prior), on(backend, observation)).ensemble
    np.testing.assert_allclose(to_numpy(there), analyse(method, prior, observation).ensemble, rtol=1e-6, atol=1e-8)


@every_filter
def test_a_float64_observation_leaves_a_float32_prior_float32(method, prior):
    observation = observed(prior, Identity())
    assert analyse(method, prior.astype(np.float32), observation).ensemble.dtype == np.float32
    single = replace(observation, value=observation.value.astype(np.float32))
    assert analyse(method, prior, single).ensemble.dtype == np.float64


@every_filter
def test_the_posterior_is_nearer_to_accurate_observations(method, prior):
    observation = observed(prior, Identity())
    ensemble = analyse(method, prior, observation).ensemble
    before = np.abs(prior.mean(axis=0) - observation.value).mean()
    assert np.abs(ensemble.mean(axis=0) - observation.value).mean() < 0.9 * before


# --- purity and reproducibility --------------------------------------------------------------------------


@every_filter
@every_operator
def test_arguments_are_not_changed(method, operator, prior):
    observation = observed(prior, operator, missing=[2])
    memory = analyse(method, prior, observation).memory
    before = [deepcopy(part) for part in (prior, observation.value, observation.error, *arrays_in(memory))]
    analyse(method, prior, observation, memory=memory)
    for kept, now in zip(before, (prior, observation.value, observation.error, *arrays_in(memory)), strict=True):
        np.testing.assert_array_equal(kept, now)


@every_filter
def test_a_read_only_prior_is_enough(method, prior):
    observation = observed(prior, Identity())
    for array in (prior, observation.value, observation.error):
        array.setflags(write=False)
    analyse(method, prior, observation)


@every_filter
def test_one_stream_one_analysis(method, prior):
    observation = observed(prior, Identity())
    first, second = (analyse(method, prior, observation).ensemble for _ in range(2))
    np.testing.assert_array_equal(first, second)


@every_filter
def test_the_global_stream_is_left_alone(method, prior):
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    analyse(method, prior, observed(prior, Identity()))
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@every_filter
def test_memory_can_be_handed_on(method, prior):
    observation = observed(prior, Identity())
    first = analyse(method, prior, observation)
    second = analyse(method, first.ensemble, observation, memory=first.memory)
    again = analyse(method, first.ensemble, observation, memory=first.memory)
    np.testing.assert_array_equal(second.ensemble, again.ensemble)


@every_filter
def test_settings_are_a_recipe(method):
    assert method == replace(method) and hash(method) == hash(replace(method))
    assert repr(method).startswith(type(method).__name__ + "(")


# --- missing observations --------------------------------------------------------------------------------


@every_filter
@every_operator
def test_missing_is_the_smaller_problem(method, operator, prior):
    full = observed(prior, operator, missing=[1, 2])
    keep = np.flatnonzero(~np.isnan(full.value))
    rows = np.arange(SIZE)[keep] if operator != OPERATORS["some"] else np.array(operator.index)[keep]
    smaller = replace(operator, linear=Select(rows)) if isinstance(operator, Pointwise) else Select(rows)
    explicit = Observation(full.value[keep], smaller, full.error[keep])
    expected = analyse(method, prior, explicit).ensemble
    np.testing.assert_allclose(analyse(method, prior, full).ensemble, expected, rtol=1e-10, atol=1e-12)


@every_filter
@every_operator
def test_everything_missing_returns_the_prior(method, operator, prior):
    count = len(operator(prior[0]))
    analysis = analyse(method, prior, observed(prior, operator, missing=range(count)))
    np.testing.assert_array_equal(analysis.ensemble, prior)


@every_filter
def test_a_cycle_without_observations_keeps_the_memory(method, prior):
    memory = analyse(method, prior, observed(prior, Identity())).memory
    nothing = Observation(np.full(SIZE, np.nan), Identity(), 1.0)
    kept = analyse(method, prior, nothing, memory=memory).memory
    for before, after in zip(arrays_in(memory), arrays_in(kept), strict=True):
        np.testing.assert_array_equal(before, after)


# --- invariances -----------------------------------------------------------------------------------------


@those(lambda row: row.affine)
def test_units_do_not_matter(method, prior):
    """One variable in other units and from another zero: the same analysis in those units."""
    unit, zero = np.ones(SIZE), np.zeros(SIZE)
    unit[4], zero[4] = 1e3, -273.15
    observation = observed(prior, Identity())
    scaled = Observation(unit * observation.value + zero, Identity(), unit * observation.error)
    expected = unit * analyse(method, prior, observation).ensemble + zero
    np.testing.assert_allclose(analyse(method, unit * prior + zero, scaled).ensemble, expected, rtol=1e-8, atol=1e-9)


@those(lambda row: row.symmetric)
@every_operator
def test_order_of_members_does_not_matter(method, operator, prior):
    observation, order = observed(prior, operator), np.random.default_rng(1).permutation(MEMBERS)
    expected = analyse(method, prior, observation).ensemble[order]
    rounding = (
        1e-8 if getattr(method, "unresolved_variance", 0) else 1e-9
    )  # of the quadrature, widened with the anomalies
    found = analyse(method, prior[order], observation).ensemble
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=rounding)


@every_filter
def test_order_of_observations_does_not_matter(method, prior):
    """In law for filters that perturb observations, so their mean over members is compared."""
    observation, order = observed(prior, Identity()), np.random.default_rng(1).permutation(SIZE)
    shuffled = Observation(observation.value[order], Select(order), observation.error[order])
    results = [analyse(method, prior, o).ensemble.mean(axis=0) for o in (observation, shuffled)]
    tolerance = 1e-9 if method != FILTERS["FixedGainMAP"].filter else 0.5
    np.testing.assert_allclose(results[0], results[1], rtol=1e-8, atol=tolerance)


# --- what is refused -------------------------------------------------------------------------------------


@those(lambda row: row.finite)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_member_is_named(method, bad, prior):
    observation = observed(prior, Identity())
    prior[7, 4] = bad
    with pytest.raises(ValueError, match=f"prior member 7 has {bad} at state variable 4"):
        analyse(method, prior, observation)


@those(lambda row: row.finite)
def test_a_prediction_that_is_not_finite_is_named(method, prior):
    prior = np.abs(prior) + 0.1
    prior[7, 4] = -0.3
    seen = Observation(np.log(prior[1]), Pointwise(log), 0.2)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="observation 4 of member 7 is predicted as nan"):
        analyse(method, prior, seen)


@every_filter
@pytest.mark.parametrize(
    "bad",
    [
        np.zeros(SIZE),
        np.zeros((1, SIZE)),
        np.zeros((2, 3, SIZE)),
        np.zeros((3, SIZE), complex),
        [["a"] * SIZE] * 3,
    ],
    ids=["one state", "one member", "three axes", "complex", "text"],
)
def test_a_prior_that_is_no_ensemble_is_refused(method, bad, prior):
    with pytest.raises(ValueError, match="prior"):
        analyse(method, bad, observed(prior, Identity()))


@every_filter
@pytest.mark.parametrize("operator", [Identity(), Select((0, 1)), Linear(np.ones((5, SIZE)))])
def test_an_operator_that_does_not_fit_the_values_is_refused(method, operator, prior):
    with pytest.raises(ValueError, match=r"predicts \d+ observations|FixedGainMAP needs|places seen by|positions"):
        analyse(method, prior, Observation(np.zeros(4), operator, 1.0))


@every_filter
@pytest.mark.parametrize("owner", ["state variable", "observation"])
def test_a_place_that_is_not_finite_is_named_by_filters_that_look_at_it(method, owner, prior):
    positions = np.arange(float(SIZE))[:, None]
    torn = np.where(positions == 3, np.nan, positions)
    own = {"state variable": (torn, positions), "observation": (positions, torn)}[owner]
    observation = Observation(prior[1], Identity(), 0.5, position=own[1])
    try:
        analysis = method.analyse(prior, observation, 1, positions=own[0])
    except ValueError as error:
        assert re.search(
            rf"the position of ({owner}|state variable or observation|entry) \d+ is \(nan,\): give finite coordinates",
            str(error),
        )
    else:
        assert np.isfinite(analysis.ensemble).all()


# --- members and memories that do not belong ------------------------------------------------------------------


@every_filter
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("operator", [Identity(), Select((0, 3))], ids=["observed", "unobserved"])
def test_a_member_that_is_far_off_is_named_or_the_analysis_is_finite(method, operator, prior):
    observation = observed(prior, operator)
    prior[7, 4] = 1e300
    try:
        analysis = analyse(method, prior, observation)
    except (ValueError, ensf.Lost) as error:
        assert "member" in str(error) or "range of numbers" in str(error)
    else:
        assert np.isfinite(analysis.ensemble).all()


@every_filter
@pytest.mark.parametrize("size", [1e17, 1e150])
def test_rounding_of_a_member_never_hides_the_observation_in_silence(method, size, prior):
    if isinstance(method, ParticleFilter | FailedMembers):
        pytest.skip("it does without such a member")
    observation = observed(prior, Identity())
    prior[7, 4] = size
    with pytest.raises(ValueError, match="member 7 predicts observation 4 as .* rounds by"):
        analyse(method, prior, observation)


@every_filter
@pytest.mark.parametrize("missing", [(), range(SIZE)], ids=["observed", "unobserved"])
def test_a_memory_of_another_filter_is_refused(method, missing, prior):
    with pytest.raises(ValueError, match="memory .*is a Update"):
        analyse(method, prior, observed(prior, Identity(), missing), memory=ensf.filters.Update())


@every_filter
@pytest.mark.parametrize(("members", "size"), [(MEMBERS - 1, SIZE), (MEMBERS, SIZE - 1)])
def test_a_memory_of_other_members_or_another_state_is_used_or_refused(method, members, size, prior):
    memory = analyse(method, prior, observed(prior, Identity())).memory
    part = prior[:members, :size]
    if type(memory).__name__ in ("ResetMemory", "GuardMemory", "FlowMemory", "SmootherMemory") and (
        size < SIZE or type(memory).__name__ in ("FlowMemory", "SmootherMemory")
    ):
        with pytest.raises(ValueError, match=r"memory of \w+ is of \d+ (members|state variables) but the prior has"):
            analyse(method, part, observed(part, Identity()), memory=memory)
    elif not isinstance(method, HybridMean | OptimalInterpolation | PartialState):
        assert np.isfinite(analyse(method, part, observed(part, Identity()), memory=memory).ensemble).all()


# --- other operators and error laws ----------------------------------------------------------------------


@every_filter
@pytest.mark.parametrize("members", [2, MEMBERS - 1, MEMBERS + 1])
def test_an_update_is_for_the_members_that_it_is_of(method, members, prior):
    """Of others it took what lay in memory behind them."""
    update = analyse(method, prior, observed(prior, Identity())).update
    if update is None or update.members is None:
        return
    assert update.members == MEMBERS
    with pytest.raises(ValueError, match=f"the part has {members} members but the update is of {MEMBERS}: give the"):
        update.apply(np.resize(prior, (members, SIZE)), np.arange(SIZE)[:, None], inflate=False)


@pytest.mark.parametrize("name", FILTERS)
def test_correlated_errors_are_used_or_refused(name, prior):
    covariance = 0.25 * np.exp(-np.abs(np.subtract.outer(np.arange(SIZE), np.arange(SIZE))))
    observation = Observation(prior[1] + 0.1, Identity(), Correlated(covariance))
    if not FILTERS[name].correlated:
        with pytest.raises(ValueError, match="independent"):
            analyse(FILTERS[name].filter, prior, observation)
    else:
        assert np.isfinite(analyse(FILTERS[name].filter, prior, observation).ensemble).all()


@pytest.mark.parametrize("name", FILTERS)
def test_any_operator_is_used_or_refused(name, prior):
    operator = Callback(lambda states: states[..., :4] * states[..., 1:5], _product_pullback)
    observation = Observation(operator(prior[1]), operator, 1.0, position=np.arange(4.0)[:, None])
    if not FILTERS[name].general:
        with pytest.raises(ValueError, match="single variables|one variable each"):
            analyse(FILTERS[name].filter, prior, observation)
    else:
        assert np.isfinite(analyse(FILTERS[name].filter, prior, observation).ensemble).all()


def _product_pullback(states, residuals):
    pulled = np.zeros_like(states)
    pulled[..., :4] += residuals * states[..., 1:5]
    pulled[..., 1:5] += residuals * states[..., :4]
    return pulled
