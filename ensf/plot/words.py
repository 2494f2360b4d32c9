"""Words on a figure: units, labels, names of methods and runs."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable

import xarray as xr

__all__ = ["axis_label", "heading", "method_label", "place_of", "quantity_of", "unit_of"]


def unit_of(variable: xr.DataArray) -> str:
    """Unit in words; "dimensionless" for 1, and for a model time that is written as days."""
    unit = str(variable.attrs.get("units", "1")).split(" since ")[0]
    plain = unit == "1" or str(variable.attrs.get("comment", "")).startswith("dimensionless")
    if plain:
        return "dimensionless"
    return unit.replace("m3 s-1", "m³/s").replace("degrees_north", "°N").replace("degrees_east", "°E")


def axis_label(coordinate: xr.DataArray) -> str:
    unit = unit_of(coordinate)
    index = unit == "dimensionless" and coordinate.name != "time"
    return str(coordinate.name) if index else f"{coordinate.name} ({unit})"


def place_of(coordinate: xr.DataArray) -> str:
    return f"{coordinate.name} {float(coordinate):g} {unit_of(coordinate).removeprefix('dimensionless')}".strip()


def quantity_of(truth: xr.DataArray) -> str:
    words = str(truth.attrs.get("long_name", "state")).removesuffix(", truth")
    return textwrap.fill(f"{words} ({unit_of(truth)})", 40)


def method_label(method: str, run: xr.Dataset) -> str:
    return f"{method} ({run.sizes['realization']} members)"


def heading(runs: Iterable[xr.Dataset]) -> str:
    """Experiment and seeds, such as ``lorenz96_half, seeds 1-3, 7``."""
    runs = list(runs)
    seeds = sorted({int(run.attrs["seed"]) for run in runs})
    groups = itertools.groupby(enumerate(seeds), lambda pair: pair[1] - pair[0])
    spans = [[seed for _, seed in group] for _, group in groups]
    words = ", ".join(f"{span[0]}–{span[-1]}" if len(span) > 1 else str(span[0]) for span in spans)
    return f"{runs[0].attrs.get('experiment', 'run')}, seed{'s' * (len(seeds) > 1)} {words}"
