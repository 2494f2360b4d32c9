"""A table from a file and to a file: the suffix says whether CSV or NetCDF."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ensf.runs.files import replacing
from ensf.tables.check import RowError
from ensf.tables.columns import axes
from ensf.tables.formats import cf_points, csv
from ensf.tables.table import ObservationTable

__all__ = ["existing", "named", "read", "table_of", "write"]

FORMATS: dict[str, Any] = {".csv": csv, ".nc": cf_points, ".nc4": cf_points}


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
    path = existing(path)
    columns, reasons, where = _format(path).load(path)
    with named(path, where):
        return table_of(columns, reasons)


def write(table: ObservationTable, path: str | Path, *, overwrite: bool = False) -> None:
    """Write all rows, rejected ones too, with their codes and reasons.

    The file is written under a temporary name and then renamed: it is there as a whole, or not at all.

    Parameters
    ----------
    table : ObservationTable
    path : str or Path
        With suffix ``.csv``, ``.nc`` or ``.nc4``.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    FileExistsError
        If the file exists, unless `overwrite`.
    OSError
        If it cannot be written; a file that was there before is untouched.
    """
    path = Path(path)
    save = _format(path).save
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists: write elsewhere, or say overwrite to replace it")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}: make it, or write elsewhere")
    with replacing(path) as hidden:
        save(table, hidden, path.stem)


def existing(path: str | Path) -> Path:
    """The path, if there is such a file."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}: check its name")
    return Path(path)


@contextmanager
def named(path: Path, where: Callable[[int], str]) -> Iterator[None]:
    """Errors of rows name the file and where in it the row is."""
    try:
        yield
    except RowError as error:
        raise ValueError(f"{path}, {where(error.row)}: {error.problem}") from None


def table_of(columns: dict[str, Any], reasons: dict[int, str]) -> ObservationTable:
    """Table of columns by name; those that are not its own are carried along."""
    columns, place = dict(columns), axes(columns)
    own = {name: columns.pop(name) for name in ("variable", "value", "error", "time")}
    position = np.stack([columns.pop(name) for name in place], axis=1)
    z, qc = columns.pop("z", None), columns.pop("qc", None)
    return ObservationTable(**own, position=position, axes=place, z=z, qc=qc, reasons=reasons, extra=columns)


def _format(path: Path) -> Any:
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path} has suffix {path.suffix!r}: give a table as one of {', '.join(FORMATS)}")
    return FORMATS[path.suffix.lower()]
