"""Import of DART observation sequences, text files called ``obs_seq``, through the package `pydartdiags`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ensf.tables.formats.files import existing, named
from ensf.tables.table import ObservationTable

__all__ = ["from_dart", "read_dart"]


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
    path = existing(path)
    try:
        from pydartdiags.obs_sequence.obs_sequence import ObsSequence
    except ImportError as error:
        raise ImportError("read_dart needs the package pydartdiags: pip install pydartdiags") from error
    try:
        sequence = ObsSequence(str(path))
    except Exception as error:  # the reader does not check its input, so a damaged file raises many kinds of error
        problem = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} is not an observation sequence, or damaged ({problem}): make it again") from error
    _check_count(sequence, path)
    with named(path, lambda row: f"row {row} of the import"):
        return from_dart(sequence.df, variables, good=good, name=str(path))


def from_dart(
    frame: Any, variables: Mapping[str, str] | None = None, *, good: int = 0, name: str = "the sequence"
) -> ObservationTable:
    """Table of ``ObsSequence(...).df`` of `pydartdiags`; the error is the root of DART's error variance.

    Parameters
    ----------
    frame : pandas.DataFrame
    variables, good
        As for `read_dart`.
    name : str
        What errors call it.

    Raises
    ------
    ValueError
        If columns are missing, or a row cannot be used.
    """
    needed = ("type", "observation", "obs_err_var", "time", "latitude", "longitude", "vertical")
    missing = [column for column in needed if column not in frame.columns]
    if missing:
        raise ValueError(f"{name} has no column {missing[0]!r}: give a sequence with values, on the sphere")
    if variables is not None:
        frame = frame[frame["type"].isin(list(variables))]
    types = frame["type"].astype(str).to_numpy(dtype=str)
    known = variables or {}
    value, variance = (_present(frame[column]) for column in ("observation", "obs_err_var"))
    return ObservationTable(
        np.array([known.get(kind, kind) for kind in types], dtype=str),
        value,
        np.sqrt(np.where(variance > 0, variance, np.nan)),
        frame["time"].to_numpy(dtype="datetime64[us]"),
        np.stack([frame["latitude"].to_numpy(float), frame["longitude"].to_numpy(float)], axis=1),
        z=_heights(frame),
        qc=_codes(frame, good),
    )


def _check_count(sequence: Any, path: Path) -> None:
    """Raise ValueError if the file ends too early."""
    said = re.search(r"(?<!max_)num_obs:\s*(\d+)", " ".join(map(str, sequence.header)))
    if said is None or int(said[1]) != len(sequence.df):
        number = "an unknown number of" if said is None else said[1]
        raise ValueError(
            f"{path} has {len(sequence.df)} observations but its header says {number}: it is truncated, make it again"
        )


def _present(column: Any) -> np.ndarray:
    """Numbers; DART writes -888888 for what is missing."""
    numbers = column.to_numpy(float)
    return np.where(numbers == -888888.0, np.nan, numbers)


def _heights(frame: Any) -> np.ndarray:
    """Vertical coordinate as DART has it (Pa, m or level); NaN at the surface and where it is undefined."""
    height = frame["vertical"].to_numpy(float)
    if "vert_unit" not in frame.columns:
        return height
    return np.where(frame["vert_unit"].isin(["undefined", "surface (m)", "surface"]).to_numpy(), np.nan, height)


def _codes(frame: Any, good: int) -> np.ndarray:
    """The largest code of those who made the observations; if they gave none, what DART did with them."""
    columns = [str(column) for column in frame.columns]
    names = [name for name in columns if "qc" in name.lower() or "quality_control" in name.lower()]
    if not names:
        return np.zeros(len(frame), dtype=np.int32)
    chosen = [name for name in names if "dart" not in name.lower()] or names
    codes = np.nan_to_num(frame[chosen].to_numpy(float).max(axis=1), nan=-1.0)
    return np.where((codes >= 0) & (codes <= good), 0, codes).astype(np.int32)
