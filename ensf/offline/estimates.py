"""What a filter learns of each kind of observations, beside the statistics in observation space.

    error_factor_KIND         their errors are taken as so many times what is told
    instrument_offset_KIND    taken off the observations
    bias_KIND                 added to the forecast of what they see

A number each, of one analysis; over cycles where these are joined.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from ensf.filters.base import Info
from ensf.offline.statistics import free_name, variables_of

__all__ = ["ESTIMATES", "Estimate", "estimates", "of_estimates", "split", "unit_of", "unseen_reference"]


@dataclass(frozen=True)
class Estimate:
    """One number that is learnt of each kind.

    Parameters
    ----------
    title : str
        Of an axis.
    words : str
        With the names ``of``, ``value`` and ``unit``.
    nothing : float
        Its value where nothing is found.
    has_unit : bool
        That of what the kind sees.
    """

    title: str
    words: str
    nothing: float
    has_unit: bool


ESTIMATES = {
    "error_factor": Estimate("error factor", "errors{of} taken as {value:.3g} times what is told", 1.0, False),
    "instrument_offset": Estimate("taken off observations", "{value:.3g}{unit} taken off observations{of}", 0.0, True),
    "bias": Estimate("added to forecast", "{value:.3g}{unit} added to the forecast{of}", 0.0, True),
}


def split(name: Hashable) -> tuple[str, str]:
    """What is estimated, and of which kind; nothing if it is something else."""
    for what in ESTIMATES:
        if name == what or str(name).startswith(f"{what}_"):
            return what, str(name)[len(what) + 1 :]
    return "", ""


def estimates(info: Info) -> dict[str, float]:
    """Factors of errors, offsets of instruments and biases of the model, by name and kind."""
    return {name: float(value) for name, value in info.items() if split(name)[0] and np.ndim(value) == 0}


def unseen_reference(info: Info) -> str:
    """Words for a reference that no row is of, with the kinds that there are."""
    if not info.get("references_unseen"):
        return ""
    kinds = ", ".join(dict.fromkeys(filter(None, (split(name)[1] for name in estimates(info)))))
    return f"no observations so far of a kind that is named as the reference: kinds are {kinds or 'not told'}"


def of_estimates(info: Info) -> xr.Dataset:
    """The same as numbers ``learnt_...`` with their units; ``estimate`` and ``learnt_as`` say what they are.

    None where the analysis has no statistics beside which they could stand.
    """
    statistics, numbers = info.get("statistics", xr.Dataset()), xr.Dataset()
    for name, value in estimates(info).items() if statistics else ():
        what, kind = split(name)
        estimate = ESTIMATES[what]
        unit = unit_of(statistics, kind) if estimate.has_unit else "1"
        about = {"long_name": f"{estimate.title}{kind and f': {kind}'}", "estimate": what, "learnt_as": kind}
        numbers[free_name(f"learnt_{what}", kind, numbers)] = (), value, about | ({"units": unit} if unit else {})
    return numbers


def unit_of(statistics: xr.Dataset, kind: str) -> str:
    """Of the variable that a kind sees; nothing if that is not one."""
    units = set()
    for name in variables_of(statistics):
        about = statistics[f"{name}_rows"].attrs
        if kind in (about.get("learnt_as"), ""):
            units.add(str(statistics[f"{name}_prior_bias"].attrs.get("units", "")))
    return units.pop() if len(units) == 1 else ""
