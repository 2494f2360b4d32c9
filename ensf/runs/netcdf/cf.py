"""Coordinates and global attributes of a file, as the CF and ACDD conventions want them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import netCDF4
import numpy as np

from ensf.dataset.coordinates import cf_attributes
from ensf.twin.about import About
from ensf.twin.twin import Model

__all__ = ["attributes", "coordinates", "coverage", "event"]


def coordinates(model: Model, members: int, wavenumbers: int = 0) -> Iterable[tuple[str, np.ndarray, dict[str, str]]]:
    """Name, values and attributes of the coordinates."""
    about = {"standard_name": "realization", "long_name": "ensemble member", "units": "1"}
    yield "realization", np.arange(members, dtype="i4"), about
    yield "rank", np.arange(members + 1, dtype="i4"), {"long_name": "members below the truth", "units": "1"}
    if wavenumbers:
        about = {"long_name": "total wavenumber, cycles per period", "units": "1"}
        yield "wavenumber", np.arange(wavenumbers, dtype="i4"), about
    said = About.of(model)
    for name, values in said.coords.items():
        if name in model.dims:
            values = np.asarray(values)
            about = {"long_name": f"{name} coordinate", "units": said.coord_units.get(name, "1")} | cf_attributes(name)
            yield name, values.astype("i4") if values.dtype.kind == "i" else values, about


def attributes(name: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """Global attributes: the defaults, replaced by one's own, without empty ones."""
    package = f"ensf {version('ensf')}"
    history = event(own.get("command") or package)
    default = {
        "Conventions": "CF-1.11, ACDD-1.3",
        "title": name,
        "summary": "Forecasts and analyses of an ensemble, one per cycle of data assimilation, with their scores",
        "keywords": "data assimilation, ensemble, forecast, analysis",
        "source": package,
        "history": history,
        "date_created": history.split(": ")[0],
        "id": f"{name.replace(' ', '_')}-{uuid.uuid4()}",
        "naming_authority": "ensf",
        "project": "ensf",
        "institution": "not given",
        "creator_name": "not given",
        "license": "not given",
        "processing_level": "ensemble statistics of model output",
        "standard_name_vocabulary": "CF standard names",
        "comment": "spread: standard deviation of the members, divisor N - 1",
    }
    return {
        key: value if type(value) in (int, float) else str(value)
        for key, value in (default | dict(own)).items()
        if value is not None and str(value)
    }


def event(what: str) -> str:
    """A line of the attribute `history`: the time, and what was done."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}: {what}"


def coverage(time: netCDF4.Variable) -> dict[str, str]:
    """Global attributes about the times in the file."""
    if not time.size:
        return {}
    dates: Any = netCDF4.num2date(time[:], time.units, time.calendar)
    seconds = (dates[-1] - dates[0]).total_seconds()
    start, end = (date.isoformat() + "Z" for date in (dates[0], dates[-1]))
    duration, step = (
        f"PT{np.format_float_positional(length, precision=6, trim='-')}S"
        for length in (seconds, seconds / max(1, time.size - 1))
    )
    return {
        "time_coverage_start": start,
        "time_coverage_end": end,
        "time_coverage_duration": duration,
        "time_coverage_resolution": step,
    }
