"""Tables from files: columns are read by `ensf.tables.formats`, and checked row by row by the table."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ensf.runs.patterns import find_files
from ensf.tables.check import REJECTED, first_problem
from ensf.tables.columns import FILE, ROW, VERTICAL, Columns, axes
from ensf.tables.formats import csv, dart, files, ioda
from ensf.tables.laws import Laws
from ensf.tables.table import ObservationTable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["from_dart", "from_frame", "read", "read_dart", "read_ioda"]

LOGGER = logging.getLogger("ensf")


def read(
    paths: str | Path | Sequence[str | Path], *, good: Collection[int] = (0,), laws: Laws | None = None
) -> ObservationTable:
    """Table of one or more files: CSV, NetCDF of CF points, IODA, or observation sequences of DART.

    A row that cannot be used is rejected with a code; the first one of each file is told in a sentence, through
    `logging`. Columns ``from_file`` and ``from_row`` say where each row is from, unless the file has them already.

    Parameters
    ----------
    paths : str, Path, or sequence of these
        Names or patterns such as ``"argo_*.nc"``, with suffix ``.csv``, ``.nc`` or ``.nc4``; a file of another suffix
        is an observation sequence. The rows of one file come after those of another, patterns in the natural order of
        names. Of IODA and DART all variables are read; the height is the first of IODA's pressure, depth and height.
    good : collection of int
        Codes in the column `qc` of rows that are to be used: ``(1, 2)`` for Argo.
    laws : mapping of str to str or error law, optional
        With which the table will be observed: of rows whose law needs no error none is missed.

    Raises
    ------
    FileNotFoundError
        If a name or pattern fits no file.
    ValueError
        If a file is not such a file, lacks a column, or has positions in other coordinates than the first.
    """
    tables: list[ObservationTable] = []
    whole = find_files(paths, "the observations")
    are_told_apart = len({path.name for path in whole}) == len(whole)
    for path in whole:
        tables.append(_table(files.load(path, good), path.name if are_told_apart else str(path), laws))
        if tables[-1].axes != tables[0].axes:
            raise ValueError(
                f"{path} has positions in {tables[-1].axes} but the first table in {tables[0].axes}: convert one"
            )
    return tables[0] if len(tables) == 1 else tables[0].append(*tables[1:])


def from_frame(
    frame: pd.DataFrame | Mapping[str, ArrayLike],
    *,
    good: Collection[int] = (0,),
    laws: Laws | None = None,
    name: str = "DataFrame",
) -> ObservationTable:
    """Table of a DataFrame with the columns of a CSV table, read as that is; an index with a name is a column.

    Parameters
    ----------
    frame : pandas.DataFrame, or mapping of str to (row,) array
        Times are dates or text in ISO 8601; without a zone they are UTC.
    good, laws
        As of `read`.
    name : str
        What the column ``from_file`` and sentences call it.

    Raises
    ------
    ValueError
        If it lacks a column, or columns are of unequal length.
    """
    import pandas as pd

    whole = pd.DataFrame(frame)
    named = any(level is not None for level in whole.index.names)
    content = whole.to_csv(index=named, lineterminator="\n").encode()
    return _table(csv.parse(content, Path(name), good, "row {}".format), name, laws)


def read_ioda(
    path: str | Path,
    variables: Mapping[str, str] | None = None,
    *,
    vertical: str | None = None,
    good: Collection[int] = (0,),
) -> ObservationTable:
    """Table of an IODA file; the rows of one variable after those of another.

    Each channel of a variable is a variable of its own: ``brightnessTemperature_5`` is channel 5.

    Parameters
    ----------
    path : str or Path
    variables : mapping of str to str, optional
        IODA names to those of the state, such as ``{"airTemperature": "t"}``; the others are left out. By default
        all, under their own names. With the name of a variable that has channels all of them are read.
    vertical : str, optional
        Variable of MetaData that says how high: the column `pressure`, `depth` or `height` if its units say so, else
        `z`.
    good : collection of int
        Codes of PreQC that are used; ``range(4)`` for files from NCEP.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a group or variable is missing, or there is no such channel.
    """
    path = files.existing(path)
    return _table(ioda.load(path, variables, vertical, good), str(path))


def read_dart(
    path: str | Path, variables: Mapping[str, str] | None = None, *, good: Collection[int] = (0,)
) -> ObservationTable:
    """Table of an observation sequence on the sphere.

    Parameters
    ----------
    path : str or Path
    variables : mapping of str to str, optional
        DART types to variables of the state, such as ``{"RADIOSONDE_TEMPERATURE": "t"}``; the others are left out. By
        default all, under their own names.
    good : collection of int
        Codes of quality that are used.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If `pydartdiags` is not installed.
    ValueError
        If it is not an observation sequence, or has no positions on the sphere.
    """
    path = files.existing(path)
    return _table(dart.load(path, variables, good), str(path))


def from_dart(
    frame: pd.DataFrame,
    variables: Mapping[str, str] | None = None,
    *,
    good: Collection[int] = (0,),
    name: str = "the sequence",
) -> ObservationTable:
    """Table of ``ObsSequence(...).df`` of `pydartdiags`; the error is the root of DART's error variance.

    Parameters
    ----------
    frame : pandas.DataFrame
    variables : mapping of str to str, optional
        As for `read_dart`.
    good : collection of int
        Codes of quality that are used.
    name : str
        What messages call the frame, and the column ``from_file``.

    Raises
    ------
    ValueError
        If columns are missing.
    """
    return _table(dart.columns_of(frame, variables, good, name), name)


def _table(columns: Columns, name: str, laws: Laws | None = None) -> ObservationTable:
    """The table of a file, of which the first row that is broken is told."""
    values = dict(columns.values)
    place = axes(columns.values)
    size = len(values["value"])
    values.setdefault("qc", np.zeros(size, dtype=np.int32))
    _tell(columns, values, name, laws)
    if FILE not in values:
        values |= {FILE: np.full(size, name), ROW: np.arange(size)}
    own = {column: values.pop(column) for column in ("variable", "value", "error", "time", "qc")}
    position = np.array([values.pop(column) for column in place], dtype=np.float64).reshape(len(place), size).T
    vertical = {column: values.pop(column) for column in VERTICAL if column in values}
    z = vertical.pop("z", None)
    return ObservationTable(
        **own, position=position, axes=place, z=z, vertical=vertical, reasons=columns.meanings, extra=values
    )


def _tell(columns: Columns, values: Mapping[str, np.ndarray], name: str, laws: Laws | None) -> None:
    """Warn of the first row that cannot be read or used, with its place in the file."""
    first = first_problem(values, axes(values), laws)
    if columns.problems:
        row = min(columns.problems)
        first = (row, columns.problems[row] + REJECTED) if first is None or row <= first[0] else first
    if first is not None:
        row, problem = first
        LOGGER.warning("%s, %s: %s", name, columns.where(row), problem)
