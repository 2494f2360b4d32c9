"""Tables as NetCDF: CF discrete sampling geometry, ``featureType = "point"``, one dimension `obs`."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ensf.dataset import netcdf
from ensf.dataset.coordinates import COLUMNS, CRITERIA, RADIANS, cf_attributes
from ensf.dataset.stored import decoded
from ensf.dataset.units import in_units
from ensf.tables.columns import NUMBERS, VERTICAL, WANTED, Columns, axes, codes, in_table_units, renamed
from ensf.tables.units import stated

__all__ = ["dates", "load", "opened", "save", "text"]

LEAP = "leap_seconds: none"
ABOUT = {
    "variable": {"long_name": "what was observed"},
    "value": {"long_name": "observed value, in the units of the variable"},
    "error": {"long_name": "standard deviation of the observation error, in the units of the variable"},
    "time": {"standard_name": "time", "long_name": "time of observation", "axis": "T", "units_metadata": LEAP},
    "lat": {"long_name": "latitude", **cf_attributes("latitude")},
    "lon": {"long_name": "longitude", **cf_attributes("longitude")},
    "x": {"long_name": "first coordinate of the grid"},
    "y": {"long_name": "second coordinate of the grid"},
    "z": {"long_name": "vertical coordinate, as the grid has it"},
    "depth": {"long_name": "depth", "standard_name": "depth", "units": "m", "positive": "down"},
    "height": {"long_name": "height", "standard_name": "height", "units": "m", "positive": "up"},
    "pressure": {"long_name": "pressure", "units": "Pa", "positive": "down"},
    "qc": {"long_name": "why the observation was not used", "standard_name": "quality_flag"},
}
TIME = {"units": "seconds since 1970-01-01 00:00:00", "calendar": "proleptic_gregorian", "dtype": "float64"}


def load(path: Path, good: Collection[int]) -> Columns:
    """Columns by name, what codes mean, and where in the file a row is.

    Parameters
    ----------
    path : Path
    good : collection of int
        Codes of rows that are to be used.

    Raises
    ------
    ValueError
        If it is not NetCDF, or damaged, or a variable is not what its column holds.
    """
    with opened(path) as file:
        if "value" not in file.variables:
            raise ValueError(f"{path} has no variable 'value': {WANTED}")
        dims = file["value"].dims
        if len(dims) != 1:
            raise ValueError(
                f"{path}: variable 'value' has dimensions {dims}: give one, along which observations count"
            )
        along = {str(name): variable for name, variable in file.variables.items() if variable.dims == dims}
        names = renamed(list(along), path)
        columns = {new: _column(new, old, along[old], path) for new, old in zip(names, along, strict=True)}
        attributes = {new: along[old].attrs for new, old in zip(names, along, strict=True)}
        columns |= stated(len(file["value"]), columns, attributes)
        meanings = _meanings(along["qc"].attrs) if "qc" in along else {}

    def where(row: int) -> str:
        return f"{dims[0]} {row}"

    if "qc" in columns:
        columns["qc"] = codes(columns["qc"], good)
    columns.pop(str(dims[0]), None)
    return Columns(columns, {code: word.replace("_", " ") for code, word in meanings.items()}, where)


def save(path: Path, columns: Mapping[str, np.ndarray], meanings: Mapping[int, str], title: str) -> None:
    """Write all rows, with the codes and what they mean.

    Parameters
    ----------
    path : Path
    columns : mapping of str to (row,) array
    meanings : mapping of int to str
        Of all codes that occur in the column `qc`.
    title : str
        What the table is called; a global attribute.
    """
    netcdf.save(_dataset(columns, meanings, title), path, dict(_encodings(columns)))


def opened(path: Path, group: str | None = None, others: tuple[int, ...] = ()) -> xr.Dataset:
    """The file or one group of it; missing values are NaN, times are numbers; `others` are more marks of these."""
    with netcdf.reading(path, group) as dataset:
        return decoded(dataset, others)


# --- reading ---------------------------------------------------------------------------------------------


def _column(name: str, inside: str, variable: xr.Variable, path: Path) -> np.ndarray:
    kind = variable.dtype.kind
    if name == "time":
        return dates(variable, path)
    if name == "qc" and kind in "OSU":
        return np.array([float(code) if code.isdecimal() else np.nan for code in np.char.strip(text(variable.values))])
    if name in NUMBERS:
        if kind not in "fiu":
            raise ValueError(f"{path}: variable {inside!r} has dtype {variable.dtype}: give numbers")
        units = variable.attrs.get("units", "degrees")
        if name in COLUMNS and units in RADIANS:
            return in_units(variable.values.astype(np.float64), units, "degrees")
        if name in COLUMNS and units not in ("degrees", "degree", *CRITERIA[COLUMNS[name]].units):
            raise ValueError(f"{path}: variable {inside!r} has units {units!r}: give {ABOUT[name]['units']}")
        units = str(variable.attrs.get("units", ""))
        numbers = variable.values.astype(np.float64)
        turned = {"depth": "up", "height": "down"}.get(name, "neither") == variable.attrs.get("positive")
        return in_table_units(
            name, -numbers if turned else numbers, units, path, "give the variable an attribute units"
        )
    if name == "variable":
        return _names(variable, path)
    return variable.values if kind in "fiub" else text(variable.values)


def _names(variable: xr.Variable, path: Path) -> np.ndarray:
    """Names, which may be written as flags."""
    if variable.dtype.kind in "OSUT":
        return np.char.strip(text(variable.values))
    if variable.dtype.kind not in "fiu" or not _meanings(variable.attrs):
        raise ValueError(f"{path}: variable 'variable' has dtype {variable.dtype}: give names, or flag_meanings")
    names = _meanings(variable.attrs)
    return np.array([names.get(code, "") for code in np.nan_to_num(variable.values, nan=-1).tolist()], dtype=str)


def text(values: np.ndarray) -> np.ndarray:
    """Bytes or objects as strings."""
    decoded = (
        value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values.tolist()
    )
    return np.array(list(decoded), dtype=str)


def dates(variable: xr.Variable, path: Path) -> np.ndarray:
    """UTC times of a CF time variable; NaT where there is none."""
    advice = 'give numbers with units such as "seconds since 2000-01-01" and a calendar of real dates'
    if variable.dtype.kind not in "fiu":
        raise ValueError(f"{path}: variable 'time' has dtype {variable.dtype}: {advice}")
    try:
        decoded = xr.conventions.decode_cf_variable("time", variable).values
    except Exception as error:  # the libraries below raise many kinds of error for units that they cannot read
        raise ValueError(f"{path}: variable 'time' has units {variable.attrs.get('units')!r}: {advice}") from error
    if decoded.dtype.kind != "M":
        raise ValueError(
            f"{path}: variable 'time' has units {variable.attrs.get('units')!r} and calendar "
            f"{variable.attrs.get('calendar')!r}: {advice}"
        )
    half = np.timedelta64(500 if decoded.dtype == "datetime64[ns]" else 0, "ns")
    return (decoded + half).astype("datetime64[us]")


def _meanings(attributes: Mapping[str, Any]) -> dict[int, str]:
    """What flags mean, a word each."""
    values = np.atleast_1d(attributes.get("flag_values", []))
    words = str(attributes.get("flag_meanings", "")).split()
    if values.dtype.kind not in "iu" or len(values) != len(words):
        return {}
    return {int(value): word for value, word in zip(values, words, strict=True)}


# --- writing ---------------------------------------------------------------------------------------------


def _dataset(columns: Mapping[str, np.ndarray], meanings: Mapping[int, str], title: str) -> xr.Dataset:
    coordinates = [name for name in ("time", *axes(columns), *VERTICAL) if name in columns]
    variables = {name: _variable(name, column, coordinates) for name, column in columns.items()}
    variables["qc"].attrs |= _flags(meanings)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    about = {
        "Conventions": "CF-1.11, ACDD-1.3",
        "featureType": "point",
        "title": title,
        "summary": "Observations, one row each, with the reason why one was not used",
        "source": f"ensf {version('ensf')}",
        "history": f"{now}: ensf {version('ensf')}",
        "date_created": now,
        "id": f"{title.replace(' ', '_')}-{uuid.uuid4()}",
        "institution": "not given",
    }
    return xr.Dataset(variables, attrs=about)


def _variable(name: str, column: np.ndarray, coordinates: list[str]) -> xr.Variable:
    about: dict[str, Any] = dict(ABOUT.get(name, {"long_name": name.replace("_", " ")}))
    if name not in coordinates:
        about["coordinates"] = " ".join(coordinates)
    return xr.Variable("obs", column, about)


def _flags(meanings: Mapping[int, str]) -> dict[str, Any]:
    words = (re.sub(r"[^\w.+@-]+", "_", text).strip("_") for text in meanings.values())
    return {
        "flag_values": np.array(list(meanings), dtype=np.int32),
        "flag_meanings": " ".join(word or "unnamed" for word in words),
    }


def _encodings(columns: Mapping[str, np.ndarray]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, column in columns.items():
        if column.dtype.kind == "M":
            yield name, TIME | {"_FillValue": np.nan if name != "time" or np.isnat(column).any() else None}
        elif column.dtype.kind == "f":
            gaps = name not in ("lat", "lon", "x", "y") or np.isnan(column).any()
            yield name, {"_FillValue": np.nan if gaps else None}
