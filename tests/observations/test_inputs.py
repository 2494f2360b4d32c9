"""Values, errors, places and matrices as users have them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import xarray as xr

from ensf import ETKF, RTPS, OnlyVariables
from ensf.arrays import as_floating
from ensf.observations import (
    Affine,
    Callback,
    Censored,
    Combined,
    Contaminated,
    Correlated,
    Function,
    Gaussian,
    Grouped,
    Identity,
    Joined,
    JoinedLaw,
    Laplace,
    Linear,
    Lognormal,
    Mixed,
    Observation,
    Pointwise,
    Proportional,
    RandomPoints,
    RegularPoints,
    Select,
    Stacked,
    StudentT,
    Threshold,
    WindSpeed,
    arctan,
    square,
)
from ensf.runs.recipe.describe import recipe

VALUES = np.array([1.0, 2.0, 4.0])
TABLE = pd.DataFrame({"t": VALUES, "error": [0.5, 1.0, 2.0], "lat": [1.0, 2.0, 3.0], "lon": [4.0, 5.0, 6.0]})
FORMS = {
    "list": [1.0, 2.0, 4.0],
    "integers": [1, 2, 4],
    "tuple": (1, 2.0, 4),
    "series": TABLE["t"],
    "integer series": pd.Series([1, 2, 4]),
    "nullable series": pd.Series([1, 2, 4], dtype="Int64"),
    "data array": xr.DataArray(VALUES, dims="obs"),
    "masked array": np.ma.masked_array(VALUES, [False, False, False]),
    "other byte order": VALUES.astype(">f8"),
    "strided": np.repeat(VALUES, 2)[::2],
}
every_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


@every_form
def test_values_errors_and_places_in_any_form(form):
    observation = Observation(form, Identity(), form, np.asarray(form)[:, None])
    for numbers in (observation.value, observation.law.deviation, observation.position[:, 0]):
        assert type(numbers) is np.ndarray and numbers.dtype == np.float64 and numbers.dtype.isnative
        np.testing.assert_array_equal(numbers, VALUES)


MISSING = {
    "nan": [1.0, np.nan, 4.0],
    "masked": np.ma.masked_array([1, 2, 4], [False, True, False]),
    "masked, value infinite": np.ma.masked_array([1.0, np.inf, 4.0], [False, True, False]),
    "nullable series": pd.Series([1, None, 4], dtype="Int64"),
    "nullable floats": pd.Series([1.0, None, 4.0], dtype="Float64"),
    "series": pd.Series([1.0, None, 4.0]),
    "data array": xr.DataArray([1.0, np.nan, 4.0]),
}


@pytest.mark.parametrize("form", MISSING.values(), ids=MISSING)
def test_what_is_missing_in_any_form(form):
    """Also where its error is missing."""
    observation = Observation(form, Identity(), form)
    np.testing.assert_array_equal(observation.value, [1.0, np.nan, 4.0])
    present = observation.present()
    np.testing.assert_array_equal(present.value, [1.0, 4.0])
    np.testing.assert_array_equal(present.law.deviation, [1.0, 4.0])


def test_a_missing_error_of_a_value_that_is_there_is_refused():
    with pytest.raises(ValueError, match="error number 1 is nan: give a positive, finite standard deviation"):
        Observation(VALUES, Identity(), np.ma.masked_array(VALUES, [False, True, False]))


def test_columns_of_a_table():
    observation = Observation(TABLE["t"], Identity(), TABLE["error"], TABLE[["lat", "lon"]])
    np.testing.assert_array_equal(observation.position, [[1, 4], [2, 5], [3, 6]])
    with pytest.raises(ValueError, match=r"shape \(3, 1\): give one dimension"):
        Observation(TABLE[["t"]], Identity(), 1.0)


def test_float32_stays_float32():
    values = np.ma.masked_array(VALUES.astype(np.float32), [False, True, False])
    assert as_floating(values, "value").dtype == np.float32
    assert as_floating(xr.DataArray(VALUES.astype(np.float32)), "value").dtype == np.float32


def test_input_is_not_changed():
    values = np.ma.masked_array([1.0, 2.0, 4.0], [False, True, False])
    Observation(values, Identity(), 1.0)
    assert values.data.tolist() == [1.0, 2.0, 4.0] and values.mask.tolist() == [False, True, False]


MATRIX = np.array([[1.0, 0, 2], [0, 0, 3]])
SPARSE = scipy.sparse.csr_array(MATRIX)
MATRICES = {
    "list": MATRIX.tolist(),
    "integers": MATRIX.astype(int),
    "frame": pd.DataFrame(MATRIX),
    "data array": xr.DataArray(MATRIX),
    "matrix": np.asmatrix(MATRIX),
    **{kind: SPARSE.asformat(kind) for kind in ("coo", "csc", "csr", "bsr", "dia", "dok", "lil")},
    "csr matrix": scipy.sparse.csr_matrix(MATRIX),
    "integer sparse": SPARSE.astype(int),
    "boolean sparse": SPARSE.astype(bool),
    "repeated entries": scipy.sparse.coo_array(([0.5, 0.5, 2, 3], ([0, 0, 0, 1], [0, 0, 2, 2])), shape=(2, 3)),
    "stored zeros": scipy.sparse.coo_array(([1.0, 0, 2, 3], ([0, 1, 0, 1], [0, 1, 2, 2])), shape=(2, 3)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_matrices_in_any_form(name, rng):
    operator, states = Linear(MATRICES[name]), rng.standard_normal((2, 4, 3))
    matrix = (MATRIX != 0).astype(float) if name == "boolean sparse" else MATRIX
    np.testing.assert_allclose(operator(states), states @ matrix.T, rtol=1e-13)
    residuals = rng.standard_normal((2, 4, 2))
    np.testing.assert_allclose(operator.adjoint(states, residuals), residuals @ matrix, rtol=1e-13)
    np.testing.assert_allclose(operator.restrict([1, 0])(states), states @ matrix[::-1].T, rtol=1e-13)
    assert operator.reads().tolist() == [0, 2]
    np.testing.assert_allclose(operator.narrowed(np.array([0, 2]))(states[..., [0, 2]]), states @ matrix.T, rtol=1e-13)
    assert operator(states.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize(
    ("matrix", "sentence"),
    [
        (np.ones(3), r"operator matrix has shape \(3,\): give \(observation, state\)"),
        ([["a"]], "operator matrix has dtype <U1: give numbers, not text"),
        (np.ones((2, 2)) * 1j, "give the real or the imaginary part"),
        (scipy.sparse.csr_array(np.ones((2, 2)) * 1j), "dtype complex128: give real numbers"),
    ],
)
def test_matrices_without_a_plain_meaning_are_refused(matrix, sentence):
    with pytest.raises(ValueError, match=sentence):
        Linear(matrix)


THREE = Observation([1.0, 2.0, 4.0], Identity(), [0.1, 0.2, 0.3], position=[[0.0], [1.0], [2.0]], kind=list("abc"))
TWO_LAWS = JoinedLaw((Gaussian(1.0), Laplace([2.0, 3.0])), ([1], [0, 2]))
INDEXED = {
    "Select": Select,
    "Identity.restrict": Identity().restrict,
    "Select.restrict": Select((4, 5, 6)).restrict,
    "Linear.restrict": Linear(np.eye(3)).restrict,
    "Pointwise.restrict": Pointwise(arctan).restrict,
    "Joined.restrict": Joined((Identity(), Pointwise(arctan, Select((0, 1)))), ([2], [0, 1])).restrict,
    "Observation.restrict": THREE.restrict,
    "Gaussian.restrict": Gaussian([1.0, 2.0, 3.0]).restrict,
    "Correlated.restrict": Correlated(np.diag([1.0, 2.0, 3.0])).restrict,
    "Grouped.restrict": Grouped([0, 0, 1], (np.eye(2), np.eye(1))).restrict,
    "JoinedLaw.restrict": TWO_LAWS.restrict,
    "Mixed.restrict": Mixed((arctan, square), (0, 1, 0)).restrict,
    "JoinedLaw": lambda rows: JoinedLaw((Gaussian(1.0), Laplace(2.0)), (rows, [1])),
    "OnlyVariables": lambda index: OnlyVariables(RTPS(ETKF(), 0.5), index),
}
"""All that takes indices, as functions of them."""
every_index = pytest.mark.parametrize("made", INDEXED.values(), ids=INDEXED)


@every_index
@pytest.mark.parametrize(
    "index",
    [[0, 2], (0, 2), np.array([0, 2], np.int32), [True, False, True], np.array([True, False, True]), pd.Series([0, 2])],
    ids=["list", "tuple", "int32", "list of bool", "mask", "Series"],
)
def test_selections_in_any_form(made, index):
    assert _in_full(made(index)) == _in_full(made((0, 2)))


def _in_full(thing):
    """A value that is equal for things that are the same, arrays by what is in them."""
    return {name: str(text) for name, text in recipe(thing=thing).items()}


def test_a_mask_of_observations_leaves_those_where_it_is_true():
    some = THREE.restrict(np.array([False, False, True]))
    for kept, right in ((some.value, [4.0]), (some.law.deviation, [0.3]), (some.position, [[2.0]]), (some.kind, ["c"])):
        np.testing.assert_array_equal(kept, right)


@every_index
@pytest.mark.parametrize(
    ("index", "sentence"),
    [
        ([0.0, 2.0], "type float64: give whole numbers, or a mask of booleans"),
        (["a"], "type <U1: give whole numbers"),
        (True, "type bool: give whole numbers"),
        (None, "type object: give whole numbers"),
        (np.ones((2, 2), bool), r"shape \(2, 2\): flatten"),
        (np.zeros((2, 2), int), r"shape \(2, 2\): flatten"),
        (np.ma.masked_array([0, 1], [False, True]), "masked entries: leave them out"),
    ],
)
def test_selections_without_a_plain_meaning_are_refused(made, index, sentence):
    if made is INDEXED["OnlyVariables"] and np.array_equal(index, ["a"]):
        pytest.skip("a name of a variable")
    with pytest.raises(ValueError, match=sentence):
        made(index)


def test_a_seed_is_a_random_stream(rng):
    prior = rng.standard_normal((8, 3))
    observation = Observation([1, 2, 4], Identity(), 1)
    results = [ETKF().analyse(prior, observation, seed).ensemble for seed in (3, np.int64(3), np.random.default_rng(3))]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_priors_in_any_form(rng):
    prior = rng.standard_normal((8, 3))
    observation = Observation([1, 2, 4], Pointwise(arctan), [0.5, 1, 1])
    wanted = ETKF().analyse(prior, observation, rng).ensemble
    for form in (prior.tolist(), xr.DataArray(prior), pd.DataFrame(prior), np.asfortranarray(prior)):
        np.testing.assert_allclose(ETKF().analyse(form, observation, rng).ensemble, wanted, rtol=1e-12)


def test_short_reprs():
    many = np.linspace(0.0, 1.0, 5000)
    records = [
        Observation(many, Identity(), many + 1, many[:, None]),
        Select(np.arange(5000)),
        Linear(np.ones((50, 5000))),
        Linear(scipy.sparse.eye_array(5000)),
        Pointwise(arctan, Select(np.arange(5000))),
    ]
    assert all(len(repr(record)) < 160 for record in records)
    assert repr(records[1]) == "Select(5000 of variables 0 to 4999)"
    assert repr(records[3]) == "Linear((5000, 5000) sparse float64, 5000 stored)"


# --- constructors of laws, functions and operators --------------------------------------------------------

UNFIT = ("a", None, np.nan, True)
OF_NUMBERS = {
    "Gaussian": Gaussian,
    "Laplace": Laplace,
    "Lognormal": Lognormal,
    "StudentT freedom": lambda number: StudentT(1.0, number),
    "Contaminated gross_part": lambda number: Contaminated(1.0, number),
    "Contaminated widening": lambda number: Contaminated(1.0, 0.1, number),
    "Proportional fraction": lambda number: Proportional(1.0, number),
    "Censored low": lambda number: Censored(1.0, low=number),
    "Censored high": lambda number: Censored(1.0, high=number),
    "Threshold level": lambda number: Threshold(1.0, number),
    "Affine offset": lambda number: Affine(number, 1.0),
    "Affine factor": lambda number: Affine(0.0, number),
    "Linear": lambda number: Linear(np.array([[number]])),
    "Observation error": lambda number: Observation([1.0], Identity(), number),
    "RandomPoints count": lambda number: RandomPoints((4,), number),
    "RandomPoints shape": lambda number: RandomPoints((number,), 2),
    "RandomPoints error": lambda number: RandomPoints((4,), 2, number),
    "RegularPoints every": lambda number: RegularPoints((4,), number),
    "RegularPoints shift": lambda number: RegularPoints((4,), 2, number),
    "RegularPoints error": lambda number: RegularPoints((4,), 2, error=number),
}
OF_THINGS = {
    "Pointwise": Pointwise,
    "Pointwise linear": lambda thing: Pointwise(arctan, thing),
    "Function": Function,
    "Function derivative": lambda thing: Function(np.sin, thing or 3),
    "Callback": lambda thing: Callback(thing, np.sin),
    "Combined": lambda thing: Combined(thing, (Identity(),)),
    "Combined linear": lambda thing: Combined(np.hypot, (thing,)),
    "Stacked": lambda thing: Stacked((thing,)),
    "WindSpeed": lambda thing: WindSpeed(thing, Identity()),
    "Observation": lambda thing: Observation([1.0], thing, 1.0),
}


@pytest.mark.parametrize("made", OF_NUMBERS.values(), ids=OF_NUMBERS)
def test_what_is_no_number_is_refused(made):
    for unfit in UNFIT:
        with pytest.raises(ValueError, match=r"\w+ .*: give "):
            made(unfit)


@pytest.mark.parametrize("made", OF_THINGS.values(), ids=OF_THINGS)
def test_what_is_no_function_or_operator_is_refused(made):
    for unfit in ("a", None, 3.0):
        with pytest.raises(ValueError, match=r"\w+ .*: give "):
            made(unfit)


def test_laws_print_plain_numbers():
    for law in (Gaussian(np.float64(2.0)), StudentT(np.float32(0.5), np.int64(4)), Censored(1.0, low=np.array(0.5))):
        assert "np." not in repr(law)
