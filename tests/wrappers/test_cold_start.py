"""Cold starts: independent states of the attractor, and a row that locks from them."""

from dataclasses import replace

import numpy as np

from ensf import experiments
from ensf.diagnostics import rmse
from ensf.models.lorenz96 import Lorenz96
from ensf.twin import Climatology, PerturbedTruth, Streams

MODEL, ZERO = Lorenz96(size=40, forcing=8.0, dt=0.05), np.zeros(40)


def test_truth_and_members_are_independent_states_of_the_attractor():
    truth, members = Climatology(MODEL, ZERO, spin_up=20.0).draw(200, Streams.spawn(1))
    assert members.shape == (200, 40) and truth.shape == (40,)
    states = np.vstack([members, truth])
    assert abs(states.mean() - 2.35) < 0.15 and abs(states.std() - 3.63) < 0.15
    together = np.corrcoef(states)
    assert np.abs(together - np.eye(201)).mean() < 1.5 * np.sqrt(2 / np.pi / 40)


def test_the_truth_does_not_depend_on_the_start_of_the_members():
    around = PerturbedTruth(MODEL, ZERO, spin_up=5.0).draw(3, Streams.spawn(2))
    cold = Climatology(MODEL, ZERO, spin_up=5.0).draw(7, Streams.spawn(2))
    np.testing.assert_array_equal(around[0], cold[0])


def test_single_precision_stays():
    truth, members = Climatology(MODEL, np.zeros(40, np.float32), spin_up=1.0).draw(3, Streams.spawn(2))
    assert truth.dtype == members.dtype == np.float32


def test_letsf_locks_through_a_saturating_sensor():
    page = replace(experiments.load("lorenz96_arctan_04"), cycles=20, initial=Climatology(MODEL, ZERO))
    errors = [float(rmse(c.analysis.ensemble, c.truth)) for c in page.run(page.methods["letsf"], 4)]
    assert errors[0] > 0.5 and max(errors[10:]) < 0.16
