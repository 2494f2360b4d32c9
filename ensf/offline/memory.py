"""What a filter remembers, in a file: NetCDF that anyone can read, and change by hand.

Adaptive inflation lives at knots, places of its own, and so survives a change of the grid and of the network: a table
of points. What is remembered of every variable is a field on the grid of the state; what is learnt of each kind of
observations has a dimension `kind`. Everything in the file is read again, bit for bit; there is nothing else in it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, cast

import netCDF4
import numpy as np
import xarray as xr

from ensf.arrays import to_numpy
from ensf.dataset import Layout, netcdf
from ensf.dataset.coordinates import cf_attributes, variable_dims
from ensf.dataset.methods import dims_of, find_localization, inside
from ensf.dataset.stored import decoded
from ensf.filters.base import Filter, Memory
from ensf.wrappers import AdaptiveInflation, AdaptiveSpread, CollapseGuard, DeferredAnalysis, SpreadReset
from ensf.wrappers.adaptive_inflation import InflationMemory
from ensf.wrappers.collapse_guard import GuardMemory
from ensf.wrappers.deferred_analysis import DeferralMemory
from ensf.wrappers.spread import ResetMemory
from ensf.wrappers.spread_control.bias import BiasEstimate
from ensf.wrappers.spread_control.bias_fields import SCALES, BiasFields
from ensf.wrappers.spread_control.error_estimate import EDGES, ErrorEstimate
from ensf.wrappers.spread_control.error_evidence import Alternation, Repetition, TimeCorrelation
from ensf.wrappers.spread_control.lagged import LastCycle, Past
from ensf.wrappers.spread_control.memory import KindMemory, SpreadMemory
from ensf.wrappers.spread_control.offset import OffsetEstimate
from ensf.wrappers.spread_control.sites import Sites

__all__ = ["MEMORY", "check_memory", "keepers", "read_memory", "write_memory"]

MEMORY = "memory.nc"
COUNT, NUMBER, KNOT, STATE = "count", "number", "knot", "state"
"""What a quantity is one of: one whole number, one number, one at each knot, one at each entry of the state."""


@dataclass(frozen=True)
class Quantity:
    """A part of a memory: its attribute, its name in the file, what it is one of, its meaning, and its lowest value."""

    attribute: str
    name: str
    along: str
    meaning: str
    lowest: float = 0.0


@dataclass(frozen=True)
class Kind:
    """The memory of a wrapper."""

    memory: type[Any]
    quantities: tuple[Quantity, ...]
    more: Callable[[Any], dict[str, xr.Variable]] | None = None
    """What else it is made of, as variables."""
    more_of: Callable[[xr.Dataset, _Reader], dict[str, object]] | None = None
    """The same from a file."""

    @property
    def has_knots(self) -> bool:
        """Whether the wrapper has a localization, at whose knots it remembers."""
        return any(quantity.along == KNOT for quantity in self.quantities)


# --- of adaptive spread ----------------------------------------------------------------------------------


def _kinds_and_last(memory: SpreadMemory) -> dict[str, xr.Variable]:
    """What is learnt of each kind of observations, and what the last cycle left at its observations."""
    kinds = list(memory.kinds.values())

    def of_kinds(values: list[float], meaning: str, units: str = "1") -> xr.Variable:
        return xr.Variable(("kind",), np.array(values), {"long_name": meaning, "units": units})

    variables = {
        "kind": xr.Variable(
            ("kind",), np.array(list(memory.kinds), dtype=object), {"long_name": "kind of observations"}
        ),
        "error_variance_factor": of_kinds([one.error.factor for one in kinds], "factor of the error variance"),
        "error_histogram": xr.Variable(
            ("kind", "bin"),
            np.array([one.error.histogram for one in kinds]).reshape(len(kinds), len(EDGES) - 1),
            {"long_name": f"fading histogram of log q between {EDGES[0]} and {EDGES[-1]}"},
        ),
        "surprises": of_kinds([one.surprises for one in kinds], "part of the observations near a surprise"),
        "bias_raw": of_kinds([one.bias.raw for one in kinds], "bias before its dead zone", "that of the observations"),
        "bias_square": of_kinds([one.bias.square for one in kinds], "mean square of the shift; -1 before the first"),
        "bias_noise": of_kinds([one.bias.noise for one in kinds], "variance of bias_raw without a bias"),
        "bias_variance": of_kinds([one.bias.variance for one in kinds], "mean forecast variance of the last cycle"),
        "bias_cycles": of_kinds([one.bias.cycles for one in kinds], "number of cycles with such observations"),
    }
    for name, (sums, terms) in SUMS.items():
        values = np.array([sums(one) for one in kinds]).reshape(len(kinds), len(sums(KindMemory())))
        variables[name] = xr.Variable(
            ("kind", f"term_of_{values.shape[1]}"), values, {"long_name": f"fading sums over pairs: {terms}"}
        )
    for name, (meaning, units) in BIAS_FIELDS.items():
        values = np.array([getattr(one.bias_fields, name) for one in kinds])
        variables[f"bias_field_{name}"] = xr.Variable(
            ("kind", "scale", "knot"),
            values.reshape(len(kinds), len(SCALES), len(memory.knots)),
            {"long_name": f"{meaning}, by scale: {', '.join(map(str, SCALES))} half-widths", "units": units},
        )
    last = memory.last
    if last is None:
        return variables
    for name, meaning in LAST.items():
        values = to_numpy(getattr(last, name))
        variables[f"last_{name}"] = xr.Variable(("observation",), values, {"long_name": f"last cycle: {meaning}"})
    variables["last_surprised"] = xr.Variable(("observation",), last.surprised.astype(np.int8))
    variables |= _of_sites(last.sites, "last", "observation")
    variables["last_anomalies"] = xr.Variable(("member", "observation"), to_numpy(last.anomalies))
    if memory.past:
        cycle = np.repeat(np.arange(len(memory.past)), [len(each.sites) for each in memory.past])
        order = {"long_name": "how many cycles before the last but one"}
        variables["past_cycle"] = xr.Variable(("past_observation",), cycle, order)
        sites = (np.concatenate([getattr(each.sites, name) for each in memory.past]) for name in SITES)
        variables |= _of_sites(Sites(*sites), "past", "past_observation")
        for name in PAST:
            values = np.concatenate([getattr(each, name) for each in memory.past])
            variables[f"past_{name}"] = xr.Variable(
                ("past_observation",), values, {"long_name": f"cycles before the last: {LAST[name]}"}
            )
    return variables


SUMS: dict[str, tuple[Callable[[KindMemory], np.ndarray], str]] = {
    "error_sums": (attrgetter("error.sums"), "cross / r, beta^2 v / r, d^2 / r, v / r, 1"),
    "error_alternation": (attrgetter("error.alternation.sums"), "d d' / (beta r), its square, d (d - delta) / r, 1"),
    "error_repetition": (
        attrgetter("error.repetition.sums"),
        "w q, w, w^2 (q - 1)^2; r q = d_i^2 - d_i d_j v_i / v_ij",
    ),
    "error_time_correlation": (
        attrgetter("error.correlation.sums"),
        "d_0 (beta (d_1 - delta_1) - d_2) / r, its square",
    ),
    "offset_sums": (attrgetter("offset.sums"), "shift of the instrument, its square, 1; over cycles"),
}
BIAS_FIELDS = {
    "raw": ("bias at the knot, beside that of the kind, before its dead zone", "that of the observations"),
    "square": ("mean square of the shift near the knot; -1 before the first", "1"),
    "noise": ("variance of bias_field_raw without a bias", "1"),
    "variance": ("mean forecast variance near the knot, of the last cycle", "1"),
}
LAST = {
    "innovation": "observation minus forecast mean",
    "increment": "analysis mean minus forecast mean",
    "variance": "forecast variance",
    "error": "error variance as told",
}
PAST = "innovation", "increment", "error"
SITES = "kind", "position", "variable"


def _of_sites(sites: Sites, prefix: str, along: str) -> dict[str, xr.Variable]:
    return {
        f"{prefix}_kind": xr.Variable((along,), sites.kind),
        f"{prefix}_position": xr.Variable((along, "axis"), sites.position),
        f"{prefix}_variable": xr.Variable((along,), sites.variable),
    }


def _kinds_and_last_of(stored: xr.Dataset, reader: _Reader) -> dict[str, object]:
    """The same from a file."""
    names = [str(name) for name in stored["kind"].values] if "kind" in stored.variables else []
    count = len(names)
    factor = reader.values(stored, "error_variance_factor", ("kind",), (count,), 1e-6)
    numbers = {name: len(sums(KindMemory())) for name, (sums, _) in SUMS.items()}
    sums, alternation, repetition, correlation, offset = (
        reader.values(stored, name, ("kind", f"term_of_{number}"), (count, number), -np.inf)
        for name, number in numbers.items()
    )
    histogram = reader.values(stored, "error_histogram", ("kind", "bin"), (count, len(EDGES) - 1), 0.0)
    surprises = reader.values(stored, "surprises", ("kind",), (count,), 0.0)
    raw = reader.values(stored, "bias_raw", ("kind",), (count,), -np.inf)
    square = reader.values(stored, "bias_square", ("kind",), (count,), -1.0)
    noise = reader.values(stored, "bias_noise", ("kind",), (count,), 0.0)
    variance = reader.values(stored, "bias_variance", ("kind",), (count,), 0.0)
    cycles = reader.values(stored, "bias_cycles", ("kind",), (count,), 0.0)
    dims, shape = ("kind", "scale", "knot"), (count, len(SCALES), stored.sizes.get("knot", 0))
    lowest = {"raw": -np.inf, "square": -1.0}
    fields = [reader.values(stored, f"bias_field_{name}", dims, shape, lowest.get(name, 0.0)) for name in BIAS_FIELDS]
    kinds = {
        name: KindMemory(
            ErrorEstimate(
                float(factor[k]),
                sums[k],
                histogram[k],
                Alternation(alternation[k]),
                Repetition(repetition[k]),
                TimeCorrelation(correlation[k]),
            ),
            BiasEstimate(float(raw[k]), float(square[k]), float(noise[k]), float(variance[k]), int(cycles[k])),
            float(surprises[k]),
            OffsetEstimate(offset[k]),
            BiasFields(*(one[k] for one in fields)),
        )
        for k, name in enumerate(names)
    }
    if "last_innovation" not in stored.variables:
        return {"kinds": kinds, "last": None}
    size, members = (stored.sizes.get(dim, 0) for dim in ("observation", "member"))

    def each(name: str, lowest: float = -np.inf) -> np.ndarray:
        return reader.values(stored, f"last_{name}", ("observation",), (size,), lowest)

    last = LastCycle(
        sites=_sites_of(stored, reader, "last", "observation", count),
        innovation=each("innovation"),
        increment=each("increment"),
        variance=each("variance", 0.0),
        error=each("error", 0.0),
        anomalies=reader.values(stored, "last_anomalies", ("member", "observation"), (members, size), -np.inf),
        surprised=each("surprised").astype(bool),
    )
    if "past_cycle" not in stored.variables:
        return {"kinds": kinds, "last": last, "past": ()}
    along = "past_observation"
    cycle = reader.values(stored, "past_cycle", (along,), (stored.sizes[along],), 0.0)
    sites = _sites_of(stored, reader, "past", along, count)
    parts = [reader.values(stored, f"past_{name}", (along,), (len(sites),), -np.inf) for name in PAST]
    of_each = [np.flatnonzero(cycle == k) for k in range(int(cycle.max(initial=-1)) + 1)]
    past = tuple(Past(sites.rows(mine), *(part[mine] for part in parts)) for mine in of_each)
    return {"kinds": kinds, "last": last, "past": past}


def _sites_of(stored: xr.Dataset, reader: _Reader, prefix: str, along: str, kinds: int) -> Sites:
    """From a file.

    Raises
    ------
    ValueError
        If there are fewer kinds.
    """
    size, axes = stored.sizes.get(along, 0), stored.sizes.get("axis", 0)
    kind = reader.values(stored, f"{prefix}_kind", (along,), (size,), 0.0)
    if (kind >= kinds).any():
        raise ValueError(
            f"{reader.path}: {prefix}_kind is {kind.max()}, but there are {kinds} kinds: count them from 0"
        )
    position = reader.values(stored, f"{prefix}_position", (along, "axis"), (size, axes), -np.inf)
    return Sites(kind, position, reader.values(stored, f"{prefix}_variable", (along,), (size,), -1.0))


# --- which wrapper remembers what ------------------------------------------------------------------------

FORMULA = "squared inflation factor of the forecast = 1 + sampling * degrees_of_freedom / (members - 1) + this"
LOG_FORMULA = (
    "squared inflation factor of the forecast = "
    "(1 + sampling * degrees_of_freedom / (members - 1)) * exp(g + max(this, 0))"
)
KINDS: Mapping[type, Kind] = {
    DeferredAnalysis: Kind(DeferralMemory, (Quantity("waited", "waited", COUNT, "cycles in a row without analysis"),)),
    AdaptiveInflation: Kind(
        InflationMemory,
        (
            Quantity("departure", "inflation_departure", KNOT, FORMULA, -np.inf),
            Quantity("variance", "inflation_variance", KNOT, "variance of the error of inflation_departure"),
            Quantity("freedom", "degrees_of_freedom", KNOT, "degrees of freedom that the last observations took"),
        ),
    ),
    AdaptiveSpread: Kind(
        SpreadMemory,
        (
            Quantity("local", "inflation_local", KNOT, LOG_FORMULA, -np.inf),
            Quantity("local_information", "inflation_local_information", KNOT, "what is known of inflation_local"),
            Quantity("freedom", "degrees_of_freedom", KNOT, "degrees of freedom that the last observations took"),
            Quantity("common", "inflation_common", NUMBER, "g in the formula of inflation_local", -np.inf),
            Quantity("common_information", "inflation_common_information", NUMBER, "what is known of g"),
            Quantity("growth", "variance_growth", NUMBER, "mean log of prior over analysis variance, smoothed"),
        ),
        _kinds_and_last,
        _kinds_and_last_of,
    ),
    CollapseGuard: Kind(
        GuardMemory,
        (
            Quantity("mean", "past_mean", STATE, "mean over members and past cycles", -np.inf),
            Quantity(
                "square", "past_square", STATE, "sum over past cycles of the mean squared distance from past_mean"
            ),
            Quantity("past_cycles", "past_cycles", COUNT, "number of past cycles"),
            Quantity("strained", "strained_cycles", COUNT, "cycles in a row with chi^2 of innovations above the limit"),
        ),
    ),
    SpreadReset: Kind(
        ResetMemory, (Quantity("spread", "reset_spread", STATE, "standard deviation to which the analysis is reset"),)
    ),
}
"""By wrapper, from the outermost quantity of a memory to the innermost."""


def keepers(method: object) -> list[Filter]:
    """The filters in a method that remember something, the outermost first."""
    return [cast(Filter, one) for one in inside(method) if type(one) in KINDS]


# --- out -------------------------------------------------------------------------------------------------


def write_memory(path: Path, memory: Memory, method: Filter, layout: Layout) -> None:
    """Write what a method remembers after an analysis.

    Parameters
    ----------
    path : Path
    memory : object
        Of the analysis.
    method : Filter
        With `keepers`.
    layout : Layout
        Of the state.

    Raises
    ------
    ValueError
        If the memory is not one of this method.
    """
    dataset = xr.Dataset()
    stored = []
    for keeper in keepers(method):
        if memory is None:
            break
        kind = KINDS[type(keeper)]
        if not isinstance(memory, kind.memory):
            raise ValueError(f"{path}: a {type(memory).__name__} is not what {type(keeper).__name__} remembers")
        dataset = dataset.assign(_variables(memory, keeper, layout))
        stored.append(type(keeper).__name__)
        memory = memory.inner
    grid = {name: one for name, one in layout.template.coords.items() if set(one.dims) <= set(dataset.dims)}
    dataset = dataset.assign_coords(grid).drop_encoding()
    dataset.attrs = {
        "Conventions": "CF-1.11",
        "title": "What a filter remembers from one analysis to the next; every value may be changed",
        "method": repr(method),
        "remembered_by": " ".join(stored),
    }
    netcdf.save(dataset, path, {name: {"_FillValue": None} for name in dataset.variables})


def _variables(memory: Memory, keeper: Filter, layout: Layout) -> dict[str, xr.Variable]:
    variables: dict[str, xr.Variable] = {}
    kind = KINDS[type(keeper)]
    if kind.has_knots:
        for dim, column in zip(_dims(keeper, layout), memory.knots.T, strict=True):
            attributes = {key: value for key, value in cf_attributes(dim).items() if key != "axis"}
            variables[f"knot_{dim}"] = xr.Variable(("knot",), column, attributes | {"long_name": f"{dim} of the knot"})
    for quantity in kind.quantities:
        values = getattr(memory, quantity.attribute)
        attributes = {"long_name": quantity.meaning, "units": "1"}
        if quantity.along == COUNT:
            variables[quantity.name] = xr.Variable((), np.int64(values), attributes)
        elif quantity.along == NUMBER:
            variables[quantity.name] = xr.Variable((), np.float64(values), attributes)
        elif quantity.along == KNOT:
            places = " ".join(name for name in variables if name.startswith("knot_"))
            variables[quantity.name] = xr.Variable(("knot",), to_numpy(values), attributes | {"coordinates": places})
        else:
            variables |= _fields(to_numpy(values), quantity, layout)
    return variables if kind.more is None else variables | kind.more(memory)


def _fields(values: np.ndarray, quantity: Quantity, layout: Layout) -> dict[str, xr.Variable]:
    """Of each variable of the state, as the filter sees it, NaN where there is no data."""
    variables = {}
    for name, grid in layout.template.data_vars.items():
        data = np.full(grid.size, np.nan, dtype=values.dtype)
        data[layout.kept(name)] = values[layout.block(name)]
        meaning = f"{quantity.meaning}, of {name} as the filter sees it, after its transforms"
        variables[f"{name}_{quantity.name}"] = xr.Variable(grid.dims, data.reshape(grid.shape), {"long_name": meaning})
    return variables


def _dims(keeper: Filter, layout: Layout) -> Sequence[str]:
    localization = find_localization(keeper)
    assert localization is not None
    return list(variable_dims(next(iter(layout.template.data_vars)), dims_of(localization)))


# --- in --------------------------------------------------------------------------------------------------


def check_memory(path: Path, method: Filter) -> tuple[xr.Dataset, list[Filter]]:
    """Raise ValueError or FileNotFoundError for what is no memory of the method, whatever the grid.

    Returns
    -------
    xarray.Dataset
        What is in the file.
    list of Filter
        The filters that remember it, the outermost first.
    """
    stored, expected = _loaded(path), keepers(method)
    names = [type(keeper).__name__ for keeper in expected]
    there = str(stored.attrs["remembered_by"]).split()
    if not names:
        raise ValueError(
            f"{path}: this method remembers nothing that a file can hold: leave memory out, or give the method that "
            "wrote it"
        )
    if there != names[: len(there)]:
        raise ValueError(
            f"{path} has the memory of {' in '.join(reversed(there))}, but the method remembers by "
            f"{' in '.join(reversed(names))}: give the method that wrote it, or leave memory out"
        )
    return stored, expected[: len(there)]


def read_memory(path: Path, method: Filter, layout: Layout, dtype: np.dtype) -> Memory:
    """What the method is to remember.

    Parameters
    ----------
    path : Path
        A file of `write_memory`, changed or not.
    method : Filter
    layout : Layout
        Of the state.
    dtype : numpy.dtype
        Of the ensemble.

    Raises
    ------
    ValueError, FileNotFoundError
        If it is no such file, or what it holds does not fit the method, the grid or its own meaning.
    """
    stored, there = check_memory(path, method)
    memory: Memory = None
    for keeper in reversed(there):
        memory = _memory(stored, keeper, memory, _Reader(path, layout, dtype))
    return memory


def _loaded(path: Path) -> xr.Dataset:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: check memory, or leave it out in the first cycle")
    with netcdf.reading(path) as file:
        stored = decoded(file).load()
    if "remembered_by" not in stored.attrs:
        raise ValueError(f"{path} is not the memory of a filter: give {MEMORY} of an earlier analysis")
    return stored


def _memory(stored: xr.Dataset, keeper: Filter, inner: Memory, reader: _Reader) -> Memory:
    kind = KINDS[type(keeper)]
    parts: dict[str, object] = {"inner": inner}
    if kind.has_knots:
        columns = [reader.knots(stored, f"knot_{dim}", -np.inf) for dim in _dims(keeper, reader.layout)]
        for dim, column in zip(_dims(keeper, reader.layout), columns, strict=True):
            if dim.startswith("lat") and (np.abs(column) > 90).any():
                raise ValueError(
                    f"{reader.path}: knot_{dim} is {column[np.abs(column) > 90][0]}: give -90 to 90 degrees"
                )
        parts["knots"] = np.stack(columns, axis=1).astype(np.float64)
    for quantity in kind.quantities:
        if quantity.along == COUNT:
            parts[quantity.attribute] = reader.count(stored, quantity)
        elif quantity.along == NUMBER:
            parts[quantity.attribute] = float(reader.values(stored, quantity.name, (), (), quantity.lowest))
        elif quantity.along == KNOT:
            parts[quantity.attribute] = reader.knots(stored, quantity.name, quantity.lowest).astype(reader.dtype)
        else:
            parts[quantity.attribute] = reader.state(stored, quantity)
    if kind.more_of is not None:
        parts |= kind.more_of(stored, reader)
    return kind.memory(**parts)


@dataclass(frozen=True, eq=False)
class _Reader:
    """Values of one file, each checked."""

    path: Path
    layout: Layout
    dtype: np.dtype

    def knots(self, stored: xr.Dataset, name: str, lowest: float) -> np.ndarray:
        """One value at each knot."""
        return self.values(stored, name, ("knot",), (stored.sizes.get("knot", 0),), lowest)

    def count(self, stored: xr.Dataset, quantity: Quantity) -> int:
        """A whole number."""
        values = self.values(stored, quantity.name, (), (), quantity.lowest)
        if values != np.round(values):
            raise ValueError(f"{self.path}: {quantity.name} is {values}: give a whole number")
        return int(values)

    def state(self, stored: xr.Dataset, quantity: Quantity) -> np.ndarray:
        """One value at each entry of the state."""
        state = np.empty(self.layout.size, dtype=self.dtype)
        for variable, grid in self.layout.template.data_vars.items():
            name = f"{variable}_{quantity.name}"
            values = self._values(stored, name, grid.dims, grid.shape).ravel()[self.layout.kept(variable)]
            self._check(values, name, quantity.lowest)
            state[self.layout.block(variable)] = values
        return state

    def values(
        self, stored: xr.Dataset, name: str, dims: tuple[Hashable, ...], shape: tuple[int, ...], lowest: float
    ) -> np.ndarray:
        """Numbers that are there, finite and not below the lowest."""
        values = self._values(stored, name, dims, shape)
        self._check(values, name, lowest)
        return values

    def _values(self, stored: xr.Dataset, name: str, dims: tuple[Hashable, ...], shape: tuple[int, ...]) -> np.ndarray:
        if name not in stored.variables:
            raise ValueError(f"{self.path} has no variable {name!r}, which the method remembers: put it back")
        variable = stored[name]
        if variable.dims != dims or variable.shape != shape:
            wanted = " x ".join(f"{dim} {size}" for dim, size in zip(dims, shape, strict=True)) or "one number"
            there = " x ".join(f"{dim} {size}" for dim, size in variable.sizes.items()) or "one number"
            raise ValueError(f"{self.path}: {name} has {there}, but should have {wanted}: change values, not the shape")
        if variable.dtype.kind not in "fiu":
            raise ValueError(f"{self.path}: {name} is no number: put numbers back")
        return np.asarray(variable.values)

    def _check(self, values: np.ndarray, name: str, lowest: float) -> None:
        bad = ~np.isfinite(values) | (np.abs(values) >= netCDF4.default_fillvals["f4"])
        if bad.any():
            raise ValueError(
                f"{self.path}: {name} is missing or not finite at {np.count_nonzero(bad)} places: repair it"
            )
        if (values < lowest).any():
            raise ValueError(f"{self.path}: {name} is {values[values < lowest].min()} somewhere: it cannot be negative")
