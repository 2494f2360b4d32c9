"""Tables from files: columns are read by `ensf.tables.formats`, and checked row by row by the table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ensf.tables.check import RowError
from ensf.tables.columns import Columns, axes
from ensf.tables.formats import dart, files, ioda
from ensf.tables.table import ObservationTable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["from_dart", "read", "read_dart", "read_ioda"]


def read(path: str | Path) -> ObservationTable:
    """Table of a CSV file, or of a NetCDF file of CF points.

    Parameters
    ----------
    path : str or Path
        With suffix ``.csv``, ``.nc`` or ``.nc4``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not such a file, lacks a column, or has a row that is to be used and cannot be.
    """
    path = files.existing(path)
    return _table_in(path, files.load(path))


def read_ioda(
    path: str | Path,
    variables: Mapping[str, str] | None = None,
    *,
    vertical: str | None = None,
    good: int = 0,
) -> ObservationTable:
    """Table of an IODA file; the rows of one variable after those of another.

    Parameters
    ----------
    path : str or Path
    variables : mapping of str to str, optional
        IODA names to those of the state, such as ``{"airTemperature": "t"}``; the others are left out. By default
        all, under their own names.
    vertical : str, optional
        Variable of MetaData for the column `z`, such as ``"pressure"``.
    good : int
        Largest PreQC that is used; in files from NCEP that is 3.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a group or variable is missing, has channels, or has a row that cannot be used.
    """
    path = files.existing(path)
    return _table_in(path, ioda.load(path, variables, vertical, good))


def read_dart(path: str | Path, variables: Mapping[str, str] | None = None, *, good: int = 0) -> ObservationTable:
    """Table of an observation sequence on the sphere.

    Parameters
    ----------
    path : str or Path
    variables : mapping of str to str, optional
        DART types to variables of the state, such as ``{"RADIOSONDE_TEMPERATURE": "t"}``; the others are left out. By
        default all, under their own names.
    good : int
        Largest data quality code that is used.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If `pydartdiags` is not installed.
    ValueError
        If it is not an observation sequence, has no positions on the sphere, or a row that cannot be used.
    """
    path = files.existing(path)
    return _table_in(path, dart.load(path, variables, good))


def from_dart(
    frame: pd.DataFrame, variables: Mapping[str, str] | None = None, *, good: int = 0, name: str = "the sequence"
) -> ObservationTable:
    """Table of ``ObsSequence(...).df`` of `pydartdiags`; the error is the root of DART's error variance.

    Parameters
    ----------
    frame : pandas.DataFrame
    variables : mapping of str to str, optional
        As for `read_dart`.
    good : int
        Largest data quality code that is used.
    name : str
        What errors call the frame.

    Raises
    ------
    ValueError
        If columns are missing, or a row cannot be used.
    """
    return _table(dart.columns_of(frame, variables, good, name))


def _table_in(path: Path, columns: Columns) -> ObservationTable:
    """The table of a file: errors of rows name the file, and where in it the row is."""
    try:
        return _table(columns)
    except RowError as error:
        raise ValueError(f"{path}, {columns.where(error.row)}: {error.problem}") from None


def _table(columns: Columns) -> ObservationTable:
    """Columns that are not the table's own are carried along."""
    values, place = dict(columns.values), axes(columns.values)
    own = {name: values.pop(name) for name in ("variable", "value", "error", "time")}
    position = np.stack([values.pop(name) for name in place], axis=1)
    z, qc = values.pop("z", None), values.pop("qc", None)
    return ObservationTable(**own, position=position, axes=place, z=z, qc=qc, reasons=columns.meanings, extra=values)
