"""The table of output variables: name, dimensions, attributes, and a function of the cycle.

`View` is what the functions see of a cycle; what several variables need is calculated once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Protocol, cast

import netCDF4
import numpy as np

from ensf.arrays import Array, namespace, to_numpy
from ensf.diagnostics import cycle_spectra, rank_histogram
from ensf.diagnostics.score_table import SCORES, Score
from ensf.observations import Identity, Observation, Select
from ensf.runs.netcdf.time_units import CALENDAR, TIME_UNITS
from ensf.twin.about import About
from ensf.twin.twin import Cycle, Model

__all__ = ["Observed", "Row", "View", "members", "of_cycles", "wavenumbers"]

USED, MISSING, ABSENT = 0, 1, 2
STAGES = ("forecast", "analysis")
STATISTICS = {"mean": "mean", "spread": "standard_deviation"}


class SpectralModel(Model, Protocol):
    """A model on a doubly periodic plane."""

    def spectral_fields(self, states: Array) -> Sequence[Array]:
        """Fields ``(..., state)`` whose powers are added."""


@dataclass(frozen=True)
class Row:
    """An output variable; `value` maps a `View` to one record."""

    name: str
    dims: tuple[str, ...]
    value: Callable[[View], Any]
    long_name: str
    units: str | None
    content: str = "modelResult"
    dtype: str = "f4"
    extra: Mapping[str, object] = field(default_factory=dict)

    @property
    def attributes(self) -> dict[str, object]:
        """Attributes of the variable in the file."""
        units = {} if self.units is None else {"units": self.units}
        return {"long_name": self.long_name, **units, "coverage_content_type": self.content, **self.extra}


@dataclass(frozen=True, eq=False)
class View:
    """A cycle on the host.

    Parameters
    ----------
    cycle : Cycle
    scores : mapping of str to float
    slots : int
        Observations are padded to this number.
    model : Model
    """

    cycle: Cycle
    scores: Mapping[str, float]
    slots: int
    model: Model

    def ensemble(self, stage: str) -> Array:
        """Members ``(member, state)`` of forecast or analysis."""
        return self.cycle.forecast if stage == "forecast" else self.cycle.analysis.ensemble

    @cached_property
    def state(self) -> dict[str, dict[str, np.ndarray]]:
        """Mean and spread of the states by stage."""
        return {stage: _moments(self.ensemble(stage)) for stage in STAGES}

    @cached_property
    def equivalent(self) -> dict[str, dict[str, np.ndarray]]:
        """Mean and spread of the observation equivalents by stage."""
        observed = {"forecast": self.cycle.observed_forecast, "analysis": self.cycle.observed_analysis}
        nothing = dict.fromkeys(STATISTICS, np.full(self.observation.size, np.nan))
        return {
            stage: nothing if states is None else _moments(self.observation.operator(states))
            for stage, states in observed.items()
        }

    @cached_property
    def spectra(self) -> dict[str, np.ndarray]:
        """Power by wavenumber of truth, errors and spreads."""
        model = cast(SpectralModel, self.model)
        return cycle_spectra(self.cycle, model.shape, model.spectral_fields)

    @property
    def observation(self) -> Observation:
        """Of the cycle."""
        return self.cycle.observation

    def padded(self, values: Array, fill: float = np.nan) -> np.ndarray:
        """Values ``(observation, ...)`` with `fill` up to the number of slots."""
        values = to_numpy(values)
        rest = np.full((self.slots - values.shape[0], *values.shape[1:]), fill, values.dtype)
        return np.concatenate([values, rest]) if rest.size else values


def _moments(ensemble: Array) -> dict[str, np.ndarray]:
    xp = namespace(ensemble)
    size = ensemble.shape[0]
    mean = xp.sum(ensemble, axis=0) / size
    anomalies = ensemble - mean
    spread = xp.sqrt(xp.sum(anomalies * anomalies, axis=0) / (size - 1))
    return {"mean": to_numpy(mean), "spread": to_numpy(spread)}


def of_cycles(model: Model, time_units: str, names: Iterable[str], observed: Observed) -> Iterator[Row]:
    """All rows that every cycle has; `names` are those of the scores."""
    yield time(time_units, About.of(model).epoch)
    yield from fields(model)
    yield from spectra(model)
    yield ranks()
    yield from scores(names, model)
    yield from observations(observed, model)


# --- time and states -------------------------------------------------------------------------------------


def time(model_units: str, epoch: str) -> Row:
    """Time of the analysis, counted from a date."""
    units, number = TIME_UNITS[model_units]
    extra = {"standard_name": "time", "axis": "T", "calendar": CALENDAR, "units_metadata": "leap_seconds: none"}
    if model_units == "1":
        extra["comment"] = "dimensionless model time: its unit is written as one day"
    words, since = "time of the analysis", f"{units} since {epoch}"
    return Row("time", (), lambda v: number(v.cycle.time), words, since, "coordinate", "f8", extra)


def fields(model: Model) -> Iterator[Row]:
    """Truth, and mean and spread of the states."""
    name, words, units, extra = _variable(model)
    dims = tuple(model.dims)
    yield Row(f"{name}_truth", dims, lambda v: to_numpy(v.cycle.truth), f"{words}, truth", units, extra=extra)
    for stage in STAGES:
        for what, method in STATISTICS.items():
            value = partial(_field, stage=stage, what=what)
            cell = {"cell_methods": f"realization: {method}"}
            title = f"{words}, {method.replace('_', ' ')} of the {stage}"
            yield Row(f"{name}_{stage}_{what}", dims, value, title, units, extra={**extra, **cell})


def members(model: Model) -> Iterator[Row]:
    """All members of forecast and analysis."""
    name, words, units, extra = _variable(model)
    for stage in STAGES:
        title = f"{words}, members of the {stage}"
        dims = ("realization", *model.dims)
        yield Row(f"{name}_{stage}", dims, partial(_members, stage=stage), title, units, extra=extra)


def _variable(model: Model) -> tuple[str, str, str, dict[str, str]]:
    """Name, long name, units and standard name of the model variable."""
    about = About.of(model)
    standard = {"standard_name": about.standard_name} if about.standard_name else {}
    return about.variable, about.long_name, about.units, standard


def _field(view: View, stage: str, what: str) -> np.ndarray:
    return view.state[stage][what]


def _members(view: View, stage: str) -> np.ndarray:
    ensemble = to_numpy(view.ensemble(stage))
    failed = view.cycle.analysis.ensemble.shape[0] - len(ensemble)
    return np.concatenate([ensemble, np.full((failed, *ensemble.shape[1:]), np.nan, ensemble.dtype)])


# --- spectra ---------------------------------------------------------------------------------------------

SPECTRA = {
    "truth": "truth",
    "forecast_error": "error of the mean of the forecast",
    "forecast_spread": "standard deviation of the forecast",
    "analysis_error": "error of the mean of the analysis",
    "analysis_spread": "standard deviation of the analysis",
}


def wavenumbers(model: Model) -> int:
    """Number of total wavenumbers of a model with `spectral_fields`; 0 for others.

    Raises
    ------
    ValueError
        If its fields have not two dimensions.
    """
    if not hasattr(model, "spectral_fields"):
        return 0
    if len(model.shape) < 2:
        raise ValueError(
            f"the model has spectral_fields and the shape {model.shape}: spectra need two dimensions, or leave them out"
        )
    return min(model.shape[-2:]) // 2 + 1


def spectra(model: Model) -> Iterator[Row]:
    """Power of truth, error and spread by total wavenumber, for models with `spectral_fields`."""
    if not wavenumbers(model):
        return
    name, units = getattr(model, "spectral_name", "power"), getattr(model, "spectral_units", "1")
    words = f"{name.replace('_', ' ')} by total wavenumber, mean over levels"
    for key, what in SPECTRA.items():
        content = "modelResult" if key == "truth" else "qualityInformation"
        value = partial(_spectrum, key=key)
        dims = ("wavenumber",)
        title = f"{words}, {what}"
        yield Row(f"{name}_spectrum_{key}", dims, value, title, units, content)


def _spectrum(view: View, key: str) -> np.ndarray:
    return view.spectra[key]


# --- scores ----------------------------------------------------------------------------------------------


def scores(names: Iterable[str], model: Model) -> Iterator[Row]:
    """One number per cycle for each name in the mapping of scores, those of one's own among them."""
    units = _variable(model)[2]
    for name in names:
        score = SCORES.get(name, Score(name, name, name.replace("_", " "), ""))
        extra = {"comment": score.formula} if score.formula else {}
        unit = units if score.of_state else "1"
        yield Row(name, (), partial(_score, key=name), score.long_name, unit, "qualityInformation", "f8", extra)


def ranks() -> Row:
    """Rank histogram of the truth among the members of the analysis."""
    words = "components for which this many members of the analysis are below the truth"
    return Row("rank_histogram", ("rank",), _ranks, words, "1", "qualityInformation", "i4")


def _score(view: View, key: str) -> float:
    return view.scores.get(key, np.nan)


def _ranks(view: View) -> np.ndarray:
    return to_numpy(rank_histogram(view.cycle.analysis.ensemble, view.cycle.truth))


# --- observations ----------------------------------------------------------------------------------------

FLAGS = {
    "standard_name": "quality_flag",
    "flag_values": np.array([USED, MISSING, ABSENT], "i1"),
    "flag_meanings": "used missing_value no_observation",
}


@dataclass(frozen=True)
class Observed:
    """What there is to say of the observations besides values and errors.

    Parameters
    ----------
    units : str
    index : bool
        True if each is of one variable of the state, whose index is known.
    position : bool
        True if they have positions.
    """

    units: str
    index: bool
    position: bool

    @classmethod
    def in_cycle(cls, cycle: Cycle, model: Model) -> Observed:
        """Of the observations of a cycle."""
        operator = cycle.observation.operator
        size = math.prod(model.shape)
        of_state = cycle.observed_forecast.shape[-1] == size
        units = _variable(model)[2] if of_state and isinstance(operator, Identity | Select) else "1"
        index = of_state and operator.reads() is not None and operator.entries(size) is not None
        return cls(units, index, cycle.observation.position is not None)

    @classmethod
    def in_file(cls, file: netCDF4.Dataset) -> Observed:
        """As a file has them."""
        names = file.variables
        return cls(names["observation_value"].units, "observation_index" in names, "observation_position" in names)


def observations(observed: Observed, model: Model) -> Iterator[Row]:
    """Values, errors, flags and equivalents of the observations; variables and positions if they have them."""
    units = observed.units
    dims = ("observation",)
    measured = "physicalMeasurement"
    quality = "qualityInformation"
    yield Row("observation_value", dims, _value, "observed value", units, measured)
    yield Row("observation_error", dims, _error, "standard deviation of the error", units, quality)
    yield Row("observation_qc", dims, _flag, "why an observation was not used", None, quality, "i1", FLAGS)
    for stage in STAGES:
        for what, method in STATISTICS.items():
            value, cell = (
                partial(_equivalent, stage=stage, what=what),
                {"cell_methods": f"realization: {method}"},
            )
            title = f"observation operator of the {stage}, {method.replace('_', ' ')} over members"
            yield Row(f"observation_{stage}_{what}", dims, value, title, units, extra=cell)
    if observed.index:
        words = f"model variable that is observed, counted from 0 along ({', '.join(model.dims)}); -1 for none"
        yield Row("observation_index", dims, _index, words, "1", "referenceInformation", "i4")
    if observed.position:
        words = "place of the observation in the coordinates of the localization"
        yield Row("observation_position", (*dims, "axis"), _position, words, "1", "referenceInformation")


def _value(view: View) -> np.ndarray:
    return view.padded(view.observation.value)


def _error(view: View) -> np.ndarray:
    law, value = view.observation.law, view.observation.value
    deviation = getattr(law, "standard_deviation", lambda v: v * np.nan)
    return view.padded(deviation(value))


def _flag(view: View) -> np.ndarray:
    missing = np.isnan(to_numpy(view.observation.value))
    return view.padded(np.where(missing, np.int8(MISSING), np.int8(USED)), ABSENT)


def _equivalent(view: View, stage: str, what: str) -> np.ndarray:
    return view.padded(view.equivalent[stage][what])


def _index(view: View) -> np.ndarray:
    index = view.observation.operator.entries(view.cycle.truth.shape[-1])
    return view.padded(np.full(view.observation.size, -1) if index is None else index, -1)


def _position(view: View) -> np.ndarray:
    position = view.observation.position
    if position is None:
        raise ValueError(f"the observations of cycle {view.cycle.index} have no positions but those of the first had")
    return view.padded(position)
