"""The model in the loop on Datasets: bit for bit the analysis of arrays, through the same filters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from ensf import letsf
from ensf.dataset import Bounds, Log, Problem, Window, analyse
from ensf.filters import ETKF, LETSF
from ensf.localization import InformationLimit, periodic_line
from ensf.models.lorenz96 import Lorenz96
from ensf.observations import Observation, Select
from ensf.observations import Window as ArrayWindow
from ensf.wrappers import FailedMembers, ModelInTheLoop, Relinearised

MEMBERS, SIZE = 8, 12
MODEL = Lorenz96(size=SIZE, forcing=8.0, dt=0.05)
LINE = periodic_line(SIZE, half_width=3.0)
LOOP = ModelInTheLoop(Relinearised(LETSF(LINE, information_limit=InformationLimit())))


def ahead(states):
    return MODEL.advance(states, 0.0, 0.5)


def model(member):
    return member.assign(u=member.u.copy(data=ahead(member.u.values)))


def dataset(states):
    return xr.Dataset(
        {"u": (("realization", "x"), states)},
        {"x": np.arange(float(SIZE)), "realization": np.arange(1, 1 + len(states))},
    )


@pytest.fixture
def start():
    """Members on the attractor, wide apart."""
    rng = np.random.default_rng(4)
    return MODEL.advance(3.0 + rng.standard_normal((MEMBERS, SIZE)), 0.0, 3.0)


@pytest.fixture
def observation(start):
    rng = np.random.default_rng(5)
    truth = ahead(start.mean(axis=0) + 0.5 * rng.standard_normal(SIZE))
    return Observation((truth + rng.standard_normal(SIZE))[::2], Select(range(0, SIZE, 2)), error=1.0)


@pytest.mark.parametrize("method", [LOOP, letsf(LINE, loop=True), letsf(LINE, loop=True, max_pieces=1)], ids=repr)
def test_two_cycles_are_those_of_arrays_bit_for_bit(method, start, observation):
    memory = wanted_memory = None
    for seed in (1, 2):
        end = ahead(start)
        seen = observation.within(ArrayWindow(start, end, ahead))
        wanted = method.analyse(end, seen, np.random.default_rng(seed), wanted_memory)
        problem = Problem.of(dataset(end), observation, method)
        analysis = problem.analyse(seed, memory, Window(dataset(start), model))
        np.testing.assert_array_equal(analysis.ensemble, wanted.ensemble)
        assert analysis.info.keys() == wanted.info.keys()
        for name, value in wanted.info.items():
            np.testing.assert_array_equal(analysis.info[name], value)
        start, memory, wanted_memory = analysis.ensemble, analysis.memory, wanted.memory


@pytest.mark.parametrize("pieces", [0, 1, 2])
def test_the_model_runs_as_often_as_the_setting_says_at_most(pieces, start, observation):
    runs = []

    def counted(member):
        assert "realization" not in member.dims
        runs.append(member)
        return model(member)

    method, window = letsf(LINE, loop=True, max_pieces=pieces), Window(dataset(start), counted)
    analysis = Problem.of(dataset(ahead(start)), observation, method).analyse(1, window=window)
    assert len(runs) == round(MEMBERS * (analysis.info["model_runs"] - 1))
    assert len(runs) == pieces * MEMBERS + 1 + 1 + pieces  # members, is there noise, and the means


def test_what_the_model_needs_beside_the_state_is_that_of_each_member(start, observation):
    forcing = np.linspace(7.5, 8.5, MEMBERS)

    def forced(member):
        moved = Lorenz96(size=SIZE, forcing=float(member.forcing), dt=0.05).advance(member.u.values, 0.0, 0.5)
        member.u[:] = np.nan  # it is the model's own
        return xr.Dataset({"u": ("x", moved)})

    def of_members(states):
        each = zip(forcing, states, strict=False)
        return np.stack([Lorenz96(size=SIZE, forcing=f, dt=0.05).advance(state, 0.0, 0.5) for f, state in each])

    end = of_members(start)
    wanted = LOOP.analyse(end, observation.within(ArrayWindow(start, end, of_members)), 1)
    began = dataset(start).assign(forcing=("realization", forcing))
    made = analyse(dataset(end), observation, LOOP, 1, window=Window(began, forced))
    np.testing.assert_array_equal(made.u.values, wanted.ensemble)
    np.testing.assert_array_equal(began.u.values, start)


def test_transforms_and_bounds_hold_at_the_start_too(start, observation):
    def grown(logs):
        return 0.2 * ahead(5.0 * logs)

    seen = []

    def positive(member):
        seen.append(float(member.u.max()))
        return member.assign(u=member.u.copy(data=np.exp(grown(np.log(member.u.values)))))

    start = 0.2 * start
    end = grown(start)
    observed = replace(observation, value=np.exp(0.2 * observation.value), error=0.1)
    within = ArrayWindow(start, end, grown)
    method = ModelInTheLoop(Relinearised(ETKF()))
    how = {"variables": {"u": Log()}, "window": Window(dataset(np.exp(start)), positive)}
    made = analyse(dataset(np.exp(end)), observed, method, 1, **how)
    problem = Problem.of(dataset(np.exp(end)), observed, method, variables={"u": Log()})
    wanted = method.analyse(end, problem.pipeline.observation.within(within), 1)
    np.testing.assert_allclose(np.log(made.u.values), wanted.ensemble, rtol=1e-9, atol=1e-9)
    analyse(dataset(np.exp(end)), observed, method, 1, **how | {"variables": {"u": (Log(), Bounds(high=2.5))}})
    half = len(seen) // 2
    assert max(seen[:half]) > 2.5 and max(seen[half + 1 :]) <= 2.5  # but for the first member as it was


def test_masked_points_and_single_precision(start, observation):
    land = np.full((MEMBERS, SIZE), np.nan, np.float32)

    def with_land(states):
        both = np.stack([states, land[: len(states)]], axis=-1).astype(np.float32)
        return xr.Dataset({"u": (("realization", "x", "y"), both)}, {"x": np.arange(float(SIZE))})

    def sea(member):
        assert member.u.dtype == np.float32 and bool(member.u[:, 1].isnull().all())
        return member.assign(u=member.u.copy(data=np.stack([ahead(member.u.values[:, 0]), land[0]], axis=-1)))

    end = xr.concat([sea(with_land(start).isel(realization=k)) for k in range(MEMBERS)], "realization")
    window = Window(with_land(start), sea)
    made = analyse(end, observation, letsf(LINE, loop=True), 1, mask=True, window=window).u
    wanted = analyse(
        dataset(end.u.values[..., 0]),
        observation,
        letsf(LINE, loop=True),
        1,
        window=Window(dataset(start.astype(np.float32)), model),
    ).u
    assert made.dtype == np.float32 and bool(made[..., 1].isnull().all())
    np.testing.assert_array_equal(made[..., 0], wanted)


@pytest.mark.parametrize("hours", [np.array([0, 6], "timedelta64[h]") + np.datetime64("2024-01-01", "ns"), [0.0, 6.0]])
def test_masked_points_with_a_time_that_goes_on(start, observation, hours):
    """The files of most models have one: the mask and the grid of the start are those of the end all the same."""

    def at(states, when):
        with_land = np.concatenate([states, np.full((len(states), 2), np.nan)], axis=1)[:, None]
        fields = {"u": (("realization", "time", "x"), with_land)}
        return xr.Dataset(fields, {"time": [when], "x": np.arange(SIZE + 2.0)})

    def sailing(member):
        ended = at(ahead(member.u.values[0, :SIZE])[None], hours[1])
        return member.assign_coords(time=ended.time).assign(u=ended.u.isel(realization=0))

    end = at(ahead(start), hours[1])
    made = analyse(
        end,
        observation,
        ModelInTheLoop(Relinearised(ETKF())),
        1,
        mask=True,
        window=Window(at(start, hours[0]), sailing),
    )
    wanted = analyse(
        dataset(ahead(start)),
        observation,
        ModelInTheLoop(Relinearised(ETKF())),
        1,
        window=Window(dataset(start), model),
    )
    np.testing.assert_array_equal(made.u.values[:, 0, :SIZE], wanted.u.values)
    assert made.time.identical(end.time)


def test_members_that_failed_are_left_out_at_the_start(start, observation):
    tolerant, alive = FailedMembers(LOOP, min_members=4), np.arange(MEMBERS) != 2
    end = ahead(start)
    left = end[alive]
    end[2] = np.nan
    made = Problem.of(dataset(end), observation, tolerant).analyse(1, window=Window(dataset(start), model))
    wanted = LOOP.analyse(left, observation.within(ArrayWindow(start[alive], left, ahead)), 1)
    np.testing.assert_array_equal(made.ensemble[alive], wanted.ensemble)
    assert made.info["failed_members"] == 1 and np.isfinite(made.ensemble).all()


def test_errors_are_sentences(start, observation):
    forecast = dataset(ahead(start))

    def made(window=None, method=LOOP, **how):
        return analyse(forecast, observation, method, 1, window=window, **how)

    with pytest.raises(ValueError, match=r"ModelInTheLoop has the model in the loop, but there is no model here"):
        made()
    with pytest.raises(ValueError, match="the start of the window has 3 members of 12 values but the forecast 8 of 12"):
        made(Window(dataset(start[:3]), model))
    with pytest.raises(ValueError, match="the model of the window gives a int: give an xarray.Dataset"):
        made(Window(dataset(start), lambda member: 3))
    with pytest.raises(ValueError, match="the forecast of the window has other values of 'x' than the forecast"):
        made(Window(dataset(start), lambda member: model(member).assign_coords(x=np.arange(1.0, 1 + SIZE))))
    with pytest.raises(ValueError, match="max_pieces of Relinearised is -1"):
        letsf(loop=True, max_pieces=-1)
    assert repr(Window(dataset(start), len)) == "Window(start with u, <built-in function len>)"
    unused = Window(dataset(start), model)
    assert made(unused, letsf(LINE)).identical(analyse(forecast, observation, letsf(LINE), 1))
