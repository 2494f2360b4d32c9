"""Twin experiments: truth, observations, forecast, analysis, one cycle after another.

A cycle is forecast, then analysis; there is no observation at time 0. `twin` is a generator: writers, progress bars
and statistics consume its `Cycle` records. Each role has its own random stream, spawned from one seed, so that
changing the filter changes neither truth nor observations. What a cycle leaves behind is a `Checkpoint`; from there the
rest of the experiment is the same, bit for bit, as if it had never stopped.
"""

from __future__ import annotations

import time as clock
from collections import abc
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Protocol, cast

import numpy as np

from ensf.arrays import Array, Generator, Numbers, namespace, summary, to_numpy
from ensf.filters.base import Analysis, Filter, Memory
from ensf.filters.lost import Lost
from ensf.observations import ErrorLaw, Gaussian, Identity, Observation, Operator
from ensf.observations.error_laws import is_error_law
from ensf.observations.window import Window
from ensf.twin.watch import Watch

__all__ = ["Checkpoint", "Cycle", "InitialLaw", "Model", "Network", "Streams", "twin"]


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


def _short(error: float | Array | ErrorLaw) -> str:
    return summary(error) if isinstance(error, np.ndarray) else repr(error)


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
    """

    cycles: int
    truth: Array
    ensemble: Array
    memory: Memory
    streams: Streams
    watch: Watch = field(default_factory=lambda: Watch.begin(0))

    def __repr__(self) -> str:
        memory = type(self.memory).__name__
        return f"Checkpoint({self.cycles} cycles, ensemble {summary(self.ensemble)}, memory {memory}, {self.streams!r})"


@dataclass(frozen=True, eq=False)
class Cycle:
    """One cycle of a twin experiment.

    Attributes
    ----------
    index : int
        0 is the first.
    time : float
        Model time of the observation.
    truth : (state,) array
    observation : Observation
    forecast : (member, state) array
    analysis : Analysis
    seconds_forecast, seconds_analysis : float
        Processor time spent.
    streams : Streams, optional
        As this cycle leaves them, until the next one is asked for. An experiment without them cannot be resumed.
    watch : Watch
        Whether the filter is about to be lost.
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

    def __repr__(self) -> str:
        return (
            f"Cycle({self.index}, time {self.time:g}, truth {summary(self.truth)}, {self.observation!r}, "
            f"forecast {summary(self.forecast)}, {self.analysis!r})"
        )

    @property
    def checkpoint(self) -> Checkpoint | None:
        """What the next cycle needs; ask for it before that. None without streams."""
        if self.streams is None:
            return None
        analysis = self.analysis
        return Checkpoint(
            self.index + 1, self.truth, analysis.ensemble, analysis.memory, self.streams.copy(), self.watch
        )


def twin(
    model: Model,
    method: Filter,
    network: Network,
    initial: InitialLaw,
    *,
    members: int,
    cycles: int,
    interval: float,
    streams: Streams,
    truth_model: Model | None = None,
    positions: np.ndarray | None = None,
    start: Checkpoint | None = None,
) -> abc.Generator[Cycle, None, None]:
    """Run a twin experiment, yielding one `Cycle` after another.

    Parameters
    ----------
    model : Model
        Advances the members.
    method : Filter
    network : Network
        What is observed; anything with ``observe(truth, cycle, rng) -> Observation``.
    initial : InitialLaw
    members, cycles : int
    interval : float
        Model time between observations.
    streams : Streams
        Random streams, spawned per role.
    truth_model : Model, optional
        Advances the truth, if not `model`.
    positions : (state, dimension) array, optional
        Where the state variables are; by default the model's ``positions``, else each is at its index.
    start : Checkpoint, optional
        Go on from there, with copies of its streams; nothing is drawn from `initial`.

    Yields
    ------
    Cycle

    Raises
    ------
    ValueError
        If the numbers of members or cycles are not positive.
    Lost
        If the forecast of a member is not finite, or the filter is lost as `ensf.twin.watch` says.
    """
    if members < 2 or cycles < 1:
        raise ValueError(f"a twin experiment needs 2 members and 1 cycle or more, not {members} and {cycles}")
    truth_model = truth_model or model
    positions = getattr(model, "positions", None) if positions is None else positions
    start = start or Checkpoint(0, *initial.draw(members, streams), None, streams)
    truth, ensemble, memory, streams = start.truth, start.ensemble, start.memory, start.streams.copy()
    watch = start.watch
    for index in range(start.cycles, cycles):
        time = index * interval
        truth = truth_model.advance(truth, time, interval, streams.truth_noise)
        observation = network.observe(truth, index, streams.observations)
        started = clock.process_time()
        forecast = model.advance(ensemble, time, interval, streams.model_noise)
        forecasted = clock.process_time()
        _check_alive(forecast, index)
        watch = watch.after(index + 1, forecast, observation)
        window = Window(ensemble, forecast, partial(model.advance, time=time, duration=interval))
        windowed = replace(observation, error=observation.law, window=window)
        analysis = method.analyse(forecast, windowed, streams.filter, memory, positions)
        analysed = clock.process_time()
        ensemble, memory = analysis.ensemble, analysis.memory
        yield Cycle(
            index,
            time + interval,
            truth,
            observation,
            forecast,
            analysis,
            forecasted - started,
            analysed - forecasted,
            streams,
            watch,
        )


def _check_alive(forecast: Array, index: int) -> None:
    """Raise Lost for a forecast that is not finite."""
    finite = namespace(forecast).isfinite(forecast)
    if not bool(namespace(forecast).all(finite)):
        member = int(np.argmin(to_numpy(finite).all(axis=1)))
        raise Lost(
            f"the filter has lost the truth: the forecast of member {member} is not finite in cycle {index + 1}",
            index + 1,
        )
