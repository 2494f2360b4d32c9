"""What geopotential_height and geopotential_height_arctan share: 65 observed winters, each in turn the truth.

A state is the anomaly x of a winter from the mean of the other 64, in m; these are the prior ensemble, with standard
deviation s at every grid point. Stations are grid points drawn once per seed, equally likely per area. They see

    Height       y = x + e,               e ~ N(0, error^2), in m,
    Saturating   y = arctan(x / s) + e,   e ~ N(0, (error / s)^2): as accurate as Height where x is small.

No winter knows of another one's analysis, so nothing cycles and nothing diverges.
"""

from __future__ import annotations

import math
import time as clock
from collections import abc
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Protocol

import numpy as np
import scipy.sparse
import xarray as xr

from ensf.arrays import Array, Generator
from ensf.dataset import netcdf, pack
from ensf.observations import Linear, Pointwise, Select, arctan
from ensf.twin import Checkpoint, Cycle, Method, Network, Streams

LATITUDE, LONGITUDE = np.arange(20.0, 90.1, 2.5), np.arange(-80.0, 40.1, 2.5)
POSITIONS = np.stack(np.meshgrid(LATITUDE, LONGITUDE, indexing="ij"), axis=-1).reshape(-1, 2)


# --- the winters -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Winters:
    """The grid of the winters, in place of a model: there is no forecast. `positions` are in degrees north and east."""

    dims: ClassVar[tuple[str, ...]] = ("latitude", "longitude")
    shape: ClassVar[tuple[int, ...]] = (LATITUDE.size, LONGITUDE.size)
    coords: ClassVar[dict[str, np.ndarray]] = {"latitude": LATITUDE, "longitude": LONGITUDE}
    positions: ClassVar[np.ndarray] = POSITIONS
    variable: ClassVar[str] = "z"
    long_name: ClassVar[str] = "anomaly of the winter-mean geopotential height at 500 hPa"
    standard_name: ClassVar[str] = "geopotential_height_anomaly"
    units: ClassVar[str] = "m"


@cache
def heights() -> tuple[np.ndarray, np.ndarray]:
    """Mean 500-hPa heights of December to February in m, ``(winter, state)``, and the years, from the package `eofs`.

    Raises
    ------
    ImportError
        If `eofs` is not installed.
    """
    try:
        from eofs.examples import example_data_path
    except ImportError as error:
        message = 'the winters are example data of the package eofs: pip install "ensf[examples]"'
        raise ImportError(message) from error
    with netcdf.lazy(example_data_path("hgt_djf.nc")) as stored:
        data = xr.decode_cf(stored).sel(Winters.coords).load()
    return pack(data, "time", ["z"])[0], data.time.dt.year.values


# --- the stations ----------------------------------------------------------------------------------------


def scatter(count: int, rng: Generator) -> np.ndarray:
    """Distinct grid points ``(count,)``, equally likely per area."""
    area = np.cos(np.deg2rad(POSITIONS[:, 0]))
    return np.sort(rng.choice(area.size, count, replace=False, p=area / area.sum()))


class Sensor(Protocol):
    """What a station reports."""

    def network(self, points: np.ndarray, prior: Array) -> Network:
        """Stations at grid points ``(observation,)`` of the prior ``(member, state)``."""


@dataclass(frozen=True)
class Height:
    """The height itself.

    Parameters
    ----------
    error : float
        Standard deviation in m.
    """

    error: float = 10.0

    def network(self, points: np.ndarray, prior: Array) -> Network:
        """Stations at grid points ``(observation,)`` of the prior ``(member, state)``."""
        return Network(Select(points), self.error, POSITIONS[points])


@dataclass(frozen=True)
class Saturating:
    """Arctangent of the anomaly over its standard deviation in the prior.

    Parameters
    ----------
    error : float
        Standard deviation in m of a small anomaly; at two standard deviations it is five times as large.
    """

    error: float = 10.0

    def network(self, points: np.ndarray, prior: Array) -> Network:
        """Stations at grid points ``(observation,)`` of the prior ``(member, state)``."""
        deviation = prior[:, points].std(axis=0, ddof=1)
        shape, rows = (points.size, prior.shape[1]), np.arange(points.size)
        scaled = scipy.sparse.csr_array((1 / deviation, (rows, points)), shape)
        return Network(Pointwise(arctan, Linear(scaled)), self.error / deviation, POSITIONS[points])


# --- the experiment --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LeaveOneOut:
    """Every winter analysed from the other ones; fields as in `ensf.twin.experiment.TwinExperiment`.

    Parameters
    ----------
    sensor : Sensor
    stations : int
        Number of grid points observed.
    cycles : int
        Winters left out, one at a time, from the first on.
    """

    name: str
    summary: str
    methods: Mapping[str, Method]
    sensor: Sensor
    stations: int = 25
    cycles: int = 65
    seeds: tuple[int, ...] = (1, 2, 3)
    source: str = "example data of eofs (Dawson, 2016, J. Open Res. Softw. 4, e14)"

    model: ClassVar[Winters] = Winters()
    time_units: ClassVar[str] = "years"
    burn_in: ClassVar[float] = 0.0
    climatology: ClassVar[float] = math.inf
    last: ClassVar[int] = 0

    def run(self, method: Method, seed: int, start: Checkpoint | None = None) -> abc.Generator[Cycle, None, None]:
        """One `Cycle` per winter after those of `start`, its time the year; stations depend on the seed alone.

        Raises
        ------
        ImportError
            If the data are not installed.
        ValueError
            If there are fewer winters than members, cycles or stations ask for.
        """
        winters, years = heights()
        self._check(method.members, len(years))
        streams = Streams.spawn(seed)
        points = scatter(self.stations, streams.truth)
        streams, done = (start.streams.copy(), start.cycles) if start else (streams, 0)
        for index, year in enumerate(years[done : self.cycles].tolist(), done):
            others = np.delete(winters, index, axis=0)
            mean = others.mean(axis=0)
            truth, anomalies = winters[index] - mean, others - mean
            observation = self.sensor.network(points, anomalies).observe(truth, index, streams.observations)
            prior = anomalies[np.sort(streams.ensemble.permutation(len(others))[: method.members])]
            started = clock.process_time()
            analysis = method.filter.analyse(prior, observation, streams.filter, positions=POSITIONS)
            seconds = clock.process_time() - started
            yield Cycle(index, float(year), truth, observation, prior, analysis, 0.0, seconds, streams)

    def _check(self, members: int, available: int) -> None:
        if not 2 <= members < available or not 1 <= self.cycles <= available:
            raise ValueError(
                f"{members} members and {self.cycles} cycles: there are {available} winters, "
                f"so take 2 to {available - 1} members and 1 to {available} cycles"
            )
        if not 1 <= self.stations <= len(POSITIONS):
            raise ValueError(f"{self.stations} stations: take 1 to {len(POSITIONS)}, the number of grid points")

    def scored(self, times: np.ndarray) -> dict[str, np.ndarray]:
        """All winters count."""
        return {"": np.ones_like(times, dtype=bool)}
