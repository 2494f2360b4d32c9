"""The record: columns of equal length, checked row by row when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ensf.tables import stations
from ensf.tables.check import RowError, check_rows, check_shapes
from ensf.tables.flags import MISSING, REASONS, USED
from ensf.tables.formats import files

__all__ = ["ObservationTable", "RowError"]

COLUMNS = ("variable", "value", "error", "time", "position", "qc")
AXES = (("lat", "lon"), ("x", "y"))


@dataclass(frozen=True, eq=False)
class ObservationTable:
    """Observations, one row each.

    Parameters
    ----------
    variable : (row,) array of str
        A variable of the state, or the name of a derived quantity (`ensf.tables.stations.derived`).
    value : (row,) array
        In the units of the variable; NaN = not observed, which rejects the row as missing.
    error : (row,) array or float
        Standard deviation in the units of the variable.
    time : (row,) array of datetime64
        UTC.
    position : (row, 2) array
        In the coordinates `axes`: degrees, or metres as the grid has them.
    axes : tuple of two str
        ``("lat", "lon")`` or ``("x", "y")``.
    z : (row,) array, optional
        Vertical coordinate as the grid has it; NaN where there is none.
    qc : (row,) array of int, optional
        0 = use; other integers name a reason not to.
    reasons : mapping of int to str
        What the codes in `qc` mean, beside those of `ensf.tables.flags`.
    extra : mapping of str to (row,) array
        Columns that are carried along.

    Raises
    ------
    RowError
        A ValueError that names the first row that is to be used and cannot be.
    ValueError
        If columns are missing or of unequal length.
    """

    variable: np.ndarray
    value: np.ndarray
    error: np.ndarray
    time: np.ndarray
    position: np.ndarray
    axes: tuple[str, str] = ("lat", "lon")
    z: np.ndarray | None = None
    qc: np.ndarray | None = None
    reasons: Mapping[int, str] = field(default_factory=dict)
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, column in _converted(self).items():
            object.__setattr__(self, name, column)
        check_shapes(self.value, self.position, {"z": self.z, **self.extra})
        check_rows(self.columns, self.used, self.axes)

    def __len__(self) -> int:
        return len(self.value)

    @property
    def used(self) -> np.ndarray:
        """Rows with code 0, (row,) array of bool."""
        return self.codes == USED

    @property
    def codes(self) -> np.ndarray:
        """The column `qc`, (row,) int32 array."""
        assert self.qc is not None
        return self.qc

    @property
    def height(self) -> np.ndarray:
        """The column `z`, NaN where there is none."""
        return np.full(len(self), np.nan) if self.z is None else self.z

    @property
    def meanings(self) -> dict[int, str]:
        """Sentence of every code that occurs."""
        known = {**REASONS, **self.reasons}
        codes = np.unique(self.codes).tolist()
        return {code: known.get(code, f"rejected by its provider, code {code}") for code in codes}

    @property
    def reason(self) -> np.ndarray:
        """Sentence of every row, (row,) array of str."""
        codes, inverse = np.unique(self.codes, return_inverse=True)
        return np.array([self.meanings[int(code)] for code in codes], dtype=str)[inverse.ravel()]

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """All columns by their names in files, in order."""
        named = {"variable": self.variable, "value": self.value, "error": self.error, "time": self.time}
        named |= dict(zip(self.axes, self.position.T, strict=True))
        vertical = {} if self.z is None else {"z": self.z}
        return {**named, **vertical, "qc": self.codes, **self.extra}

    def reject(self, which: np.ndarray, code: int, reason: str | None = None) -> ObservationTable:
        """The table with `code` in the rows `which` that were used; rows rejected before keep their reason.

        Parameters
        ----------
        which : (row,) array of bool
        code : int
            Of `ensf.tables.flags`, or one's own.
        reason : str, optional
            What one's own code means.
        """
        qc = np.where(np.asarray(which) & self.used, code, self.codes).astype(np.int32)
        return replace(self, qc=qc, reasons=self.reasons if reason is None else {**self.reasons, code: reason})

    def take(self, rows: np.ndarray) -> ObservationTable:
        """The table of the rows at `rows`: integers, or a mask."""
        taken: dict[str, Any] = {name: getattr(self, name)[rows] for name in COLUMNS}
        return replace(
            self,
            **taken,
            z=None if self.z is None else self.z[rows],
            extra={name: column[rows] for name, column in self.extra.items()},
        )

    def append(self, other: ObservationTable) -> ObservationTable:
        """The rows of both; columns of one only are empty in the other."""
        if self.axes != other.axes:
            raise ValueError(f"tables in {self.axes} and {other.axes} cannot be joined: convert one of them")
        both: dict[str, Any] = {name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in COLUMNS}
        return replace(
            self,
            **both,
            z=None if self.z is None and other.z is None else np.concatenate([self.height, other.height]),
            reasons={**other.reasons, **self.reasons},
            extra={
                name: np.concatenate([_extra(self, other, name), _extra(other, self, name)])
                for name in {**self.extra, **other.extra}
            },
        )

    def observe(self, layout: Any, **options: Any) -> stations.Observed:
        """The rows as an `Observation` of states of this layout: `ensf.tables.stations.observe`."""
        return stations.observe(self, layout, **options)

    def write(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write all rows, rejected ones too, with their codes and reasons: CSV or CF NetCDF, as the suffix says.

        The file is there as a whole, or not at all.

        Parameters
        ----------
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
        meanings = {**REASONS, **self.reasons, **self.meanings}
        files.save(Path(path), self.columns, meanings, overwrite=overwrite)


def _converted(table: ObservationTable) -> dict[str, Any]:
    """Columns in their dtypes; rows without a value are rejected as missing."""
    value = np.array(table.value, dtype=np.float64, ndmin=1)
    shape = value.shape
    qc = np.broadcast_to(np.asarray(0 if table.qc is None else table.qc, dtype=np.int32), shape)
    if tuple(table.axes) not in AXES:
        raise ValueError(f"positions are in {tuple(table.axes)}: give axes=('lat', 'lon') or ('x', 'y')")
    return {
        "variable": np.broadcast_to(np.asarray(table.variable, dtype=str), shape),
        "value": value,
        "error": np.broadcast_to(np.asarray(table.error, dtype=np.float64), shape),
        "time": np.broadcast_to(np.asarray(table.time, dtype="datetime64[us]"), shape),
        "position": np.asarray(table.position, dtype=np.float64),
        "axes": tuple(table.axes),
        "z": None if table.z is None else np.asarray(table.z, dtype=np.float64),
        "qc": np.where(np.isnan(value) & (qc == USED), MISSING, qc).astype(np.int32),
        "reasons": {int(code): str(reason) for code, reason in table.reasons.items()},
        "extra": {str(name): np.asarray(column) for name, column in table.extra.items()},
    }


def _extra(table: ObservationTable, other: ObservationTable, name: str) -> np.ndarray:
    """A column that is carried along; empty if this table lacks it."""
    if name in table.extra:
        return table.extra[name]
    kind = other.extra[name].dtype.kind
    if kind == "M":
        return np.full(len(table), np.datetime64("NaT"))
    return np.full(len(table), "" if kind in "SUO" else np.nan)
