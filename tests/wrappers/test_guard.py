"""The collapse guard: it fires late, widens to what the innovations say, and leaves what is locked alone."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from ensf import experiments
from ensf.arrays import to_numpy
from ensf.diagnostics import rmse, spread
from ensf.filters import ETKF, LETSF, Lost
from ensf.observations import Identity, Laplace, Observation, Pointwise, arctan
from ensf.runs import restart
from ensf.twin import Climatology, GaussianStart, Method, PerturbedTruth
from ensf.wrappers import CollapseGuard, Rotation

SIZE, MEMBERS = 30, 20


def collapsed(rng, deviation=1e-3):
    """Members far from the truth, which is 0, and agreeing with each other."""
    return 3 * rng.standard_normal(SIZE) + deviation * rng.standard_normal((MEMBERS, SIZE))


def seen(error=0.5):
    return Observation(error * np.random.default_rng(3).standard_normal(SIZE), Identity(), error)


def cycles(method, priors, observation):
    """Analyses of one prior after another."""
    memory, rng = None, np.random.default_rng(1)
    for prior in priors:
        analysis = method.analyse(prior, observation, rng, memory)
        memory = analysis.memory
        yield analysis


# --- when it fires ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [1, 2, 4])
def test_it_fires_after_so_many_cycles_in_a_row(late, rng):
    priors = [collapsed(rng)] * 6
    fired = [a.info["guard"] for a in cycles(CollapseGuard(ETKF(), cycles=late), priors, seen())]
    assert fired == [0.0] * (late - 1) + [1.0] * (7 - late)


def test_one_good_cycle_and_it_begins_to_count_again(rng):
    bad, good = collapsed(rng), 0.5 * rng.standard_normal((MEMBERS, SIZE))
    fired = [a.info["guard"] for a in cycles(CollapseGuard(ETKF()), [bad, bad, good, bad, bad, bad, good], seen())]
    assert fired == [0, 1, 0, 0, 1, 1, 0]


def test_until_it_fires_it_is_the_filter_bit_for_bit(rng):
    prior, observation = collapsed(rng), seen()
    found = CollapseGuard(Rotation(ETKF())).analyse(prior, observation, np.random.default_rng(1)).ensemble
    wanted = Rotation(ETKF()).analyse(prior, observation, np.random.default_rng(1)).ensemble
    np.testing.assert_array_equal(found, wanted)


LOCKED = {
    "lorenz96_sakov2008": 60,
    "lorenz96_half": 60,
    "lorenz96_window_04": 40,
    "lorenz96_abs_01": 40,
    "lorenz96_arctan_005": 60,
}


@pytest.mark.parametrize(("name", "count"), LOCKED.items())
def test_a_locked_filter_is_never_touched(name, count):
    page = replace(experiments.load(name), cycles=count)
    page = replace(page, initial=PerturbedTruth(page.model, np.zeros(40), deviation=0.3))
    filter = page.methods["letkf"].filter
    plain, guarded = (page.run(Method(f, 40), 2) for f in (filter, CollapseGuard(filter)))
    for one, other in zip(plain, guarded, strict=True):
        np.testing.assert_array_equal(one.analysis.ensemble, other.analysis.ensemble)


# --- what it does ----------------------------------------------------------------------------------------


def test_the_widened_prior_explains_the_innovations(rng):
    """The filter gets a prior and errors with chi^2 = 1, no wider than past members were."""
    given = []

    class Looking:
        def analyse(self, prior, observation, rng, memory=None, positions=None):
            given.append((prior, observation))
            return ETKF().analyse(prior, observation, rng, memory, positions)

    past = [2 * rng.standard_normal((MEMBERS, SIZE)) for _ in range(5)]
    bad = 2.5 + 1e-3 * rng.standard_normal((MEMBERS, SIZE))
    list(cycles(CollapseGuard(Looking()), [*past, bad, bad, bad], seen()))
    prior, observation = given[-1]
    square = np.mean((observation.value - prior.mean(axis=0)) ** 2)
    explained = np.mean(prior.var(axis=0, ddof=1) + observation.law.standard_deviation(observation.value) ** 2)
    assert square == pytest.approx(explained, rel=0.15)
    assert 1.0 < spread(prior) < 2.5
    np.testing.assert_allclose(prior.mean(axis=0), bad.mean(axis=0), atol=1e-12)
    np.testing.assert_array_equal(given[-3][0], bad)


def test_members_that_agree_exactly_move_too(rng):
    prior = np.zeros((MEMBERS, SIZE)) + 3 * rng.standard_normal(SIZE)
    past = 2 * rng.standard_normal((MEMBERS, SIZE))
    last = list(cycles(CollapseGuard(LETSF()), [past, prior, prior, prior], seen()))[-1].ensemble
    assert 0.1 < spread(last) < 3 and rmse(last, np.zeros(SIZE)) < 0.7 * rmse(prior, np.zeros(SIZE))


def test_every_backend_and_dtype(backend, rng):
    bad = backend.array(collapsed(rng))
    observation = Observation(backend.array(seen().value), Pointwise(arctan), 0.05)
    last = list(cycles(CollapseGuard(ETKF()), [bad] * 4, observation))[-1]
    assert last.info["guard"] == 1 and backend.owns(last.ensemble) and backend.owns(last.memory.square)
    assert np.isfinite(to_numpy(last.ensemble)).all()


def test_other_error_laws(rng):
    observation = Observation(seen().value, Identity(), Laplace(0.5))
    assert list(cycles(CollapseGuard(LETSF()), [collapsed(rng)] * 3, observation))[-1].info["guard"] == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"limit": 1.0}, "limit .* above 1"),
        ({"cycles": 0}, "1 or more"),
        ({"max_spread": 0.0}, "max_spread .* positive"),
    ],
)
def test_settings_are_checked(settings, words):
    with pytest.raises(ValueError, match=words):
        CollapseGuard(ETKF(), **settings)


# --- Lorenz-96 -------------------------------------------------------------------------------------------


def errors(name, seed, initial, guarded=True, count=120):
    page = replace(experiments.load(name), cycles=count, initial=initial)
    method = page.methods["letkf"]
    filter = CollapseGuard(method.filter) if guarded else method.filter
    return np.array([float(rmse(c.analysis.ensemble, c.truth)) for c in page.run(replace(method, filter=filter), seed)])


MODEL = experiments.load("lorenz96_abs_025").model
COLD = Climatology(MODEL, np.zeros(40))


class Collapsed:
    """Truth on the attractor, members around another state of it, closely together."""

    def draw(self, members, streams):
        truth, others = COLD.draw(2, streams)
        return truth, others[0] + 1e-3 * GaussianStart(np.zeros(40), 1.0).draw(members, streams)[1]


@pytest.mark.parametrize("name", ["lorenz96_abs_01", "lorenz96_arctan_005"])
def test_it_leads_a_collapsed_ensemble_back(name):
    unguarded, guarded = (errors(name, 1, Collapsed(), g, 80)[-20:].mean() for g in (False, True))
    assert guarded < 0.4 and unguarded > 2


@pytest.mark.slow
@pytest.mark.parametrize(("name", "level"), [("lorenz96_abs_025", 0.7), ("lorenz96_arctan_04", 0.2)])
def test_letkf_locks_from_a_cold_start_in_most_seeds(name, level):
    found = 0
    for seed in (1, 2, 3, 4, 5):
        with suppress(Lost):
            found += errors(name, seed, COLD)[-20:].mean() < level
    assert found >= 3


def test_a_guarded_run_goes_on_from_a_file(tmp_path):
    page = replace(experiments.load("lorenz96_arctan_04"), cycles=12, initial=COLD)
    method = Method(CollapseGuard(page.methods["letkf"].filter), 20)
    whole = []
    for cycle in page.run(method, 1):
        restart.write(tmp_path / f"{cycle.index}.npz", {"checkpoint": cycle.checkpoint})
        whole.append(cycle)
    assert any(cycle.analysis.info["guard"] for cycle in whole)
    for one, other in zip(page.run(method, 1, restart.read(tmp_path / "5.npz")["checkpoint"]), whole[6:], strict=True):
        np.testing.assert_array_equal(one.analysis.ensemble, other.analysis.ensemble)
