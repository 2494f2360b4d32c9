"""What the line of a cycle says beside its counts: what waits, and what the filter takes for wrong."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from ensf.filters.base import Info
from ensf.offline.estimates import ESTIMATES, estimates, split, unit_of, unseen_reference
from ensf.offline.statistics import pooled, variables_of
from ensf.tables import ObservationTable
from ensf.tables.flags import USED

__all__ = ["doubts"]

WRONG_FACTOR = 1.5
"""Of the errors of observations: from here on the line of a cycle says so."""
LARGE_OFFSET = 0.5
"""The same of what is taken off observations or added to their forecasts, in errors as they are told."""
MAX_CHI2, FEWEST = 4.0, 10
"""The same of squared innovations over what spread and error explain, of so many observations or more, which are those
of the cycle, and of cycles before it where it has fewer."""


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
    unseen = unseen_reference(info)
    told += f", {unseen}" * bool(unseen)
    statistics = info.get("statistics", xr.Dataset())
    for name, value in estimates(info).items():
        what, kind = split(name)
        if what == "error_factor":
            is_large = value >= WRONG_FACTOR
        else:
            is_large = abs(value) >= LARGE_OFFSET * _error(info.get("table"), kind)
        if is_large:
            of, unit = f" of {kind}" * bool(kind), unit_of(statistics, kind)
            told += ", " + ESTIMATES[what].words.format(value=value, of=of, unit=unit and f" {unit}")
    for variable in variables_of(every):
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
    name = every[f"{variable}_rows"].attrs.get("learnt_as", variable)
    what = f", innovations of {name}{when} {math.sqrt(chi2):.3g} times what spread and error explain"
    return what if chi2 > MAX_CHI2 else ""


def _error(table: ObservationTable | None, kind: str) -> float:
    """Median error of the rows of a kind that are used, as it is told; infinite if there are none."""
    if table is None:
        return math.inf
    chosen = (table.codes == USED) & ((table.learnt_as == kind) | (kind == ""))
    return float(np.median(table.deviation[chosen])) if chosen.any() else math.inf
