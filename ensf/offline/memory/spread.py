"""What adaptive spread learns of each kind of observations, and what the last cycles left, as variables of a file."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

import numpy as np
import xarray as xr

from ensf.arrays import to_numpy
from ensf.offline.memory.reader import Reader
from ensf.wrappers.spread_control.bias import BiasEstimate
from ensf.wrappers.spread_control.bias_fields import SCALES, BiasFields
from ensf.wrappers.spread_control.error_estimate import EDGES, ErrorEstimate
from ensf.wrappers.spread_control.error_evidence import Alternation, Repetition, TimeCorrelation
from ensf.wrappers.spread_control.lagged import LastCycle, Past
from ensf.wrappers.spread_control.memory import KindMemory, SpreadMemory
from ensf.wrappers.spread_control.offset import OffsetEstimate
from ensf.wrappers.spread_control.sites import Sites

__all__ = ["read_spread", "spread_variables"]

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


def spread_variables(memory: SpreadMemory) -> dict[str, xr.Variable]:
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


def _of_sites(sites: Sites, prefix: str, along: str) -> dict[str, xr.Variable]:
    return {
        f"{prefix}_kind": xr.Variable((along,), sites.kind),
        f"{prefix}_position": xr.Variable((along, "axis"), sites.position),
        f"{prefix}_variable": xr.Variable((along,), sites.variable),
    }


def read_spread(stored: xr.Dataset, reader: Reader) -> dict[str, object]:
    """The same from a file: the attributes of a `SpreadMemory`."""
    names = [str(name) for name in stored["kind"].values] if "kind" in stored.variables else []
    count = len(names)

    def of_kinds(name: str, lowest: float = 0.0) -> np.ndarray:
        return reader.values(stored, name, ("kind",), (count,), lowest)

    factor, surprises = of_kinds("error_variance_factor", 1e-6), of_kinds("surprises")
    numbers = {name: len(sums(KindMemory())) for name, (sums, _) in SUMS.items()}
    sums, alternation, repetition, correlation, offset = (
        reader.values(stored, name, ("kind", f"term_of_{number}"), (count, number), -np.inf)
        for name, number in numbers.items()
    )
    histogram = reader.values(stored, "error_histogram", ("kind", "bin"), (count, len(EDGES) - 1), 0.0)
    raw, square = of_kinds("bias_raw", -np.inf), of_kinds("bias_square", -1.0)
    noise, variance, cycles = (of_kinds(f"bias_{name}") for name in ("noise", "variance", "cycles"))
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


def _sites_of(stored: xr.Dataset, reader: Reader, prefix: str, along: str, kinds: int) -> Sites:
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
