"""An experiment: a named setting with its methods, run one (method, seed) at a time into scores and files.

The pages in `ensf.experiments` are records of this kind.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import numpy as np

from ensf.arrays import Array, normal, summary
from ensf.filters.base import Filter
from ensf.twin.twin import AsynchronousNetwork, Checkpoint, Cycle, InitialLaw, Model, ObservingNetwork, Streams, twin

__all__ = [
    "Climatology",
    "Experiment",
    "GaussianStart",
    "Method",
    "PerturbedTruth",
    "Record",
    "TwinExperiment",
    "summarise",
]


AnyNetwork = TypeVar("AnyNetwork", bound=ObservingNetwork | AsynchronousNetwork)

Record: TypeAlias = dict[str, Any]
"""What there is to say of one run: scores by name, and what was run."""


@dataclass(frozen=True)
class Method:
    """A filter as an experiment uses it.

    Parameters
    ----------
    filter : Filter
    members : int
        Ensemble size.
    summary : str
        One line for lists and tables.
    """

    filter: Filter
    members: int
    summary: str = ""


class Experiment(Protocol):
    """What a run and the command line need of an experiment; `TwinExperiment` says what each is."""

    @property
    def name(self) -> str: ...

    @property
    def summary(self) -> str: ...

    @property
    def source(self) -> str: ...

    @property
    def methods(self) -> Mapping[str, Method]: ...

    @property
    def model(self) -> Model: ...

    @property
    def cycles(self) -> int: ...

    @property
    def seeds(self) -> tuple[int, ...]: ...

    @property
    def time_units(self) -> str: ...

    @property
    def burn_in(self) -> float: ...

    @property
    def climatology(self) -> float: ...

    def scored(self, times: np.ndarray) -> dict[str, np.ndarray]: ...

    def run(self, method: Method, seed: int, start: Checkpoint | None = None) -> Generator[Cycle, None, None]:
        """Cycles of one method and seed, from the beginning or after those of `start`."""


@dataclass(frozen=True)
class TwinExperiment(Generic[AnyNetwork]):
    """A twin experiment with its methods; as a type, ``TwinExperiment[Network]`` says what may observe.

    Parameters
    ----------
    name, summary : str
    model : Model
        Advances the members (and the truth, unless `truth_model` is given).
    network : ObservingNetwork or AsynchronousNetwork
        What is observed, as `twin` takes it.
    initial : InitialLaw
    methods : mapping of str to Method
    cycles : int
        Number of cycles.
    interval : float
        Model time between observations.
    burn_in : float
        Scores are means over times after this model time.
    climatology : float
        Climatological standard deviation: the spread of states about the time mean. A run has diverged if the
        root mean square of its analysis RMSE over the last fifth of the run is above half of it.
    seeds : tuple of int
        Seeds of a default run.
    last : int
        If positive, also scored over all cycles and over this many last ones.
    truth_model : Model, optional
    source : str
        Where the setting was published.
    time_units : str
        Unit of model time, as `ensf.runs.netcdf.writer.save` takes it; 1 for a model without units.
    analysis_time : float, optional
        When in the window of an `AsynchronousNetwork` the analysis is; by default the end.
    """

    name: str
    summary: str
    model: Model
    network: AnyNetwork
    initial: InitialLaw
    methods: Mapping[str, Method]
    cycles: int
    interval: float
    burn_in: float = 0.0
    climatology: float = math.inf
    seeds: tuple[int, ...] = (1, 2, 3)
    last: int = 0
    truth_model: Model | None = None
    source: str = ""
    time_units: str = "1"
    analysis_time: float | None = None

    def run(self, method: Method, seed: int, start: Checkpoint | None = None) -> Generator[Cycle, None, None]:
        """Cycles of one method and seed, after those of `start`; truth and observations depend on the seed alone."""
        return twin(
            self.model,
            method.filter,
            self.network,
            self.initial,
            members=method.members,
            cycles=self.cycles,
            interval=self.interval,
            streams=Streams.spawn(seed),
            truth_model=self.truth_model,
            start=start,
            analysis_time=self.analysis_time,
        )

    def scored(self, times: np.ndarray) -> dict[str, np.ndarray]:
        """Boolean masks over cycles for each scoring window, by the suffix of its names in the summary."""
        after = times > self.burn_in * (1 + 1e-12)
        windows = {"": after if after.any() else np.ones_like(after)}
        if self.last:
            windows["_all"] = np.ones_like(after)
            windows[f"_last{self.last}"] = np.arange(len(times)) >= len(times) - self.last
        return windows


# --- initial laws ----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class GaussianStart:
    """Truth and members are independent draws from N(mean, deviation^2 I).

    Parameters
    ----------
    mean : (state,) array
    deviation : float
    """

    mean: Array
    deviation: float

    def __repr__(self) -> str:
        return f"GaussianStart(mean {summary(self.mean)}, deviation={self.deviation!r})"

    def draw(self, members: int, streams: Streams) -> tuple[Array, Array]:
        """Initial truth and members."""
        size = self.mean.shape[0]
        truth = self.mean + self.deviation * normal(streams.truth, (size,), self.mean)
        return truth, self.mean + self.deviation * normal(streams.ensemble, (members, size), self.mean)


@dataclass(frozen=True, eq=False)
class PerturbedTruth:
    """Truth on the model's attractor, after a spin-up from a random state; members are truth + N(0, deviation^2 I).

    Parameters
    ----------
    model : Model
    mean : (state,) array
        The spin-up starts from ``mean + N(0, I)``.
    spin_up : float
        Model time.
    deviation : float
    """

    model: Model
    mean: Array
    spin_up: float = 50.0
    deviation: float = 1.0

    def __repr__(self) -> str:
        settings = f"spin_up={self.spin_up!r}, deviation={self.deviation!r}"
        return f"PerturbedTruth({self.model!r}, mean {summary(self.mean)}, {settings})"

    def draw(self, members: int, streams: Streams) -> tuple[Array, Array]:
        """Initial truth and members."""
        size = self.mean.shape[0]
        seed_state = self.mean + normal(streams.truth, (size,), self.mean)
        truth = self.model.advance(seed_state, 0.0, self.spin_up)
        return truth, truth + self.deviation * normal(streams.ensemble, (members, size), self.mean)


@dataclass(frozen=True, eq=False)
class Climatology:
    """A cold start: truth and members are independent states of the model's attractor, the ends of long runs.

    Parameters
    ----------
    model : Model
    mean : (state,) array
        The runs start from ``mean + N(0, I)``.
    spin_up : float
        Model time.
    """

    model: Model
    mean: Array
    spin_up: float = 50.0

    def __repr__(self) -> str:
        return f"Climatology({self.model!r}, mean {summary(self.mean)}, spin_up={self.spin_up!r})"

    def draw(self, members: int, streams: Streams) -> tuple[Array, Array]:
        """Initial truth, the same as that of `PerturbedTruth`, and members."""
        size = self.mean.shape[0]
        truth = self.mean + normal(streams.truth, (size,), self.mean)
        ensemble = self.mean + normal(streams.ensemble, (members, size), self.mean)
        return self.model.advance(truth, 0.0, self.spin_up), self.model.advance(ensemble, 0.0, self.spin_up)


# --- summary of a run ------------------------------------------------------------------------------------


def summarise(experiment: Experiment, cycles: list[tuple[float, Mapping[str, float]]]) -> Record:
    """Scores of one run: means over each scoring window, and whether it diverged.

    Parameters
    ----------
    experiment : Experiment
    cycles : list of (time, scores)
        One entry per cycle.

    Returns
    -------
    dict
        One number per score and window, `cycles`, `diverged`, and `past_burn_in`: how many cycles came after
        burn-in; if none did, scores are means over all.
    """
    times = np.array([time for time, _ in cycles])
    columns = {name: np.array([scores.get(name, math.nan) for _, scores in cycles]) for name in cycles[0][1]}
    summary: Record = {"cycles": len(cycles), "past_burn_in": int((times > experiment.burn_in * (1 + 1e-12)).sum())}
    for suffix, mask in experiment.scored(times).items():
        summary |= {f"{name}{suffix}": _mean_present(column[mask]) for name, column in columns.items()}
    summary["diverged"] = diverged(columns["rmse_analysis"], experiment.climatology)
    return summary


def _mean_present(values: np.ndarray) -> float:
    """Mean of the numbers that are there; NaN if none is, as of a score that the error law does not have."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else math.nan


def diverged(rmse: np.ndarray, climatology: float) -> bool:
    """True if RMSE in the last fifth of a run is above half the climatological spread in mean square, or not finite."""
    tail = rmse[-max(1, len(rmse) // 5) :]
    return bool(not np.isfinite(tail).all() or np.sqrt(np.mean(tail**2)) > 0.5 * climatology)
