"""A member or an error that rounding hides: who refuses it, by which name, and who goes on as if it were not there."""

import pickle

import numpy as np
import pytest
import xarray as xr

from ensf import (
    ETKF,
    LETSF,
    FailedMembers,
    ForecastInflation,
    FreeRun,
    Identity,
    Observation,
    OutlierRejection,
    ParticleFilter,
    Rotation,
    Select,
    analyse_window,
    letsf,
    periodic_line,
)
from ensf.dataset import Problem
from ensf.filters import Lost
from ensf.filters.guarded import check_finite
from ensf.observations import Censored, Contaminated, Laplace, Proportional, StudentT, Threshold
from ensf.observations.error_laws import Gaussian
from ensf.observations.joined_law import JoinedLaw
from ensf.observations.predictions import Unresolved

MEMBERS, SIZE = 10, 6
LEFT = [0, 1, 2, 4, 5, 6, 7, 8, 9]


@pytest.fixture
def prior(rng):
    return rng.standard_normal((MEMBERS, SIZE))


@pytest.fixture
def torn(prior):
    prior[3, 2] = -1e17
    return prior


SEEN = Observation(np.linspace(-0.5, 0.5, SIZE), Identity(), 0.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_refused_from_where_half_the_spacing_of_numbers_is_the_error(dtype):
    power = dtype(2.0) ** (np.finfo(dtype).nmant + 1)  # here numbers are 2 apart: rounding is up to 1
    prior = np.array([[0.0], [power], [1.0]], dtype)
    observation = Observation(np.zeros(1, dtype), Identity(), 1.0)
    columns = observation.predict(prior)
    observation.check_resolved(columns)
    assert not observation.unresolved_members(columns).any()
    more = Observation(np.zeros(1, dtype), Identity(), 0.99)
    assert more.unresolved_members(columns).tolist() == [False, True, False]
    with pytest.raises(
        Unresolved, match=r"member 1 predicts observation 0 as .* rounds by 1, more than its error 0.99"
    ):
        more.check_resolved(columns)


def test_those_who_do_not_divide_by_the_error_go_on(torn):
    np.testing.assert_array_equal(FreeRun().analyse(torn, SEEN, 1).ensemble, torn)
    np.testing.assert_array_equal(OutlierRejection(FreeRun()).analyse(torn, SEEN, 1).ensemble, torn)
    without = ParticleFilter().analyse(torn, SEEN, 1)
    assert without.update.weights[3] == 0 and np.abs(without.ensemble).max() < 10


def test_noise_of_particles_does_not_hear_of_a_member_without_weight(torn):
    method, near = ParticleFilter(0.3), torn.copy()
    near[3, 2] = -1e3  # of no weight either, but with all digits
    np.testing.assert_allclose(
        method.analyse(torn, SEEN, 1).ensemble, method.analyse(near, SEEN, 1).ensemble, rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("inner", [ETKF(), Rotation(ETKF()), ForecastInflation(ETKF(), 1.1)])
@pytest.mark.parametrize("size", [1e17, 1e150])
def test_far_off_is_as_failed(inner, size, torn):
    method, failed = FailedMembers(inner, 5), torn.copy()
    torn[3, 2], failed[3, 2] = size, np.nan
    wanted, analysis = method.analyse(failed, SEEN, 1), method.analyse(torn, SEEN, 1)
    np.testing.assert_array_equal(analysis.ensemble, wanted.ensemble)
    assert analysis.info["failed_members"] == 1
    predicted = method.analyse(torn, SEEN, 1, predicted=torn)
    np.testing.assert_array_equal(predicted.ensemble, wanted.ensemble)


def test_far_off_in_a_dataset_and_in_a_window(torn):
    method = FailedMembers(ETKF(), 5)
    wanted = ETKF().analyse(torn[LEFT], SEEN, 1).ensemble
    dataset = xr.Dataset({"t": (("realization", "x"), torn)})
    np.testing.assert_array_equal(Problem.of(dataset, SEEN, method).analyse(1).ensemble[LEFT], wanted)
    trajectory = np.stack([0 * torn, torn], axis=1)
    last = Observation(SEEN.value, Select(range(SIZE, 2 * SIZE)), 0.5)
    found = analyse_window(method, trajectory, last, 1).ensemble[LEFT]
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


def test_too_few_that_are_left_are_refused_by_the_number_of_the_member(torn):
    torn[1, 0] = np.nan
    with pytest.raises(Unresolved, match=r"member 3 predicts observation 2 as -1e\+17"):
        FailedMembers(ETKF(), 9).analyse(torn, SEEN, 1)


@pytest.mark.parametrize("method", [ETKF(), FailedMembers(ETKF(), 5)])
def test_an_error_below_rounding_is_named_by_its_observation(method, prior):
    observation = Observation(SEEN.value, Identity(), np.array([0.5, 0.5, 0.5, 1e-30, 0.5, 0.5]))
    with pytest.raises(
        Unresolved, match="^observation 3 is predicted as .* more than its error 1e-30, by most members"
    ):
        method.analyse(prior, observation, 1)


@pytest.mark.parametrize("error", [1e-30, 1e-3])
def test_an_observation_that_is_rejected_says_nothing_however_small_its_error(error, prior):
    prior[:, 2] *= 1e3
    observation = Observation(
        np.where(np.arange(SIZE) == 2, 1e5, SEEN.value), Identity(), np.where(np.arange(SIZE) == 2, error, 0.5)
    )
    analysis = OutlierRejection(ETKF()).analyse(prior, observation, 1)
    assert analysis.info["rejected_rows"].tolist() == [2]
    others = np.array([0, 1, 3, 4, 5])
    wanted = ETKF().analyse(prior, Observation(SEEN.value[others], Select(others), 0.5), 1)
    np.testing.assert_allclose(analysis.ensemble, wanted.ensemble, rtol=1e-8, atol=1e-6)


def test_the_sentence_is_kept_between_processes_and_named_again(torn):
    with pytest.raises(Unresolved) as caught:
        ETKF().analyse(torn, SEEN, 1)
    error = pickle.loads(pickle.dumps(caught.value))
    assert str(error) == str(caught.value) and error.members == (3,) and error.observation == 2
    named = error.named("m{}.nc".format, "row {}".format)
    assert str(named).startswith("m3.nc predicts row 2 as -1e+17, which float64 rounds by 11")


def test_a_member_is_blamed_for_a_lost_analysis_only_where_it_is_far_off(prior):
    broken = np.where(np.arange(SIZE) == 1, np.nan, prior)
    with pytest.raises(Lost, match="^the analysis of ETKF is nan in member 0 at state variable 1: take AdaptiveSpread"):
        check_finite(broken, "ETKF", prior)
    prior[3, 2] = -1e17
    with pytest.raises(Lost, match=r"up to 1e\+17 large, in member 3 at state variable 2: repair or drop a member"):
        check_finite(broken, "ETKF", prior)


LAWS = {
    "Laplace": Laplace(0.5),
    "StudentT": StudentT(0.5),
    "Contaminated": Contaminated(0.5),
    "Censored": Censored(0.5, low=-1.0),
    "Threshold": Threshold(0.5, 0.2),
    "Proportional": Proportional(0.5, 0.1),
    "mixed": JoinedLaw((Gaussian(0.5), StudentT(0.5)), ((0, 2, 4), (1, 3, 5))),
}


@pytest.mark.parametrize("method", [LETSF(), letsf(periodic_line(SIZE, 2.0))], ids=["LETSF", "letsf"])
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_whatever_the_law_of_the_errors(law, method, torn):
    """Others had sums of its 1e17 for an analysis, or eigenvectors of what is no number."""
    seen = Observation(np.ones(SIZE), Identity(), law)
    with pytest.raises(Unresolved, match="member 3 predicts observation 2 as -1e.17, which float64 rounds by"):
        method.analyse(torn, seen, 1)
    analysis = FailedMembers(method, 5).analyse(torn, seen, 1)
    np.testing.assert_array_equal(analysis.ensemble[LEFT], method.analyse(torn[LEFT], seen, 1).ensemble)
    assert analysis.info["failed_members"] == 1


class Shapeless(Laplace):
    """A law of which nobody knows the standard deviation."""

    def standard_deviation(self, value):
        return 0 * value


def test_a_law_without_a_standard_deviation_is_not_judged_by_it(prior):
    one, other = (Observation(np.ones(SIZE), Identity(), law) for law in (Shapeless(0.5), Laplace(0.5)))
    columns = one.predict(prior)
    one.check_resolved(columns)
    assert not one.unresolved_members(columns).any() and not other.unresolved_members(columns).any()
