"""Twin experiments: truth, observations, forecast, analysis, one cycle after another.

A cycle is forecast, then analysis; there is no observation at time 0. `twin` is a generator: writers, progress bars
and statistics consume its `Cycle` records. Each role has its own random stream, spawned from one seed, so that
changing the filter changes neither truth nor observations. What a cycle leaves behind is a `Checkpoint`; from there the
rest of the experiment is the same, bit for bit, as if it had never stopped.

An `AsynchronousNetwork` observes during the window between two analyses: each observation is predicted at its own time
from the members' trajectory. The analysis is of the end of the window, or of an earlier step; then the model takes its
members to the end.
"""

from __future__ import annotations

import math
import time as clock
from collections import abc
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from itertools import pairwise
from numbers import Real
from typing import Protocol, cast

import numpy as np

from ensf.arrays import (
    Array,
    Generator,
    Numbers,
    centred,
    is_count,
    is_host,
    like,
    member_mean,
    namespace,
    summary,
    to_numpy,
)
from ensf.arrays.settings import check_settings
from ensf.filters.base import Analysis, Filter, Memory, unsmoothed
from ensf.filters.guarded import OtherMemory, check_finite
from ensf.filters.lost import Lost
from ensf.filters.weights import combine
from ensf.observations import ErrorLaw, Gaussian, Identity, Observation, Operator, at_times
from ensf.observations.error_laws import is_error_law
from ensf.observations.joined import join
from ensf.observations.joined_law import in_turn
from ensf.observations.predictions import Unresolved
from ensf.observations.trajectory import brackets
from ensf.observations.window import Window
from ensf.twin.watch import Watch
from ensf.wrappers import analyse_window
from ensf.wrappers.failed_members import Tolerant, without_failed

__all__ = [
    "AsynchronousNetwork",
    "Checkpoint",
    "Cycle",
    "InitialLaw",
    "Model",
    "Network",
    "ObservingNetwork",
    "Streams",
    "twin",
]


class Model(Protocol):
    """A forecast model."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the state."""

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the dimensions."""

    def advance(self, states: Array, time: float, duration: float, rng: Generator | None = None) -> Array:
        """States ``(..., state)`` at ``time + duration``."""


@dataclass(frozen=True, eq=False)
class Streams:
    """Random streams of one seed, one per role."""

    seed: int
    truth: Generator
    observations: Generator
    ensemble: Generator
    filter: Generator
    truth_noise: Generator
    model_noise: Generator

    @classmethod
    def spawn(cls, seed: int) -> Streams:
        """Independent streams of one seed."""
        roles = len(fields(cls)) - 1
        children = np.random.SeedSequence(seed).spawn(roles)
        return cls(seed, *(np.random.Generator(np.random.SFC64(child)) for child in children))

    def __repr__(self) -> str:
        return f"Streams(seed={self.seed})"

    def copy(self) -> Streams:
        """Streams in the same state, which go their own way."""
        return deepcopy(self)


class InitialLaw(Protocol):
    """Where truth and members start."""

    def draw(self, members: int, streams: Streams) -> tuple[Array, Array]:
        """Initial truth ``(state,)`` and members ``(member, state)``."""


@dataclass(frozen=True, eq=False)
class Network:
    """An observing network: the same operator and error at every cycle.

    Parameters
    ----------
    operator : Operator
    error : float, (observation,) array or error law
        Standard deviation, or an object such as `Correlated`.
    position : (observation, dimension) array, optional
    told : float, (observation,) array or error law, optional
        What the filter is told of the error, if it is not the truth.
    """

    operator: Operator = Identity()
    error: float | Array | ErrorLaw = 1.0
    position: Array | None = None
    told: float | Array | ErrorLaw | None = None

    def __repr__(self) -> str:
        place = "" if self.position is None else f", position {summary(self.position)}"
        told = "" if self.told is None else f", told {_short(self.told)}"
        return f"Network({type(self.operator).__name__}, error {_short(self.error)}{place}{told})"

    def observe(self, truth: Array, cycle: int, rng: Generator) -> Observation:
        """Observation of the truth ``(state,)``."""
        predicted = self.operator(truth)
        law = self.error if is_error_law(self.error) else Gaussian(cast(Numbers, self.error))
        told = self.error if self.told is None else self.told
        return Observation(law.draw(predicted, rng), self.operator, told, self.position)


class ObservingNetwork(Protocol):
    """What observes a truth."""

    def observe(self, truth: Array, cycle: int, rng: Generator) -> Observation:
        """Observation of the truth ``(state,)``."""


@dataclass(frozen=True)
class AsynchronousNetwork:
    """A network that observes at several times of each window, all of which one analysis uses.

    Parameters
    ----------
    network : ObservingNetwork
        What is observed at each time.
    times : tuple of float
        Model times after the start of the window.
    steps : tuple of float
        Those of the states in the members' trajectory: ascending, from 0 to the end of the window. Between two of
        them what the members predict is linear in time; the truth is observed at its own time.
    told : tuple of float, optional
        The times that the filter is told, if they are not the truth.

    Raises
    ------
    ValueError
        If the steps do not ascend from 0, or a time is not between 0 and the last of them.
    """

    network: ObservingNetwork
    times: tuple[float, ...]
    steps: tuple[float, ...]
    told: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        check_settings(self)
        if len(self.steps) < 2 or self.steps[0] != 0:
            raise ValueError(f"the steps of a window are {self.steps}: give the times of states from 0 to its end")
        if not self.times:
            raise ValueError("the network observes at no time of the window: give times= from 0 to its end")
        if self.told is not None and len(self.told) != len(self.times):
            raise ValueError(f"there are {len(self.times)} times but {len(self.told)} told: give one for each")
        for times in (self.times, self.told or self.times):
            brackets(np.asarray(times, dtype=np.float64), np.asarray(self.steps, dtype=np.float64))

    def step_at(self, interval: float, time: float) -> int:
        """The step at a time of a window, which is as long as the interval between analyses.

        Raises
        ------
        ValueError
            If the window has another length, or no such step.
        """
        if not np.isclose(self.steps[-1], interval, rtol=1e-9):
            raise ValueError(
                f"the steps of the network end at {self.steps[-1]:g} but the interval is {interval:g}: make them end "
                "with the window"
            )
        step = int(np.argmin(np.abs(np.subtract(self.steps, time))))
        if not np.isclose(self.steps[step], time, rtol=1e-9, atol=1e-9 * interval):
            raise ValueError(f"analysis_time is {time:g}, which is no step of the window: choose one of {self.steps}")
        return step

    def observe(self, truths: abc.Sequence[Array], cycle: int, rng: Generator) -> Observation:
        """Observation of the truths ``(state,)`` at each of `times`, for trajectories of the members."""
        each = [self.network.observe(truth, cycle, rng) for truth in truths]
        first = each[0]
        sizes = [one.size for one in each]
        xp = namespace(first.value)
        stops = np.cumsum(sizes).tolist()
        parts = [
            (at_times(one.operator, np.full(one.size, time), self.steps), np.arange(stop - one.size, stop))
            for one, time, stop in zip(each, self.told or self.times, stops, strict=True)
        ]
        position = None if first.position is None else xp.concat([one.position for one in each], axis=0)
        return Observation(
            xp.concat([one.value for one in each]),
            join(parts),
            in_turn([one.error for one in each], sizes),
            position,
            kind=None if first.kind is None else np.concatenate([one.kind for one in each]),
        )


def _short(error: float | Array | ErrorLaw) -> str:
    return summary(error) if is_host(error) else repr(error)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Where a twin experiment stands between two cycles: all that the next ones depend on.

    Attributes
    ----------
    cycles : int
        Number of finished cycles.
    truth : (state,) array
    ensemble : (member, state) array
    memory : object
        What the filter needs in the next cycle.
    streams : Streams
    watch : Watch
        Whether the filter is about to be lost.
    earlier_truths : tuple of (state,) array
        At the times of the last analyses, the latest first: what a smoother is scored with.
    """

    cycles: int
    truth: Array
    ensemble: Array
    memory: Memory
    streams: Streams
    watch: Watch = field(default_factory=lambda: Watch.begin(0))
    earlier_truths: tuple[Array, ...] = ()

    def __repr__(self) -> str:
        memory = type(self.memory).__name__
        return f"Checkpoint({self.cycles} cycles, ensemble {summary(self.ensemble)}, memory {memory}, {self.streams!r})"

    def branch(self, members: int | None = None) -> Checkpoint:
        """Where another method, or one with other members, goes on: without memory.

        Truth, random streams and what the network has seen so far are the same, so the observations will be. M other
        members are combinations of the anomalies a_i of the N that are there,

            x_j = mean + sum_i a_i W_ij,      W W^T = max(1, (M - 1) / (N - 1)) P,

        with P a projection on min(M, N) - 1 directions, drawn at random from all that leave the mean what it is. The
        covariance of more members is that of the N; of fewer, it is so in the mean.

        Parameters
        ----------
        members : int, optional
            How many; by default those that are there, as they are.

        Returns
        -------
        Checkpoint

        Raises
        ------
        ValueError
            If they are no whole number, or fewer than two.
        """
        here = self.ensemble.shape[0]
        members = here if members is None else members
        if not is_count(members) or members < 2:
            raise ValueError(f"members of a branch are {members!r}: give a whole number, 2 or more")
        ensemble, streams = self.ensemble, self.streams.copy()
        if members != here:
            noise = streams.ensemble.standard_normal((here, members))
            noise = noise - noise.mean(axis=0) - noise.mean(axis=1, keepdims=True) + noise.mean()
            left, _, right = np.linalg.svd(noise, full_matrices=False)
            directions = min(here, members) - 1
            weights = math.sqrt(max(1.0, (members - 1) / (here - 1))) * left[:, :directions] @ right[:directions]
            ensemble = member_mean(ensemble) + combine(centred(ensemble), like(weights, ensemble))
        watch = Watch(self.watch.mean, self.watch.count)
        return Checkpoint(self.cycles, self.truth, ensemble, None, streams, watch)


@dataclass(frozen=True, eq=False)
class MembersWindow:
    """The window of a cycle whose observations have times of their own.

    Attributes
    ----------
    trajectory : (member, step, state) array
        Forecast.
    left : (member, step, state) array
        Of the members that have not failed.
    result : Analysis
    positions : (state, dimension) array or None
    step : int
        That of the analysis.
    end_truth : (state,) array
    end : (member, state) array
        Where truth and members are at the end of the window, after the analysis.
    """

    trajectory: Array
    left: Array
    result: Analysis
    positions: np.ndarray | None
    step: int
    end_truth: Array
    end: Array

    @property
    def forecast(self) -> Array:
        """The trajectory of the members that have not failed, ``(member, step * state)``."""
        return self.left.reshape(self.left.shape[0], -1)

    @cached_property
    def analysis(self) -> Array | None:
        """The trajectory with all its steps corrected, ``(member, step * state)``; None if the update is not known."""
        update, (_, steps, size) = self.result.update, self.trajectory.shape
        if update is None:
            return None
        where = np.arange(size, dtype=np.float64)[:, None] if self.positions is None else self.positions
        return namespace(self.trajectory).concat(
            [
                self.result.ensemble
                if step == self.step
                else update.apply(self.trajectory[:, step], where, field=f"step {step} of the window")
                for step in range(steps)
            ],
            axis=1,
        )


@dataclass(frozen=True, eq=False)
class Cycle:
    """One cycle of a twin experiment.

    Attributes
    ----------
    index : int
        0 is the first.
    time : float
        Model time of the analysis, and of the observation unless it has times of its own.
    truth : (state,) array
    observation : Observation
        Of states; of an `AsynchronousNetwork`, of trajectories.
    forecast : (member, state) array
        Of the members that have not failed.
    analysis : Analysis
    seconds_forecast, seconds_analysis : float
        Processor time spent.
    streams : Streams, optional
        As this cycle leaves them, until the next one is asked for. An experiment without them cannot be resumed.
    watch : Watch
        Whether the filter is about to be lost.
    lag : int
        Number of earlier cycles that a smoother corrects.
    earlier_truths : tuple of (state,) array
        At the times of the analyses before, as many as there are in ``analysis.earlier``; the latest first.
    window : MembersWindow, optional
        The window that the observation belongs to, if it has times of its own.
    measured : mapping of str to float
        Scores that the experiment adds to those that every cycle has.
    """

    index: int
    time: float
    truth: Array
    observation: Observation
    forecast: Array
    analysis: Analysis
    seconds_forecast: float
    seconds_analysis: float
    streams: Streams | None = None
    watch: Watch = field(default_factory=lambda: Watch.begin(0))
    lag: int = 0
    earlier_truths: tuple[Array, ...] = ()
    window: MembersWindow | None = None
    measured: abc.Mapping[str, float] = field(default_factory=dict)

    @property
    def observed_forecast(self) -> Array:
        """What the observation operator reads of the forecast: ``(member, state)``, or ``(member, step * state)``."""
        return self.forecast if self.window is None else self.window.forecast

    @property
    def observed_analysis(self) -> Array | None:
        """What it reads of the analysis; None for a filter of whole states in a window."""
        return self.analysis.ensemble if self.window is None else self.window.analysis

    def __repr__(self) -> str:
        return (
            f"Cycle({self.index}, time {self.time:g}, truth {summary(self.truth)}, {self.observation!r}, "
            f"forecast {summary(self.forecast)}, {self.analysis!r})"
        )

    @property
    def checkpoint(self) -> Checkpoint | None:
        """What the next cycle needs; ask for it before that. None without streams."""
        return None if self.streams is None else replace(self.following, streams=self.streams.copy())

    @property
    def following(self) -> Checkpoint:
        """What the next cycle begins with, whose streams it uses up."""
        assert self.streams is not None
        truth, ensemble = self.truth, self.analysis.ensemble
        if self.window is not None:
            truth, ensemble = self.window.end_truth, self.window.end
        truths = (self.truth, *self.earlier_truths)[: self.lag]
        return Checkpoint(self.index + 1, truth, ensemble, self.analysis.memory, self.streams, self.watch, truths)


def twin(
    model: Model,
    method: Filter,
    network: ObservingNetwork | AsynchronousNetwork,
    initial: InitialLaw,
    *,
    members: int,
    cycles: int,
    interval: float,
    streams: Streams,
    truth_model: Model | None = None,
    positions: np.ndarray | None = None,
    start: Checkpoint | None = None,
    analysis_time: float | None = None,
) -> abc.Generator[Cycle, None, None]:
    """Run a twin experiment, yielding one `Cycle` after another.

    Parameters
    ----------
    model : Model
        Advances the members.
    method : Filter
    network : ObservingNetwork or AsynchronousNetwork
        What is observed: a `Network`, `RandomPoints` or anything with ``observe(truth, cycle, rng) -> Observation``.
    initial : InitialLaw
    members, cycles : int
    interval : float
        Model time between observations; the length of the window of an `AsynchronousNetwork`.
    streams : Streams
        Random streams, spawned per role.
    truth_model : Model, optional
        Advances the truth, if not `model`.
    positions : (state, dimension) array, optional
        Where the state variables are; by default the model's ``positions``, else each is at its index.
    start : Checkpoint, optional
        Go on from there, with copies of its streams; nothing is drawn from `initial`. Another method or other members
        go on from its `branch`.
    analysis_time : float, optional
        When in the window of an `AsynchronousNetwork` the analysis is, one of its steps; by default the end.

    Yields
    ------
    Cycle

    Raises
    ------
    ValueError
        If the numbers of members or cycles are not positive, the window is not the interval, or the checkpoint is of
        other members or of a method that remembers something else.
    Lost
        If the forecast of a member is not finite, or the filter is lost as `ensf.twin.watch` says.
    """
    if members < 2 or cycles < 1:
        raise ValueError(f"a twin experiment needs 2 members and 1 cycle or more, not {members} and {cycles}")
    truth_model = truth_model or model
    positions = getattr(model, "positions", None) if positions is None else positions
    if start is None:
        start = Checkpoint(0, *initial.draw(members, streams), None, streams)
    else:
        _check_members(start, method, members)
        if cycles < start.cycles:
            raise ValueError(
                f"cycles is {cycles}, counted from the start of the experiment, but the checkpoint is after cycle "
                f"{start.cycles}: give more"
            )
    current = replace(start, streams=start.streams.copy())
    run: _Twin
    if not isinstance(analysis_time, Real | None):
        raise ValueError(f"analysis_time is {analysis_time!r}: give a time from the start of the window, {interval:g}")
    if isinstance(network, AsynchronousNetwork):
        step = network.step_at(interval, interval if analysis_time is None else analysis_time)
        run = _WindowTwin(model, truth_model, method, network.network, interval, positions, network, step)
    elif analysis_time is None:
        run = _Twin(model, truth_model, method, network, interval, positions)
    else:
        raise ValueError(
            f"analysis_time is {analysis_time:g} but every observation is at the end of its window: leave it out"
        )
    while current.cycles < cycles:
        try:
            cycle = run.cycle(current)
        except Unresolved as error:
            number = current.cycles + 1
            raise Lost(f"the filter has lost the truth in cycle {number}: {error}", number).of(method) from error
        except Lost as error:
            raise error.of(method) from error.__cause__
        except OtherMemory as error:
            raise ValueError(f"{error}; from the checkpoint of another method take its branch()") from error
        yield cycle
        current = cycle.following


@dataclass(frozen=True, eq=False)
class _Twin:
    """Cycles of an experiment in which all observations are at the time of the analysis."""

    model: Model
    truth_model: Model
    method: Filter
    network: ObservingNetwork
    interval: float
    positions: np.ndarray | None

    @cached_property
    def lag(self) -> int:
        """Number of earlier cycles that the method corrects."""
        return unsmoothed(self.method)[1]

    @cached_property
    def tolerant(self) -> Tolerant | None:
        """The filter that goes on without members that failed, if the method is one."""
        return _tolerant(self.method)

    def cycle(self, start: Checkpoint) -> Cycle:
        """The cycle after those of a checkpoint, whose streams it uses."""
        time = start.cycles * self.interval
        streams = start.streams
        truth = _advanced(self.truth_model, start.truth, time, self.interval, streams.truth_noise)
        observation = self.network.observe(truth, start.cycles, streams.observations)
        started = clock.process_time()
        forecast = _advanced(self.model, start.ensemble, time, self.interval, streams.model_noise)
        forecasted = clock.process_time()
        left = _left(forecast, start.cycles, self.tolerant)
        watch = start.watch.after(start.cycles + 1, left, observation)
        watched = clock.process_time()
        window = Window(start.ensemble, forecast, partial(self.model.advance, time=time, duration=self.interval))
        seen = observation.within(window)
        analysis = self.method.analyse(forecast, seen, streams.filter, start.memory, self.positions)
        analysed = clock.process_time()
        check_finite(analysis.ensemble, type(self.method).__name__, forecast)
        return Cycle(
            start.cycles,
            time + self.interval,
            truth,
            observation,
            left,
            analysis,
            forecasted - started,
            analysed - watched,
            streams,
            watch,
            self.lag,
            start.earlier_truths,
        )


@dataclass(frozen=True, eq=False)
class _WindowTwin(_Twin):
    """Cycles whose observations have times of their own."""

    windows: AsynchronousNetwork
    step: int

    def cycle(self, start: Checkpoint) -> Cycle:
        """The cycle after those of a checkpoint, whose streams it uses."""
        time = start.cycles * self.interval
        streams = start.streams
        steps = self.windows.steps
        stops = np.unique([*steps, *self.windows.times]).tolist()
        truths = dict(zip(stops, _states(self.truth_model, start.truth, time, stops, streams.truth_noise), strict=True))
        observation = self.windows.observe([truths[t] for t in self.windows.times], start.cycles, streams.observations)
        started = clock.process_time()
        forecast = _states(self.model, start.ensemble, time, steps, streams.model_noise)
        forecasted = clock.process_time()
        trajectory = namespace(forecast[0]).stack(forecast, axis=1)
        left = _left(trajectory, start.cycles, self.tolerant)
        watch = start.watch.after(start.cycles + 1, left.reshape(left.shape[0], -1), observation)
        watched = clock.process_time()
        analysis = analyse_window(
            self.method, trajectory, observation, streams.filter, start.memory, self.positions, self.step
        )
        analysed = clock.process_time()
        end = _states(self.model, analysis.ensemble, time, steps[self.step :], streams.model_noise)[-1]
        again = clock.process_time() - analysed
        return Cycle(
            start.cycles,
            time + steps[self.step],
            truths[steps[self.step]],
            observation,
            left[:, self.step],
            analysis,
            forecasted - started + again,
            analysed - watched,
            streams,
            watch,
            self.lag,
            start.earlier_truths,
            MembersWindow(trajectory, left, analysis, self.positions, self.step, truths[steps[-1]], end),
        )


def _advanced(model: Model, states: Array, time: float, duration: float, rng: Generator) -> Array:
    """States after a duration; those at its start stay what they are if the model works in place."""
    return model.advance(namespace(states).asarray(states, copy=True), time, duration, rng)


def _states(model: Model, states: Array, time: float, stops: abc.Sequence[float], rng: Generator) -> list[Array]:
    """States at the first of some times after `time`, as they are, and at the others."""
    trajectory = [states]
    for start, stop in pairwise(stops):
        trajectory.append(_advanced(model, trajectory[-1], time + start, stop - start, rng))
    return trajectory


FAILED = "see why the model fails for these members, such as states far off, or let FailedMembers go on with fewer"


def _tolerant(method: Filter) -> Tolerant | None:
    """The filter that goes on without members that failed, if the method is one."""
    inner, _ = unsmoothed(method)
    return inner if isinstance(inner, Tolerant) else None


def _check_members(start: Checkpoint, method: Filter, members: int) -> None:
    """Raise ValueError unless a checkpoint has so many members, or fewer for a method that leaves out what failed."""
    here, tolerant = start.ensemble.shape[0], _tolerant(method)
    left_out = tolerant is not None and not tolerant.replaced and here < members
    if here != members and not left_out:
        raise ValueError(
            f"members is {members} but the checkpoint has {here}: say members={here}, or start from its "
            f"branch(members={members})"
        )


def _left(forecast: Array, index: int, tolerant: Tolerant | None) -> Array:
    """The members ``(member, ...)`` with which the method goes on; raises Lost unless it does."""
    if tolerant is None:
        _check_alive(forecast, index)
        return forecast
    try:
        alive = tolerant.alive(forecast)
    except ValueError as error:
        sentence = f"the filter has lost the truth in cycle {index + 1}: {error}"
        raise Lost(sentence, index + 1, advice=FAILED) from error
    return without_failed(forecast, alive)


def _check_alive(forecast: Array, index: int) -> None:
    """Raise Lost for a forecast that is not finite."""
    finite = namespace(forecast).isfinite(forecast)
    if not bool(namespace(forecast).all(finite)):
        member = int(np.argmin(to_numpy(finite).reshape(forecast.shape[0], -1).all(axis=1)))
        raise Lost(
            f"the filter has lost the truth: the forecast of member {member} is not finite in cycle {index + 1}",
            index + 1,
        )
