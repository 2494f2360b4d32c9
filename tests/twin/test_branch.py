"""A twin experiment goes on with another method or other members, from the branch of a checkpoint."""

from dataclasses import replace

import numpy as np
import pytest

from ensf import ETKF, LETKF, FailedMembers, Identity, Network, Select, Smoother, letsf, periodic_line
from ensf.models.lorenz96 import Lorenz96
from ensf.runs import restart
from ensf.twin import AsynchronousNetwork, GaussianStart, Method, Streams, TwinExperiment, twin
from ensf.twin.watch import Watch

SIZE, CYCLES = 12, 4
LINE = periodic_line(SIZE, half_width=3.0)
EVERY_SECOND = Network(Select(range(0, SIZE, 2)), 1.0)
WINDOWS = AsynchronousNetwork(EVERY_SECOND, (0.05, 0.2), (0.0, 0.1, 0.2))


def run(method, start=None, members=10, cycles=CYCLES, network=EVERY_SECOND):
    initial = GaussianStart(np.linspace(0.0, 4.0, SIZE), 1.0)
    return twin(
        Lorenz96(size=SIZE), method, network, initial, members=members, cycles=cycles, interval=0.2,
        streams=Streams.spawn(1), start=start,
    )  # fmt: skip


def checkpoint(method, **more):
    return list(run(method, cycles=2, **more))[-1].checkpoint


@pytest.mark.parametrize("network", [EVERY_SECOND, WINDOWS], ids=["at the end", "in windows"])
def test_a_branch_of_a_method_without_memory_is_the_same_experiment(network):
    whole = list(run(LETKF(LINE), network=network))
    start = checkpoint(LETKF(LINE), network=network)
    for one, other in zip(run(LETKF(LINE), start.branch(), network=network), whole[2:], strict=True):
        np.testing.assert_array_equal(one.observation.value, other.observation.value)
        np.testing.assert_array_equal(one.analysis.ensemble, other.analysis.ensemble)


@pytest.mark.parametrize("network", [EVERY_SECOND, WINDOWS], ids=["at the end", "in windows"])
@pytest.mark.parametrize(
    ("before", "after", "members"),
    [
        (letsf(LINE), LETKF(LINE), 10),
        (LETKF(LINE), letsf(LINE), 10),
        (letsf(LINE), letsf(LINE), 6),
        (LETKF(LINE), LETKF(LINE), 25),
        (Smoother(LETKF(LINE), 2), LETKF(LINE), 10),
        (LETKF(LINE), Smoother(letsf(LINE), 2), 14),
    ],
    ids=["letsf to letkf", "letkf to letsf", "fewer", "more", "from a smoother", "to a smoother"],
)
def test_truth_and_observations_go_on_the_same(before, after, members, network):
    whole = list(run(before, network=network))
    start = checkpoint(before, network=network)
    kept, state = start.ensemble.copy(), start.streams.ensemble.bit_generator.state["state"]["state"].copy()
    rest = list(run(after, start.branch(members), members=members, network=network))
    for one, other in zip(rest, whole[2:], strict=True):
        assert (one.index, one.time) == (other.index, other.time)
        assert one.analysis.ensemble.shape == (members, SIZE)
        assert len(one.earlier_truths) == len(one.analysis.earlier)
        np.testing.assert_array_equal(one.truth, other.truth)
        np.testing.assert_array_equal(one.observation.value, other.observation.value)
    np.testing.assert_array_equal(start.ensemble, kept)
    np.testing.assert_array_equal(start.streams.ensemble.bit_generator.state["state"]["state"], state)


@pytest.mark.parametrize("members", [11, 20, 33])
def test_more_members_have_the_same_mean_and_covariance(members):
    start = checkpoint(ETKF())
    branch = start.branch(members)
    assert branch.ensemble.shape == (members, SIZE) and branch.ensemble.dtype == start.ensemble.dtype
    np.testing.assert_allclose(branch.ensemble.mean(axis=0), start.ensemble.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(np.cov(branch.ensemble.T), np.cov(start.ensemble.T), rtol=1e-10, atol=1e-12)
    assert len(np.unique(branch.ensemble[:, 0])) == members


@pytest.mark.parametrize("members", [2, 6, 9])
def test_fewer_members_have_the_same_mean_and_expected_covariance(members):
    start = checkpoint(ETKF())
    covariances = []
    for seed in range(1000):
        branch = replace(start, streams=Streams.spawn(seed)).branch(members)
        np.testing.assert_allclose(branch.ensemble.mean(axis=0), start.ensemble.mean(axis=0), rtol=1e-12)
        covariances.append(np.cov(branch.ensemble.T))
    noise = np.std(covariances, axis=0) / np.sqrt(len(covariances))
    departures = (np.mean(covariances, axis=0) - np.cov(start.ensemble.T)) / noise
    assert np.abs(departures).max() < 4.5 and 0.3 < departures.std() < 2


def test_single_precision_stays():
    start = checkpoint(ETKF())
    single = replace(start, ensemble=start.ensemble.astype(np.float32))
    assert single.branch(20).ensemble.dtype == np.float32 and single.branch().ensemble is single.ensemble


def test_the_same_seed_branches_into_the_same_members():
    one, other = (checkpoint(ETKF()).branch(7).ensemble for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_a_branch_is_not_lost_for_what_was_before():
    start = replace(checkpoint(ETKF()), watch=Watch(np.ones(6), np.full(6, 40), 0.9, 99, np.ones(3)))
    watch = start.branch().watch
    assert (watch.lately, watch.strained, watch.sums.tolist()) == (0.0, 0, [0.0] * 3)
    assert (watch.mean == 1).all() and (watch.count == 40).all()


def test_a_checkpoint_of_other_members_or_another_method_is_refused():
    start = checkpoint(LETKF(LINE))
    with pytest.raises(ValueError, match=r"members is 6 but the checkpoint has 10: .* its branch\(members=6\)"):
        next(run(LETKF(LINE), start, members=6))
    with pytest.raises(ValueError, match="cycles is 1, counted from the start .* checkpoint is after cycle 2: give mo"):
        next(run(LETKF(LINE), start, cycles=1))
    assert not list(run(LETKF(LINE), start, cycles=2)), "it is complete"
    for before, after in (
        (letsf(LINE), LETKF(LINE)),
        (Smoother(ETKF(), 2), ETKF()),
        (letsf(LINE), Smoother(ETKF(), 2)),
    ):
        for network in (EVERY_SECOND, WINDOWS):
            with pytest.raises(ValueError, match=r"memory .* checkpoint of another method take its branch\(\)$"):
                next(run(after, checkpoint(before, network=network), network=network))
    for members in (1, -3, 2.5, "10", True, np.float64(10.0)):
        with pytest.raises(ValueError, match="members of a branch are .*: give a whole number, 2 or more"):
            start.branch(members)
    assert start.branch(np.int64(4)).ensemble.shape[0] == 4


class Failing(Lorenz96):
    """Member 3 fails once."""

    def advance(self, states, time, duration, rng=None):
        states = super().advance(states, time, duration, rng)
        if states.ndim == 2 and time == 0:
            states[3] = np.nan
        return states


def test_members_that_failed_and_were_left_out_are_no_contradiction():
    initial, method = GaussianStart(np.zeros(SIZE), 1.0), FailedMembers(LETKF(LINE), 5, replaced=False)
    page = TwinExperiment(
        name="failing", summary="", model=Failing(size=SIZE), network=Network(Identity(), 1.0), initial=initial,
        methods={}, cycles=4, interval=0.2, truth_model=Lorenz96(size=SIZE),
    )  # fmt: skip
    whole = list(page.run(Method(method, 10), 1))
    start = list(replace(page, cycles=2).run(Method(method, 10), 1))[-1].checkpoint
    assert len(start.ensemble) == 9
    rest = list(page.run(Method(method, 10), 1, start))
    np.testing.assert_array_equal(rest[-1].analysis.ensemble, whole[-1].analysis.ensemble)
    with pytest.raises(ValueError, match="members is 8 but the checkpoint has 9"):
        next(page.run(Method(method, 8), 1, start))


def test_a_branch_goes_through_a_restart_file(tmp_path):
    branch = checkpoint(letsf(LINE)).branch(15)
    restart.write(tmp_path / "one.npz", {"checkpoint": branch})
    read = restart.read(tmp_path / "one.npz")["checkpoint"]
    one, other = (list(run(letsf(LINE), start, members=15))[-1].analysis.ensemble for start in (branch, read))
    np.testing.assert_array_equal(one, other)
