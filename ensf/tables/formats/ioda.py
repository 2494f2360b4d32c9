"""IODA files, the observations of JEDI: NetCDF with the groups MetaData, ObsValue, ObsError and PreQC."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr

from ensf.dataset import netcdf
from ensf.dataset.stored import JEDI_INTEGERS
from ensf.tables.columns import Columns, import_row
from ensf.tables.flags import NO_ERROR
from ensf.tables.formats.cf_points import dates, opened, text
from ensf.tables.formats.csv import times
from ensf.tables.units import stated

__all__ = ["load"]


def load(path: Path, variables: Mapping[str, str] | None, vertical: str | None, good: int) -> Columns:
    """Columns of an IODA file; parameters and errors are those of `ensf.tables.read_ioda`.

    Parameters
    ----------
    path : Path
    variables : mapping of str to str, or None
        Names in the file to those of the state; None = all.
    vertical : str or None
        Variable of MetaData for the column `z`.
    good : int
        Largest code of quality that is used.
    """
    there = _groups(path)
    groups = {name: _group(path, name, there) for name in ("MetaData", "ObsValue", "ObsError")}
    groups["PreQC"] = opened(path, "PreQC", JEDI_INTEGERS) if "PreQC" in there else xr.Dataset()
    names = dict(variables) if variables is not None else {str(name): str(name) for name in groups["ObsValue"]}
    if not names:
        raise ValueError(f"{path} has no variables in its group ObsValue: there is nothing to import")
    parts = [_part(path, groups, inside, name, vertical, good) for inside, name in names.items()]
    return Columns({name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, {}, import_row)


def _part(
    path: Path, groups: Mapping[str, xr.Dataset], inside: str, name: str, vertical: str | None, good: int
) -> dict[str, np.ndarray]:
    """Columns of one variable."""
    value, error = (_numbers(path, groups, group, inside) for group in ("ObsValue", "ObsError"))
    qc = _numbers(path, groups, "PreQC", inside) if inside in groups["PreQC"] else np.zeros(len(value))
    qc = np.where(np.isnan(qc), -1, np.where(qc <= good, np.minimum(qc, 0), qc)).astype(np.int32)
    without_error = (qc == 0) & ~np.isnan(value) & np.isnan(error)
    columns = {
        "variable": np.full(len(value), name),
        "value": value,
        "error": error,
        "time": _times(path, groups["MetaData"]),
        "lat": _numbers(path, groups, "MetaData", "latitude"),
        "lon": _numbers(path, groups, "MetaData", "longitude"),
        "qc": np.where(without_error, NO_ERROR, qc),
    }
    units = {"value": groups["ObsValue"][inside].attrs, "error": groups["ObsError"][inside].attrs}
    columns |= stated(len(value), columns, units)
    return columns if vertical is None else columns | {"z": _numbers(path, groups, "MetaData", vertical)}


def _groups(path: Path) -> tuple[str, ...]:
    """Names of the groups of a file that can be read."""
    opened(path)
    with netcdf.opened(path) as file:
        return tuple(file.groups)


def _group(path: Path, name: str, there: tuple[str, ...]) -> xr.Dataset:
    if name not in there:
        raise ValueError(f"{path} has no group {name!r}: an IODA file has MetaData, ObsValue and ObsError")
    return opened(path, name, JEDI_INTEGERS)


def _numbers(path: Path, groups: Mapping[str, xr.Dataset], group: str, name: str) -> np.ndarray:
    variable = _variable(path, groups[group], group, name)
    if variable.dtype.kind not in "fiu":
        raise ValueError(f"{path}: {group}/{name} has dtype {variable.dtype}: numbers are needed")
    return variable.values.astype(np.float64)


def _variable(path: Path, dataset: xr.Dataset, group: str, name: str) -> xr.Variable:
    if name not in dataset.variables:
        raise ValueError(
            f"{path} has no variable {group}/{name}: the group has {', '.join(map(str, dataset.variables))}"
        )
    variable = dataset.variables[name]
    if variable.ndim != 1:
        raise ValueError(
            f"{path}: {group}/{name} has dimensions {variable.dims}: channels cannot be "
            "imported, name the others with variables="
        )
    return variable


def _times(path: Path, metadata: xr.Dataset) -> np.ndarray:
    """Of MetaData/dateTime: numbers with units, or ISO 8601."""
    name = "datetime" if "datetime" in metadata.variables else "dateTime"
    variable = _variable(path, metadata, "MetaData", name)
    if variable.dtype.kind in "fiu":
        return dates(variable, path)
    return times(tuple(text(variable.values).tolist()), path, lambda row: f"MetaData/{name} {row}")
