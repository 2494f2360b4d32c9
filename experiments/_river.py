"""What the pages of rivers share: records of a catchment, HYMOD with its errors, forecasts scored by the gauge.

Nobody knows the truth of a river. A filter gets the discharge of each day, and what scores it is the gauge on the
days after. So the states of a cycle are forecasts of discharge at leads of 1 to 7 days:

    truth       what the gauge reports on these days, which no filter has had yet
    forecast    issued without the report of today; of `Persistence` and `OutputUpdating`, which need it, with it
    analysis    issued with it

Each member of a forecast has an error of the gauge of its own, as whoever compares it with the gauge needs it. The
rain of the days ahead is that which was measured on them, with the errors that rain has here: the errors of a weather
forecast come on top, and are not in these numbers.

A member has the storages S of HYMOD, two errors r and q, the discharge Q, and parameters. By the day

    r <- a r + sqrt(1 - a^2) rain e         the rain is multiplied by exp(r - rain^2 / 2)
    q <- b q + sqrt(1 - b^2) output e       log Q is q more than that of the model
    S <- S exp(storage e)                   with an error `soil` for that of the soil

with e from N(0, 1), each time another. The filter works on the roots of S, of which one below 0 is
an empty tank, on r, q and log Q, and on the parameters in the coordinates `BOUNDS`.
"""

from __future__ import annotations

import importlib.util
import math
import time as clock
from collections import abc
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from ensf.arrays import Array, Generator
from ensf.dataset import Log, Logit, Transform
from ensf.diagnostics import crps
from ensf.filters import Analysis
from ensf.models.hymod import PARAMETERS, STORAGES, Hymod
from ensf.observations import Lognormal, Observation, Pointwise, Select, exponential
from ensf.twin import Checkpoint, Cycle, Method, Streams

LEADS = 7
RAIN, OUTPUT, DISCHARGE = len(STORAGES), len(STORAGES) + 1, len(STORAGES) + 2
FIRST_PARAMETER = len(STORAGES) + 3
BOUNDS: tuple[Transform, ...] = (Log(), Logit(0.0, 4.0), Logit(0.0, 1.0), Logit(0.0, 0.2), Logit(0.0, 1.0))
"""Coordinates of the parameters."""


# --- records of a catchment ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Records:
    """Daily records of a catchment.

    Attributes
    ----------
    first : numpy.datetime64
        The first day.
    rain : (day, step) array
        mm in each part of the day.
    evaporation : (day,) array
        mm, potential.
    discharge : (day,) array
        m3/s, mean of the day.
    """

    first: np.datetime64
    rain: np.ndarray
    evaporation: np.ndarray
    discharge: np.ndarray

    def day(self, date: str) -> int:
        """Number of the day of a date such as ``1960-10-01``.

        Raises
        ------
        ValueError
            If there are no records of it.
        """
        number = int((np.datetime64(date) - self.first).astype(int))
        if not 0 <= number < len(self.rain):
            last = self.first + len(self.rain) - 1
            raise ValueError(f"there are no records of {date}: give a day from {self.first} to {last}")
        return number


@cache
def leaf_river() -> Records:
    """The Leaf River near Collins, Mississippi (1944 km2), 28 July 1952 to 30 September 1962.

    Example data of the package `spotpy`: day, month, year, discharge, potential evaporation, rain of four times 6 h.

    Raises
    ------
    ImportError
        If `spotpy` is not installed.
    """
    columns = np.loadtxt(_example("hymod_unix/bound.txt"))
    day, month, year = columns[0, :3].astype(int)
    first = np.datetime64(f"{year:04d}-{month:02d}-{day:02d}")
    return Records(first, columns[:, 5:], columns[:, 4], columns[:, 3])


def _example(name: str) -> Path:
    """A file of the examples of `spotpy`, which is not imported."""
    package = importlib.util.find_spec("spotpy")
    if package is None or not package.submodule_search_locations:
        raise ImportError('the records are example data of the package spotpy: pip install "ensf[examples]"')
    return Path(package.submodule_search_locations[0], "examples", name)


# --- the model and its errors ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Errors:
    """What the model does not know; standard deviations of logarithms, by the day.

    Parameters
    ----------
    rain, rain_memory : float
        Of the rain of a day, and its correlation from one day to the next.
    evaporation : float
    storage, soil : float
        Of the water in a tank, and in the soil.
    output, output_memory : float
        Of the discharge, and its correlation from one day to the next.
    """

    rain: float = 0.0
    rain_memory: float = 0.0
    evaporation: float = 0.0
    storage: float = 0.0
    soil: float = 0.0
    output: float = 0.0
    output_memory: float = 0.0


@dataclass(frozen=True)
class River:
    """HYMOD under the records of a catchment, with errors.

    Parameters
    ----------
    hymod : Hymod
    start : str
        The day before the first one of model time, such as ``1960-09-30``.
    records : callable
        Gives the `Records`.
    errors : Errors
        By default none.
    """

    hymod: Hymod
    start: str
    records: abc.Callable[[], Records] = leaf_river
    errors: Errors = Errors()

    dims: ClassVar[tuple[str, ...]] = ("entry",)
    shape: ClassVar[tuple[int, ...]] = (FIRST_PARAMETER + len(PARAMETERS),)

    def day(self, time: float) -> int:
        """Number in the records of the day that ends at a model time."""
        return self.records().day(self.start) + round(time)

    def advance(self, states: Array, time: float, duration: float, rng: Generator | None = None) -> Array:
        """States ``(member, entry)`` after `duration` days."""
        for step in range(round(duration)):
            states = self._next_day(states, self.day(time + step + 1), rng)
        return states

    def forecast(self, states: Array, time: float, rng: Generator) -> np.ndarray:
        """Discharge ``(member, lead)`` of the days after `time`, m3/s."""
        discharge = np.empty((len(states), LEADS))
        for lead in range(LEADS):
            states = self.advance(states, time + lead, 1.0, rng)
            discharge[:, lead] = np.exp(states[:, DISCHARGE])
        return discharge

    def _next_day(self, states: np.ndarray, day: int, rng: Generator | None) -> np.ndarray:
        errors, records, size = self.errors, self.records(), len(STORAGES)
        noise = np.zeros((len(states), size + 3)) if rng is None else rng.standard_normal((len(states), size + 3))
        after = states.copy()
        after[:, RAIN] = _remembered(states[:, RAIN], errors.rain, errors.rain_memory, noise[:, 0])
        after[:, OUTPUT] = _remembered(states[:, OUTPUT], errors.output, errors.output_memory, noise[:, 1])
        wetter = np.exp(after[:, RAIN] - errors.rain**2 / 2)
        warmer = np.exp(errors.evaporation * noise[:, 2] - errors.evaporation**2 / 2)
        storages, discharge = self.hymod.run(
            np.maximum(states[:, :size], 0.0) ** 2,
            states[:, FIRST_PARAMETER:],
            wetter[:, None] * records.rain[day],
            np.repeat(warmer[:, None] * records.evaporation[day] / self.hymod.steps, self.hymod.steps, axis=1),
        )
        deviation = np.array([errors.soil] + [errors.storage] * (size - 1))
        storages = storages * np.exp(deviation * noise[:, 3:] - deviation**2 / 2)
        after[:, :size] = np.sqrt(storages)
        after[:, DISCHARGE] = np.log(np.maximum(discharge[:, 0], 1e-6)) + after[:, OUTPUT]
        return after


def _remembered(error: np.ndarray, deviation: float, memory: float, noise: np.ndarray) -> np.ndarray:
    """The error of the next day."""
    return memory * error + math.sqrt(1 - memory**2) * deviation * noise


@dataclass(frozen=True)
class AroundCalibration:
    """Members with parameters about calibrated ones, after all the days on record before the start.

    Parameters
    ----------
    calibrated : tuple of float
        The parameters of HYMOD.
    deviations : tuple of float
        Standard deviations in the coordinates `BOUNDS`.
    errors : Errors
        Of the days to come.
    """

    calibrated: tuple[float, ...]
    deviations: tuple[float, ...]
    errors: Errors

    def draw(self, river: River, members: int, rng: Generator) -> np.ndarray:
        """Members ``(member, entry)``."""
        records = river.records()
        noise = np.array(self.deviations) * rng.standard_normal((members, len(PARAMETERS)))
        parameters = np.stack(
            [
                bound.inverse(bound.forward(np.array(value)) + noise[:, k])
                for k, (bound, value) in enumerate(zip(BOUNDS, self.calibrated, strict=True))
            ],
            axis=1,
        )
        storages = np.zeros((members, len(STORAGES)))
        storages[:, 0] = 0.3 * parameters[:, 0] / (parameters[:, 1] + 1)
        storages[:, -1] = records.discharge[0] * 86.4 / river.hymod.area / parameters[:, 3]
        days, steps = river.day(0.0) + 1, river.hymod.steps
        rain, evaporation = records.rain[:days].ravel(), np.repeat(records.evaporation[:days] / steps, steps)
        past = [np.broadcast_to(part, (members, days * steps)) for part in (rain, evaporation)]
        storages, discharge = river.hymod.run(storages, parameters, *past)
        errors = rng.standard_normal((members, 2)) * [self.errors.rain, self.errors.output]
        return np.concatenate([np.sqrt(storages), errors, np.log(discharge[:, -1:]), parameters], axis=1)


# --- what is issued --------------------------------------------------------------------------------------


class Issue(Protocol):
    """How a forecast is made of members."""

    def __call__(self, river: River, states: np.ndarray, time: float, reported: float, rng: Generator) -> np.ndarray:
        """Discharge ``(member, lead)`` in m3/s after `time`, when the gauge reported so much."""


@dataclass(frozen=True)
class ModelRun:
    """The members run on."""

    def __call__(self, river: River, states: np.ndarray, time: float, reported: float, rng: Generator) -> np.ndarray:
        """Discharge ``(member, lead)`` in m3/s."""
        return river.forecast(states, time, rng)


@dataclass(frozen=True)
class Persistence:
    """As much as the gauge reported, on all days."""

    def __call__(self, river: River, states: np.ndarray, time: float, reported: float, rng: Generator) -> np.ndarray:
        """Discharge ``(member, lead)`` in m3/s."""
        return np.full((len(states), LEADS), reported)


@dataclass(frozen=True)
class OutputUpdating:
    """The members run on, and their error of today fades: log Q + memory^lead (log reported - log Q of today).

    What forecasters do without a filter.

    Parameters
    ----------
    memory : float
        Correlation of the error from one day to the next.
    """

    memory: float

    def __call__(self, river: River, states: np.ndarray, time: float, reported: float, rng: Generator) -> np.ndarray:
        """Discharge ``(member, lead)`` in m3/s."""
        error = np.log(reported) - states[:, DISCHARGE]
        fading = self.memory ** np.arange(1, LEADS + 1)
        return river.forecast(states, time, rng) * np.exp(error[:, None] * fading)


# --- the experiment --------------------------------------------------------------------------------------


def lognormal(reported: float, error: float) -> Observation:
    """The gauge has an error in proportion, whose logarithm is Gaussian."""
    return Observation(np.array([reported]), Pointwise(exponential, Select([DISCHARGE])), Lognormal(error))


def logarithm(reported: float, error: float) -> Observation:
    """The same density, as a filter takes it that needs Gaussian errors."""
    return Observation(np.log([reported]), Select([DISCHARGE]), error)


@dataclass(frozen=True)
class RiverMethod(Method):
    """A filter, its members, what it gets of the gauge, and how its members are made a forecast."""

    prior: AroundCalibration = field(kw_only=True)
    observe: abc.Callable[[float, float], Observation] = lognormal
    issue: Issue = ModelRun()


@dataclass(frozen=True)
class Forecasts:
    """What the files hold in place of states: discharge on the days after.

    Parameters
    ----------
    river : River
    """

    river: River

    dims: ClassVar[tuple[str, ...]] = ("lead",)
    shape: ClassVar[tuple[int, ...]] = (LEADS,)
    coords: ClassVar[dict[str, np.ndarray]] = {"lead": np.arange(1, LEADS + 1)}
    coord_units: ClassVar[dict[str, str]] = {"lead": "days"}
    variable: ClassVar[str] = "discharge"
    long_name: ClassVar[str] = "discharge that the gauge reports so many days after"
    standard_name: ClassVar[str] = "water_volume_transport_in_river_channel"
    units: ClassVar[str] = "m3 s-1"

    @property
    def epoch(self) -> str:
        """Date of model time 0, the start of the day after `River.start`, at whose end it is 1."""
        return f"{np.datetime64(self.river.start) + 1} 00:00:00"

    def advance(self, states: Array, time: float, duration: float, rng: Generator | None = None) -> Array:
        """A forecast is not run on: `River` is."""
        raise TypeError("forecasts are issued anew every day: run the River")


@dataclass(frozen=True, eq=False)
class RiverCycle(Cycle):
    """A cycle with forecasts for states; observed are the members that issue them, which its checkpoint has.

    Attributes
    ----------
    prior, members : (member, entry) array
        Before and after the analysis.
    """

    prior: np.ndarray = field(kw_only=True)
    members: np.ndarray = field(kw_only=True)

    @property
    def observed_forecast(self) -> Array:
        """What the observation operator reads of the members before."""
        return self.prior

    @property
    def observed_analysis(self) -> Array:
        """What it reads of them after."""
        return self.members

    @property
    def following(self) -> Checkpoint:
        """What the next cycle begins with."""
        assert self.streams is not None
        return Checkpoint(self.index + 1, self.truth, self.members, self.analysis.memory, self.streams, self.watch)


@dataclass(frozen=True)
class RiverExperiment:
    """Forecasts of a river, day after day; fields as in `ensf.twin.experiment.TwinExperiment`.

    Parameters
    ----------
    model : Forecasts
    gauge : float
        Standard deviation of the logarithm of what the gauge reports.
    cycles : int
        Days on which forecasts are issued.
    burn_in : float
        Days after the start from which on forecasts are scored.
    """

    name: str
    summary: str
    model: Forecasts
    methods: Mapping[str, RiverMethod]
    gauge: float
    cycles: int
    burn_in: float
    seeds: tuple[int, ...] = (1, 2, 3)
    source: str = ""

    time_units: ClassVar[str] = "days"
    climatology: ClassVar[float] = math.inf
    last: ClassVar[int] = 0

    def run(self, method: RiverMethod, seed: int, start: Checkpoint | None = None) -> abc.Generator[Cycle, None, None]:
        """One `Cycle` per day after those of `start`.

        Raises
        ------
        ImportError
            If the records are not installed.
        ValueError
            If they end before the days that are to be forecast.
        """
        river, records = self.model.river, self.model.river.records()
        first = river.day(0.0)
        if first + self.cycles + LEADS >= len(records.discharge):
            raise ValueError(
                f"{self.cycles} cycles and {LEADS} days after them are beyond the records: take "
                f"{len(records.discharge) - 1 - first - LEADS} cycles at most, or an earlier start"
            )
        if start is None:
            streams = Streams.spawn(seed)
            states = method.prior.draw(river, method.members, streams.ensemble)
            start = Checkpoint(0, np.empty(LEADS), states, None, streams)
        current = replace(start, streams=start.streams.copy())
        while current.cycles < self.cycles:
            cycle = self._cycle(method, current)
            yield cycle
            current = cycle.following

    def _cycle(self, method: RiverMethod, start: Checkpoint) -> RiverCycle:
        river = replace(self.model.river, errors=method.prior.errors)
        discharge, streams = river.records().discharge, start.streams
        time = start.cycles + 1.0
        reported = float(discharge[river.day(time)])
        truth = discharge[river.day(time) + 1 : river.day(time) + 1 + LEADS]
        started = clock.process_time()
        prior = river.advance(start.ensemble, start.cycles, 1.0, streams.model_noise)
        forecasted = clock.process_time()
        observation = method.observe(reported, self.gauge)
        analysis = method.filter.analyse(prior, observation, streams.filter, start.memory)
        analysed = clock.process_time()
        seed = int(streams.observations.integers(2**63))
        before, after = (self._issued(method, river, part, time, reported, seed) for part in (prior, analysis.ensemble))
        info = {name: value for name, value in analysis.info.items() if name != "parameters"}
        issued = Analysis(after, analysis.memory, info)
        return RiverCycle(
            start.cycles,
            time,
            truth,
            observation,
            before,
            issued,
            forecasted - started + clock.process_time() - analysed,
            analysed - forecasted,
            streams,
            measured=by_lead(after, truth),
            prior=prior,
            members=analysis.ensemble,
        )

    def _issued(
        self, method: RiverMethod, river: River, members: Array, time: float, reported: float, seed: int
    ) -> np.ndarray:
        """A forecast of what the gauge will report ``(member, lead)``."""
        rng = np.random.default_rng(seed)
        discharge = method.issue(river, members, time, reported, rng)
        return discharge * np.exp(self.gauge * rng.standard_normal(discharge.shape))

    def scored(self, times: np.ndarray) -> dict[str, np.ndarray]:
        """The days after burn-in; all, if there are none."""
        after = times > self.burn_in
        return {"": after if after.any() else np.ones_like(after)}


def by_lead(members: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Scores of a forecast ``(member, lead)``, lead by lead: CRPS, and whether the gauge was within the middle 90 %.

    Of J + 1 ranks the middle ones are all but the J + 1 over 20, rounded, at either end.
    """
    tail = round((len(members) + 1) / 20)
    below = (members < truth).sum(axis=0)
    inside = (tail <= below) & (below <= len(members) - tail)
    each = crps(members.T[..., None], truth[:, None])
    return {f"crps_lead{lead}": value for lead, value in enumerate(each.tolist(), 1)} | {
        f"cover90_lead{lead}": float(value) for lead, value in enumerate(inside.tolist(), 1)
    }
