"""Columns from a file and to a file: the suffix says whether CSV or NetCDF, the content whether IODA or DART."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ensf.runs.files import expanded, replacing
from ensf.tables.columns import Columns
from ensf.tables.formats import cf_points, csv, dart, ioda

__all__ = ["existing", "load", "save"]


class Format(NamedTuple):
    """How columns are read from a file, and written with meanings of codes and a title."""

    load: Callable[[Path, Collection[int]], Columns]
    save: Callable[[Path, Mapping[str, np.ndarray], Mapping[int, str], str], None]


CSV, CF_POINTS = Format(csv.load, csv.save), Format(cf_points.load, cf_points.save)
FORMATS = {".csv": CSV, ".nc": CF_POINTS, ".nc4": CF_POINTS}


def load(path: Path, good: Collection[int]) -> Columns:
    """Columns of a CSV file, a NetCDF file of CF points or with IODA's groups, or a DART observation sequence.

    Parameters
    ----------
    path : Path
    good : collection of int
        Codes of rows that are to be used.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not such a file, or lacks a column.
    """
    path = existing(path)
    if path.suffix.lower() not in FORMATS and dart.is_sequence(path):
        return dart.load(path, None, good)
    form = _format(path)
    if form is CF_POINTS and ioda.is_ioda(path):
        return ioda.load(path, None, ioda.vertical(path), good)
    return form.load(path, good)


def save(
    path: Path, columns: Mapping[str, np.ndarray], meanings: Mapping[int, str], *, overwrite: bool = False
) -> None:
    """Write columns, with what the codes in `qc` mean.

    The file is written under a temporary name and then renamed: it is there as a whole, or not at all.

    Parameters
    ----------
    path : Path
        With suffix ``.csv``, ``.nc`` or ``.nc4``.
    columns : mapping of str to (row,) array
    meanings : mapping of int to str
        Of all codes that occur, and of others that may.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    FileExistsError
        If the file exists, unless `overwrite`.
    OSError
        If it cannot be written; a file that was there before is untouched.
    """
    path = expanded(path)
    form = _format(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists: write elsewhere, or say overwrite to replace it")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}: make it, or write elsewhere")
    with replacing(path) as hidden:
        form.save(hidden, columns, meanings, path.stem)


def existing(path: str | Path) -> Path:
    """The path, if there is such a file."""
    whole = expanded(path)
    if not whole.is_file():
        raise FileNotFoundError(f"there is no file {path}: check its name")
    return whole


def _format(path: Path) -> Format:
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path} has suffix {path.suffix!r}: give a table as one of {', '.join(FORMATS)}")
    return FORMATS[path.suffix.lower()]
