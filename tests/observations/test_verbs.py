"""What an operator says of itself, against its Jacobian: linear part, entries, reads, places, parts, changes."""

from __future__ import annotations

import array_api_strict as strict
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from ensf.arrays import like, to_numpy
from ensf.observations import (
    Affine,
    Callback,
    Combined,
    Correlated,
    Function,
    Gaussian,
    Identity,
    Joined,
    Laplace,
    Linear,
    Mixed,
    Observation,
    Operator,
    Pointwise,
    Select,
    Stacked,
    WindSpeed,
    arctan,
    cube,
    exponential,
    square,
)
from ensf.observations.functions import PointwiseFunction
from ensf.observations.joined import join
from ensf.observations.operators import as_operator

STATE = 6
SPARSE = np.array([[1.0, 0, 0, 2, 0, 0], [0, 0, 0, 0, 0, 3], [0, 0.5, 0, 0.5, 0, 0], [0, 0, 0, 0, 0, 0]])
EVEN, ODD = Select((0, 2, 4)), Select((1, 3, 5))


class Own(Operator):
    """A user's class with nothing but the call."""

    def __call__(self, states):
        return states[..., :2] * states[..., 1:3]


class OwnWithAdjoint:
    """No `Operator`, but with a verb of its own."""

    def __call__(self, states):
        return states[..., 3:5] ** 2

    def adjoint(self, states, residuals):
        pulled = 0 * states
        pulled[..., 3:5] = 2 * states[..., 3:5] * residuals
        return pulled


def products(states):
    return states[..., :-1] * states[..., 1:]


def pullback(states, residuals):
    pulled = 0 * states
    pulled[..., :-1] += residuals * states[..., 1:]
    pulled[..., 1:] += residuals * states[..., :-1]
    return pulled


def ratio(a, b):
    return a / (1 + b * b)


MIXED = Mixed((arctan, Affine(np.array([1.0, 2.0]), 3.0)), (1, 0, 1))
OPERATORS = {
    "identity": Identity(),
    "select": Select((4, 1, 1)),
    "dense": Linear(SPARSE),
    "sparse": Linear(scipy.sparse.csr_array(SPARSE)),
    "cube of identity": Pointwise(cube),
    "arctan of select": Pointwise(arctan, Select((5, 0, 5))),
    "mixed of select": Pointwise(MIXED, EVEN),
    "square of sparse": Pointwise(square, Linear(scipy.sparse.csr_array(SPARSE))),
    "affine of cube of select": Pointwise(Affine(np.array([1.0, 0.0, -1.0]), 2.0), Pointwise(cube, ODD)),
    "square of wind speed": Pointwise(square, WindSpeed(EVEN, ODD)),
    "wind speed": WindSpeed(EVEN, ODD),
    "wind speed of sparse": WindSpeed(Linear(SPARSE[:2]), Linear(scipy.sparse.coo_array(SPARSE[1:3]))),
    "wind speed of cubes": WindSpeed(Pointwise(cube, EVEN), ODD),
    "combined": Combined(ratio, (ODD, Linear(SPARSE[:3]))),
    "combined at one place": Combined(ratio, (Select((3, 1)), Select((3, 1)))),
    "callback": Callback(products, pullback),
    "own class": Own(),
    "own class with adjoint": OwnWithAdjoint(),
    "function": products,
    "stacked": Stacked((Select((4, 1)), Pointwise(arctan, Select((2,))))),
    "stacked wind": Stacked((WindSpeed(EVEN, ODD), Linear(SPARSE))),
    "joined selects": Joined((Select((3,)), Select((5, 0))), ((1,), (2, 0))),
    "joined pointwise": Joined((Pointwise(arctan, ODD), Linear(SPARSE[:2])), ((4, 1, 2), (0, 3))),
    "joined mixed": Joined((Pointwise(MIXED, EVEN), Identity()), ((8, 1, 3), (0, 2, 4, 5, 6, 7))),
    "joined wind": Joined((WindSpeed(EVEN, ODD), Select((0, 0))), ((4, 0, 2), (3, 1))),
    "joined anything": Joined(
        (Callback(products, pullback), Pointwise(square, ODD), Own()), ((0, 2, 4, 6, 8), (1, 3, 5), (9, 7))
    ),
}  # fmt: skip
WITHOUT_ADJOINT = {"own class", "function", "joined anything"}
NUMPY_ONLY = {"callback", "own class with adjoint"}
SINGLE = {
    "identity", "select", "cube of identity", "arctan of select", "mixed of select", "affine of cube of select",
    "stacked", "joined selects", "joined mixed",
}  # fmt: skip
"""Each observation reads one variable, and the operator says which."""
SILENT = {
    "identity", "cube of identity", "callback", "own class", "own class with adjoint", "function", "joined mixed",
    "joined anything",
}  # fmt: skip
"""The operator does not say what it reads."""
every_operator = pytest.mark.parametrize("name", OPERATORS)


def operator_of(name):
    return as_operator(OPERATORS[name])


@pytest.fixture
def states(rng):
    return rng.uniform(0.5, 2.0, (4, STATE))


def jacobian(operator, size=STATE):
    """Where an observation depends on a state variable, and how much, ``(observation, state)``."""
    at, step = np.linspace(0.6, 1.9, size), 1e-6
    return np.stack([(operator(at + e) - operator(at - e)) / (2 * step) for e in step * np.eye(size)], axis=1)


@every_operator
def test_linear_part(name, states):
    operator = operator_of(name)
    part = operator.linear_part()
    columns = part.linear(states)
    np.testing.assert_allclose(part.function(columns), operator(states), rtol=1e-13)
    owners = part.owners(operator(states).shape[-1])
    assert owners.shape == columns.shape[-1:]
    for k in range(columns.shape[-1]):
        moved = columns.copy()
        moved[..., k] += 0.1
        changed = np.flatnonzero((part.function(moved) != operator(states)).any(axis=0))
        assert set(changed) <= {owners[k]}
    if part.pointwise:
        assert isinstance(part.function, PointwiseFunction)
    assert part.exact == (columns.shape[-1] == operator(states).shape[-1] and np.all(columns == operator(states)))


LINEAR_PARTS = {
    "cube of identity", "arctan of select", "mixed of select", "square of sparse", "affine of cube of select",
    "wind speed", "wind speed of sparse", "combined", "combined at one place", "joined pointwise", "joined mixed",
    "joined wind", "wind speed of cubes", "identity", "select", "dense", "sparse", "joined selects",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(LINEAR_PARTS))
def test_linear_parts_are_linear(name, states):
    linear = operator_of(name).linear_part().linear
    np.testing.assert_allclose(linear(2 * states[0] - states[1]), 2 * linear(states[0]) - linear(states[1]), rtol=1e-12)


@every_operator
def test_tangent_and_adjoint_are_the_jacobian(name):
    operator, at = operator_of(name), np.linspace(0.6, 1.9, STATE)
    wanted = jacobian(operator)
    np.testing.assert_allclose(operator.tangent(at[None], np.eye(STATE)).T, wanted, rtol=1e-6, atol=1e-8)
    if name in WITHOUT_ADJOINT:
        with pytest.raises(ValueError, match="has no adjoint"):
            operator.adjoint(at, wanted[:, 0])
    else:
        pulled = operator.adjoint(np.tile(at, (len(wanted), 1)), np.eye(len(wanted)))
        np.testing.assert_allclose(pulled, wanted, rtol=1e-6, atol=1e-8)


@every_operator
def test_entries_reads_and_places(name):
    operator, depends = operator_of(name), jacobian(operator_of(name)) != 0
    entries, read = operator.entries(STATE), operator.reads()
    positions = np.arange(2.0 * STATE).reshape(STATE, 2)
    places = operator.places(positions)
    if entries is not None:
        np.testing.assert_array_equal(depends, np.eye(STATE, dtype=bool)[entries])
        np.testing.assert_array_equal(places, positions[entries])
    if read is not None:
        assert (np.diff(read) > 0).all() and set(np.flatnonzero(depends.any(axis=0))) <= set(read)
    if places is not None:
        np.testing.assert_array_equal(places, positions[np.argmax(depends, axis=1)])


def test_what_reads_single_variables_says_so():
    single = {name for name in OPERATORS if operator_of(name).entries(STATE) is not None}
    assert single == SINGLE
    silent = {name for name in OPERATORS if operator_of(name).reads() is None}
    assert silent == SILENT
    placed = {name for name in OPERATORS if operator_of(name).places(np.arange(6.0)[:, None]) is not None}
    assert placed == single | {"combined at one place"}


@every_operator
def test_narrowed(name, states):
    """The same observations of the part of the state that is read, and of a larger one."""
    operator = operator_of(name)
    read = operator.reads()
    if read is None:
        return
    for entries in (read, np.union1d(read, [1, 2])):
        np.testing.assert_allclose(operator.narrowed(entries)(states[:, entries]), operator(states), rtol=1e-13)


@every_operator
@given(data=st.data())
def test_restrict_gives_the_rows(name, data):
    operator, states = operator_of(name), np.random.default_rng(3).uniform(0.5, 2.0, (4, STATE))
    whole = operator(states)
    rows = data.draw(st.lists(st.integers(0, whole.shape[-1] - 1), max_size=8))
    part = operator.restrict(rows)
    np.testing.assert_allclose(part(states), whole[:, rows], rtol=1e-13)
    if not rows:
        return
    np.testing.assert_allclose(jacobian(part), jacobian(operator)[rows], rtol=1e-9, atol=1e-12)
    for verb, argument in (("entries", STATE), ("places", np.arange(6.0)[:, None])):
        mine, all_of_them = getattr(part, verb)(argument), getattr(operator, verb)(argument)
        if all_of_them is not None:
            np.testing.assert_array_equal(mine, all_of_them[rows])
    linear = part.linear_part()
    np.testing.assert_allclose(linear.function(linear.linear(states)), whole[:, rows], rtol=1e-13)
    np.testing.assert_allclose(part.restrict([len(rows) - 1])(states), whole[:, rows[-1:]], rtol=1e-13)


CHANGES = {
    "affine": Affine(np.linspace(0, 1, STATE), np.linspace(1, 2, STATE)),
    "one affine for all": Affine(0.5, 2.0),
    "exponential": exponential,
    "mixed": Mixed((exponential, Affine(np.array([0.2, 0.1]), 2.0), arctan), (0, 1, 0, 2, 1, 2)),
}
every_change = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)


@every_change
@every_operator
def test_through(name, change, states):
    operator = operator_of(name)
    there = operator.through(change)
    wanted = operator(change(states))
    np.testing.assert_allclose(there(states), wanted, rtol=1e-12)
    part = there.linear_part()
    np.testing.assert_allclose(part.function(part.linear(states)), wanted, rtol=1e-12)
    if name not in WITHOUT_ADJOINT:
        residuals = np.linspace(1, 2, wanted.shape[-1]) + 0 * wanted
        expected = change.slope(states) * operator.adjoint(change(states), residuals)
        np.testing.assert_allclose(there.adjoint(states, residuals), expected, rtol=1e-8, atol=1e-12)
    rows = [1, 0]
    np.testing.assert_allclose(there.restrict(rows)(states), wanted[:, rows], rtol=1e-12)
    for verb, argument in (("entries", STATE), ("places", np.arange(6.0)[:, None])):
        before, after = getattr(operator, verb)(argument), getattr(there, verb)(argument)
        assert (before is None) == (after is None)
        if before is not None:
            np.testing.assert_array_equal(after, before)
    read = there.reads()
    if read is not None:
        np.testing.assert_allclose(there.narrowed(read)(states[:, read]), wanted, rtol=1e-12)
    twice = there.through(change)
    np.testing.assert_allclose(twice(0.1 * states), operator(change(change(0.1 * states))), rtol=1e-12)


@pytest.mark.parametrize("name", ["identity", "select", "dense", "sparse", "joined selects"])
def test_linear_operators_stay_linear_through_affine_changes(name, states):
    """What is observed is a + d L z; without that scaling it is L z."""
    operator = operator_of(name).through(CHANGES["affine"])
    observation = Observation(np.ones(operator(states).shape[-1]), operator, 0.5)
    assert observation.part.function.affine is not None and observation.without_scaling().is_linear


@pytest.mark.parametrize("name", ["wind speed", "wind speed of sparse", "combined", "joined wind"])
def test_functions_of_linear_maps_stay_such_through_affine_changes(name, states):
    linear = operator_of(name).through(CHANGES["affine"]).linear_part().linear
    moved = linear(states[0] + states[1]) - linear(states[0])
    np.testing.assert_allclose(linear(states[2] + states[1]) - linear(states[2]), moved, rtol=1e-10, atol=1e-12)


@every_operator
def test_on_another_backend(name, states):
    if name in NUMPY_ONLY:
        return
    operator = operator_of(name)
    there = like(states, strict.asarray(states, device=strict.Device("device1")))
    moved = operator.on(there)(there)
    assert moved.device == there.device
    np.testing.assert_allclose(to_numpy(moved), operator(states), rtol=1e-13)
    assert operator.on(states)(states).dtype == np.float64


@every_operator
def test_through_a_change_that_lives_elsewhere(name, states):
    """As the change of `Standardised` does."""
    if name in NUMPY_ONLY:
        return
    there = like(states, strict.asarray(states, device=strict.Device("device1")))
    host = CHANGES["affine"]
    change = Affine(*(like(one, there) for one in host.affine))
    moved = operator_of(name).on(there).through(change).on(there)(there)
    np.testing.assert_allclose(to_numpy(moved), operator_of(name)(host(states)), rtol=1e-12)


# --- the record ------------------------------------------------------------------------------------------

AFFINE = {
    "one factor": (Pointwise(Affine(1.0, -2.0), Select((3, 1))), 0.5),
    "factors": (Pointwise(Affine(np.array([1.0, 2.0, 0.0]), np.array([2.0, -0.5, 3.0])), ODD), np.array([0.5, 1, 2])),
    "of a matrix": (Pointwise(Affine(1.0, np.array([1.0, -2.0, 3.0, 4.0])), Linear(SPARSE)), Gaussian(0.3)),
    "correlated": (Pointwise(Affine(0.0, np.array([2.0, -0.5])), Select((3, 1))), Correlated([[1, 0.5], [0.5, 2]])),
    "heavy tails": (Pointwise(Affine(1.0, -2.0), Select((3, 1))), Laplace(0.5)),
    "composed": (Pointwise(Affine(1.0, -2.0), Pointwise(Affine(np.array([1.0, 2.0]), 3.0), Select((3, 1)))), 0.5),
    "through": (Linear(SPARSE).through(CHANGES["affine"]), 0.5),
    "no slope": (Pointwise(Affine(1.0, np.array([0.0, 1.0])), Select((3, 1))), 0.5),
    "not affine": (Pointwise(square, ODD), 0.5),
}  # fmt: skip


@pytest.mark.parametrize("name", AFFINE)
def test_without_scaling_has_the_same_posterior(name, states):
    operator, error = AFFINE[name]
    value = operator(states[0]) + 0.3
    observation = Observation(value, operator, error)
    plain = observation.without_scaling()
    wanted, result = observation.log_likelihood(states), plain.log_likelihood(states)
    np.testing.assert_allclose(result - result[0], wanted - wanted[0], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(plain.score(states), observation.score(states), rtol=1e-8, atol=1e-10)
    assert plain.part.exact == (name not in ("heavy tails", "no slope", "not affine"))


def test_join_is_as_simple_as_it_can_be(states):
    assert join([(Select((3,)), np.array([1])), (Select((5, 0)), np.array([2, 0]))]) == Select((0, 3, 5))
    joined = join(
        [(Linear(SPARSE[:2]), np.array([2, 0])), (Linear(scipy.sparse.coo_array(SPARSE[2:])), np.array([1, 3]))]
    )
    assert isinstance(joined, Linear)
    np.testing.assert_allclose(joined(states), states @ SPARSE[[1, 2, 0, 3]].T, rtol=1e-13)
    assert join([]).restrict([]) == Select(())


def test_functions_of_single_observations():
    function = Function(np.sin)
    observation = Observation(np.zeros(3), Pointwise(function, ODD), 1.0)
    assert observation.part.function is function and not observation.is_linear


def test_a_sparse_matrix_acts_on_many_vectors_as_on_each(rng, monkeypatch):
    operator = Linear(scipy.sparse.random_array((30, 50), density=0.2, rng=rng))
    for dtype in (np.float64, np.float32):
        states = rng.standard_normal((2, 4, 50)).astype(dtype)
        at_once = operator(states)
        monkeypatch.setattr("ensf.observations.operators.AT_ONCE", 10)
        np.testing.assert_array_equal(operator(states), at_once)
        assert operator(states).dtype == dtype
        monkeypatch.undo()
