"""What the line of a cycle says beside its counts: what waits, and what the filter takes for wrong."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from ensf.filters.base import Info
from ensf.offline.statistics import pooled, variables_of
from ensf.tables import ObservationTable
from ensf.tables.flags import USED

__all__ = ["doubts", "estimates"]

WRONG_FACTOR = 1.5
"""Of the errors of observations: from here on the line of a cycle says so."""
LARGE_OFFSET = 0.5
"""The same of what is taken off observations or added to their forecasts, in errors as they are told."""
MAX_CHI2, FEWEST = 4.0, 10
"""The same of squared innovations over what spread and error explain, of so many observations or more, which are those
of the cycle, and of cycles before it where it has fewer."""
ESTIMATES = {
    "error_factor": "errors{of} taken as {value:.3g} times what is told",
    "instrument_offset": "{value:.3g}{unit} taken off observations{of}",
    "bias": "{value:.3g}{unit} added to the forecast{of}",
}
"""What a filter estimates of each kind, in words."""


def doubts(info: Info, every: xr.Dataset) -> str:
    """Words for what waits, errors, offsets and biases that are large, and innovations that nothing explains.

    Parameters
    ----------
    info : mapping
        Of the analysis of the cycle.
    every : xarray.Dataset
        Statistics of all cycles so far, this one included.
    """
    told = ", which wait for the next cycle (DeferredAnalysis)" if info.get("waited") else ""
    statistics = info.get("statistics", xr.Dataset())
    for name, value in estimates(info).items():
        what = _what(name)
        kind = name.removeprefix(what).removeprefix("_")
        if what == "error_factor":
            is_large = value >= WRONG_FACTOR
        else:
            is_large = abs(value) >= LARGE_OFFSET * _error(info.get("table"), kind)
        if is_large:
            of, unit = f" of {kind}" * bool(kind), _unit(statistics, kind)
            told += ", " + ESTIMATES[what].format(value=value, of=of, unit=unit and f" {unit}")
    for variable in variables_of(statistics):
        told += _unexplained(every, variable)
    return told


def _unexplained(every: xr.Dataset, variable: str) -> str:
    """Words for innovations of a variable that spread and error do not explain, in the last cycles of all."""
    counts = every[f"{variable}_count"].sel(role="used").sum("band").values
    cycles = int(np.searchsorted(counts[::-1].cumsum(), FEWEST)) + 1
    if not counts[-1] or cycles > len(counts):
        return ""
    chi2 = pooled(every.isel(cycle=slice(-cycles, None)), variable, "used")["chi2"]
    when = f" in the last {cycles} cycles" if cycles > 1 else ""
    what = f", innovations of {variable}{when} {math.sqrt(chi2):.3g} times what spread and error explain"
    return what if chi2 > MAX_CHI2 else ""


def estimates(info: Info) -> dict[str, float]:
    """Factors of errors, offsets of instruments and biases of the model, by name and kind."""
    return {name: float(value) for name, value in info.items() if _what(name) and np.ndim(value) == 0}


def _what(name: str) -> str:
    """What is estimated, without its kind; nothing if it is something else."""
    return next((what for what in ESTIMATES if name == what or name.startswith(f"{what}_")), "")


def _error(table: ObservationTable | None, kind: str) -> float:
    """Median error of the rows of a kind that are used, as it is told; infinite if there are none."""
    if table is None:
        return math.inf
    chosen = (table.codes == USED) & ((table.learnt_as == kind) | (kind == ""))
    return float(np.median(table.error[chosen])) if chosen.any() else math.inf


def _unit(statistics: xr.Dataset, kind: str) -> str:
    """Of the variable that a kind sees; nothing if that is not one."""
    units = set()
    for name in variables_of(statistics):
        about = statistics[f"{name}_rows"].attrs
        if kind in (about.get("learnt_as"), ""):
            units.add(str(statistics[f"{name}_prior_bias"].attrs.get("units", "")))
    return units.pop() if len(units) == 1 else ""
