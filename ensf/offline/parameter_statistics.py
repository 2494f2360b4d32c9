"""Mean and spread of parameters of the model, beside the statistics in observation space.

    NAME_parameter_forecast_mean, NAME_parameter_forecast_spread        what the members ran with
    NAME_parameter_analysis_mean, NAME_parameter_analysis_spread        what the analysis made of it

Of a field the mean over its entries, and the root mean square of their spreads; the spread has divisor N - 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import xarray as xr

__all__ = ["Pair", "lines", "of_parameters", "parameters_of", "words"]

Pair = tuple[np.ndarray, np.ndarray]
"""A parameter of each member, of the forecast and of the analysis, ``(member,)`` or ``(member, entry)``."""
STAGES = ("forecast", "analysis")
NUMBERS = {"mean": "mean over members", "spread": "standard deviation of the members"}


def of_parameters(pairs: Mapping[str, Pair], units: Mapping[str, str] | None = None) -> xr.Dataset:
    """Mean and spread of each parameter before and after the analysis.

    Parameters
    ----------
    pairs : mapping of str to two arrays
        A member without a forecast, NaN there, is left out of it.
    units : mapping of str to str, optional
        Of the parameters that have some.
    """
    numbers = xr.Dataset()
    for name, pair in pairs.items():
        about = {"units": (units or {})[name]} if name in (units or {}) else {}
        for stage, values in zip(STAGES, pair, strict=True):
            members = values.reshape(len(values), -1).astype(np.float64)
            spread = np.sqrt(np.mean(np.nanvar(members, axis=0, ddof=1)))
            for what, number in zip(NUMBERS, (np.nanmean(members), spread), strict=True):
                words = f"parameter {name}: {NUMBERS[what]} of the {stage}"
                numbers[f"{name}_parameter_{stage}_{what}"] = (), float(number), {"long_name": words, **about}
    return numbers


def parameters_of(statistics: xr.Dataset) -> list[str]:
    """Names of the parameters in statistics."""
    last = "_parameter_analysis_mean"
    return [str(name).removesuffix(last) for name in statistics.data_vars if str(name).endswith(last)]


def words(statistics: xr.Dataset) -> str:
    """Each parameter of one analysis in words: ``mean of rate 0.7 (spread 0.2) -> 0.65 (0.1)``."""
    told = []
    for name in parameters_of(statistics):
        before, wide, after, narrow = _numbers(statistics, name)
        told.append(f"mean of {name} {before:.4g} (spread {wide:.2g}) -> {after:.4g} ({narrow:.2g})")
    return ", ".join(told)


def lines(statistics: xr.Dataset) -> Iterator[str]:
    """A table of the parameters of an analysis, or of the last of several cycles."""
    names = parameters_of(statistics)
    if not names:
        return
    last = "cycle" in statistics.dims
    where = f"parameters, cycle {int(statistics['cycle'][-1])}" if last else "parameters"
    one = statistics.isel(cycle=-1) if last else statistics
    rows = [(where, "mean", "spread")]
    for name in names:
        before, wide, after, narrow = _numbers(one, name)
        units = one[f"{name}_parameter_analysis_mean"].attrs.get("units", "")
        label = f"{name} ({units})" if units and units != "1" else name
        rows.append((label, f"{before:.4g} -> {after:.4g}", f"{wide:.3g} -> {narrow:.3g}"))
    yield from _aligned(rows)


def _numbers(statistics: xr.Dataset, name: str) -> list[float]:
    """Mean and spread of the forecast, then of the analysis."""
    return [float(statistics[f"{name}_parameter_{stage}_{what}"]) for stage in STAGES for what in NUMBERS]


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        yield "  ".join([first.ljust(widths[0]), *cells]).rstrip()
